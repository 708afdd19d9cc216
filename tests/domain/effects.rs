//! What a transition must set beside the status (domain.md 3.3).

use backroom::domain::failure::ErrorClass;
use backroom::domain::id::VersionName;
use backroom::domain::job::transition::{self, Next};
use backroom::domain::job::{Event, JobState, Outcome, Payload, Progress, RunEnd, RunReport, Status, WaitReason, Wake};
use backroom::domain::limits::Usage;
use backroom::domain::plugin::{Absence, Grant};
use backroom::domain::retry::RetryPolicy;
use bytes::Bytes;

use crate::fixtures::{after, at, changed, claim, failed, failure, me, report, seconds, submission, with_checkpoint};

fn play(events: Vec<Event>) -> JobState {
    after(&submission(), &RetryPolicy::default(), events)
}

fn inline(bytes: &'static [u8]) -> Option<Payload> {
    Some(Payload::Inline(Bytes::from_static(bytes)))
}

fn used(fuel: u64) -> RunReport {
    RunReport { usage: Usage { fuel, ..Usage::default() }, ..RunReport::default() }
}

#[test]
fn a_claim_starts_a_run() {
    let state = play(vec![claim(at(1))]);
    assert_eq!((state.fence, state.runs, state.attempt, state.revision), (1, 1, 1, 1));
    assert_eq!((state.started_on, state.run_started_on), (Some(at(1)), Some(at(1))));
    assert!(state.lease.is_some_and(|lease| lease.until == at(61)));
    assert!(state.version.is_some());
}

#[test]
fn the_end_of_a_run_closes_it_and_hands_back_the_one_before() {
    let (plain, policy) = (submission(), RetryPolicy::default());
    let first = Event::Returned(Outcome::Yielded, RunReport { checkpoint: inline(b"1"), ..used(10) });
    let second = Event::Returned(Outcome::succeeded("out"), used(5));
    let state = play(vec![claim(at(1)), first, claim(at(3))]);
    assert_eq!(state.last_run.as_ref().map(|run| (run.number, run.end)), Some((1, RunEnd::Yielded)));
    assert_eq!(state.earlier_usage, Usage::default());

    let next = transition::apply(&plain, &state, &policy, second, at(9)).expect("it runs");
    let Next::Changed { state, earlier_run, .. } = next else { panic!("a change") };
    assert_eq!(earlier_run.map(|run| (run.number, run.usage.fuel)), Some((1, 10)));
    assert_eq!(state.earlier_usage.fuel, 10);
    assert_eq!(state.usage().fuel, 15);
    let last = state.last_run.expect("the second run");
    assert_eq!((last.number, last.attempt, last.started_on, last.ended_on), (2, 1, at(3), at(9)));
    assert_eq!((state.lease, state.run_started_on, state.completed_on), (None, None, Some(at(9))));
    assert_eq!(state.output, inline(b"out"));
    assert_eq!(state.checkpoint, None, "there is no next run that would need it");
    assert_eq!(state.started_on, Some(at(1)), "the first start");
}

#[test]
fn only_a_failure_counts_an_attempt() {
    let stop = |safe_point| Event::GracefulStop { safe_point, report: report() };
    let asleep = Event::Returned(Outcome::Suspended(Wake::At(at(2))), report());
    let throttled = Event::Returned(Outcome::Retry(Some(seconds(1)), failure(ErrorClass::Throttled)), report());
    let pause = || Event::Pause { by: me() };
    let postpone = || Event::Postpone { until: at(2), by: me() };
    let same: [Vec<Event>; 7] = [
        vec![Event::Returned(Outcome::Yielded, with_checkpoint(b"x"))],
        vec![stop(true)],
        vec![stop(false)],
        vec![asleep, Event::Timer],
        vec![throttled, Event::Timer],
        vec![Event::LeaseLost, Event::Timer],
        vec![pause(), Event::SafePoint(report()), postpone(), Event::Timer],
    ];
    for between in same {
        let name = format!("{between:?}");
        let mut events = vec![claim(at(1))];
        events.extend(between);
        events.push(claim(at(9)));
        let state = play(events);
        assert_eq!((state.attempt, state.runs, state.fence), (1, 2, 2), "{name}");
    }
    let again = Event::Returned(Outcome::Retry(Some(seconds(0)), failure(ErrorClass::Transient)), report());
    let state = play(vec![claim(at(1)), again, Event::Timer, claim(at(4))]);
    assert_eq!((state.attempt, state.runs), (2, 2), "a failure does");
}

