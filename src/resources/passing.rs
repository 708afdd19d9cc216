//! Which errors want a resource that comes back by itself.

use std::io;

/// A resource of which there may be more in a moment: whoever wants it tries again, and nothing is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Open files and connections, of the process or of the machine.
    Descriptors,
    /// Memory.
    Memory,
    /// Threads and processes.
    Threads,
    /// Room or inodes on the disk, or under a quota.
    Room,
}

/// The errors of the system that want one, as Linux numbers them.
const ERRORS: [(i32, Resource); 6] = [
    (24, Resource::Descriptors), // EMFILE
    (23, Resource::Descriptors), // ENFILE
    (12, Resource::Memory),      // ENOMEM
    (11, Resource::Threads),     // EAGAIN, of clone and fork
    (28, Resource::Room),        // ENOSPC, for inodes, too
    (122, Resource::Room),       // EDQUOT
];

impl Resource {
    /// What an error of the system wants, if that is all that is wrong.
    pub fn wanted_by(error: &io::Error) -> Option<Self> {
        if let Some(number) = error.raw_os_error() {
            return ERRORS.iter().find(|(known, _)| *known == number).map(|(_, resource)| *resource);
        }
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Self::Room),
            io::ErrorKind::OutOfMemory => Some(Self::Memory),
            _ => Self::named_in(&error.to_string()),
        }
    }

    /// What an error wants of which only the text is left, in either of the ways in which the standard library words it.
    pub fn named_in(text: &str) -> Option<Self> {
        let is_named = |number: &i32| {
            text.contains(&format!("(os error {number})")) || text.contains(&format!("Os {{ code: {number},"))
        };
        ERRORS.iter().find(|(number, _)| is_named(number)).map(|(_, resource)| *resource)
    }

    /// What there is too little of, in words that follow "the host is short of".
    pub fn word(self) -> &'static str {
        match self {
            Self::Descriptors => "file descriptors",
            Self::Memory => "memory",
            Self::Threads => "threads or processes",
            Self::Room => "room on the disk",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_told_from_what_is_broken() {
        for (number, resource) in ERRORS {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(Resource::wanted_by(&error), Some(resource), "{error}");
            // A layer between keeps only the text, in one form or the other.
            assert_eq!(Resource::named_in(&format!("opening it: {error}")), Some(resource));
            assert_eq!(Resource::wanted_by(&io::Error::other(format!("{error:?}"))), Some(resource));
        }
        for number in [2, 5, 13, 30] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(Resource::wanted_by(&error), None, "{error}");
            assert_eq!(Resource::named_in(&format!("{error} {error:?}")), None);
        }
        assert_eq!(Resource::wanted_by(&io::ErrorKind::StorageFull.into()), Some(Resource::Room));
    }
}
