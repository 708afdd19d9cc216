//! Logical backups: everything that a store remembers, in one file that any store can read and that outlives every format of
//! a store.
//!
//! A file is lines of JSON ([`record`]): one that says what it is, then a record each, then one with how many there are and the
//! SHA-256 of everything before it, so that a file that was cut off or changed is told from a whole one. Blobs come before
//! whatever names them. It is read whatever compresses it. docs/backup.md describes it for readers in other languages.

mod packing;
mod read;
mod record;
mod write;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::frozen::{FrozenError, WholeJob};
use super::sled::{OpenError, Reached, SledSettings, SledStore, Until, plant, plant_until};
use super::{CommitError, ReadError, Store};
use crate::domain::change::Change;
use crate::domain::family::Row;
use crate::domain::job::{Job, JobState};
use crate::domain::service::Durability;
use crate::domain::time::Timestamp;
use crate::stored::Registry;

pub use packing::{Packer, Packing};
pub use read::{Item, Reader};
pub use record::{BlobPart, Numbers, Record};
pub use write::{Blobs, Progress, copy, write};

/// The version of the format that this release writes, and the last that it reads.
pub const VERSION: u32 = 1;

const FORMAT: &str = "backroom backup";
/// So many changes are written in one commit of a restore.
const CHANGES_AT_ONCE: usize = 512;

/// The first line of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// What kind of file it is.
    pub format: String,
    /// The version of the format.
    pub version: u32,
    /// When it was made.
    pub created_on: String,
    /// The last group of commits of the store that is in it.
    pub lsn: u64,
    /// How many jobs there are.
    pub jobs: u64,
    /// `beside` where the blobs are not in it, but lie in the directory of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blobs: Option<String>,
    /// The release of the host that wrote it.
    pub release: String,
}

/// How much a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contents {
    /// Jobs, with their states.
    pub jobs: u64,
    /// Closed runs before the last one of each job.
    pub runs: u64,
    /// Rows, by the names of their families.
    pub rows: BTreeMap<String, u64>,
    /// Components, and payloads that are not in their jobs.
    pub blobs: u64,
    /// Bytes of those.
    pub blob_bytes: u64,
}

impl Contents {
    fn count(&mut self, record: &Record) {
        match record {
            Record::Blob(part) => {
                self.blobs += u64::from(part.is_last);
                self.blob_bytes += part.data.len() as u64;
            }
            Record::Job(whole) => {
                self.jobs += 1;
                self.runs += whole.earlier_runs.len() as u64;
            }
            Record::Row(row) => *self.rows.entry(row.family().name.to_owned()).or_default() += 1,
            Record::Numbers(_) => {}
        }
    }

    /// How many rows it has of a family.
    pub fn rows_of<T: Row>(&self) -> u64 {
        self.rows.get(T::ROWS.name).copied().unwrap_or_default()
    }
}

/// The last line of a backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    family: String,
    version: u8,
    counts: Contents,
    /// Of every byte before it, in hexadecimal digits.
    sha256: String,
}

