//! A host with a token: the console asks for it once, and pages of other sites get nothing.

use std::sync::Arc;

use backroom::clock::SimulatedClock;
use backroom::domain::service::ServiceState;
use backroom::domain::time::Timestamp;

use crate::page;
use crate::site::Site;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml");

async fn guarded() -> Site {
    let site = Site::with_echo(Arc::new(SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000)))).await;
    site.guarded("open sesame; now").await
}

#[tokio::test]
async fn a_token_is_asked_for_once() {
    let site = guarded().await;
    let first = site.ask("GET", "/jobs", &[BROWSER], "").await;
    assert_eq!((first.status, first.header("location")), (303, "/login"));
    let login = site.ask("GET", "/login", &[BROWSER], "").await;
    assert_eq!(login.status, 200);
    page::read(login.text());
    assert!(!login.text().contains("host-1"), "the page shows something of the host");
    for asset in ["/console/style.css", "/console/icon.svg"] {
        assert_eq!(site.ask("GET", asset, &[], "").await.status, 200, "{asset}");
    }

    let kept = site.ask("POST", "/login", &[FORM], "token=open+sesame%3B+now").await;
    assert_eq!((kept.status, kept.header("location")), (303, "/"));
    assert!(kept.header("set-cookie").ends_with("; HttpOnly; SameSite=Strict"), "{}", kept.header("set-cookie"));
    let cookie = kept.header("set-cookie").split(';').next().unwrap_or_default();
    let overview = site.ask("GET", "/", &[BROWSER, ("cookie", cookie)], "").await;
    assert_eq!(overview.status, 200);
    assert!(overview.text().contains("Throughput"));

    let wrong = site.ask("POST", "/login", &[FORM], "token=guess").await;
    let cookie = wrong.header("set-cookie").split(';').next().unwrap_or_default();
    let refused = site.ask("GET", "/", &[BROWSER, ("cookie", cookie)], "").await;
    assert_eq!((refused.status, refused.header("location")), (303, "/login"));
}

#[tokio::test]
async fn programs_are_told_instead_of_led() {
    let site = guarded().await;
    assert_eq!(site.ask("GET", "/v1/jobs", &[BROWSER], "").await.status, 401);
    assert_eq!(site.ask("GET", "/jobs", &[], "").await.status, 401);
    assert_eq!(site.ask("POST", "/service/pause", &[BROWSER, FORM], "").await.status, 401);
    assert_eq!(site.host.service(), ServiceState::Running);
}

#[tokio::test]
async fn a_page_of_another_site_presses_no_button() {
    let site = guarded().await;
    let kept = site.ask("POST", "/login", &[FORM], "token=open+sesame%3B+now").await;
    let cookie = ("cookie", kept.header("set-cookie").split(';').next().unwrap_or_default());
    let foreign = [("origin", "http://evil.example"), cookie, FORM];
    assert_eq!(site.ask("POST", "/service/pause", &foreign, "").await.status, 403);
    assert_eq!(site.ask("POST", "/login", &[("origin", "null"), FORM], "token=x").await.status, 403);
    let rebound = [("host", "evil.example"), cookie];
    assert_eq!(site.ask("GET", "/", &rebound, "").await.status, 403);
    assert_eq!(site.host.service(), ServiceState::Running);

    let own = format!("http://{}", site.address);
    let ours = [("origin", own.as_str()), cookie, FORM];
    assert_eq!(site.ask("POST", "/service/pause", &ours, "").await.status, 303);
    assert_eq!(site.host.service(), ServiceState::Paused);
}
