//! Fires schedules: the jobs of an occurrence and the schedule as it goes on are one commit, so no occurrence fires twice.

use std::sync::Arc;

use super::Scheduler;
use crate::domain::change::Change;
use crate::domain::id::JobKey;
use crate::domain::job::transition;
use crate::domain::job::{Event, Job};
use crate::domain::schedule::{self, Firing, Schedule};
use crate::domain::time::Timestamp;
use crate::store::{CommitError, Pending, ReadError};

/// How many schedules one tick fires; more follow in the next tick at once.
const FIRE_BATCH: usize = 128;

/// Who cancels the job before, where the schedule says so.
const BY: &str = "schedule";

/// What firing did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fired {
    pub(super) schedules: usize,
    pub(super) failed: usize,
    /// Whether more are due.
    pub(super) more: bool,
}

impl Scheduler {
    /// Fires what is due at `now`. A schedule whose last firing is not written yet waits for that.
    pub(super) fn fire(&self, now: Timestamp) -> Result<Fired, ReadError> {
        let mut fired = self.settle_firings();
        let due = self.store.due_schedules(now, FIRE_BATCH)?;
        fired.more = due.len() == FIRE_BATCH;
        for schedule in due {
            let key = (schedule.tenant, schedule.name.clone());
            if self.firing.lock().contains_key(&key) {
                continue;
            }
            if let Some(pending) = self.fire_one(&schedule, now)? {
                self.firing.lock().insert(key, pending);
                fired.schedules += 1;
            }
        }
        Ok(fired)
    }

    /// Forgets the firings that are written, or that somebody else came before.
    fn settle_firings(&self) -> Fired {
        let mut fired = Fired::default();
        self.firing.lock().retain(|(_, name), pending| match pending.result() {
            None => true,
            Some(Ok(()) | Err(CommitError::Conflict { .. })) => false,
            Some(Err(error)) => {
                tracing::error!(%name, %error, "a schedule could not be fired; it is tried again");
                fired.failed += 1;
                false
            }
        });
        fired
    }

    fn fire_one(&self, schedule: &Schedule, now: Timestamp) -> Result<Option<Pending>, ReadError> {
        let previous = self.unfinished_job(schedule)?;
        let up_since = *self.up_since.get_or_init(|| now);
        let Some(firing) = schedule::fire(schedule, now, up_since, previous.is_some()) else { return Ok(None) };
        let Firing { create, cancel_previous, in_order, mut next, .. } = firing;
        let _turn = self.advance.identities().turn();
        let mut changes = Vec::new();
        if let Some(previous) = previous.filter(|_| cancel_previous) {
            changes.extend(self.cancel(&previous, now));
        }
        for scheduled_for in create {
            let id = self.advance.identities().next(now);
            let job = schedule.job(id, scheduled_for, in_order, now);
            changes.push(Change::Submit(Arc::new(job), Box::default()));
            next.last_job = Some(id);
        }
        changes.push(Change::PutSchedule(Box::new(next)));
        Ok(Some(self.store.commit(changes)))
    }

    /// The job that the schedule made last, unless it has ended or cannot be read.
    fn unfinished_job(&self, schedule: &Schedule) -> Result<Option<Job>, ReadError> {
        let Some(last) = schedule.last_job else { return Ok(None) };
        let job = match self.store.job(JobKey { tenant: schedule.tenant, sequence: last.sequence() }) {
            // The others must not miss their times because of one record.
            Err(ReadError::Damaged(why)) => {
                tracing::error!(why, name = %schedule.name, job.id = %last, "the last job of a schedule cannot be read");
                None
            }
            job => job?,
        };
        Ok(job.filter(|job| job.submission.id == last && !job.state.status.is_final()))
    }

    fn cancel(&self, job: &Job, now: Timestamp) -> Vec<Change> {
        let policy = self.registry.policy(job.submission.tenant, &job.submission.plugin);
        let event = Event::Cancel { by: BY.to_owned() };
        match transition::apply(&job.submission, &job.state, &policy.retry, event, now) {
            Ok(next) => self.advance.changes(job, next, now),
            Err(_) => Vec::new(),
        }
    }
}
