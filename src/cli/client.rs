//! A typed client of the HTTP API, over the types that the API itself sends.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::header::RETRY_AFTER;
use ureq::http::{Response, Uri};
use ureq::typestate::WithBody;
use ureq::{Agent, Body, RequestBuilder};

use super::address::Address;
pub(crate) use super::address::ClientArgs;
use super::failure::{Failure, Fate};
use super::unanswered::{self, Peer};
use super::wire::Wire;
use crate::api::view::{
    ActionsBody, ActionsView, ActivateBody, AttemptsView, AuditView, BackfillBody, BackfillView, BatchView, BulkView,
    CountsView, ExplainView, FailuresView, GrantBody, JobPageView, JobView, LogView, NewTokenView, PluginListView,
    PluginView, PostponeScheduleBody, Problem, PurgeView, QueueListView, QueueView, RevokeBody, ScheduleBody,
    ScheduleListView, ScheduleView, ServiceView, SteerBody, SubmitBody, TokenBody, TokenListView, UploadView,
};
use crate::domain::code;

/// The largest answer that is read, in bytes: a job's output and log are bounded far below.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the host may take to begin its answer: a compilation takes a minute at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(180);

/// How long the host may take to read a piece of a request.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a stream may be silent: a host that lives says so every fifteen seconds.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// From this size on the host is asked before a body is sent, so that a refusal costs no transfer.
const ASK_FIRST_BYTES: usize = 64 << 10;

/// What the host answered: its text, and what that means.
#[derive(Clone, Debug)]
pub(crate) struct Answer<T> {
    /// Whether it is the answer to an earlier request, or names what was there already.
    pub(crate) repeated: bool,
    /// The JSON exactly as it came.
    pub(crate) text: String,
    /// What it says.
    pub(crate) view: T,
}

/// Which jobs to list; an absent field does not count.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobQuery<'a> {
    /// Names and values of query parameters.
    pub(crate) params: Vec<(&'a str, String)>,
}

/// A component on its way to the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Component<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    /// The text of its `plugin.toml`.
    pub(crate) manifest: Option<&'a str>,
    pub(crate) bytes: &'a [u8],
}

/// A batch on its way to the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewBatch<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) allowed_failures: Option<u64>,
    pub(crate) on_complete: Option<&'a str>,
    /// The jobs, one on each line.
    pub(crate) lines: &'a [u8],
}

/// A connection to a host.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: Agent,
    wire: Wire,
    server: String,
    token: Option<String>,
    /// The settings file that named the host.
    file: Option<PathBuf>,
}

impl Client {
    /// A client of the host that `args` name. Nothing is sent yet.
    pub(crate) fn new(args: &ClientArgs) -> anyhow::Result<Self> {
        Self::at(args.address())
    }

