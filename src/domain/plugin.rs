//! Plug-ins, their versions, what they ask for and what they are granted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::id::{Digest, HandlerName, PluginName, TenantId, VersionName};
use super::limits::Limits;
use super::queue::Pause;
use super::retention::Retention;
use super::retry::RetryPolicy;
use super::time::Timestamp;

/// How a job calls a component; told apart by reading its type at upload (design section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Exports `backroom:plugin/handler`.
    Handler,
    /// Exports `wasi:cli/run`: input on stdin, output on stdout, the exit code decides.
    Command,
    /// The host plays it itself; nobody uploads it.
    Builtin,
}

/// What a component says of itself, read from its type: nothing of it is run for this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// How it is called.
    pub shape: Shape,
    /// The interfaces that it imports, with versions.
    pub imports: Vec<String>,
    /// The interfaces that it exports, with versions.
    pub exports: Vec<String>,
    /// The digest of the component as it is stored (after lifting, for a core module).
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A capability that an operator may grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// Outbound HTTP to an origin pattern such as `https://api.example.com` or `https://*.example.com`.
    Http(String),
    /// A key of the plug-in's configuration.
    Config(String),
}

impl Grant {
    /// The kind, as it stands in `grants = { kind = [...] }`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Config(_) => "config",
        }
    }

    /// What of that kind is granted.
    pub fn value(&self) -> &str {
        match self {
            Self::Http(value) | Self::Config(value) => value,
        }
    }
}

/// What a plug-in's author wishes, from the `plugin.toml` beside the component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// One line about what it does.
    pub description: Option<String>,
    /// Its entry points; `handle` when it names none.
    pub handlers: Vec<HandlerName>,
    /// The capabilities that it needs.
    pub wants: BTreeSet<Grant>,
    /// Limits that it wishes; never above what the operator allows.
    pub fuel: Option<u64>,
    /// Likewise, wall-clock time of a run in milliseconds.
    pub wall_ms: Option<u64>,
    /// Likewise, bytes of memory.
    pub memory_bytes: Option<u64>,
}

/// One uploaded version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginVersion {
    /// Its name.
    pub version: VersionName,
    /// What the component says of itself; pins the bytes.
    pub inspection: Inspection,
    /// What its author wishes.
    pub wishes: Wishes,
    /// When it was uploaded.
    pub uploaded_on: Timestamp,
}

impl PluginVersion {
    /// Those of some keys of its configuration that it does not ask for, so that it never sees them.
    pub fn unwanted<'a>(&self, keys: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        keys.filter(|key| !self.wishes.wants.contains(&Grant::Config((*key).to_owned()))).collect()
    }
}

/// A named plug-in with its versions, newest last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// The tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: PluginName,
    /// Counts the writes of this record.
    pub revision: u32,
    /// Uploaded versions, newest last. Empty only for a built-in handler, of which nothing is kept but that it is paused.
    pub versions: Vec<PluginVersion>,
    /// The version that jobs run.
    pub active: Option<VersionName>,
    /// What a rollback goes back to.
    pub previous: Option<VersionName>,
    /// A disabled plug-in's queued jobs are canceled when they are claimed (T04).
    pub disabled: bool,
    /// No job of a paused plug-in starts; none is failed or canceled for it (F105).
    pub pause: Option<Pause>,
}

impl Plugin {
    /// One that was never written, without any version.
    pub fn new(tenant: TenantId, name: PluginName) -> Self {
        Self {
            tenant,
            name,
            revision: 0,
            versions: Vec::new(),
            active: None,
            previous: None,
            disabled: false,
            pause: None,
        }
    }

    /// A version by its name.
    pub fn version(&self, name: &VersionName) -> Option<&PluginVersion> {
        self.versions.iter().find(|version| version.version == *name)
    }

    /// The version that jobs run now.
    pub fn active_version(&self) -> Option<&PluginVersion> {
        self.version(self.active.as_ref()?)
    }
}

/// What the operator sets for a plug-in, with the host's defaults filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What a slice may use.
    pub limits: Limits,
    /// When a failed attempt is tried again.
    pub retry: RetryPolicy,
    /// How long its finished jobs are kept.
    pub retention: Retention,
    /// What the plug-in may do.
    pub grants: BTreeSet<Grant>,
    /// What `wasi:config/store` answers, of the keys that are granted.
    pub config: Vec<(String, String)>,
}

impl Policy {
    /// The capabilities that `wishes` asks for and this policy does not allow.
    pub fn missing_grants(&self, wishes: &Wishes) -> Vec<Grant> {
        wishes.wants.difference(&self.grants).cloned().collect()
    }

    /// The lines of backroom.toml that grant a plug-in what it has and what it misses.
    pub fn grant_lines(&self, plugin: &str, missing: &[Grant]) -> String {
        let mut by_kind: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let all: BTreeSet<_> = self.grants.iter().chain(missing).collect();
        for grant in all {
            by_kind.entry(grant.kind()).or_default().push(toml_string(grant.value()));
        }
        let kinds: Vec<_> = by_kind.iter().map(|(kind, values)| format!("{kind} = [{}]", values.join(", "))).collect();
        format!("[[plugin]]\nname = \"{plugin}\"\ngrants = {{ {} }}\n", kinds.join(", "))
    }
}

/// A basic string of TOML 1.0.
fn toml_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Why a job finds nothing to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// There is no such plug-in, or no such version of it, or none is active.
    NotThere,
    /// The version is kept, and asks for what is not granted.
    NotGranted {
        /// The version.
        version: VersionName,
        /// What must be granted.
        missing: Vec<Grant>,
        /// The lines of backroom.toml that grant it.
        lines: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_to_add_grant_what_is_there_and_what_is_missing() {
        let grants = [Grant::Http("https://a.example".to_owned())].into();
        let policy = Policy { grants, ..Policy::default() };
        let missing = [Grant::Config("odd \"key\\\u{7f}".to_owned()), Grant::Http("https://b.example".to_owned())];
        assert_eq!(
            policy.grant_lines("mailer", &missing),
            "[[plugin]]\nname = \"mailer\"\n\
             grants = { config = [\"odd \\\"key\\\\\\u007F\"], http = [\"https://a.example\", \"https://b.example\"] }\n"
        );
    }
}
