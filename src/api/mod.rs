//! The HTTP API: the router, and what every handler of it shares. One file per resource.

mod actions;
mod address;
mod backup;
mod bare;
pub(crate) mod batches;
pub(crate) mod body;
mod bounds;
mod bulk;
pub(crate) mod caller;
mod connection;
mod connections;
mod content;
mod definition;
mod error;
mod filter;
mod guard;
mod health;
mod idempotency;
pub(crate) mod ids;
pub(crate) mod intake;
pub(crate) mod jobs;
mod json;
mod openapi;
mod paced;
mod pages;
mod params;
pub(crate) mod payloads;
mod place;
mod plugins;
mod purge;
mod queues;
pub(crate) mod reads;
mod refusals;
mod schedules;
mod sending;
mod service;
pub(crate) mod session;
mod source;
pub(crate) mod steer;
mod stream;
mod tokens;
pub(crate) mod turns;
pub mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state, map_request, map_response};
use axum::routing::{delete, get, post, put};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::Host;
use crate::domain::access::Caller;
use crate::domain::allowances::Allowances;
use crate::domain::code;
use crate::domain::id::TenantId;
use crate::resources::blocking;
use crate::store::warrant::carried;

pub use error::ApiError;
pub use guard::Guard;

use self::refusals::Refusals;
use self::session::Sessions;
use self::turns::{Turn, Turns};

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<Shared>);

struct Shared {
    host: Arc<Host>,
    guard: Guard,
    allowances: Allowances,
    turns: Turns,
    sessions: Sessions,
    refusals: Refusals,
    closing: watch::Sender<bool>,
}

impl ApiState {
    /// The API of `host` behind `guard`.
    pub fn new(host: Arc<Host>, guard: Guard) -> Self {
        Self::with(host, guard, Allowances::default())
    }

    /// The same, where it is set how much goes on at a time.
    pub fn with(host: Arc<Host>, guard: Guard, allowances: Allowances) -> Self {
        Self(Arc::new(Shared {
            host,
            guard,
            allowances,
            turns: Turns::new(allowances),
            sessions: Sessions::default(),
            refusals: Refusals::default(),
            closing: watch::Sender::new(false),
        }))
    }

    /// The host behind the API.
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// Ends every stream and every wait, so that the server can go down.
    pub fn close(&self) {
        self.0.closing.send_replace(true);
    }

    /// Whose jobs and plug-ins a request is about. The one place that decides.
    fn tenant(&self) -> TenantId {
        TenantId::DEFAULT
    }

    fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// Lets only those go on who would be let in again: whoever took his time may have lost his token meanwhile.
    fn check_again(&self, caller: &Caller) -> Result<(), ApiError> {
        Ok(self.0.host.tokens.check_again(caller)?)
    }

    fn turns(&self) -> &Turns {
        &self.0.turns
    }

    fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    async fn closed(&self) {
        let mut closing = self.0.closing.subscribe();
        // The sender lives in the state, so waiting cannot fail.
        let _closing = closing.wait_for(|closing| *closing).await;
    }

    async fn large_body_turn(&self) -> Result<(), ApiError> {
        self.0.turns.large_bodies().turn().await
    }

    fn stream_turn(&self) -> Result<Turn, ApiError> {
        self.0.turns.stream()
    }

