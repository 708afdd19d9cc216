//! Loops: chains of jobs that grow too deep, and handlers that run too often for one record within a chain (domain.md 4.5).

use std::time::Duration;

use super::code::{self, Code};
use super::id::{HandlerName, JobId, PluginName, RecordName, TenantId};
use super::job::{Job, Submission};
use super::time::Timestamp;

/// A job this deep in its chain is the last.
pub const DEPTH_MAX: u32 = 8;

/// Within one chain a handler runs at most so often for one record within [`WINDOW`], where nothing else is set.
pub const RUNS_PER_RECORD: u32 = 16;

/// How far back runs count.
pub const WINDOW: Duration = Duration::from_secs(3_600);

/// A job that looks like a part of a loop. It is kept as failed, so that people see the loop (T02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopFound {
    /// Which entry of the catalogue.
    pub code: Code,
    /// What was found.
    pub message: String,
    /// What to do where it is none.
    pub detail: Option<String>,
}

/// Runs that count together: those of one handler for one record that jobs of one chain have caused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Circuit {
    /// The tenant.
    pub tenant: TenantId,
    /// The job that the chain started with.
    pub chain: JobId,
    /// The plug-in.
    pub plugin: PluginName,
    /// The handler.
    pub handler: HandlerName,
    /// The record.
    pub record: RecordName,
}

impl Circuit {
    /// Where a job counts. One that came from outside counts nowhere, and neither does one that a person has run again.
    pub fn of(submission: &Submission) -> Option<Self> {
        let ties = submission.ties();
        let is_caused_by_a_job = submission.depth > 0 && ties.retry_of.is_none();
        Some(Self {
            tenant: submission.tenant,
            chain: submission.correlation_id.filter(|_| is_caused_by_a_job)?,
            plugin: submission.plugin.clone(),
            handler: submission.handler.clone(),
            record: ties.regarding.clone()?,
        })
    }

    /// Whether an earlier job counts here. One that was refused or called off before its first run does not: were it to
    /// count, whoever is refused once would be refused for as long as he asks.
    pub fn counts(&self, job: &Job) -> bool {
        let never_ran = job.state.status.is_final() && job.state.runs == 0;
        !never_ran && Self::of(&job.submission).as_ref() == Some(self)
    }

    /// Whether one more is too many, when `earlier` jobs count here and `limit` may.
    pub fn is_full(&self, earlier: u32, limit: u32) -> Option<LoopFound> {
        let Self { chain, plugin, handler, record, .. } = self;
        let message = || {
            format!(
                "{plugin}/{handler} ran {earlier} times for {record} within an hour in the chain of job {chain}, \
                 and {limit} are allowed (0x80044182)"
            )
        };
        (earlier >= limit).then(|| LoopFound { code: code::LOOP_BY_RECORD, message: message(), detail: None })
    }
}

/// Whether a job is deeper in its chain than is allowed.
pub fn too_deep(submission: &Submission) -> Option<LoopFound> {
    let (depth, chain) = (submission.depth, submission.correlation_id.unwrap_or(submission.id));
    let message = || format!("the chain of job {chain} is {depth} deep, and {DEPTH_MAX} is allowed (0x80044182)");
    (depth > DEPTH_MAX).then(|| LoopFound { code: code::DEPTH_LIMIT, message: message(), detail: None })
}

/// Jobs that were submitted before this time do not count.
pub fn window_start(now: Timestamp) -> Timestamp {
    Timestamp(now.as_micros().saturating_sub(i64::try_from(WINDOW.as_micros()).unwrap_or(i64::MAX)))
}
