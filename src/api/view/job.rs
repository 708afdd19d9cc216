//! Jobs and their attempts on the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{FollowUpBody, ReasonView, form, time, time_of};
use crate::domain::failure::{ErrorClass, Failure};
use crate::domain::id::{Digest, JobId};
use crate::domain::job::{
    FollowUp, Job, JobState, JobType, Lease, Occurrence, Payload, Progress, Run, RunEnd, Status, Submission, Ties,
    Wait, WaitReason,
};
use crate::domain::limits::Usage;

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// The identity, a UUID of version 7.
    #[schema(value_type = form::JobId, inline)]
    pub id: String,
    /// The name that people see; `plugin/handler` when the caller gave none.
    pub name: String,
    /// The kind of work.
    #[serde(rename = "type")]
    pub job_type: TypeView,
    /// Where it stands: `queued`, `waiting`, `retrying`, `paused`, `running`, `pausing`, `canceling`, `succeeded`, `failed`
    /// or `canceled`.
    #[schema(value_type = form::State)]
    pub state: String,
    /// The same as a number: 0, 10, 11, 12, 20, 21, 22, 30, 31 or 32, in that order.
    pub status_code: u8,
    /// What a `waiting` job waits for: `scheduled`, `postponed`, `sleep`, `event`, `children`, `error`, `missing-component`
    /// or `manual`.
    #[schema(value_type = Option<form::WaitReasonWord>)]
    pub wait_reason: Option<String>,
    /// The event that it waits for, where it waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited_event: Option<String>,
    /// What a `paused` job waited for when it was paused: what it goes back to when it is resumed before that has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier_wait: Option<WaitView>,
    /// What runs it.
    pub plugin: PluginRef,
    /// The entry point.
    pub handler: String,
    /// The tenant.
    pub tenant: String,
    /// The pool that it runs in.
    pub queue: String,
    /// Greater runs first; -100 to 100.
    pub priority: i8,
    /// Counted tries so far.
    pub attempt: u32,
    /// Tries in all.
    pub max_attempts: u32,
    /// Runs so far; an attempt may take several.
    pub runs: u32,
    /// How often a host died or lost its lease while it ran this job.
    pub crashes: u32,
    /// Not to run before.
    #[schema(value_type = Option<form::Time>, inline)]
    pub postpone_until: Option<String>,
    /// When the submit was taken.
    #[schema(value_type = form::Time, inline)]
    pub created_on: String,
    /// Who submitted it.
    pub created_by: Option<String>,
    /// Whose it is: the name of a token; none when the host knew the caller by no name.
    #[serde(default)]
    pub owner: Option<String>,
    /// The first start that the caller asked for.
    #[schema(value_type = Option<form::Time>, inline)]
    pub at: Option<String>,
    /// To be called off unless started by then.
    #[schema(value_type = Option<form::Time>, inline)]
    pub expires_on: Option<String>,
    /// First start.
    #[schema(value_type = Option<form::Time>, inline)]
    pub started_on: Option<String>,
    /// When it ended.
    #[schema(value_type = Option<form::Time>, inline)]
    pub completed_on: Option<String>,
    /// When a cancel was asked for.
    #[schema(value_type = Option<form::Time>, inline)]
    pub cancel_requested_on: Option<String>,
    /// The host that runs it; none while it is not running. Its attempts name theirs.
    pub host_id: Option<String>,
    /// Ties the jobs of one causal chain: the identity of its first job.
    #[schema(value_type = form::JobId, inline)]
    pub correlation_id: String,
    /// Jobs in the chain before this one.
    pub depth: u32,
    /// How far the handler says it has come.
    pub progress: Option<ProgressView>,
    /// What its closed runs used together.
    pub usage: UsageView,
    /// The size of the input.
    pub input_bytes: u64,
    /// The size of the output, once there is one.
    pub output_bytes: Option<u64>,
    /// The output, where one job is shown and it has at most 64 KiB: as JSON if it is JSON, as a string if it is text, else
    /// in base64. The bytes themselves are at `/v1/jobs/{id}/output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub output: Option<Box<RawValue>>,
    /// How `output` is to be read; present when `output` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_encoding: Option<OutputEncoding>,
    /// Why it failed, retries or waits, when a failure is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorView>,
    /// Free words to find it by.
    pub tags: Vec<String>,
    /// The version of the plug-in that the caller asked for; none when it is the active one.
    pub version: Option<String>,
    /// Jobs of the same key run one after another.
    pub ordering_key: Option<String>,
    /// Of the plug-in's jobs that share it, only so many run at a time.
    #[serde(default)]
    pub concurrency_key: Option<String>,
    /// The jobs that must have ended before it starts.
    #[schema(value_type = Vec<form::JobId>, inline)]
    pub after: Vec<String>,
    /// What it does when one that it waits for has not succeeded: `continue`, `block` or `cancel`.
    pub on_predecessor_failure: String,
    /// At most one unfinished job has this key.
    pub dedup_key: Option<String>,
    /// The record that it is about.
    pub regarding: Option<String>,
    /// Whose keys these are, by the name of a token; absent where they are those that all share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_space: Option<String>,
    /// The batch that it belongs to.
    #[schema(value_type = Option<form::JobId>, inline)]
    pub batch: Option<String>,
    /// The schedule that made it.
    pub schedule: Option<OccurrenceView>,
    /// The finished job that it runs again.
    #[schema(value_type = Option<form::JobId>, inline)]
    pub retry_of: Option<String>,
    /// A shorter wall-clock limit of each run than the plug-in's, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// Whether it is removed as soon as it has succeeded.
    pub auto_delete: bool,
    /// What follows its end.
    pub on_complete: Option<FollowUpBody>,
    /// The unfinished jobs that a queued one waits for, where one job is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<form::JobId>, inline)]
    pub blocked_by: Vec<String>,
    /// The first thing that keeps it from running; only in lists that were asked to `explain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<ReasonView>,
    /// Counts the changes of this job.
    pub revision: u32,
}

