//! What was acknowledged is there again after the store is closed, killed, or copied while it runs.

use std::path::Path;

use backroom::domain::change::{Change, RememberedSubmit};
use backroom::domain::id::{HostId, Sequence, TenantId};
use backroom::domain::job::{Job, JobState, Status};
use backroom::domain::query::{JobFilter, JobQuery};
use backroom::domain::queue::Pause;
use backroom::domain::service::{Durability, ServiceState};
use backroom::store::sled::{OpenError, SledSettings, SledStore};
use backroom::store::{CommitError, Store};

use crate::common::*;

/// What a kill at this moment leaves: a copy of the directory while the store runs.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    let read = std::fs::read_dir(from).expect("the folder can be read");
    let mut entries: Vec<_> = read.map(|entry| entry.expect("the folder can be read")).collect();
    // The journal first: a checkpoint that comes in between may drop what only an older index needs.
    entries.sort_by_key(|entry| entry.file_name() == "index");
    for entry in entries {
        let to = to.join(entry.file_name());
        match entry.file_type().expect("the file is there").is_dir() {
            true => copy(&entry.path(), &to),
            // A spare segment may be renamed while we look.
            false => drop(std::fs::copy(entry.path(), to)),
        }
    }
}

pub(crate) fn reopened(directory: &Path, aside: &str, check: impl FnOnce(&dyn Store)) {
    let image = directory.join(aside);
    copy(&directory.join("store"), &image);
    let store = open(&image);
    check(&store);
    drop(store);
    std::fs::remove_dir_all(image).expect("the image can be removed");
}

fn everything(store: &dyn Store) {
    must(store, (1..=100).map(submit).collect());
    for sequence in 1..=100 {
        match sequence % 5 {
            0 => step(store, sequence, |state| ended(state, Status::Succeeded)),
            1 => step(store, sequence, |state| ended(state, Status::Failed)),
            2 => step(store, sequence, |state| waiting(state, 1000 - i64::try_from(sequence).expect("it is small"))),
            3 => step(store, sequence, running),
            _ => {}
        }
    }
    must(store, vec![Change::Delete { job: key(50), expected: 1 }]);
    must(store, vec![Change::put(ServiceState::Paused(Pause::default())), Change::put(breaker(0, "mailer", Some(7)))]);
    must(store, vec![put_token(token(0, "shop")), put_token(token(0, "bank"))]);
    must(store, vec![remove_token(0, "shop")]);
    let remembered = RememberedSubmit {
        tenant: TenantId::DEFAULT,
        key: "k".to_owned(),
        fingerprint: 3,
        jobs: (1..=600).map(|sequence| submission(sequence).id).collect(),
        next: Some(Sequence(7)),
        end: Some(Box::new(Job { submission: submission(1).into(), state: JobState::default() })),
        on: time(1),
        until: time(2),
    };
    must(store, vec![Change::put(remembered)]);
}

/// Everything that can be read, in words that can be compared.
pub(crate) fn picture(store: &dyn Store) -> Vec<String> {
    let all = JobQuery { limit: 10_000, ..JobQuery::default() };
    let jobs = store.jobs(&all).expect("it can be read").jobs;
    let runs: Vec<_> = jobs.iter().map(|job| store.runs(job.submission.key()).expect("it can be read")).collect();
    let ready = store.ready(&lane("default"), 10_000).expect("it can be read");
    let due = store.due(time(i64::MAX / 1_000_000), 10_000).expect("it can be read");
    let mut lines = vec![
        format!("ready {:?}", sequences(&ready)),
        format!("locked {:?}", sequences(&store.locked().expect("it can be read"))),
        format!("due {:?}", sequences(&due)),
        format!("{:?}", store.counts(TenantId::DEFAULT)),
        format!("{:?}", store.remembered(TenantId::DEFAULT, "k")),
        format!("{:?} {:?} {:?} {:?}", store.service(), store.plugins(), store.breakers(), store.tokens()),
    ];
    for status in Status::ALL {
        let filter = JobFilter { statuses: vec![status], ..JobFilter::default() };
        let page = store.jobs(&JobQuery { filter, ..all.clone() }).expect("it can be read");
        lines.push(format!("{status} {:?}", sequences(&page.jobs)));
    }
    lines.extend(jobs.iter().zip(&runs).map(|(job, runs)| format!("{job:?} {runs:?}")));
    lines
}

/// Panics with the first line that differs.
pub(crate) fn assert_same(found: &[String], wanted: &[String]) {
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found, wanted);
    }
    assert_eq!(found.len(), wanted.len());
}

