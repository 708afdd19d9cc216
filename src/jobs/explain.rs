//! Gathers what there is to know about why a job is not running.

use std::collections::HashMap;

use super::Jobs;
use super::batch::members;
use crate::domain::admission::Hold;
use crate::domain::audit::AuditRow;
use crate::domain::explain::{self, Facts, PluginFact, Reason};
use crate::domain::id::{JobId, JobKey, PluginName, TenantId, VersionName};
use crate::domain::job::{Job, JobType, OnPredecessorFailure, Status, Submission, WaitReason};
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

/// The other jobs that matter to one: the unfinished ones that it waits for, and the one whose failure counts.
type Others = (Vec<JobId>, Option<JobId>);

/// What was found out for one job of a page and holds for others, too.
#[derive(Default)]
struct Known {
    plugins: HashMap<(TenantId, PluginName, Option<VersionName>), PluginFact>,
    ids: HashMap<JobKey, Option<JobId>>,
}

impl Jobs {
    /// Why a job is not running and what would start it. Never empty.
    pub fn explain(&self, job: &Job, moment: Moment) -> Result<Vec<Reason>, ReadError> {
        let mut known = Known::default();
        let others = match is_open_batch(job) {
            true => (self.unfinished_members(job)?, None),
            false => self.before(job, &mut known)?,
        };
        Ok(explain::reasons(&self.facts(job, moment, others, &mut known)?))
    }

    /// The foremost reason of each of these jobs that waits, as [`Jobs::explain`] has it, in one pass: what concerns several
    /// of them is looked up once, and other jobs only for those that are in line. Of a batch no jobs are named.
    pub fn leading_reasons(&self, jobs: &[Job], moments: Vec<Moment>) -> Result<Vec<Option<Reason>>, ReadError> {
        let mut known = Known::default();
        let leading = |(job, moment): (&Job, Moment)| {
            let others = match job.state.status {
                Status::Queued => self.before(job, &mut known)?,
                status if status.waits() => Others::default(),
                _ => return Ok(None),
            };
            Ok(explain::reasons(&self.facts(job, moment, others, &mut known)?).into_iter().next())
        };
        jobs.iter().zip(moments).map(leading).collect()
    }

    fn facts<'a>(
        &self,
        job: &'a Job,
        moment: Moment,
        others: Others,
        known: &mut Known,
    ) -> Result<Facts<'a>, ReadError> {
        let Moment { service, holds, ahead } = moment;
        let (blocked_by, stopped_by) = others;
        let policy = self.registry.policy(job.submission.tenant, &job.submission.plugin);
        Ok(Facts {
            job,
            now: self.clock.now(),
            max_attempts: job.submission.max_attempts.unwrap_or(policy.retry.max_attempts),
            plugin: self.plugin_fact(job, known),
            service,
            holds,
            ahead,
            blocked_by,
            stopped_by,
            last_command: self.last_command(job)?,
        })
    }

    /// The last command that was given for it, where it stands as a person has put it.
    fn last_command(&self, job: &Job) -> Result<Option<AuditRow>, ReadError> {
        let is_as_put = match job.state.status {
            Status::Paused | Status::Canceling | Status::Canceled => true,
            _ => job.state.wait_reason == Some(WaitReason::Postponed),
        };
        if is_as_put { Ok(self.store.audit(job.submission.key())?.pop()) } else { Ok(None) }
    }

    /// Some of the unfinished jobs of a batch.
    fn unfinished_members(&self, batch: &Job) -> Result<Vec<JobId>, ReadError> {
        let query = JobQuery { limit: MEMBERS_NAMED, ..members(batch, Status::unfinished().collect()) };
        let members = self.store.jobs(&query)?.jobs;
        Ok(members.iter().map(|member| member.submission.id).collect())
    }

    /// The jobs that it waits for by its ties.
    fn before(&self, job: &Job, known: &mut Known) -> Result<Others, ReadError> {
        let ties = job.submission.ties();
        if !job.state.status.waits() || !ties.is_ordered() {
            return Ok(Others::default());
        }
        let predecessors = self.store.predecessors(job.submission.key())?;
        let minds = ties.on_predecessor_failure != OnPredecessorFailure::Continue && !job.state.is_overruled;
        let unsuccessful = predecessors.unsuccessful.first().filter(|_| minds);
        let stopped_by = unsuccessful.map(|key| self.id_of(*key, known)).transpose()?.flatten();
        let unfinished = predecessors.unfinished.into_iter().map(|key| self.id_of(key, known));
        Ok((unfinished.filter_map(Result::transpose).collect::<Result<_, _>>()?, stopped_by))
    }

    fn id_of(&self, key: JobKey, known: &mut Known) -> Result<Option<JobId>, ReadError> {
        if let Some(id) = known.ids.get(&key) {
            return Ok(*id);
        }
        let id = self.store.job(key)?.map(|job| job.submission.id);
        known.ids.insert(key, id);
        Ok(id)
    }

    fn plugin_fact(&self, job: &Job, known: &mut Known) -> PluginFact {
        let submission = &job.submission;
        let place = (submission.tenant, submission.plugin.clone(), submission.version.clone());
        known.plugins.entry(place).or_insert_with(|| self.found_of_plugin(submission)).clone()
    }

    fn found_of_plugin(&self, submission: &Submission) -> PluginFact {
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

/// Whether it waits for the jobs of its own.
fn is_open_batch(job: &Job) -> bool {
    job.state.wait_reason == Some(WaitReason::Children) && job.submission.job_type == JobType::BATCH
}
