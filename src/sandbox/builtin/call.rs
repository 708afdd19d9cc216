//! The built-in handler `http`: one slice is one call of a URL. No redirect is followed: what was meant for one receiver, and
//! may be signed for it, goes to no other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use parking_lot::Mutex;

use super::exchange::{self, Answer, ExchangeError};
use super::output;
use super::sign::signatures;
use crate::clock::Clock;
use crate::domain::advice;
use crate::domain::code::{self, Code};
use crate::domain::failure::{ErrorClass, Failure};
use crate::domain::limits::{Axis, Usage};
use crate::domain::outbound::{
    BadRequest, Coverage, HttpRequest, Meaning, Origin, SigningKey, SigningKeys, coverage, leads_elsewhere, retry_after,
};
use crate::sandbox::bill::Bill;
use crate::sandbox::log::{Log, Source};
use crate::sandbox::outbound::{ConnectError, Connector};
use crate::sandbox::{LiveLog, LogPart, Signal, SignalLine, Slice, SliceEnd, SliceReport, text};

/// How often a call that waits looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(10);

/// Bytes of an unwelcome answer that its failure quotes.
const EXCERPT_BYTES: u64 = 1 << 10;

const USER_AGENT: &str = concat!("backroom/", env!("CARGO_PKG_VERSION"));

/// Calls URLs for jobs of the built-in handler `http`.
pub struct HttpCaller {
    connector: Connector,
    keys: SigningKeys,
    clock: Arc<dyn Clock>,
}

impl HttpCaller {
    /// A caller that reaches out through `connector` and signs what it sends to those who have keys.
    pub fn new(connector: Connector, keys: SigningKeys, clock: Arc<dyn Clock>) -> Self {
        Self { connector, keys, clock }
    }

    /// Runs one slice to its end: the answer, the wall-clock limit, or a signal.
    pub(crate) async fn run(&self, slice: Slice) -> SliceReport {
        let start = Instant::now();
        let log = Arc::new(CallLog(Mutex::new(Log::new(start, slice.limits.log_bytes))));
        slice.signals.share_log(Arc::clone(&log) as Arc<dyn LiveLog>);
        let bill = Bill::default();
        let mut call = Call { caller: self, slice: &slice, log: &log, requests: 0, bill: bill.clone() };
        let wall = slice.limits.wall;
        let end = tokio::select! {
            end = bill.of(call.run()) => end,
            stop = stopped(&slice.signals) => stop,
            () = tokio::time::sleep(wall) => {
                let failure = out_of_time(code::TIMED_OUT, "a run may take", wall);
                let needed = Axis::Wall.of(&slice.limits).saturating_mul(2);
                SliceEnd::TimedOut(failure.with_detail(more(&slice, Axis::Wall, needed)))
            }
        };
        match &end {
            SliceEnd::Canceled(_) | SliceEnd::Killed | SliceEnd::TimedOut(_) if call.requests > 0 => {
                call.note("stopped before an answer came; the other side may have taken the request all the same");
            }
            _ => {}
        }
        let requests = call.requests;
        let log = log.0.lock();
        let usage = Usage {
            cpu_micros: u64::try_from(bill.sum().as_micros()).unwrap_or(u64::MAX),
            wall_micros: u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
            host_calls: requests.into(),
            log_bytes: log.written(),
            ..Usage::default()
        };
        SliceReport { end, usage, log: log.to_bytes() }
    }
}

/// The log of a call, for others to read while it goes on.
struct CallLog(Mutex<Log>);

impl LiveLog for CallLog {
    fn since(&self, line: u64) -> LogPart {
        self.0.lock().since(line)
    }
}

/// Waits for a signal that ends a call. A pause or a shutdown lets it come to its end: half a request is no safe point.
async fn stopped(signals: &SignalLine) -> SliceEnd {
    loop {
        match signals.signal() {
            Signal::Kill => return SliceEnd::Killed,
            Signal::Cancel => return SliceEnd::Canceled("it was called off before an answer came".to_owned()),
            Signal::None | Signal::Pause | Signal::Shutdown => tokio::time::sleep(LOOK).await,
        }
    }
}

/// One call under way.
struct Call<'a> {
    caller: &'a HttpCaller,
    slice: &'a Slice,
    log: &'a CallLog,
    requests: u32,
    bill: Bill,
}

/// A call that ends without an answer that could be judged.
type Ended<T> = Result<T, SliceEnd>;

