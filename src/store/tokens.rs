//! The tokens of a store, by tenant and name. There are few of them, so they are in memory in every store.

use std::collections::BTreeMap;

use crate::domain::access::Token;
use crate::domain::id::{TenantId, TokenName};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens(BTreeMap<(TenantId, TokenName), Token>);

impl Tokens {
    pub(super) fn put(&mut self, token: Token) {
        self.0.insert((token.tenant, token.name.clone()), token);
    }

    pub(super) fn remove(&mut self, tenant: TenantId, name: &TokenName) {
        self.0.remove(&(tenant, name.clone()));
    }

    pub(super) fn has(&self, tenant: TenantId, name: &TokenName) -> bool {
        self.0.contains_key(&(tenant, name.clone()))
    }

    pub(super) fn all(&self) -> Vec<Token> {
        self.0.values().cloned().collect()
    }
}
