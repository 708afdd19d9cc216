//! Jobs in every status with the facts that the guards look at, and events of every kind.

use std::sync::Arc;
use std::time::Duration;

use backroom::domain::failure::{ErrorClass, Failure};
use backroom::domain::id::{HostId, JobId, PluginName, Sequence, VersionName};
use backroom::domain::job::transition::{self, Next, Refused};
use backroom::domain::job::{
    Event, JobState, OnPredecessorFailure, Outcome, Payload, RunReport, Status, Submission, Ties, WaitReason, Wake,
};
use backroom::domain::plugin::Absence;
use backroom::domain::retry::RetryPolicy;
use backroom::domain::time::Timestamp;
use bytes::Bytes;

/// When the fixtures' jobs were created.
pub(crate) const CREATED: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// `count` seconds after the fixtures' jobs were created.
pub(crate) fn at(count: u64) -> Timestamp {
    CREATED.after(seconds(count))
}

pub(crate) fn submission() -> Submission {
    Submission::new(JobId::new(CREATED, Sequence(7), 0x1234), PluginName::new("echo").expect("a good name"), CREATED)
}

pub(crate) fn version() -> VersionName {
    VersionName::new("1.0.0").expect("a good version")
}

pub(crate) fn failure(class: ErrorClass) -> Failure {
    Failure { class, code: Some("made-up".to_owned()), message: "it did not work".to_owned(), detail: None }
}

pub(crate) fn report() -> RunReport {
    RunReport::default()
}

pub(crate) fn with_checkpoint(bytes: &'static [u8]) -> RunReport {
    RunReport { checkpoint: Some(Payload::Inline(Bytes::from_static(bytes))), ..RunReport::default() }
}

pub(crate) fn claim(now: Timestamp) -> Event {
    Event::Claim { host: HostId(1), lease_until: now.after(seconds(60)), version: version() }
}

pub(crate) fn failed(class: ErrorClass) -> Event {
    Event::Returned(Outcome::Failed(failure(class)), report())
}

pub(crate) fn me() -> String {
    "me".to_owned()
}

pub(crate) fn changed(next: Result<Next, Refused>) -> (&'static str, JobState) {
    match next {
        Ok(Next::Changed { rule, state, .. }) => (rule, *state),
        other => panic!("expected a change, got {other:?}"),
    }
}

/// The state after `events`, each a second after the one before, the first at second 1.
pub(crate) fn after(submission: &Submission, policy: &RetryPolicy, events: Vec<Event>) -> JobState {
    let start = transition::submitted(submission, CREATED);
    (1..).zip(events).fold(start, |state, (second, event)| {
        changed(transition::apply(submission, &state, policy, event, at(second))).1
    })
}

/// A job in some status, with the facts that the guards look at.
#[derive(Clone, Debug)]
pub(crate) struct Situation {
    pub(crate) name: &'static str,
    pub(crate) submission: Submission,
    pub(crate) policy: RetryPolicy,
    pub(crate) state: JobState,
    pub(crate) now: Timestamp,
}

