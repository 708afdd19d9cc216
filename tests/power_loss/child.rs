//! The process that is traced: it works on a store from several threads and says on its standard error what it is about
//! to ask for (`TRY`) and what was acknowledged (`ACK`), one write a line.
//!
//! ```text
//! TRY 17 S 41 2000; S 42 9; A 40 3 60; D 12; P mailer-1 4; K key-9
//! ACK 17
//! ```
//! `S` submits a job with an input of so many bytes, `A` advances one to a revision and a status code, `D` deletes one,
//! `P` puts a revision of a plug-in, `K` remembers a key. Claims get no `ACK`: nobody waits for them.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use backroom::domain::change::{Change, RememberedSubmit};
use backroom::domain::id::{Digest, JobId, Sequence, TenantId, VersionName};
use backroom::domain::job::{JobState, Status};
use backroom::domain::plugin::{Inspection, Plugin, PluginVersion, Shape, Wishes};
use backroom::domain::service::Durability;
use backroom::store::sled::{SledSettings, SledStore};
use backroom::store::{Pending, Store, put_payload};

use crate::Random;
use crate::common;

const THREADS: u64 = 3;
/// The store is closed and opened again so often.
const OPENINGS: u64 = 2;
/// A round of churn brings so many jobs, one of the others fewer.
const JOBS_A_ROUND: u64 = 16;
/// So many jobs that have ended are left when a worker removes the others.
const KEPT_BY_RETENTION: usize = 12;

/// What the process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Jobs of all sizes and ends, most of which stay.
    Steady,
    /// Jobs come in numbers, run and are removed, so that the index frees its space and uses it again.
    Churn,
}

impl Pattern {
    pub(crate) const ALL: [Self; 2] = [Self::Steady, Self::Churn];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Churn => "churn",
        }
    }

    /// Under churn the index uses space again that it has freed since the last checkpoint, and none of that is synced.
    fn checkpoint_bytes(self) -> u64 {
        match self {
            Self::Steady => 45_000,
            Self::Churn => 1_500_000,
        }
    }

    /// Snapshots are written under load, so that the journal does not reach back to the first group.
    fn snapshot_bytes(self) -> u64 {
        match self {
            Self::Steady => 100_000,
            Self::Churn => 1_000_000,
        }
    }

    fn rounds(self) -> u64 {
        match self {
            Self::Steady => 45,
            Self::Churn => 70,
        }
    }
}
/// Far longer than it takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(600);

static COMMITS: AtomicU64 = AtomicU64::new(0);

/// Small segments and frequent checkpoints: segments are filled, dropped and used again within the trace.
pub(crate) fn settings(path: &Path, durability: Durability, pattern: Pattern) -> SledSettings {
    SledSettings {
        durability,
        cache_bytes: 8 << 20,
        min_free_bytes: 0,
        segment_bytes: 32 << 10,
        checkpoint_bytes: pattern.checkpoint_bytes(),
        keep_journal_bytes: 0,
        snapshot_bytes: pattern.snapshot_bytes(),
        ..SledSettings::new(path)
    }
}

/// The bytes of the input or output of a job.
pub(crate) fn bytes_of(sequence: u64, length: usize) -> Vec<u8> {
    let mut random = Random(sequence);
    (0..length).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect()
}

pub(crate) fn run(path: &Path, durability: Durability, pattern: Pattern, seed: u64) {
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("the traced process takes too long");
            std::process::exit(3);
        }
    });
    let mut workers: Vec<_> = (0..THREADS).map(|number| Worker::new(number, seed)).collect();
    for _ in 0..OPENINGS {
        let store = SledStore::open(settings(path, durability, pattern)).expect("the store opens");
        let before = store.reserve(1).0;
        std::thread::scope(|scope| {
            for worker in &mut workers {
                scope.spawn(|| {
                    (0..pattern.rounds()).for_each(|_| match pattern {
                        Pattern::Steady => worker.round(&store),
                        Pattern::Churn => worker.churn(&store),
                    });
                });
            }
        });
        let given = store.reserve(1).0 - before;
        assert!(given < THREADS * pattern.rounds() * JOBS_A_ROUND + 10, "{given} sequences are gone for a few jobs");
    }
    until_let_go(path);
    drop(done);
}

