//! Rules and cron texts where the clock of a zone skips or repeats times (domain.md 4.2; F031): what an independent library
//! makes of them, and that it does not matter from when on they are asked.

use backroom::domain::schedule::{Recurrence, Start};
use backroom::domain::time::Timestamp;
use proptest::prelude::*;

use crate::recurrence::{NONE, any_rule, recurrence, time};

fn any(text: &str, start: &str, zone: &str) -> Recurrence {
    Recurrence::parse_any(text, Start::Text(start), Some(zone), NONE).expect(text)
}

fn from(recurrence: &Recurrence, t: &str, count: usize) -> Vec<String> {
    recurrence.from(time(t)).take(count).map(|at| at.to_string().replace(".000Z", "")).collect()
}

/// The rows of a table of vectors: rule, start, zone, whether these are all, and the instants.
fn rows() -> Vec<(String, String, String, bool, Vec<String>)> {
    let rows = include_str!("zones.csv").lines().filter(|line| !line.starts_with('#'));
    let row = |row: &str| {
        let (rule, rest) = row[1..].split_once("\",").expect("a quoted rule");
        let [start, zone, is_whole, times] = rest.split(',').collect::<Vec<_>>().try_into().expect("four more columns");
        let times = times.split(' ').map(str::to_owned).collect();
        (rule.to_owned(), start.to_owned(), zone.to_owned(), is_whole == "yes", times)
    };
    rows.map(row).collect()
}

#[test]
fn f031_rules_and_cron_texts_around_a_change_of_the_clock_agree_with_an_independent_library() {
    let rows = rows();
    assert!(rows.len() >= 150);
    for (rule, start, zone, is_whole, expected) in rows {
        let what = format!("{rule} from {start} in {zone}");
        let recurrence = any(&rule, &start, &zone);
        let found: Vec<_> = recurrence.from(recurrence.start()).take(expected.len() + usize::from(is_whole)).collect();
        let found: Vec<_> = found.iter().map(|at| at.to_string().replace(".000Z", "")).collect();
        assert_eq!(found, expected, "{what}");
        for (index, at) in expected.iter().enumerate() {
            let rest = expected.len() - index;
            assert_eq!(from(&recurrence, at, rest), expected[index..], "{what}: from {at} on");
            let next = recurrence.after(time(at)).map(|next| next.to_string().replace(".000Z", ""));
            if index + 1 < expected.len() || is_whole {
                assert_eq!(next.as_ref(), expected.get(index + 1), "{what}: after {at}");
            }
        }
        assert_eq!(recurrence.to_string().parse::<Recurrence>().expect("its own text"), recurrence, "{what}");
    }
}

#[test]
fn what_is_asked_at_the_instant_of_a_change_does_not_lose_what_the_gap_holds() {
    let nightly = any("0 2 * * *", "2026-01-01", "America/New_York");
    assert_eq!(from(&nightly, "2026-03-08T07:00:00", 1), ["2026-03-08T07:00:00"], "02:00 is skipped");
    let cairo =
        Recurrence::parse_any("30 0 * * *", Start::Text("2026-04-22T00:00"), Some("Africa/Cairo"), &["2026-04-23"]);
    let cairo = cairo.expect("good cron text");
    let shown: Vec<_> = cairo.from(cairo.start()).take(3).map(|at| cairo.on_clock(at)).collect();
    assert_eq!(shown, ["2026-04-22T00:30:00+02:00", "2026-04-24T01:30:00+03:00", "2026-04-25T00:30:00+03:00"]);
    let two = "RRULE:FREQ=DAILY;BYHOUR=1;BYMINUTE=59;BYSECOND=59\nRRULE:FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0";
    let two = recurrence(two, "2026-03-28T00:00", Some("Europe/Berlin"));
    assert_eq!(two.after(time("2026-03-29T00:59:59")), Some(time("2026-03-29T01:30:00")));
}

