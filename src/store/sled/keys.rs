//! The keys of the index: a byte for the keyspace, then big-endian numbers, so that the order of keys is the order of work.

use crate::domain::family::{Family, IndexKey, RowKey};
use crate::domain::hash;
use crate::domain::id::{
    ConcurrencyKey, DedupKey, Digest, JobKey, OrderingKey, PluginName, QueueName, ScheduleName, Sequence, TenantId,
};
use crate::domain::job::{Rank, Status};
use crate::domain::query::Label;
use crate::domain::queue::Lane;
use crate::domain::time::Timestamp;
use crate::store::rows;

/// Blocks of submissions: tenant, first sequence.
pub(super) const BLOCK: u8 = b'S';
/// Jobs of status 0 that wait for no other, in the order in which they start: queue, plug-in, tenant, rank, sequence, kind.
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
/// Counts: tenant, plug-in.
pub(super) const COUNTS: u8 = b'C';
/// Locked jobs as of the last checkpoint: tenant, sequence.
pub(super) const RUNNING: u8 = b'R';
/// Which jobs name a blob: digest, tenant, sequence, in which part.
pub(super) const BLOB: u8 = b'B';
/// Unfinished jobs by ordering key: tenant, key, sequence.
pub(super) const KEYED: u8 = b'K';
/// Unfinished jobs that name another in `after`: tenant, the sequence of that one, their own sequence.
pub(super) const DEPENDENT: u8 = b'D';
/// The unfinished job of a dedup key: tenant, key.
pub(super) const DEDUP: u8 = b'U';
/// Unfinished jobs by schedule: tenant, name, sequence.
pub(super) const OCCURRING: u8 = b'q';
/// What jobs have in common: tenant, kind, hash, sequence.
pub(super) const LABEL: u8 = b'L';
/// Counts of the jobs of a batch: tenant, sequence of the batch.
pub(super) const BATCH: u8 = b'N';
/// Rows, of whatever family: family, key.
pub(super) const ROW: u8 = b'Y';
/// What rows are found by: family, number of the index, entry ([`crate::store::rows::entry`]).
pub(super) const ROW_INDEX: u8 = b'y';
/// Which rows name a blob: digest, family, key.
pub(super) const ROW_BLOB: u8 = b'b';
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

/// Whether a ready entry stands for a block of new jobs or for one job that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadyKind {
    /// A block of new jobs.
    Block = 0,
    /// One job.
    Single = 1,
}

/// A ready entry, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadyEntry {
    pub(super) lane: Lane,
    pub(super) rank: Rank,
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

