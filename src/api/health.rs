//! What monitors ask: whether the host lives, whether it should get work, and its numbers for Prometheus.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::ApiState;
use super::error::ApiError;
use super::reads::Part;
use super::session::{LOGIN, LOGIN_REFUSED};
use super::view::{HealthView, service_word};
use crate::app::Host;
use crate::domain::id::{PluginName, TenantId};
use crate::domain::job::Status;
use crate::domain::query::Counts;
use crate::domain::queue::Pause;
use crate::domain::service::ServiceState;

/// The content type of Prometheus' text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers as long as the process does.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    operation_id = "health_alive",
    responses(
        (status = 200, description = "The process lives", body = HealthView),
    )
)]
pub(super) async fn alive() -> Json<HealthView> {
    Json(HealthView { status: "ok".to_owned(), reason: None })
}

/// Tells whether this host should get work.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    operation_id = "health_ready",
    responses(
        (status = 200, description = "Give it work", body = HealthView),
        (status = 503, description = "Give it none, and why", body = HealthView),
    )
)]
pub(super) async fn ready(State(state): State<ApiState>) -> (StatusCode, Json<HealthView>) {
    match unready(state.host()) {
        None => (StatusCode::OK, Json(HealthView { status: "ready".to_owned(), reason: None })),
        Some(reason) => {
            let view = HealthView { status: "not-ready".to_owned(), reason: Some(reason) };
            (StatusCode::SERVICE_UNAVAILABLE, Json(view))
        }
    }
}

fn unready(host: &Host) -> Option<String> {
    if host.service() == ServiceState::Draining {
        return Some("the host is draining".to_owned());
    }
    let refusing = host.refusing()?;
    Some(format!("the store takes no new jobs: {refusing}"))
}

/// The host's numbers, in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    operation_id = "health_metrics",
    responses(
        (status = 200, description = "The numbers in the text format of Prometheus", body = String, content_type = "text/plain"),
    )
)]
pub(super) async fn metrics(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let tenant = state.tenant();
    let counts = state.blocking(move |host| host.jobs.counts(tenant)).await?;
    let text = exposition(&state, &counts);
    Ok(([(CONTENT_TYPE, EXPOSITION)], text).into_response())
}

fn exposition(state: &ApiState, counts: &[(PluginName, Counts)]) -> String {
    let host = state.host();
    let mut page = Exposition::default();
    page.metric("backroom_info", "gauge", "The release; always 1.");
    page.sample(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1);
    page.metric("backroom_uptime_seconds", "gauge", "Time since the start of the host.");
    page.sample("", host.now().since(host.started_on).as_secs());
    page.metric("backroom_service_state", "gauge", "1 for the state that the service is in.");
    let present = host.service();
    for state in [ServiceState::Running, ServiceState::Draining, ServiceState::Paused(Pause::default())] {
        let word = service_word(&state);
        page.sample(&format!("state=\"{word}\""), u64::from(service_word(&present) == word));
    }
    page.metric("backroom_jobs", "gauge", "Jobs in the store, by plug-in and state.");
    for (plugin, counts) in counts {
        for status in Status::ALL {
            page.sample(&format!("plugin=\"{plugin}\",state=\"{}\"", status.word()), counts.of(status));
        }
    }
    page.metric("backroom_plugin_degraded", "gauge", "1 for a plug-in that is slowed down because it keeps failing.");
    let degraded = host.degraded(TenantId::DEFAULT);
    for (plugin, _) in counts {
        page.sample(&format!("plugin=\"{plugin}\""), u64::from(degraded.contains(plugin)));
    }
    page.metric("backroom_queue_length", "gauge", "Jobs that wait for a free slot.");
    page.sample("", counts.iter().map(|(_, counts)| counts.of(Status::Queued)).sum());
    page.metric("backroom_attempts_running", "gauge", "Attempts that run on this host now.");
    page.sample("", host.running.len() as u64);
    page.metric("backroom_jobs_rescued", "gauge", "Jobs of an interrupted host, rescued at the start.");
    page.sample("", host.rescued as u64);
    let store = host.store_stats();
    page.metric("backroom_store_commits_total", "counter", "Durable commits since the start.");
    page.sample("", store.commits);
    page.metric("backroom_store_fsyncs_total", "counter", "Syncs to disk since the start.");
    page.sample("", store.fsyncs);
    page.metric("backroom_store_disk_bytes", "gauge", "Bytes of the store on disk.");
    page.sample("", store.disk_bytes);
    page.metric("backroom_store_refusing", "gauge", "1 while the store takes no new jobs.");
    page.sample("", u64::from(store.refusing.is_some()));
    page.metric("backroom_refusals_total", "counter", "Requests that were refused, by the code of the reason.");
    for (code, count) in state.refusals().by_code() {
        page.sample(&format!("code=\"{code}\""), count);
    }
    page.metric("backroom_logins_total", "counter", "Tokens given to the console's login, by whether they were right.");
    for (result, what) in [("ok", LOGIN), ("refused", LOGIN_REFUSED)] {
        page.sample(&format!("result=\"{result}\""), state.refusals().seen(what));
    }
    page.metric("backroom_payload_reads_total", "counter", "Payloads that were given to somebody, by what they are.");
    for what in Part::ALL.map(Part::word) {
        page.sample(&format!("what=\"{what}\""), state.refusals().seen(what));
    }
    page.text
}

#[derive(Default)]
struct Exposition {
    text: String,
    name: &'static str,
}

impl Exposition {
    fn metric(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a string cannot fail.
        let _written = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, labels: &str, value: u64) {
        let name = self.name;
        let _written = match labels {
            "" => writeln!(self.text, "{name} {value}"),
            labels => writeln!(self.text, "{name}{{{labels}}} {value}"),
        };
    }
}
