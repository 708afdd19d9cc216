//! `backroom job submit --bulk`: a file of jobs in a few large requests, each taken whole or not at all.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context as _;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::client::Client;
use super::failure::{Exit, Failure, Fate};
use super::progress::Bar;
use super::terminal::{self, Terminal};
use crate::api::view::{BulkView, SubmitBody};
use crate::domain::code;

/// How much one request holds at most.
const CHUNK_LINES: usize = 10_000;
const CHUNK_BYTES: usize = 16 << 20;

/// How many faulty lines are told of.
const FAULTS_SHOWN: usize = 20;

/// Random bytes of a key that nobody has given: no other submit has the same.
const KEY_BYTES: usize = 16;

/// How a file is submitted.
pub(crate) struct Plan {
    /// Lines before this one are left out.
    from_line: usize,
    /// What the idempotency keys of its requests begin with, so that what is sent again is not taken again.
    key: String,
}

impl Plan {
    /// From `from_line` on, with the caller's key or one of its own.
    pub(crate) fn new(from_line: usize, key: Option<&str>) -> anyhow::Result<Self> {
        let key = given_or_own(key)?;
        Ok(Self { from_line: from_line.max(1), key })
    }

    /// The first line of a chunk that is sent.
    fn first_of(&self, chunk: &Chunk) -> usize {
        chunk.first_line.max(self.from_line)
    }

    /// The key of the request that begins at this line.
    fn key_of(&self, first: usize) -> String {
        format!("{}-{first}", self.key)
    }
}

/// The caller's key, or one that no other submit has.
pub(crate) fn given_or_own(key: Option<&str>) -> anyhow::Result<String> {
    key.map_or_else(random_key, |key| Ok(key.to_owned()))
}

