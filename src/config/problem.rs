//! What is wrong with a setting: where it stands, what it is, and what it may be.

use std::fmt;
use std::sync::Arc;

use crate::domain::code::{self, Code};

/// A place in a text, counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl Position {
    /// The position of the byte `offset` in `text`.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).map_or(0, |rest| rest.chars().count());
        Self { line: before.matches('\n').count() + 1, column: column + 1 }
    }
}

/// Where a setting was given: a file, an environment variable, or a flag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file's name, the variable, or the flag.
    pub source: Arc<str>,
    /// Where in the file; nothing for a variable or a flag.
    pub position: Option<Position>,
}

impl Place {
    /// A whole variable or flag.
    pub fn named(name: &str) -> Self {
        Self { source: Arc::from(name), position: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(Position { line, column }) => write!(f, "{}:{line}:{column}", self.source),
            None => f.write_str(&self.source),
        }
    }
}

/// One mistake in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What it may be, or what to do.
    pub remedy: Option<String>,
    /// The entry of the catalogue.
    pub code: Code,
}

impl Problem {
    pub(crate) fn new(place: Place, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place, message: message.into(), remedy: Some(remedy.into()), code: code::BAD_CONFIG }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// Every problem there is, one a line, sorted by place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The known word that a typing mistake most likely meant.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|word| (strsim::damerau_levenshtein(given, word), word));
    let (distance, word) = scored.min()?;
    (distance <= given.len().max(word.len()).div_ceil(3)).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "ab\n\u{e4}\u{f6} = 1\n";
        for (offset, line, column) in [(0, 1, 1), (1, 1, 2), (3, 2, 1), (7, 2, 3), (text.len(), 3, 1), (999, 3, 1)] {
            assert_eq!(Position::of(text, offset), Position { line, column }, "offset {offset}");
        }
    }

    #[test]
    fn the_nearest_word_is_within_a_third_of_the_length() {
        let known = ["listen", "token", "allowed_hosts"];
        for (given, expected) in [
            ("lisen", Some("listen")),
            ("lsiten", Some("listen")),
            ("tokne", Some("token")),
            ("allowed_host", Some("allowed_hosts")),
            ("colour", None),
        ] {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
    }
}
