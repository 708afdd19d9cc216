//! What the store keeps in memory beside the index, and finding a job in both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::buckets::{BucketNumber, OpenBucket};
use super::codec::{self, block, bucket};
use super::engine::Engine;
use super::frozen::Frozens;
use super::keys;
use super::values::{Values, Writes, parts_of_entry};
use crate::domain::id::{JobKey, PluginName, Sequence, TenantId};
use crate::domain::job::{Job, JobState, Rank, StateCode, Status, Submission};
use crate::domain::query::Counts;
use crate::domain::queue::Lane;
use crate::domain::time::Timestamp;
use crate::store::ReadError;
use crate::store::rows::Rows;

/// What is in memory. Readers take it together with the index, so that they see whole groups of commits.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// What the journal may still lose and the tree therefore does not have yet.
    pub(super) ahead: Writes,
    /// Counts that have changed since the tree has had them.
    pub(super) counted: BTreeSet<(TenantId, PluginName)>,
    /// Locked jobs. The index has them only as of a checkpoint.
    pub(super) running: FxHashMap<JobKey, JobState>,
    /// Outcome buckets to which more is to come; the index has them as of a checkpoint or later.
    pub(super) buckets: BTreeMap<BucketNumber, OpenBucket>,
    /// Which jobs of a block are still as new as can be, by the block's first job. Where a block is missing, the index
    /// knows.
    pub(super) fresh: BTreeMap<JobKey, FreshBlock>,
    pub(super) counts: BTreeMap<(TenantId, PluginName), Counts>,
    /// The rows of the families that are resident.
    pub(super) rows: Rows,
    /// Who still reads what was there before.
    pub(super) frozen: Frozens,
}

/// A block of which some jobs are still ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FreshBlock {
    pub(super) mask: u16,
    pub(super) jobs: u8,
    pub(super) lane: Lane,
    pub(super) rank: Rank,
}

/// Where the state of a job is kept, and what has to be undone when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: it is as new as can be, and its block is in the ready index.
    Fresh,
    /// In [`Live::running`].
    Running,
    /// Under a key of its own.
    Kept { due: Option<Timestamp>, parts: u16 },
    /// In an outcome bucket.
    Ended,
    /// Under a key of its own, with a mark in the outcome bucket.
    EndedLarge { parts: u16 },
}

/// Outcomes of more bytes than this are kept elsewhere.
const OUTCOME_BYTES_MAX: usize = 1024;

impl Place {
    /// Where a state belongs that takes `bytes` bytes.
    pub(super) fn of(state: &JobState, bytes: usize) -> Self {
        let parts = super::values::parts_of(codec::HEAD + bytes);
        match state.status.state() {
            StateCode::Locked => Self::Running,
            StateCode::Completed if bytes > OUTCOME_BYTES_MAX => Self::EndedLarge { parts },
            StateCode::Completed => Self::Ended,
            StateCode::Suspended => Self::Kept { due: state.postpone_until, parts },
            StateCode::Ready => Self::Kept { due: None, parts },
        }
    }
}

/// A block that was found.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) first: JobKey,
    value: Vec<u8>,
}

impl Block {
    /// A block as it is stored under `key`.
    pub(super) fn stored(key: &[u8], value: Vec<u8>) -> Result<Self, ReadError> {
        let first = keys::job_of(key).ok_or_else(|| ReadError::Damaged("the key of a block".to_owned()))?;
        Ok(Self { first, value: block::of_any_version(value)? })
    }

    /// The kind, and the fields of each submission; none of a deleted one.
    pub(super) fn entries(&self) -> Result<(block::Kind, Vec<&[u8]>), ReadError> {
        Ok(block::read(&self.value)?)
    }

    /// The job at a place of the block.
    pub(super) fn job(&self, index: usize) -> JobKey {
        let sequence = Sequence(self.first.sequence.0 + index as u64);
        JobKey { tenant: self.first.tenant, sequence }
    }

    /// The place of a job in the block; it may be behind its end.
    pub(super) fn index_of(&self, job: JobKey) -> usize {
        usize::try_from(job.sequence.0 - self.first.sequence.0).unwrap_or(usize::MAX)
    }
}

/// Memory and index together.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) live: &'a Live,
    pub(super) values: Values<'a>,
}

impl<'a> View<'a> {
    /// Memory over a tree.
    pub(super) fn new(live: &'a Live, tree: &'a dyn Engine) -> Self {
        Self { live, values: Values::after(tree, &live.ahead) }
    }

    /// A job.
    pub(super) fn job(&self, key: JobKey) -> Result<Option<Job>, ReadError> {
        let Some(submission) = self.find(key)? else { return Ok(None) };
        let state = self.state(key)?.map(|(_, state)| state);
        let state = state.unwrap_or_default();
        Ok(Some(Job { submission: Arc::new(submission), state }))
    }

    /// The block that a job belongs to, if there is one.
    pub(super) fn block(&self, job: JobKey) -> Result<Option<Block>, ReadError> {
        let Some((key, value)) = self.values.floor(&keys::block(job))? else { return Ok(None) };
        let block = Block::stored(&key, value)?;
        Ok(Some(block).filter(|block| block.first.tenant == job.tenant))
    }

    /// Where a job stands, if there is one.
    pub(super) fn status(&self, job: JobKey) -> Result<Option<Status>, ReadError> {
        if self.find(job)?.is_none() {
            return Ok(None);
        }
        Ok(Some(self.state(job)?.map(|(_, state)| state.status).unwrap_or_default()))
    }

