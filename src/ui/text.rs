//! Turns values of the host into words for people: times, sizes, counts, and text that strangers wrote.

use std::fmt::Write as _;
use std::time::Duration;

use crate::domain::time::Timestamp;

/// The longest name, tag or message that a table shows, in characters.
pub(super) const LINE_CHARS: usize = 120;

/// Text from a plug-in or a user as one harmless line of at most `chars` characters: line ends become spaces, and
/// characters that are invisible or turn the direction of writing are shown by their pictures or numbers.
pub(super) fn line(text: &str, chars: usize) -> String {
    let shown = neutral(text).replace(['\n', '\t'], " ");
    let mut kept: String = shown.chars().take(chars).collect();
    if kept.len() < shown.len() {
        kept.pop();
        kept.push('…');
    }
    kept
}

/// Text from a plug-in or a user, with its lines, made harmless: colours of terminals are dropped, other control
/// characters are shown by their pictures, and what turns the direction of writing by its number.
pub(super) fn neutral(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = after_colour(rest) {
            rest = after;
            continue;
        }
        push_neutral(&mut shown, c);
        rest = &rest[c.len_utf8()..];
    }
    shown
}

/// A clause as a sentence of its own: with a capital first and a full stop last.
pub(super) fn sentence(clause: &str) -> String {
    let clause = neutral(clause.trim());
    let mut rest = clause.chars();
    let mut sentence: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
    sentence.push_str(rest.as_str());
    if !sentence.ends_with(['.', '!', '?', '…']) {
        sentence.push('.');
    }
    sentence
}

/// A part of a sentence: words, or what stands in backticks and is to be typed or looked up as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) text: String,
    pub(super) is_code: bool,
}

/// A sentence in its parts. A backtick without a second one stays what it is.
pub(super) fn parts(sentence: &str) -> Vec<Part> {
    let part = |text: &str, is_code| Part { text: text.to_owned(), is_code };
    let mut parts = Vec::new();
    let mut rest = sentence;
    while let Some((words, (code, after))) =
        rest.split_once('`').and_then(|(words, after)| Some((words, after.split_once('`')?)))
    {
        parts.push(part(words, false));
        parts.push(part(code, true));
        rest = after;
    }
    parts.push(part(rest, false));
    parts.retain(|part| !part.text.is_empty());
    parts
}

/// The parts of a sentence as one line of text.
pub(super) fn joined(parts: &[Part]) -> String {
    line(&parts.iter().map(|part| part.text.as_str()).collect::<String>(), LINE_CHARS)
}

/// What follows a terminal's colour sequence (`ESC [ numbers m`) at the start of `text`.
fn after_colour(text: &str) -> Option<&str> {
    let after = text.strip_prefix("\u{1b}[")?.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
    after.strip_prefix('m')
}

/// Whether a reader sees a character as what it is: no control character, and nothing that is invisible or turns the
/// direction of writing.
pub(super) fn is_shown(c: char) -> bool {
    let hides = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !hides && !c.is_control()
}

fn push_neutral(shown: &mut String, c: char) {
    match c {
        '\n' | '\t' => shown.push(c),
        '\r' => {}
        '\0'..='\u{1f}' => shown.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}')),
        '\u{7f}' => shown.push('\u{2421}'),
        c if is_shown(c) => shown.push(c),
        // Writing to a string cannot fail.
        c => {
            let _written = write!(shown, "⟨U+{:04X}⟩", u32::from(c));
        }
    }
}

/// A whole number with separated thousands: `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count of jobs in words: `1 job`, `12,345 jobs`.
pub(super) fn jobs(number: u64) -> String {
    if number == 1 { "1 job".to_owned() } else { format!("{} jobs", count(number)) }
}

/// A number with at most four characters: `950`, `12.3k`, `4.1M`, `7.0G`.
pub(super) fn short_count(number: u64) -> String {
    const UNITS: [(u64, char); 4] = [(1_000_000_000_000, 'T'), (1_000_000_000, 'G'), (1_000_000, 'M'), (1_000, 'k')];
    let Some((unit, letter)) = UNITS.into_iter().find(|(unit, _)| number >= *unit) else { return number.to_string() };
    let (whole, tenth) = (number / unit, number % unit * 10 / unit);
    if whole < 100 { format!("{whole}.{tenth}{letter}") } else { format!("{whole}{letter}") }
}

