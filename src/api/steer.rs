//! Steering one job: cancel, pause, resume, postpone, run again, remove; and who did so before.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::address::Path;
use super::bounds::REASON_CHARS_MAX;
use super::caller::{check_job_of, noted};
use super::content::Kind;
use super::error::ApiError;
use super::jobs::{found, found_by_id, shown};
use super::json::JsonFault;
use super::params::Params;
use super::view::{AuditView, ExplainView, JobView, PauseBody, PostponeBody, ResumeBody, RetryBody, SteerBody, form};
use super::{ApiState, body, idempotency, ids, intake, json};
use crate::domain::access::{Caller, Right};
use crate::domain::code;
use crate::domain::id::{JobId, VersionName};
use crate::domain::idempotency::{Answered, RequestHash};
use crate::domain::queue::Pause;
use crate::jobs::{Command, Order, Rerun, RerunError};
use crate::store::ReadError;

/// Calls a job off. A handler that runs is asked first, and stopped when it does not listen within five seconds.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/cancel",
    tag = "jobs",
    operation_id = "jobs_cancel",
    params(
        ("id" = inline(form::JobRef), Path, description = "The job"),
    ),
    request_body(content = Option<SteerBody>, description = "May be left out"),
    responses(
        (status = 200, description = "The job, canceled or being canceled", body = JobView),
    )
)]
pub(super) async fn cancel(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<JobView>, ApiError> {
    steer(&state, &caller, &id, &uri, Order::Cancel, reason_of(&headers, body).await?).await
}

/// Stops a job for now. A handler that runs is asked to stop at its next safe point.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/pause",
    tag = "jobs",
    operation_id = "jobs_pause",
    params(
        ("id" = inline(form::JobRef), Path, description = "The job"),
    ),
    request_body(content = Option<SteerBody>, description = "May be left out"),
    responses(
        (status = 200, description = "The job, paused or pausing", body = JobView),
    )
)]
pub(super) async fn pause(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<JobView>, ApiError> {
    steer(&state, &caller, &id, &uri, Order::Pause, reason_of(&headers, body).await?).await
}

/// Sets a job going. One that waits for its time, retries or is held runs now, and its attempts are counted anew; an event or
/// the end of its jobs is not replaced by that. A paused one goes back to what it waited for when it was paused, if that is
/// still to come; `now` runs it at once.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/resume",
    tag = "jobs",
    operation_id = "jobs_resume",
    params(
        ("id" = inline(form::JobRef), Path, description = "The job"),
    ),
    request_body(content = Option<ResumeBody>, description = "May be left out"),
    responses(
        (status = 200, description = "The job, queued, or waiting as before its pause", body = JobView),
    )
)]
pub(super) async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<JobView>, ApiError> {
    let ResumeBody { now, reason } = optional(&headers, body, ResumeBody::FIELDS).await?;
    let order = if now { Order::ResumeNow } else { Order::Resume };
    steer(&state, &caller, &id, &uri, order, checked_reason(reason)?).await
}

