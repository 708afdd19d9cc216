//! From changes to index entries: the same function while the host runs and when the journal is replayed.

use std::ops::Range;

use super::codec::{self, Parts, block, bucket};
use super::deletion::is_deletion;
use super::engine::Engine;
use super::keys::{self, ReadyKind};
use super::live::{FreshBlock, Live, Place, View, is_single_ready};
use super::standing::Standing;
use super::values::{Values, parts_of_entry};
use crate::domain::change::Change;
use crate::domain::fingerprint::Fingerprint;
use crate::domain::id::JobKey;
use crate::domain::job::{JobState, Payload, Run, Status, Submission};
use crate::domain::query::{Counts, Label};
use crate::domain::queue::Lane;
use crate::store::ReadError;

/// A block holds at most this many submissions,
const BLOCK_JOBS: usize = 16;
/// and no second one beyond this many bytes.
const BLOCK_BYTES: usize = 2048;

/// In which part a job names a blob; the parts come and go apart from each other.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// What it was given.
    Input = 0,
    /// What it returned or logged.
    Result = 1,
    /// What its next run goes on from.
    Checkpoint = 2,
}

/// A change, with what was known of its job before it and where its parts are encoded.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) change: &'a Change,
    pub(super) before: Option<Standing>,
    pub(super) parts: Parts,
}

/// A group of commits on its way into the index.
pub(super) struct Indexer<'a> {
    pub(super) tree: &'a dyn Engine,
    pub(super) live: &'a mut Live,
    /// The jobs that wait for no other any more.
    pub(super) released: Vec<JobKey>,
}

impl<'a> Indexer<'a> {
    /// Writes to what memory holds ahead of the tree.
    pub(super) fn new(tree: &'a dyn Engine, live: &'a mut Live) -> Self {
        Self { tree, live, released: Vec::new() }
    }

