//! Makes time pass for jobs: wakes those whose time has come, rescues those whose host died, keeps the window filled.
//! It never runs a job.

mod fire;
mod release;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use self::fire::{Fired, Unwritten};
use crate::domain::batch::Summary;
use crate::domain::breaker::PluginBreaker;
use crate::domain::change::Change;
use crate::domain::id::{HostId, JobKey, ScheduleName, TenantId};
use crate::domain::job::transition;
use crate::domain::job::{Event, Job, JobType, Status, WaitReason};
use crate::domain::query::{JobFilter, JobQuery};
use crate::domain::time::Timestamp;
use crate::registry::Registry;
use crate::resources::Quiet;
use crate::store::{CommitError, Pending, ReadError, Store};
use crate::worker::{Advance, Running, Window};

/// How many due jobs one tick wakes; more follow in the next tick at once.
const DUE_BATCH: usize = 512;

/// How often is looked for runs whose end was never written. Nobody waits for it, so this is a safety net.
const RESCUE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a handler that was asked to cancel may go on before it is stopped.
pub const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// How long a tick waits after a write that failed.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// The least time between two looks at what is due.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The least time between two looks at many that are due while commits are under way.
const LOOK_AGAIN_SLOWLY: Duration = Duration::from_millis(10);

/// What the log has been told.
static NOT_WRITTEN: Quiet = Quiet::new();
static LEFT_OUT: Quiet = Quiet::new();
static UNEXPECTED: Quiet = Quiet::new();

/// How many jobs were changed, and how many could not be.
#[derive(Clone, Copy, Debug, Default)]
struct Advanced {
    changed: usize,
    failed: usize,
}

impl Advanced {
    fn count(&mut self, result: Result<(), CommitError>) {
        match result {
            Ok(()) => self.changed += 1,
            // Somebody else was first: what they made of the job will be seen in the next tick.
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => {
                if let Some(unsaid) = NOT_WRITTEN.say() {
                    tracing::error!(%error, unsaid, "the scheduler could not write; it tries again");
                }
                self.failed += 1;
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.changed += other.changed;
        self.failed += other.failed;
    }
}

/// What a tick did and when the next is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// How many jobs changed.
    pub changed: usize,
    /// When to tick again at the latest.
    pub next: Timestamp,
    /// Whether what is written in any case could not be: then there is no use in ticking before `next`, whatever has happened
    /// meanwhile.
    pub has_failed: bool,
}

/// What became of a job that was to be looked at.
enum Loaded {
    /// It may start.
    Ready(Box<Job>),
    /// Nothing held it any more.
    SetGoing(Advanced),
    /// It waits, or is gone.
    Held,
}

/// The loop's body, without the loop: whoever drives it waits until [`Tick::next`].
pub struct Scheduler {
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
    running: Arc<Running>,
    window: Arc<Window>,
    advance: Advance,
    host: HostId,
    /// When it began to look after what is due.
    up_since: OnceLock<Timestamp>,
    next_rescue: parking_lot::Mutex<Timestamp>,
    /// What the clock showed when schedules were last looked at.
    last_look: parking_lot::Mutex<Option<Timestamp>>,
    under_way: parking_lot::Mutex<BTreeMap<JobKey, Pending>>,
    /// Firings of schedules that are not written yet.
    firing: parking_lot::Mutex<HashMap<(TenantId, ScheduleName), Unwritten>>,
    /// How far the look for jobs is whose plug-in has come.
    releasing: parking_lot::Mutex<Option<JobQuery>>,
}

impl Scheduler {
    /// Joins the parts. `host` is this start of the host.
    pub fn new(
        store: Arc<dyn Store>,
        registry: Arc<Registry>,
        running: Arc<Running>,
        window: Arc<Window>,
        advance: Advance,
        host: HostId,
    ) -> Self {
        let (up_since, next_rescue, last_look, under_way, firing, releasing) = Default::default();
        Self {
            store,
            registry,
            running,
            window,
            advance,
            host,
            up_since,
            next_rescue,
            last_look,
            under_way,
            firing,
            releasing,
        }
    }

    /// What a host does before anything else: whoever held a lease before this start is dead, because the store is ours
    /// alone (promise 7). Returns how many jobs were rescued.
    pub fn recover(&self, now: Timestamp) -> Result<usize, ReadError> {
        self.up_since.get_or_init(|| now);
        let locked = self.store.locked()?;
        let orphans = locked.into_iter().filter(|job| job.state.lease.is_none_or(|lease| lease.host != self.host));
        let rescued = self.advance_all(orphans, &Event::LeaseLost, now);
        self.end_waits(now)?;
        self.refill(now)?;
        Ok(rescued.changed)
    }

