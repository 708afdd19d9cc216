//! The seam between the store and the engine under its index: an ordered map whose writes need not survive anything before
//! the next checkpoint, because the journal has them.

#[cfg(test)]
mod conformance;
mod door;
mod on_sled;
#[cfg(test)]
pub(super) mod ordered;

use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

pub(super) use door::join;
pub(super) use on_sled::open;

use crate::resources::Resource;
use crate::store::ReadError;

/// A key and its value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// An entry of a range.
pub(super) type Found = Result<Pair, EngineError>;

/// A key, and what it is set to; nothing removes it.
pub(super) type Write<'w> = (&'w [u8], Option<&'w [u8]>);

/// From which end a range is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// From the first key on.
    Ascending,
    /// From the last key on.
    Descending,
}

/// Opens the index that lies in a folder, or makes one there. The number is the bytes of memory that it may use for its
/// pages. Returns within a bounded time, whatever lies there.
pub(super) type Open = fn(&Path, u64) -> Result<Arc<dyn Engine>, EngineError>;

/// What the store asks of its index. A store reads from many threads and writes from one.
pub(super) trait Engine: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// The entries between two bounds. What is written meanwhile may be seen or not.
    fn range(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, order: Order) -> Box<dyn Iterator<Item = Found> + '_>;

    /// Writes all or nothing of what it is given. It is on disk after the next checkpoint, and may be before.
    fn apply(&self, writes: &mut dyn Iterator<Item = Write<'_>>) -> Result<(), EngineError>;

    /// Does what `entries` written entries have left to do, which nobody should have to wait for.
    fn tidy(&self, entries: usize);

    /// Brings everything that was written to disk. [`EngineError::Unsynced`] when nobody knows what got there.
    fn checkpoint(&self) -> Result<(), EngineError>;

    /// Bytes of its files.
    fn size_on_disk(&self) -> Result<u64, EngineError>;
}

/// Why an engine did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// The system refused something.
    #[error("{0}")]
    Io(io::Error),
    /// A sync failed: pages may be lost that a later sync would not miss.
    #[error("{0}")]
    Unsynced(io::Error),
    /// What it read is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// It panicked, or waits for ever.
    #[error("the index engine broke: {0}")]
    Broke(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl EngineError {
    /// An error of which only the text is left. What wants something that comes back is never taken for damage.
    pub(super) fn of_text(text: String) -> Self {
        let is_full = text.contains("StorageFull") || text.contains("No space left on device");
        match Resource::named_in(&text) {
            Some(Resource::Room) => Self::Io(io::Error::new(io::ErrorKind::StorageFull, text)),
            Some(_) => Self::Io(io::Error::other(text)),
            None if is_full => Self::Io(io::Error::new(io::ErrorKind::StorageFull, text)),
            None => Self::Damaged(text),
        }
    }

    /// What an error of the system says of an index that does not open: of a disk that is full, or does not let us write,
    /// what lies on it may be sound, and a new index would fare no better.
    pub(super) fn is_of_the_disk(error: &io::Error) -> bool {
        let refuses = matches!(
            error.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::WouldBlock
        );
        refuses || Resource::wanted_by(error).is_some()
    }
}

impl From<EngineError> for ReadError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Io(error) => Self::of(&error),
            EngineError::Damaged(why) => Self::Damaged(why),
            EngineError::Broke(_) => Self::Damaged(error.to_string()),
            EngineError::Unsynced(_) | EngineError::Failed(_) => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_no_damage() {
        let full = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
        let panic = format!("called `Result::unwrap()` on an `Err` value: Io({full:?})");
        for error in [EngineError::Io(full), EngineError::of_text(panic)] {
            let EngineError::Io(error) = error else { panic!("{error:?} is taken for damage") };
            assert!(EngineError::is_of_the_disk(&error), "{error:?}");
        }
        assert!(!EngineError::is_of_the_disk(&io::ErrorKind::UnexpectedEof.into()));
    }

    #[test]
    fn a_sync_that_failed_is_never_tried_again() {
        let full = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
        assert!(!ReadError::from(EngineError::Unsynced(full)).is_passing());
    }
}
