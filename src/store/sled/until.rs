//! A directory as it was at an earlier group of commits: a snapshot from before it, and the journal up to there.

use std::io;
use std::path::Path;

use super::blobs::Blobs;
use super::journal::scan;
use super::journal::segment::sync_directory;
use super::lock::{DirectoryLock, LockError};
use super::snapshots::{self, Kept};
use super::{BLOBS, JOURNAL, OpenError, SNAPSHOTS, private, recover};
use crate::domain::time::Timestamp;
use crate::store::backup::BackupError;

/// Up to where a directory is brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Up to its end.
    End,
    /// Up to this group of commits, the last one that counts.
    Group(u64),
    /// Up to the last group that was committed by then, to the second.
    Time(Timestamp),
}

/// How far a directory was brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The last group of commits that is there.
    pub lsn: u64,
    /// When it was committed, to the second; none when that is not known.
    pub on: Option<Timestamp>,
}

/// Lays the ground for a store that is what the one of the directory `from`, which nobody has open, was at an earlier group: a
/// snapshot, the journal behind it up to there, and the blobs. Whoever opens it makes the index.
pub(in crate::store) fn plant_until(from: &Path, to: &Path, until: Until) -> Result<Reached, BackupError> {
    let _lock = DirectoryLock::take(from).map_err(|error| match error {
        LockError::InUse(pid) => OpenError::InUse { path: from.to_owned(), pid },
        LockError::Io(error) => OpenError::Io(error),
    })?;
    let journal = from.join(JOURNAL);
    let damaged = |why: String| OpenError::Damaged { path: journal.clone(), why };
    let first = scan::first(&journal).map_err(OpenError::from)?;
    let is_within = |lsn: u64, on: Option<Timestamp>| match until {
        Until::End => true,
        Until::Group(last) => lsn <= last,
        Until::Time(last) => on.is_none_or(|on| on <= last),
    };
    private::folder(to)?;
    private::folder(&to.join(JOURNAL))?;
    let copied = scan::copy(&journal, &to.join(JOURNAL), &is_within).map_err(OpenError::from)?;
    let kept = snapshots::list(&from.join(SNAPSHOTS))?;
    let reaches = |kept: &&Kept| first.is_none_or(|first| kept.lsn + 1 >= first);
    let base = match copied {
        Some((lsn, _)) => kept.iter().rev().filter(reaches).find(|kept| kept.lsn <= lsn),
        None => None,
    };
    let Some((lsn, on)) = copied.filter(|_| base.is_some() || first == Some(1)) else {
        let earliest = if first == Some(1) { Some(1) } else { kept.iter().find(reaches).map(|kept| kept.lsn + 1) };
        let earliest = earliest.map_or("nothing".to_owned(), |lsn| format!("group {lsn} and later ones"));
        return Err(damaged(format!(
            "{earliest} can be brought back from it; use an earlier backup for what came before"
        ))
        .into());
    };
    if let Some(base) = base {
        private::folder(&to.join(SNAPSHOTS))?;
        copy_file(&base.path, &snapshots::path(&to.join(SNAPSHOTS), base.lsn))?;
        sync_directory(&to.join(SNAPSHOTS))?;
    }
    private::folder(&to.join(BLOBS))?;
    let (there, here) = (Blobs::open(&from.join(BLOBS))?, Blobs::open(&to.join(BLOBS))?);
    for (digest, _) in there.list()? {
        if let Some(bytes) = there.get(digest)? {
            here.put(&bytes)?;
        }
    }
    copy_file(&from.join("format"), &to.join("format"))?;
    recover::mark_new(to)?;
    Ok(Reached { lsn, on })
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut new = private::file().truncate(true).open(to)?;
    io::copy(&mut std::fs::File::open(from)?, &mut new)?;
    new.sync_all()
}
