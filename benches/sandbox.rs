//! What one no-op slice costs: a fresh store and instance, one call, everything dropped. Run with `cargo bench --bench sandbox`.
//! With `-- neighbours`: how long a quiet plug-in's slices take beside eight that hold the cores, kind by kind.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backroom::domain::host_call::{HostAnswer, HostCall};
use backroom::domain::id::{HandlerName, JobId, PluginName, VersionName};
use backroom::domain::limits::Limits;
use backroom::domain::plugin::{PluginVersion, Wishes};
use backroom::domain::time::Timestamp;
use backroom::sandbox::wasm::{CompileSettings, WasmSandbox, WasmSettings};
use backroom::sandbox::{BoxFuture, HostPort, Sandbox, Signal, SignalLine, Slice, SliceEnd};
use bytes::Bytes;

#[path = "../tests/support/mod.rs"]
mod support;

/// Slices that each thread runs in one round; the first round warms up and is not counted.
const SLICES: usize = 20_000;
const ROUNDS: usize = 5;

struct Idle;

impl HostPort for Idle {
    fn call(&mut self, _call: HostCall) -> BoxFuture<'_, HostAnswer> {
        Box::pin(async { HostAnswer::Done })
    }
}

fn slice(version: Arc<PluginVersion>) -> Slice {
    Slice {
        job: JobId::default(),
        name: "a job".into(),
        tenant: "default".into(),
        plugin: PluginName::new("echo").expect("a name"),
        version,
        handler: HandlerName::default_handle(),
        input: Bytes::from_static(&[b'x'; 128]),
        args: Vec::new(),
        env: Vec::new(),
        attempt: 1,
        max_attempts: 3,
        run: 1,
        created_on: Timestamp::default(),
        deadline: Timestamp::default(),
        correlation_id: JobId::default(),
        depth: 0,
        tags: Vec::new(),
        policy: Arc::default(),
        limits: Arc::default(),
        grants: Arc::default(),
        config: Arc::default(),
        signals: SignalLine::default(),
    }
}

async fn run_many(sandbox: Arc<WasmSandbox>, slice: Slice) -> Vec<Duration> {
    let mut times = Vec::with_capacity(SLICES);
    for _ in 0..SLICES {
        let start = Instant::now();
        let report = sandbox.run(slice.clone(), Box::new(Idle)).await;
        times.push(start.elapsed());
        assert!(matches!(report.end, SliceEnd::Succeeded(_)), "{:?}", report.end);
    }
    times
}

fn measure(runtime: &tokio::runtime::Runtime, sandbox: &Arc<WasmSandbox>, slice: &Slice, threads: usize) {
    for round in 0..=ROUNDS {
        let start = Instant::now();
        let tasks: Vec<_> = (0..threads).map(|_| runtime.spawn(run_many(Arc::clone(sandbox), slice.clone()))).collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(runtime.block_on(task).expect("no panic"));
        }
        let elapsed = start.elapsed();
        if round == 0 {
            continue;
        }
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!(
            "{threads} thread(s): {:8.0} slices/s, p50 {:?}, p99 {:?}, worst {:?}",
            times.len() as f64 / elapsed.as_secs_f64(),
            at(0.50),
            at(0.99),
            at(1.0)
        );
    }
}

/// What eight neighbours do again and again.
const NEIGHBOURS: [&str; 10] = [
    r#"{ "do": "loop" }"#,
    r#"{ "do": "fill", "bytes": 62000000, "times": 1000 }"#,
    r#"{ "do": "fill", "bytes": 62000000, "times": 1 }"#,
    r#"{ "do": "grow", "mib": 58 }"#,
    r#"{ "do": "random", "bytes": 4000000, "times": 1000 }"#,
    r#"{ "do": "hold", "what": "authorities", "bytes": 4000000, "times": 300 }"#,
    r#"{ "do": "hold", "what": "methods", "bytes": 4000000, "times": 300 }"#,
    r#"{ "do": "hold", "what": "small-fields", "bytes": 400, "times": 900 }"#,
    r#"{ "do": "flood-log", "bytes": 60000000, "line": 4000000 }"#,
    r#"{ "do": "checkpoint", "bytes": 4000000, "times": 1000 }"#,
];

