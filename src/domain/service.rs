//! The state of the whole service.

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
