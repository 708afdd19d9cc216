//! Tables and their other forms: on terminals of any width, without colours, and for programs.

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::host::Host;
use super::program::{on_terminal, run};

/// The shapes of states.
const SHAPES: &[char] = &['✓', '✗', '○', '⧗', '◕', '‖', '▶', '▷'];

/// A host with jobs that succeeded, failed and wait, and the id of the one that failed.
fn host() -> (Host, String) {
    let host = Host::start();
    host.upload("echo");
    host.upload("misbehave");
    host.run(&["run", "echo", "{}"]).done();
    let failing = r#"{"do": "fail", "class": "business", "message": "row 7 of the import has no address, and neither has row 8"}"#;
    assert_eq!(host.run(&["run", "misbehave", failing]).code, 1);
    let id = host.json(&["job", "list", "--state", "failed"])["jobs"][0]["id"].as_str().expect("an id").to_owned();
    let waiting = ["job", "submit", "echo", "--at", "2030-01-31T08:00:00Z", "--name", "import of March"];
    let waiting = host.run(&waiting).done();
    host.run(&["job", "pause", waiting.trim(), "--reason", "asked for by the provider of the numbers"]).done();
    host.run(&["schedule", "add", "nightly", "--cron", "0 2 * * *", "--plugin", "echo"]).done();
    host.run(&["queue", "pause", "bulk", "--reason", "the provider counts calls until midnight"]).done();
    (host, id)
}

/// What a command writes on a terminal of so many columns, line by line.
fn shown(host: &Host, columns: usize, args: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let args = [args, &["--server", host.server()]].concat();
    let mut command = on_terminal(host.folder(), columns, &args);
    let output = command.envs(variables.iter().copied()).output().expect("util-linux has a `script`");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

fn listings(id: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["job", "list"],
        vec!["job", "attempts", id],
        vec!["job", "audit", id],
        vec!["job", "failures"],
        vec!["queue", "list"],
        vec!["plugin", "list"],
        vec!["schedule", "list"],
        vec!["batch", "list"],
    ]
}

#[test]
fn no_line_of_a_table_is_wider_than_the_terminal_and_no_id_is_broken() {
    let (host, id) = host();
    let calm = [("NO_COLOR", "1")];
    for columns in [50, 60, 80, 100, 140] {
        for listing in listings(&id) {
            let lines = shown(&host, columns, &listing, &calm);
            for line in lines.iter().take_while(|line| !line.is_empty()) {
                assert!(line.width() <= columns, "{listing:?} at {columns}: {} in {lines:#?}", line.width());
            }
        }
        let jobs = shown(&host, columns, &["job", "list"], &calm);
        assert!(jobs.iter().any(|line| line.starts_with(&id)), "{columns}: {jobs:#?}");
    }
    let wide = shown(&host, 50, &["job", "list", "-o", "wide"], &calm);
    for word in ["TOOK", "ATTEMPT", "CREATED", "NOTE", "neither has row 8"] {
        assert!(wide.join("\n").contains(word), "{word}: {wide:#?}");
    }
}

#[test]
fn states_are_told_apart_without_colours_and_programs_get_words() {
    let (host, _) = host();
    for variables in [&[("NO_COLOR", "1")][..], &[]] {
        let lines = shown(&host, 140, &["job", "list"], variables).join("\n");
        for state in ["✓ succeeded", "✗ failed", "‖ paused"] {
            assert!(lines.contains(state), "{state}: {lines}");
        }
        assert_eq!(lines.contains('\u{1b}'), variables.is_empty(), "{lines}");
    }
    let plain = shown(&host, 140, &["job", "list"], &[("TERM", "dumb")]).join("\n");
    for text in [plain, host.run(&["job", "list"]).done(), host.run(&["job", "list", "-o", "wide"]).done()] {
        assert!(!text.contains(SHAPES) && text.contains(" failed "), "{text}");
    }
}

#[test]
fn every_listing_has_the_same_forms() {
    let (host, id) = host();
    for listing in listings(&id) {
        let of = |form: &[&str]| host.run(&[&listing[..], form].concat()).done();
        let document = of(&["--json"]);
        let json: Value = serde_json::from_str(&document).unwrap_or_else(|error| panic!("{listing:?}: {error}"));
        assert_eq!(of(&["-o", "json"]).lines().count(), 1, "{listing:?}");
        let items = json.as_object().and_then(|fields| fields.values().find_map(Value::as_array)).expect("a list");
        let lines = of(&["--output", "ndjson"]);
        assert_eq!(lines.lines().count(), items.len(), "{listing:?}: {lines}");
        for (line, item) in lines.lines().zip(items) {
            let line: Value = serde_json::from_str(line).expect("each line is a document");
            assert_eq!(line.as_object().map(|fields| fields.len()), item.as_object().map(|fields| fields.len()));
        }
        assert_eq!(of(&["-o", "table"]), of(&[]), "{listing:?}");
        assert!(!of(&["-o", "wide"]).is_empty(), "{listing:?}");
    }
    let codes = run(&["explain", "-o", "ndjson"]).done();
    assert!(codes.lines().count() > 50 && codes.lines().all(|line| line.starts_with('{')), "{codes}");
    assert_eq!(run(&["explain", "-o", "pretty"]).code, 2);
    let both = run(&["explain", "--json", "-o", "table"]);
    assert_eq!((both.code, both.out.as_str()), (2, ""), "{}", both.whole());
    let refused = run(&["job", "show", "-o", "json"]);
    assert!(serde_json::from_str::<Value>(&refused.err).is_ok(), "{}", refused.whole());
    let page = host.run(&["job", "list", "--limit", "1", "-o", "ndjson"]);
    assert_eq!(page.out.lines().count(), 1, "{}", page.whole());
    assert!(page.err.contains("--cursor c"), "where the list goes on is told beside it: {}", page.whole());
}

#[test]
fn an_upload_and_a_bulk_submit_show_how_far_they_are() {
    let host = Host::start();
    let component = super::support::built_plugin("echo").display().to_string();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/echo/plugin.toml");
    let upload = shown(&host, 100, &["plugin", "upload", &component, "--manifest", manifest], &[]).join("\n");
    assert!(upload.contains("uploading and compiling"), "{upload}");
    let line = format!("{{\"plugin\": \"echo\", \"input_text\": \"{}\"}}\n", "x".repeat(900));
    std::fs::write(host.folder().join("jobs.ndjson"), line.repeat(12_000)).expect("it can be written");
    let bulk = shown(&host, 100, &["job", "submit", "--bulk", "jobs.ndjson"], &[]).join("\n");
    assert!(bulk.contains("12000 jobs were taken"), "{bulk:.2000}");
    for word in ["% ", "MiB", "/s", " left"] {
        assert!(bulk.contains(word), "{word}: {bulk:.2000}");
    }
}
