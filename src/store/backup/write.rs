//! Writing a backup, line by line.

use std::collections::HashSet;
use std::io::{self, Write};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::super::ReadError;
use super::super::frozen::Frozen;
use super::read::{Item, Reader};
use super::record::{BlobPart, END, Numbers, Record};
use super::{BackupError, Contents, End, FORMAT, Header, VERSION};
use crate::domain::id::Digest;
use crate::domain::time::Timestamp;
use crate::stored::Registry;

/// So many bytes of a blob go into one line.
const BLOB_LINE_BYTES: usize = 1 << 20;
/// So many blobs are remembered to be written; one that is named again after more may be there twice.
const BLOBS_REMEMBERED: usize = 1 << 20;

/// What the first line says where blobs are not in the file.
const BESIDE: &str = "beside";
/// Progress is told at every so many jobs.
const JOBS_TOLD: u64 = 256;

/// Where the blobs of a backup are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blobs {
    /// In it.
    Included,
    /// Beside it, in the directory of the store.
    Beside,
}

/// Is told how many jobs are done, of how many, and may end it with an error.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> Result<(), BackupError>;

/// Writes a backup of a store as it was at one moment.
pub fn write(
    frozen: &mut dyn Frozen,
    out: &mut dyn Write,
    created_on: Timestamp,
    blobs: Blobs,
    progress: Progress<'_>,
) -> Result<Contents, BackupError> {
    let moment = frozen.moment();
    let mut lines = Lines::new(out, blobs);
    lines.header(&Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        created_on: created_on.to_string(),
        lsn: moment.lsn,
        jobs: moment.jobs,
        blobs: (blobs == Blobs::Beside).then(|| BESIDE.to_owned()),
        release: env!("CARGO_PKG_VERSION").to_owned(),
    })?;
    lines.record(frozen, &Record::Numbers(Numbers { sequence: moment.sequence, host: moment.host }))?;
    loop {
        let rows = frozen.next_rows()?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            lines.record(frozen, &Record::Row(row))?;
        }
    }
    loop {
        let jobs = frozen.next_jobs()?;
        if jobs.is_empty() {
            break;
        }
        for mut job in jobs {
            let rows = std::mem::take(&mut job.rows);
            lines.record(frozen, &Record::Job(Box::new(job)))?;
            for row in rows {
                lines.record(frozen, &Record::Row(row))?;
            }
        }
        progress(lines.contents.jobs, moment.jobs)?;
    }
    lines.end()
}

/// Writes a backup once more as one whose blobs lie beside it; each blob is handed to `keep`.
pub fn copy(
    reader: &mut Reader<'_>,
    out: &mut dyn Write,
    keep: &mut dyn FnMut(Bytes) -> io::Result<()>,
    progress: Progress<'_>,
) -> Result<(), BackupError> {
    let mut lines = Lines::new(out, Blobs::Beside);
    lines.header(&Header { blobs: Some(BESIDE.to_owned()), ..reader.header().clone() })?;
    while let Some(item) = reader.read_next()? {
        match item {
            Item::Blob(bytes) => keep(bytes)?,
            Item::Record(record) => lines.line(reader.families(), &record)?,
        }
        if reader.contents().jobs.is_multiple_of(JOBS_TOLD) {
            progress(reader.contents().jobs, reader.header().jobs)?;
        }
    }
    lines.end()?;
    Ok(())
}

/// Writes lines and hashes what it writes.
struct Lines<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
    line: Vec<u8>,
    contents: Contents,
    blobs: Blobs,
    /// The blobs that are written.
    written: HashSet<Digest>,
}

impl<'a> Lines<'a> {
    fn new(out: &'a mut dyn Write, blobs: Blobs) -> Self {
        let (hash, line) = (Sha256::new(), Vec::new());
        Self { out, hash, line, contents: Contents::default(), blobs, written: HashSet::new() }
    }

    fn header(&mut self, header: &Header) -> Result<(), BackupError> {
        serde_json::to_writer(&mut self.line, header).map_err(io::Error::from)?;
        self.line.push(b'\n');
        self.put()
    }

    /// Writes the line that was made.
    fn put(&mut self) -> Result<(), BackupError> {
        self.hash.update(&self.line);
        self.out.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }

    /// Writes a record, and before it the blobs that it names.
    fn record(&mut self, frozen: &dyn Frozen, record: &Record) -> Result<(), BackupError> {
        if self.blobs == Blobs::Included {
            for digest in record.blobs() {
                self.blob(frozen, digest, record)?;
            }
        }
        self.line(frozen.families(), record)
    }

    /// Writes a record.
    fn line(&mut self, families: &Registry, record: &Record) -> Result<(), BackupError> {
        record.append(families, &mut self.line);
        self.contents.count(record);
        self.put()
    }

    fn blob(&mut self, frozen: &dyn Frozen, digest: Digest, named_by: &Record) -> Result<(), BackupError> {
        if self.written.len() >= BLOBS_REMEMBERED {
            self.written.clear();
        }
        if !self.written.insert(digest) {
            return Ok(());
        }
        let read = |at| -> Result<Bytes, BackupError> {
            let part = frozen.blob_part(digest, at, BLOB_LINE_BYTES)?;
            let missing = || ReadError::Damaged(format!("blob {digest} of {} is missing", named_by.words()));
            Ok(part.ok_or_else(missing)?)
        };
        let mut hash = Sha256::new();
        let mut at = 0;
        let mut part = read(at)?;
        loop {
            hash.update(&part);
            let next = read(at + part.len() as u64)?;
            let is_last = next.is_empty();
            if is_last && Digest(hash.clone().finalize().into()) != digest {
                let why = format!("blob {digest} of {} is not what was written", named_by.words());
                return Err(ReadError::Damaged(why).into());
            }
            let bytes = part.len() as u64;
            let record = Record::Blob(BlobPart { digest, at, data: part.into(), is_last });
            self.line(frozen.families(), &record)?;
            if is_last {
                return Ok(());
            }
            at += bytes;
            part = next;
        }
    }

    fn end(mut self) -> Result<Contents, BackupError> {
        let sha256 = Digest(self.hash.clone().finalize().into()).to_string();
        let end = End { family: END.to_owned(), version: 1, counts: self.contents.clone(), sha256 };
        serde_json::to_writer(&mut self.line, &end).map_err(io::Error::from)?;
        self.line.push(b'\n');
        self.put()?;
        self.out.flush()?;
        Ok(self.contents)
    }
}
