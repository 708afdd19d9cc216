//! What to do about a limit or a grant, computed from all sides that decide: the author's manifest, the operator's file, and
//! what the host keeps itself. Advice that is followed helps; it names the side, the file and the lines.

// The types of addresses alone: nothing here opens a socket.
use core::net::IpAddr;
use std::fmt;

use super::id::{PluginName, VersionName};
use super::limits::Axis;
use super::outbound::{Coverage, Origin, coverage, may_connect};
use super::outline::{Content, Edit, Form, Key, Outline, Spot, list, nested, quoted};
use super::plugin::{Grant, Plugin, PluginVersion, Policy, Source, Wishes};
use super::uploads::{Excess, UploadLimits, range_of};

/// The kinds that the settings list under `grants`; a key of the configuration is granted by its value.
const LISTED_KINDS: [&str; 2] = ["http", "pause"];

/// What stands for a value that only the operator knows.
const VALUE: &str = "VALUE";

/// Everything that decides about a version of a plug-in.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// The plug-in.
    pub plugin: &'a PluginName,
    /// The version.
    pub version: &'a VersionName,
    /// What its author wishes.
    pub wishes: &'a Wishes,
    /// What the operator allows, in the file and by command.
    pub policy: &'a Policy,
}

impl<'a> Sides<'a> {
    /// Everything that decides about an uploaded version.
    pub fn of(plugin: &'a PluginName, version: &'a PluginVersion, policy: &'a Policy) -> Self {
        Self { plugin, version: &version.version, wishes: &version.wishes, policy }
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write this into the plug-in's manifest, which is in this file of the host or came with an upload.
    Manifest(Option<String>, Edit),
    /// The manifest that is missing beside the component.
    NewManifest(String),
    /// Run this command; it holds at once.
    Command(String),
    /// Write this into the file of the settings, and start the host again.
    Settings(String, Edit),
    /// Set this variable of the host's environment, and start the host again.
    Variable(String, String),
    /// Nothing that can be set would help.
    Nothing(&'static str),
}

/// What to do, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// All of it must be done, but that any `Settings` after a `Command` is another way to the same.
    pub steps: Vec<Step>,
}

impl Advice {
    /// The command, where one is among the steps.
    pub fn command(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match step {
            Step::Command(command) => Some(command.as_str()),
            _ => None,
        })
    }

