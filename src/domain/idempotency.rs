//! The `Idempotency-Key` of a request that makes jobs: whose it is, what it asks for, and what the same request is answered
//! with when it comes again (promise 6).

use std::time::Duration;

use serde::Serialize;

use super::access::Caller;
use super::change::{Change, RememberedSubmit};
use super::hash;
use super::id::{Digest, JobId, Sequence, TenantId};
use super::job::{Job, JobState, Payload, Submission};
use super::time::Timestamp;

/// How long a key is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// Why a request is not answered by its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key itself is not acceptable.
    #[error("an Idempotency-Key has 1 to {KEY_BYTES_MAX} bytes; this one has {bytes}")]
    Bad {
        /// How many bytes it has.
        bytes: usize,
    },
    /// The key belongs to another request.
    #[error("the Idempotency-Key `{key}` was used for another request{}", made(.job.as_ref()))]
    Mismatch {
        /// The key.
        key: String,
        /// The first job of that request.
        job: Option<JobId>,
    },
    /// The job of the key was deleted; the key still stands for it.
    #[error("the Idempotency-Key `{key}` made job {job}, which has been deleted since")]
    OfDeleted {
        /// The key.
        key: String,
        /// The job that it made.
        job: JobId,
    },
}

fn made(job: Option<&JobId>) -> String {
    job.map(|job| format!(", which made job {job}")).unwrap_or_default()
}

/// What a request asks for, as a stable hash (FNV-1a, 64 bits): it is kept with the key, so it must not change between releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHash(u64);

impl RequestHash {
    /// A request of this kind. The same key for another kind is another request.
    pub fn of(kind: &str) -> Self {
        Self(hash::FNV_START).with(kind)
    }

    /// The same with one more part.
    #[must_use]
    pub fn with(self, part: impl AsRef<[u8]>) -> Self {
        let part = part.as_ref();
        Self(hash::fnv(self.0, (part.len() as u64).to_le_bytes().into_iter().chain(part.iter().copied())))
    }

    /// The number itself, as bytes.
    pub fn to_le_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    /// The same with a document as one more part.
    #[must_use]
    pub fn with_document(self, document: &impl Serialize) -> Self {
        self.with(serde_json::to_vec(document).unwrap_or_default())
    }
}

/// The key of one request.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    given: String,
    kept: String,
    asked: RequestHash,
}

impl IdempotencyKey {
    /// The key that a caller has given. The keys of one holder of a token are apart from those of all others.
    pub fn new(given: &str, caller: &Caller, asked: RequestHash) -> Result<Self, KeyError> {
        if given.is_empty() || given.len() > KEY_BYTES_MAX {
            return Err(KeyError::Bad { bytes: given.len() });
        }
        let kept = match &caller.name {
            // No key that comes over HTTP holds a line break.
            Some(name) => format!("{name}\n{given}"),
            None => given.to_owned(),
        };
        Ok(Self { given: given.to_owned(), kept, asked })
    }

    /// Under which text it is kept.
    pub fn kept(&self) -> &str {
        &self.kept
    }

    /// What is `remembered` under it, if that still stands: the answer of the first request.
    pub fn first(
        &self,
        remembered: Option<RememberedSubmit>,
        now: Timestamp,
    ) -> Result<Option<RememberedSubmit>, KeyError> {
        match remembered.filter(|first| first.until > now) {
            Some(first) if first.fingerprint != self.asked.0 => {
                Err(KeyError::Mismatch { key: self.given.clone(), job: first.jobs.first().copied() })
            }
            first => Ok(first),
        }
    }

    /// Remembers these jobs as the answer, in the commit that makes them; `next` is where a request by filter goes on.
    pub fn remember(&self, tenant: TenantId, jobs: Vec<JobId>, next: Option<Sequence>, now: Timestamp) -> Change {
        Change::Remember(RememberedSubmit {
            tenant,
            key: self.kept.clone(),
            fingerprint: self.asked.0,
            jobs,
            next,
            end: None,
            on: now,
            until: now.after(KEPT),
        })
    }

    /// That a job of it is not there any more.
    pub fn of_deleted(&self, job: JobId) -> KeyError {
        KeyError::OfDeleted { key: self.given.clone(), job }
    }
}

/// Under which text the end of a job is kept that was deleted with it. No key of a caller holds two line breaks.
pub fn key_of_end(job: JobId) -> String {
    format!("\n\n{job}")
}

/// Keeps how a job ended that is deleted in the same commit: whoever sends its submit again is told. Its input, arguments and
/// environment go with it; of the input the size is kept.
pub fn remember_end(submission: &Submission, ended: &JobState, now: Timestamp) -> Change {
    let Submission { id, tenant, ref input, .. } = *submission;
    let digest = match input {
        Payload::Inline(bytes) => Digest::of(bytes),
        Payload::Blob { digest, .. } => *digest,
    };
    let submission = Submission {
        input: Payload::Blob { digest, bytes: input.len() },
        args: Vec::new(),
        env: Vec::new(),
        ..submission.clone()
    };
    Change::Remember(RememberedSubmit {
        tenant,
        key: key_of_end(id),
        fingerprint: 0,
        jobs: vec![id],
        next: None,
        end: Some(Box::new(Job { submission: submission.into(), state: ended.clone() })),
        on: now,
        until: now.after(KEPT),
    })
}

/// The answer to a request that makes jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// What was made.
    pub made: T,
    /// Whether an earlier request of the same `Idempotency-Key` has made it.
    pub is_repeated: bool,
}

impl<T> Answered<T> {
    /// What this request has made.
    pub fn anew(made: T) -> Self {
        Self { made, is_repeated: false }
    }

    /// What an earlier one has made.
    pub fn again(made: T) -> Self {
        Self { made, is_repeated: true }
    }
}
