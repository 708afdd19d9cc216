//! Small things that a person meets in the first hour, one test each.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::host::Host;
use super::program::{Ran, program, run, run_in};

/// Runs the program with standard output or standard error that takes nothing.
fn with_full(folder: &std::path::Path, args: &[&str], which: &str) -> i32 {
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").expect("Linux has it"));
    let mut command = program(folder);
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    match which {
        "out" => command.stdout(full()),
        _ => command.stderr(full()),
    };
    command.status().expect("the program can be started").code().expect("it is not killed")
}

#[test]
fn a_standard_error_that_is_full_or_closed_changes_no_exit_code() {
    let host = Host::start();
    host.upload("echo");
    host.upload("misbehave");
    std::fs::write(host.folder().join("jobs.ndjson"), "{\"plugin\":\"echo\"}\n").expect("it can be written");
    let failing = "{\"do\":\"fail\",\"class\":\"business\",\"message\":\"no\"}";
    for (args, code) in [
        (&["run", "echo", "x"][..], 0),
        (&["run", "echo", "{a: 1}"], 0),
        (&["job", "submit", "echo", "--follow"], 0),
        (&["job", "submit", "echo", "--dedup-key", "k", "--wait"], 0),
        (&["job", "submit", "--bulk", "jobs.ndjson"], 0),
        (&["run", "misbehave", failing], 1),
        (&["job", "list", "--state", "nonsense"], 2),
        (&["job", "list", "--nonsense"], 2),
        (&["--help"], 0),
        (&["config", "check"], 0),
    ] {
        let args = [args, &["--server", host.server()]].concat();
        assert_eq!(with_full(host.folder(), &args, "err"), code, "{args:?}");
        let closed = std::process::Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" >/dev/null 2>&-", env!("CARGO_BIN_EXE_backroom")])
            .args(&args)
            .current_dir(host.folder())
            .status();
        assert_eq!(closed.expect("there is a shell").code(), Some(code), "{args:?}, closed");
        let out = with_full(host.folder(), &args, "out");
        assert!((0..=2).contains(&out), "{args:?}: {out}");
    }
}

#[test]
fn with_json_every_command_prints_json() {
    let host = Host::start();
    let is_json = |ran: Ran, args: &[&str]| {
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.whole());
        serde_json::from_str::<serde_json::Value>(&ran.out)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", ran.whole()));
    };
    let component = super::support::built_plugin("echo").display().to_string();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/echo/plugin.toml");
    let upload = ["plugin", "upload", &component, "--manifest", manifest];
    is_json(host.run(&[&upload[..], &["--json"]].concat()), &upload);
    let id = host.json(&["job", "submit", "echo", "--text", "log: hello", "--wait"])["id"].to_string();
    let id = id.trim_matches('"');
    for args in [
        &["job", "logs", id][..],
        &["job", "output", id],
        &["job", "attempts", id],
        &["job", "explain", id],
        &["job", "audit", id],
        &["job", "watch", id],
        &["run", "echo", "x"],
        &["job", "failures"],
        &["job", "purge", "--state", "failed", "--older-than", "1d"],
        &["job", "delete", id],
        &["queue", "list"],
        &["service", "status"],
        &["plugin", "list"],
        &["plugin", "show", "echo"],
        &["config", "show"],
        &["config", "check"],
        &["config", "schema"],
        &["explain", "BR0502"],
        &["completions", "bash"],
        &["plugin", "new", "another"],
        &["schedule", "preview", "0 12 * * *"],
        &["plugin", "remove", "echo"],
    ] {
        is_json(host.run(&[args, &["--json"]].concat()), args);
    }
    let log = host.run(&["job", "logs", id, "--json"]);
    assert_eq!(log.code, 2, "{}", log.whole());
}

#[test]
fn json_of_the_settings_holds_values_and_places() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("backroom.toml"), "[server]\ntoken = \"a-secret-of-ours\"\n")
        .expect("it is ours");
    let shown = run_in(folder.path(), &["config", "show", "--json"]).done();
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(
        (&shown["settings"]["limits"]["fuel"], &shown["settings"]["server"]["token"]),
        (&400_000_000_000_u64.into(), &"****************".into())
    );
    assert!(
        shown["places"]["server.token"].as_str().is_some_and(|place| place.starts_with("backroom.toml")),
        "{shown}"
    );
}

