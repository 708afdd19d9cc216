//! Typed identities and names, and what makes a name acceptable.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::access::{UNNAMED_IN_API, UNNAMED_IN_CONSOLE};
use super::time::Timestamp;

/// The owner of plug-ins, records and jobs. Every stored key carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub u32);

impl TenantId {
    /// The tenant of everybody who names none.
    pub const DEFAULT: Self = Self(0);
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DEFAULT => f.write_str("default"),
            Self(number) => write!(f, "tenant-{number}"),
        }
    }
}

/// The order of submission: later jobs have greater numbers. At most 48 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// Where a job is kept: short, ordered, and contained in its [`JobId`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The order of submission.
    pub sequence: Sequence,
}

/// The public identity of a job: a UUID of version 7 (RFC 9562 section 5.7) whose last 48 bits are the job's
/// [`Sequence`], so that finding a job needs no index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub Uuid);

impl JobId {
    /// The identity of the job number `sequence`, created at `created_on`. The low 14 bits of `salt` make it hard to
    /// guess a neighbour's identity from one's own.
    pub fn new(created_on: Timestamp, sequence: Sequence, salt: u16) -> Self {
        let millis = u128::try_from(created_on.as_millis()).unwrap_or(0) & 0xffff_ffff_ffff;
        let micros = u128::try_from(created_on.as_micros().rem_euclid(1_000)).unwrap_or(0);
        let salt = u128::from(salt & 0x3fff);
        let sequence = u128::from(sequence.0 & 0xffff_ffff_ffff);
        Self(Uuid::from_u128(millis << 80 | 0x7 << 76 | micros << 64 | 0b10 << 62 | salt << 48 | sequence))
    }

    /// The job's place in the order of submission.
    pub fn sequence(self) -> Sequence {
        Sequence(u64::try_from(self.0.as_u128() & 0xffff_ffff_ffff).unwrap_or(0))
    }
}

/// The end of a job's id: 8 to 12 hexadecimal digits. They are the low bits of its sequence, so that they lead to the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdEnding {
    value: u64,
    digits: u32,
}

impl IdEnding {
    /// The sequences below `end` whose ids end so, the smallest first.
    pub fn sequences(self, end: Sequence) -> impl Iterator<Item = Sequence> {
        let step = 1_usize << (4 * self.digits);
        (self.value..end.0).step_by(step).map(Sequence)
    }
}

impl FromStr for IdEnding {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "the end of an id has 8 to 12 hexadecimal digits";
        let is_ending = (8..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = u64::from_str_radix(text, 16).ok().filter(|_| is_ending).ok_or(WHAT)?;
        Ok(Self { value, digits: u32::try_from(text.len()).map_err(|_| WHAT)? })
    }
}

impl fmt::Display for IdEnding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, digits } = *self;
        write!(f, "{value:0width$x}", width = digits as usize)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// One run of one host process: a new number at every start, so that a restarted host never passes for the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u64);

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host-{}", self.0)
    }
}

