//! Which origins and addresses an outbound request may reach.

// The types of addresses alone: nothing here opens a socket.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::domain::plugin::Grant;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether it is `https`.
    pub is_tls: bool,
    /// In lower case; an IPv6 address without its brackets.
    pub host: String,
    /// The port, given or usual.
    pub port: u16,
}

impl Origin {
    /// Reads the origin of a request from the scheme and the authority of its URL; `None` when it is not `http` or
    /// `https`, has no host, or carries a user name.
    pub fn of(scheme: &str, authority: &str) -> Option<Self> {
        let is_tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        if authority.contains('@') {
            return None;
        }
        let (host, port) = split_port(authority);
        let port = match port {
            Some(port) => port.parse().ok()?,
            None => default_port(is_tls),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        (!host.is_empty()).then(|| Self { is_tls, host: host.to_ascii_lowercase(), port })
    }

    /// The address, when the host is one.
    fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// As it stands in a grant.
    pub fn as_grant(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port(self.is_tls) {
            return format!("{scheme}://{host}");
        }
        format!("{scheme}://{host}:{}", self.port)
    }
}

/// A host and its port, where one stands there; the colons of an IPv6 address are none.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

const fn default_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

/// How the grant that covers an origin names its host; decides which addresses it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// By that very name or address.
    Exact,
    /// By a pattern.
    Pattern,
}

/// The grant that covers an origin.
pub fn coverage<'a>(grants: impl IntoIterator<Item = &'a Grant>, origin: &Origin) -> Option<Coverage> {
    let mut covered = None;
    for grant in grants {
        let Grant::Http(pattern) = grant else { continue };
        match covers(pattern, origin) {
            Some(Coverage::Exact) => return Some(Coverage::Exact),
            Some(Coverage::Pattern) => covered = Some(Coverage::Pattern),
            None => {}
        }
    }
    covered
}

fn covers(pattern: &str, origin: &Origin) -> Option<Coverage> {
    let (scheme, authority) = pattern.split_once("://")?;
    if (scheme == "https") != origin.is_tls {
        return None;
    }
    let (host, port) = split_port(authority);
    let port = port.map_or(Some(default_port(origin.is_tls)), |port| port.parse().ok())?;
    if port != origin.port {
        return None;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if let Some(parent) = host.strip_prefix("*.") {
        let child = origin.host.strip_suffix(parent)?.strip_suffix('.')?;
        return (!child.is_empty()).then_some(Coverage::Pattern);
    }
    let is_same = match (host.parse::<IpAddr>(), origin.literal()) {
        (Ok(granted), Some(asked)) => granted == asked,
        _ => host == origin.host,
    };
    is_same.then_some(Coverage::Exact)
}

/// Whether a guest may connect to an address of an origin that is granted. An address that the operator wrote himself, and
/// `localhost`, are his to allow. A name leads to the public network only, whoever answers for it; with TLS and the exact
/// name it may lead to a private address too, because the certificate proves who is there.
pub fn may_connect(origin: &Origin, coverage: Coverage, address: IpAddr) -> bool {
    if coverage == Coverage::Exact && origin.literal() == Some(address) {
        return true;
    }
    let address = address.to_canonical();
    if coverage == Coverage::Exact && origin.host == "localhost" {
        return address.is_loopback();
    }
    match address {
        IpAddr::V4(address) if is_public_v4(address) => true,
        IpAddr::V6(address) if is_public_v6(address) => true,
        address => coverage == Coverage::Exact && origin.is_tls && is_private(address),
    }
}

/// Not in any block that is reserved for something else (IANA special-purpose registry).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && b & 0xc0 == 64;
    let is_protocol = a == 192 && b == 0 && c == 0;
    let is_benchmark = a == 198 && b & 0xfe == 18;
    !(a == 0
        || a >= 224
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || is_shared
        || is_protocol
        || is_benchmark)
}

/// In the block of global unicast, and in none of its ways to IPv4.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let is_teredo_or_documentation = a == 0x2001 && (b < 0x200 || b == 0xdb8);
    let is_six_to_four = a == 0x2002;
    a & 0xe000 == 0x2000 && !is_teredo_or_documentation && !is_six_to_four
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str) -> Option<Origin> {
        let (scheme, rest) = uri.split_once("://")?;
        Origin::of(scheme, rest.split('/').next().unwrap_or(rest))
    }

    fn covered(pattern: &str, uri: &str) -> Option<Coverage> {
        coverage([&Grant::Http(pattern.into())], &origin(uri).expect("an origin"))
    }

    #[test]
    fn an_origin_has_a_scheme_a_host_and_a_port() {
        assert_eq!(origin("https://API.Example.com./x").expect("an origin").as_grant(), "https://api.example.com");
        assert_eq!(origin("http://[::1]:8080/").expect("an origin").as_grant(), "http://[::1]:8080");
        assert_eq!(origin("https://user@example.com/"), None);
        assert_eq!(origin("ftp://example.com/"), None);
        assert_eq!(origin("/path"), None);
    }

    #[test]
    fn a_grant_covers_its_scheme_host_and_port_only() {
        let (exact, pattern) = (Some(Coverage::Exact), Some(Coverage::Pattern));
        for (grant, uri, expected) in [
            ("https://api.example.com", "https://api.example.com/x", exact),
            ("https://api.example.com", "https://API.EXAMPLE.COM:443/", exact),
            ("https://api.example.com", "http://api.example.com/", None),
            ("https://api.example.com", "https://api.example.com:8443/", None),
            ("https://api.example.com", "https://api.example.com.evil.net/", None),
            ("https://*.example.com", "https://a.b.example.com/", pattern),
            ("https://*.example.com", "https://example.com/", None),
            ("https://*.example.com", "https://evilexample.com/", None),
            ("http://10.0.0.7:8080", "http://10.0.0.7:8080/", exact),
            ("http://[::1]:80", "http://[0:0:0:0:0:0:0:1]/", exact),
        ] {
            assert_eq!(covered(grant, uri), expected, "{grant} {uri}");
        }
    }

    #[test]
    fn a_name_leads_to_no_inner_address() {
        let may = |uri: &str, coverage, address: &str| {
            may_connect(&origin(uri).expect("an origin"), coverage, address.parse().expect("an address"))
        };
        let inner = [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.168.0.1",
            "224.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fc00::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "::",
        ];
        for address in inner {
            assert!(!may("http://api.example.com/", Coverage::Exact, address), "{address}");
            assert!(!may("https://api.example.com/", Coverage::Pattern, address), "{address}");
        }
        for address in ["93.184.216.34", "2606:2800:220:1::1"] {
            assert!(may("http://api.example.com/", Coverage::Exact, address), "{address}");
        }
        assert!(may("https://intranet.example.com/", Coverage::Exact, "10.1.2.3"));
        assert!(!may("https://intranet.example.com/", Coverage::Exact, "169.254.169.254"));
        assert!(!may("https://intranet.example.com/", Coverage::Exact, "127.0.0.1"));
        assert!(may("http://localhost:8080/", Coverage::Exact, "127.0.0.1"));
        assert!(!may("http://localhost:8080/", Coverage::Exact, "10.0.0.1"));
        assert!(may("http://10.0.0.1/", Coverage::Exact, "10.0.0.1"));
        assert!(!may("http://10.0.0.1/", Coverage::Exact, "10.0.0.2"));
    }
}
