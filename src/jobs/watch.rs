//! Who waits for which job to change.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use crate::domain::access::{Caller, Right};
use crate::domain::change::Change;
use crate::domain::id::{JobKey, TokenName};
use crate::domain::job::{Status, Submission};

/// How many changes a slow listener of all jobs may lie behind before it misses some, and how many one hears of that was away
/// for a moment: a page of a fast host's second.
const BROADCAST_CAPACITY: usize = 4_096;

/// How many jobs one knows the owner of without reading them.
const OWNERS_MAX: usize = 8_192;

/// A job has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobChange {
    /// Which.
    pub job: JobKey,
    /// Where it stands now; none when it was deleted.
    pub status: Option<Status>,
    /// The revision that it has now.
    pub revision: u32,
}

/// A change with its number, counted from the start of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberedChange {
    /// 0 for the first.
    pub number: u64,
    /// What has changed.
    pub change: JobChange,
}

/// The changes of all jobs from somewhere on.
pub struct AllChanges {
    /// Those that have been already, oldest first.
    pub past: Vec<JobChange>,
    /// How many before them were asked for, and are not known any more.
    pub forgotten: u64,
    /// The number of the first that comes.
    pub next: u64,
    /// Those that come.
    pub coming: broadcast::Receiver<NumberedChange>,
}

/// Whose the jobs are that were submitted or looked at of late: a job is not read only to see that it is not for him who listens.
#[derive(Default)]
struct Owners {
    known: HashMap<JobKey, Option<TokenName>>,
    /// The one that was learned first is forgotten first.
    order: VecDeque<JobKey>,
}

impl Owners {
    fn learn(&mut self, submission: &Submission) {
        let key = submission.key();
        if self.known.insert(key, submission.owner.clone()).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > OWNERS_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.known.remove(&first);
        }
    }
}

/// Hears of every commit and tells those who wait.
pub struct Watchers {
    by_job: Mutex<HashMap<JobKey, watch::Sender<Option<JobChange>>>>,
    watched: AtomicUsize,
    all: Mutex<All>,
    owners: Mutex<Owners>,
}

/// What listeners of all jobs hear, and what they may have missed while they were away.
struct All {
    next: u64,
    recent: VecDeque<JobChange>,
    listeners: broadcast::Sender<NumberedChange>,
}

impl All {
    fn tell(&mut self, change: JobChange) {
        if self.recent.len() == BROADCAST_CAPACITY {
            self.recent.pop_front();
        }
        self.recent.push_back(change);
        // An error means that nobody listens.
        let _listeners = self.listeners.send(NumberedChange { number: self.next, change });
        self.next += 1;
    }

    fn from(&self, number: u64) -> AllChanges {
        let oldest = self.next - self.recent.len() as u64;
        let known = usize::try_from(number.saturating_sub(oldest)).unwrap_or(usize::MAX);
        AllChanges {
            past: self.recent.iter().skip(known).copied().collect(),
            forgotten: oldest.saturating_sub(number),
            next: self.next,
            coming: self.listeners.subscribe(),
        }
    }
}

impl Default for Watchers {
    fn default() -> Self {
        let listeners = broadcast::Sender::new(BROADCAST_CAPACITY);
        let all = All { next: 0, recent: VecDeque::new(), listeners };
        Self { by_job: Mutex::default(), watched: AtomicUsize::new(0), all: Mutex::new(all), owners: Mutex::default() }
    }
}

impl Watchers {
    /// Tells of every later change of one job.
    pub fn watch(self: &Arc<Self>, job: JobKey) -> Watch {
        let mut by_job = self.by_job.lock();
        let receiver = by_job.entry(job).or_insert_with(|| watch::Sender::new(None)).subscribe();
        self.watched.store(by_job.len(), Ordering::Release);
        Watch { job, receiver: Some(receiver), watchers: Arc::clone(self) }
    }

    /// Tells of every change of every job from a number on; of later ones only, where none is given.
    pub fn watch_all(&self, from: Option<u64>) -> AllChanges {
        let all = self.all.lock();
        all.from(from.unwrap_or(all.next))
    }

