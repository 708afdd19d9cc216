//! The only door to guest code: one slice of one attempt goes in, its outcome comes out.

#[cfg(feature = "host")]
mod bill;
#[cfg(feature = "host")]
pub mod builtin;
#[cfg(feature = "host")]
mod exception;
mod kept;
#[cfg(feature = "host")]
mod log;
#[cfg(feature = "host")]
pub mod outbound;
pub mod scripted;
#[cfg(feature = "host")]
mod text;
#[cfg(feature = "host")]
pub mod wasm;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::domain::advice::Sides;
use crate::domain::code::Code;
use crate::domain::failure::Failure;
use crate::domain::host_call::{HostAnswer, HostCall};
use crate::domain::id::{Digest, HandlerName, JobId, PluginName};
use crate::domain::job::Wake;
use crate::domain::limits::{Limits, Usage};
use crate::domain::plugin::{Grant, Inspection, PluginVersion, Policy};
use crate::domain::time::Timestamp;

/// A future on the heap, as traits that are used through `dyn` return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a component is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// Which entry of the catalogue.
    pub code: Code,
    /// What is wrong with this component, and where.
    pub message: String,
    /// The exact next command, where it differs from the catalogue's.
    pub next: Option<String>,
}

impl Rejection {
    /// A rejection with the catalogue's remedy.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), next: None }
    }
}

/// A component as the host keeps it: the bytes that were uploaded, or the component that a core module was lifted to.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// What it says of itself.
    pub inspection: Inspection,
    /// The bytes to keep.
    pub component: Bytes,
}

/// What the host would like of a running handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Signal {
    /// Go on.
    #[default]
    None = 0,
    /// Stop at the next safe point; the job goes on later.
    Pause = 1,
    /// Stop at the next safe point; the job is called off.
    Cancel = 2,
    /// Stop at the next safe point; the host goes down.
    Shutdown = 3,
    /// Stop at once, at any point.
    Kill = 4,
}

/// The log of a run, which others may read while it grows. Lines are counted from 0, left out ones included.
pub trait LiveLog: Send + Sync {
    /// The lines from number `line` on, as far as they are kept.
    fn since(&self, line: u64) -> LogPart;
}

/// Some lines of a log that grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPart {
    /// Whole lines; one of them says so where others were left out.
    pub text: String,
    /// The number of the line that comes next.
    pub next: u64,
}

/// The line between the host and one running handler: signals go in, and the log comes out. Signals only grow more urgent.
#[derive(Clone, Default)]
pub struct SignalLine(Arc<Line>);

#[derive(Default)]
struct Line {
    signal: AtomicU8,
    log: OnceLock<Arc<dyn LiveLog>>,
}

impl fmt::Debug for SignalLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SignalLine").field(&self.signal()).finish()
    }
}

impl SignalLine {
    /// Raises the signal; a less urgent one than the present is without effect.
    pub fn raise(&self, signal: Signal) {
        self.0.signal.fetch_max(signal as u8, Ordering::Relaxed);
    }

    /// Lets others read what the run logs. The first log of a line stays.
    pub fn share_log(&self, log: Arc<dyn LiveLog>) {
        self.0.log.get_or_init(|| log);
    }

    /// What the run has logged so far; none before it has started.
    pub fn log(&self) -> Option<Arc<dyn LiveLog>> {
        self.0.log.get().cloned()
    }

    /// The present signal.
    pub fn signal(&self) -> Signal {
        match self.0.signal.load(Ordering::Relaxed) {
            0 => Signal::None,
            1 => Signal::Pause,
            2 => Signal::Cancel,
            3 => Signal::Shutdown,
            _ => Signal::Kill,
        }
    }
}

