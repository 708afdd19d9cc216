//! The memory store as it was at one moment: a copy.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::frozen::{Frozen, FrozenError, Moment, WholeJob};
use super::super::part;
use super::tables::Tables;
use crate::domain::family::SharedRow;
use crate::domain::id::{Digest, JobKey};
use crate::store::ReadError;
use crate::stored::Registry;

/// How much is shown at a time.
const PAGE: usize = 100;

/// A copy of what the store held.
pub(super) struct Copied {
    pub(super) moment: Moment,
    pub(super) tables: Tables,
    pub(super) blobs: BTreeMap<Digest, Bytes>,
    /// Behind which job it goes on.
    pub(super) seen: Option<JobKey>,
    /// What is still to be shown, the next one last; none before the first was asked for.
    pub(super) rows: Option<Vec<SharedRow>>,
}

impl Frozen for Copied {
    fn moment(&self) -> Moment {
        self.moment
    }

    fn families(&self) -> &Registry {
        self.tables.rows().registry()
    }

    fn next_jobs(&mut self) -> Result<Vec<WholeJob>, FrozenError> {
        let jobs = self.tables.whole_jobs(self.seen, PAGE);
        self.seen = jobs.last().map(|last| last.job.submission.key()).or(self.seen);
        Ok(jobs)
    }

    fn next_rows(&mut self) -> Result<Vec<SharedRow>, FrozenError> {
        let left = self.rows.get_or_insert_with(|| self.tables.all_rows().into_iter().rev().collect());
        let next = left.split_off(left.len().saturating_sub(PAGE));
        Ok(next.into_iter().rev().collect())
    }

    fn blob_part(&self, digest: Digest, from: u64, most: usize) -> Result<Option<Bytes>, ReadError> {
        Ok(self.blobs.get(&digest).map(|bytes| part(bytes, from, most)))
    }
}
