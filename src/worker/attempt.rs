//! One run of one attempt, from its input to the commit of what came of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::pauses::Pauses;
use super::port::{AttemptPort, Written};
use super::running::Entered;
use super::{Claimed, Worker};
use crate::domain::admission::Verdict;
use crate::domain::batch::{Summary, Terms};
use crate::domain::code;
use crate::domain::failure::{ErrorClass, Failure};
use crate::domain::job::transition;
use crate::domain::job::{Event, Job, JobType, Outcome, Payload, RunReport, Status};
use crate::domain::limits::Limits;
use crate::domain::time::Timestamp;
use crate::registry::PrepareError;
use crate::resources::{Quiet, blocking};
use crate::sandbox::{Signal, SignalLine, Slice, SliceEnd, SliceReport};
use crate::store::{CommitError, Pending, ReadError, payload_bytes, put_payload};

/// How long a run waits before it asks again for what the host was short of.
const UNTIL_MORE: Duration = Duration::from_secs(1);

/// How long a job that cannot be started keeps its slot.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// What the log has been told.
static NOT_STARTED: Quiet = Quiet::new();

/// How often the end of a run is decided again when somebody steered the job meanwhile.
const ATTEMPTS: usize = 16;

/// A run that has ended, and the commit of its end under way.
pub struct Finished {
    job: Job,
    event: Event,
    pending: Option<Pending>,
    /// The attempt is ours until its end is written, however late that is.
    entered: Entered,
}

impl Finished {
    /// What the end says about the plug-in. A refusal by its own rules is an answer; being slowed down is none.
    pub fn verdict(&self) -> Verdict {
        match &self.event {
            Event::Returned(Outcome::Succeeded(_) | Outcome::Suspended(_) | Outcome::Yielded, _) => Verdict::Succeeded,
            // A fault of the host says nothing about the plug-in.
            Event::Returned(Outcome::Failed(failure), _) if failure.is(code::HOST_FAULT) => Verdict::None,
            Event::Returned(Outcome::Failed(failure) | Outcome::Retry(_, failure), _) => match failure.class {
                ErrorClass::Business => Verdict::Succeeded,
                ErrorClass::Throttled => Verdict::None,
                ErrorClass::Transient | ErrorClass::UserFixable | ErrorClass::Fatal => Verdict::Failed,
            },
            Event::Deadline(..) => Verdict::Failed,
            _ => Verdict::None,
        }
    }
}

/// A fault of the host while it served a run; the job is tried again.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("a task of the host ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Fault {
    /// Whether there may be more in a moment of what was wanted. Once the handler has run, what it leaves behind is waited for
    /// where it is kept.
    fn is_passing(&self) -> bool {
        match self {
            Self::Read(error) => error.is_passing(),
            Self::Prepare(error) => error.is_passing(),
            Self::Commit(_) | Self::Task(_) => false,
        }
    }
}

impl Worker {
    /// Runs a claimed job to the end of its slice and commits what came of it. The commit is under way when this returns:
    /// [`Worker::settle`] waits for it.
    pub async fn run(&self, claimed: Claimed) -> Finished {
        let event = match self.slice(&claimed).await {
            Ok(event) => event,
            // What the host was short of costs the job no attempt.
            Err(fault) if fault.is_passing() => Event::SafePoint(RunReport::default()),
            Err(fault) => Event::Returned(Outcome::Failed(host_fault(&fault)), RunReport::default()),
        };
        self.finished(claimed, event)
    }

    /// Gives a claimed job back that has not been started, as a safe point (T16). Commits as [`Worker::run`] does.
    pub fn give_back(&self, claimed: Claimed) -> Finished {
        self.finished(claimed, Event::SafePoint(RunReport::default()))
    }

    fn finished(&self, claimed: Claimed, event: Event) -> Finished {
        let Claimed { job, entered, .. } = claimed;
        let pending = self.finish(&job, &event);
        Finished { job, event, pending, entered }
    }

    /// Waits until the end of a run is durable. When somebody steered the job meanwhile, the end is decided again on what
    /// they made of it; when another host was given the job, this run's end is void (promise 5).
    pub async fn settle(&self, finished: Finished) -> Result<(), CommitError> {
        let Finished { job, event, mut pending, entered: _entered } = finished;
        let key = job.submission.key();
        let mut conflicts = 0;
        loop {
            let Some(commit) = pending else { return Ok(()) };
            match commit.await {
                Ok(()) => return Ok(()),
                Err(error @ CommitError::Conflict { .. }) => {
                    conflicts += 1;
                    if conflicts == ATTEMPTS {
                        return Err(error);
                    }
                }
                // The work is done, so its end is worth waiting for until there is more or the host goes down.
                Err(error) if error.is_passing() => tokio::time::sleep(UNTIL_MORE).await,
                Err(error) => return Err(error),
            }
            let present = loop {
                match self.store.job(key) {
                    Err(error) if error.is_passing() => tokio::time::sleep(UNTIL_MORE).await,
                    present => break present?,
                }
            };
            let is_ours = |present: &Job| present.state.status.is_locked() && present.state.fence == job.state.fence;
            let still_ours = present.filter(is_ours);
            let Some(present) = still_ours else { return Ok(()) };
            pending = self.finish(&present, &event);
        }
    }

