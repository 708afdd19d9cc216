//! The sample plug-ins of a checkout: where they are, and their components, built when asked for.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::build::{BuildOptions, Lock, build_component};

/// The built samples.
pub(crate) struct Samples {
    plugins: PathBuf,
    components: Vec<(String, PathBuf)>,
}

/// The checkout that the working directory lies in.
pub(crate) fn checkout() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    let is_checkout = |folder: &&Path| folder.join("plugins/sdk").is_dir() && folder.join("wit/plugin.wit").is_file();
    let found = here.ancestors().find(is_checkout);
    found
        .map(Path::to_owned)
        .context("neither this folder nor one above it holds the sample plug-ins; go to a checkout")
}

/// Builds the named samples.
pub(crate) fn build_samples(checkout: &Path, names: &[&str]) -> Result<Samples> {
    let plugins = checkout.join("plugins");
    let options = BuildOptions {
        target_dir: Some(checkout.join("target/plugins")),
        packages: names.iter().map(|name| (*name).to_owned()).collect(),
        lock: Lock::Kept,
    };
    let built = build_component(&plugins, &options)?;
    let components = built.into_iter().map(|component| (component.target.replace('_', "-"), component.wasm)).collect();
    Ok(Samples { plugins, components })
}

impl Samples {
    /// The component of a sample.
    pub(crate) fn component(&self, name: &str) -> Result<&Path> {
        let found = self.components.iter().find(|(target, _)| target == name);
        found.map(|(_, wasm)| wasm.as_path()).with_context(|| format!("cargo built no component named {name}"))
    }

    /// The manifest of a sample.
    pub(crate) fn manifest(&self, name: &str) -> PathBuf {
        self.plugins.join(name).join("plugin.toml")
    }
}
