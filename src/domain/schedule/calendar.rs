//! The arithmetic of civil days: numbered days, months, weeks, and small sets of numbers.

/// Seconds of a civil day.
pub(super) const DAY: i64 = 86_400;

/// The two-letter names of the weekdays, Monday first, as RFC 5545 writes them.
pub(super) const WEEKDAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

/// A civil day and its place in its month and year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: i64,
    /// 1 to 12.
    pub(super) month: u8,
    /// 1 to 31.
    pub(super) day: u8,
}

impl Date {
    /// The day number `number`, counted from 1970-01-01 (proleptic Gregorian calendar). Counts in years that start in
    /// March, so that the leap day comes last.
    pub(super) const fn of(number: i64) -> Self {
        let since_0000_03_01 = number + 719_468;
        let era = since_0000_03_01.div_euclid(146_097);
        let day_of_era = since_0000_03_01.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
        Self { year, month: month as u8, day: day as u8 }
    }

    /// The number of this day, counted from 1970-01-01.
    pub(super) const fn number(self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let march_month = (self.month as i64 + 9) % 12;
        let day_of_year = (153 * march_month + 2) / 5 + self.day as i64 - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }
}

/// The number of the first day of a year.
pub(super) const fn first_of_year(year: i64) -> i64 {
    Date { year, month: 1, day: 1 }.number()
}

/// Days of a month.
pub(super) const fn days_in_month(year: i64, month: u8) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The weekday of a numbered day: 0 is Monday.
pub(super) const fn weekday(number: i64) -> u8 {
    (number + 3).rem_euclid(7) as u8
}

/// The first day of the week that `number` lies in, when weeks start on `week_start`.
pub(super) const fn first_of_week(number: i64, week_start: u8) -> i64 {
    number - (weekday(number) as i64 - week_start as i64).rem_euclid(7)
}

/// The number of a day's week, counted from the front (1 is the first) and from the back (-1 is the last). Week 1 is
/// the first with at least four days in the year; the week belongs to the year that its fourth day lies in.
pub(super) const fn week_numbers(number: i64, week_start: u8) -> (i64, i64) {
    let week = first_of_week(number, week_start);
    let year = Date::of(week + 3).year;
    let first = first_of_week(first_of_year(year) + 3, week_start);
    let next_first = first_of_week(first_of_year(year + 1) + 3, week_start);
    ((week - first) / 7 + 1, (week - next_first) / 7)
}

/// A set of numbers from 0 to 63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(u64);

impl Bits {
    pub(super) const EMPTY: Self = Self(0);

    pub(super) const fn one(value: u8) -> Self {
        Self(1 << (value & 63))
    }

    /// The numbers from `first` to `last`.
    pub(super) fn range(first: u8, last: u8) -> Self {
        (first..=last).fold(Self::EMPTY, |all, value| all.with(value))
    }

    #[must_use]
    pub(super) const fn with(self, value: u8) -> Self {
        Self(self.0 | Self::one(value).0)
    }

    /// What is in both.
    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// This set, or `other` when this one is empty.
    pub(super) const fn or_if_empty(self, other: Self) -> Self {
        if self.0 == 0 { other } else { self }
    }

    pub(super) const fn has(self, value: u8) -> bool {
        self.0 & Self::one(value).0 != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The least number that is greater than `value`.
    pub(super) fn above(self, value: u8) -> Option<u8> {
        self.iter().find(|own| *own > value)
    }

    /// Number `index` in ascending order; 64 when there are not so many.
    pub(super) fn nth(self, index: usize) -> u8 {
        let rest = (0..index).fold(self.0, |rest, _| rest & rest.wrapping_sub(1));
        rest.trailing_zeros() as u8
    }

    pub(super) fn iter(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |value| self.has(*value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_with_the_library() {
        let mut expected = jiff::civil::date(1599, 12, 31);
        let first = Date { year: 1599, month: 12, day: 31 };
        for number in first.number()..first_of_year(2405) {
            let date = Date::of(number);
            let parts = (expected.year().into(), expected.month() as u8, expected.day() as u8);
            assert_eq!((date.year, date.month, date.day), parts);
            assert_eq!(date.number(), number);
            assert_eq!(weekday(number), expected.weekday().to_monday_zero_offset() as u8);
            assert_eq!(days_in_month(date.year, date.month), i64::from(expected.days_in_month()));
            let (week, from_back) = week_numbers(number, 0);
            let iso = expected.iso_week_date();
            assert_eq!(week, i64::from(iso.week()), "{expected}");
            assert_eq!(from_back, week - 1 - i64::from(iso.weeks_in_year()), "{expected}");
            expected = expected.tomorrow().expect("far from the end of time");
        }
    }

    #[test]
    fn sets_count_in_order() {
        let set = Bits::one(3).with(59).with(0).with(3);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 59]);
        assert_eq!((set.len(), set.nth(0), set.nth(1), set.nth(2), set.nth(3)), (3, 0, 3, 59, 64));
        assert_eq!((set.above(0), set.above(3), set.above(59)), (Some(3), Some(59), None));
    }
}
