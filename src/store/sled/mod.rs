//! The embedded store: an own journal that makes commits durable, and sled as the index behind it (design section 6).
//!
//! One writer thread takes what waits as a group: guards, one append, one sync, one batch into the tree, then the feed
//! and the answers. At a checkpoint the tree is brought to disk and old segments of the journal go. Opening replays
//! what the journal has beyond the tree.

mod blobs;
mod buckets;
mod checkpoint;
mod codec;
mod deletion;
mod depth;
mod engine;
mod format;
mod frozen;
#[cfg(test)]
mod golden;
mod group;
mod index;
mod journal;
mod keys;
mod live;
mod load;
mod lock;
mod outage;
mod private;
mod read;
mod recover;
mod rows;
mod shared;
mod snapshots;
mod standing;
mod ties;
mod until;
mod values;
pub mod verify;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;

use self::checkpoint::Checkpointer;
use self::frozen::FrozenView;
use self::live::View;
use self::lock::DirectoryLock;
use self::recover::Recovered;
use self::shared::{Shared, Watch, Work};
use self::writer::{Owed, Writer};
use super::frozen::Frozen;
use super::rows::{IndexRange, RowRange};
use super::warrant;
use super::{CommitError, Feed, Pending, ReadError, Store, StoreStats, strange};
use crate::domain::change::Change;
use crate::domain::code::{self, Code};
use crate::domain::family::{Family, IndexKey, RowKey, SharedRow};
use crate::domain::id::{DedupKey, Digest, HostId, JobId, JobKey, PluginName, ScheduleName, Sequence, TenantId};
use crate::domain::job::{Job, Predecessors, Run};
use crate::domain::query::{Counts, FailureGroups, JobQuery, Page};
use crate::domain::queue::{Lane, LaneDepth};
use crate::domain::service::Durability;
use crate::domain::time::Timestamp;
use crate::stored::Registry;

const JOURNAL: &str = "journal";
const INDEX: &str = "index";
const BLOBS: &str = "blobs";
const SNAPSHOTS: &str = "snapshots";

pub(in crate::store) use self::snapshots::plant;
pub(in crate::store) use self::until::plant_until;
pub use self::until::{Reached, Until};

/// So many sequences may be given out without writing that down.
const SEQUENCES_AHEAD: u64 = 65_536;

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SledSettings {
    /// The directory; made when there is none.
    pub path: PathBuf,
    /// What a commit that was acknowledged survives.
    pub durability: Durability,
    /// Bytes of memory that the index may use for its pages.
    pub cache_bytes: u64,
    /// New jobs are refused while the disk has less room than this many bytes.
    pub min_free_bytes: u64,
    /// Bytes of one segment of the journal.
    pub segment_bytes: u64,
    /// A checkpoint is made after this many bytes of journal.
    pub checkpoint_bytes: u64,
    /// The journal is kept beyond checkpoints up to this many bytes: a damaged index can be made again while the
    /// journal still has everything.
    pub keep_journal_bytes: u64,
    /// Bytes of memory for what changes while the store is read as it was at one moment, for a backup; with more, that reading
    /// ends.
    pub frozen_bytes: u64,
    /// The families whose rows it takes. A directory that was opened with more of them is refused.
    pub families: Arc<Registry>,
    /// A snapshot is written when there are this many bytes of journal since the last one, or as many as that one has, if
    /// those are more.
    pub snapshot_bytes: u64,
}

impl SledSettings {
    /// The usual settings for a directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            path: path.into(),
            durability: Durability::Power,
            cache_bytes: 128 * MIB,
            min_free_bytes: 256 * MIB,
            segment_bytes: 16 * MIB,
            checkpoint_bytes: 48 * MIB,
            keep_journal_bytes: 96 * MIB,
            frozen_bytes: 64 * MIB,
            families: Arc::default(),
            snapshot_bytes: 64 * MIB,
        }
    }
}

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory.
    #[error("{path} is in use by {}", describe_holder(*pid))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, when it left its name.
        pid: Option<u32>,
    },
    /// Something stored is not what was written, and cannot be made again.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The part of the store.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The directory was written by another version, or is none of ours.
    #[error(
        "{path} is not a store that this version can read: found `{found}`; \
             open it with the version that wrote it, or choose another directory"
    )]
    Format {
        /// The directory.
        path: PathBuf,
        /// What its format file says.
        found: String,
    },
    /// The directory was written by a later release.
    #[error(
        "{path} is a store of {found}, and this release opens those up to {known}; open it with the release that wrote it, \
             or a newer one"
    )]
    Later {
        /// The directory.
        path: PathBuf,
        /// What this release does not know.
        found: String,
        /// Up to what it knows that.
        known: String,
    },
    /// The disk or its permissions.
    #[error("the store cannot be opened: {0}")]
    Io(#[from] io::Error),
}

