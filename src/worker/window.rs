//! The ready jobs that may start next, in memory and bounded: a backlog of millions costs disk, not memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::lanes::{Lanes, Place};
use crate::clock::Clock;
use crate::domain::admission::{Admission, AdmissionPolicy, Hold, StartLimits, Verdict};
use crate::domain::breaker::PluginBreaker;
use crate::domain::change::Change;
use crate::domain::id::{JobKey, PluginName, QueueName, TenantId};
use crate::domain::job::{Job, Status, WaitReason};
use crate::domain::plugin::Plugin;
use crate::domain::queue::{Lane, Pause, QueueState};
use crate::domain::schedule::Schedule;
use crate::domain::time::Timestamp;
use crate::store::News;

/// How a queue does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueNow {
    /// Which.
    pub name: QueueName,
    /// Its share of starts while other queues wait, too.
    pub weight: u32,
    /// What may start.
    pub limits: StartLimits,
    /// Its pause, while there is one.
    pub pause: Option<Arc<Pause>>,
    /// How many of its jobs run now.
    pub running: u32,
}

struct Inner {
    lanes: Lanes,
    /// What each queue is owed (smooth weighted round robin): it grows by the weight and pays the total when chosen.
    credits: BTreeMap<QueueName, i64>,
    admission: Admission,
    unloaded: Vec<JobKey>,
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
    on: Timestamp,
    /// What the end of its run says; none while nothing has run.
    verdict: Option<Verdict>,
}

impl Started {
    /// Whether a person has paused its queue or its plug-in since it was taken out.
    pub(super) fn is_paused(&self) -> bool {
        self.window.inner.lock().admission.is_paused(&self.lane, self.window.clock.now())
    }

    /// What the end of the run says about the plug-in. A job that is never judged did not run: its start is
    /// given back where no later one may owe itself to it.
    pub fn judge(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let now = self.window.clock.now();
        let has_turned = self.window.inner.lock().end(&self.lane, self.verdict, self.on, now);
        self.window.filled.notify_one();
        if has_turned {
            self.window.short.notify_one();
        }
    }
}

