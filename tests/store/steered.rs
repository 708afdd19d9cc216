//! What people did: audit rows, batches and queues.

use std::sync::Arc;

use backroom::domain::audit::{Action, AuditRow};
use backroom::domain::change::Change;
use backroom::domain::id::{JobKey, Sequence, TenantId};
use backroom::domain::job::{JobState, Status, Submission, Ties};
use backroom::domain::query::Counts;
use backroom::domain::queue::{Pause, QueueState};
use backroom::store::{CommitError, Store};

use crate::common::*;

on_every_store!(
    audit_rows_are_listed_oldest_first,
    audit_rows_go_with_their_job,
    a_refused_commit_leaves_no_audit_row,
    a_batch_counts_its_jobs_by_status,
    batches_of_tenants_are_apart,
    a_queue_follows_its_revision,
    queues_are_listed_by_name,
);

fn row(sequence: u64, revision: u32) -> AuditRow {
    let action = Action::ALL[revision as usize % Action::ALL.len()];
    AuditRow {
        job: key(sequence),
        revision,
        on: time(i64::from(revision)),
        by: "somebody".to_owned(),
        action,
        from: Status::Queued,
        to: Status::Waiting,
        reason: revision.is_multiple_of(2).then(|| "because ".repeat(revision as usize)),
    }
}

fn audit(store: &dyn Store, sequence: u64) -> Vec<AuditRow> {
    store.audit(key(sequence)).expect("it can be read")
}

fn audit_rows_are_listed_oldest_first(store: &dyn Store) {
    must(store, vec![submit(1), submit(2), submit(3)]);
    assert_eq!(audit(store, 2), []);
    // Later revisions have more digits, and jobs take turns.
    let revisions = [1, 2, 9, 10, 100, 300, 70_000];
    for revision in revisions {
        must(store, vec![Change::put(row(2, revision)), Change::put(row(1, revision + 1))]);
    }
    assert_eq!(audit(store, 2), revisions.map(|revision| row(2, revision)));
    assert_eq!(audit(store, 1), revisions.map(|revision| row(1, revision + 1)));
    assert_eq!(audit(store, 3), []);
    let foreign = JobKey { tenant: TenantId(1), sequence: Sequence(2) };
    assert_eq!(store.audit(foreign), Ok(Vec::new()));
}

fn audit_rows_go_with_their_job(store: &dyn Store) {
    must(store, vec![submit(1), submit(2)]);
    for sequence in [1, 2] {
        let next = ended(&JobState::default(), Status::Canceled);
        must(store, vec![advance(key(sequence), next), Change::put(row(sequence, 1))]);
    }
    // One long row takes more than one entry of some stores.
    let long = AuditRow { reason: Some("because ".repeat(2_000)), ..row(1, 2) };
    must(store, vec![Change::put(long.clone())]);
    assert_eq!(audit(store, 1), [row(1, 1), long]);
    delete(store, 1);
    assert_eq!(audit(store, 1), []);
    assert_eq!(audit(store, 2), [row(2, 1)]);
}

fn a_refused_commit_leaves_no_audit_row(store: &dyn Store) {
    must(store, vec![submit(1)]);
    let stale = JobState { revision: 9, ..running(&JobState::default()) };
    let refused = commit(store, vec![Change::put(row(1, 1)), advance(key(1), stale)]);
    assert_eq!(refused, Err(CommitError::Conflict { index: 1 }));
    assert_eq!(audit(store, 1), []);
}

fn member(sequence: u64, batch: u64) -> Submission {
    tied(sequence, Ties { batch: Some(submission(batch).id), ..Ties::default() })
}

fn counts(store: &dyn Store, tenant: u32, batch: u64) -> Vec<(Status, u64)> {
    let counts = store.batch(TenantId(tenant), submission(batch).id).expect("it can be read");
    let all = Status::ALL.into_iter().map(|status| (status, counts.of(status)));
    all.filter(|(_, count)| *count > 0).collect()
}

