//! Commands on one job: which are carried out, what they leave behind, and that nothing else changes anything.

use std::time::Duration;

use backroom::domain::change::Change;
use backroom::domain::id::{JobId, PluginName, Sequence};
use backroom::domain::job::{JobState, JobType, Status, Submission};
use backroom::domain::time::Timestamp;
use backroom::store::Store as _;
use serde_json::{Value, json};

use crate::stream::Events;
use crate::support::{Answer, Server, Setup};

const LATER: &str = r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z"}"#;
const HOLD: &str = r#"{"plugin": "echo", "handler": "hold"}"#;

fn steer(server: &Server, id: &str, verb: &str, body: &str) -> Answer {
    server.post(&format!("/v1/jobs/{id}/{verb}"), body)
}

/// The state after a command that is carried out.
fn steered(server: &Server, id: &str, verb: &str, body: &str) -> Value {
    let answer = steer(server, id, verb, body);
    assert_eq!(answer.status, 200, "{verb}: {}", answer.text());
    answer.json()
}

fn audit(server: &Server, id: &str) -> Vec<Value> {
    server.get(&format!("/v1/jobs/{id}/audit")).json()["rows"].as_array().expect("rows").clone()
}

/// A server whose ready jobs stay where they are.
fn paused() -> Server {
    let server = Server::start();
    server.post("/v1/service/pause", "");
    server
}

/// Puts a job of some type into the store, as only the host itself makes them.
fn put(server: &Server, job_type: JobType, sequence: u64, status: Status) -> String {
    let created = Timestamp::from_millis(1_893_484_800_000);
    let id = JobId::new(created, Sequence(sequence), 1);
    let plugin = PluginName::new("echo").expect("a name");
    let submission = Submission { job_type, ..Submission::new(id, plugin, created) };
    let completed_on = status.is_final().then_some(created);
    let state = JobState { status, completed_on, ..JobState::default() };
    let change = Change::Submit(submission.into(), Box::new(state));
    server.store.commit(vec![change]).wait().expect("it is written");
    id.to_string()
}

