//! Jobs by what they have in common: every filter that the store can look up, and failures by what went wrong.

use backroom::domain::change::Change;
use backroom::domain::fingerprint::Fingerprint;
use backroom::domain::id::{JobId, Sequence, TenantId};
use backroom::domain::job::{JobState, Occurrence, Status, Submission, Ties, WaitReason};
use backroom::domain::query::{FailureGroup, FailureGroups, JobFilter, JobQuery};
use backroom::store::Store;

use crate::common::*;
use crate::lists::all;

on_every_store!(
    every_label_selects,
    pages_by_label_lose_nothing,
    several_labels_at_once_narrow,
    a_label_and_a_status_at_once_narrow,
    labels_stay_through_all_changes_and_go_with_the_job,
    jobs_are_found_by_what_they_wait_for,
    tenants_see_their_own_labels,
    failures_are_grouped_by_what_went_wrong,
    a_failed_job_is_found_by_its_fingerprint,
);

fn found(store: &dyn Store, filter: &JobFilter) -> Vec<u64> {
    sequences(&all(store, filter, 2))
}

fn id(sequence: u64) -> JobId {
    submission(sequence).id
}

/// A filter for each label, all of them of the jobs that [`labeled`] makes.
fn filters() -> [JobFilter; 7] {
    let default = JobFilter::default;
    [
        JobFilter { batch: Some(id(90)), ..default() },
        JobFilter { schedule: Some(schedule("nightly")), ..default() },
        JobFilter { regarding: Some(record("invoice/17")), ..default() },
        JobFilter { ordering_key: Some(ordering_key("k")), ..default() },
        JobFilter { chain: Some(id(91)), ..default() },
        JobFilter { retry_of: Some(id(92)), ..default() },
        JobFilter { owner: Some(token_name("shop")), ..default() },
    ]
}

/// A job with every label.
fn labeled(sequence: u64) -> Submission {
    let occurrence = Occurrence { schedule: schedule("nightly"), scheduled_for: time(60) };
    let ties = Ties {
        batch: Some(id(90)),
        occurrence: Some(occurrence),
        regarding: Some(record("invoice/17")),
        ordering_key: Some(ordering_key("k")),
        retry_of: Some(id(92)),
        ..Ties::default()
    };
    let owner = Some(token_name("shop"));
    Submission { correlation_id: Some(id(91)), owner, depth: 1, ..tied(sequence, ties) }
}

/// A job with labels of every kind, but others.
fn labeled_otherwise(sequence: u64) -> Submission {
    let occurrence = Occurrence { schedule: schedule("nightly-two"), scheduled_for: time(60) };
    let ties = Ties {
        batch: Some(id(80)),
        occurrence: Some(occurrence),
        regarding: Some(record("invoice/170")),
        ordering_key: Some(ordering_key("kk")),
        retry_of: Some(id(82)),
        ..Ties::default()
    };
    let owner = Some(token_name("shopper"));
    Submission { correlation_id: Some(id(81)), owner, depth: 1, ..tied(sequence, ties) }
}

fn every_label_selects(store: &dyn Store) {
    must(store, vec![submit(1), submit_as(labeled(2)), submit_as(labeled_otherwise(3)), submit(4)]);
    must(store, vec![submit_as(labeled(5)), submit_as(labeled_otherwise(6))]);
    for filter in filters() {
        assert_eq!(found(store, &filter), [5, 2], "{filter:?}");
    }
    let nobody = JobFilter { schedule: Some(schedule("weekly")), ..JobFilter::default() };
    assert_eq!(found(store, &nobody), [0; 0]);
}

fn pages_by_label_lose_nothing(store: &dyn Store) {
    let job = |sequence| if sequence % 3 == 0 { labeled(sequence) } else { labeled_otherwise(sequence) };
    must(store, (1..=60).map(|sequence| submit_as(job(sequence))).collect());
    let wanted: Vec<u64> = (1..=20).rev().map(|third| third * 3).collect();
    for filter in filters() {
        for limit in [1, 7, 19, 20, 21] {
            assert_eq!(sequences(&all(store, &filter, limit)), wanted, "{filter:?} by {limit}");
        }
        let query = JobQuery { filter, before: Some(Sequence(30)), limit: 2, ..JobQuery::default() };
        let page = store.jobs(&query).expect("it can be read");
        assert_eq!((sequences(&page.jobs), page.next), (vec![27, 24], Some(Sequence(24))));
    }
    // The last page says that it is the last.
    let query = JobQuery { filter: filters()[0].clone(), before: Some(Sequence(7)), limit: 2, ..JobQuery::default() };
    let page = store.jobs(&query).expect("it can be read");
    assert_eq!((sequences(&page.jobs), page.next), (vec![6, 3], None));
}

