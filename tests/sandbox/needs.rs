//! What a component needs before any of its code runs: bounded at upload, and counted while it runs.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use backroom::domain::limits::Limits;
use backroom::domain::uploads::UploadLimits;
use backroom::sandbox::wasm::{WasmSandbox, WasmSettings};
use backroom::sandbox::{Rejection, Sandbox, SliceEnd};

use serde_json::{Value, json};

use crate::fixtures::{Port, admit, compile_settings, failure, run, slice, version};
use crate::measured::{CONSTANT, Host, JOBS, MIB, own_bytes};

/// A command that does nothing, beside whatever `parts` are.
fn command(parts: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            {parts}
            (core module $run (func (export "run") (result i32) (i32.const 0)))
            (core instance $run (instantiate $run))
            (func $run (result (result)) (canon lift (core func $run "run")))
            (instance $exports (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $exports)))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// A module, instantiated so many times.
fn instances(module: &str, count: usize) -> String {
    format!("(core module $m {module}) {}", "(core instance (instantiate $m))".repeat(count))
}

/// Components that each instantiate the one before them twice.
fn doubling(times: usize) -> String {
    let mut text = String::from("(component $c0 (core module $m) (core instance (instantiate $m)))");
    for index in 1..=times {
        let before = index - 1;
        text.push_str(&format!(
            "(component $c{index} (alias outer 1 $c{before} (component $x))
                (instance (instantiate $x)) (instance (instantiate $x)))"
        ));
    }
    text + &format!("(instance (instantiate $c{times}))")
}

fn funcs(count: usize) -> String {
    format!("{} (elem declare func {})", "(func)".repeat(count), numbers(count))
}

fn sparse_tables(count: usize) -> String {
    let tables = "(table 1000000 funcref)".repeat(count);
    let elements: String =
        (0..count).map(|table| format!("(elem (table {table}) (i32.const 999999) func 0)")).collect();
    format!("(core module (func) {tables} {elements})")
}

fn numbers(count: usize) -> String {
    (0..count).map(|number| format!("{number} ")).collect()
}

/// The attacks, each with the bound that has to stop it.
fn attacks() -> Vec<(&'static str, String)> {
    let image = r#"(memory 17) (data (i32.const 0) "a") (data (i32.const 1048500) "z")"#;
    let images: String = (0..12).map(|index| format!("(core module $i{index} {image})")).collect();
    let data = "x".repeat(1 << 20);
    let copies = format!(
        r#"(core module $memory (memory (export "memory") 16)) (core instance $memory (instantiate $memory))
        (core module $data (import "m" "memory" (memory 16)) (data (i32.const 0) "{data}"))
        {}"#,
        r#"(core instance (instantiate $data (with "m" (instance $memory))))"#.repeat(130)
    );
    vec![
        ("core_instances", instances("", 200)),
        ("component_instances", doubling(6)),
        ("component_instances", doubling(90)),
        ("memories", instances("(memory 0)", 51)),
        ("tables", instances(&"(table 0 funcref)".repeat(100), 3)),
        ("table_elements", instances("(table 600000 funcref)", 1)),
        ("table_elements", instances(&"(table 9000 funcref)".repeat(60), 1)),
        // A few hundred bytes that describe 70 tables of a million elements each: 300 MB, once loaded.
        ("table_elements", sparse_tables(70)),
        ("table_elements", instances(&format!("(func) (elem func {})", "0 ".repeat(60_000)), 9)),
        ("globals", instances(&"(global i32 (i32.const 0))".repeat(30_000), 2)),
        ("functions", instances(&"(func)".repeat(250_001), 1)),
        ("instance", instances(&funcs(20_000), 14)),
        ("start", copies),
        ("nesting", format!("{}{}", "(component ".repeat(20), ")".repeat(20))),
        ("definitions", "(type (list u8))".repeat(100_001)),
        ("compiled_ratio", images),
    ]
}

