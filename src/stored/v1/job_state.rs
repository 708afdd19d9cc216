//! What has become of a job.

use serde::{Deserialize, Serialize};

use super::leaf::{Text, Time, parsed_if};
use super::payload::Payload;
use super::run::{Failure, Run, Usage};
use crate::domain::id::{HostId, VersionName};
use crate::domain::job;
use crate::stored::shape::{Unfit, shape, words};

words! {
    /// Where a job stands.
    Status is job::Status {
        Queued, Waiting, Retrying, Paused, Running, Pausing, Canceling, Succeeded, Failed, Canceled,
    }

    /// What a job waits for.
    WaitReason is job::WaitReason {
        Scheduled, Postponed, Sleep, Event, Children, Error, MissingComponent, Manual,
    }
}

shape! {
    /// The state of a job.
    JobState<'a> {
        always {
            status: Status,
            revision: u32,
        }
        later {
            fence: u32,
            attempt: u32,
            runs: u32,
            crashes: u32,
            version: Option<Text<'a>>,
            started_on: Option<Time>,
            completed_on: Option<Time>,
            last_run: Option<Run<'a>>,
            output: Option<Payload<'a>>,
            earlier_usage: Usage,
            lease: Option<Lease>,
            run_started_on: Option<Time>,
            same_attempt: bool,
            wait_reason: Option<WaitReason>,
            awaited_event: Option<Text<'a>>,
            earlier_wait: Option<Wait<'a>>,
            postpone_until: Option<Time>,
            pending_postpone_until: Option<Time>,
            throttled_since: Option<Time>,
            cancel_requested_on: Option<Time>,
            is_overruled: bool,
            modified: Option<Modified<'a>>,
            failure: Option<Failure<'a>>,
            progress: Option<Progress<'a>>,
            checkpoint: Option<Payload<'a>>,
        }
    }
}

shape! {
    /// Who holds it, and until when.
    Lease {
        always {
            host: u64,
            until: Time,
        }
        later {}
    }
}

/// A wait that a pause has interrupted.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", bound(deserialize = "'de: 'a"))]
pub(in crate::stored) enum Wait<'a> {
    Retry(Time),
    For(WaitFor<'a>),
}

shape! {
    /// A wait for something else than the next try.
    WaitFor<'a> {
        always {
            reason: WaitReason,
        }
        later {
            until: Option<Time>,
            event: Option<Text<'a>>,
        }
    }
}

shape! {
    /// When a person last changed it, and who.
    Modified<'a> {
        always {
            on: Time,
            by: Text<'a>,
        }
        later {}
    }
}

shape! {
    /// How far it has come.
    Progress<'a> {
        always {
            done: u64,
        }
        later {
            total: Option<u64>,
            note: Option<Text<'a>>,
        }
    }
}

impl<'a> From<&'a job::JobState> for JobState<'a> {
    fn from(state: &'a job::JobState) -> Self {
        let job::JobState {
            status,
            wait_reason,
            awaited_event,
            earlier_wait,
            revision,
            fence,
            attempt,
            runs,
            crashes,
            same_attempt,
            postpone_until,
            pending_postpone_until,
            lease,
            started_on,
            run_started_on,
            throttled_since,
            completed_on,
            is_overruled,
            cancel_requested_on,
            modified,
            version,
            earlier_usage,
            last_run,
            failure,
            progress,
            checkpoint,
            output,
        } = state;
        Self {
            status: (*status).into(),
            revision: *revision,
            fence: *fence,
            attempt: *attempt,
            runs: *runs,
            crashes: *crashes,
            version: version.as_ref().map(|version| version.as_str().into()),
            started_on: started_on.map(Time::from),
            completed_on: completed_on.map(Time::from),
            last_run: last_run.as_ref().map(Run::from),
            output: output.as_ref().map(Payload::from),
            earlier_usage: (*earlier_usage).into(),
            lease: lease.map(|job::Lease { host, until }| Lease { host: host.0, until: until.into() }),
            run_started_on: run_started_on.map(Time::from),
            same_attempt: *same_attempt,
            wait_reason: wait_reason.map(WaitReason::from),
            awaited_event: awaited_event.as_ref().map(Text::from),
            earlier_wait: earlier_wait.as_deref().map(Wait::from),
            postpone_until: postpone_until.map(Time::from),
            pending_postpone_until: pending_postpone_until.map(Time::from),
            throttled_since: throttled_since.map(Time::from),
            cancel_requested_on: cancel_requested_on.map(Time::from),
            is_overruled: *is_overruled,
            modified: modified.as_ref().map(|(on, by)| Modified { on: (*on).into(), by: by.into() }),
            failure: failure.as_ref().map(Failure::from),
            progress: progress.as_ref().map(Progress::from),
            checkpoint: checkpoint.as_ref().map(Payload::from),
        }
    }
}

