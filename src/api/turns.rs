//! How much goes on at a time: requests, bodies, streams and waits, each counted apart, and how much of it one caller may
//! have. A share is for administrators only, so that nobody else can keep them out.
//!
//! What a request takes lasts as long as the work for it, on whatever thread and in whatever queue that is: whoever hangs up
//! gives nothing back that is still used. The warrant of the request carries it ([`answering`]), and everything that is done
//! apart from the request's own task has the warrant along (`store::warrant::carried`), so that nobody has to think of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::error::ApiError;
use super::source::Source;
use crate::domain::access::Caller;
use crate::domain::allowances::Allowances;
use crate::domain::code;
use crate::domain::id::Digest;
use crate::store::warrant::{Warrant, with_warrant};

/// Uploads and bulk submits that are read at a time; each may hold a large body in memory.
const LARGE_BODIES: u64 = 4;

/// Commands for all jobs that match a filter.
const ACTIONS: u64 = 4;

/// Large payloads that are looked through before they are sent.
const READS: u64 = 4;

/// Backups that are sent at a time: what changes meanwhile is kept in memory for each.
const BACKUPS: u64 = 1;

/// How long a large body, a command by filter or a large payload waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who takes a place, as far as places are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Party {
    /// Somebody without a token, by his address.
    Stranger(Option<IpAddr>),
    /// Somebody who was let in, by his token. Where none is asked for, everybody is one.
    Holder {
        /// The digest of its secret.
        secret: Option<Digest>,
        /// Whether he administers the host.
        is_admin: bool,
    },
}

impl Party {
    /// A caller who comes from somewhere.
    pub(super) fn of(caller: &Caller, source: Source) -> Self {
        match caller == &Caller::STRANGER {
            true => Self::Stranger(source.address),
            false => Self::Holder { secret: caller.secret, is_admin: caller.rights.admin },
        }
    }

    /// Who has to give way first: the lower.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Stranger(_) => 0,
            Self::Holder { is_admin: false, .. } => 1,
            Self::Holder { is_admin: true, .. } => 2,
        }
    }

    /// How many of so many places he may have, and how many may be taken in all while he still gets one.
    fn share(self, all: u64) -> (u64, u64) {
        let reserved = all.div_ceil(8).min(all - 1);
        let others = all - reserved;
        match self {
            Self::Stranger(_) => (all.div_ceil(16), others),
            Self::Holder { is_admin: false, .. } => (all.div_ceil(2).min(others), others),
            // Where no token is asked for there is nobody else.
            Self::Holder { secret: None, .. } => (all, all),
            Self::Holder { is_admin: true, .. } => (others.max(1), all),
        }
    }
}

/// Places of one kind.
struct Places {
    /// What they are, in an error.
    what: &'static str,
    all: u64,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    all: u64,
    by: HashMap<Party, u64>,
}

impl Places {
    fn new(what: &'static str, all: u64) -> Arc<Self> {
        Arc::new(Self { what, all: all.max(1), taken: Mutex::default(), freed: Notify::new() })
    }

    fn try_add(&self, party: Party, count: u64) -> Result<(), ApiError> {
        let (own_most, all_most) = party.share(self.all);
        let mut taken = self.taken.lock();
        let own = taken.by.get(&party).copied().unwrap_or_default();
        if taken.all + count > all_most {
            return Err(ApiError::new(
                code::BUSY,
                format!("this host has as many {} under way as it takes", self.what),
            ));
        }
        if own + count > own_most {
            let detail = format!("you have as many {} under way as one caller may have: {own_most}", self.what);
            return Err(ApiError::new(code::TOO_MUCH_UNDER_WAY, detail));
        }
        taken.all += count;
        *taken.by.entry(party).or_default() += count;
        Ok(())
    }

    /// A place, if there is one for him.
    fn take(self: &Arc<Self>, party: Party) -> Result<Turn, ApiError> {
        self.try_add(party, 1)?;
        Ok(Turn { places: Arc::clone(self), party, count: 1 })
    }

    /// A place, for which he waits within bounds.
    async fn take_in_time(self: &Arc<Self>, party: Party, patience: Duration) -> Result<Turn, ApiError> {
        let end = Instant::now() + patience;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From here on it hears of every place that becomes free.
            freed.as_mut().enable();
            match self.take(party) {
                Ok(turn) => return Ok(turn),
                Err(busy) => tokio::time::timeout_at(end, freed).await.map_err(|_| busy)?,
            }
        }
    }
}

/// One of the places there are, or several; dropping it gives them back.
pub(crate) struct Turn {
    places: Arc<Places>,
    party: Party,
    count: u64,
}

impl Turn {
    /// So many more.
    fn add(&mut self, count: u64) -> Result<(), ApiError> {
        self.places.try_add(self.party, count)?;
        self.count += count;
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= self.count;
        if let Some(own) = taken.by.get_mut(&self.party) {
            *own -= self.count;
            if *own == 0 {
                taken.by.remove(&self.party);
            }
        }
        drop(taken);
        self.places.freed.notify_waiters();
    }
}

