//! Loops that fail: how long they wait, and how often the log hears of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The same thing is said once in this time.
const INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    unsaid: u64,
}

impl Said {
    fn say(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Keeps one place in the code from saying the same thing in the log more often than once a minute.
#[derive(Debug)]
pub struct Quiet(Mutex<Said>);

impl Default for Quiet {
    fn default() -> Self {
        Self::new()
    }
}

impl Quiet {
    /// Nothing has been said yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Said { last: None, unsaid: 0 }))
    }

    /// Whether it may be said now; if so, how often it was left unsaid since the last time.
    pub fn say(&self) -> Option<u64> {
        self.0.lock().say(Instant::now())
    }
}

/// The same for things of several kinds, each of which may be said once a minute.
#[derive(Debug)]
pub struct QuietByKind(Mutex<BTreeMap<&'static str, Said>>);

impl Default for QuietByKind {
    fn default() -> Self {
        Self::new()
    }
}

impl QuietByKind {
    /// Nothing has been said yet.
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Whether it may be said now; if so, how often it was left unsaid since the last time.
    pub fn say(&self, kind: &'static str) -> Option<u64> {
        self.0.lock().entry(kind).or_default().say(Instant::now())
    }
}

/// How long a loop waits that keeps failing: twice as long each time, up to a bound, and from the start again once it has
/// succeeded.
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl BackOff {
    /// Waits `first`, then twice as long, at most `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// How long to wait after one more failure.
    pub fn failed(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        wait
    }

    /// It has succeeded.
    pub fn succeeded(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_failing_is_said_once_a_minute_with_how_often_it_was_left_unsaid() {
        let (mut said, start) = (Said::default(), Instant::now());
        let heard: Vec<_> = (0..600).filter_map(|tenth| said.say(start + Duration::from_millis(tenth * 250))).collect();
        assert_eq!(heard, [0, 239, 239], "600 failures within 150 seconds");
    }

    #[test]
    fn kinds_do_not_silence_each_other() {
        let quiet = QuietByKind::new();
        assert_eq!([quiet.say("one"), quiet.say("other"), quiet.say("one")], [Some(0), Some(0), None]);
    }

    #[test]
    fn a_loop_that_keeps_failing_waits_longer_within_bounds() {
        let mut wait = BackOff::new(Duration::from_secs(1), Duration::from_secs(5));
        let waits: Vec<_> = (0..5).map(|_| wait.failed().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        wait.succeeded();
        assert_eq!(wait.failed().as_secs(), 1);
    }
}
