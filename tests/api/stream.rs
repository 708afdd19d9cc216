//! Changes as server-sent events.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use backroom::domain::change::Change;
use backroom::domain::id::{JobId, PluginName, TokenName};
use backroom::domain::job::Submission;
use backroom::domain::time::Timestamp;
use backroom::store::Store as _;
use backroom::store::memory::Reading;
use serde_json::Value;

use crate::holder::{guarded, root};
use crate::support::{PATIENCE, Server};

/// An open stream of events.
pub(crate) struct Events {
    lines: BufReader<TcpStream>,
    /// The id of the last event that had one, as a browser keeps it.
    last_id: String,
}

impl Events {
    pub(crate) fn open(server: &Server, path: &str) -> Self {
        Self::open_with(server, path, "")
    }

    /// The stream that the holder of a token is given.
    pub(crate) fn open_as(server: &Server, path: &str, secret: &str) -> Self {
        Self::open_with(server, path, &format!("Authorization: Bearer {secret}\r\n"))
    }

    /// The stream that a browser is given which comes back.
    fn open_again(server: &Server, path: &str, last_id: &str) -> Self {
        Self::open_with(server, path, &format!("Last-Event-ID: {last_id}\r\n"))
    }

    fn open_with(server: &Server, path: &str, header: &str) -> Self {
        let mut stream = server.connect();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{header}\r\n", server.address);
        stream.write_all(head.as_bytes()).expect("the request is sent");
        let mut events = Self { lines: BufReader::new(stream), last_id: String::new() };
        assert_eq!(events.line().as_deref(), Some("HTTP/1.1 200 OK"));
        while events.line().is_some_and(|line| !line.is_empty()) {}
        events
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(line.trim_end().to_owned())
    }

    /// Reads until the job is in a state.
    #[track_caller]
    pub(crate) fn until(&mut self, state: &str) {
        while self.next().expect("the job gets there").1["state"] != state {}
    }

