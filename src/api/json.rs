//! Reading JSON documents, with the field and the place of what is wrong with them.

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::error::ApiError;
use crate::domain::code::{self, Code};

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonFault {
    /// Which entry of the catalogue.
    pub(super) code: Code,
    /// The field, when it is one's fault.
    pub(super) field: Option<String>,
    /// What is wrong, and where.
    pub(super) detail: String,
}

impl JsonFault {
    fn syntax(detail: String) -> Self {
        Self { code: code::BAD_JSON, field: None, detail }
    }

    /// A field that is not acceptable.
    pub(super) fn field(name: &str, detail: impl Into<String>) -> Self {
        Self { code: code::BAD_FIELD, field: Some(shown(name)), detail: detail.into() }
    }
}

impl From<JsonFault> for ApiError {
    fn from(fault: JsonFault) -> Self {
        match fault.field {
            Some(field) => Self::field(&field, fault.detail),
            None => Self::new(fault.code, fault.detail),
        }
    }
}

/// Reads a document whose top is an object with `fields`.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], fields: &[&str]) -> Result<T, JsonFault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (line, column) = place(bytes, error.valid_up_to());
        JsonFault::syntax(format!("the text is not UTF-8 (line {line}, column {column})"))
    })?;
    // A list would pass for an object whose members it names in order.
    if let Some(first) = text.trim_ascii_start().chars().next().filter(|first| *first != '{')
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
    {
        let given = if first == '[' { "a list" } else { "a single value" };
        let detail = format!("a JSON object is needed, but this is {given}");
        return Err(JsonFault { code: code::BAD_FIELD, field: None, detail });
    }
    serde_json::from_str(text).map_err(|error| explain(text, &error, fields))
}

fn explain(text: &str, error: &serde_json::Error, fields: &[&str]) -> JsonFault {
    if text.trim().is_empty() {
        return JsonFault::syntax("there is nothing where a JSON object should be".to_owned());
    }
    let at = format!("(line {}, column {})", error.line(), error.column());
    let message = message(error);
    match (error.classify(), serde_json::from_str::<Members<'_>>(text)) {
        (Category::Data, Ok(members)) => explain_member(text, error, &members, fields, &message, &at),
        (Category::Eof, _) => {
            let within = message.strip_prefix("EOF while parsing ").unwrap_or("the document");
            JsonFault::syntax(format!("the JSON ends early, inside {within} {at}"))
        }
        _ => JsonFault::syntax(format!("{message} {at}")),
    }
}

fn explain_member(
    text: &str,
    error: &serde_json::Error,
    members: &Members<'_>,
    fields: &[&str],
    message: &str,
    at: &str,
) -> JsonFault {
    if let Some((unknown, _)) = members.0.iter().find(|(name, _)| !fields.contains(&name.as_str())) {
        return JsonFault::field(unknown, unknown_name("field", unknown, fields));
    }
    let faulty = offset(text, error).and_then(|offset| {
        let holds = |value: &RawValue| {
            let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
            start <= offset && offset <= start + value.get().len()
        };
        members.0.iter().find(|(_, value)| holds(value))
    });
    match faulty {
        Some((name, _)) => JsonFault::field(name, format!("field `{name}`: {} {at}", plain(message))),
        // A missing or doubled field: the message names it.
        None => match message.split('`').nth(1) {
            Some(name) => JsonFault::field(name, message),
            None => JsonFault { code: code::BAD_FIELD, field: None, detail: format!("{} {at}", plain(message)) },
        },
    }
}

/// As much of a name as is told: it may be as long as the document.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// Says that a name is unknown, with the one that was meant or all that there are.
pub(super) fn unknown_name(what: &str, given: &str, known: &[&str]) -> String {
    let shown = shown(given);
    let near = known.iter().map(|name| (strsim::levenshtein(&shown, name), name)).min();
    match near {
        Some((distance, name)) if distance <= shown.len().max(name.len()).div_ceil(3) => {
            format!("there is no {what} `{shown}`; did you mean `{name}`?")
        }
        _ => format!("there is no {what} `{shown}`; there are {}", known.join(", ")),
    }
}

/// The message without its place.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// A message about types in words of JSON, not of Rust.
fn plain(message: &str) -> String {
    let told = ["invalid type: ", "invalid value: "].iter().find_map(|prefix| message.strip_prefix(prefix));
    let Some((given, expected)) = told.and_then(|told| told.split_once(", expected ")) else {
        return message.to_owned();
    };
    let (kind, value) = given.split_once(' ').unwrap_or((given, ""));
    let given = match kind {
        "sequence" => "a list".to_owned(),
        "map" => "an object".to_owned(),
        "integer" => format!("the number {}", value.trim_matches('`')),
        "floating" => format!("the number {}", value.trim_start_matches("point ").trim_matches('`')),
        "string" => format!("the text {value}"),
        "boolean" => value.trim_matches('`').to_owned(),
        _ => given.to_owned(),
    };
    let expected = match expected {
        "i64" | "i32" | "i8" => "a whole number",
        "u64" | "u32" | "usize" => "a whole number that is not negative",
        "a sequence" => "a list",
        "a map" => "an object",
        "a borrowed string" | "a string" => "a string",
        other if other.starts_with("struct ") => "an object",
        other => other,
    };
    format!("it is {given}, but {expected} is needed")
}

/// Line and column, both from 1, of a place in some bytes.
fn place(bytes: &[u8], offset: usize) -> (usize, usize) {
    let before = &bytes[..offset.min(bytes.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (line, column)
}

/// How many bytes lie before and at the place of an error.
fn offset(text: &str, error: &serde_json::Error) -> Option<usize> {
    let before: usize = text.split_inclusive('\n').take(error.line().checked_sub(1)?).map(str::len).sum();
    Some(before + error.column())
}

/// The members of an object as they stand in the text.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        from.deserialize_map(Collect).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_as_long_as_the_document_is_cut_before_it_is_compared_and_told() {
        let document = format!("{{\"{}\": 1}}", "x".repeat(2 << 20));
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Document {
            #[serde(rename = "plugin")]
            _plugin: Option<String>,
        }
        let fault = parse::<Document>(document.as_bytes(), &["plugin"]).expect_err("there is no such field");
        assert_eq!(fault.field.map(|field| field.len()), Some(80));
        assert!(fault.detail.len() < 200, "{}", fault.detail.len());
    }
}
