//! Logical backups: everything that a store remembers, in one file that any store can take in.
//!
//! A file is a line of JSON that says what it is, then frames of `kind u8 | length u32 little-endian | bytes`. Blobs come
//! before whatever names them. The last frame holds how many of each kind there are and the SHA-256 of everything
//! before it, so that a file that was cut off or changed is told from a whole one. Values are written with postcard, as
//! in the store itself; when one of them changes, [`VERSION`] does.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::sled::{OpenError, SledSettings, SledStore};
use super::{CommitError, ReadError, Store};
use crate::domain::audit::AuditRow;
use crate::domain::change::Change;
use crate::domain::id::{Digest, HostId, JobKey, OrderingKey, Sequence};
use crate::domain::job::{JobState, Payload, Run, Submission};
use crate::domain::plugin::Plugin;
use crate::domain::queue::QueueState;
use crate::domain::schedule::Schedule;
use crate::domain::service::{Durability, ServiceState};
use crate::domain::time::Timestamp;

/// The version of the format that this release writes and reads.
pub const VERSION: u32 = 5;

const FORMAT: &str = "backroom backup";
/// The first line is never longer.
const HEADER_BYTES_MAX: u64 = 4096;
/// So many changes are written in one commit of a restore.
const CHANGES_AT_ONCE: usize = 512;

/// A record that was written more often is no record of ours.
const REVISIONS_MAX: u32 = 100_000;

const BLOB: u8 = b'B';
const PLUGIN: u8 = b'P';
const JOB: u8 = b'J';
const REMEMBERED: u8 = b'K';
const QUEUE: u8 = b'Q';
const SCHEDULE: u8 = b'T';
const BREAKER: u8 = b'H';
const TOKEN: u8 = b'G';
const BROKEN: u8 = b'F';
const SERVICE: u8 = b'S';
const END: u8 = b'E';

/// The first line of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// What kind of file it is.
    pub format: String,
    /// The version of the format.
    pub version: u32,
    /// When it was made.
    pub created_on: String,
}

/// How much a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Plug-ins.
    pub plugins: u64,
    /// Jobs, with their states.
    pub jobs: u64,
    /// Closed runs before the last one of each job.
    pub runs: u64,
    /// Remembered submits.
    pub remembered: u64,
    /// Tokens, those that have been revoked since among them.
    pub tokens: u64,
    /// Components, and payloads that are not in their jobs.
    pub blobs: u64,
    /// Bytes of those.
    pub blob_bytes: u64,
}

/// Why a backup was not made or not taken in.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file or directory that must not be there.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// The file is no backup, or one of another release.
    #[error("it is not a backup that this version can read: found `{found}`")]
    Format {
        /// What its first line says.
        found: String,
    },
    /// The file is not as it was written.
    #[error("the backup is damaged at byte {at}: {why}")]
    Damaged {
        /// How far it could be read.
        at: u64,
        /// What is wrong there.
        why: String,
    },
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The file could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A job as a backup holds it.
#[derive(Serialize, Deserialize)]
struct SavedJob {
    submission: Arc<Submission>,
    state: JobState,
    earlier_runs: Vec<Run>,
    audit: Vec<AuditRow>,
}

/// What a backup holds of the service as a whole.
#[derive(Serialize, Deserialize)]
struct SavedService {
    state: ServiceState,
    /// The last numbers that may have been given out.
    sequence: Sequence,
    host: HostId,
}

