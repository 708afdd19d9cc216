//! Wherever a payload leaves the host, it is counted.

use crate::holder::{JOB, LATER, guarded, root};
use crate::support::{Answer, Server};

/// How often a payload of some kind was given to somebody.
fn count(metrics: &Answer, what: &str) -> u64 {
    let name = format!("backroom_payload_reads_total{{what=\"{what}\"}} ");
    let text = metrics.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&name)).expect("each kind is counted");
    line.parse().expect("a number")
}

#[test]
fn every_address_that_gives_a_payload_counts_it() {
    let server = Server::start();
    let id = server.run(r#"{"plugin": "echo", "handler": "chatty", "input": {"a": 1}}"#);
    let whole = format!("/v1/jobs/{id}");
    let cases = [
        ("output", "GET", whole.clone()),
        ("output", "GET", format!("{whole}/output")),
        ("output", "GET", format!("{whole}/changes")),
        ("output", "POST", "/v1/jobs?wait=20".to_owned()),
        ("input", "GET", format!("{whole}/input")),
        ("logs", "GET", format!("{whole}/logs")),
        ("logs", "GET", format!("{whole}/changes?logs=true")),
    ];
    for (what, method, path) in cases {
        let before = count(&server.get("/metrics"), what);
        let answer = server.send(method, &path, &[], if method == "POST" { JOB.as_bytes() } else { b"" });
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
        assert_eq!(count(&server.get("/metrics"), what), before + 1, "{method} {path}");
    }
}

#[test]
fn what_is_not_given_is_not_counted() {
    let server = guarded();
    let root = root(&server);
    let viewer = root.admit("viewer", "read");
    let (ended, waits) = (root.submit(JOB), root.submit(LATER));
    let before = count(&root.get("/metrics"), "output");
    for path in [format!("/v1/jobs/{ended}"), format!("/v1/jobs/{waits}"), "/v1/jobs".to_owned()] {
        assert_eq!(viewer.get(&path).status, 200, "{path}");
    }
    assert_eq!(viewer.get(&format!("/v1/jobs/{ended}/output")).status, 403);
    assert_eq!(count(&root.get("/metrics"), "output"), before);
}