impl OpenError {
    /// The entry of the catalogue.
    pub fn code(&self) -> Code {
        match self {
            Self::InUse { .. } => code::STORE_IN_USE,
            Self::Damaged { .. } => code::STORE_DAMAGED,
            Self::Format { .. } | Self::Later { .. } => code::STORE_FORMAT,
            Self::Io(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                code::DISK_FULL
            }
            Self::Io(_) => code::STORE_FAILED,
        }
    }
}

fn describe_holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("the process {pid}; stop it or choose another directory"),
        None => "another process; stop it or choose another directory".to_owned(),
    }
}

/// The time by the machine's clock, for people who look at files; nothing is decided by it.
fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// The embedded store.
pub struct SledStore {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    snapshots: Mutex<Option<JoinHandle<()>>>,
    /// None once it is closed: whoever still reads keeps nobody from opening the directory.
    lock: Mutex<Option<DirectoryLock>>,
}

impl SledStore {
    /// Opens the store of a directory; makes one where there is none. Everything that was acknowledged is there when it
    /// returns.
    pub fn open(settings: SledSettings) -> Result<Self, OpenError> {
        Self::open_on(settings, engine::open)
    }

    /// Opens the store of a directory whose index that engine keeps.
    fn open_on(settings: SledSettings, engine: engine::Open) -> Result<Self, OpenError> {
        let Recovered { lock, shared, journal, standings, recorded } = recover::recover(settings, engine)?;
        let shared = Arc::new(shared);
        let writer = Writer {
            checkpointer: Checkpointer::new(&shared)?,
            shared: Arc::clone(&shared),
            journal,
            standings,
            recorded,
            since_checkpoint: 0,
            checkpointed_at: std::time::Instant::now(),
            frame: Vec::new(),
            room_seen: None,
            owed: Owed::default(),
            ailing: None,
        };
        let watch = Watch(Arc::clone(&shared));
        let work = move || {
            let _watch = watch;
            writer.run();
        };
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(work)?;
        let snapshots = Mutex::new(Some(snapshots::start(&shared)?));
        Ok(Self { shared, writer: Mutex::new(Some(thread)), snapshots, lock: Mutex::new(Some(lock)) })
    }

    /// Why nothing is written any more, if so.
    pub(in crate::store) fn failure(&self) -> Option<Arc<str>> {
        self.shared.failure()
    }

    /// Changes how much room the disk must have for new jobs, in bytes.
    pub fn set_min_free_bytes(&self, bytes: u64) {
        self.shared.min_free_bytes.store(bytes, Ordering::Relaxed);
    }

    fn view<T>(&self, read: impl FnOnce(View<'_>) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let live = self.shared.live.read();
        let tree = self.shared.tree()?;
        read(View::new(&live, &*tree)).map_err(|error| match self.shared.short() {
            // What a tree that could not be written says of itself is not to be believed; it is made whole from the journal.
            Some(why) => ReadError::Short(why.to_string()),
            None => error,
        })
    }

    /// Has a number written down before any commit that uses it, because the journal keeps the order in which things are
    /// sent: nobody needs to wait. When it fails for good no later commit can succeed either, so that the number is never
    /// used; when it fails for want of something, the writer owes it and writes it with whatever it takes next.
    fn write_down(&self, work: Work) {
        drop(self.shared.send(work));
    }
}

impl Store for SledStore {
    fn commit(&self, changes: Vec<Change>) -> Pending {
        if let Some(family) = self.shared.settings.families.stranger(&changes) {
            return Pending::decided(Err(strange(family)));
        }
        self.shared.send(Work::Commit(changes, warrant::present()))
    }