impl Call<'_> {
    async fn run(&mut self) -> SliceEnd {
        let request = match HttpRequest::parse(&self.slice.input) {
            Ok(request) => request,
            Err(BadRequest { field, why }) => {
                let message = format!("field `{field}` of the input is not acceptable");
                let failure = Failure::host(ErrorClass::UserFixable, code::BAD_CALL, message);
                return SliceEnd::Failed(failure.with_detail(why));
            }
        };
        let Some(limit) = request.timeout else { return self.exchange(&request).await };
        match tokio::time::timeout(limit, self.exchange(&request)).await {
            Ok(end) => end,
            Err(_) => SliceEnd::Failed(out_of_time(code::CALL_FAILED, "its `timeout` allows", limit)),
        }
    }

    /// Sends the request and judges the answer.
    async fn exchange(&mut self, request: &HttpRequest) -> SliceEnd {
        match self.send(request).await {
            Ok(answer) => self.conclude(request, answer).await,
            Err(end) => end,
        }
    }

    /// How long the other side asks to be left alone.
    fn asked_wait(&self, answer: &Answer) -> Option<Duration> {
        retry_after(answer.header(&header::RETRY_AFTER)?, self.caller.clock.now())
    }

    async fn send(&mut self, request: &HttpRequest) -> Ended<Answer> {
        let coverage = self.admit(request)?;
        self.requests += 1;
        let began = Instant::now();
        let keys = self.caller.keys.of(request.url.origin());
        let headers = self.headers(request, keys);
        let sent = exchange::send(&self.caller.connector, request, coverage, headers, &self.bill).await;
        let what = match &sent {
            Ok(answer) => answer.status().as_u16().to_string(),
            Err(error) => format!("no answer: {error}"),
        };
        let (method, url) = (&request.method, request.url.shown());
        let signed = match keys.len() {
            0 => String::new(),
            1 => ", signed".to_owned(),
            count => format!(", signed with {count} keys"),
        };
        self.note(&format!("{method} {url} -> {what} ({} ms{signed})", began.elapsed().as_millis()));
        sent.map_err(|error| self.no_answer(request, &error))
    }

    /// Decides about a request before anything of it leaves the host.
    fn admit(&mut self, request: &HttpRequest) -> Ended<Coverage> {
        let limit = self.slice.limits.outbound_requests;
        if self.requests >= limit {
            let message = format!("too many outbound requests: `outbound_requests` allows {limit}");
            return Err(self.breached(code::HOST_CALL_LIMIT, message, Axis::OutboundRequests));
        }
        let origin = request.url.origin();
        coverage(self.slice.grants.iter(), origin).ok_or_else(|| {
            self.note(&format!("refused {} {}: not granted", request.method, request.url.shown()));
            not_granted(origin, self.slice)
        })
    }

    /// The headers that the host adds. The key stays the same over all attempts, so that the other side can tell a
    /// repeated request from a new one; the time of a signature is that of the attempt.
    fn headers(&self, request: &HttpRequest, keys: &[SigningKey]) -> HeaderMap {
        let job = self.slice.job.to_string();
        let mut headers = HeaderMap::new();
        let mut add = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        add("user-agent", USER_AGENT);
        add("idempotency-key", &job);
        add("backroom-job", &job);
        add("backroom-attempt", &self.slice.attempt.to_string());
        if !keys.is_empty() {
            let seconds = self.caller.clock.now().as_micros().div_euclid(1_000_000);
            let body = request.body.as_deref().unwrap_or_default();
            add("webhook-id", &job);
            add("webhook-timestamp", &seconds.to_string());
            add("webhook-signature", &signatures(keys, &job, seconds, body));
        }
        headers
    }

    /// What an answer means for the job.
    async fn conclude(&mut self, request: &HttpRequest, mut answer: Answer) -> SliceEnd {
        let status = answer.status().as_u16();
        match Meaning::of(request, status, self.asked_wait(&answer)) {
            Meaning::Success => self.succeed(request, answer).await,
            Meaning::SlowDown(wait) => {
                SliceEnd::Retry(wait, unwelcome(request, &mut answer, ErrorClass::Throttled, code::CALL_FAILED).await)
            }
            Meaning::Later(wait) => {
                let failure = unwelcome(request, &mut answer, ErrorClass::Transient, code::CALL_FAILED).await;
                SliceEnd::Retry(Some(wait), failure)
            }
            Meaning::Failure(class) => {
                let code = if class == ErrorClass::Transient { code::CALL_FAILED } else { code::CALL_REFUSED };
                SliceEnd::Failed(unwelcome(request, &mut answer, class, code).await)
            }
        }
    }

    async fn succeed(&mut self, request: &HttpRequest, mut answer: Answer) -> SliceEnd {
        let limit = self.slice.limits.output_bytes;
        let too_large = || {
            let message = format!(
                "output too large: the answer of {} does not fit into {}, which `output` allows",
                request.url.origin().as_grant(),
                text::bytes(limit)
            );
            self.breached(code::OUTPUT_TOO_LARGE, message, Axis::Output)
        };
        let body = match answer.body(limit).await {
            Ok(body) if body.is_cut => return too_large(),
            Ok(body) => body.bytes,
            Err(error) => {
                self.note(&format!("the body broke off: {error}"));
                return self.no_answer(request, &error);
            }
        };
        let output: Bytes = output::of(answer.status().as_u16(), answer.headers(), &body);
        if output.len() as u64 > limit { too_large() } else { SliceEnd::Succeeded(output) }
    }

    fn no_answer(&self, request: &HttpRequest, error: &ExchangeError) -> SliceEnd {
        let message = format!("{}: {error}", named(request));
        let (class, code) = match error {
            ExchangeError::Connect(ConnectError::Forbidden { address, .. }) => {
                let reach = advice::reach(self.slice.sides(), request.url.origin(), *address);
                let message = format!("{message}. {reach}");
                return failed(ErrorClass::UserFixable, code::ORIGIN_NOT_GRANTED, message);
            }
            ExchangeError::Unsendable(_) => (ErrorClass::UserFixable, code::BAD_CALL),
            _ => (ErrorClass::Transient, code::CALL_FAILED),
        };
        SliceEnd::Failed(Failure::host(class, code, message).with_detail(whole(request)))
    }

    /// A call that needs more of an axis than it may have.
    fn breached(&self, code: Code, message: String, axis: Axis) -> SliceEnd {
        let needed = axis.of(&self.slice.limits).max(1).saturating_mul(2);
        let failure = Failure::host(ErrorClass::Fatal, code, message);
        SliceEnd::Failed(failure.with_detail(more(self.slice, axis, needed)))
    }

    fn note(&mut self, line: &str) {
        self.log.0.lock().message(Source::Host, "", line);
    }
}

