//! Who may use the console: it shows all jobs with their payloads, so only those who may see all of them; the buttons that
//! steer jobs are for those who may steer all, and those about the host for its administrators.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use super::Console;
use super::trouble::Trouble;
use crate::api::ApiError;
use crate::api::caller::{check_admin, check_all};
use crate::domain::access::{Caller, Right, UNNAMED_IN_CONSOLE};

/// The name under which it is noted what somebody does here.
pub(super) fn noted(caller: &Caller) -> &str {
    caller.noted_as(UNNAMED_IN_CONSOLE)
}

/// In front of pages.
pub(super) async fn readers_only(
    State(console): State<Console>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    let may = check_all(&caller, Right::Read).and_then(|()| check_all(&caller, Right::Payload));
    go_on(console, may, request, next).await
}

/// In front of what changes jobs.
pub(super) async fn writers_only(
    State(console): State<Console>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    let may = check_all(&caller, Right::Write);
    go_on(console, may, request, next).await
}

/// In front of what changes the host.
pub(super) async fn administrators_only(
    State(console): State<Console>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    let may = check_admin(&caller);
    go_on(console, may, request, next).await
}

async fn go_on(console: Console, may: Result<(), ApiError>, request: Request, next: Next) -> Response {
    match may {
        Ok(()) => next.run(request).await,
        Err(error) => console.refuse(&Trouble::new(StatusCode::FORBIDDEN, error.code(), error.detail())),
    }
}
