//! One job or a list of them: submit, show, look inside.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::header::{
    CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::caller::{check_job, check_some, check_submit};
use super::error::ApiError;
use super::intake::Intake;
use super::json::unknown_name;
use super::params::{Params, number_within};
use super::turns::RequestTurn;
use super::view::{AttemptView, AttemptsView, FilterBody, JobFacts, JobPageView, JobView, Output, Problem, SubmitBody};
use super::{ApiState, body, filter, intake, json};
use crate::app::Host;
use crate::domain::access::{Caller, Right};
use crate::domain::code;
use crate::domain::id::{JobId, Sequence, TenantId};
use crate::domain::job::{Job, Payload, Run, Status};
use crate::domain::query::{JobQuery, Page};
use crate::jobs::{NewJob, Submitted};
use crate::store::ReadError;

/// The header that makes a repeated submit return the first job.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Tells that a submit was a repeated one.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The longest wait for a job's end, in seconds.
const WAIT_SECONDS_MAX: u64 = 60;

const PAGE_JOBS: u64 = 50;
const PAGE_JOBS_MAX: u64 = 200;

/// How many bounded queries one page may take when few jobs match.
const QUERIES_PER_PAGE: usize = 16;

/// Takes a job.
#[utoipa::path(
    post,
    path = "/v1/jobs",
    tag = "jobs",
    operation_id = "jobs_submit",
    params(
        ("wait" = Option<u64>, Query, description = "Answer when the job has ended, at most after so many seconds (60)"),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the first job; kept for 24 hours"),
    ),
    request_body = SubmitBody,
    responses(
        (status = 201, description = "Taken", body = JobView),
        (status = 200, description = "Repeated: the first job of the Idempotency-Key", body = JobView),
        (status = 202, description = "Taken, and not ended within `wait`", body = JobView),
        (status = "default", description = "Not done; `application/problem+json`", body = Problem),
    )
)]
pub(super) async fn submit(
    State(state): State<ApiState>,
    caller: Caller,
    turn: Option<Extension<RequestTurn>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    check_submit(&caller)?;
    let params = Params::of(&uri, &["wait"])?;
    let wait = params.read("wait", |text| number_within(text, 0, WAIT_SECONDS_MAX))?;
    let key = idempotency_key(&headers)?;
    let bytes = body::read(&headers, body, body::BODY_BYTES_MAX).await?;
    let asked: SubmitBody = json::parse(&bytes, SubmitBody::FIELDS)?;
    let new = intake::new_job(&Intake::of(&state, &caller), asked)?;
    let Submitted { job, repeated } = take(&state, new, key).await?;
    let place = wait.and_then(|_| state.turns().wait());
    let job = match wait.filter(|_| place.is_some()) {
        Some(seconds) => {
            // Whoever waits does nothing: others may have the request's place meanwhile.
            turn.iter().for_each(|turn| turn.end());
            let waited = wait_for_end(&state, job, Duration::from_secs(seconds)).await?;
            state.check_again(&caller)?;
            waited
        }
        None => job,
    };
    let status = match (wait, repeated) {
        (Some(_), _) if !job.state.status.is_final() => StatusCode::ACCEPTED,
        (_, true) => StatusCode::OK,
        (_, false) => StatusCode::CREATED,
    };
    let view = shown(&state, &caller, job).await?;
    let location = HeaderValue::from_str(&format!("/v1/jobs/{}", view.id));
    let mut response = (status, Json(view)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    if repeated {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Submits a job. Keeping an input that is a blob of its own waits for the disk, so that is done on another thread.
async fn take(state: &ApiState, new: NewJob, key: Option<String>) -> Result<Submitted, ApiError> {
    if new.input.len() <= Payload::INLINE_BYTES_MAX {
        return Ok(state.host().jobs.submit(new, key.as_deref()).await?);
    }
    let runtime = tokio::runtime::Handle::current();
    state.blocking(move |host| runtime.block_on(host.jobs.submit(new, key.as_deref()))).await
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::field("Idempotency-Key", "the header Idempotency-Key stands there twice"));
    }
    let key = value.to_str();
    let key =
        key.map_err(|_| ApiError::field("Idempotency-Key", "the header Idempotency-Key holds more than ASCII"))?;
    Ok(Some(key.to_owned()))
}

async fn wait_for_end(state: &ApiState, job: Job, patience: Duration) -> Result<Job, ApiError> {
    let present = job.clone();
    tokio::select! {
        ended = state.host().jobs.wait(job, patience) => Ok(ended?),
        () = state.closed() => Ok(present),
    }
}

/// Shows one job.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}",
    tag = "jobs",
    operation_id = "jobs_show",
    params(
        ("id" = String, Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "The job", body = JobView),
        (status = "default", description = "Not done; `application/problem+json`", body = Problem),
    )
)]
pub(super) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<JobView>, ApiError> {
    Params::of(&uri, &[])?;
    let job = found(&state, &caller, Right::Read, &id).await?;
    Ok(Json(shown(&state, &caller, job).await?))
}

