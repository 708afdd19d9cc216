//! What runs next: ready jobs, timers and locked jobs.

use backroom::domain::change::Change;
use backroom::domain::id::{JobId, JobKey, Sequence, TenantId};
use backroom::domain::job::{JobState, Status, Submission};
use backroom::domain::queue::{Lane, LaneDepth};
use backroom::store::Store;

use crate::common::*;

on_every_store!(
    ready_is_by_priority_then_sequence,
    ready_keeps_queues_apart,
    ready_leaves_out_what_is_claimed,
    a_job_that_comes_back_takes_its_old_place,
    ready_keeps_tenants_and_plugins_apart,
    ready_gives_no_more_than_asked,
    a_lane_is_as_deep_as_its_jobs_that_may_start,
    due_is_by_time_and_only_what_has_come,
    a_wait_is_due_when_its_job_expires,
    next_due_is_the_earliest,
    a_timer_goes_with_its_wait,
    locked_is_what_hosts_hold,
    a_new_job_may_start_with_a_wait,
);

fn with_priority(sequence: u64, priority: i8) -> Change {
    let mut wanted = submission(sequence);
    wanted.priority = priority;
    submit_as(wanted)
}

fn ready_is_by_priority_then_sequence(store: &dyn Store) {
    let priorities = [0, 5, 0, -100, 100, 5, 0, -100, 0];
    let changes = (1..).zip(priorities).map(|(sequence, priority)| with_priority(sequence, priority));
    // Later sequences first: the order of commits does not count.
    let mut changes: Vec<_> = changes.collect();
    changes.reverse();
    changes.into_iter().for_each(|change| must(store, vec![change]));
    assert_eq!(ready(store, "default"), [5, 2, 6, 1, 3, 7, 9, 4, 8]);
}

fn ready_keeps_queues_apart(store: &dyn Store) {
    let names = ["default", "default-two", "bulk", "default", "bulk"];
    let named = |(sequence, name): (u64, &str)| {
        let mut wanted = submission(sequence);
        wanted.queue = queue(name);
        submit_as(wanted)
    };
    must(store, (1..).zip(names).map(named).collect());
    assert_eq!(ready(store, "default"), [1, 4]);
    assert_eq!(ready(store, "default-two"), [2]);
    assert_eq!(ready(store, "bulk"), [3, 5]);
    assert_eq!(ready(store, "none-such"), [0; 0]);
}

fn ready_leaves_out_what_is_claimed(store: &dyn Store) {
    must(store, (1..=40).map(submit).collect());
    for sequence in [2, 3, 17, 40] {
        step(store, sequence, running);
    }
    let wanted: Vec<_> = (1..=40).filter(|sequence| ![2, 3, 17, 40].contains(sequence)).collect();
    assert_eq!(ready(store, "default"), wanted);
    for sequence in wanted {
        step(store, sequence, running);
    }
    assert_eq!(ready(store, "default"), [0; 0]);
}

fn a_job_that_comes_back_takes_its_old_place(store: &dyn Store) {
    must(store, (1..=20).map(submit).collect());
    must(store, vec![with_priority(21, 9)]);
    for sequence in [3, 4, 5, 12, 20, 21] {
        step(store, sequence, running);
    }
    for sequence in [21, 20, 4, 12] {
        step(store, sequence, queued);
    }
    let wanted: Vec<_> = [21].into_iter().chain((1..=20).filter(|sequence| ![3, 5].contains(sequence))).collect();
    assert_eq!(ready(store, "default"), wanted);
    step(store, 4, running);
    step(store, 4, |state| ended(state, Status::Succeeded));
    let wanted: Vec<_> = wanted.into_iter().filter(|sequence| *sequence != 4).collect();
    assert_eq!(ready(store, "default"), wanted);
}

fn ready_keeps_tenants_and_plugins_apart(store: &dyn Store) {
    let owned = |sequence: u64, tenant: u32| {
        let mut wanted = submission(sequence);
        wanted.tenant = TenantId(tenant);
        submit_as(wanted)
    };
    must(store, vec![owned(1, 5), owned(2, 0), owned(3, 5), owned(4, 7)]);
    let mut other = submission(5);
    other.plugin = plugin("mailer-two");
    must(store, vec![submit_as(other)]);
    assert_eq!(ready(store, "default"), [2]);
    let lanes = store.lanes(None, usize::MAX).expect("it can be read");
    let found: Vec<_> = lanes
        .iter()
        .map(|lane| (lane.plugin.as_str(), lane.tenant.0, sequences(&store.ready(lane, 9).expect("it can be read"))))
        .collect();
    let wanted =
        [("mailer", 0, vec![2]), ("mailer", 5, vec![1, 3]), ("mailer", 7, vec![4]), ("mailer-two", 0, vec![5])];
    assert_eq!(found, wanted);
    let wanted = JobKey { tenant: TenantId(5), sequence: Sequence(3) };
    let found = store.job(wanted).expect("it can be read").expect("the job is there");
    assert_eq!(found.submission.id, JobId::new(found.submission.created_on, Sequence(3), 7));
    assert_eq!(store.job(key(3)), Ok(None));
}

fn ready_gives_no_more_than_asked(store: &dyn Store) {
    must(store, (1..=40).map(submit).collect());
    for limit in [0, 1, 15, 16, 17, 40, 41] {
        let found = store.ready(&lane("default"), limit).expect("it can be read");
        assert_eq!(sequences(&found), (1..=40).take(limit).collect::<Vec<_>>());
    }
}