#[test]
fn what_is_not_there_ends_with_two_whatever_it_is() {
    let host = Host::start();
    for args in [
        &["job", "show", "018f3d2a-0000-7000-8000-000000000000"][..],
        &["job", "cancel", "018f3d2a-0000-7000-8000-000000000000"],
        &["job", "show", "nonsense"],
        &["job", "show", "deadbeef"],
        &["batch", "show", "018f3d2a-0000-7000-8000-000000000000"],
        &["plugin", "show", "nobody"],
        &["plugin", "remove", "nobody"],
        &["run", "nobody"],
        &["queue", "pause", "nowhere"],
        &["schedule", "show", "never"],
        &["token", "revoke", "nobody"],
        &["explain", "BR9999"],
    ] {
        let ran = host.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.whole());
    }
    let help = run(&["--help"]).done();
    let documented = include_str!("../../docs/cli.md");
    for code in ["0  done", "1  the job did not succeed", "2  the command line", "130  interrupted"] {
        assert!(help.contains(code), "{help}");
        let (number, meaning) = code.split_once("  ").expect("a number and its meaning");
        assert!(documented.contains(&format!("| {number} | {meaning}")), "{number}");
    }
}

#[test]
fn a_name_is_the_same_in_flags_filters_and_queries() {
    let host = Host::start();
    host.upload("echo");
    host.run(&["job", "submit", "echo", "--ordering_key", "a", "--name", "needle"]).done();
    host.run(&["job", "submit", "echo", "--ordering-key", "b"]).done();
    let count = |args: &[&str]| host.json(&[&["job", "list"][..], args].concat())["jobs"].as_array().map(Vec::len);
    for args in [["--search", "needle"], ["--q", "needle"], ["--ordering-key", "a"], ["--ordering_key", "a"]] {
        assert_eq!(count(&args), Some(1), "{args:?}");
    }
    for condition in ["search=needle", "q=needle", "ordering-key=a", "ordering_key=a"] {
        let preview = host.json(&["job", "delete", "--where", condition, "--dry-run"]);
        assert_eq!(preview["matched"], 1, "{condition}: {preview}");
    }
}

#[test]
fn a_remedy_for_a_flag_names_the_flag() {
    let host = Host::start();
    host.upload("echo");
    for (args, remedy) in [
        (&["job", "submit", "echo", "--priority", "-101"][..], "see `--priority` in `backroom job submit --help`"),
        (&["job", "submit", "echo", "--tag", ""], "see `--tag` in `backroom job submit --help`"),
        (&["job", "submit", "echo", "--ordering-key", ""], "see `--ordering-key` in `backroom job submit --help`"),
        (&["job", "list", "--state", "faild"], "see `--state` in `backroom job list --help`"),
    ] {
        let ran = host.run(args);
        assert_eq!(ran.code, 2, "{}", ran.whole());
        assert!(ran.err.contains(remedy) && !ran.err.contains("openapi"), "{}", ran.whole());
    }
}

#[test]
fn a_hit_of_a_key_is_told() {
    let host = Host::start();
    host.upload("echo");
    host.run(&["service", "pause"]).done();
    let submit = |more: &[&str]| host.run(&[&["job", "submit", "echo"][..], more].concat());
    for (flag, says) in [
        ("--dedup-key", "has the dedup key `k`"),
        ("--idempotency-key", "an earlier submit with the idempotency key `k` made job"),
    ] {
        let first = submit(&[flag, "k"]);
        assert_eq!(first.err, "", "{}", first.whole());
        let second = submit(&[flag, "k"]);
        assert_eq!(second.out, first.out);
        assert!(second.err.contains("nothing new was submitted") && second.err.contains(says), "{}", second.whole());
    }
}

