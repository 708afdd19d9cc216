//! How long finished jobs are kept (domain.md 8.5).

use std::time::Duration;

use super::job::{Job, Status};
use super::time::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

/// How long jobs are kept after their end, by how that was; none keeps them for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Those that succeeded.
    pub succeeded: Option<Duration>,
    /// Those that failed.
    pub failed: Option<Duration>,
    /// Those that were called off.
    pub canceled: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { succeeded: Some(7 * DAY), failed: Some(90 * DAY), canceled: Some(30 * DAY) }
    }
}

impl Retention {
    /// Keeps everything.
    pub const FOREVER: Self = Self { succeeded: None, failed: None, canceled: None };

    /// What ended at this time or later is still there; none when nothing ever goes.
    pub fn keeps_from(&self, now: Timestamp) -> Option<Timestamp> {
        let shortest = [self.succeeded, self.failed, self.canceled].into_iter().flatten().min()?;
        let micros = i64::try_from(shortest.as_micros()).unwrap_or(i64::MAX);
        Some(Timestamp(now.0.saturating_sub(micros)))
    }

    /// Whether the time of a job has come by `now`. Only finished jobs ever go (F110), and only those that people may delete.
    pub fn is_over(&self, job: &Job, now: Timestamp) -> bool {
        let kept_for = match job.state.status {
            Status::Succeeded => self.succeeded,
            Status::Failed => self.failed,
            Status::Canceled => self.canceled,
            _ => None,
        };
        let (Some(kept_for), Some(ended)) = (kept_for, job.state.completed_on) else { return false };
        job.submission.job_type.steering().deletable && now.since(ended) >= kept_for && ended <= now
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::id::{JobId, PluginName};
    use crate::domain::job::{JobState, Submission};

    fn job(status: Status, ended: i64) -> Job {
        let submission =
            Submission::new(JobId::default(), PluginName::new("echo").expect("a name"), Timestamp::default());
        let completed_on = status.is_final().then_some(Timestamp(ended));
        Job { submission: Arc::new(submission), state: JobState { status, completed_on, ..JobState::default() } }
    }

    #[test]
    fn f110_only_finished_jobs_of_their_class_go_and_only_when_their_time_has_come() {
        let retention = Retention {
            succeeded: Some(Duration::from_micros(10)),
            failed: Some(Duration::from_micros(20)),
            canceled: None,
        };
        for status in Status::ALL {
            let at = |now| retention.is_over(&job(status, 100), Timestamp(now));
            let first = (0..1_000).find(|now| at(*now));
            let wanted = match status {
                Status::Succeeded => Some(110),
                Status::Failed => Some(120),
                _ => None,
            };
            assert_eq!(first, wanted, "{status}");
        }
        assert_eq!(retention.keeps_from(Timestamp(100)), Some(Timestamp(90)), "by the shortest");
        assert_eq!(Retention::FOREVER.keeps_from(Timestamp(100)), None);
        let none_kept = Retention { succeeded: Some(Duration::ZERO), ..Retention::FOREVER };
        assert!(none_kept.is_over(&job(Status::Succeeded, 5), Timestamp(5)));
        assert!(!none_kept.is_over(&job(Status::Succeeded, 5), Timestamp(4)), "the clock was set back");
    }
}
