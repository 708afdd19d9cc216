//! What people do with a schedule: pause, resume, run now, postpone, edit, back-fill.

use super::error::RuleError;
use super::record::{Definition, Schedule, ScheduleState};
use crate::domain::time::Timestamp;

/// Why a schedule is not steered that way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleRefusal {
    /// Its state does not allow it.
    #[error("the schedule cannot {action} because it is {state}; {instead}")]
    State {
        /// What was asked for.
        action: &'static str,
        /// What it is.
        state: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// The new rule is not acceptable.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Nobody knows any more which occurrences of the span have had their job.
    #[error(
        "{gone} of the jobs that the schedule has made are gone, and what ended before {kept_from} may be among them: an occurrence from before then could run twice; take a span from that time on, or say that it is to run again"
    )]
    Forgotten {
        /// How many of its jobs were removed.
        gone: u64,
        /// What ended later is kept.
        kept_from: Timestamp,
    },
    /// The span has more occurrences than may be made at once.
    #[error(
        "there are more than {max} occurrences from {from} to {to}; take a shorter span (the first {max} end before {up_to})"
    )]
    TooMany {
        /// How many may be made at once.
        max: usize,
        /// The start of the span.
        from: Timestamp,
        /// The end of the span.
        to: Timestamp,
        /// The first occurrence that is too many.
        up_to: Timestamp,
    },
}

impl Schedule {
    /// Stops it for now.
    pub fn pause(&self, by: Option<String>, now: Timestamp) -> Result<Self, ScheduleRefusal> {
        match self.state {
            ScheduleState::Active => {
                let paused =
                    Self { state: ScheduleState::Paused, next_run: None, next_occurrence: None, ..self.clone() };
                Ok(paused.changed(by, now))
            }
            ScheduleState::Paused => refuse("be paused", "paused already", "resume it, or leave it"),
            ScheduleState::Ended => refuse("be paused", "ended", "it makes no jobs any more"),
        }
    }

    /// Sets it going again, from now on: what fell into the pause does not fire and does not count as missed. Back-fill
    /// it where it should.
    pub fn resume(&self, by: Option<String>, now: Timestamp) -> Result<Self, ScheduleRefusal> {
        match self.state {
            ScheduleState::Paused => Ok(self.clone().upcoming(now).changed(by, now)),
            ScheduleState::Active => refuse("be resumed", "active already", "nothing has to be done"),
            ScheduleState::Ended => refuse("be resumed", "ended", "give it a rule that goes on"),
        }
    }

    /// An occurrence beside the rule, in any state, and what the schedule is after it. Its time is `now`, or just after:
    /// never a whole second, as those of a rule are, and never that of another extra one, so that no two jobs of the
    /// schedule have the same.
    pub fn run_now(&self, now: Timestamp) -> (Timestamp, Self) {
        let after_last = self.last_extra.map_or(now, |last| now.max(Timestamp(last.0.saturating_add(1))));
        let is_whole = after_last.0.rem_euclid(1_000_000) == 0;
        let scheduled_for = Timestamp(after_last.0.saturating_add(i64::from(is_whole)));
        let next = Self {
            revision: self.revision.saturating_add(1),
            last_extra: Some(scheduled_for),
            last_run: Some(now),
            fired: self.fired.saturating_add(1),
            ..self.clone()
        };
        (scheduled_for, next)
    }

    /// Lets the next occurrence run at `until`, earlier or later than the rule says; a time that has passed is now.
    /// Later occurrences keep the rule (F019). What lies before a later `until` is dropped: it is the next run that was
    /// put off.
    pub fn postpone(&self, until: Timestamp, by: Option<String>, now: Timestamp) -> Result<Self, ScheduleRefusal> {
        match self.state {
            ScheduleState::Active => Ok(Self { next_run: Some(until.max(now)), ..self.clone() }.changed(by, now)),
            ScheduleState::Paused => refuse("be postponed", "paused", "resume it first"),
            ScheduleState::Ended => refuse("be postponed", "ended", "give it a rule that goes on, or run it now"),
        }
    }

    /// Changes what it says. The next occurrence is the first of the new rule from now on that was not decided before;
    /// jobs that were made already stay as they are (domain.md 4.2). A paused schedule stays paused, an ended one goes
    /// on.
    pub fn edit(&self, to: Definition, by: Option<String>, now: Timestamp) -> Result<Self, ScheduleRefusal> {
        to.recurrence.first_from(now)?;
        let Definition { recurrence, target, misfire, overlap, jitter } = to;
        let jitter = jitter.min(Self::JITTER_MAX);
        let edited = Self { recurrence, target, misfire, overlap, jitter, ..self.clone() }.changed(by, now);
        Ok(if self.state == ScheduleState::Paused { edited } else { edited.upcoming(now) })
    }

    /// The occurrences of the rule from `from` to before `to`, to make jobs of once more or at last; refused when there
    /// are more than `max`.
    pub fn backfill(&self, from: Timestamp, to: Timestamp, max: usize) -> Result<Vec<Timestamp>, ScheduleRefusal> {
        let found: Vec<_> =
            self.recurrence.from(from).take_while(|next| *next < to).take(max.saturating_add(1)).collect();
        match found.get(max) {
            Some(up_to) => Err(ScheduleRefusal::TooMany { max, from, to, up_to: *up_to }),
            None => Ok(found),
        }
    }

    /// Refused when occurrences from `from` on may have had jobs that are gone: `there` of those that it has made are not,
    /// and nothing that ended at `kept_from` or later was removed because of its age.
    pub fn check_remembered(
        &self,
        from: Timestamp,
        there: u64,
        kept_from: Option<Timestamp>,
    ) -> Result<(), ScheduleRefusal> {
        let gone = self.fired.saturating_sub(there);
        match kept_from.filter(|kept_from| gone > 0 && from < *kept_from) {
            Some(kept_from) => Err(ScheduleRefusal::Forgotten { gone, kept_from }),
            None => Ok(()),
        }
    }

    /// From when on an occurrence may still fire by itself: the next one, or the present second when it waits for none.
    /// Whatever lies before has been decided.
    pub fn undecided_from(&self, now: Timestamp) -> Timestamp {
        self.next_occurrence.unwrap_or(Timestamp(now.0 - now.0.rem_euclid(1_000_000)))
    }

    fn changed(mut self, by: Option<String>, now: Timestamp) -> Self {
        self.revision = self.revision.saturating_add(1);
        self.modified_on = now;
        self.modified_by = by;
        self
    }
}

fn refuse(action: &'static str, state: &'static str, instead: &'static str) -> Result<Schedule, ScheduleRefusal> {
    Err(ScheduleRefusal::State { action, state, instead })
}
