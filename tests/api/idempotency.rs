//! A submit that is repeated after its answer was lost makes one job.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use insta::assert_snapshot;
use proptest::prelude::*;

use crate::stream::Events;
use crate::support::{Server, Setup, manifest, wasm};

fn submit(server: &Server, key: &str, body: &str) -> crate::support::Answer {
    server.send("POST", "/v1/jobs", &[("Idempotency-Key", key)], body.as_bytes())
}

#[test]
fn a_time_given_as_a_duration_is_the_same_when_it_is_said_again() {
    let server = Server::start_with(Setup { live: true, ..Setup::default() });
    let submit = |body: &str| submit(&server, "k", body);
    let first = submit(r#"{"plugin": "echo", "at": "15m", "expires_on": "1h"}"#);
    assert_eq!(first.status, 201, "{}", first.text());
    // The clock goes on in between.
    let before = server.get("/v1/service").json()["now"].clone();
    while server.get("/v1/service").json()["now"] == before {}
    let again = submit(r#"{"plugin": "echo", "at": "15m", "expires_on": "1h"}"#);
    assert_eq!((again.status, &again.json()["id"]), (200, &first.json()["id"]), "{}", again.text());
    let other = submit(r#"{"plugin": "echo", "at": "16m", "expires_on": "1h"}"#);
    assert_eq!(other.status, 422, "{}", other.text());
}

#[test]
fn a_repeated_key_returns_the_first_job() {
    let server = Server::start();
    let first = submit(&server, "k1", r#"{"plugin": "echo", "input": 1}"#);
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None));
    let again = submit(&server, "k1", r#"{"plugin": "echo", "input": 1}"#);
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, Some("true")));
    assert_eq!(again.json()["id"], first.json()["id"]);
    assert_eq!(again.header("location"), first.header("location"));
    assert_snapshot!("other_body", submit(&server, "k1", r#"{"plugin": "echo", "input": 2}"#).refusal());
    assert_snapshot!("empty_key", submit(&server, "", r#"{"plugin": "echo"}"#).refusal());
    assert_snapshot!("long_key", submit(&server, &"k".repeat(256), r#"{"plugin": "echo"}"#).refusal());
}

#[test]
fn the_key_of_a_deleted_job_makes_no_second_one() {
    let server = Server::start();
    let body = r#"{"plugin": "echo"}"#;
    let job = server.send("POST", "/v1/jobs?wait=20", &[("Idempotency-Key", "k")], body.as_bytes()).json();
    assert_eq!(server.delete(&format!("/v1/jobs/{}", job["id"].as_str().expect("an id"))).status, 204);
    assert_snapshot!("key_of_deleted", submit(&server, "k", body).refusal());
}

/// What becomes of one try to submit.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// The answer arrives.
    Answered,
    /// The whole request is sent, and the connection is closed before the answer.
    AnswerLost,
    /// The connection is closed in the middle of the body.
    RequestCut,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Answered), Just(Fate::AnswerLost), Just(Fate::RequestCut)]
}

fn try_once(server: &Server, key: &str, body: &str, fate: Fate) -> Option<String> {
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: {}\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n",
        server.address,
        body.len()
    );
    let sent = match fate {
        Fate::Answered => {
            let answer = submit(server, key, body);
            assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
            return Some(answer.json()["id"].as_str().expect("an id").to_owned());
        }
        Fate::AnswerLost => body.as_bytes(),
        Fate::RequestCut => &body.as_bytes()[..body.len() / 2],
    };
    let mut stream = server.connect();
    stream.write_all(head.as_bytes()).expect("the head is sent");
    stream.write_all(sent).expect("the body is sent");
    None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_lost_answer_and_a_retry_make_one_job(fates in prop::collection::vec(fate(), 0..5), input in 0_u32..1_000, together in 1_usize..4) {
        static SERVER: OnceLock<Server> = OnceLock::new();
        static CASE: AtomicUsize = AtomicUsize::new(0);
        let server = SERVER.get_or_init(Server::start);
        let case = CASE.fetch_add(1, Ordering::Relaxed);
        let tag = format!("case-{case}");
        let body = format!(r#"{{"plugin": "echo", "input": {input}, "tags": ["{tag}"]}}"#);
        let mut ids: Vec<_> = fates.iter().filter_map(|fate| try_once(server, &tag, &body, *fate)).collect();
        // The caller goes on until an answer arrives, perhaps from several threads at once.
        std::thread::scope(|scope| {
            let last: Vec<_> = (0..together).map(|_| scope.spawn(|| try_once(server, &tag, &body, Fate::Answered))).collect();
            ids.extend(last.into_iter().filter_map(|thread| thread.join().expect("an answer")));
        });
        ids.dedup();
        prop_assert_eq!(ids.len(), 1, "every answer names the same job");
        let listed = server.get(&format!("/v1/jobs?tag={tag}")).json();
        prop_assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(1));
        prop_assert_eq!(listed["jobs"][0]["id"].as_str(), ids.first().map(String::as_str));
    }
}

const KEY: [(&str, &str); 1] = [("Idempotency-Key", "k")];

/// What every POST of the API is sent by the test of the header: the address of one that is there, and a body that it takes.
/// None where it makes no jobs.
fn making_jobs(server: &Server) -> Vec<(&'static str, String, String)> {
    let failed = server.run(r#"{"plugin": "echo", "handler": "fail"}"#);
    let lines = "{\"plugin\": \"echo\"}\n{\"plugin\": \"echo\"}\n";
    let failing = "{\"plugin\": \"echo\", \"handler\": \"fail\"}\n";
    let batch = server.post("/v1/batches", failing).json()["batch"]["id"].as_str().expect("an id").to_owned();
    server.until(&batch, "failed");
    let hourly = r#"{"rule": "FREQ=HOURLY", "start": "2029-12-31T00:00:00Z", "plugin": "echo"}"#;
    assert_eq!(server.send("PUT", "/v1/schedules/hourly", &[], hourly.as_bytes()).status, 201);
    let actions = r#"{"action": "retry", "filter": {"state": "failed", "type": "handler"}}"#;
    let span = r#"{"from": "2029-12-31T00:00:00Z", "to": "2029-12-31T03:00:00Z"}"#;
    [
        ("/v1/jobs", "/v1/jobs".to_owned(), r#"{"plugin": "echo"}"#),
        ("/v1/jobs/bulk", "/v1/jobs/bulk".to_owned(), lines),
        ("/v1/batches", "/v1/batches?allowed_failures=1".to_owned(), lines),
        ("/v1/batches/{id}/retry-failed", format!("/v1/batches/{batch}/retry-failed"), r#"{"reason": "again"}"#),
        ("/v1/jobs/{id}/retry", format!("/v1/jobs/{failed}/retry"), r#"{"reason": "again"}"#),
        ("/v1/jobs/actions", "/v1/jobs/actions".to_owned(), actions),
        ("/v1/schedules/{name}/run", "/v1/schedules/hourly/run".to_owned(), ""),
        ("/v1/schedules/{name}/backfill", "/v1/schedules/hourly/backfill".to_owned(), span),
    ]
    .map(|(path, address, body)| (path, address, body.to_owned()))
    .into()
}

fn jobs_there(server: &Server) -> Vec<String> {
    let listed = server.get("/v1/jobs?limit=200").json();
    let ids =
        listed["jobs"].as_array().expect("a list").iter().map(|job| job["id"].as_str().expect("an id").to_owned());
    ids.collect()
}

/// What an answer says of what was made: not how those jobs do by now.
fn made(answer: &serde_json::Value) -> serde_json::Value {
    let results = answer["results"]
        .as_array()
        .map(|results| results.iter().map(|job| job["retried_as"].clone()).filter(|id| id.is_string()).collect());
    let results: Option<Vec<_>> = results;
    serde_json::json!([answer["id"], answer["ids"], answer["batch"]["id"], answer["count"], results])
}

#[test]
fn every_request_that_makes_jobs_makes_them_once_and_no_other_ignores_the_header() {
    let server = Server::start();
    let making = making_jobs(&server);
    let document = server.get("/openapi.json").json();
    let mut asked = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        if operations.get("post").is_none() {
            continue;
        }
        asked.push(path.as_str());
        let takes_it = operations["post"]["parameters"].as_array().is_some_and(|parameters| {
            parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key" && parameter["in"] == "header")
        });
        let Some((_, address, body)) = making.iter().find(|(known, ..)| known == path) else {
            assert!(!takes_it, "{path} says that it takes the header");
            let address = path.replace("{id}", &jobs_there(&server)[0]).replace("{name}", "hourly");
            let refused = server.send("POST", &address, &KEY, b"{}");
            assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some("BR0141")), "{path}");
            continue;
        };
        assert!(takes_it, "{path} does not say that it takes the header");
        let send = |key: &str| server.send("POST", address, &[("Idempotency-Key", key)], body.as_bytes());
        let first = send(path);
        assert!(matches!(first.status, 200 | 201) && first.header("idempotent-replayed").is_none(), "{}", first.text());
        let there = jobs_there(&server);
        let again = send(path);
        assert_eq!(
            (again.status, again.header("idempotent-replayed")),
            (200, Some("true")),
            "{path}: {}",
            again.text()
        );
        assert_eq!(made(&again.json()), made(&first.json()), "{path}");
        assert_eq!(jobs_there(&server), there, "{path} made more");
        // The same key for something else.
        let other = server.send("POST", "/v1/jobs", &[("Idempotency-Key", path)], br#"{"plugin": "echo", "input": 7}"#);
        assert_eq!((other.status, other.json()["code"].as_str()), (422, Some("BR0108")), "{path}");
    }
    assert!(making.iter().all(|(path, ..)| asked.contains(path)), "{asked:?}");
}

#[test]
fn a_retry_by_filter_that_comes_again_leaves_alone_what_has_failed_meanwhile() {
    let server = Server::start();
    let failed = server.run(r#"{"plugin": "echo", "handler": "fail"}"#);
    let body = br#"{"action": "retry", "filter": {"state": "failed"}}"#;
    let first = server.send("POST", "/v1/jobs/actions", &KEY, body).json();
    let again = first["results"][0]["retried_as"].as_str().expect("it runs again").to_owned();
    assert_eq!((first["results"][0]["id"].as_str(), &first["changed"]), (Some(failed.as_str()), &1.into()));
    server.until(&again, "failed");
    let repeated = server.send("POST", "/v1/jobs/actions", &KEY, body);
    assert_eq!(repeated.header("idempotent-replayed"), Some("true"));
    assert_eq!(repeated.json()["results"], first["results"]);
    assert_eq!(jobs_there(&server).len(), 2);
    for body in [r#"{"action": "retry", "dry_run": true, "all": true}"#, r#"{"action": "cancel", "all": true}"#] {
        let refused = server.send("POST", "/v1/jobs/actions", &[("Idempotency-Key", "other")], body.as_bytes());
        assert_eq!(refused.json()["code"], "BR0141", "{body}");
    }
}

#[test]
fn who_was_answered_with_the_holder_of_a_dedup_key_is_answered_so_again() {
    let server = Server::start();
    let body = r#"{"plugin": "echo", "handler": "hold", "dedup_key": "nightly"}"#;
    let holder = server.submit(body);
    let taken = submit(&server, "mine", body);
    assert_eq!((taken.status, taken.json()["id"].as_str()), (200, Some(holder.as_str())));
    server.gate.open();
    server.until(&holder, "succeeded");
    let again = submit(&server, "mine", body);
    assert_eq!((again.status, again.json()["id"].as_str()), (200, Some(holder.as_str())), "{}", again.text());
    assert_eq!(jobs_there(&server), [holder]);
    let other = submit(&server, "mine", r#"{"plugin": "echo", "dedup_key": "nightly"}"#);
    assert_eq!(other.status, 422, "the key stands for that request now");
}

#[test]
fn a_repeated_submit_hears_how_a_job_ended_that_went_with_its_end() {
    let server = Server::start();
    let body = r#"{"plugin": "echo", "handler": "hold", "input": "hello", "auto_delete": true, "dedup_key": "d"}"#;
    let first = submit(&server, "k", body);
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    // Somebody else is answered with it because of its dedup key.
    let other = submit(&server, "other", body);
    assert_eq!(other.json()["id"].as_str(), Some(id.as_str()));
    server.gate.open();
    Events::open(&server, &format!("/v1/jobs/{id}/changes")).until("succeeded");
    assert_eq!(server.get(&format!("/v1/jobs/{id}")).status, 404);
    for key in ["k", "other"] {
        let again = submit(&server, key, body);
        assert_eq!((again.status, again.header("idempotent-replayed")), (200, Some("true")), "{}", again.text());
        let job = again.json();
        assert_eq!((job["id"].as_str(), job["state"].as_str()), (Some(id.as_str()), Some("succeeded")));
        assert!(job["completed_on"].is_string() && job["input_bytes"] == 7, "{job}");
    }
    // A retry that goes with its end is told of likewise.
    let failed = server.run(r#"{"plugin": "echo", "handler": "fail", "auto_delete": true}"#);
    let address = format!("/v1/jobs/{failed}/retry");
    let again = server.send("POST", &address, &KEY, b"");
    assert_eq!(again.status, 422, "the key stands for the submit");
    // When the day is over the key is free.
    server.pass(Duration::from_secs(24 * 3_600));
    let anew = submit(&server, "k", body);
    assert_eq!(anew.status, 201, "{}", anew.text());
    assert_ne!(anew.json()["id"].as_str(), Some(id.as_str()));
}

#[test]
fn a_put_with_a_key_comes_to_the_same() {
    let server = Server::start();
    let put = || {
        let manifest = base64::engine::general_purpose::STANDARD.encode(manifest("echo", "2.0.0", ""));
        let headers = [("Idempotency-Key", "k"), ("Backroom-Manifest", manifest.as_str())];
        server.send("PUT", "/v1/plugins/echo/versions/2.0.0", &headers, &wasm(2))
    };
    assert_eq!((put().status, put().status), (201, 200));
}

#[test]
fn many_at_once_on_one_dedup_key_are_all_answered() {
    let server = Server::start_with(Setup { live: true, slots: Some(16), ..Setup::default() });
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..24)
            .map(|_| {
                scope.spawn(|| {
                    let send = || server.post("/v1/jobs", r#"{"plugin": "echo", "dedup_key": "one"}"#).status;
                    (0..8).map(|_| send()).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("answers")).collect()
    });
    assert!(answers.iter().all(|status| matches!(status, 200 | 201)), "{answers:?}");
}
