//! The keys of the index: a byte for the keyspace, then big-endian numbers, so that the order of keys is the order of work.

use crate::domain::id::{Digest, JobKey, PluginName, QueueName, Sequence, TenantId};
use crate::domain::job::Status;
use crate::domain::time::Timestamp;

/// Blocks of submissions: tenant, first sequence.
pub(super) const BLOCK: u8 = b'S';
/// Jobs of status 0 in the order in which they start: queue, priority from high to low, sequence, tenant, kind.
pub(super) const READY: u8 = b'Q';
/// States of jobs that wait, or whose state is large: tenant, sequence.
pub(super) const STATE: u8 = b'T';
/// When waits end: time, tenant, sequence.
pub(super) const TIMER: u8 = b'W';
/// Jobs by the statuses that lists ask for: tenant, status, sequence.
pub(super) const LISTED: u8 = b'X';
/// Outcomes of neighbouring jobs: tenant, sequence divided by [`BUCKET_JOBS`].
pub(super) const OUTCOME: u8 = b'O';
/// Runs before the last one: tenant, sequence, number.
pub(super) const RUN: u8 = b'A';
/// Remembered submits: tenant, key.
pub(super) const REMEMBERED: u8 = b'I';
/// When remembered submits are forgotten: time, tenant, key.
pub(super) const FORGET: u8 = b'J';
/// Plug-ins: tenant, name.
pub(super) const PLUGIN: u8 = b'P';
/// Counts: tenant, plug-in.
pub(super) const COUNTS: u8 = b'C';
/// Locked jobs as of the last checkpoint: tenant, sequence.
pub(super) const RUNNING: u8 = b'R';
/// Which jobs name a blob: digest, tenant, sequence, in which part.
pub(super) const BLOB: u8 = b'B';
/// The further parts of values that are too long for one entry: the whole key, part number.
pub(super) const PART: u8 = b'Z';

/// How many neighbouring sequences share an outcome bucket.
pub(super) const BUCKET_JOBS: u64 = 16;

/// Numbers of the store itself start with `M`: the last group of commits that the index holds,
pub(super) const META_LSN: &[u8] = b"Mlsn";
/// The group of commits at the last checkpoint.
pub(super) const META_CHECKPOINT: &[u8] = b"Mcheckpoint";
/// The format of the index; on disk before anything else, so that an index that opens empty is known to be damaged.
pub(super) const META_FORMAT: &[u8] = b"Mformat";
/// Sequences up to this one may have been given out.
pub(super) const META_SEQUENCE: &[u8] = b"Msequence";
/// The last host number that was given out.
pub(super) const META_HOST: &[u8] = b"Mhost";
/// The state of the service.
pub(super) const META_SERVICE: &[u8] = b"Mservice";

/// Whether a ready entry stands for a block of new jobs or for one job that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadyKind {
    /// A block of new jobs.
    Block = 0,
    /// One job.
    Single = 1,
}

/// A ready entry, read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadyEntry {
    pub(super) priority: i8,
    /// The job, or the first of the block.
    pub(super) job: JobKey,
    pub(super) kind: ReadyKind,
}

fn of_job(keyspace: u8, job: JobKey) -> Vec<u8> {
    let mut key = Vec::with_capacity(13);
    key.push(keyspace);
    key.extend(job.tenant.0.to_be_bytes());
    key.extend(job.sequence.0.to_be_bytes());
    key
}

pub(super) fn block(first: JobKey) -> Vec<u8> {
    of_job(BLOCK, first)
}

pub(super) fn state(job: JobKey) -> Vec<u8> {
    of_job(STATE, job)
}

pub(super) fn running(job: JobKey) -> Vec<u8> {
    of_job(RUNNING, job)
}

/// The job of a key that consists of keyspace, tenant and sequence.
pub(super) fn job_of(key: &[u8]) -> Option<JobKey> {
    let (tenant, sequence) = key.get(1..)?.split_first_chunk::<4>()?;
    Some(JobKey {
        tenant: TenantId(u32::from_be_bytes(*tenant)),
        sequence: Sequence(u64::from_be_bytes(sequence.try_into().ok()?)),
    })
}

/// The outcome bucket of a job, as number.
pub(super) fn bucket_of(job: JobKey) -> (TenantId, u64) {
    (job.tenant, job.sequence.0 / BUCKET_JOBS)
}

