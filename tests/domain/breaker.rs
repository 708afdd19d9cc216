//! The circuit breaker (domain.md 4.4, F039).

use std::time::Duration;

use backroom::domain::breaker::{Admission, Breaker, BreakerPolicy, BreakerState, PluginBreaker};
use backroom::domain::id::{PluginName, TenantId};
use backroom::domain::time::Timestamp;
use proptest::prelude::*;

use crate::fixtures::{CREATED, at, seconds};

const MINUTE: u64 = 60;

fn policy() -> BreakerPolicy {
    BreakerPolicy::default()
}

fn end(breaker: &mut Breaker, succeeded: bool, count: usize, second: u64) {
    for _ in 0..count {
        breaker.ended(&policy(), succeeded, at(second), at(second));
    }
}

/// A breaker that opened at second 0.
fn opened() -> Breaker {
    let mut breaker = Breaker::default();
    end(&mut breaker, false, 20, 0);
    breaker
}

/// Starts and ends one attempt at `second`.
fn attempt(breaker: &mut Breaker, succeeded: bool, second: u64) {
    breaker.started(&policy(), at(second));
    breaker.ended(&policy(), succeeded, at(second), at(second));
}

#[test]
fn a_new_breaker_is_closed() {
    let breaker = Breaker::default();
    assert_eq!(breaker.state(&policy(), at(0)), BreakerState::Closed);
    assert_eq!(breaker.may_start(&policy(), at(0)), Admission::All);
    assert!(!breaker.is_degraded());
}

#[test]
fn what_a_store_hears_of_is_that_it_opens_and_closes() {
    let differs = |steps: &dyn Fn(&mut Breaker)| {
        let mut after = opened();
        steps(&mut after);
        after.differs_from(&opened())
    };
    assert!(!differs(&|breaker| breaker.started(&policy(), at(MINUTE))), "a probe is nothing to keep");
    assert!(!differs(&|breaker| end(breaker, false, 3, 5)), "neither are late failures");
    assert!(differs(&|breaker| attempt(breaker, false, MINUTE)), "it opens for longer");
    assert!(differs(&|breaker| attempt(breaker, true, MINUTE)), "it closes");
    let mut closed = Breaker::default();
    end(&mut closed, false, 19, 0);
    assert!(!closed.differs_from(&Breaker::default()), "it has not opened yet");
    assert!(opened().differs_from(&closed));
}

#[test]
fn what_a_dead_host_leaves_behind_is_the_pause_without_the_probe() {
    let mut breaker = opened();
    breaker.started(&policy(), at(MINUTE));
    assert_eq!(breaker.state(&policy(), at(MINUTE)), BreakerState::HalfOpen { probing: true });
    let left = breaker.left_behind();
    assert_eq!(left.state(&policy(), at(MINUTE)), BreakerState::HalfOpen { probing: false });
    assert_eq!(left.may_start(&policy(), at(59)), Admission::Refused { until: at(MINUTE) });
    assert_eq!(left, opened());
}

#[test]
fn it_opens_with_the_twentieth_failure_and_not_before() {
    let mut breaker = Breaker::default();
    end(&mut breaker, false, 19, 0);
    assert!(!breaker.is_degraded());
    end(&mut breaker, false, 1, 0);
    assert_eq!(breaker.state(&policy(), at(0)), BreakerState::Open { until: at(MINUTE) });
    assert_eq!(breaker.may_start(&policy(), at(59)), Admission::Refused { until: at(MINUTE) });
    assert!(breaker.is_degraded());
}

#[test]
fn more_than_four_of_five_must_have_failed() {
    for (successes, failures) in [(0, 20), (4, 20), (5, 21), (9, 37), (10, 41), (50, 41)] {
        let mut breaker = Breaker::default();
        end(&mut breaker, true, successes, 0);
        end(&mut breaker, false, failures - 1, 0);
        assert!(!breaker.is_degraded(), "after {successes} successes, failure {} opened it", failures - 1);
        end(&mut breaker, false, 1, 0);
        assert!(breaker.is_degraded(), "after {successes} successes, failure {failures} did not open it");
    }
}

