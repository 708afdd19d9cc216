//! Reading request bodies: bounded in size and time, and told apart when they end early.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::error::ApiError;
use crate::domain::code;

/// The largest body of an ordinary request, in bytes.
pub(super) const BODY_BYTES_MAX: u64 = 2 << 20;

/// The largest upload and the largest bulk submit, in bytes.
pub(super) const LARGE_BODY_BYTES_MAX: u64 = 64 << 20;

/// A sender that is silent for longer is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long the rest of a refused body is read and thrown away, so that the sender gets to see the answer.
const DISCARD_MAX: Duration = Duration::from_secs(5);

/// The pieces of a body as they come in.
pub(super) struct Chunks {
    stream: BodyDataStream,
    announced: Option<u64>,
    read: u64,
    max: u64,
}

impl Chunks {
    /// Begins to read. Fails at once when more is announced than `max` bytes.
    pub(super) async fn open(headers: &HeaderMap, body: Body, max: u64) -> Result<Self, ApiError> {
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut chunks = Self { stream: body.into_data_stream(), announced, read: 0, max };
        match announced {
            Some(bytes) if bytes > max => {
                // Whoever asked first (`Expect: 100-continue`) has sent nothing yet and hears of it at once.
                if !headers.contains_key("expect") {
                    chunks.discard().await;
                }
                Err(chunks.too_large())
            }
            _ => Ok(chunks),
        }
    }

    /// The next piece; none at the end of a whole body.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let next = tokio::time::timeout(SILENCE_MAX, self.stream.next()).await;
        let chunk = match next {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(_))) => return Err(self.cut_off("the connection closed")),
            Err(_) => return Err(self.cut_off(&format!("nothing came for {} seconds", SILENCE_MAX.as_secs()))),
        };
        self.read += chunk.len() as u64;
        if self.read > self.max {
            self.discard().await;
            return Err(self.too_large());
        }
        Ok(Some(chunk))
    }

    /// Reads the rest and throws it away, within bounds.
    pub(super) async fn discard(&mut self) {
        let mut left = LARGE_BODY_BYTES_MAX;
        let rest = async {
            while let Some(Ok(chunk)) = self.stream.next().await {
                left = left.saturating_sub(chunk.len() as u64);
                if left == 0 {
                    return;
                }
            }
        };
        // A sender that is slower does not get to see the answer.
        let _in_time = tokio::time::timeout(DISCARD_MAX, rest).await;
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

/// Reads a whole body of at most `max` bytes.
pub(super) async fn read(headers: &HeaderMap, body: Body, max: u64) -> Result<Bytes, ApiError> {
    let mut chunks = Chunks::open(headers, body, max).await?;
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
