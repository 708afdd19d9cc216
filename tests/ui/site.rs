//! A host with a console on a port of its own, and a browser without JavaScript to visit it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backroom::api::{self, ApiState, Guard};
use backroom::app::{Host, NewToken, Parts};
use backroom::clock::Clock;
use backroom::domain::access::{Caller, Token};
use backroom::domain::admission::{AdmissionPolicy, QueuePolicy, StartLimits};
use backroom::domain::breaker::BreakerPolicy;
use backroom::domain::failure::{ErrorClass, Failure};
use backroom::domain::host_call::HostCall;
use backroom::domain::id::{Digest, PluginName, QueueName, TenantId, TokenName, VersionName};
use backroom::domain::job::{Job, Progress, Wake};
use backroom::domain::limits::Usage;
use backroom::domain::outbound::http_plugin;
use backroom::domain::plugin::{Grant, PluginVersion, Policy, Shape, Wishes};
use backroom::domain::time::Timestamp;
use backroom::jobs::NewJob;
use backroom::registry::{Policies, Upload};
use backroom::sandbox::scripted::{Script, ScriptedSandbox};
use backroom::sandbox::{
    Admitted, BoxFuture, HostPort, LiveLog, LogPart, Rejection, Sandbox, Signal, Slice, SliceEnd, SliceReport,
};
use backroom::store::memory::MemoryStore;
use backroom::worker::PoolSettings;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Text that would do harm if a page did not take care.
pub(crate) const HOSTILE: &str =
    "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>\u{0}\u{1b}[2J\u{202e}\r\nend";

/// A breaker that two failures open.
const BREAKER: BreakerPolicy = BreakerPolicy {
    window: 4,
    failed_percent: 80,
    least_failures: 2,
    first_pause: Duration::from_secs(60),
    longest_pause: Duration::from_secs(3_600),
};

/// The header of a form, and of a person with a browser.
pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
pub(crate) const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml");

/// The secret of the token that [`Site::cookie_of`] gives somebody.
pub(crate) fn secret_of(name: &str) -> String {
    format!("the-secret-of-{name}")
}

/// What jobs of the built-in handler may call; a scripted one calls nothing.
pub(crate) const GRANTED_ORIGIN: &str = "https://granted.example";

/// A host and its console.
pub(crate) struct Site {
    pub(crate) host: Arc<Host>,
    /// The store behind the host, for what no page can bring about.
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) address: SocketAddr,
    gate: watch::Sender<bool>,
    said: Said,
}

/// What the jobs that are held back log meanwhile.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl LiveLog for Said {
    fn since(&self, line: u64) -> LogPart {
        let text = self.0.lock();
        let skipped = usize::try_from(line).expect("tests log little");
        let next = text.lines().count() as u64;
        LogPart { text: text.split_inclusive('\n').skip(skipped).collect(), next }
    }
}

/// An answer of the console.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("the console speaks UTF-8")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

impl Site {
    /// A host without plug-ins.
    pub(crate) async fn empty(clock: Arc<dyn Clock>) -> Self {
        Self::open(clock, "127.0.0.1:0").await
    }

    /// The same, on an address of the caller's choice.
    pub(crate) async fn open(clock: Arc<dyn Clock>, address: &str) -> Self {
        let (gate, store) = (watch::Sender::new(false), Arc::new(MemoryStore::new()));
        let scripted = ScriptedSandbox::new(Arc::clone(&clock), direct);
        let said = Said::default();
        let sandbox = Patient { scripted, gate: gate.subscribe(), said: said.clone() };
        let host = Host::start(Parts {
            store: Arc::<MemoryStore>::clone(&store),
            sandbox: Arc::new(sandbox),
            clock,
            policies: patient_policies(),
            admission: admission(),
            pool: PoolSettings::new(4),
            guests: tokio::runtime::Handle::current(),
            salt: 7,
            secret: None,
        });
        let host = Arc::new(host.await.expect("a host over an empty store starts"));
        let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = ApiState::new(Arc::clone(&host), Guard::new(address, &[]));
        let pages = api::guarded(&state, api::routes(&state).merge(backroom::ui::routes(Arc::clone(&host))));
        tokio::spawn(async move { axum::serve(listener, pages).await });
        Self { host, store, address, gate, said }
    }

    /// Gives somebody a token with these rights and this secret: from then on the host asks for one.
    pub(crate) async fn admit(&self, name: &str, rights: &str, secret: &str) {
        let admin = self.host.tokens.list(TenantId::DEFAULT).first().map(Token::caller);
        let new = NewToken {
            tenant: TenantId::DEFAULT,
            name: TokenName::new(name).expect("a name"),
            digest: Digest::of(secret),
            rights: rights.parse().expect("rights"),
            expires_on: None,
            by: "somebody".to_owned(),
        };
        self.host.tokens.create(admin.unwrap_or(Caller::ANYBODY), new).await.expect("it is made");
    }

