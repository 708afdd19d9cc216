//! Reads settings from environment variables and flags.

use super::problem::Place;
use super::value::{Entry, Given, Value};

/// A setting that a flag of the command line gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The flag as it is typed, such as `--listen`.
    pub flag: &'static str,
    /// The table, such as `server`.
    pub section: &'static str,
    /// The key in it.
    pub key: &'static str,
    /// Its value.
    pub value: String,
}

/// How the variables of a table begin, such as `BACKROOM_SERVER_`.
pub(crate) fn prefix(section: &str) -> String {
    format!("BACKROOM_{}_", section.to_uppercase())
}

/// The settings of a table that stand in variables. An empty variable counts as absent.
pub(crate) fn variables(section: &str, environment: &[(String, String)]) -> Vec<Entry> {
    let prefix = prefix(section);
    let ours = environment.iter().filter(|(_, value)| !value.is_empty());
    ours.filter_map(|(name, value)| {
        let key = name.strip_prefix(&prefix)?.to_lowercase();
        Some(entry(key, name, value))
    })
    .collect()
}

/// The settings of a table that stand in flags.
pub(crate) fn flags(section: &str, flags: &[Flag]) -> Vec<Entry> {
    let ours = flags.iter().filter(|flag| flag.section == section);
    ours.map(|flag| entry(flag.key.to_owned(), flag.flag, &flag.value)).collect()
}

fn entry(key: String, source: &str, value: &str) -> Entry {
    let place = Place::named(source);
    let given = Given { value: Value::Word(value.to_owned()), place: place.clone() };
    Entry { key, key_place: place, given }
}
