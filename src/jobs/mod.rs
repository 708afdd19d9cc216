//! What callers do with jobs: submit, look, wait, cancel, delete. Decisions come from the domain, this reads and commits.

mod actions;
mod ahead;
mod batch;
mod bulk;
mod circle;
mod contest;
mod explain;
mod failures;
mod idempotency;
mod log;
mod offers;
mod rerun;
mod search;
mod steer;
mod submit;
mod tally;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::domain::access::Caller;
use crate::domain::id::{IdEnding, JobId, JobKey, PluginName, Sequence, TenantId};
use crate::domain::job::{Job, JobType, Payload, Progress, Run, Status};
use crate::domain::query::{Counts, JobFilter, JobQuery, Page};
use crate::registry::Registry;
use crate::store::{ReadError, Store, payload_bytes, payload_part};
use crate::worker::{Advance, Identities, Running};

/// How many jobs one look from the oldest on reads.
const OLDEST_LOOKED_AT: usize = 1_000;

/// How many jobs are looked at for the end of an id. A host that has had fewer than four thousand million has one to look at.
const ENDINGS_MAX: usize = 16;

pub use actions::{ActionError, ActionReport, ActionResult, BulkAction, Step};
pub use batch::NewBatch;
pub use bulk::{BulkError, FAULTS_MAX, Together};
pub use explain::Moment;
pub use failures::{FailureSummaries, FailureSummary};
pub use log::{LogPiece, LogReader};
pub use rerun::{Rerun, RerunError};
pub use search::{Found, SearchTurn, Sort, TooManySearches};
pub use steer::{Command, Order, SteerError};
pub use submit::{NewJob, SubmitError, Submitted};
pub use tally::Tally;
pub use watch::{AllChanges, JobChange, NumberedChange, Watch, Watchers};

/// The commands and questions about jobs, as every edge uses them.
pub struct Jobs {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    registry: Arc<Registry>,
    running: Arc<Running>,
    watchers: Arc<Watchers>,
    /// Held while many jobs are looked at and run again: of two callers at a time, the second finds what the first has done.
    rerunning: tokio::sync::Mutex<()>,
    /// The turns of those who search.
    searches: Arc<tokio::sync::Semaphore>,
    /// Held by one after the other of those requests before which another of the same key came.
    contests: tokio::sync::Mutex<()>,
    advance: Advance,
    identities: Identities,
}

