//! Recurrence rules (domain.md 4.2; F029, F030, F031): the vectors, time zones, and what is refused.

use std::time::Duration;

use backroom::domain::schedule::{Recurrence, RuleError, Start};
use backroom::domain::time::Timestamp;
use proptest::prelude::*;

pub(crate) const NONE: &[&str] = &[];

pub(crate) fn time(text: &str) -> Timestamp {
    let text = if text.contains('Z') { text.to_owned() } else { format!("{text}Z") };
    text.parse().expect("an instant")
}

pub(crate) fn recurrence(rule: &str, start: &str, tz: Option<&str>) -> Recurrence {
    Recurrence::parse(rule, Start::Text(start), tz, NONE).expect("a good rule")
}

fn first(recurrence: &Recurrence, count: usize) -> Vec<String> {
    recurrence.from(recurrence.start()).take(count).map(|at| at.to_string().replace(".000Z", "")).collect()
}

fn refused(rule: &str) -> RuleError {
    Recurrence::parse(rule, Start::Text("2026-01-01T00:00"), Some("Europe/Berlin"), NONE).expect_err(rule)
}

/// Fills `given` up from the left with what it leaves out of `start`: `02:00` is of the same day, `04-10` of the year.
fn whole(given: &str, before: &str) -> String {
    let given = if given.contains(':') || given.contains('T') {
        given.to_owned()
    } else {
        format!("{given}T{}", &before[11..16])
    };
    let given = if given.len() == 21 { given } else { given.trim_end_matches(":00:00").to_owned() };
    let missing = 16 - given.len();
    format!("{}{given}:00", &before[..missing])
}

/// Rule, DTSTART, zone, first occurrences in UTC; parts that are left out are those of the one before.
const VECTORS: &[(&str, &str, &str, &str)] = &[
    ("FREQ=HOURLY", "2026-01-01T22:30", "UTC", "22:30, 23:30, 01-02T00:30, 01:30"),
    ("FREQ=DAILY;INTERVAL=3", "2026-02-26T04:00", "UTC", "02-26, 03-01, 03-04, 03-07"),
    ("FREQ=MONTHLY", "2026-01-31T02:00", "UTC", "01-31, 03-31, 05-31, 07-31, 08-31"),
    ("FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-31T02:00", "UTC", "01-31, 02-28, 03-31, 04-30"),
    ("FREQ=YEARLY", "2024-02-29T00:00", "UTC", "2024-02-29, 2028-02-29, 2032-02-29"),
    (
        "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
        "1997-08-05T09:00",
        "UTC",
        "08-05, 08-10, 08-19, 08-24, end",
    ),
    (
        "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
        "1997-08-05T09:00",
        "UTC",
        "08-05, 08-17, 08-19, 08-31, end",
    ),
    ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2026-01-01T18:00", "UTC", "01-30, 02-27, 03-31, 04-30, 05-29"),
    ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "2026-01-01T00:00", "UTC", "02-13, 03-13, 11-13, 2027-08-13"),
    ("FREQ=MONTHLY;BYDAY=2TU;COUNT=3", "2026-01-01T03:00", "UTC", "01-13, 02-10, 03-10, end"),
    ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "1997-05-12T09:00", "UTC", "1997-05-12, 1998-05-11, 1999-05-17"),
    (
        "FREQ=YEARLY;INTERVAL=3;COUNT=5;BYYEARDAY=1,100,200",
        "1997-01-01T09:00",
        "UTC",
        "1997-01-01, 04-10, 07-19, 2000-01-01, 2000-04-09, end",
    ),
    ("FREQ=MINUTELY;INTERVAL=90;COUNT=4", "1997-09-02T09:00", "UTC", "09:00, 10:30, 12:00, 13:30, end"),
    ("FREQ=DAILY", "2026-03-06T02:30", "America/New_York", "2026-03-06T07:30, 03-07T07:30, 03-08T07:30, 03-09T06:30"),
    ("FREQ=DAILY", "2026-10-31T01:30", "America/New_York", "2026-10-31T05:30, 11-01T05:30, 11-02T06:30"),
];

