//! Batches: what counts their members, what people may do with them, and how they end.

use backroom::domain::change::Change;
use backroom::domain::failure::ErrorClass;
use backroom::domain::id::{JobId, TenantId};
use backroom::domain::job::transition::Next;
use backroom::domain::job::{Status, Ties};
use backroom::domain::loops;
use backroom::domain::time::Timestamp;
use backroom::jobs::{Command, NewBatch, NewJob, Order, Rerun, RerunError, SteerError, SubmitError};
use backroom::sandbox::scripted::Script;
use backroom::store::Store;

use crate::host::*;

fn submit(host: &Host, members: Vec<NewJob>) -> (JobId, Vec<JobId>) {
    let (batch, members) =
        at_once(host.jobs.submit_batch(NewBatch::default(), members)).expect("the batch and its jobs are good");
    (batch.submission.id, members)
}

fn refused(host: &Host, job: JobId, order: Order) -> String {
    match at_once(host.jobs.steer(TenantId::DEFAULT, job, &Command::new(order, "somebody"))) {
        Err(SteerError::Refused(refused)) => refused.why.into_owned(),
        other => panic!("{job} took it: {other:?}"),
    }
}

#[test]
fn a_batch_is_not_held_or_set_going_by_itself() {
    let mut host = Host::new(4, |_| works(seconds(5)));
    let (batch, members) = submit(&host, vec![echo(), echo()]);
    let until = Timestamp::from_millis(host.now().as_millis() + 60_000);
    for order in [Order::Pause, Order::Resume, Order::Postpone(until)] {
        let why = refused(&host, batch, order);
        assert!(why.contains("it is a batch"), "{why}");
    }
    host.settle();
    assert_eq!(host.status(batch), Status::Waiting);
    host.finish(&[members[0], members[1], batch], seconds(60));
    assert_eq!(host.status(batch), Status::Succeeded);
}

#[test]
fn a_member_stays_for_as_long_as_its_batch_counts_it() {
    let slow_first = |slice: &backroom::sandbox::Slice| match slice.input.starts_with(b"slow") {
        true => works(seconds(20)),
        false => works(seconds(1)),
    };
    let mut host = Host::new(4, slow_first);
    let slow = NewJob { input: "slow".into(), ..echo() };
    let goes = NewJob { auto_delete: true, ..echo() };
    let (batch, members) = submit(&host, vec![slow, echo(), goes]);
    host.finish(&members[1..], seconds(10));
    let why = refused(&host, members[1], Order::Delete);
    assert!(why.contains("its batch has not ended"), "{why}");
    assert_eq!(host.status(batch), Status::Waiting);
    host.finish(&[batch], seconds(120));
    let summary = host.jobs.batch_summary(&host.job(batch)).expect("memory can be read");
    assert_eq!((summary.total, summary.succeeded), (3, 3));
    host.order(members[1], Order::Delete);
    assert_eq!(at_once(async { host.jobs.get(TenantId::DEFAULT, members[1]) }), Ok(None));
}

#[test]
fn a_batch_ends_when_all_its_jobs_are_refused() {
    let mut host = Host::new(4, |_| works(seconds(1)));
    let mut parent = host.submit(echo());
    for _ in 0..loops::DEPTH_MAX {
        parent = host.submit(NewJob { parent: Some(parent), ..echo() });
    }
    let too_deep = NewJob { parent: Some(parent), ..echo() };
    let (batch, members) = submit(&host, vec![too_deep.clone(), too_deep]);
    assert_eq!(host.status(members[0]), Status::Failed);
    host.finish(&[batch], seconds(60));
    assert_eq!(host.status(batch), Status::Failed);
}

