//! How a running handler and its host steer each other.
//!
//! Work that takes long is cut into units, with a question between them:
//!
//! ```
//! # use backroom_sdk::prelude::*;
//! use backroom_sdk::control::{self, Signal};
//!
//! fn count_to(goal: u64) -> Result<Outcome<u64>> {
//!     let mut done: u64 = control::resume()?.unwrap_or(0);
//!     while done < goal {
//!         done += 1;
//!         control::progress(done, Some(goal));
//!         match control::poll() {
//!             Signal::None => {}
//!             Signal::Cancel => return Ok(Outcome::Canceled(format!("stopped at {done}"))),
//!             Signal::Pause | Signal::Shutdown => {
//!                 control::checkpoint(&done)?;
//!                 return Ok(Outcome::Yielded);
//!             }
//!         }
//!     }
//!     Ok(Outcome::Succeeded(done))
//! }
//! ```

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Classify, Failure, Result, host};

/// What the host would like a handler to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Signal {
    /// Go on.
    #[default]
    None,
    /// Somebody paused the job: keep a checkpoint and yield.
    Pause,
    /// Somebody canceled the job: end as canceled.
    Cancel,
    /// The host wants to stop: keep a checkpoint and yield.
    Shutdown,
}

/// What the host would like; ask between units of work. A handler that never asks is stopped all the same, but has no say
/// in what it leaves behind.
pub fn poll() -> Signal {
    host::poll()
}

/// Time left before the wall-clock limit stops this run.
pub fn remaining() -> Duration {
    Duration::from_millis(host::remaining_ms())
}

/// Shows on the job how far it is: `done` units, of `total` if that is known.
pub fn progress(done: u64, total: Option<u64>) {
    host::progress(done, total, None);
}

/// Like [`progress`], with a few words on what is being done.
pub fn progress_with_note(done: u64, total: Option<u64>, note: &str) {
    host::progress(done, total, Some(note));
}

/// Keeps a value with the job, as JSON. It lands with the end of this run (success, yield, suspension or a pause) and is
/// what [`resume`] returns in the next.
pub fn checkpoint(state: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(state).fatal().code("invalid-checkpoint")?;
    checkpoint_bytes(&bytes)
}

/// What the last [`checkpoint`] of this job kept; nothing on its first run. A state that this version of the handler cannot
/// read is a fatal failure `invalid-checkpoint`.
pub fn resume<T: DeserializeOwned>() -> Result<Option<T>> {
    let Some(bytes) = resume_bytes() else { return Ok(None) };
    serde_json::from_slice(&bytes).map_err(|error| {
        // What serde says may quote the state, which not everybody may see who sees messages.
        Failure::fatal("the checkpoint of an earlier run is not what this handler keeps")
            .code("invalid-checkpoint")
            .detail(error.to_string())
    })
}

/// What a handler may pause, each by a grant of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pausable {
    /// Its own plug-in. `wants = { pause = ["plugin"] }` in `plugin.toml`.
    Plugin,
    /// The queue that the job is in, with the jobs of all plug-ins there. `wants = { pause = ["queue"] }`.
    Queue,
}

/// When a pause ends by itself: 7 days from now at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseEnd {
    /// At this time.
    At(SystemTime),
    /// So long from now, as a `Retry-After` in seconds says.
    After(Duration),
}

impl From<SystemTime> for PauseEnd {
    fn from(time: SystemTime) -> Self {
        PauseEnd::At(time)
    }
}

impl From<Duration> for PauseEnd {
    fn from(span: Duration) -> Self {
        PauseEnd::After(span)
    }
}

/// Starts no more jobs of the plug-in or of the queue until then, such as when a provider's limit is used up and resets at
/// midnight. Jobs that run go on, and none fails or is canceled; people see who has paused, until when, and why.
///
/// It holds at once and whatever becomes of this attempt, so end with a retry after it. It makes no pause shorter. Returns when
/// the pause ends that holds now; `None` is one that somebody else made and must end.
///
/// Refusals: `pause-not-granted` (user-fixable; the message says what to add where), `pause-refused` (fatal; the end has passed
/// or is too far away, or the run has asked 8 times), `pause-unavailable` (transient).
///
/// ```
/// # use backroom_sdk::prelude::*;
/// # use std::time::Duration;
/// use backroom_sdk::control::Pausable;
///
/// fn send(used_up_for: Option<Duration>) -> Result<()> {
///     if let Some(span) = used_up_for {
///         control::pause(Pausable::Plugin, span, "the provider's quota is used up")?;
///         return Err(Failure::throttled("the provider's quota is used up", span));
///     }
///     Ok(())
/// }
/// ```
pub fn pause(what: Pausable, end: impl Into<PauseEnd>, reason: &str) -> Result<Option<SystemTime>> {
    host::pause(what, end.into(), reason)
}

/// Like [`checkpoint`], for bytes in a form of your own.
pub fn checkpoint_bytes(state: &[u8]) -> Result<()> {
    host::checkpoint(state).map_err(|reason| Failure::fatal(reason).code("checkpoint-refused"))
}

/// Like [`resume`], for bytes in a form of your own.
pub fn resume_bytes() -> Option<Vec<u8>> {
    host::resume_state()
}
