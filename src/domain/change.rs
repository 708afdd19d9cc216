//! What a decision wants written: one commit takes a list of changes, all or nothing.

use std::sync::Arc;

use super::family::{Family, IndexKey, KeyForm, Row, RowKey, SharedRow};
use super::id::{HostId, JobId, JobKey, Sequence, TenantId};
use super::job::{Job, JobState, Run, Submission};
use super::time::Timestamp;

/// One thing to write. Jobs have changes of their own; everything else is a row of a family.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most changes are advances, and a box would cost them an allocation")]
pub enum Change {
    /// A new job. Refused when its key exists, or while an unfinished job has its dedup key.
    Submit(Arc<Submission>, Box<JobState>),
    /// The next state of a job. Refused unless the stored revision is `expected`.
    Advance {
        /// Which job.
        job: JobKey,
        /// The revision that this write follows; `next.revision` is one more.
        expected: u32,
        /// What it becomes.
        next: Box<JobState>,
        /// A run that is no longer the last one and becomes a row of its own.
        earlier_run: Option<Run>,
    },
    /// The end of a job and of all that belongs to it. Refused unless the stored revision is `expected`.
    Delete {
        /// Which job.
        job: JobKey,
        /// The revision that the decision was made on.
        expected: u32,
    },
    /// A row, by [`Change::put`]. Refused unless it follows the one that is there ([`Row::follows`]), and while the tenant has
    /// as many as it may.
    Put(SharedRow),
    /// The removal of a row, by [`Change::remove`]. Refused unless the row is there and has the revision `expected`.
    Remove {
        /// Of which family.
        family: &'static Family,
        /// Which.
        key: RowKey,
        /// The revision that the decision was made on.
        expected: u32,
    },
    /// A row of a backup, as it was when that was made. Refused where there is one.
    Load(SharedRow),
    /// A host has started; from now on every lease of an earlier host of this store is dead.
    StartHost(HostId),
}

impl Change {
    /// The submit of a job.
    pub fn submit(job: Job) -> Self {
        Self::Submit(job.submission, Box::new(job.state))
    }

    /// The write of a row.
    pub fn put(row: impl Row) -> Self {
        Self::Put(Arc::new(row))
    }

    /// The removal of a row as it is.
    pub fn remove<T: Row>(row: &T) -> Self {
        Self::Remove { family: T::ROWS, key: Row::key(row), expected: Row::revision(row) }
    }

    /// The row that it writes, if that is one of this kind.
    pub fn row<T: Row>(&self) -> Option<&T> {
        match self {
            Self::Put(row) | Self::Load(row) => row.of(),
            _ => None,
        }
    }

    /// The key of the row that it removes, if that is one of this kind.
    pub fn removed<T: Row>(&self) -> Option<&RowKey> {
        match self {
            Self::Remove { family, key, .. } if *family == T::ROWS => Some(key),
            _ => None,
        }
    }

    /// The family of the row that it is about.
    pub fn family(&self) -> Option<&'static Family> {
        match self {
            Self::Put(row) | Self::Load(row) => Some(row.family()),
            Self::Remove { family, .. } => Some(family),
            _ => None,
        }
    }
}

/// A submit that must not be taken twice (promise 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RememberedSubmit {
    /// The tenant.
    pub tenant: TenantId,
    /// The caller's `Idempotency-Key`.
    pub key: String,
    /// A hash of the request, so that another request under the same key is told apart.
    pub fingerprint: u64,
    /// The jobs that the first request made or was answered with, in the order of its answer.
    pub jobs: Vec<JobId>,
    /// Where a request by filter goes on, if there is more.
    pub next: Option<Sequence>,
    /// How the job ended, where this is about one that was deleted with its end.
    pub end: Option<Box<Job>>,
    /// When it was made; an older remembrance that has ended by then gives way.
    pub on: Timestamp,
    /// When the key is forgotten.
    pub until: Timestamp,
}

impl RememberedSubmit {
    /// The index of remembered submits by the time at which they are forgotten.
    pub const BY_END: u8 = 1;

    /// Where the submit of a key is kept.
    pub fn key_of(tenant: TenantId, key: &str) -> RowKey {
        RowKey::named(tenant, key)
    }
}

impl Row for RememberedSubmit {
    const ROWS: &'static Family = &Family::new(10, "idempotency-key", KeyForm::TenantAndName).lapsing_by(Self::BY_END);

    fn key(&self) -> RowKey {
        Self::key_of(self.tenant, &self.key)
    }

    /// Only where none is kept any more. A store has no clock: the submit that asks to be remembered says what time it is.
    fn follows(&self, present: Option<&Self>) -> bool {
        present.is_none_or(|present| present.until <= self.on)
    }

    fn index_keys(&self) -> Vec<(u8, IndexKey)> {
        vec![(Self::BY_END, IndexKey::of_time(self.until))]
    }

    fn clears(&self) -> Option<IndexKey> {
        Some(IndexKey::of_time(self.on))
    }
}