    pub(super) fn values(&self) -> Values<'_> {
        Values::after(self.tree, &self.live.ahead)
    }

    pub(super) fn view(&self) -> View<'_> {
        View::new(self.live, self.tree)
    }

    /// Adds the changes of a frame, whose bytes are `frame`, in order.
    pub(super) fn add(&mut self, entries: &[Entry<'_>], frame: &[u8]) -> Result<(), ReadError> {
        self.add_blocks(entries, frame);
        for alike in entries.chunk_by(|one, next| is_deletion(one) && is_deletion(next)) {
            match alike {
                [one] if !is_deletion(one) => self.add_one(one, frame)?,
                deletions => self.delete(deletions)?,
            }
        }
        Ok(())
    }

    /// How many entries are ahead of the tree.
    pub(super) fn entries_ahead(&self) -> usize {
        self.live.ahead.len()
    }

    /// Writes all that is ahead of the tree, which becomes what it is after the group `lsn`. Returns how many entries that
    /// were, for [`Engine::tidy`], which nobody should have to wait for.
    pub(super) fn write(&mut self, lsn: u64) -> Result<usize, ReadError> {
        self.prepare(lsn);
        self.live.keep_for_frozen(self.tree);
        self.tree.apply(&mut self.live.ahead.iter())?;
        // What the tree has not taken whole is still read from memory.
        Ok(std::mem::take(&mut self.live.ahead).len())
    }

    fn prepare(&mut self, lsn: u64) {
        self.close_buckets();
        for (tenant, plugin) in std::mem::take(&mut self.live.counted) {
            let key = keys::counts(tenant, &plugin);
            match self.live.counts.get(&(tenant, plugin)) {
                Some(counts) => self.live.ahead.put(key, codec::encode(counts)),
                None => self.live.ahead.delete(key),
            }
        }
        self.live.ahead.put(keys::META_LSN.to_vec(), codec::encode(&lsn));
    }

    /// Writes what only memory has, so that a replay can start behind the group `lsn`. `recorded` are the jobs that the
    /// last checkpoint found running, and becomes those of this one.
    pub(super) fn checkpoint(&mut self, lsn: u64, recorded: &mut Vec<JobKey>) {
        self.write_buckets();
        for job in recorded.drain(..) {
            let key = keys::running(job);
            let parts = self.values().entry(&key).ok().flatten().map_or(0, |entry| parts_of_entry(&entry));
            self.live.ahead.delete_all(key, parts);
        }
        let Live { running, ahead, .. } = &mut *self.live;
        for (job, state) in running {
            ahead.put(keys::running(*job), codec::encode(state));
            recorded.push(*job);
        }
        self.live.ahead.put(keys::META_CHECKPOINT.to_vec(), codec::encode(&lsn));
    }

    fn add_one(&mut self, entry: &Entry<'_>, frame: &[u8]) -> Result<(), ReadError> {
        match (entry.change, &entry.before) {
            (Change::Submit(submission, state), _) => self.submit(submission, state, &frame[entry.parts.state.clone()]),
            (Change::Advance { job, next, earlier_run, .. }, Some(before)) => {
                let state = &frame[entry.parts.state.clone()];
                let run = earlier_run.as_ref().map(|run| (run, &frame[entry.parts.run.clone()]));
                self.advance(*job, before, next, state, run)
            }
            (Change::Delete { .. }, _) => self.delete(std::slice::from_ref(entry)),
            (Change::Advance { .. }, None) => Err(ReadError::Damaged("a change of a job that is not there".to_owned())),
            (Change::Put(row) | Change::Load(row), _) => self.put_row(row, &frame[entry.parts.submission.clone()]),
            (Change::Remove { family, key, .. }, _) => self.drop_row(family, key),
            (Change::StartHost(host), _) => self.raise(keys::META_HOST, host.0),
        }
    }

    /// Raises a number of the store.
    pub(super) fn raise(&mut self, key: &[u8], to: u64) -> Result<(), ReadError> {
        if to > self.values().number(key)? {
            self.live.ahead.put(key.to_vec(), codec::encode(&to));
        }
        Ok(())
    }

    fn add_blocks(&mut self, entries: &[Entry<'_>], frame: &[u8]) {
        let mut members: Vec<Member<'_>> = entries.iter().filter_map(Member::of).collect();
        members.sort_by_key(|member| member.job);
        let mut rest = members.as_slice();
        while let Some(first) = rest.first() {
            let mut bytes = 0;
            let belongs = |pair: &(usize, &Member)| {
                let (index, member) = *pair;
                bytes += member.fields.len();
                index == 0 || (index < BLOCK_JOBS && bytes <= BLOCK_BYTES && member.follows(first, index))
            };
            let count = rest.iter().enumerate().take_while(belongs).count();
            let (run, tail) = rest.split_at(count);
            self.add_block(run, frame);
            rest = tail;
        }
    }

    fn add_block(&mut self, run: &[Member<'_>], frame: &[u8]) {
        let [first, ..] = run else { return };
        let mut value = block::start(first.kind);
        for member in run {
            block::push(&mut value, &frame[member.fields.clone()]);
        }
        self.live.ahead.put(keys::block(first.job), value);
        if first.kind == block::Kind::Fresh {
            let submission = first.submission;
            let (lane, rank) = (Lane::of(submission), submission.rank());
            self.live.ahead.mark(keys::ready(&lane, rank, first.job, ReadyKind::Block));
            self.live.note_fresh(first.job, run.len(), submission);
        }
    }

    fn submit(&mut self, submission: &Submission, state: &JobState, fields: &[u8]) -> Result<(), ReadError> {
        let job = submission.key();
        let standing = Standing::new(submission, state, Place::of(state, fields.len()));
        self.name_blob(job, &submission.input, Role::Input);
        self.count(job, &standing, |counts| counts.add(state.status))?;
        for label in Label::of(submission, state) {
            self.live.ahead.mark(keys::label(job, &label));
        }
        self.bind(job, &standing);
        match fields.is_empty() {
            true => Ok(()),
            false => self.enter(job, &standing, state, fields),
        }
    }

    fn advance(
        &mut self,
        job: JobKey,
        before: &Standing,
        next: &JobState,
        fields: &[u8],
        earlier_run: Option<(&Run, &[u8])>,
    ) -> Result<(), ReadError> {
        self.count(job, before, |counts| {
            counts.remove(before.status);
            counts.add(next.status);
        })?;
        self.drop_checkpoint(job, next)?;
        self.leave(job, before)?;
        let after = before.advanced(next, Place::of(next, fields.len()));
        self.enter(job, &after, next, fields)?;
        if next.status == Status::Failed {
            let failure = next.failure().map(|failure| Fingerprint::of(&before.lane.plugin, failure));
            failure.into_iter().for_each(|print| self.live.ahead.mark(keys::label(job, &Label::Failure(print))));
        }
        if next.status.is_final() && !before.status.is_final() {
            self.unbind(job, &after)?;
        }
        if let Some((run, fields)) = earlier_run {
            self.add_run(job, run, &codec::value_of::<Run>(fields));
        }
        Ok(())
    }

    /// Adds a run that is not the last one any more.
    pub(super) fn add_run(&mut self, job: JobKey, run: &Run, value: &[u8]) {
        self.live.ahead.put(keys::run(job, run.number), value.to_vec());
        run.log.iter().for_each(|log| self.name_blob(job, log, Role::Result));
    }

    /// Takes a job out of those that may start, if it waits for another.
    pub(super) fn hold_back(&mut self, job: JobKey) -> Result<(), ReadError> {
        let Some(standing) = Standing::load(self.view(), job)? else { return Ok(()) };
        if is_single_ready(standing.status, standing.place) && self.waits(job, &standing)? {
            self.live.ahead.delete(keys::ready(&standing.lane, standing.rank, job, ReadyKind::Single));
        }
        Ok(())
    }

    /// Removes what the index says of the present state.
    pub(super) fn leave(&mut self, job: JobKey, before: &Standing) -> Result<(), ReadError> {
        self.unlist(job, before);
        match before.place {
            Place::Fresh => self.no_longer_fresh(job),
            Place::Running => {
                self.live.running.remove(&job);
                Ok(())
            }
            Place::Kept { due, parts } => {
                self.live.ahead.delete_all(keys::state(job), parts);
                // A store of before timers of expiries has it under the time of the wait.
                for due in due.into_iter().chain(before.timer()) {
                    self.live.ahead.delete(keys::timer(due, job));
                }
                if is_single_ready(before.status, before.place) {
                    self.live.ahead.delete(keys::ready(&before.lane, before.rank, job, ReadyKind::Single));
                }
                Ok(())
            }
            Place::EndedLarge { parts } => {
                self.live.ahead.delete_all(keys::state(job), parts);
                self.unsay(job)
            }
            Place::Ended => self.unsay(job),
        }
    }

    pub(super) fn unlist(&mut self, job: JobKey, before: &Standing) {
        if keys::is_listed(before.status) {
            self.live.ahead.delete(keys::listed(job, before.status));
        }
    }

    /// Writes what the index says of a new state.
    fn enter(&mut self, job: JobKey, standing: &Standing, state: &JobState, fields: &[u8]) -> Result<(), ReadError> {
        state.output.iter().for_each(|output| self.name_blob(job, output, Role::Result));
        let log = state.last_run.iter().filter_map(|run| run.log.as_ref());
        log.for_each(|log| self.name_blob(job, log, Role::Result));
        state.checkpoint.iter().for_each(|checkpoint| self.name_blob(job, checkpoint, Role::Checkpoint));
        if keys::is_listed(standing.status) {
            self.live.ahead.mark(keys::listed(job, standing.status));
        }
        match standing.place {
            Place::Fresh => Ok(()),
            Place::Running => {
                self.live.running.insert(job, state.clone());
                Ok(())
            }
            Place::Kept { .. } => {
                self.live.ahead.put(keys::state(job), codec::value_of::<JobState>(fields));
                if let Some(due) = standing.timer() {
                    self.live.ahead.mark(keys::timer(due, job));
                }
                if is_single_ready(standing.status, standing.place) && !self.waits(job, standing)? {
                    self.live.ahead.mark(keys::ready(&standing.lane, standing.rank, job, ReadyKind::Single));
                }
                Ok(())
            }
            Place::Ended => self.say(job, bucket::Entry::Ended(fields)),
            Place::EndedLarge { .. } => {
                self.live.ahead.put(keys::state(job), codec::value_of::<JobState>(fields));
                self.say(job, bucket::Entry::Elsewhere)
            }
        }
    }

    fn no_longer_fresh(&mut self, job: JobKey) -> Result<(), ReadError> {
        if self.live.fresh_block(job).is_none() {
            let view = self.view();
            let Some(block) = view.block(job)? else { return Ok(()) };
            let Some(fresh) = view.fresh(&block)? else { return Ok(()) };
            self.live.fresh.insert(block.first, fresh);
        }
        let Some(first) = self.live.fresh_block(job) else { return Ok(()) };
        let Some(fresh) = self.live.fresh.get_mut(&first) else { return Ok(()) };
        fresh.mask &= !(1 << (job.sequence.0 - first.sequence.0));
        if fresh.mask == 0 {
            self.live.ahead.delete(keys::ready(&fresh.lane, fresh.rank, first, ReadyKind::Block));
            self.live.fresh.remove(&first);
        }
        Ok(())
    }

    pub(super) fn count(
        &mut self,
        job: JobKey,
        standing: &Standing,
        change: impl Fn(&mut Counts),
    ) -> Result<(), ReadError> {
        let key = (job.tenant, standing.lane.plugin.clone());
        let counts = self.live.counts.entry(key.clone()).or_default();
        change(counts);
        if *counts == Counts::default() {
            self.live.counts.remove(&key);
        }
        self.live.counted.insert(key);
        match standing.ties.as_ref().and_then(|ties| ties.batch) {
            Some(batch) => self.count_in_batch(keys::batch(job.tenant, batch.sequence()), change),
            None => Ok(()),
        }
    }

    fn count_in_batch(&mut self, key: Vec<u8>, change: impl Fn(&mut Counts)) -> Result<(), ReadError> {
        let stored = self.values().get(&key)?;
        let mut counts: Counts = stored.map(|value| codec::decode(&value)).transpose()?.unwrap_or_default();
        change(&mut counts);
        match counts == Counts::default() {
            true => self.live.ahead.delete(key),
            false => self.live.ahead.put(key, codec::encode(&counts)),
        }
        Ok(())
    }

    fn name_blob(&mut self, job: JobKey, payload: &Payload, role: Role) {
        if let Some(digest) = payload.digest() {
            self.live.ahead.mark(keys::blob_of_job(digest, job, role as u8));
        }
    }

    /// A checkpoint that another takes the place of, or that no run will go on from, is not named any more.
    fn drop_checkpoint(&mut self, job: JobKey, next: &JobState) -> Result<(), ReadError> {
        let present = match self.live.running.get(&job) {
            Some(state) => state.checkpoint.clone(),
            // A job that waits may be called off with its checkpoint.
            None if next.status.is_final() => self.view().state(job)?.and_then(|(_, state)| state.checkpoint),
            None => None,
        };
        let replaced = present.filter(|checkpoint| next.checkpoint.as_ref() != Some(checkpoint));
        if let Some(digest) = replaced.as_ref().and_then(Payload::digest) {
            self.live.ahead.delete(keys::blob_of_job(digest, job, Role::Checkpoint as u8));
        }
        Ok(())
    }
}

/// A submission on its way into a block.
struct Member<'a> {
    job: JobKey,
    kind: block::Kind,
    submission: &'a Submission,
    fields: Range<usize>,
}

impl<'a> Member<'a> {
    fn of(entry: &Entry<'a>) -> Option<Self> {
        let Change::Submit(submission, _) = entry.change else { return None };
        let kind = match entry.parts.state.is_empty() {
            true => block::Kind::Fresh,
            false => block::Kind::Other,
        };
        Some(Self { job: submission.key(), kind, submission, fields: entry.parts.submission.clone() })
    }

    /// Whether this is the job `index` places behind `first`, and of its kind.
    fn follows(&self, first: &Self, index: usize) -> bool {
        self.job.tenant == first.job.tenant
            && self.job.sequence.0 - first.job.sequence.0 == index as u64
            && self.kind == first.kind
            && self.submission.queue == first.submission.queue
            && self.submission.plugin == first.submission.plugin
            && self.submission.ties().concurrency_key == first.submission.ties().concurrency_key
            && self.submission.rank() == first.submission.rank()
    }
}

/// What memory alone learns from a change that the index holds already: the first part of a replay.
pub(super) fn recall(
    live: &mut Live,
    tree: &dyn Engine,
    change: &Change,
    parts: &Parts,
    frame: &[u8],
) -> Result<(), ReadError> {
    let (job, state) = match change {
        Change::Submit(submission, state) => (submission.key(), state),
        Change::Advance { job, next, .. } => (*job, next),
        Change::Delete { job, .. } => {
            live.running.remove(job);
            live.unsay(tree, *job)?;
            return live.say(tree, *job, bucket::Entry::Gone);
        }
        _ => return Ok(()),
    };
    live.running.remove(&job);
    // The index has it where it went when it was written.
    let said = match Place::of(state, parts.state_bytes) {
        Place::Running => {
            live.running.insert(job, (**state).clone());
            None
        }
        Place::Ended => Some(bucket::Entry::Ended(&frame[parts.state.clone()])),
        Place::EndedLarge { .. } => Some(bucket::Entry::Elsewhere),
        Place::Kept { .. } | Place::Fresh => None,
    };
    if said.is_some() || live.has_said(tree, job)? {
        live.unsay(tree, job)?;
    }
    match said {
        Some(entry) => live.say(tree, job, entry),
        None => Ok(()),
    }
}

impl Live {
    /// How many blocks are remembered that are still wholly new. Others are looked up when their first job starts.
    const FRESH_BLOCKS_MAX: usize = 100_000;

    fn note_fresh(&mut self, first: JobKey, jobs: usize, submission: &Submission) {
        if self.fresh.len() < Self::FRESH_BLOCKS_MAX {
            let mask = u16::MAX >> (16 - jobs);
            let jobs = u8::try_from(jobs).unwrap_or(u8::MAX);
            let (lane, rank) = (Lane::of(submission), submission.rank());
            self.fresh.insert(first, FreshBlock { mask, jobs, lane, rank });
        }
    }

    /// The first job of the block of `job`, when memory has that block.
    fn fresh_block(&self, job: JobKey) -> Option<JobKey> {
        let (first, block) = self.fresh.range(..=job).next_back()?;
        let is_inside = first.tenant == job.tenant && job.sequence.0 - first.sequence.0 < u64::from(block.jobs);
        is_inside.then_some(*first)
    }
}
