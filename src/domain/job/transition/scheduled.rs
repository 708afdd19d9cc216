//! The rows of the table that the scheduler asks for: claims, expiry, and the ends of waits.

use super::refusal::{CLAIM, EXPIRE, TIMER};
use super::{Draft, Facts, Next, Refused};
use crate::domain::code;
use crate::domain::failure::{ErrorClass, Failure};
use crate::domain::id::{HostId, JobId, PluginName, VersionName};
use crate::domain::job::{OnPredecessorFailure, Status, WaitReason};
use crate::domain::plugin::Absence;
use crate::domain::time::Timestamp;

type Decided = Result<Next, Refused>;

/// What ends a wait beside the time.
#[derive(Clone, Copy)]
pub(super) struct Waker {
    rule: &'static str,
    reason: WaitReason,
    verb: &'static str,
    why_not: &'static str,
}

pub(super) const EVENT_MATCHED: Waker = Waker {
    rule: "T35",
    reason: WaitReason::Event,
    verb: "be woken by an event",
    why_not: "it does not wait for an event",
};

pub(super) const CHILDREN_DONE: Waker = Waker {
    rule: "T36",
    reason: WaitReason::Children,
    verb: "be woken by its children",
    why_not: "it does not wait for jobs that it made",
};

pub(super) const COMPONENT_AVAILABLE: Waker = Waker {
    rule: "T62",
    reason: WaitReason::MissingComponent,
    verb: "be woken by an upload",
    why_not: "it does not wait for a plug-in",
};

pub(super) fn claim(facts: Facts<'_>, host: HostId, lease_until: Timestamp, version: VersionName) -> Decided {
    match facts.state.status {
        Status::Queued => Draft::new(facts, "T03").run(host, lease_until, version).done(),
        _ => facts.no_row(CLAIM),
    }
}

pub(super) fn claim_disabled(facts: Facts<'_>) -> Decided {
    if facts.state.status != Status::Queued {
        return facts.no_row(CLAIM);
    }
    let message = format!("the plug-in {} was disabled after this job was submitted", facts.submission.plugin);
    let failure = Failure::host(ErrorClass::UserFixable, code::PLUGIN_DISABLED, message);
    Draft::new(facts, "T04").finish(Status::Canceled).because(failure).done()
}

pub(super) fn claim_missing(facts: Facts<'_>, absence: &Absence) -> Decided {
    if facts.state.status != Status::Queued {
        return facts.no_row(CLAIM);
    }
    let failure = told(&facts.submission.plugin, absence);
    Draft::new(facts, "T05").wait(WaitReason::MissingComponent).because(failure).done()
}

fn told(plugin: &PluginName, absence: &Absence) -> Failure {
    match absence {
        Absence::NotThere => {
            let message = format!("the plug-in {plugin} is not there, or no version of it is active");
            Failure::host(ErrorClass::UserFixable, code::UNKNOWN_PLUGIN, message)
        }
        Absence::NotGranted { version, missing, advice } => {
            let grants: Vec<_> =
                missing.iter().map(|grant| format!("{} \"{}\"", grant.kind(), grant.value())).collect();
            let grants = grants.join(", ");
            let message = format!("version {version} of the plug-in {plugin} asks for what is not granted: {grants}");
            let detail = format!("To grant it; the job goes on by itself then:\n{advice}");
            Failure::host(ErrorClass::UserFixable, code::MISSING_GRANT, message).with_detail(detail)
        }
    }
}

pub(super) fn claim_after_failure(facts: Facts<'_>, predecessor: Option<JobId>) -> Decided {
    if facts.state.status != Status::Queued {
        return facts.no_row(CLAIM);
    }
    let who =
        predecessor.map_or_else(|| "a job that is gone since".to_owned(), |predecessor| format!("job {predecessor}"));
    let message = format!("{who}, which this one waited for, has not succeeded");
    let failure = Failure::host(ErrorClass::UserFixable, code::PREDECESSOR_FAILED, message);
    match facts.submission.ties().on_predecessor_failure {
        OnPredecessorFailure::Continue => facts.refuse(CLAIM, "it runs whatever became of those before it"),
        OnPredecessorFailure::Block => Draft::new(facts, "T66").wait(WaitReason::Manual).because(failure).done(),
        OnPredecessorFailure::Cancel => Draft::new(facts, "T67").finish(Status::Canceled).because(failure).done(),
    }
}

pub(super) fn expire(facts: Facts<'_>) -> Decided {
    let rule = match facts.state.status {
        Status::Queued => "T06",
        Status::Waiting => "T41",
        Status::Retrying => "T58",
        _ => return facts.no_row(EXPIRE),
    };
    let Some(expires_on) = facts.submission.expires_on.filter(|expires_on| *expires_on <= facts.now) else {
        return facts.refuse(EXPIRE, "the time to expire has not come");
    };
    let message = format!("it was to be called off unless started by {expires_on}");
    let failure = Failure::host(ErrorClass::Business, code::EXPIRED, message);
    Draft::new(facts, rule).finish(Status::Canceled).because(failure).done()
}

pub(super) fn timer(facts: Facts<'_>) -> Decided {
    let rule = match (facts.state.status, facts.state.wait_reason) {
        (Status::Waiting, Some(reason)) if reason.is_timed() => "T34",
        (Status::Retrying, _) => "T42",
        _ => return facts.no_row(TIMER),
    };
    match facts.state.postpone_until {
        Some(until) if until <= facts.now => Draft::new(facts, rule).queue().done(),
        _ => facts.refuse(TIMER, "its time has not come"),
    }
}

pub(super) fn wake(facts: Facts<'_>, waker: Waker) -> Decided {
    match (facts.state.status, facts.state.wait_reason) {
        (Status::Waiting, Some(reason)) if reason == waker.reason => Draft::new(facts, waker.rule).queue().done(),
        (Status::Waiting, _) => facts.refuse(waker.verb, waker.why_not),
        _ => facts.no_row(waker.verb),
    }
}
