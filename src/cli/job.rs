//! `backroom job` and `backroom run`: submit, look at and steer jobs.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use serde_json::value::RawValue;

use super::client::{Answer, Client, ClientArgs, JobQuery};
use super::failure::{Exit, Failure};
use super::follow::{self, Telling};
use super::input;
use super::steer::{self, PostponeArgs, ResumeArgs, RetryArgs, Targets};
use super::terminal::{self, Field, Terminal};
use super::{bulk, job_view};
use crate::api::view::{FollowUpBody, JobPageView, JobView, SubmitBody};

/// How long the host waits for the end of a job before it answers, where we wait.
const FIRST_WAIT: Duration = Duration::from_secs(20);

/// What to do with jobs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum JobCommand {
    /// Submit a job, or a file of them
    Submit(Box<SubmitArgs>),
    /// List jobs, newest first
    List(Box<ListArgs>),
    /// Show a job
    Show {
        /// The job's id
        id: String,
    },
    /// Print what a job logged
    Logs {
        /// The job's id
        id: String,
        /// Only what this attempt logged
        #[arg(long, value_name = "NUMBER", conflicts_with = "follow")]
        attempt: Option<u32>,
        /// Print what its last run has logged, then each line as it comes, until the job ends
        #[arg(long, short = 'f')]
        follow: bool,
    },
    /// Tell every change of a job until it ends
    Watch {
        /// The job's id
        id: String,
    },
    /// List the runs of a job
    Attempts {
        /// The job's id
        id: String,
    },
    /// Print what a job returned, byte for byte
    Output {
        /// The job's id
        id: String,
    },
    /// Say why a job is not running, and what would start it
    Explain {
        /// The job's id
        id: String,
    },
    /// Remove finished jobs by how and how long ago they ended
    Purge(PurgeArgs),
    /// List who steered a job, and why
    Audit {
        /// The job's id
        id: String,
    },
    /// List failed jobs by what went wrong
    Failures {
        /// How many groups, at most 200
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        limit: u32,
    },
    /// Call jobs off: by id, or all that match
    Cancel(Targets),
    /// Stop jobs for now: by id, or all that match
    Pause(Targets),
    /// Set jobs going that wait, retry or are paused: by id, or all that match
    Resume(ResumeArgs),
    /// Put jobs off until a time: by id, or all that match
    Postpone(PostponeArgs),
    /// Run finished jobs again, as new ones: by id, or all that match
    Retry(RetryArgs),
    /// Remove jobs that have ended: by id, or all that match
    Delete(Targets),
}

