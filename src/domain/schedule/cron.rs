//! Cron text as rules: `*/15 9-17 * * MON-FRI`, six fields with the seconds in front, `@daily`.
//!
//! When the day of the month and the weekday are both given, either is enough, unless one of the two fields starts with
//! `*`: that is how cron has always read them. And as crons do it, a text whose minute or hour starts with `*` runs whenever
//! the clock shows its times, while fixed times come once each, even where the clock skips or repeats them. It is the star
//! that counts, not what a field covers.

use super::calendar::Bits;
use super::error::RuleError;
use super::rule::{ByDay, Frequency, Rule};
use super::series::Times;

struct Field {
    name: &'static str,
    first: u8,
    last: u8,
    names: &'static [&'static str],
    why: &'static str,
}

const SECOND: Field = Field {
    name: "the cron field second",
    first: 0,
    last: 59,
    names: &[],
    why: "is no second; use 0 to 59, a range 0-29, a list 0,30, a step */10, or *",
};
const MINUTE: Field = Field {
    name: "the cron field minute",
    first: 0,
    last: 59,
    names: &[],
    why: "is no minute; use 0 to 59, a range 0-29, a list 0,30, a step */15, or *",
};
const HOUR: Field = Field {
    name: "the cron field hour",
    first: 0,
    last: 23,
    names: &[],
    why: "is no hour; use 0 to 23, a range 9-17, a list 8,20, a step */4, or *",
};
const MONTH_DAY: Field = Field {
    name: "the cron field day of month",
    first: 1,
    last: 31,
    names: &[],
    why: "is no day of a month; use 1 to 31, a range 1-7, a list 1,15, a step */2, or *; for the last day write \
          FREQ=MONTHLY;BYMONTHDAY=-1 instead of cron text",
};
const MONTH: Field = Field {
    name: "the cron field month",
    first: 1,
    last: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    why: "is no month; use 1 to 12 or JAN to DEC, a range 1-6, a list JAN,JUL, a step */3, or *",
};
const WEEKDAY: Field = Field {
    name: "the cron field day of week",
    first: 0,
    last: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    why: "is no weekday; use 0 to 7 (0 and 7 are Sunday) or SUN to SAT, a range MON-FRI, a list MON,THU, or *; for the \
          second Tuesday write FREQ=MONTHLY;BYDAY=2TU instead of cron text",
};

/// Whether a text is meant for cron: a rule has no `=`-less fields and no `@`.
pub(super) fn looks_like_cron(text: &str) -> bool {
    let text = text.trim();
    text.starts_with('@') || (!text.contains('=') && text.split_ascii_whitespace().nth(1).is_some())
}

/// What a cron text says.
pub(super) struct Cron {
    /// The text, with single spaces.
    pub(super) text: String,
    /// Its rules: an occurrence of any is one of it.
    pub(super) rules: Vec<Rule>,
    pub(super) times: Times,
}

/// Reads a cron text.
pub(super) fn read(text: &str) -> Result<Cron, RuleError> {
    const WHY: &str = "is no cron text; write minute, hour, day of month, month and day of week, as in `0 9 * * MON`, \
        with the second in front if need be";
    const BYTES_MAX: usize = 1_000;
    if text.len() > BYTES_MAX {
        return Err(RuleError::TooMany { part: "the cron text", max: BYTES_MAX, unit: "bytes" });
    }
    let text = text.trim();
    let fields = if text.starts_with('@') { nickname(text)? } else { text };
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let (second, rest) = match fields.as_slice() {
        [second, rest @ ..] if rest.len() == 5 => (*second, rest),
        rest => ("0", rest),
    };
    let [minute, hour, month_day, month, weekday] = rest else {
        return Err(RuleError::value("the cron text", text, WHY));
    };
    let days = Days { month_days: month_day_bits(month_day)?, weekdays: weekday_bits(weekday)? };
    let either_is_enough = !month_day.starts_with(['*', '?']) && !weekday.starts_with(['*', '?']);
    let mut base = times_of_day(bits(&SECOND, second)?, bits(&MINUTE, minute)?, bits(&HOUR, hour)?);
    base.months = unless_all(bits(&MONTH, month)?, Bits::range(1, 12));
    let has_star = minute.starts_with('*') || hour.starts_with('*');
    Ok(Cron {
        text: text.split_ascii_whitespace().collect::<Vec<_>>().join(" "),
        rules: days.rules(base, either_is_enough),
        times: if has_star { Times::AsShown } else { Times::OnceFromAnyStart },
    })
}

