//! Rate limits: their text, and how many may start when.

use std::time::Duration;

use backroom::domain::rate::{Bucket, InvalidRate, RateLimit};
use backroom::domain::time::Timestamp;
use proptest::prelude::*;

use crate::fixtures::{CREATED, at};

fn limit(text: &str) -> RateLimit {
    text.parse().expect("a good rate")
}

/// Takes as many as may start at once.
fn drain(bucket: &mut Bucket, limit: &RateLimit, now: Timestamp) -> u32 {
    let mut taken = 0;
    while bucket.next(limit, now).is_ok() {
        bucket.take(limit, now);
        taken += 1;
    }
    taken
}

#[test]
fn texts_are_read_and_written() {
    let cases = [
        ("100/s", 100, 1_000, 10, "100/s"),
        ("10/min", 10, 60_000, 1, "10/min"),
        ("5/h", 5, 3_600_000, 1, "5/h"),
        ("1/d", 1, 86_400_000, 1, "1/d"),
        ("100/s burst 20", 100, 1_000, 20, "100/s burst 20"),
        ("  100/1s \t burst  020 ", 100, 1_000, 20, "100/s burst 20"),
        ("100/s burst 10", 100, 1_000, 10, "100/s"),
        ("1/24h", 1, 86_400_000, 1, "1/d"),
        ("3/90min", 3, 5_400_000, 1, "3/90min"),
        ("1000/1500ms", 1_000, 1_500, 66, "1000/1500ms"),
        ("50/10ms", 50, 10, 50, "50/10ms"),
        ("1000000/s", 1_000_000, 1_000, 100_000, "1000000/s"),
        ("1/31d", 1, 31 * 86_400_000, 1, "1/31d"),
    ];
    for (text, starts, millis, burst, normal) in cases {
        let read = limit(text);
        let parts = (read.starts(), read.per(), read.burst());
        assert_eq!(parts, (starts, Duration::from_millis(millis), burst), "{text}");
        assert_eq!(read.to_string(), normal, "{text}");
    }
}

#[test]
fn wrong_texts_say_what_is_wrong() {
    let own = str::to_owned;
    let cases = [
        ("", InvalidRate::Form(own(""))),
        ("100", InvalidRate::Form(own("100"))),
        ("100 / s", InvalidRate::Form(own("100 / s"))),
        ("100/s burst", InvalidRate::Form(own("100/s burst"))),
        ("100/s bursts 5", InvalidRate::Form(own("100/s bursts 5"))),
        ("100/s burst 5 more", InvalidRate::Form(own("100/s burst 5 more"))),
        ("/s", InvalidRate::Starts(own(""))),
        ("0/s", InvalidRate::Starts(own("0"))),
        ("-1/s", InvalidRate::Starts(own("-1"))),
        ("+1/s", InvalidRate::Starts(own("+1"))),
        ("1.5/s", InvalidRate::Starts(own("1.5"))),
        ("4294967296/s", InvalidRate::Starts(own("4294967296"))),
        ("1/", InvalidRate::Period(own(""))),
        ("1/5", InvalidRate::Period(own("5"))),
        ("1/m", InvalidRate::Period(own("m"))),
        ("1/S", InvalidRate::Period(own("S"))),
        ("1/s/s", InvalidRate::Period(own("s/s"))),
        ("1/99999999999s", InvalidRate::Period(own("99999999999s"))),
        ("1/0s", InvalidRate::PeriodRange(Duration::ZERO)),
        ("1/32d", InvalidRate::PeriodRange(Duration::from_secs(32 * 86_400))),
        ("1000001/s", InvalidRate::TooFast { starts: 1_000_001, per: Duration::from_secs(1) }),
        ("1/s burst 0", InvalidRate::Burst(own("0"))),
        ("1/s burst x", InvalidRate::Burst(own("x"))),
        ("1/s burst 1000001", InvalidRate::Burst(own("1000001"))),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<RateLimit>(), Err(error), "{text}");
    }
    assert!("ä".repeat(10_000).parse::<RateLimit>().expect_err("no rate").to_string().len() < 300);
    let message = "5/m".parse::<RateLimit>().expect_err("no unit").to_string();
    assert_eq!(
        message,
        "`m` is not a period: it must be ms, s, min, h or d, with a whole number before it if it is not one"
    );
    assert!(RateLimit::new(1, Duration::from_micros(1_500)).is_err(), "no whole milliseconds");
}

