//! `backroom completions`: the script that completes this program's words in a shell.

use clap_complete::Shell;

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
    terminal.raw_line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}
