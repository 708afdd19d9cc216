//! The state of the whole service, and what it promises of its store.

use super::family::{Family, KeyForm, Row, RowKey};
use super::queue::Pause;
use super::time::Timestamp;

/// Whether background work goes on. Pausing never fails or cancels anything (F105).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServiceState {
    /// Jobs are taken and run.
    #[default]
    Running,
    /// No new run starts; those under way end. The host is going down or is told to.
    Draining,
    /// No new run starts while the pause holds.
    Paused(Pause),
}

impl ServiceState {
    /// The state at `now`: a pause that was to end by then has ended.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        match self {
            Self::Paused(pause) if !pause.holds(now) => Self::Running,
            other => other.clone(),
        }
    }

    /// The pause, where it is paused.
    pub fn pause(&self) -> Option<&Pause> {
        match self {
            Self::Paused(pause) => Some(pause),
            _ => None,
        }
    }
}

/// What an acknowledged commit survives (design section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Loss of power: synced to the disk before it is acknowledged.
    #[default]
    Power,
    /// The death of the process, but not of the machine: a power cut may take the last commits back.
    Process,
}

impl Durability {
    /// The word in settings and statistics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Process => "process",
        }
    }
}

impl Row for ServiceState {
    const ROWS: &'static Family = &Family::new(7, "service", KeyForm::Only).resident();

    fn key(&self) -> RowKey {
        RowKey::only()
    }

    /// Always: the last word counts.
    fn follows(&self, _present: Option<&Self>) -> bool {
        true
    }
}
