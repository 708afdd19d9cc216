//! Shares of queues, priorities, and nobody who waits for ever.

use std::time::Duration;

use backroom::domain::admission::{AdmissionPolicy, QueuePolicy, StartLimits};
use backroom::domain::id::{JobId, QueueName};
use backroom::domain::job::Rank;
use backroom::jobs::NewJob;

use crate::host::*;

fn weighted(weights: &[(&str, u32)]) -> AdmissionPolicy {
    let mut admission = AdmissionPolicy::default();
    for (name, weight) in weights {
        let policy = QueuePolicy { weight: *weight, limits: StartLimits::default() };
        admission.queues.insert(QueueName::new(name).expect("a slug"), policy);
    }
    admission
}

/// The longest that one of the jobs waited for its start.
fn longest_wait(host: &Host, jobs: &[JobId]) -> Duration {
    let wait = |job: &JobId| host.starts(*job)[0].since(host.job(*job).submission.created_on);
    jobs.iter().map(wait).max().expect("there are some")
}

/// A host with one queue full of work for minutes, into which jobs of the other queue come one by one.
fn into_saturated(full: &str, other: &str) -> (Host, Vec<JobId>) {
    let admission = weighted(&[("default", 4), ("maintenance", 1)]);
    let mut host = Host::with(4, admission, |_| works(seconds(1)));
    for _ in 0..400 {
        host.submit(in_queue(full));
    }
    let mut jobs = Vec::new();
    for _ in 0..10 {
        host.pass(seconds(5));
        jobs.push(host.submit(in_queue(other)));
    }
    host.finish(&jobs, seconds(60));
    let left = host.window.len();
    assert!(left > 100, "the queue `{full}` should still be full: {left}");
    (host, jobs)
}

#[test]
fn f103_a_saturated_queue_does_not_delay_maintenance_nor_the_other_way_round() {
    for (full, other) in [("default", "maintenance"), ("maintenance", "default")] {
        let (host, jobs) = into_saturated(full, other);
        let wait = longest_wait(&host, &jobs);
        assert!(wait <= seconds(2), "a job of `{other}` waited {wait:?} behind those of `{full}`");
    }
}

#[test]
fn queues_share_the_starts_by_their_weights_while_both_wait() {
    let mut host = Host::with(1, weighted(&[("default", 3), ("bulk", 1)]), |_| works(seconds(1)));
    let usual: Vec<_> = (0..90).map(|_| key(host.submit(echo()))).collect();
    for _ in 0..90 {
        host.submit(in_queue("bulk"));
    }
    host.pass(seconds(80));
    let started = host.started();
    for (index, four) in started.chunks_exact(4).enumerate() {
        let share = four.iter().filter(|job| usual.contains(job)).count();
        assert_eq!(share, 3, "of the starts from {} on", 4 * index);
    }
    // A queue that is alone gets everything.
    host.pass(seconds(200));
    assert_eq!(host.started().len(), 180);
}

#[test]
fn greater_priority_goes_first_and_nothing_starves() {
    let mut host = Host::new(1, |_| works(seconds(1)));
    let points = 10;
    let worth = seconds(u64::try_from(i64::from(points) * Rank::SECONDS_PER_POINT).expect("positive"));
    let low = host.submit(echo());
    let began = host.now();
    let high = || NewJob { priority: points, ..echo() };
    // As many of high priority as the host can run, for longer than the priority is worth.
    for _ in 0..10 {
        host.submit(high());
    }
    for _ in 0..2 * worth.as_secs() {
        host.submit(high());
        host.pass(seconds(1));
    }
    let waited = host.starts(low).first().map(|on| on.since(began));
    let waited = waited.expect("a stream of greater priority does not hold it up for ever");
    assert!(waited > worth - seconds(30), "priority counts: it waited {waited:?} only");
    assert!(waited < worth + seconds(30), "it waited {waited:?}, and its priority is worth {worth:?}");
}

#[test]
fn plugins_of_one_queue_take_turns_by_age() {
    let mut host = Host::new(1, |_| works(seconds(1)));
    let put = backroom::domain::change::Change::put(plugin("other", true));
    backroom::store::Store::commit(&*host.store, vec![put]).wait().expect("it is new");
    let flood: Vec<_> = (0..20).map(|_| host.submit(echo())).collect();
    host.pass(seconds(5));
    let late = host.submit(NewJob { plugin: name("other"), ..echo() });
    let later: Vec<_> = (0..20).map(|_| host.submit(echo())).collect();
    host.finish(&later, seconds(60));
    let first_of_later = host.starts(later[0])[0];
    let last_of_flood = host.starts(flood[19])[0];
    let started = host.starts(late)[0];
    assert!(last_of_flood < started && started <= first_of_later.after(seconds(1)), "it starts by its age");
}
