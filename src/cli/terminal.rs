//! What commands write: lines, tables and JSON on standard output, the rest on standard error.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde_json::json;
use serde_json::value::RawValue;

use super::failure::{Exit, Failure};
use crate::config::Problems;
use crate::domain::code;
use crate::domain::job::Status;
use crate::store::sled::OpenError;

/// Whether the output is for people or for programs, and whether it has colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    format: Format,
    colours: bool,
    is_terminal: bool,
}

/// How the output looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Lines and tables for people, as wide as the terminal
    #[default]
    Table,
    /// The same with every column, whole
    Wide,
    /// The API's JSON, one document
    Json,
    /// JSON for programs that read lines: each item of a list on its own
    Ndjson,
}

impl Format {
    /// Whether programs read it.
    pub(crate) fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Ndjson)
    }
}

impl Terminal {
    /// The terminal of this process.
    pub(crate) fn new(format: Format) -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self { format, colours: is_terminal && colours_are_welcome(), is_terminal }
    }

    /// How the output looks.
    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// Whether programs read the output.
    pub(crate) fn is_json(self) -> bool {
        self.format.is_json()
    }

    /// Whether a person looks at the output while it is written.
    pub(crate) fn is_interactive(self) -> bool {
        self.is_terminal && !self.format.is_json()
    }

    /// Whether there is a person to ask.
    pub(crate) fn can_ask(self) -> bool {
        self.is_interactive() && io::stdin().is_terminal()
    }

    /// Asks for a yes.
    pub(crate) fn ask(self, question: &str) -> io::Result<bool> {
        let mut out = io::stdout().lock();
        out.write_all(format!("{} [y/N] ", neutralised(question)).as_bytes())?;
        out.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Writes one line, made safe.
    pub(crate) fn line(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(neutralised(text).as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Writes a document of the API: exactly as it came into a file or a pipe, on a terminal with escapes of JSON for what
    /// would steer it.
    pub(crate) fn json(self, document: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let mut document = Cow::from(document.trim_end());
        if self.format == Format::Ndjson {
            // Within strings they are escaped.
            document = document.replace(['\n', '\r'], " ").into();
        }
        match self.is_terminal {
            true => out.write_all(escaped_json(&document).as_bytes())?,
            false => out.write_all(document.as_bytes())?,
        }
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Writes a list of the API, whose items stand in this field: as it came, or each item on a line of its own.
    pub(crate) fn json_list(self, document: &str, items: &str) -> io::Result<()> {
        let fields = serde_json::from_str::<HashMap<&str, &RawValue>>(document).ok();
        match fields.as_ref().and_then(|fields| fields.get(items)).filter(|_| self.format == Format::Ndjson) {
            Some(items) => self.json_items(items.get()),
            None => self.json(document),
        }
    }

    /// Writes an array: as one document, or each item on a line of its own.
    pub(crate) fn json_items(self, array: &str) -> io::Result<()> {
        match serde_json::from_str::<Vec<&RawValue>>(array).ok().filter(|_| self.format == Format::Ndjson) {
            Some(items) => items.into_iter().try_for_each(|item| self.json(item.get())),
            None => self.json(array),
        }
    }

    /// Writes bytes: as they are into a file or a pipe, made safe on a terminal.
    pub(crate) fn bytes(self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.is_terminal {
            let text = neutralised(&String::from_utf8_lossy(bytes));
            out.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                out.write_all(b"\n")?;
            }
        } else {
            out.write_all(bytes)?;
        }
        out.flush()
    }

    /// How wide the terminal is; none where nothing is to be left out: for a file or a pipe, or where everything is wanted.
    pub(super) fn columns(self) -> Option<usize> {
        let named = || std::env::var("COLUMNS").ok()?.parse().ok();
        let asked = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let columns = || asked().filter(|columns| *columns > 0).or_else(named);
        (self.is_terminal && self.format == Format::Table).then(columns).flatten()
    }

    /// A state with its shape, on a terminal. Programs that read a table get the word alone.
    pub(crate) fn state(self, word: &str) -> String {
        match shape_of(word).filter(|_| self.is_terminal && is_able()) {
            Some(shape) => format!("{shape} {word}"),
            None => word.to_owned(),
        }
    }

    /// Writes names and values under each other.
    pub(crate) fn facts(self, facts: &[(&str, Option<String>)]) -> io::Result<()> {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in facts {
            if let Some(value) = value {
                let indented = neutralised(value).replace('\n', &format!("\n{:width$}  ", ""));
                let name = self.paint(Tone::Quiet, &format!("{name:width$}"));
                self.raw_line(&format!("{name}  {indented}"))?;
            }
        }
        Ok(())
    }

    /// `text` in a colour, where there are colours. `text` must be safe already.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colours {
            return text.to_owned();
        }
        format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code())
    }

    /// Writes a line that holds nothing but our own text and what was made safe.
    pub(crate) fn raw_line(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    }
}

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Doubtful,
    Busy,
    Quiet,
    Heading,
    Plain,
}