/// Threads of the tree outlive the store for a moment. What they still write must not be cut off by our own end: a call that
/// the trace shows as begun might never have been made.
fn until_let_go(path: &Path) {
    let tree = std::fs::File::open(path.join("index/db")).expect("the tree is there");
    let give_up = std::time::Instant::now() + Duration::from_secs(10);
    while tree.try_lock().is_err() && std::time::Instant::now() < give_up {
        std::thread::yield_now();
    }
}

fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("somebody listens");
}

/// A commit under way: its number and whether it is acknowledged to somebody.
struct Asked {
    number: u64,
    pending: Pending,
}

fn ask(store: &SledStore, changes: Vec<Change>) -> Asked {
    let number = COMMITS.fetch_add(1, Ordering::Relaxed);
    let words: Vec<_> = changes.iter().map(describe).collect();
    say(&format!("TRY {number} {}", words.join("; ")));
    Asked { number, pending: store.commit(changes) }
}

impl Asked {
    fn wait(self) {
        self.pending.wait().expect("nobody else changes these jobs");
        say(&format!("ACK {}", self.number));
    }
}

fn describe(change: &Change) -> String {
    match change {
        Change::Submit(submission, _) => format!("S {} {}", submission.key().sequence.0, submission.input.len()),
        Change::Advance { job, next, .. } => format!("A {} {} {}", job.sequence.0, next.revision, next.status.code()),
        Change::Delete { job, .. } => format!("D {}", job.sequence.0),
        Change::Put(_) => match (change.row::<Plugin>(), change.row::<RememberedSubmit>()) {
            (Some(plugin), _) => format!("P {} {}", plugin.name, plugin.revision),
            (_, Some(submit)) => format!("K {}", submit.key),
            (None, None) => unreachable!("the workers do not ask for {change:?}"),
        },
        other => unreachable!("the workers do not ask for {other:?}"),
    }
}

/// One caller, with jobs of its own.
struct Worker {
    number: u64,
    random: Random,
    rounds: u64,
    /// Jobs that have ended and can be deleted, with their revisions.
    ended: Vec<(u64, u32)>,
}

impl Worker {
    fn new(number: u64, seed: u64) -> Self {
        Self { number, random: Random(seed ^ (number + 1) << 32), rounds: 0, ended: Vec::new() }
    }

    fn round(&mut self, store: &SledStore) {
        self.rounds += 1;
        let jobs = 1 + self.random.below(4);
        let first = store.reserve(jobs).0;
        let sequences: Vec<_> = (first..first + jobs).collect();
        self.submit(store, &sequences);
        for sequence in sequences {
            self.process(store, sequence);
        }
        if self.random.below(3) == 0 && !self.ended.is_empty() {
            self.delete(store);
        }
        if self.rounds.is_multiple_of(8) {
            ask(store, vec![Change::put(self.plugin())]).wait();
        }
    }

    /// A portion of jobs is submitted, runs, ends, and older ones are removed.
    fn churn(&mut self, store: &SledStore) {
        self.rounds += 1;
        let first = store.reserve(JOBS_A_ROUND).0;
        let jobs: Vec<_> = (first..first + JOBS_A_ROUND).map(|sequence| (sequence, self.draw_length())).collect();
        let submits = jobs.iter().map(|(sequence, length)| submission(store, *sequence, *length)).collect();
        ask(store, submits).wait();
        let claimed = common::running(&JobState::default());
        let claims = jobs.iter().map(|(sequence, _)| common::advance(common::key(*sequence), claimed.clone()));
        drop(ask(store, claims.collect()).pending);
        let mut ends = Vec::new();
        for (sequence, length) in &jobs {
            let output = put_payload(store, bytes_of(*sequence, *length).into()).expect("there is room");
            let ended = JobState { output: Some(output), ..common::ended(&claimed, Status::Succeeded) };
            self.ended.push((*sequence, ended.revision));
            ends.push(common::advance(common::key(*sequence), ended));
        }
        ask(store, ends).wait();
        let old = self.ended.len().saturating_sub(KEPT_BY_RETENTION);
        let delete = |(sequence, expected)| Change::Delete { job: common::key(sequence), expected };
        let deletions: Vec<_> = self.ended.drain(..old).map(delete).collect();
        // Purge is one commit for many, retention one for a few.
        for some in deletions.chunks(if self.random.below(2) == 0 { 100 } else { 5 }) {
            ask(store, some.to_vec()).wait();
        }
    }

