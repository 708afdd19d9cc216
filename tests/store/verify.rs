//! Looking through a store at rest: a sound one has no findings, and every kind of damage is one.

use std::path::Path;

use backroom::domain::audit::{Action, AuditRow};
use backroom::domain::change::{Change, RememberedSubmit};
use backroom::domain::job::{JobState, Payload, Status};
use backroom::domain::plugin::Plugin;
use backroom::store::Store;
use backroom::store::sled::OpenError;
use backroom::store::sled::verify::{Report, verify};

use crate::common::*;

fn report(path: &Path) -> Report {
    verify(settings(path)).expect("the store opens")
}

fn filled() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    crate::backup::fill(&open(directory.path()));
    directory
}

/// What is found after the entries of the index were changed.
fn found_after(change: impl FnOnce(&sled::Tree)) -> Vec<String> {
    let directory = filled();
    let tree = open_index(directory.path());
    change(&tree);
    tree.flush().expect("it can be written");
    drop(tree);
    let findings = report(directory.path()).findings;
    findings.into_iter().map(|finding| format!("{}: {}", finding.place, finding.what)).collect()
}

fn keys_of(tree: &sled::Tree, prefix: &[u8]) -> Vec<sled::IVec> {
    tree.scan_prefix(prefix).keys().map(|key| key.expect("it can be read")).collect()
}

fn assert_found(found: &[String], wanted: &str) {
    assert!(found.iter().any(|line| line.contains(wanted)), "`{wanted}` is not among {found:#?}");
}

#[test]
fn a_sound_store_has_no_findings_and_all_is_counted() {
    let directory = filled();
    let report = report(directory.path());
    assert_eq!((&*report.findings, report.more_findings, report.leftovers), (&[][..], 0, 0));
    assert_eq!(
        (report.jobs, report.runs, report.rows_of::<Plugin>(), report.rows_of::<RememberedSubmit>()),
        (40, 2, 1, 3)
    );
    assert_eq!((report.blobs, report.blob_bytes), (3, 24_000));
    assert!(report.segments >= 1 && report.groups >= 10 && report.entries > 40, "{report:?}");
}

#[test]
fn deleted_neighbours_leave_nothing_behind_in_whatever_order_they_go() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(directory.path());
    must(&store, (1..=40).map(submit).collect());
    let large = |state: &JobState| {
        let output = Payload::Inline(vec![7; 900].into());
        JobState { output: Some(output), ..ended(state, Status::Succeeded) }
    };
    for sequence in 1..=40 {
        step(&store, sequence, running);
        step(&store, sequence, large);
        must(&store, vec![Change::put(audit_row(sequence))]);
    }
    // Each commit by itself, none waited for: the writer takes what waits as one group.
    let order = (1..=40).map(|number| number * 17 % 41);
    let deletions = order.map(|sequence| {
        let expected = state(&store, sequence).revision;
        store.commit(vec![Change::Delete { job: key(sequence), expected }])
    });
    deletions.collect::<Vec<_>>().into_iter().for_each(|pending| pending.wait().expect("it is written"));
    drop(store);
    let report = report(directory.path());
    assert_eq!((&*report.findings, report.jobs, report.leftovers), (&[][..], 0, 0));
    let tree = open_index(directory.path());
    let left: Vec<_> = [b'A', b'B', b'L', b'S', b'Y', b'X', b'Z'].map(|space| keys_of(&tree, &[space]).len()).into();
    assert_eq!(left, [0; 7], "runs, blobs, labels, submissions, rows, lists, parts");
}

fn audit_row(sequence: u64) -> AuditRow {
    AuditRow {
        job: key(sequence),
        revision: 2,
        on: time(5),
        by: "somebody".to_owned(),
        action: Action::Pause,
        from: Status::Queued,
        to: Status::Paused,
        reason: None,
    }
}

#[test]
fn every_entry_that_is_missing_is_found() {
    for (keyspace, wanted) in [
        (&b"S"[..], "no new job is in the block of job 7 of tenant-3"),
        (b"Q", "ready entry"),
        (b"T", "counts of plug-in mailer"),
        (b"W", "timer"),
        (b"X", "list entry"),
        (b"O", "counts of plug-in mailer"),
        (b"Y\x0a", "it does not follow from idempotency-key"),
        (b"y", "entry of a row"),
        (b"C", "they say none"),
        (b"B", "name of a blob"),
        (b"b", "name that a row has for a blob"),
        (b"R", "counts of plug-in mailer"),
    ] {
        let found = found_after(|tree| {
            let key = keys_of(tree, keyspace).pop().expect("there is such an entry");
            tree.remove(key).expect("it can be removed");
        });
        assert_found(&found, wanted);
    }
}

#[test]
fn every_entry_too_many_is_found() {
    for (keyspace, wanted) in [
        (&b"Q"[..], "no new job is in the block"),
        (b"T", "there is no job"),
        (b"W", "it does not follow from"),
        (b"X", "it does not follow from"),
        (b"A", "there is no job"),
        (b"y", "it does not follow from"),
        (b"Y\x09", "it says that it is breaker mailer"),
        (b"Y\x08", "it says that it is token shop"),
        (b"Y\xc8", "this version does not know"),
        (b"_", "this version does not know"),
    ] {
        let found = found_after(|tree| {
            let value = keys_of(tree, keyspace).first().and_then(|key| tree.get(key).expect("it can be read"));
            let mut key = keys_of(tree, keyspace).pop().map_or_else(|| keyspace.to_vec(), |key| key.to_vec());
            if let Some(byte) = key.len().checked_sub(5).and_then(|at| key.get_mut(at)) {
                *byte ^= 0x40;
            }
            tree.insert(key, value.unwrap_or_default()).expect("it can be written");
        });
        assert_found(&found, wanted);
    }
}

