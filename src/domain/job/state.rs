//! What has become of a job: the part that transitions change.

use super::{Payload, Run, Status, WaitReason};
use crate::domain::failure::Failure;
use crate::domain::id::{HostId, VersionName};
use crate::domain::limits::Usage;
use crate::domain::time::Timestamp;

/// The right of one host to run an attempt until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub host: HostId,
    /// When it ends.
    pub until: Timestamp,
}

/// How far a handler says it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all, when known.
    pub total: Option<u64>,
    /// A word about the present one.
    pub note: Option<String>,
}

/// A wait that a pause interrupts: what the job goes back to when it is resumed while the wait is still open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For the next try of a failed attempt (11), until then.
    Retry(Timestamp),
    /// For something else (10).
    For {
        /// What it is.
        reason: WaitReason,
        /// When it ends, where time ends it.
        until: Option<Timestamp>,
        /// The event, where it is one.
        event: Option<String>,
    },
}

impl Wait {
    /// A wait for something that has neither a time nor a name.
    pub fn of(reason: WaitReason) -> Self {
        Self::For { reason, until: None, event: None }
    }

    /// A wait that time ends.
    pub fn until_time(reason: WaitReason, until: Timestamp) -> Self {
        Self::For { reason, until: Some(until), event: None }
    }

    /// When it ends, where time ends it.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Retry(until) => Some(*until),
            Self::For { until, .. } => *until,
        }
    }

    /// Whether its time has not come.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.until().is_none_or(|until| until > now)
    }

    /// What alone ends it, where neither a person nor a time may stand in for that.
    pub fn ends_only_by(&self) -> Option<String> {
        match self {
            Self::For { reason: WaitReason::Event, event: Some(event), .. } => Some(format!("the event `{event}`")),
            Self::For { reason: WaitReason::Event, .. } => Some("its event".to_owned()),
            Self::For { reason: WaitReason::Children, .. } => Some("the end of the jobs that it made".to_owned()),
            Self::Retry(_) | Self::For { .. } => None,
        }
    }
}

/// The changing part of a job. Only [`super::transition`] makes new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobState {
    /// Where it stands.
    pub status: Status,
    /// What it waits for; set exactly for status 10.
    pub wait_reason: Option<WaitReason>,
    /// The event that it waits for, where it waits for one.
    pub awaited_event: Option<String>,
    /// The wait that a pause has interrupted; only while it is paused.
    pub earlier_wait: Option<Box<Wait>>,
    /// Counts the writes of this job; a write names the revision that it follows.
    pub revision: u32,
    /// Grows with every claim; a host with an older one cannot write (I5).
    pub fence: u32,
    /// Counted tries so far.
    pub attempt: u32,
    /// Runs so far (I11).
    pub runs: u32,
    /// Leases lost so far.
    pub crashes: u32,
    /// Whether the next run goes on with the same attempt (3.3: after a yield, release, wait, pause, throttle or lost lease).
    pub same_attempt: bool,
    /// Not to run before (I9, I10).
    pub postpone_until: Option<Timestamp>,
    /// Where a postpone that waits for a safe point leads (T22).
    pub pending_postpone_until: Option<Timestamp>,
    /// Who holds it; set exactly while Locked (I2).
    pub lease: Option<Lease>,
    /// First start.
    pub started_on: Option<Timestamp>,
    /// Start of the present run.
    pub run_started_on: Option<Timestamp>,
    /// Start of the throttling that the present attempt is under; its cap is 24 hours.
    pub throttled_since: Option<Timestamp>,
    /// When it became final (I3).
    pub completed_on: Option<Timestamp>,
    /// Whether a person has set it going although a job that it waited for has not succeeded.
    pub is_overruled: bool,
    /// When a cancel was asked for.
    pub cancel_requested_on: Option<Timestamp>,
    /// When a person last changed it, and who.
    pub modified: Option<(Timestamp, String)>,
    /// The version of the plug-in that runs or ran last.
    pub version: Option<VersionName>,
    /// Sum over the closed runs before the last.
    pub earlier_usage: Usage,
    /// The last closed run. Earlier ones are rows of their own.
    pub last_run: Option<Run>,
    /// Why it waits or ended, when that is a failure that no run carries (an expiry, a refused submit).
    pub failure: Option<Failure>,
    /// How far the handler had come at the end of its last run.
    pub progress: Option<Progress>,
    /// What the handler will find in its next run.
    pub checkpoint: Option<Payload>,
    /// What the handler returned.
    pub output: Option<Payload>,
}

impl JobState {
    /// What it waits for, or waited for when it was paused.
    pub fn wait(&self) -> Option<Wait> {
        match (self.status, self.wait_reason, self.postpone_until) {
            (Status::Paused, ..) => self.earlier_wait.as_deref().cloned(),
            (Status::Waiting, Some(reason), until) => {
                Some(Wait::For { reason, until, event: self.awaited_event.clone() })
            }
            (Status::Retrying, _, Some(until)) => Some(Wait::Retry(until)),
            _ => None,
        }
    }

    /// What all runs used together.
    pub fn usage(&self) -> Usage {
        let last = self.last_run.as_ref().map(|run| run.usage).unwrap_or_default();
        self.earlier_usage.plus(last)
    }

    /// Why the job waits, retries or failed, if that is the case.
    pub fn failure(&self) -> Option<&Failure> {
        let of_last_run = self.last_run.as_ref().and_then(|run| run.failure.as_ref());
        self.failure.as_ref().or(of_last_run)
    }

    /// The payloads that the state names.
    pub fn payloads(&self) -> impl Iterator<Item = &Payload> {
        let log = self.last_run.as_ref().and_then(|run| run.log.as_ref());
        [self.checkpoint.as_ref(), self.output.as_ref(), log].into_iter().flatten()
    }
}
