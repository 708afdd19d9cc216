//! Submitting jobs, and following them to their end.

use std::path::PathBuf;
use std::time::Duration;

use super::show;
use crate::api::view::{FollowUpBody, JobView, SubmitBody};
use crate::cli::client::{Answer, Client, ClientArgs};
use crate::cli::failure::{Exit, Failure};
use crate::cli::follow::{self, Telling};
use crate::cli::terminal::{self, Terminal};
use crate::cli::{bulk, input};

/// How long the host waits for the end of a job before it answers, where we wait.
const FIRST_WAIT: Duration = Duration::from_secs(20);

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
    /// A repeated submit with the same key returns the first job, or with --bulk the jobs of the same lines
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
        "priority", "at", "expires", "tags", "max_attempts", "args", "env", "wait", "follow", "version",
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
    /// The input as it stands, @FILE, or - for standard input; nothing unless given. A command is given the text of a JSON string
    input: Option<String>,
    /// The entry point; the plug-in's first unless given
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
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

/// Submits what the arguments say.
pub(super) fn submit(client: &Client, args: &SubmitArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    if let Some(file) = &args.bulk {
        let plan = bulk::Plan::new(args.from_line, args.idempotency_key.as_deref())?;
        return bulk::submit(client, file, &plan, terminal);
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