fn several_labels_at_once_narrow(store: &dyn Store) {
    let only = |sequence, ties: Ties| submit_as(tied(sequence, ties));
    let regarding = || Some(record("invoice/17"));
    must(store, vec![submit_as(labeled(1))]);
    must(store, vec![only(2, Ties { regarding: regarding(), ..Ties::default() })]);
    must(store, vec![only(3, Ties { batch: Some(id(90)), ..Ties::default() })]);
    must(store, vec![only(4, Ties { batch: Some(id(90)), regarding: regarding(), ..Ties::default() })]);
    let both = JobFilter { regarding: regarding(), batch: Some(id(90)), ..JobFilter::default() };
    assert_eq!(found(store, &both), [4, 1]);
    let all_labels = JobFilter {
        batch: Some(id(90)),
        schedule: Some(schedule("nightly")),
        regarding: regarding(),
        ordering_key: Some(ordering_key("k")),
        chain: Some(id(91)),
        retry_of: Some(id(92)),
        ..JobFilter::default()
    };
    assert_eq!(found(store, &all_labels), [1]);
    assert_eq!(found(store, &JobFilter { chain: Some(id(93)), ..all_labels }), [0; 0]);
}

fn a_label_and_a_status_at_once_narrow(store: &dyn Store) {
    must(store, (1..=6).map(|sequence| submit_as(labeled(sequence))).collect());
    must(store, (7..=9).map(submit).collect());
    step(store, 2, |state| ended(state, Status::Succeeded));
    step(store, 4, |state| ended(state, Status::Succeeded));
    step(store, 8, |state| ended(state, Status::Succeeded));
    step(store, 5, |state| waiting(state, 9));
    for filter in filters() {
        let with = |statuses: &[Status]| found(store, &JobFilter { statuses: statuses.to_vec(), ..filter.clone() });
        assert_eq!(with(&[Status::Succeeded]), [4, 2]);
        assert_eq!(with(&[Status::Waiting, Status::Succeeded]), [5, 4, 2]);
        assert_eq!(with(&[Status::Queued]), [6, 3, 1]);
        assert_eq!(with(&[Status::Failed]), [0; 0]);
    }
}

fn labels_stay_through_all_changes_and_go_with_the_job(store: &dyn Store) {
    must(store, vec![submit_as(labeled(1)), submit_as(labeled(2))]);
    let are_there = |wanted: &[u64]| filters().iter().for_each(|filter| assert_eq!(found(store, filter), wanted));
    step(store, 1, running);
    are_there(&[2, 1]);
    step(store, 1, |state| waiting(state, 9));
    are_there(&[2, 1]);
    step(store, 1, queued);
    step(store, 1, |state| failed(state, "no more paper"));
    are_there(&[2, 1]);
    step(store, 2, |state| ended(state, Status::Succeeded));
    are_there(&[2, 1]);
    delete(store, 1);
    are_there(&[2]);
    delete(store, 2);
    are_there(&[]);
}

fn jobs_are_found_by_what_they_wait_for(store: &dyn Store) {
    must(store, (1..=4).map(submit).collect());
    step(store, 1, |state| waiting(state, 9));
    step(store, 2, |state| JobState {
        wait_reason: Some(WaitReason::Manual),
        postpone_until: None,
        ..waiting(state, 9)
    });
    step(store, 3, |state| waiting(state, 9));
    let by =
        |reasons: &[WaitReason]| found(store, &JobFilter { wait_reasons: reasons.to_vec(), ..JobFilter::default() });
    assert_eq!(by(&[WaitReason::Postponed]), [3, 1]);
    assert_eq!(by(&[WaitReason::Manual]), [2]);
    assert_eq!(by(&[WaitReason::Manual, WaitReason::Postponed]), [3, 2, 1]);
    step(store, 3, queued);
    assert_eq!(by(&[WaitReason::Postponed]), [1]);
}

