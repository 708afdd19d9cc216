//! Schedules through the runtime: what the scheduler fires, what a host that was down catches up with, and what overlaps
//! (domain.md 4.2; F019, F029, F030, F032, F033). One thread, a simulated clock, scripted handlers.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use backroom::app::{Runtime, RuntimeParts};
use backroom::clock::{Clock, SimulatedClock};
use backroom::domain::admission::AdmissionPolicy;
use backroom::domain::change::Change;
use backroom::domain::id::{PluginName, ScheduleName, TenantId};
use backroom::domain::job::{Job, Status};
use backroom::domain::query::{JobFilter, JobQuery};
use backroom::domain::schedule::{
    Definition, JobTemplate, Misfire, Overlap, Recurrence, Schedule, ScheduleState, Start,
};
use backroom::domain::time::Timestamp;
use backroom::registry::Policies;
use backroom::sandbox::Slice;
use backroom::sandbox::scripted::{Script, ScriptedSandbox, Step};
use backroom::scheduler::Scheduler;
use backroom::schedules::Schedules;
use backroom::store::Store;
use backroom::store::memory::MemoryStore;
use backroom::worker::{Window, Worker};

use crate::world::plugin;

const TENANT: TenantId = TenantId::DEFAULT;

/// Longer than any chain of things that happen at one moment.
const TURNS_MAX: usize = 1_000;

fn start() -> Timestamp {
    "2026-01-15T04:00:00Z".parse().expect("a time")
}

/// A job that is made then is over at once.
fn brief() -> Timestamp {
    start().after(seconds(1))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn hours(count: u64) -> Duration {
    seconds(3_600 * count)
}

fn name() -> ScheduleName {
    ScheduleName::new("tidy").expect("a slug")
}

fn definition(rule: &str, start: Timestamp) -> Definition {
    let recurrence = Recurrence::parse(rule, Start::At(start), None, &[] as &[&str]).expect("a good rule");
    let target = JobTemplate::new(PluginName::new("worker").expect("a slug"));
    Definition {
        recurrence,
        target,
        misfire: Misfire::default(),
        overlap: Overlap::default(),
        jitter: Duration::ZERO,
        start_left_out: false,
        at_once: false,
    }
}

/// What is ready by the first look.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits, although the store decides at once"),
    }
}

