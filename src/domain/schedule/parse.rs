//! Reads the text of one rule: `FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU`.

use std::ops::RangeInclusive;

use super::calendar::{Bits, WEEKDAYS};
use super::error::RuleError;
use super::moment::Moment;
use super::rule::{ByDay, End, Frequency, Rule};

const PARTS: [&str; 14] = [
    "FREQ",
    "INTERVAL",
    "COUNT",
    "UNTIL",
    "BYMONTH",
    "BYWEEKNO",
    "BYYEARDAY",
    "BYMONTHDAY",
    "BYDAY",
    "BYHOUR",
    "BYMINUTE",
    "BYSECOND",
    "BYSETPOS",
    "WKST",
];

/// Reads a rule, in any case of letters, with or without a `;` at its end, and checks what its parts ask of each other.
pub(super) fn rule(text: &str) -> Result<Rule, RuleError> {
    let parts = split(text)?;
    let Some((_, frequency)) = parts.iter().find(|(part, _)| *part == "FREQ") else {
        return Err(RuleError::Missing { part: "FREQ", example: "FREQ=DAILY;INTERVAL=2" });
    };
    let mut rule = Rule::every(read_frequency(frequency)?);
    for (part, value) in parts {
        read_part(&mut rule, part, value)?;
    }
    rule.check()?;
    Ok(rule)
}

/// The parts and their values, each part at most once.
fn split(text: &str) -> Result<Vec<(&'static str, &str)>, RuleError> {
    let mut parts: Vec<(&str, &str)> = Vec::new();
    let text = text.trim();
    for piece in text.strip_suffix(';').unwrap_or(text).split(';') {
        let Some((name, value)) = piece.split_once('=') else {
            return Err(RuleError::unknown(
                piece,
                "is no part of a rule; write NAME=VALUE, as in FREQ=DAILY;INTERVAL=2",
            ));
        };
        let Some(part) = PARTS.into_iter().find(|part| part.eq_ignore_ascii_case(name.trim())) else {
            const WHY: &str = "is no part of a rule; there are FREQ, INTERVAL, COUNT, UNTIL, BYMONTH, BYWEEKNO, \
                BYYEARDAY, BYMONTHDAY, BYDAY, BYHOUR, BYMINUTE, BYSECOND, BYSETPOS and WKST";
            return Err(RuleError::unknown(name, WHY));
        };
        if parts.iter().any(|(earlier, _)| *earlier == part) {
            return Err(RuleError::Twice { part });
        }
        parts.push((part, value.trim()));
    }
    Ok(parts)
}

fn read_part(rule: &mut Rule, part: &'static str, value: &str) -> Result<(), RuleError> {
    match part {
        "INTERVAL" => rule.interval = count(part, value)?,
        "COUNT" => set_end(rule, End::Count(count(part, value)?))?,
        "UNTIL" => set_end(rule, End::Until(until(value)?))?,
        "BYMONTH" => rule.months = bits(part, value, 1..=12, "is no month; use 1 to 12")?,
        "BYWEEKNO" => rule.weeks = numbers(part, value, 53, "is no week; use 1 to 53, or -53 to -1 from the end")?,
        "BYYEARDAY" => {
            rule.year_days =
                numbers(part, value, 366, "is no day of a year; use 1 to 366, or -366 to -1 from the end")?;
        }
        "BYMONTHDAY" => {
            rule.month_days = numbers(part, value, 31, "is no day of a month; use 1 to 31, or -31 to -1 from the end")?;
        }
        "BYDAY" => rule.days = sorted(value.split(',').map(by_day))?,
        "BYHOUR" => rule.hours = bits(part, value, 0..=23, "is no hour; use 0 to 23")?,
        "BYMINUTE" => rule.minutes = bits(part, value, 0..=59, "is no minute; use 0 to 59")?,
        "BYSECOND" => {
            rule.seconds = bits(part, value, 0..=60, "is no second; use 0 to 59 (a leap second 60 is skipped)")?
        }
        "BYSETPOS" => {
            rule.positions = numbers(part, value, 366, "is no position; use 1 to 366, or -366 to -1 from the end")?;
        }
        "WKST" => rule.week_start = weekday(value).ok_or_else(|| RuleError::value(part, value, NO_WEEKDAY))?,
        _ => {}
    }
    Ok(())
}

