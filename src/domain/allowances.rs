//! How much a host takes at a time.

use std::time::Duration;

/// What a host takes at a time; how it is shared among callers is the API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowances {
    /// Connections, as far as the process may have so many.
    pub connections: u32,
    /// How long somebody may read next to nothing of what waits for him, or send next to nothing of a body.
    pub stall: Duration,
    /// Requests that are answered; further ones are told to come back.
    pub requests: u64,
    /// Streams of changes that are open.
    pub streams: u64,
    /// Submits that wait for the end of their job; further ones are answered at once.
    pub waits: u64,
    /// Bytes of bodies that have come in and are not dealt with yet.
    pub body_bytes: u64,
}

impl Default for Allowances {
    fn default() -> Self {
        Self {
            connections: 4_096,
            stall: Duration::from_secs(30),
            requests: 512,
            streams: 256,
            waits: 1_024,
            body_bytes: 512 << 20,
        }
    }
}