    /// What to write into the file of the settings, with its places, where that is among the steps.
    pub fn settings(&self) -> Option<String> {
        let settings = self.steps.iter().filter(|step| matches!(step, Step::Settings(..) | Step::Variable(..)));
        let lines: Vec<_> = settings.map(|step| step.text("")).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// What to write into the manifest, where that is among the steps.
    pub fn manifest(&self) -> Option<String> {
        let manifest = self.steps.iter().filter(|step| matches!(step, Step::Manifest(..) | Step::NewManifest(_)));
        let lines: Vec<_> = manifest.map(|step| step.text("")).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut has_command = false;
        for (at, step) in self.steps.iter().enumerate() {
            let gap = if at > 0 { "\n" } else { "" };
            let is_other_way = has_command && matches!(step, Step::Settings(..));
            write!(f, "{gap}{}", step.text(if is_other_way { "or " } else { "" }))?;
            has_command |= matches!(step, Step::Command(_));
        }
        Ok(())
    }
}

impl Step {
    /// As lines: a comment that says where, and what to write there.
    fn text(&self, or: &str) -> String {
        match self {
            Self::Manifest(None, edit) => format!("# plugin.toml, {}; then upload it again:\n{}", edit.spot, edit.text),
            Self::Manifest(Some(file), edit) => {
                format!("# {file}, {}; then restart the host:\n{}", edit.spot, edit.text)
            }
            Self::NewManifest(text) => {
                format!("# a new plugin.toml; then upload the component again, with --manifest plugin.toml:\n{text}")
            }
            Self::Command(command) => command.clone(),
            Self::Settings(file, edit) => {
                format!("# {or}{file}, {}; then restart the host:\n{}", edit.spot, edit.text)
            }
            Self::Variable(name, value) => {
                format!(
                    "# in the host's environment, where it overrules the file; then restart the host:\n{name}={value}"
                )
            }
            Self::Nothing(why) => (*why).to_owned(),
        }
    }
}

/// What allows a version at least `needed` of an axis.
pub fn allow_more(sides: Sides<'_>, axis: Axis, needed: u64) -> Advice {
    let enough = axis.enough(needed);
    let value = axis.toml(enough);
    let mut steps = Vec::new();
    let wishes = sides.wishes;
    if let (Source::Manifest { file, outline }, true) =
        (&wishes.source, wishes.limit(axis).is_some_and(|wish| wish < enough))
    {
        steps.push(Step::Manifest(file.clone(), outline.set(&["limits", axis.key()], &value)));
    }
    if axis.of(&sides.policy.limits) < enough {
        steps.push(operators_limit(sides, axis, &value));
    }
    if steps.is_empty() {
        steps.push(Step::Nothing(match needed > enough {
            true => "No larger limit can be set.",
            false => "Neither plugin.toml nor the settings of the host set a lower limit.",
        }));
    }
    Advice { steps }
}

/// What lets components need as much as one does.
pub fn allow_upload(limits: &UploadLimits, excess: &Excess) -> Advice {
    let (setting, stated) = (excess.setting, &limits.stated);
    let is_size = excess.is_bytes && setting != "compiled_ratio";
    let enough = if is_size { excess.enough.next_multiple_of(1 << 20) } else { excess.enough };
    if enough > *range_of(setting).end() {
        return Advice { steps: vec![Step::Nothing("No larger bound can be set.")] };
    }
    let value = if is_size { format!("\"{}MiB\"", enough >> 20) } else { enough.to_string() };
    let variable = format!("BACKROOM_UPLOADS_{}", setting.to_uppercase());
    if stated.variables.contains(&variable) {
        return Advice { steps: vec![Step::Variable(variable, value.trim_matches('"').to_owned())] };
    }
    let edit = hosts_edit(stated.host.as_ref(), ["uploads", setting], &value);
    let file = stated.file.clone().unwrap_or_else(|| "backroom.toml".to_owned());
    Advice { steps: vec![Step::Settings(file, edit)] }
}

/// What lets the jobs of one chain cause so many runs of a plug-in for one record.
pub fn allow_runs(plugin: &PluginName, policy: &Policy, runs: u32) -> Advice {
    Advice { steps: vec![settings_step(plugin, policy, &["limits", "runs_per_record"], &runs.to_string())] }
}

fn operators_limit(sides: Sides<'_>, axis: Axis, value: &str) -> Step {
    let stated = &sides.policy.stated;
    if axis != Axis::Stack {
        return settings_step(sides.plugin, sides.policy, &["limits", axis.key()], value);
    }
    if let Some(variable) = &stated.stack_variable {
        return Step::Variable(variable.clone(), value.trim_matches('"').to_owned());
    }
    Step::Settings(stated.file().to_owned(), hosts_edit(stated.host.as_ref(), ["limits", axis.key()], value))
}

/// What gives a key of one of the host's own tables a value.
fn hosts_edit(host: Option<&Outline>, path: [&str; 2], value: &str) -> Edit {
    let [table, key] = path;
    let new = || Edit { spot: Spot::End, text: format!("[{table}]\n{}", nested(&[key], value)) };
    host.map_or_else(new, |host| host.set(&path, value))
}

/// What grants a version what it has not: those of `grants` that the operator does not allow, and those that its manifest
/// does not ask for.
pub fn grant(sides: Sides<'_>, grants: &[Grant]) -> Advice {
    let mut steps = Vec::new();
    let wishes = sides.wishes;
    let unwanted: Vec<&Grant> = match wishes.source {
        Source::Operator => Vec::new(),
        Source::Nobody | Source::Manifest { .. } => {
            grants.iter().filter(|grant| !wishes.wants.contains(grant)).collect()
        }
    };
    let lists = wanted_lists(sides, &unwanted);
    match &wishes.source {
        Source::Manifest { file, outline } => steps.extend(
            lists.iter().map(|(kind, value)| Step::Manifest(file.clone(), outline.set(&["wants", kind], value))),
        ),
        Source::Nobody if !lists.is_empty() => steps.push(new_manifest(sides, &lists)),
        Source::Nobody | Source::Operator => {}
    }
    let denied: Vec<&Grant> = grants.iter().filter(|grant| !is_served(sides.policy, grant)).collect();
    steps.extend(operators_grants(sides.plugin, sides.policy, &denied));
    Advice { steps: in_order(steps) }
}

/// What grants a plug-in these in the file of the settings.
pub fn grant_in_settings(plugin: &PluginName, policy: &Policy, grants: &[Grant]) -> Advice {
    let steps = operators_grants(plugin, policy, &grants.iter().collect::<Vec<_>>());
    let steps = steps.into_iter().filter(|step| !matches!(step, Step::Command(_))).collect();
    Advice { steps: in_order(steps) }
}

/// What the manifest has to hold under `wants`, by kind, to ask for these as well.
fn wanted_lists(sides: Sides<'_>, unwanted: &[&Grant]) -> Vec<(&'static str, String)> {
    let of_kind = |kind: &'static str| {
        let more: Vec<_> = unwanted.iter().copied().filter(|grant| grant.kind() == kind).collect();
        let wanted = sides.wishes.wants.iter().filter(|grant| grant.kind() == kind);
        let all: Vec<_> = wanted.chain(more.iter().copied()).map(|grant| quoted(grant.value())).collect();
        (!more.is_empty()).then(|| (kind, list(&all)))
    };
    Grant::KINDS.into_iter().filter_map(of_kind).collect()
}

