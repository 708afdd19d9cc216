//! What a person sees who waits for a job: its id, why it does not start, its log as it comes, and how to go away.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::host::Host;
use super::program::program;

#[test]
fn the_id_comes_first_and_then_why_it_does_not_start() {
    let host = Host::start();
    host.upload("echo");
    host.run(&["queue", "pause", "default"]).done();
    let said = host.watch_for(&["run", "echo", "x"], "why: ");
    let mut lines = said.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("job 0")), "{said}");
    let explained = host.json(&["job", "list"]);
    let id = explained["jobs"][0]["id"].as_str().expect("an id").to_owned();
    let sentence =
        host.json(&["job", "explain", &id])["reasons"][0]["message"].as_str().expect("a sentence").to_owned();
    assert!(said.contains(&sentence), "{sentence}: {said}");
    let listed = host.run(&["job", "list"]).done();
    assert!(listed.contains(&sentence), "{listed}");
    let followed = host.watch_for(&["job", "watch", &id], "why: ");
    assert!(followed.contains(&sentence), "{followed}");
}

#[test]
fn a_log_comes_while_the_job_runs() {
    let host = Host::start();
    host.upload("misbehave");
    let input = "{\"do\":\"count-slices\",\"times\":1000,\"ms\":200}";
    let id = host.run(&["job", "submit", "misbehave", "--input", input]).done().trim().to_owned();
    let told = host.watch_for(&["job", "watch", &id], "is done");
    assert!(told.contains("  | "), "{told}");
    let mut follow = program(host.folder())
        .args(["job", "logs", "-f", &id, "--server", host.server()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains("is done"))), "a line comes before the end");
    assert_eq!(host.json(&["job", "show", &id])["completed_on"], serde_json::Value::Null);
    host.run(&["job", "cancel", &id]).done();
    assert!(follow.wait().expect("it ends with the job").success());
}

#[test]
fn who_interrupts_is_told_that_the_job_goes_on() {
    let host = Host::start();
    host.upload("echo");
    host.run(&["service", "pause"]).done();
    let mut child = program(host.folder())
        .args(["run", "echo", "x", "--server", host.server()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let first = lines.next().expect("the id comes first");
    let id = first.strip_prefix("job ").expect("the id comes first").to_owned();
    assert_eq!(lines.next().as_deref(), Some("queued"));
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.expect("it can be interrupted").success());
    let rest: Vec<_> = lines.collect();
    let rest = rest.join("\n");
    assert!(rest.contains(&format!("job {id} goes on without you")), "{rest}");
    assert!(
        rest.contains(&format!("backroom job watch {id}")) && rest.contains(&format!("backroom job cancel {id}")),
        "{rest}"
    );
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(host.json(&["job", "show", &id])["state"], "queued");
}

#[test]
fn a_plugin_that_was_slowed_down_says_so_with_the_failure() {
    let host = Host::start();
    host.upload("misbehave");
    let failing = "{\"plugin\":\"misbehave\",\"max_attempts\":1,\"input\":{\"do\":\"fail\",\"class\":\"fatal\",\"message\":\"no\"}}\n";
    std::fs::write(host.folder().join("jobs.ndjson"), failing.repeat(30)).expect("it can be written");
    host.run(&["job", "submit", "--bulk", "jobs.ndjson"]).done();
    let is_slowed = || host.json(&["plugin", "show", "misbehave"])["degraded"] == true;
    let slowed = (0..400).any(|_| {
        // No signal says from outside that a breaker has opened.
        std::thread::sleep(std::time::Duration::from_millis(50));
        is_slowed()
    });
    assert!(slowed, "thirty failures open a breaker");
    // One more that has failed already: its end is told at once, and what it did to the others with it.
    let failed = host.json(&["job", "list", "--state", "failed"])["jobs"][0]["id"].clone();
    let ran = host.run(&["job", "watch", failed.as_str().expect("an id")]);
    assert_eq!(ran.code, 1, "{}", ran.whole());
    let note = "plug-in misbehave keeps failing, so its jobs start less and less often";
    assert!(ran.err.contains(note) && ran.err.contains("backroom plugin resume misbehave"), "{}", ran.whole());
}

#[test]
fn a_log_that_nobody_reads_any_more_ends_the_listening() {
    let host = Host::start();
    host.upload("misbehave");
    let id = host.run(&["job", "submit", "misbehave", "--input", TALK]).done().trim().to_owned();
    let mut follow = program(host.folder())
        .args(["job", "logs", "-f", &id, "--server", host.server()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines();
    assert!(lines.next().is_some_and(|line| line.is_ok_and(|line| line.contains("line 1"))));
    drop(lines);
    let closed = Instant::now();
    assert_eq!(follow.wait().expect("it ends").code(), Some(0));
    assert!(closed.elapsed() < Duration::from_secs(10), "it listened on for {:?}", closed.elapsed());
    assert_eq!(host.json(&["job", "show", &id])["state"], "running", "it ended before the job");
    host.run(&["job", "cancel", &id]).done();
}

/// Lets two streams of bytes through to an address, each until it is cut.
fn proxy_to(server: &str) -> (String, Arc<Mutex<Vec<TcpStream>>>) {
    let there = server.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = format!("http://{}", listener.local_addr().expect("it listens"));
    let open = Arc::new(Mutex::new(Vec::new()));
    let held = Arc::clone(&open);
    std::thread::spawn(move || {
        for here in listener.incoming().map_while(Result::ok) {
            let there = TcpStream::connect(&there).expect("the host is there");
            let again = |stream: &TcpStream| stream.try_clone().expect("it can be cloned");
            held.lock().expect("no panic").extend([again(&here), again(&there)]);
            for (mut from, mut to) in [(again(&here), again(&there)), (there, here)] {
                std::thread::spawn(move || {
                    // Either side may go at any time.
                    drop(std::io::copy(&mut from, &mut to));
                    drop(to.shutdown(std::net::Shutdown::Both));
                });
            }
        }
    });
    (address, open)
}

/// A line each ten milliseconds, until it is stopped.
const TALK: &str = "{\"do\":\"talk\",\"times\":100000,\"ms\":10}";

#[test]
fn a_lost_connection_costs_no_line_without_a_word() {
    let host = Host::start_with("[limits]\nlog = \"6KiB\"\n");
    host.upload("misbehave");
    let (server, open) = proxy_to(host.server());
    let id = host.run(&["job", "submit", "misbehave", "--input", TALK]).done().trim().to_owned();
    let mut follow = program(host.folder())
        .args(["job", "logs", "-f", &id, "--server", &server])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut next = 1;
    let mut read_to = |last: u64| {
        while next <= last {
            let line = lines.next().expect("the log goes on");
            let words: Vec<_> = line.split_whitespace().collect();
            let of = |word: &str| {
                words
                    .iter()
                    .skip_while(|there| **there != word)
                    .nth(1)
                    .and_then(|word| word.replace(',', "").parse::<u64>().ok())
            };
            match of("line") {
                Some(number) => assert_eq!(next, number, "each line comes once, in order"),
                None => next += of("-----").unwrap_or_else(|| panic!("what is this: {line}")) - 1,
            }
            next += 1;
        }
        next
    };
    // By then the log keeps its beginning and its end only.
    read_to(300);
    for stream in open.lock().expect("no panic").drain(..) {
        // One that the other side has left already is as lost as it can be.
        let _lost = stream.shutdown(std::net::Shutdown::Both);
    }
    let seen = read_to(600);
    assert!(seen > 600);
    host.run(&["job", "cancel", &id]).done();
    follow.kill().expect("it is there");
    follow.wait().expect("it ends");
}
