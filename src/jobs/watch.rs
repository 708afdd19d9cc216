//! Who waits for which job to change.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use crate::domain::change::Change;
use crate::domain::id::JobKey;
use crate::domain::job::Status;

/// How many changes a slow listener of all jobs may lie behind before it misses some: a page of a fast host's second.
const BROADCAST_CAPACITY: usize = 4_096;

/// A job has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobChange {
    /// Which.
    pub job: JobKey,
    /// Where it stands now; none when it was deleted.
    pub status: Option<Status>,
    /// The revision that it has now.
    pub revision: u32,
}

/// Hears of every commit and tells those who wait.
pub struct Watchers {
    by_job: Mutex<HashMap<JobKey, watch::Sender<Option<JobChange>>>>,
    watched: AtomicUsize,
    all: broadcast::Sender<JobChange>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self { by_job: Mutex::default(), watched: AtomicUsize::new(0), all: broadcast::Sender::new(BROADCAST_CAPACITY) }
    }
}

impl Watchers {
    /// Tells of every later change of one job.
    pub fn watch(self: &Arc<Self>, job: JobKey) -> Watch {
        let mut by_job = self.by_job.lock();
        let receiver = by_job.entry(job).or_insert_with(|| watch::Sender::new(None)).subscribe();
        self.watched.store(by_job.len(), Ordering::Release);
        Watch { job, receiver: Some(receiver), watchers: Arc::clone(self) }
    }

    /// Tells of every later change of every job.
    pub fn watch_all(&self) -> broadcast::Receiver<JobChange> {
        self.all.subscribe()
    }

    /// Takes the changes of one commit.
    pub fn committed(&self, changes: &[Change]) {
        let nobody_waits = self.watched.load(Ordering::Acquire) == 0;
        if nobody_waits && self.all.receiver_count() == 0 {
            return;
        }
        for change in changes.iter().filter_map(job_change) {
            // An error means that nobody listens.
            let _listeners = self.all.send(change);
            if let Some(sender) = self.by_job.lock().get(&change.job) {
                sender.send_replace(Some(change));
            }
        }
    }

    fn forget(&self, job: JobKey) {
        let mut by_job = self.by_job.lock();
        if let Entry::Occupied(entry) = by_job.entry(job)
            && entry.get().receiver_count() == 0
        {
            entry.remove();
        }
        self.watched.store(by_job.len(), Ordering::Release);
    }
}

fn job_change(change: &Change) -> Option<JobChange> {
    match change {
        Change::Submit(submission, state) => {
            Some(JobChange { job: submission.key(), status: Some(state.status), revision: state.revision })
        }
        Change::Advance { job, next, .. } => {
            Some(JobChange { job: *job, status: Some(next.status), revision: next.revision })
        }
        Change::Delete { job, expected } => Some(JobChange { job: *job, status: None, revision: *expected }),
        _ => None,
    }
}

/// One listener's place.
pub struct Watch {
    job: JobKey,
    /// There until it is dropped.
    receiver: Option<watch::Receiver<Option<JobChange>>>,
    watchers: Arc<Watchers>,
}

impl Watch {
    /// Waits for the next change; several quick ones may appear as the last of them.
    pub async fn changed(&mut self) -> JobChange {
        let receiver = self.receiver.as_mut().expect("it is there until this is dropped");
        loop {
            // The sender lives in the map as long as this watch does.
            if receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(change) = *receiver.borrow_and_update() {
                return change;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // First, so that of two that end together the last one sees that nobody is left.
        drop(self.receiver.take());
        self.watchers.forget(self.job);
    }
}
