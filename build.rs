//! Builds the component that the program carries: `plugins/echo`, which `backroom bench` and `backroom demo` run where there are
//! no sources. A program that is built without it works as well and says what it lacks.

use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

/// What the component is made of; it is built again when any of it changes.
const SOURCES: &[&str] =
    &["plugins/echo", "plugins/sdk", "plugins/Cargo.toml", "plugins/Cargo.lock", "wit", "build.rs"];

/// Settings of the outer cargo that are not meant for the target of plug-ins.
const MISLEADING: &[&str] = &[
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(carries_echo)");
    SOURCES.iter().for_each(|path| println!("cargo::rerun-if-changed={path}"));
    // Neither the pure core nor its documentation runs any component.
    if std::env::var_os("CARGO_FEATURE_HOST").is_none() || std::env::var_os("DOCS_RS").is_some() {
        return;
    }
    match carried() {
        Ok(()) => println!("cargo::rustc-cfg=carries_echo"),
        Err(why) => println!("cargo::warning=this build carries no plug-in for `bench` and `demo`: {why}"),
    }
}

/// Puts the component and its manifest where the program includes them from.
fn carried() -> Result<(), String> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).ok_or(format!("{name} is not set"));
    let (root, out) = (folder("CARGO_MANIFEST_DIR")?, folder("OUT_DIR")?);
    let plugins = root.join("plugins");
    if !plugins.join("echo/Cargo.toml").is_file() {
        return Err("plugins/echo is not among the sources".to_owned());
    }
    ensure_target(&plugins)?;
    let target_dir = out.join("plugins");
    let mut build = cleaned(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), &plugins);
    build.args(["build", "--locked", "--release", "--quiet", "--package", "echo", "--target", TARGET, "--target-dir"]);
    let built = build.arg(&target_dir).output().map_err(|error| format!("cargo cannot be started: {error}"))?;
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr);
        let why = said.lines().find(|line| line.starts_with("error")).unwrap_or("cargo says nothing");
        return Err(format!("building plugins/echo failed: {why}"));
    }
    let copy = |from: PathBuf, name: &str| {
        std::fs::copy(&from, out.join(name)).map_err(|error| format!("{}: {error}", from.display()))
    };
    copy(target_dir.join(TARGET).join("release/echo.wasm"), "echo.wasm")?;
    copy(plugins.join("echo/plugin.toml"), "echo.toml")?;
    Ok(())
}

/// Makes sure that the compiler can build for [`TARGET`]; says so where it has to add that.
fn ensure_target(folder: &Path) -> Result<(), String> {
    if has_target(folder) {
        return Ok(());
    }
    println!("cargo::warning=the compiler has no {TARGET} target yet; running: rustup target add {TARGET}");
    let added = cleaned("rustup", folder).args(["target", "add", TARGET]).output();
    match added {
        Ok(added) if added.status.success() && has_target(folder) => Ok(()),
        _ => Err(format!("the compiler has no {TARGET} target; run: rustup target add {TARGET}")),
    }
}

fn has_target(folder: &Path) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = cleaned(rustc, folder).args(["--print", "target-libdir", "--target", TARGET]).output();
    let Ok(asked) = asked else { return false };
    let libraries = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    asked.status.success() && Path::new(&libraries).read_dir().is_ok_and(|mut entries| entries.next().is_some())
}

fn cleaned(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    MISLEADING.iter().for_each(|name| {
        command.env_remove(name);
    });
    command
}