    fn feed(&self, feed: Feed) {
        *self.shared.feed.write() = Some(feed);
    }

    fn reserve(&self, count: u64) -> Sequence {
        let first = self.shared.sequence.fetch_add(count, Ordering::Relaxed) + 1;
        let last = first + count.saturating_sub(1);
        if last > self.shared.sequence_mark.load(Ordering::Acquire) {
            let mark = last + SEQUENCES_AHEAD;
            self.write_down(Work::Sequence(mark));
            self.shared.sequence_mark.fetch_max(mark, Ordering::Release);
        }
        Sequence(first)
    }

    fn next_host(&self) -> HostId {
        let mut host = self.shared.host.lock();
        *host += 1;
        self.write_down(Work::Host(*host));
        HostId(*host)
    }

    fn job(&self, key: JobKey) -> Result<Option<Job>, ReadError> {
        self.view(|view| view.job(key))
    }

    fn runs(&self, key: JobKey) -> Result<Vec<Run>, ReadError> {
        self.view(|view| read::runs(view, key))
    }

    fn jobs(&self, query: &JobQuery) -> Result<Page, ReadError> {
        let mut lister = read::Lister::new(query);
        while !self.view(|view| lister.step(view))? {}
        Ok(lister.into_page())
    }

    fn oldest(&self, from: JobKey, limit: usize) -> Result<Vec<Job>, ReadError> {
        let mut lister = read::OldestLister::new(from, limit);
        while !self.view(|view| lister.step(view))? {}
        Ok(lister.into_jobs())
    }

    fn lanes(&self, behind: Option<&Lane>, limit: usize) -> Result<Vec<Lane>, ReadError> {
        self.view(|view| read::lanes(view, behind, limit))
    }

    fn ready(&self, lane: &Lane, limit: usize) -> Result<Vec<Job>, ReadError> {
        let mut lister = read::ReadyLister::new(lane, limit);
        while !self.view(|view| lister.step(view))? {}
        Ok(lister.into_jobs())
    }

    fn depth(&self, lane: &Lane, most: usize) -> Result<LaneDepth, ReadError> {
        let mut counter = depth::Counter::new(lane, most);
        while !self.view(|view| counter.step(view))? {}
        Ok(counter.into_depth())
    }

    fn predecessors(&self, key: JobKey) -> Result<Predecessors, ReadError> {
        self.view(|view| ties::predecessors(view, key))
    }

    fn dedup_holder(&self, tenant: TenantId, key: &DedupKey) -> Result<Option<JobKey>, ReadError> {
        self.view(|view| ties::dedup_holder(view, tenant, key))
    }

    fn unfinished_of(&self, tenant: TenantId, schedule: &ScheduleName, limit: usize) -> Result<Vec<JobKey>, ReadError> {
        self.view(|view| ties::unfinished_of(view, tenant, schedule, limit))
    }

    fn batch(&self, tenant: TenantId, batch: JobId) -> Result<Counts, ReadError> {
        self.view(|view| read::batch(view, tenant, batch.sequence()))
    }

    fn failures(&self, tenant: TenantId, limit: usize) -> Result<FailureGroups, ReadError> {
        let mut lister = read::FailureLister::new(tenant, read::FAILURES_MAX);
        while !self.view(|view| lister.step(view))? {}
        Ok(lister.into_groups(limit))
    }

    fn locked(&self) -> Result<Vec<Job>, ReadError> {
        self.view(read::locked)
    }

    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Job>, ReadError> {
        self.view(|view| read::due(view, now, limit))
    }

    fn next_due(&self) -> Result<Option<Timestamp>, ReadError> {
        self.view(read::next_due)
    }

    fn counts(&self, tenant: TenantId) -> Result<Vec<(PluginName, Counts)>, ReadError> {
        let live = self.shared.live.read();
        let of_tenant = live.counts.iter().filter(|((owner, _), _)| *owner == tenant);
        Ok(of_tenant.map(|((_, plugin), counts)| (plugin.clone(), *counts)).collect())
    }

