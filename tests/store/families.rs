//! Families that no store has heard of: what they say of their rows holds in every store, through restarts and backups.

use std::ops::Bound;
use std::sync::Arc;

use backroom::domain::change::Change;
use backroom::domain::family::{Family, IndexKey, KeyForm, NamedBlob, Row, RowKey, SharedRow, is_next_revision};
use backroom::domain::id::{Digest, JobKey, Sequence, TenantId};
use backroom::domain::job::{JobState, Status};
use backroom::store::memory::MemoryStore;
use backroom::store::{CommitError, Store, everything};
use backroom::stored::{Malformed, Registry, Stored};
use serde::{Deserialize, Serialize};

use crate::common::*;

#[derive(Serialize, Deserialize)]
#[serde(remote = "TenantId")]
struct TenantNumber(u32);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Sequence")]
struct SequenceNumber(u64);

#[derive(Serialize, Deserialize)]
#[serde(remote = "JobKey")]
struct JobNumbers {
    #[serde(with = "TenantNumber")]
    tenant: TenantId,
    #[serde(with = "SequenceNumber")]
    sequence: Sequence,
}

/// Something to remember, with what is attached to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    #[serde(with = "TenantNumber")]
    tenant: TenantId,
    name: String,
    revision: u32,
    topic: String,
    due: Option<i64>,
    attached: Option<(Digest, u64)>,
}

/// A place on a wall that has few.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pin {
    #[serde(with = "TenantNumber")]
    tenant: TenantId,
    name: String,
    revision: u32,
    place: u64,
}

/// What somebody said of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Remark {
    #[serde(with = "JobNumbers")]
    job: JobKey,
    number: u32,
    text: String,
}

const BY_DUE: u8 = 1;
const BY_TOPIC: u8 = 2;
const BY_PLACE: u8 = 1;
const BY_TEXT: u8 = 1;
const PINS_MAX: usize = 3;

impl Row for Note {
    const ROWS: &'static Family = &Family::new(200, "note", KeyForm::TenantAndName);

    fn key(&self) -> RowKey {
        RowKey::named(self.tenant, &self.name)
    }

    fn revision(&self) -> u32 {
        self.revision
    }

    fn follows(&self, present: Option<&Self>) -> bool {
        is_next_revision(self.revision, present.map(|present| present.revision))
    }

    fn index_keys(&self) -> Vec<(u8, IndexKey)> {
        let due = self.due.map(|due| (BY_DUE, IndexKey::of_time(time(due))));
        due.into_iter().chain([(BY_TOPIC, IndexKey::default().text(&self.topic))]).collect()
    }

    fn blobs(&self) -> Vec<NamedBlob> {
        let blob = |(digest, bytes)| NamedBlob { digest, bytes, what: "attachment".to_owned() };
        self.attached.map(blob).into_iter().collect()
    }

    /// A note on nothing is no note.
    fn is_void(&self) -> bool {
        self.topic.is_empty()
    }
}

impl Row for Pin {
    const ROWS: &'static Family = &Family::new(201, "pin", KeyForm::TenantAndName).resident().at_most(PINS_MAX);

    fn key(&self) -> RowKey {
        RowKey::named(self.tenant, &self.name)
    }

    fn revision(&self) -> u32 {
        self.revision
    }

    fn follows(&self, present: Option<&Self>) -> bool {
        is_next_revision(self.revision, present.map(|present| present.revision))
    }

    fn index_keys(&self) -> Vec<(u8, IndexKey)> {
        vec![(BY_PLACE, IndexKey::default().number(self.place))]
    }
}

impl Row for Remark {
    const ROWS: &'static Family = &Family::new(202, "remark", KeyForm::OfJob);

    fn key(&self) -> RowKey {
        RowKey::of_job(self.job, self.number)
    }

    fn follows(&self, _present: Option<&Self>) -> bool {
        true
    }

    fn index_keys(&self) -> Vec<(u8, IndexKey)> {
        vec![(BY_TEXT, IndexKey::default().text(&self.text))]
    }
}

