//! `backroom queue`: how the queues do, and pausing them.

use std::time::Duration;

use super::client::{Answer, Client, ClientArgs};
use super::failure::Exit;
use super::steer::Why;
use super::table::{Columns, Field};
use super::terminal::Terminal;
use crate::api::view::{PauseView, QueueView};
use crate::config::units::show_duration;

/// What to do with queues.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum QueueCommand {
    /// List the queues
    List,
    /// Start no job of a queue until a time, or until it is resumed; jobs are still taken
    Pause {
        /// The queue
        name: String,
        /// When it goes on by itself, such as 2030-01-31T00:00:00Z, or how long from now, such as 15m
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
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
        QueueCommand::Pause { name, until, why } => {
            changed(&client.steer_queue(name, "pause", &why.pause(until.as_ref()))?, terminal)
        }
        QueueCommand::Resume { name, why } => changed(&client.steer_queue(name, "resume", &why.body())?, terminal),
    }
}

fn list(client: &Client, terminal: Terminal) -> anyhow::Result<Exit> {
    let queues = client.queues()?;
    if terminal.is_json() {
        terminal.json_list(&queues.text, "queues")?;
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
            Field::or_dash(queue.pause.as_ref().map(shown_pause)),
        ]
    });
    let columns = Columns {
        headings: &["QUEUE", "STATE", "WEIGHT", "CONCURRENCY", "RATE", "RUNNING", "READY", "OLDEST", "PAUSED"],
        spare: &["WEIGHT", "RATE", "CONCURRENCY", "OLDEST", "RUNNING", "READY"],
    };
    terminal.table(&columns, rows.collect())?;
    Ok(Exit::Done)
}

fn changed(queue: &Answer<QueueView>, terminal: Terminal) -> anyhow::Result<Exit> {
    match terminal.is_json() {
        true => terminal.json(&queue.text)?,
        false => {
            let pause = queue.view.pause.as_ref().map(|pause| format!(" {}", shown_pause(pause)));
            terminal.line(&format!(
                "queue {} is {}{}",
                queue.view.name,
                state(&queue.view),
                pause.unwrap_or_default()
            ))?;
        }
    }
    Ok(Exit::Done)
}

/// How long a job has waited, to the second.
fn age(millis: u64) -> String {
    show_duration(Duration::from_secs(millis / 1_000))
}

/// Until when something is paused, by whom and why.
pub(super) fn shown_pause(pause: &PauseView) -> String {
    let until = pause.until.as_ref().map_or_else(|| "until it is resumed".to_owned(), |until| format!("until {until}"));
    let by = pause.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let reason = pause.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{until}{by}{reason}")
}

fn state(queue: &QueueView) -> &'static str {
    if queue.paused { "paused" } else { "open" }
}
