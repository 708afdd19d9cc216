//! From bytes of uncertain encoding to text that can be trusted.

use std::borrow::Cow;

use backroom_sdk::{Failure, Result};

/// What Windows-1252 has where Latin-1 has control characters, from 0x80 on. The five gaps stay what they are.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// Reads a line as UTF-8, or as Windows-1252 if it is none.
pub fn decode(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let char_of = |byte: &u8| match byte {
            0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
            _ => char::from(*byte),
        };
        error.as_bytes().iter().map(char_of).collect()
    })
}

/// One field, repaired where that is certain: invisible characters and surrounding space go, UTF-8 that was read as
/// Windows-1252 is undone. Words that stand for nothing (`n/a`, `-`) become nothing.
pub fn field(raw: &str) -> Result<Option<Cow<'_, str>>> {
    if raw.contains('\u{fffd}') {
        let message = format!("characters of `{raw}` were lost before the row came here; export it again as UTF-8");
        return Err(Failure::business(message).code("unreadable-text"));
    }
    let mut text = Cow::Borrowed(raw);
    if !raw.is_ascii() {
        while let Some(repaired) = undo_double_encoding(&text) {
            text = Cow::Owned(repaired);
        }
        if text.contains(is_odd) {
            let plain = text.chars().filter(|c| !is_invisible(*c)).map(|c| if c.is_whitespace() { ' ' } else { c });
            text = Cow::Owned(plain.collect());
        }
    }
    let text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    };
    let nothing = ["", "-", "--", "?", "n/a", "#n/a", "null", "none", "unknown"];
    Ok((!nothing.iter().any(|word| text.eq_ignore_ascii_case(word))).then_some(text))
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}')
}

fn is_odd(c: char) -> bool {
    is_invisible(c) || (c != ' ' && c.is_whitespace())
}

/// Text that is UTF-8 once more when written as Windows-1252, and then reads as a European language or as money, was
/// encoded twice: nobody writes `MÃ¼ller`.
fn undo_double_encoding(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let bytes: Option<Vec<u8>> = text.chars().map(windows_1252).collect();
    let repaired = String::from_utf8(bytes?).ok()?;
    let plausible = |c: char| {
        c.is_ascii()
            || matches!(c, '\u{a0}'..='\u{24f}' | '\u{370}'..='\u{52f}' | '\u{2010}'..='\u{203a}' | '\u{20a0}'..='\u{20bf}' | 'ˆ' | '˜' | '™')
    };
    repaired.chars().all(plausible).then_some(repaired)
}

fn windows_1252(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (0..=0x7f | 0xa0..=0xff) => Some(code as u8),
        _ => WINDOWS_1252.iter().position(|other| *other == c).map(|index| 0x80 + index as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_utf8_or_as_windows_1252() {
        assert_eq!(decode("Köln".into()), "Köln");
        assert_eq!(decode(b"K\xf6ln \x80 5".to_vec()), "Köln € 5");
    }

    #[test]
    fn double_encoding_is_undone_only_where_it_is_certain() {
        let cases = [
            ("MÃ¼nchen", "München"),
            ("MÃƒÂ¼nchen", "München"),
            ("12 â‚¬", "12 €"),
            ("SÃ£o Paulo", "São Paulo"),
            ("ÅšwidnicÄ™", "Świdnicę"),
            ("München", "München"),
            ("Ålesund", "Ålesund"),
            ("東京", "東京"),
            ("Ã…rhus", "Århus"),
            ("Ã", "Ã"),
        ];
        for (raw, clean) in cases {
            assert_eq!(field(raw).unwrap().unwrap(), clean, "{raw}");
        }
    }

    #[test]
    fn space_goes_and_words_for_nothing_are_nothing() {
        assert_eq!(field("\u{a0} Oak\u{200b} \t").unwrap().unwrap(), "Oak");
        assert_eq!(field("1\u{202f}234").unwrap().unwrap(), "1 234");
        for raw in ["", "  ", "-", "N/A", "null", "\u{a0}"] {
            assert_eq!(field(raw).unwrap(), None, "{raw:?}");
        }
    }

    #[test]
    fn lost_characters_are_told() {
        assert_eq!(field("M\u{fffd}nchen").unwrap_err().code.as_deref(), Some("unreadable-text"));
    }
}