impl Window {
    /// An empty window that expects the store to hold ready jobs already.
    pub fn new(policy: AdmissionPolicy, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                lanes: Lanes::new(),
                credits: BTreeMap::new(),
                admission: Admission::new(policy),
                unloaded: Vec::new(),
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
                self.wake_for(submission.expires_on);
                match submission.ties().is_ordered() {
                    // Whether it waits for others, only the store knows.
                    true => self.reload(submission.key()),
                    false => self.offer(Job { submission: submission.clone(), state: (**state).clone() }),
                }
            }
            // A batch whose members were all refused has nothing to wait for.
            Change::Submit(batch, state) if state.wait_reason == Some(WaitReason::Children) => self.reload(batch.key()),
            Change::Advance { job, next, .. } if next.status == Status::Queued => self.reload(*job),
            // Its plug-in may have come while it was paused, or between the look for it and this.
            Change::Advance { job, next, .. } if next.wait_reason == Some(WaitReason::MissingComponent) => {
                self.reload(*job);
            }
            Change::Submit(_, state) | Change::Advance { next: state, .. } => self.wake_for(state.postpone_until),
            Change::Put(_) | Change::Load(_) | Change::Remove { .. } => self.row_changed(change),
            Change::Delete { .. } | Change::StartHost(_) => {}
        }
    }

    fn row_changed(&self, change: &Change) {
        if let Some(schedule) = change.row::<Schedule>() {
            self.wake_for(schedule.next_run);
        } else if let Some(plugin) = change.row::<Plugin>() {
            self.pause_plugin(plugin.tenant, &plugin.name, plugin.pause.clone());
            // Jobs may wait for it.
            self.nudge();
        } else if let Some((tenant, name)) = change.removed::<Plugin>().and_then(Plugin::named_by) {
            // That somebody has paused it does not outlive a plug-in.
            self.pause_plugin(tenant, &name, None);
        } else if let Some(kept) = change.row::<PluginBreaker>().filter(|kept| !kept.breaker.is_degraded()) {
            self.forgive(kept.tenant, &kept.plugin);
        } else if let Some(queue) = change.row::<QueueState>() {
            self.pause_queue(&queue.name, queue.pause.clone());
        }
    }

    /// A queue is paused, or goes on.
    pub fn pause_queue(&self, queue: &QueueName, pause: Option<Pause>) {
        self.inner.lock().admission.pause_queue(queue, pause);
        self.filled.notify_one();
    }

    /// A plug-in is paused, or goes on.
    pub fn pause_plugin(&self, tenant: TenantId, plugin: &PluginName, pause: Option<Pause>) {
        self.inner.lock().admission.pause_plugin(tenant, plugin, pause);
        self.filled.notify_one();
    }

    /// A breaker was closed, by a person who has seen to the plug-in or by what it did itself.
    fn forgive(&self, tenant: TenantId, plugin: &PluginName) {
        self.inner.lock().admission.forgive(tenant, plugin);
        self.filled.notify_one();
    }

    /// Takes over the breakers that an earlier host of the store has left behind.
    pub fn take_over(&self, breakers: Vec<PluginBreaker>) {
        let admission = &mut self.inner.lock().admission;
        breakers.into_iter().for_each(|breaker| admission.take_over(breaker));
    }

    /// The breakers that have opened or closed since the last call: the store has to hear of them.
    pub fn take_turned(&self) -> Vec<PluginBreaker> {
        self.inner.lock().admission.take_turned()
    }

    /// Has a job read from the store and looked at: offered again if it is ready, set going if nothing holds it any more.
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
        let Inner { lanes, admission, .. } = &mut *self.inner.lock();
        lanes.offer(job, admission);
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
            taken.push((job, Started { window: Arc::clone(self), lane, on: now, verdict: None }));
        }
        let is_short = inner.lanes.is_short();
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

    /// Whether the store may hold lanes that are not known here, for which there is room.
    pub fn wants_lanes(&self) -> bool {
        self.inner.lock().lanes.wants_lanes()
    }

    /// Behind which lane of the store's order to look for others, and for how many.
    pub fn next_look(&self) -> (Option<Lane>, usize) {
        self.inner.lock().lanes.next_look()
    }

    /// Takes note of the lanes that the store has there.
    pub fn note_lanes(&self, found: Vec<Lane>) {
        let Inner { lanes, admission, .. } = &mut *self.inner.lock();
        lanes.note(found, admission);
    }

    /// The lanes that should be filled up, and to how many jobs. Called right before the store is read.
    pub fn wanted(&self) -> Vec<(Lane, usize)> {
        self.inner.lock().lanes.wanted()
    }

    /// Puts in what the store knows to be ready, read with `limit`.
    pub fn refill(&self, lane: &Lane, ready: Vec<Job>, limit: usize) {
        let some = !ready.is_empty();
        let look_again = {
            let Inner { lanes, admission, .. } = &mut *self.inner.lock();
            lanes.refill(lane, ready, limit, admission)
        };
        if some {
            self.filled.notify_one();
        }
        if look_again {
            self.short.notify_one();
        }
    }

    /// Jobs that became ready again, or may be about to, and of which only the key is known.
    pub fn take_unloaded(&self) -> Vec<JobKey> {
        std::mem::take(&mut self.inner.lock().unloaded)
    }

    /// When the longest-waiting of the jobs that it holds was submitted. Jobs of low priority that are only on disk may be
    /// older still.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.inner.lock().lanes.jobs().map(|job| job.submission.created_on).min()
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
            pause: admission.queue_pause(name, self.clock.now()),
            running: admission.running_in(name),
        }
    }

    /// Everything that keeps a lane from starting now.
    pub fn holds(&self, lane: &Lane) -> Vec<Hold> {
        self.inner.lock().admission.holds(lane, self.clock.now())
    }

    /// What keeps the lane of each of these jobs from starting now, and how many jobs of the lane are known to start before it.
    pub fn before_each(&self, jobs: &[Job]) -> Vec<(Vec<Hold>, usize)> {
        let now = self.clock.now();
        let inner = self.inner.lock();
        let mut holds: BTreeMap<Lane, Vec<Hold>> = BTreeMap::new();
        let mut of_lane = |job: &Job| {
            let lane = Lane::of(&job.submission);
            let found = || inner.admission.holds(&lane, now);
            holds.entry(lane.clone()).or_insert_with(found).clone()
        };
        let ahead = inner.lanes.ahead_of(jobs);
        jobs.iter().map(&mut of_lane).zip(ahead).collect()
    }

    /// The plug-ins that are slowed down because they keep failing, by tenant and name.
    pub fn degraded(&self) -> Vec<(TenantId, PluginName)> {
        self.inner.lock().admission.degraded()
    }

    /// Whether a plug-in is slowed down because it keeps failing.
    pub fn is_degraded(&self, tenant: TenantId, plugin: &PluginName) -> bool {
        let inner = self.inner.lock();
        inner.admission.breaker(tenant, plugin).is_some_and(|breaker| breaker.is_degraded())
    }

    /// How many jobs it holds.
    pub fn len(&self) -> usize {
        self.inner.lock().lanes.jobs().count()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    /// The next job: of the queue that is owed most, the lane whose first job has waited longest by its rank.
    fn take_one(&mut self, now: Timestamp) -> Option<(Lane, Job)> {
        self.lanes.put_full_aside(&self.admission);
        let mut first: BTreeMap<&QueueName, (Place, &Lane)> = BTreeMap::new();
        for (place, lane) in self.lanes.firsts() {
            if let Some(hold) = self.admission.hold(lane, now) {
                self.opens_on = [self.opens_on, hold.until()].into_iter().flatten().min();
                continue;
            }
            let best = first.entry(&lane.queue).or_insert((place, lane));
            if place < best.0 {
                *best = (place, lane);
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
        self.admission.start(&lane, now);
        let job = self.lanes.pop(&lane, &self.admission)?;
        Some((lane, job))
    }

    /// Returns whether a breaker has opened or closed.
    fn end(&mut self, lane: &Lane, verdict: Option<Verdict>, started_on: Timestamp, now: Timestamp) -> bool {
        self.admission.end(lane, verdict, started_on, now);
        if lane.key.is_some() {
            self.lanes.freed(lane, &self.admission);
        }
        self.admission.has_turned()
    }
}
