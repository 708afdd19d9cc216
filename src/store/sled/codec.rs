//! How values are written: a version byte, then the fields. What is stored here is read by every later version.

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::change::Change;
use crate::domain::id::{JobKey, Sequence, TenantId};
use crate::domain::job::{JobState, Run, Submission};

/// The format that this version writes.
pub(super) const FORMAT: u8 = 5;

/// Something stored is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub(super) struct Malformed {
    what: &'static str,
    why: String,
}

impl Malformed {
    pub(super) fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, why: why.into() }
    }
}

/// Appends the fields of `value`.
fn append<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) {
    let taken = std::mem::take(buffer);
    *buffer = postcard::to_extend(value, taken).expect("memory takes everything that serde can write");
}

/// Reads fields that fill all of `bytes`.
fn read<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Malformed::new(what, format!("{} bytes too many", rest.len()))),
        Err(error) => Err(Malformed::new(what, error.to_string())),
    }
}

/// A value with its version byte.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut buffer = vec![FORMAT];
    append(&mut buffer, value);
    buffer
}

/// Fields that are encoded already, with their version byte.
pub(super) fn versioned(fields: &[u8]) -> Vec<u8> {
    [&[FORMAT], fields].concat()
}

/// Reads a value with its version byte.
pub(super) fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Malformed> {
    read(what, checked(what, bytes)?)
}

fn checked<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
    match bytes.split_first() {
        Some((&FORMAT, fields)) => Ok(fields),
        Some((version, _)) => Err(Malformed::new(what, format!("format {version} is not known here"))),
        None => Err(Malformed::new(what, "it is empty")),
    }
}

/// One record of a journal frame.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, while the journal is replayed")]
pub(super) enum Record {
    /// A change of a commit.
    Change(Change),
    /// Sequences up to this one may have been given out.
    Sequence(u64),
    /// Host numbers up to this one have been given out.
    Host(u64),
}

/// Where in a frame the parts of a change lie that the index stores as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// The fields of a submission; of a remembered submit or a plug-in nothing.
    pub(super) submission: Range<usize>,
    /// The fields of a job state; empty for a job as new as can be that waits for no other.
    pub(super) state: Range<usize>,
    /// The fields of an earlier run; empty when there is none.
    pub(super) run: Range<usize>,
}

const SUBMIT: u8 = 1;
const ADVANCE: u8 = 2;
const DELETE: u8 = 3;
const OTHER: u8 = 4;
const SEQUENCE: u8 = 5;
const HOST: u8 = 6;

fn append_sized(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    let at = buffer.len();
    buffer.extend([0; 4]);
    write(buffer);
    let fields = at + 4..buffer.len();
    let length = u32::try_from(fields.len()).expect("a change is far smaller than 4 GiB");
    buffer[at..at + 4].copy_from_slice(&length.to_le_bytes());
    fields
}

fn append_job(buffer: &mut Vec<u8>, job: JobKey, expected: u32) {
    buffer.extend(job.tenant.0.to_le_bytes());
    buffer.extend(job.sequence.0.to_le_bytes());
    buffer.extend(expected.to_le_bytes());
}

/// Appends a change to the payload of a frame.
pub(super) fn append_change(buffer: &mut Vec<u8>, change: &Change) -> Parts {
    match change {
        Change::Submit(submission, state) => {
            buffer.push(SUBMIT);
            let fields = append_sized(buffer, |buffer| append(buffer, &**submission));
            let state = append_sized(buffer, |buffer| {
                let is_fresh = **state == JobState::default();
                if !is_fresh || submission.ties().is_ordered() || submission.expires_on.is_some() {
                    append(buffer, state);
                }
            });
            Parts { submission: fields, state, run: 0..0 }
        }
        Change::Advance { job, expected, next, earlier_run } => {
            buffer.push(ADVANCE);
            append_job(buffer, *job, *expected);
            let state = append_sized(buffer, |buffer| append(buffer, next));
            let run = append_sized(buffer, |buffer| {
                if let Some(run) = earlier_run {
                    append(buffer, run);
                }
            });
            Parts { submission: 0..0, state, run }
        }
        Change::Delete { job, expected } => {
            buffer.push(DELETE);
            append_job(buffer, *job, *expected);
            Parts::default()
        }
        Change::Remember(_)
        | Change::Audit(_)
        | Change::PutSchedule(_)
        | Change::RemoveSchedule { .. }
        | Change::PutQueue(_)
        | Change::PutPlugin(_)
        | Change::RemovePlugin { .. }
        | Change::PutService(_)
        | Change::StartHost(_)
        | Change::PutBreaker(_)
        | Change::PutToken(_)
        | Change::RemoveToken { .. }
        | Change::NoteBroken { .. } => {
            buffer.push(OTHER);
            append_sized(buffer, |buffer| append(buffer, change));
            Parts::default()
        }
    }
}

