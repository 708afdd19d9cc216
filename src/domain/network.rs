//! Addresses of networks: which belong together, and which somebody has named; and how a request shows that it came through
//! a proxy.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use core::str::FromStr;

/// An address, or all that begin like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many leading bits count.
    bits: u8,
}

/// The form of [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an address such as 127.0.0.1, or a network such as 10.0.0.0/8: {0:?}")]
pub struct BadNetwork(String);

impl Network {
    /// Whether an address belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other) = (canonical(self.address), canonical(address));
        match (own, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                (own.to_bits() ^ other.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(text.chars().take(60).collect());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address = canonical(address.parse().map_err(|_| bad())?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| bad()))?;
        if bits > most { Err(bad()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Headers that only a proxy adds, or a network that delivers for others.
const OF_PROXIES: &[&str] = &[
    "cdn-loop",
    "forwarded",
    "forwarded-for",
    "forwarded-proto",
    "front-end-https",
    "proxy-connection",
    "via",
    "x-appengine-user-ip",
    "x-arr-ssl",
    "x-azure-socketip",
    "x-cluster-client",
    "x-coming-from",
    "x-host",
    "x-original-host",
    "x-original-proto",
    "x-original-url",
    "x-proto",
    "x-real-ip",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
];

/// What the names of such headers begin with, of which there are many and will be more.
const BEGINNINGS_OF_PROXIES: &[&str] =
    &["cf-", "cloudfront-", "fastly-", "fly-", "x-azure-fd", "x-envoy-", "x-forwarded-", "x-original-forwarded-"];

/// What they end with: whose address it is, everybody says in his own way.
const ENDINGS_OF_PROXIES: &[&str] =
    &["-client-address", "-client-ip", "-clientip", "-connecting-ip", "-connection-ip", "-forwarded-for"];

/// Whether a header of this name, in lower case, says that a request came through a proxy.
pub fn is_of_proxy(header: &str) -> bool {
    OF_PROXIES.contains(&header)
        || BEGINNINGS_OF_PROXIES.iter().any(|beginning| header.starts_with(beginning))
        || ENDINGS_OF_PROXIES.iter().any(|ending| header.ends_with(ending))
}

fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// What stands for an address where callers are told apart by theirs: whoever has an IPv6 address has a whole /64 of them.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match canonical(address) {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_what_begins_like_it() {
        for (network, address, is_in) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.0.0.0/8", "10.9.8.7", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::9", true),
            ("2001:db8::/32", "2001:db9::9", false),
            ("::/0", "2001:db9::9", true),
        ] {
            let parsed: Network = network.parse().expect("a network");
            assert_eq!(parsed.contains(address.parse().expect("an address")), is_in, "{network} {address}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "example.com", "10.0.0.0/8/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn neighbours_of_one_household_count_as_one() {
        let of = |text: &str| neighbourhood(text.parse().expect("an address")).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn what_proxies_add_is_told_from_what_callers_send() {
        for header in [
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-forwarded-port",
            "x-forwarded-server",
            "x-forwarded-tls-client-cert",
            "x-original-forwarded-for",
            "x-vercel-forwarded-for",
            "x-real-ip",
            "x-client-ip",
            "x-cluster-client-ip",
            "true-client-ip",
            "cf-connecting-ip",
            "cf-ray",
            "cdn-loop",
            "do-connecting-ip",
            "x-nf-client-connection-ip",
            "fastly-client-ip",
            "fly-client-ip",
            "wl-proxy-client-ip",
            "x-azure-clientip",
            "x-envoy-external-address",
            "cloudfront-viewer-address",
            "x-original-host",
        ] {
            assert!(is_of_proxy(header), "{header}");
        }
        for header in [
            "accept",
            "authorization",
            "connection",
            "content-type",
            "cookie",
            "host",
            "idempotency-key",
            "origin",
            "referer",
            "sec-fetch-site",
            "traceparent",
            "upgrade-insecure-requests",
            "user-agent",
            "x-amzn-trace-id",
            "x-request-id",
            "x-requested-with",
        ] {
            assert!(!is_of_proxy(header), "{header}");
        }
    }
}
