//! The plug-ins: the list, and one with its versions, what they ask for, and how its jobs fare.

mod actions;
mod upload;

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;

use super::Console;
use super::given::Given;
use super::jobs::Group;
use super::overview::failure_percent;
use super::shell::{After, Section, Shell};
use super::text::{self, LINE_CHARS, When};
use super::trouble::Trouble;
use crate::app::Host;
use crate::domain::advice::{self, Sides};
use crate::domain::id::{PluginName, TenantId};
use crate::domain::outbound::is_built_in;
use crate::domain::plugin::{Grant, Plugin, PluginVersion, Policy, Shape};
use crate::domain::query::Counts;
use crate::domain::time::Timestamp;

pub(super) use actions::act;
pub(super) use upload::{body_limit, upload};

#[derive(Template)]
#[template(path = "plugins.html")]
struct List {
    shell: Shell,
    plugins: Vec<Row>,
}

struct Row {
    name: String,
    description: Option<String>,
    standing: Standing,
    versions: usize,
    jobs: String,
    failed: String,
    has_failed: bool,
    percent: String,
    uploaded: Option<When>,
}

/// Whether and what a plug-in runs.
struct Standing {
    active: Option<String>,
    is_disabled: bool,
    is_pending: bool,
    is_paused: bool,
    /// Its breaker is not closed.
    is_degraded: bool,
}

