//! Joins the parts of a host, starts its loops and ends them in order.

mod queues;
mod runtime;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::domain::admission::AdmissionPolicy;
use crate::domain::change::Change;
use crate::domain::id::{Digest, HostId};
use crate::domain::job::JobType;
use crate::domain::retention::Retention;
use crate::domain::service::ServiceState;
use crate::domain::time::Timestamp;
use crate::jobs::Jobs;
use crate::registry::{Policies, Registry};
use crate::resources::{BackOff, QuietByKind, blocking};
use crate::retention::{self, SweepError, Sweeper, Swept};
use crate::sandbox::Sandbox;
use crate::scheduler::{Scheduler, keep_breakers};
use crate::schedules::Schedules;
use crate::store::frozen::Frozen;
use crate::store::{CommitError, Feed, News, ReadError, Store, StoreStats};
pub use crate::worker::QueueNow;
pub use queues::{Depths, QueueDepth, QueueError};
pub use runtime::{Runtime, RuntimeParts};
pub use tokens::{CallerWarrant, LastToken, NewToken, NoWarrant, NotAdmitted, TokenError, Tokens};

use crate::worker::{Pool, PoolSettings, Running, Slots, Window};

/// What a host is made of.
pub struct Parts {
    /// Where everything durable is kept.
    pub store: Arc<dyn Store>,
    /// Where guest code runs.
    pub sandbox: Arc<dyn Sandbox>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// What the operator has set for plug-ins.
    pub policies: Policies,
    /// What may start, by queue and by plug-in.
    pub admission: AdmissionPolicy,
    /// How many attempts run at a time.
    pub pool: PoolSettings,
    /// The runtime that guests run on, apart from everything else.
    pub guests: Handle,
    /// Any number; makes job identities hard to guess.
    pub salt: u64,
    /// The digest of a secret that opens everything, if there is one.
    pub secret: Option<Digest>,
}

/// Why a host could not start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A running host.
pub struct Host {
    /// Commands and questions about jobs.
    pub jobs: Jobs,
    /// Commands and questions about schedules.
    pub schedules: Schedules,
    /// The plug-ins.
    pub registry: Arc<Registry>,
    /// Who has been given a token.
    pub tokens: Arc<Tokens>,
    /// The attempts that run now.
    pub running: Arc<Running>,
    /// How many attempts may run, and do.
    pub slots: Slots,
    /// This start of the host.
    pub id: HostId,
    /// When it started.
    pub started_on: Timestamp,
    /// How many jobs of an interrupted host it rescued when it started.
    pub rescued: usize,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    sweeper: Arc<Sweeper>,
    counting: queues::Counting,
    window: Arc<Window>,
    state: watch::Sender<ServiceState>,
    /// What ends the pool's work; gone once the host goes down.
    drain: parking_lot::Mutex<Option<crate::worker::Drain>>,
    setting_service: tokio::sync::Mutex<()>,
    loops: parking_lot::Mutex<Vec<JoinHandle<()>>>,
}