fn a_lane_is_as_deep_as_its_jobs_that_may_start(store: &dyn Store) {
    let lane = Lane::of(&submission(1));
    let depth = |most| store.depth(&lane, most).expect("it reads");
    assert_eq!(depth(10), LaneDepth::default());
    must(store, (3..=60).map(|sequence| with_priority(sequence, if sequence % 3 == 0 { 5 } else { 0 })).collect());
    for sequence in [3, 4, 17, 60] {
        step(store, sequence, running);
    }
    let there: Vec<_> = (5..60).filter(|sequence| *sequence != 17).collect();
    assert_eq!(depth(1_000), LaneDepth { jobs: there.len(), oldest: Some(Sequence(5)) });
    let first = store.ready(&lane, 20).expect("it reads");
    let oldest = first.iter().map(|job| job.submission.id.sequence()).min();
    assert_eq!(depth(20).jobs, 20);
    assert!(depth(20).oldest >= oldest.min(Some(Sequence(5))));
    assert_eq!(depth(0).jobs, 0);
}

fn due_is_by_time_and_only_what_has_come(store: &dyn Store) {
    must(store, (1..=5).map(submit).collect());
    for (sequence, until) in [(1, 50), (2, -7), (3, 40), (4, 60), (5, 50)] {
        step(store, sequence, |state| waiting(state, until));
    }
    let due = |now: i64, limit: usize| sequences(&store.due(time(now), limit).expect("it can be read"));
    assert_eq!(due(-8, 9), [0; 0]);
    assert_eq!(due(-7, 9), [2]);
    assert_eq!(due(50, 9), [2, 3, 1, 5]);
    assert_eq!(due(50, 2), [2, 3]);
    assert_eq!(sequences(&store.due(backroom::domain::time::Timestamp(i64::MAX), 9).expect("it can be read")).len(), 5);
}

fn a_wait_is_due_when_its_job_expires(store: &dyn Store) {
    let expiring = |sequence| Submission { expires_on: Some(time(50)), ..submission(sequence) };
    must(store, (1..=4).map(|sequence| submit_as(expiring(sequence))).collect());
    let for_event = |state: &JobState| JobState { postpone_until: None, ..waiting(state, 0) };
    step(store, 1, for_event);
    step(store, 2, |state| waiting(state, 60));
    step(store, 3, |state| waiting(state, 40));
    step(store, 4, |state| JobState { status: Status::Paused, wait_reason: None, ..for_event(state) });
    assert_eq!(store.next_due(), Ok(Some(time(40))));
    assert_eq!(sequences(&store.due(time(49), 9).expect("it can be read")), [3]);
    assert_eq!(
        sequences(&store.due(time(50), 9).expect("it can be read")),
        [3, 1, 2],
        "a paused one waits for a person"
    );
    (1..=3).for_each(|sequence| step(store, sequence, |state| ended(state, Status::Canceled)));
    assert_eq!(store.next_due(), Ok(None));
}

fn next_due_is_the_earliest(store: &dyn Store) {
    assert_eq!(store.next_due(), Ok(None));
    must(store, vec![submit(1), submit(2)]);
    step(store, 1, |state| waiting(state, 50));
    assert_eq!(store.next_due(), Ok(Some(time(50))));
    step(store, 2, |state| waiting(state, 40));
    assert_eq!(store.next_due(), Ok(Some(time(40))));
    step(store, 2, queued);
    assert_eq!(store.next_due(), Ok(Some(time(50))));
}

fn a_timer_goes_with_its_wait(store: &dyn Store) {
    must(store, vec![submit(1)]);
    for until in [30, 20, 40] {
        step(store, 1, |state| waiting(state, until));
        assert_eq!(store.next_due(), Ok(Some(time(until))));
        assert_eq!(store.due(time(99), 9).map(|jobs| jobs.len()), Ok(1));
    }
    // A claim keeps the time in the record, but a locked job is not due.
    step(store, 1, running);
    assert_eq!(state(store, 1).postpone_until, Some(time(40)));
    assert_eq!(store.due(time(99), 9), Ok(Vec::new()));
    assert_eq!(store.next_due(), Ok(None));
}

fn locked_is_what_hosts_hold(store: &dyn Store) {
    must(store, (1..=6).map(submit).collect());
    (1..=4).for_each(|sequence| step(store, sequence, running));
    step(store, 2, |state| JobState { status: Status::Canceling, revision: state.revision + 1, ..state.clone() });
    step(store, 3, |state| ended(state, Status::Succeeded));
    step(store, 4, |state| waiting(state, 9));
    assert_eq!(sequences(&store.locked().expect("it can be read")), [1, 2]);
}

fn a_new_job_may_start_with_a_wait(store: &dyn Store) {
    let initial = JobState { revision: 0, ..waiting(&JobState::default(), 30) };
    let change = Change::Submit(std::sync::Arc::new(submission(2)), Box::new(initial.clone()));
    must(store, vec![submit(1), change, submit(3)]);
    assert_eq!(state(store, 2), initial);
    assert_eq!(ready(store, "default"), [1, 3]);
    assert_eq!(sequences(&store.due(time(30), 9).expect("it can be read")), [2]);
    step(store, 2, queued);
    assert_eq!(ready(store, "default"), [1, 2, 3]);
}
