//! The host's settings: defaults < `backroom.toml` < environment variables < flags.

mod environment;
mod file;
mod files;
mod manifest;
mod outline;
mod pattern;
mod policies;
mod problem;
mod read;
mod schema;
mod section;
mod show;
mod signing;
#[cfg(test)]
mod tests;
pub mod units;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::admission::{QueuePolicy, StartLimits};
use crate::domain::allowances::Allowances;
use crate::domain::id::{HandlerName, PluginName, QueueName, VersionName};
use crate::domain::limits::Limits;
use crate::domain::network::Network;
use crate::domain::outbound::{Origin, SigningKey};
use crate::domain::outline::Stated;
use crate::domain::plugin::Grant;
use crate::domain::retention::Retention;
use crate::domain::retry::RetryPolicy;
use crate::domain::service::Durability;
use crate::domain::uploads::UploadLimits;

pub use environment::Flag;
pub use files::{Exposed, NoManifest, check_files, exposed_secrets, manifest_beside, warnings};
pub use manifest::{Manifest, parse_manifest, parse_manifest_of};
pub(crate) use pattern::parse_origin;
pub use problem::{Place, Position, Problem, Problems};
pub use read::{Loaded, Sources, read};
pub use schema::EXAMPLE;
pub use show::show;
pub use signing::signing_keys;

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "backroom.toml";

