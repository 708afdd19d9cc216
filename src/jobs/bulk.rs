//! Many jobs in one commit, or none.

use std::collections::HashMap;
use std::sync::Arc;

use super::ahead::{Ahead, Holder};
use super::circle::Circle;
use super::submit::is_keyed;
use super::{Jobs, NewJob, SubmitError};
use crate::domain::change::Change;
use crate::domain::id::{DedupKey, JobId, Sequence, TenantId};
use crate::domain::idempotency::{Answered, IdempotencyKey};
use crate::domain::job::{Job, Submission, Ties};
use crate::store::{Pending, ReadError};

/// How many faulty jobs of a bulk submit are told of.
pub const FAULTS_MAX: usize = 20;

/// What the jobs of a request become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Together {
    /// Jobs, each for itself.
    Jobs,
    /// The members of a new batch.
    Batch,
}

/// Why a bulk submit was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct BulkError {
    /// Which of the jobs, from 0; none when the fault is not one job's.
    pub index: Option<usize>,
    /// What is wrong.
    pub error: SubmitError,
    /// What is wrong with later jobs, with the place of each; of very many the first ones.
    pub more: Vec<(usize, SubmitError)>,
}

impl BulkError {
    /// Of one of the jobs.
    fn at(index: usize) -> impl FnOnce(SubmitError) -> Self {
        move |error| Self { index: Some(index), error, more: Vec::new() }
    }
}

impl<E: Into<SubmitError>> From<E> for BulkError {
    fn from(error: E) -> Self {
        Self { index: None, error: error.into(), more: Vec::new() }
    }
}

impl Jobs {
    /// What is wrong with jobs of a request that is refused whatever they are, with the place of each; of very many the first
    /// ones. Nobody should mend a request only to hear of the next fault.
    pub fn faults(&self, news: &[NewJob], together: Together) -> Vec<(usize, SubmitError)> {
        let own = news.iter().enumerate().filter_map(|(at, new)| Some((at, self.check_member(new, together).err()?)));
        let mut faults: Vec<_> = own.take(FAULTS_MAX).collect();
        let keys = news.iter().map(|new| (new.tenant, new.ties.dedup_key.as_ref()));
        // A store that cannot be read is no fault of theirs.
        faults.extend(self.held_keys(keys).unwrap_or_default());
        faults.retain(|(_, error)| !matches!(error, SubmitError::Commit(_) | SubmitError::Read(_)));
        in_order(faults)
    }

    fn check_member(&self, new: &NewJob, together: Together) -> Result<(), SubmitError> {
        check_batch(new, together)?;
        self.check(new).map(drop)
    }

    /// Which jobs have a dedup key that an unfinished job has, or one of the same request before them.
    fn held_keys<'a>(
        &self,
        keys: impl Iterator<Item = (TenantId, Option<&'a DedupKey>)>,
    ) -> Result<Vec<(usize, SubmitError)>, ReadError> {
        let mut first_with = HashMap::new();
        let mut held = Vec::new();
        for (at, (tenant, key)) in keys.enumerate() {
            let Some(key) = key else { continue };
            if held.len() == FAULTS_MAX {
                break;
            }
            let earlier = first_with.get(&(tenant, key)).copied();
            match (self.duplicate(tenant, key)?, earlier) {
                (Some(job), _) => {
                    held.push((at, SubmitError::Duplicate { key: key.clone(), job: job.submission.id }));
                }
                (None, Some(index)) => held.push((at, SubmitError::Twice { key: key.clone(), index })),
                (None, None) => {
                    first_with.insert((tenant, key), at + 1);
                }
            }
        }
        Ok(held)
    }

    /// Takes all jobs or none, in one commit.
    pub async fn submit_bulk(&self, news: Vec<NewJob>) -> Result<Vec<JobId>, BulkError> {
        Ok(self.submit_bulk_once(TenantId::DEFAULT, news, None).await?.made)
    }

