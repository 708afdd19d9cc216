//! How a hit limit is told: which, its value, what the guest had, and the line to change.

use std::time::Duration;

use super::guest::FIELDS_BYTES;
use super::limits::Breach;
use super::outcome::Facts;
use super::text;
use crate::domain::code::{self, Code};
use crate::domain::failure::{ErrorClass, Failure};
use crate::domain::limits::STACK_BYTES_MAX;

/// The failure of a slice that ran into a limit. A retry would run into it again, so it is fatal.
pub(crate) fn breach(breach: Breach, facts: &Facts<'_>, stack: Option<String>) -> Failure {
    let (code, message) = told(breach, facts);
    let mut detail = match (line(breach, facts), breach) {
        (Some(line), _) => to_allow_more(facts, &line),
        (None, Breach::Fields) => "Send fewer or shorter fields: no setting changes this limit.".to_owned(),
        (None, Breach::ShadowStack) => MORE_SHADOW_STACK.to_owned(),
        (None, _) => more_stack(facts.guest.slice.limits.stack_bytes),
    };
    if let Some(stack) = stack {
        detail.push_str("\n\nIt was in:\n");
        detail.push_str(&stack);
    }
    Failure::host(ErrorClass::Fatal, code, message).with_detail(detail)
}

/// The failure of a slice that ran longer than its wall-clock limit; another try may be faster.
pub(crate) fn timed_out(facts: &Facts<'_>) -> Failure {
    let wall = facts.guest.slice.limits.wall;
    let computed = Duration::from_micros(facts.usage.cpu_micros);
    let waited = match (facts.guest.waits_in, facts.guest.shared.awaited()) {
        (Some(call), Some(what)) => format!("; it waited in {call} for {what}"),
        (Some(call), None) => format!("; it waited in {call}"),
        (None, _) => String::new(),
    };
    let message = format!("timed out: ran longer than {}, {} of it computing{waited}", span(wall), span(computed));
    let line = format!("wall = \"{}\"", config_span(wall * 2));
    Failure::host(ErrorClass::Transient, code::TIMED_OUT, message).with_detail(to_allow_more(facts, &line))
}

/// The stack is made with the engine, so its line is the host's and not the plug-in's.
fn more_stack(bytes: u64) -> String {
    let more = config_bytes(bytes.saturating_mul(2).min(STACK_BYTES_MAX));
    match bytes >= STACK_BYTES_MAX {
        true => "No stack may be larger. Bound the recursion.".to_owned(),
        false => format!(
            "Bound the recursion, or allow more to all plug-ins, in backroom.toml:\n[limits]\nstack = \"{more}\""
        ),
    }
}

/// That stack is the author's to give.
const MORE_SHADOW_STACK: &str = "Bound the recursion, keep large values off the stack, or build with a larger one: \
                                 `-C link-arg=-zstack-size=8388608` in RUSTFLAGS, `-Wl,-z,stack-size=8388608` for C.";

fn to_allow_more(facts: &Facts<'_>, line: &str) -> String {
    format!(
        "To allow more, in backroom.toml:\n[[plugin]]\nname = \"{}\"\nlimits = {{ {line} }}",
        facts.guest.slice.plugin
    )
}

