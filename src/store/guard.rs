//! The guards of [`Change`], in one place for every store: what a commit may not overwrite. Of a row the row itself says it.

use std::collections::{HashMap, HashSet};

use crate::domain::change::Change;
use crate::domain::family::{AnyRow, Family, RowKey, SharedRow, may_remove};
use crate::domain::id::{DedupKey, JobKey, TenantId};
use crate::domain::job::Status;

/// What the guards ask of a store.
pub(crate) trait Facts {
    /// Why a fact could not be had.
    type Error;

    /// The stored revision of a job.
    fn job_revision(&mut self, job: JobKey) -> Result<Option<u32>, Self::Error>;

    /// The unfinished job that has a dedup key.
    fn dedup_holder(&mut self, tenant: TenantId, key: &DedupKey) -> Result<Option<JobKey>, Self::Error>;

    /// The row of a key.
    fn row(&mut self, family: &'static Family, key: &RowKey) -> Result<Option<SharedRow>, Self::Error>;

    /// How many rows a tenant has, of a family that bounds that.
    fn count(&mut self, family: &'static Family, tenant: TenantId) -> Result<usize, Self::Error>;
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
    let mut ahead = Ahead::default();
    for (index, change) in changes.iter().enumerate() {
        let is_last = index + 1 == changes.len();
        if !ahead.accepts(change, is_last, facts)? {
            return Ok(Verdict::Conflict(index));
        }
        if !is_last {
            ahead.note_job(change);
        }
    }
    Ok(Verdict::Accepted)
}

/// How many rows changes make more than there were, by family and tenant, where a family bounds that.
#[derive(Debug, Default)]
pub(crate) struct Made(HashMap<(u8, TenantId), isize>);

impl Made {
    /// Notes that there was a row or not, and that there is one or not.
    pub(crate) fn note(&mut self, family: &Family, key: &RowKey, was_there: bool, is_there: bool) {
        if let Some(tenant) = family.most.and_then(|_| key.tenant())
            && was_there != is_there
        {
            *self.0.entry((family.number, tenant)).or_default() += if is_there { 1 } else { -1 };
        }
    }

    /// With those of a store that has `stored`.
    pub(crate) fn with(&self, stored: usize, family: &Family, tenant: TenantId) -> usize {
        stored.saturating_add_signed(self.0.get(&(family.number, tenant)).copied().unwrap_or_default())
    }
}

/// What the changes before the present one make of the store.
#[derive(Default)]
struct Ahead<'a> {
    jobs: HashMap<JobKey, Option<u32>>,
    dedup: HashMap<(TenantId, &'a DedupKey), JobKey>,
    /// The jobs that end: their dedup keys are free from then on.
    ended: HashSet<JobKey>,
    rows: HashMap<(u8, RowKey), Option<&'a SharedRow>>,
    made: Made,
}

impl<'a> Ahead<'a> {
    fn note_job(&mut self, change: &'a Change) {
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
            Change::Put(_) | Change::Remove { .. } | Change::Load(_) | Change::StartHost(_) => {}
        }
    }

    fn job_revision<F: Facts>(&self, job: JobKey, facts: &mut F) -> Result<Option<u32>, F::Error> {
        match self.jobs.get(&job) {
            Some(revision) => Ok(*revision),
            None => facts.job_revision(job),
        }
    }

    fn accepts<F: Facts>(&mut self, change: &'a Change, is_last: bool, facts: &mut F) -> Result<bool, F::Error> {
        Ok(match change {
            Change::Submit(submission, _) => {
                let is_taken = match dedup_key(change) {
                    None => false,
                    Some(key) => {
                        let holder = match self.dedup.get(&(submission.tenant, key)) {
                            Some(holder) => Some(*holder),
                            None => facts.dedup_holder(submission.tenant, key)?,
                        };
                        holder.is_some_and(|holder| !self.ended.contains(&holder))
                    }
                };
                !is_taken && self.job_revision(submission.key(), facts)?.is_none()
            }
            Change::Advance { job, expected, next, .. } => {
                self.job_revision(*job, facts)? == Some(*expected) && expected.checked_add(1) == Some(next.revision)
            }
            Change::Delete { job, expected } => self.job_revision(*job, facts)? == Some(*expected),
            Change::Put(row) => {
                let follows = |present: Option<&dyn AnyRow>| row.follows(present);
                self.takes(row.family(), row.key(), Some(row), &follows, is_last, facts)?
            }
            Change::Load(row) => {
                let is_new = |present: Option<&dyn AnyRow>| present.is_none();
                self.takes(row.family(), row.key(), Some(row), &is_new, is_last, facts)?
            }
            Change::Remove { family, key, expected } => {
                let may_go = |present: Option<&dyn AnyRow>| may_remove(present, *expected);
                self.takes(family, key.clone(), None, &may_go, is_last, facts)?
            }
            Change::StartHost(_) => true,
        })
    }

    /// Whether a row may become another, or go. Notes what becomes of it, unless nothing comes behind.
    fn takes<F: Facts>(
        &mut self,
        family: &'static Family,
        key: RowKey,
        row: Option<&'a SharedRow>,
        may: &dyn Fn(Option<&dyn AnyRow>) -> bool,
        is_last: bool,
        facts: &mut F,
    ) -> Result<bool, F::Error> {
        let place = (family.number, key);
        let stored;
        let present = match self.rows.get(&place) {
            Some(ahead) => ahead.map(|row| &**row),
            None => {
                stored = facts.row(family, &place.1)?;
                stored.as_deref()
            }
        };
        let (was_there, row) = (present.is_some(), row.filter(|row| !row.is_void()));
        if !may(present) {
            return Ok(false);
        }
        if let (false, true, Some(most), Some(tenant)) = (was_there, row.is_some(), family.most, place.1.tenant()) {
            let count = facts.count(family, tenant)?;
            if self.made.with(count, family, tenant) >= most {
                return Ok(false);
            }
        }
        if !is_last {
            self.made.note(family, &place.1, was_there, row.is_some());
            self.rows.insert(place, row);
        }
        Ok(true)
    }
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
