//! The verbs against a real host.

use insta::{Settings, assert_snapshot};

use super::host::Host;
use super::program::{run, run_with};

/// Snapshots without what differs from run to run: ids, times, sizes of components, amounts of work.
pub(crate) fn steadied(test: impl FnOnce()) {
    let mut settings = Settings::clone_current();
    for (pattern, name) in [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "[id]"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "[time]"),
        (r"\b[0-9a-f]{12}\b", "[sha]"),
        (r"\b\d+ KiB\b", "[size]"),
        (r"\b\d+(\.\d+)?ms\b|\b\d+\.\d+s\b", "[took]"),
        (r"\b\d+ fuel\b", "[fuel] fuel"),
        (r"(?m)^(queued|running, attempt 1 of 4|  why: .*)\n", ""),
        (r"\| +\d+\.\d{3} ", "| [seconds] "),
        (r"(?s)\nimports .*\n\nVERSION", "\nimports  [interfaces]\n\nVERSION"),
        (r" +\n", "\n"),
        (r" {2,}", "  "),
    ] {
        settings.add_filter(pattern, name);
    }
    settings.bind(test);
}

#[test]
fn a_job_from_its_submit_to_its_removal() {
    let host = Host::start();
    steadied(|| {
        assert_snapshot!("upload", host.upload("echo"));
        assert_snapshot!("run", host.run(&["run", "echo", "log: hello"]).whole());
        let id = host.run(&["job", "submit", "echo", "--input", "{\"a\": 1}", "--tag", "mine"]).done();
        let id = id.trim();
        assert_snapshot!("watch", host.run(&["job", "watch", id]).out);
        assert_snapshot!("show", host.run(&["job", "show", id]).whole());
        assert_snapshot!("list", host.run(&["job", "list", "--tag", "mine"]).whole());
        assert_snapshot!("list_nothing", host.run(&["job", "list", "--state", "failed"]).whole());
        assert_eq!(host.run(&["job", "output", id]).done(), "{\"a\": 1}");
        let attempts = host.json(&["job", "attempts", id]);
        assert_eq!(attempts["attempts"][0]["end"], "succeeded");
        assert_snapshot!("delete", host.run(&["job", "delete", id]).whole());
        assert_snapshot!("show_deleted", host.run(&["job", "show", id]).whole());
    });
}

#[test]
fn a_job_that_fails_ends_the_command_with_one() {
    let host = Host::start();
    host.upload("misbehave");
    steadied(|| {
        let input =
            "{\"do\": \"fail\", \"class\": \"business\", \"code\": \"no-email\", \"message\": \"\\u001b[31mred\"}";
        assert_snapshot!("run_failing", host.run(&["run", "misbehave", input]).whole());
        let ran = host.run(&["job", "submit", "misbehave", "--input", input, "--wait"]);
        assert_eq!(ran.code, 1, "{}", ran.whole());
        assert!(!ran.out.contains('\u{1b}'), "a plug-in can steer the terminal: {:?}", ran.out);
    });
}

#[test]
fn a_job_of_a_pending_plugin_says_what_is_not_granted() {
    let host = Host::start();
    let manifest = "name = \"mailer\"\nversion = \"1.0.0\"\n[wants]\nhttp = [\"https://api.example.com\"]\n";
    let manifest_path = host.folder().join("plugin.toml");
    std::fs::write(&manifest_path, manifest).expect("it can be written");
    let component = super::support::built_plugin("echo").display().to_string();
    let uploaded =
        host.run(&["plugin", "upload", &component, "--manifest", &manifest_path.display().to_string()]).done();
    assert!(uploaded.contains("pending"), "{uploaded}");
    let id = host.run(&["job", "submit", "mailer", "--text", "x"]).done().trim().to_owned();
    let watched = host.watch_for(&["job", "watch", &id], "not worth the wait");
    assert!(watched.contains("asks for what is not granted: http"), "{watched}");
    let job = host.json(&["job", "show", &id]);
    assert_eq!(job["error"]["code"], "BR0208", "{job}");
    let detail = job["error"]["detail"].as_str().expect("it says what to do");
    assert!(detail.contains("backroom plugin grant mailer --http https://api.example.com"), "{detail}");
    assert!(detail.contains("grants = { http = [\"https://api.example.com\"] }"), "{detail}");
    host.run(&["plugin", "grant", "mailer", "--http", "https://api.example.com"]).done();
    assert!(host.watch_for(&["job", "watch", &id], "succeeded").contains("succeeded"), "the advice helps");
}

