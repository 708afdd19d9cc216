//! A store as it was at one moment, read piece by piece while the work goes on: what a backup is made of.

use bytes::Bytes;

use super::ReadError;
use crate::domain::family::SharedRow;
use crate::domain::id::{Digest, HostId, Sequence};
use crate::domain::job::{Job, Run};
use crate::stored::Registry;

/// Why a frozen store cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrozenError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// More has changed since than is kept in memory beside the store. It may be frozen again.
    #[error("more than {limit} bytes of the store changed while it was read")]
    Overtaken {
        /// Bytes that are kept at the most.
        limit: u64,
    },
    /// The index was opened again meanwhile. The store may be frozen again.
    #[error("the index was opened again while the store was read")]
    Reopened,
}

/// The moment at which a store was frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The number of the last group of commits that is seen.
    pub lsn: u64,
    /// The last sequence that may have been given out.
    pub sequence: Sequence,
    /// The last host number that may have been given out.
    pub host: HostId,
    /// How many jobs there are.
    pub jobs: u64,
}

/// A job with all that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeJob {
    /// The job.
    pub job: Job,
    /// Its closed runs before the last one, oldest first.
    pub earlier_runs: Vec<Run>,
    /// The rows of families that go with it, by their keys.
    pub rows: Vec<SharedRow>,
}

/// A store as it was when it was frozen. While it lives, no blob that it names goes; dropping it frees what is kept for it.
pub trait Frozen: Send {
    /// When that was.
    fn moment(&self) -> Moment;

    /// The families whose rows there are.
    fn families(&self) -> &Registry;

    /// The next jobs in the order of their keys, of every tenant; none when there are no more.
    fn next_jobs(&mut self) -> Result<Vec<WholeJob>, FrozenError>;

    /// The next rows, family by family, but for those that go with a job; none when there are no more. Of a family whose rows
    /// lapse the one that does last comes first: a store that takes them in this order finds none that a later one clears away.
    fn next_rows(&mut self) -> Result<Vec<SharedRow>, FrozenError>;

    /// At most `most` bytes of a blob from `from` on; empty behind its end.
    fn blob_part(&self, digest: Digest, from: u64, most: usize) -> Result<Option<Bytes>, ReadError>;
}
