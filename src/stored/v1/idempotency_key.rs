//! What an `Idempotency-Key` stands for.

use std::sync::Arc;

use uuid::Uuid;

use super::job_state::JobState;
use super::leaf::{Bits, Text, Time};
use super::submission::Submission;
use crate::domain::change;
use crate::domain::id::{JobId, Sequence, TenantId};
use crate::domain::job::Job;
use crate::stored::shape::{Unfit, shape};

shape! {
    /// A key. One that belongs to somebody alone has their name and a line break in front.
    RememberedSubmit<'a> {
        always {
            key: Text<'a>,
            fingerprint: Bits,
            on: Time,
            until: Time,
        }
        later {
            tenant: u32,
            jobs: Vec<Uuid>,
            next: Option<u64>,
            end: Option<Ended<'a>>,
        }
    }
}

shape! {
    /// How a job ended that was deleted with its end.
    Ended<'a> {
        always {
            submission: Submission<'a>,
            state: JobState<'a>,
        }
        later {}
    }
}

impl<'a> From<&'a change::RememberedSubmit> for RememberedSubmit<'a> {
    fn from(submit: &'a change::RememberedSubmit) -> Self {
        let change::RememberedSubmit { tenant, key, fingerprint, jobs, next, end, on, until } = submit;
        Self {
            key: key.into(),
            fingerprint: Bits(*fingerprint),
            on: (*on).into(),
            until: (*until).into(),
            tenant: tenant.0,
            jobs: jobs.iter().map(|id| id.0).collect(),
            next: next.map(|sequence| sequence.0),
            end: end.as_deref().map(|job| Ended { submission: (&*job.submission).into(), state: (&job.state).into() }),
        }
    }
}

impl TryFrom<RememberedSubmit<'_>> for change::RememberedSubmit {
    type Error = Unfit;

    fn try_from(shape: RememberedSubmit<'_>) -> Result<Self, Unfit> {
        let job = |Ended { submission, state }: Ended<'_>| -> Result<Box<Job>, Unfit> {
            Ok(Box::new(Job { submission: Arc::new(submission.try_into()?), state: state.try_into()? }))
        };
        Ok(Self {
            tenant: TenantId(shape.tenant),
            key: shape.key.into(),
            fingerprint: shape.fingerprint.0,
            jobs: shape.jobs.into_iter().map(JobId).collect(),
            next: shape.next.map(Sequence),
            end: shape.end.map(job).transpose()?,
            on: shape.on.into(),
            until: shape.until.into(),
        })
    }
}