    /// Most payloads lie in the index, some are blobs.
    fn draw_length(&mut self) -> usize {
        [60, 500, 900, 900, 1_000, 1_000, 1_020, 2_000][usize::try_from(self.random.below(8)).expect("an index")]
    }

    /// In one commit, or in one each that are on their way together.
    fn submit(&mut self, store: &SledStore, sequences: &[u64]) {
        let lengths = [5, 150, 900, 3_000, 20_000];
        let mut draw = || lengths[usize::try_from(self.random.below(5)).expect("an index")];
        let mut submits: Vec<_> = sequences.iter().map(|sequence| submission(store, *sequence, draw())).collect();
        if self.random.below(2) == 0 {
            submits.push(remember(sequences[0]));
            ask(store, submits).wait();
        } else {
            let asked: Vec<_> = submits.into_iter().map(|submit| ask(store, vec![submit])).collect();
            asked.into_iter().for_each(Asked::wait);
        }
    }

    fn process(&mut self, store: &SledStore, sequence: u64) {
        let key = common::key(sequence);
        let claimed = common::running(&JobState::default());
        drop(ask(store, vec![common::advance(key, claimed.clone())]).pending);
        let mut state = claimed;
        match self.random.below(8) {
            0 => return,
            1 => {
                state = common::waiting(&state, 1_800_000_000);
                ask(store, vec![common::advance(key, state)]).wait();
                return;
            }
            2 => {
                state = common::queued(&state);
                ask(store, vec![common::advance(key, state.clone())]).wait();
                state = common::running(&state);
                drop(ask(store, vec![common::advance(key, state.clone())]).pending);
            }
            _ => {}
        }
        let length = [3, 700, 2_500][usize::try_from(self.random.below(3)).expect("an index")];
        let output = put_payload(store, bytes_of(sequence, length).into()).expect("there is room");
        let ended = JobState { output: Some(output), ..common::ended(&state, Status::Succeeded) };
        self.ended.push((sequence, ended.revision));
        ask(store, vec![common::advance(key, ended)]).wait();
    }

    fn delete(&mut self, store: &SledStore) {
        let at = usize::try_from(self.random.below(self.ended.len() as u64)).expect("an index");
        let (sequence, expected) = self.ended.swap_remove(at);
        ask(store, vec![Change::Delete { job: common::key(sequence), expected }]).wait();
    }

    fn plugin(&self) -> Plugin {
        let version = VersionName::new("1.0.0").expect("it is a name");
        let inspection = Inspection {
            shape: Shape::Handler,
            imports: Vec::new(),
            exports: Vec::new(),
            handlers: None,
            digest: Digest([1; 32]),
            bytes: 9,
        };
        Plugin {
            tenant: TenantId::DEFAULT,
            name: common::plugin(&format!("worker-{}", self.number)),
            revision: u32::try_from(self.rounds / 8).expect("few rounds"),
            versions: vec![PluginVersion {
                version: version.clone(),
                inspection,
                wishes: Wishes::default(),
                uploaded_on: common::time(1_700_000_000),
                is_pending: false,
            }],
            grants: Vec::new(),
            active: Some(version),
            previous: None,
            disabled: false,
            pause: None,
        }
    }
}

fn submission(store: &SledStore, sequence: u64, length: usize) -> Change {
    let input = put_payload(store, bytes_of(sequence, length).into()).expect("there is room");
    common::submit_as(backroom::domain::job::Submission { input, ..common::submission(sequence) })
}

fn remember(sequence: u64) -> Change {
    let on = common::time(1_700_000_000);
    Change::put(RememberedSubmit {
        tenant: TenantId::DEFAULT,
        key: format!("key-{sequence}"),
        fingerprint: sequence,
        jobs: vec![JobId::new(on, Sequence(sequence), 7)],
        next: None,
        end: None,
        on,
        until: common::time(1_900_000_000),
    })
}
