//! Jobs that make jobs without end (domain.md 4.5).

use backroom::domain::id::{JobId, RecordName};
use backroom::domain::job::Status;
use backroom::domain::loops::{DEPTH_MAX, RUNS_PER_RECORD_MAX, WINDOW};
use backroom::domain::query::{JobFilter, JobQuery};
use backroom::jobs::NewJob;
use backroom::sandbox::scripted::Script;

use crate::host::*;

/// The message and the code of a job that was refused as a part of a loop.
fn refusal(host: &Host, job: JobId) -> Option<(String, String)> {
    let job = host.job(job);
    let failure = job.state.failure()?;
    assert_eq!((job.state.status, job.state.runs), (Status::Failed, 0));
    Some((failure.code.clone()?, failure.message.clone()))
}

#[test]
fn f040_a_chain_stops_at_its_depth_with_a_job_that_people_see() {
    let mut host = Host::new(1, |_| Script::succeeds("done"));
    let first = host.submit(echo());
    let mut last = first;
    for depth in 1..=DEPTH_MAX {
        host.finish(&[last], seconds(1));
        assert_eq!(host.status(last), Status::Succeeded);
        last = host.submit(NewJob { parent: Some(last), ..echo() });
        assert_eq!(host.job(last).submission.depth, depth);
    }
    host.finish(&[last], seconds(1));
    assert_eq!((host.status(last), host.job(last).submission.depth), (Status::Succeeded, 8));
    let refused = host.submit(NewJob { parent: Some(last), ..echo() });
    let (code, message) = refusal(&host, refused).expect("it is refused");
    assert_eq!(code, "BR0315");
    assert!(message.contains("0x80044182"), "{message}");
    host.pass(seconds(60));
    assert_eq!(host.starts(refused), []);
    // It is where people look for the chain.
    let filter = JobFilter { chain: Some(first), statuses: vec![Status::Failed], ..JobFilter::default() };
    let page = host.jobs.list(&JobQuery { filter, limit: 9, ..JobQuery::default() }).expect("memory can be read");
    assert_eq!(page.jobs.iter().map(|job| job.submission.id).collect::<Vec<_>>(), [refused]);
    // A job that no other one made starts anew.
    let anew = host.submit(echo());
    host.finish(&[anew], seconds(1));
}

#[test]
fn f041_the_seventeenth_run_for_one_record_fails_with_the_message_of_a_loop() {
    let mut host = Host::new(2, |_| Script::succeeds("done"));
    let regarding = |record: &str| {
        let mut new = echo();
        new.ties.regarding = RecordName::new(record).ok();
        new
    };
    for _ in 0..RUNS_PER_RECORD_MAX {
        let job = host.submit(regarding("order/1"));
        host.finish(&[job], seconds(1));
        host.pass(seconds(60));
    }
    let refused = host.submit(regarding("order/1"));
    let (code, message) = refusal(&host, refused).expect("it is refused");
    assert_eq!(code, "BR0319");
    assert!(message.contains("0x80044182") && message.contains("order/1"), "{message}");
    // Another record, no record, and the same one when the hour is over.
    let others = [host.submit(regarding("order/17")), host.submit(echo())];
    assert!(others.into_iter().all(|job| refusal(&host, job).is_none()));
    host.pass(WINDOW);
    let late = host.submit(regarding("order/1"));
    assert!(refusal(&host, late).is_none());
}

#[test]
fn who_is_refused_as_a_loop_may_run_again_when_the_hour_is_over() {
    let mut host = Host::new(1, |_| Script::succeeds("done"));
    let mut new = echo();
    new.ties.regarding = RecordName::new("order/1").ok();
    let mut runs = Vec::new();
    for minute in (0..180).step_by(3) {
        let job = host.submit(new.clone());
        host.pass(seconds(180));
        runs.extend((host.job(job).state.runs > 0).then_some(minute));
    }
    // There are twenty submits in an hour, and sixteen of them run: no more, and no fewer either.
    assert!(runs.windows(17).all(|span| span[16] - span[0] > 60), "{runs:?}");
    assert_eq!(runs.len(), 3 * 16, "{runs:?}");
}
