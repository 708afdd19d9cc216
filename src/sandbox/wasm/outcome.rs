//! What the end of a call means for the attempt. The only place where causes are told apart: by our own types and flags
//! first, by trap codes second, by text last.

use std::collections::BTreeSet;
use std::time::Duration;

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::bindings::{self, Later, Outcome, types};
use super::explain;
use super::guest::Guest;
use super::limits::{self, Breach, Halt, Stop};
use super::run::{Ending, Returned};
use crate::domain::code;
use crate::domain::failure::{ErrorClass, Failure};
use crate::domain::job::Wake;
use crate::domain::limits::Usage;
use crate::domain::time::Timestamp;
use crate::sandbox::exception::Exception;
use crate::sandbox::log::{Log, Panic};
use crate::sandbox::{SliceEnd, text};

/// Bounds of what a guest says of its failure.
const CODE_BYTES: usize = 64;
const MESSAGE_BYTES: usize = 4 << 10;
const DETAIL_BYTES: usize = 16 << 10;

/// Bytes of a stack that are kept.
const STACK_TEXT_BYTES: usize = 4 << 10;

/// Where addresses of 32 bits end.
const FOUR_GIB: u64 = 1 << 32;

/// Bytes of the largest frame that is taken for one.
const LARGEST_FRAME: u64 = 16 << 20;

/// Frames of a stack that may show a recursion.
const RECURSION_FRAMES: usize = 12;

/// What is known of a slice at its end.
pub(crate) struct Facts<'a> {
    pub(crate) guest: &'a Guest,
    pub(crate) usage: &'a Usage,
    pub(crate) panic: Option<Panic>,
    pub(crate) exception: Option<Exception>,
    pub(crate) log: &'a Log,
}

impl Facts<'_> {
    /// The limit of memory that it was refused, where its last words are about that. Runtimes turn a refusal into an orderly
    /// end: an exception, a panic, an exit code. Many allocators only ask for more than they need, and go on with less.
    fn ran_out(&self) -> Option<Breach> {
        let breach = self.guest.meter.refused()?;
        let panic = self.panic.as_ref().map(|panic| panic.message.as_str());
        let exception = self.exception.as_ref().map(|exception| exception.text.as_str());
        let speaks_of_it = match panic.is_some() || exception.is_some() {
            true => panic.into_iter().chain(exception).any(speaks_of_memory),
            false => self.log.last_words().any(speaks_of_memory),
        };
        speaks_of_it.then_some(breach)
    }
}

/// How Rust, C, C++, Go, Python and JavaScript say that memory was refused.
fn speaks_of_memory(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    ["memoryerror", "out of memory", "memory allocation", "cannot allocate", "bad_alloc", "alloc failed"]
        .iter()
        .any(|words| said.contains(words))
}

/// What a fault of the host means: the attempt is tried again.
pub(crate) fn host_fault(what: &str) -> SliceEnd {
    let message = format!("the host could not run the handler: {}", text::neutral(what, MESSAGE_BYTES));
    SliceEnd::Failed(Failure::host(ErrorClass::Transient, code::HOST_FAULT, message))
}

/// What the end of a call means.
pub(crate) fn end(ending: Ending, facts: &Facts<'_>) -> SliceEnd {
    // A guest may return between passing such a limit and the tick that would have stopped it.
    if let (Ending::Returned(Ok(_)), Err(Halt::Breach(breach))) = (&ending, facts.guest.check_limits()) {
        return breached(breach, facts, None);
    }
    match ending {
        Ending::Stopped(stop) => stopped(stop, facts),
        Ending::Panicked(message) => {
            let message = text::line(&message, MESSAGE_BYTES);
            tracing::error!(plugin = %facts.guest.slice.plugin, "the sandbox panicked: {message}");
            host_fault(&format!("it panicked: {message}"))
        }
        Ending::Returned(Ok(Returned::Handler(Ok(outcome)))) => returned(outcome, facts),
        Ending::Returned(Ok(Returned::Handler(Err(failure)))) => failed(failure, facts),
        Ending::Returned(Ok(Returned::Command(Ok(())))) => printed(facts),
        Ending::Returned(Ok(Returned::Command(Err(())))) => exited(1, facts),
        Ending::Returned(Err(error)) => broke(&error, facts),
    }
}

fn stopped(stop: Stop, facts: &Facts<'_>) -> SliceEnd {
    match stop {
        Stop::Killed => SliceEnd::Killed,
        Stop::TimedOut => SliceEnd::TimedOut(explain::timed_out(facts)),
    }
}

fn breached(breach: Breach, facts: &Facts<'_>, stack: Option<String>) -> SliceEnd {
    SliceEnd::Failed(explain::breach(breach, facts, stack))
}

