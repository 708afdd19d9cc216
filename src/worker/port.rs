//! Answers what one attempt's guest asks of durable state, from the store and from what the attempt wrote itself.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Running;
use super::pauses::Pauses;
use super::running::Place;
use crate::domain::host_call::{HostAnswer, HostCall};
use crate::domain::job::{Payload, Progress};
use crate::resources::blocking;
use crate::sandbox::{BoxFuture, HostPort};
use crate::store::{Store, payload_bytes};

/// The longest note that a progress report keeps, in characters.
const NOTE_CHARS_MAX: usize = 200;

/// What a guest has written during its run; lands with the run's end or not at all. A pause is none of it: that holds at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) progress: Option<Progress>,
    pub(crate) checkpoint: Option<Bytes>,
}

/// The port of one attempt.
pub(crate) struct AttemptPort {
    place: Place,
    store: Arc<dyn Store>,
    running: Arc<Running>,
    former_checkpoint: Option<Payload>,
    checkpoint_bytes_max: u64,
    written: Arc<Mutex<Written>>,
    pauses: Pauses,
}

impl AttemptPort {
    pub(crate) fn new(
        place: Place,
        store: Arc<dyn Store>,
        running: Arc<Running>,
        former_checkpoint: Option<Payload>,
        checkpoint_bytes_max: u64,
        pauses: Pauses,
    ) -> (Self, Arc<Mutex<Written>>) {
        let written = Arc::<Mutex<Written>>::default();
        let kept = Arc::clone(&written);
        let port = Self { place, store, running, former_checkpoint, checkpoint_bytes_max, written: kept, pauses };
        (port, written)
    }

    fn progress(&self, mut progress: Progress) -> HostAnswer {
        progress.note = progress.note.map(|note| note.chars().take(NOTE_CHARS_MAX).collect());
        self.running.set_progress(self.place, progress.clone());
        self.written.lock().progress = Some(progress);
        HostAnswer::Done
    }

    fn checkpoint(&self, state: Bytes) -> HostAnswer {
        let limit = self.checkpoint_bytes_max;
        if state.len() as u64 > limit {
            return HostAnswer::Refused(format!("the checkpoint has {} bytes, the limit is {limit}", state.len()));
        }
        self.written.lock().checkpoint = Some(state);
        HostAnswer::Done
    }

    async fn resume_state(&self) -> HostAnswer {
        let own = self.written.lock().checkpoint.clone();
        let (None, Some(former)) = (&own, self.former_checkpoint.clone()) else { return HostAnswer::Bytes(own) };
        if let Payload::Inline(bytes) = former {
            return HostAnswer::Bytes(Some(bytes));
        }
        let store = Arc::clone(&self.store);
        match blocking(move || payload_bytes(&*store, &former)).await {
            Ok(Ok(bytes)) => HostAnswer::Bytes(Some(bytes)),
            Ok(Err(error)) => HostAnswer::Refused(error.to_string()),
            Err(error) => HostAnswer::Refused(error.to_string()),
        }
    }
}

impl HostPort for AttemptPort {
    fn call(&mut self, call: HostCall) -> BoxFuture<'_, HostAnswer> {
        Box::pin(async move {
            match call {
                HostCall::Progress(progress) => self.progress(progress),
                HostCall::Checkpoint(state) => self.checkpoint(state),
                HostCall::ResumeState => self.resume_state().await,
                HostCall::Pause(request) => self.pauses.ask(&request).await,
            }
        })
    }
}