/// The places of a host.
pub(super) struct Turns {
    requests: Arc<Places>,
    streams: Arc<Places>,
    waits: Arc<Places>,
    body_bytes: Arc<Places>,
    large_bodies: Arc<Places>,
    actions: Arc<Places>,
    reads: Arc<Places>,
    backups: Arc<Places>,
}

impl Turns {
    pub(super) fn new(allowances: Allowances) -> Self {
        let Allowances { requests, streams, waits, body_bytes, .. } = allowances;
        Self {
            requests: Places::new("requests", requests),
            streams: Places::new("streams", streams),
            waits: Places::new("waiting submits", waits),
            body_bytes: Places::new("bytes of bodies", body_bytes),
            large_bodies: Places::new("large bodies", LARGE_BODIES),
            actions: Places::new("commands by filter", ACTIONS),
            reads: Places::new("large payloads", READS),
            backups: Places::new("backups", BACKUPS),
        }
    }

    /// A place for a request, which it keeps until it is answered or [`RequestTurn::end`]s it.
    pub(super) fn request(&self, party: Party) -> Result<RequestTurn, ApiError> {
        Ok(RequestTurn(Arc::new(Mutex::new(Some(self.requests.take(party)?)))))
    }

    /// Room for the bytes of a body, none of which have come yet.
    pub(super) fn body(&self, party: Party) -> Room {
        Room(Arc::new(Mutex::new(Turn { places: Arc::clone(&self.body_bytes), party, count: 0 })))
    }

    /// A place for a stream.
    pub(super) fn stream(&self) -> Result<Turn, ApiError> {
        self.streams.take(present())
    }

    /// A place to wait for the end of a job; none when all are taken.
    pub(super) fn wait(&self) -> Option<Turn> {
        self.waits.take(present()).ok()
    }

    /// Takes a place for a command for all jobs that match a filter.
    pub(super) async fn action(&self) -> Result<(), ApiError> {
        keep(self.actions.take_in_time(present(), PATIENCE).await?)
    }

    /// A place for a backup.
    pub(super) fn backup(&self) -> Result<Turn, ApiError> {
        self.backups.take(present())
    }

    /// Takes a place to look through a large payload.
    pub(super) async fn read(&self) -> Result<(), ApiError> {
        keep(self.reads.take_in_time(present(), PATIENCE).await?)
    }

    /// The places of large bodies.
    pub(super) fn large_bodies(&self) -> LargeBodies {
        LargeBodies(Arc::clone(&self.large_bodies))
    }
}

/// The places of large bodies, the same for the API and the console.
#[derive(Clone)]
pub(crate) struct LargeBodies(Arc<Places>);

impl LargeBodies {
    /// Waits for a place, within bounds, and takes it.
    pub(crate) async fn turn(&self) -> Result<(), ApiError> {
        keep(self.0.take_in_time(present(), PATIENCE).await?)
    }
}

/// What one request has taken.
#[derive(Clone)]
pub(super) struct Holding {
    party: Party,
    kept: Arc<Mutex<Vec<Box<dyn Send>>>>,
}

impl Holding {
    /// Nothing yet.
    pub(super) fn of(party: Party) -> Self {
        Self { party, kept: Arc::default() }
    }

    /// Has something last as long as the work for the request.
    pub(super) fn keep(&self, place: impl Send + 'static) {
        self.kept.lock().push(Box::new(place));
    }
}

/// The warrant of a request, which has along what the request has taken.
struct Lasting {
    warrant: Arc<dyn Warrant>,
    _holding: Holding,
}

impl Warrant for Lasting {
    fn check(&self) -> Result<(), Arc<str>> {
        self.warrant.check()
    }
}

tokio::task_local! {
    /// What the request has taken that the present task answers.
    static PRESENT: Holding;
}

fn present() -> Party {
    PRESENT.try_with(|holding| holding.party).unwrap_or(Party::Stranger(None))
}

/// Has something last as long as the work for the request that the present task answers.
pub(super) fn keep(place: impl Send + 'static) -> Result<(), ApiError> {
    let kept = PRESENT.try_with(|holding| holding.keep(place));
    kept.map_err(|_| ApiError::new(code::INTERNAL, "no guard stands in front of this address"))
}

/// Answers a request under its warrant: what is taken for it meanwhile is its sender's, and lasts until all work is done that
/// goes on under the warrant.
pub(super) async fn answering<F: Future>(holding: Holding, warrant: Arc<dyn Warrant>, answer: F) -> F::Output {
    let lasting = Lasting { warrant, _holding: holding.clone() };
    with_warrant(Arc::new(lasting), PRESENT.scope(holding, answer)).await
}

/// Room for the bytes of one body, shared by whoever reads it and the request that it belongs to.
#[derive(Clone)]
pub(super) struct Room(Arc<Mutex<Turn>>);

impl Room {
    /// Room for so many more.
    pub(super) fn add(&self, bytes: u64) -> Result<(), ApiError> {
        self.0.lock().add(bytes)
    }
}

