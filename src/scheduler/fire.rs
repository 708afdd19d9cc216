//! Fires schedules: the jobs of an occurrence and the schedule as it goes on are one commit, so no occurrence fires twice.

use std::sync::Arc;
use std::time::Duration;

use super::Scheduler;
use crate::domain::change::Change;
use crate::domain::job::transition;
use crate::domain::job::{AFTER_MAX, Event, Job};
use crate::domain::schedule::{self, Firing, Overlap, Schedule, ScheduleState};
use crate::domain::time::Timestamp;
use crate::resources::Quiet;
use crate::store::{CommitError, Pending, ReadError};

/// How many schedules one tick fires; more follow in the next tick at once.
const FIRE_BATCH: usize = 128;

/// When a firing is tried again that was refused.
const FIRE_AGAIN: Duration = Duration::from_secs(5);

/// How many unfinished jobs one firing cancels at most, where the schedule says so.
const CANCEL_MAX: usize = 1_000;

/// What the log has been told.
static NOT_FIRED: Quiet = Quiet::new();
static NOT_READ: Quiet = Quiet::new();

/// Who cancels the job before, where the schedule says so.
const BY: &str = "schedule";

/// What firing did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fired {
    pub(super) schedules: usize,
    pub(super) failed: usize,
    /// Whether more are due.
    pub(super) more: bool,
    /// Whether some are on their way to the store.
    pub(super) are_under_way: bool,
    /// Whether some were refused and are tried again later.
    pub(super) are_put_off: bool,
}

/// A firing that is not written yet.
pub(super) enum Unwritten {
    /// It is on its way to the store.
    UnderWay(Pending),
    /// It was refused, and is tried again then. Nothing else waits for it: where there is no room for new jobs, what the
    /// accepted ones need is written all the same.
    PutOff(Timestamp),
}

impl Unwritten {
    /// Whether it is not tried again yet. A time that lies further ahead than it can was set before the clock was set back.
    fn is_put_off(&self, now: Timestamp) -> bool {
        matches!(self, Self::PutOff(until) if now < *until && *until <= now.after(FIRE_AGAIN))
    }
}

impl Scheduler {
    /// Fires what is due at `now`. A schedule whose last firing is not written yet waits for that.
    pub(super) fn fire(&self, now: Timestamp) -> Result<Fired, ReadError> {
        self.mind_the_clock(now)?;
        let mut fired = Fired { failed: self.settle_firings(now), ..Fired::default() };
        // Those that are not written yet hide no others.
        let limit = FIRE_BATCH + self.firing.lock().len();
        let due = self.store.due_schedules(now, limit)?;
        fired.more = due.len() == limit;
        for schedule in due {
            let key = (schedule.tenant, schedule.name.clone());
            if self.firing.lock().contains_key(&key) {
                continue;
            }
            if let Some(pending) = self.fire_one(&schedule, now)? {
                self.firing.lock().insert(key, Unwritten::UnderWay(pending));
                fired.schedules += 1;
            }
        }
        for firing in self.firing.lock().values() {
            match firing {
                Unwritten::UnderWay(_) => fired.are_under_way = true,
                Unwritten::PutOff(_) => fired.are_put_off = true,
            }
        }
        Ok(fired)
    }

    /// Forgets the firings that are written, that somebody else came before, or whose time has come again. How many failed.
    fn settle_firings(&self, now: Timestamp) -> usize {
        let mut failed = 0;
        self.firing.lock().retain(|(_, name), firing| {
            let Unwritten::UnderWay(pending) = firing else { return firing.is_put_off(now) };
            match pending.result() {
                None => true,
                Some(Ok(()) | Err(CommitError::Conflict { .. })) => false,
                Some(Err(error)) => {
                    if let Some(unsaid) = NOT_FIRED.say() {
                        tracing::error!(%name, %error, unsaid, "a schedule could not be fired; it is tried again");
                    }
                    failed += usize::from(!error.is_passing());
                    *firing = Unwritten::PutOff(now.after(FIRE_AGAIN));
                    true
                }
            }
        });
        failed
    }

    fn fire_one(&self, schedule: &Schedule, now: Timestamp) -> Result<Option<Pending>, ReadError> {
        let unfinished = self.unfinished_jobs(schedule)?;
        let up_since = *self.up_since.get_or_init(|| now);
        let firing = schedule::fire(schedule, now, up_since, !unfinished.is_empty());
        let Some(Firing { create, cancel_previous, in_order, mut next, .. }) = firing else { return Ok(None) };
        let _turn = self.advance.identities().turn();
        let mut changes = Vec::new();
        for job in unfinished.iter().filter(|_| cancel_previous) {
            changes.extend(self.cancel(job, now));
        }
        for scheduled_for in create {
            let id = self.advance.identities().next(now);
            let job = match in_order {
                true => schedule.job_behind(id, scheduled_for, &unfinished, now),
                false => schedule.job(id, scheduled_for, false, now),
            };
            changes.push(Change::Submit(Arc::new(job), Box::default()));
            next.last_job = Some(id);
        }
        if next.state == ScheduleState::Ended
            && let Some(warning) = next.warning(now)
        {
            tracing::warn!(name = %next.name, warning, "a schedule has ended");
        }
        changes.push(Change::put(next));
        Ok(Some(self.store.commit(changes)))
    }

    /// The jobs of the schedule that have not ended, oldest first, those that people had it make included: as many as one
    /// firing can heed. None where its occurrences do not mind them.
    fn unfinished_jobs(&self, schedule: &Schedule) -> Result<Vec<Job>, ReadError> {
        let limit = match schedule.overlap {
            Overlap::Allow => return Ok(Vec::new()),
            Overlap::Skip => 1,
            Overlap::Queue => AFTER_MAX,
            Overlap::CancelPrevious => CANCEL_MAX,
        };
        let mut jobs = Vec::new();
        for key in self.store.unfinished_of(schedule.tenant, &schedule.name, limit)? {
            match self.store.job(key) {
                // The others must not miss their times because of one record.
                Err(ReadError::Damaged(why)) => {
                    if let Some(unsaid) = NOT_READ.say() {
                        let (name, job) = (&schedule.name, key.sequence.0);
                        tracing::error!(why, %name, job, unsaid, "a job of a schedule cannot be read");
                    }
                }
                job => jobs.extend(job?),
            }
        }
        Ok(jobs)
    }

    /// Says in the log which schedules make no jobs because the clock was ahead and has come back: when the host starts, and
    /// when it comes back under its eyes.
    fn mind_the_clock(&self, now: Timestamp) -> Result<(), ReadError> {
        let mut last = self.last_look.lock();
        let has_come_back = last.is_none_or(|last| last > now.after(schedule::MISSED_AFTER));
        *last = Some(now);
        if has_come_back {
            for schedule in self.store.schedules()? {
                let warning = schedule.warning_of_clock(now);
                warning
                    .iter()
                    .for_each(|warning| tracing::warn!(name = %schedule.name, warning, "a schedule is silent"));
            }
        }
        Ok(())
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
