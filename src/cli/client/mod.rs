//! A typed client of the HTTP API, over the types that the API itself sends. How a request is sent and its answer read is here;
//! what there is to ask, in a room for each resource.

mod changes;
mod jobs;
mod plugins;
mod schedules;
mod service;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::header::RETRY_AFTER;
use ureq::http::{Response, Uri};
use ureq::typestate::WithBody;
use ureq::{Agent, Body, RequestBuilder};

use super::address::Address;
pub(crate) use super::address::ClientArgs;
use super::failure::{Failure, Fate};
use super::unanswered::{self, Peer};
use super::wire::Wire;
use crate::api::view::Problem;
use crate::domain::code;

pub(crate) use changes::{Change, Changes};
pub(crate) use jobs::{JobQuery, NewBatch};
pub(crate) use plugins::{Component, Force};

/// The largest answer that is read, in bytes: a job's output and log are bounded far below.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the host may take to begin its answer: a compilation takes 150 seconds at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(180);

/// How long the host may take to read a piece of a request.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// From this size on the host is asked before a body is sent, so that a refusal costs no transfer.
const ASK_FIRST_BYTES: usize = 64 << 10;

/// What the host answered: its text, and what that means.
#[derive(Clone, Debug)]
pub(crate) struct Answer<T> {
    /// Whether it is the answer to an earlier request, or names what was there already.
    pub(crate) repeated: bool,
    /// The JSON exactly as it came.
    pub(crate) text: String,
    /// What it says.
    pub(crate) view: T,
}

/// A connection to a host.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: Agent,
    wire: Wire,
    server: String,
    token: Option<String>,
    /// The settings file that named the host.
    file: Option<PathBuf>,
}

impl Client {
    /// A client of the host that `args` name. Nothing is sent yet.
    pub(crate) fn new(args: &ClientArgs) -> anyhow::Result<Self> {
        Self::at(args.address()?)
    }

    /// A client of the host at an address. Nothing is sent yet.
    pub(crate) fn at(address: Address) -> anyhow::Result<Self> {
        let Address { server, token, file } = address;
        let uri = server.parse::<Uri>().ok().filter(|uri| {
            let is_http = uri.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https");
            is_http && uri.host().is_some() && matches!(uri.path(), "" | "/") && uri.query().is_none()
        });
        let Some(uri) = uri else {
            let message = format!("`{server}` is not the address of a host");
            return Err(Failure::bad_input(message, "give --server http://HOST:PORT").into());
        };
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("backroom/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_write(Some(WRITE_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT));
        if uri.host().is_some_and(is_loopback) {
            config = config.proxy(None);
        }
        let wire = Wire::default();
        Ok(Self { agent: wire.agent(config.build()), wire, server, token, file })
    }

    /// The host's address, for messages.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server)
    }

    fn with_token<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        self.wire.begin();
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Answer<T>> {
        self.read(self.with_token(self.agent.get(self.url(path))).call())
    }

    fn post<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Answer<T>> {
        self.read(self.with_token(self.agent.post(self.url(path))).send_empty())
    }

    fn post_json<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<Answer<T>> {
        let request = self.with_token(self.agent.post(self.url(path)));
        self.read(request.content_type("application/json").send(serde_json::to_vec(body)?))
    }

    fn read<T: DeserializeOwned>(&self, sent: Result<Response<Body>, ureq::Error>) -> anyhow::Result<Answer<T>> {
        let response = self.accepted(sent)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = String::from_utf8_lossy(&self.whole(response)?).into_owned();
        let view = serde_json::from_str(&text).map_err(|error| {
            tracing::debug!(%error, "the answer is not what this program reads");
            unanswered::not_ours(self.peer(), status, &headers, &text)
        })?;
        Ok(Answer { repeated: headers.contains_key("idempotent-replayed"), text, view })
    }

    fn read_bytes(&self, sent: Result<Response<Body>, ureq::Error>) -> anyhow::Result<Vec<u8>> {
        self.whole(self.accepted(sent)?)
    }

    /// The body of an answer. The request was carried out, whatever becomes of the rest of the answer.
    fn whole(&self, mut response: Response<Body>) -> anyhow::Result<Vec<u8>> {
        let read = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        read.map_err(|error| {
            let message = format!("the answer of {} broke off; what was asked for is done", self.server);
            let failure = Failure { fate: Fate::Done, ..Failure::new(code::NO_ANSWER, message) };
            anyhow::Error::new(error)
                .context(failure.with_next("do not repeat a command that makes something; ask again"))
        })
    }

    /// The response, unless it is an error.
    fn accepted(&self, sent: Result<Response<Body>, ureq::Error>) -> anyhow::Result<Response<Body>> {
        let mut response = sent.map_err(|error| {
            let mut failure = unanswered::explained(self.peer(), &error);
            let note = |file: &PathBuf| format!("the address is that of {}", file.display());
            failure.notes.extend(self.file.as_ref().map(note));
            anyhow::Error::new(error).context(failure)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let body = response.body_mut().with_config().limit(1 << 20).read_to_string().unwrap_or_default();
        let (status, headers) = (response.status(), response.headers());
        match serde_json::from_str::<Problem>(&body) {
            Ok(problem) if problem.code.starts_with("BR") => {
                let mut failure = Failure::from(problem);
                let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                failure.notes.extend(retry_after.map(unanswered::try_again));
                Err(failure.into())
            }
            _ => Err(unanswered::not_ours(self.peer(), status, headers, &body).into()),
        }
    }

    /// The same request, sent only as far as its headers until the host wants the body, where that is large.
    fn asking_first(&self, request: RequestBuilder<WithBody>, body: &[u8]) -> RequestBuilder<WithBody> {
        if body.len() < ASK_FIRST_BYTES {
            return request;
        }
        self.wire.expect(body.len());
        request.header("Expect", "100-continue")
    }

    fn peer(&self) -> Peer<'_> {
        let by_proxy = self.agent.config().proxy().is_some();
        Peer { server: &self.server, by_proxy, is_connected: self.wire.is_connected(), is_cut: self.wire.is_cut() }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Text made fit for one segment of a path (RFC 3986 section 2.1).
fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::super::failure::Exit;
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        for (text, expected) in [("echo", "echo"), ("a/b?c#d", "a%2Fb%3Fc%23d"), ("\u{e4} %", "%C3%A4%20%25")] {
            assert_eq!(segment(text), expected);
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for server in ["127.0.0.1:7171", "ftp://host", "http://", "http://host/path", "http://host?x=1"] {
            let args = ClientArgs { server: Some(server.to_owned()), token: None };
            let error = Client::new(&args).expect_err(server);
            let failure = error.downcast_ref::<Failure>().expect("a failure of ours");
            assert_eq!(failure.exit, Exit::BadInput, "{server}");
        }
    }
}