/// Samples of the quiet one.
const SAMPLES: usize = 500;

async fn beside(sandbox: Arc<WasmSandbox>, noisy: Slice, quiet: Slice) -> Duration {
    let over = SignalLine::default();
    let noise: Vec<_> = (0..if noisy.input.is_empty() { 0 } else { 8 })
        .map(|_| {
            let (sandbox, noisy, over) = (Arc::clone(&sandbox), noisy.clone(), over.clone());
            tokio::spawn(async move {
                while over.signal() == Signal::None {
                    let slice = Slice { signals: over.clone(), ..noisy.clone() };
                    let report = sandbox.run(slice, Box::new(Idle)).await;
                    let is_over = over.signal() != Signal::None;
                    assert!(report.usage.fuel > 0 || is_over, "it made no noise: {:?}", report.end);
                }
            })
        })
        .collect();
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let (sandbox, quiet, start) = (Arc::clone(&sandbox), quiet.clone(), Instant::now());
        let ran = tokio::spawn(async move { sandbox.run(quiet, Box::new(Idle)).await });
        assert!(matches!(ran.await.expect("no panic").end, SliceEnd::Succeeded(_)));
        times.push(start.elapsed());
    }
    over.raise(Signal::Kill);
    for one in noise {
        one.await.expect("no panic");
    }
    times.sort_unstable();
    times[SAMPLES * 99 / 100]
}

fn neighbours(runtime: &tokio::runtime::Runtime, sandbox: &Arc<WasmSandbox>, quiet: &Slice) {
    let noisy = Slice {
        version: admitted(runtime, sandbox, "misbehave"),
        limits: Arc::new(Limits { fuel: u64::MAX, ..Limits::default() }),
        input: Bytes::new(),
        ..quiet.clone()
    };
    let alone = runtime.spawn(beside(Arc::clone(sandbox), noisy.clone(), quiet.clone()));
    let alone = runtime.block_on(alone).expect("no panic");
    println!("p99 alone: {alone:?}");
    for ask in NEIGHBOURS {
        let noisy = Slice { input: Bytes::from_static(ask.as_bytes()), ..noisy.clone() };
        let task = runtime.spawn(beside(Arc::clone(sandbox), noisy, quiet.clone()));
        let p99 = runtime.block_on(task).expect("no panic");
        let verdict = if p99 <= alone * 2 + Duration::from_millis(20) { "quick" } else { "SLOW" };
        println!("p99 beside 8 of {ask}: {p99:?} ({verdict})");
    }
}

fn admitted(runtime: &tokio::runtime::Runtime, sandbox: &WasmSandbox, name: &str) -> Arc<PluginVersion> {
    let component = std::fs::read(support::built_plugin(name)).expect("the component is readable");
    let admitted = runtime.block_on(sandbox.admit(component.into())).expect("admitted");
    Arc::new(PluginVersion {
        version: VersionName::new("1.0.0").expect("a version"),
        inspection: admitted.inspection,
        wishes: Wishes::default(),
        uploaded_on: Timestamp::default(),
        is_pending: false,
    })
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_backroom"));
    let compile = CompileSettings { program, wall: Duration::from_secs(60) };
    let sandbox = Arc::new(WasmSandbox::new(WasmSettings::new(folder.path(), 16, compile)).expect("it starts"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .global_queue_interval(1)
        .event_interval(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let slice = slice(admitted(&runtime, &sandbox, "echo"));
    if std::env::args().any(|argument| argument == "neighbours") {
        return neighbours(&runtime, &sandbox, &slice);
    }
    measure(&runtime, &sandbox, &slice, 1);
    measure(&runtime, &sandbox, &slice, 2);
}