/// Writes a backup to a new file, which is there as a whole or not at all.
pub fn save(store: &SledStore, file: &Path, created_on: Timestamp) -> Result<Contents, BackupError> {
    if file.exists() {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let aside = beside(file, "partial");
    let saved = write_file(store, &aside, created_on).and_then(|contents| {
        std::fs::rename(&aside, file)?;
        sync_parent(file)?;
        Ok(contents)
    });
    saved.inspect_err(|_| {
        // What could not be finished must not take up the room.
        let _removed = std::fs::remove_file(&aside);
    })
}

fn write_file(store: &SledStore, file: &Path, created_on: Timestamp) -> Result<Contents, BackupError> {
    // It holds payloads and the digests of tokens: nobody else's business.
    let new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    // One that was left from an interrupted backup keeps the mode that it had.
    new.set_permissions(Permissions::from_mode(0o600))?;
    let mut out = BufWriter::new(new);
    let contents = write(store, &mut out, created_on)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(contents)
}

/// Writes a backup of a store that nothing changes meanwhile.
pub fn write(store: &SledStore, out: &mut dyn Write, created_on: Timestamp) -> Result<Contents, BackupError> {
    let mut frames = FrameWriter { out, hash: Sha256::new() };
    frames.header(created_on)?;
    let mut contents = Contents::default();
    let mut written = HashSet::new();
    store.each_blob::<BackupError>(&mut |digest, bytes| {
        contents.blobs += 1;
        contents.blob_bytes += bytes.len() as u64;
        written.insert(digest);
        frames.bytes(BLOB, &bytes)
    })?;
    for plugin in store.plugins()? {
        contents.plugins += 1;
        let digests = plugin.versions.iter().map(|version| version.inspection.digest);
        check_blobs(&written, digests, || format!("plug-in {}", plugin.name))?;
        frames.value(PLUGIN, &plugin)?;
    }
    store.each_job::<BackupError>(&mut |job, earlier_runs| {
        contents.jobs += 1;
        contents.runs += earlier_runs.len() as u64;
        let logs = earlier_runs.iter().filter_map(|run| run.log.as_ref());
        let payloads = [&job.submission.input].into_iter().chain(job.state.payloads()).chain(logs);
        check_blobs(&written, payloads.filter_map(Payload::digest), || format!("job {}", job.submission.id))?;
        let audit = store.audit(job.submission.key())?;
        frames.value(JOB, &SavedJob { submission: job.submission, state: job.state, earlier_runs, audit })
    })?;
    store.each_remembered::<BackupError>(&mut |submit| {
        contents.remembered += 1;
        frames.value(REMEMBERED, &submit)
    })?;
    for broken in store.broken_keys()? {
        frames.value(BROKEN, &broken)?;
    }
    for schedule in store.schedules()? {
        check_blobs(&written, schedule.target.input.digest().into_iter(), || format!("schedule {}", schedule.name))?;
        frames.value(SCHEDULE, &schedule)?;
    }
    for queue in store.queues()? {
        frames.value(QUEUE, &queue)?;
    }
    for breaker in store.breakers()? {
        frames.value(BREAKER, &breaker)?;
    }
    for token in store.tokens()? {
        contents.tokens += 1;
        frames.value(TOKEN, &token)?;
    }
    let (sequence, host) = store.given_out()?;
    frames.value(SERVICE, &SavedService { state: store.service()?, sequence, host })?;
    frames.end(&contents)?;
    Ok(contents)
}

fn check_blobs(
    written: &HashSet<Digest>,
    named: impl Iterator<Item = Digest>,
    by: impl Fn() -> String,
) -> Result<(), BackupError> {
    let mut missing = named.filter(|digest| !written.contains(digest));
    match missing.next() {
        None => Ok(()),
        Some(digest) => Err(ReadError::Damaged(format!("blob {digest} of {} is missing", by())).into()),
    }
}

/// Makes a store of a backup, in a directory that must not hold anything yet. It is there as a whole or not at all.
pub fn restore(file: &Path, settings: SledSettings) -> Result<Contents, BackupError> {
    let path = settings.path.clone();
    let is_taken = path.exists() && !path.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    if is_taken {
        return Err(BackupError::Exists(path));
    }
    let input = File::open(file)?;
    let aside = beside(&path, "restoring");
    if aside.exists() {
        return Err(BackupError::Exists(aside));
    }
    let restored = restore_into(input, SledSettings { path: aside.clone(), ..settings }).and_then(|contents| {
        std::fs::rename(&aside, &path)?;
        sync_parent(&path)?;
        Ok(contents)
    });
    restored.inspect_err(|_| {
        // The directory is one of this call, and holds nothing that the backup does not.
        let _removed = std::fs::remove_dir_all(&aside);
    })
}

fn restore_into(input: File, settings: SledSettings) -> Result<Contents, BackupError> {
    // One sync at the end is enough: until then there is nothing to lose.
    let store = SledStore::open(SledSettings { durability: Durability::Process, ..settings })?;
    let contents = read_into(input, &store)?;
    store.close();
    match store.failure() {
        Some(why) => Err(CommitError::Failed(why).into()),
        None => Ok(contents),
    }
}

/// Takes a backup into an empty store. When it fails, the store holds a part and is of no use.
pub fn read_into(input: impl Read, store: &dyn Store) -> Result<Contents, BackupError> {
    let mut frames = FrameReader { input: BufReader::new(input), hash: Sha256::new(), at: 0 };
    frames.header()?;
    let mut found = Contents::default();
    let mut changes = Vec::new();
    loop {
        let hash_before = frames.hash.clone();
        let (kind, bytes) = frames.next()?;
        match kind {
            BLOB => {
                found.blobs += 1;
                found.blob_bytes += bytes.len() as u64;
                store.put_blob(Bytes::from(bytes))?;
            }
            PLUGIN => {
                found.plugins += 1;
                take_plugin(frames.value(&bytes)?, &mut changes).map_err(|why| frames.damaged(why))?;
            }
            JOB => {
                found.jobs += 1;
                let job: SavedJob = frames.value(&bytes)?;
                found.runs += job.earlier_runs.len() as u64;
                take_job(job, &mut changes).map_err(|why| frames.damaged(why))?;
            }
            REMEMBERED => {
                found.remembered += 1;
                changes.push(Change::Remember(frames.value(&bytes)?));
            }
            BROKEN => {
                let (job, key): (JobKey, OrderingKey) = frames.value(&bytes)?;
                changes.push(Change::NoteBroken { job, key });
            }
            SCHEDULE => {
                let schedule: Schedule = frames.value(&bytes)?;
                changes.push(Change::PutSchedule(Box::new(Schedule { revision: 1, ..schedule })));
            }
            QUEUE => {
                let queue: QueueState = frames.value(&bytes)?;
                changes.push(Change::PutQueue(QueueState { revision: 1, ..queue }));
            }
            BREAKER => changes.push(Change::PutBreaker(frames.value(&bytes)?)),
            TOKEN => {
                found.tokens += 1;
                changes.push(Change::PutToken(Box::new(frames.value(&bytes)?)));
            }
            SERVICE => take_service(frames.value(&bytes)?, store, &mut changes),
            END => {
                let (contents, hash): (Contents, [u8; 32]) = frames.value(&bytes)?;
                let is_whole = hash == <[u8; 32]>::from(hash_before.finalize()) && contents == found;
                if !is_whole || !frames.input.fill_buf()?.is_empty() {
                    return Err(frames.damaged("what was read is not what was written".to_owned()));
                }
                store.commit(changes).wait()?;
                return Ok(found);
            }
            other => return Err(frames.damaged(format!("frames of kind {other} are not known here"))),
        }
        if changes.len() >= CHANGES_AT_ONCE {
            store.commit(std::mem::take(&mut changes)).wait()?;
        }
    }
}

/// A record is written once for each of its revisions: a store takes them in order only.
fn take_plugin(plugin: Plugin, changes: &mut Vec<Change>) -> Result<(), String> {
    if plugin.revision > REVISIONS_MAX {
        return Err(format!("plug-in {} was written {} times, which no host does", plugin.name, plugin.revision));
    }
    changes.extend((1..=plugin.revision).map(|revision| Change::PutPlugin(Plugin { revision, ..plugin.clone() })));
    Ok(())
}

/// A job enters at the revision from which the writes of its earlier runs lead to its own.
fn take_job(job: SavedJob, changes: &mut Vec<Change>) -> Result<(), String> {
    let SavedJob { submission, state, earlier_runs, audit } = job;
    let key = submission.key();
    let first = u32::try_from(earlier_runs.len()).ok().and_then(|runs| state.revision.checked_sub(runs));
    let first = first.ok_or_else(|| format!("job {} has more runs than it was written", submission.id))?;
    changes.push(Change::Submit(submission, JobState { revision: first, ..state.clone() }.into()));
    for (expected, run) in (first..).zip(earlier_runs) {
        let next = JobState { revision: expected + 1, ..state.clone() };
        changes.push(Change::Advance { job: key, expected, next: next.into(), earlier_run: Some(run) });
    }
    changes.extend(audit.into_iter().map(Change::Audit));
    Ok(())
}

fn take_service(service: SavedService, store: &dyn Store, changes: &mut Vec<Change>) {
    if service.sequence.0 > 0 {
        store.reserve(service.sequence.0);
    }
    changes.push(Change::StartHost(service.host));
    changes.push(Change::PutService(service.state));
}

/// Writes frames and hashes what it writes.
struct FrameWriter<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
}

