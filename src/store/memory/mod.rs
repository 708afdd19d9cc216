//! The reference store: everything in memory, gone with the process, and the same at every run of a simulation.
//!
//! [`MemoryStore::new`] decides each commit at once. [`MemoryStore::with_lazy_sync`] behaves like a store on a disk: a
//! commit waits until [`MemoryStore::sync`] takes all waiting ones as a group, and what nobody synced is lost in a
//! [`MemoryStore::crash`].

mod frozen;
mod tables;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::oneshot;

use self::frozen::Copied;
use self::tables::Tables;
use super::frozen::{Frozen, Moment};
use super::guard::{self, Verdict, is_claim};
use super::rows::{IndexRange, RowRange};
use super::warrant::{self, Warrant};
use super::{CommitError, Feed, News, Pending, ReadError, Store, StoreStats, part, strange};
use crate::domain::change::Change;
use crate::domain::family::{Family, IndexKey, RowKey, SharedRow};
use crate::domain::id::{DedupKey, Digest, HostId, JobId, JobKey, PluginName, ScheduleName, Sequence, TenantId};
use crate::domain::job::{Job, Predecessors, Run};
use crate::domain::query::{Counts, FailureGroups, JobQuery, Page};
use crate::domain::queue::{Lane, LaneDepth};
use crate::domain::time::Timestamp;
use crate::stored::Registry;

/// When a commit is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// In the call.
    AtOnce,
    /// In the next [`MemoryStore::sync`].
    Lazy,
}

/// A read of jobs that somebody may watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// One job, by its key.
    Job,
    /// A page of jobs.
    Jobs,
    /// The jobs of a lane that may start.
    Ready,
    /// The failed jobs, by what went wrong.
    Failures,
}

type Watch = Box<dyn Fn(Reading) + Send + Sync>;

/// How much room a store behaves to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Enough.
    Plenty,
    /// What is kept for work that was taken before: new work is refused.
    Kept,
    /// None at all.
    None,
}

fn no_room() -> CommitError {
    CommitError::Full(Arc::from("a test says so"))
}

/// A store in memory.
pub struct MemoryStore {
    mode: Mode,
    /// What reads see.
    tables: RwLock<Tables>,
    /// Held for a whole commit, so that the feed hears of commits in order. Taken before `tables`.
    writer: Mutex<Writer>,
    blobs: RwLock<BTreeMap<Digest, Bytes>>,
    /// The last numbers given out.
    numbers: Mutex<Numbers>,
    watch: OnceLock<Watch>,
    room: Mutex<Room>,
    registry: Arc<Registry>,
}

#[derive(Default)]
struct Writer {
    feed: Option<Feed>,
    waiting: Vec<Waiting>,
    /// What a power cut leaves; kept apart only in [`Mode::Lazy`].
    durable: Tables,
    /// Visible commits that `durable` does not have yet: claims that nobody waits for.
    tail: Vec<Vec<Change>>,
    commits: u64,
    syncs: u64,
    closed: bool,
}

struct Waiting {
    changes: Vec<Change>,
    warrant: Option<Arc<dyn Warrant>>,
    answer: oneshot::Sender<Result<(), CommitError>>,
}

#[derive(Clone, Copy, Default)]
struct Numbers {
    sequence: u64,
    host: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// A store that decides every commit in the call.
    pub fn new() -> Self {
        Self::of(Mode::AtOnce, Tables::default())
    }

    /// A store whose commits wait for [`MemoryStore::sync`]. Until then reads do not see them and nobody is answered.
    pub fn with_lazy_sync() -> Self {
        Self::of(Mode::Lazy, Tables::default())
    }

    /// A store of these families that decides every commit in the call.
    pub fn of_families(registry: Registry) -> Self {
        Self::of(Mode::AtOnce, Tables::new(Arc::new(registry)))
    }

    fn of(mode: Mode, tables: Tables) -> Self {
        let durable = match mode {
            Mode::AtOnce => Tables::default(),
            Mode::Lazy => tables.clone(),
        };
        Self {
            mode,
            registry: Arc::clone(tables.rows().registry()),
            tables: RwLock::new(tables),
            writer: Mutex::new(Writer { durable, ..Writer::default() }),
            blobs: RwLock::default(),
            numbers: Mutex::default(),
            watch: OnceLock::new(),
            room: Mutex::new(Room::Plenty),
        }
    }

    /// From now on `watch` hears of each read of jobs before it is made, and may make it take its time, as a disk does. The
    /// first one stays.
    pub fn watch_reads(&self, watch: impl Fn(Reading) + Send + Sync + 'static) {
        // Another is told by what it does not hear.
        let _first = self.watch.set(Box::new(watch));
    }

