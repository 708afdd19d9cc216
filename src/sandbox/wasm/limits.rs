//! What one slice may use: counted here, and remembered when it is refused.

use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use crate::domain::limits::Limits;

/// Core instances, memories and tables of one store. Composed components and those of Python have some dozens.
const ITEMS_PER_STORE: usize = 200;

/// A limit that a guest ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    Fuel,
    /// Bytes that it had, and that it asked for on top.
    Memory {
        had: u64,
        asked: u64,
    },
    TableElements {
        asked: u64,
    },
    Handles,
    Stack,
    Output {
        at_least: u64,
    },
    HostCalls,
    HostCallBytes,
    HostCopy,
    /// One set of header fields, which has a size that no setting changes.
    Fields,
    OutboundRequests,
}

/// Why the host stopped a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Killed,
    TimedOut,
}

/// The error that a host function or a tick ends the guest with; the cause is found again by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Halt {
    #[error("the host stopped the guest")]
    Stop(Stop),
    #[error("a limit was reached")]
    Breach(Breach),
}

/// Limits memories by their sum and tables one by one, and remembers what it refused.
#[derive(Debug)]
pub(crate) struct Meter {
    memory_limit: u64,
    table_limit: u64,
    memory: u64,
    peak: u64,
    /// What the last growth added, in case that it fails after all.
    last_growth: u64,
    refused: Option<Breach>,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_limit: limits.memory_bytes,
            table_limit: limits.table_elements,
            memory: 0,
            peak: 0,
            last_growth: 0,
            refused: None,
        }
    }

    /// The greatest sum of memories, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// The last growth that was refused.
    pub(crate) fn refused(&self) -> Option<Breach> {
        self.refused
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = (desired as u64).saturating_sub(current as u64);
        let sum = self.memory.saturating_add(growth);
        if sum > self.memory_limit {
            self.refused = Some(Breach::Memory { had: self.memory, asked: growth });
            return Ok(false);
        }
        self.memory = sum;
        self.last_growth = growth;
        self.peak = self.peak.max(sum);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory = self.memory.saturating_sub(std::mem::take(&mut self.last_growth));
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired as u64 > self.table_limit {
            self.refused = Some(Breach::TableElements { asked: desired as u64 });
            return Ok(false);
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        ITEMS_PER_STORE
    }

    fn tables(&self) -> usize {
        ITEMS_PER_STORE
    }

    fn memories(&self) -> usize {
        ITEMS_PER_STORE
    }
}

/// What a result has beside its bytes when it is read from a guest.
const AROUND_AN_OUTPUT: u64 = 64 << 10;

/// Bytes that one crossing from guest to host may carry. The engine has one such number for calls and for the result of the
/// handler, so that it is the greater of both limits; [`Copies::charge`] holds calls to theirs.
pub(crate) fn crossing(limits: &Limits) -> u64 {
    limits.host_call_bytes.max(limits.output_bytes.saturating_add(AROUND_AN_OUTPUT))
}

/// Bytes that the host holds, or once held, because the guest called it: of one call and of all together. What was counted
/// stays counted when the host lets go, so that the sum also bounds what any moment can hold.
#[derive(Debug)]
pub(crate) struct Copies {
    limit: u64,
    limit_of_one: u64,
    copied: AtomicU64,
}

impl Copies {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limit: limits.host_copy_bytes, limit_of_one: limits.host_call_bytes, copied: AtomicU64::new(0) }
    }

    /// Counts `bytes` of one call, before they are kept.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), Halt> {
        let bytes = bytes as u64;
        if bytes > self.limit_of_one {
            return Err(Halt::Breach(Breach::HostCallBytes));
        }
        let before = self.copied.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limit {
            return Err(Halt::Breach(Breach::HostCopy));
        }
        Ok(())
    }

    /// Takes back what is counted against another limit instead.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.copied.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_limited_by_their_sum_and_the_peak_is_kept() {
        let limits = Limits { memory_bytes: 300, ..Limits::default() };
        let mut meter = Meter::new(&limits);
        assert!(meter.memory_growing(0, 100, None).expect("no trap"));
        assert!(meter.memory_growing(0, 150, None).expect("no trap"));
        assert!(!meter.memory_growing(100, 200, None).expect("no trap"));
        assert_eq!(meter.refused(), Some(Breach::Memory { had: 250, asked: 100 }));
        assert!(meter.memory_growing(100, 150, None).expect("no trap"));
        assert_eq!(meter.peak(), 300);
    }

    #[test]
    fn a_growth_that_fails_after_all_is_taken_back() {
        let limits = Limits { memory_bytes: 300, ..Limits::default() };
        let mut meter = Meter::new(&limits);
        assert!(meter.memory_growing(0, 300, None).expect("no trap"));
        meter.memory_grow_failed(wasmtime::format_err!("the system has none")).expect("no trap");
        assert!(meter.memory_growing(0, 300, None).expect("no trap"));
    }

    #[test]
    fn copies_add_up() {
        let limits = Limits { host_copy_bytes: 10, host_call_bytes: 6, ..Limits::default() };
        let copies = Copies::new(&limits);
        assert_eq!(copies.charge(7), Err(Halt::Breach(Breach::HostCallBytes)));
        assert_eq!(copies.charge(6), Ok(()));
        assert_eq!(copies.charge(6), Err(Halt::Breach(Breach::HostCopy)));
    }

    #[test]
    fn a_crossing_carries_a_call_and_an_output() {
        let of =
            |host_call_bytes, output_bytes| crossing(&Limits { host_call_bytes, output_bytes, ..Limits::default() });
        assert_eq!(of(4 << 20, 1 << 20), 4 << 20);
        assert_eq!(of(4 << 20, 8 << 20), (8 << 20) + AROUND_AN_OUTPUT);
    }
}
