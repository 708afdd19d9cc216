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
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::scan::FoundSegment;
use self::segment::{Seal, SegmentStart};
use self::spare::Spares;
use crate::resources::Resource;

/// How long nothing is tried again that wanted something of which there was too little.
const TRY_AGAIN: Duration = Duration::from_millis(250);

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
    /// The frames since the last sync, as they lie before `end`: a sync that failed may have lost them, and only writing them
    /// again makes the next sync bring them to disk.
    unsynced: Vec<u8>,
    /// Up to where the segment may hold what was not taken, while it is not known to hold what it should.
    doubtful: Option<u64>,
    /// What was wanted in vain, and when.
    wanting: Option<(Instant, io::Error)>,
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

    /// Bytes of the segments that begin behind a group.
    pub(super) fn bytes_behind(&self, lsn: u64) -> u64 {
        self.0.lock().iter().filter(|segment| segment.first_lsn > lsn).map(|segment| segment.bytes).sum()
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
    /// Something was wanted that comes back; nothing was taken, and the next append may be.
    Short(io::Error),
    /// The disk failed; the journal must not be written any more.
    Broken(io::Error),
}

impl AppendError {
    /// What an error means that leaves behind nothing but what the next try does again.
    fn of(error: io::Error) -> Self {
        match Resource::wanted_by(&error) {
            Some(_) => Self::Short(error),
            None => Self::Broken(error),
        }
    }
}

impl From<AppendError> for io::Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Short(error) | AppendError::Broken(error) => error,
        }
    }
}

