//! What one slice may use: counted here, and remembered when it is refused.

use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use crate::domain::limits::Limits;
use crate::domain::uploads::CORE_INSTANCES_MAX;

/// Core instances, memories and tables of one store. What a component starts with is bounded at upload, so nothing runs into
/// this; there is no way to make more later.
const ITEMS_PER_STORE: usize = CORE_INSTANCES_MAX as usize;

/// Bytes of one element of a table.
const ELEMENT_BYTES: u64 = 8;

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
    /// The stack that compilers keep in linear memory.
    ShadowStack,
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

/// Bytes beside the linear memories that are not counted against the limit of memory: what an ordinary instance takes.
const FREE_BYTES: u64 = 1 << 20;

/// Limits what an instance takes by the sum of memories and tables, tables also one by one, and remembers what it refused.
#[derive(Debug)]
pub(crate) struct Meter {
    memory_limit: u64,
    table_limit: u64,
    held: Held,
    peak: u64,
    /// What was held before the last growth, in case that it fails after all.
    before: Held,
    refused: Option<Breach>,
    /// Whether the guest has done nothing since that can be seen from here.
    was_refused_last: bool,
}

/// Bytes of linear memories, and bytes beside them.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    memory: u64,
    beside: u64,
}

impl Held {
    fn with(self, memory: u64, beside: u64) -> Self {
        Self { memory: self.memory.saturating_add(memory), beside: self.beside.saturating_add(beside) }
    }

    fn sum(self) -> u64 {
        self.memory.saturating_add(self.beside)
    }

    fn counted(self) -> u64 {
        self.memory.saturating_add(self.beside.saturating_sub(FREE_BYTES))
    }
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_limit: limits.memory_bytes,
            table_limit: limits.table_elements,
            held: Held::default(),
            peak: 0,
            before: Held::default(),
            refused: None,
            was_refused_last: false,
        }
    }

    /// Counts what the instance takes beside its memories and tables: it is there before any growth can be refused, and
    /// bounded at upload.
    pub(crate) fn hold(&mut self, bytes: u64) {
        self.held = self.held.with(0, bytes);
        self.peak = self.peak.max(self.held.sum());
    }

    /// The greatest sum of memories, tables and what else an instance takes, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// The last growth that was refused.
    pub(crate) fn refused(&self) -> Option<Breach> {
        self.refused
    }

    /// The last growth that was refused, where the guest has neither grown nor called the host since.
    pub(crate) fn refused_last(&self) -> Option<Breach> {
        self.refused.filter(|_| self.was_refused_last)
    }

    /// Takes in that the guest goes on after whatever was refused.
    pub(crate) fn goes_on(&mut self) {
        self.was_refused_last = false;
    }

    fn refuse(&mut self, breach: Breach) -> bool {
        self.refused = Some(breach);
        self.was_refused_last = true;
        false
    }

    fn grow(&mut self, memory: u64, beside: u64) -> bool {
        let grown = self.held.with(memory, beside);
        if grown.counted() > self.memory_limit {
            let asked = memory.saturating_add(beside);
            return self.refuse(Breach::Memory { had: self.held.counted(), asked });
        }
        self.goes_on();
        self.before = std::mem::replace(&mut self.held, grown);
        self.peak = self.peak.max(grown.sum());
        true
    }
}

fn growth(current: usize, desired: usize) -> u64 {
    (desired as u64).saturating_sub(current as u64)
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(growth(current, desired), 0))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.held = self.before;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired as u64 > self.table_limit {
            return Ok(self.refuse(Breach::TableElements { asked: desired as u64 }));
        }
        Ok(self.grow(0, growth(current, desired).saturating_mul(ELEMENT_BYTES)))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_grow_failed(error)
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

    /// Counts as much of `most` bytes as both limits leave room for, and says how much that is; there must be room for one.
    pub(crate) fn charge_up_to(&self, most: u64) -> Result<u64, Halt> {
        let most = most.min(self.limit_of_one);
        let room = |copied: u64| most.min(self.limit.saturating_sub(copied));
        let charged =
            self.copied.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |copied| Some(copied + room(copied)));
        match charged.map_or_else(room, room) {
            0 if most > 0 => Err(Halt::Breach(Breach::HostCopy)),
            charged => Ok(charged),
        }
    }

    /// Takes back what was not copied, or is counted against another limit instead.
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
        assert_eq!(meter.refused_last(), meter.refused());
        assert!(meter.memory_growing(100, 150, None).expect("no trap"));
        assert_eq!((meter.refused_last(), meter.peak()), (None, 300));
        assert!(!meter.memory_growing(150, 151, None).expect("no trap"));
        meter.goes_on();
        assert_eq!((meter.refused_last(), meter.refused()), (None, Some(Breach::Memory { had: 300, asked: 1 })));
    }

    #[test]
    fn what_lies_beside_the_memories_counts_past_the_first_mebibyte() {
        let limits = Limits { memory_bytes: 1_000, table_elements: u64::MAX, ..Limits::default() };
        let mut meter = Meter::new(&limits);
        meter.hold(FREE_BYTES - 80);
        assert!(meter.table_growing(0, 10, None).expect("no trap"), "the first MiB is free");
        assert!(meter.memory_growing(0, 920, None).expect("no trap"));
        assert!(meter.table_growing(0, 10, None).expect("no trap"));
        assert!(!meter.table_growing(10, 11, None).expect("no trap"));
        assert_eq!(meter.refused(), Some(Breach::Memory { had: 1_000, asked: 8 }));
        assert_eq!(meter.peak(), FREE_BYTES + 1_000);
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
    fn what_may_be_less_takes_the_room_there_is() {
        let limits = Limits { host_copy_bytes: 10, host_call_bytes: 6, ..Limits::default() };
        let copies = Copies::new(&limits);
        assert_eq!(copies.charge_up_to(64), Ok(6));
        assert_eq!(copies.charge_up_to(64), Ok(4));
        assert_eq!(copies.charge_up_to(0), Ok(0));
        assert_eq!(copies.charge_up_to(1), Err(Halt::Breach(Breach::HostCopy)));
        copies.give_back(3);
        assert_eq!(copies.charge_up_to(2), Ok(2));
    }

    #[test]
    fn a_crossing_carries_a_call_and_an_output() {
        let of =
            |host_call_bytes, output_bytes| crossing(&Limits { host_call_bytes, output_bytes, ..Limits::default() });
        assert_eq!(of(4 << 20, 1 << 20), 4 << 20);
        assert_eq!(of(4 << 20, 8 << 20), (8 << 20) + AROUND_AN_OUTPUT);
    }
}
