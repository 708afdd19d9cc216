//! What the buttons of a job do.

use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::find;
use crate::domain::access::Caller;
use crate::domain::id::{JobId, TenantId};
use crate::domain::job::{Job, Payload};
use crate::jobs::{Command, Order, Rerun};
use crate::store::warrant::carried;
use crate::ui::Console;
use crate::ui::rights;
use crate::ui::shell::{Done, Section};
use crate::ui::text;
use crate::ui::trouble::Trouble;

/// Calls the job off.
pub(in crate::ui) async fn cancel(State(console): State<Console>, caller: Caller, Path(id): Path<String>) -> Response {
    let id = match parsed(&id) {
        Ok(id) => id,
        Err(trouble) => return console.refuse(&trouble),
    };
    let canceled =
        console.host.jobs.steer(TenantId::DEFAULT, id, &Command::new(Order::Cancel, rights::noted(&caller))).await;
    console.answer(canceled.map(|_job| (format!("/jobs/{id}"), Done::Canceled)))
}

/// Removes the job.
pub(in crate::ui) async fn delete(State(console): State<Console>, caller: Caller, Path(id): Path<String>) -> Response {
    let id = match parsed(&id) {
        Ok(id) => id,
        Err(trouble) => return console.refuse(&trouble),
    };
    let deleted =
        console.host.jobs.steer(TenantId::DEFAULT, id, &Command::new(Order::Delete, rights::noted(&caller))).await;
    console.answer(deleted.map(|_job| ("/jobs".to_owned(), Done::Deleted)))
}

/// Runs the finished job again, as a new one, and leads to that.
pub(in crate::ui) async fn retry(State(console): State<Console>, caller: Caller, Path(id): Path<String>) -> Response {
    let id = match parsed(&id) {
        Ok(id) => id,
        Err(trouble) => return console.refuse(&trouble),
    };
    let submitted = console.host.jobs.rerun(TenantId::DEFAULT, id, Rerun::new(rights::noted(&caller))).await;
    console.answer(submitted.map(|job| (format!("/jobs/{}", job.submission.id), Done::Resubmitted)))
}

/// The whole input, as a file.
pub(in crate::ui) async fn input(State(console): State<Console>, Path(id): Path<String>) -> Response {
    download(&console, id, "input", |job| Some(job.submission.input.clone())).await
}

/// The whole output, as a file.
pub(in crate::ui) async fn output(State(console): State<Console>, Path(id): Path<String>) -> Response {
    download(&console, id, "output", |job| job.state.output.clone()).await
}

/// Bytes of strangers are never shown by the browser itself: they are a file to save.
async fn download(console: &Console, id: String, what: &str, choose: fn(&Job) -> Option<Payload>) -> Response {
    match read(console, id, choose).await {
        Ok((job, Some(bytes))) => {
            let disposition = format!("attachment; filename=\"{}.{what}\"", job.submission.id);
            let headers = [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_DISPOSITION, disposition)];
            (headers, bytes).into_response()
        }
        Ok((job, None)) => {
            let trouble = Trouble::unknown_job(&job.submission.id.to_string());
            console.refuse(&Trouble { message: format!("This job has no {what}.").into(), ..trouble })
        }
        Err(trouble) => console.refuse(&trouble),
    }
}

async fn read(
    console: &Console,
    id: String,
    choose: fn(&Job) -> Option<Payload>,
) -> Result<(Job, Option<Bytes>), Trouble> {
    let console = console.clone();
    let read = tokio::task::spawn_blocking(carried(move || {
        let job = find(&console, &id)?;
        let payload = choose(&job);
        let bytes = payload.map(|payload| console.host.jobs.payload(&payload)).transpose()?;
        Ok::<_, Trouble>((job, bytes))
    }));
    read.await.map_err(Trouble::host)?.map_err(|trouble| trouble.at(Section::Jobs))
}

fn parsed(id: &str) -> Result<JobId, Trouble> {
    id.parse().map_err(|_| Trouble::unknown_job(&text::line(id, 80)))
}
