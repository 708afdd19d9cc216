//! The journal and snapshots are the truth, the index follows from them: whoever removes it finds everything there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backroom::domain::job::Status;
use backroom::store::Store;
use backroom::store::backup::restore_until;
use backroom::store::memory::MemoryStore;
use backroom::store::sled::verify::verify;
use backroom::store::sled::{OpenError, SledSettings, SledStore, Until};
use proptest::prelude::*;

use crate::agreement::{Step, changes, steps};
use crate::backup::fill;
use crate::common::*;
use crate::reopen::{assert_same, picture};

/// Segments and snapshots that are so small that there are many of them.
fn small(path: &Path) -> SledSettings {
    SledSettings { segment_bytes: 16 << 10, checkpoint_bytes: 24 << 10, snapshot_bytes: 32 << 10, ..settings(path) }
}

fn snapshots(path: &Path) -> Vec<PathBuf> {
    files(&path.join("snapshots"), ".ndjson.zst")
}

/// Jobs that come, run and go until so many snapshots have been written, and the journal before the first of those that are kept
/// is gone. Returns the next sequence.
fn churn(store: &dyn Store, path: &Path, mut sequence: u64, wanted: usize) -> u64 {
    let give_up = Instant::now() + Duration::from_secs(60);
    let mut seen: Vec<PathBuf> = Vec::new();
    let is_done = |seen: &[PathBuf]| seen.len() >= wanted && !path.join("journal/0000000000000001.seg").exists();
    while !is_done(&seen) {
        assert!(Instant::now() < give_up, "no snapshot: {seen:?}");
        must(store, (sequence..sequence + 20).map(submit).collect());
        (sequence..sequence + 15).for_each(|job| step(store, job, |state| ended(state, Status::Succeeded)));
        (sequence..sequence + 10).for_each(|job| delete(store, job));
        step(store, sequence + 16, running);
        step(store, sequence + 17, |state| waiting(state, 100));
        step(store, sequence + 18, |state| failed(state, "no paper"));
        sequence += 20;
        for path in snapshots(path) {
            if !seen.contains(&path) {
                seen.push(path);
            }
        }
    }
    sequence
}

/// A directory with two snapshots, journal behind them, and every kind of record; and what it holds.
fn churned() -> (tempfile::TempDir, PathBuf, Vec<String>) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("store");
    let store = SledStore::open(small(&path)).expect("the store opens");
    fill(&store);
    let next = churn(&store, &path, 1_000, 3);
    must(&store, vec![submit(next)]);
    let wanted = picture(&store);
    drop(store);
    assert_eq!(snapshots(&path).len(), 2, "the last two are kept");
    (directory, path, wanted)
}

fn reopen(path: &Path) -> Result<Vec<String>, OpenError> {
    Ok(picture(&SledStore::open(small(path))?))
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("the file can be read");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("the file can be written");
}

#[test]
fn an_index_that_was_removed_is_made_again() {
    let (_directory, path, wanted) = churned();
    for _ in 0..2 {
        std::fs::remove_dir_all(path.join("index")).expect("it can be removed");
        assert_same(&reopen(&path).expect("a snapshot and the journal have everything"), &wanted);
        assert_eq!(verify(small(&path)).expect("it opens").findings, []);
    }
    let store = SledStore::open(small(&path)).expect("it opens");
    churn(&store, &path, 50_000, 3);
    let wanted = picture(&store);
    drop(store);
    std::fs::remove_dir_all(path.join("index")).expect("it can be removed");
    assert_same(&reopen(&path).expect("later snapshots are as good"), &wanted);
}

#[test]
fn an_index_that_is_damaged_is_set_aside_and_made_again() {
    let (_directory, path, wanted) = churned();
    std::fs::write(path.join("index/db"), vec![0xa5; 1 << 20]).expect("the file can be written");
    // What an interrupted making has left is of no use.
    std::fs::create_dir(path.join("index.making")).expect("it can be made");
    std::fs::write(path.join("index.making/db"), "half").expect("it can be written");
    assert_same(&reopen(&path).expect("a snapshot and the journal have everything"), &wanted);
    assert!(path.join("index.damaged-1/db").exists(), "what was damaged is kept");
    assert!(!path.join("index.making").exists());
}