/// Puts a job off. A handler that runs is asked to stop at its next safe point and goes on then.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/postpone",
    tag = "jobs",
    operation_id = "jobs_postpone",
    params(
        ("id" = inline(form::JobRef), Path, description = "The job"),
    ),
    request_body = PostponeBody,
    responses(
        (status = 200, description = "The job, waiting or pausing", body = JobView),
    )
)]
pub(super) async fn postpone(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<JobView>, ApiError> {
    let bytes = body::read(&headers, body, Kind::Json).await?;
    let PostponeBody { until, reason } = json::parse(&bytes, PostponeBody::FIELDS)?;
    let order = Order::Postpone(intake::moment("until", &until, state.host().now())?);
    steer(&state, &caller, &id, &uri, order, checked_reason(reason)?).await
}

/// Runs a finished job again, as a new one. It is as the first caller asked, except for its start and expiry, the jobs that it
/// waited for, its batch and its schedule, which stay behind. While an unfinished job has its dedup key, it is refused.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/retry",
    tag = "jobs",
    operation_id = "jobs_retry",
    params(
        ("id" = inline(form::JobRef), Path, description = "The finished job"),
    ),
    request_body(content = Option<RetryBody>, description = "May be left out"),
    responses(
        (status = 201, description = "The new job; `retry_of` names the finished one", body = JobView, headers(("Location" = String, description = "The address of the new job"))),
        (status = 200, description = "Repeated: the new job of the first request", body = JobView, headers(("Location" = String, description = "The address of the new job"))),
    )
)]
pub(super) async fn retry(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let id = ids::in_address(&state, &caller, &id).await?;
    check_job_of(&state, &caller, Right::Write, id).await?;
    let body: RetryBody = optional(&headers, body, RetryBody::FIELDS).await?;
    let asked = || RequestHash::of("a retry").with("job", id.0.as_bytes()).with_document(&body);
    let key = idempotency::key(&headers, &caller, asked)?;
    let RetryBody { input, input_text, input_base64, version, at, reason } = body;
    let has_input = input.is_some() || input_text.is_some() || input_base64.is_some();
    if has_input {
        check_job_of(&state, &caller, Right::Payload, id).await?;
    }
    let version = version.map(|text| intake::named("version", VersionName::new(&text))).transpose()?;
    let is_command = match &input {
        Some(_) => {
            let finished = found_by_id(&state, &caller, Right::Write, id).await?.submission;
            let version = version.as_ref().or(finished.version.as_ref());
            state.host().registry.is_command(finished.tenant, &finished.plugin, version)
        }
        None => false,
    };
    let bytes = intake::input_bytes(input, input_text, input_base64, || is_command)?;
    let rerun = Rerun {
        input: has_input.then_some(bytes),
        version,
        at: at.map(|text| intake::moment("at", &text, state.host().now())).transpose()?,
        reason: checked_reason(reason)?,
        ..Rerun::new(noted(&caller))
    };
    let (runtime, tenant) = (tokio::runtime::Handle::current(), state.tenant());
    // Keeping a large input waits for the disk.
    let new = state.blocking(move |host| {
        let new = runtime.block_on(host.jobs.rerun_once(tenant, id, rerun, key.as_ref()));
        new.map_err(|error| not_steered(id, error))
    });
    let Answered { made, is_repeated } = new.await?;
    let view = shown(&state, &caller, made).await?;
    let location = HeaderValue::from_str(&format!("/v1/jobs/{}", view.id));
    let mut response = idempotency::answer(&view, is_repeated);
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Removes a job that has ended, with its attempts, logs, payloads and audit rows.
#[utoipa::path(
    delete,
    path = "/v1/jobs/{id}",
    tag = "jobs",
    operation_id = "jobs_delete",
    params(
        ("id" = inline(form::JobRef), Path, description = "The job"),
        ("reason" = inline(Option<form::Reason>), Query, description = "Why; it stands in the host's log"),
    ),
    responses(
        (status = 204, description = "Removed"),
    )
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    let params = Params::of(&uri, &["reason"])?;
    let id = ids::in_address(&state, &caller, &id).await?;
    check_job_of(&state, &caller, Right::Write, id).await?;
    let reason = checked_reason(params.text("reason").map(str::to_owned))?;
    let command = Command { reason, ..Command::new(Order::Delete, noted(&caller)) };
    let deleted = state.host().jobs.steer(state.tenant(), id, &command).await;
    deleted.map_err(|error| not_steered(id, error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// The commands that people gave for a job, oldest first.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/audit",
    tag = "jobs",
    operation_id = "jobs_audit",
    params(
        ("id" = inline(form::JobRef), Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "Who did what, and why", body = AuditView),
    )
)]
pub(super) async fn audit(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<AuditView>, ApiError> {
    Params::of(&uri, &[])?;
    let job = found(&state, &caller, Right::Read, &id).await?;
    let rows = state.blocking(move |host| host.jobs.audit(&job)).await?;
    Ok(Json(AuditView { rows: rows.into_iter().map(Into::into).collect() }))
}

/// Why a job is not running, and what would start it.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/explain",
    tag = "jobs",
    operation_id = "jobs_explain",
    params(
        ("id" = inline(form::JobRef), Path, description = "The job"),
    ),
    responses(
        (status = 200, description = "Every reason, the foremost first", body = ExplainView),
    )
)]
pub(super) async fn explain(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<ExplainView>, ApiError> {
    Params::of(&uri, &[])?;
    let job = found(&state, &caller, Right::Read, &id).await?;
    let view = state.blocking(move |host| {
        let reasons = host.jobs.explain(&job, host.moment(&job))?;
        Ok::<_, ReadError>(ExplainView::of(&job, reasons))
    });
    Ok(Json(view.await?))
}

async fn steer(
    state: &ApiState,
    caller: &Caller,
    id: &str,
    uri: &Uri,
    order: Order,
    reason: Option<String>,
) -> Result<Json<JobView>, ApiError> {
    Params::of(uri, &[])?;
    let id = ids::in_address(state, caller, id).await?;
    check_job_of(state, caller, Right::Write, id).await?;
    let command = Command { reason, ..Command::new(order, noted(caller)) };
    let steered = state.host().jobs.steer(state.tenant(), id, &command).await;
    let job = steered.map_err(|error| not_steered(id, error))?;
    Ok(Json(shown(state, caller, job).await?))
}

/// Why, in the words of the person; the document may be left out.
pub(super) async fn reason_of(headers: &HeaderMap, body: Body) -> Result<Option<String>, ApiError> {
    let SteerBody { reason } = optional(headers, body, SteerBody::FIELDS).await?;
    Ok(checked_reason(reason)?)
}

/// The pause of a queue, a plug-in or the service that a caller asks for.
pub(super) async fn pause_of(
    state: &ApiState,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Pause, ApiError> {
    let PauseBody { until, reason } = optional(headers, body, PauseBody::FIELDS).await?;
    let now = state.host().schedules.now();
    let until = until.map(|text| intake::moment("until", &text, now)).transpose()?;
    if let Some(until) = until.filter(|until| *until <= now) {
        let detail =
            format!("`until` ({until}) has passed; give a later time, or leave it out to pause until a resume");
        return Err(ApiError::field("until", detail));
    }
    Ok(Pause { since: now, by: Some(noted(caller).to_owned()), reason: checked_reason(reason)?, until })
}

/// Notes why somebody did something that no job keeps a row of: it stands in the host's log.
pub(super) fn note_reason(caller: &Caller, what: &str, name: &str, reason: Option<String>) {
    if let Some(reason) = reason {
        tracing::info!(what, name, reason, by = noted(caller), "a command, and why");
    }
}

/// A document that may be left out.
async fn optional<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: Body,
    fields: &[&str],
) -> Result<T, ApiError> {
    let bytes = body::read(headers, body, Kind::Json).await?;
    match bytes.trim_ascii().is_empty() {
        true => Ok(T::default()),
        false => Ok(json::parse(&bytes, fields)?),
    }
}

/// A reason of a sensible length; an empty one is none.
pub(crate) fn checked_reason(reason: Option<String>) -> Result<Option<String>, JsonFault> {
    let Some(reason) = reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty()) else {
        return Ok(None);
    };
    let length = reason.chars().count();
    if length > REASON_CHARS_MAX {
        let detail = format!("field `reason` has {length} characters; at most {REASON_CHARS_MAX} are kept");
        return Err(JsonFault::field("reason", detail));
    }
    if reason.chars().any(|c| c.is_control() && c != '\n') {
        return Err(JsonFault::field("reason", "field `reason` holds a control character"));
    }
    Ok(Some(reason))
}

/// Says which job was not steered.
pub(super) fn not_steered(id: JobId, error: impl Into<RerunError>) -> ApiError {
    let error = ApiError::from(error.into());
    if error.code() == code::WRONG_STATE { error.with_next(format!("backroom job show {id}")) } else { error }
}
