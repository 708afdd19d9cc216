//! Runs the real program and takes what it writes.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What the program wrote and how it ended, as one text for a snapshot.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The standard output of a run that must have ended well.
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }

    /// Everything, as one text.
    pub(crate) fn whole(&self) -> String {
        let part = |name: &str, text: &str| match text.trim_end() {
            "" => String::new(),
            text => format!("--- {name}\n{text}\n"),
        };
        format!("{}{}--- code {}", part("out", &self.out), part("err", &self.err), self.code)
    }
}

/// The program in a folder, without the settings of the shell around us. `PROGRAM_UNDER_TEST` names another one than was
/// just built, such as an installed release.
pub(crate) fn program(folder: &Path) -> Command {
    in_folder(Command::new(under_test()), folder)
}

/// The program with these words on a terminal that is so many columns wide, in a folder. What it writes holds the line ends of
/// terminals.
pub(crate) fn on_terminal(folder: &Path, columns: usize, words: &[&str]) -> Command {
    let quoted = |word: &str| format!("'{}'", word.replace('\'', "'\\''"));
    let program = quoted(&under_test().to_string_lossy());
    let line: Vec<_> = std::iter::once(program).chain(words.iter().map(|word| quoted(word))).collect();
    // Its terminal has no width of its own, so that the variable says it.
    let mut script = in_folder(Command::new("script"), folder);
    script.args(["-qec", &line.join(" "), "/dev/null"]).env("COLUMNS", columns.to_string()).env("TERM", "xterm");
    script
}

fn under_test() -> OsString {
    std::env::var_os("PROGRAM_UNDER_TEST").unwrap_or_else(|| env!("CARGO_BIN_EXE_backroom").into())
}

fn in_folder(mut command: Command, folder: &Path) -> Command {
    let ours = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("BACKROOM_"));
    ours.for_each(|name| {
        command.env_remove(name);
    });
    command.current_dir(folder).env("COLUMNS", "100").stdin(Stdio::null());
    command
}

/// Runs the program in a folder.
pub(crate) fn run_in(folder: &Path, args: &[&str]) -> Ran {
    taken(program(folder).args(args).output().expect("the program can be started"))
}

/// Runs the program somewhere.
pub(crate) fn run(args: &[&str]) -> Ran {
    run_in(&std::env::temp_dir(), args)
}

/// Runs the program in a folder and gives it something to read.
pub(crate) fn run_with(folder: &Path, args: &[&str], stdin: &[u8]) -> Ran {
    let mut child = program(folder)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let mut input = child.stdin.take().expect("its input is a pipe");
    input.write_all(stdin).expect("it reads its input");
    drop(input);
    taken(child.wait_with_output().expect("it ends"))
}

fn taken(output: Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes UTF-8");
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}
