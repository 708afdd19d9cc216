//! What people see of the lanes of a host and ask of its queues.

use std::collections::BTreeMap;

use super::Host;
use crate::domain::admission::Hold;
use crate::domain::change::Change;
use crate::domain::explain::Reason;
use crate::domain::id::{PluginName, QueueName, TenantId};
use crate::domain::job::{Job, Status};
use crate::domain::queue::{Lane, Pause, QueueState};
use crate::domain::time::Timestamp;
use crate::jobs::Moment;
use crate::store::{CommitError, ReadError};
use crate::worker::QueueNow;

/// How often a pause is decided again when somebody else changed the queue in between.
const ATTEMPTS: usize = 16;

/// Why a queue was not paused or resumed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// There is no such queue.
    #[error("there is no queue `{name}`; there are {}", there.join(", "))]
    Unknown {
        /// The name that was given.
        name: QueueName,
        /// The queues there are.
        there: Vec<String>,
    },
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Lanes that are asked for at a time.
const LANES: usize = 256;

/// How many jobs of a queue are counted.
const COUNTED_MAX: usize = 10_000;

/// How much waits in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Jobs that could start if they had their turn and a slot.
    pub jobs: usize,
    /// Whether there are more than were counted.
    pub is_more: bool,
    /// When the longest-waiting of those that were counted was submitted.
    pub oldest: Option<Timestamp>,
}

impl Host {
    /// The queues that a job may be submitted to, by name.
    pub fn queue_names(&self) -> Vec<QueueName> {
        self.window.queues()
    }

    /// The plug-ins of a tenant that are slowed down because they keep failing, by name.
    pub fn degraded(&self, tenant: TenantId) -> Vec<PluginName> {
        let degraded = self.window.degraded().into_iter();
        degraded.filter(|(owner, _)| *owner == tenant).map(|(_, name)| name).collect()
    }

    /// How each queue does, by name.
    pub fn queues(&self) -> Vec<QueueNow> {
        self.queue_names().iter().map(|name| self.window.queue(name)).collect()
    }

    /// How much waits in each queue that has something to start. Blocks the calling thread.
    pub fn depths(&self) -> Result<BTreeMap<QueueName, QueueDepth>, ReadError> {
        let mut depths = BTreeMap::<QueueName, QueueDepth>::new();
        let mut behind: Option<Lane> = None;
        loop {
            let lanes = self.store.lanes(behind.as_ref(), LANES)?;
            let is_last = lanes.len() < LANES;
            behind = lanes.last().cloned();
            for lane in lanes {
                let depth = depths.entry(lane.queue.clone()).or_default();
                let room = COUNTED_MAX.saturating_sub(depth.jobs);
                let ready = self.store.ready(&lane, room.saturating_add(1))?;
                depth.is_more |= ready.len() > room;
                depth.jobs += ready.len().min(room);
                let oldest = ready.iter().map(|job| job.submission.created_on).min();
                depth.oldest = [depth.oldest, oldest].into_iter().flatten().min();
            }
            if is_last {
                return Ok(depths);
            }
        }
    }

    /// Starts no job of a queue while the pause holds, or lets them start again. Fails and cancels nothing; outlives a restart
    /// (F105).
    pub async fn pause_queue(&self, name: &QueueName, pause: Option<Pause>) -> Result<QueueNow, QueueError> {
        let mut conflict = CommitError::Conflict { index: 0 };
        for _ in 0..ATTEMPTS {
            let stored = self.store.queues()?.into_iter().find(|queue| queue.name == *name);
            // What was paused before the operator took it out of the settings can still be resumed.
            if stored.is_none() && !self.queue_names().contains(name) {
                let there = self.queue_names().iter().map(ToString::to_string).collect();
                return Err(QueueError::Unknown { name: name.clone(), there });
            }
            let (revision, before) = stored.map_or((0, None), |queue| (queue.revision, queue.pause));
            let is_as_before = match (&before, &pause) {
                (None, None) => true,
                (Some(before), Some(pause)) => before.is_as(pause),
                _ => false,
            };
            if is_as_before {
                return Ok(self.window.queue(name));
            }
            let next = QueueState { name: name.clone(), revision: revision + 1, pause: pause.clone() };
            match self.store.commit(vec![Change::PutQueue(next)]).await {
                Ok(()) => return Ok(self.window.queue(name)),
                Err(error @ CommitError::Conflict { .. }) => conflict = error,
                Err(error) => return Err(error.into()),
            }
        }
        Err(conflict.into())
    }

    /// Whether a plug-in is slowed down because it keeps failing.
    pub fn is_degraded(&self, tenant: TenantId, plugin: &PluginName) -> bool {
        self.window.is_degraded(tenant, plugin)
    }

    /// What the host knows now of why a job is not running.
    pub fn moment(&self, job: &Job) -> Moment {
        self.moments(std::slice::from_ref(job)).pop().unwrap_or_default()
    }

    /// The foremost reason of each of these jobs that waits, found in one pass. Blocks the calling thread.
    pub fn leading_reasons(&self, jobs: &[Job]) -> Result<Vec<Option<Reason>>, ReadError> {
        self.jobs.leading_reasons(jobs, self.moments(jobs))
    }

    fn moments(&self, jobs: &[Job]) -> Vec<Moment> {
        let service = self.service();
        let moment = |(job, (holds, ahead)): (&Job, (Vec<Hold>, usize))| {
            let service = service.clone();
            match job.state.status {
                Status::Queued => Moment { service, holds, ahead },
                status if status.waits() => Moment { service, holds, ahead: 0 },
                _ => Moment { service, ..Moment::default() },
            }
        };
        jobs.iter().zip(self.window.before_each(jobs)).map(moment).collect()
    }
}
