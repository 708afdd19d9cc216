//! The tokens of a host: who has one, and making and revoking them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::domain::access::{BadTokens, Caller, Rights, Token, check_tokens};
use crate::domain::change::Change;
use crate::domain::family::Row as _;
use crate::domain::id::{Digest, TenantId, TokenName};
use crate::domain::time::Timestamp;
use crate::store::warrant::{Warrant, carrying};
use crate::store::{CommitError, ReadError, Store};

/// The most tokens of a host: they are in memory.
const TOKENS_MAX: usize = 10_000;

/// How often it is looked whether a token has expired that somebody is served under for long.
const EXPIRY_EVERY: Duration = Duration::from_secs(15);

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The tenant that it is about.
    pub tenant: TenantId,
    /// What its holder is called.
    pub name: TokenName,
    /// The SHA-256 of its secret.
    pub digest: Digest,
    /// What its holder may do.
    pub rights: Rights,
    /// It opens nothing from then on.
    pub expires_on: Option<Timestamp>,
    /// Who is noted to have made it.
    pub by: String,
}

/// What may become of a host whose last token is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastToken {
    /// It stays.
    Kept,
    /// It goes: from then on the host lets everybody in.
    Revoked,
}

/// Why tokens were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none of the name.
    #[error("there is no token `{0}`")]
    Unknown(TokenName),
    /// There is one of the name.
    #[error("there is a token `{0}` already")]
    Exists(TokenName),
    /// It would never open anything.
    #[error("the token would have expired already, on {0}")]
    Expired(Timestamp),
    /// There are as many as a host takes.
    #[error("there are {TOKENS_MAX} tokens already, which is the most that a host takes")]
    TooMany,
    /// Too many would get in, or nobody.
    #[error(transparent)]
    Bad(#[from] BadTokens),
    /// Whoever asks has lost his token since he asked.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Why a secret opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// No token has it.
    #[error("the token is not one of this host")]
    Unknown,
    /// There was no token when he was let in.
    #[error("the host asks for a token since then")]
    AskedForSince,
    /// Its time is over.
    #[error("the token `{name}` expired on {on}")]
    Expired {
        /// Which.
        name: TokenName,
        /// When.
        on: Timestamp,
    },
}

/// See the module.
pub struct Tokens {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// The digest of the secret of the settings.
    secret: Option<Digest>,
    by_digest: RwLock<HashMap<Digest, Token>>,
    changed: watch::Sender<()>,
    /// Held while tokens are changed: what one change leaves must not be what another counts on.
    changing: tokio::sync::Mutex<()>,
}