/// A host without its loops, whose handler works for `work`.
struct Host {
    clock: SimulatedClock,
    store: Arc<MemoryStore>,
    work: Duration,
    scheduler: Scheduler,
    schedules: Schedules,
    worker: Arc<Worker>,
    window: Arc<Window>,
    runs: Vec<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Host {
    /// A new host with the plug-in and one schedule.
    fn with(definition: Definition, work: Duration) -> Self {
        let memory = Arc::new(MemoryStore::new());
        at_once(memory.commit(vec![Change::put(plugin("worker", true))])).expect("it is written");
        let host = Self::over(memory, SimulatedClock::at(start()), work);
        at_once(host.schedules.create(TENANT, name(), definition, Vec::new().into(), "test", host.now()))
            .expect("made");
        host
    }

    /// A host takes over a store.
    fn over(memory: Arc<MemoryStore>, simulated: SimulatedClock, work: Duration) -> Self {
        let store: Arc<dyn Store> = Arc::<MemoryStore>::clone(&memory);
        let clock: Arc<dyn Clock> = Arc::new(simulated.clone());
        let now = clock.now();
        let work_of = move |slice: &Slice| if slice.created_on == brief() { Duration::ZERO } else { work };
        let script = move |slice: &Slice| Script::succeeds("done").after(Step::Work(work_of(slice)));
        let parts = RuntimeParts {
            store,
            sandbox: Arc::new(ScriptedSandbox::new(Arc::clone(&clock), script)),
            clock,
            policies: Policies::default(),
            admission: AdmissionPolicy::default(),
            salt: 7,
            witness: None,
        };
        let (runtime, started) = Runtime::join(parts).expect("memory can be read");
        at_once(started).expect("it is written");
        let Runtime { scheduler, schedules, window, worker, .. } = runtime;
        scheduler.recover(now).expect("memory can be read");
        let runs = Vec::new();
        Self { clock: simulated, store: memory, work, scheduler, schedules, worker, window, runs }
    }

    /// The host is killed, and started again after `down`.
    fn restarted_after(self, down: Duration) -> Self {
        self.clock.advance(down);
        let store = Arc::new(self.store.kill());
        Self::over(store, self.clock, self.work)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Everything that happens by now.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let tick = self.scheduler.tick(self.now()).expect("memory can be read");
            let claimed = self.claim();
            let before = self.runs.len();
            self.runs.retain_mut(|run| run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            if tick.changed + claimed + (before - self.runs.len()) == 0 {
                return;
            }
        }
        panic!("there is no end to what happens at one moment");
    }

    fn claim(&mut self) -> usize {
        let ready = self.window.take(100);
        let count = ready.len();
        for (job, started) in ready {
            let Ok(Some(claim)) = self.worker.claim(job, self.clock.now()) else { continue };
            let worker = Arc::clone(&self.worker);
            self.runs.push(Box::pin(async move {
                if let Ok(Some(claimed)) = worker.claimed(claim).await {
                    let finished = worker.run(claimed).await;
                    worker.settle(finished).await.expect("nobody else writes");
                }
                drop(started);
            }));
        }
        count
    }

    /// Lets time pass second by second.
    fn pass(&mut self, span: u64) {
        for _ in 0..span {
            self.clock.advance(seconds(1));
            self.settle();
        }
    }

    /// Goes on to the moment at which the schedule fires next.
    fn go_to_the_next_run(&mut self) {
        let next = self.schedule().next_run.expect("it goes on");
        self.clock.advance(next.since(self.now()));
        self.settle();
    }

    fn schedule(&self) -> Schedule {
        self.schedules.get(TENANT, &name()).expect("it is there")
    }

    /// The jobs of the schedule in the order in which they were made.
    fn made(&self) -> Vec<Job> {
        let filter = JobFilter { schedule: Some(name()), ..JobFilter::default() };
        let query = JobQuery { tenant: TENANT, filter, before: None, limit: 1_000 };
        let mut jobs = self.store.jobs(&query).expect("memory can be read").jobs;
        jobs.reverse();
        jobs
    }

    /// The jobs of the schedule in the order of what they are for, which is that of no other.
    fn jobs(&self) -> Vec<Job> {
        let mut jobs = self.made();
        jobs.sort_by_key(scheduled_for);
        let different: BTreeSet<_> = jobs.iter().map(scheduled_for).collect();
        assert_eq!(different.len(), jobs.len(), "an occurrence has two jobs");
        jobs
    }

    /// What the jobs are for, in whole hours after the start.
    fn hours(&self) -> Vec<u64> {
        self.jobs().iter().map(|job| scheduled_for(job).since(start()).as_secs() / 3_600).collect()
    }
}

fn scheduled_for(job: &Job) -> Timestamp {
    job.submission.ties().occurrence.as_ref().expect("a job of a schedule").scheduled_for
}

#[test]
fn f019_an_occurrence_that_is_brought_forward_runs_then_and_later_ones_keep_the_rule() {
    let mut host = Host::with(definition("FREQ=DAILY", start().after(hours(24))), Duration::ZERO);
    host.settle();
    assert_eq!(host.jobs().len(), 0);
    let until = start().after(hours(1));
    at_once(host.schedules.postpone(TENANT, &name(), until, "test")).expect("it is active");
    host.go_to_the_next_run();
    assert_eq!((host.now(), host.hours()), (until, vec![24]));
    host.go_to_the_next_run();
    assert_eq!((host.now(), host.hours()), (start().after(hours(48)), vec![24, 48]));
}

#[test]
fn f029_the_documented_patterns_make_their_first_ten_jobs() {
    let every = |step: u64| (0..10).map(|n| n * step).collect::<Vec<_>>();
    let monthly = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273].map(|day| day * 24).to_vec();
    for (rule, expected) in [
        ("FREQ=HOURLY;", every(1)),
        ("FREQ=HOURLY;INTERVAL=6;", every(6)),
        ("FREQ=DAILY;INTERVAL=3;", every(72)),
        ("FREQ=WEEKLY;", every(168)),
        ("FREQ=MONTHLY;", monthly),
    ] {
        let mut host = Host::with(definition(rule, start()), seconds(1));
        for _ in 0..10 {
            host.go_to_the_next_run();
            host.pass(2);
        }
        assert_eq!(host.hours(), expected, "{rule}");
        assert!(host.jobs().iter().all(|job| job.state.status == Status::Succeeded), "{rule}");
        assert!(host.jobs().iter().all(|job| job.submission.created_on == scheduled_for(job)), "{rule}: on time");
    }
}

