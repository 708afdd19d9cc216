//! What every guest may call, linked once per engine, and what the host calls in a guest.

use wasmtime::Engine;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::bindings::{self, PluginPre};
use super::guest::Guest;
use super::metered;
use super::turns::Manners;
use crate::domain::plugin::Shape;

/// All interfaces that the host offers.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    metered::link(&mut linker)?;
    bindings::link(&mut linker)?;
    Ok(linker)
}

/// A component with its imports resolved, ready to be instantiated any number of times.
pub(crate) struct Entry {
    pub(crate) point: Point,
    pub(crate) manners: Manners,
}

/// Where a component is entered.
pub(crate) enum Point {
    Handler(PluginPre<Guest>),
    Command(CommandPre<Guest>),
}

/// Resolves the imports of a component and finds its entry point.
pub(crate) fn entry(linker: &Linker<Guest>, component: &Component, shape: Shape) -> wasmtime::Result<Entry> {
    let linked = linker.instantiate_pre(component)?;
    let point = match shape {
        Shape::Handler => Point::Handler(PluginPre::new(linked)?),
        Shape::Command => Point::Command(CommandPre::new(linked)?),
        Shape::Builtin => return Err(wasmtime::Error::msg("a built-in handler is no component")),
    };
    Ok(Entry { point, manners: Manners::default() })
}

impl Entry {
    /// The engine that it was loaded into.
    pub(crate) fn engine(&self) -> &Engine {
        match &self.point {
            Point::Handler(entry) => entry.engine(),
            Point::Command(entry) => entry.engine(),
        }
    }
}
