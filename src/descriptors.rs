//! How many files and connections this process may have open, and who may have them.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than any host needs; a table of this many entries still costs nothing.
const WANTED: u64 = 1 << 20;

/// What is kept from connections, at most: for the store, children that compile, loaded components, calls of guests, and
/// administrators.
const RESERVE_MAX: u64 = 512;

/// The descriptors of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// How many it may have open.
    limit: u64,
    /// How many it had open when that was looked at.
    open: u64,
}

/// Raises the soft limit as far as the hard one allows. What a shell or a service manager gives by default is for programs
/// that wait with `select`.
pub fn raise_descriptors() -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?;
    }
    Ok(())
}

impl Descriptors {
    /// As they are now.
    pub fn now() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(WANTED);
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64);
        Self { limit, open }
    }

    /// How many connections there may be, at most `wanted`: of what is left, all but a reserve, which is half of a small
    /// limit. One at least.
    pub fn connections(self, wanted: u32) -> u32 {
        let reserve = RESERVE_MAX.min(self.limit / 2);
        let left = self.limit.saturating_sub(self.open).saturating_sub(reserve);
        u32::try_from(left).unwrap_or(u32::MAX).clamp(1, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_what_must_go_on() {
        let left = |limit, open| Descriptors { limit, open }.connections(4_096);
        assert_eq!(left(1 << 20, 60), 4_096, "as many as wanted where there are plenty");
        assert_eq!(left(1_024, 60), 452);
        assert_eq!(left(256, 60), 68);
        assert_eq!(left(64, 60), 1, "one administrator gets through");
        assert_eq!(left(64, 600), 1);
    }

    #[test]
    fn what_is_open_is_counted() {
        let before = Descriptors::now();
        let files: Vec<_> = (0..50).filter_map(|_| std::fs::File::open("/proc/self/stat").ok()).collect();
        let now = Descriptors::now();
        assert!(now.open >= before.open.min(3) + 3 && files.len() == 50, "{before:?} {now:?}");
        assert_eq!(now.limit, before.limit);
    }
}
