//! The web console: pages that a person reads and steers the host with. They are rendered here, work without JavaScript,
//! and load nothing from anywhere else.

mod assets;
mod attention;
mod given;
mod job;
mod jobs;
mod login;
mod lookout;
mod overview;
mod payload;
mod plugins;
mod queues;
mod rights;
mod sampler;
mod service;
mod shell;
mod sparkline;
mod text;
mod timeline;
mod trouble;
mod why;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Request};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_FRAME_OPTIONS};
use axum::http::request::Parts;
use axum::middleware::{from_fn, from_fn_with_state, map_request, map_response};
use axum::response::Response;
use axum::routing::{get, post};

use self::lookout::Lookout;
use self::rights::Check;
use self::sampler::Sampler;
use crate::api::ApiError;
use crate::api::body::{self, BodySize};
use crate::api::reads::{Part, Reader};
use crate::app::Host;
use crate::domain::access::Caller;

/// Scripts, styles and forms of this host only, and no page of another site around it.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// What the pages of all visitors are made from.
#[derive(Clone)]
struct Shared {
    host: Arc<Host>,
    sampler: Arc<Sampler>,
    lookout: Arc<Lookout>,
}

/// The console as somebody sees it.
#[derive(Clone)]
struct Console {
    host: Arc<Host>,
    sampler: Arc<Sampler>,
    lookout: Arc<Lookout>,
    caller: Caller,
    /// Whom reads of payloads are noted of.
    reader: Option<Reader>,
}

impl Console {
    fn new(shared: Shared, caller: Caller) -> Self {
        let Shared { host, sampler, lookout } = shared;
        Self { host, sampler, lookout, caller, reader: Reader::present() }
    }

    /// Notes that the visitor is given a payload.
    fn gives(&self, part: Part) {
        self.reader.iter().for_each(|reader| reader.is_given(part));
    }
}

impl FromRequestParts<Shared> for Console {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, shared).await?;
        Ok(Self::new(shared.clone(), caller))
    }
}

/// The pages of the console at `/` and the actions behind their buttons. Whoever merges them guards them against requests of
/// other sites, as the API is guarded. Must be called within a Tokio runtime, because the console watches the host's rates.
pub fn routes<S>(host: Arc<Host>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let shared = Shared { sampler: Sampler::start(&host), lookout: Arc::default(), host };
    let only = |check: Check| from_fn_with_state((shared.clone(), check), rights::only);
    Router::new()
        .merge(pages().route_layer(only(rights::may_enter)))
        .merge(pages_of_plugins().route_layer(only(rights::may_see_all)))
        .merge(buttons_of_jobs().route_layer(only(rights::may_steer)))
        .merge(buttons_of_the_host().route_layer(from_fn(rights::logged)).route_layer(only(rights::may_administer)))
        .route("/login", get(login::show).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/console/{asset}", get(assets::show))
        .route("/favicon.ico", get(assets::favicon))
        .layer(map_request(in_time))
        .layer(map_response(harden))
        .with_state(shared)
}

/// What everybody sees who may see any job: each page shows what he may see.
fn pages() -> Router<Shared> {
    Router::new()
        .route("/", get(overview::show))
        .route("/jobs", get(jobs::show))
        .route("/jobs/{id}", get(job::show))
        .route("/jobs/{id}/input", get(job::input))
        .route("/jobs/{id}/output", get(job::output))
}

/// They say how the jobs of all fare.
fn pages_of_plugins() -> Router<Shared> {
    Router::new().route("/plugins", get(plugins::list)).route("/plugins/{name}", get(plugins::show))
}

fn buttons_of_jobs() -> Router<Shared> {
    Router::new().route("/jobs/{id}/{action}", post(job::act))
}

fn buttons_of_the_host() -> Router<Shared> {
    Router::new()
        .route("/service/{action}", post(service::act))
        .route("/queues/{name}/resume", post(queues::resume))
        .route("/plugins", post(plugins::upload).layer(plugins::body_limit()))
        .route("/plugins/{name}/{action}", post(plugins::act))
}

/// Gives up a form whose sender takes too long.
async fn in_time(request: Request) -> Request {
    let size = if request.uri().path() == "/plugins" { BodySize::Large } else { BodySize::Ordinary };
    request.map(|body| body::in_time(body, size))
}

async fn harden(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 3] =
        [(CONTENT_SECURITY_POLICY, POLICY), (X_FRAME_OPTIONS, "DENY"), (REFERRER_POLICY, "same-origin")];
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
