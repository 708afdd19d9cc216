//! Why a command did not do what it was asked, with code, cause and the next command.

use std::fmt;
use std::sync::OnceLock;

use crate::api::view;
use crate::config::Problems;
use crate::domain::code::{self, Code};

/// What the process ends with: the one table of exit codes, for the help and the documentation, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was done.
    #[default]
    Done,
    /// The job did not succeed, the host refused or does not answer, or something broke.
    Failed,
    /// The command line, a file or a field is not acceptable, or something that it names is not there.
    BadInput,
    /// A person stopped waiting with ctrl-c; the job goes on.
    Interrupted,
}

impl Exit {
    /// Every code with its meaning.
    pub(crate) const TABLE: &[(Self, &str)] = &[
        (Self::Done, "done"),
        (Self::Failed, "the job did not succeed, the host refused or does not answer, or something broke"),
        (Self::BadInput, "the command line, a file or a field is not acceptable, or what it names is not there"),
        (Self::Interrupted, "interrupted with ctrl-c while waiting; the job goes on"),
    ];

    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::BadInput => 2,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What may strike when a request has been carried out already. After an error of the device not even the host knows what
/// the disk holds, and its next start takes up what is there.
const FAULTS: [Code; 4] = [code::INTERNAL, code::HOST_FAULT, code::STORE_FAILED, code::STORE_DAMAGED];

/// An error that says what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The entry of the catalogue; a host of another release may know more than this one.
    pub(crate) code: Option<String>,
    /// What is wrong.
    pub(crate) message: String,
    /// More lines about it, such as every problem of a file.
    pub(crate) notes: Vec<String>,
    /// What to do next; the exact command where there is one.
    pub(crate) next: Option<String>,
    /// What the process ends with.
    pub(crate) exit: Exit,
    /// What is known of what was asked for.
    pub(crate) fate: Fate,
}

/// What is known of a request that was not answered as it should have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was not carried out.
    #[default]
    NotDone,
    /// It was sent whole and may have been carried out: no answer says.
    Unknown,
    /// It was carried out, and only the rest of the answer is missing.
    Done,
}

impl Failure {
    /// A failure of the catalogue: its remedy is the next step.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: Some(code.name.to_owned()),
            message: message.into(),
            notes: Vec::new(),
            next: Some(code.remedy.to_owned()),
            exit: Exit::Failed,
            fate: Fate::NotDone,
        }
    }

    /// Something that was given on the command line and is not acceptable.
    pub(crate) fn bad_input(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            code: None,
            message: message.into(),
            notes: Vec::new(),
            next: Some(next.into()),
            exit: Exit::BadInput,
            fate: Fate::NotDone,
        }
    }

    /// The same with another next step.
    #[must_use]
    pub(crate) fn with_next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The command that this process does: its words, and the names of its flags.
static COMMAND: OnceLock<(String, Vec<String>)> = OnceLock::new();

/// This process does the command of these words, which has these flags.
pub(crate) fn is_done_by(words: &[String], flags: Vec<String>) {
    COMMAND.get_or_init(|| (words.join(" "), flags));
}

/// Where the flag of a field is described, for somebody who has written a command and no request.
fn help_of(field: Option<&str>) -> Option<String> {
    let (words, flags) = COMMAND.get().filter(|(words, _)| !words.is_empty())?;
    let names = field.map(|field| [field.replace('_', "-"), field.trim_end_matches('s').to_owned()]);
    let flag = names.iter().flatten().find(|name| flags.contains(name));
    Some(match flag {
        Some(flag) => format!("see `--{flag}` in `backroom {words} --help`"),
        None => format!("see `backroom {words} --help`"),
    })
}

impl From<Problems> for Failure {
    fn from(Problems(problems): Problems) -> Self {
        let first = problems.first().map_or(code::BAD_CONFIG, |problem| problem.code);
        let is_shared = problems.iter().all(|problem| problem.code == first);
        let code = if is_shared { first } else { code::BAD_CONFIG };
        let count = match problems.len() {
            1 => "one problem".to_owned(),
            count => format!("{count} problems"),
        };
        let line = |problem: &crate::config::Problem| match &problem.remedy {
            Some(remedy) => format!("{}: {}\n    {remedy}", problem.place, problem.message),
            None => format!("{}: {}", problem.place, problem.message),
        };
        Self {
            code: Some(code.name.to_owned()),
            message: format!("{} ({count})", code.title),
            notes: problems.iter().map(line).collect(),
            next: None,
            exit: Exit::BadInput,
            fate: Fate::NotDone,
        }
    }
}

impl From<view::Problem> for Failure {
    fn from(problem: view::Problem) -> Self {
        let lines = problem.errors.iter().map(|line| format!("line {}: {} ({})", line.line, line.detail, line.code));
        let granting = problem
            .add_to_config
            .iter()
            // What is to be done next may say so already.
            .filter(|lines| !problem.next.contains(lines.trim_end()))
            .map(|lines| format!("to allow it in the file of the settings:\n{}", lines.trim_end()));
        let notes = lines.chain(granting).collect();
        let exit = match problem.status {
            // 404 and 410: the command line names what is not there.
            400 | 404 | 410 | 413 | 415 | 422 => Exit::BadInput,
            _ => Exit::Failed,
        };
        // A fault of the host may have struck during the commit or after it; every other refusal comes instead of it.
        let is_fault = FAULTS.iter().any(|fault| fault.name == problem.code);
        let fate = if is_fault { Fate::Unknown } else { Fate::NotDone };
        let message = match problem.detail.is_empty() {
            true => problem.title,
            false => problem.detail,
        };
        let next = match help_of(problem.field.as_deref()) {
            Some(help) if problem.next.contains("/openapi.json") => help,
            _ => problem.next,
        };
        Self {
            code: (!problem.code.is_empty()).then_some(problem.code),
            message,
            notes,
            next: (!next.is_empty()).then_some(next),
            exit,
            fate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fault_of_the_host_leaves_open_what_became_of_a_request() {
        for code in code::CATALOGUE {
            let problem = view::Problem { code: code.name.to_owned(), status: 503, ..view::Problem::default() };
            let is_open = ["BR0117", "BR0314", "BR0402", "BR0404"].contains(&code.name);
            let fate = if is_open { Fate::Unknown } else { Fate::NotDone };
            assert_eq!(Failure::from(problem).fate, fate, "{}: {}", code.name, code.title);
        }
    }
}
