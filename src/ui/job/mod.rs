//! One job: what became of it, its attempts, its log, what went in and what came out.

mod actions;
mod offers;
mod related;

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::Uri;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Console;
use super::given::Given;
use super::jobs::{duration, short_id};
use super::payload::Viewer;
use super::shell::{After, Done, Section, Shell};
use super::text::{self, LINE_CHARS, When};
use super::timeline::{self, Moment};
use super::trouble::Trouble;
use super::why::{self, Why};
use crate::api::reads::Part;
use crate::domain::access::Right;
use crate::domain::code;
use crate::domain::failure::{ErrorClass, Failure};
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobType, Payload, Progress, Run, RunEnd, Status};
use crate::domain::limits::Usage;
use crate::domain::time::Timestamp;

pub(super) use actions::{act, input, output};
use offers::Button;
use related::{Deed, Relation};

/// Runs that the table of attempts shows at most: the last ones.
const RUNS: usize = 50;

/// The longest message and detail of an error that the page shows, in characters.
const ERROR_CHARS: usize = 16_000;

#[derive(Template)]
#[template(path = "job.html")]
struct Page {
    shell: Shell,
    id: String,
    short_id: String,
    name: String,
    state: &'static str,
    shape: &'static str,
    reasons: Vec<Why>,
    buttons: Vec<Button>,
    /// None for a batch, which runs nothing itself.
    code: Option<CodeOf>,
    facts: Vec<Fact>,
    tags: Vec<String>,
    progress: Option<Bar>,
    error: Option<ErrorBox>,
    moments: Vec<Moment>,
    runs: Vec<RunRow>,
    runs_left_out: usize,
    /// Whether the visitor may see what went in and came out.
    opens: bool,
    log: Option<LogView>,
    input: Option<Viewer>,
    output: Option<Viewer>,
    relations: Vec<Relation>,
    deeds: Vec<Deed>,
    has_ended: bool,
}

/// What a job runs.
struct CodeOf {
    plugin: String,
    /// Whether there is a page of it for the visitor.
    leads_to_plugin: bool,
    handler: String,
}

struct Fact {
    name: &'static str,
    value: String,
    title: String,
}

struct Bar {
    value: u64,
    max: Option<u64>,
    words: String,
    note: Option<String>,
}

struct ErrorBox {
    class: &'static str,
    class_words: &'static str,
    code: Option<String>,
    is_ours: bool,
    message: String,
    detail: Option<String>,
    next: Vec<text::Part>,
}

struct RunRow {
    number: u32,
    attempt: u32,
    version: String,
    host: String,
    started: When,
    duration: String,
    end: String,
    /// The status of a job that looks like it.
    tone: Status,
    fuel: String,
    full_fuel: String,
    memory: String,
    host_calls: String,
    error: Option<String>,
    has_log: bool,
    is_shown: bool,
}

struct LogView {
    run: u32,
    view: Viewer,
    /// Whether the run goes on.
    is_live: bool,
}

/// What the address of a job says.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// Whose log; the last run's when absent.
    run: Option<u32>,
    done: Option<Done>,
}

/// The page.
pub(super) async fn show(
    console: Console,
    Given(Path(id)): Given<Path<String>>,
    Given(Query(asked)): Given<Query<Asked>>,
    uri: Uri,
) -> Response {
    if id.parse().map(|id: JobId| id.to_string()).as_ref() != Ok(&id) {
        return to_canonical(&console, id, uri.query()).await;
    }
    console.page(move |console| page(console, &id, asked).map_err(|trouble| trouble.at(Section::Jobs))).await
}

/// Leads from the end of an id, or an id in another spelling, to the job's own address: one job has one page. Not for ever,
/// because a later job's id may end the same.
async fn to_canonical(console: &Console, id: String, query: Option<&str>) -> Response {
    match actions::read(console, Right::Read, id).await {
        Ok(job) => {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            Redirect::to(&format!("/jobs/{}{query}", job.submission.id)).into_response()
        }
        Err(trouble) => console.refuse(&trouble.at(Section::Jobs)),
    }
}

