//! Reading a journal back: which frames are whole, where the end is, and whether something is missing.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::frame::{self, Frame};
use super::segment::{self, SegmentStart};

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
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::store::sled) enum ScanError {
    /// It could not be read at all.
    #[error("the journal cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Frames that were on disk are broken or missing.
    #[error("the journal is damaged: {0}")]
    Damaged(String),
    /// Whoever looked at a frame refused it.
    #[error("group {lsn} of the journal: {why}")]
    Refused {
        /// Which frame.
        lsn: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// Is given each group's number and bytes, and may refuse them with the reason.
type Visit<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Result<(), String>;

/// Reads every frame in order and shows it to `visit`, as number and payload. What is missing up to the group `checkpoint` is
/// no damage: the tree has it, and a power cut may bring back a segment whose successor is gone.
pub(in crate::store::sled) fn scan(directory: &Path, checkpoint: u64, visit: Visit<'_>) -> Result<Found, ScanError> {
    let mut files = segment::list(directory)?;
    let mut found = Found::default();
    drop_unstarted(&mut files)?;
    let last = files.len().saturating_sub(1);
    if let Some((_, path)) = files.last() {
        // After a crash of the process the last frames may be in memory only; what follows builds on them.
        std::fs::File::open(path)?.sync_all()?;
    }
    for (index, (number, path)) in files.iter().enumerate() {
        let bytes = std::fs::read(path)?;
        let start = SegmentStart::read(&bytes).ok_or_else(|| damaged(path, "its first bytes are broken"))?;
        let before = found.segments.last().map(|segment| segment.start.number);
        if start.number != *number {
            return Err(damaged(path, "it is another segment by its first bytes"));
        }
        let is_needless = start.first_lsn <= checkpoint + 1 && start.first_lsn > found.lsn;
        if found.segments.is_empty() || is_needless {
            found.lsn = start.first_lsn - 1;
        } else if before.is_some_and(|before| before + 1 != start.number) {
            return Err(damaged(path, "the segment before it is missing"));
        }
        if start.first_lsn != found.lsn + 1 {
            let missing = format!("it starts with group {}, but group {} is missing", start.first_lsn, found.lsn + 1);
            return Err(damaged(path, &missing));
        }
        found.segments.push(FoundSegment { start, bytes: bytes.len() as u64 });
        found.end = segment::START;
        while let Some(whole) = next(&bytes, &found) {
            visit(whole.lsn, &bytes[whole.payload]).map_err(|why| ScanError::Refused { lsn: whole.lsn, why })?;
            found.lsn = whole.lsn;
            found.end = whole.end;
        }
        if index == last {
            check_end(path, &bytes, &found)?;
        }
    }
    Ok(found)
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
        let start = read_start(path)?.filter(|start| start.number == *number);
        first = Some(start.ok_or_else(|| damaged(path, "its first bytes are broken"))?);
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

/// A broken frame at the end was torn by a crash, unless a later one says that it had been on disk.
fn check_end(path: &Path, bytes: &[u8], found: &Found) -> Result<(), ScanError> {
    let mut from = found.end;
    while let Some(later) = frame::later(bytes, from, found.lsn + 1) {
        if later.durable > found.lsn {
            let what = format!("group {} at byte {} is broken, and later ones are not", found.lsn + 1, found.end);
            return Err(damaged(path, &what));
        }
        from = later.end;
    }
    Ok(())
}

fn damaged(path: &Path, what: &str) -> ScanError {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    ScanError::Damaged(format!("{name}: {what}"))
}
