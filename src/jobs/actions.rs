//! One command for all jobs that match a filter: bounded work for each call, counted before it is done (F108).

use std::pin::Pin;
use std::task::Poll;

use super::ahead::Ahead;
use super::search::{Found, Sort};
use super::submit::is_keyed;
use super::{Command, Jobs, Order, Rerun, RerunError, SteerError, SubmitError};
use crate::domain::audit::Action;
use crate::domain::change::RememberedSubmit;
use crate::domain::id::{JobId, Sequence, TenantId};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::job::transition::Next;
use crate::domain::job::{Job, Status};
use crate::domain::offers::may_run_again;
use crate::domain::query::{JobFilter, JobQuery};
use crate::domain::time::Timestamp;
use crate::store::{CommitError, Pending, ReadError, written_bytes};

/// How many commits of one call are under way at a time: enough for one sync of the disk to serve many.
const TOGETHER: usize = 64;

/// The most bytes of submissions that one call runs again: they are one commit.
const RETRIED_BYTES_MAX: usize = 64 << 20;

/// What to do with all jobs that match.
#[derive(Clone, Debug)]
pub struct BulkAction {
    /// Whose jobs.
    pub tenant: TenantId,
    /// Which of them.
    pub filter: JobFilter,
    /// What to do with each.
    pub step: Step,
    /// Who asks.
    pub by: String,
    /// Why, in the words of the person.
    pub reason: Option<String>,
    /// Whether only to count what would change.
    pub is_dry_run: bool,
    /// How many jobs this call deals with at most.
    pub limit: usize,
    /// Only jobs older than this one: where the call before ended.
    pub before: Option<Sequence>,
}

/// What is done with each job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Steer it.
    Order(Order),
    /// Run it again, as a new job.
    Retry,
}

impl Step {
    /// The word for it.
    pub fn action(self) -> Action {
        match self {
            Self::Order(order) => order.action(),
            Self::Retry => Action::Retry,
        }
    }
}

/// What a call did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionReport {
    /// Each job that matched, newest first.
    pub results: Vec<ActionResult>,
    /// Where the next call goes on; none when all jobs were looked at.
    pub next: Option<Sequence>,
    /// When the last job was submitted that was looked at, where the next call can go on.
    pub looked_to: Option<Timestamp>,
    /// Whether an earlier call of the same `Idempotency-Key` did it. Jobs that were deleted since are left out.
    pub is_repeated: bool,
}

/// What became of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionResult {
    /// The job.
    pub job: JobId,
    /// Where it stood.
    pub before: Status,
    /// Where it stands, or would stand; none when it is removed.
    pub after: Option<Status>,
    /// The new job that runs it again.
    pub retried_as: Option<JobId>,
    /// Whether anything changed, or would.
    pub is_changed: bool,
    /// Why it was not done.
    pub error: Option<ActionError>,
}