#[test]
fn settings_hold_it_as_text() {
    let read: RateLimit = "6/min burst 3".parse().expect("a good rate");
    assert_eq!(read.to_string(), "6/min burst 3");
    let error = "6/fortnight".parse::<RateLimit>().expect_err("no unit").to_string();
    assert!(error.contains("`fortnight` is not a period"), "{error}");
}

#[test]
fn a_burst_then_one_by_one() {
    let (limit, mut bucket) = (limit("1/s burst 3"), Bucket::default());
    assert_eq!(drain(&mut bucket, &limit, at(0)), 3);
    assert_eq!(bucket.next(&limit, at(0)), Err(at(1)));
    assert_eq!(drain(&mut bucket, &limit, at(1)), 1);
    assert_eq!(drain(&mut bucket, &limit, at(3)), 2);
    assert_eq!(drain(&mut bucket, &limit, at(1_000)), 3, "no more than the burst is saved up");
}

#[test]
fn without_a_burst_no_period_has_more_starts_than_the_limit() {
    let (limit, mut bucket) = (limit("7/min"), Bucket::default());
    let starts: Vec<u64> = (0..600).filter(|second| drain(&mut bucket, &limit, at(*second)) == 1).collect();
    for from in 0..540 {
        assert!(starts.iter().filter(|start| (from..from + 60).contains(*start)).count() <= 7);
    }
}

#[test]
fn what_did_not_start_is_given_back() {
    let (limit, mut bucket) = (limit("1/h"), Bucket::default());
    bucket.take(&limit, at(0));
    assert_eq!(bucket.next(&limit, at(1)), Err(at(3_600)));
    bucket.untake(&limit, at(0));
    assert_eq!(bucket.next(&limit, at(1)), Ok(()));
    bucket.untake(&limit, at(0));
    assert_eq!(drain(&mut bucket, &limit, at(10)), 1, "nothing is gained by giving back too much");
}

#[test]
fn what_time_has_given_back_already_is_not_given_back_again() {
    let (limit, mut bucket) = (limit("6/min"), Bucket::default());
    bucket.take(&limit, at(0));
    assert_eq!(drain(&mut bucket, &limit, at(1_000)), 1);
    bucket.untake(&limit, at(0));
    assert_eq!(bucket.next(&limit, at(1_000)), Err(at(1_010)));
}

#[test]
fn taking_without_asking_empties_it_and_no_more() {
    let (limit, mut bucket) = (limit("1/s burst 5"), Bucket::default());
    for _ in 0..1_000 {
        bucket.take(&limit, at(0));
    }
    assert_eq!(bucket.next(&limit, at(0)), Err(at(1)));
}

#[test]
fn a_clock_set_back_a_little_gives_nothing_away() {
    let (limit, mut bucket) = (limit("1/min burst 2"), Bucket::default());
    assert_eq!(drain(&mut bucket, &limit, at(100)), 2);
    assert_eq!(bucket.next(&limit, at(99)), Err(at(160)));
    bucket.take(&limit, at(99));
    assert_eq!(bucket.next(&limit, at(100)), Err(at(160)));
}

#[test]
fn a_clock_set_back_does_not_block_for_ever() {
    let (limit, mut bucket) = (limit("10/s burst 5"), Bucket::default());
    drain(&mut bucket, &limit, at(1_000_000));
    assert_eq!(drain(&mut bucket, &limit, at(0)), 1, "not the whole burst again");
    assert_eq!(drain(&mut bucket, &limit, at(10)), 5, "and from there on as usual");
}

#[test]
fn a_raised_limit_holds_at_once() {
    let mut bucket = Bucket::default();
    bucket.take(&limit("1/d"), at(0));
    assert_eq!(bucket.next(&limit("100/s"), at(1)), Ok(()));
}