    /// A client of the host at an address. Nothing is sent yet.
    pub(crate) fn at(address: Address) -> anyhow::Result<Self> {
        let Address { server, token, file } = address;
        let uri = server.parse::<Uri>().ok().filter(|uri| {
            let is_http = uri.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https");
            is_http && uri.host().is_some() && matches!(uri.path(), "" | "/") && uri.query().is_none()
        });
        let Some(uri) = uri else {
            let message = format!("`{server}` is not the address of a host");
            return Err(Failure::bad_input(message, "give --server http://HOST:PORT").into());
        };
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("backroom/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_write(Some(WRITE_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT));
        if uri.host().is_some_and(is_loopback) {
            config = config.proxy(None);
        }
        let wire = Wire::default();
        Ok(Self { agent: wire.agent(config.build()), wire, server, token, file })
    }

    /// The host's address, for messages.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Submits a job. `wait` is how long the host may wait for its end before it answers.
    pub(crate) fn submit(
        &self,
        job: &SubmitBody,
        idempotency_key: Option<&str>,
        wait: Option<Duration>,
    ) -> anyhow::Result<Answer<JobView>> {
        let mut request = self.with_token(self.agent.post(self.url("/v1/jobs")));
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(wait) = wait {
            request = request.query("wait", wait.as_secs().to_string());
        }
        self.read(request.content_type("application/json").send(serde_json::to_vec(job)?))
    }

    /// Submits the jobs of some NDJSON lines, all or none.
    pub(crate) fn submit_bulk(&self, lines: &[u8]) -> anyhow::Result<Answer<BulkView>> {
        let request = self.with_token(self.agent.post(self.url("/v1/jobs/bulk")));
        self.read(self.asking_first(request.content_type("application/x-ndjson"), lines).send(lines))
    }

    /// Submits a batch, all of its jobs or none.
    pub(crate) fn submit_batch(&self, new: &NewBatch<'_>) -> anyhow::Result<Answer<BatchView>> {
        let NewBatch { name, allowed_failures, on_complete, lines } = new;
        let allowed_failures = allowed_failures.map(|allowed| allowed.to_string());
        let params =
            [("name", *name), ("allowed_failures", allowed_failures.as_deref()), ("on_complete", *on_complete)];
        let given = params.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let request = self.with_token(self.agent.post(self.url("/v1/batches"))).query_pairs(given);
        self.read(self.asking_first(request.content_type("application/x-ndjson"), lines).send(*lines))
    }

    /// Shows a batch.
    pub(crate) fn batch(&self, id: &str) -> anyhow::Result<Answer<BatchView>> {
        self.get(&format!("/v1/batches/{}", segment(id)))
    }

    /// Runs the failed jobs of a batch again.
    pub(crate) fn retry_failed(&self, id: &str, body: &SteerBody) -> anyhow::Result<Answer<BatchView>> {
        self.post_json(&format!("/v1/batches/{}/retry-failed", segment(id)), body)
    }

    /// Lists jobs, newest first.
    pub(crate) fn jobs(&self, query: &JobQuery<'_>) -> anyhow::Result<Answer<JobPageView>> {
        let request = self.with_token(self.agent.get(self.url("/v1/jobs")));
        self.read(request.query_pairs(query.params.iter().map(|(name, value)| (*name, value.as_str()))).call())
    }

    /// Shows a job.
    pub(crate) fn job(&self, id: &str) -> anyhow::Result<Answer<JobView>> {
        self.get(&format!("/v1/jobs/{}", segment(id)))
    }

    /// The runs of a job.
    pub(crate) fn attempts(&self, id: &str) -> anyhow::Result<Answer<AttemptsView>> {
        self.get(&format!("/v1/jobs/{}/attempts", segment(id)))
    }

    /// What a job logged, in all of its runs or in those of one attempt.
    pub(crate) fn logs(&self, id: &str, attempt: Option<u32>) -> anyhow::Result<Vec<u8>> {
        let mut request = self.with_token(self.agent.get(self.url(&format!("/v1/jobs/{}/logs", segment(id)))));
        if let Some(attempt) = attempt {
            request = request.query("attempt", attempt.to_string());
        }
        self.read_bytes(request.call())
    }

    /// What a job returned.
    pub(crate) fn output(&self, id: &str) -> anyhow::Result<Vec<u8>> {
        self.read_bytes(self.with_token(self.agent.get(self.url(&format!("/v1/jobs/{}/output", segment(id))))).call())
    }

    /// The changes of a job as they happen, and what it logs, if that is wanted.
    pub(crate) fn changes(&self, id: &str, with_log: bool) -> anyhow::Result<Changes> {
        let url = self.url(&format!("/v1/jobs/{}/changes", segment(id)));
        let request = self.with_token(self.agent.get(url)).query_pairs(with_log.then_some(("logs", "true")));
        let request = request.config().timeout_per_read(Some(SILENCE_TIMEOUT)).build();
        let response = self.accepted(request.call())?;
        Ok(Changes { lines: Box::new(BufReader::new(response.into_body().into_reader())) })
    }

    /// Gives a command for one job: `cancel`, `pause`, `resume`, `postpone` or `retry`, each with its body.
    pub(crate) fn steer_job(&self, id: &str, verb: &str, body: &impl Serialize) -> anyhow::Result<Answer<JobView>> {
        self.post_json(&format!("/v1/jobs/{}/{verb}", segment(id)), body)
    }

    /// Gives a command for all jobs that match, or counts them.
    pub(crate) fn act(&self, body: &ActionsBody) -> anyhow::Result<Answer<ActionsView>> {
        self.post_json("/v1/jobs/actions", body)
    }

    /// Who steered a job.
    pub(crate) fn audit(&self, id: &str) -> anyhow::Result<Answer<AuditView>> {
        self.get(&format!("/v1/jobs/{}/audit", segment(id)))
    }

    /// Why a job is not running.
    pub(crate) fn explain(&self, id: &str) -> anyhow::Result<Answer<ExplainView>> {
        self.get(&format!("/v1/jobs/{}/explain", segment(id)))
    }

    /// Failed jobs by what went wrong.
    pub(crate) fn failures(&self, limit: u32) -> anyhow::Result<Answer<FailuresView>> {
        self.get(&format!("/v1/failures?limit={limit}"))
    }

    /// How the queues do.
    pub(crate) fn queues(&self) -> anyhow::Result<Answer<QueueListView>> {
        self.get("/v1/queues")
    }

    /// Pauses or resumes a queue.
    pub(crate) fn steer_queue(
        &self,
        name: &str,
        verb: &str,
        why: &impl Serialize,
    ) -> anyhow::Result<Answer<QueueView>> {
        self.post_json(&format!("/v1/queues/{}/{verb}", segment(name)), why)
    }

    /// Removes finished jobs.
    pub(crate) fn purge<'a>(
        &self,
        asked: impl Iterator<Item = (&'static str, &'a String)>,
    ) -> anyhow::Result<Answer<PurgeView>> {
        let request = self.with_token(self.agent.post(self.url("/v1/jobs/purge")));
        self.read(request.query_pairs(asked).send_empty())
    }

