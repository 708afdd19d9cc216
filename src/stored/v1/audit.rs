//! A command of a person.

use super::job_state::Status;
use super::leaf::{Text, Time};
use crate::domain::audit;
use crate::domain::id::{JobKey, Sequence, TenantId};
use crate::stored::shape::{Unfit, shape, words};

words! {
    /// What was asked for.
    Action is audit::Action { Cancel, Pause, Resume, Postpone, Retry, Delete }
}

shape! {
    /// A row of a job's audit.
    AuditRow<'a> {
        always {
            sequence: u64,
            revision: u32,
            on: Time,
            by: Text<'a>,
            action: Action,
            from: Status,
            to: Status,
        }
        later {
            tenant: u32,
            reason: Option<Text<'a>>,
        }
    }
}

impl<'a> From<&'a audit::AuditRow> for AuditRow<'a> {
    fn from(row: &'a audit::AuditRow) -> Self {
        let audit::AuditRow { job, revision, on, by, action, from, to, reason } = row;
        Self {
            sequence: job.sequence.0,
            revision: *revision,
            on: (*on).into(),
            by: by.into(),
            action: (*action).into(),
            from: (*from).into(),
            to: (*to).into(),
            tenant: job.tenant.0,
            reason: reason.as_ref().map(Text::from),
        }
    }
}

impl TryFrom<AuditRow<'_>> for audit::AuditRow {
    type Error = Unfit;

    fn try_from(shape: AuditRow<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            job: JobKey { tenant: TenantId(shape.tenant), sequence: Sequence(shape.sequence) },
            revision: shape.revision,
            on: shape.on.into(),
            by: shape.by.into(),
            action: shape.action.into(),
            from: shape.from.into(),
            to: shape.to.into(),
            reason: shape.reason.map(String::from),
        })
    }
}
