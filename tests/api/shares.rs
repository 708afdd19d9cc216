//! Whatever somebody holds, an administrator and a health check get through; and what hangs on a token ends with it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use axum::Router;
use backroom::api::ApiState;
use backroom::domain::allowances::Allowances;

use crate::holder::{Holder, JOB, LATER, base64, root};
use crate::stream::Events;
use crate::support::{Answer, Server, Setup, long_log, manifest, wasm};

/// A host that takes little at a time, with the plug-in `echo`.
fn small() -> Server {
    small_with(None)
}

/// The same with something between the guard and the handlers.
pub(crate) fn small_with(between: Option<fn(&ApiState, Router) -> Router>) -> Server {
    small_and_patient(Allowances::default().stall, between)
}

/// The same with less patience for those who read or send next to nothing.
fn impatient(stall: Duration) -> Server {
    small_and_patient(stall, None)
}

fn small_and_patient(stall: Duration, between: Option<fn(&ApiState, Router) -> Router>) -> Server {
    let allowances = Allowances { connections: 64, stall, requests: 16, streams: 16, waits: 16, body_bytes: 4 << 20 };
    let server = Server::with(Setup { token: Some("root"), allowances, between, ..Setup::default() });
    let manifest = base64(&manifest("echo", "1.0.0", ""));
    let headers = [("Authorization", "Bearer root"), ("Backroom-Manifest", manifest.as_str())];
    assert_eq!(server.send("PUT", "/v1/plugins/echo/versions/1.0.0", &headers, &wasm(1)).status, 201);
    server
}

/// Everything that an administrator and a monitor need.
fn are_served(server: &Server) {
    let root = root(server);
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/readyz").status, 200);
    assert_eq!(root.get("/v1/jobs").status, 200);
    root.run(JOB);
    let line = root.post("/v1/jobs/bulk", JOB);
    assert_eq!(line.status, 201, "{}", line.text());
    let canceled = root.post("/v1/jobs/actions", r#"{"action": "cancel", "filter": {"tag": "none"}}"#);
    assert_eq!(canceled.status, 200, "{}", canceled.text());
    let mut stream = Events::open_as(server, "/v1/stream", "root");
    root.submit(JOB);
    stream.next_job();
}

/// Begins a request whose body does not end.
fn begun(server: &Server, request: &str, secret: Option<&str>) -> TcpStream {
    let mut connection = server.connect();
    let authorization = secret.map(|secret| format!("Authorization: Bearer {secret}\r\n")).unwrap_or_default();
    let head =
        format!("{request} HTTP/1.1\r\nHost: {}\r\n{authorization}Content-Length: 1000\r\n\r\n{{", server.address);
    connection.write_all(head.as_bytes()).expect("it is sent");
    connection
}

#[test]
fn slow_logins_of_strangers_hold_up_nobody() {
    let server = small();
    let held: Vec<_> = (0..48).map(|_| begun(&server, "POST /login", None)).collect();
    are_served(&server);
    drop(held);
}

#[test]
fn slow_bodies_of_one_token_hold_up_nobody() {
    let server = small();
    let root = root(&server);
    for path in ["/v1/jobs", "/v1/jobs/bulk", "/v1/batches"] {
        let shop = root.admit("shop", "submit");
        let mut held = Vec::new();
        let refused = loop {
            held.push(begun(&server, &format!("POST {path}"), Some(&shop.secret)));
            let answer = shop.post("/v1/jobs", JOB);
            if answer.status != 201 {
                break answer;
            }
            assert!(held.len() < 40, "{path}: one token may have everything");
        };
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{path}: {}", refused.text());
        assert_eq!(refused.json()["code"], "BR0133", "{path}");
        are_served(&server);
        assert_eq!(root.send("DELETE", "/v1/tokens/shop", "").status, 204);
        are_served(&server);
        drop(held);
    }
}

#[test]
fn streams_of_one_token_are_its_share() {
    let server = small();
    let root = root(&server);
    let shop = root.admit("shop", "submit read:own");
    let mut held: Vec<_> = (0..8).map(|_| Events::open_as(&server, "/v1/stream", &shop.secret)).collect();
    let refused = shop.get("/v1/stream");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{}", refused.text());
    assert_eq!(refused.json()["code"], "BR0133");
    let bank = root.admit("bank", "read");
    held.extend((0..6).map(|_| Events::open_as(&server, "/v1/stream", &bank.secret)));
    assert_eq!(bank.get("/v1/stream").status, 503, "what is left is for administrators");
    are_served(&server);
    drop(held);
}

/// Asks on a connection that is kept, and reads the whole answer.
fn asked(server: &Server, connection: &mut TcpStream) -> String {
    let ask = format!("GET /v1/tokens HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer root\r\n\r\n", server.address);
    connection.write_all(ask.as_bytes()).expect("it is open");
    let mut answer = Vec::new();
    while !answer.ends_with(br#"{"tokens":[]}"#) {
        let mut byte = [0];
        connection.read_exact(&mut byte).expect("it is answered");
        answer.push(byte[0]);
    }
    String::from_utf8(answer).expect("it is text")
}

#[test]
fn idle_connections_make_room() {
    let server = small();
    let idle: Vec<_> = (0..100).map(|_| server.connect()).collect();
    are_served(&server);
    let silent = |_| {
        let mut connection = server.connect();
        connection.write_all(b"GET / HTTP/1.1\r\nHost: he").expect("it is open");
        connection
    };
    let half: Vec<_> = (0..100).map(silent).collect();
    are_served(&server);
    // A script that keeps some connections open and uses them is not disturbed by those that nobody uses.
    let mut kept: Vec<_> = (0..20).map(|_| server.connect()).collect();
    kept.iter_mut().for_each(|connection| assert!(asked(&server, connection).starts_with("HTTP/1.1 200")));
    let more: Vec<_> = (0..100).map(|_| server.connect()).collect();
    are_served(&server);
    kept.iter_mut().for_each(|connection| assert!(asked(&server, connection).starts_with("HTTP/1.1 200")));
    drop((idle, half, more));
}

/// A job with a large output.
fn with_large_output(who: &Holder<'_>) -> (String, String) {
    let text = "0123456789".repeat(60_000);
    let id = who.run(&format!("{{\"plugin\": \"echo\", \"input_text\": \"{text}\"}}"));
    (id, text)
}

#[test]
fn a_large_output_comes_whole() {
    let server = small();
    let root = root(&server);
    let (id, text) = with_large_output(&root);
    let answer = root.get(&format!("/v1/jobs/{id}/output"));
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("600000")));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(answer.text() == text);
}

