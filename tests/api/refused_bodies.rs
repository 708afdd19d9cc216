//! A refusal that comes while its request is still being sent reaches the sender.

use std::io::{Read, Write};

use crate::support::{Answer, Server, Setup};

const BODY: usize = 24 << 20;

/// Sends a whole request before it reads anything, as simple clients do.
fn sent(server: &Server, head: &str) -> Answer {
    let mut stream = server.connect();
    stream.write_all(head.as_bytes()).expect("it listens");
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..BODY / piece.len() {
        stream.write_all(&piece).expect("it reads what it has refused, too");
    }
    Answer::read(stream)
}

#[test]
fn a_sender_who_sends_all_before_it_reads_gets_the_refusal() {
    let server = Server::with(Setup { token: Some("a-secret-of-the-host"), ..Setup::default() });
    for (line, token, status) in [
        ("POST /v1/jobs/bulk", "wrong", 401),
        ("PUT /v1/plugins/x/versions/1.0.0", "wrong", 401),
        ("POST /v1/batches", "wrong", 401),
        // Too large, and told before it is read.
        ("POST /v1/jobs", "a-secret-of-the-host", 413),
        // A line that is too long.
        ("POST /v1/jobs/bulk", "a-secret-of-the-host", 422),
    ] {
        let head = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: {BODY}\r\n\
             Connection: close\r\n\r\n"
        );
        assert_eq!(sent(&server, &head).status, status, "{line}");
    }
}

#[test]
fn a_sender_who_asks_first_sends_nothing_that_is_refused() {
    let server = Server::with(Setup { token: Some("a-secret-of-the-host"), ..Setup::default() });
    let head = |token: &str| {
        format!(
            "POST /v1/jobs/bulk HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 24\r\n\
             Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
    };
    let mut refused = server.connect();
    refused.write_all(head("wrong").as_bytes()).expect("it listens");
    assert_eq!(Answer::read(refused).status, 401);

    let mut admitted = server.connect();
    admitted.write_all(head("a-secret-of-the-host").as_bytes()).expect("it listens");
    let mut word = [0; 12];
    admitted.read_exact(&mut word).expect("it asks for the body");
    assert_eq!(&word, b"HTTP/1.1 100");
}
