//! Loops: chains of jobs that grow too deep, and handlers that run too often for one record (domain.md 4.5).

use std::time::Duration;

use super::code::{self, Code};
use super::job::Submission;
use super::time::Timestamp;

/// A job this deep in its chain is the last.
pub const DEPTH_MAX: u32 = 8;

/// A handler runs at most so often for one record within [`WINDOW`].
pub const RUNS_PER_RECORD_MAX: usize = 16;

/// How far back runs count.
pub const WINDOW: Duration = Duration::from_secs(3_600);

/// A job that looks like a part of a loop. It is kept as failed, so that people see the loop (T02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopFound {
    /// Which entry of the catalogue.
    pub code: Code,
    /// What was found.
    pub message: String,
}

/// Whether a job is deeper in its chain than is allowed.
pub fn too_deep(submission: &Submission) -> Option<LoopFound> {
    let depth = submission.depth;
    let message = || format!("the chain of jobs is {depth} deep, and {DEPTH_MAX} is allowed (0x80044182)");
    (depth > DEPTH_MAX).then(|| LoopFound { code: code::DEPTH_LIMIT, message: message() })
}

/// Whether a job is one too many, when `earlier` jobs of its handler are about the same record and lie within the window.
pub fn too_often(submission: &Submission, earlier: usize) -> Option<LoopFound> {
    let record = submission.ties().regarding.as_ref()?;
    let message = || {
        format!(
            "{} ran {earlier} times for {record} within an hour, and {RUNS_PER_RECORD_MAX} are allowed (0x80044182)",
            submission.display_name()
        )
    };
    (earlier >= RUNS_PER_RECORD_MAX).then(|| LoopFound { code: code::LOOP_BY_RECORD, message: message() })
}

/// Jobs that were submitted before this time do not count.
pub fn window_start(now: Timestamp) -> Timestamp {
    Timestamp(now.as_micros().saturating_sub(i64::try_from(WINDOW.as_micros()).unwrap_or(i64::MAX)))
}
