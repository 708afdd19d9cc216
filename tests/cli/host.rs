//! A real host in a process of its own, for the tests of one file.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use super::program::{Ran, program, run_in};

/// A host on a port of its own; it is killed when the test lets go of it.
pub(crate) struct Host {
    child: Child,
    server: String,
    folder: tempfile::TempDir,
}

impl Host {
    /// Starts a host in an empty folder and waits until it listens.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a host with these settings.
    pub(crate) fn start_with(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::write(folder.path().join("backroom.toml"), settings).expect("it can be written");
        Self::start_in(folder)
    }

    /// Starts a host in a folder, on the data that may be there.
    pub(crate) fn start_in(folder: tempfile::TempDir) -> Self {
        let (child, server) = serve(folder.path());
        Self { child, server, folder }
    }

    /// Kills the host and starts one on the same data.
    pub(crate) fn restart(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is gone");
        (self.child, self.server) = serve(self.folder.path());
    }

    /// Asks the host to end, waits until it has, and starts one on the same data.
    pub(crate) fn restart_in_order(&mut self) {
        self.end_in_order();
        (self.child, self.server) = serve(self.folder.path());
    }

    /// Asks the host to end and waits until it has.
    pub(crate) fn end_in_order(&mut self) {
        let id = self.child.id().to_string();
        let asked = std::process::Command::new("kill").args(["-TERM", &id]).status().expect("it can be asked");
        assert!(asked.success(), "it is there");
        let ended = self.child.wait().expect("it ends");
        assert!(ended.success(), "it ends in order: {ended}");
    }

    /// The folder that it was started in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command of the client against it.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_in(self.folder.path(), args)
    }

    /// Runs a command of the client against it in a folder.
    pub(crate) fn run_in(&self, folder: &Path, args: &[&str]) -> Ran {
        let args = [args, &["--server", &self.server]].concat();
        run_in(folder, &args)
    }

    /// What a command of the client, which may not end by itself, says on standard error up to a line that holds `last`.
    pub(crate) fn watch_for(&self, args: &[&str], last: &str) -> String {
        let mut command = program(self.folder.path());
        command.args(args).args(["--server", &self.server]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let mut lines = BufReader::new(child.stderr.take().expect("its errors are a pipe")).lines();
        let mut said = String::new();
        while let Some(Ok(line)) = lines.next() {
            said.push_str(&line);
            said.push('\n');
            if line.contains(last) {
                break;
            }
        }
        // One that has ended already needs no end.
        drop(child.kill());
        drop(child.wait());
        said
    }

    /// The JSON that a command prints.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let text = self.run(&[args, &["--json"]].concat()).done();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Uploads a sample plug-in.
    pub(crate) fn upload(&self, sample: &str) -> String {
        let component = super::support::built_plugin(sample);
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins").join(sample).join("plugin.toml");
        let (component, manifest) = (component.display().to_string(), manifest.display().to_string());
        self.run(&["plugin", "upload", &component, "--manifest", &manifest]).done()
    }

    /// A page of its console.
    pub(crate) fn page(&self, path: &str) -> String {
        let mut answer = ureq::get(format!("{}{path}", self.server)).call().expect("the host answers");
        answer.body_mut().read_to_string().expect("a page is text")
    }

    /// Its address.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }
}

/// A host that listens, and where.
fn serve(folder: &Path) -> (Child, String) {
    let mut child = program(folder)
        .args(["serve", "--listen", "127.0.0.1:0", "--data", "data", "--log", "error"])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the program can be started");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("its output is a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
    let server = line.split_whitespace().find(|word| word.starts_with("http://"));
    let server = server.unwrap_or_else(|| panic!("the host did not start: {line}")).to_owned();
    (child, server)
}

impl Drop for Host {
    fn drop(&mut self) {
        // A host that has ended already needs no end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
