//! Random changes: the memory store and the embedded store agree, also after a kill or a close at any point, and so does
//! a store made of a backup; both embedded ones verify.

use std::sync::Arc;

use backroom::domain::audit::{Action, AuditRow};
use backroom::domain::change::Change;
use backroom::domain::id::{ConcurrencyKey, JobKey, TenantId};
use backroom::domain::job::{Job, JobState, Occurrence, Payload, Status, Submission, Ties, WaitReason};
use backroom::domain::query::{JobFilter, JobQuery};
use backroom::domain::queue::{Pause, QueueState};
use backroom::store::Store;
use backroom::store::backup;
use backroom::store::memory::MemoryStore;
use backroom::store::sled::verify::verify;
use proptest::prelude::*;

use crate::backup::quiet;
use crate::common::*;
use crate::reopen::{assert_same, picture, reopened};

/// A step of a random history.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Submit {
        count: u64,
        priority: i8,
    },
    SubmitWaiting,
    /// Jobs that are bound to others.
    SubmitTied {
        count: u64,
        bonds: Bonds,
    },
    Move {
        job: u64,
        to: Status,
        is_stale: bool,
    },
    Delete {
        job: u64,
    },
    /// Neighbours, some of them left out, in any order.
    DeleteMany {
        first: u64,
        among: Vec<u64>,
    },
    /// A command of a person, which changes nothing but its row.
    Audit {
        job: u64,
        revision: u32,
    },
    Breaker {
        name: usize,
        opened_on: Option<i64>,
    },
    Token {
        name: usize,
        made: bool,
    },
    Queue {
        name: usize,
        paused: bool,
        is_stale: bool,
    },
    /// Several changes in one commit.
    Both(Box<Step>, Box<Step>),
    Kill,
    Close,
}

/// What binds the jobs of a step, drawn from so few values that they meet.
#[derive(Clone, Debug)]
pub(crate) struct Bonds {
    key: Option<usize>,
    after: Vec<u64>,
    dedup: Option<usize>,
    label: Option<usize>,
    has_ended: bool,
}

const NAMES: [&str; 3] = ["a", "ab", "b"];

const QUEUES: [&str; 3] = ["bulk", "default", "maintenance"];

fn bonds() -> impl Strategy<Value = Bonds> {
    let one = || prop::option::weighted(0.5, 0..NAMES.len());
    let dedup = prop::option::weighted(0.2, 0..NAMES.len());
    let after = prop::collection::vec(any::<u64>(), 0..3);
    let bonds = (one(), after, dedup, one(), prop::bool::weighted(0.05));
    bonds.prop_map(|(key, after, dedup, label, has_ended)| Bonds { key, after, dedup, label, has_ended })
}

impl Bonds {
    /// A job so bound, after one of those up to `last`.
    fn submission(&self, sequence: u64) -> Submission {
        let earlier = |named: &u64| {
            let named = named % sequence.saturating_sub(1).max(1) + 1;
            // Every third may go at any time, which nobody who waits for it would hear of.
            let named = if named.is_multiple_of(3) { named - 1 } else { named };
            (named < sequence).then(|| submission(named).id)
        };
        let label = self.label.map(|label| NAMES[label]);
        let ties = Ties {
            ordering_key: self.key.map(|key| ordering_key(NAMES[key])),
            concurrency_key: self.key.and_then(|key| ConcurrencyKey::new(NAMES[key]).ok()),
            after: self.after.iter().filter_map(earlier).collect(),
            dedup_key: self.dedup.map(|dedup| dedup_key(NAMES[dedup])),
            regarding: label.map(|label| record(&format!("order/{label}"))),
            batch: self.label.map(|label| submission(label as u64 + 1).id),
            occurrence: label.map(|label| Occurrence { schedule: schedule(label), scheduled_for: time(60) }),
            retry_of: self.label.map(|label| submission(label as u64 + 1).id),
            ..Ties::default()
        };
        let chain = self.label.filter(|label| *label > 0).map(|label| submission(label as u64).id);
        let owner = self.label.map(|label| token_name(NAMES[label]));
        Submission { correlation_id: chain, owner, ..tied(sequence, ties) }
    }

    fn state(&self) -> JobState {
        match self.has_ended {
            true => JobState { revision: 0, ..failed(&JobState::default(), "a loop") },
            false => JobState::default(),
        }
    }
}