/// Jobs in every status and with every fact that a guard asks about. All are reached through the table itself, except
/// that a few counters are set afterwards.
pub(crate) fn situations() -> Vec<Situation> {
    let mut all = Vec::new();
    for (policy_name, policy) in policies() {
        let mut add = |name: &str, submission: Submission, state: JobState, now: Timestamp| {
            let name: &'static str = Box::leak(format!("{name}, {policy_name}").into_boxed_str());
            all.push(Situation { name, submission, policy: policy.clone(), state, now });
        };
        let plain = submission();
        let from = |events: Vec<Event>| after(&plain, &policy, events);
        let pause = Event::Pause { by: me() };
        let postpone = Event::Postpone { until: at(900), by: me() };
        let cancel = Event::Cancel { by: me() };

        add("queued", plain.clone(), from(vec![]), at(10));
        let mut expiring = plain.clone();
        expiring.expires_on = Some(at(5));
        add("queued and expired", expiring.clone(), from(vec![]), at(10));

        for on_predecessor_failure in [OnPredecessorFailure::Block, OnPredecessorFailure::Cancel] {
            let minding = Submission {
                ties: Some(Arc::new(Ties { on_predecessor_failure, ..Ties::default() })),
                ..plain.clone()
            };
            add(&format!("queued, minding by {on_predecessor_failure:?}"), minding, from(vec![]), at(10));
        }

        for (name, asked) in [
            ("running", None),
            ("pausing", Some(pause.clone())),
            ("pausing to be postponed", Some(postpone.clone())),
            ("canceling", Some(cancel.clone())),
        ] {
            let state = from([Some(claim(at(1))), asked].into_iter().flatten().collect());
            let named = |facts: &str| format!("{name}{facts}");
            add(&named(""), plain.clone(), state.clone(), at(10));
            let last_attempt = JobState { attempt: policy.max_attempts, ..state.clone() };
            add(&named(" on the last attempt"), plain.clone(), last_attempt, at(10));
            let crashed = JobState { crashes: policy.max_crashes, ..state.clone() };
            add(&named(" with its crash budget spent"), plain.clone(), crashed, at(10));
            let throttled = JobState { attempt: policy.max_attempts, throttled_since: Some(at(2)), ..state.clone() };
            add(&named(" throttled within the cap"), plain.clone(), throttled.clone(), at(10));
            add(&named(" throttled beyond the cap"), plain.clone(), throttled, at(90_000));
            add(&named(" of an expired job"), expiring.clone(), state, at(10));
        }

        let mut scheduled = plain.clone();
        scheduled.not_before = Some(at(100));
        let waiting = transition::submitted(&scheduled, CREATED);
        add("scheduled", scheduled.clone(), waiting.clone(), at(10));
        add("scheduled and due", scheduled, waiting.clone(), at(100));
        add("scheduled and expired", expiring.clone(), waiting, at(10));
        let missing_plugin = || Event::ClaimMissing(Absence::NotThere);
        let missing = from(vec![missing_plugin()]);
        add("waiting for its plug-in", plain.clone(), missing, at(10));
        let postponed = from(vec![postpone.clone()]);
        add("postponed", plain.clone(), postponed.clone(), at(10));
        add("postponed and due", plain.clone(), postponed, at(900));
        for (name, wake) in [
            ("asleep", Wake::At(at(100))),
            ("waiting for an event", Wake::Event("paid".to_owned())),
            ("waiting for its children", Wake::Children),
            ("waiting for a person", Wake::Manual),
        ] {
            let state = from(vec![claim(at(1)), Event::Returned(Outcome::Suspended(wake), report())]);
            add(name, plain.clone(), state.clone(), at(10));
            add(&format!("{name}, later"), plain.clone(), state, at(100));
        }
        let mut held = from(vec![claim(at(1)), Event::Returned(Outcome::Suspended(Wake::Manual), report())]);
        held.wait_reason = Some(WaitReason::Error);
        add("held with an error", plain.clone(), held, at(10));

        let retrying = from(vec![claim(at(1)), failed(ErrorClass::Transient)]);
        add("retrying", plain.clone(), retrying.clone(), at(2));
        add("retrying and due", plain.clone(), retrying.clone(), at(10_000));
        add("retrying and expired", expiring.clone(), retrying, at(10));
        add("paused", plain.clone(), from(vec![pause.clone()]), at(10));
        add(
            "paused while it waited for its plug-in",
            plain.clone(),
            from(vec![missing_plugin(), pause.clone()]),
            at(10),
        );
        for (name, ended) in [
            ("slept", Event::Returned(Outcome::Suspended(Wake::At(at(100))), report())),
            ("waited for an event", Event::Returned(Outcome::Suspended(Wake::Event("paid".to_owned())), report())),
            ("waited for its children", Event::Returned(Outcome::Suspended(Wake::Children), report())),
            ("waited for a person", Event::Returned(Outcome::Suspended(Wake::Manual), report())),
            ("retried", Event::Returned(Outcome::Retry(Some(seconds(90)), failure(ErrorClass::Transient)), report())),
        ] {
            let state = from(vec![claim(at(1)), ended, pause.clone()]);
            add(&format!("paused while it {name}"), plain.clone(), state.clone(), at(10));
            add(&format!("paused while it {name}, later"), plain.clone(), state, at(1_000));
        }
        add("paused and expired", expiring, from(vec![pause]), at(10));

        let succeeded = Event::Returned(Outcome::succeeded("out"), report());
        add("succeeded", plain.clone(), from(vec![claim(at(1)), succeeded]), at(10));
        add("failed", plain.clone(), from(vec![claim(at(1)), failed(ErrorClass::Business)]), at(10));
        add("canceled", plain.clone(), from(vec![cancel]), at(10));
    }
    all
}

