//! What holders of tokens may do: which jobs exist for them, which they may steer, and whose payloads they see.

use std::collections::BTreeSet;

use backroom::domain::change::Change;
use backroom::domain::id::{HandlerName, JobId, PluginName, QueueName, Sequence};
use backroom::domain::job::{FollowUp, JobState, Status, Submission, Ties};
use backroom::domain::time::Timestamp;
use backroom::store::Store as _;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::holder::{Holder, JOB, LATER, guarded, root};
use crate::stream::Events;
use crate::support::{Answer, Server};

const FAILING: &str = r#"{"plugin": "echo", "handler": "fail", "input": {"card": "4111"}}"#;

#[test]
fn f006_a_job_that_somebody_may_not_read_does_not_exist_for_him() {
    let server = guarded();
    let root = root(&server);
    let (shop, bank) =
        (root.admit("shop", "submit read:own write:own payload:own"), root.admit("bank", "submit read:own write:own"));
    let (of_shop, of_bank, of_root) = (shop.submit(LATER), bank.submit(LATER), root.run(JOB));
    let rows = || [&of_shop, &of_root].map(|id| root.get(&format!("/v1/jobs/{id}")).text());
    let before = rows();

    assert_eq!(shop.listed("/v1/jobs"), std::slice::from_ref(&of_shop));
    assert_eq!(bank.listed("/v1/jobs?sort=oldest"), std::slice::from_ref(&of_bank));
    assert_eq!(bank.listed("/v1/jobs?owner=shop"), Vec::<String>::new());
    assert_eq!(root.listed("/v1/jobs?owner=shop"), std::slice::from_ref(&of_shop));
    assert_eq!(root.listed("/v1/jobs").len(), 3);

    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    let gone = |answer: Answer, id: &str| {
        assert_eq!(answer.status, 404, "{}", answer.text());
        answer.refusal().replace(id, "ID")
    };
    for foreign in [&of_shop, &of_root] {
        for (method, address) in [
            ("GET", ""),
            ("GET", "/attempts"),
            ("GET", "/logs"),
            ("GET", "/input"),
            ("GET", "/output"),
            ("GET", "/changes"),
            ("GET", "/audit"),
            ("GET", "/explain"),
            ("POST", "/cancel"),
            ("POST", "/pause"),
            ("POST", "/resume"),
            ("POST", "/retry"),
            ("DELETE", ""),
        ] {
            let refused = gone(bank.send(method, &format!("/v1/jobs/{foreign}{address}"), ""), foreign);
            let of_nobody = gone(bank.send(method, &format!("/v1/jobs/{unknown}{address}"), ""), unknown);
            assert_eq!(refused, of_nobody, "{method} {address} tells that there is such a job");
        }
        let until = r#"{"until": "2031-01-01T00:00:00Z"}"#;
        gone(bank.post(&format!("/v1/jobs/{foreign}/postpone"), until), foreign);
        gone(bank.get(&format!("/v1/batches/{foreign}")), foreign);
        gone(bank.post(&format!("/v1/batches/{foreign}/retry-failed"), ""), foreign);
    }
    assert_eq!(rows(), before, "a job has changed");
    assert_eq!(shop.get(&format!("/v1/jobs/{of_shop}")).json()["owner"], "shop");
    assert_eq!(root.get(&format!("/v1/jobs/{of_root}")).json()["owner"], Value::Null);
}

