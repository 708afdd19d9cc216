//! Plug-ins and their versions on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PauseView, time};
use crate::domain::plugin::{Grant, Inspection, Plugin, PluginVersion, Policy, Shape, Wishes};
use crate::domain::time::Timestamp;
use crate::registry::Uploaded;

/// Every plug-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginListView {
    /// By name.
    pub plugins: Vec<PluginView>,
}

/// A plug-in with its versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginView {
    /// Its name.
    pub name: String,
    /// One line about what it does, from the version that is active or else the newest.
    pub description: Option<String>,
    /// The version that jobs run; none while all are pending.
    pub active: Option<String>,
    /// The version that a rollback goes back to.
    pub previous: Option<String>,
    /// Whether its jobs may run. Those of a disabled plug-in are canceled when their turn comes.
    pub enabled: bool,
    /// Whether none of its jobs starts now.
    pub paused: bool,
    /// Who has paused it, why and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseView>,
    /// Whether its jobs are held back because it keeps failing.
    #[serde(default)]
    pub degraded: bool,
    /// Its versions, newest last.
    pub versions: Vec<VersionView>,
    /// Counts the changes of this plug-in.
    pub revision: u32,
}

/// One version of a plug-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionView {
    /// Its name.
    pub version: String,
    /// Whether jobs run it.
    pub state: VersionState,
    /// The SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The size of the component.
    pub bytes: u64,
    /// How a job calls it: `handler` or `command`.
    pub shape: String,
    /// Its entry points.
    pub handlers: Vec<String>,
    /// One line about what it does.
    pub description: Option<String>,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// The capabilities that it asks for.
    pub wants: Vec<GrantView>,
    /// Those of them that are not granted.
    pub missing_grants: Vec<GrantView>,
    /// Units of fuel that its author wishes.
    pub fuel: Option<u64>,
    /// Wall-clock time of a run that its author wishes, in milliseconds.
    pub wall_ms: Option<u64>,
    /// Memory that its author wishes, in bytes.
    pub memory_bytes: Option<u64>,
    /// When it was uploaded.
    pub uploaded_on: String,
}

/// Whether jobs run a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// They do.
    Active,
    /// They do not, but could: it can be activated.
    Inactive,
    /// They cannot: it asks for what is not granted.
    Pending,
}

/// A capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantView {
    /// The kind: `http` or `config`.
    pub kind: String,
    /// What of that kind.
    pub value: String,
}

/// The answer to an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadView {
    /// The plug-in.
    pub plugin: String,
    /// The version.
    pub version: VersionView,
    /// Whether the same bytes were there under this version already.
    pub repeated: bool,
    /// The lines to add to backroom.toml, when the version is pending.
    pub add_to_config: Option<String>,
    /// The next command, when the version is pending.
    pub next: Option<String>,
}

/// What a caller sends to activate a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivateBody {
    /// The version that jobs are to run.
    pub version: String,
}

impl ActivateBody {
    /// The names of the fields.
    pub const FIELDS: &'static [&'static str] = &["version"];
}

impl PluginView {
    /// The view of `plugin` at `now` under the operator's `policy`.
    pub(crate) fn of(plugin: &Plugin, policy: &Policy, now: Timestamp) -> Self {
        let Plugin { tenant: _, name, revision, versions, active, previous, disabled, pause } = plugin;
        let pause = pause.as_ref().filter(|pause| pause.holds(now));
        let described = plugin.active_version().or(versions.last());
        Self {
            name: name.to_string(),
            description: described.and_then(|version| version.wishes.description.clone()),
            active: active.as_ref().map(ToString::to_string),
            previous: previous.as_ref().map(ToString::to_string),
            enabled: !disabled,
            paused: pause.is_some(),
            pause: pause.map(PauseView::of),
            degraded: false,
            versions: versions.iter().map(|version| VersionView::of(version, plugin, policy)).collect(),
            revision: *revision,
        }
    }
}

impl VersionView {
    fn of(uploaded: &PluginVersion, plugin: &Plugin, policy: &Policy) -> Self {
        let PluginVersion { version, inspection, wishes, uploaded_on } = uploaded;
        let Inspection { shape, imports, exports, digest, bytes } = inspection;
        let missing = policy.missing_grants(wishes);
        let state = match plugin.active.as_ref() {
            Some(active) if active == version => VersionState::Active,
            _ if missing.is_empty() => VersionState::Inactive,
            _ => VersionState::Pending,
        };
        let Wishes { description, handlers, wants, fuel, wall_ms, memory_bytes } = wishes;
        let handlers = match handlers.as_slice() {
            [] => vec!["handle".to_owned()],
            named => named.iter().map(ToString::to_string).collect(),
        };
        Self {
            version: version.to_string(),
            state,
            digest: digest.to_string(),
            bytes: *bytes,
            shape: shape_word(*shape).to_owned(),
            handlers,
            description: description.clone(),
            imports: imports.clone(),
            exports: exports.clone(),
            wants: wants.iter().map(GrantView::from).collect(),
            missing_grants: missing.iter().map(GrantView::from).collect(),
            fuel: *fuel,
            wall_ms: *wall_ms,
            memory_bytes: *memory_bytes,
            uploaded_on: time(*uploaded_on),
        }
    }
}

impl UploadView {
    /// The view of what became of an upload.
    pub(crate) fn of(uploaded: &Uploaded, policy: &Policy) -> Self {
        let Uploaded { plugin, version, missing, repeated } = uploaded;
        let is_pending = !missing.is_empty();
        Self {
            plugin: plugin.name.to_string(),
            version: VersionView::of(version, plugin, policy),
            repeated: *repeated,
            add_to_config: is_pending.then(|| policy.grant_lines(plugin.name.as_str(), missing)),
            next: is_pending.then(|| format!("backroom plugin activate {} {}", plugin.name, version.version)),
        }
    }
}

impl From<&Grant> for GrantView {
    fn from(grant: &Grant) -> Self {
        Self { kind: grant.kind().to_owned(), value: grant.value().to_owned() }
    }
}

const fn shape_word(shape: Shape) -> &'static str {
    match shape {
        Shape::Handler => "handler",
        Shape::Command => "command",
        Shape::Builtin => "built-in",
    }
}
