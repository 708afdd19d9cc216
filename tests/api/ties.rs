//! What a caller may ask of a job beyond its input: version, order, dedup, deadline, follow-up.

use serde_json::{Value, json};

use crate::stream::Events;
use crate::support::{Server, manifest, wasm};

/// A server whose jobs stay where they are.
fn paused() -> Server {
    let server = Server::start();
    assert_eq!(server.post("/v1/service/pause", "").status, 200);
    server
}

fn refusal(server: &Server, body: &Value) -> String {
    server.post("/v1/jobs", body.to_string()).refusal()
}

#[test]
fn every_field_of_a_submit_is_shown_again() {
    let server = paused();
    let first = server.submit(r#"{"plugin": "echo"}"#);
    let body = json!({
        "plugin": "echo", "version": "1.0.0", "ordering_key": "invoice/17", "after": [first, first],
        "on_predecessor_failure": "block", "dedup_key": "nightly", "regarding": "invoice/17", "parent": first,
        "deadline": "20s", "auto_delete": true, "queue": "mail",
        "on_complete": {"plugin": "echo", "handler": "chatty", "queue": "bulk"},
    });
    let job = server.job(&server.submit(&body.to_string()));
    let expected = json!({
        "version": "1.0.0", "ordering_key": "invoice/17", "after": [first], "on_predecessor_failure": "block",
        "dedup_key": "nightly", "regarding": "invoice/17", "batch": null, "schedule": null, "retry_of": null,
        "deadline_ms": 20_000, "auto_delete": true, "queue": "mail", "correlation_id": first, "depth": 1,
        "on_complete": {"plugin": "echo", "handler": "chatty", "queue": "bulk"}, "blocked_by": [first],
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&job[name], value, "{name}");
    }
}

#[test]
fn faulty_fields_say_what_they_may_be() {
    let server = paused();
    let job = server.submit(r#"{"plugin": "echo"}"#);
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    let cases = [
        (json!({"queue": "bulks"}), "did you mean `bulk`?"),
        (json!({"queue": "elsewhere"}), "there are bulk, default, mail, maintenance"),
        (json!({"version": "2.0.0"}), "has no version `2.0.0`; it has 1.0.0"),
        (json!({"version": "two"}), "it must look like 1.2.3"),
        (json!({"after": [nobody]}), "after names job 01890a5d-ac96-774b-bcce-b302099a8057, which does not exist"),
        (json!({"after": ["17"]}), "field `after`: `17` is no job id"),
        (json!({"after": vec![job.clone(); 65]}), "field `after` names 65 jobs; at most 64 are taken"),
        (json!({"parent": nobody}), "parent names job"),
        (json!({"batch": job}), "is no batch that still takes jobs"),
        (json!({"on_predecessor_failure": "blok"}), "did you mean `block`?"),
        (json!({"ordering_key": ""}), "it is empty"),
        (json!({"dedup_key": "x".repeat(257)}), "it is longer than 256 bytes"),
        (json!({"regarding": "invoice"}), "it must look like entity/id"),
        (json!({"deadline": "1d"}), "it must be shorter than a day"),
        (json!({"deadline": "0s"}), "no handler is done in no time"),
        (json!({"deadline": "31s"}), "the deadline of 31s is beyond the plug-in's limit of 30s for a run"),
        (json!({"deadline": "soon"}), "is no duration such as 5s"),
        (
            json!({"on_complete": {"plugin": "ecko"}}),
            "field `on_complete`: there is no plug-in `ecko`; did you mean `echo`?",
        ),
        (json!({"on_complete": {"plugin": "echo", "handler": "x"}}), "has no handler `x`"),
        (json!({"on_complete": {"plugin": "echo", "queue": "x"}}), "there is no queue `x`"),
        (json!({"on_complete": {"plugin": "echo", "input": 1}}), "unknown field `input`"),
        (json!({"on_complete": {}}), "field `on_complete` needs a `plugin` or a `url`"),
        (json!({"on_complete": {"plugin": "http"}}), "the built-in handler `http` needs a `url`"),
        (json!({"on_complete": {"url": "nonsense"}}), "`url` is not acceptable"),
        (
            json!({"on_complete": {"plugin": "echo", "url": "https://example.com"}}),
            "belongs to the built-in handler `http`, not to `echo`",
        ),
        (json!({"ordering": "x"}), "did you mean `ordering_key`?"),
    ];
    for (mut body, expected) in cases {
        body["plugin"] = "echo".into();
        let refused = refusal(&server, &body);
        assert!(refused.starts_with("4") && refused.contains(expected), "{body}: {refused}");
        let line = server.post("/v1/jobs/bulk", body.to_string());
        let detail = line.json()["errors"][0]["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(expected), "{body}: {}", line.text());
    }
    assert_eq!(server.get("/v1/jobs").json()["jobs"].as_array().map(Vec::len), Some(1), "nothing else was taken");
}

#[test]
fn a_repeated_dedup_key_returns_the_unfinished_job() {
    let server = paused();
    let body = r#"{"plugin": "echo", "dedup_key": "one"}"#;
    let first = server.post("/v1/jobs", body);
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None));
    let again = server.post("/v1/jobs", body);
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, Some("true")));
    assert_eq!(again.json()["id"], first.json()["id"]);
    let bulk = server.post("/v1/jobs/bulk", body).json();
    assert_eq!(bulk["errors"][0]["code"], "BR0118", "{bulk}");
    server.post("/v1/service/resume", "");
    server.until(first.json()["id"].as_str().expect("an id"), "succeeded");
    assert_eq!(server.post("/v1/jobs", body).status, 201, "the first one has ended");
}

