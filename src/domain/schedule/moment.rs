//! Dates and times as people and calendars write them.

use std::fmt;

use jiff::fmt::temporal::DateTimeParser;

use super::calendar::DAY;
use super::error::RuleError;
use super::zone::{self, Zone};
use crate::domain::time::{BadTime, Timestamp};

const MICROS: i64 = 1_000_000;

/// When a rule starts: its DTSTART.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// At this instant, rounded down to the second.
    At(Timestamp),
    /// It was left out at this instant. The rule starts with its first occurrence after that, with the phase, and all else
    /// that a rule takes from its start, of the instant itself. Once is at once.
    LeftOut(Timestamp),
    /// A date or a time: `2026-01-31`, `2026-01-31T02:00` (of the clock in the rule's zone), `2026-01-31T02:00:00Z`,
    /// `2026-01-31T02:00+01:00`, `2026-01-31T02:00[Europe/Berlin]`, or the same without `-` and `:`.
    Text(&'a str),
}

/// How a moment was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A day, of the rule's zone.
    Date,
    /// A time of the clock in the rule's zone.
    Local,
    /// An instant.
    Utc,
}

/// A date or a time, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// Seconds since the epoch, on the clock of the zone that `kind` says.
    pub(super) second: i64,
    pub(super) kind: Kind,
}

impl Moment {
    pub(super) fn of(instant: Timestamp) -> Self {
        let second = instant.as_micros().div_euclid(MICROS).clamp(zone::FIRST_SECOND, zone::LAST_SECOND);
        Self { second, kind: Kind::Utc }
    }

    /// Reads a date or time of the part `part`, and the zone that stands in brackets behind it.
    pub(super) fn read(part: &'static str, text: &str) -> Result<(Self, Option<Zone>), RuleError> {
        let text = text.trim();
        if text.len() > 100 {
            return Err(RuleError::value(part, text, UNREADABLE));
        }
        let (time, zone) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            Some((time, name)) => (time, Some(Zone::named(name)?)),
            None => (text, None),
        };
        let moment = read_plain(time).map_err(|why| RuleError::value(part, text, why))?;
        Ok((moment, zone))
    }

    /// The instant that is meant on the clock of `zone`, in seconds.
    pub(super) fn instant(self, zone: &Zone) -> i64 {
        match self.kind {
            Kind::Utc => self.second,
            Kind::Date | Kind::Local => zone.place(self.second).instant,
        }
    }

    /// Every instant at which the clock of `zone` shows it; of a skipped time the one that is meant.
    pub(super) fn instants(self, zone: &Zone) -> impl Iterator<Item = i64> {
        let again = match self.kind {
            Kind::Utc => None,
            Kind::Date | Kind::Local => zone.place(self.second).again,
        };
        std::iter::once(self.instant(zone)).chain(again)
    }

    /// What the clock of `zone` shows then.
    pub(super) fn local(self, zone: &Zone) -> i64 {
        match self.kind {
            Kind::Utc => zone.local(self.second),
            Kind::Date | Kind::Local => self.second,
        }
    }

    /// The same as the clock of `zone` shows it. A day stays a day, and an instant stays one where that clock does not
    /// say which is meant; on the clock of UTC all times are instants.
    pub(super) fn on_clock_of(self, zone: &Zone) -> Self {
        match self.kind {
            Kind::Local if zone.is_utc() => Self { kind: Kind::Utc, ..self },
            Kind::Utc if !zone.is_utc() && zone.place(zone.local(self.second)).instant == self.second => {
                Self { second: zone.local(self.second), kind: Kind::Local }
            }
            Kind::Date | Kind::Local | Kind::Utc => self,
        }
    }
}

const UNREADABLE: &str = "is no date or time; write 2026-01-31, 2026-01-31T02:00 or 2026-01-31T02:00:00Z";

const OUT_OF_RANGE: &str = "is outside the range of rules; use 0001-01-01 to 9999-12-31T23:59:59Z";

/// Reads a date or time without a zone in brackets.
fn read_plain(text: &str) -> Result<Moment, &'static str> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    if text.contains(['[', ']']) {
        return Err(UNREADABLE);
    }
    let moment = |second: Option<i64>, kind| second.map(|second| Moment { second, kind }).ok_or(OUT_OF_RANGE);
    let has_time = text.contains([':', 'T', 't', ' ']);
    if !has_time {
        let date = PARSER.parse_date(text).map_err(|_| UNREADABLE)?;
        return moment(zone::local_second(date.at(0, 0, 0, 0)), Kind::Date);
    }
    match text.parse::<Timestamp>() {
        Ok(instant) => {
            let second = Some(second_until(instant)).filter(|second| *second >= zone::FIRST_SECOND);
            moment(second, Kind::Utc)
        }
        Err(BadTime::OutOfRange) => Err(OUT_OF_RANGE),
        Err(BadTime::Unreadable) => {
            let civil = PARSER.parse_datetime(text).map_err(|_| UNREADABLE)?;
            moment(zone::local_second(civil), Kind::Local)
        }
    }
}

impl fmt::Display for Moment {
    /// In the form of RFC 5545: `20260131`, `20260131T020000`, `20260131T020000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = zone::civil(self.second);
        write!(f, "{:04}{:02}{:02}", civil.year(), civil.month(), civil.day())?;
        let time = self.second.rem_euclid(DAY);
        match self.kind {
            Kind::Date => Ok(()),
            Kind::Local => write!(f, "T{:02}{:02}{:02}", time / 3_600, time / 60 % 60, time % 60),
            Kind::Utc => write!(f, "T{:02}{:02}{:02}Z", time / 3_600, time / 60 % 60, time % 60),
        }
    }
}

/// The domain's instant of a second.
pub(super) const fn instant_of(second: i64) -> Timestamp {
    Timestamp(second.saturating_mul(MICROS))
}

/// The first whole second at or after an instant.
pub(super) const fn second_from(instant: Timestamp) -> i64 {
    instant.as_micros().div_euclid(MICROS) + (instant.as_micros().rem_euclid(MICROS) != 0) as i64
}

/// The last whole second at or before an instant.
pub(super) const fn second_until(instant: Timestamp) -> i64 {
    instant.as_micros().div_euclid(MICROS)
}
