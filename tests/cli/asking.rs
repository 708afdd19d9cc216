//! What asks before it removes something, on a terminal and nowhere else. `script` plays the terminal; where it is missing these
//! tests are skipped, unless `BACKROOM_REQUIRE_ALL=1` is set.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::host::Host;

/// What a command says on a terminal on which somebody types an answer; none where there is no terminal to be had.
fn on_a_terminal(host: &Host, args: &[&str], typed: &str) -> Option<String> {
    let words = [&[env!("CARGO_BIN_EXE_backroom")], args, &["--server", host.server()]].concat();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]).current_dir(host.folder());
    let script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let is_required = std::env::var("BACKROOM_REQUIRE_ALL").is_ok_and(|value| value == "1");
    let Ok(mut script) = script else {
        assert!(!is_required, "script is missing");
        return None;
    };
    script.stdin.take().expect("a pipe").write_all(typed.as_bytes()).expect("it reads");
    let output = script.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn failed_jobs(host: &Host) -> usize {
    host.json(&["job", "list", "--state", "failed"])["jobs"].as_array().expect("a list").len()
}

#[test]
fn a_purge_asks_on_a_terminal_unless_it_is_told_yes() {
    const PURGE: [&str; 6] = ["job", "purge", "--state", "failed", "--older-than", "0s"];
    let host = Host::start();
    host.upload("misbehave");
    let fail = || host.run(&["run", "misbehave", r#"{"do": "fail", "class": "business"}"#]);
    fail();
    let Some(said) = on_a_terminal(&host, &PURGE, "n\n") else { return };
    assert!(said.contains("remove 1 job for good? [y/N]") && said.contains("nothing was removed"), "{said}");
    assert_eq!(failed_jobs(&host), 1);
    let said = on_a_terminal(&host, &PURGE, "\n").expect("there is a terminal");
    assert!(said.contains("nothing was removed"), "no answer is no yes: {said}");
    let said = on_a_terminal(&host, &PURGE, "y\n").expect("there is a terminal");
    assert!(said.contains("[y/N]") && failed_jobs(&host) == 0, "{said}");
    fail();
    let said = on_a_terminal(&host, &[&PURGE[..], &["--yes"]].concat(), "").expect("there is a terminal");
    assert!(!said.contains("[y/N]") && failed_jobs(&host) == 0, "{said}");
    fail();
    let said = host.run(&PURGE).done();
    assert!(!said.contains("[y/N]") && failed_jobs(&host) == 0, "nobody is there to ask: {said}");
}

#[test]
fn the_removal_of_a_plugin_asks_on_a_terminal_unless_it_is_told_yes() {
    const REMOVE: [&str; 3] = ["plugin", "remove", "echo"];
    let host = Host::start();
    let is_there = || host.run(&["plugin", "show", "echo"]).code == 0;
    host.upload("echo");
    let Some(said) = on_a_terminal(&host, &REMOVE, "no\n") else { return };
    assert!(said.contains("remove plug-in `echo` with its version for good? [y/N]"), "{said}");
    assert!(said.contains("nothing was removed") && is_there(), "{said}");
    let said = on_a_terminal(&host, &REMOVE, "yes\n").expect("there is a terminal");
    assert!(said.contains("plug-in `echo` was removed") && !is_there(), "{said}");
    host.upload("echo");
    let said = on_a_terminal(&host, &[&REMOVE[..], &["--yes"]].concat(), "").expect("there is a terminal");
    assert!(!said.contains("[y/N]") && !is_there(), "{said}");
    host.upload("echo");
    host.run(&REMOVE).done();
    assert!(!is_there(), "nobody is there to ask");
}
