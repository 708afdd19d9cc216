//! Ids of jobs as callers write them: whole, or the end of one, as the console and the terminal show it.

use super::ApiState;
use super::error::ApiError;
use super::params::Params;
use crate::app::Host;
use crate::domain::access::{Caller, Right};
use crate::domain::code;
use crate::domain::id::{IdEnding, JobId, TenantId};
use crate::store::ReadError;

/// The parameters of a filter that name a job.
const NAMING: &[&str] = &["batch", "chain", "retry_of"];

/// The id in an address.
pub(super) async fn in_address(state: &ApiState, caller: &Caller, text: &str) -> Result<JobId, ApiError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let (tenant, caller, text) = (state.tenant(), caller.clone(), text.to_owned());
    state.blocking(move |host| of_address(host, tenant, &caller, &text)).await
}

/// The same, blocking the calling thread.
pub(crate) fn of_address(host: &Host, tenant: TenantId, caller: &Caller, text: &str) -> Result<JobId, ApiError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let Ok(ending) = text.parse::<IdEnding>() else {
        let shown: String = text.chars().take(80).collect();
        let detail = format!(
            "`{shown}` is no job id; one looks like 01890a5d-ac96-774b-bcce-b302099a8057, and its last 8 characters will do"
        );
        return Err(ApiError::new(code::UNKNOWN_JOB, detail).with_next("backroom job list"));
    };
    only(ending, &ending_in(host, tenant, caller, ending)?)
}

/// The end of an id that stands for the whole; none where the text is a whole one, or no id at all.
pub(crate) fn ending(text: &str) -> Option<IdEnding> {
    text.parse().ok().filter(|_| text.parse::<JobId>().is_err())
}

/// The whole id that ends so. Reads the store, so that it is work for another thread.
pub(super) fn completed(state: &ApiState, caller: &Caller, ending: IdEnding) -> Result<JobId, ApiError> {
    only(ending, &ending_in(state.host(), state.tenant(), caller, ending)?)
}

/// Completes the ids that a filter names.
pub(super) async fn complete(state: &ApiState, caller: &Caller, params: &mut Params) -> Result<(), ApiError> {
    for name in NAMING {
        let short = params.text(name).filter(|text| ending(text).is_some());
        if let Some(text) = short.map(str::to_owned) {
            let id = in_address(state, caller, &text).await?;
            params.replace(name, &id.to_string());
        }
    }
    Ok(())
}

/// The jobs whose id ends so. Those that the caller may not read do not exist for them.
fn ending_in(host: &Host, tenant: TenantId, caller: &Caller, ending: IdEnding) -> Result<Vec<JobId>, ReadError> {
    let found = host.jobs.ending_in(tenant, ending)?;
    let seen = found.iter().filter(|job| caller.may(Right::Read, &job.submission));
    Ok(seen.map(|job| job.submission.id).collect())
}

fn only(ending: IdEnding, found: &[JobId]) -> Result<JobId, ApiError> {
    match found {
        [id] => Ok(*id),
        [] => {
            let error = ApiError::new(code::UNKNOWN_JOB, format!("there is no job whose id ends in {ending}"));
            Err(error.with_next("backroom job list"))
        }
        several => {
            let ids: Vec<_> = several.iter().map(ToString::to_string).collect();
            let detail = format!("{} jobs have an id that ends in {ending}: {}", ids.len(), ids.join(", "));
            Err(ApiError::new(code::AMBIGUOUS_ID, detail))
        }
    }
}
