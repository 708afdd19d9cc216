//! Reading request bodies: bounded in size and time, told apart when they end early, and refused where nobody reads them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::content::{BODY_BYTES_MAX, Kind, LARGE_BODY_BYTES_MAX};
use super::error::ApiError;
use crate::domain::code;

/// A sender that is silent for longer is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long an ordinary body may take as a whole: a sender that is never silent for long must not hold its place for ever.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a large body may take as a whole.
const LARGE_BODY_TIME_MAX: Duration = Duration::from_secs(600);

/// How long the rest of a refused body is read and thrown away, so that its sender gets to see the answer.
const DISCARD_MAX: Duration = Duration::from_secs(5);

/// The pieces of a body as they come in.
pub(super) struct Chunks {
    stream: BodyDataStream,
    announced: Option<u64>,
    read: u64,
    max: u64,
    deadline: Instant,
}

impl Chunks {
    /// Begins to read. Fails at once when more is announced than a body of the kind may have.
    pub(super) fn open(headers: &HeaderMap, body: Body, kind: Kind) -> Result<Self, ApiError> {
        let (announced, max) = (announced(headers), kind.bytes_max());
        let chunks = Self::new(body, announced, max);
        match announced {
            Some(bytes) if bytes > max => Err(chunks.too_large()),
            _ => Ok(chunks),
        }
    }

    fn new(body: Body, announced: Option<u64>, max: u64) -> Self {
        let deadline = Instant::now() + time_max(max);
        Self { stream: body.into_data_stream(), announced, read: 0, max, deadline }
    }

    /// The next piece; none at the end of a whole body.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let patience = self.deadline.min(Instant::now() + SILENCE_MAX);
        let next = tokio::time::timeout_at(patience, self.stream.next()).await;
        let chunk = match next {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(_))) => return Err(self.cut_off("the connection closed")),
            Err(_) if patience == self.deadline => {
                let why = format!("it had not come as a whole after {} seconds", time_max(self.max).as_secs());
                return Err(self.cut_off(&why));
            }
            Err(_) => return Err(self.cut_off(&format!("nothing came for {} seconds", SILENCE_MAX.as_secs()))),
        };
        self.read += chunk.len() as u64;
        if self.read > self.max {
            return Err(self.too_large());
        }
        Ok(Some(chunk))
    }

    fn into_body(self) -> Body {
        Body::from_stream(stream::try_unfold(self, |mut chunks| async move {
            let next = chunks.next().await.map_err(|error| std::io::Error::other(error.detail().to_owned()))?;
            Ok::<_, std::io::Error>(next.map(|chunk| (chunk, chunks)))
        }))
    }

    fn cut_off(&self, why: &str) -> ApiError {
        let announced = self.announced.map(|bytes| format!(" of {bytes}")).unwrap_or_default();
        ApiError::new(code::BODY_CUT_OFF, format!("the body ended after {}{announced} bytes: {why}", self.read))
    }

    fn too_large(&self) -> ApiError {
        let given = self.announced.map(|bytes| format!("the body has {bytes} bytes; ")).unwrap_or_default();
        ApiError::new(code::BODY_TOO_LARGE, format!("{given}at most {} are taken here", self.max))
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok())
}

/// Whether nothing comes of a body. One whose length is said is not waited for.
pub(super) async fn is_empty(headers: &HeaderMap, body: Body) -> Result<bool, ApiError> {
    match announced(headers) {
        Some(bytes) => Ok(bytes == 0),
        None => Ok(Chunks::new(body, None, BODY_BYTES_MAX).next().await?.is_none()),
    }
}

fn time_max(bytes_max: u64) -> Duration {
    if bytes_max > BODY_BYTES_MAX { LARGE_BODY_TIME_MAX } else { BODY_TIME_MAX }
}

/// What a body may be that somebody else reads, such as a form of the console.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BodySize {
    /// As large as an ordinary request.
    Ordinary,
    /// As large as an upload. Its reader bounds its bytes.
    Large,
}

/// The same body, which ends with an error when its sender is silent or takes too long.
pub(crate) fn in_time(body: Body, size: BodySize) -> Body {
    let max = match size {
        BodySize::Ordinary => BODY_BYTES_MAX,
        BodySize::Large => u64::MAX,
    };
    Chunks::new(body, None, max).into_body()
}

