//! A job whose end is told to a URL, by a job of its own.

use backroom::domain::id::QueueName;
use backroom::domain::job::{FollowUp, Job, Status};
use backroom::domain::query::{JobFilter, JobQuery};
use backroom::jobs::NewBatch;
use serde_json::{Value, json};

use crate::world::World;

/// The job that follows another, once that has ended.
fn follower(world: &World, of: &Job) -> Job {
    let query = JobQuery { tenant: World::TENANT, filter: JobFilter::default(), before: None, limit: 10 };
    let jobs = world.host.jobs.list(&query).expect("they can be read").jobs;
    let found = jobs.into_iter().find(|job| job.submission.correlation_id == Some(of.submission.id));
    found.expect("the job that follows was submitted in the commit that ended the first")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_job_is_told_to_a_url() {
    let world = World::start().await;
    for (path, state) in [("/ok", "succeeded"), ("/status/404", "failed")] {
        let mut call = world.call(path, json!({}));
        call.ties.on_complete = Some(FollowUp::call(world.url("/text"), QueueName::default_queue()));
        let job = world.run(call).await;
        let told = world.ended(follower(&world, &job)).await;
        assert_eq!((told.state.status, told.submission.depth), (Status::Succeeded, 1), "{:?}", told.state);
        let got = world.seen.of("/text").pop().expect("it was told");
        assert_eq!((got.method.as_str(), got.header("content-type")), ("POST", "application/json"));
        assert_eq!(got.header("idempotency-key"), told.submission.id.to_string());
        assert!(got.header("webhook-signature").starts_with("v1,"));
        let news: Value = serde_json::from_slice(&got.body).expect("JSON");
        assert_eq!((&news["job"], &news["state"]), (&json!(job.submission.id.to_string()), &json!(state)));
        match state {
            "succeeded" => assert_eq!(news["output"]["body"], json!({ "b": 1.5, "a": [null] })),
            _ => assert_eq!(news["error"]["class"], "business"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f112_the_end_of_a_batch_is_told_to_whoever_is_named() {
    let world = World::start().await;
    let on_complete = Some(FollowUp::call(world.url("/text"), QueueName::default_queue()));
    let new = NewBatch { on_complete, ..NewBatch::default() };
    let members = vec![world.call("/ok", json!({})), world.call("/status/404", json!({}))];
    let (batch, _) = world.host.jobs.submit_batch(new, members).await.expect("it is taken");
    let batch = world.ended(batch).await;
    let told = world.ended(follower(&world, &batch)).await;
    assert_eq!(told.state.status, Status::Succeeded, "{:?}", told.state);
    let got = world.seen.of("/text").pop().expect("it was told");
    let news: Value = serde_json::from_slice(&got.body).expect("JSON");
    let id = batch.submission.id.to_string();
    assert_eq!(
        (&news["job"], &news["state"], &news["error"]["code"]),
        (&json!(id), &json!("failed"), &json!("BR0320"))
    );

    let on_complete = Some(FollowUp::call("https://elsewhere.example/hook", QueueName::default_queue()));
    let new = NewBatch { on_complete, ..NewBatch::default() };
    let refused = world.host.jobs.submit_batch(new, vec![world.call("/ok", json!({}))]).await;
    let refused = refused.expect_err("the URL is not granted").to_string();
    assert!(refused.contains("https://elsewhere.example is not granted to `http`"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_that_cannot_be_told_is_refused_at_submit() {
    let world = World::start().await;
    for (url, message) in [
        ("https://elsewhere.example/hook", "on_complete: https://elsewhere.example is not granted to `http`"),
        ("hook", "on_complete: `url` is not acceptable: it must be absolute"),
    ] {
        let mut call = world.call("/ok", json!({}));
        call.ties.on_complete = Some(FollowUp::call(url, QueueName::default_queue()));
        let refused = world.refusal(call).await.to_string();
        assert!(refused.starts_with(message), "{refused}");
    }
}
