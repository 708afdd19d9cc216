//! Jobs that wait for others: ordering keys, `after`, and what the feed says when the waiting is over (domain.md 4.1).

use std::sync::{Arc, Mutex};

use backroom::domain::change::Change;
use backroom::domain::id::{JobKey, Sequence, TenantId};
use backroom::domain::job::{JobState, Status, Submission, Ties};
use backroom::domain::queue::Lane;
use backroom::store::{News, Store};

use crate::common::*;

on_every_store!(
    lanes_are_those_that_hold_ready_jobs,
    only_the_head_of_a_key_is_ready,
    the_next_of_a_key_is_ready_when_the_head_has_ended,
    a_suspended_head_blocks_its_key,
    a_job_canceled_in_the_middle_is_passed_over,
    keys_and_tenants_do_not_block_each_other,
    a_key_crosses_plugins_and_queues,
    a_thousand_jobs_on_one_key_run_one_after_another,
    a_job_waits_for_every_job_that_it_names,
    a_named_job_that_is_gone_has_ended,
    what_is_not_queued_is_not_released,
    a_job_may_wait_for_its_key_and_for_named_ones,
    a_whole_commit_of_ordered_jobs_has_one_head,
    a_key_is_free_again_once_it_is_empty,
    a_job_that_ended_before_it_was_submitted_binds_nothing,
    unfinished_predecessors_are_named,
    the_last_holder_that_did_not_succeed_is_named,
    named_jobs_that_did_not_succeed_are_named,
    a_canceled_job_that_never_held_the_key_breaks_nothing,
);

/// What the feed said was released, commit by commit.
fn listen(store: &dyn Store) -> Arc<Mutex<Vec<Vec<JobKey>>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&heard);
    store.feed(Arc::new(move |news: News<'_>| {
        if let News::Released(jobs) = news {
            ear.lock().expect("no test panics here").push(jobs.to_vec());
        }
    }));
    heard
}

/// What was released since the last look.
fn released(heard: &Mutex<Vec<Vec<JobKey>>>) -> Vec<u64> {
    let mut heard = heard.lock().expect("no test panics here");
    let mut released: Vec<_> = heard.drain(..).flatten().map(|job| job.sequence.0).collect();
    released.sort_unstable();
    released
}

fn ends(store: &dyn Store, sequence: u64, status: Status) {
    step(store, sequence, |state| ended(state, status));
}

fn succeeds(store: &dyn Store, sequence: u64) {
    ends(store, sequence, Status::Succeeded);
}

/// The unfinished and the unsuccessful predecessors of a job.
fn predecessors(store: &dyn Store, sequence: u64) -> (Vec<u64>, Vec<u64>) {
    let found = store.predecessors(key(sequence)).expect("it can be read");
    (places(&found.unfinished), places(&found.unsuccessful))
}

fn lanes(store: &dyn Store) -> Vec<(String, String, u32)> {
    let lanes = store.lanes(None, usize::MAX).expect("it can be read");
    let name = |lane: &Lane| (lane.queue.to_string(), lane.plugin.to_string(), lane.tenant.0);
    lanes.iter().map(name).collect()
}

fn lanes_are_those_that_hold_ready_jobs(store: &dyn Store) {
    assert_eq!(lanes(store), []);
    let named = |sequence, queue_name: &str, plugin_name: &str, tenant| Submission {
        queue: queue(queue_name),
        plugin: plugin(plugin_name),
        tenant: TenantId(tenant),
        ..submission(sequence)
    };
    let places = [("bulk", "alpha", 0), ("default", "alpha", 0), ("default", "alpha", 7), ("default", "beta", 0)];
    let jobs = (1..).zip(places).map(|(sequence, (queue, plugin, tenant))| named(sequence, queue, plugin, tenant));
    must(store, jobs.map(submit_as).collect());
    // A lane of jobs that wait for others is none.
    let mut behind = tied(5, Ties { after: vec![submission(1).id], ..Ties::default() });
    behind.queue = queue("maintenance");
    must(store, vec![submit_as(behind)]);
    let lane = |(queue, plugin, tenant): (&str, &str, u32)| (queue.to_owned(), plugin.to_owned(), tenant);
    let mut found = lanes(store);
    found.sort();
    assert_eq!(found, places.map(lane));
    step(store, 4, running);
    step(store, 1, |state| waiting(state, 9));
    let mut found = lanes(store);
    found.sort();
    assert_eq!(found, [places[1], places[2]].map(lane));
    step(store, 1, queued);
    succeeds(store, 1);
    let mut found = lanes(store);
    found.sort();
    assert_eq!(found, [places[1], places[2], ("maintenance", "mailer", 0)].map(lane));
}

