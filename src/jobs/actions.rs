//! One command for all jobs that match a filter: bounded work for each call, counted before it is done (F108).

use std::pin::Pin;
use std::task::Poll;

use super::{Command, Jobs, Order, Rerun, RerunError, SteerError};
use crate::domain::audit::Action;
use crate::domain::id::{JobId, Sequence, TenantId};
use crate::domain::job::transition::Next;
use crate::domain::job::{Job, Status};
use crate::domain::offers::may_run_again;
use crate::domain::query::{JobFilter, JobQuery};
use crate::domain::time::Timestamp;
use crate::store::{CommitError, ReadError};

/// How many commits of one call are under way at a time: enough for one sync of the disk to serve many.
const TOGETHER: usize = 64;

/// How many jobs are read at a time.
const PAGE: usize = 500;

/// How many reads one call makes at most: where few jobs match, a read looks at many and returns few.
const READS_MAX: usize = 64;

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
    /// the jobs that an earlier one made. A job that has changed since it was found and no longer matches is left alone.
    pub async fn act(&self, action: &BulkAction) -> Result<ActionReport, ReadError> {
        let is_rerun = action.step == Step::Retry && !action.is_dry_run;
        let _turn = if is_rerun { Some(self.rerunning.lock().await) } else { None };
        let (mut found, next) = self.matching(action)?;
        found.reverse();
        let now = self.clock.now();
        let mut results = Vec::with_capacity(found.len());
        for group in found.chunks(TOGETHER) {
            if action.is_dry_run {
                results.extend(group.iter().map(|job| self.preview(job, action, now)));
            } else {
                let done = together(group.iter().map(|job| self.act_on(job, action)).collect()).await;
                let is_hopeless = done.iter().any(|result| result.store_failure().is_some());
                results.extend(done);
                if is_hopeless {
                    break;
                }
            }
        }
        results.reverse();
        Ok(ActionReport { results, next })
    }

    /// The jobs that match, newest first, and where the next call goes on.
    fn matching(&self, action: &BulkAction) -> Result<(Vec<Job>, Option<Sequence>), ReadError> {
        let filter = action.filter.clone();
        let mut query = JobQuery { tenant: action.tenant, filter, before: action.before, limit: PAGE };
        let mut found = Vec::new();
        for _ in 0..READS_MAX {
            query.limit = PAGE.min(action.limit - found.len());
            let page = self.store.jobs(&query)?;
            found.extend(page.jobs);
            query.before = page.next;
            if page.next.is_none() || found.len() >= action.limit {
                break;
            }
        }
        Ok((found, query.before))
    }

    fn preview(&self, job: &Job, action: &BulkAction, now: Timestamp) -> ActionResult {
        let before = job.state.status;
        let decided = match action.step {
            Step::Order(order) => self.decide(job, &Command::new(order, &action.by), now),
            Step::Retry => may_run_again(job).map(|()| Next::Unchanged),
        };
        let result = result(job);
        if action.step == Step::Retry
            && let Err(error) = self.check_not_again(job)
        {
            return ActionResult { error: Some(error.into()), ..result };
        }
        match decided {
            Ok(Next::Unchanged) => ActionResult { is_changed: action.step == Step::Retry, ..result },
            Ok(Next::Changed { state, .. }) => {
                ActionResult { after: Some(state.status), is_changed: true, before, ..result }
            }
            Ok(Next::Gone { .. }) => ActionResult { after: None, is_changed: true, ..result },
            Err(refused) => ActionResult { error: Some(SteerError::from(refused).into()), ..result },
        }
    }

    /// A filter finds a failed job again and again; it is run again once only.
    fn check_not_again(&self, job: &Job) -> Result<(), RerunError> {
        match self.run_again_as(job).map_err(SteerError::from)? {
            Some(later) => Err(RerunError::Already(later)),
            None => Ok(()),
        }
    }

    async fn act_on(&self, job: &Job, action: &BulkAction) -> ActionResult {
        let id = job.submission.id;
        let result = result(job);
        match action.step {
            Step::Order(order) => {
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
            Step::Retry => {
                let rerun = Rerun { reason: action.reason.clone(), ..Rerun::new(&action.by) };
                let run_again = async {
                    self.check_not_again(job)?;
                    self.rerun(action.tenant, id, rerun).await
                };
                match run_again.await {
                    Ok(new) => ActionResult { retried_as: Some(new.submission.id), is_changed: true, ..result },
                    Err(error) => ActionResult { error: Some(error.into()), ..result },
                }
            }
        }
    }
}

impl ActionResult {
    /// Whether the store itself failed, so that going on makes no sense.
    pub fn store_failure(&self) -> Option<&CommitError> {
        match self.error.as_ref()? {
            ActionError::Steer(SteerError::Commit(error)) => Some(error),
            ActionError::Rerun(RerunError::Submit(super::SubmitError::Commit(error))) => Some(error),
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