/// What a job waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitView {
    /// `waiting` or `retrying`.
    #[schema(value_type = form::State)]
    pub state: String,
    /// What for, where it is `waiting`.
    #[schema(value_type = Option<form::WaitReasonWord>)]
    pub wait_reason: Option<String>,
    /// Until when, where time ends it.
    #[schema(value_type = Option<form::Time>, inline)]
    pub until: Option<String>,
    /// The event, where it is one.
    pub event: Option<String>,
}

impl WaitView {
    fn of(wait: &Wait) -> Self {
        let (status, reason, event) = match wait {
            Wait::Retry(_) => (Status::Retrying, None, None),
            Wait::For { reason, event, .. } => (Status::Waiting, Some(reason.word().to_owned()), event.clone()),
        };
        Self { state: status.word().to_owned(), wait_reason: reason, until: time_of(wait.until()), event }
    }
}

/// The time of a schedule that made a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OccurrenceView {
    /// The schedule.
    pub name: String,
    /// The time that its rule names.
    #[schema(value_type = form::Time, inline)]
    pub scheduled_for: String,
}

/// The kind of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TypeView {
    /// The numeric code.
    pub code: u32,
    /// Its label.
    pub name: String,
}

/// The plug-in that runs a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginRef {
    /// Its name.
    pub name: String,
    /// The version that runs or ran last; none before the first run.
    pub version: Option<String>,
    /// The SHA-256 of that version, in hexadecimal.
    pub digest: Option<String>,
}

/// How far a handler says it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// Units done.
    pub done: u64,
    /// Units in all, when known.
    pub total: Option<u64>,
    /// A word about the present one.
    pub note: Option<String>,
}

/// What runs used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageView {
    /// Units of work.
    pub fuel: u64,
    /// Time on a core, in milliseconds.
    pub cpu_ms: f64,
    /// Time from start to end, in milliseconds.
    pub wall_ms: f64,
    /// The greatest sum of memories, in bytes.
    pub peak_memory_bytes: u64,
    /// Calls from the handler into the host.
    pub host_calls: u64,
    /// Bytes logged, kept or not.
    pub log_bytes: u64,
}

