//! Connections: how many there may be and whose, how long one may take to say what it wants or to read what it is told, and
//! how they end.
//!
//! A connection is its address's until a request on it has shown a token, and that token's from then on. When there are as
//! many as may be, a new one is never kept waiting by idle ones: the oldest of whoever has the most goes, strangers first,
//! holders of tokens next, administrators last.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::bare::InOurWords;
use super::connection::{Connection, Read, Standing};
use super::paced::Paced;
use super::turns::Party;
use crate::app::Tokens;
use crate::descriptors::Descriptors;
use crate::domain::allowances::Allowances;
use crate::resources::Quiet;

/// How long nothing is accepted after the process had no room for another connection.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// How long a new connection waits for the end of the one that makes room for it.
const FOR_ROOM: Duration = Duration::from_secs(1);

/// How long the last answer on a connection may take whose caller is not let in any more.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// What a connection keeps of an answer that is not read yet, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// What callers may take up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at a time.
    pub(super) connections: u32,
    /// How long the headers of a request may take, the wait for it on an idle connection included.
    pub(super) headers: Duration,
    /// How long somebody may read next to nothing of what waits for him.
    pub(super) stall: Duration,
}

impl Limits {
    /// What callers are allowed.
    pub(super) fn of(allowances: &Allowances) -> Self {
        let Allowances { connections, stall, .. } = *allowances;
        // Asked once the host is up: what it has open by then is not for connections.
        let connections = Descriptors::now().connections(connections);
        if connections < allowances.connections {
            let next = "raise the limit of open files (`ulimit -Hn`, `LimitNOFILE=` of systemd)";
            tracing::warn!(connections, next, "few descriptors are left for connections");
        }
        Self { connections, headers: Duration::from_secs(60), stall }
    }
}

/// The connections that there are.
struct Table {
    limits: Limits,
    places: Arc<Semaphore>,
    next: AtomicU64,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
}

/// A connection's place in the table.
struct Place {
    table: Arc<Table>,
    number: u64,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.connections.lock().remove(&self.number);
    }
}

impl Table {
    fn new(limits: Limits) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(limits.connections as usize));
        Arc::new(Self { limits, places, next: AtomicU64::new(0), connections: Mutex::default() })
    }

    /// A place for a new connection; another makes room where there is none. None where all are in use.
    async fn take(self: &Arc<Self>, connection: &Arc<Connection>) -> Option<Place> {
        let party = connection.standing.lock().party;
        let most = (self.limits.connections as usize / 2).max(1);
        let are_many = self.connections.lock().len() >= most;
        if are_many && self.count(party) >= most {
            self.make_room(|standing| standing.party == party);
        } else if self.places.available_permits() == 0 {
            self.make_room(|_| true);
        }
        let permit = tokio::time::timeout(FOR_ROOM, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.connections.lock().insert(number, Arc::clone(connection));
        Some(Place { table: Arc::clone(self), number, _permit: permit })
    }

    fn count(&self, party: Party) -> usize {
        let connections = self.connections.lock();
        connections.values().filter(|connection| connection.standing.lock().party == party).count()
    }

    /// Ends one of the connections that may go.
    fn make_room(&self, may_go: impl Fn(&Standing) -> bool) {
        let connections = self.connections.lock();
        let mut found: Vec<_> = connections
            .values()
            .filter_map(|connection| {
                let standing = connection.standing.lock();
                let is_idle = standing.under_way == 0;
                let goes = !standing.is_ending && may_go(&standing) && (is_idle || standing.party.rank() < 2);
                goes.then_some((standing.party, !is_idle, standing.last_used, connection))
            })
            .collect();
        let Some(rank) = found.iter().map(|(party, ..)| party.rank()).min() else { return };
        found.retain(|(party, ..)| party.rank() == rank);
        let mut counts: HashMap<Party, usize> = HashMap::new();
        found.iter().for_each(|(party, ..)| *counts.entry(*party).or_default() += 1);
        let most = counts.values().copied().max().unwrap_or_default();
        found.retain(|(party, ..)| counts.get(party) == Some(&most));
        let oldest = found.into_iter().min_by_key(|(_, is_busy, last_used, _)| (*is_busy, *last_used));
        if let Some((.., connection)) = oldest {
            connection.standing.lock().is_ending = true;
            connection.told_to_end.notify_one();
        }
    }
}