const NO_WEEKDAY: &str = "is no weekday; use MO, TU, WE, TH, FR, SA or SU";

fn read_frequency(text: &str) -> Result<Frequency, RuleError> {
    const WHY: &str = "is no frequency; use SECONDLY, MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY or YEARLY";
    let found = Frequency::ALL.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, frequency)| frequency).ok_or_else(|| RuleError::value("FREQ", text, WHY))
}

fn set_end(rule: &mut Rule, end: End) -> Result<(), RuleError> {
    if rule.end != End::Never {
        return Err(RuleError::conflict("UNTIL", "a rule ends by COUNT or by UNTIL; leave one of them out"));
    }
    rule.end = end;
    Ok(())
}

fn until(text: &str) -> Result<Moment, RuleError> {
    match Moment::read("UNTIL", text)? {
        (moment, None) => Ok(moment),
        (_, Some(_)) => {
            Err(RuleError::value("UNTIL", text, "has a time zone; write it in UTC, as in 20261231T235959Z"))
        }
    }
}

fn count(part: &'static str, text: &str) -> Result<u32, RuleError> {
    let number = digits(text).and_then(|text| text.parse().ok()).filter(|number| *number > 0);
    number.ok_or_else(|| RuleError::value(part, text, "is no count; use a whole number from 1 to 4294967295"))
}

fn bits(part: &'static str, text: &str, range: RangeInclusive<u8>, why: &'static str) -> Result<Bits, RuleError> {
    text.split(',').map(str::trim).try_fold(Bits::EMPTY, |all, item| {
        let number = digits(item).and_then(|item| item.parse().ok()).filter(|number| range.contains(number));
        number.map(|number| all.with(number)).ok_or_else(|| RuleError::value(part, item, why))
    })
}

/// Numbers from 1 to `max` and from `-max` to -1.
fn numbers(part: &'static str, text: &str, max: i16, why: &'static str) -> Result<Vec<i16>, RuleError> {
    sorted(text.split(',').map(str::trim).map(|item| match signed(item, max) {
        Some((number, "")) => Ok(number),
        _ => Err(RuleError::value(part, item, why)),
    }))
}

fn by_day(item: &str) -> Result<ByDay, RuleError> {
    const WHY: &str = "is no weekday; use MO, TU, WE, TH, FR, SA or SU, with an ordinal such as 2TU or -1FR";
    let item = item.trim();
    let wrong = || RuleError::value("BYDAY", item, WHY);
    if let Some(weekday) = weekday(item) {
        return Ok(ByDay { ordinal: 0, weekday });
    }
    let (ordinal, rest) = signed(item, 53).ok_or_else(wrong)?;
    let weekday = weekday(rest).ok_or_else(wrong)?;
    Ok(ByDay { ordinal: i8::try_from(ordinal).map_err(|_| wrong())?, weekday })
}

/// The number from 1 to `max`, with a sign perhaps, that a text starts with, and the rest.
fn signed(text: &str, max: i16) -> Option<(i16, &str)> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: i16 = digits(&text[..end])?.parse().ok()?;
    (1..=max).contains(&number).then_some((sign * number, &text[end..]))
}

fn digits(text: &str) -> Option<&str> {
    let all_digits = !text.is_empty() && text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then_some(text)
}

pub(super) fn weekday(text: &str) -> Option<u8> {
    (0..).zip(WEEKDAYS).find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(weekday, _)| weekday)
}

fn sorted<T: Ord>(items: impl Iterator<Item = Result<T, RuleError>>) -> Result<Vec<T>, RuleError> {
    let mut items = items.collect::<Result<Vec<T>, RuleError>>()?;
    items.sort_unstable();
    items.dedup();
    Ok(items)
}
