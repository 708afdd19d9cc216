//! What guests make the host hold, as the system counts it: the memory of a real host with eight jobs of a kind at once. No job
//! may cost more than its own memory, the limit of its copies and a constant (`docs/sandbox.md`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::support::built_plugin;

const MIB: u64 = 1 << 20;

/// Jobs at a time.
const JOBS: u64 = 8;

/// The limit of what host calls may copy, lower than usual, so that a way past it stands out.
const COPIES: u64 = 8 * MIB;

/// What a job may cost beside its memory and its copies.
const CONSTANT: u64 = 16 * MIB;

struct Host {
    process: Child,
    address: String,
}

impl Host {
    fn start(folder: &Path, peer: &str) -> Self {
        let settings = format!(
            "[worker]\nconcurrency = {JOBS}\nbreaker = \"off\"\n[limits]\nhost_copy = \"8MiB\"\n\
             [[plugin]]\nname = \"misbehave\"\ngrants = {{ http = [\"http://{peer}\"] }}\n"
        );
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

    /// Uploads `misbehave`, which wants to call `peer`.
    fn upload(&self, peer: &str) {
        let bytes = std::fs::read(built_plugin("misbehave")).expect("the component is built");
        let manifest = format!("name = \"misbehave\"\nversion = \"1.0.0\"\n[wants]\nhttp = [\"http://{peer}\"]\n");
        let url = format!("{}/v1/plugins/misbehave/versions/1.0.0", self.address);
        let request = agent().put(url).header("content-type", "application/wasm");
        let request = request.header("backroom-manifest", BASE64.encode(manifest));
        assert_eq!(request.send(&bytes[..]).expect("the host answers").status(), 201);
    }

    /// Runs eight jobs at once to their ends.
    fn run(&self, ask: &Value) -> Vec<Value> {
        let callers: Vec<_> = (0..JOBS)
            .map(|_| {
                let url = format!("{}/v1/jobs?wait=50", self.address);
                let body = json!({ "plugin": "misbehave", "input": ask, "max_attempts": 1 }).to_string();
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
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux counts it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    fn forget_peak(&self) {
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

/// Answers whatever it is asked with a body that has no end, and headers of the largest size that pass.
fn endless_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let _ = connection.read(&mut request);
                let head = format!("HTTP/1.1 200 OK\r\nx-large: {}\r\n\r\n", "x".repeat(40 << 10));
                let mut sent = connection.write_all(head.as_bytes());
                while sent.is_ok() {
                    sent = connection.write_all(&[b'x'; 64 << 10]);
                }
            });
        }
    });
    address
}

#[test]
fn no_guest_makes_the_host_hold_more_than_its_memory_its_copies_and_a_constant() {
    let peer = endless_server();
    let hold = |what: &str, bytes: usize, times: u64| json!({ "do": "hold", "what": what, "bytes": bytes, "times": times, "address": peer });
    let kinds = [
        hold("authorities", 4_000_000, 300),
        hold("authorities", 60_000, 900),
        hold("methods", 4_000_000, 300),
        hold("methods", 60_000, 900),
        hold("paths", 4_000_000, 300),
        hold("paths", 60_000, 900),
        hold("schemes", 4_000_000, 300),
        hold("fields", 60_000, 900),
        hold("field-lists", 60_000, 900),
        hold("small-fields", 400, 900),
        hold("clones", 60_000, 490),
        hold("bodies", 4_000_000, 300),
        hold("zeroes", 4_000_000, 300),
        hold("answers", 0, 32),
        hold("splices", 60_000, 32),
        hold("settings", 4_000_000, 300),
        hold("lookups", 4_000_000, 300),
        json!({ "do": "checkpoint", "bytes": 4_000_000, "times": 100 }),
        json!({ "do": "random", "bytes": 4_000_000, "times": 4 }),
        json!({ "do": "output", "bytes": 4_000_000 }),
        json!({ "do": "flood-log", "bytes": 30_000_000, "line": 4_000_000 }),
        json!({ "do": "flood-log", "bytes": 4_000_000, "line": 1 }),
        json!({ "do": "flood-stdout", "bytes": 30_000_000 }),
        json!({ "do": "handles", "times": 900 }),
        json!({ "do": "poll-list", "times": 900_000 }),
        json!({ "do": "fill", "bytes": 30_000_000 }),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    Host::start(folder.path(), &peer).upload(&peer);
    for ask in kinds {
        // A fresh one each time: what a kind leaves with the allocator and the pool must not hide what the next one takes.
        let host = Host::start(folder.path(), &peer);
        host.run(&json!({ "do": "burn" }));
        host.forget_peak();
        let before = host.peak();
        let jobs = host.run(&ask);
        let grown = host.peak().saturating_sub(before);
        if ask["what"] == "answers" {
            let taken = |job: &Value| job["output"].to_string().contains("32");
            assert!(jobs.iter().all(taken), "they did not reach the server: {jobs:?}");
        }
        let own: u64 = jobs.iter().map(|job| job["usage"]["peak_memory_bytes"].as_u64().expect("a number")).sum();
        let most = own + JOBS * (COPIES + CONSTANT);
        println!("{ask}: {} MiB, of which {} their own, at most {}", grown / MIB, own / MIB, most / MIB);
        assert!(own > 0, "{ask}: they did not run: {jobs:?}");
        assert!(grown <= most, "{ask}: 8 jobs made the host hold {} MiB, {} their own", grown / MIB, own / MIB);
    }
}
