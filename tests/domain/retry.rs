//! When a failed attempt is tried again (domain.md 4.4, design section 4).

use std::time::Duration;

use backroom::domain::code;
use backroom::domain::failure::{ErrorClass, Failure};
use backroom::domain::id::{JobId, Sequence};
use backroom::domain::retry::{Cause, Decision, RetryPolicy, THROTTLE_WAIT_MIN, Tries, decide};
use proptest::prelude::*;

use crate::fixtures::{CREATED, at, failure, seconds};

fn job(number: u64) -> JobId {
    JobId::new(CREATED, Sequence(number), 0)
}

fn tries(attempt: u32) -> Tries {
    Tries { job: job(1), attempt, max_attempts: 4, runs: attempt, throttled_since: None }
}

#[test]
fn the_ceiling_grows_to_the_cap() {
    let policy = RetryPolicy::default();
    let ceilings: Vec<_> = (1..=6).map(|attempt| policy.ceiling(attempt).as_secs()).collect();
    assert_eq!(ceilings, [15, 60, 240, 960, 3_600, 3_600]);
    assert_eq!(policy.ceiling(u32::MAX), policy.cap, "no overflow");
}

#[test]
fn jitter_spreads_jobs_over_the_whole_span() {
    let policy = RetryPolicy::default();
    let span = policy.ceiling(1);
    let mut buckets = [0_u32; 10];
    for number in 0..10_000 {
        let share = policy.delay(1, job(number)).as_secs_f64() / span.as_secs_f64();
        buckets[((share * 10.0) as usize).min(9)] += 1;
    }
    assert!(buckets.iter().all(|count| (850..1_150).contains(count)), "uneven: {buckets:?}");
}

#[test]
fn a_hash_draws_the_same_wait_again() {
    let policy = RetryPolicy::default();
    assert_eq!(policy.delay(2, job(5)), policy.delay(2, job(5)));
    assert_ne!(policy.delay(2, job(5)), policy.delay(2, job(6)));
    assert_ne!(policy.delay(5, job(5)), policy.delay(6, job(5)), "the same ceiling, another attempt");
}

proptest! {
    #[test]
    fn no_wait_is_longer_than_its_ceiling(
        attempt in 0_u32..2_000, number in 0_u64..1 << 48, base in 0_u64..100_000, factor in 0_u32..50, cap in 0_u64..100_000
    ) {
        let policy = RetryPolicy { base: seconds(base), factor, cap: seconds(cap), ..RetryPolicy::default() };
        prop_assert!(policy.delay(attempt, job(number)) <= policy.ceiling(attempt));
        prop_assert!(policy.ceiling(attempt) <= policy.cap);
        prop_assert!(policy.ceiling(attempt) <= policy.ceiling(attempt.saturating_add(1)));
    }
}

#[test]
fn the_class_decides() {
    let policy = RetryPolicy::default();
    let hold = RetryPolicy { hold_user_fixable: true, ..policy.clone() };
    let of = |policy, class| decide(policy, &tries(1), Cause::Failed(&failure(class)), at(1));
    assert_eq!(of(&policy, ErrorClass::Transient), Decision::NextAttempt(policy.delay(1, job(1))));
    assert!(matches!(of(&policy, ErrorClass::Throttled), Decision::SameAttempt(_)));
    assert_eq!(of(&policy, ErrorClass::UserFixable), Decision::Final);
    assert_eq!(of(&hold, ErrorClass::UserFixable), Decision::Hold);
    assert_eq!(of(&policy, ErrorClass::Business), Decision::Final);
    assert_eq!(of(&policy, ErrorClass::Fatal), Decision::Final);
}

#[test]
fn a_trap_is_retried_and_a_used_up_limit_is_not() {
    let policy = RetryPolicy::default();
    for class in [ErrorClass::Transient, ErrorClass::Fatal] {
        let of = |code| decide(&policy, &tries(1), Cause::Failed(&Failure::host(class, code, "broke")), at(1));
        for code in [code::GUEST_TRAP, code::GUEST_PANIC] {
            assert!(matches!(of(code), Decision::NextAttempt(_)), "{code}");
        }
        let used_up = [code::OUT_OF_FUEL, code::OUT_OF_MEMORY, code::HOST_CALL_LIMIT, code::OUTPUT_TOO_LARGE];
        for code in used_up.into_iter().chain([code::STACK_OVERFLOW]) {
            assert_eq!(of(code), Decision::Final, "{code}");
        }
    }
}

