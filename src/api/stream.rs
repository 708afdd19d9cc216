//! Changes as they happen, as server-sent events.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::caller::{check_job, check_some};
use super::error::ApiError;
use super::jobs::{facts, found_by_id, shown};
use super::params::{Params, truth};
use super::turns::Turn;
use super::view::{JobView, LogView, Problem};
use super::{ApiState, ids};
use crate::domain::access::{Caller, Right};
use crate::domain::id::{JobId, JobKey};
use crate::domain::job::{Job, Progress};
use crate::jobs::{JobChange, LogReader, Watch};
use crate::store::ReadError;

/// How often the progress of a running job is looked at.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// How long changes of all jobs are gathered, so that a fast host tells of each job's latest state only.
const GATHER: Duration = Duration::from_millis(200);

/// How many jobs one gathering tells of; of the others it tells how many there were.
const GATHERED_MAX: usize = 200;

const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

type Events<S> = Sse<axum::response::sse::KeepAliveStream<S>>;

fn events<S>(stream: S) -> Events<S>
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_EVERY))
}

fn event(name: &str, data: &impl serde::Serialize) -> Event {
    // Views are made of strings and numbers, which JSON can always say.
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

/// The changes of one job: `job` with its view now and after every change, `deleted` when it is gone. Ends with the job.
/// With `logs` also `log`, what its last run has logged and logs from now on.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/changes",
    tag = "jobs",
    operation_id = "stream_of_job",
    params(
        ("id" = String, Path, description = "The job"),
        ("logs" = Option<bool>, Query, description = "Also what it logs, for those with the right `payload`"),
    ),
    responses(
        (status = 200, description = "Server-sent events: `job` with a JobView, `log` with a LogView, `deleted`", body = String, content_type = "text/event-stream"),
        (status = "default", description = "Not done; `application/problem+json`", body = Problem),
    )
)]
pub(super) async fn of_job(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Events<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let params = Params::of(&uri, &["logs"])?;
    let wants_log = params.read("logs", truth)?.unwrap_or(false);
    let turn = state.stream_turn()?;
    let id = ids::in_address(&state, &caller, &id).await?;
    let watch = state.host().jobs.watch(JobKey { tenant: state.tenant(), sequence: id.sequence() });
    let job = match found_by_id(&state, &caller, Right::Read, id).await {
        Err(unknown) => {
            let departed = departed(&state, id).ok_or(unknown)?;
            check_job(&caller, Right::Read, &departed)?;
            departed
        }
        found => found?,
    };
    if wants_log {
        check_job(&caller, Right::Payload, &job)?;
    }
    let log = wants_log.then(|| LogReader::before_last_run(&job));
    let untold = VecDeque::new();
    let follower = Follower { state, caller, watch, job, log, untold, told: None, is_over: false, _turn: turn };
    Ok(events(stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    })))
}

/// A job that was deleted with its end a moment ago.
fn departed(state: &ApiState, id: JobId) -> Option<Job> {
    let key = JobKey { tenant: state.tenant(), sequence: id.sequence() };
    state.host().jobs.departed(key).filter(|job| job.submission.id == id)
}

/// One listener's place in the changes of a job.
struct Follower {
    state: ApiState,
    caller: Caller,
    watch: Watch,
    job: Job,
    /// Its place in the log, where it wants that.
    log: Option<LogReader>,
    /// Events that come next.
    untold: VecDeque<Event>,
    told: Option<Told>,
    is_over: bool,
    _turn: Turn,
}

/// What the listener knows.
struct Told {
    progress: Option<Progress>,
}

/// What there is to tell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    /// The job is another than before.
    Job,
    /// It has logged something.
    Log,
    /// It is gone.
    Gone,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        while self.untold.is_empty() && !self.is_over {
            let news = match self.told {
                None => News::Job,
                Some(_) => self.wait_for_news().await?,
            };
            self.state.check_again(&self.caller).ok()?;
            // A run begins with the news of it, and ends with its last lines.
            let begins = self.job.state.status.is_locked();
            if !begins {
                self.tell_log().await;
            }
            match news {
                News::Job => self.tell_job().await?,
                News::Log => {}
                News::Gone => {
                    self.is_over = true;
                    let gone = serde_json::json!({ "id": self.job.submission.id.to_string() });
                    self.untold.push_back(event("deleted", &gone));
                }
            }
            if begins {
                self.tell_log().await;
            }
        }
        self.untold.pop_front()
    }

    async fn tell_job(&mut self) -> Option<()> {
        self.is_over = self.job.state.status.is_final();
        self.told = Some(Told { progress: self.progress() });
        let view = shown(&self.state, &self.caller, self.job.clone()).await.ok()?;
        self.untold.push_back(event("job", &view));
        Some(())
    }

    /// Takes in what was logged meanwhile. A log that cannot be read is left out: the job is told of all the same.
    async fn tell_log(&mut self) {
        let Some(mut reader) = self.log.take() else { return };
        let job = self.job.clone();
        let read = match reader.needs_store(&job) {
            true => {
                let read = self.state.blocking(move |host| {
                    let pieces = host.jobs.read_log(&job, &mut reader)?;
                    Ok::<_, ReadError>((pieces, reader))
                });
                read.await
            }
            false => {
                self.state.host().jobs.read_log(&job, &mut reader).map(|pieces| (pieces, reader)).map_err(Into::into)
            }
        };
        if let Ok((pieces, reader)) = read {
            self.log = Some(reader);
            self.untold.extend(pieces.into_iter().map(|piece| event("log", &LogView::from(piece))));
        }
    }

    fn progress(&self) -> Option<Progress> {
        self.state.host().jobs.progress(&self.job)
    }

    /// Waits until there is something to tell; none when there is nobody to tell any more.
    async fn wait_for_news(&mut self) -> Option<News> {
        loop {
            let is_running = self.job.state.status.is_locked();
            let look = async {
                match is_running {
                    true => tokio::time::sleep(PROGRESS_EVERY).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                _change = self.watch.changed() => return self.read_again().await,
                () = look => {}
                () = self.state.host().tokens.lost(&self.caller) => return None,
                () = self.state.closed() => return None,
            }
            let told = self.told.as_ref().and_then(|told| told.progress.clone());
            if self.progress() != told {
                return Some(News::Job);
            }
            if self.log.is_some() && is_running {
                return Some(News::Log);
            }
        }
    }

    async fn read_again(&mut self) -> Option<News> {
        let key = self.job.submission.key();
        match self.state.blocking(move |host| host.jobs.find(key)).await {
            Ok(Some(job)) => {
                self.job = job;
                Some(News::Job)
            }
            // It may have gone with its end, which is told all the same.
            Ok(None) => match self.state.host().jobs.departed(key) {
                Some(departed) => {
                    self.job = departed;
                    Some(News::Job)
                }
                None => Some(News::Gone),
            },
            Err(_) => None,
        }
    }
}

