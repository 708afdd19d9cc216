//! How a hit limit is told: which, its value, what the guest had, and the line to change.

use std::time::Duration;

use super::guest::FIELDS_BYTES;
use super::limits::Breach;
use super::outcome::Facts;
use super::text;
use crate::domain::advice;
use crate::domain::code::{self, Code};
use crate::domain::failure::{ErrorClass, Failure};
use crate::domain::limits::Axis;

/// The failure of a slice that ran into a limit. A retry would run into it again, so it is fatal.
pub(crate) fn breach(breach: Breach, facts: &Facts<'_>, stack: Option<String>) -> Failure {
    let (code, message) = told(breach, facts);
    let mut detail = match (needed(breach, facts), breach) {
        (Some((axis, needed)), Breach::Stack) => {
            let advice = advice::allow_more(facts.guest.slice.sides(), axis, needed);
            format!("Bound the recursion, or allow more to all plug-ins:\n{advice}")
        }
        (Some((axis, needed)), _) => to_allow_more(facts, axis, needed),
        (None, Breach::ShadowStack) => MORE_SHADOW_STACK.to_owned(),
        (None, _) => "Send fewer or shorter fields: no setting changes this limit.".to_owned(),
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
    let needed = Axis::Wall.of(&facts.guest.slice.limits).saturating_mul(2);
    Failure::host(ErrorClass::Transient, code::TIMED_OUT, message).with_detail(to_allow_more(facts, Axis::Wall, needed))
}

/// The failure of a handler that had asked for a setting without a value, which may be why, with what sets it.
pub(crate) fn with_missing_setting(failure: Failure, facts: &Facts<'_>) -> Failure {
    let Some(key) = &facts.guest.missing_setting else { return failure };
    let mut detail = failure.detail.as_deref().map(|detail| format!("{detail}\n\n")).unwrap_or_default();
    let advice = advice::set_config(facts.guest.slice.sides(), key);
    detail.push_str(&format!("It asked for the setting `{key}`, which has no value. To set it:\n{advice}"));
    failure.with_detail(detail)
}

/// Lines of standard error that are told with a failure.
const LAST_WORDS: usize = 3;

/// That stack is the author's to give.
const MORE_SHADOW_STACK: &str = "Bound the recursion, keep large values off the stack, or build with a larger one: \
                                 `-C link-arg=-zstack-size=8388608` in RUSTFLAGS, `-Wl,-z,stack-size=8388608` for C.";

/// The failure of a guest that stopped without a reason of its own, with what it said last, which may be one.
pub(crate) fn with_last_words(failure: Failure, facts: &Facts<'_>) -> Failure {
    let mut words: Vec<_> = facts.log.last_words().take(LAST_WORDS).collect();
    if words.is_empty() {
        return failure;
    }
    words.reverse();
    let detail = failure.detail.as_deref().map(|detail| format!("\n\n{detail}")).unwrap_or_default();
    failure.with_detail(format!("The last that it wrote to standard error:\n{}{detail}", words.join("\n")))
}

/// The failure of an access that may have been one past the end of that stack, by a function with large locals.
pub(crate) fn with_doubtful_stack(failure: Failure) -> Failure {
    let detail = failure.detail.as_deref().map(|detail| format!("\n\n{detail}")).unwrap_or_default();
    let doubt = "If it keeps large values in local variables, this was an overflow of the stack in linear memory.";
    failure.with_detail(format!("{doubt} {MORE_SHADOW_STACK}{detail}"))
}

fn to_allow_more(facts: &Facts<'_>, axis: Axis, needed: u64) -> String {
    format!("To allow more:\n{}", advice::allow_more(facts.guest.slice.sides(), axis, needed))
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

/// The limit that was hit, and what would have been enough as far as that can be told; none where no setting changes it.
fn needed(breach: Breach, facts: &Facts<'_>) -> Option<(Axis, u64)> {
    let limits = &facts.guest.slice.limits;
    let (axis, at_least) = match breach {
        Breach::Fuel => (Axis::Fuel, 0),
        Breach::Memory { had, asked } => (Axis::Memory, had.saturating_add(asked)),
        Breach::TableElements { asked } => (Axis::TableElements, asked),
        Breach::Handles => (Axis::Handles, 0),
        Breach::Stack => (Axis::Stack, 0),
        Breach::Output { at_least } => (Axis::Output, at_least),
        Breach::HostCalls => (Axis::HostCalls, 0),
        Breach::HostCallBytes => (Axis::HostCall, 0),
        Breach::HostCopy => (Axis::HostCopy, 0),
        Breach::OutboundRequests => (Axis::OutboundRequests, 2),
        Breach::ShadowStack | Breach::Fields => return None,
    };
    Some((axis, axis.of(limits).saturating_mul(2).max(at_least)))
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
    fn spans_are_short() {
        assert_eq!(span(Duration::from_secs(30)), "30 s");
        assert_eq!(span(Duration::from_millis(4_960)), "5 s");
        assert_eq!(span(Duration::from_millis(250)), "250 ms");
        assert_eq!(span(Duration::from_micros(80)), "80 us");
    }
}