/// What to submit.
#[derive(Debug, clap::Args)]
pub(crate) struct SubmitArgs {
    /// The plug-in to run
    #[arg(required_unless_present = "bulk")]
    plugin: Option<String>,
    /// The input: JSON, @FILE or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", conflicts_with = "text")]
    input: Option<String>,
    /// The input as plain text
    #[arg(long)]
    text: Option<String>,
    /// The entry point; the plug-in's first unless given
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// A name that people see
    #[arg(long)]
    name: Option<String>,
    /// The queue, one of those that `backroom queue list` shows
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// The version to run; the active one unless given
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Run after all earlier jobs with the same key
    #[arg(long, value_name = "KEY")]
    ordering_key: Option<String>,
    /// Run only so many of the plug-in's jobs with the same key at a time, one unless it is set otherwise
    #[arg(long, value_name = "KEY")]
    concurrency_key: Option<String>,
    /// Run after this job has ended; may be given several times
    #[arg(long, value_name = "ID")]
    after: Vec<String>,
    /// When a job that it waits for has not succeeded: continue, block or cancel
    #[arg(long, value_name = "ANSWER")]
    on_predecessor_failure: Option<String>,
    /// While a job with this key is unfinished, return that one
    #[arg(long, value_name = "KEY")]
    dedup_key: Option<String>,
    /// The record that it is about
    #[arg(long, value_name = "ENTITY/ID")]
    regarding: Option<String>,
    /// The job on whose behalf it is submitted
    #[arg(long, value_name = "ID")]
    parent: Option<String>,
    /// The batch that it belongs to
    #[arg(long, value_name = "ID")]
    batch: Option<String>,
    /// A shorter time limit of each run than the plug-in's, such as 5s
    #[arg(long, value_name = "DURATION")]
    deadline: Option<String>,
    /// Remove it as soon as it has succeeded
    #[arg(long)]
    auto_delete: bool,
    /// When it ends, submit a job of this plug-in, or tell this URL
    #[arg(long, value_name = "PLUGIN[/HANDLER]|URL")]
    on_complete: Option<String>,
    /// The queue of the job that follows
    #[arg(long, value_name = "NAME", requires = "on_complete")]
    on_complete_queue: Option<String>,
    /// Greater runs first; -100 to 100
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    priority: Option<i64>,
    /// Do not start before this time, such as 2030-01-31T08:00:00Z, or for so long, such as 15m
    #[arg(long, value_name = "TIME|DURATION")]
    at: Option<String>,
    /// Call it off unless it was started by this time, or within so long
    #[arg(long, alias = "expires-on", value_name = "TIME|DURATION")]
    expires: Option<String>,
    /// A word to find it by; may be given several times
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
    /// Attempts in all
    #[arg(long, value_name = "NUMBER")]
    max_attempts: Option<u64>,
    /// A repeated submit with the same key returns the first job
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// An argument, for a plug-in that is a command; may be given several times
    #[arg(long = "arg", value_name = "TEXT", allow_hyphen_values = true)]
    args: Vec<String>,
    /// A variable, for a plug-in that is a command; may be given several times
    #[arg(long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Wait for its end, then show it
    #[arg(long, conflicts_with = "follow")]
    wait: bool,
    /// Tell every change until it ends, then print its output
    #[arg(long)]
    follow: bool,
    /// Submit the jobs of a file, one JSON object on each line
    #[arg(long, value_name = "FILE.ndjson", conflicts_with_all = ["plugin", "input", "text", "handler", "name", "queue",
        "priority", "at", "expires", "tags", "max_attempts", "idempotency_key", "args", "env", "wait", "follow", "version",
        "ordering_key", "concurrency_key", "after", "on_predecessor_failure", "dedup_key", "regarding", "parent", "batch", "deadline",
        "auto_delete", "on_complete"])]
    bulk: Option<PathBuf>,
    /// With --bulk, begin at this line, after a submit that broke off
    #[arg(long, value_name = "NUMBER", requires = "bulk", default_value_t = 1)]
    from_line: usize,
}

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The plug-in to run
    plugin: String,
    /// The input as it stands, @FILE, or - for standard input; nothing unless given
    input: Option<String>,
    /// The entry point; the plug-in's first unless given
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
}

/// Which jobs to list.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only these states, such as failed or queued,running
    #[arg(long, value_name = "STATES")]
    state: Option<String>,
    /// Only jobs of this type: handler, batch, or the number of another
    #[arg(long = "type", value_name = "TYPE")]
    job_type: Option<String>,
    /// Only jobs of this plug-in
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// Only jobs of this entry point
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// Only jobs with this tag
    #[arg(long, value_name = "WORD")]
    tag: Option<String>,
    /// Only jobs in this queue
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Only jobs that wait for these reasons, such as error or scheduled,postponed
    #[arg(long, value_name = "REASONS")]
    wait_reason: Option<String>,
    /// Only jobs with this ordering key
    #[arg(long, value_name = "KEY")]
    ordering_key: Option<String>,
    /// Only jobs about this record
    #[arg(long, value_name = "ENTITY/ID")]
    regarding: Option<String>,
    /// Only jobs of this batch
    #[arg(long, value_name = "ID")]
    batch: Option<String>,
    /// Only jobs that this schedule made
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Only jobs that follow from this job, directly or not
    #[arg(long, value_name = "ID")]
    chain: Option<String>,
    /// Only jobs that run this job again
    #[arg(long, value_name = "ID")]
    retry_of: Option<String>,
    /// Only jobs that failed in this way, as `backroom job failures` shows it
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
    /// Only jobs whose name or error holds this text
    #[arg(long, alias = "q", value_name = "TEXT")]
    search: Option<String>,
    /// Only jobs that this caller submitted, such as api or schedule nightly
    #[arg(long, value_name = "NAME")]
    created_by: Option<String>,
    /// Only jobs of the holder of this token
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Only jobs submitted from this time on
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only jobs submitted before this time
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// Which come first: newest or oldest
    #[arg(long, value_name = "ORDER")]
    sort: Option<String>,
    /// How many, at most 200
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u32,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

