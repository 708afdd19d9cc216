//! Reading and writing single values of the index: what a group is about to write lies over what the tree holds.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use super::codec::{self, Malformed};
use super::engine::{Engine, Found, Order, Pair, Write};
use super::keys;
use crate::store::{ReadError, rows};

/// Longer values are cut into parts: a leaf of the tree stays small (design section 6).
const VALUE_BYTES_MAX: usize = 4096;

/// The first byte of a value that is cut into parts.
const CUT: u8 = 0xff;

impl From<Malformed> for ReadError {
    fn from(malformed: Malformed) -> Self {
        Self::Damaged(malformed.to_string())
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
#[derive(Clone, Debug, Default)]
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

    /// Sets an entry as the tree has it.
    pub(super) fn set(&mut self, key: Vec<u8>, entry: Option<Vec<u8>>) {
        self.0.insert(key, entry);
    }

    /// Whether it touches an entry.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.0.contains_key(key)
    }

    /// The entries that it touches.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.0.keys()
    }

    /// How many entries it touches.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The writes as the tree takes them.
    pub(super) fn iter(&self) -> impl Iterator<Item = Write<'_>> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }
}

/// The values as a reader or the writer sees them.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    tree: &'a dyn Engine,
    over: Option<&'a Writes>,
}

impl<'a> Values<'a> {
    /// What the tree holds.
    pub(super) fn stored(tree: &'a dyn Engine) -> Self {
        Self { tree, over: None }
    }

    /// What the tree will hold after `writes`.
    pub(super) fn after(tree: &'a dyn Engine, writes: &'a Writes) -> Self {
        Self { tree, over: Some(writes) }
    }

    /// An entry as it is stored, of parts only the first bytes.
    pub(super) fn entry(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        if let Some(written) = self.over.and_then(|over| over.0.get(key)) {
            return Ok(written.clone());
        }
        Ok(self.tree.get(key)?)
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

    /// A number of the store; 0 where none is noted.
    pub(super) fn number(&self, key: &[u8]) -> Result<u64, ReadError> {
        Ok(self.get(key)?.map(|value| codec::decode(&value)).transpose()?.unwrap_or(0))
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
        let stored = self.tree.range(from.clone(), to.clone(), Order::Ascending);
        let written = self.over.map(|over| over.0.range((from, to))).into_iter().flatten();
        merge(stored, written, Ordering::Less)
    }

    /// The entries of a range as they are stored, from the last on.
    pub(super) fn descending(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> impl Iterator<Item = Listed> + 'a {
        let stored = self.tree.range(from.clone(), to.clone(), Order::Descending);
        let written = self.over.map(|over| over.0.range((from, to)).rev()).into_iter().flatten();
        merge(stored, written, Ordering::Greater)
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
    rows::behind(prefix).map_or(Bound::Unbounded, Bound::Excluded)
}

/// What is stored and what is written over it, in one order; `first` says which of two keys comes first.
fn merge<'a>(
    stored: impl Iterator<Item = Found> + 'a,
    written: impl Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)> + 'a,
    first: Ordering,
) -> impl Iterator<Item = Listed> + 'a {
    let mut stored = stored.peekable();
    let mut written = written.peekable();
    std::iter::from_fn(move || {
        loop {
            let of_both = match (stored.peek(), written.peek()) {
                (Some(Ok((stored, _))), Some((written, _))) => stored.cmp(written),
                (Some(_), _) => first,
                (None, Some(_)) => first.reverse(),
                (None, None) => return None,
            };
            if of_both == first {
                return Some(stored.next()?.map_err(ReadError::from));
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
