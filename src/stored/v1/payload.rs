//! Bytes of a job: in JSON `{"text": ...}` where they are UTF-8, `{"base64": ...}` where they are not, or
//! `{"blob": ..., "bytes": ...}` where they lie in the blob store.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::leaf::{Hash, Text};
use crate::domain::job;
use crate::stored::shape::{Absent, shape};

/// See the module.
pub(in crate::stored) struct Payload<'a>(Packed<'a>);

#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
enum Packed<'a> {
    Inline(Octets<'a>),
    Blob { digest: Hash, bytes: u64 },
}

shape! {
    Readable<'a> {
        always {}
        later {
            text: Option<Text<'a>>,
            base64: Option<Text<'a>>,
            blob: Option<Hash>,
            bytes: Option<u64>,
        }
    }
}

impl Default for Payload<'_> {
    fn default() -> Self {
        Self(Packed::Inline(Octets(Cow::Borrowed(&[]))))
    }
}

impl Absent for Payload<'_> {
    fn is_absent(&self) -> bool {
        matches!(&self.0, Packed::Inline(bytes) if bytes.0.is_empty())
    }
}

impl<'a> From<&'a job::Payload> for Payload<'a> {
    fn from(payload: &'a job::Payload) -> Self {
        Self(match payload {
            job::Payload::Inline(bytes) => Packed::Inline(Octets(Cow::Borrowed(bytes))),
            job::Payload::Blob { digest, bytes } => Packed::Blob { digest: (*digest).into(), bytes: *bytes },
        })
    }
}

impl From<Payload<'_>> for job::Payload {
    fn from(payload: Payload<'_>) -> Self {
        match payload.0 {
            Packed::Inline(Octets(Cow::Borrowed(bytes))) => Self::Inline(Bytes::copy_from_slice(bytes)),
            Packed::Inline(Octets(Cow::Owned(bytes))) => Self::Inline(bytes.into()),
            Packed::Blob { digest, bytes } => Self::Blob { digest: digest.into(), bytes },
        }
    }
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { self.readable().serialize(to) } else { self.0.serialize(to) }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Payload<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return Packed::deserialize(from).map(Self);
        }
        match Readable::deserialize(from)? {
            Readable { text: Some(text), base64: None, blob: None, bytes: None } => {
                Ok(Self(Packed::Inline(match text.0 {
                    Cow::Borrowed(text) => Octets(Cow::Borrowed(text.as_bytes())),
                    Cow::Owned(text) => Octets(Cow::Owned(text.into_bytes())),
                })))
            }
            Readable { text: None, base64: Some(text), blob: None, bytes: None } => match STANDARD.decode(&*text.0) {
                Ok(bytes) => Ok(Self(Packed::Inline(Octets(Cow::Owned(bytes))))),
                Err(error) => Err(D::Error::custom(format_args!("`base64` cannot be read: {error}"))),
            },
            Readable { text: None, base64: None, blob: Some(digest), bytes: Some(bytes) } => {
                Ok(Self(Packed::Blob { digest, bytes }))
            }
            _ => Err(D::Error::custom("expected one of: `text`, `base64`, `blob` with `bytes`")),
        }
    }
}

impl<'a> Payload<'a> {
    fn readable(&'a self) -> Readable<'a> {
        let none = Readable { text: None, base64: None, blob: None, bytes: None };
        match &self.0 {
            Packed::Inline(Octets(bytes)) => match str::from_utf8(bytes) {
                Ok(text) => Readable { text: Some(text.into()), ..none },
                Err(_) => Readable { base64: Some(Text(Cow::Owned(STANDARD.encode(bytes)))), ..none },
            },
            Packed::Blob { digest, bytes } => Readable { blob: Some(*digest), bytes: Some(*bytes), ..none },
        }
    }
}

/// Bytes that are written in one piece, and lent by what they are read from.
struct Octets<'a>(Cow<'a, [u8]>);

impl Serialize for Octets<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Octets<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Lent<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Lent<'a> {
            type Value = Octets<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Octets<'a>, E> {
                Ok(Octets(Cow::Borrowed(bytes)))
            }
        }

        from.deserialize_bytes(Lent(PhantomData))
    }
}