impl FrameWriter<'_> {
    fn header(&mut self, created_on: Timestamp) -> Result<(), BackupError> {
        let header = Header { format: FORMAT.to_owned(), version: VERSION, created_on: created_on.to_string() };
        let mut line = serde_json::to_vec(&header).map_err(io::Error::from)?;
        line.push(b'\n');
        self.raw(&line)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.hash.update(bytes);
        Ok(self.out.write_all(bytes)?)
    }

    fn bytes(&mut self, kind: u8, bytes: &[u8]) -> Result<(), BackupError> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("a value of 4 GiB or more"))?;
        self.raw(&[kind])?;
        self.raw(&length.to_le_bytes())?;
        self.raw(bytes)
    }

    fn value<T: Serialize>(&mut self, kind: u8, value: &T) -> Result<(), BackupError> {
        let bytes = postcard::to_stdvec(value).expect("memory takes everything that serde can write");
        self.bytes(kind, &bytes)
    }

    fn end(&mut self, contents: &Contents) -> Result<(), BackupError> {
        let hash: [u8; 32] = self.hash.clone().finalize().into();
        self.value(END, &(contents, hash))?;
        Ok(self.out.flush()?)
    }
}

/// Reads frames and hashes what it reads.
struct FrameReader<R: Read> {
    input: BufReader<R>,
    hash: Sha256,
    at: u64,
}

