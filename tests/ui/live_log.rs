//! The log of a run that goes on, on the page of its job: each look shows more of it, before it ends.

use std::sync::Arc;

use backroom::clock::SimulatedClock;
use backroom::domain::job::Status;
use backroom::domain::time::Timestamp;

use crate::offers::until;
use crate::page;
use crate::pages::words;
use crate::site::{PATIENCE, Site, job};

#[tokio::test]
async fn a_running_attempt_shows_what_it_has_logged_so_far() {
    let site = Site::with_echo(Arc::new(SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000)))).await;
    let held = site.submit(job("hold the line")).await;
    let held = until(&site, held, Status::Running).await;
    let path = format!("/jobs/{}", held.submission.id);
    let look = async || {
        let answer = site.get(&path).await;
        page::read(answer.text());
        answer.text().to_owned()
    };
    site.say("INFO: read 7 rows\n");
    let shared = async {
        while !look().await.contains("INFO: read 7 rows") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, shared).await.expect("the run has begun");
    site.say("WARN: <script>alert(1)</script>\n");
    let shown = look().await;
    assert!(shown.contains("WARN: &#60;script&#62;alert(1)&#60;/script&#62;"), "{shown}");
    assert!(shown.contains("data-refresh=\"1000\"") && shown.contains("so far"), "{shown}");
    // Whoever has no script asks again by himself.
    let again = format!("{path}?run=1");
    assert!(shown.contains(&format!("href=\"{again}\"")), "{shown}");
    assert!(site.get(&again).await.text().contains("read 7 rows"));

    site.say(&"0123456789\n".repeat(20_000));
    let shown = look().await;
    assert!(shown.len() < 100_000, "{} bytes", shown.len());
    assert!(words(&shown).contains("of 214.8 KiB are shown."), "{:.2000}", words(&shown));
    assert_eq!(
        site.host.jobs.find(held.submission.key()).expect("it reads").expect("it is there").state.status,
        Status::Running
    );

    site.open_gate();
    let ended = site.host.jobs.wait(held, PATIENCE).await.expect("it reads");
    assert_eq!(ended.state.status, Status::Succeeded);
    let shown = look().await;
    assert!(shown.contains("INFO: attempt 1 of echo/handle") && !shown.contains("so far"), "{shown}");
}
