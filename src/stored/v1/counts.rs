//! How many jobs stand where.

use crate::domain::job::Status;
use crate::domain::query;
use crate::stored::shape::shape;

macro_rules! counts {
    ($($word:ident: $status:ident,)*) => {
        shape! {
            /// Counts by status.
            Counts {
                always {}
                later { $($word: u64,)* }
            }
        }

        impl From<&query::Counts> for Counts {
            fn from(counts: &query::Counts) -> Self {
                Self { $($word: counts.of(Status::$status),)* }
            }
        }

        impl From<Counts> for query::Counts {
            fn from(shape: Counts) -> Self {
                let mut counts = Self::default();
                $(counts.0[Status::$status.index()] = shape.$word;)*
                counts
            }
        }
    };
}

counts! {
    queued: Queued,
    waiting: Waiting,
    retrying: Retrying,
    paused: Paused,
    running: Running,
    pausing: Pausing,
    canceling: Canceling,
    succeeded: Succeeded,
    failed: Failed,
    canceled: Canceled,
}