#[test]
fn a_submit_to_a_disabled_plugin_is_refused_at_once() {
    let host = Host::start();
    host.upload("echo");
    host.run(&["plugin", "disable", "echo"]).done();
    let ran = host.run(&["job", "submit", "echo"]);
    assert_eq!(ran.code, 1, "{}", ran.whole());
    assert!(
        ran.err.contains("error[BR0150]") && ran.err.contains("next: backroom plugin enable echo"),
        "{}",
        ran.whole()
    );
}

#[test]
fn every_faulty_line_of_a_file_is_told() {
    let host = Host::start();
    host.upload("echo");
    let lines = "{\"plugin\":\"ecco\"}\n{\"plugin\":\"echo\"}\n{\"plugin\":\"echo\",\"handler\":\"no\"}\n{\"plugin\":\"http\",\"input\":{}}\n";
    std::fs::write(host.folder().join("jobs.ndjson"), lines).expect("it can be written");
    for args in [&["job", "submit", "--bulk", "jobs.ndjson"][..], &["batch", "submit", "jobs.ndjson"]] {
        let ran = host.run(args);
        assert_eq!(ran.code, 2, "{}", ran.whole());
        for line in ["  line 1: ", "  line 3: ", "  line 4: "] {
            assert!(ran.err.contains(line), "{line}: {}", ran.whole());
        }
        assert!(!ran.err.contains("line 2: "), "{}", ran.whole());
    }
}

#[test]
fn what_the_client_sees_of_a_file_and_what_the_host_knows_is_told_together() {
    let host = Host::start();
    host.upload("echo");
    let good = "{\"plugin\":\"echo\",\"at\":\"9h\"}\n";
    let faulty = "{\"plugin\":\"nope\"}\n{bad\n{\"plugin\":\"echo\",\"queue\":\"q9\"}\n";
    let submit = ["job", "submit", "--bulk", "jobs.ndjson"];
    // Of the lines that are sent second the first of the file must not be submitted first.
    let files = [(1, format!("{good}{faulty}{good}")), (10_000, format!("{}{faulty}{good}", good.repeat(10_000)))];
    for (before, lines) in files {
        std::fs::write(host.folder().join("jobs.ndjson"), lines).expect("it can be written");
        for args in [&submit[..], &["batch", "submit", "jobs.ndjson"]] {
            let ran = host.run(args);
            assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.whole());
            for (line, what) in [(1, "there is no plug-in `nope`"), (2, "(BR0101)"), (3, "there is no queue `q9`")] {
                let told = ran.err.lines().find(|told| told.starts_with(&format!("  line {}: ", before + line)));
                assert!(told.is_some_and(|told| told.contains(what)), "{line}: {}", ran.whole());
            }
        }
        assert_eq!(host.json(&["job", "list"])["jobs"], serde_json::json!([]));
    }
    // Lines that are left out are nobody's concern.
    let ran = host.run(&[&submit[..], &["--from-line", "10004"]].concat());
    assert!(ran.done().contains("1 jobs were taken"));
}

#[test]
fn a_last_line_without_an_end_is_in_the_log() {
    let host = Host::start();
    host.upload("misbehave");
    let id =
        host.json(&["job", "submit", "misbehave", "--input", "{\"do\":\"say\",\"stdout\":\"first\\nlast\"}", "--wait"]);
    let log = host.run(&["job", "logs", id["id"].as_str().expect("an id")]).done();
    assert!(log.contains("out   first\n") && log.contains("out   last"), "{log}");
}

