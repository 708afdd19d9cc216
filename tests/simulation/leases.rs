//! A run belongs to its host until its end is written: while it waits for a slot, and while it waits for a disk that is full.

use std::sync::Arc;
use std::time::Duration;

use backroom::clock::{Clock, SimulatedClock};
use backroom::domain::admission::AdmissionPolicy;
use backroom::domain::change::Change;
use backroom::domain::id::{JobId, JobKey, PluginName, Sequence};
use backroom::domain::job::{Job, RunEnd, Status, Submission, transition};
use backroom::domain::time::Timestamp;
use backroom::jobs::{NewJob, SubmitError};
use backroom::sandbox::scripted::Script;
use backroom::store::memory::{MemoryStore, Room};
use backroom::store::{CommitError, Store};
use backroom::worker::Claimed;
use parking_lot::Mutex;

use crate::host::Host;
use crate::ledger::Ledger;
use crate::world::plugin;

fn new_job(input: &[u8]) -> NewJob {
    NewJob::new(PluginName::new("early").expect("a slug"), input.to_vec())
}

/// A host whose only job is claimed.
struct Fixture {
    clock: SimulatedClock,
    store: Arc<MemoryStore>,
    host: Host,
    key: JobKey,
}

impl Fixture {
    async fn with_a_claimed_job(output: &'static [u8]) -> (Self, Claimed) {
        let clock = SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000));
        let store = Arc::new(MemoryStore::new());
        store.commit(vec![Change::put(plugin("early", true))]).await.expect("there is room");
        let ledger = Arc::new(Mutex::new(Ledger::new(AdmissionPolicy::default())));
        let host =
            Host::directed(1, &store, &clock, &ledger, AdmissionPolicy::default(), move |_| Script::succeeds(output));
        let key = host.jobs.submit(new_job(b"x"), None).await.expect("there is room").job.submission.key();
        let (job, _started) = host.window.take(1).pop().expect("the feed has told the window");
        let claim = host.worker.claim(job, clock.now()).expect("memory can be read").expect("it is ready");
        let claimed = host.worker.claimed(claim).await.expect("there is room").expect("it may run");
        (Self { clock, store, host, key }, claimed)
    }

    fn job(&self) -> Job {
        self.store.job(self.key).expect("memory can be read").expect("it is there")
    }

    fn tick(&self) {
        self.host.scheduler.tick(self.clock.now()).expect("memory can be read");
    }
}

fn in_time(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts").block_on(test);
}

async fn an_end_waits_for_room(output: &'static [u8]) {
    let (fixture, claimed) = Fixture::with_a_claimed_job(output).await;
    let Fixture { store, host, .. } = &fixture;
    store.set_room(Room::None);
    let large = host.jobs.submit(new_job(&[0; 5_000]), None).await.expect_err("the disk is full");
    assert!(matches!(large, SubmitError::Commit(CommitError::Full(_))), "{large}");
    let worker = Arc::clone(&host.worker);
    let mut run = tokio::spawn(async move { worker.settle(worker.run(claimed).await).await });
    let early = tokio::time::timeout(Duration::from_millis(200), &mut run).await;
    assert!(early.is_err(), "it ended without room: {early:?}");
    store.set_room(Room::Plenty);
    run.await.expect("it does not panic").expect("its end is written");

    let state = fixture.job().state;
    assert_eq!((state.status, state.attempt, state.runs), (Status::Succeeded, 1, 1));
}

#[test]
fn finished_work_waits_for_room_and_does_not_fail() {
    in_time(async {
        // The output is a blob that does not fit, or only the commit does not.
        an_end_waits_for_room(&[7; 5_000]).await;
        an_end_waits_for_room(b"small").await;
    });
}

#[test]
fn a_run_that_its_host_still_holds_is_not_lost_when_its_lease_has_run_out() {
    in_time(async {
        let (fixture, claimed) = Fixture::with_a_claimed_job(b"done").await;
        fixture.clock.advance(Duration::from_secs(2 * 3_600));
        fixture.tick();
        assert_eq!(fixture.job().state.status, Status::Running, "it waits for a slot");

        let finished = fixture.host.worker.give_back(claimed);
        fixture.host.worker.settle(finished).await.expect("there is room");
        let state = fixture.job().state;
        assert_eq!((state.status, state.crashes), (Status::Queued, 0));
        assert_eq!(state.last_run.map(|run| run.end), Some(RunEnd::Released));
        assert!(state.same_attempt, "a run that was not started counts no attempt");
    });
}

#[test]
fn a_run_that_nobody_holds_any_more_is_lost_although_its_lease_has_not_run_out() {
    in_time(async {
        let (fixture, claimed) = Fixture::with_a_claimed_job(b"done").await;
        fixture.tick();
        assert_eq!(fixture.job().state.status, Status::Running, "it is held");
        drop(claimed);
        fixture.clock.advance(Duration::from_secs(6));
        fixture.tick();
        assert_eq!(fixture.job().state.crashes, 1);
    });
}

#[test]
fn what_could_not_be_rescued_at_the_start_is_rescued_later() {
    in_time(async {
        let (fixture, claimed) = Fixture::with_a_claimed_job(b"done").await;
        drop(claimed);
        fixture.store.set_room(Room::None);
        let ledger = Arc::new(Mutex::new(Ledger::new(AdmissionPolicy::default())));
        let next = Host::directed(1, &fixture.store, &fixture.clock, &ledger, AdmissionPolicy::default(), |_| {
            Script::succeeds("done")
        });
        assert_eq!(fixture.job().state.status, Status::Running, "there was no room for its rescue");
        fixture.store.set_room(Room::Plenty);
        next.scheduler.tick(fixture.clock.now()).expect("memory can be read");
        assert_eq!(fixture.job().state.crashes, 1);
    });
}

#[test]
fn a_job_that_is_due_is_sent_once_while_its_commit_is_under_way() {
    let clock = SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000));
    let store = Arc::new(MemoryStore::with_lazy_sync());
    let _durable_with_the_next_sync = store.commit(vec![Change::put(plugin("early", true))]);
    store.sync();
    let ledger = Arc::new(Mutex::new(Ledger::new(AdmissionPolicy::default())));
    let host = Host::directed(1, &store, &clock, &ledger, AdmissionPolicy::default(), |_| Script::succeeds("done"));
    let id = JobId::new(clock.now(), Sequence(1), 0);
    let mut submission = Submission::new(id, PluginName::new("early").expect("a slug"), clock.now());
    submission.not_before = Some(clock.now().after(Duration::from_secs(1)));
    let state = transition::submitted(&submission, clock.now());
    let _durable_with_the_next_sync = store.commit(vec![Change::Submit(Arc::new(submission), Box::new(state))]);
    store.sync();

    clock.advance(Duration::from_secs(2));
    let tick = || host.scheduler.tick(clock.now()).expect("memory can be read").changed;
    assert_eq!((tick(), tick(), tick()), (1, 0, 0));
    assert_eq!(store.waiting(), 1, "the disk stalls, and the same job is not written again and again");
    store.sync();
    assert_eq!((tick(), store.waiting()), (0, 0));
}
