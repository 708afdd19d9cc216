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
        self.host.run(&["run", "misbehave", input]);
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
            let text: Vec<_> = lines[at..]
                .iter()
                .take_while(|line| !line.starts_with('#') && !line.is_empty() && !line.starts_with("backroom "))
                .collect();
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
    let wants = "[wants]\nhttp = [\"https://api.example.com\"]\nconfig = [\"mail.from\"]\n";
    let table = "[[plugin]]\nname = \"misbehave\"\nconfig = { other = \"hush\" }\n";
    for (settings, by_command) in [("", true), ("", false), (table, true), (table, false)] {
        let mut trial = Trial::start(settings, wants);
        let said = trial.upload();
        assert!(said.contains("is pending") && !said.contains("hush"), "{said}");
        trial.follow(&said, by_command);
        let plugin = trial.host.json(&["plugin", "show", "misbehave"]);
        assert_eq!(plugin["active"], "0.1.0", "{settings}{by_command}: {said}{plugin}");
        let source = if by_command { "command" } else { "settings" };
        for grant in plugin["grants"].as_array().expect("a list") {
            let is_other = grant["value"] == "other";
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
