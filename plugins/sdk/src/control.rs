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

use std::time::Duration;

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

/// Like [`checkpoint`], for bytes in a form of your own.
pub fn checkpoint_bytes(state: &[u8]) -> Result<()> {
    host::checkpoint(state).map_err(|reason| Failure::fatal(reason).code("checkpoint-refused"))
}

/// Like [`resume`], for bytes in a form of your own.
pub fn resume_bytes() -> Option<Vec<u8>> {
    host::resume_state()
}
