//! Jobs that wait for their plug-in, and run when it is there, whoever has brought it and whatever has become of his request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use backroom::domain::change::Change;
use backroom::domain::id::{JobId, TenantId};
use backroom::domain::job::{JobState, Status, WaitReason};
use backroom::domain::plugin::Plugin;
use backroom::jobs::{Command, NewJob, Order};
use backroom::sandbox::scripted::Script;
use backroom::store::Store;
use backroom::store::memory::Room;
use backroom::store::warrant::{Warrant, with_warrant};

use crate::host::*;

/// More than are released at a time.
const MANY: usize = 600;

/// A host without slots whose jobs wait for the plug-in `late`.
fn with_held(count: usize) -> (Host, Vec<JobId>) {
    let mut host = Host::new(8, |_| Script::succeeds("done"));
    at_once(host.store.commit(vec![Change::put(plugin("late", false))])).expect("memory can be written");
    let jobs: Vec<_> = (0..count).map(|_| host.submit(NewJob::new(name("late"), "input"))).collect();
    host.settle();
    assert_eq!(statuses(&host, &jobs), vec![Status::Waiting; count]);
    host.slots = 0;
    (host, jobs)
}

fn statuses(host: &Host, jobs: &[JobId]) -> Vec<Status> {
    jobs.iter().map(|job| host.status(*job)).collect()
}

/// What its upload commits.
fn come() -> Change {
    Change::put(Plugin { revision: 2, ..plugin("late", true) })
}

#[test]
fn all_that_wait_for_a_plug_in_are_released_although_its_uploader_goes_away() {
    let (mut host, jobs) = with_held(MANY);
    drop(host.store.commit(vec![come()]));
    host.pass(seconds(1));
    assert_eq!(statuses(&host, &jobs), vec![Status::Queued; MANY]);
}

#[test]
fn all_are_released_although_the_host_dies_on_the_way() {
    let (mut host, jobs) = with_held(MANY);
    drop(host.store.commit(vec![come()]));
    host.settle();
    let released = statuses(&host, &jobs).iter().filter(|status| **status == Status::Queued).count();
    assert!((1..MANY).contains(&released), "a portion at a time, not {released}");
    let mut host = host.restarted();
    host.pass(seconds(1));
    assert_eq!(statuses(&host, &jobs), vec![Status::Queued; MANY]);
}

#[test]
fn all_are_released_although_the_store_takes_nothing_on_the_way() {
    let (mut host, jobs) = with_held(MANY);
    drop(host.store.commit(vec![come()]));
    host.settle();
    host.store.set_room(Room::None);
    host.pass(seconds(30));
    assert!(statuses(&host, &jobs).contains(&Status::Waiting), "some are still to come");
    host.store.set_room(Room::Plenty);
    host.pass(seconds(10));
    assert_eq!(statuses(&host, &jobs), vec![Status::Queued; MANY]);
}

#[test]
fn those_that_wait_for_another_version_or_a_disabled_plug_in_go_on_waiting() {
    let (mut host, jobs) = with_held(3);
    drop(host.store.commit(vec![Change::put(Plugin { revision: 2, disabled: true, ..plugin("late", true) })]));
    host.pass(seconds(1));
    assert_eq!(statuses(&host, &jobs), vec![Status::Waiting; 3]);
    at_once(host.registry.enable(TenantId::DEFAULT, &name("late"))).expect("it is there");
    host.pass(seconds(1));
    assert_eq!(statuses(&host, &jobs), vec![Status::Queued; 3]);
}

/// Holds so many times.
struct Times(AtomicU32);

impl Warrant for Times {
    fn check(&self) -> Result<(), Arc<str>> {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| Arc::from("it is used up"))
    }
}

#[test]
fn what_the_host_owes_a_resumed_job_needs_no_warrant_of_whoever_resumed_it() {
    let mut host = Host::new(0, |_| Script::succeeds("done"));
    let job = host.submit(echo());
    let state = host.job(job).state;
    // It was held before its plug-in came, and its pause kept that.
    let held =
        JobState { status: Status::Waiting, wait_reason: Some(WaitReason::MissingComponent), revision: 1, ..state };
    let hold = Change::Advance { job: key(job), expected: 0, next: Box::new(held), earlier_run: None };
    at_once(host.store.commit(vec![hold])).expect("memory can be written");
    host.order(job, Order::Pause);
    host.settle();
    assert_eq!(host.status(job), Status::Paused);
    let resume = Command::new(Order::Resume, "somebody");
    let resumed = host.jobs.steer(TenantId::DEFAULT, job, &resume);
    let resumed = at_once(with_warrant(Arc::new(Times(AtomicU32::new(1))), resumed)).expect("once it holds");
    assert_eq!(resumed.state.wait_reason, Some(WaitReason::MissingComponent));
    host.pass(seconds(1));
    assert_eq!(host.status(job), Status::Queued);
}
