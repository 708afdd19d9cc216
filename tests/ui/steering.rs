//! The buttons, pressed without JavaScript.

use std::sync::Arc;

use backroom::clock::SimulatedClock;
use backroom::domain::id::TenantId;
use backroom::domain::job::{Job, Status};
use backroom::domain::plugin::Wishes;
use backroom::domain::query::JobQuery;
use backroom::domain::service::ServiceState;
use backroom::domain::time::Timestamp;
use backroom::jobs::{NewBatch, NewJob};
use backroom::store::memory::Reading;

use crate::latch::Latch;
use crate::page;
use crate::site::{Answer, PATIENCE, Site, job, tool, ungranted};

fn clock() -> Arc<SimulatedClock> {
    Arc::new(SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000)))
}

fn leads_to(answer: &Answer, path: &str) {
    assert_eq!((answer.status, answer.header("location")), (303, path), "{}", String::from_utf8_lossy(&answer.bytes));
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    page::read(answer.text());
    assert!(answer.text().contains(&format!("/errors/{code}")), "{}", answer.text());
}

async fn all(site: &Site) -> Vec<Job> {
    let query = JobQuery { limit: 100, ..JobQuery::default() };
    site.host.jobs.list(&query).expect("it reads").jobs
}

#[tokio::test]
async fn a_running_job_is_canceled() {
    let site = Site::with_echo(clock()).await;
    let held = site.submit(job("hold the line")).await;
    let path = format!("/jobs/{}", held.submission.id);
    leads_to(&site.post(&format!("{path}/cancel"), "").await, &format!("{path}?done=canceled"));
    let ended = site.host.jobs.wait(held, PATIENCE).await.expect("it reads");
    assert_eq!(ended.state.status, Status::Canceled);
    let told = site.get(&format!("{path}?done=canceled")).await;
    assert!(told.text().contains("Cancel requested."));
    refused(&site.post("/jobs/nonsense/cancel", "").await, 404, "BR0109");
}

#[tokio::test]
async fn a_job_is_run_again_as_it_was() {
    let site = Site::with_echo(clock()).await;
    site.upload("tool", "1.0.0", Wishes::default()).await;
    let first = NewJob {
        name: Some("weekly report".to_owned()),
        tags: vec!["weekly".to_owned()],
        args: vec!["--all".to_owned()],
        env: vec![("LANG".to_owned(), "C".to_owned())],
        priority: 5,
        max_attempts: Some(2),
        ..tool(&format!("fail {}", "long ".repeat(1_000)))
    };
    let first = site.submit(first).await;
    let first = site.host.jobs.wait(first, PATIENCE).await.expect("it reads");
    let answer = site.post(&format!("/jobs/{}/retry", first.submission.id), "").await;
    assert_eq!(answer.status, 303);
    let jobs = all(&site).await;
    let [second, old] = jobs.as_slice() else { panic!("there are {} jobs", jobs.len()) };
    assert_eq!(old.submission.id, first.submission.id);
    assert_eq!(answer.header("location"), format!("/jobs/{}?done=resubmitted", second.submission.id));
    let (old, new) = (&old.submission, &second.submission);
    assert_eq!((&new.name, &new.tags, &new.args, &new.env), (&old.name, &old.tags, &old.args, &old.env));
    assert_eq!((new.priority, new.max_attempts, &new.handler), (old.priority, old.max_attempts, &old.handler));
    assert_eq!(site.host.jobs.payload(&new.input), site.host.jobs.payload(&old.input));
    assert_eq!(new.created_by.as_deref(), Some("console"));
}

#[tokio::test]
async fn only_an_ended_job_is_deleted() {
    let site = Site::with_echo(clock()).await;
    let ended = site.run("{}").await;
    leads_to(&site.post(&format!("/jobs/{}/delete", ended.submission.id), "").await, "/jobs?done=deleted");
    assert!(all(&site).await.is_empty());

    let scheduled = NewJob { at: Some(Timestamp::from_millis(1_800_000_000_000)), ..job("{}") };
    let scheduled = site.submit(scheduled).await;
    refused(&site.post(&format!("/jobs/{}/delete", scheduled.submission.id), "").await, 409, "BR0110");
    assert_eq!(all(&site).await.len(), 1);
}

