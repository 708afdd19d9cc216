//! `backroom queue`: how the queues do, and pausing them.

use std::time::Duration;

use super::client::{Client, ClientArgs};
use super::failure::Exit;
use super::steer::Why;
use super::terminal::{Field, Terminal};
use crate::api::view::QueueView;
use crate::config::units::show_duration;

/// What to do with queues.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum QueueCommand {
    /// List the queues
    List,
    /// Start no job of a queue until it is resumed; jobs are still taken
    Pause {
        /// The queue
        name: String,
        #[command(flatten)]
        why: Why,
    },
    /// Let the jobs of a queue start again
    Resume {
        /// The queue
        name: String,
        #[command(flatten)]
        why: Why,
    },
}

/// Does it.
pub(crate) fn run(args: &ClientArgs, command: &QueueCommand, terminal: Terminal) -> anyhow::Result<Exit> {
    let client = Client::new(args)?;
    match command {
        QueueCommand::List => list(&client, terminal),
        QueueCommand::Pause { name, why } => set(&client, name, "pause", why, terminal),
        QueueCommand::Resume { name, why } => set(&client, name, "resume", why, terminal),
    }
}

fn list(client: &Client, terminal: Terminal) -> anyhow::Result<Exit> {
    let queues = client.queues()?;
    if terminal.is_json() {
        terminal.json(&queues.text)?;
        return Ok(Exit::Done);
    }
    let rows = queues.view.queues.iter().map(|queue| {
        vec![
            Field::new(&queue.name),
            Field::state(state(queue)),
            Field::new(queue.weight.to_string()),
            Field::or_dash(queue.concurrency.map(|limit| limit.to_string())),
            Field::or_dash(queue.rate.as_ref()),
            Field::new(queue.running.to_string()),
            Field::or_dash(queue.ready.map(|ready| format!("{ready}{}", if queue.ready_is_more { "+" } else { "" }))),
            Field::or_dash(queue.oldest_ready_ms.map(age)),
        ]
    });
    let headings = ["QUEUE", "STATE", "WEIGHT", "CONCURRENCY", "RATE", "RUNNING", "READY", "OLDEST"];
    terminal.table(&headings, rows.collect())?;
    Ok(Exit::Done)
}

fn set(client: &Client, name: &str, verb: &str, why: &Why, terminal: Terminal) -> anyhow::Result<Exit> {
    let queue = client.steer_queue(name, verb, &why.body())?;
    match terminal.is_json() {
        true => terminal.json(&queue.text)?,
        false => terminal.line(&format!("queue {} is {}", queue.view.name, state(&queue.view)))?,
    }
    Ok(Exit::Done)
}

/// How long a job has waited, to the second.
fn age(millis: u64) -> String {
    show_duration(Duration::from_secs(millis / 1_000))
}

fn state(queue: &QueueView) -> &'static str {
    if queue.paused { "paused" } else { "open" }
}
