//! A host in a process of its own, which dies by SIGKILL when it is dropped.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

pub(crate) struct Host {
    process: Child,
    pub(crate) address: String,
}

impl Host {
    /// Starts a host on a free port of loopback and waits until it says where it listens.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, Command::new(env!("CARGO_BIN_EXE_backroom")))
    }

    /// The same with a command that becomes the host.
    pub(crate) fn start_with(folder: &Path, mut command: Command) -> Self {
        // A job may be under way at any number of kills: that must not use up what it is allowed, nor make it wait long.
        let settings = "[retry]\nmax_crashes = 1000\nbase = \"10ms\"\ncap = \"100ms\"\n";
        std::fs::write(folder.join("backroom.toml"), settings).expect("the folder can be written");
        let mut process = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the host starts");
        let said = process.stdout.take().expect("it has an output");
        let line = BufReader::new(said).lines().map_while(Result::ok).find(|line| line.contains("http://"));
        let line = line.expect("the host says where it listens");
        let address = line.split_whitespace().find(|word| word.starts_with("http://")).expect("an address").to_owned();
        Self { process, address }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn upload(&self, name: &str, component: &Path) {
        let bytes = std::fs::read(component).expect("the component is built");
        let url = format!("{}/v1/plugins/{name}/versions/1.0.0", self.address);
        let answer = agent().put(url).header("content-type", "application/wasm").send(&bytes[..]);
        assert_eq!(answer.expect("the host answers").status(), 201);
    }

    /// Makes a schedule that fires every second, whatever else is under way.
    pub(crate) fn schedule_every_second(&self, name: &str) {
        let body = json!({
            "plugin": "echo", "rule": "FREQ=SECONDLY", "overlap": "allow", "misfire": "run_all(1000)", "tags": [name],
        });
        let url = format!("{}/v1/schedules/{name}", self.address);
        let answer = agent().put(url).header("content-type", "application/json").send(body.to_string());
        assert_eq!(answer.expect("the host answers").status(), 201);
    }

    pub(crate) fn remove_schedule(&self, name: &str) {
        let answer = agent().delete(format!("{}/v1/schedules/{name}", self.address)).call();
        assert_eq!(answer.expect("the host answers").status(), 204);
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let request = agent().post(format!("{}{path}", self.address)).header("content-type", "application/json");
        let request = request.config().timeout_global(Some(Duration::from_secs(90))).build();
        let mut answer = request.send(body.to_string()).expect("the host answers");
        answer.body_mut().read_json().expect("the answer is JSON")
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let mut answer = agent().get(format!("{}{path}", self.address)).call().expect("the host answers");
        answer.body_mut().read_json().expect("the answer is JSON")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // On Unix this is SIGKILL.
        self.process.kill().expect("the host can be killed");
        self.process.wait().expect("it is gone");
    }
}

/// The identity of the job, or none when the host died before it answered.
pub(crate) fn submit(address: &str, key: &str) -> Option<String> {
    let request = agent().post(format!("{address}/v1/jobs"));
    let request = request.header("content-type", "application/json").header("idempotency-key", key);
    let mut answer = request.send(json!({ "plugin": "echo", "input": key }).to_string()).ok()?;
    let job: Value = answer.body_mut().read_json().ok()?;
    job["id"].as_str().map(str::to_owned)
}

/// The identities of the jobs, or none when the host died before it answered.
pub(crate) fn submit_bulk(address: &str, body: &str) -> Option<Vec<String>> {
    let request = agent().post(format!("{address}/v1/jobs/bulk")).header("content-type", "application/x-ndjson");
    let answer: Value = request.send(body).ok()?.body_mut().read_json().ok()?;
    answer["ids"].as_array()?.iter().map(|id| id.as_str().map(str::to_owned)).collect()
}

/// Runs `backroom store verify` on the store of a dead host.
pub(crate) fn verify_store(folder: &Path) {
    let data = folder.join("data");
    let verified =
        Command::new(env!("CARGO_BIN_EXE_backroom")).args(["store", "verify"]).arg("--data").arg(data).output();
    let verified = verified.expect("the command runs");
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(
        verified.status.success(),
        "the store does not verify:\n{said}{}",
        String::from_utf8_lossy(&verified.stderr)
    );
}

fn agent() -> ureq::Agent {
    thread_local! {
        static AGENT: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(20))).build().into();
    }
    AGENT.with(Clone::clone)
}
