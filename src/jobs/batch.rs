//! Batches: many jobs that have one progress, one end and one callback.

use std::sync::Arc;

use super::steer::{Command, Order};
use super::{BulkError, Jobs, NewJob, SteerError};
use crate::domain::batch::{self, Summary, Terms};
use crate::domain::id::{JobId, PluginName, QueueName, TenantId};
use crate::domain::job::{FollowUp, Job, JobType, Payload, Status, Submission, Ties, transition};
use crate::domain::query::{JobFilter, JobQuery};
use crate::store::ReadError;

/// How many members one query reads.
const PAGE: usize = 500;

/// What a caller asks of a batch.
#[derive(Clone, Debug, Default)]
pub struct NewBatch {
    /// The owner.
    pub tenant: TenantId,
    /// A display name.
    pub name: Option<String>,
    /// How many of its jobs may fail or be canceled without making it fail.
    pub allowed_failures: u64,
    /// What follows its end.
    pub on_complete: Option<FollowUp>,
    /// Free words to find it by.
    pub tags: Vec<String>,
    /// Who submits it.
    pub by: Option<String>,
}

impl Jobs {
    /// Takes a batch and all its jobs, or nothing, in one commit.
    pub async fn submit_batch(&self, new: NewBatch, members: Vec<NewJob>) -> Result<(Job, Vec<JobId>), BulkError> {
        let now = self.clock.now();
        let id = self.identities.next(now);
        let terms = Terms { allowed_failures: new.allowed_failures };
        let input = serde_json::to_vec(&terms).unwrap_or_default();
        let on_complete = new.on_complete;
        let submission = Submission {
            tenant: new.tenant,
            job_type: JobType::BATCH,
            name: new.name.or_else(|| Some("batch".to_owned())),
            input: Payload::Inline(input.into()),
            queue: QueueName::default_queue(),
            created_by: new.by,
            tags: new.tags,
            ties: on_complete.map(|follow_up| Arc::new(Ties { on_complete: Some(follow_up), ..Ties::default() })),
            ..Submission::new(id, batch_plugin(), now)
        };
        let state = transition::submitted(&submission, now);
        let batch = Job { submission: Arc::new(submission), state };
        let (ids, pending) = self.number_and_commit_bulk(members, Some(&batch), now)?;
        pending.await.map_err(|error| BulkError { index: 0, error: error.into() })?;
        Ok((batch, ids))
    }

    /// How the members of a batch do.
    pub fn batch_summary(&self, batch: &Job) -> Result<Summary, ReadError> {
        Ok(Summary::of(&self.store.batch(batch.submission.tenant, batch.submission.id)?))
    }

    /// Calls off the members of a batch that have not ended.
    pub(super) async fn cancel_members(&self, batch: &Job, by: &str) -> Result<(), SteerError> {
        let tenant = batch.submission.tenant;
        let cancel = Command::new(Order::Cancel, by);
        let statuses = Status::ALL.into_iter().filter(|status| !status.is_final()).collect();
        let filter = JobFilter { statuses, batch: Some(batch.submission.id), ..JobFilter::default() };
        let mut query = JobQuery { tenant, filter, before: None, limit: PAGE };
        loop {
            let page = self.store.jobs(&query)?;
            for member in page.jobs {
                match self.steer_one(tenant, member.submission.id, &cancel, |_| true).await {
                    // It has ended or gone meanwhile.
                    Ok(_) | Err(SteerError::Refused(_) | SteerError::Unknown(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            match page.next {
                Some(next) => query.before = Some(next),
                None => return Ok(()),
            }
        }
    }
}

fn batch_plugin() -> PluginName {
    PluginName::new(batch::PLUGIN).expect("it is a slug")
}
