//! What the settings mean for the registry.

use std::sync::Arc;

use super::{PluginSettings, Settings};
use crate::domain::admission::{AdmissionPolicy, StartLimits};
use crate::domain::batch;
use crate::domain::breaker::BreakerPolicy;
use crate::domain::plugin::Policy;
use crate::registry::Policies;

impl Settings {
    /// The policies of all plug-ins, named here or not.
    pub fn policies(&self) -> Policies {
        let default = Policy {
            limits: self.limits.clone(),
            retry: self.retry.clone(),
            retention: self.retention,
            stated: Arc::clone(&self.stated),
            ..Policy::default()
        };
        let of_batches = Policy { retention: self.batch_retention.over(self.retention), ..default.clone() };
        let named = self.plugins.iter().map(|plugin| (plugin.name.to_string(), plugin.policy()));
        let by_plugin = named.chain([(batch::PLUGIN.to_owned(), of_batches)]).collect();
        Policies { default, by_plugin }
    }
}

impl Settings {
    /// What may start, by queue and by plug-in.
    pub fn admission(&self) -> AdmissionPolicy {
        let limited = self.plugins.iter().filter(|plugin| plugin.starts != StartLimits::default());
        AdmissionPolicy {
            queues: self.queues.0.clone(),
            plugins: limited.map(|plugin| (plugin.name.clone(), plugin.starts.clone())).collect(),
            per_key: self.plugins.iter().filter_map(|plugin| Some((plugin.name.clone(), plugin.per_key?))).collect(),
            breaker: self.worker.breaker.then(BreakerPolicy::default),
        }
    }
}

impl PluginSettings {
    fn policy(&self) -> Policy {
        Policy {
            limits: self.limits.clone(),
            retry: self.retry.clone(),
            retention: self.retention,
            grants: self.grants.iter().cloned().collect(),
            config: self.config.clone(),
            stated: Arc::clone(&self.stated),
        }
    }
}
