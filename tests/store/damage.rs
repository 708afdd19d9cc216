//! Files that a crash or a disk has spoiled: what can be mended is, and the rest is said, never passed over.

use std::path::{Path, PathBuf};

use backroom::store::Store;
use backroom::store::sled::{OpenError, SledSettings, SledStore};

use crate::common::*;
use crate::reopen::copy;

/// A directory that a kill has left behind, with jobs 1 to `jobs`, each in a commit of its own.
struct Image {
    directory: tempfile::TempDir,
}

impl Image {
    fn killed(jobs: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let live = directory.path().join("live");
        // What keeps everything has no checkpoint, either.
        let settings = SledSettings { keep_journal_bytes: u64::MAX, checkpoint_bytes: u64::MAX, ..settings(&live) };
        let store = SledStore::open(settings).expect("the store opens");
        (1..=jobs).for_each(|sequence| must(&store, vec![submit(sequence)]));
        let image = Self { directory };
        copy(&live, &image.path());
        image
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn segments(&self) -> Vec<PathBuf> {
        files(&self.path().join("journal"), ".seg")
    }

    fn open(&self) -> Result<SledStore, OpenError> {
        SledStore::open(settings(&self.path()))
    }
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("the file can be read");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("the file can be written");
}

/// Where the written part of a segment ends.
fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).expect("something was written") + 1
}

fn present(store: &dyn Store, jobs: u64) -> Vec<u64> {
    (1..=jobs).filter(|sequence| job(store, *sequence).is_some()).collect()
}

