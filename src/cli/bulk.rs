//! `backroom job submit --bulk`: a file of jobs in a few large requests, each taken whole or not at all.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::client::Client;
use super::failure::{Exit, Failure};
use super::terminal::Terminal;
use crate::api::view::{BulkView, SubmitBody};
use crate::domain::code;

/// How much one request holds at most.
const CHUNK_LINES: usize = 10_000;
const CHUNK_BYTES: usize = 16 << 20;

/// How many faulty lines are told of.
const FAULTS_SHOWN: usize = 20;

/// Checks every line, then submits them from line `from_line` on.
pub(crate) fn submit(client: &Client, file: &Path, from_line: usize, terminal: Terminal) -> anyhow::Result<Exit> {
    check(file)?;
    let bytes = std::fs::metadata(file).map(|metadata| metadata.len()).unwrap_or_default();
    let bar = ProgressBar::new(bytes).with_style(
        ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {msg}").expect("the template is right"),
    );
    let mut total = BulkView::default();
    let mut chunks = Chunks::open(file)?;
    while let Some(chunk) = chunks.next()? {
        bar.inc(chunk.read_bytes);
        let Some(lines) = chunk.from(from_line) else { continue };
        let answer = client.submit_bulk(&lines).map_err(|error| {
            bar.finish_and_clear();
            explained(error, &chunk, from_line, total.count)
        })?;
        let BulkView { count, first, last, ids } = answer.view;
        total.count += count;
        total.first = total.first.or(first);
        total.last = last.or(total.last);
        total.ids.extend(ids);
        bar.set_message(format!("{} jobs", total.count));
    }
    bar.finish_and_clear();
    report(&total, terminal)
}

fn report(total: &BulkView, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json(&serde_json::to_string(total)?)?;
        return Ok(Exit::Done);
    }
    let range = match (&total.first, &total.last) {
        (Some(first), Some(last)) => format!(", from {first} to {last}"),
        _ => String::new(),
    };
    terminal.line(&format!("{} jobs were taken{range}", total.count))?;
    Ok(Exit::Done)
}

/// Looks at every line before the first is sent, so that a typing mistake at the end does not leave half of the file
/// submitted.
fn check(file: &Path) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    let mut chunks = Chunks::open(file)?;
    while let Some(chunk) = chunks.next()? {
        for (number, line) in (chunk.first_line..).zip(&chunk.lines) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            if let Err(error) = serde_json::from_slice::<SubmitBody>(line.trim_ascii_end()) {
                faults.push(format!("line {number}: {}", in_line(&error)));
            }
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let count = faults.len();
    faults.truncate(FAULTS_SHOWN);
    if count > FAULTS_SHOWN {
        faults.push(format!("and {} more", count - FAULTS_SHOWN));
    }
    let lines =
        if count == 1 { "one line that is no job".to_owned() } else { format!("{count} lines that are no jobs") };
    let message = format!("{} holds {lines}; nothing was submitted", file.display());
    let next = "mend the lines; each is one job such as {\"plugin\": \"echo\", \"input\": {\"a\": 1}}";
    Err(Failure { notes: faults, ..Failure::bad_input(message, next) }.into())
}

/// A message about JSON, with the column only: the line's number within itself says nothing.
fn in_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(what) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

/// An error of one request, with the lines' numbers in the file and what became of the lines before.
fn explained(error: anyhow::Error, chunk: &Chunk, from_line: usize, taken: usize) -> anyhow::Error {
    let first = chunk.first_line.max(from_line);
    let next = match taken {
        _ if is_answer_lost(&error) => uncertain(first, chunk.first_line + chunk.lines.len()),
        0 => "nothing was submitted; mend it and submit the file again".to_owned(),
        taken => format!("{taken} jobs of the lines before {first} were taken; go on with --from-line {first}"),
    };
    match error.downcast::<Failure>() {
        Ok(failure) => {
            let notes = failure.notes.iter().map(|note| shifted(note, first - 1)).collect();
            Failure { notes, next: Some(next), ..failure }.into()
        }
        Err(error) => error.context(Failure { exit: Exit::Failed, ..Failure::bad_input("the submit broke off", next) }),
    }
}

/// Whether the host may have taken the lines although no answer of it came back.
fn is_answer_lost(error: &anyhow::Error) -> bool {
    let is_of_catalogue = |failure: &Failure| failure.code.as_deref() == Some(code::NO_HOST.name);
    let was_reached = !error.chain().filter_map(|cause| cause.downcast_ref()).any(never_connected);
    error.downcast_ref().is_some_and(is_of_catalogue) && was_reached
}

fn never_connected(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::BadUri(_) => true,
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => true,
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}

fn uncertain(first: usize, end: usize) -> String {
    format!(
        "the last {} lines, {first} to {}, may have been taken; see `backroom job list`. Go on with --from-line {first} \
         if they were not, with --from-line {end} if they were",
        end - first,
        end - 1
    )
}

/// `line 3: ...` of a request as the line of the file.
fn shifted(note: &str, by: usize) -> String {
    let number_and_rest = note.strip_prefix("line ").and_then(|rest| rest.split_once(':'));
    let parsed = number_and_rest.and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest)));
    parsed.map_or_else(|| note.to_owned(), |(number, rest)| format!("line {}:{rest}", number + by))
}

