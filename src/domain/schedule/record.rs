//! The record of a schedule, and when its next occurrence fires.

use std::sync::Arc;
use std::time::Duration;

use super::SCHEDULES_MAX;
use super::error::RuleError;
use super::policy::{MISSED_AFTER, Misfire, Overlap};
use super::recurrence::Recurrence;
use crate::domain::family::{Family, IndexKey, KeyForm, NamedBlob, Row, RowKey, is_next_revision};
use crate::domain::hash;
use crate::domain::id::{HandlerName, JobId, OrderingKey, PluginName, QueueName, ScheduleName, TenantId, VersionName};
use crate::domain::job::{AFTER_MAX, Job, Occurrence, Payload, Submission, Ties};
use crate::domain::time::Timestamp;

/// Whether a schedule makes jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScheduleState {
    /// It does.
    Active,
    /// A person has stopped it for now.
    Paused,
    /// Its rule yields nothing any more.
    Ended,
}

/// The jobs that a schedule makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobTemplate {
    /// The plug-in to run.
    pub plugin: PluginName,
    /// The entry point to run; the default one without.
    pub handler: Option<HandlerName>,
    /// What the handler is given.
    pub input: Payload,
    /// Command-line arguments, for the command shape.
    pub args: Vec<String>,
    /// Environment variables, for the command shape.
    pub env: Vec<(String, String)>,
    /// The pool that the jobs run in.
    pub queue: QueueName,
    /// Greater runs first; -100 to 100.
    pub priority: i8,
    /// Jobs that share it run one after another.
    pub ordering_key: Option<String>,
    /// Free words to find the jobs by.
    pub tags: Vec<String>,
    /// Attempts in all, when another number than the plug-in's policy says.
    pub max_attempts: Option<u32>,
    /// A job that has not started so long after it was made is called off.
    pub expires_after: Option<Duration>,
    /// The display name.
    pub name: Option<String>,
    /// The version to run; the active one without.
    pub version: Option<VersionName>,
}

impl JobTemplate {
    /// Jobs of a plug-in, with everything else as it usually is.
    pub fn new(plugin: PluginName) -> Self {
        Self {
            plugin,
            handler: None,
            input: Payload::default(),
            args: Vec::new(),
            env: Vec::new(),
            queue: QueueName::default_queue(),
            priority: 0,
            ordering_key: None,
            tags: Vec::new(),
            max_attempts: None,
            expires_after: None,
            name: None,
            version: None,
        }
    }
}

/// What a person says of a schedule: all that an edit may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// When.
    pub recurrence: Recurrence,
    /// What.
    pub target: JobTemplate,
    /// What becomes of missed occurrences.
    pub misfire: Misfire,
    /// What becomes of occurrences that come while the one before is under way.
    pub overlap: Overlap,
    /// Each occurrence is put off by a share of this, at most [`Schedule::JITTER_MAX`].
    pub jitter: Duration,
    /// Whether the start was left out: a schedule that is there keeps its own, and a new one does not fire at once.
    pub start_left_out: bool,
    /// Whether a new schedule fires at once all the same. Says nothing of one that is there.
    pub at_once: bool,
}

/// A rule that makes jobs (domain.md 4.2). The record and the jobs of a firing are one commit, so no occurrence fires
/// twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The tenant.
    pub tenant: TenantId,
    /// The name, unique for the owner.
    pub name: ScheduleName,
    /// Counts writes, from 1.
    pub revision: u32,
    /// When.
    pub recurrence: Recurrence,
    /// What.
    pub target: JobTemplate,
    /// What becomes of missed occurrences.
    pub misfire: Misfire,
    /// What becomes of occurrences that come while the one before is under way.
    pub overlap: Overlap,
    /// Each occurrence is put off by a share of this.
    pub jitter: Duration,
    /// Whether it makes jobs.
    pub state: ScheduleState,
    /// When to fire: the next occurrence with its jitter, or the time that it was postponed to. Only while active.
    pub next_run: Option<Timestamp>,
    /// The occurrence that fires then, by the rule. While paused, the first that was not decided when it was paused.
    pub next_occurrence: Option<Timestamp>,
    /// What the clock of the host showed when the next occurrence was last decided.
    pub decided_on: Timestamp,
    /// The latest occurrence that was decided, whether it made a job or not: no later one is before it.
    pub last_occurrence: Option<Timestamp>,
    /// When a job was last made.
    pub last_run: Option<Timestamp>,
    /// The job that was last made; the writer of the firing sets it.
    pub last_job: Option<JobId>,
    /// The latest extra occurrence, so that the next has another time.
    pub last_extra: Option<Timestamp>,
    /// Jobs made.
    pub fired: u64,
    /// Occurrences that were left out because another job of the schedule was unfinished.
    pub left_out: u64,
    /// The latest of these.
    pub last_left_out: Option<Timestamp>,
    /// When it was created.
    pub created_on: Timestamp,
    /// Who created it.
    pub created_by: Option<String>,
    /// When a person last changed it.
    pub modified_on: Timestamp,
    /// Who changed it.
    pub modified_by: Option<String>,
}

