//! Reading and writing single values of the index: what a group is about to write lies over what the tree holds.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use super::codec::Malformed;
use super::keys;
use crate::store::ReadError;

/// A key and its value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// Longer values are cut into parts: a leaf of the tree stays small (design section 6).
const VALUE_BYTES_MAX: usize = 4096;

/// The first byte of a value that is cut into parts.
const CUT: u8 = 0xff;

impl From<Malformed> for ReadError {
    fn from(malformed: Malformed) -> Self {
        Self::Damaged(malformed.to_string())
    }
}

/// What an error of the tree means to a reader.
pub(super) fn read_error(error: &sled::Error) -> ReadError {
    match error {
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => ReadError::Damaged(told(error)),
        sled::Error::Io(error) => ReadError::of(error),
        _ => ReadError::Failed(told(error)),
    }
}

/// An error of the tree in words: without the backtrace, which is empty, and without asking people to report it elsewhere.
pub(super) fn told(error: &sled::Error) -> String {
    match error {
        sled::Error::Corruption { at: Some(at), .. } => format!("Read corrupted data at file offset {at:?}"),
        sled::Error::Corruption { at: None, .. } => "Read corrupted data".to_owned(),
        sled::Error::ReportableBug(what) => format!("the index cannot be read: {what}"),
        error => error.to_string(),
    }
}

/// How many parts a value of this many bytes has beside its first entry. A value has 256 MiB at most; no record comes near:
/// the largest is a plug-in, whose versions and names are bounded, and what may be long besides is a blob.
pub(super) fn parts_of(bytes: usize) -> u16 {
    match bytes {
        0..=VALUE_BYTES_MAX => 0,
        _ => u16::try_from(bytes.div_ceil(VALUE_BYTES_MAX)).unwrap_or(u16::MAX),
    }
}

/// How many parts the value of a raw entry has.
pub(super) fn parts_of_entry(entry: &[u8]) -> u16 {
    match entry {
        [CUT, low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    }
}

/// What is to be written to the tree as soon as the journal has it on disk.
#[derive(Debug, Default)]
pub(super) struct Writes(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Writes {
    /// Sets a value of any length. Keys whose values may shrink are deleted with their parts first.
    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        let parts = parts_of(value.len());
        assert!(
            usize::from(parts) * VALUE_BYTES_MAX >= value.len() || parts == 0,
            "a record is bounded far below that"
        );
        if parts == 0 {
            self.0.insert(key, Some(value));
            return;
        }
        for (number, part) in (0..parts).zip(value.chunks(VALUE_BYTES_MAX)) {
            self.0.insert(keys::part(&key, number), Some(part.to_vec()));
        }
        let [low, high] = parts.to_le_bytes();
        self.0.insert(key, Some(vec![CUT, low, high]));
    }

    /// Sets a value in the place of one that has `parts` parts.
    pub(super) fn replace(&mut self, key: Vec<u8>, parts: u16, value: Vec<u8>) {
        self.delete_all(key.clone(), parts);
        self.put(key, value);
    }

    /// Sets an entry that has no value.
    pub(super) fn mark(&mut self, key: Vec<u8>) {
        self.0.insert(key, Some(Vec::new()));
    }

    /// Removes an entry without parts.
    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.0.insert(key, None);
    }

    /// Removes a value that has `parts` parts.
    pub(super) fn delete_all(&mut self, key: Vec<u8>, parts: u16) {
        for number in 0..parts {
            self.0.insert(keys::part(&key, number), None);
        }
        self.delete(key);
    }

    /// How many entries it touches.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The writes as the tree takes them.
    pub(super) fn batch(&self) -> sled::Batch {
        let mut batch = sled::Batch::default();
        for (key, value) in &self.0 {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        batch
    }
}

/// How many entries' pages one round of [`free_replaced_pages`] is for: it frees some five hundred.
const ENTRIES_A_ROUND: usize = 128;

/// Frees the pages that a batch of so many entries has replaced. The tree copies a page for each entry and leaves it to the
/// next accesses to free the old ones, a few at a time: after a large commit that is gigabytes, for hours.
pub(super) fn free_replaced_pages(entries: usize) {
    // Pages are free two epochs after they were replaced.
    for _ in 0..3 + entries / ENTRIES_A_ROUND {
        crossbeam_epoch::pin().flush();
    }
}

/// The values as a reader or the writer sees them.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    tree: &'a sled::Tree,
    over: Option<&'a Writes>,
}

