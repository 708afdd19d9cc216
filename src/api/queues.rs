//! Queues: how they do, and pausing them.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};

use super::ApiState;
use super::address::Path;
use super::error::ApiError;
use super::params::Params;
use super::steer::{note_reason, pause_of, reason_of};
use super::view::{PauseBody, QueueListView, QueueView, SteerBody, form};
use crate::app::QueueNow;
use crate::domain::access::Caller;
use crate::domain::id::QueueName;
use crate::domain::queue::Pause;

/// Lists the queues by name.
#[utoipa::path(
    get,
    path = "/v1/queues",
    tag = "service",
    operation_id = "queues_list",
    responses(
        (status = 200, description = "Every queue", body = QueueListView),
    )
)]
pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Json<QueueListView>, ApiError> {
    Params::of(&uri, &[])?;
    let host = state.host();
    let (depths, now) = (host.depths().await?, host.now());
    let view = |queue: QueueNow| {
        let depth = depths.of(&queue.name);
        QueueView::with_depth(queue, depth, now)
    };
    Ok(Json(QueueListView { queues: host.queues().into_iter().map(view).collect() }))
}

/// Starts no job of the queue until the time that is given, or until it is resumed. Nothing is failed or canceled, and jobs are still taken.
#[utoipa::path(
    post,
    path = "/v1/queues/{name}/pause",
    tag = "service",
    operation_id = "queues_pause",
    params(
        ("name" = inline(form::QueueName), Path, description = "The queue"),
    ),
    request_body(content = Option<PauseBody>, description = "May be left out"),
    responses(
        (status = 200, description = "The queue", body = QueueView),
    )
)]
pub(super) async fn pause(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<QueueView>, ApiError> {
    let pause = pause_of(&state, &caller, &headers, body).await?;
    let done = set(&state, &name, &uri, Some(pause.clone())).await?;
    note_reason(&caller, "pause of the queue", &name, pause.reason);
    Ok(done)
}

/// Lets the jobs of the queue start again.
#[utoipa::path(
    post,
    path = "/v1/queues/{name}/resume",
    tag = "service",
    operation_id = "queues_resume",
    params(
        ("name" = inline(form::QueueName), Path, description = "The queue"),
    ),
    request_body(content = Option<SteerBody>, description = "May be left out"),
    responses(
        (status = 200, description = "The queue", body = QueueView),
    )
)]
pub(super) async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<QueueView>, ApiError> {
    let reason = reason_of(&headers, body).await?;
    let done = set(&state, &name, &uri, None).await?;
    note_reason(&caller, "resume of the queue", &name, reason);
    Ok(done)
}

async fn set(state: &ApiState, name: &str, uri: &Uri, pause: Option<Pause>) -> Result<Json<QueueView>, ApiError> {
    Params::of(uri, &[])?;
    let name = QueueName::new(name).map_err(|error| ApiError::field("name", error.to_string()))?;
    Ok(Json(state.host().pause_queue(&name, pause).await?.into()))
}
