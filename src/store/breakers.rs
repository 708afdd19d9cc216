//! The breakers of a store that are not closed. There are few of them, so they are in memory in every store.

use std::collections::BTreeMap;

use crate::domain::breaker::PluginBreaker;
use crate::domain::id::{PluginName, TenantId};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Breakers(BTreeMap<(TenantId, PluginName), PluginBreaker>);

impl Breakers {
    /// Nothing is kept of a closed one.
    pub(super) fn put(&mut self, breaker: &PluginBreaker) {
        let key = (breaker.tenant, breaker.plugin.clone());
        match breaker.breaker.is_degraded() {
            true => self.0.insert(key, breaker.clone()),
            false => self.0.remove(&key),
        };
    }

    pub(super) fn all(&self) -> Vec<PluginBreaker> {
        self.0.values().cloned().collect()
    }
}