impl TryFrom<JobState<'_>> for job::JobState {
    type Error = Unfit;

    fn try_from(shape: JobState<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            status: shape.status.into(),
            wait_reason: shape.wait_reason.map(Into::into),
            awaited_event: shape.awaited_event.map(String::from),
            earlier_wait: shape.earlier_wait.map(|wait| Box::new(wait.into())),
            revision: shape.revision,
            fence: shape.fence,
            attempt: shape.attempt,
            runs: shape.runs,
            crashes: shape.crashes,
            same_attempt: shape.same_attempt,
            postpone_until: shape.postpone_until.map(Into::into),
            pending_postpone_until: shape.pending_postpone_until.map(Into::into),
            lease: shape.lease.map(|lease| job::Lease { host: HostId(lease.host), until: lease.until.into() }),
            started_on: shape.started_on.map(Into::into),
            run_started_on: shape.run_started_on.map(Into::into),
            throttled_since: shape.throttled_since.map(Into::into),
            completed_on: shape.completed_on.map(Into::into),
            is_overruled: shape.is_overruled,
            cancel_requested_on: shape.cancel_requested_on.map(Into::into),
            modified: shape.modified.map(|modified| (modified.on.into(), modified.by.into())),
            version: parsed_if(shape.version.as_ref(), VersionName::new)?,
            earlier_usage: shape.earlier_usage.into(),
            last_run: shape.last_run.map(job::Run::try_from).transpose()?,
            failure: shape.failure.map(Into::into),
            progress: shape.progress.map(Into::into),
            checkpoint: shape.checkpoint.map(Into::into),
            output: shape.output.map(Into::into),
        })
    }
}

impl<'a> From<&'a job::Wait> for Wait<'a> {
    fn from(wait: &'a job::Wait) -> Self {
        match wait {
            job::Wait::Retry(until) => Self::Retry((*until).into()),
            job::Wait::For { reason, until, event } => Self::For(WaitFor {
                reason: (*reason).into(),
                until: until.map(Time::from),
                event: event.as_ref().map(Text::from),
            }),
        }
    }
}

impl From<Wait<'_>> for job::Wait {
    fn from(shape: Wait<'_>) -> Self {
        match shape {
            Wait::Retry(until) => Self::Retry(until.into()),
            Wait::For(WaitFor { reason, until, event }) => {
                Self::For { reason: reason.into(), until: until.map(Into::into), event: event.map(String::from) }
            }
        }
    }
}

impl<'a> From<&'a job::Progress> for Progress<'a> {
    fn from(progress: &'a job::Progress) -> Self {
        let job::Progress { done, total, note } = progress;
        Self { done: *done, total: *total, note: note.as_ref().map(Text::from) }
    }
}

impl From<Progress<'_>> for job::Progress {
    fn from(shape: Progress<'_>) -> Self {
        Self { done: shape.done, total: shape.total, note: shape.note.map(String::from) }
    }
}
