//! How commands and interpreters end, and what is told of it.

use backroom::domain::failure::ErrorClass;
use backroom::domain::limits::Limits;
use backroom::sandbox::{Slice, SliceEnd, SliceReport};
use serde_json::json;

use crate::fixtures::{admit, failure, log, misbehaves, run, slice, version};

/// A `wasip1` command that can print to both streams and end with a number.
fn printing(body: &str, texts: &[(u32, &str)]) -> Vec<u8> {
    let data: String = texts
        .iter()
        .map(|(at, text)| {
            let bytes: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
            format!("(data (i32.const {at}) \"{bytes}\")")
        })
        .collect();
    let module = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            {data}
            (func $print (param $to i32) (param $at i32) (param $length i32)
                (i32.store (i32.const 0) (local.get $at))
                (i32.store (i32.const 4) (local.get $length))
                (drop (call $fd_write (local.get $to) (i32.const 0) (i32.const 1) (i32.const 8))))
            (func (export "_start") {body}))"#
    );
    wat::parse_str(&module).unwrap_or_else(|error| panic!("{error}"))
}

async fn ran(command: Vec<u8>) -> SliceReport {
    run(slice("command", version(admit(command).await.expect("admitted")), "")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failing_command_printed_is_in_its_log() {
    let half = "half of it\nis done\n";
    let body =
        format!("(call $print (i32.const 1) (i32.const 64) (i32.const {})) (call $exit (i32.const 3))", half.len());
    let report = ran(printing(&body, &[(64, half)])).await;
    let failure = failure(&report);
    assert_eq!(failure.code.as_deref(), Some("BR0310"));
    assert_eq!(failure.message, "the command ended with an exit code that is not zero");
    assert!(
        log(&report).contains("out   half of it\n") && log(&report).contains("out   is done\n"),
        "{}",
        log(&report)
    );

    // Far more than is kept: its end is there.
    let line = "0123456789abcde\n";
    let much = format!(
        "(local $left i32) (local.set $left (i32.const 4000)) (loop $again
            (call $print (i32.const 1) (i32.const 64) (i32.const {length}))
            (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $print (i32.const 1) (i32.const 128) (i32.const 4)) unreachable",
        length = line.len()
    );
    let report = ran(printing(&much, &[(64, line), (128, "end\n")])).await;
    let log = log(&report);
    assert!(log.trim_end().ends_with("out   end") && log.len() < 64 << 10, "{} bytes", log.len());
    assert!(log.lines().all(|line| line.ends_with("0123456789abcde") || line.ends_with("end")), "lines are whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_may_end_with_a_number() {
    let exits = r#"(component
        (import "wasi:cli/exit@0.2.12" (instance $exit (export "exit-with-code" (func (param "status-code" u8)))))
        (core func $exit (canon lower (func $exit "exit-with-code")))
        (core module $m (import "" "exit" (func $exit (param i32)))
            (func (export "run") (result i32) (call $exit (i32.const 42)) (i32.const 0)))
        (core instance $i (instantiate $m (with "" (instance (export "exit" (func $exit))))))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $exports (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
    let report = ran(wat::parse_str(exits).expect("WAT")).await;
    assert_eq!(failure(&report).message, "the command ended with exit code 42");
    let none = ran(wat::parse_str(exits.replace("42", "0")).expect("WAT")).await;
    assert_eq!(none.end, SliceEnd::Succeeded("".into()));
    for (code, told) in [("1", "an exit code that is not zero"), ("2", "exit code 2"), ("255", "exit code 255")] {
        let report = ran(wat::parse_str(exits.replace("42", code)).expect("WAT")).await;
        assert_eq!(failure(&report).message, format!("the command ended with {told}"));
    }
}

/// A command of these core functions: what allocates for the host, what starts it, what runs, and what runs afterwards.
fn in_parts(realloc: &str, start: &str, run: &str, after: &str) -> Vec<u8> {
    let component = format!(
        r#"(component
            (import "wasi:cli/environment@0.2.12" (instance $env (export "get-arguments" (func (result (list string))))))
            (core module $libc (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc}))
            (core instance $libc (instantiate $libc))
            (core func $args (canon lower (func $env "get-arguments")
                (memory $libc "memory") (realloc (func $libc "realloc"))))
            (core module $m
                (import "" "args" (func $args (param i32)))
                (import "libc" "memory" (memory 1))
                (func $down (param i64) (result i64)
                    (i64.add (call $down (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
                (func $start {start})
                (start $start)
                (func (export "run") (result i32) {run})
                (func (export "after") (param i32) {after}))
            (core instance $i (instantiate $m
                (with "" (instance (export "args" (func $args)))) (with "libc" (instance $libc))))
            (func $run (result (result)) (canon lift (core func $i "run") (post-return (func $i "after"))))
            (instance $exports (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $exports)))"#
    );
    wat::parse_str(&component).unwrap_or_else(|error| panic!("{error}: {component}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_may_end_before_its_own_code_runs_and_after() {
    let recurse = "(drop (call $down (i64.const 0)))";
    let (args, zero) = ("(call $args (i32.const 0)) (i32.const 0)", "(i32.const 0)");
    let refused = "(drop (memory.grow (i32.const 5000))) unreachable";
    for (parts, code, says) in [
        (["unreachable", "", args, ""], "BR0305", "trapped: wasm `unreachable` instruction executed"),
        ([refused, "", args, ""], "BR0302", "out of memory"),
        (["(i32.const -16)", "", args, ""], "BR0305", "trapped in a call of the host: "),
        (["unreachable", "unreachable", zero, ""], "BR0305", "trapped: wasm `unreachable` instruction executed"),
        (["unreachable", recurse, zero, ""], "BR0306", "stack overflow"),
        (["unreachable", refused, zero, ""], "BR0302", "out of memory"),
        (["unreachable", "(loop (br 0))", zero, ""], "BR0301", "out of fuel"),
        (["unreachable", "", "(i32.const 7)", ""], "BR0305", "did not keep to the rules of components: "),
        (["unreachable", "", zero, "unreachable"], "BR0305", "trapped: wasm `unreachable` instruction executed"),
        (["unreachable", "", zero, recurse], "BR0306", "stack overflow"),
    ] {
        let [realloc, start, run, after] = parts;
        let version = version(admit(in_parts(realloc, start, run, after)).await.expect("admitted"));
        let limits = Limits { fuel: 100_000_000, ..Limits::default() };
        let report = crate::fixtures::run(Slice { limits: limits.into(), ..slice("command", version, "") }).await;
        let failure = failure(&report);
        assert_eq!(failure.code.as_deref(), Some(code), "{parts:?}: {failure:?}");
        assert!(failure.message.starts_with(says), "{parts:?}: {failure:?}");
    }
}

const TRACEBACK: &str = "Traceback (most recent call last):\n  File \"/0/app.py\", line 5, in handle\n    raise it\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_is_told_in_its_own_words() {
    let printed = format!(
        "{TRACEBACK}ValueError: no such row\n\nthread '<unnamed>' panicked at runtime/src/lib.rs:508:25:\nPython function threw\n"
    );
    let body = format!("(call $print (i32.const 2) (i32.const 64) (i32.const {})) unreachable", printed.len());
    let report = ran(printing(&body, &[(64, &printed)])).await;
    let failure = failure(&report);
    assert_eq!((failure.class, failure.code.as_deref()), (ErrorClass::Transient, Some("BR0325")));
    assert_eq!(failure.message, "raised ValueError: no such row (/0/app.py:5 in handle)");
}

/// An interpreter that is refused memory raises an exception and ends in good order; it would do so again.
#[tokio::test(flavor = "multi_thread")]
async fn memory_that_ran_out_in_good_order_is_final() {
    let printed = format!("{TRACEBACK}MemoryError\n");
    let print = format!("(call $print (i32.const 2) (i32.const 64) (i32.const {}))", printed.len());
    let grows = "(drop (memory.grow (i32.const 5000)))";
    for (body, code) in [
        (format!("{grows} {print} (call $exit (i32.const 1))"), "BR0302"),
        (format!("{grows} {print} unreachable"), "BR0302"),
        (format!("{grows} unreachable"), "BR0302"),
        (format!("{grows} (call $exit (i32.const 1))"), "BR0310"),
        (format!("{print} (call $exit (i32.const 1))"), "BR0310"),
    ] {
        let report = ran(printing(&body, &[(64, &printed)])).await;
        let failure = failure(&report);
        assert_eq!(failure.code.as_deref(), Some(code), "{body}: {failure:?}");
        assert_eq!(failure.class == ErrorClass::Fatal, code == "BR0302", "{body}");
    }
    let other = format!("{TRACEBACK}KeyError: 'row'\n");
    let print = format!("(call $print (i32.const 2) (i32.const 64) (i32.const {}))", other.len());
    let report = ran(printing(&format!("{grows} {print} (call $exit (i32.const 1))"), &[(64, &other)])).await;
    assert_eq!(failure(&report).code.as_deref(), Some("BR0310"), "it ended for another reason");
    assert!(failure(&report).message.ends_with(": KeyError: 'row'"), "{}", failure(&report).message);
}

/// Allocators ask for more than they need, and go on with less.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_memory_that_it_got_over_is_no_reason() {
    let (words, about_memory) = ("no such row\n", "cannot allocate memory\n");
    let prints =
        |at: u32, text: &str| format!("(call $print (i32.const 2) (i32.const {at}) (i32.const {}))", text.len());
    let (other, memory) = (prints(64, words), prints(128, about_memory));
    let (asks, grows, exit) =
        ("(drop (memory.grow (i32.const 2000)))", "(drop (memory.grow (i32.const 1)))", "(call $exit (i32.const 3))");
    for (body, code) in [
        (format!("{asks} {other} {exit}"), "BR0310"),
        (format!("{asks} {other} unreachable"), "BR0305"),
        (format!("{asks} {grows} unreachable"), "BR0305"),
        (format!("{asks} {exit}"), "BR0310"),
        // A runtime that says so, as C's do before they stop.
        (format!("{asks} {memory} {exit}"), "BR0302"),
        (format!("{asks} {grows} {memory} unreachable"), "BR0302"),
        (format!("{memory} unreachable"), "BR0305"),
    ] {
        let report = ran(printing(&body, &[(64, words), (128, about_memory)])).await;
        let failure = failure(&report);
        assert_eq!(failure.code.as_deref(), Some(code), "{body}: {failure:?}");
        assert_eq!(failure.class == ErrorClass::Fatal, code == "BR0302", "{body}: {failure:?}");
        if code != "BR0302" && body.contains(&other) {
            let detail = failure.detail.as_deref().unwrap_or_default();
            assert!(
                detail.starts_with("The last that it wrote to standard error:\nno such row"),
                "{body}: {failure:?}"
            );
        }
    }
}

/// Real Rust, whose compiler decides what an overflow touches first.
#[tokio::test(flavor = "multi_thread")]
async fn each_overflow_of_a_stack_is_told_as_one() {
    for how in ["frames", "filled-frames", "many-functions", "list", "text"] {
        let report = misbehaves(json!({ "do": "overflow", "stack": how }), Limits::default()).await;
        let failure = failure(&report);
        assert_eq!((failure.class, failure.code.as_deref()), (ErrorClass::Fatal, Some("BR0306")), "{how}: {failure:?}");
    }
    // Of one frame nothing shows that it is larger than the stack, so that is told as what it may be.
    for how in ["large-frame", "filled-large-frame"] {
        let report = misbehaves(json!({ "do": "overflow", "stack": how }), Limits::default()).await;
        let failure = failure(&report);
        assert_eq!(
            (failure.class, failure.code.as_deref()),
            (ErrorClass::Transient, Some("BR0305")),
            "{how}: {failure:?}"
        );
        let detail = failure.detail.as_deref().unwrap_or_default();
        assert!(detail.contains("-zstack-size") && detail.contains("overflow::"), "{how}: {failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ends_of_rust_are_told_as_what_they_are() {
    for (how, code, says) in [
        ("panic-in-drop", "BR0304", "a guard was dropped"),
        ("panic-in-panic", "BR0304", "it cannot be said"),
        ("abort", "BR0305", "unreachable"),
    ] {
        let report = misbehaves(json!({ "do": "stop", "by": how }), Limits::default()).await;
        let failure = failure(&report);
        assert_eq!(failure.code.as_deref(), Some(code), "{how}: {failure:?}");
        assert!(failure.message.contains(says), "{how}: {failure:?}");
    }
}

/// Compilers keep what has an address on a stack of their own in linear memory, which grows down to address 0 and past it.
#[tokio::test(flavor = "multi_thread")]
async fn a_recursion_past_the_stack_in_linear_memory_is_an_overflow() {
    let module = r#"(module (memory (export "memory") 3)
        (global $sp (mut i32) (i32.const 65536))
        (func $down (param i32) (result i32)
            (local $sp i32)
            (global.set $sp (local.tee $sp (i32.sub (global.get $sp) (i32.const 2048))))
            (i32.store (local.get $sp) (local.get 0))
            (i32.add (i32.load (local.get $sp)) (call $down (i32.add (local.get 0) (i32.const 1)))))
        (func (export "_start") (drop (call $down (i32.const 0)))))"#;
    let report = ran(wat::parse_str(module).expect("WAT")).await;
    let failure_told = failure(&report);
    assert_eq!(
        (failure_told.class, failure_told.code.as_deref()),
        (ErrorClass::Fatal, Some("BR0306")),
        "{failure_told:?}"
    );
    assert!(failure_told.message.contains("linear memory"), "{}", failure_told.message);
    assert!(failure_told.detail.as_deref().is_some_and(|detail| detail.contains("-zstack-size")), "{failure_told:?}");

    let stray = r#"(module (memory (export "memory") 1)
        (func (export "_start") (i32.store (i32.const -4) (i32.const 0))))"#;
    let report = ran(wat::parse_str(stray).expect("WAT")).await;
    assert_eq!(failure(&report).code.as_deref(), Some("BR0305"), "one access below 0 is no recursion");
}
