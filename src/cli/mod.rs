//! The command line: the tree of verbs, and where each is done.

mod address;
mod batch;
mod bench;
mod build;
mod bulk;
mod carried;
mod client;
mod completions;
mod config;
mod demo;
mod doctor;
mod explain;
mod failure;
mod follow;
mod input;
mod interrupt;
mod job;
mod job_view;
mod new;
mod plugin;
mod progress;
mod queue;
mod samples;
mod schedule;
mod serve;
mod service;
mod settings;
mod steer;
mod store;
mod table;
mod terminal;
mod token;
mod unanswered;
mod wire;

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::telemetry::{self, LogFormat};
use client::ClientArgs;
use failure::{Exit, Failure};
use terminal::{Format, Terminal};

/// Runs uploaded WebAssembly plug-ins as durable jobs, each in a sandbox of its own
#[derive(Debug, Parser)]
#[command(name = "backroom", version, max_term_width = 100, after_help = start())]
pub(crate) struct Cli {
    #[command(flatten)]
    client: ClientArgs,
    /// How the answer is printed: table, wide (every column, whole), json, or ndjson (one item of a list a line)
    #[arg(long, short = 'o', global = true, value_name = "FORMAT", default_value = "table", hide_default_value = true,
        hide_possible_values = true, help_heading = GLOBAL)]
    output: Format,
    /// Print the API's JSON: the same as --output json
    #[arg(long, global = true, conflicts_with = "output", help_heading = GLOBAL)]
    json: bool,
    /// What goes to the log: a level, or levels by module such as info,backroom::worker=debug
    #[arg(long, global = true, value_name = "FILTER", env = "BACKROOM_LOG", hide_env_values = true, help_heading = GLOBAL)]
    log: Option<String>,
    /// How log lines look
    #[arg(long, global = true, value_name = "FORMAT", env = "BACKROOM_LOG_FORMAT", default_value = "auto", help_heading = GLOBAL)]
    log_format: LogWord,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Above the options that every command has, apart from its own.
pub(crate) const GLOBAL: &str = "Global options";

/// What follows the list of commands: how to begin, and what the process ends with.
fn start() -> String {
    let code = |(exit, meaning): &(Exit, &str)| format!("  {:>3}  {meaning}\n", exit.code());
    let codes: String = Exit::TABLE.iter().map(code).collect();
    format!(
        "To begin:\n  backroom serve                         start a host in this folder\n  \
         backroom plugin upload FILE.wasm       give it a plug-in\n  \
         backroom run PLUGIN '{{\"a\": 1}}'         submit a job and follow it to its end\n  \
         backroom job list                      see the jobs\n\nExit codes:\n{}",
        codes.trim_end()
    )
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
    /// Check, back up and restore the data of a host
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
    let read = command_line().try_get_matches().and_then(|matches| {
        let path = std::iter::successors(Some(&matches), |within| within.subcommand().map(|(_, within)| within));
        let words: Vec<_> = path.filter_map(|within| within.subcommand_name().map(str::to_owned)).collect();
        failure::is_done_by(&words, flags_of(&words));
        Cli::from_arg_matches(&matches)
    });
    let cli = match read {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && asks_for_json(std::env::args()) => {
            return terminal::report(&of_arguments(&error).into(), Format::Json).into();
        }
        Err(error) => error.exit(),
    };
    let Some(command) = &cli.command else {
        // Nobody is left to tell when standard output is gone.
        drop(command_line().print_help());
        return Exit::Done.into();
    };
    let format = if cli.json { Format::Json } else { cli.output };
    if command.keeps_a_store() {
        // Whatever is written then holds payloads, digests of tokens, or code that the host trusts.
        rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    }
    let done = start_log(&cli, command).and_then(|()| run(&cli.client, command, Terminal::new(format)));
    done.unwrap_or_else(|error| terminal::report(&error, format)).into()
}

/// Whether a command line that cannot be read asks for JSON.
fn asks_for_json(arguments: impl Iterator<Item = String>) -> bool {
    let is_json = |word: &str| Format::from_str(word, true).is_ok_and(Format::is_json);
    let mut is_named = false;
    for argument in arguments {
        let attached = argument.strip_prefix("--output=").or_else(|| argument.strip_prefix("-o"));
        if argument == "--json" || is_named && is_json(&argument) || attached.is_some_and(is_json) {
            return true;
        }
        is_named = matches!(argument.as_str(), "-o" | "--output");
    }
    false
}

/// A command line that cannot be read, as an error for programs.
fn of_arguments(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    Failure { notes: lines.map(str::to_owned).collect(), ..Failure::bad_input(message, "backroom --help") }
}

/// The tree of arguments. Each name may be written with underscores in place of dashes, as the API has it.
fn command_line() -> clap::Command {
    /// Names live as long as the process, which builds the tree once.
    static TREE: LazyLock<clap::Command> = LazyLock::new(|| forgiving(Cli::command()));

    fn forgiving(command: clap::Command) -> clap::Command {
        let command = command.mut_args(|argument| match argument.get_long().filter(|name| name.contains('-')) {
            Some(name) => {
                let other: &'static str = String::leak(name.replace('-', "_"));
                argument.alias(other)
            }
            None => argument,
        });
        command.mut_subcommands(forgiving)
    }
    TREE.clone()
}

/// The names of the flags that the command of some words has.
fn flags_of(words: &[String]) -> Vec<String> {
    let within = |command: clap::Command, word: &String| command.find_subcommand(word).cloned().unwrap_or(command);
    let command = words.iter().fold(command_line(), within);
    command.get_arguments().filter_map(|argument| argument.get_long().map(str::to_owned)).collect()
}

fn start_log(cli: &Cli, command: &Command) -> anyhow::Result<()> {
    let filter = cli.log.as_deref().unwrap_or(command.default_log());
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
        Command::Store { verb } => store::run(client, verb, terminal),
        Command::Config { verb } => config::run(verb, terminal),
        Command::Doctor(args) => doctor::run(client, args, terminal),
        Command::Explain(args) => explain::run(args, terminal),
        Command::Completions(args) => completions::run(args, terminal),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn json_is_asked_for_in_several_ways() {
        for (line, expected) in [
            ("--json", true),
            ("-o json", true),
            ("-ojson", true),
            ("--output ndjson", true),
            ("--output=json", true),
            ("-o table", false),
            ("job list", false),
            ("json", false),
        ] {
            assert_eq!(super::asks_for_json(line.split(' ').map(str::to_owned)), expected, "{line}");
        }
    }

    #[test]
    fn the_tree_of_arguments_holds_together() {
        super::command_line().debug_assert();
    }
}
