//! One line of a backup: a record, as JSON.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::frozen::WholeJob;
use crate::domain::family::SharedRow;
use crate::domain::id::{Digest, HostId, Sequence};
use crate::domain::job::{Job, Payload};
use crate::stored::{Registry, Stored};

/// The version of the lines that are no stored values: jobs, blobs, numbers and the end.
const LINE_VERSION: u8 = 1;

const JOB: &str = "job";
const BLOB: &str = "blob";
const NUMBERS: &str = "numbers";
pub(super) const END: &str = "end";

/// What a line of a backup holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A part of a blob.
    Blob(BlobPart),
    /// A job with its closed runs. Its rows follow it.
    Job(Box<WholeJob>),
    /// A row of a family.
    Row(SharedRow),
    /// The last numbers that may have been given out.
    Numbers(Numbers),
}

/// A part of a blob; the parts of one follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobPart {
    /// Of which blob.
    pub digest: Digest,
    /// How many bytes come before it.
    pub at: u64,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Whether the blob ends with it.
    pub is_last: bool,
}

/// The last numbers that may have been given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Of jobs.
    pub sequence: Sequence,
    /// Of hosts.
    pub host: HostId,
}

/// The same as they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainNumbers {
    sequence: u64,
    host: u64,
}

/// Why a line is not a record that can be read here.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// A later release wrote it: what.
    Later(String),
    /// It is not what was written: why.
    Broken(String),
}

impl Record {
    /// The blobs that it names.
    pub(super) fn blobs(&self) -> Vec<Digest> {
        match self {
            Self::Row(row) => row.blobs().into_iter().map(|blob| blob.digest).collect(),
            Self::Job(whole) => {
                let WholeJob { job, earlier_runs, .. } = &**whole;
                let logs = earlier_runs.iter().filter_map(|run| run.log.as_ref());
                let payloads = [&job.submission.input].into_iter().chain(job.state.payloads()).chain(logs);
                payloads.filter_map(Payload::digest).collect()
            }
            Self::Blob(_) | Self::Numbers(_) => Vec::new(),
        }
    }

    /// What it is, for an error.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Row(row) => row.describe(),
            Self::Job(whole) => format!("job {}", whole.job.submission.id),
            Self::Blob(part) => format!("blob {}", part.digest),
            Self::Numbers(_) => NUMBERS.to_owned(),
        }
    }

    /// Appends its line, with the line break. Its row, if it is one, is of one of the `families`.
    pub(super) fn append(&self, families: &Registry, line: &mut Vec<u8>) {
        match self {
            Self::Blob(part) => part.append(line),
            Self::Job(whole) => append_job(whole, line),
            Self::Row(row) => {
                start(row.family().name, families.version(row.family()).unwrap_or_default(), line);
                line.extend(b",\"value\":");
                families.append_json(&**row, line);
                line.extend(b"}\n");
            }
            Self::Numbers(Numbers { sequence, host }) => {
                append_plain(NUMBERS, &PlainNumbers { sequence: sequence.0, host: host.0 }, line);
            }
        }
    }

    /// Reads a line.
    pub(super) fn read(line: &str, families: &Registry) -> Result<Self, Unreadable> {
        let read: Line<'_> = serde_json::from_str(line).map_err(|error| Unreadable::Broken(error.to_string()))?;
        Ok(match read.family {
            JOB => {
                read.check_version()?;
                Self::Job(Box::new(read.job()?))
            }
            BLOB => {
                read.check_version()?;
                Self::Blob(read.blob()?)
            }
            NUMBERS => {
                let PlainNumbers { sequence, host } = read.plain()?;
                Self::Numbers(Numbers { sequence: Sequence(sequence), host: HostId(host) })
            }
            name => Self::Row(read.row(name, families)?),
        })
    }
}

impl BlobPart {
    fn append(&self, line: &mut Vec<u8>) {
        let Self { digest, at, data, is_last } = self;
        start(BLOB, LINE_VERSION, line);
        line.extend(format!(",\"digest\":\"{digest}\",\"at\":{at},\"last\":{is_last},\"data\":\"").as_bytes());
        let from = line.len();
        // Base64 takes four bytes for three.
        line.resize(from + data.len().div_ceil(3) * 4, 0);
        let written = BASE64.encode_slice(data, &mut line[from..]).expect("there is room for it");
        line.truncate(from + written);
        line.extend(b"\"}\n");
    }
}

fn start(family: &str, version: u8, line: &mut Vec<u8>) {
    line.extend(b"{\"family\":\"");
    line.extend(family.as_bytes());
    line.extend(b"\",\"version\":");
    line.extend(version.to_string().as_bytes());
}

