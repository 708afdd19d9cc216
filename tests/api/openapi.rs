//! The description of the API: that it names every address and no other, and is true of who is let in and how requests are
//! refused. What stock tools make of it, `tests/openapi` tries.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::holder::{guarded, root};
use crate::rights::OPEN;
use crate::support::Server;

/// The routes as they stand in the router.
const ROUTER: &str = include_str!("../../src/api/mod.rs");

const METHODS: [&str; 4] = ["get", "put", "post", "delete"];

/// One operation of the description.
struct Operation {
    method: String,
    path: String,
    id: String,
    said: Value,
}

fn document() -> Value {
    Server::start().get("/openapi.json").json()
}

fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let operation = |(method, said): (&String, &Value)| Operation {
            method: method.clone(),
            path: path.clone(),
            id: said["operationId"].as_str().expect("an id").to_owned(),
            said: said.clone(),
        };
        item.as_object().expect("operations").iter().map(operation).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// What a reference leads to; anything else as it is.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(reference) = value["$ref"].as_str() else { return value };
    let found = document.pointer(reference.trim_start_matches('#'));
    found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

#[test]
fn every_address_is_described_and_no_other() {
    let mut routed = BTreeSet::new();
    for line in ROUTER.lines() {
        let Some((path, handlers)) = line.trim().strip_prefix(".route(\"").and_then(|rest| rest.split_once("\", "))
        else {
            continue;
        };
        let methods = METHODS
            .iter()
            .filter(|method| handlers.starts_with(&format!("{method}(")) || handlers.contains(&format!(").{method}(")));
        routed.extend(methods.map(|method| format!("{method} {path}")));
    }
    assert!(routed.len() > 60, "{routed:?}");
    let described: BTreeSet<_> =
        operations(&document()).iter().map(|of| format!("{} {}", of.method, of.path)).collect();
    assert_eq!(described, routed);
}

#[test]
fn operations_have_names_of_one_style_and_all_references_lead_somewhere() {
    let document = document();
    let mut ids = BTreeSet::new();
    for Operation { id, said, .. } in operations(&document) {
        let (resource, what) =
            id.split_once('_').unwrap_or_else(|| panic!("{id}: a resource and what is done with it"));
        assert!(
            !resource.is_empty() && !what.is_empty() && id.bytes().all(|c| c.is_ascii_lowercase() || c == b'_'),
            "{id}"
        );
        assert!(said["summary"].is_string(), "{id} has no summary");
        let tag = &said["tags"][0];
        assert!(document["tags"].as_array().expect("tags").iter().any(|known| known["name"] == *tag), "{id}: {tag}");
        assert!(ids.insert(id.clone()), "{id} is there twice");
    }
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["info"]["license"]["identifier"].is_string());
    assert_eq!(document["servers"][0]["url"], "/");
    check_references(&document, &document);
}

fn check_references(document: &Value, value: &Value) {
    match value {
        Value::Object(members) => {
            resolved(document, value);
            members.values().for_each(|value| check_references(document, value));
        }
        Value::Array(items) => items.iter().for_each(|value| check_references(document, value)),
        _ => {}
    }
}

#[test]
fn each_operation_says_whether_it_wants_a_token() {
    let document = document();
    assert_eq!(document["security"], json!([{ "token": [] }]));
    let scheme = &document["components"]["securitySchemes"]["token"];
    assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
    for Operation { id, said, .. } in operations(&document) {
        // That those and no others are let in without one, `rights` shows.
        let is_open = said["security"] == json!([]);
        assert_eq!(is_open, OPEN.contains(&id.as_str()), "{id}");
        assert!(is_open || said["security"].is_null(), "{id} has security of its own");
        assert_eq!(is_open, said["responses"]["401"].is_null(), "{id}");
    }
}

#[test]
fn every_refusal_is_a_problem_document() {
    let document = document();
    for Operation { id, said, .. } in operations(&document) {
        let responses = said["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{id} never succeeds");
        for (status, response) in responses.iter().filter(|(status, _)| !status.starts_with('2')) {
            let response = resolved(&document, response);
            let kinds: Vec<_> = response["content"].as_object().expect("content").keys().map(String::as_str).collect();
            match (id.as_str(), status.as_str()) {
                ("health_ready", "503") => assert_eq!(kinds, ["application/json"]),
                ("errors_show", "404") => assert_eq!(kinds, ["application/problem+json", "text/html"]),
                _ => assert_eq!(kinds, ["application/problem+json"], "{id} {status}"),
            }
            if let Some(problem) = response["content"].get("application/problem+json") {
                assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem", "{id} {status}");
            }
            if matches!(status.as_str(), "429" | "503") && id != "health_ready" {
                assert!(response["headers"]["Retry-After"].is_object(), "{id} {status}");
            }
        }
    }
}

#[test]
fn a_body_may_be_left_out_where_the_description_says_so() {
    let server = guarded();
    let root = root(&server);
    let mut optional = 0;
    for Operation { method, path, id, said } in operations(&root.get("/openapi.json").json()) {
        let Some(body) = said.get("requestBody") else { continue };
        let address = path.replace("{id}", "01890a5d-ac96-774b-bcce-b302099a8057").replace("{name}", "no-such-thing");
        let answer = root.send(&method.to_uppercase(), &address.replace("{version}", "1.0.0"), "");
        let is_missed = ["BR0101", "BR0102"].iter().any(|code| answer.json()["code"] == *code);
        let is_optional = body["required"] != json!(true);
        let content = body["content"].as_object().expect("content");
        // Addresses of jobs look for the job first, and no lines at all are lines, too.
        if answer.status != 404 && content.contains_key("application/json") {
            assert_eq!(is_missed, !is_optional, "{id}: {}", answer.text());
        }
        let schemas: Vec<_> = content.values().map(|content| content["schema"].to_string()).collect();
        assert!(!schemas.iter().any(|schema| schema.contains("null")), "{id}: nothing is not a body: {schemas:?}");
        optional += usize::from(is_optional);
    }
    assert!(optional >= 12, "{optional}");
}

#[test]
fn what_makes_jobs_takes_a_key_and_says_that_a_request_was_repeated() {
    let document = document();
    let mut taking = 0;
    for Operation { id, said, .. } in operations(&document) {
        let parameters = said["parameters"].as_array().cloned().unwrap_or_default();
        let takes_key = parameters.iter().any(|of| of["name"] == "Idempotency-Key" && of["in"] == "header");
        let tells = said["responses"]["200"]["headers"]["Idempotent-Replayed"].is_object();
        assert_eq!(takes_key, tells, "{id}");
        taking += usize::from(takes_key);
    }
    assert_eq!(taking, 8);
}

#[test]
fn parameters_are_bounded() {
    let document = document();
    for Operation { id, said, .. } in operations(&document) {
        for parameter in said["parameters"].as_array().cloned().unwrap_or_default() {
            let (name, schema) = (&parameter["name"], &parameter["schema"]);
            let has = |keyword: &str| !schema[keyword].is_null();
            // The host passes over an id that is not one of its own, whatever it is.
            let is_free = parameter["name"] == "Last-Event-ID";
            let is_bounded = is_free
                || match schema["type"].as_str() {
                    Some("string") => has("pattern") || has("enum") || has("maxLength"),
                    Some("integer") => has("minimum") && has("maximum"),
                    Some("boolean") => true,
                    _ => false,
                };
            assert!(is_bounded, "{id} {name}: {schema}");
            assert!(parameter["description"].is_string(), "{id} {name} has no description");
        }
    }
}
