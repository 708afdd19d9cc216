//! `backroom plugin`: write, build, upload and manage plug-ins.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::build::{self, BuildOptions, BuiltComponent, Lock};
use super::client::{Answer, Client, ClientArgs, Component, Force};
use super::failure::{Exit, Failure};
use super::new;
use super::progress::Bar;
use super::queue::shown_pause;
use super::steer::Why;
use super::table::{Columns, Field};
use super::terminal::{self, Terminal};
use crate::api::view::{
    EffectiveView, GrantBody, GrantView, GrantedView, PauseView, PluginView, RevokeBody, UploadView, VersionState,
    VersionView,
};
use crate::config::units::show_size;
use crate::config::{Problems, parse_manifest};

/// How far above a component its manifest is looked for: `target/wasm32-wasip2/release` lies three folders down.
const FOLDERS_UP: usize = 5;

/// What to do with plug-ins.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PluginCommand {
    /// Write a project that builds, is tested, and can be uploaded and run
    New(new::NewArgs),
    /// Build the plug-ins of a project with cargo
    Build {
        /// The project's folder
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Only this package of a workspace; may be given several times
        #[arg(long = "package", short = 'p', value_name = "NAME")]
        packages: Vec<String>,
        /// Refuse to change Cargo.lock
        #[arg(long)]
        locked: bool,
    },
    /// Upload a component; it runs at once unless it asks for what is not granted
    Upload(UploadArgs),
    /// List the plug-ins
    List,
    /// Show a plug-in with its versions
    Show {
        /// The plug-in
        name: String,
    },
    /// Make a version the one that jobs run
    Activate {
        /// The plug-in
        name: String,
        /// The version
        version: String,
    },
    /// Grant a plug-in what it asks for, at once; or show what is granted
    Grant(GrantArgs),
    /// Go back to the version that was active before
    Rollback {
        /// The plug-in
        name: String,
    },
    /// Let a plug-in's jobs run again
    Enable {
        /// The plug-in
        name: String,
    },
    /// Cancel a plug-in's queued jobs when their turn comes
    Disable {
        /// The plug-in
        name: String,
    },
    /// Start none of a plug-in's jobs until a time, or until it is resumed; nothing is canceled
    Pause {
        /// The plug-in
        name: String,
        /// When it goes on by itself, such as 2030-01-31T00:00:00Z, or how long from now, such as 15m
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Let the jobs of a paused plug-in start again
    Resume {
        /// The plug-in
        name: String,
        #[command(flatten)]
        why: Why,
    },
    /// Remove a plug-in with all its versions
    Remove {
        /// The plug-in
        name: String,
        /// Also when unfinished jobs need it: they wait until it is uploaded again
        #[arg(long)]
        force: bool,
        /// On a terminal: do it without asking
        #[arg(long, short = 'y')]
        yes: bool,
    },
}

/// What to grant, or to take back.
#[derive(Debug, clap::Args)]
pub(crate) struct GrantArgs {
    /// The plug-in, or `http` for the handler that is built in
    name: String,
    /// An origin that it may call, such as https://api.example.com or https://*.example.com; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    http: Vec<String>,
    /// A setting with its value; with --revoke its key alone; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// What its handlers may pause: `plugin` (itself) or `queue` (the one that the job is in); may be given several times
    #[arg(long, value_name = "WHAT")]
    pause: Vec<String>,
    /// Take these back
    #[arg(long)]
    revoke: bool,
}

/// What to upload.
#[derive(Debug, clap::Args)]
pub(crate) struct UploadArgs {
    /// The component
    file: PathBuf,
    /// The plug-in, when there is no plugin.toml
    #[arg(long)]
    name: Option<String>,
    /// The version, when there is no plugin.toml
    #[arg(long)]
    version: Option<String>,
    /// Its plugin.toml [default: the one of its project]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "version"])]
    manifest: Option<PathBuf>,
}

