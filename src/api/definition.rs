//! From what a caller says of a schedule to what the runtime keeps: its rule, its policies and the jobs that it makes.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use super::bounds::EXPIRES_AFTER_MAX;
use super::error::ApiError;
use super::intake;
use super::json::JsonFault;
use super::view::{HttpBody, ScheduleBody};
use crate::config::units;
use crate::domain::code;
use crate::domain::id::{HandlerName, OrderingKey, PluginName, QueueName, VersionName};
use crate::domain::job::Payload;
use crate::domain::schedule::{Definition, InvalidPolicy, JobTemplate, Recurrence, Schedule, Start};
use crate::domain::time::Timestamp;

/// The built-in handler that sends requests.
const HTTP: &str = "http";

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// The schedule. Its input is still apart.
    pub(super) definition: Definition,
    /// What its jobs are given.
    pub(super) input: Bytes,
    /// The field that the rule stands in.
    pub(super) rule_field: &'static str,
}

/// Checks a schedule, whose jobs go to one of `queues`. A rule whose start is left out starts after `now`, or `now` where it is
/// to fire at once. Counting a rule to its end may take some time.
pub(super) fn asked(
    body: ScheduleBody,
    queues: &[QueueName],
    now: Timestamp,
    is_command: impl FnOnce(&PluginName, Option<&VersionName>) -> bool,
) -> Result<Asked, ApiError> {
    let rule_field = rule_field(&body);
    let recurrence = recurrence(&body, now).map_err(|error| named_as(error, rule_field))?;
    let misfire = policy("misfire", body.misfire.as_deref())?;
    let overlap = policy("overlap", body.overlap.as_deref())?;
    let jitter = body.jitter.as_deref().map(jitter).transpose()?.unwrap_or_default();
    let (start_left_out, at_once) = (body.start.is_none(), body.now);
    let (target, input) = target(body, queues, is_command)?;
    let definition = Definition { recurrence, target, misfire, overlap, jitter, start_left_out, at_once };
    Ok(Asked { definition, input, rule_field })
}

/// An error of a rule names the field that the caller gave it in.
pub(super) fn named_as(error: ApiError, rule_field: &str) -> ApiError {
    let is_of_rule = matches!(error.code(), code::BAD_RULE | code::NO_OCCURRENCE);
    if is_of_rule && error.is_of_field("rule") { error.with_field(rule_field) } else { error }
}

/// Where the rule stands, or else what decides when the one job comes.
fn rule_field(body: &ScheduleBody) -> &'static str {
    match (&body.rule, &body.cron, &body.start) {
        (_, Some(_), _) => "cron",
        (None, None, Some(_)) => "start",
        _ => "rule",
    }
}

fn recurrence(body: &ScheduleBody, now: Timestamp) -> Result<Recurrence, ApiError> {
    let left_out = if body.now { Start::At(now) } else { Start::LeftOut(now) };
    let start = body.start.as_deref().map_or(left_out, Start::Text);
    let tz = body.tz.as_deref();
    Ok(match (body.rule.as_deref(), body.cron.as_deref()) {
        (Some(_), Some(_)) => return Err(ApiError::field("cron", "give one of `rule` and `cron`, not both")),
        (rule, None) => Recurrence::parse(rule.unwrap_or_default(), start, tz, &body.except)?,
        (None, Some(cron)) => Recurrence::from_cron(cron, start, tz, &body.except)?,
    })
}

fn policy<T: FromStr<Err = InvalidPolicy> + Default>(field: &str, text: Option<&str>) -> Result<T, JsonFault> {
    let Some(text) = text else { return Ok(T::default()) };
    text.parse().map_err(|error| JsonFault::field(field, format!("field `{field}`: {error}")))
}

fn jitter(text: &str) -> Result<Duration, JsonFault> {
    let jitter = duration("jitter", text)?;
    if jitter > Schedule::JITTER_MAX {
        let most = units::show_duration(Schedule::JITTER_MAX);
        let detail = format!("field `jitter`: `{}` is too much; at most {most} are taken", shortened(text));
        return Err(JsonFault::field("jitter", detail));
    }
    Ok(jitter)
}

fn expires_after(text: &str) -> Result<Duration, JsonFault> {
    const FIELD: &str = "expires_after";
    let span = duration(FIELD, text)?;
    if span.is_zero() || span > EXPIRES_AFTER_MAX {
        let detail = format!("field `{FIELD}`: `{}` is no time to start in; use 1ms to 36600d", shortened(text));
        return Err(JsonFault::field(FIELD, detail));
    }
    Ok(span)
}