#[test]
fn f012_cancel_of_a_ready_job_is_final_at_once_and_the_handler_never_starts() {
    let server = paused();
    let id = server.submit(r#"{"plugin": "echo"}"#);
    let canceled = steered(&server, &id, "cancel", r#"{"reason": "a mistake"}"#);
    assert_eq!((&canceled["state"], &canceled["status_code"]), (&json!("canceled"), &json!(32)));
    server.post("/v1/service/resume", "");
    server.run(r#"{"plugin": "echo"}"#);
    let job = server.job(&id);
    assert_eq!((&job["state"], &job["runs"], &job["started_on"]), (&json!("canceled"), &json!(0), &Value::Null));
    let rows = audit(&server, &id);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let expected = json!({"on": "2030-01-01T08:00:00.000Z", "by": "api", "action": "cancel", "from": "queued",
        "to": "canceled", "reason": "a mistake", "revision": 1});
    assert_eq!(row, &expected);
}

#[test]
fn f013_cancel_of_a_suspended_job_ends_it_and_its_timer() {
    let server = Server::start();
    let waiting = server.submit(LATER);
    let paused = server.submit(LATER);
    steered(&server, &paused, "pause", "");
    for id in [&waiting, &paused] {
        let canceled = steered(&server, id, "cancel", "");
        assert_eq!((&canceled["state"], &canceled["postpone_until"]), (&json!("canceled"), &Value::Null));
        assert_eq!(canceled["wait_reason"], Value::Null);
    }
    assert_eq!(server.store.next_due().expect("it reads"), None, "no timer is left");
}

#[test]
fn f014_cancel_of_a_running_job_asks_its_handler_first() {
    let server = Server::start();
    let id = server.submit(HOLD);
    server.until(&id, "running");
    let mut changes = Events::open(&server, &format!("/v1/jobs/{id}/changes"));
    let asked = steered(&server, &id, "cancel", r#"{"reason": "stop"}"#);
    assert_eq!((&asked["state"], &asked["status_code"]), (&json!("canceling"), &json!(22)));
    changes.until("canceled");
    let rows = audit(&server, &id);
    assert_eq!((&rows[0]["from"], &rows[0]["to"], rows.len()), (&json!("running"), &json!("canceling"), 1));
}

#[test]
fn f015_pause_of_a_running_job_stops_it_at_a_safe_point_and_resume_goes_on() {
    let server = Server::start();
    let id = server.submit(HOLD);
    server.until(&id, "running");
    let mut changes = Events::open(&server, &format!("/v1/jobs/{id}/changes"));
    assert_eq!(steered(&server, &id, "pause", "")["status_code"], 21);
    changes.until("paused");
    let job = server.job(&id);
    assert_eq!((&job["status_code"], &job["attempt"], &job["host_id"]), (&json!(12), &json!(1), &Value::Null));
    assert_eq!(steered(&server, &id, "resume", "")["state"], "queued");
    server.gate.open();
    let ended = server.until(&id, "succeeded");
    assert_eq!((&ended["runs"], &ended["attempt"]), (&json!(2), &json!(1)));
    let attempts = server.get(&format!("/v1/jobs/{id}/attempts")).json();
    assert_eq!(attempts["attempts"][0]["end"], "paused");
}

#[test]
fn f016_resume_runs_any_suspended_job_without_its_timer() {
    let server = Server::start();
    let scheduled = server.submit(LATER);
    let postponed = server.submit(LATER);
    steered(&server, &postponed, "postpone", r#"{"until": "2032-01-01T00:00:00Z"}"#);
    let paused = server.submit(LATER);
    steered(&server, &paused, "pause", "");
    let shown = server.job(&paused)["earlier_wait"].clone();
    assert_eq!((&shown["state"], &shown["wait_reason"]), (&json!("waiting"), &json!("scheduled")));
    let explained = server.get(&format!("/v1/jobs/{paused}/explain")).text();
    assert!(
        explained.contains("it then waits until 2031-01-01T00:00:00.000Z, as before, or runs at once with --now"),
        "{explained}"
    );
    // A resume takes the pause back; of many it says so before.
    let by_filter = |dry_run: bool| {
        let body = json!({"action": "resume", "filter": {"state": "paused"}, "dry_run": dry_run});
        server.post("/v1/jobs/actions", body.to_string()).json()["results"][0]["state"].clone()
    };
    assert_eq!((by_filter(true), by_filter(false)), (json!("waiting"), json!("waiting")));
    assert_eq!(server.job(&paused)["postpone_until"], "2031-01-01T00:00:00.000Z");
    steered(&server, &paused, "pause", "");
    for id in [&scheduled, &postponed, &paused] {
        let resumed = steered(&server, id, "resume", r#"{"now": true}"#);
        assert_eq!((&resumed["state"], &resumed["postpone_until"]), (&json!("queued"), &Value::Null));
        server.until(id, "succeeded");
    }
}

#[test]
fn f017_a_postponed_ready_job_starts_at_its_time_and_not_before() {
    let server = Server::start_with(Setup { live: true, ..Setup::default() });
    server.post("/v1/service/pause", "");
    let id = server.submit(r#"{"plugin": "echo"}"#);
    let postponed = steered(&server, &id, "postpone", r#"{"until": "1s", "reason": "later"}"#);
    assert_eq!((&postponed["state"], &postponed["wait_reason"]), (&json!("waiting"), &json!("postponed")));
    server.post("/v1/service/resume", "");
    let ended = server.until(&id, "succeeded");
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok()).expect("a time");
    let (until, started) = (time(&postponed["postpone_until"]), time(&ended["started_on"]));
    assert!(started >= until, "it started {:?} early", until.since(started));
    // The same is told to the second by the simulated clock of the scheduling tests.
    assert!(started.since(until) < Duration::from_secs(20), "it started {:?} late", started.since(until));
}

#[test]
fn f018_a_postponed_running_job_stops_at_a_safe_point_and_goes_on_at_the_time() {
    let server = Server::start_with(Setup { live: true, ..Setup::default() });
    let id = server.submit(HOLD);
    server.until(&id, "running");
    let mut changes = Events::open(&server, &format!("/v1/jobs/{id}/changes"));
    assert_eq!(steered(&server, &id, "postpone", r#"{"until": "15m"}"#)["state"], "pausing");
    changes.until("waiting");
    let waiting = server.job(&id);
    assert_eq!(waiting["wait_reason"], "postponed");
    assert!(waiting["postpone_until"].is_string(), "{waiting}");
    assert_eq!(steered(&server, &id, "postpone", r#"{"until": "1s"}"#)["state"], "waiting");
    server.gate.open();
    let ended = server.until(&id, "succeeded");
    assert_eq!((&ended["runs"], &ended["attempt"]), (&json!(2), &json!(1)));
}

#[test]
fn f020_every_command_on_a_final_job_is_refused_and_leaves_it_byte_identical() {
    let server = Server::start();
    let canceled = server.submit(LATER);
    steered(&server, &canceled, "cancel", "");
    let failed = server.run(r#"{"plugin": "echo", "handler": "fail"}"#);
    let ended = [("succeeded", server.run(r#"{"plugin": "echo"}"#)), ("failed", failed), ("canceled", canceled)];
    for (state, id) in &ended {
        let before = (server.get(&format!("/v1/jobs/{id}")).body, audit(&server, id));
        assert_eq!(server.job(id)["state"], *state);
        for (verb, body) in
            [("cancel", "{}"), ("pause", r#"{"reason": "x"}"#), ("resume", ""), ("postpone", r#"{"until": "15m"}"#)]
        {
            let refused = steer(&server, id, verb, body);
            assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("BR0110")), "{verb} of {state}");
            let mut bulk = json!({"action": verb, "filter": {"state": state}});
            if verb == "postpone" {
                bulk["until"] = "15m".into();
            }
            let report = server.post("/v1/jobs/actions", bulk.to_string()).json();
            assert_eq!((&report["changed"], &report["refused"]), (&json!(0), &json!(1)), "{verb} of {state}: {report}");
        }
        assert_eq!((server.get(&format!("/v1/jobs/{id}")).body, audit(&server, id)), before, "{state}");
    }
}

#[test]
fn f020_every_pair_that_the_table_does_not_list_is_refused_without_a_change() {
    let server = paused();
    let queued = server.submit(r#"{"plugin": "echo"}"#);
    let waiting = server.submit(LATER);
    let held = server.submit(LATER);
    steered(&server, &held, "pause", "");
    server.post("/v1/service/resume", "");
    server.until(&queued, "succeeded");
    let running = server.submit(HOLD);
    server.until(&running, "running");
    server.post("/v1/service/pause", "");
    let queued = server.submit(r#"{"plugin": "echo"}"#);
    let cases = [
        (&queued, vec!["resume", "delete", "retry"]),
        (&waiting, vec!["delete", "retry"]),
        (&held, vec!["pause", "delete", "retry"]),
        (&running, vec!["resume", "delete", "retry"]),
    ];
    for (id, verbs) in cases {
        let before = server.get(&format!("/v1/jobs/{id}")).body;
        for verb in verbs {
            let refused = match verb {
                "delete" => server.delete(&format!("/v1/jobs/{id}")),
                verb => steer(&server, id, verb, ""),
            };
            assert_eq!(refused.status, 409, "{verb}: {}", refused.text());
        }
        assert_eq!(server.get(&format!("/v1/jobs/{id}")).body, before);
    }
}

#[test]
fn f022_jobs_that_the_host_makes_for_its_upkeep_are_not_steered() {
    let server = paused();
    let id = put(&server, JobType(16), 1_000, Status::Queued);
    let before = server.job(&id);
    for verb in ["cancel", "pause"] {
        let refused = steer(&server, &id, verb, "");
        assert_eq!(refused.status, 409);
        assert!(refused.text().contains("the host makes jobs of this type for its own upkeep"), "{}", refused.text());
    }
    assert_eq!(server.job(&id), before);
    let ended = put(&server, JobType(16), 1_001, Status::Succeeded);
    assert_eq!(steer(&server, &ended, "retry", "").status, 409);
}

#[test]
fn f023_a_deleted_job_takes_everything_with_it_and_a_running_one_refuses() {
    let server = Server::start();
    let running = server.submit(HOLD);
    server.until(&running, "running");
    assert_eq!(server.delete(&format!("/v1/jobs/{running}")).status, 409);
    let id = server.run(r#"{"plugin": "echo", "handler": "chatty"}"#);
    assert_eq!(server.delete(&format!("/v1/jobs/{id}")).status, 204);
    for part in ["", "/attempts", "/logs", "/input", "/output", "/audit", "/explain"] {
        assert_eq!(server.get(&format!("/v1/jobs/{id}{part}")).status, 404, "{part}");
    }
    assert_eq!(server.delete(&format!("/v1/jobs/{id}")).status, 404);
}

#[test]
fn f025_with_one_slot_jobs_start_in_the_order_of_their_submit() {
    let server = Server::start_with(Setup { slots: Some(1), live: true, ..Setup::default() });
    server.post("/v1/service/pause", "");
    let ids: Vec<_> = (0..20).map(|_| server.submit(r#"{"plugin": "echo"}"#)).collect();
    server.post("/v1/service/resume", "");
    let started: Vec<_> = ids.iter().map(|id| server.until(id, "succeeded")["started_on"].clone()).collect();
    let mut sorted = started.clone();
    sorted.sort_by_key(|time| time.as_str().map(str::to_owned));
    assert_eq!(started, sorted);
}

#[test]
fn a_finished_job_is_run_again_as_a_new_one() {
    let server = Server::start();
    let body = json!({
        "plugin": "echo", "handler": "fail", "input": {"n": 1}, "name": "Import", "tags": ["a"], "priority": 5,
        "queue": "mail", "max_attempts": 2, "ordering_key": "k", "on_predecessor_failure": "block", "dedup_key": "d",
        "regarding": "invoice/1", "deadline": "5s", "expires_on": "2030-06-01T00:00:00Z", "version": "1.0.0",
        "on_complete": {"plugin": "echo"},
    });
    let old = server.run(&body.to_string());
    let before = server.get(&format!("/v1/jobs/{old}")).body;
    let answer = steer(&server, &old, "retry", r#"{"reason": "mended", "at": "2031-01-01T00:00:00Z"}"#);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let new = answer.json();
    let id = new["id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), Some(format!("/v1/jobs/{id}").as_str()));
    let first = server.job(&old);
    for same in [
        "plugin",
        "handler",
        "name",
        "tags",
        "priority",
        "queue",
        "ordering_key",
        "regarding",
        "deadline_ms",
        "max_attempts",
        "on_complete",
        "input_bytes",
        "version",
        "depth",
        "correlation_id",
    ] {
        let (mut kept, mut new) = (first[same].clone(), new[same].clone());
        if same == "plugin" {
            (kept, new) = (kept["name"].clone(), new["name"].clone());
        }
        assert_eq!(kept, new, "{same}");
    }
    for (left, value) in [
        ("dedup_key", json!("d")),
        ("expires_on", Value::Null),
        ("after", json!([])),
        ("on_predecessor_failure", json!("continue")),
        ("batch", Value::Null),
        ("retry_of", json!(old)),
        ("at", json!("2031-01-01T00:00:00.000Z")),
        ("state", json!("waiting")),
    ] {
        assert_eq!(new[left], value, "{left}");
    }
    let rows = audit(&server, id);
    assert_eq!(
        (&rows[0]["action"], &rows[0]["from"], &rows[0]["to"], &rows[0]["reason"]),
        (&json!("retry"), &json!("failed"), &json!("waiting"), &json!("mended"))
    );
    assert_eq!(server.get(&format!("/v1/jobs/{old}")).body, before, "the finished job is as it was");
    let listed = server.get(&format!("/v1/jobs?retry_of={old}")).json();
    assert_eq!(listed["jobs"][0]["id"], id);

    // It has the dedup key now, and lets it go with its end.
    assert_eq!(steer(&server, &old, "retry", "").json()["code"], "BR0118");
    steered(&server, id, "cancel", "");
    let other = steer(&server, &old, "retry", r#"{"input_text": "other"}"#).json();
    let input = server.get(&format!("/v1/jobs/{}/input", other["id"].as_str().expect("an id")));
    assert_eq!(input.text(), "other");
    let refused = steer(&server, &old, "retry", r#"{"version": "9.9.9"}"#);
    assert_eq!((refused.status, &refused.json()["code"]), (404, &json!("BR0213")), "{}", refused.text());
    let batch = put(&server, JobType::BATCH, 1_002, Status::Succeeded);
    assert!(steer(&server, &batch, "retry", "").text().contains("it is a batch"));
}

#[test]
fn faulty_commands_say_what_is_needed() {
    let server = Server::start();
    let id = server.submit(LATER);
    let long = format!(r#"{{"reason": "{}"}}"#, "x".repeat(1_001));
    let cases = [
        ("postpone", "", "there is nothing where a JSON object should be"),
        ("postpone", "{}", "missing field `until`"),
        (
            "postpone",
            r#"{"until": "soon"}"#,
            "neither a time with its zone like 2030-01-31T08:00:00Z (RFC 3339) nor a duration like 15m",
        ),
        ("postpone", r#"{"until": "99999999d"}"#, "more than a hundred years"),
        ("cancel", r#"{"why": "x"}"#, "there is no field `why`; there are reason"),
        ("pause", &long, "field `reason` has 1001 characters"),
        ("resume", r#"{"reason": "\u0007"}"#, "control character"),
        ("retry", r#"{"input": 1, "input_text": "1"}"#, "give one of `input`, `input_text` and `input_base64`"),
        ("retry", r#"{"at": "soon"}"#, "field `at`: `soon` is neither a time"),
    ];
    let before = server.get(&format!("/v1/jobs/{id}")).body;
    for (verb, body, expected) in cases {
        let refused = steer(&server, &id, verb, body).refusal();
        assert!(refused.contains(expected), "{verb} {body}: {refused}");
    }
    assert_eq!(server.get(&format!("/v1/jobs/{id}")).body, before);
    let nobody = steer(&server, "01890a5d-ac96-774b-bcce-b302099a8057", "pause", "");
    assert_eq!((nobody.status, &nobody.json()["code"]), (404, &json!("BR0109")));
}
