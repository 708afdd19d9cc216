//! Plug-ins: upload, versions, grants, removal.

use insta::assert_snapshot;
use serde_json::Value;

use crate::stream::Events;
use crate::support::{Server, manifest, wasm};

#[test]
fn versions_come_and_go() {
    let server = Server::bare();
    assert_snapshot!("uploaded", server.upload("echo", "1.0.0", &wasm(1), &manifest("echo", "1.0.0", "")).shown());
    let again = server.upload("echo", "1.0.0", &wasm(1), &manifest("echo", "1.0.0", ""));
    assert_eq!((again.status, &again.json()["repeated"]), (200, &Value::from(true)));
    let other = server.upload("echo", "1.0.0", &wasm(2), &manifest("echo", "1.0.0", ""));
    assert_snapshot!("other_bytes", other.refusal());
    assert_eq!(server.upload("echo", "1.1.0", &wasm(2), &manifest("echo", "1.1.0", "")).status, 201);
    let active = |answer: crate::support::Answer| answer.json()["active"].as_str().map(str::to_owned);
    assert_eq!(active(server.get("/v1/plugins/echo")).as_deref(), Some("1.1.0"));
    assert_eq!(active(server.post("/v1/plugins/echo/rollback", "")).as_deref(), Some("1.0.0"));
    assert_eq!(active(server.post("/v1/plugins/echo/activate", r#"{"version": "1.1.0"}"#)).as_deref(), Some("1.1.0"));
    assert_snapshot!("listed", server.get("/v1/plugins").shown());
    let refused = [
        server.post("/v1/plugins/echo/activate", r#"{"version": "2.0.0"}"#),
        server.post("/v1/plugins/echo/activate", r#"{"version": "two"}"#),
        server.post("/v1/plugins/echo/activate", r#"{"versoin": "1.0.0"}"#),
        server.post("/v1/plugins/ecko/rollback", ""),
        server.upload("echo", "1.2.0", b"\x7fELF", ""),
        server.upload("echo", "next", &wasm(1), ""),
    ];
    assert_snapshot!("refused_versions", refused.map(|answer| answer.refusal()).join("\n"));
}

#[test]
fn a_version_that_asks_for_more_waits_for_the_operator() {
    let server = Server::bare();
    let wants = "[wants]\nhttp = [\"https://api.example.com\"]\nconfig = [\"mail.from\"]\n";
    let pending = server.upload("mailer", "1.0.0", &wasm(1), &manifest("mailer", "1.0.0", wants));
    assert_snapshot!("pending", pending.shown());
    let refused = server.post("/v1/plugins/mailer/activate", r#"{"version": "1.0.0"}"#);
    assert_snapshot!("not_granted", refused.shown());
    let job = server.post("/v1/jobs", r#"{"plugin": "mailer"}"#).json();
    assert_ne!(job["state"], "succeeded");
}

#[test]
fn faulty_manifests_are_refused_with_their_lines() {
    let server = Server::bare();
    let cases = [
        ("typo", manifest("echo", "1.0.0", "[limit]\nfuel = 1\n")),
        ("wrong type", manifest("echo", "1.0.0", "[limits]\nmemory = true\n")),
        ("no TOML", "name = ".to_owned()),
        ("other plug-in", manifest("other", "1.0.0", "")),
        ("too long", format!("# {}\n", "x".repeat(17 << 10))),
    ];
    let mut shown = String::new();
    for (what, manifest) in cases {
        let refusal = server.upload("echo", "1.0.0", &wasm(1), &manifest).refusal();
        shown.push_str(&format!("{what}:\n    {refusal}\n"));
    }
    let path = "/v1/plugins/echo/versions/1.0.0";
    let refusal = server.send("PUT", path, &[("Backroom-Manifest", "?")], &wasm(1)).refusal();
    shown.push_str(&format!("no base64:\n    {refusal}\n"));
    assert_snapshot!("faulty_manifests", shown);
    assert!(server.get("/v1/plugins").json()["plugins"].as_array().is_some_and(Vec::is_empty));
}

#[test]
fn a_plugin_in_use_is_removed_by_force_only() {
    let server = Server::start();
    let held = server.post("/v1/jobs", r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z"}"#);
    assert_eq!(held.status, 201);
    assert_snapshot!("in_use", server.delete("/v1/plugins/echo").refusal());
    assert_snapshot!("force_misspelt", server.delete("/v1/plugins/echo?force=yes").refusal());
    assert_eq!(server.delete("/v1/plugins/echo?force=true").status, 204);
    assert_snapshot!("removed", server.get("/v1/plugins/echo").refusal());
}

#[test]
fn a_disabled_plugin_says_so() {
    let server = Server::start();
    assert_eq!(server.post("/v1/plugins/echo/disable", "").json()["enabled"], false);
    let refused = server.post("/v1/jobs", r#"{"plugin": "echo"}"#);
    assert_eq!((refused.status, &refused.json()["code"]), (409, &Value::from("BR0150")));
    // One that was submitted before is canceled when its turn comes.
    server.post("/v1/plugins/echo/enable", "");
    server.post("/v1/queues/default/pause", "");
    let earlier = server.submit(r#"{"plugin": "echo"}"#);
    server.post("/v1/plugins/echo/disable", "");
    let mut changes = Events::open(&server, &format!("/v1/jobs/{earlier}/changes"));
    server.post("/v1/queues/default/resume", "");
    changes.until("canceled");
    assert_eq!(server.get(&format!("/v1/jobs/{earlier}")).json()["error"]["code"], "BR0313");
    assert_eq!(server.post("/v1/plugins/echo/enable", "").json()["enabled"], true);
    server.run(r#"{"plugin": "echo"}"#);
}
