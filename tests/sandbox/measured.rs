//! A real host whose memory is measured, as the system counts it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

pub(crate) const MIB: u64 = 1 << 20;

/// Jobs at a time.
pub(crate) const JOBS: u64 = 8;

/// What a job may cost beside its memory and its copies.
pub(crate) const CONSTANT: u64 = 16 * MIB;

pub(crate) struct Host {
    process: Child,
    address: String,
}

impl Host {
    /// A host with `settings` beside those that every measured host has.
    pub(crate) fn start(folder: &Path, settings: &str) -> Self {
        let settings = format!("[worker]\nconcurrency = {JOBS}\nbreaker = \"off\"\n{settings}");
        std::fs::write(folder.join("backroom.toml"), settings).expect("the folder can be written");
        let mut process = Command::new(env!("CARGO_BIN_EXE_backroom"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the host starts");
        let said = process.stdout.take().expect("it has an output");
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("http://")).expect("the host says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        let address = line.split_whitespace().find(|word| word.starts_with("http://")).expect("an address").to_owned();
        Self { process, address }
    }

    /// Uploads a component. `wants` is the rest of its manifest.
    pub(crate) fn upload(&self, name: &str, component: &[u8], wants: &str) {
        let manifest = format!("name = \"{name}\"\nversion = \"1.0.0\"\n{wants}");
        let url = format!("{}/v1/plugins/{name}/versions/1.0.0", self.address);
        let request = agent().put(url).header("content-type", "application/wasm");
        let request = request.header("backroom-manifest", BASE64.encode(manifest));
        let mut answer = request.send(component).expect("the host answers");
        let said = answer.body_mut().read_to_string().expect("a text");
        assert_eq!(answer.status(), 201, "{name}: {said}");
    }

    /// Runs eight jobs of a plug-in at once to their ends.
    pub(crate) fn run(&self, plugin: &str, input: &Value) -> Vec<Value> {
        let callers: Vec<_> = (0..JOBS)
            .map(|_| {
                let url = format!("{}/v1/jobs?wait=50", self.address);
                let body = json!({ "plugin": plugin, "input": input, "max_attempts": 1 }).to_string();
                std::thread::spawn(move || {
                    let request = agent().post(url).header("content-type", "application/json");
                    let mut answer = request.send(body).expect("the host answers");
                    answer.body_mut().read_json::<Value>().expect("JSON")
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().expect("no panic")).collect()
    }

    /// Bytes of memory that it has at most had since [`Host::forget_peak`].
    pub(crate) fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux counts it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").expect("it is our child");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.process.kill().expect("the host can be killed");
        self.process.wait().expect("it is gone");
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(120)))
        .http_status_as_error(false)
        .build()
        .into()
}

/// What jobs have had of their own, by their records.
pub(crate) fn own_bytes(jobs: &[Value]) -> u64 {
    jobs.iter().map(|job| job["usage"]["peak_memory_bytes"].as_u64().expect("a number")).sum()
}
