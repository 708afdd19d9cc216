//! Changes as they happen, as server-sent events.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::address::Path;
use super::caller::{check_job, check_some};
use super::error::ApiError;
use super::jobs::{facts, found_by_id, shown};
use super::params::{Params, truth};
use super::place::{JobPlace, Place, last_event_id};
use super::reads::{Part, Reader};
use super::turns::Turn;
use super::view::{JobView, LogView, form};
use super::{ApiState, ids};
use crate::domain::access::{Caller, Right};
use crate::domain::id::{JobId, JobKey};
use crate::domain::job::{Job, Progress};
use crate::jobs::{AllChanges, JobChange, LogReader, NumberedChange, Watch};
use crate::store::ReadError;

/// How often the progress of a running job is looked at.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// How long changes of all jobs are gathered, so that a fast host tells of each job's latest state only.
const GATHER: Duration = Duration::from_millis(200);

/// How many jobs one gathering tells of; of the others it tells how many there were.
const GATHERED_MAX: usize = 200;

const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

fn events<S>(stream: S) -> Response
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    let mut response = Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_EVERY)).into_response();
    // The library says `no-cache`, which lets others keep what jobs have made.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
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
    operation_id = "jobs_changes",
    params(
        ("id" = inline(form::JobRef), Path, description = "The job"),
        ("logs" = Option<bool>, Query, description = "Also what it logs, for those with the right `payload`"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was heard: the stream goes on from there"),
    ),
    responses(
        (status = 200, description = "Server-sent events: `job` with a JobView, `log` with a LogView, `deleted`", body = form::JobEvent, content_type = "text/event-stream"),
        (status = 204, description = "The job has ended, and its end was the last event that was heard: there is no need to come back"),
    )
)]
pub(super) async fn of_job(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
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
    let heard = last_event_id(&headers).and_then(JobPlace::read);
    let knows_job = heard.is_some_and(|heard| heard.revision == job.state.revision);
    if knows_job && job.state.status.is_final() {
        // Who is told so does not come back.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let place = heard.unwrap_or_default();
    let log = wants_log.then(|| match place.run {
        0 => LogReader::before_last_run(&job),
        run => LogReader::at(run, place.line),
    });
    let (untold, told) = (VecDeque::new(), knows_job.then_some(Told { progress: None }));
    let (reader, turn) = (Reader::present(), Arc::new(turn));
    let follower = Follower { state, caller, watch, job, place, log, untold, told, is_over: false, reader, turn };
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
    /// What it was told of last.
    place: JobPlace,
    /// Its place in the log, where it wants that.
    log: Option<LogReader>,
    /// Events that come next.
    untold: VecDeque<Event>,
    told: Option<Told>,
    is_over: bool,
    reader: Option<Reader>,
    /// Its place among those of the host. What is read for it has it along.
    turn: Arc<Turn>,
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
                    self.untold.push_back(event("deleted", &gone).id(self.place.to_string()));
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
        if view.output.is_some() {
            self.is_given(Part::Output);
        }
        let (run, line) = self.log.as_ref().map(LogReader::place).unwrap_or_default();
        self.place = JobPlace { revision: self.job.state.revision, run, line };
        self.untold.push_back(event("job", &view).id(self.place.to_string()));
        Some(())
    }

    /// Takes in what was logged meanwhile. A log that cannot be read is left out: the job is told of all the same.
    async fn tell_log(&mut self) {
        let Some(mut reader) = self.log.take() else { return };
        let job = self.job.clone();
        let read = match reader.needs_store(&job) {
            true => {
                let read = self.state.blocking_for(&self.turn, move |host| {
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
            if !pieces.is_empty() {
                self.is_given(Part::Logs);
            }
            for piece in pieces {
                self.place = JobPlace { run: piece.run, line: piece.next, ..self.place };
                self.untold.push_back(event("log", &LogView::from(piece)).id(self.place.to_string()));
            }
        }
    }

    fn is_given(&self, part: Part) {
        self.reader.iter().for_each(|reader| reader.is_given(part));
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
        match self.state.blocking_for(&self.turn, move |host| host.jobs.find(key)).await {
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
/// (too many at once, deleted jobs, or some that nobody remembers); a listener then reads the list again.
#[utoipa::path(
    get,
    path = "/v1/stream",
    tag = "jobs",
    operation_id = "jobs_stream",
    params(
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was heard: the stream goes on from there"),
    ),
    responses(
        (status = 200, description = "Server-sent events: `job` with a JobView, `missed`", body = form::StreamEvent, content_type = "text/event-stream"),
    )
)]
pub(super) async fn of_all(
    State(state): State<ApiState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    check_some(&caller, Right::Read)?;
    let turn = state.stream_turn()?;
    let started_on = state.host().started_on;
    let asked = last_event_id(&headers);
    let from = asked.and_then(Place::read).filter(|place| place.started_on == started_on).map(|place| place.next);
    let AllChanges { past, forgotten, next, coming } = state.host().jobs.watch_all(from);
    let mut missed = Gathering { missed: forgotten, next, ..Gathering::default() };
    if asked.is_some() && from.is_none() {
        // He has listened to the host before its restart: of what was missed the count since then is all that is known.
        missed.missed = next.max(1);
    }
    let seen = past.into_iter().filter(|change| !state.host().jobs.is_hidden(change.job, &caller));
    seen.for_each(|change| missed.take(change));
    let place = Place { started_on, next: from.unwrap_or(next) };
    // Also who has heard nothing yet can come back to where he was.
    let untold = vec![Event::default().id(place.to_string())];
    let listener = Listener { state, caller, place, missed: Some(missed), coming, untold, turn: Arc::new(turn) };
    Ok(events(stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    })))
}

/// One listener's place in the changes of all jobs.
struct Listener {
    state: ApiState,
    caller: Caller,
    place: Place,
    /// What changed while he was away.
    missed: Option<Gathering>,
    coming: broadcast::Receiver<NumberedChange>,
    /// Gathered events, the next one last.
    untold: Vec<Event>,
    /// Its place among those of the host. What is read for it has it along.
    turn: Arc<Turn>,
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        while self.untold.is_empty() {
            let gathering = match self.missed.take() {
                Some(missed) => missed,
                None => self.gather().await?,
            };
            self.state.check_again(&self.caller).ok()?;
            self.untold = self.read(gathering).await?;
        }
        self.untold.pop()
    }

    /// Gathers a change and those that follow it closely. None when the host or the listener's token is gone.
    async fn gather(&mut self) -> Option<Gathering> {
        // Only this wait may be given up: what a gathering has taken in would be lost with it.
        let mut next = tokio::select! {
            first = self.coming.recv() => Ok(first),
            () = self.state.host().tokens.lost(&self.caller) => return None,
            () = self.state.closed() => return None,
        };
        let mut gathering = Gathering { next: self.place.next, ..Gathering::default() };
        let end = Instant::now() + GATHER;
        loop {
            match next {
                Err(_elapsed) => return Some(gathering),
                Ok(Err(RecvError::Closed)) => return None,
                Ok(Err(RecvError::Lagged(count))) => gathering.missed += count,
                Ok(Ok(NumberedChange { number, change })) => {
                    gathering.next = number + 1;
                    if !self.state.host().jobs.is_hidden(change.job, &self.caller) {
                        gathering.take(change);
                    }
                }
            }
            next = tokio::time::timeout_at(end, self.coming.recv()).await;
        }
    }

    /// The events of what was gathered, the last one first; none where it cannot be read, so that the listener comes back.
    async fn read(&mut self, gathering: Gathering) -> Option<Vec<Event>> {
        let (tenant, caller, next) = (self.state.tenant(), self.caller.clone(), gathering.next);
        if gathering.is_empty() {
            self.place = Place { next, ..self.place };
            return Some(Vec::new());
        }
        let mut missed = gathering.missed;
        let read = self.state.blocking_for(&self.turn, move |host| {
            let jobs = gathering.in_order();
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
        let (views, missed) = read.await.ok()?;
        let mut events: Vec<_> = views.iter().map(|view| event("job", view)).collect();
        if missed > 0 {
            events.push(event("missed", &serde_json::json!({ "changes": missed })));
        }
        let (before, after) = (self.place, Place { next, ..self.place });
        self.place = after;
        let last = events.pop().map(|last| last.id(after.to_string()));
        // Who hears only some of them hears them all again.
        let others = events.into_iter().rev().map(|event| event.id(before.to_string()));
        Some(last.into_iter().chain(others).collect())
    }
}

/// Some changes: which jobs they are of, and how many are only counted.
#[derive(Default)]
struct Gathering {
    order: HashMap<JobKey, usize>,
    missed: u64,
    /// The number of the change that comes after them.
    next: u64,
}

impl Gathering {
    fn take(&mut self, change: JobChange) {
        let is_full = self.order.len() >= GATHERED_MAX && !self.order.contains_key(&change.job);
        if change.status.is_none() || is_full {
            self.missed += 1;
        } else {
            let place = self.order.len();
            self.order.entry(change.job).or_insert(place);
        }
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty() && self.missed == 0
    }

    fn in_order(self) -> Vec<JobKey> {
        let mut jobs: Vec<_> = self.order.into_iter().collect();
        jobs.sort_by_key(|(_, place)| *place);
        jobs.into_iter().map(|(job, _)| job).collect()
    }
}
