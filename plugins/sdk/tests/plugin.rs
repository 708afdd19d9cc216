//! A whole plug-in on the test host, as its author would test it.

use std::time::{Duration, SystemTime};

use backroom_sdk::control::{Pausable, PauseEnd, Signal};
use backroom_sdk::prelude::*;
use backroom_sdk::testing::{Pause, Progress, TestHost};
use backroom_sdk::{ErrorClass, Event, logging};
use serde_json::json;

mod two_handlers {
    use super::*;

    backroom_sdk::export! {
        "add" => add,
        "count" => count,
    }

    fn add(numbers: Vec<i64>) -> Result<i64> {
        numbers.into_iter().reduce(|sum, number| sum + number).ok_or_else(|| Failure::business("nothing to add"))
    }

    /// Counts to the goal, one unit a run.
    pub fn count(job: &Job, goal: u64) -> Result<Outcome<u64>> {
        debug!("{} in run {}", job.name, job.run);
        let done = control::resume::<u64>()?.unwrap_or(0) + 1;
        control::progress(done, Some(goal));
        if done == goal {
            return Ok(Outcome::Succeeded(done));
        }
        control::checkpoint(&done)?;
        Ok(Outcome::Yielded)
    }
}

mod one_handler {
    use super::*;

    backroom_sdk::export!(reverse);

    fn reverse(input: Bytes) -> Result<Bytes> {
        Ok(input.iter().rev().copied().collect::<Vec<u8>>().into())
    }
}

#[test]
fn the_job_names_the_handler() {
    let run = TestHost::new().dispatch::<two_handlers::Exports>("add", "[1, 2, 3]");
    assert_eq!(run.output(), json!(6));
    let run = TestHost::new().dispatch::<two_handlers::Exports>("count", "1");
    assert_eq!(run.output(), json!(1));
}

#[test]
fn an_unknown_handler_is_fatal_and_names_those_there_are() {
    let run = TestHost::new().dispatch::<two_handlers::Exports>("divide", "[]");
    let failure = run.failure();
    assert_eq!(failure.class, Some(ErrorClass::Fatal));
    assert_eq!(failure.code.as_deref(), Some("unknown-handler"));
    assert_eq!(failure.message, "there is no handler `divide` in this plug-in; it has `add`, `count`");
}

#[test]
fn a_single_handler_answers_to_any_name() {
    for name in ["handle", "reverse", "whatever"] {
        assert_eq!(TestHost::new().dispatch::<one_handler::Exports>(name, "abc").output_bytes(), b"cba");
    }
}

