//! Attempts that fail, how often and how fast they are tried again, and plug-ins that keep failing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backroom::domain::admission::AdmissionPolicy;
use backroom::domain::breaker::BreakerPolicy;
use backroom::domain::failure::ErrorClass;
use backroom::domain::id::TenantId;
use backroom::domain::job::{RunEnd, Status};
use backroom::domain::retry::RetryPolicy;
use backroom::jobs::NewJob;
use backroom::sandbox::SliceEnd;
use backroom::sandbox::scripted::Script;
use backroom::store::Store;

use crate::host::*;

#[test]
fn f034_a_handler_that_asks_four_times_for_a_retry_fails_with_its_last_error() {
    let mut host = Host::new(1, |slice| {
        let failure = failure(ErrorClass::Transient, &format!("try {}", slice.attempt));
        Script::of(SliceEnd::Retry(None, failure))
    });
    let job = host.submit(echo());
    host.finish(&[job], seconds(24 * 3_600));
    let job = host.job(job);
    assert_eq!((job.state.status, job.state.attempt, job.state.runs), (Status::Failed, 4, 4));
    assert_eq!(job.state.failure().map(|failure| failure.message.as_str()), Some("try 4"));
    let runs = host.jobs.runs(&job).expect("memory can be read");
    assert_eq!(runs.iter().map(|run| run.attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn f035_the_class_of_an_error_decides_about_a_retry() {
    let mut host = Host::new(4, |slice| match &*slice.input {
        b"network" if slice.attempt < 3 => fails(ErrorClass::Transient, "no route"),
        b"business" => fails(ErrorClass::Business, "not allowed"),
        b"fatal" => fails(ErrorClass::Fatal, "broken"),
        b"data" => fails(ErrorClass::UserFixable, "no address"),
        _ => Script::succeeds("done"),
    });
    let with = |input: &'static str| NewJob { input: input.into(), ..echo() };
    let jobs = ["network", "business", "fatal", "data"].map(|input| host.submit(with(input)));
    host.finish(&jobs, seconds(24 * 3_600));
    let ends = jobs.map(|job| {
        let job = host.job(job);
        let runs = host.jobs.runs(&job).expect("memory can be read");
        let messages: Vec<_> =
            runs.iter().map(|run| run.failure.as_ref().map(|failure| failure.message.clone())).collect();
        (job.state.status, runs.iter().map(|run| run.end).collect::<Vec<_>>(), messages)
    });
    let once = |message: &str| (Status::Failed, vec![RunEnd::Failed], vec![Some(message.to_owned())]);
    let no_route = Some("no route".to_owned());
    assert_eq!(ends[0].0, Status::Succeeded);
    assert_eq!(ends[0].1.len(), 3);
    assert_eq!(ends[0].2, [no_route.clone(), no_route, None]);
    assert_eq!(ends[1..], [once("not allowed"), once("broken"), once("no address")]);
}

#[test]
fn f036_the_gaps_between_attempts_grow_as_the_policy_says() {
    let mut host = Host::new(64, |_| fails(ErrorClass::Transient, "no route"));
    let jobs: Vec<_> = (0..60).map(|_| host.submit(echo())).collect();
    host.finish(&jobs, seconds(24 * 3_600));
    let policy = RetryPolicy::default();
    let mut gaps_of_first = BTreeSet::new();
    let mut sums = [Duration::ZERO; 3];
    for job in jobs {
        let starts = host.starts(job);
        assert_eq!(starts.len(), 4);
        for (index, pair) in starts.windows(2).enumerate() {
            let (gap, attempt) = (pair[1].since(pair[0]), u32::try_from(index).expect("small") + 1);
            let ceiling = policy.ceiling(attempt);
            assert!(gap <= ceiling + seconds(1), "attempt {attempt}: {gap:?} is more than {ceiling:?}");
            sums[index] += gap;
        }
        gaps_of_first.insert(starts[1].since(starts[0]).as_secs());
    }
    // Full jitter: spread over all of the ceiling, half of it on average.
    assert!(gaps_of_first.len() >= 8, "{gaps_of_first:?}");
    for (attempt, sum) in (1..).zip(sums) {
        let (mean, half) = (sum / 60, policy.ceiling(attempt) / 2);
        assert!(
            mean > half / 2 && mean < half + half / 2,
            "attempt {attempt}: {mean:?} on average, not about {half:?}"
        );
    }
}

#[test]
fn f036_a_time_that_the_other_side_names_is_kept() {
    for class in [ErrorClass::Transient, ErrorClass::Throttled] {
        let mut host = Host::new(1, move |slice| match slice.run {
            1 => Script::of(SliceEnd::Retry(Some(seconds(90)), failure(class, "in 90 seconds"))),
            _ => Script::succeeds("done"),
        });
        let job = host.submit(echo());
        host.finish(&[job], seconds(1_000));
        let starts = host.starts(job);
        let gap = starts[1].since(starts[0]);
        assert!(gap >= seconds(90) && gap <= seconds(91), "{class:?}: {gap:?}");
        // Being slowed down uses up no attempt.
        let attempts = if class == ErrorClass::Throttled { 1 } else { 2 };
        assert_eq!(host.job(job).state.attempt, attempts);
    }
}

/// A host of one slot whose plug-in fails until it is well, and what makes it well.
fn ailing() -> (Host, Arc<AtomicBool>) {
    let admission = AdmissionPolicy { breaker: Some(BreakerPolicy::default()), ..AdmissionPolicy::default() };
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let host = Host::with(1, admission, move |_| match well.load(Ordering::Relaxed) {
        true => works(seconds(1)),
        false => Script { end: fails(ErrorClass::Transient, "broken").end, ..works(seconds(1)) },
    });
    (host, is_well)
}

fn once() -> NewJob {
    NewJob { max_attempts: Some(1), ..echo() }
}

#[test]
fn f039_a_restart_does_not_let_the_backlog_of_a_failing_plugin_loose() {
    let (mut host, is_well) = ailing();
    let jobs: Vec<_> = (0..60).map(|_| host.submit(once())).collect();
    // Twenty fail, and a minute later the probe: the second pause has begun.
    host.pass(seconds(100));
    let before = host.started().len();
    assert_eq!(before, 21);
    let mut host = host.restarted();
    host.pass(seconds(60));
    assert_eq!(host.started().len(), before, "the pause goes on");
    assert!(host.window.is_degraded(TenantId::DEFAULT, &name("echo")));
    host.pass(seconds(50));
    assert_eq!(host.started().len(), before + 1, "one is let in to see whether it is well");
    // A success closes it for good, also for the host after that.
    is_well.store(true, Ordering::Relaxed);
    host.pass(seconds(300));
    let mut host = host.restarted();
    assert!(!host.window.is_degraded(TenantId::DEFAULT, &name("echo")));
    host.finish(&jobs, seconds(100));
}

#[test]
fn f039_a_person_who_has_mended_a_plugin_need_not_wait() {
    let (mut host, is_well) = ailing();
    let jobs: Vec<_> = (0..60).map(|_| host.submit(once())).collect();
    host.pass(seconds(30));
    assert_eq!(host.started().len(), 20);
    is_well.store(true, Ordering::Relaxed);
    at_once(host.registry.resume(TenantId::DEFAULT, &name("echo"))).expect("it is there");
    host.finish(&jobs, seconds(45));
    assert_eq!(host.store.breakers(), Ok(Vec::new()));
}

#[test]
fn f039_a_plugin_that_keeps_failing_starts_less_and_less_often_until_it_succeeds() {
    let policy = BreakerPolicy::default();
    let (mut host, is_well) = ailing();
    let jobs: Vec<_> = (0..120).map(|_| host.submit(once())).collect();
    host.pass(seconds(12 * 3_600));
    assert!(host.window.is_degraded(TenantId::DEFAULT, &name("echo")));
    let starts: Vec<_> = host.log.lock().starts.iter().map(|start| start.on).collect();
    let gaps: Vec<_> = starts.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    let before = gaps.iter().take_while(|gap| **gap < seconds(30)).count() + 1;
    assert_eq!(before, policy.least_failures as usize, "it opens as soon as enough have failed");
    for (index, gap) in gaps[before - 1..].iter().enumerate() {
        let pause = policy.first_pause.saturating_mul(1 << index.min(20)).min(policy.longest_pause);
        assert!(*gap >= pause && *gap <= pause + seconds(3), "probe {index} after {gap:?}, not {pause:?}");
    }
    assert!(gaps.len() - before > 10, "it is probed for ever: {gaps:?}");
    // One success, and all the others start at the rate of a whole plug-in.
    is_well.store(true, Ordering::Relaxed);
    host.pass(policy.longest_pause);
    let left: Vec<_> = jobs.iter().copied().filter(|job| !host.status(*job).is_final()).collect();
    host.finish(&left, seconds(200));
    assert!(!host.window.is_degraded(TenantId::DEFAULT, &name("echo")));
}
