//! What people see of the lanes of a host and ask of its queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::Host;
use crate::domain::admission::Hold;
use crate::domain::explain::Reason;
use crate::domain::id::{JobKey, PluginName, QueueName, Sequence, TenantId};
use crate::domain::job::{Job, Status};
use crate::domain::queue::{Lane, LaneDepth, Pause};
use crate::domain::time::Timestamp;
use crate::jobs::Moment;
use crate::resources::blocking;
use crate::store::warrant::carried;
use crate::store::{CommitError, ReadError, Store};
use crate::worker::{QueueNow, QueuePauseError, change_queue_pause};

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
    Commit(CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<QueuePauseError> for QueueError {
    fn from(error: QueuePauseError) -> Self {
        match error {
            QueuePauseError::Commit(error) => Self::Commit(error),
            QueuePauseError::Read(error) => Self::Read(error),
        }
    }
}

/// Lanes that are asked for at a time.
const LANES: usize = 256;

/// Lanes that are counted in all: each concurrency key of jobs that wait has its own.
const LANES_MAX: usize = 8_192;

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

/// How much waits in each queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depths {
    by_queue: BTreeMap<QueueName, QueueDepth>,
    /// Whether there were more lanes than were counted, in whatever queues.
    is_cut: bool,
}

impl Depths {
    /// How much waits in one of them.
    pub fn of(&self, queue: &QueueName) -> QueueDepth {
        let depth = self.by_queue.get(queue).copied().unwrap_or_default();
        QueueDepth { is_more: depth.is_more || self.is_cut, ..depth }
    }

    fn count(store: &dyn Store) -> Result<Self, ReadError> {
        let mut depths = Self::default();
        let mut oldest = BTreeMap::<QueueName, JobKey>::new();
        let (mut behind, mut counted) = (None, 0);
        loop {
            let lanes = store.lanes(behind.as_ref(), LANES)?;
            for lane in &lanes {
                let first = depths.count_lane(store, lane)?.map(|sequence| JobKey { tenant: lane.tenant, sequence });
                if let Some(first) = first {
                    let known = oldest.entry(lane.queue.clone()).or_insert(first);
                    *known = [*known, first].into_iter().min_by_key(|key| key.sequence).unwrap_or(first);
                }
            }
            counted += lanes.len();
            let is_last = lanes.len() < LANES;
            behind = lanes.into_iter().last();
            if is_last || counted >= LANES_MAX {
                depths.is_cut = !is_last;
                break;
            }
        }
        for (queue, job) in oldest {
            let submitted_on = store.job(job)?.map(|job| job.submission.created_on);
            depths.by_queue.entry(queue).or_default().oldest = submitted_on;
        }
        Ok(depths)
    }

    /// Counts one more lane. Returns which of its jobs was submitted first.
    fn count_lane(&mut self, store: &dyn Store, lane: &Lane) -> Result<Option<Sequence>, ReadError> {
        let depth = self.by_queue.entry(lane.queue.clone()).or_default();
        if depth.is_more {
            return Ok(None);
        }
        let room = COUNTED_MAX - depth.jobs;
        let LaneDepth { jobs, oldest } = store.depth(lane, room + 1)?;
        depth.is_more = jobs > room;
        depth.jobs += jobs.min(room);
        Ok(oldest)
    }
}

/// A count that has ended: its number, and what it found.
type Counted = (u64, Arc<Depths>);

/// The counts of a host: one at a time, however many ask.
#[derive(Default)]
pub(super) struct Counting {
    /// How many have begun.
    begun: Arc<AtomicU64>,
    /// The last one that ended. Held by the one under way.
    last: Arc<Mutex<Option<Counted>>>,
}

impl Counting {
    async fn depths(&self, store: &Arc<dyn Store>) -> Result<Arc<Depths>, ReadError> {
        let begun_before = self.begun.load(Ordering::Acquire);
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some((number, depths)) = &*last
            && *number > begun_before
        {
            // It began after it was asked for here.
            return Ok(Arc::clone(depths));
        }
        let (store, begun) = (Arc::clone(store), Arc::clone(&self.begun));
        let counted = blocking(carried(move || {
            let number = begun.fetch_add(1, Ordering::AcqRel) + 1;
            let depths = Arc::new(Depths::count(&*store)?);
            *last = Some((number, Arc::clone(&depths)));
            Ok(depths)
        }));
        counted.await.unwrap_or_else(|error| Err(ReadError::Failed(error.to_string())))
    }
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