impl Jobs {
    /// Joins the parts.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        registry: Arc<Registry>,
        running: Arc<Running>,
        watchers: Arc<Watchers>,
        advance: Advance,
        identities: Identities,
    ) -> Self {
        Self {
            store,
            clock,
            registry,
            running,
            watchers,
            rerunning: tokio::sync::Mutex::default(),
            searches: search::turns(),
            contests: tokio::sync::Mutex::default(),
            advance,
            identities,
        }
    }

    /// One job of a tenant, by its public identity.
    pub fn get(&self, tenant: TenantId, id: JobId) -> Result<Option<Job>, ReadError> {
        let key = JobKey { tenant, sequence: id.sequence() };
        let found = self.store.job(key)?;
        Ok(found.filter(|job| job.submission.id == id))
    }

    /// The jobs of a tenant whose id ends so; of very many the first ones.
    pub fn ending_in(&self, tenant: TenantId, ending: IdEnding) -> Result<Vec<Job>, ReadError> {
        let end = self.identities.reserve(0);
        let found = ending.sequences(end).take(ENDINGS_MAX).map(|sequence| self.store.job(JobKey { tenant, sequence }));
        found.filter_map(Result::transpose).collect()
    }

    /// One job, by its place: what a [`JobChange`] names.
    pub fn find(&self, key: JobKey) -> Result<Option<Job>, ReadError> {
        let found = self.store.job(key)?;
        found.iter().for_each(|job| self.watchers.learn(&job.submission));
        Ok(found)
    }

    /// Whether a job is known to be none that somebody may read, without a look at the store.
    pub fn is_hidden(&self, key: JobKey, caller: &Caller) -> bool {
        self.watchers.is_hidden(key, caller)
    }

    /// The last state of a job that was deleted with its end a moment ago (`auto_delete`).
    pub fn departed(&self, key: JobKey) -> Option<Job> {
        self.advance.departed(key)
    }

    /// The closed runs of a job, oldest first.
    pub fn runs(&self, job: &Job) -> Result<Vec<Run>, ReadError> {
        self.store.runs(job.submission.key())
    }

    /// The unfinished jobs that a job waits for by its ordering key or because it names them.
    pub fn blocked_by(&self, job: &Job) -> Result<Vec<JobId>, ReadError> {
        let unfinished = self.store.predecessors(job.submission.key())?.unfinished;
        let found = unfinished.into_iter().map(|key| self.store.job(key));
        // One that has been deleted in between is waited for no more.
        found.filter_map(|job| Some(job.transpose()?.map(|job| job.submission.id))).collect()
    }

    /// A page of jobs, newest first.
    pub fn list(&self, query: &JobQuery) -> Result<Page, ReadError> {
        self.store.jobs(query)
    }

    /// A page of jobs, oldest first, from the one with the sequence `from` on; `next` is where the next page begins. It may
    /// hold fewer than `limit`: one call looks at a bounded number of jobs.
    pub fn list_oldest(
        &self,
        tenant: TenantId,
        filter: &JobFilter,
        from: Sequence,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let look_at = match *filter == JobFilter::default() {
            true => OLDEST_LOOKED_AT.min(limit.saturating_add(1)),
            false => OLDEST_LOOKED_AT,
        };
        let found = self.store.oldest(JobKey { tenant, sequence: from }, look_at)?;
        let is_last = found.len() < look_at;
        let (mut jobs, mut from_next) = (Vec::new(), from);
        for job in found {
            if job.submission.tenant != tenant {
                return Ok(Page { jobs, next: None });
            }
            if jobs.len() == limit {
                return Ok(Page { jobs, next: Some(job.submission.id.sequence()) });
            }
            from_next = Sequence(job.submission.id.sequence().0 + 1);
            jobs.extend(filter.matches(&job).then_some(job));
        }
        Ok(Page { jobs, next: (!is_last).then_some(from_next) })
    }

    /// How many jobs stand where, by plug-in.
    pub fn counts(&self, tenant: TenantId) -> Result<Vec<(PluginName, Counts)>, ReadError> {
        self.store.counts(tenant)
    }

    /// The bytes of an input, output or log.
    pub fn payload(&self, payload: &Payload) -> Result<Bytes, ReadError> {
        payload_bytes(&*self.store, payload)
    }

    /// At most `most` of its bytes from `from` on, for whoever has seen that they are right.
    pub fn payload_part(&self, payload: &Payload, from: u64, most: usize) -> Result<Bytes, ReadError> {
        payload_part(&*self.store, payload, from, most)
    }

    /// How far a job has come: what it says while it runs, or what it said last.
    pub fn progress(&self, job: &Job) -> Option<Progress> {
        if job.submission.job_type == JobType::BATCH && !job.state.status.is_final() {
            return self.batch_summary(job).ok().map(|summary| summary.progress());
        }
        self.running.progress(job.submission.key()).or_else(|| job.state.progress.clone())
    }

    /// Waits until a job has ended, at most for `patience`, and returns its present form; that of a job that was deleted with
    /// its end is its last, and that of one that somebody deleted is the one given.
    pub async fn wait(&self, job: Job, patience: Duration) -> Result<Job, ReadError> {
        let key = job.submission.key();
        let mut watch = self.watch(key);
        // Read only after the watch stands, so that no end goes by in between.
        let present = self.store.job(key)?;
        if present.as_ref().is_none_or(|present| present.state.status.is_final()) {
            return Ok(present.or_else(|| self.departed(key)).unwrap_or(job));
        }
        let ended = async { while !watch.changed().await.status.is_none_or(Status::is_final) {} };
        // Whether it ended or the patience did, the store knows.
        let _ended = tokio::time::timeout(patience, ended).await;
        Ok(self.store.job(key)?.or_else(|| self.departed(key)).unwrap_or(job))
    }

    /// Tells of every later change of one job.
    pub fn watch(&self, job: JobKey) -> Watch {
        self.watchers.watch(job)
    }

    /// Tells of every change of every job from a number on; of later ones only, where none is given. A receiver that falls behind
    /// misses the oldest.
    pub fn watch_all(&self, from: Option<u64>) -> AllChanges {
        self.watchers.watch_all(from)
    }
}