fn only_the_head_of_a_key_is_ready(store: &dyn Store) {
    (1..=5).for_each(|sequence| must(store, vec![keyed(sequence, "k")]));
    must(store, vec![submit(6)]);
    assert_eq!(ready(store, "default"), [1, 6]);
    step(store, 1, running);
    assert_eq!(ready(store, "default"), [6]);
    step(store, 1, queued);
    assert_eq!(ready(store, "default"), [1, 6]);
}

fn the_next_of_a_key_is_ready_when_the_head_has_ended(store: &dyn Store) {
    let heard = listen(store);
    must(store, (1..=4).map(|sequence| keyed(sequence, "k")).collect());
    for (sequence, status) in [(1, Status::Succeeded), (2, Status::Failed), (3, Status::Canceled)] {
        step(store, sequence, running);
        assert_eq!((ready(store, "default"), released(&heard)), (vec![], vec![]), "while {sequence} runs");
        ends(store, sequence, status);
        assert_eq!((ready(store, "default"), released(&heard)), (vec![sequence + 1], vec![sequence + 1]));
    }
    succeeds(store, 4);
    assert_eq!((ready(store, "default"), released(&heard)), (vec![], vec![]));
}

fn a_suspended_head_blocks_its_key(store: &dyn Store) {
    let heard = listen(store);
    must(store, vec![keyed(1, "k"), keyed(2, "k"), submit(3)]);
    step(store, 1, |state| waiting(state, 50));
    assert_eq!(ready(store, "default"), [3]);
    step(store, 1, |state| JobState { status: Status::Paused, postpone_until: None, ..waiting(state, 0) });
    assert_eq!(ready(store, "default"), [3]);
    step(store, 1, queued);
    assert_eq!(ready(store, "default"), [1, 3]);
    step(store, 1, |state| waiting(state, 60));
    assert_eq!(released(&heard), [0; 0]);
    ends(store, 1, Status::Canceled);
    assert_eq!((ready(store, "default"), released(&heard)), (vec![2, 3], vec![2]));
}

fn a_job_canceled_in_the_middle_is_passed_over(store: &dyn Store) {
    let heard = listen(store);
    must(store, (1..=4).map(|sequence| keyed(sequence, "k")).collect());
    ends(store, 2, Status::Canceled);
    ends(store, 3, Status::Canceled);
    assert_eq!((ready(store, "default"), released(&heard)), (vec![1], vec![]));
    assert_eq!(predecessors(store, 4), (vec![1], vec![]));
    delete(store, 3);
    succeeds(store, 1);
    assert_eq!((ready(store, "default"), released(&heard)), (vec![4], vec![4]));
}

fn keys_and_tenants_do_not_block_each_other(store: &dyn Store) {
    let mut foreign = tied(4, Ties { ordering_key: Some(ordering_key("k")), ..Ties::default() });
    foreign.tenant = TenantId(3);
    // One key is the beginning of another.
    must(store, vec![keyed(1, "k"), keyed(2, "k"), keyed(3, "kk"), submit_as(foreign), keyed(5, "k/1"), keyed(6, "K")]);
    assert_eq!(ready(store, "default"), [1, 3, 5, 6]);
    let lane = Lane { tenant: TenantId(3), ..lane("default") };
    assert_eq!(sequences(&store.ready(&lane, 9).expect("it can be read")), [4]);
    succeeds(store, 3);
    assert_eq!(ready(store, "default"), [1, 5, 6]);
    let foreign = JobKey { tenant: TenantId(3), sequence: Sequence(4) };
    assert_eq!(store.predecessors(foreign).map(|found| found.unfinished), Ok(Vec::new()));
}

