//! One life: a host, those who use it, and what goes wrong.

mod healing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use backroom::clock::{Clock, SimulatedClock};
use backroom::domain::admission::{AdmissionPolicy, Hold};
use backroom::domain::change::Change;
use backroom::domain::id::{Digest, JobId, JobKey, PluginName, QueueName, TenantId, VersionName};
use backroom::domain::idempotency::KeyError;
use backroom::domain::job::Status;
use backroom::domain::plugin::{Inspection, Plugin, PluginVersion, Shape, Wishes};
use backroom::domain::queue::{Lane, Pause, QueueState};
use backroom::domain::time::Timestamp;
use backroom::jobs::{Command, Order, SubmitError};
use backroom::store::Store;
use backroom::store::memory::MemoryStore;
use parking_lot::Mutex;

use crate::draw::Draw;
use crate::host::Host;
use crate::ledger::Ledger;
use crate::tasks::{Note, Task};
use crate::wishes::{self, PLUGINS, QUEUES, plugin_name, queue_name};

/// Steps in which things go wrong.
const CHAOS_STEPS: u64 = 600;

/// Jobs that a life submits, at most.
pub(crate) const JOBS_MAX: usize = 40;

/// How long an `Idempotency-Key` is kept (promise 6).
const KEY_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// What a life was like; the same seed must give the same.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) steps: u64,
    pub(crate) edges: BTreeSet<(u8, u8)>,
    pub(crate) fingerprint: u64,
    pub(crate) met: BTreeSet<&'static str>,
}

pub(crate) struct World {
    seed: u64,
    pub(crate) draw: Draw,
    pub(crate) clock: SimulatedClock,
    store: Arc<MemoryStore>,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) host: Host,
    pub(crate) tasks: Vec<Task>,
    /// The job and time of the first answered submit of a key.
    answered: BTreeMap<String, (JobId, Timestamp)>,
    pub(crate) submits: usize,
    pub(crate) schedules_made: usize,
    steps: u64,
    fingerprint: u64,
    printing: bool,
    store_has_failed: bool,
    policy: AdmissionPolicy,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Submit,
    Sync,
    Tick,
    Claim,
    GoOn,
    Breathe,
    Leap,
    Steer,
    Delete,
    Plugin,
    Hold,
    Batch,
    Again,
    Schedule,
    Kill,
    PowerCut,
    Usurp,
    StoreFails,
}