/// Does something with plug-ins.
pub(crate) fn run(args: &ClientArgs, command: &PluginCommand, terminal: Terminal) -> anyhow::Result<Exit> {
    match command {
        PluginCommand::New(args) => return new::run(args, terminal),
        PluginCommand::Build { dir, packages, locked } => {
            let lock = if *locked { Lock::Kept } else { Lock::MayChange };
            return build(dir, BuildOptions { packages: packages.clone(), lock, target_dir: None }, terminal);
        }
        _ => {}
    }
    let client = Client::new(args)?;
    match command {
        PluginCommand::New(_) | PluginCommand::Build { .. } => Ok(Exit::Done),
        PluginCommand::Upload(args) => upload(&client, args, terminal),
        PluginCommand::List => list(&client, terminal),
        PluginCommand::Show { name } => show(&client.plugin(name)?, terminal),
        PluginCommand::Activate { name, version } => changed(&client.activate(name, version)?, terminal),
        PluginCommand::Grant(args) => grant(&client, args, terminal),
        PluginCommand::Rollback { name } => changed(&client.steer_plugin(name, "rollback")?, terminal),
        PluginCommand::Enable { name } => changed(&client.steer_plugin(name, "enable")?, terminal),
        PluginCommand::Disable { name } => changed(&client.steer_plugin(name, "disable")?, terminal),
        PluginCommand::Pause { name, until, why } => {
            changed(&client.hold_plugin(name, "pause", &why.pause(until.as_ref()))?, terminal)
        }
        PluginCommand::Resume { name, why } => changed(&client.hold_plugin(name, "resume", &why.body())?, terminal),
        PluginCommand::Remove { name, force, yes } => {
            let force = if *force { Force::Yes } else { Force::No };
            remove(&client, name, force, *yes, terminal)
        }
    }
}

fn remove(client: &Client, name: &str, force: Force, is_sure: bool, terminal: Terminal) -> anyhow::Result<Exit> {
    if !is_sure && terminal.can_ask() {
        let versions = client.plugin(name)?.view.versions.len();
        let versions = if versions == 1 { "its version".to_owned() } else { format!("its {versions} versions") };
        if !terminal.ask(&format!("remove plug-in `{name}` with {versions} for good?"))? {
            terminal.line("nothing was removed")?;
            return Ok(Exit::Done);
        }
    }
    client.remove_plugin(name, force)?;
    match terminal.is_json() {
        true => terminal.json(&json!({ "name": name, "removed": true }).to_string())?,
        false => terminal.line(&format!("plug-in `{name}` was removed"))?,
    }
    Ok(Exit::Done)
}

fn build(dir: &Path, options: BuildOptions, terminal: Terminal) -> anyhow::Result<Exit> {
    let here = std::env::current_dir().unwrap_or_default();
    let built = build::build_component(dir, &options)?;
    if terminal.is_json() {
        let path = |path: &PathBuf| path.display().to_string();
        let of = |built: &BuiltComponent| json!({ "component": path(&built.wasm), "manifest": built.manifest.as_ref().map(path) });
        terminal.json(&json!({ "built": built.iter().map(of).collect::<Vec<_>>() }).to_string())?;
        return Ok(Exit::Done);
    }
    for built in built {
        let shown = built.wasm.strip_prefix(&here).unwrap_or(&built.wasm);
        terminal.line(&shown.display().to_string())?;
        if let Some(manifest) = &built.manifest {
            read_manifest(manifest)?;
        }
        terminal::aside(&format!("next: {}", uploading(shown, built.manifest.as_deref())));
    }
    Ok(Exit::Done)
}

/// The command that uploads a component; it names the manifest where `upload` would not find that by itself.
fn uploading(component: &Path, manifest: Option<&Path>) -> String {
    let upload = format!("backroom plugin upload {}", component.display());
    let same = |manifest: &Path| manifest.canonicalize().ok() == manifest_of(component);
    match manifest.filter(|manifest| !same(manifest)) {
        Some(manifest) => format!("{upload} --manifest {}", manifest.display()),
        None => upload,
    }
}

/// A component's name and version, and the manifest that says them.
struct Identity {
    name: String,
    version: String,
    manifest: Option<String>,
}

