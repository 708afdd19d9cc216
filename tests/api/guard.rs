//! Web pages of other sites and callers without the token are refused.

use std::io::{Read as _, Write as _};

use insta::assert_snapshot;

use crate::support::{Answer, Server, Setup};

#[test]
fn foreign_names_and_origins_are_refused() {
    let allowed_hosts = vec!["jobs.example".to_owned()];
    let server = Server::with(Setup { token: Some("secret"), allowed_hosts, ..Setup::default() });
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
    for (what, mut headers) in cases {
        headers.push(("Authorization", "Bearer secret"));
        let answer = server.send("POST", "/v1/service/resume", &headers, b"");
        let told = if answer.status == 200 { "200".to_owned() } else { answer.refusal() };
        shown.push_str(&format!("{what}:\n    {told}\n"));
    }
    insta::with_settings!({filters => vec![(r"127\.0\.0\.1:\d{2,}", "[address]")]}, {
        assert_snapshot!("sites", shown);
    });
}

#[test]
fn a_request_says_once_which_host_it_is_for() {
    let server = Server::with(Setup { token: Some("secret"), ..Setup::default() });
    let own = server.address;
    let asked = |line: &str, headers: &str| {
        let mut connection = server.connect();
        let head = format!("{line}\r\n{headers}Authorization: Bearer secret\r\nConnection: close\r\n\r\n");
        connection.write_all(head.as_bytes()).expect("it listens");
        let answer = Answer::read(connection);
        let code = if answer.status == 200 {
            "-".to_owned()
        } else {
            answer.json()["code"].as_str().unwrap_or("?").to_owned()
        };
        (answer.status, code)
    };
    let (fine, bad, foreign) = ((200, "-".to_owned()), (400, "BR0143".to_owned()), (403, "BR0111".to_owned()));
    let ours = format!("Host: {own}\r\n");
    for path in ["/v1/jobs", "/healthz", "/errors"] {
        for version in ["1.1", "1.0"] {
            let line = format!("GET {path} HTTP/{version}");
            assert_eq!(asked(&line, &ours), fine, "{line}");
            for headers in [
                String::new(),
                "Host:\r\n".to_owned(),
                format!("{ours}{ours}"),
                format!("{ours}Host: evil.example\r\n"),
                format!("Host: x@{own}\r\n"),
                format!("Host: {own}0000\r\n"),
                format!("Host: http://{own}\r\n"),
                "Host: 127.0.0.1 evil.example\r\n".to_owned(),
            ] {
                assert_eq!(asked(&line, &headers), bad, "{line} {headers}");
            }
            let by_another_name = if path == "/healthz" { &fine } else { &foreign };
            assert_eq!(asked(&line, "Host: evil.example\r\n"), *by_another_name, "{line}");
        }
        // A whole URL counts more than the header, which has to be right all the same.
        let whole = |host: &str| format!("GET http://{host}{path} HTTP/1.1");
        let own = own.to_string();
        assert_eq!(asked(&whole(&own), &ours), fine);
        assert_eq!(asked(&whole(&own), "Host: evil.example\r\n"), fine);
        assert_eq!(
            asked(&whole("evil.example"), &ours),
            if path == "/healthz" { fine.clone() } else { foreign.clone() }
        );
        assert_eq!(asked(&whole(&format!("x@{own}")), &ours), bad);
        assert_eq!(asked(&whole(&own), ""), bad);
        assert_eq!(asked(&whole(&own), &format!("{ours}{ours}")), bad);
    }
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

#[test]
fn a_host_without_a_token_answers_nobody_from_elsewhere() {
    let server = Server::with(Setup { allowed_hosts: vec!["jobs.example".to_owned()], ..Setup::default() });
    let own = server.address.to_string();
    let refused = |headers: &[(&str, &str)]| {
        let answer = server.send("GET", "/v1/jobs", headers, b"");
        assert_eq!((answer.status, answer.json()["code"].clone()), (403, "BR0135".into()), "{headers:?}");
        assert_eq!(server.send("GET", "/healthz", headers, b"").status, 200, "{headers:?}");
    };
    refused(&[("Host", "jobs.example")]);
    for header in [
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Port",
        "X-Forwarded-Server",
        "X-Real-IP",
        "Via",
        "CF-Connecting-IP",
        "True-Client-IP",
        "X-Client-IP",
        "Fly-Client-IP",
        "X-Envoy-External-Address",
    ] {
        refused(&[("Host", &own), (header, "for=192.0.2.1")]);
    }
    assert_eq!(server.get("/v1/jobs").status, 200);
    // From the first token on it is not the way that counts.
    let made = server.post("/v1/tokens", r#"{"name": "admin", "rights": ["admin"]}"#).json();
    let bearer = format!("Bearer {}", made["secret"].as_str().expect("a secret"));
    let with = [("Host", "jobs.example"), ("X-Forwarded-For", "192.0.2.1"), ("Authorization", bearer.as_str())];
    assert_eq!(server.send("GET", "/v1/jobs", &with, b"").status, 200);
}

#[test]
fn a_health_check_is_answered_by_whatever_name_it_asks() {
    for token in [None, Some("secret")] {
        let server = Server::with(Setup { token, ..Setup::default() });
        let own = server.address.to_string();
        for path in ["/healthz", "/readyz"] {
            for headers in [
                [("Host", "jobs.example.com"), ("Accept", "*/*")],
                [("Host", "10.1.2.3:7171"), ("X-Forwarded-For", "192.0.2.1")],
                [("Host", own.as_str()), ("X-Envoy-External-Address", "192.0.2.1")],
            ] {
                assert_eq!(server.send("GET", path, &headers, b"").status, 200, "{path} {headers:?}");
            }
        }
        assert_eq!(server.send("GET", "/errors", &[("Host", "jobs.example.com")], b"").status, 403);
    }
}

#[test]
fn whoever_guesses_is_slowed_down_and_counted_and_keeps_nobody_out() {
    let server = Server::with(Setup { token: Some("secret"), ..Setup::default() });
    let ask = |token: &str| server.send("GET", "/v1/jobs", &[("Authorization", token)], b"");
    let mut guesses = vec![ask("Bearer guess")];
    assert_eq!(guesses[0].status, 401);
    while guesses.last().is_some_and(|answer| answer.status == 401) {
        assert!(guesses.len() < 500, "one may guess for ever");
        guesses.push(ask(&format!("Bearer guess-{}", guesses.len())));
    }
    let last = guesses.last().expect("there are some");
    assert_eq!((last.status, last.header("retry-after")), (429, Some("1")), "{}", last.text());
    assert_eq!(last.json()["code"], "BR0134");
    assert_eq!(ask("Bearer secret").status, 200, "a right token gets in from the same address");
    let metrics = server.send("GET", "/metrics", &[("Authorization", "Bearer secret")], b"").text();
    let count = |code: &str| -> u64 {
        let line =
            metrics.lines().find_map(|line| line.strip_prefix(&format!("backroom_refusals_total{{code=\"{code}\"}} ")));
        line.and_then(|count| count.parse().ok()).unwrap_or_default()
    };
    assert_eq!(count("BR0114") + count("BR0134"), guesses.len() as u64, "{metrics}");
    assert!(count("BR0134") >= 1, "{metrics}");
    // Whoever goes on asking on one connection loses it with the first of the later answers.
    let mut connection = server.connect();
    let guess = format!("GET /v1/jobs HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer guess\r\n\r\n", server.address);
    connection.write_all(guess.repeat(100).as_bytes()).expect("it listens");
    let mut told = String::new();
    // It ends with a reset where the rest is not read.
    let _ended = connection.read_to_string(&mut told);
    let answers = told.matches("HTTP/1.1 ").count();
    assert!((1..=12).contains(&answers) && told.contains("connection: close"), "{answers}: {told}");
}
