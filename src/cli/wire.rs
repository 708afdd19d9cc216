//! The connections of the client. Where the other side stops listening halfway through a request, they still read what it
//! says: a refusal of a large body comes before the body has gone out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ureq::config::Config;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport};
use ureq::{Agent, Error};

/// What is known of how the request under way went out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire {
    is_cut: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    expected: Arc<AtomicUsize>,
}

impl Wire {
    /// An agent whose connections report here.
    pub(crate) fn agent(&self, config: Config) -> Agent {
        let connector = DefaultConnector::default().chain(Listening(self.clone()));
        Agent::with_parts(config, connector, DefaultResolver::default())
    }

    /// Forgets the request before.
    pub(crate) fn begin(&self) {
        self.is_cut.store(false, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
        self.expected.store(0, Ordering::Relaxed);
    }

    /// The request has a body of so many bytes, which is not sent when the headers alone are refused.
    pub(crate) fn expect(&self, body: usize) {
        self.expected.store(body, Ordering::Relaxed);
    }

    /// Whether anything of it went out.
    pub(crate) fn is_connected(&self) -> bool {
        self.sent.load(Ordering::Relaxed) > 0 || self.is_cut.load(Ordering::Relaxed)
    }

    /// Whether the other side stopped listening before the whole request was sent.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed) || self.sent.load(Ordering::Relaxed) < self.expected.load(Ordering::Relaxed)
    }
}

/// The last link of the chain of connectors.
#[derive(Debug)]
struct Listening(Wire);

impl<In: Transport> Connector<In> for Listening {
    type Out = Connection<In>;

    fn connect(&self, _details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| Connection { inner, wire: self.0.clone(), is_cut: false }))
    }
}

#[derive(Debug)]
struct Connection<In> {
    inner: In,
    wire: Wire,
    is_cut: bool,
}

impl<In: Transport> Transport for Connection<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.is_cut {
            return Ok(());
        }
        match self.inner.transmit_output(amount, timeout) {
            // What the rest of the request would have met is in the answer, if there is one.
            Err(Error::Io(error)) if has_hung_up(&error) => {
                self.is_cut = true;
                self.wire.is_cut.store(true, Ordering::Relaxed);
                Ok(())
            }
            Ok(()) => {
                self.wire.sent.fetch_add(amount, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        !self.is_cut && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

fn has_hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}
