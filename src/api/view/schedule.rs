//! Schedules on the wire: what a caller says of one, and what it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::number::whole;
use super::submit::present;
use super::{form, time, time_of};
use crate::config::units::show_duration;
use crate::domain::id::JobId;
use crate::domain::schedule::{JobTemplate, Schedule, ScheduleState};
use crate::domain::time::Timestamp;

/// How many of the next occurrences are shown.
const UPCOMING: usize = 5;

/// A schedule as its owner says it. Needed is only `plugin` or `http`; unknown fields are refused. Without `rule` and `cron`
/// it makes one job, at `start`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleBody {
    /// An RRULE of RFC 5545, such as `FREQ=WEEKLY;BYDAY=MO,TH`, at most 4096 bytes; several lines with `RRULE:`, `RDATE` and
    /// `EXDATE` are taken, too. Empty for once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Cron text instead of `rule`: five fields, six with the second in front, or a word such as `@daily`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// When the rule starts: RFC 3339, or a date or time of the clock in `tz`, such as `2030-01-31T08:00`. When absent, a
    /// schedule that exists keeps its start, and a new one starts with its first occurrence after now; once is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Make the first job at once when the schedule is new. Changes nothing of one that exists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub now: bool,
    /// The IANA name of the time zone that the rule is meant in; UTC when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
    /// Times that are left out, in the forms of `start`; a date leaves out the whole day. At most 1000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// What becomes of occurrences that were missed while no host ran: `run_once`, `run_all(3)` or `skip`; `run_once` when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::MisfireWord>, inline)]
    pub misfire: Option<String>,
    /// What becomes of an occurrence that comes while the job before is unfinished: `skip`, `queue`, `allow` or
    /// `cancel_previous`; `skip` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::OverlapWord>, inline)]
    pub overlap: Option<String>,
    /// Each occurrence is put off by a share of this, such as `30s`; at most a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Short>, inline)]
    pub jitter: Option<String>,
    /// The plug-in to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::PluginName>, inline)]
    pub plugin: Option<String>,
    /// A request to send instead of `plugin`, `handler` and an input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpBody>,
    /// The entry point; the plug-in's first when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::HandlerName>, inline)]
    pub handler: Option<String>,
    /// Any JSON value, given to the handler byte for byte. At most one of `input`, `input_text` and `input_base64`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: Option<Box<RawValue>>,
    /// Text that the handler is given as it is, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_text: Option<String>,
    /// Bytes in base64 (RFC 4648 section 4) that the handler is given decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Base64>, inline)]
    pub input_base64: Option<String>,
    /// The display name of its jobs, at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::DisplayName>, inline)]
    pub name: Option<String>,
    /// Command-line arguments, for a plug-in that is a command; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = form::Arguments, inline)]
    pub args: Vec<String>,
    /// Environment variables, for a plug-in that is a command; at most 64, and 32 KiB together with `args`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = form::Environment, inline)]
    pub env: BTreeMap<String, String>,
    /// The queue of its jobs; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::QueueName>, inline)]
    pub queue: Option<String>,
    /// Greater runs first; -100 to 100, 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole")]
    #[schema(value_type = Option<form::Priority>, inline)]
    pub priority: Option<i64>,
    /// Jobs that share it run one after another; 1 to 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Key>, inline)]
    pub ordering_key: Option<String>,
    /// Free words to find its jobs by; at most 20 of 64 characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = form::Tags, inline)]
    pub tags: Vec<String>,
    /// Attempts in all, 1 to 1000; the plug-in's policy when absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole")]
    #[schema(value_type = Option<form::Attempts>, inline)]
    pub max_attempts: Option<u64>,
    /// A job that has not started so long after it was made is called off, such as `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::SomeTime>, inline)]
    pub expires_after: Option<String>,
    /// The version of the plug-in to run; the active one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::VersionName>, inline)]
    pub version: Option<String>,
}

impl ScheduleBody {
    /// The names of the fields.
    pub const FIELDS: &'static [&'static str] = &[
        "rule",
        "cron",
        "start",
        "now",
        "tz",
        "except",
        "misfire",
        "overlap",
        "jitter",
        "plugin",
        "http",
        "handler",
        "input",
        "input_text",
        "input_base64",
        "name",
        "args",
        "env",
        "queue",
        "priority",
        "ordering_key",
        "tags",
        "max_attempts",
        "expires_after",
        "version",
    ];
}

/// A request that the built-in handler `http` sends; it becomes the input of the job.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpBody {
    /// The method; `GET` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Where to.
    pub url: String,
    /// Names and values of headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Any JSON value to send as the body.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub body: Option<Box<RawValue>>,
}

