//! How jobs look on a terminal.

use std::time::Duration;

use super::client::Answer;
use super::failure::Exit;
use super::table::{Columns, Field};
use super::terminal::Terminal;
use crate::api::view::{
    AttemptView, AttemptsView, ErrorView, FollowUpBody, JobView, OutputEncoding, ProgressView, UsageView,
};
use crate::config::units::{show_duration, show_size};
use crate::domain::time::Timestamp;

/// The columns of a list of jobs.
pub(crate) const COLUMNS: Columns<'_> = Columns {
    headings: &["ID", "STATE", "JOB", "ATTEMPT", "CREATED", "TOOK", "NOTE"],
    spare: &["TOOK", "ATTEMPT", "CREATED", "NOTE", "JOB"],
};

/// One job of a list.
pub(crate) fn row(job: &JobView) -> Vec<Field> {
    let took = took(job.started_on.as_deref(), job.completed_on.as_deref());
    vec![
        Field::new(&job.id),
        Field::state(&job.state),
        Field::new(&job.name),
        Field::new(format!("{}/{}", job.attempt, job.max_attempts)),
        Field::new(short_time(&job.created_on)),
        Field::or_dash(took),
        Field::new(note(job)),
    ]
}

/// The one thing to know about a job in a list: why it does not start, else what went wrong, else how far it is.
fn note(job: &JobView) -> String {
    if let Some(why) = &job.why {
        let last = job.error.as_ref().map(|error| format!(" (last: {})", first_line(&error.message)));
        return format!("{}{}", first_line(&why.message), last.unwrap_or_default());
    }
    if let Some(ErrorView { code, message, .. }) = &job.error {
        let code = code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default();
        return first_line(&format!("{code}{message}"));
    }
    if let Some(progress) = &job.progress.as_ref().filter(|_| !job.is_final()) {
        return show_progress(progress);
    }
    let until = job.postpone_until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
    job.wait_reason.as_ref().map(|reason| format!("{reason}{until}")).unwrap_or_default()
}

/// Everything about one job.
pub(crate) fn show(job: &Answer<JobView>, terminal: Terminal) -> anyhow::Result<()> {
    if terminal.is_json() {
        terminal.json(&job.text)?;
        return Ok(());
    }
    let view = &job.view;
    let reason = view.wait_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let version = view.plugin.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    terminal.facts(&[
        ("job", Some(view.id.clone())),
        ("name", Some(view.name.clone())),
        ("state", Some(format!("{}{reason}", terminal.state(&view.state)))),
        ("plug-in", Some(format!("{}{version}, handler {}", view.plugin.name, view.handler))),
        ("queue", Some(format!("{}, priority {}", view.queue, view.priority))),
        ("attempt", Some(format!("{} of {} ({})", view.attempt, view.max_attempts, runs(view.runs)))),
        ("created", Some(view.created_on.clone())),
        ("owner", view.owner.clone()),
        ("until", view.postpone_until.clone()),
        ("expires", view.expires_on.clone()),
        ("started", view.started_on.clone()),
        ("completed", view.completed_on.clone()),
        ("took", took(view.started_on.as_deref(), view.completed_on.as_deref())),
        ("progress", view.progress.as_ref().map(show_progress)),
        ("used", (view.runs > 0).then(|| show_usage(&view.usage))),
        ("deadline", view.deadline_ms.map(|millis| show_duration(Duration::from_millis(millis)))),
        ("blocked by", (!view.blocked_by.is_empty()).then(|| view.blocked_by.join(", "))),
        ("after", (!view.after.is_empty()).then(|| view.after.join(", "))),
        ("ordering key", view.ordering_key.clone()),
        ("concurrency key", view.concurrency_key.clone()),
        ("dedup key", view.dedup_key.clone()),
        ("regarding", view.regarding.clone()),
        ("batch", view.batch.clone()),
        ("schedule", view.schedule.as_ref().map(|made| format!("{}, for {}", made.name, made.scheduled_for))),
        ("retry of", view.retry_of.clone()),
        ("then", view.on_complete.as_ref().map(show_follow_up)),
        ("removed", view.auto_delete.then(|| "as soon as it has succeeded".to_owned())),
        ("tags", (!view.tags.is_empty()).then(|| view.tags.join(", "))),
        ("input", Some(show_size(view.input_bytes))),
        ("output", view.output_bytes.map(|bytes| show_output(view, bytes))),
        ("error", view.error.as_ref().map(show_error)),
    ])?;
    Ok(())
}

