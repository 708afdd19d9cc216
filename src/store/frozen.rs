//! A store as it was at one moment, read piece by piece while the work goes on: what a backup is made of.

use bytes::Bytes;

use super::ReadError;
use crate::domain::access::Token;
use crate::domain::audit::AuditRow;
use crate::domain::breaker::PluginBreaker;
use crate::domain::change::RememberedSubmit;
use crate::domain::id::{Digest, HostId, JobKey, OrderingKey, Sequence};
use crate::domain::job::{Job, Run};
use crate::domain::plugin::Plugin;
use crate::domain::queue::QueueState;
use crate::domain::schedule::Schedule;
use crate::domain::service::ServiceState;

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
    /// The commands that people gave for it, oldest first.
    pub audit: Vec<AuditRow>,
}

/// What there is beside jobs and remembered submits; every part of it is bounded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Every plug-in.
    pub plugins: Vec<Plugin>,
    /// Every schedule.
    pub schedules: Vec<Schedule>,
    /// What people have asked of queues.
    pub queues: Vec<QueueState>,
    /// The breakers that are not closed.
    pub breakers: Vec<PluginBreaker>,
    /// Every token.
    pub tokens: Vec<Token>,
    /// Whether the service runs.
    pub service: ServiceState,
    /// The ordering keys whose last holder did not succeed while another waited, and that holder.
    pub broken_keys: Vec<(JobKey, OrderingKey)>,
}

/// A store as it was when it was frozen. While it lives, no blob that it names goes; dropping it frees what is kept for it.
pub trait Frozen: Send {
    /// When that was.
    fn moment(&self) -> Moment;

    /// All but jobs and remembered submits.
    fn settings(&mut self) -> Result<Settings, FrozenError>;

    /// The next jobs in the order of their keys, of every tenant; none when there are no more. Not again after
    /// [`Frozen::next_remembered`].
    fn next_jobs(&mut self) -> Result<Vec<WholeJob>, FrozenError>;

    /// The next remembered submits, from the one that is forgotten last on; none when there are no more. A store that takes
    /// them in this order never finds an old one that a new one clears away.
    fn next_remembered(&mut self) -> Result<Vec<RememberedSubmit>, FrozenError>;

    /// At most `most` bytes of a blob from `from` on; empty behind its end.
    fn blob_part(&self, digest: Digest, from: u64, most: usize) -> Result<Option<Bytes>, ReadError>;
}
