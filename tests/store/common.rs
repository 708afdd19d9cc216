//! Stores to test, and jobs to put into them.

use std::ops::Deref;
use std::sync::Arc;

use backroom::domain::access::{Rights, Token};
use backroom::domain::breaker::{Breaker, BreakerPolicy, PluginBreaker};
use backroom::domain::change::Change;
use backroom::domain::failure::{ErrorClass, Failure};
use backroom::domain::id::{
    DedupKey, Digest, HostId, JobId, JobKey, OrderingKey, PluginName, QueueName, RecordName, ScheduleName, Sequence,
    TenantId, TokenName, VersionName,
};
use backroom::domain::job::{Job, JobState, Lease, Payload, Run, RunEnd, Status, Submission, Ties, WaitReason};
use backroom::domain::limits::Usage;
use backroom::domain::queue::Lane;
use backroom::domain::time::Timestamp;
use backroom::store::memory::MemoryStore;
use backroom::store::{CommitError, Store};

/// A store, and the directory that goes with it.
pub(crate) struct Opened {
    store: Box<dyn Store>,
    #[cfg(feature = "host")]
    _directory: Option<tempfile::TempDir>,
}

impl Deref for Opened {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

pub(crate) fn memory() -> Opened {
    Opened {
        store: Box::new(MemoryStore::new()),
        #[cfg(feature = "host")]
        _directory: None,
    }
}

#[cfg(feature = "host")]
pub(crate) fn sled() -> Opened {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(directory.path());
    Opened { store: Box::new(store), _directory: Some(directory) }
}

/// Small segments, so that tests see many of them.
#[cfg(feature = "host")]
pub(crate) fn settings(path: &std::path::Path) -> backroom::store::sled::SledSettings {
    backroom::store::sled::SledSettings {
        cache_bytes: 8 << 20,
        min_free_bytes: 0,
        segment_bytes: 64 << 10,
        checkpoint_bytes: 192 << 10,
        keep_journal_bytes: 0,
        snapshot_bytes: 256 << 10,
        ..backroom::store::sled::SledSettings::new(path)
    }
}

#[cfg(feature = "host")]
pub(crate) fn open(path: &std::path::Path) -> backroom::store::sled::SledStore {
    backroom::store::sled::SledStore::open(settings(path)).expect("the store opens")
}

/// The files of a folder whose names end so, in order.
pub(crate) fn files(directory: &std::path::Path, end: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let mut found: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    found.sort();
    found
}

/// The tree of a store that was closed just now: its last threads may still be at work, and hold its lock for a moment.
#[cfg(feature = "host")]
pub(crate) fn open_index(path: &std::path::Path) -> sled::Db {
    let config = sled::Config::new().path(path.join("index")).flush_every_ms(None);
    let is_held = |error: &sled::Error| error.to_string().contains("could not acquire lock");
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match config.open() {
            Err(error) if is_held(&error) && std::time::Instant::now() < give_up => std::thread::yield_now(),
            opened => return opened.expect("the index opens"),
        }
    }
}

/// Runs each test on every store.
macro_rules! on_every_store {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $test() { super::$test(&*crate::common::memory()) })*
        }
        #[cfg(feature = "host")]
        mod sled {
            $(#[test] fn $test() { super::$test(&*crate::common::sled()) })*
        }
    };
}
pub(crate) use on_every_store;

pub(crate) fn time(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

pub(crate) fn key(sequence: u64) -> JobKey {
    JobKey { tenant: TenantId::DEFAULT, sequence: Sequence(sequence) }
}

pub(crate) fn plugin(name: &str) -> PluginName {
    PluginName::new(name).expect("the test names it well")
}

pub(crate) fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("the test names it well")
}

pub(crate) fn ordering_key(text: &str) -> OrderingKey {
    OrderingKey::new(text).expect("the test names it well")
}

pub(crate) fn dedup_key(text: &str) -> DedupKey {
    DedupKey::new(text).expect("the test names it well")
}

pub(crate) fn record(text: &str) -> RecordName {
    RecordName::new(text).expect("the test names it well")
}

pub(crate) fn schedule(text: &str) -> ScheduleName {
    ScheduleName::new(text).expect("the test names it well")
}

pub(crate) fn submission(sequence: u64) -> Submission {
    let created_on = time(1_700_000_000 + i64::try_from(sequence).expect("tests use small numbers"));
    let id = JobId::new(created_on, Sequence(sequence), 7);
    Submission { input: Payload::Inline(vec![b'x'; 100].into()), ..Submission::new(id, plugin("mailer"), created_on) }
}

pub(crate) fn submit(sequence: u64) -> Change {
    submit_as(submission(sequence))
}

pub(crate) fn submit_as(submission: Submission) -> Change {
    Change::Submit(Arc::new(submission), Box::default())
}

pub(crate) fn tied(sequence: u64, ties: Ties) -> Submission {
    Submission { ties: Some(Arc::new(ties)), ..submission(sequence) }
}

/// A job that has an ordering key.
pub(crate) fn keyed(sequence: u64, key: &str) -> Change {
    submit_as(tied(sequence, Ties { ordering_key: Some(ordering_key(key)), ..Ties::default() }))
}

/// A job that waits for others by name.
pub(crate) fn after(sequence: u64, named: &[u64]) -> Change {
    let after = named.iter().map(|named| submission(*named).id).collect();
    submit_as(tied(sequence, Ties { after, ..Ties::default() }))
}