fn duration(field: &str, text: &str) -> Result<Duration, JsonFault> {
    units::parse_duration(text).map_err(|why| {
        let detail = format!("field `{field}`: `{}` is no duration such as 30s or 1h30m: {why}", shortened(text));
        JsonFault::field(field, detail)
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The jobs of a schedule, and their input.
fn target(
    mut body: ScheduleBody,
    queues: &[QueueName],
    is_command: impl FnOnce(&PluginName, Option<&VersionName>) -> bool,
) -> Result<(JobTemplate, Bytes), JsonFault> {
    let version = body.version.as_deref().map(|text| intake::named("version", VersionName::new(text))).transpose()?;
    let (plugin, input) = match body.http.take() {
        Some(request) => request_of(&body, &request)?,
        None => {
            let Some(plugin) = &body.plugin else {
                return Err(JsonFault::field("plugin", "give `plugin`, what to run, or `http`, a request to send"));
            };
            let plugin = intake::named("plugin", PluginName::new(plugin))?;
            let is_command = || is_command(&plugin, version.as_ref());
            let (json, text, base64) = (body.input.take(), body.input_text.take(), body.input_base64.take());
            let input = intake::input_bytes(json, text, base64, is_command)?;
            (plugin, input)
        }
    };
    let env: Vec<_> = body.env.into_iter().collect();
    intake::check_entries(&body.args, &env)?;
    intake::check_tags(&body.tags)?;
    let key = body.ordering_key.map(|text| intake::named("ordering_key", OrderingKey::new(&text))).transpose()?;
    let template = JobTemplate {
        plugin,
        handler: body.handler.map(|text| intake::named("handler", HandlerName::new(&text))).transpose()?,
        input: Payload::default(),
        args: body.args,
        env,
        queue: intake::queue_among(queues, "queue", body.queue.as_deref())?,
        priority: intake::checked_priority(body.priority.unwrap_or(0))?,
        ordering_key: key.map(|key| key.to_string()),
        tags: body.tags,
        max_attempts: body.max_attempts.map(intake::attempts).transpose()?,
        expires_after: body.expires_after.as_deref().map(expires_after).transpose()?,
        name: body.name.map(intake::display_name).transpose()?,
        version,
    };
    Ok((template, input))
}

/// A request is an input of the built-in handler; it goes with nothing that another plug-in would be given.
fn request_of(body: &ScheduleBody, request: &HttpBody) -> Result<(PluginName, Bytes), JsonFault> {
    let in_the_way = [
        ("plugin", body.plugin.is_some()),
        ("handler", body.handler.is_some()),
        ("input", body.input.is_some()),
        ("input_text", body.input_text.is_some()),
        ("input_base64", body.input_base64.is_some()),
        ("args", !body.args.is_empty()),
        ("env", !body.env.is_empty()),
        ("version", body.version.is_some()),
    ];
    if let Some((field, _)) = in_the_way.into_iter().find(|(_, is_given)| *is_given) {
        return Err(JsonFault::field(field, format!("field `{field}` does not go with `http`; leave one of them out")));
    }
    let input = serde_json::to_vec(request);
    let input = input.map_err(|error| JsonFault::field("http", format!("field `http`: {error}")))?;
    Ok((intake::named("http", PluginName::new(HTTP))?, input.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Asked, ApiError> {
        let body = super::super::json::parse(text.as_bytes(), ScheduleBody::FIELDS)?;
        asked(body, &[], Timestamp::from_millis(1_900_000_000_000), |_, _| false)
    }

    #[test]
    fn a_request_becomes_the_input_of_the_handler_http() {
        let text = r#"{"http": {"method": "POST", "url": "https://example.com/in", "headers": {"X-A": "b"},
            "body": {"z": 1.0, "a": null}}, "tags": ["t"]}"#;
        let Asked { definition, input, .. } = read(text).expect("it is right");
        assert_eq!((definition.target.plugin.as_str(), definition.target.handler), ("http", None));
        let expected =
            r#"{"method":"POST","url":"https://example.com/in","headers":{"X-A":"b"},"body":{"z": 1.0, "a": null}}"#;
        assert_eq!(input, expected);
        let least = read(r#"{"http": {"url": "https://example.com"}}"#).expect("it is right");
        assert_eq!(least.input, r#"{"url":"https://example.com"}"#);
    }

    #[test]
    fn a_request_goes_with_no_other_target() {
        for field in [r#""plugin": "echo""#, r#""input": null"#, r#""args": ["a"]"#, r#""version": "1.0.0""#] {
            let error = read(&format!(r#"{{"http": {{"url": "https://example.com"}}, {field}}}"#)).expect_err(field);
            assert!(error.detail().ends_with("does not go with `http`; leave one of them out"), "{error:?}");
        }
        assert!(read("{}").expect_err("there is no target").is_of_field("plugin"));
    }

    #[test]
    fn an_error_of_a_rule_names_the_field_that_it_stands_in() {
        for (text, field) in [
            (r#"{"plugin": "echo", "rule": "FREQ=DAYLY"}"#, "rule"),
            (r#"{"plugin": "echo", "cron": "0 25 * * *"}"#, "cron"),
            (r#"{"plugin": "echo", "rule": "FREQ=DAILY", "start": "soon"}"#, "start"),
            (r#"{"plugin": "echo", "rule": "FREQ=DAILY", "tz": "Mars"}"#, "tz"),
            (r#"{"plugin": "echo", "rule": "FREQ=DAILY", "except": ["never"]}"#, "except"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.code() == code::BAD_RULE && error.is_of_field(field), "{text}: {error:?}");
        }
    }
}
