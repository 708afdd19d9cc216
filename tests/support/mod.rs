//! What several test binaries share: the sample plug-ins, built once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const TARGET: &str = "wasm32-wasip2";

/// The component of a sample plug-in. The first call of a process builds them all; later builds find them fresh.
pub(crate) fn built_plugin(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(build_plugins);
    // Cargo keeps the dashes of a program's name and not those of a library's.
    let names = [name.to_owned(), name.replace('-', "_")];
    let file = names.iter().map(|name| folder.join(format!("{name}.wasm"))).find(|file| file.is_file());
    file.unwrap_or_else(|| panic!("no plug-in `{name}` was built in {}", folder.display()))
}

fn build_plugins() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target_dir = root.join("target/plugins");
    if !cargo_build(root, &target_dir) {
        // The usual cause on a fresh machine; when it is another, the second build shows it.
        let added = Command::new("rustup").args(["target", "add", TARGET]).current_dir(root.join("plugins")).status();
        assert!(added.is_ok_and(|status| status.success()), "run `rustup target add {TARGET}`");
        assert!(cargo_build(root, &target_dir), "the sample plug-ins do not build");
    }
    target_dir.join(TARGET).join("release")
}

fn cargo_build(root: &Path, target_dir: &Path) -> bool {
    let target_dir = target_dir.display().to_string();
    let build = ["build", "--locked", "--release", "--target", TARGET, "--target-dir", &target_dir];
    cargo(&root.join("plugins"), &build)
}

/// Runs cargo in a folder as a person would, without what the tests' own cargo leaves around, and returns whether it ended
/// well.
pub(crate) fn cargo(folder: &Path, args: &[&str]) -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    for inherited in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
        command.env_remove(inherited);
    }
    command.args(args).current_dir(folder).status().is_ok_and(|status| status.success())
}