    fn reading(&self, what: Reading) -> RwLockReadGuard<'_, Tables> {
        if let Some(watch) = self.watch.get() {
            watch(what);
        }
        self.tables.read()
    }

    /// Behaves like a store on a disk with so much room.
    pub fn set_room(&self, room: Room) {
        *self.room.lock() = room;
    }

    /// Another store with these tables and all that is durable as soon as it is given out or put.
    fn restarted(&self, tables: Tables) -> Self {
        Self {
            blobs: RwLock::new(self.blobs.read().clone()),
            numbers: Mutex::new(*self.numbers.lock()),
            ..Self::of(self.mode, tables)
        }
    }

    /// Takes the waiting commits as one group: decides them in order, makes them visible, tells the feed, answers.
    /// They are durable from then on, except for a group of nothing but claims. Returns how many there were.
    pub fn sync(&self) -> usize {
        let mut writer = self.writer.lock();
        let group = std::mem::take(&mut writer.waiting);
        self.decide(&mut writer, group)
    }

    /// How many commits wait for [`MemoryStore::sync`].
    pub fn waiting(&self) -> usize {
        self.writer.lock().waiting.len()
    }

    /// The store as it is after a power cut at this moment: waiting commits and unsynced claims are lost. It syncs
    /// as this one does, and has no feed yet. This one goes on as if nothing had happened.
    pub fn crash(&self) -> Self {
        let writer = self.writer.lock();
        let tables = match self.mode {
            Mode::AtOnce => self.tables.read().clone(),
            Mode::Lazy => writer.durable.clone(),
        };
        self.restarted(tables)
    }

    /// The store as it is after the process was killed at this moment: waiting commits are lost, claims are not.
    pub fn kill(&self) -> Self {
        let _writer = self.writer.lock();
        self.restarted(self.tables.read().clone())
    }

    fn decide(&self, writer: &mut Writer, group: Vec<Waiting>) -> usize {
        let is_waited_for = group.iter().any(|waiting| !is_claim(&waiting.changes));
        let results: Vec<_> = group.iter().map(|waiting| self.write(waiting)).collect();
        let taken = group.len();
        let mut answers = Vec::with_capacity(taken);
        for (waiting, result) in group.into_iter().zip(results) {
            let result = result.map(|released| writer.accepted(waiting.changes, &released, self.mode));
            answers.push((waiting.answer, result));
        }
        if is_waited_for {
            writer.sync_tail();
        }
        for (answer, result) in answers {
            // Whoever does not wait any more does not need the answer.
            let _sent = answer.send(result);
        }
        taken
    }

    fn write(&self, waiting: &Waiting) -> Result<Vec<JobKey>, CommitError> {
        let room = *self.room.lock();
        if room == Room::None || (room == Room::Kept && guard::brings_new_work(&waiting.changes)) {
            return Err(no_room());
        }
        let mut tables = self.tables.write();
        let Ok(verdict) = guard::check(&waiting.changes, &mut *tables);
        match verdict {
            Verdict::Conflict(index) => Err(CommitError::Conflict { index }),
            Verdict::Accepted => {
                waiting.warrant.as_ref().map_or(Ok(()), |warrant| warrant.check()).map_err(CommitError::NotAdmitted)?;
                Ok(tables.apply(&waiting.changes))
            }
        }
    }
}

impl Writer {
    fn accepted(&mut self, changes: Vec<Change>, released: &[JobKey], mode: Mode) {
        self.commits += 1;
        if let Some(feed) = &self.feed {
            feed(News::Committed(&changes));
            if !released.is_empty() {
                feed(News::Released(released));
            }
        }
        if mode == Mode::Lazy {
            self.tail.push(changes);
        }
    }

    fn sync_tail(&mut self) {
        for changes in std::mem::take(&mut self.tail) {
            self.durable.apply(&changes);
        }
        self.syncs += 1;
    }
}

impl Store for MemoryStore {
    fn commit(&self, changes: Vec<Change>) -> Pending {
        let mut writer = self.writer.lock();
        if writer.closed {
            return Pending::decided(Err(CommitError::Failed(Arc::from("it is closed"))));
        }
        if let Some(family) = self.registry.stranger(&changes) {
            return Pending::decided(Err(strange(family)));
        }
        let (answer, pending) = Pending::new();
        let waiting = Waiting { changes, warrant: warrant::present(), answer };
        match self.mode {
            Mode::Lazy => writer.waiting.push(waiting),
            Mode::AtOnce => {
                self.decide(&mut writer, vec![waiting]);
            }
        }
        pending
    }

    fn feed(&self, feed: Feed) {
        self.writer.lock().feed = Some(feed);
    }

    fn reserve(&self, count: u64) -> Sequence {
        let mut numbers = self.numbers.lock();
        let first = numbers.sequence + 1;
        numbers.sequence += count;
        Sequence(first)
    }

    fn next_host(&self) -> HostId {
        let started = self.tables.read().host().0;
        let mut numbers = self.numbers.lock();
        numbers.host = numbers.host.max(started) + 1;
        HostId(numbers.host)
    }

    fn job(&self, key: JobKey) -> Result<Option<Job>, ReadError> {
        Ok(self.reading(Reading::Job).job(key))
    }

    fn runs(&self, key: JobKey) -> Result<Vec<Run>, ReadError> {
        Ok(self.tables.read().runs(key))
    }