#[test]
fn an_index_is_not_relied_on_after_the_machine_went_down() {
    let (_directory, path, wanted) = churned();
    let open = path.join("open");
    assert!(!open.exists(), "it was closed in good order");
    let index = open_index(&path);
    let submissions: Vec<_> = index.scan_prefix([b'S']).keys().map(|key| key.expect("it can be read")).collect();
    submissions.iter().for_each(|key| drop(index.remove(key).expect("it can be written")));
    index.flush().expect("it can be written");
    drop(index);
    assert!(!submissions.is_empty() && reopen(&path).expect("nothing tells that it is spoiled") != wanted);

    std::fs::write(&open, "an earlier run").expect("it can be written");
    let store = SledStore::open(small(&path)).expect("a snapshot and the journal have everything");
    assert_same(&picture(&store), &wanted);
    let noted = std::fs::read_to_string(&open).expect("it is open");
    assert_ne!(noted, "an earlier run");
    drop(store);
    assert!(!open.exists() && !path.join("index.doubted").exists());
    assert_eq!(verify(small(&path)).expect("it opens").findings, []);
}

#[test]
fn an_index_without_a_better_one_is_relied_on_after_the_machine_went_down() {
    let (_directory, path, wanted) = churned();
    snapshots(&path).iter().for_each(|snapshot| std::fs::remove_file(snapshot).expect("it can be removed"));
    std::fs::write(path.join("open"), "an earlier run").expect("it can be written");
    assert_same(&reopen(&path).expect("the index is whole"), &wanted);
    // An earlier start was cut off before it had made another one.
    std::fs::rename(path.join("index"), path.join("index.doubted")).expect("it can be renamed");
    std::fs::write(path.join("open"), "an earlier run").expect("it can be written");
    assert_same(&reopen(&path).expect("the index is put back"), &wanted);
}

#[test]
fn a_damaged_snapshot_leaves_the_one_before_it() {
    let (_directory, path, wanted) = churned();
    let [older, newer] = &snapshots(&path)[..] else { panic!("there are two") };
    for spoil in [
        |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2),
        |bytes: &mut Vec<u8>| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
        },
    ] {
        let whole = std::fs::read(newer).expect("it can be read");
        change(newer, spoil);
        std::fs::remove_dir_all(path.join("index")).expect("it can be removed");
        assert_same(&reopen(&path).expect("the other snapshot and the journal have everything"), &wanted);
        std::fs::write(newer, whole).expect("it can be written");
    }
    std::fs::remove_dir_all(path.join("index")).expect("it can be removed");
    [older, newer].into_iter().for_each(|snapshot| change(snapshot, |bytes| bytes.truncate(100)));
    let refused = reopen(&path).expect_err("nothing has what came first").to_string();
    assert!(refused.contains("no sound snapshot"), "{refused}");
    assert!(refused.contains("`backroom store restore FILE --data NEW_DIRECTORY`"), "{refused}");
}

#[test]
fn a_snapshot_without_its_journal_does_not_pass_for_the_store() {
    let (_directory, path, _) = churned();
    std::fs::remove_dir_all(path.join("index")).expect("it can be removed");
    std::fs::remove_dir_all(path.join("journal")).expect("it can be removed");
    let refused = reopen(&path).expect_err("what came behind the snapshot is lost").to_string();
    assert!(refused.contains("although there is an index or a snapshot"), "{refused}");
}