/// Appends a raised sequence mark to the payload of a frame.
pub(super) fn append_sequence(buffer: &mut Vec<u8>, up_to: u64) {
    buffer.push(SEQUENCE);
    buffer.extend(up_to.to_le_bytes());
}

/// Appends a raised host number to the payload of a frame.
pub(super) fn append_host(buffer: &mut Vec<u8>, host: u64) {
    buffer.push(HOST);
    buffer.extend(host.to_le_bytes());
}

/// Reads the payload of a frame.
pub(super) fn read_records(payload: &[u8]) -> Result<Vec<(Record, Parts)>, Malformed> {
    let mut reader = Reader { bytes: payload, at: 0 };
    let mut records = Vec::new();
    while reader.at < payload.len() {
        records.push(reader.record()?);
    }
    Ok(records)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<Range<usize>, Malformed> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| Malformed::new("a journal record", "it is cut off"))?;
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let range = self.take(N)?;
        self.bytes[range].try_into().map_err(|_| Malformed::new("a journal record", "it is cut off"))
    }

    fn sized(&mut self) -> Result<Range<usize>, Malformed> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn job(&mut self) -> Result<(JobKey, u32), Malformed> {
        let tenant = TenantId(u32::from_le_bytes(self.array()?));
        let sequence = Sequence(u64::from_le_bytes(self.array()?));
        Ok((JobKey { tenant, sequence }, u32::from_le_bytes(self.array()?)))
    }

    fn record(&mut self) -> Result<(Record, Parts), Malformed> {
        let [tag] = self.array()?;
        let record = match tag {
            SUBMIT => return self.submit(),
            ADVANCE => return self.advance(),
            DELETE => {
                let (job, expected) = self.job()?;
                Record::Change(Change::Delete { job, expected })
            }
            OTHER => {
                let fields = self.sized()?;
                Record::Change(read("a change", &self.bytes[fields])?)
            }
            SEQUENCE => Record::Sequence(u64::from_le_bytes(self.array()?)),
            HOST => Record::Host(u64::from_le_bytes(self.array()?)),
            other => return Err(Malformed::new("a journal record", format!("kind {other} is not known here"))),
        };
        Ok((record, Parts::default()))
    }

    fn submit(&mut self) -> Result<(Record, Parts), Malformed> {
        let submission = self.sized()?;
        let state = self.sized()?;
        let what: Submission = read_submission(&self.bytes[submission.clone()])?;
        let change = Change::Submit(Arc::new(what), Box::new(read_state(&self.bytes[state.clone()])?));
        Ok((Record::Change(change), Parts { submission, state, run: 0..0 }))
    }

    fn advance(&mut self) -> Result<(Record, Parts), Malformed> {
        let (job, expected) = self.job()?;
        let state = self.sized()?;
        let run = self.sized()?;
        let next = Box::new(read_state(&self.bytes[state.clone()])?);
        let earlier_run: Option<Run> = match run.is_empty() {
            true => None,
            false => Some(read("a run", &self.bytes[run.clone()])?),
        };
        let change = Change::Advance { job, expected, next, earlier_run };
        Ok((Record::Change(change), Parts { submission: 0..0, state, run }))
    }
}

/// Reads the fields of a submission.
pub(super) fn read_submission(fields: &[u8]) -> Result<Submission, Malformed> {
    read("a submission", fields)
}

/// Reads the fields of a job state; no fields are a job as new as can be.
pub(super) fn read_state(fields: &[u8]) -> Result<JobState, Malformed> {
    match fields {
        [] => Ok(JobState::default()),
        fields => read("a job state", fields),
    }
}

/// The jobs of a block of submissions, and whether they all were new when it was written.
pub(super) mod block {
    use super::{FORMAT, Malformed, checked};

