//! What goes into a job and comes out of it, as it is: input, output, logs. For those who may see payloads (F007).

use std::collections::VecDeque;
use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;

use super::ApiState;
use super::address::Path;
use super::error::ApiError;
use super::jobs::found;
use super::params::{Params, number_within};
use super::reads::{self, Part};
use super::view::form;
use crate::app::Host;
use crate::domain::access::{Caller, Right};
use crate::domain::code;
use crate::domain::job::{Job, Payload, Run};
use crate::store::ReadError;

/// What a job logged, all of its runs or those of one attempt, as text; of the run under way what it has logged so far.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/logs",
    tag = "jobs",
    operation_id = "jobs_logs",
    params(
        ("id" = inline(form::JobRef), Path, description = "The job"),
        ("attempt" = inline(Option<form::Attempt>), Query, description = "Of this attempt only"),
    ),
    responses(
        (status = 200, description = "What it logged", body = String, content_type = "text/plain"),
    )
)]
pub(super) async fn logs(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::of(&uri, &["attempt"])?;
    let attempt = params.read("attempt", |text| number_within(text, 1, u64::from(u32::MAX)))?;
    let job = found(&state, &caller, Right::Payload, &id).await?;
    let attempts = job.state.attempt;
    if let Some(asked) = attempt
        && asked > u64::from(attempts)
    {
        return Err(ApiError::field("attempt", format!("there is no attempt {asked}; the job has {attempts}")));
    }
    let pieces = state.blocking(move |host| log_of(host, &job, attempt)).await?;
    // Looked through before anything is sent: what is damaged is an error, and not half an answer.
    let stored: Vec<_> = pieces.iter().filter_map(Piece::stored).cloned().collect();
    take_turn_to_look(&state, stored.iter().map(Payload::len).max()).await?;
    state.blocking(move |host| stored.iter().try_for_each(|log| host.jobs.payload(log).map(drop))).await?;
    reads::note(Part::Logs);
    Ok(raw("text/plain; charset=utf-8", "inline", in_parts(&state, pieces)))
}

/// The largest payload that is sent from memory, in bytes; larger ones are read while they are sent.
const WHOLE_BYTES_MAX: u64 = 256 << 10;

/// How much of them is read at a time.
const PART_BYTES: usize = 64 << 10;

/// The most bytes of several logs in one answer. What is left out lies in the middle.
const LOGS_BYTES_MAX: u64 = 4 << 20;

/// How many logs of these sizes are taken from the front, and how many from the back.
fn head_and_tail(sizes: &[u64]) -> (usize, usize) {
    let fitting = |sizes: &mut dyn Iterator<Item = &u64>, room: u64| {
        let mut taken = 0_u64;
        sizes
            .take_while(|size| {
                taken = taken.saturating_add(**size);
                taken <= room
            })
            .count()
    };
    if fitting(&mut sizes.iter(), LOGS_BYTES_MAX) == sizes.len() {
        return (sizes.len(), 0);
    }
    let head = fitting(&mut sizes.iter(), LOGS_BYTES_MAX / 2);
    (head, fitting(&mut sizes[head..].iter().rev(), LOGS_BYTES_MAX / 2))
}

/// The log of one run.
struct RunLog {
    run: u32,
    attempt: u32,
    text: Piece,
}

impl RunLog {
    fn of(run: Run) -> Option<Self> {
        Some(Self { run: run.number, attempt: run.attempt, text: Piece::Stored(run.log?) })
    }

    fn under_way(host: &Host, job: &Job) -> Option<Self> {
        let text = host.jobs.live_log(job)?.since(0).text;
        Some(Self { run: job.state.runs, attempt: job.state.attempt, text: Piece::AtHand(text.into()) })
    }
}

/// A piece of an answer.
enum Piece {
    AtHand(Bytes),
    Stored(Payload),
    /// Ends the line, unless what comes before it has done so.
    EndOfLine,
}

impl Piece {
    fn line(text: String) -> Self {
        Self::AtHand(text.into())
    }

    fn stored(&self) -> Option<&Payload> {
        match self {
            Self::Stored(payload) => Some(payload),
            Self::AtHand(_) | Self::EndOfLine => None,
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::AtHand(bytes) => bytes.len() as u64,
            Self::Stored(payload) => payload.len(),
            Self::EndOfLine => 1,
        }
    }
}

