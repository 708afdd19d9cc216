//! Steering jobs from the command line, one by one and by filter, against a real host and real plug-ins.

use super::host::Host;
use super::program::run_with;

fn submit(host: &Host, args: &[&str]) -> String {
    host.run(&[&["job", "submit"], args].concat()).done().trim().to_owned()
}

fn state(host: &Host, id: &str) -> String {
    host.json(&["job", "show", id])["state"].as_str().expect("a state").to_owned()
}

/// Looks at a job until its handler runs.
fn until_running(host: &Host, id: &str) {
    let left_queue = std::iter::repeat_with(|| state(host, id)).find(|state| state != "queued");
    assert_eq!(left_queue.as_deref(), Some("running"));
}

#[test]
fn f014_a_handler_that_ignores_a_cancel_is_stopped_within_the_grace() {
    let host = Host::start();
    host.upload("misbehave");
    let id = submit(&host, &["misbehave", "--input", "{\"do\": \"sleep\", \"ms\": 25000}"]);
    until_running(&host, &id);
    let canceled = host.run(&["job", "cancel", &id, "--reason", "enough"]).done();
    assert_eq!(canceled, format!("job {id} is canceling\n"));
    let watched = host.run(&["job", "watch", &id]);
    assert_eq!(watched.code, 1, "{}", watched.whole());
    let job = host.json(&["job", "show", &id]);
    assert_eq!(job["state"], "canceled");
    let wall = job["usage"]["wall_ms"].as_f64().expect("a number");
    assert!(wall < 15_000.0, "it was stopped after {wall} ms only");
    let audit = host.run(&["job", "audit", &id]).done();
    assert!(audit.contains("cancel") && audit.contains("enough"), "{audit}");
}

#[test]
fn f015_a_paused_handler_goes_on_from_its_checkpoint() {
    let host = Host::start();
    host.upload("misbehave");
    let id = submit(&host, &["misbehave", "--input", "{\"do\": \"sleep-politely\", \"ms\": 5000}"]);
    until_running(&host, &id);
    host.run(&["job", "pause", &id]).done();
    while state(&host, &id) == "pausing" {}
    assert_eq!(state(&host, &id), "paused");
    assert!(host.run(&["job", "explain", &id]).done().contains("a person has paused it"));
    assert_eq!(host.run(&["job", "resume", &id]).done(), format!("job {id} is queued\n"));
    host.run(&["job", "watch", &id]).done();
    let job = host.json(&["job", "show", &id]);
    assert_eq!(
        (job["state"].as_str(), job["runs"].as_u64(), job["attempt"].as_u64()),
        (Some("succeeded"), Some(2), Some(1))
    );
}

#[test]
fn f043_a_job_in_steps_goes_on_at_the_last_that_was_kept_when_its_host_is_killed() {
    let mut host = Host::start();
    host.upload("misbehave");
    let id = submit(&host, &["misbehave", "--input", "{\"do\": \"count-slices\", \"times\": 6, \"ms\": 1000}"]);
    // Four steps are kept, and the fifth is under way.
    let has_come_there = |job: &serde_json::Value| job["runs"].as_u64() >= Some(5) || job["state"] == "succeeded";
    std::iter::repeat_with(|| host.json(&["job", "show", &id])).find(has_come_there).expect("it gets there");
    host.restart();
    host.run(&["job", "watch", &id]).done();
    let attempts = host.json(&["job", "attempts", &id]);
    let ends: Vec<_> = attempts["attempts"].as_array().expect("runs").iter().map(|run| run["end"].clone()).collect();
    let rows = |end: &str| ends.iter().filter(|found| *found == end).count();
    // On a slow machine the kill may fall between two steps, and no run is lost.
    assert!(rows("lease-lost") <= 1 && ends.len() == 6 + rows("lease-lost"), "{ends:?}");
    assert_eq!((rows("yielded"), rows("succeeded")), (5, 1), "a step has a row of its own, once: {ends:?}");
    let logs = host.run(&["job", "logs", &id]).done();
    for step in 1..=6 {
        assert_eq!(logs.matches(&format!("slice {step} is done")).count(), 1, "{logs}");
    }
    assert_eq!(host.run(&["job", "output", &id]).done(), "{\"slices\":6}");
}

