//! Follows a job to its end: tells each change and each line of its log, says why it does not start, and ends with its
//! result.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::client::{Answer, Change, Changes, Client};
use super::failure::{Exit, Failure};
use super::interrupt;
use super::progress::Bar;
use super::terminal::{self, Terminal, Tone, neutralised};
use crate::api::view::{ErrorView, JobView, LogView, OutputEncoding, ReasonView};
use crate::domain::code;

/// How long a host that went away may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);

const RECONNECT_EVERY: Duration = Duration::from_millis(500);

/// How long a job may wait before it is said why.
const WHY_AFTER: Duration = Duration::from_secs(2);

/// How many events may be read ahead of what is shown.
const UNHEARD_MAX: usize = 64;

/// How often it is asked again why a job waits; only another answer is told.
const WHY_EVERY: Duration = Duration::from_secs(10);

/// What is told on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Nothing: a program reads what comes of it.
    Nothing,
    /// Only why it does not start.
    Quiet,
    /// Every change, and the log.
    Everything,
    /// The log alone, on standard output.
    Log,
}

impl Telling {
    /// The same, unless programs read the output.
    pub(crate) fn on(self, terminal: Terminal) -> Self {
        if terminal.is_json() && self != Self::Log { Self::Nothing } else { self }
    }

    fn wants_log(self) -> bool {
        matches!(self, Self::Everything | Self::Log)
    }
}

/// Waits for the end of the job `id` and returns it then.
pub(crate) fn to_the_end(
    client: &Client,
    id: &str,
    telling: Telling,
    terminal: Terminal,
) -> anyhow::Result<Answer<JobView>> {
    let mut teller = Teller::new(client, telling, terminal);
    interrupt::waits_for(id, teller.bar.drawn(), terminal);
    let ended = follow(client, id, &mut teller);
    interrupt::over();
    teller.bar.clear();
    ended
}