    /// Sends a request with headers of the caller's choice.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let request = http::Request::builder().method(method).uri(self.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        send(request.body(body.as_bytes().to_vec()).expect("a request")).await
    }

    /// A host with the plug-in `echo`.
    pub(crate) async fn with_echo(clock: Arc<dyn Clock>) -> Self {
        let site = Self::empty(clock).await;
        site.upload("echo", "0.1.0", Wishes::default()).await;
        site
    }

    /// Lets the jobs go on whose input starts with `hold`.
    pub(crate) fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    /// Has the jobs that are held back log something.
    pub(crate) fn say(&self, text: &str) {
        self.said.0.lock().push_str(text);
    }

    /// Gives somebody a token with these rights, and returns the cookie that a browser sends then.
    pub(crate) async fn cookie_of(&self, name: &str, rights: &str) -> String {
        let secret = secret_of(name);
        self.admit(name, rights, &secret).await;
        let kept = self.ask("POST", "/login", &[FORM], &format!("token={secret}")).await;
        kept.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
    }

    pub(crate) async fn upload(&self, name: &str, version: &str, wishes: Wishes) {
        let upload = Upload {
            tenant: TenantId::DEFAULT,
            name: PluginName::new(name).expect("a slug"),
            version: VersionName::new(version).expect("a version"),
            bytes: component(&format!("{name} {version}")),
            wishes,
        };
        self.host.registry.upload(upload).await.expect("the upload is acceptable");
    }

    pub(crate) async fn submit(&self, new: NewJob) -> Job {
        self.host.jobs.submit(new, None).await.expect("the job is acceptable").job
    }

    /// Submits a job of `echo` and waits for its end.
    pub(crate) async fn run(&self, input: &str) -> Job {
        let job = self.submit(job(input)).await;
        self.host.jobs.wait(job, PATIENCE).await.expect("the memory store reads")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = http::Request::get(self.url(path)).body(Vec::new()).expect("a path");
        send(request).await
    }

    /// Presses the button of a form without a file.
    pub(crate) async fn post(&self, path: &str, fields: &str) -> Answer {
        let request = http::Request::post(self.url(path)).header("content-type", "application/x-www-form-urlencoded");
        send(request.body(fields.as_bytes().to_vec()).expect("a form")).await
    }

    /// Sends the form of an upload.
    pub(crate) async fn post_files(&self, path: &str, parts: &[(&str, &[u8])]) -> Answer {
        const BOUNDARY: &str = "one-part-ends-here";
        let mut body = Vec::new();
        for (name, content) in parts {
            let file = if matches!(*name, "component" | "manifest") { "; filename=\"f\"" } else { "" };
            body.extend(
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes(),
            );
            body.extend_from_slice(content);
            body.extend(b"\r\n");
        }
        body.extend(format!("--{BOUNDARY}--\r\n").bytes());
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        send(http::Request::post(self.url(path)).header("content-type", kind).body(body).expect("a form")).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Limits of queues and plug-ins that are named for them; others have none.
fn admission() -> AdmissionPolicy {
    let one = || StartLimits { concurrency: Some(1), rate: None };
    let hourly = || StartLimits { concurrency: None, rate: Some("1/h".parse().expect("a rate")) };
    let queue = |name, limits| (QueueName::new(name).expect("a slug"), QueuePolicy { weight: 1, limits });
    let plugin = |name| PluginName::new(name).expect("a slug");
    AdmissionPolicy {
        queues: [queue("narrow", one()), queue("hourly", hourly())].into(),
        plugins: [(plugin("narrow"), one()), (plugin("hourly"), hourly())].into(),
        per_key: [(plugin("keyed"), 1)].into(),
        breaker: Some(BREAKER),
    }
}

/// Lets a scripted job be held for longer than a real one, and the built-in handler call one origin.
fn patient_policies() -> Policies {
    let mut policies = Policies::default();
    let calls = Policy { grants: [Grant::Http(GRANTED_ORIGIN.to_owned())].into(), ..policies.default.clone() };
    policies.by_plugin.insert(http_plugin().to_string(), calls);
    policies.default.limits.wall = Duration::from_secs(3_600);
    policies
}

/// A job of the command `tool`, which takes arguments and an environment.
pub(crate) fn tool(input: &str) -> NewJob {
    NewJob::new(PluginName::new("tool").expect("a slug"), input.to_owned())
}

/// A job of `echo`.
pub(crate) fn job(input: &str) -> NewJob {
    NewJob::new(PluginName::new("echo").expect("a slug"), input.to_owned())
}

/// Bytes that the scripted sandbox takes for a component.
pub(crate) fn component(content: &str) -> Bytes {
    Bytes::from(format!("\0asm{content}"))
}

/// Wishes that the host does not grant.
pub(crate) fn ungranted() -> Wishes {
    let wants = [Grant::Http("https://api.example.com".into()), Grant::Config("sender".into())];
    Wishes { description: Some("Sends what it is told to".to_owned()), wants: wants.into(), ..Wishes::default() }
}

async fn send(request: http::Request<Vec<u8>>) -> Answer {
    let sent = tokio::task::spawn_blocking(move || {
        let agent = ureq::Agent::config_builder().max_redirects(0).http_status_as_error(false);
        let agent = agent.timeout_global(Some(PATIENCE)).build().new_agent();
        let mut response = agent.run(request).expect("the console answers");
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()));
        Answer {
            status: response.status().as_u16(),
            headers: headers.collect(),
            bytes: response.body_mut().read_to_vec().expect("the whole answer arrives"),
        }
    });
    sent.await.expect("the browser holds")
}

