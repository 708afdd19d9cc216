//! What is done for somebody is written only while his warrant holds, and it is asked last, in the order of commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use backroom::store::warrant::{Warrant, carried, carrying, with_warrant};
use backroom::store::{CommitError, Store};

use crate::common::*;

on_every_store!(
    a_commit_without_its_warrant_writes_nothing,
    a_refused_commit_never_asks_for_its_warrant,
    a_warrant_goes_along_to_other_tasks_and_threads,
);

/// Holds so many times.
struct Times(AtomicU32);

impl Times {
    fn new(times: u32) -> Arc<Self> {
        Arc::new(Self(AtomicU32::new(times)))
    }
}

impl Warrant for Times {
    fn check(&self) -> Result<(), Arc<str>> {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| Arc::from("it is used up"))
    }
}

fn refused() -> Result<(), CommitError> {
    Err(CommitError::NotAdmitted(Arc::from("it is used up")))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

fn a_commit_without_its_warrant_writes_nothing(store: &dyn Store) {
    runtime().block_on(with_warrant(Times::new(1), async {
        assert_eq!(store.commit(vec![submit(1)]).await, Ok(()));
        assert_eq!(store.commit(vec![submit(2)]).await, refused());
    }));
    must(store, vec![submit(3)]);
    assert_eq!([1, 2, 3].map(|sequence| job(store, sequence).is_some()), [true, false, true]);
}

fn a_refused_commit_never_asks_for_its_warrant(store: &dyn Store) {
    must(store, vec![submit(1)]);
    let times = Times::new(1);
    runtime().block_on(with_warrant(Arc::<Times>::clone(&times), async {
        assert_eq!(store.commit(vec![submit(1)]).await, Err(CommitError::Conflict { index: 0 }));
    }));
    assert_eq!(times.0.load(Ordering::Relaxed), 1, "what asks has to take it that it is written next");
}

fn a_warrant_goes_along_to_other_tasks_and_threads(store: &dyn Store) {
    // A store of a test cannot leave its thread: what goes along is seen by what it refuses here.
    runtime().block_on(with_warrant(Times::new(0), async {
        let on_thread = tokio::task::spawn_blocking(carried(|| runtime().block_on(inherited())));
        assert_eq!(on_thread.await.ok(), Some(refused()));
        assert_eq!(tokio::spawn(carrying(inherited())).await.ok(), Some(refused()));
        assert_eq!(tokio::spawn(inherited()).await.ok(), Some(Ok(())), "a plain task is the host's own");
        assert_eq!(store.commit(vec![submit(1)]).await, refused());
    }));
}

async fn inherited() -> Result<(), CommitError> {
    memory().commit(vec![submit(1)]).await
}
