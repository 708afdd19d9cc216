//! Installed plug-ins: which version serves which job, what its policy is, and how versions come and go.

mod builtin;
mod grants;
mod install;
mod returned;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use self::builtin::{batch_runnable, http_runnable};
use crate::clock::Clock;
use crate::domain::advice::{self, Advice, Sides};
use crate::domain::batch;
use crate::domain::change::Change;
use crate::domain::code;
use crate::domain::id::{Digest, HandlerName, PluginName, TenantId, VersionName};
use crate::domain::limits::{Axis, Limits};
use crate::domain::outbound::{BadRequest, Origin, http_plugin, is_built_in};
use crate::domain::plugin::{Absence, Grant, Plugin, PluginVersion, Policy, Shape};
use crate::resources::blocking;
use crate::sandbox::{Rejection, Sandbox};
use crate::store::warrant::carried;
use crate::store::{ReadError, Store};

pub use grants::{BadGrant, GRANTS_MAX, Granting};
pub use install::{InstallError, Removal, Upload, Uploaded, VERSIONS_MAX};

/// What the operator has set, for all plug-ins and for single ones.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// For plug-ins that have none of their own.
    pub default: Policy,
    /// For single plug-ins, by name.
    pub by_plugin: BTreeMap<String, Policy>,
}

impl Policies {
    /// That of a plug-in.
    pub fn of(&self, plugin: &PluginName) -> &Policy {
        self.by_plugin.get(plugin.as_str()).unwrap_or(&self.default)
    }

    /// With what the host keeps of the plug-in itself.
    fn with(&self, plugin: &Plugin) -> Policy {
        self.of(&plugin.name).with(&plugin.grants)
    }
}

