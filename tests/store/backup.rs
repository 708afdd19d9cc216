//! Backups: a store made of one agrees with the store that it was made from; one that is not whole makes none.

use std::path::{Path, PathBuf};

use backroom::domain::change::{Change, RememberedSubmit};
use backroom::domain::id::{Digest, HostId, TenantId, VersionName};
use backroom::domain::job::{JobState, Payload, Status};
use backroom::domain::plugin::{Inspection, Plugin, PluginVersion, Shape, Wishes};
use backroom::domain::queue::Pause;
use backroom::domain::service::ServiceState;
use backroom::store::backup::{self, BackupError};
use backroom::store::memory::MemoryStore;
use backroom::store::sled::verify::verify;
use backroom::store::{Store, payload_bytes, put_payload};

use crate::common::*;
use crate::reopen::{assert_same, picture};

struct Saved {
    directory: tempfile::TempDir,
    picture: Vec<String>,
}

impl Saved {
    fn file(&self) -> PathBuf {
        self.directory.path().join("backup")
    }

    fn target(&self) -> PathBuf {
        self.directory.path().join("restored")
    }

    fn restore(&self) -> Result<backup::Contents, BackupError> {
        backup::restore(&self.file(), settings(&self.target()))
    }

    /// What is left in the folder beside the backup and the store.
    fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).expect("it can be read");
        let names = entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned());
        names.filter(|name| name != "backup" && name != "store").collect()
    }
}

fn plugin_record(revision: u32, digest: Digest, bytes: u64) -> Plugin {
    let version = VersionName::new("1.0.0").expect("it is a version");
    let inspection =
        Inspection { shape: Shape::Handler, imports: vec![], exports: vec![], handlers: None, digest, bytes };
    let uploaded = PluginVersion {
        version: version.clone(),
        inspection,
        wishes: Wishes::default(),
        uploaded_on: time(1),
        is_pending: false,
    };
    Plugin {
        tenant: TenantId::DEFAULT,
        name: plugin("mailer"),
        revision,
        versions: vec![uploaded],
        active: Some(version),
        previous: None,
        pause: None,
        disabled: false,
        grants: Vec::new(),
    }
}

pub(crate) fn fill(store: &dyn Store) {
    let component = vec![9; 10_000];
    let digest = store.put_blob(component.clone().into()).expect("there is room");
    (1..=3).for_each(|revision| must(store, vec![Change::PutPlugin(plugin_record(revision, digest, 10_000))]));
    let last = store.reserve(100).0 + 99;
    let mut large = submission(40);
    large.input = put_payload(store, vec![5; 9_000].into()).expect("there is room");
    must(store, (1..40).map(submit).chain([submit_as(large)]).collect());
    let mut of_other = submission(7);
    of_other.tenant = TenantId(3);
    must(store, vec![submit_as(of_other)]);
    step(store, 2, |state| waiting(state, 100));
    step(store, 3, |state| ended(state, Status::Failed));
    for number in 1..4 {
        step(store, 4, running);
        let next = JobState { last_run: Some(run(number)), ..queued(&state(store, 4)) };
        let expected = next.revision - 1;
        let earlier_run = (number > 1).then(|| run(number - 1));
        must(store, vec![Change::Advance { job: key(4), expected, next: next.into(), earlier_run }]);
    }
    step(store, 5, running);
    let checkpoint = put_payload(store, vec![6; 5_000].into()).expect("there is room");
    step(store, 6, |state| JobState { checkpoint: Some(checkpoint), ..waiting(state, 50) });
    step(store, 8, |state| JobState {
        output: Some(Payload::Inline(vec![1; 1024].into())),
        ..ended(state, Status::Succeeded)
    });
    must(store, vec![Change::Delete { job: key(9), expected: 0 }]);
    for (word, until) in [("k", 2_000), ("first", 1_000), ("last", 3_000)] {
        let submit = RememberedSubmit {
            tenant: TenantId::DEFAULT,
            key: word.to_owned(),
            fingerprint: 3,
            jobs: vec![submission(1).id],
            next: None,
            end: None,
            on: time(1),
            until: time(until),
        };
        must(store, vec![Change::Remember(submit)]);
    }
    must(store, vec![Change::PutService(ServiceState::Paused(Pause::default())), Change::StartHost(HostId(17))]);
    must(store, vec![Change::PutBreaker(breaker(3, "mailer", Some(7))), put_token(token(3, "shop"))]);
    assert!(last >= 100);
}

fn saved() -> Saved {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(&directory.path().join("store"));
    fill(&store);
    let picture = picture(&store);
    let contents = backup::save(&store, &directory.path().join("backup"), time(0)).expect("the store is sound");
    assert_eq!((contents.jobs, contents.runs, contents.plugins, contents.remembered), (40, 2, 1, 3));
    assert_eq!((contents.blobs, contents.blob_bytes), (3, 24_000));
    Saved { directory, picture }
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("the file can be read");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("the file can be written");
}

