//! Dependencies: who waits for whom, and what the end of a job sets free (domain.md 4.1).
//!
//! A store keeps a [`Bond`] for each thing that an unfinished job is bound to, answers [`Facts`] from them, and calls these
//! functions in its serial section. It decides nothing of this by itself.

use super::batch::Summary;
use super::id::{DedupKey, JobId, JobKey, OrderingKey, ScheduleName, TenantId};
use super::job::{Predecessors, Status, Ties, WaitReason};
use super::query::Counts;

/// What an unfinished job is bound to. A store can find the job by it as long as it is unfinished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bond<'a> {
    /// It has its turn among the jobs of an ordering key.
    Ordered(&'a OrderingKey),
    /// It waits for a job that it names in `after`.
    After(JobKey),
    /// No other unfinished job may have its dedup key.
    Dedup(&'a DedupKey),
    /// A schedule has made it.
    Scheduled(&'a ScheduleName),
}

/// What an unfinished job is bound to.
pub fn bonds(job: JobKey, ties: &Ties) -> impl Iterator<Item = Bond<'_>> {
    let ordered = ties.ordering_key.iter().map(Bond::Ordered);
    let after = ties.after.iter().map(move |named| Bond::After(named_by(job, *named)));
    let dedup = ties.dedup_key.iter().map(Bond::Dedup);
    let scheduled = ties.occurrence.iter().map(|occurrence| Bond::Scheduled(&occurrence.schedule));
    ordered.chain(after).chain(dedup).chain(scheduled)
}

/// The job of an id that `job` names: ids are of the same tenant.
pub fn named_by(job: JobKey, named: JobId) -> JobKey {
    JobKey { sequence: named.sequence(), ..job }
}

/// What the rules ask of a store, as it is in its serial section.
pub trait Facts {
    /// Why a fact could not be had.
    type Error;

    /// Where a job stands; none of one that is gone.
    fn status(&self, job: JobKey) -> Result<Option<Status>, Self::Error>;

    /// The oldest unfinished job of an ordering key, of those younger than `behind` when that is given.
    fn oldest_of(
        &self,
        tenant: TenantId,
        key: &OrderingKey,
        behind: Option<JobKey>,
    ) -> Result<Option<JobKey>, Self::Error>;

    /// The job that [`KeyMark::Broken`] was last noted with for an ordering key.
    fn broken_by(&self, tenant: TenantId, key: &OrderingKey) -> Result<Option<JobKey>, Self::Error>;

    /// The unfinished jobs that name a job in `after`.
    fn dependents(&self, job: JobKey) -> Result<Vec<JobKey>, Self::Error>;

    /// How many jobs of a batch stand where.
    fn members(&self, batch: JobKey) -> Result<Counts, Self::Error>;
}

/// The unfinished jobs that a job waits for: the one that holds its ordering key, and those that it names.
pub fn unfinished<F: Facts>(job: JobKey, ties: &Ties, facts: &F) -> Result<Vec<JobKey>, F::Error> {
    let mut unfinished: Vec<_> = holder_before(job, ties, facts)?.into_iter().collect();
    for named in &ties.after {
        let named = named_by(job, *named);
        if is_unfinished(named, facts)? {
            unfinished.push(named);
        }
    }
    Ok(unfinished)
}

/// Whether a job waits for another.
pub fn waits<F: Facts>(job: JobKey, ties: &Ties, facts: &F) -> Result<bool, F::Error> {
    if holder_before(job, ties, facts)?.is_some() {
        return Ok(true);
    }
    for named in &ties.after {
        if is_unfinished(named_by(job, *named), facts)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a job waits for by its ties, and which of those have ended without success.
pub fn predecessors<F: Facts>(job: JobKey, ties: &Ties, facts: &F) -> Result<Predecessors, F::Error> {
    let mut unsuccessful = Vec::new();
    // Who is directly before it on its key has not ended yet while another still holds the key.
    if let Some(key) = &ties.ordering_key
        && facts.oldest_of(job.tenant, key, None)? == Some(job)
    {
        let broken = facts.broken_by(job.tenant, key)?;
        unsuccessful.extend(broken.filter(|broken| broken.sequence < job.sequence));
    }
    for named in &ties.after {
        let named = named_by(job, *named);
        if facts.status(named)?.is_some_and(|status| status.is_final() && status != Status::Succeeded) {
            unsuccessful.push(named);
        }
    }
    Ok(Predecessors { unfinished: unfinished(job, ties, facts)?, unsuccessful })
}

/// What becomes of the mark of an ordering key when a job of it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMark<'a> {
    /// The job held the key and did not succeed while another waited: the next one may mind.
    Broken(&'a OrderingKey),
    /// The job held the key, and nobody has to mind how it ended.
    Whole(&'a OrderingKey),
}

/// What the end of a job brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// What becomes of the mark of its ordering key, if it held that.
    pub mark: Option<KeyMark<'a>>,
    /// The jobs that may have waited for it, each once, in the order of their keys. Each is to be asked with [`release`] once the
    /// bonds of the job are gone.
    pub successors: Vec<JobKey>,
}

/// What the end of a job with a final status brings. Asked while the job still has its bonds, and when its batch already
/// counts it as ended.
pub fn ended<'a, F: Facts>(
    job: JobKey,
    ties: Option<&'a Ties>,
    status: Status,
    facts: &F,
) -> Result<Ended<'a>, F::Error> {
    let mut successors = facts.dependents(job)?;
    let mut mark = None;
    if let Some(ties) = ties {
        if let Some(key) = &ties.ordering_key
            && facts.oldest_of(job.tenant, key, None)? == Some(job)
        {
            let next = facts.oldest_of(job.tenant, key, Some(job))?;
            mark = Some(match next {
                Some(_) if status != Status::Succeeded => KeyMark::Broken(key),
                _ => KeyMark::Whole(key),
            });
            successors.extend(next);
        }
        if let Some(batch) = ties.batch {
            let batch = named_by(job, batch);
            successors.extend(Summary::of(&facts.members(batch)?).is_done().then_some(batch));
        }
    }
    successors.sort_unstable();
    successors.dedup();
    Ok(Ended { mark, successors })
}

/// What the end of another does to a job that may have waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// It waits on, or never waited.
    None,
    /// All its members have ended: whoever makes time pass sees to it.
    Members,
    /// It may start.
    Ready,
}

/// What becomes of a job that may have waited for one that has ended. Asked when that one has no bonds any more.
pub fn release<F: Facts>(
    job: JobKey,
    status: Status,
    wait_reason: Option<WaitReason>,
    ties: &Ties,
    facts: &F,
) -> Result<Release, F::Error> {
    if wait_reason == Some(WaitReason::Children) {
        return Ok(Release::Members);
    }
    if status == Status::Queued && !waits(job, ties, facts)? {
        return Ok(Release::Ready);
    }
    Ok(Release::None)
}

/// The job that has the ordering key of another before it.
fn holder_before<F: Facts>(job: JobKey, ties: &Ties, facts: &F) -> Result<Option<JobKey>, F::Error> {
    let Some(key) = &ties.ordering_key else { return Ok(None) };
    let holder = facts.oldest_of(job.tenant, key, None)?;
    Ok(holder.filter(|holder| holder.sequence < job.sequence))
}

fn is_unfinished<F: Facts>(job: JobKey, facts: &F) -> Result<bool, F::Error> {
    Ok(facts.status(job)?.is_some_and(|status| !status.is_final()))
}