    /// Removes a job that has ended.
    pub(crate) fn delete_job(&self, id: &str, reason: Option<&str>) -> anyhow::Result<()> {
        let request = self.with_token(self.agent.delete(self.url(&format!("/v1/jobs/{}", segment(id)))));
        self.accepted(request.query_pairs(reason.map(|reason| ("reason", reason))).call()).map(drop)
    }

    /// Uploads a version of a plug-in.
    pub(crate) fn upload(&self, component: Component<'_>) -> anyhow::Result<Answer<UploadView>> {
        let Component { name, version, manifest, bytes } = component;
        let url = self.url(&format!("/v1/plugins/{}/versions/{}", segment(name), segment(version)));
        let mut request = self.with_token(self.agent.put(url)).content_type("application/wasm");
        if let Some(manifest) = manifest {
            request = request.header("Backroom-Manifest", BASE64.encode(manifest));
        }
        self.read(self.asking_first(request, bytes).send(bytes))
    }

    /// Lists the plug-ins.
    pub(crate) fn plugins(&self) -> anyhow::Result<Answer<PluginListView>> {
        self.get("/v1/plugins")
    }

    /// Shows a plug-in.
    pub(crate) fn plugin(&self, name: &str) -> anyhow::Result<Answer<PluginView>> {
        self.get(&format!("/v1/plugins/{}", segment(name)))
    }

    /// Makes a version the one that jobs run.
    pub(crate) fn activate(&self, name: &str, version: &str) -> anyhow::Result<Answer<PluginView>> {
        let body = ActivateBody { version: version.to_owned() };
        self.post_json(&format!("/v1/plugins/{}/activate", segment(name)), &body)
    }

    /// Grants a plug-in capabilities.
    pub(crate) fn grant(&self, name: &str, grants: &GrantBody) -> anyhow::Result<Answer<PluginView>> {
        self.post_json(&format!("/v1/plugins/{}/grants", segment(name)), grants)
    }

    /// Takes back what was granted by a command.
    pub(crate) fn revoke(&self, name: &str, grants: &RevokeBody) -> anyhow::Result<Answer<PluginView>> {
        self.post_json(&format!("/v1/plugins/{}/grants/revoke", segment(name)), grants)
    }

    /// Pauses or resumes a plug-in.
    pub(crate) fn hold_plugin(
        &self,
        name: &str,
        verb: &str,
        why: &impl Serialize,
    ) -> anyhow::Result<Answer<PluginView>> {
        self.post_json(&format!("/v1/plugins/{}/{verb}", segment(name)), why)
    }

    /// Does something with a plug-in that needs no more words: `rollback`, `enable`, `disable`.
    pub(crate) fn steer_plugin(&self, name: &str, verb: &str) -> anyhow::Result<Answer<PluginView>> {
        self.post(&format!("/v1/plugins/{}/{verb}", segment(name)))
    }

    /// Removes a plug-in; `force` also when unfinished jobs need it.
    pub(crate) fn remove_plugin(&self, name: &str, force: Force) -> anyhow::Result<()> {
        let mut request = self.with_token(self.agent.delete(self.url(&format!("/v1/plugins/{}", segment(name)))));
        if force == Force::Yes {
            request = request.query("force", "true");
        }
        self.accepted(request.call()).map(drop)
    }

    /// Makes a schedule, or replaces what one says.
    /// Whether it is a new one comes with it.
    pub(crate) fn put_schedule(
        &self,
        name: &str,
        schedule: &ScheduleBody,
    ) -> anyhow::Result<(bool, Answer<ScheduleView>)> {
        let request = self.with_token(self.agent.put(self.url(&format!("/v1/schedules/{}", segment(name)))));
        let put = self.accepted(request.content_type("application/json").send(serde_json::to_vec(schedule)?))?;
        Ok((put.status() == 201, self.read(Ok(put))?))
    }

