//! The transition table (domain.md 3.2) as one exhaustive function; the only code that changes a job's status.
//!
//! [`apply`] sorts an event into the part of the table that it belongs to: what the scheduler does (`scheduled`), how
//! a run ends (`ended`), what people ask for (`steered`). Each of them matches every status. The side effects of
//! domain.md 3.3 are those of `Draft`, so that no row can forget one.

mod draft;
mod ended;
mod refusal;
mod scheduled;
mod steered;

use draft::Draft;
pub use refusal::Refused;

use super::{Event, JobState, JobType, Run, Status, Submission, WaitReason};
use crate::domain::failure::{ErrorClass, Failure};
use crate::domain::loops::LoopFound;
use crate::domain::retry::RetryPolicy;
use crate::domain::time::Timestamp;

/// What follows from an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "taken apart where it is returned; a box would only cost an allocation")]
pub enum Next {
    /// The job changes.
    Changed {
        /// The row of the table, such as `T03`.
        rule: &'static str,
        /// What the job becomes; its revision is one more than before.
        state: Box<JobState>,
        /// The run that was the last closed one until now, when another takes its place.
        earlier_run: Option<Run>,
    },
    /// Accepted, and nothing to do: a repeated pause or cancel.
    Unchanged,
    /// The job is removed.
    Gone {
        /// The row of the table, such as `T53`.
        rule: &'static str,
    },
}

/// The facts that a decision is made on.
#[derive(Clone, Copy)]
struct Facts<'a> {
    submission: &'a Submission,
    state: &'a JobState,
    policy: &'a RetryPolicy,
    now: Timestamp,
}

/// The state that a new job starts in: T00 when it may run at once, T01 when `not_before` lies ahead. A job that may
/// run at once starts in the default state, which is why stores need not write it.
pub fn submitted(submission: &Submission, now: Timestamp) -> JobState {
    if submission.job_type == JobType::BATCH {
        return JobState { status: Status::Waiting, wait_reason: Some(WaitReason::Children), ..JobState::default() };
    }
    match submission.not_before {
        Some(start) if start > now => JobState {
            status: Status::Waiting,
            wait_reason: Some(WaitReason::Scheduled),
            postpone_until: Some(start),
            ..JobState::default()
        },
        _ => JobState::default(),
    }
}

/// The state of a job that is refused because it looks like a part of a loop (T02): it is kept, so that people see the
/// loop (domain.md 4.5).
pub fn refused(submission: &Submission, found: &LoopFound, now: Timestamp) -> JobState {
    JobState {
        status: Status::Failed,
        completed_on: Some(now.max(submission.created_on)),
        failure: Some(Failure {
            detail: found.detail.clone(),
            ..Failure::host(ErrorClass::Fatal, found.code, &found.message)
        }),
        ..JobState::default()
    }
}

/// What `event` makes of a job at `now`.
pub fn apply(
    submission: &Submission,
    state: &JobState,
    policy: &RetryPolicy,
    event: Event,
    now: Timestamp,
) -> Result<Next, Refused> {
    let facts = Facts { submission, state, policy, now };
    match event {
        Event::Claim { host, lease_until, version } => scheduled::claim(facts, host, lease_until, version),
        Event::ClaimDisabled => scheduled::claim_disabled(facts),
        Event::ClaimMissing(absence) => scheduled::claim_missing(facts, &absence),
        Event::ClaimAfterFailure { predecessor } => scheduled::claim_after_failure(facts, predecessor),
        Event::Expire => scheduled::expire(facts),
        Event::Timer => scheduled::timer(facts),
        Event::EventMatched => scheduled::wake(facts, scheduled::EVENT_MATCHED),
        Event::ChildrenDone => scheduled::wake(facts, scheduled::CHILDREN_DONE),
        Event::ComponentAvailable => scheduled::wake(facts, scheduled::COMPONENT_AVAILABLE),
        Event::Returned(outcome, report) => ended::returned(facts, outcome, report),
        Event::Deadline(failure, report) => ended::deadline(facts, failure, report),
        Event::LeaseLost => ended::lease_lost(facts),
        Event::GracefulStop { safe_point: true, report } => ended::stopped_at_safe_point(facts, report),
        Event::GracefulStop { safe_point: false, report } => ended::stopped_anywhere(facts, report),
        Event::SafePoint(report) => ended::safe_point(facts, report),
        Event::GraceElapsed(report) => ended::grace_elapsed(facts, report),
        Event::Pause { by } => steered::pause(facts, by),
        Event::Postpone { until, by } => steered::postpone(facts, until, by),
        Event::Resume { by, at_once } => steered::resume(facts, by, at_once),
        Event::Cancel { by } => steered::cancel(facts, by),
        Event::Delete => steered::delete(facts),
    }
}
