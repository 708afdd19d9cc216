//! Why a command did not do what it was asked, with code, cause and the next command.

use std::fmt;

use crate::api::view;
use crate::config::Problems;
use crate::domain::code::{self, Code};

/// What the process ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was done.
    #[default]
    Done,
    /// The job failed, or the host refused.
    Failed,
    /// The command line or what it names is not acceptable.
    BadInput,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::BadInput => Self::from(2),
        }
    }
}

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
        }
    }

    /// Something that was given on the command line and is not acceptable.
    pub(crate) fn bad_input(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code: None, message: message.into(), notes: Vec::new(), next: Some(next.into()), exit: Exit::BadInput }
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
        }
    }
}

impl From<view::Problem> for Failure {
    fn from(problem: view::Problem) -> Self {
        let lines = problem.errors.iter().map(|line| format!("line {}: {} ({})", line.line, line.detail, line.code));
        let granting = problem.add_to_config.iter().map(|lines| format!("add to backroom.toml:\n{}", lines.trim_end()));
        let names = [code::UNKNOWN_PLUGIN.name, code::UNKNOWN_HANDLER.name, code::UNKNOWN_VERSION.name];
        let exit = match problem.status {
            400 | 413 | 415 | 422 => Exit::BadInput,
            // The command line names what is not there.
            _ if names.contains(&problem.code.as_str()) => Exit::BadInput,
            _ => Exit::Failed,
        };
        let message = match problem.detail.is_empty() {
            true => problem.title,
            false => problem.detail,
        };
        Self {
            code: (!problem.code.is_empty()).then_some(problem.code),
            message,
            notes: lines.chain(granting).collect(),
            next: (!problem.next.is_empty()).then_some(problem.next),
            exit,
        }
    }
}