#[test]
fn the_journal_is_kept_as_long_as_no_snapshot_has_it() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("store");
    let settings = SledSettings { snapshot_bytes: u64::MAX, ..small(&path) };
    let store = SledStore::open(settings.clone()).expect("the store opens");
    for sequence in 1..=600 {
        must(&store, vec![submit(sequence)]);
    }
    let wanted = picture(&store);
    drop(store);
    assert!(files(&path.join("journal"), ".seg").len() >= 4 && snapshots(&path).is_empty());
    std::fs::remove_dir_all(path.join("index")).expect("it can be removed");
    assert_same(&picture(&SledStore::open(settings).expect("the journal has everything")), &wanted);
}

#[test]
fn a_directory_is_brought_back_to_an_earlier_group() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("store");
    let store = SledStore::open(small(&path)).expect("the store opens");
    fill(&store);
    let mut next = churn(&store, &path, 1_000, 3);
    let mut moments = Vec::new();
    for _ in 0..3 {
        let large =
            store.put_blob(vec![u8::try_from(next % 251).expect("it fits"); 3_000].into()).expect("there is room");
        let mut named = submission(next);
        named.input = backroom::domain::job::Payload::Blob { digest: large, bytes: 3_000 };
        must(&store, vec![submit_as(named), submit(next + 1)]);
        step(&store, next + 1, running);
        moments.push((store.freeze().expect("there is room").moment().lsn, picture(&store)));
        delete(&store, 1_000 + 11);
        must(&store, vec![submit(1_000 + 11)]);
        next += 2;
    }
    let end = picture(&store);
    drop(store);
    for (number, (lsn, wanted)) in moments.iter().enumerate() {
        let to = directory.path().join(format!("restored-{number}"));
        let reached = restore_until(&path, Until::Group(*lsn), small(&to)).expect("it is kept");
        assert_eq!(reached.lsn, *lsn);
        assert!(reached.on.is_some());
        assert_eq!(verify(small(&to)).expect("it opens").findings, []);
        let store = SledStore::open(small(&to)).expect("it opens");
        assert_same(&picture(&store), wanted);
        must(&store, vec![submit(90_000)]);
        drop(store);
        // It is a store of its own, whose index follows from what it has.
        std::fs::remove_dir_all(to.join("index")).expect("it can be removed");
        assert_eq!(reopen(&to).expect("it has all").len(), wanted.len() + 1);
    }
    let to = directory.path().join("all");
    let reached = restore_until(&path, Until::Time("2999-01-01T00:00:00Z".parse().expect("a time")), small(&to));
    assert!(reached.expect("it is kept").lsn > moments[2].0);
    assert_same(&reopen(&to).expect("it opens"), &end);
    let to = directory.path().join("nothing");
    for until in [Until::Group(1), Until::Time(time(1))] {
        let refused = restore_until(&path, until, small(&to)).expect_err("it is gone").to_string();
        assert!(refused.contains("can be brought back from it; use an earlier backup"), "{refused}");
        assert!(!to.exists());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_index_that_is_made_again_agrees(before in steps(), after in steps()) {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path().join("store");
        // The first checkpoint wants a snapshot.
        let settings = SledSettings { checkpoint_bytes: 1, snapshot_bytes: 1, ..settings(&path) };
        let memory = MemoryStore::new();
        let sled = SledStore::open(settings.clone()).expect("the store opens");
        let mut last = 0;
        let mut apply = |step: &Step| {
            let changes = changes(&memory, &mut last, step);
            assert_eq!(commit(&memory, changes.clone()), commit(&sled, changes));
        };
        before.iter().for_each(&mut apply);
        let give_up = Instant::now() + Duration::from_secs(30);
        while snapshots(&path).is_empty() {
            prop_assert!(Instant::now() < give_up, "no snapshot");
            apply(&Step::Submit { count: 1, priority: 0 });
        }
        after.iter().for_each(&mut apply);
        drop(sled);
        std::fs::remove_dir_all(path.join("index")).expect("it can be removed");
        // The journal behind the snapshot alone would not do.
        let again = SledStore::open(settings.clone()).expect("it is made again");
        assert_same(&crate::agreement::whole(&again), &crate::agreement::whole(&memory));
        drop(again);
        prop_assert_eq!(verify(settings).expect("it opens").findings, []);
    }
}
