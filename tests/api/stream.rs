//! Changes as server-sent events.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::Server;

/// An open stream of events.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    pub(crate) fn open(server: &Server, path: &str) -> Self {
        Self::open_with(server, path, "")
    }

    /// The stream that the holder of a token is given.
    pub(crate) fn open_as(server: &Server, path: &str, secret: &str) -> Self {
        Self::open_with(server, path, &format!("Authorization: Bearer {secret}\r\n"))
    }

    fn open_with(server: &Server, path: &str, header: &str) -> Self {
        let mut stream = server.connect();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{header}\r\n", server.address);
        stream.write_all(head.as_bytes()).expect("the request is sent");
        let mut events = Self(BufReader::new(stream));
        assert_eq!(events.line().as_deref(), Some("HTTP/1.1 200 OK"));
        while events.line().is_some_and(|line| !line.is_empty()) {}
        events
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(line.trim_end().to_owned())
    }

    /// Reads until the job is in a state.
    pub(crate) fn until(&mut self, state: &str) {
        while self.next().expect("the job gets there").1["state"] != state {}
    }

    /// The view of the next job that is told of.
    pub(crate) fn next_job(&mut self) -> Value {
        loop {
            let (name, view) = self.next().expect("another job is told of");
            if name == "job" {
                return view;
            }
        }
    }

    /// Reads until the host ends the stream; what it told.
    pub(crate) fn read_to_the_end(&mut self) -> String {
        std::iter::from_fn(|| self.next()).map(|(name, data)| format!("{name} {data}\n")).collect()
    }

    /// The name and data of the next event; none at the end of the stream.
    fn next(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        loop {
            let line = self.line()?;
            if let Some(told) = line.strip_prefix("event: ") {
                told.clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).expect("JSON")));
            } else if line == "0" {
                // The last chunk of the answer.
                return None;
            }
        }
    }
}

#[test]
fn a_jobs_changes_are_told_until_it_ends() {
    let server = Server::start();
    let job = server.post("/v1/jobs", r#"{"plugin": "echo", "handler": "hold", "input": {"a": 1}}"#).json();
    let mut events = Events::open(&server, &format!("/v1/jobs/{}/changes", job["id"].as_str().expect("an id")));
    let mut states = Vec::new();
    while let Some((name, view)) = events.next() {
        assert_eq!((name.as_str(), &view["id"]), ("job", &job["id"]));
        let state = view["state"].as_str().expect("a state").to_owned();
        if state == "running" && view["progress"]["note"] == "half-way" {
            server.gate.open();
        }
        states.push(state);
        if view["state"] == "succeeded" {
            assert_eq!(view["output"], serde_json::json!({"a": 1}));
        }
    }
    assert_eq!(states.last().map(String::as_str), Some("succeeded"), "{states:?}");
    assert!(states.contains(&"running".to_owned()), "{states:?}");
}

#[test]
fn the_cancel_of_a_waiting_job_is_told() {
    let server = Server::start();
    let job = server.post("/v1/jobs", r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z"}"#).json();
    let path = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
    let mut events = Events::open(&server, &format!("{path}/changes"));
    assert_eq!(events.next().map(|(_, view)| view["state"].clone()), Some(Value::from("waiting")));
    assert_eq!(server.post(&format!("{path}/cancel"), "").status, 200);
    assert_eq!(events.next().map(|(_, view)| view["state"].clone()), Some(Value::from("canceled")));
    assert_eq!(events.next(), None);
}

#[test]
fn all_changes_are_told_and_the_stream_ends_with_the_host() {
    let server = Server::start();
    let mut events = Events::open(&server, "/v1/stream");
    let id = server.run(r#"{"plugin": "echo"}"#);
    loop {
        let (name, view) = events.next().expect("the job is told of");
        assert_eq!((name.as_str(), view["id"].as_str()), ("job", Some(id.as_str())));
        if view["state"] == "succeeded" {
            break;
        }
    }
    assert_eq!(server.delete(&format!("/v1/jobs/{id}")).status, 204);
    // An earlier change of the job may be told once more before its end is.
    while events.next().expect("the deletion is told of").0 != "missed" {}
    server.close_streams();
    assert_eq!(events.next(), None);
}

#[test]
fn streams_are_bounded() {
    let server = Server::start();
    let open: Vec<_> = (0..256).map(|_| Events::open(&server, "/v1/stream")).collect();
    let refused = server.get("/v1/stream");
    assert_eq!(refused.header("retry-after"), Some("1"));
    insta::assert_snapshot!("too_many_streams", refused.refusal());
    assert_eq!(server.get("/v1/jobs").status, 200, "other requests go on");
    drop(open);
}

#[test]
fn a_log_is_told_while_the_job_runs_and_once() {
    let server = Server::start();
    let id = server.submit(r#"{"plugin": "echo", "handler": "chatty", "input_text": "held"}"#);
    let mut events = Events::open(&server, &format!("/v1/jobs/{id}/changes?logs=true"));
    let log = loop {
        let (name, data) = events.next().expect("the log is told of");
        if name == "log" {
            break data;
        }
        assert_ne!(data["state"], "succeeded", "the log comes before the end");
    };
    let text = "first line\nsecond <line>\n";
    assert_eq!(log, serde_json::json!({ "run": 1, "attempt": 1, "line": 0, "text": text }));
    assert_eq!(server.get(&format!("/v1/jobs/{id}/logs")).text(), text, "the log so far");
    server.gate.open();
    let rest = events.read_to_the_end();
    assert!(rest.contains("\"state\":\"succeeded\"") && !rest.contains("log {"), "{rest}");
    // Of a job that has ended the log of its last run comes first.
    let ended = Events::open(&server, &format!("/v1/jobs/{id}/changes?logs=true")).read_to_the_end();
    assert!(ended.starts_with("log {") && ended.contains("\"state\":\"succeeded\""), "{ended}");
    let without = Events::open(&server, &format!("/v1/jobs/{id}/changes")).read_to_the_end();
    assert!(!without.contains("log {"), "{without}");
}