#[test]
fn f006_reading_without_writing_is_refused_with_403() {
    let server = guarded();
    let root = root(&server);
    let (auditor, clerk) = (root.admit("auditor", "read"), root.admit("clerk", "submit read write:own"));
    let id = root.submit(LATER);
    let before = root.get(&format!("/v1/jobs/{id}")).text();
    let mut shown = String::new();
    for (verb, body) in [
        ("cancel", ""),
        ("pause", r#"{"reason": "I like to"}"#),
        ("resume", ""),
        ("postpone", r#"{"until": "1h"}"#),
        ("retry", ""),
    ] {
        for reader in [&auditor, &clerk] {
            let refused = reader.post(&format!("/v1/jobs/{id}/{verb}"), body);
            assert_eq!(refused.status, 403, "{verb}");
            shown.push_str(&format!("{verb}: {}\n", refused.refusal().replace(&id, "ID")));
        }
    }
    assert_eq!(auditor.send("DELETE", &format!("/v1/jobs/{id}"), "").status, 403);
    assert_eq!(auditor.post("/v1/jobs/actions", r#"{"action": "cancel", "all": true}"#).status, 403);
    assert_eq!(auditor.post("/v1/jobs", JOB).status, 403);
    assert_eq!(root.get(&format!("/v1/jobs/{id}")).text(), before, "the row stays as it is");
    assert_eq!(root.get(&format!("/v1/jobs/{id}/audit")).json()["rows"], json!([]));
    assert_snapshot!("no_write", shown);

    // What is his own he may steer, and of the others a filter takes none.
    let own = clerk.submit(LATER);
    let acted = clerk.post("/v1/jobs/actions", r#"{"action": "pause", "all": true, "reason": "holiday"}"#).json();
    assert_eq!((&acted["matched"], &acted["results"][0]["id"]), (&json!(1), &json!(own)));
    let of_shop = root.admit("shop", "submit").submit(LATER);
    let foreign = clerk.post("/v1/jobs/actions", r#"{"action": "pause", "filter": {"owner": "shop"}}"#).json();
    assert_eq!(
        (&foreign["matched"], &root.get(&format!("/v1/jobs/{of_shop}")).json()["state"]),
        (&json!(0), &json!("waiting"))
    );
    assert_eq!(clerk.post(&format!("/v1/jobs/{own}/cancel"), "").status, 200);
    let rows = root.get(&format!("/v1/jobs/{own}/audit")).json()["rows"].clone();
    assert_eq!((&rows[0]["by"], &rows[1]["by"]), (&json!("clerk"), &json!("clerk")), "the name of the token is noted");
    assert_eq!(root.get(&format!("/v1/jobs/{id}")).text(), before);
}

#[test]
fn f007_payloads_are_for_those_who_may_see_them() {
    let server = guarded();
    let root = root(&server);
    let steward = root.admit("steward", "submit read write");
    let (done, failed) = (root.run(JOB), root.run(FAILING));
    let chatty = root.run(r#"{"plugin": "echo", "handler": "chatty"}"#);

    for (id, address) in [(&done, "input"), (&done, "output"), (&failed, "input"), (&chatty, "logs")] {
        let refused = steward.get(&format!("/v1/jobs/{id}/{address}"));
        assert_eq!(refused.status, 403, "{address}: {}", refused.text());
        assert_eq!(root.get(&format!("/v1/jobs/{id}/{address}")).status, 200, "{address}");
    }
    let is_shown = |who: &Holder<'_>, path: &str, text: &str| who.get(path).text().contains(text);
    for (id, secret) in [(&done, "4111"), (&failed, "looked in 3 places")] {
        for path in [
            format!("/v1/jobs/{id}"),
            format!("/v1/jobs/{id}/attempts"),
            format!("/v1/jobs/{id}/explain"),
            "/v1/jobs".to_owned(),
        ] {
            assert!(!is_shown(&steward, &path, secret), "{path} shows {secret}");
        }
    }
    assert!(is_shown(&root, &format!("/v1/jobs/{done}"), "4111"));
    assert!(is_shown(&root, &format!("/v1/jobs/{failed}/attempts"), "looked in 3 places"));
    let view = steward.get(&format!("/v1/jobs/{failed}")).json();
    assert_eq!((&view["state"], &view["error"]["code"]), (&json!("failed"), &json!("no-such-customer")));
    assert_eq!(view["input_bytes"], 16, "that there is a payload is no secret");

    // Nor may it be changed, though the job may be run again as it is.
    let edited = steward.post(&format!("/v1/jobs/{failed}/retry"), r#"{"input": {"card": "0"}}"#);
    assert_eq!(edited.status, 403, "{}", edited.text());
    let again = steward.post(&format!("/v1/jobs/{failed}/retry"), "");
    assert_eq!(again.status, 201, "{}", again.text());
    assert_eq!(again.json()["retry_of"], json!(failed));
    assert_eq!(root.listed(&format!("/v1/jobs?retry_of={failed}")).len(), 1);

    // An answer to a submit shows no more than the job does.
    let waited = steward.post("/v1/jobs?wait=20", JOB);
    assert_eq!((waited.status, waited.json()["state"].clone()), (201, json!("succeeded")));
    assert!(!waited.text().contains("4111"), "{}", waited.text());
}

#[test]
fn f007_streams_tell_no_more_than_pages_do() {
    let server = guarded();
    let root = root(&server);
    let (shop, steward) = (root.admit("shop", "submit read:own payload:own"), root.admit("steward", "read"));
    let done = root.run(JOB);
    let mut changes = Events::open_as(&server, &format!("/v1/jobs/{done}/changes"), &steward.secret);
    let told = changes.next_job();
    assert_eq!(told["state"], "succeeded");
    assert_eq!(told["output"], Value::Null);

    let mut own = Events::open_as(&server, "/v1/stream", &shop.secret);
    let mut all = Events::open_as(&server, "/v1/stream", &steward.secret);
    let (foreign, mine) = (root.run(JOB), shop.run(JOB));
    assert_eq!(own.next_job()["id"], json!(mine), "it tells of a job of somebody else");
    let mut unseen = BTreeSet::from([foreign, mine]);
    while !unseen.is_empty() {
        let view = all.next_job();
        assert_eq!(view["output"], Value::Null);
        unseen.remove(view["id"].as_str().expect("an id"));
    }

    // Who has lost his token is told nothing any more, not even what he waited for.
    let waits = shop.submit(LATER);
    let mut changes = Events::open_as(&server, &format!("/v1/jobs/{waits}/changes"), &shop.secret);
    assert_eq!(changes.next_job()["state"], "waiting");
    assert_eq!(root.send("DELETE", "/v1/tokens/shop", "").status, 204);
    root.admit("shop", "submit read:own payload:own");
    root.post(&format!("/v1/jobs/{waits}/cancel"), "");
    let told = changes.read_to_the_end() + &own.read_to_the_end();
    assert!(!told.contains("canceled"), "{told}");
}

#[test]
fn jobs_that_somebody_may_not_see_cannot_be_named_or_met() {
    let server = guarded();
    let root = root(&server);
    let (shop, bank) =
        (root.admit("shop", "submit read:own write:own keys:all"), root.admit("bank", "submit read:own keys:all"));
    let clerk = root.admit("clerk", "submit read write:own");
    let of_shop = shop.submit(r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z", "dedup_key": "k"}"#);
    let batch = shop.post("/v1/batches", LATER).json()["batch"]["id"].as_str().expect("an id").to_owned();

    let mut shown = String::new();
    for (field, value) in [("after", json!([of_shop])), ("parent", json!(of_shop)), ("batch", json!(batch))] {
        let mut body = json!({ "plugin": "echo" });
        body[field] = value;
        let refused = bank.post("/v1/jobs", &body.to_string());
        assert_eq!(refused.status, 422, "{field}");
        let line = bank.post("/v1/jobs/bulk", &body.to_string());
        assert_eq!(line.status, 422, "{field}");
        shown.push_str(&format!("{}\n{}\n", refused.refusal(), line.refusal()));
    }
    let joined = clerk.post("/v1/jobs", &json!({ "plugin": "echo", "batch": batch }).to_string());
    assert_eq!(joined.status, 403, "{}", joined.text());
    shown.push_str(&format!("{}\n", joined.refusal()));
    let met = bank.post("/v1/jobs", r#"{"plugin": "echo", "dedup_key": "k"}"#);
    assert_eq!(met.status, 409, "{}", met.text());
    shown.push_str(&met.refusal());
    insta::with_settings!({filters => vec![(r"[0-9a-f]{8}-[0-9a-f-]{27}", "[id]")]}, {
        assert_snapshot!("not_to_be_named", shown);
    });
    assert_eq!(bank.listed("/v1/jobs"), Vec::<String>::new(), "nothing was taken");
    assert_eq!(shop.post("/v1/jobs", r#"{"plugin": "echo", "dedup_key": "k"}"#).json()["id"], json!(of_shop));
}

#[test]
fn idempotency_keys_of_one_holder_are_not_those_of_another() {
    let server = guarded();
    let root = root(&server);
    let (shop, bank) = (root.admit("shop", "submit read:own"), root.admit("bank", "submit read:own"));
    let key = [("Idempotency-Key", "order-17")];
    let id = |who: &Holder<'_>, body: &str| {
        let answer = who.send_with("POST", "/v1/jobs", &key, body);
        (answer.status, answer.json()["id"].clone())
    };
    let (first, of_shop) = id(&shop, LATER);
    assert_eq!((first, id(&shop, LATER)), (201, (200, of_shop.clone())));
    let (of_another, of_bank) = id(&bank, LATER);
    assert_eq!(of_another, 201);
    assert_ne!(of_bank, of_shop);
    assert_eq!(id(&shop, JOB).0, 422, "another request under the same key");
    assert_eq!(id(&root, JOB).0, 201);
}

#[test]
fn what_follows_from_a_job_belongs_to_its_owner() {
    let server = guarded();
    let root = root(&server);
    let shop = root.admit("shop", "submit read:own write:own");
    let failed = shop.run(r#"{"plugin": "echo", "handler": "fail", "on_complete": {"plugin": "echo"}}"#);
    let again = root.post(&format!("/v1/jobs/{failed}/retry"), "").json();
    assert_eq!((&again["owner"], &again["created_by"]), (&json!("shop"), &json!("api")));
    let follow_ups = shop.listed(&format!("/v1/jobs?chain={failed}"));
    assert!(follow_ups.len() >= 2, "the retry and what followed: {follow_ups:?}");
    let lines = format!("{}\n{FAILING}", r#"{"plugin": "echo"}"#);
    let batch = shop.post("/v1/batches", &lines).json()["batch"]["id"].as_str().expect("an id").to_owned();
    Events::open_as(&server, &format!("/v1/jobs/{batch}/changes"), &shop.secret).until("failed");
    let retried = root.post(&format!("/v1/batches/{batch}/retry-failed"), "").json();
    assert_eq!(retried["batch"]["owner"], "shop");
    assert_eq!(shop.listed(&format!("/v1/jobs?batch={}", retried["batch"]["id"].as_str().expect("an id"))).len(), 1);
}

#[test]
fn f007_an_on_complete_url_and_the_message_of_a_call_name_the_origin_only() {
    let server = guarded();
    let root = root(&server);
    let steward = root.admit("steward", "read");
    let calls = r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z", "on_complete": {"url": "https://hooks.example.com/T/secret?k=1"}}"#;
    let refused = root.post("/v1/jobs", calls);
    // What may be called is granted by the settings, which this host does not have: put the job there.
    assert_eq!(refused.status, 422, "{}", refused.text());
    let on_complete = FollowUp {
        plugin: PluginName::new("http").expect("a name"),
        handler: HandlerName::default_handle(),
        queue: QueueName::default_queue(),
        url: Some("https://hooks.example.com/T/secret?k=1".to_owned()),
    };
    let created = Timestamp::from_millis(1_893_484_800_000);
    let id = JobId::new(created, Sequence(9_000), 1);
    let plugin = PluginName::new("echo").expect("a name");
    let ties = Ties { on_complete: Some(on_complete), ..Ties::default() };
    let submission = Submission { ties: Some(ties.into()), ..Submission::new(id, plugin, created) };
    let state = JobState { status: Status::Paused, ..JobState::default() };
    server.store.commit(vec![Change::Submit(submission.into(), Box::new(state))]).wait().expect("it is written");
    let url = |who: &Holder<'_>| who.get(&format!("/v1/jobs/{id}")).json()["on_complete"]["url"].clone();
    assert_eq!(url(&steward), "https://hooks.example.com");
    assert_eq!(url(&root), "https://hooks.example.com/T/secret?k=1");
}

/// Addresses that tell of no single job, for every holder of a token.
const TOLD_TO_ALL: &[&str] =
    &["plugins_list", "plugins_show", "queues_list", "service_show", "service_counts", "health_metrics"];

/// Addresses that need no token.
pub(crate) const OPEN: &[&str] = &["health_alive", "health_ready", "openapi_show", "errors_show", "errors_list"];

#[test]
fn nothing_is_open_that_is_not_meant_to_be() {
    let server = guarded();
    let root = root(&server);
    // Somebody who may only submit: all that he is let into is in the lists above.
    let guest = root.admit("guest", "submit");
    let job = root.submit(LATER);
    let batch = root.post("/v1/batches", LATER).json()["batch"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(root.send("PUT", "/v1/schedules/echo", r#"{"rule": "FREQ=DAILY", "plugin": "echo"}"#).status, 201);
    root.admit("echo", "read");
    let document = root.get("/openapi.json").json();
    let mut let_in = BTreeSet::new();
    let mut looked_at = 0;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("an id");
            let named = if path.starts_with("/v1/queues") { "default" } else { "echo" };
            let of_job = if path.starts_with("/v1/batches") { &batch } else { &job };
            let address = path.replace("{id}", of_job).replace("{name}", named);
            let address = address.replace("{version}", "2.0.0").replace("{code}", "BR0101");
            let body = match id {
                "jobs_postpone" | "schedules_postpone" => r#"{"until": "1h"}"#,
                "jobs_actions" => r#"{"action": "cancel", "all": true}"#,
                _ => "",
            };
            let method = method.to_uppercase();
            let (answer, bare) =
                (guest.send(&method, &address, body), server.send(&method, &address, &[], body.as_bytes()));
            looked_at += 1;
            let what = format!("{method} {address}");
            assert_eq!(bare.status != 401, OPEN.contains(&id), "{what} without a token: {}", bare.status);
            match answer.status {
                // For somebody who may not read it there is no such job; there is one for others, as the next look shows.
                404 => assert!(path.contains("{id}") && path.starts_with("/v1/"), "{what}: {}", answer.text()),
                403 => assert_eq!(answer.json()["code"], "BR0119", "{what}"),
                _ => drop(let_in.insert(id.to_owned())),
            }
        }
    }
    assert!(looked_at > 50, "{looked_at}");
    let submits = ["jobs_submit", "jobs_submit_bulk", "batches_submit"];
    let meant: BTreeSet<_> = TOLD_TO_ALL.iter().chain(OPEN).chain(&submits).map(|id| (*id).to_owned()).collect();
    assert_eq!(let_in, meant);
    // All of it is still there, and as it was.
    assert_eq!(root.get(&format!("/v1/jobs/{job}")).json()["revision"], 0);
    assert_eq!(root.get(&format!("/v1/batches/{batch}")).json()["batch"]["state"], "waiting");
    assert_eq!(root.get("/v1/plugins/echo").json()["enabled"], true);
    assert_eq!(root.get("/v1/schedules/echo").json()["state"], "active");
    assert_eq!(root.get("/v1/tokens").json()["tokens"].as_array().map(Vec::len), Some(2));
}

#[test]
fn f007_schedules_show_to_few_what_their_jobs_are_given() {
    let server = guarded();
    let root = root(&server);
    let schedule = r#"{"rule": "FREQ=DAILY", "plugin": "echo", "input_text": "4111"}"#;
    let (reader, clerk) = (root.admit("reader", "read"), root.admit("clerk", "read:own submit"));
    assert_eq!(reader.send("PUT", "/v1/schedules/nightly", schedule).status, 403);
    let put = root.send("PUT", "/v1/schedules/nightly", schedule);
    assert_eq!(put.status, 201, "{}", put.text());
    // Only commands take arguments, which the plug-ins of this host are not: put some there.
    let mut kept = server.store.schedules().expect("it reads").remove(0);
    kept.target.args = vec!["--key=4111".to_owned()];
    kept.target.env = vec![("KEY".to_owned(), "4111".to_owned())];
    kept.revision += 1;
    server.store.commit(vec![Change::put(kept)]).wait().expect("it is written");
    for path in ["/v1/schedules", "/v1/schedules/nightly"] {
        let shown = reader.get(path);
        assert!(shown.status == 200 && !shown.text().contains("4111"), "{}", shown.text());
        assert!(root.get(path).text().contains("--key=4111"));
        assert_eq!(clerk.get(path).status, 403);
    }
    assert_eq!(reader.post("/v1/schedules/nightly/run", "").status, 403);
    let made = root.post("/v1/schedules/nightly/run", "").json();
    assert_eq!(made["owner"], Value::Null, "the jobs of schedules are nobody's own");
}

#[test]
fn keys_of_one_holder_are_not_those_of_another() {
    let server = guarded();
    let root = root(&server);
    let (shop, bank) = (root.admit("shop", "submit read:own write:own"), root.admit("bank", "submit read:own"));
    let desk = root.admit("desk", "submit read keys:all");
    let body = r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z", "dedup_key": "d", "ordering_key": "k", "regarding": "order/1"}"#;
    let of = [&shop, &bank, &root].map(|who| who.submit(body));
    assert_eq!(of.iter().collect::<BTreeSet<_>>().len(), 3, "each has a dedup key of his own");
    // Whoever shares the keys of the host meets what it has.
    assert_eq!(desk.post("/v1/jobs", body).json()["id"], json!(of[2]));
    let show = |who: &Holder<'_>, id: &str| who.get(&format!("/v1/jobs/{id}")).json();
    assert_eq!(show(&shop, &of[0])["key_space"], "shop");
    assert_eq!((&show(&shop, &of[0])["ordering_key"], &show(&root, &of[2])["key_space"]), (&json!("k"), &Value::Null));
    // An order of one's own holds up nobody else, and is explained by its space.
    let next = |who: &Holder<'_>| who.submit(r#"{"plugin": "echo", "ordering_key": "k"}"#);
    let (of_shop, of_root) = (next(&shop), next(&root));
    let blocked = |id: &str| show(&root, id)["blocked_by"].clone();
    assert_eq!((blocked(&of_shop), blocked(&of_root)), (json!([of[0]]), json!([of[2]])));
    let why = |id: &str| root.get(&format!("/v1/jobs/{id}/explain")).text();
    assert!(why(&of_shop).contains("the ordering key `k` of `shop`"), "{}", why(&of_shop));
    assert!(why(&of_root).contains("the ordering key `k` have not ended"), "{}", why(&of_root));
    // A filter means the keys of whoever asks, and whoever may read all jobs may ask for those of others.
    for filter in ["ordering_key=k", "regarding=order/1"] {
        let listed = |who: &Holder<'_>, more: &str| who.listed(&format!("/v1/jobs?{filter}{more}"));
        assert!(listed(&shop, "").contains(&of[0]) && !listed(&shop, "").contains(&of[2]));
        assert!(listed(&root, "").contains(&of[2]) && !listed(&root, "").contains(&of[0]));
        assert!(listed(&desk, "&key_space=shop").contains(&of[0]));
        assert_eq!(bank.get(&format!("/v1/jobs?{filter}&key_space=shop")).status, 422);
    }
    let forged = json!({"plugin": "echo", "ordering_key": "shop\nk"}).to_string();
    assert_eq!(bank.post("/v1/jobs", &forged).status, 422, "nobody writes himself into the space of another");
    // A retry stays in the space of the job, whoever asks for it.
    let failed = shop.run(r#"{"plugin": "echo", "handler": "fail", "dedup_key": "e"}"#);
    let again = root.post(&format!("/v1/jobs/{failed}/retry"), "").json();
    assert_eq!((&again["dedup_key"], &again["key_space"]), (&json!("e"), &json!("shop")));
}

#[test]
fn the_first_token_moves_no_key() {
    let server = Server::start();
    let body = r#"{"plugin": "echo", "at": "2031-01-01T00:00:00Z", "dedup_key": "d"}"#;
    let before = server.submit(body);
    let made = server.post("/v1/tokens", r#"{"name": "root", "rights": ["admin"]}"#).json();
    let root = Holder { server: &server, secret: made["secret"].as_str().expect("a secret").to_owned() };
    assert_eq!(root.post("/v1/jobs", body).json()["id"], json!(before));
    let shop = root.admit("shop", "submit read:own");
    assert_ne!(shop.submit(body), before);
}