pub(crate) fn delete(store: &dyn Store, sequence: u64) {
    let expected = state(store, sequence).revision;
    must(store, vec![Change::Delete { job: key(sequence), expected }]);
}

pub(crate) fn advance(job: JobKey, next: JobState) -> Change {
    let expected = next.revision - 1;
    Change::Advance { job, expected, next: Box::new(next), earlier_run: None }
}

pub(crate) fn running(before: &JobState) -> JobState {
    JobState {
        status: Status::Running,
        revision: before.revision + 1,
        fence: before.fence + 1,
        runs: before.runs + 1,
        lease: Some(Lease { host: HostId(1), until: time(1_700_000_060) }),
        run_started_on: Some(time(1_700_000_000)),
        ..before.clone()
    }
}

pub(crate) fn waiting(before: &JobState, until: i64) -> JobState {
    JobState {
        status: Status::Waiting,
        wait_reason: Some(WaitReason::Postponed),
        revision: before.revision + 1,
        postpone_until: Some(time(until)),
        lease: None,
        ..before.clone()
    }
}

pub(crate) fn queued(before: &JobState) -> JobState {
    JobState {
        status: Status::Queued,
        wait_reason: None,
        revision: before.revision + 1,
        postpone_until: None,
        lease: None,
        ..before.clone()
    }
}

/// The breaker of a plug-in that has just failed too often, or of one that has not failed.
pub(crate) fn breaker(tenant: u32, name: &str, opened_on: Option<i64>) -> PluginBreaker {
    let policy = BreakerPolicy { window: 1, least_failures: 1, ..BreakerPolicy::default() };
    let mut breaker = Breaker::default();
    if let Some(second) = opened_on {
        breaker.ended(&policy, false, time(second), time(second));
    }
    PluginBreaker { tenant: TenantId(tenant), plugin: plugin(name), breaker }
}

/// A token that opens everything.
pub(crate) fn token(tenant: u32, name: &str) -> Token {
    Token {
        tenant: TenantId(tenant),
        name: token_name(name),
        digest: Digest([7; 32]),
        rights: Rights::ALL,
        created_on: time(1),
        created_by: "somebody".to_owned(),
        expires_on: None,
    }
}

pub(crate) fn put_token(token: Token) -> Change {
    Change::put(token)
}

pub(crate) fn remove_token(tenant: u32, name: &str) -> Change {
    Change::remove(&token(tenant, name))
}

pub(crate) fn token_name(name: &str) -> TokenName {
    TokenName::new(name).expect("a name")
}

pub(crate) fn run(number: u32) -> Run {
    Run {
        number,
        attempt: number,
        host: HostId(1),
        version: VersionName::new("1.2.3").ok(),
        started_on: time(1_700_000_000),
        ended_on: time(1_700_000_001),
        end: RunEnd::Succeeded,
        failure: None,
        usage: Usage { fuel: 12_345, wall_micros: 678, ..Usage::default() },
        log: None,
    }
}

pub(crate) fn ended(before: &JobState, status: Status) -> JobState {
    JobState {
        status,
        wait_reason: None,
        revision: before.revision + 1,
        postpone_until: None,
        lease: None,
        completed_on: Some(time(1_700_000_002)),
        last_run: Some(run(before.runs.max(1))),
        output: Some(Payload::Inline(b"done".to_vec().into())),
        ..before.clone()
    }
}

/// A job that failed with these words.
pub(crate) fn failed(before: &JobState, message: &str) -> JobState {
    let failure = Failure { class: ErrorClass::Business, code: None, message: message.to_owned(), detail: None };
    JobState { failure: Some(failure), ..ended(before, Status::Failed) }
}

pub(crate) fn commit(store: &dyn Store, changes: Vec<Change>) -> Result<(), CommitError> {
    store.commit(changes).wait()
}

pub(crate) fn must(store: &dyn Store, changes: Vec<Change>) {
    commit(store, changes).expect("the commit follows what is stored");
}

pub(crate) fn job(store: &dyn Store, sequence: u64) -> Option<Job> {
    store.job(key(sequence)).expect("the store can be read")
}

pub(crate) fn state(store: &dyn Store, sequence: u64) -> JobState {
    job(store, sequence).expect("the job is there").state
}

/// Brings a job to what `next` makes of its present state.
pub(crate) fn step(store: &dyn Store, sequence: u64, next: impl FnOnce(&JobState) -> JobState) {
    let next = next(&state(store, sequence));
    must(store, vec![advance(key(sequence), next)]);
}

pub(crate) fn sequences(jobs: &[Job]) -> Vec<u64> {
    jobs.iter().map(|job| job.submission.key().sequence.0).collect()
}

pub(crate) fn places(jobs: &[JobKey]) -> Vec<u64> {
    jobs.iter().map(|job| job.sequence.0).collect()
}

/// The lane of the usual jobs in a queue.
pub(crate) fn lane(name: &str) -> Lane {
    Lane { queue: queue(name), plugin: plugin("mailer"), tenant: TenantId::DEFAULT, key: None }
}

/// The ready jobs of a queue, all of them of the usual plug-in.
pub(crate) fn ready(store: &dyn Store, name: &str) -> Vec<u64> {
    sequences(&store.ready(&lane(name), 1000).expect("it can be read"))
}
