//! The schedules of a store, by name and by the time at which they fire. There are few of them, so they are in memory in
//! every store.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::id::{ScheduleName, TenantId};
use crate::domain::schedule::Schedule;
use crate::domain::time::Timestamp;

type Key = (TenantId, ScheduleName);

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedules {
    by_name: BTreeMap<Key, Schedule>,
    by_time: BTreeSet<(Timestamp, Key)>,
    counts: BTreeMap<TenantId, usize>,
}

impl Schedules {
    pub(super) fn put(&mut self, schedule: Schedule) {
        self.remove(schedule.tenant, &schedule.name);
        let key = (schedule.tenant, schedule.name.clone());
        self.by_time.extend(schedule.next_run.map(|time| (time, key.clone())));
        *self.counts.entry(schedule.tenant).or_default() += 1;
        self.by_name.insert(key, schedule);
    }

    pub(super) fn remove(&mut self, tenant: TenantId, name: &ScheduleName) {
        let key = (tenant, name.clone());
        let Some(gone) = self.by_name.remove(&key) else { return };
        self.counts.entry(tenant).and_modify(|count| *count -= 1);
        if let Some(time) = gone.next_run {
            self.by_time.remove(&(time, key));
        }
    }

    pub(super) fn revision(&self, tenant: TenantId, name: &ScheduleName) -> Option<u32> {
        self.by_name.get(&(tenant, name.clone())).map(|schedule| schedule.revision)
    }

    /// How many a tenant has.
    pub(super) fn count(&self, tenant: TenantId) -> usize {
        self.counts.get(&tenant).copied().unwrap_or_default()
    }

    pub(super) fn all(&self) -> Vec<Schedule> {
        self.by_name.values().cloned().collect()
    }

    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<Schedule> {
        let come = self.by_time.iter().take_while(|(time, _)| *time <= now).take(limit);
        come.filter_map(|(_, key)| self.by_name.get(key)).cloned().collect()
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(time, _)| *time)
    }
}
