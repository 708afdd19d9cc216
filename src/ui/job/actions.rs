//! What the buttons of a job do.

use axum::extract::{Extension, Path};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::api::batches::Reruns;
use crate::api::payloads::Payloads;
use crate::api::reads::Part;
use crate::api::{ApiError, intake, steer};
use crate::domain::access::Right;
use crate::domain::code;
use crate::domain::id::TenantId;
use crate::domain::job::{Job, Payload};
use crate::domain::offers::Offer;
use crate::domain::time::Timestamp;
use crate::jobs::{Command, Order, Rerun};
use crate::resources::blocking;
use crate::store::warrant::carried;
use crate::ui::Console;
use crate::ui::given::{Filled, Given};
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
    console: Console,
    Extension(reruns): Extension<Reruns>,
    Given(Path((id, word))): Given<Path<(String, String)>>,
    Filled(fields): Filled<Fields>,
) -> Response {
    let acted = perform(&console, &reruns, id, &word, fields).await;
    console.answer(acted.map_err(|trouble| trouble.at(Section::Jobs)))
}

async fn perform(
    console: &Console,
    reruns: &Reruns,
    id: String,
    word: &str,
    fields: Fields,
) -> Result<(String, Done), Trouble> {
    let offer = Offer::from_word(word).ok_or_else(|| unknown_action(word))?;
    let id = read(console, Right::Write, id).await?.submission.id;
    let by = rights::noted(&console.caller);
    let reason = reason(fields.reason)?;
    let jobs = &console.host.jobs;
    let rerun = |reason| Rerun { reason, ..Rerun::new(by) };
    let (order, done) = match offer {
        Offer::Retry => {
            let new = jobs.rerun(TenantId::DEFAULT, id, rerun(reason)).await?;
            return Ok((format!("/jobs/{}", new.submission.id), Done::Resubmitted));
        }
        Offer::RetryFailed => {
            let (batch, _members) = reruns.retry_failed(id, rerun(reason), None).await?.made;
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
    console: Console,
    Extension(payloads): Extension<Payloads>,
    Given(Path(id)): Given<Path<String>>,
) -> Response {
    download(&console, &payloads, id, Part::Input, "input", |job| Some(job.submission.input.clone())).await
}

/// The whole output, as a file.
pub(in crate::ui) async fn output(
    console: Console,
    Extension(payloads): Extension<Payloads>,
    Given(Path(id)): Given<Path<String>>,
) -> Response {
    download(&console, &payloads, id, Part::Output, "output", |job| job.state.output.clone()).await
}

/// Bytes of strangers are never shown by the browser itself: they are a file to save.
async fn download(
    console: &Console,
    payloads: &Payloads,
    id: String,
    part: Part,
    what: &str,
    choose: fn(&Job) -> Option<Payload>,
) -> Response {
    let job = match read(console, Right::Payload, id).await {
        Ok(job) => job,
        Err(trouble) => return console.refuse(&trouble),
    };
    let Some(payload) = choose(&job) else {
        let id = job.submission.id;
        let trouble = Trouble::new(code::WRONG_STATE, format!("job {id} has no {what}: it is {}", job.state.status));
        return console.refuse(&trouble.at(Section::Jobs));
    };
    match payloads.open(part, payload).await {
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

/// The job of an address, if the visitor may do this with it.
pub(super) async fn read(console: &Console, right: Right, id: String) -> Result<Job, Trouble> {
    let console = console.clone();
    let read = blocking(carried(move || console.job(right, &id)));
    read.await.map_err(Trouble::host)?.map_err(|trouble| trouble.at(Section::Jobs))
}
