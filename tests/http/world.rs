//! A host whose only handler is `http`, and a server on this machine that answers by the path it is asked for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use backroom::app::{Host, Parts};
use backroom::clock::{Clock, SystemClock};
use backroom::domain::admission::AdmissionPolicy;
use backroom::domain::failure::Failure;
use backroom::domain::id::TenantId;
use backroom::domain::job::{Job, Status};
use backroom::domain::limits::Limits;
use backroom::domain::outbound::{Origin, SigningKey, SigningKeys, http_plugin};
use backroom::domain::plugin::{Grant, Policy};
use backroom::domain::retry::RetryPolicy;
use backroom::jobs::{NewJob, SubmitError};
use backroom::registry::Policies;
use backroom::sandbox::builtin::{BuiltinSandbox, HttpCaller};
use backroom::sandbox::outbound::Connector;
use backroom::sandbox::scripted::{Script, ScriptedSandbox};
use backroom::store::memory::MemoryStore;
use backroom::worker::PoolSettings;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// No job of a test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What signs the requests to the server of a world.
pub(crate) const SIGNING_KEYS: [&[u8]; 2] =
    [b"a key that only the two sides know", b"and the one that takes its place"];

/// A request as the server got it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("-", |value| value.to_str().expect("ASCII"))
    }
}

/// What the server has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) requests: Mutex<Vec<Got>>,
    /// Told when somebody asks for `/hang`.
    pub(crate) hanging: Notify,
}

impl Seen {
    /// The requests for a path.
    pub(crate) fn of(&self, path: &str) -> Vec<Got> {
        let requests = self.requests.lock();
        requests.iter().filter(|got| got.target.split('?').next() == Some(path)).cloned().collect()
    }
}

/// A server on a free port.
pub(crate) async fn serve(seen: &Arc<Seen>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().fallback(answer).with_state(Arc::clone(seen));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    address
}

async fn answer(State(seen): State<Arc<Seen>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a whole body");
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let path = head.uri.path().to_owned();
    seen.requests.lock().push(Got { method: head.method.to_string(), target, headers: head.headers, body });
    let times = seen.of(&path).len();
    match path.as_str() {
        "/ok" => (
            [("content-type", "application/json"), ("etag", "\"7\""), ("set-cookie", "secret=1")],
            r#"{"b": 1.50, "a": [null]}"#,
        )
            .into_response(),
        "/text" => "plain words".into_response(),
        "/bytes" => ([("content-type", "image/png")], vec![0xff, 0x00, 0xfe]).into_response(),
        "/empty" => StatusCode::NO_CONTENT.into_response(),
        "/large" => "x".repeat(100_000).into_response(),
        "/flaky" if times < 3 => (code(500), "not yet").into_response(),
        "/busy" if times < 2 => (code(429), [("retry-after", "1")], "slow down").into_response(),
        "/maintenance" if times < 2 => (code(503), [("retry-after", "0")], "back soon").into_response(),
        "/locked" if times < 2 => (code(401), "who are you?").into_response(),
        "/full" if times < 2 => (code(413), [("retry-after", "1")], "too much for now").into_response(),
        "/restarting" if times < 2 => (code(502), [("retry-after", "1")], "not yet").into_response(),
        "/flaky" | "/locked" | "/busy" | "/maintenance" | "/full" | "/restarting" => "at last".into_response(),
        "/hang" => {
            seen.hanging.notify_one();
            std::future::pending().await
        }
        "/endless" => {
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()).into_response()
        }
        path => match (path.strip_prefix("/status/"), path.strip_prefix("/away/")) {
            (Some(status), _) => (code(status.parse().expect("a number")), "because").into_response(),
            (_, Some(place)) => {
                let (status, place) = place.split_once('/').expect("a status and a place");
                (code(status.parse().expect("a number")), [("location", format!("http://{place}"))]).into_response()
            }
            _ => code(404).into_response(),
        },
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status")
}

/// A host, and the server that it may call.
pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) seen: Arc<Seen>,
    pub(crate) address: SocketAddr,
}

impl World {
    /// With limits other than the usual ones.
    pub(crate) async fn with(limits: Limits, more_grants: &[&str]) -> Self {
        Self::reaching(Connector::default(), limits, more_grants).await
    }

    /// With a way out of its own.
    pub(crate) async fn reaching(connector: Connector, limits: Limits, more_grants: &[&str]) -> Self {
        Self::retrying(connector, limits, more_grants, |retry| retry).await
    }

    /// Where jobs wait for a person whose data has to be mended.
    pub(crate) async fn holding() -> Self {
        let hold = |retry| RetryPolicy { hold_user_fixable: true, ..retry };
        Self::retrying(Connector::default(), Limits::default(), &[], hold).await
    }

