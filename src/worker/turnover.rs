//! How fast slots turn over, and how many jobs may therefore be claimed ahead of a free one.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A job is claimed ahead if it will have a slot within this time, by how many short runs have ended lately. Short jobs follow
/// each other without a gap; one that would wait for longer stays queued, where it can be paused, overtaken and called off,
/// and where the death of the host is nothing to it.
const HORIZON: Duration = Duration::from_millis(10);

/// When short runs ended lately.
pub(super) struct Turnover {
    freed: Mutex<VecDeque<Instant>>,
    ahead_max: usize,
}

impl Turnover {
    /// Nothing has become free yet; at most `ahead_max` jobs may ever be claimed ahead.
    pub(super) fn new(ahead_max: usize) -> Self {
        Self { freed: Mutex::default(), ahead_max }
    }

    /// A run that began at `since` has ended at `now`. The end of a long one says nothing of the next.
    pub(super) fn ended(&self, since: Instant, now: Instant) {
        if now.duration_since(since) >= HORIZON {
            return;
        }
        let mut freed = self.freed.lock();
        freed.push_back(now);
        if freed.len() > self.ahead_max {
            freed.pop_front();
        }
    }

    /// How many jobs may be claimed ahead of a free slot at `now`.
    pub(super) fn ahead(&self, now: Instant) -> usize {
        self.freed.lock().iter().rev().take_while(|freed| now.duration_since(**freed) < HORIZON).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_claimed_ahead_as_short_runs_have_ended_in_a_moment() {
        let turnover = Turnover::new(3);
        let start = Instant::now();
        let millis = |count| start + Duration::from_millis(count);
        assert_eq!(turnover.ahead(millis(0)), 0, "nobody knows yet how long a job takes");
        turnover.ended(millis(0), millis(1));
        turnover.ended(millis(8), millis(9));
        assert_eq!(turnover.ahead(millis(10)), 2);
        assert_eq!(turnover.ahead(millis(12)), 1);
        assert_eq!(turnover.ahead(millis(19)), 0, "what runs takes long");
        turnover.ended(millis(1), millis(19));
        assert_eq!(turnover.ahead(millis(19)), 0, "many long ones may end together, and the next are as long");
        (20..30).for_each(|time| turnover.ended(millis(time - 1), millis(time)));
        assert_eq!(turnover.ahead(millis(30)), 3, "never more than the host is set to");
    }
}
