//! Plug-ins, their versions, what they ask for and what they are granted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::family::{Family, KeyForm, NamedBlob, Row, RowKey, is_next_revision};
use super::id::{Digest, HandlerName, PluginName, TenantId, VersionName};
use super::limits::{Axis, Limits};
use super::outline::{Outline, Stated};
use super::pausing::Pausable;
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
    /// Its handlers, where it names them itself: what is built with the SDK does. Then it has these and no others.
    pub handlers: Option<Vec<HandlerName>>,
    /// The digest of the component as it is stored (after lifting, for a core module).
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A capability that an operator may grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// Outbound HTTP to an origin pattern such as `https://api.example.com` or `https://*.example.com`.
    Http(String),
    /// A key of the plug-in's configuration.
    Config(String),
    /// A pause of its own making.
    Pause(Pausable),
}

impl Grant {
    /// The kinds, in the order in which they are shown.
    pub const KINDS: [&'static str; 3] = ["http", "config", "pause"];

    /// The kind, as it stands in `grants = { kind = [...] }`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Config(_) => "config",
            Self::Pause(_) => "pause",
        }
    }

    /// The package without which a component cannot use it, as its imports begin.
    pub const fn package(&self) -> &'static str {
        match self {
            Self::Http(_) => "wasi:http",
            Self::Config(_) => "wasi:config",
            Self::Pause(_) => "backroom:plugin",
        }
    }

    /// What of that kind is granted.
    pub fn value(&self) -> &str {
        match self {
            Self::Http(value) | Self::Config(value) => value,
            Self::Pause(pausable) => pausable.word(),
        }
    }
}

/// Who has said what a version wishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Nobody: it was uploaded without a manifest.
    #[default]
    Nobody,
    /// A manifest.
    Manifest {
        /// The file that the host has read; none when it came with an upload.
        file: Option<String>,
        /// Where its keys are.
        outline: Outline,
    },
    /// The operator, in the settings: it wants what it is granted.
    Operator,
}

/// What a plug-in's author wishes, from the `plugin.toml` beside the component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Who has said so.
    pub source: Source,
}

impl Wishes {
    /// What it wishes of an axis, where it may wish anything.
    pub fn limit(&self, axis: Axis) -> Option<u64> {
        match axis {
            Axis::Fuel => self.fuel,
            Axis::Wall => self.wall_ms,
            Axis::Memory => self.memory_bytes,
            _ => None,
        }
    }

    /// The limits of a version: the operator's, lowered where its author wishes less.
    pub fn lower(&self, limits: &Limits) -> Limits {
        let least = |axis: Axis| axis.of(limits).min(self.limit(axis).unwrap_or(u64::MAX));
        Limits {
            fuel: least(Axis::Fuel),
            wall: Duration::from_millis(least(Axis::Wall)).min(limits.wall),
            memory_bytes: least(Axis::Memory),
            ..limits.clone()
        }
    }

    /// Whether it asks for what is granted. What the operator himself says of a plug-in asks for all that he grants.
    pub fn want(&self, grant: &Grant) -> bool {
        self.source == Source::Operator || self.wants.contains(grant)
    }

    /// What it wishes beyond the operator's limits: the axis, and what it wishes.
    pub fn beyond(&self, limits: &Limits) -> Vec<(Axis, u64)> {
        let wished = Axis::ALL.into_iter().filter_map(|axis| Some((axis, self.limit(axis)?)));
        wished.filter(|(axis, wish)| *wish > axis.of(limits)).collect()
    }
}

/// One uploaded version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginVersion {
    /// Its name.
    pub version: VersionName,
    /// What the component says of itself; pins the bytes.
    pub inspection: Inspection,
    /// What its author wishes.
    pub wishes: Wishes,
    /// When it was uploaded.
    pub uploaded_on: Timestamp,
    /// Whether it still waits for grants: it becomes active by itself once it has them.
    pub is_pending: bool,
}

impl PluginVersion {
    /// Its handlers, the one that a job gets when it names none first; none when every name will do.
    ///
    /// What the component says of itself holds, in the order of the manifest. A component that does not name its handlers
    /// has those of its manifest, or `handle`; only a command takes any name.
    pub fn handlers(&self) -> Vec<HandlerName> {
        let named = &self.wishes.handlers;
        match &self.inspection.handlers {
            Some(own) => {
                let in_order = named.iter().filter(|name| own.contains(name));
                let others = own.iter().filter(|name| !named.contains(name));
                in_order.chain(others).cloned().collect()
            }
            None if named.is_empty() && self.inspection.shape != Shape::Command => vec![HandlerName::default_handle()],
            None => named.clone(),
        }
    }

