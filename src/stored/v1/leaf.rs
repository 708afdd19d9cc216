//! The smallest parts of shapes: texts, times, spans, digests, numbers that are no counts.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::id::Digest;
use crate::domain::time::Timestamp;
use crate::stored::shape::Unfit;

/// Text that is lent by whoever writes it, and by what it is read from where it stands there as it is.
pub(in crate::stored) struct Text<'a>(pub(in crate::stored) Cow<'a, str>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(text: &'a String) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<Text<'_>> for String {
    fn from(text: Text<'_>) -> Self {
        text.0.into_owned()
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Lent<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Lent<'a> {
            type Value = Text<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'a>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'a>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        from.deserialize_str(Lent(PhantomData))
    }
}

/// A text of which the domain makes something.
pub(super) fn parsed<T, E: std::error::Error>(text: &Text<'_>, new: fn(&str) -> Result<T, E>) -> Result<T, Unfit> {
    Ok(new(&text.0)?)
}

/// The same where there may be none.
pub(super) fn parsed_if<T, E: std::error::Error>(
    text: Option<&Text<'_>>,
    new: fn(&str) -> Result<T, E>,
) -> Result<Option<T>, Unfit> {
    Ok(text.map(|text| new(&text.0)).transpose()?)
}

/// Something that is text in JSON and another thing in bytes.
trait Leaf: Copy {
    type Packed: Serialize + for<'de> Deserialize<'de>;

    const WHAT: &'static str;

    fn packed(self) -> Self::Packed;
    fn unpacked(packed: Self::Packed) -> Self;
    fn text(self) -> String;
    fn of_text(text: &str) -> Option<Self>;
}

fn write_leaf<L: Leaf, S: Serializer>(leaf: L, to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() { to.serialize_str(&leaf.text()) } else { leaf.packed().serialize(to) }
}

fn read_leaf<'de, L: Leaf, D: Deserializer<'de>>(from: D) -> Result<L, D::Error> {
    if !from.is_human_readable() {
        return L::Packed::deserialize(from).map(L::unpacked);
    }
    let text = Text::deserialize(from)?;
    L::of_text(&text.0).ok_or_else(|| {
        let start: String = text.0.chars().take(80).collect();
        D::Error::custom(format_args!("`{start}` is not {}", L::WHAT))
    })
}

macro_rules! leaves {
    ($($type:ident)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                write_leaf(*self, to)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                read_leaf(from)
            }
        }
    )*};
}

leaves! { Time Span Hash Bits }

/// A point in time: microseconds since the Unix epoch; in JSON RFC 3339. What lies outside the years that can be written
/// there is a count of microseconds with `us` behind it.
#[derive(Clone, Copy)]
pub(in crate::stored) struct Time(i64);

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time.0)
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        Self(time.0)
    }
}

impl Leaf for Time {
    type Packed = i64;

    const WHAT: &'static str = "a time like 2030-01-31T08:00:00Z (RFC 3339)";

    fn packed(self) -> i64 {
        self.0
    }

    fn unpacked(micros: i64) -> Self {
        Self(micros)
    }

    fn text(self) -> String {
        Timestamp(self.0).to_exact_text()
    }

    fn of_text(text: &str) -> Option<Self> {
        match text.strip_suffix("us") {
            Some(micros) => micros.parse().ok().map(Self),
            None => Timestamp::from_str(text).ok().map(Self::from),
        }
    }
}

/// A span of time: seconds and nanoseconds; in JSON decimal seconds with `s` behind them.
#[derive(Clone, Copy, Default)]
pub(in crate::stored) struct Span(Duration);

impl From<Duration> for Span {
    fn from(span: Duration) -> Self {
        Self(span)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl crate::stored::shape::Absent for Span {
    fn is_absent(&self) -> bool {
        self.0.is_zero()
    }
}

impl Leaf for Span {
    type Packed = (u64, u32);

    const WHAT: &'static str = "a span of seconds like 1.5s";

    fn packed(self) -> (u64, u32) {
        (self.0.as_secs(), self.0.subsec_nanos())
    }

    fn unpacked((seconds, nanos): (u64, u32)) -> Self {
        Self(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into())))
    }

    fn text(self) -> String {
        let (seconds, nanos) = self.packed();
        match nanos {
            0 => format!("{seconds}s"),
            _ => format!("{}s", format!("{seconds}.{nanos:09}").trim_end_matches('0')),
        }
    }

    fn of_text(text: &str) -> Option<Self> {
        let text = text.strip_suffix('s')?;
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let are_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !are_digits(seconds) || !are_digits(fraction) || fraction.len() > 9 {
            return None;
        }
        Some(Self::unpacked((seconds.parse().ok()?, format!("{fraction:0<9}").parse().ok()?)))
    }
}

/// A SHA-256; in JSON 64 hexadecimal digits.
#[derive(Clone, Copy)]
pub(in crate::stored) struct Hash([u8; 32]);

impl From<Digest> for Hash {
    fn from(digest: Digest) -> Self {
        Self(digest.0)
    }
}

impl From<Hash> for Digest {
    fn from(hash: Hash) -> Self {
        Self(hash.0)
    }
}

impl Leaf for Hash {
    type Packed = [u8; 32];

    const WHAT: &'static str = "a SHA-256 of 64 hexadecimal digits";

    fn packed(self) -> [u8; 32] {
        self.0
    }

    fn unpacked(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn text(self) -> String {
        Digest(self.0).to_string()
    }

    fn of_text(text: &str) -> Option<Self> {
        Digest::of_hex(text).map(Self::from)
    }
}

/// Sixty-four bits that count nothing; in JSON 16 hexadecimal digits, because many readers of JSON have no such numbers.
#[derive(Clone, Copy, Default, PartialEq)]
pub(in crate::stored) struct Bits(pub(in crate::stored) u64);

impl crate::stored::shape::Absent for Bits {
    fn is_absent(&self) -> bool {
        self.0 == 0
    }
}

impl Leaf for Bits {
    type Packed = u64;

    const WHAT: &'static str = "a number of 16 hexadecimal digits";

    fn packed(self) -> u64 {
        self.0
    }

    fn unpacked(bits: u64) -> Self {
        Self(bits)
    }

    fn text(self) -> String {
        format!("{:016x}", self.0)
    }

    fn of_text(text: &str) -> Option<Self> {
        let is_number = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| is_number).map(Self)
    }
}