/// What the words that cron knows stand for.
fn nickname(text: &str) -> Result<&'static str, RuleError> {
    const WHY: &str = "is no word that cron knows; use @yearly, @monthly, @weekly, @daily or @hourly";
    const REBOOT: &str = "says no time; submit the job when the host starts, or use @hourly";
    const EVERY: &str = "is no word that cron knows; for a distance write a rule, as in FREQ=MINUTELY;INTERVAL=5";
    match text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        "@reboot" => Err(RuleError::value("the cron text", text, REBOOT)),
        every if every.starts_with("@every") => Err(RuleError::value("the cron text", text, EVERY)),
        _ => Err(RuleError::value("the cron text", text, WHY)),
    }
}

/// The rule of the times of every day, in the longest period that needs no list.
fn times_of_day(seconds: Bits, minutes: Bits, hours: Bits) -> Rule {
    let all = Bits::range(0, 59);
    let frequency = match (hours == Bits::range(0, 23), minutes == all, seconds == all) {
        (false, ..) => Frequency::Daily,
        (true, false, _) => Frequency::Hourly,
        (true, true, false) => Frequency::Minutely,
        (true, true, true) => Frequency::Secondly,
    };
    let given = |bits, needed_from| if frequency >= needed_from { bits } else { Bits::EMPTY };
    Rule {
        hours: given(hours, Frequency::Daily),
        minutes: given(minutes, Frequency::Hourly),
        seconds: given(seconds, Frequency::Minutely),
        ..Rule::every(frequency)
    }
}

struct Days {
    /// Empty for every one.
    month_days: Bits,
    /// Empty for every one; 0 is Monday.
    weekdays: Bits,
}

impl Days {
    fn rules(&self, base: Rule, either_is_enough: bool) -> Vec<Rule> {
        let month_days = Rule { month_days: self.month_days.iter().map(i16::from).collect(), ..base.clone() };
        let by_day = |weekday| ByDay { ordinal: 0, weekday };
        let weekdays = Rule { days: self.weekdays.iter().map(by_day).collect(), ..base.clone() };
        match (self.month_days.is_empty(), self.weekdays.is_empty()) {
            (true, true) => vec![base],
            // Either is enough, and one of them takes every day.
            (false, true) | (true, false) if either_is_enough => vec![base],
            (false, true) => vec![month_days],
            (true, false) => vec![weekdays],
            (false, false) if either_is_enough => vec![month_days, weekdays],
            (false, false) => vec![Rule { days: weekdays.days, ..month_days }],
        }
    }
}

fn month_day_bits(text: &str) -> Result<Bits, RuleError> {
    let bits = if text == "?" { Bits::EMPTY } else { bits(&MONTH_DAY, text)? };
    Ok(unless_all(bits, Bits::range(1, 31)))
}

/// The weekdays of a field, counted from Monday.
fn weekday_bits(text: &str) -> Result<Bits, RuleError> {
    let from_sunday = if text == "?" { Bits::EMPTY } else { bits(&WEEKDAY, text)? };
    let from_monday = from_sunday.iter().fold(Bits::EMPTY, |all, weekday| all.with((weekday + 6) % 7));
    Ok(unless_all(from_monday, Bits::range(0, 6)))
}

fn unless_all(bits: Bits, all: Bits) -> Bits {
    if bits == all { Bits::EMPTY } else { bits }
}

fn bits(field: &Field, text: &str) -> Result<Bits, RuleError> {
    let items = text.split(',').map(|item| item_bits(field, item).ok_or(item));
    items
        .into_iter()
        .try_fold(Bits::EMPTY, |all, item| Ok(item?.iter().fold(all, Bits::with)))
        .map_err(|item: &str| RuleError::value(field.name, item, field.why))
}

/// `*`, `5`, `1-5`, each with `/2` behind it perhaps; `5/2` goes on to the end of the field.
fn item_bits(field: &Field, item: &str) -> Option<Bits> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
        None => (item, None),
    };
    let (first, last) = match range.split_once('-') {
        _ if range == "*" => (field.first, field.last),
        Some((first, last)) => (value(field, first)?, last_value(field, last)?),
        None => match (value(field, range)?, step) {
            (first, Some(_)) => (first, field.last),
            (first, None) => (first, first),
        },
    };
    if first > last {
        return None;
    }
    Some((first..=last).step_by(usize::from(step.unwrap_or(1))).fold(Bits::EMPTY, Bits::with))
}

/// The end of a range: Sunday may close the week by its name, too.
fn last_value(field: &Field, text: &str) -> Option<u8> {
    let value = value(field, text)?;
    let is_sunday_by_name = value == 0 && field.last == 7 && number(text).is_none();
    Some(if is_sunday_by_name { 7 } else { value })
}

fn value(field: &Field, text: &str) -> Option<u8> {
    let by_name = (field.first..).zip(field.names).find(|(_, name)| name.eq_ignore_ascii_case(text));
    let value = by_name.map(|(value, _)| value).or_else(|| number(text))?;
    (field.first..=field.last).contains(&value).then_some(value)
}

fn number(text: &str) -> Option<u8> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { text.parse().ok() } else { None }
}
