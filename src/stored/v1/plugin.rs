//! A plug-in with its versions and grants.

use serde::{Deserialize, Serialize};

use super::leaf::{Hash, Text, Time, parsed, parsed_if};
use super::outline::Outline;
use super::queue::Pause;
use crate::domain::id::{HandlerName, PluginName, TenantId, VersionName};
use crate::domain::{pausing, plugin};
use crate::stored::shape::{Absent, Unfit, shape, words};

words! {
    /// How a component is called.
    Shape is plugin::Shape { Handler, Command, Builtin }
}

words! {
    /// What a handler may pause.
    Pausable is pausing::Pausable { Plugin, Queue }
}

shape! {
    /// A plug-in.
    Plugin<'a> {
        always {
            name: Text<'a>,
            revision: u32,
        }
        later {
            tenant: u32,
            versions: Vec<PluginVersion<'a>>,
            active: Option<Text<'a>>,
            previous: Option<Text<'a>>,
            disabled: bool,
            pause: Option<Pause<'a>>,
            grants: Vec<KeptGrant<'a>>,
        }
    }
}

shape! {
    /// A version.
    PluginVersion<'a> {
        always {
            version: Text<'a>,
            inspection: Inspection<'a>,
            uploaded_on: Time,
        }
        later {
            wishes: Wishes<'a>,
            is_pending: bool,
        }
    }
}

shape! {
    /// What a component says of itself.
    Inspection<'a> {
        always {
            shape: Shape,
            digest: Hash,
            bytes: u64,
        }
        later {
            imports: Vec<Text<'a>>,
            exports: Vec<Text<'a>>,
            handlers: Option<Vec<Text<'a>>>,
        }
    }
}

shape! {
    /// What its author wishes.
    #[derive(Default)]
    Wishes<'a> {
        always {}
        later {
            description: Option<Text<'a>>,
            handlers: Vec<Text<'a>>,
            wants: Vec<Grant<'a>>,
            fuel: Option<u64>,
            wall_ms: Option<u64>,
            memory_bytes: Option<u64>,
            source: Source<'a>,
        }
    }
}

/// A capability.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", bound(deserialize = "'de: 'a"))]
pub(in crate::stored) enum Grant<'a> {
    Http(Text<'a>),
    Config(Text<'a>),
    Pause(Pausable),
}

/// Who has said what a version wishes.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", bound(deserialize = "'de: 'a"))]
pub(in crate::stored) enum Source<'a> {
    #[default]
    Nobody,
    Manifest(Manifest<'a>),
    Operator,
}

shape! {
    /// A manifest.
    Manifest<'a> {
        always {
            outline: Outline<'a>,
        }
        later {
            file: Option<Text<'a>>,
        }
    }
}

shape! {
    /// A grant that the host keeps.
    KeptGrant<'a> {
        always {
            grant: Grant<'a>,
            by: Text<'a>,
            on: Time,
        }
        later {
            value: Option<Text<'a>>,
        }
    }
}

impl Absent for Source<'_> {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Nobody)
    }
}

impl Absent for Wishes<'_> {
    fn is_absent(&self) -> bool {
        let Self { description, handlers, wants, fuel, wall_ms, memory_bytes, source } = self;
        let has_no_limit = [fuel, wall_ms, memory_bytes].into_iter().all(Absent::is_absent);
        has_no_limit && description.is_absent() && handlers.is_absent() && wants.is_absent() && source.is_absent()
    }
}

fn handlers(names: &[Text<'_>]) -> Result<Vec<HandlerName>, Unfit> {
    names.iter().map(|name| parsed(name, HandlerName::new)).collect()
}

impl<'a> From<&'a plugin::Plugin> for Plugin<'a> {
    fn from(plugin: &'a plugin::Plugin) -> Self {
        let plugin::Plugin { tenant, name, revision, versions, active, previous, disabled, pause, grants } = plugin;
        Self {
            name: name.as_str().into(),
            revision: *revision,
            tenant: tenant.0,
            versions: versions.iter().map(PluginVersion::from).collect(),
            active: active.as_ref().map(|version| version.as_str().into()),
            previous: previous.as_ref().map(|version| version.as_str().into()),
            disabled: *disabled,
            pause: pause.as_ref().map(Pause::from),
            grants: grants.iter().map(KeptGrant::from).collect(),
        }
    }
}

impl TryFrom<Plugin<'_>> for plugin::Plugin {
    type Error = Unfit;

    fn try_from(shape: Plugin<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            tenant: TenantId(shape.tenant),
            name: parsed(&shape.name, PluginName::new)?,
            revision: shape.revision,
            versions: shape.versions.into_iter().map(TryInto::try_into).collect::<Result<_, Unfit>>()?,
            active: parsed_if(shape.active.as_ref(), VersionName::new)?,
            previous: parsed_if(shape.previous.as_ref(), VersionName::new)?,
            disabled: shape.disabled,
            pause: shape.pause.map(Into::into),
            grants: shape.grants.into_iter().map(Into::into).collect(),
        })
    }
}

