//! At most one unfinished job has a dedup key (promise 6).

use std::sync::Arc;

use backroom::domain::change::Change;
use backroom::domain::id::{JobKey, Sequence, TenantId};
use backroom::domain::job::{JobState, Status, Submission, Ties};
use backroom::store::{CommitError, Store};

use crate::common::*;

on_every_store!(
    a_dedup_key_is_refused_while_its_job_is_unfinished,
    of_two_in_one_commit_the_second_is_refused,
    a_key_is_free_again_in_the_commit_that_ends_its_job,
    of_many_submits_at_once_one_wins,
    a_job_that_ended_before_it_was_submitted_frees_no_key,
    tenants_and_keys_are_apart,
);

fn unique(sequence: u64, key: &str) -> Submission {
    tied(sequence, Ties { dedup_key: Some(dedup_key(key)), ..Ties::default() })
}

fn submit_unique(sequence: u64, key: &str) -> Change {
    submit_as(unique(sequence, key))
}

fn holder(store: &dyn Store, key: &str) -> Option<u64> {
    let holder = store.dedup_holder(TenantId::DEFAULT, &dedup_key(key)).expect("it can be read");
    holder.map(|holder| holder.sequence.0)
}

const REFUSED: Result<(), CommitError> = Err(CommitError::Conflict { index: 0 });

fn a_dedup_key_is_refused_while_its_job_is_unfinished(store: &dyn Store) {
    assert_eq!(holder(store, "d"), None);
    must(store, vec![submit_unique(1, "d")]);
    let refuses = |sequence| {
        assert_eq!(holder(store, "d"), Some(1));
        assert_eq!(commit(store, vec![submit_unique(sequence, "d")]), REFUSED);
        assert_eq!(job(store, sequence), None);
    };
    refuses(2);
    step(store, 1, running);
    refuses(3);
    step(store, 1, |state| waiting(state, 9));
    refuses(4);
    step(store, 1, queued);
    refuses(5);
    for (sequence, status) in [(1, Status::Succeeded), (6, Status::Failed), (7, Status::Canceled)] {
        step(store, sequence, |state| ended(state, status));
        assert_eq!(holder(store, "d"), None);
        let next = sequence.max(5) + 1;
        must(store, vec![submit_unique(next, "d")]);
        assert_eq!(holder(store, "d"), Some(next));
    }
    // An earlier job that goes does not take the key from the present one.
    delete(store, 1);
    delete(store, 7);
    assert_eq!(holder(store, "d"), Some(8));
}

fn of_two_in_one_commit_the_second_is_refused(store: &dyn Store) {
    let both = vec![submit_unique(1, "d"), submit(2), submit_unique(3, "d")];
    assert_eq!(commit(store, both), Err(CommitError::Conflict { index: 2 }));
    assert_eq!((job(store, 1), holder(store, "d")), (None, None));
    must(store, vec![submit_unique(4, "d"), submit_unique(5, "e")]);
    assert_eq!((holder(store, "d"), holder(store, "e")), (Some(4), Some(5)));
}

fn a_key_is_free_again_in_the_commit_that_ends_its_job(store: &dyn Store) {
    must(store, vec![submit_unique(1, "d")]);
    let done = ended(&JobState::default(), Status::Succeeded);
    must(store, vec![advance(key(1), done.clone()), submit_unique(2, "d")]);
    assert_eq!(holder(store, "d"), Some(2));
    // In the other order it is not.
    let early = vec![submit_unique(3, "d"), advance(key(2), done.clone())];
    assert_eq!(commit(store, early), REFUSED);
    assert_eq!(holder(store, "d"), Some(2));
    // Submitted, ended and submitted again, all in one.
    let again =
        vec![advance(key(2), done.clone()), submit_unique(4, "d"), advance(key(4), done), submit_unique(5, "d")];
    must(store, again);
    assert_eq!(holder(store, "d"), Some(5));
    // The end of another job frees nothing.
    must(store, vec![submit(6)]);
    let foreign = vec![advance(key(6), ended(&JobState::default(), Status::Failed)), submit_unique(7, "d")];
    assert_eq!(commit(store, foreign), Err(CommitError::Conflict { index: 1 }));
}

fn of_many_submits_at_once_one_wins(store: &dyn Store) {
    let pending: Vec<_> = (1..=20).map(|sequence| store.commit(vec![submit_unique(sequence, "d")])).collect();
    let won: Vec<_> = pending.into_iter().map(|pending| pending.wait().is_ok()).collect();
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    assert!(won[0], "the order of calls is the order of commits");
}

/// Also when a store takes several commits at once.
fn a_job_that_ended_before_it_was_submitted_frees_no_key(store: &dyn Store) {
    must(store, vec![submit_unique(1, "d")]);
    let refused = || Box::new(JobState { revision: 0, ..failed(&JobState::default(), "a loop") });
    for round in (2..60).step_by(2) {
        let busy = store.commit((0..50).map(|index| submit(1_000 * round + index)).collect());
        let ended = store.commit(vec![Change::Submit(Arc::new(unique(round, "d")), refused())]);
        let second = store.commit(vec![submit_unique(round + 1, "d")]);
        assert_eq!((busy.wait(), ended.wait(), second.wait()), (Ok(()), Ok(()), REFUSED));
        assert_eq!(holder(store, "d"), Some(1));
    }
}

fn tenants_and_keys_are_apart(store: &dyn Store) {
    let foreign = Submission { tenant: TenantId(4), ..unique(2, "d") };
    must(store, vec![submit_unique(1, "d"), submit_as(foreign), submit_unique(3, "dd")]);
    let wanted = JobKey { tenant: TenantId(4), sequence: Sequence(2) };
    assert_eq!(store.dedup_holder(TenantId(4), &dedup_key("d")), Ok(Some(wanted)));
    assert_eq!(store.dedup_holder(TenantId(5), &dedup_key("d")), Ok(None));
    step(store, 1, |state| ended(state, Status::Succeeded));
    assert_eq!((holder(store, "d"), holder(store, "dd")), (None, Some(3)));
    assert_eq!(store.dedup_holder(TenantId(4), &dedup_key("d")), Ok(Some(wanted)));
}