    /// Whether it has this handler.
    pub fn has_handler(&self, name: &HandlerName) -> bool {
        match (&self.inspection.handlers, self.wishes.handlers.as_slice()) {
            (Some(own), _) => own.contains(name),
            (None, []) => self.inspection.shape == Shape::Command || *name == HandlerName::default_handle(),
            (None, named) => named.contains(name),
        }
    }

    /// The handler of a job that names none.
    pub fn first_handler(&self) -> HandlerName {
        let named = &self.wishes.handlers;
        let first = match &self.inspection.handlers {
            Some(own) => named.iter().find(|name| own.contains(name)).or_else(|| own.first()),
            None => named.first(),
        };
        first.cloned().unwrap_or_else(HandlerName::default_handle)
    }

    /// The handlers of its manifest that the component does not have.
    pub fn strange_handlers(&self) -> Vec<HandlerName> {
        let Some(own) = &self.inspection.handlers else { return Vec::new() };
        self.wishes.handlers.iter().filter(|name| !own.contains(name)).cloned().collect()
    }
}

/// A grant that the host keeps, beside those of its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptGrant {
    /// What is granted.
    pub grant: Grant,
    /// The value, for a key of the configuration. Shown to nobody.
    pub value: Option<String>,
    /// Who has granted it.
    pub by: String,
    /// When.
    pub on: Timestamp,
}

/// A named plug-in with its versions, newest last.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// What was granted by a command.
    pub grants: Vec<KeptGrant>,
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
            grants: Vec::new(),
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

impl Plugin {
    /// The version that became grantable: the newest of those that waited for grants and now have them, unless a later one
    /// was there to run all the time.
    pub fn covered_version(&self, policy: &Policy) -> Option<&PluginVersion> {
        let is_covered = |version: &PluginVersion| policy.missing_grants(&version.wishes).is_empty();
        let newest = self.versions.iter().rev().find(|version| is_covered(version))?;
        newest.is_pending.then_some(newest)
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
    /// What the settings say of it, for advice.
    pub stated: Arc<Stated>,
}

impl Policy {
    /// The capabilities that `wishes` asks for and this policy does not allow.
    pub fn missing_grants(&self, wishes: &Wishes) -> Vec<Grant> {
        wishes.wants.difference(&self.grants).cloned().collect()
    }

    /// The same with what the host keeps of a plug-in itself; a value that it keeps is in place of the one of the settings.
    #[must_use]
    pub fn with(&self, kept: &[KeptGrant]) -> Self {
        let mut policy = self.clone();
        for KeptGrant { grant, value, .. } in kept {
            policy.grants.insert(grant.clone());
            if let (Grant::Config(key), Some(value)) = (grant, value) {
                policy.config.retain(|(there, _)| there != key);
                policy.config.push((key.clone(), value.clone()));
            }
        }
        policy
    }

    /// What a version may do: what the operator grants and it asks for itself, and nothing else (design section 5).
    pub fn grants_of(&self, wishes: &Wishes) -> BTreeSet<Grant> {
        match wishes.source {
            Source::Operator => self.grants.clone(),
            Source::Nobody | Source::Manifest { .. } => self.grants.intersection(&wishes.wants).cloned().collect(),
        }
    }
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
        /// What to do about it.
        advice: String,
    },
}

impl Plugin {
    /// Whose plug-in the key of a row names, and which.
    pub fn named_by(key: &RowKey) -> Option<(TenantId, PluginName)> {
        Some((key.tenant()?, PluginName::new(key.name()?).ok()?))
    }
}

impl Row for Plugin {
    const ROWS: &'static Family = &Family::new(4, "plugin", KeyForm::TenantAndName).resident();

    fn key(&self) -> RowKey {
        RowKey::named(self.tenant, self.name.as_str())
    }

    fn revision(&self) -> u32 {
        self.revision
    }

    fn follows(&self, present: Option<&Self>) -> bool {
        is_next_revision(self.revision, present.map(|present| present.revision))
    }

    fn blobs(&self) -> Vec<NamedBlob> {
        let blob = |version: &PluginVersion| NamedBlob {
            digest: version.inspection.digest,
            bytes: version.inspection.bytes,
            what: version.version.to_string(),
        };
        self.versions.iter().map(blob).collect()
    }

