//! A schedule, with the jobs that it makes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::leaf::{Span, Text, Time, parsed, parsed_if};
use super::payload::Payload;
use crate::domain::id::{HandlerName, JobId, PluginName, QueueName, ScheduleName, TenantId, VersionName};
use crate::domain::schedule;
use crate::stored::shape::{Absent, Unfit, shape, words};

words! {
    /// Whether it makes jobs.
    ScheduleState is schedule::ScheduleState { Active, Paused, Ended }

    /// What becomes of occurrences that come while the one before is under way.
    Overlap is schedule::Overlap { Skip, Queue, Allow, CancelPrevious }
}

shape! {
    /// A schedule. Its recurrence is text of iCalendar.
    Schedule<'a> {
        always {
            name: Text<'a>,
            revision: u32,
            recurrence: Text<'a>,
            target: JobTemplate<'a>,
            state: ScheduleState,
            created_on: Time,
            modified_on: Time,
            decided_on: Time,
        }
        later {
            tenant: u32,
            misfire: Misfire,
            overlap: Overlap,
            jitter: Span,
            next_run: Option<Time>,
            next_occurrence: Option<Time>,
            last_occurrence: Option<Time>,
            last_run: Option<Time>,
            last_job: Option<Uuid>,
            last_extra: Option<Time>,
            fired: u64,
            left_out: u64,
            last_left_out: Option<Time>,
            created_by: Option<Text<'a>>,
            modified_by: Option<Text<'a>>,
        }
    }
}

shape! {
    /// The jobs that it makes.
    JobTemplate<'a> {
        always {
            plugin: Text<'a>,
            queue: Text<'a>,
        }
        later {
            handler: Option<Text<'a>>,
            input: Payload<'a>,
            args: Cow<'a, [String]>,
            env: Cow<'a, [(String, String)]>,
            priority: i32,
            ordering_key: Option<Text<'a>>,
            tags: Cow<'a, [String]>,
            max_attempts: Option<u32>,
            expires_after: Option<Span>,
            name: Option<Text<'a>>,
            version: Option<Text<'a>>,
        }
    }
}

/// What becomes of occurrences that were missed.
#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::stored) enum Misfire {
    #[default]
    RunOnce,
    RunAll(u32),
    Skip,
}

impl Absent for Misfire {
    fn is_absent(&self) -> bool {
        *self == Self::RunOnce
    }
}

impl From<schedule::Misfire> for Misfire {
    fn from(misfire: schedule::Misfire) -> Self {
        match misfire {
            schedule::Misfire::RunOnce => Self::RunOnce,
            schedule::Misfire::RunAll(most) => Self::RunAll(most),
            schedule::Misfire::Skip => Self::Skip,
        }
    }
}

impl From<Misfire> for schedule::Misfire {
    fn from(shape: Misfire) -> Self {
        match shape {
            Misfire::RunOnce => Self::RunOnce,
            Misfire::RunAll(most) => Self::RunAll(most),
            Misfire::Skip => Self::Skip,
        }
    }
}

impl<'a> From<&'a schedule::Schedule> for Schedule<'a> {
    fn from(schedule: &'a schedule::Schedule) -> Self {
        let schedule::Schedule {
            tenant,
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
            decided_on,
            last_occurrence,
            last_run,
            last_job,
            last_extra,
            fired,
            left_out,
            last_left_out,
            created_on,
            created_by,
            modified_on,
            modified_by,
        } = schedule;
        Self {
            name: name.as_str().into(),
            revision: *revision,
            recurrence: Text(Cow::Owned(recurrence.to_string())),
            target: target.into(),
            state: (*state).into(),
            created_on: (*created_on).into(),
            modified_on: (*modified_on).into(),
            decided_on: (*decided_on).into(),
            tenant: tenant.0,
            misfire: (*misfire).into(),
            overlap: (*overlap).into(),
            jitter: (*jitter).into(),
            next_run: next_run.map(Time::from),
            next_occurrence: next_occurrence.map(Time::from),
            last_occurrence: last_occurrence.map(Time::from),
            last_run: last_run.map(Time::from),
            last_job: last_job.map(|id| id.0),
            last_extra: last_extra.map(Time::from),
            fired: *fired,
            left_out: *left_out,
            last_left_out: last_left_out.map(Time::from),
            created_by: created_by.as_ref().map(Text::from),
            modified_by: modified_by.as_ref().map(Text::from),
        }
    }
}

impl TryFrom<Schedule<'_>> for schedule::Schedule {
    type Error = Unfit;

    fn try_from(shape: Schedule<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            tenant: TenantId(shape.tenant),
            name: parsed(&shape.name, ScheduleName::new)?,
            revision: shape.revision,
            recurrence: parsed(&shape.recurrence, str::parse)?,
            target: shape.target.try_into()?,
            misfire: shape.misfire.into(),
            overlap: shape.overlap.into(),
            jitter: shape.jitter.into(),
            state: shape.state.into(),
            next_run: shape.next_run.map(Into::into),
            next_occurrence: shape.next_occurrence.map(Into::into),
            decided_on: shape.decided_on.into(),
            last_occurrence: shape.last_occurrence.map(Into::into),
            last_run: shape.last_run.map(Into::into),
            last_job: shape.last_job.map(JobId),
            last_extra: shape.last_extra.map(Into::into),
            fired: shape.fired,
            left_out: shape.left_out,
            last_left_out: shape.last_left_out.map(Into::into),
            created_on: shape.created_on.into(),
            created_by: shape.created_by.map(String::from),
            modified_on: shape.modified_on.into(),
            modified_by: shape.modified_by.map(String::from),
        })
    }
}

impl<'a> From<&'a schedule::JobTemplate> for JobTemplate<'a> {
    fn from(template: &'a schedule::JobTemplate) -> Self {
        let schedule::JobTemplate {
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
            plugin: plugin.as_str().into(),
            queue: queue.as_str().into(),
            handler: handler.as_ref().map(|handler| handler.as_str().into()),
            input: input.into(),
            args: Cow::Borrowed(args),
            env: Cow::Borrowed(env),
            priority: (*priority).into(),
            ordering_key: ordering_key.as_ref().map(Text::from),
            tags: Cow::Borrowed(tags),
            max_attempts: *max_attempts,
            expires_after: expires_after.map(Span::from),
            name: name.as_ref().map(Text::from),
            version: version.as_ref().map(|version| version.as_str().into()),
        }
    }
}

impl TryFrom<JobTemplate<'_>> for schedule::JobTemplate {
    type Error = Unfit;

    fn try_from(shape: JobTemplate<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            plugin: parsed(&shape.plugin, PluginName::new)?,
            handler: parsed_if(shape.handler.as_ref(), HandlerName::new)?,
            input: shape.input.into(),
            args: shape.args.into_owned(),
            env: shape.env.into_owned(),
            queue: parsed(&shape.queue, QueueName::new)?,
            priority: shape.priority.try_into()?,
            ordering_key: shape.ordering_key.map(String::from),
            tags: shape.tags.into_owned(),
            max_attempts: shape.max_attempts,
            expires_after: shape.expires_after.map(Into::into),
            name: shape.name.map(String::from),
            version: parsed_if(shape.version.as_ref(), VersionName::new)?,
        })
    }
}
