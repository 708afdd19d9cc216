//! Jobs: each has one state, in its place, that keeps the invariants; and everything that follows from it is there.

use super::Walk;
use crate::domain::dependencies;
use crate::domain::id::{Digest, JobKey, Sequence};
use crate::domain::job::{JobState, Payload, StateCode, Status, Submission, due_on};
use crate::domain::query::Label;
use crate::domain::queue::Lane;
use crate::store::ReadError;
use crate::store::sled::codec::{self, block, bucket};
use crate::store::sled::index::Role;
use crate::store::sled::keys::{self, ReadyKind};
use crate::store::sled::live::{Block, Live, Place, View, is_single_ready};
use crate::store::sled::ties;
use crate::store::sled::values::parts_of_entry;

/// A job as the index holds it.
pub(super) struct Held {
    submission: Submission,
    state: JobState,
    place: Place,
    /// Whether it waits for other jobs.
    waits: bool,
}

impl Held {
    /// The entries that follow from the job, beside that of its block.
    pub(super) fn secondary(&self) -> Vec<Vec<u8>> {
        let job = self.submission.key();
        let status = self.state.status;
        let mut entries = self.ties();
        entries.extend(Label::of(&self.submission, &self.state).iter().map(|label| keys::label(job, label)));
        if keys::is_listed(status) {
            entries.push(keys::listed(job, status));
        }
        let is_kept = matches!(self.place, Place::Kept { .. });
        let due = due_on(status, self.state.postpone_until, self.submission.expires_on);
        if let Some(due) = due.filter(|_| is_kept) {
            entries.push(keys::timer(due, job));
        }
        if is_single_ready(status, self.place) && !self.waits {
            entries.push(keys::ready(&Lane::of(&self.submission), self.submission.rank(), job, ReadyKind::Single));
        }
        entries
    }

    /// What an unfinished job is bound to.
    fn ties(&self) -> Vec<Vec<u8>> {
        let (job, ties) = (self.submission.key(), self.submission.ties());
        if self.state.status.is_final() {
            return Vec::new();
        }
        dependencies::bonds(job, ties).map(|bond| ties::entry_of(job, bond)).collect()
    }

    fn payloads(&self) -> Vec<(&Payload, Role)> {
        let log = self.state.last_run.as_ref().and_then(|run| run.log.as_ref());
        let results = self.state.output.iter().chain(log).map(|payload| (payload, Role::Result));
        let checkpoint = self.state.checkpoint.iter().map(|payload| (payload, Role::Checkpoint));
        [(&self.submission.input, Role::Input)].into_iter().chain(results).chain(checkpoint).collect()
    }
}

/// What a job lies under in findings.
pub(super) fn name(job: JobKey) -> String {
    format!("job {} of {}", job.sequence.0, job.tenant)
}