macro_rules! stored {
    ($($number:literal $name:literal $type:ty [$($field:literal),*],)*) => {$(
        impl Stored for $type {
            const FAMILY: u8 = $number;
            const NAME: &'static str = $name;
            const VERSION: u8 = 1;
            const FIELDS: &'static [&'static str] = &[$($field),*];

            fn append_fields(&self, buffer: &mut Vec<u8>) {
                self.append_json(buffer);
            }

            fn read_fields(version: u8, fields: &[u8]) -> Result<Self, Malformed> {
                let json = str::from_utf8(fields).map_err(|error| Malformed::new($name, error.to_string()))?;
                Self::of_json(version, json)
            }

            fn append_json(&self, buffer: &mut Vec<u8>) {
                serde_json::to_writer(buffer, self).expect("it can be written");
            }

            fn of_json(_version: u8, json: &str) -> Result<Self, Malformed> {
                serde_json::from_str(json).map_err(|error| Malformed::new($name, error.to_string()))
            }
        }
    )*};
}

stored! {
    200 "note" Note ["tenant", "name", "revision", "topic", "due", "attached"],
    201 "pin" Pin ["tenant", "name", "revision", "place"],
    202 "remark" Remark ["job", "number", "text"],
}

fn families() -> Registry {
    Registry::standard().with::<Note>().with::<Pin>().with::<Remark>()
}

#[cfg(feature = "host")]
fn settings(path: &std::path::Path) -> backroom::store::sled::SledSettings {
    backroom::store::sled::SledSettings { families: Arc::new(families()), ..crate::common::settings(path) }
}

#[cfg(feature = "host")]
fn open(path: &std::path::Path) -> backroom::store::sled::SledStore {
    backroom::store::sled::SledStore::open(settings(path)).expect("the store opens")
}

fn on_every_store(test: fn(&dyn Store)) {
    test(&MemoryStore::of_families(families()));
    #[cfg(feature = "host")]
    {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        test(&open(directory.path()));
    }
}

fn note(name: &str, revision: u32, topic: &str, due: i64) -> Note {
    Note {
        tenant: TenantId::DEFAULT,
        name: name.to_owned(),
        revision,
        topic: topic.to_owned(),
        due: Some(due),
        attached: None,
    }
}

fn pin(tenant: u32, name: &str, revision: u32, place: u64) -> Pin {
    Pin { tenant: TenantId(tenant), name: name.to_owned(), revision, place }
}

fn remark(sequence: u64, number: u32) -> Remark {
    Remark { job: key(sequence), number, text: format!("remark {number} on {sequence}") }
}

fn typed<T: Row>(rows: Vec<SharedRow>) -> Vec<T> {
    rows.iter().map(|row| row.of::<T>().expect("it is of the family").clone()).collect()
}

fn all<T: Row>(store: &dyn Store) -> Vec<T> {
    typed(store.rows(T::ROWS, everything(), usize::MAX).expect("it can be read"))
}

fn names(notes: &[Note]) -> Vec<&str> {
    notes.iter().map(|note| note.name.as_str()).collect()
}

fn due_by(store: &dyn Store, from: Bound<i64>, to: Bound<i64>, limit: usize) -> Vec<Note> {
    let by = |bound: Bound<i64>| bound.map(|due| IndexKey::of_time(time(due)));
    typed(store.rows_by(Note::ROWS, BY_DUE, (by(from), by(to)), limit).expect("it can be read"))
}

const fn refused(index: usize) -> Result<(), CommitError> {
    Err(CommitError::Conflict { index })
}

#[test]
fn a_row_is_put_changed_and_removed_as_its_family_says() {
    on_every_store(|store| {
        let put = |revision| commit(store, vec![Change::put(note("a", revision, "tea", 5))]);
        assert_eq!((put(2), put(1), put(1), put(2)), (refused(0), Ok(()), refused(0), Ok(())));
        let wanted = note("a", 2, "tea", 5);
        let found = store.row(Note::ROWS, &wanted.key()).expect("it can be read").expect("it is there");
        assert_eq!(found.of::<Note>(), Some(&wanted));
        assert_eq!(commit(store, vec![Change::remove(&note("a", 1, "tea", 5))]), refused(0));
        must(store, vec![Change::remove(&wanted)]);
        assert_eq!(commit(store, vec![Change::remove(&wanted)]), refused(0));
        assert_eq!(store.row(Note::ROWS, &wanted.key()).expect("it can be read"), None);
        // One that says nothing takes the other away, and is not there to be removed.
        must(store, vec![Change::put(note("b", 1, "tea", 5))]);
        must(store, vec![Change::put(note("b", 2, "", 5))]);
        assert_eq!(
            (all::<Note>(store), commit(store, vec![Change::remove(&note("b", 2, "", 5))])),
            (vec![], refused(0))
        );
        assert_eq!(store.first_of(Note::ROWS, BY_DUE).expect("it can be read"), None);
    });
}

