//! Rights are asked where the effect happens: whoever loses his token between the guard and the commit has done nothing and
//! is shown nothing, at whatever address.

use std::io::Write as _;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use backroom::api::ApiState;
use backroom::app::LastToken;
use backroom::domain::access::Caller;
use backroom::domain::id::{Digest, TenantId};
use backroom::store::Store as _;

use crate::holder::{Holder, LATER, base64, guarded, root};
use crate::rights::OPEN;
use crate::support::{Answer, Server, Setup, manifest, wasm};

/// What stands between the guard and the handlers takes the token of `victim`.
fn thief(state: &ApiState, routes: Router) -> Router {
    routes.layer(from_fn_with_state(state.clone(), steal))
}

async fn steal(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().cloned();
    if let Some(name) = caller.and_then(|caller| caller.name).filter(|name| name.as_str() == "victim") {
        let root = Caller::with_the_hosts_secret(Digest::of("root"));
        // Apart from the request: its own warrant would end with the token.
        let host = state.clone();
        let revoked =
            tokio::spawn(
                async move { host.host().tokens.revoke(root, TenantId::DEFAULT, name, LastToken::Kept).await },
            );
        revoked.await.expect("it ends").expect("it is revoked");
    }
    next.run(request).await
}

fn all_but_tokens(server: &Server) -> String {
    let store = &server.store;
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        store.oldest(Default::default(), 1_000),
        store.plugins(),
        store.schedules(),
        store.queues(),
        store.service(),
    )
}

fn tokens(server: &Server) -> Vec<String> {
    server.store.tokens().expect("it reads").into_iter().map(|token| token.name.to_string()).collect()
}

/// A body that the operation takes.
fn body_of(id: &str) -> String {
    match id {
        "jobs_submit" | "jobs_submit_bulk" | "batches_submit" => LATER.to_owned(),
        "jobs_postpone" | "schedules_postpone" => r#"{"until": "1h"}"#.to_owned(),
        "jobs_actions" => r#"{"action": "cancel", "all": true}"#.to_owned(),
        "schedules_put" => r#"{"rule": "FREQ=HOURLY", "plugin": "echo", "input_text": "changed"}"#.to_owned(),
        "schedules_backfill" => r#"{"from": "2029-12-01T00:00:00Z", "to": "2029-12-04T00:00:00Z"}"#.to_owned(),
        "plugins_activate" => r#"{"version": "1.0.0"}"#.to_owned(),
        "tokens_create" => r#"{"name": "heir", "rights": ["admin"]}"#.to_owned(),
        "plugins_upload" => String::from_utf8_lossy(&wasm(9)).into_owned(),
        _ => "{}".to_owned(),
    }
}

/// Puts one of each kind on a host, and says which job and which batch.
fn furnish(root: &Holder<'_>) -> (String, String, String) {
    let done = root.run(r#"{"plugin": "echo"}"#);
    let job = root.submit(LATER);
    let batch = root.post("/v1/batches", LATER).json()["batch"]["id"].as_str().expect("an id").to_owned();
    let put = root.send(
        "PUT",
        "/v1/schedules/echo",
        r#"{"rule": "FREQ=DAILY", "plugin": "echo", "start": "2029-01-01T00:00:00Z"}"#,
    );
    assert_eq!(put.status, 201, "{}", put.text());
    root.admit("echo", "read");
    (done, job, batch)
}

#[test]
fn whoever_loses_his_token_on_the_way_does_and_sees_nothing_at_any_address() {
    let server = Server::with(Setup { token: Some("root"), between: Some(thief), ..Setup::default() });
    let root = root(&server);
    let encoded = base64(&manifest("echo", "1.0.0", ""));
    for version in ["1.0.0", "1.1.0"] {
        let encoded = if version == "1.0.0" { encoded.clone() } else { base64(&manifest("echo", version, "")) };
        let headers = [("Authorization", "Bearer root"), ("Backroom-Manifest", encoded.as_str())];
        let component = wasm(if version == "1.0.0" { 1 } else { 2 });
        let uploaded = server.send("PUT", &format!("/v1/plugins/echo/versions/{version}"), &headers, &component);
        assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    }
    let (done, job, batch) = furnish(&root);
    let document = root.get("/openapi.json").json();
    let mut looked_at = 0;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("an id");
            if OPEN.contains(&id) {
                continue;
            }
            let victim = root.admit("victim", "admin");
            let before = all_but_tokens(&server);
            let named = if path.starts_with("/v1/queues") { "default" } else { "echo" };
            let of_job = match id {
                "jobs_retry" | "jobs_delete" | "jobs_output" | "jobs_logs" => &done,
                _ if path.starts_with("/v1/batches") => &batch,
                _ => &job,
            };
            let address = path.replace("{id}", of_job).replace("{name}", named).replace("{version}", "2.0.0");
            let address = match id {
                "jobs_purge" => format!("{address}?state=succeeded&older_than=0s"),
                "plugins_remove" => format!("{address}?force=true"),
                _ => address,
            };
            let method = method.to_uppercase();
            let answer = victim.send(&method, &address, &body_of(id));
            let what = format!("{method} {address}: {}", answer.text());
            assert_eq!(answer.status, 401, "{what}");
            assert_eq!(answer.json()["code"], "BR0114", "{what}");
            assert_eq!(all_but_tokens(&server), before, "{what}");
            assert_eq!(tokens(&server), ["echo"], "{what}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 50, "{looked_at}");
}

#[test]
fn a_body_that_is_still_on_its_way_when_the_token_goes_is_refused() {
    let server = guarded();
    let root = root(&server);
    let (done, job, batch) = furnish(&root);
    let document = root.get("/openapi.json").json();
    let mut looked_at = 0;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("an id");
            if operation.get("requestBody").is_none() {
                continue;
            }
            let victim = root.admit("victim", "admin");
            let before = all_but_tokens(&server);
            let named = if path.starts_with("/v1/queues") { "default" } else { "echo" };
            let of_job = match id {
                "jobs_retry" => &done,
                _ if path.starts_with("/v1/batches") => &batch,
                _ => &job,
            };
            let address = path.replace("{id}", of_job).replace("{name}", named).replace("{version}", "2.0.0");
            let body = body_of(id);
            let head = format!(
                "{} {address} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                method.to_uppercase(),
                server.address,
                victim.secret,
                body.len()
            );
            let (first, rest) = body.as_bytes().split_at(1);
            let mut sending = server.connect();
            sending.write_all(head.as_bytes()).expect("the head is sent");
            sending.write_all(first).expect("a part is sent");
            // That the host answers him on another connection shows that it knows him; the first one has its head by now.
            assert_eq!(victim.get("/v1/tokens").status, 200);
            assert_eq!(root.send("DELETE", "/v1/tokens/victim", "").status, 204);
            sending.write_all(rest).expect("the rest is sent");
            let answer = Answer::read(sending);
            assert_eq!(answer.status, 401, "{method} {address}: {}", answer.text());
            assert_eq!(all_but_tokens(&server), before, "{method} {address}");
            assert_eq!(tokens(&server), ["echo"], "{method} {address}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 15, "{looked_at}");
}