/// Why a job does not fit the plug-ins there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There is no such plug-in.
    #[error("there is no plug-in `{name}`{}", did_you_mean(nearest))]
    UnknownPlugin {
        /// The name that was given.
        name: PluginName,
        /// The nearest name there is.
        nearest: Option<String>,
    },
    /// The plug-in has no such handler.
    #[error("plug-in `{plugin}` has no handler `{name}`; it has {}", there.join(", "))]
    UnknownHandler {
        /// The plug-in.
        plugin: PluginName,
        /// The name that was given.
        name: HandlerName,
        /// The handlers there are.
        there: Vec<String>,
    },
    /// The plug-in has no such version.
    #[error("plug-in `{plugin}` has no version `{version}`; it has {}", there.join(", "))]
    UnknownVersion {
        /// The plug-in.
        plugin: PluginName,
        /// The version that was given.
        version: VersionName,
        /// The versions there are.
        there: Vec<String>,
    },
    /// Only a command takes arguments and variables.
    #[error("plug-in `{plugin}` is a handler and takes no {field}: only a command does")]
    NoCommand {
        /// The plug-in.
        plugin: PluginName,
        /// What was given: `args` or `env`.
        field: &'static str,
    },
    /// The input is larger than the plug-in's limit.
    #[error("the input has {bytes} bytes; plug-in `{plugin}` takes at most {limit}")]
    InputTooLarge {
        /// The plug-in.
        plugin: PluginName,
        /// Bytes given.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
        /// What allows more.
        advice: Box<Advice>,
    },
    /// The name is that of a handler which the host plays itself.
    #[error("`{name}` is built into the host: it can be paused, and is not uploaded, switched or removed")]
    BuiltIn {
        /// The name.
        name: PluginName,
    },
    /// The input is not what the handler `http` takes.
    #[error(transparent)]
    BadCall(#[from] BadRequest),
    /// The handler `http` may not call that origin.
    #[error("{} is not granted to `http`", origin.as_grant())]
    NotGranted {
        /// Where the call would go.
        origin: Origin,
        /// What allows it.
        advice: Box<Advice>,
    },
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// What a claimed job finds.
#[derive(Clone, Debug)]
pub enum Resolution {
    /// A version to run, and under what policy.
    Run(Arc<Runnable>),
    /// The plug-in is disabled (T04).
    Disabled,
    /// The plug-in, the version that the job asks for, or any active version is missing (T05).
    Missing(Absence),
}

/// A version with everything that a run of it shares with the next.
#[derive(Clone, Debug)]
pub struct Runnable {
    /// The version.
    pub version: Arc<PluginVersion>,
    /// The operator's policy.
    pub policy: Arc<Policy>,
    /// The limits: the operator's, lowered where the author wishes less.
    pub limits: Arc<Limits>,
    /// What it may do.
    pub grants: Arc<BTreeSet<Grant>>,
    /// What `wasi:config/store` answers.
    pub config: Arc<Vec<(String, String)>>,
}

struct Entry {
    plugin: Arc<Plugin>,
    runnable: Option<Arc<Runnable>>,
}

/// The plug-ins of this host, in memory, and the way to change them.
pub struct Registry {
    store: Arc<dyn Store>,
    sandbox: Arc<dyn Sandbox>,
    clock: Arc<dyn Clock>,
    policies: Policies,
    /// The handler `http`, where a tenant has granted it nothing of its own.
    http: Arc<Runnable>,
    /// What ends batches.
    batch: Arc<Runnable>,
    entries: RwLock<HashMap<(TenantId, PluginName), Entry>>,
    changing: tokio::sync::Mutex<()>,
    /// The plug-ins that have come, or changed, and may have jobs that wait for them.
    returned: Mutex<BTreeSet<(TenantId, PluginName)>>,
    /// The components of which the log has said that they cannot be run.
    warned: Mutex<HashSet<Digest>>,
}

impl Registry {
    /// Loads what the store knows.
    pub fn open(
        store: Arc<dyn Store>,
        sandbox: Arc<dyn Sandbox>,
        clock: Arc<dyn Clock>,
        policies: Policies,
    ) -> Result<Self, ReadError> {
        let plugins = store.plugins()?;
        let http = Arc::new(http_runnable(policies.of(&http_plugin())));
        let registry = Self {
            store,
            sandbox,
            clock,
            policies,
            http,
            batch: Arc::new(batch_runnable()),
            entries: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            returned: Mutex::default(),
            warned: Mutex::default(),
        };
        let versions = plugins.iter().flat_map(|plugin| &plugin.versions);
        registry.sandbox.keep_only(&versions.map(|version| version.inspection.digest).collect());
        plugins.into_iter().for_each(|plugin| registry.remember(plugin));
        Ok(registry)
    }

    /// Every plug-in of a tenant that was uploaded, by name.
    pub fn list(&self, tenant: TenantId) -> Vec<Arc<Plugin>> {
        self.those(|plugin| plugin.tenant == tenant && !is_built_in(&plugin.name))
    }

    /// The plug-ins that are paused now, of every tenant, by name.
    pub fn paused(&self) -> Vec<Arc<Plugin>> {
        let now = self.clock.now();
        self.those(|plugin| plugin.pause.as_ref().is_some_and(|pause| pause.holds(now)))
    }

    /// The plug-ins of which that is true, by name.
    fn those(&self, is_wanted: impl Fn(&Plugin) -> bool) -> Vec<Arc<Plugin>> {
        let entries = self.entries.read();
        let wanted = entries.values().map(|entry| &entry.plugin).filter(|plugin| is_wanted(plugin));
        let mut plugins: Vec<_> = wanted.cloned().collect();
        plugins.sort_by(|a, b| a.name.cmp(&b.name));
        plugins
    }

    /// One plug-in.
    pub fn get(&self, tenant: TenantId, name: &PluginName) -> Result<Arc<Plugin>, Unfit> {
        if is_built_in(name) {
            return Err(Unfit::BuiltIn { name: name.clone() });
        }
        self.stored(tenant, name).ok_or_else(|| self.unknown(tenant, name))
    }

    /// One plug-in to look at, or what is to be said of a built-in handler.
    pub fn look_at(&self, tenant: TenantId, name: &PluginName) -> Result<Arc<Plugin>, Unfit> {
        match is_built_in(name) {
            true => Ok(self.built_in(tenant, name)),
            false => self.get(tenant, name),
        }
    }

    /// That it is paused is all that is kept of a built-in handler.
    fn built_in(&self, tenant: TenantId, name: &PluginName) -> Arc<Plugin> {
        self.stored(tenant, name).unwrap_or_else(|| Arc::new(Plugin::new(tenant, name.clone())))
    }

    /// What the store has of a plug-in, or of a built-in handler that was paused once.
    fn stored(&self, tenant: TenantId, name: &PluginName) -> Option<Arc<Plugin>> {
        self.entries.read().get(&(tenant, name.clone())).map(|entry| Arc::clone(&entry.plugin))
    }

    fn unknown(&self, tenant: TenantId, name: &PluginName) -> Unfit {
        Unfit::UnknownPlugin { name: name.clone(), nearest: self.nearest(tenant, name) }
    }

    /// The operator's policy for a plug-in, installed or not.
    pub fn policy(&self, tenant: TenantId, name: &PluginName) -> Arc<Policy> {
        if let Some(runnable) = self.runnable(tenant, name) {
            return Arc::clone(&runnable.policy);
        }
        let plugin = self.stored(tenant, name);
        Arc::new(plugin.map_or_else(|| self.policies.of(name).clone(), |plugin| self.policies.with(&plugin)))
    }

    /// The version that a job of this plug-in would run, granted or not.
    fn meant(&self, tenant: TenantId, name: &PluginName, version: Option<&VersionName>) -> Option<PluginVersion> {
        if is_built_in(name) {
            return Some((*self.http(tenant).version).clone());
        }
        let plugin = self.stored(tenant, name)?;
        let meant = match version {
            Some(version) => plugin.version(version),
            None => plugin.active_version().or_else(|| plugin.versions.last()),
        };
        meant.cloned()
    }

    /// The limits of a job of this plug-in: the operator's, lowered where the author wishes less.
    pub fn limits(&self, tenant: TenantId, name: &PluginName, version: Option<&VersionName>) -> Limits {
        let policy = self.policy(tenant, name);
        match self.meant(tenant, name, version) {
            Some(version) => version.wishes.lower(&policy.limits),
            None => policy.limits.clone(),
        }
    }

    /// What allows jobs of this plug-in at least `needed` of an axis.
    pub fn allow_more(
        &self,
        tenant: TenantId,
        name: &PluginName,
        version: Option<&VersionName>,
        axis: Axis,
        needed: u64,
    ) -> Advice {
        let policy = self.policy(tenant, name);
        let version = self.meant(tenant, name, version);
        let more = |version| advice::allow_more(Sides::of(name, version, &policy), axis, needed);
        version.as_ref().map(more).unwrap_or_default()
    }

    /// Checks that a job can be meant for a plug-in, and returns the handler that it will run.
    pub fn check_fit(
        &self,
        tenant: TenantId,
        name: &PluginName,
        version: Option<&VersionName>,
        handler: Option<&HandlerName>,
        input_bytes: u64,
    ) -> Result<HandlerName, Unfit> {
        if is_built_in(name) {
            return self.check_fit_of_http(tenant, version, handler, input_bytes);
        }
        let entries = self.entries.read();
        let Some(entry) = entries.get(&(tenant, name.clone())) else {
            drop(entries);
            return Err(self.unknown(tenant, name));
        };
        let active = entry.plugin.active_version().or_else(|| entry.plugin.versions.last());
        let policy = || match &entry.runnable {
            Some(runnable) => Arc::clone(&runnable.policy),
            None => Arc::new(self.policies.with(&entry.plugin)),
        };
        let limit = match &entry.runnable {
            Some(runnable) => runnable.limits.input_bytes,
            None => self.policies.of(name).limits.input_bytes,
        };
        if input_bytes > limit {
            return Err(input_too_large(name, active, &policy(), input_bytes, limit));
        }
        let version = match version {
            Some(version) => Some(entry.plugin.version(version).ok_or_else(|| Unfit::UnknownVersion {
                plugin: name.clone(),
                version: version.clone(),
                there: entry.plugin.versions.iter().map(|there| there.version.to_string()).collect(),
            })?),
            None => active,
        };
        choose_handler(name, handler, version)
    }

    /// Checks that a plug-in takes what was given as `field`, which would reach nothing but a command.
    pub fn check_command(
        &self,
        tenant: TenantId,
        name: &PluginName,
        version: Option<&VersionName>,
        field: &'static str,
    ) -> Result<(), Unfit> {
        let plugin = self.get(tenant, name)?;
        match shape_of(&plugin, version) == Some(Shape::Handler) {
            true => Err(Unfit::NoCommand { plugin: name.clone(), field }),
            false => Ok(()),
        }
    }

    /// Whether what a job of this plug-in would run is a command: it reads text, where a handler reads JSON.
    pub fn is_command(&self, tenant: TenantId, name: &PluginName, version: Option<&VersionName>) -> bool {
        let entries = self.entries.read();
        let entry = entries.get(&(tenant, name.clone()));
        entry.is_some_and(|entry| shape_of(&entry.plugin, version) == Some(Shape::Command))
    }

    /// What a claimed job of this plug-in finds now: the version that it asks for, or the active one. Of a built-in handler
    /// there is one only, whatever release the job was submitted to.
    pub fn resolve(&self, tenant: TenantId, name: &PluginName, version: Option<&VersionName>) -> Resolution {
        if is_built_in(name) {
            return Resolution::Run(self.http(tenant));
        }
        if name.as_str() == batch::PLUGIN {
            return Resolution::Run(Arc::clone(&self.batch));
        }
        let entries = self.entries.read();
        let Some(entry) = entries.get(&(tenant, name.clone())) else {
            return Resolution::Missing(Absence::NotThere);
        };
        if entry.plugin.disabled {
            return Resolution::Disabled;
        }
        let active = entry.runnable.as_ref();
        let chosen = match version {
            Some(version) if active.is_none_or(|active| active.version.version != *version) => {
                self.runnable_version(&entry.plugin, version)
            }
            _ => active.cloned(),
        };
        chosen.map_or_else(|| Resolution::Missing(self.absence(&entry.plugin, version)), Resolution::Run)
    }

    /// Why no version serves a job: the one that it asks for, or the newest where none is active, may wait for grants.
    fn absence(&self, plugin: &Plugin, version: Option<&VersionName>) -> Absence {
        let wanted = match version {
            Some(version) => plugin.version(version),
            None => plugin.versions.last(),
        };
        let Some(wanted) = wanted else { return Absence::NotThere };
        let policy = self.policies.with(plugin);
        let missing = policy.missing_grants(&wanted.wishes);
        if missing.is_empty() {
            return Absence::NotThere;
        }
        let sides = Sides::of(&plugin.name, wanted, &policy);
        let advice = advice::grant(sides, &missing).to_string();
        Absence::NotGranted { version: wanted.version.clone(), missing, advice }
    }

    /// A version other than the active one; none when it is missing or asks for what is not granted.
    fn runnable_version(&self, plugin: &Plugin, version: &VersionName) -> Option<Arc<Runnable>> {
        let version = plugin.version(version)?;
        let policy = self.policies.with(plugin);
        let is_granted = policy.missing_grants(&version.wishes).is_empty();
        is_granted.then(|| Arc::new(runnable_under(policy, version)))
    }

    /// Takes note of a commit: plug-ins come, change and go by what the store says, whoever made the change.
    pub fn committed(&self, changes: &[Change]) {
        for change in changes {
            if let Some(plugin) = change.row::<Plugin>() {
                self.remember(plugin.clone());
            } else if let Some(gone) = change.removed::<Plugin>().and_then(Plugin::named_by) {
                self.entries.write().remove(&gone);
            }
        }
    }

    /// Makes a version ready to run; cheap when it is.
    pub async fn prepare(&self, version: &PluginVersion) -> Result<(), PrepareError> {
        if self.sandbox.is_ready(version) {
            return Ok(());
        }
        self.load(version).await.inspect_err(|error| {
            if !error.is_passing() {
                self.warn_once(version, error);
            }
        })
    }

    async fn load(&self, version: &PluginVersion) -> Result<(), PrepareError> {
        let store = Arc::clone(&self.store);
        let digest = version.inspection.digest;
        let read = blocking(carried(move || store.blob(digest))).await;
        let component = read.map_err(|error| PrepareError::Host(error.to_string()))??;
        let component = component.ok_or_else(|| ReadError::Damaged(format!("component {digest} is missing")))?;
        Ok(self.sandbox.prepare(version, component).await?)
    }

    /// Says in the log that a component cannot be made ready. Once for each: its jobs are tried again and again.
    fn warn_once(&self, version: &PluginVersion, error: &PrepareError) {
        let (digest, version) = (version.inspection.digest, &version.version);
        if self.warned.lock().insert(digest) {
            let next = "upload the same file again under a new version, or restore the last backup";
            tracing::warn!(%digest, %version, %error, next, "a stored component cannot be run; its jobs are tried again");
        }
    }

    fn runnable(&self, tenant: TenantId, name: &PluginName) -> Option<Arc<Runnable>> {
        if is_built_in(name) {
            return Some(self.http(tenant));
        }
        self.entries.read().get(&(tenant, name.clone()))?.runnable.clone()
    }

    /// The handler `http` with what it may call.
    fn http(&self, tenant: TenantId) -> Arc<Runnable> {
        let entries = self.entries.read();
        let own = entries.get(&(tenant, http_plugin())).and_then(|entry| entry.runnable.clone());
        own.unwrap_or_else(|| Arc::clone(&self.http))
    }

    fn remember(&self, plugin: Plugin) {
        let runnable = match is_built_in(&plugin.name) {
            true => Some(http_runnable(&self.policies.with(&plugin))),
            false => plugin.active_version().map(|version| runnable_under(self.policies.with(&plugin), version)),
        };
        let key = (plugin.tenant, plugin.name.clone());
        let can_run = runnable.is_some() && !plugin.disabled;
        let entry = Entry { plugin: Arc::new(plugin), runnable: runnable.map(Arc::new) };
        self.entries.write().insert(key.clone(), entry);
        if can_run {
            self.returned.lock().insert(key);
        }
    }

    fn nearest(&self, tenant: TenantId, name: &PluginName) -> Option<String> {
        let entries = self.entries.read();
        let names = entries.keys().filter(|(owner, _)| *owner == tenant).map(|(_, name)| name.as_str());
        nearest_name(name.as_str(), names).map(str::to_owned)
    }
}

fn runnable_under(policy: Policy, version: &PluginVersion) -> Runnable {
    let grants = policy.grants_of(&version.wishes);
    let granted = policy.config.iter().filter(|(key, _)| grants.contains(&Grant::Config(key.clone())));
    Runnable {
        version: Arc::new(version.clone()),
        limits: Arc::new(version.wishes.lower(&policy.limits)),
        config: Arc::new(granted.cloned().collect()),
        grants: Arc::new(grants),
        policy: Arc::new(policy),
    }
}

fn input_too_large(
    name: &PluginName,
    version: Option<&PluginVersion>,
    policy: &Policy,
    bytes: u64,
    limit: u64,
) -> Unfit {
    let more = |version| advice::allow_more(Sides::of(name, version, policy), Axis::Input, bytes);
    let advice = Box::new(version.map(more).unwrap_or_default());
    Unfit::InputTooLarge { plugin: name.clone(), bytes, limit, advice }
}

/// Why a version cannot be made ready.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PrepareError {
    /// Its bytes cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The sandbox does not take it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The host itself is in trouble.
    #[error("the host could not read the component: {0}")]
    Host(String),
}

