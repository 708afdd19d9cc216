//! The guards of [`Change`], in one place for every store: what a commit may not overwrite.

use std::collections::{HashMap, HashSet};

use crate::domain::change::Change;
use crate::domain::id::{DedupKey, JobKey, PluginName, QueueName, ScheduleName, TenantId, TokenName};
use crate::domain::job::Status;
use crate::domain::schedule::SCHEDULES_MAX;
use crate::domain::time::Timestamp;

/// What the guards ask of a store.
pub(crate) trait Facts {
    /// Why a fact could not be had.
    type Error;

    /// The stored revision of a job.
    fn job_revision(&mut self, job: JobKey) -> Result<Option<u32>, Self::Error>;

    /// Until when an `Idempotency-Key` is kept.
    fn remembered_until(&mut self, tenant: TenantId, key: &str) -> Result<Option<Timestamp>, Self::Error>;

    /// The stored revision of a plug-in.
    fn plugin_revision(&mut self, tenant: TenantId, name: &PluginName) -> Result<Option<u32>, Self::Error>;

    /// The stored revision of a schedule.
    fn schedule_revision(&mut self, tenant: TenantId, name: &ScheduleName) -> Result<Option<u32>, Self::Error>;

    /// How many schedules a tenant has.
    fn schedules(&mut self, tenant: TenantId) -> Result<usize, Self::Error>;

    /// The stored revision of what was asked of a queue.
    fn queue_revision(&mut self, name: &QueueName) -> Result<Option<u32>, Self::Error>;

    /// Whether there is a token of the name.
    fn has_token(&mut self, tenant: TenantId, name: &TokenName) -> Result<bool, Self::Error>;

    /// The unfinished job that has a dedup key.
    fn dedup_holder(&mut self, tenant: TenantId, key: &DedupKey) -> Result<Option<JobKey>, Self::Error>;
}

/// What a look at the guards found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every change may be written.
    Accepted,
    /// The change of this index may not, so none may.
    Conflict(usize),
}

/// Checks every change of a commit against the store and against the changes before it.
pub(crate) fn check<F: Facts>(changes: &[Change], facts: &mut F) -> Result<Verdict, F::Error> {
    if let [change] = changes {
        return Ok(match accepts(change, &Ahead::default(), facts)? {
            true => Verdict::Accepted,
            false => Verdict::Conflict(0),
        });
    }
    let mut ahead = Ahead::default();
    for (index, change) in changes.iter().enumerate() {
        if !accepts(change, &ahead, facts)? {
            return Ok(Verdict::Conflict(index));
        }
        ahead.note(change);
    }
    Ok(Verdict::Accepted)
}

