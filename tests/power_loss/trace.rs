//! Reading what `strace -f -xx` has written: calls with their results, and the order in which they began and ended.

use std::collections::HashMap;

/// A system call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// Its arguments as they are written, without strings.
    pub(crate) arguments: Vec<String>,
    /// Its strings, decoded.
    pub(crate) strings: Vec<Vec<u8>>,
    /// What it returned; none when the trace ends before it does.
    pub(crate) result: Option<i64>,
}

impl Call {
    /// An argument that is a number.
    pub(crate) fn number(&self, index: usize) -> i64 {
        let text = &self.arguments[index];
        text.parse().unwrap_or_else(|_| panic!("argument {index} of {} is no number: {text}", self.name))
    }

    pub(crate) fn has_flag(&self, index: usize, flag: &str) -> bool {
        self.arguments.get(index).is_some_and(|flags| flags.split('|').any(|word| word == flag))
    }

    /// A string that is a path.
    pub(crate) fn path(&self, index: usize) -> String {
        String::from_utf8_lossy(&self.strings[index]).into_owned()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.result.is_some_and(|result| result < 0)
    }
}

/// When a call began or ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Start(usize),
    End(usize),
}

/// Everything that happened, in order.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) calls: Vec<Call>,
    pub(crate) events: Vec<Event>,
}

const UNFINISHED: &str = " <unfinished ...>";

impl Trace {
    pub(crate) fn parse(text: &str) -> Self {
        let mut trace = Self::default();
        let mut running: HashMap<&str, usize> = HashMap::new();
        for line in text.lines() {
            let (thread, rest) = line.split_once(' ').expect("a line starts with the thread");
            let rest = rest.trim_start();
            if rest.starts_with("+++") || rest.starts_with("---") {
                continue;
            }
            if let Some(resumed) = rest.strip_prefix("<... ") {
                if let Some(call) = running.remove(thread) {
                    trace.calls[call].result = result_of(resumed);
                    trace.events.push(Event::End(call));
                }
                continue;
            }
            let index = trace.calls.len();
            trace.events.push(Event::Start(index));
            match rest.strip_suffix(UNFINISHED) {
                Some(begun) => {
                    trace.calls.push(parse_call(begun));
                    running.insert(thread, index);
                }
                None => {
                    let mut call = parse_call(rest);
                    call.result = result_of(rest);
                    trace.calls.push(call);
                    trace.events.push(Event::End(index));
                }
            }
        }
        trace
    }
}

/// The number behind the last `= `. A call that never returned has `?`.
fn result_of(line: &str) -> Option<i64> {
    let result = line.rsplit_once("= ")?.1;
    result.split_whitespace().next()?.parse().ok()
}

fn parse_call(line: &str) -> Call {
    let (name, rest) = line.split_once('(').unwrap_or_else(|| panic!("this is no call: {line:.200}"));
    let mut call = Call { name: name.to_owned(), arguments: Vec::new(), strings: Vec::new(), result: None };
    let mut depth = 0;
    let mut argument = String::new();
    let mut rest = rest;
    while let Some(next) = rest.chars().next() {
        match next {
            '"' => {
                let end = rest[1..].find('"').expect("a string ends") + 1;
                call.strings.push(decode(&rest[1..end]));
                rest = &rest[end + 1..];
                assert!(!rest.starts_with("..."), "the trace has cut a string of {name}");
                continue;
            }
            ',' if depth == 0 => call.arguments.push(std::mem::take(&mut argument).trim().to_owned()),
            ')' if depth == 0 => break,
            '[' | '{' | '(' => depth += 1,
            ']' | '}' | ')' => depth -= 1,
            other => argument.push(other),
        }
        rest = &rest[next.len_utf8()..];
    }
    call.arguments.push(argument.trim().to_owned());
    call
}

/// `\x2f\x61` as bytes.
fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes().chunks_exact(4);
    assert!(bytes.remainder().is_empty(), "a string of the trace is not in hexadecimal");
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("a hexadecimal digit");
    bytes.map(|four| u8::try_from(digit(four[2]) * 16 + digit(four[3])).expect("a byte")).collect()
}
