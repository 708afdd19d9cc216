//! Many jobs in one request: NDJSON, read as it comes, taken whole or not at all.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use bytes::BytesMut;

use super::body::Chunks;
use super::caller::check_submit;
use super::content::Kind;
use super::error::ApiError;
use super::intake::Intake;
use super::json::{self, JsonFault};
use super::params::Params;
use super::view::{BulkView, LineProblem, SubmitBody, form};
use super::{ApiState, idempotency, intake};
use crate::domain::access::Caller;
use crate::domain::code;
use crate::domain::idempotency::{Answered, RequestHash};
use crate::jobs::{BulkError, NewJob, SubmitError};

/// The most jobs of one request.
const JOBS_MAX: usize = 100_000;

/// The longest line, in bytes: as much as one job may have that comes alone.
const LINE_BYTES_MAX: usize = 2 << 20;

/// How many faulty lines are told of.
const PROBLEMS_MAX: usize = 20;

/// Takes jobs, one on each line.
#[utoipa::path(
    post,
    path = "/v1/jobs/bulk",
    tag = "jobs",
    operation_id = "jobs_submit_bulk",
    request_body(content((Option<String> = "application/x-ndjson"), (Option<form::Bytes> = "application/octet-stream")), description = "One SubmitBody on each line"),
    responses(
        (status = 201, description = "All were taken", body = BulkView),
        (status = 200, description = "Repeated: the jobs of the first request", body = BulkView),
    )
)]
pub(super) async fn submit(
    State(state): State<ApiState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    check_submit(&caller)?;
    Params::of(&uri, &[])?;
    state.large_body_turn().await?;
    let (jobs, numbers) = read_jobs(&state, &caller, &headers, body).await?;
    let runtime = tokio::runtime::Handle::current();
    let key = idempotency::key(&headers, &caller, || NewJob::all_asked(RequestHash::of("a bulk submit"), &jobs))?;
    let tenant = state.tenant();
    let taken = state.blocking(move |host| {
        // Checking a hundred thousand jobs and keeping their large inputs is work for another thread.
        let taken = runtime.block_on(host.jobs.submit_bulk_once(tenant, jobs, key.as_ref()));
        taken.map_err(|error| refused(error, &numbers))
    });
    let Answered { made, is_repeated } = taken.await?;
    let ids: Vec<_> = made.iter().map(ToString::to_string).collect();
    let view = BulkView { count: ids.len(), first: ids.first().cloned(), last: ids.last().cloned(), ids };
    Ok(idempotency::answer(&view, is_repeated))
}

/// The jobs of a body, and the number of the line of each.
pub(super) async fn read_jobs(
    state: &ApiState,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Vec<NewJob>, Vec<usize>), ApiError> {
    let mut lines = Lines::new(Intake::of(state, caller));
    let mut chunks = Chunks::open(headers, body, Kind::Lines)?;
    while let Some(chunk) = chunks.next().await? {
        // A line may name jobs by the ends of their ids, which are looked up.
        let fed = state.blocking(move |_| {
            lines.feed(&chunk);
            Ok::<_, ApiError>(lines)
        });
        lines = fed.await?;
        if lines.is_hopeless() {
            break;
        }
    }
    state.blocking(move |_| lines.finish()).await
}

/// The lines read so far.
struct Lines {
    intake: Intake,
    rest: BytesMut,
    number: usize,
    jobs: Vec<NewJob>,
    numbers: Vec<usize>,
    problems: Vec<LineProblem>,
    faulty: usize,
}

impl Lines {
    fn new(intake: Intake) -> Self {
        Self {
            intake,
            rest: BytesMut::new(),
            number: 0,
            jobs: Vec::new(),
            numbers: Vec::new(),
            problems: Vec::new(),
            faulty: 0,
        }
    }

