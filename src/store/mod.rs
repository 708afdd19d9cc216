//! The only door to durable state. A store compares revisions, writes batches and finds records; it holds no rules.

#[cfg(feature = "host")]
pub mod backup;
pub mod frozen;
mod guard;
pub mod memory;
mod rows;
#[cfg(feature = "host")]
pub mod sled;
pub mod warrant;

use std::io;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;

use self::frozen::Frozen;
use crate::domain::access::Token;
use crate::domain::audit::AuditRow;
use crate::domain::breaker::PluginBreaker;
use crate::domain::change::{Change, RememberedSubmit};
use crate::domain::family::{Family, IndexKey, Row, RowKey, SharedRow};
use crate::domain::id::{DedupKey, Digest, HostId, JobId, JobKey, PluginName, ScheduleName, Sequence, TenantId};
use crate::domain::job::{Job, OnPredecessorFailure, Payload, Predecessors, Run, Status, Submission};
use crate::domain::plugin::Plugin;
use crate::domain::query::{Counts, FailureGroups, JobFilter, JobQuery, Page};
use crate::domain::queue::{Lane, LaneDepth, QueueState};
use crate::domain::schedule::Schedule;
use crate::domain::service::ServiceState;
use crate::domain::time::Timestamp;
use crate::resources::Resource;
use crate::stored::{Registry, Stored};
pub use rows::{IndexRange, RowRange, everything};

/// Why a commit wrote nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Somebody else was first: read again, decide again.
    #[error("change {index} of the commit does not follow the stored revision")]
    Conflict {
        /// Which of the changes.
        index: usize,
    },
    /// Whoever asked for it is not let in any more: why.
    #[error("{0}")]
    NotAdmitted(Arc<str>),
    /// There is no room for new jobs: what the disk lacks.
    #[error("the disk is full: {0}")]
    Full(Arc<str>),
    /// The store wants something that comes back, and takes nothing until then; what it acknowledged is safe.
    #[error("the store cannot write just now: {0}")]
    Short(Arc<str>),
    /// The store has failed and takes nothing more; what it acknowledged is safe.
    #[error("the store cannot write: {0}")]
    Failed(Arc<str>),
}

impl CommitError {
    /// What an error of the system means to whoever wanted to keep something.
    pub fn of(error: &io::Error, what: &str) -> Self {
        let why = format!("{what}: {error}");
        match Resource::wanted_by(error) {
            Some(Resource::Room) => Self::Full(why.into()),
            Some(wanted) => Self::Short(format!("the host is short of {}; {why}", wanted.word()).into()),
            None => Self::Failed(why.into()),
        }
    }

    /// Whether the same may be taken later, when there is more of what is wanted.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Short(_))
    }
}

/// Why a read gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Something stored is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The store wants something that comes back before it can be read again.
    #[error("the store cannot be read just now: {0}")]
    Short(String),
    /// The store could not be read.
    #[error("the store cannot be read: {0}")]
    Failed(String),
}

impl ReadError {
    /// What an error of the system means to a reader.
    pub fn of(error: &io::Error) -> Self {
        match (Resource::wanted_by(error), error.kind()) {
            (Some(wanted), _) => Self::Short(format!("the host is short of {}; {error}", wanted.word())),
            (None, io::ErrorKind::InvalidData) => Self::Damaged(error.to_string()),
            (None, _) => Self::Failed(error.to_string()),
        }
    }

    /// Whether it may be read later, when there is more of what is wanted.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Short(_))
    }
}

impl From<ReadError> for CommitError {
    /// What cannot be read can be neither checked nor changed.
    fn from(error: ReadError) -> Self {
        let why = Arc::from(error.to_string());
        match error.is_passing() {
            true => Self::Short(why),
            false => Self::Failed(why),
        }
    }
}

/// A commit under way. It has its place in the order of commits from the moment that it exists; awaiting it tells
/// when it is durable. Dropping it does not undo it.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<(), CommitError>>);

impl Pending {
    /// A commit and the end through which the store answers.
    pub fn new() -> (oneshot::Sender<Result<(), CommitError>>, Self) {
        let (answer, pending) = oneshot::channel();
        (answer, Self(pending))
    }

    /// A commit that is decided already.
    pub fn decided(result: Result<(), CommitError>) -> Self {
        let (answer, pending) = Self::new();
        // The receiver is in our hands, so sending cannot fail.
        let _sent = answer.send(result);
        pending
    }

    /// Blocks the calling thread until the commit is durable. Not for async code.
    pub fn wait(self) -> Result<(), CommitError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(gone()))
    }

    /// The result, if it is there already. It is given once.
    pub fn result(&mut self) -> Option<Result<(), CommitError>> {
        match self.0.try_recv() {
            Ok(result) => Some(result),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(gone())),
        }
    }
}

