//! Deciding again when somebody else was first.

use tokio::sync::{Mutex, MutexGuard};

use super::{Jobs, SubmitError};
use crate::store::CommitError;

/// How often a request is decided again when others with the same key came between.
const ATTEMPTS: u32 = 64;

/// One request among those that want the same key. From its first defeat on it decides in turn with the others that were
/// defeated, so that however many there are, each of them comes first soon.
pub(super) struct Contest<'a> {
    turns: &'a Mutex<()>,
    turn: Option<MutexGuard<'a, ()>>,
    attempts_left: u32,
}

impl Jobs {
    pub(super) fn contest(&self) -> Contest<'_> {
        Contest { turns: &self.contests, turn: None, attempts_left: ATTEMPTS }
    }
}

impl Contest<'_> {
    /// Goes on after a conflict; any other error, and one conflict too many, is the end.
    pub(super) async fn lost(&mut self, error: SubmitError) -> Result<(), SubmitError> {
        match error {
            SubmitError::Commit(CommitError::Conflict { .. }) if self.attempts_left > 1 => {
                self.attempts_left -= 1;
                if self.turn.is_none() {
                    self.turn = Some(self.turns.lock().await);
                }
                Ok(())
            }
            error => Err(error),
        }
    }
}
