//! What people do with a schedule: pause, resume, run now, postpone, edit, back-fill.

use super::error::RuleError;
use super::record::{Definition, Schedule, ScheduleState, second_of};
use super::recurrence::Recurrence;
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
    /// Stops it for now. An occurrence that has come and waits for its jitter is kept in mind; a postponement is not.
    pub fn pause(&self, by: Option<String>, now: Timestamp) -> Result<Self, ScheduleRefusal> {
        match self.state {
            ScheduleState::Active => {
                Ok(Self { state: ScheduleState::Paused, next_run: None, ..self.clone() }.changed(by, now))
            }
            ScheduleState::Paused => refuse("be paused", "paused already", "resume it, or leave it"),
            ScheduleState::Ended => refuse("be paused", "ended", "it makes no jobs any more"),
        }
    }

    /// Sets it going again, from now on: what should have run during the pause does not fire and does not count as missed.
    /// Back-fill it where it should. Where the clock was ahead and has come back, an active one starts from now, too: then what
    /// had its job ahead of its time has another when that comes, for that is when it was meant to run.
    pub fn resume(&self, by: Option<String>, now: Timestamp) -> Result<Self, ScheduleRefusal> {
        match self.state {
            ScheduleState::Paused | ScheduleState::Active if self.was_ahead(now) => {
                let restarted = self.forgetful();
                let next = restarted.first_undecided(now);
                Ok(restarted.waiting_for(next, now).changed(by, now))
            }
            ScheduleState::Paused => Ok(self.clone().waiting_for(self.next_to_run(now), now).changed(by, now)),
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

    /// Changes what it says; jobs that were made already stay as they are (domain.md 4.2). A start that is left out stays
    /// (unless it was derived from another rule and is still to come), and so do the next occurrence and its run where the recurrence does: to say the same again changes nothing. Otherwise
    /// the next occurrence is the first of the new rule from now on that was not decided before, and one that waits for its
    /// run still runs if the new rule yields it, too. A paused schedule stays paused, an ended one goes on if it can.
    pub fn edit(&self, to: Definition, by: Option<String>, now: Timestamp) -> Result<Self, ScheduleRefusal> {
        let Definition { recurrence, target, misfire, overlap, jitter, start_left_out, at_once: _ } = to;
        let recurrence = if start_left_out { self.with_own_start(recurrence, now)? } else { recurrence };
        let jitter = jitter.min(Self::JITTER_MAX);
        let goes_on = recurrence.is_same_as(&self.recurrence) && !self.was_ahead(now);
        if !goes_on {
            recurrence.first_from(now)?;
        }
        let edited = Self { recurrence, target, misfire, overlap, jitter, ..self.clone() };
        let edited = if goes_on { edited } else { edited.on_a_new_course(self.was_ahead(now), now) };
        let is_kept = self.is_postponed() && edited.next_occurrence == self.next_occurrence;
        let next_run = match edited.state {
            ScheduleState::Active if is_kept => self.next_run,
            ScheduleState::Active => edited.next_occurrence.map(|next| edited.run_at(next)),
            ScheduleState::Paused | ScheduleState::Ended => None,
        };
        let edited = Self { next_run, ..edited };
        Ok(if edited == *self { edited } else { edited.changed(by, now) })
    }

    /// A recurrence whose start was left out, with the start that the schedule has; but not where that is still to come and
    /// nobody has said it: it was derived from the rule that is given up now, and would silence the new one until then.
    fn with_own_start(&self, recurrence: Recurrence, now: Timestamp) -> Result<Recurrence, RuleError> {
        let kept = recurrence.with_start_of(&self.recurrence)?;
        let is_derived =
            || [self.created_on, self.modified_on].into_iter().any(|on| self.recurrence.starts_as_if_left_out_at(on));
        let is_kept = self.recurrence.start() <= now || kept.is_same_as(&self.recurrence) || !is_derived();
        Ok(if is_kept { kept } else { recurrence })
    }

    /// The same with the next occurrence of a recurrence that has just changed.
    fn on_a_new_course(self, was_ahead: bool, now: Timestamp) -> Self {
        let state = self.state;
        let edited = if was_ahead { self.forgetful() } else { self };
        let waits = |at: &Timestamp| *at < second_of(now) && edited.recurrence.from(*at).next() == Some(*at);
        let next = edited.next_occurrence.filter(waits).or_else(|| edited.first_undecided(now));
        let edited = edited.waiting_for(next, now);
        match state {
            ScheduleState::Paused => Self { state, ..edited },
            ScheduleState::Active | ScheduleState::Ended => edited,
        }
    }

    /// The same without what was decided by a clock that was ahead.
    fn forgetful(&self) -> Self {
        Self { last_occurrence: None, next_occurrence: None, ..self.clone() }
    }

    /// Of a paused schedule, the first occurrence whose run is not over by now: what fires first if it is resumed.
    fn next_to_run(&self, now: Timestamp) -> Option<Timestamp> {
        let second = second_of(now);
        let Some(waiting) = self.next_occurrence else { return self.first_undecided(now) };
        let jitter = i64::try_from(self.jitter.as_micros()).unwrap_or(i64::MAX);
        let first = waiting.max(Timestamp(second.0.saturating_sub(jitter)));
        self.recurrence.from(first).find(|next| *next >= second || self.run_at(*next) >= now)
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
        let next = match self.state {
            ScheduleState::Paused => self.next_to_run(now).map(|next| next.min(second_of(now))),
            ScheduleState::Active | ScheduleState::Ended => self.next_occurrence,
        };
        next.unwrap_or(second_of(now))
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