/// How long a log is at least that a page does not show whole, in bytes.
const LONG_LOG: usize = 256 << 10;

/// What a slice does: the first word of its input says it.
fn direct(slice: &Slice) -> Script {
    let input = String::from_utf8_lossy(&slice.input).into_owned();
    let (word, rest) = input.split_once(' ').unwrap_or((&input, ""));
    // A call says it with its URL.
    let word = if input.contains("/fail\"}") { "fail" } else { word };
    let failure = |class, code: &str| Failure {
        class,
        code: Some(code.to_owned()),
        message: rest.to_owned(),
        detail: Some(format!("detail: {rest}")),
    };
    let end = match word {
        "fail" => SliceEnd::Failed(failure(ErrorClass::Business, "BAD_ROW")),
        "trap" => SliceEnd::Failed(failure(ErrorClass::Fatal, "BR0305")),
        "again" => SliceEnd::Retry(Some(Duration::from_secs(3_600)), failure(ErrorClass::Transient, "LATER")),
        "sleep" => SliceEnd::Suspended(Wake::At(Timestamp::from_millis(1_800_000_000_000))),
        "listen" => SliceEnd::Suspended(Wake::Event(rest.to_owned())),
        "binary" => SliceEnd::Succeeded(Bytes::from_static(b"\0\xff\x80<b>")),
        _ => SliceEnd::Succeeded(slice.input.clone()),
    };
    let log = match word {
        "log" => rest.repeat(LONG_LOG / rest.len().max(1) + 1),
        _ => format!("INFO: attempt {} of {}\nINFO: {rest}\n", slice.attempt, slice.name),
    };
    let usage = Usage { fuel: 1_234_567, peak_memory_bytes: 3 << 20, host_calls: 42, ..Usage::default() };
    Script { log: log.into(), usage, ..Script::of(end) }
}

/// Runs scripts, but holds back those whose input starts with `hold` until the gate opens or they are told to stop, and those
/// with `cling` until it opens. The plug-in `tool` is a command.
struct Patient {
    scripted: ScriptedSandbox,
    gate: watch::Receiver<bool>,
    said: Said,
}

impl Sandbox for Patient {
    fn admit(&self, upload: Bytes) -> BoxFuture<'_, Result<Admitted, Rejection>> {
        Box::pin(async move {
            let is_command = upload.starts_with(b"\0asmtool ");
            let mut admitted = self.scripted.admit(upload).await?;
            if is_command {
                admitted.inspection.shape = Shape::Command;
            }
            Ok(admitted)
        })
    }

    fn prepare<'a>(&'a self, version: &'a PluginVersion, component: Bytes) -> BoxFuture<'a, Result<(), Rejection>> {
        self.scripted.prepare(version, component)
    }

    fn is_ready(&self, version: &PluginVersion) -> bool {
        self.scripted.is_ready(version)
    }

    fn run(&self, slice: Slice, mut port: Box<dyn HostPort>) -> BoxFuture<'_, SliceReport> {
        Box::pin(async move {
            let clings = slice.input.starts_with(b"cling");
            if clings || slice.input.starts_with(b"hold") {
                slice.signals.share_log(Arc::new(self.said.clone()));
                let note = Some(String::from_utf8_lossy(&slice.input).into_owned());
                port.call(HostCall::Progress(Progress { done: 37, total: Some(120), note })).await;
                self.hold(&slice, clings).await;
            }
            self.scripted.run(slice, port).await
        })
    }
}

impl Patient {
    async fn hold(&self, slice: &Slice, clings: bool) {
        const LOOK_AGAIN: Duration = Duration::from_millis(5);
        let mut gate = self.gate.clone();
        let is_told = || !clings && slice.signals.signal() != Signal::None;
        while !is_told() {
            let opened = gate.wait_for(|is_open| *is_open);
            if tokio::time::timeout(LOOK_AGAIN, opened).await.is_ok() {
                return;
            }
        }
    }
}