fn random_key() -> anyhow::Result<String> {
    let mut random = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut random).map_err(|_| anyhow::anyhow!("the machine gave no random numbers"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Checks every line, then submits them.
pub(crate) fn submit(client: &Client, file: &Path, plan: &Plan, terminal: Terminal) -> anyhow::Result<Exit> {
    check(client, file, plan)?;
    let bytes = std::fs::metadata(file).map(|metadata| metadata.len()).unwrap_or_default();
    let bar = Bar::of_bytes(bytes);
    let (mut total, mut repeated) = (BulkView::default(), 0);
    let mut chunks = Chunks::open(file)?;
    while let Some(chunk) = chunks.next()? {
        let first_line = plan.first_of(&chunk);
        let Some(lines) = chunk.from(first_line) else {
            bar.add(chunk.read_bytes, String::new());
            continue;
        };
        let answer = client.submit_bulk(&lines, Some(&plan.key_of(first_line))).map_err(|error| {
            bar.clear();
            explained(error, &chunk, plan, total.count)
        })?;
        if answer.repeated {
            repeated += answer.view.count;
        }
        let BulkView { count, first, last, ids } = answer.view;
        total.count += count;
        total.first = total.first.or(first);
        total.last = last.or(total.last);
        total.ids.extend(ids);
        bar.add(chunk.read_bytes, format!("{} jobs", total.count));
    }
    bar.clear();
    if repeated > 0 {
        terminal::aside(&format!("{repeated} of the jobs were there already: an earlier submit has made them"));
    }
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
fn check(client: &Client, file: &Path, plan: &Plan) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    let mut chunks = Chunks::open(file)?;
    while let Some(chunk) = chunks.next()? {
        let seen = chunk.faults(plan.from_line);
        if !seen.is_empty() {
            faults.extend(faults_of(client, &chunk, plan, seen));
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
    let lines = if count == 1 { "one faulty line".to_owned() } else { format!("{count} faulty lines") };
    let message = format!("{} has {lines}; nothing was submitted", file.display());
    let next = "correct the lines; each is one job such as {\"plugin\": \"echo\", \"input\": {\"a\": 1}}";
    Err(Failure { notes: faults, ..Failure::bad_input(message, next) }.into())
}

/// What is wrong with the lines of a chunk of which some were `seen` to be faulty. The host takes none of them for that, and
/// knows what cannot be seen here, such as which plug-ins there are. Where it says nothing of lines, what was seen is told.
fn faults_of(client: &Client, chunk: &Chunk, plan: &Plan, seen: Vec<String>) -> Vec<String> {
    let first = plan.first_of(chunk);
    let Some(lines) = chunk.from(first) else { return seen };
    match client.submit_bulk(&lines, Some(&plan.key_of(first))).map_err(anyhow::Error::downcast::<Failure>) {
        // A newer host may know more than this program does.
        Ok(_) => Vec::new(),
        Err(Ok(failure)) if failure.code.as_deref() == Some(code::BULK_LINE.name) => {
            failure.notes.iter().map(|note| shifted(note, first - 1)).collect()
        }
        Err(_) => seen,
    }
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

/// An error of one request, with the lines' numbers in the file and what became of the lines.
fn explained(error: anyhow::Error, chunk: &Chunk, plan: &Plan, accepted: usize) -> anyhow::Error {
    let (first, end) = (plan.first_of(chunk), chunk.first_line + chunk.lines.len());
    let failure = match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(error) => {
            let next = becomes_of(Fate::NotDone, first, end, accepted);
            return error.context(Failure { exit: Exit::Failed, ..Failure::bad_input("the submit broke off", next) });
        }
    };
    let again = match accepted {
        0 => "submit the file again".to_owned(),
        _ => format!("continue with --from-line {first}"),
    };
    let next = match failure.fate {
        Fate::NotDone if failure.code.as_deref() == Some(code::BULK_LINE.name) => {
            format!("correct the lines, then {again}")
        }
        Fate::NotDone => match &failure.next {
            Some(next) => format!("{}; then {again}", next.trim_end_matches('.')),
            None => again,
        },
        Fate::Unknown => {
            // Where only the answer is missing, nobody needs to see what was done before the lines are sent again.
            let mend = failure.next.as_deref().filter(|_| failure.code.as_deref() != Some(code::NO_ANSWER.name));
            let mend = mend.map(|next| format!("{}; then ", next.trim_end_matches('.'))).unwrap_or_default();
            let key = &plan.key;
            format!("{mend}continue with --from-line {first} --idempotency-key {key}: nothing is taken twice")
        }
        Fate::Done => format!("continue with --from-line {end}"),
    };
    let message = failure.message.strip_suffix("; nothing was taken").unwrap_or(&failure.message);
    let message = format!("{}; {}", shifted(message, first - 1), becomes_of(failure.fate, first, end, accepted));
    let notes = failure.notes.iter().map(|note| shifted(note, first - 1)).collect();
    Failure { message, notes, next: Some(next), ..failure }.into()
}

/// What became of the lines `first..end` and of those before, of which `accepted` jobs are there.
fn becomes_of(fate: Fate, first: usize, end: usize, accepted: usize) -> String {
    match (fate, accepted) {
        (Fate::NotDone, 0) => "nothing was submitted".to_owned(),
        (Fate::NotDone, _) => {
            format!("{accepted} jobs of the lines before {first} were accepted, and none from there on")
        }
        (Fate::Unknown, _) => format!("the last {} lines, {first} to {}, may have been accepted", end - first, end - 1),
        (Fate::Done, _) => format!("the last {} lines, {first} to {}, were accepted", end - first, end - 1),
    }
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

    /// What is wrong with its lines from `from_line` on, as far as it can be seen here.
    fn faults(&self, from_line: usize) -> Vec<String> {
        let numbered = (self.first_line..).zip(&self.lines).filter(|(number, _)| *number >= from_line);
        let jobs = numbered.filter(|(_, line)| !line.trim_ascii().is_empty());
        let fault = |(number, line): (usize, &Vec<u8>)| {
            let error = serde_json::from_slice::<SubmitBody>(line.trim_ascii_end()).err()?;
            Some(format!("line {number}: {}", in_line(&error)))
        };
        jobs.filter_map(fault).collect()
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

    fn from(from_line: usize) -> Plan {
        Plan::new(from_line, Some("key")).expect("it is given")
    }

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
        let failure = Failure::new(code::BULK_LINE, "line 2: no plug-in `x`; nothing was taken");
        let error = explained(Failure { notes, ..failure }.into(), &chunk(), &from(1), 10);
        let error = error.downcast::<Failure>().expect("it stays a failure");
        assert_eq!(error.notes, ["line 12: no plug-in `x` (BR0103)", "something else"]);
        let message = "line 12: no plug-in `x`; 10 jobs of the lines before 11 were accepted, and none from there on";
        assert_eq!(error.message, message);
        assert_eq!(error.next.as_deref(), Some("correct the lines, then continue with --from-line 11"));
    }

    #[test]
    fn lines_may_have_been_accepted_only_when_nobody_knows() {
        let told = |fate: Fate, accepted: usize| {
            let failure = Failure { fate, ..Failure::new(code::NO_ANSWER, "no answer") };
            let error = explained(failure.into(), &chunk(), &from(12), accepted);
            let failure = error.downcast::<Failure>().expect("it stays a failure");
            (failure.message, failure.next.expect("it says what to do"))
        };
        let (message, next) = told(Fate::Unknown, 0);
        assert_eq!(message, "no answer; the last 2 lines, 12 to 13, may have been accepted");
        let again = "continue with --from-line 12 --idempotency-key key: nothing is taken twice";
        assert_eq!(next, again);
        let failed = Failure { fate: Fate::Unknown, ..Failure::new(code::STORE_FAILED, "broken") };
        let failed = explained(failed.into(), &chunk(), &from(12), 0).downcast::<Failure>().expect("a failure");
        assert_eq!(
            failed.next,
            Some(format!("See the host's log for the cause, mend it, and restart the host; then {again}"))
        );
        let (message, next) = told(Fate::Done, 0);
        assert_eq!(message, "no answer; the last 2 lines, 12 to 13, were accepted");
        assert_eq!(next, "continue with --from-line 14");
        let (message, next) = told(Fate::NotDone, 0);
        assert_eq!(message, "no answer; nothing was submitted");
        assert!(next.ends_with("; then submit the file again"), "{next}");
        assert!(
            told(Fate::NotDone, 7).0.ends_with("7 jobs of the lines before 12 were accepted, and none from there on")
        );
    }

    #[test]
    fn what_is_sent_again_has_the_same_key_and_nothing_else_has_it() {
        let plan = from(12);
        assert_eq!(plan.key_of(plan.first_of(&chunk())), "key-12");
        assert_eq!(from(1).key_of(from(1).first_of(&chunk())), "key-11");
        let fresh = || Plan::new(1, None).expect("there are random numbers").key;
        assert_ne!(fresh(), fresh());
    }

    #[test]
    fn faults_are_seen_in_the_lines_that_are_sent() {
        let lines = ["{\"plugin\":\"echo\"}\n", "{\"plugin\":\"echo\",\"imput\":1}\n", "\n", "{\"plugin\"\n"];
        let lines = lines.map(|line| line.as_bytes().to_vec()).to_vec();
        let chunk = Chunk { first_line: 11, lines, read_bytes: 0 };
        let faults = chunk.faults(1);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("line 12: unknown field `imput`"), "{}", faults[0]);
        assert_eq!(faults[1], "line 14: EOF while parsing an object at column 9");
        assert_eq!(chunk.faults(13), faults[1..]);
        assert!(chunk.faults(15).is_empty());
    }
}