/// One slice of an attempt: everything that a sandbox needs to run it.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The job.
    pub job: JobId,
    /// The name that people see.
    pub name: String,
    /// The tenant's name.
    pub tenant: String,
    /// The plug-in.
    pub plugin: PluginName,
    /// The version to run.
    pub version: Arc<PluginVersion>,
    /// The entry point.
    pub handler: HandlerName,
    /// The job's input.
    pub input: Bytes,
    /// Command-line arguments, for the command shape.
    pub args: Vec<String>,
    /// Environment variables, for the command shape.
    pub env: Vec<(String, String)>,
    /// 1 for the first.
    pub attempt: u32,
    /// Attempts in all.
    pub max_attempts: u32,
    /// 1 for the first run.
    pub run: u32,
    /// When the job was submitted.
    pub created_on: Timestamp,
    /// The wall-clock limit as a time, for the guest's eyes; the sandbox itself measures [`Limits::wall`].
    pub deadline: Timestamp,
    /// The chain that the job belongs to.
    pub correlation_id: JobId,
    /// Its depth in the chain.
    pub depth: u32,
    /// The job's tags.
    pub tags: Vec<String>,
    /// What the operator allows the plug-in, for advice.
    pub policy: Arc<Policy>,
    /// What it may use.
    pub limits: Arc<Limits>,
    /// What it may do.
    pub grants: Arc<std::collections::BTreeSet<Grant>>,
    /// What `wasi:config/store` answers.
    pub config: Arc<Vec<(String, String)>>,
    /// What the host would like of it.
    pub signals: SignalLine,
}

impl Slice {
    /// Everything that decides about what it may use and do.
    pub fn sides(&self) -> Sides<'_> {
        Sides::of(&self.plugin, &self.version, &self.policy)
    }
}

/// How a slice ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SliceEnd {
    /// The handler returned an output.
    Succeeded(Bytes),
    /// The handler called itself off, with the reason.
    Canceled(String),
    /// The handler asks to be tried again.
    Retry(Option<std::time::Duration>, Failure),
    /// The handler waits.
    Suspended(Wake),
    /// The handler gave its slot back with a checkpoint.
    Yielded,
    /// The handler returned an error, broke, or hit a limit other than the wall clock.
    Failed(Failure),
    /// The wall-clock limit stopped it.
    TimedOut(Failure),
    /// [`Signal::Kill`] stopped it.
    Killed,
}

/// What a slice leaves behind.
#[derive(Clone, Debug)]
pub struct SliceReport {
    /// How it ended.
    pub end: SliceEnd,
    /// What it used.
    pub usage: Usage,
    /// The log, head and tail, as UTF-8 lines; empty when there is none.
    pub log: Bytes,
}

impl SliceReport {
    /// A report without usage or log.
    pub fn of(end: SliceEnd) -> Self {
        Self { end, usage: Usage::default(), log: Bytes::new() }
    }
}

/// Answers what a guest asks of durable state. The worker implements it; recording and replaying are decorators.
pub trait HostPort: Send {
    /// Answers one call.
    fn call(&mut self, call: HostCall) -> BoxFuture<'_, HostAnswer>;
}

/// Runs guest code. Each slice gets a fresh instance; nothing that it does can slow, stop or read another.
pub trait Sandbox: Send + Sync {
    /// Reads, validates and compiles an upload, in a place where neither can harm the host.
    fn admit(&self, upload: Bytes) -> BoxFuture<'_, Result<Admitted, Rejection>>;

    /// Makes a version ready to run from its stored bytes. Called before the first slice of a version and cheap after that.
    fn prepare<'a>(&'a self, version: &'a PluginVersion, component: Bytes) -> BoxFuture<'a, Result<(), Rejection>>;

    /// Whether [`Sandbox::prepare`] has been done for a version and still holds.
    fn is_ready(&self, version: &PluginVersion) -> bool;

    /// Lets go of what was prepared for other versions than those of `named`. Called at the start, before any upload.
    fn keep_only(&self, _named: &BTreeSet<Digest>) {}

    /// Runs one slice to its end. Never panics; a fault of the sandbox itself is a failure of class transient.
    fn run(&self, slice: Slice, port: Box<dyn HostPort>) -> BoxFuture<'_, SliceReport>;
}
