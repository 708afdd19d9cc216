//! `backroom service`: how the host is doing, and whether it works.

use super::client::{Answer, Client, ClientArgs};
use super::failure::Exit;
use super::queue::shown_pause;
use super::steer::Why;
use super::table::{Columns, Field};
use super::terminal::Terminal;
use crate::api::view::{QueueView, ServiceView, StateCounts};
use crate::config::units::show_size;

/// What to do with the host.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ServiceCommand {
    /// Show how the host is doing, and how many jobs stand where
    Status,
    /// Start no new run until a time, or until resumed; jobs are still taken
    Pause {
        /// When it goes on by itself, such as 2030-01-31T00:00:00Z, or how long from now, such as 15m
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Let jobs run again
    Resume(Why),
    /// Start no new run and report not ready, so that the host can be taken down
    Drain(Why),
}

/// Does it.
pub(crate) fn run(args: &ClientArgs, command: &ServiceCommand, terminal: Terminal) -> anyhow::Result<Exit> {
    let client = Client::new(args)?;
    match command {
        ServiceCommand::Status => status(&client, terminal),
        ServiceCommand::Pause { until, why } => {
            changed(&client.steer_service("pause", &why.pause(until.as_ref()))?, terminal)
        }
        ServiceCommand::Resume(why) => changed(&client.steer_service("resume", &why.body())?, terminal),
        ServiceCommand::Drain(why) => changed(&client.steer_service("drain", &why.body())?, terminal),
    }
}

fn changed(service: &Answer<ServiceView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json(&service.text)?;
    } else {
        let running = service.view.running;
        terminal.line(&format!("the host is {}; {running} attempts are under way", state(&service.view)))?;
    }
    Ok(Exit::Done)
}

fn status(client: &Client, terminal: Terminal) -> anyhow::Result<Exit> {
    let service = client.service()?;
    if terminal.is_json() {
        terminal.json(&service.text)?;
        return Ok(Exit::Done);
    }
    let ServiceView { version, host_id, started_on, running, rescued, store, queues, .. } = &service.view;
    let ServiceView { slots, claimed, paused_plugins, degraded_plugins, .. } = &service.view;
    let refusing = store.refusing.as_ref().map(|why| format!("takes no new jobs: {why}"));
    terminal.facts(&[
        ("host", Some(format!("{host_id} at {}, release {version}", client.server()))),
        ("state", Some(state(&service.view))),
        ("started", Some(started_on.clone())),
        ("running", Some(in_slots(*running, *slots, *claimed))),
        ("rescued", (*rescued > 0).then(|| format!("{rescued} jobs when it started"))),
        ("paused", paused(queues, paused_plugins)),
        (
            "degraded",
            (!degraded_plugins.is_empty()).then(|| format!("plug-in {}", degraded_plugins.join(", plug-in "))),
        ),
        ("durability", Some(store.durability.clone())),
        ("disk", Some(format!("{}; {} commits, {} syncs", rounded(store.disk_bytes), store.commits, store.fsyncs))),
        ("store", refusing),
    ])?;
    let counts = client.counts()?.view;
    let mut rows: Vec<_> = counts.plugins.iter().map(|plugin| row(&plugin.plugin, &plugin.counts)).collect();
    if rows.len() != 1 {
        rows.push(row("all", &counts.all));
    }
    terminal.line("")?;
    let columns = Columns {
        headings: &["PLUG-IN", "QUEUED", "WAITING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED", "TOTAL"],
        spare: &["CANCELED", "TOTAL", "SUCCEEDED", "WAITING"],
    };
    terminal.table(&columns, rows)?;
    Ok(Exit::Done)
}

/// The word for its state, and of a pause until when, by whom and why.
fn state(service: &ServiceView) -> String {
    let pause = service.pause.as_ref().map(|pause| format!(" {}", shown_pause(pause))).unwrap_or_default();
    format!("{}{pause}", service.state)
}

/// How many attempts run, in how many slots, and how many jobs are claimed ahead of one.
fn in_slots(running: usize, slots: usize, claimed: usize) -> String {
    let ahead = match claimed {
        0 => String::new(),
        claimed => format!("; {claimed} more are claimed and wait for a slot"),
    };
    format!("{running} of {slots} slots{ahead}")
}

fn row(name: &str, counts: &StateCounts) -> Vec<Field> {
    let StateCounts { queued, waiting, retrying, paused, running, pausing, canceling, .. } = counts;
    let StateCounts { succeeded, failed, canceled, total, .. } = counts;
    let numbers =
        [*queued, waiting + retrying + paused, running + pausing + canceling, *succeeded, *failed, *canceled, *total];
    std::iter::once(Field::new(name)).chain(numbers.map(|number| Field::new(number.to_string()))).collect()
}

/// The queues and plug-ins that are paused.
fn paused(queues: &[QueueView], plugins: &[String]) -> Option<String> {
    let queues = queues.iter().filter(|queue| queue.paused).map(|queue| format!("queue {}", queue.name));
    let all: Vec<_> = queues.chain(plugins.iter().map(|plugin| format!("plug-in {plugin}"))).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn rounded(bytes: u64) -> String {
    match bytes {
        bytes if bytes < 1 << 20 => show_size(bytes),
        bytes => format!("{}MiB", bytes >> 20),
    }
}