    /// How a batch ends whose members all have.
    fn batch_end(&self, job: &Job) -> Result<Event, Fault> {
        let Job { submission, state: _ } = job;
        let summary = Summary::of(&self.store.batch(submission.tenant, submission.id)?);
        let outcome = summary.outcome(Terms::of(&submission.input).allowed_failures);
        Ok(Event::Returned(outcome, RunReport { progress: Some(summary.progress()), ..RunReport::default() }))
    }

    async fn slice(&self, claimed: &Claimed) -> Result<Event, Fault> {
        if claimed.job.submission.job_type == JobType::BATCH {
            return self.batch_end(&claimed.job);
        }
        let input = self.prepare_in_time(claimed).await?;
        let limits = limits_of(claimed);
        let deadline = self.clock.now().after(limits.wall);
        let outlives_lease = claimed.job.state.lease.is_some_and(|lease| deadline > lease.until);
        if outlives_lease || claimed.entered.signals().signal() != Signal::None {
            // Nothing has been started, so this is as safe a point as any.
            return Ok(Event::SafePoint(RunReport::default()));
        }
        let pauses = Pauses {
            store: Arc::clone(&self.store),
            registry: Arc::clone(&self.registry),
            clock: Arc::clone(&self.clock),
            runnable: Arc::clone(&claimed.runnable),
            job: Arc::clone(&claimed.job.submission),
            asked: 0,
        };
        let (port, written) = AttemptPort::new(
            claimed.entered.place(),
            Arc::clone(&self.store),
            Arc::clone(&self.running),
            claimed.job.state.checkpoint.clone(),
            claimed.runnable.limits.output_bytes,
            pauses,
        );
        let slice = make_slice(claimed, input, limits, deadline);
        let SliceReport { end, usage, log } = self.sandbox.run(slice, Box::new(port)).await;
        let Written { progress, checkpoint } = std::mem::take(&mut *written.lock());
        let signals = claimed.entered.signals();
        let log = if log.is_empty() { None } else { Some(self.keep(log, signals).await?) };
        let checkpoint = match checkpoint {
            Some(state) => Some(self.keep(state, signals).await?),
            None => None,
        };
        let report = RunReport { usage, log, progress, checkpoint };
        Ok(match end {
            SliceEnd::Succeeded(output) => {
                Event::Returned(Outcome::Succeeded(self.keep(output, signals).await?), report)
            }
            SliceEnd::Canceled(reason) => Event::Returned(Outcome::Canceled(reason), report),
            SliceEnd::Retry(after, failure) => Event::Returned(Outcome::Retry(after, failure), report),
            SliceEnd::Suspended(wake) => Event::Returned(Outcome::Suspended(wake), report),
            SliceEnd::Yielded => Event::Returned(Outcome::Yielded, report),
            SliceEnd::Failed(failure) => Event::Returned(Outcome::Failed(failure), report),
            SliceEnd::TimedOut(failure) => Event::Deadline(as_of_deadline(claimed, failure), report),
            SliceEnd::Killed => Event::GracefulStop { safe_point: false, report },
        })
    }

    /// Waits with its slot for what the host is short of, within bounds: then it is given back, and others may have the slot.
    async fn prepare_in_time(&self, claimed: &Claimed) -> Result<Bytes, Fault> {
        let give_up = tokio::time::Instant::now() + START_PATIENCE;
        loop {
            let fault = match self.prepare(claimed).await {
                Err(fault) if fault.is_passing() => fault,
                prepared => return prepared,
            };
            if let Some(unsaid) = NOT_STARTED.say() {
                let job = claimed.job.submission.id;
                tracing::warn!(%job, %fault, unsaid, "a job cannot be started just now; it waits");
            }
            tokio::time::sleep(UNTIL_MORE).await;
            if claimed.entered.signals().signal() != Signal::None || tokio::time::Instant::now() >= give_up {
                return Err(fault);
            }
        }
    }

    /// What has to be there before the guest starts.
    async fn prepare(&self, claimed: &Claimed) -> Result<Bytes, Fault> {
        let input = self.read(&claimed.job.submission.input).await?;
        self.registry.prepare(&claimed.runnable.version).await?;
        Ok(input)
    }