/// The place of a request, shared by the guard and the request's handler.
#[derive(Clone)]
pub(super) struct RequestTurn(Arc<Mutex<Option<Turn>>>);

impl RequestTurn {
    /// Gives the place back before the request is answered.
    pub(super) fn end(&self) {
        self.0.lock().take();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::task::Poll;

    use super::*;
    use crate::app::NoWarrant;
    use crate::resources::blocking;
    use crate::store::warrant::carried;

    const STRANGER: Party = Party::Stranger(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    const ANYBODY: Party = Party::Holder { secret: None, is_admin: true };

    fn holder(name: &str, is_admin: bool) -> Party {
        Party::Holder { secret: Some(Digest::of(name)), is_admin }
    }

    fn all_of(places: &Arc<Places>, party: Party) -> Vec<Turn> {
        std::iter::from_fn(|| places.take(party).ok()).collect()
    }

    #[test]
    fn nobody_can_take_all_but_where_there_is_nobody_else() {
        for all in [1, 2, 4, 256, 512] {
            let places = Places::new("requests", all);
            assert_eq!(all_of(&places, ANYBODY).len() as u64, all);
            if all == 1 {
                continue;
            }
            let of_shop = all_of(&places, holder("shop", false));
            let of_bank = all_of(&places, holder("bank", false));
            let of_strangers = all_of(&places, STRANGER);
            assert!(!of_shop.is_empty() && of_shop.len() as u64 <= all.div_ceil(2), "{all}");
            assert!(((of_shop.len() + of_bank.len() + of_strangers.len()) as u64) < all, "{all}: nothing is reserved");
            assert!(places.take(holder("admin", true)).is_ok(), "{all}: an administrator is kept out");
        }
        let places = Places::new("requests", 512);
        let of_admin = all_of(&places, holder("admin", true));
        assert!(places.take(holder("another", true)).is_ok(), "one administrator keeps out the next");
        drop(of_admin);
        assert_eq!(all_of(&places, STRANGER).len(), 32);
        assert_eq!(places.taken.lock().by.len(), 0, "what is given back is forgotten");
    }

    #[test]
    fn the_refusal_says_whose_fault_it_is() {
        let places = Places::new("requests", 512);
        let _of_shop = all_of(&places, holder("shop", false));
        let refused = places.take(holder("shop", false)).err().expect("he has his share");
        assert_eq!(refused.code(), code::TOO_MUCH_UNDER_WAY);
        let _of_bank = all_of(&places, holder("bank", false));
        let refused = places.take(holder("third", false)).err().expect("they have it all");
        assert_eq!(refused.code(), code::BUSY);
    }

    #[test]
    fn a_request_that_waits_gives_its_place_back() {
        let turns = Turns::new(Allowances::default());
        let held: Vec<_> = std::iter::from_fn(|| turns.request(ANYBODY).ok()).collect();
        assert_eq!(held.len(), 512);
        held[0].end();
        assert!(turns.request(ANYBODY).is_ok());
    }

    #[tokio::test]
    async fn what_a_request_has_taken_lasts_as_long_as_its_work() {
        let places = Places::new("commands by filter", ACTIONS);
        let (done, work) = std::sync::mpsc::channel::<()>();
        let taken = Arc::clone(&places);
        let mut asked = Box::pin(answering(Holding::of(ANYBODY), Arc::new(NoWarrant), async move {
            keep(taken.take(present()).expect("there is a place")).expect("somebody asks");
            blocking(carried(move || work.recv())).await
        }));
        let begun = std::future::poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx).is_pending())).await;
        assert!(begun, "the work waits");
        drop(asked);
        assert_eq!(places.taken.lock().all, 1, "whoever asked has hung up; the work goes on");
        let freed = places.freed.notified();
        tokio::pin!(freed);
        freed.as_mut().enable();
        done.send(()).expect("the work waits for it");
        freed.await;
        assert_eq!(places.taken.lock().all, 0);
    }

    #[tokio::test]
    async fn large_bodies_take_turns() {
        let places = Places::new("large bodies", LARGE_BODIES);
        let mut held = all_of(&places, ANYBODY);
        let refused = places.take_in_time(ANYBODY, Duration::from_millis(20)).await.err().expect("no place is free");
        assert_eq!(refused.code(), code::BUSY);
        let (waited, ()) = tokio::join!(places.take_in_time(ANYBODY, PATIENCE), async { drop(held.pop()) });
        drop(waited.expect("a place becomes free"));
    }

    #[test]
    fn bytes_are_counted_as_they_come() {
        let turns = Turns::new(Allowances { body_bytes: 1_000, ..Allowances::default() });
        let shop = holder("shop", false);
        let body = turns.body(shop);
        body.add(400).expect("there is room");
        assert_eq!(body.add(200).err().map(|error| error.code()), Some(code::TOO_MUCH_UNDER_WAY));
        assert!(turns.body(holder("admin", true)).add(600).is_ok());
        drop(body);
        assert!(turns.body(shop).add(500).is_ok());
    }
}
