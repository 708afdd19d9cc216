//! A job: what was asked for, what has become of it, and the one function that changes that.

mod consequence;
mod event;
mod run;
mod state;
mod status;
mod submission;
mod ties;
pub mod transition;

use std::sync::Arc;

use crate::domain::time::Timestamp;
pub use consequence::consequences;
pub use event::{Event, Outcome, RunReport, Wake};
pub use run::{Run, RunEnd};
pub use state::{JobState, Lease, Progress, Wait};
pub use status::{StateCode, Status, WaitReason};
pub use submission::{JobType, Payload, Rank, Steering, Submission};
pub use ties::{AFTER_MAX, BrokenKey, FollowUp, Occurrence, OnPredecessorFailure, Predecessors, Ties};

/// When a job that does not run is due: to wake, or to be called off, whichever comes first (T06, T34, T41, T42, T58). A paused
/// one waits for a person alone.
pub fn due_on(status: Status, postpone_until: Option<Timestamp>, expires_on: Option<Timestamp>) -> Option<Timestamp> {
    match status {
        Status::Waiting | Status::Retrying => [postpone_until, expires_on].into_iter().flatten().min(),
        Status::Queued => expires_on,
        _ => None,
    }
}

/// A job as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What was asked for; never changes.
    pub submission: Arc<Submission>,
    /// What has become of it.
    pub state: JobState,
}
