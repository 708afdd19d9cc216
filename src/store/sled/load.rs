//! Filling a new index with what a snapshot has: neither journal nor guards, since nothing is there that could be in the way.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::index::{Entry, Indexer};
use super::live::Live;
use super::{codec, keys};
use crate::domain::change::Change;
use crate::domain::id::JobKey;
use crate::domain::job::Run;
use crate::store::ReadError;
use crate::store::backup::{BackupError, Item, Reader, Record};
use crate::store::frozen::WholeJob;
use crate::stored::Registry;

/// So many records are read, and go into the index, together.
const RECORDS_AT_ONCE: usize = 512;
/// So many of those portions are read ahead.
const PORTIONS_AHEAD: usize = 8;
/// The index is written whenever so many entries wait for it.
const ENTRIES_AT_ONCE: usize = 8192;
/// How often the log hears how far it is.
const TELL: Duration = Duration::from_secs(2);

/// Why an index was not filled.
#[derive(Debug)]
pub(super) enum LoadError {
    /// The snapshot cannot be read: why.
    Snapshot(String),
    /// The index cannot be written.
    Index(ReadError),
}

impl From<BackupError> for LoadError {
    fn from(error: BackupError) -> Self {
        Self::Snapshot(error.to_string())
    }
}

impl From<ReadError> for LoadError {
    fn from(error: ReadError) -> Self {
        Self::Index(error)
    }
}

type Portion = Result<Vec<Record>, BackupError>;

/// Fills an index that has nothing yet with a snapshot. One thread reads, this one writes.
pub(super) fn load(tree: &dyn Engine, snapshot: &Path, families: &Registry) -> Result<(), LoadError> {
    let file = File::open(snapshot).map_err(BackupError::Io)?;
    let reader = Reader::start(file, families)?;
    let (lsn, jobs) = (reader.header().lsn, reader.header().jobs);
    let (portions, read) = sync_channel(PORTIONS_AHEAD);
    std::thread::scope(|threads| {
        let reading = std::thread::Builder::new().name("store-load".to_owned());
        reading.spawn_scoped(threads, move || read_all(reader, &portions)).map_err(BackupError::Io)?;
        fill(tree, lsn, jobs, families, &read)
    })
}

fn read_all(mut reader: Reader<'_>, portions: &SyncSender<Portion>) {
    let mut portion = Vec::with_capacity(RECORDS_AT_ONCE);
    loop {
        match reader.read_next() {
            // Blobs lie beside it.
            Ok(Some(Item::Blob(_))) => {}
            Ok(Some(Item::Record(record))) => portion.push(record),
            Ok(None) => break,
            Err(error) => return drop(portions.send(Err(error))),
        }
        if portion.len() >= RECORDS_AT_ONCE {
            let full = std::mem::replace(&mut portion, Vec::with_capacity(RECORDS_AT_ONCE));
            if portions.send(Ok(full)).is_err() {
                // Whoever writes has given up.
                return;
            }
        }
    }
    drop(portions.send(Ok(portion)));
}

fn fill(
    tree: &dyn Engine,
    lsn: u64,
    jobs: u64,
    families: &Registry,
    portions: &Receiver<Portion>,
) -> Result<(), LoadError> {
    let mut live = Live::default();
    let mut told = Instant::now();
    let mut done = 0;
    let mut waiting_for_others = Vec::new();
    for portion in portions {
        done += add(&mut Indexer::new(tree, &mut live), portion?, families, &mut waiting_for_others)?;
        if live.ahead.len() >= ENTRIES_AT_ONCE {
            let written = Indexer::new(tree, &mut live).write(0)?;
            tree.tidy(written);
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            tracing::info!("making the index again: {done} of {jobs} jobs");
        }
    }
    let mut indexer = Indexer::new(tree, &mut live);
    for job in waiting_for_others {
        indexer.hold_back(job)?;
    }
    indexer.checkpoint(lsn, &mut Vec::new());
    indexer.write(lsn)?;
    Ok(())
}

/// Adds records; returns how many jobs there were. `waiting_for_others` gets the jobs that name one of a later sequence, which
/// is not there yet.
fn add(
    indexer: &mut Indexer<'_>,
    records: Vec<Record>,
    families: &Registry,
    waiting_for_others: &mut Vec<JobKey>,
) -> Result<u64, LoadError> {
    let mut changes = Vec::with_capacity(records.len());
    let mut runs: Vec<(JobKey, Run)> = Vec::new();
    let mut jobs = 0;
    for record in records {
        match record {
            Record::Job(whole) => {
                let WholeJob { job, earlier_runs, rows } = *whole;
                jobs += 1;
                let key = job.submission.key();
                if job.submission.ties().after.iter().any(|named| named.sequence() > key.sequence) {
                    waiting_for_others.push(key);
                }
                runs.extend(earlier_runs.into_iter().map(|run| (key, run)));
                changes.push(Change::submit(job));
                changes.extend(rows.into_iter().map(Change::Load));
            }
            Record::Row(row) => changes.push(Change::Load(row)),
            Record::Numbers(numbers) => {
                indexer.raise(keys::META_SEQUENCE, numbers.sequence.0)?;
                indexer.raise(keys::META_HOST, numbers.host.0)?;
            }
            Record::Blob(_) => {}
        }
    }
    let mut bytes = Vec::new();
    let entry = |change| {
        let parts = codec::append_change(&mut bytes, change, families);
        Entry { change, before: None, parts }
    };
    let entries: Vec<_> = changes.iter().map(entry).collect();
    indexer.add(&entries, &bytes)?;
    runs.iter().for_each(|(job, run)| indexer.add_run(*job, run, &codec::encode(run)));
    Ok(jobs)
}