/// Until when to put off the next occurrence, or for when to bring it forward.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostponeScheduleBody {
    /// A time, RFC 3339, or how long from now, such as `15m`. A time that has passed is now.
    #[schema(value_type = form::Moment, inline)]
    pub until: String,
}

/// The span whose occurrences are to be made at last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillBody {
    /// From this time on, RFC 3339.
    #[schema(value_type = form::Instant, inline)]
    pub from: String,
    /// To before this time, RFC 3339. What is still to come is left to the schedule.
    #[schema(value_type = form::Instant, inline)]
    pub to: String,
    /// Whether occurrences may be made again whose jobs may have been removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

/// The jobs that a back-fill made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackfillView {
    /// How many jobs there are.
    pub count: usize,
    /// Every job, that of the oldest occurrence first.
    #[schema(value_type = Vec<form::JobId>, inline)]
    pub ids: Vec<String>,
}

/// A schedule.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// `active`, `paused`, or `ended` when its rule yields nothing any more.
    pub state: String,
    /// The normalised rule; empty for once. Cron text has become a rule by now.
    pub rule: String,
    /// The cron text that the rule was given as.
    pub cron: Option<String>,
    /// The time zone that the rule is meant in.
    pub tz: String,
    /// When the rule starts.
    #[schema(value_type = form::Time, inline)]
    pub start: String,
    /// What is left out, in the form of RFC 5545.
    pub except: Vec<String>,
    /// What becomes of missed occurrences.
    pub misfire: String,
    /// What becomes of occurrences that come while the job before is unfinished.
    pub overlap: String,
    /// Each occurrence is put off by a share of this.
    pub jitter: String,
    /// When it fires next: the next occurrence with its jitter, or the time that it was postponed to. Only while active.
    #[schema(value_type = Option<form::Time>, inline)]
    pub next_run: Option<String>,
    /// The occurrence that fires then, by the rule. Only while active.
    #[schema(value_type = Option<form::Time>, inline)]
    pub next_occurrence: Option<String>,
    /// Whether the next occurrence was postponed, or brought forward.
    pub postponed: bool,
    /// The next five occurrences by the rule, in the next fifty years, where one schedule is shown and while it is active.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<form::Time>, inline)]
    pub upcoming: Vec<String>,
    /// The latest occurrence that was decided, whether it made a job or not.
    #[schema(value_type = Option<form::Time>, inline)]
    pub last_occurrence: Option<String>,
    /// When it made a job last.
    #[schema(value_type = Option<form::Time>, inline)]
    pub last_run: Option<String>,
    /// The job that it made last.
    #[schema(value_type = Option<form::JobId>, inline)]
    pub last_job: Option<String>,
    /// How many jobs it made.
    pub fired: u64,
    /// How many occurrences were left out because a job of it was unfinished (`overlap`).
    pub left_out: u64,
    /// The latest of these.
    #[schema(value_type = Option<form::Time>, inline)]
    pub last_left_out: Option<String>,
    /// Its oldest job that has not ended, which the next occurrence meets; where one schedule is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::JobId>, inline)]
    pub in_the_way: Option<String>,
    /// What a person should know, such as that the clock was ahead and has been set back; where one schedule is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// What it runs.
    pub target: TargetView,
    /// When it was made.
    #[schema(value_type = form::Time, inline)]
    pub created_on: String,
    /// Who made it.
    pub created_by: Option<String>,
    /// When somebody changed it last.
    #[schema(value_type = form::Time, inline)]
    pub modified_on: String,
    /// Who changed it.
    pub modified_by: Option<String>,
    /// Counts its changes.
    pub revision: u32,
}

/// The jobs that a schedule makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetView {
    /// The plug-in that runs.
    pub plugin: String,
    /// Its version; none for the active one.
    pub version: Option<String>,
    /// The entry point.
    pub handler: Option<String>,
    /// The display name.
    pub name: Option<String>,
    /// The size of the input.
    pub input_bytes: u64,
    /// Command-line arguments.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The queue.
    pub queue: String,
    /// Greater runs first.
    pub priority: i8,
    /// Jobs that share it run one after another.
    pub ordering_key: Option<String>,
    /// Free words to find the jobs by.
    pub tags: Vec<String>,
    /// Attempts in all; none for the plug-in's policy.
    pub max_attempts: Option<u32>,
    /// A job that has not started so long after it was made is called off.
    pub expires_after: Option<String>,
}

/// All schedules, by name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ScheduleListView {
    /// The schedules.
    pub schedules: Vec<ScheduleView>,
}

