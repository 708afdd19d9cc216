//! What a slice logs: the first and the last lines kept, the middle counted, every byte bounded.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;

use super::exception::{Exception, ExceptionWatch};
use super::{LogPart, kept, text};

/// Bytes of one line that are kept.
const LINE_BYTES: usize = 8 << 10;

/// Lines at the beginning and at the end of one call's text that are looked at. Nothing can stop the guest within a call,
/// so what lies between is counted only.
const LINES_AT_AN_END: usize = 4 << 10;

/// Bytes of a panic's message that are kept for the failure.
const PANIC_BYTES: usize = 2 << 10;

/// Lines of standard error at the end of a run that may say why it ended: as many as a trace of the stack takes.
const LAST_WORDS: usize = 64;

/// Where a line comes from, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
    Stdout,
    Stderr,
    Host,
}

impl Source {
    const fn label(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info ",
            Self::Warn => "warn ",
            Self::Error => "error",
            Self::Critical => "crit ",
            Self::Stdout => "out  ",
            Self::Stderr => "err  ",
            Self::Host => "host ",
        }
    }
}

/// A panic as Rust's standard library prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panic {
    /// File, line and column.
    pub(crate) place: String,
    /// The message, cut.
    pub(crate) message: String,
}

/// The log of one slice.
pub(crate) struct Log {
    start: Instant,
    half: usize,
    head: String,
    head_is_full: bool,
    head_lines: u64,
    tail: VecDeque<String>,
    tail_bytes: usize,
    left_out_lines: u64,
    left_out_bytes: u64,
    written: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    panic: PanicWatch,
    exception: ExceptionWatch,
}

impl Log {
    /// An empty log that keeps about `limit` bytes; offsets count from `start`.
    pub(crate) fn new(start: Instant, limit: u64) -> Self {
        Self {
            start,
            half: usize::try_from(limit / 2).unwrap_or(usize::MAX),
            head: String::new(),
            head_is_full: false,
            head_lines: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
            left_out_lines: 0,
            left_out_bytes: 0,
            written: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
            panic: PanicWatch::default(),
            exception: ExceptionWatch::default(),
        }
    }

    /// Adds a message of one or more lines.
    pub(crate) fn message(&mut self, source: Source, context: &str, message: &str) {
        self.written = self.written.saturating_add(message.len() as u64);
        let message = message.trim_end_matches('\n');
        let Some(Range { start, end }) = crowd(message.as_bytes()) else {
            return self.lines(source, context, message);
        };
        self.lines(source, context, &message[..start - 1]);
        self.leave_out(&message.as_bytes()[start..end]);
        self.lines(source, context, &message[end..]);
    }

    /// Adds bytes of standard output or standard error; lines appear when they are complete.
    pub(crate) fn stream(&mut self, source: Source, bytes: &[u8]) {
        self.written = self.written.saturating_add(bytes.len() as u64);
        let Some(Range { start, end }) = crowd(bytes) else { return self.pieces(source, bytes) };
        self.pieces(source, &bytes[..start]);
        self.leave_out(&bytes[start..end]);
        self.pieces(source, &bytes[end..]);
    }

