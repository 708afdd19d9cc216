//! How much the other side may send before its answer has begun: heads of answers that announce others (1xx) have no end
//! otherwise, and every one of them costs the host.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of one head, and of what may be read ahead of the body.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;

/// Bytes of all that may come before an answer begins: its own head, and those of others before it.
const BEFORE_AN_ANSWER: usize = 4 * HEAD_BYTES_MAX;

/// A connection that breaks when its other side sends too much before it answers.
pub(crate) struct UntilAnswered<S> {
    stream: S,
    left: Arc<AtomicUsize>,
}

/// Lifts the bound once the answer has begun: what follows is read as it is wanted.
pub(crate) struct Answered(Arc<AtomicUsize>);

impl Answered {
    pub(crate) fn lift(self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }
}

/// Bounds what comes over a connection until the answer to its only request has begun.
pub(crate) fn until_answered<S>(stream: S) -> (UntilAnswered<S>, Answered) {
    let left = Arc::new(AtomicUsize::new(BEFORE_AN_ANSWER));
    (UntilAnswered { stream, left: Arc::clone(&left) }, Answered(left))
}

impl<S: AsyncRead + Unpin> AsyncRead for UntilAnswered<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        let left = self.left.load(Ordering::Relaxed);
        if left == usize::MAX {
            return Poll::Ready(Ok(()));
        }
        let Some(left_now) = left.checked_sub(into.filled().len() - before) else {
            let why = format!("it sent more than {} KiB before an answer", BEFORE_AN_ANSWER >> 10);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        };
        // The bound may have been lifted meanwhile, which holds.
        let _ = self.left.compare_exchange(left, left_now, Ordering::Relaxed, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for UntilAnswered<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, repeat};

    use super::*;

    #[tokio::test]
    async fn what_comes_before_an_answer_is_bounded_and_what_follows_is_not() {
        let (mut endless, _answered) = until_answered(tokio::io::join(repeat(b'1'), tokio::io::sink()));
        let mut read = 0;
        let broke = loop {
            match endless.read(&mut [0; 1_000]).await {
                Ok(count) => read += count,
                Err(error) => break error.to_string(),
            }
            assert!(read <= BEFORE_AN_ANSWER, "it reads on and on");
        };
        assert_eq!(broke, "it sent more than 256 KiB before an answer");

        let (mut stream, answered) = until_answered(tokio::io::join(repeat(b'1'), tokio::io::sink()));
        stream.read_exact(&mut [0; 1_000]).await.expect("it may come");
        answered.lift();
        stream.read_exact(&mut vec![0; 2 * BEFORE_AN_ANSWER]).await.expect("it may come");
    }
}
