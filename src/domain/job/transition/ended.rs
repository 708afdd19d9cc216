//! The rows of the table that end a run: what the handler returned, and what stopped it.

use super::draft::{Closing, Draft};
use super::refusal::END_RUN;
use super::{Facts, Next, Refused};
use crate::domain::code;
use crate::domain::failure::{ErrorClass, Failure};
use crate::domain::job::{Outcome, RunEnd, RunReport, Status, Wait, WaitReason, Wake};
use crate::domain::retry::{self, Cause, Decision, PUT_OFF_MIN, RUNS_MAX, Tries};
use crate::domain::time::Timestamp;

type Decided = Result<Next, Refused>;

pub(super) fn returned(facts: Facts<'_>, outcome: Outcome, report: RunReport) -> Decided {
    match facts.state.status {
        Status::Running => returned_running(facts, outcome, report),
        Status::Pausing => returned_pausing(facts, outcome, report),
        Status::Canceling => returned_canceling(facts, outcome, report),
        _ => facts.no_row(END_RUN),
    }
}

fn returned_running(facts: Facts<'_>, outcome: Outcome, report: RunReport) -> Decided {
    match outcome {
        Outcome::Succeeded(output) => succeed(facts, "T07", output, report),
        Outcome::Canceled(reason) => cancel(facts, "T08", reason, report),
        Outcome::Suspended(_) | Outcome::Yielded if facts.state.runs >= RUNS_MAX => {
            fail_running(facts, RunEnd::Failed, Decision::Final, ran_too_often(), report)
        }
        Outcome::Suspended(wake) => {
            let (rule, closing) = (suspension_rule(&wake), Closing::of(RunEnd::Suspended, report));
            Draft::new(facts, rule).close_run(closing).wait_as(wait_for(facts, wake)).done()
        }
        Outcome::Yielded if report.checkpoint.is_none() && facts.state.checkpoint.is_none() => {
            fail_running(facts, RunEnd::Failed, Decision::Final, yielded_without_checkpoint(), report)
        }
        Outcome::Yielded => Draft::new(facts, "T15").close_run(Closing::of(RunEnd::Yielded, report)).queue().done(),
        Outcome::Retry(delay, failure) => {
            let decision = decide(facts, Cause::Asked(delay, &failure));
            fail_running(facts, RunEnd::Retry, decision, failure, report)
        }
        Outcome::Failed(failure) => {
            let decision = decide(facts, Cause::Failed(&failure));
            fail_running(facts, RunEnd::Failed, decision, failure, report)
        }
    }
}

fn fail_running(facts: Facts<'_>, end: RunEnd, decision: Decision, failure: Failure, report: RunReport) -> Decided {
    let rule = match decision {
        Decision::Final => "T09",
        Decision::NextAttempt(_) | Decision::SameAttempt(_) => "T10",
        Decision::Exhausted => "T11",
        Decision::Hold => "T12",
    };
    let draft = Draft::new(facts, rule).close_run(Closing { end, failure: Some(failure), report });
    match decision {
        Decision::NextAttempt(wait) => draft.retry_at(facts.now.after(wait)),
        Decision::SameAttempt(wait) => draft.throttled().retry_at(facts.now.after(wait)),
        Decision::Hold => draft.same_attempt().wait(WaitReason::Error),
        Decision::Final | Decision::Exhausted => draft.finish(Status::Failed),
    }
    .done()
}

fn returned_pausing(facts: Facts<'_>, outcome: Outcome, report: RunReport) -> Decided {
    match outcome {
        Outcome::Succeeded(output) => succeed(facts, "T26", output, report),
        Outcome::Canceled(reason) => cancel(facts, "T57", reason, report),
        // A handler that yields is at a safe point.
        Outcome::Yielded => safe_point(facts, report),
        Outcome::Suspended(wake) => {
            let closing = Closing::of(RunEnd::Suspended, report);
            let draft = Draft::new(facts, resting_rule(facts, "T28", "T56")).close_run(closing);
            rest(facts, draft, Some(wait_for(facts, wake))).done()
        }
        Outcome::Retry(delay, failure) => {
            let decision = decide(facts, Cause::Asked(delay, &failure));
            fail_pausing(facts, RunEnd::Retry, decision, failure, report)
        }
        Outcome::Failed(failure) => {
            let decision = decide(facts, Cause::Failed(&failure));
            fail_pausing(facts, RunEnd::Failed, decision, failure, report)
        }
    }
}

