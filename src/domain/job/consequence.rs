//! What follows from the end of a job, in the commit that ends it.

use std::sync::Arc;

use serde::Serialize;

use super::{FollowUp, JobState, Payload, Status, Submission, Ties};
use crate::domain::change::Change;
use crate::domain::id::JobId;
use crate::domain::idempotency;
use crate::domain::time::Timestamp;

/// How much of an error's message the job that follows is told.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// What has to be written beside the last state of a job: the job that follows it, and its deletion when it was to go as
/// soon as it succeeds (F024); a member of a batch stays, for the batch to count. `new_id` gives the identity of a new job.
pub fn consequences(
    submission: &Submission,
    ended: &JobState,
    now: Timestamp,
    new_id: impl FnOnce() -> JobId,
) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Some(follow_up) = &submission.ties().on_complete {
        let follower = follower(submission, ended, follow_up, now, new_id());
        changes.push(Change::Submit(Arc::new(follower), Box::default()));
    }
    let ties = submission.ties();
    if submission.auto_delete && ended.status == Status::Succeeded && ties.batch.is_none() {
        changes.push(Change::Delete { job: submission.key(), expected: ended.revision });
        // A submit with its dedup key may have been answered with it, under an `Idempotency-Key` of its own.
        if ties.is_remembered || ties.dedup_key.is_some() {
            changes.push(idempotency::remember_end(submission, ended, now));
        }
    }
    changes
}

/// How a job ended, as the job that follows it is told.
#[derive(Serialize)]
struct Ended<'a> {
    job: String,
    name: String,
    plugin: &'a str,
    handler: &'a str,
    state: &'static str,
    status_code: u8,
    completed_on: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
}

#[derive(Serialize)]
struct Error<'a> {
    class: crate::domain::failure::ErrorClass,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    message: String,
}

/// A request of the built-in handler `http`.
#[derive(Serialize)]
struct Callback<'a> {
    url: &'a str,
    method: &'static str,
    body: &'a Ended<'a>,
}

fn follower(submission: &Submission, ended: &JobState, follow_up: &FollowUp, now: Timestamp, id: JobId) -> Submission {
    let told = Ended {
        job: submission.id.to_string(),
        name: submission.display_name(),
        plugin: submission.plugin.as_str(),
        handler: submission.handler.as_str(),
        state: ended.status.word(),
        status_code: ended.status.code(),
        completed_on: now.to_string(),
        output: ended.output.as_ref().and_then(inline_json),
        error: ended.failure().map(|failure| Error {
            class: failure.class,
            code: failure.code.as_deref(),
            message: failure.message.chars().take(MESSAGE_CHARS_MAX).collect(),
        }),
    };
    let input = match &follow_up.url {
        Some(url) => serde_json::to_vec(&Callback { url, method: "POST", body: &told }),
        None => serde_json::to_vec(&told),
    };
    let regarding = submission.ties().regarding.clone();
    Submission {
        tenant: submission.tenant,
        name: Some(format!("after {}", submission.display_name())).filter(|name| name.chars().count() <= 256),
        handler: follow_up.handler.clone(),
        input: Payload::Inline(input.unwrap_or_default().into()),
        queue: follow_up.queue.clone(),
        priority: submission.priority,
        created_by: submission.created_by.clone(),
        owner: submission.owner.clone(),
        correlation_id: Some(submission.correlation_id.unwrap_or(submission.id)),
        depth: submission.depth + 1,
        tags: submission.tags.clone(),
        ties: regarding.map(|regarding| Arc::new(Ties { regarding: Some(regarding), ..Ties::default() })),
        ..Submission::new(id, follow_up.plugin.clone(), now)
    }
}

/// Small outputs are told whole; of large ones only the job says where they are.
fn inline_json(output: &Payload) -> Option<serde_json::Value> {
    let Payload::Inline(bytes) = output else { return None };
    match serde_json::from_slice(bytes) {
        Ok(value) => Some(value),
        Err(_) => Some(serde_json::Value::String(String::from_utf8(bytes.to_vec()).ok()?)),
    }
}
