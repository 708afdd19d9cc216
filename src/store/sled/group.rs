//! The commits that are written together, and what is known of the store while one more of them is decided.

use std::collections::HashMap;

use super::index::Entry;
use super::keys;
use super::live::View;
use super::standing::{Standing, Standings};
use super::values::Values;
use super::{codec, ties};
use crate::domain::change::{Change, RememberedSubmit};
use crate::domain::id::{DedupKey, JobKey, PluginName, QueueName, ScheduleName, TenantId, TokenName};
use crate::domain::time::Timestamp;
use crate::store::ReadError;
use crate::store::guard::Facts;

/// The commits that are written together.
#[derive(Default)]
pub(super) struct Group<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    /// Which of the works are in.
    pub(super) accepted: Vec<usize>,
    pub(super) is_waited_for: bool,
    /// The highest sequence that a job of it has.
    pub(super) sequence: u64,
    /// The highest sequence that may be given out from now on.
    pub(super) mark: u64,
    pub(super) host: u64,
    pub(super) plugins: HashMap<(TenantId, &'a PluginName), Option<u32>>,
    pub(super) keys: HashMap<(TenantId, &'a str), Timestamp>,
    pub(super) schedules: HashMap<(TenantId, &'a ScheduleName), Option<u32>>,
    pub(super) queues: HashMap<&'a QueueName, u32>,
    pub(super) tokens: HashMap<(TenantId, &'a TokenName), bool>,
    /// Who has a dedup key, where that has changed.
    pub(super) dedup: HashMap<(TenantId, DedupKey), Option<JobKey>>,
}

impl<'a> Group<'a> {
    /// Notes what a change of it makes of the store.
    pub(super) fn note(&mut self, change: &'a Change, before: Option<&Standing>) {
        match change {
            Change::Submit(submission, state) => {
                let job = submission.key();
                self.sequence = self.sequence.max(job.sequence.0);
                let key = submission.ties.as_ref().and_then(|ties| ties.dedup_key.clone());
                if let Some(key) = key.filter(|_| !state.status.is_final()) {
                    self.dedup.insert((job.tenant, key), Some(job));
                }
            }
            Change::Advance { job, next, .. } if next.status.is_final() => {
                let ties = before.and_then(|before| before.ties.as_ref());
                if let Some(key) = ties.and_then(|ties| ties.dedup_key.clone()) {
                    self.dedup.insert((job.tenant, key), None);
                }
            }
            Change::PutSchedule(schedule) => {
                self.schedules.insert((schedule.tenant, &schedule.name), Some(schedule.revision));
            }
            Change::RemoveSchedule { tenant, name, .. } => {
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
            Change::Remember(submit) => {
                self.keys.insert((submit.tenant, &submit.key), submit.until);
            }
            Change::PutPlugin(plugin) => {
                self.plugins.insert((plugin.tenant, &plugin.name), Some(plugin.revision));
            }
            Change::RemovePlugin { tenant, name, .. } => {
                self.plugins.insert((*tenant, name), None);
            }
            _ => {}
        }
    }
}

/// What the writer knows: the group that it is making, then memory, then the tree.
pub(super) struct Known<'k, 'v, 'a> {
    pub(super) standings: &'k mut Standings,
    pub(super) view: View<'v>,
    pub(super) group: &'k Group<'a>,
}

impl Facts for Known<'_, '_, '_> {
    type Error = ReadError;

    fn job_revision(&mut self, job: JobKey) -> Result<Option<u32>, ReadError> {
        Ok(self.standings.get(self.view, job)?.map(|standing| standing.revision))
    }

    fn remembered_until(&mut self, tenant: TenantId, key: &str) -> Result<Option<Timestamp>, ReadError> {
        match self.group.keys.get(&(tenant, key)) {
            Some(until) => Ok(Some(*until)),
            None => Ok(read_remembered(self.view.values, tenant, key)?.map(|submit| submit.until)),
        }
    }

    fn plugin_revision(&mut self, tenant: TenantId, name: &PluginName) -> Result<Option<u32>, ReadError> {
        match self.group.plugins.get(&(tenant, name)) {
            Some(revision) => Ok(*revision),
            None => Ok(self.view.live.plugins.get(&(tenant, name.clone())).map(|plugin| plugin.revision)),
        }
    }

    fn schedule_revision(&mut self, tenant: TenantId, name: &ScheduleName) -> Result<Option<u32>, ReadError> {
        match self.group.schedules.get(&(tenant, name)) {
            Some(revision) => Ok(*revision),
            None => Ok(self.view.live.schedules.revision(tenant, name)),
        }
    }

    fn schedules(&mut self, tenant: TenantId) -> Result<usize, ReadError> {
        let live = &self.view.live.schedules;
        let own = self.group.schedules.iter().filter(|((owner, _), _)| *owner == tenant);
        Ok(own.fold(live.count(tenant), |count, ((_, name), revision)| {
            count + usize::from(revision.is_some()) - usize::from(live.revision(tenant, name).is_some())
        }))
    }

    fn queue_revision(&mut self, name: &QueueName) -> Result<Option<u32>, ReadError> {
        let in_group = self.group.queues.get(name).copied();
        Ok(in_group.or_else(|| self.view.live.queues.get(name).map(|queue| queue.revision)))
    }

    fn has_token(&mut self, tenant: TenantId, name: &TokenName) -> Result<bool, ReadError> {
        let in_group = self.group.tokens.get(&(tenant, name)).copied();
        Ok(in_group.unwrap_or_else(|| self.view.live.tokens.has(tenant, name)))
    }

    fn dedup_holder(&mut self, tenant: TenantId, key: &DedupKey) -> Result<Option<JobKey>, ReadError> {
        match self.group.dedup.get(&(tenant, key.clone())) {
            Some(holder) => Ok(*holder),
            None => ties::dedup_holder(self.view, tenant, key),
        }
    }
}

/// A remembered submit.
pub(super) fn read_remembered(
    values: Values<'_>,
    tenant: TenantId,
    key: &str,
) -> Result<Option<RememberedSubmit>, ReadError> {
    let stored = values.get(&keys::remembered(tenant, key))?;
    Ok(stored.map(|value| codec::decode("a remembered submit", &value)).transpose()?)
}
