//! How versions come and go: upload, activate, roll back, enable, disable, remove.

use std::sync::Arc;

use bytes::Bytes;

use super::{BadGrant, Registry, Unfit};
use crate::domain::advice::{self, Advice, Sides};
use crate::domain::batch;
use crate::domain::breaker::PluginBreaker;
use crate::domain::change::Change;
use crate::domain::code;
use crate::domain::id::{HandlerName, PluginName, TenantId, VersionName};
use crate::domain::job::Status;
use crate::domain::outbound::is_built_in;
use crate::domain::plugin::{Grant, Plugin, PluginVersion, Policy, Source, Wishes};
use crate::domain::queue::Pause;
use crate::resources::blocking;
use crate::sandbox::Rejection;
use crate::store::warrant::carried;
use crate::store::{CommitError, ReadError};

/// How many versions a plug-in may have: its record, which holds them all, is written whole.
pub const VERSIONS_MAX: usize = 100;

/// A component on its way in.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The tenant.
    pub tenant: TenantId,
    /// The plug-in.
    pub name: PluginName,
    /// The version.
    pub version: VersionName,
    /// The component, or a core module that is a command.
    pub bytes: Bytes,
    /// What its manifest says.
    pub wishes: Wishes,
}

/// What became of an upload.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The plug-in as it is now.
    pub plugin: Arc<Plugin>,
    /// The version.
    pub version: PluginVersion,
    /// What must be granted before it can be activated; empty when it is active.
    pub missing: Vec<Grant>,
    /// Whether the same bytes were there under this version already.
    pub repeated: bool,
    /// Whether what its manifest says is new for bytes that were there.
    pub has_new_manifest: bool,
}

