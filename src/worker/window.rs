//! The ready jobs that may start next, in memory and bounded: a backlog of millions costs disk, not memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::domain::change::Change;
use crate::domain::id::{JobKey, QueueName, Sequence};
use crate::domain::job::{Job, Status};
use crate::domain::time::Timestamp;

/// How many jobs of a queue are held at most: some tenths of a second of work for a fast host, a few megabytes.
const HIGH_WATERMARK: usize = 8_192;

/// A queue with fewer than this, and more on disk, is filled up again.
const LOW_WATERMARK: usize = 2_048;

/// The queues there are and the share of starts that each gets while others wait, too.
#[derive(Clone, Debug)]
pub struct Lanes(pub Vec<(QueueName, u32)>);

impl Default for Lanes {
    /// The three queues that exist from the start.
    fn default() -> Self {
        let lane = |name, weight| (QueueName::new(name).expect("these names are slugs"), weight);
        Self(vec![lane("default", 8), lane("bulk", 3), lane("maintenance", 1)])
    }
}

/// Greater priority first, then the order of submission.
type Place = (Reverse<i8>, Sequence, JobKey);

struct Lane {
    queue: QueueName,
    weight: u32,
    /// What this lane is owed (smooth weighted round robin): it grows by the weight and pays the total when chosen.
    credit: i64,
    ready: BTreeMap<Place, Job>,
    /// Whether the store holds ready jobs of this queue that sort behind the last one here.
    more_on_disk: bool,
    /// Whether a job was left to the store since the last look at it: that look may be too old to know the job.
    left_since_look: bool,
}

struct Inner {
    lanes: Vec<Lane>,
    unloaded: Vec<JobKey>,
}

/// Filled by the store's feed and by [`Window::refill`], emptied by the workers.
pub struct Window {
    inner: Mutex<Inner>,
    filled: Notify,
    short: Notify,
    /// When the scheduler means to wake; a job that is due earlier wakes it.
    next_wake: AtomicI64,
}

impl Window {
    /// An empty window that expects the store to hold ready jobs already.
    pub fn new(lanes: Lanes) -> Self {
        let lane = |(queue, weight)| Lane {
            queue,
            weight,
            credit: 0,
            ready: BTreeMap::new(),
            more_on_disk: true,
            left_since_look: false,
        };
        let lanes = lanes.0.into_iter().map(lane).collect();
        Self {
            inner: Mutex::new(Inner { lanes, unloaded: Vec::new() }),
            filled: Notify::new(),
            short: Notify::new(),
            next_wake: AtomicI64::new(i64::MAX),
        }
    }

