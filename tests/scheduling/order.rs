//! Jobs that run one after another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backroom::domain::change::Change;
use backroom::domain::failure::ErrorClass;
use backroom::domain::id::{JobId, RecordName, TenantId};
use backroom::domain::job::{OnPredecessorFailure, Status, Ties};
use backroom::jobs::{Command, NewJob, Order};
use backroom::retention::Sweeper;
use backroom::store::memory::MemoryStore;
use backroom::store::{News, Store};
use parking_lot::Mutex;

use crate::host::*;

/// When the only run of a job began and ended.
fn interval(host: &Host, job: JobId) -> (backroom::domain::time::Timestamp, backroom::domain::time::Timestamp) {
    let log = host.log.lock();
    let runs: Vec<_> = log.starts.iter().filter(|start| start.job == key(job)).collect();
    assert_eq!(runs.len(), 1, "it ran once");
    (runs[0].on, runs[0].ended.expect("it has ended"))
}

#[test]
fn f025_jobs_of_one_kind_start_in_the_order_of_their_submit() {
    let mut host = Host::new(1, |_| works(seconds(1)));
    let mut jobs = Vec::new();
    for round in 0..60 {
        jobs.push(host.submit(echo()));
        if round % 4 == 0 {
            host.pass(seconds(1));
        }
    }
    host.finish(&jobs, seconds(120));
    assert_eq!(host.started(), jobs.into_iter().map(key).collect::<Vec<_>>());
}

#[test]
fn f026_one_thousand_jobs_on_one_key_never_overlap_and_follow_their_sequence() {
    let mut host = Host::new(8, |_| works(Duration::from_millis(100)));
    let jobs: Vec<_> = (0..1_000).map(|_| host.submit(keyed("k"))).collect();
    host.finish(&jobs, seconds(400));
    assert_eq!(host.started(), jobs.iter().copied().map(key).collect::<Vec<_>>());
    let log = host.log.lock();
    for pair in log.starts.windows(2) {
        assert!(pair[0].ended.is_some_and(|ended| ended <= pair[1].on), "{pair:?} overlap");
    }
}

#[test]
fn f027_a_postponed_head_blocks_its_key_and_nothing_else() {
    let mut host = Host::new(8, |_| works(seconds(1)));
    let [first, second, third] = [(); 3].map(|()| host.submit(keyed("k")));
    let others = [host.submit(keyed("other")), host.submit(echo()), host.submit(keyed("other"))];
    let until = host.now().after(seconds(100));
    host.order(second, Order::Postpone(until));
    host.finish(&[first, others[0], others[1], others[2]], seconds(10));
    host.pass(seconds(50));
    assert_eq!((host.status(second), host.status(third)), (Status::Waiting, Status::Queued));
    assert_eq!(host.starts(third), []);
    let blocked_by = host.store.predecessors(key(third)).expect("memory can be read").unfinished;
    assert_eq!(blocked_by, [key(second)]);
    host.finish(&[second, third], seconds(60));
    assert!(host.starts(second)[0] >= until);
    assert!(interval(&host, third).0 >= interval(&host, second).1);
    // And no command of a person makes the order another one.
    let [head, next] = [(); 2].map(|()| host.submit(keyed("k")));
    host.order(head, Order::Postpone(host.now().after(seconds(100))));
    host.order(next, Order::Postpone(host.now().after(seconds(1))));
    host.order(next, Order::Resume);
    host.pass(seconds(50));
    assert_eq!((host.status(next), host.starts(next).len()), (Status::Queued, 0));
    host.order(head, Order::Cancel);
    host.finish(&[next], seconds(2));
}