    fn jobs(&self, query: &JobQuery) -> Result<Page, ReadError> {
        Ok(self.reading(Reading::Jobs).page(query))
    }

    fn oldest(&self, from: JobKey, limit: usize) -> Result<Vec<Job>, ReadError> {
        Ok(self.tables.read().oldest(from, limit))
    }

    fn lanes(&self, behind: Option<&Lane>, limit: usize) -> Result<Vec<Lane>, ReadError> {
        Ok(self.tables.read().lanes(behind, limit))
    }

    fn ready(&self, lane: &Lane, limit: usize) -> Result<Vec<Job>, ReadError> {
        Ok(self.reading(Reading::Ready).ready(lane, limit))
    }

    fn depth(&self, lane: &Lane, most: usize) -> Result<LaneDepth, ReadError> {
        Ok(self.tables.read().depth(lane, most))
    }

    fn predecessors(&self, key: JobKey) -> Result<Predecessors, ReadError> {
        Ok(self.tables.read().predecessors(key))
    }

    fn dedup_holder(&self, tenant: TenantId, key: &DedupKey) -> Result<Option<JobKey>, ReadError> {
        Ok(self.tables.read().dedup_holder(tenant, key))
    }

    fn unfinished_of(&self, tenant: TenantId, schedule: &ScheduleName, limit: usize) -> Result<Vec<JobKey>, ReadError> {
        Ok(self.tables.read().unfinished_of(tenant, schedule, limit))
    }

    fn batch(&self, tenant: TenantId, batch: JobId) -> Result<Counts, ReadError> {
        Ok(self.tables.read().batch(tenant, batch))
    }

    fn failures(&self, tenant: TenantId, limit: usize) -> Result<FailureGroups, ReadError> {
        let groups = self.reading(Reading::Failures).failures(tenant, limit);
        Ok(FailureGroups { groups, is_incomplete: false })
    }

    fn locked(&self) -> Result<Vec<Job>, ReadError> {
        Ok(self.tables.read().locked())
    }

    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Job>, ReadError> {
        Ok(self.tables.read().due(now, limit))
    }

    fn next_due(&self) -> Result<Option<Timestamp>, ReadError> {
        Ok(self.tables.read().next_due())
    }

    fn counts(&self, tenant: TenantId) -> Result<Vec<(PluginName, Counts)>, ReadError> {
        Ok(self.tables.read().counts(tenant))
    }

    fn families(&self) -> &Registry {
        &self.registry
    }

    fn row(&self, family: &'static Family, key: &RowKey) -> Result<Option<SharedRow>, ReadError> {
        Ok(self.tables.read().rows().row(family, key).cloned())
    }

    fn rows(&self, family: &'static Family, range: RowRange, limit: usize) -> Result<Vec<SharedRow>, ReadError> {
        Ok(self.tables.read().rows().by_key(family, range, limit))
    }

    fn rows_by(
        &self,
        family: &'static Family,
        index: u8,
        range: IndexRange,
        limit: usize,
    ) -> Result<Vec<SharedRow>, ReadError> {
        Ok(self.tables.read().rows().by_index(family, index, range, limit))
    }

    fn first_of(&self, family: &'static Family, index: u8) -> Result<Option<IndexKey>, ReadError> {
        Ok(self.tables.read().rows().first_of_index(family, index))
    }

    fn freeze(&self) -> Result<Box<dyn Frozen>, CommitError> {
        let writer = self.writer.lock();
        let tables = self.tables.read().clone();
        let numbers = *self.numbers.lock();
        let moment = Moment {
            lsn: writer.commits,
            sequence: Sequence(numbers.sequence).max(tables.last_sequence()),
            host: HostId(numbers.host).max(tables.host()),
            jobs: tables.job_count(),
        };
        let blobs = self.blobs.read().clone();
        Ok(Box::new(Copied { moment, tables, blobs, seen: None, rows: None }))
    }

    fn check_room(&self) -> Result<(), CommitError> {
        if *self.room.lock() == Room::Plenty { Ok(()) } else { Err(no_room()) }
    }

    fn put_blob(&self, bytes: Bytes) -> Result<Digest, CommitError> {
        if *self.room.lock() == Room::None {
            return Err(no_room());
        }
        let digest = Digest::of(&bytes);
        self.blobs.write().insert(digest, bytes);
        Ok(digest)
    }

    fn blob(&self, digest: Digest) -> Result<Option<Bytes>, ReadError> {
        Ok(self.blobs.read().get(&digest).cloned())
    }

    fn blob_part(&self, digest: Digest, from: u64, most: usize) -> Result<Option<Bytes>, ReadError> {
        Ok(self.blobs.read().get(&digest).map(|bytes| part(bytes, from, most)))
    }

    fn stats(&self) -> StoreStats {
        let writer = self.writer.lock();
        StoreStats { durability: "none", commits: writer.commits, fsyncs: writer.syncs, ..StoreStats::default() }
    }

    /// Waiting commits are decided before the end.
    fn close(&self) {
        self.sync();
        self.writer.lock().closed = true;
    }
}
