//! Each button that a page offers is carried out, in every state that a job can be brought to; what a caller may not do is
//! not offered.

use std::sync::Arc;

use backroom::clock::SimulatedClock;
use backroom::domain::id::TenantId;
use backroom::domain::job::{Job, Status};
use backroom::domain::queue::Pause;
use backroom::domain::time::Timestamp;
use backroom::jobs::{Command, NewBatch, NewJob, Order};

use crate::page;
use crate::site::{PATIENCE, Site, job};

/// A state to bring a job to, and the commands that are offered there.
const STATES: &[(&str, Status, &[&str])] = &[
    ("scheduled", Status::Waiting, &["resume", "pause", "postpone", "cancel"]),
    ("paused", Status::Paused, &["resume", "postpone", "cancel"]),
    ("retrying", Status::Retrying, &["resume", "pause", "postpone", "cancel"]),
    ("queued", Status::Queued, &["pause", "postpone", "cancel"]),
    ("running", Status::Running, &["pause", "postpone", "cancel"]),
    ("succeeded", Status::Succeeded, &["retry", "delete"]),
    ("failed", Status::Failed, &["retry", "delete"]),
    ("canceled", Status::Canceled, &["retry", "delete"]),
    ("batch under way", Status::Waiting, &["cancel"]),
    ("batch that failed", Status::Failed, &["retry-failed", "delete"]),
];

fn later() -> Timestamp {
    Timestamp::from_millis(1_700_000_300_000)
}

async fn site() -> Site {
    Site::with_echo(Arc::new(SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000)))).await
}

async fn order(site: &Site, job: &Job, order: Order) -> Job {
    let command = Command::new(order, "somebody");
    site.host.jobs.steer(TenantId::DEFAULT, job.submission.id, &command).await.expect("it is steered")
}

/// Waits until a job stands where it is wanted.
pub(crate) async fn until(site: &Site, job: Job, status: Status) -> Job {
    let mut watch = site.host.jobs.watch(job.submission.key());
    let reached = async {
        loop {
            let present = site.host.jobs.find(job.submission.key()).expect("it reads").expect("it is there");
            if present.state.status == status {
                return present;
            }
            watch.changed().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("it gets there soon")
}

async fn batch(site: &Site, member: NewJob) -> Job {
    site.host.jobs.submit_batch(NewBatch::default(), vec![member]).await.expect("it is accepted").0
}

async fn brought_to(site: &Site, state: &str, status: Status) -> Job {
    let waiting = || NewJob { at: Some(later()), ..job("{}") };
    // Also closes the breaker, which the retries before may have opened.
    site.host.registry.resume(TenantId::DEFAULT, &job("").plugin).await.expect("it is resumed");
    let job = match state {
        "scheduled" => site.submit(waiting()).await,
        "paused" => {
            let scheduled = site.submit(waiting()).await;
            order(site, &scheduled, Order::Pause).await
        }
        "retrying" => site.submit(job("again later")).await,
        "queued" => {
            let scheduled = site.submit(NewJob { at: Some(later()), ..job("hold") }).await;
            // Nothing starts while the plug-in is paused.
            site.host
                .registry
                .pause(TenantId::DEFAULT, &scheduled.submission.plugin, Pause::default())
                .await
                .expect("it is paused");
            order(site, &scheduled, Order::Resume).await
        }
        "running" => site.submit(job("hold the line")).await,
        "succeeded" => site.submit(job("{}")).await,
        "failed" => site.submit(job("fail it")).await,
        "canceled" => {
            let scheduled = site.submit(waiting()).await;
            order(site, &scheduled, Order::Cancel).await
        }
        "batch under way" => batch(site, waiting()).await,
        _ => batch(site, job("fail it")).await,
    };
    until(site, job, status).await
}

/// The words of the buttons on the page of a job.
async fn offered(site: &Site, job: &Job) -> Vec<String> {
    let path = format!("/jobs/{}", job.submission.id);
    let html = site.get(&path).await;
    let tags = page::read(html.text());
    let actions = tags.iter().filter(|tag| tag.name == "form").filter_map(|tag| tag.attribute("action"));
    actions.filter_map(|action| action.strip_prefix(&format!("{path}/"))).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_offered_button_is_carried_out() {
    for (state, status, expected) in STATES {
        let site = site().await;
        let shown = brought_to(&site, state, *status).await;
        assert_eq!(offered(&site, &shown).await, *expected, "{state}");
        for word in *expected {
            let job = brought_to(&site, state, *status).await;
            let pressed = site.post(&format!("/jobs/{}/{word}", job.submission.id), "until=2h&reason=as+agreed").await;
            assert_eq!(pressed.status, 303, "{state}, {word}: {}", pressed.text());
        }
        site.open_gate();
    }
}

#[tokio::test]
async fn what_is_not_a_time_or_a_reason_is_refused() {
    let site = site().await;
    let job = brought_to(&site, "scheduled", Status::Waiting).await;
    let path = format!("/jobs/{}", job.submission.id);
    for (word, fields) in [
        ("postpone", "until=".to_owned()),
        ("postpone", "until=soon".to_owned()),
        ("postpone", String::new()),
        ("cancel", format!("reason={}", "x".repeat(1_001))),
        ("explode", String::new()),
    ] {
        let answer = site.post(&format!("{path}/{word}"), &fields).await;
        assert!((400..500).contains(&answer.status), "{word}: {}", answer.status);
        page::read(answer.text());
        assert!(answer.text().contains("/errors/BR0102"), "{word}: {}", answer.text());
    }
}
