//! When a failed attempt is tried again (domain.md 4.4).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often and how fast a job is tried again. Set per plug-in, with a host-wide default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// The longest wait after the first failure.
    pub base: Duration,
    /// What the wait is multiplied with from failure to failure.
    pub factor: u32,
    /// No wait is longer.
    pub cap: Duration,
    /// Whether a wall-clock timeout is tried again (T17) or final (T18).
    pub retry_timeouts: bool,
    /// Whether a user-fixable failure waits for a person (T12) or ends the job.
    pub hold_user_fixable: bool,
    /// Lost leases after which a job is finalised: it kills its host (T19, T20).
    pub max_crashes: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            base: Duration::from_secs(15),
            factor: 4,
            cap: Duration::from_secs(3_600),
            retry_timeouts: true,
            hold_user_fixable: false,
            max_crashes: 2,
        }
    }
}
