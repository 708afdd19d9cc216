//! Takes jobs out of the index. Those of one block go together: a sweep removes neighbours, which share all their entries.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::codec::{self, block};
use super::engine::Pair;
use super::index::{Entry, Indexer, Role};
use super::keys;
use super::live::{Block, Place};
use super::standing::Standing;
use super::values::{behind, parts_of_entry};
use crate::domain::change::Change;
use crate::domain::family::{Family, RowKey};
use crate::domain::id::{Digest, JobKey};
use crate::domain::job::{Payload, Run};
use crate::domain::query::Label;
use crate::store::ReadError;

/// A job that goes, and what was known of it.
type Doomed<'a> = (JobKey, &'a Standing);

/// What else goes with some jobs.
#[derive(Default)]
struct Belongings {
    /// The blobs that they name.
    blobs: Vec<(JobKey, Digest)>,
    labels: Vec<(JobKey, Label)>,
    /// Keys of closed runs, with the number of their parts.
    runs: Vec<(Vec<u8>, u16)>,
    /// Rows that go with their job.
    rows: Vec<(&'static Family, RowKey)>,
}

/// Whether a change removes a job.
pub(super) fn is_deletion(entry: &Entry<'_>) -> bool {
    matches!(entry.change, Change::Delete { .. })
}

fn doomed<'e>(deletion: &'e Entry<'_>) -> Result<Doomed<'e>, ReadError> {
    match (deletion.change, &deletion.before) {
        (Change::Delete { job, .. }, Some(before)) => Ok((*job, before)),
        _ => Err(ReadError::Damaged("a deletion of a job that is not there".to_owned())),
    }
}

impl Indexer<'_> {
    /// Removes the jobs of deletions.
    pub(super) fn delete(&mut self, deletions: &[Entry<'_>]) -> Result<(), ReadError> {
        let all: Vec<_> = deletions.iter().map(doomed).collect::<Result<_, _>>()?;
        let mut rest = all.as_slice();
        while let Some((first, _)) = rest.first() {
            let block = self.view().block(*first)?;
            let together = match &block {
                None => 1,
                Some(block) => {
                    let jobs = block.entries()?.1.len();
                    let follows = |job: &JobKey| job.tenant == first.tenant && job.sequence >= first.sequence;
                    let is_inside = |(job, _): &&Doomed<'_>| follows(job) && block.index_of(*job) < jobs;
                    rest.iter().take_while(is_inside).count().max(1)
                }
            };
            let (neighbours, tail) = rest.split_at(together);
            self.delete_neighbours(neighbours, block.as_ref())?;
            rest = tail;
        }
        Ok(())
    }

    /// Removes jobs of one block.
    fn delete_neighbours(&mut self, doomed: &[Doomed<'_>], block: Option<&Block>) -> Result<(), ReadError> {
        let mut belongings = Belongings::default();
        if let Some(block) = block {
            self.collect(doomed, block, &mut belongings)?;
        }
        self.collect_rows(doomed, &mut belongings)?;
        let Belongings { blobs, labels, runs, rows } = belongings;
        blobs.into_iter().for_each(|(job, digest)| self.forget_blob(job, digest));
        labels.iter().for_each(|(job, label)| self.live.ahead.delete(keys::label(*job, label)));
        runs.into_iter().for_each(|(key, parts)| self.live.ahead.delete_all(key, parts));
        rows.iter().try_for_each(|(family, key)| self.drop_row(family, key))?;
        for (job, before) in doomed {
            self.count(*job, before, |counts| counts.remove(before.status))?;
        }
        self.bury(doomed)?;
        match block {
            Some(block) => self.delete_submissions(doomed, block),
            None => Ok(()),
        }
    }

    /// What the records of jobs name.
    fn collect(&self, doomed: &[Doomed<'_>], block: &Block, belongings: &mut Belongings) -> Result<(), ReadError> {
        let (_, entries) = block.entries()?;
        let mut outcomes = self.view().outcomes();
        for (job, _) in doomed.iter().filter(|(_, before)| before.has_belongings) {
            let fields = entries.get(block.index_of(*job)).filter(|fields| !fields.is_empty());
            let Some(submission) = fields.map(|fields| codec::read_submission(fields)).transpose()? else { continue };
            let state = outcomes.state(*job)?;
            let blobs = submission.input.digest().into_iter().chain(state.payloads().filter_map(Payload::digest));
            belongings.blobs.extend(blobs.map(|digest| (*job, digest)));
            belongings.labels.extend(Label::of(&submission, &state).into_iter().map(|label| (*job, label)));
        }
        Ok(())
    }

    /// Rows and closed runs of jobs that are neighbours: one look at each keyspace, since few jobs have any.
    fn collect_rows(&self, doomed: &[Doomed<'_>], belongings: &mut Belongings) -> Result<(), ReadError> {
        let jobs = || doomed.iter().map(|(job, _)| *job);
        let (Some(first), Some(last)) = (jobs().min(), jobs().max()) else { return Ok(()) };
        let is_doomed = |job: JobKey| doomed.iter().any(|(doomed, _)| *doomed == job);
        for family in self.live.rows.registry().families().filter(|family| family.goes_with_job()) {
            let (first, last) = (RowKey::of_jobs(first), RowKey::of_jobs(last));
            for (key, _) in self.between(keys::row(family, &first), &keys::row(family, &last))? {
                let key = keys::row_of(&key).map(|(_, key)| key);
                let key = key.filter(|key| key.job().is_some_and(is_doomed));
                belongings.rows.extend(key.map(|key| (family, key)));
            }
        }
        for (key, entry) in self.between(keys::runs(first), &keys::runs(last))? {
            let Some((job, _)) = keys::run_entry(&key).filter(|(job, _)| is_doomed(*job)) else { continue };
            let parts = parts_of_entry(&entry);
            let run: Run = codec::decode(&self.values().whole(&key, entry)?)?;
            belongings.blobs.extend(run.log.as_ref().and_then(Payload::digest).map(|digest| (job, digest)));
            belongings.runs.push((key, parts));
        }
        Ok(())
    }

    /// The entries from `first` to the last one that starts with `last`.
    fn between(&self, first: Vec<u8>, last: &[u8]) -> Result<Vec<Pair>, ReadError> {
        self.values().ascending(Bound::Included(first), behind(last)).collect()
    }

    /// Takes the states away; what is said of the jobs from then on is that they are gone.
    fn bury(&mut self, doomed: &[Doomed<'_>]) -> Result<(), ReadError> {
        let mut graves: BTreeMap<_, u16> = BTreeMap::new();
        for (job, before) in doomed {
            match before.place {
                // The bucket is rewritten once for all of them.
                Place::Ended => self.unlist(*job, before),
                _ => self.leave(*job, before)?,
            }
            *graves.entry(keys::bucket_of(*job)).or_default() |= 1 << keys::offset_in_bucket(*job);
        }
        for (number, jobs) in graves {
            self.live.bury(self.tree, number, jobs)?;
            self.close_full_bucket(number)?;
        }
        Ok(())
    }

    /// Takes submissions out of their block; it goes with its last one.
    fn delete_submissions(&mut self, doomed: &[Doomed<'_>], found: &Block) -> Result<(), ReadError> {
        let (kind, entries) = found.entries()?;
        let goes = |index: usize| doomed.iter().any(|(job, _)| found.index_of(*job) == index);
        let mut value = block::start(kind);
        let mut is_empty = true;
        for (index, fields) in entries.into_iter().enumerate() {
            let kept = if goes(index) { &[] } else { fields };
            is_empty &= kept.is_empty();
            block::push(&mut value, kept);
        }
        let key = keys::block(found.first);
        let parts = self.values().entry(&key)?.map_or(0, |entry| parts_of_entry(&entry));
        match is_empty {
            true => self.live.ahead.delete_all(key, parts),
            false => self.live.ahead.replace(key, parts, value),
        }
        Ok(())
    }

    fn forget_blob(&mut self, job: JobKey, digest: Digest) {
        for role in [Role::Input, Role::Result, Role::Checkpoint] {
            self.live.ahead.delete(keys::blob_of_job(digest, job, role as u8));
        }
    }
}
