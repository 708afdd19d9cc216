//! Plug-ins and their versions on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PauseView, form, time};
use crate::domain::advice::{self, Sides};
use crate::domain::limits::{Axis, Limits};
use crate::domain::plugin::{Grant, Inspection, KeptGrant, Plugin, PluginVersion, Policy, Shape, Wishes};
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
    /// What the operator allows it, wanted or not.
    #[serde(default)]
    pub grants: Vec<GrantedView>,
    /// What it is granted and no handler of the version that jobs run, or else of the newest, can use: why, and what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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
    /// Its entry points, the one of jobs that name none first.
    pub handlers: Vec<String>,
    /// Who has named them: `component`, `manifest`, or `nobody`.
    #[serde(default)]
    pub handlers_named_by: String,
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
    /// What a run of it may use: the operator's limits, lowered where its author wishes less.
    #[serde(default)]
    pub limits: EffectiveView,
    /// When it was uploaded.
    #[schema(value_type = form::Time, inline)]
    pub uploaded_on: String,
}

/// Limits in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EffectiveView {
    /// Units of fuel.
    pub fuel: u64,
    /// Wall-clock time of a run, in milliseconds.
    pub wall_ms: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Bytes of input.
    pub input_bytes: u64,
    /// Bytes of output.
    pub output_bytes: u64,
}

/// A capability that the operator allows, and where that is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantedView {
    /// The kind: `http`, `config` or `pause`.
    pub kind: String,
    /// What of that kind.
    pub value: String,
    /// `settings`, or `command` where the host keeps it itself.
    pub source: String,
    /// The file of the settings and its lines, or who has granted it and when.
    pub place: String,
    /// Whether a key of the configuration has a value; it is not shown.
    pub has_value: Option<bool>,
}

/// What a caller sends to grant capabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantBody {
    /// Origins that it may call, such as `https://api.example.com` or `https://*.example.com`.
    #[serde(default)]
    #[schema(value_type = form::Origins, inline)]
    pub http: Vec<String>,
    /// Settings with their values.
    #[serde(default)]
    #[schema(value_type = form::Settings, inline)]
    pub config: BTreeMap<String, String>,
    /// What its handlers may pause: `plugin`, which is itself, or `queue`, which is the one that the job is in.
    #[serde(default)]
    #[schema(value_type = form::Pausables, inline)]
    pub pause: Vec<String>,
}

impl GrantBody {
    /// The names of the fields.
    pub const FIELDS: &'static [&'static str] = &["http", "config", "pause"];
}

/// What a caller sends to take grants back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeBody {
    /// Origins.
    #[serde(default)]
    #[schema(value_type = form::Origins, inline)]
    pub http: Vec<String>,
    /// Settings.
    #[serde(default)]
    #[schema(value_type = form::SettingNames, inline)]
    pub config: Vec<String>,
    /// What its handlers may pause no longer.
    #[serde(default)]
    #[schema(value_type = form::Pausables, inline)]
    pub pause: Vec<String>,
}

impl RevokeBody {
    /// The names of the fields.
    pub const FIELDS: &'static [&'static str] = &["http", "config", "pause"];
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
    /// The kind: `http`, `config` or `pause`.
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
    /// Whether what its manifest says is new for bytes that were there.
    #[serde(default)]
    pub new_manifest: bool,
    /// What to write into backroom.toml, when the version is pending and is not granted by command.
    pub add_to_config: Option<String>,
    /// The next command, when the version is pending.
    pub next: Option<String>,
    /// What its author wishes and does not get, and what is granted to it in vain.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What a caller sends to activate a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivateBody {
    /// The version that jobs are to run.
    #[schema(value_type = form::VersionName, inline)]
    pub version: String,
}

impl ActivateBody {
    /// The names of the fields.
    pub const FIELDS: &'static [&'static str] = &["version"];
}

impl PluginView {
    /// The view of `plugin` at `now` under the operator's `policy`.
    pub(crate) fn of(plugin: &Plugin, policy: &Policy, now: Timestamp) -> Self {
        let Plugin { tenant: _, name, revision, versions, active, previous, disabled, pause, grants } = plugin;
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
            grants: policy.grants.iter().map(|grant| GrantedView::of(grant, grants, policy)).collect(),
            warnings: advice::unused_by(plugin, policy).iter().map(ToString::to_string).collect(),
            versions: versions.iter().map(|version| VersionView::of(version, plugin, policy)).collect(),
            revision: *revision,
        }
    }
}