    /// The submission of a job; none when there is no such job (any more).
    pub(super) fn find(&self, job: JobKey) -> Result<Option<Submission>, ReadError> {
        let Some(block) = self.block(job)? else { return Ok(None) };
        let (_, entries) = block.entries()?;
        let fields = entries.get(block.index_of(job)).filter(|fields| !fields.is_empty());
        Ok(fields.map(|fields| codec::read_submission(fields)).transpose()?)
    }

    /// The state of a job that is known to exist, and where it is kept; none of a job as new as can be.
    pub(super) fn state(&self, job: JobKey) -> Result<Option<(Place, JobState)>, ReadError> {
        if let Some(state) = self.live.running.get(&job) {
            return Ok(Some((Place::Running, state.clone())));
        }
        let key = keys::state(job);
        if let Some(entry) = self.values.entry(&key)? {
            let parts = parts_of_entry(&entry);
            let state: JobState = codec::decode(&self.values.whole(&key, entry)?)?;
            let place = match state.status.state() {
                StateCode::Completed => Place::EndedLarge { parts },
                StateCode::Suspended => Place::Kept { due: state.postpone_until, parts },
                StateCode::Ready | StateCode::Locked => Place::Kept { due: None, parts },
            };
            return Ok(Some((place, state)));
        }
        self.outcome(job)
    }

    /// The states of neighbouring jobs, for which a bucket of outcomes is read once.
    pub(super) fn outcomes(&self) -> Outcomes<'a> {
        Outcomes { view: *self, bucket: None }
    }

    fn outcome(&self, job: JobKey) -> Result<Option<(Place, JobState)>, ReadError> {
        let number = keys::bucket_of(job);
        let stored;
        let value = match self.live.buckets.get(&number) {
            Some(open) => &open.value,
            None => match self.values.get(&keys::outcome(number))? {
                None => return Ok(None),
                Some(value) => {
                    stored = bucket::of_any_version(value)?;
                    &stored
                }
            },
        };
        match bucket::find(value, keys::offset_in_bucket(job))? {
            Some(bucket::Entry::Ended(fields)) => Ok(Some((Place::Ended, codec::read_state(fields)?))),
            Some(bucket::Entry::Elsewhere) => Err(ReadError::Damaged(format!("the outcome of job {job:?} is missing"))),
            Some(bucket::Entry::Gone) | None => Ok(None),
        }
    }

    /// Which jobs of a block are as new as can be; none when the block is none of new jobs.
    pub(super) fn fresh(&self, block: &Block) -> Result<Option<FreshBlock>, ReadError> {
        if let Some(known) = self.live.fresh.get(&block.first) {
            return Ok(Some(known.clone()));
        }
        let (kind, entries) = block.entries()?;
        if kind == block::Kind::Other {
            return Ok(None);
        }
        let mut fresh = None;
        let mut mask = 0;
        for (index, fields) in entries.iter().enumerate() {
            if fields.is_empty() || self.state(block.job(index))?.is_some() {
                continue;
            }
            mask |= 1 << index;
            if fresh.is_none() {
                let submission = codec::read_submission(fields)?;
                fresh = Some((Lane::of(&submission), submission.rank()));
            }
        }
        let jobs = u8::try_from(entries.len()).unwrap_or(u8::MAX);
        Ok(fresh.map(|(lane, rank)| FreshBlock { mask, jobs, lane, rank }))
    }
}

/// The number of a bucket, and its value.
type ReadBucket = (BucketNumber, Option<Vec<u8>>);

/// See [`View::outcomes`].
pub(super) struct Outcomes<'a> {
    view: View<'a>,
    /// The one that was read last.
    bucket: Option<ReadBucket>,
}

impl Outcomes<'_> {
    /// The state of a job that is known to exist.
    pub(super) fn state(&mut self, job: JobKey) -> Result<JobState, ReadError> {
        Ok(self.placed(job)?.1)
    }

    /// The state of a job that is known to exist, and where it is kept.
    pub(super) fn placed(&mut self, job: JobKey) -> Result<(Place, JobState), ReadError> {
        match self.said(job)? {
            Some(bucket::Entry::Ended(fields)) => Ok((Place::Ended, codec::read_state(fields)?)),
            _ => Ok(self.view.state(job)?.unwrap_or((Place::Fresh, JobState::default()))),
        }
    }

    fn said(&mut self, job: JobKey) -> Result<Option<bucket::Entry<'_>>, ReadError> {
        let number = keys::bucket_of(job);
        if self.bucket.as_ref().is_none_or(|(read, _)| *read != number) {
            let value = match self.view.live.buckets.get(&number) {
                Some(open) => Some(open.value.clone()),
                None => {
                    let stored = self.view.values.get(&keys::outcome(number))?;
                    stored.map(bucket::of_any_version).transpose()?
                }
            };
            self.bucket = Some((number, value));
        }
        let value = self.bucket.as_ref().and_then(|(_, value)| value.as_deref());
        Ok(value.map(|value| bucket::find(value, keys::offset_in_bucket(job))).transpose()?.flatten())
    }
}

/// Whether jobs of a status are under [`keys::READY`] one by one.
pub(super) fn is_single_ready(status: Status, place: Place) -> bool {
    status == Status::Queued && matches!(place, Place::Kept { .. })
}
