//! Whole numbers as JSON writes them: `3` and `3.0` are the same one (JSON Schema 2020-12, validation 6.1.1).

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

/// Reads a whole number, or nothing.
pub(super) fn whole<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i128>,
{
    from.deserialize_any(Whole(PhantomData))
}

/// The greatest number below which a fraction can be told from a whole number.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

struct Whole<T>(PhantomData<T>);

impl<T: TryFrom<i128>> Visitor<'_> for Whole<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names by which messages know them.
        f.write_str(if T::try_from(-1).is_ok() { "i64" } else { "u64" })
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<T>, E> {
        let read = T::try_from(i128::from(number)).map(Some);
        read.map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<T>, E> {
        let read = T::try_from(i128::from(number)).map(Some);
        read.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<T>, E> {
        let wrong = || E::invalid_type(Unexpected::Float(number), &self);
        if number.fract() != 0.0 || number.abs() > EXACT_MAX {
            return Err(wrong());
        }
        // Written without its fraction it is a whole number.
        let whole: i128 = format!("{number:.0}").parse().map_err(|_| wrong())?;
        T::try_from(whole).map(Some).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Numbers {
        #[serde(default, deserialize_with = "whole")]
        any: Option<i64>,
        #[serde(default, deserialize_with = "whole")]
        natural: Option<u64>,
    }

    #[test]
    fn a_number_without_a_fraction_is_whole_however_it_is_written() {
        for (text, any, natural) in [
            (r#"{"any": -3, "natural": 3}"#, Some(-3), Some(3)),
            (r#"{"any": -3.0, "natural": 3.0}"#, Some(-3), Some(3)),
            (r#"{"any": 1e2, "natural": null}"#, Some(100), None),
            ("{}", None, None),
        ] {
            let read: Numbers = serde_json::from_str(text).expect(text);
            assert_eq!((read.any, read.natural), (any, natural), "{text}");
        }
        for text in
            [r#"{"any": 1.5}"#, r#"{"natural": -1}"#, r#"{"natural": -1.0}"#, r#"{"any": 1e300}"#, r#"{"any": "1"}"#]
        {
            assert!(serde_json::from_str::<Numbers>(text).is_err(), "{text}");
        }
    }
}