#[test]
fn several_rows_of_one_commit_build_on_each_other_or_none_is_written() {
    on_every_store(|store| {
        let first = || Change::put(note("a", 1, "tea", 5));
        let stale = vec![first(), submit(1), Change::put(pin(0, "a", 1, 9)), Change::put(note("a", 3, "tea", 5))];
        assert_eq!(commit(store, stale), refused(3));
        assert_eq!((all::<Note>(store), all::<Pin>(store), job(store, 1)), (vec![], vec![], None));
        let gone = Change::remove(&note("a", 2, "tea", 5));
        let changes =
            vec![first(), Change::put(note("a", 2, "tea", 6)), gone, first(), Change::put(note("a", 2, "tea", 7))];
        must(store, changes);
        assert_eq!(all::<Note>(store), [note("a", 2, "tea", 7)]);
        assert_eq!(due_by(store, Bound::Unbounded, Bound::Unbounded, 9), [note("a", 2, "tea", 7)]);
        // Two commits that are on their way together are decided one after the other.
        let both = [8, 9].map(|due| store.commit(vec![Change::put(note("a", 3, "tea", due))]));
        let written: Vec<_> = both.into_iter().map(|pending| pending.wait()).collect();
        assert_eq!((written, all::<Note>(store)), (vec![Ok(()), refused(0)], vec![note("a", 3, "tea", 8)]));
    });
}

#[test]
fn rows_are_listed_by_key_and_by_what_they_are_found_by() {
    on_every_store(|store| {
        for (name, topic, due) in
            [("d", "tea", 4), ("a", "te", 9), ("c", "tea", -3), ("b", "teapot", 4), ("e", "tea", 20)]
        {
            must(store, vec![Change::put(note(name, 1, topic, due))]);
        }
        let foreign = Note { tenant: TenantId(1), due: None, ..note("a", 1, "tea", 0) };
        must(store, vec![Change::put(foreign), Change::put(pin(0, "z", 1, 3))]);
        assert_eq!(names(&all(store)), ["a", "b", "c", "d", "e", "a"]);
        let at = |name: &str| RowKey::named(TenantId::DEFAULT, name);
        let some = |from, to, limit| -> Vec<Note> {
            typed(store.rows(Note::ROWS, (from, to), limit).expect("it can be read"))
        };
        assert_eq!(names(&some(Bound::Included(at("b")), Bound::Included(at("d")), 9)), ["b", "c", "d"]);
        assert_eq!(names(&some(Bound::Excluded(at("b")), Bound::Excluded(at("d")), 9)), ["c"]);
        assert_eq!(names(&some(Bound::Excluded(at("b")), Bound::Unbounded, 2)), ["c", "d"]);
        assert_eq!(names(&due_by(store, Bound::Unbounded, Bound::Unbounded, 9)), ["c", "b", "d", "a", "e"]);
        assert_eq!(names(&due_by(store, Bound::Included(4), Bound::Excluded(20), 9)), ["b", "d", "a"]);
        assert_eq!(names(&due_by(store, Bound::Excluded(4), Bound::Included(20), 9)), ["a", "e"]);
        assert_eq!(names(&due_by(store, Bound::Unbounded, Bound::Included(9), 2)), ["c", "b"]);
        let first = store.first_of(Note::ROWS, BY_DUE).expect("it can be read").and_then(|by| by.first_time());
        assert_eq!(first, Some(time(-3)));
        // A topic that begins another is another.
        let tea = IndexKey::default().text("tea");
        let on_tea = store.rows_by(Note::ROWS, BY_TOPIC, (Bound::Included(tea.clone()), Bound::Included(tea)), 9);
        assert_eq!(names(&typed(on_tea.expect("it can be read"))), ["c", "d", "e", "a"]);
        must(store, vec![Change::put(note("c", 2, "coffee", 100))]);
        assert_eq!(names(&due_by(store, Bound::Included(20), Bound::Unbounded, 9)), ["e", "c"]);
    });
}

