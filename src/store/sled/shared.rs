//! What the callers, the writer and the checkpoint thread share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::oneshot;

use super::SledSettings;
use super::blobs::Blobs;
use super::engine::{self, Engine};
use super::frozen::Held;
use super::journal::Segments;
use super::live::Live;
use super::snapshots::Snapshots;
use crate::domain::change::Change;
use crate::store::warrant::Warrant;
use crate::store::{CommitError, Feed, Pending, ReadError};

/// The end through which a request is answered.
pub(super) type Answer = oneshot::Sender<Result<(), CommitError>>;

/// What the writer is asked for.
pub(super) enum Work {
    /// Write these changes, if the warrant still holds.
    Commit(Vec<Change>, Option<Arc<dyn Warrant>>),
    /// Remember that sequences up to this one may be given out.
    Sequence(u64),
    /// Remember that this host number is given out.
    Host(u64),
    /// Freeze what is there, once it is on disk.
    Freeze(Slot),
}

/// Where the writer puts what it has frozen.
pub(super) type Slot = Arc<Mutex<Option<Arc<Held>>>>;

/// A work, and who waits for it.
pub(super) struct Request {
    pub(super) work: Work,
    pub(super) answer: Answer,
}

#[derive(Default)]
struct Queue {
    requests: Vec<Request>,
    is_closed: bool,
}

/// The store between its threads.
pub(super) struct Shared {
    pub(super) settings: SledSettings,
    pub(super) min_free_bytes: AtomicU64,
    /// None while it is opened again.
    tree: RwLock<Option<Arc<dyn Engine>>>,
    /// How it is opened again.
    pub(super) open_engine: engine::Open,
    pub(super) live: RwLock<Live>,
    pub(super) blobs: Blobs,
    pub(super) segments: Segments,
    pub(super) snapshots: Snapshots,
    /// The last group that was written.
    pub(super) lsn: AtomicU64,
    /// The last sequence that was given out, and the last that may be without asking the writer.
    pub(super) sequence: AtomicU64,
    pub(super) sequence_mark: AtomicU64,
    /// The last host number that was given out.
    pub(super) host: Mutex<u64>,
    pub(super) feed: RwLock<Option<Feed>>,
    pub(super) commits: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) refusing: Mutex<Option<String>>,
    /// Why nothing is taken until something that is wanted comes back.
    short: Mutex<Option<Arc<str>>>,
    /// What the checkpoint thread wanted in vain, for the writer to see to.
    pub(super) index_wants: Mutex<Option<String>>,
    pub(super) failure: OnceLock<Arc<str>>,
    queue: Mutex<Queue>,
    wake: Condvar,
}

/// The parts that a store is put together from when it opens.
pub(super) struct Opened {
    pub(super) settings: SledSettings,
    pub(super) tree: Arc<dyn Engine>,
    pub(super) open_engine: engine::Open,
    pub(super) live: Live,
    pub(super) blobs: Blobs,
    pub(super) segments: Segments,
    pub(super) snapshots: Snapshots,
    pub(super) lsn: u64,
    pub(super) sequence: u64,
    pub(super) host: u64,
}

