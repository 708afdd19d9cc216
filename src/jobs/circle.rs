//! Jobs that would wait for each other. A job names only jobs that exist already, so that no circle comes about; but a batch
//! waits for members that may join it later.

use std::collections::BTreeSet;

use super::Jobs;
use super::batch::members;
use crate::domain::id::{JobId, JobKey, TenantId};
use crate::domain::job::{Job, JobType, Status, Ties};
use crate::domain::query::{JobFilter, JobQuery};
use crate::store::ReadError;

/// How many jobs are looked at; whoever builds a larger circle has to call off a job of it.
const JOBS_MAX: usize = 2_000;

/// How many jobs one query reads.
const PAGE: usize = 500;

impl Jobs {
    /// Whether a job with these ties waits, over however many others, for `batch` to end.
    pub(super) fn waits_for(&self, tenant: TenantId, ties: &Ties, batch: JobId) -> Result<bool, ReadError> {
        let key = |job: &JobId| JobKey { tenant, sequence: job.sequence() };
        let mut next: Vec<JobKey> = ties.after.iter().map(key).collect();
        if let Some(ordering_key) = ties.ordering_key.clone() {
            let filter = JobFilter {
                ordering_key: Some(ordering_key),
                statuses: Status::unfinished().collect(),
                ..JobFilter::default()
            };
            next.extend(self.some(JobQuery { tenant, filter, before: None, limit: PAGE })?);
        }
        let mut seen = BTreeSet::new();
        while let Some(job) = next.pop() {
            if job == key(&batch) {
                return Ok(true);
            }
            if !seen.insert(job) || seen.len() > JOBS_MAX {
                continue;
            }
            let Some(job) = self.store.job(job)?.filter(|job| !job.state.status.is_final()) else { continue };
            next.extend(self.waited_for_by(&job)?);
        }
        Ok(false)
    }

    fn waited_for_by(&self, job: &Job) -> Result<Vec<JobKey>, ReadError> {
        match job.submission.job_type {
            JobType::BATCH => self.some(members(job, Status::unfinished().collect())),
            _ => Ok(self.store.predecessors(job.submission.key())?.unfinished),
        }
    }

    fn some(&self, query: JobQuery) -> Result<Vec<JobKey>, ReadError> {
        Ok(self.store.jobs(&query)?.jobs.iter().map(|job| job.submission.key()).collect())
    }
}