    /// How much waits in each queue. Those who ask at the same time are answered by one count.
    pub async fn depths(&self) -> Result<Arc<Depths>, ReadError> {
        self.counting.depths(&self.store).await
    }

    /// Starts no job of a queue while the pause holds, or lets them start again. Fails and cancels nothing; outlives a restart
    /// (F105).
    pub async fn pause_queue(&self, name: &QueueName, pause: Option<Pause>) -> Result<QueueNow, QueueError> {
        // What was paused before the operator took it out of the settings can still be resumed.
        let is_known =
            self.queue_names().contains(name) || self.store.queues()?.iter().any(|queue| queue.name == *name);
        if !is_known {
            let there = self.queue_names().iter().map(ToString::to_string).collect();
            return Err(QueueError::Unknown { name: name.clone(), there });
        }
        let unless_as_before = |before: Option<&Pause>| {
            let is_as_before = match (before, &pause) {
                (None, None) => true,
                (Some(before), Some(pause)) => before.is_as(pause),
                _ => false,
            };
            (!is_as_before).then(|| pause.clone())
        };
        change_queue_pause(&*self.store, name, unless_as_before).await?;
        Ok(self.window.queue(name))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::Change;
    use crate::domain::id::{ConcurrencyKey, JobId};
    use crate::domain::job::{Submission, Ties};
    use crate::store::memory::{MemoryStore, Reading};

    /// A store with so many jobs that may start, each submitted a millisecond after the one before.
    fn store_with(count: u64, tie: impl Fn(u64) -> Ties) -> Arc<MemoryStore> {
        let store = Arc::new(MemoryStore::new());
        let plugin = PluginName::new("echo").expect("a name");
        let submit = |number: u64| {
            let on = Timestamp::from_millis(i64::try_from(number).expect("few"));
            let asked = Submission::new(JobId::new(on, Sequence(number), 7), plugin.clone(), on);
            Change::Submit(Arc::new(Submission { ties: Some(Arc::new(tie(number))), ..asked }), Box::default())
        };
        store.commit((1..=count).map(submit).collect()).wait().expect("there is room");
        store
    }

    fn in_default(depths: &Depths) -> QueueDepth {
        depths.of(&QueueName::default_queue())
    }

    #[test]
    fn a_count_reads_one_job_of_a_queue_however_many_there_are_and_ask() {
        let store = store_with(10_100, |_| Ties::default());
        let reads = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&reads);
        store.watch_reads(move |reading| {
            assert_eq!(reading, Reading::Job, "jobs are read to be counted");
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (counting, store): (_, Arc<dyn Store>) = (Arc::new(Counting::default()), store);
        let ask = || {
            let (counting, store) = (Arc::clone(&counting), Arc::clone(&store));
            runtime.spawn(async move { counting.depths(&store).await })
        };
        let asked: Vec<_> = (0..20).map(|_| ask()).collect();
        for asked in asked {
            let depths = runtime.block_on(asked).expect("it ends").expect("it reads");
            let oldest = Some(Timestamp::from_millis(1));
            assert_eq!(in_default(&depths), QueueDepth { jobs: COUNTED_MAX, is_more: true, oldest });
        }
        let before = reads.load(Ordering::Relaxed);
        assert!(before <= 2, "each asker counts for himself");
        runtime.block_on(counting.depths(&store)).expect("it reads");
        assert_eq!(reads.load(Ordering::Relaxed), before + 1, "a later one sees what has changed since");
    }

    #[test]
    fn of_very_many_lanes_some_are_counted_and_it_says_so() {
        let keyed = |number: u64| {
            let key = ConcurrencyKey::new(&format!("key-{number}")).expect("a key");
            Ties { concurrency_key: Some(key), ..Ties::default() }
        };
        let few = Depths::count(&*store_with(100, keyed)).expect("it reads");
        assert_eq!(in_default(&few), QueueDepth { jobs: 100, is_more: false, oldest: Some(Timestamp::from_millis(1)) });
        let many = Depths::count(&*store_with(9_000, keyed)).expect("it reads");
        assert_eq!((in_default(&many).jobs, in_default(&many).is_more), (LANES_MAX, true));
        assert!(many.of(&QueueName::new("other").expect("a name")).is_more, "its lanes may be behind those");
    }
}
