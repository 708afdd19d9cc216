//! The commits that are written together, and what is known of the store while one more of them is decided.

use std::collections::HashMap;

use super::index::Entry;
use super::live::{Live, View};
use super::standing::{Standing, Standings};
use super::{rows, ties};
use crate::domain::change::Change;
use crate::domain::family::{Family, RowKey, SharedRow};
use crate::domain::id::{DedupKey, JobKey, TenantId};
use crate::store::ReadError;
use crate::store::guard::{Facts, Made};

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
    /// The rows that it has changed.
    rows: HashMap<(u8, RowKey), Option<&'a SharedRow>>,
    made: Made,
    /// Who has a dedup key, where that has changed.
    pub(super) dedup: HashMap<(TenantId, DedupKey), Option<JobKey>>,
}

impl<'a> Group<'a> {
    /// Notes what a change of it makes of the store.
    pub(super) fn note(&mut self, change: &'a Change, before: Option<&Standing>, live: &Live) {
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
            Change::Put(row) | Change::Load(row) => self.note_row(row.family(), row.key(), Some(row), live),
            Change::Remove { family, key, .. } => self.note_row(family, key.clone(), None, live),
            _ => {}
        }
    }

    fn note_row(&mut self, family: &Family, key: RowKey, row: Option<&'a SharedRow>, live: &Live) {
        let row = row.filter(|row| !row.is_void());
        if family.most.is_some() {
            let present = self.rows.get(&(family.number, key.clone()));
            let was_there = present.map_or_else(|| live.rows.row(family, &key).is_some(), Option::is_some);
            self.made.note(family, &key, was_there, row.is_some());
        }
        self.rows.insert((family.number, key), row);
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

    fn row(&mut self, family: &'static Family, key: &RowKey) -> Result<Option<SharedRow>, ReadError> {
        match self.group.rows.get(&(family.number, key.clone())) {
            Some(row) => Ok(row.cloned()),
            None => rows::row(self.view, family, key),
        }
    }

    fn count(&mut self, family: &'static Family, tenant: TenantId) -> Result<usize, ReadError> {
        Ok(self.group.made.with(self.view.live.rows.count(family, tenant), family, tenant))
    }

    fn dedup_holder(&mut self, tenant: TenantId, key: &DedupKey) -> Result<Option<JobKey>, ReadError> {
        match self.group.dedup.get(&(tenant, key.clone())) {
            Some(holder) => Ok(*holder),
            None => ties::dedup_holder(self.view, tenant, key),
        }
    }
}
