//! Spare segments: made by a thread of their own before they are needed, or left over from dropped ones.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::AppendError;
use super::segment::{self, SegmentStart};
use crate::resources::Resource;

/// How many spare segments lie ready.
pub(super) const WANTED: usize = 2;

/// A place that gives out segments of the usual size.
pub(super) struct Spares {
    directory: PathBuf,
    segment_bytes: u64,
    shortage: Arc<Mutex<Option<String>>>,
    wish: Option<SyncSender<()>>,
    maker: Option<JoinHandle<()>>,
    /// How a folder is brought to disk; tests let it fail.
    pub(super) sync_directory: fn(&Path) -> io::Result<()>,
}

pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}.spare"))
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "spare") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// How many spare segments a directory holds.
pub(super) fn count(directory: &Path) -> io::Result<usize> {
    Ok(list(directory)?.len())
}

impl Spares {
    pub(super) fn start(directory: &Path, segment_bytes: u64) -> Self {
        let shortage = Arc::new(Mutex::new(None));
        let (wish, wishes) = mpsc::sync_channel::<()>(1);
        let maker = {
            let (directory, shortage) = (directory.to_owned(), Arc::clone(&shortage));
            let work = move || {
                for () in wishes {
                    let made = make_one(&directory, segment_bytes);
                    *shortage.lock() = made
                        .err()
                        .filter(is_of_the_disk)
                        .map(|error| format!("no room for a journal segment: {error}"));
                }
            };
            std::thread::Builder::new().name("journal-spare".to_owned()).spawn(work).ok()
        };
        Self {
            directory: directory.to_owned(),
            segment_bytes,
            shortage,
            wish: Some(wish),
            maker,
            sync_directory: segment::sync_directory,
        }
    }

    /// Why no spare could be made the last time; asks for another try.
    pub(super) fn shortage(&self) -> Option<String> {
        let shortage = self.shortage.lock().clone();
        if shortage.is_some() {
            self.ask();
        }
        shortage
    }

    /// Puts a segment into its place, on disk with its name and first bytes, and sees to the next spare. What has failed for
    /// want of something may be tried again from the start, whichever step it was: until the last one has succeeded nothing
    /// is written into the segment, and the next try puts another file into the same place.
    pub(super) fn place(&self, start: SegmentStart) -> Result<(File, u64), AppendError> {
        let bytes = start.bytes;
        let to = segment::path(&self.directory, start.number);
        let spare = match bytes == self.segment_bytes {
            true => list(&self.directory).map_err(AppendError::of)?.into_iter().next(),
            false => None,
        };
        let (from, file) = match spare {
            Some(from) => {
                let file = OpenOptions::new().read(true).write(true).open(&from).map_err(AppendError::of)?;
                // It may have been a segment until a moment ago: its old name must not come back with new first bytes.
                (self.sync_directory)(&self.directory).map_err(AppendError::of)?;
                (from, file)
            }
            None => {
                let from = self.directory.join("next.tmp");
                let file = segment::make(&from, bytes).map_err(|error| not_made(&from, error))?;
                (from, file)
            }
        };
        self.name(&file, start, &from, &to).map_err(AppendError::of)?;
        self.ask();
        Ok((file, bytes))
    }

    /// The first bytes come before the name: a segment that can be found says what it is.
    fn name(&self, file: &File, start: SegmentStart, from: &Path, to: &Path) -> io::Result<()> {
        file.write_all_at(&start.to_bytes(), 0)?;
        file.sync_data()?;
        std::fs::rename(from, to)?;
        (self.sync_directory)(&self.directory)
    }

    fn ask(&self) {
        if let Some(wish) = &self.wish {
            // A full channel means that the wish is known.
            let _known = wish.try_send(());
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.wish = None;
        if let Some(maker) = self.maker.take() {
            // Its panic would have nothing to say that the missing spare does not.
            let _ended = maker.join();
        }
    }
}

fn not_made(path: &Path, error: io::Error) -> AppendError {
    // What could not be filled must not take up the room.
    let _removed = std::fs::remove_file(path);
    AppendError::of(error)
}

/// What a segment wants besides is asked for again when it is needed.
fn is_of_the_disk(error: &io::Error) -> bool {
    matches!(Resource::wanted_by(error), None | Some(Resource::Room))
}

fn make_one(directory: &Path, bytes: u64) -> io::Result<()> {
    if count(directory)? >= 1 {
        return Ok(());
    }
    let aside = directory.join("spare.tmp");
    segment::make(&aside, bytes).inspect_err(|_| {
        // What could not be filled must not take up the room.
        let _removed = std::fs::remove_file(&aside);
    })?;
    std::fs::rename(&aside, directory.join("new.spare"))?;
    segment::sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_back_is_waited_for() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let spares = Spares::start(directory.path(), 4096);
        let start = SegmentStart { number: 1, first_lsn: 1, bytes: 8192 };
        // A file cannot take the place of a folder.
        std::fs::create_dir(segment::path(directory.path(), 1)).expect("it can be made");
        assert!(matches!(spares.place(start), Err(AppendError::Broken(_))));
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(not_made(&directory.path().join("next.tmp"), full()), AppendError::Short(_)));
    }
}