    /// Whether the jobs of a block were new, and therefore ready, when it was written.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::store::sled) enum Kind {
        /// They had a state of their own.
        Other = 0,
        /// They were ready.
        Fresh = 1,
    }

    /// Starts a block.
    pub(in crate::store::sled) fn start(kind: Kind) -> Vec<u8> {
        let mut value = Vec::with_capacity(2048);
        value.extend([FORMAT, kind as u8]);
        value
    }

    /// Appends the fields of the next submission; none stand for a job that is gone.
    pub(in crate::store::sled) fn push(value: &mut Vec<u8>, fields: &[u8]) {
        let length = u32::try_from(fields.len()).expect("a submission is far smaller than 4 GiB");
        value.extend(length.to_le_bytes());
        value.extend(fields);
    }

    /// The fields of each submission of a block, in order.
    pub(in crate::store::sled) fn read(value: &[u8]) -> Result<(Kind, Vec<&[u8]>), Malformed> {
        const WHAT: &str = "a block of submissions";
        let (kind, mut rest) = match checked(WHAT, value)?.split_first() {
            Some((0, rest)) => (Kind::Other, rest),
            Some((1, rest)) => (Kind::Fresh, rest),
            _ => return Err(Malformed::new(WHAT, "its kind is not known here")),
        };
        let mut entries = Vec::with_capacity(16);
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let (fields, tail) = tail.split_at_checked(length).ok_or_else(|| Malformed::new(WHAT, "it is cut off"))?;
            entries.push(fields);
            rest = tail;
        }
        match rest {
            [] => Ok((kind, entries)),
            _ => Err(Malformed::new(WHAT, "it is cut off")),
        }
    }
}

/// The outcomes of neighbouring jobs in one value. Adding one is an append.
pub(super) mod bucket {
    use super::{FORMAT, Malformed, checked};

    /// What a bucket says of a job.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::store::sled) enum Entry<'a> {
        /// The job was deleted.
        Gone,
        /// The fields of its last state.
        Ended(&'a [u8]),
        /// It has ended; its state is large and has a key of its own.
        Elsewhere,
    }

    /// An empty bucket.
    pub(in crate::store::sled) fn start() -> Vec<u8> {
        let mut value = Vec::with_capacity(2048);
        value.push(FORMAT);
        value
    }

    /// Appends what is to be said of the job at `offset`.
    pub(in crate::store::sled) fn push(value: &mut Vec<u8>, offset: u8, entry: Entry<'_>) {
        let (kind, fields): (u8, &[u8]) = match entry {
            Entry::Gone => (0, &[]),
            Entry::Ended(fields) => (1, fields),
            Entry::Elsewhere => (2, &[]),
        };
        let length = u16::try_from(fields.len()).expect("large states are kept elsewhere");
        value.extend([offset, kind]);
        value.extend(length.to_le_bytes());
        value.extend(fields);
    }

    /// What a bucket says, in the order in which it was said; of one job the last counts.
    pub(in crate::store::sled) fn read(value: &[u8]) -> Result<Vec<(u8, Entry<'_>)>, Malformed> {
        const WHAT: &str = "a bucket of outcomes";
        let mut rest = checked(WHAT, value)?;
        let mut entries = Vec::with_capacity(16);
        while let Some(([offset, kind, low, high], tail)) = rest.split_first_chunk::<4>() {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            let (fields, tail) = tail.split_at_checked(length).ok_or_else(|| Malformed::new(WHAT, "it is cut off"))?;
            let entry = match kind {
                0 => Entry::Gone,
                1 => Entry::Ended(fields),
                2 => Entry::Elsewhere,
                other => return Err(Malformed::new(WHAT, format!("entry kind {other} is not known here"))),
            };
            entries.push((*offset, entry));
            rest = tail;
        }
        match rest {
            [] => Ok(entries),
            _ => Err(Malformed::new(WHAT, "it is cut off")),
        }
    }

    /// What a bucket says of the job at `offset`.
    pub(in crate::store::sled) fn find(value: &[u8], offset: u8) -> Result<Option<Entry<'_>>, Malformed> {
        let entries = read(value)?;
        Ok(entries.into_iter().rev().find(|(at, _)| *at == offset).map(|(_, entry)| entry))
    }
}
