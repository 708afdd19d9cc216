//! Why a job is not running, and what would start it (promise 4). A function of facts; whoever asks gathers them.

use std::fmt::Write as _;

use super::admission::Hold;
use super::advice;
use super::audit::{Action, AuditRow};
use super::id::{JobId, VersionName};
use super::job::{Job, JobState, JobType, OnPredecessorFailure, Status, Wait, WaitReason};
use super::offers::may_run_again;
use super::plugin::Grant;
use super::queue::Pause;
use super::service::ServiceState;
use super::time::Timestamp;

/// What there is to know about a job and the host at a moment.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The job.
    pub job: &'a Job,
    /// The moment.
    pub now: Timestamp,
    /// Attempts in all.
    pub max_attempts: u32,
    /// What it would find if it were its turn.
    pub plugin: PluginFact,
    /// Whether background work goes on.
    pub service: ServiceState,
    /// What keeps its lane from starting anything.
    pub holds: Vec<Hold>,
    /// How many jobs of its lane start before it.
    pub ahead: usize,
    /// The unfinished jobs that it waits for.
    pub blocked_by: Vec<JobId>,
    /// The job that has not succeeded and that it minds.
    pub stopped_by: Option<JobId>,
    /// The last command that was given for it.
    pub last_command: Option<AuditRow>,
}

/// What a job finds of its plug-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginFact {
    /// A version to run.
    Ready,
    /// The plug-in is disabled.
    Disabled,
    /// There is no such plug-in.
    Missing,
    /// The version that it asks for, or any active one, is missing.
    VersionMissing,
    /// A version is there, and asks for what is not granted.
    NotGranted(VersionName, Vec<Grant>),
}

/// One thing that keeps a job from running, or that it does instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The word for programs; one of [`CODES`].
    pub code: &'static str,
    /// What is the matter.
    pub message: String,
    /// What ends it.
    pub starts_when: String,
    /// When it ends by the passing of time.
    pub until: Option<Timestamp>,
    /// The jobs that it waits for.
    pub jobs: Vec<JobId>,
}

/// Every word that a [`Reason`] may have.
pub const CODES: &[&str] = &[
    "scheduled",
    "postponed",
    "sleep",
    "event",
    "children",
    "error",
    "missing-component",
    "manual",
    "retrying",
    "paused",
    "running",
    "pausing",
    "canceling",
    "finished",
    "expired",
    "expires",
    "service-paused",
    "draining",
    "plugin-disabled",
    "plugin-missing",
    "version-missing",
    "missing-grants",
    "blocked",
    "predecessor-failed",
    "queue-paused",
    "plugin-paused",
    "breaker-open",
    "queue-full",
    "plugin-full",
    "key-full",
    "queue-rate",
    "plugin-rate",
    "behind",
    "next",
];

/// A command about the host that ends a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Resume background work.
    ResumeService,
    /// Resume the job's queue.
    ResumeQueue,
    /// Resume the job's plug-in, which also closes its breaker.
    ResumePlugin,
    /// Enable the job's plug-in.
    EnablePlugin,
}

impl Reason {
    fn new(code: &'static str, message: impl Into<String>, starts_when: impl Into<String>) -> Self {
        Self { code, message: message.into(), starts_when: starts_when.into(), until: None, jobs: Vec::new() }
    }

    fn until(self, until: Option<Timestamp>) -> Self {
        Self { until, ..self }
    }

    fn naming(self, jobs: Vec<JobId>) -> Self {
        Self { jobs, ..self }
    }

    /// What an administrator of the host can do about it at once; what can be done with the job itself is among its offers.
    pub fn remedy(&self) -> Option<Remedy> {
        match self.code {
            "service-paused" | "draining" => Some(Remedy::ResumeService),
            "queue-paused" => Some(Remedy::ResumeQueue),
            "plugin-paused" | "breaker-open" => Some(Remedy::ResumePlugin),
            "plugin-disabled" => Some(Remedy::EnablePlugin),
            _ => None,
        }
    }
}

/// Everything that stands between a job and its run, the foremost first. Never empty.
pub fn reasons(facts: &Facts<'_>) -> Vec<Reason> {
    let state = &facts.job.state;
    match state.status {
        Status::Queued => queued(facts),
        Status::Waiting => before_its_turn(waiting(facts), facts),
        Status::Retrying => before_its_turn(retrying(facts), facts),
        Status::Paused => before_its_turn(paused(facts), facts),
        Status::Running => vec![running(facts)],
        Status::Pausing => vec![pausing(state)],
        Status::Canceling => vec![canceling(facts)],
        Status::Succeeded | Status::Failed | Status::Canceled => vec![finished(facts)],
    }
}

