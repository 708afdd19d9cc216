//! What happens to occurrences that were missed, or that come while the one before is under way.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::error::shortened;

/// An occurrence that is later than this, beyond the jitter, was missed: the misfire policy decides. A host that is
/// merely busy fires on time by this measure; one that was restarted for longer was down. And a clock that is set back by
/// no more than this was set right.
pub const MISSED_AFTER: Duration = Duration::from_secs(60);

/// What becomes of occurrences that were missed while no host ran (domain.md 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Misfire {
    /// All that were missed become one job, that of the latest.
    #[default]
    RunOnce,
    /// The latest that were missed run, at most so many.
    RunAll(u32),
    /// None of them runs.
    Skip,
}

impl Misfire {
    /// So many occurrences one firing catches up with, at most.
    pub const RUN_ALL_MAX: u32 = 1_000;

    /// How many missed occurrences run.
    pub fn runs(self) -> usize {
        match self {
            Self::RunOnce => 1,
            Self::RunAll(most) => most.min(Self::RUN_ALL_MAX) as usize,
            Self::Skip => 0,
        }
    }
}

/// What becomes of an occurrence that comes while the job before is unfinished (domain.md 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// It waits for the one before.
    Queue,
    /// It runs beside the one before.
    Allow,
    /// The one before is canceled for it.
    CancelPrevious,
}

/// Why a policy is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}; use {use_instead}")]
pub struct InvalidPolicy {
    /// What was to be chosen.
    pub what: &'static str,
    /// What was given, cut to 80 characters.
    pub text: String,
    /// What there is to choose from.
    pub use_instead: &'static str,
}

impl fmt::Display for Misfire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunOnce => f.write_str("run_once"),
            Self::RunAll(most) => write!(f, "run_all({most})"),
            Self::Skip => f.write_str("skip"),
        }
    }
}

impl FromStr for Misfire {
    type Err = InvalidPolicy;

    /// Reads `run_once`, `run_all(3)` or `skip`.
    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        const USE_INSTEAD: &str = "run_once, skip, or run_all(3) with a number from 1 to 1000";
        let text = text.trim();
        let most = text.strip_prefix("run_all(").and_then(|rest| rest.strip_suffix(')')).map(str::parse);
        match (text, most) {
            ("run_once", _) => Ok(Self::RunOnce),
            ("skip", _) => Ok(Self::Skip),
            (_, Some(Ok(most))) if (1..=Self::RUN_ALL_MAX).contains(&most) => Ok(Self::RunAll(most)),
            _ => Err(InvalidPolicy { what: "misfire policy", text: shortened(text), use_instead: USE_INSTEAD }),
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
            Self::Allow => "allow",
            Self::CancelPrevious => "cancel_previous",
        })
    }
}

impl FromStr for Overlap {
    type Err = InvalidPolicy;

    /// Reads `skip`, `queue`, `allow` or `cancel_previous`.
    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        match text.trim() {
            "skip" => Ok(Self::Skip),
            "queue" => Ok(Self::Queue),
            "allow" => Ok(Self::Allow),
            "cancel_previous" => Ok(Self::CancelPrevious),
            _ => Err(InvalidPolicy {
                what: "overlap policy",
                text: shortened(text),
                use_instead: "skip, queue, allow or cancel_previous",
            }),
        }
    }
}