fn simple() -> impl Strategy<Value = Step> {
    let to = prop::sample::select(Status::ALL.to_vec());
    prop_oneof![
        2 => (1..40_u64, -1..2_i8).prop_map(|(count, priority)| Step::Submit { count, priority }),
        1 => Just(Step::SubmitWaiting),
        3 => (1..4_u64, bonds()).prop_map(|(count, bonds)| Step::SubmitTied { count, bonds }),
        20 => (any::<u64>(), to, prop::bool::weighted(0.05))
            .prop_map(|(job, to, is_stale)| Step::Move { job, to, is_stale }),
        2 => any::<u64>().prop_map(|job| Step::Delete { job }),
        2 => (any::<u64>(), prop::collection::vec(0..40_u64, 2..30))
            .prop_map(|(first, among)| Step::DeleteMany { first, among }),
        1 => (any::<u64>(), 1..4_u32).prop_map(|(job, revision)| Step::Audit { job, revision }),
        1 => (0..QUEUES.len(), any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(name, paused, is_stale)| Step::Queue { name, paused, is_stale }),
        1 => (0..QUEUES.len(), prop::option::of(0..9_i64))
            .prop_map(|(name, opened_on)| Step::Breaker { name, opened_on }),
        1 => (0..QUEUES.len(), any::<bool>()).prop_map(|(name, made)| Step::Token { name, made }),
    ]
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
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
        Status::Failed if !number.is_multiple_of(4) => {
            failed(state, ["no paper", "no order 17", "no order 4"][number as usize % 3])
        }
        // Sixteen of these are more than a leaf of an index takes.
        Status::Succeeded if number.is_multiple_of(3) => {
            JobState { output: Some(Payload::Inline(vec![7; 900].into())), ..ended(state, to) }
        }
        Status::Succeeded | Status::Failed | Status::Canceled => ended(state, to),
    };
    JobState {
        status: to,
        wait_reason: (to == Status::Waiting).then_some(WaitReason::Postponed),
        completed_on: next.completed_on.filter(|_| to.is_final()),
        ..next
    }
}

/// Whether the rules let it go on: from its end no job comes back, and no store undoes then what the end has undone.
fn may_move(job: &Job) -> bool {
    !job.state.status.is_final()
}

/// Whether the rules let it be deleted, as far as other jobs could notice.
fn may_go(job: &Job) -> bool {
    let nobody_minds = job.submission.ties.is_none() && job.submission.key().sequence.0.is_multiple_of(3);
    nobody_minds || job.state.status.is_final()
}

/// A row of a job that goes in the same commit would stay for ever.
fn without_lost_rows(changes: Vec<Change>) -> Vec<Change> {
    let gone: Vec<JobKey> = changes.iter().filter_map(gone).collect();
    let is_lost = |change: &Change| change.row::<AuditRow>().is_some_and(|row| gone.contains(&row.job));
    changes.into_iter().filter(|change| !is_lost(change)).collect()
}

fn deletion(store: &MemoryStore, sequence: u64) -> Option<Change> {
    let found = job(store, sequence).filter(may_go)?;
    Some(Change::Delete { job: key(sequence), expected: found.state.revision })
}

fn gone(change: &Change) -> Option<JobKey> {
    match change {
        Change::Delete { job, .. } => Some(*job),
        _ => None,
    }
}

/// The changes of a step, by what the memory store has.
pub(crate) fn changes(store: &MemoryStore, last: &mut u64, step: &Step) -> Vec<Change> {
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
        Step::SubmitTied { count, bonds } => {
            let first = *last + 1;
            *last += count;
            let submit = |sequence| Change::Submit(Arc::new(bonds.submission(sequence)), Box::new(bonds.state()));
            (first..=*last).map(submit).collect()
        }
        Step::Audit { job: wanted, revision } => {
            let sequence = pick(*wanted, *last);
            let row = AuditRow {
                job: key(sequence),
                revision: *revision,
                on: time(5),
                by: "somebody".to_owned(),
                action: Action::ALL[*wanted as usize % Action::ALL.len()],
                from: Status::Queued,
                to: Status::Paused,
                reason: None,
            };
            job(store, sequence).map(|_| Change::put(row)).into_iter().collect()
        }
        Step::Breaker { name, opened_on } => vec![Change::put(breaker(0, QUEUES[*name], *opened_on))],
        // Often one that is there already, or is not there.
        Step::Token { name, made: true } => vec![put_token(token(0, QUEUES[*name]))],
        Step::Token { name, made: false } => vec![remove_token(0, QUEUES[*name])],
        Step::Queue { name, paused, is_stale } => {
            let queues = store.queues().expect("it can be read");
            let present = queues.iter().find(|present| present.name.as_str() == QUEUES[*name]);
            let revision = present.map_or(0, |present| present.revision) + u32::from(!*is_stale);
            vec![Change::put(QueueState { name: queue(QUEUES[*name]), revision, pause: paused.then(Pause::default) })]
        }
        Step::Move { job: wanted, to, is_stale } => {
            let sequence = pick(*wanted, *last);
            let Some(found) = job(store, sequence).filter(may_move) else { return Vec::new() };
            let next = moved(&found.state, *to, *wanted);
            let expected = found.state.revision + u32::from(*is_stale);
            let earlier_run = (*wanted % 7 == 0).then(|| run(found.state.runs));
            vec![Change::Advance { job: key(sequence), expected, next: Box::new(next), earlier_run }]
        }
        Step::Delete { job: wanted } => {
            let sequence = pick(*wanted, *last);
            deletion(store, sequence).into_iter().collect()
        }
        Step::DeleteMany { first, among } => {
            let first = pick(*first, *last);
            let mut sequences: Vec<u64> = Vec::new();
            for sequence in among.iter().map(|offset| first + offset) {
                if !sequences.contains(&sequence) {
                    sequences.push(sequence);
                }
            }
            sequences.into_iter().filter_map(|sequence| deletion(store, sequence)).collect()
        }
        Step::Both(first, second) => {
            let mut both = changes(store, last, first);
            both.extend(changes(store, last, second));
            without_lost_rows(both)
        }
        Step::Kill | Step::Close => Vec::new(),
    }
}

