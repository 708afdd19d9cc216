//! One outbound request of a guest, over a connection that was checked: HTTP/1.1.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use tokio::time::timeout;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody};

use super::guest::Shared;
use crate::domain::outbound::{Coverage, Origin};
use crate::sandbox::outbound::{ConnectError, Connector};

/// Bounds of what a guest may ask for; the slice's own wall-clock limit holds beside them.
const CONNECT: Duration = Duration::from_secs(10);
const FIRST_BYTE: Duration = Duration::from_secs(60);

type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// Sends a request whose origin is granted.
pub(crate) async fn send(
    connector: &Connector,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
    origin: &Origin,
    coverage: Coverage,
    shared: Arc<Shared>,
) -> Result<(Response<WasiBody>, Driver)> {
    let asked = |limit: Option<Duration>, most: Duration| limit.map_or(most, |limit| limit.min(most));
    let connect_limit = asked(options.as_ref().and_then(|options| options.connect_timeout), CONNECT);
    let answer_limit = asked(options.as_ref().and_then(|options| options.first_byte_timeout), FIRST_BYTE);

    let opened = timeout(connect_limit, connector.open(origin, coverage)).await;
    let opened = opened.map_err(|_| Error::ConnectionTimeout)?;
    let stream = opened.map_err(|error| no_connection(error, &shared))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = Box::pin(connection);
    let request = in_origin_form(request, shared)?;
    let mut is_open = true;
    let answer = async {
        let answered = sender.send_request(request);
        tokio::pin!(answered);
        tokio::select! {
            answer = &mut answered => answer,
            // The connection is done before the answer was taken, or it failed and the answer says how.
            _ = &mut connection => {
                is_open = false;
                answered.await
            }
        }
    };
    let answer = timeout(answer_limit, answer).await.map_err(|_| Error::ConnectionReadTimeout)??;
    let driver: Driver = Box::new(async move { if is_open { connection.await.map_err(Error::from) } else { Ok(()) } });
    Ok((answer.map(|body| body.map_err(Error::from).boxed_unsync()), driver))
}

/// The path alone, as it goes to a server, and the host that was checked.
fn in_origin_form(request: Request<WasiBody>, shared: Arc<Shared>) -> Result<Request<CountedBody>> {
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Error::HttpRequestUriInvalid)?;
    parts.headers.insert(header::HOST, host);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(Request::from_parts(parts, CountedBody { body, shared }))
}

/// Why there is no connection, as a guest is told; what only the operator can mend stands in the log.
fn no_connection(error: ConnectError, shared: &Shared) -> Error {
    match error {
        ConnectError::NotFound(_) => Error::DestinationNotFound,
        ConnectError::Forbidden { .. } => {
            shared.note(&format!("refused: {error}"));
            Error::DestinationIpProhibited
        }
        ConnectError::Refused(error) => Error::Connect(error),
        ConnectError::Tls(error) => Error::Tls(error),
    }
}

/// A request's body, counted as what host calls copy out of the guest.
struct CountedBody {
    body: WasiBody,
    shared: Arc<Shared>,
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && self.shared.copies.charge(data.len()).is_err()
        {
            return Poll::Ready(Some(Err(Error::HttpRequestBodySize(None))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
