//! What a job logs while it runs, piece by piece.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::jobs::LogPiece;

/// Some lines of the log of one run, as an event `log` brings them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogView {
    /// The run, 1 for the job's first.
    pub run: u32,
    /// The attempt that it belongs to.
    pub attempt: u32,
    /// The number of the first of the lines, from 0; after a gap it is more than were sent.
    pub line: u64,
    /// Whole lines. One of them says so where others were left out.
    pub text: String,
}

impl From<LogPiece> for LogView {
    fn from(LogPiece { run, attempt, line, next: _, text }: LogPiece) -> Self {
        Self { run, attempt, line, text }
    }
}