#[test]
fn large_logs_come_whole_one_after_another() {
    let server = small();
    let root = root(&server);
    let id = root.run(r#"{"plugin": "echo", "handler": "chatty", "input_text": "again", "max_attempts": 3}"#);
    let logs = [1, 2, 3].map(long_log);
    let [first, second, third] = &logs;
    let all = format!(
        "--- attempt 1, run 1 ---\n{first}\n--- attempt 2, run 2 ---\n{second}--- attempt 3, run 3 ---\n{third}"
    );
    assert!(root.get(&format!("/v1/jobs/{id}/logs")).text() == all);
    for (attempt, log) in (1..).zip(&logs) {
        assert!(root.get(&format!("/v1/jobs/{id}/logs?attempt={attempt}")).text() == *log, "{attempt}");
    }
}

/// Sends requests until the host takes no more, and reads no answer.
fn pipelined(server: &Server, request: &str) {
    let mut connection = server.connect();
    loop {
        match connection.write_all(request.as_bytes()) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => return,
            Err(error) => panic!("the connection is kept: {error}"),
        }
    }
}

#[test]
fn whoever_does_not_read_loses_his_connection() {
    let server = impatient(Duration::from_millis(500));
    let root = root(&server);
    let (id, _) = with_large_output(&root);
    let head = format!("HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer root\r\n\r\n", server.address);
    pipelined(&server, &format!("GET /v1/jobs/{id}/output {head}"));
    pipelined(&server, &format!("GET /openapi.json HTTP/1.1\r\nHost: {}\r\n\r\n", server.address));
    are_served(&server);
}