fn page(console: &Console, id: &str, asked: Asked) -> Result<Page, Trouble> {
    let host = &console.host;
    let job = console.job(Right::Read, id)?;
    let runs = host.jobs.runs(&job)?;
    let now = console.now();
    let Job { submission, state } = &job;
    let opens = console.opens(submission);
    let is_batch = submission.job_type == JobType::BATCH;
    let mut shell =
        console.shell(Section::Jobs, text::line(&submission.display_name(), 60), After { done: asked.done });
    if state.status.is_final() {
        shell.refresh_ms = 0;
    } else if state.status.is_locked() {
        shell.refresh_ms = 1_000;
    }
    let reasons = why::reasons(console, &job)?;
    let leading = reasons.first().map(|why| text::joined(&why.sentence)).unwrap_or_default();
    // A batch runs nothing itself: the run that ends it is a way of keeping books.
    let runs = if is_batch { Vec::new() } else { runs };
    let log = if opens { log(console, &job, &runs, asked.run)? } else { None };
    Ok(Page {
        shell,
        short_id: short_id(&submission.id.to_string()),
        id: submission.id.to_string(),
        name: text::line(&submission.display_name(), LINE_CHARS),
        state: state.status.word(),
        shape: state.status.shape(),
        reasons,
        buttons: offers::buttons(&job, &host.jobs.offers(&job, &console.caller)?),
        code: (!is_batch).then(|| CodeOf {
            plugin: submission.plugin.to_string(),
            leads_to_plugin: console.leads_to_plugin(&submission.plugin),
            handler: submission.handler.to_string(),
        }),
        facts: described(console, &job),
        tags: submission.tags.iter().map(|tag| text::line(tag, 64)).collect(),
        progress: host.jobs.progress(&job).filter(|_| is_batch || !state.status.is_final()).map(bar),
        error: state.failure().filter(|_| stands(state.status)).map(|failure| error_box(failure, &job, opens, now)),
        moments: timeline::moments(&job, &runs, leading, now),
        runs_left_out: runs.len().saturating_sub(RUNS),
        runs: run_rows(&job, &runs, now, log.as_ref()),
        opens,
        log,
        input: view(console, Part::Input, Some(&submission.input).filter(|_| opens))?,
        output: view(console, Part::Output, state.output.as_ref().filter(|_| opens))?,
        relations: related::relations(console, &job)?,
        deeds: related::deeds(host.jobs.audit(&job)?, now),
        has_ended: state.status.is_final(),
    })
}

fn view(console: &Console, part: Part, payload: Option<&Payload>) -> Result<Option<Viewer>, Trouble> {
    payload.iter().for_each(|_| console.gives(part));
    Ok(payload.map(|payload| console.host.jobs.payload(payload)).transpose()?.map(|bytes| Viewer::new(&bytes)))
}

/// Whether a job's last failure is why it stands where it does.
fn stands(status: Status) -> bool {
    matches!(status, Status::Waiting | Status::Retrying | Status::Paused | Status::Failed | Status::Canceled)
}

/// The log of a run: the one asked for, or the one under way, or the last one that has any.
fn log(console: &Console, job: &Job, runs: &[Run], number: Option<u32>) -> Result<Option<LogView>, Trouble> {
    let live = console.host.jobs.live_log(job).filter(|_| number.is_none_or(|number| number == job.state.runs));
    if let Some(live) = live {
        console.gives(Part::Logs);
        let view = Viewer::log(live.since(0).text.as_bytes());
        return Ok(Some(LogView { run: job.state.runs, view, is_live: true }));
    }
    let chosen = match number {
        Some(number) => runs.iter().find(|run| run.number == number),
        None => runs.iter().rev().find(|run| run.log.is_some()),
    };
    let Some((run, log)) = chosen.and_then(|run| Some((run.number, run.log.as_ref()?))) else { return Ok(None) };
    console.gives(Part::Logs);
    Ok(Some(LogView { run, view: Viewer::log(&console.host.jobs.payload(log)?), is_live: false }))
}

