//! Who asks, and whether he may: each handler takes the [`Caller`] whom the guard has let in, and asks here.

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use super::ApiState;
use super::error::ApiError;
use super::jobs::{found_by_id, unknown_job};
use crate::domain::access::{Caller, Denied, Reach, Right, UNNAMED_IN_API};
use crate::domain::code;
use crate::domain::id::JobId;
use crate::domain::job::Job;

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ApiError::new(code::INTERNAL, "no guard stands in front of this address"))
    }
}

/// The name under which it is noted what he does.
pub(super) fn noted(caller: &Caller) -> &str {
    caller.noted_as(UNNAMED_IN_API)
}

/// Only those go on who may make new jobs.
pub(super) fn check_submit(caller: &Caller) -> Result<(), ApiError> {
    if caller.rights.submit { Ok(()) } else { Err(lacks(caller, "submit")) }
}

/// Only those go on who administer the host.
pub(crate) fn check_admin(caller: &Caller) -> Result<(), ApiError> {
    if caller.rights.admin { Ok(()) } else { Err(lacks(caller, "admin")) }
}

/// The same for whole groups of addresses. What administrators ask for stands in the host's log.
pub(super) async fn administrators_only(caller: Caller, request: Request, next: Next) -> Result<Response, ApiError> {
    check_admin(&caller)?;
    log_command(noted(&caller), &request);
    Ok(next.run(request).await)
}

/// Notes in the host's log that somebody asks for a change, before it is made: whoever goes away meanwhile leaves a trace, too.
pub(crate) fn log_command(by: &str, request: &Request) {
    let (method, uri) = (request.method(), request.uri());
    if !method.is_safe() {
        tracing::info!(by, "asked for: {method} {uri}");
    }
}

/// Only those go on whose right reaches to all jobs.
pub(crate) fn check_all(caller: &Caller, right: Right) -> Result<(), ApiError> {
    if caller.rights.reach(right) == Reach::All { Ok(()) } else { Err(lacks(caller, right.word())) }
}

/// Only those go on whose right reaches to some jobs at least.
pub(crate) fn check_some(caller: &Caller, right: Right) -> Result<(), ApiError> {
    if caller.rights.reach(right) == Reach::None { Err(lacks(caller, right.word())) } else { Ok(()) }
}

/// Only those go on who may do this with a job. For others who may not even read it, it does not exist (F006).
pub(super) fn check_job(caller: &Caller, right: Right, job: &Job) -> Result<(), ApiError> {
    caller.check(right, &job.submission).map_err(|denied| match denied {
        Denied::Unknown => unknown_job(job.submission.id),
        Denied::Forbidden => lacks_on_job(caller, right, job),
    })
}

/// The same of a job that is not read yet. Nothing is read for those who may do it with all.
pub(super) async fn check_job_of(state: &ApiState, caller: &Caller, right: Right, id: JobId) -> Result<(), ApiError> {
    match caller.rights.reach(right) {
        Reach::All => Ok(()),
        Reach::None | Reach::Own => found_by_id(state, caller, right, id).await.map(drop),
    }
}

fn lacks(caller: &Caller, right: &str) -> ApiError {
    forbidden(caller, &format!("no right `{right}`"))
}

fn lacks_on_job(caller: &Caller, right: Right, job: &Job) -> ApiError {
    forbidden(caller, &format!("no right `{right}` on job {}", job.submission.id))
}

fn forbidden(caller: &Caller, lack: &str) -> ApiError {
    let detail = format!("the token `{}` has {lack}; it has {}", noted(caller), caller.rights);
    ApiError::new(code::FORBIDDEN, detail)
}
