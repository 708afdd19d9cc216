//! Whatever is wrong with a request, and whatever layer finds it: the answer is a problem document, and for nobody to keep.

use std::io::Write as _;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use backroom::api::ApiState;
use serde_json::Value;

use crate::holder::{JOB, LATER, guarded, root};
use crate::support::{Answer, Server, Setup};

/// An operation of the OpenAPI document.
struct Operation {
    method: String,
    path: String,
    reads_body: bool,
}

fn operations(server: &Server) -> Vec<Operation> {
    let document = server.get("/openapi.json").json();
    let paths = document["paths"].as_object().cloned().expect("paths");
    let of_path = |(path, operations): (String, Value)| {
        let operations = operations.as_object().cloned().expect("operations");
        operations.into_iter().map(move |(method, operation)| Operation {
            method: method.to_uppercase(),
            path: path.clone(),
            reads_body: !operation["requestBody"].is_null(),
        })
    };
    let all: Vec<_> = paths.into_iter().flat_map(of_path).collect();
    assert!(all.len() > 50, "{}", all.len());
    all
}

/// The path with `name` in the place of each of its names.
fn filled(path: &str, name: &str) -> String {
    let parts: Vec<_> = path.split('/').map(|part| if part.starts_with('{') { name } else { part }).collect();
    parts.join("/")
}

/// An answer says what it is, and nobody keeps it; where it is an error, it is a problem document.
fn is_told(answer: &Answer, what: &str) {
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
    if answer.status < 400 {
        return;
    }
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}: {}", answer.text());
    if what.starts_with("HEAD ") {
        assert!(answer.body.is_empty(), "{what}");
        return;
    }
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status, "{what}");
    for name in ["title", "detail", "next"] {
        assert!(problem[name].as_str().is_some_and(|text| !text.is_empty()), "{what}: {problem}");
    }
    assert!(problem["code"].as_str().is_some_and(|code| code.starts_with("BR")), "{what}: {problem}");
}

#[test]
fn every_address_refuses_escapes_and_queries_that_cannot_be_read_with_a_problem() {
    let server = Server::start();
    for Operation { method, path, .. } in operations(&server) {
        let has_names = path.contains('{');
        for name in ["%ff", "%C3%28", "%zz", "%", "%00", "a%2Fb"] {
            if has_names {
                let address = filled(&path, name);
                let answer = server.send(&method, &address, &[], b"");
                assert!((400..500).contains(&answer.status), "{method} {address}: {}", answer.status);
                is_told(&answer, &format!("{method} {address}"));
            }
        }
        for query in ["colour=%ff", "%ff=1", "colour=red", "=", "&&&=", "%zz=%zz"] {
            let address = format!("{}?{query}", filled(&path, "nothing"));
            let answer = server.send(&method, &address, &[], b"");
            let is_free = !path.starts_with("/v1/");
            assert!(is_free || (400..500).contains(&answer.status), "{method} {address}: {}", answer.status);
            is_told(&answer, &format!("{method} {address}"));
        }
    }
    let unread = server.get("/v1/jobs/%ff");
    assert_eq!((unread.status, unread.json()["code"].clone()), (400, "BR0142".into()));
    let unread = server.get("/v1/jobs?search=%ff");
    assert_eq!((unread.status, unread.json()["code"].clone()), (400, "BR0142".into()));
    assert_eq!(server.get("/v1/jobs?search=%EF%BF%BD").status, 200, "somebody may look for that character");
}

#[test]
fn every_address_refuses_a_wrong_method_by_naming_the_right_ones() {
    let server = Server::start();
    let operations = operations(&server);
    for Operation { path, .. } in &operations {
        let address = filled(path, "echo");
        let taken: Vec<_> = operations.iter().filter(|one| one.path == *path).map(|one| one.method.as_str()).collect();
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            if taken.contains(&method) {
                continue;
            }
            let what = format!("{method} {address}");
            let answer = server.send(method, &address, &[], b"");
            is_told(&answer, &what);
            assert_eq!((answer.status, answer.json()["code"].clone()), (405, "BR0144".into()), "{what}");
            let allowed = answer.header("allow").unwrap_or_default();
            assert!(taken.iter().all(|method| allowed.contains(method)), "{what}: {allowed}");
        }
        is_told(&server.send("HEAD", &address, &[], b""), &format!("HEAD {address}"));
    }
    for (method, target) in
        [("OPTIONS", "*"), ("GET", "/v1"), ("GET", "/v1/"), ("GET", "/v2/jobs"), ("POST", "//v1/jobs")]
    {
        let answer = server.send(method, target, &[], b"");
        assert_eq!(answer.status, 404, "{method} {target}");
        is_told(&answer, &format!("{method} {target}"));
    }
    let page = server.send("GET", "/v1/nothing", &[("Accept", "text/html")], b"");
    is_told(&page, "who asks the API for a page gets a problem");
}

