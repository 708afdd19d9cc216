//! Work that was done while the disk was full is kept as soon as there is room.

use std::sync::Arc;
use std::time::Duration;

use backroom::clock::{Clock, SimulatedClock};
use backroom::domain::change::Change;
use backroom::domain::id::PluginName;
use backroom::domain::job::Status;
use backroom::domain::time::Timestamp;
use backroom::jobs::{NewJob, SubmitError};
use backroom::sandbox::scripted::Script;
use backroom::store::memory::MemoryStore;
use backroom::store::{CommitError, Store};
use parking_lot::Mutex;

use crate::host::Host;
use crate::ledger::Ledger;
use crate::world::plugin;

fn new_job(input: &[u8]) -> NewJob {
    NewJob::new(PluginName::new("early").expect("a slug"), input.to_vec())
}

async fn an_end_waits_for_room(output: &'static [u8]) {
    let clock = SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000));
    let store = Arc::new(MemoryStore::new());
    store.commit(vec![Change::PutPlugin(plugin("early", true))]).await.expect("there is room");
    let ledger = Arc::new(Mutex::new(Ledger::new()));
    let host = Host::directed(1, &store, &clock, &ledger, move |_| Script::succeeds(output));
    let key = host.jobs.submit(new_job(b"x"), None).await.expect("there is room").job.submission.key();
    let (job, _started) = host.window.take(1).pop().expect("the feed has told the window");
    let claim = host.worker.claim(job, clock.now()).expect("it is ready");
    let claimed = host.worker.claimed(claim).await.expect("there is room").expect("it may run");

    store.set_full(true);
    let large = host.jobs.submit(new_job(&[0; 5_000]), None).await.expect_err("the disk is full");
    assert!(matches!(large, SubmitError::Commit(CommitError::Full)), "{large}");
    let worker = Arc::clone(&host.worker);
    let mut run = tokio::spawn(async move { worker.settle(worker.run(claimed).await).await });
    let early = tokio::time::timeout(Duration::from_millis(200), &mut run).await;
    assert!(early.is_err(), "it ended without room: {early:?}");
    store.set_full(false);
    run.await.expect("it does not panic").expect("its end is written");

    let job = store.job(key).expect("memory can be read").expect("it is there");
    assert_eq!((job.state.status, job.state.attempt, job.state.runs), (Status::Succeeded, 1, 1));
}

#[test]
fn finished_work_waits_for_room_and_does_not_fail() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts");
    runtime.block_on(async {
        // The output is a blob that does not fit, or only the commit does not.
        an_end_waits_for_room(&[7; 5_000]).await;
        an_end_waits_for_room(b"small").await;
    });
}
