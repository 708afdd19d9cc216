//! Jobs of a lane that wait for a run of their concurrency key to end. They do not stand in the way of the others.

use std::collections::BTreeMap;

use super::window::Place;
use crate::domain::id::ConcurrencyKey;
use crate::domain::job::Job;

/// See the module.
#[derive(Default)]
pub(super) struct Parked {
    by_key: BTreeMap<ConcurrencyKey, BTreeMap<Place, Job>>,
    count: usize,
}

impl Parked {
    /// Takes a job.
    pub(super) fn park(&mut self, key: ConcurrencyKey, place: Place, job: Job) {
        if self.by_key.entry(key).or_default().insert(place, job).is_none() {
            self.count += 1;
        }
    }

    /// Puts `job` in the place of what it holds of that job. False when it holds nothing of it.
    pub(super) fn renew(&mut self, place: Place, job: &Job) -> bool {
        let key = job.submission.ties().concurrency_key.as_ref();
        let parked = key.and_then(|key| self.by_key.get_mut(key)?.get_mut(&place));
        parked.map(|parked| *parked = job.clone()).is_some()
    }

    /// Gives out the first job of a key.
    pub(super) fn release(&mut self, key: &ConcurrencyKey) -> Option<(Place, Job)> {
        let jobs = self.by_key.get_mut(key)?;
        let released = jobs.pop_first();
        if jobs.is_empty() {
            self.by_key.remove(key);
        }
        self.count -= usize::from(released.is_some());
        released
    }

    /// The jobs that it holds.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.by_key.values().flat_map(BTreeMap::values)
    }

    /// How many jobs it holds.
    pub(super) fn len(&self) -> usize {
        self.count
    }
}
