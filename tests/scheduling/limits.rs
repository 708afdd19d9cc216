//! What the operator allows and what people pause (F105).

use std::time::Duration;

use backroom::domain::admission::{AdmissionPolicy, QueuePolicy, StartLimits};
use backroom::domain::change::Change;
use backroom::domain::explain::Reason;
use backroom::domain::id::{ConcurrencyKey, JobId, QueueName, TenantId};
use backroom::domain::job::{Status, Ties};
use backroom::domain::queue::{Lane, Pause, QueueState};
use backroom::jobs::{Moment, NewJob};
use backroom::store::Store;

use crate::host::*;

fn limited(queue: &str, limits: StartLimits) -> AdmissionPolicy {
    let mut admission = AdmissionPolicy::default();
    admission.queues.insert(QueueName::new(queue).expect("a slug"), QueuePolicy { weight: 1, limits });
    admission
}

#[test]
fn a_run_that_its_own_deadline_stops_says_so_and_blames_no_plugin() {
    let mut host = Host::new(2, |_| works(seconds(3_600)));
    let own = host.submit(NewJob { deadline: Some(seconds(2)), max_attempts: Some(1), ..echo() });
    let of_plugin = host.submit(NewJob { max_attempts: Some(1), ..echo() });
    host.finish(&[own, of_plugin], seconds(60));
    let failure = |host: &Host, job| host.job(job).state.failure().cloned().expect("it has failed");
    assert_eq!(
        failure(&host, own).detail.as_deref(),
        Some("That is the job's own `deadline` of 2s. Submit it with a longer one; the plug-in's limit is 30s.")
    );
    assert!(!failure(&host, of_plugin).detail.unwrap_or_default().contains("deadline"));
}

#[test]
fn a_full_queue_holds_up_no_other() {
    let limits = StartLimits { concurrency: Some(2), rate: None };
    let mut host = Host::with(8, limited("bulk", limits), |_| works(seconds(5)));
    let bulk: Vec<_> = (0..20).map(|_| host.submit(in_queue("bulk"))).collect();
    let usual: Vec<_> = (0..6).map(|_| host.submit(echo())).collect();
    host.settle();
    let running = |host: &Host, jobs: &[_]| jobs.iter().filter(|job| host.status(**job).is_locked()).count();
    assert_eq!((running(&host, &bulk), running(&host, &usual)), (2, 6));
    let mut most = 0;
    for _ in 0..60 {
        host.pass(seconds(1));
        most = most.max(running(&host, &bulk));
    }
    assert_eq!(most, 2);
    host.finish(&bulk, seconds(10));
}

#[test]
fn a_rate_spreads_the_starts() {
    let rate = "6/min burst 2".parse().ok();
    let mut host = Host::with(8, limited("bulk", StartLimits { concurrency: None, rate }), |_| works(seconds(1)));
    let began = host.now();
    let bulk: Vec<_> = (0..8).map(|_| host.submit(in_queue("bulk"))).collect();
    let usual: Vec<_> = (0..8).map(|_| host.submit(echo())).collect();
    host.finish(&usual, seconds(5));
    host.finish(&bulk, seconds(90));
    let starts: Vec<_> = bulk.iter().map(|job| host.starts(*job)[0].since(began).as_secs()).collect();
    assert_eq!(starts, [0, 0, 10, 20, 30, 40, 50, 60]);
}

fn of_key(text: &str) -> NewJob {
    let concurrency_key = Some(ConcurrencyKey::new(text).expect("a good key"));
    NewJob { ties: Ties { concurrency_key, ..Ties::default() }, ..echo() }
}

/// How many of some jobs ran at a time at most, until all have ended.
fn most_at_a_time(host: &mut Host, jobs: &[JobId]) -> usize {
    let mut most = 0;
    while !jobs.iter().all(|job| host.status(*job).is_final()) {
        host.settle();
        most = most.max(jobs.iter().filter(|job| host.status(**job).is_locked()).count());
        host.pass(seconds(1));
    }
    most
}

#[test]
fn a_full_concurrency_key_holds_up_no_other_job_of_its_lane() {
    let mut admission = AdmissionPolicy::default();
    admission.per_key.insert(name("echo"), 2);
    let mut host = Host::with(8, admission, |_| works(seconds(5)));
    let mut keyed: Vec<_> = (0..12).map(|_| host.submit(of_key("customer 17"))).collect();
    // The key is the plug-in's, whatever the queue.
    keyed.extend((0..4).map(|_| host.submit(NewJob { queue: in_queue("bulk").queue, ..of_key("customer 17") })));
    let other = host.submit(of_key("customer 18"));
    let usual = host.submit(echo());
    host.settle();
    assert!([other, usual].iter().all(|job| host.status(*job).is_locked()), "they do not wait for customer 17");
    let waits = host.job(keyed[2]);
    let holds = host.window.holds(&Lane::of(&waits.submission));
    let reasons = host.jobs.explain(&waits, Moment { holds, ..Moment::default() }).expect("memory can be read");
    let codes: Vec<_> = reasons.iter().map(|Reason { code, .. }| *code).collect();
    assert_eq!(codes, ["key-full"]);
    assert_eq!(most_at_a_time(&mut host, &keyed), 2);
}

