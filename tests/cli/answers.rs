//! What the client says of each answer, and of each that does not come: what is known, and no guess.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::host::Host;
use super::program::{Ran, run_in};

/// More than the buffers of a connection hold.
const LARGE: usize = 12 << 20;

/// Somebody at an address who treats each connection in the same way, for as long as the test goes on.
fn somebody(treat: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(treat));
    format!("127.0.0.1:{}", address.port())
}

/// Reads so much of a request at least; all of its headers in any case.
fn read_some(stream: &mut TcpStream, least: usize) {
    let (mut read, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    while read.len() < least || !read.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(bytes) => read.extend_from_slice(&buffer[..bytes]),
        }
    }
}

fn answering(answer: String) -> String {
    somebody(move |mut stream| {
        read_some(&mut stream, 0);
        // Whoever has gone meanwhile needs no answer.
        drop(stream.write_all(answer.as_bytes()));
    })
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// A file of so many bytes of jobs.
fn jobs(folder: &std::path::Path, bytes: usize) {
    let line = format!("{{\"plugin\":\"echo\",\"input_text\":\"{}\"}}\n", "x".repeat(4_000));
    std::fs::write(folder.join("jobs.ndjson"), line.repeat(bytes.div_ceil(line.len()))).expect("it can be written");
}

fn bulk(server: &str) -> Ran {
    let folder = tempfile::tempdir().expect("a folder can be made");
    jobs(folder.path(), LARGE);
    run_in(folder.path(), &["job", "submit", "--bulk", "jobs.ndjson", "--server", server])
}

#[test]
fn a_large_body_with_a_wrong_token_is_refused_in_so_many_words() {
    let host = Host::start_with("[server]\ntoken = \"a-secret-of-the-host\"\n");
    jobs(host.folder(), LARGE);
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    component.resize(LARGE, 0);
    std::fs::write(host.folder().join("large.wasm"), component).expect("it can be written");
    for args in [
        &["job", "submit", "--bulk", "jobs.ndjson"][..],
        &["batch", "submit", "jobs.ndjson"],
        &["plugin", "upload", "large.wasm", "--name", "large", "--version", "1.0.0"],
    ] {
        for token in [&["--token", "not-the-secret-of-it"][..], &[]] {
            let ran = host.run(&[args, token].concat());
            assert_eq!(ran.code, 1, "{}", ran.whole());
            assert!(ran.err.starts_with("error[BR0114]: "), "{}", ran.whole());
            assert!(!ran.err.contains("may have been") && !ran.err.contains("backroom serve"), "{}", ran.whole());
        }
    }
    let ran = host.run(&["job", "submit", "--bulk", "jobs.ndjson", "--token", "not-the-secret-of-it"]);
    assert!(ran.err.contains("; nothing was submitted"), "{}", ran.whole());
}

#[test]
fn an_answer_that_comes_while_the_body_is_still_sent_is_read() {
    let problem =
        r#"{"type":"/errors/BR0114","title":"t","status":401,"detail":"no such token","code":"BR0114","next":"n"}"#;
    let answer = http("401 Unauthorized", "Content-Type: application/problem+json\r\n", problem);
    // It does not know `Expect`, and leaves the most of the body unread.
    let server = somebody(move |mut stream| {
        read_some(&mut stream, 100_000);
        drop(stream.write_all(answer.as_bytes()));
    });
    let ran = bulk(&format!("http://{server}"));
    assert!(ran.err.starts_with("error[BR0114]: no such token; nothing was submitted"), "{}", ran.whole());
}

#[test]
fn each_answer_of_a_stranger_is_told_as_it_is() {
    for (answer, code, says) in [
        (
            http("502 Bad Gateway", "Content-Type: text/html\r\n", "<h1>Bad Gateway</h1>"),
            "BR0508",
            "502 Bad Gateway; that is a proxy",
        ),
        (http("413 Payload Too Large", "", ""), "BR0508", "it takes no body of this size"),
        (
            http("401 Unauthorized", "WWW-Authenticate: Basic\r\n", ""),
            "BR0508",
            "a proxy in front of it lets nobody through",
        ),
        (
            http("429 Too Many Requests", "Retry-After: 9\r\n", ""),
            "BR0508",
            "it asks to be tried again after 9 seconds",
        ),
        (
            http("503 Service Unavailable", "", "{\"message\":\"no upstream\"}"),
            "BR0508",
            "it says: {\"message\":\"no upstream\"}",
        ),
        (
            http("301 Moved", "Location: https://jobs.example/v1\r\n", ""),
            "BR0508",
            "give --server https://jobs.example",
        ),
        (http("404 Not Found", "", "nothing"), "BR0508", "404 Not Found; it is not a host of this release"),
        (http("200 OK", "", "hello"), "BR0508", "is not a host of this release: its answer is not our JSON"),
        (
            "\x15\x03\x03\0\x02\x02\x46".to_owned(),
            "BR0508",
            "where TLS is in front of it, the address begins with https://",
        ),
        (String::new(), "BR0507", "ended before the answer was there"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_owned(),
            "BR0507",
            "broke off; what was asked for is done",
        ),
    ] {
        let server = format!("http://{}", answering(answer.clone()));
        let ran = super::program::run(&["service", "status", "--server", &server]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{answer}: {}", ran.whole());
        assert!(
            ran.err.starts_with(&format!("error[{code}]: ")) && ran.err.contains(says),
            "{answer}: {}",
            ran.whole()
        );
    }
    // Somebody who does not speak TLS says so as soon as anything comes.
    let plain = somebody(|mut stream| {
        let _greeting = stream.read(&mut [0; 1_024]);
        drop(stream.write_all(http("400 Bad Request", "", "").as_bytes()));
    });
    let server = format!("https://{plain}");
    let ran = super::program::run(&["service", "status", "--server", &server]);
    assert!(
        ran.err.contains("does not speak TLS") && ran.err.contains("next: give --server http://"),
        "{}",
        ran.whole()
    );
    let ran = super::program::run(&["service", "status", "--server", "http://no-such-host.invalid:7171"]);
    assert!(ran.err.starts_with("error[BR0502]: no host answers at") && ran.err.contains("name"), "{}", ran.whole());
}

#[test]
fn a_bulk_says_that_lines_may_be_there_only_when_nobody_knows() {
    let known = "nothing was submitted";
    let unknown = "may have been accepted";
    let cut = somebody(|mut stream| read_some(&mut stream, 100_000));
    let whole = somebody(|mut stream| {
        read_some(&mut stream, LARGE);
        drop(stream.write_all(http("504 Gateway Timeout", "", "").as_bytes()));
    });
    for (server, says, does_not_say) in [
        (cut, known, unknown),
        (whole, unknown, known),
        (answering(http("413 Payload Too Large", "", "")), known, unknown),
        (answering(http("503 Service Unavailable", "Retry-After: 1\r\n", "")), known, unknown),
        ("127.0.0.1:1".to_owned(), known, unknown),
        ("no-such-host.invalid:1".to_owned(), known, unknown),
    ] {
        let ran = bulk(&format!("http://{server}"));
        assert!(ran.err.contains(says) && !ran.err.contains(does_not_say), "{says}: {}", ran.whole());
    }
}
