//! Cron text as input (domain.md 4.2, F031): it becomes rules.

use backroom::domain::schedule::{Recurrence, Start};

use crate::recurrence::time;

const NONE: &[&str] = &[];

fn cron(text: &str) -> Recurrence {
    Recurrence::parse_any(text, Start::Text("2026-01-01T00:00:30"), None, NONE).expect(text)
}

#[test]
fn f031_cron_text_becomes_a_rule() {
    let cases = [
        ("* * * * *", "FREQ=MINUTELY;BYSECOND=0"),
        ("* * * * * *", "FREQ=SECONDLY"),
        ("*/20 * * * * *", "FREQ=MINUTELY;BYSECOND=0,20,40"),
        ("*/15 * * * *", "FREQ=HOURLY;BYMINUTE=0,15,30,45;BYSECOND=0"),
        ("5/20 * * * *", "FREQ=HOURLY;BYMINUTE=5,25,45;BYSECOND=0"),
        ("30 9-17/4 * * mon-Fri", "FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=9,13,17;BYMINUTE=30;BYSECOND=0"),
        ("0 0 1,15 * ?", "FREQ=DAILY;BYMONTHDAY=1,15;BYHOUR=0;BYMINUTE=0;BYSECOND=0"),
        ("0 0 * JAN,7 *", "FREQ=DAILY;BYMONTH=1,7;BYHOUR=0;BYMINUTE=0;BYSECOND=0"),
        ("0 0 * * 5-7", "FREQ=DAILY;BYDAY=FR,SA,SU;BYHOUR=0;BYMINUTE=0;BYSECOND=0"),
        ("0 0 * * FRI-SUN", "FREQ=DAILY;BYDAY=FR,SA,SU;BYHOUR=0;BYMINUTE=0;BYSECOND=0"),
        ("@weekly", "FREQ=DAILY;BYDAY=SU;BYHOUR=0;BYMINUTE=0;BYSECOND=0"),
        ("@Hourly", "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0"),
        ("@yearly", "FREQ=DAILY;BYMONTH=1;BYMONTHDAY=1;BYHOUR=0;BYMINUTE=0;BYSECOND=0"),
        ("0 0 */10 * MON", "FREQ=DAILY;BYMONTHDAY=1,11,21,31;BYDAY=MO;BYHOUR=0;BYMINUTE=0;BYSECOND=0"),
    ];
    for (text, rule) in cases {
        assert_eq!(cron(text).rule_text(), rule, "{text}");
    }
}

#[test]
fn f031_cron_takes_either_the_day_of_the_month_or_the_weekday() {
    let days = |text: &str, count| {
        cron(text)
            .from(time("2026-01-01T00:00:00"))
            .take(count)
            .map(|at| at.to_string()[5..10].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(days("0 12 13 * FRI", 5), ["01-02", "01-09", "01-13", "01-16", "01-23"]);
    assert_eq!(days("0 12 */13 * FRI", 2), ["02-27", "03-27"], "a field with a star narrows");
    for every_day in ["0 12 1-31 * 1", "0 12 15 * 0-6", "0 12 15 * 1-7", "0 12 15 * SUN-SAT", "0 12 1-31 * 0-6"] {
        assert_eq!(days(every_day, 3), ["01-01", "01-02", "01-03"], "{every_day}: what covers its range is no star");
    }
    assert_eq!(days("0 12 1-31 * *", 2), ["01-01", "01-02"]);
    assert_eq!(days("0 12 */1 * FRI", 2), ["01-02", "01-09"], "a star that covers its range is one");
}

#[test]
fn f031_cron_is_expanded_on_the_clock_of_its_zone() {
    let start = Start::Text("2026-03-28T12:00");
    let daily = Recurrence::parse_any("0 9 * * *", start, Some("Europe/Berlin"), NONE).expect("good cron text");
    let found: Vec<_> = daily.from(daily.start()).take(2).collect();
    assert_eq!(found, [time("2026-03-29T07:00:00"), time("2026-03-30T07:00:00")]);
}

#[test]
fn f031_what_is_wrong_with_cron_text_is_named() {
    let cases = [
        ("60 * * * *", "in the cron field minute: `60` is no minute"),
        ("0 24 * * *", "in the cron field hour: `24` is no hour"),
        ("0 0 0 * *", "in the cron field day of month: `0` is no day"),
        ("0 0 L * *", "FREQ=MONTHLY;BYMONTHDAY=-1"),
        ("0 0 * FOO *", "in the cron field month: `FOO` is no month"),
        ("0 0 * * 8", "in the cron field day of week: `8` is no weekday"),
        ("0 0 * * 2#2", "FREQ=MONTHLY;BYDAY=2TU"),
        ("0 0 * * FRI-MON", "`FRI-MON` is no weekday"),
        ("*/0 * * * *", "`*/0` is no minute"),
        ("1,,2 * * * *", "`` is no minute"),
        ("61 * * * * *", "in the cron field second: `61` is no second"),
        ("0 0 * *", "write minute, hour"),
        ("@reboot", "says no time"),
        ("@every 5m", "FREQ=MINUTELY;INTERVAL=5"),
        ("@sometimes", "@daily or @hourly"),
    ];
    for (text, says) in cases {
        let error = Recurrence::parse_any(text, Start::Text("2026-01-01"), None, NONE).expect_err(text);
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
}
