//! What the HTTP library answers by itself, in our words: a request that cannot be read reaches no handler, and the library
//! writes a head without a body. A connection writes its own bytes only here, so that is where they are told apart.

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::connection::Connection;
use super::error::ApiError;
use crate::domain::code;

/// How long the rest of a request that cannot be read is thrown away, and how much of it at the most.
const DISCARD_TIME: Duration = Duration::from_secs(2);
const DISCARD_BYTES: usize = 4 << 20;

/// See the module.
pub(super) struct InOurWords<S> {
    stream: S,
    connection: Arc<Connection>,
    /// How many requests are answered, down to the last byte.
    answered: u64,
    told: Option<Told>,
    /// What is still to come after the last answer: whoever is cut off while he sends does not get to see it.
    rest: Option<Rest>,
}

struct Rest {
    end: Pin<Box<Sleep>>,
    bytes: usize,
    is_answered: bool,
}

/// An answer that is written instead of the library's.
struct Told {
    bytes: Vec<u8>,
    written: usize,
}

impl<S> InOurWords<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection, answered: 0, told: None, rest: None }
    }

    /// Whether ours is written for what the library is about to write: not where that belongs to the answer of a request.
    fn instead_of<'a>(&mut self, bytes: impl FnOnce() -> Cow<'a, [u8]>) -> bool {
        let is_of_a_request = self.connection.begun() > self.answered;
        if self.told.is_none() && !is_of_a_request {
            self.told = worded(&bytes()).map(|bytes| Told { bytes, written: 0 });
        }
        self.told.is_some()
    }
}

impl<S: AsyncWrite + Unpin> InOurWords<S> {
    /// Writes ours to its end; the library hears that its own bytes, `count` of them, are gone.
    fn poll_told(&mut self, cx: &mut Context<'_>, count: usize) -> Poll<io::Result<usize>> {
        while let Some(told) = &mut self.told {
            let rest = &told.bytes[told.written..];
            if rest.is_empty() {
                self.told = None;
                let end = Box::pin(sleep(DISCARD_TIME));
                self.rest = Some(Rest { end, bytes: DISCARD_BYTES, is_answered: false });
                break;
            }
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            told.written += written;
        }
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> InOurWords<S> {
    /// Ends the answer, and throws away what still comes, within bounds.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, rest: Some(rest), .. } = self else { return Pin::new(&mut self.stream).poll_shutdown(cx) };
        if !rest.is_answered {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            rest.is_answered = true;
        }
        let mut room = [0; 8 << 10];
        while rest.bytes > 0 && rest.end.as_mut().poll(cx).is_pending() {
            let mut read = ReadBuf::new(&mut room);
            let outcome = ready!(Pin::new(&mut *stream).poll_read(cx, &mut read));
            if outcome.is_err() || read.filled().is_empty() {
                break;
            }
            rest.bytes = rest.bytes.saturating_sub(read.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

/// The library's head with a problem document behind it. None where it is something else than a refusal without a word.
fn worded(head: &[u8]) -> Option<Vec<u8>> {
    const EMPTY: &str = "content-length: 0\r\n";
    let text = std::str::from_utf8(head).ok()?;
    let (before, after) = Some(text).filter(|text| text.ends_with("\r\n\r\n"))?.split_once(EMPTY)?;
    let status: StatusCode = before.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let problem = problem(status)?.document();
    let headers = format!(
        "content-type: application/problem+json\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n\
         content-length: {}\r\n",
        problem.len()
    );
    Some([before.as_bytes(), headers.as_bytes(), after.as_bytes(), &problem].concat())
}

fn problem(status: StatusCode) -> Option<ApiError> {
    let (code, detail) = match status {
        StatusCode::URI_TOO_LONG => (code::LARGE_HEAD, "the address is too long"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (code::LARGE_HEAD, "the address and the headers are too large"),
        StatusCode::BAD_REQUEST => (code::BAD_HEAD, "what came is not an HTTP/1.1 request"),
        _ => return None,
    };
    Some(ApiError::new(code, detail).with_status(status))
}

impl<S: AsyncRead + Unpin> AsyncRead for InOurWords<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for InOurWords<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.instead_of(|| buf.into()) {
            true => self.poll_told(cx, buf.len()),
            false => Pin::new(&mut self.stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.instead_of(|| bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<_>>().into()) {
            true => self.poll_told(cx, bufs.iter().map(|buf| buf.len()).sum()),
            false => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The library flushes when it has nothing more to write: what it writes next belongs to a later request, or to none.
        if let Some(begun) = self.connection.all_answered() {
            self.answered = begun;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_discard(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_without_a_body_gets_a_problem_document() {
        let head = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";
        let told = String::from_utf8(worded(head.as_bytes()).expect("it is a refusal")).expect("it is text");
        let (head, body) = told.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 431 ") && head.ends_with("\r\ndate: now"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())) && body.contains("\"BR0146\""), "{told}");
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 7\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "content-length: 0\r\n\r\n",
            "",
        ] {
            assert_eq!(worded(other.as_bytes()), None, "{other}");
        }
    }
}