#[test]
fn every_address_takes_the_kind_of_body_that_it_reads_and_no_other() {
    let server = Server::start();
    for headers in [[].as_slice(), &[("Content-Type", "application/x-www-form-urlencoded")]] {
        assert_eq!(server.send("POST", "/v1/jobs", headers, JOB.as_bytes()).status, 201, "as `curl -d` sends it");
    }
    for Operation { method, path, reads_body } in operations(&server) {
        let address = filled(&path, "nothing");
        let what = format!("{method} {address}");
        for headers in [
            [("Content-Type", "text/csv")].as_slice(),
            &[("Content-Type", "multipart/form-data; boundary=x")],
            &[("Content-Encoding", "gzip")],
            &[("Content-Encoding", "zstd"), ("Content-Type", "application/json")],
        ] {
            let answer = server.send(&method, &address, headers, b"x,y");
            is_told(&answer, &what);
            assert_eq!((answer.status, answer.json()["code"].clone()), (415, "BR0145".into()), "{what} {headers:?}");
            let says_nothing = answer.json()["detail"].as_str().is_some_and(|detail| detail.ends_with("takes no body"));
            assert_eq!(says_nothing, !reads_body, "{what}: {}", answer.text());
            let advice = if headers[0].0 == "Content-Type" { "accept" } else { "accept-encoding" };
            assert_eq!(answer.header(advice).is_some(), reads_body, "{what}");
            // Where nothing comes, there is nothing that it could be.
            assert!(!reads_body || server.send(&method, &address, headers, b"").status != 415, "{what}");
        }
    }
    let mut chunked = server.connect();
    let head = "POST /v1/service/resume HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    chunked.write_all(head.as_bytes()).expect("it listens");
    assert_eq!(Answer::read(chunked).status, 200);
}

#[test]
fn a_panic_is_told_as_a_problem() {
    async fn panicking() -> StatusCode {
        panic!("on purpose")
    }
    async fn bare() -> (StatusCode, &'static str) {
        (StatusCode::IM_A_TEAPOT, "a library's words")
    }
    let panics = |_: &ApiState, routes: Router| routes.route("/v1/panics", get(panicking)).route("/v1/bare", get(bare));
    let server = Server::with(Setup { between: Some(panics), ..Setup::default() });
    let answer = server.get("/v1/panics");
    assert_eq!((answer.status, answer.json()["code"].clone()), (500, "BR0117".into()));
    is_told(&answer, "a panic");
    let answer = server.get("/v1/bare");
    assert_eq!((answer.status, answer.json()["detail"].clone()), (418, "a library's words".into()));
    is_told(&answer, "bare text");
}

/// The answer to some bytes.
fn answer_to(server: &Server, bytes: &[u8]) -> Answer {
    let mut connection = server.connect();
    connection.write_all(bytes).expect("it listens");
    Answer::read(connection)
}

#[test]
fn what_is_no_request_is_told_so() {
    let server = Server::start();
    let head = |line: &str, headers: &str| {
        format!("{line}\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n").into_bytes()
    };
    let long = "x".repeat(70_000);
    for (bytes, status) in [
        (b"GET /v1/jobs/\xff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(), 400),
        (head("GET /v1/jobs?a=<b> HTTP/1.1", "no colon\r\n"), 400),
        (head("GET /v1/jobs HTTP/7.1", ""), 400),
        (head("G@T /v1/jobs HTTP/1.1", ""), 400),
        (head("GET", ""), 400),
        (head("POST /v1/jobs HTTP/1.1", "Content-Length: some\r\n"), 400),
        (head("POST /v1/jobs HTTP/1.1", "Transfer-Encoding: gzip\r\n"), 400),
        (head(&format!("GET /v1/jobs?plugin={long} HTTP/1.1"), ""), 414),
        (head("GET /v1/jobs HTTP/1.1", &format!("X-Long: {long}{long}{long}\r\n")), 431),
        (head(&format!("GET /v1/jobs?plugin={} HTTP/1.1", &long[..10_000]), "Connection: close\r\n"), 414),
    ] {
        let what = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let answer = answer_to(&server, &bytes);
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        is_told(&answer, &what);
    }
}

#[test]
fn whoever_sends_all_of_a_head_that_is_too_large_before_he_reads_gets_to_see_why() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.write_all(b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-Long: ").expect("it listens");
    let piece = vec![b'x'; 64 << 10];
    (0..48).for_each(|_| connection.write_all(&piece).expect("it reads what it has refused, too"));
    let answer = Answer::read(connection);
    assert_eq!(answer.status, 431);
    is_told(&answer, "three MiB of headers");
}

#[test]
fn what_is_no_request_is_told_so_after_others_too() {
    let server = Server::start();
    let good = "GET /v1/counts HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut connection = server.connect();
    connection.write_all(good.as_bytes()).expect("it listens");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut byte = [0];
        std::io::Read::read_exact(&mut connection, &mut byte).expect("it is answered");
        answer.push(byte[0]);
    }
    connection.write_all(b"no request\r\n\r\n").expect("it is open");
    let told = Answer::read(connection);
    assert_eq!((told.status, told.json()["code"].clone()), (400, "BR0142".into()));
    is_told(&told, "the second");
}

#[test]
fn what_jobs_were_given_and_made_is_for_nobody_to_keep() {
    let server = guarded();
    let root = root(&server);
    let id = root.run(r#"{"plugin": "echo", "handler": "chatty", "input_text": "<script>"}"#);
    for what in ["input", "output", "logs", "attempts", "audit", "explain", "changes?logs=true"] {
        let answer = root.get(&format!("/v1/jobs/{id}/{what}"));
        assert_eq!(answer.status, 200, "{what}");
        is_told(&answer, what);
    }
    for path in [
        "/v1/jobs",
        "/v1/plugins/echo",
        "/openapi.json",
        "/metrics",
        "/healthz",
        "/readyz",
        "/errors",
        "/errors/BR0101",
    ] {
        is_told(&root.get(path), path);
    }
    is_told(&root.post("/v1/jobs", LATER), "a submit");
    is_told(&server.get("/v1/jobs"), "a refusal");
}
