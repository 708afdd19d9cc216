//! What a disk or a person may do to the files of a store at rest or of one that was killed: one of them is damaged.

use std::collections::BTreeMap;

use crate::Random;
use crate::disk::Image;

const PAGE: usize = 4096;

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Damage {
    FlippedBit,
    ZeroedPage,
    Truncated,
    Missing,
}

impl Damage {
    pub(crate) const ALL: [Self; 4] = [Self::FlippedBit, Self::ZeroedPage, Self::Truncated, Self::Missing];

    /// Damages a file; in words, where. None when nothing is left to damage.
    pub(crate) fn strike(self, image: &mut Image, path: &str, random: &mut Random) -> Option<String> {
        let bytes = image.files.get_mut(path)?;
        // Behind its last byte a segment holds zeros only, and nobody would notice.
        let end = bytes.iter().rposition(|byte| *byte != 0)? + 1;
        let at = usize::try_from(random.below(end as u64)).expect("an index");
        Some(match self {
            Self::FlippedBit => {
                bytes[at] ^= 1 << random.below(8);
                format!("a flipped bit at byte {at} of {path}")
            }
            Self::ZeroedPage => {
                let from = at / PAGE * PAGE;
                let to = (from + PAGE).min(bytes.len());
                bytes[from..to].fill(0);
                format!("zeros from byte {from} to {to} of {path}")
            }
            Self::Truncated => {
                bytes.truncate(at);
                format!("{path} cut off at byte {at}")
            }
            Self::Missing => {
                image.files.remove(path);
                format!("{path} missing")
            }
        })
    }
}

/// The kinds of files of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Format,
    Lock,
    FirstSegment,
    MiddleSegment,
    LastSegment,
    SpareSegment,
    IndexData,
    IndexConfig,
    IndexSnapshot,
    Snapshot,
    Blob,
    Other,
}

impl Kind {
    /// What the store must name where it says that something is lost. Empty where it must not lose anything.
    pub(crate) fn may_say(self) -> &'static [&'static str] {
        match self {
            Self::Format => &["format", "not a store", "release"],
            Self::FirstSegment | Self::MiddleSegment | Self::LastSegment => &["journal"],
            Self::Blob => &["blob", "bytes of job"],
            Self::Lock
            | Self::SpareSegment
            | Self::IndexData
            | Self::IndexConfig
            | Self::IndexSnapshot
            | Self::Snapshot
            | Self::Other => &[],
        }
    }
}

impl Kind {
    /// Where a loss is not noticed yet: the engine takes a page that is broken in the middle of its file for the end of what was
    /// written, and opens without it. Nothing looks through an index when it is opened.
    pub(crate) fn may_lose_silently(self) -> bool {
        self == Self::IndexData
    }
}

/// The files of an image by kind.
pub(crate) fn by_kind(image: &Image) -> BTreeMap<Kind, Vec<String>> {
    let mut found: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
    let is_segment = |path: &&String| path.contains("/journal/") && path.ends_with(".seg");
    let segments: Vec<_> = image.files.keys().filter(is_segment).collect();
    for path in image.files.keys() {
        let below = path.strip_prefix("store/").unwrap_or(path);
        let kind = match below {
            "format" => Kind::Format,
            "lock" => Kind::Lock,
            "index/db" => Kind::IndexData,
            "index/conf" => Kind::IndexConfig,
            _ if below.starts_with("index/snap.") => Kind::IndexSnapshot,
            _ if below.starts_with("snapshots/") => Kind::Snapshot,
            _ if below.starts_with("blobs/") => Kind::Blob,
            _ if segments.first() == Some(&path) => Kind::FirstSegment,
            _ if segments.last() == Some(&path) => Kind::LastSegment,
            _ if segments.contains(&path) => Kind::MiddleSegment,
            _ if below.starts_with("journal/") => Kind::SpareSegment,
            _ => Kind::Other,
        };
        found.entry(kind).or_default().push(path.clone());
    }
    found
}
