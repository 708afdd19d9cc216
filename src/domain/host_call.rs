//! What a running guest asks of durable state, as values: the sandbox never sees the store.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::job::Progress;

/// A call that leaves the sandbox. Closed, so that every worker answers all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostCall {
    /// The handler says how far it has come.
    Progress(Progress),
    /// The handler stores what its next run should find.
    Checkpoint(Bytes),
    /// The handler asks what its last run stored.
    ResumeState,
}

/// The answer to a [`HostCall`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostAnswer {
    /// It is done, or will be with the end of the run.
    Done,
    /// Some bytes, or none.
    Bytes(Option<Bytes>),
    /// It is not done, and why.
    Refused(String),
}
