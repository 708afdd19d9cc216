//! Gathers what there is to know about what a person can do with a job.

use super::Jobs;
use crate::domain::access::Caller;
use crate::domain::job::{Job, JobType};
use crate::domain::offers::{self, Facts, Offer};
use crate::store::ReadError;

impl Jobs {
    /// The commands that would be carried out if this caller gave them now.
    pub fn offers(&self, job: &Job, caller: &Caller) -> Result<Vec<Offer>, ReadError> {
        let submission = &job.submission;
        let (tenant, plugin, version) = (submission.tenant, &submission.plugin, submission.version.as_ref());
        let fit = self.registry.check_fit(tenant, plugin, version, Some(&submission.handler), submission.input.len());
        Ok(offers::offers(Facts {
            job,
            policy: &self.registry.policy(tenant, plugin).retry,
            caller,
            now: self.clock.now(),
            is_fit: fit.is_ok() && self.is_dedup_key_free(job)?,
            has_failed_members: self.has_failed_members(job)?,
        }))
    }

    /// Whether no unfinished job has the dedup key of an ended one, which its retry would need.
    fn is_dedup_key_free(&self, job: &Job) -> Result<bool, ReadError> {
        match &job.submission.ties().dedup_key {
            Some(key) if job.state.status.is_final() => Ok(self.duplicate(job.submission.tenant, key)?.is_none()),
            _ => Ok(true),
        }
    }

    /// Whether some of a batch's jobs failed and were not run again as another batch.
    fn has_failed_members(&self, job: &Job) -> Result<bool, ReadError> {
        if job.submission.job_type != JobType::BATCH || !job.state.status.is_final() {
            return Ok(false);
        }
        Ok(self.batch_summary(job)?.failed > 0 && self.run_again_as(job)?.is_none())
    }
}