/// Lists jobs, newest first unless `sort` says otherwise.
#[utoipa::path(
    get,
    path = "/v1/jobs",
    tag = "jobs",
    operation_id = "jobs_list",
    params(
        FilterBody,
        ("sort" = Option<String>, Query, description = "`newest` first, or `oldest`, by their submits; `newest` when absent"),
        ("limit" = Option<u64>, Query, description = "1 to 200, 50 when absent"),
        ("cursor" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = JobPageView),
        (status = "default", description = "Not done; `application/problem+json`", body = Problem),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<JobPageView>, ApiError> {
    check_some(&caller, Right::Read)?;
    let (query, sort) = list_query(state.tenant(), &uri)?;
    let Some(filter) = caller.narrow(Right::Read, query.filter) else { return Ok(Json(JobPageView::default())) };
    let query = JobQuery { filter, ..query };
    let page = state.blocking(move |host| page_of(host, &caller, query, sort)).await?;
    Ok(Json(page))
}

/// Which jobs come first.
#[derive(Clone, Copy)]
enum Sort {
    Newest,
    Oldest,
}

/// What the cursors of pages with the oldest jobs first start with.
const OLDEST_CURSOR: &str = "o";

fn sort(text: &str) -> Result<Sort, String> {
    match text {
        "newest" => Ok(Sort::Newest),
        "oldest" => Ok(Sort::Oldest),
        _ => Err(unknown_name("order", text, &["newest", "oldest"])),
    }
}

fn list_query(tenant: TenantId, uri: &Uri) -> Result<(JobQuery, Sort), ApiError> {
    let known: Vec<_> = filter::FIELDS.iter().chain(&["sort", "limit", "cursor"]).copied().collect();
    let params = Params::of(uri, &known)?;
    let limit = params.read("limit", |text| number_within(text, 1, PAGE_JOBS_MAX))?.unwrap_or(PAGE_JOBS);
    let limit = usize::try_from(limit).unwrap_or(1);
    let sort = params.read("sort", sort)?.unwrap_or(Sort::Newest);
    let before = params.read("cursor", |text| cursor_of(sort, text))?;
    Ok((JobQuery { tenant, filter: filter::read(&params)?, before, limit }, sort))
}

/// A cursor of the same order: that of the other would silently leave jobs out.
fn cursor_of(sort: Sort, text: &str) -> Result<Sequence, String> {
    match (sort, text.strip_prefix(OLDEST_CURSOR)) {
        (Sort::Newest, None) => cursor(text),
        (Sort::Oldest, Some(cursor_text)) => cursor(cursor_text),
        _ => Err("it is the cursor of a page in the other order".to_owned()),
    }
}

pub(super) fn cursor(text: &str) -> Result<Sequence, String> {
    let number = text.strip_prefix('c').and_then(|digits| u64::from_str_radix(digits, 36).ok());
    number.map(Sequence).ok_or_else(|| "it is not a cursor that a page named as `next`".to_owned())
}

pub(super) fn cursor_text(sequence: Sequence) -> String {
    let mut digits = Vec::new();
    let mut rest = sequence.0;
    loop {
        let digit = u32::try_from(rest % 36).ok().and_then(|digit| char::from_digit(digit, 36));
        digits.push(digit.unwrap_or('0'));
        rest /= 36;
        if rest == 0 {
            break;
        }
    }
    digits.push('c');
    digits.iter().rev().collect()
}

/// Asks the store until the page is full, for one query looks at a bounded number of jobs only.
fn page_of(host: &Host, caller: &Caller, mut query: JobQuery, sort: Sort) -> Result<JobPageView, ReadError> {
    let mut jobs = Vec::new();
    let mut next = None;
    for _ in 0..QUERIES_PER_PAGE {
        let from = query.before.unwrap_or_default();
        let page = match sort {
            Sort::Newest => host.jobs.list(&query)?,
            Sort::Oldest => host.jobs.list_oldest(query.tenant, &query.filter, from, query.limit)?,
        };
        let Page { jobs: more, next: rest } = page;
        query.limit -= more.len().min(query.limit);
        jobs.extend(more.iter().map(|job| JobView::of(job, facts(host, caller, job))));
        next = rest;
        query.before = rest;
        if rest.is_none() || query.limit == 0 {
            break;
        }
    }
    let order = if matches!(sort, Sort::Oldest) { OLDEST_CURSOR } else { "" };
    Ok(JobPageView { jobs, next: next.map(|next| format!("{order}{}", cursor_text(next))) })
}

/// The runs of a job.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/attempts",
    tag = "jobs",
    operation_id = "jobs_attempts",
    params(
        ("id" = String, Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "Its runs", body = AttemptsView),
        (status = "default", description = "Not done; `application/problem+json`", body = Problem),
    )
)]
pub(super) async fn attempts(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<AttemptsView>, ApiError> {
    Params::of(&uri, &[])?;
    let job = found(&state, &caller, Right::Read, &id).await?;
    let shows_payload = caller.may(Right::Payload, &job.submission);
    let attempts = state.blocking(move |host| {
        let under_way = AttemptView::under_way(&job);
        let closed = host.jobs.runs(&job)?;
        let closed = closed.into_iter().map(|run| AttemptView::of(run, shows_payload));
        Ok::<_, ReadError>(closed.chain(under_way).collect())
    });
    Ok(Json(AttemptsView { attempts: attempts.await? }))
}

/// What a job logged, all of its runs or those of one attempt, as text.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/logs",
    tag = "jobs",
    operation_id = "jobs_logs",
    params(
        ("id" = String, Path, description = "The job"),
        ("attempt" = Option<u64>, Query, description = "Of this attempt only"),
    ),
    responses(
        (status = 200, description = "What it logged", body = String, content_type = "text/plain"),
        (status = "default", description = "Not done; `application/problem+json`", body = Problem),
    )
)]
pub(super) async fn logs(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::of(&uri, &["attempt"])?;
    let attempt = params.read("attempt", |text| number_within(text, 1, u64::from(u32::MAX)))?;
    let job = found(&state, &caller, Right::Payload, &id).await?;
    let attempts = job.state.attempt;
    if let Some(asked) = attempt
        && asked > u64::from(attempts)
    {
        return Err(ApiError::field("attempt", format!("there is no attempt {asked}; the job has {attempts}")));
    }
    let wanted = move |run: &Run| attempt.is_none_or(|attempt| u64::from(run.attempt) == attempt);
    let text = state.blocking(move |host| log_of(host, &job, wanted)).await?;
    Ok(raw("text/plain; charset=utf-8", "inline", text))
}