fn new_manifest(sides: Sides<'_>, lists: &[(&'static str, String)]) -> Step {
    let (name, version) = (quoted(sides.plugin.as_str()), quoted(sides.version.as_str()));
    let mut text = format!("name = {name}\nversion = {version}\n[wants]");
    lists.iter().for_each(|(kind, value)| text.push_str(&format!("\n{kind} = {value}")));
    Step::NewManifest(text)
}

/// Whether the operator has done all that a capability needs: a key of the configuration needs a value, too.
fn is_served(policy: &Policy, grant: &Grant) -> bool {
    let has_value = match grant {
        Grant::Config(key) => policy.config.iter().any(|(there, _)| there == key),
        Grant::Http(_) | Grant::Pause(_) => true,
    };
    has_value && policy.grants.contains(grant)
}

fn operators_grants(plugin: &PluginName, policy: &Policy, denied: &[&Grant]) -> Vec<Step> {
    if denied.is_empty() {
        return Vec::new();
    }
    let mut steps = vec![Step::Command(grant_command(plugin, denied.iter().copied()))];
    let stated = &policy.stated;
    let Some(table) = &stated.plugin else {
        steps.push(Step::Settings(stated.file().to_owned(), new_table(plugin, denied)));
        return steps;
    };
    let with_more = |kind: &str| {
        let there = table.list(&["grants", kind]).iter().cloned();
        let more = if LISTED_KINDS.contains(&kind) { values_of(denied, kind) } else { Vec::new() };
        there.chain(more).collect::<Vec<_>>()
    };
    let kinds: Vec<_> = LISTED_KINDS.into_iter().filter(|kind| !values_of(denied, kind).is_empty()).collect();
    let is_one_key = match table.find(&["grants"]) {
        Some(Key { value: Content::Table(grants), .. }) => grants.form == Form::Braces,
        _ => true,
    };
    if kinds.len() > 1 && is_one_key {
        // Two edits of the same key would undo each other.
        let lists = Grant::KINDS.into_iter().map(|kind| (kind, with_more(kind))).filter(|(_, list)| !list.is_empty());
        let lists: Vec<_> = lists.map(|(kind, values)| format!("{kind} = {}", list(&values))).collect();
        steps.push(settings_step(plugin, policy, &["grants"], &format!("{{ {} }}", lists.join(", "))));
    } else {
        let edit = |kind| settings_step(plugin, policy, &["grants", kind], &list(&with_more(kind)));
        steps.extend(kinds.into_iter().map(edit));
    }
    let keys: Vec<_> = denied.iter().filter(|grant| matches!(grant, Grant::Config(_))).collect();
    match (keys.as_slice(), table.find(&["config"])) {
        ([], _) => {}
        (keys, None) => {
            let pairs: Vec<_> = keys.iter().map(|key| nested(&[key.value()], &quoted(VALUE))).collect();
            steps.push(settings_step(plugin, policy, &["config"], &format!("{{ {} }}", pairs.join(", "))));
        }
        (keys, Some(_)) => {
            steps
                .extend(keys.iter().map(|key| settings_step(plugin, policy, &["config", key.value()], &quoted(VALUE))));
        }
    }
    steps
}