#[test]
fn the_failed_jobs_of_a_batch_run_again_as_a_batch_on_the_same_terms() {
    // By the time of the second round the customer's data has been mended.
    let mut host = Host::new(4, |slice| match (&*slice.input, slice.job.sequence().0) {
        (b"bad", first_round) if first_round < 10 => fails(ErrorClass::Business, "no address"),
        (b"worse", _) => fails(ErrorClass::Business, "no such customer"),
        _ => Script::succeeds("done"),
    });
    let with = |input: &'static str| NewJob { input: input.into(), ..echo() };
    let new = NewBatch { name: Some("letters".to_owned()), allowed_failures: 1, ..NewBatch::default() };
    let members = vec![with("good"), with("bad"), with("worse")];
    let (batch, members) = at_once(host.jobs.submit_batch(new, members)).expect("the batch and its jobs are good");
    let batch = batch.submission.id;
    let again = |host: &Host, id| {
        let rerun = Rerun { reason: Some("mended".to_owned()), ..Rerun::new("somebody") };
        at_once(host.jobs.retry_failed(TenantId::DEFAULT, id, rerun))
    };
    let why = |refused: Result<_, RerunError>| match refused {
        Err(RerunError::Steer(SteerError::Refused(refused))) => refused.why,
        other => panic!("it was done: {other:?}"),
    };
    assert_eq!(why(again(&host, batch)), "it has not ended");
    host.finish(&[batch], seconds(60));
    assert_eq!(host.status(batch), Status::Failed);
    let before = host.job(batch);
    while host.submit(echo()).sequence().0 < 10 {}

    let (second, second_members) = again(&host, batch).expect("it has ended, and two of its jobs failed");
    assert_eq!((second.submission.name.as_deref(), second.submission.ties().retry_of), (Some("letters"), Some(batch)));
    let of: Vec<_> = second_members.iter().map(|job| host.job(*job).submission.ties().retry_of).collect();
    assert_eq!(of, [Some(members[1]), Some(members[2])], "in the order of the first round");
    host.finish(&[second.submission.id], seconds(60));
    assert_eq!(host.status(second.submission.id), Status::Succeeded, "one may fail, and one does");
    let summary = host.jobs.batch_summary(&host.job(second.submission.id)).expect("memory can be read");
    assert_eq!((summary.total, summary.succeeded, summary.failed), (2, 1, 1));
    assert_eq!(host.job(batch), before, "the first round is as it was");
    let audit = host.jobs.audit(&host.job(second_members[0])).expect("memory can be read");
    assert_eq!(audit[0].reason.as_deref(), Some("mended"));

    let (third, _) = again(&host, second.submission.id).expect("one has failed again");
    host.finish(&[third.submission.id], seconds(60));
    let (fourth, _) = submit(&host, vec![echo()]);
    host.finish(&[fourth], seconds(60));
    let none_is_left = "none of its jobs has failed that was not run again already";
    assert_eq!(why(again(&host, fourth)), none_is_left);
    assert_eq!(why(again(&host, batch)), none_is_left, "what failed of the first round was done in the second");
    assert_eq!(why(again(&host, members[0])), "it is no batch");
}

#[test]
fn the_members_of_a_batch_whose_canceler_died_are_called_off_when_their_turn_comes() {
    let mut host = Host::new(4, |_| works(seconds(5)));
    let later = NewJob { at: Some(host.now().after(seconds(60))), ..echo() };
    let (batch, members) = submit(&host, vec![later, echo()]);
    let present = host.job(batch);
    let cancel = Command::new(Order::Cancel, "somebody");
    let Ok(Next::Changed { state, .. }) = host.jobs.decide(&present, &cancel, host.now()) else {
        panic!("it is not over yet");
    };
    let alone = Change::Advance { job: key(batch), expected: present.state.revision, next: state, earlier_run: None };
    host.store.commit(vec![alone]).wait().expect("nobody was first");
    host.finish(&members, seconds(120));
    assert!(members.iter().all(|job| host.status(*job) == Status::Canceled && host.starts(*job).is_empty()));
}

#[test]
fn no_job_joins_a_batch_that_it_would_wait_for() {
    let mut host = Host::new(4, |_| works(seconds(5)));
    let (batch, members) = submit(&host, vec![echo()]);
    let after = |job| NewJob { ties: Ties { after: vec![job], ..Ties::default() }, ..echo() };
    let joins = |new: NewJob| NewJob { ties: Ties { batch: Some(batch), ..new.ties }, ..new };
    let outside = host.submit(after(batch));
    let keyed_outside = host.submit(NewJob { ties: Ties { after: vec![batch], ..keyed("k").ties }, ..echo() });
    let (other, _) = submit(&host, vec![after(batch)]);
    for circle in [after(batch), after(outside), keyed("k"), after(other)] {
        let refused = at_once(host.jobs.submit(joins(circle), None));
        assert_eq!(refused.map(|taken| taken.job), Err(SubmitError::Circle { batch }));
    }
    let late = host.submit(joins(after(members[0])));
    let refused = at_once(host.jobs.submit_batch(NewBatch::default(), vec![echo(), joins(echo())]));
    let refused = refused.map(|_| ()).expect_err("it names another batch");
    assert_eq!((refused.index, refused.error), (Some(1), SubmitError::OtherBatch { batch }));
    host.finish(&[late, batch, outside, keyed_outside, other], seconds(120));
}

