//! What has happened to a job and why it is where it is, in words.

use std::time::Duration;

use super::text::{self, LINE_CHARS, When};
use crate::domain::failure::ErrorClass;
use crate::domain::job::{Job, Run, RunEnd, Status, WaitReason};
use crate::domain::service::ServiceState;
use crate::domain::time::Timestamp;

/// Moments that a page shows at most; of longer histories the middle is left out.
const MOMENTS: usize = 40;

/// One entry of a job's history.
pub(super) struct Moment {
    /// `done`, `good`, `bad`, `wait`, `run` or `gap`.
    pub(super) tone: &'static str,
    pub(super) title: String,
    pub(super) detail: Option<String>,
    pub(super) when: Option<When>,
}

/// What else there is to know about a job.
pub(super) struct Facts {
    pub(super) now: Timestamp,
    pub(super) service: ServiceState,
    pub(super) max_attempts: u32,
    pub(super) plugin_is_disabled: bool,
}

/// A job's history, oldest first, up to where it stands now.
pub(super) fn moments(job: &Job, runs: &[Run], facts: &Facts) -> Vec<Moment> {
    let mut moments = vec![submitted(job, facts)];
    let mut free_since = job.submission.created_on;
    let shown: Vec<_> =
        runs.iter().take(MOMENTS / 2).chain(runs.iter().skip(MOMENTS / 2).rev().take(MOMENTS / 2).rev()).collect();
    let mut left_out = runs.len() - shown.len();
    for (at, run) in shown.into_iter().enumerate() {
        if at == MOMENTS / 2 && left_out > 0 {
            moments.push(gap(format!("{left_out} more runs")));
            left_out = 0;
        } else {
            moments.extend(waited(free_since, run.started_on));
        }
        moments.push(ended_run(run, facts));
        free_since = run.ended_on;
    }
    if let (true, Some(started_on)) = (job.state.status.is_locked(), job.state.run_started_on) {
        moments.extend(waited(free_since, started_on));
    }
    moments.extend(job.state.cancel_requested_on.map(|on| moment("wait", "Cancel requested", None, Some(on), facts)));
    moments.push(present(job, facts));
    moments
}

fn moment(
    tone: &'static str,
    title: impl Into<String>,
    detail: Option<String>,
    on: Option<Timestamp>,
    facts: &Facts,
) -> Moment {
    Moment { tone, title: title.into(), detail, when: on.map(|on| When::new(on, facts.now)) }
}

fn gap(title: String) -> Moment {
    Moment { tone: "gap", title, detail: None, when: None }
}

/// A wait that is long enough to be worth a line.
fn waited(from: Timestamp, to: Timestamp) -> Option<Moment> {
    const WORTH_A_LINE: Duration = Duration::from_millis(1);
    let waited = to.since(from);
    (waited >= WORTH_A_LINE).then(|| gap(format!("waited {}", text::span(waited))))
}

fn submitted(job: &Job, facts: &Facts) -> Moment {
    let submission = &job.submission;
    let by = submission.created_by.as_ref().map(|by| format!("by {}", text::line(by, LINE_CHARS)));
    let not_before = submission.not_before.map(|at| format!("not to start before {at}"));
    let expires = submission.expires_on.map(|at| format!("expires {at}"));
    let details: Vec<_> = [by, not_before, expires].into_iter().flatten().collect();
    let detail = (!details.is_empty()).then(|| details.join(", "));
    moment("done", "Submitted", detail, Some(submission.created_on), facts)
}

fn ended_run(run: &Run, facts: &Facts) -> Moment {
    let tone = match run.end {
        RunEnd::Succeeded => "good",
        RunEnd::Failed | RunEnd::TimedOut | RunEnd::LeaseLost => "bad",
        _ => "done",
    };
    let took = text::span(run.ended_on.since(run.started_on));
    let title = format!("Run {} {} after {took}", run.number, end_words(run.end));
    let message = run.failure.as_ref().map(|failure| text::line(&failure.message, LINE_CHARS));
    moment(tone, title, message, Some(run.ended_on), facts)
}

/// How a run ended, as the rest of a sentence.
pub(super) const fn end_words(end: RunEnd) -> &'static str {
    match end {
        RunEnd::Succeeded => "succeeded",
        RunEnd::Failed => "failed",
        RunEnd::Canceled => "was canceled",
        RunEnd::Retry => "asked to be tried again",
        RunEnd::Suspended => "suspended",
        RunEnd::Yielded => "yielded",
        RunEnd::Released => "was released by its host",
        RunEnd::Paused => "paused",
        RunEnd::TimedOut => "timed out",
        RunEnd::LeaseLost => "lost its host",
    }
}

