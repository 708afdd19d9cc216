//! `backroom store backup` of a host that works: what is restored from it answers as the host did.

use std::path::Path;

use serde_json::Value;

use super::host::Host;
use super::program::run_in;

/// What a host answers to a request.
fn get(host: &Host, path: &str) -> String {
    let answer = ureq::get(format!("{}{path}", host.server())).config().http_status_as_error(false).build().call();
    let mut answer = answer.expect("the host answers");
    let status = answer.status();
    let body = answer.body_mut().with_config().limit(64 << 20).read_to_vec().expect("a whole answer");
    format!("{status} {}", String::from_utf8_lossy(&body))
}

fn json(host: &Host, path: &str) -> Value {
    let text = get(host, path);
    serde_json::from_str(text.strip_prefix("200 OK ").unwrap_or_else(|| panic!("{path}: {text}"))).expect("JSON")
}

/// Every list and every show of a host, each with its address.
fn answers(host: &Host) -> Vec<(String, String)> {
    let mut paths: Vec<String> =
        ["/v1/plugins", "/v1/schedules", "/v1/queues", "/v1/counts", "/v1/failures"].map(str::to_owned).into();
    for (list, items, name) in [("/v1/plugins", "plugins", "name"), ("/v1/schedules", "schedules", "name")] {
        let found = json(host, list);
        let found = found[items].as_array().expect("a list");
        paths.extend(found.iter().map(|item| format!("{list}/{}", item[name].as_str().expect("a name"))));
    }
    let mut page = "/v1/jobs?limit=50".to_owned();
    loop {
        let jobs = json(host, &page);
        for job in jobs["jobs"].as_array().expect("a list") {
            let job = format!("/v1/jobs/{}", job["id"].as_str().expect("an id"));
            let parts = ["", "/attempts", "/logs", "/input", "/output", "/explain", "/audit"];
            paths.extend(parts.map(|part| format!("{job}{part}")));
        }
        paths.push(page);
        match jobs["next"].as_str() {
            Some(next) => page = format!("/v1/jobs?limit=50&cursor={next}"),
            None => break,
        }
    }
    paths.into_iter().map(|path| (path.clone(), get(host, &path))).collect()
}

fn submit(host: &Host, args: &[&str]) -> String {
    host.run(&[&["job", "submit"], args].concat()).done().trim().to_owned()
}

fn restored(folder: &Path, file: &str, data: &str) {
    run_in(folder, &["store", "restore", file, "--data", data]).done();
    let verified = run_in(folder, &["store", "verify", "--data", data]).done();
    assert!(verified.contains("everything fits together"), "{verified}");
}

#[test]
fn a_restored_host_answers_as_the_one_that_was_backed_up() {
    let host = Host::start();
    host.upload("echo");
    host.upload("misbehave");
    let folder = host.folder().to_owned();
    let lines: String =
        (0..300).map(|number| format!("{{\"plugin\": \"echo\", \"input\": {{\"n\": {number}}}}}\n")).collect();
    std::fs::write(folder.join("many.ndjson"), lines).expect("it can be written");
    // Under load.
    let saved = std::thread::scope(|threads| {
        let load =
            threads.spawn(|| (0..3).for_each(|_| drop(host.run(&["job", "submit", "--bulk", "many.ndjson"]).done())));
        let saved: Vec<_> = (0..3)
            .map(|number| {
                let file = format!("under-load-{number}.ndjson.zst");
                let said = host.run(&["store", "backup", &file]).done();
                assert!(said.contains(&format!("backroom store restore {file} --data NEW_DIRECTORY")), "{said}");
                file
            })
            .collect();
        load.join().expect("the jobs are taken");
        saved
    });
    saved.iter().for_each(|file| restored(&folder, file, &format!("of-{file}")));

    let large = "y".repeat(5_000);
    let last = submit(&host, &["echo", "--input", &format!("\"{large}\""), "--tag", "large", "--wait"]);
    submit(&host, &["misbehave", "--input", "{\"do\": \"fail\", \"class\": \"business\", \"message\": \"no\"}"]);
    submit(&host, &["echo", "--input", "1", "--at", "2090-01-01T00:00:00Z"]);
    let held = submit(&host, &["echo", "--input", "2", "--at", "2090-01-01T00:00:00Z", "--ordering-key", "order/7"]);
    host.run(&["job", "pause", &held, "--reason", "not yet"]).done();
    submit(&host, &["echo", "--input", "3", "--ordering-key", "order/7", "--idempotency-key", "once"]);
    host.run(&["schedule", "add", "nightly", "--plugin", "echo", "--cron", "0 3 * * *", "--input", "4"]).done();
    host.run(&["queue", "pause", "bulk", "--reason", "a rest"]).done();
    assert!(!last.is_empty());
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(120);
    let is_busy = || {
        let counts = &json(&host, "/v1/counts")["all"];
        counts["succeeded"].as_u64().zip(counts["failed"].as_u64()) != Some((901, 1))
    };
    while is_busy() {
        assert!(std::time::Instant::now() < give_up, "the jobs do not end: {}", get(&host, "/v1/counts"));
    }
    host.run(&["service", "pause"]).done();
    let wanted = answers(&host);
    assert!(wanted.len() > 900 * 7, "{}", wanted.len());
    host.run(&["store", "backup", "still.ndjson.gz"]).done();
    let refused = host.run(&["store", "backup", "still.ndjson.gz"]);
    assert_eq!(refused.code, 2, "{}", refused.whole());

    let other = tempfile::tempdir().expect("a folder can be made");
    let file = folder.join("still.ndjson.gz").display().to_string();
    restored(other.path(), &file, "data");
    let other = Host::start_in(other);
    let found = answers(&other);
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!(found, wanted);
    }
    assert_eq!(found.len(), wanted.len());
    let again = submit(&other, &["echo", "--input", "3", "--ordering-key", "order/7", "--idempotency-key", "once"]);
    assert!(found.iter().any(|(path, _)| *path == format!("/v1/jobs/{again}")), "the key is remembered");
}

#[test]
fn a_host_that_is_not_there_is_said() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let ran = run_in(folder.path(), &["store", "backup", "file", "--server", "http://127.0.0.1:9"]);
    assert_eq!(ran.code, 1, "{}", ran.whole());
    assert!(!folder.path().join("file").exists() && !folder.path().join("file.partial").exists());
}