#[test]
fn what_the_host_refuses_names_the_next_command() {
    let host = Host::start();
    host.upload("echo");
    steadied(|| {
        assert_snapshot!("unknown_plugin", host.run(&["run", "ecco", "x"]).whole());
        assert_snapshot!("unknown_handler", host.run(&["run", "echo", "x", "--handler", "oops"]).whole());
        assert_snapshot!("unknown_job", host.run(&["job", "show", "nonsense"]).whole());
        let unknown = host.run(&["job", "show", "018f3d2a-0000-7000-8000-000000000000", "--json"]);
        assert_eq!((unknown.code, unknown.out.as_str()), (2, ""), "{}", unknown.whole());
        assert_snapshot!("unknown_job_json", unknown.err);
        assert_snapshot!("bad_state", host.run(&["job", "list", "--state", "faild"]).whole());
        for (given, field) in [("--arg=x", "args"), ("--env=A=b", "env")] {
            let refused = host.run(&["job", "submit", "echo", given]);
            assert_eq!(refused.code, 2, "{}", refused.whole());
            let expected = format!("plug-in `echo` is a handler and takes no {field}: only a command does");
            assert!(refused.err.contains(&expected), "{}", refused.whole());
        }
        assert_snapshot!("rollback_of_the_first", host.run(&["plugin", "rollback", "echo"]).whole());
        assert_snapshot!("bad_priority", host.run(&["job", "submit", "echo", "--priority", "-101"]).whole());
    });
}

#[test]
fn input_reaches_the_plugin_byte_for_byte() {
    let host = Host::start();
    host.upload("echo");
    let bytes: Vec<u8> = (0..=255).collect();
    std::fs::write(host.folder().join("bytes"), &bytes).expect("it can be written");
    let id =
        host.json(&["job", "submit", "echo", "--input", "@bytes", "--wait"])["id"].as_str().expect("an id").to_owned();
    let job = host.json(&["job", "show", &id]);
    assert_eq!((job["input_bytes"].as_u64(), job["output_encoding"].as_str()), (Some(256), Some("base64")));
    assert_eq!(host.run(&["run", "echo", "  {}\n"]).done(), "  {}\n");
    let typed = run_with(host.folder(), &["run", "echo", "-", "--server", host.server()], b"from a pipe");
    assert_eq!(typed.done(), "from a pipe");
}

#[test]
fn a_file_of_jobs_is_taken_in_chunks() {
    let host = Host::start();
    host.upload("echo");
    let lines: String =
        (0..25_000).map(|n| format!("{{\"plugin\":\"echo\",\"input\":{n},\"tags\":[\"bulk\"]}}\n")).collect();
    std::fs::write(host.folder().join("jobs.ndjson"), &lines).expect("it can be written");
    let total = host.json(&["job", "submit", "--bulk", "jobs.ndjson"]);
    assert_eq!((total["count"].as_u64(), total["ids"].as_array().map(Vec::len)), (Some(25_000), Some(25_000)));
    let last = total["last"].as_str().expect("an id");
    assert_eq!(host.run(&["job", "watch", last]).done().trim(), "24999");

    let faulty = format!("{}{}", &lines, "{\"plugin\":\"ecco\"}\n");
    std::fs::write(host.folder().join("faulty.ndjson"), faulty).expect("it can be written");
    let ran = host.run(&["job", "submit", "--bulk", "faulty.ndjson", "--from-line", "20001"]);
    assert_eq!(ran.code, 2, "{}", ran.whole());
    assert!(ran.err.contains("line 25001: "), "{}", ran.whole());
    assert!(ran.err.contains("nothing was submitted"), "{}", ran.whole());
}

