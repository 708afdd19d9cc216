//! What a job costs in the store: submit, claim and finish, in groups of several sizes, with durability `power`.
//!
//! `cargo bench --bench store` prints, for each size of group, the time and the processor time of a job.

use std::sync::Arc;
use std::time::Instant;

use backroom::domain::change::Change;
use backroom::domain::id::{HostId, JobId, PluginName, Sequence, VersionName};
use backroom::domain::job::{JobState, Lease, Payload, Run, RunEnd, Status, Submission};
use backroom::domain::limits::Usage;
use backroom::domain::time::Timestamp;
use backroom::store::Store;
use backroom::store::sled::{SledSettings, SledStore};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

fn main() {
    println!("{:>8} {:>10} {:>12} {:>14} {:>10}", "group", "jobs", "us per job", "cpu us per job", "fsyncs");
    for (group, jobs) in [(1, 2_000), (64, 50_000), (256, 100_000), (1024, 100_000)] {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let store = SledStore::open(SledSettings::new(directory.path())).expect("the store opens");
        let (started, cpu) = (Instant::now(), cpu_micros());
        for _ in 0..jobs / group {
            round(&store, group);
        }
        let (micros, cpu) = (started.elapsed().as_micros(), cpu_micros() - cpu);
        let per_job = |micros: u128| micros as f64 / jobs as f64;
        let syncs = store.stats().fsyncs;
        println!("{group:>8} {jobs:>10} {:>12.2} {:>14.2} {syncs:>10}", per_job(micros), per_job(cpu));
    }
}

/// Submits, claims and finishes as many jobs, each change in a commit of its own, as a busy host does.
fn round(store: &SledStore, group: u64) {
    let first = store.reserve(group).0;
    let all = |change: &dyn Fn(u64) -> Change| {
        let pending: Vec<_> = (first..first + group).map(|sequence| store.commit(vec![change(sequence)])).collect();
        pending.into_iter().for_each(|pending| pending.wait().expect("nobody else changes these jobs"));
    };
    all(&|sequence| Change::Submit(Arc::new(submission(sequence)), Box::default()));
    all(&|sequence| advance(sequence, claimed()));
    all(&|sequence| advance(sequence, done()));
}

fn advance(sequence: u64, next: JobState) -> Change {
    let job = submission(sequence).key();
    Change::Advance { job, expected: next.revision - 1, next: Box::new(next), earlier_run: None }
}

fn submission(sequence: u64) -> Submission {
    let id = JobId::new(NOW, Sequence(sequence), 3);
    let plugin = PluginName::new("no-op").expect("it is a name");
    Submission { input: Payload::Inline(vec![b'x'; 128].into()), ..Submission::new(id, plugin, NOW) }
}

fn claimed() -> JobState {
    JobState {
        status: Status::Running,
        revision: 1,
        fence: 1,
        attempt: 1,
        runs: 1,
        lease: Some(Lease { host: HostId(1), until: NOW }),
        started_on: Some(NOW),
        run_started_on: Some(NOW),
        version: VersionName::new("1.0.0").ok(),
        ..JobState::default()
    }
}

fn done() -> JobState {
    let run = Run {
        number: 1,
        attempt: 1,
        host: HostId(1),
        version: VersionName::new("1.0.0").ok(),
        started_on: NOW,
        ended_on: NOW,
        end: RunEnd::Succeeded,
        failure: None,
        usage: Usage { fuel: 12_345, cpu_micros: 20, wall_micros: 30, peak_memory_bytes: 1 << 20, ..Usage::default() },
        log: None,
    };
    JobState {
        status: Status::Succeeded,
        revision: 2,
        lease: None,
        run_started_on: None,
        completed_on: Some(NOW),
        last_run: Some(run),
        output: Some(Payload::Inline(b"ok".to_vec().into())),
        ..claimed()
    }
}

/// Processor time of this process so far, of all threads.
fn cpu_micros() -> u128 {
    let times = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = times.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u128 = fields.filter_map(|field| field.parse::<u128>().ok()).sum();
    ticks * 10_000
}
