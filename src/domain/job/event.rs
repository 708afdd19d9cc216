//! Everything that can happen to a job.

use std::time::Duration;

use bytes::Bytes;

use super::{Payload, Progress};
use crate::domain::failure::Failure;
use crate::domain::id::{HostId, JobId, VersionName};
use crate::domain::limits::Usage;
use crate::domain::plugin::Absence;
use crate::domain::time::Timestamp;

/// What wakes a suspended job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A time.
    At(Timestamp),
    /// An event of that name.
    Event(String),
    /// The end of the jobs that it made.
    Children,
    /// A person.
    Manual,
}

/// How a handler ended (design section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, with its output.
    Succeeded(Payload),
    /// It called itself off, with the reason.
    Canceled(String),
    /// It asks to be tried again, after a delay or by policy.
    Retry(Option<Duration>, Failure),
    /// It gives its slot back and waits.
    Suspended(Wake),
    /// It gives its slot back and goes on from its checkpoint soon.
    Yielded,
    /// It returned an error or broke.
    Failed(Failure),
}

/// What the host knows at the end of a run beside its outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunReport {
    /// What the run used.
    pub usage: Usage,
    /// What it logged.
    pub log: Option<Payload>,
    /// How far it came, when it said so.
    pub progress: Option<Progress>,
    /// The checkpoint that it stored; replaces the former one at a safe end.
    pub checkpoint: Option<Payload>,
}

/// Something that happens to a job. The transition table says what follows (domain.md 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A host takes a runnable job.
    Claim {
        /// Who takes it.
        host: HostId,
        /// Until when.
        lease_until: Timestamp,
        /// The version that it will run.
        version: VersionName,
    },
    /// A host finds the plug-in disabled since the submit.
    ClaimDisabled,
    /// A host finds the plug-in or its version missing, or a version that waits for grants.
    ClaimMissing(Absence),
    /// A host finds that a job which this one waited for has not succeeded, and that this one minds.
    ClaimAfterFailure {
        /// That job; none when it is gone since.
        predecessor: Option<JobId>,
    },
    /// `expires_on` has passed.
    Expire,
    /// The handler ended by itself.
    Returned(Outcome, RunReport),
    /// The wall-clock limit stopped the handler.
    Deadline(Failure, RunReport),
    /// The host that held the job died or lost its lease.
    LeaseLost,
    /// The host stops and has let go of the handler; at a safe point or not.
    GracefulStop {
        /// Whether the handler was at a safe point.
        safe_point: bool,
        /// What the run used.
        report: RunReport,
    },
    /// The handler stopped at a safe point because it was asked to pause or cancel.
    SafePoint(RunReport),
    /// The handler did not follow a cancel within the grace, and was stopped.
    GraceElapsed(RunReport),
    /// The time of a wait has come.
    Timer,
    /// An event that the job waits for has happened.
    EventMatched,
    /// The jobs that it made are done.
    ChildrenDone,
    /// The plug-in that it waited for is there.
    ComponentAvailable,
    /// A person stops it for now.
    Pause {
        /// Who.
        by: String,
    },
    /// A person puts it off.
    Postpone {
        /// Until when.
        until: Timestamp,
        /// Who.
        by: String,
    },
    /// A person sets it going again.
    Resume {
        /// Who.
        by: String,
        /// Whether a paused job runs now, although the wait that the pause has interrupted is still open.
        at_once: bool,
    },
    /// A person calls it off.
    Cancel {
        /// Who.
        by: String,
    },
    /// A person or the retention removes it.
    Delete,
}

impl Outcome {
    /// A success with a small output.
    pub fn succeeded(output: impl Into<Bytes>) -> Self {
        Self::Succeeded(Payload::Inline(output.into()))
    }
}