/// The SHA-256 of some bytes; pins a plug-in version and names a blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of 64 hexadecimal digits, as it is shown.
    pub fn of_hex(hex: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (index, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).ok()?;
        }
        Some(Self(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a name is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{text}` is not acceptable: {why}")]
pub struct InvalidName {
    /// What was to be named.
    pub what: &'static str,
    /// What was given, cut to 80 characters.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, text: &str, why: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), why }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $form:expr, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Which texts are acceptable, as a regular expression for those who describe the API.
            pub const FORM: &str = $form;

            /// Checks and takes a name.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                check(text).map_err(|why| InvalidName::new($what, text, why))?;
                Ok(Self(Arc::from(text)))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

/// The form of a name that goes into addresses and settings; see [`check_slug`].
const SLUG: &str = "^[a-z][a-z0-9-]{0,63}$";

/// The form of a key: text without control characters.
const TEXT: &str = r"^[^\x00-\x1f\x7f-\x9f]+$";

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;

/// What stands between the space of a key and the key itself in the text of a key: no control character is in either.
const END_OF_SPACE: char = '\n';

/// The space and the key of a text.
fn spaced(text: &str) -> (Option<&str>, &str) {
    text.split_once(END_OF_SPACE).map_or((None, text), |(space, key)| (Some(space), key))
}

/// A key that jobs share. It belongs to the space that all share, or to that of one holder of a token: the same key in two
/// spaces is two keys. Its text carries the space, so that whoever compares texts keeps the spaces apart; people see the key as
/// it was given.
macro_rules! key {
    ($(#[$doc:meta])* $type:ident, $what:literal, $form:expr, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Which texts are acceptable, as a regular expression for those who describe the API. Their length is counted in
            /// bytes, which an expression cannot do: see [`KEY_BYTES_MAX`].
            pub const FORM: &str = $form;

            /// Checks and takes a key of the space that all share.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                check(text).map_err(|why| InvalidName::new($what, text, why))?;
                Ok(Self(Arc::from(text)))
            }

            /// Takes a whole text, as [`Self::as_str`] gives it.
            pub fn stored(text: &str) -> Result<Self, InvalidName> {
                let (space, key) = spaced(text);
                space.map(TokenName::new).transpose()?;
                Self::new(key)?;
                Ok(Self(Arc::from(text)))
            }

            /// The same key in the space of somebody; in the one that all share without.
            #[must_use]
            pub fn in_space(&self, space: Option<&TokenName>) -> Self {
                match space {
                    Some(space) => Self(Arc::from(format!("{space}{END_OF_SPACE}{}", self.given()))),
                    None => Self(Arc::from(self.given())),
                }
            }

            /// The whole text, with the space.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whose space it is in; none for the one that all share.
            pub fn space(&self) -> Option<&str> {
                spaced(&self.0).0
            }

            /// The key as it was given.
            pub fn given(&self) -> &str {
                spaced(&self.0).1
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.given())
            }
        }
    };
}

name! {
    /// The name of a plug-in: 1 to 64 lower-case letters, digits and `-`, starting with a letter.
    PluginName, "the plug-in name", SLUG, check_slug
}

name! {
    /// The name of a handler: 1 to 64 letters, digits, `-`, `_`, `.`, `/`, `:`, `#` and `@`.
    HandlerName, "the handler name", "^[A-Za-z0-9_./:#@-]{1,64}$", |text| {
        check_length(text)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./:#@".contains(c);
        if text.chars().all(allowed) { Ok(()) } else { Err("use letters, digits and - _ . / : # @") }
    }
}

impl Serialize for HandlerName {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HandlerName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

name! {
    /// The name of a queue: like that of a plug-in.
    QueueName, "the queue name", SLUG, check_slug
}

name! {
    /// The name of a schedule: like that of a plug-in.
    ScheduleName, "the schedule name", SLUG, check_slug
}

name! {
    /// The name of a token and of its holder: like that of a plug-in, but not one by which the host notes callers without a
    /// name.
    TokenName, "the token name", SLUG, |text| {
        check_slug(text)?;
        match text {
            UNNAMED_IN_API | UNNAMED_IN_CONSOLE => Err("that is what callers without a name are called"),
            _ => Ok(()),
        }
    }
}

key! {
    /// Jobs that share one run one after another, in order of creation (domain.md 4.1): 1 to 256 bytes of text.
    OrderingKey, "the ordering key", TEXT, check_key
}

key! {
    /// Of the jobs of a plug-in that share one, only so many run at a time, in whatever order: 1 to 256 bytes of text.
    ConcurrencyKey, "the concurrency key", TEXT, check_key
}

key! {
    /// At most one unfinished job has it (promise 6): 1 to 256 bytes of text.
    DedupKey, "the dedup key", TEXT, check_key
}

key! {
    /// The record that a job is about, as `entity/id`: 3 to 256 bytes of text with a `/` inside.
    RecordName, "the record", r"^[^/\x00-\x1f\x7f-\x9f]+/[^\x00-\x1f\x7f-\x9f]+$", |text| {
        check_key(text)?;
        match text.split_once('/') {
            Some((entity, id)) if !entity.is_empty() && !id.is_empty() => Ok(()),
            _ => Err("it must look like entity/id"),
        }
    }
}

name! {
    /// A version of a plug-in, in the form of semantic versioning: `1.2.3`, `1.2.3-beta.1`, `1.2.3+build`.
    VersionName, "the version", r"^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}([-+][0-9A-Za-z.+-]*)?$", check_version
}

impl HandlerName {
    /// The entry point that a job gets when it names none.
    pub fn default_handle() -> Self {
        Self(Arc::from("handle"))
    }
}

impl QueueName {
    /// The queue of every job that names none.
    pub fn default_queue() -> Self {
        Self(Arc::from("default"))
    }
}

fn check_length(text: &str) -> Result<(), &'static str> {
    match text.len() {
        0 => Err("it is empty"),
        1..=64 => Ok(()),
        _ => Err("it is longer than 64 characters"),
    }
}

fn check_slug(text: &str) -> Result<(), &'static str> {
    check_length(text)?;
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err("it must start with a lower-case letter");
    }
    if !text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        return Err("use lower-case letters, digits and -");
    }
    Ok(())
}

fn check_key(text: &str) -> Result<(), &'static str> {
    match text.len() {
        0 => return Err("it is empty"),
        1..=KEY_BYTES_MAX => {}
        _ => return Err("it is longer than 256 bytes"),
    }
    if text.chars().any(char::is_control) { Err("it holds a control character") } else { Ok(()) }
}

fn check_version(text: &str) -> Result<(), &'static str> {
    check_length(text)?;
    let core = text.bytes().position(|byte| matches!(byte, b'-' | b'+')).map_or(text, |end| &text[..end]);
    let is_number = |part: &[u8]| (1..=9).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
    let parts = core.as_bytes().split(|byte| *byte == b'.');
    let (count, are_numbers) = parts.fold((0, true), |(count, so_far), part| (count + 1, so_far && is_number(part)));
    if count != 3 || !are_numbers {
        return Err("it must look like 1.2.3");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+')) {
        return Err("use digits, letters, and . - +");
    }
    Ok(())
}
