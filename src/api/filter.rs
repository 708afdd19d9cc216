//! Reading which jobs somebody means: the same fields for a list and for a bulk action.

use super::bounds::SOUGHT_CHARS_MAX;
use super::error::ApiError;
use super::json::unknown_name;
use super::params::Params;
use super::view::FilterBody;
use crate::domain::access::{Caller, Reach, Right};
use crate::domain::fingerprint::Fingerprint;
use crate::domain::id::{HandlerName, JobId, OrderingKey, PluginName, QueueName, RecordName, ScheduleName, TokenName};
use crate::domain::job::{JobType, Status, WaitReason};
use crate::domain::query::JobFilter;
use crate::domain::time::{BadTime, Timestamp};

/// The fields, as [`FilterBody`] describes them.
pub(super) const FIELDS: &[&str] = FilterBody::FIELDS;

/// The filter that some parameters give. Keys are those of the caller's space; whoever may read all jobs may name another.
pub(super) fn read(params: &Params, caller: &Caller) -> Result<JobFilter, ApiError> {
    let named = params.read("key_space", TokenName::new)?;
    let may_name = |named: &TokenName| {
        caller.rights.reach(Right::Read) == Reach::All || caller.key_space().is_none_or(|own| own == named)
    };
    if let Some(named) = named.as_ref().filter(|named| !may_name(named)) {
        let detail = format!("`key_space`: to look for keys of `{named}` takes the right `read` to all jobs");
        return Err(ApiError::field("key_space", detail));
    }
    let space = named.as_ref().or(caller.key_space());
    let (ordering_key, regarding) =
        (params.read("ordering_key", OrderingKey::new)?, params.read("regarding", RecordName::new)?);
    if named.is_some() && ordering_key.is_none() && regarding.is_none() {
        return Err(ApiError::field("key_space", "`key_space` goes with `ordering_key` or `regarding`"));
    }
    Ok(JobFilter {
        after: None,
        statuses: params.read("state", statuses)?.unwrap_or_default(),
        wait_reasons: params.read("wait_reason", wait_reasons)?.unwrap_or_default(),
        job_type: params.read("type", job_type)?,
        plugin: params.read("plugin", PluginName::new)?,
        handler: params.read("handler", HandlerName::new)?,
        queue: params.read("queue", QueueName::new)?,
        created_by: params.read("created_by", sought)?,
        owner: params.read("owner", TokenName::new)?,
        tag: params.read("tag", sought)?,
        ordering_key: ordering_key.map(|key| key.in_space(space)),
        regarding: regarding.map(|record| record.in_space(space)),
        batch: params.read("batch", job_id)?,
        schedule: params.read("schedule", ScheduleName::new)?,
        chain: params.read("chain", job_id)?,
        retry_of: params.read("retry_of", job_id)?,
        fingerprint: params.read("fingerprint", str::parse::<Fingerprint>)?,
        text: params.read("search", sought)?,
        created_from: params.read("from", point_in_time)?,
        created_before: params.read("before", point_in_time)?,
    })
}

fn sought(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0..=SOUGHT_CHARS_MAX => Ok(text.to_owned()),
        length => Err(format!("it has {length} characters; at most {SOUGHT_CHARS_MAX} are looked for")),
    }
}

fn statuses(text: &str) -> Result<Vec<Status>, String> {
    let words = Status::ALL.map(Status::word);
    let status = |word: &str| Status::from_word(word).ok_or_else(|| unknown_name("state", word, &words));
    text.split(',').map(|word| status(word.trim())).collect()
}

fn wait_reasons(text: &str) -> Result<Vec<WaitReason>, String> {
    let words = WaitReason::ALL.map(WaitReason::word);
    let reason = |word: &str| WaitReason::from_word(word).ok_or_else(|| unknown_name("reason", word, &words));
    text.split(',').map(|word| reason(word.trim())).collect()
}

/// A type by its word, or by the number of its code.
pub(super) fn job_type(text: &str) -> Result<JobType, String> {
    let named = JobType::NAMED.iter().find(|(_, word)| *word == text).map(|(job_type, _)| *job_type);
    let by_code = || text.parse().ok().map(JobType);
    let words = JobType::NAMED.map(|(_, word)| word);
    named.or_else(by_code).ok_or_else(|| format!("{} (or the number of a type)", unknown_name("type", text, &words)))
}

fn job_id(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|_| format!("`{text}` is no job id"))
}

fn point_in_time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|why: BadTime| format!("`{text}` {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_body_is_one_that_is_read() {
        let whole: serde_json::Map<_, _> = FIELDS.iter().map(|name| ((*name).to_owned(), "x".into())).collect();
        let body: FilterBody = serde_json::from_value(whole.into()).expect("every field is one of the body");
        assert_eq!(body.pairs().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), FIELDS);
        let reads = |name: &str| {
            let one: serde_json::Map<_, _> = [(name.to_owned(), "Not A Name!".into())].into_iter().collect();
            let body: FilterBody = serde_json::from_value(one.into()).expect("a field of the body");
            !matches!(read(&Params::of_filter(&body), &Caller::ANYBODY), Ok(filter) if filter == JobFilter::default())
        };
        assert!(FIELDS.iter().all(|name| reads(name)), "a field is read by nobody");
    }
}