/// Why one job was left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// Its state does not allow it, or it is gone.
    #[error(transparent)]
    Steer(#[from] SteerError),
    /// The new job was not taken.
    #[error(transparent)]
    Rerun(#[from] RerunError),
}

impl Jobs {
    /// Does, or counts, one step for the jobs that match, at most `limit` of them. Within a call the oldest comes first, so
    /// that jobs which are run again keep their order; from call to call it goes from new to old, so that no call meets
    /// the jobs that an earlier one made. A call looks for jobs as long as a search does, and says how far it has looked. A job
    /// that has changed since it was found and no longer matches is left alone.
    pub async fn act(&self, action: &BulkAction) -> Result<ActionReport, SubmitError> {
        let order = match action.step {
            Step::Retry if !action.is_dry_run => return self.retry_matching(action, None).await,
            Step::Retry => None,
            Step::Order(order) => Some(order),
        };
        let Found { jobs: mut found, next, looked_to } = self.matching(action)?;
        found.reverse();
        let now = self.clock.now();
        let mut results = Vec::with_capacity(found.len());
        let mut ahead = Ahead::default();
        for group in found.chunks(TOGETHER) {
            let Some(order) = order.filter(|_| !action.is_dry_run) else {
                results.extend(group.iter().map(|job| self.preview(job, action, &mut ahead, now)));
                continue;
            };
            let done = together(group.iter().map(|job| self.steer_found(job, order, action)).collect()).await;
            let is_hopeless = done.iter().any(|result| result.store_failure().is_some());
            results.extend(done);
            if is_hopeless {
                break;
            }
        }
        results.reverse();
        Ok(ActionReport { results, next, looked_to, is_repeated: false })
    }

    /// Runs all jobs that match again, those of one call in one commit. With a key, a repeated call returns the new jobs of the
    /// first.
    pub async fn retry_matching(
        &self,
        action: &BulkAction,
        key: Option<&IdempotencyKey>,
    ) -> Result<ActionReport, SubmitError> {
        let _turn = self.rerunning.lock().await;
        let mut contest = self.contest();
        loop {
            if let Some(first) = self.first_answer(action.tenant, key)? {
                return self.run_again_before(action.tenant, first);
            }
            let Found { jobs: mut found, mut next, mut looked_to } = self.matching(action)?;
            if let Some(rest) = cut(&mut found) {
                next = Some(rest);
                looked_to = found.last().map(|last| last.submission.created_on);
            }
            found.reverse();
            let (results, pending) = self.number_and_commit_matching(&found, next, action, key)?;
            match pending.await {
                Ok(()) => return Ok(ActionReport { results, next, looked_to, is_repeated: false }),
                Err(error) => contest.lost(error.into()).await?,
            }
        }
    }

    fn number_and_commit_matching(
        &self,
        found: &[Job],
        next: Option<Sequence>,
        action: &BulkAction,
        key: Option<&IdempotencyKey>,
    ) -> Result<(Vec<ActionResult>, Pending), SubmitError> {
        let _turn = found.iter().any(|job| is_keyed(&job.submission)).then(|| self.identities.turn());
        let now = self.clock.now();
        let rerun = Rerun { reason: action.reason.clone(), ..Rerun::new(&action.by) };
        let (mut ahead, mut changes, mut made) = (Ahead::default(), Vec::new(), Vec::new());
        let mut results = Vec::with_capacity(found.len());
        for job in found {
            let again = match self.may_run_again_now(job) {
                Ok(()) => self.again(job, &rerun, None, &mut ahead, now).map_err(RerunError::from),
                Err(error) => Err(error),
            };
            results.push(match again {
                Ok((new, commit)) => {
                    made.push(new.submission.id);
                    changes.extend(commit);
                    ActionResult { retried_as: Some(new.submission.id), is_changed: true, ..result(job) }
                }
                Err(RerunError::Submit(error @ (SubmitError::Commit(_) | SubmitError::Read(_)))) => return Err(error),
                Err(error) => ActionResult { error: Some(error.into()), ..result(job) },
            });
        }
        results.reverse();
        changes.extend(key.map(|key| key.remember(action.tenant, made, next, now)));
        Ok((results, self.store.commit(changes)))
    }

    /// What a call did that comes again: the jobs that it ran again, newest first.
    fn run_again_before(&self, tenant: TenantId, first: RememberedSubmit) -> Result<ActionReport, SubmitError> {
        let mut results = Vec::with_capacity(first.jobs.len());
        for id in first.jobs.iter().rev() {
            let new = self.get(tenant, *id)?;
            let finished = new.and_then(|new| new.submission.ties().retry_of);
            let finished = finished.map(|finished| self.get(tenant, finished)).transpose()?.flatten();
            results.extend(finished.map(|job| ActionResult {
                retried_as: Some(*id),
                is_changed: true,
                ..result(&job)
            }));
        }
        Ok(ActionReport { results, next: first.next, looked_to: None, is_repeated: true })
    }

    /// The jobs that match, newest first, and where the next call goes on.
    fn matching(&self, action: &BulkAction) -> Result<Found, ReadError> {
        let BulkAction { tenant, filter, before, limit, .. } = action;
        let query = JobQuery { tenant: *tenant, filter: filter.clone(), before: *before, limit: *limit };
        self.search(&query, Sort::Newest)
    }

    fn preview(&self, job: &Job, action: &BulkAction, ahead: &mut Ahead, now: Timestamp) -> ActionResult {
        let (before, result) = (job.state.status, result(job));
        let order = match action.step {
            Step::Order(order) => order,
            Step::Retry => {
                let error = self.may_run_again_now(job).and_then(|()| self.may_hold(job, ahead)).err();
                return ActionResult { is_changed: error.is_none(), error: error.map(Into::into), ..result };
            }
        };
        match self.decide(job, &Command::new(order, &action.by), now) {
            Ok(Next::Unchanged) => result,
            Ok(Next::Changed { state, .. }) => {
                ActionResult { after: Some(state.status), is_changed: true, before, ..result }
            }
            Ok(Next::Gone { .. }) => ActionResult { after: None, is_changed: true, ..result },
            Err(refused) => ActionResult { error: Some(SteerError::from(refused).into()), ..result },
        }
    }

    /// Whether a job that was found may run again. A filter finds a failed one again and again; it is run again once only.
    fn may_run_again_now(&self, job: &Job) -> Result<(), RerunError> {
        may_run_again(job).map_err(SteerError::from)?;
        match self.run_again_as(job).map_err(SteerError::from)? {
            Some(later) => Err(RerunError::Already(later)),
            None => Ok(()),
        }
    }

    /// Whether nobody else has its dedup key, neither in the store nor among those before it.
    fn may_hold(&self, job: &Job, ahead: &mut Ahead) -> Result<(), RerunError> {
        Ok(self.check_held(&job.submission, ahead)?)
    }

    async fn steer_found(&self, job: &Job, order: Order, action: &BulkAction) -> ActionResult {
        let (id, result) = (job.submission.id, result(job));
        let command = Command { order, by: action.by.clone(), reason: action.reason.clone() };
        match self.steer_if(action.tenant, id, &command, |present| action.filter.matches(present)).await {
            Ok((before, after)) => ActionResult {
                before: before.status,
                after: (order != Order::Delete).then_some(after.state.status),
                is_changed: order == Order::Delete || before.revision != after.state.revision,
                ..result
            },
            Err(error) => ActionResult { error: Some(error.into()), ..result },
        }
    }
}

/// Leaves as many of the jobs, newest first, as may be one commit. Returns where the next call goes on, if there are more.
fn cut(found: &mut Vec<Job>) -> Option<Sequence> {
    let mut bytes = 0;
    let fit = found.iter().take_while(|job| {
        bytes += written_bytes(&job.submission);
        bytes <= RETRIED_BYTES_MAX
    });
    let fit = fit.count().max(1);
    if fit >= found.len() {
        return None;
    }
    found.truncate(fit);
    found.last().map(|last| last.submission.id.sequence())
}

impl ActionResult {
    /// Whether the store itself failed, so that going on makes no sense.
    pub fn store_failure(&self) -> Option<&CommitError> {
        match self.error.as_ref()? {
            ActionError::Steer(SteerError::Commit(error)) => Some(error),
            _ => None,
        }
        .filter(|error| !matches!(error, CommitError::Conflict { .. }))
    }
}

fn result(job: &Job) -> ActionResult {
    let status = job.state.status;
    ActionResult {
        job: job.submission.id,
        before: status,
        after: Some(status),
        retried_as: None,
        is_changed: false,
        error: None,
    }
}

/// The results of some futures that go on side by side, in their order.
async fn together<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut under_way: Vec<_> = futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    let mut results: Vec<Option<F::Output>> = under_way.iter().map(|_| None).collect();
    std::future::poll_fn(move |cx| {
        for (slot, result) in under_way.iter_mut().zip(&mut results) {
            if let Some(future) = slot
                && let Poll::Ready(done) = Pin::new(future).poll(cx)
            {
                *result = Some(done);
                *slot = None;
            }
        }
        match under_way.iter().all(Option::is_none) {
            true => Poll::Ready(results.drain(..).flatten().collect()),
            false => Poll::Pending,
        }
    })
    .await
}