/// Whether one of two new jobs, or of two batches, would wait for itself: by what is named, by the key that both may have, and by
/// the batches that wait for their members.
fn is_circular(lines: [&Line; 2]) -> bool {
    let mut waits = [[false; 4]; 4];
    for (at, line) in lines.iter().enumerate() {
        line.after.iter().for_each(|batch| waits[at][2 + batch] = true);
        line.batch.iter().for_each(|batch| waits[2 + batch][at] = true);
    }
    waits[1][0] = lines.iter().all(|line| line.is_keyed);
    for over in 0..4 {
        for from in 0..4 {
            for to in 0..4 {
                waits[from][to] |= waits[from][over] && waits[over][to];
            }
        }
    }
    (0..4).any(|node| waits[node][node])
}

/// A line of a bulk submit: whether it has the key, and which of two batches it waits for and joins.
#[derive(Clone, Copy, Debug)]
struct Line {
    is_keyed: bool,
    after: Option<usize>,
    batch: Option<usize>,
}

impl Line {
    fn all() -> Vec<Self> {
        let either = [None, Some(0), Some(1)];
        let with = |after| either.map(|batch| [false, true].map(|is_keyed| Self { is_keyed, after, batch }));
        either.into_iter().flat_map(with).flatten().collect()
    }

    fn job(self, batches: [JobId; 2]) -> NewJob {
        let named = |batch: Option<usize>| batch.map(|batch| batches[batch]);
        let ties = if self.is_keyed { keyed("k").ties } else { Ties::default() };
        let after = named(self.after).into_iter().collect();
        NewJob { ties: Ties { after, batch: named(self.batch), ..ties }, ..echo() }
    }
}

#[test]
fn jobs_of_one_request_are_refused_where_they_would_wait_in_a_circle_and_end_otherwise() {
    let mut refusals = 0;
    for first in Line::all() {
        for second in Line::all() {
            let mut host = Host::new(4, |_| works(seconds(1)));
            let batches = [(); 2].map(|()| submit(&host, vec![echo()]).0);
            let lines = vec![first.job(batches), second.job(batches)];
            match at_once(host.jobs.submit_bulk(lines)) {
                Ok(ids) => {
                    assert!(!is_circular([&first, &second]), "{first:?} {second:?}");
                    host.finish(&[ids[0], ids[1], batches[0], batches[1]], seconds(60));
                }
                Err(refused) => {
                    assert!(is_circular([&first, &second]), "{first:?} {second:?}: {refused}");
                    assert!(matches!(refused.error, SubmitError::Circle { .. }), "{refused:?}");
                    refusals += 1;
                }
            }
        }
    }
    assert!(refusals > 50, "only {refusals} of them");
}

#[test]
fn a_circle_over_many_lines_and_what_is_there_already_names_the_line_that_closes_it() {
    let host = Host::new(4, |_| works(seconds(5)));
    let batches = [(); 2].map(|()| submit(&host, vec![echo()]).0);
    let line = |is_keyed, after, batch| Line { is_keyed, after, batch }.job(batches);
    let plain = line(true, None, None);
    let over_others = vec![line(true, Some(0), None), plain.clone(), plain.clone(), line(true, None, Some(0))];
    let over_batches =
        vec![line(true, Some(1), None), line(true, None, Some(0)), line(false, Some(0), Some(1)), plain.clone()];
    for (lines, index, batch) in [(over_others, 3, batches[0]), (over_batches, 2, batches[1])] {
        let refused = at_once(host.jobs.submit_bulk(lines)).expect_err("neither would end");
        assert_eq!((refused.index, refused.error), (Some(index), SubmitError::Circle { batch }));
    }
    // The first of those that have the key is there already.
    host.submit(line(true, Some(0), None));
    let refused = at_once(host.jobs.submit_bulk(vec![plain, line(true, None, Some(0))])).expect_err("likewise");
    assert_eq!((refused.index, refused.error), (Some(1), SubmitError::Circle { batch: batches[0] }));
    let long: Vec<_> = (0..20_000).map(|_| line(true, None, Some(1))).collect();
    at_once(host.jobs.submit_bulk(long)).expect("a line that is long is no circle");
}
