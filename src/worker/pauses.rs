//! Pauses of queues and plug-ins, as a running handler asks for them, and how the one of a queue is written.

use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::advice::Sides;
use crate::domain::change::Change;
use crate::domain::host_call::HostAnswer;
use crate::domain::id::QueueName;
use crate::domain::job::Submission;
use crate::domain::pausing::{self, Pausable, PauseRefusal, PauseRequest};
use crate::domain::queue::{Pause, QueueState};
use crate::registry::{Registry, Runnable};
use crate::store::{CommitError, ReadError, Store};

/// How often a pause is decided again when somebody else changed the queue in between.
const ATTEMPTS: usize = 16;

/// Why the pause of a queue was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueuePauseError {
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Writes what `decide` makes of the present pause of a queue: another one, none, or nothing where it leaves it as it is.
/// Returns the pause that the queue has then.
pub async fn change_queue_pause(
    store: &dyn Store,
    name: &QueueName,
    decide: impl Fn(Option<&Pause>) -> Option<Option<Pause>>,
) -> Result<Option<Pause>, QueuePauseError> {
    let mut conflict = CommitError::Conflict { index: 0 };
    for _ in 0..ATTEMPTS {
        let stored = store.queues()?.into_iter().find(|queue| queue.name == *name);
        let (revision, before) = stored.map_or((0, None), |queue| (queue.revision, queue.pause));
        let Some(pause) = decide(before.as_ref()) else { return Ok(before) };
        let next = QueueState { name: name.clone(), revision: revision + 1, pause: pause.clone() };
        match store.commit(vec![Change::put(next)]).await {
            Ok(()) => return Ok(pause),
            Err(error @ CommitError::Conflict { .. }) => conflict = error,
            Err(error) => return Err(error.into()),
        }
    }
    Err(conflict.into())
}

/// The pauses that one run asks for.
pub(super) struct Pauses {
    pub(super) store: Arc<dyn Store>,
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) runnable: Arc<Runnable>,
    pub(super) job: Arc<Submission>,
    pub(super) asked: u32,
}

impl Pauses {
    /// Pauses, or says why not. It holds as soon as this returns, whatever becomes of the attempt: who is told to come back
    /// tomorrow ends with an error, and that must not undo it.
    pub(super) async fn ask(&mut self, request: &PauseRequest) -> HostAnswer {
        match self.paused(request).await {
            Ok(pause) => HostAnswer::Paused(pause.until),
            Err(refusal) => HostAnswer::NotPaused(refusal),
        }
    }

    async fn paused(&mut self, request: &PauseRequest) -> Result<Pause, PauseRefusal> {
        let Submission { id, plugin, tenant, queue, .. } = &*self.job;
        let now = self.clock.now();
        let sides = Sides::of(plugin, &self.runnable.version, &self.runnable.policy);
        let asked = pausing::granted(request, &self.runnable.grants, sides, *id, self.asked, now)?;
        self.asked += 1;
        let unless_as_long = |present: Option<&Pause>| {
            let is_new = pausing::takes_place_of(&asked, present, now);
            is_new.then(|| asked.clone())
        };
        let unavailable = |error: &dyn std::fmt::Display| PauseRefusal::Unavailable(error.to_string());
        let holds = match request.what {
            Pausable::Plugin => {
                let paused = self.registry.pause_as(*tenant, plugin, unless_as_long).await;
                paused.map_err(|error| unavailable(&error))?.pause.clone()
            }
            Pausable::Queue => {
                let paused = change_queue_pause(&*self.store, queue, |present| unless_as_long(present).map(Some)).await;
                paused.map_err(|error| unavailable(&error))?
            }
        };
        let holds = holds.ok_or_else(|| PauseRefusal::Unavailable("it was resumed at the same moment".to_owned()))?;
        if holds == asked {
            tracing::info!(what = %request.what, %plugin, %queue, pause = %holds, "a handler has paused");
        }
        Ok(holds)
    }
}
