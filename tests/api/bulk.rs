//! Bulk submits: taken whole or not at all.

use std::io::Write as _;
use std::net::Shutdown;

use backroom::registry::Policies;
use insta::assert_snapshot;

use crate::support::{Answer, Server, Setup};

fn jobs_there(server: &Server) -> usize {
    server.get("/v1/jobs?limit=200").json()["jobs"].as_array().expect("a list").len()
}

#[test]
fn lines_become_jobs_in_their_order() {
    let server = Server::start();
    let body = "{\"plugin\":\"echo\",\"input\":1}\n\n  \r\n{\"plugin\":\"echo\",\"input\":2}\r\n{\"plugin\":\"echo\",\"input\":3}";
    let taken = server.post("/v1/jobs/bulk", body);
    assert_snapshot!("taken", taken.shown());
    let ids = taken.json()["ids"].clone();
    for (index, expected) in ["1", "2", "3"].iter().enumerate() {
        let input = server.get(&format!("/v1/jobs/{}/input", ids[index].as_str().expect("an id")));
        assert_eq!(input.text(), *expected);
    }
}

#[test]
fn nothing_is_taken_when_a_line_is_faulty() {
    let server = Server::start();
    let good = "{\"plugin\":\"echo\"}";
    let cases: [(&str, Vec<u8>); 7] = [
        ("broken JSON in the middle", format!("{good}\n\n{{\"plugin\":\n{good}\n").into_bytes()),
        ("several faults", format!("{{}}\n{good}\n[1]\n{{\"plugin\":\"Echo\"}}\n").into_bytes()),
        ("unknown field", format!("{good}\n{{\"plugin\":\"echo\",\"prio\":1}}").into_bytes()),
        ("wrong type", format!("{good}\n{{\"plugin\":\"echo\",\"priority\":\"high\"}}").into_bytes()),
        ("unknown plug-in", format!("\n{good}\n{{\"plugin\":\"ecko\"}}\n{good}").into_bytes()),
        ("not UTF-8", [good.as_bytes(), b"\n{\"plugin\":\"\xff\"}\n"].concat()),
        (
            "a line of 3 MiB",
            format!("{good}\n{{\"plugin\":\"echo\",\"input_text\":\"{}\"}}", "x".repeat(3 << 20)).into_bytes(),
        ),
    ];
    let mut shown = String::new();
    for (what, body) in cases {
        let answer = server.post("/v1/jobs/bulk", body);
        shown.push_str(&format!("{what}:\n    {}\n    {}\n", answer.refusal(), answer.json()["errors"]));
        assert_eq!(jobs_there(&server), 0, "{what}");
    }
    assert_snapshot!("faulty_lines", shown);
}

#[test]
fn a_body_that_ends_half_way_takes_nothing() {
    let server = Server::start();
    let line = "{\"plugin\":\"echo\"}\n";
    let mut stream = server.connect();
    let head = format!("POST /v1/jobs/bulk HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\n", server.address);
    stream.write_all(head.as_bytes()).expect("the head is sent");
    stream.write_all(line.repeat(3).as_bytes()).expect("half of the body is sent");
    stream.shutdown(Shutdown::Write).expect("the sender gives up");
    assert_snapshot!("cut_off", Answer::read(stream).refusal());
    assert_eq!(jobs_there(&server), 0);
}

#[test]
fn a_chunked_body_without_its_end_takes_nothing() {
    let server = Server::start();
    let mut stream = server.connect();
    let head = format!("POST /v1/jobs/bulk HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", server.address);
    stream.write_all(head.as_bytes()).expect("the head is sent");
    stream.write_all(b"12\r\n{\"plugin\":\"echo\"}\n\r\n").expect("one chunk is sent");
    stream.shutdown(Shutdown::Write).expect("the sender gives up");
    assert_snapshot!("cut_off_chunked", Answer::read(stream).refusal());
    assert_eq!(jobs_there(&server), 0);
}

/// The numbers of the lines that a refusal names, and their codes.
fn named(refusal: &Answer) -> Vec<(u64, String)> {
    let json = refusal.json();
    let of = |error: &serde_json::Value| {
        (error["line"].as_u64().expect("a number"), error["code"].as_str().expect("a code").to_owned())
    };
    json["errors"].as_array().map(|errors| errors.iter().map(of).collect()).unwrap_or_default()
}

