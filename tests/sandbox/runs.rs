//! What a slice returns, what it may ask, and what it leaves behind.

use std::sync::Arc;
use std::time::Duration;

use backroom::domain::failure::ErrorClass;
use backroom::domain::host_call::{HostAnswer, HostCall};
use backroom::domain::job::{Progress, Wake};
use backroom::domain::limits::Limits;
use backroom::domain::pausing::{Pausable, PauseEnd, PauseRefusal, PauseRequest};
use backroom::domain::plugin::{PluginVersion, Shape};
use backroom::domain::time::Timestamp;
use backroom::sandbox::{BoxFuture, HostPort, Sandbox, Signal, SliceEnd};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::fixtures::{Port, admit, echo, failure, log, misbehave, misbehaves, reported, run, sandbox, slice, version};
use crate::support::built_plugin;

#[tokio::test(flavor = "multi_thread")]
async fn echo_returns_its_input() {
    let echo = echo().await;
    assert_eq!(echo.inspection.shape, Shape::Handler);
    let report = run(slice("echo", echo, "hello")).await;
    assert_eq!(report.end, SliceEnd::Succeeded(Bytes::from("hello")));
    assert!(report.usage.fuel > 0 && report.usage.peak_memory_bytes > 0, "{:?}", report.usage);
    assert!(report.log.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_logs_is_kept() {
    let report = run(slice("echo", echo().await, "log:hello")).await;
    assert!(log(&report).ends_with("log:hello\n"), "{}", log(&report));
    assert_eq!(report.usage.log_bytes, 9);
    assert_eq!(report.usage.host_calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_streams_of_a_handler_go_to_the_log() {
    let ask = json!({ "do": "say", "stdout": "to out\n", "stderr": "to \u{1b}[31merr" });
    let report = misbehaves(ask, Limits::default()).await;
    let log = log(&report);
    assert!(log.contains("out   to out\n") && log.contains("err   to \\u{1b}[31merr\n"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_shows_its_message_and_place() {
    let report = misbehaves(json!({ "do": "panic", "message": "no such row" }), Limits::default()).await;
    let failure = failure(&report);
    assert_eq!((failure.class, failure.code.as_deref()), (ErrorClass::Transient, Some("BR0304")));
    let place = failure.message.strip_prefix("panicked at misbehave/src/lib.rs:").expect("a place");
    assert!(place.ends_with(": no such row"), "{}", failure.message);
    assert!(failure.detail.as_ref().is_some_and(|detail| detail.contains("misbehave")), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_is_transient_and_shows_the_stack() {
    let report = misbehaves(json!({ "do": "trap" }), Limits::default()).await;
    let failure = failure(&report);
    assert_eq!((failure.class, failure.code.as_deref()), (ErrorClass::Transient, Some("BR0305")));
    assert_eq!(failure.message, "trapped: wasm `unreachable` instruction executed");
    assert!(failure.detail.as_ref().is_some_and(|detail| detail.contains("misbehave::misbehave")), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_of_a_handler_is_told_apart() {
    let end = async |ask: Value| misbehaves(ask, Limits::default()).await.end;
    assert_eq!(end(json!({ "do": "cancel", "message": "enough" })).await, SliceEnd::Canceled("enough".into()));
    assert_eq!(end(json!({ "do": "count-slices" })).await, SliceEnd::Yielded);
    assert!(matches!(end(json!({ "do": "suspend" })).await, SliceEnd::Suspended(Wake::At(_))));
    let paid = end(json!({ "do": "suspend", "event": "paid" })).await;
    assert_eq!(paid, SliceEnd::Suspended(Wake::Event("paid".into())));
    let retry = end(json!({ "do": "retry", "after_ms": 70, "class": "throttled" })).await;
    let SliceEnd::Retry(Some(after), why) = retry else { panic!("{retry:?}") };
    assert_eq!((after, why.class), (Duration::from_millis(70), ErrorClass::Throttled));
    let exit = misbehaves(json!({ "do": "exit", "exit_code": 3 }), Limits::default()).await;
    assert_eq!(failure(&exit).code.as_deref(), Some("BR0310"));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_keep_their_class_and_are_cut() {
    let fails = async |class: Value, message: &str| {
        let ask = json!({ "do": "fail", "class": class, "code": "c", "message": message });
        failure(&misbehaves(ask, Limits::default()).await).clone()
    };
    assert_eq!(fails(Value::Null, "m").await.class, ErrorClass::Transient);
    assert_eq!(fails(json!("business"), "m").await.class, ErrorClass::Business);
    assert_eq!(fails(json!("user-fixable"), "m").await.class, ErrorClass::UserFixable);
    let long = fails(json!("fatal"), &"\u{7}".repeat(10_000)).await;
    assert!(long.message.starts_with("\\u{7}") && long.message.len() < 30_000, "{}", long.message.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn durable_state_goes_through_the_port() {
    let port = Port { resume: Some(Bytes::from("1")), ..Port::default() };
    let slice = slice("misbehave", misbehave().await, json!({ "do": "count-slices", "times": 3 }).to_string());
    let report = sandbox().run(slice.clone(), Box::new(port.clone())).await;
    assert_eq!(report.end, SliceEnd::Yielded);
    let progress = Progress { done: 2, total: Some(3), note: None };
    let expected = [HostCall::ResumeState, HostCall::Checkpoint(Bytes::from("2")), HostCall::Progress(progress)];
    assert_eq!(*port.calls.lock(), expected);
    let refusing = Port { refusal: Some("the store is full".into()), ..Port::default() };
    let refused = sandbox().run(slice, Box::new(refusing)).await;
    assert!(failure(&refused).message.contains("the store is full"), "{:?}", refused.end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_goes_through_the_port_and_its_answer_reaches_the_handler() {
    let component = misbehave().await;
    let ask = async |port: &Port, ask: serde_json::Value| {
        let slice = slice("misbehave", Arc::clone(&component), ask.to_string());
        sandbox().run(slice, Box::new(port.clone())).await
    };
    let until = Timestamp::from_millis(4_102_444_800_000);
    for (answer, ends) in [(Some(until), true), (None, false)] {
        let port = Port { paused: Some(HostAnswer::Paused(answer)), ..Port::default() };
        let long = format!("quota{}\u{7}\n", "!".repeat(2_000));
        let report = ask(&port, json!({ "do": "pause-queue", "ms": 3_600_000, "message": long })).await;
        assert_eq!(reported(&report), json!({ "ends": ends }));
        let calls = port.calls.lock();
        let [HostCall::Pause(PauseRequest { what: Pausable::Queue, end, reason })] = calls.as_slice() else {
            panic!("{calls:?}")
        };
        assert_eq!(*end, PauseEnd::After(Duration::from_secs(3_600)));
        assert!(reason.starts_with("quota!") && reason.len() < 1_100 && !reason.contains('\n'), "{reason}");
    }
    let refusals = [
        (PauseRefusal::NotGranted("add this".into()), ErrorClass::UserFixable, "pause-not-granted"),
        (PauseRefusal::Unacceptable("add this".into()), ErrorClass::Fatal, "pause-refused"),
        (PauseRefusal::Unavailable("add this".into()), ErrorClass::Transient, "pause-unavailable"),
    ];
    for (refusal, class, code) in refusals {
        let port = Port { paused: Some(HostAnswer::NotPaused(refusal)), ..Port::default() };
        let report = ask(&port, json!({ "do": "pause-plugin" })).await;
        let failure = failure(&report);
        assert_eq!((failure.class, failure.code.as_deref()), (class, Some(code)));
        assert_eq!(failure.message, "add this");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_a_handler_that_polls() {
    let mut slice = slice("misbehave", misbehave().await, json!({ "do": "sleep-politely" }).to_string());
    slice.limits = Limits { wall: Duration::from_secs(20), ..Limits::default() }.into();
    let signals = slice.signals.clone();
    signals.raise(Signal::Cancel);
    let report = run(slice).await;
    assert!(matches!(&report.end, SliceEnd::Canceled(why) if why.contains("canceled after")), "{:?}", report.end);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_host_is_in_reach() {
    let reported = async |ask: Value| reported(&misbehaves(ask, Limits::default()).await);
    let environment = reported(json!({ "do": "environment" })).await;
    assert_eq!((&environment["arguments"], &environment["variables"]), (&json!([]), &json!([])), "{environment}");
    assert_eq!(environment["files"]["allowed"], false, "{environment}");
    assert_eq!(reported(json!({ "do": "open-file" })).await["allowed"], false);
    assert_eq!(reported(json!({ "do": "connect" })).await["allowed"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_reads_its_input_and_prints_its_output() {
    let wc = word_count().await;
    assert_eq!(wc.inspection.shape, Shape::Command);
    let report = run(slice("wc", wc.clone(), "one two\nthree\n")).await;
    assert_eq!(reported(&report), json!({ "lines": 2, "words": 3, "bytes": 14 }));
    let nothing = run(slice("wc", wc.clone(), "")).await;
    let failure = failure(&nothing);
    assert_eq!((failure.class, failure.code.as_deref()), (ErrorClass::Transient, Some("BR0310")));
    assert!(failure.message.contains("an exit code that is not zero"), "{}", failure.message);
    assert!(log(&nothing).contains("there is nothing to count"), "{}", log(&nothing));
    let mut narrow = slice("wc", wc, "one two\nthree\n");
    narrow.limits = Limits { output_bytes: 10, ..Limits::default() }.into();
    assert_eq!(crate::fixtures::failure(&run(narrow).await).code.as_deref(), Some("BR0307"));
}

async fn word_count() -> Arc<PluginVersion> {
    let bytes = std::fs::read(built_plugin("command-wc")).expect("the component is readable");
    version(admit(bytes).await.expect("admitted"))
}

/// A host whose own code breaks.
struct Broken;

impl HostPort for Broken {
    fn call(&mut self, _call: HostCall) -> BoxFuture<'_, backroom::domain::host_call::HostAnswer> {
        Box::pin(async { panic!("the port broke") })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_host_fails_the_slice_alone() {
    let slice = slice("misbehave", misbehave().await, json!({ "do": "host-calls" }).to_string());
    let report = sandbox().run(slice, Box::new(Broken)).await;
    let failure = failure(&report);
    assert_eq!((failure.class, failure.code.as_deref()), (ErrorClass::Transient, Some("BR0314")));
    assert!(failure.message.contains("the port broke"), "{}", failure.message);
    assert!(matches!(run(crate::fixtures::slice("echo", echo().await, "on")).await.end, SliceEnd::Succeeded(_)));
}
