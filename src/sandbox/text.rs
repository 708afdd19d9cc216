//! Text from guests, made harmless: bounded, valid UTF-8, without anything that a terminal or a page would obey.

use std::borrow::Cow;

pub(crate) use crate::domain::limits::grouped;

/// Cuts `text` to at most `max_bytes` at a character's edge and writes control characters as escapes. Line feeds and tabs stay.
pub(crate) fn neutral(text: &str, max_bytes: usize) -> String {
    let cut = cut(text, max_bytes);
    let mut harmless = escape_controls(cut).into_owned();
    if cut.len() < text.len() {
        harmless.push('…');
    }
    harmless
}

/// Like [`neutral`], but one line whatever it holds: for a name, a context, or anything that stands within a line of ours.
pub(crate) fn line(text: &str, max_bytes: usize) -> String {
    let mut harmless = String::new();
    for c in cut(text, max_bytes).chars() {
        match c {
            '\n' => harmless.push_str("\\n"),
            '\t' => harmless.push_str("\\t"),
            c if is_obeyed(c) => harmless.extend(c.escape_unicode()),
            c => harmless.push(c),
        }
    }
    if text.len() > max_bytes {
        harmless.push('…');
    }
    harmless
}

/// An error and its causes, one after another.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// The longest beginning of `text` of at most `max_bytes` that ends at a character's edge.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    &text[..text.floor_char_boundary(max_bytes)]
}

/// Writes control characters, and those that turn the direction of text, hide in it or end a line, as `\u{1b}`.
pub(crate) fn escape_controls(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut harmless = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_obeyed(c) {
            harmless.extend(c.escape_unicode());
        } else {
            harmless.push(c);
        }
    }
    Cow::Owned(harmless)
}

fn is_obeyed(c: char) -> bool {
    let turns_direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let ends_a_line = matches!(c, '\u{2028}' | '\u{2029}');
    let hides = matches!(c, '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    (c.is_control() && c != '\n' && c != '\t') || turns_direction || ends_a_line || hides
}

/// Bytes as people read them: `64 MiB`, `1.5 MiB`, `300 bytes`.
pub(crate) fn bytes(count: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    let (unit, name) = match count {
        GIB.. => (GIB, "GiB"),
        MIB.. => (MIB, "MiB"),
        KIB.. => (KIB, "KiB"),
        1 => return "1 byte".into(),
        _ => return format!("{count} bytes"),
    };
    let tenths = (u128::from(count) * 10).div_ceil(u128::from(unit));
    if tenths % 10 == 0 { format!("{} {name}", tenths / 10) } else { format!("{}.{} {name}", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(neutral("a\u{1b}[31mred\u{202e}\tb\r\nc", 100), "a\\u{1b}[31mred\\u{202e}\tb\\u{d}\nc");
    }

    #[test]
    fn one_line_stays_one_line() {
        assert_eq!(
            line("a\nhost  b\tc\r\u{85}\u{2028}\u{2029}\u{200b}d", 100),
            "a\\nhost  b\\tc\\u{d}\\u{85}\\u{2028}\\u{2029}\\u{200b}d"
        );
        assert_eq!(line("añb", 2), "a…");
        assert_eq!(neutral("a\u{2028}b\u{61c}", 100), "a\\u{2028}b\\u{61c}");
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(neutral("añb", 2), "a…");
        assert_eq!(neutral("añb", 3), "añ…");
        assert_eq!(neutral("añb", 4), "añb");
    }

    #[test]
    fn numbers_are_grouped_and_bytes_have_units() {
        assert_eq!(grouped(5_000_000_000, ','), "5,000,000,000");
        assert_eq!(grouped(100, '_'), "100");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes((1 << 20) + 1), "1.1 MiB");
        assert_eq!(bytes(300), "300 bytes");
    }
}