fn tenants_see_their_own_labels(store: &dyn Store) {
    let foreign = Submission { tenant: TenantId(6), ..labeled(2) };
    must(store, vec![submit_as(labeled(1)), submit_as(foreign), submit_as(labeled(3))]);
    for filter in filters() {
        assert_eq!(found(store, &filter), [3, 1]);
        for (tenant, wanted) in [(6, vec![2]), (5, vec![]), (7, vec![])] {
            let query = JobQuery { tenant: TenantId(tenant), filter: filter.clone(), limit: 9, before: None };
            assert_eq!(sequences(&store.jobs(&query).expect("it can be read").jobs), wanted);
        }
    }
}

fn group(of: u64, store: &dyn Store, count: u64, oldest: u64, newest: u64) -> FailureGroup {
    let failure = state(store, of).failure().cloned().expect("it has failed");
    let fingerprint = Fingerprint::of(&plugin("mailer"), &failure);
    FailureGroup { fingerprint, count, oldest: Sequence(oldest), newest: Sequence(newest) }
}

fn failures_are_grouped_by_what_went_wrong(store: &dyn Store) {
    let failures = |limit| {
        let FailureGroups { groups, is_incomplete } = store.failures(TenantId::DEFAULT, limit).expect("it can be read");
        assert!(!is_incomplete, "all of these few are counted");
        groups
    };
    assert_eq!(failures(9), []);
    must(store, (1..=9).map(submit).collect());
    let foreign = Submission { tenant: TenantId(6), ..submission(10) };
    must(store, vec![submit_as(foreign)]);
    let messages = [(1, "no such order 17"), (2, "no more paper"), (5, "no such order 4711"), (7, "no more paper")];
    for (sequence, message) in messages {
        step(store, sequence, |state| failed(state, message));
    }
    // Neither of these is a failure of a failed job.
    step(store, 3, |state| JobState { status: Status::Canceled, ..failed(state, "no more paper") });
    step(store, 4, |state| JobState { failure: failed(state, "no more paper").failure, ..waiting(state, 9) });
    let paper = group(2, store, 2, 2, 7);
    let order = group(1, store, 2, 1, 5);
    assert_eq!(failures(9), [paper, order]);
    assert_eq!(failures(1), [paper]);
    assert_eq!(failures(0), []);
    step(store, 8, |state| failed(state, "no such order 9"));
    assert_eq!(failures(9), [group(1, store, 3, 1, 8), paper]);
    delete(store, 1);
    delete(store, 7);
    assert_eq!(failures(9), [group(5, store, 2, 5, 8), group(2, store, 1, 2, 2)]);
    delete(store, 2);
    assert_eq!(failures(9), [group(5, store, 2, 5, 8)]);
    assert_eq!(store.failures(TenantId(6), 9), Ok(FailureGroups::default()));
}

fn a_failed_job_is_found_by_its_fingerprint(store: &dyn Store) {
    must(store, (1..=6).map(submit).collect());
    let refused = JobState { revision: 0, ..failed(&JobState::default(), "no such order 3") };
    must(store, vec![Change::Submit(std::sync::Arc::new(submission(7)), Box::new(refused))]);
    for sequence in [1, 4] {
        step(store, sequence, |state| failed(state, &format!("no such order {sequence}")));
    }
    step(store, 5, |state| failed(state, "no more paper"));
    let fingerprint = |of| Some(group(of, store, 0, 0, 0).fingerprint);
    let by = |fingerprint| found(store, &JobFilter { fingerprint, ..JobFilter::default() });
    assert_eq!(by(fingerprint(1)), [7, 4, 1]);
    assert_eq!(by(fingerprint(5)), [5]);
    delete(store, 4);
    assert_eq!(by(fingerprint(1)), [7, 1]);
    let narrowed = JobFilter {
        fingerprint: fingerprint(1),
        created_before: Some(submission(2).created_on),
        ..JobFilter::default()
    };
    assert_eq!(found(store, &narrowed), [1]);
}