#[test]
fn a_checkpoint_lands_with_a_safe_end_only() {
    let first = Event::Returned(Outcome::Yielded, with_checkpoint(b"first"));
    let started = |end: Event| play(vec![claim(at(1)), first.clone(), claim(at(3)), end]).checkpoint;
    let newer = || with_checkpoint(b"newer");
    let asleep = Event::Returned(Outcome::Suspended(Wake::Manual), newer());
    let retry = Event::Returned(Outcome::Retry(None, failure(ErrorClass::Transient)), newer());
    assert_eq!(started(asleep), inline(b"newer"));
    assert_eq!(started(Event::GracefulStop { safe_point: true, report: newer() }), inline(b"newer"));
    assert_eq!(started(Event::GracefulStop { safe_point: false, report: newer() }), inline(b"first"));
    assert_eq!(started(Event::Deadline(failure(ErrorClass::Transient), newer())), inline(b"first"));
    assert_eq!(started(retry), inline(b"first"));
    assert_eq!(started(Event::LeaseLost), inline(b"first"));
}

#[test]
fn a_lost_lease_is_retried_at_once_the_first_time_only() {
    let policy = RetryPolicy::default();
    let plain = submission();
    let once = play(vec![claim(at(1)), Event::LeaseLost]);
    assert_eq!((once.status, once.postpone_until, once.crashes), (Status::Retrying, Some(at(2)), 1));
    assert_eq!(once.failure().and_then(|failure| failure.code.clone()).as_deref(), Some("BR0314"));

    let twice = play(vec![claim(at(1)), Event::LeaseLost, Event::Timer, claim(at(4)), Event::LeaseLost]);
    assert_eq!(twice.postpone_until, Some(at(5).after(policy.delay(1, plain.id))));
    assert_eq!(twice.crashes, 2);

    let crashed = JobState { crashes: policy.max_crashes, ..play(vec![claim(at(1))]) };
    let (rule, ended) = changed(transition::apply(&plain, &crashed, &policy, Event::LeaseLost, at(9)));
    assert_eq!((rule, ended.status), ("T20", Status::Failed));
    assert_eq!(ended.failure().and_then(|failure| failure.code.clone()).as_deref(), Some("BR0311"));
}

#[test]
fn a_postpone_of_a_running_job_waits_for_the_safe_point() {
    let postpone = || Event::Postpone { until: at(50), by: me() };
    let asked = play(vec![claim(at(1)), postpone()]);
    assert_eq!((asked.postpone_until, asked.pending_postpone_until), (None, Some(at(50))), "I9 holds");
    let resting = play(vec![claim(at(1)), postpone(), Event::SafePoint(with_checkpoint(b"half"))]);
    assert_eq!((resting.postpone_until, resting.pending_postpone_until), (Some(at(50)), None));
    assert_eq!(resting.wait_reason, Some(WaitReason::Postponed));
    assert_eq!(resting.checkpoint, inline(b"half"));
    let dropped = play(vec![claim(at(1)), postpone(), Event::Cancel { by: me() }]);
    assert_eq!(dropped.pending_postpone_until, None);
}

#[test]
fn what_people_do_is_written_down() {
    let paused = play(vec![Event::Pause { by: me() }]);
    assert_eq!(paused.modified, Some((at(1), me())));
    let canceling = play(vec![claim(at(1)), Event::Cancel { by: me() }]);
    assert_eq!((canceling.cancel_requested_on, canceling.modified), (Some(at(2)), Some((at(2), me()))));
    let done_before = Event::Returned(Outcome::succeeded("out"), report());
    let succeeded = play(vec![claim(at(1)), Event::Cancel { by: me() }, done_before]);
    assert_eq!((succeeded.status, succeeded.cancel_requested_on), (Status::Succeeded, Some(at(2))), "T32");
}