#[tokio::test]
async fn the_service_is_paused_and_resumed() {
    let site = Site::with_echo(clock()).await;
    leads_to(&site.post("/service/pause", "").await, "/?done=paused");
    let paused = site.host.service().pause().cloned();
    assert_eq!(paused.and_then(|pause| pause.by).as_deref(), Some("console"));
    let waiting = site.submit(job("{}")).await;
    let page = site.get(&format!("/jobs/{}", waiting.submission.id)).await;
    assert!(page.text().contains("A person (console) has paused the whole service."));
    assert!(site.get("/").await.text().contains("Resume the service"));
    leads_to(&site.post("/service/resume", "").await, "/?done=resumed");
    let ended = site.host.jobs.wait(waiting, PATIENCE).await.expect("it reads");
    assert_eq!(ended.state.status, Status::Succeeded);
    site.host.set_service(ServiceState::Draining).await.expect("it is kept");
    assert!(site.get("/").await.text().contains("Resume the service"), "a drained host can be resumed");
    leads_to(&site.post("/service/resume", "").await, "/?done=resumed");
    refused(&site.post("/service/explode", "").await, 422, "BR0102");
}

#[tokio::test]
async fn versions_come_and_go() {
    let site = Site::with_echo(clock()).await;
    site.upload("echo", "0.2.0", Wishes::default()).await;
    let active = || {
        let plugins = site.host.registry.list(TenantId::DEFAULT);
        plugins.first().and_then(|plugin| Some(plugin.active.as_ref()?.to_string())).unwrap_or_default()
    };
    assert_eq!(active(), "0.2.0");
    leads_to(&site.post("/plugins/echo/rollback", "").await, "/plugins/echo?done=rolled-back");
    assert_eq!(active(), "0.1.0");
    leads_to(&site.post("/plugins/echo/activate", "version=0.2.0").await, "/plugins/echo?done=activated");
    assert_eq!(active(), "0.2.0");
    refused(&site.post("/plugins/echo/activate", "version=9.9.9").await, 404, "BR0213");
    refused(&site.post("/plugins/echo/activate", "").await, 422, "BR0102");
    refused(&site.post("/plugins/ecko/rollback", "").await, 404, "BR0103");
    refused(&site.post("/plugins/echo/explode", "").await, 422, "BR0102");

    leads_to(&site.post("/plugins/echo/disable", "").await, "/plugins/echo?done=disabled");
    assert!(site.get("/plugins/echo").await.text().contains(">disabled<"));
    leads_to(&site.post("/plugins/echo/enable", "").await, "/plugins/echo?done=enabled");

    let scheduled = NewJob { at: Some(Timestamp::from_millis(1_800_000_000_000)), ..job("{}") };
    let scheduled = site.submit(scheduled).await;
    refused(&site.post("/plugins/echo/remove", "").await, 409, "BR0214");
    site.post(&format!("/jobs/{}/cancel", scheduled.submission.id), "").await;
    leads_to(&site.post("/plugins/echo/remove", "").await, "/plugins?done=removed");
    assert!(site.host.registry.list(TenantId::DEFAULT).is_empty());
}

#[tokio::test]
async fn what_is_not_granted_is_not_activated() {
    let site = Site::with_echo(clock()).await;
    site.upload("mailer", "1.0.0", ungranted()).await;
    let lines = "grants = { http = [\"https://api.example.com\"] }\nconfig = { \"sender\" = \"VALUE\" }";
    let page = page::unescaped(site.get("/plugins/mailer").await.text());
    assert!(page.contains("[[plugin]]\nname = \"mailer\"") && page.contains(lines), "{page}");
    let answer = site.post("/plugins/mailer/activate", "version=1.0.0").await;
    refused(&answer, 409, "BR0208");
    assert!(page::unescaped(answer.text()).contains(lines));
}

#[tokio::test]
async fn running_a_batch_again_holds_nobody_up() {
    let site = Site::with_echo(clock()).await;
    let members = vec![job("fail for good")];
    let (batch, _) = site.host.jobs.submit_batch(NewBatch::default(), members).await.expect("it is accepted");
    let batch = site.host.jobs.wait(batch, PATIENCE).await.expect("it reads");
    let latch = Arc::new(Latch::default());
    let held = Arc::clone(&latch);
    site.store.watch_reads(move |reading| {
        if reading == Reading::Jobs {
            held.pass();
        }
    });
    let others = async {
        let waiting = Arc::clone(&latch);
        tokio::task::spawn_blocking(move || waiting.until(1)).await.expect("it comes");
        // This runtime has one thread.
        let answer = site.get("/healthz").await;
        latch.open();
        answer
    };
    let path = format!("/jobs/{}/retry-failed", batch.submission.id);
    let (pressed, alive) = tokio::join!(site.post(&path, ""), others);
    assert_eq!((pressed.status, alive.status), (303, 200));
}
