//! Outbound HTTP of guests. Always linked, because components of some toolchains import it unused; refused unless granted.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use http::{Request, Response};
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

use super::connect;
use super::guest::Shared;
use super::origin::{Coverage, Origin, coverage};
use super::text;
use crate::domain::id::PluginName;
use crate::domain::plugin::Grant;
use crate::sandbox::Slice;

type Connection = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Box<dyn Future<Output = Result<(Response<WasiBody>, Connection)>> + Send>;

/// The outbound policy of one slice.
pub(crate) struct Outbound {
    plugin: PluginName,
    grants: Arc<BTreeSet<Grant>>,
    shared: Arc<Shared>,
    requests: u32,
    limit: u32,
}

impl Outbound {
    pub(crate) fn new(slice: &Slice, shared: &Arc<Shared>) -> Self {
        Self {
            plugin: slice.plugin.clone(),
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
        let Some(origin) = Origin::of(request.uri()) else {
            let uri = text::neutral(&request.uri().to_string(), 300);
            self.shared.note(&format!("refused {} {uri}: it is not `http` or `https` to a host", request.method()));
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

    fn note_missing_grant(&self, request: &Request<WasiBody>, origin: &Origin) {
        let origin = text::neutral(&origin.as_grant(), 300);
        self.shared.note(&format!(
            "refused {} {origin}: not granted. To allow it, in backroom.toml:\n[[plugin]]\nname = \"{}\"\ngrants = {{ http = [\"{origin}\"] }}",
            request.method(),
            self.plugin,
        ));
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
        let shared = Arc::clone(&self.shared);
        Box::new(async move {
            let (origin, coverage) = admitted?;
            connect::send(request, options, &origin, coverage, shared).await
        })
    }
}
