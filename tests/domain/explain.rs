//! Why a job is not running: every reason there is, from the facts that bring it about.

use std::collections::BTreeSet;
use std::sync::Arc;

use backroom::domain::admission::Hold;
use backroom::domain::audit::{Action, AuditRow};
use backroom::domain::explain::{CODES, Facts, PluginFact, Reason, reasons};
use backroom::domain::failure::{ErrorClass, Failure};
use backroom::domain::id::{ConcurrencyKey, HostId, JobId, OrderingKey, Sequence};
use backroom::domain::job::{
    Job, JobState, JobType, Lease, OnPredecessorFailure, Status, Submission, Ties, WaitReason,
};
use backroom::domain::plugin::Grant;
use backroom::domain::queue::Pause;
use backroom::domain::rate::RateLimit;
use backroom::domain::service::ServiceState;

use crate::fixtures::{CREATED, at, failure, submission, version};

fn job(status: Status) -> Job {
    let state = JobState { status, ..JobState::default() };
    Job { submission: Arc::new(submission()), state }
}

fn waiting(reason: WaitReason) -> Job {
    let mut job = job(Status::Waiting);
    job.state.wait_reason = Some(reason);
    job.state.postpone_until = reason.is_timed().then_some(at(100));
    job.state.modified = Some((at(5), "me".to_owned()));
    job.state.failure = Some(failure(ErrorClass::UserFixable));
    job
}

fn asking(change: impl FnOnce(&mut Submission)) -> Job {
    let mut asked = submission();
    change(&mut asked);
    Job { submission: Arc::new(asked), state: JobState::default() }
}

fn tied(ties: Ties) -> Job {
    asking(|asked| asked.ties = Some(Arc::new(ties)))
}

fn other(number: u64) -> JobId {
    JobId::new(CREATED, Sequence(number), 0)
}

fn facts(job: &Job) -> Facts<'_> {
    Facts {
        job,
        now: at(10),
        max_attempts: 4,
        plugin: PluginFact::Ready,
        service: ServiceState::Running,
        holds: Vec::new(),
        ahead: 0,
        blocked_by: Vec::new(),
        stopped_by: None,
        last_command: None,
    }
}