#[test]
fn a_file_that_is_submitted_again_with_its_key_makes_nothing_twice() {
    let host = Host::start();
    host.upload("echo");
    let lines: String = (0..12_000).map(|n| format!("{{\"plugin\":\"echo\",\"input\":{n},\"at\":\"1h\"}}\n")).collect();
    std::fs::write(host.folder().join("jobs.ndjson"), &lines).expect("it can be written");
    let submit = ["job", "submit", "--bulk", "jobs.ndjson"];
    let with_key = [&submit[..], &["--idempotency-key", "import"]].concat();
    let first = host.json(&with_key);
    assert_eq!(host.json(&with_key), first, "the jobs of the first submit");
    let again = host.run(&[&with_key[..], &["--from-line", "10001"]].concat());
    assert!(again.err.contains("2000 of the jobs were there already"), "{}", again.whole());
    assert!(again.out.starts_with("2000 jobs were taken"), "{}", again.whole());
    // Without one it is another submit.
    assert_ne!(host.json(&submit)["first"], first["first"]);
    let status = host.run(&["service", "status"]).done();
    assert!(status.contains(" 24000 "), "{status}");
}

#[test]
fn a_plugin_comes_and_goes() {
    let host = Host::start();
    host.upload("echo");
    steadied(|| {
        assert_snapshot!("upload_again", host.upload("echo"));
        assert_snapshot!("plugin_list", host.run(&["plugin", "list"]).whole());
        assert_snapshot!("plugin_show", host.run(&["plugin", "show", "echo"]).whole());
        assert_snapshot!("plugin_disable", host.run(&["plugin", "disable", "echo"]).whole());
        assert_snapshot!("plugin_enable", host.run(&["plugin", "enable", "echo"]).whole());
        assert_snapshot!("plugin_activate_unknown", host.run(&["plugin", "activate", "echo", "9.9.9"]).whole());
        assert_snapshot!("plugin_remove", host.run(&["plugin", "remove", "echo"]).whole());
        assert_snapshot!("plugin_list_nothing", host.run(&["plugin", "list"]).whole());
        std::fs::write(host.folder().join("native"), b"\x7fELF\x02\x01\x01\0").expect("it can be written");
        let args = ["plugin", "upload", "native", "--name", "native", "--version", "1.0.0"];
        assert_snapshot!("upload_native", host.run(&args).whole());
        assert_snapshot!("upload_without_manifest", host.run(&["plugin", "upload", "native"]).whole());
    });
}

#[test]
fn the_service_is_paused_and_goes_on() {
    let host = Host::start();
    host.upload("echo");
    assert_eq!(host.json(&["service", "status"])["state"], "running");
    let paused = host.run(&["service", "pause"]).done();
    assert!(paused.starts_with("the host is paused"), "{paused}");
    let id = host.run(&["job", "submit", "echo", "--text", "x"]).done();
    assert_eq!(host.json(&["job", "show", id.trim()])["state"], "queued");
    let canceled = host.run(&["job", "submit", "echo"]).done();
    assert_eq!(host.json(&["job", "cancel", canceled.trim()])["state"], "canceled");
    assert!(host.run(&["service", "resume"]).done().starts_with("the host is running"));
    assert_eq!(host.run(&["job", "watch", id.trim()]).done(), "x");
    let status = host.run(&["service", "status"]).done();
    assert!(status.contains("durability  power") && status.contains("echo"), "{status}");
}

#[test]
fn a_token_opens_the_host_and_nothing_else_does() {
    let host = Host::start_with("[server]\ntoken = \"secret-of-16-bytes\"\n");
    let refused = host.run(&["job", "list"]);
    assert_eq!(refused.code, 1, "{}", refused.whole());
    assert!(refused.err.starts_with("error[BR0114]"), "{}", refused.whole());
    assert_eq!(host.run(&["job", "list", "--token", "secret-of-16-bytes"]).done(), "there are no such jobs\n");
}

