//! The runtime of a host: its parts joined, without the loops that drive them.

use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::admission::AdmissionPolicy;
use crate::domain::change::Change;
use crate::domain::id::HostId;
use crate::jobs::{Jobs, Watchers};
use crate::registry::{Policies, Registry};
use crate::sandbox::Sandbox;
use crate::scheduler::Scheduler;
use crate::schedules::Schedules;
use crate::store::{Feed, News, Pending, ReadError, Store};
use crate::worker::{Advance, Identities, Running, Window, Worker};

/// What a runtime is made of.
pub struct RuntimeParts {
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
    /// Any number; makes job identities hard to guess.
    pub salt: u64,
    /// Who hears of every commit before the runtime does, if anybody.
    pub witness: Option<Feed>,
}

/// See the module. Whoever has one calls [`Scheduler::recover`] once its start is committed, then ticks the scheduler and
/// has the worker run what the window gives.
pub struct Runtime {
    /// This start of the host.
    pub id: HostId,
    /// Commands and questions about jobs.
    pub jobs: Jobs,
    /// Commands and questions about schedules.
    pub schedules: Schedules,
    /// The plug-ins.
    pub registry: Arc<Registry>,
    /// The attempts that run now.
    pub running: Arc<Running>,
    /// What is done when its time has come.
    pub scheduler: Scheduler,
    /// What may start next.
    pub window: Arc<Window>,
    /// The steps of an attempt.
    pub worker: Arc<Worker>,
}

impl Runtime {
    /// Takes over a store. The second value is the commit that tells it so.
    pub fn join(parts: RuntimeParts) -> Result<(Self, Pending), ReadError> {
        let RuntimeParts { store, sandbox, clock, policies, admission, salt, witness } = parts;
        let id = store.next_host();
        let window = Arc::new(Window::new(admission, Arc::clone(&clock)));
        let watchers = Arc::<Watchers>::default();
        let running = Arc::<Running>::default();
        let registry = Registry::open(Arc::clone(&store), Arc::clone(&sandbox), Arc::clone(&clock), policies)?;
        let registry = Arc::new(registry);
        hold_what_is_paused(&*store, &registry, &window)?;
        let heard = Heard { registry: &registry, window: &window, watchers: &watchers, running: &running };
        store.feed(heard.feed(witness));
        let started = store.commit(vec![Change::StartHost(id)]);
        let identities = Identities::new(Arc::clone(&store), salt);
        let advance = Advance::new(Arc::clone(&store), identities.clone());
        let scheduler = Scheduler::new(
            Arc::clone(&store),
            Arc::clone(&registry),
            Arc::clone(&running),
            Arc::clone(&window),
            advance.clone(),
            id,
        );
        let worker = Worker::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&registry),
            sandbox,
            Arc::clone(&running),
            advance.clone(),
            id,
        );
        let schedules =
            Schedules::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&registry), identities.clone());
        let jobs = Jobs::new(store, clock, Arc::clone(&registry), Arc::clone(&running), watchers, advance, identities);
        let worker = Arc::new(worker);
        Ok((Self { id, jobs, schedules, registry, running, scheduler, window, worker }, started))
    }
}

/// What was paused or held back before the host started still is.
fn hold_what_is_paused(store: &dyn Store, registry: &Registry, window: &Window) -> Result<(), ReadError> {
    window.take_over(store.breakers()?);
    for queue in store.queues()? {
        window.pause_queue(&queue.name, queue.pause);
    }
    for plugin in registry.paused() {
        window.pause_plugin(plugin.tenant, &plugin.name, plugin.pause.clone());
    }
    Ok(())
}

/// Who hears of every commit.
struct Heard<'a> {
    registry: &'a Arc<Registry>,
    window: &'a Arc<Window>,
    watchers: &'a Arc<Watchers>,
    running: &'a Arc<Running>,
}

impl Heard<'_> {
    fn feed(self, witness: Option<Feed>) -> Feed {
        let (registry, window) = (Arc::clone(self.registry), Arc::clone(self.window));
        let (watchers, running) = (Arc::clone(self.watchers), Arc::clone(self.running));
        Arc::new(move |news: News<'_>| {
            if let Some(witness) = &witness {
                witness(news);
            }
            if let News::Committed(changes) = news {
                registry.committed(changes);
                running.committed(changes);
                watchers.committed(changes);
            }
            window.heard(news);
        })
    }
}