#[test]
fn a_tenant_has_no_more_rows_than_its_family_says() {
    on_every_store(|store| {
        let put = |name: &str, place| Change::put(pin(0, name, 1, place));
        assert_eq!(commit(store, vec![put("a", 1), put("b", 2), put("c", 3), put("d", 4)]), refused(3));
        must(store, vec![put("a", 9), put("b", 2), put("c", 3)]);
        assert_eq!(commit(store, vec![put("d", 4)]), refused(0));
        must(store, vec![Change::put(pin(1, "d", 1, 4)), Change::put(pin(0, "c", 2, 5))]);
        must(store, vec![Change::remove(&pin(0, "b", 1, 2)), put("d", 1)]);
        assert_eq!(commit(store, vec![put("b", 2)]), refused(0));
        let by_place = store.rows_by(Pin::ROWS, BY_PLACE, everything(), 9).expect("it can be read");
        let places: Vec<_> = typed::<Pin>(by_place).iter().map(|pin| (pin.place, pin.tenant.0)).collect();
        assert_eq!(places, [(1, 0), (4, 1), (5, 0), (9, 0)]);
    });
}

#[test]
fn rows_of_a_job_go_with_it() {
    on_every_store(|store| {
        must(store, (1..=3).map(submit).chain([remark(2, 1), remark(2, 300), remark(3, 1)].map(Change::put)).collect());
        step(store, 2, |state: &JobState| ended(state, Status::Canceled));
        delete(store, 2);
        assert_eq!(all::<Remark>(store), [remark(3, 1)]);
        let by_text = store.rows_by(Remark::ROWS, BY_TEXT, everything(), 9).expect("it can be read");
        assert_eq!(typed::<Remark>(by_text), [remark(3, 1)]);
    });
}

#[test]
fn a_store_takes_no_row_of_a_family_that_it_does_not_know() {
    let refuses = |store: &dyn Store| {
        let taken = commit(store, vec![submit(1), Change::put(note("a", 1, "tea", 1))]);
        assert!(matches!(&taken, Err(CommitError::Failed(why)) if why.contains("note")), "{taken:?}");
        assert_eq!(job(store, 1), None);
        must(store, vec![submit(1)]);
    };
    refuses(&*memory());
    #[cfg(feature = "host")]
    refuses(&*sled());
}

/// Notes, pins and remarks, some of them changed or gone.
fn fill(store: &dyn Store) {
    let attached = vec![7; 9_000];
    let digest = store.put_blob(attached.into()).expect("there is room");
    must(store, (1..=40).map(submit).collect());
    for number in 0..300 {
        let plain =
            note(&format!("n-{number}"), 1, &"long ".repeat(number % 7 * 300 + 1), i64::from(number as i32 % 11));
        must(store, vec![Change::put(Note { attached: (number == 5).then_some((digest, 9_000)), ..plain })]);
    }
    must(store, vec![Change::put(note("n-7", 2, "changed", 70)), Change::remove(&note("n-8", 1, "", 0))]);
    must(store, vec![Change::put(pin(0, "a", 1, 9)), Change::put(pin(0, "a", 2, 4)), Change::put(pin(1, "b", 1, 2))]);
    must(store, (1..=40).map(|sequence| Change::put(remark(sequence, 1))).collect());
    delete(store, 9);
}

