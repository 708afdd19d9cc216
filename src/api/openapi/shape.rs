//! The form that stock generators know best: a nullable type is one type with `null` beside it, and nothing that is absent
//! when it is not given is nullable on top.

use serde_json::{Map, Value, json};

/// Gives every schema of a document that form.
pub(super) fn plain(document: &mut Value) {
    match document {
        Value::Object(members) => {
            members.values_mut().for_each(plain);
            if let Some(form) = only(members).or_else(|| nullable(members)) {
                *members = form;
            }
            for name in ["parameters", "requestBody"] {
                if let Some(part) = members.get_mut(name) {
                    never_null(part);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

/// A choice of one, as that one: a description beside it makes a choice of it.
fn only(choice: &Map<String, Value>) -> Option<Map<String, Value>> {
    match choice.get("oneOf")?.as_array()?.as_slice() {
        [only] if only.get("$ref").is_none() => Some(described(only.as_object()?.clone(), choice)),
        _ => None,
    }
}

/// A choice between nothing and one type, as that type with `null` beside it. A reference stays a choice.
fn nullable(choice: &Map<String, Value>) -> Option<Map<String, Value>> {
    let (null, other) = match choice.get("oneOf")?.as_array()?.as_slice() {
        [null, other] => (null, other.as_object()?),
        _ => return None,
    };
    let word = other.get("type").filter(|_| *null == json!({ "type": "null" }))?.as_str()?;
    let mut form = other.clone();
    form.insert("type".to_owned(), json!([word, "null"]));
    if let Some(Value::Array(words)) = form.get_mut("enum") {
        words.push(Value::Null);
    }
    Some(described(form, choice))
}

/// What is chosen, with what is said of the choice.
fn described(mut chosen: Map<String, Value>, choice: &Map<String, Value>) -> Map<String, Value> {
    chosen
        .extend(choice.iter().filter(|(name, _)| *name != "oneOf").map(|(name, value)| (name.clone(), value.clone())));
    chosen
}

/// Takes `null` out of the types right under a parameter or a body: what may be left out is not given as nothing.
fn never_null(part: &mut Value) {
    match part {
        Value::Array(parts) => parts.iter_mut().for_each(never_null),
        Value::Object(part) => {
            part.iter_mut().filter(|(name, _)| *name == "content").for_each(|(_, content)| never_null_in_any(content));
            if let Some(schema) = part.get_mut("schema") {
                give_one(schema);
            }
        }
        _ => {}
    }
}

fn never_null_in_any(content: &mut Value) {
    content.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(never_null);
}

fn give_one(schema: &mut Value) {
    let only = |words: &Vec<Value>| words.iter().find(|word| *word != "null").cloned();
    if let Some(word) = schema.get("type").and_then(Value::as_array).and_then(only) {
        schema["type"] = word;
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    let reference = schema.get("oneOf").and_then(Value::as_array).and_then(|choice| match choice.as_slice() {
        [null, other] if *null == json!({ "type": "null" }) => Some(other.clone()),
        _ => None,
    });
    if let Some(reference) = reference {
        *schema = reference;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_nothing_is_one_type() {
        let mut document = json!({
            "fields": {
                "key": { "description": "d", "oneOf": [{ "type": "null" }, { "type": "string", "pattern": "p" }] },
                "sort": { "oneOf": [{ "type": "null" }, { "type": "string", "enum": ["a"] }] },
                "next": { "oneOf": [{ "type": "null" }, { "$ref": "#/r" }] },
                "only": { "description": "d", "oneOf": [{ "type": "array", "description": "of all such" }] },
                "either": { "oneOf": [{ "type": "string" }, { "type": "integer" }] },
            },
            "parameters": [{ "schema": { "oneOf": [{ "type": "null" }, { "type": "string", "enum": ["a"] }] } }],
            "requestBody": { "content": { "t": { "schema": { "oneOf": [{ "type": "null" }, { "$ref": "#/r" }] } } } },
        });
        plain(&mut document);
        let expected = json!({
            "fields": {
                "key": { "description": "d", "type": ["string", "null"], "pattern": "p" },
                "sort": { "type": ["string", "null"], "enum": ["a", null] },
                "next": { "oneOf": [{ "type": "null" }, { "$ref": "#/r" }] },
                "only": { "description": "d", "type": "array" },
                "either": { "oneOf": [{ "type": "string" }, { "type": "integer" }] },
            },
            "parameters": [{ "schema": { "type": "string", "enum": ["a"] } }],
            "requestBody": { "content": { "t": { "schema": { "$ref": "#/r" } } } },
        });
        assert_eq!(document, expected);
    }
}