/// Why an attempt did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorView {
    /// `transient`, `throttled`, `user-fixable`, `business` or `fatal`.
    pub class: String,
    /// The plug-in's own word, or one of the host's codes (`BR....`).
    pub code: Option<String>,
    /// One sentence.
    pub message: String,
    /// More, for those who may see the payloads of the job.
    pub detail: Option<String>,
}

/// How a job's `output` is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputEncoding {
    /// The output is JSON and stands there as it is.
    Json,
    /// The output is text and stands there as a string.
    Text,
    /// The output is neither and stands there as `{"base64": "..."}`.
    Base64,
}

/// A page of jobs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct JobPageView {
    /// The jobs, without their outputs.
    pub jobs: Vec<JobView>,
    /// The `cursor` of the next page; none at the end. A page may hold fewer jobs than asked for and still have a next one: one
    /// request looks through jobs for a second at most.
    #[schema(value_type = Option<form::PageCursor>, inline)]
    pub next: Option<String>,
    /// With a `next`: when the last job was submitted that was looked at. Whether one matches beyond it is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Time>, inline)]
    pub looked_to: Option<String>,
}

/// The runs of a job.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AttemptsView {
    /// Oldest first; the one under way last.
    pub attempts: Vec<AttemptView>,
}

/// One run: a slice of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// 1 for the first run of the job.
    pub run: u32,
    /// The attempt that it belongs to.
    pub attempt: u32,
    /// The host that ran it.
    pub host_id: String,
    /// The version of the plug-in that ran.
    pub version: Option<String>,
    /// When it was claimed.
    #[schema(value_type = form::Time, inline)]
    pub started_on: String,
    /// When it ended; none while it is under way.
    #[schema(value_type = Option<form::Time>, inline)]
    pub ended_on: Option<String>,
    /// How it ended: `succeeded`, `failed`, `canceled`, `retry`, `suspended`, `yielded`, `released`, `paused`, `timed-out` or
    /// `lease-lost`; none while it is under way.
    pub end: Option<String>,
    /// Why it failed, when it did.
    pub error: Option<ErrorView>,
    /// What it used; nothing while it is under way.
    pub usage: UsageView,
    /// The size of the log that was kept.
    pub log_bytes: u64,
}

/// What a job's view says beyond its record.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobFacts {
    /// The digest of the version that runs or ran last.
    pub(crate) digest: Option<Digest>,
    /// Attempts in all by the plug-in's policy.
    pub(crate) max_attempts: u32,
    /// How far it has come by now.
    pub(crate) progress: Option<Progress>,
    /// The output, where it is shown.
    pub(crate) output: Option<Output>,
    /// The unfinished jobs that it waits for, where they are shown.
    pub(crate) blocked_by: Vec<JobId>,
    /// The first thing that keeps it from running, where that is shown.
    pub(crate) why: Option<ReasonView>,
    /// Whether the details of its errors are shown: only to those who may see its payloads.
    pub(crate) shows_payload: bool,
}

/// An output in the form in which it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    value: Box<RawValue>,
    encoding: OutputEncoding,
}

impl Output {
    /// Outputs above this size are not shown with their job.
    pub(crate) const BYTES_MAX: u64 = 64 << 10;

    /// Chooses the form that loses nothing.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let (text, encoding) = match std::str::from_utf8(bytes) {
            // What a reader with the usual bound on nesting could not read is no JSON to him.
            Ok(text) if serde_json::from_str::<serde_json::Value>(text).is_ok() => {
                (text.to_owned(), OutputEncoding::Json)
            }
            Ok(text) => (serde_json::Value::from(text).to_string(), OutputEncoding::Text),
            Err(_) => (serde_json::json!({ "base64": BASE64.encode(bytes) }).to_string(), OutputEncoding::Base64),
        };
        let value = RawValue::from_string(text).ok()?;
        Some(Self { value, encoding })
    }
}

