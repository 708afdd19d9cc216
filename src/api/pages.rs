//! The pages that explain errors, and the answers for addresses that do not exist.

use std::any::Any;

use axum::extract::Path;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, Method, Response as HttpResponse, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};

use super::error::ApiError;
use super::view::Problem;
use crate::domain::code::{self, CATALOGUE, Code};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#222}\
    code{background:#eee;padding:.1em .3em}@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}\
    code{background:#333}a{color:#8bf}}";

/// Every error of the catalogue.
#[utoipa::path(
    get,
    path = "/errors",
    tag = "errors",
    operation_id = "pages_index",
    responses(
        (status = 200, description = "Every error", body = String, content_type = "text/html"),
    )
)]
pub(super) async fn index() -> Html<String> {
    let item = |code: &Code| {
        let Code { name, title, .. } = code;
        format!("<li><a href=\"/errors/{name}\">{name}</a>: {}</li>\n", escaped(title))
    };
    let items: String = CATALOGUE.iter().map(item).collect();
    document("Errors", &format!("<ul>\n{items}</ul>\n"))
}

/// What one error means and what to do.
#[utoipa::path(
    get,
    path = "/errors/{code}",
    tag = "errors",
    operation_id = "pages_page",
    params(
        ("code" = String, Path, description = "Such as BR0103"),
    ),
    responses(
        (status = 200, description = "The page of an error", body = String, content_type = "text/html"),
        (status = "default", description = "Not done; `application/problem+json`", body = Problem),
    )
)]
pub(super) async fn page(headers: HeaderMap, Path(name): Path<String>) -> Response {
    let Some(Code { name, title, cause, remedy }) = code::find(&name) else {
        let shown: String = name.chars().take(40).collect();
        let unknown = ApiError::new(code::UNKNOWN_PATH, format!("there is no error `{shown}`"));
        return for_reader(&headers, unknown.with_next("See /errors for all of them."));
    };
    let body = format!(
        "<p><strong>{}</strong></p>\n<h2>Why</h2>\n<p>{}</p>\n<h2>What to do</h2>\n<p>{}</p>\n<p><a href=\"/errors\">All errors</a></p>\n",
        escaped(title),
        marked(cause),
        marked(remedy)
    );
    document(name, &body).into_response()
}

fn document(title: &str, body: &str) -> Html<String> {
    Html(format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n{body}</html>\n"
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Text in which what stands between backticks is code.
fn marked(text: &str) -> String {
    let part = |(index, part): (usize, &str)| match index % 2 {
        0 => escaped(part),
        _ => format!("<code>{}</code>", escaped(part)),
    };
    text.split('`').enumerate().map(part).collect()
}

/// Answers a request for an address that does not exist.
pub(super) async fn unknown_path(headers: HeaderMap, uri: Uri) -> Response {
    for_reader(&headers, ApiError::new(code::UNKNOWN_PATH, format!("there is nothing at `{}`", uri.path())))
}

/// Answers a request with a method that its address does not take.
pub(super) async fn unknown_method(headers: HeaderMap, method: Method, uri: Uri) -> Response {
    let detail = format!("`{}` does not take {method}; the Allow header names what it takes", uri.path());
    let error = ApiError::new(code::UNKNOWN_PATH, detail).with_status(StatusCode::METHOD_NOT_ALLOWED);
    for_reader(&headers, error)
}

/// An error as a page where a browser asks for one, as a problem document for programs.
fn for_reader(headers: &HeaderMap, error: ApiError) -> Response {
    let wants_page = headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    if !wants_page {
        return error.into_response();
    }
    let Code { name, title, remedy, .. } = error.code();
    let body = format!(
        "<p>{}</p>\n<p>{}</p>\n<p><a href=\"/\">Overview</a> · <a href=\"/errors/{name}\">{name}</a></p>\n",
        marked(error.detail()),
        marked(error.next().unwrap_or(remedy))
    );
    (error.status(), document(title, &body)).into_response()
}

/// Answers a request whose handler panicked.
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> HttpResponse<axum::body::Body> {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    tracing::error!(error.message = text.as_deref().unwrap_or("?"), "a request handler panicked");
    let response: Response = ApiError::new(code::INTERNAL, "the request hit a defect of the host").into_response();
    response
}