#[test]
fn every_faulty_line_is_told_at_once_whatever_its_fault() {
    let server = Server::start();
    let holder = server.submit(r#"{"plugin": "echo", "dedup_key": "held", "at": "9h"}"#);
    let lines = [
        r#"{"plugin":"echo"}"#,
        r#"{"plugin":"nope"}"#,
        "{bad",
        r#"{"plugin":"echo","bogus":1}"#,
        r#"{"plugin":"echo","at":"xx"}"#,
        "",
        r#"{"plugin":"echo","queue":"q9"}"#,
        r#"{"plugin":"echo","handler":"oops"}"#,
        r#"{"plugin":"echo","dedup_key":"held"}"#,
        r#"{"plugin":"echo","dedup_key":"new"}"#,
        r#"{"plugin":"echo","dedup_key":"new"}"#,
        r#"{"plugin":"echo","deadline":"23h"}"#,
    ];
    let codes = |lines: &[(u64, &str)]| -> Vec<(u64, String)> {
        lines.iter().map(|(line, code)| (*line, (*code).to_owned())).collect()
    };
    let all = codes(&[
        (2, "BR0103"),
        (3, "BR0101"),
        (4, "BR0102"),
        (5, "BR0102"),
        (7, "BR0102"),
        (8, "BR0104"),
        (9, "BR0118"),
        (11, "BR0118"),
        (12, "BR0102"),
    ]);
    for path in ["/v1/jobs/bulk", "/v1/batches"] {
        let refused = server.post(path, lines.join("\n"));
        assert_eq!(named(&refused), all, "{path}: {}", refused.refusal());
    }
    // Neither are the faults that only the store shows told one after another.
    let keys = [lines[8], lines[0], lines[9], lines[10], lines[10]].join("\n");
    let refused = server.post("/v1/jobs/bulk", keys);
    assert_eq!(named(&refused), codes(&[(1, "BR0118"), (4, "BR0118"), (5, "BR0118")]), "{}", refused.refusal());
    let of_a_batch = format!("{{bad\n{{\"plugin\":\"echo\",\"batch\":\"{holder}\"}}\n");
    let refused = server.post("/v1/batches", of_a_batch);
    assert_eq!(named(&refused).iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2], "{}", refused.refusal());
    assert_eq!(jobs_there(&server), 1);
}

#[test]
fn of_more_jobs_than_are_taken_no_sound_line_is_called_faulty() {
    let server = Server::start();
    let line = "{\"plugin\":\"echo\",\"at\":\"9h\"}\n";
    for (path, count) in [("/v1/jobs/bulk", 100_001), ("/v1/jobs/bulk", 107_000), ("/v1/batches", 131_313)] {
        let refused = server.post(path, line.repeat(count));
        assert_eq!((refused.status, refused.json()["code"].clone()), (413, "BR0106".into()), "{path} {count}");
        assert!(named(&refused).is_empty(), "{path} {count}: {}", refused.refusal());
    }
    // Nor is the line that stands where reading has ended because there were faults enough.
    let faults = format!("{}{}", "{bad\n".repeat(20), line.repeat(9_000));
    let refused = server.post("/v1/jobs/bulk", faults);
    assert_eq!(named(&refused).iter().map(|(line, _)| *line).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    assert!(refused.refusal().contains("at least 19 more lines are faulty"), "{}", refused.refusal());
    assert_eq!(jobs_there(&server), 0);
}

#[test]
fn there_are_bounds() {
    let server = Server::start();
    let line = "{\"plugin\":\"echo\"}\n";
    let many = server.post("/v1/jobs/bulk", line.repeat(100_001));
    assert_snapshot!("too_many", many.refusal());
    let head = format!(
        "POST /v1/jobs/bulk HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 67108865\r\n\r\n",
        server.address
    );
    let mut stream = server.connect();
    stream.write_all(head.as_bytes()).expect("the head is sent");
    assert_snapshot!("too_large", Answer::read(stream).refusal());
    assert_eq!(jobs_there(&server), 0);
    assert_snapshot!("nothing", server.post("/v1/jobs/bulk", "\n\n").shown());
}

#[test]
fn the_limit_of_runs_for_a_record_is_set_for_a_plug_in() {
    let mut policies = Policies::default();
    policies.by_plugin.entry("echo".to_owned()).or_default().limits.runs_per_record = 3;
    let server = Server::start_with(Setup { policies, ..Setup::default() });
    let parent = server.submit(r#"{"plugin": "echo"}"#);
    let line = format!("{{\"plugin\": \"echo\", \"parent\": \"{parent}\", \"regarding\": \"order/1\"}}\n");
    let taken = server.post("/v1/jobs/bulk", line.repeat(7)).json();
    assert_eq!(taken["count"], 7, "{taken}");
    let refused = server.get(&format!("/v1/jobs?chain={parent}&state=failed")).json()["jobs"].clone();
    assert_eq!(refused.as_array().map(Vec::len), Some(4), "{refused}");
    let message = refused[0]["error"]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains(&parent) && message.contains("3 are allowed"), "{message}");
}
