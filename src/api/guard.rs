//! Who may speak to this host: no web page of another site, nobody without the token, and not too many at once.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONNECTION, ORIGIN};
use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::ApiState;
use super::address::host_of;
use super::batches::Reruns;
use super::connection::Connection;
use super::error::ApiError;
use super::json::shown;
use super::payloads::Payloads;
use super::reads::{Reader, read_by};
use super::sending::Sending;
use super::session::Door;
use super::source::{Proxies, Source, proxy_header};
use super::turns::{Holding, Party, answering};
use crate::app::{CallerWarrant, NoWarrant, NotAdmitted};
use crate::domain::access::Caller;
use crate::domain::code::{self, Code};
use crate::domain::id::Digest;
use crate::domain::network::Network;

/// Addresses that answer without a token: they tell nothing about jobs or plug-ins.
const OPEN_PATHS: &[&str] = &["/healthz", "/readyz", "/openapi.json", "/errors", LOGIN, LOGOUT];

/// Addresses that are answered however many requests are under way: a busy host lives.
pub(super) const ALWAYS_ANSWERED: &[&str] = &["/healthz", "/readyz"];

/// Where the console asks for the token, and where a session with it ends.
const LOGIN: &str = "/login";
const LOGOUT: &str = "/logout";

/// The longest address with its query, in bytes.
const ADDRESS_BYTES_MAX: usize = 8 << 10;

/// The largest body at an address that is open to everybody, in bytes, and how long it may take.
const OPEN_BODY_BYTES: usize = 8 << 10;
const OPEN_BODY_TIME: Duration = Duration::from_secs(10);

/// The names under which this host may be addressed.
#[derive(Clone, Debug)]
pub struct Guard {
    listen: SocketAddr,
    allowed_hosts: Arc<[String]>,
    proxies: Proxies,
}

impl Guard {
    /// A guard of a host that listens on `listen`. `allowed_hosts` are further names for it, such as that of a proxy in
    /// front.
    pub fn new(listen: SocketAddr, allowed_hosts: &[String]) -> Self {
        let allowed_hosts = allowed_hosts.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { listen, allowed_hosts, proxies: Proxies::default() }
    }

    /// The same guard, which takes the word of these proxies for who asks and how.
    #[must_use]
    pub fn behind(self, proxies: &[Network]) -> Self {
        Self { proxies: Proxies(proxies.into()), ..self }
    }

    /// Who comes from elsewhere may not do everything on a host that asks nobody for a token.
    fn check_is_near(&self, request: &Request) -> Result<(), ApiError> {
        let far = |what: String| Err(ApiError::new(code::PROXY_WITHOUT_TOKEN, what));
        if let Some(header) = proxy_header(request.headers()) {
            return far(format!("the request carries the header `{}`, and this host has no token", shown(header)));
        }
        let host = host_of(request)?;
        match self.is_own(host.host()) {
            true => Ok(()),
            false => far(format!("the request names the host `{host}`, and this host has no token")),
        }
    }

