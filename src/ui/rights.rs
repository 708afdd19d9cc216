//! Who may see and press what in the console: the rights are those of the API, and asked in its words. A page shows the jobs
//! that its visitor may read, with their payloads where he may see those; what is about the host as a whole is for those who
//! may read all jobs, and its buttons are for its administrators.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::trouble::Trouble;
use super::{Console, Shared};
use crate::api::ApiError;
use crate::api::caller::{check_admin, check_all, check_some, log_command};
use crate::api::jobs::found_in;
use crate::domain::access::{Caller, Right, UNNAMED_IN_CONSOLE};
use crate::domain::id::{PluginName, TenantId};
use crate::domain::job::{Job, Submission};
use crate::domain::query::JobFilter;

/// The name under which it is noted what somebody does here.
pub(super) fn noted(caller: &Caller) -> &str {
    caller.noted_as(UNNAMED_IN_CONSOLE)
}

/// Whether somebody may do something here.
pub(super) type Check = fn(&Caller) -> Result<(), ApiError>;

/// Pages show jobs.
pub(super) fn may_enter(caller: &Caller) -> Result<(), ApiError> {
    check_some(caller, Right::Read)
}

/// Some pages, and parts of others, tell of the jobs of all.
pub(super) fn may_see_all(caller: &Caller) -> Result<(), ApiError> {
    check_all(caller, Right::Read)
}

/// Buttons of jobs change them; which ones, each of them asks.
pub(super) fn may_steer(caller: &Caller) -> Result<(), ApiError> {
    check_some(caller, Right::Write)
}

/// All other buttons change the host.
pub(super) fn may_administer(caller: &Caller) -> Result<(), ApiError> {
    check_admin(caller)
}

impl Console {
    /// Whether there is a page for him at all.
    pub(super) fn enters(&self) -> bool {
        may_enter(&self.caller).is_ok()
    }

    /// Whether he sees what is about all jobs.
    pub(super) fn sees_all(&self) -> bool {
        may_see_all(&self.caller).is_ok()
    }

    /// Whether there is a page of a plug-in, and it is for him. Batches have none, and jobs stay longer than a plug-in that is
    /// removed.
    pub(super) fn leads_to_plugin(&self, name: &PluginName) -> bool {
        self.sees_all() && self.host.registry.look_at(TenantId::DEFAULT, name).is_ok()
    }

    /// Whether the buttons of the host are for him.
    pub(super) fn administers(&self) -> bool {
        may_administer(&self.caller).is_ok()
    }

    /// Whether he may see what goes into a job and comes out.
    pub(super) fn opens(&self, job: &Submission) -> bool {
        self.caller.may(Right::Payload, job)
    }

    /// Of the jobs that match, those that he may see; none when there cannot be any.
    pub(super) fn visible(&self, filter: JobFilter) -> Option<JobFilter> {
        self.caller.narrow(Right::Read, filter)
    }

    /// The job of an address, if he may do this with it. Blocks the calling thread.
    pub(super) fn job(&self, right: Right, id: &str) -> Result<Job, Trouble> {
        Ok(found_in(&self.host, TenantId::DEFAULT, &self.caller, right, id)?)
    }
}

/// Stands in front of addresses and lets only those go on who may.
pub(super) async fn only(
    State((shared, check)): State<(Shared, Check)>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    match check(&caller) {
        Ok(()) => next.run(request).await,
        Err(error) => Console::new(shared, caller).refuse(&error.into()),
    }
}

/// What administrators ask for here stands in the host's log, as it does when they ask through the API.
pub(super) async fn logged(caller: Caller, request: Request, next: Next) -> Response {
    log_command(noted(&caller), &request);
    next.run(request).await
}
