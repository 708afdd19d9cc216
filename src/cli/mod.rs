//! The command line: the tree of verbs, and where each is done.

mod batch;
mod bench;
mod build;
mod bulk;
mod client;
mod completions;
mod config;
mod demo;
mod doctor;
mod explain;
mod failure;
mod follow;
mod input;
mod job;
mod job_view;
mod new;
mod plugin;
mod queue;
mod samples;
mod schedule;
mod serve;
mod service;
mod settings;
mod steer;
mod store;
mod terminal;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::telemetry::{self, LogFormat};
use client::ClientArgs;
use failure::{Exit, Failure};
use terminal::{Format, Terminal};

/// Runs uploaded WebAssembly plug-ins as durable jobs, each in a sandbox of its own
#[derive(Debug, Parser)]
#[command(name = "backroom", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Print the API's JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// What goes to the log: a level, or levels by module such as info,backroom::worker=debug
    #[arg(long, global = true, value_name = "FILTER", env = "BACKROOM_LOG", hide_env_values = true)]
    log: Option<String>,
    /// How log lines look
    #[arg(long, global = true, value_name = "FORMAT", env = "BACKROOM_LOG_FORMAT", default_value = "auto")]
    log_format: LogWord,
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a host: jobs, API and console
    Serve(serve::ServeArgs),
    /// Build the sample plug-ins and run real work on a host made for it
    Demo(demo::DemoArgs),
    /// Measure a host on this machine
    Bench(bench::BenchArgs),
    /// Submit a job, follow it to its end, and print its output
    Run(job::RunArgs),
    /// Submit, watch and steer jobs
    Job {
        #[command(subcommand)]
        verb: job::JobCommand,
    },
    /// Submit, watch and steer batches: many jobs with one end
    Batch {
        #[command(subcommand)]
        verb: batch::BatchCommand,
    },
    /// Write, build, upload and manage plug-ins
    Plugin {
        #[command(subcommand)]
        verb: plugin::PluginCommand,
    },
    /// List queues, pause and resume them
    Queue {
        #[command(subcommand)]
        verb: queue::QueueCommand,
    },
    /// Make jobs again and again, by a rule or cron text
    Schedule {
        #[command(subcommand)]
        verb: schedule::ScheduleCommand,
    },
    /// Give people and programs tokens with rights
    Token {
        #[command(subcommand)]
        verb: token::TokenCommand,
    },
    /// See how the host is doing; pause and resume its work
    Service {
        #[command(subcommand)]
        verb: service::ServiceCommand,
    },
    /// Check, save and bring back the store of a host that is not running
    Store {
        #[command(subcommand)]
        verb: store::StoreCommand,
    },
    /// Check and show the host's settings
    Config {
        #[command(subcommand)]
        verb: config::ConfigCommand,
    },
    /// Check that this machine has what a host and a plug-in author need
    Doctor(doctor::DoctorArgs),
    /// Explain an error code, offline
    Explain(explain::ExplainArgs),
    /// Write the script that completes these words in a shell
    Completions(completions::CompletionsArgs),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogWord {
    Auto,
    Human,
    Json,
}

impl From<LogWord> for LogFormat {
    fn from(word: LogWord) -> Self {
        match word {
            LogWord::Auto => Self::Auto,
            LogWord::Human => Self::Human,
            LogWord::Json => Self::Json,
        }
    }
}

impl Command {
    /// Whether it writes what a store holds.
    fn keeps_a_store(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Bench(_) | Self::Store { .. })
    }

    /// What goes to the log unless the caller says otherwise: a host tells what it does, a client only what is odd.
    fn default_log(&self) -> &'static str {
        match self {
            Self::Serve(_) => "info",
            _ => "warn",
        }
    }
}

/// Reads the arguments of this process, does what they say, and reports what went wrong.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") => {
            return terminal::report(&of_arguments(&error).into(), Format::Json).into();
        }
        Err(error) => error.exit(),
    };
    let format = if cli.json { Format::Json } else { Format::Human };
    if cli.command.keeps_a_store() {
        // Whatever is written then holds payloads, digests of tokens, or code that the host trusts.
        rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    }
    let done = start_log(&cli).and_then(|()| run(&cli.client, &cli.command, Terminal::new(format)));
    done.unwrap_or_else(|error| terminal::report(&error, format)).into()
}

/// A command line that cannot be read, as an error for programs.
fn of_arguments(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    Failure { notes: lines.map(str::to_owned).collect(), ..Failure::bad_input(message, "backroom --help") }
}

fn start_log(cli: &Cli) -> anyhow::Result<()> {
    let filter = cli.log.as_deref().unwrap_or(cli.command.default_log());
    telemetry::start(filter, cli.log_format.into()).map_err(|error| {
        let next = "write a level such as info, or levels by module such as info,backroom::worker=debug";
        Failure::bad_input(error.to_string(), next).into()
    })
}

fn run(client: &ClientArgs, command: &Command, terminal: Terminal) -> anyhow::Result<Exit> {
    match command {
        Command::Serve(args) => serve::run(args, terminal),
        Command::Demo(args) => demo::run(args),
        Command::Bench(args) => bench::run(args, terminal),
        Command::Run(args) => job::run_plugin(client, args, terminal),
        Command::Job { verb } => job::run(client, verb, terminal),
        Command::Plugin { verb } => plugin::run(client, verb, terminal),
        Command::Batch { verb } => batch::run(client, verb, terminal),
        Command::Queue { verb } => queue::run(client, verb, terminal),
        Command::Schedule { verb } => schedule::run(client, verb, terminal),
        Command::Token { verb } => token::run(client, verb, terminal),
        Command::Service { verb } => service::run(client, verb, terminal),
        Command::Store { verb } => store::run(verb, terminal),
        Command::Config { verb } => config::run(verb, terminal),
        Command::Doctor(args) => doctor::run(client, args, terminal),
        Command::Explain(args) => explain::run(args, terminal),
        Command::Completions(args) => completions::run(args, terminal),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_tree_of_arguments_holds_together() {
        super::Cli::command().debug_assert();
    }
}
