//! The tokens of a host: who has one, and making and revoking them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::clock::Clock;
use crate::domain::access::{Caller, LockedOut, Rights, Token, keeps_a_door};
use crate::domain::change::Change;
use crate::domain::id::{Digest, TenantId, TokenName};
use crate::domain::time::Timestamp;
use crate::store::{CommitError, ReadError, Store};

/// The most tokens of a host: they are in memory.
const TOKENS_MAX: usize = 10_000;

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Whose jobs and plug-ins it is about.
    pub tenant: TenantId,
    /// What its holder is called.
    pub name: TokenName,
    /// The SHA-256 of its secret.
    pub digest: Digest,
    /// What its holder may do.
    pub rights: Rights,
    /// It opens nothing from then on.
    pub expires_on: Option<Timestamp>,
    /// Who makes it.
    pub by: String,
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
    /// Nobody could get in any more.
    #[error(transparent)]
    LockedOut(#[from] LockedOut),
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
    by_digest: RwLock<HashMap<Digest, Token>>,
    /// Held while tokens are changed: what one change leaves must not be what another counts on.
    changing: tokio::sync::Mutex<()>,
}

impl Tokens {
    /// The tokens of a store.
    pub(super) fn open(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Result<Self, ReadError> {
        let by_digest = store.tokens()?.into_iter().map(|token| (token.digest, token)).collect();
        Ok(Self { store, clock, by_digest: RwLock::new(by_digest), changing: tokio::sync::Mutex::default() })
    }

    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        self.by_digest.read().is_empty()
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
        let tokens = self.by_digest.read();
        let token = tokens.get(digest).ok_or(NotAdmitted::Unknown)?;
        match token.expires_on.filter(|_| token.has_expired(self.clock.now())) {
            Some(on) => Err(NotAdmitted::Expired { name: token.name.clone(), on }),
            None => Ok(token.caller()),
        }
    }

    /// Whether a token still makes somebody the caller that he is.
    pub fn knows(&self, caller: &Caller) -> bool {
        let now = self.clock.now();
        self.by_digest.read().values().any(|token| token.caller() == *caller && !token.has_expired(now))
    }

    /// Makes a token. `has_secret`: whether the settings of the host hold one that opens everything.
    pub async fn create(&self, new: NewToken, has_secret: bool) -> Result<Token, TokenError> {
        let _turn = self.changing.lock().await;
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
        keeps_a_door(&tokens, has_secret, is_first)?;
        self.store.commit(vec![Change::PutToken(Box::new(token.clone()))]).await?;
        self.by_digest.write().insert(token.digest, token.clone());
        Ok(token)
    }

    /// Takes a token back: from now on it opens nothing. `has_secret` as for [`Self::create`].
    pub async fn revoke(&self, tenant: TenantId, name: &TokenName, has_secret: bool) -> Result<(), TokenError> {
        let _turn = self.changing.lock().await;
        let (gone, left): (Vec<_>, Vec<_>) =
            self.all().into_iter().partition(|token| token.tenant == tenant && token.name == *name);
        let [gone] = gone.as_slice() else { return Err(TokenError::Unknown(name.clone())) };
        keeps_a_door(&left, has_secret, false)?;
        self.store.commit(vec![Change::RemoveToken { tenant, name: name.clone() }]).await?;
        self.by_digest.write().remove(&gone.digest);
        Ok(())
    }

    fn all(&self) -> Vec<Token> {
        self.by_digest.read().values().cloned().collect()
    }
}