fn described(console: &Console, job: &Job) -> Vec<Fact> {
    let Job { submission, state } = job;
    let now = console.now();
    let policy = console.host.registry.policy(submission.tenant, &submission.plugin);
    let max_attempts = submission.max_attempts.unwrap_or(policy.retry.max_attempts);
    let fact = |name, value: String| Fact { name, value, title: String::new() };
    let time = |name, at: Timestamp| {
        let When { relative, instant } = When::new(at, now);
        Fact { name, value: relative, title: instant }
    };
    let usage = state.usage();
    let version = state.version.as_ref().map(ToString::to_string);
    let mut described = Vec::new();
    if submission.job_type != JobType::BATCH {
        described.extend([
            fact("Version", version.unwrap_or_else(|| "chosen when it starts".to_owned())),
            fact("Queue", submission.queue.to_string()),
            fact("Priority", submission.priority.to_string()),
            fact("Attempt", format!("{} of {max_attempts}", state.attempt)),
        ]);
    }
    described.push(time("Created", submission.created_on));
    described.extend(submission.not_before.map(|at| time("Not before", at)));
    described.extend(submission.expires_on.filter(|_| state.started_on.is_none()).map(|at| time("Expires", at)));
    described.extend(submission.deadline.map(|limit| fact("Deadline of a run", text::span(limit))));
    described.extend(state.started_on.filter(|_| submission.job_type != JobType::BATCH).map(|on| time("Started", on)));
    described.extend(state.completed_on.map(|on| time("Ended", on)));
    described.extend(duration(job, now).map(|took| fact("Took", text::span(took))));
    if usage != Usage::default() {
        described.push(Fact { name: "Fuel", value: text::short_count(usage.fuel), title: text::count(usage.fuel) });
        described.push(fact("Peak memory", text::bytes(usage.peak_memory_bytes)));
        described.push(fact("Host calls", text::count(usage.host_calls)));
    }
    // What a command is given is its input, too.
    let opens = console.opens(submission);
    if opens && !submission.args.is_empty() {
        described.push(fact("Arguments", text::line(&submission.args.join(" "), 400)));
    }
    if opens && !submission.env.is_empty() {
        let names: Vec<_> = submission.env.iter().map(|(name, _)| name.as_str()).collect();
        described.push(fact("Environment", text::line(&names.join(", "), 400)));
    }
    if let Some((on, by)) = &state.modified {
        let When { relative, instant } = When::new(*on, now);
        let value = format!("{relative} by {}", text::line(by, LINE_CHARS));
        described.push(Fact { name: "Steered", value, title: instant });
    }
    if state.crashes > 0 {
        described.push(fact("Lost hosts", state.crashes.to_string()));
    }
    described
}

fn bar(progress: Progress) -> Bar {
    let Progress { done, total, note } = progress;
    let words = match total {
        Some(total) if total > 0 => {
            let percent = u128::from(done.min(total)) * 100 / u128::from(total);
            format!("{} of {} ({percent} %)", text::count(done), text::count(total))
        }
        _ => format!("{} done", text::count(done)),
    };
    let max = total.filter(|total| *total > 0);
    let note = note.map(|note| text::line(&note, LINE_CHARS));
    Bar { value: max.map_or(done, |max| done.min(max)), max, words, note }
}

