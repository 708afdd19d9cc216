//! sled as the engine: the one file that names it.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Engine, EngineError, Found, Order, Write, door};
use crate::domain::code;

/// What sled says when somebody has its file open.
const HELD: &str = "could not acquire lock";
/// How long a tree may still be locked by the store that had it before.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// What sled says where it would start another thread after one has broken.
const WORN_OUT: &str = "IO thread unexpectedly panicked";
/// How many threads sled starts with. One that breaks is never replaced, and without any nothing is written.
const THREADS: usize = 7;
/// Opening may take so long,
const OPEN_PATIENCE: Duration = Duration::from_secs(120);
/// and a second more for so many bytes of its file: a slow disk reads ten times that.
const BYTES_A_SECOND_MIN: u64 = 4 << 20;
/// How long a tree that has broken may take to be closed.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
/// How many entries' pages one round of tidying is for: it frees some five hundred.
const ENTRIES_A_ROUND: usize = 128;

/// A tree, and a handle of our own to its file, open as long as it is: it sees every failure to write.
struct SledEngine {
    /// Until it is dropped.
    db: Option<sled::Db>,
    file: File,
    /// How many threads of the engine had broken when it was opened.
    broken_threads: usize,
    /// Whether anything has broken in it: what it holds may hold up its end.
    has_broken: AtomicBool,
    /// Whether a write has broken halfway: nobody knows what it holds.
    is_torn: AtomicBool,
}

/// Opens a tree. A store of this process that was closed just now may still have a thread at work in it: the lock of the
/// directory is ours, so nobody else can have the tree's own for long.
pub(in crate::store::sled) fn open(index: &Path, cache_bytes: u64) -> Result<Arc<dyn Engine>, EngineError> {
    door::keep_quiet();
    remove_unfinished_snapshots(index).map_err(EngineError::Io)?;
    let broken_threads = door::broken_threads();
    if broken_threads >= THREADS {
        return Err(worn_out());
    }
    let started = Instant::now();
    let db = loop {
        match try_open(index, cache_bytes) {
            // A tree that somebody holds is not a damaged one.
            Err(error) if is_held(&error) && started.elapsed() <= LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(EngineError::Damaged(why)) if broken_threads > 0 && why.contains(WORN_OUT) => return Err(worn_out()),
            opened => break opened?,
        }
    };
    let file = File::open(index.join("db")).map_err(EngineError::Io)?;
    let (has_broken, is_torn) = (AtomicBool::new(false), AtomicBool::new(false));
    Ok(Arc::new(SledEngine { db: Some(db), file, broken_threads, has_broken, is_torn }))
}

/// On a thread of its own: bad bytes can make it panic, or wait for ever.
fn try_open(index: &Path, cache_bytes: u64) -> Result<sled::Db, EngineError> {
    let config =
        sled::Config::new().path(index).cache_capacity(cache_bytes).flush_every_ms(None).print_profile_on_drop(false);
    let bytes = std::fs::metadata(index.join("db")).map_or(0, |found| found.len());
    let patience = OPEN_PATIENCE + Duration::from_secs(bytes / BYTES_A_SECOND_MIN);
    match door::on_thread(patience, move || config.open()) {
        Ok(opened) => Ok(opened?),
        // What a panic says may be that the disk is full.
        Err(EngineError::Broke(why)) => match of_text(why) {
            EngineError::Damaged(why) => Err(EngineError::Broke(why)),
            other => Err(other),
        },
        Err(error) => Err(error),
    }
}

/// What lies on the disk may be sound.
fn worn_out() -> EngineError {
    let why = "the index engine has lost its threads in this process; start the host again";
    EngineError::Io(io::Error::new(io::ErrorKind::WouldBlock, why))
}

impl SledEngine {
    /// Does something with the tree, which may break.
    fn with<T>(&self, work: impl FnOnce(&sled::Db) -> Result<T, EngineError>) -> Result<T, EngineError> {
        let Some(db) = self.db.as_ref().filter(|_| !self.is_useless()) else { return Err(door::broke()) };
        door::behind(|| work(db)).inspect_err(|_| self.has_broken.store(true, Ordering::Relaxed))?
    }

    /// Likewise, where it would leave behind a half.
    fn write<T>(&self, work: impl FnOnce(&sled::Db) -> Result<T, EngineError>) -> Result<T, EngineError> {
        let done = self.with(work);
        if matches!(done, Err(EngineError::Broke(_))) {
            self.is_torn.store(true, Ordering::Relaxed);
        }
        done
    }

    /// Whether nothing that it says is to be believed, or it may not answer at all.
    fn is_useless(&self) -> bool {
        self.is_torn.load(Ordering::Relaxed) || door::broken_threads() != self.broken_threads
    }
}

impl Drop for SledEngine {
    /// It writes what it still has, which may break, too, or wait for ever for what is broken.
    fn drop(&mut self) {
        let Some(db) = self.db.take() else { return };
        let dropped = match self.is_useless() || self.has_broken.load(Ordering::Relaxed) {
            true => door::on_thread(CLOSE_PATIENCE, move || drop(db)),
            false => door::behind(move || drop(db)),
        };
        if let Err(error) = dropped {
            tracing::warn!(code = code::INDEX_BROKE.name, %error, "the index was not closed as it should be");
        }
    }
}

/// The entries of a range; it ends where the engine breaks.
struct Range<'e> {
    engine: &'e SledEngine,
    entries: sled::Iter,
    order: Order,
    has_ended: bool,
}

impl Iterator for Range<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if self.has_ended {
            return None;
        }
        let Self { engine, entries, order, .. } = self;
        let next = engine.with(|_| {
            let entry = match order {
                Order::Ascending => entries.next(),
                Order::Descending => entries.next_back(),
            };
            Ok(entry.transpose()?.map(|(key, value)| (key.to_vec(), value.to_vec())))
        });
        self.has_ended = !matches!(next, Ok(Some(_)));
        next.transpose()
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

impl Engine for SledEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.with(|db| Ok(db.get(key)?.map(|value| value.to_vec())))
    }

    fn range(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, order: Order) -> Box<dyn Iterator<Item = Found> + '_> {
        match self.with(|db| Ok(db.range((from, to)))) {
            Ok(entries) => Box::new(Range { engine: self, entries, order, has_ended: false }),
            Err(error) => Box::new(std::iter::once(Err(error))),
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
        self.write(|db| {
            db.apply_batch(batch)?;
            if self.broken_threads > 0 {
                // Fewer threads than it counts on must not get too much at once.
                db.flush()?;
            }
            Ok(())
        })
    }

    /// Frees the pages that a batch has replaced. The tree copies a page for each entry and leaves it to the next accesses to
    /// free the old ones, a few at a time: after a large commit that is gigabytes, for hours.
    fn tidy(&self, entries: usize) {
        // What breaks here breaks the next write, too.
        let _broke = door::behind(|| {
            // Pages are free two epochs after they were replaced.
            for _ in 0..3 + entries / ENTRIES_A_ROUND {
                crossbeam_epoch::pin().flush();
            }
        });
    }

    /// The tree's own flush does not reach the disk (design section 6), so its file is synced, too.
    fn checkpoint(&self) -> Result<(), EngineError> {
        self.write(|db| Ok(db.flush().map(drop)?))?;
        self.file.sync_data().map_err(EngineError::Unsynced)
    }

    fn size_on_disk(&self) -> Result<u64, EngineError> {
        self.with(|db| Ok(db.size_on_disk()?))
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