fn fail_pausing(facts: Facts<'_>, end: RunEnd, decision: Decision, failure: Failure, report: RunReport) -> Decided {
    let rule = match decision {
        Decision::Final | Decision::Exhausted => "T27",
        Decision::NextAttempt(_) | Decision::SameAttempt(_) | Decision::Hold => resting_rule(facts, "T28", "T56"),
    };
    let draft = Draft::new(facts, rule).close_run(Closing { end, failure: Some(failure), report });
    match decision {
        Decision::NextAttempt(wait) => rest(facts, draft, Some(Wait::Retry(facts.now.after(wait)))),
        Decision::SameAttempt(wait) => rest(facts, draft.throttled(), Some(Wait::Retry(facts.now.after(wait)))),
        Decision::Hold => rest(facts, draft.same_attempt(), Some(Wait::of(WaitReason::Error))),
        Decision::Final | Decision::Exhausted => draft.finish(Status::Failed),
    }
    .done()
}

fn returned_canceling(facts: Facts<'_>, outcome: Outcome, report: RunReport) -> Decided {
    match outcome {
        // It was done before it saw the cancel, and that is the truth.
        Outcome::Succeeded(output) => succeed(facts, "T32", output, report),
        Outcome::Canceled(reason) => cancel(facts, "T31", reason, report),
        Outcome::Yielded | Outcome::Suspended(_) => safe_point(facts, report),
        Outcome::Retry(_, failure) => end_canceled(facts, "T31", RunEnd::Retry, Some(failure), report),
        Outcome::Failed(failure) => end_canceled(facts, "T31", RunEnd::Failed, Some(failure), report),
    }
}

pub(super) fn deadline(facts: Facts<'_>, failure: Failure, report: RunReport) -> Decided {
    let decision = decide(facts, Cause::TimedOut);
    let closing = Closing { end: RunEnd::TimedOut, failure: Some(failure), report };
    match (facts.state.status, decision) {
        (Status::Running, Decision::NextAttempt(wait)) => {
            Draft::new(facts, "T17").close_run(closing).retry_at(facts.now.after(wait)).done()
        }
        (Status::Running, _) => Draft::new(facts, "T18").close_run(closing).finish(Status::Failed).done(),
        (Status::Pausing, Decision::NextAttempt(wait)) => {
            let draft = Draft::new(facts, resting_rule(facts, "T59", "T60")).close_run(closing);
            rest(facts, draft, Some(Wait::Retry(facts.now.after(wait)))).done()
        }
        (Status::Pausing, _) => Draft::new(facts, "T61").close_run(closing).finish(Status::Failed).done(),
        // The wall-clock limit bounds the grace of a cancel too.
        (Status::Canceling, _) => Draft::new(facts, "T33").close_run(closing).finish(Status::Canceled).done(),
        _ => facts.no_row(END_RUN),
    }
}

pub(super) fn lease_lost(facts: Facts<'_>) -> Decided {
    let message = "the host that ran it died, or could not renew its lease";
    let failure = Failure::host(ErrorClass::Transient, code::HOST_FAULT, message);
    let closing = Closing { end: RunEnd::LeaseLost, failure: Some(failure), report: RunReport::default() };
    let lost = |rule| Draft::new(facts, rule).close_run(closing).crashed();
    let fail = |draft: Draft| draft.finish(Status::Failed).because(crash_budget_spent(facts.state.crashes + 1)).done();
    let is_budget_spent = facts.state.crashes >= facts.policy.max_crashes;
    match facts.state.status {
        Status::Running if is_budget_spent => fail(lost("T20")),
        Status::Running => lost("T19").retry_at(after_crash(facts)).done(),
        Status::Pausing if is_budget_spent => fail(lost("T72")),
        Status::Pausing => {
            let draft = lost(resting_rule(facts, "T30", "T71"));
            rest(facts, draft, Some(Wait::Retry(after_crash(facts)))).done()
        }
        Status::Canceling => lost("T33").finish(Status::Canceled).done(),
        _ => facts.no_row(END_RUN),
    }
}

/// Interrupted work goes on at once (promise 7 of the design), unless it may be the work that kills the host.
fn after_crash(facts: Facts<'_>) -> Timestamp {
    match facts.state.crashes {
        0 => facts.now,
        crashes => facts.now.after(facts.policy.delay(crashes, facts.submission.id)),
    }
}

pub(super) fn stopped_at_safe_point(facts: Facts<'_>, report: RunReport) -> Decided {
    stopped(facts, "T16", report)
}

pub(super) fn stopped_anywhere(facts: Facts<'_>, report: RunReport) -> Decided {
    // What was stored before an unsafe end does not land.
    stopped(facts, "T63", RunReport { checkpoint: None, ..report })
}

fn stopped(facts: Facts<'_>, rule_when_running: &'static str, report: RunReport) -> Decided {
    let closing = Closing::of(RunEnd::Released, report);
    match facts.state.status {
        Status::Running => Draft::new(facts, rule_when_running).close_run(closing).queue().done(),
        Status::Pausing => {
            rest(facts, Draft::new(facts, resting_rule(facts, "T64", "T73")).close_run(closing), None).done()
        }
        Status::Canceling => Draft::new(facts, "T65").close_run(closing).finish(Status::Canceled).done(),
        _ => facts.no_row(END_RUN),
    }
}