impl Tone {
    fn code(self) -> u8 {
        match self {
            Self::Good => 32,
            Self::Bad => 31,
            Self::Doubtful => 33,
            Self::Busy => 36,
            Self::Quiet => 2,
            Self::Heading => 1,
            Self::Plain => 0,
        }
    }

    /// The tone of a job's state.
    pub(crate) fn of_state(state: &str) -> Self {
        match state {
            "succeeded" | "active" | "running" | "ok" => Self::Good,
            "failed" | "fail" => Self::Bad,
            "retrying" | "waiting" | "paused" | "pausing" | "canceling" | "pending" | "warn" => Self::Doubtful,
            "queued" => Self::Busy,
            "canceled" | "inactive" => Self::Quiet,
            _ => Self::Plain,
        }
    }
}

/// Text from elsewhere made safe for a terminal: what would steer it is shown as an escape instead.
pub(crate) fn neutralised(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => safe.push(c),
            '\r' => {}
            c if steers(c) => {
                write!(safe, "{}", c.escape_unicode()).expect("writing to a String does not fail");
            }
            c => safe.push(c),
        }
    }
    safe
}

/// The same JSON with nothing in it that steers a terminal. All that does so stands in strings, where `\u` may stand for it.
fn escaped_json(document: &str) -> String {
    let mut safe = String::with_capacity(document.len());
    for c in document.chars() {
        match c {
            '\n' | '\t' => safe.push(c),
            c if steers(c) => {
                write!(safe, "\\u{:04x}", u32::from(c)).expect("writing to a String does not fail");
            }
            c => safe.push(c),
        }
    }
    safe
}

/// Whether a terminal does something at this character instead of showing it, or turns the direction of text.
fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

fn colours_are_welcome() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && is_able()
}

/// Whether the terminal says that it shows more than plain text.
fn is_able() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The shape of a state: that of a job, or what stands for another thing's.
fn shape_of(word: &str) -> Option<&'static str> {
    let of_job = Status::from_word(word).map(Status::shape);
    of_job.or(match word {
        "active" | "open" | "ok" => Some(Status::Succeeded.shape()),
        "inactive" | "disabled" | "ended" => Some(Status::Canceled.shape()),
        "pending" => Some(Status::Waiting.shape()),
        "degraded" | "warn" => Some("!"),
        "fail" | "timed-out" | "lease-lost" => Some(Status::Failed.shape()),
        _ => None,
    })
}

/// Writes a line on standard error, made safe. Nobody is left to tell when standard error is gone or full.
pub(crate) fn aside(line: &str) {
    drop(io::stderr().write_all(format!("{}\n", neutralised(line)).as_bytes()));
}