/// All that can be asked of the rows, in words.
fn picture(store: &dyn Store) -> Vec<String> {
    let mut lines = Vec::new();
    for (family, indexes) in
        [(Note::ROWS, &[BY_DUE, BY_TOPIC][..]), (Pin::ROWS, &[BY_PLACE]), (Remark::ROWS, &[BY_TEXT])]
    {
        let rows = store.rows(family, everything(), usize::MAX).expect("it can be read");
        lines.extend(rows.iter().map(|row| format!("{row:?}")));
        for index in indexes {
            let rows = store.rows_by(family, *index, everything(), usize::MAX).expect("it can be read");
            lines.extend(rows.iter().map(|row| format!("{index} {}", row.describe())));
            lines.push(format!("{:?}", store.first_of(family, *index)));
        }
    }
    lines
}

#[cfg(feature = "host")]
mod on_disk {
    use backroom::store::backup;
    use backroom::store::sled::OpenError;
    use backroom::store::sled::verify::verify;

    use super::*;
    use crate::backup::quiet;
    use crate::reopen::{assert_same, copy};

    /// What both stores say after the same history.
    fn filled(path: &std::path::Path) -> (backroom::store::sled::SledStore, Vec<String>) {
        let (store, memory) = (open(path), MemoryStore::of_families(families()));
        fill(&store);
        fill(&memory);
        let wanted = picture(&memory);
        assert_eq!(wanted.len(), 299 * 3 + 2 * 2 + 39 * 2 + 4);
        assert_same(&picture(&store), &wanted);
        (store, wanted)
    }

    #[test]
    fn new_families_survive_a_kill_and_a_close_and_verify() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let (path, image) = (directory.path().join("store"), directory.path().join("image"));
        let (store, wanted) = filled(&path);
        copy(&path, &image);
        assert_same(&picture(&open(&image)), &wanted);
        drop(store);
        assert_same(&picture(&open(&path)), &wanted);
        for path in [path, image] {
            let report = verify(settings(&path)).expect("it opens");
            assert_eq!((&*report.findings, report.leftovers), (&[][..], 0));
            assert_eq!((report.rows_of::<Note>(), report.rows_of::<Pin>(), report.rows_of::<Remark>()), (299, 2, 39));
            let refused = backroom::store::sled::SledStore::open(crate::common::settings(&path));
            let refused = refused.expect_err("this host does not know notes");
            assert!(matches!(&refused, OpenError::Later { found, .. } if found.contains("note")), "{refused}");
        }
    }

    #[test]
    fn what_is_missing_or_too_much_of_a_new_family_is_found() {
        let cases: [(&[u8], &str); 4] = [
            (b"Y\xc8", "it does not follow from note n-99 of default"),
            (b"y\xc8\x02", "entry of a row"),
            (b"y\xc9", "entry of a row"),
            (b"b", "name that a row has for a blob"),
        ];
        for (prefix, wanted) in cases {
            let directory = tempfile::tempdir().expect("a temporary directory can be made");
            let (store, _) = filled(directory.path());
            drop(store);
            let tree = open_index(directory.path());
            let key = tree.scan_prefix(prefix).keys().next_back().expect("there is one").expect("it can be read");
            tree.remove(key).expect("it can be removed");
            tree.flush().expect("it can be written");
            drop(tree);
            let findings = verify(settings(directory.path())).expect("it opens").findings;
            let lines: Vec<_> = findings.iter().map(|found| format!("{}: {}", found.place, found.what)).collect();
            assert!(lines.iter().any(|line| line.contains(wanted)), "`{wanted}` is not among {lines:#?}");
        }
    }

    #[test]
    fn a_backup_keeps_new_families_and_a_store_that_does_not_know_them_takes_none() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let (store, wanted) = filled(&directory.path().join("store"));
        let (file, other) = (directory.path().join("backup"), directory.path().join("restored"));
        let contents = backup::save(&store, &file, time(0), &mut quiet).expect("the store is sound");
        assert_eq!((contents.rows_of::<Note>(), contents.rows_of::<Remark>(), contents.blobs), (299, 39, 1));
        backup::restore(&file, settings(&other), &mut quiet).expect("the backup is sound");
        assert_eq!(verify(settings(&other)).expect("it opens").findings, []);
        assert_same(&picture(&open(&other)), &wanted);
        let strange = backup::restore(&file, crate::common::settings(&directory.path().join("none")), &mut quiet);
        assert!(strange.expect_err("notes are not known").to_string().contains("note"));
    }
}