    /// Does everything that is due at `now`.
    pub fn tick(&self, now: Timestamp) -> Result<Tick, ReadError> {
        // A job that becomes due while this tick looks must wake the next one.
        self.window.set_next_wake(Timestamp(i64::MAX));
        let mut advanced = self.hear();
        let due = self.store.due(now, DUE_BATCH)?;
        let more_are_due = due.len() == DUE_BATCH;
        let none_is_due = due.is_empty();
        advanced.add(self.wake(due, now));
        let fired = self.fire(now)?;
        advanced.add(Advanced { changed: fired.schedules, failed: fired.failed });
        advanced.add(self.rescue(now)?);
        let released = self.release(now)?;
        advanced.add(released.advanced);
        advanced.add(self.refill(now)?);
        keep_breakers(&*self.store, &self.window);
        let pressed = self.running.press(now, CANCEL_GRACE);
        let is_writing = !self.under_way.lock().is_empty();
        let next = match self.next_wake(now, pressed, &fired)? {
            _ if advanced.failed > 0 => now.after(AFTER_ERROR),
            // Those that are due may be the ones whose commits are under way.
            _ if fired.are_under_way || (is_writing && (more_are_due || released.more)) => now.after(LOOK_AGAIN_SLOWLY),
            _ if more_are_due || fired.more || released.more => now,
            // What is due and cannot be read would be met again and again.
            next if none_is_due && next <= now => now.after(AFTER_ERROR),
            // What this tick has changed may not be seen yet; it needs no second look at once.
            next => next.max(now.after(LOOK_AGAIN)),
        };
        self.window.set_next_wake(next);
        Ok(Tick { changed: advanced.changed, next, has_failed: advanced.failed > 0 })
    }

    fn next_wake(&self, now: Timestamp, pressed: Option<Timestamp>, fired: &Fired) -> Result<Timestamp, ReadError> {
        let rescue = now.after(RESCUE_INTERVAL);
        // The next schedule may be one that was put off: then the others are looked for now and then.
        let schedule = match fired.are_put_off {
            true => Some(now.after(AFTER_ERROR)),
            false => self.store.next_schedule()?,
        };
        let wakes = [self.store.next_due()?, schedule, pressed].into_iter().flatten();
        Ok(wakes.fold(rescue, Timestamp::min))
    }

    fn wake(&self, due: Vec<Job>, now: Timestamp) -> Advanced {
        let (expired, timely): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|job| job.submission.expires_on.is_some_and(|expires_on| expires_on <= now));
        let mut advanced = self.advance_all(expired, &Event::Expire, now);
        advanced.add(self.advance_all(timely, &Event::Timer, now));
        advanced
    }

    /// Jobs that this host does not hold, although they are locked: their ends could not be written, or those of an earlier
    /// host could not be rescued at the start. Until when a lease was given says nothing here, for the clock may have been set
    /// meanwhile. What this host holds is not lost: its runs end by their own limits, and their ends may wait long for a disk.
    fn rescue(&self, now: Timestamp) -> Result<Advanced, ReadError> {
        let mut next = self.next_rescue.lock();
        let is_early = now < *next && *next <= now.after(RESCUE_INTERVAL);
        if is_early {
            return Ok(Advanced::default());
        }
        *next = now.after(RESCUE_INTERVAL);
        let is_held = |job: &Job| self.running.holds(job.submission.key(), job.state.fence);
        let lost = |job: &Job| job.state.lease.is_none_or(|lease| lease.host != self.host || !is_held(job));
        let lost: Vec<_> = self.store.locked()?.into_iter().filter(lost).collect();
        Ok(self.advance_all(lost, &Event::LeaseLost, now))
    }

    /// What has become of the commits that were under way.
    fn hear(&self) -> Advanced {
        let mut heard = Advanced::default();
        self.under_way.lock().retain(|job, pending| match pending.result() {
            None => true,
            Some(result) => {
                self.count(&mut heard, *job, result);
                false
            }
        });
        // They were counted as changed when they were sent.
        Advanced { changed: 0, ..heard }
    }

    /// Each job in a commit of its own, so that one that somebody else changed does not hold up the others. A job whose commit
    /// is still under way is left alone: while the disk stalls, each tick would find it unchanged.
    fn advance_all(&self, jobs: impl IntoIterator<Item = Job>, event: &Event, now: Timestamp) -> Advanced {
        let mut under_way = self.under_way.lock();
        let idle = jobs.into_iter().filter(|job| !under_way.contains_key(&job.submission.key()));
        let decide = |job: Job| Some((job.submission.key(), self.decide(&job, event, now)?));
        let sent: Vec<_> = idle.filter_map(decide).collect();
        let mut advanced = Advanced::default();
        for (job, mut pending) in sent {
            match pending.result() {
                None => {
                    advanced.changed += 1;
                    under_way.insert(job, pending);
                }
                Some(result) => self.count(&mut advanced, job, result),
            }
        }
        advanced
    }

    /// Counts what came of a commit. A job whose commit was not taken is looked at again.
    fn count(&self, advanced: &mut Advanced, job: JobKey, result: Result<(), CommitError>) {
        if result.is_err() {
            self.window.reload(job);
        }
        advanced.count(result);
    }

