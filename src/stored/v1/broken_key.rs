//! The end of a job that held an ordering key.

use super::leaf::{Text, parsed};
use crate::domain::id::{JobKey, OrderingKey, Sequence, TenantId};
use crate::domain::job;
use crate::stored::shape::{Unfit, shape};

shape! {
    /// The mark of an ordering key.
    BrokenKey<'a> {
        always {
            sequence: u64,
            key: Text<'a>,
        }
        later {
            tenant: u32,
        }
    }
}

impl<'a> From<&'a job::BrokenKey> for BrokenKey<'a> {
    fn from(mark: &'a job::BrokenKey) -> Self {
        let job::BrokenKey { job, key } = mark;
        Self { sequence: job.sequence.0, key: key.as_str().into(), tenant: job.tenant.0 }
    }
}

impl TryFrom<BrokenKey<'_>> for job::BrokenKey {
    type Error = Unfit;

    fn try_from(shape: BrokenKey<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            job: JobKey { tenant: TenantId(shape.tenant), sequence: Sequence(shape.sequence) },
            key: parsed(&shape.key, OrderingKey::stored)?,
        })
    }
}
