//! A host with a scripted sandbox behind a real listener, and a client for it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use backroom::api::{self, ApiState, Guard};
use backroom::app::{Host, Parts};
use backroom::clock::{Clock, SimulatedClock, SystemClock};
use backroom::domain::admission::{AdmissionPolicy, QueuePolicy, StartLimits};
use backroom::domain::allowances::Allowances;
use backroom::domain::failure::{ErrorClass, Failure};
use backroom::domain::host_call::HostCall;
use backroom::domain::id::{Digest, QueueName};
use backroom::domain::job::Progress;
use backroom::domain::time::Timestamp;
use backroom::registry::Policies;
use backroom::sandbox::scripted::{Gate, Script, ScriptedSandbox, Step};
use backroom::sandbox::{Slice, SliceEnd};
use backroom::store::memory::MemoryStore;
use backroom::worker::PoolSettings;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::stream::Events;

/// No request of a test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The handlers of the plug-in `echo`, as [`script`] plays them.
const HANDLERS: &str = r#"["handle", "fail", "hold", "bytes", "chatty"]"#;

/// A host behind a listener. Its clock stands still, so that identities and times are the same at every run.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) gate: Gate,
    /// The store behind the host, for what no request can bring about.
    pub(crate) store: Arc<MemoryStore>,
    state: ApiState,
    clock: Option<Arc<SimulatedClock>>,
    runtime: Option<Runtime>,
    guests: Option<Runtime>,
}

/// What differs from server to server.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) token: Option<&'static str>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) policies: Policies,
    pub(crate) admission: Option<AdmissionPolicy>,
    /// Attempts at a time; 4 when absent.
    pub(crate) slots: Option<usize>,
    /// Whether time passes.
    pub(crate) live: bool,
    /// How much goes on at a time.
    pub(crate) allowances: Allowances,
    /// Something between the guard and the handlers.
    pub(crate) between: Option<fn(&ApiState, Router) -> Router>,
}

/// The queues that exist from the start, and one that an operator has added.
pub(crate) fn queues() -> BTreeMap<QueueName, QueuePolicy> {
    let policy = |weight| QueuePolicy { weight, limits: StartLimits::default() };
    let queue = |(name, weight)| (QueueName::new(name).expect("a name"), policy(weight));
    [("default", 8), ("bulk", 3), ("maintenance", 1), ("mail", 2)].map(queue).into()
}

impl Server {
    /// A server without plug-ins.
    pub(crate) fn bare() -> Self {
        Self::with(Setup::default())
    }

    /// A server with the plug-in `echo`.
    pub(crate) fn start() -> Self {
        Self::start_with(Setup::default())
    }

    /// Such a server with the plug-in `echo`.
    pub(crate) fn start_with(setup: Setup) -> Self {
        let server = Self::with(setup);
        let answer = server.upload("echo", "1.0.0", &wasm(1), &manifest("echo", "1.0.0", ""));
        assert_eq!(answer.status, 201, "{}", answer.text());
        server
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let build = |threads| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().expect("a runtime")
        };
        let (runtime, guests) = (build(2), build(1));
        let start: Timestamp = "2030-01-01T08:00:00Z".parse().expect("a time");
        let clock = (!setup.live).then(|| Arc::new(SimulatedClock::at(start)));
        let shared_clock: Arc<dyn Clock> = match &clock {
            None => Arc::new(SystemClock),
            Some(clock) => Arc::clone(clock) as Arc<dyn Clock>,
        };
        let admission =
            setup.admission.unwrap_or_else(|| AdmissionPolicy { queues: queues(), ..AdmissionPolicy::default() });
        let store = Arc::new(MemoryStore::new());
        let gate = Gate::default();
        let held = gate.clone();
        let parts = Parts {
            store: Arc::<MemoryStore>::clone(&store),
            sandbox: Arc::new(ScriptedSandbox::new(Arc::clone(&shared_clock), move |slice| script(slice, &held))),
            clock: shared_clock,
            policies: setup.policies,
            admission,
            pool: PoolSettings::new(setup.slots.unwrap_or(4)),
            guests: guests.handle().clone(),
            salt: 7,
            secret: setup.token.map(Digest::of),
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener for Tokio");
        let address = listener.local_addr().expect("an address");
        let state = runtime.block_on(async {
            let host = Arc::new(Host::start(parts).await.expect("the host starts"));
            let guard = Guard::new(address, &setup.allowed_hosts);
            let state = ApiState::with(host, guard, setup.allowances);
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for Tokio");
            let routes = api::routes(&state);
            let routes = setup.between.map_or(routes.clone(), |between| between(&state, routes));
            let router = api::guarded(&state, routes);
            tokio::spawn(api::serve(listener, state.clone(), router, std::future::pending()));
            state
        });
        Self { address, gate, store, state, clock, runtime: Some(runtime), guests: Some(guests) }
    }

    /// Ends every stream, as a host does that goes down.
    pub(crate) fn close_streams(&self) {
        self.state.close();
    }