impl Walk<'_> {
    /// Looks at a block and its jobs. `next` is the first job that no block before it can hold; returns the next such.
    pub(super) fn block(&mut self, key: &[u8], value: Vec<u8>, next: JobKey) -> JobKey {
        let place = super::place(key);
        let Some(block) = self.take(&place, Block::stored(key, value)) else { return next };
        let Some((kind, entries)) = self.take(&place, block.entries()) else { return next };
        if block.first < next {
            self.report.find(&place, "it overlaps the block before it");
        }
        let mut fresh = None;
        for (index, fields) in entries.iter().enumerate().filter(|(_, fields)| !fields.is_empty()) {
            let job = block.job(index);
            let Some(submission) = self.take(&name(job), codec::read_submission(fields)) else { continue };
            if submission.key() != job {
                self.report.find(name(job), format!("the submission says that it is {}", name(submission.key())));
                continue;
            }
            let Some(held) = self.look_at(job, submission, kind) else { continue };
            if held.place == Place::Fresh {
                let (lane, rank) = (Lane::of(&held.submission), held.submission.rank());
                fresh = Some(keys::ready(&lane, rank, block.first, ReadyKind::Block));
            }
        }
        if let Some(ready) = fresh {
            self.expect(&place, &ready);
        }
        block.job(entries.len())
    }

    fn look_at(&mut self, job: JobKey, submission: Submission, kind: block::Kind) -> Option<Held> {
        let place = name(job);
        self.report.jobs += 1;
        self.highest_sequence = self.highest_sequence.max(job.sequence.0);
        let mut states = self.take(&place, self.states(job))?;
        if states.len() > 1 {
            let statuses: Vec<_> = states.iter().map(|(_, state)| state.status.word()).collect();
            self.report.find(&place, format!("it has several states at once: {}", statuses.join(", ")));
        }
        let (at, state) = match (states.pop(), kind) {
            (Some(found), _) => found,
            (None, block::Kind::Fresh) => (Place::Fresh, JobState::default()),
            (None, block::Kind::Other) => {
                self.report.find(place, "its state is missing");
                return None;
            }
        };
        let waits = self.take(&place, self.waits(&submission))?;
        let held = Held { submission, state, place: at, waits };
        let counts = self.counted.entry((job.tenant, held.submission.plugin.clone())).or_default();
        counts.add(held.state.status);
        if let Some(batch) = held.submission.ties().batch {
            self.counted_in_batches.entry((job.tenant, batch.sequence())).or_default().add(held.state.status);
        }
        self.invariants(&place, &held);
        for entry in held.secondary() {
            self.expect(&place, &entry);
        }
        for (payload, role) in held.payloads() {
            self.payload(&place, job, payload, role);
        }
        Some(held)
    }

    /// Status and state agree (I1 to I3, domain.md 3.4), and the state lies where one of its status belongs.
    fn invariants(&mut self, place: &str, held: &Held) {
        let Held { state, .. } = held;
        let status = state.status;
        let belongs = match held.place {
            Place::Running => status.is_locked(),
            Place::Ended | Place::EndedLarge { .. } => status.is_final(),
            Place::Fresh | Place::Kept { .. } => matches!(status.state(), StateCode::Ready | StateCode::Suspended),
        };
        let rules = [
            (belongs, "its state is not kept where one of its status belongs"),
            (status.is_locked() == state.lease.is_some(), "I2: a lease goes with Running, Pausing and Canceling only"),
            (status.is_final() == state.completed_on.is_some(), "I3: an end goes with a final status only"),
            ((status == Status::Waiting) == state.wait_reason.is_some(), "a reason to wait goes with Waiting only"),
        ];
        for (_, rule) in rules.into_iter().filter(|(holds, _)| !holds) {
            self.report.find(place, format!("{rule}; its status is {status}"));
        }
    }

    /// An entry that follows from a record.
    pub(super) fn expect(&mut self, of: &str, entry: &[u8]) {
        if let Some(None) = self.take(of, self.values.entry(entry)) {
            self.report.find(of, format!("{} is missing", super::place(entry)));
        }
    }

    /// What a job names is there, and the index knows that it is named.
    pub(super) fn payload(&mut self, place: &str, job: JobKey, payload: &Payload, role: Role) {
        let Payload::Blob { digest, bytes } = payload else { return };
        self.expect(place, &keys::blob_of_job(*digest, job, role as u8));
        self.blob(place, *digest, *bytes);
    }

    /// A blob that something names.
    pub(super) fn blob(&mut self, place: &str, digest: Digest, bytes: u64) {
        match self.blobs.get(&digest) {
            None => self.report.find(place, format!("blob {digest} is missing")),
            Some(found) if *found != bytes => {
                self.report.find(place, format!("blob {digest} has {found} bytes, but it should have {bytes}"));
            }
            Some(_) => {}
        }
    }

    /// Every state that the index has of a job; it should be one, or none of a job as new as can be.
    fn states(&self, job: JobKey) -> Result<Vec<(Place, JobState)>, ReadError> {
        let mut states = Vec::new();
        if let Some(value) = self.values.get(&keys::running(job))? {
            states.push((Place::Running, codec::decode(&value)?));
        }
        let number = keys::bucket_of(job);
        let outcome = self.values.get(&keys::outcome(number))?.map(bucket::of_any_version).transpose()?;
        let said = outcome.as_deref().map(|value| bucket::find(value, keys::offset_in_bucket(job))).transpose()?;
        let mut is_elsewhere = false;
        match said.flatten() {
            Some(bucket::Entry::Ended(fields)) => states.push((Place::Ended, codec::read_state(fields)?)),
            Some(bucket::Entry::Elsewhere) => is_elsewhere = true,
            Some(bucket::Entry::Gone) | None => {}
        }
        let key = keys::state(job);
        if let Some(entry) = self.values.entry(&key)? {
            let parts = parts_of_entry(&entry);
            let state: JobState = codec::decode(&self.values.whole(&key, entry)?)?;
            if state.status.is_final() != is_elsewhere {
                return Err(ReadError::Damaged("its state and the bucket of its outcome do not agree".to_owned()));
            }
            let place = match state.status.state() {
                StateCode::Completed => Place::EndedLarge { parts },
                StateCode::Suspended => Place::Kept { due: state.postpone_until, parts },
                StateCode::Ready | StateCode::Locked => Place::Kept { due: None, parts },
            };
            states.push((place, state));
        } else if is_elsewhere {
            return Err(ReadError::Damaged("its outcome is missing".to_owned()));
        }
        Ok(states)
    }

    /// The block that would hold a job.
    fn block_of(&self, job: JobKey) -> Result<Option<Block>, ReadError> {
        let Some((key, value)) = self.values.floor(&keys::block(job))? else { return Ok(None) };
        Ok(Some(Block::stored(&key, value)?).filter(|block| block.first.tenant == job.tenant))
    }

    fn submission(&self, job: JobKey) -> Result<Option<Submission>, ReadError> {
        let Some(block) = self.block_of(job)? else { return Ok(None) };
        let (_, entries) = block.entries()?;
        let fields = entries.get(block.index_of(job)).filter(|fields| !fields.is_empty());
        Ok(fields.map(|fields| codec::read_submission(fields)).transpose()?)
    }

    /// A job by its key. What is wrong with it is found with its block.
    pub(super) fn held(&self, job: JobKey) -> Option<Held> {
        let submission = self.submission(job).ok()??;
        let (place, state) = self.states(job).ok()?.pop().unwrap_or((Place::Fresh, JobState::default()));
        let waits = self.waits(&submission).ok()?;
        Some(Held { submission, state, place, waits })
    }

    /// Whether a job waits for others, by what those say.
    fn waits(&self, submission: &Submission) -> Result<bool, ReadError> {
        let live = Live::default();
        let view = View { live: &live, values: self.values };
        dependencies::waits(submission.key(), submission.ties(), &view)
    }

    /// Whether a job exists. One that cannot be read does: that is found with its block.
    pub(super) fn exists(&self, job: JobKey) -> bool {
        !matches!(self.submission(job), Ok(None))
    }

    /// Whether a block that starts with `first` still has a job as new as can be, and so belongs into the ready index
    /// under `key`.
    pub(super) fn is_fresh_block(&self, first: JobKey, key: &[u8]) -> bool {
        let Ok(Some(block)) = self.block_of(first) else { return false };
        let Ok((kind, entries)) = block.entries() else { return false };
        let members = (0..entries.len() as u64).map(|index| Sequence(first.sequence.0 + index));
        let mut held = members.filter_map(|sequence| self.held(JobKey { sequence, ..first }));
        block.first == first
            && kind == block::Kind::Fresh
            && held.any(|held| {
                let (lane, rank) = (Lane::of(&held.submission), held.submission.rank());
                held.place == Place::Fresh && keys::ready(&lane, rank, first, ReadyKind::Block) == key
            })
    }
}
