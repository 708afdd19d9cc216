//! A submit that is repeated after its answer was lost makes one job.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use insta::assert_snapshot;
use proptest::prelude::*;

use crate::support::{Server, Setup};

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