    fn pieces(&mut self, source: Source, bytes: &[u8]) {
        let mut open = std::mem::take(self.open_line(source));
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES.saturating_sub(open.len());
            open.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.complete(source, &open);
                open.clear();
            }
        }
        *self.open_line(source) = open;
    }

    /// Bytes written, kept or not.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// The last panic that was printed to standard error.
    pub(crate) fn panic(&self) -> Option<Panic> {
        self.panic.found.clone()
    }

    /// The last exception whose traceback was printed to standard error.
    pub(crate) fn exception(&self) -> Option<Exception> {
        self.exception.found()
    }

    /// The last lines of standard error that are kept, the very last one first.
    pub(crate) fn last_words(&self) -> impl Iterator<Item = &str> {
        let kept = self.tail.iter().rev().map(String::as_str).chain(self.head.lines().rev());
        kept.filter_map(of_stderr).filter(|words| !words.is_empty()).take(LAST_WORDS)
    }

    /// Completes open lines, so that [`Log::panic`] sees them.
    pub(crate) fn finish(&mut self) {
        for source in [Source::Stdout, Source::Stderr] {
            let open = std::mem::take(self.open_line(source));
            if !open.is_empty() {
                self.complete(source, &open);
            }
        }
    }

    /// The lines from number `line` on that are kept, with a marker in place of those that are not.
    pub(crate) fn since(&self, line: u64) -> LogPart {
        let tail_start = self.head_lines + self.left_out_lines;
        let mut text = String::new();
        if line < self.head_lines {
            text.push_str(&self.head[end_of_line(&self.head, line)..]);
        }
        let missed = tail_start.saturating_sub(line.max(self.head_lines));
        if missed > 0 {
            text.push_str(&kept::marker(
                missed,
                (missed == self.left_out_lines).then(|| text::bytes(self.left_out_bytes)),
            ));
        }
        let skipped = usize::try_from(line.saturating_sub(tail_start)).unwrap_or(usize::MAX);
        text.reserve(if skipped == 0 { self.tail_bytes } else { 0 });
        self.tail.iter().skip(skipped).for_each(|line| text.push_str(line));
        LogPart { text, next: tail_start + self.tail.len() as u64 }
    }

    /// The whole log: the head, a marker for what was left out, and the tail.
    pub(crate) fn to_bytes(&self) -> Bytes {
        if self.tail.is_empty() && self.left_out_lines == 0 {
            return Bytes::copy_from_slice(self.head.as_bytes());
        }
        Bytes::from(self.since(0).text)
    }

    fn open_line(&mut self, source: Source) -> &mut Vec<u8> {
        match source {
            Source::Stdout => &mut self.stdout,
            _ => &mut self.stderr,
        }
    }

    fn complete(&mut self, source: Source, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches(['\n', '\r']);
        if source == Source::Stderr {
            self.panic.read(line);
            self.exception.read(line);
        }
        self.line(source, "", line);
    }

    fn lines(&mut self, source: Source, context: &str, text: &str) {
        text.split('\n').for_each(|line| self.line(source, context, line));
    }

    /// Counts lines without a look at them. What the tail held before them is left out too, so that the gap is one.
    fn leave_out(&mut self, lines: &[u8]) {
        self.head_is_full = true;
        self.left_out_lines += (self.tail.len() + lines.iter().filter(|byte| **byte == b'\n').count()) as u64;
        self.left_out_bytes += (self.tail_bytes + lines.len()) as u64;
        self.tail.clear();
        self.tail_bytes = 0;
    }

    fn line(&mut self, source: Source, context: &str, line: &str) {
        let offset = self.start.elapsed().as_secs_f64();
        let line = text::neutral(line, LINE_BYTES);
        let line = if context.is_empty() {
            format!("{offset:9.3} {} {line}\n", source.label())
        } else {
            format!("{offset:9.3} {} {}: {line}\n", source.label(), text::line(context, 100))
        };
        self.keep(line);
    }

    fn keep(&mut self, line: String) {
        self.head_is_full |= self.head.len() + line.len() > self.half;
        if !self.head_is_full {
            self.head.push_str(&line);
            self.head_lines += 1;
            return;
        }
        self.tail_bytes += line.len();
        self.tail.push_back(line);
        while self.tail_bytes > self.half {
            let Some(oldest) = self.tail.pop_front() else { break };
            self.tail_bytes -= oldest.len();
            self.left_out_lines += 1;
            self.left_out_bytes += oldest.len() as u64;
        }
    }
}

/// What a line of the log that comes from standard error says.
fn of_stderr(line: &str) -> Option<&str> {
    let (_time, rest) = line.trim_start().split_once(' ')?;
    Some(rest.strip_prefix(Source::Stderr.label())?.trim())
}

/// Where the first `lines` lines of a text end.
fn end_of_line(text: &str, lines: u64) -> usize {
    let Some(last) = lines.checked_sub(1) else { return 0 };
    let mut ends = text.bytes().enumerate().filter_map(|(index, byte)| (byte == b'\n').then_some(index + 1));
    ends.nth(usize::try_from(last).unwrap_or(usize::MAX)).unwrap_or(text.len())
}

