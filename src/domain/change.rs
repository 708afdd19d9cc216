//! What a decision wants written: one commit takes a list of changes, all or nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::access::Token;
use super::audit::AuditRow;
use super::breaker::PluginBreaker;
use super::id::{HostId, JobId, JobKey, OrderingKey, PluginName, ScheduleName, Sequence, TenantId, TokenName};
use super::job::{Job, JobState, Run, Submission};
use super::plugin::Plugin;
use super::queue::QueueState;
use super::schedule::Schedule;
use super::service::ServiceState;
use super::time::Timestamp;

/// One thing to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A submit's `Idempotency-Key`. Refused while the key is kept: unless the stored `until` is not after the new `on`.
    Remember(RememberedSubmit),
    /// A command of a person, beside the change that it made.
    Audit(AuditRow),
    /// A plug-in and all its versions. Refused unless the stored revision is one less (or there is none, for 1).
    PutPlugin(Plugin),
    /// The removal of a plug-in. Refused unless the stored revision is `expected`.
    RemovePlugin {
        /// The tenant.
        tenant: TenantId,
        /// Which.
        name: PluginName,
        /// The revision that the decision was made on.
        expected: u32,
    },
    /// A schedule. Refused unless the stored revision is one less (or there is none, for 1).
    PutSchedule(Box<Schedule>),
    /// The removal of a schedule. Refused unless the stored revision is `expected`.
    RemoveSchedule {
        /// The tenant.
        tenant: TenantId,
        /// Which.
        name: ScheduleName,
        /// The revision that the decision was made on.
        expected: u32,
    },
    /// What people have asked of a queue. Refused unless the stored revision is one less (or there is none, for 1).
    PutQueue(QueueState),
    /// Whether the service runs, drains or pauses.
    PutService(ServiceState),
    /// A host has started; from now on every lease of an earlier host of this store is dead.
    StartHost(HostId),
    /// The breaker of a plug-in has opened or closed.
    PutBreaker(PluginBreaker),
    /// A new token. Refused while there is one of the name.
    PutToken(Box<Token>),
    /// The end of a token. Refused unless it is there.
    RemoveToken {
        /// The tenant.
        tenant: TenantId,
        /// Which.
        name: TokenName,
    },
    /// That a job which held an ordering key did not succeed while another waited for the key. A store notes it by itself when
    /// the job ends; one that is filled from a backup sees no job end.
    NoteBroken {
        /// The job, which may be gone.
        job: JobKey,
        /// The key.
        key: OrderingKey,
    },
}

impl Change {
    /// The submit of a job.
    pub fn submit(job: Job) -> Self {
        Self::Submit(job.submission, Box::new(job.state))
    }
}

/// A submit that must not be taken twice (promise 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