fn append_plain<T: Serialize>(family: &str, value: &T, line: &mut Vec<u8>) {
    start(family, LINE_VERSION, line);
    line.extend(b",\"value\":");
    serde_json::to_writer(&mut *line, value).expect("memory takes everything that serde can write");
    line.extend(b"}\n");
}

fn append_versioned<T: Stored>(value: &T, line: &mut Vec<u8>) {
    line.extend(b"{\"version\":");
    line.extend(T::VERSION.to_string().as_bytes());
    line.extend(b",\"value\":");
    value.append_json(line);
    line.push(b'}');
}

fn append_list<T: Stored>(name: &str, values: &[T], line: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    line.extend(format!(",\"{name}\":[").as_bytes());
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        append_versioned(value, line);
    }
    line.push(b']');
}

fn append_job(whole: &WholeJob, line: &mut Vec<u8>) {
    start(JOB, LINE_VERSION, line);
    line.extend(b",\"submission\":");
    append_versioned(&*whole.job.submission, line);
    line.extend(b",\"state\":");
    append_versioned(&whole.job.state, line);
    append_list("earlier_runs", &whole.earlier_runs, line);
    line.extend(b"}\n");
}

/// Every field that a line may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    family: &'a str,
    version: u8,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    submission: Option<Versioned<'a>>,
    #[serde(borrow, default)]
    state: Option<Versioned<'a>>,
    #[serde(borrow, default)]
    earlier_runs: Vec<Versioned<'a>>,
    #[serde(default)]
    digest: Option<&'a str>,
    #[serde(default)]
    at: Option<u64>,
    #[serde(default)]
    last: Option<bool>,
    #[serde(default)]
    data: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Versioned<'a> {
    version: u8,
    #[serde(borrow)]
    value: &'a RawValue,
}

impl<'a> Line<'a> {
    fn check_version(&self) -> Result<(), Unreadable> {
        match self.version {
            1..=LINE_VERSION => Ok(()),
            0 => Err(Unreadable::Broken("there is no version 0".to_owned())),
            later => Err(Unreadable::Later(format!("version {later} of `{}`", self.family))),
        }
    }

    fn value(&self) -> Result<&'a RawValue, Unreadable> {
        self.value.ok_or_else(|| missing("value"))
    }

    fn plain<T: Deserialize<'a>>(&self) -> Result<T, Unreadable> {
        self.check_version()?;
        serde_json::from_str(self.value()?.get()).map_err(|error| Unreadable::Broken(error.to_string()))
    }

    fn row(&self, name: &str, families: &Registry) -> Result<SharedRow, Unreadable> {
        let later = || Unreadable::Later(format!("records of the family `{name}`"));
        let family = families.named(name).ok_or_else(later)?;
        if families.version(family).is_none_or(|known| self.version > known) {
            return Err(Unreadable::Later(format!("version {} of `{name}`", self.version)));
        }
        let row = families.of_json(family, self.version, self.value()?.get());
        row.map_err(|error| Unreadable::Broken(error.to_string()))
    }

    fn job(self) -> Result<WholeJob, Unreadable> {
        let submission = self.submission.ok_or_else(|| missing("submission"))?.read()?;
        let state = self.state.ok_or_else(|| missing("state"))?.read()?;
        Ok(WholeJob {
            job: Job { submission: Arc::new(submission), state },
            earlier_runs: self.earlier_runs.iter().map(Versioned::read).collect::<Result<_, _>>()?,
            rows: Vec::new(),
        })
    }

    fn blob(self) -> Result<BlobPart, Unreadable> {
        let digest = self.digest.ok_or_else(|| missing("digest"))?;
        let digest = Digest::of_hex(digest).ok_or_else(|| Unreadable::Broken("the digest is not one".to_owned()))?;
        let data = BASE64.decode(self.data.ok_or_else(|| missing("data"))?);
        Ok(BlobPart {
            digest,
            at: self.at.ok_or_else(|| missing("at"))?,
            data: data.map_err(|error| Unreadable::Broken(error.to_string()))?,
            is_last: self.last.ok_or_else(|| missing("last"))?,
        })
    }
}

impl Versioned<'_> {
    fn read<T: Stored>(&self) -> Result<T, Unreadable> {
        if self.version > T::VERSION {
            return Err(Unreadable::Later(format!("version {} of `{}`", self.version, T::NAME)));
        }
        T::of_json(self.version, self.value.get()).map_err(|error| Unreadable::Broken(error.to_string()))
    }
}

fn missing(field: &str) -> Unreadable {
    Unreadable::Broken(format!("the field `{field}` is missing"))
}
