//! Claims, cancels, resumes and postpones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backroom::domain::change::Change;
use backroom::domain::failure::ErrorClass;
use backroom::domain::id::{DedupKey, JobId, TenantId};
use backroom::domain::job::{JobState, Status, Ties, WaitReason, Wake};
use backroom::domain::queue::Pause;
use backroom::domain::time::Timestamp;
use backroom::jobs::{Command, NewJob, Order};
use backroom::sandbox::SliceEnd;
use backroom::sandbox::scripted::Script;
use backroom::store::Store;

use crate::host::*;

#[test]
fn f010_ready_to_locked_is_exclusive() {
    let host = Host::new(0, |_| Script::succeeds("done"));
    let others: Vec<Host> = (0..7).map(|_| host.taken_over()).collect();
    let jobs: Vec<_> = (0..500).map(|_| host.submit(echo())).collect();
    let hosts: Vec<&Host> = [&host].into_iter().chain(&others).collect();
    for id in &jobs {
        let ready = host.job(*id);
        // All of them have read the job before any of them claims it.
        let claims: Vec<_> = hosts
            .iter()
            .map(|host| (host, host.worker.claim(ready.clone(), host.now()).expect("memory can be read")))
            .collect();
        let claimed = claims.into_iter().filter_map(|(host, claim)| {
            let claimed = at_once(host.worker.claimed(claim?)).expect("memory can be written");
            Some((host, claimed?))
        });
        let claimed: Vec<_> = claimed.collect();
        assert_eq!(claimed.len(), 1, "one host has it");
        for (host, claimed) in claimed {
            let finished = at_once(host.worker.run(claimed));
            at_once(host.worker.settle(finished)).expect("memory can be written");
        }
    }
    for id in jobs {
        let job = host.job(id);
        assert_eq!((job.state.status, job.state.runs, job.state.fence), (Status::Succeeded, 1, 1));
        assert_eq!(host.jobs.runs(&job).map(|runs| runs.len()), Ok(1));
    }
}

#[test]
fn f012_a_canceled_ready_job_never_starts() {
    let started = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&started);
    let mut host = Host::new(0, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Script::succeeds("done")
    });
    let (canceled, other) = (host.submit(echo()), host.submit(echo()));
    host.settle();
    assert_eq!(host.order(canceled, Order::Cancel).state.status, Status::Canceled);
    host.slots = 2;
    host.finish(&[other], seconds(1));
    host.pass(seconds(60));
    assert_eq!((started.load(Ordering::Relaxed), host.started()), (1, vec![key(other)]));
    assert_eq!(host.status(canceled), Status::Canceled);
}

#[test]
fn f013_a_canceled_suspended_job_leaves_no_timer() {
    let mut host = Host::new(2, |_| Script::succeeds("done"));
    let later = host.now().after(seconds(100));
    let scheduled = host.submit(NewJob { at: Some(later), ..echo() });
    let postponed = host.submit(echo());
    host.order(postponed, Order::Postpone(later));
    assert_eq!(host.store.next_due(), Ok(Some(later)));
    for job in [scheduled, postponed] {
        assert_eq!(host.status(job), Status::Waiting);
        assert_eq!(host.order(job, Order::Cancel).state.status, Status::Canceled);
    }
    assert_eq!(host.store.next_due(), Ok(None));
    assert_eq!(host.store.due(Timestamp(i64::MAX), 9), Ok(Vec::new()));
    host.pass(seconds(300));
    assert_eq!(host.started(), []);
}

#[test]
fn f016_a_resumed_job_does_not_wait_for_its_time() {
    let mut host = Host::new(9, |slice| match (slice.run, &*slice.input) {
        (1, b"event") => Script::of(SliceEnd::Suspended(Wake::Event("paid".to_owned()))),
        (1, b"manual") => Script::of(SliceEnd::Suspended(Wake::Manual)),
        (1, b"sleep") => Script::of(SliceEnd::Suspended(Wake::At(slice.deadline.after(seconds(3_600))))),
        (1, b"retry") => Script::of(SliceEnd::Retry(Some(seconds(3_600)), failure(ErrorClass::Transient, "later"))),
        _ => Script::succeeds("done"),
    });
    let with = |input: &'static str| NewJob { input: input.into(), ..echo() };
    let mut jobs: Vec<_> = ["event", "manual", "sleep", "retry"].map(|input| host.submit(with(input))).to_vec();
    let later = host.now().after(seconds(3_600));
    jobs.push(host.submit(NewJob { at: Some(later), ..echo() }));
    jobs.push(host.submit(NewJob { at: Some(later), ..echo() }));
    host.settle();
    host.order(jobs[5], Order::Pause);
    let statuses: Vec<_> = jobs.iter().map(|job| host.status(*job)).collect();
    let wanted = [Status::Waiting, Status::Waiting, Status::Waiting, Status::Retrying, Status::Waiting, Status::Paused];
    assert_eq!(statuses, wanted);
    let now = host.now();
    // Nobody stands in for an event.
    let waiting = jobs.remove(0);
    assert!(refused(&host, waiting, Order::Resume).contains("only the event `paid` ends its wait"));
    let paused = *jobs.last().expect("the last one is paused");
    assert_eq!(host.order(paused, Order::Resume).state.status, Status::Waiting, "it waits for its time again");
    for job in &jobs {
        assert_eq!(host.order(*job, Order::Resume).state.status, Status::Queued);
    }
    host.settle();
    for job in jobs {
        assert_eq!((host.status(job), host.starts(job).last()), (Status::Succeeded, Some(&now)));
    }
}