#[test]
fn the_client_finds_the_host_of_its_folder() {
    let host = Host::start_with("[server]\ntoken = \"a-secret-of-the-host\"\n");
    let listen = host.server().trim_start_matches("http://");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("backroom.toml");
    let settings = format!("[server]\nlisten = \"{listen}\"\ntoken = \"a-secret-of-the-host\"\n");
    std::fs::write(&file, &settings).expect("it can be written");
    assert_eq!(run_in(folder.path(), &["job", "list"]).done(), "there are no such jobs\n");
    let doctor = run_in(folder.path(), &["doctor", "--json"]).out;
    let findings: Vec<serde_json::Value> = serde_json::from_str(&doctor).expect("JSON");
    let of = |what: &str| findings.iter().find(|finding| finding["what"] == what).cloned().expect("it is looked at");
    assert_eq!((&of("host")["verdict"], &of("port")["verdict"]), (&"ok".into(), &"ok".into()), "{doctor}");
    // A mistake elsewhere in the file is not the client's.
    std::fs::write(&file, format!("{settings}[limits]\nfule = 1\n")).expect("it can be written");
    assert_eq!(run_in(folder.path(), &["job", "list"]).done(), "there are no such jobs\n");
    let refused = run_in(folder.path(), &["job", "list", "--server", "http://127.0.0.1:1"]);
    assert!(!refused.err.contains("backroom.toml"), "{}", refused.whole());
    std::fs::write(&file, "[server]\nlisten = \"127.0.0.1:1\"\n").expect("it can be written");
    let refused = run_in(folder.path(), &["job", "list"]);
    assert!(refused.err.contains("the address is that of backroom.toml"), "{}", refused.whole());
}

#[test]
fn a_file_that_somebody_else_wrote_draws_no_token() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let settings = "[server]\nlisten = \"203.0.113.5:80\"\ntoken = \"a-secret-of-the-host\"\n";
    std::fs::write(folder.path().join("backroom.toml"), settings).expect("it is written");
    let with_token = |args: &[&str]| {
        let ran = program(folder.path()).args(args).env("BACKROOM_TOKEN", "mine").output().expect("it can be started");
        (
            ran.status.code(),
            String::from_utf8(ran.stdout).expect("UTF-8"),
            String::from_utf8(ran.stderr).expect("UTF-8"),
        )
    };
    let (code, _, err) = with_token(&["job", "list"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("203.0.113.5:80, which is no address of this machine; nothing was sent there"), "{err}");
    assert!(err.contains("next: give --server http://203.0.113.5:80 if"), "{err}");
    let (_, doctor, err) = with_token(&["doctor"]);
    assert!(doctor.contains("which is no address of this machine"), "{doctor}{err}");
}

#[test]
fn the_queues_show_how_much_waits_and_for_how_long() {
    let host = Host::start();
    host.upload("echo");
    host.run(&["queue", "pause", "bulk"]).done();
    for _ in 0..3 {
        host.run(&["job", "submit", "echo", "--queue", "bulk"]).done();
    }
    let queues = host.json(&["queue", "list"]);
    let of =
        |name: &str| queues["queues"].as_array().expect("a list").iter().find(|queue| queue["name"] == name).cloned();
    let bulk = of("bulk").expect("it is there");
    assert_eq!(bulk["ready"], 3, "{bulk}");
    assert!(bulk["oldest_ready_ms"].is_u64(), "{bulk}");
    assert_eq!(of("default").expect("it is there")["ready"], 0);
    let table = host.run(&["queue", "list"]).done();
    assert!(table.contains("READY") && table.contains("OLDEST"), "{table}");
    let status = host.json(&["service", "status"]);
    assert_eq!(
        (&status["running"], &status["slots"], &status["claimed"]),
        (&0.into(), &16.into(), &0.into()),
        "{status}"
    );
}

#[test]
fn broken_json_is_sent_as_text_and_said_to_be() {
    let host = Host::start();
    host.upload("echo");
    let ran = host.run(&["run", "echo", "{a: 1}"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "{a: 1}"), "{}", ran.whole());
    assert!(ran.err.contains("note: the input looks like JSON and is not"), "{}", ran.whole());
    let text = host.run(&["run", "echo", "hello"]);
    assert!(!text.err.contains("note:"), "{}", text.whole());
}

