//! Dates as HTTP writes them (RFC 9110 section 5.6.7).

use jiff::Span;
use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;

use crate::domain::time::Timestamp;

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
const FIXDATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// `Sunday, 06-Nov-94 08:49:37 GMT`, of RFC 850.
const TWO_DIGITS: &str = "%A, %d-%b-%y %H:%M:%S GMT";

/// `Sun Nov  6 08:49:37 1994`, as C's `asctime` has it.
const ASCTIME: &str = "%a %b %e %H:%M:%S %Y";

/// How far ahead a year of two digits may lie.
const YEARS_AHEAD: i16 = 50;

/// The instant of a date in any of the three forms. `now` says which century is meant where the date does not.
pub(super) fn http_date(text: &str, now: Timestamp) -> Option<Timestamp> {
    let read = |form| {
        let mut parts = BrokenDownTime::parse(form, text).ok()?;
        // A wrong day of the week is no reason to take no notice of the rest.
        parts.set_weekday(None);
        Some(parts)
    };
    let civil = match read(FIXDATE).or_else(|| read(ASCTIME)) {
        Some(parts) => parts.to_datetime().ok()?,
        None => in_century(read(TWO_DIGITS)?, now.civil()?)?,
    };
    Some(Timestamp::of_civil(civil))
}

/// The latest time with such a year that is not more than fifty years after `now`.
fn in_century(mut parts: BrokenDownTime, now: DateTime) -> Option<DateTime> {
    let limit = now.checked_add(Span::new().years(YEARS_AHEAD)).ok()?;
    let latest = limit.year() - (limit.year() - parts.year()?).rem_euclid(100);
    let mut of_year = |year| {
        parts.set_year(Some(year)).ok()?;
        parts.to_datetime().ok()
    };
    of_year(latest).filter(|found| *found <= limit).or_else(|| of_year(latest - 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, now: &str) -> Option<String> {
        let found = http_date(text, now.parse().expect("a time"));
        found.map(|found| found.to_string().replace(".000Z", "Z"))
    }

    #[test]
    fn all_three_forms_are_one_date() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Mon, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(at(text, "1994-11-06T08:49:30Z").as_deref(), Some("1994-11-06T08:49:37Z"), "{text}");
        }
        let leap = "Sat, 31 Dec 2016 23:59:60 GMT";
        assert_eq!(at(leap, "2016-01-01T00:00:00Z").as_deref(), Some("2016-12-31T23:59:59Z"));
        assert_eq!(
            at("Fri Dec 31 23:59:59 9999", "2026-01-01T00:00:00Z").as_deref(),
            Some("9999-12-31T23:59:59Z"),
            "the last there is"
        );
    }

    #[test]
    fn two_digits_mean_the_year_that_is_at_most_fifty_ahead() {
        for (text, now, expected) in [
            ("Sunday, 06-Nov-94 08:49:37 GMT", "2026-11-30T00:00:00Z", "1994-11-06T08:49:37Z"),
            ("Monday, 30-Nov-76 00:00:00 GMT", "2026-11-30T00:00:00Z", "2076-11-30T00:00:00Z"),
            ("Monday, 30-Nov-76 00:00:01 GMT", "2026-11-30T00:00:00Z", "1976-11-30T00:00:01Z"),
            ("Friday, 01-Jan-00 00:00:00 GMT", "2026-11-30T00:00:00Z", "2000-01-01T00:00:00Z"),
            ("Friday, 01-Jan-01 00:00:00 GMT", "2099-12-31T00:00:00Z", "2101-01-01T00:00:00Z"),
            ("Friday, 01-Jan-68 00:00:00 GMT", "1999-12-31T00:00:00Z", "1968-01-01T00:00:00Z"),
            ("Saturday, 29-Feb-76 00:00:00 GMT", "2026-11-30T00:00:00Z", "2076-02-29T00:00:00Z"),
        ] {
            assert_eq!(at(text, now).as_deref(), Some(expected), "{text} at {now}");
        }
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "",
            "soon",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 +0100",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "1994-11-06T08:49:37Z",
            "Sunday, 06-Nov-94 08:49:37 GMT, and more",
            "Saturday, 29-Feb-77 00:00:00 GMT",
        ] {
            assert_eq!(at(text, "2026-11-30T00:00:00Z"), None, "{text}");
        }
    }
}
