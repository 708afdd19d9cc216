//! One command for all jobs that match a filter, and failed jobs in groups that one command can deal with.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};

use super::bounds::{ACTIONS, ACTIONS_MAX, GROUPS, GROUPS_MAX};
use super::caller::{check_all, check_some, noted};
use super::content::Kind;
use super::error::ApiError;
use super::json::{JsonFault, unknown_name};
use super::params::{Params, number_within};
use super::steer::checked_reason;
use super::view::{ActionsBody, ActionsView, FailuresView, form};
use super::{ApiState, body, filter, idempotency, ids, intake, jobs, json, turns};
use crate::domain::access::{Caller, Right};
use crate::domain::audit::Action;
use crate::domain::idempotency::RequestHash;
use crate::domain::query::JobFilter;
use crate::domain::time::Timestamp;
use crate::jobs::{ActionResult, BulkAction, Order, Step};

/// Cancels, pauses, resumes, postpones, runs again or removes all jobs that match, or counts them. Each call deals with a
/// bounded number of jobs and says where the next one goes on.
#[utoipa::path(
    post,
    path = "/v1/jobs/actions",
    tag = "jobs",
    operation_id = "jobs_actions",
    request_body = ActionsBody,
    responses(
        (status = 200, description = "What became of each job, or would", body = ActionsView),
    )
)]
pub(super) async fn act(
    State(state): State<ApiState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    check_some(&caller, Right::Write)?;
    Params::of(&uri, &[])?;
    let bytes = body::read(&headers, body, Kind::Json).await?;
    let asked: ActionsBody = json::parse(&bytes, ActionsBody::FIELDS)?;
    let key = idempotency::key(&headers, &caller, || RequestHash::of("a command by filter").with_document(&asked))?;
    let action = bulk_action(&state, &caller, asked).await?;
    if key.is_some() && (action.step != Step::Retry || action.is_dry_run) {
        return Err(idempotency::not_taken("only a retry makes jobs, and a dry run makes none"));
    }
    let Some(filter) = caller.narrow(Right::Write, action.filter) else {
        return Ok(Json(ActionsView::default()).into_response());
    };
    let action = BulkAction { filter, ..action };
    state.turns().action().await?;
    turns::keep(state.host().jobs.search_turn(&action.filter).await?)?;
    let runtime = tokio::runtime::Handle::current();
    // Reading thousands of jobs is work for another thread.
    let report = state.blocking(move |host| match &key {
        Some(key) => runtime.block_on(host.jobs.retry_matching(&action, Some(key))),
        None => runtime.block_on(host.jobs.act(&action)),
    });
    let report = report.await?;
    if let Some(error) = report.results.iter().find_map(ActionResult::store_failure) {
        return Err(error.clone().into());
    }
    let (next, is_repeated) = (report.next.map(jobs::cursor_text), report.is_repeated);
    let mut response = Json(ActionsView::of(report, next)).into_response();
    idempotency::mark(&mut response, is_repeated);
    Ok(response)
}

async fn bulk_action(state: &ApiState, caller: &Caller, asked: ActionsBody) -> Result<BulkAction, ApiError> {
    let ActionsBody { action, filter, all, until, now, dry_run, reason, limit, cursor } = asked;
    let mut params = Params::of_filter(&filter);
    ids::complete(state, caller, &mut params).await?;
    let filter = filter::read(&params, caller)?;
    if filter == JobFilter::default() && !all {
        let detail = format!(
            "the filter is empty, which takes every job: name some of {}, or say \"all\": true",
            filter::FIELDS.join(", ")
        );
        return Err(ApiError::field("filter", detail));
    }
    if filter != JobFilter::default() && all {
        return Err(ApiError::field("all", "give a filter or \"all\": true, not both"));
    }
    let limit = limit.unwrap_or(ACTIONS);
    if !(1..=ACTIONS_MAX).contains(&limit) {
        return Err(ApiError::field("limit", format!("field `limit` must be from 1 to {ACTIONS_MAX}")));
    }
    let before = cursor.as_deref().map(jobs::cursor).transpose();
    Ok(BulkAction {
        tenant: state.tenant(),
        filter,
        step: step(&action, until.as_deref(), now, state.host().now())?,
        by: noted(caller).to_owned(),
        reason: checked_reason(reason)?,
        is_dry_run: dry_run,
        limit: usize::try_from(limit).unwrap_or(1),
        before: before.map_err(|error| ApiError::field("cursor", format!("field `cursor`: {error}")))?,
    })
}

fn step(word: &str, until: Option<&str>, at_once: bool, now: Timestamp) -> Result<Step, JsonFault> {
    let Some(action) = Action::from_word(word) else {
        let detail = format!("field `action`: {}", unknown_name("action", word, &Action::ALL.map(Action::word)));
        return Err(JsonFault::field("action", detail));
    };
    if until.is_some() && action != Action::Postpone {
        return Err(JsonFault::field("until", format!("field `until` belongs to postpone, not to {action}")));
    }
    if at_once && action != Action::Resume {
        return Err(JsonFault::field("now", format!("field `now` belongs to resume, not to {action}")));
    }
    Ok(match action {
        Action::Cancel => Step::Order(Order::Cancel),
        Action::Pause => Step::Order(Order::Pause),
        Action::Resume if at_once => Step::Order(Order::ResumeNow),
        Action::Resume => Step::Order(Order::Resume),
        Action::Delete => Step::Order(Order::Delete),
        Action::Retry => Step::Retry,
        Action::Postpone => {
            let until = until.ok_or_else(|| JsonFault::field("until", "to postpone, field `until` is needed"))?;
            Step::Order(Order::Postpone(intake::moment("until", until, now)?))
        }
    })
}

/// Failed jobs by what went wrong: those of the same plug-in, class, code and kind of message are one group. Retry or remove a
/// group with `/v1/jobs/actions` and its fingerprint.
#[utoipa::path(
    get,
    path = "/v1/failures",
    tag = "jobs",
    operation_id = "jobs_failures",
    params(
        ("limit" = inline(Option<form::Groups>), Query, description = "1 to 200 groups, 50 when absent"),
    ),
    responses(
        (status = 200, description = "The one with the newest job first", body = FailuresView),
    )
)]
pub(super) async fn failures(
    State(state): State<ApiState>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<FailuresView>, ApiError> {
    check_all(&caller, Right::Read)?;
    let params = Params::of(&uri, &["limit"])?;
    let limit = params.read("limit", |text| number_within(text, 1, GROUPS_MAX))?.unwrap_or(GROUPS);
    let (tenant, limit) = (state.tenant(), usize::try_from(limit).unwrap_or(1));
    turns::keep(state.host().jobs.turn_to_look().await?)?;
    Ok(Json(state.blocking(move |host| host.jobs.failures(tenant, limit)).await?.into()))
}
