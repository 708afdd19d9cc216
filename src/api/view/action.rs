//! Commands on jobs, what came of them, and why a job is not running.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::number::whole;
use super::{FilterBody, form, time, time_of};
use crate::domain::audit::AuditRow;
use crate::domain::explain::Reason;
use crate::domain::id::JobId;
use crate::domain::job::Job;
use crate::jobs::{ActionReport, ActionResult, FailureSummaries, FailureSummary};

/// What may be said with a command. The body may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SteerBody {
    /// Why, for those who look later; at most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Reason>, inline)]
    pub reason: Option<String>,
}

impl SteerBody {
    /// The names of the fields.
    pub const FIELDS: &'static [&'static str] = &["reason"];
}

/// How long a queue, a plug-in or the service is paused, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseBody {
    /// When it goes on by itself: a time, RFC 3339, or how long from now, such as `15m`. Until somebody resumes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Moment>, inline)]
    pub until: Option<String>,
    /// Why, for those who look later; at most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Reason>, inline)]
    pub reason: Option<String>,
}

impl PauseBody {
    /// The names of the fields.
    pub const FIELDS: &'static [&'static str] = &["until", "reason"];
}

/// How a job is set going again. The body may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeBody {
    /// Whether a paused job runs now. Otherwise it goes back to what it waited for when it was paused, if that is still to come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub now: bool,
    /// Why, for those who look later; at most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Reason>, inline)]
    pub reason: Option<String>,
}

impl ResumeBody {
    /// The names of the fields.
    pub const FIELDS: &'static [&'static str] = &["now", "reason"];
}

/// Until when a job is put off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostponeBody {
    /// A time, RFC 3339, or how long from now, such as `15m`. A time that has passed means now.
    #[schema(value_type = form::Moment, inline)]
    pub until: String,
    /// Why, for those who look later; at most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Reason>, inline)]
    pub reason: Option<String>,
}

impl PostponeBody {
    /// The names of the fields.
    pub const FIELDS: &'static [&'static str] = &["until", "reason"];
}

/// What the new job has otherwise than the finished one. The body may be left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryBody {
    /// Another input, as any JSON value; at most one of `input`, `input_text` and `input_base64`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: Option<Box<RawValue>>,
    /// Another input, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_text: Option<String>,
    /// Another input, as bytes in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Base64>, inline)]
    pub input_base64: Option<String>,
    /// Another version of the plug-in than the finished job asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::VersionName>, inline)]
    pub version: Option<String>,
    /// Not to start before this time, RFC 3339, or how long from now, such as `15m`; at once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Moment>, inline)]
    pub at: Option<String>,
    /// Why, for those who look later; at most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Reason>, inline)]
    pub reason: Option<String>,
}

impl RetryBody {
    /// The names of the fields.
    pub const FIELDS: &'static [&'static str] = &["input", "input_text", "input_base64", "version", "at", "reason"];
}

/// Keeps a `null` that stands there: it is an input of four bytes, not an absent one.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

/// One command for all jobs that match a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionsBody {
    /// `cancel`, `pause`, `resume`, `postpone`, `retry` or `delete`.
    #[schema(value_type = form::ActionWord, inline)]
    pub action: String,
    /// Which jobs. An empty one needs `all`.
    #[serde(default)]
    pub filter: FilterBody,
    /// Says that every job is meant, where the filter is empty.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Until when, for `postpone`: a time, RFC 3339, or how long from now, such as `15m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Moment>, inline)]
    pub until: Option<String>,
    /// For `resume`: whether paused jobs run now. Otherwise they go back to what they waited for, if that is still to come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub now: bool,
    /// Whether only to count what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Why, for those who look later; at most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Reason>, inline)]
    pub reason: Option<String>,
    /// How many jobs this call deals with, 1 to 10,000; 1,000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole")]
    #[schema(value_type = Option<form::ActionJobs>, inline)]
    pub limit: Option<u64>,
    /// The `next` of the call before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Cursor>, inline)]
    pub cursor: Option<String>,
}

impl ActionsBody {
    /// The names of the fields.
    pub const FIELDS: &'static [&'static str] =
        &["action", "filter", "all", "until", "now", "dry_run", "reason", "limit", "cursor"];
}

/// What a bulk action did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionsView {
    /// Jobs of this call that matched.
    pub matched: usize,
    /// Those of them that changed, or would.
    pub changed: usize,
    /// Those of them that were left as they are, because their state does not allow it.
    pub refused: usize,
    /// Each of them, newest first.
    pub results: Vec<ActionResultView>,
    /// The `cursor` of the next call; none when all jobs were looked at. One call looks through jobs for a second at most.
    #[schema(value_type = Option<form::Cursor>, inline)]
    pub next: Option<String>,
    /// With a `next`: when the last job was submitted that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Time>, inline)]
    pub looked_to: Option<String>,
}

/// What became of one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionResultView {
    /// The job.
    #[schema(value_type = form::JobId, inline)]
    pub id: String,
    /// Its state before.
    #[schema(value_type = form::State)]
    pub state_before: String,
    /// Its state after; none when it was removed.
    #[schema(value_type = Option<form::State>)]
    pub state: Option<String>,
    /// The new job that runs it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::JobId>, inline)]
    pub retried_as: Option<String>,
    /// Why it was left as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ActionsView {
    /// The view of some results.
    pub(crate) fn of(report: ActionReport, next: Option<String>) -> Self {
        let ActionReport { results, next: _, looked_to, is_repeated: _ } = report;
        Self {
            matched: results.len(),
            changed: results.iter().filter(|result| result.is_changed).count(),
            refused: results.iter().filter(|result| result.error.is_some()).count(),
            results: results.into_iter().map(Into::into).collect(),
            next,
            looked_to: looked_to.map(|looked_to| looked_to.to_string()),
        }
    }
}

