//! A store that is read as it was at one moment, while the work goes on: it gives what there was, whatever is written, removed
//! or brought to disk meanwhile.

use backroom::domain::job::Status;
use backroom::store::Store;
use backroom::store::frozen::{Frozen, FrozenError};
use backroom::store::memory::MemoryStore;
use backroom::store::sled::{SledSettings, SledStore};
use proptest::prelude::*;

use crate::agreement::{Step, changes, steps};
use crate::common::*;
use crate::reopen::assert_same;

/// The index is written after each group, so that everything that changes comes by.
fn eager(path: &std::path::Path) -> SledStore {
    SledStore::open(SledSettings { checkpoint_bytes: 1, ..settings(path) }).expect("the store opens")
}

/// What comes next, in words; empty at the end of the jobs.
fn page(frozen: &mut dyn Frozen) -> Vec<String> {
    frozen.next_jobs().expect("it can be read").iter().map(|job| format!("{job:?}")).collect()
}

/// All that is still to come.
fn rest(frozen: &mut dyn Frozen) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let page = page(frozen);
        if page.is_empty() {
            break;
        }
        lines.extend(page);
    }
    loop {
        let page = frozen.next_rows().expect("it can be read");
        if page.is_empty() {
            return lines;
        }
        lines.extend(page.iter().map(|row| format!("{row:?}")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_there_is_read_whatever_happens(before in steps(), during in steps(), after in steps()) {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let memory = MemoryStore::new();
        let sled = eager(directory.path());
        let mut last = 0;
        let mut apply = |step: &Step| {
            let changes = changes(&memory, &mut last, step);
            assert_eq!(commit(&memory, changes.clone()), commit(&sled, changes));
        };
        (0..10).for_each(|priority| apply(&Step::Submit { count: 30, priority }));
        before.iter().for_each(&mut apply);
        let wanted = rest(&mut *memory.freeze().expect("there is room"));
        let mut frozen = sled.freeze().expect("there is room");
        let moment = frozen.moment();
        let mut later = None;
        let mut found = Vec::new();
        for (index, step) in during.iter().enumerate() {
            apply(step);
            found.extend(page(&mut *frozen));
            if index == during.len() / 2 {
                // A second one sees what has been written since.
                let wanted = rest(&mut *memory.freeze().expect("there is room"));
                later = Some((sled.freeze().expect("there is room"), wanted));
            }
        }
        after.iter().for_each(&mut apply);
        found.extend(rest(&mut *frozen));
        assert_same(&found, &wanted);
        let jobs = wanted.iter().filter(|line| line.starts_with("WholeJob")).count();
        prop_assert_eq!(moment.jobs, jobs as u64);
        if let Some((mut frozen, wanted)) = later {
            assert_same(&rest(&mut *frozen), &wanted);
            prop_assert!(frozen.moment().lsn >= moment.lsn);
        }
    }
}

#[test]
fn more_than_is_kept_in_memory_ends_the_reading_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let settings = SledSettings { checkpoint_bytes: 1, frozen_bytes: 1_000, ..settings(directory.path()) };
    let store = SledStore::open(settings).expect("the store opens");
    must(&store, (1..=100).map(submit).collect());
    (1..=100).for_each(|sequence| step(&store, sequence, |state| waiting(state, 10)));
    let mut frozen = store.freeze().expect("there is room");
    (1..=100).for_each(|sequence| step(&store, sequence, |state| ended(state, Status::Succeeded)));
    assert_eq!(frozen.next_jobs(), Err(FrozenError::Overtaken { limit: 1_000 }));
    let mut again = store.freeze().expect("there is room");
    assert_eq!(rest(&mut *again).iter().filter(|line| line.starts_with("WholeJob")).count(), 100);
}

#[test]
fn what_is_new_since_costs_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let settings = SledSettings { checkpoint_bytes: 1, frozen_bytes: 1_000, ..settings(directory.path()) };
    let store = SledStore::open(settings).expect("the store opens");
    must(&store, (1..=10).map(submit).collect());
    let mut frozen = store.freeze().expect("there is room");
    for sequence in 17..=300 {
        must(&store, vec![submit(sequence)]);
        step(&store, sequence, |state| ended(state, Status::Succeeded));
    }
    assert_eq!(rest(&mut *frozen).iter().filter(|line| line.starts_with("WholeJob")).count(), 10);
}
