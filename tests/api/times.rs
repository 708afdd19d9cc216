//! The last time that RFC 3339 can write is one wherever a time is read; what lies beyond is refused as that.

use serde_json::json;

use crate::holder::{guarded, root};
use crate::support::Server;

const LAST: &str = "9999-12-31T23:59:59Z";

/// What lies just beyond it, and long before.
const BEYOND: [&str; 4] =
    ["9999-12-31T23:59:59-00:01", "10000-01-01T00:00:00Z", "+010000-01-01T00:00:00Z", "0000-01-01T00:00:00+00:01"];

#[test]
fn the_last_time_there_is_is_a_time_everywhere() {
    let server = Server::start();
    let (before, shown) = ("9999-12-31T23:59:58Z", "9999-12-31T23:59:59.000Z");
    let id = server.submit(&json!({ "plugin": "echo", "at": before, "expires_on": LAST }).to_string());
    let job = server.job(&id);
    assert_eq!(job["expires_on"], shown, "{job}");
    let never = server.submit(&json!({ "plugin": "echo", "at": LAST }).to_string());
    assert_eq!(server.job(&never)["postpone_until"], shown);
    assert_eq!(server.get(&format!("/v1/jobs?from=2030-01-01T00:00:00Z&before={LAST}")).json()["jobs"][0]["id"], never);
    assert_eq!(server.get(&format!("/v1/jobs?from={LAST}")).json()["jobs"], json!([]));
    let put_off = server.post(&format!("/v1/jobs/{never}/postpone"), json!({ "until": LAST }).to_string());
    assert_eq!((put_off.status, &put_off.json()["postpone_until"]), (200, &json!(shown)), "{}", put_off.text());
    assert_eq!(server.get(&format!("/v1/jobs/{id}/explain")).status, 200);
    for what in ["plugins/echo", "queues/mail"] {
        let paused = server.post(&format!("/v1/{what}/pause"), json!({ "until": LAST }).to_string());
        assert_eq!((paused.status, &paused.json()["pause"]["until"]), (200, &json!(shown)), "{}", paused.text());
    }
    server.post("/v1/plugins/echo/resume", "");
    let schedule = json!({
        "plugin": "echo", "rule": "FREQ=DAILY;UNTIL=99991231T235959Z", "except": ["9999-12-31", LAST],
    });
    let made = server.send("PUT", "/v1/schedules/daily", &[], schedule.to_string().as_bytes());
    assert_eq!(made.status, 201, "{}", made.text());
    let put_off = server.post("/v1/schedules/daily/postpone", json!({ "until": LAST }).to_string());
    assert_eq!(put_off.status, 200, "{}", put_off.text());
    let filled =
        server.post("/v1/schedules/daily/backfill", json!({ "from": "2029-12-31T00:00:00Z", "to": LAST }).to_string());
    assert!(filled.status < 500, "{}", filled.text());
    let canceled = server.post(
        "/v1/jobs/actions",
        json!({ "action": "postpone", "until": LAST, "filter": { "before": LAST }, "dry_run": true }).to_string(),
    );
    assert_eq!(canceled.status, 200, "{}", canceled.text());
    // Others run all the same, and time goes on.
    server.run(r#"{"plugin": "echo"}"#);
    assert_eq!(server.job(&id)["state"], "waiting");
}

#[test]
fn a_token_may_end_then() {
    let server = guarded();
    let made =
        root(&server).post("/v1/tokens", &json!({ "name": "a", "rights": ["read"], "expires_on": LAST }).to_string());
    assert_eq!(made.status, 201, "{}", made.text());
}

#[test]
fn what_lies_beyond_is_refused_as_that() {
    let server = Server::start();
    let waiting = server.submit(r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z"}"#);
    server.send("PUT", "/v1/schedules/daily", &[], br#"{"plugin": "echo", "rule": "FREQ=DAILY"}"#);
    for time in BEYOND {
        let until = json!({ "until": time }).to_string();
        let encoded = time.replace('+', "%2B");
        for refused in [
            server.post("/v1/jobs", json!({ "plugin": "echo", "at": time }).to_string()),
            server.post("/v1/jobs", json!({ "plugin": "echo", "expires_on": time }).to_string()),
            server.get(&format!("/v1/jobs?before={encoded}")),
            server.get(&format!("/v1/jobs?from={encoded}")),
            server.post(&format!("/v1/jobs/{waiting}/postpone"), &until),
            server.post("/v1/plugins/echo/pause", &until),
            server.post("/v1/queues/mail/pause", &until),
            server.post("/v1/schedules/daily/postpone", &until),
            server.post(
                "/v1/schedules/daily/backfill",
                json!({ "from": "2029-01-01T00:00:00Z", "to": time }).to_string(),
            ),
            server.send(
                "PUT",
                "/v1/schedules/late",
                &[],
                json!({ "plugin": "echo", "rule": "FREQ=DAILY", "start": time }).to_string().as_bytes(),
            ),
        ] {
            assert_eq!(refused.status, 422, "{time}: {}", refused.text());
            let detail = refused.json()["detail"].as_str().unwrap_or_default().to_owned();
            assert!(detail.contains("9999-12-31T23:59:59Z") && detail.contains("outside"), "{time}: {detail}");
        }
    }
}
