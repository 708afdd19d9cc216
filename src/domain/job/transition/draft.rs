//! The next state of a job while it is being made, with the side effects of domain.md 3.3.

use super::{Facts, Next};
use crate::domain::failure::Failure;
use crate::domain::id::{HostId, VersionName};
use crate::domain::job::{JobState, Lease, Run, RunEnd, RunReport, Status, Wait, WaitReason};
use crate::domain::time::Timestamp;

/// The next state in the making.
pub(super) struct Draft {
    rule: &'static str,
    state: JobState,
    earlier_run: Option<Run>,
    /// When all that happens.
    now: Timestamp,
}

/// How a run ended, and what it leaves to the next.
pub(super) struct Closing {
    /// How it ended.
    pub(super) end: RunEnd,
    /// Why, when it was a failure.
    pub(super) failure: Option<Failure>,
    /// What the host knows of it.
    pub(super) report: RunReport,
}

impl Draft {
    /// The next state by the row `rule`; what explained the present one is forgotten.
    pub(super) fn new(facts: Facts<'_>, rule: &'static str) -> Self {
        let mut state = facts.state.clone();
        state.revision += 1;
        state.failure = None;
        Self { rule, state, earlier_run: None, now: facts.not_before_the_past() }
    }

    /// -> 20.
    pub(super) fn run(mut self, host: HostId, lease_until: Timestamp, version: VersionName) -> Self {
        let state = &mut self.state;
        if !state.same_attempt {
            state.attempt += 1;
            state.throttled_since = None;
        }
        state.same_attempt = false;
        state.fence += 1;
        state.runs += 1;
        state.lease = Some(Lease { host, until: lease_until });
        state.run_started_on = Some(self.now);
        state.started_on = state.started_on.or(Some(self.now));
        state.version = Some(version);
        self.stand(Status::Running, None, None)
    }

    /// Closes the run that is under way. The one that was last until now becomes a row of its own.
    pub(super) fn close_run(mut self, closing: Closing) -> Self {
        let state = &mut self.state;
        let Closing { end, failure, report } = closing;
        let lease = state.lease.take();
        let started_on = state.run_started_on.take().unwrap_or(self.now);
        let closed = Run {
            number: state.runs,
            attempt: state.attempt,
            host: lease.map(|lease| lease.host).unwrap_or_default(),
            version: state.version.clone(),
            started_on,
            ended_on: self.now,
            end,
            failure,
            usage: report.usage,
            log: report.log,
        };
        self.earlier_run = state.last_run.replace(closed);
        if let Some(earlier) = &self.earlier_run {
            state.earlier_usage = state.earlier_usage.plus(earlier.usage);
        }
        state.progress = report.progress.or(state.progress.take());
        if is_safe_end(end) {
            state.checkpoint = report.checkpoint.or(state.checkpoint.take());
        }
        state.same_attempt = continues_attempt(end);
        self
    }

    /// The next run goes on with the same attempt, although this one ended in a failure.
    pub(super) fn same_attempt(mut self) -> Self {
        self.state.same_attempt = true;
        self
    }

    /// The attempt has been throttled; `throttled_since` keeps its first time.
    pub(super) fn throttled(mut self) -> Self {
        self.state.throttled_since = self.state.throttled_since.or(Some(self.now));
        self.same_attempt()
    }

    /// One more lost lease.
    pub(super) fn crashed(mut self) -> Self {
        self.state.crashes += 1;
        self
    }

    /// -> 0.
    pub(super) fn queue(self) -> Self {
        self.stand(Status::Queued, None, None)
    }

    /// -> 10, until a time.
    pub(super) fn wait_until(self, reason: WaitReason, until: Timestamp) -> Self {
        self.stand(Status::Waiting, Some(reason), Some(until))
    }

    /// -> 10, until something happens.
    pub(super) fn wait(self, reason: WaitReason) -> Self {
        self.stand(Status::Waiting, Some(reason), None)
    }

    /// -> 11.
    pub(super) fn retry_at(self, time: Timestamp) -> Self {
        self.stand(Status::Retrying, None, Some(time))
    }

