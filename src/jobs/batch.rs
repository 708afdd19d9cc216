//! Batches: many jobs that have one progress, one end and one callback.

use std::borrow::Cow;
use std::sync::Arc;

use super::ahead::Ahead;
use super::steer::Command;
use super::submit::is_keyed;
use super::{BulkError, Jobs, NewJob, Rerun, RerunError, SteerError, SubmitError};
use crate::domain::batch::{self, Summary, Terms};
use crate::domain::change::Change;
use crate::domain::id::{JobId, PluginName, QueueName, TenantId, TokenName};
use crate::domain::idempotency::{Answered, IdempotencyKey};
use crate::domain::job::transition::Refused;
use crate::domain::job::{FollowUp, Job, JobType, Payload, Status, Submission, Ties, transition};
use crate::domain::query::{JobFilter, JobQuery};
use crate::domain::time::Timestamp;
use crate::store::{Pending, ReadError, written_bytes};

/// How many members one query reads.
const PAGE: usize = 500;

/// The most jobs that are run again in one commit, and the most bytes of their submissions: as much as a bulk submit has.
const RETRIED_MAX: usize = 100_000;
const RETRIED_BYTES_MAX: usize = 64 << 20;

/// The verb of a refusal.
const RETRY_FAILED: &str = "have its failed jobs run again";

/// What a caller asks of a batch.
#[derive(Clone, Debug, Default)]
pub struct NewBatch {
    /// The tenant.
    pub tenant: TenantId,
    /// A display name.
    pub name: Option<String>,
    /// How many of its jobs may fail or be canceled without making it fail.
    pub allowed_failures: u64,
    /// What follows its end.
    pub on_complete: Option<FollowUp>,
    /// The ended batch whose failed jobs it runs again.
    pub retry_of: Option<JobId>,
    /// Free words to find it by.
    pub tags: Vec<String>,
    /// Who submits it.
    pub by: Option<String>,
    /// Whose it is.
    pub owner: Option<TokenName>,
}

impl Jobs {
    /// Takes a batch and all its jobs, or nothing, in one commit.
    pub async fn submit_batch(&self, new: NewBatch, members: Vec<NewJob>) -> Result<(Job, Vec<JobId>), BulkError> {
        Ok(self.submit_batch_once(new, members, None).await?.made)
    }

