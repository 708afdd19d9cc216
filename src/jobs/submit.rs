//! Taking jobs: checked whole, then written in one commit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Jobs;
use super::ahead::Ahead;
use super::circle::Circle;
use crate::domain::access::{Caller, Right};
use crate::domain::advice::Advice;
use crate::domain::change::Change;
use crate::domain::id::{DedupKey, HandlerName, JobId, PluginName, QueueName, TenantId, VersionName};
use crate::domain::idempotency::{IdempotencyKey, KeyError};
use crate::domain::job::{FollowUp, Job, JobType, Payload, Submission, Ties};
use crate::domain::limits::Axis;
use crate::domain::outbound::is_built_in;
use crate::domain::time::Timestamp;
use crate::registry::Unfit;
use crate::store::{CommitError, Pending, ReadError, put_payload};

/// What a caller asks for. The edge has checked the syntax; the meaning is checked here.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The tenant.
    pub tenant: TenantId,
    /// The plug-in to run.
    pub plugin: PluginName,
    /// The version to run; the active one when absent.
    pub version: Option<VersionName>,
    /// The entry point; the plug-in's first when absent.
    pub handler: Option<HandlerName>,
    /// What the handler is given.
    pub input: Bytes,
    /// A display name.
    pub name: Option<String>,
    /// Command-line arguments, for the command shape.
    pub args: Vec<String>,
    /// Environment variables, for the command shape.
    pub env: Vec<(String, String)>,
    /// The pool to run in.
    pub queue: QueueName,
    /// Greater runs first.
    pub priority: i8,
    /// Not to start before.
    pub at: Option<Timestamp>,
    /// How far `at` lies ahead, where that is what the caller said: the same said again is the same submit.
    pub at_in: Option<Duration>,
    /// To be called off unless started by then.
    pub expires_on: Option<Timestamp>,
    /// How far `expires_on` lies ahead, likewise.
    pub expires_in: Option<Duration>,
    /// Free words to find it by.
    pub tags: Vec<String>,
    /// Attempts in all, when other than the plug-in's.
    pub max_attempts: Option<u32>,
    /// A shorter wall-clock limit of each run than the plug-in's.
    pub deadline: Option<Duration>,
    /// Whether the record goes as soon as the job has succeeded.
    pub auto_delete: bool,
    /// What binds it to other jobs.
    pub ties: Ties,
    /// The job on whose behalf it is submitted: it belongs to that one's chain, one step deeper (domain.md 4.5).
    pub parent: Option<JobId>,
    /// Who submits it.
    pub by: Option<String>,
    /// What that one may see: only such jobs may be named. The new job is his.
    pub caller: Caller,
}

impl NewJob {
    /// A job for `plugin` with `input`, everything else as usual.
    pub fn new(plugin: PluginName, input: impl Into<Bytes>) -> Self {
        Self {
            tenant: TenantId::DEFAULT,
            plugin,
            version: None,
            handler: None,
            input: input.into(),
            name: None,
            args: Vec::new(),
            env: Vec::new(),
            queue: QueueName::default_queue(),
            priority: 0,
            at: None,
            at_in: None,
            expires_on: None,
            expires_in: None,
            tags: Vec::new(),
            max_attempts: None,
            deadline: None,
            auto_delete: false,
            ties: Ties::default(),
            parent: None,
            by: None,
            caller: Caller::ANYBODY,
        }
    }
}

/// A taken submit.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The job.
    pub job: Job,
    /// Whether it is the first one of a repeated `Idempotency-Key`, or the unfinished one of the same dedup key.
    pub repeated: bool,
}

