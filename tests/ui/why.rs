//! Every reason that the API gives for a job stands on its page and, the foremost, in the list: in the same words.

use std::collections::BTreeSet;
use std::sync::Arc;

use backroom::clock::SimulatedClock;
use backroom::domain::explain::CODES;
use backroom::domain::id::{ConcurrencyKey, OrderingKey, PluginName, QueueName, TenantId, VersionName};
use backroom::domain::job::{Job, OnPredecessorFailure, Status, Ties};
use backroom::domain::plugin::Wishes;
use backroom::domain::queue::Pause;
use backroom::domain::service::ServiceState;
use backroom::domain::time::Timestamp;
use backroom::jobs::{Command, NewBatch, NewJob, Order};
use backroom::registry::Removal;
use serde_json::Value;

use crate::offers::until;
use crate::page;
use crate::pages::words;
use crate::site::{PATIENCE, Site, job, ungranted};

const NOW: i64 = 1_700_000_000_000;

fn later() -> Timestamp {
    Timestamp::from_millis(NOW + 300_000)
}

async fn site() -> Site {
    Site::with_echo(Arc::new(SimulatedClock::at(Timestamp::from_millis(NOW)))).await
}

/// Compares the page of a job with what the API explains, and returns the codes.
async fn explained(site: &Site, job: &Job) -> BTreeSet<String> {
    let id = job.submission.id;
    let told = site.get(&format!("/v1/jobs/{id}/explain")).await;
    let told: Value = serde_json::from_slice(&told.bytes).expect("JSON");
    let html = site.get(&format!("/jobs/{id}")).await;
    page::read(html.text());
    let shown = words(html.text());
    let reasons = told["reasons"].as_array().expect("reasons");
    for reason in reasons {
        for part in ["message", "starts_when"] {
            let said = plain(reason[part].as_str().expect("text"));
            let tail: String = said.chars().skip(1).collect();
            assert!(shown.contains(&tail), "`{said}` is not on the page: {shown}");
        }
        for other in reason["jobs"].as_array().into_iter().flatten() {
            let link = format!("href=\"/jobs/{}\"", other.as_str().expect("an id"));
            assert!(html.text().contains(&link), "{link}");
        }
    }
    if job.state.status.waits() {
        let listed = words(site.get("/jobs").await.text());
        let foremost: String = plain(reasons[0]["message"].as_str().expect("text")).chars().skip(1).take(60).collect();
        assert!(listed.contains(&foremost), "{foremost}: {listed}");
    }
    reasons.iter().map(|reason| reason["code"].as_str().expect("a code").to_owned()).collect()
}

