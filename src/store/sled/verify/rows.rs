//! Rows: each lies under its own key and says nothing that cannot be so, and everything that follows from it is there.

use super::Walk;
use super::entries::BAD_KEY;
use crate::domain::family::{Family, RowKey, SharedRow};
use crate::store::ReadError;
use crate::store::sled::keys;
use crate::store::sled::rows::row_of_entry;

const STRANGE: &str = "this version does not know such entries";

impl Walk<'_> {
    pub(super) fn row(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let Some((number, row_key)) = keys::row_of(key) else { return self.report.find(place, BAD_KEY) };
        let Some(family) = self.families.family(number) else { return self.report.find(place, STRANGE) };
        *self.report.rows.entry(family.name.to_owned()).or_default() += 1;
        if family.goes_with_job() {
            self.belongs(place, row_key.job());
        }
        let Some(row) = self.take(place, self.families.decode(value)) else { return };
        if *row.family() != *family || row.key() != row_key {
            self.report.find(place, format!("it says that it is {}", row.describe()));
        }
        for flaw in row.flaws() {
            self.report.find(place, flaw);
        }
        for (index, by) in row.index_keys() {
            self.expect(place, &keys::row_index(family, index, &by, &row_key));
        }
        for blob in row.blobs() {
            self.expect(place, &keys::blob_of_row(blob.digest, family, &row_key));
            let place = format!("{}: {}", row.describe(), blob.what);
            self.blob(&place, blob.digest, blob.bytes);
        }
    }

    /// An entry of an index follows from a row.
    pub(super) fn row_index(&mut self, place: &str, key: &[u8]) {
        let of = key.get(1).zip(key.get(2)).zip(row_of_entry(key));
        let Some(((number, index), (by, row_key))) = of else { return self.report.find(place, BAD_KEY) };
        let Some(family) = self.families.family(*number) else { return self.report.find(place, STRANGE) };
        // One that cannot be read is a finding of its own.
        let Ok(row) = self.row_at(family, &row_key) else { return };
        if !row.is_some_and(|row| row.index_keys().contains(&(*index, by))) {
            self.report.find(place, format!("it does not follow from {}", family.describe(&row_key)));
        }
    }

    /// That a row names a blob keeps the blob.
    pub(super) fn row_blob(&mut self, place: &str, key: &[u8]) {
        let Some((digest, number, row_key)) = keys::row_blob_entry(key) else {
            return self.report.find(place, BAD_KEY);
        };
        let Some(family) = self.families.family(number) else { return self.report.find(place, STRANGE) };
        let Ok(row) = self.row_at(family, &row_key) else { return };
        let is_named = row.is_some_and(|row| row.blobs().iter().any(|blob| blob.digest == digest));
        self.report.leftovers += u64::from(!is_named);
    }

    fn row_at(&self, family: &Family, key: &RowKey) -> Result<Option<SharedRow>, ReadError> {
        let value = self.values.get(&keys::row(family, key))?;
        Ok(value.map(|value| self.families.decode(&value)).transpose()?)
    }
}
