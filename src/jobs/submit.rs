//! Taking jobs: checked whole, then written in one commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Jobs;
use super::idempotency::IdempotencyKey;
use crate::domain::access::{Caller, Right};
use crate::domain::change::{Change, RememberedSubmit};
use crate::domain::id::{DedupKey, HandlerName, JobId, PluginName, QueueName, Sequence, TenantId, VersionName};
use crate::domain::job::{FollowUp, Job, JobType, Payload, Submission, Ties, transition};
use crate::domain::loops::{self, LoopFound};
use crate::domain::outbound::is_built_in;
use crate::domain::query::{JobFilter, JobQuery};
use crate::domain::time::Timestamp;
use crate::registry::Unfit;
use crate::store::{CommitError, Pending, ReadError, put_payload};

/// How long an `Idempotency-Key` is kept (promise 6).
const KEY_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// The longest `Idempotency-Key`, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// How many pages of jobs about one record are looked at for those that ran; the rest of a flood was refused anyway.
const LOOP_PAGES_MAX: usize = 16;

/// How many faulty jobs of a bulk submit are told of.
const FAULTS_MAX: usize = 20;

/// How often a submit is decided again when another one with the same key came between.
const ATTEMPTS: usize = 4;

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
    /// The `Idempotency-Key` belongs to another request.
    #[error("the Idempotency-Key `{key}` was used for another request, which made job {job}")]
    KeyMismatch {
        /// The key.
        key: String,
        /// The job of the first request.
        job: JobId,
    },
    /// The job of the `Idempotency-Key` was deleted; the key still stands for it.
    #[error("the Idempotency-Key `{key}` made job {job}, which has been deleted since")]
    KeyOfDeleted {
        /// The key.
        key: String,
        /// The job that it made.
        job: JobId,
    },
    /// The `Idempotency-Key` itself is not acceptable.
    #[error("an Idempotency-Key has 1 to {KEY_BYTES_MAX} bytes; this one has {bytes}")]
    BadKey {
        /// How many bytes it has.
        bytes: usize,
    },
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
    /// Its runs would be stopped before its deadline.
    #[error("the deadline of {deadline:?} is beyond the plug-in's limit of {wall:?} for a run")]
    LongDeadline {
        /// What it asks for.
        deadline: Duration,
        /// What the plug-in may take.
        wall: Duration,
    },
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a bulk submit was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct BulkError {
    /// Which of the jobs, from 0; none when the fault is not one job's.
    pub index: Option<usize>,
    /// What is wrong.
    pub error: SubmitError,
    /// What is wrong with later jobs, with the place of each; of very many the first ones.
    pub more: Vec<(usize, SubmitError)>,
}

impl BulkError {
    /// A fault that is not one job's.
    pub(super) fn of_all(error: impl Into<SubmitError>) -> Self {
        Self { index: None, error: error.into(), more: Vec::new() }
    }

    /// A fault of the job at a place.
    fn at(index: usize, error: SubmitError) -> Self {
        Self { index: Some(index), error, more: Vec::new() }
    }
}

