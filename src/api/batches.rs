//! Batches: many jobs with one progress, one end and one job that follows.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::address::Path;
use super::bounds::{FOLLOWING_BYTES_MAX, NAME_CHARS_MAX};
use super::bulk::{read_jobs, refused};
use super::caller::{check_job_of, check_submit, noted};
use super::error::ApiError;
use super::intake::Intake;
use super::jobs::{found, shown};
use super::params::{Params, number_within};
use super::steer::{not_steered, reason_of};
use super::view::{BatchView, FollowUpBody, SteerBody, SummaryView, form};
use super::{ApiState, idempotency, ids};
use crate::domain::access::{Caller, Right};
use crate::domain::code;
use crate::domain::id::JobId;
use crate::domain::idempotency::{Answered, IdempotencyKey, RequestHash};
use crate::domain::job::{Job, JobType};
use crate::jobs::{NewBatch, NewJob, Rerun, Together};

/// Takes a batch: one job on each line, all or nothing.
#[utoipa::path(
    post,
    path = "/v1/batches",
    tag = "jobs",
    operation_id = "batches_submit",
    params(
        ("name" = inline(Option<form::SomeName>), Query, description = "A display name"),
        ("allowed_failures" = inline(Option<form::Count>), Query, description = "How many of the jobs may fail or be canceled without making the batch fail; 0 when absent"),
        ("on_complete" = inline(Option<form::Following>), Query, description = "A plug-in, as `PLUGIN` or `PLUGIN/HANDLER`, that is given how the batch ended, or a URL that is told"),
    ),
    request_body(content((String = "application/x-ndjson"), (form::Bytes = "application/octet-stream")), description = "One SubmitBody on each line"),
    responses(
        (status = 201, description = "All were taken", body = BatchView),
        (status = 200, description = "Repeated: the batch of the first request", body = BatchView),
    )
)]
pub(super) async fn submit(
    State(state): State<ApiState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    check_submit(&caller)?;
    let params = Params::of(&uri, &["name", "allowed_failures", "on_complete"])?;
    let asked = ["name", "allowed_failures", "on_complete"]
        .into_iter()
        .fold(RequestHash::of("a batch"), |asked, name| asked.with_if(name, params.text(name)));
    let new = NewBatch {
        tenant: state.tenant(),
        name: params.read("name", name)?,
        allowed_failures: params.read("allowed_failures", |text| number_within(text, 0, u64::MAX))?.unwrap_or(0),
        on_complete: params
            .read("on_complete", following)?
            .map(|to| Intake::of(&state, &caller).follow_up(to))
            .transpose()?,
        retry_of: None,
        tags: Vec::new(),
        by: Some(noted(&caller).to_owned()),
        owner: caller.name.clone(),
    };
    state.large_body_turn().await?;
    let (jobs, numbers) = read_jobs(&state, &caller, &headers, body, Together::Batch).await?;
    if jobs.is_empty() {
        return Err(ApiError::new(code::BAD_FIELD, "a batch has at least one job; the body holds none"));
    }
    let key = idempotency::key(&headers, &caller, || NewJob::all_asked(asked, &jobs))?;
    let runtime = tokio::runtime::Handle::current();
    let taken = state.blocking(move |host| {
        let taken = runtime.block_on(host.jobs.submit_batch_once(new, jobs, key.as_ref()));
        taken.map_err(|error| refused(error, &numbers))
    });
    answer(&state, &caller, taken.await?).await
}

/// Shows a batch and how its jobs do. The jobs are those of `/v1/jobs?batch=ID`.
#[utoipa::path(
    get,
    path = "/v1/batches/{id}",
    tag = "jobs",
    operation_id = "batches_show",
    params(
        ("id" = inline(form::JobRef), Path, description = "The batch"),
    ),
    responses(
        (status = 200, description = "The batch", body = BatchView),
    )
)]
pub(super) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<BatchView>, ApiError> {
    Params::of(&uri, &[])?;
    let job = found(&state, &caller, Right::Read, &id).await?;
    if job.submission.job_type != JobType::BATCH {
        let detail = format!("job {id} is no batch");
        return Err(ApiError::new(code::UNKNOWN_JOB, detail).with_next(format!("backroom job show {id}")));
    }
    Ok(Json(view(&state, &caller, job, Vec::new()).await?))
}

/// Runs the failed jobs of a batch that has ended again, as a new batch on the same terms.
#[utoipa::path(
    post,
    path = "/v1/batches/{id}/retry-failed",
    tag = "jobs",
    operation_id = "batches_retry_failed",
    params(
        ("id" = inline(form::JobRef), Path, description = "The batch"),
    ),
    request_body(content = Option<SteerBody>, description = "May be left out"),
    responses(
        (status = 201, description = "The new batch", body = BatchView),
        (status = 200, description = "Repeated: the new batch of the first request", body = BatchView),
    )
)]
pub(super) async fn retry_failed(
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
    let rerun = Rerun { reason: reason_of(&headers, body).await?, ..Rerun::new(noted(&caller)) };
    let asked = || {
        RequestHash::of("a retry of a batch").with("batch", id.0.as_bytes()).with_if("reason", rerun.reason.as_ref())
    };
    let key = idempotency::key(&headers, &caller, asked)?;
    let taken = Reruns(state.clone()).retry_failed(id, rerun, key).await?;
    answer(&state, &caller, taken).await
}

/// How the failed jobs of a batch run again, in the API and in the console.
#[derive(Clone)]
pub(crate) struct Reruns(pub(super) ApiState);

impl Reruns {
    /// The new batch and its jobs. Reading and checking a hundred thousand is work for another thread, and not many do so at a
    /// time.
    pub(crate) async fn retry_failed(
        &self,
        id: JobId,
        rerun: Rerun,
        key: Option<IdempotencyKey>,
    ) -> Result<Answered<(Job, Vec<JobId>)>, ApiError> {
        let Self(state) = self;
        state.large_body_turn().await?;
        let (tenant, runtime) = (state.tenant(), tokio::runtime::Handle::current());
        let taken = state.blocking(move |host| {
            let taken = runtime.block_on(host.jobs.retry_failed_once(tenant, id, rerun, key.as_ref()));
            taken.map_err(|error| not_steered(id, error))
        });
        taken.await
    }
}

async fn answer(state: &ApiState, caller: &Caller, taken: Answered<(Job, Vec<JobId>)>) -> Result<Response, ApiError> {
    let Answered { made: (batch, ids), is_repeated } = taken;
    let view = view(state, caller, batch, ids.iter().map(ToString::to_string).collect()).await?;
    Ok(idempotency::answer(&view, is_repeated))
}

async fn view(state: &ApiState, caller: &Caller, batch: Job, ids: Vec<String>) -> Result<BatchView, ApiError> {
    let counted = batch.clone();
    let summary = state.blocking(move |host| host.jobs.batch_summary(&counted)).await?;
    Ok(BatchView { jobs: SummaryView::from(summary), ids, batch: shown(state, caller, batch).await? })
}

fn following(text: &str) -> Result<FollowUpBody, String> {
    match text.len() {
        0..=FOLLOWING_BYTES_MAX => Ok(FollowUpBody::to(text)),
        length => Err(format!("it has {length} bytes; at most {FOLLOWING_BYTES_MAX} are taken here")),
    }
}

fn name(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0..=NAME_CHARS_MAX if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        0..=NAME_CHARS_MAX => Err("it holds a control character".to_owned()),
        length => Err(format!("it has {length} characters; at most {NAME_CHARS_MAX} are kept")),
    }
}
