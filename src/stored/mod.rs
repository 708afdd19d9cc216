//! The stored form: how each kind of value is written, in each of its versions, and the way up from one to the next.
//!
//! A stored value is its family, its own version, and its fields, of which later ones may be absent. The same value is
//! written as one line of JSON in a backup. What is written here is read by every later release.

mod families;
mod fields;
mod registry;
mod shape;
mod v1;

#[cfg(test)]
pub(crate) mod golden;
#[cfg(test)]
pub(crate) mod grown;
#[cfg(test)]
pub(crate) mod samples;

pub use families::FAMILIES;
pub use registry::Registry;

/// Something stored is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Malformed {
    /// What kind of value it should be.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl Malformed {
    /// A value of a kind that cannot be read, and why.
    pub fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, why: why.into() }
    }
}

/// A value that stores keep.
pub trait Stored: Sized {
    /// The number of its family, the first byte of the value. Never given to another kind.
    const FAMILY: u8;
    /// What the family is called in backups and errors.
    const NAME: &'static str;
    /// The version that this release writes.
    const VERSION: u8;
    /// The names of its fields, as the JSON of this version has them.
    const FIELDS: &'static [&'static str];

    /// Appends the fields as [`Stored::VERSION`] writes them.
    fn append_fields(&self, buffer: &mut Vec<u8>);

    /// Reads the fields of any version up to [`Stored::VERSION`]; they fill all of `fields`.
    fn read_fields(version: u8, fields: &[u8]) -> Result<Self, Malformed>;

    /// Appends the fields as [`Stored::VERSION`] writes them, as one JSON object without line breaks.
    fn append_json(&self, buffer: &mut Vec<u8>);

    /// Reads the JSON of any version up to [`Stored::VERSION`].
    fn of_json(version: u8, json: &str) -> Result<Self, Malformed>;
}

/// A value with its family and version in front.
pub fn encode<T: Stored>(value: &T) -> Vec<u8> {
    let mut buffer = vec![T::FAMILY, T::VERSION];
    value.append_fields(&mut buffer);
    buffer
}

/// Reads a value with its family and version in front.
pub fn decode<T: Stored>(value: &[u8]) -> Result<T, Malformed> {
    match value {
        [family, version, fields @ ..] if *family == T::FAMILY => T::read_fields(*version, fields),
        [family, ..] => Err(Malformed::new(T::NAME, format!("family {family} is another kind of value"))),
        [] => Err(Malformed::new(T::NAME, "it is empty")),
    }
}

/// A kind of stored value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// See [`Stored::FAMILY`].
    pub number: u8,
    /// See [`Stored::NAME`].
    pub name: &'static str,
    /// See [`Stored::VERSION`].
    pub version: u8,
}

impl Family {
    const fn of<T: Stored>() -> Self {
        Self { number: T::FAMILY, name: T::NAME, version: T::VERSION }
    }
}
