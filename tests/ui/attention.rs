//! The overview says what needs a person, with the button that deals with it.

use std::sync::Arc;

use backroom::clock::SimulatedClock;
use backroom::domain::id::{PluginName, QueueName, TenantId};
use backroom::domain::job::{OnPredecessorFailure, Status, Ties};
use backroom::domain::queue::Pause;
use backroom::domain::service::ServiceState;
use backroom::domain::time::Timestamp;
use backroom::jobs::{Command, NewJob, Order};

use crate::offers::until;
use crate::page;
use crate::pages::words;
use crate::site::{Site, job, ungranted};

#[tokio::test]
async fn what_is_held_up_is_seen_and_resumed() {
    let site = Site::with_echo(Arc::new(SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000)))).await;
    assert!(!words(site.get("/").await.text()).contains("Needs a person"));
    let echo = PluginName::new("echo").expect("a slug");
    site.host.registry.pause(TenantId::DEFAULT, &echo, Pause::default()).await.expect("it is paused");
    let pause = Pause {
        by: Some("ann".to_owned()),
        reason: Some("a limit".to_owned()),
        until: Some(Timestamp::from_millis(1_700_000_100_000)),
        ..Pause::default()
    };
    site.host.pause_queue(&QueueName::default_queue(), Some(pause.clone())).await.expect("it is paused");
    site.host.set_service(ServiceState::Paused(pause)).await.expect("it is paused");
    site.upload("mailer", "1.0.0", ungranted()).await;
    let html = site.get("/").await;
    page::read(html.text());
    let shown = words(html.text());
    for sentence in [
        "Needs a person",
        "The service is paused until 2023-11-14T22:15:00.000Z by ann: a limit. No new job starts.",
        "Queue default is paused until 2023-11-14T22:15:00.000Z by ann: a limit.",
        "Plug-in echo is paused until it is resumed.",
        "Plug-in mailer runs nothing: it asks for what is not granted.",
    ] {
        assert!(shown.contains(sentence), "{sentence}: {shown}");
    }
    for path in ["/plugins", "/plugins/echo"] {
        assert!(words(site.get(path).await.text()).contains("paused"), "{path}");
    }
    for button in ["/queues/default/resume", "/plugins/echo/resume", "/service/resume"] {
        assert!(html.text().contains(&format!("action=\"{button}\"")), "{button}");
        assert_eq!(site.post(button, "").await.status, 303, "{button}");
    }
    let shown = words(site.get("/").await.text());
    assert!(!shown.contains("is paused"), "{shown}");
    assert_eq!(site.post("/queues/ghost/resume", "").await.status, 404);
}

#[tokio::test]
async fn a_held_job_is_found_behind_many_that_wait_for_their_time() {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let site = Site::with_echo(Arc::new(SimulatedClock::at(now))).await;
    let scheduled = || NewJob { at: Some(Timestamp::from_millis(1_800_000_000_000)), ..job("{}") };
    let first = site.submit(scheduled()).await;
    let after = Ties {
        after: vec![first.submission.id],
        on_predecessor_failure: OnPredecessorFailure::Block,
        ..Ties::default()
    };
    let held = site.submit(NewJob { ties: after, ..job("{}") }).await;
    let cancel = Command::new(Order::Cancel, "kim");
    site.host.jobs.steer(TenantId::DEFAULT, first.submission.id, &cancel).await.expect("it is canceled");
    until(&site, held, Status::Waiting).await;
    let newer = || (0..5_000).map(|_| scheduled()).collect();
    // More than the store looks at in one go.
    for _ in 0..5 {
        site.host.jobs.submit_bulk(newer()).await.expect("they are accepted");
    }
    let shown = words(site.get("/").await.text());
    assert!(shown.contains("Held until a person fixes something: 1 job."), "{shown}");
}
