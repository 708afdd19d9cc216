//! The verbs of `backroom job` that steer: one job by its id, or all that match.

use std::collections::BTreeMap;

use serde_json::json;

use super::client::{Answer, Client};
use super::failure::{Exit, Failure};
use super::input;
use super::table::{Columns, Field};
use super::terminal::Terminal;
use crate::api::view::{
    ActionResultView, ActionsBody, ActionsView, AuditView, ExplainView, FailuresView, FilterBody, PauseBody,
    PostponeBody, ResumeBody, RetryBody, SteerBody, SubmitBody,
};
use crate::domain::code;

/// How many jobs one call of a bulk command deals with.
const CALL_JOBS: u64 = 10_000;

/// How many refusals a person is shown.
const REFUSALS_SHOWN: usize = 10;

/// Why somebody does something.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Why {
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Why {
    /// As the host is told.
    pub(crate) fn body(&self) -> SteerBody {
        SteerBody { reason: self.reason.clone() }
    }

    /// A pause that ends at `until`, as the host is told.
    pub(crate) fn pause(&self, until: Option<&String>) -> PauseBody {
        PauseBody { until: until.cloned(), reason: self.reason.clone() }
    }
}

/// Which jobs, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Targets {
    /// The jobs' ids
    #[arg(required_unless_present_any = ["filter", "all"], conflicts_with_all = ["filter", "all"])]
    ids: Vec<String>,
    /// All jobs like this instead, such as state=queued; may be given several times
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    filter: Vec<String>,
    /// Every job
    #[arg(long, conflicts_with = "filter")]
    all: bool,
    /// With --where: only count what would change
    #[arg(long, conflicts_with_all = ["ids", "yes"])]
    dry_run: bool,
    /// With --where: do it without asking
    #[arg(long, short = 'y', conflicts_with = "ids")]
    yes: bool,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Which jobs to set going, and whether at once.
#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    targets: Targets,
    /// Run paused jobs now, although what they waited for before is still to come
    #[arg(long)]
    now: bool,
}

/// Which jobs to put off, and until when.
#[derive(Debug, clap::Args)]
pub(crate) struct PostponeArgs {
    #[command(flatten)]
    targets: Targets,
    /// Until when: a time such as 2030-01-31T08:00:00Z, or how long from now, such as 15m
    #[arg(long, value_name = "TIME|DURATION")]
    until: String,
}

/// Which finished jobs to run again, and what to change.
#[derive(Debug, clap::Args)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    targets: Targets,
    /// Another input: JSON, @FILE or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", conflicts_with_all = ["text", "filter", "all"])]
    input: Option<String>,
    /// Another input, as plain text
    #[arg(long, conflicts_with_all = ["filter", "all"])]
    text: Option<String>,
    /// Another version of the plug-in
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["filter", "all"])]
    version: Option<String>,
    /// Do not start before this time, or for so long
    #[arg(long, value_name = "TIME|DURATION", conflicts_with_all = ["filter", "all"])]
    at: Option<String>,
}

/// Cancels or pauses.
pub(crate) fn steer(client: &Client, verb: &str, targets: &Targets, terminal: Terminal) -> anyhow::Result<Exit> {
    if targets.is_bulk() {
        return in_bulk(client, targets, targets.body(verb)?, terminal);
    }
    let body = SteerBody { reason: targets.reason.clone() };
    each(&targets.ids, |id| {
        let steered = client.steer_job(id, verb, &body)?;
        told(terminal, &steered.text, &format!("job {id} is {}", steered.view.state))
    })
}

/// Sets jobs going.
pub(crate) fn resume(client: &Client, args: &ResumeArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let ResumeArgs { targets, now } = args;
    if targets.is_bulk() {
        return in_bulk(client, targets, ActionsBody { now: *now, ..targets.body("resume")? }, terminal);
    }
    let body = ResumeBody { now: *now, reason: targets.reason.clone() };
    each(&targets.ids, |id| {
        let resumed = client.steer_job(id, "resume", &body)?;
        let until = resumed.view.postpone_until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
        told(terminal, &resumed.text, &format!("job {id} is {}{until}", resumed.view.state))
    })
}

/// Puts jobs off.
pub(crate) fn postpone(client: &Client, args: &PostponeArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let PostponeArgs { targets, until } = args;
    if targets.is_bulk() {
        let body = ActionsBody { until: Some(until.clone()), ..targets.body("postpone")? };
        return in_bulk(client, targets, body, terminal);
    }
    let body = PostponeBody { until: until.clone(), reason: targets.reason.clone() };
    each(&targets.ids, |id| {
        let steered = client.steer_job(id, "postpone", &body)?;
        let until = steered.view.postpone_until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
        told(terminal, &steered.text, &format!("job {id} is {}{until}", steered.view.state))
    })
}