#[derive(Template)]
#[template(path = "plugin.html")]
struct Page {
    shell: Shell,
    name: String,
    description: Option<String>,
    /// What a built-in handler is granted; none for what was uploaded.
    built_in: Option<Vec<Want>>,
    standing: Standing,
    /// Whether resuming it lets something start.
    is_held: bool,
    previous: Option<String>,
    usage: Vec<Usage>,
    percent: String,
    limits: Vec<(&'static str, String)>,
    versions: Vec<Version>,
    example: String,
}

struct Usage {
    group: Group,
    count: String,
    is_zero: bool,
}

struct Version {
    name: String,
    is_active: bool,
    is_previous: bool,
    uploaded: When,
    digest: String,
    short_digest: String,
    size: String,
    shape: &'static str,
    handlers: Vec<String>,
    imports: Vec<String>,
    exports: Vec<String>,
    wants: Vec<Want>,
    add_lines: Option<String>,
}

struct Want {
    kind: &'static str,
    value: String,
    is_granted: bool,
}

/// The list.
pub(super) async fn list(console: Console, Given(Query(after)): Given<Query<After>>) -> Response {
    console.page(move |console| all(console, after).map_err(|trouble| trouble.at(Section::Plugins))).await
}

/// One plug-in.
pub(super) async fn show(
    console: Console,
    Given(Path(name)): Given<Path<String>>,
    Given(Query(after)): Given<Query<After>>,
) -> Response {
    console.page(move |console| one(console, &name, after).map_err(|trouble| trouble.at(Section::Plugins))).await
}

fn all(console: &Console, after: After) -> Result<List, Trouble> {
    let counts = console.host.jobs.counts(TenantId::DEFAULT)?;
    let now = console.now();
    let row = |plugin: &Plugin| row(&console.host, plugin, &counts_of(&counts, &plugin.name), now);
    let plugins = console.host.registry.list(TenantId::DEFAULT);
    Ok(List {
        plugins: plugins.iter().map(|plugin| row(plugin)).collect(),
        shell: console.shell(Section::Plugins, "Plug-ins", after),
    })
}

fn counts_of(counts: &[(PluginName, Counts)], plugin: &PluginName) -> Counts {
    counts.iter().find(|(name, _)| name == plugin).map(|(_, counts)| *counts).unwrap_or_default()
}

fn row(host: &Host, plugin: &Plugin, counts: &Counts, now: Timestamp) -> Row {
    let newest = plugin.versions.last();
    let failed = Group::Failed.count(counts);
    Row {
        name: plugin.name.to_string(),
        description: description(plugin),
        standing: standing(host, plugin),
        versions: plugin.versions.len(),
        jobs: text::count(counts.0.iter().sum()),
        failed: text::count(failed),
        has_failed: failed > 0,
        percent: failure_percent(counts),
        uploaded: newest.map(|version| When::new(version.uploaded_on, now)),
    }
}

fn description(plugin: &Plugin) -> Option<String> {
    let shown = plugin.active_version().or(plugin.versions.last())?;
    shown.wishes.description.as_deref().map(|text| text::line(text, 240))
}

fn standing(host: &Host, plugin: &Plugin) -> Standing {
    Standing {
        active: plugin.active.as_ref().map(ToString::to_string),
        is_disabled: plugin.disabled,
        is_pending: plugin.active.is_none(),
        is_paused: plugin.pause.as_ref().is_some_and(|pause| pause.holds(host.now())),
        is_degraded: host.is_degraded(plugin.tenant, &plugin.name),
    }
}

fn one(console: &Console, name: &str, after: After) -> Result<Page, Trouble> {
    let name = PluginName::new(name).map_err(|error| Trouble::field(error.to_string()))?;
    let host = &console.host;
    let plugin = host.registry.look_at(TenantId::DEFAULT, &name)?;
    let counts = counts_of(&host.jobs.counts(TenantId::DEFAULT)?, &name);
    let policy = host.registry.policy(TenantId::DEFAULT, &name);
    let now = console.now();
    let usage = |group: Group| {
        let count = group.count(&counts);
        Usage { group, count: text::count(count), is_zero: count == 0 }
    };
    let standing = standing(host, &plugin);
    Ok(Page {
        description: description(&plugin),
        built_in: is_built_in(&name).then(|| policy.grants.iter().map(|grant| want(grant, true)).collect()),
        is_held: standing.is_paused || standing.is_degraded,
        standing,
        previous: plugin.previous.as_ref().map(ToString::to_string),
        usage: Group::ALL.into_iter().map(usage).collect(),
        percent: failure_percent(&counts),
        limits: limits(&policy),
        versions: plugin.versions.iter().rev().map(|version| one_version(&plugin, version, &policy, now)).collect(),
        example: example(&plugin),
        name: name.to_string(),
        shell: console.shell(Section::Plugins, name.as_str(), after),
    })
}

/// The command that runs the plug-in once.
fn example(plugin: &Plugin) -> String {
    if is_built_in(&plugin.name) {
        return format!("backroom run {} '{{\"url\": \"https://api.example.com/\"}}'", plugin.name);
    }
    match plugin.versions.last().map(|version| version.inspection.shape) {
        Some(Shape::Command) => format!("backroom run {} 'text for its standard input'", plugin.name),
        _ => format!("backroom run {} '{{\"any\": \"json\"}}'", plugin.name),
    }
}

fn limits(policy: &Policy) -> Vec<(&'static str, String)> {
    let limits = &policy.limits;
    vec![
        ("Fuel", text::short_count(limits.fuel)),
        ("Wall time", text::span(limits.wall)),
        ("Memory", text::bytes(limits.memory_bytes)),
        ("Input", text::bytes(limits.input_bytes)),
        ("Output", text::bytes(limits.output_bytes)),
        ("Log", text::bytes(limits.log_bytes)),
        ("Host calls", text::count(limits.host_calls)),
        ("Attempts", policy.retry.max_attempts.to_string()),
    ]
}

fn want(grant: &Grant, is_granted: bool) -> Want {
    Want { kind: grant.kind(), value: text::line(grant.value(), LINE_CHARS), is_granted }
}

fn one_version(plugin: &Plugin, version: &PluginVersion, policy: &Policy, now: Timestamp) -> Version {
    let inspection = &version.inspection;
    let missing = policy.missing_grants(&version.wishes);
    let digest = inspection.digest.to_string();
    let lines = |names: &[String]| names.iter().map(|name| text::line(name, LINE_CHARS)).collect();
    Version {
        name: version.version.to_string(),
        is_active: plugin.active.as_ref() == Some(&version.version),
        is_previous: plugin.previous.as_ref() == Some(&version.version),
        uploaded: When::new(version.uploaded_on, now),
        short_digest: digest.chars().take(12).collect(),
        digest,
        size: text::bytes(inspection.bytes),
        shape: match inspection.shape {
            Shape::Handler => "handler",
            Shape::Command => "command",
            Shape::Builtin => "built-in",
        },
        handlers: version.handlers().iter().map(ToString::to_string).collect(),
        imports: lines(&inspection.imports),
        exports: lines(&inspection.exports),
        wants: version.wishes.wants.iter().map(|grant| want(grant, !missing.contains(grant))).collect(),
        add_lines: (!missing.is_empty()).then(|| {
            let sides = Sides::of(&plugin.name, version, policy);
            advice::grant(sides, &missing).to_string()
        }),
    }
}
