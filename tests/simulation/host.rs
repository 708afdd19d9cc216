//! The parts of a host as `app` joins them, without its loops.

use std::sync::Arc;

use backroom::app::{Runtime, RuntimeParts};
use backroom::clock::{Clock, SimulatedClock};
use backroom::domain::admission::AdmissionPolicy;
use backroom::jobs::Jobs;
use backroom::registry::{Policies, Registry};
use backroom::sandbox::Slice;
use backroom::sandbox::scripted::{Script, ScriptedSandbox};
use backroom::scheduler::Scheduler;
use backroom::schedules::Schedules;
use backroom::store::memory::MemoryStore;
use backroom::store::{Feed, News, Store};
use backroom::worker::{Window, Worker};
use parking_lot::Mutex;

use crate::director::direct;
use crate::ledger::Ledger;

/// One start of a host.
pub(crate) struct Host {
    pub(crate) scheduler: Scheduler,
    pub(crate) worker: Arc<Worker>,
    pub(crate) window: Arc<Window>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) schedules: Arc<Schedules>,
}

impl Host {
    /// Takes over a store, in the order in which `app` does.
    pub(crate) fn start(
        seed: u64,
        memory: &Arc<MemoryStore>,
        clock: &SimulatedClock,
        ledger: &Arc<Mutex<Ledger>>,
        policy: AdmissionPolicy,
    ) -> Self {
        Self::directed(seed, memory, clock, ledger, policy, move |slice| direct(seed, slice))
    }

    /// The same with handlers that keep to `director`.
    pub(crate) fn directed(
        seed: u64,
        memory: &Arc<MemoryStore>,
        clock: &SimulatedClock,
        ledger: &Arc<Mutex<Ledger>>,
        policy: AdmissionPolicy,
        director: impl Fn(&Slice) -> Script + Send + Sync + 'static,
    ) -> Self {
        let store: Arc<dyn Store> = Arc::<MemoryStore>::clone(memory);
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let noted = Arc::clone(ledger);
        let witness: Feed = Arc::new(move |news: News<'_>| {
            if let News::Committed(changes) = news {
                noted.lock().observe(changes);
            }
        });
        let now = clock.now();
        let parts = RuntimeParts {
            store,
            sandbox: Arc::new(ScriptedSandbox::new(Arc::clone(&clock), director)),
            clock,
            policies: Policies::default(),
            admission: policy,
            salt: seed,
            witness: Some(witness),
        };
        let (runtime, _durable_with_the_next_sync) = Runtime::join(parts).expect("memory can be read");
        memory.sync();
        let Runtime { jobs, schedules, registry, scheduler, window, worker, .. } = runtime;
        scheduler.recover(now).expect("memory can be read");
        Self { scheduler, worker, window, registry, jobs: Arc::new(jobs), schedules: Arc::new(schedules) }
    }
}
