//! The style sheet, the script and the icon, which are part of the binary.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/console.js");
const ICON: &str = include_str!("assets/icon.svg");

/// One file. Pages name it with the release, so a browser may keep it for a while.
pub(super) async fn show(Path(asset): Path<String>) -> Response {
    match asset.as_str() {
        "style.css" => file("text/css; charset=utf-8", STYLE),
        "console.js" => file("text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => file("image/svg+xml", ICON),
        _ => (StatusCode::NOT_FOUND, "there is no such file").into_response(),
    }
}

/// The icon at the address that browsers try by themselves.
pub(super) async fn favicon() -> Response {
    file("image/svg+xml", ICON)
}

fn file(kind: &'static str, content: &'static str) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "max-age=60")], content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_small() {
        assert!(STYLE.len() + SCRIPT.len() + ICON.len() < 100_000);
    }
}
