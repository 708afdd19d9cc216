//! A thread of the store that breaks leaves nobody waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backroom::domain::change::Change;
use backroom::store::{CommitError, Store};

use crate::common::*;

/// Waits for a commit, but not for ever.
fn decided(store: &dyn Store, changes: Vec<Change>) -> Result<(), CommitError> {
    let mut pending = store.commit(changes);
    let until = Instant::now() + Duration::from_secs(20);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(result) = std::pin::Pin::new(&mut pending).poll(&mut context) {
            return result;
        }
        assert!(Instant::now() < until, "nobody answers");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn commits_fail_after_the_writer_broke_and_nothing_is_lost() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(directory.path());
    must(&store, vec![submit(1)]);
    store.feed(Arc::new(|_| panic!("a feed of the test that breaks")));
    assert!(matches!(decided(&store, vec![submit(2)]), Err(CommitError::Failed(_))));
    for sequence in 3..6 {
        let refused = decided(&store, vec![submit(sequence)]).expect_err("the writer is gone");
        assert!(matches!(refused, CommitError::Failed(_)), "{refused}");
    }
    assert!(matches!(store.put_blob(vec![1; 10].into()), Err(CommitError::Failed(_))));
    drop(store);
    assert!(job(&open(directory.path()), 1).is_some());
}