#[test]
fn only_the_window_counts() {
    let mut breaker = Breaker::default();
    end(&mut breaker, true, 1_000, 0);
    end(&mut breaker, false, 40, 0);
    assert!(!breaker.is_degraded(), "40 of the last 50 are not more than 80 %");
    end(&mut breaker, false, 1, 0);
    assert!(breaker.is_degraded(), "41 of the last 50 are");
}

#[test]
fn f039_repeated_failure_slows_down_and_one_success_restores_the_rate() {
    let mut breaker = Breaker::default();
    let mut starts_per_hour = Vec::new();
    for hour in 0..6_u64 {
        let mut starts = 0;
        for second in hour * 3_600..(hour + 1) * 3_600 {
            if !matches!(breaker.may_start(&policy(), at(second)), Admission::Refused { .. }) {
                attempt(&mut breaker, false, second);
                starts += 1;
            }
        }
        starts_per_hour.push(starts);
    }
    assert_eq!(starts_per_hour, [25, 1, 1, 1, 1, 1], "20 until it opens, then probes after 1, 2, 4, 8, 16 and 32 min");

    let second = (6 * 3_600..8 * 3_600)
        .find(|second| breaker.may_start(&policy(), at(*second)) == Admission::Probe)
        .expect("a probe is due within an hour");
    attempt(&mut breaker, true, second);
    assert_eq!(breaker.may_start(&policy(), at(second)), Admission::All);
    assert_eq!(breaker, Breaker::default(), "nothing is left of the bad time");
}

