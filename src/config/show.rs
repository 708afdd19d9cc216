//! Writes settings as a file again, with where each one comes from. Secrets stay hidden.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::problem::Place;
use super::read::{DURABILITIES, Loaded};
use super::units::{show_duration, show_size};
use super::{PluginSettings, SignSettings};
use crate::domain::admission::{QueuePolicy, StartLimits};
use crate::domain::id::HandlerName;
use crate::domain::limits::Limits;
use crate::domain::plugin::Grant;
use crate::domain::retention::Retention;
use crate::domain::retry::RetryPolicy;
use crate::domain::uploads::UploadLimits;

/// What stands for a secret: as long as one may be at the least, so that what is shown reads back.
const HIDDEN: &str = "****************";

/// The settings in force as TOML; each line says where its value was given.
pub fn show(loaded: &Loaded) -> String {
    let settings = &loaded.settings;
    let mut sheet = Sheet { text: String::new(), places: &loaded.places };
    let server = &settings.server;
    let token = server.token.as_ref().map(|_| quoted(HIDDEN));
    let hosts = words(server.allowed_hosts.iter());
    let allowances = &server.allowances;
    let proxies: Vec<_> = server.trusted_proxies.iter().map(ToString::to_string).collect();
    sheet.table(
        "[server]",
        "server",
        vec![
            ("listen", Some(quoted(&server.listen.to_string()))),
            ("token", token),
            ("allowed_hosts", Some(hosts)),
            ("trusted_proxies", Some(words(proxies.iter()))),
            ("connections", Some(allowances.connections.to_string())),
            ("stall", Some(quoted(&show_duration(allowances.stall)))),
            ("requests", Some(allowances.requests.to_string())),
            ("streams", Some(allowances.streams.to_string())),
            ("waits", Some(allowances.waits.to_string())),
            ("body_bytes", Some(quoted(&show_size(allowances.body_bytes)))),
        ],
    );
    let store = &settings.store;
    let durability = DURABILITIES.iter().find(|(_, durability)| *durability == store.durability);
    sheet.table(
        "[store]",
        "store",
        vec![
            ("path", Some(quoted(&store.path.display().to_string()))),
            ("durability", durability.map(|(word, _)| quoted(word))),
            ("min_free", Some(quoted(&show_size(store.min_free_bytes)))),
        ],
    );
    let worker = &settings.worker;
    sheet.table(
        "[worker]",
        "worker",
        vec![
            ("concurrency", Some(worker.concurrency.to_string())),
            ("ahead", Some(worker.ahead.to_string())),
            ("shutdown_grace", Some(quoted(&show_duration(worker.shutdown_grace)))),
            ("breaker", Some(quoted(if worker.breaker { "on" } else { "off" }))),
        ],
    );
    let http = &settings.http;
    let ca_file = http.ca_file.as_ref().map(|path| quoted(&path.display().to_string()));
    sheet.table("[http]", "http", vec![("ca_file", ca_file)]);
    http.sign.iter().for_each(|settings| receiver(&mut sheet, settings));
    sheet.table("[limits]", "limits", limits(&settings.limits));
    sheet.table("[uploads]", "uploads", uploads(&settings.uploads.limits, settings.uploads.loaded_bytes));
    sheet.table("[retry]", "retry", retry(&settings.retry));
    sheet.table("[retention]", "retention", retention(&settings.retention));
    let of_batches = settings.batch_retention.over(settings.retention);
    sheet.table("[retention.batch]", "retention.batch", retention(&of_batches));
    settings.queues.0.iter().for_each(|(name, policy)| queue(&mut sheet, name.as_str(), policy));
    settings.plugins.iter().for_each(|settings| plugin(&mut sheet, settings));
    sheet.text
}

type Lines = Vec<(&'static str, Option<String>)>;

struct Sheet<'a> {
    text: String,
    places: &'a BTreeMap<String, Place>,
}

impl Sheet<'_> {
    fn table(&mut self, header: &str, path: &str, lines: Lines) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        self.line(&format!("{gap}{header}"), None);
        for (key, value) in lines {
            let Some(value) = value else { continue };
            let place = self.places.get(&format!("{path}.{key}")).map(ToString::to_string);
            let inherited = path.starts_with("plugin[").then(|| path.rsplit_once('.')).flatten();
            let place =
                place.or_else(|| Some(format!("as in [{}]", inherited.filter(|(_, table)| *table != "grants")?.1)));
            self.line(&format!("{key} = {value}"), Some(place.as_deref().unwrap_or("default")));
        }
    }

    fn line(&mut self, line: &str, place: Option<&str>) {
        let written = match place {
            Some(place) => writeln!(self.text, "{line:<44} # {place}"),
            None => writeln!(self.text, "{line}"),
        };
        written.expect("writing to a String does not fail");
    }
}

/// A receiver of signed requests; where it was given stands beside its origin.
fn receiver(sheet: &mut Sheet<'_>, receiver: &SignSettings) {
    sheet.table("[[http.sign]]", "http.sign", Vec::new());
    let place = receiver.place.to_string();
    sheet.line(&format!("origin = {}", quoted(&receiver.origin.as_grant())), Some(&place));
    if !receiver.keys.is_empty() {
        sheet.line(&format!("keys = {}", words(receiver.keys.iter().map(|_| "***"))), None);
    }
    if let Some(file) = &receiver.key_file {
        sheet.line(&format!("key_file = {}", quoted(&file.display().to_string())), None);
    }
}