#[test]
fn f030_an_empty_rule_makes_one_job_at_its_start_or_now() {
    for later in [0, 5] {
        let mut host = Host::with(definition("", start().after(hours(later))), Duration::ZERO);
        host.settle();
        assert_eq!(host.jobs().len(), usize::from(later == 0));
        if later > 0 {
            host.go_to_the_next_run();
        }
        assert_eq!(host.hours(), [later]);
        host.clock.advance(hours(10_000));
        host.settle();
        assert_eq!((host.hours(), host.schedule().state), (vec![later], ScheduleState::Ended));
    }
}

#[test]
fn f032_a_host_that_was_down_over_five_occurrences_catches_up_as_the_policy_says() {
    for (misfire, expected) in [
        (Misfire::RunOnce, vec![0, 5]),
        (Misfire::RunAll(3), vec![0, 3, 4, 5]),
        (Misfire::RunAll(9), vec![0, 1, 2, 3, 4, 5]),
        (Misfire::Skip, vec![0]),
    ] {
        // However short ago the last of them was.
        for after_the_last in [seconds(1_800), seconds(5)] {
            let mut host = Host::with(Definition { misfire, ..definition("FREQ=HOURLY", start()) }, Duration::ZERO);
            host.settle();
            assert_eq!(host.hours(), [0], "{misfire}");
            let mut host = host.restarted_after(hours(5) + after_the_last);
            host.settle();
            assert_eq!(host.hours(), expected, "{misfire}");
            assert!(host.jobs().iter().all(|job| job.state.status == Status::Succeeded), "{misfire}");
            host.go_to_the_next_run();
            assert_eq!(host.hours().last(), Some(&6), "{misfire}: and goes on");
        }
    }
}

/// When each job of a rule of ten seconds came, started and ended, in seconds, and how. Each works for 25 seconds.
fn overlapping(overlap: Overlap) -> Vec<(u64, u64, u64, Status)> {
    let rule = "FREQ=SECONDLY;INTERVAL=10;COUNT=7";
    let mut host = Host::with(Definition { overlap, ..definition(rule, start()) }, seconds(25));
    host.settle();
    host.pass(240);
    let second = |at: Option<Timestamp>| at.expect("it has come").since(start()).as_secs();
    let row = |job: &Job| {
        let state = &job.state;
        (second(Some(scheduled_for(job))), second(state.started_on), second(state.completed_on), state.status)
    };
    host.jobs().iter().map(row).collect()
}

#[test]
fn f033_skip_leaves_out_what_comes_during_a_run() {
    let done = Status::Succeeded;
    assert_eq!(overlapping(Overlap::Skip), [(0, 0, 25, done), (30, 30, 55, done), (60, 60, 85, done)]);
}

#[test]
fn f033_queue_runs_one_after_another() {
    let expected = (0..7).map(|n| (n * 10, n * 25, n * 25 + 25, Status::Succeeded)).collect::<Vec<_>>();
    assert_eq!(overlapping(Overlap::Queue), expected);
}

#[test]
fn f033_allow_runs_side_by_side() {
    let expected = (0..7).map(|n| (n * 10, n * 10, n * 10 + 25, Status::Succeeded)).collect::<Vec<_>>();
    assert_eq!(overlapping(Overlap::Allow), expected);
}

#[test]
fn f033_cancel_previous_ends_the_run_before() {
    let canceled = (0..6).map(|n| (n * 10, n * 10, n * 10 + 10, Status::Canceled));
    let expected = canceled.chain([(60, 60, 85, Status::Succeeded)]).collect::<Vec<_>>();
    assert_eq!(overlapping(Overlap::CancelPrevious), expected);
}

