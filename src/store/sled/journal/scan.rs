//! Reading a journal back: which frames are whole, where the end is, and whether something is missing.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::frame::{self, Frame};
use super::segment::{self, Seal, SegmentStart};
use crate::domain::time::Timestamp;

/// A segment that was found.
#[derive(Clone, Debug)]
pub(in crate::store::sled) struct FoundSegment {
    pub(in crate::store::sled) start: SegmentStart,
    pub(in crate::store::sled) bytes: u64,
}

/// What a journal holds.
#[derive(Clone, Debug, Default)]
pub(in crate::store::sled) struct Found {
    pub(in crate::store::sled) segments: Vec<FoundSegment>,
    /// The number of the last whole frame; one less than that of the first when there is none.
    pub(in crate::store::sled) lsn: u64,
    /// Where in the last segment the next frame goes.
    pub(in crate::store::sled) end: usize,
    /// What is broken or missing without harm, in words.
    pub(in crate::store::sled) gaps: Vec<String>,
    /// The group behind the last whole one, if a part of it is there.
    pub(in crate::store::sled) torn: Option<u64>,
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::store::sled) enum ScanError {
    /// It could not be read at all.
    #[error("the journal cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Frames that were on disk are broken or missing.
    #[error("the journal is damaged: {what}; {}", lost_in_words(*from, *to))]
    Damaged {
        /// Where, and how.
        what: String,
        /// The first group that is lost,
        from: u64,
        /// and the last, as far as that is known.
        to: Option<u64>,
    },
    /// Whoever looked at a frame refused it.
    #[error("group {lsn} of the journal: {why}")]
    Refused {
        /// Which frame.
        lsn: u64,
        /// What is wrong with it.
        why: String,
    },
}

fn lost_in_words(from: u64, to: Option<u64>) -> String {
    match to {
        Some(to) if to == from => format!("group {from} of commits is lost"),
        Some(to) => format!("groups {from} to {to} of commits are lost"),
        None => format!("groups of commits from {from} on may be lost"),
    }
}

/// Is given each group's number and bytes, and may refuse them with the reason.
type Visit<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Result<(), String>;

/// Reads every frame in order and shows it to `visit`, as number and payload. What is broken or missing up to the group
/// `checkpoint` is no damage: the tree has it, and a power cut may bring back a segment whose successor is gone.
pub(in crate::store::sled) fn scan(directory: &Path, checkpoint: u64, visit: Visit<'_>) -> Result<Found, ScanError> {
    let mut files = segment::list(directory)?;
    drop_unstarted(&mut files)?;
    if let Some((_, path)) = files.last() {
        // After a crash of the process the last frames may be in memory only; what follows builds on them.
        std::fs::File::open(path)?.sync_all()?;
    }
    let mut scan = Scan { checkpoint, found: Found::default(), visit };
    for (index, (number, path)) in files.iter().enumerate() {
        scan.segment(*number, path, index + 1 == files.len())?;
    }
    Ok(scan.found)
}

/// A scan under way.
struct Scan<'v> {
    checkpoint: u64,
    found: Found,
    visit: Visit<'v>,
}

impl Scan<'_> {
    fn segment(&mut self, number: u64, path: &Path, is_last: bool) -> Result<(), ScanError> {
        let bytes = std::fs::read(path)?;
        let Some(start) = SegmentStart::read(&bytes).filter(|start| start.number == number) else {
            // The next one says whether anything is missing.
            return if is_last { Err(self.damaged(path, "its first bytes are broken", None)) } else { Ok(()) };
        };
        if self.found.segments.is_empty() && self.found.lsn == 0 {
            self.found.lsn = start.first_lsn - 1;
        }
        if start.first_lsn <= self.found.lsn {
            let what = format!("it starts with group {}, which is in an earlier segment", start.first_lsn);
            return Err(self.damaged(path, &what, Some(start.first_lsn)));
        }
        self.skip_to(start.first_lsn, path, "segments before it are missing or broken")?;
        self.found.segments.push(FoundSegment { start, bytes: bytes.len() as u64 });
        self.found.end = segment::START;
        loop {
            while let Some(whole) = next(&bytes, &self.found) {
                let refused = |why| ScanError::Refused { lsn: whole.lsn, why };
                (self.visit)(whole.lsn, &bytes[whole.payload]).map_err(refused)?;
                self.found.lsn = whole.lsn;
                self.found.end = whole.end;
            }
            // What follows says whether the frame that is not whole had been on disk.
            let Some((lsn, at)) = self.later(&bytes) else { break };
            let what =
                format!("group {} at byte {} is broken, and later ones are not", self.found.lsn + 1, self.found.end);
            self.skip_to(lsn, path, &what)?;
            self.found.end = at;
        }
        if is_last { self.check_end(path, &bytes, start) } else { Ok(()) }
    }

    /// The next frame that is whole, if it shows that those before it had been on disk.
    fn later(&self, bytes: &[u8]) -> Option<(u64, usize)> {
        let mut from = self.found.end;
        while let Some(later) = frame::later(bytes, from, self.found.lsn + 1) {
            // What the index has was on disk, too.
            if later.durable.max(self.checkpoint) > self.found.lsn {
                return Some((later.lsn, later.start()));
            }
            from = later.end;
        }
        None
    }

    /// Goes on with the group `lsn`, as far as those before it are in the index.
    fn skip_to(&mut self, lsn: u64, path: &Path, what: &str) -> Result<(), ScanError> {
        if lsn > self.found.lsn + 1 {
            if lsn > self.checkpoint + 1 {
                return Err(self.damaged(path, what, Some(lsn - 1)));
            }
            let (from, to) = (self.found.lsn + 1, lsn - 1);
            self.found.gaps.push(format!("{}: {what}; the index has groups {from} to {to}", name(path)));
            self.found.lsn = lsn - 1;
        }
        Ok(())
    }

    /// Whether the journal ends where it should.
    fn check_end(&mut self, path: &Path, bytes: &[u8], start: SegmentStart) -> Result<(), ScanError> {
        match Seal::read(bytes) {
            Some(Seal { last_lsn, is_end: true }) if last_lsn > self.found.lsn => {
                let what = format!("group {} at byte {} is broken", self.found.lsn + 1, self.found.end);
                return self.skip_to(last_lsn + 1, path, &what);
            }
            Some(Seal { is_end: true, .. }) => return Ok(()),
            Some(Seal { last_lsn, is_end: false }) => {
                self.found.lsn = last_lsn;
                return Err(self.damaged(path, "the segment behind it is missing", None));
            }
            None => {}
        }
        let length = bytes.len() as u64;
        if length < start.bytes && frame::may_start(bytes, self.found.end, self.found.lsn + 1) {
            let what = format!("it is cut off at byte {length} of {}", start.bytes);
            return Err(self.damaged(path, &what, None));
        }
        let has_header = bytes.len() >= self.found.end + frame::HEADER;
        if has_header && frame::may_start(bytes, self.found.end, self.found.lsn + 1) {
            self.found.torn = Some(self.found.lsn + 1);
        }
        Ok(())
    }

    /// What the index has is not lost.
    fn damaged(&self, path: &Path, what: &str, to: Option<u64>) -> ScanError {
        let from = self.found.lsn.max(self.checkpoint) + 1;
        ScanError::Damaged { what: format!("{}: {what}", name(path)), from, to }
    }
}