    fn decide(&self, job: &Job, event: &Event, now: Timestamp) -> Option<Pending> {
        let policy = self.registry.policy(job.submission.tenant, &job.submission.plugin);
        match transition::apply(&job.submission, &job.state, &policy.retry, event.clone(), now) {
            Ok(next) => self.advance.commit(job, next, now),
            Err(refused) => {
                if let Some(unsaid) = UNEXPECTED.say() {
                    let id = job.submission.id;
                    tracing::error!(job.id = %id, %refused, unsaid, "the scheduler met a job in an unexpected state");
                }
                None
            }
        }
    }

    /// Fills the window up, and sets going what it was told to look at and nothing holds any more.
    fn refill(&self, now: Timestamp) -> Result<Advanced, ReadError> {
        let mut advanced = Advanced::default();
        while self.window.wants_lanes() {
            let (behind, limit) = self.window.next_look();
            self.window.note_lanes(self.store.lanes(behind.as_ref(), limit)?);
        }
        for (lane, room) in self.window.wanted() {
            let ready = self.store.ready(&lane, room)?;
            self.window.refill(&lane, ready, room);
        }
        let mut unloaded = self.window.take_unloaded().into_iter();
        while let Some(key) = unloaded.next() {
            match self.load(key, now) {
                Ok(Loaded::Ready(job)) => self.window.offer(*job),
                Ok(Loaded::SetGoing(one)) => advanced.add(one),
                Ok(Loaded::Held) => {}
                Err(ReadError::Damaged(why)) => {
                    if let Some(unsaid) = LEFT_OUT.say() {
                        tracing::error!(
                            why,
                            job = key.sequence.0,
                            unsaid,
                            "a job that is ready cannot be read and is left out"
                        );
                    }
                }
                Err(failed) => {
                    std::iter::once(key).chain(unloaded).for_each(|key| self.window.reload(key));
                    return Err(failed);
                }
            }
        }
        Ok(advanced)
    }

    /// A job that became ready again, if it still is. A batch is set going instead when its members all have ended, and a job
    /// that waits for its plug-in when that is there.
    fn load(&self, key: JobKey, now: Timestamp) -> Result<Loaded, ReadError> {
        match self.store.job(key)? {
            Some(batch) if is_waiting_batch(&batch) => Ok(Loaded::SetGoing(self.end_wait(batch, now)?)),
            Some(job) if self.registry.is_held_in_vain(&job) => {
                Ok(Loaded::SetGoing(self.advance_all([job], &Event::ComponentAvailable, now)))
            }
            Some(job) if self.waits_for_nobody(&job)? => Ok(Loaded::Ready(Box::new(job))),
            _ => Ok(Loaded::Held),
        }
    }

    /// Sets a batch going whose members all have ended (T36).
    fn end_wait(&self, batch: Job, now: Timestamp) -> Result<Advanced, ReadError> {
        let counts = self.store.batch(batch.submission.tenant, batch.submission.id)?;
        let is_done = Summary::of(&counts).is_done();
        Ok(self.advance_all(Some(batch).filter(|_| is_done), &Event::ChildrenDone, now))
    }

    /// Batches whose last member ended right before an earlier host did.
    fn end_waits(&self, now: Timestamp) -> Result<(), ReadError> {
        let filter = JobFilter {
            statuses: vec![Status::Waiting],
            wait_reasons: vec![WaitReason::Children],
            ..JobFilter::default()
        };
        let mut query = JobQuery { tenant: TenantId::DEFAULT, filter, before: None, limit: DUE_BATCH };
        loop {
            let page = self.store.jobs(&query)?;
            for batch in page.jobs.into_iter().filter(is_waiting_batch) {
                self.end_wait(batch, now)?;
            }
            match page.next {
                Some(next) => query.before = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Whether no other job has to end first. One that does is offered again when the store says that it is released.
    fn waits_for_nobody(&self, job: &Job) -> Result<bool, ReadError> {
        let is_ordered = job.submission.ties().is_ordered();
        Ok(!is_ordered || self.store.predecessors(job.submission.key())?.unfinished.is_empty())
    }
}

/// Writes which breakers have opened or closed. Not waited for: what a host that dies has not written is how a plug-in did in
/// its last moment.
pub fn keep_breakers(store: &dyn Store, window: &Window) {
    let turned = window.take_turned();
    turned.iter().for_each(log_breaker);
    if !turned.is_empty() {
        drop(store.commit(turned.into_iter().map(Change::put).collect()));
    }
}

/// Says in the log what a person will want to know.
fn log_breaker(PluginBreaker { plugin, breaker, .. }: &PluginBreaker) {
    match breaker.pause_ends_on() {
        Some(until) => {
            let next = format!("see its failures with `backroom job list --plugin {plugin} --state failed`");
            tracing::warn!(%plugin, %until, next, "the plug-in keeps failing and is slowed down");
        }
        None => tracing::info!(%plugin, "the plug-in is not slowed down any more"),
    }
}

fn is_waiting_batch(job: &Job) -> bool {
    job.submission.job_type == JobType::BATCH && job.state.wait_reason == Some(WaitReason::Children)
}
