//! Every limit against a component that breaks it: the job ends with an outcome that names the limit, and the host goes on.

use std::time::{Duration, Instant};

use backroom::domain::limits::{Limits, Usage};
use backroom::sandbox::wasm::{STACK_BYTES, WasmSandbox, WasmSettings};
use backroom::sandbox::{Sandbox, Signal, SignalLine, SliceEnd, SliceReport};
use serde_json::json;

use crate::fixtures::{
    Port, admit, compile_settings, failure, log, misbehave, misbehaves, reported, run, sandbox, slice, version,
};

const MIB: u64 = 1 << 20;

/// Code, class, message and detail without the stack, as they are shown.
fn told(report: &SliceReport) -> String {
    let failure = failure(report);
    let detail = failure.detail.as_deref().unwrap_or_default();
    let detail = detail.split("\n\nIt was in:").next().unwrap_or_default();
    format!("{} {:?}: {}\n{detail}", failure.code.as_deref().unwrap_or("-"), failure.class, failure.message)
}

/// Compares with the snapshot of that name; times differ from run to run.
fn assert_told(name: &str, report: &SliceReport) {
    let times = (r"\d+(\.\d+)? (us|ms|s)( of it| on this host)", "[time]$3");
    insta::with_settings!({ filters => vec![times], prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, told(report));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn fuel() {
    let limits = Limits { fuel: 50_000_000, ..Limits::default() };
    let report = misbehaves(json!({ "do": "loop" }), limits).await;
    assert_told("fuel", &report);
    assert_eq!(report.usage.fuel, 50_000_000);
    assert!(failure(&report).detail.as_ref().is_some_and(|detail| detail.contains("It was in:")));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    let report = misbehaves(json!({ "do": "allocate" }), Limits::default()).await;
    assert_told("memory", &report);
    assert!(report.usage.peak_memory_bytes <= 64 * MIB && report.usage.peak_memory_bytes > 60 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_is_refused_politely_is_no_failure() {
    let report = misbehaves(json!({ "do": "allocate-politely" }), Limits::default()).await;
    assert!(matches!(report.end, SliceEnd::Succeeded(_)), "{:?}", report.end);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_below_what_it_starts_with() {
    let report = misbehaves(json!({ "do": "burn" }), Limits { memory_bytes: 1 << 16, ..Limits::default() }).await;
    assert_eq!(failure(&report).code.as_deref(), Some("BR0302"), "{:?}", report.end);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sum_of_memories_counts() {
    let two = r#"(component
        (core module $m
            (memory 1)
            (func (export "grow") (result i32)
                (if (i32.eq (memory.grow (i32.const 20)) (i32.const -1)) (then (unreachable)))
                (i32.const 0)))
        (core instance $a (instantiate $m))
        (core instance $b (instantiate $m))
        (core module $both
            (import "a" "grow" (func $a (result i32)))
            (import "b" "grow" (func $b (result i32)))
            (func (export "run") (result i32) (drop (call $a)) (call $b)))
        (core instance $i (instantiate $both (with "a" (instance $a)) (with "b" (instance $b))))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $exports (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
    let version = version(admit(wat::parse_str(two).expect("WAT")).await.expect("admitted"));
    let mut one = slice("two", version, "");
    one.limits = Limits { memory_bytes: 42 << 16, ..Limits::default() }.into();
    let mut less = one.clone();
    less.limits = Limits { memory_bytes: 41 << 16, ..Limits::default() }.into();
    assert_eq!(run(one).await.end, SliceEnd::Succeeded("".into()));
    assert_eq!(failure(&run(less).await).code.as_deref(), Some("BR0302"));
}

#[tokio::test(flavor = "multi_thread")]
async fn table_elements() {
    let grows = r#"(component
        (core module $m
            (table $t 1 funcref)
            (func (export "run") (result i32)
                (if (i32.eq (table.grow $t (ref.null func) (i32.const 20000)) (i32.const -1)) (then (unreachable)))
                (i32.const 0)))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $exports (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
    let version = version(admit(wat::parse_str(grows).expect("WAT")).await.expect("admitted"));
    assert_told("table_elements", &run(slice("tables", version.clone(), "")).await);
    let mut allowed = slice("tables", version, "");
    allowed.limits = Limits { table_elements: 20_001, ..Limits::default() }.into();
    assert_eq!(run(allowed).await.end, SliceEnd::Succeeded("".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn stack() {
    assert_told("stack", &misbehaves(json!({ "do": "recurse" }), Limits::default()).await);
    let half = STACK_BYTES / 2 / 1024;
    let report = misbehaves(json!({ "do": "deep-stack", "frames": half }), Limits::default()).await;
    assert!(matches!(report.end, SliceEnd::Succeeded(_)), "{:?}", report.end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_stack_is_the_hosts_to_give() {
    let deep = r#"(component
        (core module $m
            (func $down (param i32) (result i32)
                (if (result i32) (local.get 0)
                    (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
                    (else (i32.const 0))))
            (func (export "run") (result i32) (drop (call $down (i32.const 50000))) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $exports (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
    let deep = wat::parse_str(deep).expect("WAT");
    let usual = run(slice("deep", version(admit(deep.clone()).await.expect("admitted")), "")).await;
    assert_eq!(failure(&usual).code.as_deref(), Some("BR0306"), "{:?}", usual.end);

    let folder = tempfile::tempdir().expect("a folder can be made");
    let settings = WasmSettings::new(folder.path(), 1, compile_settings());
    let large = WasmSandbox::new(WasmSettings { stack_bytes: 8 << 20, ..settings }).expect("it starts");
    let version = version(large.admit(deep.into()).await.expect("admitted"));
    let report = large.run(slice("deep", version, ""), Box::new(Port::default())).await;
    assert_eq!(report.end, SliceEnd::Succeeded("".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn wall_time_while_it_computes() {
    let limits = Limits { wall: Duration::from_millis(200), fuel: u64::MAX, ..Limits::default() };
    let report = misbehaves(json!({ "do": "loop" }), limits).await;
    assert!(matches!(report.end, SliceEnd::TimedOut(_)), "{:?}", report.end);
    assert_told("wall_time_while_it_computes", &report);
    // It would go on for ever; a busy machine may be late.
    assert!(report.usage.wall_micros < 20_000_000, "{:?}", report.usage);
}

#[tokio::test(flavor = "multi_thread")]
async fn wall_time_while_it_waits() {
    let limits = Limits { wall: Duration::from_secs(2), ..Limits::default() };
    let report = misbehaves(json!({ "do": "sleep" }), limits).await;
    assert!(matches!(report.end, SliceEnd::TimedOut(_)), "{:?}", report.end);
    let Usage { wall_micros, cpu_micros, .. } = report.usage;
    assert!(wall_micros < 30_000_000, "it would sleep for a minute: {wall_micros}");
    assert!(cpu_micros < wall_micros / 2, "waiting is not computing: {cpu_micros} of {wall_micros}");
    let message = &failure(&report).message;
    assert!(message.contains(" of it computing; it waited in wasi:io/poll "), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn output() {
    assert_told("output", &misbehaves(json!({ "do": "output", "bytes": 2 * MIB }), Limits::default()).await);
    let huge = misbehaves(json!({ "do": "output", "bytes": 16 * MIB }), Limits::default()).await;
    assert_eq!(failure(&huge).code.as_deref(), Some("BR0307"), "{:?}", huge.end);
    let allowed = misbehaves(json!({ "do": "output", "bytes": MIB }), Limits::default()).await;
    assert!(matches!(&allowed.end, SliceEnd::Succeeded(output) if output.len() as u64 == MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_larger_than_a_host_call_may_carry() {
    let ask = json!({ "do": "output", "bytes": 9 * MIB });
    let limits = Limits { output_bytes: 10 * MIB, ..Limits::default() };
    assert!(limits.host_call_bytes < 9 * MIB);
    let report = misbehaves(ask.clone(), limits).await;
    assert!(matches!(&report.end, SliceEnd::Succeeded(output) if output.len() as u64 == 9 * MIB), "{:?}", report.end);

    // Who follows the advice gets there.
    let mut limits = Limits::default();
    for _ in 0..5 {
        let report = misbehaves(ask.clone(), limits.clone()).await;
        if matches!(report.end, SliceEnd::Succeeded(_)) {
            return;
        }
        let failure = failure(&report);
        assert_eq!(failure.code.as_deref(), Some("BR0307"), "{failure:?}");
        let detail = failure.detail.as_deref().expect("an advice");
        let advised = detail.split("output = \"").nth(1).and_then(|rest| rest.split("MiB").next());
        limits.output_bytes = advised.expect("a setting").parse::<u64>().expect("a number") * MIB;
    }
    panic!("five times the advice was followed in vain");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_makes_the_host_hold_through_http() {
    for (what, bytes) in [
        ("authorities", 4_000_000),
        ("methods", 4_000_000),
        ("paths", 4_000_000),
        ("schemes", 4_000_000),
        ("authorities", 60_000),
        ("methods", 60_000),
        ("paths", 60_000),
        ("fields", 60_000),
        ("field-lists", 60_000),
        ("small-fields", 200),
        ("clones", 60_000),
        ("bodies", 4_000_000),
        ("zeroes", 4_000_000),
    ] {
        let limits = || Limits { host_copy_bytes: 8 * MIB, ..Limits::default() };
        let ask = json!({ "do": "hold", "what": what, "bytes": bytes, "times": 300 });
        let report = misbehaves(ask, limits()).await;
        let failure = failure(&report);
        assert_eq!(failure.code.as_deref(), Some("BR0308"), "{what} of {bytes}: {failure:?}");
        assert!(failure.message.starts_with("host calls carried too much"), "{what} of {bytes}: {}", failure.message);
        let few = misbehaves(json!({ "do": "hold", "what": what, "bytes": 30, "times": 3 }), limits()).await;
        assert_eq!(reported(&few), json!({ "taken": 3, "refused": 0 }), "{what}");
    }
    let parts = json!({ "do": "hold", "what": "authorities", "bytes": 70_000, "times": 2 });
    let report = misbehaves(parts, Limits::default()).await;
    assert_eq!(reported(&report), json!({ "taken": 0, "refused": 2 }));
    assert!(log(&report).contains("refused the authority of a request: it has 70000 bytes"), "{}", log(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn header_fields() {
    for (what, bytes) in [("fields", 70_000), ("field-lists", 70_000), ("small-fields", 5_000)] {
        let report =
            misbehaves(json!({ "do": "hold", "what": what, "bytes": bytes, "times": 1 }), Limits::default()).await;
        assert_told("header_fields", &report);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_thing_polled_again_and_again_in_one_call() {
    let report = misbehaves(json!({ "do": "poll-list", "times": 2_000 }), Limits::default()).await;
    assert_eq!(failure(&report).code.as_deref(), Some("BR0309"), "{:?}", report.end);
    let few = misbehaves(json!({ "do": "poll-list", "times": 900 }), Limits::default()).await;
    assert_eq!(reported(&few), json!({ "ready": 900 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_and_a_copy_cost_fuel_by_their_size() {
    let used = async |bytes: u64| {
        let report = misbehaves(json!({ "do": "fill", "bytes": bytes, "times": 4 }), Limits::default()).await;
        assert!(matches!(report.end, SliceEnd::Succeeded(_)), "{:?}", report.end);
        report.usage.fuel
    };
    let (small, large) = (used(MIB).await, used(33 * MIB).await);
    assert!(large - small >= 32 * 4 * MIB, "{small} and {large}");
}

#[tokio::test(flavor = "multi_thread")]
async fn host_calls() {
    let limits = || Limits { host_calls: 1_000, ..Limits::default() };
    let report = misbehaves(json!({ "do": "host-calls", "times": 2_000 }), limits()).await;
    assert_told("host_calls", &report);
    assert_eq!(report.usage.host_calls, 1_001);
    let few = misbehaves(json!({ "do": "host-calls", "times": 900 }), limits()).await;
    assert!(matches!(few.end, SliceEnd::Succeeded(_)), "{:?}", few.end);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_one_host_call() {
    assert_told(
        "bytes_of_one_host_call",
        &misbehaves(json!({ "do": "checkpoint", "bytes": 5 * MIB }), Limits::default()).await,
    );
    let allowed = misbehaves(json!({ "do": "checkpoint", "bytes": 4 * MIB - 1024 }), Limits::default()).await;
    assert!(matches!(allowed.end, SliceEnd::Succeeded(_)), "{:?}", allowed.end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_splice_that_moves_nothing_costs_nothing() {
    let limits = Limits { host_copy_bytes: 1 << 20, host_call_bytes: 16 << 10, ..Limits::default() };
    let report = misbehaves(json!({ "do": "splice", "times": 2_000, "bytes": 65_536 }), limits).await;
    assert_eq!(reported(&report), json!({ "moved": 0, "closed": 2_000 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_setting_counts() {
    let ask = |bytes: u64| json!({ "do": "hold", "what": "settings", "bytes": bytes });
    let limits = || Limits { host_call_bytes: 16 << 10, ..Limits::default() };
    let report = misbehaves(ask(20_000), limits()).await;
    assert_eq!(failure(&report).code.as_deref(), Some("BR0308"), "{:?}", report.end);
    assert_eq!(reported(&misbehaves(ask(10_000), limits()).await), json!({ "taken": 1, "refused": 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_all_host_calls() {
    let report = misbehaves(json!({ "do": "checkpoint", "bytes": 2 * MIB, "times": 33 }), Limits::default()).await;
    assert_told("bytes_of_all_host_calls", &report);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles() {
    assert_told("handles", &misbehaves(json!({ "do": "handles" }), Limits::default()).await);
    let few = misbehaves(json!({ "do": "handles", "times": 400 }), Limits::default()).await;
    assert!(matches!(few.end, SliceEnd::Succeeded(_)), "{:?}", few.end);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes() {
    assert_told("random_bytes", &misbehaves(json!({ "do": "random" }), Limits::default()).await);
    let some = misbehaves(json!({ "do": "random", "bytes": MIB }), Limits::default()).await;
    assert!(matches!(some.end, SliceEnd::Succeeded(_)), "{:?}", some.end);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_the_log_are_counted_and_cut() {
    for act in ["flood-log", "flood-stdout", "flood-stderr"] {
        let report = misbehaves(json!({ "do": act }), Limits::default()).await;
        assert!(matches!(report.end, SliceEnd::Succeeded(_)), "{act}: {:?}", report.end);
        assert_eq!(report.usage.log_bytes, 16 * MIB, "{act}");
        assert!(report.log.len() < (256 << 10) + 200, "{act}: {}", report.log.len());
        assert!(log(&report).contains(" lines ("), "{act}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_ends_it_at_once_wherever_it_is() {
    for act in ["loop", "sleep"] {
        let mut slice = slice("misbehave", misbehave().await, json!({ "do": act }).to_string());
        slice.limits = Limits { fuel: u64::MAX, ..Limits::default() }.into();
        slice.signals = SignalLine::default();
        let signals = slice.signals.clone();
        let running = tokio::spawn(run(slice));
        // No signal tells that a guest computes.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!running.is_finished(), "{act} runs without end");
        let raised = Instant::now();
        signals.raise(Signal::Kill);
        assert_eq!(running.await.expect("no panic").end, SliceEnd::Killed, "{act}");
        assert!(raised.elapsed() < Duration::from_secs(20), "{act}: {:?}", raised.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_allocates_without_end_harms_none_of_99_others() {
    let version = misbehave().await;
    let hog =
        tokio::spawn(misbehaves(json!({ "do": "allocate" }), Limits { memory_bytes: 512 * MIB, ..Limits::default() }));
    let turns = std::sync::Arc::new(tokio::sync::Semaphore::new(crate::fixtures::CONCURRENCY));
    let others: Vec<_> = (0..99)
        .map(|_| {
            let (version, turns) = (version.clone(), turns.clone());
            tokio::spawn(async move {
                let _turn = turns.acquire().await.expect("open");
                let ask = json!({ "do": "grow", "mib": 4 }).to_string();
                sandbox().run(slice("misbehave", version, ask), Box::new(Port::default())).await
            })
        })
        .collect();
    for other in others {
        let report = other.await.expect("no panic");
        assert!(matches!(report.end, SliceEnd::Succeeded(_)), "{:?}", report.end);
    }
    assert_eq!(failure(&hog.await.expect("no panic")).code.as_deref(), Some("BR0302"));
}

#[test]
fn short_slices_beside_spinning_ones_stay_quick() {
    // As the host builds the runtime of guests: no turn of a spinning guest comes before the queue was looked at.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .global_queue_interval(1)
        .event_interval(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let version = misbehave().await;
        let mut spinner = slice("misbehave", version.clone(), json!({ "do": "loop" }).to_string());
        spinner.limits = Limits { fuel: u64::MAX, ..Limits::default() }.into();
        let spinning: Vec<_> = (0..16).map(|_| tokio::spawn(run(spinner.clone()))).collect();
        let mut worst = Duration::ZERO;
        for _ in 0..50 {
            let start = Instant::now();
            let short = slice("misbehave", version.clone(), json!({ "do": "burn", "millions": 0 }).to_string());
            let report = tokio::spawn(run(short)).await.expect("no panic");
            assert!(matches!(report.end, SliceEnd::Succeeded(_)), "{:?}", report.end);
            worst = worst.max(start.elapsed());
        }
        println!("the slowest of 50 short slices beside 16 spinning ones took {worst:?}");
        spinner.signals.raise(Signal::Kill);
        for one in spinning {
            assert_eq!(one.await.expect("no panic").end, SliceEnd::Killed);
        }
    });
}
