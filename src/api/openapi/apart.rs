//! What the fields of a document do not say together. A schema says so by what it is not: generators of clients pass over that,
//! and validators know it.

use serde_json::{Value, json};

/// The ways to give an input.
const INPUTS: [&str; 3] = ["input", "input_text", "input_base64"];

/// Adds it to the schemas of a description.
pub(super) fn say(document: &mut Value) {
    let run_by_plugin = ["plugin", "handler", "version"].into_iter().chain(INPUTS);
    let of_a_request = run_by_plugin.map(|name| both("http", name)).chain([
        all([given("http"), json!({ "required": ["args"], "properties": { "args": { "minItems": 1 } } })]),
        all([given("http"), json!({ "required": ["env"], "properties": { "env": { "minProperties": 1 } } })]),
    ]);
    let of_a_schedule = inputs().chain([both("rule", "cron"), neither([given("plugin"), given("http")])]);
    let some_origin = json!({ "required": ["http"], "properties": { "http": { "minItems": 1 } } });
    let some = |keyword: &str| json!({ "required": ["config"], "properties": { "config": { keyword: 1 } } });
    for (schema, apart) in [
        ("SubmitBody", inputs().collect()),
        ("RetryBody", inputs().collect()),
        ("ScheduleBody", of_a_schedule.chain(of_a_request).collect()),
        ("FollowUpBody", vec![neither([given("plugin"), given("url")])]),
        ("GrantBody", vec![neither([some_origin.clone(), some("minProperties")])]),
        ("RevokeBody", vec![neither([some_origin, some("minItems")])]),
    ] as [(&str, Vec<Value>); 6]
    {
        if let Some(Value::Object(schema)) = document.pointer_mut(&format!("/components/schemas/{schema}")) {
            schema.insert("not".to_owned(), json!({ "anyOf": apart }));
        }
    }
}

/// That a field is there. Nothing in its place is as good as absent, but for `input`, where it is an input.
fn given(name: &str) -> Value {
    match name {
        "input" => json!({ "required": [name], "properties": { name: {} } }),
        _ => json!({ "required": [name], "properties": { name: { "not": { "type": "null" } } } }),
    }
}

fn all(parts: [Value; 2]) -> Value {
    json!({ "allOf": parts })
}

fn both(one: &str, other: &str) -> Value {
    all([given(one), given(other)])
}

fn neither(parts: [Value; 2]) -> Value {
    json!({ "not": { "anyOf": parts } })
}

/// Two inputs at once.
fn inputs() -> impl Iterator<Item = Value> {
    let [json, text, base64] = INPUTS;
    [(json, text), (json, base64), (text, base64)].into_iter().map(|(one, other)| both(one, other))
}