/// Which finished jobs to remove.
#[derive(Debug, clap::Args)]
pub(crate) struct PurgeArgs {
    /// Which: succeeded, failed, canceled, with commas between
    #[arg(long, value_name = "STATES")]
    state: String,
    /// Only jobs of this type: handler, batch
    #[arg(long = "type", value_name = "TYPE")]
    job_type: Option<String>,
    /// That ended at least so long ago, such as 7d
    #[arg(long, value_name = "TIME")]
    older_than: String,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    /// On a terminal: do it without asking
    #[arg(long, short = 'y', conflicts_with = "dry_run")]
    yes: bool,
}

/// Does something with jobs.
pub(crate) fn run(args: &ClientArgs, command: &JobCommand, terminal: Terminal) -> anyhow::Result<Exit> {
    let client = Client::new(args)?;
    match command {
        JobCommand::Submit(args) => submit(&client, args, terminal),
        JobCommand::List(args) => list(&client, args, terminal),
        JobCommand::Show { id } => show(&client.job(id)?, terminal),
        JobCommand::Logs { id, follow: true, .. } => {
            follow::to_the_end(&client, id, Telling::Log, terminal)?;
            Ok(Exit::Done)
        }
        JobCommand::Logs { id, attempt, .. } => logs(&client, id, *attempt, terminal),
        JobCommand::Watch { id } => {
            let ended = follow::taken_to_the_end(&client, id, Telling::Everything.on(terminal), terminal)?;
            follow::show_result(&client, &ended, terminal)
        }
        JobCommand::Attempts { id } => job_view::attempts(&client.attempts(id)?, terminal),
        JobCommand::Output { id } => output(&client, id, terminal),
        JobCommand::Purge(args) => purge(&client, args, terminal),
        JobCommand::Explain { id } => steer::explain(&client.explain(id)?, terminal),
        JobCommand::Audit { id } => steer::audit(&client.audit(id)?, terminal),
        JobCommand::Failures { limit } => steer::failures(&client.failures(*limit)?, terminal),
        JobCommand::Cancel(targets) => steer::steer(&client, "cancel", targets, terminal),
        JobCommand::Pause(targets) => steer::steer(&client, "pause", targets, terminal),
        JobCommand::Resume(args) => steer::resume(&client, args, terminal),
        JobCommand::Postpone(args) => steer::postpone(&client, args, terminal),
        JobCommand::Retry(args) => steer::retry(&client, args, terminal),
        JobCommand::Delete(targets) => steer::delete(&client, targets, terminal),
    }
}

/// Prints what a job has logged, as text or as one document.
fn logs(client: &Client, id: &str, attempt: Option<u32>, terminal: Terminal) -> anyhow::Result<Exit> {
    let log = client.logs(id, attempt)?;
    match terminal.is_json() {
        true => {
            terminal.json(&json!({ "id": id, "attempt": attempt, "log": String::from_utf8_lossy(&log) }).to_string())?
        }
        false => terminal.bytes(&log)?,
    }
    Ok(Exit::Done)
}

/// Prints what a job has returned, byte for byte, or as one document.
fn output(client: &Client, id: &str, terminal: Terminal) -> anyhow::Result<Exit> {
    let bytes = client.output(id)?;
    if !terminal.is_json() {
        terminal.bytes(&bytes)?;
        return Ok(Exit::Done);
    }
    let document = match std::str::from_utf8(&bytes) {
        Ok(text) => match serde_json::from_str::<&RawValue>(text) {
            Ok(json) => format!("{{\"id\":{},\"output_encoding\":\"json\",\"output\":{json}}}", json!(id)),
            Err(_) => json!({ "id": id, "output_encoding": "text", "output": text }).to_string(),
        },
        Err(_) => json!({ "id": id, "output_encoding": "base64", "output": BASE64.encode(&bytes) }).to_string(),
    };
    terminal.json(&document)?;
    Ok(Exit::Done)
}

