//! The flags that give settings of the host, for every command that needs them.

use std::path::PathBuf;

use super::failure::{Exit, Failure};
use crate::config::{self, Flag, LoadError, Loaded};
use crate::domain::code;

/// Where the settings come from.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SettingsArgs {
    /// The settings file [default: backroom.toml, where it exists]
    #[arg(long, value_name = "FILE", env = "BACKROOM_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The address to listen on, instead of `listen` under [server]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Option<String>,
    /// The data directory, instead of `path` under [store]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<String>,
    /// What an acknowledged job survives, power or process, instead of `durability` under [store]
    #[arg(long, value_name = "WHAT")]
    pub(crate) durability: Option<String>,
    /// How many attempts run at a time, instead of `concurrency` under [worker]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) concurrency: Option<String>,
}

impl SettingsArgs {
    /// The settings in force.
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        config::load(self.config.as_deref(), self.flags()).map_err(|error| match error {
            LoadError::Problems(problems) => problems.into(),
            error @ LoadError::Unreadable { .. } => Failure {
                next: Some("backroom config schema > backroom.toml writes one with every setting".to_owned()),
                exit: Exit::BadInput,
                ..Failure::new(code::BAD_CONFIG, error.to_string())
            },
        })
    }

    fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("--listen", "server", "listen", &self.listen),
            ("--data", "store", "path", &self.data),
            ("--durability", "store", "durability", &self.durability),
            ("--concurrency", "worker", "concurrency", &self.concurrency),
        ];
        let given = |(flag, section, key, value): (&'static str, &'static str, &'static str, &Option<String>)| {
            value.clone().map(|value| Flag { flag, section, key, value })
        };
        flags.into_iter().filter_map(given).collect()
    }
}