/// The whole lines between the first and the last ones of a text; none when there are few.
fn crowd(text: &[u8]) -> Option<Range<usize>> {
    let after = |(index, byte): (usize, &u8)| (*byte == b'\n').then_some(index + 1);
    let start = text.iter().enumerate().filter_map(after).nth(LINES_AT_AN_END - 1)?;
    let end = text.iter().enumerate().rev().filter_map(after).nth(LINES_AT_AN_END)?;
    (start < end).then_some(start..end)
}

/// What stands before the place of a panic, after the name of the thread where that is told.
const PANICKED: &str = "panicked at ";

/// How lines begin that follow the message of a panic. The last one comes where a panic's own message panics.
const AFTER_A_PANIC: [&str; 3] =
    ["note: run with", "stack backtrace:", "thread panicked while processing panic. aborting."];

/// Reads `thread 'main' panicked at src/lib.rs:12:5:` and the lines of the message that follow.
#[derive(Default)]
struct PanicWatch {
    found: Option<Panic>,
    reading: bool,
}

impl PanicWatch {
    fn read(&mut self, line: &str) {
        let place = line.strip_prefix(PANICKED).or_else(|| Some(line.split_once(&format!(" {PANICKED}"))?.1));
        if let Some(place) = place {
            let place = text::line(place.trim_end_matches(':'), 300);
            self.found = Some(Panic { place, message: String::new() });
            self.reading = true;
            return;
        }
        if AFTER_A_PANIC.iter().any(|words| line.starts_with(words)) {
            self.reading = false;
        }
        let Some(panic) = self.found.as_mut().filter(|_| self.reading) else { return };
        if panic.message.len() < PANIC_BYTES {
            if !panic.message.is_empty() {
                panic.message.push('\n');
            }
            panic.message.push_str(&text::neutral(line, PANIC_BYTES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(limit: u64) -> Log {
        Log::new(Instant::now(), limit)
    }

    fn shown(mut log: Log) -> String {
        log.finish();
        let text = String::from_utf8(log.to_bytes().to_vec()).expect("a log is UTF-8");
        text.lines().map(|line| line.get(10..).unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn lines_carry_their_source_and_context() {
        let mut log = log(1_000);
        log.message(Source::Info, "mail", "sent\nand gone");
        log.stream(Source::Stderr, b"half ");
        log.stream(Source::Stderr, b"a line\nopen");
        assert_eq!(log.written(), 13 + 5 + 11);
        assert_eq!(shown(log), "info  mail: sent\ninfo  mail: and gone\nerr   half a line\nerr   open");
    }

    #[test]
    fn no_part_of_a_message_looks_like_a_line_of_the_host() {
        let forged =
            "x\n    0.001 host  refused\r\n    0.002 host  granted\u{2028}    0.003 host  \u{85}    0.004 host  ";
        for (context, message) in [(forged, "text"), ("", forged), ("mail", forged)] {
            let mut log = log(10_000);
            log.message(Source::Info, context, message);
            let text = shown(log);
            assert!(text.lines().all(|line| line.starts_with("info  ")), "{text}");
            assert!(!text.contains(['\r', '\u{2028}', '\u{85}']), "{text}");
        }
        let mut log = log(10_000);
        log.stream(Source::Stdout, forged.as_bytes());
        assert!(shown(log).lines().all(|line| line.starts_with("out   ")));
    }

    #[test]
    fn the_middle_of_a_long_log_is_left_out_and_counted() {
        let mut log = log(2_000);
        for number in 0..1_000 {
            log.message(Source::Info, "", &format!("line {number}"));
        }
        let text = shown(log);
        assert!(text.starts_with("info  line 0\n"), "{text}");
        assert!(text.ends_with("line 999"), "{text}");
        assert!(text.contains(" lines ("), "{text}");
        assert!(text.len() < 2_200, "{}", text.len());
    }

    #[test]
    fn who_reads_on_gets_each_line_once_and_is_told_of_a_gap() {
        let mut log = log(2_000);
        let (mut seen, mut line) = (String::new(), 0);
        for number in 0..1_000 {
            log.message(Source::Info, "", &format!("line {number}"));
            if !(50..=990).contains(&number) {
                let part = log.since(line);
                assert!(part.next > line, "{number}");
                (seen, line) = (seen + &part.text, part.next);
            }
        }
        assert_eq!(line, 1_000);
        assert_eq!(log.since(line), LogPart { text: String::new(), next: 1_000 });
        for number in (0..=49).chain(991..=999) {
            assert_eq!(seen.matches(&format!("info  line {number}\n")).count(), 1, "{number}: {seen}");
        }
        assert_eq!(seen.matches("left out: the log is bounded").count(), 1, "{seen}");
        assert_eq!(log.since(0).text.as_bytes(), log.to_bytes());
    }

    #[test]
    fn what_was_kept_of_a_log_goes_on_at_the_same_lines() {
        for lines in [0, 3, 60, 1_000] {
            let mut log = log(2_000);
            (0..lines).for_each(|number| log.message(Source::Info, "", &format!("line {number}")));
            let kept = String::from_utf8(log.to_bytes().to_vec()).expect("a log is UTF-8");
            for line in 0..=lines + 1 {
                assert_eq!(LogPart::of_kept(&kept, line), log.since(line), "{lines} lines, from {line} on");
            }
        }
    }

    #[test]
    fn the_last_words_are_those_of_standard_error() {
        let mut log = log(600);
        log.stream(Source::Stderr, b"first\n");
        (0..100).for_each(|number| log.message(Source::Info, "", &format!("err   {number}")));
        assert_eq!(log.last_words().count(), 1);
        log.stream(Source::Stderr, b"second\n");
        assert_eq!(log.last_words().collect::<Vec<_>>(), ["second", "first"]);
    }

    #[test]
    fn a_crowd_of_lines_in_one_call_is_counted_and_not_formatted() {
        let crowd = format!("first{}last", "\n".repeat(4 << 20));
        for (source, by_stream) in [(Source::Info, false), (Source::Stdout, true)] {
            let mut log = log(256 << 20);
            log.message(Source::Info, "", "before");
            match by_stream {
                true => log.stream(source, crowd.as_bytes()),
                false => log.message(source, "", &crowd),
            }
            assert_eq!(log.left_out_lines + log.head.lines().count() as u64 + log.tail.len() as u64, {
                let open = u64::from(!log.stdout.is_empty());
                (4 << 20) + 2 - open
            });
            assert!(log.tail.len() <= LINES_AT_AN_END + 1, "{}", log.tail.len());
            let text = shown(log);
            assert!(text.contains("before\n") && text.contains("first\n") && text.ends_with("last"), "{}", text.len());
            assert!(
                text.contains("4,186,112 lines (") || text.contains("4,186,113 lines ("),
                "what was left out is told"
            );
        }
    }

    #[test]
    fn a_line_without_an_end_stays_bounded() {
        let mut log = log(64 << 10);
        for _ in 0..100 {
            log.stream(Source::Stdout, &[b'x'; 4096]);
        }
        assert_eq!(log.written(), 409_600);
        log.finish();
        assert!(log.to_bytes().len() < LINE_BYTES + 100);
    }

    #[test]
    fn bytes_that_are_no_utf8_do_not_break_it() {
        let mut log = log(1_000);
        log.stream(Source::Stdout, b"\xff\xfe\x1b[2J\n");
        assert_eq!(shown(log), "out   \u{fffd}\u{fffd}\\u{1b}[2J");
    }

    #[test]
    fn a_panic_is_read_with_its_place_and_message() {
        let mut log = log(1_000);
        log.stream(Source::Stderr, b"\nthread '<unnamed>' (1) panicked at src/lib.rs:12:5:\nno such row\nat all\n");
        log.stream(Source::Stderr, b"note: run with `RUST_BACKTRACE=1`\nmore\n");
        let panic = log.panic().expect("a panic was printed");
        assert_eq!(panic.place, "src/lib.rs:12:5");
        assert_eq!(panic.message, "no such row\nat all");
    }

    #[test]
    fn a_panic_over_the_message_of_a_panic_is_one() {
        let mut log = log(1_000);
        let printed =
            "panicked at src/lib.rs:87:13:\nit cannot be said\nthread panicked while processing panic. aborting.\n";
        log.stream(Source::Stderr, printed.as_bytes());
        let expected = Panic { place: "src/lib.rs:87:13".into(), message: "it cannot be said".into() };
        assert_eq!(log.panic(), Some(expected));
    }
}
