//! One outbound request of a guest, over a connection that was checked: HTTP/1.1.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use tokio::time::{Sleep, timeout};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody};

use super::guest::Shared;
use crate::domain::advice::{self, Sides};
use crate::domain::id::PluginName;
use crate::domain::outbound::{Coverage, Origin};
use crate::domain::plugin::{PluginVersion, Policy};
use crate::sandbox::outbound::{ConnectError, Connector, HEAD_BYTES_MAX, until_answered};

/// Bounds of what a guest may ask for; the slice's own wall-clock limit holds beside them.
const CONNECT: Duration = Duration::from_secs(10);
const FIRST_BYTE: Duration = Duration::from_secs(60);
const BETWEEN_BYTES: Duration = Duration::from_secs(60);

type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// Everything that decides where a guest may call, for advice.
#[derive(Clone)]
pub(crate) struct Deciders {
    pub(crate) plugin: PluginName,
    pub(crate) version: Arc<PluginVersion>,
    pub(crate) policy: Arc<Policy>,
}

impl Deciders {
    pub(crate) fn sides(&self) -> Sides<'_> {
        Sides::of(&self.plugin, &self.version, &self.policy)
    }
}

/// An origin that is granted, and everything that has decided so.
#[derive(Clone, Copy)]
pub(crate) struct Granted<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) coverage: Coverage,
    pub(crate) deciders: &'a Deciders,
}

/// Sends a request whose origin is granted.
pub(crate) async fn send(
    connector: &Connector,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
    granted: Granted<'_>,
    shared: &Shared,
) -> Result<(Response<WasiBody>, Driver)> {
    let options = options.unwrap_or_default();
    let connect_limit = options.connect_timeout.map_or(CONNECT, |limit| limit.min(CONNECT));
    let answer_limit = options.first_byte_timeout.map_or(FIRST_BYTE, |limit| limit.min(FIRST_BYTE));
    let pause_limit = options.between_bytes_timeout.map_or(BETWEEN_BYTES, |limit| limit.min(BETWEEN_BYTES));

    let opened = timeout(connect_limit, connector.open(granted.origin, granted.coverage)).await;
    let opened = opened.map_err(|_| Error::ConnectionTimeout)?;
    let (stream, answered) = until_answered(opened.map_err(|error| no_connection(error, granted, shared))?);
    let builder = &mut http1::Builder::new();
    let (mut sender, connection) = builder.max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await?;
    let mut connection = Box::pin(connection);
    let request = in_origin_form(request)?;
    let mut is_open = true;
    let answer = async {
        let answering = sender.send_request(request);
        tokio::pin!(answering);
        tokio::select! {
            answer = &mut answering => answer,
            // The connection is done before the answer was taken, or it failed and the answer says how.
            _ = &mut connection => {
                is_open = false;
                answering.await
            }
        }
    };
    let answer = timeout(answer_limit, answer).await.map_err(|_| Error::ConnectionReadTimeout)??;
    answered.lift();
    // How the connection ends is told by the body, too; nobody else is to hear of it.
    let driver = async move {
        if is_open {
            drop(connection.await);
        }
        Ok(())
    };
    let answer = answer.map(|body| Flowing::new(body.map_err(Error::from), pause_limit).boxed_unsync());
    Ok((answer, Box::new(shared.bill().of(driver))))
}

/// The path alone, as it goes to a server, and the host that was checked.
fn in_origin_form(request: Request<WasiBody>) -> Result<Request<WasiBody>> {
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Error::HttpRequestUriInvalid)?;
    parts.headers.insert(header::HOST, host);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(Request::from_parts(parts, body))
}

/// Why there is no connection, as a guest is told; what only the operator can mend stands in the log.
fn no_connection(error: ConnectError, granted: Granted<'_>, shared: &Shared) -> Error {
    match error {
        ConnectError::NotFound(_) => Error::DestinationNotFound,
        ConnectError::Forbidden { address, .. } => {
            let reach = advice::reach(granted.deciders.sides(), granted.origin, address);
            shared.note(&format!("refused: {error}. {reach}"));
            Error::DestinationIpProhibited
        }
        ConnectError::Refused(error) => Error::Connect(error),
        ConnectError::Tls(error) => Error::Tls(error),
    }
}

/// A body that fails when nothing comes for too long while somebody waits for it.
struct Flowing<B> {
    body: B,
    limit: Duration,
    /// Runs while it is waited for.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<B> Flowing<B> {
    fn new(body: B, limit: Duration) -> Self {
        Self { body, limit, alarm: None }
    }
}

impl<B: Body<Data = Bytes, Error = Error> + Unpin> Body for Flowing<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.alarm = None;
            return Poll::Ready(frame);
        }
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(this.limit)));
        alarm.as_mut().poll(context).map(|()| Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use http_body_util::StreamBody;

    use super::*;

    fn flowing(
        frames: impl futures_util::Stream<Item = Result<Frame<Bytes>>> + Send + 'static,
        limit: Duration,
    ) -> Flowing<StreamBody<futures_util::stream::BoxStream<'static, Result<Frame<Bytes>>>>> {
        Flowing::new(StreamBody::new(frames.boxed()), limit)
    }

    fn drop_by_drop(count: usize) -> impl futures_util::Stream<Item = Result<Frame<Bytes>>> + Send {
        futures_util::stream::iter(0..count).then(|_| async {
            tokio::task::yield_now().await;
            Ok(Frame::data(Bytes::from_static(b"x")))
        })
    }

    #[tokio::test]
    async fn a_pause_within_a_body_is_bounded_however_many_there_are() {
        let minute = Duration::from_secs(60);
        let whole = flowing(drop_by_drop(1_000), minute).collect().await.expect("no pause is too long");
        assert_eq!(whole.to_bytes().len(), 1_000);
        let stalls = drop_by_drop(3).chain(futures_util::stream::pending());
        let stalled = flowing(stalls, Duration::from_millis(1)).collect().await;
        assert!(matches!(stalled, Err(Error::ConnectionReadTimeout)), "{stalled:?}");
    }
}
