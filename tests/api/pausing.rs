//! Pausing the service, a plug-in and a queue, and what the host says of jobs that do not run.

use std::time::{Duration, Instant};

use backroom::domain::admission::{AdmissionPolicy, StartLimits};
use backroom::domain::id::PluginName;
use serde_json::{Value, json};

use crate::stream::Events;
use crate::support::{Server, Setup, queues};

const HOLD: &str = r#"{"plugin": "echo", "handler": "hold", "queue": "mail"}"#;
const MAIL: &str = r#"{"plugin": "echo", "queue": "mail"}"#;

/// The codes of why a job is not running.
fn codes(server: &Server, id: &str) -> Vec<String> {
    let view = server.get(&format!("/v1/jobs/{id}/explain"));
    assert_eq!(view.status, 200, "{}", view.text());
    let view = view.json();
    let reasons = view["reasons"].as_array().expect("reasons");
    for reason in reasons {
        assert!(reason["message"].as_str().is_some_and(|text| !text.is_empty()), "{reason}");
        assert!(reason["starts_when"].as_str().is_some_and(|text| !text.is_empty()), "{reason}");
    }
    reasons.iter().map(|reason| reason["code"].as_str().expect("a code").to_owned()).collect()
}

#[test]
fn f105_pausing_the_service_a_plugin_or_a_queue_cancels_nothing_and_resuming_continues() {
    for (what, code) in
        [("service", "service-paused"), ("plugins/echo", "plugin-paused"), ("queues/mail", "queue-paused")]
    {
        let server = Server::start();
        let running = server.submit(HOLD);
        server.until_begun(&running);
        let paused = server.post(&format!("/v1/{what}/pause"), "");
        assert_eq!(paused.status, 200, "{what}: {}", paused.text());
        assert_eq!(server.post(&format!("/v1/{what}/pause"), "").status, 200, "twice is once");
        let waiting: Vec<_> = (0..3).map(|_| server.submit(MAIL)).collect();
        server.gate.open();
        server.until(&running, "succeeded");
        // What was running is done, so whatever may start has had its turn.
        if what == "queues/mail" {
            server.run(r#"{"plugin": "echo", "queue": "bulk"}"#);
        }
        for id in &waiting {
            let job = server.job(id);
            assert_eq!((&job["state"], &job["runs"]), (&json!("queued"), &json!(0)), "{what}");
            assert_eq!(codes(&server, id)[0], code, "{what}");
        }
        assert_eq!(server.post(&format!("/v1/{what}/resume"), "").status, 200);
        for id in &waiting {
            assert_eq!(server.until(id, "succeeded")["runs"], 1, "{what}");
        }
    }
}

#[test]
fn a_pause_until_a_time_says_who_asked_for_it_why_and_until_when() {
    let server = Server::start();
    let id = server.submit(r#"{"plugin": "echo", "handler": "hold", "queue": "mail", "at": "2030-01-01T08:30:00Z"}"#);
    let body = r#"{"until": "2030-01-02T00:00:00Z", "reason": "the limit of the provider"}"#;
    for (what, list) in [("plugins/echo", "plugins"), ("queues/mail", "queues")] {
        let past = server.post(&format!("/v1/{what}/pause"), r#"{"until": "2030-01-01T07:00:00Z"}"#);
        assert!(past.refusal().contains("`until` (2030-01-01T07:00:00.000Z) has passed"), "{}", past.text());
        let paused = server.post(&format!("/v1/{what}/pause"), body).json();
        let pause = &paused["pause"];
        assert_eq!(
            (&paused["paused"], &pause["until"]),
            (&json!(true), &json!("2030-01-02T00:00:00.000Z")),
            "{paused}"
        );
        assert_eq!(pause["reason"], json!("the limit of the provider"));
        assert!(pause["by"].is_string() && pause["since"].is_string(), "{pause}");
        let listed = server.get(&format!("/v1/{list}")).json();
        let listed: Vec<_> = listed[list].as_array().expect("a list").iter().map(|one| &one["pause"]).collect();
        assert!(listed.contains(&pause), "{listed:?}");
    }
    server.post(&format!("/v1/jobs/{id}/resume"), "");
    let reasons = server.get(&format!("/v1/jobs/{id}/explain")).json()["reasons"].clone();
    for (reason, what) in reasons.as_array().expect("reasons").iter().zip(["queue mail", "plug-in echo"]) {
        let message = reason["message"].as_str().expect("a message");
        assert!(message.ends_with(&format!("has paused {what}: the limit of the provider")), "{reason}");
        let when = reason["starts_when"].as_str().expect("when");
        assert!(when.starts_with("2030-01-02T00:00:00.000Z, or somebody resumes it"), "{reason}");
    }
    for what in ["plugins/echo", "queues/mail"] {
        let resumed = server.post(&format!("/v1/{what}/resume"), "").json();
        assert_eq!((&resumed["paused"], &resumed["pause"]), (&json!(false), &Value::Null));
    }
}

#[test]
fn a_pause_of_the_whole_service_ends_by_itself_and_says_who_asked_for_it_why_and_until_when() {
    let server = Server::start();
    let past = server.post("/v1/service/pause", r#"{"until": "2030-01-01T07:00:00Z"}"#);
    assert!(past.refusal().contains("`until` (2030-01-01T07:00:00.000Z) has passed"), "{}", past.text());
    let now = server.get("/v1/service").json()["now"].clone();
    let paused = server.post("/v1/service/pause", r#"{"until": "2s", "reason": "the database moves"}"#).json();
    let pause = &paused["pause"];
    assert_eq!((&paused["state"], &pause["since"], &pause["by"]), (&json!("paused"), &now, &json!("api")));
    assert_eq!(pause["reason"], json!("the database moves"));
    assert_eq!(&server.get("/v1/service").json()["pause"], pause);
    let id = server.submit(r#"{"plugin": "echo"}"#);
    let reason = &server.get(&format!("/v1/jobs/{id}/explain")).json()["reasons"][0];
    assert_eq!(reason["message"], json!("a person (api) has paused the whole service: the database moves"));
    let until = pause["until"].as_str().expect("a time");
    let when = format!("{until}, or somebody resumes it: backroom service resume");
    assert_eq!(reason["starts_when"], json!(when));
    server.pass(Duration::from_millis(1_999));
    assert_eq!((&server.job(&id)["state"], &server.job(&id)["runs"]), (&json!("queued"), &json!(0)));
    server.pass(Duration::from_millis(1));
    let service = server.get("/v1/service").json();
    assert_eq!((&service["state"], &service["pause"]), (&json!("running"), &Value::Null));
    assert_eq!(server.until(&id, "succeeded")["runs"], 1);
}

#[test]
fn what_waits_for_a_slot_is_queued_however_fast_the_slot_was() {
    let server = Server::start_with(Setup { slots: Some(1), live: true, ..Setup::default() });
    // Many short ones, so that jobs are claimed ahead, then one that keeps the slot, and some behind it.
    let short = r#"{"plugin": "echo"}"#;
    let lines: Vec<_> = std::iter::repeat_n(short, 50).chain([HOLD]).chain([short; 3]).collect();
    let taken = server.post("/v1/jobs/bulk", lines.join("\n")).json();
    let ids: Vec<_> = taken["ids"].as_array().expect("ids").iter().filter_map(Value::as_str).collect();
    let (held, behind) = (ids[50], &ids[51..]);
    server.until(held, "running");
    let give_up = Instant::now() + Duration::from_secs(20);
    while server.get("/v1/service").json()["running"] != 1 {
        assert!(Instant::now() < give_up, "those that were claimed ahead are given back");
    }
    for id in behind {
        assert_eq!(server.job(id)["state"], "queued");
        let why = codes(&server, id);
        assert!(["next", "behind"].contains(&&*why[0]), "{why:?}");
    }
    // None of them starts while the host is paused, and one that is called off is so at once.
    server.post("/v1/service/pause", "");
    assert_eq!(server.post(&format!("/v1/jobs/{}/cancel", behind[2]), "").json()["state"], "canceled");
    server.gate.open();
    server.until(held, "succeeded");
    for id in &behind[..2] {
        assert_eq!(server.job(id)["state"], "queued");
        assert_eq!(codes(&server, id)[0], "service-paused");
    }
    server.post("/v1/service/resume", "");
    behind[..2].iter().for_each(|id| assert_eq!(server.until(id, "succeeded")["attempt"], 1));
}

#[test]
fn nothing_of_a_plugin_outlives_its_removal() {
    let server = Server::start();
    server.post("/v1/plugins/echo/pause", "");
    let id = server.submit(r#"{"plugin": "echo"}"#);
    assert_eq!(codes(&server, &id), ["plugin-paused"]);
    assert_eq!(server.delete("/v1/plugins/echo?force=true").status, 204);
    // Nobody could resume what is not there.
    server.until(&id, "waiting");
    assert_eq!(codes(&server, &id), ["missing-component"]);
}

#[test]
fn what_is_paused_is_shown() {
    let server = Server::start();
    assert_eq!(server.get("/v1/service").json()["paused_plugins"], json!([]));
    assert_eq!(server.post("/v1/plugins/echo/pause", "").json()["paused"], true);
    let mail = server.post("/v1/queues/mail/pause", "").json();
    let pause = json!({"since": "2030-01-01T08:00:00.000Z", "until": null, "by": "api", "reason": null});
    let expected = json!({"name": "mail", "weight": 2, "concurrency": null, "rate": null, "paused": true, "pause": pause,
        "running": 0});
    assert_eq!(mail, expected);
    let service = server.get("/v1/service").json();
    assert_eq!(service["paused_plugins"], json!(["echo"]));
    let names = |value: &Value| -> Vec<(String, bool)> {
        let queues = value["queues"].as_array().expect("queues").iter();
        queues.map(|queue| (queue["name"].as_str().expect("a name").to_owned(), queue["paused"] == true)).collect()
    };
    let there = [("bulk", false), ("default", false), ("mail", true), ("maintenance", false)];
    assert_eq!(names(&service), there.map(|(name, paused)| (name.to_owned(), paused)));
    assert_eq!(names(&server.get("/v1/queues").json()), names(&service));
    assert_eq!(server.get("/v1/plugins/echo").json()["paused"], true);
    assert_eq!(server.get("/v1/plugins/echo").json()["degraded"], false);
    // The built-in handler has no versions to list, but can be held like any other.
    let http = server.post("/v1/plugins/http/pause", "").json();
    assert_eq!((&http["paused"], &http["versions"]), (&json!(true), &json!([])));
    assert_eq!(server.get("/v1/service").json()["paused_plugins"], json!(["echo", "http"]));
    assert_eq!(server.get("/v1/plugins").json()["plugins"].as_array().map(Vec::len), Some(1));
    assert_eq!(server.get("/v1/plugins/http").json()["paused"], true);
    assert_eq!(server.get("/v1/service").json()["degraded_plugins"], json!([]));
    assert!(server.delete("/v1/plugins/http").refusal().starts_with("409 "), "it still cannot be removed");
    assert_eq!(server.post("/v1/plugins/http/resume", "").json()["paused"], false);
    let unknown = server.post("/v1/queues/post/pause", "").refusal();
    assert!(unknown.starts_with("404 BR0125 there is no queue `post`; there are bulk, default, mail"), "{unknown}");
    assert_eq!(server.post("/v1/queues/P/pause", "").status, 422);
    assert_eq!(server.post("/v1/plugins/ecko/pause", "").status, 404);
}

#[test]
fn a_job_explains_what_it_waits_for() {
    let server = Server::start();
    let first = server.submit(r#"{"plugin": "echo", "handler": "hold", "ordering_key": "k"}"#);
    server.until(&first, "running");
    assert_eq!(codes(&server, &first), ["running"]);
    let second = server.submit(r#"{"plugin": "echo", "ordering_key": "k"}"#);
    let explained = server.get(&format!("/v1/jobs/{second}/explain")).json();
    assert_eq!((&explained["state"], &explained["reasons"][0]["code"]), (&json!("queued"), &json!("blocked")));
    assert_eq!(explained["reasons"][0]["jobs"], json!([first]));
    let both = server.submit(r#"{"plugin": "echo", "ordering_key": "k", "at": "2031-01-01T00:00:00Z"}"#);
    assert_eq!(codes(&server, &both), ["scheduled", "blocked"], "its time alone does not start it");
    assert_eq!(server.job(&both)["blocked_by"], json!([first]));
    let scheduled = server.submit(r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z"}"#);
    let explained = server.get(&format!("/v1/jobs/{scheduled}/explain")).json();
    assert_eq!(explained["reasons"][0]["code"], "scheduled");
    assert_eq!(explained["reasons"][0]["until"], "2031-01-01T00:00:00.000Z");
    server.post(&format!("/v1/jobs/{scheduled}/postpone"), r#"{"until": "2h"}"#);
    assert_eq!(codes(&server, &scheduled), ["postponed"]);
    server.post(&format!("/v1/jobs/{scheduled}/pause"), "");
    assert_eq!(codes(&server, &scheduled), ["paused"]);
    server.post(&format!("/v1/jobs/{scheduled}/cancel"), "");
    assert_eq!(codes(&server, &scheduled), ["finished"]);
    server.post("/v1/service/drain", "");
    server.post("/v1/queues/default/pause", "");
    let stuck = server.submit(r#"{"plugin": "echo"}"#);
    let later = server.submit(r#"{"plugin": "echo"}"#);
    server.post("/v1/plugins/echo/disable", "");
    assert_eq!(codes(&server, &stuck), ["draining", "plugin-disabled", "queue-paused"]);
    assert_eq!(codes(&server, &later), ["draining", "plugin-disabled", "queue-paused", "behind"]);
    let unknown = server.get("/v1/jobs/01890a5d-ac96-774b-bcce-b302099a8057/explain");
    assert_eq!(unknown.status, 404);
}

#[test]
fn a_job_explains_limits() {
    let echo = PluginName::new("echo").expect("a name");
    let mut queues = queues();
    if let Some(mail) = queues.get_mut("mail") {
        mail.limits.concurrency = Some(1);
    }
    let rate = "1/h".parse().expect("a rate");
    let plugins = [(echo, StartLimits { concurrency: None, rate: Some(rate) })].into();
    let admission = Some(AdmissionPolicy { queues, plugins, ..AdmissionPolicy::default() });
    let server = Server::start_with(Setup { admission, ..Setup::default() });
    let running = server.submit(HOLD);
    server.until(&running, "running");
    let full = server.submit(MAIL);
    assert_eq!(codes(&server, &full), ["queue-full", "plugin-rate"]);
    let mut changes = Events::open(&server, &format!("/v1/jobs/{running}/changes"));
    server.gate.open();
    changes.until("succeeded");
    assert_eq!(codes(&server, &running), ["finished"]);
}

#[test]
fn whoever_pauses_says_why_or_nothing_else() {
    let server = Server::start();
    for what in ["service", "queues/bulk", "plugins/echo"] {
        let refused = server.post(&format!("/v1/{what}/pause"), r#"{"reasn": "tidying"}"#);
        assert!(refused.refusal().contains("did you mean `reason`?"), "{}", refused.text());
        for (verb, body) in [("pause", r#"{"reason": "tidying"}"#), ("resume", "")] {
            let answer = server.post(&format!("/v1/{what}/{verb}"), body);
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        }
    }
}
