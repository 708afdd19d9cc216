//! A sandbox that follows a script instead of running guest code; for the simulation and for tests of the runtime.
//!
//! A [`Script`] is chosen for each slice by a function of the slice alone, so that the same seed gives the same run. Time
//! passes only on the clock that the sandbox is given: a script that works for a minute is over when that clock says so.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    Admitted, BoxFuture, HostPort, LiveLog, LogPart, Rejection, Sandbox, Signal, Slice, SliceEnd, SliceReport,
};
use crate::clock::Clock;
use crate::domain::code;
use crate::domain::failure::{ErrorClass, Failure};
use crate::domain::host_call::{HostAnswer, HostCall};
use crate::domain::id::Digest;
use crate::domain::limits::Usage;
use crate::domain::plugin::{Inspection, PluginVersion, Shape};
use crate::domain::time::Timestamp;

/// What one slice does.
#[derive(Clone, Debug)]
pub struct Script {
    /// In this order.
    pub steps: Vec<Step>,
    /// How it ends, unless a signal or the wall-clock limit ends it before.
    pub end: SliceEnd,
    /// How it takes signals.
    pub manners: Manners,
    /// What it says it used, beside the time.
    pub usage: Usage,
    /// What it logs.
    pub log: Bytes,
}

impl Script {
    /// A slice that ends at once.
    pub fn of(end: SliceEnd) -> Self {
        Self { steps: Vec::new(), end, manners: Manners::default(), usage: Usage::default(), log: Bytes::new() }
    }

    /// A slice that succeeds at once.
    pub fn succeeds(output: impl Into<Bytes>) -> Self {
        Self::of(SliceEnd::Succeeded(output.into()))
    }

    /// The same with one more step before its end.
    #[must_use]
    pub fn after(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The same with other manners.
    #[must_use]
    pub fn with_manners(mut self, manners: Manners) -> Self {
        self.manners = manners;
        self
    }
}

/// One thing that a scripted slice does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Asks the host for something. The answer is not looked at, as a careless guest would.
    Call(HostCall),
    /// Works until that much time has passed on the sandbox's clock.
    Work(Duration),
    /// Works until a test opens the gate.
    Gate(Gate),
}

/// How a scripted slice takes signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manners {
    /// It asks between steps and while it works: on a cancel it calls itself off, on a pause or shutdown it yields with
    /// the checkpoint `stopped`.
    #[default]
    Polite,
    /// It never asks. Only a kill and the wall-clock limit end it.
    Deaf,
}

/// Holds scripted slices until it is opened.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Chooses what a slice does.
pub type Director = Arc<dyn Fn(&Slice) -> Script + Send + Sync>;

/// A sandbox that follows scripts.
pub struct ScriptedSandbox {
    clock: Arc<dyn Clock>,
    director: Director,
    ready: Mutex<BTreeSet<Digest>>,
    needs_preparation: bool,
}

impl ScriptedSandbox {
    /// A sandbox whose slices do what `director` says, in the time of `clock`. Versions need no preparation.
    pub fn new(clock: Arc<dyn Clock>, director: impl Fn(&Slice) -> Script + Send + Sync + 'static) -> Self {
        Self { clock, director: Arc::new(director), ready: Mutex::default(), needs_preparation: false }
    }

    /// The same, but a version runs only after [`Sandbox::prepare`], as with a real sandbox.
    #[must_use]
    pub fn with_preparation(mut self) -> Self {
        self.needs_preparation = true;
        self
    }

    async fn follow(&self, script: Script, slice: &Slice, mut port: Box<dyn HostPort>) -> SliceEnd {
        let stop_on = self.clock.now().after(slice.limits.wall);
        for step in &script.steps {
            let stopped = match step {
                Step::Call(call) => {
                    let _unread = port.call(call.clone()).await;
                    self.stop(script.manners, slice, stop_on)
                }
                Step::Work(span) => {
                    let done_on = self.clock.now().after(*span);
                    let is_done = || self.clock.now() >= done_on;
                    self.wait(is_done, script.manners, slice, stop_on).await
                }
                Step::Gate(gate) => self.wait(|| gate.is_open(), script.manners, slice, stop_on).await,
            };
            if let Some(end) = stopped {
                return leave(end, &mut *port).await;
            }
        }
        match self.stop(script.manners, slice, stop_on) {
            Some(end) => leave(end, &mut *port).await,
            None => script.end,
        }
    }

