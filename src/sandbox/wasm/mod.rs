//! The sandbox of WebAssembly components: wasmtime, with a fresh instance for each slice and a limit on every axis.

mod admit;
mod bindings;
mod cache;
mod compile;
mod connect;
mod engine;
mod explain;
mod features;
mod guest;
mod http;
mod limits;
mod linker;
mod metered;
mod needs;
mod outcome;
mod outline;
mod run;
mod turns;
mod wasi;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

pub use admit::imports;
pub use compile::{CHILD_ARGUMENT, CompileSettings, compile_child};
pub use engine::STACK_BYTES;

use self::cache::{Cache, LoadError, Ready, Room};
use self::compile::Answer;
use self::engine::{Engines, Ticker};
use super::outbound::Connector;
use super::{Admitted, BoxFuture, HostPort, Rejection, Sandbox, Slice, SliceReport, text};
use crate::domain::code;
use crate::domain::id::Digest;
use crate::domain::plugin::PluginVersion;
use crate::domain::uploads::UploadLimits;
use crate::resources::{Resource, blocking};

/// Compilations at a time: each may take 2 GiB.
const COMPILERS: usize = 2;

/// Bytes of compiled code that are kept loaded, unless the operator sets another number.
pub const LOADED_BYTES: u64 = 1 << 30;

/// What the sandbox needs to know of its host.
#[derive(Clone, Debug)]
pub struct WasmSettings {
    /// The host's data folder; compiled code is kept in `compiled` below it.
    pub data_dir: PathBuf,
    /// Slices that run at a time.
    pub concurrency: usize,
    /// Versions that are kept loaded; each holds a file descriptor and some mappings.
    pub loaded_versions: usize,
    /// Bytes of compiled code that are kept loaded.
    pub loaded_bytes: u64,
    /// What a component may need.
    pub uploads: UploadLimits,
    /// Bytes of the largest upload.
    pub component_bytes: usize,
    /// Bytes of the native stack that Wasm frames may use, the same for every plug-in.
    pub stack_bytes: usize,
    /// Where and how uploads are compiled.
    pub compile: CompileSettings,
    /// The way out for the HTTP requests of guests.
    pub connector: Connector,
}

impl WasmSettings {
    /// The usual settings for a data folder and a number of slices at a time.
    pub fn new(data_dir: impl Into<PathBuf>, concurrency: usize, compile: CompileSettings) -> Self {
        Self {
            data_dir: data_dir.into(),
            concurrency,
            loaded_versions: 256,
            loaded_bytes: LOADED_BYTES,
            uploads: UploadLimits::default(),
            component_bytes: 64 << 20,
            stack_bytes: STACK_BYTES,
            compile,
            connector: Connector::default(),
        }
    }
}

/// Why the sandbox cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// wasmtime does not work on this machine.
    #[error("the Wasm engine cannot be set up: {0}")]
    Engine(String),
    /// The ticking thread could not be started.
    #[error("the thread that stops plug-ins could not be started: {0}")]
    Thread(String),
    /// The folder of compiled code is not usable.
    #[error("the folder of compiled code `{}` is not usable: {why}", folder.display())]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl SetupError {
    fn engine(error: wasmtime::Error) -> Self {
        Self::Engine(format!("{error:#}"))
    }
}

/// Runs WebAssembly components.
pub struct WasmSandbox {
    settings: WasmSettings,
    notice: Option<String>,
    cache: Arc<Cache>,
    ticker: Ticker,
    compilers: Semaphore,
    /// Room for turns of versions that hold the core.
    beside: Semaphore,
}

impl WasmSandbox {
    /// Sets up the engines and opens the folder of compiled code.
    pub fn new(settings: WasmSettings) -> Result<Self, SetupError> {
        let engines = Engines::new(settings.concurrency, settings.stack_bytes)?;
        let room = Room { versions: settings.loaded_versions, bytes: settings.loaded_bytes };
        let cache = Cache::open(settings.data_dir.join("compiled"), &engines, room)?;
        Ok(Self {
            notice: engines.notice.clone(),
            cache: Arc::new(cache),
            ticker: Ticker::start(&engines)?,
            compilers: Semaphore::new(COMPILERS),
            beside: turns::room_beside(),
            settings,
        })
    }