impl Future for Pending {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or_else(|_| Err(gone())))
    }
}

fn gone() -> CommitError {
    CommitError::Failed(Arc::from("it is closed"))
}

/// What a store tells of.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// A commit was made.
    Committed(&'a [Change]),
    /// These jobs wait for no other any more, by what was committed just before. They may start if they are ready.
    Released(&'a [JobKey]),
}

/// What hears of every commit, in order, after it is durable and visible to reads. Called on the store's own thread: it must
/// be quick and must not call the store.
pub type Feed = Arc<dyn Fn(News<'_>) + Send + Sync>;

/// How a store is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// What a submit call that returned survives: `power`, `process` or `none`.
    pub durability: &'static str,
    /// Commits that were durable since the start.
    pub commits: u64,
    /// Syncs to disk since the start.
    pub fsyncs: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Why it takes no new jobs, if so.
    pub refusing: Option<String>,
}

/// How many of the jobs that name one are read at a time.
const MINDERS_PAGE: usize = 100;

/// How many runs of one job are read at a time.
pub const RUNS_READ_MAX: usize = 1_000;

/// A store of jobs, plug-ins and what belongs to them. Every implementation passes the conformance suite.
pub trait Store: Send + Sync {
    /// Writes all changes or none. The order of calls is the order of commits. Refused when the [`warrant`] of the present
    /// task does not hold any more by then.
    fn commit(&self, changes: Vec<Change>) -> Pending;

    /// Sets what hears of every commit. Called once, before the first commit of the runtime.
    fn feed(&self, feed: Feed);

    /// Takes `count` consecutive sequence numbers and returns the first. They are never given out again.
    fn reserve(&self, count: u64) -> Sequence;

    /// The number for this start of the host; greater than every one before.
    fn next_host(&self) -> HostId;

    /// One job.
    fn job(&self, key: JobKey) -> Result<Option<Job>, ReadError>;

    /// The closed runs of a job, oldest first, the last [`RUNS_READ_MAX`] of them; the very last is `last_run` of its state.
    fn runs(&self, key: JobKey) -> Result<Vec<Run>, ReadError>;

    /// A page of jobs, newest first.
    fn jobs(&self, query: &JobQuery) -> Result<Page, ReadError>;

    /// Jobs of any status and tenant, at `from` or behind it in the order of their keys.
    fn oldest(&self, from: JobKey, limit: usize) -> Result<Vec<Job>, ReadError>;

    /// Lanes that hold jobs which may start, at most `limit` of those behind `behind` in an order of the store's own; from
    /// the first on without it.
    fn lanes(&self, behind: Option<&Lane>, limit: usize) -> Result<Vec<Lane>, ReadError>;

    /// Jobs of status 0 in a lane that wait for no other, in the order in which they should start: by
    /// [`crate::domain::job::Rank`], then by sequence. A job waits for others while an unfinished one of the same ordering
    /// key has a smaller sequence, and while one that it names in `after` is unfinished (domain.md 4.1).
    fn ready(&self, lane: &Lane, limit: usize) -> Result<Vec<Job>, ReadError>;

    /// How many jobs [`Store::ready`] has, `most` at the most. No job is read for it.
    fn depth(&self, lane: &Lane, most: usize) -> Result<LaneDepth, ReadError>;

    /// What a job waits for by its ties.
    fn predecessors(&self, key: JobKey) -> Result<Predecessors, ReadError>;

    /// The unfinished job that has a dedup key.
    fn dedup_holder(&self, tenant: TenantId, key: &DedupKey) -> Result<Option<JobKey>, ReadError>;

    /// The unfinished jobs of a schedule, oldest first, at most `limit`.
    fn unfinished_of(&self, tenant: TenantId, schedule: &ScheduleName, limit: usize) -> Result<Vec<JobKey>, ReadError>;

    /// How many jobs of a batch stand where. Maintained, never counted.
    fn batch(&self, tenant: TenantId, batch: JobId) -> Result<Counts, ReadError>;

    /// The failed jobs of a tenant by what went wrong, at most `limit` groups, the one with the newest job first. A store may
    /// stop counting before it has seen all of them, and says so.
    fn failures(&self, tenant: TenantId, limit: usize) -> Result<FailureGroups, ReadError>;

    /// Locked jobs, of whatever host. Here, in [`Store::ready`] and in [`Store::due`] a job whose record cannot be read is
    /// logged and left out, so that it does not hold up the others.
    fn locked(&self) -> Result<Vec<Job>, ReadError>;

    /// Jobs that do not run and are due by `now` ([`crate::domain::job::due_on`]), because their `postpone_until` or their
    /// `expires_on` has come; earliest first.
    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Job>, ReadError>;

    /// When the first of the suspended jobs is due.
    fn next_due(&self) -> Result<Option<Timestamp>, ReadError>;

    /// How many jobs stand where, by plug-in. Maintained, never counted.
    fn counts(&self, tenant: TenantId) -> Result<Vec<(PluginName, Counts)>, ReadError>;

    /// The families whose rows it takes.
    fn families(&self) -> &Registry;

    /// One row.
    fn row(&self, family: &'static Family, key: &RowKey) -> Result<Option<SharedRow>, ReadError>;

    /// Rows in the order of their keys, at most `limit`.
    fn rows(&self, family: &'static Family, range: RowRange, limit: usize) -> Result<Vec<SharedRow>, ReadError>;

    /// Rows by an index of their family: in the order of what they are found by, and then of their keys; at most `limit`.
    fn rows_by(
        &self,
        family: &'static Family,
        index: u8,
        range: IndexRange,
        limit: usize,
    ) -> Result<Vec<SharedRow>, ReadError>;

    /// The first key of an index.
    fn first_of(&self, family: &'static Family, index: u8) -> Result<Option<IndexKey>, ReadError>;

    /// Every plug-in, by tenant and name.
    fn plugins(&self) -> Result<Vec<Plugin>, ReadError> {
        of_kind(self.rows(Plugin::ROWS, everything(), usize::MAX)?)
    }

    /// Every schedule, by tenant and name.
    fn schedules(&self) -> Result<Vec<Schedule>, ReadError> {
        of_kind(self.rows(Schedule::ROWS, everything(), usize::MAX)?)
    }

    /// Schedules that fire at `now` or before, earliest first.
    fn due_schedules(&self, now: Timestamp, limit: usize) -> Result<Vec<Schedule>, ReadError> {
        let until_now = (Bound::Unbounded, Bound::Included(IndexKey::of_time(now)));
        of_kind(self.rows_by(Schedule::ROWS, Schedule::BY_NEXT_RUN, until_now, limit)?)
    }

    /// When the next schedule fires.
    fn next_schedule(&self) -> Result<Option<Timestamp>, ReadError> {
        Ok(self.first_of(Schedule::ROWS, Schedule::BY_NEXT_RUN)?.and_then(|by| by.first_time()))
    }

    /// What people have asked of queues, by name.
    fn queues(&self) -> Result<Vec<QueueState>, ReadError> {
        of_kind(self.rows(QueueState::ROWS, everything(), usize::MAX)?)
    }

    /// The breakers that are not closed, by tenant and plug-in.
    fn breakers(&self) -> Result<Vec<PluginBreaker>, ReadError> {
        of_kind(self.rows(PluginBreaker::ROWS, everything(), usize::MAX)?)
    }

    /// Every token, by tenant and name.
    fn tokens(&self) -> Result<Vec<Token>, ReadError> {
        of_kind(self.rows(Token::ROWS, everything(), usize::MAX)?)
    }

    /// The state of the service as it was last set.
    fn service(&self) -> Result<ServiceState, ReadError> {
        let stored = self.row(ServiceState::ROWS, &RowKey::only())?;
        Ok(of_kind(stored)?.pop().unwrap_or_default())
    }

    /// The submit that was remembered under an `Idempotency-Key`. It may be past its `until`, which counts as forgotten:
    /// a store has no clock.
    fn remembered(&self, tenant: TenantId, key: &str) -> Result<Option<RememberedSubmit>, ReadError> {
        let stored = self.row(RememberedSubmit::ROWS, &RememberedSubmit::key_of(tenant, key))?;
        Ok(of_kind(stored)?.pop())
    }

    /// The commands that people gave for a job, oldest first.
    fn audit(&self, key: JobKey) -> Result<Vec<AuditRow>, ReadError> {
        of_kind(self.rows(AuditRow::ROWS, rows::of_jobs(key, key), usize::MAX)?)
    }

    /// The store as it is now, to be read while it goes on. Waits for the store, so not for async code.
    fn freeze(&self) -> Result<Box<dyn Frozen>, CommitError>;

    /// Whether there is room for new work: [`CommitError::Full`] while the disk runs short. Whoever takes jobs or uploads
    /// asks first; what accepted work leaves behind is written without asking, because that is what the room is kept for.
    fn check_room(&self) -> Result<(), CommitError>;

    /// Keeps bytes under their digest. Durable when it returns; a commit may name them from then on. Refused only when the
    /// bytes do not fit.
    fn put_blob(&self, bytes: Bytes) -> Result<Digest, CommitError>;

    /// The bytes of a digest.
    fn blob(&self, digest: Digest) -> Result<Option<Bytes>, ReadError>;

    /// At most `most` bytes of a digest from `from` on, empty behind the end. What [`Store::blob`] checks is not checked again.
    fn blob_part(&self, digest: Digest, from: u64, most: usize) -> Result<Option<Bytes>, ReadError>;

    /// How it is doing.
    fn stats(&self) -> StoreStats;

    /// Ends all writing; what was acknowledged is safe. Later commits fail.
    fn close(&self);
}

/// The rows of a family as what they are.
fn of_kind<T: Row>(rows: impl IntoIterator<Item = SharedRow>) -> Result<Vec<T>, ReadError> {
    let strange = |row: &SharedRow| ReadError::Damaged(format!("{} is a row of another family", row.describe()));
    rows.into_iter().map(|row| row.of::<T>().cloned().ok_or_else(|| strange(&row))).collect()
}

/// Why nothing is written of a family that the store does not know: a fault of the program.
fn strange(family: &Family) -> CommitError {
    CommitError::Failed(Arc::from(format!("it has no family {}", family.name)))
}

/// Makes a payload of bytes: inline when small, a blob otherwise.
pub fn put_payload(store: &dyn Store, bytes: Bytes) -> Result<Payload, CommitError> {
    if bytes.len() <= Payload::INLINE_BYTES_MAX {
        return Ok(Payload::Inline(bytes));
    }
    let length = bytes.len() as u64;
    Ok(Payload::Blob { digest: store.put_blob(bytes)?, bytes: length })
}

/// Why a job that has ended cannot go yet, because of others that have not.
pub fn why_kept(store: &dyn Store, job: &Job) -> Result<Option<&'static str>, ReadError> {
    if is_counted(store, job)? {
        return Ok(Some("its batch has not ended and still counts it"));
    }
    if is_minded(store, job)? {
        return Ok(Some("a job that waited for it still asks how it ended (`on_predecessor_failure`)"));
    }
    Ok(None)
}

/// Whether an unfinished batch counts the job.
fn is_counted(store: &dyn Store, job: &Job) -> Result<bool, ReadError> {
    let Some(batch) = job.submission.ties().batch else { return Ok(false) };
    let batch = store.job(JobKey { sequence: batch.sequence(), ..job.submission.key() })?;
    Ok(batch.is_some_and(|batch| !batch.state.status.is_final()))
}

/// Whether an unfinished job that names this one minds that it has not succeeded: were this one gone, nobody could tell.
fn is_minded(store: &dyn Store, job: &Job) -> Result<bool, ReadError> {
    if job.state.status == Status::Succeeded {
        return Ok(false);
    }
    let statuses = Status::unfinished().collect();
    let filter = JobFilter { after: Some(job.submission.id), statuses, ..JobFilter::default() };
    let mut query = JobQuery { tenant: job.submission.tenant, filter, before: None, limit: MINDERS_PAGE };
    loop {
        let page = store.jobs(&query)?;
        if page.jobs.iter().any(minds) {
            return Ok(true);
        }
        match page.next {
            Some(next) => query.before = Some(next),
            None => return Ok(false),
        }
    }
}

fn minds(job: &Job) -> bool {
    job.submission.ties().on_predecessor_failure != OnPredecessorFailure::Continue && !job.state.is_overruled
}

/// Some of the bytes of a payload, for whoever has seen that they are right ([`payload_bytes`]).
pub fn payload_part(store: &dyn Store, payload: &Payload, from: u64, most: usize) -> Result<Bytes, ReadError> {
    match payload {
        Payload::Inline(bytes) => Ok(part(bytes, from, most)),
        Payload::Blob { digest, .. } => {
            store.blob_part(*digest, from, most)?.ok_or_else(|| ReadError::Damaged(format!("blob {digest} is missing")))
        }
    }
}

/// How many bytes the fields of a submission are as they are written.
pub fn written_bytes(submission: &Submission) -> usize {
    let mut fields = Vec::with_capacity(256);
    submission.append_fields(&mut fields);
    fields.len()
}

/// A part of some bytes.
fn part(bytes: &Bytes, from: u64, most: usize) -> Bytes {
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(from..from.saturating_add(most).min(bytes.len()))
}

/// The bytes of a payload.
pub fn payload_bytes(store: &dyn Store, payload: &Payload) -> Result<Bytes, ReadError> {
    match payload {
        Payload::Inline(bytes) => Ok(bytes.clone()),
        Payload::Blob { digest, .. } => {
            store.blob(*digest)?.ok_or_else(|| ReadError::Damaged(format!("blob {digest} is missing")))
        }
    }
}