#[test]
fn f031_every_vector_of_the_specification_holds() {
    for (rule, start, zone, expected) in VECTORS {
        let recurrence = recurrence(rule, start, Some(zone));
        let mut before = format!("{start}:00");
        let mut all = Vec::new();
        for given in expected.split(", ").filter(|given| *given != "end") {
            before = whole(given, &before);
            all.push(before.clone());
        }
        let ends = expected.ends_with("end");
        assert_eq!(first(&recurrence, all.len() + usize::from(ends)), all, "{rule} from {start} in {zone}");
    }
}

#[test]
fn f031_rules_over_all_parts_agree_with_an_independent_library() {
    let rows: Vec<_> = include_str!("recurrences.csv").lines().filter(|line| !line.starts_with('#')).collect();
    assert!(rows.len() >= 150);
    for row in rows {
        let (rule, rest) = row[1..].split_once("\",").expect("a quoted rule");
        let [start, is_whole, times] = rest.split(',').collect::<Vec<_>>().try_into().expect("three more columns");
        let expected: Vec<_> = times.split(' ').collect();
        let recurrence = recurrence(rule, start, None);
        let found = first(&recurrence, expected.len() + usize::from(is_whole == "yes"));
        assert_eq!(found, expected, "{rule} from {start}");
        for pair in expected.windows(2) {
            assert_eq!(recurrence.after(time(pair[0])), Some(time(pair[1])), "{rule} after {}", pair[0]);
        }
    }
}

#[test]
fn f029_the_documented_patterns_yield_their_first_ten_runs() {
    let hours = |step: i64| (0..10).map(move |n| n * step).collect::<Vec<_>>();
    let patterns = [
        ("FREQ=HOURLY;", hours(1)),
        ("FREQ=HOURLY;INTERVAL=6;", hours(6)),
        ("FREQ=DAILY;INTERVAL=3;", hours(72)),
        ("FREQ=WEEKLY;", hours(168)),
        ("FREQ=MONTHLY;", [0, 31, 59, 90, 120, 151, 181, 212, 243, 273].map(|day| day * 24).to_vec()),
    ];
    for (rule, expected) in patterns {
        let recurrence = recurrence(rule, "2026-01-15T04:00", None);
        let start = recurrence.start();
        let found: Vec<_> = recurrence.from(start).take(10).map(|at| (at.0 - start.0) / 3_600_000_000).collect();
        assert_eq!(found, expected, "{rule}");
        assert_eq!(recurrence.rule_text(), rule.trim_end_matches(';'), "normalised");
    }
}

#[test]
fn f029_text_is_normalised() {
    let text = |rule: &str| recurrence(rule, "2026-01-01T00:00", None).rule_text();
    assert_eq!(
        text(" rrule:byday=+2tu,mo,MO;freq=Monthly;interval=1;wkst=mo;count=03; "),
        "FREQ=MONTHLY;COUNT=3;BYDAY=MO,2TU"
    );
    assert_eq!(
        text("FREQ=DAILY; BYHOUR=20, 8;UNTIL=2026-05-01T00:00:00+02:00"),
        "FREQ=DAILY;UNTIL=20260430T220000Z;BYHOUR=8,20"
    );
    assert_eq!(text("RRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY\n"), "RRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY");
}

#[test]
fn f030_an_empty_rule_is_once_at_the_start() {
    for rule in ["", " ", ";"] {
        let once = recurrence(rule, "2026-01-01T02:00", Some("Europe/Berlin"));
        assert!(once.is_once());
        assert_eq!(once.rule_text(), "");
        assert_eq!(first(&once, 3), ["2026-01-01T01:00:00"]);
        assert_eq!(once.after(once.start()), None);
    }
}

#[test]
fn f030_a_start_of_now_is_due_now() {
    let now = time("2026-11-01T06:30:00.25");
    // In New York the clock shows 01:30 for the second time that night.
    let once = Recurrence::parse("", Start::At(now), Some("America/New_York"), NONE).expect("a good rule");
    assert_eq!(once.first_from(now), Ok(time("2026-11-01T06:30:00")));
    assert_eq!(once.to_string().parse(), Ok(once));
}