fn upload(client: &Client, args: &UploadArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let bytes = std::fs::read(&args.file).map_err(|error| {
        let message = format!("`{}` cannot be read: {error}", args.file.display());
        Failure::bad_input(message, "give the component, such as target/wasm32-wasip2/release/NAME.wasm")
    })?;
    let Identity { name, version, manifest } = identify(args)?;
    let component = Component { name: &name, version: &version, manifest: manifest.as_deref(), bytes: &bytes };
    let bar = Bar::while_doing(&format!("uploading and compiling {}", kibibytes(bytes.len() as u64)));
    let uploaded = client.upload(component);
    bar.clear();
    let uploaded = uploaded?;
    if terminal.is_json() {
        terminal.json(&uploaded.text)?;
        return Ok(Exit::Done);
    }
    let UploadView { plugin, version, repeated, new_manifest, add_to_config, next, warnings } = &uploaded.view;
    let was_there = match (*repeated, *new_manifest) {
        (true, true) => ", and was there already; its plugin.toml is new",
        (true, false) => ", and was there already",
        (false, _) => "",
    };
    let digest = version.digest.get(..12).unwrap_or(&version.digest);
    let state = state_word(version.state);
    terminal.line(&format!(
        "{plugin} {} is {state}{was_there} ({}, {}, sha256 {digest})",
        version.version,
        version.shape,
        kibibytes(version.bytes)
    ))?;
    warn(warnings, terminal)?;
    if let Some(next) = next {
        let asked = grants(&version.missing_grants);
        terminal.line(&format!("it asks for what is not granted: {asked}. To grant it:\n\n  {next}"))?;
        if let Some(lines) = add_to_config {
            terminal.line(&format!("\nor in the file of the settings:\n\n{}", lines.trim_end()))?;
        }
    }
    Ok(Exit::Done)
}

fn grant(client: &Client, args: &GrantArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let GrantArgs { name, http, config, pause, revoke } = args;
    if http.is_empty() && config.is_empty() && pause.is_empty() {
        if *revoke {
            let next = format!("name what to take back: backroom plugin grant {name} --revoke --http ORIGIN");
            return Err(Failure::bad_input("--revoke names nothing", next).into());
        }
        return granted(&client.plugin(name)?, terminal);
    }
    let answer = match revoke {
        true => {
            let key = |word: &String| word.split('=').next().unwrap_or_default().to_owned();
            let config = config.iter().map(key).collect();
            client.revoke(name, &RevokeBody { http: http.clone(), config, pause: pause.clone() })?
        }
        false => {
            let pair = |word: &String| match word.split_once('=') {
                Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
                None => Err(Failure::bad_input(format!("`{word}` has no value"), format!("--config {word}=VALUE"))),
            };
            let config = config.iter().map(pair).collect::<Result<_, _>>()?;
            client.grant(name, &GrantBody { http: http.clone(), config, pause: pause.clone() })?
        }
    };
    granted(&answer, terminal)
}

/// What a plug-in may do, and who says so.
fn granted(plugin: &Answer<PluginView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json(&plugin.text)?;
        return Ok(Exit::Done);
    }
    changed(plugin, terminal)?;
    if plugin.view.grants.is_empty() {
        terminal.line("nothing is granted to it")?;
        return Ok(Exit::Done);
    }
    let row = |grant: &GrantedView| {
        let value = match grant.has_value {
            Some(false) => format!("{} (no value)", grant.value),
            _ => grant.value.clone(),
        };
        vec![Field::new(&grant.kind), Field::new(value), Field::new(&grant.source), Field::new(&grant.place)]
    };
    let rows = plugin.view.grants.iter().map(row).collect();
    terminal.table(&Columns { headings: &["GRANT", "VALUE", "BY", "WHERE"], spare: &["WHERE", "BY"] }, rows)?;
    Ok(Exit::Done)
}

