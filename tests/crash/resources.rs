//! A host that runs out of descriptors or of threads: it says so, loses nothing, fills no log, and goes on by itself when there
//! is more.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getuid, prlimit};
use serde_json::{Value, json};

use crate::host::Host;
use crate::support::built_plugin;

/// No step of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a host may log while it is short of something for a few seconds.
const LOG_BYTES_MAX: u64 = 16 << 10;

/// A host whose log is a file, and one connection to it that stays open.
struct Watched {
    host: Host,
    agent: ureq::Agent,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Watched {
    fn start(command: impl FnOnce(&Path) -> Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("log");
        let mut command = command(folder.path());
        command.stderr(Stdio::from(File::create(&log).expect("it can be made")));
        let host = Host::start_with(folder.path(), command);
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(20)));
        let agent = config.http_status_as_error(false).build().into();
        let watched = Self { host, agent, log, _folder: folder };
        watched.host.upload("echo", &built_plugin("echo"));
        watched
    }

    /// The status and the body of an answer; none when there is none in time.
    fn try_post(&self, path: &str, content_type: &str, body: &str) -> Option<(u16, Value)> {
        let request = self.agent.post(format!("{}{path}", self.host.address)).header("content-type", content_type);
        let mut answer = request.send(body).ok()?;
        let text = answer.body_mut().read_to_string().ok()?;
        Some((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or_default()))
    }

    fn submit(&self, input: &str) -> (u16, Value) {
        let body = json!({ "plugin": "echo", "input": input }).to_string();
        self.try_post("/v1/jobs", "application/json", &body).unwrap_or_else(|| panic!("no answer: {}", self.said()))
    }

    /// Submits until the host takes it, and waits for the job's end.
    fn until_done(&self) {
        let give_up = Instant::now() + PATIENCE;
        let body = json!({ "plugin": "echo", "input": "x".repeat(100_000) }).to_string();
        loop {
            if let Some((200 | 201, job)) = self.try_post("/v1/jobs?wait=20", "application/json", &body) {
                assert_eq!(job["state"], "succeeded", "{job}");
                return;
            }
            assert!(Instant::now() < give_up, "the host does not come back: {}", self.said());
            // No signal tells of it: the host is asked from outside.
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn limit(&self, resource: Resource, current: Option<u64>) -> Rlimit {
        let process = Pid::from_raw(i32::try_from(self.host.id()).expect("a process id"));
        let before = rustix::process::getrlimit(resource);
        prlimit(process, resource, Rlimit { current, maximum: before.maximum }).expect("it is our child")
    }

    fn logged(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |log| log.len())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn is_there(&self, id: &Value) -> bool {
        let id = id.as_str().expect("an id");
        let job = self.host.get(&format!("/v1/jobs/{id}"));
        job["id"] == id
    }
}

fn program(_: &Path) -> Command {
    Command::new(env!("CARGO_BIN_EXE_backroom"))
}

#[test]
fn descriptors_that_come_back_find_a_host_that_comes_back() {
    let host = Watched::start(program);
    host.until_done();
    host.host.schedule_every_second("due");
    let before = host.limit(Resource::Nofile, Some(4));
    let quiet = host.logged();
    // What needs a file of its own is refused at once, and in words.
    let (status, problem) = host.submit(&"y".repeat(100_000));
    assert_eq!((status, &problem["code"]), (503, &json!("BR0406")), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("file descriptors")), "{problem}");
    // Small jobs are taken until the journal needs its next file; that is no broken disk.
    let line = json!({ "plugin": "echo", "input": "z".repeat(900), "at": "2100-01-01T00:00:00Z" }).to_string();
    let lines = format!("{line}\n").repeat(4_000);
    let mut taken = Vec::new();
    let refusal = loop {
        let (status, answer) =
            host.try_post("/v1/jobs/bulk", "application/x-ndjson", &lines).expect("the host answers");
        match answer["ids"].as_array() {
            Some(ids) => taken.extend(ids.iter().step_by(1_000).cloned()),
            None => break (status, answer),
        }
        assert!(taken.len() < 80, "80,000 jobs fit into one segment");
    };
    assert_eq!((refusal.0, &refusal.1["code"]), (503, &json!("BR0406")), "{}", refusal.1);
    // A job is due every second, and cannot be made.
    // No signal tells it: the host is asked from outside, or time has to pass for what is counted.
    std::thread::sleep(Duration::from_secs(4));
    assert!(host.logged() - quiet < LOG_BYTES_MAX, "{}", host.said());
    host.limit(Resource::Nofile, before.current);
    host.until_done();
    assert!(taken.iter().all(|id| host.is_there(id)), "what was taken is there");
    TcpStream::connect(address(&host)).expect("others get through, too");
}

