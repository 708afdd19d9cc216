//! `backroom completions`: the script that completes this program's words in a shell.

use clap_complete::Shell;
use serde_json::json;

use super::failure::Exit;
use super::terminal::Terminal;

/// Which shell.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell that reads the script
    shell: Shell,
}

/// Writes the script.
pub(crate) fn run(args: &CompletionsArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command_line(), "backroom", &mut script);
    let script = String::from_utf8_lossy(&script);
    match terminal.is_json() {
        true => terminal.json(&json!({ "shell": args.shell.to_string(), "script": script }).to_string())?,
        false => terminal.raw_line(script.trim_end())?,
    }
    Ok(Exit::Done)
}
