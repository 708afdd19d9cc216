//! What the memory store holds: ordered maps and the indexes over them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use crate::domain::change::{Change, RememberedSubmit};
use crate::domain::id::{HostId, JobKey, PluginName, QueueName, Sequence, TenantId};
use crate::domain::job::{Job, JobState, Run, StateCode};
use crate::domain::plugin::Plugin;
use crate::domain::query::{Counts, JobQuery, Page};
use crate::domain::service::ServiceState;
use crate::domain::time::Timestamp;
use crate::store::guard::Facts;

/// How many jobs one query looks at.
const LOOKED_AT_MAX: usize = 20_000;

/// Everything that a store remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    jobs: BTreeMap<JobKey, Job>,
    runs: BTreeMap<JobKey, BTreeMap<u32, Run>>,
    ready: BTreeMap<QueueName, BTreeSet<(Reverse<i8>, u64, TenantId)>>,
    due: BTreeSet<(Timestamp, JobKey)>,
    locked: BTreeSet<JobKey>,
    counts: BTreeMap<(TenantId, PluginName), Counts>,
    remembered: BTreeMap<(TenantId, String), RememberedSubmit>,
    plugins: BTreeMap<(TenantId, PluginName), Plugin>,
    service: ServiceState,
    host: HostId,
}

impl Tables {
    /// Writes a commit whose guards have been checked.
    pub(super) fn apply(&mut self, changes: &[Change]) {
        changes.iter().for_each(|change| self.apply_one(change));
    }

    fn apply_one(&mut self, change: &Change) {
        match change {
            Change::Submit(submission, state) => {
                let job = Job { submission: Arc::clone(submission), state: (**state).clone() };
                self.index(&job);
                self.jobs.insert(submission.key(), job);
            }
            Change::Advance { job, next, earlier_run, .. } => {
                if let Some(run) = earlier_run {
                    self.runs.entry(*job).or_default().insert(run.number, run.clone());
                }
                self.advance(*job, next);
            }
            Change::Delete { job, .. } => {
                if let Some(gone) = self.jobs.remove(job) {
                    self.unindex(&gone);
                }
                self.runs.remove(job);
            }
            Change::Remember(submit) => {
                self.remembered.insert((submit.tenant, submit.key.clone()), submit.clone());
            }
            Change::PutPlugin(plugin) => {
                self.plugins.insert((plugin.tenant, plugin.name.clone()), plugin.clone());
            }
            Change::RemovePlugin { tenant, name, .. } => {
                self.plugins.remove(&(*tenant, name.clone()));
            }
            Change::PutService(service) => self.service = *service,
            Change::StartHost(host) => self.host = self.host.max(*host),
        }
    }

    fn advance(&mut self, key: JobKey, next: &JobState) {
        let Some(mut job) = self.jobs.remove(&key) else { return };
        self.unindex(&job);
        job.state = next.clone();
        self.index(&job);
        self.jobs.insert(key, job);
    }

    fn index(&mut self, job: &Job) {
        let key = job.submission.key();
        let counted = (key.tenant, job.submission.plugin.clone());
        self.counts.entry(counted).or_default().add(job.state.status);
        match job.state.status.state() {
            StateCode::Ready => {
                let queue = self.ready.entry(job.submission.queue.clone()).or_default();
                queue.insert(ready_place(job));
            }
            StateCode::Suspended => {
                self.due.extend(job.state.postpone_until.map(|until| (until, key)));
            }
            StateCode::Locked => {
                self.locked.insert(key);
            }
            StateCode::Completed => {}
        }
    }

    fn unindex(&mut self, job: &Job) {
        let key = job.submission.key();
        let counted = (key.tenant, job.submission.plugin.clone());
        if let Some(counts) = self.counts.get_mut(&counted) {
            counts.remove(job.state.status);
            if *counts == Counts::default() {
                self.counts.remove(&counted);
            }
        }
        if let Some(queue) = self.ready.get_mut(&job.submission.queue) {
            queue.remove(&ready_place(job));
        }
        if let Some(until) = job.state.postpone_until {
            self.due.remove(&(until, key));
        }
        self.locked.remove(&key);
    }