#[test]
fn idle_connections_of_strangers_leave_the_store_what_it_needs() {
    let host = Watched::start(|_| {
        let mut command = Command::new("sh");
        let limited = "ulimit -n 400 && exec \"$0\" \"$@\"";
        command.args(["-c", limited, env!("CARGO_BIN_EXE_backroom")]);
        command
    });
    host.until_done();
    // Until the system does not queue any more either.
    let at_once = Duration::from_millis(500);
    let connect = || TcpStream::connect_timeout(&address(&host), at_once).ok();
    let strangers: Vec<_> = std::iter::from_fn(connect).take(600).collect();
    assert!(strangers.len() > 100, "{} are connected or queued", strangers.len());
    for round in 0..6 {
        let (status, job) = host.submit(&format!("{round}{}", "y".repeat(100_000)));
        assert_eq!(status, 201, "{job}");
    }
    let line = json!({ "plugin": "echo", "input": "z".repeat(900), "at": "2100-01-01T00:00:00Z" }).to_string();
    for _ in 0..6 {
        let lines = format!("{line}\n").repeat(4_000);
        let (status, answer) =
            host.try_post("/v1/jobs/bulk", "application/x-ndjson", &lines).expect("the host answers");
        assert_eq!(status, 201, "{answer}");
    }
    drop(strangers);
    host.until_done();
    assert!(host.logged() < LOG_BYTES_MAX, "{}", host.said());
}

/// Who runs a host whose threads are counted.
const SOMEBODY: u32 = 54_321;

/// How many threads the system grants to the host from now on; its owner may say so.
fn limit_threads(host: &Watched, soft: &str) {
    let process = host.host.id().to_string();
    let limit = format!("--nproc={soft}:");
    let limited = Command::new("prlimit").args(["--pid", &process, &limit]).uid(SOMEBODY).gid(SOMEBODY).status();
    assert!(limited.expect("the program is there").success());
}

/// The system counts threads by user, and does not count those of root: the host is another user's here.
#[test]
fn threads_that_come_back_find_a_host_that_comes_back() {
    if !getuid().is_root() {
        println!("left out: only root can start a host of another user, whose threads can be counted");
        return;
    }
    let host = Watched::start(|folder| {
        let own = folder.join("backroom");
        std::fs::copy(env!("CARGO_BIN_EXE_backroom"), &own).expect("there is room for a copy");
        std::os::unix::fs::chown(folder, Some(SOMEBODY), Some(SOMEBODY)).expect("root may");
        let mut command = Command::new(own);
        command.uid(SOMEBODY).gid(SOMEBODY);
        command
    });
    host.until_done();
    host.host.schedule_every_second("due");
    let quiet = host.logged();
    limit_threads(&host, "1");
    // The threads that idle end after ten seconds; from then on there is none for what has to wait for the disk.
    // No signal tells it: the host is asked from outside, or time has to pass for what is counted.
    std::thread::sleep(Duration::from_secs(12));
    let component = std::fs::read(built_plugin("echo")).expect("it is built");
    let put = host.agent.put(format!("{}/v1/plugins/other/versions/1.0.0", host.host.address));
    let put = put.config().timeout_global(Some(Duration::from_secs(5))).build();
    if let Ok(mut answer) = put.header("content-type", "application/wasm").send(&component[..]) {
        let problem: Value = answer.body_mut().read_json().expect("a problem");
        assert_eq!((answer.status().as_u16(), &problem["code"]), (503, &json!("BR0406")), "{problem}");
    }
    assert!(host.logged() - quiet < LOG_BYTES_MAX, "{}", host.said());
    limit_threads(&host, "2000");
    host.until_done();
    host.host.upload("another", &built_plugin("echo"));
}

fn address(host: &Watched) -> SocketAddr {
    host.host.address.trim_start_matches("http://").parse().expect("an address")
}
