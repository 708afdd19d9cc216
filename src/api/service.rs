//! The host as a whole: its state, and how many jobs stand where.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};

use super::ApiState;
use super::error::ApiError;
use super::params::Params;
use super::steer::{note_reason, pause_of, reason_of};
use super::view::{CountsView, PauseBody, ServiceView, SteerBody};
use crate::domain::access::Caller;
use crate::domain::service::ServiceState;

/// Shows how the host is doing.
#[utoipa::path(
    get,
    path = "/v1/service",
    tag = "service",
    operation_id = "service_show",
    responses(
        (status = 200, description = "The host", body = ServiceView),
    )
)]
pub(super) async fn show(State(state): State<ApiState>, uri: Uri) -> Result<Json<ServiceView>, ApiError> {
    Params::of(&uri, &[])?;
    Ok(Json(ServiceView::of(state.host())))
}

/// Starts no new run until the time that is given, or until somebody resumes. Jobs are still taken.
#[utoipa::path(
    post,
    path = "/v1/service/pause",
    tag = "service",
    operation_id = "service_pause",
    request_body(content = Option<PauseBody>, description = "May be left out"),
    responses(
        (status = 200, description = "The host", body = ServiceView),
    )
)]
pub(super) async fn pause(
    State(state): State<ApiState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ServiceView>, ApiError> {
    let pause = pause_of(&state, &caller, &headers, body).await?;
    let done = set(&state, &uri, ServiceState::Paused(pause.clone())).await?;
    note_reason(&caller, "pause of the service", "", pause.reason);
    Ok(done)
}

/// Lets jobs run again.
#[utoipa::path(
    post,
    path = "/v1/service/resume",
    tag = "service",
    operation_id = "service_resume",
    request_body(content = Option<SteerBody>, description = "May be left out"),
    responses(
        (status = 200, description = "The host", body = ServiceView),
    )
)]
pub(super) async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ServiceView>, ApiError> {
    let reason = reason_of(&headers, body).await?;
    let done = set(&state, &uri, ServiceState::Running).await?;
    note_reason(&caller, "resume of the service", "", reason);
    Ok(done)
}

/// Starts no new run and reports not ready, so that the host can be taken down.
#[utoipa::path(
    post,
    path = "/v1/service/drain",
    tag = "service",
    operation_id = "service_drain",
    request_body(content = Option<SteerBody>, description = "May be left out"),
    responses(
        (status = 200, description = "The host", body = ServiceView),
    )
)]
pub(super) async fn drain(
    State(state): State<ApiState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ServiceView>, ApiError> {
    let reason = reason_of(&headers, body).await?;
    let done = set(&state, &uri, ServiceState::Draining).await?;
    note_reason(&caller, "drain of the service", "", reason);
    Ok(done)
}

async fn set(state: &ApiState, uri: &Uri, to: ServiceState) -> Result<Json<ServiceView>, ApiError> {
    Params::of(uri, &[])?;
    state.host().set_service(to).await?;
    Ok(Json(ServiceView::of(state.host())))
}

/// Counts the jobs by plug-in and state.
#[utoipa::path(
    get,
    path = "/v1/counts",
    tag = "service",
    operation_id = "service_counts",
    responses(
        (status = 200, description = "Jobs by plug-in and state", body = CountsView),
    )
)]
pub(super) async fn counts(State(state): State<ApiState>, uri: Uri) -> Result<Json<CountsView>, ApiError> {
    Params::of(&uri, &[])?;
    let tenant = state.tenant();
    let counts = state.blocking(move |host| host.jobs.counts(tenant)).await?;
    Ok(Json(CountsView::of(counts)))
}
