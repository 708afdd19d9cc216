//! Writes what a transition makes of a job, together with all that follows from it: one commit for whoever decides.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::departed::Departed;
use crate::domain::change::Change;
use crate::domain::hash;
use crate::domain::id::{JobId, JobKey, Sequence};
use crate::domain::job::transition::Next;
use crate::domain::job::{Job, consequences};
use crate::domain::time::Timestamp;
use crate::store::{Pending, Store};

/// Gives new jobs their identities.
#[derive(Clone)]
pub struct Identities {
    store: Arc<dyn Store>,
    salt: u64,
    turn: Arc<Mutex<()>>,
}

impl Identities {
    /// `salt` makes identities hard to guess; any number will do.
    pub fn new(store: Arc<dyn Store>, salt: u64) -> Self {
        Self { store, salt, turn: Arc::default() }
    }

    /// Held from the number of a job with an ordering key to its place in the order of commits: who comes to a key is
    /// younger than all that are there already (I6, I7).
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// The identity of the next job.
    pub fn next(&self, now: Timestamp) -> JobId {
        self.of(self.store.reserve(1), now)
    }

    /// The identity of the job number `sequence`.
    pub fn of(&self, sequence: Sequence, now: Timestamp) -> JobId {
        JobId::new(now, sequence, salt(self.salt, sequence))
    }

    /// Takes `count` consecutive sequence numbers and returns the first.
    pub fn reserve(&self, count: u64) -> Sequence {
        self.store.reserve(count)
    }
}

/// The low bits of a mixed number.
fn salt(seed: u64, sequence: Sequence) -> u16 {
    let mixed = hash::mixed(seed ^ sequence.0.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    u16::try_from(mixed & 0x3fff).unwrap_or(0)
}

/// Commits transitions.
#[derive(Clone)]
pub struct Advance {
    store: Arc<dyn Store>,
    identities: Identities,
    departed: Arc<Departed>,
}

impl Advance {
    /// Writes to `store`; jobs that follow others get their identities from `identities`.
    pub fn new(store: Arc<dyn Store>, identities: Identities) -> Self {
        Self { store, identities, departed: Arc::default() }
    }

    /// The last state of a job that was deleted with its end a moment ago.
    pub fn departed(&self, job: JobKey) -> Option<Job> {
        self.departed.find(job)
    }

    /// What gives new jobs their identities.
    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Everything that has to be written when `present` becomes `next`; nothing when nothing changes.
    pub fn changes(&self, present: &Job, next: Next, now: Timestamp) -> Vec<Change> {
        let (job, expected) = (present.submission.key(), present.state.revision);
        match next {
            Next::Unchanged => Vec::new(),
            Next::Gone { .. } => vec![Change::Delete { job, expected }],
            Next::Changed { state, earlier_run, .. } => {
                let following = match state.status.is_final() {
                    true => consequences(&present.submission, &state, now, || self.identities.next(now)),
                    false => Vec::new(),
                };
                if following.iter().any(|change| matches!(change, Change::Delete { .. })) {
                    self.departed.note(Job { submission: Arc::clone(&present.submission), state: (*state).clone() });
                }
                let advance = Change::Advance { job, expected, next: state, earlier_run };
                [advance].into_iter().chain(following).collect()
            }
        }
    }

    /// Commits all that; none when nothing changes.
    pub fn commit(&self, present: &Job, next: Next, now: Timestamp) -> Option<Pending> {
        let changes = self.changes(present, next, now);
        (!changes.is_empty()).then(|| self.store.commit(changes))
    }
}
