//! Reads `plugin.toml`, what a plug-in's author says of it.

use std::path::Path;

use super::file::{self, Document};
use super::outline;
use super::problem::{Place, Position, Problem};
use super::read::{fuel, gather, memory, plugin_name, read_grants, wall};
use super::section::{Report, Section};
use super::value::{Given, Reading, list, parsed, text};
use crate::domain::code;
use crate::domain::id::{HandlerName, PluginName, VersionName};
use crate::domain::plugin::{Source, Wishes};

/// What messages call a manifest.
const NAME: &str = "plugin.toml";

/// What a `plugin.toml` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The plug-in.
    pub name: PluginName,
    /// Its version.
    pub version: VersionName,
    /// What it wishes of its host.
    pub wishes: Wishes,
}

/// Reads a manifest that came with an upload. Every problem is reported at once, with its line.
pub fn parse_manifest(text: &str) -> Result<Manifest, Vec<Problem>> {
    parse(text, None)
}

/// Reads a manifest that is a file of this machine.
pub fn parse_manifest_of(file: &Path, text: &str) -> Result<Manifest, Vec<Problem>> {
    parse(text, Some(file.display().to_string()))
}

fn parse(text: &str, file: Option<String>) -> Result<Manifest, Vec<Problem>> {
    let name = file.as_deref().unwrap_or(NAME);
    let (entries, syntax) = file::read(Document { name, text });
    let mut report = Report::default();
    let mut root = Section::new("", entries, &mut report);
    let mut manifest = read_manifest(&mut root, name);
    root.finish();
    if let Some(manifest) = &mut manifest {
        manifest.wishes.source = Source::Manifest { file: file.clone(), outline: outline::of_manifest(text) };
    }
    let problems = gather(syntax, report.problems);
    match manifest {
        Some(manifest) if problems.is_empty() => Ok(manifest),
        _ => Err(problems.into_iter().map(|problem| Problem { code: code::BAD_MANIFEST, ..problem }).collect()),
    }
}

fn read_manifest(root: &mut Section<'_>, file: &str) -> Option<Manifest> {
    for (key, example) in [("name", "my-plugin"), ("version", "0.1.0")] {
        if !root.has(key) {
            let place = Place { source: file.into(), position: Some(Position { line: 1, column: 1 }) };
            root.problem(place, format!("`{key}` is missing"), format!("add the line {key} = \"{example}\""));
        }
    }
    let name = root.read("name", plugin_name);
    let version = root.read("version", version_name);
    let mut wishes = Wishes { description: root.read("description", text), ..Wishes::default() };
    root.set("handlers", &mut wishes.handlers, list(handler_name));
    if let Some(mut limits) = root.table("limits") {
        wishes.fuel = limits.read("fuel", fuel());
        wishes.wall_ms = limits.read("wall", wall()).map(|wall| u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        wishes.memory_bytes = limits.read("memory", memory());
        limits.finish();
    }
    if let Some(mut wants) = root.table("wants") {
        wishes.wants = read_grants(&mut wants).into_iter().collect();
        wants.finish();
    }
    Some(Manifest { name: name?, version: version?, wishes })
}

/// Reads a version.
pub(super) fn version_name(given: &Given) -> Reading<VersionName> {
    let check = |text: &str| VersionName::new(text).map_err(|error| error.why.to_owned());
    parsed(check, "write it as in semantic versioning, such as \"1.2.3\"")(given)
}

/// Reads the name of a handler.
pub(super) fn handler_name(given: &Given) -> Reading<HandlerName> {
    let check = |text: &str| HandlerName::new(text).map_err(|error| error.why.to_owned());
    parsed(check, "see the names of the handlers it exports")(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pausing::Pausable;
    use crate::domain::plugin::Grant;

    #[test]
    fn a_full_manifest() {
        let manifest = parse_manifest(
            r#"
            name = "mailer"
            version = "1.2.3"
            description = "Sends mail"
            handlers = ["send", "bounce"]
            [limits]
            fuel = 1_000
            wall = "2s"
            memory = "16MiB"
            [wants]
            http = ["https://API.example.com"]
            config = ["sender"]
            pause = ["plugin"]
            "#,
        )
        .expect("the manifest is right");
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("mailer", "1.2.3"));
        let wishes = manifest.wishes;
        assert_eq!(wishes.handlers.iter().map(HandlerName::as_str).collect::<Vec<_>>(), ["send", "bounce"]);
        assert_eq!((wishes.fuel, wishes.wall_ms, wishes.memory_bytes), (Some(1_000), Some(2_000), Some(16 << 20)));
        let wants = [
            Grant::Http("https://api.example.com".into()),
            Grant::Config("sender".into()),
            Grant::Pause(Pausable::Plugin),
        ];
        assert_eq!(wishes.wants, wants.into());
    }

    #[test]
    fn every_problem_of_a_manifest_at_once() {
        let text = "name = \"Mailer\"\nhandler = [\"send\"]\n[limits]\nfuel = 0\n[wants]\nhttp = [\"api.example.com\"]\npause = [\"host\"]\n";
        let problems = parse_manifest(text).expect_err("six mistakes");
        let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                r#"plugin.toml:1:1: `version` is missing; add the line version = "0.1.0""#,
                r#"plugin.toml:1:8: `name` is "Mailer", which is not acceptable: it must start with a lower-case letter; use 1 to 64 lower-case letters, digits and -, starting with a letter"#,
                "plugin.toml:2:1: `handler` is not known here; did you mean `handlers`?",
                "plugin.toml:4:8: `limits.fuel` is 0, which is out of bounds; write a whole number from 1 to 1000000000000000",
                r#"plugin.toml:6:9: `wants.http` is "api.example.com", which is not acceptable: it has no scheme; write an origin such as "https://api.example.com", "https://*.example.com" or "http://10.0.0.7:8080""#,
                r#"plugin.toml:7:10: `wants.pause` is "host", which is not acceptable: it names nothing that a handler may pause; expected one of: plugin, queue"#,
            ]
        );
        assert!(problems.iter().all(|problem| problem.code == code::BAD_MANIFEST));
    }
}