/// What it waits for now, and what will hold it when that has come, if nobody does anything meanwhile.
fn before_its_turn(now: Reason, facts: &Facts<'_>) -> Vec<Reason> {
    let mut reasons = vec![now];
    reasons.extend(expires(facts));
    let wait = facts.job.state.wait().filter(|wait| wait.is_open(facts.now));
    // A batch is not started by anybody, and what waits for its component says so.
    let says_all =
        |wait: &Wait| matches!(wait, Wait::For { reason: WaitReason::Children | WaitReason::MissingComponent, .. });
    if !wait.as_ref().is_some_and(says_all) {
        reasons.extend(at_its_turn(facts));
        let until = wait.and_then(|wait| wait.until()).unwrap_or(facts.now);
        let lasting = facts.holds.iter().filter(|hold| hold.lasts_until(until));
        reasons.extend(lasting.map(|hold| held(facts, hold)));
    }
    reasons
}

/// What meets it when its turn comes, however full the host is.
fn at_its_turn(facts: &Facts<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    reasons.extend(of_service(&facts.service));
    reasons.extend(of_plugin(facts));
    // One that has not succeeded decides, whatever becomes of the others.
    reasons.extend(facts.stopped_by.map(|predecessor| predecessor_failed(facts, predecessor)));
    if !facts.blocked_by.is_empty() {
        reasons.push(blocked(facts));
    }
    reasons
}

fn queued(facts: &Facts<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    reasons.extend(expired(facts));
    reasons.extend(at_its_turn(facts));
    reasons.extend(facts.holds.iter().map(|hold| held(facts, hold)));
    if facts.ahead > 0 {
        reasons.push(behind(facts));
    }
    if reasons.is_empty() {
        reasons.push(Reason::new(
            "next",
            "nothing holds it: it is the next of its plug-in in its queue",
            "a slot of the host is free and the shares of the queues give it the turn",
        ));
    }
    reasons
}

fn expired(facts: &Facts<'_>) -> Option<Reason> {
    let expires_on = facts.job.submission.expires_on.filter(|expires_on| *expires_on <= facts.now)?;
    let message = format!("it was to be called off unless started by {expires_on}");
    Some(Reason::new("expired", message, "never: it is canceled when its turn comes"))
}

/// What will happen unless it starts before.
fn expires(facts: &Facts<'_>) -> Option<Reason> {
    let expires_on = facts.job.submission.expires_on?;
    let message = match facts.job.state.status {
        Status::Paused => {
            format!("it is to be called off unless started by {expires_on}; while paused it is left alone")
        }
        _ => format!("it is called off unless it has started by {expires_on}"),
    };
    let reason = Reason::new("expires", message, "it has started before that");
    Some(reason.until((facts.job.state.status != Status::Paused).then_some(expires_on)))
}

fn of_service(service: &ServiceState) -> Option<Reason> {
    match service {
        ServiceState::Running => None,
        ServiceState::Paused(pause) => Some(Reason::new(
            "service-paused",
            begin_of(pause, "the whole service"),
            end_of(pause, "backroom service resume"),
        )),
        ServiceState::Draining => Some(Reason::new(
            "draining",
            "the host is going down, or was told to drain",
            "the host has started again, or somebody resumes it: backroom service resume",
        )),
    }
}

