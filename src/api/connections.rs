//! Connections: how many there may be, how long one may take to say what it wants, and how they end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How long nothing is accepted after the process had no room for another connection.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// What callers may take up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at a time; further ones wait until the system's own queue is full.
    pub(super) connections: u32,
    /// How long the headers of a request may take, the wait for it on an idle connection included.
    pub(super) headers: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4_096, headers: Duration::from_secs(60) }
    }
}

/// Serves `router` until `closing` ends; then answers what is under way and returns.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    closing: impl Future<Output = ()>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(limits.connections as usize));
    let closed = watch::Sender::new(false);
    tokio::pin!(closing);
    loop {
        let (stream, place) = tokio::select! {
            biased;
            () = &mut closing => break,
            accepted = accept(&listener, &places) => accepted,
        };
        tokio::spawn(answer(stream, router.clone(), limits, closed.subscribe(), place));
    }
    drop(listener);
    closed.send_replace(true);
    // Every connection gives its place back at its end.
    let _all = places.acquire_many(limits.connections).await;
    Ok(())
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else { std::future::pending().await };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn answer(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    mut closed: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    // An event of a stream is a small write of its own: it must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delays");
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.headers);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { drop(closed.wait_for(|closed| *closed).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_silent_caller_gives_its_place_to_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let address = listener.local_addr().expect("it has one");
        let router = Router::new().route("/", get(|| async { "here" }));
        let limits = Limits { connections: 1, headers: Duration::from_secs(3) };
        let (stop, stopped) = oneshot::channel::<()>();
        let closing = async move {
            let _dropped = stopped.await;
        };
        let serving = tokio::spawn(serve(listener, router, limits, closing));

        let mut silent = TcpStream::connect(address).await.expect("it listens");
        silent.write_all(b"GET / HTTP/1.1\r\nHost: he").await.expect("it is accepted");
        let mut polite = TcpStream::connect(address).await.expect("the system queues it");
        polite.write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").await.expect("it is queued");
        let mut answer = String::new();
        let early = tokio::time::timeout(Duration::from_millis(50), polite.read_to_string(&mut answer)).await;
        assert!(early.is_err(), "there is one place only, and it is taken: {answer}");
        polite.read_to_string(&mut answer).await.expect("it is answered");
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("here"), "{answer}");
        let mut told = Vec::new();
        silent.read_to_end(&mut told).await.expect("it was ended");
        assert!(!told.starts_with(b"HTTP/1.1 200"), "half a request is not answered");

        drop(stop);
        serving.await.expect("it does not panic").expect("it ends in order");
    }
}