impl<'a> Values<'a> {
    /// What the tree holds.
    pub(super) fn stored(tree: &'a sled::Tree) -> Self {
        Self { tree, over: None }
    }

    /// What the tree will hold after `writes`.
    pub(super) fn after(tree: &'a sled::Tree, writes: &'a Writes) -> Self {
        Self { tree, over: Some(writes) }
    }

    /// An entry as it is stored, of parts only the first bytes.
    pub(super) fn entry(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        if let Some(written) = self.over.and_then(|over| over.0.get(key)) {
            return Ok(written.clone());
        }
        let stored = self.tree.get(key).map_err(|error| read_error(&error))?;
        Ok(stored.map(|value| value.to_vec()))
    }

    /// A whole value.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        match self.entry(key)? {
            Some(entry) => self.whole(key, entry).map(Some),
            None => Ok(None),
        }
    }

    /// The value of an entry that was found.
    pub(super) fn whole(&self, key: &[u8], entry: Vec<u8>) -> Result<Vec<u8>, ReadError> {
        let parts = parts_of_entry(&entry);
        if parts == 0 {
            return Ok(entry);
        }
        let mut value = Vec::with_capacity(usize::from(parts) * VALUE_BYTES_MAX);
        for number in 0..parts {
            let part = self.entry(&keys::part(key, number))?;
            value.extend(part.ok_or_else(|| ReadError::Damaged(format!("part {number} of a value is missing")))?);
        }
        Ok(value)
    }

    /// The last entry of the keyspace of `key` that is not behind `key`, with its whole value.
    pub(super) fn floor(&self, key: &[u8]) -> Result<Option<Pair>, ReadError> {
        let keyspace = Bound::Included(key[..1].to_vec());
        match self.descending(keyspace, Bound::Included(key.to_vec())).next() {
            None => Ok(None),
            Some(entry) => {
                let (key, value) = entry?;
                let value = self.whole(&key, value)?;
                Ok(Some((key, value)))
            }
        }
    }

    /// The entries of a range as they are stored, from the first on.
    pub(super) fn ascending(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> impl Iterator<Item = Listed> + 'a {
        let range = (from, to);
        let written = self.over.map(|over| over.0.range(range.clone())).into_iter().flatten();
        merge(self.tree.range(range), written, Ordering::Less)
    }

    /// The entries of a range as they are stored, from the last on.
    pub(super) fn descending(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> impl Iterator<Item = Listed> + 'a {
        let range = (from, to);
        let written = self.over.map(|over| over.0.range(range.clone()).rev()).into_iter().flatten();
        merge(self.tree.range(range).rev(), written, Ordering::Greater)
    }

    /// The entries whose keys start with `prefix`, as they are stored, in order.
    pub(super) fn starting(&self, prefix: &[u8]) -> impl Iterator<Item = Listed> + 'a {
        self.ascending(Bound::Included(prefix.to_vec()), behind(prefix))
    }
}

/// An entry of a range.
pub(super) type Listed = Result<Pair, ReadError>;

/// The end of all keys that start with `prefix`.
pub(super) fn behind(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

/// What is stored and what is written over it, in one order; `first` says which of two keys comes first.
fn merge<'a>(
    stored: impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>> + 'a,
    written: impl Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)> + 'a,
    first: Ordering,
) -> impl Iterator<Item = Listed> + 'a {
    let mut stored = stored.peekable();
    let mut written = written.peekable();
    std::iter::from_fn(move || {
        loop {
            let of_both = match (stored.peek(), written.peek()) {
                (Some(Ok((stored, _))), Some((written, _))) => stored.as_ref().cmp(written.as_slice()),
                (Some(_), _) => first,
                (None, Some(_)) => first.reverse(),
                (None, None) => return None,
            };
            if of_both == first {
                let entry = stored.next()?.map_err(|error| read_error(&error));
                return Some(entry.map(|(key, value)| (key.to_vec(), value.to_vec())));
            }
            if of_both == Ordering::Equal {
                stored.next();
            }
            if let (key, Some(value)) = written.next()? {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    })
}