#[test]
fn a_json_string_is_its_text_to_a_command_whichever_way_it_comes() {
    let host = Host::start();
    host.upload("command-wc");
    host.upload("echo");
    let quoted = "\"two words\"";
    let ran = host.run(&["run", "command-wc", quoted]);
    let submitted = host.run(&["job", "submit", "command-wc", "--input", quoted, "--follow"]);
    assert_eq!(ran.out, submitted.out, "{}{}", ran.whole(), submitted.whole());
    assert_eq!(ran.out, host.run(&["run", "command-wc", "two words"]).out, "{}", ran.whole());
    // To a handler it is a document as every other.
    assert_eq!(host.run(&["run", "echo", quoted]).out, quoted);
    std::fs::write(host.folder().join("quoted.json"), quoted).expect("it can be written");
    let from_file = host.run(&["run", "command-wc", "@quoted.json"]);
    assert_ne!(from_file.out, ran.out, "a file goes byte for byte: {}", from_file.whole());
}

#[test]
fn a_list_of_handlers_that_the_component_does_not_have_is_refused_at_upload() {
    let host = Host::start();
    let component = super::support::built_plugin("echo").display().to_string();
    let upload = |version: &str, list: &str| {
        let manifest = format!("name = \"echo\"\nversion = \"{version}\"\nhandlers = [{list}]\n");
        std::fs::write(host.folder().join("plugin.toml"), manifest).expect("it can be written");
        host.run(&["plugin", "upload", &component, "--manifest", "plugin.toml"])
    };
    let refused = upload("1.0.0", "\"calculate\"");
    assert_eq!(refused.code, 2, "{}", refused.whole());
    assert!(
        refused.err.contains("lists `calculate`") && refused.err.contains("has `handle`, `echo`"),
        "{}",
        refused.whole()
    );
    for (version, list) in [("1.0.0", "\"echo\""), ("1.0.1", "\"handle\""), ("1.0.2", "")] {
        upload(version, list).done();
        for handler in [&["--handler", "echo"][..], &["--handler", "handle"], &[]] {
            assert_eq!(host.run(&[&["run", "echo", "x"], handler].concat()).done(), "x", "{list} {handler:?}");
        }
    }
}

#[test]
fn what_is_granted_in_vain_is_said_wherever_it_is_granted() {
    let component = super::support::built_plugin("command-wc").display().to_string();
    let host = Host::start_with(&format!(
        "[[plugin]]\nname = \"wc\"\nversion = \"1.0.0\"\npath = \"{component}\"\nconfig = {{ nobody = \"wants\" }}\n"
    ));
    let said = |args: &[&str], what: &str| {
        let ran = host.run(args);
        assert_eq!(ran.code, 0, "{}", ran.whole());
        assert!(ran.whole().contains(what), "{what}: {}", ran.whole());
    };
    let unusable =
        "plug-in `wc`: version 1.0.0 cannot use `nobody` of `config`: its component does not import `wasi:config`";
    said(&["config", "check"], unusable);
    said(&["plugin", "show", "wc"], unusable);
    said(&["plugin", "grant", "wc"], unusable);
    host.upload("echo");
    let unimported = "version 0.1.0 does not want `z` of `config`: its component does not import `wasi:config`";
    said(&["plugin", "grant", "echo", "--config", "z=1"], unimported);
    said(&["plugin", "show", "echo"], unimported);
    let manifest = "name = \"misbehave\"\nversion = \"1.0.0\"\n[wants]\nhttp = [\"https://a.example.com\"]\n";
    std::fs::write(host.folder().join("plugin.toml"), manifest).expect("it can be written");
    let component = super::support::built_plugin("misbehave").display().to_string();
    host.run(&["plugin", "upload", &component, "--manifest", "plugin.toml"]).done();
    let wanted = host.run(&["plugin", "grant", "misbehave", "--http", "https://a.example.com"]).done();
    assert!(!wanted.contains("warning"), "{wanted}");
    let unwanted =
        "version 1.0.0 does not want `https://b.example.com` of `http`, so its handlers cannot use it; to ask for it:";
    said(&["plugin", "grant", "misbehave", "--http", "https://b.example.com"], unwanted);
    let again = host.json(&["plugin", "show", "misbehave"])["warnings"].clone();
    assert!(again[0].as_str().is_some_and(|warning| warning.contains(unwanted)), "{again}");
    // What is uploaded later hears of it, too.
    said(&["plugin", "upload", &component, "--manifest", "plugin.toml"], unwanted);
}