impl Journal {
    /// Goes on behind what a scan found, or starts a journal where there was none. `first_lsn` is the number of the next frame
    /// as far as the index knows.
    pub(super) fn open(directory: &Path, segment_bytes: u64, found: &scan::Found, first_lsn: u64) -> io::Result<Self> {
        let spares = Spares::start(directory, segment_bytes);
        let segments = Segments::default();
        for kept in &found.segments {
            segments.push(kept.start, kept.bytes);
        }
        // What the index has beyond the end is not there to go on from.
        let last = found.segments.last().filter(|_| found.lsn + 1 >= first_lsn);
        let (file, start, end, capacity) = match last {
            Some(FoundSegment { start, .. }) => {
                let file = OpenOptions::new().read(true).write(true).open(segment::path(directory, start.number))?;
                segment::seal(&file, None)?;
                // It may have been cut off behind its last frame.
                file.set_len(start.bytes)?;
                // A torn frame behind the end must not pass for one of ours later.
                segment::clear_rest(&file, &std::fs::read(segment::path(directory, start.number))?, found.end)?;
                file.sync_all()?;
                (file, *start, found.end, start.bytes)
            }
            None => {
                let number = found.segments.last().map_or(1, |last| last.start.number + 1);
                let start = SegmentStart { number, first_lsn, bytes: segment_bytes };
                let (file, capacity) = spares.place(start)?;
                segments.push(start, capacity);
                (file, start, segment::START, capacity)
            }
        };
        let lsn = last.map_or(first_lsn - 1, |_| found.lsn);
        Ok(Self {
            directory: directory.to_owned(),
            segment_bytes,
            file,
            number: start.number,
            end: end as u64,
            capacity,
            lsn,
            durable: lsn,
            spares,
            segments,
            syncs: 0,
            unsynced: Vec::new(),
            doubtful: None,
            wanting: None,
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
        self.settle()?;
        let lsn = self.lsn + 1;
        frame::seal(buffer, lsn, self.durable, super::now());
        let bytes = buffer.len() as u64;
        if self.end + bytes > self.capacity {
            self.roll(bytes).map_err(|error| self.wanted(error))?;
            frame::reseal(buffer, self.durable);
        }
        if let Err(error) = self.file.write_all_at(buffer, self.end) {
            return Err(self.doubt(error, self.end + bytes));
        }
        self.unsynced.extend_from_slice(buffer);
        self.end += bytes;
        self.lsn = lsn;
        Ok(lsn)
    }

    /// Brings everything that was written to disk.
    pub(super) fn sync(&mut self) -> Result<(), AppendError> {
        if self.durable == self.lsn && self.doubtful.is_none() {
            return Ok(());
        }
        self.settle()?;
        if self.durable < self.lsn {
            if let Err(error) = self.file.sync_data() {
                return Err(self.doubt(error, self.end));
            }
            self.is_synced_now();
        }
        Ok(())
    }

    /// The last sync: tried whatever was wanting a moment ago, since nobody tries again. From now on the journal says itself
    /// how far it goes.
    pub(super) fn end(&mut self) -> Result<(), AppendError> {
        self.wanting = None;
        self.sync()?;
        segment::seal(&self.file, Some(Seal { last_lsn: self.lsn, is_end: true })).map_err(AppendError::of)
    }

    fn is_synced_now(&mut self) {
        self.durable = self.lsn;
        self.unsynced.clear();
        self.syncs += 1;
    }

    /// Takes the frame back that was appended last and that a sync has not reached: nobody is told that it was taken. Its bytes
    /// go at once if they can: until then a crash would leave it.
    pub(super) fn take_back(&mut self, frame: &[u8]) -> Result<(), AppendError> {
        let end = self.end;
        self.end -= frame.len() as u64;
        self.lsn -= 1;
        self.unsynced.truncate(self.unsynced.len() - frame.len());
        self.doubtful = Some(self.doubtful.map_or(end, |doubtful| doubtful.max(end)));
        match self.write_again() {
            Err(broken @ AppendError::Broken(_)) => Err(broken),
            Ok(()) | Err(AppendError::Short(_)) => Ok(()),
        }
    }

    /// After a failed write or sync nobody knows what the segment holds from the last sync on. Of an error of the device it
    /// never will be known: a later sync that succeeds says nothing of what an earlier one has lost. Where only room or memory
    /// was wanting, everything since the last sync is written again and synced before anything else is taken.
    fn doubt(&mut self, error: io::Error, up_to: u64) -> AppendError {
        let error = self.wanted(AppendError::of(error));
        if matches!(error, AppendError::Short(_)) {
            self.doubtful = Some(self.doubtful.map_or(up_to, |doubtful| doubtful.max(up_to)));
        }
        error
    }

    /// Sees to what is in doubt before anything else is written; not at every call where something is wanting.
    fn settle(&mut self) -> Result<(), AppendError> {
        if let Some((when, error)) = &self.wanting {
            if when.elapsed() < TRY_AGAIN {
                return Err(AppendError::Short(again(error)));
            }
            self.wanting = None;
        }
        self.write_again()
    }

    /// Makes the segment hold what it should, and nothing behind it, where that is in doubt.
    fn write_again(&mut self) -> Result<(), AppendError> {
        let Some(doubtful) = self.doubtful else { return Ok(()) };
        let from = self.end - self.unsynced.len() as u64;
        let mut bytes = self.unsynced.clone();
        bytes.resize(usize::try_from(doubtful.max(self.end) - from).unwrap_or(usize::MAX), 0);
        let settled = self.file.write_all_at(&bytes, from).and_then(|()| self.file.sync_data());
        settled.map_err(|error| self.wanted(AppendError::of(error)))?;
        self.doubtful = None;
        self.is_synced_now();
        Ok(())
    }

    /// Remembers what was wanted, so that the next call does not try again at once.
    fn wanted(&mut self, error: AppendError) -> AppendError {
        if let AppendError::Short(error) = &error {
            self.wanting = Some((Instant::now(), again(error)));
        }
        error
    }

    fn roll(&mut self, frame_bytes: u64) -> Result<(), AppendError> {
        // The frames of a segment are on disk before the next segment has any: the end is always in the last one.
        self.sync()?;
        // If the next segment gets its name and no more, what it starts with is decided all the same.
        self.capacity = self.end;
        let bytes = self.segment_bytes.max(frame_bytes + segment::START as u64);
        let start = SegmentStart { number: self.number + 1, first_lsn: self.lsn + 1, bytes };
        let (file, capacity) = self.spares.place(start)?;
        // Nothing that goes into the next one can be lost with it unnoticed.
        segment::seal(&self.file, Some(Seal { last_lsn: self.lsn, is_end: false })).map_err(AppendError::of)?;
        self.syncs += 2;
        self.file = file;
        self.number = start.number;
        self.end = segment::START as u64;
        self.capacity = capacity;
        self.segments.push(start, capacity);
        Ok(())
    }
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    let of_text = || io::Error::new(error.kind(), error.to_string());
    error.raw_os_error().map_or_else(of_text, io::Error::from_raw_os_error)
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
    use crate::store::sled::journal::scan::{Found, scan};

    const SEGMENT: u64 = 16 << 10;

    fn journal(directory: &Path) -> Journal {
        Journal::open(directory, SEGMENT, &found(directory), 1).expect("it opens")
    }

    fn found(directory: &Path) -> Found {
        scan(directory, 0, &mut |_, _| Ok(())).expect("it is whole")
    }

    fn frame(bytes: usize) -> Vec<u8> {
        let mut buffer = Vec::new();
        frame::start(&mut buffer);
        buffer.resize(buffer.len() + bytes, 7);
        buffer
    }

    fn no_descriptor(_: &Path) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error()))
    }

    #[test]
    fn nothing_goes_into_a_segment_whose_successor_has_a_name() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut journal = journal(directory.path());
        journal.append(&mut frame(100)).expect("there is room");
        journal.spares.sync_directory = no_descriptor;
        let rolled = journal.append(&mut frame(SEGMENT as usize));
        assert!(matches!(rolled, Err(AppendError::Short(_))), "{rolled:?}");
        assert!(segment::path(directory.path(), 2).exists(), "it failed behind the renaming");
        journal.wanting = None;
        let small = journal.append(&mut frame(100));
        assert!(matches!(small, Err(AppendError::Short(_))), "{small:?}");
        journal.wanting = None;
        journal.spares.sync_directory = segment::sync_directory;
        journal.append(&mut frame(100)).expect("it goes into the next segment");
        journal.sync().expect("it is on disk");
        drop(journal);
        assert_eq!(found(directory.path()).lsn, 2);
    }

    #[test]
    fn what_is_in_doubt_is_settled_by_a_sync_with_nothing_new() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut journal = journal(directory.path());
        journal.append(&mut frame(100)).expect("there is room");
        journal.sync().expect("it is on disk");
        let mut refused = frame(100);
        journal.append(&mut refused).expect("there is room");
        // A file that takes nothing makes what was to be taken back stay.
        let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let writable = std::mem::replace(&mut journal.file, full);
        journal.take_back(&refused).expect("it may be tried again");
        assert!(journal.is_synced(), "nothing that was taken waits for a sync");
        journal.file = writable;
        journal.end().expect("there is room again");
        drop(journal);
        assert_eq!(found(directory.path()).lsn, 1, "a frame that was refused has come back");
    }

    #[test]
    fn a_segment_stays_on_the_list_until_its_file_is_gone() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let segments = Segments::default();
        for number in 1..=3 {
            segments.push(SegmentStart { number, first_lsn: number * 10, bytes: 100 }, 100);
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