    pub(super) fn job(&self, key: JobKey) -> Option<Job> {
        self.jobs.get(&key).cloned()
    }

    /// The closed runs: the rows of their own, then the last one, which stands in the state.
    pub(super) fn runs(&self, key: JobKey) -> Vec<Run> {
        let last = self.jobs.get(&key).and_then(|job| job.state.last_run.clone());
        self.runs.get(&key).into_iter().flat_map(BTreeMap::values).cloned().chain(last).collect()
    }

    pub(super) fn page(&self, query: &JobQuery) -> Page {
        let tenant = query.tenant;
        let first = JobKey { tenant, ..JobKey::default() };
        let end = match query.before {
            Some(sequence) => JobKey { tenant, sequence },
            None => JobKey { tenant, sequence: Sequence(u64::MAX) },
        };
        let mut page = Page::default();
        if end <= first || query.limit == 0 {
            return page;
        }
        let mut older = self.jobs.range(first..end).rev().peekable();
        let mut looked_at = 0;
        while let Some((key, job)) = older.next() {
            looked_at += 1;
            if query.filter.matches(job) {
                page.jobs.push(job.clone());
            }
            if page.jobs.len() >= query.limit || looked_at == LOOKED_AT_MAX {
                page.next = older.peek().map(|_| key.sequence);
                break;
            }
        }
        page
    }

    pub(super) fn ready(&self, queue: &QueueName, limit: usize) -> Vec<Job> {
        let places = self.ready.get(queue).into_iter().flatten().take(limit);
        let key =
            |(_, sequence, tenant): &(_, u64, TenantId)| JobKey { tenant: *tenant, sequence: Sequence(*sequence) };
        places.filter_map(|place| self.job(key(place))).collect()
    }

    pub(super) fn locked(&self) -> Vec<Job> {
        self.locked.iter().filter_map(|key| self.job(*key)).collect()
    }

    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<Job> {
        let come = self.due.iter().take_while(|(until, _)| *until <= now);
        come.take(limit).filter_map(|(_, key)| self.job(*key)).collect()
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(until, _)| *until)
    }

    pub(super) fn counts(&self, tenant: TenantId) -> Vec<(PluginName, Counts)> {
        let of_tenant = self.counts.iter().filter(|((owner, _), _)| *owner == tenant);
        of_tenant.map(|((_, plugin), counts)| (plugin.clone(), *counts)).collect()
    }

    pub(super) fn remembered(&self, tenant: TenantId, key: &str) -> Option<RememberedSubmit> {
        self.remembered.get(&(tenant, key.to_owned())).cloned()
    }

    pub(super) fn plugins(&self) -> Vec<Plugin> {
        self.plugins.values().cloned().collect()
    }

    pub(super) fn service(&self) -> ServiceState {
        self.service
    }

    pub(super) fn host(&self) -> HostId {
        self.host
    }
}

impl Facts for Tables {
    type Error = Infallible;

    fn job_revision(&mut self, job: JobKey) -> Result<Option<u32>, Infallible> {
        Ok(self.jobs.get(&job).map(|job| job.state.revision))
    }

    fn remembered_until(&mut self, tenant: TenantId, key: &str) -> Result<Option<Timestamp>, Infallible> {
        Ok(self.remembered(tenant, key).map(|submit| submit.until))
    }

    fn plugin_revision(&mut self, tenant: TenantId, name: &PluginName) -> Result<Option<u32>, Infallible> {
        Ok(self.plugins.get(&(tenant, name.clone())).map(|plugin| plugin.revision))
    }
}

fn ready_place(job: &Job) -> (Reverse<i8>, u64, TenantId) {
    let key = job.submission.key();
    (Reverse(job.submission.priority), key.sequence.0, key.tenant)
}