/// The changes of all jobs, gathered: `job` with a job's view, `missed` with how many changes are not told one by one
/// (too many at once, or deleted jobs); a listener then reads the list again.
#[utoipa::path(
    get,
    path = "/v1/stream",
    tag = "jobs",
    operation_id = "stream_of_all",
    responses(
        (status = 200, description = "Server-sent events: `job` with a JobView, `missed`", body = String, content_type = "text/event-stream"),
        (status = "default", description = "Not done; `application/problem+json`", body = Problem),
    )
)]
pub(super) async fn of_all(
    State(state): State<ApiState>,
    caller: Caller,
    uri: Uri,
) -> Result<Events<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    Params::of(&uri, &[])?;
    check_some(&caller, Right::Read)?;
    let turn = state.stream_turn()?;
    let changes = state.host().jobs.watch_all();
    let listener = Listener { state, caller, changes, untold: Vec::new(), _turn: turn };
    Ok(events(stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    })))
}

/// One listener's place in the changes of all jobs.
struct Listener {
    state: ApiState,
    caller: Caller,
    changes: broadcast::Receiver<JobChange>,
    /// Gathered events, the next one last.
    untold: Vec<Event>,
    _turn: Turn,
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        while self.untold.is_empty() {
            // Only this wait may be given up: what a gathering has taken in would be lost with it.
            let first = tokio::select! {
                first = self.changes.recv() => first,
                () = self.state.host().tokens.lost(&self.caller) => return None,
                () = self.state.closed() => return None,
            };
            let gathered = gather(first, &mut self.changes).await?;
            self.state.check_again(&self.caller).ok()?;
            self.untold = self.read(gathered).await;
        }
        self.untold.pop()
    }

    async fn read(&self, gathered: Gathered) -> Vec<Event> {
        let (tenant, caller) = (self.state.tenant(), self.caller.clone());
        let Gathered { jobs, mut missed } = gathered;
        let read = self.state.blocking(move |host| {
            let mut views = Vec::with_capacity(jobs.len());
            for key in jobs.into_iter().filter(|key| key.tenant == tenant) {
                match host.jobs.find(key)? {
                    Some(job) if !caller.may(Right::Read, &job.submission) => {}
                    Some(job) => views.push(JobView::of(&job, facts(host, &caller, &job))),
                    None => missed += 1,
                }
            }
            Ok::<_, ReadError>((views, missed))
        });
        let Ok((views, missed)) = read.await else { return Vec::new() };
        let mut events: Vec<_> = views.iter().map(|view| event("job", view)).collect();
        if missed > 0 {
            events.push(event("missed", &serde_json::json!({ "changes": missed })));
        }
        events.reverse();
        events
    }
}

/// What changed during one gathering.
struct Gathered {
    jobs: Vec<JobKey>,
    missed: u64,
}

/// Gathers a change and those that follow it closely. None when the host is gone.
async fn gather(first: Result<JobChange, RecvError>, changes: &mut broadcast::Receiver<JobChange>) -> Option<Gathered> {
    let mut order: HashMap<JobKey, usize> = HashMap::new();
    let mut missed = 0;
    let end = Instant::now() + GATHER;
    let mut next = Ok(first);
    loop {
        match next {
            Err(_elapsed) => break,
            Ok(Err(RecvError::Closed)) => return None,
            Ok(Err(RecvError::Lagged(count))) => missed += count,
            Ok(Ok(JobChange { status: None, .. })) => missed += 1,
            Ok(Ok(change)) if order.len() < GATHERED_MAX || order.contains_key(&change.job) => {
                let place = order.len();
                order.entry(change.job).or_insert(place);
            }
            Ok(Ok(_)) => missed += 1,
        }
        next = tokio::time::timeout_at(end, changes.recv()).await;
    }
    let mut jobs: Vec<_> = order.into_iter().collect();
    jobs.sort_by_key(|(_, place)| *place);
    Some(Gathered { jobs: jobs.into_iter().map(|(job, _)| job).collect(), missed })
}