/// The most bytes of several logs in one answer. What is left out lies in the middle.
const LOGS_BYTES_MAX: u64 = 4 << 20;

/// How many logs of these sizes are taken from the front, and how many from the back.
fn head_and_tail(sizes: &[u64]) -> (usize, usize) {
    let fitting = |sizes: &mut dyn Iterator<Item = &u64>, room: u64| {
        let mut taken = 0_u64;
        sizes
            .take_while(|size| {
                taken = taken.saturating_add(**size);
                taken <= room
            })
            .count()
    };
    if fitting(&mut sizes.iter(), LOGS_BYTES_MAX) == sizes.len() {
        return (sizes.len(), 0);
    }
    let head = fitting(&mut sizes.iter(), LOGS_BYTES_MAX / 2);
    (head, fitting(&mut sizes[head..].iter().rev(), LOGS_BYTES_MAX / 2))
}

/// The logs one after another; where there are several, each begins with a line that says whose it is. Of more than fit, the
/// first and the last ones.
fn log_of(host: &Host, job: &Job, wanted: impl Fn(&Run) -> bool) -> Result<Bytes, ReadError> {
    let runs = host.jobs.runs(job)?;
    let logs: Vec<_> = runs.iter().filter(|run| wanted(run)).filter_map(|run| Some((run, run.log.as_ref()?))).collect();
    if let [(_, log)] = logs.as_slice() {
        return host.jobs.payload(log);
    }
    let sizes: Vec<u64> = logs.iter().map(|(_, log)| log.len()).collect();
    let (head, tail) = head_and_tail(&sizes);
    let left_out = logs.len() - head - tail;
    let mut text = Vec::new();
    for (index, (run, log)) in logs.into_iter().enumerate() {
        if left_out > 0 && index == head {
            let line = format!("--- the logs of {left_out} runs are left out here: ask for an attempt ---\n");
            text.extend_from_slice(line.as_bytes());
        }
        if (head..head + left_out).contains(&index) {
            continue;
        }
        text.extend_from_slice(format!("--- attempt {}, run {} ---\n", run.attempt, run.number).as_bytes());
        text.extend_from_slice(&host.jobs.payload(log)?);
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
    }
    Ok(text.into())
}

