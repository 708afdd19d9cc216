//! Outbound HTTP as rules: where a request may go, what the built-in handler `http` is asked for, what signs it, and what an
//! answer means (design sections 4 and 5). Nothing here touches a socket.

mod answer;
mod date;
mod origin;
mod request;
mod signing;
mod url;

pub use answer::{Meaning, leads_elsewhere, retry_after};
pub use origin::{Coverage, Origin, coverage, may_connect};
pub use request::{BODY_KIND_JSON, BadRequest, HttpRequest};
pub use signing::{BadKeys, KEY_BYTES, KEYS_MAX, SigningKey, SigningKeys};
pub use url::{BadUrl, Url};

use super::id::PluginName;

/// The reserved name of the built-in handler that calls a URL; no upload may have it.
pub const HTTP: &str = "http";

/// Whether a plug-in's name stands for a built-in handler rather than for a component.
pub fn is_built_in(name: &PluginName) -> bool {
    name.as_str() == HTTP
}

/// The name of the built-in handler that calls a URL.
pub fn http_plugin() -> PluginName {
    PluginName::new(HTTP).expect("the name is a slug")
}