    fn families(&self) -> &Registry {
        &self.shared.settings.families
    }

    fn row(&self, family: &'static Family, key: &RowKey) -> Result<Option<SharedRow>, ReadError> {
        if family.is_resident {
            return Ok(self.shared.live.read().rows.row(family, key).cloned());
        }
        self.view(|view| rows::row(view, family, key))
    }

    fn rows(&self, family: &'static Family, range: RowRange, limit: usize) -> Result<Vec<SharedRow>, ReadError> {
        if family.is_resident {
            return Ok(self.shared.live.read().rows.by_key(family, range, limit));
        }
        self.view(|view| rows::by_key(view, family, range, limit))
    }

    fn rows_by(
        &self,
        family: &'static Family,
        index: u8,
        range: IndexRange,
        limit: usize,
    ) -> Result<Vec<SharedRow>, ReadError> {
        if family.is_resident {
            return Ok(self.shared.live.read().rows.by_index(family, index, range, limit));
        }
        self.view(|view| rows::by_index(view, family, index, &range, limit))
    }

    fn first_of(&self, family: &'static Family, index: u8) -> Result<Option<IndexKey>, ReadError> {
        if family.is_resident {
            return Ok(self.shared.live.read().rows.first_of_index(family, index));
        }
        self.view(|view| rows::first_of_index(view, family, index))
    }

    fn freeze(&self) -> Result<Box<dyn Frozen>, CommitError> {
        let frozen = Arc::new(Mutex::new(None));
        self.shared.send(Work::Freeze(Arc::clone(&frozen))).wait()?;
        let held = frozen.lock().take();
        let held = held.ok_or_else(|| CommitError::Short(Arc::from("the journal could not be synced")))?;
        Ok(Box::new(FrozenView::new(Arc::clone(&self.shared), held)))
    }

    fn check_room(&self) -> Result<(), CommitError> {
        match (self.shared.failure(), self.shared.short(), self.shared.shortage()) {
            (Some(why), ..) => Err(CommitError::Failed(why)),
            (None, Some(why), _) => Err(CommitError::Short(why)),
            (None, None, Some(why)) => Err(CommitError::Full(Arc::from(why))),
            (None, None, None) => Ok(()),
        }
    }

    fn put_blob(&self, bytes: Bytes) -> Result<Digest, CommitError> {
        if let Some(why) = self.shared.failure() {
            return Err(CommitError::Failed(why));
        }
        self.shared.blobs.put(&bytes).map_err(|error| CommitError::of(&error, "a blob could not be kept"))
    }

    fn blob(&self, digest: Digest) -> Result<Option<Bytes>, ReadError> {
        self.shared.blobs.get(digest).map_err(|error| ReadError::of(&error))
    }

    fn blob_part(&self, digest: Digest, from: u64, most: usize) -> Result<Option<Bytes>, ReadError> {
        self.shared.blobs.part(digest, from, most).map_err(|error| ReadError::Failed(error.to_string()))
    }

    fn stats(&self) -> StoreStats {
        let index = self.shared.tree().ok().and_then(|tree| tree.size_on_disk().ok()).unwrap_or(0);
        let why = self.shared.failure().or_else(|| self.shared.short()).map(|why| why.to_string());
        StoreStats {
            durability: self.shared.settings.durability.word(),
            commits: self.shared.commits.load(Ordering::Relaxed),
            fsyncs: self.shared.syncs.load(Ordering::Relaxed),
            disk_bytes: index + self.shared.segments.bytes(),
            refusing: why.or_else(|| self.shared.shortage()),
        }
    }

    fn close(&self) {
        self.shared.close();
        self.shared.snapshots.end();
        for thread in [self.writer.lock().take(), self.snapshots.lock().take()].into_iter().flatten() {
            // Its panic was reported where it happened; the journal has everything that was acknowledged.
            let _ended = engine::join(thread);
        }
        // What it tells may hold the store itself.
        self.shared.feed.write().take();
        self.lock.lock().take();
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore").field("path", &self.shared.settings.path).finish_non_exhaustive()
    }
}