/// Everything that an operator can set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `[server]`.
    pub server: Server,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[worker]`.
    pub worker: WorkerSettings,
    /// `[http]`.
    pub http: HttpSettings,
    /// `[limits]`: for every plug-in that sets none of its own.
    pub limits: Limits,
    /// `[uploads]`: what components may need.
    pub uploads: Uploads,
    /// `[retry]`: likewise.
    pub retry: RetryPolicy,
    /// `[retention]`: likewise.
    pub retention: Retention,
    /// `[retention.batch]`: of batches, which are jobs of no plug-in.
    pub batch_retention: OwnRetention,
    /// `[[queue]]`: the named queues, with the three that exist from the start.
    pub queues: Queues,
    /// `[[plugin]]`.
    pub plugins: Vec<PluginSettings>,
    /// What the file says of plug-ins that it does not name, for advice.
    pub stated: Arc<Stated>,
}

/// `[uploads]`: what components may need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploads {
    /// What one may need.
    pub limits: UploadLimits,
    /// Bytes of compiled code of all of them that are kept loaded.
    pub loaded_bytes: u64,
}

impl Default for Uploads {
    fn default() -> Self {
        Self { limits: UploadLimits::default(), loaded_bytes: 1 << 30 }
    }
}

/// How long some jobs are kept where that is not as long as others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnRetention {
    /// Those that succeeded, where something is said of them; none within keeps them for ever.
    pub succeeded: Option<Option<Duration>>,
    /// Those that failed, likewise.
    pub failed: Option<Option<Duration>>,
    /// Those that were called off, likewise.
    pub canceled: Option<Option<Duration>>,
}

impl OwnRetention {
    /// The whole, where `usual` holds for all of which nothing is said.
    pub fn over(&self, usual: Retention) -> Retention {
        Retention {
            succeeded: self.succeeded.unwrap_or(usual.succeeded),
            failed: self.failed.unwrap_or(usual.failed),
            canceled: self.canceled.unwrap_or(usual.canceled),
        }
    }
}

/// The named queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queues(pub BTreeMap<QueueName, QueuePolicy>);

impl Default for Queues {
    /// `default`, `bulk` and `maintenance`.
    fn default() -> Self {
        let queue = |name, weight| {
            let name = QueueName::new(name).expect("these names are slugs");
            (name, QueuePolicy { weight, limits: StartLimits::default() })
        };
        Self([queue("default", 8), queue("bulk", 3), queue("maintenance", 1)].into())
    }
}

/// `[server]`: who may talk to the host, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The address that the host listens on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// What every request must carry. Listening beyond loopback needs one.
    pub token: Option<Token>,
    /// Names, besides the address itself, that requests may give as Host or Origin.
    pub allowed_hosts: Vec<String>,
    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<Network>,
    /// How much goes on at a time.
    pub allowances: Allowances,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7171),
            token: None,
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            allowances: Allowances::default(),
        }
    }
}

/// A secret that does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// `[store]`: where everything durable is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The data directory.
    pub path: PathBuf,
    /// What an acknowledged submit survives.
    pub durability: Durability,
    /// Free bytes on the disk below which new jobs are refused.
    pub min_free_bytes: u64,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { path: PathBuf::from("backroom-data"), durability: Durability::Power, min_free_bytes: 256 << 20 }
    }
}

/// `[worker]`: how many jobs run at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// Attempts that run at a time.
    pub concurrency: usize,
    /// Jobs claimed ahead of a free slot at most, while slots become free fast; as many as `concurrency` unless set.
    pub ahead: usize,
    /// How long a stopping host lets jobs end before it releases them.
    pub shutdown_grace: Duration,
    /// Whether a plug-in that keeps failing is slowed down and probed.
    pub breaker: bool,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self { concurrency: 16, ahead: 16, shutdown_grace: Duration::from_secs(30), breaker: true }
    }
}

/// `[http]`: how requests leave the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSettings {
    /// `[[http.sign]]`: receivers that get signed requests of the built-in handler `http`; nobody else does.
    pub sign: Vec<SignSettings>,
    /// Certificate authorities in PEM that are trusted beside the public ones.
    pub ca_file: Option<PathBuf>,
}

/// One `[[http.sign]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignSettings {
    /// The receiver.
    pub origin: Origin,
    /// Keys that it may know; each signs.
    pub keys: Vec<SigningKey>,
    /// A file with more of them, one a line.
    pub key_file: Option<PathBuf>,
    /// Where it was given.
    pub place: Place,
}

/// One `[[plugin]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSettings {
    /// The plug-in.
    pub name: PluginName,
    /// A component that the host uploads when it starts. Its manifest lies beside it, unless `version` is given here.
    pub path: Option<PathBuf>,
    /// The version of the component, where the operator says what a manifest would.
    pub version: Option<VersionName>,
    /// One line about what it does; beside `version`.
    pub description: Option<String>,
    /// Its handlers, beside `version`.
    pub handlers: Vec<HandlerName>,
    /// What it may do. A key under `config` is granted by being set.
    pub grants: Vec<Grant>,
    /// Its limits: the host's where it sets none.
    pub limits: Limits,
    /// Its retries: the host's where it sets none.
    pub retry: RetryPolicy,
    /// How long its finished jobs are kept: as the host keeps them where it sets nothing.
    pub retention: Retention,
    /// How many of its jobs may run at a time and start over time.
    pub starts: StartLimits,
    /// How many of its jobs with the same concurrency key may run at a time; one where it sets nothing.
    pub per_key: Option<u32>,
    /// What `wasi:config/store` answers.
    pub config: Vec<(String, String)>,
    /// Whether its jobs run; what was last said through the API holds where nothing is set.
    pub enabled: Option<bool>,
    /// What the file says of it, for advice.
    pub stated: Arc<Stated>,
}

/// Why no settings could be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file that was named cannot be read.
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The settings are not acceptable.
    #[error(transparent)]
    Problems(#[from] Problems),
}

/// Reads the settings of this process. Without `file`, [`DEFAULT_FILE`] is read where it exists.
pub fn load(file: Option<&Path>, flags: Vec<Flag>) -> Result<Loaded, LoadError> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read(path) {
        Ok(bytes) => Some(String::from_utf8(bytes).map_err(|error| not_utf8(path, &error))?),
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(LoadError::Unreadable { path: path.to_owned(), error }),
    };
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let sources = Sources { file: text.as_deref().map(|text| (path, text)), environment: environment.collect(), flags };
    Ok(read(&sources)?)
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Problems {
    let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
    let place = Place { source: path.display().to_string().into(), position: Some(Position::of(&valid, valid.len())) };
    Problems(vec![Problem::new(place, "the file is not UTF-8 from here on", "save it as UTF-8")])
}
