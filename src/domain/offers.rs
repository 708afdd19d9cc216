//! What a person can do with a job now: of all commands those that its state, its type and the caller's rights allow. What
//! is offered is carried out; what would be refused is not offered.

use super::access::{Caller, Right};
use super::job::transition::{self, Next, Refused};
use super::job::{Event, Job, JobType};
use super::retry::RetryPolicy;
use super::time::Timestamp;

/// The verb of a refusal.
const RERUN: &str = "be run again";

/// A command that can be given now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Set it going again.
    Resume,
    /// Run it again, as a new job.
    Retry,
    /// Run the failed jobs of an ended batch again, as a new batch.
    RetryFailed,
    /// Stop it for now.
    Pause,
    /// Put it off until a time.
    Postpone,
    /// End it without a result.
    Cancel,
    /// Remove it for good.
    Delete,
}

impl Offer {
    /// Every command, in the order in which people want them.
    pub const ALL: [Self; 7] =
        [Self::Resume, Self::Retry, Self::RetryFailed, Self::Pause, Self::Postpone, Self::Cancel, Self::Delete];

    /// The word in addresses.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::RetryFailed => "retry-failed",
            Self::Pause => "pause",
            Self::Postpone => "postpone",
            Self::Cancel => "cancel",
            Self::Delete => "delete",
        }
    }

    /// The command that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|offer| offer.word() == word)
    }
}

/// What there is to know about a job and the person who looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The job.
    pub job: &'a Job,
    /// How its plug-in's failures are retried.
    pub policy: &'a RetryPolicy,
    /// Who looks at it.
    pub caller: &'a Caller,
    /// The moment.
    pub now: Timestamp,
    /// Whether a new job of its plug-in, version and handler would be accepted.
    pub is_fit: bool,
    /// Of a batch: whether some of its jobs failed and were not run again.
    pub has_failed_members: bool,
}

/// The commands that would be carried out, in the order of [`Offer::ALL`].
pub fn offers(facts: Facts<'_>) -> Vec<Offer> {
    if !facts.caller.may(Right::Write, &facts.job.submission) {
        return Vec::new();
    }
    Offer::ALL.into_iter().filter(|offer| is_open(*offer, facts)).collect()
}

fn is_open(offer: Offer, facts: Facts<'_>) -> bool {
    let Facts { job, policy, now, .. } = facts;
    let by = String::new;
    let event = match offer {
        Offer::Retry => return facts.is_fit && may_run_again(job).is_ok(),
        Offer::RetryFailed => return is_ended_batch(job) && facts.has_failed_members,
        Offer::Resume => Event::Resume { by: by(), at_once: false },
        Offer::Pause => Event::Pause { by: by() },
        Offer::Postpone => Event::Postpone { until: now, by: by() },
        Offer::Cancel => Event::Cancel { by: by() },
        Offer::Delete => Event::Delete,
    };
    let next = transition::apply(&job.submission, &job.state, policy, event, now);
    matches!(next, Ok(Next::Changed { .. } | Next::Gone { .. }))
}

fn is_ended_batch(job: &Job) -> bool {
    job.submission.job_type == JobType::BATCH && job.state.status.is_final()
}

/// Whether a job can be run again: only once it has ended, and only if it is not the host's own or a mere frame of others.
pub fn may_run_again(job: &Job) -> Result<(), Refused> {
    let job_type = job.submission.job_type;
    let why = match job.state.status.is_final() {
        false => "it has not ended; only a finished job is run again, as a new one",
        true if job_type == JobType::BATCH => {
            "it is a batch; run those of its jobs that failed again (`backroom batch retry-failed`)"
        }
        true if !job_type.steering().resumable => "the host makes jobs of this type for its own upkeep",
        true => return Ok(()),
    };
    Err(Refused { status: job.state.status, event: RERUN, why: why.into() })
}