    /// A name that is not ours would let a page of that name read our answers (DNS rebinding); an origin that is not ours is
    /// a page of another site.
    fn check_site(&self, request: &Request) -> Result<(), ApiError> {
        let host = host_of(request)?;
        if !self.is_ours(host.host()) {
            return Err(foreign(format!("the request is for `{host}`, which is not this host")));
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
        self.is_own(host) || self.is_allowed(host)
    }

    /// Whether it is so called without anybody having said so.
    fn is_own(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            // A name can be rebound to our address, a literal address cannot.
            Ok(address) => {
                let listens = self.listen.ip();
                address.is_loopback() || address == listens || listens.is_unspecified()
            }
            Err(_) => {
                let name = bare.trim_end_matches('.').to_ascii_lowercase();
                name == "localhost" || name.ends_with(".localhost")
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
pub(super) fn is_open(path: &str) -> bool {
    OPEN_PATHS.contains(&path) || path.starts_with("/errors/") || path.starts_with("/console/")
}

/// Why somebody is not let in.
enum Shut {
    /// What he gave was never a token of this host.
    Wrong(ApiError),
    /// Anything else.
    Out(ApiError),
}

/// Who sends a request, by the token that it carries or by his session with the console.
fn holder(state: &ApiState, request: &Request) -> Result<Caller, Shut> {
    let (tokens, headers) = (&state.host().tokens, request.headers());
    if tokens.are_not_asked_for() {
        return state.guard().check_is_near(request).map(|()| Caller::ANYBODY).map_err(Shut::Out);
    }
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(secret) = given.and_then(|value| strip_scheme(value, "bearer")) {
        // Digests have one length and hide how much of a secret was right.
        return tokens.holder(&Digest::of(secret)).map_err(|error| match error {
            NotAdmitted::Unknown => Shut::Wrong(error.into()),
            error => Shut::Out(error.into()),
        });
    }
    let nobody = || Err(ApiError::new(code::UNAUTHORIZED, "the request carries no `Authorization: Bearer` header"));
    state.sessions().holder(state, headers).unwrap_or_else(nobody).map_err(Shut::Out)
}

fn strip_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, rest) = value.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

fn foreign(detail: String) -> ApiError {
    ApiError::new(code::FOREIGN_ORIGIN, detail)
}

fn check_length(uri: &Uri) -> Result<(), ApiError> {
    let length = uri.path_and_query().map_or(0, |address| address.as_str().len());
    if length <= ADDRESS_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("the address has {length} bytes (limit {ADDRESS_BYTES_MAX})");
    Err(ApiError::new(code::LARGE_HEAD, detail))
}

/// Whether a person with a browser asks for a page of the console.
fn wants_page(request: &Request) -> bool {
    let accepts = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    *request.method() == Method::GET && accepts.contains("text/html") && !request.uri().path().starts_with("/v1/")
}

/// Where a person with a browser is asked for the token, and led back from.
fn login_for(uri: &Uri) -> String {
    let back = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let encoded: String = back
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    if back == "/" { LOGIN.to_owned() } else { format!("{LOGIN}?to={encoded}") }
}

/// Lets a request through or answers it, and notes what should not go unseen.
pub(super) async fn admit(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let source = Source::of(&request, &state.guard().proxies);
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let admitted = Incoming { state: &state, source, connection };
    let (by, response) = admitted.answer(request, next).await;
    if let Some(code) = response.extensions().get::<Code>()
        && matches!(response.status().as_u16(), 401 | 403 | 429 | 503)
    {
        state.refusals().note(*code, source, &by, &method, &uri);
    }
    response
}

/// A request that has just come in.
struct Incoming<'a> {
    state: &'a ApiState,
    source: Source,
    connection: Option<Arc<Connection>>,
}

impl Incoming<'_> {
    /// The answer, and the name of whoever gets it.
    async fn answer(self, request: Request, next: Next) -> (String, Response) {
        let nobody = || "-".to_owned();
        let path = request.uri().path();
        let is_always_answered = ALWAYS_ANSWERED.contains(&path);
        let checked = check_length(request.uri()).and_then(|()| match is_always_answered {
            // Whoever looks after hosts asks by the name that he knows, and learns nothing but that this one lives.
            true => host_of(&request).map(drop),
            false => self.state.guard().check_site(&request),
        });
        if let Err(error) = checked {
            return (nobody(), error.into_response());
        }
        if is_always_answered {
            return (nobody(), next.run(request).await);
        }
        if is_open(path) {
            return (nobody(), self.answer_stranger(request, next).await);
        }
        match holder(self.state, &request) {
            Ok(caller) => (caller.noted_as("-").to_owned(), self.answer_holder(caller, request, next).await),
            Err(Shut::Out(error)) if error.code() == code::UNAUTHORIZED && wants_page(&request) => {
                (nobody(), Redirect::to(&login_for(request.uri())).into_response())
            }
            Err(Shut::Out(error)) => (nobody(), error.into_response()),
            Err(Shut::Wrong(error)) => {
                drop(request);
                let error = self.state.refusals().wrong_token(self.source, error).await;
                let is_last = error.code() == code::TOO_MANY_WRONG_TOKENS;
                let mut response = error.into_response();
                if is_last {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                (nobody(), response)
            }
        }
    }

    /// Answers somebody who need not be known. A slow one holds nothing but his connection.
    async fn answer_stranger(self, request: Request, next: Next) -> Response {
        let mut request = match whole(request).await {
            Ok(request) => request,
            Err(error) => return error.into_response(),
        };
        let party = Party::of(&Caller::STRANGER, self.source);
        let turn = match self.state.turns().request(party) {
            Ok(turn) => turn,
            Err(busy) => return busy.into_response(),
        };
        request.extensions_mut().insert(Caller::STRANGER);
        request.extensions_mut().insert(Door::of(self.state, self.source));
        let holding = Holding::of(party);
        holding.keep(turn.clone());
        let response = answering(holding, Arc::new(NoWarrant), next.run(request)).await;
        turn.end();
        response
    }

    /// Answers somebody who was let in, as far as he still is.
    async fn answer_holder(self, caller: Caller, mut request: Request, next: Next) -> Response {
        let (state, party) = (self.state, Party::of(&caller, self.source));
        if let Some(connection) = &self.connection {
            connection.belongs_to(&caller, party);
        }
        let turn = match state.turns().request(party) {
            Ok(turn) => turn,
            Err(busy) => return busy.into_response(),
        };
        let warrant = Arc::new(CallerWarrant::new(Arc::clone(&state.host().tokens), caller.clone()));
        let (holding, room) = (Holding::of(party), state.turns().body(party));
        holding.keep((turn.clone(), room.clone()));
        let sending = Sending::watch(&mut request, &warrant, room, state.0.allowances.stall);
        let reader = Reader::new(state, caller.noted_as("-"), self.source);
        let extensions = request.extensions_mut();
        extensions.insert(caller);
        extensions.insert(state.turns().large_bodies());
        extensions.insert(Payloads(state.clone()));
        extensions.insert(Reruns(state.clone()));
        extensions.insert(turn.clone());
        let answer = read_by(reader, next.run(request));
        let response = answering(holding, Arc::<CallerWarrant>::clone(&warrant), answer).await;
        turn.end();
        if warrant.has_acted() {
            // Whatever has become of his token: what was done for him is told to him.
            return response;
        }
        let refused = match warrant.check() {
            Err(error) => Some(error.into()),
            Ok(()) => sending.refused().await,
        };
        match refused {
            // What is still to come of the body is read meanwhile, so that its sender gets to see why.
            Some(error) => error.into_response(),
            None => response,
        }
    }
}

/// The same request with its body read: at addresses that are open to everybody that is a form with a token at the most.
async fn whole(request: Request) -> Result<Request, ApiError> {
    if request.method().is_safe() {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let cut_off = || ApiError::new(code::BODY_CUT_OFF, format!("it had not come as a whole after {OPEN_BODY_TIME:?}"));
    let read = tokio::time::timeout(OPEN_BODY_TIME, to_bytes(body, OPEN_BODY_BYTES)).await.map_err(|_| cut_off())?;
    let too_large = format!("at most {OPEN_BODY_BYTES} bytes are taken here");
    let bytes = read.map_err(|_| ApiError::new(code::BODY_TOO_LARGE, too_large))?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

#[cfg(test)]
mod tests {
    use axum::http::header::HOST;

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
