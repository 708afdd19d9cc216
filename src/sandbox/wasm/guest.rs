//! What the host holds for one running guest.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::UpdateDeadline;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::http::Outbound;
use super::limits::{Breach, Copies, Halt, Meter, Stop};
use super::wasi;
use crate::sandbox::bill::Bill;
use crate::sandbox::log::{Log, Source};
use crate::sandbox::outbound::Connector;
use crate::sandbox::{HostPort, LiveLog, LogPart, Signal, Slice};

/// Bytes that one set of header fields may hold, what the host needs to keep them included.
pub(crate) const FIELDS_BYTES: usize = 64 << 10;

/// What streams of the guest share with it; they must own what they write to.
pub(crate) struct Shared {
    pub(crate) log: Mutex<Log>,
    pub(crate) copies: Copies,
    /// Time that the host worked for it beside its own turns: on its connections. Most guests have none.
    beside: OnceLock<Bill>,
    /// What it waits for outside, as the end of a sentence.
    awaited: Mutex<Option<String>>,
}

impl LiveLog for Shared {
    fn since(&self, line: u64) -> LogPart {
        self.log.lock().since(line)
    }
}

impl Shared {
    /// Adds a line of the host's own to the log.
    pub(crate) fn note(&self, text: &str) {
        self.log.lock().message(Source::Host, "", text);
    }

    /// The bill for work beside its own turns.
    pub(crate) fn bill(&self) -> &Bill {
        self.beside.get_or_init(Bill::default)
    }

    /// What is on that bill.
    pub(crate) fn worked_beside(&self) -> Duration {
        self.beside.get().map(Bill::sum).unwrap_or_default()
    }

    /// Says what it waits for outside, or that it no longer does.
    pub(crate) fn awaits(&self, what: Option<String>) {
        *self.awaited.lock() = what;
    }

    /// What it waits for outside.
    pub(crate) fn awaited(&self) -> Option<String> {
        self.awaited.lock().clone()
    }
}

/// The data of a store.
pub(crate) struct Guest {
    pub(crate) slice: Slice,
    pub(crate) port: Box<dyn HostPort>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) meter: Meter,
    /// Standard output of a command, which is its output.
    pub(crate) output: Option<wasi::Output>,
    /// When the wall-clock limit stops it.
    pub(crate) deadline: Instant,
    /// Calls from the guest into the host.
    pub(crate) host_calls: u64,
    /// The first setting that it asked for and that has no value, as it is told.
    pub(crate) missing_setting: Option<String>,
    /// Whether it was instantiated, so that what fails now is the handler's own doing.
    pub(crate) has_started: bool,
    /// The call of the host that it waits in.
    pub(crate) waits_in: Option<&'static str>,
    table: ResourceTable,
    /// Made when the guest first asks for it: most never do.
    wasi: Option<Box<WasiCtx>>,
    http: WasiHttpCtx,
    outbound: Outbound,
}

impl Guest {
    pub(crate) fn new(slice: Slice, port: Box<dyn HostPort>, start: Instant, connector: Connector) -> Self {
        let limits = &slice.limits;
        let shared = Arc::new(Shared {
            log: Mutex::new(Log::new(start, limits.log_bytes)),
            copies: Copies::new(limits),
            beside: OnceLock::new(),
            awaited: Mutex::default(),
        });
        slice.signals.share_log(Arc::clone(&shared) as Arc<dyn LiveLog>);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles as usize);
        Self {
            meter: Meter::new(limits),
            output: None,
            deadline: start + limits.wall,
            host_calls: 0,
            missing_setting: None,
            has_started: false,
            waits_in: None,
            table,
            wasi: None,
            http: http_context(),
            outbound: Outbound::new(&slice, &shared, connector),
            shared,
            slice,
            port,
        }
    }

    /// Says that it was instantiated.
    pub(crate) fn started(&mut self) -> &mut Self {
        self.has_started = true;
        self
    }

    /// Counts a call into the host. Interfaces that are not ours cannot refuse here, so the next tick stops the guest.
    pub(crate) fn count_call(&mut self) -> &mut Self {
        self.host_calls += 1;
        self.meter.goes_on();
        self
    }

    /// Refuses a call of ours past the limit at once.
    pub(crate) fn check_calls(&self) -> Result<(), Halt> {
        if self.host_calls > self.slice.limits.host_calls {
            return Err(Halt::Breach(Breach::HostCalls));
        }
        Ok(())
    }

    /// Counts bytes that the host is about to keep or make because the guest called it.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), Halt> {
        self.check_calls()?;
        self.shared.copies.charge(bytes)
    }

    /// The limit that it passed where nothing could refuse it at once.
    pub(crate) fn check_limits(&self) -> Result<(), Halt> {
        if self.outbound.is_exhausted() {
            return Err(Halt::Breach(Breach::OutboundRequests));
        }
        self.check_calls()
    }

    /// What each tick decides: stop, or give other guests a turn.
    pub(crate) fn at_tick(&self) -> Result<UpdateDeadline, Halt> {
        if self.slice.signals.signal() == Signal::Kill {
            return Err(Halt::Stop(Stop::Killed));
        }
        if Instant::now() >= self.deadline {
            return Err(Halt::Stop(Stop::TimedOut));
        }
        self.check_limits()?;
        Ok(UpdateDeadline::Yield(1))
    }
}

fn http_context() -> WasiHttpCtx {
    let mut context = WasiHttpCtx::new();
    context.set_field_size_limit(FIELDS_BYTES);
    context
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.count_call();
        let ctx = self.wasi.get_or_insert_with(|| Box::new(wasi::context(&self.slice, &self.shared, &self.output)));
        WasiCtxView { ctx, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.count_call();
        WasiHttpCtxView { hooks: &mut self.outbound, table: &mut self.table, ctx: &mut self.http }
    }
}
