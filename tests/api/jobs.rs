//! One job and lists of them.

use backroom::domain::change::Change;
use backroom::domain::plugin::Shape;
use backroom::domain::time::Timestamp;
use backroom::store::Store as _;
use insta::assert_snapshot;
use serde_json::Value;

use crate::stream::Events;
use crate::support::Server;

#[test]
fn a_job_is_taken_and_shown() {
    let server = Server::start();
    let body = r#"{"plugin": "echo", "input": {"b": 1, "a": [1.50, null]}, "name": "First", "tags": ["demo"], "priority": 5,
        "queue": "bulk", "at": "2031-01-01T00:00:00+01:00", "max_attempts": 2}"#;
    let taken = server.post("/v1/jobs", body);
    assert_snapshot!("taken", taken.shown());
    let location = taken.header("location").expect("a location").to_owned();
    assert_eq!(server.get(&location).json(), taken.json());
    let input = server.get(&format!("{location}/input"));
    assert_eq!(input.text(), r#"{"b": 1, "a": [1.50, null]}"#, "the bytes are those of the request");
}

#[test]
fn times_ahead_may_be_given_as_durations() {
    let server = Server::start();
    let job = server.job(&server.submit(r#"{"plugin": "echo", "at": "1h", "expires_on": "2h30m"}"#));
    let time = |field: &str| job[field].as_str().and_then(|text| text.parse::<Timestamp>().ok()).expect(field);
    let hours = |since: Timestamp, until: Timestamp| until.since(since).as_secs_f64() / 3_600.0;
    assert!((hours(time("created_on"), time("postpone_until")) - 1.0).abs() < 0.02, "{job}");
    assert!((hours(time("created_on"), time("expires_on")) - 2.5).abs() < 0.02, "{job}");
    let refused = server.post("/v1/jobs", r#"{"plugin": "echo", "at": "2h", "expires_on": "1h"}"#).refusal();
    assert!(refused.contains("must be later than `at`"), "{refused}");
}

#[test]
fn a_job_that_has_ended_shows_what_it_made_and_used() {
    let server = Server::start();
    let waited = server.post("/v1/jobs?wait=20", r#"{"plugin": "echo", "handler": "chatty"}"#);
    assert_snapshot!("ended", waited.shown());
    let path = format!("/v1/jobs/{}", waited.json()["id"].as_str().expect("an id"));
    assert_snapshot!("attempts", server.get(&format!("{path}/attempts")).shown());
    let logs = server.get(&format!("{path}/logs?attempt=1"));
    assert_snapshot!("logs", logs.shown());
    assert_eq!(logs.header("x-content-type-options"), Some("nosniff"));
    assert_snapshot!("attempt_unknown", server.get(&format!("{path}/logs?attempt=2")).refusal());
}

#[test]
fn a_failed_job_says_why() {
    let server = Server::start();
    let failed = server.post("/v1/jobs?wait=20", r#"{"plugin": "echo", "handler": "fail"}"#).json();
    assert_eq!(failed["state"], "failed");
    assert_snapshot!("error", serde_json::to_string_pretty(&failed["error"]).expect("JSON"));
    let output = server.get(&format!("/v1/jobs/{}/output", failed["id"].as_str().expect("an id")));
    assert_snapshot!("output_of_failed", output.refusal());
}

#[test]
fn outputs_are_shown_in_the_form_that_loses_nothing() {
    let server = Server::start();
    let cases = [
        (r#"{"plugin": "echo", "input": {"z": 1, "a": 1.0}}"#, r#"{"z": 1, "a": 1.0}"#, "json", "application/json"),
        (r#"{"plugin": "echo", "input_text": "two\nlines"}"#, r#""two\nlines""#, "text", "text/plain; charset=utf-8"),
        (r#"{"plugin": "echo", "input": null}"#, "null", "json", "application/json"),
        (r#"{"plugin": "echo"}"#, r#""""#, "text", "text/plain; charset=utf-8"),
        (r#"{"plugin": "echo", "handler": "bytes"}"#, r#"{"base64":"/wD+"}"#, "base64", "application/octet-stream"),
        (r#"{"plugin": "echo", "input_base64": "/wD+"}"#, r#"{"base64":"/wD+"}"#, "base64", "application/octet-stream"),
    ];
    for (body, shown, encoding, kind) in cases {
        let answer = server.post("/v1/jobs?wait=20", body);
        let text = answer.text();
        assert!(text.contains(&format!("\"output\":{shown},\"output_encoding\":\"{encoding}\"")), "{body}: {text}");
        let raw = server.get(&format!("/v1/jobs/{}/output", answer.json()["id"].as_str().expect("an id")));
        assert_eq!(raw.header("content-type"), Some(kind), "{body}");
        assert_eq!(raw.header("x-content-type-options"), Some("nosniff"));
        assert!(raw.header("content-disposition").is_some_and(|value| value.starts_with("attachment;")));
    }
}

#[test]
fn json_nested_too_deep_for_readers_is_shown_as_text_and_a_large_output_not_at_all() {
    let server = Server::start();
    let deep = "[".repeat(20_000) + &"]".repeat(20_000);
    let answer = server.post("/v1/jobs?wait=20", format!(r#"{{"plugin": "echo", "input": {deep}}}"#)).json();
    assert_eq!((&answer["output_encoding"], &answer["output"]), (&Value::from("text"), &Value::from(deep)));
    let large = "x".repeat(100_000);
    let answer = server.post("/v1/jobs?wait=20", format!(r#"{{"plugin": "echo", "input_text": "{large}"}}"#)).json();
    assert_eq!((&answer["output"], &answer["output_bytes"]), (&Value::Null, &Value::from(100_000)));
    let raw = server.get(&format!("/v1/jobs/{}/output", answer["id"].as_str().expect("an id")));
    assert_eq!(raw.text(), large);
}

#[test]
fn waiting_ends_with_the_job_or_with_the_patience() {
    let server = Server::start();
    let held = server.post("/v1/jobs?wait=0", r#"{"plugin": "echo", "handler": "hold", "input": 7}"#);
    assert_eq!((held.status, held.json()["completed_on"].is_null()), (202, true));
    server.gate.open();
    let ended = server.post("/v1/jobs?wait=20", r#"{"plugin": "echo", "handler": "hold", "input": 8}"#);
    assert_eq!((ended.status, &ended.json()["state"]), (201, &Value::from("succeeded")));
}

#[test]
fn a_running_job_is_canceled_and_then_deleted() {
    let server = Server::start();
    let held = server.post("/v1/jobs?wait=0", r#"{"plugin": "echo", "handler": "hold"}"#).json();
    let path = format!("/v1/jobs/{}", held["id"].as_str().expect("an id"));
    let mut changes = Events::open(&server, &format!("{path}/changes"));
    changes.until("running");
    assert_snapshot!("delete_of_unfinished", server.delete(&path).refusal());
    let canceled = server.post(&format!("{path}/cancel"), "");
    assert_eq!(canceled.status, 200, "{}", canceled.text());
    changes.until("canceled");
    assert_snapshot!("cancel_of_ended", server.post(&format!("{path}/cancel"), "").refusal());
    assert_eq!(server.delete(&path).status, 204);
    assert_snapshot!("show_of_deleted", server.get(&path).refusal());
}

#[test]
fn lists_are_filtered_and_paged() {
    let server = Server::start();
    let mut ids: Vec<_> = (0..5)
        .map(|number| {
            server.run(&format!(r#"{{"plugin": "echo", "tags": ["t{}"], "name": "Job {number}"}}"#, number % 2))
        })
        .collect();
    ids.push(server.run(r#"{"plugin": "echo", "handler": "fail"}"#));
    let listed = |query: &str| -> (Vec<usize>, Option<String>) {
        let page = server.get(&format!("/v1/jobs?{query}")).json();
        let jobs = page["jobs"].as_array().unwrap_or_else(|| panic!("{query}: {page}")).clone();
        let place = |job: &Value| ids.iter().position(|id| job["id"] == **id).expect("one of ours");
        (jobs.iter().map(place).collect(), page["next"].as_str().map(str::to_owned))
    };
    assert_eq!(listed(""), (vec![5, 4, 3, 2, 1, 0], None));
    assert_eq!(listed("state=failed,canceled"), (vec![5], None));
    assert_eq!(listed("state=succeeded&tag=t1"), (vec![3, 1], None));
    assert_eq!(listed("handler=fail&plugin=echo"), (vec![5], None));
    assert_eq!(listed("q=JOB%203"), (vec![3], None));
    assert_eq!(listed("q=customer"), (vec![5], None));
    assert_eq!(listed("before=2030-01-01T08:00:00Z"), (vec![], None));
    assert_eq!(listed("from=2030-01-01T08:00:00Z&tag=t0"), (vec![4, 2, 0], None));
    let (first, next) = listed("limit=4");
    let (second, end) = listed(&format!("limit=4&cursor={}", next.expect("a next page")));
    assert_eq!((first, second, end), (vec![5, 4, 3, 2], vec![1, 0], None));
}

/// A command reads text, so a JSON string is its text to one; a document stays JSON, and a handler gets all as it is.
#[test]
fn a_json_string_is_its_text_to_a_command() {
    let server = Server::start();
    let input_of = |body: &str| {
        let id = server.submit(body);
        server.get(&format!("/v1/jobs/{id}/input")).text().to_owned()
    };
    let string = r#"{"plugin": "echo", "at": "1h", "input": "two\nlines \u00fc \"quoted\""}"#;
    assert_eq!(input_of(string), r#""two\nlines \u00fc \"quoted\"""#, "to a handler");

    let mut plugin =
        server.store.plugins().expect("it reads").into_iter().find(|plugin| plugin.name.as_str() == "echo");
    let mut plugin = plugin.take().expect("it is there");
    plugin.versions.iter_mut().for_each(|version| version.inspection.shape = Shape::Command);
    plugin.revision += 1;
    server.store.commit(vec![Change::put(plugin)]).wait().expect("it is written");

    assert_eq!(input_of(string), "two\nlines ü \"quoted\"", "to a command");
    let document = r#"{"plugin": "echo", "at": "1h", "input": {"a": "b"}}"#;
    assert_eq!(input_of(document), r#"{"a": "b"}"#);
    let text = r#"{"plugin": "echo", "at": "1h", "input_text": "\"kept\""}"#;
    assert_eq!(input_of(text), "\"kept\"", "a text is what it is");
    let schedule = br#"{"rule": "FREQ=HOURLY", "plugin": "echo", "input": "hello"}"#;
    let put = server.send("PUT", "/v1/schedules/hourly", &[("content-type", "application/json")], schedule);
    assert_eq!(put.status, 201, "{}", put.text());
    let made = server.post("/v1/schedules/hourly/run", "").json();
    let id = made["id"].as_str().expect("an id");
    assert_eq!(server.get(&format!("/v1/jobs/{id}/input")).text(), "hello");
}
