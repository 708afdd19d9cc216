//! Opens a host from its settings: the embedded store, the Wasm sandbox, and a runtime for guests.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::runtime::Runtime;

use crate::app::{Host, Parts};
use crate::clock::SystemClock;
use crate::config::{self, Loaded, Manifest, PluginSettings, Problem, Settings, manifest_beside, signing_keys};
use crate::domain::advice::{self, Sides};
use crate::domain::id::{Digest, TenantId};
use crate::registry::Upload;
use crate::sandbox::builtin::{BuiltinSandbox, HttpCaller};
use crate::sandbox::outbound::Connector;
use crate::sandbox::wasm::{CompileSettings, WasmSandbox, WasmSettings, imports};
use crate::store::sled::{SledSettings, SledStore};
use crate::worker::PoolSettings;

/// A host that runs, and what it stands on.
pub struct Opened {
    /// The host.
    pub host: Arc<Host>,
    /// What an operator should know, such as a machine that cannot reserve the instance pool.
    pub notices: Vec<String>,
    /// Dropped last: what stands above uses it.
    _guests: Guests,
}

impl Opened {
    /// Ends everything in order: see [`Host::shut_down`].
    pub async fn shut_down(self, grace: Duration) {
        self.host.shut_down(grace).await;
    }
}

/// The runtime of the guests. It ends without waiting for them, because an error may drop it on a thread that must not
/// wait.
struct Guests(Option<Runtime>);

impl Drop for Guests {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Opens a host. Must be called within a Tokio runtime, which everything but guests runs on.
pub async fn open(settings: &Settings) -> Result<Opened> {
    let store = open_store(settings).await?;
    let compile = CompileSettings::of_this_program().context("finding this program")?;
    let connector = match &settings.http.ca_file {
        Some(file) => Connector::with_authorities(file).context("reading `ca_file` under [http]")?,
        None => Connector::default(),
    };
    let wasm = WasmSettings {
        connector: connector.clone(),
        uploads: settings.uploads.limits.clone(),
        loaded_bytes: settings.uploads.loaded_bytes,
        stack_bytes: usize::try_from(settings.limits.stack_bytes).context("the stack does not fit this machine")?,
        ..WasmSettings::new(&settings.store.path, settings.worker.concurrency, compile)
    };
    let wasm = WasmSandbox::new(wasm).context("setting up the sandbox")?;
    let mut notices: Vec<_> = wasm.notice().map(str::to_owned).into_iter().collect();
    let http = HttpCaller::new(connector, signing_keys(&settings.http.sign)?, Arc::new(SystemClock));
    let sandbox = BuiltinSandbox::new(Arc::new(wasm), http);
    let runtime = guest_runtime()?;
    let guests = runtime.handle().clone();
    let _guests = Guests(Some(runtime));
    let parts = Parts {
        store: Arc::new(store),
        sandbox: Arc::new(sandbox),
        clock: Arc::new(SystemClock),
        policies: settings.policies(),
        admission: settings.admission(),
        pool: PoolSettings { ahead: settings.worker.ahead, ..PoolSettings::new(settings.worker.concurrency) },
        guests,
        secret: settings.server.token.as_ref().map(|token| Digest::of(token.reveal())),
        salt: RandomState::new().hash_one("the identities of this host's jobs"),
    };
    let host = Arc::new(Host::start(parts).await.context("starting the host")?);
    for plugin in &settings.plugins {
        if let Err(error) = install(&host, plugin).await {
            notices.push(format!("plug-in `{}` of the settings: {error:#}", plugin.name));
        }
    }
    notices.extend(settings.plugins.iter().flat_map(|plugin| granted_in_vain(&host, plugin)));
    Ok(Opened { host, notices, _guests })
}

/// Does what the settings say of a plug-in: uploads its component where they name one, switches it on or off.
async fn install(host: &Host, plugin: &PluginSettings) -> Result<()> {
    const TENANT: TenantId = TenantId::DEFAULT;
    if let Some(path) = &plugin.path {
        let uploaded = host.registry.upload(upload_of(plugin, path).await?).await?;
        if !uploaded.missing.is_empty() {
            let policy = host.registry.policy(TENANT, &plugin.name);
            let advice = advice::grant(Sides::of(&plugin.name, &uploaded.version, &policy), &uploaded.missing);
            bail!("version {} asks for what is not granted. To grant it:\n{advice}", uploaded.version.version);
        }
    }
    match plugin.enabled {
        Some(true) => host.registry.enable(TENANT, &plugin.name).await.map(drop)?,
        Some(false) => host.registry.disable(TENANT, &plugin.name).await.map(drop)?,
        None => {}
    }
    Ok(())
}

/// What is granted to a plug-in and none of its handlers can use.
fn granted_in_vain(host: &Host, plugin: &PluginSettings) -> Vec<String> {
    let Ok(there) = host.registry.get(TenantId::DEFAULT, &plugin.name) else { return Vec::new() };
    let policy = host.registry.policy(TenantId::DEFAULT, &plugin.name);
    advice::unused_by(&there, &policy).iter().map(ToString::to_string).collect()
}

/// What the host accepts of the settings and its operator can hardly mean.
pub fn warnings(loaded: &Loaded) -> Vec<Problem> {
    config::warnings(loaded, |component| imports(&std::fs::read(component).ok()?))
}

/// A component, and what its manifest says.
async fn upload_of(plugin: &PluginSettings, path: &Path) -> Result<Upload> {
    let bytes = tokio::fs::read(path).await.with_context(|| format!("reading {}", path.display()))?;
    let Manifest { name, version, wishes } = manifest_beside(plugin, path)?;
    Ok(Upload { tenant: TenantId::DEFAULT, name, version, bytes: bytes.into(), wishes })
}

async fn open_store(settings: &Settings) -> Result<SledStore> {
    let sled = SledSettings {
        durability: settings.store.durability,
        min_free_bytes: settings.store.min_free_bytes,
        ..SledSettings::new(&settings.store.path)
    };
    let opened = tokio::task::spawn_blocking(move || SledStore::open(sled)).await?;
    Ok(opened?)
}

/// Guests have threads of their own, so that no guest can hold up a request. A short interval between looks at the shared
/// queue and at timers keeps short jobs quick beside long ones.
fn guest_runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("guest")
        .enable_all()
        .global_queue_interval(1)
        .event_interval(1)
        .build()
        .context("starting the runtime of the guests")
}
