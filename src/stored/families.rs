//! The families of stored values, and the shapes that each was written in.

use serde::Deserialize;

use super::shape::Unfit;
use super::{Family, Malformed, Stored, v1};
use crate::domain::access::Token;
use crate::domain::audit::AuditRow;
use crate::domain::breaker::PluginBreaker;
use crate::domain::change::RememberedSubmit;
use crate::domain::id::Sequence;
use crate::domain::job::{BrokenKey, JobState, Run, Submission};
use crate::domain::plugin::Plugin;
use crate::domain::query::Counts;
use crate::domain::queue::QueueState;
use crate::domain::schedule::Schedule;
use crate::domain::service::ServiceState;

/// A family: its number, its name, its type, the version that is written today with its shape, and the earlier ones, each with
/// its way up to today's.
macro_rules! stored {
    ($number:literal $name:literal $type:ty = $today:literal $shape:ty $(; $earlier:literal $first:ty $(=> $up:ty)+)*) => {
        impl $crate::stored::Stored for $type {
            const FAMILY: u8 = $number;
            const NAME: &'static str = $name;
            const VERSION: u8 = $today;
            const FIELDS: &'static [&'static str] = <$shape as $crate::stored::shape::Shape>::FIELDS;

            fn append_fields(&self, buffer: &mut Vec<u8>) {
                $crate::stored::fields::append(&<$shape>::from(self), buffer);
            }

            fn read_fields(version: u8, bytes: &[u8]) -> Result<Self, $crate::stored::Malformed> {
                let value = match version {
                    $today => $crate::stored::fields::read::<$shape>($name, bytes)?.try_into(),
                    $($earlier => {
                        let shape = $crate::stored::fields::read::<$first>($name, bytes)?;
                        $(let shape = <$up>::from(shape);)+
                        shape.try_into()
                    })*
                    _ => return Err($crate::stored::families::unknown::<Self>(version)),
                };
                $crate::stored::families::fit(value)
            }

            fn append_json(&self, buffer: &mut Vec<u8>) {
                serde_json::to_writer(buffer, &<$shape>::from(self)).expect("every shape can be written as JSON");
            }

            fn of_json(version: u8, json: &str) -> Result<Self, $crate::stored::Malformed> {
                let value = match version {
                    $today => $crate::stored::families::of_json::<Self, $shape>(json)?.try_into(),
                    $($earlier => {
                        let shape = $crate::stored::families::of_json::<Self, $first>(json)?;
                        $(let shape = <$up>::from(shape);)+
                        shape.try_into()
                    })*
                    _ => return Err($crate::stored::families::unknown::<Self>(version)),
                };
                $crate::stored::families::fit(value)
            }
        }
    };
}

macro_rules! families {
    ($($number:literal $name:literal $type:ty = $today:literal $shape:ty $(; $earlier:literal $first:ty $(=> $up:ty)+)*,)*) => {
        $(stored! { $number $name $type = $today $shape $(; $earlier $first $(=> $up)+)* })*

        /// Every family. Their numbers stand for ever, also where a family goes.
        pub const FAMILIES: &[Family] = &[$(Family::of::<$type>(),)*];
    };
}

families! {
    1 "submission" Submission = 1 v1::Submission,
    2 "job-state" JobState = 1 v1::JobState,
    3 "run" Run = 1 v1::Run,
    4 "plugin" Plugin = 1 v1::Plugin,
    5 "schedule" Schedule = 1 v1::Schedule,
    6 "queue" QueueState = 1 v1::QueueState,
    7 "service" ServiceState = 1 v1::ServiceState,
    8 "token" Token = 1 v1::Token,
    9 "breaker" PluginBreaker = 1 v1::PluginBreaker,
    10 "idempotency-key" RememberedSubmit = 1 v1::RememberedSubmit,
    11 "audit" AuditRow = 1 v1::AuditRow,
    12 "counts" Counts = 1 v1::Counts,
    13 "number" u64 = 1 v1::Number,
    14 "sequence" Sequence = 1 v1::Number,
    15 "broken-key" BrokenKey = 1 v1::BrokenKey,
}

pub(super) fn unknown<T: Stored>(version: u8) -> Malformed {
    let why = match version {
        0 => "version 0 was never written".to_owned(),
        _ => format!("version {version} was written by a later release; this one knows versions up to {}", T::VERSION),
    };
    Malformed::new(T::NAME, why)
}

pub(super) fn fit<T: Stored, E>(value: Result<T, E>) -> Result<T, Malformed>
where
    Unfit: From<E>,
{
    value.map_err(|error| Malformed::new(T::NAME, Unfit::from(error).0))
}

pub(super) fn of_json<'a, T: Stored, S: Deserialize<'a>>(json: &'a str) -> Result<S, Malformed> {
    serde_json::from_str(json).map_err(|error| Malformed::new(T::NAME, error.to_string()))
}

#[cfg(test)]
pub(super) use stored;
