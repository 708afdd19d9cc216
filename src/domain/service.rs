//! The state of the whole service, and what it promises of its store.

use serde::{Deserialize, Serialize};

/// Whether background work goes on. Pausing never fails or cancels anything (F105).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// Jobs are taken and run.
    #[default]
    Running,
    /// No new run starts; those under way end. The host is going down or is told to.
    Draining,
    /// No new run starts until somebody resumes.
    Paused,
}

/// What an acknowledged commit survives (design section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
