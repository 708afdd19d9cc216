//! What guests make the host hold, as the system counts it: the memory of a real host with eight jobs of a kind at once. No job
//! may cost more than its own memory, the limit of its copies and a constant (`docs/sandbox.md`).

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::measured::{CONSTANT, Host, JOBS, MIB, own_bytes};
use crate::support::built_plugin;

/// The limit of what host calls may copy, lower than usual, so that a way past it stands out.
const COPIES: u64 = 8 * MIB;

/// Answers whatever it is asked with a body that has no end, and headers of the largest size that pass.
fn endless_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let _ = connection.read(&mut request);
                let head = format!("HTTP/1.1 200 OK\r\nx-large: {}\r\n\r\n", "x".repeat(40 << 10));
                let mut sent = connection.write_all(head.as_bytes());
                while sent.is_ok() {
                    sent = connection.write_all(&[b'x'; 64 << 10]);
                }
            });
        }
    });
    address
}

#[test]
fn no_guest_makes_the_host_hold_more_than_its_memory_its_copies_and_a_constant() {
    let peer = endless_server();
    let hold = |what: &str, bytes: usize, times: u64| json!({ "do": "hold", "what": what, "bytes": bytes, "times": times, "address": peer });
    let kinds = [
        hold("authorities", 4_000_000, 300),
        hold("authorities", 60_000, 900),
        hold("methods", 4_000_000, 300),
        hold("methods", 60_000, 900),
        hold("paths", 4_000_000, 300),
        hold("paths", 60_000, 900),
        hold("schemes", 4_000_000, 300),
        hold("fields", 60_000, 900),
        hold("field-lists", 60_000, 900),
        hold("small-fields", 400, 900),
        hold("clones", 60_000, 490),
        hold("bodies", 4_000_000, 300),
        hold("zeroes", 4_000_000, 300),
        hold("answers", 0, 32),
        hold("splices", 60_000, 32),
        hold("settings", 4_000_000, 300),
        hold("lookups", 4_000_000, 300),
        json!({ "do": "checkpoint", "bytes": 4_000_000, "times": 100 }),
        json!({ "do": "random", "bytes": 4_000_000, "times": 4 }),
        json!({ "do": "output", "bytes": 4_000_000 }),
        json!({ "do": "flood-log", "bytes": 30_000_000, "line": 4_000_000 }),
        json!({ "do": "flood-log", "bytes": 4_000_000, "line": 1 }),
        json!({ "do": "flood-stdout", "bytes": 30_000_000 }),
        json!({ "do": "handles", "times": 900 }),
        json!({ "do": "poll-list", "times": 900_000 }),
        json!({ "do": "fill", "bytes": 30_000_000 }),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let origin = format!("http = [\"http://{peer}\"]");
    let settings =
        format!("[limits]\nhost_copy = \"8MiB\"\n[[plugin]]\nname = \"misbehave\"\ngrants = {{ {origin} }}\n");
    let component = std::fs::read(built_plugin("misbehave")).expect("the component is built");
    Host::start(folder.path(), &settings).upload("misbehave", &component, &format!("[wants]\n{origin}\n"));
    for ask in kinds {
        // A fresh one each time: what a kind leaves with the allocator and the pool must not hide what the next one takes.
        let host = Host::start(folder.path(), &settings);
        host.run("misbehave", &json!({ "do": "burn" }));
        host.forget_peak();
        let before = host.peak();
        let jobs = host.run("misbehave", &ask);
        let grown = host.peak().saturating_sub(before);
        let comes_to = |output: Value| jobs.iter().all(|job| job["output"] == output);
        match ask["what"].as_str() {
            Some("answers" | "splices") => {
                assert!(comes_to(json!({ "taken": 32, "refused": 0 })), "they did not reach the server: {jobs:?}");
            }
            Some("lookups") => assert!(comes_to(json!({ "taken": 0, "refused": 300 })), "{jobs:?}"),
            Some("settings") => assert!(jobs.iter().all(|job| job["error"]["code"] == "BR0308"), "{jobs:?}"),
            _ => {}
        }
        let own = own_bytes(&jobs);
        let most = own + JOBS * (COPIES + CONSTANT);
        println!("{ask}: {} MiB, of which {} their own, at most {}", grown / MIB, own / MIB, most / MIB);
        assert!(own > 0, "{ask}: they did not run: {jobs:?}");
        assert!(grown <= most, "{ask}: 8 jobs made the host hold {} MiB, {} their own", grown / MIB, own / MIB);
    }
}