/// Submits a job and follows it.
pub(crate) fn run_plugin(args: &ClientArgs, run: &RunArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let client = Client::new(args)?;
    let mut job = SubmitBody { plugin: run.plugin.clone(), handler: run.handler.clone(), ..SubmitBody::default() };
    if let Some(input) = &run.input {
        input::put_plain(&mut job, input)?;
    }
    let taken = client.submit(&job, None, None)?;
    let ended = follow::taken_to_the_end(&client, &taken.view.id, Telling::Everything.on(terminal), terminal)?;
    follow::show_result(&client, &ended, terminal)
}

fn submit(client: &Client, args: &SubmitArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    if let Some(file) = &args.bulk {
        return bulk::submit(client, file, args.from_line.max(1), terminal);
    }
    let wait = args.wait.then_some(FIRST_WAIT);
    let taken = client.submit(&body(args)?, args.idempotency_key.as_deref(), wait)?;
    if taken.repeated && !terminal.is_json() {
        terminal::aside(&already_there(args, &taken.view.id));
    }
    if args.follow {
        let ended = follow::taken_to_the_end(client, &taken.view.id, Telling::Everything.on(terminal), terminal)?;
        return follow::show_result(client, &ended, terminal);
    }
    if args.wait {
        let ended = match taken.view.is_final() {
            true => taken,
            false => follow::taken_to_the_end(client, &taken.view.id, Telling::Quiet.on(terminal), terminal)?,
        };
        show(&ended, terminal)?;
        return Ok(follow::exit_of(&ended.view));
    }
    show_taken(&taken, terminal)
}

/// Why no new job was made.
fn already_there(args: &SubmitArgs, id: &str) -> String {
    let why = match (&args.idempotency_key, &args.dedup_key) {
        (Some(key), None) => format!("an earlier submit with the idempotency key `{key}` made job {id}"),
        (None, Some(key)) => format!("the unfinished job {id} has the dedup key `{key}`"),
        _ => format!("job {id} has the same dedup key, or was made with the same idempotency key"),
    };
    format!("nothing new was submitted: {why}")
}

fn body(args: &SubmitArgs) -> anyhow::Result<SubmitBody> {
    let mut job = SubmitBody {
        plugin: args.plugin.clone().unwrap_or_default(),
        handler: args.handler.clone(),
        name: args.name.clone(),
        args: args.args.clone(),
        at: args.at.clone(),
        expires_on: args.expires.clone(),
        priority: args.priority,
        queue: args.queue.clone(),
        tags: args.tags.clone(),
        max_attempts: args.max_attempts,
        version: args.version.clone(),
        ordering_key: args.ordering_key.clone(),
        concurrency_key: args.concurrency_key.clone(),
        after: args.after.clone(),
        on_predecessor_failure: args.on_predecessor_failure.clone(),
        dedup_key: args.dedup_key.clone(),
        regarding: args.regarding.clone(),
        parent: args.parent.clone(),
        batch: args.batch.clone(),
        deadline: args.deadline.clone(),
        auto_delete: args.auto_delete,
        on_complete: follow_up(args),
        ..SubmitBody::default()
    };
    for variable in &args.env {
        let Some((name, value)) = variable.split_once('=') else {
            return Err(Failure::bad_input(format!("`{variable}` is not a variable"), "give --env NAME=VALUE").into());
        };
        job.env.insert(name.to_owned(), value.to_owned());
    }
    if let Some(input) = &args.input {
        input::put_input(&mut job, input)?;
    }
    job.input_text = args.text.clone().or(job.input_text);
    Ok(job)
}

fn follow_up(args: &SubmitArgs) -> Option<FollowUpBody> {
    let to = args.on_complete.as_deref()?;
    Some(FollowUpBody { queue: args.on_complete_queue.clone(), ..FollowUpBody::to(to) })
}

