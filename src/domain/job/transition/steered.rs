//! The rows of the table that people ask for: pause, postpone, resume, cancel, delete.

use super::refusal::{CANCEL, DELETE, PAUSE, POSTPONE, RESUME};
use super::{Draft, Facts, Next, Refused};
use crate::domain::job::{JobType, Status, Wait, WaitReason};
use crate::domain::time::Timestamp;

type Decided = Result<Next, Refused>;

const OWN_UPKEEP: &str = "the host makes jobs of this type for its own upkeep, and people cannot do that with them";

const ONLY_WAITS: &str = "it is a batch, which only waits for its jobs; steer those, by a filter that names the batch";

/// Why people cannot do with a job what its status would allow.
fn not_steerable(facts: Facts<'_>) -> &'static str {
    match facts.submission.job_type {
        JobType::BATCH => ONLY_WAITS,
        _ => OWN_UPKEEP,
    }
}

pub(super) fn pause(facts: Facts<'_>, by: String) -> Decided {
    let rule = match facts.state.status {
        Status::Running => "T21",
        Status::Waiting => "T38",
        Status::Retrying => "T44",
        Status::Queued => "T50",
        Status::Pausing => return Ok(Next::Unchanged),
        Status::Paused | Status::Canceling | Status::Succeeded | Status::Failed | Status::Canceled => {
            return facts.no_row(PAUSE);
        }
    };
    if !facts.submission.job_type.steering().pausable {
        return facts.refuse(PAUSE, not_steerable(facts));
    }
    let draft = Draft::new(facts, rule).by(by);
    match facts.state.status {
        Status::Running => draft.ask_to_pause(None).done(),
        _ => draft.pause(facts.state.wait()).because_as_before(facts).done(),
    }
}

pub(super) fn postpone(facts: Facts<'_>, until: Timestamp, by: String) -> Decided {
    let rule = match facts.state.status {
        Status::Running => "T22",
        Status::Waiting => "T39",
        Status::Retrying => "T45",
        Status::Paused => "T49",
        Status::Queued => "T51",
        Status::Pausing | Status::Canceling | Status::Succeeded | Status::Failed | Status::Canceled => {
            return facts.no_row(POSTPONE);
        }
    };
    let steering = facts.submission.job_type.steering();
    let is_running = facts.state.status == Status::Running;
    if !steering.postponable || (is_running && !steering.pausable) {
        return facts.refuse(POSTPONE, not_steerable(facts));
    }
    if let Some(awaited) = facts.state.wait().and_then(|wait| wait.ends_only_by()) {
        return facts.refuse(POSTPONE, ended_only_by(&awaited));
    }
    let draft = Draft::new(facts, rule).by(by);
    if is_running {
        return draft.ask_to_pause(Some(until)).done();
    }
    draft.wait_until(WaitReason::Postponed, until).done()
}

pub(super) fn resume(facts: Facts<'_>, by: String, at_once: bool) -> Decided {
    let rule = match facts.state.status {
        Status::Waiting => "T37",
        Status::Retrying => "T43",
        Status::Paused => "T47",
        Status::Queued
        | Status::Running
        | Status::Pausing
        | Status::Canceling
        | Status::Succeeded
        | Status::Failed
        | Status::Canceled => return facts.no_row(RESUME),
    };
    if !facts.submission.job_type.steering().resumable {
        return facts.refuse(RESUME, not_steerable(facts));
    }
    let wait = facts.state.wait();
    if facts.state.status == Status::Paused && !at_once {
        return go_on(facts, by, wait);
    }
    match wait.and_then(|wait| wait.ends_only_by()) {
        Some(awaited) => facts.refuse(RESUME, ended_only_by(&awaited)),
        None => Draft::new(facts, rule).by(by).afresh().queue().done(),
    }
}

/// Takes a pause back: the job is where it would be had nobody paused it, with the attempts that it has had.
fn go_on(facts: Facts<'_>, by: String, wait: Option<Wait>) -> Decided {
    match wait.filter(|wait| wait.is_open(facts.now)) {
        None => Draft::new(facts, "T47").by(by).queue().done(),
        Some(wait) => {
            let rule = if matches!(wait, Wait::Retry(_)) { "T70" } else { "T68" };
            Draft::new(facts, rule).by(by).wait_as(wait).because_as_before(facts).done()
        }
    }
}

fn ended_only_by(awaited: &str) -> String {
    format!("only {awaited} ends its wait; cancel it if that will not come")
}

pub(super) fn cancel(facts: Facts<'_>, by: String) -> Decided {
    let rule = match facts.state.status {
        Status::Running => "T23",
        Status::Pausing => "T29",
        Status::Waiting => "T40",
        Status::Retrying => "T46",
        Status::Paused => "T48",
        Status::Queued => "T52",
        Status::Canceling => return Ok(Next::Unchanged),
        Status::Succeeded | Status::Failed | Status::Canceled => return facts.no_row(CANCEL),
    };
    if !facts.submission.job_type.steering().cancelable {
        return facts.refuse(CANCEL, not_steerable(facts));
    }
    let draft = Draft::new(facts, rule).by(by).cancel_requested();
    if facts.state.status.is_locked() {
        return draft.ask_to_cancel().done();
    }
    draft.finish(Status::Canceled).done()
}

pub(super) fn delete(facts: Facts<'_>) -> Decided {
    let rule = match facts.state.status {
        Status::Succeeded => "T53",
        Status::Failed => "T54",
        Status::Canceled => "T55",
        _ => return facts.no_row(DELETE),
    };
    if !facts.submission.job_type.steering().deletable {
        return facts.refuse(DELETE, not_steerable(facts));
    }
    Ok(Next::Gone { rule })
}