/// The job of a key that starts with keyspace, tenant and sequence.
pub(super) fn starting_job(key: &[u8]) -> Option<JobKey> {
    job_of(key.get(..13)?)
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

/// What the ready entries of a lane start with.
pub(super) fn ready_lane(lane: &Lane) -> Vec<u8> {
    let mut key = Vec::with_capacity(lane.queue.as_str().len() + lane.plugin.as_str().len() + 24);
    key.push(READY);
    let concurrency_key = lane.key.as_ref().map_or("", ConcurrencyKey::as_str);
    for name in [lane.queue.as_str(), lane.plugin.as_str(), concurrency_key] {
        key.extend(name.as_bytes());
        key.push(0);
    }
    key.extend(lane.tenant.0.to_be_bytes());
    key
}

/// Behind all ready entries of a lane: ranks and what follows them are 17 bytes.
pub(super) fn behind_lane(lane: &Lane) -> Vec<u8> {
    let mut key = ready_lane(lane);
    key.extend([0xff; 18]);
    key
}

pub(super) fn ready(lane: &Lane, rank: Rank, job: JobKey, kind: ReadyKind) -> Vec<u8> {
    let mut key = ready_lane(lane);
    key.extend(signed_bytes(rank.0));
    key.extend(job.sequence.0.to_be_bytes());
    key.push(kind as u8);
    key
}

pub(super) fn ready_entry(key: &[u8]) -> Option<ReadyEntry> {
    let (head, tail) = key.get(1..)?.split_last_chunk::<21>()?;
    let (tenant, tail) = tail.split_first_chunk::<4>()?;
    let (rank, tail) = tail.split_first_chunk::<8>()?;
    let (sequence, kind) = tail.split_first_chunk::<8>()?;
    let mut names = std::str::from_utf8(head).ok()?.strip_suffix('\0')?.split('\0');
    let tenant = TenantId(u32::from_be_bytes(*tenant));
    Some(ReadyEntry {
        lane: Lane {
            queue: QueueName::new(names.next()?).ok()?,
            plugin: PluginName::new(names.next()?).ok()?,
            key: match names.next()? {
                "" => None,
                key => Some(ConcurrencyKey::stored(key).ok().filter(|_| names.next().is_none())?),
            },
            tenant,
        },
        rank: Rank(signed_of(*rank)),
        job: JobKey { tenant, sequence: Sequence(u64::from_be_bytes(*sequence)) },
        kind: match kind {
            [0] => ReadyKind::Block,
            [1] => ReadyKind::Single,
            _ => return None,
        },
    })
}

/// Signed numbers in the order of bytes.
fn signed_bytes(number: i64) -> [u8; 8] {
    (number.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn signed_of(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

fn time_bytes(time: Timestamp) -> [u8; 8] {
    signed_bytes(time.0)
}

fn time_of(bytes: [u8; 8]) -> Timestamp {
    Timestamp(signed_of(bytes))
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
    status.is_looked_up() && !status.is_locked()
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

pub(super) fn counts(tenant: TenantId, name: &PluginName) -> Vec<u8> {
    let mut key = vec![COUNTS];
    key.extend(tenant.0.to_be_bytes());
    key.extend(name.as_str().as_bytes());
    key
}

/// The tenant and name of a key under [`COUNTS`].
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

/// What the entries of the unfinished jobs of an ordering key start with.
pub(super) fn keyed_by(tenant: TenantId, key: &OrderingKey) -> Vec<u8> {
    let mut bytes = texted(KEYED, tenant, key.as_str());
    bytes.push(0);
    bytes
}

pub(super) fn keyed(job: JobKey, key: &OrderingKey) -> Vec<u8> {
    let mut bytes = keyed_by(job.tenant, key);
    bytes.extend(job.sequence.0.to_be_bytes());
    bytes
}

/// What the entries of the unfinished jobs of a schedule start with.
pub(super) fn occurring_of(tenant: TenantId, schedule: &ScheduleName) -> Vec<u8> {
    let mut bytes = texted(OCCURRING, tenant, schedule.as_str());
    bytes.push(0);
    bytes
}

pub(super) fn occurring(job: JobKey, schedule: &ScheduleName) -> Vec<u8> {
    let mut bytes = occurring_of(job.tenant, schedule);
    bytes.extend(job.sequence.0.to_be_bytes());
    bytes
}

/// The job of a key under [`KEYED`] or [`OCCURRING`].
pub(super) fn keyed_job(key: &[u8]) -> Option<JobKey> {
    let (head, sequence) = key.split_last_chunk::<8>()?;
    let (tenant, _text) = head.get(1..)?.split_first_chunk::<4>()?;
    let tenant = TenantId(u32::from_be_bytes(*tenant));
    Some(JobKey { tenant, sequence: Sequence(u64::from_be_bytes(*sequence)) })
}

/// What the entries of the jobs that wait for `job` start with.
pub(super) fn dependents(job: JobKey) -> Vec<u8> {
    of_job(DEPENDENT, job)
}

pub(super) fn dependent(on: JobKey, waiting: JobKey) -> Vec<u8> {
    let mut key = dependents(on);
    key.extend(waiting.sequence.0.to_be_bytes());
    key
}

/// The job that waits, of a key under [`DEPENDENT`].
pub(super) fn dependent_job(key: &[u8]) -> Option<JobKey> {
    let (on, sequence) = key.split_last_chunk::<8>()?;
    Some(JobKey { sequence: Sequence(u64::from_be_bytes(*sequence)), ..job_of(on)? })
}

pub(super) fn dedup(tenant: TenantId, key: &DedupKey) -> Vec<u8> {
    texted(DEDUP, tenant, key.as_str())
}

/// The tenant of a key that starts with keyspace and tenant.
pub(super) fn tenant_of(key: &[u8]) -> Option<TenantId> {
    let (tenant, _rest) = key.get(1..)?.split_first_chunk::<4>()?;
    Some(TenantId(u32::from_be_bytes(*tenant)))
}

fn texted(keyspace: u8, tenant: TenantId, text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(text.len() + 14);
    key.push(keyspace);
    key.extend(tenant.0.to_be_bytes());
    key.extend(text.as_bytes());
    key
}

/// The kind of a label, and 64 bits of what it says; of a failure that is its fingerprint.
fn label_bytes(label: &Label) -> (u8, u64) {
    match label {
        Label::Batch(job) => (1, job.sequence().0),
        Label::Schedule(name) => (2, hash::even(name.as_str().bytes())),
        Label::Regarding(record) => (3, hash::even(record.as_str().bytes())),
        Label::OrderingKey(key) => (4, hash::even(key.as_str().bytes())),
        Label::Chain(job) => (5, job.sequence().0),
        Label::RetryOf(job) => (6, job.sequence().0),
        Label::Failure(fingerprint) => (FAILURE_KIND, fingerprint.0),
        Label::After(job) => (8, job.sequence().0),
        Label::Owner(name) => (9, hash::even(name.as_str().bytes())),
        Label::ChainRegarding(job, record) => {
            let both = job.sequence().0.to_be_bytes().into_iter().chain(record.as_str().bytes());
            (10, hash::even(both))
        }
    }
}

const FAILURE_KIND: u8 = 7;

/// What the entries of the jobs with a label start with. Two labels of a kind may share it.
pub(super) fn labeled(tenant: TenantId, label: &Label) -> Vec<u8> {
    let (kind, bits) = label_bytes(label);
    let mut key = texted(LABEL, tenant, "");
    key.push(kind);
    key.extend(bits.to_be_bytes());
    key
}

pub(super) fn label(job: JobKey, label: &Label) -> Vec<u8> {
    let mut key = labeled(job.tenant, label);
    key.extend(job.sequence.0.to_be_bytes());
    key
}

/// What the entries of failed jobs start with.
pub(super) fn failures(tenant: TenantId) -> Vec<u8> {
    let mut key = texted(LABEL, tenant, "");
    key.push(FAILURE_KIND);
    key
}

/// The bits of a label and the job, of a key under [`LABEL`].
pub(super) fn label_entry(key: &[u8]) -> Option<(u64, JobKey)> {
    let (head, sequence) = key.split_last_chunk::<8>()?;
    let (head, bits) = head.split_last_chunk::<8>()?;
    let tenant = tenant_of(head)?;
    Some((u64::from_be_bytes(*bits), JobKey { tenant, sequence: Sequence(u64::from_be_bytes(*sequence)) }))
}

pub(super) fn batch(tenant: TenantId, batch: Sequence) -> Vec<u8> {
    of_job(BATCH, JobKey { tenant, sequence: batch })
}

/// What the keys of a family's rows start with.
pub(super) fn rows_of(family: &Family) -> Vec<u8> {
    vec![ROW, family.number]
}

pub(super) fn row(family: &Family, key: &RowKey) -> Vec<u8> {
    [&[ROW, family.number], key.as_bytes()].concat()
}

/// The number of the family and the key of a row, of a key under [`ROW`].
pub(super) fn row_of(key: &[u8]) -> Option<(u8, RowKey)> {
    let (family, key) = key.get(1..)?.split_first()?;
    Some((*family, RowKey::stored(key)))
}

/// What the entries of an index of a family start with.
pub(super) fn row_indexes(family: &Family, index: u8) -> Vec<u8> {
    vec![ROW_INDEX, family.number, index]
}

pub(super) fn row_index(family: &Family, index: u8, by: &IndexKey, key: &RowKey) -> Vec<u8> {
    [row_indexes(family, index), rows::entry(by, key)].concat()
}

/// What the names start with that rows have for a blob.
pub(super) fn row_blob(digest: Digest) -> Vec<u8> {
    let mut key = vec![ROW_BLOB];
    key.extend(digest.0);
    key
}

pub(super) fn blob_of_row(digest: Digest, family: &Family, key: &RowKey) -> Vec<u8> {
    [row_blob(digest).as_slice(), &[family.number], key.as_bytes()].concat()
}

/// The digest, the number of the family and the key of a row, of a key under [`ROW_BLOB`].
pub(super) fn row_blob_entry(key: &[u8]) -> Option<(Digest, u8, RowKey)> {
    let (digest, rest) = key.get(1..)?.split_first_chunk::<32>()?;
    let (family, key) = rest.split_first()?;
    Some((Digest(*digest), *family, RowKey::stored(key)))
}