fn show_follow_up(follow_up: &FollowUpBody) -> String {
    let FollowUpBody { plugin, handler, queue, url } = follow_up;
    if let Some(url) = url {
        return format!("POST {url}");
    }
    let handler = handler.as_ref().map(|handler| format!("/{handler}")).unwrap_or_default();
    let queue = queue.as_ref().map(|queue| format!(" in queue {queue}")).unwrap_or_default();
    format!("{plugin}{handler}{queue}")
}

fn runs(count: u32) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

fn show_output(job: &JobView, bytes: u64) -> String {
    const SHOWN: usize = 2_000;
    let text = match (&job.output, job.output_encoding) {
        (Some(output), Some(OutputEncoding::Text)) => serde_json::from_str(output.get()).unwrap_or_default(),
        (Some(output), Some(OutputEncoding::Json)) => output.get().to_owned(),
        _ => return format!("{}; print it with: backroom job output {}", show_size(bytes), job.id),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}\n... print all of it with: backroom job output {}", &text[..end], job.id),
        None => text,
    }
}

fn show_error(error: &ErrorView) -> String {
    let ErrorView { class, code, message, detail } = error;
    let code = code.as_ref().map(|code| format!("{code}, ")).unwrap_or_default();
    let detail = detail.as_ref().map(|detail| format!("\n{detail}")).unwrap_or_default();
    format!("{message} ({code}{class}){detail}")
}

fn show_progress(progress: &ProgressView) -> String {
    let ProgressView { done, total, note } = progress;
    let total = total.map(|total| format!(" of {total}")).unwrap_or_default();
    let note = note.as_ref().map(|note| format!(", {note}")).unwrap_or_default();
    format!("{done}{total}{note}")
}

fn show_usage(usage: &UsageView) -> String {
    let UsageView { fuel, cpu_ms, wall_ms, peak_memory_bytes, host_calls, log_bytes } = usage;
    format!(
        "{fuel} fuel, {} on a core, {} in its runs, {} KiB of memory, {host_calls} host calls, {log_bytes} bytes of log",
        show_millis(*cpu_ms),
        show_millis(*wall_ms),
        peak_memory_bytes.div_ceil(1_024),
    )
}

/// The runs of a job.
pub(crate) fn attempts(attempts: &Answer<AttemptsView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json_list(&attempts.text, "attempts")?;
        return Ok(Exit::Done);
    }
    let row = |run: &AttemptView| {
        vec![
            Field::new(run.attempt.to_string()),
            Field::new(run.run.to_string()),
            Field::state(run.end.as_deref().unwrap_or("running")),
            Field::new(short_time(&run.started_on)),
            Field::or_dash(took(Some(&run.started_on), run.ended_on.as_deref())),
            Field::new(run.usage.fuel.to_string()),
            Field::or_dash(run.version.as_ref()),
            Field::new(run.error.as_ref().map(|error| first_line(&error.message)).unwrap_or_default()),
        ]
    };
    let rows = attempts.view.attempts.iter().map(row).collect();
    let columns = Columns {
        headings: &["ATTEMPT", "RUN", "END", "STARTED", "TOOK", "FUEL", "VERSION", "ERROR"],
        spare: &["FUEL", "VERSION", "TOOK", "STARTED", "ATTEMPT"],
    };
    terminal.table(&columns, rows)?;
    Ok(Exit::Done)
}

/// A time to the second; the rest is in the job's own view.
pub(crate) fn short_time(time: &str) -> String {
    let cut = time.find('.').map_or(time, |dot| &time[..dot]);
    cut.trim_end_matches('Z').replace('T', " ")
}

/// How long something took, from its first start to its end: with all that it waited for in between. The console says the same.
fn took(started_on: Option<&str>, ended_on: Option<&str>) -> Option<String> {
    let time = |text: Option<&str>| text?.parse::<Timestamp>().ok();
    let (started_on, ended_on) = (time(started_on)?, time(ended_on)?);
    Some(show_millis(ended_on.since(started_on).as_secs_f64() * 1_000.0))
}

fn show_millis(millis: f64) -> String {
    match millis {
        millis if millis < 1_000.0 => format!("{millis:.1}ms"),
        millis => format!("{:.1}s", millis / 1_000.0),
    }
}

/// The first line of a text, cut where it is long.
pub(crate) fn first_line(text: &str) -> String {
    const SHOWN: usize = 100;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}