/// Sends a request with some of its body, and reads the whole answer.
fn answered(server: &Server, request: &str, secret: &str, body: &str) -> Answer {
    let mut connection = server.connect();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n",
        server.address
    );
    connection.write_all(head.as_bytes()).expect("it is open");
    connection.write_all(body.as_bytes()).expect("it is open");
    Answer::read(connection)
}

#[test]
fn a_body_that_comes_too_slowly_is_given_up_and_told_so() {
    let server = impatient(Duration::from_millis(200));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for path in ["/v1/jobs", "/v1/jobs/bulk", "/v1/batches", "/v1/jobs/actions"] {
            let server = &server;
            scope.spawn(move || {
                let given_up = answered(server, &format!("POST {path}"), "root", "{");
                assert_eq!((given_up.status, given_up.json()["code"].clone()), (400, "BR0113".into()), "{path}");
                assert!(given_up.text().contains("came too slowly: 1 bytes"), "{path}: {}", given_up.text());
                assert!(began.elapsed() < Duration::from_secs(15), "{path}: {:?}", began.elapsed());
            });
        }
        // Who has sent two kilobytes may take two seconds longer.
        let given_up = answered(&server, "POST /v1/jobs", "root", &" ".repeat(2_048));
        assert_eq!(given_up.status, 400);
        assert!(began.elapsed() >= Duration::from_millis(2_150), "{:?}", began.elapsed());
    });
    are_served(&server);
}

/// Submits a job that does not start before next year, and waits for its end; the connection on which that is answered.
fn waiting(server: &Server, secret: &str) -> TcpStream {
    let mut connection = server.connect();
    let head = format!(
        "POST /v1/jobs?wait=60 HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{LATER}",
        server.address,
        LATER.len()
    );
    connection.write_all(head.as_bytes()).expect("it is open");
    connection
}

#[test]
fn waits_of_one_token_are_its_share_and_further_submits_are_answered_at_once() {
    let server = small();
    let root = root(&server);
    let shop = root.admit("shop", "submit read:own");
    let mut jobs = Events::open_as(&server, "/v1/stream", &shop.secret);
    let held: Vec<_> = (0..8)
        .map(|_| {
            let connection = waiting(&server, &shop.secret);
            // Only who has told of the job waits for its end.
            jobs.next_job();
            connection
        })
        .collect();
    for _ in 0..3 {
        let began = Instant::now();
        let at_once = shop.post("/v1/jobs?wait=60", LATER);
        assert_eq!((at_once.status, at_once.json()["state"].clone()), (202, "waiting".into()), "{}", at_once.text());
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
    let bank = root.admit("bank", "submit read:own");
    assert_eq!(bank.post("/v1/jobs?wait=20", JOB).status, 201, "another token has its own share");
    are_served(&server);
    drop(held);
}

#[test]
fn what_hangs_on_a_token_ends_with_it() {
    let server = small();
    let root = root(&server);
    let shop = root.admit("shop", "submit read:own payload:own");
    let bulk = begun(&server, "POST /v1/jobs/bulk", Some(&shop.secret));
    let mut stream = Events::open_as(&server, "/v1/stream", &shop.secret);
    let mut idle = server.connect();
    let ask =
        format!("GET /v1/jobs HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n", server.address, shop.secret);
    idle.write_all(ask.as_bytes()).expect("it is open");
    let waiting = {
        let mut connection = server.connect();
        let body = r#"{"plugin": "echo", "handler": "hold"}"#;
        let head = format!(
            "POST /v1/jobs?wait=60 HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            server.address,
            shop.secret,
            body.len()
        );
        connection.write_all(head.as_bytes()).expect("it is open");
        connection
    };
    stream.next_job();
    assert_eq!(root.send("DELETE", "/v1/tokens/shop", "").status, 204);
    stream.read_to_the_end();
    let (mut told, mut whole) = (Vec::new(), Vec::new());
    idle.read_to_end(&mut told).expect("it is ended");
    assert!(told.starts_with(b"HTTP/1.1 200"), "he was told before");
    assert_eq!(Answer::read(bulk).status, 401);
    let mut waiting = waiting;
    waiting.read_to_end(&mut whole).expect("it is ended");
    assert!(whole.starts_with(b"HTTP/1.1 202"), "{}", String::from_utf8_lossy(&whole));
}
