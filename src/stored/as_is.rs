//! Values that are written as the domain has them, until each has a shape of its own.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Malformed, Stored};
use crate::domain::access::Token;
use crate::domain::audit::AuditRow;
use crate::domain::breaker::PluginBreaker;
use crate::domain::change::RememberedSubmit;
use crate::domain::job::{JobState, Run, Submission};
use crate::domain::plugin::Plugin;
use crate::domain::query::Counts;
use crate::domain::queue::QueueState;
use crate::domain::schedule::Schedule;
use crate::domain::service::ServiceState;

macro_rules! stored_as_is {
    ($($number:literal $name:literal $type:ty,)*) => {$(
        impl Stored for $type {
            const FAMILY: u8 = $number;
            const NAME: &'static str = $name;
            const VERSION: u8 = 1;

            fn append_fields(&self, buffer: &mut Vec<u8>) {
                append(self, buffer);
            }

            fn read_fields(version: u8, fields: &[u8]) -> Result<Self, Malformed> {
                read($name, version, fields)
            }

            fn append_json(&self, buffer: &mut Vec<u8>) {
                serde_json::to_writer(buffer, self).expect("every value of the store can be written as JSON");
            }

            fn of_json(version: u8, json: &str) -> Result<Self, Malformed> {
                match version {
                    1 => serde_json::from_str(json).map_err(|error| Malformed::new($name, error.to_string())),
                    _ => Err(later($name, version)),
                }
            }
        }
    )*};
}

stored_as_is! {
    1 "submission" Submission,
    2 "job-state" JobState,
    3 "run" Run,
    4 "plugin" Plugin,
    5 "schedule" Schedule,
    6 "queue" QueueState,
    7 "service" ServiceState,
    8 "token" Token,
    9 "breaker" PluginBreaker,
    10 "idempotency-key" RememberedSubmit,
    11 "audit" AuditRow,
    12 "counts" Counts,
}

fn later(what: &'static str, version: u8) -> Malformed {
    Malformed::new(what, format!("version {version} was written by a later release"))
}

fn append<T: Serialize>(value: &T, buffer: &mut Vec<u8>) {
    let taken = std::mem::take(buffer);
    *buffer = postcard::to_extend(value, taken).expect("memory takes everything that serde can write");
}

fn read<T: DeserializeOwned>(what: &'static str, version: u8, fields: &[u8]) -> Result<T, Malformed> {
    match (version, postcard::take_from_bytes(fields)) {
        (1, Ok((value, []))) => Ok(value),
        (1, Ok((_, rest))) => Err(Malformed::new(what, format!("{} bytes too many", rest.len()))),
        (1, Err(error)) => Err(Malformed::new(what, error.to_string())),
        _ => Err(later(what, version)),
    }
}
