//! The fields of a value as bytes: those of postcard, of which later ones may be absent.

use postcard::{Deserializer, Error};
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer, forward_to_deserialize_any};

use super::Malformed;
use super::shape::Shape;

/// Appends the fields of a shape.
pub(super) fn append(shape: &impl Shape, buffer: &mut Vec<u8>) {
    let taken = std::mem::take(buffer);
    *buffer = postcard::to_extend(&Present(shape), taken).expect("memory takes everything that serde can write");
}

/// A shape without the last of its fields that are not there.
struct Present<'a, S>(&'a S);

impl<S: Shape> Serialize for Present<'_, S> {
    fn serialize<T: Serializer>(&self, to: T) -> Result<T::Ok, T::Error> {
        self.0.serialize_present(to)
    }
}

/// Reads the fields of a shape, which fill all of `bytes`. Fields that `bytes` ends before have their defaults, where the
/// shape allows it.
pub(super) fn read<'de, S: Deserialize<'de>>(what: &'static str, bytes: &'de [u8]) -> Result<S, Malformed> {
    let mut rest = bytes;
    let shape = S::deserialize(Fields(&mut rest)).map_err(|error| Malformed::new(what, error.to_string()))?;
    match rest {
        [] => Ok(shape),
        _ => Err(Malformed::new(what, format!("{} bytes too many", rest.len()))),
    }
}

/// What is left of a value. Only the value itself is read here: its fields, and all that is inside them, are postcard's.
struct Fields<'a, 'de>(&'a mut &'de [u8]);

impl<'de> serde::Deserializer<'de> for Fields<'_, 'de> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }

    /// A stored value is a struct, so that fields can be added to it.
    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::WontImplement)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for Fields<'_, 'de> {
    type Error = Error;

    /// The next field; none where the value ends, for which serde's code takes the field's default if it has one.
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut field = Deserializer::from_bytes(self.0);
        let value = seed.deserialize(&mut field)?;
        *self.0 = field.finalize()?;
        Ok(Some(value))
    }
}