    async fn retrying(
        connector: Connector,
        limits: Limits,
        more_grants: &[&str],
        change: impl Fn(RetryPolicy) -> RetryPolicy,
    ) -> Self {
        let seen = Arc::<Seen>::default();
        let address = serve(&seen).await;
        let mut grants: Vec<_> =
            more_grants.iter().map(|grant| grant.replace("PORT", &address.port().to_string())).collect();
        grants.push(format!("http://{address}"));
        let retry = RetryPolicy {
            base: Duration::from_millis(1),
            cap: Duration::from_millis(5),
            max_attempts: 3,
            ..RetryPolicy::default()
        };
        let grants = grants.into_iter().map(Grant::Http).collect();
        let policy = Policy { limits, retry: change(retry), grants, ..Policy::default() };
        let by_plugin = BTreeMap::from([("http".to_owned(), policy)]);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let scripted = ScriptedSandbox::new(Arc::clone(&clock), |_| Script::succeeds("not the handler `http`"));
        let mut keys = SigningKeys::default();
        let origin = Origin::of("http", &address.to_string()).expect("an origin");
        let its_own = SIGNING_KEYS.map(|key| SigningKey::new(key.to_vec()).expect("it is long enough"));
        keys.give(&origin, its_own.into()).expect("nobody else has them");
        let caller = HttpCaller::new(connector, keys, Arc::clone(&clock));
        let parts = Parts {
            store: Arc::new(MemoryStore::new()),
            sandbox: Arc::new(BuiltinSandbox::new(Arc::new(scripted), caller)),
            clock,
            policies: Policies { by_plugin, ..Policies::default() },
            admission: AdmissionPolicy::default(),
            pool: PoolSettings::new(4),
            guests: tokio::runtime::Handle::current(),
            salt: 7,
            secret: None,
        };
        let host = Host::start(parts).await.expect("the host starts");
        Self { host, seen, address }
    }

    pub(crate) async fn start() -> Self {
        Self::with(Limits::default(), &[]).await
    }

    /// The URL of a path on the server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A call of a path, with more fields.
    pub(crate) fn call(&self, path: &str, more: Value) -> NewJob {
        let mut input = json!({ "url": self.url(path) });
        let fields = more.as_object().expect("an object").clone();
        input.as_object_mut().expect("an object").extend(fields);
        NewJob::new(http_plugin(), input.to_string())
    }

    pub(crate) async fn submit(&self, new: NewJob) -> Job {
        self.host.jobs.submit(new, None).await.expect("it is taken").job
    }

    pub(crate) async fn refusal(&self, new: NewJob) -> SubmitError {
        self.host.jobs.submit(new, None).await.expect_err("it is refused")
    }

    /// Submits a job and waits for its end.
    pub(crate) async fn run(&self, new: NewJob) -> Job {
        let job = self.submit(new).await;
        self.ended(job).await
    }

    pub(crate) async fn ended(&self, job: Job) -> Job {
        let ended = self.host.jobs.wait(job, PATIENCE).await.expect("it can be read");
        assert!(ended.state.status.is_final(), "{:?}", ended.state);
        ended
    }

    /// The job as soon as it waits for something, or for its next attempt.
    pub(crate) async fn waiting(&self, job: &Job) -> Job {
        let waits = async {
            let mut watch = self.host.jobs.watch(job.submission.key());
            loop {
                let found = self.host.jobs.get(Self::TENANT, job.submission.id).expect("it can be read");
                match found {
                    Some(job) if matches!(job.state.status, Status::Waiting | Status::Retrying) => return job,
                    _ => watch.changed().await,
                };
            }
        };
        let waiting = tokio::time::timeout(PATIENCE, waits).await;
        waiting
            .unwrap_or_else(|_| panic!("it does not wait: {:?}", self.host.jobs.get(Self::TENANT, job.submission.id)))
    }

    /// The output of a job that has succeeded, as it stands there.
    pub(crate) fn output(&self, job: &Job) -> String {
        assert_eq!(job.state.status, Status::Succeeded, "{:?}", job.state);
        let output = job.state.output.as_ref().expect("an output");
        let bytes = self.host.jobs.payload(output).expect("it can be read");
        String::from_utf8(bytes.to_vec()).expect("JSON is text")
    }

    /// The log of a job's only run.
    pub(crate) fn log(&self, job: &Job) -> String {
        let runs = self.host.jobs.runs(job).expect("they can be read");
        let log = runs.last().and_then(|run| run.log.clone()).expect("a log");
        String::from_utf8(self.host.jobs.payload(&log).expect("it can be read").to_vec()).expect("a log is text")
    }

    /// The owner of all jobs.
    pub(crate) const TENANT: TenantId = TenantId::DEFAULT;
}

/// Why a job has failed.
pub(crate) fn failure(job: &Job) -> &Failure {
    assert_eq!(job.state.status, Status::Failed, "{:?}", job.state);
    job.state.failure().expect("a failure")
}