    /// Decides what the end of a run makes of the job as `present`, and commits it. None when there is nothing to write.
    fn finish(&self, present: &Job, event: &Event) -> Option<Pending> {
        let Job { submission, state } = present;
        let policy = self.registry.policy(submission.tenant, &submission.plugin);
        let event = as_of(state.status, event.clone());
        let now = self.clock.now();
        match transition::apply(submission, state, &policy.retry, event, now) {
            Ok(next) => self.advance.commit(present, next, now),
            Err(refused) => {
                tracing::error!(job.id = %submission.id, %refused, "the end of a run does not fit the job");
                None
            }
        }
    }

    async fn read(&self, payload: &Payload) -> Result<Bytes, Fault> {
        if let Payload::Inline(bytes) = payload {
            return Ok(bytes.clone());
        }
        let (store, payload) = (Arc::clone(&self.store), payload.clone());
        Ok(blocking(move || payload_bytes(&*store, &payload)).await??)
    }

    /// Keeps what a run leaves behind. When the host is short of room or anything else it waits for more with its slot, until the host goes down or
    /// the run is stopped: the work is done, and doing it again would not need less.
    async fn keep(&self, bytes: Bytes, signals: &SignalLine) -> Result<Payload, Fault> {
        if bytes.len() <= Payload::INLINE_BYTES_MAX {
            return Ok(Payload::Inline(bytes));
        }
        loop {
            let (store, bytes) = (Arc::clone(&self.store), bytes.clone());
            let kept = blocking(move || put_payload(&*store, bytes)).await?;
            let is_wanted = !matches!(signals.signal(), Signal::Shutdown | Signal::Kill);
            match kept {
                Err(error) if error.is_passing() && is_wanted => tokio::time::sleep(UNTIL_MORE).await,
                kept => return Ok(kept?),
            }
        }
    }
}

/// The limits of the plug-in, with the job's own deadline where that is shorter.
fn limits_of(claimed: &Claimed) -> Arc<Limits> {
    let limits = &claimed.runnable.limits;
    match limits.stopped_before(claimed.job.submission.deadline) {
        Some(deadline) => Arc::new(Limits { wall: deadline, ..(**limits).clone() }),
        None => Arc::clone(limits),
    }
}

/// A time-out, with what to do about it where the job's own deadline has stopped the run: the plug-in's limit is not at fault.
fn as_of_deadline(claimed: &Claimed, failure: Failure) -> Failure {
    let limits = &claimed.runnable.limits;
    let wall = limits.wall;
    match limits.stopped_before(claimed.job.submission.deadline) {
        Some(deadline) => failure.with_detail(format!(
            "That is the job's own `deadline` of {deadline:?}. Submit it with a longer one; the plug-in's limit is {wall:?}."
        )),
        None => failure,
    }
}

fn make_slice(claimed: &Claimed, input: Bytes, limits: Arc<Limits>, deadline: Timestamp) -> Slice {
    let Claimed { job: Job { submission, state }, runnable, entered } = claimed;
    Slice {
        job: submission.id,
        name: submission.display_name(),
        tenant: submission.tenant.to_string(),
        plugin: submission.plugin.clone(),
        version: Arc::clone(&runnable.version),
        handler: submission.handler.clone(),
        input,
        args: submission.args.clone(),
        env: submission.env.clone(),
        attempt: state.attempt,
        max_attempts: submission.max_attempts.unwrap_or(runnable.policy.retry.max_attempts),
        run: state.runs,
        created_on: submission.created_on,
        deadline,
        correlation_id: submission.correlation_id.unwrap_or(submission.id),
        depth: submission.depth,
        tags: submission.tags.clone(),
        policy: Arc::clone(&runnable.policy),
        limits,
        grants: Arc::clone(&runnable.grants),
        config: Arc::clone(&runnable.config),
        signals: entered.signals().clone(),
    }
}

/// What an end means depends on what people wanted meanwhile. A guest that was stopped once a cancel was asked for did not
/// listen within the grace (T33); one that stops at a safe point unasked gives its slot back (T16).
fn as_of(status: Status, event: Event) -> Event {
    match event {
        Event::SafePoint(report) if status == Status::Running => Event::GracefulStop { safe_point: true, report },
        Event::GracefulStop { report, .. } | Event::Deadline(_, report) if status == Status::Canceling => {
            Event::GraceElapsed(report)
        }
        event => event,
    }
}

fn host_fault(fault: &Fault) -> Failure {
    // What the sandbox does not take is no fault of the host.
    if let Fault::Prepare(PrepareError::Rejected(rejection)) = fault {
        return Failure::host(ErrorClass::Transient, rejection.code, rejection.message.clone());
    }
    Failure::host(ErrorClass::Transient, code::HOST_FAULT, fault.to_string())
}
