//! Keeps the slots of this host busy: claims ahead of them, runs on a runtime of the guests' own, settles behind them.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::turnover::Turnover;
use super::{Claim, Claimed, Started, Window, Worker};
use crate::domain::job::Job;
use crate::domain::service::ServiceState;
use crate::domain::time::Timestamp;
use crate::resources::Quiet;
use crate::sandbox::Signal;

/// How many jobs are claimed in one go at most; the store writes them as one group.
const CLAIM_BATCH: usize = 64;

/// What the log has been told.
static NOT_READ: Quiet = Quiet::new();
static NOT_CLAIMED: Quiet = Quiet::new();
static NOT_SETTLED: Quiet = Quiet::new();

/// How long a job waits whose claim could not be written.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// How long a claimed job waits for a slot before it goes back to its queue: those before it take longer than the last ones
/// did, and while it waits here it counts as running.
const SLOT_PATIENCE: Duration = Duration::from_millis(100);

/// How much later than planned a held lane is looked at.
const TIMER_SLACK: Duration = Duration::from_millis(1);

/// How many ended runs may wait for their commit. It bounds memory while the disk is slow.
const UNSETTLED_MAX: usize = 4_096;

/// How a pool is cut.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Slots: attempts that run at a time.
    pub concurrency: usize,
    /// Jobs that are claimed ahead of a free slot at most (domain.md 8.1 allows twice the concurrency in all). Only as many
    /// are as short runs have ended within the last moment.
    pub ahead: usize,
}

impl PoolSettings {
    /// As many slots as given and as many jobs claimed ahead.
    pub fn new(concurrency: usize) -> Self {
        Self { concurrency: concurrency.max(1), ahead: concurrency.max(1) }
    }
}

/// How many attempts run at a time, and how many do now.
#[derive(Clone)]
pub struct Slots {
    free: Arc<Semaphore>,
    total: usize,
}

impl Slots {
    /// How many there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// How many are in use. What is claimed beyond them waits for one.
    pub fn used(&self) -> usize {
        self.total.saturating_sub(self.free.available_permits())
    }
}

/// The slots and what fills them.
pub struct Pool {
    worker: Arc<Worker>,
    window: Arc<Window>,
    guests: Handle,
    settings: PoolSettings,
    claims: Arc<Semaphore>,
    /// Told when a claim has ended.
    freed: Arc<Notify>,
    slots: Arc<Semaphore>,
    unsettled: Arc<Semaphore>,
    turnover: Arc<Turnover>,
    service: watch::Receiver<ServiceState>,
}

/// The right to claim a job and to hold it until its run has ended.
struct ClaimPermit {
    permit: Option<OwnedSemaphorePermit>,
    freed: Arc<Notify>,
}

impl Drop for ClaimPermit {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.freed.notify_one();
    }
}

impl Pool {
    /// The slots, to look at.
    pub fn slots(&self) -> Slots {
        Slots { free: Arc::clone(&self.slots), total: self.settings.concurrency }
    }