/// What is granted of a kind, as the settings write it.
fn values_of(grants: &[&Grant], kind: &str) -> Vec<String> {
    grants.iter().filter(|grant| grant.kind() == kind).map(|grant| quoted(grant.value())).collect()
}

/// The table of a plug-in of which the file says nothing yet.
fn new_table(plugin: &PluginName, grants: &[&Grant]) -> Edit {
    let keys = values_of(grants, "config");
    let lists = LISTED_KINDS.into_iter().map(|kind| (kind, values_of(grants, kind)));
    let lists: Vec<_> = lists.filter(|(_, values)| !values.is_empty()).collect();
    let lists: Vec<_> = lists.iter().map(|(kind, values)| format!("{kind} = {}", list(values))).collect();
    let mut text = format!("[[plugin]]\nname = {}", quoted(plugin.as_str()));
    if !lists.is_empty() {
        text.push_str(&format!("\ngrants = {{ {} }}", lists.join(", ")));
    }
    if !keys.is_empty() {
        let pairs: Vec<_> = keys.iter().map(|key| format!("{key} = {}", quoted(VALUE))).collect();
        text.push_str(&format!("\nconfig = {{ {} }}", pairs.join(", ")));
    }
    Edit { spot: Spot::End, text }
}

/// The command that grants a plug-in these, ready for a shell.
pub fn grant_command<'a>(plugin: &PluginName, grants: impl IntoIterator<Item = &'a Grant>) -> String {
    let mut command = format!("backroom plugin grant {plugin}");
    for grant in grants {
        let word = match grant {
            Grant::Http(origin) => origin.clone(),
            Grant::Config(key) => format!("{key}={VALUE}"),
            Grant::Pause(pausable) => pausable.word().to_owned(),
        };
        command.push_str(&format!(" --{} {}", grant.kind(), for_shell(&word)));
    }
    command
}

/// The grant that lets a plug-in call an origin: one that its manifest asks for, or that the operator gives, where either
/// covers the origin; else the origin itself.
pub fn grant_for(sides: Sides<'_>, origin: &Origin) -> Grant {
    let covers = |grant: &&Grant| coverage([*grant], origin).is_some();
    let wanted = sides.wishes.wants.iter().find(covers);
    let given = sides.policy.grants.iter().find(covers);
    wanted.or(given).cloned().unwrap_or_else(|| Grant::Http(origin.as_grant()))
}

/// What lets a version call an origin.
pub fn allow_origin(sides: Sides<'_>, origin: &Origin) -> Advice {
    grant(sides, &[grant_for(sides, origin)])
}

