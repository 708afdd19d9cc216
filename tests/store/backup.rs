//! Backups: a store made of one agrees with the store that it was made from; one that is not whole makes none.

use std::path::PathBuf;

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
        backup::restore(&self.file(), settings(&self.target()), &mut quiet)
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
    (1..=3).for_each(|revision| must(store, vec![Change::put(plugin_record(revision, digest, 10_000))]));
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
        must(store, vec![Change::put(submit)]);
    }
    must(store, vec![Change::put(ServiceState::Paused(Pause::default())), Change::StartHost(HostId(17))]);
    must(store, vec![Change::put(breaker(3, "mailer", Some(7))), put_token(token(3, "shop"))]);
    assert!(last >= 100);
}

fn saved() -> Saved {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(&directory.path().join("store"));
    fill(&store);
    let picture = picture(&store);
    let contents =
        backup::save(&store, &directory.path().join("backup"), time(0), &mut quiet).expect("the store is sound");
    assert_eq!(
        (contents.jobs, contents.runs, contents.rows_of::<Plugin>(), contents.rows_of::<RememberedSubmit>()),
        (40, 2, 1, 3)
    );
    assert_eq!((contents.blobs, contents.blob_bytes), (3, 24_000));
    Saved { directory, picture }
}

/// Hears of the progress and says nothing.
#[expect(clippy::unnecessary_wraps, reason = "another may end it")]
pub(crate) fn quiet(_done: u64, _total: u64) -> Result<(), BackupError> {
    Ok(())
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
    backup::read_into(std::fs::File::open(saved.file()).expect("it is there"), &store, &mut quiet)
        .expect("it is sound");
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
        let taken = backup::read_into(&bytes[..], &MemoryStore::new(), &mut quiet);
        assert!(taken.is_err(), "byte {place}");
    }
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let saved = saved();
    saved.restore().expect("the backup is sound");
    assert!(matches!(saved.restore(), Err(BackupError::Exists(path)) if path == saved.target()));
    let store = open(&saved.target());
    assert!(matches!(backup::save(&store, &saved.file(), time(0), &mut quiet), Err(BackupError::Exists(_))));
    let aside = saved.directory.path().join("other.restoring");
    std::fs::create_dir(&aside).expect("it can be made");
    let refused = backup::restore(&saved.file(), settings(&saved.directory.path().join("other")), &mut quiet);
    assert!(matches!(refused, Err(BackupError::Exists(path)) if path == aside));
    assert!(aside.exists(), "what another restore may be writing is left alone");
}

/// A whole backup of other lines than were written: its end says that it is what was written.
fn forged(saved: &Saved, change: impl Fn(&str) -> String) -> Result<backup::Contents, BackupError> {
    let text = std::fs::read_to_string(saved.file()).expect("it is text");
    let mut lines: Vec<String> = text.lines().map(&change).collect();
    let end = lines.pop().expect("there is an end");
    let before: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let at = end.find("\"sha256\":\"").expect("the end has it") + 10;
    let end = format!("{}{}{}\n", &end[..at], Digest::of(&before), &end[at + 64..]);
    backup::read_into((before + &end).as_bytes(), &MemoryStore::new(), &mut quiet)
}

#[test]
fn a_later_record_is_refused_with_its_line() {
    let saved = saved();
    forged(&saved, str::to_owned).expect("it is what was written");
    let first = |line: &str| line.replace("\"backroom backup\",\"version\":1", "\"backroom backup\",\"version\":2");
    let refused = forged(&saved, first).expect_err("the version is not known");
    assert!(matches!(&refused, BackupError::Later { line: 1, .. }), "{refused}");
    for (from, to, what) in [
        ("{\"family\":\"plugin\",\"version\":1", "{\"family\":\"plugin\",\"version\":9", "version 9 of `plugin`"),
        ("{\"family\":\"job\",\"version\":1", "{\"family\":\"job\",\"version\":9", "version 9 of `job`"),
        ("\"state\":{\"version\":1", "\"state\":{\"version\":9", "version 9 of `job-state`"),
        ("{\"family\":\"token\"", "{\"family\":\"record\"", "records of the family `record`"),
    ] {
        let text = std::fs::read_to_string(saved.file()).expect("it is text");
        let number = text.lines().position(|line| line.contains(from)).expect("there is one") as u64 + 1;
        match forged(&saved, |line| line.replace(from, to)) {
            Err(BackupError::Later { line, what: found }) => assert_eq!((line, found.as_str()), (number, what)),
            other => panic!("{from}: {other:?}"),
        }
    }
}

