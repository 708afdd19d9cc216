//! Bad input gets a clear answer: what is wrong, where, and what to do next.

use std::io::Write as _;
use std::net::Shutdown;

use insta::assert_snapshot;

use crate::support::{Answer, Server};

#[test]
fn faulty_submits() {
    let server = Server::start();
    let cases: &[(&str, &[u8])] = &[
        ("empty", b""),
        ("blank", b" \n "),
        ("no JSON", b"plugin=echo"),
        ("cut off", b"{\"plugin\": \"echo\", \"input\": {\"a\": [1, 2"),
        ("trailing", b"{\"plugin\": \"echo\"} {}"),
        ("not UTF-8", b"{\n\"plugin\": \"ec\xffho\"}"),
        ("a list", b"[\"echo\"]"),
        ("a string", b"\"echo\""),
        ("no plug-in", b"{}"),
        ("misspelt field", b"{\"plugn\": \"echo\"}"),
        ("unknown field", b"{\"plugin\": \"echo\", \"colour\": \"red\"}"),
        ("doubled field", b"{\"plugin\": \"echo\", \"plugin\": \"echo\"}"),
        ("wrong type", b"{\"plugin\": \"echo\",\n \"priority\": \"high\"}"),
        ("fraction", b"{\"plugin\": \"echo\", \"priority\": 1.5}"),
        ("wrong type inside", b"{\"plugin\": \"echo\", \"env\": {\"A\": 1}}"),
        ("list for text", b"{\"plugin\": [\"echo\"]}"),
        ("text for list", b"{\"plugin\": \"echo\", \"tags\": \"a\"}"),
        ("out of range", b"{\"plugin\": \"echo\", \"priority\": 101}"),
        ("negative", b"{\"plugin\": \"echo\", \"max_attempts\": -1}"),
        ("no attempts", b"{\"plugin\": \"echo\", \"max_attempts\": 0}"),
        ("bad name", b"{\"plugin\": \"Echo!\"}"),
        ("unknown plug-in", b"{\"plugin\": \"ecko\"}"),
        ("unlike any plug-in", b"{\"plugin\": \"zzzzzzzzzz\"}"),
        ("unknown handler", b"{\"plugin\": \"echo\", \"handler\": \"handel\"}"),
        ("unknown queue", b"{\"plugin\": \"echo\", \"queue\": \"bulks\"}"),
        ("no time", b"{\"plugin\": \"echo\", \"at\": \"tomorrow\"}"),
        ("time without zone", b"{\"plugin\": \"echo\", \"at\": \"2030-01-01T00:00:00\"}"),
        (
            "ends before it starts",
            b"{\"plugin\": \"echo\", \"at\": \"2031-01-02T00:00:00Z\", \"expires_on\": \"2031-01-01T00:00:00Z\"}",
        ),
        ("two inputs", b"{\"plugin\": \"echo\", \"input\": 1, \"input_text\": \"1\"}"),
        ("no base64", b"{\"plugin\": \"echo\", \"input_base64\": \"???\"}"),
        ("empty tag", b"{\"plugin\": \"echo\", \"tags\": [\"\"]}"),
        ("bad variable", b"{\"plugin\": \"echo\", \"env\": {\"A=B\": \"\"}}"),
    ];
    let mut shown = String::new();
    for (what, body) in cases {
        shown.push_str(&format!("{what}:\n    {}\n", server.post("/v1/jobs", body).refusal()));
    }
    assert_snapshot!("faulty_submits", shown);
    assert!(server.get("/v1/jobs").json()["jobs"].as_array().is_some_and(Vec::is_empty), "nothing was taken");
}

#[test]
fn oversized_submits() {
    let server = Server::start();
    let x = |count: usize| "x".repeat(count);
    let list = |count: usize| vec!["\"x\""; count].join(",");
    let cases = [
        ("long name", format!(r#"{{"plugin": "echo", "name": "{}"}}"#, x(257))),
        ("many tags", format!(r#"{{"plugin": "echo", "tags": [{}]}}"#, list(21))),
        ("long tag", format!(r#"{{"plugin": "echo", "tags": ["{}"]}}"#, x(65))),
        ("many arguments", format!(r#"{{"plugin": "echo", "args": [{}]}}"#, list(65))),
        ("large arguments", format!(r#"{{"plugin": "echo", "args": ["{}"]}}"#, x(33_000))),
        ("large input", format!(r#"{{"plugin": "echo", "input_text": "{}"}}"#, x((1 << 20) + 1))),
        ("large body", format!(r#"{{"plugin": "echo", "input_text": "{}"}}"#, x(3 << 20))),
    ];
    let mut shown = String::new();
    for (what, body) in cases {
        shown.push_str(&format!("{what}:\n    {}\n", server.post("/v1/jobs", body).refusal()));
    }
    assert_snapshot!("oversized_submits", shown);
}

#[test]
fn faulty_queries() {
    let server = Server::start();
    let cases = [
        "/v1/jobs?stat=queued",
        "/v1/jobs?colour=red",
        "/v1/jobs?state=queued,runing",
        "/v1/jobs?limit=0",
        "/v1/jobs?limit=ten",
        "/v1/jobs?limit=1&limit=2",
        "/v1/jobs?cursor=12",
        "/v1/jobs?from=yesterday",
        "/v1/jobs?plugin=A",
        "/v1/service?x=1",
        "/v1/jobs/17",
        "/v1/jobs/00000000-0000-0000-0000-000000000000",
        "/v1/plugins/ecko",
        "/v1/plugins/E",
        "/v2/jobs",
        "/errors/BR9999",
    ];
    let shown: Vec<_> = cases.iter().map(|path| format!("{path}\n    {}", server.get(path).refusal())).collect();
    assert_snapshot!("faulty_queries", shown.join("\n"));
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let server = Server::start();
    let answer = server.send("PATCH", "/v1/jobs", &[], b"");
    assert_snapshot!("wrong_method", answer.refusal());
    assert_eq!(answer.header("allow"), Some("POST,GET,HEAD"));
}

#[test]
fn f008_no_field_of_a_job_is_written_but_by_a_command() {
    let server = Server::start();
    let id = server.run(r#"{"plugin": "echo", "name": "as it was"}"#);
    let path = format!("/v1/jobs/{id}");
    let before = server.get(&path).body;
    for method in ["PATCH", "PUT", "POST"] {
        let answer = server.send(method, &path, &[], br#"{"name": "another", "state": "queued"}"#);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD,DELETE")), "{}", answer.text());
    }
    let faulty = server.post(&format!("{path}/retry"), r#"{"name": "another"}"#);
    assert!(faulty.refusal().contains("there is no field `name`"), "{}", faulty.text());
    assert_eq!(server.get(&path).body, before);
}

#[test]
fn a_body_that_ends_half_way_is_told_apart() {
    let server = Server::start();
    let mut stream = server.connect();
    let head = format!("POST /v1/jobs HTTP/1.1\r\nHost: {}\r\nContent-Length: 18\r\n\r\n", server.address);
    stream.write_all(head.as_bytes()).expect("the head is sent");
    stream.write_all(b"{\"plugin\"").expect("half of the body is sent");
    stream.shutdown(Shutdown::Write).expect("the sender gives up");
    assert_snapshot!("cut_off_body", Answer::read(stream).refusal());
}
