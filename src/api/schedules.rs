//! Schedules: make, replace, list, show, remove, and steer them.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::address::Path;
use super::caller::{check_all, noted};
use super::content::Kind;
use super::definition::{self, Asked};
use super::error::ApiError;
use super::params::Params;
use super::reads::{self, Part};
use super::view::{
    BackfillBody, BackfillView, JobView, PostponeScheduleBody, ScheduleBody, ScheduleListView, ScheduleView, form,
};
use super::{ApiState, body, idempotency, intake, jobs, json};
use crate::app::Host;
use crate::domain::access::{Caller, Reach, Right};
use crate::domain::code;
use crate::domain::id::{PluginName, ScheduleName, TenantId, VersionName};
use crate::domain::idempotency::{Answered, RequestHash};
use crate::domain::schedule::Schedule;
use crate::schedules::ScheduleError;
use crate::store::ReadError;

/// Lists the schedules by name.
#[utoipa::path(
    get,
    path = "/v1/schedules",
    tag = "schedules",
    operation_id = "schedules_list",
    responses(
        (status = 200, description = "All schedules", body = ScheduleListView),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<ScheduleListView>, ApiError> {
    check_all(&caller, Right::Read)?;
    Params::of(&uri, &[])?;
    let tenant = state.tenant();
    let listed = state.blocking(move |host| {
        let schedules = host.schedules.list(tenant)?;
        Ok::<_, ReadError>(
            schedules.iter().map(|schedule| without_payload(&caller, ScheduleView::of(schedule))).collect(),
        )
    });
    let schedules: Vec<ScheduleView> = listed.await?;
    schedules.iter().for_each(note_payload);
    Ok(Json(ScheduleListView { schedules }))
}

/// Makes a schedule, or replaces what one says. Jobs that it has made stay as they are.
#[utoipa::path(
    put,
    path = "/v1/schedules/{name}",
    tag = "schedules",
    operation_id = "schedules_put",
    params(
        ("name" = inline(form::ScheduleName), Path, description = "The schedule"),
    ),
    request_body = ScheduleBody,
    responses(
        (status = 201, description = "Made", body = ScheduleView, headers(("Location" = String, description = "The address of the schedule"))),
        (status = 200, description = "Replaced", body = ScheduleView, headers(("Location" = String, description = "The address of the schedule"))),
    )
)]
pub(super) async fn put(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let name = schedule_name(&name)?;
    let body: ScheduleBody = read(&headers, body, ScheduleBody::FIELDS).await?;
    let tenant = state.tenant();
    // Counting a rule and keeping an input take their time.
    let runtime = tokio::runtime::Handle::current();
    let put = state.blocking(move |host| runtime.block_on(put_in(host, &caller, tenant, name, body)));
    let (status, schedule) = put.await?;
    let view = whole(state.host(), &schedule)?;
    let location = HeaderValue::from_str(&format!("/v1/schedules/{}", view.name));
    let mut response = (status, Json(view)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

async fn put_in(
    host: &Host,
    caller: &Caller,
    tenant: TenantId,
    name: ScheduleName,
    body: ScheduleBody,
) -> Result<(StatusCode, Schedule), ApiError> {
    let now = host.schedules.now();
    let is_command =
        |plugin: &PluginName, version: Option<&VersionName>| host.registry.is_command(tenant, plugin, version);
    let Asked { definition, input, rule_field } = definition::asked(body, &host.queue_names(), now, is_command)?;
    let named = |error: ScheduleError| definition::named_as(error.into(), rule_field);
    match host.schedules.edit(tenant, &name, definition.clone(), input.clone(), noted(caller), now).await {
        Err(ScheduleError::Unknown(_)) => {}
        edited => return Ok((StatusCode::OK, edited.map_err(named)?)),
    }
    let made = host.schedules.create(tenant, name, definition, input, noted(caller), now).await;
    Ok((StatusCode::CREATED, made.map_err(named)?))
}

/// Shows one schedule.
#[utoipa::path(
    get,
    path = "/v1/schedules/{name}",
    tag = "schedules",
    operation_id = "schedules_show",
    params(
        ("name" = inline(form::ScheduleName), Path, description = "The schedule"),
    ),
    responses(
        (status = 200, description = "The schedule", body = ScheduleView),
    )
)]
pub(super) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<ScheduleView>, ApiError> {
    check_all(&caller, Right::Read)?;
    Params::of(&uri, &[])?;
    let (tenant, name) = (state.tenant(), found_name(&name)?);
    let shown = state.blocking(move |host| whole(host, &host.schedules.get(tenant, &name)?));
    let view = without_payload(&caller, shown.await?);
    note_payload(&view);
    Ok(Json(view))
}

