//! Schedules: made, replaced, listed, shown, steered, filled back, and refused with the part that is wrong.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{Answer, Server};

fn put(server: &Server, name: &str, body: impl AsRef<[u8]>) -> Answer {
    server.send("PUT", &format!("/v1/schedules/{name}"), &[], body.as_ref())
}

fn made(server: &Server, name: &str, body: &Value) -> Value {
    let answer = put(server, name, body.to_string());
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

/// The times that the jobs of a schedule are for, oldest first; all of its jobs have the tag `of-schedule`.
fn occurrences(server: &Server) -> Vec<String> {
    let jobs = server.get("/v1/jobs?tag=of-schedule&limit=200").json();
    let time = |job: &Value| job["schedule"]["scheduled_for"].as_str().expect("a time").to_owned();
    let mut times: Vec<_> = jobs["jobs"].as_array().expect("jobs").iter().map(time).collect();
    times.sort();
    times
}

fn hourly_since_midnight() -> Value {
    json!({"plugin": "echo", "rule": "FREQ=HOURLY", "start": "2030-01-01T00:00:00Z", "tags": ["of-schedule"]})
}

#[test]
fn a_schedule_is_made_replaced_listed_shown_and_removed() {
    let server = Server::start();
    let body = r#"{"rule": "RRULE:freq=weekly;interval=2;BYDAY=th,mo;", "start": "2030-01-07T09:00", "tz": "europe/berlin",
        "except": ["2030-01-10", "2030-01-21T09:00"], "misfire": "run_all(3)", "overlap": "queue", "jitter": "90s",
        "plugin": "echo", "input": {"b": 1.50}, "name": "Report", "queue": "bulk", "priority": -5, "ordering_key": "reports",
        "tags": ["weekly"], "max_attempts": 2, "expires_after": "1h30m", "version": "1.0.0"}"#;
    let first = put(&server, "report", body);
    assert_snapshot!("made", first.shown());
    assert_eq!(first.header("location"), Some("/v1/schedules/report"));
    assert_eq!(server.get("/v1/schedules/report").json(), first.json());

    let unheard = put(&server, "report", r#"{"cron": "@daily", "plugin": "echo", "args": ["-v"]}"#);
    assert_eq!(unheard.status, 422, "a handler takes no arguments: {}", unheard.text());
    let replaced = put(&server, "report", r#"{"cron": "@daily", "plugin": "echo", "handler": "chatty"}"#);
    assert_eq!((replaced.status, &replaced.json()["revision"]), (200, &json!(2)), "{}", replaced.text());
    assert_snapshot!("replaced", replaced.shown());
    made(&server, "another", &json!({"rule": "FREQ=DAILY;COUNT=2", "start": "2031-01-01T00:00:00Z", "plugin": "echo"}));
    let listed = server.get("/v1/schedules").json();
    let names: Vec<_> = listed["schedules"].as_array().expect("a list").iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["another", "report"]);

    assert_eq!(server.delete("/v1/schedules/report").status, 204);
    assert_snapshot!("removed", server.get("/v1/schedules/report").refusal());
    assert_eq!(server.delete("/v1/schedules/report").status, 404);
}

#[test]
fn what_starts_now_fires_now() {
    let server = Server::start();
    let once = made(&server, "once", &json!({"plugin": "echo", "input": 7, "tags": ["of-schedule"]}));
    assert_eq!((&once["rule"], &once["next_run"]), (&json!(""), &json!("2030-01-01T08:00:00.000Z")));
    let ended = until(&server, "once", |schedule| schedule["state"] == "ended");
    assert_eq!((&ended["fired"], &ended["next_run"]), (&json!(1), &Value::Null));
    assert_eq!(occurrences(&server), ["2030-01-01T08:00:00.000Z"]);
    let job = ended["last_job"].as_str().expect("a job").to_owned();
    let input = server.get(&format!("/v1/jobs/{job}/input"));
    assert_eq!(input.text(), "7");
    let job = server.get(&format!("/v1/jobs/{job}")).json();
    assert_eq!((&job["created_by"], &job["schedule"]["name"]), (&json!("schedule once"), &json!("once")));
    assert_snapshot!("resume_of_ended", server.post("/v1/schedules/once/resume", "").refusal());
}

#[test]
fn a_schedule_that_is_put_again_stays_as_it_is() {
    let server = Server::start();
    let weekly = json!({"plugin": "echo", "rule": "FREQ=WEEKLY", "input": 7, "tags": ["of-schedule"]});
    let first = made(&server, "weekly", &weekly);
    assert_eq!(first["next_run"], json!("2030-01-08T08:00:00.000Z"), "a start that is left out fires nothing at once");
    for _ in 0..2 {
        let again = put(&server, "weekly", weekly.to_string());
        assert_eq!((again.status, again.json()), (200, first.clone()), "{}", again.text());
    }
    let until = r#"{"until": "2030-01-05T00:00:00Z"}"#;
    let postponed = server.post("/v1/schedules/weekly/postpone", until).json();
    assert_eq!(put(&server, "weekly", weekly.to_string()).json(), postponed);
    let mut other = weekly.clone();
    other["input"] = json!(8);
    let other = put(&server, "weekly", other.to_string()).json();
    assert_eq!((&other["start"], &other["next_run"]), (&first["start"], &postponed["next_run"]));
    assert_eq!(occurrences(&server), Vec::<String>::new());

    let now = json!({"plugin": "echo", "cron": "0 3 * * *", "now": true, "tags": ["of-schedule"]});
    let asked = made(&server, "asked", &now);
    assert_eq!((&asked["fired"], &asked["cron"]), (&json!(1), &json!("0 3 * * *")));
    assert_eq!(put(&server, "asked", now.to_string()).json()["fired"], json!(1), "it is there already");
    let yields_now = json!({"plugin": "echo", "rule": "FREQ=DAILY;COUNT=2", "now": true, "jitter": "1h"});
    made(&server, "daily", &yields_now);
    let fired = until_fired(&server, "daily");
    assert_eq!((&fired["fired"], &fired["next_occurrence"]), (&json!(1), &json!("2030-01-02T08:00:00.000Z")));
}

fn until_fired(server: &Server, name: &str) -> Value {
    until(server, name, |schedule| schedule["fired"] == 1)
}

#[test]
fn a_job_of_a_schedule_that_has_not_ended_is_shown_in_the_way() {
    let server = Server::start();
    server.post("/v1/service/pause", "");
    made(&server, "tidy", &json!({"plugin": "echo", "rule": "FREQ=DAILY"}));
    let job = server.post("/v1/schedules/tidy/run", "").json();
    let shown = server.get("/v1/schedules/tidy").json();
    assert_eq!((&shown["in_the_way"], &shown["left_out"]), (&job["id"], &json!(0)));
    server.post("/v1/service/resume", "");
    until(&server, "tidy", |schedule| schedule["in_the_way"].is_null());
}

/// The schedule once it is as it should be.
fn until(server: &Server, name: &str, is_right: impl Fn(&Value) -> bool) -> Value {
    let started = std::time::Instant::now();
    loop {
        let schedule = server.get(&format!("/v1/schedules/{name}")).json();
        if is_right(&schedule) {
            return schedule;
        }
        assert!(started.elapsed() < crate::support::PATIENCE, "{schedule}");
        std::thread::yield_now();
    }
}

#[test]
fn a_schedule_is_paused_resumed_postponed_and_run() {
    let server = Server::start();
    made(&server, "tidy", &json!({"plugin": "echo", "rule": "FREQ=DAILY", "start": "2030-01-01T12:00:00Z"}));
    let steer = |verb: &str, body: &str| server.post(&format!("/v1/schedules/tidy/{verb}"), body);
    let postponed = steer("postpone", r#"{"until": "2030-01-02T15:00:00Z"}"#).json();
    assert_eq!(
        (&postponed["next_run"], &postponed["next_occurrence"], &postponed["postponed"]),
        (&json!("2030-01-02T15:00:00.000Z"), &json!("2030-01-01T12:00:00.000Z"), &json!(true))
    );
    let paused = steer("pause", "").json();
    assert_eq!((&paused["state"], &paused["next_run"]), (&json!("paused"), &Value::Null));
    let refused = [
        steer("pause", ""),
        steer("postpone", r#"{"until": "2030-01-02T15:00:00Z"}"#),
        steer("postpone", r#"{"until": "tomorrow"}"#),
        steer("postpone", r#"{"untl": "2030-01-02T15:00:00Z"}"#),
        steer("backfill", r#"{"from": "2030-01-02T00:00:00Z"}"#),
        steer("backfill", r#"{"from": "2030-01-02T00:00:00Z", "to": "2030-01-01T00:00:00Z"}"#),
        server.post("/v1/schedules/nobody/run", ""),
        server.post("/v1/schedules/No%20body/pause", ""),
        server.get("/v1/schedules/nobody"),
        server.get("/v1/schedules?limit=1"),
    ];
    assert_snapshot!("steering_refused", refused.map(|answer| answer.refusal()).join("\n"));

    let job = steer("run", "");
    assert_eq!((job.status, &job.json()["schedule"]["name"]), (201, &json!("tidy")), "{}", job.text());
    let again = steer("run", "").json();
    let time = |job: &Value| job["schedule"]["scheduled_for"].as_str().map(str::to_owned);
    assert_ne!(again["id"], job.json()["id"]);
    assert!(time(&again).is_some() && time(&job.json()).is_some());
    let resumed = steer("resume", "").json();
    assert_eq!((&resumed["state"], &resumed["next_run"]), (&json!("active"), &json!("2030-01-01T12:00:00.000Z")));
    assert_snapshot!("resume_of_active", steer("resume", "").refusal());
}

#[test]
fn past_occurrences_are_filled_back_once_and_those_to_come_are_left_to_the_schedule() {
    let server = Server::start();
    made(&server, "hourly", &hourly_since_midnight());
    until(&server, "hourly", |schedule| schedule["fired"] == 1);
    let fill = |from: &str, to: &str| {
        let body = json!({"from": format!("2030-01-01T{from}:00Z"), "to": format!("2030-01-01T{to}:00Z")});
        let answer = server.post("/v1/schedules/hourly/backfill", body.to_string());
        assert_eq!(answer.status, 201, "{}", answer.text());
        let view = answer.json();
        assert_eq!(view["count"].as_u64(), view["ids"].as_array().map(|ids| ids.len() as u64));
        view["count"].as_u64().expect("a count")
    };
    assert_eq!(fill("03:00", "06:00"), 3);
    assert_eq!(fill("02:30", "05:30"), 0, "they are there");
    // The occurrence of 8 has fired by itself, and that of 9 will.
    assert_eq!(fill("05:00", "23:00"), 2);
    let expected: Vec<_> = (3..=8).map(|hour| format!("2030-01-01T0{hour}:00:00.000Z")).collect();
    assert_eq!(occurrences(&server), expected);

    // Jobs of long ago may have been removed; whether an occurrence of then had its job, nobody knows any more.
    made(&server, "daily", &json!({"plugin": "echo", "rule": "FREQ=DAILY", "start": "2029-12-01T00:00:00Z"}));
    let fill = |from: &str, more: &str| {
        let body = format!(r#"{{"from": "{from}T00:00:00Z", "to": "2029-12-30T00:00:00Z"{more}}}"#);
        server.post("/v1/schedules/daily/backfill", body)
    };
    assert_eq!(fill("2029-12-20", "").json()["count"], 10);
    let oldest = server.get("/v1/jobs?schedule=daily&sort=oldest&limit=1").json()["jobs"][0]["id"].clone();
    let oldest = oldest.as_str().expect("an id");
    server.until(oldest, "succeeded");
    assert_eq!(server.delete(&format!("/v1/jobs/{oldest}")).status, 204);
    let refused = fill("2029-12-20", "").refusal();
    assert!(refused.starts_with("422 BR0707 [from] 1 of the jobs that the schedule has made are gone"), "{refused}");
    assert_eq!(fill("2029-12-27", "").json()["count"], 0, "of these all are there");
    assert_eq!(fill("2029-12-20", r#", "again": true"#).json()["count"], 1);

    let secondly = json!({"plugin": "echo", "rule": "FREQ=SECONDLY", "start": "2029-12-01T00:00:00Z"});
    made(&server, "secondly", &secondly);
    let body = r#"{"from": "2029-12-01T00:00:00Z", "to": "2030-01-01T00:00:00Z"}"#;
    assert_snapshot!("backfill_too_many", server.post("/v1/schedules/secondly/backfill", body).refusal());
}

#[test]
fn faulty_rules() {
    let server = Server::start();
    let rules = [
        "",
        "DAILY",
        "FREQ=DAYLY",
        "INTERVAL=2",
        "FREQ=DAILY;FREQ=DAILY",
        "FREQ=DAILY;COLOUR=RED",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=1.5",
        "FREQ=DAILY;COUNT=-1",
        "FREQ=DAILY;COUNT=2;UNTIL=20310101T000000Z",
        "FREQ=DAILY;UNTIL=soon",
        "FREQ=DAILY;UNTIL=20310101",
        "FREQ=DAILY;BYMONTH=13",
        "FREQ=DAILY;BYWEEKNO=20",
        "FREQ=YEARLY;BYWEEKNO=54",
        "FREQ=DAILY;BYYEARDAY=1",
        "FREQ=YEARLY;BYYEARDAY=0",
        "FREQ=WEEKLY;BYMONTHDAY=1",
        "FREQ=MONTHLY;BYMONTHDAY=32",
        "FREQ=WEEKLY;BYDAY=MON",
        "FREQ=WEEKLY;BYDAY=2MO",
        "FREQ=YEARLY;BYWEEKNO=20;BYDAY=1MO",
        "FREQ=DAILY;BYHOUR=24",
        "FREQ=DAILY;BYMINUTE=60",
        "FREQ=DAILY;BYSECOND=61",
        "FREQ=DAILY;BYSETPOS=1",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0",
        "FREQ=DAILY;WKST=MONDAY",
        "DTSTART:20300101T000000Z\nRRULE:FREQ=DAILY",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;UNTIL=20291231T000000Z",
    ];
    let mut shown = String::new();
    for rule in rules {
        // Once, yesterday: an empty rule yields nothing then.
        let start = if rule.is_empty() { "2029-12-31T00:00:00Z" } else { "2030-01-01T00:00:00Z" };
        let body = json!({"plugin": "echo", "rule": rule, "start": start}).to_string();
        shown.push_str(&format!("{rule:?}:\n    {}\n", put(&server, "x", body).refusal()));
    }
    assert_snapshot!("faulty_rules", shown);
    assert_eq!(server.get("/v1/schedules").json()["schedules"], json!([]), "nothing was made");
}

#[test]
fn faulty_cron_texts() {
    let server = Server::start();
    let texts = [
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "0 0 * 13 *",
        "0 0 * * 8",
        "0 0 * * MON-SUN/0",
        "0 0 L * *",
        "99 0 0 * * *",
        "5-1 * * * *",
        "@reboot",
        "@every 5m",
        "@fortnightly",
        "0 0 30 2 *",
    ];
    let mut shown = String::new();
    for cron in texts {
        let body = json!({"plugin": "echo", "cron": cron}).to_string();
        shown.push_str(&format!("{cron:?}:\n    {}\n", put(&server, "x", body).refusal()));
    }
    assert_snapshot!("faulty_cron_texts", shown);
}

#[test]
fn faulty_schedules() {
    let server = Server::start();
    let with = |field: &str| format!(r#"{{"plugin": "echo", "rule": "FREQ=DAILY", {field}}}"#);
    let cases = [
        ("nothing", "{}".to_owned()),
        ("a rule and cron text", with(r#""cron": "@daily""#)),
        ("start", with(r#""start": "tomorrow""#)),
        ("start in another zone", with(r#""start": "2030-01-31T02:00[Asia/Tokyo]", "tz": "Europe/Berlin""#)),
        ("zone", with(r#""tz": "Europe/Berlim""#)),
        ("offset for a zone", with(r#""tz": "+02:00""#)),
        ("exception", with(r#""except": ["2030-02-30"]"#)),
        ("misfire", with(r#""misfire": "run_all(0)""#)),
        ("overlap", with(r#""overlap": "cancel""#)),
        ("jitter", with(r#""jitter": "30""#)),
        ("much jitter", with(r#""jitter": "24h1ms""#)),
        ("expiry", with(r#""expires_after": "0s""#)),
        ("misspelt field", with(r#""zone": "UTC""#)),
        ("wrong type", with(r#""except": "2030-01-01""#)),
        ("two inputs", with(r#""input": 1, "input_text": "1""#)),
        ("priority", with(r#""priority": 101"#)),
        ("queue", with(r#""queue": "bulks""#)),
        ("tag", with(r#""tags": [""]"#)),
        ("ordering key", with(r#""ordering_key": """#)),
        ("attempts", with(r#""max_attempts": 0"#)),
        ("handler", with(r#""handler": "handel""#)),
        ("version", with(r#""version": "9.9.9""#)),
        ("plug-in", r#"{"plugin": "ecko", "rule": "FREQ=DAILY"}"#.to_owned()),
        ("a plug-in and a request", with(r#""http": {"url": "https://example.com"}"#)),
        ("a request to nowhere", r#"{"http": {"method": "GET"}}"#.to_owned()),
        ("a misspelt request", r#"{"http": {"url": "https://example.com", "verb": "GET"}}"#.to_owned()),
    ];
    let mut shown = String::new();
    for (what, body) in cases {
        shown.push_str(&format!("{what}:\n    {}\n", put(&server, "x", body).refusal()));
    }
    shown.push_str(&format!("name:\n    {}\n", put(&server, "Not%20Good", r#"{"plugin": "echo"}"#).refusal()));
    assert_snapshot!("faulty_schedules", shown);
    assert_eq!(server.get("/v1/schedules").json()["schedules"], json!([]), "nothing was made");
}
