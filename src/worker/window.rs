//! The ready jobs that may start next, in memory and bounded: a backlog of millions costs disk, not memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::parked::Parked;
use crate::clock::Clock;
use crate::domain::admission::{Admission, AdmissionPolicy, Hold, StartLimits, Verdict};
use crate::domain::change::Change;
use crate::domain::id::{ConcurrencyKey, JobKey, PluginName, QueueName, Sequence, TenantId};
use crate::domain::job::{Job, Rank, Status, WaitReason};
use crate::domain::queue::Lane;
use crate::domain::time::Timestamp;
use crate::store::News;

/// How many jobs are held at most in all lanes together: some tenths of a second of work for a fast host, some megabytes.
const JOBS_MAX: usize = 16_384;

/// How many jobs of a lane are held at most.
const LANE_JOBS_MAX: usize = 8_192;

/// How many jobs a lane may hold however many lanes there are.
const LANE_JOBS_MIN: usize = 32;

/// The place of a job in its lane.
pub(super) type Place = (Rank, Sequence);

/// How a queue does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueNow {
    /// Which.
    pub name: QueueName,
    /// Its share of starts while other queues wait, too.
    pub weight: u32,
    /// What may start.
    pub limits: StartLimits,
    /// Whether a person has paused it.
    pub paused: bool,
    /// How many of its jobs run now.
    pub running: u32,
}

/// What the window holds of a lane.
#[derive(Default)]
struct Waiting {
    ready: BTreeMap<Place, Job>,
    /// Those whose concurrency key has as many runs as it may.
    parked: Parked,
    /// Whether the store holds ready jobs of this lane that sort behind the last one here.
    more_on_disk: bool,
    /// Whether a job was left to the store since the last look at it: that look may be too old to know the job.
    left_since_look: bool,
}

struct Inner {
    lanes: BTreeMap<Lane, Waiting>,
    /// What each queue is owed (smooth weighted round robin): it grows by the weight and pays the total when chosen.
    credits: BTreeMap<QueueName, i64>,
    admission: Admission,
    unloaded: Vec<JobKey>,
    /// Whether the store may hold lanes that are not known here: at the start.
    lanes_unknown: bool,
    /// When the first of the lanes that are held up by time alone may start again.
    opens_on: Option<Timestamp>,
}

/// Filled by the store's feed and by [`Window::refill`], emptied by the workers.
pub struct Window {
    inner: Mutex<Inner>,
    clock: Arc<dyn Clock>,
    filled: Notify,
    short: Notify,
    /// When the scheduler means to wake; a job that is due earlier wakes it.
    next_wake: AtomicI64,
}

/// A job that was taken out to be started, and its place within the limits. Dropping it gives the place back.
pub struct Started {
    window: Arc<Window>,
    lane: Lane,
    key: Option<ConcurrencyKey>,
    on: Timestamp,
    /// What the end of its run says; none while nothing has run.
    verdict: Option<Verdict>,
}

impl Started {
    /// What the end of the run says about the plug-in. A job that is never judged did not run: it used up no start.
    pub fn judge(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let now = self.window.clock.now();
        self.window.inner.lock().end(&self.lane, self.key.as_ref(), self.verdict, self.on, now);
        self.window.filled.notify_one();
    }
}

