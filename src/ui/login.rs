//! Asks a person for a token, once for each browser. Whether it is right, the guard says with the next page.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Console;
use super::trouble::Trouble;
use crate::api::session;

#[derive(Template)]
#[template(path = "login.html")]
struct Page {
    version: &'static str,
}

/// What the form carries.
#[derive(Deserialize)]
pub(super) struct Fields {
    token: String,
}

/// The page with the form. It shows nothing of the host.
pub(super) async fn show(State(console): State<Console>) -> Response {
    console.page(|_console| Ok(Page { version: env!("CARGO_PKG_VERSION") })).await
}

/// Keeps the token in the browser and leads to the overview; a wrong one leads back here.
pub(super) async fn keep(State(console): State<Console>, Form(fields): Form<Fields>) -> Response {
    match session::keep(fields.token.trim()) {
        Some(cookie) => ([(SET_COOKIE, cookie)], Redirect::to("/")).into_response(),
        None => console.refuse(&Trouble::field("That is longer than any token.")),
    }
}

/// Forgets the token.
pub(super) async fn forget() -> Response {
    ([(SET_COOKIE, session::forget())], Redirect::to("/login")).into_response()
}