impl Tokens {
    /// The tokens of a store. A `secret` opens everything, whatever tokens there are.
    pub(super) fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        secret: Option<Digest>,
    ) -> Result<Self, ReadError> {
        let by_digest = store.tokens()?.into_iter().map(|token| (token.digest, token)).collect();
        Ok(Self {
            store,
            clock,
            secret,
            by_digest: RwLock::new(by_digest),
            changed: watch::Sender::default(),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// Hears of a commit, before that is answered: a caller who goes away meanwhile leaves nothing behind.
    pub(super) fn committed(&self, changes: &[Change]) {
        for change in changes {
            if let Some(token) = change.row::<Token>() {
                self.by_digest.write().insert(token.digest, token.clone());
            } else if let Some(gone) = change.removed::<Token>() {
                self.by_digest.write().retain(|_, token| token.key() != *gone);
            } else {
                continue;
            }
            self.changed.send_replace(());
        }
    }

    /// Waits until somebody who was let in would not be let in again. Whoever serves a caller for long ends then.
    pub async fn lost(&self, caller: &Caller) {
        let mut changed = self.changed.subscribe();
        while self.check_again(caller).is_ok() {
            // The sender lives in here, so waiting cannot fail. A change or none, it is looked again.
            let _changed = tokio::time::timeout(EXPIRY_EVERY, changed.changed()).await;
        }
    }

    /// Whether everybody is let in: there is neither a token nor a secret.
    pub fn are_not_asked_for(&self) -> bool {
        self.secret.is_none() && self.by_digest.read().is_empty()
    }

    /// The tokens of a tenant, by name; expired ones, too.
    pub fn list(&self, tenant: TenantId) -> Vec<Token> {
        let mut tokens = self.all();
        tokens.retain(|token| token.tenant == tenant);
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        tokens
    }

    /// Who has the secret of this digest.
    pub fn holder(&self, digest: &Digest) -> Result<Caller, NotAdmitted> {
        if self.secret.as_ref() == Some(digest) {
            return Ok(Caller::with_the_hosts_secret(*digest));
        }
        let tokens = self.by_digest.read();
        let token = tokens.get(digest).ok_or(NotAdmitted::Unknown)?;
        match token.expires_on.filter(|_| token.has_expired(self.clock.now())) {
            Some(on) => Err(NotAdmitted::Expired { name: token.name.clone(), on }),
            None => Ok(token.caller()),
        }
    }

    /// Whether somebody who was let in would be let in again: his token may have been revoked since, or have expired.
    pub fn check_again(&self, caller: &Caller) -> Result<(), NotAdmitted> {
        match &caller.secret {
            Some(secret) => self.holder(secret).map(drop),
            None if self.are_not_asked_for() => Ok(()),
            None => Err(NotAdmitted::AskedForSince),
        }
    }

    /// Makes a token for somebody who may. It comes to its end even when nobody waits for it any more.
    pub async fn create(self: &Arc<Self>, caller: Caller, new: NewToken) -> Result<Token, TokenError> {
        let tokens = Arc::clone(self);
        to_the_end(tokio::spawn(carrying(async move { tokens.create_in_turn(&caller, new).await }))).await
    }

    /// Takes a token back, for somebody who may: from now on it opens nothing. It comes to its end likewise.
    pub async fn revoke(
        self: &Arc<Self>,
        caller: Caller,
        tenant: TenantId,
        name: TokenName,
        last: LastToken,
    ) -> Result<(), TokenError> {
        let tokens = Arc::clone(self);
        to_the_end(tokio::spawn(carrying(async move { tokens.revoke_in_turn(&caller, tenant, name, last).await })))
            .await
    }

    async fn create_in_turn(&self, caller: &Caller, new: NewToken) -> Result<Token, TokenError> {
        let _turn = self.changing.lock().await;
        self.check_again(caller)?;
        let NewToken { tenant, name, digest, rights, expires_on, by } = new;
        let token = Token { tenant, name, digest, rights, created_on: self.clock.now(), created_by: by, expires_on };
        if let Some(end) = token.expires_on.filter(|_| token.has_expired(token.created_on)) {
            return Err(TokenError::Expired(end));
        }
        let mut tokens = self.all();
        if tokens.iter().any(|other| other.tenant == token.tenant && other.name == token.name) {
            return Err(TokenError::Exists(token.name));
        }
        if tokens.len() >= TOKENS_MAX {
            return Err(TokenError::TooMany);
        }
        let is_first = tokens.is_empty();
        tokens.push(token.clone());
        self.check_door(&tokens, is_first)?;
        self.store.commit(vec![Change::put(token.clone())]).await?;
        Ok(token)
    }

    async fn revoke_in_turn(
        &self,
        caller: &Caller,
        tenant: TenantId,
        name: TokenName,
        last: LastToken,
    ) -> Result<(), TokenError> {
        let _turn = self.changing.lock().await;
        self.check_again(caller)?;
        let mut left = self.all();
        let place = left.iter().position(|token| token.tenant == tenant && token.name == name);
        let Some(place) = place else { return Err(TokenError::Unknown(name)) };
        let gone = left.remove(place);
        if !left.is_empty() || last == LastToken::Kept {
            self.check_door(&left, false)?;
        }
        Ok(self.store.commit(vec![Change::remove(&gone)]).await?)
    }

    fn check_door(&self, tokens: &[Token], is_first: bool) -> Result<(), BadTokens> {
        match self.secret {
            Some(_) => Ok(()),
            None => check_tokens(tokens, is_first),
        }
    }

    fn all(&self) -> Vec<Token> {
        self.by_digest.read().values().cloned().collect()
    }
}

/// Somebody whom the host has let in for one request: the warrant of what is done for it.
pub struct CallerWarrant {
    tokens: Arc<Tokens>,
    caller: Caller,
    has_acted: AtomicBool,
}

impl CallerWarrant {
    /// A caller who has just been let in.
    pub fn new(tokens: Arc<Tokens>, caller: Caller) -> Self {
        Self { tokens, caller, has_acted: AtomicBool::new(false) }
    }

    /// Whether he would be let in again.
    pub fn check(&self) -> Result<(), NotAdmitted> {
        self.tokens.check_again(&self.caller)
    }

    /// Waits until he would not be let in again.
    pub async fn lost(&self) {
        self.tokens.lost(&self.caller).await;
    }

    /// Whether anything was written for him. What was done is told to him, even if it is the last thing that he hears.
    pub fn has_acted(&self) -> bool {
        self.has_acted.load(Ordering::Relaxed)
    }
}

impl Warrant for CallerWarrant {
    fn check(&self) -> Result<(), Arc<str>> {
        self.check().map_err(|error| Arc::from(error.to_string()))?;
        self.has_acted.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// The warrant at addresses that are open to everybody: nothing is written there.
pub struct NoWarrant;

impl Warrant for NoWarrant {
    fn check(&self) -> Result<(), Arc<str>> {
        Err(Arc::from("nothing is changed at an address that needs no token"))
    }
}

/// A change of tokens runs apart from whoever asked for it: were it dropped on its way to the store, the next one would count
/// on what it leaves without seeing it.
async fn to_the_end<T>(change: JoinHandle<Result<T, TokenError>>) -> Result<T, TokenError> {
    let gone = |_| Err(CommitError::Failed(Arc::from("the host is going down")).into());
    change.await.unwrap_or_else(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimulatedClock;
    use crate::store::News;
    use crate::store::memory::MemoryStore;

    fn tokens() -> (Arc<Tokens>, Arc<MemoryStore>) {
        let store = Arc::new(MemoryStore::new());
        let shared: Arc<dyn Store> = Arc::<MemoryStore>::clone(&store);
        let clock = Arc::new(SimulatedClock::at(Timestamp::default()));
        let tokens = Arc::new(Tokens::open(shared, clock, None).expect("the store is empty"));
        let hearing = Arc::clone(&tokens);
        store.feed(Arc::new(move |news: News<'_>| {
            if let News::Committed(changes) = news {
                hearing.committed(changes);
            }
        }));
        (tokens, store)
    }

    fn admin(name: &str) -> NewToken {
        NewToken {
            tenant: TenantId::DEFAULT,
            name: TokenName::new(name).expect("a name"),
            digest: Digest::of(name),
            rights: Rights::ALL,
            expires_on: None,
            by: "a test".to_owned(),
        }
    }

    #[tokio::test]
    async fn whoever_goes_away_leaves_nothing_half_done() {
        let (tokens, store) = tokens();
        let first = tokens.create(Caller::ANYBODY, admin("first")).await.expect("it is the first");
        let asking = first.caller();
        // Both are asked for, and nobody waits for either; one at least has to stay.
        for name in ["second", "third"] {
            drop(tokens.create(asking.clone(), admin(name)).await.expect("there is none of the name"));
        }
        for name in ["first", "second", "third"] {
            let name = TokenName::new(name).expect("a name");
            let mut revoking = Box::pin(tokens.revoke(asking.clone(), TenantId::DEFAULT, name, LastToken::Kept));
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(revoking.as_mut().poll(cx).is_ready())).await;
            assert!(!polled, "it has just been asked for");
        }
        // Their turns come in order, and this one's is behind them.
        let fourth = tokens.create(asking, admin("fourth")).await;
        assert_eq!(fourth, Err(NotAdmitted::Unknown.into()), "who asks has revoked himself");
        let mut kept = store.tokens().expect("it reads");
        kept.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(tokens.list(TenantId::DEFAULT), kept, "the host knows what its store has");
        assert_eq!(kept.len(), 2, "who had lost his token revoked no other");
    }
}
