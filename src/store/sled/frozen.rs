//! The store as it was after one group of commits, while later groups are written.
//!
//! Memory is copied when the store is frozen. From then on, before the tree takes a batch, what it has under the keys of that
//! batch is put over it for the frozen view: its first value since the moment, and only where the view may still come by. So
//! the writer pays nothing while nothing is frozen, and what is kept is bounded ([`super::SledSettings::frozen_bytes`]).

use std::ops::Bound;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::RwLock;

use super::engine::Engine;
use super::keys;
use super::live::{Block, Live, View};
use super::shared::Shared;
use super::values::Values;
use super::{codec, rows};
use crate::domain::family::{Family, SharedRow};
use crate::domain::id::{Digest, JobKey, Sequence};
use crate::domain::job::{Job, Run};
use crate::store::ReadError;
use crate::store::frozen::{Frozen, FrozenError, Moment, WholeJob};
use crate::store::rows::of_jobs;
use crate::stored::Registry;

/// What an entry that is kept costs besides its bytes.
const ENTRY_BYTES: u64 = 96;
/// How many rows are read at a time.
const ROWS_AT_ONCE: usize = 32;
/// How many rows of jobs are read at a time.
const ROWS_OF_JOBS_AT_ONCE: usize = 256;

/// What is kept for a frozen view.
pub(super) struct Held {
    moment: Moment,
    /// No job behind this one is seen.
    last: Sequence,
    limit: u64,
    /// Locked after [`Shared::live`].
    state: RwLock<HeldState>,
}

#[derive(Default)]
struct HeldState {
    /// Memory as it was; what is ahead of the tree there are the values that the tree had, too.
    live: Live,
    /// What was put there since.
    bytes: u64,
    /// The view needs no job before this one any more.
    needs_from: JobKey,
    failure: Option<FrozenError>,
}

impl Held {
    /// Whether the view may still look at the value of a key. It looks at no label, no ready entry and no other that follows
    /// from the records.
    fn may_look_at(&self, key: &[u8], needs_from: JobKey, families: &Registry) -> bool {
        let is_ahead = |first: JobKey, last: JobKey| first.sequence <= self.last && last >= needs_from;
        match key.first() {
            Some(&(keys::BLOCK | keys::STATE | keys::RUN)) => {
                keys::starting_job(key).is_none_or(|job| is_ahead(job, JobKey { sequence: Sequence(u64::MAX), ..job }))
            }
            Some(&keys::OUTCOME) => keys::starting_job(key).is_none_or(|bucket| {
                let first = Sequence(bucket.sequence.0.saturating_mul(keys::BUCKET_JOBS));
                let last = Sequence(first.0.saturating_add(keys::BUCKET_JOBS - 1));
                is_ahead(JobKey { sequence: first, ..bucket }, JobKey { sequence: last, ..bucket })
            }),
            Some(&keys::ROW) => keys::row_of(key).is_none_or(|(number, row)| match families.family(number) {
                Some(family) if family.is_resident => false,
                Some(family) if family.goes_with_job() => row.job().is_none_or(|job| is_ahead(job, job)),
                _ => true,
            }),
            Some(&keys::ROW_INDEX) => {
                let family = key.get(1).and_then(|number| families.family(*number));
                family.is_none_or(|family| !family.is_resident && family.lapses_by == key.get(2).copied())
            }
            Some(&keys::PART) => {
                keys::part_entry(key).is_none_or(|(whole, _)| self.may_look_at(whole, needs_from, families))
            }
            _ => false,
        }
    }

    /// Keeps what the tree has under keys that it is about to overwrite.
    fn keep<'a>(&self, tree: &dyn Engine, keys: impl Iterator<Item = &'a Vec<u8>>) {
        let mut state = self.state.write();
        let families = Arc::clone(state.live.rows.registry());
        for key in keys {
            if state.failure.is_some() {
                return;
            }
            if !self.may_look_at(key, state.needs_from, &families) || state.live.ahead.has(key) {
                continue;
            }
            match Values::stored(tree).entry(key) {
                Ok(value) => {
                    state.bytes += ENTRY_BYTES + (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
                    state.live.ahead.set(key.clone(), value);
                }
                // The writer meets it by itself.
                Err(error) => state.failure = Some(error.into()),
            }
            if state.bytes > self.limit {
                state.failure = Some(FrozenError::Overtaken { limit: self.limit });
            }
        }
        if state.failure.is_some() {
            state.live = Live::default();
        }
    }
}

