//! Lists that have to look through many jobs: they find what is far back, and where their time is up they say how far they
//! have looked, and never that there is nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use backroom::app::{Runtime, RuntimeParts};
use backroom::clock::Clock;
use backroom::domain::admission::AdmissionPolicy;
use backroom::domain::change::Change;
use backroom::domain::id::{JobId, PluginName, RecordName, Sequence, TenantId, TokenName};
use backroom::domain::job::{Status, Submission};
use backroom::domain::query::{JobFilter, JobQuery};
use backroom::domain::time::Timestamp;
use backroom::jobs::{BulkAction, Jobs, Order, Sort, Step};
use backroom::registry::Policies;
use backroom::sandbox::scripted::{Script, ScriptedSandbox};
use backroom::store::Store;
use backroom::store::memory::MemoryStore;

/// A clock by which each look at it takes as long.
struct Ticking {
    now: AtomicI64,
    step: Duration,
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.step.as_micros()).expect("a short step");
        Timestamp(self.now.fetch_add(micros, Ordering::Relaxed))
    }
}

fn created_on(sequence: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + i64::try_from(sequence).expect("tests use small numbers"))
}

/// `count` jobs, of which the first alone has the tag `needle`, and what searches among them.
fn jobs_among(store: Arc<dyn Store>, count: u64, step: Duration) -> Arc<Jobs> {
    let plugin = PluginName::new("echo").expect("a name");
    for group in (1..=count).collect::<Vec<_>>().chunks(2_000) {
        let submit = |sequence: &u64| {
            let on = created_on(*sequence);
            let id = JobId::new(on, Sequence(*sequence), 7);
            let tags = if *sequence == 1 { vec!["needle".to_owned()] } else { Vec::new() };
            Change::Submit(Arc::new(Submission { tags, ..Submission::new(id, plugin.clone(), on) }), Box::default())
        };
        store.commit(group.iter().map(submit).collect()).wait().expect("there is room");
    }
    let clock: Arc<dyn Clock> = Arc::new(Ticking { now: AtomicI64::new(1_800_000_000_000_000), step });
    let sandbox = ScriptedSandbox::new(Arc::clone(&clock), |_| Script::succeeds("done"));
    let parts = RuntimeParts {
        store,
        sandbox: Arc::new(sandbox),
        clock,
        policies: Policies::default(),
        admission: AdmissionPolicy::default(),
        salt: 7,
        witness: None,
    };
    let (Runtime { jobs, .. }, started) = Runtime::join(parts).expect("the store can be read");
    started.wait().expect("the store takes it");
    Arc::new(jobs)
}

/// The tag and the word are looked for in the same way: through all jobs.
fn needles() -> [JobFilter; 2] {
    let tag = JobFilter { tag: Some("needle".to_owned()), ..JobFilter::default() };
    let text = JobFilter { text: Some("NEEDLE".to_owned()), ..JobFilter::default() };
    [tag, text]
}

fn found_far_back(store: Arc<dyn Store>) {
    let jobs = jobs_among(store, 25_000, Duration::ZERO);
    for filter in needles() {
        assert!(filter.is_looked_through());
        let query = JobQuery { filter, limit: 50, ..JobQuery::default() };
        let found = jobs.search(&query, Sort::Newest).expect("it can be read");
        let sequences: Vec<_> = found.jobs.iter().map(|job| job.submission.id.sequence().0).collect();
        assert_eq!((sequences, found.next, found.looked_to), (vec![1], None, None));
    }
}

fn out_of_time(store: Arc<dyn Store>) {
    // A second is up after two bounded looks.
    let jobs = jobs_among(store, 45_000, Duration::from_millis(600));
    for filter in needles() {
        let mut query = JobQuery { filter, limit: 50, ..JobQuery::default() };
        let found = jobs.search(&query, Sort::Newest).expect("it can be read");
        let next = found.next.expect("not all were looked at");
        assert_eq!(found.looked_to, Some(created_on(next.0)), "it says how far it looked");
        assert!(found.jobs.is_empty() && next > Sequence(1) && next < Sequence(25_000), "{next:?}");
        query.before = Some(next);
        let found = jobs.search(&query, Sort::Newest).expect("it can be read");
        assert_eq!((found.jobs.len(), found.next), (1, None), "going on finds it");
    }
    // The other order, among jobs that do not match.
    let filter = JobFilter { tag: Some("nothing".to_owned()), ..JobFilter::default() };
    let mut query = JobQuery { filter, limit: 50, ..JobQuery::default() };
    let first = jobs.search(&query, Sort::Oldest).expect("it can be read");
    let next = first.next.expect("not all were looked at");
    assert_eq!(first.looked_to, Some(created_on(next.0 - 1)));
    query.before = Some(next);
    let second = jobs.search(&query, Sort::Oldest).expect("it can be read");
    assert!(second.looked_to > first.looked_to, "{second:?}");
}

