//! One request and its answer, over a connection of its own.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::domain::outbound::{Coverage, HttpRequest};
use crate::sandbox::bill::Bill;
use crate::sandbox::outbound::{ConnectError, Connector, HEAD_BYTES_MAX, until_answered};
use crate::sandbox::text;

/// How long a connection may take to come about, TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection did not come about in time.
    #[error("no connection within {} s", CONNECT.as_secs())]
    ConnectTimeout,
    /// The connection broke, or what came over it is no HTTP.
    #[error("the exchange broke off: {}", text::causes(.0))]
    Broken(#[from] hyper::Error),
    /// The request cannot be written as HTTP.
    #[error("the request cannot be sent: {0}")]
    Unsendable(#[from] http::Error),
}

/// An answer whose body is still on its way. Dropping it closes the connection.
pub(crate) struct Answer {
    response: Response<Incoming>,
    _connection: JoinSet<()>,
}

/// A body, as far as it was read.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    /// Whether there is more.
    pub(crate) is_cut: bool,
}

/// Sends a request whose origin is granted, with the host's own headers, and takes the head of the answer. What it
/// costs to work on the connection is put on `bill`.
pub(crate) async fn send(
    connector: &Connector,
    request: &HttpRequest,
    coverage: Coverage,
    ours: HeaderMap,
    bill: &Bill,
) -> Result<Answer, ExchangeError> {
    let outgoing = outgoing(request, ours)?;
    let opened = timeout(CONNECT, connector.open(request.url.origin(), coverage)).await;
    let (stream, answered) = until_answered(opened.map_err(|_| ExchangeError::ConnectTimeout)??);
    let builder = &mut http1::Builder::new();
    let (mut sender, connection) = builder.max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await?;
    let mut driver = JoinSet::new();
    // What ends the connection ends the answer too, which says so.
    driver.spawn(bill.of(async move { drop(connection.await) }));
    let response = sender.send_request(outgoing).await?;
    answered.lift();
    Ok(Answer { response, _connection: driver })
}

fn outgoing(request: &HttpRequest, ours: HeaderMap) -> Result<Request<Full<Bytes>>, http::Error> {
    let body = request.body.clone().map(Bytes::from).unwrap_or_default();
    let mut outgoing = Request::builder()
        .method(request.method.as_str())
        .uri(request.url.target())
        .header(header::HOST, request.url.authority())
        .body(Full::new(body))?;
    let headers = outgoing.headers_mut();
    for (name, value) in &request.headers {
        headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    // What the caller may set himself has the caller's value.
    for (name, value) in ours.iter().filter(|(name, _)| !request.headers.contains_key(name.as_str())) {
        headers.insert(name, value.clone());
    }
    Ok(outgoing)
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header as text; none when it is absent or more than ASCII.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Reads the body up to `limit` bytes.
    pub(crate) async fn body(&mut self, limit: u64) -> Result<Body, ExchangeError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::new();
        while let Some(frame) = self.response.body_mut().frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                bytes.extend_from_slice(&data[..limit - bytes.len()]);
                return Ok(Body { bytes: bytes.freeze(), is_cut: true });
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Body { bytes: bytes.freeze(), is_cut: false })
    }
}
