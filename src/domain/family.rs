//! Families of rows: everything that a store keeps beside jobs. A family says what its keys are, what a write must follow, and
//! what its rows are found by; a store knows rows and families, and none of them by name.

use std::any::Any;
use std::fmt::{self, Debug};
use std::sync::Arc;

use super::id::{Digest, JobKey, Sequence, TenantId};
use super::time::Timestamp;

/// What the keys of a family are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// A tenant, and a name that is unique for it: [`RowKey::named`].
    TenantAndName,
    /// A name that is unique in the store: [`RowKey::plain`].
    Name,
    /// Nothing: there is one row at most, [`RowKey::only`].
    Only,
    /// A job, and a number within it: [`RowKey::of_job`]. The rows go with their job.
    OfJob,
}

/// A family of rows.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The first byte of each of its values. Never given to another family.
    pub number: u8,
    /// What it is called in backups and errors.
    pub name: &'static str,
    /// What its keys are made of.
    pub keys: KeyForm,
    /// Whether stores keep all its rows in memory, which is for families that stay small.
    pub is_resident: bool,
    /// How many rows a tenant may have; any number without.
    pub most: Option<usize>,
    /// The index by which rows lapse ([`Row::clears`]): each write clears a few of them away.
    pub lapses_by: Option<u8>,
}

impl Family {
    /// A family that is read from the disk.
    pub const fn new(number: u8, name: &'static str, keys: KeyForm) -> Self {
        Self { number, name, keys, is_resident: false, most: None, lapses_by: None }
    }

    /// One that stores keep in memory.
    #[must_use]
    pub const fn resident(self) -> Self {
        Self { is_resident: true, ..self }
    }

    /// One of which a tenant may have so many rows. It must be resident and its keys have tenants.
    #[must_use]
    pub const fn at_most(self, most: usize) -> Self {
        Self { most: Some(most), ..self }
    }

    /// One whose rows lapse by this index.
    #[must_use]
    pub const fn lapsing_by(self, index: u8) -> Self {
        Self { lapses_by: Some(index), ..self }
    }

    /// Whether its rows go with the job that their keys name.
    pub const fn goes_with_job(&self) -> bool {
        matches!(self.keys, KeyForm::OfJob)
    }

