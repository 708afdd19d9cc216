//! Taking a ready job: what it finds is decided by the domain, and nobody starts it before the claim is written.

use std::sync::Arc;
use std::time::Duration;

use super::Worker;
use super::running::Entered;
use crate::domain::id::JobKey;
use crate::domain::job::transition::{self, Next};
use crate::domain::job::{Event, Job, OnPredecessorFailure, Status};
use crate::domain::limits::Limits;
use crate::domain::time::Timestamp;
use crate::registry::{Resolution, Runnable};
use crate::store::{CommitError, Pending, ReadError};

/// A lease lasts at least this long (domain.md 4.6).
const LEASE_MIN: Duration = Duration::from_secs(60);

/// A lease outlives the wall-clock limit of its run by this much, so that it need not be renewed: there is time to
/// compile the plug-in, and the sandbox stops the guest before the lease can be given away. It may be
/// long, because the leases of a host that died end with the start of the next (promise 7).
const LEASE_MARGIN: Duration = Duration::from_secs(600);

/// A claim on its way to the store.
pub struct Claim {
    next: Job,
    run: Option<(Arc<Runnable>, Entered)>,
    pending: Pending,
}

/// A job that this host holds.
pub struct Claimed {
    /// The job, as the claim left it.
    pub job: Job,
    /// What runs it.
    pub runnable: Arc<Runnable>,
    pub(super) entered: Entered,
}

impl Claim {
    /// The job.
    pub fn job(&self) -> JobKey {
        self.next.submission.key()
    }
}

impl Worker {
    /// Decides what a ready job meets and commits that. None when the job is no longer ready.
    pub fn claim(&self, job: Job, now: Timestamp) -> Result<Option<Claim>, ReadError> {
        let submission = &job.submission;
        let resolution = self.registry.resolve(submission.tenant, &submission.plugin, submission.version.as_ref());
        let has_expired = submission.expires_on.is_some_and(|expires_on| expires_on <= now);
        let stopped_by = self.predecessor_failure(&job)?;
        let (event, runnable) = match (resolution, stopped_by) {
            _ if has_expired => (Event::Expire, None),
            _ if self.is_batch_called_off(&job)? => (Event::Cancel { by: "its batch".to_owned() }, None),
            (_, Some(stopped)) => (stopped, None),
            (Resolution::Disabled, None) => (Event::ClaimDisabled, None),
            (Resolution::Missing(absence), None) => (Event::ClaimMissing(absence), None),
            (Resolution::Run(runnable), None) => (self.claim_event(&runnable, now), Some(runnable)),
        };
        let policy = self.registry.policy(submission.tenant, &submission.plugin);
        let Ok(next @ Next::Changed { .. }) = transition::apply(submission, &job.state, &policy.retry, event, now)
        else {
            return Ok(None);
        };
        let Next::Changed { state, .. } = &next else { return Ok(None) };
        let claimed = Job { submission: Arc::clone(submission), state: (**state).clone() };
        let run = match runnable {
            None => None,
            Some(runnable) => match self.running.enter((submission.key(), claimed.state.fence)) {
                Some(entered) => Some((runnable, entered)),
                // The window gave out a job whose claim is not written yet; that claim goes on.
                None => return Ok(None),
            },
        };
        let pending = self.advance.commit(&job, next, now);
        Ok(pending.map(|pending| Claim { next: claimed, run, pending }))
    }

    /// What meets this job because another's failure keeps it from running (domain.md 4.1). Only few jobs ask for that.
    fn predecessor_failure(&self, job: &Job) -> Result<Option<Event>, ReadError> {
        let ties = job.submission.ties();
        let minds = ties.is_ordered() && ties.on_predecessor_failure != OnPredecessorFailure::Continue;
        if !minds || job.state.is_overruled {
            return Ok(None);
        }
        let predecessors = self.store.predecessors(job.submission.key())?;
        let Some(predecessor) = predecessors.unsuccessful.first() else { return Ok(None) };
        // The store has kept that it did not succeed, even where the job itself is gone.
        let predecessor = self.store.job(*predecessor)?.map(|found| found.submission.id);
        Ok(Some(Event::ClaimAfterFailure { predecessor }))
    }

    /// Whether the batch of a job has been called off: whoever did so may have died before he came to this member.
    fn is_batch_called_off(&self, job: &Job) -> Result<bool, ReadError> {
        let Some(batch) = job.submission.ties().batch else { return Ok(false) };
        let batch = self.store.job(JobKey { sequence: batch.sequence(), ..job.submission.key() })?;
        Ok(batch.is_some_and(|batch| batch.state.status == Status::Canceled))
    }

    fn claim_event(&self, runnable: &Runnable, now: Timestamp) -> Event {
        Event::Claim {
            host: self.host,
            lease_until: now.after(lease(&runnable.limits)),
            version: runnable.version.version.clone(),
        }
    }

    /// Waits for a claim to be written. None when it met something that keeps it from running, or when somebody else
    /// changed the job first.
    pub async fn claimed(&self, claim: Claim) -> Result<Option<Claimed>, CommitError> {
        match claim.pending.await {
            Ok(()) => Ok(claim.run.map(|(runnable, entered)| Claimed { job: claim.next, runnable, entered })),
            Err(CommitError::Conflict { .. }) => {
                tracing::debug!(job.id = %claim.next.submission.id, "somebody changed the job before its claim");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn lease(limits: &Limits) -> Duration {
    LEASE_MIN.max(limits.wall + LEASE_MARGIN)
}
