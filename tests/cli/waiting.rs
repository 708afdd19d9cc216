//! What a person sees who waits for a job: its id, why it does not start, its log as it comes, and how to go away.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

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
    let input = "{\"do\":\"fail\",\"class\":\"fatal\",\"message\":\"no\"}";
    let told = host.watch_for(&["run", "misbehave", input], "why: ");
    let is_told = told.contains("keeps failing") || told.contains("breaker") || told.contains("slowed");
    assert!(is_told, "{told}");
}