    /// A row of it, in words.
    pub fn describe(&self, key: &RowKey) -> String {
        let name = match self.keys {
            KeyForm::TenantAndName => key.tenant().zip(key.name()).map(|(tenant, name)| format!("{name} of {tenant}")),
            KeyForm::Name => str::from_utf8(key.as_bytes()).ok().map(str::to_owned),
            KeyForm::Only => Some(String::new()),
            KeyForm::OfJob => key.job().map(|job| format!("of job {} of {}", job.sequence.0, job.tenant)),
        };
        let name = name.unwrap_or_else(|| key.as_bytes().escape_ascii().to_string());
        format!("{} {}", self.name, name.escape_debug()).trim_end().to_owned()
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Family {}

/// The key of a row within its family: bytes, in the order in which rows are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(Vec<u8>);

impl RowKey {
    /// Of a [`KeyForm::TenantAndName`].
    pub fn named(tenant: TenantId, name: &str) -> Self {
        Self([&tenant.0.to_be_bytes(), name.as_bytes()].concat())
    }

    /// Of a [`KeyForm::Name`].
    pub fn plain(name: &str) -> Self {
        Self(name.as_bytes().to_vec())
    }

    /// Of a [`KeyForm::Only`].
    pub const fn only() -> Self {
        Self(Vec::new())
    }

    /// Of a [`KeyForm::OfJob`].
    pub fn of_job(job: JobKey, number: u32) -> Self {
        let mut key = Self::of_jobs(job);
        key.0.extend(number.to_be_bytes());
        key
    }

    /// What the keys of a job's rows start with.
    pub fn of_jobs(job: JobKey) -> Self {
        let mut key = Vec::with_capacity(16);
        key.extend(job.tenant.0.to_be_bytes());
        key.extend(job.sequence.0.to_be_bytes());
        Self(key)
    }

    /// A key as it was stored.
    pub fn stored(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The bytes that are stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The tenant of a key that has one.
    pub fn tenant(&self) -> Option<TenantId> {
        self.0.first_chunk().map(|tenant| TenantId(u32::from_be_bytes(*tenant)))
    }

    /// The name behind the tenant.
    pub fn name(&self) -> Option<&str> {
        str::from_utf8(self.0.get(4..)?).ok()
    }

    /// The job that a row goes with.
    pub fn job(&self) -> Option<JobKey> {
        let sequence = self.0.get(4..)?.first_chunk()?;
        Some(JobKey { tenant: self.tenant()?, sequence: Sequence(u64::from_be_bytes(*sequence)) })
    }
}

/// What a row is found by in an index of its family. Parts are appended from the most important on; no key is the beginning
/// of another one of its index, when all have the same kinds of parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexKey(Vec<u8>);

impl IndexKey {
    /// By a time alone.
    pub fn of_time(time: Timestamp) -> Self {
        Self::default().time(time)
    }

    /// And by a time.
    #[must_use]
    pub fn time(mut self, time: Timestamp) -> Self {
        self.0.extend((time.0.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        self
    }

    /// And by a number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    /// And by a text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        for byte in text.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xff);
            }
        }
        self.0.extend([0, 0]);
        self
    }

    /// A key as it was stored.
    pub fn stored(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The bytes that are stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The time that the key starts with.
    pub fn first_time(&self) -> Option<Timestamp> {
        let time = self.0.first_chunk()?;
        Some(Timestamp((u64::from_be_bytes(*time) ^ (1 << 63)).cast_signed()))
    }
}

/// A blob that a row names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedBlob {
    /// Which.
    pub digest: Digest,
    /// How many bytes it has.
    pub bytes: u64,
    /// What it is to the row, for people.
    pub what: String,
}

/// A kind of value that stores keep as rows.
pub trait Row: Any + Clone + Debug + PartialEq + Send + Sync {
    /// Its family.
    const ROWS: &'static Family;

    /// Where it is kept.
    fn key(&self) -> RowKey;

    /// What a removal has to name, and what the next write may count on.
    fn revision(&self) -> u32 {
        0
    }

    /// Whether it may be written where `present` is: the guard of its family.
    fn follows(&self, present: Option<&Self>) -> bool;

    /// What it is found by, in each index of the family, whose number stands before the key.
    fn index_keys(&self) -> Vec<(u8, IndexKey)> {
        Vec::new()
    }

    /// The blobs that must be kept as long as it is.
    fn blobs(&self) -> Vec<NamedBlob> {
        Vec::new()
    }

    /// Whether it says nothing: writing it takes away the row that was there.
    fn is_void(&self) -> bool {
        false
    }

    /// Up to which key of [`Family::lapses_by`] rows have lapsed at the time at which this one is written: a store has no
    /// clock.
    fn clears(&self) -> Option<IndexKey> {
        None
    }

    /// What it says that cannot be so.
    fn flaws(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Whether `revision` is the one after that of the row that is there; the first is 1.
pub fn is_next_revision(revision: u32, present: Option<u32>) -> bool {
    present.unwrap_or(0).checked_add(1) == Some(revision)
}

/// A row of whatever family, as stores handle it: see [`Row`].
pub trait AnyRow: Any + Debug + Send + Sync {
    /// See [`Row::ROWS`].
    fn family(&self) -> &'static Family;

    /// See [`Row::key`].
    fn key(&self) -> RowKey;

    /// See [`Row::revision`].
    fn revision(&self) -> u32;

    /// See [`Row::follows`]; a row of another family is followed by none.
    fn follows(&self, present: Option<&dyn AnyRow>) -> bool;

    /// See [`Row::index_keys`].
    fn index_keys(&self) -> Vec<(u8, IndexKey)>;

    /// See [`Row::blobs`].
    fn blobs(&self) -> Vec<NamedBlob>;

    /// See [`Row::is_void`].
    fn is_void(&self) -> bool;

    /// See [`Row::clears`].
    fn clears(&self) -> Option<IndexKey>;

    /// See [`Row::flaws`].
    fn flaws(&self) -> Vec<String>;

    /// Whether the other is the same row and says the same.
    fn is_same(&self, other: &dyn AnyRow) -> bool;

    /// The value itself.
    fn as_any(&self) -> &dyn Any;
}

impl<T: Row> AnyRow for T {
    fn family(&self) -> &'static Family {
        T::ROWS
    }

    fn key(&self) -> RowKey {
        Row::key(self)
    }

    fn revision(&self) -> u32 {
        Row::revision(self)
    }

    fn follows(&self, present: Option<&dyn AnyRow>) -> bool {
        match present {
            None => Row::follows(self, None),
            Some(present) => present.of::<T>().is_some_and(|present| Row::follows(self, Some(present))),
        }
    }

    fn index_keys(&self) -> Vec<(u8, IndexKey)> {
        Row::index_keys(self)
    }

    fn blobs(&self) -> Vec<NamedBlob> {
        Row::blobs(self)
    }

    fn is_void(&self) -> bool {
        Row::is_void(self)
    }

    fn clears(&self) -> Option<IndexKey> {
        Row::clears(self)
    }

    fn flaws(&self) -> Vec<String> {
        Row::flaws(self)
    }

    fn is_same(&self, other: &dyn AnyRow) -> bool {
        other.of::<T>() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl dyn AnyRow {
    /// The value, when it is one of this kind.
    pub fn of<T: Row>(&self) -> Option<&T> {
        self.as_any().downcast_ref()
    }

    /// The row in words.
    pub fn describe(&self) -> String {
        self.family().describe(&self.key())
    }
}

impl PartialEq for dyn AnyRow {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
    }
}

/// A row that many hold.
pub type SharedRow = Arc<dyn AnyRow>;

/// That the row of a key may go: the one that is there has just this revision.
pub fn may_remove(present: Option<&dyn AnyRow>, expected: u32) -> bool {
    present.is_some_and(|present| present.revision() == expected)
}

impl fmt::Display for dyn AnyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_keys_sort_as_their_parts_do_and_none_begins_another() {
        let times = [i64::MIN, -1, 0, 1, i64::MAX].map(|time| IndexKey::of_time(Timestamp(time)));
        assert!(times.is_sorted() && times[3].first_time() == Some(Timestamp(1)));
        let texts =
            ["", "\0", "\0a", "a", "a\0", "a\0b", "ab", "b"].map(|text| IndexKey::default().text(text).number(7));
        assert!(texts.is_sorted(), "{texts:?}");
        for (one, other) in texts.iter().flat_map(|one| texts.iter().map(move |other| (one, other))) {
            assert!(one == other || !other.as_bytes().starts_with(one.as_bytes()), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_key_says_whose_it_is() {
        let key = RowKey::named(TenantId(3), "shop");
        assert_eq!((key.tenant(), key.name()), (Some(TenantId(3)), Some("shop")));
        let job = JobKey { tenant: TenantId(3), sequence: Sequence(9) };
        assert_eq!(RowKey::of_job(job, 5).job(), Some(job));
        assert!(RowKey::of_job(job, 9) < RowKey::of_job(job, 256));
        let family = Family::new(200, "note", KeyForm::TenantAndName);
        assert_eq!(family.describe(&key), "note shop of tenant-3");
        assert_eq!(Family::new(200, "note", KeyForm::Only).describe(&RowKey::only()), "note");
    }

    #[test]
    fn revisions_follow_one_another_from_one_on() {
        let cases =
            [(1, None, true), (2, None, false), (1, Some(1), false), (3, Some(2), true), (0, Some(u32::MAX), false)];
        for (revision, present, follows) in cases {
            assert_eq!(is_next_revision(revision, present), follows, "{revision} {present:?}");
        }
    }
}
