//! How many jobs of a lane may start, by its entries alone.

use std::ops::Bound;

use super::keys::{self, ReadyKind};
use super::live::View;
use super::read::{STEP_ENTRIES, fresh_jobs, log_unless_failed, step_entries};
use crate::domain::queue::{Lane, LaneDepth};
use crate::store::ReadError;

/// A count under way. What changes between two steps may be counted or not.
pub(super) struct Counter {
    from: Bound<Vec<u8>>,
    to: Vec<u8>,
    depth: LaneDepth,
    most: usize,
}

impl Counter {
    /// Nothing counted yet.
    pub(super) fn new(lane: &Lane, most: usize) -> Self {
        let from = Bound::Included(keys::ready_lane(lane));
        Self { from, to: keys::behind_lane(lane), depth: LaneDepth::default(), most }
    }

    /// What was counted.
    pub(super) fn into_depth(self) -> LaneDepth {
        self.depth
    }

    /// Reads some more entries; true when it has counted enough or there are no more.
    pub(super) fn step(&mut self, view: View<'_>) -> Result<bool, ReadError> {
        let mut read = 0;
        for entry in step_entries(&view.values, &self.from, &self.to) {
            let (key, entry) = entry?;
            read += 1;
            let left = self.most.saturating_sub(self.depth.jobs);
            match entry.kind {
                ReadyKind::Single if left > 0 => self.depth.add(entry.job.sequence),
                ReadyKind::Single => {}
                ReadyKind::Block => match fresh_jobs(view, entry.job) {
                    Ok(fresh) => fresh.take(left).for_each(|sequence| self.depth.add(sequence)),
                    Err(error) => log_unless_failed(entry.job, error)?,
                },
            }
            self.from = Bound::Excluded(key);
        }
        Ok(read < STEP_ENTRIES || self.depth.jobs >= self.most)
    }
}
