//! Which requests are signed, with what, and that no answer leads a request elsewhere.

use std::sync::Arc;

use backroom::domain::failure::ErrorClass;
use backroom::domain::limits::Limits;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use serde_json::json;

use crate::world::{Got, SIGNING_KEYS, Seen, World, failure, serve};

/// Checks a request as its receiver does (standardwebhooks.com): whether one of the signatures is that of the key.
fn is_signed_with(got: &Got, key: &[u8]) -> bool {
    let content = [got.header("webhook-id"), ".", got.header("webhook-timestamp"), "."].concat();
    let content = [content.as_bytes(), &got.body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let signatures =
        got.header("webhook-signature").split(' ').map(|one| one.strip_prefix("v1,").expect("the version"));
    let mut decoded = signatures.map(|one| BASE64.decode(one).expect("base64"));
    decoded.any(|signature| hmac::verify(&key, &content, &signature).is_ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_knows_either_key_can_check_a_request_while_they_change() {
    let world = World::start().await;
    for more in [json!({ "body": {"n": 1} }), json!({ "body_text": "", "method": "PUT" }), json!({})] {
        let job = world.run(world.call("/ok", more)).await;
        let got = world.seen.of("/ok").pop().expect("it was called");
        assert_eq!(got.header("webhook-id"), job.submission.id.to_string());
        for key in SIGNING_KEYS {
            assert!(is_signed_with(&got, key), "{got:?}");
        }
        assert_eq!(got.header("webhook-signature").split(' ').count(), SIGNING_KEYS.len());
        assert!(!is_signed_with(&got, b"a key that nobody has given it, ever"));
        let sent: i64 = got.header("webhook-timestamp").parse().expect("seconds");
        let now = jiff::Timestamp::now().as_second();
        assert!((now - 60..=now).contains(&sent), "{sent} and not about {now}");
        assert!(world.log(&job).contains(" ms, signed with 2 keys)"), "{}", world.log(&job));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attempt_has_the_same_id_and_a_signature_of_its_own_time() {
    let world = World::start().await;
    let job = world.run(world.call("/flaky", json!({ "body": 1 }))).await;
    assert!(world.output(&job).contains("at last"));
    let got = world.seen.of("/flaky");
    assert_eq!(got.len(), 3);
    let id = job.submission.id.to_string();
    assert!(got.iter().all(|got| got.header("webhook-id") == id && is_signed_with(got, SIGNING_KEYS[0])), "{got:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_without_keys_gets_no_signature() {
    let other = Arc::<Seen>::default();
    let address = serve(&other).await;
    let world = World::with(Limits::default(), &[&format!("http://{address}")]).await;
    let job = world.run(world.call("", json!({ "url": format!("http://{address}/ok"), "body": 1 }))).await;
    assert!(world.output(&job).starts_with(r#"{"status":200,"#));
    let got = other.of("/ok").pop().expect("it was called");
    let of_ours = got.headers.keys().filter(|name| name.as_str().starts_with("webhook-"));
    assert_eq!(of_ours.count(), 0, "{got:?}");
    assert!(!world.log(&job).contains("signed"), "{}", world.log(&job));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_a_failure_and_reaches_nobody() {
    let other = Arc::<Seen>::default();
    let address = serve(&other).await;
    // Signed by its own keys, granted without any, and the very receiver again: none is called.
    let world = World::with(Limits::default(), &[&format!("http://{address}")]).await;
    for status in [300, 301, 302, 303, 305, 307, 308] {
        for place in [address, world.address] {
            let path = format!("/away/{status}/{place}/ok?token=secret");
            let job = world.run(world.call(&path, json!({ "body": 1 }))).await;
            let why = failure(&job);
            assert_eq!((why.class, why.code.as_deref()), (ErrorClass::Business, Some("BR0605")), "{why:?}");
            let told = format!("was answered with {status} ");
            assert!(why.message.contains(&told) && why.message.contains("no redirect is followed"), "{why:?}");
            assert!(!why.message.contains("token"), "{why:?}");
            let detail = why.detail.as_deref().unwrap_or_default();
            assert!(detail.contains(&format!("leads to http://{place}/ok")), "{detail}");
            assert_eq!(job.state.usage().host_calls, 1);
        }
    }
    assert!(other.requests.lock().is_empty() && world.seen.of("/ok").is_empty());
    let job = world.run(world.call(&format!("/away/302/{address}/ok"), json!({ "expect": ["3xx"] }))).await;
    assert!(world.output(&job).contains(&format!(r#""location":"http://{address}/ok""#)), "{}", world.output(&job));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_gone_ends_the_job_at_once() {
    let world = World::start().await;
    let job = world.run(world.call("/status/410", json!({ "body": 1 }))).await;
    assert_eq!((failure(&job).class, world.seen.of("/status/410").len()), (ErrorClass::Business, 1));
}
