//! Rows in the index: their values, what they are found by, and the blobs that they name. Those of families that stay small are
//! in memory, too.

use std::ops::Bound;

use super::engine::Pair;
use super::index::Indexer;
use super::keys;
use super::live::View;
use super::values::{Listed, Values, parts_of_entry};
use crate::domain::family::{AnyRow, Family, IndexKey, RowKey, SharedRow};
use crate::store::ReadError;
use crate::store::rows::{CLEARED_AT_ONCE, IndexRange, RowRange, everything, read_entry};

impl Indexer<'_> {
    /// Writes a row in the place of the one that has its key. `value` is the row with its family and version.
    pub(super) fn put_row(&mut self, row: &SharedRow, value: &[u8]) -> Result<(), ReadError> {
        let (family, key) = (row.family(), row.key());
        self.drop_row(family, &key)?;
        self.clear_lapsed(&**row)?;
        if row.is_void() {
            return Ok(());
        }
        for (index, by) in row.index_keys() {
            self.live.ahead.mark(keys::row_index(family, index, &by, &key));
        }
        for blob in row.blobs() {
            self.live.ahead.mark(keys::blob_of_row(blob.digest, family, &key));
        }
        if family.is_resident {
            self.live.rows.put(row);
        }
        self.live.ahead.put(keys::row(family, &key), value.to_vec());
        Ok(())
    }

    /// Removes a row and all that follows from it.
    pub(super) fn drop_row(&mut self, family: &Family, key: &RowKey) -> Result<(), ReadError> {
        let place = keys::row(family, key);
        let Some(entry) = self.values().entry(&place)? else { return Ok(()) };
        let parts = parts_of_entry(&entry);
        let row = match self.live.rows.row(family, key) {
            Some(row) => Some(row.clone()),
            None => read(self.view(), (place.clone(), entry)).or_else(|error| match error {
                // What follows from a row that cannot be read is not known; that it does not follow from any, `verify` finds.
                ReadError::Damaged(_) => Ok(None),
                error => Err(error),
            })?,
        };
        if let Some(row) = row {
            for (index, by) in row.index_keys() {
                self.live.ahead.delete(keys::row_index(family, index, &by, key));
            }
            for blob in row.blobs() {
                self.live.ahead.delete(keys::blob_of_row(blob.digest, family, key));
            }
        }
        self.live.rows.remove(family, key);
        self.live.ahead.delete_all(place, parts);
        Ok(())
    }

    /// Clears away some of the rows that have lapsed when `row` is written.
    fn clear_lapsed(&mut self, row: &dyn AnyRow) -> Result<(), ReadError> {
        let family = row.family();
        let Some((index, by)) = family.lapses_by.zip(row.clears()) else { return Ok(()) };
        let lapsed = (Bound::Unbounded, Bound::Included(by));
        let entries: Vec<_> =
            entries(&self.values(), family, index, &lapsed).take(CLEARED_AT_ONCE).collect::<Result<_, _>>()?;
        for (entry, _) in entries {
            let key = row_of_entry(&entry);
            self.live.ahead.delete(entry);
            if let Some((_, key)) = key {
                self.drop_row(family, &key)?;
            }
        }
        Ok(())
    }
}

/// One row.
pub(super) fn row(view: View<'_>, family: &Family, key: &RowKey) -> Result<Option<SharedRow>, ReadError> {
    if family.is_resident {
        return Ok(view.live.rows.row(family, key).cloned());
    }
    let place = keys::row(family, key);
    match view.values.entry(&place)? {
        Some(entry) => read(view, (place, entry)),
        None => Ok(None),
    }
}

