//! The description of the API for programs: OpenAPI, made from the handlers and the wire types themselves. What every operation
//! shares is added by `shared`, what fields say together by `apart`, and `shape` gives the schemas the form that stock generators
//! know best.

mod apart;
mod shape;
mod shared;

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa::OpenApi;

use self::shared::Shared;
use super::view::{Problem, form};
use super::{
    actions, backup, batches, bulk, health, jobs, pages, payloads, plugins, purge, queues, schedules, service, steer,
    stream, tokens,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Backroom",
        description = "An asynchronous service for WebAssembly plug-ins. Errors are problem documents (RFC 9457) whose `code` has a page at `/errors/{code}`. Unknown fields and query parameters are refused.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    servers((url = "/", description = "The host that this description comes from")),
    modifiers(&Shared),
    components(schemas(Problem)),
    tags(
        (name = "jobs", description = "Durable requests to run a handler once"),
        (name = "plugins", description = "Named components with versions"),
        (name = "schedules", description = "Rules that make jobs"),
        (name = "service", description = "The host as a whole"),
        (name = "tokens", description = "Who may do what"),
        (name = "health", description = "For monitors"),
        (name = "description", description = "The API and the codes of its errors")
    ),
    paths(
        jobs::submit,
        jobs::list,
        jobs::show,
        steer::delete,
        jobs::attempts,
        payloads::logs,
        payloads::input,
        payloads::output,
        steer::audit,
        steer::explain,
        steer::cancel,
        steer::pause,
        steer::resume,
        steer::postpone,
        steer::retry,
        actions::act,
        actions::failures,
        bulk::submit,
        purge::purge,
        batches::submit,
        batches::show,
        batches::retry_failed,
        stream::of_job,
        stream::of_all,
        plugins::upload,
        plugins::list,
        plugins::show,
        plugins::remove,
        plugins::grant,
        plugins::revoke,
        plugins::activate,
        plugins::rollback,
        plugins::enable,
        plugins::disable,
        plugins::pause,
        plugins::resume,
        queues::list,
        queues::pause,
        queues::resume,
        schedules::list,
        schedules::put,
        schedules::show,
        schedules::remove,
        schedules::pause,
        schedules::resume,
        schedules::run,
        schedules::postpone,
        schedules::backfill,
        backup::make,
        tokens::create,
        tokens::list,
        tokens::revoke,
        service::show,
        service::pause,
        service::resume,
        service::drain,
        service::counts,
        health::alive,
        health::ready,
        health::metrics,
        show,
        pages::page,
        pages::index,
    )
)]
struct Api;

/// The description as it is sent. It is the same for everybody, and asked for by strangers, so that it is made once.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    // It is made of strings, numbers and lists, which JSON can always say.
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    shape::plain(&mut document);
    apart::say(&mut document);
    document.to_string().into()
});

/// This description: OpenAPI 3.1.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "description",
    operation_id = "openapi_show",
    responses(
        (status = 200, description = "The description", body = inline(form::Document), content_type = "application/json"),
    )
)]
pub(super) async fn show() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.clone())
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::response::Response;

    use super::*;

    #[tokio::test]
    async fn it_is_made_once() {
        let (first, second) = (show().await.into_response(), show().await.into_response());
        let whole = |response: Response| to_bytes(response.into_body(), usize::MAX);
        let (first, second) = (whole(first).await.expect("it is whole"), whole(second).await.expect("it is whole"));
        let document: serde_json::Value = serde_json::from_slice(&first).expect("it is JSON");
        assert!(document["openapi"].is_string());
        assert_eq!(first.as_ptr(), second.as_ptr(), "another was made");
    }
}