fn refused(image: &Image) -> String {
    let error = image.open().expect_err("what is damaged must not open as if nothing were");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_torn_last_group_is_dropped_and_the_journal_goes_on() {
    let image = Image::killed(3);
    std::fs::remove_dir_all(image.path().join("index")).expect("the folder can be removed");
    let last = image.segments().pop().expect("there is a segment");
    change(&last, |bytes| {
        let end = written(bytes);
        bytes[end - 20..end].fill(0);
    });
    let store = image.open().expect("a torn end is no damage");
    assert_eq!(present(&store, 3), [1, 2]);
    must(&store, vec![submit(4)]);
    drop(store);
    assert_eq!(present(&image.open().expect("it opens"), 4), [1, 2, 4]);
}

#[test]
fn a_broken_group_before_synced_ones_is_said() {
    let image = Image::killed(20);
    let first = image.segments().remove(0);
    change(&first, |bytes| {
        let middle = written(bytes) / 2;
        bytes[middle] ^= 0x40;
    });
    let said = refused(&image);
    assert!(said.contains("is broken, and later ones are not"), "{said}");
}

#[test]
fn a_missing_segment_is_said() {
    let image = Image::killed(800);
    let segments = image.segments();
    assert!(segments.len() >= 3, "the test needs several segments");
    std::fs::remove_file(&segments[1]).expect("the file can be removed");
    let said = refused(&image);
    assert!(said.contains("but the journal starts with group"), "{said}");
}

#[test]
fn a_last_segment_that_is_missing_or_cut_off_is_said() {
    let image = Image::killed(800);
    let last = image.segments().pop().expect("there is a segment");
    let whole = std::fs::read(&last).expect("it can be read");
    for length in [0, 40, 64, 70, written(&whole) / 2, written(&whole) - 1] {
        std::fs::write(&last, &whole[..length]).expect("it can be written");
        let said = refused(&image);
        assert!(said.contains("of commits from") && said.contains("on may be lost"), "cut off at {length}: {said}");
        assert!(said.contains("put its files back"), "{said}");
    }
    // Cut off behind its last group it has everything, and is made whole.
    std::fs::write(&last, &whole[..written(&whole) + 100]).expect("it can be written");
    let store = image.open().expect("nothing is lost");
    assert_eq!(present(&store, 800).len(), 800);
    must(&store, vec![submit(801)]);
    drop(store);
    assert_eq!(std::fs::metadata(&last).expect("it is there").len(), whole.len() as u64);

    let image = Image::killed(800);
    std::fs::remove_file(image.segments().pop().expect("there is a segment")).expect("it can be removed");
    let said = refused(&image);
    assert!(said.contains("the segment behind it is missing") && said.contains("on may be lost"), "{said}");
}

#[test]
fn what_the_index_has_may_be_broken_in_the_journal() {
    let image = Image::killed(800);
    let keeping = || SledSettings { keep_journal_bytes: u64::MAX, ..settings(&image.path()) };
    // The end of a store is a checkpoint.
    drop(SledStore::open(keeping()).expect("it opens"));
    for segment in [0, 1, image.segments().len() - 1] {
        change(&image.segments()[segment], |bytes| {
            let middle = 200 + (written(bytes) - 200) / 2;
            bytes[middle..middle + 100].fill(0xa5);
        });
    }
    for jobs in 800..803 {
        let store = SledStore::open(keeping()).expect("the index has everything");
        assert_eq!(present(&store, jobs).len() as u64, jobs);
        must(&store, vec![submit(jobs + 1)]);
    }
}

#[test]
fn an_index_that_breaks_while_it_is_brought_up_is_made_again() {
    let image = Image::killed(50);
    // The index takes a change of a job that it has lost.
    drop(image.open().expect("it opens"));
    let store =
        SledStore::open(SledSettings { checkpoint_bytes: u64::MAX, ..settings(&image.path()) }).expect("it opens");
    (1..=50).for_each(|sequence| step(&store, sequence, running));
    let killed = image.directory.path().join("killed");
    copy(&image.path(), &killed);
    drop(store);
    let tree = open_index(&killed);
    let blocks: Vec<_> = tree.scan_prefix(b"S").keys().map(|key| key.expect("it can be read")).collect();
    assert!(!blocks.is_empty(), "the test needs submissions");
    for key in blocks {
        tree.remove(key).expect("it can be removed");
    }
    tree.flush().expect("it can be written");
    drop(tree);
    let store = SledStore::open(settings(&killed)).expect("the journal has everything");
    assert_eq!(present(&store, 50).len(), 50);
    assert!(killed.join("index.damaged-1/db").exists(), "what was damaged is kept");
}

#[test]
fn a_segment_that_is_missing_before_the_checkpoint_is_no_damage() {
    let image = Image::killed(800);
    let keeping = || SledSettings { keep_journal_bytes: u64::MAX, ..settings(&image.path()) };
    // The end of a store is a checkpoint.
    drop(SledStore::open(keeping()).expect("it opens"));
    let segments = image.segments();
    assert!(segments.len() >= 3, "the test needs several segments");
    std::fs::remove_file(&segments[1]).expect("the file can be removed");
    let store = SledStore::open(keeping()).expect("the index has everything");
    assert_eq!(present(&store, 800).len(), 800);
    must(&store, vec![submit(801)]);
    drop(store);
    assert_eq!(present(&image.open().expect("it opens"), 801).len(), 801);
}

#[test]
fn a_damaged_index_is_set_aside_and_made_again_from_a_whole_journal() {
    let image = Image::killed(50);
    std::fs::write(image.path().join("index/db"), vec![0xa5; 1 << 20]).expect("the file can be written");
    let store = image.open().expect("the journal has everything");
    assert_eq!(present(&store, 50), (1..=50).collect::<Vec<_>>());
    assert!(image.path().join("index.damaged-1/db").exists(), "what was damaged is kept");
}

/// Everything below a directory, by name, with the sizes of the files.
fn listed(directory: &Path) -> Vec<(PathBuf, u64)> {
    let entries = std::fs::read_dir(directory).expect("the folder can be read");
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("the folder can be read").path()) {
        match path.is_dir() {
            true => found.extend(listed(&path)),
            false => found.push((path.clone(), path.metadata().expect("it is there").len())),
        }
    }
    found.sort();
    found
}