    /// Whether a job is known to be none that somebody may read.
    pub fn is_hidden(&self, job: JobKey, caller: &Caller) -> bool {
        let owners = self.owners.lock();
        owners.known.get(&job).is_some_and(|owner| !caller.may_with_those_of(Right::Read, owner.as_ref()))
    }

    /// Remembers whose a job is that was read.
    pub(super) fn learn(&self, submission: &Submission) {
        self.owners.lock().learn(submission);
    }

    /// Takes the changes of one commit.
    pub fn committed(&self, changes: &[Change]) {
        for change in changes {
            if let Change::Submit(submission, _) = change {
                self.owners.lock().learn(submission);
            }
        }
        let somebody_waits = self.watched.load(Ordering::Acquire) > 0;
        for change in changes.iter().filter_map(job_change) {
            self.all.lock().tell(change);
            if somebody_waits && let Some(sender) = self.by_job.lock().get(&change.job) {
                sender.send_replace(Some(change));
            }
        }
    }

    fn forget(&self, job: JobKey) {
        let mut by_job = self.by_job.lock();
        if let Entry::Occupied(entry) = by_job.entry(job)
            && entry.get().receiver_count() == 0
        {
            entry.remove();
        }
        self.watched.store(by_job.len(), Ordering::Release);
    }
}

fn job_change(change: &Change) -> Option<JobChange> {
    match change {
        Change::Submit(submission, state) => {
            Some(JobChange { job: submission.key(), status: Some(state.status), revision: state.revision })
        }
        Change::Advance { job, next, .. } => {
            Some(JobChange { job: *job, status: Some(next.status), revision: next.revision })
        }
        Change::Delete { job, expected } => Some(JobChange { job: *job, status: None, revision: *expected }),
        _ => None,
    }
}

/// One listener's place.
pub struct Watch {
    job: JobKey,
    /// There until it is dropped.
    receiver: Option<watch::Receiver<Option<JobChange>>>,
    watchers: Arc<Watchers>,
}

impl Watch {
    /// Waits for the next change; several quick ones may appear as the last of them.
    pub async fn changed(&mut self) -> JobChange {
        let receiver = self.receiver.as_mut().expect("it is there until this is dropped");
        loop {
            // The sender lives in the map as long as this watch does.
            if receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(change) = *receiver.borrow_and_update() {
                return change;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // First, so that of two that end together the last one sees that nobody is left.
        drop(self.receiver.take());
        self.watchers.forget(self.job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{Sequence, TenantId};

    fn change(number: u64) -> JobChange {
        let job = JobKey { tenant: TenantId::DEFAULT, sequence: Sequence(number) };
        JobChange { job, status: Some(Status::Queued), revision: 1 }
    }

    #[test]
    fn whoever_was_away_hears_what_he_has_missed_or_how_much_it_was() {
        let watchers = Watchers::default();
        assert_eq!(watchers.watch_all(None).next, 0);
        (0..10).for_each(|number| watchers.all.lock().tell(change(number)));
        let back = watchers.watch_all(Some(7));
        assert_eq!((back.past, back.forgotten, back.next), ((7..10).map(change).collect(), 0, 10));
        let new = watchers.watch_all(None);
        assert_eq!((new.past.len(), new.forgotten, new.next), (0, 0, 10));
        let ahead = watchers.watch_all(Some(u64::MAX));
        assert_eq!((ahead.past.len(), ahead.forgotten), (0, 0));
        (10..10_000).for_each(|number| watchers.all.lock().tell(change(number)));
        let late = watchers.watch_all(Some(7));
        assert_eq!((late.past.len(), late.forgotten), (BROADCAST_CAPACITY, 10_000 - 7 - BROADCAST_CAPACITY as u64));
        let mut coming = late.coming;
        watchers.all.lock().tell(change(10_000));
        assert_eq!(coming.try_recv(), Ok(NumberedChange { number: 10_000, change: change(10_000) }));
    }
}