/// Runs finished jobs again.
pub(crate) fn retry(client: &Client, args: &RetryArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let RetryArgs { targets, input, text, version, at } = args;
    if targets.is_bulk() {
        return in_bulk(client, targets, targets.body("retry")?, terminal);
    }
    let mut given = SubmitBody { input_text: text.clone(), ..SubmitBody::default() };
    if let Some(input) = input {
        input::put_input(&mut given, input)?;
    }
    let body = RetryBody {
        input: given.input,
        input_text: given.input_text,
        input_base64: given.input_base64,
        version: version.clone(),
        at: at.clone(),
        reason: targets.reason.clone(),
    };
    each(&targets.ids, |id| {
        let new = client.steer_job(id, "retry", &body)?;
        let line = match terminal.is_interactive() {
            true => format!("job {id} runs again as {}", new.view.id),
            false => new.view.id.clone(),
        };
        told(terminal, &new.text, &line)
    })
}

/// Removes jobs that have ended.
pub(crate) fn delete(client: &Client, targets: &Targets, terminal: Terminal) -> anyhow::Result<Exit> {
    if targets.is_bulk() {
        return in_bulk(client, targets, targets.body("delete")?, terminal);
    }
    each(&targets.ids, |id| {
        client.delete_job(id, targets.reason.as_deref())?;
        told(terminal, &json!({ "id": id, "deleted": true }).to_string(), &format!("job {id} was deleted"))
    })
}

/// Does something with each job. One that cannot be steered does not keep the others from it.
fn each(ids: &[String], mut one: impl FnMut(&String) -> anyhow::Result<()>) -> anyhow::Result<Exit> {
    let [id] = ids else {
        let told = |id: &String| one(id).err().map(|error| format!("job {id}: {error:#}"));
        let notes: Vec<_> = ids.iter().filter_map(told).collect();
        if notes.is_empty() {
            return Ok(Exit::Done);
        }
        let message = format!("{} of {} jobs were left as they are", notes.len(), ids.len());
        return Err(Failure { notes, ..Failure::new(code::WRONG_STATE, message) }.into());
    };
    one(id).map(|()| Exit::Done)
}

fn told(terminal: Terminal, json: &str, line: &str) -> anyhow::Result<()> {
    match terminal.is_json() {
        true => terminal.json(json)?,
        false => terminal.line(line)?,
    }
    Ok(())
}

impl Targets {
    fn is_bulk(&self) -> bool {
        self.all || !self.filter.is_empty()
    }

    fn body(&self, action: &str) -> anyhow::Result<ActionsBody> {
        Ok(ActionsBody {
            action: action.to_owned(),
            filter: filter(&self.filter)?,
            all: self.all,
            reason: self.reason.clone(),
            limit: Some(CALL_JOBS),
            ..ActionsBody::default()
        })
    }
}

/// The filter that some `FIELD=VALUE` give.
fn filter(given: &[String]) -> anyhow::Result<FilterBody> {
    let mut fields = serde_json::Map::new();
    for pair in given {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Failure::bad_input(format!("`{pair}` is no condition"), "give --where FIELD=VALUE").into());
        };
        // The names are those of the flags of `backroom job list`, which have dashes.
        let name = name.trim().replace('-', "_");
        if fields.insert(name.clone(), value.into()).is_some() {
            let next = "give several values of one field with commas between, where it takes several";
            return Err(Failure::bad_input(format!("`{name}` stands there twice"), next).into());
        }
    }
    serde_json::from_value(fields.into()).map_err(|error| {
        let next = "see the fields of a filter in `backroom job list --help`";
        Failure::bad_input(format!("the conditions are not acceptable: {error}"), next).into()
    })
}

/// Shows how many jobs a command would change, asks, and does it.
fn in_bulk(client: &Client, targets: &Targets, body: ActionsBody, terminal: Terminal) -> anyhow::Result<Exit> {
    let verb = body.action.clone();
    if !targets.yes {
        let preview = all_calls(client, &ActionsBody { dry_run: true, ..body.clone() })?;
        if targets.dry_run || preview.changed == 0 {
            show(&preview, &verb, Tense::Would, terminal)?;
            return Ok(Exit::Done);
        }
        if !terminal.can_ask() {
            show(&preview, &verb, Tense::Would, terminal)?;
            let message = "nothing was changed: this was only the preview";
            return Err(Failure::bad_input(message, "add --yes to do it, or --dry-run to only count").into());
        }
        show(&preview, &verb, Tense::Would, terminal)?;
        if !terminal.ask(&format!("{verb} {}?", jobs(preview.changed)))? {
            terminal.line("nothing was changed")?;
            return Ok(Exit::Done);
        }
    }
    let done = all_calls(client, &body)?;
    show(&done, &verb, Tense::Did, terminal)?;
    Ok(Exit::Done)
}

