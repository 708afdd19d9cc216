//! Outbound HTTP of guests. Always linked, because components of some toolchains import it unused; refused unless granted.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use http::{Request, Response};
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

use super::connect::{self, Deciders, Granted};
use super::guest::Shared;
use super::wasi::PERMIT;
use crate::domain::advice;
use crate::domain::outbound::{Coverage, Origin, coverage};
use crate::domain::plugin::Grant;
use crate::sandbox::outbound::Connector;
use crate::sandbox::{Slice, text};

type Connection = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Box<dyn Future<Output = Result<(Response<WasiBody>, Connection)>> + Send>;

/// The outbound policy of one slice.
pub(crate) struct Outbound {
    connector: Connector,
    deciders: Deciders,
    grants: Arc<BTreeSet<Grant>>,
    shared: Arc<Shared>,
    requests: u32,
    limit: u32,
}

impl Outbound {
    pub(crate) fn new(slice: &Slice, shared: &Arc<Shared>, connector: Connector) -> Self {
        Self {
            connector,
            deciders: Deciders {
                plugin: slice.plugin.clone(),
                version: Arc::clone(&slice.version),
                policy: Arc::clone(&slice.policy),
            },
            grants: Arc::clone(&slice.grants),
            shared: Arc::clone(shared),
            requests: 0,
            limit: slice.limits.outbound_requests,
        }
    }

    /// Whether it asked for more requests than it may send.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.requests > self.limit
    }

    /// Decides about a request before anything of it leaves the host.
    fn admit(&mut self, request: &Request<WasiBody>) -> Result<(Origin, Coverage)> {
        self.requests = self.requests.saturating_add(1);
        if self.is_exhausted() {
            return Err(Error::ConnectionLimitReached);
        }
        let Some(origin) = origin_of(request.uri()) else {
            let uri = text::line(&request.uri().to_string(), 300);
            self.shared.note(&format!("refused {} {uri}: it is not `http` or `https` to a host", method(request)));
            return Err(Error::HttpRequestUriInvalid);
        };
        match coverage(self.grants.iter(), &origin) {
            Some(coverage) => Ok((origin, coverage)),
            None => {
                self.note_missing_grant(request, &origin);
                Err(Error::HttpRequestDenied)
            }
        }
    }

    /// What went wrong on the way is the plug-in's affair: it is in the job's log and not in the host's.
    fn note_failure(&self, what: &str, error: &dyn std::error::Error) {
        self.shared.note(&format!("{what}: {}", text::line(&text::causes(error), 500)));
    }

    fn note_missing_grant(&self, request: &Request<WasiBody>, origin: &Origin) {
        let advice = advice::allow_origin(self.deciders.sides(), origin);
        let origin = origin.as_grant();
        self.shared.note(&format!("refused {} {origin}: not granted. To allow it:\n{advice}", method(request)));
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Connection,
    ) -> Answer {
        let admitted = self.admit(&request);
        let (shared, connector, deciders) = (Arc::clone(&self.shared), self.connector.clone(), self.deciders.clone());
        let bill = shared.bill().clone();
        Box::new(bill.of(async move {
            let (origin, coverage) = admitted?;
            let under_way = UnderWay::to(&origin, &shared);
            let granted = Granted { origin: &origin, coverage, deciders: &deciders };
            let answer = connect::send(&connector, request, options, granted, &shared).await;
            drop(under_way);
            answer
        }))
    }

    /// Two pieces of a body may wait until they are sent.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PERMIT
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        self.note_failure("an exchange broke off", error);
        ErrorCode::HttpProtocolError
    }

    fn p2_error_from_connect(&mut self, error: &std::io::Error) -> ErrorCode {
        self.note_failure("no connection", error);
        ErrorCode::ConnectionRefused
    }

    fn p2_error_from_tls(&mut self, error: &std::io::Error) -> ErrorCode {
        self.note_failure("no connection over TLS", error);
        ErrorCode::TlsProtocolError
    }
}

/// A request whose answer has not begun. Dropped when it has, or when the guest no longer wants it.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn to(origin: &Origin, shared: &Arc<Shared>) -> Self {
        shared.awaits(Some(format!("an answer of {}", origin.as_grant())));
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.awaits(None);
    }
}

/// A method as it may stand in a line: guests may make them up.
fn method(request: &Request<WasiBody>) -> String {
    text::line(request.method().as_str(), 32)
}

fn origin_of(uri: &http::Uri) -> Option<Origin> {
    Origin::of(uri.scheme_str()?, uri.authority()?.as_str())
}
