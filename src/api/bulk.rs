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
use crate::jobs::{BulkError, FAULTS_MAX, Jobs, NewJob, SubmitError, Together};

/// The most jobs of one request.
const JOBS_MAX: usize = 100_000;

/// The longest line, in bytes: as much as one job may have that comes alone.
const LINE_BYTES_MAX: usize = 2 << 20;

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
    let (jobs, numbers) = read_jobs(&state, &caller, &headers, body, Together::Jobs).await?;
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
    together: Together,
) -> Result<(Vec<NewJob>, Vec<usize>), ApiError> {
    let mut lines = Lines::new(Intake::of(state, caller));
    let mut chunks = Chunks::open(headers, body, Kind::Lines)?;
    while !lines.is_hopeless() {
        let Some(chunk) = chunks.next().await? else {
            lines.is_whole = true;
            break;
        };
        // A line may name jobs by the ends of their ids, which are looked up.
        let fed = state.blocking(move |_| {
            lines.feed(&chunk);
            Ok::<_, ApiError>(lines)
        });
        lines = fed.await?;
    }
    state.blocking(move |host| lines.finish(&host.jobs, together)).await
}

/// The lines read so far.
struct Lines {
    intake: Intake,
    rest: BytesMut,
    /// Whether the body has ended, so that the rest is its last line.
    is_whole: bool,
    number: usize,
    /// Lines with anything in them.
    count: usize,
    jobs: Vec<NewJob>,
    numbers: Vec<usize>,
    problems: Vec<LineProblem>,
}

impl Lines {
    fn new(intake: Intake) -> Self {
        Self {
            intake,
            rest: BytesMut::new(),
            is_whole: false,
            number: 0,
            count: 0,
            jobs: Vec::new(),
            numbers: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn feed(&mut self, chunk: &[u8]) {
        let mut chunk = chunk;
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = chunk.split_at(end);
            self.rest.extend_from_slice(line);
            self.end_line();
            if self.is_hopeless() {
                return;
            }
            chunk = rest.get(1..).unwrap_or_default();
        }
        self.rest.extend_from_slice(chunk);
    }

    /// Whether no later line can make the request acceptable or its answer more useful.
    fn is_hopeless(&self) -> bool {
        self.rest.len() > LINE_BYTES_MAX || self.problems.len() >= FAULTS_MAX || self.count > JOBS_MAX
    }

    fn end_line(&mut self) {
        self.number += 1;
        let line = self.rest.split();
        if line.trim_ascii().is_empty() {
            return;
        }
        self.count += 1;
        if line.len() > LINE_BYTES_MAX {
            return self.fault(code::BODY_TOO_LARGE.name, &too_long());
        }
        let read = json::parse::<SubmitBody>(&line, SubmitBody::FIELDS);
        match read.and_then(|asked| intake::new_job(&self.intake, asked)) {
            Err(JsonFault { code, field: _, detail }) => self.fault(code.name, &detail.replace("(line 1, ", "(")),
            // What is well written beside a faulty line may be faulty all the same.
            Ok(job) => {
                self.jobs.push(job);
                self.numbers.push(self.number);
            }
        }
    }

    fn fault(&mut self, code: &str, detail: &str) {
        self.problems.push(LineProblem { line: self.number, code: code.to_owned(), detail: detail.to_owned() });
    }

    fn finish(mut self, jobs: &Jobs, together: Together) -> Result<(Vec<NewJob>, Vec<usize>), ApiError> {
        if self.is_whole && !self.rest.is_empty() || self.rest.len() > LINE_BYTES_MAX {
            self.end_line();
        }
        if self.count > JOBS_MAX {
            let detail = format!("the request has more than {JOBS_MAX} jobs; nothing was taken");
            return Err(ApiError::new(code::BODY_TOO_LARGE, detail));
        }
        if self.problems.is_empty() {
            return Ok((self.jobs, self.numbers));
        }
        let meant = jobs.faults(&self.jobs, together).into_iter();
        let meant = meant.filter_map(|(index, error)| Some(problem(*self.numbers.get(index)?, &error.into())));
        Err(faulty(self.problems.into_iter().chain(meant).collect()))
    }
}

/// The refusal of a body for some of its lines.
fn faulty(mut lines: Vec<LineProblem>) -> ApiError {
    lines.sort_by_key(|problem| problem.line);
    lines.truncate(FAULTS_MAX);
    let more = match lines.len() {
        0 | 1 => String::new(),
        2 => " (one more line is faulty)".to_owned(),
        FAULTS_MAX => format!(" (at least {} more lines are faulty)", FAULTS_MAX - 1),
        count => format!(" ({} more lines are faulty)", count - 1),
    };
    let first = lines.first().map(|first| format!("line {}: {}{more}; ", first.line, first.detail));
    let detail = format!("{}nothing was taken", first.unwrap_or_default());
    ApiError::new(code::BULK_LINE, detail).with_lines(lines)
}

fn problem(line: usize, error: &ApiError) -> LineProblem {
    LineProblem { line, code: error.code().name.to_owned(), detail: error.detail().to_owned() }
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
    let line = index.and_then(|index| line_of(index, &error));
    let error = ApiError::from(error);
    let Some(line) = line else { return error };
    let later = more.into_iter().filter_map(|(index, error)| Some((line_of(index, &error)?, ApiError::from(error))));
    let later = later.map(|(line, error)| problem(line, &error));
    faulty(std::iter::once(problem(line, &error)).chain(later).collect())
}
