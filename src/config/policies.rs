//! What the settings mean for the registry.

use super::{PluginSettings, Settings};
use crate::domain::admission::{AdmissionPolicy, StartLimits};
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
            ..Policy::default()
        };
        let by_plugin = self.plugins.iter().map(|plugin| (plugin.name.to_string(), plugin.policy())).collect();
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
        }
    }
}
