//! The pages that explain errors, and the answers for addresses that do not exist.

use std::any::Any;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method, Response as HttpResponse, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use super::address::Path;
use super::error::ApiError;
use super::view::{Problem, form};

use crate::domain::code::{self, CATALOGUE, Code};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#222}\
    code{background:#eee;padding:.1em .3em}@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}\
    code{background:#333}a{color:#8bf}}";

/// Every error of the catalogue.
#[utoipa::path(
    get,
    path = "/errors",
    tag = "description",
    operation_id = "errors_list",
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
    tag = "description",
    operation_id = "errors_show",
    params(
        ("code" = inline(form::ErrorCode), Path, description = "Such as BR0103"),
    ),
    responses(
        (status = 200, description = "The page of an error", body = String, content_type = "text/html"),
        (
            status = 404,
            description = "There is no such code",
            content((Problem = "application/problem+json"), (String = "text/html")),
        ),
    )
)]
pub(super) async fn page(headers: HeaderMap, uri: Uri, Path(name): Path<String>) -> Response {
    let Some(Code { name, title, cause, remedy }) = code::find(&name) else {
        let shown: String = name.chars().take(40).collect();
        let unknown = ApiError::new(code::UNKNOWN_PATH, format!("there is no error `{shown}`"));
        return for_reader(&headers, &uri, unknown.with_next("See /errors for all of them."));
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
    let error = ApiError::new(code::UNKNOWN_PATH, format!("there is nothing at `{}`", uri.path()));
    for_reader(&headers, &uri, error)
}

/// Answers a request with a method that its address does not take.
pub(super) async fn unknown_method(headers: HeaderMap, method: Method, uri: Uri) -> Response {
    let detail = format!("`{}` does not take {method}; the Allow header names what it takes", uri.path());
    for_reader(&headers, &uri, ApiError::new(code::WRONG_METHOD, detail))
}

/// An error as a page where a browser asks for one, as a problem document for programs.
fn for_reader(headers: &HeaderMap, uri: &Uri, error: ApiError) -> Response {
    let accepts_page = headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    if !accepts_page || uri.path().starts_with("/v1/") {
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

/// The longest text of a refusal that is not ours, in bytes.
const FOREIGN_BYTES_MAX: usize = 2 << 10;

/// Puts a refusal of the libraries below us, which is bare text, into our words.
pub(super) async fn in_our_words(request: Request, next: Next) -> Response {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let response = next.run(request).await;
    let status = response.status();
    let content_type = response.headers().get(CONTENT_TYPE);
    let is_bare = content_type.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !is_bare || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let text = to_bytes(response.into_body(), FOREIGN_BYTES_MAX).await.unwrap_or_default();
    let code = match status {
        StatusCode::NOT_FOUND => code::UNKNOWN_PATH,
        StatusCode::METHOD_NOT_ALLOWED => code::WRONG_METHOD,
        StatusCode::PAYLOAD_TOO_LARGE => code::BODY_TOO_LARGE,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => code::WRONG_KIND,
        StatusCode::UNPROCESSABLE_ENTITY => code::BAD_FIELD,
        _ if status.is_client_error() => code::BAD_HEAD,
        _ => code::INTERNAL,
    };
    let detail = match String::from_utf8_lossy(&text).trim() {
        "" => status.to_string(),
        text => text.to_owned(),
    };
    for_reader(&headers, &uri, ApiError::new(code, detail).with_status(status))
}

/// An answer is for the one who has asked, as things are now, and is what it says it is: nobody keeps it, and no browser takes
/// it for something to run.
pub(super) async fn for_the_caller_alone(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Answers a request whose handler panicked.
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> HttpResponse<Body> {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    tracing::error!(error.message = text.as_deref().unwrap_or("?"), "a request handler panicked");
    let response: Response = ApiError::new(code::INTERNAL, "the request hit a defect of the host").into_response();
    response
}
