//! A host whose slots, time and handlers a test holds in its hands.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use backroom::app::{Runtime, RuntimeParts};
use backroom::clock::{Clock, SimulatedClock};
use backroom::domain::admission::AdmissionPolicy;
use backroom::domain::change::Change;
use backroom::domain::failure::{ErrorClass, Failure};
use backroom::domain::id::{Digest, JobId, JobKey, OrderingKey, PluginName, QueueName, TenantId, VersionName};
use backroom::domain::job::{Job, Status, Ties};
use backroom::domain::plugin::{Inspection, Plugin, PluginVersion, Shape, Wishes};
use backroom::domain::time::Timestamp;
use backroom::jobs::{Command, Jobs, NewJob, Order};
use backroom::registry::{Policies, Registry};
use backroom::sandbox::scripted::{Director, Script, ScriptedSandbox, Step};
use backroom::sandbox::{Slice, SliceEnd};
use backroom::scheduler::Scheduler;
use backroom::store::memory::MemoryStore;
use backroom::store::{Feed, News, Store};
use backroom::worker::{Running, Window, Worker};
use parking_lot::Mutex;

/// From one look to the next while something runs.
const STEP: Duration = Duration::from_millis(100);

/// A job that started, and when its run ended.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) job: JobKey,
    pub(crate) on: Timestamp,
    pub(crate) ended: Option<Timestamp>,
}

/// What was committed.
#[derive(Default)]
pub(crate) struct Log {
    statuses: BTreeMap<JobKey, Status>,
    pub(crate) starts: Vec<Start>,
    pub(crate) transitions: Vec<(Status, Status)>,
}

impl Log {
    fn observe(&mut self, changes: &[Change], now: Timestamp) {
        for change in changes {
            let (job, status) = match change {
                Change::Submit(submission, state) => (submission.key(), state.status),
                Change::Advance { job, next, .. } => (*job, next.status),
                _ => continue,
            };
            let before = self.statuses.insert(job, status);
            self.transitions.extend(before.map(|before| (before, status)));
            let was_locked = before.is_some_and(Status::is_locked);
            if was_locked && !status.is_locked() {
                let run = self.starts.iter_mut().rfind(|start| start.job == job);
                run.expect("it has started").ended = Some(now);
            }
            if status == Status::Running && !was_locked {
                self.starts.push(Start { job, on: now, ended: None });
            }
        }
    }
}

type Run = Pin<Box<dyn Future<Output = ()>>>;

/// One start of a host.
pub(crate) struct Host {
    pub(crate) clock: SimulatedClock,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) scheduler: Scheduler,
    pub(crate) worker: Arc<Worker>,
    pub(crate) running: Arc<Running>,
    pub(crate) window: Arc<Window>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) log: Arc<Mutex<Log>>,
    /// How many runs may go on at a time.
    pub(crate) slots: usize,
    pub(crate) runs: Vec<Run>,
    director: Director,
    admission: AdmissionPolicy,
}

impl Host {
    /// A new host with an empty store and a plug-in `echo`, whose handlers do what `director` says.
    pub(crate) fn new(slots: usize, director: impl Fn(&Slice) -> Script + Send + Sync + 'static) -> Self {
        Self::with(slots, AdmissionPolicy::default(), director)
    }

