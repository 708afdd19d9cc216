//! Shows inputs, outputs and logs: JSON laid out, text made harmless, anything else in hexadecimal; always bounded.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use super::text;

/// Bytes of a payload or log that a page shows.
pub(super) const SHOWN_BYTES: usize = 64 << 10;

/// Bytes of a payload that is no text that a page shows.
const HEX_BYTES: usize = 4 << 10;

/// Bytes in one row of a hexadecimal view.
const HEX_ROW: usize = 16;

/// Bytes as a page shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Viewer {
    /// `JSON`, `text` or `binary`.
    pub(super) kind: &'static str,
    /// What is shown.
    pub(super) shown: String,
    /// The size of the whole.
    pub(super) size: String,
    /// What is not shown, in words.
    pub(super) cut: Option<String>,
}

impl Viewer {
    /// The beginning of some bytes.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let size = text::bytes(bytes.len() as u64);
        let head = &bytes[..bytes.len().min(SHOWN_BYTES)];
        let cut = |shown: usize| {
            (shown < bytes.len()).then(|| format!("The first {} of {size} are shown.", text::bytes(shown as u64)))
        };
        if let Some(json) = laid_out(head).filter(|_| head.len() == bytes.len()) {
            return Self { kind: "JSON", shown: text::neutral(&json), size, cut: None };
        }
        match as_text(head) {
            Some(readable) => Self { kind: "text", shown: text::neutral(readable), cut: cut(readable.len()), size },
            None => {
                let head = &head[..head.len().min(HEX_BYTES)];
                Self { kind: "binary", shown: hex(head), cut: cut(head.len()), size }
            }
        }
    }

    /// The end of a log, from the beginning of a line.
    pub(super) fn log(bytes: &[u8]) -> Self {
        let size = text::bytes(bytes.len() as u64);
        let from = bytes.len().saturating_sub(SHOWN_BYTES);
        let tail = &bytes[from..];
        let skipped = if from == 0 { 0 } else { tail.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
        let tail = &tail[skipped..];
        let cut = (from > 0).then(|| format!("The last {} of {size} are shown.", text::bytes(tail.len() as u64)));
        Self { kind: "text", shown: text::neutral(&String::from_utf8_lossy(tail)), size, cut }
    }
}

/// The readable part of bytes that are UTF-8, but for a character that is cut off at the end, and hold no NUL.
fn as_text(bytes: &[u8]) -> Option<&str> {
    let readable = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    (!readable.contains('\0')).then_some(readable)
}

/// A JSON document with a line for each member; numbers and strings stay as they were written.
fn laid_out(bytes: &[u8]) -> Option<String> {
    let json: &RawValue = serde_json::from_slice(bytes).ok()?;
    let mut out = String::with_capacity(bytes.len() * 2);
    let mut depth = 0_usize;
    let mut chars = json.get().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push('"');
                copy_string(&mut chars, &mut out);
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                match chars.next_if(|c| matches!(c, '}' | ']')) {
                    Some(close) => out.push(close),
                    None => {
                        depth += 1;
                        new_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    Some(out)
}

fn copy_string(chars: &mut impl Iterator<Item = char>, out: &mut String) {
    while let Some(c) = chars.next() {
        out.push(c);
        match c {
            '"' => return,
            '\\' => out.extend(chars.next()),
            _ => {}
        }
    }
}

fn new_line(out: &mut String, depth: usize) {
    /// Deeper levels are not indented further, so that a hostile document cannot grow without bound.
    const DEPTH_MAX: usize = 16;
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth.min(DEPTH_MAX)));
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 5);
    for (at, row) in bytes.chunks(HEX_ROW).enumerate() {
        // Writing to a string cannot fail.
        let _written = write!(out, "{:08x} ", at * HEX_ROW);
        for column in 0..HEX_ROW {
            let _written = match row.get(column) {
                Some(byte) => write!(out, " {byte:02x}"),
                None => write!(out, "   "),
            };
        }
        let readable = row.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' });
        out.push_str("  ");
        out.extend(readable);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_and_keeps_its_numbers() {
        let viewer = Viewer::new(br#"{"a":12345678901234567890.10,"b":[],"c":[1,{"d":"x\",{"}]}"#);
        assert_eq!(viewer.kind, "JSON");
        let expected = "{\n  \"a\": 12345678901234567890.10,\n  \"b\": [],\n  \"c\": [\n    1,\n    {\n      \"d\": \"x\\\",{\"\n    }\n  ]\n}";
        assert_eq!(viewer.shown, expected);
    }

    #[test]
    fn a_deep_document_stays_bounded() {
        let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
        assert!(Viewer::new(deep.as_bytes()).shown.len() < 120 * 2 * 40);
    }

    #[test]
    fn what_is_not_text_is_shown_in_hexadecimal() {
        let viewer = Viewer::new(b"\0asm\x0d\0\x01\0<script>");
        assert_eq!(viewer.kind, "binary");
        assert_eq!(viewer.shown, "00000000  00 61 73 6d 0d 00 01 00 3c 73 63 72 69 70 74 3e  .asm....<script>\n");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let viewer = Viewer::new("é".repeat(SHOWN_BYTES).as_bytes());
        assert_eq!(viewer.kind, "text");
        assert_eq!(viewer.shown.len(), SHOWN_BYTES);
        assert_eq!(viewer.cut.as_deref(), Some("The first 64.0 KiB of 128.0 KiB are shown."));
    }

    #[test]
    fn the_end_of_a_log_starts_with_a_line() {
        let log = "0123456789\n".repeat(10_000);
        let viewer = Viewer::log(log.as_bytes());
        assert!(viewer.shown.starts_with("0123456789\n"));
        assert!(viewer.shown.len() <= SHOWN_BYTES);
        assert!(viewer.cut.is_some());
    }
}
