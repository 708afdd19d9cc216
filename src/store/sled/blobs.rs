//! Blobs: bytes under their digest, a file each, on disk before anybody can name them.

use std::fs::{File, FileTimes};
use std::io::{self, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;

use super::journal::segment::sync_directory;
use super::private;
use crate::domain::id::Digest;

/// Files younger than this may be about to be named by a commit.
const GRACE: Duration = Duration::from_hours(1);

/// Whether a blob may go.
pub(super) type MayGo<'a> = &'a mut dyn FnMut(Digest, SystemTime, u64) -> io::Result<bool>;

/// The folder of blobs.
#[derive(Debug)]
pub(super) struct Blobs {
    directory: PathBuf,
    /// Tells temporary names apart.
    next: AtomicU64,
    /// Held while a file is found to exist or is removed, so that the one does not spoil the other.
    sweeping: Mutex<()>,
}

impl Blobs {
    /// Opens the folder; removes what an interrupted put has left.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        private::folder(&directory.join("tmp"))?;
        for entry in std::fs::read_dir(directory.join("tmp"))? {
            std::fs::remove_file(entry?.path())?;
        }
        sync_directory(directory)?;
        Ok(Self { directory: directory.to_owned(), next: AtomicU64::new(0), sweeping: Mutex::new(()) })
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.directory.join(&name[..2]).join(&name[2..])
    }

    /// Keeps bytes; they are on disk when it returns.
    pub(super) fn put(&self, bytes: &Bytes) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        let path = self.path(digest);
        let folder = path.parent().unwrap_or(&self.directory);
        if self.renew(&path)? {
            // Whoever put it there may not have synced its name yet.
            sync_directory(folder)?;
            sync_directory(&self.directory)?;
            return Ok(digest);
        }
        let aside = self.directory.join("tmp").join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        self.write(bytes, &aside, &path).inspect_err(|_| {
            // What could not be kept must not take up the room; it is not there once it has its name.
            let _removed = std::fs::remove_file(&aside);
        })?;
        Ok(digest)
    }

    fn write(&self, bytes: &Bytes, aside: &Path, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.directory);
        let mut file = private::file().truncate(true).open(aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        private::folder(folder)?;
        sync_directory(&self.directory)?;
        std::fs::rename(aside, path)?;
        sync_directory(folder)
    }

    /// Whether the file is there already; makes it young again, so that a sweep leaves it for the coming commit.
    fn renew(&self, path: &Path) -> io::Result<bool> {
        let _sweeping = self.sweeping.lock();
        match File::options().append(true).open(path) {
            Ok(file) => {
                file.set_times(FileTimes::new().set_modified(SystemTime::now()))?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The bytes of a digest; an error when they are others.
    pub(super) fn get(&self, digest: Digest) -> io::Result<Option<Bytes>> {
        let bytes = match std::fs::read(self.path(digest)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match Digest::of(&bytes) == digest {
            true => Ok(Some(Bytes::from(bytes))),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, format!("blob {digest} is not what was written"))),
        }
    }

    /// At most `most` bytes from `from` on, as they lie there.
    pub(super) fn part(&self, digest: Digest, from: u64, most: usize) -> io::Result<Option<Bytes>> {
        let mut file = match File::open(self.path(digest)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        file.seek(io::SeekFrom::Start(from))?;
        let mut bytes = Vec::with_capacity(most);
        file.take(most as u64).read_to_end(&mut bytes)?;
        Ok(Some(bytes.into()))
    }

    /// Every blob, with its size.
    pub(super) fn list(&self) -> io::Result<Vec<(Digest, u64)>> {
        let mut found = Vec::new();
        for folder in std::fs::read_dir(&self.directory)? {
            let folder = folder?.path();
            let Some(start) = folder.file_name().and_then(|name| name.to_str()).filter(|name| name.len() == 2) else {
                continue;
            };
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                if let Some(digest) =
                    entry.file_name().to_str().and_then(|rest| Digest::of_hex(&format!("{start}{rest}")))
                {
                    found.push((digest, entry.metadata()?.len()));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Removes the blobs that are older than an hour at `now` and that may go, by their digest, when they were written and how
    /// long they are. Returns how many.
    pub(super) fn sweep(&self, now: SystemTime, may_go: MayGo<'_>) -> io::Result<usize> {
        let mut removed = 0;
        for (digest, bytes) in self.list()? {
            let path = self.path(digest);
            let _sweeping = self.sweeping.lock();
            let modified = std::fs::metadata(&path)?.modified()?;
            let is_old = now.duration_since(modified).is_ok_and(|age| age > GRACE);
            if is_old && may_go(digest, modified, bytes)? {
                std::fs::remove_file(&path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
