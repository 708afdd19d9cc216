//! From what a caller sent to a job that the runtime can take: names, bounds and times are checked here.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::value::RawValue;

use super::bounds::{
    AHEAD_MAX, ATTEMPTS, DEADLINE_END, ENTRIES_MAX, ENTRY_BYTES_MAX, NAME_CHARS_MAX, PRIORITIES, TAG_CHARS_MAX,
    TAGS_MAX,
};
use super::caller::noted;
use super::error::ApiError;
use super::json::{JsonFault, unknown_name};
use super::view::{FollowUpBody, SubmitBody};
use super::{ApiState, ids};
use crate::config::units;
use crate::domain::access::Caller;
use crate::domain::id::{
    ConcurrencyKey, DedupKey, HandlerName, IdEnding, InvalidName, JobId, OrderingKey, PluginName, QueueName,
    RecordName, TenantId, VersionName,
};
use crate::domain::job::{AFTER_MAX, FollowUp, OnPredecessorFailure, Ties};
use crate::domain::outbound::{http_plugin, is_built_in};
use crate::domain::time::{BadTime, Timestamp};
use crate::jobs::NewJob;
use crate::registry::Registry;

/// How many ends of ids are kept with what they stand for.
const COMPLETED_MAX: usize = 4_096;

/// What the submits of one request are checked against.
pub(super) struct Intake {
    state: ApiState,
    tenant: TenantId,
    caller: Caller,
    queues: Vec<QueueName>,
    now: Timestamp,
    /// The ends of ids that were looked up: the jobs of a bulk may all name the same one.
    completed: Mutex<HashMap<IdEnding, JobId>>,
}

impl Intake {
    /// The host as it is now, for somebody.
    pub(super) fn of(state: &ApiState, caller: &Caller) -> Self {
        let host = state.host();
        Self {
            state: state.clone(),
            tenant: state.tenant(),
            caller: caller.clone(),
            queues: host.queue_names(),
            now: host.now(),
            completed: Mutex::default(),
        }
    }

    fn registry(&self) -> &Registry {
        &self.state.host().registry
    }

    /// The id of a job that a field names, perhaps by its end alone.
    fn whole_id(&self, field: &str, text: String) -> Result<String, JsonFault> {
        let Some(ending) = ids::ending(&text) else { return Ok(text) };
        let known = self.completed.lock().get(&ending).copied();
        if let Some(id) = known {
            return Ok(id.to_string());
        }
        let id = ids::completed(&self.state, &self.caller, ending)
            .map_err(|error| JsonFault::field(field, format!("field `{field}`: {}", error.detail())))?;
        let mut completed = self.completed.lock();
        if completed.len() < COMPLETED_MAX {
            completed.insert(ending, id);
        }
        Ok(id.to_string())
    }

    /// The queue of a name; the default one without a name.
    fn queue(&self, field: &str, name: Option<&str>) -> Result<QueueName, JsonFault> {
        queue_among(&self.queues, field, name)
    }

    /// The job that follows another: what it runs must be there by now.
    pub(super) fn follow_up(&self, body: FollowUpBody) -> Result<FollowUp, JsonFault> {
        const FIELD: &str = "on_complete";
        let FollowUpBody { plugin, handler, queue, url } = body;
        let queue = self.queue(FIELD, queue.as_deref())?;
        let plugin = match (plugin.as_str(), &url) {
            ("", Some(_)) => http_plugin(),
            ("", None) => return Err(JsonFault::field(FIELD, "field `on_complete` needs a `plugin` or a `url`")),
            (name, _) => named(FIELD, PluginName::new(name))?,
        };
        if is_built_in(&plugin) {
            if url.is_none() {
                return Err(JsonFault::field(FIELD, "field `on_complete`: the built-in handler `http` needs a `url`"));
            }
            if handler.as_ref().is_some_and(|handler| *handler != HandlerName::default_handle().as_str()) {
                return Err(JsonFault::field(FIELD, "field `on_complete`: beside `url` stands no `handler`"));
            }
            return Ok(FollowUp { plugin, handler: HandlerName::default_handle(), queue, url });
        }
        if url.is_some() {
            let detail =
                format!("field `on_complete`: a `url` belongs to the built-in handler `http`, not to `{plugin}`");
            return Err(JsonFault::field(FIELD, detail));
        }
        let handler = handler.map(|text| named(FIELD, HandlerName::new(&text))).transpose()?;
        let fit = self.registry().check_fit(self.tenant, &plugin, None, handler.as_ref(), 0);
        let handler = fit.map_err(|unfit| JsonFault::field(FIELD, format!("field `{FIELD}`: {unfit}")))?;
        Ok(FollowUp { plugin, handler, queue, url: None })
    }
}

