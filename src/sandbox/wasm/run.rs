//! One slice: a fresh store, one call, and everything that may end it.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use wasmtime::Store;

use super::bindings::{self, Outcome, types};
use super::cache::Ready;
use super::engine::Ticker;
use super::guest::Guest;
use super::limits::{self, Stop};
use super::linker::{Entry, Point};
use super::outcome::{self, Facts};
use super::turns::{self, Turns};
use super::wasi::Output;
use crate::domain::limits::Usage;
use crate::sandbox::log::Source;
use crate::sandbox::outbound::Connector;
use crate::sandbox::{HostPort, Signal, SignalLine, Slice, SliceEnd, SliceReport};

/// How often a guest that waits in a host call is looked after. One that computes is stopped by the tick.
const LOOK: Duration = Duration::from_millis(10);

/// Memory of a guest from which on to give it back takes long.
const LARGE: u64 = 16 << 20;

/// Bytes at the end of what a failed command printed that go into its log.
const PRINTED_TAIL: usize = 16 << 10;

/// What came back from a guest.
pub(crate) enum Returned {
    Handler(Result<Outcome, types::Failure>),
    Command(Result<(), ()>),
}

/// How the call of a guest ended.
pub(crate) enum Ending {
    Returned(wasmtime::Result<Returned>),
    Stopped(Stop),
    /// The host's own code panicked, with this message.
    Panicked(String),
}

/// Runs a slice to its end.
pub(crate) async fn run(
    ready: &Ready,
    ticker: &Ticker,
    room: &Semaphore,
    slice: Slice,
    port: Box<dyn HostPort>,
    connector: Connector,
) -> SliceReport {
    let start = Instant::now();
    let _ticking = ticker.tick();
    let signals = slice.signals.clone();
    let fuel = slice.limits.fuel;
    let entry = &ready.entry;
    let mut guest = Guest::new(slice, port, start, connector);
    guest.meter.hold(ready.needs.instance_bytes);
    let mut store = match fresh_store(entry, guest) {
        Ok(store) => store,
        Err(error) => return SliceReport::of(outcome::host_fault(&format!("{error:#}"))),
    };
    let deadline = store.data().deadline;
    let (ending, cpu) = {
        let call = pin!(call(entry, &mut store));
        drive(call, deadline, &signals, Turns::new(&entry.manners, room)).await
    };
    let fuel_used = fuel.saturating_sub(store.get_fuel().unwrap_or(0));
    let guest = match store.data().meter.peak() > LARGE {
        true => turns::beside(|| store.into_data()),
        false => store.into_data(),
    };
    report(ending, guest, Spent { fuel: fuel_used, cpu, wall: start.elapsed() })
}

struct Spent {
    fuel: u64,
    cpu: Duration,
    wall: Duration,
}

fn fresh_store(entry: &Entry, mut guest: Guest) -> wasmtime::Result<Store<Guest>> {
    let limits = Arc::clone(&guest.slice.limits);
    if matches!(entry.point, Point::Command(_)) {
        guest.output = Some(Output::new(limits.output_bytes));
    }
    let mut store = Store::try_new(entry.engine(), guest)?;
    store.limiter(|guest| &mut guest.meter);
    store.set_fuel(limits.fuel)?;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| Ok(context.data().at_tick()?));
    store.set_hostcall_fuel(usize::try_from(limits::crossing(&limits)).unwrap_or(usize::MAX));
    store.set_max_component_handles(limits.handles as usize);
    Ok(store)
}

async fn call(entry: &Entry, store: &mut Store<Guest>) -> wasmtime::Result<Returned> {
    match &entry.point {
        Point::Handler(entry) => {
            let plugin = entry.instantiate_async(&mut *store).await?;
            let slice = &mut store.data_mut().started().slice;
            let job = bindings::job(slice);
            let input = std::mem::take(&mut slice.input);
            let outcome = plugin.backroom_plugin_handler().call_handle(&mut *store, &job, &input).await?;
            Ok(Returned::Handler(outcome))
        }
        Point::Command(entry) => {
            let command = entry.instantiate_async(&mut *store).await?;
            store.data_mut().started();
            Ok(Returned::Command(command.wasi_cli_run().call_run(&mut *store).await?))
        }
    }
}

/// Polls a call to its end, past which it does not outlive its deadline or a kill even where it waits; adds up the time
/// that it held the core.
async fn drive<F>(
    mut call: Pin<&mut F>,
    deadline: Instant,
    signals: &SignalLine,
    mut turns: Turns<'_>,
) -> (Ending, Duration)
where
    F: Future<Output = wasmtime::Result<Returned>>,
{
    let mut alarm: Option<Pin<Box<Sleep>>> = None;
    let ending = poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| turns.take(context, |context| call.as_mut().poll(context))));
        match polled {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(returned)) => return Poll::Ready(Ending::Returned(returned)),
            Err(panic) => return Poll::Ready(Ending::Panicked(panic_message(&*panic))),
        }
        let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next_look(deadline).into())));
        while alarm.as_mut().poll(context).is_ready() {
            if signals.signal() == Signal::Kill {
                return Poll::Ready(Ending::Stopped(Stop::Killed));
            }
            if Instant::now() >= deadline {
                return Poll::Ready(Ending::Stopped(Stop::TimedOut));
            }
            alarm.as_mut().reset(next_look(deadline).into());
        }
        Poll::Pending
    });
    let ending = ending.await;
    (ending, turns.held)
}

fn next_look(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + LOOK)
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

/// The end of what a command printed, from a line's beginning where there is one.
fn tail(printed: Bytes) -> Bytes {
    let cut = printed.len().saturating_sub(PRINTED_TAIL);
    let rest = printed.slice(cut..);
    let line = rest.iter().position(|byte| *byte == b'\n').filter(|_| cut > 0);
    line.map_or(rest.clone(), |end| rest.slice(end + 1..))
}

fn report(ending: Ending, guest: Guest, spent: Spent) -> SliceReport {
    let mut log = guest.shared.log.lock();
    log.finish();
    let usage = Usage {
        fuel: spent.fuel,
        cpu_micros: u64::try_from((spent.cpu + guest.shared.worked_beside()).as_micros()).unwrap_or(u64::MAX),
        wall_micros: u64::try_from(spent.wall.as_micros()).unwrap_or(u64::MAX),
        peak_memory_bytes: guest.meter.peak(),
        host_calls: guest.host_calls,
        log_bytes: log.written(),
    };
    let (panic, exception) = (log.panic(), log.exception());
    let end = outcome::end(ending, &Facts { guest: &guest, usage: &usage, panic, exception, log: &log });
    if let (Some(output), false) = (&guest.output, matches!(end, SliceEnd::Succeeded(_))) {
        // It is the output of a command that succeeds; of one that fails, it may say why.
        log.stream(Source::Stdout, &tail(output.take()));
        log.finish();
    }
    let bytes = log.to_bytes();
    drop(log);
    SliceReport { end, usage, log: bytes }
}
