//! The life of tokens: made, listed, used up, taken back while somebody is at it; and what stands in the host's log.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;

use insta::assert_snapshot;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::holder::{Holder, JOB, guarded, root};
use crate::stream::Events;
use crate::support::{Answer, Server, wasm};

#[test]
fn tokens_are_made_listed_and_revoked() {
    let server = Server::start();
    // Without a token the host is open, and the first one must keep a door.
    let post = |body: &str| server.post("/v1/tokens", body);
    let mut shown = String::new();
    for body in [
        r#"{"name": "reader", "rights": ["read"]}"#,
        r#"{"name": "admin", "rights": ["admin"], "expires_on": "1h"}"#,
        r#"{"name": "Admin", "rights": ["admin"]}"#,
        r#"{"name": "admin", "rights": ["root"]}"#,
        r#"{"name": "admin", "rights": []}"#,
        r#"{"name": "admin", "rights": ["write"]}"#,
        r#"{"name": "admin", "rights": ["admin"], "expires_on": "soon"}"#,
        r#"{"name": "admin", "rights": ["admin"], "expires_on": "2020-01-01T00:00:00Z"}"#,
        r#"{"name": "admin", "right": ["admin"]}"#,
    ] {
        shown.push_str(&format!("{body}\n    {}\n", post(body).refusal()));
    }
    assert_eq!(server.get("/v1/jobs").status, 200, "the host is still open");

    let made = post(r#"{"name": "admin", "rights": ["admin"]}"#);
    assert_eq!((made.status, made.header("cache-control")), (201, Some("no-store")));
    let secret = made.json()["secret"].as_str().expect("a secret").to_owned();
    assert!(secret.starts_with("backroom_") && secret.len() == 73, "{secret}");
    assert_eq!(server.get("/v1/jobs").status, 401, "the first token shuts the door");
    let admin = Holder { server: &server, secret };

    let passing = admin.post("/v1/tokens", r#"{"name": "passing", "rights": ["admin"], "expires_on": "1h"}"#).json();
    let passing = Holder { server: &server, secret: passing["secret"].as_str().expect("a secret").to_owned() };
    let reader = passing.admit("reader", "read submit");
    shown.push_str(&format!(
        "again\n    {}\n",
        admin.post("/v1/tokens", r#"{"name": "reader", "rights": ["read"]}"#).refusal()
    ));
    shown.push_str(&format!("last admin\n    {}\n", admin.send("DELETE", "/v1/tokens/admin", "").refusal()));
    shown.push_str(&format!("unknown\n    {}\n", admin.send("DELETE", "/v1/tokens/ghost", "").refusal()));
    assert_snapshot!("bad_tokens", shown);
    let listed = admin.get("/v1/tokens");
    assert!(!listed.text().contains(&reader.secret), "secrets are not told again");
    assert_snapshot!("tokens_listed", listed.shown());

    assert_eq!(reader.get("/v1/jobs").status, 200);
    assert_eq!(reader.get("/v1/tokens").status, 403);
    assert_eq!(admin.send("DELETE", "/v1/tokens/reader", "").status, 204);
    assert_eq!(reader.get("/v1/jobs").refusal().lines().next(), Some("401 BR0114 the token is not one of this host"));

    server.pass(std::time::Duration::from_secs(3_600));
    let expired = passing.get("/v1/jobs").refusal();
    assert_eq!(expired.lines().next(), Some("401 BR0114 the token `passing` expired on 2030-01-01T09:00:00.000Z"));
    assert_eq!(admin.get("/v1/tokens").json()["tokens"][1]["expired"], true);
    assert_eq!(admin.send("DELETE", "/v1/tokens/passing", "").status, 204);
    assert_eq!(admin.send("DELETE", "/v1/tokens/admin", "").json()["code"], "BR0124", "it does not open by the way");
    assert_eq!(admin.send("DELETE", "/v1/tokens/admin?last=true", "").status, 204);
    assert_eq!(server.get("/v1/jobs").status, 200, "without tokens the host is open again");
}

#[test]
fn who_has_lost_his_token_while_he_was_sending_is_refused() {
    let server = guarded();
    let root = root(&server);
    let body = json!({ "name": "heir", "rights": ["admin"] }).to_string();
    for (request, body) in [("POST /v1/tokens", body.as_bytes()), ("PUT /v1/plugins/worm/versions/1.0.0", &wasm(3))] {
        let admin = root.admit("admin", "admin");
        let head = format!(
            "{request} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            server.address,
            admin.secret,
            body.len()
        );
        let mut sending = server.connect();
        sending.write_all(head.as_bytes()).expect("the head is sent");
        let (first, rest) = body.split_at(3);
        sending.write_all(first).expect("a part is sent");
        // That the host answers him on another connection shows that it knows him; the first one has its head by now.
        assert_eq!(admin.get("/v1/tokens").status, 200);
        assert_eq!(root.send("DELETE", "/v1/tokens/admin", "").status, 204);
        sending.write_all(rest).expect("the rest is sent");
        assert_eq!(Answer::read(sending).status, 401, "{request}");
    }
    assert_eq!(root.get("/v1/tokens").json()["tokens"], json!([]));
    assert_eq!(root.get("/v1/plugins/worm").status, 404);
}

#[test]
fn who_loses_his_token_while_he_waits_is_told_that_the_job_was_taken_and_no_more() {
    let server = guarded();
    let root = root(&server);
    let shop = root.admit("shop", "submit read:own payload:own");
    let held = r#"{"plugin": "echo", "handler": "hold", "input": {"card": "4111"}}"#;
    std::thread::scope(|scope| {
        // Only who listens already is sure to hear that the job runs.
        let mut all = Events::open_as(&server, "/v1/stream", "root");
        let waiting = scope.spawn(|| shop.post("/v1/jobs?wait=20", held));
        while all.next_job()["state"] != "running" {}
        assert_eq!(root.send("DELETE", "/v1/tokens/shop", "").status, 204);
        server.gate.open();
        let answer = waiting.join().expect("he is answered");
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_eq!((&answer.json()["state"], &answer.json()["output"]), (&json!("queued"), &Value::Null));
        assert!(answer.header("location").is_some());
    });
}

#[test]
fn a_stream_tells_of_every_job_while_tokens_come_and_go() {
    let server = guarded();
    let root = root(&server);
    let mut all = Events::open_as(&server, "/v1/stream", "root");
    let mut ids = BTreeSet::new();
    for number in 0..20 {
        let name = format!("guest-{number}");
        root.admit(&name, "read");
        ids.insert(root.run(JOB));
        assert_eq!(root.send("DELETE", &format!("/v1/tokens/{name}"), "").status, 204);
    }
    while !ids.is_empty() {
        ids.remove(all.next_job()["id"].as_str().expect("an id"));
    }
}

/// What the hosts of this process log, shared with whoever asks.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_administrators_ask_for_stands_in_the_hosts_log() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let server = guarded();
    let root = root(&server);
    let keeper = root.admit("keeper-of-the-log", "admin");
    keeper.get("/v1/queues");
    keeper.get("/v1/tokens");
    keeper.post("/v1/queues/default/pause", r#"{"reason": "spring cleaning"}"#);
    keeper.post("/v1/jobs/purge?state=failed&older_than=7d", "");
    keeper.submit(JOB);
    let text = String::from_utf8_lossy(&log.0.lock()).into_owned();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("by=\"keeper-of-the-log\"")).collect();
    let wanted = [
        "asked for: POST /v1/queues/default/pause",
        "reason=\"spring cleaning\"",
        "asked for: POST /v1/jobs/purge?state=failed&older_than=7d",
    ];
    assert_eq!(lines.len(), wanted.len(), "{text}");
    assert!(lines.iter().zip(wanted).all(|(line, wanted)| line.contains(wanted)), "{lines:?}");
}