pub(super) fn safe_point(facts: Facts<'_>, report: RunReport) -> Decided {
    match facts.state.status {
        Status::Pausing => {
            let closing = Closing::of(RunEnd::Paused, report);
            rest(facts, Draft::new(facts, resting_rule(facts, "T24", "T25")).close_run(closing), None).done()
        }
        Status::Canceling => end_canceled(facts, "T31", RunEnd::Canceled, None, report),
        _ => facts.no_row(END_RUN),
    }
}

pub(super) fn grace_elapsed(facts: Facts<'_>, report: RunReport) -> Decided {
    match facts.state.status {
        Status::Canceling => end_canceled(facts, "T33", RunEnd::Canceled, None, report),
        _ => facts.no_row(END_RUN),
    }
}

fn decide(facts: Facts<'_>, cause: Cause<'_>) -> Decision {
    let max_attempts = facts.submission.max_attempts.unwrap_or(facts.policy.max_attempts);
    let tries = Tries {
        job: facts.submission.id,
        attempt: facts.state.attempt,
        max_attempts,
        runs: facts.state.runs,
        throttled_since: facts.state.throttled_since,
    };
    retry::decide(facts.policy, &tries, cause, facts.now)
}

fn succeed(facts: Facts<'_>, rule: &'static str, output: crate::domain::job::Payload, report: RunReport) -> Decided {
    let closing = Closing::of(RunEnd::Succeeded, report);
    Draft::new(facts, rule).close_run(closing).output(output).finish(Status::Succeeded).done()
}

fn cancel(facts: Facts<'_>, rule: &'static str, reason: String, report: RunReport) -> Decided {
    let why = Failure { class: ErrorClass::Business, code: None, message: reason, detail: None };
    let why = Some(why).filter(|why| !why.message.is_empty());
    end_canceled(facts, rule, RunEnd::Canceled, why, report)
}

fn end_canceled(
    facts: Facts<'_>,
    rule: &'static str,
    end: RunEnd,
    failure: Option<Failure>,
    report: RunReport,
) -> Decided {
    Draft::new(facts, rule).close_run(Closing { end, failure, report }).finish(Status::Canceled).done()
}

fn suspension_rule(wake: &Wake) -> &'static str {
    match wake {
        Wake::At(_) => "T14",
        Wake::Event(_) | Wake::Children | Wake::Manual => "T13",
    }
}

fn wait_for(facts: Facts<'_>, wake: Wake) -> Wait {
    match wake {
        // A time that has come already would be a yield without a checkpoint.
        Wake::At(time) => {
            let least = facts.now.after(PUT_OFF_MIN);
            Wait::until_time(WaitReason::Sleep, time.min(Timestamp::LAST).max(least))
        }
        Wake::Event(event) => Wait::For { reason: WaitReason::Event, until: None, event: Some(event) },
        Wake::Children => Wait::of(WaitReason::Children),
        Wake::Manual => Wait::of(WaitReason::Manual),
    }
}

/// The row for a job that was asked to stop: one when it is to be paused, another when it is to be postponed.
fn resting_rule(facts: Facts<'_>, paused: &'static str, postponed: &'static str) -> &'static str {
    if facts.state.pending_postpone_until.is_some() { postponed } else { paused }
}

/// Lets a job rest that was asked to. `wait` is where it would stand otherwise, if it would wait: a pause keeps it for later,
/// and a postpone comes before it, unless something is awaited that no time stands in for.
fn rest(facts: Facts<'_>, draft: Draft, wait: Option<Wait>) -> Draft {
    match (put_off(facts), wait) {
        (Some(_), Some(wait)) if wait.ends_only_by().is_some() => draft.wait_as(wait),
        (Some(postponed), _) => draft.wait_as(postponed),
        (None, wait) => draft.pause(wait),
    }
}

/// The wait that a person has asked for while it ran.
fn put_off(facts: Facts<'_>) -> Option<Wait> {
    facts.state.pending_postpone_until.map(|until| Wait::until_time(WaitReason::Postponed, until))
}

/// Without a checkpoint the handler would start over, and over again, without counting an attempt.
fn yielded_without_checkpoint() -> Failure {
    let message = "the handler yielded, but has stored no checkpoint that it could go on from";
    Failure::host(ErrorClass::Fatal, code::EMPTY_YIELD, message)
}

fn ran_too_often() -> Failure {
    let message = format!("the handler wants to go on later, but this was run {RUNS_MAX} of the job, the last one");
    Failure::host(ErrorClass::Fatal, code::RUN_LIMIT, message)
}

fn crash_budget_spent(crashes: u32) -> Failure {
    let message = format!("the host died {crashes} times while it ran this job");
    Failure::host(ErrorClass::Fatal, code::CRASH_BUDGET, message)
}

impl Closing {
    fn of(end: RunEnd, report: RunReport) -> Self {
        Self { end, failure: None, report }
    }
}
