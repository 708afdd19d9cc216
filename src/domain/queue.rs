//! Queues: named pools of work, and the lanes within them.

use serde::{Deserialize, Serialize};

use super::id::{ConcurrencyKey, PluginName, QueueName, TenantId};
use super::job::Submission;

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

/// What people have asked of a queue; its weight and limits are settings of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// Which.
    pub name: QueueName,
    /// Counts the writes of this record.
    pub revision: u32,
    /// No job of a paused queue starts; none is failed or canceled for it (F105).
    pub paused: bool,
}
