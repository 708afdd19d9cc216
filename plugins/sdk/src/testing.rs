//! A host for native tests: runs a handler under plain `cargo test` and shows what it did.
//!
//! ```
//! use backroom_sdk::prelude::*;
//! use backroom_sdk::testing::TestHost;
//! use serde_json::json;
//!
//! fn greet(name: String) -> Result<String> {
//!     info!("greeting {name}");
//!     Ok(format!("{}, {name}", config::require("greeting")?))
//! }
//!
//! let run = TestHost::new().config("greeting", "Hello").run(greet, json!("Amber"));
//! assert_eq!(run.output(), json!("Hello, Amber"));
//! assert_eq!(run.logs[0].message, "greeting Amber");
//!
//! let run = TestHost::new().run(greet, json!("Amber"));
//! assert_eq!(run.failure().code.as_deref(), Some("missing-config"));
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::control::{Pausable, PauseEnd, Signal};
use crate::logging::Level;
use crate::{Event, Failure, Handler, Job, Outcome, Plugin, Result};

/// A host for native tests. Set it up, then [`run`](TestHost::run) a handler on it.
#[derive(Debug, Clone)]
pub struct TestHost {
    job: Job,
    state: State,
}

/// What a handler did with its host, and how it ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// How the handler ended.
    pub result: Result<Outcome>,
    /// The lines of the job's log, in order.
    pub logs: Vec<LogLine>,
    /// What the job showed while it ran, in order.
    pub progress: Vec<Progress>,
    /// The last checkpoint that the handler kept in this run.
    pub checkpoint: Option<Vec<u8>>,
    /// The pauses that it was granted, in order.
    pub pauses: Vec<Pause>,
}

/// A pause that a handler has asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Of what.
    pub what: Pausable,
    /// When it ends.
    pub end: PauseEnd,
    /// Why.
    pub reason: String,
}

/// One line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// Where it comes from: the module, unless the handler said otherwise.
    pub context: String,
    /// What it says.
    pub message: String,
}

/// What a job shows while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Units of work that are done.
    pub done: u64,
    /// All units, if known.
    pub total: Option<u64>,
    /// A few words on what is being done.
    pub note: Option<String>,
}

/// The host's memory during a run.
#[derive(Debug, Clone)]
struct State {
    config: BTreeMap<String, String>,
    signals: VecDeque<Signal>,
    remaining: Duration,
    resume: Option<Vec<u8>>,
    checkpoint_limit: usize,
    logs: Vec<LogLine>,
    progress: Vec<Progress>,
    checkpoint: Option<Vec<u8>>,
    pausable: Vec<Pausable>,
    pauses: Vec<Pause>,
}

impl Default for State {
    fn default() -> Self {
        State {
            config: BTreeMap::new(),
            signals: VecDeque::new(),
            remaining: Duration::from_secs(30),
            resume: None,
            checkpoint_limit: usize::MAX,
            logs: Vec::new(),
            progress: Vec::new(),
            checkpoint: None,
            pausable: Vec::new(),
            pauses: Vec::new(),
        }
    }
}

/// How far ahead a pause may end, and how many one run may ask for, as the real host has it.
const PAUSE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
const PAUSES_MAX: usize = 8;

thread_local! {
    /// Tests run side by side, each in its own thread, so each thread has a host of its own.
    static HOST: RefCell<State> = RefCell::default();
}

impl TestHost {
    /// A host with an ordinary job, first attempt, no settings, no checkpoint and 30 seconds left.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let job = Job {
            id: "00000000-0000-7000-8000-000000000001".into(),
            name: "test".into(),
            tenant: "default".into(),
            plugin: "test".into(),
            version: "0.1.0".into(),
            handler: "handle".into(),
            attempt: 1,
            max_attempts: 4,
            run: 1,
            idempotency_key: "00000000-0000-7000-8000-000000000001".into(),
            created_on: 1_735_689_600_000,
            deadline: 1_735_689_630_000,
            correlation_id: "00000000-0000-7000-8000-000000000001".into(),
            depth: 1,
            tags: Vec::new(),
            event: None,
        };
        TestHost { job, state: State::default() }
    }

    /// Changes the job that the handler sees.
    pub fn job(mut self, change: impl FnOnce(&mut Job)) -> Self {
        change(&mut self.job);
        self
    }

    /// The event that caused the job.
    pub fn event(self, event: Event) -> Self {
        self.job(|job| job.event = Some(event))
    }

    /// A setting that the operator made.
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.state.config.insert(key.into(), value.into());
        self
    }

    /// What the next polls answer, one each; the last one stays.
    pub fn signals(mut self, signals: impl IntoIterator<Item = Signal>) -> Self {
        self.state.signals = signals.into_iter().collect();
        self
    }

    /// How much time the handler is told that it has left.
    pub fn remaining(mut self, time: Duration) -> Self {
        self.state.remaining = time;
        self
    }

    /// The checkpoint of an earlier run, such as [`Run::checkpoint`].
    pub fn resume(mut self, state: impl Into<Option<Vec<u8>>>) -> Self {
        self.state.resume = state.into();
        self
    }

    /// Refuses checkpoints of more bytes than this.
    pub fn checkpoint_limit(mut self, bytes: usize) -> Self {
        self.state.checkpoint_limit = bytes;
        self
    }

    /// Grants the handler pauses of this, as `grants = { pause = [...] }` does.
    pub fn grant_pause(mut self, what: Pausable) -> Self {
        self.state.pausable.push(what);
        self
    }

    /// Runs one handler on a JSON input.
    pub fn run<Arguments>(self, handler: impl Handler<Arguments>, input: Value) -> Run {
        self.run_bytes(handler, input.to_string())
    }

    /// Runs one handler on an input as it is.
    pub fn run_bytes<Arguments>(self, handler: impl Handler<Arguments>, input: impl Into<Vec<u8>>) -> Run {
        let input = input.into();
        self.observe(|job| crate::run(handler, &job, input))
    }

    /// Runs the handler of this name of a whole plug-in, which is the `Exports` that [`export!`](crate::export) adds.
    pub fn dispatch<P: Plugin>(self, handler: &str, input: impl Into<Vec<u8>>) -> Run {
        let input = input.into();
        self.job(|job| job.handler = handler.into()).observe(|job| P::handle(job, input))
    }

    fn observe(self, call: impl FnOnce(Job) -> Result<Outcome>) -> Run {
        HOST.set(self.state);
        let result = call(self.job);
        let State { logs, progress, checkpoint, pauses, .. } = HOST.take();
        Run { result, logs, progress, checkpoint, pauses }
    }
}