#[test]
fn configuration_that_nobody_wants_is_warned_about_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let place = |name: &str| folder.path().join(name);
    std::fs::copy(super::support::built_plugin("echo"), place("echo.wasm")).expect("it can be copied");
    std::fs::write(place("plugin.toml"), "name = \"echo\"\nversion = \"1.0.0\"\n").expect("it can be written");
    let settings = "[[plugin]]\nname = \"echo\"\npath = \"echo.wasm\"\nconfig = { sender = \"x\" }\n";
    std::fs::write(place("backroom.toml"), settings).expect("it can be written");
    let mut host = program(folder.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--data", "data"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let lines = BufReader::new(host.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let warned = lines.into_iter().any(|line| line.contains("does not want `sender` of `config`"));
    host.kill().expect("it can be ended");
    host.wait().expect("it has ended");
    assert!(warned);
}

#[test]
fn where_there_are_no_sources_the_demo_shows_what_the_program_carries() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut demo = program(folder.path());
    let ran =
        demo.args(["demo", "--exit", "--listen", "127.0.0.1:0"]).env("PATH", "").output().expect("it can be started");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("1000 jobs ended after") && said.contains("(succeeded)"), "{said}");
    assert!(said.contains("run it in a checkout"), "{said}");
}

#[test]
fn where_there_are_no_sources_the_bench_measures_with_what_the_program_carries() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let args = ["bench", "--backlog", "500", "--jobs", "100", "--samples", "10", "--batch", "50", "--json"];
    let ran = program(folder.path()).args(args).env("PATH", "").output().expect("it can be started");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_str::<serde_json::Value>(&said).expect("JSON");
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0, "nothing is left behind");
}

#[test]
fn a_bare_call_prints_help_and_global_options_stand_apart() {
    let bare = run(&[]);
    assert_eq!((bare.code, bare.err.as_str()), (0, ""), "{}", bare.whole());
    assert!(bare.out.contains("To begin:") && bare.out.contains("Exit codes:"), "{}", bare.out);
    for args in [
        &["job", "list", "--help"][..],
        &["job", "submit", "--help"],
        &["plugin", "upload", "--help"],
        &["queue", "list", "--help"],
    ] {
        let help = run(args).done();
        let (own, global) = help.split_once("Global options:").unwrap_or_else(|| panic!("{args:?}: {help}"));
        for flag in ["--server", "--token", "--json", "--log", "--log-format"] {
            assert!(global.contains(flag) && !own.contains(&format!("{flag} ")), "{args:?}: {flag}: {help}");
        }
    }
}

#[test]
fn the_end_of_an_id_will_do_wherever_an_id_is_taken() {
    let host = Host::start();
    host.upload("echo");
    let id = host.run(&["run", "echo", "x"]).err;
    let id = id.lines().next().and_then(|line| line.strip_prefix("job ")).expect("the id comes first").to_owned();
    let end = &id[id.len() - 8..];
    for args in
        [["job", "show"], ["job", "logs"], ["job", "output"], ["job", "attempts"], ["job", "explain"], ["job", "watch"]]
    {
        host.run(&[&args[..], &[end]].concat()).done();
    }
    let after = host.json(&["job", "submit", "echo", "--after", end]);
    assert_eq!(after["after"], serde_json::json!([id]), "{after}");
    let again = host.run(&["job", "retry", end]).done();
    let listed = host.json(&["job", "list", "--retry-of", end]);
    assert_eq!(listed["jobs"][0]["id"], again.trim());
    let deleted = host.run(&["job", "delete", end]);
    assert_eq!(deleted.code, 0, "{}", deleted.whole());
    let unknown = host.run(&["job", "show", end]);
    assert!(unknown.code == 2 && unknown.err.contains("whose id ends in"), "{}", unknown.whole());
}

#[test]
fn configuration_that_nobody_wants_is_told_at_the_upload() {
    let host = Host::start_with("[[plugin]]\nname = \"misbehave\"\nconfig = { colour = \"red\" }\n");
    let told = host.upload("misbehave");
    assert!(told.contains("does not want `colour` of `config`") && told.contains("config = [\"colour\"]"), "{told}");
}
