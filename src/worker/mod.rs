//! Runs jobs: claims what may start, gives each attempt to the sandbox, and writes what came of it.

mod advance;
mod attempt;
mod claim;
mod departed;
mod lanes;
mod pauses;
mod pool;
mod port;
mod running;
mod turnover;
mod window;

use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::id::HostId;
use crate::registry::Registry;
use crate::sandbox::Sandbox;
use crate::store::Store;

pub use advance::{Advance, Identities};
pub use attempt::Finished;
pub use claim::{Claim, Claimed};
pub use pauses::{QueuePauseError, change_queue_pause};
pub(crate) use pool::Drain;
pub use pool::{Pool, PoolSettings, Slots};
pub use running::Running;
pub use window::{QueueNow, Started, Window};

/// The steps of an attempt, without the loop around them: claim, run, finish.
pub struct Worker {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    registry: Arc<Registry>,
    sandbox: Arc<dyn Sandbox>,
    running: Arc<Running>,
    advance: Advance,
    host: HostId,
}

impl Worker {
    /// Joins the parts. `host` is this start of the host.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        registry: Arc<Registry>,
        sandbox: Arc<dyn Sandbox>,
        running: Arc<Running>,
        advance: Advance,
        host: HostId,
    ) -> Self {
        Self { store, clock, registry, sandbox, running, advance, host }
    }
}