    /// A pool that runs guests on `guests` while the service runs.
    pub fn new(
        worker: Arc<Worker>,
        window: Arc<Window>,
        guests: Handle,
        settings: PoolSettings,
        service: watch::Receiver<ServiceState>,
    ) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            worker,
            window,
            guests,
            claims: semaphore(settings.concurrency + settings.ahead),
            slots: semaphore(settings.concurrency),
            unsettled: semaphore(UNSETTLED_MAX),
            turnover: Arc::new(Turnover::new(settings.ahead)),
            freed: Arc::default(),
            settings,
            service,
        }
    }

    /// Claims and starts jobs for ever. Dropping it stops claiming and leaves what runs alone.
    pub async fn run(mut self) {
        loop {
            if !self.runs().await {
                return;
            }
            let permits = self.permits();
            if permits.is_empty() {
                self.freed.notified().await;
            } else if !self.claim_some(permits).await {
                self.wait_for_work().await;
            }
        }
    }

    /// Waits until the service runs: until a person says so, or until its pause has ended by itself. False when nobody is left
    /// to say so.
    async fn runs(&mut self) -> bool {
        loop {
            let now = self.worker.clock.now();
            let state = self.service.borrow_and_update().at(now);
            if state == ServiceState::Running {
                return true;
            }
            let until = state.pause().and_then(|pause| pause.until);
            let ended = reached(until.map(|until| until.since(now)));
            tokio::select! {
                changed = self.service.changed() => if changed.is_err() { return false },
                () = ended => {}
            }
        }
    }

    /// The right to claim as many jobs as will have a slot in a moment.
    fn permits(&self) -> Vec<ClaimPermit> {
        let held = self.settings.concurrency + self.settings.ahead - self.claims.available_permits();
        let allowed = self.settings.concurrency + self.turnover.ahead(Instant::now());
        let room = allowed.saturating_sub(held).min(CLAIM_BATCH);
        let permit = || Arc::clone(&self.claims).try_acquire_owned().ok();
        let permit = || Some(ClaimPermit { permit: Some(permit()?), freed: Arc::clone(&self.freed) });
        std::iter::from_fn(permit).take(room).collect()
    }

    /// Waits until the window was filled, or until a lane opens that is held up by time alone.
    async fn wait_for_work(&self) {
        let opens_in = self.window.opens_on().map(|opens_on| opens_on.since(self.worker.clock.now()));
        tokio::select! {
            () = self.window.filled() => {}
            () = reached(opens_in) => {}
        }
    }

    /// Claims as many jobs as there are permits. False when none was ready.
    async fn claim_some(&self, permits: Vec<ClaimPermit>) -> bool {
        let ready = self.window.take(permits.len());
        let some_were_ready = !ready.is_empty();
        let now = self.worker.clock.now();
        let claims: Vec<_> = ready.into_iter().filter_map(|(job, started)| self.claim(job, started, now)).collect();
        for ((claim, started), permit) in claims.into_iter().zip(permits) {
            self.start(claim, started, permit).await;
        }
        some_were_ready
    }

    fn claim(&self, job: Job, started: Started, now: Timestamp) -> Option<(Claim, Started)> {
        let key = job.submission.key();
        match self.worker.claim(job, now) {
            Ok(claim) => Some((claim?, started)),
            Err(error) => {
                if let Some(unsaid) = NOT_READ.say() {
                    tracing::error!(%error, job = key.sequence.0, unsaid, "a job could not be looked at; it is tried again");
                }
                let window = Arc::clone(&self.window);
                self.guests.spawn(async move {
                    tokio::time::sleep(AFTER_ERROR).await;
                    window.reload(key);
                });
                None
            }
        }
    }

    /// Follows a claim to the end of its run. Claims are under way side by side: none waits for the one before it to be
    /// written.
    async fn start(&self, claim: Claim, mut started: Started, claim_permit: ClaimPermit) {
        let Ok(unsettled_permit) = Arc::clone(&self.unsettled).acquire_owned().await else { return };
        let (worker, slots, window) = (Arc::clone(&self.worker), Arc::clone(&self.slots), Arc::clone(&self.window));
        let (turnover, service) = (Arc::clone(&self.turnover), self.service.clone());
        let job = claim.job();
        self.guests.spawn(async move {
            let claimed = match worker.claimed(claim).await {
                Ok(Some(claimed)) => claimed,
                // Whoever changed it first may have left it ready, and its new form may have been taken out too early.
                Ok(None) => return window.reload(job),
                Err(error) => {
                    if let Some(unsaid) = NOT_CLAIMED.say() {
                        tracing::error!(%error, unsaid, "a claim could not be written; it is tried again");
                    }
                    // The permit is kept meanwhile, so that a store in trouble does not empty the window.
                    tokio::time::sleep(AFTER_ERROR).await;
                    window.reload(job);
                    return;
                }
            };
            let slot = tokio::time::timeout(SLOT_PATIENCE, slots.acquire_owned()).await;
            let has_slot = matches!(slot, Ok(Ok(_)));
            let finished = if has_slot && does_run(&service, &worker) && may_still_start(&claimed, &started, &worker) {
                let since = Instant::now();
                let finished = worker.run(claimed).await;
                started.judge(finished.verdict());
                turnover.ended(since, Instant::now());
                finished
            } else {
                worker.give_back(claimed)
            };
            drop((slot, claim_permit));
            if let Err(error) = worker.settle(finished).await
                && let Some(unsaid) = NOT_SETTLED.say()
            {
                tracing::error!(%error, unsaid, "the end of a run could not be written; the job will be rescued");
            }
            // Only now the next of the queue, the plug-in or the key may start: its limit counts what the store says.
            drop((started, unsettled_permit));
        });
    }
}

/// Waits until so much time has passed; for ever where nothing is waited for.
async fn reached(wait: Option<Duration>) {
    match wait {
        // A timer may fire a little early by the other clock.
        Some(wait) => tokio::time::sleep(wait + TIMER_SLACK).await,
        None => std::future::pending().await,
    }
}

/// Whether the service runs now.
fn does_run(service: &watch::Receiver<ServiceState>, worker: &Worker) -> bool {
    service.borrow().at(worker.clock.now()) == ServiceState::Running
}

/// Whether nothing has come up while a claimed job waited for its slot. What has ended it, only its next claim says.
fn may_still_start(claimed: &Claimed, started: &Started, worker: &Worker) -> bool {
    let has_expired = || {
        let expires_on = claimed.job.submission.expires_on;
        expires_on.is_some_and(|expires_on| expires_on <= worker.clock.now())
    };
    !started.is_paused() && !has_expired()
}

/// The way to end a pool's work in order.
pub(crate) struct Drain {
    worker: Arc<Worker>,
    claims: Arc<Semaphore>,
    unsettled: Arc<Semaphore>,
    claims_max: u32,
}

impl Pool {
    /// What ends the work of this pool once nothing accepts any more.
    pub(crate) fn drain(&self) -> Drain {
        Drain {
            worker: Arc::clone(&self.worker),
            claims: Arc::clone(&self.claims),
            unsettled: Arc::clone(&self.unsettled),
            claims_max: u32::try_from(self.settings.concurrency + self.settings.ahead).unwrap_or(u32::MAX),
        }
    }
}

impl Drain {
    /// Asks the running handlers to stop, waits `grace`, stops those that did not listen (T63), and waits until every end
    /// is written.
    pub(crate) async fn finish(self, grace: Duration) {
        self.worker.running.raise_all(Signal::Shutdown);
        let idle = self.claims.acquire_many(self.claims_max);
        if tokio::time::timeout(grace, idle).await.is_err() {
            self.worker.running.raise_all(Signal::Kill);
        }
        let settled = self.unsettled.acquire_many(u32::try_from(UNSETTLED_MAX).unwrap_or(u32::MAX));
        // Stopped guests end at their next epoch tick and commits take milliseconds; what is not settled by then is rescued
        // by the next start.
        if tokio::time::timeout(grace.max(Duration::from_secs(5)), settled).await.is_err() {
            tracing::warn!("some runs had not ended when the host went down; the next start rescues their jobs");
        }
    }
}