/// Reads a whole body of a kind.
pub(super) async fn read(headers: &HeaderMap, body: Body, kind: Kind) -> Result<Bytes, ApiError> {
    let mut chunks = Chunks::open(headers, body, kind)?;
    let Some(first) = chunks.next().await? else { return Ok(Bytes::new()) };
    let Some(second) = chunks.next().await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(first.len() + second.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(chunk) = chunks.next().await? {
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// The addresses that read a body, and what it is.
const READING: [(Method, &str, Kind); 25] = [
    (Method::POST, "/v1/jobs", Kind::Json),
    (Method::POST, "/v1/jobs/bulk", Kind::Lines),
    (Method::POST, "/v1/jobs/actions", Kind::Json),
    (Method::POST, "/v1/jobs/{id}/cancel", Kind::Json),
    (Method::POST, "/v1/jobs/{id}/pause", Kind::Json),
    (Method::POST, "/v1/jobs/{id}/resume", Kind::Json),
    (Method::POST, "/v1/jobs/{id}/postpone", Kind::Json),
    (Method::POST, "/v1/jobs/{id}/retry", Kind::Json),
    (Method::POST, "/v1/batches", Kind::Lines),
    (Method::POST, "/v1/batches/{id}/retry-failed", Kind::Json),
    (Method::PUT, "/v1/plugins/{name}/versions/{version}", Kind::Component),
    (Method::POST, "/v1/plugins/{name}/grants", Kind::Json),
    (Method::POST, "/v1/plugins/{name}/grants/revoke", Kind::Json),
    (Method::POST, "/v1/plugins/{name}/activate", Kind::Json),
    (Method::POST, "/v1/plugins/{name}/pause", Kind::Json),
    (Method::POST, "/v1/plugins/{name}/resume", Kind::Json),
    (Method::POST, "/v1/queues/{name}/pause", Kind::Json),
    (Method::POST, "/v1/queues/{name}/resume", Kind::Json),
    (Method::PUT, "/v1/schedules/{name}", Kind::Json),
    (Method::POST, "/v1/schedules/{name}/postpone", Kind::Json),
    (Method::POST, "/v1/schedules/{name}/backfill", Kind::Json),
    (Method::POST, "/v1/service/pause", Kind::Json),
    (Method::POST, "/v1/service/resume", Kind::Json),
    (Method::POST, "/v1/service/drain", Kind::Json),
    (Method::POST, "/v1/tokens", Kind::Json),
];

/// Refuses a body that is something else than what is read, or where nothing is: whoever sends it counts on what it says.
pub(super) async fn admit(path: MatchedPath, request: Request, next: Next) -> Result<Response, ApiError> {
    if request.body().is_end_stream() {
        return Ok(next.run(request).await);
    }
    let read = READING.iter().find(|(method, known, _)| method == request.method() && *known == path.as_str());
    if let Some((.., kind)) = read {
        kind.check(request.headers())?;
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    if is_empty(&parts.headers, body).await? {
        return Ok(next.run(Request::from_parts(parts, Body::empty())).await);
    }
    let detail = format!("`{} {}` takes no body", parts.method, parts.uri.path());
    Err(ApiError::new(code::WRONG_KIND, detail).with_next("Send the request without a body."))
}

/// The same request, whose body is read to its end within bounds when nobody reads it any more: a sender that is cut off
/// in the middle does not get to see why.
pub(super) async fn lingering(request: Request) -> Request {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return Request::from_parts(parts, body);
    }
    // Who asks first has sent nothing before the first read.
    let is_sent = !parts.headers.contains_key(EXPECT);
    Request::from_parts(parts, Body::new(Lingering { body: Some(body), is_sent }))
}

/// A body that is not given up in the middle.
struct Lingering {
    /// None at its end.
    body: Option<Body>,
    /// Whether any of it is on its way.
    is_sent: bool,
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_sent = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| self.is_sent && !body.is_end_stream()) else { return };
        // Without a runtime there is no connection any more that could be read from.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(discard(body));
        }
    }
}

/// Reads the rest and throws it away, within bounds. The answer is on its way meanwhile.
async fn discard(body: Body) {
    let mut stream = body.into_data_stream();
    let mut left = LARGE_BODY_BYTES_MAX;
    let rest = async {
        while let Some(Ok(chunk)) = stream.next().await {
            left = left.saturating_sub(chunk.len() as u64);
            if left == 0 {
                return;
            }
        }
    };
    // A sender that is slower has had the time to see the answer.
    let _in_time = tokio::time::timeout(DISCARD_MAX, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sender that never stops and is never silent for long.
    fn trickle() -> Body {
        Body::from_stream(stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        }))
    }

    #[tokio::test]
    async fn a_sender_that_trickles_is_given_up() {
        let mut chunks = Chunks::new(trickle(), None, BODY_BYTES_MAX);
        assert!(chunks.deadline <= Instant::now() + BODY_TIME_MAX);
        chunks.deadline = Instant::now() + Duration::from_millis(50);
        let error = loop {
            match chunks.next().await {
                Ok(chunk) => assert!(chunk.is_some() && chunks.read < 1_000, "it is read for ever"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), code::BODY_CUT_OFF);
        assert!(error.detail().ends_with("not come as a whole after 60 seconds"), "{error:?}");
    }

    #[tokio::test]
    async fn a_form_of_the_console_ends_with_an_error_then_too() {
        let mut chunks = Chunks::new(trickle(), None, u64::MAX);
        chunks.deadline = Instant::now() + Duration::from_millis(50);
        assert!(axum::body::to_bytes(chunks.into_body(), usize::MAX).await.is_err());
        let whole = axum::body::to_bytes(in_time(Body::from("whole"), BodySize::Ordinary), 100).await;
        assert_eq!(whole.expect("it ends").as_ref(), b"whole");
    }
}
