//! Dates in the notations of several countries, to `2025-03-17`.

use backroom_sdk::{Failure, Result};

/// What 03/04/2025 means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    DayFirst,
    MonthFirst,
    /// Both are in use.
    Unknown,
}

/// Reads a date and leaves out its time of day. A date with slashes is read as its country writes it.
pub fn date(text: &str, order: Order) -> Result<String> {
    let bad = |reason: &str| Failure::business(format_args!("`{text}` is no date: {reason}")).code("bad-date");
    let unknown_notation = || bad("its notation is not known here");

    let lower = text.to_lowercase();
    let date = without_time(&lower);
    let parts: Vec<&str> = date.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect();
    let (year, month, day) = match parts[..] {
        [one] => match (one.len(), one.parse().ok()) {
            (8, Some(digits)) => (digits / 10_000, digits / 100 % 100, digits % 100),
            (5, Some(serial)) => from_serial(serial),
            _ => return Err(unknown_notation()),
        },
        [first, second, third] => match (number(first), number(second), number(third)) {
            (Some(year), Some(month), Some(day)) if first.len() == 4 => (year, month, day),
            (Some(first), Some(second), Some(year)) => {
                let order = if date.contains('/') { order } else { Order::DayFirst };
                let month_first = match order {
                    _ if first > 12 || first == second => false,
                    _ if second > 12 => true,
                    Order::DayFirst => false,
                    Order::MonthFirst => true,
                    Order::Unknown => {
                        let message = format!("`{text}` could be two days; write it as year-month-day");
                        return Err(Failure::business(message).code("ambiguous-date"));
                    }
                };
                let (day, month) = if month_first { (second, first) } else { (first, second) };
                (full_year(year), month, day)
            }
            (Some(day), None, Some(year)) => {
                let month = month_named(second).ok_or_else(unknown_notation)?;
                if first.len() == 4 { (day, month, year) } else { (full_year(year), month, day) }
            }
            (None, Some(day), Some(year)) => (full_year(year), month_named(first).ok_or_else(unknown_notation)?, day),
            _ => return Err(unknown_notation()),
        },
        _ => return Err(unknown_notation()),
    };

    if !(1..=12).contains(&month) {
        return Err(bad(&format!("there is no month {month}")));
    }
    if !(1..=days_in(year, month)).contains(&day) {
        return Err(bad(&format!("that month has no day {day}")));
    }
    if !(1990..2100).contains(&year) {
        return Err(bad(&format!("the year {year} cannot be meant")));
    }
    Ok(format!("{year:04}-{month:02}-{day:02}"))
}

/// `2025-03-17T09:30:00Z` and `17.03.2025 09:30` have their date in front.
fn without_time(text: &str) -> &str {
    let text = match text.split_once('t') {
        Some((date, time)) if time.contains(':') && date.ends_with(|c: char| c.is_ascii_digit()) => date,
        _ => text,
    };
    match text.split_once(':') {
        Some((before, _)) => before.rsplit_once([' ', ',']).map_or(before, |(date, _)| date),
        None => text,
    }
}

/// A number, or an ordinal such as `3rd`.
fn number(part: &str) -> Option<u32> {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|ending| part.strip_suffix(ending)).unwrap_or(part);
    digits.parse().ok()
}

fn full_year(year: u32) -> u32 {
    match year {
        0..=69 => 2000 + year,
        70..=99 => 1900 + year,
        _ => year,
    }
}

/// A month by its name, or the first three letters or more of it, in English, German, French or Spanish.
fn month_named(word: &str) -> Option<u32> {
    const NAMES: [&[&str]; 12] = [
        &["january", "januar", "jänner", "janvier", "enero"],
        &["february", "februar", "février", "febrero"],
        &["march", "märz", "mars", "marzo"],
        &["april", "avril", "abril"],
        &["may", "mai", "mayo"],
        &["june", "juni", "juin", "junio"],
        &["july", "juli", "juillet", "julio"],
        &["august", "août", "agosto"],
        &["september", "septembre", "septiembre"],
        &["october", "oktober", "octobre", "octubre"],
        &["november", "novembre", "noviembre"],
        &["december", "dezember", "décembre", "diciembre"],
    ];
    if word.chars().count() < 3 {
        return None;
    }
    let mut meant = (1..).zip(NAMES).filter(|(_, names)| names.iter().any(|name| name.starts_with(word)));
    // `jui` could be June or July.
    let first = meant.next()?;
    meant.next().is_none().then_some(first.0)
}

/// Spreadsheets count days from the end of 1899.
fn from_serial(serial: u32) -> (u32, u32, u32) {
    let (mut year, mut month, mut day) = (1899, 12, 30 + serial);
    while day > days_in(year, month) {
        day -= days_in(year, month);
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    (year, month, day)
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_means_the_same_day() {
        use Order::{DayFirst, MonthFirst, Unknown};
        let cases = [
            ("2025-03-07", Unknown),
            ("2025/3/7", Unknown),
            ("2025-03-07T09:30:00Z", Unknown),
            ("2025-03-07 09:30", Unknown),
            ("20250307", Unknown),
            ("45723", Unknown),
            ("07.03.2025", Unknown),
            ("7.3.25", Unknown),
            ("07.03.2025 09:30", Unknown),
            ("07-03-2025", MonthFirst),
            ("07/03/2025", DayFirst),
            ("03/07/2025", MonthFirst),
            ("3/7/25, 9:30", MonthFirst),
            ("7 March 2025", Unknown),
            ("7-Mar-25", Unknown),
            ("7. März 2025", Unknown),
            ("7 mars 2025", Unknown),
            ("March 7th, 2025", Unknown),
            ("2025 Mar 7", Unknown),
        ];
        for (raw, order) in cases {
            assert_eq!(date(raw, order).as_deref(), Ok("2025-03-07"), "{raw}");
        }
        assert_eq!(date("17/03/2025", Unknown).as_deref(), Ok("2025-03-17"));
        assert_eq!(date("03/17/2025", DayFirst).as_deref(), Ok("2025-03-17"));
        assert_eq!(date("03/03/2025", Unknown).as_deref(), Ok("2025-03-03"));
        assert_eq!(date("29 Feb 2024", Unknown).as_deref(), Ok("2024-02-29"));
        assert_eq!(date("1 August 2025", Unknown).as_deref(), Ok("2025-08-01"));
    }

    #[test]
    fn what_is_no_date_fails() {
        let cases = [
            ("31/02/2025", "that month has no day 31"),
            ("2025-13-01", "there is no month 13"),
            ("29.02.2025", "that month has no day 29"),
            ("1 Ju 2025", "its notation is not known here"),
            ("1 jui 2025", "its notation is not known here"),
            ("soon", "its notation is not known here"),
            ("1825-03-07", "the year 1825 cannot be meant"),
            ("00000000", "there is no month 0"),
        ];
        for (raw, reason) in cases {
            let failure = date(raw, Order::DayFirst).unwrap_err();
            assert_eq!(failure.code.as_deref(), Some("bad-date"));
            assert!(failure.message.contains(reason), "{raw}: {}", failure.message);
        }
        assert_eq!(date("03/04/2025", Order::Unknown).unwrap_err().code.as_deref(), Some("ambiguous-date"));
    }
}