fn a_key_crosses_plugins_and_queues(store: &dyn Store) {
    let ties = || Ties { ordering_key: Some(ordering_key("k")), ..Ties::default() };
    let mut bulk = tied(2, ties());
    bulk.queue = queue("bulk");
    bulk.priority = 100;
    let mut other = tied(3, ties());
    other.plugin = plugin("billing");
    must(store, vec![keyed(1, "k"), submit_as(bulk), submit_as(other)]);
    assert_eq!((ready(store, "default"), ready(store, "bulk")), (vec![1], vec![]));
    succeeds(store, 1);
    assert_eq!((ready(store, "default"), ready(store, "bulk")), (vec![], vec![2]));
    succeeds(store, 2);
    let lane = Lane { plugin: plugin("billing"), ..lane("default") };
    assert_eq!(sequences(&store.ready(&lane, 9).expect("it can be read")), [3]);
}

fn a_thousand_jobs_on_one_key_run_one_after_another(store: &dyn Store) {
    let heard = listen(store);
    must(store, (1..=1_000).map(|sequence| keyed(sequence, "k")).collect());
    for sequence in 1..=1_000 {
        assert_eq!(ready(store, "default"), [sequence]);
        let claimed = running(&JobState::default());
        let done = ended(&claimed, Status::Succeeded);
        must(store, vec![advance(key(sequence), claimed), advance(key(sequence), done)]);
    }
    assert_eq!(ready(store, "default"), [0; 0]);
    assert_eq!(released(&heard), (2..=1_000).collect::<Vec<_>>());
}

fn a_job_waits_for_every_job_that_it_names(store: &dyn Store) {
    let heard = listen(store);
    must(store, vec![submit(1), submit(2), submit(3), after(4, &[1, 2, 3]), after(5, &[2])]);
    assert_eq!(ready(store, "default"), [1, 2, 3]);
    ends(store, 2, Status::Failed);
    assert_eq!((ready(store, "default"), released(&heard)), (vec![1, 3, 5], vec![5]));
    ends(store, 3, Status::Canceled);
    assert_eq!((ready(store, "default"), released(&heard)), (vec![1, 5], vec![]));
    step(store, 1, running);
    assert_eq!(ready(store, "default"), [5]);
    succeeds(store, 1);
    assert_eq!((ready(store, "default"), released(&heard)), (vec![4, 5], vec![4]));
    // One that waited and runs again later waits no more.
    step(store, 4, running);
    step(store, 4, |state| waiting(state, 9));
    step(store, 4, queued);
    assert_eq!((ready(store, "default"), released(&heard)), (vec![4, 5], vec![]));
}

fn a_named_job_that_is_gone_has_ended(store: &dyn Store) {
    must(store, vec![submit(1), submit(2), after(3, &[1, 2])]);
    succeeds(store, 1);
    delete(store, 1);
    assert_eq!(ready(store, "default"), [2]);
    succeeds(store, 2);
    delete(store, 2);
    assert_eq!(ready(store, "default"), [3]);
    must(store, vec![after(4, &[1, 2])]);
    assert_eq!(ready(store, "default"), [3, 4]);
    assert_eq!(predecessors(store, 4), (vec![], vec![]));
}