fn of_plugin(facts: &Facts<'_>) -> Option<Reason> {
    let submission = &facts.job.submission;
    let plugin = &submission.plugin;
    match &facts.plugin {
        PluginFact::Ready => None,
        PluginFact::Disabled => Some(Reason::new(
            "plugin-disabled",
            format!("plug-in {plugin} is disabled, so the job will be canceled when its turn comes"),
            format!("somebody enables the plug-in before that: backroom plugin enable {plugin}"),
        )),
        PluginFact::Missing => Some(Reason::new(
            "plugin-missing",
            format!("there is no plug-in {plugin}, so the job will be held when its turn comes"),
            format!("plug-in {plugin} is uploaded"),
        )),
        PluginFact::VersionMissing => {
            let (what, when) = match &submission.version {
                Some(version) => (
                    format!("version {version} of plug-in {plugin} is not there"),
                    format!("version {version} of plug-in {plugin} is uploaded"),
                ),
                None => (
                    format!("plug-in {plugin} has no active version"),
                    format!("a version is activated: backroom plugin activate {plugin} VERSION"),
                ),
            };
            Some(Reason::new("version-missing", what, when))
        }
        PluginFact::NotGranted(version, missing) => {
            let grants: Vec<_> = missing.iter().map(|grant| format!("{} {}", grant.kind(), grant.value())).collect();
            let what =
                format!("version {version} of plug-in {plugin} asks for what is not granted: {}", grants.join(", "));
            let when = format!("that is granted: {}", advice::grant_command(plugin, missing));
            Some(Reason::new("missing-grants", what, when))
        }
    }
}

fn blocked(facts: &Facts<'_>) -> Reason {
    let ties = facts.job.submission.ties();
    let why = match (&ties.ordering_key, ties.after.is_empty()) {
        (Some(key), true) => {
            format!("earlier jobs with the ordering key `{key}`{} have not ended", of_space(key.space()))
        }
        (Some(key), false) => {
            let space = of_space(key.space());
            format!("jobs that it names, or earlier ones with the ordering key `{key}`{space}, have not ended")
        }
        (None, _) => "jobs that it names in `after` have not ended".to_owned(),
    };
    let jobs = facts.blocked_by.clone();
    let mut when = match jobs.as_slice() {
        [one] => format!("job {one} has ended"),
        _ => format!("these {} jobs have ended", jobs.len()),
    };
    if ties.on_predecessor_failure != OnPredecessorFailure::Continue {
        when.push_str(" with success");
    }
    Reason::new("blocked", why, when).naming(jobs)
}

/// Whose key it is, where the key is not one that all share.
fn of_space(space: Option<&str>) -> String {
    space.map(|space| format!(" of `{space}`")).unwrap_or_default()
}

fn predecessor_failed(facts: &Facts<'_>, predecessor: JobId) -> Reason {
    let message = format!("job {predecessor}, which it waited for, has not succeeded");
    let turn =
        if facts.blocked_by.is_empty() { "when its turn comes" } else { "once all that it waits for have ended" };
    let when = match facts.job.submission.ties().on_predecessor_failure {
        OnPredecessorFailure::Cancel => format!("never: it is canceled {turn}"),
        _ => format!("it has been held, {turn}, and somebody resumes it: {}", command("resume", facts)),
    };
    Reason::new("predecessor-failed", message, when).naming(vec![predecessor])
}

fn jobs(count: u32) -> String {
    match count {
        1 => "1 job".to_owned(),
        count => format!("{count} jobs"),
    }
}

/// Who paused something, and why.
fn begin_of(pause: &Pause, what: &str) -> String {
    let by = pause.by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default();
    let reason = pause.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("a person{by} has paused {what}{reason}")
}

/// When a pause ends.
fn end_of(pause: &Pause, command: &str) -> String {
    match pause.until {
        Some(until) => format!("{until}, or somebody resumes it: {command}"),
        None => format!("somebody resumes it: {command}"),
    }
}

fn held(facts: &Facts<'_>, hold: &Hold) -> Reason {
    let submission = &facts.job.submission;
    let (queue, plugin) = (&submission.queue, &submission.plugin);
    let rate = |until: &Timestamp| format!("{until}, when the next start is allowed");
    let reason = match hold {
        Hold::QueuePaused(pause) => {
            let when = end_of(pause, &format!("backroom queue resume {queue}"));
            Reason::new("queue-paused", begin_of(pause, &format!("queue {queue}")), when)
        }
        Hold::PluginPaused(pause) => {
            let when = end_of(pause, &format!("backroom plugin resume {plugin}"));
            Reason::new("plugin-paused", begin_of(pause, &format!("plug-in {plugin}")), when)
        }
        Hold::BreakerOpen(until) => Reason::new(
            "breaker-open",
            format!("plug-in {plugin} keeps failing, so its jobs are held back"),
            format!(
                "{until}, when one job may try; a run that succeeds; or at once, if what fails was mended: \
                 backroom plugin resume {plugin}"
            ),
        ),
        Hold::QueueFull(limit) => Reason::new(
            "queue-full",
            format!("{} of queue {queue} run, and no more may at a time", jobs(*limit)),
            "one of them has ended",
        ),
        Hold::PluginFull(limit) => Reason::new(
            "plugin-full",
            format!("{} of plug-in {plugin} run, and no more may at a time", jobs(*limit)),
            "one of them has ended",
        ),
        Hold::KeyFull(key, limit) => Reason::new(
            "key-full",
            format!(
                "{} of plug-in {plugin} with the concurrency key `{key}`{} run, and no more may at a time",
                jobs(*limit),
                of_space(key.space())
            ),
            "one of them has ended",
        ),
        Hold::QueueRate(limit, until) => {
            Reason::new("queue-rate", format!("queue {queue} has used up its rate of {limit}"), rate(until))
        }
        Hold::PluginRate(limit, until) => {
            Reason::new("plugin-rate", format!("plug-in {plugin} has used up its rate of {limit}"), rate(until))
        }
    };
    reason.until(hold.until())
}

