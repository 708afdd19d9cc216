//! What is due, what was missed, and what overlaps (domain.md 4.2, F032, F033).

use std::time::Duration;

use super::policy::{MISSED_AFTER, Overlap};
use super::record::{Schedule, ScheduleState};
use crate::domain::time::Timestamp;

/// Occurrences that one firing makes or leaves out, at most; the rest is due at once after it.
pub const FIRING_MAX: usize = 1_000;

/// What a due schedule does: all of it in one commit with `next`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// The occurrences to make a job of, in order: the `scheduled_for` of each, which no other job of the schedule has, unless
    /// the clock was ahead and somebody let the schedule start anew.
    pub create: Vec<Timestamp>,
    /// Whether the unfinished jobs of the schedule are to be canceled.
    pub cancel_previous: bool,
    /// Whether these jobs run one after another, and after those that are unfinished.
    pub in_order: bool,
    /// Occurrences left out because a job of the schedule is unfinished, or because they are due together.
    pub overlapped: usize,
    /// Whether occurrences were missed, whatever has become of them.
    pub missed: bool,
    /// The schedule as it goes on; the writer adds `last_job`.
    pub next: Schedule,
}

/// What `schedule` does at `now`; nothing when it is not due. `up_since` is when the host started, and `is_under_way` says
/// whether any job of the schedule has not ended yet, whoever made it.
///
/// Missed occurrences come first, as many as the misfire policy lets run, then those that are on time. They overlap with
/// unfinished jobs of the schedule, and those on time with each other:
/// - `skip` makes nothing while a job is unfinished; of what is due at once, it makes what the misfire policy
///   asks for, one after another, or else the first that is on time;
/// - `queue` makes all, one after another;
/// - `allow` makes all;
/// - `cancel_previous` makes the latest, and cancels the unfinished ones.
///
/// What lies between an occurrence and the later time that it was postponed to is dropped (F019).
pub fn fire(schedule: &Schedule, now: Timestamp, up_since: Timestamp, is_under_way: bool) -> Option<Firing> {
    let due = Due::at(schedule, now, up_since)?;
    let catching_up = due.missed.len();
    let mut create = due.missed;
    create.extend(due.on_time);
    let left_out: Vec<_> = match schedule.overlap {
        Overlap::Skip if is_under_way => std::mem::take(&mut create),
        Overlap::Skip => create.drain(create.len().min(catching_up.max(1))..).collect(),
        Overlap::CancelPrevious => create.drain(..create.len().saturating_sub(1)).collect(),
        Overlap::Queue | Overlap::Allow => Vec::new(),
    };
    let mut next = schedule.clone().waiting_for(schedule.recurrence.after(due.decided), now);
    next.revision = schedule.revision.saturating_add(1);
    next.last_occurrence = Some(due.decided);
    next.fired = schedule.fired.saturating_add(create.len() as u64);
    next.left_out = schedule.left_out.saturating_add(left_out.len() as u64);
    next.last_left_out = left_out.last().copied().or(schedule.last_left_out);
    next.last_run = if create.is_empty() { schedule.last_run } else { Some(now) };
    Some(Firing {
        cancel_previous: schedule.overlap == Overlap::CancelPrevious && is_under_way && !create.is_empty(),
        in_order: schedule.overlap != Overlap::Allow,
        overlapped: left_out.len(),
        missed: due.any_missed,
        create,
        next,
    })
}

/// The occurrences that are due.
struct Due {
    /// The missed ones that the misfire policy lets run, in order.
    missed: Vec<Timestamp>,
    any_missed: bool,
    on_time: Vec<Timestamp>,
    /// Everything up to here is decided by this firing.
    decided: Timestamp,
}

impl Due {
    fn at(schedule: &Schedule, now: Timestamp, up_since: Timestamp) -> Option<Self> {
        let (run, first) = (schedule.next_run?, schedule.next_occurrence?);
        if schedule.state != ScheduleState::Active || run > now {
            return None;
        }
        let is_postponed = schedule.is_postponed();
        // What came due while no host was there was missed, however short ago that was; and so was what is late by far.
        // A host that was started by a clock that was ahead, and has been set back since, was there.
        let up_since = if up_since <= now { up_since } else { Timestamp(i64::MIN) };
        let on_time_from = |jitter: Duration| {
            let late = now.0.saturating_sub(micros(MISSED_AFTER + jitter));
            Timestamp(late.max(up_since.0.saturating_sub(micros(jitter))))
        };
        let first_missed = match is_postponed {
            true => run < on_time_from(Duration::ZERO),
            false => first < on_time_from(schedule.jitter),
        };
        // The occurrences behind the first, and behind the time that it was postponed to.
        let behind = if is_postponed { first.max(run) } else { first };
        let on_time_from = on_time_from(schedule.jitter);
        let runs = schedule.misfire.runs();

        let mut missed = latest(schedule, behind, on_time_from, runs);
        let any_missed = first_missed || schedule.recurrence.after(behind).is_some_and(|next| next < on_time_from);
        let mut on_time = Vec::new();
        if !first_missed {
            on_time.push(first);
        } else if missed.len() < runs {
            missed.insert(0, first);
        }
        let decided = behind.max(Timestamp(on_time_from.0.saturating_sub(1)));
        let later = schedule.recurrence.from(Timestamp(decided.0.saturating_add(1)));
        on_time.extend(later.take_while(|next| schedule.run_at(*next) <= now).take(FIRING_MAX));
        let decided = on_time.last().copied().map_or(decided, |last| last.max(decided));
        Some(Self { missed, any_missed, on_time, decided })
    }
}

/// The latest `most` occurrences behind `behind` and before `end`, in order. A rule can only be asked forwards, and may
/// yield millions in between; so the moment is searched from which on there are just so many.
fn latest(schedule: &Schedule, behind: Timestamp, end: Timestamp, most: usize) -> Vec<Timestamp> {
    let from = |second: i64| {
        let start = Timestamp(second.saturating_mul(1_000_000)).max(Timestamp(behind.0.saturating_add(1)));
        schedule.recurrence.between(start, end).take(most)
    };
    let mut low = behind.0.div_euclid(1_000_000);
    let mut high = end.0.div_euclid(1_000_000) + 1;
    if most == 0 || high <= low {
        return Vec::new();
    }
    // From `low` on there are enough, or else all there are; from `high` on there are none.
    let are_enough = |second| from(second).count() == most;
    let mut is_open = are_enough(low);
    while is_open {
        let middle = low + (high - low) / 2;
        if are_enough(middle) {
            low = middle;
        } else {
            high = middle;
        }
        is_open = high - low > 1;
    }
    from(low).collect()
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
