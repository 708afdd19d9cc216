//! Who may use the console: it shows all jobs with their payloads, so only those who may see all of them; the buttons that
//! steer jobs are for those who may steer all, and those about the host for its administrators.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::Console;
use crate::api::ApiError;
use crate::api::caller::{check_admin, check_all, log_command};
use crate::domain::access::{Caller, Right, UNNAMED_IN_CONSOLE};

/// The name under which it is noted what somebody does here.
pub(super) fn noted(caller: &Caller) -> &str {
    caller.noted_as(UNNAMED_IN_CONSOLE)
}

/// Whether somebody may do something here.
pub(super) type Check = fn(&Caller) -> Result<(), ApiError>;

/// Pages show jobs and their payloads.
pub(super) fn may_read(caller: &Caller) -> Result<(), ApiError> {
    check_all(caller, Right::Read).and_then(|()| check_all(caller, Right::Payload))
}

/// Buttons of jobs change them.
pub(super) fn may_write(caller: &Caller) -> Result<(), ApiError> {
    check_all(caller, Right::Write)
}

/// All other buttons change the host.
pub(super) fn may_administer(caller: &Caller) -> Result<(), ApiError> {
    check_admin(caller)
}

/// Stands in front of addresses and lets only those go on who may.
pub(super) async fn only(
    State((console, check)): State<(Console, Check)>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    match check(&caller) {
        Ok(()) => next.run(request).await,
        Err(error) => console.refuse(&error.into()),
    }
}

/// What administrators ask for here stands in the host's log, as it does when they ask through the API.
pub(super) async fn logged(caller: Caller, request: Request, next: Next) -> Response {
    log_command(noted(&caller), &request);
    next.run(request).await
}