impl Schedule {
    /// No occurrence is put off by more.
    pub const JITTER_MAX: Duration = Duration::from_secs(24 * 3_600);

    /// A new schedule. Nothing before `now` fires: its first occurrence is the first of the rule from the second of
    /// `now` on, or where the start of a rule was left out, after it. A rule without one in the next fifty years is refused.
    pub fn new(
        tenant: TenantId,
        name: ScheduleName,
        definition: Definition,
        by: Option<String>,
        now: Timestamp,
    ) -> Result<Self, RuleError> {
        definition.recurrence.first_from(now)?;
        let Definition { recurrence, target, misfire, overlap, jitter, start_left_out, at_once } = definition;
        let schedule = Self {
            tenant,
            name,
            revision: 1,
            recurrence,
            target,
            misfire,
            overlap,
            jitter: jitter.min(Self::JITTER_MAX),
            state: ScheduleState::Active,
            next_run: None,
            next_occurrence: None,
            decided_on: now,
            last_occurrence: None,
            last_run: None,
            last_job: None,
            last_extra: None,
            fired: 0,
            left_out: 0,
            last_left_out: None,
            created_on: now,
            created_by: by.clone(),
            modified_on: now,
            modified_by: by,
        };
        let is_put_off = start_left_out && !at_once && !schedule.recurrence.is_once();
        let first =
            schedule.recurrence.from(if is_put_off { Timestamp(now.0.saturating_add(1)) } else { second_of(now) });
        let first = first.take(1).last();
        if first.is_none() {
            return Err(schedule.recurrence.nothing_comes());
        }
        let mut schedule = schedule.waiting_for(first, now);
        if at_once && first.is_some_and(|first| first <= now) {
            schedule.next_run = first;
        }
        Ok(schedule)
    }