#[test]
fn f031_skipped_and_repeated_times_come_once_and_in_order() {
    let hourly = recurrence("FREQ=HOURLY", "2026-03-08T00:30", Some("America/New_York"));
    let expected = ["05:30", "06:30", "07:30", "08:30"].map(|time| format!("2026-03-08T{time}:00"));
    assert_eq!(first(&hourly, 4), expected, "02:30 and 03:30 are one instant");
    let minutely = recurrence("FREQ=MINUTELY;INTERVAL=30", "2026-03-08T01:15", Some("America/New_York"));
    let expected = ["06:15", "06:45", "07:15", "07:45", "08:15"].map(|time| format!("2026-03-08T{time}:00"));
    assert_eq!(first(&minutely, 5), expected);
    let daily = recurrence("FREQ=DAILY;BYHOUR=2,3;BYMINUTE=30,10", "2026-03-08T00:00", Some("America/New_York"));
    let expected =
        ["08T07:10", "08T07:30", "09T06:10", "09T06:30", "09T07:10"].map(|time| format!("2026-03-{time}:00"));
    assert_eq!(first(&daily, 5), expected);
    assert_eq!(daily.after(time("2026-03-08T07:15")), Some(time("2026-03-08T07:30")));
    let fold = recurrence("FREQ=HOURLY", "2026-11-01T00:30", Some("America/New_York"));
    let expected = ["04:30", "05:30", "07:30"].map(|time| format!("2026-11-01T{time}:00"));
    assert_eq!(first(&fold, 3), expected, "of 01:30 the first is meant");
    let skipped_day = recurrence("FREQ=DAILY", "2011-12-29T12:00", Some("Pacific/Apia"));
    let expected = ["2011-12-29T22:00:00", "2011-12-30T22:00:00", "2011-12-31T22:00:00"];
    assert_eq!(first(&skipped_day, 3), expected, "the skipped 30th and the 31st are one instant");
}

#[test]
fn f031_sets_are_united_and_exceptions_left_out() {
    let rules = "RRULE:FREQ=DAILY;COUNT=3\nRRULE:FREQ=DAILY;INTERVAL=2;COUNT=3\nRDATE:20260110T000000Z,20260102T000000Z\nEXDATE:20260103T000000Z";
    let set = Recurrence::parse(rules, Start::Text("2026-01-01T00:00"), None, &["2026-01-10"]).expect("a good set");
    assert_eq!(first(&set, 9), ["2026-01-01T00:00:00", "2026-01-02T00:00:00", "2026-01-05T00:00:00"]);
    let hourly =
        Recurrence::parse("FREQ=HOURLY", Start::Text("2026-12-24T22:00"), Some("Europe/Berlin"), &["2026-12-25"]);
    let expected = ["2026-12-24T21:00:00", "2026-12-24T22:00:00", "2026-12-25T23:00:00"];
    assert_eq!(first(&hourly.expect("a good rule"), 3), expected, "a whole day of the clock");
    let local = ["2026-01-02T09:00", "2026-01-03T08:00:00Z", "2026-01-04T03:00[America/New_York]"];
    let daily = Recurrence::parse("FREQ=DAILY", Start::Text("2026-01-01T09:00"), Some("Europe/Berlin"), &local);
    assert_eq!(first(&daily.expect("a good rule"), 2), ["2026-01-01T08:00:00", "2026-01-05T08:00:00"]);
}

