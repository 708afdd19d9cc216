//! Removes finished jobs whose time has come: in the background by the settings, and at once when somebody asks.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::change::Change;
use crate::domain::id::{JobKey, Sequence};
use crate::domain::job::Job;
use crate::domain::retention::Retention;
use crate::domain::time::Timestamp;
use crate::registry::Registry;
use crate::store::{CommitError, Pending, ReadError, Store};

/// How many jobs one step looks at. It reads that many into memory, and one commit removes what it finds.
const STEP_JOBS: usize = 4_096;

/// How many commits may be under way while the next step reads.
const AHEAD: usize = 2;

/// How long the background rests after it has looked at all jobs.
const REST: Duration = Duration::from_secs(600);

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
            let changes = self.deletions(&jobs, goes)?;
            swept.removed += changes.len() as u64;
            if !changes.is_empty() && !dry_run {
                under_way.push_back(self.store.commit(changes));
            }
            while under_way.len() > AHEAD {
                under_way.pop_front().map_or(Ok(()), wait)?;
            }
            from = next_key(last);
        }
        under_way.into_iter().try_for_each(wait)?;
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
        let changes = self.deletions(&jobs, &goes)?;
        if !changes.is_empty() {
            wait(self.store.commit(changes))?;
        }
        Ok(Some(next_key(last)))
    }

    fn deletions(&self, jobs: &[Job], goes: &dyn Fn(&Job) -> bool) -> Result<Vec<Change>, ReadError> {
        let mut changes = Vec::new();
        for job in jobs.iter().filter(|job| job.state.status.is_final() && goes(job)) {
            if !self.is_counted(job)? {
                changes.push(Change::Delete { job: job.submission.key(), expected: job.state.revision });
            }
        }
        Ok(changes)
    }

    /// Whether an unfinished batch still counts the job.
    fn is_counted(&self, job: &Job) -> Result<bool, ReadError> {
        let Some(batch) = job.submission.ties().batch else { return Ok(false) };
        let batch = self.store.job(JobKey { sequence: batch.sequence(), ..job.submission.key() })?;
        Ok(batch.is_some_and(|batch| !batch.state.status.is_final()))
    }
}

/// Waits for a commit. That somebody else deleted one of its jobs first leaves the others to the next sweep.
fn wait(pending: Pending) -> Result<(), CommitError> {
    match pending.wait() {
        Err(CommitError::Conflict { .. }) => Ok(()),
        written => written,
    }
}

fn next_key(last: JobKey) -> JobKey {
    JobKey { sequence: Sequence(last.sequence.0.saturating_add(1)), ..last }
}

/// The background's loop: a sweep through all jobs in small steps, then a rest.
pub async fn sweep_for_ever(sweeper: Arc<Sweeper>, clock: Arc<dyn Clock>) {
    let mut from = JobKey::default();
    loop {
        let (stepping, now) = (Arc::clone(&sweeper), clock.now());
        let step = tokio::task::spawn_blocking(move || stepping.step(from, now)).await;
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
                tracing::warn!(%error, "finished jobs could not be removed; it is tried again");
                REST
            }
            Err(error) => {
                tracing::error!(%error, "the removal of finished jobs stumbled");
                REST
            }
        };
        tokio::time::sleep(rest).await;
    }
}

/// What somebody asks to be removed: jobs that ended at least `older_than` ago, by how they ended.
pub fn asked(retention: Retention, now: Timestamp) -> impl Fn(&Job) -> bool {
    move |job| retention.is_over(job, now)
}
