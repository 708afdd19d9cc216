//! Where a listener of a stream is. Each event has an id that says so, and whoever comes back with it in `Last-Event-ID` goes
//! on from there.

use std::fmt;

use axum::http::{HeaderMap, HeaderName};

use crate::domain::time::Timestamp;

/// The header with the id of the last event that somebody has heard.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The id that a listener comes back with.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or_default())
}

/// A place in the changes of one job, and in its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct JobPlace {
    /// The revision that the listener knows.
    pub(super) revision: u32,
    /// The run whose log comes next; 0 where none was told of.
    pub(super) run: u32,
    /// The line of it that comes next.
    pub(super) line: u64,
}

impl JobPlace {
    /// The place that an id stands for; none where it is not one of ours.
    pub(super) fn read(id: &str) -> Option<Self> {
        let mut parts = id.splitn(3, '.');
        let mut next = || parts.next();
        Some(Self { revision: next()?.parse().ok()?, run: next()?.parse().ok()?, line: next()?.parse().ok()? })
    }
}

impl fmt::Display for JobPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.revision, self.run, self.line)
    }
}

/// A place in the changes of all jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// When the host was started that counts them.
    pub(super) started_on: Timestamp,
    /// The number of the change that comes next.
    pub(super) next: u64,
}

impl Place {
    /// The place that an id stands for; none where it is not one of ours.
    pub(super) fn read(id: &str) -> Option<Self> {
        let (started_on, next) = id.split_once('.')?;
        Some(Self { started_on: Timestamp(started_on.parse().ok()?), next: next.parse().ok()? })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.started_on.as_micros(), self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_anything_else_is_none() {
        let of_job = JobPlace { revision: 7, run: u32::MAX, line: u64::MAX };
        assert_eq!(JobPlace::read(&of_job.to_string()), Some(of_job));
        let of_all = Place { started_on: Timestamp(1_893_484_800_000_000), next: 42 };
        assert_eq!(Place::read(&of_all.to_string()), Some(of_all));
        for id in ["", ".", "1", "1.2", "1.2.", "1.2.3.4", "-1.2.3", "a.b.c", "4294967296.1.1", "é"] {
            assert_eq!(JobPlace::read(id), None, "{id}");
        }
        for id in ["", ".", "1", "1.", "1.-2", "x.1", "1.2.3"] {
            assert_eq!(Place::read(id), None, "{id}");
        }
    }
}
