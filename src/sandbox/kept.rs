//! What is kept of a log: text in which a marker stands for the lines that were left out of it.

use super::LogPart;
use crate::domain::limits::grouped;

/// Around the number of the lines. Every line of a run begins with a time instead.
const MARKER: (&str, &str, &str) = ("          ----- ", " lines", " left out: the log is bounded -----\n");

impl LogPart {
    /// The lines from number `line` on of a log that was kept when its run ended, as they are told while it runs.
    pub(crate) fn of_kept(kept: &str, line: u64) -> Self {
        let (mut text, mut next) = (String::new(), 0_u64);
        for told in kept.split_inclusive('\n') {
            let first = next;
            next = next.saturating_add(stands_for(told));
            match next.saturating_sub(line) {
                0 => {}
                missed if first < line => text.push_str(&marker(missed, None)),
                _ => text.push_str(told),
            }
        }
        Self { text, next }
    }
}

/// What stands in a log in place of so many lines, and of so many bytes where it stands for all that were left out.
pub(crate) fn marker(lines: u64, bytes: Option<String>) -> String {
    let (before, lines_word, after) = MARKER;
    let bytes = bytes.map(|bytes| format!(" ({bytes})")).unwrap_or_default();
    format!("{before}{}{lines_word}{bytes}{after}", grouped(lines, ','))
}

/// For how many lines a line of a kept log stands.
fn stands_for(told: &str) -> u64 {
    let (before, lines_word, _) = MARKER;
    let lines = told.strip_prefix(before).and_then(|rest| rest.split_once(lines_word));
    lines.and_then(|(lines, _)| lines.replace(',', "").parse().ok()).unwrap_or(1)
}
