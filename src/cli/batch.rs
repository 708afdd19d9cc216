//! `backroom batch`: many jobs with one progress and one end.

use std::path::PathBuf;

use super::bulk;
use super::client::{Answer, Client, ClientArgs, JobQuery, NewBatch};
use super::failure::{Exit, Failure, Fate};
use super::follow::{self, Telling};
use super::job;
use super::steer::Why;
use super::terminal::{self, Terminal};
use crate::api::view::BatchView;

/// What to do with batches.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum BatchCommand {
    /// Submit a file of jobs, one a line, as one batch: all of them or none
    Submit(SubmitArgs),
    /// List batches, newest first
    List {
        /// How many, at most 200
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        limit: u32,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show a batch and how its jobs do
    Show {
        /// The batch's id
        id: String,
    },
    /// Call off a batch and those of its jobs that have not ended
    Cancel(SteerArgs),
    /// Run the failed jobs of a batch that has ended again, as a new batch on the same terms
    RetryFailed(SteerArgs),
}

/// What to submit.
#[derive(Debug, clap::Args)]
pub(crate) struct SubmitArgs {
    /// The jobs, as `backroom job submit --bulk` takes them
    file: PathBuf,
    /// A name that people see
    #[arg(long)]
    name: Option<String>,
    /// How many of the jobs may fail or be canceled without making the batch fail
    #[arg(long, value_name = "NUMBER")]
    allowed_failures: Option<u64>,
    /// Who is given how it ended: a plug-in, or a URL
    #[arg(long, value_name = "PLUGIN[/HANDLER]|URL")]
    on_complete: Option<String>,
    /// A repeated submit with the same key returns the first batch; one of its own when absent
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Wait for its end
    #[arg(long)]
    wait: bool,
}

/// Which batch, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct SteerArgs {
    /// The batch's id
    id: String,
    #[command(flatten)]
    why: Why,
}

/// Does it.
pub(crate) fn run(args: &ClientArgs, command: &BatchCommand, terminal: Terminal) -> anyhow::Result<Exit> {
    let client = Client::new(args)?;
    match command {
        BatchCommand::Submit(args) => submit(&client, args, terminal),
        BatchCommand::List { limit, cursor } => {
            let cursor = cursor.iter().map(|cursor| ("cursor", cursor.clone()));
            let params = [("type", "batch".to_owned()), ("limit", limit.to_string())];
            let params = params.into_iter().chain(cursor).chain(job::why_wanted(terminal)).collect();
            job::show_page(&client.jobs(&JobQuery { params })?, terminal)
        }
        BatchCommand::Show { id } => show(&client.batch(id)?, terminal),
        BatchCommand::Cancel(SteerArgs { id, why }) => {
            client.batch(id)?;
            client.steer_job(id, "cancel", &why.body())?;
            show(&client.batch(id)?, terminal)
        }
        BatchCommand::RetryFailed(SteerArgs { id, why }) => taken(&client.retry_failed(id, &why.body())?, terminal),
    }
}

fn submit(client: &Client, args: &SubmitArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let lines = std::fs::read(&args.file).map_err(|error| {
        Failure::bad_input(format!("`{}` cannot be read: {error}", args.file.display()), "check the path")
    })?;
    let SubmitArgs { name, allowed_failures, on_complete, .. } = args;
    let key = bulk::given_or_own(args.idempotency_key.as_deref())?;
    let new = NewBatch {
        name: name.as_deref(),
        allowed_failures: *allowed_failures,
        on_complete: on_complete.as_deref(),
        lines: &lines,
        idempotency_key: &key,
    };
    let submitted = client.submit_batch(&new).map_err(|error| with_way_to_repeat(error, &key))?;
    if submitted.repeated && !terminal.is_json() {
        let id = &submitted.view.batch.id;
        terminal::aside(&format!(
            "nothing new was submitted: an earlier submit with the idempotency key `{key}` made batch {id}"
        ));
    }
    if !args.wait {
        return taken(&submitted, terminal);
    }
    let id = &submitted.view.batch.id;
    let ended = follow::taken_to_the_end(client, id, Telling::Quiet.on(terminal), terminal)?;
    show(&client.batch(id)?, terminal)?;
    Ok(follow::exit_of(&ended.view))
}

/// Where nobody knows whether the batch was accepted: how to send it again so that it is accepted once.
fn with_way_to_repeat(error: anyhow::Error, key: &str) -> anyhow::Error {
    let mut failure = match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(error) => return error,
    };
    if failure.fate == Fate::Unknown {
        failure.next = Some(format!("repeat the command with --idempotency-key {key}: nothing is accepted twice"));
    }
    failure.into()
}

fn taken(batch: &Answer<BatchView>, terminal: Terminal) -> anyhow::Result<Exit> {
    let BatchView { batch: job, jobs, .. } = &batch.view;
    match (terminal.is_json(), terminal.is_interactive()) {
        (true, _) => terminal.json(&batch.text)?,
        (false, true) => terminal.line(&format!("batch {} has {} jobs", job.id, jobs.total))?,
        (false, false) => terminal.line(&job.id)?,
    }
    Ok(Exit::Done)
}

fn show(batch: &Answer<BatchView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json(&batch.text)?;
        return Ok(Exit::Done);
    }
    let BatchView { batch: job, jobs, .. } = &batch.view;
    let done = jobs.succeeded + jobs.failed + jobs.canceled;
    terminal.line(&format!("batch {} is {}: {done} of {} jobs have ended", job.id, job.state, jobs.total))?;
    terminal.line(&format!("{} succeeded, {} failed, {} canceled", jobs.succeeded, jobs.failed, jobs.canceled))?;
    if jobs.failed > 0 {
        terminal.line(&format!("\nsee the failed ones: backroom job list --batch {} --state failed", job.id))?;
    }
    if jobs.failed > 0 && job.completed_on.is_some() {
        terminal.line(&format!("run them again:      backroom batch retry-failed {}", job.id))?;
    }
    Ok(Exit::Done)
}