    /// Whether it fires at `now`.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.next_run.is_some_and(|run| run <= now)
    }

    /// When the occurrence `scheduled_for` fires: put off by a share of the jitter that is drawn from a hash of the
    /// schedule and the occurrence, so that schedules of one minute do not all fire together, and a replay does the
    /// same again.
    pub fn run_at(&self, scheduled_for: Timestamp) -> Timestamp {
        let name = self.name.as_str().bytes();
        let place = self.tenant.0.to_le_bytes().into_iter().chain(scheduled_for.0.to_le_bytes());
        let share = u128::from(hash::even(name.chain(place)));
        let micros = (self.jitter.as_micros() * share) >> 64;
        scheduled_for.after(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }

    /// The key that jobs of the schedule share which run one after another; that of the template, if it has one.
    fn ordering_key(&self, in_order: bool) -> Option<OrderingKey> {
        let of_schedule = || OrderingKey::new(&format!("schedule:{}", self.name)).ok();
        let of_template = self.target.ordering_key.as_deref().and_then(|key| OrderingKey::new(key).ok());
        of_template.or_else(|| of_schedule().filter(|_| in_order))
    }

    /// The job of an occurrence that runs behind the others of the schedule: behind `others`, which are unfinished, by name
    /// where they do not share its key.
    pub fn job_behind(&self, id: JobId, scheduled_for: Timestamp, others: &[Job], now: Timestamp) -> Submission {
        let job = self.job(id, scheduled_for, true, now);
        let key = self.ordering_key(true);
        let is_apart = |other: &&Job| other.submission.ties().ordering_key != key;
        let after: Vec<_> = others.iter().filter(is_apart).map(|other| other.submission.id).take(AFTER_MAX).collect();
        if after.is_empty() {
            return job;
        }
        let ties = Ties { after, ..job.ties().clone() };
        Submission { ties: Some(Arc::new(ties)), ..job }
    }

    /// The job of the occurrence `scheduled_for`, made at `now`. With `in_order` it shares a key with the others of the
    /// schedule, unless the template says which order it keeps.
    pub fn job(&self, id: JobId, scheduled_for: Timestamp, in_order: bool, now: Timestamp) -> Submission {
        let target = &self.target;
        let ties = Ties {
            ordering_key: self.ordering_key(in_order),
            occurrence: Some(Occurrence { schedule: self.name.clone(), scheduled_for }),
            ..Ties::default()
        };
        Submission {
            tenant: self.tenant,
            name: target.name.clone(),
            version: target.version.clone(),
            handler: target.handler.clone().unwrap_or_else(HandlerName::default_handle),
            input: target.input.clone(),
            args: target.args.clone(),
            env: target.env.clone(),
            queue: target.queue.clone(),
            priority: target.priority,
            created_by: Some(format!("schedule {}", self.name)),
            expires_on: target.expires_after.map(|span| now.after(span)),
            tags: target.tags.clone(),
            max_attempts: target.max_attempts,
            ties: Some(Arc::new(ties)),
            ..Submission::new(id, target.plugin.clone(), now)
        }
    }

    /// Whether the next occurrence runs at another time than the rule says.
    pub fn is_postponed(&self) -> bool {
        let by_rule = self.next_occurrence.map(|occurrence| self.run_at(occurrence));
        self.state == ScheduleState::Active && self.next_run != by_rule
    }

    /// Whether the clock of the host was far ahead when the next occurrence was decided, and has been set back since: what
    /// lies between makes no job.
    pub fn was_ahead(&self, now: Timestamp) -> bool {
        self.decided_on > now.after(MISSED_AFTER)
    }

    /// What a person should know of it at `now`.
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        self.warning_of_clock(now).or_else(|| self.warning_of_end())
    }

    /// That it is silent because the clock of the host was ahead.
    pub fn warning_of_clock(&self, now: Timestamp) -> Option<String> {
        let Self { name, decided_on, .. } = self;
        let next = self.next_run.filter(|_| self.was_ahead(now))?;
        Some(format!(
            "its next occurrence was decided when the clock of the host showed {decided_on}, and the clock has been set back \
             since: it makes no job before {next}; let it start from now (an occurrence that had its job ahead of its time runs \
             again when that comes) with: backroom schedule resume {name}"
        ))
    }

    /// That it has ended although its rule does not say so.
    fn warning_of_end(&self) -> Option<String> {
        let last = self.last_occurrence.map_or(self.decided_on, |last| last.max(self.decided_on));
        let has_given_up = self.state == ScheduleState::Ended && self.recurrence.gives_up_after(last);
        has_given_up.then(|| {
            format!(
                "it has ended because a million periods of its rule's FREQ yield nothing more; give it a rule with a longer FREQ: \
                 backroom schedule add {}",
                self.name
            )
        })
    }

    /// The first occurrence from the second of `now` on that was not decided before.
    pub(super) fn first_undecided(&self, now: Timestamp) -> Option<Timestamp> {
        let behind_last = self.last_occurrence.map(|last| Timestamp(last.0.saturating_add(1)));
        self.recurrence.from(second_of(now).max(behind_last.unwrap_or(Timestamp(i64::MIN)))).next()
    }

    /// The same, waiting for the occurrence `next`; ended when there is none.
    pub(super) fn waiting_for(mut self, next: Option<Timestamp>, now: Timestamp) -> Self {
        self.decided_on = now;
        self.state = if next.is_some() { ScheduleState::Active } else { ScheduleState::Ended };
        self.next_run = next.map(|next| self.run_at(next));
        self.next_occurrence = next;
        self
    }
}

/// The whole second of an instant.
pub(super) const fn second_of(now: Timestamp) -> Timestamp {
    Timestamp(now.0 - now.0.rem_euclid(1_000_000))
}

impl Schedule {
    /// The index of schedules by the time at which they fire.
    pub const BY_NEXT_RUN: u8 = 1;
}

impl Row for Schedule {
    const ROWS: &'static Family = &Family::new(5, "schedule", KeyForm::TenantAndName).resident().at_most(SCHEDULES_MAX);

    fn key(&self) -> RowKey {
        RowKey::named(self.tenant, self.name.as_str())
    }

    fn revision(&self) -> u32 {
        self.revision
    }

    fn follows(&self, present: Option<&Self>) -> bool {
        is_next_revision(self.revision, present.map(|present| present.revision))
    }

    fn index_keys(&self) -> Vec<(u8, IndexKey)> {
        self.next_run.map(|time| (Self::BY_NEXT_RUN, IndexKey::of_time(time))).into_iter().collect()
    }

    fn blobs(&self) -> Vec<NamedBlob> {
        let blob = |digest| NamedBlob { digest, bytes: self.target.input.len(), what: "input".to_owned() };
        self.target.input.digest().map(blob).into_iter().collect()
    }
}
