//! Time zones: between the wall clock of a place and instants.
//!
//! The zones are those of the database that is built in, so that a rule means the same on every machine.

use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};

use super::calendar::{DAY, first_of_year};
use super::error::RuleError;
use crate::domain::time::Timestamp;

const MICROS: i64 = 1_000_000;

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Instants and local times in seconds lie from here ...
pub(super) const FIRST_SECOND: i64 = first_of_year(1) * DAY;

/// ... to here: the last second of the year 9999, and the end of what a rule can yield.
pub(super) const LAST_SECOND: i64 = first_of_year(10_000) * DAY - 1;

/// No zone has ever skipped or repeated more than a day (and some have skipped a whole one).
pub(super) const CHANGE_MAX: i64 = DAY + 3_600;

/// A time zone by its IANA name.
#[derive(Clone, Debug)]
pub(super) struct Zone(TimeZone);

/// Where a local time lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// The instant, in seconds: the first of a time that comes twice, and of a skipped one, that with the offset before the
    /// gap.
    pub(super) instant: i64,
    /// The second instant of a time that comes twice.
    pub(super) again: Option<i64>,
    /// Whether the clock never shows it.
    pub(super) is_skipped: bool,
    /// No later local time lies before this instant; the instant itself, except in a gap.
    pub(super) later_from: i64,
}

/// Times of the clock that are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// The first local time that does not exist.
    pub(super) first: i64,
    /// The first that exists again.
    pub(super) end: i64,
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

    /// The instants of a local time. One that does not exist is counted with the offset before the gap; of one that
    /// exists twice the first is meant, where only one can be (RFC 5545 section 3.3.5).
    pub(super) fn place(&self, local: i64) -> Placed {
        if self.is_utc() {
            return Placed::at(local, Offset::UTC);
        }
        match self.0.to_ambiguous_timestamp(civil(local)).offset() {
            AmbiguousOffset::Unambiguous { offset } => Placed::at(local, offset),
            AmbiguousOffset::Fold { before, after } => {
                Placed { again: Some(Placed::at(local, after).instant), ..Placed::at(local, before) }
            }
            AmbiguousOffset::Gap { before, after } => {
                let later_from = Placed::at(local, after).instant;
                Placed { is_skipped: true, later_from, ..Placed::at(local, before) }
            }
        }
    }

    /// The times that the clock skips from the instant `from` on, in order.
    pub(super) fn gaps(&self, from: i64) -> impl Iterator<Item = Gap> + '_ {
        // A change at `from` itself counts.
        self.0.following(timestamp(from - 1)).filter_map(|change| {
            let at = change.timestamp().as_second();
            let (first, end) = (at + self.offset(at - 1), at + i64::from(change.offset().seconds()));
            (first < end).then_some(Gap { first, end })
        })
    }

    /// What the wall clock shows at an instant.
    pub(super) fn local(&self, instant: i64) -> i64 {
        instant + self.offset(instant)
    }

    /// No local time before this lies at or after `instant`: what the clock shows then, less what it has skipped
    /// shortly before, because skipped times lie after the gap, and what it is about to show again.
    pub(super) fn earliest_local(&self, instant: i64) -> i64 {
        if self.is_utc() {
            return instant;
        }
        let soon = self.0.following(timestamp(instant)).map(|change| change.timestamp().as_second());
        let soon = soon.take_while(|change| *change < instant + CHANGE_MAX);
        soon.map(|change| self.local(change)).fold(self.earliest_skipped(instant), i64::min)
    }

    /// What the clock shows at `instant`, less what it has skipped shortly before.
    pub(super) fn earliest_skipped(&self, instant: i64) -> i64 {
        if self.is_utc() {
            return instant;
        }
        // The gap that ends at `instant` itself counts: what it skips lies from there on.
        let before = self.0.preceding(timestamp(instant + 1)).map(|change| change.timestamp().as_second());
        let before = before.take_while(|change| *change > instant - CHANGE_MAX);
        before.map(|change| instant + self.offset(change - 1)).fold(self.local(instant), i64::min)
    }

    /// What the wall clock shows at an instant, and its offset, in the form of RFC 3339. An offset that old zones have to
    /// the second is rounded to the minute there.
    pub(super) fn clock_text(&self, instant: i64) -> String {
        let known = timestamp(instant);
        match known.as_second() == instant {
            true => known.display_with_offset(self.0.to_offset(known)).to_string(),
            // Where its instants end, the library has no clock of the zone either.
            false => format!("{}Z", civil(instant)),
        }
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
        Self { instant, again: None, is_skipped: false, later_from: instant }
    }

    /// The one that is meant where a rule starts at the instant `start`: a time that comes twice is not meant before that.
    pub(super) fn since(self, start: i64) -> i64 {
        self.again.filter(|again| self.instant < start && *again >= start).unwrap_or(self.instant)
    }
}