/// Rows by their keys, of a family that is not resident.
pub(super) fn by_key(
    view: View<'_>,
    family: &Family,
    range: RowRange,
    limit: usize,
) -> Result<Vec<SharedRow>, ReadError> {
    let from = match range.0 {
        Bound::Included(key) => Bound::Included(keys::row(family, &key)),
        Bound::Excluded(key) => Bound::Excluded(keys::row(family, &key)),
        Bound::Unbounded => Bound::Included(keys::rows_of(family)),
    };
    let to = match range.1 {
        Bound::Included(key) => Bound::Included(keys::row(family, &key)),
        Bound::Excluded(key) => Bound::Excluded(keys::row(family, &key)),
        Bound::Unbounded => super::values::behind(&keys::rows_of(family)),
    };
    let found = view.values.ascending(from, to).take(limit);
    found.filter_map(|entry| entry.and_then(|entry| read(view, entry)).transpose()).collect()
}

/// Rows by an index of their family, which is not resident.
pub(super) fn by_index(
    view: View<'_>,
    family: &Family,
    index: u8,
    range: &IndexRange,
    limit: usize,
) -> Result<Vec<SharedRow>, ReadError> {
    let mut rows = Vec::new();
    for entry in entries(&view.values, family, index, range).take(limit) {
        let (_, key) = row_of_entry(&entry?.0).ok_or_else(|| bad_entry(family))?;
        rows.extend(row(view, family, &key)?);
    }
    Ok(rows)
}

/// The first key of an index of a family that is not resident.
pub(super) fn first_of_index(view: View<'_>, family: &Family, index: u8) -> Result<Option<IndexKey>, ReadError> {
    match entries(&view.values, family, index, &everything()).next() {
        None => Ok(None),
        Some(entry) => Ok(Some(row_of_entry(&entry?.0).ok_or_else(|| bad_entry(family))?.0)),
    }
}

/// The next rows of a family behind what was shown, and what has been shown then; nothing behind the last. Of a family whose
/// rows lapse the one that does last comes first.
pub(super) fn page(
    view: View<'_>,
    family: &Family,
    shown: Option<&[u8]>,
    limit: usize,
) -> Result<(Vec<SharedRow>, Option<Vec<u8>>), ReadError> {
    if family.is_resident {
        return Ok((view.live.rows.all_of(family), None));
    }
    let Some(index) = family.lapses_by else {
        let from = shown.map_or(Bound::Unbounded, |shown| Bound::Excluded(RowKey::stored(shown)));
        let page = by_key(view, family, (from, Bound::Unbounded), limit)?;
        let last = page.last().map(|last| last.key().as_bytes().to_vec());
        return Ok((page, last));
    };
    let prefix = keys::row_indexes(family, index);
    let to = shown.map_or_else(|| super::values::behind(&prefix), |shown| Bound::Excluded(shown.to_vec()));
    let (mut page, mut last) = (Vec::new(), None);
    for entry in view.values.descending(Bound::Included(prefix), to).take(limit) {
        let (entry, _) = entry?;
        let (_, key) = row_of_entry(&entry).ok_or_else(|| bad_entry(family))?;
        page.extend(row(view, family, &key)?);
        last = Some(entry);
    }
    Ok((page, last))
}

fn entries<'v, 'a>(
    values: &'v Values<'a>,
    family: &Family,
    index: u8,
    range: &IndexRange,
) -> impl Iterator<Item = Listed> + use<'v, 'a> {
    let prefix = keys::row_indexes(family, index);
    let (from, to) = crate::store::rows::entry_range(range);
    let to = match to {
        Some(to) => Bound::Excluded([prefix.as_slice(), &to].concat()),
        None => super::values::behind(&prefix),
    };
    values.ascending(Bound::Included([prefix, from].concat()), to)
}

/// What a row is found by, and its key, of a key under [`keys::ROW_INDEX`].
pub(super) fn row_of_entry(entry: &[u8]) -> Option<(IndexKey, RowKey)> {
    read_entry(entry.get(3..)?)
}

/// The row of an entry under [`keys::ROW`].
fn read(view: View<'_>, (key, entry): Pair) -> Result<Option<SharedRow>, ReadError> {
    let value = view.values.whole(&key, entry)?;
    Ok(Some(view.live.rows.registry().decode(&value)?))
}

fn bad_entry(family: &Family) -> ReadError {
    ReadError::Damaged(format!("an entry of an index of {}", family.name))
}