/// Some lines of the file, as much as one request takes.
struct Chunk {
    /// The number of its first line, from 1.
    first_line: usize,
    lines: Vec<Vec<u8>>,
    read_bytes: u64,
}

impl Chunk {
    /// The body of the request: the lines from `from_line` on; none when there are none.
    fn from(&self, from_line: usize) -> Option<Vec<u8>> {
        let skipped = from_line.saturating_sub(self.first_line);
        let lines = self.lines.get(skipped..).filter(|lines| !lines.is_empty())?;
        Some(lines.concat())
    }
}

struct Chunks {
    reader: BufReader<File>,
    next_line: usize,
}

impl Chunks {
    fn open(file: &Path) -> anyhow::Result<Self> {
        let opened = File::open(file);
        let opened = opened.map_err(|error| {
            Failure::bad_input(format!("`{}` cannot be read: {error}", file.display()), "check the path")
        })?;
        Ok(Self { reader: BufReader::new(opened), next_line: 1 })
    }

    fn next(&mut self) -> anyhow::Result<Option<Chunk>> {
        let mut chunk = Chunk { first_line: self.next_line, lines: Vec::new(), read_bytes: 0 };
        let mut bytes = 0;
        while chunk.lines.len() < CHUNK_LINES && bytes < CHUNK_BYTES {
            let mut line = Vec::new();
            let read = self.reader.read_until(b'\n', &mut line).context("the file cannot be read to its end")?;
            if read == 0 {
                break;
            }
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            bytes += read;
            chunk.lines.push(line);
        }
        chunk.read_bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.next_line += chunk.lines.len();
        Ok((!chunk.lines.is_empty()).then_some(chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk() -> Chunk {
        Chunk { first_line: 11, lines: vec![b"a\n".to_vec(), b"b\n".to_vec(), b"c\n".to_vec()], read_bytes: 6 }
    }

    #[test]
    fn a_chunk_begins_where_it_is_told_to() {
        for (from_line, body) in
            [(1, Some("a\nb\nc\n")), (11, Some("a\nb\nc\n")), (13, Some("c\n")), (14, None), (99, None)]
        {
            assert_eq!(chunk().from(from_line), body.map(|body| body.as_bytes().to_vec()), "from {from_line}");
        }
    }

    #[test]
    fn the_last_line_needs_no_line_feed() {
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(file.path(), "{}\n\n{}").expect("it can be written");
        let mut chunks = Chunks::open(file.path()).expect("it is there");
        let chunk = chunks.next().expect("it can be read").expect("it holds lines");
        assert_eq!(chunk.from(1).as_deref(), Some(b"{}\n\n{}\n".as_slice()));
        assert!(chunks.next().expect("it can be read").is_none());
    }

    #[test]
    fn faults_are_told_by_the_lines_of_the_file() {
        let notes = vec!["line 2: no plug-in `x` (BR0103)".to_owned(), "something else".to_owned()];
        let failure = Failure { notes, ..Failure::bad_input("refused", "") };
        let error = explained(failure.into(), &chunk(), 1, 10).downcast::<Failure>().expect("it stays a failure");
        assert_eq!(error.notes, ["line 12: no plug-in `x` (BR0103)", "something else"]);
        let next = "10 jobs of the lines before 11 were taken; go on with --from-line 11";
        assert_eq!(error.next.as_deref(), Some(next));
    }

    #[test]
    fn a_lost_answer_leaves_it_open_whether_the_lines_were_taken() {
        let next = |error: ureq::Error| {
            let failure = Failure::new(code::NO_HOST, "no host answers");
            let error = explained(anyhow::Error::new(error).context(failure), &chunk(), 12, 0);
            error.downcast::<Failure>().expect("it stays a failure").next.expect("it says what to do")
        };
        let io = |kind: std::io::ErrorKind| ureq::Error::Io(kind.into());
        for lost in [io(std::io::ErrorKind::ConnectionReset), ureq::Error::Timeout(ureq::Timeout::RecvResponse)] {
            let next = next(lost);
            assert!(
                next.starts_with("the last 2 lines, 12 to 13, may have been taken; see `backroom job list`"),
                "{next}"
            );
        }
        for unsent in [io(std::io::ErrorKind::ConnectionRefused), ureq::Error::HostNotFound] {
            assert!(next(unsent).starts_with("nothing was submitted"));
        }
    }

    #[test]
    fn a_file_with_a_faulty_line_is_not_begun() {
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(file.path(), "{\"plugin\":\"echo\"}\n{\"plugin\":\"echo\",\"imput\":1}\n{\"plugin\"\n")
            .expect("it can be written");
        let error = check(file.path()).expect_err("two lines are faulty").downcast::<Failure>().expect("a failure");
        assert_eq!(error.notes.len(), 2);
        assert!(error.notes[0].starts_with("line 2: unknown field `imput`"), "{}", error.notes[0]);
        assert_eq!(error.notes[1], "line 3: EOF while parsing an object at column 9");
    }
}