/// Why a plug-in did not change.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InstallError {
    /// The component is not acceptable.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// There is no such plug-in.
    #[error(transparent)]
    Unknown(#[from] Unfit),
    /// There is no such version.
    #[error("plug-in `{plugin}` has no version `{version}`; it has {}", there.join(", "))]
    UnknownVersion {
        /// The plug-in.
        plugin: PluginName,
        /// The version that was asked for.
        version: String,
        /// The versions there are.
        there: Vec<String>,
    },
    /// No version was active before the present one.
    #[error("plug-in `{plugin}` has no earlier version to go back to")]
    NoEarlierVersion {
        /// The plug-in.
        plugin: PluginName,
    },
    /// The version exists with other bytes.
    #[error("version {version} of `{plugin}` exists with other bytes (digest {stored}, this file has {given})")]
    VersionExists {
        /// The plug-in.
        plugin: PluginName,
        /// The version.
        version: VersionName,
        /// The digest that it is pinned to.
        stored: String,
        /// The digest of the upload.
        given: String,
    },
    /// The version asks for what is not granted.
    #[error("version {version} of `{plugin}` asks for what is not granted: {}", listed(missing))]
    NotGranted {
        /// The plug-in.
        plugin: PluginName,
        /// The version.
        version: VersionName,
        /// What must be granted.
        missing: Vec<Grant>,
        /// What grants it.
        advice: Box<Advice>,
    },
    /// The manifest names handlers that the component does not have.
    #[error("plugin.toml lists {} among its handlers; the component has {}", names(strange), names(own))]
    StrangeHandlers {
        /// Those that are not in the component.
        strange: Vec<HandlerName>,
        /// Those that are.
        own: Vec<HandlerName>,
    },
    /// What is to be granted or revoked cannot be.
    #[error(transparent)]
    Grant(#[from] BadGrant),
    /// Jobs that have not ended need it.
    #[error("plug-in `{plugin}` has {unfinished} jobs that have not ended")]
    InUse {
        /// The plug-in.
        plugin: PluginName,
        /// How many.
        unfinished: u64,
    },
    /// The store did not take it.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

fn listed(grants: &[Grant]) -> String {
    let words: Vec<_> = grants.iter().map(|grant| format!("{} \"{}\"", grant.kind(), grant.value())).collect();
    words.join(", ")
}

fn names(handlers: &[HandlerName]) -> String {
    let names: Vec<_> = handlers.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Whether jobs that have not ended keep a plug-in from being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// They do.
    Unused,
    /// They do not: they wait until it is uploaded again.
    Forced,
}

fn check_version_count(plugin: &Plugin) -> Result<(), Rejection> {
    if plugin.versions.len() < VERSIONS_MAX {
        return Ok(());
    }
    let name = &plugin.name;
    let message = format!("plug-in `{name}` has {VERSIONS_MAX} versions, which is as many as one may have");
    Err(Rejection {
        next: Some(format!("backroom plugin remove {name}")),
        ..Rejection::new(code::VERSION_LIMIT, message)
    })
}

impl Registry {
    /// Takes a component. It becomes the active version unless it asks for what is not granted.
    pub async fn upload(&self, upload: Upload) -> Result<Uploaded, InstallError> {
        if is_built_in(&upload.name) || upload.name.as_str() == batch::PLUGIN {
            return Err(Unfit::BuiltIn { name: upload.name }.into());
        }
        let admitted = self.sandbox.admit(upload.bytes).await?;
        let _turn = self.changing.lock().await;
        let stored = self.get(upload.tenant, &upload.name).ok();
        let policy = self.policy(upload.tenant, &upload.name);
        let missing = policy.missing_grants(&upload.wishes);
        let version = PluginVersion {
            version: upload.version,
            inspection: admitted.inspection,
            wishes: upload.wishes,
            uploaded_on: self.clock.now(),
            is_pending: !missing.is_empty(),
        };
        check_handlers(&version)?;
        if let Some(plugin) = &stored
            && let Some(there) = plugin.version(&version.version)
        {
            return self.repeated_upload(plugin, there, version, &policy).await;
        }
        if let Some(plugin) = &stored {
            check_version_count(plugin)?;
        }
        let store = Arc::clone(&self.store);
        let kept = blocking(carried(move || {
            store.check_room()?;
            store.put_blob(admitted.component)
        }));
        let kept = kept.await;
        kept.map_err(|error| CommitError::Failed(error.to_string().into()))??;
        let mut plugin = stored.map_or_else(|| Plugin::new(upload.tenant, upload.name), |plugin| (*plugin).clone());
        plugin.versions.push(version.clone());
        if missing.is_empty() {
            activate_in(&mut plugin, &version.version);
        }
        let plugin = self.write(plugin).await?;
        Ok(Uploaded { plugin, version, missing, repeated: false, has_new_manifest: false })
    }

    /// Makes a version the one that jobs run.
    pub async fn activate(
        &self,
        tenant: TenantId,
        name: &PluginName,
        version: &VersionName,
    ) -> Result<Arc<Plugin>, InstallError> {
        let _turn = self.changing.lock().await;
        let mut plugin = (*self.get(tenant, name)?).clone();
        let Some(chosen) = plugin.version(version) else { return Err(unknown_version(&plugin, version.as_str())) };
        let policy = self.policy(tenant, name);
        let missing = policy.missing_grants(&chosen.wishes);
        if !missing.is_empty() {
            let sides = Sides::of(name, chosen, &policy);
            let advice = Box::new(advice::grant(sides, &missing));
            return Err(InstallError::NotGranted { plugin: name.clone(), version: version.clone(), missing, advice });
        }
        activate_in(&mut plugin, version);
        self.write(plugin).await
    }

    /// Goes back to the version that was active before.
    pub async fn rollback(&self, tenant: TenantId, name: &PluginName) -> Result<Arc<Plugin>, InstallError> {
        let plugin = self.get(tenant, name)?;
        let Some(previous) = plugin.previous.clone() else {
            return Err(InstallError::NoEarlierVersion { plugin: name.clone() });
        };
        self.activate(tenant, name, &previous).await
    }

    /// Lets the plug-in's jobs run again.
    pub async fn enable(&self, tenant: TenantId, name: &PluginName) -> Result<Arc<Plugin>, InstallError> {
        let _turn = self.changing.lock().await;
        let mut plugin = (*self.get(tenant, name)?).clone();
        plugin.disabled = false;
        self.write(plugin).await
    }

    /// Cancels the plug-in's queued jobs when they are claimed (T04).
    pub async fn disable(&self, tenant: TenantId, name: &PluginName) -> Result<Arc<Plugin>, InstallError> {
        let _turn = self.changing.lock().await;
        let mut plugin = (*self.get(tenant, name)?).clone();
        plugin.disabled = true;
        self.write(plugin).await
    }

    /// Starts no job of the plug-in, or of the built-in handler `http`, while the pause holds; fails and cancels nothing (F105).
    pub async fn pause(&self, tenant: TenantId, name: &PluginName, pause: Pause) -> Result<Arc<Plugin>, InstallError> {
        let unless_as_before = |before: Option<&Pause>| {
            let is_as_before = before.is_some_and(|before| before.is_as(&pause));
            (!is_as_before).then(|| pause.clone())
        };
        self.pause_as(tenant, name, unless_as_before).await
    }

    /// The same with what `decide` makes of the present pause; where it makes nothing of it, that stays.
    pub async fn pause_as(
        &self,
        tenant: TenantId,
        name: &PluginName,
        decide: impl FnOnce(Option<&Pause>) -> Option<Pause>,
    ) -> Result<Arc<Plugin>, InstallError> {
        let _turn = self.changing.lock().await;
        let plugin = self.look_at(tenant, name)?;
        match decide(plugin.pause.as_ref()) {
            None => Ok(plugin),
            Some(pause) => self.write(Plugin { pause: Some(pause), ..(*plugin).clone() }).await,
        }
    }

    /// Lets the jobs of a paused plug-in start again, and those of one that is slowed down because it keeps failing.
    pub async fn resume(&self, tenant: TenantId, name: &PluginName) -> Result<Arc<Plugin>, InstallError> {
        let _turn = self.changing.lock().await;
        let plugin = self.look_at(tenant, name)?;
        let new_chance = Change::put(PluginBreaker::closed(tenant, name.clone()));
        if plugin.pause.is_some() {
            return self.write_with(Plugin { pause: None, ..(*plugin).clone() }, Some(new_chance)).await;
        }
        self.store.commit(vec![new_chance]).await?;
        Ok(plugin)
    }

    /// Removes a plug-in with all its versions.
    pub async fn remove(&self, tenant: TenantId, name: &PluginName, removal: Removal) -> Result<(), InstallError> {
        let _turn = self.changing.lock().await;
        let plugin = self.get(tenant, name)?;
        let unfinished = self.unfinished(tenant, name)?;
        if unfinished > 0 && removal == Removal::Unused {
            return Err(InstallError::InUse { plugin: name.clone(), unfinished });
        }
        let remove = Change::remove(&*plugin);
        let forget = Change::put(PluginBreaker::closed(tenant, name.clone()));
        Ok(self.store.commit(vec![remove, forget]).await?)
    }

    /// The same bytes again: what a new manifest says of them holds from now on, and a version that waited for a grant becomes
    /// active when it has it.
    async fn repeated_upload(
        &self,
        plugin: &Arc<Plugin>,
        there: &PluginVersion,
        given: PluginVersion,
        policy: &Policy,
    ) -> Result<Uploaded, InstallError> {
        if there.inspection.digest != given.inspection.digest {
            return Err(InstallError::VersionExists {
                plugin: plugin.name.clone(),
                version: given.version,
                stored: there.inspection.digest.to_string(),
                given: given.inspection.digest.to_string(),
            });
        }
        let wishes = if given.wishes.source == Source::Nobody { there.wishes.clone() } else { given.wishes };
        let missing = policy.missing_grants(&wishes);
        let is_active = plugin.active.as_ref() == Some(&there.version);
        let is_pending = !missing.is_empty() && !is_active;
        let version = PluginVersion { inspection: given.inspection, wishes, is_pending, ..there.clone() };
        check_handlers(&version)?;
        let mut changed = (**plugin).clone();
        if missing.is_empty() && (there.is_pending || plugin.active.is_none()) {
            activate_in(&mut changed, &version.version);
        }
        let has_new_manifest = version.wishes != there.wishes;
        changed
            .versions
            .iter_mut()
            .filter(|kept| kept.version == version.version)
            .for_each(|kept| *kept = version.clone());
        let plugin = if changed == **plugin { Arc::clone(plugin) } else { self.write(changed).await? };
        Ok(Uploaded { plugin, version, missing, repeated: true, has_new_manifest })
    }

    fn unfinished(&self, tenant: TenantId, name: &PluginName) -> Result<u64, ReadError> {
        let counts = self.store.counts(tenant)?;
        let of_plugin = counts.iter().find(|(plugin, _)| plugin == name);
        let count = |counts: &crate::domain::query::Counts| -> u64 {
            Status::unfinished().map(|status| counts.of(status)).sum()
        };
        Ok(of_plugin.map_or(0, |(_, counts)| count(counts)))
    }

    /// Writes a plug-in. The feed tells the registry of it before the commit is answered, and the scheduler releases the jobs
    /// that waited for it: a caller who goes away meanwhile leaves nothing behind.
    pub(super) async fn write(&self, plugin: Plugin) -> Result<Arc<Plugin>, InstallError> {
        let (tenant, name) = (plugin.tenant, plugin.name.clone());
        // Another version may have mended what failed.
        let is_another = self.stored(tenant, &name).is_none_or(|before| before.active != plugin.active);
        let new_chance = Change::put(PluginBreaker::closed(tenant, name));
        self.write_with(plugin, is_another.then_some(new_chance)).await
    }

    async fn write_with(&self, mut plugin: Plugin, more: Option<Change>) -> Result<Arc<Plugin>, InstallError> {
        plugin.revision += 1;
        let (tenant, name) = (plugin.tenant, plugin.name.clone());
        self.store.commit([Change::put(plugin)].into_iter().chain(more).collect()).await?;
        Ok(self.stored(tenant, &name).ok_or_else(|| self.unknown(tenant, &name))?)
    }
}

/// A component that names its handlers itself has those and no others, whatever its manifest lists.
fn check_handlers(version: &PluginVersion) -> Result<(), InstallError> {
    let strange = version.strange_handlers();
    match strange.is_empty() {
        true => Ok(()),
        false => {
            Err(InstallError::StrangeHandlers { strange, own: version.inspection.handlers.clone().unwrap_or_default() })
        }
    }
}

pub(super) fn activate_in(plugin: &mut Plugin, version: &VersionName) {
    if plugin.active.as_ref() != Some(version) {
        plugin.previous = plugin.active.replace(version.clone());
    }
    plugin.versions.iter_mut().filter(|kept| kept.version == *version).for_each(|kept| kept.is_pending = false);
}

fn unknown_version(plugin: &Plugin, version: &str) -> InstallError {
    InstallError::UnknownVersion {
        plugin: plugin.name.clone(),
        version: version.to_owned(),
        there: plugin.versions.iter().map(|there| there.version.to_string()).collect(),
    }
}