/// Why a submit was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The plug-in, the handler or the input do not fit.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The plug-in is disabled: its jobs are canceled when their turn comes.
    #[error("plug-in `{plugin}` is disabled: the job would be canceled when its turn comes")]
    Disabled {
        /// The plug-in.
        plugin: PluginName,
    },
    /// The `Idempotency-Key` does not answer it.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A job that it names does not exist.
    #[error("{field} names job {job}, which does not exist")]
    UnknownTie {
        /// Where it is named: `after`, `parent`, `batch`.
        field: &'static str,
        /// The job.
        job: JobId,
    },
    /// The caller may read the batch that it names, but not add to it.
    #[error("to add to batch {job} takes the right `write` on it")]
    NoWriteOnBatch {
        /// The batch.
        job: JobId,
    },
    /// The batch that it names takes no more jobs.
    #[error("job {job} is no batch that still takes jobs")]
    ClosedBatch {
        /// The job.
        job: JobId,
    },
    /// It would wait for its batch, which would wait for it.
    #[error(
        "by what it waits for, the job would wait for its own batch {batch}, and that waits for the job: neither would end"
    )]
    Circle {
        /// The batch.
        batch: JobId,
    },
    /// It names a batch, and is submitted as a job of another.
    #[error("the job names batch {batch}, and is submitted as one of another batch")]
    OtherBatch {
        /// The batch that it names.
        batch: JobId,
    },
    /// The URL that is to hear of its end cannot be called.
    #[error("on_complete: {0}")]
    Callback(Unfit),
    /// An unfinished job has its dedup key, and that is no answer: the caller may not read it, or many jobs are submitted at
    /// once.
    #[error("the unfinished job {job} has the dedup key `{key}`")]
    Duplicate {
        /// The key.
        key: DedupKey,
        /// Who has it.
        job: JobId,
    },
    /// An earlier job of the same bulk submit has its dedup key.
    #[error("job {index} of the same request, counted from 1, has the dedup key `{key}`, too")]
    Twice {
        /// The key.
        key: DedupKey,
        /// Which of the jobs, from 1.
        index: usize,
    },
    /// Of jobs that are run again in one request, an earlier one has its dedup key.
    #[error("job {job} of the same request has the dedup key `{key}`, too")]
    TwiceAgain {
        /// The key.
        key: DedupKey,
        /// The job.
        job: JobId,
    },
    /// Its runs would be stopped before its deadline.
    #[error("the deadline of {deadline:?} is beyond the plug-in's limit of {wall:?} for a run")]
    LongDeadline {
        /// What it asks for.
        deadline: Duration,
        /// What the plug-in may take.
        wall: Duration,
        /// What allows more.
        advice: Box<Advice>,
    },
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// How a submit fits in with what is there.
pub(super) struct Fit {
    /// The handler that it will run.
    handler: HandlerName,
    /// The chain that it belongs to, and how deep in it.
    correlation_id: Option<JobId>,
    depth: u32,
}