fn present(job: &Job, facts: &Facts) -> Moment {
    let state = &job.state;
    let (tone, title, on) = match state.status {
        Status::Succeeded => ("good", "Succeeded", state.completed_on),
        Status::Failed => ("bad", "Failed", state.completed_on),
        Status::Canceled => ("done", "Canceled", state.completed_on),
        Status::Running => ("run", "Running", state.run_started_on),
        Status::Pausing => ("run", "Pausing", state.run_started_on),
        Status::Canceling => ("run", "Canceling", state.run_started_on),
        Status::Queued => ("wait", "Queued", None),
        Status::Waiting => ("wait", "Waiting", None),
        Status::Retrying => ("wait", "Waiting to be tried again", None),
        Status::Paused => ("wait", "Paused", None),
    };
    moment(tone, title, Some(explain(job, facts)), on, facts)
}

/// One sentence: why the job is where it is, and what happens next.
pub(super) fn explain(job: &Job, facts: &Facts) -> String {
    let state = &job.state;
    let until = state.postpone_until.map_or_else(|| "later".to_owned(), |at| When::new(at, facts.now).relative);
    match state.status {
        Status::Queued => queued(job, facts),
        Status::Waiting => waiting(job, &until),
        Status::Retrying => {
            format!("Attempt {} of {} failed; the next one starts {until}.", state.attempt, facts.max_attempts)
        }
        Status::Paused => "A person has stopped it; it goes on when somebody resumes it.".to_owned(),
        Status::Running => match (state.lease, state.run_started_on) {
            (Some(lease), Some(on)) => format!("On {} for {}.", lease.host, text::span(facts.now.since(on))),
            _ => "A host runs it.".to_owned(),
        },
        Status::Pausing => "Asked to pause; it stops at the handler's next safe point.".to_owned(),
        Status::Canceling => "Asked to cancel; a handler that does not stop by itself is stopped soon.".to_owned(),
        Status::Succeeded => finished(job, facts),
        Status::Failed => failed(job, facts),
        Status::Canceled => match state.failure() {
            Some(failure) => text::line(&failure.message, LINE_CHARS),
            None => finished(job, facts),
        },
    }
}

fn queued(job: &Job, facts: &Facts) -> String {
    let queue = &job.submission.queue;
    match facts.service {
        _ if facts.plugin_is_disabled => "Its plug-in is disabled: it will be canceled when its turn comes.".to_owned(),
        ServiceState::Paused => "The service is paused; it starts when somebody resumes the service.".to_owned(),
        ServiceState::Draining => "The host is going down; it starts after the restart.".to_owned(),
        ServiceState::Running => format!("Waits for a free slot in queue {queue}; greater priority first, then older."),
    }
}

fn waiting(job: &Job, until: &str) -> String {
    match job.state.wait_reason {
        Some(WaitReason::Scheduled) => format!("Scheduled to start {until}."),
        Some(WaitReason::Postponed) => format!("A person has put it off; it may start {until}."),
        Some(WaitReason::Sleep) => format!("The handler asked to be woken {until}."),
        Some(WaitReason::Event) => "The handler waits for an event.".to_owned(),
        Some(WaitReason::Children) => "It waits for the jobs that it made.".to_owned(),
        Some(WaitReason::Error) => "A person must mend the cause first; see the error.".to_owned(),
        Some(WaitReason::MissingComponent) => {
            let plugin = &job.submission.plugin;
            format!(
                "Plug-in {plugin} has no version that may run; see the error. It goes on by itself when one is active."
            )
        }
        Some(WaitReason::Manual) | None => "It waits for a person to resume it.".to_owned(),
    }
}

fn failed(job: &Job, facts: &Facts) -> String {
    let state = &job.state;
    let class = state.failure().map(|failure| failure.class);
    match class {
        _ if state.started_on.is_none() => "It never started.".to_owned(),
        _ if state.attempt >= facts.max_attempts => match facts.max_attempts {
            1 => "Its only attempt failed.".to_owned(),
            max => format!("All {max} attempts failed."),
        },
        Some(ErrorClass::Business) => "The handler refused the work, so it is not tried again.".to_owned(),
        Some(ErrorClass::Fatal) => "Another attempt would not help, so there is none.".to_owned(),
        _ => format!("Given up after attempt {} of {}.", state.attempt, facts.max_attempts),
    }
}

fn finished(job: &Job, facts: &Facts) -> String {
    let state = &job.state;
    let (Some(started_on), Some(completed_on)) = (state.started_on, state.completed_on) else {
        return "It never started.".to_owned();
    };
    let took = text::span(completed_on.since(started_on));
    format!("{} of {} attempts, {took} from first start to end.", state.attempt, facts.max_attempts)
}
