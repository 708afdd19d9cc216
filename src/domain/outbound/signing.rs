//! Which requests are signed, and with which keys, as Standard Webhooks has it: each receiver has keys of its own, so that none of
//! them can pass for the sender at another one.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use super::Origin;

/// Bytes of a key.
pub const KEY_BYTES: RangeInclusive<usize> = 24..=64;

/// Keys of one receiver at a time: the one that it knows, and those that it is to know while they change.
pub const KEYS_MAX: usize = 4;

/// A key that the host shares with one receiver. It does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Takes the bytes of a key, unless there are too few or too many.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        KEY_BYTES.contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The secret itself.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

/// Why a receiver cannot have these keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// It has none.
    #[error("has no key")]
    None,
    /// It has too many.
    #[error("has {0} keys; at most {KEYS_MAX} sign a request")]
    TooMany(usize),
    /// It has one of them twice.
    #[error("has the same key twice")]
    Repeated,
    /// Another receiver has one of them.
    #[error("has a key that {0} has, too: either could pass for this host at the other one")]
    Shared(String),
    /// It has keys already.
    #[error("stands there for the second time")]
    Again,
}

/// The receivers whose requests are signed, each with its keys.
#[derive(Clone, Debug, Default)]
pub struct SigningKeys(BTreeMap<String, Vec<SigningKey>>);

impl SigningKeys {
    /// Gives a receiver its keys.
    pub fn give(&mut self, origin: &Origin, keys: Vec<SigningKey>) -> Result<(), BadKeys> {
        if keys.is_empty() {
            return Err(BadKeys::None);
        }
        if keys.len() > KEYS_MAX {
            return Err(BadKeys::TooMany(keys.len()));
        }
        if keys.iter().enumerate().any(|(at, key)| keys[..at].contains(key)) {
            return Err(BadKeys::Repeated);
        }
        let name = origin.as_grant();
        if self.0.contains_key(&name) {
            return Err(BadKeys::Again);
        }
        if let Some((other, _)) = self.0.iter().find(|(_, theirs)| theirs.iter().any(|key| keys.contains(key))) {
            return Err(BadKeys::Shared(other.clone()));
        }
        self.0.insert(name, keys);
        Ok(())
    }

    /// The keys that sign a request to an origin; none when it goes unsigned.
    pub fn of(&self, origin: &Origin) -> &[SigningKey] {
        self.0.get(&origin.as_grant()).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(authority: &str) -> Origin {
        Origin::of("https", authority).expect("an origin")
    }

    fn key(byte: u8) -> SigningKey {
        SigningKey::new(vec![byte; 24]).expect("it is long enough")
    }

    #[test]
    fn a_key_has_24_to_64_bytes_and_shows_none_of_them() {
        for (bytes, is_key) in [(0, false), (23, false), (24, true), (64, true), (65, false)] {
            assert_eq!(SigningKey::new(vec![7; bytes]).is_some(), is_key, "{bytes}");
        }
        let mut keys = SigningKeys::default();
        keys.give(&origin("a.example"), vec![key(77)]).expect("it has none yet");
        assert!(!format!("{keys:?}").contains("77"), "{keys:?}");
    }

    #[test]
    fn each_receiver_has_keys_of_its_own() {
        let mut keys = SigningKeys::default();
        keys.give(&origin("a.example"), vec![key(1), key(2)]).expect("they are its own");
        for (receiver, theirs, why) in [
            ("b.example", vec![], BadKeys::None),
            ("b.example", vec![key(3); 2], BadKeys::Repeated),
            ("b.example", (3..8).map(key).collect(), BadKeys::TooMany(5)),
            ("b.example", vec![key(3), key(2)], BadKeys::Shared("https://a.example".to_owned())),
            ("a.example:443", vec![key(3)], BadKeys::Again),
        ] {
            assert_eq!(keys.give(&origin(receiver), theirs), Err(why));
        }
        keys.give(&origin("b.example"), vec![key(3)]).expect("it is its own");
        assert_eq!(keys.of(&origin("A.example.")), [key(1), key(2)], "the origin counts, not how it is written");
        for unsigned in ["c.example", "a.example:8443", "x.a.example"] {
            assert_eq!(keys.of(&origin(unsigned)), [], "{unsigned}");
        }
        assert_eq!(keys.of(&Origin::of("http", "a.example:443").expect("an origin")), [], "TLS is a part of it");
    }
}
