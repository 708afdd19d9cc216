//! Kills the host with SIGKILL at random moments under load, again and again, and checks after each restart and at the end
//! that no acknowledged job is lost, none is finished twice, no occurrence of a schedule has two jobs, and the store verifies.
//!
//! `BACKROOM_CRASH_ROUNDS=200 cargo test --test crash` kills as often as asked; `BACKROOM_SEED=n` repeats the moments.

#[path = "../support/mod.rs"]
mod support;

mod host;
mod readers;
mod resources;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use host::Host;
use serde_json::json;

/// How often the host is killed when nothing else is asked for.
const ROUNDS: u64 = 20;

/// Callers that submit one job at a time, each with a key that it repeats until it has an answer.
const CALLERS: usize = 3;

/// The schedule that fires every second meanwhile; its jobs have a tag of that name.
const SCHEDULE: &str = "every-second";

/// Longer than the rest of the work takes on a machine that works at all.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the callers know: the job that was acknowledged for each key, and the keys that got no answer.
#[derive(Default)]
struct Known {
    by_key: BTreeMap<String, String>,
    in_bulk: Vec<String>,
    unanswered: Vec<String>,
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_finished_twice() {
    let folder = tempfile::tempdir().expect("a folder for the store");
    let seed = number_from_env("BACKROOM_SEED").unwrap_or(0x5eed);
    let rounds = number_from_env("BACKROOM_CRASH_ROUNDS").unwrap_or(ROUNDS);
    println!("seed {seed}, {rounds} rounds");
    let mut random = Random(seed);
    let mut known = Known::default();

    let host = Host::start(folder.path());
    host.upload("echo", &support::built_plugin("echo"));
    host.schedule_every_second(SCHEDULE);
    drop(host);
    for round in 0..rounds {
        let host = Host::start(folder.path());
        assert_all_known(&host, &known, 40, &mut random);
        load_until_killed(host, round, &mut known, Duration::from_millis(30 + random.below(500)));
        host::verify_store(folder.path());
    }

    let host = Host::start(folder.path());
    resubmit_unanswered(&host, &mut known);
    host.remove_schedule(SCHEDULE);
    wait_until_idle(&host);
    let acknowledged: Vec<_> = known.by_key.values().chain(&known.in_bulk).collect();
    println!("{} jobs were acknowledged", acknowledged.len());
    assert!(acknowledged.len() > 100, "the callers got next to nothing done: the test tests nothing");
    acknowledged.iter().for_each(|id| assert_finished_once(&host, id));
    assert_one_job_a_key(&known);
    assert_one_job_an_occurrence(&host);
    drop(host);
    host::verify_store(folder.path());
}

/// Submits from several callers at once until the host is killed in their midst.
fn load_until_killed(host: Host, round: u64, known: &mut Known, lives_for: Duration) {
    let over = AtomicBool::new(false);
    let learned = std::thread::scope(|scope| {
        let over = &over;
        let address = host.address.clone();
        let mut callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let address = address.clone();
                scope.spawn(move || submit_singly(&address, &format!("{round}-{caller}"), over))
            })
            .collect();
        callers.push(scope.spawn(move || submit_in_bulk(&address, over)));
        let killed_at = Instant::now() + lives_for;
        while Instant::now() < killed_at {
            std::thread::yield_now();
        }
        drop(host);
        over.store(true, Ordering::Relaxed);
        let joined = callers.into_iter().map(|caller| caller.join().expect("a caller does not panic"));
        joined.collect::<Vec<_>>()
    });
    for mut more in learned {
        known.by_key.append(&mut more.by_key);
        known.in_bulk.append(&mut more.in_bulk);
        known.unanswered.append(&mut more.unanswered);
    }
}

fn submit_singly(address: &str, prefix: &str, over: &AtomicBool) -> Known {
    let mut known = Known::default();
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{prefix}-{number}");
        match host::submit(address, &key) {
            Some(id) => {
                known.by_key.insert(key, id);
            }
            None => known.unanswered.push(key),
        }
    }
    // All that came after the kill was never sent; the first unanswered one may have been taken.
    known.unanswered.truncate(1);
    known
}

fn submit_in_bulk(address: &str, over: &AtomicBool) -> Known {
    let mut known = Known::default();
    let body = format!("{}\n", json!({ "plugin": "echo", "input": "bulk" })).repeat(50);
    while !over.load(Ordering::Relaxed) {
        let Some(mut ids) = host::submit_bulk(address, &body) else { break };
        known.in_bulk.append(&mut ids);
    }
    known
}

fn resubmit_unanswered(host: &Host, known: &mut Known) {
    for key in std::mem::take(&mut known.unanswered) {
        let id = host::submit(&host.address, &key).expect("a living host answers");
        known.by_key.insert(key, id);
    }
}

/// A sample of what was acknowledged so far is there right after the restart.
fn assert_all_known(host: &Host, known: &Known, sample: u64, random: &mut Random) {
    let ids: Vec<_> = known.by_key.values().chain(&known.in_bulk).collect();
    for _ in 0..sample.min(ids.len() as u64) {
        let at = usize::try_from(random.below(ids.len() as u64)).expect("an index");
        let job = host.get(&format!("/v1/jobs/{}", ids[at]));
        assert_eq!(job["id"], **ids[at], "an acknowledged job is not there after the restart");
    }
}

fn wait_until_idle(host: &Host) {
    let started = Instant::now();
    loop {
        let counts = host.get("/v1/counts");
        let of = |word: &str| counts["all"][word].as_u64().unwrap_or(0);
        let unfinished: u64 = ["queued", "waiting", "retrying", "running", "canceling"].into_iter().map(of).sum();
        if unfinished == 0 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{unfinished} jobs have not ended: {counts}");
        std::thread::yield_now();
    }
}

fn assert_finished_once(host: &Host, id: &str) {
    let job = host.get(&format!("/v1/jobs/{id}"));
    assert_eq!(job["state"], "succeeded", "{job}");
    let attempts = host.get(&format!("/v1/jobs/{id}/attempts"));
    let ends: Vec<_> = attempts["attempts"].as_array().expect("a list").iter().map(|run| run["end"].clone()).collect();
    let succeeded = ends.iter().filter(|end| **end == "succeeded").count();
    assert_eq!(succeeded, 1, "job {id} was finished more than once: {ends:?}");
    assert_eq!(job["runs"], ends.len(), "every run is a row (I11): {attempts}");
}

fn assert_one_job_a_key(known: &Known) {
    let mut ids: Vec<_> = known.by_key.values().collect();
    ids.sort();
    let before = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), before, "two keys share a job");
}

/// The schedule has fired, and no occurrence twice.
fn assert_one_job_an_occurrence(host: &Host) {
    let mut seen = BTreeSet::new();
    let mut path = format!("/v1/jobs?tag={SCHEDULE}&limit=200");
    loop {
        let page = host.get(&path);
        for job in page["jobs"].as_array().expect("a list") {
            let time = job["schedule"]["scheduled_for"].as_str().expect("a job of the schedule");
            assert!(seen.insert(time.to_owned()), "the occurrence {time} has two jobs");
            assert_eq!(job["state"], "succeeded", "{job}");
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/jobs?tag={SCHEDULE}&limit=200&cursor={next}");
    }
    println!("the schedule made {} jobs", seen.len());
    assert!(seen.len() > 1, "the schedule fired next to never: the test tests nothing");
}

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// SplitMix64: enough to choose moments.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
