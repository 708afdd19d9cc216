//! Who steered which job, and why: a row for each command of a person (domain.md 3.3).

use std::fmt;

use super::family::{Family, KeyForm, Row, RowKey};
use super::id::JobKey;
use super::job::Status;
use super::time::Timestamp;

/// What a person may ask of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Call it off.
    Cancel,
    /// Stop it for now.
    Pause,
    /// Set it going again.
    Resume,
    /// Put it off until a time.
    Postpone,
    /// Run a finished job again, as a new one.
    Retry,
    /// Remove it once it has ended.
    Delete,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 6] = [Self::Cancel, Self::Pause, Self::Resume, Self::Postpone, Self::Retry, Self::Delete];

    /// The word in the API and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Postpone => "postpone",
            Self::Retry => "retry",
            Self::Delete => "delete",
        }
    }

    /// The action that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.word() == word)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One command that was carried out. It goes with its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// The job.
    pub job: JobKey,
    /// The revision that the command made; unique within the job.
    pub revision: u32,
    /// When.
    pub on: Timestamp,
    /// Who.
    pub by: String,
    /// What was asked for.
    pub action: Action,
    /// Where the job stood before.
    pub from: Status,
    /// Where it stood after.
    pub to: Status,
    /// Why, in the words of the person.
    pub reason: Option<String>,
}

impl Row for AuditRow {
    const ROWS: &'static Family = &Family::new(11, "audit", KeyForm::OfJob);

    fn key(&self) -> RowKey {
        RowKey::of_job(self.job, self.revision)
    }

    fn revision(&self) -> u32 {
        self.revision
    }

    /// Always: the change of the job in the same commit is guarded.
    fn follows(&self, _present: Option<&Self>) -> bool {
        true
    }
}