#[test]
fn an_input_that_does_not_fit_is_refused_for_good() {
    let run = TestHost::new().dispatch::<two_handlers::Exports>("add", r#"["one"]"#);
    let failure = run.failure();
    assert_eq!(failure.class, Some(ErrorClass::Business));
    assert_eq!(failure.code.as_deref(), Some("invalid-input"));
    assert_eq!(failure.message, "the input is not what this handler takes, at line 1, column 6");
    assert!(failure.detail.as_deref().is_some_and(|detail| detail.contains("expected i64")), "{failure:?}");
}

#[test]
fn a_job_goes_on_from_its_checkpoint() {
    let mut state = None;
    for run in 1..=3 {
        let host = TestHost::new().job(|job| job.run = run).resume(state.take());
        let run = host.run(two_handlers::count, json!(4));
        assert_eq!(run.outcome(), &Outcome::Yielded);
        state = run.checkpoint;
    }
    let last = TestHost::new().job(|job| job.run = 4).resume(state).run(two_handlers::count, json!(4));
    assert_eq!(last.output(), json!(4));
    assert_eq!(last.progress, [Progress { done: 4, total: Some(4), note: None }]);
    assert_eq!(last.logs[0].message, "test in run 4");
    assert_eq!(last.logs[0].context, "plugin::two_handlers");
    assert_eq!(last.logs[0].level, logging::Level::Debug);
}

#[test]
fn a_checkpoint_of_another_kind_is_fatal() {
    let run = TestHost::new().resume(b"\"three\"".to_vec()).run(two_handlers::count, json!(4));
    assert_eq!(run.failure().code.as_deref(), Some("invalid-checkpoint"));
}

fn pauses_for(seconds: u64) -> Result<bool> {
    let until = control::pause(Pausable::Plugin, Duration::from_secs(seconds), "the quota is used up")?;
    Ok(until.is_some_and(|until| until > SystemTime::now()))
}

#[test]
fn a_pause_is_kept_where_it_is_granted_and_acceptable() {
    let host = TestHost::new().grant_pause(Pausable::Plugin);
    let run = host.clone().run(pauses_for, json!(3_600));
    assert_eq!(run.output(), json!(true));
    let end = PauseEnd::After(Duration::from_secs(3_600));
    assert_eq!(run.pauses, [Pause { what: Pausable::Plugin, end, reason: "the quota is used up".into() }]);
    for seconds in [0, 7 * 24 * 3_600 + 60, u64::MAX] {
        let run = host.clone().run(pauses_for, json!(seconds));
        assert_eq!(run.failure().code.as_deref(), Some("pause-refused"), "{seconds}");
        assert_eq!(run.pauses, []);
    }
    let run = TestHost::new().grant_pause(Pausable::Queue).run(pauses_for, json!(3_600));
    assert_eq!((run.failure().code.as_deref(), run.pauses.len()), (Some("pause-not-granted"), 0));
}

#[test]
fn a_refused_checkpoint_is_told() {
    let run = TestHost::new().checkpoint_limit(0).run(two_handlers::count, json!(4));
    assert_eq!(run.failure().code.as_deref(), Some("checkpoint-refused"));
    assert!(run.checkpoint.is_none());
}

#[test]
fn a_failure_that_says_when_to_try_again_asks_for_a_retry() {
    fn busy(_: ()) -> Result<()> {
        Err(Failure::throttled("too many requests", Duration::from_secs(3)))
    }
    let run = TestHost::new().run(busy, json!(null));
    let Outcome::Retry(failure) = run.outcome() else { panic!("{:?}", run.result) };
    assert_eq!(failure.class, Some(ErrorClass::Throttled));
    assert_eq!(failure.retry_after, Some(Duration::from_secs(3)));
}

#[test]
fn the_host_is_heard_and_its_settings_are_read() {
    fn listen(_: ()) -> Result<(String, u64, usize)> {
        assert_eq!([control::poll(), control::poll(), control::poll()], [Signal::None, Signal::Cancel, Signal::Cancel]);
        Ok((config::require("greeting")?, control::remaining().as_millis() as u64, config::all()?.len()))
    }
    let host = TestHost::new().signals([Signal::None, Signal::Cancel]).remaining(Duration::from_millis(250));
    assert_eq!(host.clone().config("greeting", "Hello").run(listen, json!(null)).output(), json!(["Hello", 250, 1]));
    assert_eq!(host.run(listen, json!(null)).failure().class, Some(ErrorClass::UserFixable));
}

#[test]
fn the_event_that_caused_a_job_is_seen() {
    fn entity(job: &Job, _: ()) -> Result<Option<String>> {
        Ok(job.event.as_ref().map(|event| event.entity.clone()))
    }
    let event = Event {
        message: "create".into(),
        entity: "invoice".into(),
        id: None,
        data: Some("{}".into()),
        images: Vec::new(),
    };
    assert_eq!(TestHost::new().event(event).run(entity, json!(null)).output(), json!("invoice"));
    assert_eq!(TestHost::new().run(entity, json!(null)).output(), json!(null));
}

#[test]
fn an_output_that_is_no_json_is_fatal() {
    fn keyed(_: ()) -> Result<std::collections::BTreeMap<Vec<u8>, u8>> {
        Ok([(vec![1], 1)].into())
    }
    assert_eq!(TestHost::new().run(keyed, json!(null)).failure().code.as_deref(), Some("invalid-output"));
}

#[cfg(feature = "log")]
#[test]
fn the_log_crate_writes_to_the_same_log() {
    fn chatty(_: ()) -> Result<()> {
        log::warn!(target: "library", "{} left", 2);
        Ok(())
    }
    let run = TestHost::new().run(chatty, json!(null));
    assert_eq!(run.logs[0].message, "2 left");
    assert_eq!(run.logs[0].context, "library");
    assert_eq!(run.logs[0].level, logging::Level::Warn);
}