fn what_is_not_queued_is_not_released(store: &dyn Store) {
    let heard = listen(store);
    must(store, vec![submit(1), after(2, &[1]), keyed(3, "k"), keyed(4, "k")]);
    step(store, 2, |state| waiting(state, 9));
    step(store, 4, |state| waiting(state, 9));
    succeeds(store, 1);
    succeeds(store, 3);
    assert_eq!((ready(store, "default"), released(&heard)), (vec![], vec![]));
    step(store, 2, queued);
    step(store, 4, queued);
    assert_eq!(ready(store, "default"), [2, 4]);
    // The other way round: queued again while it has to wait.
    must(store, vec![submit(5), after(6, &[5])]);
    step(store, 6, |state| waiting(state, 9));
    step(store, 6, queued);
    assert_eq!(ready(store, "default"), [2, 4, 5]);
    succeeds(store, 5);
    assert_eq!((ready(store, "default"), released(&heard)), (vec![2, 4, 6], vec![6]));
}

fn a_job_may_wait_for_its_key_and_for_named_ones(store: &dyn Store) {
    let heard = listen(store);
    let both = |sequence, named: &[u64]| {
        let after = named.iter().map(|named| submission(*named).id).collect();
        submit_as(tied(sequence, Ties { ordering_key: Some(ordering_key("k")), after, ..Ties::default() }))
    };
    must(store, vec![keyed(1, "k"), submit(2), both(3, &[2]), keyed(4, "k")]);
    assert_eq!(predecessors(store, 3), (vec![1, 2], vec![]));
    succeeds(store, 1);
    assert_eq!((ready(store, "default"), released(&heard)), (vec![2], vec![]));
    // It holds the key although it may not start.
    assert_eq!(predecessors(store, 4), (vec![3], vec![]));
    succeeds(store, 2);
    assert_eq!((ready(store, "default"), released(&heard)), (vec![3], vec![3]));
    succeeds(store, 3);
    assert_eq!(released(&heard), [4]);
    succeeds(store, 4);
    // The same job, by name and by key: told once.
    must(store, vec![keyed(5, "k"), both(6, &[5])]);
    succeeds(store, 5);
    assert_eq!((ready(store, "default"), released(&heard)), (vec![6], vec![6]));
}

fn a_whole_commit_of_ordered_jobs_has_one_head(store: &dyn Store) {
    let heard = listen(store);
    let done = ended(&JobState::default(), Status::Succeeded);
    must(store, vec![keyed(1, "k"), keyed(2, "k"), advance(key(1), done.clone()), keyed(3, "k"), after(4, &[1])]);
    assert_eq!(ready(store, "default"), [2, 4]);
    // The end of one and the claim of the next in one commit.
    must(store, vec![advance(key(2), done), advance(key(3), running(&JobState::default()))]);
    assert_eq!(ready(store, "default"), [4]);
    drop(released(&heard));
    succeeds(store, 3);
    assert_eq!(released(&heard), [0; 0]);
}

fn a_key_is_free_again_once_it_is_empty(store: &dyn Store) {
    for sequence in 1..=20 {
        must(store, vec![keyed(sequence, "k")]);
        assert_eq!(ready(store, "default"), [sequence]);
        ends(store, sequence, if sequence % 2 == 0 { Status::Failed } else { Status::Succeeded });
        if sequence % 3 == 0 {
            delete(store, sequence);
        }
    }
    assert_eq!(ready(store, "default"), [0; 0]);
}

fn a_job_that_ended_before_it_was_submitted_binds_nothing(store: &dyn Store) {
    let refused = JobState { revision: 0, ..failed(&JobState::default(), "a loop") };
    let ties = Ties { ordering_key: Some(ordering_key("k")), dedup_key: Some(dedup_key("d")), ..Ties::default() };
    must(store, vec![Change::Submit(Arc::new(tied(1, ties.clone())), Box::new(refused.clone()))]);
    assert_eq!(store.dedup_holder(TenantId::DEFAULT, &dedup_key("d")), Ok(None));
    must(store, vec![submit_as(tied(2, ties.clone())), after(3, &[1])]);
    assert_eq!(ready(store, "default"), [2, 3]);
    assert_eq!(predecessors(store, 2), (vec![], vec![]));
    assert_eq!(predecessors(store, 3), (vec![], vec![1]));
    // Not even beside the one that holds the keys.
    must(store, vec![Change::Submit(Arc::new(tied(4, ties)), Box::new(refused)), keyed(5, "k")]);
    assert_eq!(store.dedup_holder(TenantId::DEFAULT, &dedup_key("d")), Ok(Some(key(2))));
    succeeds(store, 2);
    assert_eq!(ready(store, "default"), [3, 5]);
    assert_eq!(predecessors(store, 5), (vec![], vec![]));
}