/// Tells of a job that was taken: for a script the id alone, for a person also what to do next.
fn show_taken(taken: &Answer<JobView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json(&taken.text)?;
    } else if terminal.is_interactive() {
        terminal.raw_line(&follow::announce(&taken.view, terminal))?;
    } else {
        terminal.line(&taken.view.id)?;
    }
    Ok(Exit::Done)
}

fn list(client: &Client, args: &ListArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let given = [
        ("state", &args.state),
        ("type", &args.job_type),
        ("created_by", &args.created_by),
        ("owner", &args.owner),
        ("sort", &args.sort),
        ("plugin", &args.plugin),
        ("handler", &args.handler),
        ("tag", &args.tag),
        ("queue", &args.queue),
        ("wait_reason", &args.wait_reason),
        ("ordering_key", &args.ordering_key),
        ("regarding", &args.regarding),
        ("batch", &args.batch),
        ("schedule", &args.schedule),
        ("chain", &args.chain),
        ("retry_of", &args.retry_of),
        ("fingerprint", &args.fingerprint),
        ("search", &args.search),
        ("from", &args.from),
        ("before", &args.before),
        ("cursor", &args.cursor),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
    let params = given.chain([("limit", args.limit.to_string())]).chain(why_wanted(terminal)).collect();
    show_page(&client.jobs(&JobQuery { params })?, terminal)
}

/// For people a list says of each job that waits why it does.
pub(super) fn why_wanted(terminal: Terminal) -> Option<(&'static str, String)> {
    (!terminal.is_json()).then(|| ("explain", true.to_string()))
}

/// Shows a page of jobs, a line each.
pub(super) fn show_page(page: &Answer<JobPageView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json(&page.text)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<Field>> = page.view.jobs.iter().map(job_view::row).collect();
    match (rows.is_empty(), &page.view.next) {
        (true, None) => terminal.line("there are no such jobs")?,
        (true, Some(cursor)) => {
            let so_far = so_far(cursor, page.view.looked_to.as_deref());
            terminal.line(&format!("none found yet; {so_far}go on with --cursor {cursor}"))?;
        }
        (false, Some(cursor)) => {
            terminal.table(job_view::HEADINGS, rows)?;
            let so_far = so_far(cursor, page.view.looked_to.as_deref());
            terminal.line(&format!("\nthere may be more: {so_far}go on with --cursor {cursor}"))?;
        }
        (false, None) => terminal.table(job_view::HEADINGS, rows)?,
    }
    Ok(Exit::Done)
}

/// How far a list has looked.
fn so_far(cursor: &str, looked_to: Option<&str>) -> String {
    // The cursor of a list that starts with the oldest job says so.
    let word = if cursor.starts_with('o') { "until" } else { "since" };
    looked_to.map(|time| format!("the jobs submitted {word} {time} were looked at; ")).unwrap_or_default()
}

fn show(job: &Answer<JobView>, terminal: Terminal) -> anyhow::Result<Exit> {
    job_view::show(job, terminal)?;
    Ok(Exit::Done)
}

fn purge(client: &Client, args: &PurgeArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let PurgeArgs { state, job_type, older_than, dry_run, yes } = args;
    let purge = |dry_run: bool| {
        let dry_run_text = dry_run.to_string();
        let asked = [("state", state), ("older_than", older_than), ("dry_run", &dry_run_text)];
        client.purge(asked.into_iter().chain(job_type.iter().map(|job_type| ("type", job_type))))
    };
    if !dry_run && !yes && terminal.can_ask() {
        let counted = purge(true)?.view.removed;
        let jobs = if counted == 1 { "1 job".to_owned() } else { format!("{counted} jobs") };
        if counted == 0 || !terminal.ask(&format!("remove {jobs} for good?"))? {
            terminal.line("nothing was removed")?;
            return Ok(Exit::Done);
        }
    }
    let purged = purge(*dry_run)?;
    if terminal.is_json() {
        terminal.json(&purged.text)?;
    } else {
        let verb = if *dry_run { "would go" } else { "went" };
        terminal.line(&format!("{} of {} jobs {verb}", purged.view.removed, purged.view.looked_at))?;
    }
    Ok(Exit::Done)
}
