//! Steering one job: the domain decides, one guarded commit writes, and who runs it is told.

use super::Jobs;
use crate::domain::change::Change;
use crate::domain::id::{JobId, TenantId};
use crate::domain::job::transition::{self, Next, Refused};
use crate::domain::job::{Event, Job};
use crate::store::{CommitError, ReadError};

/// How often a command is decided again when the job changed between reading and writing.
const ATTEMPTS: usize = 16;

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SteerError {
    /// There is no such job.
    #[error("there is no job {0}")]
    Unknown(JobId),
    /// The job's state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Jobs {
    /// Calls a job off. A running handler is asked first, and stopped when it does not listen within the grace: the feed
    /// tells it.
    pub async fn cancel(&self, tenant: TenantId, id: JobId, by: &str) -> Result<Job, SteerError> {
        self.steer(tenant, id, &Event::Cancel { by: by.to_owned() }).await
    }

    /// Removes a job that has ended, with its runs, logs and payloads.
    pub async fn delete(&self, tenant: TenantId, id: JobId) -> Result<(), SteerError> {
        self.steer(tenant, id, &Event::Delete).await.map(|_deleted| ())
    }

    async fn steer(&self, tenant: TenantId, id: JobId, event: &Event) -> Result<Job, SteerError> {
        let mut conflict = CommitError::Conflict { index: 0 };
        for _ in 0..ATTEMPTS {
            let mut job = self.get(tenant, id)?.ok_or(SteerError::Unknown(id))?;
            let policy = self.registry.policy(tenant, &job.submission.plugin);
            let now = self.clock.now();
            let next = transition::apply(&job.submission, &job.state, &policy.retry, event.clone(), now)?;
            let expected = job.state.revision;
            let key = job.submission.key();
            let change = match next {
                Next::Unchanged => return Ok(job),
                Next::Gone { .. } => Change::Delete { job: key, expected },
                Next::Changed { state, earlier_run, .. } => {
                    job.state = *state;
                    Change::Advance { job: key, expected, next: Box::new(job.state.clone()), earlier_run }
                }
            };
            match self.store.commit(vec![change]).await {
                Ok(()) => return Ok(job),
                Err(error @ CommitError::Conflict { .. }) => conflict = error,
                Err(error) => return Err(error.into()),
            }
        }
        Err(conflict.into())
    }
}