fn unfinished_predecessors_are_named(store: &dyn Store) {
    must(store, vec![keyed(1, "k"), keyed(2, "k"), keyed(3, "k"), submit(4), submit(5), after(6, &[5, 4])]);
    assert_eq!(predecessors(store, 1), (vec![], vec![]));
    // The oldest that holds the key, not the whole line.
    assert_eq!(predecessors(store, 3), (vec![1], vec![]));
    let mut found = predecessors(store, 6).0;
    found.sort_unstable();
    assert_eq!(found, [4, 5]);
    step(store, 5, |state| waiting(state, 9));
    step(store, 4, running);
    assert_eq!(predecessors(store, 6).0.len(), 2);
    succeeds(store, 4);
    assert_eq!(predecessors(store, 6), (vec![5], vec![]));
    assert_eq!(predecessors(store, 4), (vec![], vec![]));
    assert_eq!(predecessors(store, 99), (vec![], vec![]));
}

fn the_last_holder_that_did_not_succeed_is_named(store: &dyn Store) {
    must(store, (1..=5).map(|sequence| keyed(sequence, "k")).collect());
    ends(store, 1, Status::Failed);
    assert_eq!(predecessors(store, 2), (vec![], vec![1]));
    // The one directly before the third is the second, and nobody knows yet how that will end.
    assert_eq!(predecessors(store, 3), (vec![2], vec![]));
    // Nobody comes before himself.
    assert_eq!(predecessors(store, 1), (vec![], vec![]));
    ends(store, 2, Status::Canceled);
    assert_eq!(predecessors(store, 3), (vec![], vec![2]));
    // Whether it succeeded is not forgotten with it.
    delete(store, 2);
    assert_eq!(predecessors(store, 3), (vec![], vec![2]));
    // The next holder succeeds: the key is whole again.
    succeeds(store, 3);
    assert_eq!(predecessors(store, 4), (vec![], vec![]));
    // The key becomes empty: who comes later follows nobody.
    succeeds(store, 4);
    ends(store, 5, Status::Failed);
    must(store, vec![keyed(6, "k")]);
    assert_eq!(predecessors(store, 6), (vec![], vec![]));
    assert_eq!(ready(store, "default"), [6]);
    // And one that comes while the next still waits follows the broken one through it.
    must(store, vec![keyed(7, "k")]);
    ends(store, 6, Status::Failed);
    must(store, vec![keyed(8, "k")]);
    ends(store, 7, Status::Canceled);
    assert_eq!(predecessors(store, 8), (vec![], vec![7]));
}

fn named_jobs_that_did_not_succeed_are_named(store: &dyn Store) {
    must(store, vec![submit(1), submit(2), submit(3), after(4, &[1, 2, 3])]);
    succeeds(store, 1);
    ends(store, 2, Status::Failed);
    ends(store, 3, Status::Canceled);
    assert_eq!(predecessors(store, 4), (vec![], vec![2, 3]));
    // What is gone is not known to have failed.
    delete(store, 2);
    assert_eq!(predecessors(store, 4), (vec![], vec![3]));
}

fn a_canceled_job_that_never_held_the_key_breaks_nothing(store: &dyn Store) {
    must(store, (1..=3).map(|sequence| keyed(sequence, "k")).collect());
    ends(store, 2, Status::Canceled);
    succeeds(store, 1);
    assert_eq!(predecessors(store, 3), (vec![], vec![]));
    // And it does not mend what the holder broke.
    must(store, vec![keyed(4, "k"), keyed(5, "k")]);
    ends(store, 3, Status::Failed);
    succeeds(store, 5);
    assert_eq!(predecessors(store, 4), (vec![], vec![3]));
}