/// Checks a submit and makes a job of it, where reading the store holds nobody up.
pub(super) async fn single_job(state: &ApiState, caller: &Caller, body: SubmitBody) -> Result<NewJob, ApiError> {
    let intake = Intake::of(state, caller);
    let mut named = body.after.iter().chain(&body.parent).chain(&body.batch);
    match named.any(|id| ids::ending(id).is_some()) {
        true => state.blocking(move |_| new_job(&intake, body)).await,
        false => Ok(new_job(&intake, body)?),
    }
}

/// Checks a submit and makes a job of it. Looks up the ends of ids, so that it is work for another thread.
pub(super) fn new_job(intake: &Intake, mut body: SubmitBody) -> Result<NewJob, JsonFault> {
    check_after(&body.after)?;
    body.after = body.after.into_iter().map(|id| intake.whole_id("after", id)).collect::<Result<_, _>>()?;
    body.parent = body.parent.map(|id| intake.whole_id("parent", id)).transpose()?;
    body.batch = body.batch.map(|id| intake.whole_id("batch", id)).transpose()?;
    let SubmitBody {
        plugin,
        handler,
        input,
        input_text,
        input_base64,
        name,
        args,
        env,
        at,
        expires_on,
        priority,
        queue,
        tags,
        max_attempts,
        version,
        ordering_key,
        concurrency_key,
        after,
        on_predecessor_failure,
        dedup_key,
        regarding,
        parent,
        batch,
        deadline,
        auto_delete,
        on_complete,
    } = body;
    let env: Vec<_> = env.into_iter().collect();
    check_entries(&args, &env)?;
    check_tags(&tags)?;
    let (at, expires_on) = (
        at.map(|text| When::read("at", &text)).transpose()?,
        expires_on.map(|text| When::read("expires_on", &text)).transpose()?,
    );
    let (at_in, expires_in) = (at.and_then(When::span), expires_on.and_then(When::span));
    let (at, expires_on) =
        (at.map(|when| when.seen_from(intake.now)), expires_on.map(|when| when.seen_from(intake.now)));
    if let (Some(at), Some(end)) = (at, expires_on)
        && end <= at
    {
        return Err(JsonFault::field("expires_on", format!("`expires_on` ({end}) must be later than `at` ({at})")));
    }
    let space = intake.caller.key_space();
    let ordering_key = ordering_key.map(|text| named("ordering_key", OrderingKey::new(&text))).transpose()?;
    let concurrency_key =
        concurrency_key.map(|text| named("concurrency_key", ConcurrencyKey::new(&text))).transpose()?;
    let dedup_key = dedup_key.map(|text| named("dedup_key", DedupKey::new(&text))).transpose()?;
    let regarding = regarding.map(|text| named("regarding", RecordName::new(&text))).transpose()?;
    let ties = Ties {
        ordering_key: ordering_key.map(|key| key.in_space(space)),
        concurrency_key: concurrency_key.map(|key| key.in_space(space)),
        after: jobs_before(&after)?,
        on_predecessor_failure: on_predecessor_failure.map(predecessor_failure).transpose()?.unwrap_or_default(),
        dedup_key: dedup_key.map(|key| key.in_space(space)),
        regarding: regarding.map(|record| record.in_space(space)),
        batch: batch.map(|text| job_id("batch", &text)).transpose()?,
        occurrence: None,
        retry_of: None,
        on_complete: on_complete.map(|body| intake.follow_up(body)).transpose()?,
        is_remembered: false,
    };
    let plugin = named("plugin", PluginName::new(&plugin))?;
    let version = version.map(|text| named("version", VersionName::new(&text))).transpose()?;
    let is_command = || intake.registry().is_command(intake.tenant, &plugin, version.as_ref());
    Ok(NewJob {
        tenant: intake.tenant,
        handler: handler.map(|text| named("handler", HandlerName::new(&text))).transpose()?,
        input: input_bytes(input, input_text, input_base64, is_command)?,
        plugin,
        version,
        name: name.map(display_name).transpose()?,
        args,
        env,
        queue: intake.queue("queue", queue.as_deref())?,
        priority: checked_priority(priority.unwrap_or(0))?,
        at,
        at_in,
        expires_on,
        expires_in,
        tags,
        max_attempts: max_attempts.map(attempts).transpose()?,
        by: Some(noted(&intake.caller).to_owned()),
        caller: intake.caller.clone(),
        deadline: deadline.map(|text| shorter_wall(&text)).transpose()?,
        auto_delete,
        ties,
        parent: parent.map(|text| job_id("parent", &text)).transpose()?,
    })
}

