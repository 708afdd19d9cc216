//! What the settings mean for the registry.

use super::{PluginSettings, Settings};
use crate::domain::plugin::Policy;
use crate::registry::Policies;

impl Settings {
    /// The policies of all plug-ins, named here or not.
    pub fn policies(&self) -> Policies {
        let default = Policy { limits: self.limits.clone(), retry: self.retry.clone(), ..Policy::default() };
        let by_plugin = self.plugins.iter().map(|plugin| (plugin.name.to_string(), plugin.policy())).collect();
        Policies { default, by_plugin }
    }
}

impl PluginSettings {
    fn policy(&self) -> Policy {
        Policy {
            limits: self.limits.clone(),
            retry: self.retry.clone(),
            grants: self.grants.iter().cloned().collect(),
            config: self.config.clone(),
        }
    }
}