    /// The same; with a key, a repeated call returns the jobs of the first.
    pub async fn submit_bulk_once(
        &self,
        tenant: TenantId,
        news: Vec<NewJob>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Answered<Vec<JobId>>, BulkError> {
        self.all_or_none(tenant, news, None, key).await
    }

    /// Takes a batch and its jobs, if there is one, and all jobs or none. The answer is remembered with the batch first.
    pub(super) async fn all_or_none(
        &self,
        tenant: TenantId,
        news: Vec<NewJob>,
        batch: Option<&Job>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Answered<Vec<JobId>>, BulkError> {
        // The answer of the first does not depend on what would be taken by now.
        if let Some(first) = self.first_answer(tenant, key)? {
            return Ok(Answered::again(first.jobs));
        }
        let mut submissions = self.submissions(news, batch)?;
        let can_conflict = key.is_some() || submissions.iter().any(|new| new.ties().dedup_key.is_some());
        let mut contest = self.contest();
        loop {
            if let Some(first) = self.first_answer(tenant, key)? {
                return Ok(Answered::again(first.jobs));
            }
            let asked = if can_conflict { submissions.clone() } else { std::mem::take(&mut submissions) };
            let numbered = self.number_and_commit_bulk(asked, batch, (tenant, key));
            let (ids, pending) = numbered.map_err(|error| self.with_all_held(error, &submissions))?;
            match pending.await {
                Ok(()) => return Ok(Answered::anew(ids)),
                Err(error) if can_conflict => contest.lost(error.into()).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The jobs, checked, but for their identities and their time.
    fn submissions(&self, news: Vec<NewJob>, batch: Option<&Job>) -> Result<Vec<Submission>, BulkError> {
        let mut submissions = Vec::with_capacity(news.len());
        let mut faults = Vec::new();
        let together = if batch.is_some() { Together::Batch } else { Together::Jobs };
        for (index, new) in news.into_iter().enumerate() {
            match check_batch(&new, together).and_then(|()| self.submission(new)) {
                Ok(submission) => submissions.push(submission),
                Err(error) => faults.push((index, error)),
            }
            if faults.len() == FAULTS_MAX {
                break;
            }
        }
        if faults.is_empty() {
            return match self.circle(&submissions)? {
                Some(Circle { index, batch }) => Err(BulkError::at(index)(SubmitError::Circle { batch })),
                None => Ok(submissions),
            };
        }
        let (index, error) = faults.remove(0);
        Err(BulkError { more: faults, ..BulkError::at(index)(error) })
    }

    /// A refusal for the dedup key of one of the jobs, with all the others that it is the same with.
    fn with_all_held(&self, refusal: BulkError, submissions: &[Submission]) -> BulkError {
        let is_for_key = matches!(refusal.error, SubmitError::Duplicate { .. } | SubmitError::Twice { .. });
        let (true, Some(first)) = (is_for_key, refusal.index) else { return refusal };
        let keys = submissions.iter().map(|new| (new.tenant, new.ties().dedup_key.as_ref()));
        let held = self.held_keys(keys).unwrap_or_default();
        BulkError { more: held.into_iter().filter(|(index, _)| *index > first).collect(), ..refusal }
    }

    /// All jobs, with the batch that they belong to, if they do, on their way to the store.
    fn number_and_commit_bulk(
        &self,
        submissions: Vec<Submission>,
        batch: Option<&Job>,
        (tenant, key): (TenantId, Option<&IdempotencyKey>),
    ) -> Result<(Vec<JobId>, Pending), BulkError> {
        let _turn = submissions.iter().any(is_keyed).then(|| self.identities.turn());
        let now = self.clock.now();
        let first = self.identities.reserve(submissions.len() as u64);
        let mut ids = Vec::with_capacity(submissions.len());
        let mut ahead = Ahead::default();
        let mut changes = Vec::with_capacity(submissions.len() + 2);
        changes.extend(batch.cloned().map(Change::submit));
        for (index, submission) in submissions.into_iter().enumerate() {
            let id = self.identities.of(Sequence(first.0 + index as u64), now);
            let mut submission = Submission { id, created_on: now, ..submission };
            if let Some(batch) = batch {
                let ties = Ties { batch: Some(batch.submission.id), ..submission.ties().clone() };
                submission.ties = Some(Arc::new(ties));
            }
            self.check_dedup(&submission, &mut ahead, first).map_err(BulkError::at(index))?;
            changes.push(Change::submit(self.taken(submission, &mut ahead, now).map_err(BulkError::at(index))?));
            ids.push(id);
        }
        let answer = || batch.iter().map(|batch| batch.submission.id).chain(ids.iter().copied()).collect();
        changes.extend(key.map(|key| key.remember(tenant, answer(), None, now)));
        Ok((ids, self.store.commit(changes)))
    }

    fn check_dedup(&self, submission: &Submission, ahead: &mut Ahead, first: Sequence) -> Result<(), SubmitError> {
        let Some(holder) = self.hold(submission, ahead)? else { return Ok(()) };
        let Some(key) = submission.ties().dedup_key.clone() else { return Ok(()) };
        Err(match holder {
            Holder::Unfinished(job) => SubmitError::Duplicate { key, job },
            Holder::Ahead(job) => {
                let index = usize::try_from(job.sequence().0 - first.0).unwrap_or(0) + 1;
                SubmitError::Twice { key, index }
            }
        })
    }
}

/// The members of a new batch belong to no other.
fn check_batch(new: &NewJob, together: Together) -> Result<(), SubmitError> {
    match (together, new.ties.batch) {
        (Together::Batch, Some(batch)) => Err(SubmitError::OtherBatch { batch }),
        _ => Ok(()),
    }
}

/// Faults by the places of their jobs, of each job the first, and of very many the first ones.
fn in_order(mut faults: Vec<(usize, SubmitError)>) -> Vec<(usize, SubmitError)> {
    faults.sort_by_key(|(index, _)| *index);
    faults.dedup_by_key(|(index, _)| *index);
    faults.truncate(FAULTS_MAX);
    faults
}