/// One line of what is granted and who says so.
fn granted_lines(grants: &[GrantedView]) -> Option<String> {
    let line = |grant: &GrantedView| {
        let value = if grant.has_value == Some(false) { " (no value)" } else { "" };
        format!("{} {}{value} ({}: {})", grant.kind, grant.value, grant.source, grant.place)
    };
    let lines: Vec<_> = grants.iter().map(line).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Finds out what a component is called: by the flags, or by its manifest.
fn identify(args: &UploadArgs) -> anyhow::Result<Identity> {
    let found = args.manifest.clone().or_else(|| manifest_of(&args.file));
    if let (Some(path), None, None) = (&found, &args.name, &args.version) {
        let text = read_manifest(path)?;
        let manifest = parse_manifest(&text).map_err(|problems| Failure::from(Problems(problems)))?;
        let (name, version) = (manifest.name.to_string(), manifest.version.to_string());
        return Ok(Identity { name, version, manifest: Some(text) });
    }
    let stem = args.file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().replace('_', "-");
    let name = args.name.clone().unwrap_or(stem);
    let Some(version) = args.version.clone() else {
        let message = format!("there is no plugin.toml beside {}", args.file.display());
        let next = "write one with `name` and `version`, or give --name and --version";
        return Err(Failure::bad_input(message, next).into());
    };
    Ok(Identity { name, version, manifest: None })
}

/// The manifest that belongs to a component: `NAME.plugin.toml` or `plugin.toml` beside it, or the one of its project above
/// `target`. In a workspace it is that of the member whose name the component has.
fn manifest_of(component: &Path) -> Option<PathBuf> {
    let component = component.canonicalize().ok()?;
    let member = component.file_stem()?.to_str()?.replace('_', "-");
    let own = component.with_extension("plugin.toml");
    if own.is_file() {
        return Some(own);
    }
    let folders = component.ancestors().skip(1).take(FOLDERS_UP);
    let mut candidates =
        folders.flat_map(|folder| [folder.join(&member).join("plugin.toml"), folder.join("plugin.toml")]);
    candidates.find(|candidate| candidate.is_file())
}

/// The text of a manifest, once it is known to be right.
fn read_manifest(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::bad_input(format!("`{}` cannot be read: {error}", path.display()), "check the path")
    })?;
    parse_manifest(&text).map_err(|problems| Failure::from(Problems(problems)))?;
    Ok(text)
}

fn changed(plugin: &Answer<PluginView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json(&plugin.text)?;
        return Ok(Exit::Done);
    }
    let PluginView { name, active, enabled, pause, versions, .. } = &plugin.view;
    let active = match active {
        Some(version) => format!("runs version {version}"),
        None if versions.is_empty() => "is built in".to_owned(),
        None => "has no active version".to_owned(),
    };
    let enabled = if *enabled { "" } else { " and is disabled" };
    let paused = match (pause, versions.is_empty()) {
        (Some(pause), _) => format!(" and is paused {}", shown_pause(pause)),
        (None, true) => " and not paused".to_owned(),
        (None, false) => String::new(),
    };
    terminal.line(&format!("{name} {active}{enabled}{paused}"))?;
    warn(&plugin.view.warnings, terminal)
}

fn warn(warnings: &[String], terminal: Terminal) -> anyhow::Result<Exit> {
    for warning in warnings {
        terminal.line(&format!("warning: {warning}"))?;
    }
    Ok(Exit::Done)
}

fn list(client: &Client, terminal: Terminal) -> anyhow::Result<Exit> {
    let plugins = client.plugins()?;
    if terminal.is_json() {
        terminal.json_list(&plugins.text, "plugins")?;
        return Ok(Exit::Done);
    }
    let row = |plugin: &PluginView| {
        let state = match (plugin.enabled, &plugin.active) {
            (false, _) => "disabled",
            (true, Some(_)) if plugin.paused => "paused",
            (true, Some(_)) if plugin.degraded => "degraded",
            (true, Some(_)) => "active",
            (true, None) => "pending",
        };
        vec![
            Field::new(&plugin.name),
            Field::state(state),
            Field::or_dash(plugin.active.as_ref()),
            Field::new(plugin.versions.len().to_string()),
            Field::new(plugin.description.as_deref().unwrap_or_default()),
        ]
    };
    let rows: Vec<_> = plugins.view.plugins.iter().map(row).collect();
    if rows.is_empty() {
        terminal.line("there are no plug-ins; upload one with: backroom plugin upload FILE.wasm")?;
        return Ok(Exit::Done);
    }
    let columns = Columns {
        headings: &["NAME", "STATE", "VERSION", "VERSIONS", "DESCRIPTION"],
        spare: &["VERSIONS", "DESCRIPTION", "VERSION"],
    };
    terminal.table(&columns, rows)?;
    Ok(Exit::Done)
}

