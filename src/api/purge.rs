//! Removing finished jobs at once, by how and how long ago they ended.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;

use super::error::ApiError;
use super::json::unknown_name;
use super::params::{Params, truth};
use super::view::{PurgeView, form};
use super::{ApiState, filter};
use crate::config::units::parse_duration;
use crate::domain::retention::Retention;

const STATES: &[&str] = &["succeeded", "failed", "canceled"];

/// Removes finished jobs. The host does this by itself, too, as `[retention]` says.
#[utoipa::path(
    post,
    path = "/v1/jobs/purge",
    tag = "jobs",
    operation_id = "jobs_purge",
    params(
        ("state" = inline(form::FinalStates), Query, description = "Which of `succeeded`, `failed` and `canceled`, with commas between"),
        ("type" = inline(Option<form::JobTypeWord>), Query, description = "Only jobs of this type: handler, batch, event, workflow, or the number of its code"),
        ("older_than" = inline(form::Span), Query, description = "That ended at least so long ago, such as `7d`, or `0s` for all"),
        ("dry_run" = Option<bool>, Query, description = "Only count"),
    ),
    responses(
        (status = 200, description = "How many went", body = PurgeView),
    )
)]
pub(super) async fn purge(State(state): State<ApiState>, uri: Uri) -> Result<Json<PurgeView>, ApiError> {
    let params = Params::of(&uri, &["state", "type", "older_than", "dry_run"])?;
    // An empty one is a slip of whoever meant one type, and would take everything.
    if params.given("type") == Some("") {
        return Err(ApiError::field("type", "`type` is empty: leave it out, or give a value"));
    }
    let missing = |name: &str, form: &str| ApiError::field(name, format!("give `{name}`, such as `{form}`"));
    let kept_for = params.read("older_than", parse_duration)?.ok_or_else(|| missing("older_than", "7d"))?;
    let ended = |text: &str| retention(text, kept_for);
    let retention = params.read("state", ended)?.ok_or_else(|| missing("state", "succeeded,canceled"))?;
    let dry_run = params.read("dry_run", truth)?.unwrap_or(false);
    let job_type = params.read("type", filter::job_type)?;
    let swept = state.blocking(move |host| host.purge(retention, job_type, dry_run)).await?;
    Ok(Json(PurgeView { looked_at: swept.looked_at, removed: swept.removed, dry_run }))
}

fn retention(states: &str, kept_for: Duration) -> Result<Retention, String> {
    let mut retention = Retention::FOREVER;
    for state in states.split(',').map(str::trim) {
        match state {
            "succeeded" => retention.succeeded = Some(kept_for),
            "failed" => retention.failed = Some(kept_for),
            "canceled" => retention.canceled = Some(kept_for),
            other => return Err(unknown_name("final state", other, STATES)),
        }
    }
    Ok(retention)
}