#[test]
fn f028_updates_of_one_record_run_in_order_although_workers_are_free() {
    let mut host = Host::new(8, |_| works(seconds(1)));
    let mut by_record: BTreeMap<String, Vec<JobId>> = BTreeMap::new();
    for number in 0..30 {
        let record = format!("order/{}", number % 3);
        let mut new = keyed(&record);
        new.ties.regarding = RecordName::new(&record).ok();
        by_record.entry(record).or_default().push(host.submit(new));
    }
    host.settle();
    assert_eq!(host.runs.len(), 3, "one for each record, and five workers are free");
    let all: Vec<_> = by_record.values().flatten().copied().collect();
    host.finish(&all, seconds(30));
    for (record, jobs) in by_record {
        let runs: Vec<_> = jobs.iter().map(|job| interval(&host, *job)).collect();
        assert!(runs.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{record}: {runs:?}");
    }
}

#[test]
fn a_job_that_minds_is_held_or_called_off_when_its_predecessor_fails() {
    let mut host = Host::new(4, |slice| match &*slice.input {
        b"bad" => fails(ErrorClass::Business, "no"),
        _ => works(seconds(1)),
    });
    let bad = || NewJob { input: "bad".into(), ..echo() };
    let minding = |after: JobId, on_predecessor_failure| {
        let ties = Ties { after: vec![after], on_predecessor_failure, ..Ties::default() };
        NewJob { ties, ..echo() }
    };
    let head = host.submit(bad());
    let goes_on = host.submit(minding(head, OnPredecessorFailure::Continue));
    let blocked = host.submit(minding(head, OnPredecessorFailure::Block));
    let canceled = host.submit(minding(head, OnPredecessorFailure::Cancel));
    // Being called off is no success either.
    let behind = host.submit(minding(canceled, OnPredecessorFailure::Cancel));
    host.finish(&[head, goes_on, canceled, behind], seconds(10));
    assert_eq!(host.status(goes_on), Status::Succeeded);
    assert_eq!((host.status(canceled), host.status(behind)), (Status::Canceled, Status::Canceled));
    host.pass(seconds(100));
    assert_eq!((host.status(blocked), host.starts(blocked).len()), (Status::Waiting, 0));
    let failure = host.job(blocked).state.failure().cloned().expect("it says why");
    assert_eq!(failure.code.as_deref(), Some("BR0318"));
    host.order(blocked, Order::Resume);
    host.finish(&[blocked], seconds(10));
    assert_eq!(host.status(blocked), Status::Succeeded);
}

#[test]
fn jobs_of_one_key_are_written_in_the_order_of_their_numbers_whoever_submits() {
    let host = Host::new(0, |_| works(seconds(1)));
    let last = Arc::new(Mutex::new(0));
    let (seen, out_of_order) = (Arc::clone(&last), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&out_of_order);
    host.store.feed(Arc::new(move |news: News<'_>| {
        let News::Committed(changes) = news else { return };
        for change in changes {
            let Change::Submit(submission, _) = change else { continue };
            let (mut last, sequence) = (seen.lock(), submission.id.sequence().0);
            if sequence < *last {
                noted.lock().push((*last, sequence));
            }
            *last = sequence;
        }
    }));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let jobs = Arc::clone(&host.jobs);
            scope.spawn(move || {
                for round in 0..200 {
                    match (thread + round) % 4 {
                        0 => drop(at_once(jobs.submit_bulk((0..5).map(|_| keyed("k")).collect())).expect("good jobs")),
                        _ => drop(at_once(jobs.submit(keyed("k"), None)).expect("a good job")),
                    }
                }
            });
        }
    });
    assert_eq!(*out_of_order.lock(), [], "a job came to its key behind one that is younger (I6, I7)");
}

#[test]
fn a_failed_job_stays_for_as_long_as_another_asks_how_it_ended() {
    let mut host = Host::new(4, |slice| match &*slice.input {
        b"bad" => fails(ErrorClass::Business, "no"),
        _ => works(seconds(20)),
    });
    let failed = host.submit(NewJob { input: "bad".into(), ..echo() });
    let slow = host.submit(echo());
    let after = |on_predecessor_failure| NewJob {
        ties: Ties { after: vec![failed, slow], on_predecessor_failure, ..Ties::default() },
        ..echo()
    };
    let minds = host.submit(after(OnPredecessorFailure::Cancel));
    let does_not = host.submit(after(OnPredecessorFailure::Continue));
    host.finish(&[failed], seconds(10));
    let delete = Command::new(Order::Delete, "somebody");
    let refused = at_once(host.jobs.steer(TenantId::DEFAULT, failed, &delete)).expect_err("somebody asks");
    assert!(refused.to_string().contains("still asks how it ended"), "{refused}");
    let sweeper = Sweeper::new(Arc::<MemoryStore>::clone(&host.store), Arc::clone(&host.registry));
    let swept = sweeper.sweep(&|job| job.state.status == Status::Failed, false).expect("memory can be read");
    assert_eq!((swept.removed, host.status(failed)), (0, Status::Failed));
    host.finish(&[minds, does_not], seconds(200));
    assert_eq!((host.status(minds), host.status(does_not)), (Status::Canceled, Status::Succeeded));
    host.order(failed, Order::Delete);
}
