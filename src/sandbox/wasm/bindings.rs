//! The host's side of `wit/`: what a handler may ask, and how it is called.

use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};

use super::guest::Guest;
use super::limits::Halt;
use crate::domain::host_call::{HostAnswer, HostCall};
use crate::domain::job::Progress;
use crate::domain::pausing::{Pausable, PauseEnd, PauseRefusal, PauseRequest};
use crate::domain::time::Timestamp;
use crate::sandbox::log::Source;
use crate::sandbox::{Signal, Slice, text};

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "written by a macro")]
mod generated {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "plugin",
        imports: {
            "backroom:plugin/control.progress": async | trappable,
            "backroom:plugin/control.checkpoint": async | trappable,
            "backroom:plugin/control.resume-state": async | trappable,
            "backroom:plugin/control.pause": async | trappable,
            default: trappable,
        },
        exports: { default: async },
    });
}

pub(crate) use generated::exports::backroom::plugin::handler::{Later, Outcome, Wake};
pub(crate) use generated::{PluginPre, backroom::plugin::types};

use generated::backroom::plugin::control;
use generated::wasi::{config::store, logging::logging};

/// Bytes of a note that is shown beside a progress.
const NOTE_BYTES: usize = 300;

/// Bytes of the reason of a pause that are passed on; more than are kept.
const REASON_BYTES: usize = 1_000;

/// Bytes of a setting's name that are told.
const SETTING_BYTES: usize = 200;

/// Adds everything of ours to a linker.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    control::add_to_linker::<_, HasSelf<Guest>>(linker, Guest::count_call)?;
    store::add_to_linker::<_, HasSelf<Guest>>(linker, Guest::count_call)?;
    logging::add_to_linker::<_, HasSelf<Guest>>(linker, Guest::count_call)?;
    generated::backroom::plugin::types::add_to_linker::<_, HasSelf<Guest>>(linker, Guest::count_call)
}

impl types::Host for Guest {}

impl control::Host for Guest {
    fn poll(&mut self) -> wasmtime::Result<control::Signal> {
        self.check_calls()?;
        Ok(match self.slice.signals.signal() {
            Signal::None => control::Signal::None,
            Signal::Pause => control::Signal::Pause,
            Signal::Cancel | Signal::Kill => control::Signal::Cancel,
            Signal::Shutdown => control::Signal::Shutdown,
        })
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u64> {
        self.check_calls()?;
        let left = self.deadline.saturating_duration_since(std::time::Instant::now());
        Ok(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    async fn progress(&mut self, done: u64, total: Option<u64>, note: Option<String>) -> wasmtime::Result<()> {
        let copied = note.as_ref().map_or(0, String::len);
        let note = note.map(|note| text::line(&note, NOTE_BYTES));
        self.ask("backroom:plugin/control progress", HostCall::Progress(Progress { done, total, note }), copied)
            .await?;
        Ok(())
    }

    async fn checkpoint(&mut self, state: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        let copied = state.len();
        Ok(match self.ask("backroom:plugin/control checkpoint", HostCall::Checkpoint(state.into()), copied).await? {
            HostAnswer::Refused(why) => Err(why),
            _ => Ok(()),
        })
    }

    async fn resume_state(&mut self) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(match self.ask("backroom:plugin/control resume-state", HostCall::ResumeState, 0).await? {
            HostAnswer::Bytes(state) => state.map(Vec::from),
            _ => None,
        })
    }

    async fn pause(
        &mut self,
        what: control::Pausable,
        end: control::PauseEnd,
        reason: String,
    ) -> wasmtime::Result<Result<Option<i64>, control::PauseError>> {
        let copied = reason.len();
        let what = match what {
            control::Pausable::Plugin => Pausable::Plugin,
            control::Pausable::Queue => Pausable::Queue,
        };
        let end = match end {
            control::PauseEnd::At(instant) => PauseEnd::At(Timestamp::from_millis(instant)),
            control::PauseEnd::AfterMs(ms) => PauseEnd::After(Duration::from_millis(ms)),
        };
        let request = PauseRequest { what, end, reason: text::line(&reason, REASON_BYTES) };
        Ok(match self.ask("backroom:plugin/control pause", HostCall::Pause(request), copied).await? {
            HostAnswer::Paused(until) => Ok(until.map(Timestamp::as_millis)),
            HostAnswer::NotPaused(PauseRefusal::NotGranted(why)) => Err(control::PauseError::NotGranted(why)),
            HostAnswer::NotPaused(PauseRefusal::Unacceptable(why)) => Err(control::PauseError::Unacceptable(why)),
            HostAnswer::NotPaused(PauseRefusal::Unavailable(why)) | HostAnswer::Refused(why) => {
                Err(control::PauseError::Unavailable(why))
            }
            HostAnswer::Done | HostAnswer::Bytes(_) => Err(control::PauseError::Unavailable("no answer".to_owned())),
        })
    }
}

impl Guest {
    async fn ask(&mut self, name: &'static str, call: HostCall, copied: usize) -> Result<HostAnswer, Halt> {
        self.charge(copied)?;
        self.waits_in = Some(name);
        let answer = self.port.call(call).await;
        self.waits_in = None;
        Ok(answer)
    }
}

impl logging::Host for Guest {
    fn log(&mut self, level: logging::Level, context: String, message: String) -> wasmtime::Result<()> {
        self.charge(context.len() + message.len())?;
        let source = match level {
            logging::Level::Trace => Source::Trace,
            logging::Level::Debug => Source::Debug,
            logging::Level::Info => Source::Info,
            logging::Level::Warn => Source::Warn,
            logging::Level::Error => Source::Error,
            logging::Level::Critical => Source::Critical,
        };
        self.shared.log.lock().message(source, &context, &message);
        Ok(())
    }
}

impl store::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        self.charge(key.len())?;
        let value = self.slice.config.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone());
        if value.is_none() && self.missing_setting.is_none() {
            self.missing_setting = Some(text::line(&key, SETTING_BYTES));
        }
        Ok(Ok(value))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        self.check_calls()?;
        Ok(Ok(self.slice.config.to_vec()))
    }
}

/// What a handler is told of its job.
pub(crate) fn job(slice: &Slice) -> types::Job {
    let id = slice.job.to_string();
    types::Job {
        name: slice.name.clone(),
        tenant: slice.tenant.clone(),
        plugin: slice.plugin.as_str().to_owned(),
        version: slice.version.version.as_str().to_owned(),
        handler: slice.handler.as_str().to_owned(),
        attempt: slice.attempt,
        max_attempts: slice.max_attempts,
        run: slice.run,
        idempotency_key: id.clone(),
        id,
        created_on: slice.created_on.as_millis(),
        deadline: slice.deadline.as_millis(),
        correlation_id: slice.correlation_id.to_string(),
        depth: slice.depth,
        tags: slice.tags.clone(),
        event: None,
    }
}