#[test]
fn jobs_are_steered_by_filter_after_a_preview() {
    let host = Host::start();
    host.upload("echo");
    host.run(&["queue", "pause", "bulk"]).done();
    let ids: Vec<_> = (0..3).map(|_| submit(&host, &["echo", "--queue", "bulk", "--tag", "many"])).collect();
    let explained = host.run(&["job", "explain", &ids[2]]).done();
    assert!(explained.contains("has paused queue bulk (queue-paused)"), "{explained}");
    assert!(explained.contains("2 jobs of plug-in echo in queue bulk start before it"), "{explained}");

    let preview = host.run(&["job", "cancel", "--where", "tag=many", "--where", "state=queued", "--dry-run"]).done();
    assert_eq!(preview, "cancel: 3 jobs match (3 queued); 3 would change, 0 cannot\n");
    let unsure = host.run(&["job", "cancel", "--where", "tag=many"]);
    assert_eq!(unsure.code, 2, "{}", unsure.whole());
    assert!(unsure.err.contains("nothing was changed: this was only the preview"), "{}", unsure.whole());
    assert!(ids.iter().all(|id| state(&host, id) == "queued"));
    let piped = run_with(host.folder(), &["job", "cancel", "--where", "tag=many", "--server", host.server()], b"y\n");
    assert_eq!(piped.code, 2, "a pipe is nobody to ask: {}", piped.whole());

    let put_off = host.run(&["job", "postpone", "--where", "tag=many", "--until", "15m", "--yes"]).done();
    assert_eq!(put_off, "postpone: 3 jobs match (3 queued); 3 changed, 0 were left as they are\n");
    let listed = host.json(&["job", "list", "--wait-reason", "postponed", "--queue", "bulk"]);
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(3));
    let done = host.json(&["job", "cancel", "--where", "tag=many", "--yes", "--reason", "a test"]);
    assert_eq!((done["matched"].as_u64(), done["changed"].as_u64()), (Some(3), Some(3)));
    let again = host.run(&["job", "cancel", "--where", "tag=many", "--yes"]).done();
    assert!(again.starts_with("cancel: 3 jobs match (3 canceled); 0 changed, 3 were left as they are\n"), "{again}");

    let typo = host.run(&["job", "cancel", "--where", "stat=queued", "--yes"]);
    assert!(typo.code == 2 && typo.err.contains("expected one of `state`, `wait_reason`"), "{}", typo.whole());
    assert_eq!(host.run(&["job", "cancel"]).code, 2, "neither ids nor a filter");
    assert_eq!(host.run(&["job", "cancel", &ids[0], "--where", "tag=many"]).code, 2, "both");
}

#[test]
fn a_job_is_put_off_resumed_and_run_again() {
    let host = Host::start();
    host.upload("echo");
    host.run(&["plugin", "pause", "echo"]).done();
    assert!(host.run(&["plugin", "list"]).done().contains("paused"));
    let id = submit(&host, &["echo", "--text", "one", "--ordering-key", "k", "--regarding", "invoice/1"]);
    let put_off = host.run(&["job", "postpone", &id, "--until", "15m", "--reason", "not yet"]).done();
    assert!(put_off.starts_with(&format!("job {id} is waiting until 20")), "{put_off}");
    host.run(&["job", "resume", &id]).done();
    assert!(host.run(&["service", "status"]).done().contains("plug-in echo"));
    assert_eq!(host.run(&["plugin", "resume", "echo"]).done(), "echo runs version 0.1.0\n");
    assert_eq!(host.run(&["job", "watch", &id]).done(), "one");
    let new = host.run(&["job", "retry", &id, "--text", "two"]).done();
    assert_eq!(host.run(&["job", "watch", new.trim()]).done(), "two");
    let shown = host.json(&["job", "show", new.trim()]);
    assert_eq!((shown["retry_of"].as_str(), shown["regarding"].as_str()), (Some(id.as_str()), Some("invoice/1")));
    let audit = host.json(&["job", "audit", &id]);
    assert_eq!(
        (audit["rows"][0]["action"].as_str(), audit["rows"][0]["reason"].as_str()),
        (Some("postpone"), Some("not yet"))
    );
    assert_eq!(host.run(&["job", "failures"]).done(), "no job has failed\n");
    let queues = host.run(&["queue", "list"]).done();
    assert!(queues.contains("default") && queues.contains("maintenance"), "{queues}");
    let refused = host.run(&["job", "pause", &id]);
    assert_eq!(refused.code, 1, "{}", refused.whole());
    assert!(refused.err.contains("error[BR0110]"), "{}", refused.whole());
}