#[test]
fn cron_texts_with_a_star_run_in_real_time_and_fixed_times_once() {
    let of = |text: &str, start: &str, zone: &str, count| from(&any(text, start, zone), "2026-01-01T00:00:00", count);
    let on = |day: &str, times: &[&str]| times.iter().map(|time| format!("{day}T{time}:00")).collect::<Vec<_>>();
    // The hour from one to two comes twice, from 05:00Z and from 06:00Z on.
    let fold = "2026-11-01T01:00";
    let new_york = "America/New_York";
    let twice = ["05:00", "05:30", "06:00", "06:30", "07:00"];
    assert_eq!(of("*/30 * * * *", fold, new_york, 5), on("2026-11-01", &twice));
    assert_eq!(of("0,30 * * * *", fold, new_york, 5), on("2026-11-01", &twice), "a star in the hour");
    assert_eq!(of("*/30 1 * * *", fold, new_york, 4), on("2026-11-01", &["05:00", "05:30", "06:00", "06:30"]));
    assert_eq!(of("@hourly", fold, new_york, 3), on("2026-11-01", &["05:00", "06:00", "07:00"]));
    assert_eq!(of("0-59/30 0-23 * * *", fold, new_york, 3), on("2026-11-01", &["05:00", "05:30", "07:00"]), "no star");
    assert_eq!(of("30 1 * * *", fold, new_york, 1), ["2026-11-01T05:30:00"]);
    // From two to three is skipped.
    let gap = "2026-03-08T01:30";
    assert_eq!(of("*/30 * * * *", gap, new_york, 3), on("2026-03-08", &["06:30", "07:00", "07:30"]));
    assert_eq!(of("*/30 2 * * *", gap, new_york, 1), ["2026-03-09T06:00:00"], "the clock does not show it");
    assert_eq!(of("30 2 * * *", gap, new_york, 2), ["2026-03-08T07:30:00", "2026-03-09T06:30:00"]);
    assert_eq!(of("30 2,3 * * *", gap, new_york, 2), ["2026-03-08T07:30:00", "2026-03-09T06:30:00"], "once");
    // From 02:00 to 02:30 is skipped, 15:30Z.
    let lord_howe = of("*/20 * * * *", "2026-10-04T01:40", "Australia/Lord_Howe", 3);
    assert_eq!(lord_howe, on("2026-10-03", &["15:10", "15:40", "16:00"]), "01:40, 02:40, 03:00");
}

#[test]
fn count_yields_as_many_as_it_says_over_a_gap() {
    let all = |rule: &str, start: &str, zone: &str| from(&any(rule, start, zone), "2000-01-01T00:00:00", 1_000);
    let hourly = all("FREQ=HOURLY;COUNT=5", "2026-03-08T00:30", "America/New_York");
    assert_eq!(hourly, [5, 6, 7, 8, 9].map(|hour| format!("2026-03-08T0{hour}:30:00")));
    for count in 1..60 {
        let rule = format!("FREQ=MINUTELY;INTERVAL=20;COUNT={count}");
        assert_eq!(all(&rule, "2026-10-03T23:30", "Australia/Lord_Howe").len(), count, "{rule}");
    }
    let over_years = "FREQ=DAILY;BYHOUR=2,3;BYMINUTE=30;COUNT=5000";
    let found = any(over_years, "2020-01-01T00:00", "Europe/Berlin");
    assert_eq!(found.from(found.start()).count(), 5_000);
    let skipped_day = all("FREQ=DAILY;COUNT=4", "2011-12-28T12:00", "Pacific/Apia");
    assert_eq!(skipped_day, [28, 29, 30, 31].map(|day| format!("2011-12-{day}T22:00:00")));
}

