//! How values lie in the journal and in the index: each with its family and version, those of neighbours packed behind one.
//!
//! The fields of values are the business of [`crate::stored`]. What was written in an earlier version is carried up where it is
//! read from the disk, once and whole, so that everything behind that meets fields of today's version only.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::domain::change::Change;
use crate::domain::family::{RowKey, SharedRow};
use crate::domain::id::{HostId, JobKey, Sequence, TenantId};
use crate::domain::job::{JobState, Run, Submission};
use crate::stored::Registry;
pub(super) use crate::stored::{Malformed, Stored, decode, encode};

/// The bytes of a value's family and version.
pub(super) const HEAD: usize = 2;

/// A value of fields that are encoded already, as today's version has them.
pub(super) fn value_of<T: Stored>(fields: &[u8]) -> Vec<u8> {
    [&[T::FAMILY, T::VERSION], fields].concat()
}

/// The version of a value of the family of `T`, and what comes behind it.
fn opened<T: Stored>(value: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    match value {
        [family, version, rest @ ..] if *family == T::FAMILY => Ok((*version, rest)),
        [family, _, ..] => Err(Malformed::new(T::NAME, format!("family {family} is another kind of value"))),
        _ => Err(Malformed::new(T::NAME, "it is cut off")),
    }
}

/// What comes behind the head of a value that was carried up.
fn of_today<T: Stored>(value: &[u8]) -> Result<&[u8], Malformed> {
    match opened::<T>(value)? {
        (version, rest) if version == T::VERSION => Ok(rest),
        (version, _) => Err(Malformed::new(T::NAME, format!("version {version} was not carried up"))),
    }
}

/// Fields of an earlier version as today's has them.
fn carried_up<T: Stored>(version: u8, fields: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut today = Vec::with_capacity(fields.len() + 64);
    T::read_fields(version, fields)?.append_fields(&mut today);
    Ok(today)
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
    /// The fields of a submission, or a row with its family and version.
    pub(super) submission: Range<usize>,
    /// The fields of a job state; empty for a job as new as can be that waits for no other.
    pub(super) state: Range<usize>,
    /// The fields of an earlier run; empty when there is none.
    pub(super) run: Range<usize>,
    /// How many bytes the fields of the state had when they were written, by which the index was told where it goes.
    pub(super) state_bytes: usize,
}

/// The records of a frame.
#[derive(Debug)]
pub(super) struct Records<'a> {
    /// What the parts lie in: the payload of the frame, or the same as today's version writes it.
    pub(super) payload: Cow<'a, [u8]>,
    /// The records with their parts.
    pub(super) all: Vec<(Record, Parts)>,
}

const SUBMIT: u8 = 1;
const ADVANCE: u8 = 2;
const DELETE: u8 = 3;
const START_HOST: u8 = 4;
const SEQUENCE: u8 = 5;
const HOST: u8 = 6;
const PUT: u8 = 7;
const REMOVE: u8 = 8;
const LOAD: u8 = 9;

fn append_sized(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    let at = buffer.len();
    buffer.extend([0; 4]);
    write(buffer);
    let fields = at + 4..buffer.len();
    let length = u32::try_from(fields.len()).expect("a change is far smaller than 4 GiB");
    buffer[at..at + 4].copy_from_slice(&length.to_le_bytes());
    fields
}

/// Appends a value, and says where its fields are.
fn append_value<T: Stored>(buffer: &mut Vec<u8>, value: &T) -> Range<usize> {
    let whole = append_sized(buffer, |buffer| {
        buffer.extend([T::FAMILY, T::VERSION]);
        value.append_fields(buffer);
    });
    whole.start + HEAD..whole.end
}

/// Appends that there is no value.
fn append_nothing(buffer: &mut Vec<u8>) -> Range<usize> {
    append_sized(buffer, |_| {});
    0..0
}

