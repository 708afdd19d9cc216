//! What shapes are made of: how they are written, and when one does not fit the value that it is read into.

use std::borrow::Cow;

/// Why a shape is not a value of the domain, in words.
#[derive(Debug)]
pub(in crate::stored) struct Unfit(pub(in crate::stored) String);

impl<E: std::error::Error> From<E> for Unfit {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Whether a field is as if it was not there: JSON leaves it out.
pub(in crate::stored) trait Absent {
    fn is_absent(&self) -> bool;
}

impl<T> Absent for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Clone> Absent for Cow<'_, [T]> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// A struct as it is written; see [`shape`].
pub(in crate::stored) trait Shape {
    /// The names of its fields, in the order of the bytes.
    const FIELDS: &'static [&'static str];

    /// Writes the fields up to the last that is there: what comes behind it has its default when it is read.
    fn serialize_present<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error>;
}

macro_rules! absent_when_default {
    ($($type:ty),*) => {$(
        impl Absent for $type {
            fn is_absent(&self) -> bool {
                *self == <$type>::default()
            }
        }
    )*};
}

absent_when_default! { bool, u32, u64, i32 }

/// A struct as it is written. The fields under `always` must be there. Those under `later` may be absent: JSON leaves out
/// what is as if it was not there, and the bytes of a value end before them. The order is that of the bytes: what is rarely
/// there comes later, and a new field comes last.
macro_rules! shape {
    ($(#[$doc:meta])* $name:ident<'a> $fields:tt) => {
        shape! { @struct [$(#[$doc])*] [bound(deserialize = "'de: 'a")] [$name] ['a] $fields }
    };
    ($(#[$doc:meta])* $name:ident $fields:tt) => {
        shape! { @struct [$(#[$doc])*] [] [$name] [] $fields }
    };
    (@struct [$(#[$doc:meta])*] [$($bound:tt)*] [$name:ident] [$($life:lifetime)?] {
        always { $($always:ident: $always_type:ty,)* }
        later { $($later:ident: $later_type:ty,)* }
    }) => {
        $(#[$doc])*
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields, $($bound)*)]
        pub(in crate::stored) struct $name $(<$life>)? {
            $(pub(in crate::stored) $always: $always_type,)*
            $(#[serde(default)] pub(in crate::stored) $later: $later_type,)*
        }

        impl $(<$life>)? $crate::stored::shape::Shape for $name $(<$life>)? {
            const FIELDS: &'static [&'static str] = &[$(stringify!($always),)* $(stringify!($later),)*];

            fn serialize_present<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct as _;
                let absent: &[bool] = &[$($crate::stored::shape::Absent::is_absent(&self.$later),)*];
                let mut _present = absent.iter().rposition(|is_absent| !is_absent).map_or(0, |last| last + 1);
                let mut fields = to.serialize_struct(stringify!($name), Self::FIELDS.len())?;
                $(fields.serialize_field(stringify!($always), &self.$always)?;)*
                $(
                    if _present > 0 {
                        fields.serialize_field(stringify!($later), &self.$later)?;
                        _present -= 1;
                    }
                )*
                fields.end()
            }
        }

        impl $(<$life>)? serde::Serialize for $name $(<$life>)? {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct as _;
                let _leaves_out = to.is_human_readable();
                let fields = <Self as $crate::stored::shape::Shape>::FIELDS;
                let mut fields = to.serialize_struct(stringify!($name), fields.len())?;
                $(fields.serialize_field(stringify!($always), &self.$always)?;)*
                $(
                    if !(_leaves_out && $crate::stored::shape::Absent::is_absent(&self.$later)) {
                        fields.serialize_field(stringify!($later), &self.$later)?;
                    }
                )*
                fields.end()
            }
        }
    };
}

/// An enum of single words as it is written: in bytes the place of the word, so a new one comes last. The first is what an
/// absent field stands for.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident is $domain:ty { $first:ident $(, $other:ident)* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(in crate::stored) enum $name {
            #[default]
            $first,
            $($other,)*
        }

        impl From<$domain> for $name {
            fn from(value: $domain) -> Self {
                match value {
                    <$domain>::$first => Self::$first,
                    $(<$domain>::$other => Self::$other,)*
                }
            }
        }

        impl From<$name> for $domain {
            fn from(word: $name) -> Self {
                match word {
                    $name::$first => Self::$first,
                    $($name::$other => Self::$other,)*
                }
            }
        }

        impl $crate::stored::shape::Absent for $name {
            fn is_absent(&self) -> bool {
                *self == Self::$first
            }
        }
    )*};
}

pub(in crate::stored) use {shape, words};
