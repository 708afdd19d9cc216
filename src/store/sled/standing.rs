//! What the writer knows of jobs without asking the index: where they stand, for the guards and for the index keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::codec;
use super::live::{Block, Outcomes, Place, View};
use crate::domain::id::JobKey;
use crate::domain::job::{JobState, Payload, Rank, Status, Submission, Ties, due_on};
use crate::domain::query::Label;
use crate::domain::queue::Lane;
use crate::domain::time::Timestamp;
use crate::store::ReadError;

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) revision: u32,
    pub(super) status: Status,
    pub(super) place: Place,
    pub(super) lane: Lane,
    pub(super) rank: Rank,
    pub(super) ties: Option<Arc<Ties>>,
    pub(super) expires_on: Option<Timestamp>,
    /// Whether it may have labels or name blobs: where it has none, a deletion need not look for any.
    pub(super) has_belongings: bool,
}

impl Standing {
    /// Of a job that was just submitted.
    pub(super) fn new(submission: &Submission, state: &JobState, place: Place) -> Self {
        Self {
            revision: state.revision,
            status: state.status,
            place,
            lane: Lane::of(submission),
            rank: submission.rank(),
            ties: submission.ties.clone(),
            expires_on: submission.expires_on,
            has_belongings: submission.input.digest().is_some()
                || names_blobs(state)
                || !Label::of(submission, state).is_empty(),
        }
    }

    /// Of the same job in its next state.
    pub(super) fn advanced(&self, next: &JobState, place: Place) -> Self {
        // What went wrong is a label.
        let gains_belongings = next.status == Status::Failed || names_blobs(next);
        Self {
            revision: next.revision,
            status: next.status,
            place,
            has_belongings: self.has_belongings || gains_belongings,
            ..self.clone()
        }
    }

    /// When the job is due, if it is under [`super::keys::TIMER`].
    pub(super) fn timer(&self) -> Option<Timestamp> {
        match self.place {
            Place::Kept { due, .. } => due_on(self.status, due, self.expires_on),
            _ => None,
        }
    }

    /// Of a job as the index has it.
    pub(super) fn load(view: View<'_>, job: JobKey) -> Result<Option<Self>, ReadError> {
        let Some(block) = view.block(job)? else { return Ok(None) };
        match block.entries()?.1.get(block.index_of(job)) {
            Some(fields) => Self::load_from(&mut view.outcomes(), job, fields),
            None => Ok(None),
        }
    }

    /// Of the job that `fields` of a block are about; none of one that is gone.
    fn load_from(outcomes: &mut Outcomes<'_>, job: JobKey, fields: &[u8]) -> Result<Option<Self>, ReadError> {
        if fields.is_empty() {
            return Ok(None);
        }
        let submission = codec::read_submission(fields)?;
        let (place, state) = outcomes.placed(job)?;
        Ok(Some(Self::new(&submission, &state, place)))
    }
}

fn names_blobs(state: &JobState) -> bool {
    state.payloads().any(|payload| matches!(payload, Payload::Blob { .. }))
}

/// How many jobs one generation remembers.
const GENERATION: usize = 100_000;

/// The standings of the jobs that were touched last. `None` stands for a job that is gone.
#[derive(Debug, Default)]
pub(super) struct Standings {
    young: FxHashMap<JobKey, Option<Standing>>,
    old: FxHashMap<JobKey, Option<Standing>>,
    submitted: Submitted,
}

impl Standings {
    /// With sequences up to `sequence` of which the index has to be asked.
    pub(super) fn new(sequence: u64) -> Self {
        Self { submitted: Submitted { highest: sequence, gaps: BTreeMap::new() }, ..Self::default() }
    }

    /// What is known of a job, from memory or from the index.
    pub(super) fn get(&mut self, view: View<'_>, job: JobKey) -> Result<Option<&Standing>, ReadError> {
        if !self.young.contains_key(&job) && !self.submitted.is_new(job.sequence.0) {
            self.recall(view, job)?;
        }
        Ok(self.young.get(&job).and_then(Option::as_ref))
    }

    fn recall(&mut self, view: View<'_>, job: JobKey) -> Result<(), ReadError> {
        if let Some(known) = self.old.remove(&job) {
            self.young.insert(job, known);
            return Ok(());
        }
        if let Some(block) = view.block(job)? {
            self.load(view, &block, job)?;
        }
        self.young.entry(job).or_default();
        Ok(())
    }

    /// Loads the jobs of a block: who touches one of them will touch its neighbours soon. What cannot be read of those is
    /// left to those who ask for it.
    fn load(&mut self, view: View<'_>, block: &Block, asked: JobKey) -> Result<(), ReadError> {
        let mut outcomes = view.outcomes();
        for (index, fields) in block.entries()?.1.into_iter().enumerate() {
            let job = block.job(index);
            // What is known is newer than the index.
            if self.young.contains_key(&job) || self.old.contains_key(&job) {
                continue;
            }
            match Standing::load_from(&mut outcomes, job, fields) {
                Ok(standing) => self.young.insert(job, standing),
                Err(error) if job == asked => return Err(error),
                Err(_) => continue,
            };
        }
        Ok(())
    }

    /// Notes what a change makes of a job.
    pub(super) fn set(&mut self, job: JobKey, standing: Option<Standing>) {
        self.submitted.note(job.sequence.0);
        self.young.insert(job, standing);
    }

    /// Forgets what was not touched for long. Not within a group: there the index does not know yet.
    pub(super) fn age(&mut self) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

/// How many gaps are kept apart.
const GAPS_MAX: usize = 10_000;

/// Which sequences have certainly not been used, so that a new job needs no look into the index.
#[derive(Debug, Default)]
struct Submitted {
    highest: u64,
    /// Unused ranges below the highest: from the first to the last.
    gaps: BTreeMap<u64, u64>,
}

impl Submitted {
    fn gap(&self, sequence: u64) -> Option<(u64, u64)> {
        let (first, last) = self.gaps.range(..=sequence).next_back()?;
        (sequence <= *last).then_some((*first, *last))
    }

    fn is_new(&self, sequence: u64) -> bool {
        sequence > self.highest || self.gap(sequence).is_some()
    }

    fn note(&mut self, sequence: u64) {
        if sequence > self.highest {
            if sequence > self.highest + 1 {
                self.gaps.insert(self.highest + 1, sequence - 1);
            }
            self.highest = sequence;
            if self.gaps.len() > GAPS_MAX {
                self.gaps.pop_first();
            }
            return;
        }
        if let Some((first, last)) = self.gap(sequence) {
            self.gaps.remove(&first);
            if first < sequence {
                self.gaps.insert(first, sequence - 1);
            }
            if sequence < last {
                self.gaps.insert(sequence + 1, last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_new_until_they_are_used_in_any_order() {
        let mut submitted = Submitted { highest: 10, gaps: BTreeMap::new() };
        assert!(!submitted.is_new(10) && submitted.is_new(11));
        submitted.note(15);
        submitted.note(13);
        let new: Vec<_> = (9..18).filter(|sequence| submitted.is_new(*sequence)).collect();
        assert_eq!(new, [11, 12, 14, 16, 17]);
        [11, 12, 14, 16].into_iter().for_each(|sequence| submitted.note(sequence));
        assert!(submitted.gaps.is_empty() && submitted.is_new(17));
    }
}
