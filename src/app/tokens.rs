//! The tokens of a host: who has one, and making and revoking them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::domain::access::{BadTokens, Caller, Rights, Token, check_tokens};
use crate::domain::change::Change;
use crate::domain::id::{Digest, TenantId, TokenName};
use crate::domain::time::Timestamp;
use crate::store::{CommitError, ReadError, Store};

/// The most tokens of a host: they are in memory.
const TOKENS_MAX: usize = 10_000;

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
            match change {
                Change::PutToken(token) => drop(self.by_digest.write().insert(token.digest, (**token).clone())),
                Change::RemoveToken { tenant, name } => {
                    self.by_digest.write().retain(|_, token| token.tenant != *tenant || token.name != *name);
                }
                _ => continue,
            }
            self.changed.send_replace(());
        }
    }

    /// Tells of each change of the tokens. Whoever serves a caller for long asks then whether he is still admitted.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
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
            None => Err(NotAdmitted::Unknown),
        }
    }

    /// Makes a token for somebody who may.
    pub async fn create(&self, caller: &Caller, new: NewToken) -> Result<Token, TokenError> {
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
        self.store.commit(vec![Change::PutToken(Box::new(token.clone()))]).await?;
        Ok(token)
    }

    /// Takes a token back, for somebody who may: from now on it opens nothing.
    pub async fn revoke(
        &self,
        caller: &Caller,
        tenant: TenantId,
        name: &TokenName,
        last: LastToken,
    ) -> Result<(), TokenError> {
        let _turn = self.changing.lock().await;
        self.check_again(caller)?;
        let mut left = self.all();
        let before = left.len();
        left.retain(|token| token.tenant != tenant || token.name != *name);
        if left.len() == before {
            return Err(TokenError::Unknown(name.clone()));
        }
        if !left.is_empty() || last == LastToken::Kept {
            self.check_door(&left, false)?;
        }
        Ok(self.store.commit(vec![Change::RemoveToken { tenant, name: name.clone() }]).await?)
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