fn append_job(buffer: &mut Vec<u8>, job: JobKey, expected: u32) {
    buffer.extend(job.tenant.0.to_le_bytes());
    buffer.extend(job.sequence.0.to_le_bytes());
    buffer.extend(expected.to_le_bytes());
}

fn append_row(buffer: &mut Vec<u8>, kind: u8, row: &SharedRow, families: &Registry) -> Parts {
    buffer.push(kind);
    let row = append_sized(buffer, |buffer| families.append(&**row, buffer));
    Parts { submission: row, ..Parts::default() }
}

/// Appends a change to the payload of a frame. Its row, if it has one, is of one of the `families`.
pub(super) fn append_change(buffer: &mut Vec<u8>, change: &Change, families: &Registry) -> Parts {
    match change {
        Change::Submit(submission, state) => {
            buffer.push(SUBMIT);
            let fields = append_value(buffer, &**submission);
            let is_fresh = **state == JobState::default();
            let state = match is_fresh && !submission.ties().is_ordered() && submission.expires_on.is_none() {
                true => append_nothing(buffer),
                false => append_value(buffer, &**state),
            };
            Parts { submission: fields, state_bytes: state.len(), state, run: 0..0 }
        }
        Change::Advance { job, expected, next, earlier_run } => {
            buffer.push(ADVANCE);
            append_job(buffer, *job, *expected);
            let state = append_value(buffer, &**next);
            let run = match earlier_run {
                Some(run) => append_value(buffer, run),
                None => append_nothing(buffer),
            };
            Parts { submission: 0..0, state_bytes: state.len(), state, run }
        }
        Change::Delete { job, expected } => {
            buffer.push(DELETE);
            append_job(buffer, *job, *expected);
            Parts::default()
        }
        Change::Put(row) => append_row(buffer, PUT, row, families),
        Change::Load(row) => append_row(buffer, LOAD, row, families),
        Change::Remove { family, key, expected } => {
            buffer.extend([REMOVE, family.number]);
            append_sized(buffer, |buffer| buffer.extend(key.as_bytes()));
            buffer.extend(expected.to_le_bytes());
            Parts::default()
        }
        Change::StartHost(host) => {
            buffer.push(START_HOST);
            buffer.extend(host.0.to_le_bytes());
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

/// Reads the payload of a frame. Where something in it is of an earlier version, the whole of it is carried up.
pub(super) fn read_records<'a>(payload: &'a [u8], families: &Registry) -> Result<Records<'a>, Malformed> {
    let mut reader = Reader { bytes: payload, at: 0, is_of_today: true, families };
    let mut all = Vec::new();
    while reader.at < payload.len() {
        all.push(reader.record()?);
    }
    match reader.is_of_today {
        true => Ok(Records { payload: Cow::Borrowed(payload), all }),
        false => Ok(written_again(all, families)),
    }
}

/// Records as today's versions write them. Their states are still as long as they were for those who ask where they went.
fn written_again(records: Vec<(Record, Parts)>, families: &Registry) -> Records<'static> {
    let mut payload = Vec::new();
    let mut again = |(record, was): (Record, Parts)| {
        let parts = match &record {
            Record::Change(change) => append_change(&mut payload, change, families),
            Record::Sequence(up_to) => {
                append_sequence(&mut payload, *up_to);
                Parts::default()
            }
            Record::Host(host) => {
                append_host(&mut payload, *host);
                Parts::default()
            }
        };
        (record, Parts { state_bytes: was.state_bytes, ..parts })
    };
    let all = records.into_iter().map(&mut again).collect();
    Records { payload: Cow::Owned(payload), all }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    is_of_today: bool,
    families: &'a Registry,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<Range<usize>, Malformed> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(cut_off)?;
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let range = self.take(N)?;
        self.bytes[range].try_into().map_err(|_| cut_off())
    }

    fn sized(&mut self) -> Result<Range<usize>, Malformed> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// A value, and where its fields are; none where nothing is written.
    fn value<T: Stored>(&mut self) -> Result<Option<(T, Range<usize>)>, Malformed> {
        let whole = self.sized()?;
        if whole.is_empty() {
            return Ok(None);
        }
        let (version, fields) = opened::<T>(&self.bytes[whole.clone()])?;
        self.is_of_today &= version == T::VERSION;
        Ok(Some((T::read_fields(version, fields)?, whole.start + HEAD..whole.end)))
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
            PUT => return self.row(Change::Put),
            LOAD => return self.row(Change::Load),
            REMOVE => self.removal()?,
            START_HOST => Record::Change(Change::StartHost(HostId(u64::from_le_bytes(self.array()?)))),
            SEQUENCE => Record::Sequence(u64::from_le_bytes(self.array()?)),
            HOST => Record::Host(u64::from_le_bytes(self.array()?)),
            other => return Err(Malformed::new("a journal record", format!("kind {other} is not known here"))),
        };
        Ok((record, Parts::default()))
    }

    /// A row says its version wherever it lies, so one of an earlier version need not be carried up.
    fn row(&mut self, change: fn(SharedRow) -> Change) -> Result<(Record, Parts), Malformed> {
        let value = self.sized()?;
        let row = self.families.decode(&self.bytes[value.clone()])?;
        Ok((Record::Change(change(row)), Parts { submission: value, ..Parts::default() }))
    }

    fn removal(&mut self) -> Result<Record, Malformed> {
        let [number] = self.array()?;
        let strange = || Malformed::new("a journal record", format!("family {number} is not known here"));
        let family = self.families.family(number).ok_or_else(strange)?;
        let key = self.sized()?;
        let key = RowKey::stored(&self.bytes[key]);
        Ok(Record::Change(Change::Remove { family, key, expected: u32::from_le_bytes(self.array()?) }))
    }

    fn submit(&mut self) -> Result<(Record, Parts), Malformed> {
        let (submission, fields) = self.value::<Submission>()?.ok_or_else(cut_off)?;
        let (state, state_fields) = self.value::<JobState>()?.unwrap_or_default();
        let parts = Parts { submission: fields, state_bytes: state_fields.len(), state: state_fields, run: 0..0 };
        Ok((Record::Change(Change::Submit(Arc::new(submission), Box::new(state))), parts))
    }

    fn advance(&mut self) -> Result<(Record, Parts), Malformed> {
        let (job, expected) = self.job()?;
        let (next, state) = self.value::<JobState>()?.ok_or_else(cut_off)?;
        let (earlier_run, run) = self.value::<Run>()?.map_or((None, 0..0), |(run, fields)| (Some(run), fields));
        let change = Change::Advance { job, expected, next: Box::new(next), earlier_run };
        Ok((Record::Change(change), Parts { submission: 0..0, state_bytes: state.len(), state, run }))
    }
}

