//! A handler that pauses its plug-in or its queue: who may, what people see of it, and how it ends.

use serde_json::{Value, json};

use super::host::Host;
use super::support::built_plugin;

/// Uploads `misbehave` with a manifest that asks for both kinds of pauses.
fn upload(host: &Host) -> String {
    let manifest = host.folder().join("plugin.toml");
    let text = "name = \"misbehave\"\nversion = \"0.1.0\"\n[wants]\npause = [\"plugin\", \"queue\"]\n";
    std::fs::write(&manifest, text).expect("it can be written");
    let component = built_plugin("misbehave").display().to_string();
    host.run(&["plugin", "upload", &component, "--manifest", &manifest.display().to_string()]).whole()
}

/// Runs a job to its end and shows it.
fn ended(host: &Host, ask: &Value) -> Value {
    let id = host.run(&["job", "submit", "misbehave", "--input", &ask.to_string()]).done();
    host.run(&["job", "watch", id.trim()]);
    host.json(&["job", "show", id.trim()])
}

#[test]
fn a_handler_pauses_its_queue_and_its_plugin_once_that_is_granted() {
    let host = Host::start();
    let told = upload(&host);
    assert!(told.contains("backroom plugin grant misbehave --pause plugin --pause queue"), "{told}");
    assert_eq!(host.run(&["plugin", "grant", "misbehave", "--pause", "host"]).code, 2);
    host.run(&["plugin", "grant", "misbehave", "--pause", "plugin", "--pause", "queue"]).done();
    let shown = host.json(&["plugin", "show", "misbehave"]);
    let granted: Vec<_> =
        shown["grants"].as_array().into_iter().flatten().map(|it| (&it["kind"], &it["value"])).collect();
    assert_eq!(granted, [(&json!("pause"), &json!("plugin")), (&json!("pause"), &json!("queue"))]);

    // The attempt fails for good, and its pause holds.
    let message = "the quota is used up";
    let ask = json!({ "do": "pause-queue", "ms": 3_600_000, "message": message, "class": "business" });
    let job = ended(&host, &ask);
    assert_eq!((&job["state"], &job["error"]["message"]), (&json!("failed"), &json!(message)));
    let by = format!("plug-in misbehave (job {})", job["id"].as_str().expect("an id"));
    let queues = host.json(&["queue", "list"]);
    let mut queues = queues["queues"].as_array().expect("a list").iter();
    let pause = &queues.find(|queue| queue["name"] == "default").expect("there is always one")["pause"];
    assert_eq!((&pause["by"], &pause["reason"]), (&json!(by), &json!(message)));
    assert!(pause["until"].is_string(), "{pause}");
    let next = host.run(&["job", "submit", "misbehave", "--input", "{\"do\": \"say\"}"]).done();
    let why = host.run(&["job", "explain", next.trim()]).done();
    assert!(why.contains(&by) && why.contains(message), "{why}");
    let page = host.page("/");
    assert!(page.contains(&by) && page.contains(message), "{page}");
    host.run(&["queue", "resume", "default"]).done();
    host.run(&["job", "watch", next.trim()]).done();

    // Nobody resumes the plug-in: what comes next starts by itself.
    ended(&host, &json!({ "do": "pause-plugin", "ms": 5_000, "message": message }));
    let next = host.json(&["job", "submit", "misbehave", "--input", "{\"do\": \"say\"}"]);
    let next = next["id"].as_str().expect("an id");
    let why = host.run(&["job", "explain", next]).done();
    assert!(why.contains("plugin-paused") && why.contains(message), "{why}");
    host.run(&["job", "watch", next]).done();

    host.run(&["plugin", "grant", "misbehave", "--revoke", "--pause", "queue"]).done();
    let shown = host.json(&["plugin", "show", "misbehave"]);
    assert_eq!(shown["grants"].as_array().map(Vec::len), Some(1), "{shown}");
}

#[test]
fn a_handler_that_may_not_pause_is_told_which_lines_to_add() {
    let host = Host::start();
    host.upload("misbehave");
    let job = ended(&host, &json!({ "do": "pause-plugin" }));
    let error = &job["error"];
    assert_eq!((&error["class"], &error["code"]), (&json!("user-fixable"), &json!("pause-not-granted")), "{job}");
    let message = error["message"].as_str().expect("a message");
    for line in ["[wants]", "pause = [\"plugin\"]", "backroom plugin grant misbehave --pause plugin"] {
        assert!(message.contains(line), "{line}: {message}");
    }
    assert_eq!(host.json(&["plugin", "show", "misbehave"])["paused"], json!(false));
}
