//! Makes settings of what the file, the environment and the flags give, and finds every mistake in them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::file::{self, Document};
use super::manifest::{handler_name, version_name};
use super::outline::{self, Outlines};
use super::problem::{Place, Problem, Problems};
use super::section::{Report, Section};
use super::signing::{check_sign, read_sign};
use super::value::{self, Entry, Given, Reading, Value, choice, duration, list, number, parsed, size, small_number};
use super::{
    Durability, Flag, HttpSettings, OwnRetention, PluginSettings, Queues, Server, Settings, StoreSettings, Token,
    Uploads, WorkerSettings, environment, pattern,
};
use crate::domain::admission::{QueuePolicy, StartLimits};
use crate::domain::batch;
use crate::domain::code;
use crate::domain::id::{PluginName, QueueName};
use crate::domain::limits::{Axis, Limits};
use crate::domain::network::{BadNetwork, Network};
use crate::domain::outbound;
use crate::domain::outline::Stated;
use crate::domain::pausing::Pausable;
use crate::domain::plugin::Grant;
use crate::domain::rate::RateLimit;
use crate::domain::retry::RetryPolicy;
use crate::domain::uploads::{StatedBounds, range_of};

const DAY: Duration = Duration::from_secs(86_400);
const MILLISECOND: Duration = Duration::from_millis(1);
const GIB: u64 = 1 << 30;

/// Where settings come from; what comes later wins.
#[derive(Clone, Debug, Default)]
pub struct Sources<'a> {
    /// The file's path and text.
    pub file: Option<(&'a Path, &'a str)>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// Flags of the command line.
    pub flags: Vec<Flag>,
}

/// Settings, and where each was given; one that is missing there has its default.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// By path, such as `server.listen`.
    pub places: BTreeMap<String, Place>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

/// Reads settings. Every problem is reported at once, sorted by place.
pub fn read(sources: &Sources<'_>) -> Result<Loaded, Problems> {
    let mut report = Report::default();
    let mut settings = Settings::default();
    let mut tables = Tables::default();
    let mut syntax = Vec::new();
    if let Some((path, text)) = sources.file {
        let name = path.display().to_string();
        let (entries, problems) = file::read(Document { name: &name, text });
        tables = Tables::split(entries, &mut report);
        syntax = problems;
    }
    read_layer(&mut tables.sections, &mut settings, &mut report);
    settings.store.path = beside(sources.file, &settings.store.path, report.places.contains_key("store.path"));
    settings.http.ca_file = settings.http.ca_file.take().map(|path| beside(sources.file, &path, true));
    for receiver in &mut settings.http.sign {
        receiver.key_file = receiver.key_file.take().map(|path| beside(sources.file, &path, true));
    }
    for mut layer in [variables(&sources.environment), flags(&sources.flags)] {
        read_layer(&mut layer, &mut settings, &mut report);
    }
    if !report.places.contains_key("worker.ahead") {
        settings.worker.ahead = settings.worker.concurrency;
    }
    read_queues(tables.queues, &mut settings.queues, &mut report);
    let outlines = sources.file.map(|(_, text)| outline::of_settings(text)).unwrap_or_default();
    settings.stated = Arc::new(stated(sources, &outlines, &report));
    settings.uploads.limits.stated = stated_bounds(sources, &outlines, &report);
    settings.plugins = read_plugins(tables.plugins, &settings, sources.file, &mut report);
    for plugin in &mut settings.plugins {
        let named = outlines.plugins.iter().find(|(name, _)| name == plugin.name.as_str());
        let table = named.map(|(_, table)| table.clone());
        plugin.stated = Arc::new(Stated { plugin: table, ..(*settings.stated).clone() });
    }
    check_together(&settings, &mut report);
    let problems = gather(syntax, report.problems);
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    Ok(Loaded { settings, places: report.places, file: sources.file.map(|(path, _)| path.to_owned()) })
}

/// What the sources say beside any plug-in, for advice.
fn stated(sources: &Sources<'_>, outlines: &Outlines, report: &Report) -> Stated {
    let stack = report.places.get("limits.stack").map(ToString::to_string);
    Stated {
        file: sources.file.map(|(path, _)| path.display().to_string()),
        plugin: None,
        host: outlines.host.clone(),
        stack_variable: stack.filter(|place| place.starts_with("BACKROOM_")),
    }
}