fn cut_off() -> Malformed {
    Malformed::new("a journal record", "it is cut off")
}

/// Reads the fields of a submission, of today's version.
pub(super) fn read_submission(fields: &[u8]) -> Result<Submission, Malformed> {
    Submission::read_fields(Submission::VERSION, fields)
}

/// Reads the fields of a job state, of today's version; no fields are a job as new as can be.
pub(super) fn read_state(fields: &[u8]) -> Result<JobState, Malformed> {
    match fields {
        [] => Ok(JobState::default()),
        fields => JobState::read_fields(JobState::VERSION, fields),
    }
}

/// The jobs of a block of submissions, and whether they all were new when it was written.
pub(super) mod block {
    use super::{Malformed, Stored, Submission, carried_up, of_today, opened};

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
        value.extend([Submission::FAMILY, Submission::VERSION, kind as u8]);
        value
    }

    /// A block as today's version writes it.
    pub(in crate::store::sled) fn of_any_version(value: Vec<u8>) -> Result<Vec<u8>, Malformed> {
        of_any_version_of::<Submission>(value)
    }

    pub(super) fn of_any_version_of<T: Stored>(value: Vec<u8>) -> Result<Vec<u8>, Malformed> {
        let (version, rest) = opened::<T>(&value)?;
        if version == T::VERSION {
            return Ok(value);
        }
        let mut today = vec![T::FAMILY, T::VERSION];
        today.extend(rest.first());
        for fields in entries(rest.get(1..).unwrap_or_default())? {
            match fields {
                [] => push(&mut today, &[]),
                fields => push(&mut today, &carried_up::<T>(version, fields)?),
            }
        }
        Ok(today)
    }

    /// Appends the fields of the next submission; none stand for a job that is gone.
    pub(in crate::store::sled) fn push(value: &mut Vec<u8>, fields: &[u8]) {
        let length = u32::try_from(fields.len()).expect("a submission is far smaller than 4 GiB");
        value.extend(length.to_le_bytes());
        value.extend(fields);
    }

    /// The fields of each submission of a block, in order.
    pub(in crate::store::sled) fn read(value: &[u8]) -> Result<(Kind, Vec<&[u8]>), Malformed> {
        match of_today::<Submission>(value)?.split_first() {
            Some((0, rest)) => Ok((Kind::Other, entries(rest)?)),
            Some((1, rest)) => Ok((Kind::Fresh, entries(rest)?)),
            _ => Err(Malformed::new(WHAT, "its kind is not known here")),
        }
    }

    const WHAT: &str = "a block of submissions";

    fn entries(mut rest: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
        let mut entries = Vec::with_capacity(16);
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let (fields, tail) = tail.split_at_checked(length).ok_or_else(|| Malformed::new(WHAT, "it is cut off"))?;
            entries.push(fields);
            rest = tail;
        }
        match rest {
            [] => Ok(entries),
            _ => Err(Malformed::new(WHAT, "it is cut off")),
        }
    }
}

