//! What kinds of bodies there are, and what a body may say that it is.

use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::error::ApiError;
use super::json::shown;
use crate::domain::code;

/// The largest body of an ordinary request, in bytes.
pub(super) const BODY_BYTES_MAX: u64 = 2 << 20;

/// The largest upload and the largest bulk submit, in bytes.
pub(super) const LARGE_BODY_BYTES_MAX: u64 = 64 << 20;

/// What `curl` says of every body, whatever it is: it is taken as if nothing were said.
const UNSAID: &str = "application/x-www-form-urlencoded";

/// A kind of body that an address reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One JSON document.
    Json,
    /// A JSON document on each line.
    Lines,
    /// A component.
    Component,
}

impl Kind {
    /// Its types, the one that clients are told first.
    const fn types(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["application/json"],
            // Many generators of clients know no lines, and send bytes.
            Self::Lines => &[
                "application/x-ndjson",
                "application/ndjson",
                "application/jsonl",
                "application/json",
                "application/octet-stream",
            ],
            Self::Component => &["application/wasm", "application/octet-stream"],
        }
    }

    /// The most bytes that are read of it.
    pub(super) const fn bytes_max(self) -> u64 {
        match self {
            Self::Json => BODY_BYTES_MAX,
            Self::Lines | Self::Component => LARGE_BODY_BYTES_MAX,
        }
    }

    /// Refuses a body that says that it is something else, or is packed. What says nothing is looked at.
    pub(super) fn check(self, headers: &HeaderMap) -> Result<(), ApiError> {
        if let Some(packed) = said(headers, &CONTENT_ENCODING).find(|coding| !coding.eq_ignore_ascii_case("identity")) {
            let detail = format!("the Content-Encoding is `{}`; bodies are read without one", shown(packed));
            let error = ApiError::new(code::WRONG_KIND, detail).with_next("Send it without a Content-Encoding.");
            return Err(error.with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        }
        if let Some(coding) = said(headers, &TRANSFER_ENCODING).find(|coding| !coding.eq_ignore_ascii_case("chunked")) {
            let detail = format!("the Transfer-Encoding is `{}`; expected `chunked`", shown(coding));
            // As RFC 9112 section 6.1 has it.
            return Err(ApiError::new(code::WRONG_KIND, detail).with_status(StatusCode::NOT_IMPLEMENTED));
        }
        let mut given = headers.get_all(CONTENT_TYPE).iter();
        let Some(first) = given.next() else { return Ok(()) };
        let text = first.to_str().unwrap_or("(not ASCII)");
        if given.next().is_none() && self.is(text) {
            return Ok(());
        }
        let types = self.types();
        let detail = format!("the Content-Type is `{}`; expected one of: {}", shown(text), types.join(", "));
        let error =
            ApiError::new(code::WRONG_KIND, detail).with_next(format!("Send it with `Content-Type: {}`.", types[0]));
        Err(match HeaderValue::from_str(&types.join(", ")) {
            Ok(types) => error.with_header(ACCEPT, types),
            Err(_) => error,
        })
    }

    fn is(self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_some_json = essence.strip_prefix("application/").is_some_and(|name| name.ends_with("+json"));
        essence == UNSAID || self.types().contains(&essence.as_str()) || self == Self::Json && is_some_json
    }
}

/// The members of a header that is a list.
fn said<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("(not ASCII)"));
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: Kind, headers: &[(&'static str, &'static str)]) -> Option<ApiError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        kind.check(&map).err()
    }

    #[test]
    fn a_body_is_what_it_says_or_says_nothing() {
        for (kind, content_type) in [
            (Kind::Json, "application/json"),
            (Kind::Json, "Application/JSON; charset=utf-8"),
            (Kind::Json, "application/vnd.shop.order+json"),
            (Kind::Json, UNSAID),
            (Kind::Lines, "application/x-ndjson"),
            (Kind::Lines, "application/json"),
            (Kind::Lines, "application/octet-stream"),
            (Kind::Lines, UNSAID),
            (Kind::Component, "application/wasm"),
            (Kind::Component, "application/octet-stream"),
            (Kind::Component, UNSAID),
        ] {
            assert!(refused(kind, &[("content-type", content_type)]).is_none(), "{kind:?}: {content_type}");
            assert!(refused(kind, &[]).is_none());
        }
        for (kind, content_type) in [
            (Kind::Json, ""),
            (Kind::Json, "json"),
            (Kind::Json, "text/plain"),
            (Kind::Json, "application/xml"),
            (Kind::Json, "application/jsonp"),
            (Kind::Json, "application/x-ndjson"),
            (Kind::Json, "text/x+json"),
            (Kind::Json, "multipart/form-data; boundary=x"),
            (Kind::Lines, "text/csv"),
            (Kind::Component, "application/json"),
        ] {
            let error = refused(kind, &[("content-type", content_type)]).expect("it is something else");
            assert_eq!(error.status().as_u16(), 415, "{kind:?}: {content_type}");
            assert!(error.detail().contains(kind.types()[0]), "{}", error.detail());
        }
        let twice = [("content-type", "application/json"), ("content-type", "application/json")];
        assert!(refused(Kind::Json, &twice).is_some(), "which one counts?");
    }

    #[test]
    fn a_packed_body_is_refused() {
        for coding in ["identity", "Identity", "", "identity, identity"] {
            assert!(refused(Kind::Json, &[("content-encoding", coding)]).is_none(), "{coding}");
        }
        for coding in ["gzip", "br", "identity, gzip", "x"] {
            assert!(refused(Kind::Json, &[("content-encoding", coding)]).is_some(), "{coding}");
        }
        assert!(refused(Kind::Lines, &[("content-encoding", "identity"), ("content-encoding", "deflate")]).is_some());
        assert!(refused(Kind::Lines, &[("transfer-encoding", "chunked")]).is_none());
        let transferred = refused(Kind::Lines, &[("transfer-encoding", "gzip, chunked")]);
        assert_eq!(transferred.map(|error| error.status().as_u16()), Some(501));
    }
}
