//! The invariants of domain.md 3.4 that concern one job, over random lives.

use std::time::Duration;

use backroom::domain::failure::ErrorClass;
use backroom::domain::job::transition::{self, Next};
use backroom::domain::job::{Event, Job, JobState, Outcome, Run, StateCode, Status, Submission, WaitReason};
use backroom::domain::retry::RetryPolicy;
use backroom::domain::time::Timestamp;
use proptest::prelude::*;

use crate::fixtures::{CREATED, at, claim, events, failed, seconds, submission};

/// A job, its closed runs beside the last, and how often it was claimed.
struct Life {
    job: Job,
    earlier_runs: Vec<Run>,
    claims: u32,
}

impl Life {
    fn step(&mut self, policy: &RetryPolicy, event: Event, now: Timestamp) {
        let before = self.job.state.clone();
        let next = transition::apply(&self.job.submission, &before, policy, event, now);
        let Ok(Next::Changed { rule, state, earlier_run }) = next else { return };
        self.claims += u32::from(rule == "T03");
        self.earlier_runs.extend(earlier_run);
        self.job.state = *state;
        check_step(&before, &self.job.state, rule);
    }
}

fn check_step(before: &JobState, after: &JobState, rule: &str) {
    assert_eq!(after.revision, before.revision + 1, "{rule}: one write, one revision");
    let claimed = rule == "T03";
    assert_eq!(after.fence, before.fence + u32::from(claimed), "{rule}: I5, a claim and nothing else moves the fence");
    assert!(!before.status.is_final(), "{rule}: nothing leaves a final status");
    if before.status.state() == StateCode::Suspended {
        assert_ne!(after.status.state(), StateCode::Locked, "{rule}: a suspended job is never locked directly");
    }
}

fn check_invariants(life: &Life, policy: &RetryPolicy, now: Timestamp) {
    let Job { submission, state } = &life.job;
    let status = state.status;
    assert_eq!(status.state() as u8, status.code() / 10, "I1");
    assert_eq!(status.is_locked(), state.lease.is_some(), "I2: {state:?}");
    assert_eq!(status.is_locked(), state.run_started_on.is_some(), "I2: {state:?}");
    assert_eq!(status.is_final(), state.completed_on.is_some(), "I3: {state:?}");
    if let Some(started_on) = state.started_on {
        assert!(submission.created_on <= started_on, "I4");
        assert!(state.completed_on.is_none_or(|completed_on| started_on <= completed_on), "I4");
    }
    let max_attempts = submission.max_attempts.unwrap_or(policy.max_attempts);
    assert!(state.attempt <= max_attempts, "I8: {state:?}");
    if status.is_locked() {
        assert!(state.postpone_until.is_none_or(|until| until <= now), "I9: {state:?}");
        assert!(state.attempt >= 1, "a run belongs to an attempt");
    }
    let timed = status == Status::Retrying || state.wait_reason.is_some_and(WaitReason::is_timed);
    assert_eq!(timed, state.postpone_until.is_some(), "I10: {state:?}");
    assert_eq!(status == Status::Waiting, state.wait_reason.is_some(), "a wait has a reason: {state:?}");
    assert!(state.pending_postpone_until.is_none() || status == Status::Pausing, "{state:?}");
    check_runs(life);
}

fn check_runs(life: &Life) {
    let state = &life.job.state;
    assert_eq!(life.claims, state.runs, "I11: every claim is a run");
    let rows: Vec<&Run> = life.earlier_runs.iter().chain(&state.last_run).collect();
    let under_way = usize::from(state.status.is_locked());
    assert_eq!(rows.len() + under_way, state.runs as usize, "I11: every run is a row");
    assert!(state.runs >= state.attempt, "I11");
    for (number, run) in (1..).zip(&rows) {
        assert_eq!(run.number, number, "I11: rows are numbered");
        assert!(run.attempt >= 1 && run.started_on <= run.ended_on, "{run:?}");
    }
    assert!(rows.is_sorted_by_key(|run| run.ended_on), "runs follow one another");
    let fuel: u64 = rows.iter().map(|run| run.usage.fuel).sum();
    assert_eq!(state.usage().fuel, fuel, "the bill is the sum of the runs");
}

/// An event that fits the status, or any event at all.
fn choose(state: &JobState, pick: usize, now: Timestamp) -> Event {
    let mut all = events(now);
    for event in &mut all {
        if let Event::Returned(_, report) | Event::Deadline(_, report) | Event::SafePoint(report) = event {
            report.usage.fuel = 1 + pick as u64;
        }
    }
    let fitting = |event: &Event| match state.status {
        Status::Queued => matches!(event, Event::Claim { .. }),
        Status::Running => matches!(event, Event::Returned(..) | Event::Deadline(..) | Event::LeaseLost),
        Status::Waiting | Status::Retrying => matches!(event, Event::Timer | Event::EventMatched | Event::ChildrenDone),
        Status::Paused => matches!(event, Event::Resume { .. } | Event::Postpone { .. }),
        _ => true,
    };
    if !pick.is_multiple_of(4) {
        all.retain(fitting);
    }
    // Early ends would leave most of the sequence unused.
    let unfinished = |event: &Event| !matches!(event, Event::Cancel { .. } | Event::Returned(Outcome::Succeeded(_), _));
    if !pick.is_multiple_of(8) {
        all.retain(unfinished);
    }
    let index = (pick / 8) % all.len();
    all.swap_remove(index)
}