    fn flaws(&self) -> Vec<String> {
        let named = self.active.iter().chain(&self.previous).filter(|named| self.version(named).is_none());
        named.map(|named| format!("there is no version {named}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(handlers: &[&str], own: Option<&[&str]>, shape: Shape) -> PluginVersion {
        let names = |names: &[&str]| names.iter().map(|name| HandlerName::new(name).expect("a name")).collect();
        PluginVersion {
            version: VersionName::new("1.0.0").expect("a version"),
            inspection: Inspection {
                shape,
                imports: Vec::new(),
                exports: Vec::new(),
                handlers: own.map(names),
                digest: Digest([0; 32]),
                bytes: 0,
            },
            wishes: Wishes { handlers: names(handlers), ..Wishes::default() },
            uploaded_on: Timestamp::default(),
            is_pending: false,
        }
    }

    #[test]
    fn the_component_says_which_handlers_there_are_and_the_manifest_in_which_order() {
        type Names = &'static [&'static str];
        let cases: [(Names, Option<Names>, Shape, Names, Names); 7] = [
            (&[], None, Shape::Handler, &["handle"], &[]),
            (&["a", "b"], None, Shape::Handler, &["a", "b"], &[]),
            (&[], None, Shape::Command, &[], &[]),
            (&[], Some(&["calculate"]), Shape::Handler, &["calculate"], &[]),
            (&["b"], Some(&["a", "b"]), Shape::Handler, &["b", "a"], &[]),
            (&["handle"], Some(&["calculate"]), Shape::Handler, &["calculate"], &["handle"]),
            (&["b", "c"], Some(&["b"]), Shape::Handler, &["b"], &["c"]),
        ];
        for (listed, own, shape, handlers, strange) in cases {
            let version = version(listed, own, shape);
            let names = |names: Vec<HandlerName>| names.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(names(version.handlers()), handlers, "{listed:?} {own:?}");
            assert_eq!(names(version.strange_handlers()), strange, "{listed:?} {own:?}");
            assert!(version.handlers().iter().all(|name| version.has_handler(name)), "{listed:?} {own:?}");
            assert_eq!(version.first_handler().as_str(), handlers.first().copied().unwrap_or("handle"));
            let other = HandlerName::new("another").expect("a name");
            assert_eq!(version.has_handler(&other), shape == Shape::Command, "{listed:?} {own:?}");
        }
    }

    #[test]
    fn a_wish_lowers_a_limit_and_never_raises_one() {
        let wishes = Wishes { wall_ms: Some(1_000), memory_bytes: Some(1 << 40), ..Wishes::default() };
        let host = Limits::default();
        let limits = wishes.lower(&host);
        assert_eq!((limits.wall, limits.memory_bytes), (Duration::from_secs(1), host.memory_bytes));
        assert_eq!(wishes.beyond(&host), [(Axis::Memory, 1 << 40)]);
    }

    #[test]
    fn a_version_that_waited_becomes_active_unless_a_later_one_could_run_all_the_time() {
        let wants = |version: &mut PluginVersion, key: &str| {
            version.wishes.wants = [Grant::Config(key.to_owned())].into();
            version.is_pending = true;
        };
        let mut plugin = Plugin::new(TenantId::DEFAULT, PluginName::new("a").expect("a name"));
        let numbered = |number: &str| {
            let version = version(&[], None, Shape::Handler);
            PluginVersion { version: VersionName::new(number).expect("a version"), ..version }
        };
        plugin.versions = vec![numbered("1.0.0"), numbered("2.0.0"), numbered("3.0.0")];
        wants(&mut plugin.versions[1], "x");
        wants(&mut plugin.versions[2], "y");
        let granted = |key: &str| Policy { grants: [Grant::Config(key.to_owned())].into(), ..Policy::default() };
        let covered = |plugin: &Plugin, key: &str| {
            plugin.covered_version(&granted(key)).map(|version| version.version.to_string())
        };
        assert_eq!(covered(&plugin, "z"), None);
        assert_eq!(covered(&plugin, "x").as_deref(), Some("2.0.0"));
        assert_eq!(covered(&plugin, "y").as_deref(), Some("3.0.0"));
        plugin.versions.push(numbered("4.0.0"));
        assert_eq!(covered(&plugin, "x"), None);
    }
}