fn returned(outcome: Outcome, facts: &Facts<'_>) -> SliceEnd {
    match outcome {
        Outcome::Succeeded(output) if output.len() as u64 > facts.guest.slice.limits.output_bytes => {
            breached(Breach::Output { at_least: output.len() as u64 }, facts, None)
        }
        Outcome::Succeeded(output) => SliceEnd::Succeeded(output.into()),
        Outcome::Canceled(reason) => SliceEnd::Canceled(text::neutral(&reason, MESSAGE_BYTES)),
        Outcome::Retry(Later { after_ms, failure }) => {
            SliceEnd::Retry(after_ms.map(Duration::from_millis), guest_failure(failure))
        }
        Outcome::Suspended(bindings::Wake::At(ms)) => SliceEnd::Suspended(Wake::At(Timestamp::from_millis(ms))),
        Outcome::Suspended(bindings::Wake::Event(name)) => {
            SliceEnd::Suspended(Wake::Event(text::line(&name, MESSAGE_BYTES)))
        }
        Outcome::Yielded => SliceEnd::Yielded,
    }
}

fn printed(facts: &Facts<'_>) -> SliceEnd {
    SliceEnd::Succeeded(facts.guest.output.as_ref().map(super::wasi::Output::take).unwrap_or_default())
}

/// The guest returned an error. One without a class that says it ran out of memory would do so again.
fn failed(failure: types::Failure, facts: &Facts<'_>) -> SliceEnd {
    match facts.guest.meter.refused() {
        Some(breach) if failure.class.is_none() && speaks_of_memory(&failure.message) => breached(breach, facts, None),
        _ => SliceEnd::Failed(explain::with_missing_setting(guest_failure(failure), facts)),
    }
}

/// A failure in the guest's own words; an error without a class is transient (design section 4).
fn guest_failure(failure: types::Failure) -> Failure {
    let class = match failure.class {
        None | Some(types::ErrorClass::Transient) => ErrorClass::Transient,
        Some(types::ErrorClass::Throttled) => ErrorClass::Throttled,
        Some(types::ErrorClass::UserFixable) => ErrorClass::UserFixable,
        Some(types::ErrorClass::Business) => ErrorClass::Business,
        Some(types::ErrorClass::Fatal) => ErrorClass::Fatal,
    };
    Failure {
        class,
        code: failure.code.map(|code| guest_code(&code)),
        message: text::neutral(&failure.message, MESSAGE_BYTES),
        detail: failure.detail.map(|detail| text::neutral(&detail, DETAIL_BYTES)),
    }
}

/// A code of the guest's own. One that looks like the host's gets another beginning: the host acts on its own codes, and people
/// look them up.
fn guest_code(code: &str) -> String {
    let code = text::line(code, CODE_BYTES);
    let is_like_ours = code.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("BR"))
        && code.as_bytes().get(2).is_some_and(u8::is_ascii_digit);
    if is_like_ours { format!("guest-{code}") } else { code }
}

/// The call ended with an error: a trap of the guest, or something that a host function raised.
fn broke(error: &wasmtime::Error, facts: &Facts<'_>) -> SliceEnd {
    if let Some(halt) = error.downcast_ref::<Halt>() {
        return match *halt {
            Halt::Stop(stop) => stopped(stop, facts),
            Halt::Breach(breach) => breached(breach, facts, stack(error)),
        };
    }
    if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
        let is_command = facts.guest.output.is_some();
        return if *code == 0 && is_command { printed(facts) } else { exited(*code, facts) };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return host_fault("all sandboxes are in use");
    }
    if let Some(breach) = breach_of(error, facts) {
        return breached(breach, facts, stack(error));
    }
    SliceEnd::Failed(trapped(error, facts))
}

/// The limit behind an error, when there is one.
fn breach_of(error: &wasmtime::Error, facts: &Facts<'_>) -> Option<Breach> {
    let trap = error.downcast_ref::<Trap>();
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full)) {
        return Some(Breach::Handles);
    }
    match trap {
        Some(Trap::OutOfFuel) => return Some(Breach::Fuel),
        Some(Trap::StackOverflow) => return Some(Breach::Stack),
        // A guest that was refused memory usually aborts: without a word, or with one about that.
        Some(Trap::UnreachableCodeReached) => return facts.guest.meter.refused_last().or_else(|| facts.ran_out()),
        Some(Trap::MemoryOutOfBounds) if is_recursion(error) && may_be_past_the_stack(error) => {
            return Some(Breach::ShadowStack);
        }
        Some(_) => return None,
        None if !facts.guest.has_started => return facts.guest.meter.refused_last(),
        None => {}
    }
    let said = format!("{error:#}");
    if said.contains("store handle limit exceeded") {
        return Some(Breach::Handles);
    }
    if said.contains("fuel allocated for hostcalls has been exhausted") {
        // What the handler returns is read with the same allowance, and no guest is running then.
        let at_least = limits::crossing(&facts.guest.slice.limits) + 1;
        return Some(if stack(error).is_some() { Breach::HostCallBytes } else { Breach::Output { at_least } });
    }
    None
}

