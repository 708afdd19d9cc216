//! Rows in memory, with what they are found by: all of the memory store, and of the embedded one those of families that stay
//! small.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::domain::family::{AnyRow, Family, IndexKey, RowKey, SharedRow};
use crate::domain::id::{JobKey, TenantId};
use crate::stored::Registry;

/// How many rows that have lapsed one write clears away.
pub(super) const CLEARED_AT_ONCE: usize = 4;

/// A part of the rows of a family, by their keys.
pub type RowRange = (Bound<RowKey>, Bound<RowKey>);

/// A part of an index of a family.
pub type IndexRange = (Bound<IndexKey>, Bound<IndexKey>);

/// All rows, or all entries of an index.
pub const fn everything<T>() -> (Bound<T>, Bound<T>) {
    (Bound::Unbounded, Bound::Unbounded)
}

/// The keys of the rows that go with neighbouring jobs, from the first to the last.
pub(super) fn of_jobs(first: JobKey, last: JobKey) -> RowRange {
    (Bound::Included(RowKey::of_job(first, 0)), Bound::Included(RowKey::of_job(last, u32::MAX)))
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    registry: Arc<Registry>,
    rows: BTreeMap<(u8, RowKey), SharedRow>,
    /// By family, number of the index, and key within it.
    indexes: BTreeMap<(u8, u8, Vec<u8>), RowKey>,
    /// How many rows a tenant has, of families that bound that.
    counts: BTreeMap<(u8, TenantId), usize>,
}

impl Rows {
    /// None yet, of these families.
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, ..Self::default() }
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Writes a row whose guard has been checked, and clears away some that have lapsed by then.
    pub(super) fn write(&mut self, row: &SharedRow) {
        self.remove(row.family(), &row.key());
        self.clear_lapsed(&**row);
        self.put(row);
    }

    /// Puts a row in the place of the one that has its key; one that says nothing only takes that away.
    pub(super) fn put(&mut self, row: &SharedRow) {
        let (family, key) = (row.family(), row.key());
        self.remove(family, &key);
        if row.is_void() {
            return;
        }
        for (index, by) in row.index_keys() {
            self.indexes.insert((family.number, index, entry(&by, &key)), key.clone());
        }
        if let Some(tenant) = counted(family, &key) {
            *self.counts.entry((family.number, tenant)).or_default() += 1;
        }
        self.rows.insert((family.number, key), Arc::clone(row));
    }

    pub(super) fn remove(&mut self, family: &Family, key: &RowKey) {
        let Some(gone) = self.rows.remove(&(family.number, key.clone())) else { return };
        for (index, by) in gone.index_keys() {
            self.indexes.remove(&(family.number, index, entry(&by, key)));
        }
        if let Some(tenant) = counted(family, key) {
            self.counts.entry((family.number, tenant)).and_modify(|count| *count -= 1);
        }
    }

    fn clear_lapsed(&mut self, row: &dyn AnyRow) {
        let Some((index, by)) = row.family().lapses_by.zip(row.clears()) else { return };
        let lapsed = self.by_index(row.family(), index, (Bound::Unbounded, Bound::Included(by)), CLEARED_AT_ONCE);
        lapsed.iter().for_each(|gone| self.remove(gone.family(), &gone.key()));
    }

    /// Removes what goes with a job.
    pub(super) fn remove_of_job(&mut self, job: JobKey) {
        self.of_job(job).iter().for_each(|row| self.remove(row.family(), &row.key()));
    }

    /// The rows that go with a job.
    pub(super) fn of_job(&self, job: JobKey) -> Vec<SharedRow> {
        let families = self.registry.families().filter(|family| family.goes_with_job());
        families.flat_map(|family| self.by_key(family, of_jobs(job, job), usize::MAX)).collect()
    }

    /// All rows of a family; of one whose rows lapse the one that does last comes first.
    pub(super) fn all_of(&self, family: &Family) -> Vec<SharedRow> {
        let Some(index) = family.lapses_by else { return self.by_key(family, everything(), usize::MAX) };
        self.by_index(family, index, everything(), usize::MAX).into_iter().rev().collect()
    }

    pub(super) fn row(&self, family: &Family, key: &RowKey) -> Option<&SharedRow> {
        self.rows.get(&(family.number, key.clone()))
    }

    /// How many rows a tenant has of a family that bounds that.
    pub(super) fn count(&self, family: &Family, tenant: TenantId) -> usize {
        self.counts.get(&(family.number, tenant)).copied().unwrap_or_default()
    }

    /// Rows by their keys.
    pub(super) fn by_key(&self, family: &Family, range: RowRange, limit: usize) -> Vec<SharedRow> {
        let number = family.number;
        let from = match range.0 {
            Bound::Included(key) => Bound::Included((number, key)),
            Bound::Excluded(key) => Bound::Excluded((number, key)),
            Bound::Unbounded => Bound::Included((number, RowKey::default())),
        };
        let is_inside = |key: &RowKey| match &range.1 {
            Bound::Included(last) => key <= last,
            Bound::Excluded(end) => key < end,
            Bound::Unbounded => true,
        };
        let behind = self.rows.range((from, Bound::Unbounded));
        let inside = behind.take_while(|((of, key), _)| *of == number && is_inside(key));
        inside.take(limit).map(|(_, row)| Arc::clone(row)).collect()
    }

    /// Rows by what they are found by, and then by their keys.
    pub(super) fn by_index(&self, family: &Family, index: u8, range: IndexRange, limit: usize) -> Vec<SharedRow> {
        let keys = self.entries(family, index, &range).take(limit).map(|(_, key)| key);
        keys.filter_map(|key| self.row(family, key)).map(Arc::clone).collect()
    }

    /// The first key of an index.
    pub(super) fn first_of_index(&self, family: &Family, index: u8) -> Option<IndexKey> {
        self.entries(family, index, &everything()).next().map(|(entry, _)| by_of_entry(entry))
    }

    fn entries(&self, family: &Family, index: u8, range: &IndexRange) -> impl Iterator<Item = (&[u8], &RowKey)> {
        let number = family.number;
        let (from, to) = entry_range(range);
        let from = (number, index, from);
        let behind = self.indexes.range(from..);
        behind
            .take_while(move |((of, in_index, entry), _)| {
                (*of, *in_index) == (number, index) && to.as_ref().is_none_or(|to| entry < to)
            })
            .map(|((_, _, entry), key)| (entry.as_slice(), key))
    }
}