fn failed(class: ErrorClass, code: Code, message: impl Into<String>) -> SliceEnd {
    SliceEnd::Failed(Failure::host(class, code, message))
}

/// What allows more of an axis.
fn more(slice: &Slice, axis: Axis, needed: u64) -> String {
    format!("To allow more:\n{}", advice::allow_more(slice.sides(), axis, needed))
}

/// What the operator would have to grant, word for word.
fn not_granted(origin: &Origin, slice: &Slice) -> SliceEnd {
    let advice = advice::allow_origin(slice.sides(), origin);
    let message = format!("{} is not granted. To allow it:\n{advice}", origin.as_grant());
    failed(ErrorClass::UserFixable, code::ORIGIN_NOT_GRANTED, message)
}

fn out_of_time(code: Code, limit: &str, span: Duration) -> Failure {
    let message = format!("no answer within {} ms, which is what {limit}", span.as_millis());
    Failure::host(ErrorClass::Transient, code, message)
}

/// A request by its method and origin: path and query belong to the input, which not everybody may see who sees messages
/// (F007).
fn named(request: &HttpRequest) -> String {
    format!("{} {}", request.method, request.url.origin().as_grant())
}

/// A reference for people: the query may hold a secret.
fn without_query(reference: &str) -> String {
    reference.split_once('?').map_or_else(|| reference.to_owned(), |(before, _)| format!("{before}?..."))
}

/// A request for those who may see the input, without the query, which may hold a secret.
fn whole(request: &HttpRequest) -> String {
    format!("It was {} {}", request.method, request.url.shown())
}

/// What an answer that is no success makes of the job; where it leads to, and the beginning of its body, are details.
async fn unwelcome(request: &HttpRequest, answer: &mut Answer, class: ErrorClass, code: Code) -> Failure {
    let mut message = format!("{} was answered with {}", named(request), answer.status());
    let mut detail = whole(request);
    if leads_elsewhere(answer.status().as_u16()) {
        message.push_str(", and no redirect is followed. Call what it leads to, or name the status under `expect`");
        if let Some(location) = answer.header(&header::LOCATION) {
            detail.push_str(&format!(", which leads to {}", text::line(&without_query(location), 500)));
        }
    }
    let body = answer.body(EXCERPT_BYTES).await;
    let excerpt = match &body {
        Ok(body) => match std::str::from_utf8(&body.bytes) {
            Ok(text) => text.trim().to_owned(),
            // A character may be cut in two at the end; anything else is no text.
            Err(error) if body.is_cut && error.error_len().is_none() => {
                String::from_utf8_lossy(&body.bytes[..error.valid_up_to()]).trim().to_owned()
            }
            Err(_) => "(no text)".to_owned(),
        },
        Err(_) => String::new(),
    };
    let gap = if excerpt.is_empty() { "" } else { ". The answer was:\n" };
    let detail = text::neutral(&format!("{detail}{gap}{excerpt}"), 2 << 10);
    Failure::host(class, code, message).with_detail(detail)
}
