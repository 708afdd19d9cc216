//! What the buttons of a job do.

use axum::Form;
use axum::extract::{Extension, Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::find;
use crate::api::payloads::Payloads;
use crate::api::{ApiError, intake, steer};
use crate::domain::access::Caller;
use crate::domain::id::{JobId, TenantId};
use crate::domain::job::{Job, Payload};
use crate::domain::offers::Offer;
use crate::domain::time::Timestamp;
use crate::jobs::{Command, Order, Rerun};
use crate::resources::blocking;
use crate::store::warrant::carried;
use crate::ui::Console;
use crate::ui::rights;
use crate::ui::shell::{Done, Section};
use crate::ui::text;
use crate::ui::trouble::Trouble;

/// What a button's form carries.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::ui) struct Fields {
    /// Why, in the person's own words.
    reason: String,
    /// Of a postponement: a time, or how long from now.
    until: String,
}

/// Carries out the command of a button.
pub(in crate::ui) async fn act(
    State(console): State<Console>,
    caller: Caller,
    Path((id, word)): Path<(String, String)>,
    Form(fields): Form<Fields>,
) -> Response {
    let acted = perform(&console, &caller, &id, &word, fields).await;
    console.answer(acted.map_err(|trouble| trouble.at(Section::Jobs)))
}

async fn perform(
    console: &Console,
    caller: &Caller,
    id: &str,
    word: &str,
    fields: Fields,
) -> Result<(String, Done), Trouble> {
    let offer = Offer::from_word(word).ok_or_else(|| unknown_action(word))?;
    let id = parsed(id)?;
    let by = rights::noted(caller);
    let reason = reason(fields.reason)?;
    let jobs = &console.host.jobs;
    let rerun = |reason| Rerun { reason, ..Rerun::new(by) };
    let (order, done) = match offer {
        Offer::Retry => {
            let new = jobs.rerun(TenantId::DEFAULT, id, rerun(reason)).await?;
            return Ok((format!("/jobs/{}", new.submission.id), Done::Resubmitted));
        }
        Offer::RetryFailed => {
            let (batch, _members) = jobs.retry_failed(TenantId::DEFAULT, id, rerun(reason)).await?;
            return Ok((format!("/jobs/{}", batch.submission.id), Done::Resubmitted));
        }
        Offer::Resume => (Order::Resume, Done::JobResumed),
        Offer::Pause => (Order::Pause, Done::JobPaused),
        Offer::Postpone => (Order::Postpone(until(&fields.until, console.now())?), Done::Postponed),
        Offer::Cancel => (Order::Cancel, Done::Canceled),
        Offer::Delete => (Order::Delete, Done::Deleted),
    };
    jobs.steer(TenantId::DEFAULT, id, &Command { reason, ..Command::new(order, by) }).await?;
    let next = if offer == Offer::Delete { "/jobs".to_owned() } else { format!("/jobs/{id}") };
    Ok((next, done))
}

fn reason(text: String) -> Result<Option<String>, Trouble> {
    Ok(steer::checked_reason(Some(text)).map_err(ApiError::from)?)
}

fn until(text: &str, now: Timestamp) -> Result<Timestamp, Trouble> {
    Ok(intake::moment("until", text.trim(), now).map_err(ApiError::from)?)
}

fn unknown_action(word: &str) -> Trouble {
    let words: Vec<_> = Offer::ALL.iter().map(|offer| offer.word()).collect();
    Trouble::field(format!(
        "`{}` is not an action on a job; expected one of: {}",
        text::line(word, 40),
        words.join(", ")
    ))
}

/// The whole input, as a file.
pub(in crate::ui) async fn input(
    State(console): State<Console>,
    Extension(payloads): Extension<Payloads>,
    Path(id): Path<String>,
) -> Response {
    download(&console, &payloads, id, "input", |job| Some(job.submission.input.clone())).await
}

/// The whole output, as a file.
pub(in crate::ui) async fn output(
    State(console): State<Console>,
    Extension(payloads): Extension<Payloads>,
    Path(id): Path<String>,
) -> Response {
    download(&console, &payloads, id, "output", |job| job.state.output.clone()).await
}

/// Bytes of strangers are never shown by the browser itself: they are a file to save.
async fn download(
    console: &Console,
    payloads: &Payloads,
    id: String,
    what: &str,
    choose: fn(&Job) -> Option<Payload>,
) -> Response {
    let job = match read(console, id).await {
        Ok(job) => job,
        Err(trouble) => return console.refuse(&trouble),
    };
    let Some(payload) = choose(&job) else {
        let trouble = Trouble::unknown_job(&job.submission.id.to_string());
        return console.refuse(&Trouble { message: format!("This job has no {what}.").into(), ..trouble });
    };
    match payloads.open(payload).await {
        Ok(opened) => {
            let disposition = format!("attachment; filename=\"{}.{what}\"", job.submission.id);
            let headers = [
                (CONTENT_TYPE, "application/octet-stream".to_owned()),
                (CONTENT_DISPOSITION, disposition),
                (CONTENT_LENGTH, opened.length.to_string()),
            ];
            (headers, opened.body).into_response()
        }
        Err(error) => console.refuse(&Trouble::from(error).at(Section::Jobs)),
    }
}

async fn read(console: &Console, id: String) -> Result<Job, Trouble> {
    let console = console.clone();
    let read = blocking(carried(move || find(&console, &id)));
    read.await.map_err(Trouble::host)?.map_err(|trouble| trouble.at(Section::Jobs))
}

fn parsed(id: &str) -> Result<JobId, Trouble> {
    id.parse().map_err(|_| Trouble::unknown_job(&text::line(id, 80)))
}