    /// -> 10 or 11, as it waits.
    pub(super) fn wait_as(self, wait: Wait) -> Self {
        match wait {
            Wait::Retry(until) => self.retry_at(until),
            Wait::For { reason, until, event } => {
                let mut draft = self.stand(Status::Waiting, Some(reason), until);
                draft.state.awaited_event = event;
                draft
            }
        }
    }

    /// -> 12. It goes back to the wait that this interrupts, if there is one.
    pub(super) fn pause(self, interrupted: Option<Wait>) -> Self {
        let mut draft = self.stand(Status::Paused, None, None);
        draft.state.earlier_wait = interrupted.map(Box::new);
        draft
    }

    /// 20 -> 21, to be postponed at the safe point if `until` says so.
    pub(super) fn ask_to_pause(mut self, until: Option<Timestamp>) -> Self {
        self = self.stand(Status::Pausing, None, None);
        self.state.pending_postpone_until = until;
        self
    }

    /// 20/21 -> 22.
    pub(super) fn ask_to_cancel(self) -> Self {
        self.stand(Status::Canceling, None, None)
    }

    /// -> 30/31/32. There is no next run, so nothing is kept for one.
    pub(super) fn finish(mut self, status: Status) -> Self {
        self.state.completed_on = Some(self.now);
        self.state.checkpoint = None;
        self.state.same_attempt = false;
        self.state.throttled_since = None;
        self.stand(status, None, None)
    }

    /// Why it stands where it does, when no run says so.
    pub(super) fn because(mut self, failure: Failure) -> Self {
        self.state.failure = Some(failure);
        self
    }

    /// What explained where it stood explains where it stands now.
    pub(super) fn because_as_before(mut self, facts: Facts<'_>) -> Self {
        self.state.failure.clone_from(&facts.state.failure);
        self
    }

    /// A cancel was asked for just now.
    pub(super) fn cancel_requested(mut self) -> Self {
        self.state.cancel_requested_on = Some(self.now);
        self
    }

    /// A person did it.
    pub(super) fn by(mut self, person: String) -> Self {
        self.state.modified = Some((self.now, person));
        self
    }

    /// A person wants it to run: the attempts are counted anew (I8).
    pub(super) fn afresh(mut self) -> Self {
        self.state.attempt = 0;
        self.state.is_overruled = true;
        self.state.same_attempt = false;
        self.state.throttled_since = None;
        self
    }

    /// Keeps what the handler returned.
    pub(super) fn output(mut self, output: crate::domain::job::Payload) -> Self {
        self.state.output = Some(output);
        self
    }

    /// The change.
    pub(super) fn done<E>(self) -> Result<Next, E> {
        Ok(Next::Changed { rule: self.rule, state: Box::new(self.state), earlier_run: self.earlier_run })
    }

    fn stand(mut self, status: Status, reason: Option<WaitReason>, until: Option<Timestamp>) -> Self {
        self.state.status = status;
        self.state.wait_reason = reason;
        self.state.awaited_event = None;
        self.state.earlier_wait = None;
        self.state.postpone_until = until;
        self.state.pending_postpone_until = None;
        self
    }
}

impl Facts<'_> {
    /// The present time, unless the clock has been set back: nothing that is noted of a job is before what was noted earlier
    /// (I4). What is waited for counts from the present time all the same, or it would wait until the clock is there again.
    fn not_before_the_past(&self) -> Timestamp {
        let last_end = self.state.last_run.as_ref().map(|run| run.ended_on);
        let noted = [Some(self.submission.created_on), self.state.run_started_on, last_end];
        noted.into_iter().flatten().fold(self.now, Timestamp::max)
    }
}

/// Whether what the run stored as its checkpoint lands with this end (`wit/plugin.wit`, `control.checkpoint`).
fn is_safe_end(end: RunEnd) -> bool {
    matches!(end, RunEnd::Succeeded | RunEnd::Yielded | RunEnd::Suspended | RunEnd::Paused | RunEnd::Released)
}

/// Whether the next run belongs to the same attempt (domain.md 3.3, "-> 20").
fn continues_attempt(end: RunEnd) -> bool {
    match end {
        RunEnd::Yielded | RunEnd::Released | RunEnd::Suspended | RunEnd::Paused | RunEnd::LeaseLost => true,
        RunEnd::Succeeded | RunEnd::Failed | RunEnd::Canceled | RunEnd::Retry | RunEnd::TimedOut => false,
    }
}
