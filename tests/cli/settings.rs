//! What the settings name and what is said of it: plug-ins that share a folder, keys that sign, and what an operator can hardly mean.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::host::Host;
use super::program::{Ran, program, run_in};
use super::support::built_plugin;

/// 24 bytes each.
const KEY: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
const OTHER: &str = "whsec_b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIg";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("it can be written");
}

fn check(folder: &Path) -> Ran {
    run_in(folder, &["config", "check"])
}

fn signing(rest: &str) -> String {
    format!(
        "[[http.sign]]\norigin = \"https://a.example\"\n{rest}\n\
         [[plugin]]\nname = \"http\"\ngrants = {{ http = [\"https://a.example\", \"https://b.example\"] }}\n"
    )
}

#[test]
fn two_plugins_share_a_folder_each_with_its_own_manifest_or_in_its_table() {
    let plugins = folder();
    let place = |name: &str| plugins.path().join(name).display().to_string();
    for (name, copy) in [("echo", "one.wasm"), ("echo", "two.wasm"), ("echo", "three.wasm"), ("echo", "four.wasm")] {
        std::fs::copy(built_plugin(name), place(copy)).expect("it can be copied");
    }
    write(plugins.path(), "one.plugin.toml", "name = \"one\"\nversion = \"1.0.1\"\n");
    write(plugins.path(), "second.plugin.toml", "name = \"second\"\nversion = \"2.0.1\"\n");
    write(plugins.path(), "plugin.toml", "name = \"four\"\nversion = \"4.0.1\"\n");
    let settings = format!(
        "[[plugin]]\nname = \"one\"\npath = {:?}\n[[plugin]]\nname = \"second\"\npath = {:?}\n\
         [[plugin]]\nname = \"third\"\npath = {:?}\nversion = \"3.0.1\"\ndescription = \"said here\"\nconfig = {{ a = \"b\" }}\n\
         [[plugin]]\nname = \"four\"\npath = {:?}\n",
        place("one.wasm"),
        place("two.wasm"),
        place("three.wasm"),
        place("four.wasm")
    );
    let host = Host::start_with(&settings);
    for (name, version) in [("one", "1.0.1"), ("second", "2.0.1"), ("third", "3.0.1"), ("four", "4.0.1")] {
        let plugin = host.json(&["plugin", "show", name]);
        assert_eq!(plugin["active"], version, "{plugin}");
        assert_eq!(host.run(&["run", name, "hello"]).done(), "hello");
    }
    assert!(host.run(&["plugin", "show", "third"]).done().contains("said here"));

    write(plugins.path(), "backroom.toml", &settings);
    check(plugins.path()).done();
    std::fs::remove_file(plugins.path().join("one.plugin.toml")).expect("it is there");
    let refused = check(plugins.path());
    assert!(
        refused.err.contains("is the manifest of `four`") && refused.err.contains("NAME.plugin.toml"),
        "{}",
        refused.whole()
    );
}

#[test]
fn the_handlers_of_a_component_are_its_own_word_and_a_manifest_that_says_otherwise_is_refused() {
    let (host, files) = (Host::start(), folder());
    let component = built_plugin("contact-cleaner").display().to_string();
    let manifest = files.path().join("plugin.toml").display().to_string();
    let upload = |component: &str, handlers: &str| {
        write(files.path(), "plugin.toml", &format!("name = \"cleaner\"\nversion = \"1.0.0\"\n{handlers}"));
        host.run(&["plugin", "upload", component, "--manifest", &manifest])
    };
    let refused = upload(&component, "handlers = [\"clean-row\", \"tidy\"]\n");
    assert!(refused.code != 0 && refused.err.contains("BR0226"), "{}", refused.whole());
    assert!(refused.err.contains("`tidy`") && refused.err.contains("summarise"), "{}", refused.whole());
    upload(&component, "").done();
    let plugin = host.json(&["plugin", "show", "cleaner"]);
    assert_eq!(plugin["versions"][0]["handlers"], serde_json::json!(["clean-row", "summarise"]), "{plugin}");
    let unknown = host.run(&["job", "submit", "cleaner", "--handler", "tidy", "--input", "{}"]);
    assert!(unknown.err.contains("BR0104") && unknown.err.contains("clean-row, summarise"), "{}", unknown.whole());

    // The same with a list in a form that nobody knows.
    let name = b"backroom-handlers";
    let mut bytes = std::fs::read(built_plugin("contact-cleaner")).expect("it is built");
    let at = bytes.windows(name.len()).position(|window| window == name).expect("the SDK writes it");
    bytes[at + name.len()] = b'9';
    let odd = files.path().join("odd.wasm");
    std::fs::write(&odd, bytes).expect("it can be written");
    let refused = upload(&odd.display().to_string(), "");
    assert!(refused.code != 0 && refused.err.contains("BR0229"), "{}", refused.whole());
}

