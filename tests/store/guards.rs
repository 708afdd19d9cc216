//! A commit follows what is stored, or writes nothing at all.

use std::time::Duration;

use backroom::domain::change::{Change, RememberedSubmit};
use backroom::domain::id::TenantId;
use backroom::domain::job::{JobState, Status};
use backroom::domain::schedule::{
    Definition, JobTemplate, Misfire, Overlap, Recurrence, SCHEDULES_MAX, Schedule, Start,
};
use backroom::store::{CommitError, Store};

use crate::common::*;

on_every_store!(
    a_submitted_job_is_read_back_whole,
    a_second_submit_of_a_key_is_refused,
    an_advance_follows_the_stored_revision,
    an_advance_must_raise_the_revision_by_one,
    a_change_of_a_missing_job_is_refused,
    a_conflict_writes_nothing,
    changes_of_one_commit_build_on_each_other,
    commits_are_decided_in_the_order_of_calls,
    of_many_claims_one_wins,
    a_deleted_job_is_gone,
    a_deleted_job_leaves_its_neighbours,
    a_job_submitted_and_deleted_in_one_commit_never_was,
    a_final_job_can_be_set_going_again,
    a_remembered_key_is_refused_until_it_has_ended,
    a_token_is_made_and_removed_once,
    a_tenant_has_no_more_schedules_than_it_may,
    a_commit_of_nothing_succeeds,
    large_values_come_back,
    a_closed_store_takes_nothing,
);

fn a_submitted_job_is_read_back_whole(store: &dyn Store) {
    let mut wanted = submission(store.reserve(1).0);
    wanted.tags = vec!["red".to_owned()];
    wanted.args = vec!["--fast".to_owned()];
    wanted.expires_on = Some(time(5));
    let sequence = wanted.key().sequence.0;
    must(store, vec![submit_as(wanted.clone())]);
    let found = job(store, sequence).expect("the job is there");
    assert_eq!(*found.submission, wanted);
    assert_eq!(found.state, JobState::default());
    assert_eq!(job(store, sequence + 1), None);
    assert_eq!(job(store, sequence - 1), None);
}

fn a_second_submit_of_a_key_is_refused(store: &dyn Store) {
    must(store, vec![submit(1)]);
    assert_eq!(commit(store, vec![submit(1)]), Err(CommitError::Conflict { index: 0 }));
    assert_eq!(commit(store, vec![submit(2), submit(2)]), Err(CommitError::Conflict { index: 1 }));
    assert_eq!(job(store, 2), None);
}

fn an_advance_follows_the_stored_revision(store: &dyn Store) {
    must(store, vec![submit(1)]);
    let claimed = running(&JobState::default());
    must(store, vec![advance(key(1), claimed.clone())]);
    assert_eq!(state(store, 1), claimed);
    assert_eq!(commit(store, vec![advance(key(1), claimed.clone())]), Err(CommitError::Conflict { index: 0 }));
    let done = ended(&claimed, Status::Succeeded);
    must(store, vec![advance(key(1), done.clone())]);
    assert_eq!(state(store, 1), done);
}

fn an_advance_must_raise_the_revision_by_one(store: &dyn Store) {
    must(store, vec![submit(1)]);
    let next = JobState { revision: 5, ..running(&JobState::default()) };
    let change = Change::Advance { job: key(1), expected: 0, next: Box::new(next), earlier_run: None };
    assert_eq!(commit(store, vec![change]), Err(CommitError::Conflict { index: 0 }));
}

fn a_change_of_a_missing_job_is_refused(store: &dyn Store) {
    let claimed = running(&JobState::default());
    assert_eq!(commit(store, vec![advance(key(1), claimed)]), Err(CommitError::Conflict { index: 0 }));
    let delete = Change::Delete { job: key(1), expected: 0 };
    assert_eq!(commit(store, vec![delete]), Err(CommitError::Conflict { index: 0 }));
}

fn a_conflict_writes_nothing(store: &dyn Store) {
    must(store, vec![submit(1)]);
    let claimed = running(&JobState::default());
    let stale = JobState { revision: 9, ..claimed.clone() };
    let changes = vec![submit(2), advance(key(1), claimed), advance(key(1), stale), submit(3)];
    assert_eq!(commit(store, changes), Err(CommitError::Conflict { index: 2 }));
    assert_eq!(state(store, 1), JobState::default());
    assert_eq!((job(store, 2), job(store, 3)), (None, None));
    // And nothing stays behind that would hinder what follows.
    must(store, vec![submit(2), submit(3)]);
}

fn changes_of_one_commit_build_on_each_other(store: &dyn Store) {
    let first = running(&JobState::default());
    let second = ended(&first, Status::Failed);
    must(store, vec![submit(1), advance(key(1), first), advance(key(1), second.clone()), submit(2)]);
    assert_eq!(state(store, 1), second);
    assert_eq!(state(store, 2), JobState::default());
    assert_eq!(sequences(&store.ready(&lane("default"), 9).expect("it can be read")), [2]);
}

