//! Segment files: made ahead at their full size, so that a sync of an append has no metadata to write.
//!
//! A segment starts with 64 bytes, in one sector:
//!
//! ```text
//! `BRJOURN2` | number u64 | lsn of its first frame u64 | bytes of the file u64 | crc32c u32 | 0 u32
//! last lsn u64 | 1: the next segment goes on, 2: the journal ends here u32 | crc32c of the twelve bytes u32 | zeros
//! ```
//!
//! The second line is the seal. It is written when no frame is to come any more, before any that follows is acknowledged, so
//! that a segment that has gone missing behind it is missed.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::private;

/// Bytes before the first frame.
pub(in crate::store::sled) const START: usize = 64;

const MAGIC: &[u8; 8] = b"BRJOURN2";

/// Where the seal lies.
const SEAL: usize = 40;

/// What the first bytes of a segment say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::sled) struct SegmentStart {
    /// Consecutive over the life of the journal.
    pub(in crate::store::sled) number: u64,
    /// The number of the first frame.
    pub(in crate::store::sled) first_lsn: u64,
    /// How large the file was made.
    pub(in crate::store::sled) bytes: u64,
}

impl SegmentStart {
    /// With no seal.
    pub(super) fn to_bytes(self) -> [u8; START] {
        let mut bytes = [0; START];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_lsn.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.bytes.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[0..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What the bytes of a segment say of it, if they are whole.
    pub(in crate::store::sled) fn read(bytes: &[u8]) -> Option<Self> {
        let start = Self { number: long(bytes, 8)?, first_lsn: long(bytes, 16)?, bytes: long(bytes, 24)? };
        (bytes.get(..SEAL)? == &start.to_bytes()[..SEAL]).then_some(start)
    }
}

/// What a segment says of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::sled) struct Seal {
    /// Its last frame.
    pub(in crate::store::sled) last_lsn: u64,
    /// Whether the journal was closed with it; else the next segment goes on.
    pub(in crate::store::sled) is_end: bool,
}

impl Seal {
    fn to_bytes(self) -> [u8; START - SEAL] {
        let mut bytes = [0; START - SEAL];
        bytes[0..8].copy_from_slice(&self.last_lsn.to_le_bytes());
        bytes[8..12].copy_from_slice(&(1 + u32::from(self.is_end)).to_le_bytes());
        let crc = crc32c::crc32c(&bytes[0..12]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What the bytes of a segment say of its end, if anything.
    pub(in crate::store::sled) fn read(bytes: &[u8]) -> Option<Self> {
        let last_lsn = long(bytes, SEAL)?;
        let kinds = [false, true].map(|is_end| Self { last_lsn, is_end });
        kinds.into_iter().find(|seal| bytes.get(SEAL..START) == Some(&seal.to_bytes()))
    }
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Seals a segment, or breaks its seal, on disk when it returns.
pub(super) fn seal(file: &File, seal: Option<Seal>) -> io::Result<()> {
    file.write_all_at(&seal.map_or([0; START - SEAL], Seal::to_bytes), SEAL as u64)?;
    file.sync_data()
}

/// The path of the segment of a number.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}.seg"))
}

/// The segments of a directory by number.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".seg"));
        if let Some(number) = number.and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Makes a file of `bytes` zeros that are on disk when it returns.
pub(super) fn make(path: &Path, bytes: u64) -> io::Result<File> {
    const ZEROS: &[u8] = &[0; 1 << 18];
    let mut file = private::file().truncate(true).open(path)?;
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        file.write_all(&ZEROS[..count])?;
        left -= count as u64;
    }
    file.sync_all()?;
    Ok(file)
}

/// Overwrites everything from `from` on with zeros, on disk when it returns. Nothing happens when it is zero already.
pub(super) fn clear_rest(file: &File, bytes: &[u8], from: usize) -> io::Result<()> {
    let rest = bytes.get(from..).unwrap_or_default();
    if rest.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    file.write_all_at(&vec![0; rest.len()], from as u64)?;
    file.sync_data()
}

/// Syncs a directory, so that the names in it are on disk.
pub(in crate::store::sled) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
