//! `backroom config`: checks the settings, shows those in force, writes a complete file to start from.

use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::settings::SettingsArgs;
use super::terminal::{Terminal, aside};
use crate::config::{self, Problems};
use crate::embedded;

/// What to do with the settings.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ConfigCommand {
    /// Name every problem of the settings at once, with its line
    Check(SettingsArgs),
    /// Show the settings in force, and where each was given
    Show(SettingsArgs),
    /// Write a settings file with every setting at its default
    Schema,
}

/// Does it.
pub(crate) fn run(command: &ConfigCommand, terminal: Terminal) -> anyhow::Result<Exit> {
    match command {
        ConfigCommand::Check(args) => {
            let loaded = args.load()?;
            let problems = config::check_files(&loaded);
            if !problems.is_empty() {
                return Err(Failure::from(Problems(problems)).into());
            }
            let warnings: Vec<_> = embedded::warnings(&loaded).iter().map(ToString::to_string).collect();
            let plugins = loaded.settings.plugins.len();
            let given = loaded.places.len();
            if terminal.is_json() {
                let file = loaded.file.as_ref().map(|file| file.display().to_string());
                let right =
                    json!({ "right": true, "file": file, "given": given, "plugins": plugins, "warnings": warnings });
                terminal.json(&right.to_string())?;
                return Ok(Exit::Done);
            }
            warnings.iter().for_each(|warning| aside(&format!("warning: {warning}")));
            match &loaded.file {
                Some(file) => {
                    terminal
                        .line(&format!("{} is right: {given} settings given, {plugins} plug-ins", file.display()))?;
                }
                None => terminal.line(&format!(
                    "there is no {}; {given} settings given by the environment and flags, all else at its default",
                    config::DEFAULT_FILE
                ))?,
            }
        }
        ConfigCommand::Show(args) if terminal.is_json() => terminal.json(&document(&args.load()?)?.to_string())?,
        ConfigCommand::Show(args) => terminal.line(config::show(&args.load()?).trim_end())?,
        ConfigCommand::Schema if terminal.is_json() => {
            terminal.json(&json!({ "file": config::EXAMPLE }).to_string())?
        }
        ConfigCommand::Schema => terminal.raw_line(config::EXAMPLE.trim_end())?,
    }
    Ok(Exit::Done)
}

/// The settings in force as JSON, with the place of each that was given.
fn document(loaded: &config::Loaded) -> anyhow::Result<Value> {
    let settings: toml::Table = config::show(loaded).parse()?;
    let places = loaded.places.iter().map(|(path, place)| (path.clone(), Value::from(place.to_string())));
    let places: serde_json::Map<_, _> = places.collect();
    Ok(json!({ "file": loaded.file, "settings": settings, "places": places }))
}