/// A job of the rule at 0, which works for 25 seconds, one by hand at 1, which is over at once, another by hand at 2, and
/// the rule again at 10.
fn overlapping_runs_by_hand(overlap: Overlap) -> Host {
    let rule = "FREQ=SECONDLY;INTERVAL=10;COUNT=2";
    let mut host = Host::with(Definition { overlap, ..definition(rule, start()) }, seconds(25));
    host.settle();
    let first = host.jobs()[0].submission.id;
    for runs_by_hand in [1, 2] {
        host.pass(1);
        at_once(host.schedules.run_now(TENANT, &name(), None)).expect("it is made");
        host.settle();
        assert_eq!(host.jobs().len(), 1 + runs_by_hand);
    }
    assert_eq!(host.jobs()[1].state.status, Status::Succeeded);
    assert_eq!(host.schedules.job_in_the_way(&host.schedule()), Ok(Some(first)));
    host.pass(60);
    assert_eq!(host.schedules.job_in_the_way(&host.schedule()), Ok(None));
    host
}

#[test]
fn f033_a_run_by_hand_does_not_hide_the_job_of_the_rule_from_overlap() {
    let host = overlapping_runs_by_hand(Overlap::Skip);
    assert_eq!((host.jobs().len(), host.schedule().left_out), (3, 1));
    assert_eq!(host.schedule().last_left_out, Some(start().after(seconds(10))));

    let started = |host: &Host| host.jobs().last().and_then(|job| job.state.started_on);
    let host = overlapping_runs_by_hand(Overlap::CancelPrevious);
    let statuses: Vec<_> = host.jobs().iter().map(|job| job.state.status).collect();
    assert_eq!(statuses, [Status::Canceled, Status::Succeeded, Status::Canceled, Status::Succeeded]);
    assert_eq!(started(&host), Some(start().after(seconds(10))));

    let host = overlapping_runs_by_hand(Overlap::Queue);
    assert!(host.jobs().iter().all(|job| job.state.status == Status::Succeeded));
    assert_eq!(started(&host), Some(start().after(seconds(27))), "after both that were under way");
    assert_eq!(started(&overlapping_runs_by_hand(Overlap::Allow)), Some(start().after(seconds(10))));
}

#[test]
fn a_schedule_that_a_clock_ahead_has_silenced_goes_on_when_it_is_resumed() {
    let all = Definition { misfire: Misfire::RunAll(100), ..definition("FREQ=HOURLY", start()) };
    let mut host = Host::with(all, Duration::ZERO);
    host.settle();
    // The clock was three days ahead, and is set back.
    host.clock.advance(hours(72));
    host.settle();
    let ahead = host.schedule();
    assert_eq!(host.hours(), (0..72).collect::<Vec<_>>(), "the last one came while those before it ran");
    let mut host = Host::over(Arc::new(host.store.kill()), SimulatedClock::at(start().after(hours(1))), Duration::ZERO);
    assert!(ahead.warning(host.now()).is_some());
    let resumed = at_once(host.schedules.resume(TENANT, &name(), "test")).expect("it starts from now");
    assert_eq!((resumed.next_run, resumed.warning(host.now())), (Some(start().after(hours(1))), None));
    // What ran ahead of its time runs again when that comes, once, as the warning says.
    while host.now() < start().after(hours(74)) {
        host.go_to_the_next_run();
    }
    let again: Vec<_> = host.made().iter().map(scheduled_for).skip(72).collect();
    assert_eq!(again, (1..=74).map(|hour| start().after(hours(hour))).collect::<Vec<_>>());
}

#[test]
fn a_host_that_is_killed_again_and_again_fires_no_occurrence_twice() {
    let definition =
        Definition { misfire: Misfire::RunAll(10), overlap: Overlap::Allow, ..definition("FREQ=SECONDLY", start()) };
    let mut host = Host::with(definition, Duration::ZERO);
    for _ in 0..20 {
        host.settle();
        host.clock.advance(seconds(1));
        // It is killed in the middle: what the tick made is there, and nothing has run.
        host.scheduler.tick(host.now()).expect("memory can be read");
        host = host.restarted_after(Duration::from_millis(700));
    }
    host.settle();
    let passed = usize::try_from(host.now().since(start()).as_secs()).expect("small") + 1;
    assert_eq!(host.jobs().len(), passed, "each second has its job");
}