/// A span of time in the two units that matter: `340 µs`, `12.4 ms`, `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn span(span: Duration) -> String {
    let micros = span.as_micros();
    let seconds = span.as_secs();
    match seconds {
        0 if micros == 0 => "0 s".to_owned(),
        0 if micros < 1_000 => format!("{micros} µs"),
        0 if micros < 10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        0 => format!("{} ms", micros / 1_000),
        1..10 => format!("{seconds}.{} s", span.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => two_units(seconds, 60, "min", "s"),
        3_600..86_400 => two_units(seconds / 60, 60, "h", "min"),
        _ => two_units(seconds / 3_600, 24, "d", "h"),
    }
}

fn two_units(small: u64, per_great: u64, great_unit: &str, small_unit: &str) -> String {
    match small % per_great {
        0 => format!("{} {great_unit}", small / per_great),
        rest => format!("{} {great_unit} {rest} {small_unit}", small / per_great),
    }
}

/// A span of time in whole units, for ages: `3 s`, `12 min`, `5 h`, `2 d`.
pub(super) fn age(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..86_400 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Bytes in the unit that fits: `312 B`, `4.0 KiB`, `12.5 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1_024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1_024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A point in time, as a page shows it: how far from now, and the instant itself for those who look closer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct When {
    /// `3 s ago` or `in 5 min`.
    pub(super) relative: String,
    /// RFC 3339.
    pub(super) instant: String,
}

impl When {
    /// The point `at`, seen from `now`.
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        let relative = match (at > now, now.since(at).as_secs()) {
            (true, _) => format!("in {}", age(at.since(now) + Duration::from_millis(999))),
            (false, 0) => "just now".to_owned(),
            (false, _) => format!("{} ago", age(now.since(at))),
        };
        Self { relative, instant: at.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_backticks_is_code() {
        let told: Vec<_> =
            parts("Raise `wall` or `fuel`; a ` alone").into_iter().map(|part| (part.text, part.is_code)).collect();
        let expected = [("Raise ", false), ("wall", true), (" or ", false), ("fuel", true), ("; a ` alone", false)];
        assert_eq!(told, expected.map(|(text, is_code)| (text.to_owned(), is_code)));
    }

    #[test]
    fn a_clause_becomes_a_sentence() {
        assert_eq!(sentence("it waits for 2 jobs"), "It waits for 2 jobs.");
        assert_eq!(sentence("élan is gone!"), "Élan is gone!");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn a_line_is_one_line_and_shows_what_hides() {
        assert_eq!(line("a\nb\u{0}c\u{202e}d\u{1b}[31mred", 80), "a b␀c⟨U+202E⟩dred");
        assert_eq!(line(&"x".repeat(10), 5), "xxxx…");
        assert_eq!(line("exact", 5), "exact");
    }

    #[test]
    fn an_unfinished_colour_is_shown() {
        assert_eq!(neutral("\u{1b}[31"), "␛[31");
        assert_eq!(neutral("\u{1b}[2J"), "␛[2J");
        assert_eq!(neutral("\r\nü\u{9b}"), "\nü⟨U+009B⟩");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(short_count(999), "999");
        assert_eq!(short_count(12_345), "12.3k");
        assert_eq!(short_count(4_999_999_999), "4.9G");
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(4_096), "4.0 KiB");
        assert_eq!(bytes(u64::MAX), "16777215.9 TiB");
    }

    #[test]
    fn spans_read_well() {
        assert_eq!(span(Duration::from_micros(340)), "340 µs");
        assert_eq!(span(Duration::from_micros(9_940)), "9.9 ms");
        assert_eq!(span(Duration::from_millis(3_250)), "3.2 s");
        assert_eq!(span(Duration::from_secs(250)), "4 min 10 s");
        assert_eq!(span(Duration::from_secs(7_500)), "2 h 5 min");
        assert_eq!(span(Duration::from_secs(86_400)), "1 d");
    }

    #[test]
    fn a_time_is_seen_from_now() {
        let now = Timestamp::from_millis(1_000_000);
        assert_eq!(When::new(now, now).relative, "just now");
        assert_eq!(When::new(Timestamp::from_millis(940_000), now).relative, "1 min ago");
        assert_eq!(When::new(Timestamp::from_millis(1_004_001), now).relative, "in 5 s");
    }
}
