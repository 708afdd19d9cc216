//! Queues: named pools of work, and the lanes within them.

use std::fmt;

use super::family::{Family, KeyForm, Row, RowKey, is_next_revision};
use super::id::{ConcurrencyKey, PluginName, QueueName, Sequence, TenantId};
use super::job::Submission;
use super::time::Timestamp;

/// The ready jobs of one plug-in in one queue; those of each concurrency key have a lane of their own. Within a lane jobs start by their [`super::job::Rank`]; a lane that may not
/// start anything holds up no other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The queue.
    pub queue: QueueName,
    /// The plug-in.
    pub plugin: PluginName,
    /// Whose plug-in.
    pub tenant: TenantId,
    /// The concurrency key that its jobs share.
    pub key: Option<ConcurrencyKey>,
}

impl Lane {
    /// The lane that a job runs in.
    pub fn of(submission: &Submission) -> Self {
        Self {
            queue: submission.queue.clone(),
            plugin: submission.plugin.clone(),
            tenant: submission.tenant,
            key: submission.ties().concurrency_key.clone(),
        }
    }

    /// What stands for all lanes of its plug-in in its queue.
    pub fn of_any_key(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    /// What stands for the lanes of its plug-in and its key, whatever their queue.
    pub fn in_any_queue(&self) -> Self {
        Self { queue: QueueName::default_queue(), ..self.clone() }
    }
}

/// How many jobs of a lane may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneDepth {
    /// How many were counted.
    pub jobs: usize,
    /// The one of them that was submitted first.
    pub oldest: Option<Sequence>,
}

impl LaneDepth {
    /// Counts one more.
    pub fn add(&mut self, job: Sequence) {
        self.jobs += 1;
        self.oldest = Some(self.oldest.map_or(job, |oldest| oldest.min(job)));
    }
}

/// What people have asked of a queue; its weight and limits are settings of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// Which.
    pub name: QueueName,
    /// Counts the writes of this record.
    pub revision: u32,
    /// No job of a paused queue starts; none is failed or canceled for it (F105).
    pub pause: Option<Pause>,
}

impl fmt::Display for Pause {
    /// Until when, by whom and why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.until {
            Some(until) => write!(f, "until {until}")?,
            None => f.write_str("until it is resumed")?,
        }
        self.by.iter().try_for_each(|by| write!(f, " by {by}"))?;
        self.reason.iter().try_for_each(|reason| write!(f, ": {reason}"))
    }
}

/// That no job of a queue, of a plug-in or of the whole service starts for now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Who asked for it.
    pub by: Option<String>,
    /// Why, as they said it.
    pub reason: Option<String>,
    /// When it ends by itself; without a time, when somebody resumes.
    pub until: Option<Timestamp>,
}

impl Pause {
    /// Whether it still holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Whether it asks for the same as another, whenever that was.
    pub fn is_as(&self, other: &Self) -> bool {
        (&self.by, &self.reason, self.until) == (&other.by, &other.reason, other.until)
    }
}

impl Row for QueueState {
    const ROWS: &'static Family = &Family::new(6, "queue", KeyForm::Name).resident();

    fn key(&self) -> RowKey {
        RowKey::plain(self.name.as_str())
    }

    fn revision(&self) -> u32 {
        self.revision
    }

    fn follows(&self, present: Option<&Self>) -> bool {
        is_next_revision(self.revision, present.map(|present| present.revision))
    }
}
