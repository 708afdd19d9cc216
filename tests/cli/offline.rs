//! What needs no host: settings, explanations, and what is said when no host is there.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::program::{program, run, run_in};

#[test]
fn every_mistake_of_the_settings_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let text = "[server]\nlisten = \"0.0.0.0:7171\"\n\n[limits]\nmemory = \"64Mi\"\nfule = 10\n";
    std::fs::write(folder.path().join("backroom.toml"), text).expect("it can be written");
    insta::assert_snapshot!("config_check_three_mistakes", run_in(folder.path(), &["config", "check"]).whole());
}

#[test]
fn settings_that_are_right_are_shown_with_their_places() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let text = "[server]\ntoken = \"a secret\"\n";
    std::fs::write(folder.path().join("backroom.toml"), text).expect("it can be written");
    insta::assert_snapshot!("config_token_with_a_blank", run_in(folder.path(), &["config", "check"]).whole());

    let text = "[server]\ntoken = \"secret-of-16-bytes\"\n[[plugin]]\nname = \"echo\"\nlimits = { wall = \"1m\" }\n";
    std::fs::write(folder.path().join("backroom.toml"), text).expect("it can be written");
    let args = ["config", "show", "--listen", "127.0.0.1:9000"];
    let shown = program(folder.path()).args(args).env("BACKROOM_WORKER_CONCURRENCY", "3").output();
    let shown = String::from_utf8(shown.expect("it runs").stdout).expect("it is text");
    insta::assert_snapshot!("config_show", shown);
}

#[test]
fn a_settings_file_that_is_named_must_be_there() {
    insta::assert_snapshot!("config_check_no_file", run(&["config", "check", "--config", "no-such-file.toml"]).whole());
}

#[test]
fn the_complete_settings_file_is_right() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let text = run(&["config", "schema"]).done();
    assert_eq!(text, include_str!("../../backroom.example.toml"));
    std::fs::write(folder.path().join("backroom.toml"), text).expect("it can be written");
    let checked = run_in(folder.path(), &["config", "check"]).done();
    assert!(checked.starts_with("backroom.toml is right"), "{checked}");
}

#[test]
fn codes_are_explained_offline() {
    insta::assert_snapshot!("explain", run(&["explain", "br0502"]).whole());
    insta::assert_snapshot!("explain_unknown", run(&["explain", "BR9999"]).whole());
    let all = run(&["explain"]).done();
    assert!(all.lines().count() > 50 && all.contains("BR0301"), "{all}");
    let json: serde_json::Value = serde_json::from_str(&run(&["explain", "BR0301", "--json"]).done()).expect("JSON");
    assert_eq!(json["code"], "BR0301");
}

#[test]
fn unknown_verbs_name_the_nearest() {
    insta::assert_snapshot!("unknown_verb", run(&["jobs", "list"]).whole());
    insta::assert_snapshot!("unknown_job_verb", run(&["job", "lst"]).whole());
    insta::assert_snapshot!("unknown_flag", run(&["job", "list", "--stat", "failed"]).whole());
    insta::assert_snapshot!("bad_log_filter", run(&["explain", "BR0301", "--log", "a=b=c"]).whole());
}

#[test]
fn where_no_host_answers_the_next_command_is_named() {
    insta::assert_snapshot!("no_host", run(&["job", "list", "--server", "http://127.0.0.1:1"]).whole());
    insta::assert_snapshot!("bad_server", run(&["job", "list", "--server", "127.0.0.1:7171"]).whole());
}

#[test]
fn for_programs_every_error_is_one_json_object() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let text = "[server]\nlisten = \"0.0.0.0:7171\"\n[limits]\nfule = 10\n";
    std::fs::write(folder.path().join("backroom.toml"), text).expect("it can be written");
    for (name, args, code) in [
        ("json_config_check", ["config", "check", "--json"].as_slice(), 2),
        ("json_no_host", &["--json", "job", "list", "--server", "http://127.0.0.1:1"], 1),
        ("json_bad_server", &["job", "list", "--server", "127.0.0.1:7171", "--json"], 2),
        ("json_unknown_flag", &["job", "list", "--json", "--stat", "failed"], 2),
        ("json_unknown_verb", &["jobs", "--json"], 2),
        ("json_unknown_code", &["explain", "BR9999", "--json"], 2),
    ] {
        let ran = run_in(folder.path(), args);
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{name}: {}", ran.whole());
        let error: serde_json::Value = serde_json::from_str(&ran.err).expect("standard error is one JSON object");
        assert!(error["message"].is_string() && error["next"].is_string() || error["notes"].is_array(), "{error}");
        insta::assert_snapshot!(name, serde_json::to_string_pretty(&error).expect("it is JSON"));
    }
    // Help is no error.
    assert!(run(&["--help", "--json"]).done().contains("Usage: backroom"));
}