fn error_box(failure: &Failure, job: &Job, opens: bool, now: Timestamp) -> ErrorBox {
    let (class, class_words, advice) = match failure.class {
        ErrorClass::Transient => ("transient", "may pass by itself", "Look at what it depends on, then run it again."),
        ErrorClass::Throttled => ("throttled", "the other side asked to slow down", "Run it again later."),
        ErrorClass::UserFixable => ("user-fixable", "a person can fix it", "Fix the cause, then run it again."),
        ErrorClass::Business if job.submission.job_type == JobType::BATCH => {
            ("business", "too many of its jobs failed", "Run those that failed again.")
        }
        ErrorClass::Business => ("business", "the handler refuses the work", "Correct the input and submit it again."),
        ErrorClass::Fatal => {
            ("fatal", "another attempt would not help", "Fix the handler, upload a new version, run it again.")
        }
    };
    let retry = (job.state.status == Status::Retrying).then_some(job.state.postpone_until).flatten();
    let retry = retry.map(|at| format!("Nothing: the host tries it again {}. ", When::new(at, now).relative));
    let known = failure.code.as_deref().and_then(code::find);
    let whole = |text: &str| text::neutral(&text.chars().take(ERROR_CHARS).collect::<String>());
    ErrorBox {
        class,
        class_words,
        code: failure.code.as_deref().map(|code| text::line(code, 64)),
        is_ours: known.is_some(),
        message: whole(&failure.message),
        detail: failure.detail.as_deref().filter(|_| opens).map(whole),
        next: text::parts(&format!(
            "{}{}",
            retry.unwrap_or_default(),
            known.map_or(advice.to_owned(), |code| of_this_job(code.remedy, job))
        )),
    }
}

/// The catalogue's advice with this job's id where a command takes one.
fn of_this_job(remedy: &str, job: &Job) -> String {
    remedy.replace(" ID`", &format!(" {}`", job.submission.id)).replace(" ID ", &format!(" {} ", job.submission.id))
}

fn run_rows(job: &Job, runs: &[Run], now: Timestamp, shown: Option<&LogView>) -> Vec<RunRow> {
    let is_shown = |number: u32| shown.is_some_and(|log| log.run == number);
    let closed = runs.iter().rev().take(RUNS).map(|run| RunRow {
        number: run.number,
        attempt: run.attempt,
        version: run.version.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string),
        host: run.host.to_string(),
        started: When::new(run.started_on, now),
        duration: text::span(run.ended_on.since(run.started_on)),
        end: timeline::end_words(run.end).to_owned(),
        tone: tone(run),
        fuel: text::short_count(run.usage.fuel),
        full_fuel: text::count(run.usage.fuel),
        memory: text::bytes(run.usage.peak_memory_bytes),
        host_calls: text::count(run.usage.host_calls),
        error: run.failure.as_ref().map(|failure| text::line(&failure.message, LINE_CHARS)),
        has_log: run.log.is_some(),
        is_shown: is_shown(run.number),
    });
    let present = present_run(job, now).map(|run| RunRow { is_shown: is_shown(run.number), ..run });
    present.into_iter().chain(closed).collect()
}

fn tone(run: &Run) -> Status {
    match run.end {
        RunEnd::Succeeded => Status::Succeeded,
        RunEnd::Failed | RunEnd::TimedOut | RunEnd::LeaseLost => Status::Failed,
        RunEnd::Canceled => Status::Canceled,
        RunEnd::Retry => Status::Retrying,
        RunEnd::Suspended | RunEnd::Yielded | RunEnd::Released => Status::Waiting,
        RunEnd::Paused => Status::Paused,
    }
}

/// The run that is under way.
fn present_run(job: &Job, now: Timestamp) -> Option<RunRow> {
    let state = &job.state;
    let lease = state.lease.filter(|_| state.status.is_locked())?;
    let started_on = state.run_started_on?;
    let unknown = || "–".to_owned();
    Some(RunRow {
        number: state.runs,
        attempt: state.attempt,
        version: state.version.as_ref().map_or_else(unknown, ToString::to_string),
        host: lease.host.to_string(),
        started: When::new(started_on, now),
        duration: text::span(now.since(started_on)),
        end: "runs now".to_owned(),
        tone: Status::Running,
        fuel: unknown(),
        full_fuel: String::new(),
        memory: unknown(),
        host_calls: unknown(),
        error: None,
        has_log: false,
        is_shown: false,
    })
}
