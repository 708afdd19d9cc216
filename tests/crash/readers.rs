//! Readers who do not read: what is sent to them is read from the store as they take it, and not held for each.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::host::Host;

const MIB: u64 = 1 << 20;

/// Bytes of the output that they ask for.
const OUTPUT: u64 = 16 * MIB;

const READERS: usize = 100;

/// What all of them may cost: four outputs that are looked through at a time, and a quarter of a MiB for each reader.
const HELD_MAX: u64 = 4 * OUTPUT + READERS as u64 * MIB / 4 + 32 * MIB;

/// A server that answers everything with a text as large as the output; its address.
fn large_text() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let text = "x".repeat(usize::try_from(OUTPUT).expect("it fits"));
        for mut connection in listener.incoming().map_while(Result::ok) {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {OUTPUT}\r\n\r\n");
            let _asked = connection.read(&mut [0; 4_096]);
            let _sent = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(text.as_bytes()));
        }
    });
    origin
}

/// A field of what the kernel says of a process, in bytes.
fn memory(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says");
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kib << 10
}

/// A reader who has asked, has seen how the answer begins, and reads no more.
fn reader(address: &str, path: &str) -> TcpStream {
    let authority = address.strip_prefix("http://").expect("an address");
    let mut connection = TcpStream::connect(authority).expect("the host listens");
    connection.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
    let head = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    connection.write_all(head.as_bytes()).expect("it is open");
    let mut line = [0; 12];
    connection.read_exact(&mut line).expect("it is answered");
    assert_eq!(&line, b"HTTP/1.1 200");
    connection
}

#[test]
fn a_hundred_readers_who_do_not_read_a_large_output_hold_little() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_backroom"));
    // None of them is given up meanwhile.
    command.env("BACKROOM_LIMITS_OUTPUT", "20MiB").env("BACKROOM_SERVER_STALL", "1h");
    let host = Host::start_with(folder.path(), command);
    let origin = large_text();
    host.post("/v1/plugins/http/grants", &json!({ "http": [origin] }));
    let job = host.post("/v1/jobs?wait=60", &json!({ "plugin": "http", "input": { "url": origin } }));
    assert_eq!(job["state"], "succeeded", "{job}");
    let path = format!("/v1/jobs/{}/output", job["id"].as_str().expect("an id"));
    let first = reader(&host.address, &path);
    // From here on the peak counts anew.
    std::fs::write(format!("/proc/{}/clear_refs", host.id()), "5").expect("it is our child");
    let before = memory(host.id(), "VmRSS:");
    let (address, path) = (&host.address, &path);
    let readers: Vec<_> = std::thread::scope(|scope| {
        // As many at a time as outputs are looked through: none of them waits for its turn in vain.
        let some = || (0..READERS / 4).map(|_| reader(address, path)).collect::<Vec<_>>();
        let four: Vec<_> = (0..4).map(|_| scope.spawn(some)).collect();
        four.into_iter().flat_map(|some| some.join().expect("they are answered")).collect()
    });
    let held = memory(host.id(), "VmHWM:").saturating_sub(before);
    println!("{} readers of {OUTPUT} bytes: {held} bytes at the most", readers.len());
    assert!(held < HELD_MAX, "{held} bytes are held, and {HELD_MAX} are allowed");
    assert_eq!(host.get("/v1/service")["state"], "running", "others are served");
    drop((first, readers));
}
