//! Web pages of other sites and callers without the token are refused.

use insta::assert_snapshot;

use crate::support::{Server, Setup};

#[test]
fn foreign_names_and_origins_are_refused() {
    let server = Server::with(Setup { allowed_hosts: vec!["jobs.example".to_owned()], ..Setup::default() });
    let own = server.address.to_string();
    let own_origin = format!("http://{own}");
    let other_port = "http://127.0.0.1:1".to_owned();
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("own", vec![("Host", &own)]),
        ("localhost", vec![("Host", "localhost:9")]),
        ("IPv6 loopback", vec![("Host", "[::1]:9")]),
        ("allowed name", vec![("Host", "Jobs.Example")]),
        ("own origin", vec![("Host", &own), ("Origin", &own_origin)]),
        ("allowed origin", vec![("Host", &own), ("Origin", "https://jobs.example")]),
        ("foreign name", vec![("Host", "evil.example")]),
        ("name that only looks ours", vec![("Host", "localhost.evil.example")]),
        ("foreign address", vec![("Host", "192.0.2.1")]),
        ("foreign origin", vec![("Host", &own), ("Origin", "https://evil.example")]),
        ("origin of another port", vec![("Host", &own), ("Origin", &other_port)]),
        ("origin of a sandboxed page", vec![("Host", &own), ("Origin", "null")]),
        ("cross-site without origin", vec![("Host", &own), ("Sec-Fetch-Site", "cross-site")]),
    ];
    let mut shown = String::new();
    for (what, headers) in cases {
        let answer = server.send("POST", "/v1/service/resume", &headers, b"");
        let told = if answer.status == 200 { "200".to_owned() } else { answer.refusal() };
        shown.push_str(&format!("{what}:\n    {told}\n"));
    }
    insta::with_settings!({filters => vec![(r"127\.0\.0\.1:\d{2,}", "[address]")]}, {
        assert_snapshot!("sites", shown);
    });
}

#[test]
fn a_web_page_cannot_upload() {
    let server = Server::bare();
    let headers = [("Origin", "https://evil.example"), ("Content-Type", "text/plain")];
    let answer = server.send("PUT", "/v1/plugins/worm/versions/1.0.0", &headers, &crate::support::wasm(1));
    assert_eq!(answer.status, 403);
    assert!(server.get("/v1/plugins").json()["plugins"].as_array().is_some_and(Vec::is_empty));
}

#[test]
fn a_token_is_asked_for() {
    let server = Server::with(Setup { token: Some("secret"), ..Setup::default() });
    let ask = |path: &str, token: &str| server.send("GET", path, &[("Authorization", token)], b"");
    assert_eq!(ask("/v1/jobs", "Bearer secret").status, 200);
    assert_eq!(ask("/v1/jobs", "bearer secret").status, 200);
    let none = server.get("/v1/jobs");
    assert_eq!(none.header("www-authenticate"), Some("Bearer"));
    let shown = [none, ask("/v1/jobs", "Bearer secre"), ask("/v1/jobs", "Basic secret"), server.get("/metrics")];
    assert_snapshot!("tokens", shown.map(|answer| answer.refusal()).join("\n"));
    for open in ["/healthz", "/readyz", "/errors/BR0114"] {
        assert_eq!(server.get(open).status, 200, "{open}");
    }
}
