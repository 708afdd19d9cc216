//! Reading a backup, line by line, and seeing that it is what was written.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::packing::unpack;
use super::record::{BlobPart, END, Record, Unreadable};
use super::{BackupError, Contents, End, FORMAT, Header, Progress, VERSION};
use crate::domain::id::Digest;
use crate::stored::Registry;

/// No line is longer: a job of ten thousand runs stays below it.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// What a reader comes to.
#[derive(Debug)]
pub enum Item {
    /// A record of any family but blobs.
    Record(Record),
    /// A whole blob, whose bytes are those of its digest.
    Blob(Bytes),
}

/// Reads a backup.
pub struct Reader<'a> {
    families: &'a Registry,
    input: Box<dyn BufRead + Send + 'a>,
    header: Header,
    hash: Sha256,
    line: Vec<u8>,
    /// The number of the line that was read last.
    number: u64,
    contents: Contents,
    blob: Option<Assembled>,
    is_done: bool,
}

/// A blob of which some parts have been read.
struct Assembled {
    digest: Digest,
    bytes: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// Reads the first line of a backup, compressed in whatever way. Its rows are of these families.
    pub fn start(input: impl Read + Send + 'a, families: &'a Registry) -> Result<Self, BackupError> {
        let mut reader = Self {
            families,
            input: unpack(input)?,
            header: Header::default(),
            hash: Sha256::new(),
            line: Vec::new(),
            number: 0,
            contents: Contents::default(),
            blob: None,
            is_done: false,
        };
        let found = |line: &[u8]| String::from_utf8_lossy(line).trim().chars().take(80).collect::<String>();
        reader.next_line()?;
        match serde_json::from_slice::<FirstLine>(&reader.line) {
            Ok(first) if first.format == FORMAT && first.version > VERSION => {
                return Err(BackupError::Later { line: 1, what: format!("version {} of the format", first.version) });
            }
            Ok(first) if first.format == FORMAT => {
                let header = serde_json::from_slice(&reader.line);
                reader.header = header.map_err(|error| reader.damaged(error.to_string()))?;
            }
            _ => return Err(BackupError::Format { found: found(&reader.line) }),
        }
        reader.hash.update(&reader.line);
        Ok(reader)
    }

    /// The families of its rows.
    pub fn families(&self) -> &'a Registry {
        self.families
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What was read so far; all of it, and right, once the end was reached.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// An error at the present line.
    pub fn damaged(&self, why: impl Into<String>) -> BackupError {
        BackupError::Damaged { line: self.number, why: why.into() }
    }

    /// What comes next; none at the end of a backup that is whole.
    pub fn read_next(&mut self) -> Result<Option<Item>, BackupError> {
        while !self.is_done {
            self.next_line()?;
            if self.is_end() {
                self.check_end()?;
                continue;
            }
            self.hash.update(&self.line);
            let line = std::str::from_utf8(&self.line).map_err(|error| self.damaged(error.to_string()))?;
            let record = Record::read(line, self.families).map_err(|unreadable| match unreadable {
                Unreadable::Later(what) => BackupError::Later { line: self.number, what },
                Unreadable::Broken(why) => self.damaged(why),
            })?;
            self.contents.count(&record);
            match record {
                Record::Blob(part) => {
                    if let Some(blob) = self.assemble(part)? {
                        return Ok(Some(Item::Blob(blob)));
                    }
                }
                _ if self.blob.is_some() => return Err(self.damaged("the rest of a blob is missing")),
                record => return Ok(Some(Item::Record(record))),
            }
        }
        Ok(None)
    }

    /// Whether all of it is what was written, without a look at what it means. Tells `progress` how many jobs there were.
    pub fn check(mut self, progress: Progress<'_>) -> Result<(Header, Contents), BackupError> {
        const JOB: &[u8] = b"{\"family\":\"job\"";
        let mut jobs = 0;
        loop {
            self.next_line()?;
            if self.is_end() {
                let end = self.whole_end()?;
                return match end.counts.jobs == jobs {
                    true => Ok((self.header, end.counts)),
                    false => Err(self.damaged("there are not as many jobs as it says")),
                };
            }
            self.hash.update(&self.line);
            if self.line.starts_with(JOB) {
                jobs += 1;
                progress(jobs, self.header.jobs)?;
            }
        }
    }

    fn is_end(&self) -> bool {
        self.line.starts_with(format!("{{\"family\":\"{END}\"").as_bytes())
    }

    /// Reads a line with its line break.
    fn next_line(&mut self) -> Result<(), BackupError> {
        self.line.clear();
        self.number += 1;
        let read = (&mut self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line);
        match read {
            Ok(_) if self.line.ends_with(b"\n") => Ok(()),
            Ok(_) if self.line.len() as u64 >= LINE_BYTES_MAX => Err(self.damaged("the line is too long")),
            Ok(_) if self.number == 1 => Ok(()),
            Ok(_) => Err(self.damaged("it is cut off there")),
            // What undoes the compression has no number of the system.
            Err(error) if error.raw_os_error().is_none() => Err(self.damaged(unpacking(&error))),
            Err(error) => Err(error.into()),
        }
    }

    fn whole_end(&mut self) -> Result<End, BackupError> {
        let end: End = serde_json::from_slice(&self.line).map_err(|error| self.damaged(error.to_string()))?;
        if Digest(self.hash.clone().finalize().into()).to_string() != end.sha256 {
            return Err(self.damaged("what comes before it is not what was written"));
        }
        match self.input.fill_buf() {
            Ok([]) => Ok(end),
            Ok(_) => Err(self.damaged("there is something behind it")),
            Err(error) => Err(self.damaged(unpacking(&error))),
        }
    }

    fn check_end(&mut self) -> Result<(), BackupError> {
        let end = self.whole_end()?;
        if end.counts != self.contents || self.blob.is_some() {
            return Err(self.damaged("the counts of its end are others than those of its records"));
        }
        self.is_done = true;
        Ok(())
    }

    fn assemble(&mut self, part: BlobPart) -> Result<Option<Bytes>, BackupError> {
        let BlobPart { digest, at, data, is_last } = part;
        let mut blob = match self.blob.take() {
            Some(blob) if blob.digest == digest => blob,
            Some(_) => return Err(self.damaged("the rest of a blob is missing")),
            None => Assembled { digest, bytes: Vec::new() },
        };
        if blob.bytes.len() as u64 != at {
            return Err(self.damaged(format!("a part of blob {digest} is missing")));
        }
        blob.bytes.extend(data);
        if !is_last {
            self.blob = Some(blob);
            return Ok(None);
        }
        let bytes = Bytes::from(blob.bytes);
        match Digest::of(&bytes) == digest {
            true => Ok(Some(bytes)),
            false => Err(self.damaged(format!("the bytes of blob {digest} are others"))),
        }
    }
}

/// As much of a first line as every version has.
#[derive(serde::Deserialize)]
struct FirstLine {
    format: String,
    version: u32,
}

fn unpacking(error: &io::Error) -> String {
    format!("it cannot be uncompressed: {error}")
}