fn trapped(error: &wasmtime::Error, facts: &Facts<'_>) -> Failure {
    let trap = error.downcast_ref::<Trap>();
    if let (Some(exception), Some(Trap::UnreachableCodeReached)) = (&facts.exception, trap) {
        let place = exception.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
        let message = format!("raised {}{place}", exception.text);
        return with_stack(Failure::host(ErrorClass::Transient, code::GUEST_EXCEPTION, message), error);
    }
    if let (Some(panic), Some(Trap::UnreachableCodeReached)) = (&facts.panic, trap) {
        let message = format!("panicked at {}: {}", panic.place, panic.message);
        return with_stack(Failure::host(ErrorClass::Transient, code::GUEST_PANIC, message), error);
    }
    let cause = text::neutral(&error.root_cause().to_string(), MESSAGE_BYTES);
    let (code, message) = match trap {
        Some(_) => (code::GUEST_TRAP, format!("trapped: {}", cause.trim_start_matches("wasm trap: "))),
        None if !facts.guest.has_started => (code::INCOMPATIBLE_START, format!("could not be started: {cause}")),
        None if stack(error).is_some() => (code::GUEST_TRAP, format!("trapped in a call of the host: {cause}")),
        // Nothing of it was running: its input was put into it, or its result was read.
        None => (code::GUEST_TRAP, format!("did not keep to the rules of components: {cause}")),
    };
    let failure = with_stack(Failure::host(ErrorClass::Transient, code, message), error);
    match trap {
        // C's `assert` and `abort` leave no more than this.
        Some(Trap::UnreachableCodeReached) => explain::with_last_words(failure, facts),
        Some(Trap::MemoryOutOfBounds) if may_be_past_the_stack(error) => explain::with_doubtful_stack(failure),
        _ => failure,
    }
}

fn with_stack(failure: Failure, error: &wasmtime::Error) -> Failure {
    match stack(error) {
        Some(stack) => failure.with_detail(format!("It was in:\n{stack}")),
        None => failure,
    }
}

/// The guest's frames, innermost first, as wasmtime names them.
fn stack(error: &wasmtime::Error) -> Option<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>()?;
    if backtrace.frames().is_empty() {
        return None;
    }
    let told = backtrace.to_string();
    let frames: Vec<&str> = told.lines().skip(1).map(without_hash).collect();
    Some(text::neutral(frames.join("\n").trim_end(), STACK_TEXT_BYTES))
}

/// A frame without the `::h0123456789abcdef` that Rust puts behind names.
fn without_hash(frame: &str) -> &str {
    match frame.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => frame,
    }
}

fn exited(code: i32, facts: &Facts<'_>) -> SliceEnd {
    if let Some(breach) = facts.ran_out() {
        return breached(breach, facts, None);
    }
    let who = if facts.guest.output.is_some() { "the command" } else { "the handler left by itself and" };
    // WASI's `exit` tells success from failure and nothing more; the number comes with `exit-with-code` only.
    let mut message = match code {
        1 => format!("{who} ended with an exit code that is not zero"),
        code => format!("{who} ended with exit code {code}"),
    };
    if let Some(exception) = &facts.exception {
        message = format!("{message}: {}", exception.text);
    }
    SliceEnd::Failed(explain::with_last_words(Failure::host(ErrorClass::Transient, code::EXIT_CODE, message), facts))
}

/// Whether an access may have been past the end of the stack that compilers keep in linear memory. It grows downwards from a
/// low address, so what lies past its end is below address 0, which is near 4 GiB: less when that is where a frame begins, or
/// more when it is counted on from there. Instructions that fill and copy do not tell the address.
fn may_be_past_the_stack(error: &wasmtime::Error) -> bool {
    let said = format!("{error:#}");
    let Some((_, address)) = said.split_once("memory fault at wasm address 0x") else { return true };
    let digits = address.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap_or_default();
    u64::from_str_radix(digits, 16).is_ok_and(|address| address.abs_diff(FOUR_GIB) <= LARGEST_FRAME)
}

/// Whether the innermost frames are those of a few functions that call each other.
fn is_recursion(error: &wasmtime::Error) -> bool {
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    let functions: BTreeSet<u32> = frames.iter().map(wasmtime::FrameInfo::func_index).collect();
    frames.len() >= RECURSION_FRAMES && functions.len() * 2 <= frames.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_speak_in_the_hosts_codes() {
        for (given, kept) in [
            ("BR0314", "guest-BR0314"),
            ("br0301", "guest-br0301"),
            ("BR9", "guest-BR9"),
            ("BROKEN", "BROKEN"),
            ("E42", "E42"),
            ("", ""),
        ] {
            assert_eq!(guest_code(given), kept);
        }
    }
}