/// What lets a version reach an address that a name leads to, of which a grant covers the name alone: the name itself in place
/// of a pattern where that will do (see [`may_connect`]), else the address in place of the name.
pub fn reach(sides: Sides<'_>, origin: &Origin, address: IpAddr) -> String {
    let meant = match may_connect(origin, Coverage::Exact, address) {
        true => origin.clone(),
        false => Origin { host: address.to_canonical().to_string(), ..origin.clone() },
    };
    let first = match meant == *origin {
        true => "A pattern does not let a name lead there; the name itself does, because its certificate proves who is there".to_owned(),
        false => format!("Call {} itself", meant.as_grant()),
    };
    match grant(sides, &[Grant::Http(meant.as_grant())]).to_string() {
        // It is granted already: it only has to be called so.
        advice if advice.is_empty() => first,
        advice => format!("{first}. To allow it:\n{advice}"),
    }
}

/// What gives a version a setting that it asked for and that has no value.
pub fn set_config(sides: Sides<'_>, key: &str) -> Advice {
    grant(sides, &[Grant::Config(key.to_owned())])
}

/// Something that is granted to a plug-in and that no handler of it can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    /// Of which kind of grants: `http`, `config` or `pause`.
    pub kind: &'static str,
    /// What, and why.
    pub message: String,
    /// What to do about it.
    pub next: String,
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.next)
    }
}

/// What is granted to a version in vain: its manifest does not ask for it, or its component, which imports these interfaces,
/// could not use it. One of each kind for each reason.
pub fn unused(sides: Sides<'_>, imports: &[String]) -> Vec<Unused> {
    let granted = &sides.policy.grants;
    let can_use = |grant: &Grant| {
        let package = grant.package();
        imports.iter().any(|import| import.strip_prefix(package).is_some_and(|rest| rest.starts_with('/')))
    };
    let of_kind = |kind: &'static str| {
        let all = granted.iter().filter(move |grant| grant.kind() == kind);
        let in_vain: Vec<_> = all.clone().filter(|grant| !can_use(grant)).collect();
        let unwanted: Vec<_> = all.filter(|grant| can_use(grant) && !sides.wishes.want(grant)).collect();
        [not_imported(sides, &in_vain), not_wanted(sides, &unwanted)].into_iter().flatten()
    };
    Grant::KINDS.into_iter().flat_map(of_kind).collect()
}

/// What is granted in vain to a plug-in: to the version that jobs run, or else to the newest.
pub fn unused_by(plugin: &Plugin, policy: &Policy) -> Vec<Unused> {
    let version = plugin.active_version().or(plugin.versions.last());
    let of = |version| unused(Sides::of(&plugin.name, version, policy), &version.inspection.imports);
    version.map(of).unwrap_or_default()
}

fn not_wanted(sides: Sides<'_>, grants: &[&Grant]) -> Option<Unused> {
    let what = in_words(grants)?;
    let (Sides { plugin, version, .. }, kind) = (sides, grants.first()?.kind());
    let asked: Vec<_> = grants.iter().copied().cloned().collect();
    Some(Unused {
        kind,
        message: format!("plug-in `{plugin}`: version {version} does not want {what}, so its handlers cannot use it"),
        next: format!("to ask for it:\n{}", grant(sides, &asked)),
    })
}

fn not_imported(sides: Sides<'_>, grants: &[&Grant]) -> Option<Unused> {
    let (what, kind, package) = (in_words(grants)?, grants.first()?.kind(), grants.first()?.package());
    let Sides { plugin, version, .. } = sides;
    let is_wanted = grants.iter().any(|grant| sides.wishes.want(grant));
    let wants = if is_wanted { "cannot use" } else { "does not want" };
    Some(Unused {
        kind,
        message: format!(
            "plug-in `{plugin}`: version {version} {wants} {what}: its component does not import `{package}`"
        ),
        next: format!("take it back, or upload a component that calls `{package}`"),
    })
}

/// Grants of one kind as a sentence names them.
fn in_words(grants: &[&Grant]) -> Option<String> {
    let kind = grants.first()?.kind();
    let values: Vec<_> = grants.iter().map(|grant| format!("`{}`", grant.value())).collect();
    Some(format!("{} of `{kind}`", values.join(", ")))
}