/// The bytes that the handler was given.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/input",
    tag = "jobs",
    operation_id = "jobs_input",
    params(
        ("id" = String, Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "The bytes", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", description = "Not done; `application/problem+json`", body = Problem),
    )
)]
pub(super) async fn input(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let job = found(&state, &caller, Right::Payload, &id).await?;
    let id = job.submission.id;
    let bytes = state.blocking(move |host| host.jobs.payload(&job.submission.input)).await?;
    Ok(payload(&format!("input-{id}"), bytes))
}

/// The bytes that the handler returned.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/output",
    tag = "jobs",
    operation_id = "jobs_output",
    params(
        ("id" = String, Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "The bytes", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", description = "Not done; `application/problem+json`", body = Problem),
    )
)]
pub(super) async fn output(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let job = found(&state, &caller, Right::Payload, &id).await?;
    let id = job.submission.id;
    let Some(output) = job.state.output.clone() else {
        let status = job.state.status;
        let yet = if status.is_final() { "" } else { " yet" };
        let error = ApiError::new(code::WRONG_STATE, format!("job {id} has no output{yet}: it is {status}"));
        return Err(error.with_next(format!("backroom job show {id}")));
    };
    let bytes = state.blocking(move |host| host.jobs.payload(&output)).await?;
    Ok(payload(&format!("output-{id}"), bytes))
}

/// Bytes that a plug-in or a caller made up: for saving, never for a browser to run.
fn payload(name: &str, bytes: Bytes) -> Response {
    let (content_type, ending) = match std::str::from_utf8(&bytes) {
        Ok(text) if !text.is_empty() && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
            ("application/json", "json")
        }
        Ok(_) => ("text/plain; charset=utf-8", "txt"),
        Err(_) => ("application/octet-stream", "bin"),
    };
    raw(content_type, &format!("attachment; filename=\"{name}.{ending}\""), bytes)
}

