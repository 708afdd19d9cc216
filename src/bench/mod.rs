//! `backroom bench`: what this host does on this machine, measured through the same code as `serve`.

mod backlog;
mod churn;
mod http;
mod latency;
mod report;
mod rescue;
mod throughput;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytes::Bytes;

use crate::app::Host;
use crate::config::Settings;
use crate::domain::access::Caller;
use crate::domain::id::{PluginName, TenantId, TokenName, VersionName};
use crate::domain::plugin::Wishes;
use crate::embedded::{Opened, open};
use crate::jobs::NewJob;
use crate::registry::Upload;

pub use backlog::{BacklogReport, run_backlog};
pub use churn::{ChurnLook, ChurnReport, run_churn};
pub use http::run_over_http;
pub use report::{Latencies, Report};
pub use rescue::be_the_victim;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Jobs of the throughput run.
    pub jobs: usize,
    /// Bytes of each job's input.
    pub input_bytes: usize,
    /// Jobs in one bulk submit.
    pub batch: usize,
    /// Samples of each latency run.
    pub samples: usize,
    /// Whether the jobs are those of the holder of a token, rather than nobody's.
    pub owned: bool,
    /// The no-op component to run.
    pub component: PathBuf,
    /// A folder to work in; emptied runs go under it.
    pub folder: PathBuf,
}

/// Measures everything in this process.
pub async fn run_embedded(plan: &Plan, settings: &Settings) -> Result<Report> {
    let mut settings = settings.clone();
    settings.store.path = plan.folder.join("throughput");
    let opened = open(&settings).await?;
    let plugin = install(&opened.host, &plan.component).await?;
    warm_up(&opened.host, &plugin, plan).await?;

    let jobs_per_second = throughput::measure(&opened.host, &plugin, plan).await?;
    let c1 = latency::measure(&opened.host, &plugin, plan, 1).await?;
    let c64 = latency::measure(&opened.host, &plugin, plan, 64).await?;
    let stats = opened.host.store_stats();
    close(opened).await;
    let rescue = rescue::measure(plan, &settings).await?;

    Ok(Report {
        jobs_per_second,
        c1,
        c64,
        rescue_ms: Some(rescue),
        peak_rss_mb: report::peak_rss_mb(),
        disk_mb: report::megabytes(stats.disk_bytes),
        fsyncs: stats.fsyncs,
        durability: stats.durability.to_owned(),
        cores: report::cores(),
        jobs: plan.jobs,
        input_bytes: plan.input_bytes,
    })
}

/// Uploads the no-op component, as an operator would.
async fn install(host: &Host, component: &Path) -> Result<PluginName> {
    let bytes = std::fs::read(component).with_context(|| format!("reading {}", component.display()))?;
    let name = PluginName::new("noop")?;
    let upload = Upload {
        tenant: TenantId::DEFAULT,
        name: name.clone(),
        version: VersionName::new("1.0.0")?,
        bytes: Bytes::from(bytes),
        wishes: Wishes::default(),
    };
    host.registry.upload(upload).await?;
    Ok(name)
}

fn new_job(plugin: &PluginName, plan: &Plan) -> NewJob {
    let new = NewJob::new(plugin.clone(), vec![b'x'; plan.input_bytes]);
    match plan.owned {
        true => NewJob { caller: Caller { name: TokenName::new("bench").ok(), ..Caller::ANYBODY }, ..new },
        false => new,
    }
}

/// The first jobs load the compiled component and touch fresh memory; they are not counted.
async fn warm_up(host: &Host, plugin: &PluginName, plan: &Plan) -> Result<()> {
    for _ in 0..200 {
        latency::submit_and_wait(host, new_job(plugin, plan)).await?;
    }
    Ok(())
}

async fn close(opened: Opened) {
    opened.shut_down(std::time::Duration::from_secs(5)).await;
}
