//! A connection whose reader is given up when he does not read: what waits for him is held in memory.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes that a reader takes a second at the least, while some wait for him.
const RATE_MIN: u64 = 1_024;

/// See the module.
pub(super) struct Paced<S> {
    stream: S,
    /// How long a reader may lag behind the smallest rate.
    patience: Duration,
    lag: Option<Lag>,
}

/// A reader who has not taken all that was written.
struct Lag {
    end: Pin<Box<Sleep>>,
    taken: u64,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, lag: None }
    }

    /// Notes what a write came to, of `wanted` bytes.
    fn note(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>, wanted: usize) -> Poll<io::Result<usize>> {
        match wrote {
            Poll::Ready(Ok(count)) if count >= wanted => {
                self.lag = None;
                wrote
            }
            Poll::Ready(Ok(count)) => {
                if let Some(lag) = &mut self.lag {
                    lag.taken += count as u64;
                }
                wrote
            }
            Poll::Ready(Err(_)) => wrote,
            Poll::Pending => {
                let patience = self.patience;
                let new = || Lag { end: Box::pin(sleep_until(Instant::now() + patience)), taken: 0 };
                let lag = self.lag.get_or_insert_with(new);
                loop {
                    ready!(lag.end.as_mut().poll(cx));
                    if lag.taken < RATE_MIN * patience.as_secs().max(1) {
                        let why = format!("{} bytes were read in {patience:?}", lag.taken);
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
                    }
                    lag.taken = 0;
                    lag.end.as_mut().reset(Instant::now() + patience);
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(cx, wrote, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        self.note(cx, wrote, wanted)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_reader_who_does_not_read_is_given_up() {
        let (near, _far) = duplex(1_000);
        let mut paced = Paced::new(near, PATIENCE);
        paced.write_all(&[1; 1_000]).await.expect("there is room");
        let given_up = paced.write_all(&[1; 10]).await.expect_err("nobody reads");
        assert_eq!(given_up.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_reader_who_trickles_is_given_up() {
        let (near, mut far) = duplex(4_000);
        let mut paced = Paced::new(near, PATIENCE);
        let trickling = async {
            loop {
                // No signal: this is how slow he reads.
                tokio::time::sleep(Duration::from_millis(1)).await;
                far.read_exact(&mut [0; 10]).await.expect("there is more");
            }
        };
        tokio::select! {
            written = paced.write_all(&[1; 300_000]) => assert!(written.is_err(), "he has not read it all"),
            () = trickling => {}
        }
    }

    #[tokio::test]
    async fn whoever_reads_is_served_and_may_rest_when_he_has_caught_up() {
        let (near, mut far) = duplex(1_000);
        let mut paced = Paced::new(near, PATIENCE);
        for _ in 0..3 {
            let writing = async { paced.write_all(&[1; 20_000]).await };
            let reading = async { far.read_exact(&mut [0; 20_000]).await };
            let (written, read) = tokio::join!(writing, reading);
            assert!(written.is_ok() && read.is_ok());
            // No signal: nothing is written for longer than anybody may lag behind.
            tokio::time::sleep(4 * PATIENCE).await;
        }
    }
}