#[test]
fn a_rule_does_not_end_because_its_next_time_is_far_off() {
    let far = any("FREQ=YEARLY;INTERVAL=100;COUNT=3", "2026-01-01T00:00", "UTC");
    assert_eq!(from(&far, "2026-01-01T00:00:00", 9), [20, 21, 22].map(|century| format!("{century}26-01-01T00:00:00")));
    let rare = any("FREQ=SECONDLY;INTERVAL=86399;BYHOUR=3;BYMINUTE=7;BYSECOND=9", "2026-01-01T03:07:09", "UTC");
    assert_eq!(rare.after(rare.start()), Some(time("2262-07-22T03:07:09")), "86400 periods later");
    let leap = any("FREQ=DAILY;INTERVAL=1461;BYMONTH=2;BYMONTHDAY=29", "2088-02-29T00:00", "UTC");
    assert_eq!(from(&leap, "2026-01-01T00:00:00", 9).len(), 3, "2100 has none, and the days do not meet again");
    let never = any("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "2026-01-01T00:00", "UTC");
    assert_eq!(never.after(never.start()), None);
}

#[test]
fn a_start_in_a_repeated_hour_is_the_instant_that_was_given() {
    // 01:30 in New York, for the second time.
    let second = "2026-11-01T06:30:00Z";
    let daily = any("FREQ=DAILY;COUNT=2", second, "America/New_York");
    assert_eq!(from(&daily, "2026-10-01T00:00:00", 9), ["2026-11-01T06:30:00", "2026-11-02T06:30:00"]);
    let often = any("FREQ=MINUTELY;INTERVAL=10;COUNT=4", second, "America/New_York");
    let expected = ["06:30", "06:40", "06:50", "07:00"].map(|time| format!("2026-11-01T{time}:00"));
    assert_eq!(from(&often, "2026-10-01T00:00:00", 9), expected, "nothing lies before the start");
}

#[test]
fn a_cron_text_that_starts_near_a_change_of_the_clock_takes_what_comes_after_it() {
    let first = |text: &str, start: &str, zone: &str| from(&any(text, start, zone), "2026-01-01T00:00:00", 1).remove(0);
    // 00:45 is skipped and counts as 05:45Z, whichever instant between the change and that is the start.
    for start in ["2026-03-08T04:59:59Z", "2026-03-08T05:00:00Z", "2026-03-08T05:45:00Z", "2026-03-08T01:00"] {
        assert_eq!(first("45 0 * * *", start, "America/Havana"), "2026-03-08T05:45:00", "from {start}");
    }
    assert_eq!(first("45 0 * * *", "2026-03-08T05:45:01Z", "America/Havana"), "2026-03-09T04:45:00");
    // 02:30 comes twice, from 00:30Z and from 01:30Z on, and is meant the first time.
    for start in ["2026-10-25T00:30:01Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"] {
        assert_eq!(first("30 2 * * *", start, "Europe/Berlin"), "2026-10-26T01:30:00", "from {start}");
    }
}

#[test]
fn a_count_that_the_calendar_cuts_off_is_refused() {
    let far = any("FREQ=YEARLY;INTERVAL=4000;COUNT=3", "2026-01-01T00:00", "UTC");
    let refusal = far.first_from(far.start()).expect_err("6026 is the second and last").to_string();
    assert!(refusal.contains("COUNT") && refusal.contains("9999"), "{refusal}");
    let near = any("FREQ=YEARLY;INTERVAL=4000;COUNT=2", "2026-01-01T00:00", "UTC");
    assert!(near.first_from(near.start()).is_ok());
}

#[test]
fn a_start_that_is_a_day_is_its_midnight() {
    let nine = any("FREQ=DAILY;BYHOUR=9;COUNT=2", "2026-03-28", "Europe/Berlin");
    assert_eq!(from(&nine, "2026-01-01T00:00:00", 9), ["2026-03-28T08:00:00", "2026-03-29T07:00:00"]);
    let until = any("FREQ=DAILY;BYHOUR=0,23;UNTIL=20260329", "2026-03-29", "Europe/Berlin");
    assert_eq!(from(&until, "2026-01-01T00:00:00", 9), ["2026-03-28T23:00:00", "2026-03-29T21:00:00"]);
}

#[test]
fn a_start_that_is_left_out_lies_after_now() {
    let now = time("2026-03-25T10:30:00.25");
    let of = |rule: &str, zone: &str| {
        let rule = Recurrence::parse_any(rule, Start::LeftOut(now), Some(zone), NONE).expect("a good rule");
        rule.from(now).take(4).map(|at| rule.on_clock(at)[..16].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("FREQ=WEEKLY;COUNT=2", "UTC"), ["2026-04-01T10:30", "2026-04-08T10:30"], "two, and the phase of now");
    assert_eq!(of("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH;COUNT=2", "UTC"), ["2026-03-26T10:30", "2026-04-06T10:30"]);
    assert_eq!(of("FREQ=HOURLY;INTERVAL=72;COUNT=2", "Europe/Berlin"), ["2026-03-28T11:30", "2026-03-31T11:30"]);
    assert_eq!(of("FREQ=DAILY;BYHOUR=2;COUNT=1", "Europe/Berlin"), ["2026-03-26T02:30"]);
    assert_eq!(of("30 11 * * *", "Europe/Berlin")[0], "2026-03-26T11:30", "now is not after now");
    assert_eq!(of("", "UTC"), Vec::<String>::new(), "once is at once");
}

#[test]
fn a_zone_with_a_star_leaves_out_both_times_of_an_exception() {
    let start = Start::Text("2026-11-01T01:00");
    let all = Recurrence::parse_any("30 * * * *", start, Some("America/New_York"), &["2026-11-01T01:30"]);
    assert_eq!(from(&all.expect("good cron text"), "2026-11-01T00:00:00", 1), ["2026-11-01T07:30:00"]);
}

/// Rules, and cron texts, near a change of a clock.
fn near_a_change() -> impl Strategy<Value = Recurrence> {
    let changes = [
        ("Europe/Berlin", "2026-03-29T01:00:00"),
        ("Europe/Berlin", "2026-10-25T01:00:00"),
        ("America/New_York", "2026-03-08T07:00:00"),
        ("America/New_York", "2026-11-01T06:00:00"),
        ("Africa/Cairo", "2026-04-23T22:00:00"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00"),
        ("Pacific/Apia", "2011-12-30T10:00:00"),
        ("America/Havana", "2026-11-01T05:00:00"),
        ("Antarctica/Troll", "2026-03-29T01:00:00"),
    ];
    let fields = ("[*0-5]|\\*/(2|7|20)|0,30|0-59", "\\*|[0-3]|\\*/2|1,2,3|0-23", "\\*|1-31|29", "\\*|0-6|[0-6]");
    let cron = fields.prop_map(|(minute, hour, day, weekday)| format!("{minute} {hour} {day} * {weekday}"));
    let rule = prop_oneof![any_rule(), cron];
    (rule, proptest::sample::select(changes.to_vec()), 0_i64..200_000).prop_map(|(rule, (zone, change), before)| {
        let start = Start::At(Timestamp(time(change).0 - before * 1_000_000));
        Recurrence::parse_any(&rule, start, Some(zone), NONE).expect("a good rule")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whoever asks from a later instant is told the rest of what one asking from an earlier one is told.
    #[test]
    fn what_is_asked_from_any_instant_is_the_rest_of_what_comes_from_an_earlier_one(
        rule in near_a_change(),
        later in proptest::collection::vec(0_i64..200_000, 1..8),
    ) {
        let start = rule.start();
        let all: Vec<_> = rule.soon_from(start).take(60).collect();
        prop_assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{} yields {:?}", rule, all);
        let Some(last) = all.last() else { return Ok(()) };
        let between = later.iter().map(|seconds| Timestamp(start.0 + seconds * 1_000_000));
        let around = all.iter().flat_map(|at| [-1, 0, 1].map(|second| Timestamp(at.0 + second * 1_000_000)));
        for t in between.chain(around).filter(|t| t <= last) {
            let rest: Vec<_> = all.iter().copied().filter(|at| *at >= t).collect();
            prop_assert_eq!(rule.soon_from(t).take(rest.len()).collect::<Vec<_>>(), rest, "{} from {}", rule, t);
            let next = all.iter().copied().find(|at| *at > t);
            if next.is_some_and(|next| next.since(t).as_secs() < 1_000_000) {
                prop_assert_eq!(rule.after(t), next, "{} after {}", rule, t);
            }
        }
    }

    /// A cron text that starts later yields the rest of what it yields from an earlier start.
    #[test]
    fn a_cron_text_that_starts_later_yields_the_rest(rule in near_a_change(), later in 0_i64..200_000) {
        prop_assume!(rule.cron().is_some());
        let start = Timestamp(rule.start().0 + later * 1_000_000);
        let all: Vec<_> = rule.soon_from(start).take(40).collect();
        let text = rule.cron().unwrap_or_default();
        let late = Recurrence::from_cron(text, Start::At(start), Some(rule.zone()), NONE).expect("good cron text");
        prop_assert_eq!(late.soon_from(start).take(all.len()).collect::<Vec<_>>(), all, "{}", late);
    }

    /// COUNT is how many there are, and they are the first of those without it.
    #[test]
    fn count_takes_the_first_so_many(rule in near_a_change(), count in 1_usize..60) {
        prop_assume!(rule.cron().is_none() && !rule.rule_text().contains("COUNT"));
        let first: Vec<_> = rule.soon_from(rule.start()).take(count).collect();
        prop_assume!(first.len() == count);
        let text = rule.rule_text().replacen(';', &format!(";COUNT={count};"), 1);
        let text = if text.contains("COUNT") { text } else { format!("{text};COUNT={count}") };
        let counted = Recurrence::parse(&text, Start::At(rule.start()), Some(rule.zone()), NONE).expect("a good rule");
        prop_assert_eq!(counted.soon_from(rule.start()).take(100).collect::<Vec<_>>(), first, "{}", counted);
    }
}