fn settings_step(plugin: &PluginName, policy: &Policy, path: &[&str], value: &str) -> Step {
    let stated = &policy.stated;
    let edit = match &stated.plugin {
        Some(table) => table.set(path, value),
        None => {
            let text = format!("[[plugin]]\nname = {}\n{}", quoted(plugin.as_str()), nested(path, value));
            Edit { spot: Spot::End, text }
        }
    };
    Step::Settings(stated.file().to_owned(), edit)
}

/// Steps as they can be done one after another: of those in one file the last line comes first, so that the numbers of the
/// others still hold.
fn in_order(mut steps: Vec<Step>) -> Vec<Step> {
    let rank = |step: &Step| match step {
        Step::Manifest(_, edit) => (0, u32::MAX - edit.line()),
        Step::NewManifest(_) => (0, 0),
        Step::Command(_) => (1, 0),
        Step::Settings(_, edit) => (2, u32::MAX - edit.line()),
        Step::Variable(..) | Step::Nothing(_) => (3, 0),
    };
    steps.sort_by_key(rank);
    steps
}

/// A word as a shell takes it.
fn for_shell(word: &str) -> String {
    let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::domain::id::{Digest, VersionName};
    use crate::domain::limits::Limits;
    use crate::domain::outline::{Lines, Stated};
    use crate::domain::plugin::{Inspection, Shape};
    use crate::domain::time::Timestamp;

    fn table(form: Form, line: u32, keys: Vec<(&str, Content)>) -> Outline {
        let lines = Lines { first: line, last: line };
        let keys = keys.into_iter().map(|(name, value)| Key { name: name.to_owned(), lines, value }).collect();
        Outline { form, lines, keys }
    }

    fn version(wishes: Wishes) -> PluginVersion {
        let inspection = Inspection {
            shape: Shape::Handler,
            imports: Vec::new(),
            exports: Vec::new(),
            handlers: None,
            digest: Digest([0; 32]),
            bytes: 0,
        };
        let version = VersionName::new("1.0.0").expect("a version");
        PluginVersion { version, inspection, wishes, uploaded_on: Timestamp::default(), is_pending: false }
    }

    fn manifest(keys: Vec<(&str, Content)>) -> Source {
        Source::Manifest { file: None, outline: table(Form::Document, 1, keys) }
    }

    fn http(origin: &str) -> Grant {
        Grant::Http(origin.to_owned())
    }

    fn with_sides<T>(wishes: Wishes, policy: &Policy, ask: impl FnOnce(Sides<'_>) -> T) -> T {
        let plugin = PluginName::new("mailer").expect("a name");
        ask(Sides::of(&plugin, &version(wishes), policy))
    }

    #[test]
    fn a_limit_names_every_side_that_is_too_low_and_no_other() {
        let wall = || Content::Table(table(Form::Header, 4, vec![("wall", Content::One("\"1s\"".to_owned()))]));
        let wishes = Wishes { wall_ms: Some(1_000), source: manifest(vec![("limits", wall())]), ..Wishes::default() };
        let policy = Policy::default();
        let told =
            |needed| with_sides(wishes.clone(), &policy, |sides| allow_more(sides, Axis::Wall, needed).to_string());
        assert_eq!(told(2_000), "# plugin.toml, in place of line 4; then upload it again:\nwall = \"2s\"");
        assert_eq!(
            told(60_000),
            "# plugin.toml, in place of line 4; then upload it again:\nwall = \"60s\"\n\
             # backroom.toml, at the end; then restart the host:\n[[plugin]]\nname = \"mailer\"\nlimits = { wall = \"60s\" }"
        );
        let host = |axis| with_sides(wishes.clone(), &policy, |sides| allow_more(sides, axis, 7).to_string());
        assert!(host(Axis::HostCalls).starts_with("Neither"), "the limit is above that already");
        let most = Policy {
            limits: Limits { wall: std::time::Duration::from_secs(86_400), ..Limits::default() },
            ..Policy::default()
        };
        let told = with_sides(Wishes::default(), &most, |sides| allow_more(sides, Axis::Wall, u64::MAX).to_string());
        assert_eq!(told, "No larger limit can be set.");
    }

    #[test]
    fn the_stack_is_the_hosts_and_a_variable_has_the_last_word() {
        let told = |stated| {
            let policy = Policy { stated: Arc::new(stated), ..Policy::default() };
            with_sides(Wishes::default(), &policy, |sides| allow_more(sides, Axis::Stack, 1 << 20).to_string())
        };
        let limits = Content::Table(table(Form::Header, 7, Vec::new()));
        let host = Some(table(Form::Document, 1, vec![("limits", limits)]));
        let in_file = Stated { host, ..Stated::default() };
        assert_eq!(told(in_file), "# backroom.toml, below line 7; then restart the host:\nstack = \"1MiB\"");
        let by_variable = Stated { stack_variable: Some("BACKROOM_LIMITS_STACK".to_owned()), ..Stated::default() };
        assert!(told(by_variable).ends_with("\nBACKROOM_LIMITS_STACK=1MiB"));
    }

    #[test]
    fn an_origin_is_advised_to_the_sides_that_lack_it() {
        let origin = Origin::of("https", "api.example.com").expect("an origin");
        let wants: BTreeSet<_> = [http("https://api.example.com")].into();
        let both = Policy::default();
        let granted = Policy { grants: wants.clone(), ..Policy::default() };
        let told = |wishes: Wishes, policy: &Policy| with_sides(wishes, policy, |sides| allow_origin(sides, &origin));
        let wanting = Wishes { wants: wants.clone(), source: manifest(Vec::new()), ..Wishes::default() };
        let silent = Wishes { source: manifest(Vec::new()), ..Wishes::default() };

        let advice = told(wanting, &both);
        assert_eq!(advice.command(), Some("backroom plugin grant mailer --http https://api.example.com"));
        assert_eq!(advice.manifest(), None);
        let advice = told(silent.clone(), &granted);
        assert_eq!((advice.command(), advice.settings()), (None, None));
        let expected =
            "# plugin.toml, at the end; then upload it again:\n[wants]\nhttp = [\"https://api.example.com\"]";
        assert_eq!(advice.manifest().as_deref(), Some(expected));
        let advice = told(silent, &both);
        assert!(advice.manifest().is_some() && advice.command().is_some() && advice.settings().is_some());
        assert!(told(Wishes::default(), &both).manifest().is_some_and(|text| text.contains("name = \"mailer\"")));
        let operators = Wishes { source: Source::Operator, ..Wishes::default() };
        assert_eq!(told(operators, &both).manifest(), None);
    }

    #[test]
    fn a_pattern_that_covers_the_origin_is_what_both_sides_are_told() {
        let origin = Origin::of("https", "api.example.com").expect("an origin");
        let pattern = http("https://*.example.com");
        let wishes = Wishes { wants: [pattern.clone()].into(), source: manifest(Vec::new()), ..Wishes::default() };
        let advice = with_sides(wishes, &Policy::default(), |sides| allow_origin(sides, &origin));
        assert_eq!(advice.command(), Some("backroom plugin grant mailer --http 'https://*.example.com'"));
    }

    #[test]
    fn an_address_that_a_name_may_not_lead_to_is_reached_by_what_is_advised() {
        for (authority, is_tls, address, reached) in [
            ("intranet.example.com", true, "10.1.2.3", "https://intranet.example.com"),
            ("intranet.example.com", false, "10.1.2.3", "http://10.1.2.3"),
            ("intranet.example.com:8443", true, "127.0.0.1", "https://127.0.0.1:8443"),
            ("intranet.example.com", true, "::ffff:127.0.0.1", "https://127.0.0.1"),
            ("intranet.example.com", false, "::1", "http://[::1]"),
        ] {
            let origin = Origin::of(if is_tls { "https" } else { "http" }, authority).expect("an origin");
            let address: IpAddr = address.parse().expect("an address");
            let operators = Wishes { source: Source::Operator, ..Wishes::default() };
            let policy = Policy::default();
            let told = with_sides(operators.clone(), &policy, |sides| reach(sides, &origin, address));
            assert!(told.contains(&format!("backroom plugin grant mailer --http {}", for_shell(reached))), "{told}");
            let followed = Policy { grants: [http(reached)].into(), ..Policy::default() };
            let (scheme, called) = reached.split_once("://").expect("an origin");
            let called = Origin::of(scheme, called).expect("an origin");
            let covered = coverage(&followed.grants, &called).expect("it is granted");
            assert!(may_connect(&called, covered, address.to_canonical()), "{told}");
            let told = with_sides(operators, &followed, |sides| reach(sides, &origin, address));
            assert!(!told.contains("To allow it"), "nothing is left to allow: {told}");
        }
    }

    #[test]
    fn grants_fit_in_with_the_file_and_keys_come_with_a_value() {
        let list = Content::List(vec!["\"https://a.example\"".to_owned()]);
        let grants = Content::Table(table(Form::Braces, 4, vec![("http", list)]));
        let config = Content::Table(table(Form::Braces, 5, vec![("key", Content::Hidden)]));
        let plugin = table(Form::Header, 2, vec![("grants", grants), ("config", config)]);
        let stated = Stated { file: Some("etc/backroom.toml".to_owned()), plugin: Some(plugin), ..Stated::default() };
        let policy = Policy {
            grants: [http("https://a.example"), Grant::Config("key".to_owned()), Grant::Config("bare".to_owned())]
                .into(),
            config: vec![("key".to_owned(), "secret".to_owned())],
            stated: Arc::new(stated),
            ..Policy::default()
        };
        let missing = [http("https://b.example"), Grant::Config("bare".to_owned()), Grant::Config("key".to_owned())];
        let wishes = Wishes { wants: missing.clone().into(), source: manifest(Vec::new()), ..Wishes::default() };
        let advice = with_sides(wishes, &policy, |sides| grant(sides, &missing));
        assert_eq!(
            advice.to_string(),
            "backroom plugin grant mailer --http https://b.example --config bare=VALUE\n\
             # or etc/backroom.toml, inside the braces on line 5; then restart the host:\nbare = \"VALUE\"\n\
             # or etc/backroom.toml, in place of line 2; then restart the host:\n\
             grants = { http = [\"https://a.example\", \"https://b.example\"] }"
        );
    }

    #[test]
    fn what_is_granted_in_vain_is_told_with_what_helps() {
        let imports = ["wasi:http/outgoing-handler@0.2.3".to_owned(), "wasi:configuration/x@1.0.0".to_owned()];
        let granted = [http("https://a.example.com"), http("https://b.example.com"), Grant::Config("key".to_owned())];
        let policy = Policy { grants: granted.into(), ..Policy::default() };
        let of = |wishes: Wishes| {
            let told = with_sides(wishes, &policy, |sides| unused(sides, &imports));
            told.iter().map(|unused| unused.to_string()).collect::<Vec<_>>()
        };
        let by_operator = of(Wishes { source: Source::Operator, ..Wishes::default() });
        let no_import = "plug-in `mailer`: version 1.0.0 cannot use `key` of `config`: its component does not import \
            `wasi:config`; take it back, or upload a component that calls `wasi:config`";
        assert_eq!(by_operator, [no_import]);
        let wants = [http("https://a.example.com")].into();
        let by_manifest = of(Wishes { source: manifest(Vec::new()), wants, ..Wishes::default() });
        let unwanted = "plug-in `mailer`: version 1.0.0 does not want `https://b.example.com` of `http`, so its handlers \
            cannot use it; to ask for it:\n";
        assert!(
            by_manifest[0].starts_with(unwanted) && by_manifest[0].contains("https://b.example.com\""),
            "{by_manifest:?}"
        );
        assert_eq!(by_manifest[1..], [no_import.replace("cannot use", "does not want")]);
    }
}
