//! What a scripted handler does, drawn from the seed, the job and the run.

use std::time::Duration;

use backroom::domain::code;
use backroom::domain::failure::{ErrorClass, Failure};
use backroom::domain::host_call::HostCall;
use backroom::domain::job::{Progress, Wake};
use backroom::domain::limits::Usage;
use backroom::sandbox::scripted::{Manners, Script, Step};
use backroom::sandbox::{Slice, SliceEnd};
use bytes::Bytes;

use crate::draw::Draw;

#[derive(Clone, Copy)]
enum End {
    Success,
    Canceled,
    Transient,
    Trap,
    Throttled,
    UserFixable,
    Business,
    RetryLater,
    Sleep,
    Event,
    Manual,
    Yield,
    EmptyYield,
}

const ENDS: [(u64, End); 13] = [
    (40, End::Success),
    (6, End::Canceled),
    (12, End::Transient),
    (4, End::Trap),
    (4, End::Throttled),
    (4, End::UserFixable),
    (4, End::Business),
    (5, End::RetryLater),
    (6, End::Sleep),
    (3, End::Event),
    (3, End::Manual),
    (12, End::Yield),
    (1, End::EmptyYield),
];

pub(crate) fn direct(seed: u64, slice: &Slice) -> Script {
    let mut draw = Draw::of(&[seed, slice.job.sequence().0, u64::from(slice.run)]);
    let mut script = Script::of(SliceEnd::Yielded);
    for _ in 0..draw.below(4) {
        script = script.after(step(&mut draw));
    }
    if draw.chance(20) {
        script = script.with_manners(Manners::Deaf);
    }
    // Each run signs its bill, so that the ledger knows whose it is.
    script.usage = Usage { fuel: 1 + draw.below(1_000), host_calls: u64::from(slice.run), ..Usage::default() };
    let end = draw.choose(&ENDS);
    if matches!(end, End::Yield) {
        let state = Bytes::from(format!("run {}", slice.run));
        script = script.after(Step::Call(HostCall::Checkpoint(state)));
    }
    script.end = slice_end(&mut draw, end, slice);
    script
}

fn step(draw: &mut Draw) -> Step {
    match draw.below(6) {
        0 => Step::Call(HostCall::Progress(Progress { done: draw.below(9), total: Some(9), note: None })),
        1 => Step::Call(HostCall::ResumeState),
        // Now and then longer than the wall-clock limit.
        _ => Step::Work(Duration::from_millis(draw.choose(&[(6, 1), (4, 50), (2, 20_000), (1, 60_000)]))),
    }
}

fn slice_end(draw: &mut Draw, end: End, slice: &Slice) -> SliceEnd {
    let failure = |class| Failure { class, code: None, message: "it did not work".to_owned(), detail: None };
    match end {
        End::Success => SliceEnd::Succeeded(Bytes::from(format!("output of run {}", slice.run))),
        End::Canceled => SliceEnd::Canceled("nothing to do".to_owned()),
        End::Transient => SliceEnd::Failed(failure(ErrorClass::Transient)),
        End::Trap => SliceEnd::Failed(Failure::host(ErrorClass::Fatal, code::GUEST_TRAP, "unreachable")),
        End::Throttled => SliceEnd::Failed(failure(ErrorClass::Throttled)),
        End::UserFixable => SliceEnd::Failed(failure(ErrorClass::UserFixable)),
        End::Business => SliceEnd::Failed(failure(ErrorClass::Business)),
        End::RetryLater => SliceEnd::Retry(Some(Duration::from_secs(draw.below(300))), failure(ErrorClass::Transient)),
        End::Sleep => SliceEnd::Suspended(Wake::At(slice.deadline.after(Duration::from_secs(draw.below(600))))),
        End::Event => SliceEnd::Suspended(Wake::Event("paid".to_owned())),
        End::Manual => SliceEnd::Suspended(Wake::Manual),
        End::Yield | End::EmptyYield => SliceEnd::Yielded,
    }
}
