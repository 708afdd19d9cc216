//! A frame: one group of commits as it lies in a segment, with what it takes to know that it is whole.
//!
//! ```text
//! length u32 | crc32c u32 | lsn u64 | durable u64 | format u32 | time u32 | payload | zeros up to a multiple of 8
//! ```
//!
//! `crc32c` covers everything behind it. `durable` is the last group that was synced when this one was written: a
//! broken frame at or before a later frame's `durable` is damage, any other is the torn end of the journal.
//! `time` is when the group was made, in seconds since 1970; 0 where that is not known.

use std::ops::Range;

use crate::domain::time::Timestamp;

/// Bytes before the payload.
pub(in crate::store::sled) const HEADER: usize = 32;

const FORMAT: u32 = 1;

/// Of a second.
const MICROS: i64 = 1_000_000;

/// A whole frame, found in the bytes of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::sled) struct Frame {
    pub(in crate::store::sled) lsn: u64,
    pub(in crate::store::sled) durable: u64,
    /// When it was made, in seconds since 1970; 0 where that is not known.
    seconds: u32,
    /// Where the payload lies.
    pub(in crate::store::sled) payload: Range<usize>,
    /// Where the next frame would start.
    pub(in crate::store::sled) end: usize,
}

impl Frame {
    /// Where it starts.
    pub(in crate::store::sled) fn start(&self) -> usize {
        self.payload.start - HEADER
    }

    /// When it was made, to the second.
    pub(in crate::store::sled) fn on(&self) -> Option<Timestamp> {
        (self.seconds > 0).then(|| Timestamp(i64::from(self.seconds) * MICROS))
    }
}

/// Starts a frame: leaves room for the header.
pub(in crate::store::sled) fn start(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(HEADER, 0);
}

/// Fills in the header of the frame that `buffer` holds, and the zeros behind its payload.
pub(in crate::store::sled) fn seal(buffer: &mut Vec<u8>, lsn: u64, durable: u64, on: Timestamp) {
    let length = u32::try_from(buffer.len() - HEADER).expect("a group is far smaller than 4 GiB");
    buffer.resize(buffer.len().next_multiple_of(8), 0);
    buffer[0..4].copy_from_slice(&length.to_le_bytes());
    buffer[8..16].copy_from_slice(&lsn.to_le_bytes());
    buffer[16..24].copy_from_slice(&durable.to_le_bytes());
    buffer[24..28].copy_from_slice(&FORMAT.to_le_bytes());
    buffer[28..32].copy_from_slice(&u32::try_from(on.0 / MICROS).unwrap_or(0).to_le_bytes());
    let crc = crc32c::crc32c(&buffer[8..]) ^ length;
    buffer[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// Seals a sealed frame again, with another `durable`.
pub(in crate::store::sled) fn reseal(buffer: &mut [u8], durable: u64) {
    buffer[16..24].copy_from_slice(&durable.to_le_bytes());
    let length = u32::from_le_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
    let crc = crc32c::crc32c(&buffer[8..]) ^ length;
    buffer[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// The frame at `at`, if a whole one starts there.
pub(in crate::store::sled) fn at(segment: &[u8], at: usize) -> Option<Frame> {
    let header: &[u8; HEADER] = segment.get(at..)?.first_chunk()?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if word(24) != FORMAT {
        return None;
    }
    let length = usize::try_from(word(0)).ok()?;
    let payload = at + HEADER..(at + HEADER).checked_add(length)?;
    let end = payload.end.checked_next_multiple_of(8)?;
    let crc = crc32c::crc32c(segment.get(at + 8..end)?) ^ word(0);
    (crc == word(4)).then(|| Frame { lsn: long(8), durable: long(16), seconds: word(28), payload, end })
}

/// Whether a frame of this number may have started at `at` in a segment that was cut off: its header says so, or is cut, too.
pub(in crate::store::sled) fn may_start(segment: &[u8], at: usize, lsn: u64) -> bool {
    segment.get(at..at + HEADER).is_none_or(|header| header[8..16] == lsn.to_le_bytes())
}

/// The first whole frame from `from` on whose number is greater than `lsn`, if there is one.
pub(in crate::store::sled) fn later(segment: &[u8], from: usize, lsn: u64) -> Option<Frame> {
    let plausible = |place: &usize| {
        let number = segment.get(place + 8..place + 16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        number.is_some_and(|number| number > lsn && number - lsn < 1 << 32)
    };
    let places = (from.next_multiple_of(8)..segment.len()).step_by(8);
    places.filter(plausible).find_map(|place| at(segment, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(payload: &[u8], lsn: u64) -> Vec<u8> {
        let mut buffer = Vec::new();
        start(&mut buffer);
        buffer.extend(payload);
        seal(&mut buffer, lsn, lsn - 1, Timestamp(1_999_999));
        buffer
    }

    #[test]
    fn a_frame_is_read_back_and_any_flipped_bit_breaks_it() {
        let bytes = sealed(b"hello, journal", 7);
        let frame = at(&bytes, 0).expect("it is whole");
        assert_eq!((frame.lsn, frame.durable, frame.end), (7, 6, bytes.len()));
        assert_eq!(frame.on(), Some(Timestamp(1_000_000)));
        assert_eq!(&bytes[frame.payload], b"hello, journal");
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(at(&broken, 0), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_none() {
        let bytes = sealed(b"hello, journal", 7);
        assert!((0..bytes.len()).all(|end| at(&bytes[..end], 0).is_none()));
    }

    #[test]
    fn a_later_frame_is_found_behind_garbage() {
        let mut bytes = vec![0xab; 64];
        bytes.extend(sealed(b"stale", 3));
        bytes.extend(sealed(b"later", 9));
        assert_eq!(later(&bytes, 8, 7).map(|frame| frame.lsn), Some(9));
        assert_eq!(later(&bytes, 8, 9), None);
    }
}
