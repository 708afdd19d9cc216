//! Follows what the host prints, word for word, and sees it help.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;

use super::host::Host;
use super::support::built_plugin;

/// How often advice may be followed before it must have helped: what a handler needs of fuel is known only by trying.
const TRIES: usize = 16;

/// A host with the sample that breaks every limit, and the files that decide about it.
struct Trial {
    host: Host,
    manifest: PathBuf,
}

impl Trial {
    fn start(settings: &str, manifest: &str) -> Self {
        let host = Host::start_with(&format!("[retry]\nmax_attempts = 1\n{settings}"));
        let trial = Self { manifest: host.folder().join("plugin.toml"), host };
        std::fs::write(&trial.manifest, format!("name = \"misbehave\"\nversion = \"0.1.0\"\n{manifest}"))
            .expect("it can be written");
        trial.upload();
        trial
    }

    fn upload(&self) -> String {
        let (component, manifest) =
            (built_plugin("misbehave").display().to_string(), self.manifest.display().to_string());
        self.host.run(&["plugin", "upload", &component, "--manifest", &manifest]).done()
    }

    /// Runs a job, and returns what it ended with.
    fn run(&self, input: &str) -> serde_json::Value {
        self.run_of("misbehave", input)
    }

    fn run_of(&self, plugin: &str, input: &str) -> serde_json::Value {
        self.host.run(&["run", plugin, input]);
        let jobs = self.host.json(&["job", "list"]);
        let id = jobs["jobs"][0]["id"].as_str().expect("an id").to_owned();
        self.host.json(&["job", "show", &id])
    }

    /// Does what the text says, by the command where `by_command` and one is there, else by the file.
    fn follow(&mut self, advice: &str, by_command: bool) {
        let lines: Vec<&str> = advice.lines().map(str::trim).collect();
        let has_command = by_command && lines.iter().any(|line| line.starts_with("backroom plugin grant"));
        let mut at = 0;
        let (mut uploads, mut restarts) = (false, false);
        while at < lines.len() {
            let line = lines[at];
            at += 1;
            if line.starts_with("backroom plugin grant") && by_command {
                let words: Vec<_> = line.split_whitespace().skip(1).map(|word| word.trim_matches('\'')).collect();
                self.host.run(&words).done();
            }
            let Some(comment) = line.strip_prefix("# ") else { continue };
            let Some((place, then)) = comment.trim_start_matches("or ").split_once("; then ") else { continue };
            let (file, spot) = place.split_once(", ").expect("a file and a place in it");
            let text: Vec<_> = lines[at..].iter().take_while(|line| !is_other_text(line)).collect();
            let text = text.into_iter().copied().collect::<Vec<_>>().join("\n");
            let is_other_way = then.starts_with("restart") && has_command;
            if is_other_way {
                continue;
            }
            edit(&self.host.folder().join(file), spot, &text);
            uploads |= then.starts_with("upload");
            restarts |= then.starts_with("restart");
        }
        if uploads {
            self.upload();
        }
        if restarts {
            self.host.run(&["config", "check"]).done();
            self.host.restart_in_order();
        }
    }
}

/// Whether a line below an edit is no part of it: another step, or what else an error says.
fn is_other_text(line: &str) -> bool {
    line.is_empty() || ["#", "backroom ", "more: ", "next: "].iter().any(|start| line.starts_with(start))
}

/// Edits a file as a person would who reads `spot`.
fn edit(file: &std::path::Path, spot: &str, text: &str) {
    let before = std::fs::read_to_string(file).expect("the file is there");
    let mut lines: Vec<String> = before.lines().map(str::to_owned).collect();
    let numbers: Vec<usize> =
        spot.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
    match (spot, numbers.as_slice()) {
        ("at the end", _) => lines.push(text.to_owned()),
        ("at the top", _) => lines.insert(0, text.to_owned()),
        (spot, [line]) if spot.starts_with("below") => lines.insert(*line, text.to_owned()),
        (spot, [first, .., last] | [first @ last]) if spot.starts_with("in place of") => {
            lines.splice(first - 1..*last, [text.to_owned()]);
        }
        (spot, [.., line]) if spot.starts_with("inside the braces") => {
            let brace = lines[line - 1].rfind('}').expect("there are braces");
            lines[line - 1].insert_str(brace, &format!(", {text} "));
        }
        _ => panic!("no place that anybody finds: {spot}"),
    }
    std::fs::write(file, lines.join("\n") + "\n").expect("it can be written");
}

