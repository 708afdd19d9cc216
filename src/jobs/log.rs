//! What a job logs, whether its run has ended or goes on.

use std::sync::Arc;

use super::Jobs;
use crate::domain::job::{Job, Run};
use crate::sandbox::{LiveLog, LogPart};
use crate::store::ReadError;

/// How many runs that ended since its last look a reader is told of; of a job that is tried faster, the last ones.
const RUNS_MAX: u32 = 16;

/// Some lines of the log of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// The run, 1 for the job's first.
    pub run: u32,
    /// The attempt that it belongs to.
    pub attempt: u32,
    /// The number of the first of the lines, from 0.
    pub line: u64,
    /// The number of the line that comes after them.
    pub next: u64,
    /// The lines.
    pub text: String,
}

/// Somebody's place in the log of a job.
pub struct LogReader {
    run: u32,
    line: u64,
    /// The run under way, with its attempt. It stays readable past its end, so that its last lines are not missed.
    live: Option<(u32, Arc<dyn LiveLog>)>,
}

impl LogReader {
    /// A place before the log of the job's last run.
    pub fn before_last_run(job: &Job) -> Self {
        Self::at(job.state.runs, 0)
    }

    /// The place before a line of the log of a run.
    pub fn at(run: u32, line: u64) -> Self {
        Self { run: run.max(1), line, live: None }
    }

    /// The run and the line that come next.
    pub fn place(&self) -> (u32, u64) {
        (self.run, self.line)
    }

    /// Whether the next look needs the store, which may touch the disk.
    pub fn needs_store(&self, job: &Job) -> bool {
        let (present, is_open) = (job.state.runs, job.state.status.is_locked());
        self.run < present && (self.run + 1 < present || self.live.is_none() || !is_open)
            || self.run == present && self.live.is_none() && !is_open
    }

    fn take(&mut self, attempt: u32, part: LogPart) -> Option<LogPiece> {
        let LogPart { text, next } = part;
        let line = std::mem::replace(&mut self.line, next);
        (!text.is_empty()).then_some(LogPiece { run: self.run, attempt, line, next, text })
    }
}

impl Jobs {
    /// What the run under way logs; none when no run of the job is under way here.
    pub fn live_log(&self, job: &Job) -> Option<Arc<dyn LiveLog>> {
        let log = || self.running.log(job.submission.key(), job.state.fence);
        job.state.status.is_locked().then(log).flatten()
    }

    /// What was logged since the reader's last look, oldest first.
    pub fn read_log(&self, job: &Job, reader: &mut LogReader) -> Result<Vec<LogPiece>, ReadError> {
        let present = job.state.runs;
        let closed = if reader.needs_store(job) { self.runs(job)? } else { Vec::new() };
        if present.saturating_sub(reader.run) >= RUNS_MAX {
            *reader = LogReader { run: present - RUNS_MAX + 1, line: 0, live: None };
        }
        let mut pieces = Vec::new();
        while reader.run <= present {
            let is_open = reader.run == present && job.state.status.is_locked();
            if is_open && reader.live.is_none() {
                reader.live = self.live_log(job).map(|log| (job.state.attempt, log));
            }
            if let Some((attempt, log)) = reader.live.clone() {
                pieces.extend(reader.take(attempt, log.since(reader.line)));
            } else if let Some(run) = closed.iter().find(|run| run.number == reader.run) {
                let part = self.part_of(run, reader.line)?;
                pieces.extend(reader.take(run.attempt, part));
            }
            if is_open {
                break;
            }
            *reader = LogReader { run: reader.run + 1, line: 0, live: None };
        }
        Ok(pieces)
    }

    /// The log of a run that has ended, from a line on.
    fn part_of(&self, run: &Run, line: u64) -> Result<LogPart, ReadError> {
        let Some(log) = &run.log else { return Ok(LogPart { text: String::new(), next: line }) };
        Ok(LogPart::of_kept(&String::from_utf8_lossy(&self.payload(log)?), line))
    }
}
