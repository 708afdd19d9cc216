//! What a caller sends to submit a job, and the answer to a bulk submit.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::form;
use super::number::whole;

/// A job to submit. Only `plugin` is needed; unknown fields are refused.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitBody {
    /// The plug-in to run.
    #[schema(value_type = form::PluginName, inline)]
    pub plugin: String,
    /// The entry point; the plug-in's first when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::HandlerName>, inline)]
    pub handler: Option<String>,
    /// Any JSON value. The handler is given its bytes exactly as they stand here. At most one of `input`, `input_text` and
    /// `input_base64`; the input is empty when all are absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: Option<Box<RawValue>>,
    /// Text that the handler is given as it is, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_text: Option<String>,
    /// Bytes in base64 (RFC 4648 section 4) that the handler is given decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Base64>, inline)]
    pub input_base64: Option<String>,
    /// A display name, at most 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::DisplayName>, inline)]
    pub name: Option<String>,
    /// Command-line arguments, for a plug-in that is a command; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = form::Arguments, inline)]
    pub args: Vec<String>,
    /// Environment variables, for a plug-in that is a command; at most 64, and 32 KiB together with `args`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = form::Environment, inline)]
    pub env: BTreeMap<String, String>,
    /// Not to start before this time, RFC 3339, or how long from now, such as `15m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Moment>, inline)]
    pub at: Option<String>,
    /// To be called off unless started by this time, RFC 3339, or how long from now, such as `15m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Moment>, inline)]
    pub expires_on: Option<String>,
    /// Greater runs first; -100 to 100, 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole")]
    #[schema(value_type = Option<form::Priority>, inline)]
    pub priority: Option<i64>,
    /// One of the host's queues (`GET /v1/queues`); `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::QueueName>, inline)]
    pub queue: Option<String>,
    /// Free words to find it by; at most 20 of 64 characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = form::Tags, inline)]
    pub tags: Vec<String>,
    /// Attempts in all, 1 to 1000; the plug-in's policy when absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "whole")]
    #[schema(value_type = Option<form::Attempts>, inline)]
    pub max_attempts: Option<u64>,
    /// The version of the plug-in to run; the one that is active when the job starts when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::VersionName>, inline)]
    pub version: Option<String>,
    /// Jobs of the same key run one after another, in order of their submit; 1 to 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Key>, inline)]
    pub ordering_key: Option<String>,
    /// Of the plug-in's jobs that share it, only `concurrency_per_key` of its settings run at a time, one when absent, in
    /// whatever order; 1 to 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Key>, inline)]
    pub concurrency_key: Option<String>,
    /// The ids of jobs that must have ended first; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = form::JobRefs, inline)]
    pub after: Vec<String>,
    /// What it does when a job that it waits for, by `after` or `ordering_key`, has not succeeded: `continue` (as when
    /// absent), `block` (a person must resume it) or `cancel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::PredecessorFailure>, inline)]
    pub on_predecessor_failure: Option<String>,
    /// At most one unfinished job has this key: while there is one, a submit returns that job. 1 to 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Key>, inline)]
    pub dedup_key: Option<String>,
    /// The record that it is about, as `entity/id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Record>, inline)]
    pub regarding: Option<String>,
    /// The id of the job on whose behalf it is submitted; it belongs to that one's chain, one step deeper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::JobRef>, inline)]
    pub parent: Option<String>,
    /// The id of the batch that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::JobRef>, inline)]
    pub batch: Option<String>,
    /// A shorter wall-clock limit of each run than the plug-in's, such as `5s`; shorter than a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Deadline>, inline)]
    pub deadline: Option<String>,
    /// Whether the job is removed as soon as it has succeeded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_delete: bool,
    /// A job that is submitted when this one ends, however it ends; its input tells how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_complete: Option<FollowUpBody>,
}

/// A job that follows another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowUpBody {
    /// The plug-in to run. May be left out beside `url`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(value_type = form::PluginName, inline)]
    pub plugin: String,
    /// The entry point; the plug-in's first when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::HandlerName>, inline)]
    pub handler: Option<String>,
    /// One of the host's queues; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::QueueName>, inline)]
    pub queue: Option<String>,
    /// Where the built-in handler `http` sends how the job ended, by POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<form::Url>, inline)]
    pub url: Option<String>,
}

impl FollowUpBody {
    /// What follows by one word: a URL, `PLUGIN` or `PLUGIN/HANDLER`.
    pub fn to(word: &str) -> Self {
        if word.contains("://") {
            return Self { url: Some(word.to_owned()), ..Self::default() };
        }
        let (plugin, handler) = match word.split_once('/') {
            Some((plugin, handler)) => (plugin, Some(handler.to_owned())),
            None => (word, None),
        };
        Self { plugin: plugin.to_owned(), handler, ..Self::default() }
    }
}

impl SubmitBody {
    /// The names of the fields.
    pub const FIELDS: &'static [&'static str] = &[
        "plugin",
        "handler",
        "input",
        "input_text",
        "input_base64",
        "name",
        "args",
        "env",
        "at",
        "expires_on",
        "priority",
        "queue",
        "tags",
        "max_attempts",
        "version",
        "ordering_key",
        "concurrency_key",
        "after",
        "on_predecessor_failure",
        "dedup_key",
        "regarding",
        "parent",
        "batch",
        "deadline",
        "auto_delete",
        "on_complete",
    ];
}

/// Keeps a `null` that stands there: it is an input of four bytes, not an absent one.
pub(super) fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

/// The answer to a bulk submit: all of its jobs were taken, in the order of the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkView {
    /// How many jobs there are.
    pub count: usize,
    /// The first job; none when there is none.
    #[schema(value_type = Option<form::JobId>, inline)]
    pub first: Option<String>,
    /// The last job; none when there is none.
    #[schema(value_type = Option<form::JobId>, inline)]
    pub last: Option<String>,
    /// Every job.
    #[schema(value_type = Vec<form::JobId>, inline)]
    pub ids: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_that_the_wire_has() {
        let text = "x".to_owned();
        let whole = SubmitBody {
            plugin: text.clone(),
            handler: Some(text.clone()),
            input: serde_json::value::to_raw_value(&1).ok(),
            input_text: Some(text.clone()),
            input_base64: Some(text.clone()),
            name: Some(text.clone()),
            args: vec![text.clone()],
            env: BTreeMap::from([(text.clone(), text.clone())]),
            at: Some(text.clone()),
            expires_on: Some(text.clone()),
            priority: Some(1),
            queue: Some(text.clone()),
            tags: vec![text.clone()],
            max_attempts: Some(1),
            version: Some(text.clone()),
            ordering_key: Some(text.clone()),
            concurrency_key: Some(text.clone()),
            after: vec![text.clone()],
            on_predecessor_failure: Some(text.clone()),
            dedup_key: Some(text.clone()),
            regarding: Some(text.clone()),
            parent: Some(text.clone()),
            batch: Some(text.clone()),
            deadline: Some(text.clone()),
            auto_delete: true,
            on_complete: Some(FollowUpBody { plugin: text, ..FollowUpBody::default() }),
        };
        let value = serde_json::to_value(&whole).expect("it is JSON");
        let mut names: Vec<_> = value.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut known = SubmitBody::FIELDS.to_vec();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
    }
}