    /// Lists the schedules.
    pub(crate) fn schedules(&self) -> anyhow::Result<Answer<ScheduleListView>> {
        self.get("/v1/schedules")
    }

    /// Shows a schedule.
    pub(crate) fn schedule(&self, name: &str) -> anyhow::Result<Answer<ScheduleView>> {
        self.get(&format!("/v1/schedules/{}", segment(name)))
    }

    /// Does something with a schedule that needs no more words: `pause`, `resume`.
    pub(crate) fn steer_schedule(&self, name: &str, verb: &str) -> anyhow::Result<Answer<ScheduleView>> {
        self.post(&format!("/v1/schedules/{}/{verb}", segment(name)))
    }

    /// Makes a job beside the rule.
    pub(crate) fn run_schedule(&self, name: &str) -> anyhow::Result<Answer<JobView>> {
        self.post(&format!("/v1/schedules/{}/run", segment(name)))
    }

    /// Lets the next occurrence run at another time.
    pub(crate) fn postpone_schedule(
        &self,
        name: &str,
        body: &PostponeScheduleBody,
    ) -> anyhow::Result<Answer<ScheduleView>> {
        self.post_json(&format!("/v1/schedules/{}/postpone", segment(name)), body)
    }

    /// Makes the jobs of past occurrences that have none yet.
    pub(crate) fn backfill_schedule(&self, name: &str, span: &BackfillBody) -> anyhow::Result<Answer<BackfillView>> {
        self.post_json(&format!("/v1/schedules/{}/backfill", segment(name)), span)
    }

    /// Removes a schedule.
    pub(crate) fn remove_schedule(&self, name: &str) -> anyhow::Result<()> {
        let url = self.url(&format!("/v1/schedules/{}", segment(name)));
        self.accepted(self.with_token(self.agent.delete(url)).call()).map(drop)
    }

    /// How the host is doing.
    pub(crate) fn service(&self) -> anyhow::Result<Answer<ServiceView>> {
        self.get("/v1/service")
    }

    /// Pauses, resumes or drains the host.
    pub(crate) fn steer_service(&self, verb: &str, why: &SteerBody) -> anyhow::Result<Answer<ServiceView>> {
        self.post_json(&format!("/v1/service/{verb}"), why)
    }

    /// How many jobs stand where.
    pub(crate) fn counts(&self) -> anyhow::Result<Answer<CountsView>> {
        self.get("/v1/counts")
    }

    /// Makes a token.
    pub(crate) fn create_token(&self, token: &TokenBody) -> anyhow::Result<Answer<NewTokenView>> {
        self.post_json("/v1/tokens", token)
    }

    /// Lists the tokens.
    pub(crate) fn tokens(&self) -> anyhow::Result<Answer<TokenListView>> {
        self.get("/v1/tokens")
    }

