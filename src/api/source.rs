//! Where a request comes from: the address of its caller, also behind a proxy that the settings trust.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName};

use super::connection::Connection;
use crate::domain::network::{Network, is_of_proxy, neighbourhood};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Proxies whose word is taken for who asks and how.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies(pub(super) Arc<[Network]>);

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The address, or the network that stands for it. None where nobody knows.
    pub(super) address: Option<IpAddr>,
    /// Whether the caller speaks TLS with a trusted proxy.
    pub(super) is_secure: bool,
}

impl Source {
    /// Where a request comes from.
    pub(super) fn of(request: &Request, proxies: &Proxies) -> Self {
        let peer = request.extensions().get::<Arc<Connection>>().map(|connection| connection.peer());
        let is_trusted = peer.is_some_and(|peer| proxies.trust(peer));
        let headers = request.headers();
        let address = if is_trusted { proxies.caller(headers).or(peer) } else { peer };
        let is_secure = is_trusted && last(headers, &FORWARDED_PROTO).is_some_and(|proto| proto == "https");
        Self { address: address.map(neighbourhood), is_secure }
    }
}

impl Proxies {
    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The nearest address that is not one of ours: what stands before it, its caller may have made up.
    fn caller(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let named = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let addresses: Vec<Option<IpAddr>> = named.flat_map(|value| value.split(',')).map(address).collect();
        addresses.into_iter().rev().map_while(|address| address).find(|address| !self.trust(*address))
    }
}

/// An address in a header, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let parsed = bare.unwrap_or(text).parse().ok();
    parsed.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
}

fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim)
}

/// Which header says that a request came through a proxy.
pub(super) fn proxy_header(headers: &HeaderMap) -> Option<&str> {
    headers.keys().map(HeaderName::as_str).find(|name| is_of_proxy(name))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn of(peer: &str, headers: &[(&str, &str)]) -> Source {
        let proxies = ["127.0.0.1", "10.0.0.0/8"].map(|text| text.parse().expect("a network"));
        let request = headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
        let mut request = request.body(Body::empty()).expect("a request");
        request.extensions_mut().insert(Connection::of_peer(peer.parse().expect("an address")));
        Source::of(&request, &Proxies(proxies.into()))
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let address =
            |peer: &str, value: &str| of(peer, &[("x-forwarded-for", value)]).address.expect("an address").to_string();
        assert_eq!(address("203.0.113.5", "192.0.2.1"), "203.0.113.5", "anybody can write such a header");
        assert_eq!(address("127.0.0.1", "192.0.2.1"), "192.0.2.1");
        assert_eq!(address("127.0.0.1", "192.0.2.66, 192.0.2.1, 10.1.1.1"), "192.0.2.1", "the first is made up");
        assert_eq!(address("127.0.0.1", "192.0.2.1:4711"), "192.0.2.1");
        assert_eq!(address("127.0.0.1", "[2001:db8::7]:80"), "2001:db8::");
        for unreadable in ["", "unknown", "192.0.2.1, _hidden"] {
            assert_eq!(address("127.0.0.1", unreadable), "127.0.0.1", "{unreadable}");
        }
        assert!(of("127.0.0.1", &[("x-forwarded-proto", "https")]).is_secure);
        assert!(!of("127.0.0.1", &[("x-forwarded-proto", "http")]).is_secure);
        assert!(!of("203.0.113.5", &[("x-forwarded-proto", "https")]).is_secure);
    }
}
