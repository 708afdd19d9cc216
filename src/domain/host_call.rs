//! What a running guest asks of durable state, as values: the sandbox never sees the store.

use bytes::Bytes;

use super::job::Progress;
use super::pausing::{PauseRefusal, PauseRequest};
use super::time::Timestamp;

/// A call that leaves the sandbox. Closed, so that every worker answers all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostCall {
    /// The handler says how far it has come.
    Progress(Progress),
    /// The handler stores what its next run should find.
    Checkpoint(Bytes),
    /// The handler asks what its last run stored.
    ResumeState,
    /// The handler wants no more jobs of its plug-in or queue to start for a while.
    Pause(PauseRequest),
}

/// The answer to a [`HostCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAnswer {
    /// It is done, or will be with the end of the run.
    Done,
    /// Some bytes, or none.
    Bytes(Option<Bytes>),
    /// It is not done, and why.
    Refused(String),
    /// It is paused until then; without a time, until somebody resumes it.
    Paused(Option<Timestamp>),
    /// It is not paused.
    NotPaused(PauseRefusal),
}
