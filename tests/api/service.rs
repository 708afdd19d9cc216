//! The host as a whole, and its health.

use insta::assert_snapshot;

use crate::support::Server;

#[test]
fn the_service_is_paused_resumed_and_drained() {
    let server = Server::start();
    let shown = server.get("/v1/service").shown();
    insta::with_settings!({filters => vec![(env!("CARGO_PKG_VERSION"), "[version]")]}, {
        assert_snapshot!("service", shown);
    });
    assert_eq!(server.post("/v1/service/pause", "").json()["state"], "paused");
    let job = server.post("/v1/jobs?wait=0", r#"{"plugin": "echo"}"#).json();
    assert_eq!(job["state"], "queued");
    assert_eq!(server.get("/readyz").status, 200, "a paused host takes jobs");
    assert_eq!(server.post("/v1/service/resume", "").json()["state"], "running");
    let path = format!("/v1/jobs/{}/changes", job["id"].as_str().expect("an id"));
    assert!(server.get(&path).text().contains("\"state\":\"succeeded\""));
    assert_eq!(server.post("/v1/service/drain", "").json()["state"], "draining");
    assert_snapshot!("not_ready", server.get("/readyz").shown());
    assert_snapshot!("alive", server.get("/healthz").shown());
}

#[test]
fn jobs_are_counted_by_plugin_and_state() {
    let server = Server::start();
    server.run(r#"{"plugin": "echo"}"#);
    server.run(r#"{"plugin": "echo"}"#);
    server.run(r#"{"plugin": "echo", "handler": "fail"}"#);
    server.post("/v1/jobs", r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z"}"#);
    let counts = server.get("/v1/counts").json();
    assert_eq!(counts["all"], counts["plugins"][0]["counts"]);
    assert_snapshot!("counts", serde_json::to_string(&counts["plugins"]).expect("JSON"));
    let metrics = server.get("/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = metrics.text();
    for line in [
        "backroom_jobs{plugin=\"echo\",state=\"succeeded\"} 2",
        "backroom_jobs{plugin=\"echo\",state=\"failed\"} 1",
        "backroom_jobs{plugin=\"echo\",state=\"waiting\"} 1",
        "backroom_queue_length 0",
        "backroom_service_state{state=\"running\"} 1",
    ] {
        assert!(text.lines().any(|there| there == line), "{line} is not in\n{text}");
    }
    let commits = text.lines().find_map(|line| line.strip_prefix("backroom_store_commits_total "));
    assert!(commits.and_then(|number| number.parse::<u64>().ok()).is_some_and(|number| number >= 4), "{text}");
}
