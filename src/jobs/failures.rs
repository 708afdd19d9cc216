//! What goes wrong, by kind: failed jobs in groups of the same fingerprint.

use super::Jobs;
use crate::domain::failure::Failure;
use crate::domain::fingerprint::{self, Fingerprint};
use crate::domain::id::{JobId, JobKey, PluginName, Sequence, TenantId};
use crate::domain::query::FailureGroups;
use crate::store::ReadError;

/// Failed jobs that look like the same failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureSummary {
    /// What they have in common.
    pub fingerprint: Fingerprint,
    /// The plug-in.
    pub plugin: PluginName,
    /// The failure of the newest of them.
    pub failure: Failure,
    /// Its message without what differs from job to job.
    pub shape: String,
    /// How many there are.
    pub count: u64,
    /// The oldest of them; none when it was deleted just now.
    pub oldest: Option<JobId>,
    /// The newest of them.
    pub newest: JobId,
}

/// Failed jobs by what went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureSummaries {
    /// The group with the newest job first.
    pub groups: Vec<FailureSummary>,
    /// Whether there are more failed jobs than were counted, so that counts may be too small and groups may be missing.
    pub is_incomplete: bool,
}

impl Jobs {
    /// The failed jobs of a tenant by what went wrong, at most `limit` groups, the one with the newest job first.
    pub fn failures(&self, tenant: TenantId, limit: usize) -> Result<FailureSummaries, ReadError> {
        let FailureGroups { groups, is_incomplete } = self.store.failures(tenant, limit)?;
        let mut summaries = Vec::new();
        for group in groups {
            let job = |sequence: Sequence| self.store.job(JobKey { tenant, sequence });
            // A group whose newest job goes away at this moment is another one at the next look.
            let Some(newest) = job(group.newest)? else { continue };
            let Some(failure) = newest.state.failure().cloned() else { continue };
            summaries.push(FailureSummary {
                fingerprint: group.fingerprint,
                plugin: newest.submission.plugin.clone(),
                shape: fingerprint::shape(&failure.message),
                failure,
                count: group.count,
                oldest: job(group.oldest)?.map(|oldest| oldest.submission.id),
                newest: newest.submission.id,
            });
        }
        Ok(FailureSummaries { groups: summaries, is_incomplete })
    }
}