#[test]
fn advice_on_a_limit_helps_whichever_side_decides() {
    let cases = [
        ("", "[limits]\nwall = \"300ms\"\n", r#"{"do": "sleep", "ms": 900}"#, "BR0303"),
        (
            "[limits]\nwall = \"200ms\"\n",
            "limits = { fuel = 900_000_000_000, wall = \"300ms\" }\n",
            r#"{"do": "sleep", "ms": 900}"#,
            "BR0303",
        ),
        (
            "[[plugin]]\nname = \"misbehave\"\nlimits = { memory = \"4MiB\", wall = \"20s\" } # small\n",
            "",
            r#"{"do": "grow"}"#,
            "BR0302",
        ),
        (
            "[[plugin]]\nname = \"misbehave\"\n[plugin.limits]\nwall = \"20s\"\n[limits]\nmemory = \"4MiB\"\n",
            "limits.memory = \"8MiB\"\n",
            r#"{"do": "grow"}"#,
            "BR0302",
        ),
        (
            "[[plugin]]\nname = \"misbehave\"\n[plugin.limits]\noutput = \"1KiB\"\n",
            "",
            r#"{"do": "output", "bytes": 3000}"#,
            "BR0307",
        ),
        (
            "[[plugin]]\nlimits.host_calls = 20\nname = \"misbehave\"\n",
            "",
            r#"{"do": "host-calls", "times": 100}"#,
            "BR0308",
        ),
        ("[limits]\nhandles = 6\n", "", r#"{"do": "handles", "times": 20}"#, "BR0309"),
        ("[limits]\nfuel = 200_000\n", "limits.fuel = 100_000\n", r#"{"do": "burn"}"#, "BR0301"),
        ("[limits]\nhost_call = \"1KiB\"\n", "", r#"{"do": "checkpoint", "bytes": 3000}"#, "BR0308"),
        ("[limits]\nhost_copy = \"8KiB\"\n", "", r#"{"do": "checkpoint", "bytes": 3000, "times": 5}"#, "BR0308"),
    ];
    for (settings, manifest, input, code) in cases {
        let mut trial = Trial::start(settings, manifest);
        let mut tries = 0;
        loop {
            let job = trial.run(input);
            if job["state"] == "succeeded" {
                break;
            }
            assert_eq!(job["error"]["code"], code, "{settings}{manifest}: {job}");
            tries += 1;
            assert!(tries < TRIES, "the advice does not help: {settings}{manifest}: {job}");
            let detail = job["error"]["detail"].as_str().expect("a detail").to_owned();
            trial.follow(&detail, true);
        }
        assert!(tries > 0, "the limit was not hit: {settings}{manifest}");
    }
}

/// A server on loopback that answers 200 to everybody.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            // Whoever goes away early is of no account.
            drop(stream.read(&mut [0; 1024]));
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
        }
    });
    address
}

#[test]
fn advice_on_an_origin_helps_whichever_side_lacks_it_and_by_command_as_by_file() {
    let address = server();
    let table = "[[plugin]]\nname = \"misbehave\"\ngrants = { http = [\"https://other.example\"] }\n";
    let granted = format!("[[plugin]]\nname = \"misbehave\"\ngrants.http = [\"http://{address}\"]\n");
    for (settings, manifest) in
        [("", ""), (table, "[wants]\nconfig = []\n"), (granted.as_str(), "wants = { http = [] }\n")]
    {
        for by_command in [true, false] {
            let mut trial = Trial::start(settings, manifest);
            let input = format!(r#"{{"do": "http", "address": "{address}"}}"#);
            let job = trial.run(&input);
            let id = job["id"].as_str().expect("an id");
            let log = trial.host.run(&["job", "logs", id]).done();
            let advice = log.split_once("To allow it:").expect("the log holds advice").1;
            // Every line of a log begins with its time and its source.
            let lines: Vec<_> =
                advice.lines().map(|line| line.split_once(" host  ").map_or(line, |(_, text)| text)).collect();
            trial.follow(&lines.join("\n"), by_command);
            let job = trial.run(&input);
            assert!(job["output"].to_string().contains("200"), "{settings}{manifest}{by_command}: {job}\n{log}");
        }
    }
}

#[test]
fn a_version_that_waits_for_grants_becomes_active_once_they_are_given() {
    let wants =
        "[wants]\nhttp = [\"https://api.example.com\"]\nconfig = [\"mail.from\"]\npause = [\"queue\", \"plugin\"]\n";
    let table = "[[plugin]]\nname = \"misbehave\"\nconfig = { other = \"hush\" }\n";
    let braces = "[[plugin]]\nname = \"misbehave\"\ngrants = { http = [\"https://other.example.com\"] }\n";
    for (settings, by_command) in [("", true), ("", false), (table, true), (table, false), (braces, false)] {
        let mut trial = Trial::start(settings, wants);
        let said = trial.upload();
        assert!(said.contains("is pending") && !said.contains("hush"), "{said}");
        trial.follow(&said, by_command);
        let plugin = trial.host.json(&["plugin", "show", "misbehave"]);
        assert_eq!(plugin["active"], "0.1.0", "{settings}{by_command}: {said}{plugin}");
        let source = if by_command { "command" } else { "settings" };
        for grant in plugin["grants"].as_array().expect("a list") {
            let is_other = grant["value"] == "other" || grant["value"] == "https://other.example.com";
            assert!(is_other || grant["source"] == source, "{grant}");
            assert_ne!(grant["has_value"], false, "{grant}");
        }
        assert_eq!(trial.run(r#"{"do": "burn"}"#)["state"], "succeeded");
    }
}

#[test]
fn the_built_in_handler_calls_what_was_granted_by_command_until_it_is_taken_back() {
    let (address, host) = (server(), Host::start());
    let input = format!(r#"{{"url": "http://{address}/"}}"#);
    let refused = host.run(&["run", "http", &input]);
    let command =
        refused.err.lines().find_map(|line| line.split_once("backroom plugin grant ")).expect("a command").1.to_owned();
    let words: Vec<&str> = ["plugin", "grant"].into_iter().chain(command.split_whitespace()).collect();
    host.run(&words).done();
    assert!(host.run(&["run", "http", &input]).done().contains("200"));
    let revoked: Vec<&str> = words.iter().copied().chain(["--revoke"]).collect();
    host.run(&revoked).done();
    assert_ne!(host.run(&["run", "http", &input]).code, 0);
    let again = host.run(&revoked);
    assert!(again.err.contains("BR0228"), "{}", again.whole());
}

/// The text of a log behind its times and sources.
fn texts(log: &str) -> String {
    let text = |line| str::split_once(line, " host  ").map_or(line, |(_, text)| text);
    log.lines().map(text).collect::<Vec<_>>().join("\n")
}

/// What is to be called in place of what was.
fn called_instead(advice: &str) -> String {
    let (_, rest) = advice.split_once("Call ").expect("it says what to call");
    rest.split(" itself").next().expect("it ends").to_owned()
}

#[test]
fn advice_on_a_name_that_leads_to_this_machine_helps_a_plugin_and_the_built_in_handler() {
    let address = server();
    let (_, port) = address.rsplit_once(':').expect("a port");
    // The resolver reads `127.1` as 127.0.0.1, but as a grant it is a name like any other.
    let name = format!("http://127.1:{port}");
    for by_command in [true, false] {
        let settings = format!("[[plugin]]\nname = \"misbehave\"\ngrants = {{ http = [\"{name}\"] }}\n");
        let mut trial = Trial::start(&settings, &format!("[wants]\nhttp = [\"{name}\"]\n"));
        let job = trial.run(&format!(r#"{{"do": "http", "address": "127.1:{port}"}}"#));
        let advice = texts(&trial.host.run(&["job", "logs", job["id"].as_str().expect("an id")]).done());
        let meant = called_instead(&advice);
        trial.follow(&advice, by_command);
        let authority = meant.trim_start_matches("http://");
        let job = trial.run(&format!(r#"{{"do": "http", "address": "{authority}"}}"#));
        assert!(job["output"].to_string().contains("200"), "{by_command}: {job}\n{advice}");

        let settings = format!("[[plugin]]\nname = \"http\"\ngrants = {{ http = [\"{name}\"] }}\n");
        let mut trial = Trial::start(&settings, "");
        let job = trial.run_of("http", &format!(r#"{{"url": "{name}/x"}}"#));
        let refused = job["error"]["message"].as_str().expect("a message").to_owned();
        trial.follow(&refused, by_command);
        let meant = called_instead(&refused);
        let called = trial.host.run(&["run", "http", &format!(r#"{{"url": "{meant}/x"}}"#)]);
        assert!(called.done().contains("200"), "{by_command}: {refused}");
    }
}

#[test]
fn advice_on_a_setting_without_a_value_helps() {
    let table = "[[plugin]]\nname = \"misbehave\"\ngrants = { config = [\"mail.from\"] }\n";
    for by_command in [true, false] {
        let mut trial = Trial::start(table, "[wants]\nconfig = [\"mail.from\"]\n");
        let input = r#"{"do": "setting", "key": "mail.from"}"#;
        let job = trial.run(input);
        let detail = job["error"]["detail"].as_str().expect("a detail").to_owned();
        assert!(detail.contains("the setting `mail.from`, which has no value"), "{detail}");
        trial.follow(&detail, by_command);
        assert_eq!(trial.run(input)["state"], "succeeded", "{by_command}: {detail}");
    }
}

#[test]
fn advice_at_a_submit_helps() {
    for (settings, submit) in [
        ("[[plugin]]\nname = \"misbehave\"\nlimits = { input = \"8B\" }\n", &["--input", r#"{"do": "burn"}"#][..]),
        ("[limits]\nwall = \"2s\"\n", &["--input", r#"{"do": "burn"}"#, "--deadline", "1m"]),
    ] {
        let mut trial = Trial::start(settings, "");
        let submit = [&["job", "submit", "misbehave", "--wait"], submit].concat();
        let refused = trial.host.run(&submit);
        assert_ne!(refused.code, 0, "{}", refused.whole());
        trial.follow(&refused.err, true);
        trial.host.run(&submit).done();
    }
}

#[test]
fn advice_on_a_bound_of_uploads_helps_however_the_file_is_written() {
    for settings in
        ["", "[uploads]\nfunctions = 7\n", "[uploads]\nfunctions = 7\nglobals = 0\n", "uploads.functions = 7\n"]
    {
        let settings = if settings.is_empty() { "uploads = { functions = 7 }\n" } else { settings };
        let mut trial = Trial { host: Host::start_with(settings), manifest: std::path::PathBuf::new() };
        trial.manifest = trial.host.folder().join("plugin.toml");
        std::fs::write(&trial.manifest, "name = \"misbehave\"\nversion = \"0.1.0\"\n").expect("it can be written");
        let (component, manifest) = (built_plugin("misbehave"), trial.manifest.clone());
        let (component, manifest) = (component.display().to_string(), manifest.display().to_string());
        let upload = ["plugin", "upload", &component, "--manifest", &manifest];
        let mut tries = 0;
        loop {
            let tried = trial.host.run(&upload);
            if tried.code == 0 {
                break;
            }
            assert!(tried.err.contains("BR0216"), "{}", tried.whole());
            tries += 1;
            assert!(tries < TRIES, "the advice does not help: {settings}: {}", tried.whole());
            trial.follow(&tried.err, true);
        }
        assert!(tries > 0, "the bound was not hit: {settings}");
    }
}

#[test]
fn advice_on_what_looks_like_a_loop_helps() {
    let mut trial = Trial::start("[limits]\nruns_per_record = 1\n", "");
    let submit = |host: &Host, parent: &[&str]| {
        let about = ["job", "submit", "misbehave", "--input", r#"{"do": "burn"}"#, "--regarding", "order/1", "--wait"];
        host.run(&[&about[..], parent, &["--json"]].concat())
    };
    let first: serde_json::Value = serde_json::from_str(&submit(&trial.host, &[]).done()).expect("JSON");
    let parent = ["--parent", first["id"].as_str().expect("an id")].map(str::to_owned);
    let parent = [parent[0].as_str(), parent[1].as_str()];
    submit(&trial.host, &parent).done();
    submit(&trial.host, &parent);
    let refused = trial.host.json(&["job", "list", "--state", "failed"]);
    let id = refused["jobs"][0]["id"].as_str().expect("one looks like a loop").to_owned();
    let job = trial.host.json(&["job", "show", &id]);
    assert_eq!(job["error"]["code"], "BR0319", "{job}");
    trial.follow(job["error"]["detail"].as_str().expect("a detail"), true);
    submit(&trial.host, &parent).done();
}
