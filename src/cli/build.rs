//! Builds plug-ins with cargo, in the one way that works on every machine.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::failure::Failure;
use super::terminal::aside;
use crate::domain::code;

/// What plug-ins are built for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// Settings of the shell around us that would make another thing of a plug-in, or put it elsewhere.
const MISLEADING: [&str; 7] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_PROFILE_RELEASE_PANIC",
];

/// How to build.
#[derive(Clone, Debug, Default)]
pub(crate) struct BuildOptions {
    /// Where cargo puts its work; the project's own folder unless given.
    pub(crate) target_dir: Option<PathBuf>,
    /// The packages of a workspace; the project's own choice when empty.
    pub(crate) packages: Vec<String>,
    /// Whether the lock file may change.
    pub(crate) lock: Lock,
}

/// Whether cargo may change the lock file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lock {
    /// It may.
    #[default]
    MayChange,
    /// It must not: what was tested is what is built.
    Kept,
}

/// A component that cargo has built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuiltComponent {
    /// The name of its target, such as `contact_cleaner`.
    pub(crate) target: String,
    /// The component.
    pub(crate) wasm: PathBuf,
    /// Its `plugin.toml`, where it has one.
    pub(crate) manifest: Option<PathBuf>,
}

/// Builds the project in a folder, and adds the target first where it is missing. Cargo tells its progress on standard
/// error.
pub(crate) fn build_component(project: &Path, options: &BuildOptions) -> Result<Vec<BuiltComponent>, Failure> {
    if !project.join("Cargo.toml").is_file() {
        let message = format!("there is no Cargo.toml in {}", project.display());
        return Err(Failure::bad_input(message, "give the folder of a plug-in, or make one: backroom plugin new NAME"));
    }
    ensure_target(project)?;
    let mut cargo = cargo(project);
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    if options.lock == Lock::Kept {
        cargo.arg("--locked");
    }
    if let Some(target_dir) = &options.target_dir {
        cargo.arg("--target-dir").arg(target_dir);
    }
    for package in &options.packages {
        cargo.args(["--package", package]);
    }
    let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|error| no_cargo(&error))?;
    let messages = child.stdout.take().map(BufReader::new);
    let components = messages.map(components).unwrap_or_default();
    let ended = child.wait().map_err(|error| no_cargo(&error))?;
    if !ended.success() {
        let message = format!("building {} failed; the compiler's message stands above", project.display());
        return Err(Failure::new(code::BUILD_FAILED, message));
    }
    if components.is_empty() {
        let message = format!("{} was built and made no component", project.display());
        let next = "add `crate-type = [\"cdylib\"]` under [lib] in Cargo.toml";
        return Err(Failure::new(code::BUILD_FAILED, message).with_next(next));
    }
    Ok(components)
}

/// Makes sure that the compiler can build for [`TARGET`]; says so where it has to add that.
pub(crate) fn ensure_target(project: &Path) -> Result<(), Failure> {
    if has_target(project) {
        return Ok(());
    }
    aside(&format!("the compiler has no {TARGET} target yet; running: rustup target add {TARGET}"));
    let added = command("rustup", project).args(["target", "add", TARGET]).stdin(Stdio::null()).status();
    match added {
        Ok(status) if status.success() && has_target(project) => Ok(()),
        Ok(status) => Err(Failure::new(code::NO_TARGET, format!("rustup could not add {TARGET} ({status})"))),
        Err(error) => {
            let message = format!("the compiler has no {TARGET} target and rustup cannot be started: {error}");
            let next = "install Rust with rustup (https://rustup.rs), then run: rustup target add wasm32-wasip2";
            Err(Failure::new(code::NO_TARGET, message).with_next(next))
        }
    }
}

/// Whether the compiler that builds in this folder has the libraries of [`TARGET`].
pub(crate) fn has_target(project: &Path) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = command(rustc, project).args(["--print", "target-libdir", "--target", TARGET]).output();
    let Ok(output) = output else { return false };
    let folder = String::from_utf8_lossy(&output.stdout);
    output.status.success() && Path::new(folder.trim()).read_dir().is_ok_and(|mut entries| entries.next().is_some())
}

/// A cargo in a folder, without what would mislead it.
pub(crate) fn cargo(project: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = command(cargo, project);
    MISLEADING.iter().for_each(|name| {
        command.env_remove(name);
    });
    command
}

fn command(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}

fn no_cargo(error: &std::io::Error) -> Failure {
    Failure::new(code::BUILD_FAILED, format!("cargo cannot be started: {error}"))
        .with_next("install Rust with rustup: https://rustup.rs")
}

/// What cargo says of one thing that it has built.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    target: Option<ArtifactTarget>,
}

#[derive(Deserialize)]
struct ArtifactTarget {
    name: String,
}

/// The components among what cargo says that it has built.
fn components(messages: impl BufRead) -> Vec<BuiltComponent> {
    let artifacts =
        messages.lines().map_while(Result::ok).filter_map(|line| serde_json::from_str::<Artifact>(&line).ok());
    artifacts.filter(|artifact| artifact.reason == "compiler-artifact").filter_map(component).collect()
}

fn component(artifact: Artifact) -> Option<BuiltComponent> {
    let wasm = artifact.filenames.into_iter().find(|file| file.extension().is_some_and(|ending| ending == "wasm"))?;
    let manifest = artifact.manifest_path.with_file_name("plugin.toml");
    let target = artifact.target?.name;
    Some(BuiltComponent { target, wasm, manifest: manifest.is_file().then_some(manifest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_components_are_taken_from_what_cargo_says() {
        let said = r#"
{"reason":"compiler-artifact","manifest_path":"/p/sdk/Cargo.toml","target":{"name":"sdk"},"filenames":["/t/libsdk.rlib"]}
{"reason":"compiler-artifact","manifest_path":"/p/echo/Cargo.toml","target":{"name":"echo"},"filenames":["/t/echo.wasm"]}
{"reason":"build-script-executed","package_id":"x"}
not json
{"reason":"build-finished","success":true}
"#;
        let built = components(said.as_bytes());
        let expected = BuiltComponent { target: "echo".to_owned(), wasm: "/t/echo.wasm".into(), manifest: None };
        assert_eq!(built, [expected]);
    }
}
