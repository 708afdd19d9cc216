//! What an attempt may use, and what it used.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::loops;

/// The largest native stack that an operator may allow, in bytes.
pub const STACK_BYTES_MAX: u64 = 8 << 20;

/// The limits of one slice. Each but the stack is set per plug-in, with a host-wide default (design section 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Units of work; the budget and the bill.
    pub fuel: u64,
    /// Wall-clock time of one slice.
    pub wall: Duration,
    /// Sum of the linear memories, in bytes, with the tables and what else an instance takes beyond the first MiB of that.
    pub memory_bytes: u64,
    /// Elements of one table.
    pub table_elements: u64,
    /// Bytes of one job's input.
    pub input_bytes: u64,
    /// Bytes of one job's output.
    pub output_bytes: u64,
    /// Bytes of log kept: the first and the last half, with a marker between.
    pub log_bytes: u64,
    /// Bytes that one host call may copy out of the guest.
    pub host_call_bytes: u64,
    /// Bytes that all host calls of an attempt may copy.
    pub host_copy_bytes: u64,
    /// Host calls of an attempt.
    pub host_calls: u64,
    /// Resource handles held at a time.
    pub handles: u32,
    /// Outbound requests of an attempt.
    pub outbound_requests: u32,
    /// Runs of one handler for one record within an hour that jobs of one chain may cause.
    pub runs_per_record: u32,
    /// Bytes of the native stack that Wasm frames may use; the same for every plug-in of a host.
    pub stack_bytes: u64,
}

impl Limits {
    /// The deadline of a job, where it stops a run before the wall-clock limit does.
    pub fn stopped_before(&self, deadline: Option<Duration>) -> Option<Duration> {
        deadline.filter(|deadline| *deadline < self.wall)
    }
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            fuel: 400_000_000_000,
            wall: Duration::from_secs(30),
            memory_bytes: 64 * MIB,
            table_elements: 10_000,
            input_bytes: MIB,
            output_bytes: MIB,
            log_bytes: 256 << 10,
            host_call_bytes: 4 * MIB,
            host_copy_bytes: 64 * MIB,
            host_calls: 1_000_000,
            handles: 1_000,
            outbound_requests: 32,
            runs_per_record: loops::RUNS_PER_RECORD,
            stack_bytes: 512 << 10,
        }
    }
}

/// What one run used, or the sum over the runs of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Units of fuel.
    pub fuel: u64,
    /// Time that the guest held a core, in microseconds.
    pub cpu_micros: u64,
    /// Time from start to end, in microseconds.
    pub wall_micros: u64,
    /// The greatest sum of linear memories, tables and what else an instance takes, in bytes.
    pub peak_memory_bytes: u64,
    /// Calls from the guest into the host.
    pub host_calls: u64,
    /// Bytes written to the log, kept or not.
    pub log_bytes: u64,
}

impl Usage {
    /// The sum of two runs; of the memory the greater peak.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            fuel: self.fuel.saturating_add(other.fuel),
            cpu_micros: self.cpu_micros.saturating_add(other.cpu_micros),
            wall_micros: self.wall_micros.saturating_add(other.wall_micros),
            peak_memory_bytes: self.peak_memory_bytes.max(other.peak_memory_bytes),
            host_calls: self.host_calls.saturating_add(other.host_calls),
            log_bytes: self.log_bytes.saturating_add(other.log_bytes),
        }
    }
}
