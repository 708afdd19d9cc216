//! Batches: what counts their members, what people may do with them, and how they end.

use backroom::domain::id::{JobId, TenantId};
use backroom::domain::job::Status;
use backroom::domain::loops;
use backroom::domain::time::Timestamp;
use backroom::jobs::{Command, NewBatch, NewJob, Order, SteerError};

use crate::host::*;

fn submit(host: &Host, members: Vec<NewJob>) -> (JobId, Vec<JobId>) {
    let (batch, members) =
        at_once(host.jobs.submit_batch(NewBatch::default(), members)).expect("the batch and its jobs are good");
    (batch.submission.id, members)
}

fn refused(host: &Host, job: JobId, order: Order) -> String {
    match at_once(host.jobs.steer(TenantId::DEFAULT, job, &Command::new(order, "somebody"))) {
        Err(SteerError::Refused(refused)) => refused.why.to_owned(),
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
