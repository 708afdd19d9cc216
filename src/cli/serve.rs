//! `backroom serve`: a host, its API and its console, until it is told to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::failure::{Exit, Failure};
use super::settings::SettingsArgs;
use super::terminal::Terminal;
use crate::api::{self, ApiState, Guard};
use crate::app::Host;
use crate::config::Settings;
use crate::descriptors::raise_descriptors;
use crate::domain::code;
use crate::embedded::open;
use crate::ui;

/// How long the last answers may take once the store is closed: a client that reads slowly keeps nobody from ending.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// What the system keeps of an answer that is not read yet.
const SEND_BUFFER_BYTES: u32 = 256 << 10;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;

/// What the process ends with when it is told twice.
const ENDED_AT_ONCE: i32 = 130;

/// How to serve.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Serves until SIGTERM or SIGINT, then ends in order within the grace.
pub(crate) fn run(args: &ServeArgs, terminal: Terminal) -> Result<Exit> {
    let settings = args.settings.load()?.settings;
    if let Err(error) = raise_descriptors() {
        tracing::warn!(%error, "the limit of open files stays as low as it was set");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let served = runtime.block_on(serve(&settings, terminal));
    runtime.shutdown_timeout(LAST_ANSWERS);
    served.map(|()| Exit::Done)
}

async fn serve(settings: &Settings, terminal: Terminal) -> Result<()> {
    let listener = listen(settings.server.listen).await?;
    let address = listener.local_addr()?;
    let opened = open(settings).await?;
    opened.notices.iter().for_each(|notice| tracing::warn!("{notice}"));
    if opened.host.rescued > 0 {
        tracing::info!(rescued = opened.host.rescued, "took over the jobs that an earlier host left unfinished");
    }
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(answer(listener, Arc::clone(&opened.host), settings.clone(), stopped));
    terminal.line(&format!("backroom listens on http://{address}  (console: http://{address}/)"))?;
    told_to_end().await?;
    tracing::info!("ending: no new job starts; those under way have {:?}", settings.worker.shutdown_grace);
    let again = tokio::spawn(end_at_once_when_told_again());
    opened.shut_down(settings.worker.shutdown_grace).await;
    // An error means that the server has ended already; what it ended with comes out below.
    let _already_ended = stop.send(());
    let answered = last_answers(serving, LAST_ANSWERS).await;
    again.abort();
    answered
}

/// Waits for the answers that are under way, within bounds.
async fn last_answers(serving: JoinHandle<Result<()>>, patience: Duration) -> Result<()> {
    match tokio::time::timeout(patience, serving).await {
        Ok(ended) => ended?,
        Err(_) => {
            tracing::warn!("some answers were cut off: their readers took longer than {patience:?}");
            Ok(())
        }
    }
}

/// A second signal means now: whatever is under way is rescued at the next start.
async fn end_at_once_when_told_again() {
    match told_to_end().await {
        Ok(()) => {
            tracing::warn!("told to end again: ending at once");
            std::process::exit(ENDED_AT_ONCE);
        }
        Err(error) => tracing::warn!("a second signal would not be heard: {error}"),
    }
}

/// Binds the address, or says that somebody has it.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        // What a reader has not read yet waits in the system's memory: connections take this over.
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|error| Failure::new(code::PORT_IN_USE, format!("cannot listen on {address}: {error}")).into())
}

/// Answers requests, API and console, until `stopped`.
pub(crate) async fn answer(
    listener: TcpListener,
    host: Arc<Host>,
    settings: Settings,
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let server = &settings.server;
    let guard = Guard::new(listener.local_addr()?, &server.allowed_hosts).behind(&server.trusted_proxies);
    let state = ApiState::with(Arc::clone(&host), guard, server.allowances);
    let router = api::guarded(&state, api::routes(&state).merge(ui::routes(host)));
    let stopping = async {
        // A sender that is gone means the same.
        let _stopped = stopped.await;
    };
    api::serve(listener, state, router, stopping).await.context("answering requests")
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn told_to_end() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_does_not_keep_the_host() {
        let slow = last_answers(tokio::spawn(std::future::pending()), Duration::from_millis(20));
        slow.await.expect("it is no error");
        let failed = last_answers(tokio::spawn(async { Err(anyhow::anyhow!("broken")) }), LAST_ANSWERS).await;
        assert!(failed.is_err(), "an error of the server comes out");
    }
}
