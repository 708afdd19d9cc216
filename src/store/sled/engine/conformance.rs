//! What every engine must do, and a store on each of them, through kills, closings and damage.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use super::{Engine, Open, Order, Pair, ordered};
use crate::domain::change::Change;
use crate::domain::id::{HostId, JobId, JobKey, PluginName, Sequence, TenantId};
use crate::domain::job::{Job, JobState, Lease, Payload, Status, Submission};
use crate::domain::query::{Counts, JobFilter, JobQuery};
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::store::sled::{INDEX, SledSettings, SledStore};

const ENGINES: [(&str, Open); 2] = [("sled", super::open), ("ordered", ordered::open)];

/// SplitMix64: the same history for every engine.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn key(&mut self) -> Vec<u8> {
        let length = 1 + self.below(3);
        (0..length).map(|_| u8::try_from(self.below(4)).expect("it is small")).collect()
    }

    fn bound(&mut self) -> Bound<Vec<u8>> {
        match self.below(3) {
            0 => Bound::Unbounded,
            1 => Bound::Included(self.key()),
            _ => Bound::Excluded(self.key()),
        }
    }
}

fn opened(open: Open, index: &Path) -> Arc<dyn Engine> {
    open(index, 8 << 20).expect("it opens")
}

fn read(engine: &dyn Engine, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, order: Order) -> Vec<Pair> {
    engine.range(from, to, order).map(|found| found.expect("it can be read")).collect()
}

/// Whether a map can be asked for it at all: a range that ends before it starts is a fault of the caller.
fn is_range(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (Bound::Excluded(from), Bound::Excluded(to)) => from < to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from <= to,
    }
}

#[test]
fn an_engine_is_an_ordered_map_that_a_checkpoint_brings_to_disk() {
    for (name, open) in ENGINES {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let index = directory.path().join(INDEX);
        let mut engine = opened(open, &index);
        let mut model = BTreeMap::new();
        let mut draw = Draw(7);
        for round in 0..300 {
            let writes: Vec<_> = (0..draw.below(20))
                .map(|_| {
                    (draw.key(), (draw.below(3) > 0).then(|| vec![7; usize::try_from(draw.below(900)).expect("small")]))
                })
                .collect();
            for (key, value) in &writes {
                match value {
                    Some(value) => model.insert(key.clone(), value.clone()),
                    None => model.remove(key),
                };
            }
            let mut writes = writes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
            engine.apply(&mut writes).expect("there is room");
            engine.tidy(20);

            let (key, from, to) = (draw.key(), draw.bound(), draw.bound());
            assert_eq!(engine.get(&key).expect("it can be read"), model.get(&key).cloned(), "{name}, {round}: {key:?}");
            if is_range(&from, &to) {
                let mut wanted: Vec<Pair> =
                    model.range((from.clone(), to.clone())).map(|(k, v)| (k.clone(), v.clone())).collect();
                assert_eq!(read(&*engine, from.clone(), to.clone(), Order::Ascending), wanted, "{name}, {round}");
                wanted.reverse();
                assert_eq!(read(&*engine, from, to, Order::Descending), wanted, "{name}, {round}");
            }
            if round % 50 == 49 {
                engine.checkpoint().expect("there is room");
                drop(engine);
                engine = opened(open, &index);
                let whole = read(&*engine, Bound::Unbounded, Bound::Unbounded, Order::Ascending);
                assert!(whole.into_iter().eq(model.clone()), "{name}, {round}: another opening has changed it");
                assert!(engine.size_on_disk().expect("it says so") > 0, "{name}");
            }
        }
    }
}

const TENANT: TenantId = TenantId::DEFAULT;

fn settings(path: &Path) -> SledSettings {
    SledSettings {
        cache_bytes: 8 << 20,
        min_free_bytes: 0,
        segment_bytes: 32 << 10,
        checkpoint_bytes: 40_000,
        // All of it: the history loses its index once.
        keep_journal_bytes: 64 << 20,
        ..SledSettings::new(path)
    }
}