fn follow(client: &Client, id: &str, teller: &mut Teller<'_>) -> anyhow::Result<Answer<JobView>> {
    let mut lost_since: Option<Instant> = None;
    loop {
        match listen(client, id, teller) {
            Ok(Some(ended)) => return Ok(ended),
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

/// The same of a job that was just submitted. Its id comes first. Whoever may not look at it hears that it was accepted all
/// the same.
pub(crate) fn taken_to_the_end(
    client: &Client,
    id: &str,
    telling: Telling,
    terminal: Terminal,
) -> anyhow::Result<Answer<JobView>> {
    if telling == Telling::Everything {
        terminal::aside(&format!("job {id}"));
    }
    to_the_end(client, id, telling, terminal).map_err(|error| match error.downcast::<Failure>() {
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

/// Whether the host is gone, rather than refusing. What fails on this side, such as standard output, is not the host's.
fn is_lost(error: &anyhow::Error) -> bool {
    let lost = [code::NO_HOST, code::NO_ANSWER, code::NOT_A_HOST].map(|code| code.name);
    let code = error.downcast_ref::<Failure>().and_then(|failure| failure.code.as_deref());
    code.is_some_and(|code| lost.contains(&code))
}

/// Listens until the job ends, or until the host ends the stream.
fn listen(client: &Client, id: &str, teller: &mut Teller<'_>) -> anyhow::Result<Option<Answer<JobView>>> {
    let mut changes = open(client, id, teller)?;
    let (heard, hearing) = mpsc::sync_channel(UNHEARD_MAX);
    // Reading blocks, and somebody has to see how long nothing comes.
    std::thread::spawn(move || {
        loop {
            let next = changes.next();
            let is_last = !matches!(next, Ok(Some(_)));
            if heard.send(next).is_err() || is_last {
                return;
            }
        }
    });
    loop {
        let change = match hearing.recv_timeout(teller.patience()) {
            Ok(change) => change?,
            Err(RecvTimeoutError::Timeout) => {
                teller.say_why(id)?;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => None,
        };
        match change {
            None => return Ok(None),
            Some(Change::Deleted) => {
                return Err(Failure::bad_input(format!("job {id} was deleted"), "backroom job list").into());
            }
            Some(Change::Log(log, place)) => {
                teller.tell_log(&log)?;
                teller.place = place;
            }
            Some(Change::Job(job)) => {
                teller.tell(&job.view)?;
                if job.view.is_final() {
                    return Ok(Some(*job));
                }
            }
        }
    }
}

/// The stream of a job, with its log where the token may see that.
fn open(client: &Client, id: &str, teller: &mut Teller<'_>) -> anyhow::Result<Changes> {
    if !teller.wants_log {
        return client.changes(id, false, None);
    }
    let refused = match client.changes(id, true, teller.place.as_deref()) {
        Ok(changes) => return Ok(changes),
        Err(error) => error,
    };
    let is_of_log =
        refused.downcast_ref::<Failure>().is_some_and(|failure| failure.code.as_deref() == Some(code::FORBIDDEN.name));
    if !is_of_log || teller.telling == Telling::Log {
        return Err(refused);
    }
    teller.wants_log = false;
    teller.say("the log is not shown: the token has no right `payload`");
    client.changes(id, false, None)
}

struct Teller<'a> {
    client: &'a Client,
    telling: Telling,
    terminal: Terminal,
    wants_log: bool,
    bar: Bar,
    told: Option<(String, u32)>,
    /// Since when it is in that state, and whether it waits in it.
    since: Instant,
    waits: bool,
    why: Option<String>,
    asked_why: Option<Instant>,
    /// The run whose log was told last.
    logged: u32,
    /// Where its log goes on, for a host that was lost meanwhile.
    place: Option<String>,
}

impl<'a> Teller<'a> {
    fn new(client: &'a Client, telling: Telling, terminal: Terminal) -> Self {
        let bar = match telling {
            Telling::Nothing | Telling::Quiet | Telling::Log => Bar::hidden(),
            Telling::Everything => Bar::spinner(),
        };
        Self {
            client,
            telling,
            terminal,
            wants_log: telling.wants_log(),
            bar,
            told: None,
            since: Instant::now(),
            waits: false,
            why: None,
            asked_why: None,
            logged: 0,
            place: None,
        }
    }

    fn has_told(&self) -> bool {
        self.told.is_some()
    }

    fn tell(&mut self, job: &JobView) -> anyhow::Result<()> {
        interrupt::is_in(&job.state);
        let news = Some((job.state.clone(), job.attempt));
        if self.told != news {
            self.told = news;
            self.since = Instant::now();
            self.waits = !job.is_final() && !matches!(job.state.as_str(), "running" | "pausing" | "canceling");
            (self.why, self.asked_why) = (None, None);
            if self.telling == Telling::Everything {
                self.say(&describe(job));
            }
            let is_told = matches!(self.telling, Telling::Everything | Telling::Quiet);
            held(job).iter().filter(|_| is_told).for_each(|line| self.say(line));
            if self.waits && job.attempt > 0 {
                self.say_breaker(&job.id);
            }
        }
        if self.telling == Telling::Everything
            && let Some(progress) = &job.progress
        {
            self.bar.show(progress.done, progress.total, &neutralised(progress.note.as_deref().unwrap_or_default()));
        }
        Ok(())
    }

    fn tell_log(&mut self, log: &LogView) -> anyhow::Result<()> {
        let is_new_run = std::mem::replace(&mut self.logged, log.run) != log.run;
        if self.telling == Telling::Log && self.terminal.is_json() {
            return Ok(self.terminal.json(&serde_json::to_string(log)?)?);
        }
        if is_new_run && log.run > 1 {
            self.put_log(&format!("--- attempt {}, run {} ---", log.attempt, log.run))?;
        }
        log.text.lines().try_for_each(|line| self.put_log(line))
    }

    fn put_log(&self, line: &str) -> anyhow::Result<()> {
        match self.telling {
            Telling::Log => self.terminal.line(line)?,
            _ => self.say(&format!("  | {line}")),
        }
        Ok(())
    }

    /// How long to listen before it is asked why nothing happens.
    fn patience(&self) -> Duration {
        let is_said = matches!(self.telling, Telling::Everything | Telling::Quiet);
        if !is_said || !self.waits {
            return WHY_EVERY;
        }
        match self.asked_why {
            Some(asked) => WHY_EVERY.saturating_sub(asked.elapsed()),
            None => WHY_AFTER.saturating_sub(self.since.elapsed()),
        }
    }

    /// Says why the job waits, in the words of `backroom job explain`, unless that was said already.
    fn say_why(&mut self, id: &str) -> anyhow::Result<()> {
        let is_said = matches!(self.telling, Telling::Everything | Telling::Quiet);
        if !is_said || !self.waits || !self.patience().is_zero() {
            return Ok(());
        }
        self.asked_why = Some(Instant::now());
        let reasons = match self.client.explain(id) {
            Ok(explained) => explained.view.reasons,
            Err(error) if is_lost(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.put_why(&reasons);
        Ok(())
    }

    fn put_why(&mut self, reasons: &[ReasonView]) {
        let lines: Vec<_> = reasons.iter().map(sentence).collect();
        let why = lines.join("\n");
        if self.why.as_ref() != Some(&why) {
            lines.iter().for_each(|line| self.say(&format!("  {line}")));
            self.why = Some(why);
        }
    }

    /// A breaker that has opened on the job's own failures is no news that waits.
    fn say_breaker(&mut self, id: &str) {
        if !matches!(self.telling, Telling::Everything | Telling::Quiet) {
            return;
        }
        let explained = self.client.explain(id).map(|explained| explained.view.reasons).unwrap_or_default();
        if explained.iter().any(|reason| reason.code == "breaker-open") {
            self.asked_why = Some(Instant::now());
            self.put_why(&explained);
        }
    }

    fn say(&self, line: &str) {
        let line = neutralised(line);
        self.bar.suspend(|| terminal::aside(&line));
    }
}

/// One reason in a line.
fn sentence(reason: &ReasonView) -> String {
    let jobs = if reason.jobs.is_empty() { String::new() } else { format!(": {}", reason.jobs.join(", ")) };
    format!("why: {}{jobs}; until {}", reason.message, reason.starts_when)
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
                    Some(bytes) if view.auto_delete => {
                        terminal::aside(&format!("its output of {bytes} bytes went with it"))
                    }
                    Some(_) => terminal.bytes(&client.output(&view.id)?)?,
                    None => {}
                },
            }
            Ok(Exit::Done)
        }
        _ => {
            Err(Failure { notes: [failure_of(view).notes, slowed_down(client, view)].concat(), ..failure_of(view) }
                .into())
        }
    }
}

/// What is to be known beyond the job that failed: its failures may have slowed the whole plug-in down.
fn slowed_down(client: &Client, job: &JobView) -> Vec<String> {
    let plugin = &job.plugin.name;
    let is_slowed = job.state == "failed" && client.plugin(plugin).is_ok_and(|plugin| plugin.view.degraded);
    let note = || {
        format!(
            "plug-in {plugin} keeps failing, so its jobs start less and less often; once it is fixed: \
             backroom plugin resume {plugin}"
        )
    };
    is_slowed.then(note).into_iter().collect()
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
    let state = terminal.paint(Tone::of_state(&job.state), &terminal.state(&job.state));
    format!("job {} is {state}; follow it with: backroom job watch {}", job.id, job.id)
}
