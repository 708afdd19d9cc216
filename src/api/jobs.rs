//! One job or a list of them: submit, show, list, and their attempts.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::address::Path;
use super::bounds::{PAGE_JOBS, PAGE_JOBS_MAX, WAIT_MAX};
use super::caller::{check_job, check_some, check_submit};
use super::content::Kind;
use super::error::ApiError;
use super::json::unknown_name;
use super::params::{Params, number_within, truth};
use super::reads::Part;
use super::turns::RequestTurn;
use super::view::{
    AttemptView, AttemptsView, FilterBody, JobFacts, JobPageView, JobView, Output, ReasonView, SubmitBody, form,
};
use super::{ApiState, body, filter, idempotency, ids, intake, json, reads, turns};
use crate::app::Host;
use crate::config::units;
use crate::domain::access::{Caller, Right};
use crate::domain::code;
use crate::domain::id::{JobId, Sequence, TenantId};
use crate::domain::job::{Job, Payload};
use crate::domain::query::JobQuery;
use crate::jobs::{NewJob, Sort, Submitted};
use crate::store::ReadError;

/// Takes a job.
#[utoipa::path(
    post,
    path = "/v1/jobs",
    tag = "jobs",
    operation_id = "jobs_submit",
    params(
        ("wait" = inline(Option<form::Wait>), Query, description = "Answer when the job has ended, at most after so long: seconds, or a duration such as `10s`, a minute at the most; a minute when nothing is said"),
    ),
    request_body = SubmitBody,
    responses(
        (status = 201, description = "Taken", body = JobView, headers(("Location" = String, description = "The address of the job"))),
        (status = 200, description = "Repeated: the first job of the Idempotency-Key", body = JobView, headers(("Location" = String, description = "The address of the job"))),
        (status = 202, description = "Taken, and not ended within `wait`", body = JobView, headers(("Location" = String, description = "The address of the job"))),
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
    let wait = params.given("wait").map(patience).transpose()?;
    let key = idempotency::text(&headers)?;
    let bytes = body::read(&headers, body, Kind::Json).await?;
    let asked: SubmitBody = json::parse(&bytes, SubmitBody::FIELDS)?;
    let new = intake::single_job(&state, &caller, asked).await?;
    let Submitted { job, repeated } = take(&state, new, key).await?;
    let place = wait.and_then(|_| state.turns().wait());
    let job = match wait.filter(|_| place.is_some()) {
        Some(patience) => {
            // Whoever waits does nothing: others may have the request's place meanwhile.
            turn.iter().for_each(|turn| turn.end());
            let waited = wait_for_end(&state, &caller, job.clone(), patience).await?;
            // Who has lost his token meanwhile is told that the job was taken, and nothing of what became of it.
            if state.check_again(&caller).is_ok() { waited } else { job }
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
    idempotency::mark(&mut response, repeated);
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

/// How long a caller waits for the end: a number of seconds, a duration, or as long as may be.
fn patience(text: &str) -> Result<Duration, ApiError> {
    if text.is_empty() {
        return Ok(WAIT_MAX);
    }
    let seconds = text.parse().map(Duration::from_secs).ok();
    match seconds.or_else(|| units::parse_duration(text).ok()) {
        Some(patience) if patience <= WAIT_MAX => Ok(patience),
        _ => {
            let shown: String = text.chars().take(40).collect();
            let detail =
                format!("query parameter `wait`: expected at most 60 seconds, such as 20 or 20s, got `{shown}`");
            Err(ApiError::field("wait", detail))
        }
    }
}

async fn wait_for_end(state: &ApiState, caller: &Caller, job: Job, patience: Duration) -> Result<Job, ApiError> {
    let present = job.clone();
    tokio::select! {
        ended = state.host().jobs.wait(job, patience) => Ok(ended?),
        () = state.host().tokens.lost(caller) => Ok(present),
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
        ("id" = inline(form::JobRef), Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "The job", body = JobView),
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
        ("sort" = inline(Option<form::Sort>), Query, description = "`newest` first, or `oldest`, by their submits; `newest` when absent"),
        ("limit" = inline(Option<form::PageJobs>), Query, description = "1 to 200, 50 when absent"),
        ("cursor" = inline(Option<form::PageCursor>), Query, description = "The `next` of the page before"),
        ("explain" = Option<bool>, Query, description = "Say of each job that waits why it does"),
    ),
    responses(
        (status = 200, description = "A page", body = JobPageView),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<JobPageView>, ApiError> {
    check_some(&caller, Right::Read)?;
    let (query, order) = list_query(&state, &caller, &uri).await?;
    let Some(filter) = caller.narrow(Right::Read, query.filter) else { return Ok(Json(JobPageView::default())) };
    let query = JobQuery { filter, ..query };
    turns::keep(state.host().jobs.search_turn(&query.filter).await?)?;
    Ok(Json(state.blocking(move |host| page_of(host, &caller, &query, order)).await?))
}

/// How a page looks.
#[derive(Clone, Copy)]
struct Order {
    sort: Sort,
    /// Whether it says of each job that waits why it does.
    explains: bool,
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

async fn list_query(state: &ApiState, caller: &Caller, uri: &Uri) -> Result<(JobQuery, Order), ApiError> {
    let known: Vec<_> = filter::FIELDS.iter().chain(&["sort", "limit", "cursor", "explain"]).copied().collect();
    let mut params = Params::of(uri, &known)?;
    ids::complete(state, caller, &mut params).await?;
    let limit = params.read("limit", |text| number_within(text, 1, PAGE_JOBS_MAX))?.unwrap_or(PAGE_JOBS);
    let limit = usize::try_from(limit).unwrap_or(1);
    let sort = params.read("sort", sort)?.unwrap_or(Sort::Newest);
    let explains = params.read("explain", truth)?.unwrap_or(false);
    let before = params.read("cursor", |text| cursor_of(sort, text))?;
    Ok((
        JobQuery { tenant: state.tenant(), filter: filter::read(&params, caller)?, before, limit },
        Order { sort, explains },
    ))
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

fn page_of(host: &Host, caller: &Caller, query: &JobQuery, order: Order) -> Result<JobPageView, ReadError> {
    let found = host.jobs.search(query, order.sort)?;
    let mut reasons = if order.explains { host.leading_reasons(&found.jobs)? } else { Vec::new() }.into_iter();
    let view = |job: &Job| {
        let why = reasons.next().flatten().map(ReasonView::from);
        JobView::of(job, JobFacts { why, ..facts(host, caller, job) })
    };
    let prefix = if order.sort == Sort::Oldest { OLDEST_CURSOR } else { "" };
    Ok(JobPageView {
        jobs: found.jobs.iter().map(view).collect(),
        next: found.next.map(|next| format!("{prefix}{}", cursor_text(next))),
        looked_to: found.looked_to.map(|looked_to| looked_to.to_string()),
    })
}

/// The runs of a job.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/attempts",
    tag = "jobs",
    operation_id = "jobs_attempts",
    params(
        ("id" = inline(form::JobRef), Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "Its runs", body = AttemptsView),
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

/// The job of an id in an address, for a caller who may do this with it.
pub(super) async fn found(state: &ApiState, caller: &Caller, right: Right, id: &str) -> Result<Job, ApiError> {
    let (tenant, caller, id) = (state.tenant(), caller.clone(), id.to_owned());
    state.blocking(move |host| found_in(host, tenant, &caller, right, &id)).await
}

/// The same, blocking the calling thread.
pub(crate) fn found_in(
    host: &Host,
    tenant: TenantId,
    caller: &Caller,
    right: Right,
    id: &str,
) -> Result<Job, ApiError> {
    let id = ids::of_address(host, tenant, caller, id)?;
    let job = host.jobs.get(tenant, id)?.ok_or_else(|| unknown_job(id))?;
    check_job(caller, right, &job)?;
    Ok(job)
}

/// A job, for a caller who may do this with it.
pub(super) async fn found_by_id(state: &ApiState, caller: &Caller, right: Right, id: JobId) -> Result<Job, ApiError> {
    let tenant = state.tenant();
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
    let view = match is_at_hand && !may_be_blocked(&job) {
        true => show_in(state.host(), caller, &job)?,
        false => {
            let caller = caller.clone();
            state.blocking(move |host| show_in(host, &caller, &job)).await?
        }
    };
    if view.output.is_some() {
        reads::note(Part::Output);
    }
    Ok(view)
}

/// Whether the store has to be asked what the job waits for.
fn may_be_blocked(job: &Job) -> bool {
    job.state.status.waits() && job.submission.ties().is_ordered()
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
        why: None,
        shows_payload: caller.may(Right::Payload, &job.submission),
    }
}