/// A text as a page shows it, where what stands between backticks is an element of its own.
fn plain(text: &str) -> String {
    text.replace('`', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn has(codes: &BTreeSet<String>, code: &str) {
    assert!(codes.contains(code), "{code} is not among {codes:?}");
}

/// Reasons that no job of these tests is brought to. `tests/domain/explain.rs` tells each of them from its facts, and a page
/// draws all reasons alike.
const NOT_RENDERED: &[&str] = &["error", "expired"];

/// Of every reason there is, either a page was read that shows it, or it is said that none was.
#[tokio::test]
async fn every_reason_is_rendered_or_said_not_to_be() {
    let mut told = BTreeSet::new();
    told.extend(waits_for_a_time_or_a_person().await);
    told.extend(runs_and_what_comes_after().await);
    told.extend(pauses_of_the_host().await);
    told.extend(a_breaker().await);
    told.extend(other_jobs_in_the_way().await);
    told.extend(absences().await);
    told.extend(what_a_handler_waits_for().await);
    told.extend(limits().await);
    let known: BTreeSet<_> = CODES.iter().map(|code| (*code).to_owned()).collect();
    let missing: BTreeSet<_> = known.difference(&told).map(String::as_str).collect();
    assert_eq!(missing, NOT_RENDERED.iter().copied().collect());
}

/// Notes the reasons of a job, of which this is one.
async fn tell(told: &mut BTreeSet<String>, site: &Site, job: &Job, code: &str) {
    let codes = explained(site, job).await;
    has(&codes, code);
    told.extend(codes);
}

/// Waits until the handler of a job has begun: before that a command takes it back as if it had never started.
async fn begun(site: &Site, job: &Job) {
    let has_begun = async {
        while site.host.jobs.progress(job).is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, has_begun).await.expect("it begins soon");
}

async fn steered(site: &Site, job: &Job, order: Order) -> Job {
    let command = Command { reason: Some("waiting for legal".to_owned()), ..Command::new(order, "kim") };
    site.host.jobs.steer(TenantId::DEFAULT, job.submission.id, &command).await.expect("it is steered")
}

async fn waits_for_a_time_or_a_person() -> BTreeSet<String> {
    let (site, mut told) = (site().await, BTreeSet::new());
    let scheduled = site.submit(NewJob { at: Some(later()), ..job("{}") }).await;
    tell(&mut told, &site, &scheduled, "scheduled").await;
    let postponed = steered(&site, &scheduled, Order::Postpone(later())).await;
    tell(&mut told, &site, &postponed, "postponed").await;
    assert!(words(site.get(&format!("/jobs/{}", postponed.submission.id)).await.text()).contains("waiting for legal"));
    let paused = steered(&site, &postponed, Order::Pause).await;
    tell(&mut told, &site, &paused, "paused").await;
    let ended = steered(&site, &paused, Order::Cancel).await;
    tell(&mut told, &site, &ended, "finished").await;
    let failed = site.run("fail row 7 has no address").await;
    tell(&mut told, &site, &failed, "finished").await;
    told
}

async fn pauses_of_the_host() -> BTreeSet<String> {
    let (site, mut told) = (site().await, BTreeSet::new());
    let echo = PluginName::new("echo").expect("a slug");
    site.host.set_service(ServiceState::Paused(Pause::default())).await.expect("it is kept");
    let waiting = site.submit(job("{}")).await;
    tell(&mut told, &site, &waiting, "service-paused").await;
    site.host.pause_queue(&QueueName::default_queue(), Some(Pause::default())).await.expect("it is paused");
    tell(&mut told, &site, &waiting, "queue-paused").await;
    site.host.registry.pause(TenantId::DEFAULT, &echo, Pause::default()).await.expect("it is paused");
    tell(&mut told, &site, &waiting, "plugin-paused").await;
    site.host.registry.disable(TenantId::DEFAULT, &echo).await.expect("it is disabled");
    tell(&mut told, &site, &waiting, "plugin-disabled").await;

    let path = format!("/jobs/{}", waiting.submission.id);
    let buttons = ["/plugins/echo/enable", "/plugins/echo/resume", "/queues/default/resume", "/service/resume"];
    for button in buttons {
        let html = site.get(&path).await;
        assert!(html.text().contains(&format!("action=\"{button}\"")), "{button}: {}", html.text());
        assert_eq!(site.post(button, "").await.status, 303, "{button}");
    }
    let ended = site.host.jobs.wait(waiting, PATIENCE).await.expect("it reads");
    assert!(ended.state.status.is_final(), "{:?}", ended.state);
    told
}

async fn a_breaker() -> BTreeSet<String> {
    let (site, mut told) = (site().await, BTreeSet::new());
    for _ in 0..2 {
        let job = site.submit(NewJob { max_attempts: Some(1), ..job("trap unreachable") }).await;
        site.host.jobs.wait(job, PATIENCE).await.expect("it reads");
    }
    let held = site.submit(job("{}")).await;
    tell(&mut told, &site, &held, "breaker-open").await;
    let overview = words(site.get("/").await.text());
    assert!(overview.contains("Plug-in echo keeps failing"), "{overview}");
    assert_eq!(site.post("/plugins/echo/resume", "").await.header("location"), "/plugins/echo?done=plugin-resumed");
    let ended = site.host.jobs.wait(held, PATIENCE).await.expect("it reads");
    assert!(ended.state.status.is_final());
    told
}

async fn other_jobs_in_the_way() -> BTreeSet<String> {
    let (site, mut told) = (site().await, BTreeSet::new());
    let first = site.submit(NewJob { at: Some(later()), ties: keyed(), ..job("{}") }).await;
    let second = site.submit(NewJob { ties: keyed(), ..job("{}") }).await;
    tell(&mut told, &site, &second, "blocked").await;
    let after = Ties {
        after: vec![first.submission.id],
        on_predecessor_failure: OnPredecessorFailure::Block,
        ..Ties::default()
    };
    let third = site.submit(NewJob { ties: after, ..job("{}") }).await;
    tell(&mut told, &site, &third, "blocked").await;
    steered(&site, &first, Order::Cancel).await;
    let held = until(&site, third, Status::Waiting).await;
    tell(&mut told, &site, &held, "manual").await;
    told
}

async fn runs_and_what_comes_after() -> BTreeSet<String> {
    let (site, mut told) = (site().await, BTreeSet::new());
    let again = site.submit(job("again the mail server is busy")).await;
    let again = until(&site, again, Status::Retrying).await;
    tell(&mut told, &site, &again, "retrying").await;
    let expires = NewJob { at: Some(later()), expires_on: Some(Timestamp::from_millis(NOW + 600_000)), ..job("{}") };
    let expires = site.submit(expires).await;
    tell(&mut told, &site, &expires, "expires").await;
    // As many as run at a time.
    for _ in 0..4 {
        let held = site.submit(job("hold the line")).await;
        let held = until(&site, held, Status::Running).await;
        begun(&site, &held).await;
        tell(&mut told, &site, &held, "running").await;
    }
    let first = site.submit(job("{}")).await;
    tell(&mut told, &site, &first, "next").await;
    let second = site.submit(job("{}")).await;
    tell(&mut told, &site, &second, "behind").await;
    let member = NewJob { at: Some(later()), ..job("{}") };
    let (batch, _) = site.host.jobs.submit_batch(NewBatch::default(), vec![member]).await.expect("it is accepted");
    tell(&mut told, &site, &batch, "children").await;
    site.host.set_service(ServiceState::Draining).await.expect("it is kept");
    tell(&mut told, &site, &second, "draining").await;
    site.open_gate();
    told
}

async fn absences() -> BTreeSet<String> {
    let (site, mut told) = (site().await, BTreeSet::new());
    site.host.set_service(ServiceState::Paused(Pause::default())).await.expect("it is kept");
    let waiting = site.submit(job("{}")).await;
    let echo = PluginName::new("echo").expect("a slug");
    site.host.registry.remove(TenantId::DEFAULT, &echo, Removal::Forced).await.expect("it is removed");
    tell(&mut told, &site, &waiting, "plugin-missing").await;
    site.upload("echo", "1.0.0", ungranted()).await;
    tell(&mut told, &site, &waiting, "missing-grants").await;

    site.upload("pinned", "1.0.0", Wishes::default()).await;
    let pinned = PluginName::new("pinned").expect("a slug");
    let version = VersionName::new("1.0.0").ok();
    let waiting = site.submit(NewJob { version, ..NewJob::new(pinned.clone(), "{}") }).await;
    site.host.registry.remove(TenantId::DEFAULT, &pinned, Removal::Forced).await.expect("it is removed");
    site.upload("pinned", "2.0.0", Wishes::default()).await;
    tell(&mut told, &site, &waiting, "version-missing").await;
    site.host.set_service(ServiceState::Running).await.expect("it is kept");
    let held = until(&site, waiting, Status::Waiting).await;
    tell(&mut told, &site, &held, "missing-component").await;
    told
}

async fn what_a_handler_waits_for() -> BTreeSet<String> {
    let (site, mut told) = (site().await, BTreeSet::new());
    for (input, code) in [("sleep", "sleep"), ("listen payment", "event")] {
        let waiting = site.submit(job(input)).await;
        let waiting = until(&site, waiting, Status::Waiting).await;
        tell(&mut told, &site, &waiting, code).await;
    }
    for (order, code) in [(Order::Pause, "pausing"), (Order::Cancel, "canceling")] {
        let running = site.submit(job("cling to its slot")).await;
        let running = until(&site, running, Status::Running).await;
        begun(&site, &running).await;
        let told_to = steered(&site, &running, order).await;
        tell(&mut told, &site, &told_to, code).await;
    }
    site.open_gate();
    told
}

/// Of two jobs each, the second waits for the limit that the first uses up.
async fn limits() -> BTreeSet<String> {
    let (site, mut told) = (site().await, BTreeSet::new());
    let in_queue = |name, input| NewJob { queue: QueueName::new(name).expect("a slug"), ..job(input) };
    let of = |name, input: &'static str| NewJob::new(PluginName::new(name).expect("a slug"), input);
    for name in ["narrow", "hourly", "keyed"] {
        site.upload(name, "1.0.0", Wishes::default()).await;
    }
    let region = || Ties { concurrency_key: ConcurrencyKey::new("region 4").ok(), ..Ties::default() };
    for (code, new) in [
        ("queue-full", in_queue("narrow", "hold")),
        ("queue-rate", in_queue("hourly", "hold")),
        ("plugin-full", of("narrow", "hold")),
        ("plugin-rate", of("hourly", "hold")),
        ("key-full", NewJob { ties: region(), ..of("keyed", "hold") }),
    ] {
        let first = site.submit(new.clone()).await;
        let first = until(&site, first, Status::Running).await;
        begun(&site, &first).await;
        let second = site.submit(new).await;
        tell(&mut told, &site, &second, code).await;
        steered(&site, &first, Order::Cancel).await;
        steered(&site, &second, Order::Cancel).await;
    }
    told
}

fn keyed() -> Ties {
    Ties { ordering_key: Some(OrderingKey::new("import/acme").expect("a key")), ..Ties::default() }
}

#[tokio::test]
async fn a_batch_is_drawn_as_a_batch() {
    let site = site().await;
    let members = vec![job("fail one"), job("{}"), job("{}")];
    let new = NewBatch { name: Some("import of March".to_owned()), ..NewBatch::default() };
    let (batch, ids) = site.host.jobs.submit_batch(new, members).await.expect("it is accepted");
    let ended = site.host.jobs.wait(batch, PATIENCE).await.expect("it reads");
    has(&explained(&site, &ended).await, "finished");
    let path = format!("/jobs/{}", ended.submission.id);
    let html = site.get(&path).await;
    let shown = words(html.text());
    for absent in ["handler", "Run again", " ID ", "Attempt", "Log", "Run 1"] {
        assert!(!shown.contains(absent) && !html.text().contains("href=\"/plugins/batch\""), "`{absent}`: {shown}");
    }
    assert!(shown.contains("3 of 3 (100 %)") && shown.contains("1 failed, 0 canceled"), "{shown}");
    let members = words(site.get(&format!("/jobs?batch={}", ended.submission.id)).await.text());
    for id in ids {
        let id = id.to_string();
        assert!(members.contains(&id[id.len() - 8..]), "{members}");
    }
    assert!(html.text().contains(&format!("action=\"{path}/retry-failed\"")));
    let again = site.post(&format!("{path}/retry-failed"), "").await;
    assert_eq!(again.status, 303, "{}", again.text());
    assert!(!site.get(&path).await.text().contains("retry-failed\""), "they were run again");
    assert_eq!(site.get("/jobs?batch=nonsense").await.status, 422);
}
