//! `backroom config`: checks the settings, shows those in force, writes a complete file to start from.

use super::failure::Exit;
use super::settings::SettingsArgs;
use super::terminal::Terminal;
use crate::config;

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
            let plugins = loaded.settings.plugins.len();
            let given = loaded.places.len();
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
        ConfigCommand::Show(args) => terminal.line(config::show(&args.load()?).trim_end())?,
        ConfigCommand::Schema => terminal.raw_line(config::EXAMPLE.trim_end())?,
    }
    Ok(Exit::Done)
}
