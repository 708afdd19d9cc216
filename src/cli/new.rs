//! `backroom plugin new`: a project that builds, is tested, and can be uploaded and run.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use toml::{Table, Value};

use super::failure::{Exit, Failure};
use super::terminal::Terminal;
use crate::domain::id::PluginName;

/// What to make, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// The plug-in's name: lower-case letters, digits and -
    name: String,
    /// The folder to make [default: the name]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The handler that the project starts from, with its test.
const HANDLER: &str = r#"
use backroom_sdk::prelude::*;
use serde::{Deserialize, Serialize};

backroom_sdk::export!(greet);

/// The input of a job: the JSON that it was submitted with.
#[derive(Debug, Deserialize)]
struct Person {
    name: String,
}

/// The output of a job, as JSON.
#[derive(Debug, Serialize)]
struct Greeting {
    text: String,
}

/// `?` works on any error. One without a class is tried again; `business` says that trying again would not help.
fn greet(person: Person) -> Result<Greeting> {
    if person.name.is_empty() {
        return Err(Failure::business("nobody has no name").code("empty-name"));
    }
    info!("greeting {}", person.name);
    Ok(Greeting { text: format!("Hello, {}!", person.name) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use backroom_sdk::testing::TestHost;
    use serde_json::json;

    #[test]
    fn a_person_is_greeted_by_name() {
        let run = TestHost::new().run(greet, json!({"name": "world"}));
        assert_eq!(run.output(), json!({"text": "Hello, world!"}));
        assert_eq!(run.logs[0].message, "greeting world");
    }

    #[test]
    fn a_person_without_a_name_is_refused() {
        let run = TestHost::new().run(greet, json!({"name": ""}));
        assert_eq!(run.failure().code.as_deref(), Some("empty-name"));
    }
}
"#;

/// The input of a first run.
const EXAMPLE: &str = r#"'{"name": "world"}'"#;

/// The workspace that the SDK is kept in, and whose versions were tested.
const WORKSPACE: &str = include_str!("../../plugins/Cargo.toml");
const LOCK: &str = include_str!("../../plugins/Cargo.lock");
const SDK_MANIFEST: &str = include_str!("../../plugins/sdk/Cargo.toml");

/// Where the SDK finds the contract, there and in the project.
const WIT_THERE: &str = "\"../../wit\"";
const WIT_HERE: &str = "\"wit\"";

macro_rules! files {
    ($folder:literal: $($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../", $folder, "/", $path)))),*]
    };
}

/// The SDK's sources, by their path in `plugins/sdk`.
const SDK: &[(&str, &str)] = files!("plugins/sdk":
    "src/component.rs",
    "src/config.rs",
    "src/control.rs",
    "src/export.rs",
    "src/failure.rs",
    "src/handler.rs",
    "src/job.rs",
    "src/lib.rs",
    "src/logging.rs",
    "src/outcome.rs",
    "src/payload.rs",
    "src/testing.rs",
);

/// The contract, by its path in `wit`.
const WIT: &[(&str, &str)] = files!("wit":
    "deps/config/store.wit",
    "deps/logging/logging.wit",
    "plugin.wit",
);

/// Names that would stand for something else in Rust or in the project.
const TAKEN: [&str; 10] =
    ["alloc", "backroom-sdk", "build", "core", "deps", "proc-macro", "serde", "serde-json", "std", "test"];

/// Makes the project.
pub(crate) fn run(args: &NewArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let name = PluginName::new(&args.name).map_err(|error| {
        Failure::bad_input(error.to_string(), "use 1 to 64 lower-case letters, digits and -, starting with a letter")
    })?;
    if TAKEN.contains(&name.as_str()) || is_keyword(name.as_str()) {
        let message = format!("`{name}` means something else in Rust");
        return Err(Failure::bad_input(message, format!("choose another name, such as my-{name}")).into());
    }
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(name.as_str()));
    let is_taken = folder.exists() && !folder.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    if is_taken {
        let message = format!("{} exists and is not an empty folder", folder.display());
        return Err(Failure::bad_input(message, "choose another place with --dir").into());
    }
    for (path, text) in project(&name) {
        write(&folder.join(path), &text)?;
    }
    tell(&name, &folder, terminal)?;
    Ok(Exit::Done)
}

fn tell(name: &PluginName, folder: &Path, terminal: Terminal) -> anyhow::Result<()> {
    let shown = folder.display();
    if terminal.is_json() {
        let document = serde_json::json!({ "name": name.as_str(), "folder": shown.to_string() });
        return Ok(terminal.json(&document.to_string())?);
    }
    terminal.line(&format!(
        "plug-in `{name}` is in {shown}\n\n  \
         cd {shown}\n  \
         cargo test                                  # its handler, natively\n  \
         backroom plugin build                       # or: cargo build --target wasm32-wasip2 --release\n  \
         backroom plugin upload target/wasm32-wasip2/release/{}.wasm\n  \
         backroom run {name} {EXAMPLE}",
        name.as_str().replace('-', "_"),
    ))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

/// Every file of the project.
fn project(name: &PluginName) -> Vec<(String, String)> {
    let workspace: Table = WORKSPACE.parse().expect("the workspace's manifest is TOML, a test reads it");
    let mut files = vec![
        ("Cargo.toml".to_owned(), manifest(name, &workspace)),
        ("Cargo.lock".to_owned(), LOCK.to_owned()),
        (".gitignore".to_owned(), "/target\n/src/bindings.rs\n".to_owned()),
        ("README.md".to_owned(), readme(name)),
        ("plugin.toml".to_owned(), plugin_manifest(name)),
        ("src/lib.rs".to_owned(), handler(name)),
        ("backroom-sdk/Cargo.toml".to_owned(), sdk_manifest(&workspace)),
    ];
    files.extend(SDK.iter().map(|(path, text)| (format!("backroom-sdk/{path}"), text.replace(WIT_THERE, WIT_HERE))));
    files.extend(WIT.iter().map(|(path, text)| (format!("backroom-sdk/wit/{path}"), (*text).to_owned())));
    files
}

fn manifest(name: &PluginName, workspace: &Table) -> String {
    let of_workspace = |key: &str| workspace["workspace"]["package"][key].to_string();
    let profile: Table = workspace["profile"]["release"].as_table().cloned().unwrap_or_default();
    format!(
        r#"[package]
name = "{name}"
version = "0.1.0"
edition = {edition}
rust-version = {rust_version}
publish = false

[lib]
crate-type = ["cdylib"]

[dependencies]
backroom-sdk = {{ path = "backroom-sdk" }}
serde = {serde}

[dev-dependencies]
serde_json = {serde_json}

[profile.release]
{profile}
# For `cargo component` alone: it wants to be told where the contract and its packages are.
[package.metadata.component]
package = "backroom:{name}"

[package.metadata.component.target]
path = "backroom-sdk/wit"
world = "plugin"

[package.metadata.component.target.dependencies]
"wasi:config" = {{ path = "backroom-sdk/wit/deps/config" }}
"wasi:logging" = {{ path = "backroom-sdk/wit/deps/logging" }}

[workspace]
"#,
        edition = of_workspace("edition"),
        rust_version = of_workspace("rust-version"),
        serde = workspace["workspace"]["dependencies"]["serde"],
        serde_json = workspace["workspace"]["dependencies"]["serde_json"],
    )
}

/// The SDK's manifest on its own: what it takes from its workspace is filled in.
fn sdk_manifest(workspace: &Table) -> String {
    let mut manifest: Table = SDK_MANIFEST.parse().expect("the SDK's manifest is TOML, a test reads it");
    manifest.remove("lints");
    let shared = &workspace["workspace"];
    for table in ["package", "dependencies"] {
        let Some(Value::Table(entries)) = manifest.get_mut(table) else { continue };
        for (key, value) in entries.iter_mut() {
            if value.get("workspace").is_some() {
                *value = shared[table][key].clone();
            }
        }
    }
    manifest.to_string()
}

fn plugin_manifest(name: &PluginName) -> String {
    format!(
        r#"name = "{name}"
version = "0.1.0"                       # the same as in Cargo.toml; raise it before you upload again
description = "Greets by name"

# [limits]                              # wishes; the operator's limits hold
# fuel = 1_000_000_000
# wall = "5s"
# memory = "32MiB"

# [wants]                               # what it may do once the operator has granted it
# http = ["https://api.example.com"]
# config = ["greeting"]
"#
    )
}

/// The handler under the project's name.
fn handler(name: &PluginName) -> String {
    format!("//! The `{name}` plug-in. It greets by name: change the handler into what you need.\n{HANDLER}")
}

fn readme(name: &PluginName) -> String {
    let file = name.as_str().replace('-', "_");
    format!(
        r#"# {name}

A plug-in for Backroom. The handler is in `src/lib.rs`; `plugin.toml` tells the host what it is.

```
cargo test                                        # runs the handler natively, on a host that is a fake
cargo build --target wasm32-wasip2 --release      # makes target/wasm32-wasip2/release/{file}.wasm
cargo component build --release                   # does the same in target/wasm32-wasip1/release, if you prefer it

backroom plugin upload target/wasm32-wasip2/release/{file}.wasm
backroom run {name} {EXAMPLE}
```

`backroom plugin build` is the plain cargo build, and adds the `wasm32-wasip2` target first where it is missing.

`backroom-sdk/` holds the SDK and, in `backroom-sdk/wit/`, the contract that this project was made for.
"#
    )
}

fn is_keyword(name: &str) -> bool {
    const KEYWORDS: &str = "abstract as async await become box break const continue crate do dyn else enum extern false final \
         fn for gen if impl in let loop macro match mod move mut override priv pub ref return self static struct super trait \
         true try type typeof unsafe unsized use virtual where while yield";
    KEYWORDS.split(' ').any(|keyword| keyword == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::parse_manifest;

    fn files_under(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("the folder can be read").flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => files_under(&path, root, found),
                false => {
                    let inside = path.strip_prefix(root).expect("it lies under the root");
                    found.insert(inside.display().to_string());
                }
            }
        }
    }

    #[test]
    fn the_lists_of_embedded_files_are_complete() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (root, folder, embedded) in [("plugins/sdk", "src", SDK), ("wit", "", WIT)] {
            let root = project.join(root);
            let mut there = BTreeSet::new();
            files_under(&root.join(folder), &root, &mut there);
            let ours: BTreeSet<_> = embedded.iter().map(|(path, _)| (*path).to_owned()).collect();
            assert_eq!(ours, there, "{}", root.display());
        }
    }

    #[test]
    fn the_project_stands_on_its_own() {
        let name = PluginName::new("my-plugin").expect("it is a name");
        let files = project(&name);
        let text = |path: &str| &files.iter().find(|(there, _)| there == path).expect(path).1;
        for (path, text) in &files {
            assert!(!text.contains("../.."), "{path} names something outside of the project");
            assert!(!text.contains("workspace = true"), "{path} takes something from a workspace");
        }
        let manifest = parse_manifest(text("plugin.toml")).expect("its manifest is right");
        assert_eq!(manifest.name, name);
        let cargo: Table = text("Cargo.toml").parse().expect("it is TOML");
        assert_eq!(cargo["package"]["version"].as_str(), Some(manifest.version.as_str()));
        assert_eq!(cargo["profile"]["release"]["lto"].as_bool(), Some(true));
        let sdk: Table = text("backroom-sdk/Cargo.toml").parse().expect("it is TOML");
        assert!(sdk["dependencies"]["serde"]["version"].is_str());
        assert!(text("backroom-sdk/src/component.rs").contains("path: \"wit\""));
        assert!(text("src/lib.rs").contains("fn greet("));
    }
}
