//! Outbound HTTP of guests. Always linked, because components of some toolchains import it unused; refused unless granted.

use std::future::Future;
use std::sync::Arc;

use http::{Request, Response};
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

use super::guest::Shared;
use super::text;
use crate::domain::id::PluginName;
use crate::sandbox::Slice;

type Connection = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Box<dyn Future<Output = Result<(Response<WasiBody>, Connection)>> + Send>;

/// The outbound policy of one slice.
pub(crate) struct Outbound {
    plugin: PluginName,
    shared: Arc<Shared>,
}

impl Outbound {
    pub(crate) fn new(slice: &Slice, shared: &Arc<Shared>) -> Self {
        Self { plugin: slice.plugin.clone(), shared: Arc::clone(shared) }
    }

    fn refuse(&self, request: &Request<WasiBody>) {
        let uri = request.uri();
        let origin = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or("https"),
            uri.authority().map_or("", |authority| authority.as_str())
        );
        self.shared.note(&format!(
            "refused {} {origin}: not granted. To allow it, in backroom.toml:\n[[plugin]]\nname = \"{}\"\ngrants = {{ http = [\"{origin}\"] }}",
            request.method(),
            self.plugin,
            origin = text::neutral(&origin, 300),
        ));
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _sent: Connection,
    ) -> Answer {
        self.refuse(&request);
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