fn refused(host: &Host, job: JobId, order: Order) -> String {
    let before = host.job(job);
    let refused = at_once(host.jobs.steer(TenantId::DEFAULT, job, &Command::new(order, "somebody")));
    assert_eq!(host.job(job), before, "nothing has changed");
    refused.expect_err("its state does not allow it").to_string()
}

#[test]
fn a_pause_that_is_taken_back_changes_nothing() {
    let mut host = Host::new(9, |slice| match (slice.run, &*slice.input) {
        (1, b"event") => Script::of(SliceEnd::Suspended(Wake::Event("paid".to_owned()))),
        (1, b"manual") => Script::of(SliceEnd::Suspended(Wake::Manual)),
        (1, b"sleep") => Script::of(SliceEnd::Suspended(Wake::At(slice.deadline.after(seconds(600))))),
        (1, b"retry") => Script::of(SliceEnd::Retry(Some(seconds(600)), failure(ErrorClass::Transient, "later"))),
        _ => Script::succeeds("done"),
    });
    let with = |input: &'static str| NewJob { input: input.into(), ..echo() };
    let mut jobs: Vec<_> = ["event", "manual", "sleep", "retry"].map(|input| host.submit(with(input))).to_vec();
    jobs.push(host.submit(NewJob { at: Some(host.now().after(seconds(600))), ..echo() }));
    host.settle();
    for job in &jobs {
        let before = host.job(*job).state;
        let paused = host.order(*job, Order::Pause).state;
        assert_eq!((paused.status, paused.wait()), (Status::Paused, before.wait()));
        host.pass(seconds(30));
        let after = host.order(*job, Order::Resume).state;
        let (revision, modified) = (before.revision, before.modified.clone());
        assert_eq!(JobState { revision, modified, ..after }, before);
    }
    // Those that only time holds start at that time, and no sooner; with `now` they run at once.
    let runs: Vec<_> = jobs.iter().map(|job| host.starts(*job).len()).collect();
    for job in [jobs[2], jobs[3], jobs[4]] {
        host.order(job, Order::Pause);
    }
    assert!(
        host.order(jobs[3], Order::ResumeNow).state.attempt == 0,
        "a person wants it to run: attempts are counted anew"
    );
    host.settle();
    assert_eq!(host.starts(jobs[3]).len(), runs[3] + 1);
    host.pass(seconds(1_200));
    assert_eq!((host.status(jobs[2]), host.status(jobs[4])), (Status::Paused, Status::Paused));
    // What became due meanwhile is not waited for again.
    for job in [jobs[2], jobs[4]] {
        assert_eq!(host.order(job, Order::Resume).state.status, Status::Queued);
    }
    // Neither a resume nor a time stands in for an event, also while it is paused.
    host.order(jobs[0], Order::Pause);
    let until = host.now();
    for order in [Order::ResumeNow, Order::Postpone(until)] {
        assert!(refused(&host, jobs[0], order).contains("only the event `paid` ends its wait"), "{order:?}");
    }
    host.order(jobs[0], Order::Resume);
    assert!(refused(&host, jobs[0], Order::Postpone(until)).contains("only the event `paid`"));
}

#[test]
fn a_job_that_was_paused_while_its_plug_in_was_missing_finds_it_when_it_goes_on() {
    let mut host = Host::new(2, |_| Script::succeeds("done"));
    at_once(host.registry.pause(TenantId::DEFAULT, &name("echo"), Pause::default())).expect("it is there");
    let job = host.submit(echo());
    let mut missing = host.job(job);
    missing.state = JobState {
        status: Status::Waiting,
        wait_reason: Some(WaitReason::MissingComponent),
        revision: 1,
        ..missing.state
    };
    let held = Change::Advance { job: key(job), expected: 0, next: Box::new(missing.state), earlier_run: None };
    at_once(host.store.commit(vec![held])).expect("memory can be written");
    host.order(job, Order::Pause);
    at_once(host.registry.resume(TenantId::DEFAULT, &name("echo"))).expect("it is there");
    host.settle();
    assert_eq!(host.status(job), Status::Paused);
    host.order(job, Order::Resume);
    host.finish(&[job], seconds(5));
}