impl JobView {
    /// The view of `job`.
    pub(crate) fn of(job: &Job, facts: JobFacts) -> Self {
        let Job { submission, state } = job;
        let Submission {
            id,
            tenant,
            job_type,
            name: _,
            plugin,
            version: asked_version,
            handler,
            input,
            args: _,
            env: _,
            queue,
            priority,
            created_on,
            created_by,
            owner,
            not_before,
            expires_on,
            correlation_id,
            depth,
            tags,
            max_attempts,
            deadline,
            auto_delete,
            ties: _,
        } = &**submission;
        let Ties {
            ordering_key,
            concurrency_key,
            after,
            on_predecessor_failure,
            dedup_key,
            regarding,
            batch,
            occurrence,
            retry_of,
            on_complete,
            is_remembered: _,
        } = submission.ties();
        let JobState {
            status,
            wait_reason,
            awaited_event,
            earlier_wait,
            revision,
            fence: _,
            attempt,
            runs,
            crashes,
            same_attempt: _,
            postpone_until,
            pending_postpone_until: _,
            lease,
            started_on,
            run_started_on: _,
            throttled_since: _,
            completed_on,
            is_overruled: _,
            cancel_requested_on,
            modified: _,
            version,
            earlier_usage: _,
            last_run: _,
            failure: _,
            progress: _,
            checkpoint: _,
            output,
        } = state;
        let (shown, encoding) = facts.output.map(|output| (output.value, output.encoding)).unzip();
        Self {
            id: id.to_string(),
            name: submission.display_name(),
            job_type: (*job_type).into(),
            state: status.word().to_owned(),
            status_code: status.code(),
            wait_reason: wait_reason.map(WaitReason::word).map(str::to_owned),
            awaited_event: awaited_event.clone(),
            earlier_wait: earlier_wait.as_deref().map(WaitView::of),
            plugin: PluginRef {
                name: plugin.to_string(),
                version: version.as_ref().map(ToString::to_string),
                digest: facts.digest.map(|digest| digest.to_string()),
            },
            handler: handler.to_string(),
            tenant: tenant.to_string(),
            queue: queue.to_string(),
            priority: *priority,
            attempt: *attempt,
            max_attempts: max_attempts.unwrap_or(facts.max_attempts),
            runs: *runs,
            crashes: *crashes,
            postpone_until: time_of(*postpone_until),
            created_on: time(*created_on),
            created_by: created_by.clone(),
            owner: owner.as_ref().map(ToString::to_string),
            at: time_of(*not_before),
            expires_on: time_of(*expires_on),
            started_on: time_of(*started_on),
            completed_on: time_of(*completed_on),
            cancel_requested_on: time_of(*cancel_requested_on),
            host_id: lease.map(|lease| lease.host.to_string()),
            correlation_id: correlation_id.unwrap_or(*id).to_string(),
            depth: *depth,
            progress: facts.progress.map(Into::into),
            usage: state.usage().into(),
            input_bytes: input.len(),
            output_bytes: output.as_ref().map(Payload::len),
            output: shown,
            output_encoding: encoding,
            error: state.failure().cloned().map(|failure| ErrorView::of(failure, facts.shows_payload)),
            tags: tags.clone(),
            version: asked_version.as_ref().map(ToString::to_string),
            ordering_key: ordering_key.as_ref().map(ToString::to_string),
            concurrency_key: concurrency_key.as_ref().map(ToString::to_string),
            after: after.iter().map(ToString::to_string).collect(),
            on_predecessor_failure: on_predecessor_failure.word().to_owned(),
            dedup_key: dedup_key.as_ref().map(ToString::to_string),
            regarding: regarding.as_ref().map(ToString::to_string),
            key_space: submission.ties().key_space().map(str::to_owned),
            batch: batch.as_ref().map(ToString::to_string),
            schedule: occurrence.as_ref().map(Into::into),
            retry_of: retry_of.as_ref().map(ToString::to_string),
            deadline_ms: deadline.map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
            auto_delete: *auto_delete,
            on_complete: on_complete.as_ref().map(|next| FollowUpBody::of(next, facts.shows_payload)),
            blocked_by: facts.blocked_by.iter().map(ToString::to_string).collect(),
            why: facts.why,
            revision: *revision,
        }
    }

