//! Steering one job: the domain decides, one guarded commit writes, and who runs it is told.

use std::sync::Arc;

use super::Jobs;
use crate::domain::audit::{Action, AuditRow};
use crate::domain::change::Change;
use crate::domain::id::{JobId, TenantId};
use crate::domain::job::transition::{self, Next, Refused};
use crate::domain::job::{Event, Job, JobState, JobType};
use crate::domain::time::Timestamp;
use crate::store::{CommitError, ReadError, why_kept};

/// How often a command is decided again when the job changed between reading and writing.
const ATTEMPTS: usize = 16;

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SteerError {
    /// There is no such job.
    #[error("there is no job {0}")]
    Unknown(JobId),
    /// The job's state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A command of a person.
#[derive(Clone, Debug)]
pub struct Command {
    /// What is asked for.
    pub order: Order,
    /// Who asks.
    pub by: String,
    /// Why, in the words of the person.
    pub reason: Option<String>,
}

/// What a person asks of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Call it off. A running handler is asked first, and stopped when it does not listen within the grace: the feed tells
    /// it.
    Cancel,
    /// Stop it for now.
    Pause,
    /// Set it going again: a paused one goes back to what it waited for, any other runs without waiting for its time.
    Resume,
    /// The same, but a paused one runs now, too.
    ResumeNow,
    /// Put it off until a time; a time that has passed means now.
    Postpone(Timestamp),
    /// Remove it, once it has ended, with its runs, logs and payloads.
    Delete,
}

impl Order {
    /// The word for it.
    pub fn action(self) -> Action {
        match self {
            Self::Cancel => Action::Cancel,
            Self::Pause => Action::Pause,
            Self::Resume | Self::ResumeNow => Action::Resume,
            Self::Postpone(_) => Action::Postpone,
            Self::Delete => Action::Delete,
        }
    }

    /// What a job cannot do, in a refusal.
    fn passive(self) -> &'static str {
        match self {
            Self::Cancel => "be canceled",
            Self::Pause => "be paused",
            Self::Resume | Self::ResumeNow => "be resumed",
            Self::Postpone(_) => "be postponed",
            Self::Delete => "be deleted",
        }
    }
}

impl Command {
    /// A command without a reason.
    pub fn new(order: Order, by: &str) -> Self {
        Self { order, by: by.to_owned(), reason: None }
    }

    fn event(&self) -> Event {
        let by = self.by.clone();
        match self.order {
            Order::Cancel => Event::Cancel { by },
            Order::Pause => Event::Pause { by },
            Order::Resume => Event::Resume { by, at_once: false },
            Order::ResumeNow => Event::Resume { by, at_once: true },
            Order::Postpone(until) => Event::Postpone { until, by },
            Order::Delete => Event::Delete,
        }
    }
}

impl Jobs {
    /// Carries out a command, with a row that says who gave it and why. Canceling a batch cancels its members, too. Returns
    /// the job as it is then; of a deleted one, as it was.
    pub async fn steer(&self, tenant: TenantId, id: JobId, command: &Command) -> Result<Job, SteerError> {
        Ok(self.steer_if(tenant, id, command, |_| true).await?.1)
    }

    /// The same, as long as the job is one of those that are meant. Returns also how it was before.
    pub(super) async fn steer_if(
        &self,
        tenant: TenantId,
        id: JobId,
        command: &Command,
        is_meant: impl Fn(&Job) -> bool,
    ) -> Result<(JobState, Job), SteerError> {
        let (before, job) = self.steer_one(tenant, id, command, is_meant).await?;
        if job.submission.job_type == JobType::BATCH && command.order == Order::Cancel {
            self.cancel_members(&job, command).await?;
        }
        Ok((before, job))
    }

    /// The same for the job alone, even when it is a batch.
    pub(super) async fn steer_one(
        &self,
        tenant: TenantId,
        id: JobId,
        command: &Command,
        is_meant: impl Fn(&Job) -> bool,
    ) -> Result<(JobState, Job), SteerError> {
        let mut conflict = CommitError::Conflict { index: 0 };
        for _ in 0..ATTEMPTS {
            let present = self.get(tenant, id)?.ok_or(SteerError::Unknown(id))?;
            if !is_meant(&present) {
                let (status, event) = (present.state.status, command.order.passive());
                return Err(
                    Refused { status, event, why: "it has changed meanwhile and no longer matches".into() }.into()
                );
            }
            if command.order == Order::Delete
                && present.state.status.is_final()
                && let Some(why) = why_kept(&*self.store, &present)?
            {
                let (status, event) = (present.state.status, command.order.passive());
                return Err(Refused { status, event, why: why.into() }.into());
            }
            let now = self.clock.now();
            let next = self.decide(&present, command, now)?;
            let after = match &next {
                Next::Unchanged => return Ok((present.state.clone(), present)),
                Next::Gone { .. } => present.clone(),
                Next::Changed { state, .. } => {
                    Job { submission: Arc::clone(&present.submission), state: (**state).clone() }
                }
            };
            let mut changes = self.advance.changes(&present, next, now);
            if command.order != Order::Delete {
                changes.insert(1, Change::put(audit_row(&present, &after, command, now)));
            }
            match self.store.commit(changes).await {
                Ok(()) => {
                    if command.order == Order::Delete {
                        note_deletion(&present, command);
                    }
                    return Ok((present.state, after));
                }
                Err(error @ CommitError::Conflict { .. }) => conflict = error,
                Err(error) => return Err(error.into()),
            }
        }
        Err(conflict.into())
    }

    /// What a command would make of a job.
    pub fn decide(&self, present: &Job, command: &Command, now: Timestamp) -> Result<Next, Refused> {
        let policy = self.registry.policy(present.submission.tenant, &present.submission.plugin);
        transition::apply(&present.submission, &present.state, &policy.retry, command.event(), now)
    }

    /// The commands that were given for a job, oldest first.
    pub fn audit(&self, job: &Job) -> Result<Vec<AuditRow>, ReadError> {
        self.store.audit(job.submission.key())
    }
}

/// A deleted job takes its audit rows with it: who removed it and why stands in the host's log.
fn note_deletion(job: &Job, command: &Command) {
    let reason = command.reason.as_deref().unwrap_or("-");
    tracing::info!(job.id = %job.submission.id, status = %job.state.status, by = command.by, reason, "a job was deleted");
}

fn audit_row(before: &Job, after: &Job, command: &Command, now: Timestamp) -> AuditRow {
    AuditRow {
        job: before.submission.key(),
        revision: after.state.revision,
        on: now,
        by: command.by.clone(),
        action: command.order.action(),
        from: before.state.status,
        to: after.state.status,
        reason: command.reason.clone(),
    }
}
