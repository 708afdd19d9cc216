//! `backroom store`: a store is looked through, saved and restored; everything that cannot be done says what can.

use std::path::Path;

use backroom::domain::change::Change;
use backroom::domain::id::HostId;
use backroom::domain::queue::Pause;
use backroom::domain::service::ServiceState;
use backroom::store::Store;
use backroom::store::sled::{SledSettings, SledStore};
use serde_json::Value;

use super::program::{Ran, run_in};

fn opened(path: &Path) -> SledStore {
    SledStore::open(SledSettings { min_free_bytes: 0, ..SledSettings::new(path) }).expect("the store opens")
}

/// A folder with a store in `data` whose service is paused.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = opened(&folder.path().join("data"));
    let changes = vec![Change::StartHost(HostId(4)), Change::put(ServiceState::Paused(Pause::default()))];
    store.commit(changes).wait().expect("there is room");
    store.put_blob(vec![7; 4_000].into()).expect("there is room");
    folder
}

fn store(folder: &Path, args: &[&str]) -> Ran {
    run_in(folder, &[&["store"], args].concat())
}

fn refused(ran: &Ran, code: i32, wanted: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.whole());
    wanted.iter().for_each(|text| assert!(ran.err.contains(text), "`{text}` is not in {}", ran.whole()));
}

#[test]
fn a_store_is_verified_saved_and_restored() {
    let folder = folder();
    let verified = store(folder.path(), &["verify", "--data", "data"]).done();
    assert!(verified.contains("everything fits together"), "{verified}");
    let saved = store(folder.path(), &["backup", "nightly", "--data", "data"]).done();
    assert!(saved.contains("backroom store restore nightly --data NEW_DIRECTORY"), "{saved}");
    let restored = store(folder.path(), &["restore", "nightly", "--data", "other"]).done();
    assert!(restored.contains("backroom serve --data other"), "{restored}");
    let report: Value = serde_json::from_str(&store(folder.path(), &["verify", "--data", "other", "--json"]).done())
        .expect("it is JSON");
    assert_eq!((&report["sound"], &report["report"]["jobs"]), (&Value::Bool(true), &Value::from(0)));
    let store = opened(&folder.path().join("other"));
    assert_eq!(store.service(), Ok(ServiceState::Paused(Pause::default())));
    assert!(store.next_host().0 > 4);
}

#[test]
fn a_store_in_use_is_left_alone() {
    let folder = folder();
    let _held = opened(&folder.path().join("data"));
    let verified = store(folder.path(), &["verify", "--data", "data"]);
    refused(&verified, 1, &["error[BR0401]", "next: stop that host, then: backroom store"]);
    let saved = store(folder.path(), &["backup", "nightly", "--data", "data"]);
    refused(&saved, 1, &["error[BR0401]", "leave --data out: backroom store backup FILE"]);
    assert!(!folder.path().join("nightly").exists());
}

#[test]
fn nothing_is_overwritten_or_made_by_mistake() {
    let folder = folder();
    refused(&store(folder.path(), &["verify", "--data", "typo"]), 2, &["there is no store in", "--data DIR"]);
    assert!(!folder.path().join("typo").exists());
    store(folder.path(), &["backup", "nightly", "--data", "data"]).done();
    refused(&store(folder.path(), &["backup", "nightly", "--data", "data"]), 2, &["exists already"]);
    let onto = store(folder.path(), &["restore", "nightly", "--data", "data"]);
    refused(&onto, 2, &["is not empty", "next: backroom store restore nightly --data NEW_DIRECTORY"]);
    refused(&store(folder.path(), &["restore", "no-such", "--data", "other"]), 2, &["no-such: "]);
    assert!(!folder.path().join("other").exists());
}

#[test]
fn damage_is_said_with_its_code() {
    let folder = folder();
    store(folder.path(), &["backup", "nightly", "--data", "data"]).done();
    let file = folder.path().join("nightly");
    let whole = std::fs::read(&file).expect("it can be read");
    std::fs::write(&file, &whole[..whole.len() - 1]).expect("it can be written");
    let cut_off = store(folder.path(), &["restore", "nightly", "--data", "other"]);
    refused(&cut_off, 1, &["error[BR0402]", "nightly: line 4 of the backup is damaged"]);
    std::fs::write(&file, "something else\n").expect("it can be written");
    refused(&store(folder.path(), &["restore", "nightly", "--data", "other"]), 1, &["error[BR0405]", "something else"]);

    let blobs = folder.path().join("data/blobs");
    let digests = std::fs::read_dir(&blobs).expect("it can be read").map(|entry| entry.expect("it is there").path());
    let named = digests.filter(|path| !path.ends_with("tmp")).flat_map(|path| path.read_dir().expect("it is there"));
    let blob = named.map(|entry| entry.expect("it is there").path()).next().expect("there is a blob");
    std::fs::write(blob, "other bytes").expect("it can be written");
    let verified = store(folder.path(), &["verify", "--data", "data"]);
    refused(
        &verified,
        1,
        &["error[BR0402]", "damaged in one place", "backroom store restore FILE --data NEW_DIRECTORY"],
    );
    assert!(verified.out.contains("is not what was written"), "{}", verified.whole());
    std::fs::write(folder.path().join("data/format"), "backroom store, format 99\n").expect("it can be written");
    refused(&store(folder.path(), &["verify", "--data", "data"]), 1, &["error[BR0405]", "format 99"]);
}