#[test]
fn f017_a_postponed_job_starts_at_its_time() {
    let mut host = Host::new(0, |_| Script::succeeds("done"));
    let job = host.submit(echo());
    host.settle();
    let until = host.now().after(seconds(90));
    host.order(job, Order::Postpone(until));
    host.slots = 1;
    host.pass(seconds(89));
    assert_eq!((host.status(job), host.starts(job).len()), (Status::Waiting, 0));
    host.pass(seconds(10));
    let started = host.starts(job)[0];
    assert!(
        started >= until && started <= until.after(seconds(2)),
        "it was put off to {until} and started on {started}"
    );
    // A time that has passed means now.
    let job = host.submit(echo());
    host.order(job, Order::Postpone(until));
    host.finish(&[job], seconds(2));
}

#[test]
fn f021_nothing_goes_from_suspended_to_locked() {
    let mut host = Host::new(4, |slice| match (slice.job.sequence().0 + u64::from(slice.run) * 7) % 9 {
        0 => fails(ErrorClass::Transient, "again"),
        1 => Script::of(SliceEnd::Suspended(Wake::At(slice.deadline.after(seconds(5))))),
        2 => Script::of(SliceEnd::Suspended(Wake::Manual)),
        3 => fails(ErrorClass::Throttled, "slower"),
        4 => works(seconds(3)),
        _ => works(seconds(1)),
    });
    let mut jobs = Vec::new();
    for round in 0..300_u64 {
        if round < 150 {
            let at = (round % 5 == 0).then(|| host.now().after(seconds(round % 40)));
            let wished = if round % 3 == 0 { keyed("k") } else { echo() };
            jobs.push(host.submit(NewJob { at, ..wished }));
        }
        let job = jobs[usize::try_from(round * 31).expect("small") % jobs.len()];
        let status = host.status(job);
        let order = match round % 4 {
            0 => Order::Pause,
            1 => Order::Postpone(host.now().after(seconds(round % 20))),
            _ => Order::Resume,
        };
        let can = match order {
            Order::Resume => matches!(status, Status::Waiting | Status::Retrying | Status::Paused),
            Order::Pause => matches!(status, Status::Waiting | Status::Retrying | Status::Running),
            _ => {
                matches!(status, Status::Queued | Status::Waiting | Status::Retrying | Status::Paused | Status::Running)
            }
        };
        if can {
            host.order(job, order);
        }
        host.pass(seconds(1));
    }
    let log = host.log.lock();
    let into_locked = log.transitions.iter().filter(|(from, to)| !from.is_locked() && to.is_locked());
    let from: Vec<Status> = into_locked.map(|(from, _)| *from).collect();
    assert!(from.len() > 150 && from.iter().all(|from| *from == Status::Queued), "{from:?}");
    for suspended in [Status::Waiting, Status::Retrying, Status::Paused] {
        let leaves = log.transitions.iter().filter(|(from, to)| *from == suspended && *to == Status::Queued).count();
        assert!(leaves > 2, "the soak should wake more jobs that were {suspended}: {leaves}");
    }
}

#[test]
fn a_queued_job_expires_on_time_although_nothing_could_start_it() {
    let mut host = Host::new(4, |_| works(seconds(1)));
    at_once(host.registry.pause(TenantId::DEFAULT, &name("echo"), Pause::default())).expect("it is there");
    let expires_on = Some(host.now().after(seconds(30)));
    let dedup_key = Some(DedupKey::new("once").expect("a good key"));
    let once = NewJob { ties: Ties { dedup_key, ..Ties::default() }, ..echo() };
    let held = host.submit(NewJob { expires_on, ..once.clone() });
    let head = host.submit(keyed("k"));
    let behind = host.submit(NewJob { expires_on, ..keyed("k") });
    host.pass(seconds(29));
    assert_eq!((host.status(held), host.status(behind)), (Status::Queued, Status::Queued));
    host.pass(seconds(2));
    assert_eq!((host.status(held), host.status(behind)), (Status::Canceled, Status::Canceled));
    assert_eq!(host.status(head), Status::Queued);
    assert_ne!(host.submit(once), held, "what has expired stands in nobody's way");
}
