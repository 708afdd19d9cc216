//! WASI 0.2 for guests: streams of ours, no files, no sockets, bounded random.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, async_trait};

use super::guest::Shared;
use super::limits::{Breach, Halt};
use crate::domain::plugin::Shape;
use crate::sandbox::Slice;
use crate::sandbox::log::Source;

/// Bytes that a stream takes in one write.
pub(crate) const PERMIT: usize = 64 << 10;

/// The context of a slice: without preopened folders, with every address denied, which are the builder's defaults.
pub(crate) fn context(slice: &Slice, shared: &Arc<Shared>, output: &Option<Output>) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    builder.max_random_size(slice.limits.host_call_bytes);
    builder.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    builder.stderr(GuestStream::log(Source::Stderr, shared));
    match output {
        Some(output) => builder.stdout(GuestStream { shared: Arc::clone(shared), sink: Sink::Output(output.clone()) }),
        None => builder.stdout(GuestStream::log(Source::Stdout, shared)),
    };
    if slice.version.inspection.shape == Shape::Command {
        builder.stdin(MemoryInputPipe::new(slice.input.clone()));
        builder.arg(slice.plugin.as_str());
        builder.args(&slice.args);
        builder.envs(&slice.env);
    }
    builder.build()
}

/// What a command prints, up to its limit.
#[derive(Clone)]
pub(crate) struct Output {
    limit: u64,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Output {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, bytes: Arc::default() }
    }

    /// What was printed.
    pub(crate) fn take(&self) -> Bytes {
        Bytes::from(std::mem::take(&mut *self.bytes.lock()))
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Halt> {
        let mut kept = self.bytes.lock();
        let length = (kept.len() + bytes.len()) as u64;
        if length > self.limit {
            return Err(Halt::Breach(Breach::Output { at_least: length }));
        }
        kept.extend_from_slice(bytes);
        Ok(())
    }
}

/// Standard output or standard error of a guest. Never blocks; bounded by what it writes to.
#[derive(Clone)]
struct GuestStream {
    shared: Arc<Shared>,
    sink: Sink,
}

#[derive(Clone)]
enum Sink {
    Log(Source),
    Output(Output),
}

impl GuestStream {
    fn log(source: Source, shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), sink: Sink::Log(source) }
    }

    /// Every write was charged when the guest called. A command's output has a limit of its own instead.
    fn take(&self, bytes: &[u8]) -> Result<(), Halt> {
        match &self.sink {
            Sink::Log(source) => self.shared.log.lock().stream(*source, bytes),
            Sink::Output(output) => {
                self.shared.copies.give_back(bytes.len());
                output.write(bytes)?;
            }
        }
        Ok(())
    }
}

impl IsTerminal for GuestStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestStream {
    /// Only WASI 0.3 asks for this; it is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for GuestStream {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for GuestStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes).map_err(|halt| StreamError::Trap(halt.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}
