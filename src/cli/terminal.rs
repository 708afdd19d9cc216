//! What commands write: lines, tables and JSON on standard output, the rest on standard error.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde_json::json;
use unicode_width::UnicodeWidthStr as _;

use super::failure::{Exit, Failure};
use crate::domain::code;
use crate::store::sled::OpenError;

/// Whether the output is for people or for programs, and whether it has colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    format: Format,
    colours: bool,
    is_terminal: bool,
}

/// Whom the output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Human,
    Json,
}

impl Terminal {
    /// The terminal of this process.
    pub(crate) fn new(format: Format) -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self { format, colours: is_terminal && colours_are_welcome(), is_terminal }
    }

    /// Whom the output is for.
    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// Whether programs read the output.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Whether a person looks at the output while it is written.
    pub(crate) fn is_interactive(self) -> bool {
        self.is_terminal && self.format == Format::Human
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
        let document = document.trim_end();
        match self.is_terminal {
            true => out.write_all(escaped_json(document).as_bytes())?,
            false => out.write_all(document.as_bytes())?,
        }
        out.write_all(b"\n")?;
        out.flush()
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

    /// Writes rows under their headings, each row on one line. On a narrow terminal the column that has most to say is cut
    /// with an ellipsis, never an id.
    pub(crate) fn table(self, headings: &[&str], rows: Vec<Vec<Field>>) -> io::Result<()> {
        let mut widths: Vec<_> = headings.iter().map(|heading| heading.chars().count()).collect();
        for row in &rows {
            for (width, field) in widths.iter_mut().zip(row) {
                *width = (*width).max(shown_width(&field.text));
            }
        }
        if let Some(room) = self.columns() {
            fit(&mut widths, headings, &rows, room);
        }
        let heading = headings.iter().map(|heading| Field { text: (*heading).to_owned(), tone: Tone::Heading });
        let mut text = self.row(&heading.collect::<Vec<_>>(), &widths);
        rows.iter().for_each(|row| text.push_str(&self.row(row, &widths)));
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    fn row(self, row: &[Field], widths: &[usize]) -> String {
        let mut line = String::new();
        for (index, (field, width)) in row.iter().zip(widths).enumerate() {
            let text = cut(&field.text, *width);
            let is_last = index + 1 == row.len();
            let padding = if is_last { 0 } else { width.saturating_sub(shown_width(&text)) + COLUMN_GAP };
            line.push_str(&self.paint(field.tone, &text));
            line.extend(std::iter::repeat_n(' ', padding));
        }
        format!("{}\n", line.trim_end())
    }

    /// How wide the terminal is; none for a file or a pipe, where nothing is cut.
    fn columns(self) -> Option<usize> {
        let named = || std::env::var("COLUMNS").ok()?.parse().ok();
        let asked = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let columns = || asked().filter(|columns| *columns > 0).or_else(named);
        self.is_terminal.then(columns).flatten()
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

/// One field of a table.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    text: String,
    tone: Tone,
}

impl Field {
    /// Text from anywhere, made safe and kept on one line.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self { text: neutralised(text.as_ref()).replace(['\n', '\t'], " "), tone: Tone::Plain }
    }

    /// A state in its colour.
    pub(crate) fn state(state: &str) -> Self {
        Self { tone: Tone::of_state(state), ..Self::new(state) }
    }

    /// A value, or a dash where there is none.
    pub(crate) fn or_dash(text: Option<impl AsRef<str>>) -> Self {
        text.map_or_else(|| Self::new("-"), Self::new)
    }
}

/// Blanks between two columns.
const COLUMN_GAP: usize = 2;

/// A column is not cut to fewer characters.
const COLUMN_LEAST: usize = 8;

/// Narrows the widest columns until all fit into `room` characters. One that holds ids, states, times or numbers stays whole.
fn fit(widths: &mut [usize], headings: &[&str], rows: &[Vec<Field>], room: usize) {
    let gaps = COLUMN_GAP * widths.len().saturating_sub(1);
    let is_prose = |column: usize| rows.iter().any(|row| row.get(column).is_some_and(|field| field.text.contains(' ')));
    let is_whole = |column: usize| {
        const WHOLE: &[&str] = &["ID", "STATE", "CREATED", "STARTED", "ON", "UPLOADED", "NEWEST", "NEXT", "EXPIRES"];
        headings.get(column).is_some_and(|heading| WHOLE.contains(heading)) || !is_prose(column)
    };
    // The last column is the one with most to say where none other is prose.
    let mut may_be_cut: Vec<_> = (0..widths.len()).filter(|column| !is_whole(*column)).collect();
    if may_be_cut.is_empty() {
        may_be_cut.extend(widths.len().checked_sub(1));
    }
    while widths.iter().sum::<usize>() + gaps > room {
        let widest = may_be_cut.iter().copied().max_by_key(|column| widths[*column]);
        let Some(widest) = widest.filter(|column| widths[*column] > COLUMN_LEAST) else { return };
        widths[widest] -= 1;
    }
}

/// How many columns of a terminal a text takes.
fn shown_width(text: &str) -> usize {
    text.width()
}

/// The text, or its beginning with an ellipsis.
fn cut(text: &str, width: usize) -> String {
    if shown_width(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        if shown_width(&kept) + shown_width(c.encode_utf8(&mut [0; 4])) + 1 > width {
            break;
        }
        kept.push(c);
    }
    kept + "\u{2026}"
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
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
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
    let of_store = error.chain().enumerate().find_map(|(depth, cause)| Some((depth, store_failure(cause)?)));
    let (depth, failure) = match &of_store {
        Some((depth, failure)) => (*depth, Some(failure)),
        None => (0, error.downcast_ref::<Failure>()),
    };
    let message = failure.map_or_else(|| error.to_string(), ToString::to_string);
    let causes: Vec<_> = error.chain().skip(depth + 1).map(ToString::to_string).collect();
    let text = match format {
        Format::Human => told(&message, &causes, failure),
        Format::Json => document(&message, &causes, failure),
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