#[test]
fn a_resume_counts_the_attempts_anew() {
    let policy = RetryPolicy { hold_user_fixable: true, max_attempts: 1, ..RetryPolicy::default() };
    let held = after(&submission(), &policy, vec![claim(at(1)), failed(ErrorClass::UserFixable)]);
    assert_eq!((held.wait_reason, held.attempt), (Some(WaitReason::Error), 1));
    let (_, resumed) =
        changed(transition::apply(&submission(), &held, &policy, Event::Resume { by: me(), at_once: false }, at(9)));
    assert_eq!((resumed.status, resumed.attempt), (Status::Queued, 0));
    let (_, running) = changed(transition::apply(&submission(), &resumed, &policy, claim(at(10)), at(10)));
    assert_eq!((running.attempt, running.runs), (1, 2));
}

#[test]
fn failures_without_a_run_say_their_code() {
    let code = |state: &JobState| state.failure().and_then(|failure| failure.code.clone());
    let missing = play(vec![Event::ClaimMissing(Absence::NotThere)]);
    assert_eq!((code(&missing).as_deref(), missing.wait_reason), (Some("BR0103"), Some(WaitReason::MissingComponent)));
    let pending = Absence::NotGranted {
        version: VersionName::new("1.0.0").expect("a version"),
        missing: vec![Grant::Http("https://a.example".to_owned())],
        advice: "backroom plugin grant x".to_owned(),
    };
    let pending = play(vec![Event::ClaimMissing(pending)]);
    assert_eq!((code(&pending).as_deref(), pending.wait_reason), (Some("BR0208"), Some(WaitReason::MissingComponent)));
    let told = pending.failure().expect("it says why");
    assert!(told.message.ends_with("asks for what is not granted: http \"https://a.example\""), "{told:?}");
    assert!(told.detail.as_ref().is_some_and(|detail| detail.ends_with("\nbackroom plugin grant x")), "{told:?}");
    let found = play(vec![Event::ClaimMissing(Absence::NotThere), Event::ComponentAvailable]);
    assert_eq!((code(&found), found.wait_reason), (None, None));
    assert_eq!(code(&play(vec![Event::ClaimDisabled])).as_deref(), Some("BR0313"));

    let mut expiring = submission();
    expiring.expires_on = Some(at(1));
    let expired = after(&expiring, &RetryPolicy::default(), vec![Event::Expire]);
    assert_eq!((expired.status, code(&expired).as_deref()), (Status::Canceled, Some("BR0312")));
}

#[test]
fn progress_is_kept_until_there_is_news() {
    let progress = Some(Progress { done: 3, total: Some(9), note: None });
    let told = RunReport { progress: progress.clone(), checkpoint: inline(b"x"), ..RunReport::default() };
    let yielded = Event::Returned(Outcome::Yielded, told);
    let state = play(vec![claim(at(1)), yielded, claim(at(3)), Event::LeaseLost]);
    assert_eq!(state.progress, progress);
}

#[test]
fn throttling_counts_no_attempt_for_a_day() {
    let (plain, policy) = (submission(), RetryPolicy::default());
    let throttled = || failed(ErrorClass::Throttled);
    let mut state = play(vec![claim(at(1))]);
    let mut now = at(1);
    for _ in 0..200 {
        let (rule, next) = changed(transition::apply(&plain, &state, &policy, throttled(), now));
        if next.throttled_since.is_none() || !next.same_attempt {
            assert_eq!(rule, "T10");
            assert!(now.since(at(1)) >= seconds(24 * 3_600), "counted after {:?}", now.since(at(1)));
            return;
        }
        now = next.postpone_until.expect("status 11 has a time").after(seconds(600));
        let (_, queued) = changed(transition::apply(&plain, &next, &policy, Event::Timer, now));
        (_, state) = changed(transition::apply(&plain, &queued, &policy, claim(now), now));
        assert_eq!(state.attempt, 1);
    }
    panic!("throttling never counted an attempt");
}
