//! The attempts that this host holds now, and the line to each.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::change::Change;
use crate::domain::id::JobKey;
use crate::domain::job::{Progress, Status};
use crate::domain::time::Timestamp;
use crate::sandbox::{LiveLog, Signal, SignalLine};

#[derive(Default)]
struct Entry {
    signals: SignalLine,
    progress: Option<Progress>,
    /// When a handler that was asked to cancel is stopped.
    stop_on: Option<Timestamp>,
}

/// A run: the job and the fence that it was claimed under.
pub(crate) type Place = (JobKey, u32);

/// One entry for each attempt that is claimed, whether it has a slot already or waits for one.
#[derive(Default)]
pub struct Running {
    entries: Mutex<BTreeMap<Place, Entry>>,
    /// What all were asked for; whoever is entered later hears it, too.
    of_all: SignalLine,
    signaled: tokio::sync::Notify,
}

/// The entry of one attempt; dropping it takes the attempt out.
pub(crate) struct Entered {
    running: Arc<Running>,
    place: Place,
    signals: SignalLine,
}

impl Entered {
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn signals(&self) -> &SignalLine {
        &self.signals
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.running.entries.lock().remove(&self.place);
    }
}

impl Running {
    /// Enters an attempt. Done before its claim is written, so that no wish of a person can miss it. None when it is here
    /// already: then the claim is a second one of the same job, and the line belongs to the first.
    pub(crate) fn enter(self: &Arc<Self>, place: Place) -> Option<Entered> {
        let mut entries = self.entries.lock();
        let Slot::Vacant(slot) = entries.entry(place) else { return None };
        let signals = SignalLine::default();
        signals.raise(self.of_all.signal());
        slot.insert(Entry { signals: signals.clone(), ..Entry::default() });
        drop(entries);
        Some(Entered { running: Arc::clone(self), place, signals })
    }

    /// Whether an attempt is here, from its claim until its end is written.
    pub fn holds(&self, job: JobKey, fence: u32) -> bool {
        self.entries.lock().contains_key(&(job, fence))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of the jobs, earliest submission first.
    pub fn some(&self, limit: usize) -> Vec<JobKey> {
        let mut keys: Vec<_> = self.entries.lock().keys().map(|(job, _)| *job).collect();
        keys.dedup();
        keys.truncate(limit);
        keys
    }

    /// Takes the changes of one commit: whoever was told to cancel hears it, even when the caller who told it is gone.
    pub fn committed(&self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Advance { job, next, .. } if next.status == Status::Canceling => {
                    self.raise(*job, Signal::Cancel)
                }
                Change::Advance { job, next, .. } if next.status == Status::Pausing => self.raise(*job, Signal::Pause),
                _ => {}
            }
        }
    }

    /// Asks one handler for something.
    pub fn raise(&self, job: JobKey, signal: Signal) {
        self.entries.lock().range(runs_of(job)).for_each(|(_, entry)| entry.signals.raise(signal));
        self.signaled.notify_one();
    }

    /// Asks all handlers for something, those to come included.
    pub fn raise_all(&self, signal: Signal) {
        self.of_all.raise(signal);
        self.entries.lock().values().for_each(|entry| entry.signals.raise(signal));
    }

    /// Waits until somebody raised a signal.
    pub async fn signaled(&self) {
        self.signaled.notified().await;
    }

    /// Stops the handlers that were asked to cancel `grace` ago, and tells when the next is to be stopped.
    pub fn press(&self, now: Timestamp, grace: Duration) -> Option<Timestamp> {
        let mut entries = self.entries.lock();
        let asked = entries.values_mut().filter(|entry| entry.signals.signal() == Signal::Cancel);
        let mut next: Option<Timestamp> = None;
        for entry in asked {
            // One that lies further ahead was set before the clock was set back.
            let latest = now.after(grace);
            let stop_on = entry.stop_on.map_or(latest, |stop_on| stop_on.min(latest));
            entry.stop_on = Some(stop_on);
            if stop_on <= now {
                entry.signals.raise(Signal::Kill);
            } else {
                next = Some(next.map_or(stop_on, |earlier| earlier.min(stop_on)));
            }
        }
        next
    }

    /// Remembers how far a handler says it has come.
    pub(crate) fn set_progress(&self, place: Place, progress: Progress) {
        if let Some(entry) = self.entries.lock().get_mut(&place) {
            entry.progress = Some(progress);
        }
    }

    /// How far a handler says it has come.
    pub fn progress(&self, job: JobKey) -> Option<Progress> {
        self.entries.lock().range(runs_of(job)).next_back()?.1.progress.clone()
    }

    /// What one run logs while it goes on; none when it is not here or has not started.
    pub fn log(&self, job: JobKey, fence: u32) -> Option<Arc<dyn LiveLog>> {
        self.entries.lock().get(&(job, fence))?.signals.log()
    }
}

fn runs_of(job: JobKey) -> std::ops::RangeInclusive<Place> {
    (job, 0)..=(job, u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Sequence, TenantId};
    use crate::domain::job::JobState;

    const PLACE: Place = (JobKey { tenant: TenantId::DEFAULT, sequence: Sequence(7) }, 1);

    #[test]
    fn a_second_claim_of_a_run_leaves_the_line_of_the_first_alone() {
        let running = Arc::<Running>::default();
        let first = running.enter(PLACE).expect("nobody is there yet");
        assert!(running.enter(PLACE).is_none());
        running.raise(PLACE.0, Signal::Cancel);
        assert_eq!(first.signals().signal(), Signal::Cancel);
        drop(first);
        assert!(running.is_empty());
    }

    #[test]
    fn who_enters_after_a_shutdown_was_raised_hears_it() {
        let running = Arc::<Running>::default();
        running.raise_all(Signal::Shutdown);
        let late = running.enter(PLACE).expect("nobody is there yet");
        assert_eq!(late.signals().signal(), Signal::Shutdown);
    }

    #[test]
    fn a_canceling_commit_reaches_the_handler_whoever_made_it() {
        let running = Arc::<Running>::default();
        let entered = running.enter(PLACE).expect("nobody is there yet");
        let next = Box::new(JobState { status: Status::Canceling, ..JobState::default() });
        running.committed(&[Change::Advance { job: PLACE.0, expected: 1, next, earlier_run: None }]);
        assert_eq!(entered.signals().signal(), Signal::Cancel);
    }
}
