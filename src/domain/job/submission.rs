//! What was asked for: the part of a job that never changes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Ties;
use crate::domain::id::{Digest, HandlerName, JobId, JobKey, PluginName, QueueName, TenantId, TokenName, VersionName};
use crate::domain::time::Timestamp;

/// Bytes of a job: small ones travel with the record, large ones lie in the blob store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The bytes themselves.
    Inline(Bytes),
    /// The digest and length of a blob.
    Blob {
        /// The SHA-256 of the bytes.
        digest: Digest,
        /// How many they are.
        bytes: u64,
    },
}

impl Payload {
    /// Larger payloads become blobs: an index of small values stays fast (design section 6).
    pub const INLINE_BYTES_MAX: usize = 1024;

    /// The number of bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob { bytes, .. } => *bytes,
        }
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The blob that this payload names, if it does.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Inline(_) => None,
            Self::Blob { digest, .. } => Some(*digest),
        }
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::Inline(Bytes::new())
    }
}

/// The kind of work, by the numeric codes of domain.md 2.3; ours and those of plug-in packages start at 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobType(pub u32);

impl JobType {
    /// A handler of a plug-in, asked for by a caller (54, "execute any request asynchronously").
    pub const HANDLER: Self = Self(54);

    /// A group of jobs with one progress and one end; the first of our own codes.
    pub const BATCH: Self = Self(1_000);

    /// The types that have a word.
    pub const NAMED: [(Self, &'static str); 4] =
        [(Self(1), "event"), (Self(10), "workflow"), (Self::HANDLER, "handler"), (Self::BATCH, "batch")];

    /// The label of the code.
    pub fn name(self) -> &'static str {
        Self::NAMED.iter().find(|(job_type, _)| *job_type == self).map_or("other", |(_, word)| word)
    }

    /// What people may do with jobs of this type: everything, except that those that the host makes for its own upkeep
    /// can only be postponed and, once they have ended, deleted (domain.md 2.3), and that a batch only waits for its members:
    /// there is nothing in it to hold or to set going.
    pub const fn steering(self) -> Steering {
        let by_people = !matches!(self.0, 9 | 16 | 18 | 19 | 20 | 22 | 24 | 25 | 27 | 31);
        let runs = self.0 != Self::BATCH.0;
        Steering {
            cancelable: by_people,
            pausable: by_people && runs,
            resumable: by_people && runs,
            postponable: runs,
            deletable: true,
        }
    }
}

/// What people may do with a job by its type, beside what its status allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steering {
    /// Call it off.
    pub cancelable: bool,
    /// Stop it for now.
    pub pausable: bool,
    /// Set it going again.
    pub resumable: bool,
    /// Put it off.
    pub postponable: bool,
    /// Remove it once it has ended.
    pub deletable: bool,
}

/// What a caller asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The public identity; contains the sequence.
    pub id: JobId,
    /// The tenant.
    pub tenant: TenantId,
    /// The kind of work.
    pub job_type: JobType,
    /// The display name, when the caller gave one.
    pub name: Option<String>,
    /// The plug-in to run.
    pub plugin: PluginName,
    /// The version to run, when the caller chose one; the active one otherwise.
    pub version: Option<VersionName>,
    /// The entry point to run.
    pub handler: HandlerName,
    /// What the handler is given.
    pub input: Payload,
    /// Command-line arguments, for the command shape.
    pub args: Vec<String>,
    /// Environment variables, for the command shape.
    pub env: Vec<(String, String)>,
    /// The pool that it runs in.
    pub queue: QueueName,
    /// Greater runs first; -100 to 100. Each point is worth a minute of waiting: see [`Rank`].
    pub priority: i8,
    /// When the submit was taken.
    pub created_on: Timestamp,
    /// Who submitted it.
    pub created_by: Option<String>,
    /// Whose it is: the holder of the token that it was submitted with, or the owner of the job that it follows from. None for
    /// jobs of schedules and of callers without a name.
    pub owner: Option<TokenName>,
    /// Not to start before.
    pub not_before: Option<Timestamp>,
    /// To be called off unless started by then (T06, T41, T58).
    pub expires_on: Option<Timestamp>,
    /// Ties the requests and jobs of one causal chain; none when this job starts one.
    pub correlation_id: Option<JobId>,
    /// Calls since the first of the chain.
    pub depth: u32,
    /// Free words to find it by.
    pub tags: Vec<String>,
    /// Attempts in all, when the caller set another number than the plug-in's policy.
    pub max_attempts: Option<u32>,
    /// A shorter wall-clock limit of each run than the plug-in's.
    pub deadline: Option<Duration>,
    /// Whether the record goes as soon as the job has succeeded (F024).
    pub auto_delete: bool,
    /// What binds it to other jobs, when anything does.
    pub ties: Option<Arc<Ties>>,
}

/// The place of a ready job among those of its plug-in and queue; smaller starts first, then the smaller sequence. It is
/// the second in which the job was submitted, less a minute for each point of priority: so greater priority runs first,
/// and nothing starves, because whatever waits long enough comes before all that is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub i64);

impl Rank {
    /// What a point of priority is worth, in seconds of waiting.
    pub const SECONDS_PER_POINT: i64 = 60;

    fn new(created_on: Timestamp, priority: i8) -> Self {
        Self(created_on.as_micros().div_euclid(1_000_000) - i64::from(priority) * Self::SECONDS_PER_POINT)
    }
}

impl Submission {
    /// A job for the first handler of `plugin` without input, everything else as usual.
    pub fn new(id: JobId, plugin: PluginName, created_on: Timestamp) -> Self {
        Self {
            id,
            tenant: TenantId::DEFAULT,
            job_type: JobType::HANDLER,
            name: None,
            plugin,
            version: None,
            handler: HandlerName::default_handle(),
            input: Payload::default(),
            args: Vec::new(),
            env: Vec::new(),
            queue: QueueName::default_queue(),
            priority: 0,
            created_on,
            created_by: None,
            owner: None,
            not_before: None,
            expires_on: None,
            correlation_id: None,
            depth: 0,
            tags: Vec::new(),
            max_attempts: None,
            deadline: None,
            auto_delete: false,
            ties: None,
        }
    }

    /// Where the job is kept.
    pub fn key(&self) -> JobKey {
        JobKey { tenant: self.tenant, sequence: self.id.sequence() }
    }

    /// Its place among the ready jobs of its plug-in and queue.
    pub fn rank(&self) -> Rank {
        Rank::new(self.created_on, self.priority)
    }

    /// What binds it to other jobs.
    pub fn ties(&self) -> &Ties {
        static NONE: Ties = Ties::NONE;
        self.ties.as_deref().unwrap_or(&NONE)
    }

    /// The name that people see.
    pub fn display_name(&self) -> String {
        match &self.name {
            Some(name) => name.clone(),
            None => format!("{}/{}", self.plugin, self.handler),
        }
    }
}
