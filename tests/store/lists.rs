//! Pages of jobs: every filter, newest first, and cursors that lose nothing.

use backroom::domain::id::{HandlerName, Sequence, TenantId};
use backroom::domain::job::{Job, Status};
use backroom::domain::query::{JobFilter, JobQuery};
use backroom::store::Store;

use crate::common::*;

on_every_store!(
    pages_are_newest_first_and_lose_nothing,
    every_status_can_be_asked_for,
    every_filter_selects,
    tenants_see_their_own,
    a_page_after_changes_goes_on_where_it_was,
    deleted_jobs_leave_no_holes,
    an_empty_store_has_one_empty_page,
);

/// All pages of a query, read with small pages.
pub(crate) fn all(store: &dyn Store, filter: &JobFilter, limit: usize) -> Vec<Job> {
    let mut query = JobQuery { filter: filter.clone(), limit, ..JobQuery::default() };
    let mut jobs = Vec::new();
    for _ in 0..10_000 {
        let page = store.jobs(&query).expect("it can be read");
        assert!(page.jobs.len() <= limit);
        jobs.extend(page.jobs);
        match page.next {
            None => return jobs,
            Some(next) => {
                assert!(query.before.is_none_or(|before| next < before), "the cursor must move");
                query.before = Some(next);
            }
        }
    }
    panic!("the pages do not end");
}

fn filled(store: &dyn Store) {
    must(store, (1..=60).map(submit).collect());
    for sequence in 1..=60 {
        match sequence % 6 {
            0 => step(store, sequence, |state| ended(state, Status::Succeeded)),
            1 => step(store, sequence, |state| ended(state, Status::Failed)),
            2 => step(store, sequence, |state| waiting(state, 9)),
            3 => step(store, sequence, running),
            4 => step(store, sequence, |state| ended(state, Status::Canceled)),
            _ => {}
        }
    }
}

fn pages_are_newest_first_and_lose_nothing(store: &dyn Store) {
    filled(store);
    let wanted: Vec<_> = (1..=60).rev().collect();
    for limit in [1, 7, 16, 60, 61] {
        assert_eq!(sequences(&all(store, &JobFilter::default(), limit)), wanted);
    }
    let query = JobQuery { before: Some(Sequence(20)), limit: 3, ..JobQuery::default() };
    let page = store.jobs(&query).expect("it can be read");
    assert_eq!(sequences(&page.jobs), [19, 18, 17]);
}

fn every_status_can_be_asked_for(store: &dyn Store) {
    filled(store);
    let of = |rest: u64| (1..=60).rev().filter(move |sequence| sequence % 6 == rest).collect::<Vec<_>>();
    let asked = |statuses: &[Status]| {
        let filter = JobFilter { statuses: statuses.to_vec(), ..JobFilter::default() };
        sequences(&all(store, &filter, 4))
    };
    assert_eq!(asked(&[Status::Succeeded]), of(0));
    assert_eq!(asked(&[Status::Failed]), of(1));
    assert_eq!(asked(&[Status::Waiting]), of(2));
    assert_eq!(asked(&[Status::Running]), of(3));
    assert_eq!(asked(&[Status::Canceled]), of(4));
    assert_eq!(asked(&[Status::Queued]), of(5));
    assert_eq!(asked(&[Status::Retrying]), [0; 0]);
    let wanted: Vec<_> = (1..=60).rev().filter(|sequence| [1, 2, 3].contains(&(sequence % 6))).collect();
    assert_eq!(asked(&[Status::Running, Status::Failed, Status::Waiting, Status::Paused]), wanted);
    let wanted: Vec<_> = (1..=60).rev().filter(|sequence| [0, 1].contains(&(sequence % 6))).collect();
    assert_eq!(asked(&[Status::Succeeded, Status::Failed]), wanted);
}

