//! One recurrence rule: its parts, what goes together, and its normalised text (RFC 5545 section 3.3.10).

use std::fmt;

use super::calendar::{Bits, WEEKDAYS};
use super::error::RuleError;
use super::moment::{Kind, Moment};

/// How often a rule's periods come, from the shortest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Frequency {
    Secondly,
    Minutely,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

impl Frequency {
    pub(super) const ALL: [(&'static str, Self); 7] = [
        ("SECONDLY", Self::Secondly),
        ("MINUTELY", Self::Minutely),
        ("HOURLY", Self::Hourly),
        ("DAILY", Self::Daily),
        ("WEEKLY", Self::Weekly),
        ("MONTHLY", Self::Monthly),
        ("YEARLY", Self::Yearly),
    ];

    fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// When a rule ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Never,
    /// After so many occurrences, the first included.
    Count(u32),
    /// At this moment, which is included.
    Until(Moment),
}

/// A weekday of BYDAY, with the number that may stand before it: `2TU`, `-1FR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByDay {
    /// The one that is meant, from the front (1) or the back (-1) of the month or year; 0 for every one.
    pub(super) ordinal: i8,
    /// 0 is Monday.
    pub(super) weekday: u8,
}

/// The parts of a rule. Lists are sorted and without repetitions; an empty list is a part that was not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) frequency: Frequency,
    /// At least 1.
    pub(super) interval: u32,
    pub(super) end: End,
    pub(super) months: Bits,
    pub(super) weeks: Vec<i16>,
    pub(super) year_days: Vec<i16>,
    pub(super) month_days: Vec<i16>,
    pub(super) days: Vec<ByDay>,
    pub(super) hours: Bits,
    pub(super) minutes: Bits,
    pub(super) seconds: Bits,
    pub(super) positions: Vec<i16>,
    /// 0 is Monday.
    pub(super) week_start: u8,
}

impl Rule {
    /// The rule of nothing but a frequency.
    pub(super) const fn every(frequency: Frequency) -> Self {
        Self {
            frequency,
            interval: 1,
            end: End::Never,
            months: Bits::EMPTY,
            weeks: Vec::new(),
            year_days: Vec::new(),
            month_days: Vec::new(),
            days: Vec::new(),
            hours: Bits::EMPTY,
            minutes: Bits::EMPTY,
            seconds: Bits::EMPTY,
            positions: Vec::new(),
            week_start: 0,
        }
    }

    /// Checks what the parts ask of each other (domain.md 4.2).
    pub(super) fn check(&self) -> Result<(), RuleError> {
        use Frequency::{Daily, Monthly, Weekly, Yearly};
        let refuse = |part, why| Err(RuleError::conflict(part, why));
        let has_ordinals = self.days.iter().any(|day| day.ordinal != 0);
        if has_ordinals && !matches!(self.frequency, Monthly | Yearly) {
            return refuse("BYDAY", "a number before a weekday (2TU) goes with FREQ=MONTHLY or FREQ=YEARLY only");
        }
        if has_ordinals && !self.weeks.is_empty() {
            return refuse("BYDAY", "a number before a weekday (2TU) does not go with BYWEEKNO; leave the number out");
        }
        if !self.weeks.is_empty() && self.frequency != Yearly {
            return refuse("BYWEEKNO", "it goes with FREQ=YEARLY only");
        }
        if !self.year_days.is_empty() && matches!(self.frequency, Daily | Weekly | Monthly) {
            return refuse("BYYEARDAY", "it does not go with FREQ=DAILY, WEEKLY or MONTHLY; use FREQ=YEARLY");
        }
        if !self.month_days.is_empty() && self.frequency == Weekly {
            return refuse("BYMONTHDAY", "it does not go with FREQ=WEEKLY; use FREQ=MONTHLY or FREQ=DAILY");
        }
        if !self.positions.is_empty() && !self.has_by_part() {
            return refuse("BYSETPOS", "it picks from what another BY part yields; add one, such as BYDAY=MO");
        }
        Ok(())
    }

    /// Checks that UNTIL is written as the start asks for: a day when that is a day, an instant when it has a zone.
    pub(super) fn check_until(&self, start_is_date: bool, start_is_zoned: bool) -> Result<(), RuleError> {
        let End::Until(until) = self.end else { return Ok(()) };
        let refuse = |why| Err(RuleError::conflict("UNTIL", why));
        match (until.kind, start_is_date) {
            (Kind::Date, false) => {
                refuse("the start has a time, so UNTIL needs one; write it in UTC, as in UNTIL=20261231T235959Z")
            }
            (Kind::Local | Kind::Utc, true) => {
                refuse("the start is a day without a time, so UNTIL must be one, as in UNTIL=20261231")
            }
            (Kind::Local, false) if start_is_zoned => {
                refuse("the start has a time zone, so UNTIL must be in UTC; write it with a Z, as in 20261231T235959Z")
            }
            _ => Ok(()),
        }
    }

    fn has_by_part(&self) -> bool {
        let bits = [self.months, self.hours, self.minutes, self.seconds];
        let lists = [&self.weeks, &self.year_days, &self.month_days];
        bits.iter().any(|bits| !bits.is_empty()) || lists.iter().any(|list| !list.is_empty()) || !self.days.is_empty()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FREQ={}", self.frequency.name())?;
        if self.interval != 1 {
            write!(f, ";INTERVAL={}", self.interval)?;
        }
        match self.end {
            End::Never => {}
            End::Count(count) => write!(f, ";COUNT={count}")?,
            End::Until(until) => write!(f, ";UNTIL={until}")?,
        }
        list(f, "BYMONTH", self.months.iter())?;
        list(f, "BYWEEKNO", self.weeks.iter())?;
        list(f, "BYYEARDAY", self.year_days.iter())?;
        list(f, "BYMONTHDAY", self.month_days.iter())?;
        list(f, "BYDAY", self.days.iter())?;
        list(f, "BYHOUR", self.hours.iter())?;
        list(f, "BYMINUTE", self.minutes.iter())?;
        list(f, "BYSECOND", self.seconds.iter())?;
        list(f, "BYSETPOS", self.positions.iter())?;
        if self.week_start == 0 { Ok(()) } else { write!(f, ";WKST={}", WEEKDAYS[usize::from(self.week_start)]) }
    }
}

fn list(f: &mut fmt::Formatter<'_>, name: &str, values: impl Iterator<Item: fmt::Display>) -> fmt::Result {
    for (index, value) in values.enumerate() {
        if index == 0 {
            write!(f, ";{name}={value}")?;
        } else {
            write!(f, ",{value}")?;
        }
    }
    Ok(())
}

impl fmt::Display for ByDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = WEEKDAYS[usize::from(self.weekday)];
        if self.ordinal == 0 { f.write_str(name) } else { write!(f, "{}{name}", self.ordinal) }
    }
}