/// The outcomes of neighbouring jobs in one value. Adding one is an append.
pub(super) mod bucket {
    use super::{JobState, Malformed, Stored, carried_up, of_today, opened};

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
        value.extend([JobState::FAMILY, JobState::VERSION]);
        value
    }

    /// A bucket as today's version writes it: only such a one is added to.
    pub(in crate::store::sled) fn of_any_version(value: Vec<u8>) -> Result<Vec<u8>, Malformed> {
        of_any_version_of::<JobState>(value)
    }

    pub(super) fn of_any_version_of<T: Stored>(value: Vec<u8>) -> Result<Vec<u8>, Malformed> {
        let (version, rest) = opened::<T>(&value)?;
        if version == T::VERSION {
            return Ok(value);
        }
        let mut today = vec![T::FAMILY, T::VERSION];
        for (offset, entry) in entries(rest)? {
            match entry {
                Entry::Ended(fields) => push(&mut today, offset, Entry::Ended(&carried_up::<T>(version, fields)?)),
                entry => push(&mut today, offset, entry),
            }
        }
        Ok(today)
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
        entries(of_today::<JobState>(value)?)
    }

    const WHAT: &str = "a bucket of outcomes";

    fn entries(mut rest: &[u8]) -> Result<Vec<(u8, Entry<'_>)>, Malformed> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::grown::{Note, carried_up, old_bytes};
    use crate::stored::samples;

    /// What a value of an earlier version packs, and what today's does.
    fn packed() -> (Vec<u8>, Vec<u8>) {
        (old_bytes().split_off(HEAD), encode(&carried_up()).split_off(HEAD))
    }

    #[test]
    fn a_block_of_an_earlier_version_is_carried_up_whole() {
        let (old, today) = packed();
        let block = |version: u8, fields: &[u8]| {
            let mut value = vec![Note::FAMILY, version, 1];
            [fields, &[], fields].into_iter().for_each(|fields| block::push(&mut value, fields));
            value
        };
        assert_eq!(block::of_any_version_of::<Note>(block(1, &old)), Ok(block(2, &today)));
        assert_eq!(block::of_any_version_of::<Note>(block(2, &today)), Ok(block(2, &today)));
        let later = block::of_any_version_of::<Note>(block(3, &today)).expect_err("nobody knows it");
        assert!(later.to_string().contains("written by a later release"), "{later}");
        assert!(block::of_any_version_of::<Note>(encode(&samples::run())).is_err(), "another family");
        assert!(block::of_any_version_of::<Note>(vec![Note::FAMILY]).is_err(), "cut off");
        assert!(block::read(&[Submission::FAMILY, Submission::VERSION + 1, 0]).is_err(), "not carried up");
    }

    #[test]
    fn a_bucket_of_an_earlier_version_is_carried_up_before_it_is_added_to() {
        let (old, today) = packed();
        let bucket = |version: u8, fields: &[u8]| {
            let mut value = vec![Note::FAMILY, version];
            bucket::push(&mut value, 1, bucket::Entry::Ended(fields));
            bucket::push(&mut value, 2, bucket::Entry::Gone);
            bucket::push(&mut value, 3, bucket::Entry::Elsewhere);
            value
        };
        assert_eq!(bucket::of_any_version_of::<Note>(bucket(1, &old)), Ok(bucket(2, &today)));
        assert_eq!(bucket::of_any_version_of::<Note>(bucket(2, &today)), Ok(bucket(2, &today)));
        assert!(bucket::of_any_version_of::<Note>(bucket(3, &today)).is_err());
        assert!(bucket::read(&[JobState::FAMILY, JobState::VERSION + 1]).is_err(), "not carried up");
    }

    #[test]
    fn a_frame_that_is_written_again_says_the_same_with_parts_of_its_own() {
        let job = JobKey { tenant: TenantId(3), sequence: Sequence(12) };
        let next = Box::new(samples::state());
        let changes = [
            Change::Submit(samples::submission(12).into(), Box::default()),
            Change::Submit(samples::submission(13).into(), next.clone()),
            Change::Advance { job, expected: 300, next: next.clone(), earlier_run: Some(samples::run()) },
            Change::Advance { job, expected: 301, next, earlier_run: None },
            Change::put(samples::plugin()),
            Change::remove(&samples::plugin()),
            Change::Load(Arc::new(samples::audit_row())),
            Change::Delete { job, expected: 302 },
        ];
        let families = Registry::standard();
        let mut payload = Vec::new();
        let parts: Vec<_> = changes.iter().map(|change| append_change(&mut payload, change, &families)).collect();
        append_sequence(&mut payload, 7);
        append_host(&mut payload, 8);
        let read = read_records(&payload, &families).expect("it can be read");
        assert!(matches!(read.payload, Cow::Borrowed(_)), "today's is read where it lies");
        let as_written: Vec<_> = read.all.iter().take(changes.len()).map(|(_, parts)| parts.clone()).collect();
        assert_eq!(as_written, parts);
        let mut was = read.all.clone();
        was[2].1.state_bytes = 5_000;
        let again = written_again(was.clone(), &families);
        assert_eq!((&*again.payload, &again.all), (&*payload, &was), "and a state goes where it went");
    }

    #[test]
    fn a_record_that_is_cut_off_or_of_a_later_release_is_refused() {
        let families = Registry::standard();
        let mut payload = Vec::new();
        let submit = Change::Submit(samples::submission(12).into(), samples::state().into());
        append_change(&mut payload, &submit, &families);
        for end in 1..payload.len() {
            assert!(read_records(&payload[..end], &families).is_err(), "{end}");
        }
        // Behind the kind and the length: the family, and the version.
        payload[6] = Submission::VERSION + 1;
        let later = read_records(&payload, &families).expect_err("nobody knows it");
        assert!(later.to_string().contains("written by a later release"), "{later}");
    }
}