fn plugin(sheet: &mut Sheet<'_>, plugin: &PluginSettings) {
    let path = format!("plugin[{}]", plugin.name);
    let component = plugin.path.as_ref().map(|path| quoted(&path.display().to_string()));
    let name = Some(quoted(plugin.name.as_str()));
    let version = plugin.version.as_ref().map(|version| quoted(version.as_str()));
    let handlers = (!plugin.handlers.is_empty()).then(|| words(plugin.handlers.iter().map(HandlerName::as_str)));
    let mut lines = vec![
        ("name", name),
        ("path", component),
        ("version", version),
        ("description", plugin.description.as_deref().map(quoted)),
        ("handlers", handlers),
        ("enabled", plugin.enabled.map(|enabled| enabled.to_string())),
    ];
    lines.extend(starts(&plugin.starts));
    lines.push(("concurrency_per_key", plugin.per_key.map(|count| count.to_string())));
    sheet.table("[[plugin]]", &path, lines);
    let of_kind = |kind: &str| words(plugin.grants.iter().filter(|grant| grant.kind() == kind).map(Grant::value));
    sheet.table(
        "[plugin.grants]",
        &format!("{path}.grants"),
        Grant::KINDS.map(|kind| (kind, Some(of_kind(kind)))).into(),
    );
    sheet.table("[plugin.limits]", &format!("{path}.limits"), limits_of_plugin(&plugin.limits));
    sheet.table("[plugin.retry]", &format!("{path}.retry"), retry(&plugin.retry));
    sheet.table("[plugin.retention]", &format!("{path}.retention"), retention(&plugin.retention));
    sheet.table("[plugin.config]", &path, Vec::new());
    for (key, _) in &plugin.config {
        sheet.line(&format!("{} = {}", quoted(key), quoted("***")), None);
    }
}

fn limits(limits: &Limits) -> Lines {
    let mut lines = limits_of_plugin(limits);
    lines.push(("stack", Some(quoted(&show_size(limits.stack_bytes)))));
    lines
}

/// Those that a plug-in may have otherwise than the host.
fn limits_of_plugin(limits: &Limits) -> Lines {
    let size = |bytes| Some(quoted(&show_size(bytes)));
    vec![
        ("fuel", Some(limits.fuel.to_string())),
        ("wall", Some(quoted(&show_duration(limits.wall)))),
        ("memory", size(limits.memory_bytes)),
        ("input", size(limits.input_bytes)),
        ("output", size(limits.output_bytes)),
        ("log", size(limits.log_bytes)),
        ("host_call", size(limits.host_call_bytes)),
        ("host_copy", size(limits.host_copy_bytes)),
        ("host_calls", Some(limits.host_calls.to_string())),
        ("table_elements", Some(limits.table_elements.to_string())),
        ("handles", Some(limits.handles.to_string())),
        ("outbound_requests", Some(limits.outbound_requests.to_string())),
        ("runs_per_record", Some(limits.runs_per_record.to_string())),
    ]
}

fn uploads(uploads: &UploadLimits, loaded_bytes: u64) -> Lines {
    let (count, size) = (|count: u64| Some(count.to_string()), |bytes| Some(quoted(&show_size(bytes))));
    vec![
        ("nesting", count(uploads.nesting)),
        ("definitions", count(uploads.definitions)),
        ("component_instances", count(uploads.component_instances)),
        ("core_instances", count(uploads.core_instances)),
        ("memories", count(uploads.memories)),
        ("tables", count(uploads.tables)),
        ("table_elements", count(uploads.table_elements)),
        ("globals", count(uploads.globals)),
        ("functions", count(uploads.functions)),
        ("instance", size(uploads.instance_bytes)),
        ("start", size(uploads.start_bytes)),
        ("compiled", size(uploads.compiled_bytes)),
        ("compiled_ratio", count(uploads.compiled_ratio)),
        ("loaded", size(loaded_bytes)),
    ]
}

fn retry(retry: &RetryPolicy) -> Lines {
    let word = |holds: bool, yes: &str, no: &str| Some(quoted(if holds { yes } else { no }));
    vec![
        ("max_attempts", Some(retry.max_attempts.to_string())),
        ("base", Some(quoted(&show_duration(retry.base)))),
        ("factor", Some(retry.factor.to_string())),
        ("cap", Some(quoted(&show_duration(retry.cap)))),
        ("timeouts", word(retry.retry_timeouts, "retry", "fail")),
        ("user_fixable", word(retry.hold_user_fixable, "hold", "fail")),
        ("max_crashes", Some(retry.max_crashes.to_string())),
    ]
}

fn retention(retention: &Retention) -> Lines {
    let kept = |span: Option<Duration>| Some(quoted(&span.map_or("forever".to_owned(), show_duration)));
    vec![
        ("succeeded", kept(retention.succeeded)),
        ("failed", kept(retention.failed)),
        ("canceled", kept(retention.canceled)),
    ]
}

fn queue(sheet: &mut Sheet<'_>, name: &str, policy: &QueuePolicy) {
    let mut lines = vec![("name", Some(quoted(name))), ("weight", Some(policy.weight.to_string()))];
    lines.extend(starts(&policy.limits));
    sheet.table("[[queue]]", &format!("queue[{name}]"), lines);
}

fn starts(limits: &StartLimits) -> Lines {
    vec![
        ("concurrency", limits.concurrency.map(|count| count.to_string())),
        ("rate", limits.rate.as_ref().map(|rate| quoted(&rate.to_string()))),
    ]
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn words<'a, W: AsRef<str> + 'a>(words: impl Iterator<Item = W>) -> String {
    let quoted: Vec<_> = words.map(|word| quoted(word.as_ref())).collect();
    format!("[{}]", quoted.join(", "))
}
