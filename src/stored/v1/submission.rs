//! What was asked for.

use std::borrow::Cow;
use std::sync::Arc;

use uuid::Uuid;

use super::leaf::{Span, Text, Time, parsed, parsed_if};
use super::payload::Payload;
use super::ties::Ties;
use crate::domain::id::{HandlerName, JobId, PluginName, QueueName, TenantId, TokenName, VersionName};
use crate::domain::job::{self, JobType};
use crate::stored::shape::{Unfit, shape};

shape! {
    /// A submission.
    Submission<'a> {
        always {
            id: Uuid,
            plugin: Text<'a>,
            handler: Text<'a>,
            queue: Text<'a>,
            created_on: Time,
            job_type: u32,
        }
        later {
            tenant: u32,
            input: Payload<'a>,
            priority: i32,
            name: Option<Text<'a>>,
            created_by: Option<Text<'a>>,
            owner: Option<Text<'a>>,
            tags: Cow<'a, [String]>,
            args: Cow<'a, [String]>,
            env: Cow<'a, [(String, String)]>,
            not_before: Option<Time>,
            expires_on: Option<Time>,
            max_attempts: Option<u32>,
            version: Option<Text<'a>>,
            deadline: Option<Span>,
            auto_delete: bool,
            correlation_id: Option<Uuid>,
            depth: u32,
            ties: Option<Ties<'a>>,
        }
    }
}

impl<'a> From<&'a job::Submission> for Submission<'a> {
    fn from(submission: &'a job::Submission) -> Self {
        let job::Submission {
            id,
            tenant,
            job_type,
            name,
            plugin,
            version,
            handler,
            input,
            args,
            env,
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
            ties,
        } = submission;
        Self {
            id: id.0,
            plugin: plugin.as_str().into(),
            handler: handler.as_str().into(),
            queue: queue.as_str().into(),
            created_on: (*created_on).into(),
            job_type: job_type.0,
            tenant: tenant.0,
            input: input.into(),
            priority: (*priority).into(),
            name: name.as_ref().map(Text::from),
            created_by: created_by.as_ref().map(Text::from),
            owner: owner.as_ref().map(|owner| owner.as_str().into()),
            tags: Cow::Borrowed(tags),
            args: Cow::Borrowed(args),
            env: Cow::Borrowed(env),
            not_before: not_before.map(Time::from),
            expires_on: expires_on.map(Time::from),
            max_attempts: *max_attempts,
            version: version.as_ref().map(|version| version.as_str().into()),
            deadline: deadline.map(Span::from),
            auto_delete: *auto_delete,
            correlation_id: correlation_id.map(|id| id.0),
            depth: *depth,
            ties: ties.as_deref().map(Ties::from),
        }
    }
}

impl TryFrom<Submission<'_>> for job::Submission {
    type Error = Unfit;

    fn try_from(shape: Submission<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            id: JobId(shape.id),
            tenant: TenantId(shape.tenant),
            job_type: JobType(shape.job_type),
            name: shape.name.map(String::from),
            plugin: parsed(&shape.plugin, PluginName::new)?,
            version: parsed_if(shape.version.as_ref(), VersionName::new)?,
            handler: parsed(&shape.handler, HandlerName::new)?,
            input: shape.input.into(),
            args: shape.args.into_owned(),
            env: shape.env.into_owned(),
            queue: parsed(&shape.queue, QueueName::new)?,
            priority: shape.priority.try_into()?,
            created_on: shape.created_on.into(),
            created_by: shape.created_by.map(String::from),
            owner: parsed_if(shape.owner.as_ref(), TokenName::new)?,
            not_before: shape.not_before.map(Into::into),
            expires_on: shape.expires_on.map(Into::into),
            correlation_id: shape.correlation_id.map(JobId),
            depth: shape.depth,
            tags: shape.tags.into_owned(),
            max_attempts: shape.max_attempts,
            deadline: shape.deadline.map(Into::into),
            auto_delete: shape.auto_delete,
            ties: shape.ties.map(job::Ties::try_from).transpose()?.map(Arc::new),
        })
    }
}
