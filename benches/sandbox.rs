//! What one no-op slice costs: a fresh store and instance, one call, everything dropped. Run with `cargo bench --bench sandbox`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backroom::domain::host_call::{HostAnswer, HostCall};
use backroom::domain::id::{HandlerName, JobId, PluginName, VersionName};
use backroom::domain::plugin::{PluginVersion, Wishes};
use backroom::domain::time::Timestamp;
use backroom::sandbox::wasm::{CompileSettings, WasmSandbox, WasmSettings};
use backroom::sandbox::{BoxFuture, HostPort, Sandbox, SignalLine, Slice, SliceEnd};
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
    let component = std::fs::read(support::built_plugin("echo")).expect("the component is readable");
    let admitted = runtime.block_on(sandbox.admit(component.into())).expect("admitted");
    let version = Arc::new(PluginVersion {
        version: VersionName::new("1.0.0").expect("a version"),
        inspection: admitted.inspection,
        wishes: Wishes::default(),
        uploaded_on: Timestamp::default(),
    });
    let slice = slice(version);
    measure(&runtime, &sandbox, &slice, 1);
    measure(&runtime, &sandbox, &slice, 2);
}