/// The one reason of a job.
fn only(facts: &Facts<'_>) -> Reason {
    let mut all = reasons(facts);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn rate() -> RateLimit {
    "10/min".parse().expect("a rate")
}

#[test]
fn what_waits_for_a_time_says_what_will_hold_it_then() {
    let codes = |facts: &Facts<'_>| reasons(facts).iter().map(|reason| reason.code).collect::<Vec<_>>();
    for (job, first) in [
        (waiting(WaitReason::Scheduled), "scheduled"),
        (waiting(WaitReason::Postponed), "postponed"),
        (job(Status::Retrying), "retrying"),
        (job(Status::Paused), "paused"),
    ] {
        let held = Facts {
            plugin: PluginFact::Disabled,
            service: ServiceState::Paused(Pause::default()),
            holds: vec![Hold::QueuePaused(Arc::default()), Hold::QueueFull(3), Hold::PluginPaused(Arc::default())],
            ahead: 7,
            blocked_by: vec![other(2)],
            stopped_by: Some(other(1)),
            ..facts(&job)
        };
        let wanted = [
            first,
            "service-paused",
            "plugin-disabled",
            "predecessor-failed",
            "blocked",
            "queue-paused",
            "plugin-paused",
        ];
        assert_eq!(codes(&held), wanted, "how full the host is now says nothing of then");
        assert_eq!(codes(&facts(&job)), [first]);
    }
    let scheduled = waiting(WaitReason::Scheduled);
    for (until, wanted) in [(99, vec!["scheduled"]), (101, vec!["scheduled", "breaker-open"])] {
        let held = Facts { holds: vec![Hold::BreakerOpen(at(until))], ..facts(&scheduled) };
        assert_eq!(codes(&held), wanted, "it starts at 100");
    }
    let absent = waiting(WaitReason::MissingComponent);
    assert_eq!(codes(&Facts { plugin: PluginFact::Missing, ..facts(&absent) }), ["missing-component"]);
}

#[test]
fn whoever_gave_the_last_command_has_said_why() {
    let message = |job: &Job, action| {
        let row = AuditRow {
            job: job.submission.key(),
            revision: 3,
            on: at(5),
            by: "me".to_owned(),
            action,
            from: Status::Running,
            to: job.state.status,
            reason: Some("customer left".to_owned()),
        };
        only(&Facts { last_command: Some(row), ..facts(job) }).message
    };
    let canceling = job(Status::Canceling);
    assert_eq!(message(&canceling, Action::Cancel), "it was asked to cancel and still runs on a host: customer left");
    assert_eq!(message(&canceling, Action::Pause), "it was asked to cancel and still runs on a host");
    assert_eq!(message(&job(Status::Paused), Action::Pause), "a person has paused it: customer left");
    let postponed = waiting(WaitReason::Postponed);
    assert_eq!(message(&postponed, Action::Postpone), "it was postponed by me: customer left");
    let canceled = job(Status::Canceled);
    assert_eq!(message(&canceled, Action::Cancel), "it has ended as canceled, by me: customer left");
    assert_eq!(message(&canceled, Action::Resume), "it has ended as canceled", "another command is not why");
}

/// Each reason with a word of its message and a word of what ends it.
fn cases() -> Vec<(&'static str, &'static str, &'static str, Reason)> {
    let mut cases = Vec::new();
    let mut case = |code, message, when, reason| cases.push((code, message, when, reason));
    for (reason, message, when) in [
        (WaitReason::Scheduled, "was set for later", "2023-11-14T22:15:00.000Z, or when somebody resumes it"),
        (WaitReason::Postponed, "was postponed by me", "2023-11-14T22:15:00.000Z"),
        (WaitReason::Sleep, "asked to be woken at a time", "2023-11-14T22:15:00.000Z"),
        (WaitReason::Event, "waits for an event", "the event comes"),
        (WaitReason::Children, "waits for jobs that it made", "they have ended"),
        (WaitReason::Error, "must mend something first: it did not work", "backroom job resume 018bcfe5-"),
        (WaitReason::MissingComponent, "it did not work", "plug-in echo has the version that it needs"),
        (WaitReason::Manual, "it did not work", "somebody resumes it: backroom job resume"),
    ] {
        let job = waiting(reason);
        case(reason.word(), message, when, only(&facts(&job)));
    }
    let mut retrying = job(Status::Retrying);
    retrying.state.attempt = 2;
    retrying.state.postpone_until = Some(at(60));
    retrying.state.failure = Some(failure(ErrorClass::Transient));
    case("retrying", "attempt 2 of 4 has failed: it did not work", "2023-11-14T22:14:20.000Z", only(&facts(&retrying)));
    let mut paused = job(Status::Paused);
    paused.state.modified = Some((at(5), "me".to_owned()));
    case(
        "paused",
        "a person has paused it (me, 2023-11-14T22:13:25.000Z)",
        "backroom job resume",
        only(&facts(&paused)),
    );
    let lease = Some(Lease { host: HostId(3), until: at(600) });
    let mut running = job(Status::Running);
    running.state.attempt = 2;
    running.state.lease = lease;
    running.state.run_started_on = Some(at(1));
    case("running", "attempt 2 runs on host-3 since 2023-11-14T22:13:21.000Z", "it runs", only(&facts(&running)));
    let mut pausing = job(Status::Pausing);
    pausing.state.lease = lease;
    case("pausing", "asked to pause and still runs on host-3", "somebody resumes it", only(&facts(&pausing)));
    pausing.state.pending_postpone_until = Some(at(100));
    case("pausing", "still runs on host-3", "2023-11-14T22:15:00.000Z has come", only(&facts(&pausing)));
    let mut canceling = job(Status::Canceling);
    canceling.state.lease = lease;
    case("canceling", "asked to cancel and still runs on host-3", "never", only(&facts(&canceling)));
    let mut failed = job(Status::Failed);
    failed.state.completed_on = Some(at(9));
    failed.state.failure = Some(failure(ErrorClass::Fatal));
    let ended = "ended as failed on 2023-11-14T22:13:29.000Z: it did not work";
    case("finished", ended, "run it again as a new job: backroom job retry", only(&facts(&failed)));

    let queued = job(Status::Queued);
    case("next", "nothing holds it", "a slot of the host is free", only(&facts(&queued)));
    let expiring = asking(|asked| asked.expires_on = Some(at(5)));
    case("expired", "unless started by 2023-11-14T22:13:25.000Z", "never", only(&facts(&expiring)));
    let service = |service| only(&Facts { service, ..facts(&queued) });
    case(
        "service-paused",
        "paused the whole service",
        "backroom service resume",
        service(ServiceState::Paused(Pause::default())),
    );
    case("draining", "the host is going down", "the host has started again", service(ServiceState::Draining));
    let plugin = |plugin| only(&Facts { plugin, ..facts(&queued) });
    case("plugin-disabled", "will be canceled when its turn comes", "plugin enable echo", plugin(PluginFact::Disabled));
    case("plugin-missing", "there is no plug-in echo", "plug-in echo is uploaded", plugin(PluginFact::Missing));
    case("version-missing", "no active version", "plugin activate echo", plugin(PluginFact::VersionMissing));
    let pinned = asking(|asked| asked.version = Some(version()));
    let missing = only(&Facts { plugin: PluginFact::VersionMissing, ..facts(&pinned) });
    case("version-missing", "version 1.0.0 of plug-in echo is not there", "version 1.0.0 of plug-in echo", missing);
    let wanted = Grant::Http("https://a.example".to_owned());
    let ungranted = plugin(PluginFact::NotGranted(version(), vec![wanted]));
    let command = "backroom plugin grant echo --http https://a.example";
    case("missing-grants", "not granted: http https://a.example", command, ungranted);
    let keyed = tied(Ties { ordering_key: OrderingKey::new("k").ok(), ..Ties::default() });
    let blocked = only(&Facts { blocked_by: vec![other(1)], ..facts(&keyed) });
    assert_eq!(blocked.jobs, [other(1)]);
    case("blocked", "earlier jobs with the ordering key `k`", "has ended", blocked);
    let named = tied(Ties {
        after: vec![other(1), other(2)],
        on_predecessor_failure: OnPredecessorFailure::Block,
        ..Ties::default()
    });
    let blocked = only(&Facts { blocked_by: vec![other(1), other(2)], ..facts(&named) });
    case("blocked", "jobs that it names in `after`", "these 2 jobs have ended with success", blocked);
    let stopped = only(&Facts { stopped_by: Some(other(1)), ..facts(&named) });
    case("predecessor-failed", "which it waited for, has not succeeded", "somebody resumes it", stopped);
    let canceled = tied(Ties { on_predecessor_failure: OnPredecessorFailure::Cancel, ..Ties::default() });
    let stopped = only(&Facts { stopped_by: Some(other(1)), ..facts(&canceled) });
    case("predecessor-failed", "has not succeeded", "never: it is canceled", stopped);
    let hold = |hold| only(&Facts { holds: vec![hold], ..facts(&queued) });
    case(
        "queue-paused",
        "paused queue default",
        "backroom queue resume default",
        hold(Hold::QueuePaused(Arc::default())),
    );
    case(
        "plugin-paused",
        "paused plug-in echo",
        "backroom plugin resume echo",
        hold(Hold::PluginPaused(Arc::default())),
    );
    case("breaker-open", "keeps failing", "2023-11-14T22:13:50.000Z", hold(Hold::BreakerOpen(at(30))));
    case("queue-full", "3 jobs of queue default run", "one of them has ended", hold(Hold::QueueFull(3)));
    case("plugin-full", "2 jobs of plug-in echo run", "one of them has ended", hold(Hold::PluginFull(2)));
    let key = ConcurrencyKey::new("region 4").expect("a good key");
    let full = hold(Hold::KeyFull(key, 2));
    case("key-full", "2 jobs of plug-in echo with the concurrency key `region 4` run", "one of them has ended", full);
    case("queue-rate", "its rate of 10/min", "2023-11-14T22:13:50.000Z", hold(Hold::QueueRate(rate(), at(30))));
    case("plugin-rate", "its rate of 10/min", "2023-11-14T22:13:50.000Z", hold(Hold::PluginRate(rate(), at(30))));
    let behind = |ahead| only(&Facts { ahead, ..facts(&queued) });
    case("behind", "1 job of plug-in echo in queue default starts before it", "it has started", behind(1));
    case("behind", "7 jobs of plug-in echo in queue default start before it", "they have started", behind(7));
    let expires = |status| {
        let mut job = asking(|asked| asked.expires_on = Some(at(60)));
        job.state.status = status;
        job.state.wait_reason = (status == Status::Waiting).then_some(WaitReason::Postponed);
        reasons(&facts(&job)).pop().expect("there is always one")
    };
    for status in [Status::Waiting, Status::Retrying] {
        let reason = expires(status);
        assert_eq!(reason.until, Some(at(60)));
        case("expires", "it is called off unless it has started by", "it has started before that", reason);
    }
    case("expires", "while paused it is left alone", "it has started before that", expires(Status::Paused));
    let mut batch = asking(|asked| asked.job_type = JobType::BATCH);
    batch.state.status = Status::Waiting;
    batch.state.wait_reason = Some(WaitReason::Children);
    let waits = only(&Facts { blocked_by: vec![other(1)], ..facts(&batch) });
    assert_eq!(waits.jobs, [other(1)]);
    assert!(!waits.starts_when.contains("resume"), "a batch cannot be resumed");
    case("children", "not all of its jobs have ended: backroom job list --batch", "all of them have ended", waits);
    cases
}

#[test]
fn every_reason_says_what_is_the_matter_and_what_ends_it() {
    let cases = cases();
    for (code, message, when, reason) in &cases {
        assert_eq!(reason.code, *code, "{reason:?}");
        assert!(reason.message.contains(message), "{code}: {}", reason.message);
        assert!(reason.starts_when.contains(when), "{code}: {}", reason.starts_when);
    }
    let told: BTreeSet<_> = cases.iter().map(|(code, ..)| *code).collect();
    let known: BTreeSet<_> = CODES.iter().copied().collect();
    assert_eq!(told, known, "every code has a case, and every case a code");
}

#[test]
fn what_ends_with_time_says_when() {
    let job = waiting(WaitReason::Postponed);
    assert_eq!(only(&facts(&job)).until, Some(at(100)));
    let late = only(&Facts { now: at(100), ..facts(&job) });
    assert!(late.starts_when.starts_with("now: "), "{late:?}");
    let queued = self::job(Status::Queued);
    let held = only(&Facts { holds: vec![Hold::QueueRate(rate(), at(30))], ..facts(&queued) });
    assert_eq!(held.until, Some(at(30)));
}

#[test]
fn everything_that_stands_in_the_way_is_told_the_foremost_first() {
    let job = tied(Ties { ordering_key: OrderingKey::new("k").ok(), ..Ties::default() });
    let all = reasons(&Facts {
        service: ServiceState::Paused(Pause::default()),
        plugin: PluginFact::Disabled,
        holds: vec![Hold::QueuePaused(Arc::default()), Hold::PluginFull(1)],
        ahead: 2,
        blocked_by: vec![other(1)],
        stopped_by: Some(other(2)),
        ..facts(&job)
    });
    let codes: Vec<_> = all.iter().map(|reason| reason.code).collect();
    assert_eq!(
        codes,
        ["service-paused", "plugin-disabled", "predecessor-failed", "blocked", "queue-paused", "plugin-full", "behind"]
    );
}

#[test]
fn a_job_in_any_status_has_a_reason() {
    for status in Status::ALL {
        let job = job(status);
        assert!(!reasons(&facts(&job)).is_empty(), "{status}");
    }
    let told = Failure { message: String::new(), ..failure(ErrorClass::Fatal) };
    let mut held = waiting(WaitReason::Error);
    held.state.failure = Some(told);
    assert_eq!(only(&facts(&held)).code, "error");
}
