//! What binds jobs to each other, as entries of the index. The rules are those of [`crate::domain::dependencies`].

use std::ops::Bound;

use super::codec;
use super::index::Indexer;
use super::keys::{self, ReadyKind};
use super::live::{Place, View};
use super::read;
use super::standing::Standing;
use super::values::behind;
use crate::domain::dependencies::{self, Bond, Ended, Facts, KeyMark, Release};
use crate::domain::family::Row as _;
use crate::domain::id::{DedupKey, JobKey, OrderingKey, ScheduleName, Sequence, TenantId};
use crate::domain::job::{BrokenKey, Predecessors, Status, Ties};
use crate::domain::query::Counts;
use crate::store::ReadError;
use crate::stored;

impl Indexer<'_> {
    /// Notes what a new job is bound to, unless it has ended already.
    pub(super) fn bind(&mut self, job: JobKey, standing: &Standing) {
        let Some(ties) = standing.ties.as_deref().filter(|_| !standing.status.is_final()) else { return };
        for bond in dependencies::bonds(job, ties) {
            let entry = entry_of(job, bond);
            match bond {
                Bond::Dedup(_) => self.live.ahead.put(entry, codec::encode(&job.sequence)),
                Bond::Ordered(_) | Bond::After(_) | Bond::Scheduled(_) => self.live.ahead.mark(entry),
            }
        }
    }

    /// Forgets what a job that has just ended was bound to, and makes ready what has waited for nothing else.
    pub(super) fn unbind(&mut self, job: JobKey, standing: &Standing) -> Result<(), ReadError> {
        let ties = standing.ties.as_deref();
        let Ended { mark, successors } = dependencies::ended(job, ties, standing.status, &self.view())?;
        match mark {
            // A mark is small, and nothing follows from it.
            Some(KeyMark::Broken(key)) => {
                let mark = BrokenKey { job, key: key.clone() };
                self.live.ahead.put(broken(job.tenant, key), stored::encode(&mark));
            }
            Some(KeyMark::Whole(key)) => self.live.ahead.delete(broken(job.tenant, key)),
            None => {}
        }
        for bond in ties.into_iter().flat_map(|ties| dependencies::bonds(job, ties)) {
            self.live.ahead.delete(entry_of(job, bond));
        }
        for successor in successors {
            self.release(successor)?;
        }
        Ok(())
    }

    /// Puts a job into the ready index if it is queued and waits for no other any more.
    fn release(&mut self, job: JobKey) -> Result<(), ReadError> {
        let Some(standing) = Standing::load(self.view(), job)? else { return Ok(()) };
        let wait_reason = self.view().state(job)?.and_then(|(_, state)| state.wait_reason);
        let none = Ties::NONE;
        let ties = standing.ties.as_deref().unwrap_or(&none);
        match dependencies::release(job, standing.status, wait_reason, ties, &self.view())? {
            Release::Ready if matches!(standing.place, Place::Kept { .. }) => {
                self.live.ahead.mark(keys::ready(&standing.lane, standing.rank, job, ReadyKind::Single));
                self.released.push(job);
            }
            Release::Members => self.released.push(job),
            // A job that is as new as can be has never waited.
            Release::Ready | Release::None => {}
        }
        Ok(())
    }

    /// Whether a job waits for another.
    pub(super) fn waits(&self, job: JobKey, standing: &Standing) -> Result<bool, ReadError> {
        standing.ties.as_deref().map_or(Ok(false), |ties| dependencies::waits(job, ties, &self.view()))
    }
}

impl Facts for View<'_> {
    type Error = ReadError;

    fn status(&self, job: JobKey) -> Result<Option<Status>, ReadError> {
        View::status(self, job)
    }

    fn oldest_of(
        &self,
        tenant: TenantId,
        key: &OrderingKey,
        behind_job: Option<JobKey>,
    ) -> Result<Option<JobKey>, ReadError> {
        let all = keys::keyed_by(tenant, key);
        let end = behind(&all);
        let from = behind_job.map_or(Bound::Included(all), |job| Bound::Excluded(keys::keyed(job, key)));
        let Some(entry) = self.values.ascending(from, end).next() else { return Ok(None) };
        let (entry, _) = entry?;
        keys::keyed_job(&entry).map(Some).ok_or_else(|| ReadError::Damaged("an entry of an ordering key".to_owned()))
    }

    fn broken_by(&self, tenant: TenantId, key: &OrderingKey) -> Result<Option<JobKey>, ReadError> {
        let stored = self.values.get(&broken(tenant, key))?;
        Ok(stored.map(|mark| stored::decode::<BrokenKey>(&mark)).transpose()?.map(|mark| mark.job))
    }

    fn dependents(&self, job: JobKey) -> Result<Vec<JobKey>, ReadError> {
        let entries = self.values.starting(&keys::dependents(job));
        let waiting = |entry| {
            let (key, _): (Vec<u8>, Vec<u8>) = entry?;
            keys::dependent_job(&key).ok_or_else(|| ReadError::Damaged("a dependent entry".to_owned()))
        };
        entries.map(waiting).collect()
    }

    fn members(&self, batch: JobKey) -> Result<Counts, ReadError> {
        read::batch(*self, batch.tenant, batch.sequence)
    }
}

/// The entry of a bond.
pub(super) fn entry_of(job: JobKey, bond: Bond<'_>) -> Vec<u8> {
    match bond {
        Bond::Ordered(key) => keys::keyed(job, key),
        Bond::After(named) => keys::dependent(named, job),
        Bond::Dedup(key) => keys::dedup(job.tenant, key),
        Bond::Scheduled(schedule) => keys::occurring(job, schedule),
    }
}

/// Where the mark of an ordering key is.
fn broken(tenant: TenantId, key: &OrderingKey) -> Vec<u8> {
    keys::row(BrokenKey::ROWS, &BrokenKey::key_of(tenant, key))
}

/// What a job waits for by its ties.
pub(super) fn predecessors(view: View<'_>, job: JobKey) -> Result<Predecessors, ReadError> {
    let Some(submission) = view.find(job)? else { return Ok(Predecessors::default()) };
    dependencies::predecessors(job, submission.ties(), &view)
}

/// The unfinished job that has a dedup key.
pub(super) fn dedup_holder(view: View<'_>, tenant: TenantId, key: &DedupKey) -> Result<Option<JobKey>, ReadError> {
    let stored = view.values.get(&keys::dedup(tenant, key))?;
    let sequence: Option<Sequence> = stored.map(|value| codec::decode(&value)).transpose()?;
    Ok(sequence.map(|sequence| JobKey { tenant, sequence }))
}

/// The unfinished jobs of a schedule, oldest first.
pub(super) fn unfinished_of(
    view: View<'_>,
    tenant: TenantId,
    schedule: &ScheduleName,
    limit: usize,
) -> Result<Vec<JobKey>, ReadError> {
    let entries = view.values.starting(&keys::occurring_of(tenant, schedule)).take(limit);
    let read = |entry| {
        let (key, _): (Vec<u8>, Vec<u8>) = entry?;
        keys::keyed_job(&key).ok_or_else(|| ReadError::Damaged("an entry of a schedule's job".to_owned()))
    };
    entries.map(read).collect()
}