    fn feed(&mut self, chunk: &[u8]) {
        let mut chunk = chunk;
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = chunk.split_at(end);
            self.rest.extend_from_slice(line);
            self.end_line();
            chunk = rest.get(1..).unwrap_or_default();
        }
        self.rest.extend_from_slice(chunk);
    }

    /// Whether no later line can make the request acceptable or its answer more useful.
    fn is_hopeless(&self) -> bool {
        self.rest.len() > LINE_BYTES_MAX || self.problems.len() >= PROBLEMS_MAX || self.jobs.len() > JOBS_MAX
    }

    fn end_line(&mut self) {
        self.number += 1;
        let line = self.rest.split();
        if line.trim_ascii().is_empty() {
            return;
        }
        if line.len() > LINE_BYTES_MAX {
            return self.fault(code::BODY_TOO_LARGE.name, &too_long());
        }
        let read = json::parse::<SubmitBody>(&line, SubmitBody::FIELDS);
        match read.and_then(|asked| intake::new_job(&self.intake, asked)) {
            Err(JsonFault { code, field: _, detail }) => self.fault(code.name, &detail.replace("(line 1, ", "(")),
            // What is not going to be taken need not be kept.
            Ok(_) if self.faulty > 0 => {}
            Ok(job) => {
                self.jobs.push(job);
                self.numbers.push(self.number);
            }
        }
    }

    fn fault(&mut self, code: &str, detail: &str) {
        self.faulty += 1;
        self.jobs.clear();
        self.numbers.clear();
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(LineProblem { line: self.number, code: code.to_owned(), detail: detail.to_owned() });
        }
    }

    fn finish(mut self) -> Result<(Vec<NewJob>, Vec<usize>), ApiError> {
        if self.rest.len() > LINE_BYTES_MAX {
            self.number += 1;
            self.fault(code::BODY_TOO_LARGE.name, &too_long());
        } else if !self.rest.is_empty() {
            self.end_line();
        }
        if let Some(first) = self.problems.first() {
            let more = match self.faulty {
                1 => String::new(),
                faulty => format!(" ({} more lines are faulty)", faulty - 1),
            };
            let detail = format!("line {}: {}{more}; nothing was taken", first.line, first.detail);
            return Err(ApiError::new(code::BULK_LINE, detail).with_lines(self.problems));
        }
        if self.jobs.len() > JOBS_MAX {
            let detail = format!("the request has more than {JOBS_MAX} jobs; nothing was taken");
            return Err(ApiError::new(code::BODY_TOO_LARGE, detail));
        }
        Ok((self.jobs, self.numbers))
    }
}

fn too_long() -> String {
    format!("the line is longer than {LINE_BYTES_MAX} bytes")
}

/// Says whose line a refusal is about.
pub(super) fn refused(error: BulkError, numbers: &[usize]) -> ApiError {
    let BulkError { index, error, more } = error;
    let line_of = |index: usize, error: &SubmitError| {
        let is_of_line = !matches!(error, SubmitError::Commit(_) | SubmitError::Read(_));
        numbers.get(index).copied().filter(|_| is_of_line)
    };
    let problem = |line: usize, error: &ApiError| LineProblem {
        line,
        code: error.code().name.to_owned(),
        detail: error.detail().to_owned(),
    };
    let line = index.and_then(|index| line_of(index, &error));
    let error = ApiError::from(error);
    let Some(line) = line else { return error };
    let later = more.into_iter().filter_map(|(index, error)| Some((line_of(index, &error)?, ApiError::from(error))));
    let later = later.map(|(line, error)| problem(line, &error));
    let lines: Vec<_> = std::iter::once(problem(line, &error)).chain(later).collect();
    let more = match lines.len() {
        1 => String::new(),
        lines => format!(" ({} more lines are faulty)", lines - 1),
    };
    let detail = format!("line {line}: {}{more}; nothing was taken", error.detail());
    ApiError::new(code::BULK_LINE, detail).with_lines(lines)
}
