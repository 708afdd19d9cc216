use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Bytes, Failure, UnixMillis};

/// How an attempt ends, when it does not fail.
///
/// A handler that only ever succeeds returns its output alone; one that needs the other ends returns an outcome of it.
///
/// ```
/// # use backroom_sdk::prelude::*;
/// # use std::time::Duration;
/// fn remind(due_in_seconds: u64) -> Result<Outcome<String>> {
///     if due_in_seconds > 0 {
///         return Ok(Outcome::Suspended(Wake::after(Duration::from_secs(due_in_seconds))));
///     }
///     Ok(Outcome::Succeeded("sent".into()))
/// }
/// # assert_eq!(remind(0).unwrap(), Outcome::Succeeded("sent".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T = Bytes> {
    /// Done; this is the job's output.
    Succeeded(T),
    /// Nothing to do, and no error: why.
    Canceled(String),
    /// Try again, after [`Failure::retry_after`] or when the job's own policy says.
    Retry(Failure),
    /// Give the slot back until a time or an event.
    Suspended(Wake),
    /// A checkpoint is stored; give the slot back and go on from there soon.
    Yielded,
}

/// What ends a suspension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// A time.
    At(UnixMillis),
    /// An event of this name.
    Event(String),
}

impl Wake {
    /// This long from now, by the clock that the handler sees.
    pub fn after(delay: Duration) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Wake::At(millis(since_epoch + delay))
    }
}

fn millis(duration: Duration) -> UnixMillis {
    duration.as_millis().try_into().unwrap_or(UnixMillis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_without_end_stays_a_valid_time() {
        assert_eq!(millis(Duration::MAX), UnixMillis::MAX);
        let Wake::At(soon) = Wake::after(Duration::ZERO) else { panic!("a delay is a time") };
        assert!(soon > 1_700_000_000_000);
    }
}