    /// Whether nothing but deletion can follow.
    pub fn is_final(&self) -> bool {
        self.status_code >= 30
    }
}

impl From<&Occurrence> for OccurrenceView {
    fn from(occurrence: &Occurrence) -> Self {
        let Occurrence { schedule, scheduled_for } = occurrence;
        Self { name: schedule.to_string(), scheduled_for: time(*scheduled_for) }
    }
}

impl FollowUpBody {
    /// What follows a job. A URL is payload: for others it ends with its origin.
    fn of(follow_up: &FollowUp, shows_payload: bool) -> Self {
        let FollowUp { plugin, handler, queue, url: _ } = follow_up;
        Self {
            plugin: plugin.to_string(),
            handler: Some(handler.to_string()),
            queue: Some(queue.to_string()),
            url: follow_up.url_for(shows_payload),
        }
    }
}

impl From<JobType> for TypeView {
    fn from(job_type: JobType) -> Self {
        Self { code: job_type.0, name: job_type.name().to_owned() }
    }
}

impl From<Progress> for ProgressView {
    fn from(progress: Progress) -> Self {
        let Progress { done, total, note } = progress;
        Self { done, total, note }
    }
}

impl From<Usage> for UsageView {
    fn from(usage: Usage) -> Self {
        let Usage { fuel, cpu_micros, wall_micros, peak_memory_bytes, host_calls, log_bytes } = usage;
        Self {
            fuel,
            cpu_ms: millis(cpu_micros),
            wall_ms: millis(wall_micros),
            peak_memory_bytes,
            host_calls,
            log_bytes,
        }
    }
}

fn millis(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64() * 1_000.0
}

impl ErrorView {
    /// The view of a failure; its details only where the payloads of its job may be seen.
    pub(super) fn of(failure: Failure, shows_payload: bool) -> Self {
        let Failure { class, code, message, detail } = failure;
        Self { class: class_word(class).to_owned(), code, message, detail: detail.filter(|_| shows_payload) }
    }
}

pub(super) const fn class_word(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Transient => "transient",
        ErrorClass::Throttled => "throttled",
        ErrorClass::UserFixable => "user-fixable",
        ErrorClass::Business => "business",
        ErrorClass::Fatal => "fatal",
    }
}

const fn end_word(end: RunEnd) -> &'static str {
    match end {
        RunEnd::Succeeded => "succeeded",
        RunEnd::Failed => "failed",
        RunEnd::Canceled => "canceled",
        RunEnd::Retry => "retry",
        RunEnd::Suspended => "suspended",
        RunEnd::Yielded => "yielded",
        RunEnd::Released => "released",
        RunEnd::Paused => "paused",
        RunEnd::TimedOut => "timed-out",
        RunEnd::LeaseLost => "lease-lost",
    }
}

impl AttemptView {
    /// The view of a closed run, with the details of its error where the payloads of its job may be seen.
    pub(crate) fn of(run: Run, shows_payload: bool) -> Self {
        let Run { number, attempt, host, version, started_on, ended_on, end, failure, usage, log } = run;
        Self {
            run: number,
            attempt,
            host_id: host.to_string(),
            version: version.map(|version| version.to_string()),
            started_on: time(started_on),
            ended_on: Some(time(ended_on)),
            end: Some(end_word(end).to_owned()),
            error: failure.map(|failure| ErrorView::of(failure, shows_payload)),
            usage: usage.into(),
            log_bytes: log.as_ref().map(Payload::len).unwrap_or_default(),
        }
    }

    /// The run that is under way, if one is.
    pub(crate) fn under_way(job: &Job) -> Option<Self> {
        let state = &job.state;
        let (Lease { host, until: _ }, started_on) = (state.lease?, state.run_started_on?);
        Some(Self {
            run: state.runs,
            attempt: state.attempt,
            host_id: host.to_string(),
            version: state.version.as_ref().map(ToString::to_string),
            started_on: time(started_on),
            ended_on: None,
            end: None,
            error: None,
            usage: UsageView::default(),
            log_bytes: 0,
        })
    }
}