/// What the sources say of what components may need, likewise.
fn stated_bounds(sources: &Sources<'_>, outlines: &Outlines, report: &Report) -> StatedBounds {
    let of_uploads = report.places.iter().filter(|(path, _)| path.starts_with("uploads."));
    let given = of_uploads.map(|(_, place)| place.to_string());
    StatedBounds {
        file: sources.file.map(|(path, _)| path.display().to_string()),
        host: outlines.host.clone(),
        variables: given.filter(|place| place.starts_with("BACKROOM_")).collect(),
    }
}

/// The tables of one layer by name, each with the variables' prefix where it consists of those.
type Layer = BTreeMap<&'static str, (Vec<Entry>, Option<String>)>;

const SECTIONS: [&str; 8] = ["server", "store", "worker", "http", "limits", "uploads", "retry", "retention"];

/// Bytes of the shortest token: nobody guesses one of so many, also not somebody who shares the machine.
const TOKEN_BYTES_MIN: usize = 16;

/// Room for two of the largest bodies and for what else comes in.
const BODY_BYTES_MIN: u64 = 160 << 20;

/// A file's tables.
#[derive(Default)]
struct Tables {
    sections: Layer,
    queues: Vec<(Place, Vec<Entry>)>,
    plugins: Vec<(Place, Vec<Entry>)>,
}

impl Tables {
    fn split(entries: Vec<Entry>, report: &mut Report) -> Self {
        let mut root = Section::new("", entries, report);
        let mut sections = Layer::new();
        for name in SECTIONS {
            if let Some(entries) = root.entries_of(name) {
                sections.insert(name, (entries, None));
            }
        }
        let queues = root.tables("queue");
        let plugins = root.tables("plugin");
        root.finish();
        Self { sections, queues, plugins }
    }
}

fn variables(environment: &[(String, String)]) -> Layer {
    let table = |name| (name, (environment::variables(name, environment), Some(environment::prefix(name))));
    SECTIONS.into_iter().map(table).collect()
}

fn flags(flags: &[Flag]) -> Layer {
    SECTIONS.into_iter().map(|name| (name, (environment::flags(name, flags), None))).collect()
}

fn read_layer(layer: &mut Layer, settings: &mut Settings, report: &mut Report) {
    read_section(layer, "server", report, |section| read_server(section, &mut settings.server));
    read_section(layer, "store", report, |section| read_store(section, &mut settings.store));
    read_section(layer, "worker", report, |section| read_worker(section, &mut settings.worker));
    read_section(layer, "http", report, |section| read_http(section, &mut settings.http));
    read_section(layer, "limits", report, |section| read_host_limits(section, &mut settings.limits));
    read_section(layer, "uploads", report, |section| read_uploads(section, &mut settings.uploads));
    read_section(layer, "retry", report, |section| read_retry(section, &mut settings.retry));
    read_section(layer, "retention", report, |section| read_retentions(section, settings));
}

fn read_section(layer: &mut Layer, name: &'static str, report: &mut Report, read: impl FnOnce(&mut Section<'_>)) {
    let Some((entries, prefix)) = layer.remove(name) else { return };
    let mut section = match prefix {
        Some(prefix) => Section::of_variables(name, prefix, entries, report),
        None => Section::new(name, entries, report),
    };
    read(&mut section);
    section.finish();
}

fn read_server(section: &mut Section<'_>, server: &mut Server) {
    section.set("listen", &mut server.listen, value::address);
    section.set("token", &mut server.token, |given| token(given).map(Some));
    section.set(
        "allowed_hosts",
        &mut server.allowed_hosts,
        list(parsed(check_host, "write a name such as \"jobs.example.com\"")),
    );
    section.set(
        "trusted_proxies",
        &mut server.trusted_proxies,
        list(parsed(network, "write an address such as \"127.0.0.1\", or a network such as \"10.0.0.0/8\"")),
    );
    let allowances = &mut server.allowances;
    section.set("connections", &mut allowances.connections, small_number(16..=1_000_000));
    section.set("stall", &mut allowances.stall, duration(Duration::from_secs(1)..=Duration::from_secs(3_600)));
    section.set("requests", &mut allowances.requests, number(8..=65_536));
    section.set("streams", &mut allowances.streams, number(8..=65_536));
    section.set("waits", &mut allowances.waits, number(8..=65_536));
    section.set("body_bytes", &mut allowances.body_bytes, size(BODY_BYTES_MIN..=u64::MAX));
}

fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error: BadNetwork| error.to_string())
}