impl<R: Read> FrameReader<R> {
    fn damaged(&self, why: String) -> BackupError {
        BackupError::Damaged { at: self.at, why }
    }

    fn header(&mut self) -> Result<Header, BackupError> {
        let mut line = Vec::new();
        (&mut self.input).take(HEADER_BYTES_MAX).read_until(b'\n', &mut line)?;
        let found: String = String::from_utf8_lossy(&line).trim().chars().take(80).collect();
        self.hash.update(&line);
        self.at += line.len() as u64;
        match serde_json::from_slice::<Header>(&line) {
            Ok(header) if header.format == FORMAT && header.version == VERSION => Ok(header),
            _ => Err(BackupError::Format { found }),
        }
    }

    fn next(&mut self) -> Result<(u8, Vec<u8>), BackupError> {
        let head = self.exactly(5)?;
        let (kind, length) = (head[0], [head[1], head[2], head[3], head[4]]);
        let bytes = self.exactly(u64::from(u32::from_le_bytes(length)))?;
        Ok((kind, bytes))
    }

    /// The next `count` bytes. Takes no room for more than there are.
    fn exactly(&mut self, count: u64) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::new();
        (&mut self.input).take(count).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != count {
            return Err(self.damaged("it ends there".to_owned()));
        }
        self.hash.update(&bytes);
        self.at += count;
        Ok(bytes)
    }

    fn value<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, BackupError> {
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(self.damaged(format!("a value has {} bytes too many", rest.len()))),
            Err(error) => Err(self.damaged(format!("a value cannot be read: {error}"))),
        }
    }
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