/// The library's instant; out of range, the nearest that it has. No zone changes in the two days of 9999 that it lacks.
pub(super) fn timestamp(second: i64) -> jiff::Timestamp {
    let last = jiff::Timestamp::MAX.as_second();
    jiff::Timestamp::from_second(second.clamp(FIRST_SECOND, last)).unwrap_or_default()
}

/// The library's civil time of a local second; out of range, the nearest that we count with.
pub(super) fn civil(local: i64) -> DateTime {
    let second = local.clamp(FIRST_SECOND, LAST_SECOND);
    Timestamp(second * MICROS).civil().unwrap_or_default()
}

/// The local second of the library's civil time, rounded down; none outside the years that we count with.
pub(super) fn local_second(civil: DateTime) -> Option<i64> {
    let second = Timestamp::of_civil(civil).as_micros().div_euclid(MICROS);
    (FIRST_SECOND..=LAST_SECOND).contains(&second).then_some(second)
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
        let (instant, later_from) = (at("2026-03-08T07:30"), at("2026-03-08T06:30"));
        assert_eq!(gap, Placed { instant, again: None, is_skipped: true, later_from });
        let twice = zone.place(at("2026-11-01T01:30"));
        assert_eq!((twice.instant, twice.again), (at("2026-11-01T05:30"), Some(at("2026-11-01T06:30"))));
        assert_eq!(twice.since(at("2026-11-01T05:30")), at("2026-11-01T05:30"));
        assert_eq!(twice.since(at("2026-11-01T05:31")), at("2026-11-01T06:30"));
    }

    #[test]
    fn gaps_are_found_in_order_and_one_at_the_start_counts() {
        let zone = Zone::named("Europe/Berlin").expect("a zone");
        let gap = |day: &str| Gap { first: at(&format!("{day}T02:00")), end: at(&format!("{day}T03:00")) };
        let found: Vec<_> = zone.gaps(at("2026-03-29T01:00")).take(2).collect();
        assert_eq!(found, [gap("2026-03-29"), gap("2027-03-28")]);
        assert_eq!(zone.gaps(at("2026-03-29T01:00:01")).next(), Some(gap("2027-03-28")));
        assert_eq!(Zone::UTC.gaps(0).next(), None);
    }

    #[test]
    fn zones_keep_their_clocks_to_the_end_of_9999() {
        for (name, hours) in [("UTC", 0), ("Europe/Berlin", 1), ("America/New_York", -5), ("Pacific/Kiritimati", 14)] {
            let zone = Zone::named(name).expect("a zone");
            for instant in [at("9999-12-30T22:00:00"), at("9999-12-31T00:00:00"), LAST_SECOND] {
                let local = zone.local(instant);
                assert_eq!(local, instant + hours * 3_600, "{name}");
                if local <= LAST_SECOND {
                    assert_eq!(zone.place(local).instant, instant, "{name}");
                }
            }
            assert!(!zone.clock_text(LAST_SECOND).is_empty());
        }
        let berlin = Zone::named("Europe/Berlin").expect("a zone");
        assert_eq!(berlin.clock_text(at("9999-12-30T22:00:00")), "9999-12-30T23:00:00+01:00");
        assert_eq!(berlin.clock_text(LAST_SECOND), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn the_earliest_local_time_reaches_back_over_a_gap() {
        let zone = Zone::named("America/New_York").expect("a zone");
        assert_eq!(zone.earliest_local(at("2026-03-08T07:30")), at("2026-03-08T02:30"));
        assert_eq!(zone.earliest_local(at("2026-03-08T07:00")), at("2026-03-08T02:00"), "at the change itself");
        assert_eq!(zone.earliest_local(at("2026-11-01T05:30")), at("2026-11-01T01:00"), "the hour comes again");
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