#[test]
fn another_program_on_the_port_is_no_host() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let server = format!("http://{}", listener.local_addr().expect("it listens"));
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let mut request = [0; 1_024];
        let read = stream.read(&mut request).expect("it asks");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            .expect("it listens");
        read
    });
    let said = run(&["service", "status", "--server", &server]).whole().replace(&server, "http://127.0.0.1:PORT");
    assert!(answering.join().expect("it ended") > 0);
    insta::assert_snapshot!("no_backroom_host", said);
}

#[test]
fn a_file_that_is_not_there_is_told_before_the_host_is_asked() {
    for (args, what) in [
        (["plugin", "upload", "no-such.wasm"].as_slice(), "`no-such.wasm` cannot be read"),
        (&["job", "submit", "--bulk", "no-such.ndjson"], "`no-such.ndjson` cannot be read"),
        (&["job", "submit", "echo", "--input", "@no-such.json"], "`no-such.json` cannot be read"),
        (&["job", "submit", "echo", "--input", "{oops"], "--input is not JSON"),
        (&["job", "submit", "echo", "--env", "oops"], "`oops` is not a variable"),
        (&["plugin", "build", "/"], "there is no Cargo.toml in /"),
    ] {
        let ran = run(args);
        assert!(ran.err.contains(what), "{}", ran.whole());
        assert!(ran.err.contains("next: "), "{}", ran.whole());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.whole());
    }
}

#[test]
fn a_faulty_line_keeps_the_whole_file_from_being_sent() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let lines = "{\"plugin\":\"echo\"}\n\n{\"plugin\":\"echo\",\"imput\":1}\n{\"plugin\"\n";
    std::fs::write(folder.path().join("jobs.ndjson"), lines).expect("it can be written");
    let ran = run_in(folder.path(), &["job", "submit", "--bulk", "jobs.ndjson", "--server", "http://127.0.0.1:1"]);
    insta::assert_snapshot!("bulk_faulty_lines", ran.whole());
    std::fs::write(folder.path().join("one.ndjson"), "{\"plugin\"\n").expect("it can be written");
    let ran = run_in(folder.path(), &["job", "submit", "--bulk", "one.ndjson", "--server", "http://127.0.0.1:1"]);
    assert!(ran.err.contains("one.ndjson has one faulty line; nothing was submitted"), "{}", ran.whole());
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(&["completions", shell]).done();
        assert!(script.contains("submit") && script.contains("backroom"), "{shell}");
    }
}

#[test]
fn the_doctor_looks_at_everything_and_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("backroom.toml"), "[server]\nlsten = 1\n").expect("it can be written");
    let args = ["doctor", "--json", "--server", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"];
    let ran = run_in(folder.path(), &args);
    assert_eq!(ran.code, 1, "{}", ran.whole());
    let findings: Vec<serde_json::Value> = serde_json::from_str(&ran.out).expect("JSON");
    let of = |what: &str| findings.iter().find(|finding| finding["what"] == what).unwrap_or_else(|| panic!("{what}"));
    assert_eq!(of("settings")["verdict"], "fail");
    assert_eq!(of("host")["verdict"], "warn");
    assert_eq!(of("data directory")["verdict"], "ok");
    for what in ["cargo", "port", "free space", "sync", "kernel", "memory maps", "open files"] {
        assert!(of(what)["detail"].is_string(), "{what}");
    }
    for finding in findings.iter().filter(|finding| finding["verdict"] != "ok") {
        assert!(finding["next"].as_str().is_some_and(|next| !next.is_empty()), "{finding}");
    }
}
