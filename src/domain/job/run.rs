//! One run of a job: a slice of an attempt, from claim to end. Every run is a row that people can see (domain.md 4.4).

use super::Payload;
use crate::domain::failure::Failure;
use crate::domain::id::{HostId, VersionName};
use crate::domain::limits::Usage;
use crate::domain::time::Timestamp;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunEnd {
    /// The handler succeeded.
    Succeeded,
    /// The handler returned a failure, or broke.
    Failed,
    /// The handler called itself off, or followed a cancel.
    Canceled,
    /// The handler asked to be tried again.
    Retry,
    /// The handler waits for a time or an event.
    Suspended,
    /// The handler gave its slot back with a checkpoint.
    Yielded,
    /// The host stopped and released the handler.
    Released,
    /// The handler reached a safe point while a pause or postpone was pending.
    Paused,
    /// The wall-clock limit stopped it.
    TimedOut,
    /// The host that ran it died or lost its lease.
    LeaseLost,
}

/// One row in a job's list of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// 1 for the first run of the job.
    pub number: u32,
    /// The attempt that it belongs to.
    pub attempt: u32,
    /// The host that ran it.
    pub host: HostId,
    /// The version of the plug-in that ran.
    pub version: Option<VersionName>,
    /// When the host claimed it.
    pub started_on: Timestamp,
    /// When it ended.
    pub ended_on: Timestamp,
    /// How it ended.
    pub end: RunEnd,
    /// Why it failed, when it did.
    pub failure: Option<Failure>,
    /// What it used.
    pub usage: Usage,
    /// What it logged, when it did.
    pub log: Option<Payload>,
}
