//! Something that work waits behind until a test lets it go on.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Nobody waits longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Default)]
pub(crate) struct Latch {
    standing: Mutex<Standing>,
    changed: Condvar,
}

#[derive(Default)]
struct Standing {
    is_open: bool,
    /// How many have come.
    came: usize,
}

impl Latch {
    /// Waits until it is open.
    pub(crate) fn pass(&self) {
        let mut standing = self.standing.lock();
        standing.came += 1;
        self.changed.notify_all();
        let waited = self.changed.wait_while_for(&mut standing, |standing| !standing.is_open, PATIENCE);
        assert!(!waited.timed_out(), "nobody lets it go on");
    }

    /// Waits until so many have come.
    pub(crate) fn until(&self, count: usize) {
        let mut standing = self.standing.lock();
        let waited = self.changed.wait_while_for(&mut standing, |standing| standing.came < count, PATIENCE);
        assert!(!waited.timed_out(), "{} of {count} have come", standing.came);
    }

    /// Lets everything go on.
    pub(crate) fn open(&self) {
        self.standing.lock().is_open = true;
        self.changed.notify_all();
    }
}