    /// What the operator should know, such as that the pool could not be reserved.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    async fn admit_upload(&self, upload: Bytes) -> Result<Admitted, Rejection> {
        if upload.len() > self.settings.component_bytes {
            let (size, limit) = (text::bytes(upload.len() as u64), text::bytes(self.settings.component_bytes as u64));
            let message = format!("the component is too large: {size}, and may be {limit}");
            let next = Some(code::SMALLER.to_owned());
            return Err(Rejection { next, ..Rejection::new(code::BODY_TOO_LARGE, message) });
        }
        admit::check_magic(&upload)?;
        let turn = self.compiler_turn().await;
        self.compile(&turn, upload).await
    }

    async fn compiler_turn(&self) -> SemaphorePermit<'_> {
        self.compilers.acquire().await.expect("the semaphore is never closed")
    }

    /// Compiles in a child process and keeps the result, if it is about the component that it was asked about.
    async fn compile(&self, _turn: &SemaphorePermit<'_>, upload: Bytes) -> Result<Admitted, Rejection> {
        let io = |error: std::io::Error| match Resource::wanted_by(&error) {
            Some(resource) => compile::short(resource, &format!("the folder of compiled code: {error}")),
            None => broken_compiler(&format!("the folder of compiled code: {error}")),
        };
        let workshop = self.cache.workshop().map_err(io)?;
        tokio::fs::write(workshop.path().join(compile::UPLOAD), &upload).await.map_err(io)?;
        let limits = serde_json::to_vec(&self.settings.uploads).expect("limits are plain data");
        tokio::fs::write(workshop.path().join(compile::LIMITS), limits).await.map_err(io)?;
        let (inspection, needs, is_lifted, is_new) =
            match compile::compile(&self.settings.compile, workshop.path()).await? {
                Answer::Compiled { settings, .. } if settings != self.cache.settings() => {
                    return Err(broken_compiler("the program was replaced while it runs; restart the host"));
                }
                Answer::Compiled { inspection, needs, lifted, is_new, .. } => (inspection, needs, lifted, is_new),
                Answer::Refused { code, message, next } => {
                    let rejection = Rejection::new(code::find(&code).unwrap_or(code::BROKEN_WASM), message);
                    return Err(Rejection { next, ..rejection });
                }
            };
        let component = if is_lifted { read_lifted(workshop.path()).await.map_err(io)? } else { upload };
        if Digest::of(&component) != inspection.digest {
            return Err(broken_compiler("the compiler's process answered about another component"));
        }
        if is_new {
            self.cache.keep(&inspection.digest, &needs, &workshop.path().join(compile::ARTEFACT)).map_err(io)?;
        }
        Ok(Admitted { inspection, component })
    }

    async fn load(&self, version: &PluginVersion) -> Result<Arc<Ready>, LoadError> {
        let (cache, digest, shape) = (Arc::clone(&self.cache), version.inspection.digest, version.inspection.shape);
        let loaded = blocking(move || cache.get(&digest, shape)).await;
        loaded.unwrap_or_else(|error| Err(LoadError::Unusable(error.to_string())))
    }

    async fn prepare_version(&self, version: &PluginVersion, component: Bytes) -> Result<(), Rejection> {
        match self.load(version).await {
            Ok(_) => return Ok(()),
            Err(LoadError::Missing) => {}
            Err(LoadError::Short(resource, why)) => return Err(compile::short(resource, &why)),
            Err(error) => {
                tracing::warn!(version = %version.version, "compiling again: {error}");
                self.cache.forget(&version.inspection.digest);
            }
        }
        if Digest::of(&component) != version.inspection.digest {
            let message = format!("the stored component of version {} does not match its digest", version.version);
            return Err(Rejection::new(code::STORE_DAMAGED, message));
        }
        let turn = self.compiler_turn().await;
        if self.load(version).await.is_ok() {
            // Another start of the same version compiled it while this one waited for its turn.
            return Ok(());
        }
        self.compile(&turn, component).await?;
        drop(turn);
        self.load(version).await.map(drop).map_err(|error| match error {
            LoadError::Short(resource, why) => compile::short(resource, &why),
            error => broken_compiler(&error.to_string()),
        })
    }
}

