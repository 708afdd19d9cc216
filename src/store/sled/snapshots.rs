//! Snapshots: backups in the data directory, of which an index is made again with the journal that follows them.
//!
//! One is written in the background when the journal since the last one has outgrown it, read back, and then named. The last
//! two are kept, with the journal from the older one on, so that one may be damaged. Blobs are not in them: they lie beside.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::blobs::Blobs;
use super::frozen::FrozenView;
use super::journal::segment::sync_directory;
use super::shared::{Shared, Work};
use super::{BLOBS, SNAPSHOTS, private, recover};
use crate::store::CommitError;
use crate::store::backup::{self, BackupError, Blobs as Included, Contents, Packing, Progress, Reader};
use crate::store::frozen::Frozen as _;

/// So many are kept.
const KEPT: usize = 2;
/// How long after one that failed the next is tried.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// Of a snapshot that was there at the start only the compressed size is known: it is so much larger.
const USUAL_COMPRESSION: u64 = 5;
const END: &str = ".ndjson.zst";
const ASIDE: &str = "writing";

/// A snapshot that lies in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The last group that is in it.
    pub(super) lsn: u64,
    /// Bytes of its lines, before compression.
    pub(super) bytes: u64,
    pub(super) path: PathBuf,
}

/// The snapshots of a directory, and the wish for another.
#[derive(Default)]
pub(super) struct Snapshots {
    /// Oldest first.
    kept: Mutex<Vec<Kept>>,
    wish: Mutex<Wish>,
    wished: Condvar,
    ends: AtomicBool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Wish {
    #[default]
    None,
    Due,
    /// One is being written.
    UnderWay,
    /// One failed then; the next may be wished for later.
    Failed(Instant),
}

impl Snapshots {
    /// Those of a directory. What an interrupted writing has left goes.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        private::folder(directory)?;
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == ASIDE) {
                std::fs::remove_file(path)?;
            }
        }
        let mut kept = list(directory)?;
        // One that an interrupted writing should have removed.
        while kept.len() > KEPT {
            std::fs::remove_file(kept.remove(0).path)?;
        }
        Ok(Self { kept: Mutex::new(kept), ..Self::default() })
    }

    /// The last group of the oldest one that is kept.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.kept.lock().first().map(|kept| kept.lsn)
    }

    /// The newest one.
    pub(super) fn newest(&self) -> Option<Kept> {
        self.kept.lock().last().cloned()
    }

    /// Has one written, unless that is under way or has just failed.
    pub(super) fn wish(&self) {
        let mut wish = self.wish.lock();
        match *wish {
            Wish::None => *wish = Wish::Due,
            Wish::Failed(when) if when.elapsed() >= TRY_AGAIN => *wish = Wish::Due,
            _ => return,
        }
        self.wished.notify_all();
    }

    /// Ends the thread that writes them.
    pub(super) fn end(&self) {
        self.ends.store(true, Ordering::Release);
        let _wish = self.wish.lock();
        self.wished.notify_all();
    }

    /// Waits for a wish; false at the end.
    fn next(&self) -> bool {
        let mut wish = self.wish.lock();
        loop {
            if self.ends.load(Ordering::Acquire) {
                return false;
            }
            if *wish == Wish::Due {
                *wish = Wish::UnderWay;
                return true;
            }
            self.wished.wait(&mut wish);
        }
    }
}

/// The snapshots that lie in a directory, oldest first.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Kept>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let lsn = name.strip_suffix(END).and_then(|hex| u64::from_str_radix(hex, 16).ok());
        if let Some(lsn) = lsn {
            let bytes = std::fs::metadata(&path)?.len().saturating_mul(USUAL_COMPRESSION);
            found.push(Kept { lsn, bytes, path });
        }
    }
    found.sort_by_key(|kept| kept.lsn);
    Ok(found)
}

/// Where the snapshot of a group lies.
pub(super) fn path(directory: &Path, lsn: u64) -> PathBuf {
    directory.join(format!("{lsn:016x}{END}"))
}