/// Removes a schedule. Jobs that it has made stay.
#[utoipa::path(
    delete,
    path = "/v1/schedules/{name}",
    tag = "schedules",
    operation_id = "schedules_remove",
    params(
        ("name" = inline(form::ScheduleName), Path, description = "The schedule"),
    ),
    responses(
        (status = 204, description = "Removed"),
    )
)]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    Params::of(&uri, &[])?;
    state.host().schedules.remove(state.tenant(), &found_name(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes no jobs until the schedule is resumed.
#[utoipa::path(
    post,
    path = "/v1/schedules/{name}/pause",
    tag = "schedules",
    operation_id = "schedules_pause",
    params(
        ("name" = inline(form::ScheduleName), Path, description = "The schedule"),
    ),
    responses(
        (status = 200, description = "The schedule, paused", body = ScheduleView),
    )
)]
pub(super) async fn pause(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<ScheduleView>, ApiError> {
    Params::of(&uri, &[])?;
    let name = found_name(&name)?;
    let paused = state.host().schedules.pause(state.tenant(), &name, noted(&caller)).await;
    steered(&state, &name, paused)
}

/// Goes on from now; what fell into the pause stays undone.
#[utoipa::path(
    post,
    path = "/v1/schedules/{name}/resume",
    tag = "schedules",
    operation_id = "schedules_resume",
    params(
        ("name" = inline(form::ScheduleName), Path, description = "The schedule"),
    ),
    responses(
        (status = 200, description = "The schedule, active", body = ScheduleView),
    )
)]
pub(super) async fn resume(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<ScheduleView>, ApiError> {
    Params::of(&uri, &[])?;
    let name = found_name(&name)?;
    let resumed = state.host().schedules.resume(state.tenant(), &name, noted(&caller)).await;
    steered(&state, &name, resumed)
}

/// Lets the next occurrence run at another time; later ones keep the rule.
#[utoipa::path(
    post,
    path = "/v1/schedules/{name}/postpone",
    tag = "schedules",
    operation_id = "schedules_postpone",
    params(
        ("name" = inline(form::ScheduleName), Path, description = "The schedule"),
    ),
    request_body = PostponeScheduleBody,
    responses(
        (status = 200, description = "The schedule", body = ScheduleView),
    )
)]
pub(super) async fn postpone(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ScheduleView>, ApiError> {
    Params::of(&uri, &[])?;
    let name = found_name(&name)?;
    let PostponeScheduleBody { until } = read(&headers, body, &["until"]).await?;
    let until = intake::moment("until", &until, state.host().now())?;
    let postponed = state.host().schedules.postpone(state.tenant(), &name, until, noted(&caller)).await;
    steered(&state, &name, postponed)
}

/// Makes a job now, beside the rule.
#[utoipa::path(
    post,
    path = "/v1/schedules/{name}/run",
    tag = "schedules",
    operation_id = "schedules_run",
    params(
        ("name" = inline(form::ScheduleName), Path, description = "The schedule"),
    ),
    responses(
        (status = 201, description = "The job", body = JobView),
        (status = 200, description = "Repeated: the job of the first request", body = JobView),
    )
)]
pub(super) async fn run(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let name = found_name(&name)?;
    let key =
        idempotency::key(&headers, &caller, || RequestHash::of("a run of a schedule").with("schedule", name.as_str()))?;
    let Answered { made, is_repeated } = state.host().schedules.run_now(state.tenant(), &name, key.as_ref()).await?;
    let job = jobs::found_by_id(&state, &caller, Right::Read, made).await?;
    Ok(idempotency::answer(&jobs::shown(&state, &caller, job).await?, is_repeated))
}