/// Reads a token; no message shows it.
fn token(given: &Given) -> Reading<Token> {
    let secret = value::text(given)?;
    if secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Token::new(secret));
    }
    let message = "holds a blank or something other than ASCII, which no header can carry";
    Err(vec![Problem::new(given.place.clone(), message, "take 16 or more letters and digits from a random source")])
}

fn read_http(section: &mut Section<'_>, http: &mut HttpSettings) {
    read_sign(section, &mut http.sign);
    section.set("ca_file", &mut http.ca_file, |given| value::path(given).map(Some));
}

fn check_host(text: &str) -> Result<String, String> {
    match text.find(|c: char| !c.is_ascii_alphanumeric() && !".-_:[]".contains(c)) {
        None => Ok(text.to_ascii_lowercase()),
        Some(at) => Err(format!("a host name ends before {:?}", &text[at..])),
    }
}

fn read_store(section: &mut Section<'_>, store: &mut StoreSettings) {
    section.set("path", &mut store.path, value::path);
    section.set("durability", &mut store.durability, choice(DURABILITIES));
    section.set("min_free", &mut store.min_free_bytes, size(0..=u64::MAX));
}

pub(crate) const DURABILITIES: &[(&str, Durability)] =
    &[("power", Durability::Power), ("process", Durability::Process)];

fn read_worker(section: &mut Section<'_>, worker: &mut WorkerSettings) {
    let count = |range: RangeInclusive<u32>| {
        let read = small_number(range);
        move |given: &Given| read(given).map(|number| number as usize)
    };
    section.set("concurrency", &mut worker.concurrency, count(1..=4_096));
    section.set("ahead", &mut worker.ahead, count(0..=65_536));
    section.set("shutdown_grace", &mut worker.shutdown_grace, duration(Duration::ZERO..=DAY));
    section.set("breaker", &mut worker.breaker, choice(&[("on", true), ("off", false)]));
}

/// The limits of the whole host: those that a plug-in may have otherwise, and the stack.
fn read_host_limits(section: &mut Section<'_>, limits: &mut Limits) {
    read_limits(section, limits);
    section.set("stack", &mut limits.stack_bytes, size(Axis::Stack.range()));
}

fn read_limits(section: &mut Section<'_>, limits: &mut Limits) {
    section.set("fuel", &mut limits.fuel, fuel());
    section.set("wall", &mut limits.wall, wall());
    section.set("memory", &mut limits.memory_bytes, memory());
    section.set("input", &mut limits.input_bytes, size(Axis::Input.range()));
    section.set("output", &mut limits.output_bytes, size(Axis::Output.range()));
    section.set("log", &mut limits.log_bytes, size(Axis::Log.range()));
    section.set("host_call", &mut limits.host_call_bytes, size(Axis::HostCall.range()));
    section.set("host_copy", &mut limits.host_copy_bytes, size(Axis::HostCopy.range()));
    section.set("host_calls", &mut limits.host_calls, number(Axis::HostCalls.range()));
    section.set("table_elements", &mut limits.table_elements, number(Axis::TableElements.range()));
    section.set("handles", &mut limits.handles, small_number(narrow(Axis::Handles)));
    section.set("outbound_requests", &mut limits.outbound_requests, small_number(narrow(Axis::OutboundRequests)));
    section.set("runs_per_record", &mut limits.runs_per_record, small_number(1..=1_000_000));
}

/// The range of an axis whose numbers are small.
fn narrow(axis: Axis) -> RangeInclusive<u32> {
    let bound = |bound: u64| u32::try_from(bound).unwrap_or(u32::MAX);
    bound(*axis.range().start())..=bound(*axis.range().end())
}

/// What a component may need, and how much compiled code is kept loaded.
fn read_uploads(section: &mut Section<'_>, uploads: &mut Uploads) {
    section.set("loaded", &mut uploads.loaded_bytes, size(1 << 20..=1024 * GIB));
    let uploads = &mut uploads.limits;
    let counted = |setting| number(range_of(setting));
    let weighed = |setting| size(range_of(setting));
    section.set("nesting", &mut uploads.nesting, counted("nesting"));
    section.set("definitions", &mut uploads.definitions, counted("definitions"));
    section.set("component_instances", &mut uploads.component_instances, counted("component_instances"));
    section.set("core_instances", &mut uploads.core_instances, counted("core_instances"));
    section.set("memories", &mut uploads.memories, counted("memories"));
    section.set("tables", &mut uploads.tables, counted("tables"));
    section.set("table_elements", &mut uploads.table_elements, counted("table_elements"));
    section.set("globals", &mut uploads.globals, counted("globals"));
    section.set("functions", &mut uploads.functions, counted("functions"));
    section.set("instance", &mut uploads.instance_bytes, weighed("instance"));
    section.set("start", &mut uploads.start_bytes, weighed("start"));
    section.set("compiled", &mut uploads.compiled_bytes, weighed("compiled"));
    section.set("compiled_ratio", &mut uploads.compiled_ratio, counted("compiled_ratio"));
}