#[test]
fn jobs_of_one_key_wait_for_each_other_and_say_so() {
    let server = Server::start();
    let body = r#"{"plugin": "echo", "handler": "hold", "ordering_key": "k"}"#;
    let (first, second) = (server.submit(body), server.submit(body));
    server.until(&first, "running");
    assert_eq!(server.job(&second)["blocked_by"], json!([first]));
    assert_eq!(server.job(&first)["blocked_by"], Value::Null);
    server.gate.open();
    server.until(&second, "succeeded");
    assert_eq!(server.job(&second)["blocked_by"], Value::Null);
}

#[test]
fn a_job_that_names_a_version_runs_that_one() {
    let server = Server::start();
    assert_eq!(server.upload("echo", "2.0.0", &wasm(2), &manifest("echo", "2.0.0", "")).status, 201);
    let newest = server.job(&server.run(r#"{"plugin": "echo"}"#));
    let chosen = server.job(&server.run(r#"{"plugin": "echo", "version": "1.0.0"}"#));
    assert_eq!((&newest["plugin"]["version"], &newest["version"]), (&json!("2.0.0"), &Value::Null));
    assert_eq!((&chosen["plugin"]["version"], &chosen["version"]), (&json!("1.0.0"), &json!("1.0.0")));
}

#[test]
fn f024_an_auto_delete_job_goes_when_it_succeeds_and_stays_when_it_fails() {
    let server = Server::start();
    let gone = server
        .post("/v1/jobs?wait=20", r#"{"plugin": "echo", "auto_delete": true, "on_complete": {"plugin": "echo"}}"#);
    // Whoever waits hears how it went, and so does who asks a moment later.
    assert_eq!((gone.status, &gone.json()["state"]), (201, &json!("succeeded")));
    let gone = gone.json()["id"].as_str().expect("an id").to_owned();
    Events::open(&server, &format!("/v1/jobs/{gone}/changes")).until("succeeded");
    let followers = || server.get(&format!("/v1/jobs?chain={gone}")).json()["jobs"].clone();
    let follower = followers()[0]["id"].as_str().expect("it was submitted in the same commit").to_owned();
    server.until(&follower, "succeeded");
    assert_eq!(server.job(&follower)["output"]["job"], gone.as_str());
    assert_eq!(server.get(&format!("/v1/jobs/{gone}")).status, 404);
    let kept = server.run(r#"{"plugin": "echo", "handler": "fail", "auto_delete": true}"#);
    assert_eq!(server.job(&kept)["state"], "failed");
}

#[test]
fn a_retry_keeps_the_dedup_key_and_waits_for_no_other_that_has_it() {
    let server = Server::start();
    let failed =
        |handler: &str| server.run(&json!({"plugin": "echo", "handler": handler, "dedup_key": "d"}).to_string());
    let (first, second) = (failed("fail"), failed("fail"));
    let holder = server.submit(r#"{"plugin": "echo", "handler": "hold", "dedup_key": "d"}"#);
    let retry = |id: &str| server.post(&format!("/v1/jobs/{id}/retry"), "");
    let refused = retry(&first);
    assert_eq!((refused.status, refused.json()["code"].as_str()), (409, Some("BR0118")), "{}", refused.text());
    assert!(refused.json()["detail"].as_str().is_some_and(|detail| detail.contains(&holder)), "it names the holder");
    let all = |dry_run: bool| {
        let body = json!({"action": "retry", "filter": {"state": "failed"}, "dry_run": dry_run});
        server.post("/v1/jobs/actions", body.to_string()).json()
    };
    let counts = |answer: &Value| (answer["changed"].clone(), answer["refused"].clone());
    assert_eq!((counts(&all(true)), counts(&all(false))), ((json!(0), json!(2)), (json!(0), json!(2))));
    server.gate.open();
    server.until(&holder, "succeeded");
    // Of two of the same request one has it; the preview says so before.
    let (would, done) = (all(true), all(false));
    assert_eq!((counts(&would), counts(&done)), ((json!(1), json!(1)), (json!(1), json!(1))));
    let results = done["results"].as_array().expect("results");
    let of = |id: &str| results.iter().find(|result| result["id"] == id).expect("it matched").clone();
    let again = of(&first)["retried_as"].as_str().expect("the oldest comes first").to_owned();
    assert!(of(&second)["error"].as_str().is_some_and(|why| why.contains(&again)), "{done}");
    assert_eq!(server.job(&again)["dedup_key"], "d");
}

#[test]
fn a_batch_runs_again_with_its_dedup_keys_or_not_at_all() {
    let server = Server::start();
    let lines = r#"{"plugin": "echo", "handler": "fail", "dedup_key": "d"}"#;
    let batch = server.post("/v1/batches", lines).json()["batch"]["id"].as_str().expect("an id").to_owned();
    server.until(&batch, "failed");
    let holder = server.submit(r#"{"plugin": "echo", "handler": "hold", "dedup_key": "d"}"#);
    let retry = || server.post(&format!("/v1/batches/{batch}/retry-failed"), "");
    let refused = retry();
    assert_eq!((refused.status, refused.json()["code"].as_str()), (409, Some("BR0118")), "{}", refused.text());
    assert!(refused.json()["detail"].as_str().is_some_and(|detail| detail.contains(&holder)));
    server.gate.open();
    server.until(&holder, "succeeded");
    assert_eq!(retry().status, 201);
}