impl From<ActionResult> for ActionResultView {
    fn from(result: ActionResult) -> Self {
        let ActionResult { job, before, after, retried_as, is_changed: _, error } = result;
        Self {
            id: job.to_string(),
            state_before: before.word().to_owned(),
            state: after.map(|status| status.word().to_owned()),
            retried_as: retried_as.map(|id| id.to_string()),
            error: error.map(|error| error.to_string()),
        }
    }
}

/// The commands that people gave for a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// Oldest first.
    pub rows: Vec<AuditRowView>,
}

/// One command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditRowView {
    /// When.
    #[schema(value_type = form::Time, inline)]
    pub on: String,
    /// Who.
    pub by: String,
    /// `cancel`, `pause`, `resume`, `postpone` or `retry`. A `retry` stands with the new job.
    #[schema(value_type = form::ActionWord)]
    pub action: String,
    /// The state before; for a `retry` that of the job which is run again.
    #[schema(value_type = form::State)]
    pub from: String,
    /// The state after.
    #[schema(value_type = form::State)]
    pub to: String,
    /// Why.
    pub reason: Option<String>,
    /// The revision of the job that the command made.
    pub revision: u32,
}

impl From<AuditRow> for AuditRowView {
    fn from(row: AuditRow) -> Self {
        let AuditRow { job: _, revision, on, by, action, from, to, reason } = row;
        Self {
            on: time(on),
            by,
            action: action.word().to_owned(),
            from: from.word().to_owned(),
            to: to.word().to_owned(),
            reason,
            revision,
        }
    }
}

/// Why a job is not running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainView {
    /// The job.
    #[schema(value_type = form::JobId, inline)]
    pub id: String,
    /// Its state.
    #[schema(value_type = form::State)]
    pub state: String,
    /// Everything that stands between it and its run, the foremost first; at least one.
    pub reasons: Vec<ReasonView>,
}

/// One thing that keeps a job from running, or that it does instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonView {
    /// The word for programs, such as `blocked`, `queue-paused` or `retrying`.
    pub code: String,
    /// What is the matter.
    pub message: String,
    /// What ends it; it starts when this has come about for every reason.
    pub starts_when: String,
    /// When it ends by the passing of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Time>, inline)]
    pub until: Option<String>,
    /// The jobs that it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<form::JobId>, inline)]
    pub jobs: Vec<String>,
}

impl ExplainView {
    /// The view of the reasons of a job.
    pub(crate) fn of(job: &Job, reasons: Vec<Reason>) -> Self {
        Self {
            id: job.submission.id.to_string(),
            state: job.state.status.word().to_owned(),
            reasons: reasons.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Reason> for ReasonView {
    fn from(reason: Reason) -> Self {
        let Reason { code, message, starts_when, until, jobs } = reason;
        Self {
            code: code.to_owned(),
            message,
            starts_when,
            until: time_of(until),
            jobs: jobs.iter().map(JobId::to_string).collect(),
        }
    }
}

/// Failed jobs by what went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailuresView {
    /// The one with the newest job first.
    pub groups: Vec<FailureView>,
    /// Whether the host stopped counting, at 2,000,000 failed jobs: counts may be too small, and groups may be missing, also
    /// the one with the newest job.
    #[serde(default)]
    pub incomplete: bool,
}

impl From<FailureSummaries> for FailuresView {
    fn from(summaries: FailureSummaries) -> Self {
        let FailureSummaries { groups, is_incomplete } = summaries;
        Self { groups: groups.into_iter().map(Into::into).collect(), incomplete: is_incomplete }
    }
}

/// Failed jobs that look like the same failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureView {
    /// What they have in common; a filter of lists and actions.
    #[schema(value_type = form::Fingerprint, inline)]
    pub fingerprint: String,
    /// The plug-in.
    #[schema(value_type = form::PluginName, inline)]
    pub plugin: String,
    /// `transient`, `throttled`, `user-fixable`, `business` or `fatal`.
    pub class: String,
    /// The plug-in's own word, or one of the host's codes.
    pub code: Option<String>,
    /// The message without what differs from job to job.
    pub shape: String,
    /// How many jobs.
    pub count: u64,
    /// The oldest of them; none when it was deleted just now.
    #[schema(value_type = Option<form::JobId>, inline)]
    pub oldest: Option<String>,
    /// The newest of them.
    #[schema(value_type = form::JobId, inline)]
    pub newest: String,
    /// The message of the newest.
    pub message: String,
}

impl From<FailureSummary> for FailureView {
    fn from(summary: FailureSummary) -> Self {
        let FailureSummary { fingerprint, plugin, failure, shape, count, oldest, newest } = summary;
        Self {
            fingerprint: fingerprint.to_string(),
            plugin: plugin.to_string(),
            class: super::job::class_word(failure.class).to_owned(),
            code: failure.code,
            shape,
            count,
            oldest: oldest.map(|id| id.to_string()),
            newest: newest.to_string(),
            message: failure.message,
        }
    }
}
