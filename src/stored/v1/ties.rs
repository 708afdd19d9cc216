//! What binds a job to others.

use uuid::Uuid;

use super::leaf::{Text, Time, parsed, parsed_if};
use crate::domain::id::{
    ConcurrencyKey, DedupKey, HandlerName, JobId, OrderingKey, PluginName, QueueName, RecordName, ScheduleName,
};
use crate::domain::job;
use crate::stored::shape::{Unfit, shape, words};

words! {
    /// What a job does when one that it waits for has not succeeded.
    OnPredecessorFailure is job::OnPredecessorFailure { Continue, Block, Cancel }
}

shape! {
    /// The ties of a job. A key that belongs to somebody alone has their name and a line break in front.
    Ties<'a> {
        always {}
        later {
            ordering_key: Option<Text<'a>>,
            concurrency_key: Option<Text<'a>>,
            dedup_key: Option<Text<'a>>,
            regarding: Option<Text<'a>>,
            after: Vec<Uuid>,
            on_predecessor_failure: OnPredecessorFailure,
            batch: Option<Uuid>,
            occurrence: Option<Occurrence<'a>>,
            retry_of: Option<Uuid>,
            on_complete: Option<FollowUp<'a>>,
            is_remembered: bool,
        }
    }
}

shape! {
    /// The time of a schedule that made the job.
    Occurrence<'a> {
        always {
            schedule: Text<'a>,
            scheduled_for: Time,
        }
        later {}
    }
}

shape! {
    /// The job that follows.
    FollowUp<'a> {
        always {
            plugin: Text<'a>,
            handler: Text<'a>,
            queue: Text<'a>,
        }
        later {
            url: Option<Text<'a>>,
        }
    }
}

impl<'a> From<&'a job::Ties> for Ties<'a> {
    fn from(ties: &'a job::Ties) -> Self {
        let job::Ties {
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
            is_remembered,
        } = ties;
        Self {
            ordering_key: ordering_key.as_ref().map(|key| key.as_str().into()),
            concurrency_key: concurrency_key.as_ref().map(|key| key.as_str().into()),
            dedup_key: dedup_key.as_ref().map(|key| key.as_str().into()),
            regarding: regarding.as_ref().map(|record| record.as_str().into()),
            after: after.iter().map(|id| id.0).collect(),
            on_predecessor_failure: (*on_predecessor_failure).into(),
            batch: batch.map(|id| id.0),
            occurrence: occurrence.as_ref().map(Occurrence::from),
            retry_of: retry_of.map(|id| id.0),
            on_complete: on_complete.as_ref().map(FollowUp::from),
            is_remembered: *is_remembered,
        }
    }
}

impl TryFrom<Ties<'_>> for job::Ties {
    type Error = Unfit;

    fn try_from(shape: Ties<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            ordering_key: parsed_if(shape.ordering_key.as_ref(), OrderingKey::stored)?,
            concurrency_key: parsed_if(shape.concurrency_key.as_ref(), ConcurrencyKey::stored)?,
            after: shape.after.into_iter().map(JobId).collect(),
            on_predecessor_failure: shape.on_predecessor_failure.into(),
            dedup_key: parsed_if(shape.dedup_key.as_ref(), DedupKey::stored)?,
            regarding: parsed_if(shape.regarding.as_ref(), RecordName::stored)?,
            batch: shape.batch.map(JobId),
            occurrence: shape.occurrence.map(job::Occurrence::try_from).transpose()?,
            retry_of: shape.retry_of.map(JobId),
            on_complete: shape.on_complete.map(job::FollowUp::try_from).transpose()?,
            is_remembered: shape.is_remembered,
        })
    }
}

impl<'a> From<&'a job::Occurrence> for Occurrence<'a> {
    fn from(occurrence: &'a job::Occurrence) -> Self {
        let job::Occurrence { schedule, scheduled_for } = occurrence;
        Self { schedule: schedule.as_str().into(), scheduled_for: (*scheduled_for).into() }
    }
}

impl TryFrom<Occurrence<'_>> for job::Occurrence {
    type Error = Unfit;

    fn try_from(shape: Occurrence<'_>) -> Result<Self, Unfit> {
        Ok(Self { schedule: parsed(&shape.schedule, ScheduleName::new)?, scheduled_for: shape.scheduled_for.into() })
    }
}

impl<'a> From<&'a job::FollowUp> for FollowUp<'a> {
    fn from(follow_up: &'a job::FollowUp) -> Self {
        let job::FollowUp { plugin, handler, queue, url } = follow_up;
        Self {
            plugin: plugin.as_str().into(),
            handler: handler.as_str().into(),
            queue: queue.as_str().into(),
            url: url.as_ref().map(Text::from),
        }
    }
}

impl TryFrom<FollowUp<'_>> for job::FollowUp {
    type Error = Unfit;

    fn try_from(shape: FollowUp<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            plugin: parsed(&shape.plugin, PluginName::new)?,
            handler: parsed(&shape.handler, HandlerName::new)?,
            queue: parsed(&shape.queue, QueueName::new)?,
            url: shape.url.map(String::from),
        })
    }
}
