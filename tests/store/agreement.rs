//! Random changes: the memory store and the embedded store agree, also after a kill or a close at any point, and so does
//! a store made of a backup; both embedded ones verify.

use backroom::domain::change::Change;
use backroom::domain::job::{JobState, Status, WaitReason};
use backroom::store::backup;
use backroom::store::memory::MemoryStore;
use backroom::store::sled::verify::verify;
use proptest::prelude::*;

use crate::common::*;
use crate::reopen::{assert_same, picture, reopened};

/// A step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Submit {
        count: u64,
        priority: i8,
    },
    SubmitWaiting,
    Move {
        job: u64,
        to: Status,
        is_stale: bool,
    },
    Delete {
        job: u64,
    },
    /// Several changes in one commit.
    Both(Box<Step>, Box<Step>),
    Kill,
    Close,
}

fn simple() -> impl Strategy<Value = Step> {
    let to = prop::sample::select(Status::ALL.to_vec());
    prop_oneof![
        2 => (1..40_u64, -1..2_i8).prop_map(|(count, priority)| Step::Submit { count, priority }),
        1 => Just(Step::SubmitWaiting),
        20 => (any::<u64>(), to, prop::bool::weighted(0.05))
            .prop_map(|(job, to, is_stale)| Step::Move { job, to, is_stale }),
        2 => any::<u64>().prop_map(|job| Step::Delete { job }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => simple(),
        3 => (simple(), simple()).prop_map(|(first, second)| Step::Both(Box::new(first), Box::new(second))),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 1..80)
}

fn moved(state: &JobState, to: Status, number: u64) -> JobState {
    let until = i64::try_from(number % 50).expect("it is small");
    let next = match to {
        Status::Queued => queued(state),
        Status::Waiting | Status::Retrying => waiting(state, until),
        Status::Paused => JobState { postpone_until: None, ..waiting(state, 0) },
        Status::Running | Status::Pausing | Status::Canceling => running(state),
        Status::Succeeded | Status::Failed | Status::Canceled => ended(state, to),
    };
    JobState {
        status: to,
        wait_reason: (to == Status::Waiting).then_some(WaitReason::Postponed),
        completed_on: next.completed_on.filter(|_| to.is_final()),
        ..next
    }
}

/// The changes of a step, by what the memory store has.
fn changes(store: &MemoryStore, last: &mut u64, step: &Step) -> Vec<Change> {
    let pick = |job: u64, last: u64| job % last.max(1) + 1;
    match step {
        Step::Submit { count, priority } => {
            let first = *last + 1;
            *last += count;
            let with = |sequence| {
                let mut wanted = submission(sequence);
                wanted.priority = *priority;
                submit_as(wanted)
            };
            (first..=*last).map(with).collect()
        }
        Step::SubmitWaiting => {
            *last += 1;
            let initial = JobState { revision: 0, ..waiting(&JobState::default(), 7) };
            vec![Change::Submit(std::sync::Arc::new(submission(*last)), Box::new(initial))]
        }
        Step::Move { job: wanted, to, is_stale } => {
            let sequence = pick(*wanted, *last);
            let Some(found) = job(store, sequence) else { return Vec::new() };
            let next = moved(&found.state, *to, *wanted);
            let expected = found.state.revision + u32::from(*is_stale);
            let earlier_run = (*wanted % 7 == 0).then(|| run(found.state.runs));
            vec![Change::Advance { job: key(sequence), expected, next: Box::new(next), earlier_run }]
        }
        Step::Delete { job: wanted } => {
            let sequence = pick(*wanted, *last);
            let found = job(store, sequence);
            found
                .map(|found| Change::Delete { job: key(sequence), expected: found.state.revision })
                .into_iter()
                .collect()
        }
        Step::Both(first, second) => {
            let mut both = changes(store, last, first);
            both.extend(changes(store, last, second));
            both
        }
        Step::Kill | Step::Close => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_agree(steps in steps()) {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path().join("store");
        let memory = MemoryStore::new();
        let mut sled = open(&path);
        let mut last = 0;
        for step in &steps {
            let changes = changes(&memory, &mut last, step);
            prop_assert_eq!(commit(&memory, changes.clone()), commit(&sled, changes));
            match step {
                Step::Kill => {
                    let wanted = picture(&memory);
                    reopened(directory.path(), "image", |store| assert_same(&picture(store), &wanted));
                }
                Step::Close => {
                    drop(sled);
                    sled = open(&path);
                }
                _ => {}
            }
        }
        let wanted = picture(&memory);
        assert_same(&picture(&sled), &wanted);
        reopened(directory.path(), "image", |store| assert_same(&picture(store), &wanted));
        let file = directory.path().join("backup");
        backup::save(&sled, &file, time(0)).expect("the store is sound");
        drop(sled);
        prop_assert_eq!(verify(settings(&path)).expect("it opens").findings, []);
        let other = directory.path().join("restored");
        backup::restore(&file, settings(&other)).expect("the backup is sound");
        prop_assert_eq!(verify(settings(&other)).expect("it opens").findings, []);
        assert_same(&picture(&open(&other)), &wanted);
    }
}
