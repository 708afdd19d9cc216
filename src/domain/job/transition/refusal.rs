//! Why the table does not allow an event, in words that help the person who asked for it.

use std::borrow::Cow;

use super::Facts;
use crate::domain::job::{StateCode, Status};

/// An event that the table does not allow in this status. Nothing changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {status} cannot {event}: {why}")]
pub struct Refused {
    /// Where the job stands.
    pub status: Status,
    /// The event, as a verb.
    pub event: &'static str,
    /// Why not.
    pub why: Cow<'static, str>,
}

impl Facts<'_> {
    /// The table has no row for `event` in this status.
    pub(super) fn no_row<T>(&self, event: &'static str) -> Result<T, Refused> {
        self.refuse(event, why_no_row(self.state.status, event))
    }

    /// The table has a row, but its guard does not hold.
    pub(super) fn refuse<T>(&self, event: &'static str, why: impl Into<Cow<'static, str>>) -> Result<T, Refused> {
        Err(Refused { status: self.state.status, event, why: why.into() })
    }
}

pub(super) const CLAIM: &str = "be claimed";
pub(super) const EXPIRE: &str = "expire";
pub(super) const TIMER: &str = "be woken by the time";
pub(super) const END_RUN: &str = "end a run";
pub(super) const PAUSE: &str = "be paused";
pub(super) const POSTPONE: &str = "be postponed";
pub(super) const RESUME: &str = "be resumed";
pub(super) const CANCEL: &str = "be canceled";
pub(super) const DELETE: &str = "be deleted";

fn why_no_row(status: Status, event: &str) -> &'static str {
    match (status.state(), status, event) {
        (StateCode::Completed, _, _) => "it has ended, and nothing but deletion follows; retry it as a new job",
        (StateCode::Locked, _, DELETE) => "a host runs it; cancel it and wait until it has ended",
        (_, _, DELETE) => "it has not ended; cancel it first",
        (_, Status::Queued, RESUME) => "no person and no time holds it; `backroom job explain` says what it waits for",
        (_, Status::Running, RESUME) => "it is running already",
        (_, Status::Pausing, RESUME) => "it is about to stop; resume it when it has",
        (_, Status::Paused, PAUSE) => "it is paused already",
        (_, Status::Pausing, POSTPONE) => "it is about to stop; postpone it when it has",
        (_, Status::Canceling, _) => "it is being canceled",
        (StateCode::Locked, _, CLAIM) => "a host runs it",
        (StateCode::Suspended, _, CLAIM) => "it waits; only a queued job can be claimed",
        (_, _, END_RUN) => "no run is under way that could end like this",
        (StateCode::Locked, _, EXPIRE) => "it was started in time",
        (_, Status::Paused, EXPIRE) => "a person has paused it; it expires when it goes on",
        (_, _, TIMER) => "it waits for no time",
        _ => "it waits for nothing of the kind",
    }
}