#[test]
fn a_batch_is_submitted_watched_and_its_failed_jobs_run_again() {
    let host = Host::start();
    host.upload("misbehave");
    let fails = |message: &str| {
        format!(r#"{{"plugin": "misbehave", "input": {{"do": "fail", "class": "business", "message": "{message}"}}}}"#)
    };
    let good = r#"{"plugin": "misbehave", "input": {"do": "output", "bytes": 3}}"#;
    let lines = [good.to_owned(), fails("one"), fails("two")].join("\n");
    std::fs::write(host.folder().join("jobs.ndjson"), lines).expect("it can be written");
    let ended = host.run(&["batch", "submit", "jobs.ndjson", "--name", "letters", "--wait"]);
    assert_eq!(ended.code, 1, "{}", ended.whole());
    assert!(ended.out.contains("3 of 3 jobs have ended\n1 succeeded, 2 failed, 0 canceled\n"), "{}", ended.whole());
    let submit = ["batch", "submit", "jobs.ndjson", "--name", "letters", "--idempotency-key", "of-today"];
    let once = host.run(&submit).done();
    let again = host.run(&submit);
    let told = format!("an earlier submit with the idempotency key `of-today` made batch {}", once.trim());
    assert!(again.err.contains(&told), "{}", again.whole());
    assert_eq!(again.done(), once, "the same key made two batches");
    host.run(&["job", "watch", once.trim()]);
    let batch = host.json(&["job", "list", "--state", "failed", "--limit", "1"])["jobs"][0]["batch"].clone();
    let batch = batch.as_str().expect("the failed job belongs to the batch");

    let again = host.run(&["batch", "retry-failed", batch, "--reason", "mended"]).done();
    host.run(&["job", "watch", again.trim()]);
    let listed = host.run(&["batch", "list"]).done();
    assert_eq!(listed.matches("letters").count(), 3, "{listed}");
    let shown = host.json(&["batch", "show", again.trim()]);
    assert_eq!((shown["jobs"]["total"].as_u64(), shown["jobs"]["failed"].as_u64()), (Some(2), Some(2)));
    let refused = host.run(&["batch", "cancel", batch]);
    assert!(refused.code == 1 && refused.err.contains("error[BR0110]"), "{}", refused.whole());
    assert!(host.run(&["batch", "submit", "elsewhere.ndjson"]).err.contains("`elsewhere.ndjson` cannot be read"));
}

#[test]
fn one_id_that_is_refused_keeps_no_other_from_its_command() {
    let host = Host::start();
    host.upload("echo");
    let paused = host.run(&["queue", "pause", "default", "--reason", "the database is down", "--until", "1h"]).done();
    assert!(paused.starts_with("queue default is paused until 20"), "{paused}");
    assert!(paused.ends_with(": the database is down\n"), "{paused}");
    assert!(host.run(&["queue", "list"]).done().contains("the database is down"));
    let ids = [submit(&host, &["echo"]), submit(&host, &["echo"])];
    let nobody = "01912345-0000-7000-8000-000000000000";
    let ran = host.run(&["job", "cancel", &ids[0], nobody, &ids[1]]);
    assert_eq!(ran.code, 1, "{}", ran.whole());
    assert!(ran.err.contains("1 of 3 jobs were left as they are"), "{}", ran.whole());
    assert!(ran.err.contains(&format!("job {nobody}: there is no job {nobody}")), "{}", ran.whole());
    assert!(ids.iter().all(|id| state(&host, id) == "canceled"));
}

#[test]
fn a_pause_of_the_service_is_shown_outlives_a_restart_and_ends_by_itself() {
    let mut host = Host::start();
    host.upload("echo");
    let reason = "the database moves";
    let paused = host.run(&["service", "pause", "--until", "1h", "--reason", reason]).done();
    assert!(paused.starts_with("the host is paused until 20"), "{paused}");
    assert!(paused.contains(" by api: the database moves; 0 attempts are under way"), "{paused}");
    host.restart_in_order();
    let status = host.run(&["service", "status"]).done();
    assert!(status.contains("paused until 20") && status.contains(reason), "{status}");
    let id = submit(&host, &["echo", "--text", "at last"]);
    assert!(host.run(&["job", "explain", &id]).done().contains("has paused the whole service: the database moves"));
    host.run(&["service", "pause", "--until", "1s"]).done();
    assert_eq!(host.run(&["job", "watch", &id]).done(), "at last");
    assert_eq!(host.json(&["service", "status"])["state"], "running");
}

#[test]
fn f104_a_stop_lets_what_runs_end_loses_nothing_and_a_start_goes_on() {
    let mut host = Host::start_with("[worker]\nconcurrency = 1\n");
    host.upload("misbehave");
    let sleeps = submit(&host, &["misbehave", "--input", "{\"do\": \"sleep\", \"ms\": 5000}"]);
    until_running(&host, &sleeps);
    let waits: Vec<_> =
        (0..3).map(|_| submit(&host, &["misbehave", "--input", "{\"do\": \"output\", \"bytes\": 3}"])).collect();
    host.restart_in_order();
    let ended = host.json(&["job", "show", &sleeps]);
    assert_eq!((ended["state"].as_str(), ended["runs"].as_u64()), (Some("succeeded"), Some(1)), "{ended}");
    for id in &waits {
        assert_eq!(host.run(&["job", "watch", id]).done(), "xxx");
        assert_eq!(host.json(&["job", "show", id])["attempt"], 1, "one that was claimed ahead was given back");
    }
}