#[test]
fn an_index_without_its_journal_does_not_pass_for_an_empty_store() {
    let image = Image::killed(50);
    let (journal, elsewhere) = (image.path().join("journal"), image.directory.path().join("elsewhere"));
    for keep_the_folder in [true, false] {
        std::fs::rename(&journal, &elsewhere).expect("it can be renamed");
        if keep_the_folder {
            std::fs::create_dir(&journal).expect("it can be made");
        }
        let before = listed(&image.path());
        let said = refused(&image);
        assert!(said.contains("it is missing, although there is an index or a snapshot"), "{said}");
        assert_eq!(listed(&image.path()), before, "nothing was touched");
        std::fs::remove_dir(&journal).expect("it is empty");
        std::fs::rename(&elsewhere, &journal).expect("it can be renamed");
    }
    assert_eq!(present(&image.open().expect("nothing is missing"), 50).len(), 50);
}

#[test]
fn a_first_segment_that_cannot_be_read_does_not_pass_for_none() {
    let image = Image::killed(50);
    let first = image.segments().remove(0);
    change(&first, |bytes| bytes[10] ^= 1);
    let before = listed(&image.path());
    let said = refused(&image);
    assert!(said.contains("its first bytes are broken"), "{said}");
    assert_eq!(listed(&image.path()), before, "nothing was touched");
    change(&first, |bytes| bytes[10] ^= 1);
    assert_eq!(present(&image.open().expect("nothing is missing"), 50).len(), 50);
}

#[test]
fn an_unfinished_snapshot_does_not_keep_it_from_opening() {
    let image = Image::killed(50);
    std::fs::write(image.path().join("index/snap.00000000000000ff.generating"), b"half").expect("it can be written");
    assert_eq!(present(&image.open().expect("it opens"), 50).len(), 50);
}

#[test]
fn a_damaged_snapshot_loses_nothing() {
    let image = Image::killed(50);
    drop(image.open().expect("it opens"));
    let is_snapshot = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap."));
    let snapshots: Vec<_> = files(&image.path().join("index"), "").into_iter().filter(is_snapshot).collect();
    assert!(!snapshots.is_empty(), "the test needs a snapshot");
    for snapshot in snapshots {
        change(&snapshot, |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0xff));
    }
    assert_eq!(present(&image.open().expect("it opens"), 50).len(), 50);
}

#[test]
fn a_flipped_byte_in_a_blob_is_said() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(directory.path());
    let digest = store.put_blob(vec![3; 5_000].into()).expect("there is room");
    let name = digest.to_string();
    change(&directory.path().join("blobs").join(&name[..2]).join(&name[2..]), |bytes| bytes[100] ^= 1);
    let said = store.blob(digest).expect_err("the bytes are others");
    assert!(said.to_string().contains("is not what was written"), "{said}");
}

#[test]
fn one_record_that_cannot_be_read_does_not_hold_up_the_others() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(directory.path());
    must(&store, (1..=6).map(submit).collect());
    (1..=3).for_each(|sequence| step(&store, sequence, |state| waiting(state, 10)));
    (4..=6).for_each(|sequence| step(&store, sequence, running));
    (4..=6).for_each(|sequence| step(&store, sequence, queued));
    drop(store);
    let tree = open_index(directory.path());
    let states: Vec<_> = tree.scan_prefix(b"T").keys().map(|key| key.expect("it can be read")).collect();
    assert_eq!(states.len(), 6);
    for index in [1, 4] {
        tree.insert(&states[index], vec![9; 3]).expect("it can be written");
    }
    tree.flush().expect("it can be written");
    drop(tree);
    let store = open(directory.path());
    assert_eq!(sequences(&store.due(time(99), 2).expect("the others can be read")), [1, 3]);
    assert_eq!(ready(&store, "default"), [4, 6]);
}
