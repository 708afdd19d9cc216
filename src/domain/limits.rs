//! What an attempt may use, and what it used.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::loops;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The largest native stack that an operator may allow, in bytes.
pub const STACK_BYTES_MAX: u64 = 8 << 20;

/// The limits of one slice. Each but the stack is set per plug-in, with a host-wide default (design section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// What is limited, by the name that the settings have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Axis {
    /// Units of work.
    Fuel,
    /// Wall-clock time, in milliseconds.
    Wall,
    /// Linear memory, in bytes.
    Memory,
    /// Bytes of input.
    Input,
    /// Bytes of output.
    Output,
    /// Bytes of log.
    Log,
    /// Bytes of one host call.
    HostCall,
    /// Bytes of all host calls.
    HostCopy,
    /// Host calls.
    HostCalls,
    /// Elements of a table.
    TableElements,
    /// Handles.
    Handles,
    /// Outbound requests.
    OutboundRequests,
    /// Bytes of the native stack; the same for every plug-in of a host.
    Stack,
}

impl Axis {
    /// Every axis.
    pub const ALL: [Self; 13] = [
        Self::Fuel,
        Self::Wall,
        Self::Memory,
        Self::Input,
        Self::Output,
        Self::Log,
        Self::HostCall,
        Self::HostCopy,
        Self::HostCalls,
        Self::TableElements,
        Self::Handles,
        Self::OutboundRequests,
        Self::Stack,
    ];

    /// Its key under `limits`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Wall => "wall",
            Self::Memory => "memory",
            Self::Input => "input",
            Self::Output => "output",
            Self::Log => "log",
            Self::HostCall => "host_call",
            Self::HostCopy => "host_copy",
            Self::HostCalls => "host_calls",
            Self::TableElements => "table_elements",
            Self::Handles => "handles",
            Self::OutboundRequests => "outbound_requests",
            Self::Stack => "stack",
        }
    }

    /// What an operator may set.
    pub const fn range(self) -> RangeInclusive<u64> {
        match self {
            Self::Fuel => 1..=1_000_000_000_000_000,
            // A day.
            Self::Wall => 1..=86_400_000,
            // From one Wasm page to all that 32 bits reach.
            Self::Memory => 64 * KIB..=4 * GIB,
            Self::Input | Self::Output | Self::Log => 0..=64 * MIB,
            Self::HostCall => 1..=GIB,
            Self::HostCopy => 1..=64 * GIB,
            Self::HostCalls => 1..=1 << 48,
            Self::TableElements => 0..=10_000_000,
            Self::Handles => 1..=1_000_000,
            Self::OutboundRequests => 0..=1_000_000,
            Self::Stack => 64 * KIB..=STACK_BYTES_MAX,
        }
    }

    /// A value as it is written in the settings, in the largest unit that says it exactly.
    pub fn toml(self, value: u64) -> String {
        match self {
            Self::Fuel | Self::HostCalls | Self::TableElements | Self::Handles | Self::OutboundRequests => {
                grouped(value, '_')
            }
            Self::Wall if value.is_multiple_of(1_000) => format!("\"{}s\"", value / 1_000),
            Self::Wall => format!("\"{value}ms\""),
            _ if value > 0 && value.is_multiple_of(MIB) => format!("\"{}MiB\"", value / MIB),
            _ if value > 0 && value.is_multiple_of(KIB) => format!("\"{}KiB\"", value / KIB),
            _ => format!("\"{value}B\""),
        }
    }

    /// What is enough for at least `needed`, rounded up to what people write; never more than may be set.
    pub fn enough(self, needed: u64) -> u64 {
        let step = match self {
            Self::Fuel
            | Self::HostCalls
            | Self::TableElements
            | Self::Handles
            | Self::OutboundRequests
            | Self::Wall => 1,
            _ if needed >= MIB => MIB,
            _ => KIB,
        };
        needed.checked_next_multiple_of(step).unwrap_or(u64::MAX).clamp(*self.range().start(), *self.range().end())
    }

    /// Its limit.
    pub fn of(self, limits: &Limits) -> u64 {
        match self {
            Self::Fuel => limits.fuel,
            Self::Wall => u64::try_from(limits.wall.as_millis()).unwrap_or(u64::MAX),
            Self::Memory => limits.memory_bytes,
            Self::Input => limits.input_bytes,
            Self::Output => limits.output_bytes,
            Self::Log => limits.log_bytes,
            Self::HostCall => limits.host_call_bytes,
            Self::HostCopy => limits.host_copy_bytes,
            Self::HostCalls => limits.host_calls,
            Self::TableElements => limits.table_elements,
            Self::Handles => limits.handles.into(),
            Self::OutboundRequests => limits.outbound_requests.into(),
            Self::Stack => limits.stack_bytes,
        }
    }
}

/// A number with something between its thousands.
pub(crate) fn grouped(value: u64, separator: char) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

impl Limits {
    /// The deadline of a job, where it stops a run before the wall-clock limit does.
    pub fn stopped_before(&self, deadline: Option<Duration>) -> Option<Duration> {
        deadline.filter(|deadline| *deadline < self.wall)
    }
}

impl Default for Limits {
    fn default() -> Self {
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_people_write_them() {
        for (axis, value, expected) in [
            (Axis::Fuel, 1_234_567, "1_234_567"),
            (Axis::Handles, 999, "999"),
            (Axis::Wall, 2_000, "\"2s\""),
            (Axis::Wall, 2_500, "\"2500ms\""),
            (Axis::Memory, 64 << 20, "\"64MiB\""),
            (Axis::Input, 1_536, "\"1536B\""),
            (Axis::Output, 0, "\"0B\""),
        ] {
            assert_eq!(axis.toml(value), expected);
        }
        assert_eq!(Axis::Memory.enough((1 << 20) + 1), 2 << 20);
        assert_eq!(Axis::Output.enough(u64::MAX), 64 << 20, "no more than may be set");
    }
}
