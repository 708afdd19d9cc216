//! Jobs that make jobs without end (domain.md 4.5).

use backroom::domain::id::{JobId, RecordName, TenantId};
use backroom::domain::job::Status;
use backroom::domain::loops::{DEPTH_MAX, RUNS_PER_RECORD, WINDOW};
use backroom::domain::query::{JobFilter, JobQuery};
use backroom::jobs::{NewBatch, NewJob, Rerun};
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

/// A job about a record, on behalf of `parent`.
fn caused_by(parent: JobId, record: &str) -> NewJob {
    let mut new = NewJob { parent: Some(parent), ..echo() };
    new.ties.regarding = RecordName::new(record).ok();
    new
}

#[test]
fn f041_the_seventeenth_run_for_one_record_in_a_chain_fails_with_the_message_of_a_loop() {
    let mut host = Host::new(2, |_| Script::succeeds("done"));
    let (first, other) = (host.submit(echo()), host.submit(echo()));
    for _ in 0..RUNS_PER_RECORD {
        let job = host.submit(caused_by(first, "order/1"));
        host.finish(&[job], seconds(1));
        host.pass(seconds(60));
    }
    let refused = host.submit(caused_by(first, "order/1"));
    let (code, message) = refusal(&host, refused).expect("it is refused");
    assert_eq!(code, "BR0319");
    assert!(message.contains("0x80044182") && message.contains("order/1"), "{message}");
    assert!(message.contains(&first.to_string()), "it names the chain: {message}");
    // Another record, no record, another chain, nobody's chain; and the same one when the hour is over.
    let outside = NewJob { parent: None, ..caused_by(first, "order/1") };
    let others =
        [caused_by(first, "order/17"), NewJob { parent: Some(first), ..echo() }, caused_by(other, "order/1"), outside];
    assert!(others.into_iter().all(|new| refusal(&host, host.submit(new)).is_none()));
    host.pass(WINDOW);
    let late = host.submit(caused_by(first, "order/1"));
    assert!(refusal(&host, late).is_none());
}

#[test]
fn what_comes_from_outside_never_counts() {
    let mut host = Host::new(4, |_| Script::succeeds("done"));
    let mut order = echo();
    order.ties.regarding = RecordName::new("customer/7").ok();
    let mut jobs: Vec<_> = (0..40).map(|_| host.submit(order.clone())).collect();
    jobs.extend(at_once(host.jobs.submit_bulk(vec![order.clone(); 200])).expect("they are good"));
    host.finish(&jobs, seconds(60));
    assert!(jobs.iter().all(|job| host.status(*job) == Status::Succeeded));
    // Neither does what people run again, however often.
    let first = host.submit(echo());
    let caused = host.submit(caused_by(first, "customer/7"));
    host.finish(&[caused], seconds(1));
    for _ in 0..2 * RUNS_PER_RECORD {
        let again = at_once(host.jobs.rerun(TenantId::DEFAULT, caused, Rerun::new("somebody"))).expect("it has ended");
        assert_eq!(again.submission.depth, 1);
        assert!(refusal(&host, again.submission.id).is_none());
    }
    let more = host.submit(caused_by(first, "customer/7"));
    assert!(refusal(&host, more).is_none(), "it is the second that a job caused");
}

#[test]
fn a_request_sees_what_it_adds_itself() {
    let mut host = Host::new(4, |_| Script::succeeds("done"));
    let first = host.submit(echo());
    let lines = vec![caused_by(first, "order/1"); 40];
    let jobs = at_once(host.jobs.submit_bulk(lines)).expect("loops are taken, and failed");
    host.finish(&jobs, seconds(60));
    let ran = jobs.iter().filter(|job| host.status(**job) == Status::Succeeded).count();
    assert_eq!(u32::try_from(ran), Ok(RUNS_PER_RECORD));
    // Two circuits of one request count apart, and each on what the store has.
    let lines: Vec<_> = ["order/1", "order/2"].into_iter().cycle().take(40).map(|to| caused_by(first, to)).collect();
    let batch = at_once(host.jobs.submit_batch(NewBatch::default(), lines)).expect("it is good");
    host.finish(&batch.1, seconds(60));
    let of = |record: &str| {
        let is_of =
            |id: &&JobId| host.job(**id).submission.ties().regarding.as_ref().is_some_and(|to| to.as_str() == record);
        batch.1.iter().filter(is_of).filter(|id| host.status(**id) == Status::Succeeded).count()
    };
    assert_eq!((of("order/1"), u32::try_from(of("order/2"))), (0, Ok(RUNS_PER_RECORD)));
}

#[test]
fn who_is_refused_as_a_loop_may_run_again_when_the_hour_is_over() {
    let mut host = Host::new(1, |_| Script::succeeds("done"));
    let first = host.submit(echo());
    let mut runs = Vec::new();
    for minute in (0..180).step_by(3) {
        let job = host.submit(caused_by(first, "order/1"));
        host.pass(seconds(180));
        runs.extend((host.job(job).state.runs > 0).then_some(minute));
    }
    // There are twenty submits in an hour, and sixteen of them run: no more, and no fewer either.
    assert!(runs.windows(17).all(|span| span[16] - span[0] > 60), "{runs:?}");
    assert_eq!(runs.len(), 3 * 16, "{runs:?}");
}
