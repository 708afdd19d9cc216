//! Who may speak to this host: no web page of another site, nobody without the token, and not too many at once.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::ApiState;
use super::error::ApiError;
use super::sending::Sending;
use super::session;
use crate::app::{CallerWarrant, NoWarrant, Tokens};
use crate::domain::access::Caller;
use crate::domain::code;
use crate::domain::id::Digest;
use crate::store::warrant::with_warrant;

/// Addresses that answer without a token: they tell nothing about jobs or plug-ins.
const OPEN_PATHS: &[&str] = &["/healthz", "/readyz", "/openapi.json", "/errors", LOGIN];

/// Addresses that are answered however many requests are under way: a busy host lives.
const ALWAYS_ANSWERED: &[&str] = &["/healthz", "/readyz"];

/// Where the console asks for the token.
const LOGIN: &str = "/login";

/// The names under which this host may be addressed.
#[derive(Clone, Debug)]
pub struct Guard {
    listen: SocketAddr,
    allowed_hosts: Arc<[String]>,
}

impl Guard {
    /// A guard of a host that listens on `listen`. `allowed_hosts` are further names for it, such as that of a proxy in
    /// front.
    pub fn new(listen: SocketAddr, allowed_hosts: &[String]) -> Self {
        Self { listen, allowed_hosts: allowed_hosts.iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// Who sends a request. At addresses that are open to everybody that is a stranger.
    fn caller(&self, request: &Request, tokens: &Tokens) -> Result<Caller, ApiError> {
        self.check_site(request)?;
        match is_open(request.uri().path()) {
            true => Ok(Caller::STRANGER),
            false => holder(request.headers(), tokens),
        }
    }

    /// A name that is not ours would let a page of that name read our answers (DNS rebinding); an origin that is not ours is
    /// a page of another site.
    fn check_site(&self, request: &Request) -> Result<(), ApiError> {
        let host = host_of(request)?;
        if !self.is_ours(host.host()) {
            return Err(foreign(format!("the Host header names `{host}`, which is not this host")));
        }
        for origin in request.headers().get_all(ORIGIN) {
            let text = origin.to_str().unwrap_or("(not ASCII)");
            let authority = text.split_once("://").and_then(|(_, rest)| rest.parse::<Authority>().ok());
            let is_same = authority.as_ref().is_some_and(|authority| *authority == host);
            let is_allowed = authority.as_ref().is_some_and(|authority| self.is_allowed_origin(text, authority));
            if !is_same && !is_allowed {
                return Err(foreign(format!("the Origin header names `{text}`, which is another site than `{host}`")));
            }
        }
        let from_elsewhere = request.headers().get("sec-fetch-site").is_some_and(|value| value == "cross-site");
        let has_origin = request.headers().contains_key(ORIGIN);
        if from_elsewhere && !has_origin && !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(foreign("the browser says that a page of another site sent the request".to_owned()));
        }
        Ok(())
    }

    fn is_ours(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            // A name can be rebound to our address, a literal address cannot.
            Ok(address) => {
                let listens = self.listen.ip();
                address.is_loopback() || address == listens || listens.is_unspecified() || self.is_allowed(host)
            }
            Err(_) => {
                let name = bare.trim_end_matches('.').to_ascii_lowercase();
                name == "localhost" || name.ends_with(".localhost") || self.is_allowed(host)
            }
        }
    }

    /// Whether a name is allowed at any port: whoever can rebind a name can rebind it for every port.
    fn is_allowed(&self, host: &str) -> bool {
        self.allowed_hosts.iter().any(|entry| {
            let is_name = entry.parse::<Authority>().is_ok_and(|entry| entry.host().eq_ignore_ascii_case(host));
            is_name || entry.eq_ignore_ascii_case(host)
        })
    }

    /// Whether an origin is allowed. An entry with a port allows that port only.
    fn is_allowed_origin(&self, origin: &str, authority: &Authority) -> bool {
        let usual = match origin.split_once("://") {
            Some(("https", _)) => Some(443),
            Some(("http", _)) => Some(80),
            _ => None,
        };
        let port = authority.port_u16().or(usual);
        self.allowed_hosts.iter().any(|entry| match entry.parse::<Authority>() {
            Ok(entry) if entry.port().is_some() => {
                entry.host().eq_ignore_ascii_case(authority.host()) && entry.port_u16() == port
            }
            _ => entry.eq_ignore_ascii_case(authority.host()),
        })
    }
}

