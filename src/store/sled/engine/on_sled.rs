//! sled as the engine: the one file that names it.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Engine, EngineError, Found, Order, Write};

/// What sled says when somebody has its file open.
const HELD: &str = "could not acquire lock";
/// How long a tree may still be locked by the store that had it before.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How many entries' pages one round of tidying is for: it frees some five hundred.
const ENTRIES_A_ROUND: usize = 128;

/// A tree, and a handle of our own to its file, open as long as it is: it sees every failure to write.
struct SledEngine {
    db: sled::Db,
    file: File,
}

/// Opens a tree. A store of this process that was closed just now may still have a thread at work in it: the lock of the
/// directory is ours, so nobody else can have the tree's own for long.
pub(in crate::store::sled) fn open(index: &Path, cache_bytes: u64) -> Result<Arc<dyn Engine>, EngineError> {
    remove_unfinished_snapshots(index).map_err(EngineError::Io)?;
    let started = Instant::now();
    let db = loop {
        match try_open(index, cache_bytes) {
            // A tree that somebody holds is not a damaged one.
            Err(error) if is_held(&error) && started.elapsed() <= LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => break opened?,
        }
    };
    let file = File::open(index.join("db")).map_err(EngineError::Io)?;
    Ok(Arc::new(SledEngine { db, file }))
}

/// On a thread of its own: bad bytes can make it panic.
fn try_open(index: &Path, cache_bytes: u64) -> Result<sled::Db, EngineError> {
    let config =
        sled::Config::new().path(index).cache_capacity(cache_bytes).flush_every_ms(None).print_profile_on_drop(false);
    let open = move || catch_unwind(AssertUnwindSafe(|| config.open()));
    let opening = std::thread::Builder::new().name("store-open".to_owned()).spawn(open).map_err(EngineError::Io)?;
    match opening.join() {
        Ok(Ok(opened)) => Ok(opened?),
        Ok(Err(panic)) | Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(of_text(format!("opening it broke: {}", text.unwrap_or("no reason was given"))))
        }
    }
}

/// A crash while a snapshot was written leaves a part of it that the next opening would take for whole.
fn remove_unfinished_snapshots(index: &Path) -> io::Result<()> {
    if !index.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(index)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The system says of a lock what it says of a want of threads, so the text of the error tells.
fn is_held(error: &EngineError) -> bool {
    matches!(error, EngineError::Io(error) if error.kind() == io::ErrorKind::WouldBlock && error.to_string().contains(HELD))
}

fn of_text(text: String) -> EngineError {
    if text.contains(HELD) {
        return EngineError::Io(io::Error::new(io::ErrorKind::WouldBlock, text));
    }
    EngineError::of_text(text)
}

/// An error in words: without the backtrace, which is empty, and without asking people to report it elsewhere.
impl From<sled::Error> for EngineError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) if error.to_string().contains(HELD) => of_text(error.to_string()),
            sled::Error::Io(error) => Self::Io(error),
            sled::Error::Corruption { at: Some(at), .. } => {
                Self::Damaged(format!("Read corrupted data at file offset {at:?}"))
            }
            sled::Error::Corruption { at: None, .. } => Self::Damaged("Read corrupted data".to_owned()),
            sled::Error::ReportableBug(what) => of_text(format!("the index cannot be read: {what}")),
            error => Self::Failed(error.to_string()),
        }
    }
}

fn found(entry: sled::Result<(sled::IVec, sled::IVec)>) -> Found {
    let (key, value) = entry?;
    Ok((key.to_vec(), value.to_vec()))
}

impl Engine for SledEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.db.get(key)?.map(|value| value.to_vec()))
    }

    fn range(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, order: Order) -> Box<dyn Iterator<Item = Found> + '_> {
        let entries = self.db.range((from, to));
        match order {
            Order::Ascending => Box::new(entries.map(found)),
            Order::Descending => Box::new(entries.rev().map(found)),
        }
    }

    fn apply(&self, writes: &mut dyn Iterator<Item = Write<'_>>) -> Result<(), EngineError> {
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        Ok(self.db.apply_batch(batch)?)
    }

    /// Frees the pages that a batch has replaced. The tree copies a page for each entry and leaves it to the next accesses to
    /// free the old ones, a few at a time: after a large commit that is gigabytes, for hours.
    fn tidy(&self, entries: usize) {
        // Pages are free two epochs after they were replaced.
        for _ in 0..3 + entries / ENTRIES_A_ROUND {
            crossbeam_epoch::pin().flush();
        }
    }

    /// The tree's own flush does not reach the disk (design section 6), so its file is synced, too.
    fn checkpoint(&self) -> Result<(), EngineError> {
        self.db.flush()?;
        self.file.sync_data().map_err(EngineError::Unsynced)
    }

    fn size_on_disk(&self) -> Result<u64, EngineError> {
        Ok(self.db.size_on_disk()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ReadError;

    #[test]
    fn a_tree_in_use_is_waited_for_whatever_else_its_error_says() {
        let text = "could not acquire lock on \"db\": Os { code: 11, kind: WouldBlock, message: \"Resource temporarily unavailable\" }";
        for error in [sled::Error::Io(io::Error::other(text)).into(), of_text(text.to_owned())] {
            assert!(is_held(&error), "{error:?}");
        }
        let threads = EngineError::from(sled::Error::Io(io::Error::from_raw_os_error(11)));
        assert!(!is_held(&threads), "a want of threads is another thing: {threads:?}");
        assert!(matches!(threads, EngineError::Io(error) if EngineError::is_of_the_disk(&error)));
    }

    #[test]
    fn damage_is_told_without_what_says_nothing() {
        let corruption = EngineError::from(sled::Error::Corruption { at: None, bt: () });
        let ReadError::Damaged(why) = ReadError::from(corruption) else { panic!("it is damage") };
        assert!(why.starts_with("Read corrupted data") && !why.contains("backtrace"), "{why}");
    }
}