    /// The same; with a key, a repeated call returns the batch of the first.
    pub async fn submit_batch_once(
        &self,
        new: NewBatch,
        members: Vec<NewJob>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Answered<(Job, Vec<JobId>)>, BulkError> {
        let tenant = new.tenant;
        if let (Some(key), Some(first)) = (key, self.first_answer(tenant, key)?) {
            return Ok(Answered::again(self.batch_of(tenant, key, first.jobs)?));
        }
        let batch = self.new_batch(new, self.clock.now())?;
        let Answered { made, is_repeated } = self.all_or_none(tenant, members, Some(&batch), key).await?;
        match key.filter(|_| is_repeated) {
            Some(key) => Ok(Answered::again(self.batch_of(tenant, key, made)?)),
            None => Ok(Answered::anew((batch, made))),
        }
    }

    /// The batch and its jobs that a key stands for: the batch is remembered first.
    fn batch_of(
        &self,
        tenant: TenantId,
        key: &IdempotencyKey,
        remembered: Vec<JobId>,
    ) -> Result<(Job, Vec<JobId>), SubmitError> {
        let mut remembered = remembered.into_iter();
        let batch = self.job_of(tenant, key, remembered.next().unwrap_or_default())?;
        Ok((batch, remembered.collect()))
    }

    fn new_batch(&self, new: NewBatch, now: Timestamp) -> Result<Job, SubmitError> {
        let terms = Terms { allowed_failures: new.allowed_failures };
        let input = serde_json::to_vec(&terms).unwrap_or_default();
        let ties = Ties { on_complete: new.on_complete, retry_of: new.retry_of, ..Ties::default() };
        self.check_follow_up(new.tenant, &ties)?;
        let submission = Submission {
            tenant: new.tenant,
            job_type: JobType::BATCH,
            name: new.name.or_else(|| Some("batch".to_owned())),
            input: Payload::Inline(input.into()),
            queue: QueueName::default_queue(),
            created_by: new.by,
            owner: new.owner,
            tags: new.tags,
            ties: (ties != Ties::NONE).then(|| Arc::new(ties)),
            ..Submission::new(self.identities.next(now), batch_plugin(), now)
        };
        let state = transition::submitted(&submission, now);
        Ok(Job { submission: Arc::new(submission), state })
    }

    /// Runs the failed members of a batch that has ended again, as the members of a new batch on the same terms, which the
    /// old one is `retry_of`. All in one commit.
    pub async fn retry_failed(
        &self,
        tenant: TenantId,
        id: JobId,
        rerun: Rerun,
    ) -> Result<(Job, Vec<JobId>), RerunError> {
        Ok(self.retry_failed_once(tenant, id, rerun, None).await?.made)
    }

    /// The same; with a key, a repeated call returns the new batch of the first.
    pub async fn retry_failed_once(
        &self,
        tenant: TenantId,
        id: JobId,
        rerun: Rerun,
        key: Option<&IdempotencyKey>,
    ) -> Result<Answered<(Job, Vec<JobId>)>, RerunError> {
        let _turn = self.rerunning.lock().await;
        let mut contest = self.contest();
        loop {
            if let (Some(key), Some(first)) = (key, self.first_answer(tenant, key)?) {
                return Ok(Answered::again(self.batch_of(tenant, key, first.jobs)?));
            }
            let ended = self.get(tenant, id).map_err(SteerError::from)?.ok_or(SteerError::Unknown(id))?;
            let failed = self.failed_members(&ended)?;
            let (batch, ids, pending) = self.number_and_commit_failed(&ended, &failed, &rerun, key)?;
            match pending.await {
                Ok(()) => return Ok(Answered::anew((batch, ids))),
                Err(error) => contest.lost(error.into()).await?,
            }
        }
    }

    /// The members of a batch that are to run again, oldest first: those that have failed and were not run again yet.
    fn failed_members(&self, batch: &Job) -> Result<Vec<Job>, SteerError> {
        let refused =
            |why| Err(Refused { status: batch.state.status, event: RETRY_FAILED, why: Cow::Borrowed(why) }.into());
        if batch.submission.job_type != JobType::BATCH {
            return refused("it is no batch");
        }
        if !batch.state.status.is_final() {
            return refused("it has not ended");
        }
        let mut query = members(batch, vec![Status::Failed]);
        let (mut failed, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
        loop {
            let page = self.store.jobs(&query)?;
            looked_at += page.jobs.len();
            for job in page.jobs {
                if self.run_again_as(&job)?.is_none() {
                    bytes += written_bytes(&job.submission);
                    failed.push(job);
                }
            }
            if looked_at > RETRIED_MAX || bytes > RETRIED_BYTES_MAX {
                return refused(
                    "too many of its jobs have failed for one commit; run them again by a filter that names the batch",
                );
            }
            match page.next {
                Some(next) => query.before = Some(next),
                None => break,
            }
        }
        if failed.is_empty() {
            return refused("none of its jobs has failed that was not run again already");
        }
        failed.reverse();
        Ok(failed)
    }

    fn number_and_commit_failed(
        &self,
        ended: &Job,
        failed: &[Job],
        rerun: &Rerun,
        key: Option<&IdempotencyKey>,
    ) -> Result<(Job, Vec<JobId>, Pending), RerunError> {
        let _turn = failed.iter().any(|job| is_keyed(&job.submission)).then(|| self.identities.turn());
        let now = self.clock.now();
        let asked = &ended.submission;
        let batch = self.new_batch(
            NewBatch {
                tenant: asked.tenant,
                name: asked.name.clone(),
                allowed_failures: Terms::of(&asked.input).allowed_failures,
                on_complete: asked.ties().on_complete.clone(),
                retry_of: Some(asked.id),
                tags: asked.tags.clone(),
                by: Some(rerun.by.clone()),
                owner: asked.owner.clone(),
            },
            now,
        )?;
        let audit = rerun.row(ended.state.status, &batch, now);
        let mut changes = vec![Change::submit(batch.clone()), Change::put(audit)];
        let mut ids = Vec::with_capacity(failed.len());
        let mut ahead = Ahead::default();
        for member in failed {
            let again = self.again(member, rerun, Some(batch.submission.id), &mut ahead, now);
            let (job, commit) = again.map_err(|error| RerunError::Member { job: member.submission.id, error })?;
            ids.push(job.submission.id);
            changes.extend(commit);
        }
        let answer = || [batch.submission.id].into_iter().chain(ids.iter().copied()).collect();
        changes.extend(key.map(|key| key.remember(asked.tenant, answer(), None, now)));
        Ok((batch, ids, self.store.commit(changes)))
    }

    /// How the members of a batch do.
    pub fn batch_summary(&self, batch: &Job) -> Result<Summary, ReadError> {
        Ok(Summary::of(&self.store.batch(batch.submission.tenant, batch.submission.id)?))
    }

    /// Calls off the members of a batch that have not ended.
    pub(super) async fn cancel_members(&self, batch: &Job, command: &Command) -> Result<(), SteerError> {
        let tenant = batch.submission.tenant;
        let mut query = members(batch, Status::unfinished().collect());
        loop {
            let page = self.store.jobs(&query)?;
            for member in page.jobs {
                match self.steer_one(tenant, member.submission.id, command, |_| true).await {
                    // It has ended or gone meanwhile.
                    Ok(_) | Err(SteerError::Refused(_) | SteerError::Unknown(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            match page.next {
                Some(next) => query.before = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// The members of a batch that stand somewhere, newest first.
pub(super) fn members(batch: &Job, statuses: Vec<Status>) -> JobQuery {
    let filter = JobFilter { statuses, batch: Some(batch.submission.id), ..JobFilter::default() };
    JobQuery { tenant: batch.submission.tenant, filter, before: None, limit: PAGE }
}

fn batch_plugin() -> PluginName {
    PluginName::new(batch::PLUGIN).expect("it is a slug")
}