impl Run {
    /// The outcome. Panics, with the failure, if the handler failed.
    pub fn outcome(&self) -> &Outcome {
        match &self.result {
            Ok(outcome) => outcome,
            Err(failure) => panic!("the handler failed: {failure}"),
        }
    }

    /// The output as it is. Panics if the handler did not succeed.
    pub fn output_bytes(&self) -> &[u8] {
        match self.outcome() {
            Outcome::Succeeded(output) => output,
            other => panic!("the handler did not succeed: {other:?}"),
        }
    }

    /// The output as JSON. Panics if the handler did not succeed or its output is no JSON.
    pub fn output(&self) -> Value {
        serde_json::from_slice(self.output_bytes()).expect("the output is JSON")
    }

    /// The failure. Panics if the handler did not fail.
    pub fn failure(&self) -> &Failure {
        match &self.result {
            Ok(Outcome::Retry(failure)) | Err(failure) => failure,
            Ok(outcome) => panic!("the handler did not fail: {outcome:?}"),
        }
    }
}

pub(crate) fn log(level: Level, context: &str, message: &str) {
    let line = LogLine { level, context: context.into(), message: message.into() };
    HOST.with_borrow_mut(|host| host.logs.push(line));
}

pub(crate) fn poll() -> Signal {
    HOST.with_borrow_mut(|host| match host.signals.len() {
        0 | 1 => host.signals.front().copied().unwrap_or_default(),
        _ => host.signals.pop_front().unwrap_or_default(),
    })
}

pub(crate) fn remaining_ms() -> u64 {
    HOST.with_borrow(|host| host.remaining.as_millis() as u64)
}

pub(crate) fn progress(done: u64, total: Option<u64>, note: Option<&str>) {
    let progress = Progress { done, total, note: note.map(str::to_owned) };
    HOST.with_borrow_mut(|host| host.progress.push(progress));
}

pub(crate) fn checkpoint(state: &[u8]) -> Result<(), String> {
    HOST.with_borrow_mut(|host| {
        if state.len() > host.checkpoint_limit {
            return Err(format!("the checkpoint has {} bytes, the limit is {}", state.len(), host.checkpoint_limit));
        }
        host.checkpoint = Some(state.to_vec());
        Ok(())
    })
}

pub(crate) fn resume_state() -> Option<Vec<u8>> {
    HOST.with_borrow(|host| host.resume.clone())
}

pub(crate) fn pause(what: Pausable, end: PauseEnd, reason: &str) -> Result<Option<SystemTime>> {
    HOST.with_borrow_mut(|host| {
        if !host.pausable.contains(&what) {
            let word = match what {
                Pausable::Plugin => "plugin",
                Pausable::Queue => "queue",
            };
            let told =
                format!("it may not pause its {word}; to allow it here: TestHost::grant_pause(Pausable::{what:?})");
            return Err(Failure::user_fixable(told).code("pause-not-granted"));
        }
        let now = SystemTime::now();
        let until = match end {
            PauseEnd::At(time) => Some(time),
            PauseEnd::After(span) => now.checked_add(span),
        };
        let until =
            until.filter(|until| *until > now && until.duration_since(now).is_ok_and(|ahead| ahead <= PAUSE_MAX));
        if until.is_none() || host.pauses.len() >= PAUSES_MAX {
            let told = "the pause would end in the past, or more than 7 days from now, or it is the ninth of this run";
            return Err(Failure::fatal(told).code("pause-refused"));
        }
        host.pauses.push(Pause { what, end, reason: reason.to_owned() });
        Ok(until)
    })
}

pub(crate) fn config_get(key: &str) -> Result<Option<String>, String> {
    HOST.with_borrow(|host| Ok(host.config.get(key).cloned()))
}

pub(crate) fn config_all() -> Result<Vec<(String, String)>, String> {
    HOST.with_borrow(|host| Ok(host.config.clone().into_iter().collect()))
}
