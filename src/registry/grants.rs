//! What an administrator grants by a command: kept with the plug-in, in force at once, and taken back the same way.

use std::sync::Arc;

use super::Registry;
use super::install::{InstallError, activate_in};
use crate::domain::id::{PluginName, TenantId};
use crate::domain::plugin::{Grant, KeptGrant, Plugin};
use crate::store::CommitError;

/// How many grants the host keeps for one plug-in.
pub const GRANTS_MAX: usize = 256;

/// One capability to grant, with the value of a key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granting {
    /// What.
    pub grant: Grant,
    /// The value of a key.
    pub value: Option<String>,
}

/// Why nothing was granted or revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGrant {
    /// The settings grant it, so no command takes it back.
    #[error("{} \"{}\" is granted to `{plugin}` by {file}", grant.kind(), grant.value())]
    OfSettings {
        /// The plug-in.
        plugin: PluginName,
        /// What.
        grant: Grant,
        /// The file of the settings, and the lines where they are known.
        file: String,
    },
    /// The host keeps no such grant.
    #[error("{} \"{}\" is not granted to `{plugin}`", grant.kind(), grant.value())]
    NotThere {
        /// The plug-in.
        plugin: PluginName,
        /// What.
        grant: Grant,
    },
    /// There would be too many.
    #[error("`{plugin}` would have more than {GRANTS_MAX} grants of the host")]
    TooMany {
        /// The plug-in.
        plugin: PluginName,
    },
}

impl Registry {
    /// Grants a plug-in, or the built-in handler `http`, what it asks for. A version that waited for it becomes active.
    pub async fn grant(
        &self,
        tenant: TenantId,
        name: &PluginName,
        grants: Vec<Granting>,
        by: &str,
    ) -> Result<Arc<Plugin>, InstallError> {
        let _turn = self.changing.lock().await;
        let mut plugin = (*self.look_at(tenant, name)?).clone();
        let on = self.clock.now();
        for Granting { grant, value } in grants {
            plugin.grants.retain(|kept| kept.grant != grant);
            plugin.grants.push(KeptGrant { grant, value, by: by.to_owned(), on });
        }
        if plugin.grants.len() > GRANTS_MAX {
            return Err(BadGrant::TooMany { plugin: name.clone() }.into());
        }
        self.activate_covered(&mut plugin);
        self.write(plugin).await
    }

    /// Takes back what was granted by a command. Attempts that run keep what they have until they end.
    pub async fn revoke(
        &self,
        tenant: TenantId,
        name: &PluginName,
        grants: &[Grant],
    ) -> Result<Arc<Plugin>, InstallError> {
        let _turn = self.changing.lock().await;
        let mut plugin = (*self.look_at(tenant, name)?).clone();
        let settings = self.policies.of(name);
        for grant in grants {
            if settings.grants.contains(grant) {
                let file = settings.stated.place_of_grant(grant.kind(), grant.value());
                return Err(BadGrant::OfSettings { plugin: name.clone(), grant: grant.clone(), file }.into());
            }
            let before = plugin.grants.len();
            plugin.grants.retain(|kept| kept.grant != *grant);
            if plugin.grants.len() == before {
                return Err(BadGrant::NotThere { plugin: name.clone(), grant: grant.clone() }.into());
            }
        }
        self.write(plugin).await
    }

    /// Makes every version active that waited for what the settings grant by now.
    pub async fn activate_all_covered(&self) -> Result<(), CommitError> {
        let waiting = self.those(|plugin| plugin.versions.iter().any(|version| version.is_pending));
        for plugin in waiting {
            let _turn = self.changing.lock().await;
            let mut changed = (*plugin).clone();
            if self.activate_covered(&mut changed) {
                self.write(changed).await.map_err(as_commit_error)?;
            }
        }
        Ok(())
    }

    fn activate_covered(&self, plugin: &mut Plugin) -> bool {
        let covered = plugin.covered_version(&self.policies.with(plugin)).map(|version| version.version.clone());
        let Some(version) = covered else { return false };
        activate_in(plugin, &version);
        true
    }
}

fn as_commit_error(error: InstallError) -> CommitError {
    match error {
        InstallError::Commit(error) => error,
        error => CommitError::Failed(error.to_string().into()),
    }
}