fn check_after(after: &[String]) -> Result<(), JsonFault> {
    if after.len() > AFTER_MAX {
        let detail = format!("field `after` names {} jobs; at most {AFTER_MAX} are taken", after.len());
        return Err(JsonFault::field("after", detail));
    }
    Ok(())
}

/// The jobs that one waits for, each named once.
fn jobs_before(after: &[String]) -> Result<Vec<JobId>, JsonFault> {
    let mut ids = after.iter().map(|text| job_id("after", text)).collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn predecessor_failure(text: String) -> Result<OnPredecessorFailure, JsonFault> {
    const FIELD: &str = "on_predecessor_failure";
    let words = OnPredecessorFailure::ALL.map(OnPredecessorFailure::word);
    let known = OnPredecessorFailure::from_word(&text);
    known.ok_or_else(|| JsonFault::field(FIELD, format!("field `{FIELD}`: {}", unknown_name("answer", &text, &words))))
}

/// The id of a job that a field names.
pub(super) fn job_id(field: &str, text: &str) -> Result<JobId, JsonFault> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        JsonFault::field(field, format!("field `{field}`: `{shown}` is no job id"))
    })
}

fn shorter_wall(text: &str) -> Result<Duration, JsonFault> {
    let fault = |why: String| JsonFault::field("deadline", format!("field `deadline`: {why}"));
    let deadline = units::parse_duration(text).map_err(|why| {
        let shown: String = text.chars().take(40).collect();
        fault(format!("`{shown}` is no duration such as 5s or 1m30s: {why}"))
    })?;
    match deadline {
        deadline if deadline.is_zero() => Err(fault("no handler is done in no time".to_owned())),
        deadline if deadline >= DEADLINE_END => Err(fault("it must be shorter than a day".to_owned())),
        deadline => Ok(deadline),
    }
}

pub(super) fn named<T>(field: &str, name: Result<T, InvalidName>) -> Result<T, JsonFault> {
    name.map_err(|error| JsonFault::field(field, error.to_string()))
}

/// The bytes of an input. A command reads text, so a JSON string is its text to one; a handler gets every document as it is.
pub(super) fn input_bytes(
    json: Option<Box<RawValue>>,
    text: Option<String>,
    base64: Option<String>,
    is_command: impl FnOnce() -> bool,
) -> Result<Bytes, JsonFault> {
    match (json, text, base64) {
        (None, None, None) => Ok(Bytes::new()),
        (Some(json), None, None) if json.get().starts_with('"') && is_command() => {
            let text: Result<String, _> = serde_json::from_str(json.get());
            text.map(Bytes::from).map_err(|error| JsonFault::field("input", format!("field `input`: {error}")))
        }
        (Some(json), None, None) => Ok(Bytes::from(Box::<str>::from(json).into_string())),
        (None, Some(text), None) => Ok(Bytes::from(text)),
        (None, None, Some(encoded)) => {
            let decoded = BASE64.decode(&encoded);
            let decoded = decoded.map_err(|error| {
                JsonFault::field("input_base64", format!("field `input_base64` is no base64: {error}"))
            })?;
            Ok(Bytes::from(decoded))
        }
        _ => Err(JsonFault::field("input", "give one of `input`, `input_text` and `input_base64`, not several")),
    }
}

pub(super) fn time(field: &str, text: &str) -> Result<Timestamp, JsonFault> {
    text.parse().map_err(|why: BadTime| {
        let shown: String = text.chars().take(40).collect();
        JsonFault::field(field, format!("field `{field}`: `{shown}` {why}"))
    })
}

/// A point in time as a caller gives it.
#[derive(Clone, Copy)]
enum When {
    At(Timestamp),
    /// So far ahead.
    In(Duration),
}

impl When {
    fn read(field: &str, text: &str) -> Result<Self, JsonFault> {
        match text.parse() {
            Ok(time) => return Ok(Self::At(time)),
            Err(BadTime::OutOfRange) => return time(field, text).map(Self::At),
            Err(BadTime::Unreadable) => {}
        }
        let shown: String = text.chars().take(40).collect();
        let fault = |why: &str| JsonFault::field(field, format!("field `{field}`: `{shown}` is {why}"));
        match units::parse_duration(text) {
            Ok(span) if span > AHEAD_MAX => Err(fault("more than a hundred years")),
            Ok(span) => Ok(Self::In(span)),
            Err(_) => {
                Err(fault("neither a time with its zone like 2030-01-31T08:00:00Z (RFC 3339) nor a duration like 15m"))
            }
        }
    }