/// What jobs have to do with each other, in words that can be compared.
fn bonds_of(store: &dyn Store) -> Vec<String> {
    let tenant = TenantId::DEFAULT;
    let query = |filter| JobQuery { filter, limit: 10_000, ..JobQuery::default() };
    let found = |filter| sequences(&store.jobs(&query(filter)).expect("it can be read").jobs);
    let mut lanes = store.lanes(None, usize::MAX).expect("it can be read");
    lanes.sort();
    let mut lines = Vec::new();
    for lane in &lanes {
        let ready = store.ready(lane, 10_000).expect("it can be read");
        lines.push(format!("{lane:?}: {:?}", sequences(&ready)));
    }
    lines.push(format!("{:?}", store.failures(tenant, 10)));
    for group in store.failures(tenant, 10).expect("it can be read").groups {
        let filter = JobFilter { fingerprint: Some(group.fingerprint), ..JobFilter::default() };
        lines.push(format!("{} {:?}", group.fingerprint, found(filter)));
    }
    for (number, name) in (1..).zip(NAMES) {
        let default = JobFilter::default;
        let named = Some(submission(number).id);
        let filters = [
            JobFilter { ordering_key: Some(ordering_key(name)), ..default() },
            JobFilter { regarding: Some(record(&format!("order/{name}"))), ..default() },
            JobFilter { schedule: Some(schedule(name)), statuses: vec![Status::Queued, Status::Failed], ..default() },
            JobFilter { batch: named, ..default() },
            JobFilter { owner: Some(token_name(name)), ..default() },
            JobFilter { chain: named, ..default() },
            JobFilter { retry_of: named, ordering_key: Some(ordering_key("a")), ..default() },
        ];
        lines.extend(filters.into_iter().map(|filter| format!("{filter:?}: {:?}", found(filter.clone()))));
        lines.push(format!("{name} {:?}", store.dedup_holder(tenant, &dedup_key(name))));
        lines.push(format!("schedule {name} {:?}", store.unfinished_of(tenant, &schedule(name), 3)));
        lines.push(format!("batch {number} {:?}", store.batch(tenant, submission(number).id)));
    }
    for sequence in found(JobFilter::default()) {
        let unfinished = store.predecessors(key(sequence)).map(|found| found.unfinished);
        lines.push(format!("{sequence} waits for {unfinished:?} {:?}", store.audit(key(sequence))));
    }
    lines
}

/// Who has to be asked how he ended before a job may start.
fn predecessors_of(store: &dyn Store) -> Vec<String> {
    let jobs = store.jobs(&JobQuery { limit: 10_000, ..JobQuery::default() }).expect("it can be read").jobs;
    let keys: Vec<JobKey> = jobs.iter().map(|job| job.submission.key()).collect();
    keys.into_iter().map(|key| format!("{key:?} {:?}", store.predecessors(key))).collect()
}

/// What a backup keeps.
fn saved(store: &dyn Store) -> Vec<String> {
    [picture(store), bonds_of(store), predecessors_of(store)].concat()
}

/// Everything that a store can be asked: how often queues were written, too, which a backup does not keep.
pub(crate) fn whole(store: &dyn Store) -> Vec<String> {
    [saved(store), vec![format!("{:?}", store.queues())]].concat()
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
                    let wanted = whole(&memory);
                    reopened(directory.path(), "image", |store| assert_same(&whole(store), &wanted));
                }
                Step::Close => {
                    drop(sled);
                    sled = open(&path);
                }
                _ => {}
            }
        }
        let wanted = whole(&memory);
        assert_same(&whole(&sled), &wanted);
        reopened(directory.path(), "image", |store| assert_same(&whole(store), &wanted));
        let file = directory.path().join("backup");
        backup::save(&sled, &file, time(0), &mut quiet).expect("the store is sound");
        drop(sled);
        prop_assert_eq!(verify(settings(&path)).expect("it opens").findings, []);
        let other = directory.path().join("restored");
        backup::restore(&file, settings(&other), &mut quiet).expect("the backup is sound");
        prop_assert_eq!(verify(settings(&other)).expect("it opens").findings, []);
        let restored = open(&other);
        assert_same(&saved(&restored), &saved(&memory));
    }
}
