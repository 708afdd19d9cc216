//! The host and its numbers on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{form, time, time_of};
use crate::app::{QueueDepth, QueueNow};
use crate::domain::admission::StartLimits;
use crate::domain::id::{PluginName, TenantId};
use crate::domain::job::Status;
use crate::domain::query::Counts;
use crate::domain::queue::Pause;
use crate::domain::service::ServiceState;
use crate::domain::time::Timestamp;
use crate::store::StoreStats;

/// How many finished jobs a purge removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurgeView {
    /// Jobs that were looked at.
    pub looked_at: u64,
    /// Jobs that went; with `dry_run`, that would go.
    pub removed: u64,
    /// Whether nothing was removed.
    pub dry_run: bool,
}

/// How the host is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceView {
    /// `running`, `draining` or `paused`.
    pub state: String,
    /// While it is paused: by whom, why and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseView>,
    /// The release.
    pub version: String,
    /// This start of the host.
    pub host_id: String,
    /// When it started.
    #[schema(value_type = form::Time, inline)]
    pub started_on: String,
    /// What its clock says.
    #[schema(value_type = form::Time, inline)]
    pub now: String,
    /// Attempts that run now, each in a slot.
    pub running: usize,
    /// Attempts that may run at a time.
    #[serde(default)]
    pub slots: usize,
    /// Jobs that are claimed and wait for a slot; none of them waits for long.
    #[serde(default)]
    pub claimed: usize,
    /// Jobs of an interrupted host that it rescued when it started.
    pub rescued: usize,
    /// The queues, by name.
    #[serde(default)]
    pub queues: Vec<QueueView>,
    /// The plug-ins that a person has paused, by name.
    #[serde(default)]
    pub paused_plugins: Vec<String>,
    /// The plug-ins that are slowed down because they keep failing, by name; `http` may be one of them.
    #[serde(default)]
    pub degraded_plugins: Vec<String>,
    /// How the store is doing.
    pub store: StoreView,
}

/// Every queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueListView {
    /// By name.
    pub queues: Vec<QueueView>,
}

/// A pause of a queue or a plug-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseView {
    /// Since when.
    #[schema(value_type = form::Time, inline)]
    pub since: String,
    /// When it ends by itself; none where somebody has to resume.
    #[schema(value_type = Option<form::Time>, inline)]
    pub until: Option<String>,
    /// Who asked for it.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl PauseView {
    pub(crate) fn of(pause: &Pause) -> Self {
        let Pause { since, by, reason, until } = pause;
        Self { since: time(*since), until: time_of(*until), by: by.clone(), reason: reason.clone() }
    }
}

/// How a queue does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// Its share of starts while other queues wait, too.
    pub weight: u32,
    /// How many of its jobs run at a time; none when only the host's slots limit them.
    pub concurrency: Option<u32>,
    /// How many of its jobs start over time, such as `10/min`.
    pub rate: Option<String>,
    /// Whether none of its jobs starts now.
    pub paused: bool,
    /// Who has paused it, why and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseView>,
    /// How many of its jobs run now.
    pub running: u32,
    /// How many of its jobs could start if they had their turn and a slot, 10,000 at the most; none where that was not
    /// counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<usize>,
    /// Whether there are more than were counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ready_is_more: bool,
    /// How long the longest-waiting of them has waited since its submit, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ready_ms: Option<u64>,
}

impl QueueView {
    /// A queue with what waits in it.
    pub(crate) fn with_depth(queue: QueueNow, depth: QueueDepth, now: Timestamp) -> Self {
        let QueueDepth { jobs, is_more, oldest } = depth;
        let age = oldest.map(|oldest| u64::try_from(now.since(oldest).as_millis()).unwrap_or(u64::MAX));
        Self { ready: Some(jobs), ready_is_more: is_more, oldest_ready_ms: age, ..Self::from(queue) }
    }
}

impl From<QueueNow> for QueueView {
    fn from(queue: QueueNow) -> Self {
        let QueueNow { name, weight, limits: StartLimits { concurrency, rate }, pause, running } = queue;
        Self {
            name: name.to_string(),
            weight,
            concurrency,
            rate: rate.map(|rate| rate.to_string()),
            paused: pause.is_some(),
            pause: pause.as_deref().map(PauseView::of),
            running,
            ready: None,
            ready_is_more: false,
            oldest_ready_ms: None,
        }
    }
}