    /// Takes a token back; the last one only when that is said.
    pub(crate) fn revoke_token(&self, name: &str, last: bool) -> anyhow::Result<()> {
        let url = self.url(&format!("/v1/tokens/{}", segment(name)));
        let request = self.with_token(self.agent.delete(url));
        self.accepted(request.query_pairs(last.then_some(("last", "true"))).call()).map(drop)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server)
    }

    fn with_token<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        self.wire.begin();
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Answer<T>> {
        self.read(self.with_token(self.agent.get(self.url(path))).call())
    }

    fn post<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Answer<T>> {
        self.read(self.with_token(self.agent.post(self.url(path))).send_empty())
    }

    fn post_json<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<Answer<T>> {
        let request = self.with_token(self.agent.post(self.url(path)));
        self.read(request.content_type("application/json").send(serde_json::to_vec(body)?))
    }

    fn read<T: DeserializeOwned>(&self, sent: Result<Response<Body>, ureq::Error>) -> anyhow::Result<Answer<T>> {
        let response = self.accepted(sent)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = String::from_utf8_lossy(&self.whole(response)?).into_owned();
        let view = serde_json::from_str(&text).map_err(|error| {
            tracing::debug!(%error, "the answer is not what this program reads");
            unanswered::not_ours(self.peer(), status, &headers, &text)
        })?;
        Ok(Answer { repeated: headers.contains_key("idempotent-replayed"), text, view })
    }

    fn read_bytes(&self, sent: Result<Response<Body>, ureq::Error>) -> anyhow::Result<Vec<u8>> {
        self.whole(self.accepted(sent)?)
    }

    /// The body of an answer. The request was carried out, whatever becomes of the rest of the answer.
    fn whole(&self, mut response: Response<Body>) -> anyhow::Result<Vec<u8>> {
        let read = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        read.map_err(|error| {
            let message = format!("the answer of {} broke off; what was asked for is done", self.server);
            let failure = Failure { fate: Fate::Done, ..Failure::new(code::NO_ANSWER, message) };
            anyhow::Error::new(error)
                .context(failure.with_next("do not repeat a command that makes something; ask again"))
        })
    }

    /// The response, unless it is an error.
    fn accepted(&self, sent: Result<Response<Body>, ureq::Error>) -> anyhow::Result<Response<Body>> {
        let mut response = sent.map_err(|error| {
            let mut failure = unanswered::explained(self.peer(), &error);
            let note = |file: &PathBuf| format!("the address is that of {}", file.display());
            failure.notes.extend(self.file.as_ref().map(note));
            anyhow::Error::new(error).context(failure)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let body = response.body_mut().with_config().limit(1 << 20).read_to_string().unwrap_or_default();
        let (status, headers) = (response.status(), response.headers());
        match serde_json::from_str::<Problem>(&body) {
            Ok(problem) if problem.code.starts_with("BR") => {
                let mut failure = Failure::from(problem);
                let retry_after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                failure.notes.extend(retry_after.map(unanswered::try_again));
                Err(failure.into())
            }
            _ => Err(unanswered::not_ours(self.peer(), status, headers, &body).into()),
        }
    }

    /// The same request, sent only as far as its headers until the host wants the body, where that is large.
    fn asking_first(&self, request: RequestBuilder<WithBody>, body: &[u8]) -> RequestBuilder<WithBody> {
        if body.len() < ASK_FIRST_BYTES {
            return request;
        }
        self.wire.expect(body.len());
        request.header("Expect", "100-continue")
    }

    fn peer(&self) -> Peer<'_> {
        let by_proxy = self.agent.config().proxy().is_some();
        Peer { server: &self.server, by_proxy, is_connected: self.wire.is_connected(), is_cut: self.wire.is_cut() }
    }
}

/// Whether something is done although it costs something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    No,
    Yes,
}

/// The events of a stream.
pub(crate) struct Changes {
    lines: Box<dyn BufRead + Send>,
}

/// One event of a job's stream.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// The job as it is now.
    Job(Box<Answer<JobView>>),
    /// What it has logged since.
    Log(LogView),
    /// It is gone.
    Deleted,
}

impl Changes {
    /// The next event; none when the host ends the stream.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Change>> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).context("the stream broke off")? == 0 {
                return Ok(None);
            }
            let line = line.trim_end_matches(['\n', '\r']);
            match line.split_once(':').map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value))) {
                Some(("event", value)) => name = value.to_owned(),
                Some(("data", value)) => data.push_str(value),
                None if line.is_empty() && !data.is_empty() => match name.as_str() {
                    "job" => {
                        let view = serde_json::from_str(&data)
                            .context("the host tells of a job in a form that is not ours")?;
                        return Ok(Some(Change::Job(Box::new(Answer { repeated: false, text: data, view }))));
                    }
                    "log" => {
                        let log =
                            serde_json::from_str(&data).context("the host sends a log in a form that is not ours")?;
                        return Ok(Some(Change::Log(log)));
                    }
                    "deleted" => return Ok(Some(Change::Deleted)),
                    _ => (name, data) = (String::new(), String::new()),
                },
                _ => {}
            }
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Text made fit for one segment of a path (RFC 3986 section 2.1).
fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::super::failure::Exit;
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        for (text, expected) in [("echo", "echo"), ("a/b?c#d", "a%2Fb%3Fc%23d"), ("\u{e4} %", "%C3%A4%20%25")] {
            assert_eq!(segment(text), expected);
        }
    }

    #[test]
    fn events_are_read_one_by_one() {
        let text = ": keep-alive\n\nevent: other\ndata: {}\n\nevent: deleted\ndata: {\"id\":\"x\"}\n\nevent: deleted\n";
        let mut changes = Changes { lines: Box::new(text.as_bytes()) };
        assert!(matches!(changes.next(), Ok(Some(Change::Deleted))));
        assert!(matches!(changes.next(), Ok(None)));
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for server in ["127.0.0.1:7171", "ftp://host", "http://", "http://host/path", "http://host?x=1"] {
            let args = ClientArgs { server: Some(server.to_owned()), token: None };
            let error = Client::new(&args).expect_err(server);
            let failure = error.downcast_ref::<Failure>().expect("a failure of ours");
            assert_eq!(failure.exit, Exit::BadInput, "{server}");
        }
    }
}
