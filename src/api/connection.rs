//! One connection, as its requests know it: whose it is, and what goes on on it.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::turns::Party;
use crate::app::Tokens;
use crate::domain::access::Caller;
use crate::domain::network::neighbourhood;

/// One connection, as its requests know it.
pub(super) struct Connection {
    peer: IpAddr,
    pub(super) standing: Mutex<Standing>,
    /// Its caller is another than before.
    changed: Notify,
    /// It has to make room.
    pub(super) told_to_end: Notify,
}

/// Whose it is, and what goes on.
pub(super) struct Standing {
    caller: Option<Caller>,
    pub(super) party: Party,
    /// Requests that have come in, and those of them whose answers are not all taken yet.
    begun: u64,
    pub(super) under_way: u32,
    pub(super) last_used: Instant,
    pub(super) is_ending: bool,
}

impl Connection {
    pub(super) fn new(peer: IpAddr) -> Arc<Self> {
        let standing = Standing {
            caller: None,
            party: Party::Stranger(Some(neighbourhood(peer))),
            begun: 0,
            under_way: 0,
            last_used: Instant::now(),
            is_ending: false,
        };
        let (changed, told_to_end) = (Notify::new(), Notify::new());
        Arc::new(Self { peer, standing: Mutex::new(standing), changed, told_to_end })
    }

    #[cfg(test)]
    pub(super) fn of_peer(peer: IpAddr) -> Arc<Self> {
        Self::new(peer)
    }

    /// The address at its other end.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// A request on it goes on until what comes back is dropped.
    pub(super) fn under_way(self: &Arc<Self>) -> UnderWay {
        let mut standing = self.standing.lock();
        standing.begun += 1;
        standing.under_way += 1;
        UnderWay(Arc::clone(self))
    }

    /// How many requests have come in on it.
    pub(super) fn begun(&self) -> u64 {
        self.standing.lock().begun
    }

    /// The same, where no answer is still to be made.
    pub(super) fn all_answered(&self) -> Option<u64> {
        let standing = self.standing.lock();
        (standing.under_way == 0).then_some(standing.begun)
    }

    /// From now on it is the connection of somebody who was let in.
    pub(super) fn belongs_to(&self, caller: &Caller, party: Party) {
        let mut standing = self.standing.lock();
        if standing.party != party || standing.caller.is_none() {
            standing.party = party;
            standing.caller = Some(caller.clone());
            self.changed.notify_one();
        }
    }

    /// Waits until whoever it belongs to is not let in any more.
    pub(super) async fn lost(&self, tokens: &Tokens) {
        loop {
            let caller = self.standing.lock().caller.clone();
            match caller {
                None => self.changed.notified().await,
                Some(caller) => tokio::select! {
                    () = tokens.lost(&caller) => return,
                    () = self.changed.notified() => {}
                },
            }
        }
    }
}

/// See [`Connection::under_way`].
pub(super) struct UnderWay(Arc<Connection>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut standing = self.0.standing.lock();
        standing.under_way -= 1;
        standing.last_used = Instant::now();
    }
}

/// A body that tells its connection when it has been read, or given up.
pub(super) struct Read {
    body: Body,
    _under_way: UnderWay,
}

impl Read {
    pub(super) fn new(body: Body, under_way: UnderWay) -> Self {
        Self { body, _under_way: under_way }
    }
}

impl HttpBody for Read {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
