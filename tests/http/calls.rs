//! What is sent, what the answers mean, and what stops a call.

use std::time::Duration;

use backroom::domain::failure::ErrorClass;
use backroom::domain::job::{Status, WaitReason};
use backroom::domain::limits::Limits;
use backroom::jobs::{Command, Order};
use serde_json::json;

use crate::world::{World, failure};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_becomes_the_output_in_its_own_form() {
    let world = World::start().await;
    for (path, output) in [
        (
            "/ok",
            r#"{"status":200,"headers":{"content-type":"application/json","etag":"\"7\""},"body":{"b": 1.50, "a": [null]}}"#,
        ),
        ("/text", r#"{"status":200,"headers":{"content-type":"text/plain; charset=utf-8"},"body":"plain words"}"#),
        ("/bytes", r#"{"status":200,"headers":{"content-type":"image/png"},"body_base64":"/wD+"}"#),
        ("/empty", r#"{"status":204,"headers":{}}"#),
    ] {
        let job = world.run(world.call(path, json!({}))).await;
        assert_eq!(world.output(&job), output);
    }
    let job = world.run(world.call("/status/404", json!({ "expect": [404] }))).await;
    assert!(world.output(&job).starts_with(r#"{"status":404,"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_says_who_sends_it() {
    let world = World::start().await;
    let call =
        world.call("/ok?key=secret", json!({ "body": {"n": 1}, "headers": {"X-Trace": "t-1", "user-agent": "mine"} }));
    let job = world.run(call).await;
    assert_eq!(job.state.status, Status::Succeeded, "{:?}", job.state);
    let got = world.seen.of("/ok").pop().expect("it was called");
    let id = job.submission.id.to_string();
    assert_eq!(
        (got.method.as_str(), got.target.as_str(), &got.body[..]),
        ("POST", "/ok?key=secret", br#"{"n":1}"#.as_slice())
    );
    for (name, value) in [
        ("content-type", "application/json"),
        ("host", world.address.to_string().as_str()),
        ("x-trace", "t-1"),
        ("user-agent", "mine"),
        ("idempotency-key", &id),
        ("backroom-job", &id),
        ("backroom-attempt", "1"),
        ("content-length", "7"),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    let log = world.log(&job);
    assert!(log.contains("/ok?... -> 200 ("), "{log}");
    assert!(!log.contains("secret"), "{log}");
    let usage = job.state.usage();
    assert_eq!((usage.host_calls, usage.wall_micros > 0), (1, true), "{usage:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_decides_whether_it_is_tried_again() {
    let world = World::start().await;
    for (status, class, attempts) in [
        (400, ErrorClass::Business, 1),
        (404, ErrorClass::Business, 1),
        (401, ErrorClass::UserFixable, 1),
        (403, ErrorClass::UserFixable, 1),
        (408, ErrorClass::Transient, 3),
        (500, ErrorClass::Transient, 3),
        (503, ErrorClass::Transient, 3),
    ] {
        let path = format!("/status/{status}");
        let job = world.run(world.call(&path, json!({}))).await;
        let why = failure(&job);
        assert_eq!((why.class, world.seen.of(&path).len()), (class, attempts), "{status}: {why:?}");
        // The message is for everybody who sees the job; what was sent and what came back is not (F007).
        assert!(
            why.message.starts_with(&format!("GET http://{} was answered with {status}", world.address)),
            "{why:?}"
        );
        let detail = why.detail.as_deref().unwrap_or_default();
        assert!(detail.contains(&path) && detail.ends_with("because"), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f038_an_outbound_401_holds_the_job_and_is_not_tried_again_blindly() {
    let world = World::holding().await;
    let job = world.submit(world.call("/locked", json!({}))).await;
    let held = world.waiting(&job).await;
    assert_eq!((held.state.wait_reason, held.state.attempt), (Some(WaitReason::Error), 1));
    assert_eq!(held.state.failure().map(|failure| failure.class), Some(ErrorClass::UserFixable));
    assert_eq!(world.seen.of("/locked").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f037_a_held_job_succeeds_when_a_person_resumes_it_after_mending() {
    let world = World::holding().await;
    let job = world.submit(world.call("/locked", json!({}))).await;
    world.waiting(&job).await;
    let resume = Command::new(Order::Resume, "somebody");
    let resumed = world.host.jobs.steer(World::TENANT, job.submission.id, &resume).await.expect("it waits");
    let ended = world.ended(resumed).await;
    assert!(world.output(&ended).contains("at last"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attempt_has_the_same_key() {
    let world = World::start().await;
    let job = world.run(world.call("/flaky", json!({ "method": "PUT", "body_text": "x" }))).await;
    assert!(world.output(&job).contains("at last"));
    let got = world.seen.of("/flaky");
    let attempts: Vec<_> = got.iter().map(|got| got.header("backroom-attempt")).collect();
    assert_eq!(attempts, ["1", "2", "3"]);
    let id = job.submission.id.to_string();
    assert!(got.iter().all(|got| got.header("idempotency-key") == id && got.header("webhook-id") == id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_to_slow_down_is_waited_for_and_no_attempt_is_counted() {
    let world = World::start().await;
    for path in ["/busy", "/maintenance"] {
        let job = world.run(world.call(path, json!({}))).await;
        assert!(world.output(&job).contains("at last"));
        assert_eq!((job.state.attempt, job.state.runs), (1, 2), "{path}");
        let runs = world.host.jobs.runs(&job).expect("memory can be read");
        let waited = runs[1].started_on.since(runs[0].ended_on);
        assert!(waited >= Duration::from_millis(950), "{path}: {waited:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_tried_again_when_the_other_side_says_and_an_attempt_is_counted() {
    let world = World::start().await;
    for path in ["/full", "/restarting"] {
        let job = world.run(world.call(path, json!({}))).await;
        assert!(world.output(&job).contains("at last"));
        assert_eq!((job.state.attempt, job.state.runs), (2, 2), "{path}");
        let runs = world.host.jobs.runs(&job).expect("memory can be read");
        let waited = runs[1].started_on.since(runs[0].ended_on);
        assert!(waited >= Duration::from_millis(950), "{path}: the policy would have waited 5 ms: {waited:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_too_large_for_an_output_fails_the_job_at_once() {
    let world = World::with(Limits { output_bytes: 50_000, ..Limits::default() }, &[]).await;
    let job = world.run(world.call("/large", json!({}))).await;
    let why = failure(&job);
    assert_eq!(why.code.as_deref(), Some("BR0307"), "{why:?}");
    assert_eq!(world.seen.of("/large").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_left_when_time_is_up() {
    let short = Duration::from_millis(200);
    for (path, more, wall, code) in [
        ("/hang", json!({ "timeout": "50ms" }), Limits::default().wall, "BR0604"),
        ("/endless", json!({ "timeout": "50ms" }), Limits::default().wall, "BR0604"),
        ("/hang", json!({}), short, "BR0303"),
    ] {
        let world = World::with(Limits { wall, ..Limits::default() }, &[]).await;
        let mut call = world.call(path, more);
        call.max_attempts = Some(1);
        let job = world.run(call).await;
        assert_eq!(failure(&job).code.as_deref(), Some(code), "{path}: {:?}", failure(&job));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_at_the_address_is_tried_again() {
    // Ours, so that nobody else gets it, but deaf.
    let nobody = tokio::net::TcpSocket::new_v4().expect("a socket");
    nobody.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let origin = format!("http://{}", nobody.local_addr().expect("an address"));
    let world = World::with(Limits::default(), &[&origin]).await;
    let job = world.run(world.call("", json!({ "url": origin }))).await;
    let why = failure(&job);
    assert_eq!((why.class, why.code.as_deref()), (ErrorClass::Transient, Some("BR0604")), "{why:?}");
    assert_eq!(job.state.attempt, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_a_call_that_waits() {
    let world = World::start().await;
    let job = world.submit(world.call("/hang", json!({}))).await;
    world.seen.hanging.notified().await;
    let began = std::time::Instant::now();
    let cancel = Command::new(Order::Cancel, "a test");
    world.host.jobs.steer(World::TENANT, job.submission.id, &cancel).await.expect("it can be canceled");
    let ended = world.ended(job).await;
    assert_eq!(ended.state.status, Status::Canceled, "{:?}", ended.state);
    assert!(began.elapsed() < Duration::from_secs(20), "it has 30 seconds: {:?}", began.elapsed());
    assert!(world.log(&ended).contains("may have taken the request"), "{}", world.log(&ended));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_only_announce_others_come_to_an_end() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let _ = connection.read(&mut [0; 1024]);
            // Until nobody reads it any more.
            while connection.write_all(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)).is_ok() {}
        }
    });
    let world = World::with(Limits::default(), &[&origin]).await;
    let mut call = world.call("", json!({ "url": origin }));
    call.max_attempts = Some(1);
    let job = world.run(call).await;
    let why = failure(&job);
    assert_eq!((why.class, why.code.as_deref()), (ErrorClass::Transient, Some("BR0604")), "{why:?}");
    assert!(why.message.contains("it sent more than 256 KiB before an answer"), "{}", why.message);
    assert!(job.state.usage().cpu_micros > 0, "the work is on the bill");
}