    /// Takes the changes of one commit: what became ready comes in. What is no longer ready stays until its claim is
    /// refused: that is rare, and looking for it would cost every commit.
    pub fn committed(&self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Submit(submission, state) if state.status == Status::Queued => {
                    self.offer(Job { submission: submission.clone(), state: (**state).clone() });
                }
                Change::Advance { job, next, .. } if next.status == Status::Queued => {
                    self.reload(*job);
                }
                Change::Submit(_, state) | Change::Advance { next: state, .. } => self.wake_for(state.postpone_until),
                _ => {}
            }
        }
    }

    /// Has a job read from the store and offered again, if it is still ready.
    pub fn reload(&self, job: JobKey) {
        self.inner.lock().unloaded.push(job);
        self.short.notify_one();
    }

    /// Remembers when the scheduler means to wake.
    pub fn set_next_wake(&self, next: Timestamp) {
        self.next_wake.store(next.as_micros(), Ordering::Relaxed);
    }

    fn wake_for(&self, due: Option<Timestamp>) {
        if due.is_some_and(|due| due.as_micros() < self.next_wake.load(Ordering::Relaxed)) {
            self.short.notify_one();
        }
    }

    /// Takes a ready job, unless it sorts behind jobs that are only on disk.
    pub fn offer(&self, job: Job) {
        if job.state.status != Status::Queued {
            return;
        }
        let mut inner = self.inner.lock();
        if let Some(lane) = inner.lanes.iter_mut().find(|lane| lane.queue == job.submission.queue) {
            lane.offer(job);
        }
        drop(inner);
        self.filled.notify_one();
    }

    /// The next jobs to start, at most `count`.
    pub fn take(&self, count: usize) -> Vec<Job> {
        let mut inner = self.inner.lock();
        let jobs: Vec<_> = std::iter::from_fn(|| inner.take_one()).take(count).collect();
        let is_short = inner.lanes.iter().any(Lane::is_short);
        drop(inner);
        if is_short {
            self.short.notify_one();
        }
        jobs
    }

    /// Waits until something was put in.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Waits until the scheduler should look after the window.
    pub async fn short(&self) {
        self.short.notified().await;
    }

    /// The queues that should be filled up, and to how many jobs. Called right before the store is read.
    pub fn wanted(&self) -> Vec<(QueueName, usize)> {
        let mut inner = self.inner.lock();
        let short = inner.lanes.iter_mut().filter(|lane| lane.is_short());
        short
            .map(|lane| {
                lane.left_since_look = false;
                (lane.queue.clone(), HIGH_WATERMARK)
            })
            .collect()
    }

    /// Puts in what the store knows to be ready, read with `limit`.
    pub fn refill(&self, queue: &QueueName, ready: Vec<Job>, limit: usize) {
        let mut inner = self.inner.lock();
        let Some(lane) = inner.lanes.iter_mut().find(|lane| lane.queue == *queue) else { return };
        lane.more_on_disk = ready.len() >= limit || lane.left_since_look;
        let look_again = lane.left_since_look;
        let some = !ready.is_empty();
        ready.into_iter().for_each(|job| lane.insert(job));
        drop(inner);
        if some {
            self.filled.notify_one();
        }
        if look_again {
            self.short.notify_one();
        }
    }

    /// Jobs that became ready again and of which only the key is known.
    pub fn take_unloaded(&self) -> Vec<JobKey> {
        std::mem::take(&mut self.inner.lock().unloaded)
    }

    /// When the longest-waiting of the jobs that it holds was submitted. Jobs of low priority that are only on disk may be
    /// older still.
    pub fn oldest(&self) -> Option<Timestamp> {
        let inner = self.inner.lock();
        let jobs = inner.lanes.iter().flat_map(|lane| lane.ready.values());
        jobs.map(|job| job.submission.created_on).min()
    }

    /// How many jobs it holds.
    pub fn len(&self) -> usize {
        self.inner.lock().lanes.iter().map(|lane| lane.ready.len()).sum()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn take_one(&mut self) -> Option<Job> {
        let waiting = || self.lanes.iter().enumerate().filter(|(_, lane)| !lane.ready.is_empty());
        let total: i64 = waiting().map(|(_, lane)| i64::from(lane.weight)).sum();
        let (chosen, _) = waiting().max_by_key(|(at, lane)| (lane.credit + i64::from(lane.weight), Reverse(*at)))?;
        for lane in self.lanes.iter_mut().filter(|lane| !lane.ready.is_empty()) {
            lane.credit += i64::from(lane.weight);
        }
        let lane = self.lanes.get_mut(chosen)?;
        lane.credit -= total;
        lane.ready.pop_first().map(|(_, job)| job)
    }
}

impl Lane {
    fn is_short(&self) -> bool {
        self.more_on_disk && self.ready.len() < LOW_WATERMARK
    }

    fn offer(&mut self, job: Job) {
        let sorts_last = self.ready.last_key_value().is_none_or(|(last, _)| place(&job) > *last);
        if self.more_on_disk && sorts_last {
            self.left_since_look = true;
            return;
        }
        self.insert(job);
    }

    fn insert(&mut self, job: Job) {
        self.ready.insert(place(&job), job);
        if self.ready.len() > HIGH_WATERMARK {
            self.ready.pop_last();
            self.more_on_disk = true;
            self.left_since_look = true;
        }
    }
}

fn place(job: &Job) -> Place {
    let key = job.submission.key();
    (Reverse(job.submission.priority), key.sequence, key)
}
