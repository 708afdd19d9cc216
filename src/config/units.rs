//! Durations and sizes as people write them: `30s`, `250ms`, `1h30m`, `64MiB`, `1GB`.

use std::time::Duration;

/// Units of time with their milliseconds, largest first.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size with their bytes, largest first. The letter case does not count.
const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// What a duration may look like, for messages.
pub(crate) const DURATION_FORM: &str = "write a number with ms, s, m, h or d, such as \"30s\" or \"1h30m\"";

/// What a size may look like, for messages.
pub(crate) const SIZE_FORM: &str = "write a number of bytes or one with KB, KiB, MB, MiB, GB or GiB, such as \"64MiB\"";

/// Reads a duration: one or more whole numbers, each with a unit, from the largest unit to the smallest.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut millis = 0_u64;
    let mut units = TIMES.as_slice();
    if rest.is_empty() {
        return Err("it is empty".to_owned());
    }
    while !rest.is_empty() {
        let (number, unit, after) = next_part(rest)?;
        let Some(place) = units.iter().position(|(name, _)| *name == unit) else {
            return Err(unfit_unit(number, unit, &TIMES));
        };
        let part = number.checked_mul(units[place].1).and_then(|part| millis.checked_add(part));
        millis = part.ok_or("it is too long")?;
        units = &units[place + 1..];
        rest = after;
    }
    Ok(Duration::from_millis(millis))
}

/// Writes a duration so that [`parse_duration`] reads it again; to the millisecond.
pub fn show_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, length) in TIMES {
        if millis >= length {
            text.push_str(&format!("{}{unit}", millis / length));
            millis %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads a size in bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let (number, unit, after) = next_part(text)?;
    if !after.is_empty() {
        return Err(format!("`{after}` is too much"));
    }
    if unit.is_empty() {
        return Ok(number);
    }
    let Some((_, bytes)) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) else {
        return Err(unfit_unit(number, unit, &SIZES));
    };
    number.checked_mul(*bytes).ok_or_else(|| "it is too large".to_owned())
}

/// Writes a size so that [`parse_size`] reads it again, exactly.
pub fn show_size(bytes: u64) -> String {
    let fitting = SIZES.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match fitting {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => "0B".to_owned(),
    }
}

/// Splits a text such as `1h30m` into its first number and unit, and the rest.
fn next_part(text: &str) -> Result<(u64, &str, &str), String> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, rest) = text.split_at(number_end);
    if number.is_empty() {
        return Err(format!("`{text}` does not start with a number"));
    }
    if rest.starts_with(['.', ',']) {
        return Err("fractions are not read; use a smaller unit".to_owned());
    }
    let number = number.replace('_', "").parse().map_err(|_| format!("`{number}` is too large a number"))?;
    let rest = rest.trim_start();
    let unit_end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(unit_end);
    Ok((number, unit, after.trim_start()))
}

fn unfit_unit(number: u64, unit: &str, units: &[(&str, u64)]) -> String {
    match unit {
        "" => format!("{number} has no unit"),
        unit if units.iter().any(|(name, _)| *name == unit) => format!("`{unit}` comes after a smaller or equal unit"),
        unit => format!("`{unit}` is not a unit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("250ms", Ok(250)),
            ("30s", Ok(30_000)),
            ("5m", Ok(300_000)),
            ("1h30m", Ok(5_400_000)),
            ("1h 30m 2s 5ms", Ok(5_402_005)),
            ("2d", Ok(172_800_000)),
            ("1_000 ms", Ok(1_000)),
            ("0s", Ok(0)),
            ("", Err("it is empty")),
            ("30", Err("30 has no unit")),
            ("1.5s", Err("fractions are not read; use a smaller unit")),
            ("s", Err("`s` does not start with a number")),
            ("-1s", Err("`-1s` does not start with a number")),
            ("3 weeks", Err("`weeks` is not a unit")),
            ("30m1h", Err("`h` comes after a smaller or equal unit")),
            ("1s1s", Err("`s` comes after a smaller or equal unit")),
            ("99999999999999999999s", Err("`99999999999999999999` is too large a number")),
            ("9999999999999999d", Err("it is too long")),
        ] {
            let expected = expected.map(Duration::from_millis).map_err(str::to_owned);
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("64MiB", Ok(67_108_864)),
            ("1GB", Ok(1_000_000_000)),
            ("512 kib", Ok(524_288)),
            ("1_048_576", Ok(1_048_576)),
            ("7B", Ok(7)),
            ("0", Ok(0)),
            ("", Err("it is empty")),
            ("MiB", Err("`MiB` does not start with a number")),
            ("1.5GiB", Err("fractions are not read; use a smaller unit")),
            ("64Mi", Err("`Mi` is not a unit")),
            ("64MiB 1", Err("`1` is too much")),
            ("99999999999GiB", Err("it is too large")),
        ] {
            assert_eq!(parse_size(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for millis in [0, 1, 999, 1_000, 1_500, 90_000, 3_600_000, 86_400_001, 123_456_789] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration), "{millis}");
        }
        for bytes in [0, 1, 1_000, 1_024, 1_500, 1 << 20, 3_000_000, (1 << 30) + 1, 5_000_000_000, u64::MAX] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes), "{bytes}");
        }
        assert_eq!(show_duration(Duration::from_millis(5_402_005)), "1h30m2s5ms");
        assert_eq!(show_size(64 << 20), "64MiB");
    }
}
