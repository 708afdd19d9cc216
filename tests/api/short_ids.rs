//! The end of an id in place of the whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backroom::store::Store as _;
use backroom::store::memory::Reading;

use crate::latch::Latch;
use crate::support::{Server, Setup};

fn end_of(id: &str) -> &str {
    &id[id.len() - 8..]
}

#[test]
fn the_end_of_an_id_leads_to_the_job() {
    let server = Server::start();
    let (id, other) = (server.submit(r#"{"plugin": "echo"}"#), server.submit(r#"{"plugin": "echo"}"#));
    for end in [end_of(&id).to_owned(), end_of(&id).to_ascii_uppercase(), id[id.len() - 12..].to_owned()] {
        assert_eq!(server.get(&format!("/v1/jobs/{end}")).json()["id"], id.as_str(), "{end}");
    }
    assert_eq!(server.get(&format!("/v1/jobs/{}", end_of(&other))).json()["id"], other.as_str());
    let waits = server.post("/v1/jobs", format!(r#"{{"plugin": "echo", "after": ["{}"]}}"#, end_of(&id))).json();
    assert_eq!(waits["after"], serde_json::json!([id]));
    let child = server.post("/v1/jobs", format!(r#"{{"plugin": "echo", "parent": "{}"}}"#, end_of(&id))).json();
    let chain = server.get(&format!("/v1/jobs?chain={}", end_of(&id))).json();
    assert!(chain["jobs"].as_array().expect("a list").iter().any(|job| job["id"] == child["id"]), "{chain}");
    for unknown in ["ffffffff", "1234567", "zzzzzzzz", "0123456789abc"] {
        let answer = server.get(&format!("/v1/jobs/{unknown}"));
        assert_eq!((answer.status, &answer.json()["code"]), (404, &"BR0109".into()), "{unknown}");
    }
}

#[test]
fn a_job_that_one_may_not_read_has_no_end_either() {
    let server = Server::start_with(Setup { token: None, ..Setup::default() });
    let made = |name: &str, rights: &str| {
        let body = format!(r#"{{"name": "{name}", "rights": [{rights}]}}"#);
        server.post("/v1/tokens", body).json()["secret"].as_str().expect("a secret").to_owned()
    };
    let admin = made("root", r#""admin""#);
    let bearer = |secret: &str| format!("Bearer {secret}");
    let admin = bearer(&admin);
    let own = server.send(
        "POST",
        "/v1/tokens",
        &[("Authorization", &admin)],
        br#"{"name": "shop", "rights": ["submit", "read:own"]}"#,
    );
    let own = bearer(own.json()["secret"].as_str().expect("a secret"));
    let submit = |token: &str| {
        let taken = server.send("POST", "/v1/jobs", &[("Authorization", token)], br#"{"plugin": "echo"}"#);
        taken.json()["id"].as_str().expect("an id").to_owned()
    };
    let (foreign, mine) = (submit(&admin), submit(&own));
    let asked = |id: &str| server.send("GET", &format!("/v1/jobs/{}", end_of(id)), &[("Authorization", &own)], b"");
    assert_eq!(asked(&mine).json()["id"], mine.as_str());
    let refused = asked(&foreign);
    assert_eq!(refused.status, 404);
    assert!(!refused.text().contains(&foreign), "{}", refused.text());
}

#[test]
fn a_wait_is_seconds_a_duration_or_as_long_as_may_be() {
    let server = Server::start();
    for wait in ["wait", "wait=", "wait=20", "wait=20s", "wait=1m", "wait=500ms"] {
        let answer = server.post(&format!("/v1/jobs?{wait}"), r#"{"plugin": "echo"}"#);
        assert_eq!((answer.status, &answer.json()["state"]), (201, &"succeeded".into()), "{wait}");
    }
    for wait in ["wait=61", "wait=2m", "wait=soon", "wait=-1"] {
        let answer = server.post(&format!("/v1/jobs?{wait}"), r#"{"plugin": "echo"}"#);
        assert_eq!((answer.status, &answer.json()["field"]), (422, &"wait".into()), "{wait}");
    }
}

#[test]
fn a_list_says_why_a_job_waits_where_that_is_asked() {
    let server = Server::start();
    server.post("/v1/queues/bulk/pause", "");
    server.submit(r#"{"plugin": "echo", "queue": "bulk"}"#);
    let listed = server.get("/v1/jobs?queue=bulk&explain=true").json();
    assert_eq!(listed["jobs"][0]["why"]["code"], "queue-paused", "{listed}");
    let plain = server.get("/v1/jobs?queue=bulk").json();
    assert!(plain["jobs"][0].get("why").is_none(), "{plain}");
    let queues = server.get("/v1/queues").json();
    let bulk =
        queues["queues"].as_array().expect("a list").iter().find(|queue| queue["name"] == "bulk").expect("it is there");
    assert_eq!((&bulk["ready"], bulk["oldest_ready_ms"].is_u64()), (&1.into(), true), "{bulk}");
}

#[test]
fn of_several_jobs_with_one_end_all_are_listed() {
    let server = Server::start();
    let first = server.submit(r#"{"plugin": "echo"}"#);
    // As if four thousand million others had come in between.
    server.store.reserve((1 << 32) - 1);
    let second = server.submit(r#"{"plugin": "echo"}"#);
    assert_eq!(end_of(&first), end_of(&second));
    let answer = server.get(&format!("/v1/jobs/{}", end_of(&first)));
    assert_eq!((answer.status, &answer.json()["code"]), (409, &"BR0151".into()));
    assert!(answer.text().contains(&first) && answer.text().contains(&second), "{}", answer.text());
    let whole = &second[second.len() - 12..];
    assert_eq!(server.get(&format!("/v1/jobs/{whole}")).json()["id"], second.as_str(), "more of it tells them apart");
}

/// Counts how often the store is asked for one job.
fn reads_counted(server: &Server) -> Arc<AtomicUsize> {
    let reads = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&reads);
    server.store.watch_reads(move |reading| {
        if reading == Reading::Job {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    reads
}

#[test]
fn what_is_refused_for_its_number_is_not_looked_up() {
    let server = Server::start();
    let id = server.submit(r#"{"plugin": "echo"}"#);
    let reads = reads_counted(&server);
    let many = vec![format!("\"{}\"", end_of(&id)); 1_000].join(", ");
    let line = format!(r#"{{"plugin": "echo", "after": [{many}]}}"#);
    for (path, body) in [("/v1/jobs", line.clone()), ("/v1/jobs/bulk", format!("{line}\n{line}"))] {
        let answer = server.post(path, body);
        assert_eq!(answer.status, 422, "{path}: {}", answer.text());
        assert!(answer.text().contains("at most 64 are taken"), "{path}: {}", answer.text());
    }
    assert_eq!(reads.load(Ordering::Relaxed), 0);
}

#[test]
fn an_end_is_looked_up_once_for_a_request() {
    let server = Server::start();
    let id = server.submit(r#"{"plugin": "echo"}"#);
    let reads = reads_counted(&server);
    let read_by = |named: &str| {
        let before = reads.load(Ordering::Relaxed);
        let line = format!("{{\"plugin\": \"echo\", \"at\": \"2031-01-01T00:00:00Z\", \"after\": [\"{named}\"]}}\n");
        let answer = server.post("/v1/jobs/bulk", line.repeat(50));
        assert_eq!(answer.status, 201, "{}", answer.text());
        reads.load(Ordering::Relaxed) - before
    };
    let (by_id, by_end) = (read_by(&id), read_by(end_of(&id)));
    assert_eq!(by_end, by_id + 1);
}

#[test]
fn while_ends_are_looked_up_others_are_answered() {
    let server = Server::start();
    let id = server.submit(r#"{"plugin": "echo"}"#);
    let latch = Arc::new(Latch::default());
    let held = Arc::clone(&latch);
    server.store.watch_reads(move |reading| {
        if reading == Reading::Job {
            held.pass();
        }
    });
    let line = format!(r#"{{"plugin": "echo", "after": ["{}"]}}"#, end_of(&id));
    // As many as there are threads that answer requests.
    std::thread::scope(|scope| {
        let asked = ["/v1/jobs", "/v1/jobs/bulk"].map(|path| scope.spawn(|| server.post(path, line.as_str()).status));
        latch.until(2);
        assert_eq!(server.get("/healthz").status, 200);
        latch.open();
        assert_eq!(asked.map(|asked| asked.join().expect("it is answered")), [201, 201]);
    });
}