fn raw(content_type: &'static str, disposition: &str, bytes: Bytes) -> Response {
    let mut response = Body::from(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    if let Ok(disposition) = HeaderValue::from_str(disposition) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    response
}

/// The id in an address.
pub(super) fn job_id(text: &str) -> Result<JobId, ApiError> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        let detail = format!("`{shown}` is no job id; one looks like 01890a5d-ac96-774b-bcce-b302099a8057");
        ApiError::new(code::UNKNOWN_JOB, detail).with_next("backroom job list")
    })
}

/// The job of an id in an address, for a caller who may do this with it.
pub(super) async fn found(state: &ApiState, caller: &Caller, right: Right, id: &str) -> Result<Job, ApiError> {
    let (id, tenant) = (job_id(id)?, state.tenant());
    let job = state.blocking(move |host| host.jobs.get(tenant, id)).await?;
    let job = job.ok_or_else(|| unknown_job(id))?;
    check_job(caller, right, &job)?;
    Ok(job)
}

pub(super) fn unknown_job(id: JobId) -> ApiError {
    ApiError::new(code::UNKNOWN_JOB, format!("there is no job {id}")).with_next("backroom job list")
}

/// The whole view of one job, with its output where that is small and the caller may see it.
pub(super) async fn shown(state: &ApiState, caller: &Caller, job: Job) -> Result<JobView, ApiError> {
    let is_at_hand = match &job.state.output {
        None | Some(Payload::Inline(_)) => true,
        Some(Payload::Blob { bytes, .. }) => *bytes > Output::BYTES_MAX,
    };
    if is_at_hand && !may_be_blocked(&job) {
        return Ok(show_in(state.host(), caller, &job)?);
    }
    let (job, caller) = (Arc::new(job), caller.clone());
    state.blocking(move |host| show_in(host, &caller, &job)).await
}

/// Whether the store has to be asked what the job waits for.
fn may_be_blocked(job: &Job) -> bool {
    job.state.status == Status::Queued && job.submission.ties().is_ordered()
}

fn show_in(host: &Host, caller: &Caller, job: &Job) -> Result<JobView, ReadError> {
    let mut facts = facts(host, caller, job);
    if may_be_blocked(job) {
        facts.blocked_by = host.jobs.blocked_by(job)?;
    }
    let output = job.state.output.as_ref().filter(|_| facts.shows_payload);
    if let Some(output) = output.filter(|output| output.len() <= Output::BYTES_MAX) {
        facts.output = match host.jobs.payload(output) {
            Ok(bytes) => Output::of(&bytes),
            // It may have gone with the job.
            Err(ReadError::Damaged(_)) if job.submission.auto_delete => None,
            Err(error) => return Err(error),
        };
    }
    Ok(JobView::of(job, facts))
}

/// What the host knows of a job beside its record; nothing that needs the disk.
pub(super) fn facts(host: &Host, caller: &Caller, job: &Job) -> JobFacts {
    let (tenant, plugin) = (job.submission.tenant, &job.submission.plugin);
    let version = job.state.version.as_ref();
    let digest = version.and_then(|version| {
        let plugin = host.registry.get(tenant, plugin).ok()?;
        plugin.version(version).map(|version| version.inspection.digest)
    });
    JobFacts {
        digest,
        max_attempts: host.registry.policy(tenant, plugin).retry.max_attempts,
        progress: host.jobs.progress(job),
        output: None,
        blocked_by: Vec::new(),
        shows_payload: caller.may(Right::Payload, &job.submission),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_logs_the_first_and_the_last_are_told() {
        const MIB: u64 = 1 << 20;
        assert_eq!(head_and_tail(&[]), (0, 0));
        assert_eq!(head_and_tail(&[MIB; 4]), (4, 0));
        assert_eq!(head_and_tail(&[MIB; 9]), (2, 2));
        assert_eq!(head_and_tail(&[u64::MAX, MIB, MIB]), (0, 2));
        assert_eq!(head_and_tail(&[MIB, u64::MAX, u64::MAX]), (1, 0));
    }
}