/// A budget of fuel.
pub(crate) fn fuel() -> impl Fn(&Given) -> Reading<u64> {
    number(Axis::Fuel.range())
}

/// A wall-clock limit.
pub(crate) fn wall() -> impl Fn(&Given) -> Reading<Duration> {
    let range = Axis::Wall.range();
    duration(Duration::from_millis(*range.start())..=Duration::from_millis(*range.end()))
}

/// A limit of memory.
pub(crate) fn memory() -> impl Fn(&Given) -> Reading<u64> {
    size(Axis::Memory.range())
}

fn read_retry(section: &mut Section<'_>, retry: &mut RetryPolicy) {
    section.set("max_attempts", &mut retry.max_attempts, small_number(1..=1_000));
    section.set("base", &mut retry.base, duration(MILLISECOND..=7 * DAY));
    section.set("factor", &mut retry.factor, small_number(1..=100));
    section.set("cap", &mut retry.cap, duration(MILLISECOND..=30 * DAY));
    section.set("timeouts", &mut retry.retry_timeouts, choice(&[("retry", true), ("fail", false)]));
    section.set("user_fixable", &mut retry.hold_user_fixable, choice(&[("hold", true), ("fail", false)]));
    section.set("max_crashes", &mut retry.max_crashes, small_number(0..=1_000));
}

/// Reads how long jobs are kept, and what of that is otherwise for batches.
fn read_retentions(section: &mut Section<'_>, settings: &mut Settings) {
    settings.retention = read_retention(section, OwnRetention::default()).over(settings.retention);
    if let Some(mut table) = section.table("batch") {
        settings.batch_retention = read_retention(&mut table, settings.batch_retention);
        table.finish();
    }
}

/// What is said of how long jobs are kept, over what was said `before`.
fn read_retention(section: &mut Section<'_>, before: OwnRetention) -> OwnRetention {
    OwnRetention {
        succeeded: section.read("succeeded", kept).or(before.succeeded),
        failed: section.read("failed", kept).or(before.failed),
        canceled: section.read("canceled", kept).or(before.canceled),
    }
}

/// How long something is kept: a duration, or `"forever"`.
fn kept(given: &Given) -> Reading<Option<Duration>> {
    match &given.value {
        Value::Text(text) | Value::Word(text) if text == "forever" => Ok(None),
        _ => duration(Duration::ZERO..=100 * 365 * DAY)(given).map(Some),
    }
}

fn read_plugins(
    tables: Vec<(Place, Vec<Entry>)>,
    settings: &Settings,
    file: Option<(&Path, &str)>,
    report: &mut Report,
) -> Vec<PluginSettings> {
    let mut names = BTreeSet::new();
    let mut plugins = Vec::new();
    for (place, entries) in tables {
        let mut section = Section::new(&named_path("plugin", &entries), entries, report);
        let Some(plugin) = read_plugin(&mut section, &place, settings, file) else {
            section.finish();
            continue;
        };
        if !names.insert(plugin.name.clone()) {
            let message = format!("plug-in `{}` stands here for the second time", plugin.name);
            section.problem(place, message, "put both into one [[plugin]]");
        }
        section.finish();
        plugins.push(plugin);
    }
    plugins
}

/// What messages call the table of something that has a name.
fn named_path(kind: &str, entries: &[Entry]) -> String {
    let name = entries.iter().find(|entry| entry.key == "name").map(|entry| &entry.given.value);
    match name {
        Some(Value::Text(name)) => format!("{kind}[{name}]"),
        _ => kind.to_owned(),
    }
}