fn commits_are_decided_in_the_order_of_calls(store: &dyn Store) {
    let mut wanted = JobState::default();
    let mut pending = vec![store.commit(vec![submit(1)])];
    for _ in 0..50 {
        for next in [running, queued] {
            wanted = next(&wanted);
            pending.push(store.commit(vec![advance(key(1), wanted.clone())]));
        }
    }
    pending.into_iter().for_each(|pending| pending.wait().expect("each follows the one before"));
    assert_eq!(state(store, 1), wanted);
}

fn of_many_claims_one_wins(store: &dyn Store) {
    must(store, vec![submit(1)]);
    let claim = || store.commit(vec![advance(key(1), running(&JobState::default()))]);
    let claims: Vec<_> = (0..20).map(|_| claim()).collect();
    let won = claims.into_iter().map(|claim| claim.wait()).filter(Result::is_ok).count();
    assert_eq!(won, 1);
}

fn a_deleted_job_is_gone(store: &dyn Store) {
    must(store, vec![submit(1)]);
    step(store, 1, running);
    let done = ended(&state(store, 1), Status::Canceled);
    let change = Change::Advance { job: key(1), expected: 1, next: Box::new(done), earlier_run: Some(run(1)) };
    must(store, vec![change]);
    let stale = Change::Delete { job: key(1), expected: 1 };
    assert_eq!(commit(store, vec![stale]), Err(CommitError::Conflict { index: 0 }));
    must(store, vec![Change::Delete { job: key(1), expected: 2 }]);
    assert_eq!(job(store, 1), None);
    assert_eq!(store.runs(key(1)), Ok(Vec::new()));
    assert_eq!(store.counts(TenantId::DEFAULT), Ok(Vec::new()));
    let again = Change::Delete { job: key(1), expected: 2 };
    assert_eq!(commit(store, vec![again]), Err(CommitError::Conflict { index: 0 }));
}

fn a_deleted_job_leaves_its_neighbours(store: &dyn Store) {
    must(store, (1..=10).map(submit).collect());
    step(store, 4, |state| ended(state, Status::Succeeded));
    must(store, vec![Change::Delete { job: key(3), expected: 0 }, Change::Delete { job: key(5), expected: 0 }]);
    let found: Vec<_> = (1..=10).filter(|sequence| job(store, *sequence).is_some()).collect();
    assert_eq!(found, [1, 2, 4, 6, 7, 8, 9, 10]);
    let ready = store.ready(&lane("default"), 99).expect("it can be read");
    assert_eq!(sequences(&ready), [1, 2, 6, 7, 8, 9, 10]);
    for sequence in [1, 2, 4, 6, 7, 8, 9, 10] {
        let expected = state(store, sequence).revision;
        must(store, vec![Change::Delete { job: key(sequence), expected }]);
    }
    assert!((1..=10).all(|sequence| job(store, sequence).is_none()));
    assert_eq!(store.ready(&lane("default"), 99), Ok(Vec::new()));
}

fn a_job_submitted_and_deleted_in_one_commit_never_was(store: &dyn Store) {
    must(store, vec![submit(1), submit(2), Change::Delete { job: key(1), expected: 0 }]);
    assert_eq!(job(store, 1), None);
    assert_eq!(state(store, 2), JobState::default());
    assert_eq!(sequences(&store.ready(&lane("default"), 9).expect("it can be read")), [2]);
}

fn a_final_job_can_be_set_going_again(store: &dyn Store) {
    must(store, (1..=16).map(submit).collect());
    (1..=16).for_each(|sequence| step(store, sequence, |state| ended(state, Status::Failed)));
    step(store, 7, queued);
    assert_eq!(state(store, 7).status, Status::Queued);
    assert_eq!(sequences(&store.ready(&lane("default"), 9).expect("it can be read")), [7]);
    step(store, 7, running);
    step(store, 7, |state| ended(state, Status::Succeeded));
    assert_eq!(state(store, 7).status, Status::Succeeded);
    assert_eq!(state(store, 8).status, Status::Failed);
}

fn remember(sequence: u64, on: i64, until: i64) -> Change {
    Change::put(RememberedSubmit {
        tenant: TenantId::DEFAULT,
        key: "order-17".to_owned(),
        fingerprint: sequence,
        jobs: vec![submission(sequence).id],
        next: None,
        end: None,
        on: time(on),
        until: time(until),
    })
}

fn a_remembered_key_is_refused_until_it_has_ended(store: &dyn Store) {
    must(store, vec![submit(1), remember(1, 100, 200)]);
    assert_eq!(commit(store, vec![submit(2), remember(2, 199, 299)]), Err(CommitError::Conflict { index: 1 }));
    assert_eq!(job(store, 2), None);
    let found = |key: &str| store.remembered(TenantId::DEFAULT, key).expect("it can be read");
    assert_eq!(found("order-17").map(|submit| submit.fingerprint), Some(1));
    assert_eq!(found("order-18"), None);
    assert_eq!(store.remembered(TenantId(1), "order-17"), Ok(None));
    must(store, vec![submit(3), remember(3, 200, 300)]);
    assert_eq!(found("order-17").map(|submit| submit.fingerprint), Some(3));
    // Two in one commit, and two commits under way at once.
    let twice = vec![remember(4, 300, 400), remember(5, 301, 401)];
    assert_eq!(commit(store, twice), Err(CommitError::Conflict { index: 1 }));
    let (first, second) = (store.commit(vec![remember(6, 300, 400)]), store.commit(vec![remember(7, 300, 400)]));
    assert_eq!((first.wait(), second.wait()), (Ok(()), Err(CommitError::Conflict { index: 0 })));
}