const ACTIONS: [(u64, Action); 18] = [
    (60, Action::Submit),
    (220, Action::Sync),
    (90, Action::Tick),
    (110, Action::Claim),
    (320, Action::GoOn),
    (70, Action::Breathe),
    (12, Action::Leap),
    (70, Action::Steer),
    (12, Action::Delete),
    (4, Action::Plugin),
    (10, Action::Hold),
    (5, Action::Batch),
    (8, Action::Again),
    (8, Action::Schedule),
    (6, Action::Kill),
    (6, Action::PowerCut),
    (2, Action::Usurp),
    (1, Action::StoreFails),
];

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let clock = SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000));
        let store = Arc::new(MemoryStore::with_lazy_sync());
        let policy = wishes::policy(&mut Draw::of(&[seed, 2]));
        let ledger = Arc::new(Mutex::new(Ledger::new(policy.clone())));
        let plugins = [plugin("early", true), plugin("late", false)];
        let _durable_with_the_next_sync = store.commit(plugins.map(Change::put).to_vec());
        store.sync();
        let host = Host::start(seed, &store, &clock, &ledger, policy.clone());
        let draw = Draw::of(&[seed, 1]);
        Self {
            seed,
            draw,
            clock,
            store,
            ledger,
            host,
            tasks: Vec::new(),
            answered: BTreeMap::new(),
            submits: 0,
            schedules_made: 0,
            steps: 0,
            fingerprint: 0,
            printing: false,
            store_has_failed: false,
            policy,
        }
    }

    pub(crate) fn print_steps(&mut self) {
        self.printing = true;
    }

    pub(crate) fn report(&self) -> Report {
        let ledger = self.ledger.lock();
        Report { steps: self.steps, edges: ledger.edges(), fingerprint: self.fingerprint, met: ledger.met() }
    }

    /// Lives: first things go wrong, then everything heals.
    pub(crate) fn live(&mut self) {
        for _ in 0..CHAOS_STEPS {
            let action = self.draw.choose(&ACTIONS);
            self.act(action);
            self.ledger.lock().check();
        }
        self.heal();
    }

    pub(crate) fn note(&mut self, what: impl FnOnce(&Self) -> String) {
        self.steps += 1;
        let what = what(self);
        for byte in what.bytes() {
            self.fingerprint = (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.printing {
            println!("{:5} {} {what}", self.steps, self.clock.now());
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Submit => self.submit(),
            Action::Sync => self.sync(),
            Action::Tick => self.tick(),
            Action::Claim => drop(self.claim()),
            Action::GoOn => self.go_on_somewhere(),
            Action::Breathe => self.pass(1, 2_000),
            Action::Leap => self.pass(60_000, 7_200_000),
            Action::Steer => self.steer_any(),
            Action::Delete => self.delete_any(),
            Action::Plugin => self.change_plugin(),
            Action::Hold => self.hold_something(),
            Action::Batch => self.submit_batch(),
            Action::Again => self.run_again(),
            Action::Schedule => self.schedule_something(),
            Action::Kill => self.restart("killed", self.store.kill()),
            Action::PowerCut => self.restart("power cut", self.store.crash()),
            Action::Usurp => self.usurp(),
            Action::StoreFails => {
                self.store.close();
                self.store_has_failed = true;
                self.note(|_| "the store fails".to_owned());
            }
        }
    }

    fn pass(&mut self, from: u64, to: u64) {
        let span = Duration::from_millis(from + self.draw.below(to - from));
        self.clock.advance(span);
        self.note(|_| format!("{span:?} pass"));
    }

    fn sync(&mut self) {
        let taken = self.store.sync();
        self.note(|_| format!("sync of {taken}"));
    }

    fn tick(&mut self) {
        let tick = self.host.scheduler.tick(self.clock.now()).expect("memory can be read");
        self.note(|_| format!("tick: {tick:?}"));
    }

    fn submit(&mut self) {
        if self.submits >= JOBS_MAX {
            return;
        }
        self.submits += 1;
        let known: Vec<JobId> = self.ledger.lock().records().map(|(_, record)| record.submission.id).collect();
        let (new, key) = wishes::new_job(&mut self.draw, &known, self.clock.now());
        let dedup = new.ties.dedup_key.clone();
        self.note(|_| format!("submit of {} in {} with {key:?}, {:?}", new.plugin, new.queue, new.ties));
        let jobs = Arc::clone(&self.host.jobs);
        self.tasks.push(Task::new("submit", async move {
            let answer = jobs.submit(new, key.as_deref()).await;
            Note::Submitted { key, dedup, answer }
        }));
        self.go_on(self.tasks.len() - 1);
    }

    /// Claims some jobs. Returns how many the window gave.
    fn claim(&mut self) -> usize {
        let ready = self.host.window.take(1 + self.draw.index(3));
        let (taken, now) = (ready.len(), self.clock.now());
        for (job, mut started) in ready {
            let name = format!("run of {}", job.submission.key().sequence.0);
            assert!(!self.ledger.lock().is_paused(&job.submission), "{name} starts although it is paused");
            let Ok(Some(claim)) = self.host.worker.claim(job, now) else { continue };
            self.note(|_| format!("claim: {name}"));
            let (worker, window) = (Arc::clone(&self.host.worker), Arc::clone(&self.host.window));
            self.tasks.push(Task::new(name, async move {
                let job = claim.job();
                let Ok(Some(claimed)) = worker.claimed(claim).await else {
                    // As the pool does: whoever changed it first may have left it ready.
                    window.reload(job);
                    return Note::Done;
                };
                let (job, fence) = (claimed.job.submission.key(), claimed.job.state.fence);
                let finished = worker.run(claimed).await;
                started.judge(finished.verdict());
                let settled = worker.settle(finished).await;
                drop(started);
                match settled {
                    Ok(()) => Note::Settled { job, fence },
                    Err(_) => Note::Done,
                }
            }));
        }
        self.note_holds();
        taken
    }

    /// Remembers why queued jobs do not start, so that a test can tell whether every reason was met.
    fn note_holds(&mut self) {
        let mut ledger = self.ledger.lock();
        let queued = ledger.records().filter(|(_, record)| record.state().status == Status::Queued);
        let lanes: BTreeSet<Lane> = queued.map(|(_, record)| Lane::of(&record.submission)).collect();
        for hold in lanes.iter().flat_map(|lane| self.host.window.holds(lane)) {
            ledger.meet(match hold {
                Hold::QueuePaused(_) => "a paused queue holds",
                Hold::PluginPaused(_) => "a paused plug-in holds",
                Hold::QueueFull(_) => "a full queue holds",
                Hold::PluginFull(_) => "a full plug-in holds",
                Hold::KeyFull(..) => "a full concurrency key holds",
                Hold::QueueRate(..) => "the rate of a queue holds",
                Hold::PluginRate(..) => "the rate of a plug-in holds",
                Hold::BreakerOpen(_) => "an open breaker holds",
            });
        }
    }

    fn go_on_somewhere(&mut self) {
        if !self.tasks.is_empty() {
            let index = self.draw.index(self.tasks.len());
            self.go_on(index);
        }
    }

    /// Lets one task go on. True when it ended.
    pub(crate) fn go_on(&mut self, index: usize) -> bool {
        let Some(task) = self.tasks.get_mut(index) else { return false };
        let Some(note) = task.go_on() else { return false };
        let name = self.tasks.swap_remove(index).name;
        self.note(|_| format!("end of: {name}"));
        self.hear(note);
        true
    }

    fn hear(&mut self, note: Note) {
        match note {
            Note::Submitted { key, dedup, answer: Ok(submitted) } => {
                let job = submitted.job;
                if submitted.repeated && dedup.is_some() {
                    assert_eq!(job.submission.ties().dedup_key, dedup, "another job was named as the duplicate");
                    self.ledger.lock().meet("a duplicate is answered with the unfinished job");
                }
                if !submitted.repeated {
                    self.ledger.lock().acknowledge(job.submission.key(), Some(job.state.revision));
                }
                if let Some(key) = key {
                    self.check_answer(key, job.submission.id, job.submission.created_on);
                }
            }
            Note::Submitted { key, answer: Err(error), .. } => {
                // A job that it names may be deleted before it is looked at.
                let expected = matches!(
                    error,
                    SubmitError::Commit(_)
                        | SubmitError::Key(KeyError::OfDeleted { .. })
                        | SubmitError::UnknownTie { .. }
                        | SubmitError::Disabled { .. }
                );
                assert!(expected, "the submit of {key:?} fails: {error}");
            }
            Note::Batched(batch, members) => self.batched(batch, members),
            Note::Reran(finished, job) => self.reran(finished, &job),
            Note::Steered(Ok(job)) => {
                self.ledger.lock().acknowledge(job.submission.key(), Some(job.state.revision));
            }
            Note::Deleted(id, Ok(())) => {
                let key = JobKey { tenant: TenantId::DEFAULT, sequence: id.sequence() };
                self.ledger.lock().acknowledge(key, None);
            }
            Note::Settled { job, fence } => self.ledger.lock().acknowledge_end(job, fence),
            Note::Steered(Err(_)) | Note::Deleted(_, Err(_)) | Note::Done => {}
        }
    }

    /// Promise 6: a key stands for one job for a day.
    fn check_answer(&mut self, key: String, job: JobId, created_on: Timestamp) {
        let now = self.clock.now();
        let first = self.answered.get(&key).filter(|(_, on)| on.after(KEY_KEPT) > now);
        match first {
            Some((first, _)) => assert_eq!(*first, job, "promise 6: `{key}` made two jobs within a day"),
            None => {
                self.answered.insert(key, (job, created_on));
            }
        }
    }

    fn any_job(&mut self) -> Option<JobKey> {
        let keys: Vec<JobKey> = self.ledger.lock().records().map(|(key, _)| key).collect();
        (!keys.is_empty()).then(|| keys[self.draw.index(keys.len())])
    }

    fn any_running_job(&mut self) -> Option<JobKey> {
        let keys: Vec<JobKey> = {
            let ledger = self.ledger.lock();
            let running = ledger.records().filter(|(_, record)| record.state().status.is_locked());
            running.map(|(key, _)| key).collect()
        };
        (!keys.is_empty()).then(|| keys[self.draw.index(keys.len())])
    }

    fn id_of(&self, job: JobKey) -> Option<JobId> {
        self.ledger.lock().record(job).map(|record| record.submission.id)
    }

    fn steer_any(&mut self) {
        let running = if self.draw.chance(30) { self.any_running_job() } else { None };
        let Some(job) = running.or_else(|| self.any_job()) else { return };
        let until = self.clock.now().after(Duration::from_secs(self.draw.below(1_200)));
        match self.draw.below(8) {
            0..=2 => self.cancel(job),
            3 | 4 => self.steer(job, Order::Pause),
            5 => self.steer(job, Order::Postpone(until)),
            _ => self.steer(job, Order::Resume),
        }
    }

    fn cancel(&mut self, job: JobKey) {
        self.steer(job, Order::Cancel);
    }

    fn steer(&mut self, job: JobKey, order: Order) {
        let Some(id) = self.id_of(job) else { return };
        let name = format!("{} of {}", order.action(), job.sequence.0);
        self.note(|_| name.clone());
        let jobs = Arc::clone(&self.host.jobs);
        self.tasks.push(Task::new(name, async move {
            Note::Steered(jobs.steer(TenantId::DEFAULT, id, &Command::new(order, "somebody")).await)
        }));
        self.go_on(self.tasks.len() - 1);
    }

    fn delete_any(&mut self) {
        let Some(id) = self.any_job().and_then(|job| self.id_of(job)) else { return };
        self.note(|_| format!("delete of {}", id.sequence().0));
        let jobs = Arc::clone(&self.host.jobs);
        self.tasks.push(Task::new(format!("delete of {}", id.sequence().0), async move {
            let deleted = jobs.steer(TenantId::DEFAULT, id, &Command::new(Order::Delete, "somebody")).await;
            Note::Deleted(id, deleted.map(|_job| ()))
        }));
        self.go_on(self.tasks.len() - 1);
    }

    fn change_plugin(&mut self) {
        let registry = Arc::clone(&self.host.registry);
        let choice = self.draw.below(3);
        self.note(|_| format!("change {choice} of a plug-in"));
        self.tasks.push(Task::new("change of a plug-in", async move {
            let (early, late) = (PluginName::new("early").expect("a slug"), PluginName::new("late").expect("a slug"));
            // The store may fail meanwhile, and that is all that may.
            let _changed = match choice {
                0 => registry.disable(TenantId::DEFAULT, &early).await,
                1 => registry.enable(TenantId::DEFAULT, &early).await,
                _ => registry.activate(TenantId::DEFAULT, &late, &version()).await,
            };
            Note::Done
        }));
    }

    /// A person pauses a queue or a plug-in, or lets it go on.
    fn hold_something(&mut self) {
        let (number, paused) = (self.draw.index(QUEUES.len() + 1), self.draw.chance(50));
        match QUEUES.get(number) {
            Some(queue) => self.pause_queue(queue_name(queue), paused),
            None => self.pause_plugin(plugin_name(PLUGINS[0]), paused),
        }
    }

    fn pause_queue(&mut self, name: QueueName, paused: bool) {
        self.note(|_| format!("queue {name}: paused is {paused}"));
        let queues = self.store.queues().expect("memory can be read");
        let before = queues.into_iter().find(|queue| queue.name == name).map_or(0, |queue| queue.revision);
        let asked = QueueState { name, revision: before + 1, pause: paused.then(Pause::default) };
        let pending = self.store.commit(vec![Change::put(asked)]);
        self.tasks.push(Task::new("pause of a queue", async move {
            // Somebody else may have been first, or the store may fail.
            let _written = pending.await;
            Note::Done
        }));
    }

    fn pause_plugin(&mut self, name: PluginName, paused: bool) {
        self.note(|_| format!("plug-in {name}: paused is {paused}"));
        let registry = Arc::clone(&self.host.registry);
        self.tasks.push(Task::new("pause of a plug-in", async move {
            let _written = match paused {
                true => registry.pause(TenantId::DEFAULT, &name, Pause::default()).await,
                false => registry.resume(TenantId::DEFAULT, &name).await,
            };
            Note::Done
        }));
        self.go_on(self.tasks.len() - 1);
    }

    /// The host is gone from one moment to the next, and another starts on what is left.
    fn restart(&mut self, why: &str, left: MemoryStore) {
        self.tasks.clear();
        self.store = Arc::new(left);
        self.store_has_failed = false;
        self.ledger.lock().came_back(&*self.store);
        self.start(why);
    }

    fn start(&mut self, why: &str) {
        self.host = Host::start(self.seed, &self.store, &self.clock, &self.ledger, self.policy.clone());
        self.store.sync();
        let now = self.clock.now();
        self.note(|_| format!("{why}, and started again"));
        self.ledger.lock().check_recovered(now);
    }

    /// A second host takes the store over while the first one's runs go on: what the first writes must come to nothing.
    fn usurp(&mut self) {
        if !self.store_has_failed {
            self.start("taken over");
        }
    }
}

fn version() -> VersionName {
    VersionName::new("1.0.0").expect("a good version")
}

pub(crate) fn plugin(name: &str, is_active: bool) -> Plugin {
    let inspection = Inspection {
        shape: Shape::Handler,
        imports: Vec::new(),
        exports: Vec::new(),
        handlers: None,
        digest: Digest([7; 32]),
        bytes: 8,
    };
    let only = PluginVersion {
        version: version(),
        inspection,
        wishes: Wishes::default(),
        uploaded_on: Timestamp::default(),
        is_pending: false,
    };
    Plugin {
        tenant: TenantId::DEFAULT,
        name: PluginName::new(name).expect("a slug"),
        revision: 1,
        versions: vec![only],
        active: is_active.then(version),
        previous: None,
        pause: None,
        disabled: false,
        grants: Vec::new(),
    }
}
