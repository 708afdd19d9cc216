//! Refusals and what should not go unseen: counted, logged within bounds, and slow for whoever tries one token after another.
//!
//! A right token always gets in: whoever shares an address with somebody who guesses is not kept out by him. Wrong ones beyond
//! a few are answered one after another, each with the end of its connection, and those that would wait for long with that
//! end at once: each address has a queue of its own, so that nobody who fills one makes it quicker for the others. What makes
//! guessing hopeless is the length of tokens; this keeps it from costing much, and from going unnoticed.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use axum::http::{Method, Uri};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::error::ApiError;
use super::reads::Part;
use super::source::Source;
use crate::domain::code::{self, Code};

/// Wrong tokens from one address that are answered at once.
const TRIES: u32 = 10;

/// How long it takes until one of them is forgotten.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// How much later a further one is answered than the one before.
const DELAY: Duration = Duration::from_secs(1);

/// How many of one address wait at a time, and of all: a connection that waits is taken from others.
const DELAYED_OF_ADDRESS_MAX: u32 = 8;
const DELAYED_MAX: usize = 512;

/// Addresses that are told apart.
const ADDRESSES_MAX: usize = 4_096;

/// How often one address gets a line in the log.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Refusals {
    by_address: Mutex<HashMap<Option<IpAddr>, Tries>>,
    delayed: Semaphore,
    by_code: Mutex<BTreeMap<&'static str, u64>>,
    seen: Mutex<BTreeMap<&'static str, u64>>,
}

/// What one address has tried.
struct Tries {
    /// The instant at which all of its wrong tokens are forgotten.
    forgotten_on: Instant,
    /// When the last one of those that wait is answered. Whoever does not wait for it has used up its place all the same.
    answered_on: Instant,
    /// What the log has told of its refusals, and of its reads of payloads.
    refusals: Said,
    reads: Said,
}

/// When the log told of something last, and how often it has not done so since.
#[derive(Default)]
struct Said {
    on: Option<Instant>,
    unsaid: u64,
}

impl Said {
    /// Whether the log tells of it now, and how often it has not done so before.
    fn say(&mut self, now: Instant) -> Option<u64> {
        if self.on.is_some_and(|on| now < on + LINE_EVERY) {
            self.unsaid += 1;
            return None;
        }
        self.on = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }

    fn is_stale(&self, now: Instant) -> bool {
        self.on.is_none_or(|on| on + LINE_EVERY <= now)
    }
}

impl Tries {
    fn at(now: Instant) -> Self {
        Self { forgotten_on: now, answered_on: now, refusals: Said::default(), reads: Said::default() }
    }

    fn is_stale(&self, now: Instant) -> bool {
        let is_over = self.forgotten_on <= now && self.answered_on <= now;
        is_over && self.refusals.is_stale(now) && self.reads.is_stale(now)
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            by_address: Mutex::default(),
            delayed: Semaphore::new(DELAYED_MAX),
            by_code: Mutex::default(),
            seen: Mutex::default(),
        }
    }
}

impl Refusals {
    /// What becomes of a wrong token: an error that says so, later and later. [`code::TOO_MANY_WRONG_TOKENS`] is the last
    /// answer on its connection.
    pub(super) async fn wrong_token(&self, source: Source, error: ApiError) -> ApiError {
        let now = Instant::now();
        if self.may_try(source, now) {
            return error;
        }
        if let Some(on) = self.turn_to_be_answered(source, now)
            && let Ok(_place) = self.delayed.try_acquire()
        {
            tokio::time::sleep_until(on).await;
        }
        let detail = "too many wrong tokens came from this address; a right one is let in at once";
        ApiError::new(code::TOO_MANY_WRONG_TOKENS, detail)
    }

    fn may_try(&self, source: Source, now: Instant) -> bool {
        let mut addresses = self.by_address.lock();
        let tries = of(&mut addresses, source, now);
        let after = tries.forgotten_on.max(now) + TRY_EVERY;
        let may = after <= now + TRIES * TRY_EVERY;
        if may {
            tries.forgotten_on = after;
        }
        may
    }

    /// When the next one of an address is answered; none where too many wait.
    fn turn_to_be_answered(&self, source: Source, now: Instant) -> Option<Instant> {
        let mut addresses = self.by_address.lock();
        let tries = of(&mut addresses, source, now);
        let on = tries.answered_on.max(now) + DELAY;
        let has_place = on <= now + DELAYED_OF_ADDRESS_MAX * DELAY;
        if has_place {
            tries.answered_on = on;
        }
        has_place.then_some(on)
    }

    /// Notes a refusal.
    pub(super) fn note(&self, code: Code, source: Source, by: &str, method: &Method, uri: &Uri) {
        *self.by_code.lock().entry(code.name).or_default() += 1;
        let now = Instant::now();
        let said = of(&mut self.by_address.lock(), source, now).refusals.say(now);
        let Some(unsaid) = said else { return };
        let from = from(source);
        let path = uri.path();
        tracing::warn!(code = code.name, by, from, unsaid, "refused: {method} {path}: {}", code.title);
    }