/// Commands by filter look as long as a search does, and say how far they have come, too.
fn commands_out_of_time(store: Arc<dyn Store>) {
    let jobs = jobs_among(store, 45_000, Duration::from_millis(600));
    let [filter, _] = needles();
    let mut action = BulkAction {
        tenant: TenantId::DEFAULT,
        filter,
        step: Step::Order(Order::Cancel),
        by: "somebody".to_owned(),
        reason: None,
        is_dry_run: true,
        limit: 1_000,
        before: None,
    };
    let report = at_once(jobs.act(&action)).expect("it can be read");
    let next = report.next.expect("not all were looked at");
    assert_eq!(report.looked_to, Some(created_on(next.0)), "it says how far it looked");
    assert!(report.results.is_empty() && next > Sequence(1) && next < Sequence(25_000), "{next:?}");
    action.before = Some(next);
    let report = at_once(jobs.act(&action)).expect("it can be read");
    assert_eq!((report.results.len(), report.next, report.looked_to), (1, None, None), "going on finds it");
}

fn at_once<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

mod memory {
    use super::*;

    #[test]
    fn a_command_whose_time_is_up_says_how_far_it_looked() {
        commands_out_of_time(Arc::new(MemoryStore::new()));
    }

    #[test]
    fn what_is_far_back_is_found() {
        found_far_back(Arc::new(MemoryStore::new()));
    }

    #[test]
    fn a_search_whose_time_is_up_says_how_far_it_looked() {
        out_of_time(Arc::new(MemoryStore::new()));
    }
}

#[cfg(feature = "host")]
mod sled {
    use backroom::store::sled::{SledSettings, SledStore};

    use super::*;

    #[test]
    fn what_is_far_back_is_found_and_a_search_whose_time_is_up_says_how_far_it_looked() {
        for check in [found_far_back, out_of_time, commands_out_of_time] {
            let directory = tempfile::tempdir().expect("a temporary directory can be made");
            let settings = SledSettings { min_free_bytes: 0, ..SledSettings::new(directory.path()) };
            check(Arc::new(SledStore::open(settings).expect("the store opens")));
        }
    }
}

#[test]
fn searches_take_turns_and_what_an_index_answers_does_not_wait() {
    at_once(take_turns(&jobs_among(Arc::new(MemoryStore::new()), 1, Duration::ZERO)));
}

#[test]
fn what_is_asked_beside_what_an_index_answers_is_looked_through() {
    let any = JobFilter::default;
    let (owner, batch) = (TokenName::new("shop").ok(), Some(JobId::new(created_on(1), Sequence(1), 7)));
    let (text, tag) = (Some("word".to_owned()), Some("tag".to_owned()));
    let with = |statuses: &[Status]| statuses.to_vec();
    let looked_up = [
        any(),
        JobFilter { owner: owner.clone(), ..any() },
        JobFilter { batch, ..any() },
        JobFilter { chain: batch, regarding: RecordName::new("order-1").ok(), ..any() },
        JobFilter { statuses: with(&[Status::Failed, Status::Waiting, Status::Running, Status::Canceling]), ..any() },
    ];
    let looked_through = [
        JobFilter { owner: owner.clone(), text: text.clone(), ..any() },
        JobFilter { owner: owner.clone(), statuses: with(&[Status::Failed]), ..any() },
        JobFilter { owner, batch, ..any() },
        JobFilter { batch, tag: tag.clone(), ..any() },
        JobFilter { statuses: with(&[Status::Failed]), text, ..any() },
        JobFilter { statuses: with(&[Status::Queued]), ..any() },
        JobFilter { statuses: with(&[Status::Failed, Status::Succeeded]), ..any() },
        JobFilter { tag, ..any() },
    ];
    looked_up.iter().for_each(|filter| assert!(!filter.is_looked_through(), "{filter:?}"));
    looked_through.iter().for_each(|filter| assert!(filter.is_looked_through(), "{filter:?}"));
}

async fn take_turns(jobs: &Jobs) {
    let [tag, _] = needles();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut turns = Vec::new();
    for _ in 0..(processors / 2).max(1) {
        turns.push(jobs.search_turn(&tag).await.expect("there is a turn").expect("it needs one"));
    }
    let waiting = jobs.search_turn(&tag);
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
    assert!(early.is_err(), "as many search as may");
    let indexed = JobFilter { statuses: vec![Status::Failed], ..JobFilter::default() };
    assert!(jobs.search_turn(&indexed).await.expect("it needs none").is_none());
    assert!(jobs.search_turn(&JobFilter::default()).await.expect("it needs none").is_none());
    turns.pop();
    assert!(waiting.await.expect("one has ended").is_some());
}