/// The logs one after another; where there are several, each begins with a line that says whose it is. Of more than fit, the
/// first and the last ones.
fn log_of(host: &Host, job: &Job, attempt: Option<u64>) -> Result<Vec<Piece>, ReadError> {
    // Looked at before those that have ended: one that ends in between is there once at least.
    let under_way = RunLog::under_way(host, job);
    let closed = host.jobs.runs(job)?.into_iter().filter_map(RunLog::of);
    let closed = closed.filter(|log| under_way.as_ref().is_none_or(|live| log.run != live.run));
    let mut logs: Vec<_> = closed.collect();
    logs.extend(under_way);
    logs.retain(|log| attempt.is_none_or(|attempt| u64::from(log.attempt) == attempt));
    if logs.len() == 1 {
        return Ok(logs.into_iter().map(|log| log.text).collect());
    }
    let sizes: Vec<u64> = logs.iter().map(|log| log.text.len()).collect();
    let (head, tail) = head_and_tail(&sizes);
    let left_out = logs.len() - head - tail;
    let mut pieces = Vec::new();
    for (index, log) in logs.into_iter().enumerate() {
        if left_out > 0 && index == head {
            let line = format!("--- the logs of {left_out} runs are left out here: ask for an attempt ---\n");
            pieces.push(Piece::line(line));
        }
        if (head..head + left_out).contains(&index) {
            continue;
        }
        pieces.push(Piece::line(format!("--- attempt {}, run {} ---\n", log.attempt, log.run)));
        pieces.extend([log.text, Piece::EndOfLine]);
    }
    Ok(pieces)
}

/// The bytes that the handler was given.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/input",
    tag = "jobs",
    operation_id = "jobs_input",
    params(
        ("id" = inline(form::JobRef), Path, description = "The job"),
    ),
    responses(
        (
            status = 200,
            description = "The bytes, by what they are",
            content(
                (form::AnyJson = "application/json"),
                (String = "text/plain"),
                (form::Bytes = "application/octet-stream"),
            ),
            headers(("Content-Disposition" = String, description = "A name for a file that holds them")),
        ),
    )
)]
pub(super) async fn input(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let job = found(&state, &caller, Right::Payload, &id).await?;
    let id = job.submission.id;
    let input = job.submission.input.clone();
    payload(&state, Part::Input, &format!("input-{id}"), input).await
}

/// The bytes that the handler returned.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/output",
    tag = "jobs",
    operation_id = "jobs_output",
    params(
        ("id" = inline(form::JobRef), Path, description = "The job"),
    ),
    responses(
        (
            status = 200,
            description = "The bytes, by what they are",
            content(
                (form::AnyJson = "application/json"),
                (String = "text/plain"),
                (form::Bytes = "application/octet-stream"),
            ),
            headers(("Content-Disposition" = String, description = "A name for a file that holds them")),
        ),
    )
)]
pub(super) async fn output(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let job = found(&state, &caller, Right::Payload, &id).await?;
    let id = job.submission.id;
    let Some(output) = job.state.output.clone() else {
        let status = job.state.status;
        let yet = if status.is_final() { "" } else { " yet" };
        let error = ApiError::new(code::WRONG_STATE, format!("job {id} has no output{yet}: it is {status}"));
        return Err(error.with_next(format!("backroom job show {id}")));
    };
    payload(&state, Part::Output, &format!("output-{id}"), output).await
}