    /// Lets time pass for a host whose clock stands still.
    pub(crate) fn pass(&self, span: Duration) {
        self.clock.as_ref().expect("the clock of this host stands still").advance(span);
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send("POST", path, &[], body.as_ref())
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], b"")
    }

    /// Uploads a component, with its manifest unless that is empty.
    pub(crate) fn upload(&self, name: &str, version: &str, component: &[u8], manifest: &str) -> Answer {
        let encoded = BASE64.encode(manifest);
        let path = format!("/v1/plugins/{name}/versions/{version}");
        let headers: &[(&str, &str)] = if manifest.is_empty() { &[] } else { &[("Backroom-Manifest", &encoded)] };
        self.send("PUT", &path, headers, component)
    }

    /// Submits a job and returns its id.
    pub(crate) fn submit(&self, body: &str) -> String {
        let answer = self.post("/v1/jobs", body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// The job as it is now.
    pub(crate) fn job(&self, id: &str) -> Value {
        let answer = self.get(&format!("/v1/jobs/{id}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Waits until the job is in a state, and returns it.
    #[track_caller]
    pub(crate) fn until(&self, id: &str, state: &str) -> Value {
        let mut changes = Events::open(self, &format!("/v1/jobs/{id}/changes"));
        changes.until(state);
        self.job(id)
    }

    /// Waits until the handler of a job that is held has begun. A job runs once it is claimed; what is paused before its handler
    /// begins is given back.
    #[track_caller]
    pub(crate) fn until_begun(&self, id: &str) {
        Events::open(self, &format!("/v1/jobs/{id}/changes")).until_begun();
    }

    /// Submits a job, waits for its end, and returns its id.
    pub(crate) fn run(&self, body: &str) -> String {
        let answer = self.post("/v1/jobs?wait=20", body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// One request on a connection of its own.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut stream = self.connect();
        stream.write_all(head.as_bytes()).expect("the head is sent");
        stream.write_all(body).expect("the body is sent");
        Answer::read(stream)
    }

    /// A connection for a request that is not as it should be.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the host listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.gate.open();
        self.state.close();
        self.runtime.take().into_iter().chain(self.guests.take()).for_each(Runtime::shutdown_background);
    }
}

/// What a slice of the plug-in `echo` does, by its handler.
fn script(slice: &Slice, gate: &Gate) -> Script {
    let input = slice.input.clone();
    match slice.handler.as_str() {
        "fail" => {
            let failure = Failure {
                class: ErrorClass::Business,
                code: Some("no-such-customer".to_owned()),
                message: "customer 17 does not exist".to_owned(),
                detail: Some("looked in 3 places".to_owned()),
            };
            Script::of(SliceEnd::Failed(failure))
        }
        "hold" => {
            let progress = Progress { done: 1, total: Some(2), note: Some("half-way".to_owned()) };
            Script::succeeds(input).after(Step::Call(HostCall::Progress(progress))).after(Step::Gate(gate.clone()))
        }
        "bytes" => Script::succeeds(vec![0xff, 0x00, 0xfe]),
        "chatty" => {
            let mut script = Script::succeeds("plain words");
            script.log = bytes::Bytes::from_static(b"first line\nsecond <line>\n");
            script.usage.fuel = 1_234;
            script.usage.cpu_micros = 56;
            match &input[..] {
                b"held" => script.after(Step::Gate(gate.clone())),
                b"again" => {
                    let failure =
                        Failure { class: ErrorClass::Transient, code: None, message: String::new(), detail: None };
                    let again = SliceEnd::Retry(Some(Duration::ZERO), failure);
                    let end = if slice.attempt < 3 { again } else { SliceEnd::Succeeded(input) };
                    Script { log: long_log(slice.attempt).into(), ..Script::of(end) }
                }
                _ => script,
            }
        }
        _ => Script::succeeds(input),
    }
}

/// What an attempt logs that is tried again: some hundred KiB, the first without an end of its last line.
pub(crate) fn long_log(attempt: u32) -> String {
    let lines = format!("words of attempt {attempt}\n").repeat(20_000);
    if attempt == 1 { lines.trim_end().to_owned() } else { lines }
}

/// A component, as far as the scripted sandbox looks.
pub(crate) fn wasm(variant: u8) -> Vec<u8> {
    vec![0, b'a', b's', b'm', 13, 0, 1, 0, variant]
}

/// A `plugin.toml`.
pub(crate) fn manifest(name: &str, version: &str, more: &str) -> String {
    format!("name = \"{name}\"\nversion = \"{version}\"\ndescription = \"Gives back\"\nhandlers = {HANDLERS}\n{more}")
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads until the host closes the connection.
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("the whole answer");
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(bytes[..end].to_vec()).expect("an ASCII head");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers: Vec<_> = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let body = bytes[end + 4..].to_vec();
        let is_chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = if is_chunked { joined(&body) } else { body };
        Self { status, headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Status, content type and body, for a snapshot.
    pub(crate) fn shown(&self) -> String {
        let kind = self.header("content-type").unwrap_or("-");
        let body = match serde_json::from_slice::<Value>(&self.body) {
            Ok(value) => serde_json::to_string_pretty(&value).expect("a value is JSON"),
            Err(_) => self.text(),
        };
        format!("{} {kind}\n{body}", self.status)
    }

    /// What a refusal says: status, code, detail, next.
    pub(crate) fn refusal(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        let problem = self.json();
        let text = |name: &str| problem[name].as_str().unwrap_or("-").to_owned();
        assert_eq!(problem["status"], self.status);
        assert_eq!(text("type"), format!("/errors/{}", text("code")));
        let field = problem["field"].as_str().map(|field| format!(" [{field}]")).unwrap_or_default();
        format!("{} {}{field} {}\n    next: {}", self.status, text("code"), text("detail"), text("next"))
    }
}

fn joined(chunked: &[u8]) -> Vec<u8> {
    let mut rest = chunked;
    let mut whole = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a chunk's size");
        whole.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    whole
}
