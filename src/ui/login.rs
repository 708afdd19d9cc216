//! Asks a person for a token, once for each browser, and lets him go again.

use askama::Template;
use axum::extract::{Extension, Query};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, Uri};
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Console;
use super::given::{Filled, Given};
use super::trouble::Trouble;
use crate::api::session::Door;

#[derive(Template)]
#[template(path = "login.html")]
struct Page {
    version: &'static str,
    /// The page that the person wanted.
    to: String,
    /// Why the token was not taken.
    wrong: Option<String>,
}

impl Page {
    fn new(to: String, wrong: Option<String>) -> Self {
        Self { version: env!("CARGO_PKG_VERSION"), to, wrong }
    }
}

/// Where to, after the login.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    to: String,
}

/// What the form carries.
#[derive(Deserialize)]
pub(super) struct Fields {
    token: String,
    #[serde(default)]
    to: String,
}

/// The page with the form. It shows nothing of the host.
pub(super) async fn show(console: Console, Given(Query(wanted)): Given<Query<Wanted>>) -> Response {
    let to = own_page(&wanted.to);
    console.page(|_console| Ok(Page::new(to, None))).await
}

/// Opens a session for a right token and leads to the page that was wanted; says that a wrong one is wrong.
pub(super) async fn log_in(
    console: Console,
    Extension(door): Extension<Door>,
    headers: HeaderMap,
    Filled(fields): Filled<Fields>,
) -> Response {
    let to = own_page(&fields.to);
    match door.log_in(fields.token.trim(), &headers).await {
        Ok(cookie) => (AppendHeaders(cookie.map(|cookie| (SET_COOKIE, cookie))), Redirect::to(&to)).into_response(),
        Err(error) => {
            let page = Page::new(to, Some(format!("That did not work: {}.", error.detail())));
            match page.render() {
                Ok(html) => (error.status(), Extension(error.code()), Html(html)).into_response(),
                Err(error) => console.refuse(&Trouble::host(error)),
            }
        }
    }
}

/// Ends the session.
pub(super) async fn log_out(Extension(door): Extension<Door>, headers: HeaderMap) -> Response {
    let forgotten = door.log_out(&headers).map(|cookie| (SET_COOKIE, cookie));
    (AppendHeaders(forgotten), Redirect::to("/login")).into_response()
}

/// The page of this host that an address names; the first one where it names none, or something else.
fn own_page(address: &str) -> String {
    let is_local = address.starts_with('/') && !address.starts_with("//") && !address.contains('\\');
    let is_address = address.parse::<Uri>().is_ok_and(|uri| uri.authority().is_none());
    let leads_back = ["/login", "/logout"].iter().any(|door| address.starts_with(door));
    if is_local && is_address && !leads_back { address.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_site() {
        for own in ["/jobs", "/jobs?state=failed&tag=a", "/jobs/0191-7", "/"] {
            assert_eq!(own_page(own), own);
        }
        for other in
            ["", "//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a b", "/login", "/a\r\nb"]
        {
            assert_eq!(own_page(other), "/", "{other:?}");
        }
    }
}