impl Shared {
    pub(super) fn new(opened: Opened) -> Self {
        Self {
            min_free_bytes: AtomicU64::new(opened.settings.min_free_bytes),
            settings: opened.settings,
            tree: RwLock::new(Some(opened.tree)),
            open_engine: opened.open_engine,
            live: RwLock::new(opened.live),
            blobs: opened.blobs,
            segments: opened.segments,
            snapshots: opened.snapshots,
            lsn: AtomicU64::new(opened.lsn),
            sequence: AtomicU64::new(opened.sequence),
            sequence_mark: AtomicU64::new(opened.sequence),
            host: Mutex::new(opened.host),
            feed: RwLock::new(None),
            commits: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            refusing: Mutex::new(None),
            short: Mutex::new(None),
            index_wants: Mutex::new(None),
            failure: OnceLock::new(),
            queue: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// Puts a work behind those that wait.
    pub(super) fn send(&self, work: Work) -> Pending {
        if let Some(why) = self.failure() {
            return Pending::decided(Err(CommitError::Failed(why)));
        }
        let (answer, pending) = Pending::new();
        let mut queue = self.queue.lock();
        if queue.is_closed {
            let why = self.failure().unwrap_or_else(|| Arc::from("it is closed"));
            return Pending::decided(Err(CommitError::Failed(why)));
        }
        queue.requests.push(Request { work, answer });
        if queue.requests.len() == 1 {
            self.wake.notify_one();
        }
        pending
    }

    /// Waits for work, at most for `patience`: then it is empty. None when the store is closed and everything is done.
    pub(super) fn take_requests(&self, patience: Duration) -> Option<Vec<Request>> {
        let mut queue = self.queue.lock();
        while queue.requests.is_empty() {
            if queue.is_closed {
                return None;
            }
            if self.wake.wait_for(&mut queue, patience).timed_out() {
                break;
            }
        }
        Some(std::mem::take(&mut queue.requests))
    }

    /// Takes no more work; the writer ends when it has done what waits.
    pub(super) fn close(&self) {
        self.queue.lock().is_closed = true;
        self.wake.notify_all();
    }

    /// From now on nothing is written any more: after a failed write nobody knows what the disk holds.
    pub(super) fn fail(&self, why: &str) {
        if self.failure.set(Arc::from(why)).is_ok() {
            tracing::error!(why, "the store has failed and takes nothing more");
        }
    }

    /// Answers what waits, and everything that is still to come, with the failure.
    fn abandon(&self) {
        let why = self.failure().unwrap_or_else(|| Arc::from("it is closed"));
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        for request in std::mem::take(&mut queue.requests) {
            // Whoever does not wait any more does not need the answer.
            let _sent = request.answer.send(Err(CommitError::Failed(Arc::clone(&why))));
        }
        drop(queue);
        self.wake.notify_all();
    }

    /// The index. Whoever reads it holds `live` as long, so that both are of the same groups.
    pub(super) fn tree(&self) -> Result<Arc<dyn Engine>, ReadError> {
        self.open_tree().ok_or_else(|| ReadError::Short("the index is opened again".to_owned()))
    }

    /// The index, unless it is opened again just now.
    pub(super) fn open_tree(&self) -> Option<Arc<dyn Engine>> {
        self.tree.read().clone()
    }

    /// Lets go of the index, or has another one from now on.
    pub(super) fn set_tree(&self, tree: Option<Arc<dyn Engine>>) -> Option<Arc<dyn Engine>> {
        std::mem::replace(&mut *self.tree.write(), tree)
    }

    /// Why nothing is taken just now, if so.
    pub(super) fn short(&self) -> Option<Arc<str>> {
        self.short.lock().clone()
    }

    /// From now on nothing is taken until something comes back; or it has.
    pub(super) fn set_short(&self, why: Option<Arc<str>>) {
        *self.short.lock() = why;
    }

    /// Why nothing is written any more, if so.
    pub(super) fn failure(&self) -> Option<Arc<str>> {
        self.failure.get().cloned()
    }

    /// Why the disk has no room for new jobs, if so.
    pub(super) fn shortage(&self) -> Option<String> {
        let wanted = self.min_free_bytes.load(Ordering::Relaxed);
        match rustix::fs::statvfs(&self.settings.path) {
            Ok(room) => {
                let free = room.f_bavail.saturating_mul(room.f_frsize);
                let why = || {
                    let (free_mib, wanted_mib) = (free >> 20, wanted >> 20);
                    format!(
                        "{free} bytes ({free_mib} MiB) are free, and min_free asks for {wanted} bytes ({wanted_mib} MiB)"
                    )
                };
                (free < wanted).then(why)
            }
            Err(error) => Some(format!("the room on the disk is not known: {error}")),
        }
    }
}

/// Held by a thread of the store: when the thread breaks, nobody is left waiting for it.
pub(super) struct Watch(pub(super) Arc<Shared>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("a thread of it broke; the log says where");
            self.0.abandon();
        }
    }
}