fn show(plugin: &Answer<PluginView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json(&plugin.text)?;
        return Ok(Exit::Done);
    }
    let PluginView { name, description, active, previous, enabled, pause, degraded, versions, .. } = &plugin.view;
    if versions.is_empty() {
        return show_built_in(&plugin.view, terminal);
    }
    let current = versions.iter().find(|version| Some(&version.version) == active.as_ref()).or(versions.last());
    terminal.facts(&[
        ("plug-in", Some(name.clone())),
        ("about", description.clone()),
        ("enabled", Some(if *enabled { "yes" } else { "no: its jobs are canceled" }.to_owned())),
        ("starts", held_back(pause.as_ref(), *degraded)),
        ("active", active.clone().or(Some("none".to_owned()))),
        ("before", previous.clone()),
        ("handlers", current.map(handlers)),
        ("wants", current.filter(|version| !version.wants.is_empty()).map(|version| grants(&version.wants))),
        ("granted", granted_lines(&plugin.view.grants)),
        ("wishes", current.and_then(wishes)),
        ("limits", current.map(limits)),
        ("imports", current.map(|version| version.imports.join("\n"))),
    ])?;
    let row = |version: &VersionView| {
        vec![
            Field::new(&version.version),
            Field::state(state_word(version.state)),
            Field::new(&version.shape),
            Field::new(kibibytes(version.bytes)),
            Field::new(&version.uploaded_on),
            Field::new(version.digest.get(..12).unwrap_or(&version.digest)),
            Field::new(missing(version)),
        ]
    };
    terminal.line("")?;
    let columns = Columns {
        headings: &["VERSION", "STATE", "SHAPE", "SIZE", "UPLOADED", "SHA-256", "NOTE"],
        spare: &["SHAPE", "SIZE", "SHA-256", "UPLOADED"],
    };
    terminal.table(&columns, versions.iter().map(row).collect())?;
    warn(&plugin.view.warnings, terminal)
}

/// What keeps its jobs from starting, if anything does.
fn held_back(pause: Option<&PauseView>, degraded: bool) -> Option<String> {
    let paused = pause.map(|pause| format!("none: it is paused {}", shown_pause(pause)));
    paused.or_else(|| degraded.then(|| "few: it keeps failing and is slowed down".to_owned()))
}

fn show_built_in(plugin: &PluginView, terminal: Terminal) -> anyhow::Result<Exit> {
    let starts = held_back(plugin.pause.as_ref(), plugin.degraded).unwrap_or_else(|| "as they come".to_owned());
    terminal.facts(&[
        ("plug-in", Some(plugin.name.clone())),
        ("about", Some("built into the host; `backroom config show` has its grants and limits".to_owned())),
        ("starts", Some(starts)),
        ("granted", granted_lines(&plugin.grants)),
    ])?;
    Ok(Exit::Done)
}

fn missing(version: &VersionView) -> String {
    match version.missing_grants.as_slice() {
        [] => String::new(),
        missing => format!("not granted: {}", grants(missing)),
    }
}

fn grants(grants: &[GrantView]) -> String {
    let words: Vec<_> = grants.iter().map(|grant| format!("{} {}", grant.kind, grant.value)).collect();
    words.join(", ")
}

/// Its handlers, and who names them where that is not the component itself.
fn handlers(version: &VersionView) -> String {
    let names = version.handlers.join(", ");
    match (version.handlers_named_by.as_str(), version.shape.as_str()) {
        ("manifest", "handler") => format!("{names} (as plugin.toml says; the component does not name its own)"),
        _ => names,
    }
}

/// The limits in force.
fn limits(version: &VersionView) -> String {
    let EffectiveView { fuel, wall_ms, memory_bytes, input_bytes, output_bytes } = &version.limits;
    let (memory, input, output) = (show_size(*memory_bytes), show_size(*input_bytes), show_size(*output_bytes));
    format!("fuel {fuel}, wall {wall_ms}ms, memory {memory}, input {input}, output {output}")
}

fn wishes(version: &VersionView) -> Option<String> {
    let fuel = version.fuel.map(|fuel| format!("fuel {fuel}"));
    let wall = version.wall_ms.map(|millis| format!("wall {millis}ms"));
    let memory = version.memory_bytes.map(|bytes| format!("memory {}", show_size(bytes)));
    let all: Vec<_> = [fuel, wall, memory].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn state_word(state: VersionState) -> &'static str {
    match state {
        VersionState::Active => "active",
        VersionState::Inactive => "inactive",
        VersionState::Pending => "pending",
    }
}

fn kibibytes(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1_024))
}