impl Jobs {
    /// Takes one job. With a key, a repeated call returns the first job, even after that has ended; with a dedup key, it
    /// returns the job of that key which has not ended yet.
    pub async fn submit(&self, new: NewJob, key: Option<&str>) -> Result<Submitted, SubmitError> {
        if let Some(key) = key
            && (key.is_empty() || key.len() > KEY_BYTES_MAX)
        {
            return Err(SubmitError::BadKey { bytes: key.len() });
        }
        let key = key.map(|key| IdempotencyKey::new(key, &new));
        let mut conflict = CommitError::Conflict { index: 0 };
        for _ in 0..ATTEMPTS {
            if let Some(key) = &key
                && let Some(first) = self.first_submit(new.tenant, key)?
            {
                return Ok(Submitted { job: first, repeated: true });
            }
            if let Some(dedup_key) = &new.ties.dedup_key
                && let Some(unfinished) = self.duplicate(new.tenant, dedup_key)?
            {
                if !new.caller.is_answered_with(&unfinished.submission) {
                    let (key, job) = (dedup_key.clone(), unfinished.submission.id);
                    return Err(SubmitError::Duplicate { key, job });
                }
                return Ok(Submitted { job: unfinished, repeated: true });
            }
            match self.submit_new(new.clone(), key.as_ref()).await {
                Ok(job) => return Ok(Submitted { job, repeated: false }),
                Err(SubmitError::Commit(error @ CommitError::Conflict { .. })) if can_conflict(&new, key.as_ref()) => {
                    conflict = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(conflict.into())
    }

    /// Takes all jobs or none, in one commit.
    pub async fn submit_bulk(&self, news: Vec<NewJob>) -> Result<Vec<JobId>, BulkError> {
        let (ids, pending) = self.number_and_commit_bulk(news, None, self.clock.now())?;
        pending.await.map_err(BulkError::of_all)?;
        Ok(ids)
    }

    /// All jobs of a bulk submit, with the batch that they belong to, if they do, on their way to the store.
    pub(super) fn number_and_commit_bulk(
        &self,
        news: Vec<NewJob>,
        batch: Option<&Job>,
        now: Timestamp,
    ) -> Result<(Vec<JobId>, Pending), BulkError> {
        let mut submissions = Vec::with_capacity(news.len());
        let mut faults = Vec::new();
        for (index, new) in news.into_iter().enumerate() {
            let checked = match (batch, new.ties.batch) {
                (Some(_), Some(other)) => Err(SubmitError::OtherBatch { batch: other }),
                _ => self.submission(new),
            };
            match checked {
                Ok(submission) => submissions.push(submission),
                Err(error) => faults.push((index, error)),
            }
            if faults.len() == FAULTS_MAX {
                break;
            }
        }
        if !faults.is_empty() {
            let (index, error) = faults.remove(0);
            return Err(BulkError { more: faults, ..BulkError::at(index, error) });
        }
        let _turn = submissions.iter().any(is_keyed).then(|| self.identities.turn());
        let first = self.identities.reserve(submissions.len() as u64);
        let mut ids = Vec::with_capacity(submissions.len());
        let mut keys = HashMap::new();
        let mut changes = Vec::with_capacity(submissions.len() + 1);
        changes.extend(batch.cloned().map(Change::submit));
        let batch = batch.map(|batch| batch.submission.id);
        for (index, submission) in submissions.into_iter().enumerate() {
            let failed = |error| BulkError::at(index, error);
            let id = self.identities.of(Sequence(first.0 + index as u64), now);
            if let Some(key) = submission.ties().dedup_key.clone() {
                let unfinished = self.duplicate(submission.tenant, &key).map_err(|error| failed(error.into()))?;
                if let Some(job) = unfinished.map(|job| job.submission.id) {
                    return Err(failed(SubmitError::Duplicate { key, job }));
                }
                if let Some(first) = keys.insert(key.clone(), index) {
                    return Err(failed(SubmitError::Twice { key, index: first + 1 }));
                }
            }
            let mut submission = Submission { id, created_on: now, ..submission };
            if batch.is_some() {
                submission.ties = Some(Arc::new(Ties { batch, ..submission.ties().clone() }));
            }
            changes.push(Change::submit(self.taken(submission, now).map_err(failed)?));
            ids.push(id);
        }
        Ok((ids, self.store.commit(changes)))
    }

    async fn submit_new(&self, new: NewJob, key: Option<&IdempotencyKey<'_>>) -> Result<Job, SubmitError> {
        let (taken, pending) = self.number_and_commit(new, key)?;
        pending.await?;
        Ok(taken)
    }

    fn number_and_commit(&self, new: NewJob, key: Option<&IdempotencyKey<'_>>) -> Result<(Job, Pending), SubmitError> {
        let submission = self.submission(new)?;
        // A number is not passed by another of its ordering key between its draw and its commit.
        let _turn = is_keyed(&submission).then(|| self.identities.turn());
        let now = self.clock.now();
        let submission = Submission { id: self.identities.next(now), created_on: now, ..submission };
        let (tenant, job) = (submission.tenant, submission.id);
        let taken = self.taken(submission, now)?;
        let mut changes = vec![Change::submit(taken.clone())];
        if let Some(key) = key {
            let until = now.after(KEY_KEPT);
            changes.push(Change::Remember(RememberedSubmit {
                tenant,
                key: key.kept.clone(),
                fingerprint: key.fingerprint,
                job,
                on: now,
                until,
            }));
        }
        Ok((taken, self.store.commit(changes)))
    }

    /// A new job, in the state that it starts in: refused where its chain or its record looks like a loop (T02).
    pub(super) fn taken(&self, submission: Submission, now: Timestamp) -> Result<Job, SubmitError> {
        let state = match self.loop_found(&submission, now)? {
            Some(found) => transition::refused(&submission, &found, now),
            None => transition::submitted(&submission, now),
        };
        Ok(Job { submission: Arc::new(submission), state })
    }

    /// What a caller asks for, checked, but for its identity and its time. A large input is kept already: that may take
    /// long, and nobody should wait for it.
    fn submission(&self, new: NewJob) -> Result<Submission, SubmitError> {
        let (handler, version) = (new.handler.as_ref(), new.version.as_ref());
        let handler = self.registry.check_fit(new.tenant, &new.plugin, version, handler, new.input.len() as u64)?;
        if self.registry.get(new.tenant, &new.plugin).is_ok_and(|plugin| plugin.disabled) {
            return Err(SubmitError::Disabled { plugin: new.plugin });
        }
        for (field, is_given) in [("args", !new.args.is_empty()), ("env", !new.env.is_empty())] {
            if is_given {
                self.registry.check_command(new.tenant, &new.plugin, version, field)?;
            }
        }
        if is_built_in(&new.plugin) {
            self.registry.check_call(&new.input)?;
        }
        self.check_deadline(&new)?;
        self.check_ties(&new)?;
        let (correlation_id, depth) = self.place_in_chain(&new)?;
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
        let wall = self.registry.policy(new.tenant, &new.plugin).limits.wall;
        if deadline <= wall { Ok(()) } else { Err(SubmitError::LongDeadline { deadline, wall }) }
    }

    /// A job may name only jobs that exist, so that no circle can come about.
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
            if self.waits_for(new.tenant, ties, job)? {
                return Err(SubmitError::Circle { batch: job });
            }
        }
        self.check_follow_up(ties)
    }

    /// A URL that is to hear of an end must be one that can be called.
    pub(super) fn check_follow_up(&self, ties: &Ties) -> Result<(), SubmitError> {
        match &ties.on_complete {
            Some(FollowUp { url: Some(url), .. }) => self.registry.check_callback(url).map_err(SubmitError::Callback),
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

    /// Why a job looks like a part of a loop, if it does (domain.md 4.5).
    fn loop_found(&self, submission: &Submission, now: Timestamp) -> Result<Option<LoopFound>, SubmitError> {
        if let Some(found) = loops::too_deep(submission) {
            return Ok(Some(found));
        }
        let Some(regarding) = &submission.ties().regarding else { return Ok(None) };
        let filter = JobFilter {
            regarding: Some(regarding.clone()),
            plugin: Some(submission.plugin.clone()),
            handler: Some(submission.handler.clone()),
            created_from: Some(loops::window_start(now)),
            ..JobFilter::default()
        };
        let limit = loops::RUNS_PER_RECORD_MAX;
        let mut query = JobQuery { tenant: submission.tenant, filter, before: None, limit };
        let mut earlier = 0;
        for _ in 0..LOOP_PAGES_MAX {
            let page = self.store.jobs(&query)?;
            earlier += page.jobs.iter().filter(|job| !never_ran(job)).count();
            query.before = page.next;
            if page.next.is_none() || earlier >= limit {
                break;
            }
        }
        Ok(loops::too_often(submission, earlier))
    }

    /// The unfinished job that has a dedup key.
    fn duplicate(&self, tenant: TenantId, key: &DedupKey) -> Result<Option<Job>, ReadError> {
        match self.store.dedup_holder(tenant, key)? {
            Some(holder) => self.store.job(holder),
            None => Ok(None),
        }
    }

    fn first_submit(&self, tenant: TenantId, key: &IdempotencyKey<'_>) -> Result<Option<Job>, SubmitError> {
        let Some(first) = self.store.remembered(tenant, &key.kept)? else { return Ok(None) };
        if first.until <= self.clock.now() {
            return Ok(None);
        }
        if first.fingerprint != key.fingerprint {
            return Err(SubmitError::KeyMismatch { key: key.given.to_owned(), job: first.job });
        }
        let job = self.get(tenant, first.job)?;
        job.map(Some).ok_or_else(|| SubmitError::KeyOfDeleted { key: key.given.to_owned(), job: first.job })
    }
}

/// Whether a job was refused or called off before its first run. Were those to count, who is refused once would be refused
/// for as long as he asks.
fn never_ran(job: &Job) -> bool {
    job.state.status.is_final() && job.state.runs == 0
}

/// Whether a job is one of those that share an ordering key.
pub(super) fn is_keyed(submission: &Submission) -> bool {
    submission.ties().ordering_key.is_some()
}

/// Whether somebody else may have been first: only with a key of either kind.
fn can_conflict(new: &NewJob, key: Option<&IdempotencyKey<'_>>) -> bool {
    key.is_some() || new.ties.dedup_key.is_some()
}