impl Host {
    /// Starts a host: takes over the store, rescues what an earlier host left, and begins to run jobs. Must be called
    /// within a Tokio runtime, which the loops run on.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let Parts { store, sandbox, clock, policies, admission, pool, guests, salt, secret } = parts;
        let tokens = Arc::new(Tokens::open(Arc::clone(&store), Arc::clone(&clock), secret)?);
        let hearing = Arc::clone(&tokens);
        let witness: Feed = Arc::new(move |news: News<'_>| {
            if let News::Committed(changes) = news {
                hearing.committed(changes);
            }
        });
        let parts = RuntimeParts {
            store: Arc::clone(&store),
            sandbox,
            clock: Arc::clone(&clock),
            policies,
            admission,
            salt,
            witness: Some(witness),
        };
        let (runtime, started) = Runtime::join(parts)?;
        started.await?;
        let Runtime { id, jobs, schedules, registry, running, scheduler, window, worker } = runtime;
        let started_on = clock.now();
        let rescued = scheduler.recover(started_on)?;
        registry.activate_all_covered().await?;
        // A host that was told to drain has done so by now; only a pause outlives it.
        let kept_state = match store.service()? {
            ServiceState::Draining => ServiceState::Running,
            kept => kept,
        };
        let state = watch::Sender::new(kept_state);
        let pool = Pool::new(worker, Arc::clone(&window), guests, pool, state.subscribe());
        let drain = parking_lot::Mutex::new(Some(pool.drain()));
        let slots = pool.slots();
        let ticking = tick_for_ever(scheduler, Arc::clone(&window), Arc::clone(&running), Arc::clone(&clock));
        let sweeper = Arc::new(Sweeper::new(Arc::clone(&store), Arc::clone(&registry)));
        let sweeping = retention::sweep_for_ever(Arc::clone(&sweeper), Arc::clone(&clock));
        let loops = vec![tokio::spawn(ticking), tokio::spawn(pool.run()), tokio::spawn(sweeping)];
        let loops = parking_lot::Mutex::new(loops);
        Ok(Self {
            jobs,
            schedules,
            registry,
            tokens,
            running,
            slots,
            id,
            started_on,
            rescued,
            store,
            clock,
            sweeper,
            counting: queues::Counting::default(),
            window,
            state,
            drain,
            setting_service: tokio::sync::Mutex::default(),
            loops,
        })
    }

    /// Whether background work goes on.
    pub fn service(&self) -> ServiceState {
        self.state.borrow().at(self.clock.now())
    }

    /// Pauses, drains or resumes background work. Nothing is failed or canceled; a pause outlives a restart, unless it was to end
    /// by then.
    pub async fn set_service(&self, state: ServiceState) -> Result<(), CommitError> {
        let _turn = self.setting_service.lock().await;
        if self.drain.lock().is_none() {
            return Err(CommitError::Failed(Arc::from("the host is going down")));
        }
        self.store.commit(vec![Change::put(state.clone())]).await?;
        self.state.send_replace(state);
        Ok(())
    }

    /// Removes finished jobs at once, those of one type or all, oldest first. Blocks the calling thread.
    pub fn purge(&self, retention: Retention, job_type: Option<JobType>, dry_run: bool) -> Result<Swept, SweepError> {
        self.sweeper.sweep(&retention::asked(retention, job_type, self.clock.now()), dry_run)
    }

    /// The store as it is now, to be read while it goes on. Blocks the calling thread.
    pub fn freeze_store(&self) -> Result<Box<dyn Frozen>, CommitError> {
        self.store.freeze()
    }

    /// How the store is doing.
    pub fn store_stats(&self) -> StoreStats {
        self.store.stats()
    }

    /// Why the store takes no new jobs; none while it does. Cheaper than all of [`Self::store_stats`]: monitors ask often.
    pub fn refusing(&self) -> Option<Arc<str>> {
        match self.store.check_room() {
            Ok(()) => None,
            Err(CommitError::Full(why) | CommitError::Short(why) | CommitError::Failed(why)) => Some(why),
            Err(error) => Some(error.to_string().into()),
        }
    }

    /// When the longest-waiting of the jobs that may start next was submitted.
    pub fn oldest_ready(&self) -> Option<Timestamp> {
        self.window.oldest()
    }

    /// The present time, as the host sees it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Stops claiming, lets what runs end within `grace` or releases it, writes everything, and closes the store.
    pub async fn shut_down(&self, grace: Duration) {
        let drain = self.drain.lock().take();
        self.state.send_replace(ServiceState::Draining);
        if let Some(drain) = drain {
            drain.finish(grace).await;
        }
        let loops = std::mem::take(&mut *self.loops.lock());
        loops.iter().for_each(JoinHandle::abort);
        // What the last runs have turned.
        keep_breakers(&*self.store, &self.window);
        let store = Arc::clone(&self.store);
        if let Err(error) = blocking(move || store.close()).await {
            tracing::error!(%error, "the store did not close in order");
        }
    }
}

/// The scheduler's loop: tick, then wait for the next deadline or a nudge. A failing tick is tried again, for ever, and no nudge
/// makes it come sooner: what failed is nudged again each time.
async fn tick_for_ever(scheduler: Scheduler, window: Arc<Window>, running: Arc<Running>, clock: Arc<dyn Clock>) {
    static FAILED: QuietByKind = QuietByKind::new();
    let mut back_off = BackOff::new(Duration::from_secs(1), Duration::from_secs(5));
    let scheduler = Arc::new(scheduler);
    loop {
        let now = clock.now();
        let ticking = Arc::clone(&scheduler);
        let failure = match blocking(move || ticking.tick(now)).await {
            Ok(Ok(tick)) if !tick.has_failed => Ok(tick.next.since(now)),
            // It has said so itself.
            Ok(Ok(_)) => Err(None),
            Ok(Err(error)) => Err(Some(("the scheduler could not read", error.to_string()))),
            Err(error) => Err(Some(("the scheduler stumbled", error.to_string()))),
        };
        let wait = match failure {
            Ok(wait) => {
                back_off.succeeded();
                wait
            }
            Err(said) => {
                if let Some((what, error)) = said
                    && let Some(unsaid) = FAILED.say(what)
                {
                    tracing::error!(error, unsaid, "{what}");
                }
                tokio::time::sleep(back_off.failed()).await;
                continue;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = window.short() => {}
            () = running.signaled() => {}
        }
    }
}
