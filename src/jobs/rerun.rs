//! Running a finished job again, as a new one.

use std::sync::Arc;

use bytes::Bytes;

use super::ahead::{Ahead, Holder};
use super::submit::{is_keyed, remember_end};
use super::{Jobs, SteerError, SubmitError};
use crate::domain::audit::{Action, AuditRow};
use crate::domain::change::Change;
use crate::domain::id::{JobId, TenantId, VersionName};
use crate::domain::idempotency::{Answered, IdempotencyKey};
use crate::domain::job::{Job, Status, Submission, Ties};
use crate::domain::offers::may_run_again;
use crate::domain::outbound::is_built_in;
use crate::domain::query::{JobFilter, JobQuery};
use crate::domain::time::Timestamp;
use crate::store::{Pending, ReadError, put_payload};

/// What the new job has otherwise than the finished one, and who wants it.
#[derive(Clone, Debug)]
pub struct Rerun {
    /// Another input.
    pub input: Option<Bytes>,
    /// Another version than the one that the finished job asked for; none asks for the same.
    pub version: Option<VersionName>,
    /// Not to start before; at once when absent.
    pub at: Option<Timestamp>,
    /// Who asks.
    pub by: String,
    /// Why, in the words of the person.
    pub reason: Option<String>,
}

impl Rerun {
    /// The same again, at once.
    pub fn new(by: &str) -> Self {
        Self { input: None, version: None, at: None, by: by.to_owned(), reason: None }
    }

    /// The audit row of `new`, which runs again what stood at `before`.
    pub(super) fn row(&self, before: Status, new: &Job, now: Timestamp) -> AuditRow {
        AuditRow {
            job: new.submission.key(),
            revision: new.state.revision,
            on: now,
            by: self.by.clone(),
            action: Action::Retry,
            from: before,
            to: new.state.status,
            reason: self.reason.clone(),
        }
    }
}

/// Why a job was not run again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RerunError {
    /// There is no such job, or its state or type does not allow it.
    #[error(transparent)]
    Steer(#[from] SteerError),
    /// The new job was not taken.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Of many, those that were run again before are left out: their work is done, or fails anew in the later job.
    #[error("it was run again already, as job {0}")]
    Already(JobId),
    /// One of several new jobs was not taken, and so none was.
    #[error("job {job} cannot run again: {error}")]
    Member {
        /// The finished job.
        job: JobId,
        /// Why not.
        error: SubmitError,
    },
}

impl Jobs {
    /// Makes a new job of a finished one. Everything is as the caller of that one asked: plug-in, handler, input, name,
    /// arguments, queue, priority, tags, attempts, deadline, ordering key, dedup key, record, what follows. Left behind is what
    /// has had its time or belongs to the old job alone: its start and expiry, the jobs that it waited for and what it did when
    /// they failed, its batch and its schedule. The new job belongs to the old one's chain, at its depth. It is refused while
    /// another unfinished job has the dedup key. An audit row of the new job says who ran it again and why; it comes from the
    /// old job's status.
    pub async fn rerun(&self, tenant: TenantId, id: JobId, rerun: Rerun) -> Result<Job, RerunError> {
        Ok(self.rerun_once(tenant, id, rerun, None).await?.made)
    }

    /// The same; with a key, a repeated call returns the new job of the first.
    pub async fn rerun_once(
        &self,
        tenant: TenantId,
        id: JobId,
        rerun: Rerun,
        key: Option<&IdempotencyKey>,
    ) -> Result<Answered<Job>, RerunError> {
        let mut contest = self.contest();
        loop {
            if let (Some(key), Some(first)) = (key, self.first_answer(tenant, key)?) {
                let job = first.jobs.first().copied().unwrap_or_default();
                return Ok(Answered::again(self.job_of(tenant, key, job)?));
            }
            let finished = self.get(tenant, id).map_err(SteerError::from)?.ok_or(SteerError::Unknown(id))?;
            may_run_again(&finished).map_err(SteerError::from)?;
            let (job, pending) = self.number_and_commit_again(&finished, &rerun, key)?;
            match pending.await {
                Ok(()) => return Ok(Answered::anew(job)),
                Err(error) => contest.lost(error.into()).await?,
            }
        }
    }

    /// The job that runs a finished one again, the last of them.
    pub fn run_again_as(&self, finished: &Job) -> Result<Option<JobId>, ReadError> {
        let Submission { id, tenant, .. } = *finished.submission;
        let filter = JobFilter { retry_of: Some(id), ..JobFilter::default() };
        let found = self.store.jobs(&JobQuery { tenant, filter, before: None, limit: 1 })?;
        Ok(found.jobs.first().map(|job| job.submission.id))
    }

