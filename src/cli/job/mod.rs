//! `backroom job` and `backroom run`: submit, look at and steer jobs.

mod list;
mod submit;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use serde_json::value::RawValue;

use super::client::{Answer, Client, ClientArgs};
use super::failure::Exit;
use super::follow::{self, Telling};
use super::job_view;
use super::steer::{self, PostponeArgs, ResumeArgs, RetryArgs, Targets};
use super::terminal::Terminal;
use crate::api::view::JobView;

pub(crate) use list::{ListArgs, show_page, why_wanted};
pub(crate) use submit::{RunArgs, SubmitArgs, run_plugin};

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
        JobCommand::Submit(args) => submit::submit(&client, args, terminal),
        JobCommand::List(args) => list::list(&client, args, terminal),
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
