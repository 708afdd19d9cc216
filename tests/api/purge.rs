//! Removing finished jobs at once.

use serde_json::json;

use crate::support::Server;

const GOOD: &str = r#"{"plugin": "echo"}"#;
const BAD: &str = r#"{"plugin": "echo", "handler": "fail"}"#;

#[test]
fn f110_a_purge_removes_only_what_has_ended_so_and_counts_stay_right() {
    let server = Server::start();
    let kept = server.run(BAD);
    let waits = server.submit(r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z"}"#);
    let gone = server.run(GOOD);
    let preview = server.post("/v1/jobs/purge?state=succeeded,canceled&older_than=0s&dry_run=true", "").json();
    assert_eq!((&preview["looked_at"], &preview["removed"], &preview["dry_run"]), (&json!(3), &json!(1), &json!(true)));
    assert_eq!(server.job(&gone)["state"], "succeeded", "it was only counted");

    let purged = server.post("/v1/jobs/purge?state=succeeded,canceled&older_than=0s", "").json();
    assert_eq!(purged["removed"], 1);
    assert_eq!(server.get(&format!("/v1/jobs/{gone}")).status, 404);
    assert_eq!((&server.job(&kept)["state"], &server.job(&waits)["state"]), (&json!("failed"), &json!("waiting")));
    let counts = &server.get("/v1/counts").json()["all"];
    assert_eq!((&counts["succeeded"], &counts["failed"], &counts["waiting"]), (&json!(0), &json!(1), &json!(1)));
    let young = server.post("/v1/jobs/purge?state=failed&older_than=1d", "").json();
    assert_eq!(young["removed"], 0, "it has not been there for a day");
}

#[test]
fn f110_a_purge_may_be_of_one_type() {
    let server = Server::start();
    let taken = server.post("/v1/batches", GOOD).json();
    let batch = taken["batch"]["id"].as_str().expect("an id").to_owned();
    server.until(&batch, "succeeded");
    let single = server.run(GOOD);
    let purge = |query: &str| server.post(&format!("/v1/jobs/purge?state=succeeded&older_than=0s{query}"), "");
    assert_eq!(purge("&type=workflow").json()["removed"], 0);
    assert_eq!(purge("&type=batch").json()["removed"], 1);
    assert_eq!(
        (server.get(&format!("/v1/jobs/{batch}")).status, server.job(&single)["state"].clone()),
        (404, json!("succeeded"))
    );
    assert_eq!(purge("&type=54").json()["removed"], 2);
    assert!(purge("&dry_run=").refusal().contains("`dry_run` is empty"), "it would not be dry");
    assert!(purge("&type=").refusal().contains("`type` is empty"), "it would take all types");
    assert!(purge("&type=batsh").refusal().contains("did you mean `batch`?"));
}

/// How fast that is, `backroom bench --backlog` measures.
#[test]
fn f111_thousands_of_finished_jobs_go_at_once() {
    let server = Server::start();
    let lines = vec![GOOD; 6_000].join("\n");
    let taken = server.post("/v1/batches", lines).json();
    server.until(taken["batch"]["id"].as_str().expect("an id"), "succeeded");
    let purged = server.post("/v1/jobs/purge?state=succeeded&older_than=0s", "").json();
    assert_eq!(purged["removed"], 6_001);
    assert_eq!(server.get("/v1/jobs").json()["jobs"], json!([]));
    assert_eq!(server.get("/v1/counts").json()["all"]["succeeded"], 0);
}

#[test]
fn a_purge_says_what_it_needs() {
    let server = Server::start();
    for (query, said) in [
        ("", "give `older_than`, such as `7d`"),
        ("?older_than=7d", "give `state`, such as `succeeded,canceled`"),
        ("?older_than=7d&state=suceeded", "did you mean `succeeded`?"),
        ("?older_than=7d&state=running", "running"),
        ("?older_than=soon&state=failed", "older_than"),
        ("?older_than=7d&state=failed&dry=true", "dry"),
    ] {
        let refusal = server.post(&format!("/v1/jobs/purge{query}"), "").refusal();
        assert!(refusal.contains(said), "{query}: {refusal}");
    }
}