/// The place of a job in its outcome bucket.
pub(super) fn offset_in_bucket(job: JobKey) -> u8 {
    u8::try_from(job.sequence.0 % BUCKET_JOBS).expect("a remainder by 16 fits")
}

pub(super) fn outcome((tenant, bucket): (TenantId, u64)) -> Vec<u8> {
    of_job(OUTCOME, JobKey { tenant, sequence: Sequence(bucket) })
}

pub(super) fn ready_queue(queue: &QueueName) -> Vec<u8> {
    let mut key = Vec::with_capacity(queue.as_str().len() + 16);
    key.push(READY);
    key.extend(queue.as_str().as_bytes());
    key.push(0);
    key
}

pub(super) fn ready(queue: &QueueName, priority: i8, job: JobKey, kind: ReadyKind) -> Vec<u8> {
    let mut key = ready_queue(queue);
    // 127 comes first: the order of bytes is the order of starts.
    key.push((127 - i16::from(priority)).to_le_bytes()[0]);
    key.extend(job.sequence.0.to_be_bytes());
    key.extend(job.tenant.0.to_be_bytes());
    key.push(kind as u8);
    key
}

pub(super) fn ready_entry(key: &[u8]) -> Option<ReadyEntry> {
    let tail: &[u8; 14] = key.last_chunk()?;
    let (priority, tail) = tail.split_first()?;
    let (sequence, tail) = tail.split_first_chunk::<8>()?;
    let (tenant, kind) = tail.split_first_chunk::<4>()?;
    Some(ReadyEntry {
        priority: i8::try_from(127 - i16::from(*priority)).ok()?,
        job: JobKey {
            tenant: TenantId(u32::from_be_bytes(*tenant)),
            sequence: Sequence(u64::from_be_bytes(*sequence)),
        },
        kind: match kind {
            [0] => ReadyKind::Block,
            [1] => ReadyKind::Single,
            _ => return None,
        },
    })
}