#[test]
fn the_full_rate_is_reached() {
    for text in ["3/s", "999/s burst 1", "7/min", "1000000/s", "100/s burst 20", "11/h"] {
        let (limit, mut bucket, mut now) = (limit(text), Bucket::default(), CREATED);
        drain(&mut bucket, &limit, now);
        let count = 10_000_u32;
        for _ in 0..count {
            now = bucket.next(&limit, now).expect_err("it is empty");
            bucket.take(&limit, now);
        }
        let ideal = limit.per().as_secs_f64() / f64::from(limit.starts()) * f64::from(count);
        let real = now.since(CREATED).as_secs_f64();
        assert!(real >= ideal - 1e-6 && real <= ideal * 1.001 + 1e-6, "{text}: {real} s for {ideal} s");
    }
}

#[test]
fn the_ends_of_time_are_survived() {
    for micros in [i64::MIN, -1, 0, i64::MAX] {
        let (limit, mut bucket) = (limit("1/31d burst 1000000"), Bucket::default());
        bucket.take(&limit, Timestamp(micros));
        bucket.untake(&limit, Timestamp(micros));
        for other in [i64::MIN, 0, i64::MAX] {
            let _ = bucket.next(&limit, Timestamp(other));
            bucket.take(&limit, Timestamp(other));
        }
    }
}

fn any_limit() -> impl Strategy<Value = RateLimit> {
    (1_u32..2_000, 1_u64..100_000, proptest::option::of(1_u32..50)).prop_filter_map(
        "too fast",
        |(starts, per, burst)| {
            let limit = RateLimit::new(starts, Duration::from_millis(per)).ok()?;
            burst.map_or(Some(limit), |burst| limit.with_burst(burst).ok())
        },
    )
}

proptest! {
    #[test]
    fn text_reads_back_as_the_same(limit in any_limit()) {
        prop_assert_eq!(limit.to_string().parse::<RateLimit>(), Ok(limit));
    }

    #[test]
    fn no_period_has_more_than_the_starts_and_the_burst(
        limit in any_limit(), waits in proptest::collection::vec(0.0_f64..3.0, 1..400)
    ) {
        let (mut bucket, mut now, mut starts) = (Bucket::default(), CREATED, Vec::new());
        let interval = limit.per().as_secs_f64() / f64::from(limit.starts());
        for wait in waits {
            now = now.after(Duration::from_secs_f64(wait * wait * interval));
            starts.extend((0..drain(&mut bucket, &limit, now)).map(|_| now));
            prop_assert!(bucket.next(&limit, now).expect_err("it is empty") > now);
        }
        let most = (limit.starts() + limit.burst()) as usize;
        for (i, first) in starts.iter().enumerate() {
            let within = starts[i..].iter().take_while(|start| start.since(*first) <= limit.per()).count();
            prop_assert!(within <= most, "{within} starts in one period, at most {most} are right");
        }
    }

    #[test]
    fn the_promised_time_holds(limit in any_limit(), micros in 0_u64..1_000_000) {
        let mut bucket = Bucket::default();
        let now = CREATED.after(Duration::from_micros(micros));
        prop_assert_eq!(drain(&mut bucket, &limit, now), limit.burst());
        let next = bucket.next(&limit, now).expect_err("it is empty");
        prop_assert_eq!(bucket.next(&limit, next), Ok(()));
        prop_assert_eq!(bucket.next(&limit, Timestamp(next.0 - 1)), Err(next));
    }

    #[test]
    fn nobody_waits_for_ever_whatever_the_clock_does(
        limit in any_limit(), times in proptest::collection::vec(0_i64..100_000_000_000, 1..60)
    ) {
        let mut bucket = Bucket::default();
        let interval = limit.per() / limit.starts();
        for micros in times {
            let now = Timestamp(micros);
            if let Err(until) = bucket.next(&limit, now) {
                prop_assert!(until.since(now) <= limit.per() + interval + Duration::from_micros(2));
            } else {
                bucket.take(&limit, now);
            }
        }
    }
}
