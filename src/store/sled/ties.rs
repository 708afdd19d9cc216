//! What binds jobs to each other: ordering keys, named predecessors, dedup keys, their schedule. Who waits for whom follows from these entries
//! (domain.md 4.1).

use super::codec;
use super::index::Indexer;
use super::keys::{self, ReadyKind};
use super::live::{Place, View, is_single_ready};
use super::read;
use super::standing::Standing;
use crate::domain::batch::Summary;
use crate::domain::family::Row as _;
use crate::domain::id::{DedupKey, JobKey, OrderingKey, ScheduleName, Sequence, TenantId};
use crate::domain::job::{BrokenKey, JobState, Predecessors, Status, Ties, WaitReason};
use crate::store::ReadError;
use crate::stored;

impl Indexer<'_> {
    /// Notes what a new job is bound to, unless it has ended already.
    pub(super) fn bind(&mut self, job: JobKey, standing: &Standing) {
        let Some(ties) = standing.ties.as_deref().filter(|_| !standing.status.is_final()) else { return };
        if let Some(key) = &ties.ordering_key {
            self.live.ahead.mark(keys::keyed(job, key));
        }
        for named in &ties.after {
            self.live.ahead.mark(keys::dependent(place_of(job, named.sequence()), job));
        }
        if let Some(key) = &ties.dedup_key {
            self.live.ahead.put(keys::dedup(job.tenant, key), codec::encode(&job.sequence));
        }
        if let Some(occurrence) = &ties.occurrence {
            self.live.ahead.mark(keys::occurring(job, &occurrence.schedule));
        }
    }

    /// Forgets what a job that has just ended was bound to, and makes ready what has waited for nothing else.
    pub(super) fn unbind(&mut self, job: JobKey, standing: &Standing) -> Result<(), ReadError> {
        let mut successors = self.dependents(job)?;
        if let Some(ties) = standing.ties.as_deref() {
            for named in &ties.after {
                self.live.ahead.delete(keys::dependent(place_of(job, named.sequence()), job));
            }
            if let Some(key) = &ties.dedup_key {
                self.live.ahead.delete(keys::dedup(job.tenant, key));
            }
            if let Some(occurrence) = &ties.occurrence {
                self.live.ahead.delete(keys::occurring(job, &occurrence.schedule));
            }
            successors.extend(self.pass_key_on(job, ties, standing.status)?);
            if let Some(batch) = ties.batch {
                let counts = read::batch(self.view(), job.tenant, batch.sequence())?;
                successors.extend(Summary::of(&counts).is_done().then(|| place_of(job, batch.sequence())));
            }
        }
        successors.sort_unstable();
        successors.dedup();
        for successor in successors {
            self.release(successor)?;
        }
        Ok(())
    }

    /// Takes an ended job out of those of its ordering key. Returns the next that holds the key.
    fn pass_key_on(&mut self, job: JobKey, ties: &Ties, status: Status) -> Result<Option<JobKey>, ReadError> {
        let Some(key) = &ties.ordering_key else { return Ok(None) };
        let held_it = holder(self.view(), job.tenant, ties)? == Some(job);
        self.live.ahead.delete(keys::keyed(job, key));
        if !held_it {
            return Ok(None);
        }
        let next = holder(self.view(), job.tenant, ties)?;
        match next.is_some() && status != Status::Succeeded {
            true => self.note_broken(job, key),
            false => self.live.ahead.delete(broken(job.tenant, key)),
        }
        Ok(next)
    }

    /// A mark is small, and nothing follows from it.
    fn note_broken(&mut self, job: JobKey, key: &OrderingKey) {
        let mark = BrokenKey { job, key: key.clone() };
        self.live.ahead.put(broken(job.tenant, key), stored::encode(&mark));
    }

    fn dependents(&self, job: JobKey) -> Result<Vec<JobKey>, ReadError> {
        let entries = self.values().starting(&keys::dependents(job));
        let waiting = |entry| {
            let (key, _): (Vec<u8>, Vec<u8>) = entry?;
            keys::dependent_job(&key).ok_or_else(|| ReadError::Damaged("a dependent entry".to_owned()))
        };
        entries.map(waiting).collect()
    }

    /// Puts a job into the ready index if it is queued and waits for no other any more.
    fn release(&mut self, job: JobKey) -> Result<(), ReadError> {
        let Some(standing) = Standing::load(self.view(), job)? else { return Ok(()) };
        let waits_for_members = |state: &JobState| state.wait_reason == Some(WaitReason::Children);
        if self.view().state(job)?.is_some_and(|(_, state)| waits_for_members(&state)) {
            self.released.push(job);
            return Ok(());
        }
        let is_kept = matches!(standing.place, Place::Kept { .. });
        if is_kept && is_single_ready(standing.status, standing.place) && !self.waits(job, &standing)? {
            self.live.ahead.mark(keys::ready(&standing.lane, standing.rank, job, ReadyKind::Single));
            self.released.push(job);
        }
        Ok(())
    }

    /// Whether a job waits for another.
    pub(super) fn waits(&self, job: JobKey, standing: &Standing) -> Result<bool, ReadError> {
        match standing.ties.as_deref().filter(|ties| ties.is_ordered()) {
            Some(ties) => Ok(!unfinished(self.view(), job, ties)?.is_empty()),
            None => Ok(false),
        }
    }
}