#[test]
fn everything_is_there_after_a_close() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(directory.path());
    everything(&store);
    let before = picture(&store);
    drop(store);
    let store = open(directory.path());
    assert_same(&picture(&store), &before);
    step(&store, 3, |state| ended(state, Status::Succeeded));
    drop(store);
    assert_eq!(state(&open(directory.path()), 3).status, Status::Succeeded);
}

#[test]
fn everything_is_there_after_a_kill() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(&directory.path().join("store"));
    everything(&store);
    let before = picture(&store);
    reopened(directory.path(), "image", |store| assert_same(&picture(store), &before));
}

#[test]
fn a_claim_survives_a_kill() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(&directory.path().join("store"));
    must(&store, vec![submit(1)]);
    step(&store, 1, running);
    reopened(directory.path(), "image", |store| assert_eq!(sequences(&store.locked().expect("it can be read")), [1]));
}

#[test]
fn process_durability_survives_a_kill() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("store");
    let settings = SledSettings { durability: Durability::Process, ..settings(&path) };
    let store = SledStore::open(settings).expect("the store opens");
    everything(&store);
    let before = picture(&store);
    assert_eq!(store.stats().durability, "process");
    reopened(directory.path(), "image", |store| assert_same(&picture(store), &before));
}

#[test]
fn many_checkpoints_keep_everything() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(&directory.path().join("store"));
    for round in 0..40_u64 {
        let first = round * 100 + 1;
        must(&store, (first..first + 100).map(submit).collect());
        for sequence in first..first + 100 {
            let claimed = running(&JobState::default());
            must(&store, vec![advance(key(sequence), claimed.clone())]);
            if sequence % 10 != 0 {
                must(&store, vec![advance(key(sequence), ended(&claimed, Status::Succeeded))]);
            }
        }
        if round % 8 == 7 {
            let before = picture(&store);
            reopened(directory.path(), "image", |store| assert_same(&picture(store), &before));
        }
    }
    let segments = std::fs::read_dir(directory.path().join("store/journal")).expect("it can be read").count();
    assert!(segments < 40, "old segments go: {segments} are left");
}

#[test]
fn numbers_go_on_after_a_kill() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(&directory.path().join("store"));
    let sequence = store.reserve(10).0 + 9;
    let host = store.next_host();
    must(&store, vec![Change::StartHost(HostId(host.0 + 7)), submit(5_000_000)]);
    reopened(directory.path(), "image", |store| {
        assert!(store.reserve(1).0 > sequence.max(5_000_000));
        assert!(store.next_host().0 > host.0 + 7);
    });
}

#[test]
fn a_directory_belongs_to_one_store() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(directory.path());
    let second = SledStore::open(settings(directory.path())).expect_err("it is in use");
    assert!(matches!(second, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{second}");
    drop(store);
    drop(open(directory.path()));
}

#[test]
fn another_format_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    drop(open(directory.path()));
    std::fs::write(directory.path().join("format"), "backroom store, format 99\nvalues: submission 9\n")
        .expect("it can be written");
    let refused = SledStore::open(settings(directory.path())).expect_err("the format is not known");
    assert!(refused.to_string().contains("format 99"), "{refused}");
}

#[test]
fn a_new_directory_belongs_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("data");
    drop(open(&path));
    let mode = std::fs::metadata(&path).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_full_disk_refuses_new_jobs_only_and_recovers() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(directory.path());
    must(&store, vec![submit(1)]);
    store.set_min_free_bytes(u64::MAX);
    let refused = (0..200).find_map(|attempt| match commit(&store, vec![submit(10 + attempt)]) {
        Ok(()) => {
            std::thread::yield_now();
            std::thread::park_timeout(std::time::Duration::from_millis(20));
            None
        }
        Err(error) => Some(error),
    });
    let Some(CommitError::Full(why)) = refused else { panic!("it is not refused for want of room: {refused:?}") };
    assert!(why.contains(" are free, and min_free asks for 18446744073709551615 bytes"), "{why}");
    assert!(store.stats().refusing.is_some());
    assert!(matches!(store.check_room(), Err(CommitError::Full(_))));
    // What accepted work leaves behind is what the room is kept for.
    store.put_blob(vec![7; 5_000].into()).expect("the disk itself has room");
    step(&store, 1, running);
    let end = ended(&state(&store, 1), Status::Succeeded);
    must(&store, vec![advance(key(1), end), submit(500)]);
    assert!(matches!(commit(&store, vec![submit(501)]), Err(CommitError::Full(_))), "what follows is no new work");
    store.set_min_free_bytes(0);
    assert_eq!(store.check_room(), Ok(()));
    let taken = (0..200).any(|attempt| {
        std::thread::park_timeout(std::time::Duration::from_millis(20));
        commit(&store, vec![submit(1000 + attempt)]).is_ok()
    });
    assert!(taken);
    assert_eq!(store.stats().refusing, None);
}