impl Jobs {
    /// Takes one job. With a key, a repeated call returns the first job, even after that has ended; with a dedup key, it
    /// returns the job of that key which has not ended yet.
    pub async fn submit(&self, new: NewJob, key: Option<&str>) -> Result<Submitted, SubmitError> {
        let key = key.map(|given| IdempotencyKey::new(given, &new.caller, &new.asked())).transpose()?;
        let mut contest = self.contest();
        loop {
            if let Some(answer) = self.answered_before(&new, key.as_ref())? {
                return Ok(answer);
            }
            let decided = match self.holder(&new)? {
                // What it was answered with is its answer from then on, whatever becomes of that job.
                Some(holder) => self.remember(&new, key.as_ref(), &holder).await.map(|()| (holder, true)),
                None => self.submit_new(new.clone(), key.as_ref()).await.map(|job| (job, false)),
            };
            match decided {
                Ok((job, repeated)) => return Ok(Submitted { job, repeated }),
                Err(error) if can_conflict(&new, key.as_ref()) => contest.lost(error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    fn answered_before(&self, new: &NewJob, key: Option<&IdempotencyKey>) -> Result<Option<Submitted>, SubmitError> {
        let Some(first) = self.first_answer(new.tenant, key)? else { return Ok(None) };
        let (Some(key), Some(job)) = (key, first.jobs.first()) else { return Ok(None) };
        Ok(Some(Submitted { job: self.job_of(new.tenant, key, *job)?, repeated: true }))
    }

    /// The unfinished job that has the dedup key of a submit, where that is the answer to it.
    fn holder(&self, new: &NewJob) -> Result<Option<Job>, SubmitError> {
        let Some(key) = &new.ties.dedup_key else { return Ok(None) };
        match self.duplicate(new.tenant, key)? {
            Some(holder) if !new.caller.is_answered_with(&holder.submission) => {
                Err(SubmitError::Duplicate { key: key.clone(), job: holder.submission.id })
            }
            holder => Ok(holder),
        }
    }

    async fn remember(&self, new: &NewJob, key: Option<&IdempotencyKey>, answer: &Job) -> Result<(), SubmitError> {
        let Some(key) = key else { return Ok(()) };
        let remembered = key.remember(new.tenant, vec![answer.submission.id], None, self.clock.now());
        Ok(self.store.commit(vec![remembered]).await?)
    }

    async fn submit_new(&self, new: NewJob, key: Option<&IdempotencyKey>) -> Result<Job, SubmitError> {
        let (taken, pending) = self.number_and_commit(new, key)?;
        pending.await?;
        Ok(taken)
    }

    fn number_and_commit(&self, new: NewJob, key: Option<&IdempotencyKey>) -> Result<(Job, Pending), SubmitError> {
        let mut submission = self.submission(new)?;
        if let Some(Circle { batch, .. }) = self.circle(std::slice::from_ref(&submission))? {
            return Err(SubmitError::Circle { batch });
        }
        // A number is not passed by another of its ordering key between its draw and its commit.
        let _turn = is_keyed(&submission).then(|| self.identities.turn());
        let now = self.clock.now();
        if key.is_some() {
            remember_end(&mut submission);
        }
        let submission = Submission { id: self.identities.next(now), created_on: now, ..submission };
        let (tenant, job) = (submission.tenant, submission.id);
        let taken = self.taken(submission, &mut Ahead::default(), now)?;
        let mut changes = vec![Change::submit(taken.clone())];
        changes.extend(key.map(|key| key.remember(tenant, vec![job], None, now)));
        Ok((taken, self.store.commit(changes)))
    }

    /// Checks what a caller asks for, by itself and against what is there.
    pub(super) fn check(&self, new: &NewJob) -> Result<Fit, SubmitError> {
        let (handler, version) = (new.handler.as_ref(), new.version.as_ref());
        let handler = self.registry.check_fit(new.tenant, &new.plugin, version, handler, new.input.len() as u64)?;
        if self.registry.get(new.tenant, &new.plugin).is_ok_and(|plugin| plugin.disabled) {
            return Err(SubmitError::Disabled { plugin: new.plugin.clone() });
        }
        for (field, is_given) in [("args", !new.args.is_empty()), ("env", !new.env.is_empty())] {
            if is_given {
                self.registry.check_command(new.tenant, &new.plugin, version, field)?;
            }
        }
        if is_built_in(&new.plugin) {
            self.registry.check_call(new.tenant, &new.input)?;
        }
        self.check_deadline(new)?;
        self.check_ties(new)?;
        let (correlation_id, depth) = self.place_in_chain(new)?;
        Ok(Fit { handler, correlation_id, depth })
    }

    /// What a caller asks for, checked, but for its identity and its time. A large input is kept already: that may take
    /// long, and nobody should wait for it.
    pub(super) fn submission(&self, new: NewJob) -> Result<Submission, SubmitError> {
        let Fit { handler, correlation_id, depth } = self.check(&new)?;
        let input = match new.input.len() {
            0..=Payload::INLINE_BYTES_MAX => Payload::Inline(new.input),
            _ => {
                self.store.check_room()?;
                put_payload(&*self.store, new.input)?
            }
        };
        Ok(Submission {
            tenant: new.tenant,
            job_type: JobType::HANDLER,
            name: new.name,
            version: new.version,
            handler,
            input,
            args: new.args,
            env: new.env,
            queue: new.queue,
            priority: new.priority,
            created_by: new.by,
            owner: new.caller.name,
            not_before: new.at,
            expires_on: new.expires_on,
            correlation_id,
            depth,
            tags: new.tags,
            max_attempts: new.max_attempts,
            deadline: new.deadline,
            auto_delete: new.auto_delete,
            ties: (new.ties != Ties::NONE).then(|| Arc::new(new.ties)),
            ..Submission::new(JobId::default(), new.plugin, Timestamp::default())
        })
    }

    fn check_deadline(&self, new: &NewJob) -> Result<(), SubmitError> {
        let Some(deadline) = new.deadline else { return Ok(()) };
        let wall = self.registry.limits(new.tenant, &new.plugin, new.version.as_ref()).wall;
        if deadline <= wall {
            return Ok(());
        }
        let millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let advice = self.registry.allow_more(new.tenant, &new.plugin, new.version.as_ref(), Axis::Wall, millis);
        Err(SubmitError::LongDeadline { deadline, wall, advice: Box::new(advice) })
    }

    /// A job may name only jobs that exist; of circles see [`Jobs::circle`].
    fn check_ties(&self, new: &NewJob) -> Result<(), SubmitError> {
        let ties = &new.ties;
        for job in &ties.after {
            self.named(new, "after", *job)?;
        }
        if let Some(job) = ties.batch {
            let batch = self.named(new, "batch", job)?;
            if !new.caller.may(Right::Write, &batch.submission) {
                return Err(SubmitError::NoWriteOnBatch { job });
            }
            if batch.submission.job_type != JobType::BATCH || batch.state.status.is_final() {
                return Err(SubmitError::ClosedBatch { job });
            }
        }
        self.check_follow_up(new.tenant, ties)
    }

    /// A URL that is to hear of an end must be one that can be called.
    pub(super) fn check_follow_up(&self, tenant: TenantId, ties: &Ties) -> Result<(), SubmitError> {
        match &ties.on_complete {
            Some(FollowUp { url: Some(url), .. }) => {
                self.registry.check_callback(tenant, url).map_err(SubmitError::Callback)
            }
            _ => Ok(()),
        }
    }

    /// A job that is named. One that the caller may not read does not exist for him.
    fn named(&self, new: &NewJob, field: &'static str, job: JobId) -> Result<Job, SubmitError> {
        let found = self.get(new.tenant, job)?.filter(|found| new.caller.may(Right::Read, &found.submission));
        found.ok_or(SubmitError::UnknownTie { field, job })
    }

    /// The chain that a job belongs to, and how deep in it.
    fn place_in_chain(&self, new: &NewJob) -> Result<(Option<JobId>, u32), SubmitError> {
        let Some(parent) = new.parent else { return Ok((None, 0)) };
        let parent = self.named(new, "parent", parent)?.submission;
        Ok((Some(parent.correlation_id.unwrap_or(parent.id)), parent.depth.saturating_add(1)))
    }

    /// The unfinished job that has a dedup key.
    pub(super) fn duplicate(&self, tenant: TenantId, key: &DedupKey) -> Result<Option<Job>, ReadError> {
        match self.store.dedup_holder(tenant, key)? {
            Some(holder) => self.store.job(holder),
            None => Ok(None),
        }
    }
}

/// Whether a job is one of those that share an ordering key.
pub(super) fn is_keyed(submission: &Submission) -> bool {
    submission.ties().ordering_key.is_some()
}

/// An `Idempotency-Key` stands for the job: where its record goes with its end, the end is kept.
pub(super) fn remember_end(submission: &mut Submission) {
    if submission.auto_delete {
        submission.ties = Some(Arc::new(Ties { is_remembered: true, ..submission.ties().clone() }));
    }
}

/// Whether somebody else may have been first: only with a key of either kind.
fn can_conflict(new: &NewJob, key: Option<&IdempotencyKey>) -> bool {
    key.is_some() || new.ties.dedup_key.is_some()
}