/// Starts the thread that writes snapshots.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    let work = move || {
        while shared.snapshots.next() {
            let began = Instant::now();
            let next = match write(&shared) {
                Ok(kept) => {
                    tracing::debug!(lsn = kept.lsn, bytes = kept.bytes, took = ?began.elapsed(), "a snapshot was written");
                    Wish::None
                }
                Err(_) if shared.snapshots.ends.load(Ordering::Acquire) => return,
                Err(error) => {
                    tracing::warn!(%error, "a snapshot could not be written; the journal is kept, and it is tried again");
                    Wish::Failed(Instant::now())
                }
            };
            *shared.snapshots.wish.lock() = next;
        }
    };
    std::thread::Builder::new().name("store-snapshot".to_owned()).spawn(work)
}

/// Writes one, reads it back, and names it. Older ones go.
pub(super) fn write(shared: &Arc<Shared>) -> Result<Kept, BackupError> {
    let slot = Arc::new(Mutex::new(None));
    shared.send(Work::Freeze(Arc::clone(&slot))).wait()?;
    let held = slot.lock().take();
    let held = held.ok_or_else(|| CommitError::Short(Arc::from("the journal could not be synced")))?;
    let mut frozen = FrozenView::new(Arc::clone(shared), held);
    let directory = shared.settings.path.join(SNAPSHOTS);
    let lsn = frozen.moment().lsn;
    let path = path(&directory, lsn);
    let aside = path.with_extension(ASIDE);
    let goes_on = |_: u64, _: u64| match shared.snapshots.ends.load(Ordering::Acquire) {
        true => Err(BackupError::Io(io::Error::other("the store is closed"))),
        false => Ok(()),
    };
    let written = (|| {
        let out = private::file().truncate(true).open(&aside)?;
        let mut packed = Counted { inner: Packing::Zstd.pack(io::BufWriter::with_capacity(1 << 18, out))?, bytes: 0 };
        backup::write(&mut frozen, &mut packed, super::now(), Included::Beside, &mut { goes_on })?;
        let bytes = packed.bytes;
        let out = packed.inner.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        out.sync_all()?;
        drop(frozen);
        Reader::start(BufReader::new(File::open(&aside)?), &shared.settings.families)?.check(&mut { goes_on })?;
        std::fs::rename(&aside, &path)?;
        sync_directory(&directory)?;
        Ok(Kept { lsn, bytes, path: path.clone() })
    })();
    let kept = written.inspect_err(|_: &BackupError| {
        // What could not be finished must not take up the room.
        let _removed = std::fs::remove_file(&aside);
    })?;
    let mut all = shared.snapshots.kept.lock();
    all.retain(|old| old.lsn != kept.lsn);
    all.push(kept.clone());
    while all.len() > KEPT {
        let old = all.remove(0);
        std::fs::remove_file(&old.path)?;
    }
    Ok(kept)
}

/// Counts what goes through.
struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: io::Write> io::Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Lays the ground for a store that has what a backup has: its blobs, and a snapshot, in a folder that has nothing yet. Whoever
/// opens it makes the index.
pub(in crate::store) fn plant(
    directory: &Path,
    mut reader: Reader<'_>,
    progress: Progress<'_>,
) -> Result<Contents, BackupError> {
    private::folder(directory)?;
    let (blobs, snapshots) = (directory.join(BLOBS), directory.join(SNAPSHOTS));
    private::folder(&blobs)?;
    private::folder(&snapshots)?;
    let blobs = Blobs::open(&blobs)?;
    let path = path(&snapshots, reader.header().lsn);
    let out = private::file().truncate(true).open(&path)?;
    let mut packed = Packing::Zstd.pack(io::BufWriter::with_capacity(1 << 18, out))?;
    backup::copy(&mut reader, &mut packed, &mut |blob| blobs.put(&blob).map(|_| ()), progress)?;
    packed.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    sync_directory(&snapshots)?;
    recover::mark_new(directory)?;
    Ok(reader.contents().clone())
}