    /// Waits until `is_done`, or until something ends the slice before.
    async fn wait(
        &self,
        is_done: impl Fn() -> bool,
        manners: Manners,
        slice: &Slice,
        stop_on: Timestamp,
    ) -> Option<SliceEnd> {
        loop {
            if let Some(end) = self.stop(manners, slice, stop_on) {
                return Some(end);
            }
            if is_done() {
                return None;
            }
            turn().await;
        }
    }

    /// How a signal or the wall-clock limit ends the slice now, if one does.
    fn stop(&self, manners: Manners, slice: &Slice, stop_on: Timestamp) -> Option<SliceEnd> {
        match (slice.signals.signal(), manners) {
            (Signal::Kill, _) => return Some(SliceEnd::Killed),
            (Signal::Cancel, Manners::Polite) => return Some(SliceEnd::Canceled("asked to".to_owned())),
            (Signal::Pause | Signal::Shutdown, Manners::Polite) => return Some(SliceEnd::Yielded),
            _ => {}
        }
        let limit = slice.limits.wall.as_millis();
        let message = format!("the handler ran longer than its limit of {limit} ms");
        let is_late = self.clock.now() >= stop_on;
        is_late.then(|| SliceEnd::TimedOut(Failure::host(ErrorClass::Transient, code::TIMED_OUT, message)))
    }
}

/// What a polite slice does last.
async fn leave(end: SliceEnd, port: &mut dyn HostPort) -> SliceEnd {
    if end == SliceEnd::Yielded {
        let kept = port.call(HostCall::Checkpoint(Bytes::from_static(b"stopped"))).await;
        debug_assert_eq!(kept, HostAnswer::Done, "a few bytes are never too many");
    }
    end
}

/// Lets others go first. A script waits by being asked again: after a moment on a runtime, whose threads and processors others
/// need, and at once where it is polled by hand.
async fn turn() {
    const MOMENT: Duration = Duration::from_millis(1);
    match tokio::runtime::Handle::try_current() {
        Ok(_) => tokio::time::sleep(MOMENT).await,
        Err(_) => Turn::default().await,
    }
}

/// Lets others go first, once.
#[derive(Default)]
struct Turn {
    taken: bool,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.taken, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// What a script logs, all of it from the start.
struct Said(Bytes);

impl LiveLog for Said {
    fn since(&self, line: u64) -> LogPart {
        let text = String::from_utf8_lossy(&self.0);
        let mut lines = text.split_inclusive('\n');
        let skipped = usize::try_from(line).unwrap_or(usize::MAX);
        let rest: String = lines.by_ref().skip(skipped).collect();
        LogPart { text: rest, next: line.max(text.lines().count() as u64) }
    }
}

impl Sandbox for ScriptedSandbox {
    fn admit(&self, upload: Bytes) -> BoxFuture<'_, Result<Admitted, Rejection>> {
        Box::pin(async move {
            if !upload.starts_with(b"\0asm") {
                return Err(Rejection::new(code::NOT_WASM, "the file does not start like WebAssembly"));
            }
            let digest = Digest::of(&upload);
            let bytes = upload.len() as u64;
            let inspection = Inspection {
                shape: Shape::Handler,
                imports: Vec::new(),
                exports: Vec::new(),
                handlers: None,
                digest,
                bytes,
            };
            Ok(Admitted { inspection, component: upload })
        })
    }

    fn prepare<'a>(&'a self, version: &'a PluginVersion, _component: Bytes) -> BoxFuture<'a, Result<(), Rejection>> {
        Box::pin(async move {
            self.ready.lock().insert(version.inspection.digest);
            Ok(())
        })
    }

    fn is_ready(&self, version: &PluginVersion) -> bool {
        !self.needs_preparation || self.ready.lock().contains(&version.inspection.digest)
    }

    fn run(&self, slice: Slice, port: Box<dyn HostPort>) -> BoxFuture<'_, SliceReport> {
        Box::pin(async move {
            let started_on = self.clock.now();
            let script = (self.director)(&slice);
            let (mut usage, log) = (script.usage, script.log.clone());
            if !log.is_empty() {
                slice.signals.share_log(Arc::new(Said(log.clone())));
            }
            let end = self.follow(script, &slice, port).await;
            let passed = self.clock.now().since(started_on);
            usage.wall_micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
            usage.log_bytes = log.len() as u64;
            SliceReport { end, usage, log }
        })
    }
}
