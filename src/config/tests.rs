//! What settings the sources give, and what is said of the mistakes in them.

use std::path::Path;
use std::time::Duration;

use super::*;

fn from_file(text: &str) -> Result<Loaded, Problems> {
    read(&Sources { file: Some((Path::new("etc/backroom.toml"), text)), ..Sources::default() })
}

fn complaints(result: Result<Loaded, Problems>) -> Vec<String> {
    let problems = result.expect_err("the settings hold mistakes").0;
    problems.iter().map(ToString::to_string).collect()
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_example_file_is_complete_and_at_the_defaults() {
    let loaded = read(&Sources { file: Some((Path::new("backroom.toml"), EXAMPLE)), ..Sources::default() });
    let mut settings = loaded.expect("the example is right").settings;
    (settings.stated, settings.uploads.limits.stated) = Default::default();
    assert_eq!(settings, Settings::default());

    let uncommented: Vec<_> = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") || rest.starts_with("[[") => rest,
            _ => line,
        })
        .collect();
    let text = uncommented.join("\n").replace("a long random text", "a-long-random-text");
    let text = text.replace("whsec_...", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3");
    let loaded = from_file(&text).expect("the example is right with everything switched on");
    let plugin = &loaded.settings.plugins[0];
    assert_eq!(plugin.name.as_str(), "invoice-mailer");
    assert_eq!(plugin.limits.memory_bytes, 128 << 20);
    assert_eq!(plugin.limits.fuel, Settings::default().limits.fuel);
    let shown = show(&loaded);
    let default_lines: Vec<_> = shown.lines().filter(|line| line.ends_with("# default")).collect();
    let of_the_plugin = |line: &&str| !["fuel", "input", "base", "timeouts"].iter().any(|key| line.starts_with(key));
    let missing: Vec<_> = shown
        .split("[[plugin]]")
        .next()
        .expect("the host's part comes first")
        .lines()
        .filter(|line| line.ends_with("# default"))
        .filter(of_the_plugin)
        .collect();
    assert!(missing.is_empty(), "the example lacks {missing:?} of {default_lines:?}");
}

#[test]
fn the_stack_is_the_hosts_alone() {
    let loaded = from_file("[limits]\nstack = \"1MiB\"\n[[plugin]]\nname = \"a\"\n").expect("it is right");
    assert_eq!((loaded.settings.limits.stack_bytes, loaded.settings.plugins[0].limits.stack_bytes), (1 << 20, 1 << 20));
    let shown = show(&loaded);
    assert_eq!(shown.matches("\nstack = ").count(), 1, "what is shown cannot be read again: {shown}");
    let refused = complaints(from_file("[[plugin]]\nname = \"a\"\nlimits = { stack = \"1MiB\" }\n"));
    let expected = "etc/backroom.toml:3:12: `plugin[a].limits.stack` cannot be set for one plug-in: \
                    the stack is the same for all of a host; set `stack` under [limits]";
    assert_eq!(refused, [expected]);
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let text =
        "[server]\nlisten = \"127.0.0.1:1\"\n[worker]\nconcurrency = 3\n[limits]\nwall = \"1s\"\nmemory = \"1MiB\"\n";
    let sources = Sources {
        file: Some((Path::new("etc/backroom.toml"), text)),
        environment: variables(&[
            ("BACKROOM_SERVER_LISTEN", "127.0.0.1:2"),
            ("BACKROOM_SERVER_ALLOWED_HOSTS", "a.localhost, B.localhost"),
            ("BACKROOM_LIMITS_FUEL", "5_000"),
            ("BACKROOM_LIMITS_MEMORY", "2MiB"),
            ("BACKROOM_LIMITS_WALL", ""),
            ("BACKROOM_TOKEN", "the client's, not the host's"),
            ("BACKROOM_SERVER", "http://127.0.0.1:9"),
        ]),
        flags: vec![Flag { flag: "--listen", section: "server", key: "listen", value: "127.0.0.1:3".into() }],
    };
    let loaded = read(&sources).expect("all of it is right");
    let settings = loaded.settings;
    assert_eq!(settings.server.listen.port(), 3);
    assert_eq!(settings.server.token, None);
    assert_eq!(settings.server.allowed_hosts, ["a.localhost", "b.localhost"]);
    assert_eq!((settings.worker.concurrency, settings.worker.ahead), (3, 3));
    assert_eq!((settings.limits.fuel, settings.limits.memory_bytes), (5_000, 2 << 20));
    assert_eq!(settings.limits.wall, Duration::from_secs(1));
    let place = |path: &str| loaded.places[path].to_string();
    assert_eq!(place("server.listen"), "--listen");
    assert_eq!(place("limits.memory"), "BACKROOM_LIMITS_MEMORY");
    assert_eq!(place("limits.wall"), "etc/backroom.toml:6:8");
}

#[test]
fn relative_paths_of_a_file_begin_at_its_folder() {
    let text = "[store]\npath = \"data\"\n[[plugin]]\nname = \"echo\"\npath = \"echo.wasm\"\n";
    let settings = from_file(text).expect("all of it is right").settings;
    assert_eq!(settings.store.path, Path::new("etc/data"));
    assert_eq!(settings.plugins[0].path.as_deref(), Some(Path::new("etc/echo.wasm")));

    let flag = Flag { flag: "--data", section: "store", key: "path", value: "here".into() };
    let sources =
        Sources { file: Some((Path::new("etc/backroom.toml"), text)), flags: vec![flag], ..Sources::default() };
    assert_eq!(read(&sources).expect("all of it is right").settings.store.path, Path::new("here"));
}

#[test]
fn every_mistake_is_found_at_once_with_its_place() {
    let text = r#"
[server]
lisen = "127.0.0.1:7171"
listen = "127.0.0.1"

[limits]
fuel = "much"
wall = 30
memory = "64Mi"
table_elements = -1

[worker]
concurrency = 0

[retry]
timeouts = "maybe"
base = "2h"

[queue]
size = 3

[[plugin]]
name = "echo"
grants = { http = ["api.example.com", "https://ok.example.com", 7], files = ["/"] }
config = { retries = 3 }

[[plugin]]
name = "echo"

[[plugin]]
path = "x.wasm"
"#;
    assert_eq!(
        complaints(from_file(text)),
        [
            "etc/backroom.toml:3:1: `lisen` is not known in `server`; did you mean `listen`?",
            r#"etc/backroom.toml:4:10: `server.listen` is not an address with a port: "127.0.0.1"; write IP:PORT, such as "127.0.0.1:7171" or "[::1]:7171""#,
            r#"etc/backroom.toml:7:8: `limits.fuel` must be a whole number, not "much"; write a whole number from 1 to 1000000000000000"#,
            r#"etc/backroom.toml:8:8: `limits.wall` must be a duration, not 30; write a number with ms, s, m, h or d, such as "30s" or "1h30m""#,
            r#"etc/backroom.toml:9:10: `limits.memory` is "64Mi", which is not a size: `Mi` is not a unit; write a number of bytes or one with KB, KiB, MB, MiB, GB or GiB, such as "64MiB""#,
            "etc/backroom.toml:10:18: `limits.table_elements` is -1, which is out of bounds; write a whole number from 0 to 10000000",
            "etc/backroom.toml:13:15: `worker.concurrency` is 0, which is out of bounds; write a whole number from 1 to 4096",
            r#"etc/backroom.toml:16:12: `retry.timeouts` is "maybe", which is not known; write "retry" or "fail""#,
            "etc/backroom.toml:17:8: the first wait of a retry, `base`, is longer than its `cap`; lower `base` or raise `cap`",
            "etc/backroom.toml:19:2: `queue` must be a list of tables; write [[queue]] with two brackets",
            r#"etc/backroom.toml:24:20: `plugin[echo].grants.http` is "api.example.com", which is not acceptable: it has no scheme; write an origin such as "https://api.example.com", "https://*.example.com" or "http://10.0.0.7:8080""#,
            "etc/backroom.toml:24:65: `plugin[echo].grants.http` must be a text, not 7; put it in quotes",
            "etc/backroom.toml:24:69: `files` is not known in `plugin[echo].grants`; there are http, config, pause",
            "etc/backroom.toml:25:22: `plugin[echo].config` has a value for `retries` that is not a text; put it in quotes",
            "etc/backroom.toml:27:1: plug-in `echo` stands here for the second time; put both into one [[plugin]]",
            r#"etc/backroom.toml:30:1: a [[plugin]] has no `name`; add the line name = "...""#,
        ]
    );
}

#[test]
fn a_line_that_breaks_the_syntax_does_not_hide_the_rest() {
    let text = "[server]\nlisten = 127.0.0.1:7171\n\n[limits]\nfule = 3\n";
    assert_eq!(
        complaints(from_file(text)),
        [
            "etc/backroom.toml:2:15: invalid float, expected nothing; see toml.io for the syntax; texts stand in double quotes",
            "etc/backroom.toml:5:1: `fule` is not known in `limits`; did you mean `fuel`?",
        ]
    );
}

#[test]
fn mistakes_in_variables_and_flags_name_them() {
    let sources = Sources {
        environment: variables(&[("BACKROOM_SERVER_LISTN", "127.0.0.1:1"), ("BACKROOM_WORKER_CONCURRENCY", "many")]),
        flags: vec![Flag { flag: "--listen", section: "server", key: "listen", value: "here".into() }],
        ..Sources::default()
    };
    assert_eq!(
        complaints(read(&sources)),
        [
            r#"--listen: `server.listen` is not an address with a port: "here"; write IP:PORT, such as "127.0.0.1:7171" or "[::1]:7171""#,
            "BACKROOM_SERVER_LISTN: the variable names no setting of `server`; did you mean `BACKROOM_SERVER_LISTEN`?",
            r#"BACKROOM_WORKER_CONCURRENCY: `worker.concurrency` must be a whole number, not "many"; write a whole number from 1 to 4096"#,
        ]
    );
}

#[test]
fn listening_beyond_loopback_needs_a_token() {
    let text = "[server]\nlisten = \"0.0.0.0:7171\"\n";
    let problems = from_file(text).expect_err("there is no token").0;
    assert_eq!(problems[0].code, crate::domain::code::TOKEN_NEEDED);
    assert_eq!(problems[0].place.to_string(), "etc/backroom.toml:2:10");
    let short = complaints(from_file(&format!("{text}token = \"secret\"\n")));
    assert!(short.len() == 1 && short[0].contains("fewer than 16 bytes") && !short[0].contains("secret"), "{short:?}");
    let near = complaints(from_file("[server]\ntoken = \"a\"\n"));
    assert!(
        near.len() == 1 && near[0].contains("fewer than 16 bytes"),
        "whoever shares the machine can guess, too: {near:?}"
    );
    from_file(&format!("{text}token = \"a-long-random-text\"\n")).expect("there is one now");
    let local = from_file("[server]\nlisten = \"[::1]:7171\"\n").expect("IPv6 loopback needs none");
    assert_eq!(local.settings.server.token, None);
}

#[test]
fn being_called_by_a_foreign_name_needs_a_token() {
    for foreign in
        ["jobs.example.com", "jobs.example.com:443", "203.0.113.7", "localhost.example.com", "[2001:db8::1]:80"]
    {
        let text = format!("[server]\nallowed_hosts = [\"localhost\", \"{foreign}\"]\n");
        let problems = from_file(&text).expect_err("there is no token").0;
        assert_eq!(problems[0].code, crate::domain::code::TOKEN_NEEDED, "{foreign}");
        assert!(problems[0].message.contains(foreign), "{}", problems[0].message);
        from_file(&format!("{text}token = \"a-long-random-text\"\n")).expect("there is one now");
    }
    for own in ["localhost", "localhost:3000", "app.localhost", "127.0.0.1", "127.0.0.1:80", "[::1]:80", "::1"] {
        from_file(&format!("[server]\nallowed_hosts = [\"{own}\"]\n")).expect("it is this machine");
    }
}

#[test]
fn proxies_are_addresses_and_networks() {
    let proxies = |list: &str| from_file(&format!("[server]\ntrusted_proxies = {list}\n"));
    let settings = proxies("[\"127.0.0.1\", \"10.0.0.0/8\"]").expect("they are").settings;
    assert_eq!(
        settings.server.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["127.0.0.1/32", "10.0.0.0/8"]
    );
    let wrong = complaints(proxies("[\"proxy.example\"]"));
    assert!(wrong.len() == 1 && wrong[0].contains("network such as"), "{wrong:?}");
}

#[test]
fn policies_hold_the_hosts_defaults_where_a_plugin_has_none() {
    let text = r#"
[limits]
fuel = 100
[retry]
max_attempts = 9
[[plugin]]
name = "echo"
limits = { wall = "1s" }
grants = { http = ["https://*.example.com"], config = ["a"] }
config = { b = "2" }
"#;
    let policies = from_file(text).expect("all of it is right").settings.policies();
    assert_eq!((policies.default.limits.fuel, policies.default.retry.max_attempts), (100, 9));
    assert!(policies.default.grants.is_empty());
    let echo = &policies.by_plugin["echo"];
    assert_eq!((echo.limits.fuel, echo.limits.wall), (100, Duration::from_secs(1)));
    assert_eq!(echo.retry.max_attempts, 9);
    let grants = [Grant::Http("https://*.example.com".into()), Grant::Config("a".into()), Grant::Config("b".into())];
    assert_eq!(echo.grants, grants.into());
    assert_eq!(echo.config, [("b".to_owned(), "2".to_owned())]);
}

#[test]
fn f110_batches_are_kept_as_long_as_all_else_unless_something_is_said_of_them() {
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    let kept = |text: &str| {
        let policies = from_file(text).expect("all of it is right").settings.policies();
        let [all, batches] = [&policies.default, &policies.by_plugin["batch"]].map(|policy| policy.retention);
        (all, batches)
    };
    let (all, batches) = kept("[retention]\nsucceeded = \"2d\"\n");
    assert_eq!((all, all.succeeded), (batches, days(2)));
    let (all, batches) =
        kept("[retention]\nfailed = \"5d\"\n[retention.batch]\nsucceeded = \"1d\"\ncanceled = \"forever\"\n");
    assert_eq!((all.succeeded, all.failed, all.canceled), (days(7), days(5), days(30)));
    assert_eq!((batches.succeeded, batches.failed, batches.canceled), (days(1), days(5), None));
    let complaints = complaints(from_file("[[plugin]]\nname = \"batch\"\nretention = { failed = \"1d\" }\n"));
    assert!(complaints[0].contains("[retention.batch]"), "{complaints:?}");
}

#[test]
fn what_is_shown_reads_back_but_for_the_secrets() {
    let text = "[server]\ntoken = \"hush-hush-hush-hush\"\n[worker]\nconcurrency = 2\n[[plugin]]\nname = \"echo\"\nlimits = { fuel = 7 }\nconfig = { key = \"hush\" }\n";
    let loaded = from_file(text).expect("all of it is right");
    let shown = show(&loaded);
    assert!(!shown.contains("hush"), "{shown}");
    assert!(shown.contains("# etc/backroom.toml:4:15"), "{shown}");
    let again = read(&Sources { file: Some((Path::new("backroom.toml"), &shown)), ..Sources::default() });
    let again = again.expect("what is shown is right").settings;
    assert_eq!(again.worker, loaded.settings.worker);
    assert_eq!(again.plugins[0].limits, loaded.settings.plugins[0].limits);
}

#[test]
fn authorities_stand_beside_the_file() {
    let loaded = from_file("[http]\nca_file = \"ca.pem\"\n").expect("all of it is right");
    assert_eq!(loaded.settings.http.ca_file.as_deref(), Some(Path::new("etc/ca.pem")));
}

#[test]
fn a_built_in_handler_has_no_component_and_no_switch() {
    let text = "[[plugin]]\nname = \"http\"\npath = \"http.wasm\"\nenabled = false\n";
    let complaints = complaints(from_file(text));
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints.iter().all(|complaint| complaint.contains("does not fit `http`")), "{complaints:?}");
    let granted = from_file("[[plugin]]\nname = \"http\"\ngrants = { http = [\"https://hooks.example.com\"] }\n");
    assert_eq!(granted.expect("it is right").settings.plugins.len(), 1);
}
