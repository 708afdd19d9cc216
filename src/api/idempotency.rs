//! The `Idempotency-Key` header: read where a request makes jobs, refused where it would say nothing.

use axum::Json;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::ApiError;
use crate::domain::access::Caller;
use crate::domain::code;
use crate::domain::idempotency::{IdempotencyKey, RequestHash};

/// The header that makes a repeated request return what the first one made.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Tells that a request was a repeated one.
pub(super) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The addresses that make jobs, and take the header.
pub(super) const MAKING_JOBS: [&str; 8] = [
    "/v1/jobs",
    "/v1/jobs/bulk",
    "/v1/jobs/actions",
    "/v1/jobs/{id}/retry",
    "/v1/batches",
    "/v1/batches/{id}/retry-failed",
    "/v1/schedules/{name}/run",
    "/v1/schedules/{name}/backfill",
];

/// The text of the header.
pub(super) fn text(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::field("Idempotency-Key", "the header Idempotency-Key is given twice"));
    }
    let key = value.to_str();
    let key =
        key.map_err(|_| ApiError::field("Idempotency-Key", "the header Idempotency-Key holds more than ASCII"))?;
    Ok(Some(key.to_owned()))
}

/// The key of a request that asks for this.
pub(super) fn key(
    headers: &HeaderMap,
    caller: &Caller,
    asked: impl FnOnce() -> RequestHash,
) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(given) = text(headers)? else { return Ok(None) };
    Ok(Some(IdempotencyKey::new(&given, caller, &asked())?))
}

/// What was made, with the status and the header of a repeated request where it is one.
pub(super) fn answer(made: &impl Serialize, is_repeated: bool) -> Response {
    let status = if is_repeated { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = (status, Json(made)).into_response();
    mark(&mut response, is_repeated);
    response
}

/// Tells in the answer that the request was a repeated one.
pub(super) fn mark(response: &mut Response, is_repeated: bool) {
    if is_repeated {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
}

/// Says that a request makes nothing that could be made twice.
pub(super) fn not_taken(why: &str) -> ApiError {
    let detail = format!("this request takes no Idempotency-Key: {why}");
    ApiError::new(code::NO_KEY_TAKEN, detail).with_field("Idempotency-Key")
}

/// Refuses the header where it would say nothing: whoever sends it counts on it. What else is put or deleted is named by its
/// address, and comes to the same when it is said again.
pub(super) async fn refuse_elsewhere(path: MatchedPath, request: Request, next: Next) -> Result<Response, ApiError> {
    let why = match (request.method(), path.as_str()) {
        (&Method::POST, path) if MAKING_JOBS.contains(&path) => None,
        (&Method::POST, "/v1/tokens") => {
            Some("the secret of a token is told once, and a second token of its name is refused")
        }
        (&Method::POST, _) => Some("it makes no jobs"),
        (&Method::PUT, "/v1/schedules/{name}") => {
            Some("it names the schedule; a POST to the schedule's `run` takes one")
        }
        _ => None,
    };
    if let Some(why) = why.filter(|_| request.headers().contains_key(IDEMPOTENCY_KEY)) {
        return Err(not_taken(why));
    }
    Ok(next.run(request).await)
}