    /// Reads until the handler of the job says that it has begun.
    #[track_caller]
    pub(crate) fn until_begun(&mut self) {
        while self.next().expect("the job gets there").1["progress"]["done"] != 1 {}
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
    #[track_caller]
    fn next(&mut self) -> Option<(String, Value)> {
        let (mut name, mut data) = (String::new(), None);
        let began = Instant::now();
        loop {
            let line = self.line()?;
            // A host that has nothing to tell says that it lives, for ever.
            assert!(began.elapsed() < PATIENCE, "no event came for {PATIENCE:?}");
            if line.is_empty() && data.is_some() {
                return data.map(|data| (name, data));
            }
            if let Some(id) = line.strip_prefix("id: ") {
                id.clone_into(&mut self.last_id);
            } else if let Some(told) = line.strip_prefix("event: ") {
                told.clone_into(&mut name);
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(text).expect("JSON"));
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

#[test]
fn whoever_comes_back_to_a_job_goes_on_where_he_was_and_does_not_come_back_for_ever() {
    let server = Server::start();
    let id = server.submit(r#"{"plugin": "echo", "handler": "hold"}"#);
    let path = format!("/v1/jobs/{id}/changes");
    let mut events = Events::open(&server, &path);
    events.until("running");
    let running = std::mem::take(&mut events.last_id);
    drop(events);
    server.gate.open();
    server.until(&id, "succeeded");
    let mut back = Events::open_again(&server, &path, &running);
    let told: Vec<_> = std::iter::from_fn(|| back.next()).map(|(_, view)| view["state"].clone()).collect();
    assert_eq!(told, ["succeeded"], "only what is new");
    for path in [path.clone(), format!("{path}?logs=true")] {
        let over = server.send("GET", &path, &[("Last-Event-ID", &back.last_id)], b"");
        assert_eq!((over.status, over.body.len()), (204, 0), "{}", over.text());
    }
    // What is no id of ours is as none.
    for id in ["x", "", "0.0.0", "99999999999.1.1"] {
        let whole = Events::open_again(&server, &path, id).read_to_the_end();
        assert!(whole.starts_with("job {") && whole.contains("succeeded"), "{id}: {whole}");
    }
    assert_eq!(server.delete(&format!("/v1/jobs/{id}")).status, 204);
    assert_eq!(server.send("GET", &path, &[("Last-Event-ID", &back.last_id)], b"").status, 404);
}

#[test]
fn whoever_comes_back_to_a_log_reads_no_line_twice() {
    let server = Server::start();
    let id = server.submit(r#"{"plugin": "echo", "handler": "chatty", "input_text": "held"}"#);
    let path = format!("/v1/jobs/{id}/changes?logs=true");
    let mut events = Events::open(&server, &path);
    while events.next().expect("the log is told of").0 != "log" {}
    let heard = std::mem::take(&mut events.last_id);
    drop(events);
    let mut back = Events::open_again(&server, &path, &heard);
    server.gate.open();
    let rest = back.read_to_the_end();
    assert!(rest.contains("succeeded") && !rest.contains("log {"), "{rest}");
    let before = heard.rsplit_once('.').map(|(place, _)| format!("{place}.1")).expect("a place");
    let second = Events::open_again(&server, &path, &before).read_to_the_end();
    assert!(second.contains("second <line>") && !second.contains("first line"), "{second}");
}

#[test]
fn whoever_comes_back_to_all_jobs_hears_what_changed_meanwhile_or_that_he_missed_something() {
    let server = Server::start();
    let mut events = Events::open(&server, "/v1/stream");
    let later = r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z"}"#;
    let first = server.submit(later);
    assert_eq!(events.next_job()["id"], first.as_str());
    let heard = std::mem::take(&mut events.last_id);
    drop(events);
    let meanwhile: Vec<_> = (0..5).map(|_| server.submit(later)).collect();
    let mut back = Events::open_again(&server, "/v1/stream", &heard);
    let told: Vec<_> = (0..5).map(|_| back.next_job()["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(told, meanwhile);
    // Who hears only some of what comes together hears it again.
    let mut half = Events::open_again(&server, "/v1/stream", &heard);
    half.next_job();
    let mut again = Events::open_again(&server, "/v1/stream", &half.last_id);
    assert_eq!(again.next_job()["id"], meanwhile[0].as_str());
    // Of another start of the host nobody knows what he has heard.
    for id in ["1.5", "x"] {
        let (name, _) = Events::open_again(&server, "/v1/stream", id).next().expect("he is told");
        assert_eq!(name, "missed", "{id}");
    }
    let mut unheard = Events::open(&server, "/v1/stream");
    let mut idle = || unheard.line();
    while !idle().is_some_and(|line| line.starts_with("id: ")) {}
}

#[test]
fn whoever_may_see_his_own_jobs_costs_no_reads_of_others() {
    let server = guarded();
    let root = root(&server);
    let bank = root.admit("bank", "submit read:own");
    assert_eq!(root.post("/v1/service/pause", "").status, 200);
    let mut streams: Vec<_> = (0..5).map(|_| Events::open_as(&server, "/v1/stream", &bank.secret)).collect();
    let reads = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&reads);
    server.store.watch_reads(move |reading| {
        if reading == Reading::Job {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let plugin = PluginName::new("echo").expect("a name");
    let submit = |owner: &str| {
        let id = JobId::new(Timestamp::default(), server.store.reserve(1), 7);
        let owner = TokenName::new(owner).ok();
        let submission = Submission { owner, ..Submission::new(id, plugin.clone(), Timestamp::default()) };
        server.store.commit(vec![Change::Submit(Arc::new(submission), Box::default())]).wait().expect("there is room");
        id.to_string()
    };
    (0..1_000).for_each(|_| drop(submit("shop")));
    let own = submit("bank");
    for stream in &mut streams {
        let (name, told) = stream.next().expect("the own job is told of");
        assert_eq!((name.as_str(), &told["id"]), ("job", &own.as_str().into()), "{told}");
    }
    assert!(reads.load(Ordering::Relaxed) <= streams.len(), "those of others were read");
}