/// Why a backup was not made or not taken in.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file or directory that must not be there.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// The file is no backup.
    #[error("it is not a backup: its first line is `{found}`")]
    Format {
        /// What its first line says.
        found: String,
    },
    /// A later release wrote it, with something that this one does not know.
    #[error("line {line} of the backup: this release cannot read {what}; a later one wrote it")]
    Later {
        /// The number of the line, from 1 on.
        line: u64,
        /// What is not known.
        what: String,
    },
    /// The file is not as it was written.
    #[error("line {line} of the backup is damaged: {why}")]
    Damaged {
        /// The number of the line, from 1 on.
        line: u64,
        /// What is wrong there.
        why: String,
    },
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store could not be read to its end as it was.
    #[error(transparent)]
    Frozen(#[from] FrozenError),
    /// The store could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The file could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Writes a backup to a new file, which is there as a whole or not at all, compressed as its name says.
pub fn save(
    store: &dyn Store,
    file: &Path,
    created_on: Timestamp,
    progress: Progress<'_>,
) -> Result<Contents, BackupError> {
    whole_file(file, &mut |out| {
        let mut frozen = store.freeze()?;
        let mut packed = Packing::of_name(file).pack(out)?;
        let contents = write(&mut *frozen, &mut packed, created_on, Blobs::Included, progress)?;
        packed.finish()?;
        Ok(contents)
    })
}

/// Makes a new file that is there, and on disk, as a whole or not at all. It holds payloads and the digests of tokens: nobody
/// else may read it.
pub fn whole_file<T>(
    file: &Path,
    write: &mut dyn FnMut(&mut BufWriter<File>) -> Result<T, BackupError>,
) -> Result<T, BackupError> {
    if file.exists() {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let aside = beside(file, "partial");
    let mut make = || {
        let new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        // One that was left from an interrupted backup keeps the mode that it had.
        new.set_permissions(Permissions::from_mode(0o600))?;
        let mut out = BufWriter::with_capacity(1 << 18, new);
        let done = write(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&aside, file)?;
        sync_parent(file)?;
        Ok(done)
    };
    make().inspect_err(|_| {
        // What could not be finished must not take up the room.
        let _removed = std::fs::remove_file(&aside);
    })
}

/// Makes a store of a backup, in a directory that must not hold anything yet. It is there as a whole or not at all.
pub fn restore(file: &Path, settings: SledSettings, progress: Progress<'_>) -> Result<Contents, BackupError> {
    check_free(&settings.path)?;
    let input = File::open(file)?;
    let families = Arc::clone(&settings.families);
    whole_directory(settings, &mut |aside| plant(aside, Reader::start(&input, &families)?, progress))
}

/// Makes a store of another one's data directory, which nobody has open, as it was at an earlier time. It is there as a whole or
/// not at all.
pub fn restore_until(from: &Path, until: Until, settings: SledSettings) -> Result<Reached, BackupError> {
    check_free(&settings.path)?;
    whole_directory(settings, &mut |aside| plant_until(from, aside, until))
}

fn check_free(path: &Path) -> Result<(), BackupError> {
    let is_taken = path.exists() && !path.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    match is_taken {
        true => Err(BackupError::Exists(path.to_owned())),
        false => Ok(()),
    }
}

/// Makes a store in a new directory, of what `plant` lays there.
fn whole_directory<T>(
    settings: SledSettings,
    plant: &mut dyn FnMut(&Path) -> Result<T, BackupError>,
) -> Result<T, BackupError> {
    let path = settings.path.clone();
    let aside = beside(&path, "restoring");
    if aside.exists() {
        return Err(BackupError::Exists(aside));
    }
    let mut make = || {
        let done = plant(&aside)?;
        // What the index lacks is in snapshot and journal: there is nothing to lose.
        let settings = SledSettings { path: aside.clone(), durability: Durability::Process, ..settings.clone() };
        let store = SledStore::open(settings)?;
        store.close();
        if let Some(why) = store.failure() {
            return Err(CommitError::Failed(why).into());
        }
        std::fs::rename(&aside, &path)?;
        sync_parent(&path)?;
        Ok(done)
    };
    make().inspect_err(|_| {
        // The directory is one of this call, and holds nothing that its source does not.
        let _removed = std::fs::remove_dir_all(&aside);
    })
}

/// Whether a backup is what was written, without a look at what it means.
pub fn check(input: impl Read + Send, progress: Progress<'_>) -> Result<Contents, BackupError> {
    let families = Registry::default();
    Ok(Reader::start(input, &families)?.check(progress)?.1)
}

/// Takes a backup into an empty store. When it fails, the store holds a part and is of no use.
pub fn read_into(input: impl Read + Send, store: &dyn Store, progress: Progress<'_>) -> Result<Contents, BackupError> {
    let mut reader = Reader::start(input, store.families())?;
    let mut changes = Vec::new();
    while let Some(item) = reader.read_next()? {
        match item {
            Item::Blob(bytes) => drop(store.put_blob(bytes)?),
            Item::Record(record) => take(record, store, &mut changes).map_err(|why| reader.damaged(why))?,
        }
        if changes.len() >= CHANGES_AT_ONCE {
            store.commit(std::mem::take(&mut changes)).wait()?;
            progress(reader.contents().jobs, reader.header().jobs)?;
        }
    }
    store.commit(changes).wait()?;
    Ok(reader.contents().clone())
}

/// The changes that bring a record into an empty store.
fn take(record: Record, store: &dyn Store, changes: &mut Vec<Change>) -> Result<(), String> {
    match record {
        // Those come whole.
        Record::Blob(_) => {}
        Record::Job(job) => take_job(*job, changes)?,
        Record::Row(row) => changes.push(Change::Load(row)),
        Record::Numbers(Numbers { sequence, host }) => {
            if sequence.0 > 0 {
                store.reserve(sequence.0);
            }
            changes.push(Change::StartHost(host));
        }
    }
    Ok(())
}

/// A job enters at the revision from which the writes of its earlier runs lead to its own.
fn take_job(job: WholeJob, changes: &mut Vec<Change>) -> Result<(), String> {
    let WholeJob { job: Job { submission, state }, earlier_runs, rows } = job;
    let key = submission.key();
    let first = u32::try_from(earlier_runs.len()).ok().and_then(|runs| state.revision.checked_sub(runs));
    let first = first.ok_or_else(|| format!("job {} has more runs than it was written", submission.id))?;
    changes.push(Change::Submit(submission, JobState { revision: first, ..state.clone() }.into()));
    for (expected, run) in (first..).zip(earlier_runs) {
        let next = JobState { revision: expected + 1, ..state.clone() };
        changes.push(Change::Advance { job: key, expected, next: next.into(), earlier_run: Some(run) });
    }
    changes.extend(rows.into_iter().map(Change::Load));
    Ok(())
}

fn beside(path: &Path, word: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(word);
    PathBuf::from(name)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.canonicalize()?.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