#[test]
fn pauses_grow_to_an_hour() {
    let mut breaker = opened();
    let (mut now, mut minutes) = (0, Vec::new());
    for _ in 0..8 {
        let BreakerState::Open { until } = breaker.state(&policy(), at(now)) else { panic!("{breaker:?} is not open") };
        let pause = until.since(at(now)).as_secs();
        minutes.push(pause / MINUTE);
        now += pause;
        attempt(&mut breaker, false, now);
    }
    assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn half_open_lets_one_through() {
    let mut breaker = opened();
    assert_eq!(breaker.state(&policy(), at(60)), BreakerState::HalfOpen { probing: false });
    assert_eq!(breaker.may_start(&policy(), at(60)), Admission::Probe);
    breaker.started(&policy(), at(61));
    assert_eq!(breaker.state(&policy(), at(61)), BreakerState::HalfOpen { probing: true });
    assert_eq!(breaker.may_start(&policy(), at(61)), Admission::Refused { until: at(61 + 3_600) });
}

#[test]
fn an_abandoned_probe_makes_room_for_another() {
    let mut breaker = opened();
    breaker.started(&policy(), at(60));
    breaker.abandoned(at(59));
    assert_eq!(breaker.state(&policy(), at(61)), BreakerState::HalfOpen { probing: true }, "that was another attempt");
    breaker.abandoned(at(60));
    assert_eq!(breaker.may_start(&policy(), at(61)), Admission::Probe);
    breaker.started(&policy(), at(62));
    breaker.ended(&policy(), false, at(62), at(63));
    assert_eq!(breaker.state(&policy(), at(63)), BreakerState::Open { until: at(63 + 120) }, "it did not lengthen");
}

#[test]
fn a_probe_that_is_never_heard_of_again_is_given_up() {
    let mut breaker = opened();
    breaker.started(&policy(), at(60));
    assert!(matches!(breaker.may_start(&policy(), at(60 + 3_599)), Admission::Refused { .. }));
    assert_eq!(breaker.may_start(&policy(), at(60 + 3_600)), Admission::Probe);
}

#[test]
fn late_failures_count_nothing() {
    let mut breaker = opened();
    let before = breaker.clone();
    breaker.ended(&policy(), false, at(0), at(30));
    assert_eq!(breaker, before, "while open");
    breaker.started(&policy(), at(60));
    let before = breaker.clone();
    breaker.ended(&policy(), false, at(0), at(61));
    assert_eq!(breaker, before, "while half-open");
}

#[test]
fn a_late_success_restores_the_rate() {
    for probing in [false, true] {
        let mut breaker = opened();
        if probing {
            breaker.started(&policy(), at(60));
        }
        breaker.ended(&policy(), true, at(0), at(61));
        assert_eq!(breaker, Breaker::default());
        breaker.ended(&policy(), false, at(60), at(62));
        assert_eq!(
            breaker.state(&policy(), at(62)),
            BreakerState::Closed,
            "the old probe is an attempt like any other"
        );
    }
}

#[test]
fn what_starts_while_it_is_open_is_no_probe() {
    let mut breaker = opened();
    breaker.started(&policy(), at(30));
    breaker.ended(&policy(), false, at(30), at(70));
    assert_eq!(breaker.may_start(&policy(), at(70)), Admission::Probe);
}

#[test]
fn a_clock_that_was_set_back_blocks_for_two_pauses_at_most() {
    let mut breaker = opened();
    assert!(matches!(breaker.may_start(&policy(), Timestamp(at(0).0 - 1)), Admission::Refused { .. }), "a little");
    let yesterday = Timestamp(at(0).0 - 86_400_000_000);
    assert_eq!(breaker.may_start(&policy(), yesterday), Admission::Probe);

    breaker.started(&policy(), at(60));
    assert_eq!(breaker.may_start(&policy(), yesterday), Admission::Probe, "the probe started in the future");
}

#[test]
fn it_is_small_and_survives_storing() {
    let mut breaker = opened();
    breaker.started(&policy(), at(60));
    let kept = PluginBreaker { tenant: TenantId::DEFAULT, plugin: PluginName::new("mailer").expect("a name"), breaker };
    let bytes = backroom::stored::encode(&kept);
    assert!(bytes.len() <= 48, "{} bytes", bytes.len());
    assert_eq!(backroom::stored::decode(&bytes), Ok(kept));
}

proptest! {
    #[test]
    fn any_life_keeps_the_promises(
        steps in proptest::collection::vec((0_u8..5, 0_u64..5_000, any::<bool>()), 0..300),
        window in 0_u32..200, failed_percent in 0_u32..150, least_failures in 0_u32..80,
        first in 0_u64..10_000, longest in 0_u64..10_000,
    ) {
        let policy = BreakerPolicy {
            window, failed_percent, least_failures, first_pause: seconds(first), longest_pause: seconds(longest),
        };
        let (mut breaker, mut now, mut started): (_, _, Vec<Timestamp>) = (Breaker::default(), CREATED, Vec::new());
        for (step, wait, succeeded) in steps {
            now = now.after(seconds(wait));
            match step {
                0 | 1 => if !matches!(breaker.may_start(&policy, now), Admission::Refused { .. }) {
                    let was_probe = breaker.may_start(&policy, now) == Admission::Probe;
                    breaker.started(&policy, now);
                    started.push(now);
                    let now_refused = matches!(breaker.may_start(&policy, now), Admission::Refused { .. });
                    prop_assert!(!was_probe || now_refused || longest == 0, "one probe at a time");
                },
                2 | 3 => if let Some(started_on) = started.pop() {
                    let was_degraded = breaker.is_degraded();
                    breaker.ended(&policy, succeeded, started_on, now);
                    prop_assert!(!(was_degraded && succeeded && breaker.is_degraded()), "one success closes");
                },
                _ => if let Some(started_on) = started.pop() { breaker.abandoned(started_on) },
            }
            if let Admission::Refused { until } = breaker.may_start(&policy, now) {
                prop_assert!(until > now && until.since(now) <= policy.longest_pause);
                let is_refused_then = matches!(breaker.may_start(&policy, until), Admission::Refused { .. });
                prop_assert!(!is_refused_then, "what was promised holds");
            }
            prop_assert_eq!(breaker.is_degraded(), breaker.state(&policy, now) != BreakerState::Closed);
        }
    }

    #[test]
    fn rare_failures_never_open_it(period in 2_usize..20, ends in 0_usize..1_000) {
        let mut breaker = Breaker::default();
        for i in 0..ends {
            breaker.ended(&policy(), i % period != 0, CREATED, CREATED);
            prop_assert!(!breaker.is_degraded());
        }
    }
}

#[test]
fn a_pause_has_a_limit_even_where_the_first_is_longer() {
    let policy = BreakerPolicy { first_pause: Duration::MAX, ..policy() };
    let mut breaker = Breaker::default();
    for _ in 0..20 {
        breaker.ended(&policy, false, at(0), at(0));
    }
    assert_eq!(breaker.state(&policy, at(0)), BreakerState::Open { until: at(3_600) });
}
