//! Whoever hangs up leaves the work that was begun for him behind: what it takes up is still his.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use backroom::api::ApiState;
use backroom::store::memory::Reading;
use parking_lot::Mutex;

use crate::holder::{Holder, JOB, root};
use crate::latch::Latch;
use crate::shares::small_with;
use crate::support::{PATIENCE, Server};

/// Who hears of requests that nobody waits for any more, by the number of the test.
static GONE: [OnceLock<Mutex<Sender<()>>>; 2] = [const { OnceLock::new() }; 2];

/// Tells of a request that is dropped before it is answered.
struct Asked<const TEST: usize> {
    is_answered: bool,
}

impl<const TEST: usize> Drop for Asked<TEST> {
    fn drop(&mut self) {
        if !self.is_answered {
            GONE[TEST].get().expect("it is set before the host starts").lock().send(()).expect("the test listens");
        }
    }
}

fn noticed<const TEST: usize>(_: &ApiState, routes: Router) -> Router {
    routes.layer(from_fn(async |request: Request, next: Next| {
        let mut asked = Asked::<TEST> { is_answered: false };
        let answer = next.run(request).await;
        asked.is_answered = true;
        answer
    }))
}

fn noticing<const TEST: usize>() -> (Server, Receiver<()>) {
    let (gone, heard) = channel();
    assert!(GONE[TEST].set(Mutex::new(gone)).is_ok(), "each test has its own");
    (small_with(Some(noticed::<TEST>)), heard)
}

/// Sends a whole request.
fn asked(who: &Holder<'_>, request: &str, body: &str) -> TcpStream {
    let mut connection = who.server.connect();
    let (address, secret, length) = (who.server.address, &who.secret, body.len());
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {secret}\r\nContent-Length: {length}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).expect("it listens");
    connection.write_all(body.as_bytes()).expect("it listens");
    connection
}

/// Hangs up, and waits until the host has noticed.
fn hang_up(connections: Vec<TcpStream>, gone: &Receiver<()>) {
    let count = connections.len();
    drop(connections);
    (0..count).for_each(|_| gone.recv_timeout(PATIENCE).expect("the host notices"));
}

/// Asks until he is not told that he has too much under way.
fn until_there_is_room(who: &Holder<'_>, body: &str) {
    for _ in 0..10_000 {
        let answer = who.post("/v1/jobs/bulk", body);
        if answer.json()["code"] != "BR0133" {
            return assert_eq!(answer.status, 201, "{}", answer.text());
        }
    }
    panic!("his places are lost for ever");
}

#[test]
fn requests_that_nobody_waits_for_count_until_their_work_is_done() {
    let (server, gone) = noticing::<0>();
    let root = root(&server);
    let shop = root.admit("shop", "submit read:own write:own");
    let id = root.run(JOB);
    let latch = Arc::new(Latch::default());
    let held = Arc::clone(&latch);
    server.store.watch_reads(move |reading| {
        if reading == Reading::Jobs {
            held.pass();
        }
    });
    let count = r#"{"action": "cancel", "filter": {}, "all": true, "dry_run": true}"#;
    let mut under_way: Vec<_> = (0..2).map(|_| asked(&shop, "POST /v1/jobs/actions", count)).collect();
    under_way.extend((0..6).map(|_| asked(&shop, "GET /v1/jobs", "")));
    latch.until(8);
    hang_up(under_way, &gone);
    let refused = shop.post("/v1/jobs/bulk", JOB);
    assert_eq!((refused.status, &refused.json()["code"]), (429, &"BR0133".into()), "{}", refused.text());
    assert_eq!(root.get(&format!("/v1/jobs/{id}")).status, 200, "an administrator gets through");
    latch.open();
    until_there_is_room(&shop, JOB);
}

#[test]
fn the_bytes_of_a_body_count_until_they_are_dealt_with() {
    let (server, gone) = noticing::<1>();
    let root = root(&server);
    let shop = root.admit("shop", "submit read:own");
    let id = shop.submit(JOB);
    let latch = Arc::new(Latch::default());
    let held = Arc::clone(&latch);
    server.store.watch_reads(move |reading| {
        if reading == Reading::Job {
            held.pass();
        }
    });
    let text = "0123456789".repeat(100_000);
    let large = format!(r#"{{"plugin": "echo", "input_text": "{text}"}}"#);
    let waits = format!(r#"{{"plugin": "echo", "after": ["{}"], "input_text": "{text}"}}"#, &id[id.len() - 8..]);
    let under_way = asked(&shop, "POST /v1/jobs/bulk", &waits);
    latch.until(1);
    hang_up(vec![under_way], &gone);
    let refused = shop.post("/v1/jobs/bulk", &format!("{large}\n{large}"));
    assert_eq!((refused.status, &refused.json()["code"]), (429, &"BR0133".into()), "{}", refused.text());
    latch.open();
    until_there_is_room(&shop, &format!("{large}\n{large}"));
}