fn broken_compiler(what: &str) -> Rejection {
    Rejection::new(code::HOST_FAULT, what.to_owned())
}

async fn read_lifted(workshop: &Path) -> std::io::Result<Bytes> {
    tokio::fs::read(workshop.join(compile::COMPONENT)).await.map(Bytes::from)
}

impl Sandbox for WasmSandbox {
    fn admit(&self, upload: Bytes) -> BoxFuture<'_, Result<Admitted, Rejection>> {
        Box::pin(self.admit_upload(upload))
    }

    fn prepare<'a>(&'a self, version: &'a PluginVersion, component: Bytes) -> BoxFuture<'a, Result<(), Rejection>> {
        Box::pin(self.prepare_version(version, component))
    }

    fn is_ready(&self, version: &PluginVersion) -> bool {
        self.cache.is_loaded(&version.inspection.digest)
    }

    fn keep_only(&self, named: &BTreeSet<Digest>) {
        self.cache.keep_only(named);
    }

    fn run(&self, slice: Slice, port: Box<dyn HostPort>) -> BoxFuture<'_, SliceReport> {
        Box::pin(async move {
            let inspection = &slice.version.inspection;
            match self.cache.get(&inspection.digest, inspection.shape) {
                Ok(ready) => {
                    let connector = self.settings.connector.clone();
                    run::run(&ready, &self.ticker, &self.beside, slice, port, connector).await
                }
                Err(error) => SliceReport::of(outcome::host_fault(&error.to_string())),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::domain::plugin::{Inspection, Shape};
    use crate::domain::uploads::Needs;

    /// A compiler that answers every upload with the same inspection.
    fn liar(folder: &Path, digest: Digest, settings: u64) -> PathBuf {
        let inspection = Inspection {
            shape: Shape::Command,
            imports: Vec::new(),
            exports: Vec::new(),
            handlers: None,
            digest,
            bytes: 8,
        };
        let answer = serde_json::to_string(&Answer::Compiled {
            inspection,
            needs: Needs::default(),
            lifted: false,
            is_new: true,
            settings,
        })
        .expect("plain data");
        let program = folder.join("liar");
        let text = format!("#!/bin/sh\necho code > \"$2/{}\"\necho '{answer}'\n", compile::ARTEFACT);
        std::fs::write(&program, text).expect("it can be written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("it can be made a program");
        program
    }

    #[tokio::test]
    async fn code_of_another_component_is_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let upload = Bytes::from_static(b"\0asm\x0d\0\x01\0");
        let other = Digest::of(b"another component");
        let settings = |program| {
            let compile = CompileSettings { program, wall: std::time::Duration::from_secs(20) };
            WasmSettings::new(folder.path(), 1, compile)
        };
        let mut sandbox = WasmSandbox::new(settings(PathBuf::new())).expect("it starts");
        sandbox.settings = settings(liar(folder.path(), other, sandbox.cache.settings()));
        let rejection = sandbox.admit(upload.clone()).await.expect_err("it is refused");
        assert!(rejection.message.contains("about another component"), "{}", rejection.message);
        let kept = || std::fs::read_dir(folder.path().join("compiled")).expect("the folder").count();
        assert_eq!(kept(), 0, "the artefact was kept");

        sandbox.settings = settings(liar(folder.path(), Digest::of(&upload), sandbox.cache.settings()));
        sandbox.admit(upload).await.expect("it is about the same component");
        assert_eq!(kept(), 2, "the artefact and what it needs");
    }
}
