//! Handlers that the host plays itself, beside those of components. There is one: `http`, which calls a URL.

mod call;
mod exchange;
mod output;
mod sign;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

pub use call::HttpCaller;

use super::{Admitted, BoxFuture, HostPort, Rejection, Sandbox, Slice, SliceReport};
use crate::domain::id::Digest;
use crate::domain::plugin::{PluginVersion, Shape};

/// Plays the slices of built-in handlers, and passes all others on.
pub struct BuiltinSandbox {
    inner: Arc<dyn Sandbox>,
    http: HttpCaller,
}

impl BuiltinSandbox {
    /// A sandbox that runs components in `inner` and calls URLs through `http`.
    pub fn new(inner: Arc<dyn Sandbox>, http: HttpCaller) -> Self {
        Self { inner, http }
    }
}

fn is_built_in(version: &PluginVersion) -> bool {
    version.inspection.shape == Shape::Builtin
}

impl Sandbox for BuiltinSandbox {
    fn admit(&self, upload: Bytes) -> BoxFuture<'_, Result<Admitted, Rejection>> {
        self.inner.admit(upload)
    }

    fn prepare<'a>(&'a self, version: &'a PluginVersion, component: Bytes) -> BoxFuture<'a, Result<(), Rejection>> {
        if is_built_in(version) { Box::pin(async { Ok(()) }) } else { self.inner.prepare(version, component) }
    }

    fn is_ready(&self, version: &PluginVersion) -> bool {
        is_built_in(version) || self.inner.is_ready(version)
    }

    fn keep_only(&self, named: &BTreeSet<Digest>) {
        self.inner.keep_only(named);
    }

    fn run(&self, slice: Slice, port: Box<dyn HostPort>) -> BoxFuture<'_, SliceReport> {
        if is_built_in(&slice.version) { Box::pin(self.http.run(slice)) } else { self.inner.run(slice, port) }
    }
}
