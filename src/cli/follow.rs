//! Follows a job to its end: tells each change, shows its log, and ends with its result.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use indicatif::{ProgressBar, ProgressStyle};

use super::client::{Answer, Change, Client};
use super::failure::{Exit, Failure};
use super::terminal::{Terminal, Tone, neutralised};
use crate::api::view::{ErrorView, JobView, OutputEncoding};
use crate::domain::code;

/// How long a host that went away may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);

const RECONNECT_EVERY: Duration = Duration::from_millis(500);

/// What is told on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Nothing: a program reads what comes of it.
    Nothing,
    /// Only what keeps it from its end for ever, unless a person does something.
    Quiet,
    /// Every change, and the log of every attempt.
    Everything,
}

impl Telling {
    /// The same, unless programs read the output.
    pub(crate) fn on(self, terminal: Terminal) -> Self {
        if terminal.is_json() { Self::Nothing } else { self }
    }
}

/// Waits for the end of the job `id` and returns it then.
pub(crate) fn to_the_end(client: &Client, id: &str, telling: Telling) -> anyhow::Result<Answer<JobView>> {
    let mut teller = Teller::new(client, telling);
    let mut lost_since: Option<Instant> = None;
    loop {
        match listen(client, id, &mut teller) {
            Ok(Some(ended)) => {
                teller.clear();
                return Ok(ended);
            }
            Ok(None) => lost_since = None,
            Err(error) if !is_lost(&error) => return Err(error),
            Err(error) => {
                let since = *lost_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE || !teller.has_told() {
                    return Err(error);
                }
            }
        }
        std::thread::sleep(RECONNECT_EVERY);
    }
}

/// The same of a job that was just submitted: whoever may not look at it is told that it was taken all the same.
pub(crate) fn taken_to_the_end(client: &Client, id: &str, telling: Telling) -> anyhow::Result<Answer<JobView>> {
    to_the_end(client, id, telling).map_err(|error| match error.downcast::<Failure>() {
        Ok(failure) if failure.code.as_deref() == Some(code::UNKNOWN_JOB.name) => Failure {
            message: format!("job {id} was taken, but it is gone, or the token may not read it"),
            next: Some("do not submit it again; to follow jobs a token needs the right `read:own`".to_owned()),
            ..failure
        }
        .into(),
        Ok(failure) => failure.into(),
        Err(error) => error,
    })
}

/// Whether the host is gone, rather than refusing.
fn is_lost(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_none_or(|failure| failure.code.as_deref() == Some("BR0502"))
}

/// Listens until the job ends, or until the host ends the stream.
fn listen(client: &Client, id: &str, teller: &mut Teller<'_>) -> anyhow::Result<Option<Answer<JobView>>> {
    let mut changes = client.changes(id)?;
    while let Some(change) = changes.next()? {
        match change {
            Change::Deleted => {
                return Err(Failure::bad_input(format!("job {id} was deleted"), "backroom job list").into());
            }
            Change::Job(job) => {
                teller.tell(&job.view)?;
                if job.view.is_final() {
                    return Ok(Some(*job));
                }
            }
        }
    }
    Ok(None)
}

struct Teller<'a> {
    client: &'a Client,
    telling: Telling,
    bar: ProgressBar,
    told: Option<(String, u32)>,
    logged: u32,
}

impl<'a> Teller<'a> {
    fn new(client: &'a Client, telling: Telling) -> Self {
        let bar = match telling {
            Telling::Nothing | Telling::Quiet => ProgressBar::hidden(),
            Telling::Everything => ProgressBar::new_spinner(),
        };
        Self { client, telling, bar, told: None, logged: 0 }
    }

    fn has_told(&self) -> bool {
        self.told.is_some()
    }

    fn tell(&mut self, job: &JobView) -> anyhow::Result<()> {
        let news = Some((job.state.clone(), job.attempt));
        let is_news = self.told != news;
        self.told = news;
        let is_said = match self.telling {
            Telling::Nothing => false,
            Telling::Quiet => is_held(job),
            Telling::Everything => true,
        };
        if is_news && is_said {
            self.say(&describe(job));
            held(job).iter().for_each(|line| self.say(line));
        }
        if self.telling != Telling::Everything {
            return Ok(());
        }
        self.show_progress(job);
        let is_over = job.is_final() || job.state == "retrying" || job.state == "waiting";
        // A job that went with its success took its log along.
        let is_gone = job.auto_delete && job.state == "succeeded";
        if is_over && !is_gone && job.attempt > self.logged {
            self.logged = job.attempt;
            let log = self.client.logs(&job.id, Some(job.attempt))?;
            for line in String::from_utf8_lossy(&log).lines() {
                self.say(&format!("  | {line}"));
            }
        }
        Ok(())
    }

    fn say(&self, line: &str) {
        let line = neutralised(line);
        self.bar.suspend(|| eprintln!("{line}"));
    }