/// The frozen views of a store, as far as they live.
#[derive(Debug, Default)]
pub(super) struct Frozens(Vec<Weak<Held>>);

impl Frozens {
    /// Whether there is one.
    pub(super) fn is_any(&self) -> bool {
        self.0.iter().any(|held| held.strong_count() > 0)
    }

    fn has(&self, held: &Arc<Held>) -> bool {
        self.0.iter().any(|one| std::ptr::eq(one.as_ptr(), Arc::as_ptr(held)))
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("moment", &self.moment).finish_non_exhaustive()
    }
}

impl Live {
    /// Freezes what is there now, which is all up to `moment`, with no job behind `last`.
    pub(super) fn freeze(&mut self, moment: Moment, last: Sequence, limit: u64) -> Arc<Held> {
        let jobs = self.counts.values().map(|counts| counts.all()).sum();
        let state = HeldState { live: self.frozen_copy(), ..HeldState::default() };
        let held = Arc::new(Held { moment: Moment { jobs, ..moment }, last, limit, state: RwLock::new(state) });
        self.frozen.0.retain(|held| held.strong_count() > 0);
        self.frozen.0.push(Arc::downgrade(&held));
        held
    }

    /// For each frozen view, keeps what the tree is about to lose.
    pub(super) fn keep_for_frozen(&mut self, tree: &dyn Engine) {
        if self.frozen.0.is_empty() {
            return;
        }
        self.frozen.0.retain(|held| held.strong_count() > 0);
        for held in self.frozen.0.iter().filter_map(Weak::upgrade) {
            held.keep(tree, self.ahead.keys());
        }
    }

    /// What only memory has of the records.
    fn frozen_copy(&self) -> Self {
        Self {
            ahead: self.ahead.clone(),
            running: self.running.clone(),
            buckets: self.dirty_buckets(),
            rows: self.rows.clone(),
            ..Self::default()
        }
    }
}

/// The frozen view of a store.
pub(super) struct FrozenView {
    pub(super) shared: Arc<Shared>,
    pub(super) held: Arc<Held>,
    next_block: Bound<Vec<u8>>,
    /// The families whose rows are still to be shown, the next one last, and how far the next one was shown.
    families: Vec<&'static Family>,
    behind: Option<Vec<u8>>,
}

impl FrozenView {
    pub(super) fn new(shared: Arc<Shared>, held: Arc<Held>) -> Self {
        let families = shared.settings.families.families().filter(|family| !family.goes_with_job());
        let mut families: Vec<_> = families.collect();
        families.reverse();
        Self { shared, held, next_block: Bound::Included(vec![keys::BLOCK]), families, behind: None }
    }

    /// Reads while the tree stays as it is.
    fn view<T>(&self, read: impl FnOnce(View<'_>) -> Result<T, ReadError>) -> Result<T, FrozenError> {
        let live = self.shared.live.read();
        if !live.frozen.has(&self.held) {
            return Err(FrozenError::Reopened);
        }
        let tree = self.shared.tree()?;
        let state = self.held.state.read();
        match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(read(View::new(&state.live, &*tree))?),
        }
    }

    /// The jobs of the next block, without their rows; none behind the last.
    fn jobs_of_next_block(&self) -> Result<Option<BlockOfJobs>, FrozenError> {
        let last = self.held.last;
        self.view(|view| {
            let mut blocks = view.values.ascending(self.next_block.clone(), Bound::Excluded(vec![keys::BLOCK + 1]));
            loop {
                let Some(entry) = blocks.next() else { return Ok(None) };
                let (key, value) = entry?;
                if keys::job_of(&key).is_some_and(|first| first.sequence > last) {
                    continue;
                }
                let block = Block::stored(&key, view.values.whole(&key, value)?)?;
                let (_, entries) = block.entries()?;
                let mut outcomes = view.outcomes();
                let mut jobs = Vec::with_capacity(entries.len());
                for (index, fields) in entries.iter().enumerate().filter(|(_, fields)| !fields.is_empty()) {
                    let submission = Arc::new(codec::read_submission(fields)?);
                    let state = outcomes.state(block.job(index))?;
                    jobs.push(Job { submission, state });
                }
                return Ok(Some(BlockOfJobs { behind: block.job(entries.len()), key, jobs }));
            }
        })
    }