/// Writes an error with its causes, its code and the next command on standard error, and says how to end.
pub(crate) fn report(error: &anyhow::Error, format: Format) -> Exit {
    let is_broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(is_broken_pipe) {
        return Exit::Done;
    }
    let known = error.chain().enumerate().find_map(|(depth, cause)| Some((depth, known_failure(cause)?)));
    let (depth, failure) = match &known {
        Some((depth, failure)) => (*depth, Some(failure)),
        None => (0, error.downcast_ref::<Failure>()),
    };
    let message = failure.map_or_else(|| error.to_string(), ToString::to_string);
    let causes: Vec<_> = error.chain().skip(depth + 1).map(ToString::to_string).collect();
    let text = match format {
        Format::Table | Format::Wide => told(&message, &causes, failure),
        Format::Json | Format::Ndjson => document(&message, &causes, failure),
    };
    // Nobody is left to tell when standard error is gone.
    drop(io::stderr().write_all(text.as_bytes()));
    failure.map_or(Exit::Failed, |failure| failure.exit)
}

/// An error as people read it.
fn told(message: &str, causes: &[String], failure: Option<&Failure>) -> String {
    let code = failure.and_then(|failure| failure.code.as_deref());
    let mut text = format!("{}: {message}\n", head(code));
    for cause in causes {
        writeln!(text, "  cause: {cause}").expect("writing to a String does not fail");
    }
    if let Some(failure) = failure {
        for note in &failure.notes {
            writeln!(text, "  {}", note.replace('\n', "\n  ")).expect("writing to a String does not fail");
        }
        if let Some(next) = &failure.next {
            writeln!(text, "  next: {next}").expect("writing to a String does not fail");
        }
    }
    if let Some(code) = code {
        writeln!(text, "  more: backroom explain {code}").expect("writing to a String does not fail");
    }
    neutralised(&text)
}

/// An error as one line of JSON, for programs.
fn document(message: &str, causes: &[String], failure: Option<&Failure>) -> String {
    let known = failure.and_then(|failure| code::find(failure.code.as_deref()?));
    let document = json!({
        "code": failure.and_then(|failure| failure.code.as_deref()),
        "title": known.map(|code| code.title),
        "message": message,
        "causes": causes,
        "notes": failure.map(|failure| failure.notes.as_slice()).unwrap_or_default(),
        "next": failure.and_then(|failure| failure.next.as_deref()),
    });
    format!("{}\n", escaped_json(&document.to_string()))
}

/// A cause that belongs into the catalogue: of the settings, or of a store that cannot be opened.
fn known_failure(cause: &(dyn std::error::Error + 'static)) -> Option<Failure> {
    cause.downcast_ref::<Problems>().cloned().map(Failure::from).or_else(|| store_failure(cause))
}

/// A store that cannot be opened, as an entry of the catalogue.
fn store_failure(cause: &(dyn std::error::Error + 'static)) -> Option<Failure> {
    let error = cause.downcast_ref::<OpenError>()?;
    let failure = Failure::new(error.code(), error.to_string());
    Some(match error.code() == code::DISK_FULL {
        true => failure.with_next("make room on the disk and start it again; the store itself was left as it is"),
        false => failure,
    })
}

fn head(code: Option<&str>) -> String {
    code.map_or_else(|| "error".to_owned(), |code| format!("error[{code}]"))
}

#[cfg(test)]
mod tests {
    use super::{escaped_json, neutralised};

    #[test]
    fn json_on_a_terminal_stays_json() {
        let document = "{\n\t\"a\": \"\u{9b}31m\u{202e}\u{7f}\u{61c} \u{e4}\u{1f980}\"\n}";
        let safe = escaped_json(document);
        assert_eq!(safe, "{\n\t\"a\": \"\\u009b31m\\u202e\\u007f\\u061c \u{e4}\u{1f980}\"\n}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("it is JSON");
        assert_eq!(read(&safe), read(document));
    }

    #[test]
    fn what_steers_a_terminal_is_shown_as_an_escape() {
        for (text, expected) in [
            ("plain \u{e4}\u{1f980}\n\tnext", "plain \u{e4}\u{1f980}\n\tnext"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
            ("a\u{9b}31mb", "a\\u{9b}31mb"),
            ("ok\rfail", "okfail"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("\u{7f}\u{0}", "\\u{7f}\\u{0}"),
        ] {
            assert_eq!(neutralised(text), expected, "{text:?}");
        }
    }
}