    /// Notes that somebody is given a payload.
    pub(super) fn read(&self, part: Part, source: Source, by: &str) {
        let what = part.word();
        self.saw(what);
        let now = Instant::now();
        let said = of(&mut self.by_address.lock(), source, now).reads.say(now);
        if let Some(unsaid) = said {
            tracing::info!(by, from = from(source), unsaid, "a payload was read: {what}");
        }
    }

    /// Notes something that should not go unseen, although nobody is refused.
    pub(super) fn saw(&self, what: &'static str) {
        *self.seen.lock().entry(what).or_default() += 1;
    }

    /// How often each code was the reason of a refusal.
    pub(super) fn by_code(&self) -> Vec<(&'static str, u64)> {
        self.by_code.lock().iter().map(|(name, count)| (*name, *count)).collect()
    }

    /// How often something was [seen](Self::saw).
    pub(super) fn seen(&self, what: &str) -> u64 {
        self.seen.lock().get(what).copied().unwrap_or_default()
    }
}

fn from(source: Source) -> String {
    source.address.map_or_else(|| "-".to_owned(), |address| address.to_string())
}

/// What an address has tried. Where there are too many of them, those that are not told apart count as one.
fn of(addresses: &mut HashMap<Option<IpAddr>, Tries>, source: Source, now: Instant) -> &mut Tries {
    if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&source.address) {
        addresses.retain(|_, tries| !tries.is_stale(now));
    }
    let is_known = addresses.len() < ADDRESSES_MAX || addresses.contains_key(&source.address);
    addresses.entry(source.address.filter(|_| is_known)).or_insert_with(|| Tries::at(now))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn source(number: u32) -> Source {
        Source { address: Some(Ipv4Addr::from_bits(number).into()), is_secure: false }
    }

    #[test]
    fn one_address_has_some_tries_and_gets_them_back_one_by_one() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let tried = (0..100).filter(|_| refusals.may_try(source(1), now)).count();
        assert_eq!(tried, TRIES as usize);
        assert!(refusals.may_try(source(2), now), "another address has its own");
        assert!(!refusals.may_try(source(1), now + TRY_EVERY / 2));
        assert!(refusals.may_try(source(1), now + TRY_EVERY));
        assert!(!refusals.may_try(source(1), now + TRY_EVERY));
    }

    #[test]
    fn many_addresses_take_bounded_memory() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        for number in 0..10_000 {
            refusals.may_try(source(number), now);
        }
        assert!(refusals.by_address.lock().len() <= ADDRESSES_MAX + 1);
        assert!(!refusals.may_try(source(20_000), now), "those beyond share what one has");
        assert!(refusals.may_try(source(20_000), now + 2 * TRIES * TRY_EVERY), "the others are forgotten by then");
    }

    #[test]
    fn further_ones_of_an_address_wait_one_behind_the_other() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let on: Vec<_> = (0..100).filter_map(|_| refusals.turn_to_be_answered(source(1), now)).collect();
        assert_eq!(on, (1..=DELAYED_OF_ADDRESS_MAX).map(|place| now + place * DELAY).collect::<Vec<_>>());
        assert_eq!(refusals.turn_to_be_answered(source(2), now), Some(now + DELAY), "another address has its own");
        assert_eq!(refusals.turn_to_be_answered(source(1), now + DELAY), Some(on[7] + DELAY));
        assert!(!refusals.by_address.lock().values().any(|tries| tries.is_stale(now)));
    }

    #[tokio::test]
    async fn a_wrong_token_beyond_them_is_told_so_and_counted() {
        let refusals = Refusals::default();
        let wrong = || ApiError::new(code::UNAUTHORIZED, "no");
        for _ in 0..TRIES {
            assert_eq!(refusals.wrong_token(source(1), wrong()).await.code(), code::UNAUTHORIZED);
        }
        let _all = refusals.delayed.acquire_many(u32::try_from(DELAYED_MAX).expect("few")).await.expect("it is open");
        assert_eq!(refusals.wrong_token(source(1), wrong()).await.code(), code::TOO_MANY_WRONG_TOKENS);
        let uri = Uri::from_static("/v1/jobs");
        refusals.note(code::UNAUTHORIZED, source(1), "-", &Method::GET, &uri);
        refusals.note(code::UNAUTHORIZED, source(1), "-", &Method::GET, &uri);
        assert_eq!(refusals.by_code(), [("BR0114", 2)]);
        assert_eq!(refusals.by_address.lock().values().map(|tries| tries.refusals.unsaid).sum::<u64>(), 1);
        (0..1_000).for_each(|_| refusals.read(Part::Output, source(1), "shop"));
        assert_eq!(refusals.seen("output"), 1_000);
        assert_eq!(refusals.by_address.lock().values().map(|tries| tries.reads.unsaid).sum::<u64>(), 999);
    }
}