#[test]
fn values_that_cannot_be_read_are_found() {
    for keyspace in [&b"S"[..], b"T", b"O", b"A", b"Y\x0a"] {
        let found = found_after(|tree| {
            let key = keys_of(tree, keyspace).pop().expect("there is such an entry");
            let mut value = tree.get(&key).expect("it can be read").expect("it is there").to_vec();
            value.truncate(value.len() - 3);
            tree.insert(key, value).expect("it can be written");
        });
        assert!(!found.is_empty(), "{}", keyspace.escape_ascii());
    }
}

#[test]
fn counts_that_are_wrong_are_found() {
    let found = found_after(|tree| {
        let key = keys_of(tree, b"C").remove(0);
        let mut value = tree.get(&key).expect("it can be read").expect("it is there").to_vec();
        value[2] += 1;
        tree.insert(key, value).expect("it can be written");
    });
    assert_found(&found, "counts of plug-in mailer");
}

#[test]
fn a_state_that_breaks_a_rule_is_found() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(directory.path());
    must(&store, vec![submit(1), submit(2), submit(3)]);
    step(&store, 1, |state| JobState { lease: None, ..running(state) });
    step(&store, 2, |state| JobState { completed_on: None, ..ended(state, Status::Failed) });
    step(&store, 3, |state| JobState { wait_reason: None, ..waiting(state, 4) });
    drop(store);
    let found: Vec<_> = report(directory.path()).findings.into_iter().map(|finding| finding.what).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("I2") && found[1].starts_with("I3"), "{found:?}");
}

#[test]
fn blobs_that_are_lost_or_changed_are_found() {
    let directory = filled();
    let store = open(directory.path());
    let input = job(&store, 40).expect("it is there").submission.input.digest().expect("it is large").to_string();
    let component = store.plugins().expect("it can be read")[0].versions[0].inspection.digest.to_string();
    drop(store);
    let path = |digest: &str| directory.path().join("blobs").join(&digest[..2]).join(&digest[2..]);
    std::fs::remove_file(path(&input)).expect("it can be removed");
    let mut bytes = std::fs::read(path(&component)).expect("it can be read");
    bytes[77] ^= 1;
    std::fs::write(path(&component), bytes).expect("it can be written");
    let found: Vec<_> = report(directory.path()).findings.into_iter().map(|finding| finding.what).collect();
    assert_found(&found, &format!("blob {input} is missing"));
    assert_found(&found, &format!("blob {component} is not what was written"));
    std::fs::remove_file(path(&component)).expect("it can be removed");
    let findings = report(directory.path()).findings;
    assert!(findings.iter().any(|finding| finding.place.contains("plugin mailer of default: 1.0.0")), "{findings:?}");
}

#[test]
fn what_is_broken_in_a_journal_is_found_although_the_index_has_it() {
    let directory = filled();
    let segment = std::fs::read_dir(directory.path().join("journal"))
        .expect("it can be read")
        .map(|entry| entry.expect("it can be read").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .expect("there is a segment");
    let mut bytes = std::fs::read(&segment).expect("it can be read");
    bytes[300] ^= 1;
    std::fs::write(&segment, bytes).expect("it can be written");
    let findings = report(directory.path()).findings;
    assert!(findings.iter().any(|found| found.place == "journal" && found.what.contains("is broken")), "{findings:?}");
}

#[test]
fn a_store_in_use_and_a_directory_without_one_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let missing = verify(settings(&directory.path().join("none"))).expect_err("there is no store");
    assert!(matches!(missing, OpenError::Format { .. }), "{missing}");
    assert!(!directory.path().join("none").exists(), "looking makes nothing");
    let _store = open(directory.path());
    assert!(matches!(verify(settings(directory.path())), Err(OpenError::InUse { .. })));
}

#[test]
fn an_index_that_was_made_again_is_a_finding() {
    let directory = filled();
    let settings = backroom::store::sled::SledSettings { keep_journal_bytes: u64::MAX, ..settings(directory.path()) };
    std::fs::write(directory.path().join("index/db"), vec![0xa5; 1 << 20]).expect("it can be written");
    let findings = verify(settings.clone()).expect("the journal has everything").findings;
    assert!(findings.len() == 1 && findings[0].what.contains("index.damaged-1"), "{findings:?}");
    assert_eq!(verify(settings).expect("it opens").findings, []);
}

#[test]
fn names_of_blobs_that_outlast_their_job_are_leftovers_only() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let store = open(directory.path());
    must(&store, vec![submit(1)]);
    let log = backroom::store::put_payload(&store, vec![1; 2_000].into()).expect("there is room");
    let output = |state: &JobState| JobState { output: Some(log), ..ended(state, Status::Succeeded) };
    step(&store, 1, output);
    step(&store, 1, |state| JobState { output: None, completed_on: None, ..queued(state) });
    must(&store, vec![Change::Delete { job: key(1), expected: 2 }]);
    drop(store);
    let report = report(directory.path());
    assert_eq!((&*report.findings, report.leftovers), (&[][..], 1));
}