impl Window {
    /// An empty window that expects the store to hold ready jobs already.
    pub fn new(policy: AdmissionPolicy, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                lanes: BTreeMap::new(),
                credits: BTreeMap::new(),
                admission: Admission::new(policy),
                unloaded: Vec::new(),
                lanes_unknown: true,
                opens_on: None,
            }),
            clock,
            filled: Notify::new(),
            short: Notify::new(),
            next_wake: AtomicI64::new(i64::MAX),
        }
    }

    /// Takes the news of the store: what became ready comes in. What is no longer ready stays until its claim is refused:
    /// that is rare, and looking for it would cost every commit.
    pub fn heard(&self, news: News<'_>) {
        match news {
            News::Committed(changes) => changes.iter().for_each(|change| self.committed(change)),
            News::Released(jobs) => jobs.iter().for_each(|job| self.reload(*job)),
        }
    }

    fn committed(&self, change: &Change) {
        match change {
            Change::Submit(submission, state) if state.status == Status::Queued => {
                match submission.ties().is_ordered() {
                    // Whether it waits for others, only the store knows.
                    true => self.reload(submission.key()),
                    false => self.offer(Job { submission: submission.clone(), state: (**state).clone() }),
                }
            }
            // A batch whose members were all refused has nothing to wait for.
            Change::Submit(batch, state) if state.wait_reason == Some(WaitReason::Children) => self.reload(batch.key()),
            Change::Advance { job, next, .. } if next.status == Status::Queued => self.reload(*job),
            Change::Submit(_, state) | Change::Advance { next: state, .. } => self.wake_for(state.postpone_until),
            Change::PutSchedule(schedule) => self.wake_for(schedule.next_run),
            Change::PutPlugin(plugin) => self.pause_plugin(plugin.tenant, &plugin.name, plugin.paused),
            Change::PutQueue(queue) => self.pause_queue(&queue.name, queue.paused),
            _ => {}
        }
    }

    /// A person pauses a queue, or lets it go on.
    pub fn pause_queue(&self, queue: &QueueName, paused: bool) {
        self.inner.lock().admission.pause_queue(queue, paused);
        self.filled.notify_one();
    }

    /// A person pauses a plug-in, or lets it go on.
    pub fn pause_plugin(&self, tenant: TenantId, plugin: &PluginName, paused: bool) {
        self.inner.lock().admission.pause_plugin(tenant, plugin, paused);
        self.filled.notify_one();
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

    /// Has the scheduler look after what is due.
    pub fn nudge(&self) {
        self.short.notify_one();
    }

    /// Takes a ready job that waits for no other, unless it sorts behind jobs that are only on disk.
    pub fn offer(&self, job: Job) {
        if job.state.status != Status::Queued {
            return;
        }
        let mut inner = self.inner.lock();
        let room = inner.room();
        inner.lane(Lane::of(&job.submission)).offer(job, room);
        drop(inner);
        self.filled.notify_one();
    }

    /// The next jobs to start, at most `count`, each with its place within the limits.
    pub fn take(self: &Arc<Self>, count: usize) -> Vec<(Job, Started)> {
        let now = self.clock.now();
        let mut inner = self.inner.lock();
        inner.opens_on = None;
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some((lane, job)) = inner.take_one(now)
        {
            let key = job.submission.ties().concurrency_key.clone();
            taken.push((job, Started { window: Arc::clone(self), lane, key, on: now, verdict: None }));
        }
        let is_short = inner.is_short();
        drop(inner);
        if is_short {
            self.short.notify_one();
        }
        taken
    }

    /// When the first of the lanes that are held up by time alone may start again, as the last [`Window::take`] saw it.
    pub fn opens_on(&self) -> Option<Timestamp> {
        self.inner.lock().opens_on
    }

    /// Waits until something was put in, or may start.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Waits until the scheduler should look after the window.
    pub async fn short(&self) {
        self.short.notified().await;
    }

    /// Whether the lanes of the store have not been looked at yet.
    pub fn wants_lanes(&self) -> bool {
        self.inner.lock().lanes_unknown
    }

    /// Takes note of the lanes that the store has. Those that come later come by the feed.
    pub fn note_lanes(&self, lanes: Vec<Lane>) {
        let mut inner = self.inner.lock();
        for lane in lanes {
            inner.lane(lane).more_on_disk = true;
        }
        inner.lanes_unknown = false;
    }

    /// The lanes that should be filled up, and to how many jobs. Called right before the store is read.
    pub fn wanted(&self) -> Vec<(Lane, usize)> {
        let mut inner = self.inner.lock();
        let room = inner.room();
        let short = inner.lanes.iter_mut().filter(|(_, waiting)| waiting.is_short(room));
        short
            .map(|(lane, waiting)| {
                waiting.left_since_look = false;
                // What is parked is still ready on disk, and comes again.
                (lane.clone(), room + waiting.parked.len())
            })
            .collect()
    }

    /// Puts in what the store knows to be ready, read with `limit`.
    pub fn refill(&self, lane: &Lane, ready: Vec<Job>, limit: usize) {
        let mut inner = self.inner.lock();
        let waiting = inner.lane(lane.clone());
        waiting.more_on_disk = ready.len() >= limit || waiting.left_since_look;
        let look_again = waiting.left_since_look;
        let some = !ready.is_empty();
        ready.into_iter().for_each(|job| waiting.insert(job, limit));
        inner.forget_if_idle(lane);
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
        let jobs = inner.lanes.values().flat_map(|waiting| waiting.ready.values().chain(waiting.parked.jobs()));
        jobs.map(|job| job.submission.created_on).min()
    }

    /// The queues that a job may be submitted to, by name.
    pub fn queues(&self) -> Vec<QueueName> {
        self.inner.lock().admission.queues()
    }

    /// How a queue does.
    pub fn queue(&self, name: &QueueName) -> QueueNow {
        let inner = self.inner.lock();
        let admission = &inner.admission;
        QueueNow {
            name: name.clone(),
            weight: admission.weight(name),
            limits: admission.queue_policy(name).map(|policy| policy.limits.clone()).unwrap_or_default(),
            paused: admission.is_queue_paused(name),
            running: admission.running_in(name),
        }
    }

    /// Everything that keeps a job from starting now, but for what the store knows.
    pub fn holds(&self, job: &Job) -> Vec<Hold> {
        let lane = Lane::of(&job.submission);
        let inner = self.inner.lock();
        let mut holds = inner.admission.holds(&lane, self.clock.now());
        let key = job.submission.ties().concurrency_key.as_ref();
        holds.extend(key.and_then(|key| inner.admission.key_hold(&lane, key)));
        holds
    }

    /// How many jobs of the lane are known to start before this one.
    pub fn ahead_of(&self, job: &Job) -> usize {
        let inner = self.inner.lock();
        let lane = inner.lanes.get(&Lane::of(&job.submission));
        lane.map_or(0, |waiting| waiting.ready.range(..place(job)).count())
    }

    /// Whether a plug-in is slowed down because it keeps failing.
    pub fn is_degraded(&self, tenant: TenantId, plugin: &PluginName) -> bool {
        let inner = self.inner.lock();
        inner.admission.breaker(tenant, plugin).is_some_and(|breaker| breaker.is_degraded())
    }

    /// How many jobs it holds.
    pub fn len(&self) -> usize {
        self.inner.lock().lanes.values().map(|waiting| waiting.ready.len() + waiting.parked.len()).sum()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    /// How many jobs each lane may hold.
    fn room(&self) -> usize {
        (JOBS_MAX / self.lanes.len().max(1)).clamp(LANE_JOBS_MIN, LANE_JOBS_MAX)
    }

    fn lane(&mut self, lane: Lane) -> &mut Waiting {
        self.lanes.entry(lane).or_insert_with(|| Waiting { more_on_disk: self.lanes_unknown, ..Waiting::default() })
    }

    fn is_short(&self) -> bool {
        let room = self.room();
        self.lanes_unknown || self.lanes.values().any(|waiting| waiting.is_short(room))
    }

    fn forget_if_idle(&mut self, lane: &Lane) {
        if self.lanes.get(lane).is_some_and(Waiting::is_idle) {
            self.lanes.remove(lane);
        }
    }

    /// The next job: of the queue that is owed most, the lane whose first job has waited longest by its rank.
    fn take_one(&mut self, now: Timestamp) -> Option<(Lane, Job)> {
        let mut first: BTreeMap<&QueueName, (Place, &Lane)> = BTreeMap::new();
        for (lane, waiting) in &mut self.lanes {
            waiting.park_full(lane, &self.admission);
            let Some((place, _)) = waiting.ready.first_key_value() else { continue };
            if let Some(hold) = self.admission.hold(lane, now) {
                self.opens_on = [self.opens_on, hold.until()].into_iter().flatten().min();
                continue;
            }
            let best = first.entry(&lane.queue).or_insert((*place, lane));
            if *place < best.0 {
                *best = (*place, lane);
            }
        }
        let owed = |queue: &QueueName| {
            let credit = self.credits.get(queue).copied().unwrap_or(0);
            credit + i64::from(self.admission.weight(queue))
        };
        // Of those that are owed the same, the one of the greater weight.
        let chosen = first.keys().copied().max_by_key(|queue| (owed(queue), self.admission.weight(queue)))?.clone();
        let lane = first.get(&chosen)?.1.clone();
        let waiting: Vec<_> = first.into_keys().cloned().collect();
        let total: i64 = waiting.iter().map(|queue| i64::from(self.admission.weight(queue))).sum();
        for queue in waiting {
            let weight = i64::from(self.admission.weight(&queue));
            *self.credits.entry(queue).or_default() += weight;
        }
        *self.credits.entry(chosen).or_default() -= total;
        let job = self.lanes.get_mut(&lane)?.ready.pop_first()?.1;
        self.admission.start(&lane, job.submission.ties().concurrency_key.as_ref(), now);
        self.forget_if_idle(&lane);
        Some((lane, job))
    }

    /// A job has ended its run, or did not run after all: another of its key may start, in whatever queue it is.
    fn end(
        &mut self,
        lane: &Lane,
        key: Option<&ConcurrencyKey>,
        verdict: Option<Verdict>,
        started_on: Timestamp,
        now: Timestamp,
    ) {
        self.admission.end(lane, key, verdict, started_on, now);
        let Some(key) = key else { return };
        let of_plugin = |other: &Lane| other.plugin == lane.plugin && other.tenant == lane.tenant;
        for (_, waiting) in self.lanes.iter_mut().filter(|(other, _)| of_plugin(other)) {
            waiting.ready.extend(waiting.parked.release(key));
        }
    }
}

impl Waiting {
    /// Half of the room is for what is parked: when that is full, the lane waits for one of those keys.
    fn is_short(&self, room: usize) -> bool {
        self.more_on_disk && self.ready.len() < room / 4 && self.parked.len() < room / 2
    }

    fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.parked.len() == 0 && !self.more_on_disk
    }

    /// Puts those jobs aside that come first and whose concurrency key has as many runs as it may.
    fn park_full(&mut self, lane: &Lane, admission: &Admission) {
        while let Some(first) = self.ready.first_entry() {
            let key = first.get().submission.ties().concurrency_key.clone();
            let Some(key) = key.filter(|key| admission.key_hold(lane, key).is_some()) else { return };
            let (place, job) = first.remove_entry();
            self.parked.park(key, place, job);
        }
    }

    fn offer(&mut self, job: Job, room: usize) {
        let sorts_last = self.ready.last_key_value().is_none_or(|(last, _)| place(&job) > *last);
        if self.more_on_disk && sorts_last {
            self.left_since_look = true;
            return;
        }
        self.insert(job, room);
    }

    fn insert(&mut self, job: Job, room: usize) {
        if self.parked.renew(place(&job), &job) {
            return;
        }
        self.ready.insert(place(&job), job);
        if self.ready.len() > room {
            self.ready.pop_last();
            self.more_on_disk = true;
            self.left_since_look = true;
        }
    }
}

fn place(job: &Job) -> Place {
    (job.submission.rank(), job.submission.key().sequence)
}