/// How the store is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreView {
    /// What a submit that was answered survives: `power`, `process` or `none`.
    pub durability: String,
    /// Commits since the start.
    pub commits: u64,
    /// Syncs to disk since the start.
    pub fsyncs: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Why it takes no new jobs; none while it does.
    pub refusing: Option<String>,
}

/// The answer of the health checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthView {
    /// `ok`, `ready` or `not-ready`.
    pub status: String,
    /// Why it is not ready; none when it is.
    pub reason: Option<String>,
}

/// How many jobs stand where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountsView {
    /// Of all plug-ins together.
    pub all: StateCounts,
    /// Of each plug-in that has or had jobs, by name.
    pub plugins: Vec<PluginCountsView>,
}

/// How many jobs of one plug-in stand where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginCountsView {
    /// The plug-in.
    pub plugin: String,
    /// Its jobs.
    pub counts: StateCounts,
}

/// How many jobs stand in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "the fields are the ten states, each under its word")]
pub struct StateCounts {
    pub queued: u64,
    pub waiting: u64,
    pub retrying: u64,
    pub paused: u64,
    pub running: u64,
    pub pausing: u64,
    pub canceling: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub canceled: u64,
    /// All of them.
    pub total: u64,
}

impl From<Counts> for StateCounts {
    fn from(counts: Counts) -> Self {
        Self {
            queued: counts.of(Status::Queued),
            waiting: counts.of(Status::Waiting),
            retrying: counts.of(Status::Retrying),
            paused: counts.of(Status::Paused),
            running: counts.of(Status::Running),
            pausing: counts.of(Status::Pausing),
            canceling: counts.of(Status::Canceling),
            succeeded: counts.of(Status::Succeeded),
            failed: counts.of(Status::Failed),
            canceled: counts.of(Status::Canceled),
            total: Status::ALL.into_iter().map(|status| counts.of(status)).sum(),
        }
    }
}

impl CountsView {
    /// The view of the counts of each plug-in.
    pub(crate) fn of(counts: Vec<(PluginName, Counts)>) -> Self {
        let all = counts.iter().fold(Counts::default(), |sum, (_, counts)| sum.plus(counts)).into();
        let view = |(plugin, counts): (PluginName, Counts)| PluginCountsView {
            plugin: plugin.to_string(),
            counts: counts.into(),
        };
        Self { all, plugins: counts.into_iter().map(view).collect() }
    }
}

impl From<StoreStats> for StoreView {
    fn from(stats: StoreStats) -> Self {
        let StoreStats { durability, commits, fsyncs, disk_bytes, refusing } = stats;
        Self { durability: durability.to_owned(), commits, fsyncs, disk_bytes, refusing }
    }
}

/// The word for the state of the service.
pub(crate) const fn service_word(state: &ServiceState) -> &'static str {
    match state {
        ServiceState::Running => "running",
        ServiceState::Draining => "draining",
        ServiceState::Paused(_) => "paused",
    }
}

impl ServiceView {
    /// The view of `host`.
    pub(crate) fn of(host: &crate::app::Host) -> Self {
        let paused = host.registry.paused().into_iter().filter(|plugin| plugin.tenant == TenantId::DEFAULT);
        let service = host.service();
        Self {
            state: service_word(&service).to_owned(),
            pause: service.pause().map(PauseView::of),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host_id: host.id.to_string(),
            started_on: time(host.started_on),
            now: time(host.now()),
            running: host.slots.used(),
            slots: host.slots.total(),
            claimed: host.running.len().saturating_sub(host.slots.used()),
            rescued: host.rescued,
            queues: host.queues().into_iter().map(Into::into).collect(),
            paused_plugins: paused.map(|plugin| plugin.name.to_string()).collect(),
            degraded_plugins: host.degraded(TenantId::DEFAULT).iter().map(ToString::to_string).collect(),
            store: host.store_stats().into(),
        }
    }
}