fn assert_agrees(store: &dyn Store, saved: &Saved) {
    assert_same(&picture(store), &saved.picture);
    let (large, resting) = (job(store, 40).expect("it is there"), state(store, 6));
    assert_eq!(payload_bytes(store, &large.submission.input), Ok(vec![5; 9_000].into()));
    assert_eq!(payload_bytes(store, &resting.checkpoint.expect("it has one")), Ok(vec![6; 5_000].into()));
    assert_eq!(sequences(&store.locked().expect("it can be read")), [5]);
    assert_eq!(state(store, 5).lease.expect("it is kept").host, HostId(1));
    for word in ["k", "first", "last"] {
        assert!(store.remembered(TenantId::DEFAULT, word).expect("it can be read").is_some(), "{word}");
    }
    assert_eq!(store.counts(TenantId(3)).expect("it can be read").len(), 1);
    assert!(store.reserve(1).0 > 100, "sequences that were given out are not given out again");
    assert!(store.next_host().0 > 17);
}

#[test]
fn a_restored_store_agrees_and_verifies() {
    let saved = saved();
    saved.restore().expect("the backup is sound");
    assert_eq!(verify(settings(&saved.target())).expect("it opens").findings, []);
    assert_agrees(&open(&saved.target()), &saved);
    assert_eq!(saved.left(), ["restored"]);
}

#[test]
fn a_memory_store_takes_a_backup_in() {
    let saved = saved();
    let store = MemoryStore::new();
    backup::read_into(std::fs::File::open(saved.file()).expect("it is there"), &store).expect("it is sound");
    assert_agrees(&store, &saved);
}

#[test]
fn a_backup_that_is_cut_off_makes_no_store() {
    let saved = saved();
    let whole = std::fs::read(saved.file()).expect("it can be read");
    for length in [0, 20, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        std::fs::write(saved.file(), &whole[..length]).expect("it can be written");
        let refused = saved.restore().expect_err("it is not whole");
        assert!(matches!(refused, BackupError::Damaged { .. } | BackupError::Format { .. }), "{length}: {refused}");
        assert_eq!(saved.left(), [""; 0]);
    }
    std::fs::write(saved.file(), [&whole[..], b"x"].concat()).expect("it can be written");
    assert!(matches!(saved.restore(), Err(BackupError::Damaged { .. })));
    std::fs::write(saved.file(), &whole).expect("it can be written");
    saved.restore().expect("it is whole again");
}

#[test]
fn a_changed_byte_anywhere_makes_no_store() {
    let saved = saved();
    let whole = std::fs::read(saved.file()).expect("it can be read");
    for place in (0..whole.len()).step_by(whole.len() / 60).chain([whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x11;
        let taken = backup::read_into(&bytes[..], &MemoryStore::new());
        assert!(taken.is_err(), "byte {place}");
    }
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let saved = saved();
    saved.restore().expect("the backup is sound");
    assert!(matches!(saved.restore(), Err(BackupError::Exists(path)) if path == saved.target()));
    let store = open(&saved.target());
    assert!(matches!(backup::save(&store, &saved.file(), time(0)), Err(BackupError::Exists(_))));
    let aside = saved.directory.path().join("other.restoring");
    std::fs::create_dir(&aside).expect("it can be made");
    let refused = backup::restore(&saved.file(), settings(&saved.directory.path().join("other")));
    assert!(matches!(refused, Err(BackupError::Exists(path)) if path == aside));
    assert!(aside.exists(), "what another restore may be writing is left alone");
}

#[test]
fn a_backup_of_another_version_is_refused() {
    let saved = saved();
    change(&saved.file(), |bytes| {
        let at = bytes.windows(10).position(|part| part == b"\"version\":").expect("the first line says it");
        bytes[at + 10] = b'1';
    });
    let refused = saved.restore().expect_err("the version is not known");
    assert!(matches!(&refused, BackupError::Format { found } if found.contains("\"version\":1")), "{refused}");
}

#[test]
fn a_store_without_a_blob_that_it_names_makes_no_backup() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(&directory.path().join("store"));
    fill(&store);
    let digest = job(&store, 40).expect("it is there").submission.input.digest().expect("it is large").to_string();
    std::fs::remove_file(directory.path().join("store/blobs").join(&digest[..2]).join(&digest[2..]))
        .expect("it can be removed");
    let file = directory.path().join("backup");
    let refused = backup::save(&store, &file, time(0)).expect_err("a payload is missing");
    assert!(refused.to_string().contains(&digest), "{refused}");
    assert!(!file.exists() && !file.with_extension("partial").exists());
}