fn assert_too_much(setting: &str, rejection: &Rejection) {
    assert_eq!(rejection.code.name, "BR0216", "{setting}: {}", rejection.message);
    let next = rejection.next.as_deref().unwrap_or_default();
    let says_where =
        next.contains(&format!("[uploads]\n{setting} = ")) || rejection.message.contains("than can be counted");
    assert!(says_where, "{setting}: {}\n{next}", rejection.message);
    assert!(rejection.message.contains("(limit "), "{setting}: {}", rejection.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bound_is_told_at_upload() {
    for (setting, parts) in attacks() {
        let rejection = admit(command(&parts)).await.expect_err(setting);
        assert_too_much(setting, &rejection);
    }
}

/// Components that need almost as much as the host lets them.
fn allowed() -> Vec<(&'static str, String)> {
    let page = format!(r#"(memory 16) (data (i32.const 0) "{}")"#, "x".repeat(1 << 20));
    vec![
        ("core-instances", instances("(global i32 (i32.const 0))", 198)),
        ("component-instances", doubling(5)),
        ("memories", instances("(memory 16)", 50)),
        ("tables", instances("(table 2500 funcref)", 198)),
        ("table-elements", instances("(table 9800 funcref)", 50)),
        (
            "filled-tables",
            instances(&format!("(func) (table 2400 funcref) (elem (i32.const 0) func {})", "0 ".repeat(2_400)), 198),
        ),
        ("globals", instances(&"(global i32 (i32.const 0))".repeat(49_000), 1)),
        ("functions", instances(&"(func)".repeat(30_000), 1)),
        ("instance", instances(&funcs(12_000), 18)),
        ("start", instances(&page, 50)),
    ]
}

/// What an instance costs the host, as the system counts it, and how long it takes, which no limit of time can cut short: the
/// engine does not stop in the middle of one.
#[test]
fn whatever_is_admitted_costs_its_memory_and_a_constant_and_starts_soon() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = "[limits]\nwall = \"1s\"\n";
    let first = Host::start(folder.path(), settings);
    for (name, parts) in allowed() {
        first.upload(name, &command(&parts), "");
    }
    drop(first);
    for (name, _) in allowed() {
        // A fresh one each time: what one kind leaves with the allocator must not hide what the next one takes.
        let host = Host::start(folder.path(), settings);
        host.forget_peak();
        let before = host.peak();
        let begun = Instant::now();
        let jobs = host.run(name, &json!(null));
        let took = begun.elapsed();
        let (grown, own) = (host.peak().saturating_sub(before), own_bytes(&jobs));
        println!("{name}: {} MiB, of which {} their own, in {took:?}", grown / MIB, own / MIB);
        assert!(own > 0, "{name}: they did not run: {jobs:?}");
        assert!(grown <= own + JOBS * CONSTANT, "{name}: 8 jobs cost {} MiB, {} their own", grown / MIB, own / MIB);
        let is_over = |job: &Value| job["state"] == "succeeded" || job["error"]["code"] == "BR0303";
        assert!(jobs.iter().all(is_over), "{name}: {jobs:?}");
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
    }
}

/// A sandbox with other bounds.
fn with(uploads: UploadLimits, loaded_bytes: u64) -> (tempfile::TempDir, WasmSandbox) {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = WasmSettings::new(folder.path(), 1, compile_settings());
    let sandbox = WasmSandbox::new(WasmSettings { uploads, loaded_bytes, ..settings }).expect("it starts");
    (folder, sandbox)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_that_is_raised_lets_the_same_component_run() {
    let component = command(&instances("", 200));
    let (_folder, sandbox) = with(UploadLimits { core_instances: 201, ..UploadLimits::default() }, 1 << 30);
    let version = version(sandbox.admit(component.into()).await.expect("201 are allowed here"));
    let report = sandbox.run(slice("many", version, ""), Box::new(Port::default())).await;
    assert_eq!(report.end, SliceEnd::Succeeded("".into()), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_code_has_a_bound_of_its_own() {
    let (_folder, sandbox) = with(UploadLimits { compiled_bytes: 1 << 10, ..UploadLimits::default() }, 1 << 30);
    let rejection = sandbox.admit(command("").into()).await.expect_err("there is more than 1 KiB of code");
    assert_too_much("compiled", &rejection);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_takes_beside_its_memory_is_on_the_bill() {
    let peak = async |parts: &str| {
        let report = run(slice("bill", version(admit(command(parts)).await.expect("admitted")), "")).await;
        assert_eq!(report.end, SliceEnd::Succeeded("".into()), "{report:?}");
        report.usage.peak_memory_bytes
    };
    let least = peak("").await;
    assert!((1..64 << 10).contains(&least), "{least}");
    let globals = peak(&instances(&"(global i32 (i32.const 0))".repeat(1_000), 40)).await;
    assert!(globals >= 40 * 1_000 * 16, "{globals}");
    let tables = peak(&instances("(table 5000 funcref)", 10)).await;
    assert!(tables >= 10 * 5_000 * 8, "{tables}");
    let functions = peak(&instances(&funcs(5_000), 10)).await;
    assert!(functions >= 10 * 5_000 * 24, "{functions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_instances_count_against_the_limit_of_memory() {
    let tables = version(admit(command(&instances("(table 9000 funcref)", 40))).await.expect("admitted"));
    let mut small = slice("tables", tables, "");
    small.limits = Limits { memory_bytes: 1 << 20, ..Limits::default() }.into();
    assert_eq!(failure(&run(small).await).code.as_deref(), Some("BR0302"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_end_is_stopped_by_the_clock() {
    let endless = version(admit(command(&instances("(func $f (loop (br 0))) (start $f)", 1))).await.expect("admitted"));
    let mut short = slice("endless", endless, "");
    short.limits = Limits { wall: Duration::from_millis(50), fuel: u64::MAX >> 1, ..Limits::default() }.into();
    assert!(matches!(run(short).await.end, SliceEnd::TimedOut(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn loaded_code_is_bounded_by_its_bytes() {
    let (_folder, sandbox) = with(UploadLimits::default(), 1 << 10);
    let (first, second) = (command(""), command("(core module)"));
    let one = version(sandbox.admit(first.clone().into()).await.expect("admitted"));
    let other = version(sandbox.admit(second.clone().into()).await.expect("admitted"));
    sandbox.prepare(&one, first.into()).await.expect("loaded");
    assert!(sandbox.is_ready(&one));
    sandbox.prepare(&other, second.into()).await.expect("loaded");
    assert!(sandbox.is_ready(&other), "what was asked for last is loaded, however large");
    assert!(!sandbox.is_ready(&one), "the two together have more than 1 KiB");
    let report = sandbox.run(slice("one", one, ""), Box::new(Port::default())).await;
    assert_eq!(report.end, SliceEnd::Succeeded("".into()), "it is loaded again when it is needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_are_compiled_once() {
    let (folder, sandbox) = with(UploadLimits::default(), 1 << 30);
    let module = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
        (memory (export "memory") 1) (func (export "_start")))"#;
    let compiled = || -> Vec<u64> {
        let files = std::fs::read_dir(folder.path().join("compiled")).expect("the folder").flatten();
        let artefacts = files.filter(|file| file.file_name().to_string_lossy().ends_with(".cwasm"));
        artefacts.map(|file| file.metadata().expect("it is there").ino()).collect()
    };
    for upload in [command(""), wat::parse_str(module).expect("WAT")] {
        let before = compiled();
        let first = sandbox.admit(upload.clone().into()).await.expect("admitted");
        let kept = compiled();
        assert_eq!(kept.len(), before.len() + 1);
        let again = sandbox.admit(upload.into()).await.expect("admitted again");
        assert_eq!((again.inspection, compiled()), (first.inspection, kept), "it was compiled again");
    }
}

/// Whatever is uploaded, the answer is about the upload: never that the host is at fault.
#[tokio::test(flavor = "multi_thread")]
async fn no_upload_is_a_fault_of_the_host() {
    let whole = command(&format!(
        "{} {}",
        instances("(memory 1) (table 1 funcref) (global i32 (i32.const 1))", 2),
        doubling(2)
    ));
    let mut random = 20_261_130_u64;
    for _ in 0..60 {
        let mut odd = whole.clone();
        for _ in 0..2 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = 8 + (random >> 33) as usize % (odd.len() - 8);
            odd[at] = (random >> 20) as u8;
        }
        if let Err(rejection) = admit(odd).await {
            assert!(rejection.code.name.starts_with("BR02"), "{rejection:?}");
        }
    }
}
