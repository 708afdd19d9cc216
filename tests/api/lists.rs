//! Lists: by every field that a job can be looked up by.

use serde_json::{Value, json};

use crate::support::Server;

/// The places in `ids` of the jobs that a query lists.
fn listed(server: &Server, ids: &[String], query: &str) -> Vec<usize> {
    let page = server.get(&format!("/v1/jobs?{query}"));
    let jobs = page.json()["jobs"].as_array().unwrap_or_else(|| panic!("{query}: {}", page.text())).clone();
    let mut places: Vec<_> =
        jobs.iter().map(|job| ids.iter().position(|id| job["id"] == **id).expect("one of ours")).collect();
    places.sort_unstable();
    places
}

#[test]
fn f005_jobs_are_queried_by_state_owner_record_queue_and_time_page_by_page() {
    let server = Server::start();
    let mut ids = vec![
        server.run(r#"{"plugin": "echo", "regarding": "invoice/17", "queue": "bulk"}"#),
        server.run(r#"{"plugin": "echo", "handler": "fail", "ordering_key": "k"}"#),
        server
            .submit(r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z", "queue": "mail", "regarding": "invoice/17"}"#),
    ];
    let child = format!(r#"{{"plugin": "echo", "parent": "{}", "tags": ["child"]}}"#, ids[0]);
    ids.push(server.run(&child));
    let groups = server.get("/v1/failures").json();
    let fingerprint = groups["groups"][0]["fingerprint"].as_str().unwrap_or_else(|| panic!("{groups}")).to_owned();
    let cases = [
        ("", vec![0, 1, 2, 3]),
        ("state=waiting,failed", vec![1, 2]),
        ("wait_reason=scheduled", vec![2]),
        ("wait_reason=error,manual", vec![]),
        ("plugin=echo&handler=fail", vec![1]),
        ("queue=mail", vec![2]),
        ("queue=bulk&state=succeeded", vec![0]),
        ("regarding=invoice/17", vec![0, 2]),
        ("regarding=invoice/18", vec![]),
        ("ordering_key=k", vec![1]),
        (&format!("chain={}", ids[0]), vec![3]),
        (&format!("fingerprint={fingerprint}"), vec![1]),
        ("tag=child", vec![3]),
        ("from=2030-01-01T08:00:00Z", vec![0, 1, 2, 3]),
        ("before=2030-01-01T08:00:00Z", vec![]),
        ("schedule=nightly", vec![]),
        (&format!("batch={}", ids[0]), vec![]),
        (&format!("retry_of={}", ids[0]), vec![]),
    ];
    for (query, expected) in cases {
        assert_eq!(listed(&server, &ids, query), expected, "{query}");
    }
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/jobs?regarding=invoice/17&limit=1{cursor}")).json();
        pages.extend(page["jobs"].as_array().expect("jobs").iter().map(|job| job["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages, [json!(ids[2]), json!(ids[0])], "newest first, each once");
}

#[test]
fn f009_states_are_words_and_the_numeric_codes() {
    let server = Server::start();
    let shown = |id: &str| (server.job(id)["state"].clone(), server.job(id)["status_code"].clone());
    let held = server.submit(r#"{"plugin": "echo", "handler": "hold"}"#);
    let running = server.until(&held, "running");
    assert_eq!((&running["state"], &running["status_code"]), (&json!("running"), &json!(20)));
    let waiting = server.submit(r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z"}"#);
    assert_eq!(shown(&waiting), (json!("waiting"), json!(10)));
    server.post(&format!("/v1/jobs/{waiting}/cancel"), "");
    assert_eq!(shown(&waiting), (json!("canceled"), json!(32)));
    assert_eq!(shown(&server.run(r#"{"plugin": "echo"}"#)), (json!("succeeded"), json!(30)));
    assert_eq!(shown(&server.run(r#"{"plugin": "echo", "handler": "fail"}"#)), (json!("failed"), json!(31)));
    server.post("/v1/service/pause", "");
    assert_eq!(shown(&server.submit(r#"{"plugin": "echo"}"#)), (json!("queued"), json!(0)));
}

#[test]
fn f011_a_running_job_names_its_host_and_an_ended_one_does_not() {
    let server = Server::start();
    let id = server.submit(r#"{"plugin": "echo", "handler": "hold"}"#);
    let running = server.until(&id, "running");
    let host = server.get("/v1/service").json()["host_id"].clone();
    assert_eq!(running["host_id"], host);
    assert!(host.is_string());
    let queued = server.submit(r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z"}"#);
    assert_eq!(server.job(&queued)["host_id"], Value::Null);
    server.gate.open();
    let ended = server.until(&id, "succeeded");
    assert_eq!((&ended["state"], &ended["host_id"]), (&json!("succeeded"), &Value::Null));
    assert_eq!(server.get(&format!("/v1/jobs/{id}/attempts")).json()["attempts"][0]["host_id"], host);
}

#[test]
fn f109_views_per_record_and_per_chain_show_exactly_the_related_jobs() {
    let server = Server::start();
    let about = |record: &str| server.run(&format!(r#"{{"plugin": "echo", "regarding": "{record}"}}"#));
    let ids = [about("invoice/1"), about("invoice/2"), about("invoice/1"), about("invoice/11")];
    assert_eq!(listed(&server, &ids, "regarding=invoice/1"), [0, 2]);
    assert_eq!(listed(&server, &ids, "regarding=invoice/11"), [3]);
    let child = |parent: &str| server.run(&format!(r#"{{"plugin": "echo", "parent": "{parent}"}}"#));
    let first = child(&ids[0]);
    let second = child(&first);
    let other = child(&ids[1]);
    let all = [first, second, other];
    assert_eq!(listed(&server, &all, &format!("chain={}", ids[0])), [0, 1]);
    assert_eq!(listed(&server, &all, &format!("chain={}", ids[1])), [2]);
}

#[test]
fn f005_jobs_are_listed_by_type_and_by_who_submitted_them_and_in_either_order() {
    let server = Server::start();
    let ids: Vec<_> = (0..5).map(|_| server.run(r#"{"plugin": "echo"}"#)).collect();
    let batch = server.post("/v1/batches", r#"{"plugin": "echo"}"#).json()["batch"]["id"].clone();
    let batch = batch.as_str().expect("an id").to_owned();
    server.until(&batch, "succeeded");
    let page = |query: &str| server.get(&format!("/v1/jobs?{query}")).json();
    let found = |query: &str| -> Vec<Value> {
        page(query)["jobs"].as_array().expect("jobs").iter().map(|job| job["id"].clone()).collect()
    };
    assert_eq!(found("type=batch"), [json!(batch)]);
    assert_eq!(found("type=1000"), found("type=batch"));
    assert_eq!((found("type=handler").len(), found("type=workflow").len()), (6, 0));
    assert_eq!((found("created_by=api").len(), found("created_by=somebody").len()), (7, 0));
    // The oldest come first, page by page, and the filter counts there, too.
    let first = page("type=handler&sort=oldest&limit=2");
    assert_eq!(first["jobs"][0]["id"], json!(ids[0]));
    let next = first["next"].as_str().expect("there are more").to_owned();
    let rest = found(&format!("type=handler&sort=oldest&limit=200&cursor={next}"));
    let other = server.get(&format!("/v1/jobs?type=handler&cursor={next}")).refusal();
    assert!(other.contains("the cursor of a page in the other order"), "{other}");
    assert_eq!(rest[..3], [json!(ids[2]), json!(ids[3]), json!(ids[4])]);
    assert_eq!(rest.len(), 4);
    let newest: Vec<_> = found("sort=newest");
    assert_eq!(newest, found("sort=oldest").into_iter().rev().collect::<Vec<_>>());
    for (query, message) in [
        ("type=handlr", "there is no type `handlr`; did you mean `handler`?"),
        ("sort=name", "there is no order `name`; there are newest, oldest"),
    ] {
        let refused = server.get(&format!("/v1/jobs?{query}")).refusal();
        assert!(refused.contains(message), "{refused}");
    }
}

#[test]
fn jobs_behind_twenty_thousand_newer_ones_are_found_by_every_filter() {
    let server = Server::start();
    let needle = server.run(r#"{"plugin": "echo", "tags": ["needle"], "name": "The Needle"}"#);
    fill(&server, 1_000..23_000);
    let newest = server.get("/v1/jobs?limit=1").json();
    assert_ne!(newest["jobs"][0]["id"], json!(needle), "others are newer");
    for query in ["tag=needle", "q=needle", "q=the%20NEEDLE", "tag=needle&state=succeeded,failed,running"] {
        let page = server.get(&format!("/v1/jobs?{query}")).json();
        assert_eq!(page["jobs"][0]["id"], json!(needle), "{query}: {page}");
        assert_eq!((&page["next"], page.get("looked_to")), (&Value::Null, None), "all were looked at");
    }
    let some = server.get("/v1/jobs?q=mailer&limit=1").json();
    assert!(some["next"].is_string() && some["looked_to"].is_string(), "{some}");
}

/// Puts jobs into the store that wait for a plug-in which nobody has.
fn fill(server: &Server, sequences: std::ops::Range<u64>) {
    use backroom::domain::change::Change;
    use backroom::domain::id::{JobId, PluginName, Sequence};
    use backroom::domain::job::{JobState, Status, Submission, WaitReason};
    use backroom::store::Store;

    let on = "2030-01-01T08:00:01Z".parse().expect("a time");
    let plugin = PluginName::new("mailer").expect("a name");
    let waiting =
        JobState { status: Status::Waiting, wait_reason: Some(WaitReason::MissingComponent), ..JobState::default() };
    for group in sequences.collect::<Vec<_>>().chunks(2_000) {
        let submit = |sequence: &u64| {
            let submission = Submission::new(JobId::new(on, Sequence(*sequence), 7), plugin.clone(), on);
            Change::Submit(std::sync::Arc::new(submission), Box::new(waiting.clone()))
        };
        server.store.commit(group.iter().map(submit).collect()).wait().expect("there is room");
    }
}
