//! Requests of guests: what is sent, what is refused, and what the other side cannot make the host do.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use backroom::domain::failure::ErrorClass;
use backroom::domain::limits::Limits;
use backroom::domain::plugin::{Grant, Policy};
use backroom::sandbox::{SliceEnd, SliceReport};
use serde_json::{Value, json};

use crate::fixtures::{failure, log, misbehave, misbehaves, reported, run, slice};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_granted_is_refused_and_the_line_to_add_is_logged() {
    let report = misbehaves(json!({ "do": "http", "address": "api.example.com" }), Limits::default()).await;
    assert_eq!(reported(&report)["allowed"], false);
    let log = log(&report);
    assert!(log.contains("refused GET http://api.example.com: not granted"), "{log}");
    assert!(log.contains("grants = { http = [\"http://api.example.com\"] }"), "{log}");
}

/// Answers `requests` connections with 204 and says where it listens.
fn small_server(requests: usize) -> String {
    serve(requests, |request, mut connection| {
        let answer: &[u8] = match request.starts_with(b"GET / HTTP/1.1\r\n") {
            true => b"HTTP/1.1 204 No Content\r\n\r\n",
            false => b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        };
        connection.write_all(answer).expect("an answer is taken");
    })
}

/// Takes that many connections, one after another, and says where it listens.
fn serve(requests: usize, answer: impl Fn(&[u8], TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming().take(requests) {
            let mut connection = connection.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                connection.read_exact(&mut byte).expect("a request");
                request.extend(byte);
            }
            answer(&request, connection);
        }
    });
    address
}

async fn asks_for(address: &str, grants: &[String], limits: Limits) -> SliceReport {
    asks(json!({ "do": "http", "address": address }), grants, limits).await
}