/// Bytes that a plug-in or a caller made up: for saving, never for a browser to run.
async fn payload(state: &ApiState, part: Part, name: &str, payload: Payload) -> Result<Response, ApiError> {
    let Opened { content_type, ending, length, body } = Payloads(state.clone()).open(part, payload).await?;
    let mut response = raw(content_type, &format!("attachment; filename=\"{name}.{ending}\""), body);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

/// How payloads are read, in the API and in the console.
#[derive(Clone)]
pub(crate) struct Payloads(pub(super) ApiState);

/// A payload that is ready to be sent.
pub(crate) struct Opened {
    pub(crate) content_type: &'static str,
    /// How the name of a file ends that holds it.
    pub(crate) ending: &'static str,
    pub(crate) length: u64,
    pub(crate) body: Body,
}

impl Payloads {
    /// Looks through a payload, and reads a large one again while it is sent.
    pub(crate) async fn open(&self, part: Part, payload: Payload) -> Result<Opened, ApiError> {
        let Self(state) = self;
        let length = payload.len();
        let is_large = length > WHOLE_BYTES_MAX;
        take_turn_to_look(state, Some(length)).await?;
        let looked_at = payload.clone();
        let looking = state.blocking(move |host| {
            let bytes = host.jobs.payload(&looked_at)?;
            Ok::<_, ReadError>((kind_of(&bytes), (!is_large).then_some(bytes)))
        });
        let ((content_type, ending), whole) = looking.await?;
        reads::note(part);
        let body = whole.map_or_else(|| in_parts(state, vec![Piece::Stored(payload)]), Body::from);
        Ok(Opened { content_type, ending, length, body })
    }
}

/// The content type of some bytes, and the ending of a file that holds them.
fn kind_of(bytes: &[u8]) -> (&'static str, &'static str) {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
            ("application/json", "json")
        }
        Ok(_) => ("text/plain; charset=utf-8", "txt"),
        Err(_) => ("application/octet-stream", "bin"),
    }
}

/// Looking through a large payload takes all of it into memory for a moment: not many do so at a time.
async fn take_turn_to_look(state: &ApiState, largest: Option<u64>) -> Result<(), ApiError> {
    match largest.is_some_and(|length| length > WHOLE_BYTES_MAX) {
        true => state.turns().read().await,
        false => Ok(()),
    }
}

/// What is read from the store while it is sent: whoever reads slowly holds one part of it in memory, and not the whole.
fn in_parts(state: &ApiState, pieces: Vec<Piece>) -> Body {
    let parts = Parts { state: state.clone(), rest: pieces.into(), from: 0, ends_line: true };
    Body::from_stream(stream::try_unfold(parts, |mut parts| async move {
        let next = parts.next().await?;
        Ok::<_, io::Error>(next.map(|part| (part, parts)))
    }))
}

/// See [`in_parts`].
struct Parts {
    state: ApiState,
    rest: VecDeque<Piece>,
    /// How much of the first of them has been sent.
    from: u64,
    ends_line: bool,
}

impl Parts {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(piece) = self.rest.pop_front() {
            let part = match piece {
                Piece::AtHand(bytes) => bytes,
                Piece::EndOfLine if self.ends_line => Bytes::new(),
                Piece::EndOfLine => Bytes::from_static(b"\n"),
                Piece::Stored(payload) => self.read(payload).await?,
            };
            if let Some(last) = part.last() {
                self.ends_line = *last == b'\n';
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// The next part of a payload, which stays in front while there is more of it.
    async fn read(&mut self, payload: Payload) -> io::Result<Bytes> {
        let (asked, from) = (payload.clone(), self.from);
        let part = self.state.blocking(move |host| host.jobs.payload_part(&asked, from, PART_BYTES)).await;
        let part = part.map_err(|error| io::Error::other(error.detail().to_owned()))?;
        let sent = from + part.len() as u64;
        match sent < payload.len() {
            // It has gone with its job meanwhile: the reader is not to take what he has for the whole.
            true if part.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            true => {
                self.from = sent;
                self.rest.push_front(Piece::Stored(payload));
            }
            false => self.from = 0,
        }
        Ok(part)
    }
}

fn raw(content_type: &'static str, disposition: &str, body: impl Into<Body>) -> Response {
    let mut response = body.into().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    if let Ok(disposition) = HeaderValue::from_str(disposition) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_logs_the_first_and_the_last_are_told() {
        const MIB: u64 = 1 << 20;
        assert_eq!(head_and_tail(&[]), (0, 0));
        assert_eq!(head_and_tail(&[MIB; 4]), (4, 0));
        assert_eq!(head_and_tail(&[MIB; 9]), (2, 2));
        assert_eq!(head_and_tail(&[u64::MAX, MIB, MIB]), (0, 2));
        assert_eq!(head_and_tail(&[MIB, u64::MAX, u64::MAX]), (1, 0));
    }
}