    fn number_and_commit_again(
        &self,
        finished: &Job,
        rerun: &Rerun,
        key: Option<&IdempotencyKey>,
    ) -> Result<(Job, Pending), SubmitError> {
        let _turn = is_keyed(&finished.submission).then(|| self.identities.turn());
        let now = self.clock.now();
        let mut submission = self.submission_again(finished, rerun, now)?;
        if key.is_some() {
            remember_end(&mut submission);
        }
        let (job, changes) = self.retaken(submission, finished, rerun, &mut Ahead::default(), now)?;
        let mut changes = Vec::from(changes);
        if let Some(key) = key {
            changes.push(key.remember(job.submission.tenant, vec![job.submission.id], None, now));
        }
        Ok((job, self.store.commit(changes)))
    }

    /// The new job, as a member of `batch` where that is given, and what commits it. Whoever calls holds the turn if the
    /// finished job has an ordering key.
    pub(super) fn again(
        &self,
        finished: &Job,
        rerun: &Rerun,
        batch: Option<JobId>,
        ahead: &mut Ahead,
        now: Timestamp,
    ) -> Result<(Job, [Change; 2]), SubmitError> {
        let mut submission = self.submission_again(finished, rerun, now)?;
        if batch.is_some() {
            submission.ties = Some(Arc::new(Ties { batch, ..submission.ties().clone() }));
        }
        self.retaken(submission, finished, rerun, ahead, now)
    }

    fn retaken(
        &self,
        submission: Submission,
        finished: &Job,
        rerun: &Rerun,
        ahead: &mut Ahead,
        now: Timestamp,
    ) -> Result<(Job, [Change; 2]), SubmitError> {
        self.check_held(&submission, ahead)?;
        let job = self.taken(submission, ahead, now)?;
        let audit = rerun.row(finished.state.status, &job, now);
        let changes = [Change::submit(job.clone()), Change::put(audit)];
        Ok((job, changes))
    }

    /// A person who runs a job again wants that job: another that has its dedup key is no answer.
    pub(super) fn check_held(&self, submission: &Submission, ahead: &mut Ahead) -> Result<(), SubmitError> {
        let key = submission.ties().dedup_key.clone();
        let Some((holder, key)) = self.hold(submission, ahead)?.zip(key) else { return Ok(()) };
        Err(match holder {
            Holder::Unfinished(job) => SubmitError::Duplicate { key, job },
            Holder::Ahead(job) => SubmitError::TwiceAgain { key, job },
        })
    }

    fn submission_again(&self, finished: &Job, rerun: &Rerun, now: Timestamp) -> Result<Submission, SubmitError> {
        let asked = &finished.submission;
        let version = rerun.version.clone().or_else(|| asked.version.clone());
        let bytes = rerun.input.as_ref().map_or(asked.input.len(), |input| input.len() as u64);
        let handler =
            self.registry.check_fit(asked.tenant, &asked.plugin, version.as_ref(), Some(&asked.handler), bytes)?;
        if let Some(input) = rerun.input.as_ref().filter(|_| is_built_in(&asked.plugin)) {
            self.registry.check_call(asked.tenant, input)?;
        }
        let input = match &rerun.input {
            Some(input) => put_payload(&*self.store, input.clone())?,
            None => asked.input.clone(),
        };
        Ok(Submission {
            id: self.identities.next(now),
            version,
            handler,
            input,
            created_on: now,
            created_by: Some(rerun.by.clone()),
            not_before: rerun.at,
            expires_on: None,
            correlation_id: Some(asked.correlation_id.unwrap_or(asked.id)),
            ties: Some(Arc::new(ties(asked))),
            ..(**asked).clone()
        })
    }
}

fn ties(asked: &Submission) -> Ties {
    let Ties {
        ordering_key,
        concurrency_key,
        after: _,
        on_predecessor_failure: _,
        dedup_key,
        regarding,
        batch: _,
        occurrence: _,
        retry_of: _,
        on_complete,
        is_remembered: _,
    } = asked.ties();
    Ties {
        ordering_key: ordering_key.clone(),
        concurrency_key: concurrency_key.clone(),
        dedup_key: dedup_key.clone(),
        regarding: regarding.clone(),
        retry_of: Some(asked.id),
        on_complete: on_complete.clone(),
        ..Ties::default()
    }
}