    fn show_progress(&self, job: &JobView) {
        let Some(progress) = &job.progress else { return };
        let template = match progress.total {
            Some(_) => "{bar:30} {pos}/{len} {msg}",
            None => "{spinner} {pos} {msg}",
        };
        self.bar.set_style(ProgressStyle::with_template(template).expect("the template is right"));
        if let Some(total) = progress.total {
            self.bar.set_length(total);
        }
        self.bar.set_position(progress.done);
        self.bar.set_message(neutralised(progress.note.as_deref().unwrap_or_default()));
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Whether the job has nothing to run: it waits for a person, perhaps for ever, so that must not go untold.
fn is_held(job: &JobView) -> bool {
    job.wait_reason.as_deref() == Some("missing-component")
}

/// What a person does about a job that has nothing to run.
fn held(job: &JobView) -> Vec<String> {
    if !is_held(job) {
        return Vec::new();
    }
    let detail = job.error.as_ref().and_then(|error| error.detail.clone());
    let detail = detail.unwrap_or_else(|| "It goes on by itself when a version is there and active.".to_owned());
    let mut lines: Vec<_> = detail.lines().map(|line| format!("  {line}")).collect();
    lines.push(format!("  next: backroom plugin show {}", job.plugin.name));
    lines.push(format!("  not worth the wait: ctrl-c, then backroom job cancel {}", job.id));
    lines
}

fn describe(job: &JobView) -> String {
    let mut line = job.state.clone();
    if job.attempt > 0 {
        line.push_str(&format!(", attempt {} of {}", job.attempt, job.max_attempts));
    }
    if let Some(reason) = &job.wait_reason {
        line.push_str(&format!(" ({reason})"));
    }
    if let Some(until) = &job.postpone_until {
        line.push_str(&format!(" until {until}"));
    }
    if let (Some(error), false) = (&job.error, job.is_final()) {
        line.push_str(&format!(": {}", error.message));
    }
    line
}

/// Writes the result of an ended job: its output where it has one, its error on standard error.
pub(crate) fn show_result(client: &Client, job: &Answer<JobView>, terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        terminal.json(&job.text)?;
        return Ok(exit_of(&job.view));
    }
    let view = &job.view;
    match view.state.as_str() {
        "succeeded" => {
            match shown_output(view) {
                Some(output) => terminal.bytes(&output)?,
                None => match view.output_bytes.filter(|bytes| *bytes > 0) {
                    Some(bytes) if view.auto_delete => eprintln!("its output of {bytes} bytes went with it"),
                    Some(_) => terminal.bytes(&client.output(&view.id)?)?,
                    None => {}
                },
            }
            Ok(Exit::Done)
        }
        _ => Err(failure_of(view).into()),
    }
}

/// The output of a job that was deleted with its end: its view is all that is left of it.
fn shown_output(job: &JobView) -> Option<Vec<u8>> {
    let output = job.output.as_ref().filter(|_| job.auto_delete)?.get();
    match job.output_encoding? {
        OutputEncoding::Json => Some(output.as_bytes().to_vec()),
        OutputEncoding::Text => Some(serde_json::from_str::<String>(output).ok()?.into_bytes()),
        OutputEncoding::Base64 => {
            let encoded: serde_json::Value = serde_json::from_str(output).ok()?;
            BASE64.decode(encoded["base64"].as_str()?).ok()
        }
    }
}

/// What the process ends with when the job is the whole of its work.
pub(crate) fn exit_of(job: &JobView) -> Exit {
    if job.state == "succeeded" { Exit::Done } else { Exit::Failed }
}

/// An ended job that did not succeed, as an error of this command.
pub(crate) fn failure_of(job: &JobView) -> Failure {
    let base = Failure::bad_input("", format!("backroom job show {}", job.id));
    let base = Failure { exit: Exit::Failed, ..base };
    let Some(ErrorView { class, code, message, detail }) = &job.error else {
        return Failure { message: format!("job {} is {}", job.id, job.state), ..base };
    };
    let is_ours = code.as_deref().is_some_and(|code| crate::domain::code::find(code).is_some());
    let own_word = code.as_ref().filter(|_| !is_ours).map(|code| format!(" `{code}`")).unwrap_or_default();
    let attempts = if job.attempt > 1 { format!(" after {} attempts", job.attempt) } else { String::new() };
    Failure {
        code: code.clone().filter(|_| is_ours),
        message: format!("job {} {}{attempts}: {message}", job.id, job.state),
        notes: std::iter::once(format!("class: {class}{own_word}")).chain(detail.clone()).collect(),
        ..base
    }
}

/// A line about a job that has just been taken, for a person.
pub(crate) fn announce(job: &JobView, terminal: Terminal) -> String {
    let state = terminal.paint(Tone::of_state(&job.state), &job.state);
    format!("job {} is {state}; follow it with: backroom job watch {}", job.id, job.id)
}