    pub(crate) fn with(
        slots: usize,
        admission: AdmissionPolicy,
        director: impl Fn(&Slice) -> Script + Send + Sync + 'static,
    ) -> Self {
        let clock = SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000));
        let store = Arc::new(MemoryStore::new());
        let put = store.commit(vec![Change::put(plugin("echo", true))]);
        put.wait().expect("the store is empty");
        Self::on(store, clock, slots, admission, Arc::new(director), Arc::default())
    }

    /// Another host on what this one leaves when it is killed.
    pub(crate) fn restarted(self) -> Self {
        let left = Arc::new(self.store.kill());
        Self::on(left, self.clock, self.slots, self.admission, self.director, self.log)
    }

    /// Another host that takes over the same store, while the runs of this one go on.
    pub(crate) fn taken_over(&self) -> Self {
        let (store, log) = (Arc::clone(&self.store), Arc::clone(&self.log));
        Self::on(store, self.clock.clone(), self.slots, self.admission.clone(), Arc::clone(&self.director), log)
    }

    fn on(
        store: Arc<MemoryStore>,
        clock: SimulatedClock,
        slots: usize,
        admission: AdmissionPolicy,
        director: Director,
        log: Arc<Mutex<Log>>,
    ) -> Self {
        let shared: Arc<dyn Store> = Arc::<MemoryStore>::clone(&store);
        let time: Arc<dyn Clock> = Arc::new(clock.clone());
        let (noted, noting) = (Arc::clone(&log), clock.clone());
        let witness: Feed = Arc::new(move |news: News<'_>| {
            if let News::Committed(changes) = news {
                noted.lock().observe(changes, noting.now());
            }
        });
        let directed = Arc::clone(&director);
        let parts = RuntimeParts {
            store: shared,
            sandbox: Arc::new(ScriptedSandbox::new(Arc::clone(&time), move |slice| directed(slice))),
            clock: time,
            policies: Policies::default(),
            admission: admission.clone(),
            salt: 7,
            witness: Some(witness),
        };
        let (runtime, started) = Runtime::join(parts).expect("memory can be read");
        started.wait().expect("memory can be written");
        let Runtime { jobs, registry, running, scheduler, window, worker, .. } = runtime;
        scheduler.recover(clock.now()).expect("memory can be read");
        Self {
            clock,
            store,
            scheduler,
            worker,
            running,
            window,
            registry,
            jobs: Arc::new(jobs),
            log,
            slots,
            runs: Vec::new(),
            director,
            admission,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn submit(&self, new: NewJob) -> JobId {
        at_once(self.jobs.submit(new, None)).expect("the job is good").job.submission.id
    }

    pub(crate) fn order(&self, job: JobId, order: Order) -> Job {
        let command = Command::new(order, "somebody");
        at_once(self.jobs.steer(TenantId::DEFAULT, job, &command)).expect("the job's state allows it")
    }

    pub(crate) fn job(&self, id: JobId) -> Job {
        self.jobs.get(TenantId::DEFAULT, id).expect("memory can be read").expect("the job is there")
    }

    pub(crate) fn status(&self, id: JobId) -> Status {
        self.job(id).state.status
    }

    /// When the runs of a job started.
    pub(crate) fn starts(&self, id: JobId) -> Vec<Timestamp> {
        let log = self.log.lock();
        log.starts.iter().filter(|start| start.job == key(id)).map(|start| start.on).collect()
    }

    /// The jobs in the order in which they started.
    pub(crate) fn started(&self) -> Vec<JobKey> {
        self.log.lock().starts.iter().map(|start| start.job).collect()
    }

    /// Does everything that can be done at this moment.
    pub(crate) fn settle(&mut self) {
        loop {
            self.scheduler.tick(self.now()).expect("memory can be read");
            let claimed = self.fill_slots();
            let before = self.runs.len();
            self.runs.retain_mut(|run| run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            if claimed == 0 && self.runs.len() == before {
                return;
            }
        }
    }

    fn fill_slots(&mut self) -> usize {
        let taken = self.window.take(self.slots.saturating_sub(self.runs.len()));
        let (count, now) = (taken.len(), self.now());
        for (job, mut started) in taken {
            let Ok(Some(claim)) = self.worker.claim(job, now) else { continue };
            let worker = Arc::clone(&self.worker);
            self.runs.push(Box::pin(async move {
                let claimed = worker.claimed(claim).await.expect("memory can be written");
                let Some(claimed) = claimed else { return };
                let finished = worker.run(claimed).await;
                started.judge(finished.verdict());
                worker.settle(finished).await.expect("memory can be written");
            }));
        }
        count
    }

    /// Lets time pass. While nothing runs, it leaps to what comes next.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now().after(span);
        self.settle();
        while self.now() < end {
            let left = end.since(self.now());
            self.clock.advance(self.until_next().min(left));
            self.settle();
        }
    }

    fn until_next(&self) -> Duration {
        if !self.runs.is_empty() {
            return STEP;
        }
        let next = self.scheduler.tick(self.now()).expect("memory can be read").next;
        let next = self.window.opens_on().map_or(next, |opens| opens.min(next));
        next.since(self.now()).max(Duration::from_millis(1))
    }

    /// Lets time pass until all these jobs have ended, at most so long.
    pub(crate) fn finish(&mut self, jobs: &[JobId], patience: Duration) {
        let end = self.now().after(patience);
        self.settle();
        while let Some(job) = jobs.iter().find(|job| !self.status(**job).is_final()) {
            assert!(self.now() < end, "after {patience:?} job {} is {:?}", job.sequence().0, self.job(*job).state);
            self.clock.advance(self.until_next());
            self.settle();
        }
    }
}

/// What a future that has nothing to wait for returns.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("there should be nothing to wait for"),
    }
}

pub(crate) fn key(id: JobId) -> JobKey {
    JobKey { tenant: TenantId::DEFAULT, sequence: id.sequence() }
}

pub(crate) fn echo() -> NewJob {
    NewJob::new(name("echo"), "input")
}

pub(crate) fn in_queue(queue: &str) -> NewJob {
    NewJob { queue: QueueName::new(queue).expect("a slug"), ..echo() }
}

pub(crate) fn keyed(text: &str) -> NewJob {
    let ordering_key = Some(OrderingKey::new(text).expect("a good key"));
    NewJob { ties: Ties { ordering_key, ..Ties::default() }, ..echo() }
}

pub(crate) fn name(text: &str) -> PluginName {
    PluginName::new(text).expect("a slug")
}

/// Works for so long and succeeds.
pub(crate) fn works(span: Duration) -> Script {
    Script::succeeds("done").after(Step::Work(span))
}

pub(crate) fn failure(class: ErrorClass, message: &str) -> Failure {
    Failure { class, code: None, message: message.to_owned(), detail: None }
}

pub(crate) fn fails(class: ErrorClass, message: &str) -> Script {
    Script::of(SliceEnd::Failed(failure(class, message)))
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn plugin(text: &str, is_active: bool) -> Plugin {
    let inspection = Inspection {
        shape: Shape::Handler,
        imports: Vec::new(),
        exports: Vec::new(),
        handlers: None,
        digest: Digest([7; 32]),
        bytes: 8,
    };
    let version = VersionName::new("1.0.0").expect("a good version");
    let only = PluginVersion {
        version: version.clone(),
        inspection,
        wishes: Wishes::default(),
        uploaded_on: Timestamp::default(),
        is_pending: false,
    };
    Plugin {
        tenant: TenantId::DEFAULT,
        name: name(text),
        revision: 1,
        versions: vec![only],
        active: is_active.then_some(version),
        previous: None,
        pause: None,
        disabled: false,
        grants: Vec::new(),
    }
}
