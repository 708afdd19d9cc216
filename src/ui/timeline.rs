//! What has happened to a job, in words.

use std::time::Duration;

use super::text::{self, LINE_CHARS, When};
use crate::domain::job::{Job, Run, RunEnd, Status};
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

/// A job's history, oldest first, up to where it stands at `now`, and `why` it does.
pub(super) fn moments(job: &Job, runs: &[Run], why: String, now: Timestamp) -> Vec<Moment> {
    let mut moments = vec![submitted(job, now)];
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
        moments.push(ended_run(run, now));
        free_since = run.ended_on;
    }
    if let (true, Some(started_on)) = (job.state.status.is_locked(), job.state.run_started_on) {
        moments.extend(waited(free_since, started_on));
    }
    moments.extend(job.state.cancel_requested_on.map(|on| moment("wait", "Cancel requested", None, Some(on), now)));
    moments.push(present(job, why, now));
    moments
}

fn moment(
    tone: &'static str,
    title: impl Into<String>,
    detail: Option<String>,
    on: Option<Timestamp>,
    now: Timestamp,
) -> Moment {
    Moment { tone, title: title.into(), detail, when: on.map(|on| When::new(on, now)) }
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

fn submitted(job: &Job, now: Timestamp) -> Moment {
    let submission = &job.submission;
    let by = submission.created_by.as_ref().map(|by| format!("by {}", text::line(by, LINE_CHARS)));
    let not_before = submission.not_before.map(|at| format!("not to start before {at}"));
    let expires = submission.expires_on.map(|at| format!("expires {at}"));
    let details: Vec<_> = [by, not_before, expires].into_iter().flatten().collect();
    let detail = (!details.is_empty()).then(|| details.join(", "));
    moment("done", "Submitted", detail, Some(submission.created_on), now)
}

fn ended_run(run: &Run, now: Timestamp) -> Moment {
    let tone = match run.end {
        RunEnd::Succeeded => "good",
        RunEnd::Failed | RunEnd::TimedOut | RunEnd::LeaseLost => "bad",
        _ => "done",
    };
    let took = text::span(run.ended_on.since(run.started_on));
    let title = format!("Run {} {} after {took}", run.number, end_words(run.end));
    let message = run.failure.as_ref().map(|failure| text::line(&failure.message, LINE_CHARS));
    moment(tone, title, message, Some(run.ended_on), now)
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

fn present(job: &Job, why: String, now: Timestamp) -> Moment {
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
    moment(tone, title, Some(why), on, now)
}