    fn span(self) -> Option<Duration> {
        match self {
            Self::At(_) => None,
            Self::In(span) => Some(span),
        }
    }

    fn seen_from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::In(span) => now.after(span),
        }
    }
}

/// A point in time, given as such or by how far it lies ahead.
pub(crate) fn moment(field: &str, text: &str, now: Timestamp) -> Result<Timestamp, JsonFault> {
    Ok(When::read(field, text)?.seen_from(now))
}

pub(super) fn display_name(name: String) -> Result<String, JsonFault> {
    let length = name.chars().count();
    if length > NAME_CHARS_MAX {
        let detail = format!("field `name` has {length} characters; at most {NAME_CHARS_MAX} are kept");
        return Err(JsonFault::field("name", detail));
    }
    if name.chars().any(char::is_control) {
        return Err(JsonFault::field("name", "field `name` holds a control character"));
    }
    Ok(name)
}

/// One of `queues`; the default one without a name.
pub(super) fn queue_among(queues: &[QueueName], field: &str, name: Option<&str>) -> Result<QueueName, JsonFault> {
    let Some(name) = name else { return Ok(QueueName::default_queue()) };
    let known = queues.iter().find(|queue| queue.as_str() == name);
    known.cloned().ok_or_else(|| {
        let there: Vec<_> = queues.iter().map(QueueName::as_str).collect();
        JsonFault::field(field, unknown_name("queue", name, &there))
    })
}

pub(super) fn checked_priority(priority: i64) -> Result<i8, JsonFault> {
    let priority = Some(priority).filter(|priority| PRIORITIES.contains(priority));
    let checked = priority.and_then(|priority| i8::try_from(priority).ok());
    checked.ok_or_else(|| JsonFault::field("priority", "field `priority` must be from -100 to 100"))
}

pub(super) fn attempts(attempts: u64) -> Result<u32, JsonFault> {
    let attempts = Some(attempts).filter(|attempts| ATTEMPTS.contains(attempts));
    let checked = attempts.and_then(|attempts| u32::try_from(attempts).ok());
    checked.ok_or_else(|| {
        JsonFault::field("max_attempts", format!("field `max_attempts` must be from 1 to {}", ATTEMPTS.end()))
    })
}

pub(super) fn check_tags(tags: &[String]) -> Result<(), JsonFault> {
    if tags.len() > TAGS_MAX {
        let detail = format!("field `tags` has {} entries; at most {TAGS_MAX} are taken", tags.len());
        return Err(JsonFault::field("tags", detail));
    }
    let fits = |tag: &&String| (1..=TAG_CHARS_MAX).contains(&tag.chars().count()) && !tag.chars().any(char::is_control);
    if !tags.iter().all(|tag| fits(&tag)) {
        let detail = format!("each of `tags` has 1 to {TAG_CHARS_MAX} characters and no control characters");
        return Err(JsonFault::field("tags", detail));
    }
    Ok(())
}

pub(super) fn check_entries(args: &[String], env: &[(String, String)]) -> Result<(), JsonFault> {
    for (field, count) in [("args", args.len()), ("env", env.len())] {
        if count > ENTRIES_MAX {
            let detail = format!("field `{field}` has {count} entries; at most {ENTRIES_MAX} are taken");
            return Err(JsonFault::field(field, detail));
        }
    }
    let in_args: usize = args.iter().map(String::len).sum();
    let in_env: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if in_args + in_env > ENTRY_BYTES_MAX {
        let detail = format!(
            "`args` and `env` have {} bytes together; at most {ENTRY_BYTES_MAX} are taken. Large data belongs in `input`",
            in_args + in_env
        );
        return Err(JsonFault::field(if in_args > in_env { "args" } else { "env" }, detail));
    }
    if args.iter().any(|arg| arg.contains('\0')) {
        return Err(JsonFault::field("args", "field `args` holds a zero character"));
    }
    let bad_name =
        |(name, value): &(String, String)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
    if env.iter().any(bad_name) {
        return Err(JsonFault::field(
            "env",
            "names in `env` are not empty and hold no `=`; nothing in it holds a zero character",
        ));
    }
    Ok(())
}
