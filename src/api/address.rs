//! The names in a request's address, and which host it is for.

use std::net::Ipv6Addr;

use axum::extract::{FromRequestParts, Request};
use axum::http::header::HOST;
use axum::http::uri::Authority;

use super::error::ApiError;
use super::json::shown;
use crate::domain::code;

/// The names in an address. Where they cannot be read, a problem document says so.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(super) struct Path<T>(pub(super) T);

/// The host that a request is for (RFC 9112 section 3.2). A whole URL in its first line counts more than the Host header, which
/// has to be right all the same. A request without one is refused in every version of HTTP: nobody could tell whether it is
/// for us.
pub(super) fn host_of(request: &Request) -> Result<Authority, ApiError> {
    let mut values = request.headers().get_all(HOST).iter();
    let header = match (values.next(), values.next()) {
        (None, _) => return Err(bad_host("the request has no Host header".to_owned())),
        (Some(_), Some(_)) => return Err(bad_host("the request has two Host headers".to_owned())),
        (Some(only), None) => only.to_str().unwrap_or("(not ASCII)"),
    };
    let host = read(header).ok_or_else(|| no_host("the Host header", header))?;
    let Some(target) = request.uri().authority() else { return Ok(host) };
    read(target.as_str()).ok_or_else(|| no_host("the URL in the first line", target.as_str()))
}

/// A host, perhaps with a port, and nothing else: who calls himself somebody in it means to deceive a reader.
fn read(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    let host = authority.host();
    // A user before the host would stand in between.
    let rest = authority.as_str().strip_prefix(host)?;
    let is_host = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty(),
    };
    let is_port = |digits: &str| {
        digits.bytes().all(|digit| digit.is_ascii_digit()) && (digits.is_empty() || digits.parse::<u16>().is_ok())
    };
    let is_rest = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
    (is_host && is_rest).then_some(authority)
}

fn no_host(place: &str, given: &str) -> ApiError {
    bad_host(format!("{place} names `{}`, which is not a host with an optional port", shown(given)))
}

fn bad_host(detail: String) -> ApiError {
    ApiError::new(code::BAD_HOST, detail)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    /// The host of a request, or the status of its refusal.
    fn of(target: &str, hosts: &[&str]) -> Result<String, u16> {
        let request = hosts.iter().fold(Request::get(target), |request, host| request.header(HOST, *host));
        let host = host_of(&request.body(Body::empty()).expect("a request"));
        host.map(|host| host.to_string()).map_err(|error| error.status().as_u16())
    }

    #[test]
    fn a_request_names_one_host() {
        for host in ["127.0.0.1", "127.0.0.1:7171", "127.0.0.1:", "localhost:65535", "[::1]", "[::1]:80", "a.b-c_d"] {
            assert_eq!(of("/", &[host]), Ok(host.to_owned()), "{host}");
        }
        for host in [
            "",
            ":7171",
            "x@127.0.0.1",
            "x:y@127.0.0.1:7171",
            "@127.0.0.1",
            "127.0.0.1:port",
            "127.0.0.1:65536",
            "127.0.0.1:+80",
            "127.0.0.1:80:80",
            "127.0.0.1/v1",
            "http://127.0.0.1",
            "127.0.0.1 evil.example",
            "127.0.0.1, evil.example",
            "127.0.0.1#x",
            "127.0.0.1?x",
            "[::1",
            "[]",
            "[127.0.0.1]",
            "[::1]x",
            "[fe80::1%25eth0]",
            "::1",
        ] {
            assert_eq!(of("/", &[host]), Err(400), "{host}");
        }
        assert_eq!(of("/", &[]), Err(400));
        assert_eq!(of("/", &["127.0.0.1", "127.0.0.1"]), Err(400));
    }

    #[test]
    fn a_whole_url_counts_more_than_the_header() {
        let of_url = |url, hosts| of(url, hosts);
        assert_eq!(of_url("http://evil.example/v1/jobs", &["127.0.0.1"]), Ok("evil.example".to_owned()));
        assert_eq!(of_url("http://127.0.0.1:7171/", &["evil.example"]), Ok("127.0.0.1:7171".to_owned()));
        assert_eq!(of_url("http://x@127.0.0.1/", &["127.0.0.1"]), Err(400));
        assert_eq!(of_url("http://127.0.0.1/", &[]), Err(400));
        assert_eq!(of_url("http://127.0.0.1/", &["x@127.0.0.1"]), Err(400));
        assert_eq!(of_url("http://127.0.0.1/", &["127.0.0.1", "127.0.0.1"]), Err(400));
    }
}