fn a_commit_of_nothing_succeeds(store: &dyn Store) {
    must(store, Vec::new());
}

fn large_values_come_back(store: &dyn Store) {
    let mut wanted = submission(1);
    wanted.args = (0..200).map(|index| format!("--argument-{index}={}", "y".repeat(100))).collect();
    must(store, vec![submit_as(wanted.clone()), submit(2)]);
    assert_eq!(*job(store, 1).expect("the job is there").submission, wanted);
    let large = |state: &JobState, size: usize| {
        let message = "broken ".repeat(size);
        let failure = backroom::domain::failure::Failure {
            class: backroom::domain::failure::ErrorClass::Business,
            code: None,
            message,
            detail: None,
        };
        JobState { failure: Some(failure), ..state.clone() }
    };
    // Waiting, larger and smaller again, then final in both sizes.
    for size in [2_000, 3_000, 10] {
        step(store, 1, |state| large(&waiting(state, 5), size));
        assert_eq!(state(store, 1).failure().map(|failure| failure.message.len()), Some(7 * size));
    }
    for size in [3_000, 300, 1] {
        step(store, 1, |state| large(&ended(state, Status::Failed), size));
        assert_eq!(state(store, 1).failure().map(|failure| failure.message.len()), Some(7 * size));
    }
    must(store, vec![Change::Delete { job: key(1), expected: state(store, 1).revision }]);
    assert_eq!(job(store, 1), None);
    assert!(job(store, 2).is_some());
}

fn a_closed_store_takes_nothing(store: &dyn Store) {
    let pending = store.commit(vec![submit(1)]);
    store.close();
    pending.wait().expect("what was sent before is written");
    assert!(matches!(commit(store, vec![submit(2)]), Err(CommitError::Failed(_))));
    assert!(job(store, 1).is_some());
    assert!(job(store, 2).is_none());
}

fn a_token_is_made_and_removed_once(store: &dyn Store) {
    let (make, remove) = (|| put_token(token(0, "shop")), || remove_token(0, "shop"));
    assert_eq!(commit(store, vec![remove()]), Err(CommitError::Conflict { index: 0 }));
    must(store, vec![make()]);
    assert_eq!(commit(store, vec![make()]), Err(CommitError::Conflict { index: 0 }));
    assert_eq!(commit(store, vec![remove(), make(), make()]), Err(CommitError::Conflict { index: 2 }));
    must(store, vec![remove(), make(), put_token(token(1, "shop"))]);
    must(store, vec![remove()]);
    assert_eq!(commit(store, vec![remove()]), Err(CommitError::Conflict { index: 0 }));
    assert_eq!(store.tokens(), Ok(vec![token(1, "shop")]));
}

const NONE: &[&str] = &[];

fn hourly(name: &str) -> Schedule {
    let definition = Definition {
        recurrence: Recurrence::parse("FREQ=HOURLY", Start::Text("1970-01-01T00:00"), None, NONE).expect("a good rule"),
        target: JobTemplate::new(plugin("mailer")),
        misfire: Misfire::default(),
        overlap: Overlap::default(),
        jitter: Duration::ZERO,
        start_left_out: false,
        at_once: false,
    };
    Schedule::new(TenantId::DEFAULT, schedule(name), definition, None, time(0)).expect("a good rule")
}

fn a_tenant_has_no_more_schedules_than_it_may(store: &dyn Store) {
    let put = |number: usize| Change::put(hourly(&format!("s-{number}")));
    let remove = |number: usize| Change::remove(&hourly(&format!("s-{number}")));
    let refused = |index| Err(CommitError::Conflict { index });
    must(store, (2..SCHEDULES_MAX).map(put).collect());
    assert_eq!(commit(store, vec![put(0), put(1), put(SCHEDULES_MAX)]), refused(2));
    // Of two commits that are on their way together one finds room.
    must(store, vec![put(0)]);
    let both = [put(1), put(SCHEDULES_MAX)].map(|change| store.commit(vec![change]));
    let written: Vec<_> = both.into_iter().map(|pending| pending.wait()).collect();
    assert_eq!(written, [Ok(()), refused(0)]);
    assert_eq!(commit(store, vec![put(SCHEDULES_MAX)]), refused(0));
    must(store, vec![remove(5), put(SCHEDULES_MAX)]);
    assert_eq!(commit(store, vec![put(5)]), refused(0));
    let changed = Schedule { revision: 2, ..hourly("s-7") };
    must(store, vec![Change::put(changed)]);
}
