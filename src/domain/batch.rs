//! Batches: a group of jobs with one progress, one end and one callback, itself a job. It waits for its members (T36), then
//! ends by how they did.

use serde::Serialize;

use super::failure::{ErrorClass, Failure};
use super::job::{Outcome, Payload, Progress, Status};
use super::query::Counts;
use super::{code, job};

/// The plug-in that jobs of batches name; the host plays it itself.
pub const PLUGIN: &str = "batch";

/// How the members of a batch did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// All of them.
    pub total: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were called off.
    pub canceled: u64,
}

impl Summary {
    /// Of the members that `counts` counts.
    pub fn of(counts: &Counts) -> Self {
        Self {
            total: counts.0.iter().sum(),
            succeeded: counts.of(Status::Succeeded),
            failed: counts.of(Status::Failed),
            canceled: counts.of(Status::Canceled),
        }
    }

    /// Members that have ended.
    pub fn done(&self) -> u64 {
        self.succeeded + self.failed + self.canceled
    }

    /// Whether all have ended.
    pub fn is_done(&self) -> bool {
        self.done() == self.total
    }

    /// How far the batch has come.
    pub fn progress(&self) -> Progress {
        let note =
            (self.failed + self.canceled > 0).then(|| format!("{} failed, {} canceled", self.failed, self.canceled));
        Progress { done: self.done(), total: Some(self.total), note }
    }

    /// How the batch ends: a failure when more of its members than it allows have not succeeded.
    pub fn outcome(&self, allowed_failures: u64) -> Outcome {
        let unsuccessful = self.failed + self.canceled;
        if unsuccessful <= allowed_failures {
            return Outcome::Succeeded(Payload::Inline(serde_json::to_vec(self).unwrap_or_default().into()));
        }
        let message = format!(
            "{} of {} jobs failed and {} were canceled; {allowed_failures} may",
            self.failed, self.total, self.canceled
        );
        Outcome::Failed(Failure::host(ErrorClass::Business, code::BATCH_FAILED, message))
    }
}

/// What a batch is asked for, as the input of its job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Terms {
    /// How many of its members may fail or be canceled without making it fail.
    #[serde(default)]
    pub allowed_failures: u64,
}

impl Terms {
    /// The terms that an input holds; the usual ones where it holds none.
    pub fn of(input: &job::Payload) -> Self {
        match input {
            Payload::Inline(bytes) => serde_json::from_slice(bytes).unwrap_or_default(),
            Payload::Blob { .. } => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(succeeded: u64, failed: u64, canceled: u64, running: u64) -> Counts {
        let mut counts = Counts::default();
        for (status, count) in [
            (Status::Succeeded, succeeded),
            (Status::Failed, failed),
            (Status::Canceled, canceled),
            (Status::Running, running),
        ] {
            (0..count).for_each(|_| counts.add(status));
        }
        counts
    }

    #[test]
    fn a_batch_is_done_when_every_member_has_ended() {
        let summary = Summary::of(&counts(5, 2, 1, 1));
        assert!(!summary.is_done());
        let progress = summary.progress();
        assert_eq!((progress.done, progress.total), (8, Some(9)));
        assert_eq!(progress.note.as_deref(), Some("2 failed, 1 canceled"));
        assert!(Summary::of(&counts(5, 2, 1, 0)).is_done());
        assert!(Summary::of(&counts(0, 0, 0, 0)).is_done(), "a batch of nothing has nothing to wait for");
    }

    #[test]
    fn a_batch_fails_when_more_of_its_members_fail_than_it_allows() {
        let summary = Summary::of(&counts(5, 2, 1, 0));
        for (allowed, fails) in [(0, true), (2, true), (3, false), (99, false)] {
            assert_eq!(matches!(summary.outcome(allowed), Outcome::Failed(_)), fails, "{allowed} allowed");
        }
    }
}
