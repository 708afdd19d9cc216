//! The files that the settings name: components, their manifests, authorities, keys. Read here, so that `config check` finds
//! what the host would find missing when it starts.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::manifest::{Manifest, parse_manifest_of};
use super::problem::{Place, Problem};
use super::read::Loaded;
use super::signing::signing_keys;
use super::{PluginSettings, Problems, Settings};
use crate::domain::advice::{self, Sides};
use crate::domain::code;
use crate::domain::plugin::{Source, Wishes};

/// What the file of a manifest is called where its folder holds one plug-in.
const MANIFEST: &str = "plugin.toml";

/// Why a component has no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoManifest {
    /// There is none.
    #[error("{} has no manifest: there is no {}", component.display(), beside.display())]
    Missing {
        /// The component.
        component: PathBuf,
        /// The file that is looked for first.
        beside: PathBuf,
    },
    /// It cannot be read.
    #[error("{} cannot be read: {why}", file.display())]
    Unreadable {
        /// The manifest.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// It is that of another plug-in.
    #[error("{} is the manifest of `{name}`", file.display())]
    OfAnother {
        /// The manifest.
        file: PathBuf,
        /// Whose it is.
        name: String,
    },
    /// It is not acceptable.
    #[error(transparent)]
    Bad(#[from] Problems),
}

impl NoManifest {
    /// What to do about it.
    fn remedy(&self) -> String {
        match self {
            Self::Missing { beside, .. } => {
                format!("write {}, or set `version` in this [[plugin]]", beside.display())
            }
            Self::Unreadable { .. } => "let the host read it".to_owned(),
            Self::OfAnother { .. } => {
                "name the manifest NAME.plugin.toml beside NAME.wasm, one for each plug-in of the folder".to_owned()
            }
            Self::Bad(_) => "fix it there".to_owned(),
        }
    }
}

/// What the manifest of a plug-in says that the settings name: `NAME.plugin.toml` beside `NAME.wasm`, or `plugin.toml`, or
/// the keys of its table.
pub fn manifest_beside(plugin: &PluginSettings, component: &Path) -> Result<Manifest, NoManifest> {
    if let Some(version) = &plugin.version {
        let wishes = Wishes {
            description: plugin.description.clone(),
            handlers: plugin.handlers.clone(),
            wants: plugin.grants.iter().cloned().collect(),
            source: Source::Operator,
            ..Wishes::default()
        };
        return Ok(Manifest { name: plugin.name.clone(), version: version.clone(), wishes });
    }
    let own = component.with_extension(MANIFEST);
    let named = component.with_file_name(format!("{}.{MANIFEST}", plugin.name));
    let candidates = [own.clone(), named, component.with_file_name(MANIFEST)];
    let Some(file) = candidates.into_iter().find(|file| file.is_file()) else {
        return Err(NoManifest::Missing { component: component.to_owned(), beside: own });
    };
    let text = std::fs::read_to_string(&file)
        .map_err(|error| NoManifest::Unreadable { file: file.clone(), why: error.to_string() })?;
    let manifest = parse_manifest_of(&file, &text).map_err(Problems)?;
    if manifest.name != plugin.name {
        return Err(NoManifest::OfAnother { file, name: manifest.name.to_string() });
    }
    Ok(manifest)
}

/// Every file that the settings name and that is missing or does not fit, with the line that names it.
pub fn check_files(loaded: &Loaded) -> Vec<Problem> {
    let place = |path: &str| loaded.places.get(path).cloned().unwrap_or(Place::named("the settings"));
    let mut problems = Vec::new();
    let mut missing = |place: Place, message: String, remedy: String| {
        problems.push(Problem { code: code::MISSING_FILE, ..Problem::new(place, message, remedy) });
    };
    if let Some(file) = &loaded.settings.http.ca_file
        && let Err(error) = std::fs::File::open(file)
    {
        let message = format!("`http.ca_file` names {}, which cannot be read: {error}", file.display());
        missing(place("http.ca_file"), message, "name a file in PEM".to_owned());
    }
    if let Err(Problems(more)) = signing_keys(&loaded.settings.http.sign) {
        problems_with_places(&mut missing, more);
    }
    for plugin in &loaded.settings.plugins {
        let Some(component) = &plugin.path else { continue };
        let key = format!("plugin[{}].path", plugin.name);
        if let Err(error) = std::fs::File::open(component) {
            let message = format!("`{key}` names {}, which cannot be read: {error}", component.display());
            missing(place(&key), message, "build the component there, or correct the path".to_owned());
        }
        match manifest_beside(plugin, component) {
            Ok(_) => {}
            Err(NoManifest::Bad(Problems(more))) => problems_with_places(&mut missing, more),
            Err(error) => missing(place(&key), error.to_string(), error.remedy()),
        }
    }
    problems
}

/// The problems of a file have places of their own.
fn problems_with_places(missing: &mut impl FnMut(Place, String, String), problems: Vec<Problem>) {
    for Problem { place, message, remedy, .. } in problems {
        missing(place, message, remedy.unwrap_or_default());
    }
}

/// A file with secrets that other users of the machine may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The file.
    pub file: PathBuf,
    /// Its mode, and what it may hold.
    pub what: String,
}