/// The oldest unfinished job of an ordering key.
fn holder(view: View<'_>, tenant: TenantId, ties: &Ties) -> Result<Option<JobKey>, ReadError> {
    let Some(key) = &ties.ordering_key else { return Ok(None) };
    let Some(entry) = view.values.starting(&keys::keyed_by(tenant, key)).next() else { return Ok(None) };
    let (entry, _) = entry?;
    let first = keys::keyed_job(&entry).ok_or_else(|| ReadError::Damaged("an entry of an ordering key".to_owned()))?;
    Ok(Some(first))
}

/// The unfinished jobs that a job waits for.
pub(super) fn unfinished(view: View<'_>, job: JobKey, ties: &Ties) -> Result<Vec<JobKey>, ReadError> {
    let before_it = holder(view, job.tenant, ties)?.filter(|holder| holder.sequence < job.sequence);
    let mut unfinished: Vec<_> = before_it.into_iter().collect();
    for named in &ties.after {
        let named = place_of(job, named.sequence());
        if view.is_unfinished(named)? {
            unfinished.push(named);
        }
    }
    Ok(unfinished)
}

/// What a job waits for by its ties.
pub(super) fn predecessors(view: View<'_>, job: JobKey) -> Result<Predecessors, ReadError> {
    let Some(submission) = view.find(job)? else { return Ok(Predecessors::default()) };
    let ties = submission.ties();
    let mut unsuccessful = Vec::new();
    // Who is directly before it on its key has not ended yet while another still holds the key.
    if let Some(key) = &ties.ordering_key
        && holder(view, job.tenant, ties)? == Some(job)
        && let Some(broken) = view.values.get(&broken(job.tenant, key))?
    {
        let broken = stored::decode::<BrokenKey>(&broken)?.job;
        unsuccessful.extend((broken.sequence < job.sequence).then_some(broken));
    }
    for named in &ties.after {
        let named = place_of(job, named.sequence());
        if view.status(named)?.is_some_and(|status| status.is_final() && status != Status::Succeeded) {
            unsuccessful.push(named);
        }
    }
    Ok(Predecessors { unfinished: unfinished(view, job, ties)?, unsuccessful })
}

/// Where the mark of an ordering key is.
fn broken(tenant: TenantId, key: &OrderingKey) -> Vec<u8> {
    keys::row(BrokenKey::ROWS, &BrokenKey::key_of(tenant, key))
}

/// The unfinished job that has a dedup key.
pub(super) fn dedup_holder(view: View<'_>, tenant: TenantId, key: &DedupKey) -> Result<Option<JobKey>, ReadError> {
    let stored = view.values.get(&keys::dedup(tenant, key))?;
    let sequence: Option<Sequence> = stored.map(|value| codec::decode("a sequence", &value)).transpose()?;
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

/// The place of a job that `job` names.
fn place_of(job: JobKey, named: Sequence) -> JobKey {
    JobKey { sequence: named, ..job }
}