impl PrepareError {
    /// Whether it may be made ready in a moment, when the host has more of what was wanted.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Read(error) => error.is_passing(),
            Self::Rejected(rejection) => rejection.code == code::SHORT_OF_RESOURCES,
            Self::Host(_) => false,
        }
    }
}

/// The shape of the version that a job would run: the one that it asks for, the active one, or else the newest.
fn shape_of(plugin: &Plugin, version: Option<&VersionName>) -> Option<Shape> {
    let chosen = match version {
        Some(version) => plugin.version(version),
        None => plugin.active_version().or_else(|| plugin.versions.last()),
    };
    chosen.map(|version| version.inspection.shape)
}

/// The handler that a job runs: the one that it asks for, or the first there is.
fn choose_handler(
    plugin: &PluginName,
    asked: Option<&HandlerName>,
    version: Option<&PluginVersion>,
) -> Result<HandlerName, Unfit> {
    let default = HandlerName::default_handle;
    match (asked, version) {
        (None, version) => Ok(version.map_or_else(default, PluginVersion::first_handler)),
        (Some(asked), Some(version)) if version.has_handler(asked) => Ok(asked.clone()),
        (Some(asked), None) if *asked == default() => Ok(default()),
        (Some(asked), version) => {
            let there = version.map_or_else(|| vec![default()], PluginVersion::handlers);
            let there = there.iter().map(ToString::to_string).collect();
            Err(Unfit::UnknownHandler { plugin: plugin.clone(), name: asked.clone(), there })
        }
    }
}

/// The name that a typing mistake most likely meant: within a third of its length, by edits.
fn nearest_name<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.map(|name| (edits(given, name), name));
    let (distance, name) = near.min()?;
    (distance <= given.len().max(name.len()).div_ceil(3)).then_some(name)
}

/// The Levenshtein distance of two short names.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let substituted = row[j] + usize::from(from != *to);
            next.push(substituted.min(row[j + 1] + 1).min(next[j] + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