impl<'a> From<&'a plugin::PluginVersion> for PluginVersion<'a> {
    fn from(uploaded: &'a plugin::PluginVersion) -> Self {
        let plugin::PluginVersion { version, inspection, wishes, uploaded_on, is_pending } = uploaded;
        Self {
            version: version.as_str().into(),
            inspection: inspection.into(),
            uploaded_on: (*uploaded_on).into(),
            wishes: wishes.into(),
            is_pending: *is_pending,
        }
    }
}

impl TryFrom<PluginVersion<'_>> for plugin::PluginVersion {
    type Error = Unfit;

    fn try_from(shape: PluginVersion<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            version: parsed(&shape.version, VersionName::new)?,
            inspection: shape.inspection.try_into()?,
            wishes: shape.wishes.try_into()?,
            uploaded_on: shape.uploaded_on.into(),
            is_pending: shape.is_pending,
        })
    }
}

impl<'a> From<&'a plugin::Inspection> for Inspection<'a> {
    fn from(inspection: &'a plugin::Inspection) -> Self {
        let plugin::Inspection { shape, imports, exports, handlers, digest, bytes } = inspection;
        let names = |names: &'a Vec<HandlerName>| names.iter().map(|name| name.as_str().into()).collect();
        Self {
            shape: (*shape).into(),
            digest: (*digest).into(),
            bytes: *bytes,
            imports: imports.iter().map(Text::from).collect(),
            exports: exports.iter().map(Text::from).collect(),
            handlers: handlers.as_ref().map(names),
        }
    }
}

impl TryFrom<Inspection<'_>> for plugin::Inspection {
    type Error = Unfit;

    fn try_from(shape: Inspection<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            shape: shape.shape.into(),
            imports: shape.imports.into_iter().map(String::from).collect(),
            exports: shape.exports.into_iter().map(String::from).collect(),
            handlers: shape.handlers.as_deref().map(handlers).transpose()?,
            digest: shape.digest.into(),
            bytes: shape.bytes,
        })
    }
}

impl<'a> From<&'a plugin::Wishes> for Wishes<'a> {
    fn from(wishes: &'a plugin::Wishes) -> Self {
        let plugin::Wishes { description, handlers, wants, fuel, wall_ms, memory_bytes, source } = wishes;
        Self {
            description: description.as_ref().map(Text::from),
            handlers: handlers.iter().map(|name| name.as_str().into()).collect(),
            wants: wants.iter().map(Grant::from).collect(),
            fuel: *fuel,
            wall_ms: *wall_ms,
            memory_bytes: *memory_bytes,
            source: source.into(),
        }
    }
}

impl TryFrom<Wishes<'_>> for plugin::Wishes {
    type Error = Unfit;

    fn try_from(shape: Wishes<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            description: shape.description.map(String::from),
            handlers: handlers(&shape.handlers)?,
            wants: shape.wants.into_iter().map(Into::into).collect(),
            fuel: shape.fuel,
            wall_ms: shape.wall_ms,
            memory_bytes: shape.memory_bytes,
            source: shape.source.into(),
        })
    }
}

impl<'a> From<&'a plugin::Source> for Source<'a> {
    fn from(source: &'a plugin::Source) -> Self {
        match source {
            plugin::Source::Nobody => Self::Nobody,
            plugin::Source::Manifest { file, outline } => {
                Self::Manifest(Manifest { outline: outline.into(), file: file.as_ref().map(Text::from) })
            }
            plugin::Source::Operator => Self::Operator,
        }
    }
}

impl From<Source<'_>> for plugin::Source {
    fn from(shape: Source<'_>) -> Self {
        match shape {
            Source::Nobody => Self::Nobody,
            Source::Manifest(Manifest { outline, file }) => {
                Self::Manifest { file: file.map(String::from), outline: outline.into() }
            }
            Source::Operator => Self::Operator,
        }
    }
}

impl<'a> From<&'a plugin::Grant> for Grant<'a> {
    fn from(grant: &'a plugin::Grant) -> Self {
        match grant {
            plugin::Grant::Http(origin) => Self::Http(origin.into()),
            plugin::Grant::Config(key) => Self::Config(key.into()),
            plugin::Grant::Pause(pausable) => Self::Pause((*pausable).into()),
        }
    }
}

impl From<Grant<'_>> for plugin::Grant {
    fn from(shape: Grant<'_>) -> Self {
        match shape {
            Grant::Http(origin) => Self::Http(origin.into()),
            Grant::Config(key) => Self::Config(key.into()),
            Grant::Pause(pausable) => Self::Pause(pausable.into()),
        }
    }
}

impl<'a> From<&'a plugin::KeptGrant> for KeptGrant<'a> {
    fn from(kept: &'a plugin::KeptGrant) -> Self {
        let plugin::KeptGrant { grant, value, by, on } = kept;
        Self { grant: grant.into(), by: by.into(), on: (*on).into(), value: value.as_ref().map(Text::from) }
    }
}

impl From<KeptGrant<'_>> for plugin::KeptGrant {
    fn from(shape: KeptGrant<'_>) -> Self {
        Self {
            grant: shape.grant.into(),
            value: shape.value.map(String::from),
            by: shape.by.into(),
            on: shape.on.into(),
        }
    }
}
