//! Removes finished jobs whose time has come: in the background by the settings, and at once when somebody asks.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::change::Change;
use crate::domain::id::{JobKey, Sequence};
use crate::domain::job::{Job, JobType};
use crate::domain::retention::Retention;
use crate::domain::time::Timestamp;
use crate::registry::Registry;
use crate::resources::{Quiet, blocking};
use crate::store::{CommitError, Pending, ReadError, Store, why_kept};

/// How many jobs one step looks at. It reads that many into memory, and one commit removes what it finds.
const STEP_JOBS: usize = 4_096;

/// How many commits may be under way while the next step reads.
const AHEAD: usize = 2;

/// How long the background rests after it has looked at all jobs.
const REST: Duration = Duration::from_secs(600);

/// How long it rests after a step that failed. A full disk wants its room soon.
const AFTER_ERROR: Duration = Duration::from_secs(15);

/// How long it rests between two steps, so that it takes only a small share of a core from what runs.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a sweep broke off; what it had removed until then is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// What a step or a whole sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Jobs that were looked at.
    pub looked_at: u64,
    /// Jobs that went, or would go.
    pub removed: u64,
}

/// Deletions on their way to the store.
struct Removal {
    deletions: Vec<Change>,
    pending: Pending,
}

/// See the module.
pub struct Sweeper {
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
}

impl Sweeper {
    /// Joins the parts.
    pub fn new(store: Arc<dyn Store>, registry: Arc<Registry>) -> Self {
        Self { store, registry }
    }

    /// Removes every job that `goes` says may go, oldest first. Blocks the calling thread. With `dry_run` it only counts.
    pub fn sweep(&self, goes: &dyn Fn(&Job) -> bool, dry_run: bool) -> Result<Swept, SweepError> {
        let mut swept = Swept::default();
        let mut under_way = std::collections::VecDeque::new();
        let mut from = JobKey::default();
        loop {
            let jobs = self.store.oldest(from, STEP_JOBS)?;
            let Some(last) = jobs.last().map(|job| job.submission.key()) else { break };
            swept.looked_at += jobs.len() as u64;
            let deletions = self.deletions(&jobs, goes)?;
            match dry_run {
                true => swept.removed += deletions.len() as u64,
                false => under_way.push_back(self.remove(deletions)),
            }
            while under_way.len() > AHEAD
                && let Some(first) = under_way.pop_front()
            {
                swept.removed += self.settle(first)?;
            }
            from = next_key(last);
        }
        for removal in under_way {
            swept.removed += self.settle(removal)?;
        }
        Ok(swept)
    }

    /// One step of the background's sweep at `now`, from `from` on; what was removed, and where the next step begins: none
    /// when it was the last.
    fn step(&self, from: JobKey, now: Timestamp) -> Result<Option<JobKey>, SweepError> {
        let jobs = self.store.oldest(from, STEP_JOBS)?;
        let Some(last) = jobs.last().map(|job| job.submission.key()) else { return Ok(None) };
        let goes = |job: &Job| {
            let policy = self.registry.policy(job.submission.tenant, &job.submission.plugin);
            policy.retention.is_over(job, now)
        };
        let deletions = self.deletions(&jobs, &goes)?;
        self.settle(self.remove(deletions))?;
        Ok(Some(next_key(last)))
    }

    fn deletions(&self, jobs: &[Job], goes: &dyn Fn(&Job) -> bool) -> Result<Vec<Change>, ReadError> {
        let mut changes = Vec::new();
        for job in jobs.iter().filter(|job| job.state.status.is_final() && goes(job)) {
            if why_kept(&*self.store, job)?.is_none() {
                changes.push(Change::Delete { job: job.submission.key(), expected: job.state.revision });
            }
        }
        Ok(changes)
    }

    fn remove(&self, deletions: Vec<Change>) -> Removal {
        Removal { pending: self.store.commit(deletions.clone()), deletions }
    }

    /// Waits for a removal; how many jobs went. When somebody else changed one of them first, the others go each by
    /// itself: a job that has changed is left to the next sweep.
    fn settle(&self, removal: Removal) -> Result<u64, CommitError> {
        let Removal { deletions, pending } = removal;
        match pending.wait() {
            Ok(()) => return Ok(deletions.len() as u64),
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
        let alone: Vec<_> = deletions.into_iter().map(|deletion| self.store.commit(vec![deletion])).collect();
        let mut removed = 0;
        for pending in alone {
            match pending.wait() {
                Ok(()) => removed += 1,
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }
}

fn next_key(last: JobKey) -> JobKey {
    JobKey { sequence: Sequence(last.sequence.0.saturating_add(1)), ..last }
}

/// The background's loop: a sweep through all jobs in small steps, then a rest.
pub async fn sweep_for_ever(sweeper: Arc<Sweeper>, clock: Arc<dyn Clock>) {
    static NOT_REMOVED: Quiet = Quiet::new();
    let mut from = JobKey::default();
    loop {
        let (stepping, now) = (Arc::clone(&sweeper), clock.now());
        let step = blocking(move || stepping.step(from, now)).await;
        let rest = match step {
            Ok(Ok(Some(next))) => {
                from = next;
                PAUSE
            }
            Ok(Ok(None)) => {
                from = JobKey::default();
                REST
            }
            Ok(Err(error)) => {
                if let Some(unsaid) = NOT_REMOVED.say() {
                    tracing::warn!(%error, unsaid, "finished jobs could not be removed; it is tried again");
                }
                AFTER_ERROR
            }
            Err(error) => {
                tracing::error!(%error, "the removal of finished jobs stumbled");
                REST
            }
        };
        tokio::time::sleep(rest).await;
    }
}

/// What somebody asks to be removed: jobs of one type or all, by how and how long ago they ended.
pub fn asked(retention: Retention, job_type: Option<JobType>, now: Timestamp) -> impl Fn(&Job) -> bool {
    move |job| job_type.is_none_or(|job_type| job.submission.job_type == job_type) && retention.is_over(job, now)
}