/// Goes through all jobs that match, call by call.
fn all_calls(client: &Client, body: &ActionsBody) -> anyhow::Result<ActionsView> {
    let mut total = ActionsView::default();
    let mut body = body.clone();
    loop {
        let ActionsView { matched, changed, refused, results, next, looked_to: _ } = client.act(&body)?.view;
        total.matched += matched;
        total.changed += changed;
        total.refused += refused;
        total.results.extend(results);
        if next.is_none() {
            return Ok(total);
        }
        body.cursor = next;
    }
}

/// Whether something was done or only counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tense {
    Would,
    Did,
}

fn show(report: &ActionsView, verb: &str, tense: Tense, terminal: Terminal) -> anyhow::Result<()> {
    if terminal.is_json() {
        terminal.json(&serde_json::to_string(report)?)?;
        return Ok(());
    }
    let ActionsView { matched, changed, refused, results, .. } = report;
    let mut by_state: BTreeMap<&str, usize> = BTreeMap::new();
    results.iter().for_each(|result| *by_state.entry(&result.state_before).or_default() += 1);
    let states: Vec<_> = by_state.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let states = if states.is_empty() { String::new() } else { format!(" ({})", states.join(", ")) };
    let (did, cannot) = match tense {
        Tense::Would => ("would change", "cannot"),
        Tense::Did => ("changed", "were left as they are"),
    };
    terminal.line(&format!("{verb}: {} match{states}; {changed} {did}, {refused} {cannot}", jobs(*matched)))?;
    let refusals = results.iter().filter_map(|ActionResultView { id, error, .. }| Some((id, error.as_ref()?)));
    for (id, error) in refusals.clone().take(REFUSALS_SHOWN) {
        terminal.line(&format!("  {id}: {error}"))?;
    }
    let more = refusals.count().saturating_sub(REFUSALS_SHOWN);
    if more > 0 {
        terminal.line(&format!("  and {more} more; see all of them with --json"))?;
    }
    Ok(())
}

fn jobs(count: usize) -> String {
    if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") }
}

/// Lists the commands that people gave for a job.
pub(crate) fn audit(audit: &Answer<AuditView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json_list(&audit.text, "rows")?;
        return Ok(Exit::Done);
    }
    if audit.view.rows.is_empty() {
        terminal.line("nobody has steered this job")?;
        return Ok(Exit::Done);
    }
    let row = |row: &crate::api::view::AuditRowView| {
        vec![
            Field::new(&row.on),
            Field::new(&row.by),
            Field::new(&row.action),
            Field::state(&row.from),
            Field::state(&row.to),
            Field::or_dash(row.reason.as_ref()),
        ]
    };
    let columns = Columns { headings: &["ON", "BY", "ACTION", "FROM", "TO", "REASON"], spare: &["FROM", "TO", "ON"] };
    terminal.table(&columns, audit.view.rows.iter().map(row).collect())?;
    Ok(Exit::Done)
}

/// Says why a job is not running and what would start it.
pub(crate) fn explain(explained: &Answer<ExplainView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json(&explained.text)?;
        return Ok(Exit::Done);
    }
    let ExplainView { id, state, reasons } = &explained.view;
    terminal.line(&format!("job {id} is {state}"))?;
    for reason in reasons {
        let jobs = if reason.jobs.is_empty() { String::new() } else { format!(": {}", reason.jobs.join(", ")) };
        terminal.line(&format!("- {} ({}){jobs}", reason.message, reason.code))?;
        terminal.line(&format!("  until: {}", reason.starts_when))?;
    }
    Ok(Exit::Done)
}

/// What a list of failures says that is not about all of them.
const MORE_FAILURES: &str = "the host stopped counting: there are more failed jobs than it counts, so counts may be too small and groups missing";

/// Lists failed jobs by what went wrong.
pub(crate) fn failures(failures: &Answer<FailuresView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json_list(&failures.text, "groups")?;
        return Ok(Exit::Done);
    }
    if failures.view.groups.is_empty() {
        terminal.line("no job has failed")?;
        return Ok(Exit::Done);
    }
    if failures.view.incomplete {
        super::terminal::aside(MORE_FAILURES);
    }
    let row = |group: &crate::api::view::FailureView| {
        vec![
            Field::new(&group.fingerprint),
            Field::new(group.count.to_string()),
            Field::new(&group.plugin),
            Field::new(&group.class),
            Field::or_dash(group.code.as_ref()),
            Field::new(&group.newest),
            Field::new(super::job_view::first_line(&group.shape)),
        ]
    };
    let rows = failures.view.groups.iter().map(row).collect();
    let columns = Columns {
        headings: &["FINGERPRINT", "JOBS", "PLUG-IN", "CLASS", "CODE", "NEWEST", "WHAT"],
        spare: &["CLASS", "NEWEST", "CODE", "PLUG-IN"],
    };
    terminal.table(&columns, rows)?;
    terminal.line("\nrun a group again: backroom job retry --where fingerprint=FINGERPRINT")?;
    Ok(Exit::Done)
}