fn policies() -> Vec<(&'static str, RetryPolicy)> {
    let default = RetryPolicy::default();
    let strict = RetryPolicy { retry_timeouts: false, ..default.clone() };
    let patient = RetryPolicy { hold_user_fixable: true, ..default.clone() };
    vec![("default policy", default), ("no retry of timeouts", strict), ("held for people", patient)]
}

/// An event of every kind, and of every outcome and class where those matter.
pub(crate) fn events(now: Timestamp) -> Vec<Event> {
    let mut all = vec![
        claim(now),
        Event::ClaimDisabled,
        Event::ClaimMissing(Absence::NotThere),
        Event::ClaimAfterFailure { predecessor: None },
        Event::Expire,
        Event::Deadline(failure(ErrorClass::Transient), report()),
        Event::LeaseLost,
        Event::GracefulStop { safe_point: true, report: report() },
        Event::GracefulStop { safe_point: false, report: report() },
        Event::SafePoint(report()),
        Event::GraceElapsed(report()),
        Event::Timer,
        Event::EventMatched,
        Event::ChildrenDone,
        Event::ComponentAvailable,
        Event::Pause { by: me() },
        Event::Postpone { until: now.after(seconds(600)), by: me() },
        Event::Resume { by: me(), at_once: false },
        Event::Resume { by: me(), at_once: true },
        Event::Cancel { by: me() },
        Event::Delete,
        Event::Returned(Outcome::succeeded("out"), report()),
        Event::Returned(Outcome::Canceled("nothing to do".to_owned()), report()),
        Event::Returned(Outcome::Yielded, with_checkpoint(b"here")),
        Event::Returned(Outcome::Yielded, report()),
    ];
    for wake in [Wake::At(now.after(seconds(60))), Wake::Event("paid".to_owned()), Wake::Children, Wake::Manual] {
        all.push(Event::Returned(Outcome::Suspended(wake), report()));
    }
    for class in CLASSES {
        all.push(failed(class));
        all.push(Event::Returned(Outcome::Retry(None, failure(class)), report()));
        all.push(Event::Returned(Outcome::Retry(Some(seconds(5)), failure(class)), report()));
    }
    all
}

pub(crate) const CLASSES: [ErrorClass; 5] =
    [ErrorClass::Transient, ErrorClass::Throttled, ErrorClass::UserFixable, ErrorClass::Business, ErrorClass::Fatal];

/// The name of an event in the table of domain.md 3.2. A return counts as the safe point that it is, where the table
/// has no row for that kind of return; the wall-clock limit counts as the end of a cancel's grace.
pub(crate) fn table_name(status: Status, event: &Event) -> &'static str {
    let stopping = matches!(status, Status::Pausing | Status::Canceling);
    match event {
        Event::Claim { .. } | Event::ClaimDisabled | Event::ClaimMissing(_) | Event::ClaimAfterFailure { .. } => {
            "claim"
        }
        Event::Expire => "expire",
        Event::Returned(Outcome::Succeeded(_), _) => "return ok",
        Event::Returned(Outcome::Canceled(_), _) => "return canceled",
        Event::Returned(Outcome::Retry(..), _) => "return retry",
        Event::Returned(Outcome::Failed(_), _) => "return err",
        Event::Returned(Outcome::Suspended(_), _) if status == Status::Canceling => "safe point",
        Event::Returned(Outcome::Suspended(_), _) => "return suspended",
        Event::Returned(Outcome::Yielded, _) if stopping => "safe point",
        Event::Returned(Outcome::Yielded, report) if report.checkpoint.is_none() => "return err",
        Event::Returned(Outcome::Yielded, _) => "return yielded",
        Event::Deadline(..) if status == Status::Canceling => "grace elapsed",
        Event::Deadline(..) => "deadline",
        Event::LeaseLost => "lease lost",
        Event::GracefulStop { .. } => "graceful stop",
        Event::SafePoint(_) => "safe point",
        Event::GraceElapsed(_) => "grace elapsed",
        Event::Timer => "timer",
        Event::EventMatched => "event matched",
        Event::ChildrenDone => "children done",
        Event::ComponentAvailable => "component available",
        Event::Pause { .. } => "pause",
        Event::Postpone { .. } => "postpone",
        Event::Resume { .. } => "resume",
        Event::Cancel { .. } => "cancel",
        Event::Delete => "delete",
    }
}