/// What the changes before the present one make of the store.
#[derive(Default)]
struct Ahead<'a> {
    jobs: HashMap<JobKey, Option<u32>>,
    plugins: HashMap<(TenantId, &'a PluginName), Option<u32>>,
    keys: HashMap<(TenantId, &'a str), Timestamp>,
    schedules: HashMap<(TenantId, &'a ScheduleName), Option<u32>>,
    /// How many of them are new, by tenant, and how many are removed.
    schedules_made: HashMap<TenantId, (usize, usize)>,
    queues: HashMap<&'a QueueName, u32>,
    tokens: HashMap<(TenantId, &'a TokenName), bool>,
    dedup: HashMap<(TenantId, &'a DedupKey), JobKey>,
    /// The jobs that end: their dedup keys are free from then on.
    ended: HashSet<JobKey>,
}

impl<'a> Ahead<'a> {
    fn note(&mut self, change: &'a Change) {
        match change {
            Change::Submit(submission, state) => {
                self.jobs.insert(submission.key(), Some(state.revision));
                if let Some(key) = dedup_key(change) {
                    self.dedup.insert((submission.tenant, key), submission.key());
                }
            }
            Change::Advance { job, next, .. } => {
                self.jobs.insert(*job, Some(next.revision));
                if next.status.is_final() {
                    self.ended.insert(*job);
                }
            }
            Change::Delete { job, .. } => {
                self.jobs.insert(*job, None);
            }
            Change::Remember(submit) => {
                self.keys.insert((submit.tenant, &submit.key), submit.until);
            }
            Change::PutPlugin(plugin) => {
                self.plugins.insert((plugin.tenant, &plugin.name), Some(plugin.revision));
            }
            Change::RemovePlugin { tenant, name, .. } => {
                self.plugins.insert((*tenant, name), None);
            }
            Change::PutSchedule(schedule) => {
                let (made, _) = self.schedules_made.entry(schedule.tenant).or_default();
                *made += usize::from(schedule.revision == 1);
                self.schedules.insert((schedule.tenant, &schedule.name), Some(schedule.revision));
            }
            Change::RemoveSchedule { tenant, name, .. } => {
                self.schedules_made.entry(*tenant).or_default().1 += 1;
                self.schedules.insert((*tenant, name), None);
            }
            Change::PutQueue(queue) => {
                self.queues.insert(&queue.name, queue.revision);
            }
            Change::PutToken(token) => {
                self.tokens.insert((token.tenant, &token.name), true);
            }
            Change::RemoveToken { tenant, name } => {
                self.tokens.insert((*tenant, name), false);
            }
            Change::Audit(_)
            | Change::PutService(_)
            | Change::StartHost(_)
            | Change::PutBreaker(_)
            | Change::NoteBroken { .. } => {}
        }
    }

    fn job_revision<F: Facts>(&self, job: JobKey, facts: &mut F) -> Result<Option<u32>, F::Error> {
        match self.jobs.get(&job) {
            Some(revision) => Ok(*revision),
            None => facts.job_revision(job),
        }
    }

    fn plugin_revision<F: Facts>(
        &self,
        tenant: TenantId,
        name: &PluginName,
        facts: &mut F,
    ) -> Result<Option<u32>, F::Error> {
        match self.plugins.get(&(tenant, name)) {
            Some(revision) => Ok(*revision),
            None => facts.plugin_revision(tenant, name),
        }
    }

    fn schedule_revision<F: Facts>(
        &self,
        tenant: TenantId,
        name: &ScheduleName,
        facts: &mut F,
    ) -> Result<Option<u32>, F::Error> {
        match self.schedules.get(&(tenant, name)) {
            Some(revision) => Ok(*revision),
            None => facts.schedule_revision(tenant, name),
        }
    }

    fn schedules<F: Facts>(&self, tenant: TenantId, facts: &mut F) -> Result<usize, F::Error> {
        let (made, removed) = self.schedules_made.get(&tenant).copied().unwrap_or_default();
        Ok((facts.schedules(tenant)? + made).saturating_sub(removed))
    }

    fn has_token<F: Facts>(&self, tenant: TenantId, name: &TokenName, facts: &mut F) -> Result<bool, F::Error> {
        match self.tokens.get(&(tenant, name)) {
            Some(is_there) => Ok(*is_there),
            None => facts.has_token(tenant, name),
        }
    }
}

fn accepts<F: Facts>(change: &Change, ahead: &Ahead<'_>, facts: &mut F) -> Result<bool, F::Error> {
    Ok(match change {
        Change::Submit(submission, _) => {
            let is_taken = match dedup_key(change) {
                None => false,
                Some(key) => {
                    let holder = match ahead.dedup.get(&(submission.tenant, key)) {
                        Some(holder) => Some(*holder),
                        None => facts.dedup_holder(submission.tenant, key)?,
                    };
                    holder.is_some_and(|holder| !ahead.ended.contains(&holder))
                }
            };
            !is_taken && ahead.job_revision(submission.key(), facts)?.is_none()
        }
        Change::Advance { job, expected, next, .. } => {
            ahead.job_revision(*job, facts)? == Some(*expected) && expected.checked_add(1) == Some(next.revision)
        }
        Change::Delete { job, expected } => ahead.job_revision(*job, facts)? == Some(*expected),
        Change::Remember(submit) => {
            let kept_until = match ahead.keys.get(&(submit.tenant, submit.key.as_str())) {
                Some(until) => Some(*until),
                None => facts.remembered_until(submit.tenant, &submit.key)?,
            };
            // A store has no clock: the submit that asks to be remembered says what time it is.
            kept_until.is_none_or(|until| until <= submit.on)
        }
        Change::PutPlugin(plugin) => {
            let stored = ahead.plugin_revision(plugin.tenant, &plugin.name, facts)?.unwrap_or(0);
            stored.checked_add(1) == Some(plugin.revision)
        }
        Change::RemovePlugin { tenant, name, expected } => {
            ahead.plugin_revision(*tenant, name, facts)? == Some(*expected)
        }
        Change::PutSchedule(schedule) => match ahead.schedule_revision(schedule.tenant, &schedule.name, facts)? {
            Some(stored) => stored.checked_add(1) == Some(schedule.revision),
            None => schedule.revision == 1 && ahead.schedules(schedule.tenant, facts)? < SCHEDULES_MAX,
        },
        Change::RemoveSchedule { tenant, name, expected } => {
            ahead.schedule_revision(*tenant, name, facts)? == Some(*expected)
        }
        Change::PutQueue(queue) => {
            let stored = match ahead.queues.get(&queue.name) {
                Some(revision) => Some(*revision),
                None => facts.queue_revision(&queue.name)?,
            };
            stored.unwrap_or(0).checked_add(1) == Some(queue.revision)
        }
        Change::PutToken(token) => !ahead.has_token(token.tenant, &token.name, facts)?,
        Change::RemoveToken { tenant, name } => ahead.has_token(*tenant, name, facts)?,
        Change::Audit(_)
        | Change::PutService(_)
        | Change::StartHost(_)
        | Change::PutBreaker(_)
        | Change::NoteBroken { .. } => true,
    })
}

/// The dedup key that a new job takes, if it is not finished from the start.
fn dedup_key(change: &Change) -> Option<&DedupKey> {
    let Change::Submit(submission, state) = change else { return None };
    let key = submission.ties.as_ref()?.dedup_key.as_ref();
    key.filter(|_| !state.status.is_final())
}

/// Whether a commit asks for room that is kept for work that was taken before: it submits, and is not the end of a job with
/// what follows from it.
pub(super) fn brings_new_work(changes: &[Change]) -> bool {
    let is_submit = |change: &Change| matches!(change, Change::Submit(..));
    let is_end = |change: &Change| matches!(change, Change::Advance { next, .. } if next.status.is_final());
    changes.iter().any(is_submit) && !changes.iter().any(is_end)
}

/// Whether a commit is nothing but claims, for which nobody has to wait (design section 6).
pub(super) fn is_claim(changes: &[Change]) -> bool {
    changes.iter().all(|change| matches!(change, Change::Advance { next, .. } if next.status == Status::Running))
}