#[test]
fn a_second_host_on_the_same_data_is_refused() {
    let host = Host::start();
    let data = host.folder().join("data").display().to_string();
    let ran = run(&["serve", "--listen", "127.0.0.1:0", "--data", &data]);
    assert_eq!(ran.code, 1, "{}", ran.whole());
    assert!(ran.err.contains("error[BR0401]"), "{}", ran.whole());
}

#[test]
fn a_plugin_of_the_settings_is_there_from_the_start() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let place = |name: &str| folder.path().join(name);
    std::fs::copy(super::support::built_plugin("echo"), place("echo.wasm")).expect("it can be copied");
    std::fs::write(place("plugin.toml"), "name = \"echo\"\nversion = \"3.2.1\"\n").expect("it can be written");
    let settings = format!("[[plugin]]\nname = \"echo\"\npath = \"{}\"\n", place("echo.wasm").display());
    let host = Host::start_with(&settings);
    assert_eq!(host.json(&["plugin", "show", "echo"])["active"], "3.2.1");
    assert_eq!(host.run(&["run", "echo", "hello"]).done(), "hello");

    let disabled = Host::start_with(&format!("{settings}enabled = false\n"));
    assert_eq!(disabled.json(&["plugin", "show", "echo"])["enabled"], false);
}

#[test]
fn a_plugin_of_the_settings_that_is_missing_does_not_stop_the_host() {
    let host = Host::start_with("[[plugin]]\nname = \"echo\"\npath = \"no-such.wasm\"\n");
    assert_eq!(host.json(&["service", "status"])["state"], "running");
}

#[test]
fn a_full_disk_takes_nothing_new_says_so_and_goes_on_when_there_is_room() {
    let mut host = Host::start();
    host.upload("echo");
    let settings = host.folder().join("backroom.toml");
    std::fs::write(&settings, "[store]\nmin_free = \"1000000GiB\"\n").expect("it can be written");
    host.restart();
    std::fs::write(host.folder().join("jobs.ndjson"), "{\"plugin\": \"echo\"}\n").expect("it can be written");
    for args in [
        &["job", "submit", "echo"][..],
        &["job", "submit", "--bulk", "jobs.ndjson"],
        &["batch", "submit", "jobs.ndjson"],
    ] {
        let refused = host.run(args);
        assert_eq!(refused.code, 1, "{}", refused.whole());
        assert!(refused.err.contains("error[BR0403]: the disk is full"), "{}", refused.whole());
        assert!(refused.err.contains("min_free"), "{}", refused.whole());
    }
    assert_eq!(host.json(&["job", "list"])["jobs"].as_array().map(Vec::len), Some(0), "nothing is half-taken");
    std::fs::write(&settings, "").expect("it can be written");
    host.restart();
    assert_eq!(host.run(&["run", "echo", "back"]).done().trim(), "back");
}

#[test]
fn a_job_that_goes_with_its_success_is_still_told_of() {
    let host = Host::start();
    host.upload("echo");
    for input in ["\"done\"", "{\"a\":[1,2]}"] {
        let submit = ["job", "submit", "echo", "--input", input, "--auto-delete"];
        assert_eq!(host.run(&[&submit[..], &["--follow"]].concat()).done(), input);
        let waited = host.run(&[&submit[..], &["--wait", "--json"]].concat()).done();
        assert!(waited.contains("\"state\":\"succeeded\""), "{waited}");
    }
    // A large one is shown as long as it is there; it is never dropped without a word.
    let large = format!("\"{}\"", "x".repeat(100_000));
    let gone = host.run(&["job", "submit", "echo", "--input", &large, "--auto-delete", "--follow"]);
    assert!(gone.out == large || gone.err.contains("its output of 100002 bytes went with it"), "{}", gone.whole());
    assert_eq!(host.json(&["job", "list"])["jobs"], serde_json::json!([]));
}