fn read_plugin(
    section: &mut Section<'_>,
    place: &Place,
    settings: &Settings,
    file: Option<(&Path, &str)>,
) -> Option<PluginSettings> {
    let mut limits = settings.limits.clone();
    let mut retry = settings.retry.clone();
    let mut retention = settings.retention;
    let is_named = section.has("name");
    let name = section.read("name", plugin_name);
    if name.as_ref().is_some_and(outbound::is_built_in) {
        refuse_for_built_in(section, place);
    }
    if name.as_ref().is_some_and(|name| name.as_str() == batch::PLUGIN) {
        let message = "`batch` is what the host calls its batches, and no plug-in";
        section.problem(place.clone(), message, "how long they are kept is set under [retention.batch]");
    }
    let path = section.read("path", value::path).map(|path| beside(file, &path, true));
    let config = section.read("config", value::pairs).unwrap_or_default();
    let version = section.read("version", version_name);
    let description = section.read("description", value::text);
    let handlers = section.read("handlers", list(handler_name)).unwrap_or_default();
    if let (None, Some(place)) = (&version, section.place_of("description").or_else(|| section.place_of("handlers"))) {
        let message = "`description` and `handlers` say what a manifest would, and `version` is missing";
        section.problem(place, message, "add the line version = \"0.1.0\", or write them into the manifest");
    }
    let enabled = section.read("enabled", value::truth);
    let starts = read_starts(section);
    let per_key = section.read("concurrency_per_key", small_number(1..=65_536));
    let mut grants = Vec::new();
    if let Some(mut table) = section.table("grants") {
        grants = read_grants(&mut table);
        table.finish();
    }
    grants.extend(config.iter().map(|(key, _)| Grant::Config(key.clone())));
    if let Some(mut table) = section.table("limits") {
        let why = "cannot be set for one plug-in: the stack is the same for all of a host";
        table.refuse("stack", why, "set `stack` under [limits]");
        read_limits(&mut table, &mut limits);
        table.finish();
    }
    if let Some(mut table) = section.table("retry") {
        read_retry(&mut table, &mut retry);
        let problem = check_waits(&table, &retry);
        problem.into_iter().for_each(|problem| table.add(problem));
        table.finish();
    }
    if let Some(mut table) = section.table("retention") {
        retention = read_retention(&mut table, OwnRetention::default()).over(retention);
        table.finish();
    }
    if !is_named {
        section.problem(place.clone(), "a [[plugin]] has no `name`", "add the line name = \"...\"");
    }
    let stated = Arc::default();
    Some(PluginSettings {
        name: name?,
        path,
        version,
        description,
        handlers,
        grants,
        limits,
        retry,
        retention,
        starts,
        per_key,
        config,
        enabled,
        stated,
    })
}

/// A built-in handler has no component and no switch: what it may do, its grants say.
fn refuse_for_built_in(section: &mut Section<'_>, place: &Place) {
    for key in ["path", "version", "description", "handlers", "enabled"] {
        if section.has(key) {
            let message = format!("`{key}` does not fit `http`, which is built into the host");
            section.problem(place.clone(), message, format!("remove `{key}`; without grants, `http` calls nothing"));
        }
    }
}

/// Reads how many jobs may run at a time and start over time.
fn read_starts(section: &mut Section<'_>) -> StartLimits {
    let rate = |text: &str| text.parse::<RateLimit>().map_err(|error| error.to_string());
    StartLimits {
        concurrency: section.read("concurrency", small_number(1..=65_536)),
        rate: section.read("rate", parsed(rate, "write a rate such as \"10/s\", \"100/min\" or \"100/s burst 20\"")),
    }
}

/// Reads the named queues into those that exist from the start.
fn read_queues(tables: Vec<(Place, Vec<Entry>)>, queues: &mut Queues, report: &mut Report) {
    let mut names = BTreeSet::new();
    for (place, entries) in tables {
        let mut section = Section::new(&named_path("queue", &entries), entries, report);
        let is_named = section.has("name");
        let name = section.read("name", queue_name);
        let weight = section.read("weight", small_number(1..=1_000));
        let limits = read_starts(&mut section);
        if !is_named {
            section.problem(place.clone(), "a [[queue]] has no `name`", "add the line name = \"...\"");
        }
        if let Some(name) = name {
            let usual = queues.0.get(&name).map_or(1, |queue| queue.weight);
            if !names.insert(name.clone()) {
                let message = format!("queue `{name}` stands here for the second time");
                section.problem(place, message, "put both into one [[queue]]");
            }
            queues.0.insert(name, QueuePolicy { weight: weight.unwrap_or(usual), limits });
        }
        section.finish();
    }
}

fn queue_name(given: &Given) -> Reading<QueueName> {
    let check = |text: &str| QueueName::new(text).map_err(|error| error.why.to_owned());
    parsed(check, "use 1 to 64 lower-case letters, digits and -, starting with a letter")(given)
}

/// Reads a plug-in's name.
pub(crate) fn plugin_name(given: &Given) -> Reading<PluginName> {
    let check = |text: &str| PluginName::new(text).map_err(|error| error.why.to_owned());
    parsed(check, "use 1 to 64 lower-case letters, digits and -, starting with a letter")(given)
}

