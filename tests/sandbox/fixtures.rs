//! A sandbox, slices of every kind, and a host that answers them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backroom::domain::failure::Failure;
use backroom::domain::host_call::{HostAnswer, HostCall};
use backroom::domain::id::{HandlerName, JobId, PluginName, VersionName};
use backroom::domain::limits::Limits;
use backroom::domain::plugin::{PluginVersion, Policy, Wishes};
use backroom::domain::time::Timestamp;
use backroom::sandbox::wasm::{CompileSettings, WasmSandbox, WasmSettings};
use backroom::sandbox::{Admitted, BoxFuture, HostPort, Rejection, Sandbox, SignalLine, Slice, SliceEnd, SliceReport};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::support::built_plugin;

/// Slices that the shared sandbox runs at a time.
pub(crate) const CONCURRENCY: usize = 32;

/// How the compiler's child is started: the real program.
pub(crate) fn compile_settings() -> CompileSettings {
    CompileSettings { program: PathBuf::from(env!("CARGO_BIN_EXE_backroom")), wall: Duration::from_secs(150) }
}

/// One sandbox for all tests of this binary.
pub(crate) fn sandbox() -> &'static WasmSandbox {
    static SANDBOX: OnceLock<(tempfile::TempDir, WasmSandbox)> = OnceLock::new();
    let (_, sandbox) = SANDBOX.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = WasmSettings::new(folder.path(), CONCURRENCY, compile_settings());
        (folder, WasmSandbox::new(settings).expect("the sandbox starts"))
    });
    sandbox
}

/// Gives an upload to the shared sandbox.
pub(crate) async fn admit(upload: impl Into<Bytes>) -> Result<Admitted, Rejection> {
    sandbox().admit(upload.into()).await
}

/// The version that an admitted component becomes.
pub(crate) fn version(admitted: Admitted) -> Arc<PluginVersion> {
    Arc::new(PluginVersion {
        version: VersionName::new("1.0.0").expect("a version"),
        inspection: admitted.inspection,
        wishes: Wishes::default(),
        uploaded_on: Timestamp::default(),
        is_pending: false,
    })
}

/// The `echo` sample, admitted once.
pub(crate) async fn echo() -> Arc<PluginVersion> {
    static ECHO: OnceCell<Arc<PluginVersion>> = OnceCell::const_new();
    sample(&ECHO, "echo").await
}

/// The `misbehave` sample, admitted once.
pub(crate) async fn misbehave() -> Arc<PluginVersion> {
    static MISBEHAVE: OnceCell<Arc<PluginVersion>> = OnceCell::const_new();
    sample(&MISBEHAVE, "misbehave").await
}

async fn sample(cell: &OnceCell<Arc<PluginVersion>>, name: &'static str) -> Arc<PluginVersion> {
    let admitted = cell.get_or_init(|| async move {
        let file = tokio::task::spawn_blocking(move || built_plugin(name)).await.expect("it builds");
        let bytes = std::fs::read(file).expect("the component is readable");
        version(admit(bytes).await.expect("the sample is admitted"))
    });
    Arc::clone(admitted.await)
}

/// A slice with the default limits.
pub(crate) fn slice(name: &str, version: Arc<PluginVersion>, input: impl Into<Bytes>) -> Slice {
    Slice {
        job: JobId::default(),
        name: "a job".into(),
        tenant: "default".into(),
        plugin: PluginName::new(name).expect("a name"),
        version,
        handler: HandlerName::default_handle(),
        input: input.into(),
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

/// Runs a slice with a host that takes everything.
pub(crate) async fn run(slice: Slice) -> SliceReport {
    sandbox().run(slice, Box::new(Port::default())).await
}

/// Lets `misbehave` do something under some limits.
pub(crate) async fn misbehaves(ask: serde_json::Value, limits: Limits) -> SliceReport {
    let mut slice = slice("misbehave", misbehave().await, ask.to_string());
    slice.policy = Arc::new(Policy { limits: limits.clone(), ..Policy::default() });
    slice.limits = Arc::new(limits);
    run(slice).await
}

/// The failure of a slice that has to have failed.
pub(crate) fn failure(report: &SliceReport) -> &Failure {
    match &report.end {
        SliceEnd::Failed(failure) | SliceEnd::TimedOut(failure) | SliceEnd::Retry(_, failure) => failure,
        other => panic!("it did not fail: {other:?}"),
    }
}

/// What a successful `misbehave` reports.
pub(crate) fn reported(report: &SliceReport) -> serde_json::Value {
    match &report.end {
        SliceEnd::Succeeded(output) => serde_json::from_slice(output).expect("JSON"),
        other => panic!("it did not succeed: {other:?}"),
    }
}

/// The log as text.
pub(crate) fn log(report: &SliceReport) -> String {
    String::from_utf8(report.log.to_vec()).expect("a log is UTF-8")
}

/// A host that takes everything and remembers it.
#[derive(Clone, Default)]
pub(crate) struct Port {
    /// What was asked, in order.
    pub(crate) calls: Arc<Mutex<Vec<HostCall>>>,
    /// What the former run stored.
    pub(crate) resume: Option<Bytes>,
    /// Refuses checkpoints, with this reason.
    pub(crate) refusal: Option<String>,
    /// What becomes of pauses; they are not answered where this is absent.
    pub(crate) paused: Option<HostAnswer>,
}

impl HostPort for Port {
    fn call(&mut self, call: HostCall) -> BoxFuture<'_, HostAnswer> {
        self.calls.lock().push(call.clone());
        let answer = match (call, &self.refusal) {
            (HostCall::ResumeState, _) => HostAnswer::Bytes(self.resume.clone()),
            (HostCall::Checkpoint(_), Some(why)) => HostAnswer::Refused(why.clone()),
            (HostCall::Pause(_), _) => self.paused.clone().unwrap_or(HostAnswer::Done),
            _ => HostAnswer::Done,
        };
        Box::pin(async move { answer })
    }
}
