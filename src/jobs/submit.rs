//! Taking jobs: checked whole, then written in one commit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Jobs;
use crate::domain::change::{Change, RememberedSubmit};
use crate::domain::id::{HandlerName, JobId, PluginName, QueueName, Sequence, TenantId};
use crate::domain::job::{Job, JobType, Payload, Submission, transition};
use crate::domain::time::Timestamp;
use crate::registry::Unfit;
use crate::store::{CommitError, ReadError, put_payload};

/// How long an `Idempotency-Key` is kept (promise 6).
const KEY_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// The longest `Idempotency-Key`, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// How often a submit is decided again when another one with the same key came between.
const ATTEMPTS: usize = 4;

/// What a caller asks for. The edge has checked the syntax; the meaning is checked here.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The owner.
    pub tenant: TenantId,
    /// The plug-in to run.
    pub plugin: PluginName,
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
    /// To be called off unless started by then.
    pub expires_on: Option<Timestamp>,
    /// Free words to find it by.
    pub tags: Vec<String>,
    /// Attempts in all, when other than the plug-in's.
    pub max_attempts: Option<u32>,
    /// Who submits it.
    pub by: Option<String>,
}

impl NewJob {
    /// A job for `plugin` with `input`, everything else as usual.
    pub fn new(plugin: PluginName, input: impl Into<Bytes>) -> Self {
        Self {
            tenant: TenantId::DEFAULT,
            plugin,
            handler: None,
            input: input.into(),
            name: None,
            args: Vec::new(),
            env: Vec::new(),
            queue: QueueName::default_queue(),
            priority: 0,
            at: None,
            expires_on: None,
            tags: Vec::new(),
            max_attempts: None,
            by: None,
        }
    }
}

/// A taken submit.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The job.
    pub job: Job,
    /// Whether it is the first one of a repeated `Idempotency-Key`.
    pub repeated: bool,
}

/// Why a submit was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The plug-in, the handler or the input do not fit.
    #[error(transparent)]
    Unfit(#[from] Unfit),
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
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a bulk submit was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("job {index} of the bulk submit: {error}")]
pub struct BulkError {
    /// Which of the jobs, from 0; none when the fault is not one job's.
    pub index: usize,
    /// What is wrong.
    pub error: SubmitError,
}