#[test]
fn one_job_of_a_concurrency_key_runs_at_a_time_where_nothing_is_set() {
    let mut host = Host::new(8, |_| works(seconds(2)));
    let keyed: Vec<_> = (0..10).map(|_| host.submit(of_key("customer 17"))).collect();
    let parked = keyed[9];
    host.settle();
    host.order(parked, backroom::jobs::Order::Cancel);
    assert_eq!(most_at_a_time(&mut host, &keyed), 1);
    assert_eq!(host.starts(parked), [], "it was called off while it waited");
}

#[test]
fn a_backlog_of_one_concurrency_key_costs_disk_and_leaves_the_rest_alone() {
    const BACKLOG: usize = 20_000;
    let mut host = Host::new(8, |_| works(seconds(1)));
    let keyed: Vec<_> = (0..BACKLOG).map(|_| of_key("customer 17")).collect();
    at_once(host.jobs.submit_bulk(keyed)).expect("they are good");
    for _ in 0..100 {
        host.submit(of_key("customer 17"));
    }
    let usual: Vec<_> = (0..50).map(|_| host.submit(echo())).collect();
    host.finish(&usual, seconds(20));
    assert!(host.window.len() < 20, "{} are in memory", host.window.len());
    // A host that starts again finds the others behind them.
    let mut host = host.restarted();
    let late = host.submit(echo());
    host.finish(&[late], seconds(20));
    assert!(host.window.len() < 20, "{} are in memory", host.window.len());
}

#[test]
fn more_concurrency_keys_than_are_held_in_memory_get_their_turn() {
    let mut host = Host::new(64, |_| works(Duration::from_millis(100)));
    let jobs: Vec<_> = (0..12_000).map(|number| of_key(&format!("customer {number}"))).collect();
    let jobs = at_once(host.jobs.submit_bulk(jobs)).expect("they are good");
    assert!(host.window.len() < 9_000, "{} are in memory", host.window.len());
    host.finish(&jobs, seconds(60));
}

fn pause(host: &Host, queue: &str, revision: u32, paused: bool) {
    let asked =
        QueueState { name: QueueName::new(queue).expect("a slug"), revision, pause: paused.then(Pause::default) };
    host.store.commit(vec![Change::put(asked)]).wait().expect("the revision follows");
}

#[test]
fn f105_what_is_paused_starts_nothing_and_loses_nothing() {
    let mut host = Host::new(8, |_| works(seconds(1)));
    pause(&host, "bulk", 1, true);
    let held = host.submit(in_queue("bulk"));
    let usual = host.submit(echo());
    host.finish(&[usual], seconds(5));
    host.pass(seconds(100));
    assert_eq!((host.status(held), host.starts(held).len()), (Status::Queued, 0));
    at_once(host.registry.pause(TenantId::DEFAULT, &name("echo"), Pause::default())).expect("it is there");
    let more = [host.submit(echo()), host.submit(NewJob { priority: 100, ..echo() })];
    pause(&host, "bulk", 2, false);
    host.pass(seconds(100));
    assert!([held, more[0], more[1]].iter().all(|job| host.starts(*job).is_empty()));
    at_once(host.registry.resume(TenantId::DEFAULT, &name("echo"))).expect("it is there");
    host.finish(&[held, more[0], more[1]], seconds(5));
}

#[test]
fn a_pause_until_a_time_ends_by_itself_without_a_word() {
    let mut host = Host::new(8, |_| works(seconds(1)));
    let until = host.now().after(seconds(3_600));
    let pause = Pause { until: Some(until), ..Pause::default() };
    let asked = QueueState { name: QueueName::new("bulk").expect("a slug"), revision: 1, pause: Some(pause.clone()) };
    host.store.commit(vec![Change::put(asked)]).wait().expect("the revision follows");
    at_once(host.registry.pause(TenantId::DEFAULT, &name("echo"), pause)).expect("it is there");
    let (bulk, usual) = (host.submit(in_queue("bulk")), host.submit(echo()));
    host.pass(seconds(3_599));
    assert!([bulk, usual].iter().all(|job| host.starts(*job).is_empty()));
    host.finish(&[bulk, usual], seconds(5));
    assert!([bulk, usual].iter().all(|job| host.starts(*job)[0] == until), "neither early nor late");
}
