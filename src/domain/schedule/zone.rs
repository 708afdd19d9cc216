//! Time zones: between the wall clock of a place and instants.
//!
//! The zones are those of the database that is built in, so that a rule means the same on every machine.

use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};

use super::calendar::{DAY, first_of_year};
use super::error::RuleError;

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Instants and local times in seconds lie from here ...
pub(super) const FIRST_SECOND: i64 = first_of_year(1) * DAY;

/// ... to before here: the end of what a rule can yield.
pub(super) const LAST_SECOND: i64 = first_of_year(9999) * DAY;

/// No zone has ever skipped more than a day (and some have skipped a whole one).
pub(super) const GAP_MAX: i64 = DAY + 3_600;

/// A time zone by its IANA name.
#[derive(Clone, Debug)]
pub(super) struct Zone(TimeZone);

/// Where a local time lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// The instant, in seconds.
    pub(super) instant: i64,
    /// No later local time lies before this instant; the instant itself, except in a gap.
    pub(super) later_from: i64,
}

impl Zone {
    pub(super) const UTC: Self = Self(TimeZone::UTC);

    /// The zone of an IANA name, in any case of letters.
    pub(super) fn named(name: &str) -> Result<Self, RuleError> {
        const WHY: &str = "is no time zone; use an IANA name such as Europe/Berlin or America/New_York, or UTC";
        let name = name.trim();
        let wrong = || RuleError::value("the time zone", name, WHY);
        if name.eq_ignore_ascii_case("UTC") || name == "Z" {
            return Ok(Self::UTC);
        }
        if name.is_empty() || name.len() > 64 {
            return Err(wrong());
        }
        let zone = DATABASE.get(name).map_err(|_| wrong())?;
        if zone.iana_name().is_none() { Err(wrong()) } else { Ok(Self(zone)) }
    }

    pub(super) fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    pub(super) fn is_utc(&self) -> bool {
        self.name() == "UTC"
    }

    /// The instant of a local time. One that does not exist is counted with the offset before the gap; of one that
    /// exists twice the first is meant (RFC 5545 section 3.3.5).
    pub(super) fn place(&self, local: i64) -> Placed {
        if self.is_utc() {
            return Placed { instant: local, later_from: local };
        }
        match self.0.to_ambiguous_timestamp(civil(local)).offset() {
            AmbiguousOffset::Unambiguous { offset } => Placed::at(local, offset),
            AmbiguousOffset::Fold { before, .. } => Placed::at(local, before),
            AmbiguousOffset::Gap { before, after } => {
                Placed { later_from: Placed::at(local, after).instant, ..Placed::at(local, before) }
            }
        }
    }

    /// What the wall clock shows at an instant.
    pub(super) fn local(&self, instant: i64) -> i64 {
        instant + self.offset(instant)
    }

    /// No local time before this lies at or after `instant`: what the clock shows then, less what it has skipped
    /// shortly before, because skipped times lie after the gap.
    pub(super) fn earliest_local(&self, instant: i64) -> i64 {
        if self.is_utc() {
            return instant;
        }
        let since = instant - GAP_MAX;
        let changes = self.0.preceding(timestamp(instant)).map(|change| change.timestamp().as_second());
        let before = changes.take_while(|change| *change > since).map(|change| self.offset(change - 1)).min();
        instant + before.unwrap_or(i64::MAX).min(self.offset(instant))
    }

    /// What the wall clock shows at an instant, and its offset, in the form of RFC 3339. An offset that old zones have to
    /// the second is rounded to the minute there.
    pub(super) fn clock_text(&self, instant: i64) -> String {
        let instant = timestamp(instant);
        instant.display_with_offset(self.0.to_offset(instant)).to_string()
    }

    fn offset(&self, instant: i64) -> i64 {
        i64::from(self.0.to_offset(timestamp(instant)).seconds())
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

impl Placed {
    fn at(local: i64, offset: Offset) -> Self {
        let instant = local - i64::from(offset.seconds());
        Self { instant, later_from: instant }
    }
}

/// The library's instant; out of range, the nearest that we count with.
pub(super) fn timestamp(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second.clamp(FIRST_SECOND, LAST_SECOND)).unwrap_or_default()
}

/// The library's civil time of a local second.
pub(super) fn civil(local: i64) -> DateTime {
    Offset::UTC.to_datetime(timestamp(local))
}

/// The local second of the library's civil time, rounded down; none outside the years that we count with.
pub(super) fn local_second(civil: DateTime) -> Option<i64> {
    let second = Offset::UTC.to_timestamp(civil).ok()?.as_microsecond().div_euclid(1_000_000);
    (FIRST_SECOND..LAST_SECOND).contains(&second).then_some(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        local_second(text.parse().expect("a civil time")).expect("in range")
    }

    #[test]
    fn a_skipped_time_counts_with_the_offset_before_and_a_repeated_one_is_the_first() {
        let zone = Zone::named("america/new_york").expect("a zone");
        assert_eq!(zone.name(), "America/New_York");
        let gap = zone.place(at("2026-03-08T02:30"));
        assert_eq!(gap, Placed { instant: at("2026-03-08T07:30"), later_from: at("2026-03-08T06:30") });
        assert_eq!(zone.place(at("2026-11-01T01:30")).instant, at("2026-11-01T05:30"));
    }

    #[test]
    fn the_earliest_local_time_reaches_back_over_a_gap() {
        let zone = Zone::named("America/New_York").expect("a zone");
        assert_eq!(zone.earliest_local(at("2026-03-08T07:30")), at("2026-03-08T02:30"));
        assert_eq!(zone.earliest_local(at("2026-03-10T07:30")), at("2026-03-10T03:30"));
        let apia = Zone::named("Pacific/Apia").expect("a zone");
        // The 30th of December 2011 did not take place there.
        assert_eq!(apia.place(at("2011-12-30T12:00")).instant, at("2011-12-30T22:00"));
        assert_eq!(apia.earliest_local(at("2011-12-30T22:00")), at("2011-12-30T12:00"));
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for name in ["", "Mars/Olympus", "+02:00", "Etc/Unknown", "../etc/passwd"] {
            assert!(Zone::named(name).is_err(), "{name}");
        }
    }
}