fn any_submission() -> impl Strategy<Value = Submission> {
    (proptest::option::of(0_u64..500), proptest::option::of(1_u64..5_000), proptest::option::of(1_u32..6)).prop_map(
        |(start, expiry, max_attempts)| Submission {
            not_before: start.map(at),
            expires_on: expiry.map(at),
            max_attempts,
            ..submission()
        },
    )
}

fn any_policy() -> impl Strategy<Value = RetryPolicy> {
    (1_u32..6, 0_u32..4, any::<bool>(), any::<bool>()).prop_map(|(max_attempts, max_crashes, timeouts, hold)| {
        RetryPolicy {
            max_attempts,
            max_crashes,
            retry_timeouts: timeouts,
            hold_user_fixable: hold,
            ..RetryPolicy::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn one_job_keeps_the_invariants_all_its_life(
        submission in any_submission(),
        policy in any_policy(),
        steps in proptest::collection::vec((0_usize..100_000, -30_i64..4_000), 1..60),
    ) {
        let state = transition::submitted(&submission, CREATED);
        let mut life = Life { job: Job { submission: submission.into(), state }, earlier_runs: Vec::new(), claims: 0 };
        let mut now = CREATED;
        check_invariants(&life, &policy, now);
        for (pick, passed) in steps {
            // The clock is set back now and then.
            now = Timestamp(now.0 + passed * 1_000_000);
            let event = choose(&life.job.state, pick, now);
            life.step(&policy, event, now);
            check_invariants(&life, &policy, now);
        }
    }

    #[test]
    fn a_cancel_ends_every_job_when_its_run_ends(
        policy in any_policy(),
        steps in proptest::collection::vec((0_usize..100_000, 0_i64..4_000), 1..30),
        lost in any::<bool>(),
    ) {
        let submission = submission();
        let state = transition::submitted(&submission, CREATED);
        let mut life = Life { job: Job { submission: submission.into(), state }, earlier_runs: Vec::new(), claims: 0 };
        let mut now = CREATED;
        for (pick, passed) in steps {
            now = now.after(Duration::from_secs(passed.unsigned_abs()));
            let event = choose(&life.job.state, pick, now);
            life.step(&policy, event, now);
        }
        life.step(&policy, Event::Cancel { by: "me".to_owned() }, now);
        let end = if lost { Event::LeaseLost } else { failed(ErrorClass::Transient) };
        life.step(&policy, end, now.after(seconds(1)));
        prop_assert!(life.job.state.status.is_final(), "I13: {:?}", life.job.state);
    }

    #[test]
    fn no_job_outlives_more_lost_hosts_than_its_crash_budget(
        policy in any_policy(),
        steps in proptest::collection::vec((0_usize..100_000, 0_i64..4_000, any::<bool>()), 1..80),
    ) {
        let submission = submission();
        let state = transition::submitted(&submission, CREATED);
        let mut life = Life { job: Job { submission: submission.into(), state }, earlier_runs: Vec::new(), claims: 0 };
        let mut now = CREATED;
        for (pick, passed, dies) in steps {
            now = now.after(Duration::from_secs(passed.unsigned_abs()));
            let is_locked = life.job.state.status.is_locked();
            let event = if dies && is_locked { Event::LeaseLost } else { choose(&life.job.state, pick, now) };
            life.step(&policy, event, now);
            let JobState { status, crashes, .. } = life.job.state;
            prop_assert!(status.is_final() || crashes <= policy.max_crashes, "{:?}", life.job.state);
        }
    }

    #[test]
    fn a_job_that_always_fails_ends(policy in any_policy(), seed in 0_u64..1_000) {
        let mut submission = submission();
        submission.id = backroom::domain::id::JobId::new(CREATED, backroom::domain::id::Sequence(seed), 0);
        let mut state = transition::submitted(&submission, CREATED);
        let mut now = CREATED;
        let mut runs = 0;
        while !state.status.is_final() {
            let event = match state.status {
                Status::Queued => claim(now),
                Status::Running => failed(ErrorClass::Transient),
                _ => Event::Timer,
            };
            runs += u32::from(state.status == Status::Running);
            now = state.postpone_until.unwrap_or(now.after(seconds(1))).max(now);
            let next = transition::apply(&submission, &state, &policy, event, now);
            let Ok(Next::Changed { state: next, .. }) = next else { panic!("{state:?} does not go on: {next:?}") };
            state = *next;
        }
        prop_assert_eq!((state.status, runs), (Status::Failed, policy.max_attempts));
    }
}
