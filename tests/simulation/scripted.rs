//! The scripted sandbox keeps to its script, to the clock and to signals.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use backroom::clock::SimulatedClock;
use backroom::domain::host_call::{HostAnswer, HostCall};
use backroom::domain::id::{Digest, HandlerName, JobId, PluginName, VersionName};
use backroom::domain::limits::Limits;
use backroom::domain::plugin::{Inspection, PluginVersion, Shape, Wishes};
use backroom::domain::time::Timestamp;
use backroom::sandbox::scripted::{Gate, Manners, Script, ScriptedSandbox, Step};
use backroom::sandbox::{BoxFuture, HostPort, Sandbox, Signal, SignalLine, Slice, SliceEnd, SliceReport};
use bytes::Bytes;
use parking_lot::Mutex;

#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<HostCall>>>);

impl HostPort for Calls {
    fn call(&mut self, call: HostCall) -> BoxFuture<'_, HostAnswer> {
        self.0.lock().push(call);
        Box::pin(std::future::ready(HostAnswer::Done))
    }
}

fn slice(signals: &SignalLine) -> Slice {
    let inspection = Inspection {
        shape: Shape::Handler,
        imports: Vec::new(),
        exports: Vec::new(),
        handlers: None,
        digest: Digest([1; 32]),
        bytes: 8,
    };
    let version = VersionName::new("1.0.0").expect("a good version");
    Slice {
        job: JobId::default(),
        name: "a job".to_owned(),
        tenant: "default".to_owned(),
        plugin: PluginName::new("echo").expect("a slug"),
        version: Arc::new(PluginVersion {
            version,
            inspection,
            wishes: Wishes::default(),
            uploaded_on: Timestamp::default(),
            is_pending: false,
        }),
        handler: HandlerName::default_handle(),
        input: Bytes::new(),
        args: Vec::new(),
        env: Vec::new(),
        attempt: 1,
        max_attempts: 4,
        run: 1,
        created_on: Timestamp::default(),
        deadline: Timestamp::default(),
        correlation_id: JobId::default(),
        depth: 0,
        tags: Vec::new(),
        policy: Arc::default(),
        limits: Arc::new(Limits::default()),
        grants: Arc::new(BTreeSet::new()),
        config: Arc::new(Vec::new()),
        signals: signals.clone(),
    }
}

/// A run that a test lets go on by hand.
struct Run {
    clock: SimulatedClock,
    signals: SignalLine,
    calls: Calls,
    future: Pin<Box<dyn Future<Output = SliceReport>>>,
}

impl Run {
    fn of(script: Script) -> Self {
        let clock = SimulatedClock::default();
        let (signals, calls) = (SignalLine::default(), Calls::default());
        let sandbox = ScriptedSandbox::new(Arc::new(clock.clone()), move |_| script.clone());
        let (slice, port) = (slice(&signals), Box::new(calls.clone()));
        let future = Box::pin(async move { sandbox.run(slice, port).await });
        Self { clock, signals, calls, future }
    }

    fn go_on(&mut self) -> Option<SliceReport> {
        match self.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(report) => Some(report),
            Poll::Pending => None,
        }
    }

    fn end(&mut self) -> SliceEnd {
        self.go_on().expect("it has ended").end
    }
}

fn working() -> Script {
    Script::succeeds("done").after(Step::Work(Duration::from_secs(10)))
}

#[test]
fn work_takes_the_time_of_the_clock() {
    let mut run = Run::of(working());
    assert!(run.go_on().is_none());
    run.clock.advance(Duration::from_secs(9));
    assert!(run.go_on().is_none());
    run.clock.advance(Duration::from_secs(1));
    let report = run.go_on().expect("ten seconds have passed");
    assert_eq!(report.end, SliceEnd::Succeeded(Bytes::from("done")));
    assert_eq!(report.usage.wall_micros, 10_000_000);
}

#[test]
fn signals_end_a_polite_slice_and_only_a_kill_a_deaf_one() {
    let ends = |manners, signal| {
        let mut run = Run::of(working().with_manners(manners));
        assert!(run.go_on().is_none());
        run.signals.raise(signal);
        let end = run.go_on().map(|report| report.end);
        (end, run.calls.0.lock().clone())
    };
    let kept = vec![HostCall::Checkpoint(Bytes::from("stopped"))];
    assert_eq!(ends(Manners::Polite, Signal::Pause), (Some(SliceEnd::Yielded), kept.clone()));
    assert_eq!(ends(Manners::Polite, Signal::Shutdown), (Some(SliceEnd::Yielded), kept));
    assert!(matches!(ends(Manners::Polite, Signal::Cancel).0, Some(SliceEnd::Canceled(_))));
    assert_eq!(ends(Manners::Deaf, Signal::Cancel).0, None);
    assert_eq!(ends(Manners::Deaf, Signal::Kill).0, Some(SliceEnd::Killed));
}

#[test]
fn the_wall_clock_limit_ends_a_slice() {
    let mut run = Run::of(Script::succeeds("late").after(Step::Gate(Gate::default())));
    assert!(run.go_on().is_none());
    run.clock.advance(Limits::default().wall);
    assert!(matches!(run.end(), SliceEnd::TimedOut(failure) if failure.code.as_deref() == Some("BR0303")));
}

#[test]
fn a_gate_holds_until_it_is_opened() {
    let gate = Gate::default();
    let mut run = Run::of(Script::succeeds("through").after(Step::Gate(gate.clone())));
    assert!(run.go_on().is_none());
    gate.open();
    assert_eq!(run.end(), SliceEnd::Succeeded(Bytes::from("through")));
}

#[test]
fn only_wasm_is_admitted_and_the_digest_pins_it() {
    let sandbox =
        ScriptedSandbox::new(Arc::new(SimulatedClock::default()), |_| Script::succeeds("")).with_preparation();
    let admit = |bytes: &'static [u8]| {
        let mut future = sandbox.admit(Bytes::from_static(bytes));
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(admitted) => admitted,
            Poll::Pending => panic!("admission has nothing to wait for"),
        }
    };
    assert_eq!(admit(b"PK").expect_err("a zip file").code.name, "BR0201");
    let (one, other) = (admit(b"\0asm1").expect("it looks like Wasm"), admit(b"\0asm2").expect("it looks like Wasm"));
    assert_ne!(one.inspection.digest, other.inspection.digest);
}
