//! `POST /v1/store/backup`: the whole store as one file, while the host works.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use backroom::store::Store as _;
use backroom::store::backup::{BackupError, Reader, read_into};
use backroom::store::memory::MemoryStore;
use backroom::stored::Registry;

use crate::support::*;

fn quiet(_done: u64, _total: u64) -> Result<(), BackupError> {
    Ok(())
}

#[test]
fn a_backup_is_what_the_host_remembers() {
    let server = Server::start();
    let ids: Vec<_> = (0..3).map(|_| server.run(r#"{"plugin": "echo", "handler": "chatty"}"#)).collect();
    server.submit(r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z"}"#);
    for (query, kind, start) in [
        ("", "application/x-ndjson", &b"{\"format\":\"backroom backup\""[..]),
        ("?compress=none", "application/x-ndjson", b"{\"format\":\"backroom backup\""),
        ("?compress=gzip", "application/gzip", b"\x1f\x8b"),
        ("?compress=zstd", "application/zstd", b"\x28\xb5\x2f\xfd"),
    ] {
        let answer = server.post(&format!("/v1/store/backup{query}"), "");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{}", answer.text());
        assert!(answer.body.starts_with(start), "{query}");
        let store = MemoryStore::new();
        let contents = read_into(&answer.body[..], &store, &mut quiet).expect("it is whole");
        assert_eq!((contents.jobs, contents.rows.get("plugin")), (4, Some(&1)));
        for id in &ids {
            let job = server.job(id);
            let id: backroom::domain::id::JobId = id.parse().expect("an id");
            let key = backroom::domain::id::JobKey { tenant: Default::default(), sequence: id.sequence() };
            let restored = store.job(key).expect("it can be read").expect("it is there");
            assert_eq!((restored.submission.id, job["state"].as_str()), (id, Some("succeeded")));
            assert_eq!(restored.state.status.to_string(), "succeeded");
        }
    }
    let refused = server.post("/v1/store/backup?compress=lzma", "");
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("expected one of: none, gzip, zstd"), "{}", refused.text());
}

#[test]
fn one_is_made_at_a_time_and_ends_when_its_reader_goes() {
    let server = Server::start();
    // More than the pipes between the host and its reader hold.
    let large = "x".repeat(900 << 10);
    (0..40).for_each(|_| drop(server.submit(&format!(r#"{{"plugin": "echo", "input": "{large}"}}"#))));
    let mut reader = server.connect();
    let head = format!("POST /v1/store/backup HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", server.address);
    reader.write_all(head.as_bytes()).expect("it is sent");
    let mut first = [0; 4_096];
    reader.read_exact(&mut first).expect("it begins");
    assert!(first.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&first));
    let busy = server.post("/v1/store/backup", "");
    assert_eq!((busy.status, busy.json()["code"].as_str()), (503, Some("BR0115")), "{}", busy.text());
    assert!(busy.text().contains("backups"), "{}", busy.text());
    drop(reader);
    let give_up = Instant::now() + Duration::from_secs(30);
    let answer = loop {
        let answer = server.post("/v1/store/backup?compress=zstd", "");
        if answer.status == 200 || Instant::now() > give_up {
            break answer;
        }
    };
    assert_eq!(answer.status, 200, "{}", answer.text());
    let families = Registry::default();
    let (header, contents) =
        Reader::start(&answer.body[..], &families).and_then(|reader| reader.check(&mut quiet)).expect("it is whole");
    assert_eq!((header.jobs, contents.jobs), (40, 40));
}