fn behind(facts: &Facts<'_>) -> Reason {
    let submission = &facts.job.submission;
    let (count, plugin, queue) = (facts.ahead, &submission.plugin, &submission.queue);
    let (jobs, start, have) = match count {
        1 => ("1 job".to_owned(), "starts", "it has"),
        count => (format!("{count} jobs"), "start", "they have"),
    };
    Reason::new(
        "behind",
        format!("{jobs} of plug-in {plugin} in queue {queue} {start} before it"),
        format!("{have} started and a slot is free"),
    )
}

/// The jobs that it waits for: of a batch its members, which may themselves be held.
fn children(facts: &Facts<'_>) -> Reason {
    let jobs = facts.blocked_by.clone();
    match facts.job.submission.job_type {
        JobType::BATCH => {
            let list = format!("backroom job list --batch {}", facts.job.submission.id);
            let what = format!("it is a batch, and not all of its jobs have ended: {list}");
            Reason::new("children", what, "all of them have ended; ask one of them why it has not").naming(jobs)
        }
        _ => Reason::new("children", "it waits for jobs that it made", "they have ended").naming(jobs),
    }
}

fn waiting(facts: &Facts<'_>) -> Reason {
    let state = &facts.job.state;
    let until = state.postpone_until;
    let when = |what: &str| match until {
        Some(until) if until <= facts.now => format!("now: {until} has come"),
        Some(until) => format!("{until}, or when somebody resumes it: {}", command("resume", facts)),
        None => what.to_owned(),
    };
    let resume = || format!("somebody resumes it: {}", command("resume", facts));
    let because = || match state.failure() {
        Some(failure) => failure.message.clone(),
        None => "it does not say why".to_owned(),
    };
    let person = state.modified.as_ref().map(|(_, by)| format!(" by {by}")).unwrap_or_default();
    let plugin = &facts.job.submission.plugin;
    let reason = match state.wait_reason {
        Some(WaitReason::Scheduled) => Reason::new("scheduled", "its first start was set for later", when("")),
        Some(WaitReason::Postponed) => {
            let why = why(facts, Action::Postpone);
            Reason::new("postponed", format!("it was postponed{person}{why}"), when(""))
        }
        Some(WaitReason::Sleep) => {
            Reason::new("sleep", "its handler asked to be woken at a time", when("somebody resumes it"))
        }
        Some(WaitReason::Event) => {
            let event = state
                .awaited_event
                .as_ref()
                .map_or_else(|| "an event".to_owned(), |name| format!("the event `{name}`"));
            Reason::new("event", format!("its handler waits for {event}"), "the event comes")
        }
        Some(WaitReason::Children) => children(facts),
        Some(WaitReason::Error) => {
            let then = format!("somebody has mended that and resumes it: {}", command("resume", facts));
            Reason::new("error", format!("a person must mend something first: {}", because()), then)
        }
        Some(WaitReason::MissingComponent) => Reason::new(
            "missing-component",
            because(),
            format!("plug-in {plugin} has the version that it needs; it is released by the upload"),
        ),
        Some(WaitReason::Manual) | None => Reason::new("manual", because(), resume()),
    };
    reason.until(until)
}

