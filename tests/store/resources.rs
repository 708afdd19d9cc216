//! A disk that runs out of room or of inodes, and has some again: the store says so, loses nothing, and goes on by itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use backroom::domain::code;
use backroom::domain::job::Status;
use backroom::store::sled::verify::verify;
use backroom::store::sled::{OpenError, SledStore};
use backroom::store::{CommitError, Store};

use crate::common::*;

/// No step of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file system of a few MiB, for as long as it is held. None where this user may not mount one.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { folder }),
            other => {
                println!("left out: no file system can be mounted here ({other:?})");
                None
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let (block, path) = (vec![1; 64 << 10], self.folder.path().join("filler"));
        let mut file = std::fs::File::create(path).expect("there is an inode left");
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    }

    fn give_back(&self) {
        std::fs::remove_file(self.folder.path().join("filler")).expect("it is there");
    }

    /// Takes all the inodes that are left; returns the files.
    fn take_inodes(&self) -> Vec<PathBuf> {
        let path = |number: u32| self.folder.path().join(format!("inode-{number}"));
        (0..10_000).map(path).take_while(|path| std::fs::File::create(path).is_ok()).collect()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A thread of the store may need a moment to let go of its files.
        let _unmounted = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

/// Submits jobs until one is refused; the last one that was taken, and the refusal.
fn until_refused(store: &dyn Store, mut taken: u64) -> (u64, CommitError) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match commit(store, vec![submit(taken + 1)]) {
            Ok(()) => taken += 1,
            Err(error) => return (taken, error),
        }
        assert!(Instant::now() < give_up, "nothing is refused, although there is no room");
    }
}

/// Submits a job again and again until it is taken.
fn until_taken(store: &dyn Store, sequence: u64) {
    let give_up = Instant::now() + PATIENCE;
    while let Err(error) = commit(store, vec![submit(sequence)]) {
        assert!(error.is_passing(), "it is not for ever: {error}");
        assert!(Instant::now() < give_up, "it does not come back: {error}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn verified(path: &Path) {
    let report = verify(settings(path)).expect("the store opens");
    assert!(report.is_sound(), "{report:?}");
}

#[test]
fn a_disk_that_has_room_again_finds_a_store_that_goes_on_and_has_lost_nothing() {
    let Some(disk) = SmallDisk::mount("size=16m") else { return };
    let store = open(&disk.data());
    let mut taken = 0;
    for round in 0..4_u32 {
        disk.fill();
        let (last, refusal) = until_refused(&store, taken);
        assert!(refusal.is_passing(), "{refusal}");
        assert!(refusal.to_string().contains("No space left") || refusal.to_string().contains("room"), "{refusal}");
        let blob = store.put_blob(vec![round as u8; 100_000].into()).expect_err("there is no room for it");
        assert!(matches!(blob, CommitError::Full(_)), "{blob}");
        // Reads go on, whatever cannot be written; those of an index that is opened again are asked to come back.
        for sequence in [1, last.max(1)] {
            match store.job(key(sequence)) {
                Ok(found) => assert_eq!(found.is_some(), sequence <= last),
                Err(error) => assert!(error.is_passing(), "{error}"),
            }
        }
        disk.give_back();
        until_taken(&store, last + 1);
        taken = last + 1;
        assert_eq!(store.check_room(), Ok(()));
        for sequence in 1..=taken {
            assert!(job(&store, sequence).is_some(), "job {sequence} of {taken} is lost in round {round}");
        }
        assert!(job(&store, taken + 1).is_none(), "what was refused is not there");
        step(&store, taken, running);
        step(&store, taken, |state| ended(state, Status::Succeeded));
        store.put_blob(vec![round as u8; 100_000].into()).expect("there is room for it");
    }
    drop(store);
    let store = open(&disk.data());
    for sequence in 1..=taken {
        assert!(job(&store, sequence).is_some(), "job {sequence} of {taken} is lost over a restart");
    }
    drop(store);
    verified(&disk.data());
}

/// The index is written to its last byte of room and cannot take more, while the journal lies ready: nothing of what the
/// journal has may be missing from the index that is opened again.
#[test]
fn an_index_that_could_not_be_written_is_made_whole_from_the_journal() {
    let Some(disk) = SmallDisk::mount("size=24m") else { return };
    let store = SledStore::open(backroom::store::sled::SledSettings {
        // Segments that are ready hold all that follows; only the index wants room.
        segment_bytes: 4 << 20,
        checkpoint_bytes: 64 << 10,
        keep_journal_bytes: 64 << 20,
        ..settings(&disk.data())
    })
    .expect("the store opens");
    must(&store, vec![submit(1)]);
    disk.fill();
    let (last, refusal) = until_refused(&store, 1);
    assert!(refusal.is_passing() && last > 100, "{last}: {refusal}");
    assert!(store.stats().refusing.is_some(), "it says that it takes nothing");
    disk.give_back();
    until_taken(&store, last + 1);
    for sequence in 1..=last + 1 {
        assert!(job(&store, sequence).is_some(), "job {sequence} of {last} is lost");
    }
    assert_eq!(store.stats().refusing, None);
    drop(store);
    verified(&disk.data());
}

#[test]
fn inodes_that_come_back_find_a_store_that_goes_on() {
    let Some(disk) = SmallDisk::mount("size=32m,nr_inodes=64") else { return };
    let store = open(&disk.data());
    must(&store, vec![submit(1)]);
    let files = disk.take_inodes();
    let (last, refusal) = until_refused(&store, 1);
    assert!(refusal.is_passing(), "{refusal}");
    let blob = store.put_blob(vec![1; 100_000].into()).expect_err("there is no inode for it");
    assert!(matches!(blob, CommitError::Full(_)), "{blob}");
    files.iter().for_each(|file| std::fs::remove_file(file).expect("it is there"));
    until_taken(&store, last + 1);
    store.put_blob(vec![1; 100_000].into()).expect("there is an inode for it");
    for sequence in 1..=last + 1 {
        assert!(job(&store, sequence).is_some(), "job {sequence} of {last} is lost");
    }
    drop(store);
    verified(&disk.data());
}

#[test]
fn a_store_that_cannot_be_opened_for_want_of_room_is_no_damaged_one() {
    let Some(disk) = SmallDisk::mount("size=16m") else { return };
    let store = open(&disk.data());
    (1..=2_000).for_each(|sequence| must(&store, vec![submit(sequence)]));
    drop(store);
    disk.fill();
    // It opens when it needs nothing; it says what it wants when it does.
    match SledStore::open(settings(&disk.data())) {
        Ok(store) => drop(store),
        Err(error @ OpenError::Io(_)) => assert_eq!(error.code(), code::DISK_FULL, "{error}"),
        Err(error) => panic!("{error}"),
    }
    disk.give_back();
    let store = open(&disk.data());
    assert!((1..=2_000).all(|sequence| job(&store, sequence).is_some()));
    drop(store);
    verified(&disk.data());
}