async fn asks(ask: Value, grants: &[String], limits: Limits) -> SliceReport {
    let mut slice = slice("misbehave", misbehave().await, ask.to_string());
    slice.grants = Arc::new(grants.iter().cloned().map(Grant::Http).collect());
    slice.policy = Arc::new(Policy { limits: limits.clone(), ..Policy::default() });
    slice.limits = limits.into();
    run(slice).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_request_arrives() {
    let address = small_server(1);
    let report = asks_for(&address, &[format!("http://{address}")], Limits::default()).await;
    assert_eq!(reported(&report), json!({ "allowed": true, "result": 204 }), "{}", log(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_splice_moves_what_there_is_under_a_small_limit() {
    let address = serve(1, |_, mut connection| {
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789").expect("an answer is taken");
    });
    let limits = Limits { host_call_bytes: 16 << 10, host_copy_bytes: 1 << 10, ..Limits::default() };
    let ask = json!({ "do": "hold", "what": "splices", "bytes": 65_536, "address": address });
    let report = asks(ask, &[format!("http://{address}")], limits).await;
    assert_eq!(reported(&report), json!({ "taken": 1, "refused": 0 }), "{}", log(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_another_origin_does_not_help() {
    let address = small_server(0);
    let grants = ["https://127.0.0.1".into(), format!("https://{address}"), "http://127.0.0.1".into()];
    let report = asks_for(&address, &grants, Limits::default()).await;
    assert_eq!(reported(&report)["allowed"], false);
    assert!(log(&report).contains(&format!("refused GET http://{address}: not granted")), "{}", log(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn outbound_requests_are_counted() {
    let limits = Limits { outbound_requests: 0, ..Limits::default() };
    let failure = failure(&asks_for("127.0.0.1:1", &["http://127.0.0.1:1".into()], limits).await).clone();
    assert_eq!((failure.class, failure.code.as_deref()), (ErrorClass::Fatal, Some("BR0308")));
    assert!(failure.detail.is_some_and(|detail| detail.contains("limits = { outbound_requests = 2 }")));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_only_announce_others_come_to_an_end() {
    let address = serve(1, |_, mut connection| {
        // Until nobody reads it any more.
        while connection.write_all(&b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(100)).is_ok() {}
    });
    let report = asks_for(&address, &[format!("http://{address}")], Limits::default()).await;
    assert_eq!(reported(&report)["allowed"], false);
    assert!(log(&report).contains("it sent more than 256 KiB before an answer"), "{}", log(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn some_answers_that_announce_another_are_no_harm() {
    let address = serve(1, |_, mut connection| {
        let _ = connection.write_all(&b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(100));
        let _ = connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
    });
    let report = asks_for(&address, &[format!("http://{address}")], Limits::default()).await;
    assert_eq!(reported(&report), json!({ "allowed": true, "result": 204 }), "{}", log(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_many_pieces_is_read_to_its_end_and_on_the_bill() {
    const PIECES: usize = 20_000;
    let address = serve(1, |_, mut connection| {
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let _ = connection.write_all(&b"1;an=extension\r\nx\r\n".repeat(500));
        let _ = connection.write_all(&b"1\r\nx\r\n".repeat(PIECES - 500));
        let _ = connection.write_all(b"0\r\n\r\n");
    });
    let ask = json!({ "do": "read", "address": address });
    let report = asks(ask, &[format!("http://{address}")], Limits::default()).await;
    assert_eq!(reported(&report), json!({ "allowed": true, "result": PIECES }), "{}", log(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_in_an_answer_is_as_long_as_the_guest_allows() {
    let address = serve(1, |_, mut connection| {
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst");
        // It comes back when the host has gone.
        let _ = connection.read(&mut [0]);
    });
    let ask = json!({ "do": "read", "address": address, "between_ms": 50 });
    let report = asks(ask, &[format!("http://{address}")], Limits::default()).await;
    let said = reported(&report);
    assert_eq!(said["allowed"], false);
    assert!(said["error"].as_str().is_some_and(|error| error.starts_with("after 5 bytes")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_says_whose_answer_was_waited_for() {
    let address = serve(1, |_, mut connection| {
        let _ = connection.read(&mut [0]);
    });
    let limits = Limits { wall: Duration::from_secs(1), ..Limits::default() };
    let report = asks_for(&address, &[format!("http://{address}")], limits).await;
    assert!(matches!(report.end, SliceEnd::TimedOut(_)), "{:?}", report.end);
    let message = &failure(&report).message;
    let waited = format!("; it waited in wasi:io/poll block for an answer of http://{address}");
    assert!(message.ends_with(&waited), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_on_the_way_is_in_the_log_of_the_job() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
    let report = asks_for(&nobody, &[format!("http://{nobody}")], Limits::default()).await;
    assert_eq!(reported(&report)["allowed"], false);
    assert!(log(&report).contains(" host  no connection: "), "{}", log(&report));
    let address = serve(1, |_, mut connection| drop(connection.write_all(b"SSH-2.0-x\r\n\r\n")));
    let report = asks_for(&address, &[format!("http://{address}")], Limits::default()).await;
    assert!(log(&report).contains(" host  an exchange broke off: "), "{}", log(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_around_a_body_is_bounded() {
    const START: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n";
    for (what, answer) in [
        ("many fields", format!("{START}{}\r\n0\r\n\r\n", "x: y\r\n".repeat(500))),
        ("a large field", format!("{START}x: {}\r\n\r\n0\r\n\r\n", "y".repeat(300 << 10))),
        ("extensions of chunks", format!("{START}\r\n{}0\r\n\r\n", "1;an=extension\r\nx\r\n".repeat(50_000))),
        ("trailers", format!("{START}\r\n0\r\n{}\r\n", "x: y\r\n".repeat(50_000))),
    ] {
        let address = serve(1, move |_, mut connection| {
            let _ = connection.write_all(answer.as_bytes());
        });
        let ask = json!({ "do": "read", "address": address });
        let report = asks(ask, &[format!("http://{address}")], Limits::default()).await;
        assert_eq!(reported(&report)["allowed"], false, "{what}: {}", log(&report));
    }
}