    /// Does work that may touch the disk apart from the threads that serve requests. Whoever asked may hang up meanwhile: what
    /// his request has taken lasts as long as the work (see [`turns`]).
    async fn blocking<T, E>(&self, work: impl FnOnce(&Host) -> Result<T, E> + Send + 'static) -> Result<T, ApiError>
    where
        T: Send + 'static,
        E: Into<ApiError> + Send + 'static,
    {
        let host = Arc::clone(&self.0.host);
        match blocking(carried(move || work(&host))).await {
            Ok(result) => result.map_err(Into::into),
            Err(error) => Err(ApiError::new(code::INTERNAL, error.to_string())),
        }
    }

    /// The same for an answer that is still being sent: what is read for it keeps its place, also when its reader hangs up.
    async fn blocking_for<T, E>(
        &self,
        place: &Arc<Turn>,
        work: impl FnOnce(&Host) -> Result<T, E> + Send + 'static,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        E: Into<ApiError> + Send + 'static,
    {
        let place = Arc::clone(place);
        let held = move |host: &Host| {
            let _place = place;
            work(host)
        };
        self.blocking(held).await
    }
}

/// Every address of the API, behind its guard.
pub fn router(state: ApiState) -> Router {
    guarded(&state, routes(&state))
}

/// Every address of the API, for a server that adds its own before [`guarded`].
pub fn routes(state: &ApiState) -> Router {
    Router::new()
        .merge(about_jobs())
        .merge(about_the_host())
        .merge(for_administrators())
        .merge(for_everybody())
        .route_layer(from_fn(body::admit))
        .route_layer(from_fn(idempotency::refuse_elsewhere))
        .fallback(pages::unknown_path)
        .method_not_allowed_fallback(pages::unknown_method)
        // Bodies are read and bounded by `body`, which tells a large one from one that ended early.
        .layer(DefaultBodyLimit::disable())
        .with_state(state.clone())
}

/// What is answered by the rights of the caller to the jobs in question: each handler takes the caller and asks `caller`.
fn about_jobs() -> Router<ApiState> {
    Router::new()
        .route("/v1/jobs", post(jobs::submit).get(jobs::list))
        .route("/v1/jobs/bulk", post(bulk::submit))
        .route("/v1/batches", post(batches::submit))
        .route("/v1/batches/{id}", get(batches::show))
        .route("/v1/batches/{id}/retry-failed", post(batches::retry_failed))
        .route("/v1/jobs/actions", post(actions::act))
        .route("/v1/jobs/{id}", get(jobs::show).delete(steer::delete))
        .route("/v1/jobs/{id}/attempts", get(jobs::attempts))
        .route("/v1/jobs/{id}/logs", get(payloads::logs))
        .route("/v1/jobs/{id}/input", get(payloads::input))
        .route("/v1/jobs/{id}/output", get(payloads::output))
        .route("/v1/jobs/{id}/changes", get(stream::of_job))
        .route("/v1/jobs/{id}/audit", get(steer::audit))
        .route("/v1/jobs/{id}/explain", get(steer::explain))
        .route("/v1/jobs/{id}/cancel", post(steer::cancel))
        .route("/v1/jobs/{id}/pause", post(steer::pause))
        .route("/v1/jobs/{id}/resume", post(steer::resume))
        .route("/v1/jobs/{id}/postpone", post(steer::postpone))
        .route("/v1/jobs/{id}/retry", post(steer::retry))
        .route("/v1/failures", get(actions::failures))
        .route("/v1/schedules", get(schedules::list))
        .route("/v1/schedules/{name}", get(schedules::show))
        .route("/v1/stream", get(stream::of_all))
}

/// What everybody may see who has a token: it tells of no single job.
fn about_the_host() -> Router<ApiState> {
    Router::new()
        .route("/v1/plugins", get(plugins::list))
        .route("/v1/plugins/{name}", get(plugins::show))
        .route("/v1/queues", get(queues::list))
        .route("/v1/service", get(service::show))
        .route("/v1/counts", get(service::counts))
        .route("/metrics", get(health::metrics))
}

fn for_administrators() -> Router<ApiState> {
    Router::new()
        .route("/v1/jobs/purge", post(purge::purge))
        .route("/v1/plugins/{name}", delete(plugins::remove))
        .route("/v1/plugins/{name}/versions/{version}", put(plugins::upload))
        .route("/v1/plugins/{name}/grants", post(plugins::grant))
        .route("/v1/plugins/{name}/grants/revoke", post(plugins::revoke))
        .route("/v1/plugins/{name}/activate", post(plugins::activate))
        .route("/v1/plugins/{name}/rollback", post(plugins::rollback))
        .route("/v1/plugins/{name}/enable", post(plugins::enable))
        .route("/v1/plugins/{name}/disable", post(plugins::disable))
        .route("/v1/plugins/{name}/pause", post(plugins::pause))
        .route("/v1/plugins/{name}/resume", post(plugins::resume))
        .route("/v1/queues/{name}/pause", post(queues::pause))
        .route("/v1/queues/{name}/resume", post(queues::resume))
        .route("/v1/schedules/{name}", put(schedules::put).delete(schedules::remove))
        .route("/v1/schedules/{name}/pause", post(schedules::pause))
        .route("/v1/schedules/{name}/resume", post(schedules::resume))
        .route("/v1/schedules/{name}/run", post(schedules::run))
        .route("/v1/schedules/{name}/postpone", post(schedules::postpone))
        .route("/v1/schedules/{name}/backfill", post(schedules::backfill))
        .route("/v1/service/pause", post(service::pause))
        .route("/v1/service/resume", post(service::resume))
        .route("/v1/service/drain", post(service::drain))
        .route("/v1/store/backup", post(backup::make))
        .route("/v1/tokens", post(tokens::create).get(tokens::list))
        .route("/v1/tokens/{name}", delete(tokens::revoke))
        .route_layer(from_fn(caller::administrators_only))
}

/// What the guard lets everybody see, token or none.
fn for_everybody() -> Router<ApiState> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/openapi.json", get(openapi::show))
        .route("/errors", get(pages::index))
        .route("/errors/{code}", get(pages::page))
}

/// Puts the guard before all `routes`, and turns what goes wrong behind it, a panic too, into answers that are ours.
pub fn guarded(state: &ApiState, routes: Router) -> Router {
    routes
        .layer(from_fn(pages::in_our_words))
        .layer(from_fn_with_state(state.clone(), guard::admit))
        .layer(CatchPanicLayer::custom(pages::panicked))
        .layer(map_request(body::lingering))
        .layer(map_response(pages::for_the_caller_alone))
}

/// Serves `router` until `stopping` ends; then answers what is under way and returns.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    router: Router,
    stopping: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (tokens, limits) = (Arc::clone(&state.host().tokens), connections::Limits::of(&state.0.allowances));
    let closing = async move {
        stopping.await;
        state.close();
    };
    connections::serve(listener, router, tokens, limits, closing).await
}
