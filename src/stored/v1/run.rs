//! One run of a job, with what it used and why it failed.

use super::leaf::{Text, Time, parsed_if};
use super::payload::Payload;
use crate::domain::failure;
use crate::domain::id::{HostId, VersionName};
use crate::domain::job;
use crate::domain::limits;
use crate::stored::shape::{Absent, Unfit, shape, words};

words! {
    /// How a run ended.
    RunEnd is job::RunEnd {
        Succeeded, Failed, Canceled, Retry, Suspended, Yielded, Released, Paused, TimedOut, LeaseLost,
    }

    /// What kind of failure it was.
    ErrorClass is failure::ErrorClass { Transient, Throttled, UserFixable, Business, Fatal }
}

shape! {
    /// A run.
    Run<'a> {
        always {
            number: u32,
            attempt: u32,
            host: u64,
            started_on: Time,
            ended_on: Time,
            end: RunEnd,
        }
        later {
            version: Option<Text<'a>>,
            usage: Usage,
            log: Option<Payload<'a>>,
            failure: Option<Failure<'a>>,
        }
    }
}

shape! {
    /// What went wrong.
    Failure<'a> {
        always {
            class: ErrorClass,
            message: Text<'a>,
        }
        later {
            code: Option<Text<'a>>,
            detail: Option<Text<'a>>,
        }
    }
}

shape! {
    /// What was used.
    Usage {
        always {}
        later {
            fuel: u64,
            cpu_micros: u64,
            wall_micros: u64,
            peak_memory_bytes: u64,
            host_calls: u64,
            log_bytes: u64,
        }
    }
}

impl<'a> From<&'a job::Run> for Run<'a> {
    fn from(run: &'a job::Run) -> Self {
        let job::Run { number, attempt, host, version, started_on, ended_on, end, failure, usage, log } = run;
        Self {
            number: *number,
            attempt: *attempt,
            host: host.0,
            started_on: (*started_on).into(),
            ended_on: (*ended_on).into(),
            end: (*end).into(),
            version: version.as_ref().map(|version| version.as_str().into()),
            usage: (*usage).into(),
            log: log.as_ref().map(Payload::from),
            failure: failure.as_ref().map(Failure::from),
        }
    }
}

impl TryFrom<Run<'_>> for job::Run {
    type Error = Unfit;

    fn try_from(shape: Run<'_>) -> Result<Self, Unfit> {
        Ok(Self {
            number: shape.number,
            attempt: shape.attempt,
            host: HostId(shape.host),
            version: parsed_if(shape.version.as_ref(), VersionName::new)?,
            started_on: shape.started_on.into(),
            ended_on: shape.ended_on.into(),
            end: shape.end.into(),
            failure: shape.failure.map(Into::into),
            usage: shape.usage.into(),
            log: shape.log.map(Into::into),
        })
    }
}

impl<'a> From<&'a failure::Failure> for Failure<'a> {
    fn from(failure: &'a failure::Failure) -> Self {
        let failure::Failure { class, code, message, detail } = failure;
        Self {
            class: (*class).into(),
            message: message.into(),
            code: code.as_ref().map(Text::from),
            detail: detail.as_ref().map(Text::from),
        }
    }
}

impl From<Failure<'_>> for failure::Failure {
    fn from(shape: Failure<'_>) -> Self {
        Self {
            class: shape.class.into(),
            code: shape.code.map(String::from),
            message: shape.message.into(),
            detail: shape.detail.map(String::from),
        }
    }
}

impl From<limits::Usage> for Usage {
    fn from(usage: limits::Usage) -> Self {
        let limits::Usage { fuel, cpu_micros, wall_micros, peak_memory_bytes, host_calls, log_bytes } = usage;
        Self { fuel, cpu_micros, wall_micros, peak_memory_bytes, host_calls, log_bytes }
    }
}

impl From<Usage> for limits::Usage {
    fn from(shape: Usage) -> Self {
        let Usage { fuel, cpu_micros, wall_micros, peak_memory_bytes, host_calls, log_bytes } = shape;
        Self { fuel, cpu_micros, wall_micros, peak_memory_bytes, host_calls, log_bytes }
    }
}

impl Default for Usage {
    fn default() -> Self {
        limits::Usage::default().into()
    }
}

impl Absent for Usage {
    fn is_absent(&self) -> bool {
        let Self { fuel, cpu_micros, wall_micros, peak_memory_bytes, host_calls, log_bytes } = self;
        [fuel, cpu_micros, wall_micros, peak_memory_bytes, host_calls, log_bytes].into_iter().all(|used| *used == 0)
    }
}