fn retrying(facts: &Facts<'_>) -> Reason {
    let state = &facts.job.state;
    let mut message = format!("attempt {} of {} has failed", state.attempt, facts.max_attempts);
    if let Some(failure) = state.failure() {
        // Writing to a String does not fail.
        let _written = write!(message, ": {}", failure.message);
    }
    let when = match state.postpone_until {
        Some(until) if until > facts.now => {
            format!("{until}, or when somebody resumes it: {}", command("resume", facts))
        }
        _ => "now: its time has come".to_owned(),
    };
    Reason::new("retrying", message, when).until(state.postpone_until)
}

fn paused(facts: &Facts<'_>) -> Reason {
    let modified = facts.job.state.modified.as_ref();
    let by = modified.map(|(on, by)| format!(" ({by}, {on})")).unwrap_or_default();
    let mut when = format!("somebody resumes it: {}", command("resume", facts));
    if let Some(wait) = facts.job.state.wait().filter(|wait| wait.is_open(facts.now)) {
        when.push_str(&format!("; {}", resumed(&wait)));
        if wait.ends_only_by().is_none() {
            when.push_str(", or runs at once with --now");
        }
    }
    Reason::new("paused", format!("a person has paused it{by}{}", why(facts, Action::Pause)), when)
}

/// What a paused job does when it is resumed while what it waited for is still to come.
fn resumed(wait: &Wait) -> String {
    match wait {
        Wait::Retry(until) => format!("it then waits until {until} for its next try, as before"),
        Wait::For { until: Some(until), .. } => format!("it then waits until {until}, as before"),
        Wait::For { reason: WaitReason::MissingComponent, .. } => "it then waits for its plug-in, as before".to_owned(),
        wait => match wait.ends_only_by() {
            Some(awaited) => format!("it then waits for {awaited}, as before"),
            None => "it is then held, as before, until somebody resumes it once more".to_owned(),
        },
    }
}

fn running(facts: &Facts<'_>) -> Reason {
    let state = &facts.job.state;
    let since = state.run_started_on.map(|on| format!(" since {on}")).unwrap_or_default();
    let message = format!("attempt {} runs on {}{since}", state.attempt, host(state));
    Reason::new("running", message, "it runs already")
}

fn pausing(state: &JobState) -> Reason {
    let message = format!("it was asked to pause and still runs on {}", host(state));
    match state.pending_postpone_until {
        Some(until) => {
            let when = format!("it has stopped at a safe point, and {until} has come");
            Reason::new("pausing", message, when).until(Some(until))
        }
        None => Reason::new("pausing", message, "it has stopped at a safe point, and somebody resumes it"),
    }
}

fn canceling(facts: &Facts<'_>) -> Reason {
    let (runs_on, why) = (host(&facts.job.state), why(facts, Action::Cancel));
    let message = format!("it was asked to cancel and still runs on {runs_on}{why}");
    Reason::new("canceling", message, "never: it ends, and is stopped if it does not listen")
}

/// The words of the person who gave the last command, if it was this one.
fn why(facts: &Facts<'_>, action: Action) -> String {
    let row = facts.last_command.as_ref().filter(|row| row.action == action);
    row.and_then(|row| row.reason.as_ref()).map(|reason| format!(": {reason}")).unwrap_or_default()
}

fn finished(facts: &Facts<'_>) -> Reason {
    let state = &facts.job.state;
    let on = state.completed_on.map(|on| format!(" on {on}")).unwrap_or_default();
    let mut message = format!("it has ended as {}{on}", state.status);
    let canceled = facts.last_command.as_ref().filter(|row| row.action == Action::Cancel);
    if let Some(row) = canceled.filter(|_| state.status == Status::Canceled) {
        let _written = write!(message, ", by {}{}", row.by, why(facts, Action::Cancel));
    }
    if let Some(failure) = state.failure().filter(|_| state.status != Status::Succeeded) {
        let _written = write!(message, ": {}", failure.message);
    }
    let id = facts.job.submission.id;
    let when = match may_run_again(facts.job) {
        Ok(()) => format!("never; run it again as a new job: {}", command("retry", facts)),
        Err(_) if facts.job.submission.job_type == JobType::BATCH => {
            format!("never; run those of its jobs that failed again: backroom batch retry-failed {id}")
        }
        Err(_) => "never".to_owned(),
    };
    Reason::new("finished", message, when)
}

fn host(state: &JobState) -> String {
    state.lease.map_or_else(|| "a host".to_owned(), |lease| lease.host.to_string())
}

fn command(verb: &str, facts: &Facts<'_>) -> String {
    format!("backroom job {verb} {}", facts.job.submission.id)
}