fn told(breach: Breach, facts: &Facts<'_>) -> (Code, String) {
    let limits = &facts.guest.slice.limits;
    match breach {
        Breach::Fuel => {
            let took = span(Duration::from_micros(facts.usage.cpu_micros));
            let units = text::grouped(limits.fuel, ',');
            (code::OUT_OF_FUEL, format!("out of fuel: used all {units} units (about {took} on this host)"))
        }
        Breach::Memory { had, asked } => {
            let (limit, had, asked) = (text::bytes(limits.memory_bytes), text::bytes(had), text::bytes(asked));
            (code::OUT_OF_MEMORY, format!("out of memory: had {had} of {limit} and asked for {asked} more"))
        }
        Breach::TableElements { asked } => {
            let (limit, asked) = (text::grouped(limits.table_elements, ','), text::grouped(asked, ','));
            (code::TABLE_LIMIT, format!("out of table elements: asked for {asked} in one table, and may have {limit}"))
        }
        Breach::Handles => {
            let limit = text::grouped(limits.handles.into(), ',');
            (code::TABLE_LIMIT, format!("out of handles: held {limit} at a time, as many as it may"))
        }
        Breach::Stack => {
            let limit = text::bytes(limits.stack_bytes);
            (code::STACK_OVERFLOW, format!("stack overflow: its calls needed more than {limit} of stack"))
        }
        Breach::ShadowStack => (
            code::STACK_OVERFLOW,
            "stack overflow: its calls needed more than the stack that its linker gave it in linear memory".to_owned(),
        ),
        Breach::Output { at_least } => {
            let (limit, had) = (text::bytes(limits.output_bytes), text::bytes(at_least));
            (code::OUTPUT_TOO_LARGE, format!("output too large: at least {had}, and may be {limit}"))
        }
        Breach::HostCalls => {
            let limit = text::grouped(limits.host_calls, ',');
            (code::HOST_CALL_LIMIT, format!("too many host calls: made more than {limit}"))
        }
        Breach::HostCallBytes => {
            let limit = text::bytes(limits.host_call_bytes);
            (code::HOST_CALL_LIMIT, format!("host call too large: one call may carry {limit}"))
        }
        Breach::HostCopy => {
            let limit = text::bytes(limits.host_copy_bytes);
            (code::HOST_CALL_LIMIT, format!("host calls carried too much: all calls together may carry {limit}"))
        }
        Breach::Fields => {
            let limit = text::bytes(FIELDS_BYTES as u64);
            (code::HOST_CALL_LIMIT, format!("header fields too large: one set of them may take {limit}"))
        }
        Breach::OutboundRequests => {
            let limit = text::grouped(limits.outbound_requests.into(), ',');
            (code::HOST_CALL_LIMIT, format!("too many outbound requests: sent {limit} and asked for more"))
        }
    }
}

/// The setting that would have been enough, as it stands in the configuration.
fn line(breach: Breach, facts: &Facts<'_>) -> Option<String> {
    let limits = &facts.guest.slice.limits;
    Some(match breach {
        Breach::Fuel => format!("fuel = {}", text::grouped(limits.fuel.saturating_mul(2), '_')),
        Breach::Memory { had, asked } => {
            format!(
                "memory = \"{}\"",
                config_bytes((limits.memory_bytes.saturating_mul(2)).max(had.saturating_add(asked)))
            )
        }
        Breach::TableElements { asked } => {
            let enough = limits.table_elements.saturating_mul(2).max(asked);
            format!("table_elements = {}", text::grouped(enough, '_'))
        }
        Breach::Handles => format!("handles = {}", text::grouped(u64::from(limits.handles) * 2, '_')),
        Breach::Stack | Breach::ShadowStack | Breach::Fields => return None,
        Breach::Output { at_least } => {
            format!("output = \"{}\"", config_bytes(limits.output_bytes.saturating_mul(2).max(at_least)))
        }
        Breach::HostCalls => format!("host_calls = {}", text::grouped(limits.host_calls.saturating_mul(2), '_')),
        Breach::HostCallBytes => {
            format!("host_call = \"{}\"", config_bytes(limits.host_call_bytes.saturating_mul(2)))
        }
        Breach::OutboundRequests => {
            format!("outbound_requests = {}", text::grouped(u64::from(limits.outbound_requests).max(1) * 2, '_'))
        }
        Breach::HostCopy => format!("host_copy = \"{}\"", config_bytes(limits.host_copy_bytes.saturating_mul(2))),
    })
}

/// Bytes in the configuration's notation, rounded up to whole KiB, or MiB from one on.
fn config_bytes(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    if bytes >= MIB { format!("{}MiB", bytes.div_ceil(MIB)) } else { format!("{}KiB", bytes.div_ceil(KIB)) }
}

fn config_span(span: Duration) -> String {
    if span.subsec_millis() == 0 { format!("{}s", span.as_secs()) } else { format!("{}ms", span.as_millis()) }
}

/// A span as people read it.
fn span(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    match seconds {
        9.95.. => format!("{seconds:.0} s"),
        0.95.. => {
            let text = format!("{seconds:.1}");
            format!("{} s", text.strip_suffix(".0").unwrap_or(&text))
        }
        0.000_95.. => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{:.0} us", seconds * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_bytes_are_short() {
        assert_eq!(span(Duration::from_secs(30)), "30 s");
        assert_eq!(span(Duration::from_millis(4_960)), "5 s");
        assert_eq!(span(Duration::from_millis(250)), "250 ms");
        assert_eq!(span(Duration::from_micros(80)), "80 us");
        assert_eq!(config_span(Duration::from_millis(1_500)), "1500ms");
        assert_eq!(config_bytes(128 << 20), "128MiB");
        assert_eq!(config_bytes(1000), "1KiB");
    }
}