    /// The closed runs of the jobs from `first` to `last`, in order.
    fn runs(&self, first: JobKey, last: JobKey) -> Result<Vec<(JobKey, Run)>, FrozenError> {
        let mut runs = Vec::new();
        let mut from = Bound::Included(keys::runs(first));
        loop {
            let (page, read) = self.view(|view| {
                let to = super::values::behind(&keys::runs(last));
                let entries = view.values.ascending(from.clone(), to).take(ROWS_OF_JOBS_AT_ONCE);
                let mut page = Vec::new();
                let mut read = None;
                for entry in entries {
                    let (key, value) = entry?;
                    let job =
                        keys::starting_job(&key).ok_or_else(|| ReadError::Damaged("the key of a run".to_owned()))?;
                    page.push((job, codec::decode(&view.values.whole(&key, value)?)?));
                    read = Some(key);
                }
                Ok((page, read))
            })?;
            let is_last = page.len() < ROWS_OF_JOBS_AT_ONCE;
            runs.extend(page);
            match read.filter(|_| !is_last) {
                Some(key) => from = Bound::Excluded(key),
                None => return Ok(runs),
            }
        }
    }

    /// The rows of a family that go with the jobs from `first` to `last`, in order.
    fn rows_of_jobs(&self, family: &Family, first: JobKey, last: JobKey) -> Result<Vec<SharedRow>, FrozenError> {
        let mut rows = Vec::new();
        let (mut from, to) = of_jobs(first, last);
        loop {
            let range = (from, to.clone());
            let page = self.view(|view| rows::by_key(view, family, range, ROWS_OF_JOBS_AT_ONCE))?;
            let is_last = page.len() < ROWS_OF_JOBS_AT_ONCE;
            rows.extend(page);
            match rows.last().filter(|_| !is_last) {
                Some(last) => from = Bound::Excluded(last.key()),
                None => return Ok(rows),
            }
        }
    }
}

/// The jobs of a block.
struct BlockOfJobs {
    key: Vec<u8>,
    jobs: Vec<Job>,
    /// The first key that is not one of the block.
    behind: JobKey,
}

impl Frozen for FrozenView {
    fn moment(&self) -> Moment {
        self.held.moment
    }

    fn families(&self) -> &Registry {
        &self.shared.settings.families
    }

    fn next_jobs(&mut self) -> Result<Vec<WholeJob>, FrozenError> {
        loop {
            let Some(BlockOfJobs { key, jobs, behind }) = self.jobs_of_next_block()? else { return Ok(Vec::new()) };
            let mut whole: Vec<_> =
                jobs.into_iter().map(|job| WholeJob { job, earlier_runs: Vec::new(), rows: Vec::new() }).collect();
            let ends = whole.first().zip(whole.last());
            if let Some((first, last)) = ends.map(|(one, other)| (one.job.submission.key(), other.job.submission.key()))
            {
                let place =
                    |whole: &[WholeJob], job| whole.binary_search_by_key(&job, |whole| whole.job.submission.key()).ok();
                // Rows of a job that is gone are leftovers, which nobody can ask for.
                for (job, run) in self.runs(first, last)? {
                    place(&whole, job).into_iter().for_each(|at| whole[at].earlier_runs.push(run.clone()));
                }
                for family in self.shared.settings.families.families().filter(|family| family.goes_with_job()) {
                    for row in self.rows_of_jobs(family, first, last)? {
                        let at = row.key().job().and_then(|job| place(&whole, job));
                        at.into_iter().for_each(|at| whole[at].rows.push(Arc::clone(&row)));
                    }
                }
            }
            self.next_block = Bound::Excluded(key);
            self.held.state.write().needs_from = behind;
            if !whole.is_empty() {
                return Ok(whole);
            }
        }
    }

    fn next_rows(&mut self) -> Result<Vec<SharedRow>, FrozenError> {
        while let Some(family) = self.families.last().copied() {
            let (page, behind) = self.view(|view| rows::page(view, family, self.behind.as_deref(), ROWS_AT_ONCE))?;
            if behind.is_none() {
                self.families.pop();
            }
            self.behind = behind;
            if !page.is_empty() {
                return Ok(page);
            }
        }
        Ok(Vec::new())
    }

    fn blob_part(&self, digest: Digest, from: u64, most: usize) -> Result<Option<Bytes>, ReadError> {
        self.shared.blobs.part(digest, from, most).map_err(|error| ReadError::of(&error))
    }
}