/// The number of a group, and when it was committed.
type Reached = (u64, Option<Timestamp>);

/// Copies the segments of a journal to another folder, without what lies behind the first group that is not `is_within`. Returns
/// the last group that was copied; none when there is none.
pub(in crate::store::sled) fn copy(
    from: &Path,
    to: &Path,
    is_within: &dyn Fn(u64, Option<Timestamp>) -> bool,
) -> Result<Option<Reached>, ScanError> {
    let mut last = None;
    let mut last_file = None;
    for (number, path) in segment::list(from)? {
        let mut bytes = std::fs::read(&path)?;
        if SegmentStart::read(&bytes).is_none_or(|start| start.number != number) {
            break;
        }
        let mut end = segment::START;
        let mut goes_on = true;
        while let Some(whole) = frame::at(&bytes, end) {
            if !is_within(whole.lsn, whole.on()) {
                goes_on = false;
                break;
            }
            last = Some((whole.lsn, whole.on()));
            end = whole.end;
        }
        if end > segment::START {
            bytes[end..].fill(0);
            let copied = segment::path(to, number);
            let mut new = super::super::private::file().truncate(true).open(&copied)?;
            io::Write::write_all(&mut new, &bytes)?;
            new.sync_all()?;
            last_file = Some(new);
        }
        if !goes_on {
            break;
        }
    }
    if let Some(file) = last_file {
        // Nothing follows it there.
        segment::seal(&file, None)?;
    }
    segment::sync_directory(to)?;
    Ok(last)
}

/// The number of the first frame from which on a journal holds everything; none when there is no journal.
pub(in crate::store::sled) fn first(directory: &Path) -> Result<Option<u64>, ScanError> {
    let mut files = segment::list(directory)?;
    drop_unstarted(&mut files)?;
    let mut first: Option<SegmentStart> = None;
    for (number, path) in files.iter().rev() {
        if first.is_some_and(|next| number + 1 != next.number) {
            break;
        }
        match read_start(path)?.filter(|start| start.number == *number) {
            Some(start) => first = Some(start),
            // Whatever it held is not there.
            None if first.is_some() => break,
            None => {
                let what = format!("{}: its first bytes are broken", name(path));
                return Err(ScanError::Damaged { what, from: 1, to: None });
            }
        }
    }
    Ok(first.map(|start| start.first_lsn))
}

fn read_start(path: &Path) -> io::Result<Option<SegmentStart>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(segment::START as u64).read_to_end(&mut bytes)?;
    Ok(SegmentStart::read(&bytes))
}

fn next(bytes: &[u8], found: &Found) -> Option<Frame> {
    frame::at(bytes, found.end).filter(|frame| frame.lsn == found.lsn + 1)
}

/// A crash while a segment was being put into place can leave it without its first bytes. Only the last can be so.
fn drop_unstarted(files: &mut Vec<(u64, PathBuf)>) -> io::Result<()> {
    if let Some((_, path)) = files.last() {
        let bytes = std::fs::read(path)?;
        let is_blank = bytes.iter().take(segment::START).all(|byte| *byte == 0);
        if is_blank && frame::later(&bytes, segment::START, 0).is_none() {
            std::fs::remove_file(path)?;
            files.pop();
        }
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