#[test]
fn a_fault_of_the_host_counts_no_attempt_within_a_day() {
    let policy = RetryPolicy::default();
    let fault = Failure::host(ErrorClass::Transient, code::HOST_FAULT, "the disk is full");
    let of = |since| {
        let tries = Tries { throttled_since: Some(at(0)), ..tries(4) };
        decide(&policy, &tries, Cause::Failed(&fault), at(since))
    };
    assert!(matches!(of(60), Decision::SameAttempt(wait) if wait >= THROTTLE_WAIT_MIN), "{:?}", of(60));
    assert_eq!(of(24 * 3_600), Decision::Exhausted);
}

#[test]
fn a_handler_gets_the_wait_that_it_asks_for_and_is_not_throttled_for_ever() {
    let policy = RetryPolicy::default();
    let (transient, throttled) = (failure(ErrorClass::Transient), failure(ErrorClass::Throttled));
    let endless = Some(Duration::MAX);
    let asked = |failure, tries: &Tries, now| decide(&policy, tries, Cause::Asked(endless, failure), now);
    assert_eq!(asked(&transient, &tries(1), at(1)), Decision::NextAttempt(Duration::MAX));
    let day = 24 * 3_600;
    assert_eq!(asked(&throttled, &tries(1), at(1)), Decision::SameAttempt(seconds(day)));
    let since = Tries { throttled_since: Some(at(0)), ..tries(1) };
    assert_eq!(asked(&throttled, &since, at(day - 600)), Decision::SameAttempt(seconds(600)), "the rest of the day");
}

#[test]
fn timeouts_follow_the_policy() {
    let policy = RetryPolicy::default();
    let strict = RetryPolicy { retry_timeouts: false, ..policy.clone() };
    assert!(matches!(decide(&policy, &tries(1), Cause::TimedOut, at(1)), Decision::NextAttempt(_)));
    assert_eq!(decide(&policy, &tries(4), Cause::TimedOut, at(1)), Decision::Exhausted);
    assert_eq!(decide(&strict, &tries(1), Cause::TimedOut, at(1)), Decision::Final);
}

#[test]
fn four_attempts_in_all() {
    let policy = RetryPolicy::default();
    let transient = failure(ErrorClass::Transient);
    let of = |attempt| decide(&policy, &tries(attempt), Cause::Failed(&transient), at(1));
    assert!((1..4).all(|attempt| matches!(of(attempt), Decision::NextAttempt(_))));
    assert_eq!(of(4), Decision::Exhausted);
}

#[test]
fn a_handler_that_asks_is_tried_again_whatever_the_class() {
    let policy = RetryPolicy::default();
    for class in [ErrorClass::Transient, ErrorClass::UserFixable, ErrorClass::Business, ErrorClass::Fatal] {
        let failure = failure(class);
        let of = |delay, attempt| decide(&policy, &tries(attempt), Cause::Asked(delay, &failure), at(1));
        assert_eq!(of(Some(seconds(7)), 1), Decision::NextAttempt(seconds(7)), "{class:?}");
        assert_eq!(of(None, 2), Decision::NextAttempt(policy.delay(2, job(1))), "{class:?}");
        assert_eq!(of(Some(seconds(7)), 4), Decision::Exhausted, "{class:?}");
    }
}

#[test]
fn throttling_counts_no_attempt_within_a_day() {
    let policy = RetryPolicy::default();
    let throttled = failure(ErrorClass::Throttled);
    let of = |attempt, since: u64, delay| {
        let tries = Tries { throttled_since: Some(at(0)), ..tries(attempt) };
        decide(&policy, &tries, Cause::Asked(delay, &throttled), at(since))
    };
    let day = 24 * 3_600;
    assert_eq!(of(4, day - 100, Some(seconds(90))), Decision::SameAttempt(seconds(90)));
    assert_eq!(of(4, day, Some(seconds(90))), Decision::Exhausted);
    assert_eq!(of(3, day, Some(seconds(90))), Decision::NextAttempt(seconds(90)));
    assert_eq!(of(1, 1, Some(Duration::ZERO)), Decision::SameAttempt(THROTTLE_WAIT_MIN), "it cannot spin");
}
