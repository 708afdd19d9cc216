//! Gathers what there is to know about why a job is not running.

use super::Jobs;
use super::batch::members;
use crate::domain::admission::Hold;
use crate::domain::audit::AuditRow;
use crate::domain::explain::{self, Facts, PluginFact, Reason};
use crate::domain::id::{JobId, JobKey};
use crate::domain::job::{Job, JobType, OnPredecessorFailure, Status, WaitReason};
use crate::domain::plugin::Absence;
use crate::domain::query::JobQuery;
use crate::domain::service::ServiceState;
use crate::registry::Resolution;
use crate::store::ReadError;

/// What the rest of the host knows of a job at a moment.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// Whether background work goes on.
    pub service: ServiceState,
    /// What keeps the job's lane from starting anything.
    pub holds: Vec<Hold>,
    /// How many jobs of its lane are known to start before it.
    pub ahead: usize,
}

/// How many members of a batch an explanation names.
const MEMBERS_NAMED: usize = 20;

impl Jobs {
    /// Why a job is not running and what would start it. Never empty.
    pub fn explain(&self, job: &Job, moment: Moment) -> Result<Vec<Reason>, ReadError> {
        let Moment { service, holds, ahead } = moment;
        let (blocked_by, stopped_by) = self.before(job)?;
        let policy = self.registry.policy(job.submission.tenant, &job.submission.plugin);
        Ok(explain::reasons(&Facts {
            job,
            now: self.clock.now(),
            max_attempts: job.submission.max_attempts.unwrap_or(policy.retry.max_attempts),
            plugin: self.plugin_fact(job),
            service,
            holds,
            ahead,
            blocked_by,
            stopped_by,
            last_command: self.last_command(job)?,
        }))
    }

    /// The last command that was given for it, where it stands as a person has put it.
    fn last_command(&self, job: &Job) -> Result<Option<AuditRow>, ReadError> {
        let is_as_put = match job.state.status {
            Status::Paused | Status::Canceling | Status::Canceled => true,
            _ => job.state.wait_reason == Some(WaitReason::Postponed),
        };
        if is_as_put { Ok(self.store.audit(job.submission.key())?.pop()) } else { Ok(None) }
    }

    /// The unfinished jobs that it waits for, and the one whose failure matters to it.
    fn before(&self, job: &Job) -> Result<(Vec<JobId>, Option<JobId>), ReadError> {
        let ties = job.submission.ties();
        if job.state.wait_reason == Some(WaitReason::Children) && job.submission.job_type == JobType::BATCH {
            let query = JobQuery { limit: MEMBERS_NAMED, ..members(job, Status::unfinished().collect()) };
            let members = self.store.jobs(&query)?.jobs;
            return Ok((members.iter().map(|member| member.submission.id).collect(), None));
        }
        if !job.state.status.waits() || !ties.is_ordered() {
            return Ok((Vec::new(), None));
        }
        let predecessors = self.store.predecessors(job.submission.key())?;
        let minds = ties.on_predecessor_failure != OnPredecessorFailure::Continue && !job.state.is_overruled;
        let unsuccessful = predecessors.unsuccessful.first().filter(|_| minds);
        let stopped_by = unsuccessful.map(|key| self.id_of(*key)).transpose()?.flatten();
        let unfinished = predecessors.unfinished.into_iter().map(|key| self.id_of(key));
        Ok((unfinished.filter_map(Result::transpose).collect::<Result<_, _>>()?, stopped_by))
    }

    fn id_of(&self, key: JobKey) -> Result<Option<JobId>, ReadError> {
        Ok(self.store.job(key)?.map(|job| job.submission.id))
    }

    fn plugin_fact(&self, job: &Job) -> PluginFact {
        let submission = &job.submission;
        let (tenant, name, version) = (submission.tenant, &submission.plugin, submission.version.as_ref());
        match self.registry.resolve(tenant, name, version) {
            Resolution::Run(_) => PluginFact::Ready,
            Resolution::Disabled => PluginFact::Disabled,
            Resolution::Missing(Absence::NotGranted { version, missing, .. }) => {
                PluginFact::NotGranted(version, missing)
            }
            Resolution::Missing(_) if self.registry.get(tenant, name).is_err() => PluginFact::Missing,
            Resolution::Missing(_) => PluginFact::VersionMissing,
        }
    }
}
