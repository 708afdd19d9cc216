//! The parts of a host as `app` joins them, without its loops.

use std::sync::Arc;

use backroom::clock::{Clock, SimulatedClock};
use backroom::domain::admission::AdmissionPolicy;
use backroom::domain::change::Change;
use backroom::jobs::{Jobs, Watchers};
use backroom::registry::{Policies, Registry};
use backroom::sandbox::Slice;
use backroom::sandbox::scripted::{Script, ScriptedSandbox};
use backroom::scheduler::Scheduler;
use backroom::store::memory::MemoryStore;
use backroom::store::{News, Store};
use backroom::worker::{Advance, Identities, Running, Window, Worker};
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
        let id = store.next_host();
        let window = Arc::new(Window::new(policy, Arc::clone(&clock)));
        let watchers = Arc::<Watchers>::default();
        let running = Arc::<Running>::default();
        let sandbox = ScriptedSandbox::new(Arc::clone(&clock), director);
        let sandbox = Arc::new(sandbox);
        let registry = Registry::open(
            Arc::clone(&store),
            Arc::<ScriptedSandbox>::clone(&sandbox),
            Arc::clone(&clock),
            Policies::default(),
        );
        let registry = Arc::new(registry.expect("memory can be read"));
        for queue in store.queues().expect("memory can be read") {
            window.pause_queue(&queue.name, queue.paused);
        }
        for plugin in registry.all() {
            window.pause_plugin(plugin.tenant, &plugin.name, plugin.paused);
        }
        let (fed, told, noted) = (Arc::clone(&window), Arc::clone(&watchers), Arc::clone(ledger));
        let (asked, learned) = (Arc::clone(&running), Arc::clone(&registry));
        store.feed(Arc::new(move |news: News<'_>| {
            if let News::Committed(changes) = news {
                noted.lock().observe(changes);
                learned.committed(changes);
                asked.committed(changes);
                told.committed(changes);
            }
            fed.heard(news);
        }));
        let _durable_with_the_next_sync = store.commit(vec![Change::StartHost(id)]);
        memory.sync();
        let identities = Identities::new(Arc::clone(&store), seed);
        let advance = Advance::new(Arc::clone(&store), identities.clone());
        let scheduler = Scheduler::new(
            Arc::clone(&store),
            Arc::clone(&registry),
            Arc::clone(&running),
            Arc::clone(&window),
            advance.clone(),
            id,
        );
        scheduler.recover(clock.now()).expect("memory can be read");
        let worker = Worker::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&registry),
            sandbox,
            Arc::clone(&running),
            advance.clone(),
            id,
        );
        let jobs = Jobs::new(store, clock, Arc::clone(&registry), Arc::clone(&running), watchers, advance, identities);
        Self { scheduler, worker: Arc::new(worker), window, registry, jobs: Arc::new(jobs) }
    }
}
