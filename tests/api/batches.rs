//! Many jobs with one progress and one end.

use serde_json::{Value, json};

use crate::support::Server;

const GOOD: &str = r#"{"plugin": "echo"}"#;
const BAD: &str = r#"{"plugin": "echo", "handler": "fail"}"#;

fn id(of: &Value) -> &str {
    of["batch"]["id"].as_str().expect("an id")
}

#[test]
fn a_batch_tells_how_its_jobs_do_and_its_failed_ones_run_again() {
    let server = Server::start();
    let answer = server.post("/v1/batches?name=letters&allowed_failures=0", [GOOD, BAD, BAD].join("\n"));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let taken = answer.json();
    assert_eq!(
        (taken["ids"].as_array().map(Vec::len), &taken["batch"]["name"], &taken["jobs"]["total"]),
        (Some(3), &json!("letters"), &json!(3))
    );
    let ended = server.until(id(&taken), "failed");
    assert_eq!(ended["error"]["code"], "BR0320");
    let path = format!("/v1/batches/{}", id(&taken));
    let jobs = json!({"total": 3, "succeeded": 1, "failed": 2, "canceled": 0});
    assert_eq!(server.get(&path).json()["jobs"], jobs);

    let answer = server.post(&format!("{path}/retry-failed"), r#"{"reason": "mended"}"#);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let again = answer.json();
    assert_eq!((&again["jobs"]["total"], &again["batch"]["retry_of"]), (&json!(2), &taken["batch"]["id"]));
    assert_eq!(server.job(again["ids"][0].as_str().expect("an id"))["retry_of"], taken["ids"][1]);
    server.until(id(&again), "failed");
    assert_eq!(server.get(&path).json()["jobs"], jobs, "the first round is as it was");
}

#[test]
fn a_batch_is_called_off_with_its_jobs() {
    let server = Server::start();
    let waits = r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z"}"#;
    let taken = server.post("/v1/batches", [GOOD, waits, waits].join("\n")).json();
    server.until(taken["ids"][0].as_str().expect("an id"), "succeeded");
    let canceled = server.post(&format!("/v1/jobs/{}/cancel", id(&taken)), "");
    assert_eq!((canceled.status, &canceled.json()["state"]), (200, &json!("canceled")));
    let jobs = json!({"total": 3, "succeeded": 1, "failed": 0, "canceled": 2});
    assert_eq!(server.get(&format!("/v1/batches/{}", id(&taken))).json()["jobs"], jobs);
}

#[test]
fn faulty_batches_are_refused_whole() {
    let server = Server::start();
    let ended = server.run(GOOD);
    for (path, body, said) in [
        ("/v1/batches", "", "a batch has at least one job"),
        ("/v1/batches", "{\"plugin\": \"ecko\"}", "line 1"),
        ("/v1/batches?nmae=x", GOOD, "nmae"),
        ("/v1/batches?allowed_failures=few", GOOD, "allowed_failures"),
        ("/v1/batches?on_complete=ecko", GOOD, "did you mean `echo`?"),
        ("/v1/batches?on_complete=https://example.com/hook", GOOD, "https://example.com is not granted to `http`"),
        (&format!("/v1/batches/{ended}/retry-failed"), "", "it is no batch"),
        ("/v1/batches/01890a5d-ac96-774b-bcce-b302099a8057/retry-failed", "", "no job"),
    ] {
        let refusal = server.post(path, body).refusal();
        assert!(refusal.contains(said), "{path}: {refusal}");
    }
    let listed = server.get("/v1/jobs").json();
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(1), "nothing was taken");
}