#[test]
fn the_check_warns_of_configuration_that_no_handler_sees_and_its_advice_helps() {
    let files = folder();
    std::fs::copy(built_plugin("misbehave"), files.path().join("misbehave.wasm")).expect("it can be copied");
    write(files.path(), "misbehave.plugin.toml", "name = \"misbehave\"\nversion = \"1.0.0\"\n");
    let settings = "[[plugin]]\nname = \"misbehave\"\npath = \"misbehave.wasm\"\nconfig = { sender = \"hush\" }\n";
    write(files.path(), "backroom.toml", settings);
    std::fs::set_permissions(files.path().join("backroom.toml"), std::fs::Permissions::from_mode(0o600))
        .expect("it is ours");
    let checked = check(files.path());
    assert_eq!(checked.code, 0, "{}", checked.whole());
    let warning = "warning: backroom.toml:4:10: plug-in `misbehave`: version 1.0.0 does not want `sender` of `config`";
    assert!(checked.err.contains(warning) && !checked.err.contains("hush"), "{}", checked.whole());
    let json: serde_json::Value =
        serde_json::from_str(&run_in(files.path(), &["config", "check", "--json"]).done()).expect("JSON");
    assert_eq!(json["warnings"].as_array().map(Vec::len), Some(1), "{json}");
    let (_, lines) = checked.err.split_once("restart the host:\n").expect("it says what to write");
    write(files.path(), "misbehave.plugin.toml", &format!("name = \"misbehave\"\nversion = \"1.0.0\"\n{lines}"));
    let checked = check(files.path());
    assert!(checked.code == 0 && checked.err.is_empty(), "{}", checked.whole());
}

#[test]
fn files_of_keys_are_checked_before_the_start_and_at_it_and_no_key_is_shown() {
    let files = folder();
    write(files.path(), "backroom.toml", &signing("key_file = \"a.keys\""));
    let missing = check(files.path());
    assert!(missing.err.contains("BR0513") && missing.err.contains("a.keys"), "{}", missing.whole());
    write(files.path(), "a.keys", &format!("# ours\n{KEY}\nwhsec_MDEy\n"));
    for args in [&["config", "check"][..], &["serve", "--listen", "127.0.0.1:0", "--data", "data"]] {
        let refused = run_in(files.path(), args);
        assert_eq!(refused.code, 2, "{}", refused.whole());
        assert!(refused.err.contains("a.keys:3:1: the line has a key of 3 bytes"), "{}", refused.whole());
        assert!(!refused.whole().contains("MDEy"), "{}", refused.whole());
    }
    write(files.path(), "a.keys", &format!("{KEY}\n{OTHER}\n"));
    for (mode, is_warned) in [(0o644, true), (0o600, false)] {
        let file = files.path().join("a.keys");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("it is ours");
        for args in [["config", "check"], ["doctor", "--json"]] {
            let said = run_in(files.path(), &args).whole();
            assert_eq!(said.contains("chmod 600 a.keys"), is_warned, "{mode:o}: {said}");
        }
    }
    write(files.path(), "backroom.toml", &signing(&format!("keys = [\"{KEY}\"]")));
    for args in [["config", "show"], ["config", "check"]] {
        let said = run_in(files.path(), &args);
        assert!(said.code == 0 && !said.whole().contains("MDEy"), "{}", said.whole());
    }
    let by_variable = program(files.path())
        .args(["config", "check"])
        .env("BACKROOM_HTTP_SIGN", format!("https://b.example={OTHER},https://c.example={KEY}"))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&by_variable.stderr).into_owned();
    assert!(said.contains("BACKROOM_HTTP_SIGN: `http.sign` has keys for https://c.example"), "{said}");
    write(files.path(), "backroom.toml", &format!("[http]\nsigning_key = \"{KEY}\"\n"));
    let old = check(files.path());
    assert!(old.code == 2 && old.err.contains("[[http.sign]]") && !old.err.contains("MDEy"), "{}", old.whole());
}

#[test]
fn advice_on_missing_files_is_followed_until_nothing_is_missing() {
    let files = folder();
    write(files.path(), "backroom.toml", "[[plugin]]\nname = \"echo\"\npath = \"plugins/echo.wasm\"\n");
    let refused = check(files.path());
    assert!(refused.err.contains("build the component there, or correct the path"), "{}", refused.whole());
    std::fs::create_dir(files.path().join("plugins")).expect("it can be made");
    std::fs::copy(built_plugin("echo"), files.path().join("plugins/echo.wasm")).expect("it can be copied");
    let refused = check(files.path());
    let (_, said) = refused.err.split_once("write ").expect("it says what to write");
    let (file, other) = said.split_once(", or set `version`").expect("it says where, and another way");
    assert!(other.starts_with(" in this [[plugin]]"), "{}", refused.whole());
    write(files.path(), file, "name = \"echo\"\nversion = \"1.0.0\"\n");
    check(files.path()).done();
    std::fs::remove_file(files.path().join(file)).expect("it is there");
    write(
        files.path(),
        "backroom.toml",
        "[[plugin]]\nname = \"echo\"\npath = \"plugins/echo.wasm\"\nversion = \"1.0.0\"\n",
    );
    check(files.path()).done();
}
