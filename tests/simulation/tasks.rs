//! Futures that go on only when the simulation says so.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use backroom::domain::id::{DedupKey, JobId, JobKey};
use backroom::domain::job::Job;
use backroom::jobs::{SteerError, SubmitError, Submitted};

/// What came of a task.
pub(crate) enum Note {
    /// A submit was answered.
    Submitted { key: Option<String>, dedup: Option<DedupKey>, answer: Result<Submitted, SubmitError> },
    /// A command on a job was answered.
    Steered(Result<Job, SteerError>),
    /// A delete was answered.
    Deleted(JobId, Result<(), SteerError>),
    /// A run was settled.
    Settled { job: JobKey, fence: u32 },
    /// A batch was taken, with its members.
    Batched(JobId, Vec<JobId>),
    /// A finished job runs again as a new one.
    Reran(JobId, Job),
    /// Something else came to its end.
    Done,
}

/// A task and what it is for.
pub(crate) struct Task {
    pub(crate) name: String,
    future: Pin<Box<dyn Future<Output = Note>>>,
}

impl Task {
    pub(crate) fn new(name: impl Into<String>, future: impl Future<Output = Note> + 'static) -> Self {
        Self { name: name.into(), future: Box::pin(future) }
    }

    /// Lets it go on until it waits or ends.
    pub(crate) fn go_on(&mut self) -> Option<Note> {
        match self.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(note) => Some(note),
            Poll::Pending => None,
        }
    }
}