fn counted(family: &Family, key: &RowKey) -> Option<TenantId> {
    family.most.and_then(|_| key.tenant())
}

/// An entry of an index: what the row is found by, the row's key, and its length.
pub(super) fn entry(by: &IndexKey, key: &RowKey) -> Vec<u8> {
    let length = u16::try_from(key.as_bytes().len()).expect("keys are far shorter");
    [by.as_bytes(), key.as_bytes(), &length.to_be_bytes()].concat()
}

/// What a row is found by, and its key, of an entry.
pub(super) fn read_entry(entry: &[u8]) -> Option<(IndexKey, RowKey)> {
    let (both, length) = entry.split_last_chunk()?;
    let at = both.len().checked_sub(usize::from(u16::from_be_bytes(*length)))?;
    let (by, key) = both.split_at_checked(at)?;
    Some((IndexKey::stored(by), RowKey::stored(key)))
}

fn by_of_entry(entry: &[u8]) -> IndexKey {
    read_entry(entry).map(|(by, _)| by).unwrap_or_default()
}

/// From which entry on a part of an index goes, and up to which; to the end of it without. No key of an index is the
/// beginning of another one, so that what starts with a key is of that key.
pub(super) fn entry_range(range: &IndexRange) -> (Vec<u8>, Option<Vec<u8>>) {
    let from = match &range.0 {
        Bound::Included(by) => by.as_bytes().to_vec(),
        Bound::Excluded(by) => behind(by.as_bytes()).unwrap_or_else(|| vec![0xff; by.as_bytes().len() + 1]),
        Bound::Unbounded => Vec::new(),
    };
    let to = match &range.1 {
        Bound::Included(by) => behind(by.as_bytes()),
        Bound::Excluded(by) => Some(by.as_bytes().to_vec()),
        Bound::Unbounded => None,
    };
    (from, to)
}

/// The first bytes behind all that start with `prefix`, if there are any.
pub(super) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}
