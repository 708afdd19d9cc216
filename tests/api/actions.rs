//! Bulk actions and groups of failures.

use serde_json::{Value, json};

use crate::support::Server;

fn act(server: &Server, body: &Value) -> Value {
    let answer = server.post("/v1/jobs/actions", body.to_string());
    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    answer.json()
}

fn numbers(report: &Value) -> (u64, u64, u64) {
    let number = |name: &str| report[name].as_u64().expect("a number");
    (number("matched"), number("changed"), number("refused"))
}

fn states(server: &Server, ids: &[String]) -> Vec<String> {
    ids.iter().map(|id| server.job(id)["state"].as_str().expect("a state").to_owned()).collect()
}

#[test]
fn f108_commands_by_filter_are_previewed_counted_and_told_job_by_job() {
    let server = Server::start();
    server.post("/v1/service/pause", "");
    let tagged = |more: &str| server.submit(&format!(r#"{{"plugin": "echo", "tags": ["x"]{more}}}"#));
    let ids = vec![tagged(""), tagged(r#", "at": "2031-01-01T00:00:00Z""#), tagged(""), tagged("")];
    server.post(&format!("/v1/jobs/{}/cancel", ids[3]), "");
    let other = server.submit(r#"{"plugin": "echo"}"#);

    for (action, until, changed, after) in [
        ("pause", Value::Null, 3, "paused"),
        ("postpone", json!("15m"), 3, "waiting"),
        ("resume", Value::Null, 3, "queued"),
        ("cancel", Value::Null, 3, "canceled"),
    ] {
        let mut body = json!({"action": action, "filter": {"tag": "x"}, "dry_run": true, "reason": "cleaning up"});
        if !until.is_null() {
            body["until"] = until;
        }
        let before = states(&server, &ids);
        let preview = act(&server, &body);
        assert_eq!(numbers(&preview), (4, changed, 4 - changed), "{action}: {preview}");
        assert_eq!(states(&server, &ids), before, "a preview changes nothing");
        body["dry_run"] = false.into();
        let done = act(&server, &body);
        assert_eq!(done, preview, "{action}: what was announced is what is done");
        let result = |id: &String| done["results"].as_array().expect("results").iter().find(|one| one["id"] == **id);
        for (id, before) in ids.iter().zip(&before).take(3) {
            let result = result(id).expect("each has a result");
            assert_eq!((&result["state_before"], &result["state"]), (&json!(before), &json!(after)), "{action}");
        }
        let refused = result(&ids[3]).expect("each has a result");
        assert_eq!(refused["state"], "canceled");
        assert!(refused["error"].as_str().is_some_and(|error| error.contains("a job that is canceled cannot")));
        assert_eq!(states(&server, &ids)[..3], [after, after, after]);
    }
    assert_eq!(server.job(&other)["state"], "queued", "a job that does not match is left alone");
    let rows = server.get(&format!("/v1/jobs/{}/audit", ids[0])).json();
    let actions: Vec<_> = rows["rows"].as_array().expect("rows").iter().map(|row| row["action"].clone()).collect();
    assert_eq!(actions, ["pause", "postpone", "resume", "cancel"]);
    assert_eq!(rows["rows"][3]["reason"], "cleaning up");
    let gone = act(&server, &json!({"action": "delete", "filter": {"tag": "x"}}));
    assert_eq!((numbers(&gone), &gone["results"][0]["state"]), ((4, 4, 0), &Value::Null));
    assert_eq!(server.get("/v1/jobs?tag=x").json()["jobs"], json!([]));
}

#[test]
fn f108_a_call_is_bounded_and_the_next_goes_on() {
    let server = Server::start();
    server.post("/v1/service/pause", "");
    let line = "{\"plugin\":\"echo\",\"tags\":[\"many\"]}\n";
    assert_eq!(server.post("/v1/jobs/bulk", line.repeat(25)).status, 201);
    let mut body = json!({"action": "cancel", "filter": {"tag": "many", "state": "queued"}, "limit": 10});
    let mut calls = Vec::new();
    loop {
        let report = act(&server, &body);
        calls.push(numbers(&report));
        if report["next"].is_null() {
            break;
        }
        body["cursor"] = report["next"].clone();
    }
    assert_eq!(calls.iter().map(|call| call.1).sum::<u64>(), 25, "{calls:?}");
    assert!(calls.iter().all(|call| call.0 <= 10 && call.2 == 0), "{calls:?}");
    assert_eq!(server.get("/v1/jobs?tag=many&state=queued").json()["jobs"], json!([]));
}

#[test]
fn f108_faulty_actions_say_what_there_is() {
    let server = Server::start();
    let cases = [
        (json!({"action": "cancel"}), "the filter is empty, which takes every job"),
        (json!({"action": "cancel", "filter": {}}), "or say \"all\": true"),
        (json!({"action": "cancel", "filter": {"stat": "queued"}}), "expected one of `state`, `wait_reason`, `type`"),
        (json!({"action": "cancel", "filter": {"state": "quued"}}), "did you mean `queued`?"),
        (json!({"action": "cancle", "all": true}), "did you mean `cancel`?"),
        (json!({"action": "destroy", "all": true}), "did you mean"),
        (json!({"action": "postpone", "all": true}), "field `until` is needed"),
        (json!({"action": "cancel", "all": true, "until": "1m"}), "belongs to postpone"),
        (json!({"action": "cancel", "all": true, "filter": {"tag": "x"}}), "not both"),
        (json!({"action": "cancel", "all": true, "limit": 10_001}), "must be from 1 to 10000"),
        (json!({"action": "cancel", "all": true, "cursor": "x"}), "no cursor"),
        (json!({"action": "cancel", "all": true, "dryrun": true}), "did you mean `dry_run`?"),
    ];
    for (body, expected) in cases {
        let refused = server.post("/v1/jobs/actions", body.to_string()).refusal();
        let either = refused.contains(expected) || (expected == "no cursor" && refused.contains("not a cursor"));
        let listed = expected == "did you mean" && refused.contains("there are cancel, pause");
        assert!(either || listed, "{body}: {refused}");
    }
    server.submit(r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z"}"#);
    assert_eq!(numbers(&act(&server, &json!({"action": "cancel", "all": true}))), (1, 1, 0));
}

#[test]
fn failures_are_grouped_and_a_group_is_run_again_and_removed() {
    let server = Server::start();
    assert_eq!(server.get("/v1/failures").json()["groups"], json!([]));
    let ids: Vec<_> = (0..3).map(|_| server.run(r#"{"plugin": "echo", "handler": "fail"}"#)).collect();
    server.run(r#"{"plugin": "echo"}"#);
    let groups = server.get("/v1/failures").json();
    let [group] = groups["groups"].as_array().expect("groups").as_slice() else { panic!("{groups}") };
    let fingerprint = group["fingerprint"].clone();
    let expected = json!({
        "fingerprint": fingerprint, "plugin": "echo", "class": "business", "code": "no-such-customer",
        "shape": "customer <n> does not exist", "count": 3, "oldest": ids[0], "newest": ids[2],
        "message": "customer 17 does not exist",
    });
    assert_eq!(group, &expected);
    let again = act(&server, &json!({"action": "retry", "filter": {"fingerprint": fingerprint}, "dry_run": true}));
    assert_eq!(numbers(&again), (3, 3, 0));
    assert_eq!(server.get("/v1/failures").json()["groups"][0]["count"], 3);
    server.post("/v1/service/pause", "");
    let again = act(&server, &json!({"action": "retry", "filter": {"fingerprint": fingerprint}}));
    assert_eq!(numbers(&again), (3, 3, 0));
    let news: Vec<_> = again["results"].as_array().expect("results").iter().rev().collect();
    let mut order: Vec<_> = news.iter().map(|one| one["retried_as"].as_str().expect("a new job").to_owned()).collect();
    assert_eq!(news.iter().map(|one| one["id"].clone()).collect::<Vec<_>>(), ids);
    let in_order = order.clone();
    order.sort_by_key(|id| id[24..].to_owned());
    assert_eq!(order, in_order, "they keep their order");
    // They are still in the group, but their work is under way: it is not done twice.
    for is_dry_run in [true, false] {
        let twice = json!({"action": "retry", "filter": {"fingerprint": fingerprint}, "dry_run": is_dry_run});
        let twice = act(&server, &twice);
        assert_eq!(numbers(&twice), (3, 0, 3));
        let why = twice["results"][0]["error"].as_str().unwrap_or_default();
        assert_eq!(why, format!("it was run again already, as job {}", order[2]), "{twice}");
    }
    let gone = act(&server, &json!({"action": "delete", "filter": {"fingerprint": fingerprint}}));
    assert_eq!(numbers(&gone), (3, 3, 0));
    assert_eq!(server.get("/v1/failures").json()["groups"], json!([]));
    assert_eq!(server.get("/v1/failures?limit=0").status, 422);
}