fn submit(sequence: u64, bytes: usize) -> Change {
    let on = Timestamp(1_700_000_000_000_000 + i64::try_from(sequence).expect("it is small"));
    let plugin = PluginName::new("mailer").expect("it is a name");
    let submission = Submission::new(JobId::new(on, Sequence(sequence), 7), plugin, on);
    let submission = Submission { input: Payload::Inline(vec![b'x'; bytes].into()), ..submission };
    Change::Submit(Arc::new(submission), Box::default())
}

fn advance(job: JobKey, before: &JobState, status: Status) -> (Change, JobState) {
    let lease = (status == Status::Running).then_some(Lease { host: HostId(1), until: Timestamp(9) });
    let (revision, runs) = (before.revision + 1, before.runs + u32::from(status == Status::Running));
    let next = JobState { status, revision, runs, lease, ..before.clone() };
    (Change::Advance { job, expected: before.revision, next: Box::new(next.clone()), earlier_run: None }, next)
}

type Picture = (Vec<Job>, Vec<Job>, Vec<(PluginName, Counts)>);

/// All that can be read of the jobs.
fn picture(store: &SledStore) -> Picture {
    let mut query = JobQuery { tenant: TENANT, filter: JobFilter::default(), before: None, limit: 100 };
    let mut listed = Vec::new();
    loop {
        let page = store.jobs(&query).expect("it can be read");
        listed.extend(page.jobs);
        match page.next {
            Some(next) => query.before = Some(next),
            None => break,
        }
    }
    let lanes = store.lanes(None, 10).expect("they can be read");
    let ready = lanes.iter().flat_map(|lane| store.ready(lane, 10_000).expect("it can be read")).collect();
    (listed, ready, store.counts(TENANT).expect("they can be read"))
}

/// Jobs come, run and go, the host is closed and opened, and the index is lost once while the journal has everything.
fn history(open: Open) -> Picture {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let settings = settings(directory.path());
    let mut store = SledStore::open_on(settings.clone(), open).expect("it opens");
    let mut states: BTreeMap<u64, JobState> = BTreeMap::new();
    let mut draw = Draw(11);
    let key = |sequence| JobKey { tenant: TENANT, sequence: Sequence(sequence) };
    for round in 0..240 {
        let first = store.reserve(4).0;
        let jobs =
            (first..first + 4).map(|sequence| submit(sequence, usize::try_from(draw.below(900)).expect("small")));
        store.commit(jobs.collect()).wait().expect("there is room");
        states.extend((first..first + 4).map(|sequence| (sequence, JobState::default())));
        for sequence in states.keys().copied().collect::<Vec<_>>() {
            let state = states[&sequence].clone();
            let change = match (state.status, draw.below(6)) {
                (Status::Queued, 0) => advance(key(sequence), &state, Status::Running),
                (Status::Running, 0..=2) => advance(key(sequence), &state, Status::Succeeded),
                (Status::Running, 3) => advance(key(sequence), &state, Status::Queued),
                (Status::Succeeded, 0 | 1) => {
                    states.remove(&sequence);
                    let change = Change::Delete { job: key(sequence), expected: state.revision };
                    store.commit(vec![change]).wait().expect("nobody else changes it");
                    continue;
                }
                _ => continue,
            };
            states.insert(sequence, change.1);
            store.commit(vec![change.0]).wait().expect("nobody else changes it");
        }
        if round % 40 == 39 {
            let before = picture(&store);
            store.close();
            drop(store);
            if round == 39 {
                std::fs::write(directory.path().join(INDEX).join("db"), vec![0xa5; 300]).expect("it can be written");
            }
            store = SledStore::open_on(settings.clone(), open).expect("it opens");
            assert_eq!(picture(&store), before, "round {round}");
        }
    }
    assert_eq!(picture(&store).0.len(), states.len());
    picture(&store)
}

#[test]
fn a_store_is_the_same_on_every_engine() {
    let [sled, ordered] = ENGINES.map(|(_, open)| history(open));
    assert_eq!(sled, ordered);
}