#[test]
fn f031_leap_seconds_and_impossible_dates_are_skipped() {
    let leap = recurrence("FREQ=MINUTELY;BYSECOND=59,60", "2026-01-01T00:00", None);
    assert_eq!(first(&leap, 2), ["2026-01-01T00:00:59", "2026-01-01T00:01:59"]);
    for rule in
        ["FREQ=MINUTELY;BYSECOND=60", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=SECONDLY;INTERVAL=2;BYSECOND=1"]
    {
        let never = recurrence(rule, "2026-01-01T00:00", None);
        assert!(matches!(never.first_from(never.start()), Err(RuleError::NoOccurrence { .. })), "{rule}");
    }
    let in_vain = recurrence("FREQ=DAILY", "2090-01-01", None);
    assert!(in_vain.first_from(time("2026-01-01T00:00:00")).is_err(), "not within fifty years");
}

#[test]
fn f031_until_is_included_and_dates_go_with_dates() {
    let until = recurrence("FREQ=DAILY;UNTIL=20260103T080000Z", "2026-01-01T09:00", Some("Europe/Berlin"));
    assert_eq!(first(&until, 9).len(), 3);
    let date = recurrence("FREQ=DAILY;UNTIL=20260103", "2026-01-01", Some("Europe/Berlin"));
    assert_eq!(first(&date, 9).len(), 3);
    assert_eq!(date.to_string(), "DTSTART;VALUE=DATE;TZID=Europe/Berlin:20260101\nRRULE:FREQ=DAILY;UNTIL=20260103");
    let dated = Recurrence::parse("FREQ=DAILY;UNTIL=20260103T000000Z", Start::Text("2026-01-01"), None, NONE);
    assert_eq!(dated.expect_err("a time").part(), "UNTIL");
}

#[test]
fn f031_what_is_wrong_is_named() {
    let cases = [
        ("INTERVAL=2", "FREQ", "FREQ is missing"),
        ("FREQ=FORTNIGHTLY", "FREQ", "`FORTNIGHTLY` is no frequency"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ", "given twice"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL", "`0` is no count"),
        ("FREQ=DAILY;COUNT=-1", "COUNT", "`-1` is no count"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20270101T000000Z", "UNTIL", "leave one of them out"),
        ("FREQ=DAILY;UNTIL=20270101", "UNTIL", "UNTIL needs one"),
        ("FREQ=DAILY;UNTIL=20270101T000000", "UNTIL", "must be in UTC"),
        ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL", "is no date or time"),
        ("FREQ=DAILY;BYMONTH=0", "BYMONTH", "`0` is no month"),
        ("FREQ=YEARLY;BYWEEKNO=54", "BYWEEKNO", "`54` is no week"),
        ("FREQ=MONTHLY;BYWEEKNO=5", "BYWEEKNO", "FREQ=YEARLY only"),
        ("FREQ=YEARLY;BYYEARDAY=0", "BYYEARDAY", "`0` is no day of a year"),
        ("FREQ=MONTHLY;BYYEARDAY=5", "BYYEARDAY", "does not go with"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY", "`32` is no day of a month"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY", "does not go with FREQ=WEEKLY"),
        ("FREQ=MONTHLY;BYDAY=2XX", "BYDAY", "`2XX` is no weekday; use MO, TU, WE, TH, FR, SA or SU, with an ordinal"),
        ("FREQ=MONTHLY;BYDAY=0MO", "BYDAY", "`0MO` is no weekday"),
        ("FREQ=WEEKLY;BYDAY=2TU", "BYDAY", "FREQ=MONTHLY or FREQ=YEARLY only"),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=1MO", "BYDAY", "BYWEEKNO"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR", "`24` is no hour"),
        ("FREQ=DAILY;BYMINUTE=60", "BYMINUTE", "`60` is no minute"),
        ("FREQ=DAILY;BYSECOND=61", "BYSECOND", "`61` is no second"),
        ("FREQ=DAILY;BYSETPOS=1", "BYSETPOS", "another BY part"),
        ("FREQ=DAILY;WKST=MON", "WKST", "`MON` is no weekday"),
        ("FREQ=DAILY;BYEASTER=1", "BYEASTER", "is no part of a rule"),
        ("FREQ=DAILY;;", "", "NAME=VALUE"),
        ("FREQ=SECONDLY;COUNT=4000000000", "COUNT", "end the rule by UNTIL"),
        ("DTSTART:20260101T000000Z\nFREQ=DAILY", "DTSTART", "given by itself"),
        ("EXDATE:yesterday\nFREQ=DAILY", "EXDATE", "is no date or time"),
    ];
    for (rule, part, says) in cases {
        let error = refused(rule);
        assert!(error.to_string().contains(says), "{rule}: {error}");
        assert_eq!(error.part(), part, "{rule}: {error}");
    }
    let long = refused(&format!("FREQ={}", "X".repeat(4_000)));
    assert!(long.to_string().len() < 300, "{long}");
    assert!(matches!(refused(&"FREQ=DAILY;".repeat(1_000)), RuleError::TooMany { .. }));
    let of_zone = Recurrence::parse("FREQ=DAILY", Start::Text("2026-01-01"), Some("Mars/Olympus"), NONE);
    assert_eq!(of_zone.expect_err("no zone").part(), "the time zone");
    let of_start = Recurrence::parse("FREQ=DAILY", Start::Text("soon"), None, NONE);
    assert_eq!(of_start.expect_err("no start").part(), "DTSTART");
}

#[test]
fn rules_go_on_to_the_end_of_9999_and_no_farther() {
    let seconds = recurrence("FREQ=SECONDLY", "9999-12-31T23:59:58Z", None);
    assert_eq!(first(&seconds, 5), ["9999-12-31T23:59:58", "9999-12-31T23:59:59"]);
    let zones =
        [None, Some("Europe/Berlin"), Some("America/New_York"), Some("Pacific/Kiritimati"), Some("Pacific/Niue")];
    let rules =
        ["SECONDLY", "MINUTELY;UNTIL=99991231T235959Z", "HOURLY", "DAILY", "WEEKLY", "MONTHLY;BYMONTHDAY=-1", "YEARLY"];
    for (tz, rule) in zones.into_iter().flat_map(|tz| rules.map(|rule| (tz, format!("FREQ={rule}")))) {
        for start in ["9999-12-31T23:58:58Z", "9999-12-30T22:00:00Z", "9999-11-30T12:00:00Z"] {
            let what = format!("{rule} from {start} in {tz:?}");
            let recurrence = Recurrence::parse(&rule, Start::Text(start), tz, &["9999-12-31T23:59:59Z"]).expect(&what);
            let late = recurrence.from(time("9999-12-31T23:58:00Z")).collect::<Vec<_>>();
            assert!(late.len() <= 120 && late.is_sorted_by(|one, next| one < next), "{what}: {late:?}");
            assert!(late.iter().all(|at| *at <= Timestamp::LAST), "{what}: {late:?}");
            let last = late.last().copied().unwrap_or(Timestamp::LAST);
            assert_eq!((recurrence.after(last), recurrence.after(Timestamp::LAST)), (None, None), "{what}");
            assert!(late.iter().all(|at| !recurrence.on_clock(*at).is_empty()), "{what}");
        }
    }
    let once = recurrence("", "9999-12-31T23:59:59Z", Some("Europe/Berlin"));
    assert_eq!(first(&once, 5), ["9999-12-31T23:59:59"]);
    for start in ["10000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "0000-12-31T23:59:59Z"] {
        let error = Recurrence::parse("FREQ=DAILY", Start::Text(start), None, NONE).expect_err(start);
        assert!(error.to_string().contains("9999-12-31T23:59:59Z"), "{error}");
    }
}

#[test]
fn rules_that_have_ended_are_not_walked_again_for_each_day_that_is_left_out() {
    // Nine rules that look at thirty years of days in vain, beside one that is left out for a thousand days in a row.
    let rare = |interval: u32| {
        let times = "BYHOUR=1;BYMINUTE=0;BYSECOND=0;BYMONTHDAY=13;BYDAY=FR";
        format!("RRULE:FREQ=SECONDLY;INTERVAL={interval};UNTIL=20560101T000000Z;{times}\n")
    };
    let rares: String = [86_399, 86_393, 86_387, 86_381, 86_377, 86_371, 86_369, 86_363, 86_357].map(rare).concat();
    let start = time("2026-01-01T00:00:00");
    let days: Vec<_> = (0..1_000).map(|day| start.after(Duration::from_secs(86_400 * day)).to_string()).collect();
    let days: Vec<_> = days.iter().map(|day| &day[..10]).collect();
    let rules = format!("{rares}RRULE:FREQ=DAILY");
    let set = Recurrence::parse(&rules, Start::Text("2026-01-01T00:00:01"), None, &days).expect("a good set");
    let first = set.first_from(start).expect("the days end");
    assert_eq!(first, time("2028-09-27T00:00:01"));
    assert_eq!(set.after(first), Some(time("2028-09-28T00:00:01")));
}

#[test]
fn rules_that_find_nothing_for_long_are_refused_by_name() {
    let rare = "FREQ=SECONDLY;INTERVAL=86399;BYHOUR=1;BYMINUTE=0;BYSECOND=0;BYMONTHDAY=13;BYDAY=FR";
    let alone = recurrence(rare, "2026-02-13T01:00", None);
    assert_eq!(alone.first_from(alone.start()).expect_err("its second is out of reach").part(), "FREQ");
    assert_eq!(alone.after(alone.start()), None);
    let beside = recurrence(&format!("RRULE:FREQ=DAILY\nRRULE:{rare}"), "2026-02-13T01:30", None);
    let error = beside.first_from(beside.start()).expect_err("nobody knows what comes first");
    assert!(error.to_string().contains("use a longer FREQ"), "{error}");
    let counted = Recurrence::parse(&format!("{rare};COUNT=3"), Start::Text("2026-02-13T01:00"), None, NONE);
    assert_eq!(counted.expect_err("it cannot be counted").part(), "COUNT");
    // What comes rarely by the calendar is none of these.
    let century = recurrence("FREQ=YEARLY;INTERVAL=100;COUNT=3", "2026-01-01T00:00", None);
    assert_eq!(first(&century, 9).len(), 3);
    assert_eq!(century.first_from(century.start()), Ok(century.start()));
}

#[test]
fn an_old_rule_of_seconds_goes_on() {
    let rule = recurrence("FREQ=SECONDLY;INTERVAL=7", "1970-01-01T00:00", Some("Europe/Berlin"));
    for year in 1971..2071 {
        let t = time(&format!("{year}-06-01T00:00:00"));
        let next = rule.after(t).expect("it goes on");
        assert!(next > t && next.0 - t.0 <= 7_000_000);
    }
}

#[test]
fn a_rule_of_every_second_of_a_year_needs_no_list() {
    let all = |last: u8| (0..=last).map(|value| value.to_string()).collect::<Vec<_>>().join(",");
    let times = format!("BYHOUR={};BYMINUTE={};BYSECOND={}", all(23), all(59), all(59));
    let rule = recurrence(&format!("FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;{times}"), "2026-01-01", None);
    assert_eq!(rule.after(time("2026-12-31T23:59:58")), Some(time("2026-12-31T23:59:59")));
    assert_eq!(rule.after(time("2026-12-31T23:59:59")), Some(time("2027-01-01T00:00:00")));
}

fn numbers(name: &'static str, low: i32, high: i32) -> impl Strategy<Value = Option<String>> {
    let list = proptest::collection::vec(low..=high, 1..4).prop_map(move |mut values| {
        values.iter_mut().filter(|value| **value == 0 && low < 0).for_each(|value| *value = 1);
        format!("{name}={}", values.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
    });
    proptest::option::weighted(0.3, list)
}

/// Rules of any parts that go together.
pub(crate) fn any_rule() -> impl Strategy<Value = String> {
    let frequencies = ["SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"];
    let days = proptest::sample::subsequence(vec!["MO", "TU", "WE", "TH", "FR", "SA", "SU"], 1..4);
    let start =
        (proptest::sample::select(frequencies.to_vec()), 1_u32..100, proptest::option::weighted(0.2, 1_u32..50));
    let of_days = (numbers("BYMONTH", 1, 12), numbers("BYMONTHDAY", -31, 31), proptest::option::weighted(0.3, days));
    let of_times = (numbers("BYHOUR", 0, 23), numbers("BYMINUTE", 0, 59), numbers("BYSECOND", 0, 59));
    let picks = (numbers("BYSETPOS", -3, 3), proptest::sample::select(vec!["MO", "SU", "WE"]));
    (start, of_days, of_times, picks).prop_map(|((frequency, interval, count), of_days, of_times, picks)| {
        let mut parts = vec![format!("FREQ={frequency}"), format!("INTERVAL={interval}"), format!("WKST={}", picks.1)];
        parts.extend(count.map(|count| format!("COUNT={count}")));
        let month_days = of_days.1.filter(|_| frequency != "WEEKLY");
        let by: Vec<_> = [of_days.0, month_days, of_times.0, of_times.1, of_times.2].into_iter().flatten().collect();
        let picks = picks.0.filter(|_| !by.is_empty());
        parts.extend(by);
        parts.extend(of_days.2.map(|days| format!("BYDAY={}", days.join(","))));
        parts.extend(picks);
        parts.join(";")
    })
}

fn any_recurrence() -> impl Strategy<Value = Recurrence> {
    let zones = vec!["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"];
    (any_rule(), 0_i64..1_800_000_000, proptest::sample::select(zones)).prop_map(|(rule, start, zone)| {
        let start = Timestamp(start * 1_000_000);
        Recurrence::parse(&rule, Start::At(start), Some(zone), NONE).expect("a good rule")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn occurrences_strictly_increase_and_after_agrees(rule in any_recurrence(), ahead in 0_i64..400_000_000) {
        let t = Timestamp(rule.start().0 + ahead * 1_000_000);
        let all: Vec<_> = rule.soon_from(t).take(30).collect();
        prop_assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{} yields {:?}", rule, all);
        prop_assert!(all.iter().all(|at| *at >= t));
        for pair in all.windows(2) {
            prop_assert_eq!(rule.after(pair[0]), Some(pair[1]));
            prop_assert_eq!(rule.after(Timestamp(pair[1].0 - 1)), Some(pair[1]));
        }
        if let Some(first) = all.first() {
            prop_assert_eq!(rule.after(Timestamp(t.0 - 1)), Some(*first));
        }
    }

    #[test]
    fn a_jump_finds_what_stepping_finds(rule in any_recurrence(), skipped in 1_usize..200) {
        let stepped: Vec<_> = rule.soon_from(rule.start()).take(skipped + 5).collect();
        if let Some(at) = stepped.get(skipped) {
            let jumped: Vec<_> = rule.soon_from(*at).take(stepped.len() - skipped).collect();
            prop_assert_eq!(&jumped[..], &stepped[skipped..]);
        }
    }

    #[test]
    fn text_comes_back_as_it_was(rule in any_recurrence()) {
        let again = Recurrence::parse(&rule.rule_text(), Start::At(rule.start()), Some(rule.zone()), NONE);
        prop_assert_eq!(again.as_ref(), Ok(&rule));
        prop_assert_eq!(rule.to_string().parse::<Recurrence>(), Ok(rule));
    }

    #[test]
    fn an_exception_never_appears(rule in any_recurrence(), picks in proptest::collection::vec(0_usize..20, 1..6)) {
        let all: Vec<_> = rule.soon_from(rule.start()).take(20).collect();
        let left_out: Vec<_> = picks.iter().filter_map(|pick| all.get(*pick).copied()).collect();
        let texts: Vec<_> = left_out.iter().map(ToString::to_string).collect();
        let start = Start::At(rule.start());
        let less = Recurrence::parse(&rule.rule_text(), start, Some(rule.zone()), &texts).expect("a good rule");
        let expected: Vec<_> = all.iter().copied().filter(|at| !left_out.contains(at)).collect();
        prop_assert_eq!(less.soon_from(less.start()).take(expected.len()).collect::<Vec<_>>(), expected);
        prop_assert_eq!(less.to_string().parse::<Recurrence>(), Ok(less));
    }

    #[test]
    fn no_text_breaks_the_reader(text in any::<String>(), lines in "([A-Z]{0,8}[:=;,][-+0-9A-Z:;=,]{0,12}\n?){0,6}") {
        for text in [text, lines] {
            if let Ok(rule) = Recurrence::parse_any(&text, Start::Text(&text), Some(&text), &[&text]) {
                let _ = rule.after(Timestamp(0));
            }
            if let Ok(rule) = Recurrence::parse_any(&text, Start::At(Timestamp(i64::MAX)), None, NONE) {
                let _ = (rule.after(Timestamp(i64::MAX)), rule.after(Timestamp(i64::MIN)));
            }
            let _ = text.parse::<Recurrence>();
        }
    }
}