/// Reads capabilities, granted or wanted.
pub(crate) fn read_grants(section: &mut Section<'_>) -> Vec<Grant> {
    let origins = section.read("http", list(parsed(pattern::parse_origin, pattern::FORM))).unwrap_or_default();
    let keys = section.read("config", list(value::text)).unwrap_or_default();
    let pausable =
        |text: &str| Pausable::from_word(text).ok_or_else(|| "it names nothing that a handler may pause".to_owned());
    let pauses = section.read("pause", list(parsed(pausable, Pausable::FORM))).unwrap_or_default();
    let origins = origins.into_iter().map(Grant::Http);
    origins.chain(keys.into_iter().map(Grant::Config)).chain(pauses.into_iter().map(Grant::Pause)).collect()
}

/// A relative path in a file means a place beside that file.
fn beside(file: Option<(&Path, &str)>, path: &Path, is_from_file: bool) -> PathBuf {
    match file.and_then(|(file, _)| file.parent()) {
        Some(folder) if is_from_file => folder.join(path),
        _ => path.to_owned(),
    }
}

/// What single settings cannot tell.
fn check_together(settings: &Settings, report: &mut Report) {
    let place = |report: &Report, path: &str| report.places.get(path).cloned().unwrap_or(Place::named("the defaults"));
    if !settings.server.listen.ip().is_loopback() && settings.server.token.is_none() {
        let message = format!("`server.listen` is {}, beyond loopback, and no token is set", settings.server.listen);
        let remedy = "set `token` in [server], or listen on 127.0.0.1";
        let problem = Problem::new(place(report, "server.listen"), message, remedy);
        report.problems.push(Problem { code: code::TOKEN_NEEDED, ..problem });
    }
    if let Some(foreign) = settings.server.allowed_hosts.iter().find(|name| !is_of_this_machine(name))
        && settings.server.listen.ip().is_loopback()
        && settings.server.token.is_none()
    {
        let message =
            format!("`server.allowed_hosts` names {foreign:?}, so that others reach the host, and no token is set");
        let remedy =
            "set `token` in [server]: without one, everybody whom the proxy in front lets through can do everything";
        let problem = Problem::new(place(report, "server.allowed_hosts"), message, remedy);
        report.problems.push(Problem { code: code::TOKEN_NEEDED, ..problem });
    }
    let short = settings.server.token.as_ref().filter(|token| token.reveal().len() < TOKEN_BYTES_MIN);
    if short.is_some() {
        let message = format!("`server.token` opens everything, and has fewer than {TOKEN_BYTES_MIN} bytes");
        let problem = Problem::new(
            place(report, "server.token"),
            message,
            "take 16 or more letters and digits from a random source",
        );
        report.problems.push(problem);
    }
    report.problems.extend(check_sign(settings));
    let section = Section::new("retry", Vec::new(), report);
    if let Some(problem) = check_waits(&section, &settings.retry) {
        report.problems.push(problem);
    }
}

/// Whether a name, perhaps with a port, leads to this machine whoever uses it.
fn is_of_this_machine(name: &str) -> bool {
    let is_address = name.parse::<IpAddr>().is_ok();
    let named = name.rsplit_once(':').filter(|(_, port)| !is_address && port.parse::<u16>().is_ok());
    let host = named.map_or(name, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    let is_loopback = bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    is_loopback || bare == "localhost" || bare.ends_with(".localhost")
}

fn check_waits(section: &Section<'_>, retry: &RetryPolicy) -> Option<Problem> {
    let place = section.place_of("cap").or_else(|| section.place_of("base"))?;
    let message = "the first wait of a retry, `base`, is longer than its `cap`";
    (retry.base > retry.cap).then(|| Problem::new(place, message, "lower `base` or raise `cap`"))
}

/// Syntax problems and the rest. What stands on a line that breaks the syntax is left out: it was not read right.
pub(crate) fn gather(syntax: Vec<Problem>, mut rest: Vec<Problem>) -> Vec<Problem> {
    let line = |place: &Place| place.position.map(|position| position.line);
    rest.retain(|problem| {
        !syntax
            .iter()
            .any(|broken| broken.place.source == problem.place.source && line(&broken.place) == line(&problem.place))
    });
    let mut problems: Vec<_> = syntax.into_iter().chain(rest).collect();
    problems.sort_by(|a, b| a.place.cmp(&b.place));
    problems
}