impl Jobs {
    /// Takes one job. With a key, a repeated call returns the first job, even after that has ended.
    pub async fn submit(&self, new: NewJob, key: Option<&str>) -> Result<Submitted, SubmitError> {
        let Some(key) = key else {
            let job = self.submit_new(new, None).await?;
            return Ok(Submitted { job, repeated: false });
        };
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(SubmitError::BadKey { bytes: key.len() });
        }
        let fingerprint = fingerprint(&new);
        let mut conflict = CommitError::Conflict { index: 0 };
        for _ in 0..ATTEMPTS {
            if let Some(first) = self.first_submit(new.tenant, key, fingerprint)? {
                return Ok(Submitted { job: first, repeated: true });
            }
            match self.submit_new(new.clone(), Some((key, fingerprint))).await {
                Ok(job) => return Ok(Submitted { job, repeated: false }),
                Err(SubmitError::Commit(error @ CommitError::Conflict { .. })) => conflict = error,
                Err(error) => return Err(error),
            }
        }
        Err(conflict.into())
    }

    /// Takes all jobs or none, in one commit.
    pub async fn submit_bulk(&self, news: Vec<NewJob>) -> Result<Vec<JobId>, BulkError> {
        let now = self.clock.now();
        let first = self.store.reserve(news.len() as u64);
        let mut ids = Vec::with_capacity(news.len());
        let mut changes = Vec::with_capacity(news.len());
        for (index, new) in news.into_iter().enumerate() {
            let sequence = Sequence(first.0 + index as u64);
            let submission = self.submission(new, sequence, now).map_err(|error| BulkError { index, error })?;
            ids.push(submission.id);
            let state = transition::submitted(&submission, now);
            changes.push(Change::Submit(Arc::new(submission), Box::new(state)));
        }
        let committed = self.store.commit(changes).await;
        committed.map_err(|error| BulkError { index: 0, error: error.into() })?;
        Ok(ids)
    }

    async fn submit_new(&self, new: NewJob, key: Option<(&str, u64)>) -> Result<Job, SubmitError> {
        let now = self.clock.now();
        let submission = Arc::new(self.submission(new, self.store.reserve(1), now)?);
        let state = transition::submitted(&submission, now);
        let mut changes = vec![Change::Submit(Arc::clone(&submission), Box::new(state.clone()))];
        if let Some((key, fingerprint)) = key {
            changes.push(Change::Remember(RememberedSubmit {
                tenant: submission.tenant,
                key: key.to_owned(),
                fingerprint,
                job: submission.id,
                on: now,
                until: now.after(KEY_KEPT),
            }));
        }
        self.store.commit(changes).await?;
        Ok(Job { submission, state })
    }

    fn submission(&self, new: NewJob, sequence: Sequence, now: Timestamp) -> Result<Submission, SubmitError> {
        let handler = self.registry.check_fit(new.tenant, &new.plugin, new.handler.as_ref(), new.input.len() as u64)?;
        let input = match new.input.len() {
            0..=Payload::INLINE_BYTES_MAX => Payload::Inline(new.input),
            _ => put_payload(&*self.store, new.input)?,
        };
        Ok(Submission {
            id: JobId::new(now, sequence, salt(self.salt, sequence)),
            tenant: new.tenant,
            job_type: JobType::HANDLER,
            name: new.name,
            plugin: new.plugin,
            handler,
            input,
            args: new.args,
            env: new.env,
            queue: new.queue,
            priority: new.priority,
            created_on: now,
            created_by: new.by,
            not_before: new.at,
            expires_on: new.expires_on,
            correlation_id: None,
            depth: 0,
            tags: new.tags,
            max_attempts: new.max_attempts,
        })
    }

    fn first_submit(&self, tenant: TenantId, key: &str, fingerprint: u64) -> Result<Option<Job>, SubmitError> {
        let Some(first) = self.store.remembered(tenant, key)? else { return Ok(None) };
        if first.until <= self.clock.now() {
            return Ok(None);
        }
        if first.fingerprint != fingerprint {
            return Err(SubmitError::KeyMismatch { key: key.to_owned(), job: first.job });
        }
        let job = self.get(tenant, first.job)?;
        job.map(Some).ok_or_else(|| SubmitError::KeyOfDeleted { key: key.to_owned(), job: first.job })
    }
}

/// The low bits of a mixed number (the finaliser of SplitMix64): neighbours share no pattern.
fn salt(seed: u64, sequence: Sequence) -> u16 {
    let mut mixed = seed ^ sequence.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u16::try_from((mixed ^ (mixed >> 31)) & 0x3fff).unwrap_or(0)
}

/// A stable hash (FNV-1a, 64 bits) of what the caller asked for; kept with the key, so it must not change between releases.
fn fingerprint(new: &NewJob) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut feed = |bytes: &[u8]| {
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    feed(new.plugin.as_str().as_bytes());
    feed(new.handler.as_ref().map(HandlerName::as_str).unwrap_or_default().as_bytes());
    feed(&new.input);
    feed(new.name.as_deref().unwrap_or_default().as_bytes());
    feed(&(new.args.len() as u64).to_le_bytes());
    new.args.iter().for_each(|arg| feed(arg.as_bytes()));
    feed(&(new.env.len() as u64).to_le_bytes());
    new.env.iter().for_each(|(name, value)| {
        feed(name.as_bytes());
        feed(value.as_bytes());
    });
    feed(new.queue.as_str().as_bytes());
    feed(&new.priority.to_le_bytes());
    for time in [new.at, new.expires_on] {
        feed(&[u8::from(time.is_some())]);
        feed(&time.map(Timestamp::as_micros).unwrap_or_default().to_le_bytes());
    }
    feed(&(new.tags.len() as u64).to_le_bytes());
    new.tags.iter().for_each(|tag| feed(tag.as_bytes()));
    feed(&new.max_attempts.unwrap_or_default().to_le_bytes());
    hash
}
