//! The journal: every group of commits, appended and synced before anybody is answered.

pub(super) mod frame;
pub(super) mod scan;
pub(super) mod segment;
mod spare;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use self::segment::SegmentStart;
use self::spare::Spares;

/// The end of the journal, where one thread writes.
pub(super) struct Journal {
    directory: PathBuf,
    segment_bytes: u64,
    file: File,
    number: u64,
    /// Where the next frame goes.
    end: u64,
    capacity: u64,
    /// The last frame that was written, and the last that is on disk.
    lsn: u64,
    durable: u64,
    spares: Spares,
    segments: Segments,
    syncs: u64,
}

/// The segments that are kept, shared with whoever drops old ones.
#[derive(Clone, Default)]
pub(super) struct Segments(Arc<Mutex<Vec<KeptSegment>>>);

#[derive(Clone, Debug)]
struct KeptSegment {
    number: u64,
    first_lsn: u64,
    bytes: u64,
}

impl Segments {
    fn push(&self, start: SegmentStart, bytes: u64) {
        self.0.lock().push(KeptSegment { number: start.number, first_lsn: start.first_lsn, bytes });
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.0.lock().iter().map(|segment| segment.bytes).sum()
    }

    /// Those that lie wholly before `lsn` and that `keep_bytes` has no room for.
    fn before(&self, lsn: u64, keep_bytes: u64) -> Vec<KeptSegment> {
        let segments = self.0.lock();
        let mut kept: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let mut count = 0;
        for pair in segments.windows(2) {
            // The next one starts where this one ends.
            if pair[1].first_lsn > lsn || kept <= keep_bytes {
                break;
            }
            kept -= pair[0].bytes;
            count += 1;
        }
        segments[..count].to_vec()
    }

    /// Takes one off the list whose file is gone.
    fn forget(&self, number: u64) {
        self.0.lock().retain(|segment| segment.number != number);
    }
}

/// Why an append failed.
#[derive(Debug)]
pub(super) enum AppendError {
    /// There is no room for another segment; nothing was written.
    Full(io::Error),
    /// The disk failed; the journal must not be written any more.
    Broken(io::Error),
}

impl From<AppendError> for io::Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full(error) | AppendError::Broken(error) => error,
        }
    }
}

impl Journal {
    /// Goes on behind what a scan found, or starts a journal where there was none. `first_lsn` is the number of the first
    /// frame of a new journal.
    pub(super) fn open(directory: &Path, segment_bytes: u64, found: &scan::Found, first_lsn: u64) -> io::Result<Self> {
        let spares = Spares::start(directory, segment_bytes);
        let segments = Segments::default();
        for kept in &found.segments {
            segments.push(kept.start, kept.bytes);
        }
        let Some(last) = found.segments.last() else {
            let start = SegmentStart { number: 1, first_lsn };
            let (file, capacity) = spares.place(start, segment_bytes)?;
            segments.push(start, capacity);
            return Ok(Self {
                directory: directory.to_owned(),
                segment_bytes,
                file,
                number: 1,
                end: segment::START as u64,
                capacity,
                lsn: first_lsn - 1,
                durable: first_lsn - 1,
                spares,
                segments,
                syncs: 0,
            });
        };
        let path = segment::path(directory, last.start.number);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        // A torn frame behind the end must not pass for one of ours later.
        segment::clear_rest(&file, &std::fs::read(&path)?, found.end)?;
        file.sync_all()?;
        Ok(Self {
            directory: directory.to_owned(),
            segment_bytes,
            file,
            number: last.start.number,
            end: found.end as u64,
            capacity: last.bytes,
            lsn: found.lsn,
            durable: found.lsn,
            spares,
            segments,
            syncs: 0,
        })
    }

    /// The last frame that was written.
    pub(super) fn lsn(&self) -> u64 {
        self.lsn
    }

    /// Syncs since the start.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Whether everything that was written is on disk.
    pub(super) fn is_synced(&self) -> bool {
        self.durable == self.lsn
    }

    /// The list of segments, to be shared.
    pub(super) fn segments(&self) -> Segments {
        self.segments.clone()
    }

    /// Whether another segment can be had when this one is full.
    pub(super) fn shortage(&self) -> Option<String> {
        self.spares.shortage()
    }

    /// Writes the frame that `buffer` holds, without its header; returns its number. It is not synced.
    pub(super) fn append(&mut self, buffer: &mut Vec<u8>) -> Result<u64, AppendError> {
        let lsn = self.lsn + 1;
        frame::seal(buffer, lsn, self.durable);
        let bytes = buffer.len() as u64;
        if self.end + bytes > self.capacity {
            self.roll(bytes)?;
            frame::reseal(buffer, self.durable);
        }
        self.file.write_all_at(buffer, self.end).map_err(AppendError::Broken)?;
        self.end += bytes;
        self.lsn = lsn;
        Ok(lsn)
    }

    /// Brings everything that was written to disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.durable < self.lsn {
            self.file.sync_data()?;
            self.durable = self.lsn;
            self.syncs += 1;
        }
        Ok(())
    }

    fn roll(&mut self, frame_bytes: u64) -> Result<(), AppendError> {
        // The frames of a segment are on disk before the next segment has any: the end is always in the last one.
        self.sync().map_err(AppendError::Broken)?;
        let start = SegmentStart { number: self.number + 1, first_lsn: self.lsn + 1 };
        let bytes = self.segment_bytes.max(frame_bytes + segment::START as u64);
        let (file, capacity) = self.spares.place(start, bytes)?;
        self.syncs += 1;
        self.file = file;
        self.number = start.number;
        self.end = segment::START as u64;
        self.capacity = capacity;
        self.segments.push(start, capacity);
        Ok(())
    }
}

/// Drops the segments that lie wholly before `lsn`, as far as `keep_bytes` has no room for them. A few are kept for
/// their space.
pub(super) fn drop_before(
    directory: &Path,
    segments: &Segments,
    segment_bytes: u64,
    lsn: u64,
    keep_bytes: u64,
) -> io::Result<()> {
    for old in segments.before(lsn, keep_bytes) {
        let path = segment::path(directory, old.number);
        if old.bytes == segment_bytes && spare::count(directory)? < spare::WANTED {
            std::fs::rename(&path, spare::path(directory, old.number))?;
        } else {
            std::fs::remove_file(&path)?;
        }
        segments.forget(old.number);
    }
    segment::sync_directory(directory)
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("directory", &self.directory).field("lsn", &self.lsn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_stays_on_the_list_until_its_file_is_gone() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let segments = Segments::default();
        for number in 1..=3 {
            segments.push(SegmentStart { number, first_lsn: number * 10 }, 100);
            std::fs::write(segment::path(directory.path(), number), b"x").expect("it can be written");
        }
        // A folder cannot be removed as a file.
        let second = segment::path(directory.path(), 2);
        std::fs::remove_file(&second).expect("it can be removed");
        std::fs::create_dir(&second).expect("it can be made");
        let drop_old = || drop_before(directory.path(), &segments, 1, 30, 0);
        drop_old().expect_err("the second cannot be removed");
        assert_eq!(segments.bytes(), 200, "the first is gone, the second is not");

        std::fs::remove_dir(&second).expect("it can be removed");
        std::fs::write(&second, b"x").expect("it can be written");
        drop_old().expect("nothing is in the way");
        assert_eq!(segments.bytes(), 100);
        assert!(!second.exists() && segment::path(directory.path(), 3).exists());
    }
}