impl VersionView {
    fn of(uploaded: &PluginVersion, plugin: &Plugin, policy: &Policy) -> Self {
        let PluginVersion { version, inspection, wishes, uploaded_on, is_pending: _ } = uploaded;
        let Inspection { shape, imports, exports, handlers: own, digest, bytes } = inspection;
        let missing = policy.missing_grants(wishes);
        let state = match plugin.active.as_ref() {
            Some(active) if active == version => VersionState::Active,
            _ if missing.is_empty() => VersionState::Inactive,
            _ => VersionState::Pending,
        };
        let Wishes { description, handlers, wants, fuel, wall_ms, memory_bytes, source: _ } = wishes;
        let named_by = match (own, handlers.as_slice()) {
            (Some(_), _) => "component",
            (None, []) => "nobody",
            (None, _) => "manifest",
        };
        let mut handlers: Vec<_> = uploaded.handlers().iter().map(ToString::to_string).collect();
        if handlers.is_empty() {
            handlers.push(uploaded.first_handler().to_string());
        }
        Self {
            version: version.to_string(),
            state,
            digest: digest.to_string(),
            bytes: *bytes,
            shape: shape_word(*shape).to_owned(),
            handlers,
            handlers_named_by: named_by.to_owned(),
            description: description.clone(),
            imports: imports.clone(),
            exports: exports.clone(),
            wants: wants.iter().map(GrantView::from).collect(),
            missing_grants: missing.iter().map(GrantView::from).collect(),
            fuel: *fuel,
            wall_ms: *wall_ms,
            memory_bytes: *memory_bytes,
            limits: EffectiveView::of(&wishes.lower(&policy.limits)),
            uploaded_on: time(*uploaded_on),
        }
    }
}

impl EffectiveView {
    fn of(limits: &Limits) -> Self {
        Self {
            fuel: limits.fuel,
            wall_ms: Axis::Wall.of(limits),
            memory_bytes: limits.memory_bytes,
            input_bytes: limits.input_bytes,
            output_bytes: limits.output_bytes,
        }
    }
}

impl GrantedView {
    fn of(grant: &Grant, kept: &[KeptGrant], policy: &Policy) -> Self {
        let by_command = kept.iter().find(|kept| kept.grant == *grant);
        let has_value = match grant {
            Grant::Config(key) => Some(policy.config.iter().any(|(there, _)| there == key)),
            Grant::Http(_) | Grant::Pause(_) => None,
        };
        let (source, place) = match by_command {
            Some(KeptGrant { by, on, .. }) => ("command", format!("{by}, {}", time(*on))),
            None => ("settings", policy.stated.place_of_grant(grant.kind(), grant.value())),
        };
        Self {
            kind: grant.kind().to_owned(),
            value: grant.value().to_owned(),
            source: source.to_owned(),
            place,
            has_value,
        }
    }
}

impl UploadView {
    /// The view of what became of an upload.
    pub(crate) fn of(uploaded: &Uploaded, policy: &Policy) -> Self {
        let Uploaded { plugin, version, missing, repeated, has_new_manifest } = uploaded;
        let sides = Sides::of(&plugin.name, version, policy);
        let advice = advice::grant(sides, missing);
        let curbed = version.wishes.beyond(&policy.limits).into_iter().map(|wish| curbed(sides, wish));
        let unused = advice::unused(sides, &version.inspection.imports);
        Self {
            plugin: plugin.name.to_string(),
            version: VersionView::of(version, plugin, policy),
            repeated: *repeated,
            new_manifest: *has_new_manifest,
            add_to_config: advice.settings(),
            next: advice.command().map(str::to_owned),
            // One thing at a time: what a pending version waits for comes first.
            warnings: curbed.chain(unused.iter().filter(|_| missing.is_empty()).map(ToString::to_string)).collect(),
        }
    }
}

/// A wish that the operator's limit cuts down, with both values.
fn curbed(sides: Sides<'_>, (axis, wish): (Axis, u64)) -> String {
    let (wished, allowed) = (axis.toml(wish), axis.toml(axis.of(&sides.policy.limits)));
    let advice = advice::allow_more(sides, axis, wish);
    format!(
        "plugin.toml wishes {key} = {wished}, and the host allows {allowed}, which holds. To allow more:\n{advice}",
        key = axis.key()
    )
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
