//! The attempts that run on this host now, and the line to each.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::id::JobKey;
use crate::domain::job::Progress;
use crate::domain::time::Timestamp;
use crate::sandbox::{Signal, SignalLine};

#[derive(Default)]
struct Entry {
    signals: SignalLine,
    progress: Option<Progress>,
    /// When a handler that was asked to cancel is stopped.
    stop_on: Option<Timestamp>,
}

/// One entry for each attempt under way.
#[derive(Default)]
pub struct Running {
    entries: Mutex<HashMap<JobKey, Entry>>,
    signaled: tokio::sync::Notify,
}

impl Running {
    /// Enters an attempt.
    pub fn enter(&self, job: JobKey, signals: SignalLine) {
        self.entries.lock().insert(job, Entry { signals, ..Entry::default() });
    }

    /// Takes an attempt out.
    pub fn leave(&self, job: JobKey) {
        self.entries.lock().remove(&job);
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
        let mut keys: Vec<_> = self.entries.lock().keys().copied().collect();
        keys.sort_unstable();
        keys.truncate(limit);
        keys
    }

    /// Asks one handler for something.
    pub fn raise(&self, job: JobKey, signal: Signal) {
        if let Some(entry) = self.entries.lock().get(&job) {
            entry.signals.raise(signal);
        }
        self.signaled.notify_one();
    }

    /// Asks all handlers for something.
    pub fn raise_all(&self, signal: Signal) {
        self.entries.lock().values().for_each(|entry| entry.signals.raise(signal));
    }

    /// Stops one handler at once.
    pub fn stop(&self, job: JobKey) {
        self.raise(job, Signal::Kill);
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
            let stop_on = *entry.stop_on.get_or_insert(now.after(grace));
            if stop_on <= now {
                entry.signals.raise(Signal::Kill);
            } else {
                next = Some(next.map_or(stop_on, |earlier| earlier.min(stop_on)));
            }
        }
        next
    }

    /// Remembers how far a handler says it has come.
    pub fn set_progress(&self, job: JobKey, progress: Progress) {
        if let Some(entry) = self.entries.lock().get_mut(&job) {
            entry.progress = Some(progress);
        }
    }

    /// How far a handler says it has come.
    pub fn progress(&self, job: JobKey) -> Option<Progress> {
        self.entries.lock().get(&job)?.progress.clone()
    }
}