impl Exposed {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        format!("chmod 600 {}", self.file.display())
    }
}

/// The files with secrets that others may read: that of the settings where it holds any, and those of signing keys.
pub fn exposed_secrets(settings: &Settings, file: Option<&Path>) -> Vec<Exposed> {
    let held = [
        ("`token` in [server]", settings.server.token.is_some()),
        ("`keys` in [[http.sign]]", settings.http.sign.iter().any(|receiver| !receiver.keys.is_empty())),
        ("`config` of a plug-in", settings.plugins.iter().any(|plugin| !plugin.config.is_empty())),
    ];
    let held: Vec<_> = held.into_iter().filter_map(|(what, is_there)| is_there.then_some(what)).collect();
    let of_settings = file.filter(|_| !held.is_empty()).map(|file| (file, held.join(", ")));
    let of_keys = settings.http.sign.iter().filter_map(|receiver| {
        Some((receiver.key_file.as_deref()?, format!("keys that sign for {}", receiver.origin.as_grant())))
    });
    of_settings.into_iter().chain(of_keys).filter_map(|(file, held)| exposed(file, &held)).collect()
}

fn exposed(file: &Path, held: &str) -> Option<Exposed> {
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let what = format!("other users may read {} (mode {mode:o}), which may hold secrets: {held}", file.display());
        Exposed { file: file.to_owned(), what }
    })
}

/// What the host accepts and its operator can hardly mean: secrets that others may read, grants that no handler can use.
/// `imports_of` reads the interfaces that a component imports.
pub fn warnings(loaded: &Loaded, imports_of: impl Fn(&Path) -> Option<Vec<String>>) -> Vec<Problem> {
    let exposed = exposed_secrets(&loaded.settings, loaded.file.as_deref());
    let exposed = exposed.into_iter().map(|exposed| {
        let remedy = exposed.remedy();
        Problem::new(Place::named(&exposed.file.display().to_string()), exposed.what, remedy)
    });
    let in_vain = loaded.settings.plugins.iter().filter_map(|plugin| granted_in_vain(loaded, plugin, &imports_of));
    exposed.chain(in_vain.flatten()).collect()
}

/// What the settings grant a plug-in and the component that they name cannot use.
fn granted_in_vain(
    loaded: &Loaded,
    plugin: &PluginSettings,
    imports_of: impl Fn(&Path) -> Option<Vec<String>>,
) -> Option<Vec<Problem>> {
    let component = plugin.path.as_deref()?;
    let Manifest { name, version, wishes } = manifest_beside(plugin, component).ok()?;
    let policies = loaded.settings.policies();
    let sides = Sides { plugin: &name, version: &version, wishes: &wishes, policy: policies.of(&name) };
    let place = |kind: &str| {
        let keys = [format!("plugin[{name}].{kind}"), format!("plugin[{name}].grants.{kind}")];
        let place = keys.iter().find_map(|key| loaded.places.get(key)).cloned();
        place.unwrap_or(Place::named("the settings"))
    };
    let unused = advice::unused(sides, &imports_of(component)?);
    Some(unused.into_iter().map(|unused| Problem::new(place(unused.kind), unused.message, unused.next)).collect())
}