/// Signed times in the order of bytes.
fn time_bytes(time: Timestamp) -> [u8; 8] {
    (time.0.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn time_of(bytes: [u8; 8]) -> Timestamp {
    Timestamp((u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed())
}

pub(super) fn timer(due: Timestamp, job: JobKey) -> Vec<u8> {
    let mut key = Vec::with_capacity(21);
    key.push(TIMER);
    key.extend(time_bytes(due));
    key.extend(job.tenant.0.to_be_bytes());
    key.extend(job.sequence.0.to_be_bytes());
    key
}

/// The first timer key after every one of `now`; none at the end of time.
pub(super) fn timers_until(now: Timestamp) -> Vec<u8> {
    match now.0.checked_add(1) {
        Some(next) => timer(Timestamp(next), JobKey::default()),
        None => vec![TIMER + 1],
    }
}

pub(super) fn timer_entry(key: &[u8]) -> Option<(Timestamp, JobKey)> {
    let (time, rest) = key.get(1..)?.split_first_chunk::<8>()?;
    let (tenant, sequence) = rest.split_first_chunk::<4>()?;
    let job = JobKey {
        tenant: TenantId(u32::from_be_bytes(*tenant)),
        sequence: Sequence(u64::from_be_bytes(sequence.try_into().ok()?)),
    };
    Some((time_of(*time), job))
}

pub(super) fn listed_status(tenant: TenantId, status: Status) -> Vec<u8> {
    let mut key = Vec::with_capacity(14);
    key.push(LISTED);
    key.extend(tenant.0.to_be_bytes());
    key.push(status.code());
    key
}

pub(super) fn listed(job: JobKey, status: Status) -> Vec<u8> {
    let mut key = listed_status(job.tenant, status);
    key.extend(job.sequence.0.to_be_bytes());
    key
}

pub(super) fn listed_sequence(key: &[u8]) -> Option<Sequence> {
    Some(Sequence(u64::from_be_bytes(*key.last_chunk()?)))
}

/// The job of a key under [`LISTED`].
pub(super) fn listed_job(key: &[u8]) -> Option<JobKey> {
    let (head, sequence) = key.split_last_chunk::<8>()?;
    let (tenant, _status) = head.get(1..)?.split_first_chunk::<4>()?;
    let tenant = TenantId(u32::from_be_bytes(*tenant));
    Some(JobKey { tenant, sequence: Sequence(u64::from_be_bytes(*sequence)) })
}

/// Whether jobs of this status have an entry under [`LISTED`].
pub(super) const fn is_listed(status: Status) -> bool {
    matches!(status, Status::Waiting | Status::Retrying | Status::Paused | Status::Failed | Status::Canceled)
}

pub(super) fn runs(job: JobKey) -> Vec<u8> {
    of_job(RUN, job)
}

pub(super) fn run(job: JobKey, number: u32) -> Vec<u8> {
    let mut key = runs(job);
    key.extend(number.to_be_bytes());
    key
}

/// The job and the number of a key under [`RUN`].
pub(super) fn run_entry(key: &[u8]) -> Option<(JobKey, u32)> {
    let (job, number) = key.split_last_chunk::<4>()?;
    Some((job_of(job)?, u32::from_be_bytes(*number)))
}

pub(super) fn remembered(tenant: TenantId, submit: &str) -> Vec<u8> {
    let mut key = vec![REMEMBERED];
    key.extend(tenant.0.to_be_bytes());
    key.extend(submit.as_bytes());
    key
}

pub(super) fn forget(until: Timestamp, tenant: TenantId, submit: &str) -> Vec<u8> {
    let mut key = vec![FORGET];
    key.extend(time_bytes(until));
    key.extend(tenant.0.to_be_bytes());
    key.extend(submit.as_bytes());
    key
}

/// The key under [`REMEMBERED`] that a key under [`FORGET`] speaks of, and when it is forgotten.
pub(super) fn forgotten(key: &[u8]) -> Option<(Timestamp, Vec<u8>)> {
    let (time, rest) = key.get(1..)?.split_first_chunk::<8>()?;
    Some((time_of(*time), [&[REMEMBERED], rest].concat()))
}

pub(super) fn plugin(tenant: TenantId, name: &PluginName) -> Vec<u8> {
    named(PLUGIN, tenant, name)
}

pub(super) fn counts(tenant: TenantId, name: &PluginName) -> Vec<u8> {
    named(COUNTS, tenant, name)
}

fn named(keyspace: u8, tenant: TenantId, name: &PluginName) -> Vec<u8> {
    let mut key = vec![keyspace];
    key.extend(tenant.0.to_be_bytes());
    key.extend(name.as_str().as_bytes());
    key
}

/// The tenant and name of a key under [`PLUGIN`] or [`COUNTS`].
pub(super) fn named_of(key: &[u8]) -> Option<(TenantId, PluginName)> {
    let (tenant, name) = key.get(1..)?.split_first_chunk::<4>()?;
    let name = PluginName::new(std::str::from_utf8(name).ok()?).ok()?;
    Some((TenantId(u32::from_be_bytes(*tenant)), name))
}

pub(super) fn blob(digest: Digest) -> Vec<u8> {
    let mut key = Vec::with_capacity(45);
    key.push(BLOB);
    key.extend(digest.0);
    key
}

pub(super) fn blob_of_job(digest: Digest, job: JobKey, role: u8) -> Vec<u8> {
    let mut key = blob(digest);
    key.extend(job.tenant.0.to_be_bytes());
    key.extend(job.sequence.0.to_be_bytes());
    key.push(role);
    key
}

/// The digest and the job of a key under [`BLOB`].
pub(super) fn blob_entry(key: &[u8]) -> Option<(Digest, JobKey)> {
    let (digest, rest) = key.get(1..)?.split_first_chunk::<32>()?;
    let (tenant, rest) = rest.split_first_chunk::<4>()?;
    let (sequence, _role) = rest.split_first_chunk::<8>()?;
    let tenant = TenantId(u32::from_be_bytes(*tenant));
    Some((Digest(*digest), JobKey { tenant, sequence: Sequence(u64::from_be_bytes(*sequence)) }))
}

/// The key that a key under [`PART`] belongs to, and the number of the part.
pub(super) fn part_entry(key: &[u8]) -> Option<(&[u8], u16)> {
    let (of, number) = key.get(1..)?.split_last_chunk::<2>()?;
    Some((of, u16::from_be_bytes(*number)))
}

pub(super) fn part(of: &[u8], number: u16) -> Vec<u8> {
    [&[PART], of, &number.to_be_bytes()].concat()
}
