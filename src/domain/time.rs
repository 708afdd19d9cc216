//! Points and spans of time as the domain counts them. Nothing here reads a clock.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use jiff::fmt::temporal::Pieces;

/// A point in time: microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Midnight of the first day that is counted from.
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

impl Timestamp {
    /// The first point that can be written: the beginning of the year 0.
    pub const FIRST: Self = Self(-62_167_219_200_000_000);

    /// The last one: the end of the year 9999. No wait goes on for longer.
    pub const LAST: Self = Self(253_402_300_799_999_999);

    /// The point `ms` milliseconds after the Unix epoch.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000))
    }

    /// Milliseconds since the Unix epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The point `span` later; the last one where that would be beyond it.
    pub fn after(self, span: Duration) -> Self {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros)).min(Self::LAST.max(self))
    }

    /// The time that has passed since `earlier`; zero when it has not come yet.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// What a clock of UTC shows then; none outside the years that can be written. The library's own instants end two days
    /// before its civil times do.
    pub(super) fn civil(self) -> Option<DateTime> {
        let is_written = (Self::FIRST..=Self::LAST).contains(&self);
        is_written.then(|| EPOCH.checked_add(SignedDuration::from_micros(self.0)).ok()).flatten()
    }

    /// RFC 3339 in UTC, to the microsecond; outside the years that can be written, microseconds with `us` behind them.
    pub fn to_exact_text(self) -> String {
        match self.civil() {
            Some(civil) => format!("{civil:.6}Z"),
            None => format!("{}us", self.0),
        }
    }

    /// When a clock of UTC shows this, rounded down.
    pub(super) fn of_civil(civil: DateTime) -> Self {
        let since = civil.duration_since(EPOCH);
        let micros = since.as_secs() * 1_000_000 + i64::from(since.subsec_nanos().div_euclid(1_000));
        Self(micros)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the millisecond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.civil() {
            Some(civil) => write!(f, "{civil:.3}Z"),
            None => write!(f, "{}us", self.0),
        }
    }
}

/// Why a text is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTime {
    /// It is something else.
    #[error("is no time like 2030-01-31T08:00:00Z (RFC 3339)")]
    Unreadable,
    /// It lies before or after all that are counted.
    #[error("is outside the range of times, 0000-01-01T00:00:00Z to 9999-12-31T23:59:59Z")]
    OutOfRange,
}

impl BadTime {
    /// Why a text cannot be read as a time: RFC 3339 has four digits for a year, and a text with more names a time as well.
    fn of(text: &str) -> Self {
        let year = text.trim().trim_start_matches(['+', '-']).split('-').next().unwrap_or_default();
        let is_long = year.len() > 4 && year.bytes().all(|byte| byte.is_ascii_digit());
        if is_long && text.contains([':', 'T', 't']) { Self::OutOfRange } else { Self::Unreadable }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = BadTime;

    /// Reads an RFC 3339 instant.
    fn from_str(text: &str) -> Result<Self, BadTime> {
        let pieces = Pieces::parse(text).map_err(|_| BadTime::of(text))?;
        let (Some(time), Some(offset)) = (pieces.time(), pieces.to_numeric_offset()) else {
            return Err(BadTime::Unreadable);
        };
        let on_clock = Self::of_civil(pieces.date().to_datetime(time));
        let instant = Self(on_clock.0 - i64::from(offset.seconds()) * 1_000_000);
        let range = Self::FIRST..=Self::LAST;
        if range.contains(&instant) { Ok(instant) } else { Err(BadTime::OutOfRange) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_up_to_the_end_of_9999() {
        for (text, shown) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
            ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999Z"),
            ("2030-01-31T09:00:00.1234567+01:00", "2030-01-31T08:00:00.123Z"),
            ("2030-01-31t08:00:00z", "2030-01-31T08:00:00.000Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"),
            ("9999-12-30T22:00:01Z", "9999-12-30T22:00:01.000Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999Z"),
            ("9999-12-31T22:59:59-01:00", "9999-12-31T23:59:59.000Z"),
        ] {
            let time: Timestamp = text.parse().expect("it is a time");
            assert_eq!(time.to_string(), shown, "{text}");
            let again: Timestamp = shown.parse().expect("what is shown is a time");
            assert_eq!(again.as_millis(), time.as_millis(), "{text}");
        }
        assert_eq!("9999-12-31T23:59:59.999999Z".parse(), Ok(Timestamp::LAST));
        assert_eq!("0000-01-01T00:00:00Z".parse(), Ok(Timestamp::FIRST));
    }

    #[test]
    fn what_lies_beyond_is_told_from_what_is_no_time() {
        for text in [
            "9999-12-31T23:59:59-00:01",
            "9999-12-31T23:30:00-12:00",
            "0000-01-01T00:00:00+00:01",
            "10000-01-01T00:00:00Z",
            "+010000-01-01T00:00:00Z",
            "-000001-12-31T23:59:59Z",
            "99999999999999999999-01-01T00:00:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(BadTime::OutOfRange), "{text}");
        }
        for text in ["", "tomorrow", "2030-01-31", "2030-01-31T08:00:00", "2030-02-30T08:00:00Z", "12345", "15m"] {
            assert_eq!(text.parse::<Timestamp>(), Err(BadTime::Unreadable), "{text}");
        }
    }

    #[test]
    fn what_is_added_ends_with_the_last_time() {
        let day = Duration::from_secs(86_400);
        for (time, span) in [(Timestamp::LAST, day), (Timestamp(0), Duration::MAX), (Timestamp::FIRST, Duration::MAX)] {
            assert_eq!(time.after(span), Timestamp::LAST);
        }
        assert_eq!(Timestamp(i64::MAX).after(day), Timestamp(i64::MAX), "what never comes stays that");
        assert_eq!(Timestamp::LAST.since(Timestamp::FIRST) + Duration::from_micros(1), 3_652_425 * day);
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string(), format!("{}us", i64::MAX));
    }
}
