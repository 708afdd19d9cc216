//! Outcome buckets: how sixteen neighbouring jobs ended, in one value. Those to which more is to come are in memory.

use std::collections::BTreeMap;

use super::codec::bucket;
use super::engine::Engine;
use super::index::Indexer;
use super::keys;
use super::live::Live;
use super::values::{Values, parts_of, parts_of_entry};
use crate::domain::id::{JobKey, TenantId};
use crate::store::ReadError;

/// Buckets to which more is to come, in memory.
const BUCKETS_OPEN: usize = 4096;

/// Whose bucket, and which.
pub(super) type BucketNumber = (TenantId, u64);

/// An outcome bucket in memory.
#[derive(Clone, Debug)]
pub(super) struct OpenBucket {
    pub(super) value: Vec<u8>,
    /// The jobs of which it says something, a bit each.
    said: u16,
    is_dirty: bool,
    /// How many parts the index has of it.
    parts: u16,
}

impl OpenBucket {
    /// Puts `value` in the place of what it said.
    fn rewrite(&mut self, value: Vec<u8>, said: u16) {
        *self = Self { value, said, is_dirty: true, ..*self };
    }

    /// What it says, without that of some jobs.
    fn without(&self, jobs: u16) -> Result<Vec<u8>, ReadError> {
        let mut value = bucket::start();
        for (offset, entry) in bucket::read(&self.value)? {
            if jobs & 1 << offset == 0 {
                bucket::push(&mut value, offset, entry);
            }
        }
        Ok(value)
    }
}

impl Live {
    /// The buckets that say more than the index.
    pub(super) fn dirty_buckets(&self) -> BTreeMap<BucketNumber, OpenBucket> {
        let dirty = self.buckets.iter().filter(|(_, open)| open.is_dirty);
        dirty.map(|(number, open)| (*number, open.clone())).collect()
    }

    /// Whether anything is said of a job.
    pub(super) fn has_said(&mut self, tree: &dyn Engine, job: JobKey) -> Result<bool, ReadError> {
        let said = self.open_bucket(tree, keys::bucket_of(job))?.said;
        Ok(said & bit(job) != 0)
    }

    /// Says of a job how it ended.
    pub(super) fn say(&mut self, tree: &dyn Engine, job: JobKey, entry: bucket::Entry<'_>) -> Result<(), ReadError> {
        let open = self.open_bucket(tree, keys::bucket_of(job))?;
        bucket::push(&mut open.value, keys::offset_in_bucket(job), entry);
        open.said |= bit(job);
        open.is_dirty = true;
        Ok(())
    }

    /// Takes back what was said of a job.
    pub(super) fn unsay(&mut self, tree: &dyn Engine, job: JobKey) -> Result<(), ReadError> {
        let open = self.open_bucket(tree, keys::bucket_of(job))?;
        if open.said & bit(job) != 0 {
            let value = open.without(bit(job))?;
            open.rewrite(value, open.said & !bit(job));
        }
        Ok(())
    }

    /// Says of jobs of a bucket, a bit each, that they are gone, whatever was said of them before.
    pub(super) fn bury(&mut self, tree: &dyn Engine, number: BucketNumber, jobs: u16) -> Result<(), ReadError> {
        let open = self.open_bucket(tree, number)?;
        let mut value = open.without(jobs)?;
        for offset in (0..).zip(0..u16::BITS).filter_map(|(offset, at)| (jobs & 1 << at != 0).then_some(offset)) {
            bucket::push(&mut value, offset, bucket::Entry::Gone);
        }
        open.rewrite(value, open.said | jobs);
        Ok(())
    }

    fn open_bucket(&mut self, tree: &dyn Engine, number: BucketNumber) -> Result<&mut OpenBucket, ReadError> {
        if !self.buckets.contains_key(&number) {
            let key = keys::outcome(number);
            let values = Values::after(tree, &self.ahead);
            let (value, parts) = match values.entry(&key)? {
                None => (bucket::start(), 0),
                Some(entry) => {
                    let parts = parts_of_entry(&entry);
                    (bucket::of_any_version(values.whole(&key, entry)?)?, parts)
                }
            };
            let said = bucket::read(&value)?.iter().fold(0, |said, (offset, _)| said | 1 << offset);
            self.buckets.insert(number, OpenBucket { value, said, is_dirty: false, parts });
        }
        self.buckets.get_mut(&number).ok_or_else(|| ReadError::Failed("a bucket was lost".to_owned()))
    }
}

impl Indexer<'_> {
    /// Says of a job how it ended.
    pub(super) fn say(&mut self, job: JobKey, entry: bucket::Entry<'_>) -> Result<(), ReadError> {
        self.live.say(self.tree, job, entry)?;
        self.close_full_bucket(keys::bucket_of(job))
    }

    /// Takes back what was said of a job.
    pub(super) fn unsay(&mut self, job: JobKey) -> Result<(), ReadError> {
        self.live.unsay(self.tree, job)
    }

    /// Writes a bucket to which nothing more can come. One whose jobs are all gone goes, too.
    pub(super) fn close_full_bucket(&mut self, number: BucketNumber) -> Result<(), ReadError> {
        let is_full = self.live.buckets.get(&number).is_some_and(|open| open.said == u16::MAX);
        let Some(full) = is_full.then(|| self.live.buckets.remove(&number)).flatten() else { return Ok(()) };
        let all_gone = bucket::read(&full.value)?.iter().all(|(_, entry)| *entry == bucket::Entry::Gone);
        match all_gone {
            true => self.live.ahead.delete_all(keys::outcome(number), full.parts),
            false => self.live.ahead.replace(keys::outcome(number), full.parts, full.value),
        }
        Ok(())
    }

    /// Writes the oldest buckets when too many are in memory.
    pub(super) fn close_buckets(&mut self) {
        if self.live.buckets.len() <= BUCKETS_OPEN {
            return;
        }
        while self.live.buckets.len() > BUCKETS_OPEN / 2 {
            let Some((number, open)) = self.live.buckets.pop_first() else { return };
            if open.is_dirty {
                self.live.ahead.replace(keys::outcome(number), open.parts, open.value);
            }
        }
    }

    /// Writes the buckets that only memory has.
    pub(super) fn write_buckets(&mut self) {
        let Live { buckets, ahead, .. } = &mut *self.live;
        for (number, open) in buckets.iter_mut().filter(|(_, open)| open.is_dirty) {
            ahead.replace(keys::outcome(*number), open.parts, open.value.clone());
            open.parts = parts_of(open.value.len());
            open.is_dirty = false;
        }
    }
}

fn bit(job: JobKey) -> u16 {
    1 << keys::offset_in_bucket(job)
}