/// Whether everybody is answered at an address.
fn is_open(path: &str) -> bool {
    OPEN_PATHS.contains(&path) || path.starts_with("/errors/") || path.starts_with("/console/")
}

/// Who holds the token that a request carries.
fn holder(headers: &HeaderMap, tokens: &Tokens) -> Result<Caller, ApiError> {
    if tokens.are_not_asked_for() {
        return Ok(Caller::ANYBODY);
    }
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = given.and_then(|value| strip_scheme(value, "bearer")).map(str::to_owned);
    match bearer.or_else(|| session::token(headers)) {
        // Digests have one length and hide how much of a secret was right.
        Some(secret) => Ok(tokens.holder(&Digest::of(secret))?),
        None => Err(ApiError::new(code::UNAUTHORIZED, "the request carries no `Authorization: Bearer` header")),
    }
}

fn strip_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, rest) = value.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

fn host_of(request: &Request) -> Result<Authority, ApiError> {
    let mut values = request.headers().get_all(HOST).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(foreign("the request has two Host headers".to_owned()));
    }
    let header = first.and_then(|value| value.to_str().ok()?.parse().ok());
    let authority = header.or_else(|| request.uri().authority().cloned());
    authority.ok_or_else(|| foreign("the request has no Host header that could be read".to_owned()))
}

fn foreign(detail: String) -> ApiError {
    ApiError::new(code::FOREIGN_ORIGIN, detail)
}

/// Whether a person with a browser asks for a page of the console.
fn wants_page(request: &Request) -> bool {
    let accepts = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    *request.method() == Method::GET && accepts.contains("text/html") && !request.uri().path().starts_with("/v1/")
}

/// Lets a request through or answers it.
pub(super) async fn admit(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let caller = match state.guard().caller(&request, &state.host().tokens) {
        Ok(caller) => caller,
        Err(error) if error.code() == code::UNAUTHORIZED && wants_page(&request) => {
            return Redirect::to(LOGIN).into_response();
        }
        Err(error) => return error.into_response(),
    };
    if ALWAYS_ANSWERED.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    request.extensions_mut().insert(caller.clone());
    let turn = match state.turns().request() {
        Ok(turn) => turn,
        Err(busy) => return busy.into_response(),
    };
    request.extensions_mut().insert(state.turns().large_bodies().clone());
    request.extensions_mut().insert(turn.clone());
    if is_open(request.uri().path()) {
        let response = with_warrant(Arc::new(NoWarrant), next.run(request)).await;
        turn.end();
        return response;
    }
    let admitted = Arc::new(CallerWarrant::new(Arc::clone(&state.host().tokens), caller));
    let sending = Sending::watch(&mut request, &admitted);
    let response = with_warrant(Arc::<CallerWarrant>::clone(&admitted), next.run(request)).await;
    turn.end();
    match admitted.check() {
        // Who has lost his token since hears of what was done for him, but is shown nothing.
        Err(error) if !admitted.has_acted() => {
            sending.discard().await;
            ApiError::from(error).into_response()
        }
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_with_a_port_allows_that_port_only() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 7171));
        let guard = Guard::new(
            listen,
            &["Any.example".to_owned(), "jobs.example:8443".to_owned(), "tls.example:443".to_owned()],
        );
        for (origin, expected) in [
            ("https://jobs.example:8443", true),
            ("https://jobs.example:8444", false),
            ("https://jobs.example", false),
            ("https://tls.example", true),
            ("http://tls.example", false),
            ("https://any.example:1", true),
            ("https://evil.example:8443", false),
        ] {
            let request = Request::post("/v1/service/resume").header(HOST, "jobs.example:8443").header(ORIGIN, origin);
            let request = request.body(axum::body::Body::empty()).expect("a request");
            let is_same = origin == "https://jobs.example:8443";
            assert_eq!(guard.check_site(&request).is_ok(), expected || is_same, "{origin}");
            let (_, authority) = origin.split_once("://").expect("an origin");
            let authority = authority.parse().expect("an authority");
            assert_eq!(guard.is_allowed_origin(origin, &authority), expected, "{origin}");
        }
    }
}