/// Serves `router` until `closing` ends; then answers what is under way and returns.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    tokens: Arc<Tokens>,
    limits: Limits,
    closing: impl Future<Output = ()>,
) -> io::Result<()> {
    let table = Table::new(limits);
    let closed = watch::Sender::new(false);
    tokio::pin!(closing);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut closing => break,
            accepted = accept(&listener, &table) => accepted,
        };
        // Where everything is in use, whoever comes is sent away, and not left waiting.
        let Some(accepted) = accepted else { continue };
        tokio::spawn(answer(accepted, router.clone(), Arc::clone(&tokens), limits, closed.subscribe()));
    }
    drop(listener);
    closed.send_replace(true);
    // Every connection gives its place back at its end.
    let _all = table.places.acquire_many(limits.connections).await;
    Ok(())
}

/// A connection that has a place.
struct Accepted {
    stream: TcpStream,
    connection: Arc<Connection>,
    _place: Place,
}

async fn accept(listener: &TcpListener, table: &Arc<Table>) -> Option<Accepted> {
    static NOT_ACCEPTED: Quiet = Quiet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connection = Connection::new(peer.ip());
                let place = table.take(&connection).await?;
                return Some(Accepted { stream, connection, _place: place });
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                if let Some(unsaid) = NOT_ACCEPTED.say() {
                    tracing::error!(%error, unsaid, "no connection can be accepted");
                }
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
    accepted: Accepted,
    router: Router,
    tokens: Arc<Tokens>,
    limits: Limits,
    mut closed: watch::Receiver<bool>,
) {
    let Accepted { stream, connection, _place } = accepted;
    // An event of a stream is a small write of its own: it must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delays");
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.headers).max_buf_size(BUFFER_BYTES);
    let (router, known) = (TowerToHyperService::new(router), Arc::clone(&connection));
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Arc::clone(&known));
        let (under_way, answering) = (known.under_way(), router.call(request));
        async move {
            let response = answering.await?;
            Ok::<_, Infallible>(response.map(|body| Read::new(body, under_way)))
        }
    });
    let stream = InOurWords::new(Paced::new(stream, limits.stall), Arc::clone(&connection));
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = connection.told_to_end.notified() => return,
        () = async { drop(closed.wait_for(|closed| *closed).await) } => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        () = connection.lost(&tokens) => {
            serving.as_mut().graceful_shutdown();
            // What is told may still be why; whoever does not read it is not waited for.
            let last = tokio::time::timeout(LAST_ANSWER, serving).await;
            last.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::domain::id::Digest;

    fn limits(connections: u32) -> Limits {
        Limits { connections, headers: Duration::from_secs(20), stall: Duration::from_secs(20) }
    }

    fn holder(name: u8, is_admin: bool) -> Party {
        Party::Holder { secret: Some(Digest::of([name])), is_admin }
    }

    /// Which of some connections makes room for another.
    async fn goes(parties: &[Party]) -> Option<usize> {
        let table = Table::new(limits(u32::try_from(parties.len()).expect("there are few")));
        let mut places = Vec::new();
        let connections: Vec<_> = parties.iter().map(|_| Connection::new(Ipv4Addr::LOCALHOST.into())).collect();
        for (connection, party) in connections.iter().zip(parties) {
            connection.standing.lock().party = *party;
            let permit = Arc::clone(&table.places).acquire_owned().await.expect("it is open");
            table.connections.lock().insert(places.len() as u64, Arc::clone(connection));
            places.push(permit);
        }
        table.make_room(|_| true);
        connections.iter().position(|connection| connection.standing.lock().is_ending)
    }

    #[tokio::test]
    async fn room_is_made_by_strangers_first_and_by_whoever_has_the_most() {
        let stranger = |last| Party::Stranger(Some(Ipv4Addr::new(192, 0, 2, last).into()));
        let (shop, bank, admin) = (holder(1, false), holder(2, false), holder(3, true));
        assert_eq!(goes(&[admin, shop, shop, stranger(1)]).await, Some(3));
        assert_eq!(goes(&[stranger(1), stranger(2), stranger(2), admin]).await, Some(1), "the oldest of the second");
        assert_eq!(goes(&[admin, shop, bank, bank]).await, Some(2));
        assert_eq!(goes(&[admin, admin]).await, Some(0), "an idle one, where there is nobody else");
    }
}