fn a_batch_counts_its_jobs_by_status(store: &dyn Store) {
    must(store, vec![submit(1), submit(2)]);
    assert_eq!(store.batch(TenantId::DEFAULT, submission(1).id), Ok(Counts::default()));
    must(store, (11..=40).map(|sequence| submit_as(member(sequence, 1 + sequence % 2))).collect());
    assert_eq!(counts(store, 0, 1), [(Status::Queued, 15)]);
    step(store, 12, running);
    step(store, 14, |state| waiting(state, 9));
    step(store, 16, |state| ended(state, Status::Failed));
    step(store, 12, |state| ended(state, Status::Succeeded));
    step(store, 18, running);
    let wanted =
        [(Status::Queued, 11), (Status::Waiting, 1), (Status::Running, 1), (Status::Succeeded, 1), (Status::Failed, 1)];
    assert_eq!(counts(store, 0, 1), wanted);
    assert_eq!(counts(store, 0, 2), [(Status::Queued, 15)]);
    // The batch itself is no member, and one that ended before it began counts.
    step(store, 1, running);
    let refused = JobState { revision: 0, ..failed(&JobState::default(), "a loop") };
    must(store, vec![Change::Submit(Arc::new(member(41, 1)), Box::new(refused))]);
    assert_eq!(counts(store, 0, 1).last(), Some(&(Status::Failed, 2)));
    delete(store, 16);
    delete(store, 12);
    let wanted = [(Status::Queued, 11), (Status::Waiting, 1), (Status::Running, 1), (Status::Failed, 1)];
    assert_eq!(counts(store, 0, 1), wanted);
    for sequence in (11..=40).filter(|sequence| sequence % 2 == 1) {
        step(store, sequence, |state| ended(state, Status::Canceled));
        delete(store, sequence);
    }
    assert_eq!(counts(store, 0, 2), []);
}

fn batches_of_tenants_are_apart(store: &dyn Store) {
    let foreign = Submission { tenant: TenantId(2), ..member(3, 1) };
    must(store, vec![submit_as(member(2, 1)), submit_as(foreign), submit_as(member(4, 1))]);
    assert_eq!(counts(store, 0, 1), [(Status::Queued, 2)]);
    assert_eq!(counts(store, 2, 1), [(Status::Queued, 1)]);
    assert_eq!(counts(store, 1, 1), []);
}

fn asked(name: &str, revision: u32, paused: bool) -> QueueState {
    QueueState { name: queue(name), revision, pause: paused.then(Pause::default) }
}

fn a_queue_follows_its_revision(store: &dyn Store) {
    let put = |revision, paused| commit(store, vec![Change::put(asked("bulk", revision, paused))]);
    let conflict = Err(CommitError::Conflict { index: 0 });
    assert_eq!(store.queues(), Ok(Vec::new()));
    assert_eq!((put(0, true), put(2, true)), (conflict.clone(), conflict.clone()));
    assert_eq!(put(1, true), Ok(()));
    assert_eq!(put(1, false), conflict);
    assert_eq!(store.queues(), Ok(vec![asked("bulk", 1, true)]));
    assert_eq!(put(2, false), Ok(()));
    // Several in one commit build on each other.
    let more = |revisions: [u32; 2]| revisions.map(|revision| Change::put(asked("bulk", revision, true))).to_vec();
    assert_eq!(commit(store, more([3, 3])), Err(CommitError::Conflict { index: 1 }));
    assert_eq!(commit(store, more([3, 4])), Ok(()));
    assert_eq!(store.queues(), Ok(vec![asked("bulk", 4, true)]));
}

fn queues_are_listed_by_name(store: &dyn Store) {
    for name in ["maintenance", "bulk", "default", "bulk-two"] {
        must(store, vec![Change::put(asked(name, 1, name.len() % 2 == 0))]);
    }
    let found = store.queues().expect("it can be read");
    let found: Vec<_> = found.iter().map(|queue| (queue.name.as_str(), queue.pause.is_some())).collect();
    assert_eq!(found, [("bulk", true), ("bulk-two", true), ("default", false), ("maintenance", false)]);
}
