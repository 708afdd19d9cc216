//! A host with a token: the console asks for it once, and pages of other sites get nothing.

use std::sync::Arc;

use backroom::app::LastToken;
use backroom::clock::SimulatedClock;
use backroom::domain::id::{TenantId, TokenName};
use backroom::domain::service::ServiceState;
use backroom::domain::time::Timestamp;

use crate::page;
use crate::site::{BROWSER, FORM, Site};

async fn guarded() -> Site {
    let site = Site::with_echo(Arc::new(SimulatedClock::at(Timestamp::from_millis(1_700_000_000_000)))).await;
    site.admit("admin", "admin", "open sesame; now").await;
    site
}

#[tokio::test]
async fn a_token_is_asked_for_once() {
    let site = guarded().await;
    let first = site.ask("GET", "/jobs", &[BROWSER], "").await;
    assert_eq!((first.status, first.header("location")), (303, "/login?to=/jobs"));
    let deep = site.ask("GET", "/jobs?state=failed&tag=a%20b", &[BROWSER], "").await;
    assert_eq!(deep.header("location"), "/login?to=/jobs%3Fstate%3Dfailed%26tag%3Da%2520b");
    let login = site.ask("GET", deep.header("location"), &[BROWSER], "").await;
    assert!(login.text().contains("value=\"/jobs?state=failed&#38;tag=a%20b\""), "{}", login.text());
    assert_eq!(login.status, 200);
    page::read(login.text());
    assert!(!login.text().contains("host-1"), "the page shows something of the host");
    for asset in ["/console/style.css", "/console/icon.svg"] {
        assert_eq!(site.ask("GET", asset, &[], "").await.status, 200, "{asset}");
    }

    let deep = "to=%2Fjobs%3Fstate%3Dfailed&token=open+sesame%3B+now";
    assert_eq!(site.ask("POST", "/login", &[FORM], deep).await.header("location"), "/jobs?state=failed");
    let led_astray = "to=%2F%2Fevil.example&token=open+sesame%3B+now";
    assert_eq!(site.ask("POST", "/login", &[FORM], led_astray).await.header("location"), "/");
    let kept = site.ask("POST", "/login", &[FORM], "token=open+sesame%3B+now").await;
    assert_eq!((kept.status, kept.header("location")), (303, "/"));
    assert!(kept.header("set-cookie").ends_with("; HttpOnly; SameSite=Strict"), "{}", kept.header("set-cookie"));
    assert!(!kept.header("set-cookie").contains("sesame") && !kept.header("set-cookie").contains("6f70656e"));
    let cookie = kept.header("set-cookie").split(';').next().unwrap_or_default();
    let overview = site.ask("GET", "/", &[BROWSER, ("cookie", cookie)], "").await;
    assert_eq!(overview.status, 200);
    assert!(overview.text().contains("Throughput"));

    let wrong = site.ask("POST", "/login", &[FORM], "token=guess&to=%2Fjobs").await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, ""));
    page::read(wrong.text());
    assert!(wrong.text().contains("the token is not one of this host"), "{}", wrong.text());
    assert!(wrong.text().contains("name=\"to\" value=\"/jobs\""), "the way back is kept");
    let refused = site.ask("GET", "/", &[BROWSER, ("cookie", "backroom-session=guess")], "").await;
    assert_eq!((refused.status, refused.header("location")), (303, "/login"));
}

#[tokio::test]
async fn a_session_ends_at_its_logout_and_with_its_token() {
    let site = guarded().await;
    let (first, second) =
        (site.cookie_of("clerk", "read,payload").await, site.cookie_of("guest", "read,payload").await);
    let status = async |cookie: &str| site.ask("GET", "/jobs", &[("cookie", cookie)], "").await.status;
    assert_eq!((status(&first).await, status(&second).await), (200, 200));
    let page = site.ask("GET", "/jobs", &[("cookie", &first)], "").await;
    assert!(page.text().contains("action=\"/logout\""), "{}", page.text());

    let out = site.ask("POST", "/logout", &[FORM, ("cookie", &first)], "").await;
    assert_eq!((out.status, out.header("location")), (303, "/login"));
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{}", out.header("set-cookie"));
    assert_eq!(status(&first).await, 401, "whoever has kept the cookie has nothing");
    assert_eq!(status(&second).await, 200);

    let name = TokenName::new("guest").expect("a name");
    let admin = site.host.tokens.list(TenantId::DEFAULT)[0].caller();
    site.host.tokens.revoke(admin, TenantId::DEFAULT, name, LastToken::Kept).await.expect("it is there");
    assert_eq!(status(&second).await, 401);
    // The secret itself opens nothing as a cookie.
    assert_eq!(status("backroom-session=open sesame; now").await, 401);
}

#[tokio::test]
async fn a_session_over_tls_is_for_tls_only() {
    let site = guarded().await;
    let own = format!("https://{}", site.address);
    let kept = site.ask("POST", "/login", &[FORM, ("origin", &own)], "token=open+sesame%3B+now").await;
    let cookie = kept.header("set-cookie");
    assert!(cookie.starts_with("__Host-backroom-session=") && cookie.contains("; Path=/;"), "{cookie}");
    assert!(cookie.contains("; Secure;") && !cookie.contains("Domain"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap_or_default();
    assert_eq!(site.ask("GET", "/jobs", &[("cookie", cookie)], "").await.status, 200);
}

#[tokio::test]
async fn logins_are_counted() {
    let site = guarded().await;
    site.ask("POST", "/login", &[FORM], "token=guess").await;
    site.ask("POST", "/login", &[FORM], "token=open+sesame%3B+now").await;
    let metrics = site.ask("GET", "/metrics", &[("authorization", "Bearer open sesame; now")], "").await;
    for line in ["backroom_logins_total{result=\"ok\"} 1", "backroom_logins_total{result=\"refused\"} 1"] {
        assert!(metrics.text().contains(line), "{}", metrics.text());
    }
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
    assert!(site.host.service().pause().is_some());
}