fn every_filter_selects(store: &dyn Store) {
    let mut first = submission(1);
    first.plugin = plugin("billing");
    let mut second = submission(2);
    second.handler = HandlerName::new("nightly").expect("the test names it well");
    let mut third = submission(3);
    third.tags = vec!["Blue".to_owned()];
    let mut fourth = submission(4);
    fourth.name = Some("Invoice RUN".to_owned());
    must(store, [first, second, third.clone(), fourth].map(submit_as).to_vec());
    let found = |filter: JobFilter| sequences(&all(store, &filter, 2));
    let default = JobFilter::default;
    assert_eq!(found(JobFilter { plugin: Some(plugin("billing")), ..default() }), [1]);
    assert_eq!(found(JobFilter { handler: HandlerName::new("nightly").ok(), ..default() }), [2]);
    assert_eq!(found(JobFilter { tag: Some("Blue".to_owned()), ..default() }), [3]);
    assert_eq!(found(JobFilter { tag: Some("blue".to_owned()), ..default() }), [0; 0]);
    assert_eq!(found(JobFilter { text: Some("blue".to_owned()), ..default() }), [3]);
    assert_eq!(found(JobFilter { text: Some("invoice run".to_owned()), ..default() }), [4]);
    assert_eq!(found(JobFilter { text: Some(third.id.to_string()), ..default() }), [3]);
    let created = |sequence| submission(sequence).created_on;
    assert_eq!(found(JobFilter { created_from: Some(created(3)), ..default() }), [4, 3]);
    assert_eq!(found(JobFilter { created_before: Some(created(3)), ..default() }), [2, 1]);
    let both = JobFilter { plugin: Some(plugin("mailer")), created_before: Some(created(3)), ..default() };
    assert_eq!(found(both), [2]);
}

fn tenants_see_their_own(store: &dyn Store) {
    let mut other = submission(2);
    other.tenant = TenantId(9);
    must(store, vec![submit(1), submit_as(other), submit(3)]);
    assert_eq!(sequences(&all(store, &JobFilter::default(), 5)), [3, 1]);
    let query = JobQuery { tenant: TenantId(9), limit: 5, ..JobQuery::default() };
    assert_eq!(sequences(&store.jobs(&query).expect("it can be read").jobs), [2]);
    let query = JobQuery { tenant: TenantId(1), limit: 5, ..JobQuery::default() };
    assert_eq!(store.jobs(&query).expect("it can be read").jobs, []);
}

fn a_page_after_changes_goes_on_where_it_was(store: &dyn Store) {
    filled(store);
    let mut query = JobQuery { limit: 10, ..JobQuery::default() };
    let page = store.jobs(&query).expect("it can be read");
    assert_eq!(sequences(&page.jobs), (51..=60).rev().collect::<Vec<_>>());
    must(store, vec![submit(61)]);
    query.before = page.next;
    let page = store.jobs(&query).expect("it can be read");
    assert_eq!(sequences(&page.jobs), (41..=50).rev().collect::<Vec<_>>());
}

fn deleted_jobs_leave_no_holes(store: &dyn Store) {
    filled(store);
    for sequence in (10..=50).filter(|sequence| sequence % 6 == 0 || sequence % 6 == 1) {
        let expected = state(store, sequence).revision;
        must(store, vec![backroom::domain::change::Change::Delete { job: key(sequence), expected }]);
    }
    let kept = |sequence: &u64| !(10..=50).contains(sequence) || ![0, 1].contains(&(sequence % 6));
    let wanted: Vec<_> = (1..=60).rev().filter(kept).collect();
    assert_eq!(sequences(&all(store, &JobFilter::default(), 7)), wanted);
    let filter = JobFilter { statuses: vec![Status::Failed], ..JobFilter::default() };
    let wanted: Vec<_> = wanted.into_iter().filter(|sequence| sequence % 6 == 1).collect();
    assert_eq!(sequences(&all(store, &filter, 2)), wanted);
}

fn an_empty_store_has_one_empty_page(store: &dyn Store) {
    let page = store.jobs(&JobQuery { limit: 5, ..JobQuery::default() }).expect("it can be read");
    assert_eq!((page.jobs.len(), page.next), (0, None));
}