impl ScheduleView {
    /// One schedule as it is at `now`, with what comes next and the job that this meets.
    pub(crate) fn whole(schedule: &Schedule, in_the_way: Option<JobId>, now: Timestamp) -> Self {
        // What lies before the time that the next one was postponed to is dropped (F019).
        let postponed_to = schedule.next_run.filter(|_| schedule.is_postponed());
        let first = postponed_to.or(schedule.next_occurrence).filter(|_| schedule.state == ScheduleState::Active);
        let coming = first
            .into_iter()
            .flat_map(|first| schedule.recurrence.soon_from(first).skip_while(move |next| *next <= first));
        let upcoming = first.into_iter().chain(coming).take(UPCOMING).map(time).collect();
        let in_the_way = in_the_way.map(|job| job.to_string());
        Self { upcoming, in_the_way, warning: schedule.warning(now), ..Self::of(schedule) }
    }

    /// One schedule of a list.
    pub(crate) fn of(schedule: &Schedule) -> Self {
        let Schedule {
            tenant: _,
            name,
            revision,
            recurrence,
            target,
            misfire,
            overlap,
            jitter,
            state,
            next_run,
            next_occurrence,
            decided_on: _,
            last_occurrence,
            last_run,
            last_job,
            last_extra: _,
            fired,
            left_out,
            last_left_out,
            created_on,
            created_by,
            modified_on,
            modified_by,
        } = schedule;
        let is_active = *state == ScheduleState::Active;
        Self {
            name: name.to_string(),
            state: state_word(*state).to_owned(),
            rule: recurrence.rule_text(),
            cron: recurrence.cron().map(str::to_owned),
            tz: recurrence.zone().to_owned(),
            start: time(recurrence.start()),
            except: recurrence.exceptions(),
            misfire: misfire.to_string(),
            overlap: overlap.to_string(),
            jitter: show_duration(*jitter),
            next_run: time_of(*next_run),
            next_occurrence: time_of(next_occurrence.filter(|_| is_active)),
            postponed: schedule.is_postponed(),
            upcoming: Vec::new(),
            last_occurrence: time_of(*last_occurrence),
            last_run: time_of(*last_run),
            last_job: last_job.map(|job| job.to_string()),
            fired: *fired,
            left_out: *left_out,
            last_left_out: time_of(*last_left_out),
            in_the_way: None,
            warning: None,
            target: target.into(),
            created_on: time(*created_on),
            created_by: created_by.clone(),
            modified_on: time(*modified_on),
            modified_by: modified_by.clone(),
            revision: *revision,
        }
    }
}

impl From<&JobTemplate> for TargetView {
    fn from(template: &JobTemplate) -> Self {
        let JobTemplate {
            plugin,
            handler,
            input,
            args,
            env,
            queue,
            priority,
            ordering_key,
            tags,
            max_attempts,
            expires_after,
            name,
            version,
        } = template;
        Self {
            plugin: plugin.to_string(),
            version: version.as_ref().map(ToString::to_string),
            handler: handler.as_ref().map(ToString::to_string),
            name: name.clone(),
            input_bytes: input.len(),
            args: args.clone(),
            env: env.iter().cloned().collect(),
            queue: queue.to_string(),
            priority: *priority,
            ordering_key: ordering_key.clone(),
            tags: tags.clone(),
            max_attempts: *max_attempts,
            expires_after: expires_after.map(show_duration),
        }
    }
}

const fn state_word(state: ScheduleState) -> &'static str {
    match state {
        ScheduleState::Active => "active",
        ScheduleState::Paused => "paused",
        ScheduleState::Ended => "ended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_that_the_wire_has() {
        let text = || Some("x".to_owned());
        let raw = || serde_json::value::to_raw_value(&1).ok();
        let whole = ScheduleBody {
            rule: text(),
            cron: text(),
            start: text(),
            now: true,
            tz: text(),
            except: vec!["x".to_owned()],
            misfire: text(),
            overlap: text(),
            jitter: text(),
            plugin: text(),
            http: Some(HttpBody::default()),
            handler: text(),
            input: raw(),
            input_text: text(),
            input_base64: text(),
            name: text(),
            args: vec!["x".to_owned()],
            env: BTreeMap::from([("x".to_owned(), "x".to_owned())]),
            queue: text(),
            priority: Some(1),
            ordering_key: text(),
            tags: vec!["x".to_owned()],
            max_attempts: Some(1),
            expires_after: text(),
            version: text(),
        };
        let value = serde_json::to_value(&whole).expect("it is JSON");
        let mut names: Vec<_> = value.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut known = ScheduleBody::FIELDS.to_vec();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
    }
}