/// Makes the jobs of past occurrences that have none yet.
#[utoipa::path(
    post,
    path = "/v1/schedules/{name}/backfill",
    tag = "schedules",
    operation_id = "schedules_backfill",
    params(
        ("name" = inline(form::ScheduleName), Path, description = "The schedule"),
    ),
    request_body = BackfillBody,
    responses(
        (status = 201, description = "The jobs", body = BackfillView),
        (status = 200, description = "Repeated: the jobs of the first request", body = BackfillView),
    )
)]
pub(super) async fn backfill(
    State(state): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let (tenant, name) = (state.tenant(), found_name(&name)?);
    let body: BackfillBody = read(&headers, body, &["from", "to", "again"]).await?;
    let asked = || RequestHash::of("a back-fill of a schedule").with("schedule", name.as_str()).with_document(&body);
    let key = idempotency::key(&headers, &caller, asked)?;
    let BackfillBody { from, to, again } = body;
    let (from, to) = (intake::time("from", &from)?, intake::time("to", &to)?);
    if to <= from {
        return Err(ApiError::field("to", format!("`to` ({to}) must be later than `from` ({from})")));
    }
    // All jobs of the schedule are looked at.
    let runtime = tokio::runtime::Handle::current();
    let made = state.blocking(move |host| {
        runtime.block_on(host.schedules.backfill(tenant, &name, (from, to), again, key.as_ref()))
    });
    let Answered { made, is_repeated } = made.await?;
    let ids: Vec<_> = made.iter().map(ToString::to_string).collect();
    Ok(idempotency::answer(&BackfillView { count: ids.len(), ids }, is_repeated))
}

fn note_payload(view: &ScheduleView) {
    if !view.target.args.is_empty() || !view.target.env.is_empty() {
        reads::note(Part::Arguments);
    }
}

/// A schedule without what its jobs are given, for those who may not see payloads (F007).
fn without_payload(caller: &Caller, mut view: ScheduleView) -> ScheduleView {
    if caller.rights.reach(Right::Payload) != Reach::All {
        view.target.args.clear();
        view.target.env.clear();
    }
    view
}

async fn read<T: DeserializeOwned>(headers: &HeaderMap, body: Body, fields: &[&str]) -> Result<T, ApiError> {
    let bytes = body::read(headers, body, Kind::Json).await?;
    Ok(json::parse(&bytes, fields)?)
}

/// One schedule, with what comes next.
fn whole(host: &Host, schedule: &Schedule) -> Result<ScheduleView, ScheduleError> {
    let in_the_way = host.schedules.job_in_the_way(schedule)?;
    Ok(ScheduleView::whole(schedule, in_the_way, host.schedules.now()))
}

fn steered(
    state: &ApiState,
    name: &ScheduleName,
    steered: Result<Schedule, ScheduleError>,
) -> Result<Json<ScheduleView>, ApiError> {
    let schedule = steered.map_err(|error| {
        let error = ApiError::from(error);
        let is_of_state = error.code() == code::SCHEDULE_STATE;
        if is_of_state { error.with_next(format!("backroom schedule show {name}")) } else { error }
    })?;
    Ok(Json(whole(state.host(), &schedule)?))
}

/// The name of a schedule to be made.
fn schedule_name(text: &str) -> Result<ScheduleName, ApiError> {
    ScheduleName::new(text).map_err(|error| ApiError::new(code::BAD_FIELD, error.to_string()))
}

/// The name of a schedule that should be there: no schedule has one that cannot be.
fn found_name(text: &str) -> Result<ScheduleName, ApiError> {
    ScheduleName::new(text).map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        let error = ApiError::new(code::UNKNOWN_SCHEDULE, format!("there is no schedule `{shown}`"));
        error.with_next("backroom schedule list")
    })
}
