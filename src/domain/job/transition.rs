//! The transition table (domain.md 3.2) as one exhaustive function; the only code that changes a job's status.

use super::{Event, JobState, Run, Status, Submission};
use crate::domain::retry::RetryPolicy;
use crate::domain::time::Timestamp;

/// What follows from an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The job changes.
    Changed {
        /// The row of the table, such as `T03`.
        rule: &'static str,
        /// What the job becomes; its revision is one more than before.
        state: Box<JobState>,
        /// The run that was the last closed one until now, when another takes its place.
        earlier_run: Option<Run>,
    },
    /// Accepted, and nothing to do: a repeated pause or cancel.
    Unchanged,
    /// The job is removed.
    Gone,
}

/// An event that the table does not allow in this status. Nothing changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {status} cannot {event}: {why}")]
pub struct Refused {
    /// Where the job stands.
    pub status: Status,
    /// The event, as a verb.
    pub event: &'static str,
    /// Why not.
    pub why: &'static str,
}

/// The state that a new job starts in (T00, T01).
pub fn submitted(submission: &Submission, now: Timestamp) -> JobState {
    let _ = (submission, now);
    JobState::default()
}

/// What `event` makes of a job at `now`.
pub fn apply(
    submission: &Submission,
    state: &JobState,
    policy: &RetryPolicy,
    event: Event,
    now: Timestamp,
) -> Result<Next, Refused> {
    let _ = (submission, policy, event, now);
    Err(Refused { status: state.status, event: "change", why: "the table has no such row" })
}