#[test]
fn a_record_that_is_not_one_is_named_by_its_line() {
    let saved = saved();
    for (from, to, why) in [
        ("{\"family\":\"job\",", "{\"family\":\"job\",\"more\":1,", "unknown field `more`"),
        (",\"at\":0,\"last\":true", ",\"at\":5,\"last\":true", "a part of blob"),
        (",\"at\":0,\"last\":true", ",\"at\":0,\"last\":false", "the rest of a blob is missing"),
        ("\"data\":\"CQkJ", "\"data\":\"CQkK", "are others"),
    ] {
        match forged(&saved, |line| line.replace(from, to)) {
            Err(BackupError::Damaged { line, why: found }) => {
                assert!(line > 1 && found.contains(why), "{line}: {found}")
            }
            other => panic!("{from}: {other:?}"),
        }
    }
}

#[test]
fn every_compression_is_read_by_its_first_bytes() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(&directory.path().join("store"));
    fill(&store);
    let wanted = picture(&store);
    let mut sizes = Vec::new();
    for name in ["plain.ndjson", "small.ndjson.gz", "small.ndjson.zst"] {
        let file = directory.path().join(name);
        let contents = backup::save(&store, &file, time(0), &mut quiet).expect("the store is sound");
        sizes.push(std::fs::metadata(&file).expect("it is there").len());
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("it is there").permissions());
        assert_eq!(mode & 0o777, 0o600);
        let renamed = directory.path().join("renamed");
        std::fs::rename(&file, &renamed).expect("it can be renamed");
        let whole = std::fs::read(&renamed).expect("it can be read");
        let read = MemoryStore::new();
        assert_eq!(backup::read_into(&whole[..], &read, &mut quiet).expect("it is sound"), contents);
        assert_same(&picture(&read), &wanted);
        let (header, counts) = backup::Reader::start(&whole[..], read.families())
            .expect("it is one")
            .check(&mut quiet)
            .expect("it is whole");
        assert_eq!((header.jobs, counts), (40, contents));
        for end in [whole.len() - 1, whole.len() / 2] {
            let cut = backup::read_into(&whole[..end], &MemoryStore::new(), &mut quiet);
            assert!(matches!(cut, Err(BackupError::Damaged { .. })), "{name} cut at {end}: {cut:?}");
            let cut = backup::Reader::start(&whole[..end], read.families()).and_then(|reader| reader.check(&mut quiet));
            assert!(matches!(cut, Err(BackupError::Damaged { .. })), "{name} cut at {end}: {cut:?}");
        }
    }
    assert!(sizes[1] < sizes[0] / 2 && sizes[2] < sizes[0] / 2, "{sizes:?}");
}

#[test]
fn a_memory_store_makes_the_same_backup() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(directory.path());
    let memory = MemoryStore::new();
    let lines = |store: &dyn Store| {
        fill(store);
        let mut text = Vec::new();
        let mut frozen = store.freeze().expect("there is room");
        backup::write(&mut *frozen, &mut text, time(0), backup::Blobs::Included, &mut quiet).expect("it is sound");
        let text = String::from_utf8(text).expect("it is text");
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        // The first line and the end differ by how many groups there were, the second by how many numbers are taken ahead.
        lines[2..lines.len() - 1].to_vec()
    };
    assert_same(&lines(&store), &lines(&memory));
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
    let refused = backup::save(&store, &file, time(0), &mut quiet).expect_err("a payload is missing");
    assert!(refused.to_string().contains(&digest), "{refused}");
    assert!(!file.exists() && !file.with_extension("partial").exists());
}
