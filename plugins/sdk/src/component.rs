//! The real host: the contract in `wit/`, and the way between its types and ours.

use std::io::Write as _;
use std::sync::Once;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::control::{Pausable, PauseEnd, Signal};
use crate::logging::Level;
use crate::{ErrorClass, Event, Failure, Job, Outcome, Plugin, Wake};

/// What `wit-bindgen` makes of the contract.
#[allow(missing_docs)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "plugin",
        pub_export_macro: true,
        export_macro_name: "export_component",
        generate_all,
    });
}

pub use bindings::export_component;

use bindings::backroom::plugin::{control, types};
use bindings::exports::backroom::plugin::handler;
use bindings::wasi::config::store;
use bindings::wasi::logging::logging;

impl<P: Plugin> handler::Guest for P {
    fn handle(job: types::Job, input: Vec<u8>) -> Result<handler::Outcome, types::Failure> {
        write_out_before_a_panic();
        let ended = P::handle(job.into(), input);
        write_out();
        match ended {
            Ok(outcome) => Ok(outcome.into()),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// Writes out what `print!` has kept back: the last line where it has no end. A component has no exit that would do it.
fn write_out() {
    // Whatever becomes of the log, the outcome of the handler stands.
    let _written = std::io::stdout().flush();
}

/// A panic ends the component at once, so what was printed goes out before its message does.
fn write_out_before_a_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            write_out();
            usual(panic);
        }));
    });
}

pub(crate) fn log(level: Level, context: &str, message: &str) {
    let level = match level {
        Level::Trace => logging::Level::Trace,
        Level::Debug => logging::Level::Debug,
        Level::Info => logging::Level::Info,
        Level::Warn => logging::Level::Warn,
        Level::Error => logging::Level::Error,
        Level::Critical => logging::Level::Critical,
    };
    logging::log(level, context, message);
}

pub(crate) fn poll() -> Signal {
    match control::poll() {
        control::Signal::None => Signal::None,
        control::Signal::Pause => Signal::Pause,
        control::Signal::Cancel => Signal::Cancel,
        control::Signal::Shutdown => Signal::Shutdown,
    }
}

pub(crate) fn remaining_ms() -> u64 {
    control::remaining_ms()
}

pub(crate) fn progress(done: u64, total: Option<u64>, note: Option<&str>) {
    control::progress(done, total, note);
}

pub(crate) fn checkpoint(state: &[u8]) -> Result<(), String> {
    control::checkpoint(state)
}

pub(crate) fn resume_state() -> Option<Vec<u8>> {
    control::resume_state()
}

pub(crate) fn pause(what: Pausable, end: PauseEnd, reason: &str) -> crate::Result<Option<SystemTime>> {
    let what = match what {
        Pausable::Plugin => control::Pausable::Plugin,
        Pausable::Queue => control::Pausable::Queue,
    };
    let end = match end {
        PauseEnd::At(time) => control::PauseEnd::At(millis(time)),
        PauseEnd::After(span) => control::PauseEnd::AfterMs(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
    };
    let until = control::pause(what, end, reason).map_err(|error| match error {
        control::PauseError::NotGranted(why) => Failure::user_fixable(why).code("pause-not-granted"),
        control::PauseError::Unacceptable(why) => Failure::fatal(why).code("pause-refused"),
        control::PauseError::Unavailable(why) => Failure::transient(why).code("pause-unavailable"),
    })?;
    Ok(until.map(time))
}

/// As the contract counts time; what is too far away is the farthest that it knows.
fn millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

fn time(millis: i64) -> SystemTime {
    let span = Duration::from_millis(millis.unsigned_abs());
    let time = if millis < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
    time.unwrap_or(UNIX_EPOCH)
}

pub(crate) fn config_get(key: &str) -> Result<Option<String>, String> {
    store::get(key).map_err(reason)
}

pub(crate) fn config_all() -> Result<Vec<(String, String)>, String> {
    store::get_all().map_err(reason)
}

fn reason(error: store::Error) -> String {
    match error {
        store::Error::Upstream(reason) | store::Error::Io(reason) => reason,
    }
}

impl From<types::Job> for Job {
    fn from(job: types::Job) -> Self {
        Job {
            id: job.id,
            name: job.name,
            tenant: job.tenant,
            plugin: job.plugin,
            version: job.version,
            handler: job.handler,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            run: job.run,
            idempotency_key: job.idempotency_key,
            created_on: job.created_on,
            deadline: job.deadline,
            correlation_id: job.correlation_id,
            depth: job.depth,
            tags: job.tags,
            event: job.event.map(Event::from),
        }
    }
}

impl From<types::Event> for Event {
    fn from(event: types::Event) -> Self {
        Event { message: event.message, entity: event.entity, id: event.id, data: event.data, images: event.images }
    }
}

impl From<Outcome> for handler::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded(output) => handler::Outcome::Succeeded(output.0),
            Outcome::Canceled(reason) => handler::Outcome::Canceled(reason),
            Outcome::Retry(failure) => handler::Outcome::Retry(handler::Later {
                after_ms: failure.retry_after.map(|after| after.as_millis().try_into().unwrap_or(u64::MAX)),
                failure: failure.into(),
            }),
            Outcome::Suspended(Wake::At(time)) => handler::Outcome::Suspended(handler::Wake::At(time)),
            Outcome::Suspended(Wake::Event(name)) => handler::Outcome::Suspended(handler::Wake::Event(name)),
            Outcome::Yielded => handler::Outcome::Yielded,
        }
    }
}

impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> Self {
        types::Failure {
            class: failure.class.map(types::ErrorClass::from),
            code: failure.code,
            message: failure.message,
            detail: failure.detail,
        }
    }
}

impl From<ErrorClass> for types::ErrorClass {
    fn from(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Transient => types::ErrorClass::Transient,
            ErrorClass::Throttled => types::ErrorClass::Throttled,
            ErrorClass::UserFixable => types::ErrorClass::UserFixable,
            ErrorClass::Business => types::ErrorClass::Business,
            ErrorClass::Fatal => types::ErrorClass::Fatal,
        }
    }
}
