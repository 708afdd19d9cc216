//! What a large backlog costs: memory, opening, draining, waiting and removing.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Plan, close, install, new_job, report, throughput, warm_up};
use crate::app::Host;
use crate::config::Settings;
use crate::domain::id::PluginName;
use crate::domain::job::Status;
use crate::domain::queue::Pause;
use crate::domain::retention::Retention;
use crate::domain::service::ServiceState;
use crate::embedded::open;
use crate::jobs::NewJob;

/// Jobs of the run on an empty host that the drain is compared with.
const EMPTY_JOBS: usize = 100_000;

/// How long the waiting jobs are watched.
const IDLE: Duration = Duration::from_secs(10);

/// What a store may still be busy with after its last submit.
const SETTLE: Duration = Duration::from_secs(5);

/// The first of the postponed jobs is due no earlier than this.
const FAR_AHEAD: Duration = Duration::from_secs(30 * 86_400);

/// How often the counts are looked at while jobs run.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What was found.
#[derive(Clone, Debug, serde::Serialize)]
pub struct BacklogReport {
    /// Ready jobs of the backlog.
    pub backlog: usize,
    /// Bytes of each job's input.
    pub input_bytes: usize,
    /// How fast the backlog was taken.
    pub submit_jobs_per_second: f64,
    /// From the start of a host on it to the host that takes requests.
    pub open_seconds: f64,
    /// Memory of the host right after that.
    pub open_rss_mb: f64,
    /// How fast it drained.
    pub drain_jobs_per_second: f64,
    /// Most memory that the process held until the backlog was gone.
    pub peak_rss_mb: f64,
    /// How fast an empty host is.
    pub empty_jobs_per_second: f64,
    /// The first as a share of the second.
    pub drain_share: f64,
    /// Finished jobs that were removed at once, and how long that took.
    pub purged: u64,
    /// See above.
    pub purge_seconds: f64,
    /// Jobs that waited for different times.
    pub postponed: usize,
    /// The share of one core that the host used while they waited, in percent.
    pub postponed_cpu_percent: f64,
    /// Memory of the host then, which had taken them itself.
    pub postponed_rss_mb: f64,
    /// What a submit call that returned survives.
    pub durability: String,
    /// Cores of this machine.
    pub cores: usize,
}

impl fmt::Display for BacklogReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<34}{value}");
        line("durability", self.durability.clone())?;
        line("cores", self.cores.to_string())?;
        line("backlog", format!("{} ready jobs with {} bytes of input", self.backlog, self.input_bytes))?;
        line("taken", format!("{:.0} jobs per second", self.submit_jobs_per_second))?;
        line("opened", format!("{:.2} s, {:.0} MB of memory", self.open_seconds, self.open_rss_mb))?;
        let share = self.drain_share * 100.0;
        let empty = self.empty_jobs_per_second;
        let drained = self.drain_jobs_per_second;
        line("drained", format!("{drained:.0} jobs per second, {share:.0} % of an empty host's {empty:.0}"))?;
        line("peak memory", format!("{:.0} MB", self.peak_rss_mb))?;
        line("removed", format!("{} finished jobs in {:.2} s", self.purged, self.purge_seconds))?;
        let Self { postponed, postponed_cpu_percent: cpu, postponed_rss_mb: memory, .. } = self;
        line("waiting", format!("{postponed} jobs for different times used {cpu:.2} % of a core, {memory:.0} MB"))
    }
}

/// Measures with `backlog` ready jobs, and half as many postponed ones.
pub async fn run_backlog(plan: &Plan, settings: &Settings, backlog: usize) -> Result<BacklogReport> {
    let mut settings = settings.clone();
    settings.retention = Retention::FOREVER;
    settings.store.path = plan.folder.join("backlog");
    let opened = open(&settings).await?;
    let plugin = install(&opened.host, &plan.component).await?;
    warm_up(&opened.host, &plugin, plan).await?;
    opened.host.set_service(ServiceState::Paused(Pause::default())).await?;
    let submit_jobs_per_second = submit(&opened.host, plan, backlog, |_| new_job(&plugin, plan)).await?;
    close(opened).await;

    let started = Instant::now();
    let opened = open(&settings).await?;
    let open_seconds = started.elapsed().as_secs_f64();
    let open_rss_mb = report::rss_mb();
    let drain_jobs_per_second = drain(&opened.host, backlog).await?;
    let peak_rss_mb = report::peak_rss_mb();
    let empty_jobs_per_second = empty(&opened.host, &plugin, plan).await?;
    let (purged, purge_seconds) = purge(&opened.host)?;
    close(opened).await;

    settings.store.path = plan.folder.join("postponed");
    let postponed = backlog / 2;
    let (postponed_cpu_percent, postponed_rss_mb) = wait_idly(plan, &settings, postponed).await?;
    Ok(BacklogReport {
        backlog,
        input_bytes: plan.input_bytes,
        submit_jobs_per_second: submit_jobs_per_second.round(),
        open_seconds,
        open_rss_mb,
        drain_jobs_per_second: drain_jobs_per_second.round(),
        peak_rss_mb,
        empty_jobs_per_second: empty_jobs_per_second.round(),
        drain_share: drain_jobs_per_second / empty_jobs_per_second,
        purged,
        purge_seconds,
        postponed,
        postponed_cpu_percent,
        postponed_rss_mb,
        durability: settings.store.durability.word().to_owned(),
        cores: report::cores(),
    })
}

async fn submit(host: &Host, plan: &Plan, jobs: usize, job: impl Fn(usize) -> NewJob) -> Result<f64> {
    let started = Instant::now();
    let mut taken = 0;
    while taken < jobs {
        let batch = plan.batch.min(jobs - taken);
        host.jobs.submit_bulk((taken..taken + batch).map(&job).collect()).await?;
        taken += batch;
    }
    Ok(jobs as f64 / started.elapsed().as_secs_f64())
}

async fn drain(host: &Host, jobs: usize) -> Result<f64> {
    let started = Instant::now();
    host.set_service(ServiceState::Running).await?;
    loop {
        let counts = throughput::counts(host)?;
        if counts.of(Status::Failed) > 0 {
            bail!("{} of the no-op jobs failed", counts.of(Status::Failed));
        }
        if counts.of(Status::Succeeded) >= jobs as u64 {
            return Ok(jobs as f64 / started.elapsed().as_secs_f64());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn empty(host: &Host, plugin: &PluginName, plan: &Plan) -> Result<f64> {
    let plan = Plan { jobs: EMPTY_JOBS, ..plan.clone() };
    throughput::measure(host, plugin, &plan).await
}

fn purge(host: &Host) -> Result<(u64, f64)> {
    let started = Instant::now();
    let all = Retention { succeeded: Some(Duration::ZERO), ..Retention::FOREVER };
    let swept = tokio::task::block_in_place(|| host.purge(all, None, false))?;
    Ok((swept.removed, started.elapsed().as_secs_f64()))
}

/// The share of a core and the memory that jobs cost which wait.
async fn wait_idly(plan: &Plan, settings: &Settings, jobs: usize) -> Result<(f64, f64)> {
    let opened = open(settings).await?;
    let plugin = install(&opened.host, &plan.component).await?;
    let first = opened.host.now().after(FAR_AHEAD);
    let postponed = |at: usize| {
        let at = Some(first.after(Duration::from_millis(at as u64)));
        NewJob { at, ..new_job(&plugin, plan) }
    };
    submit(&opened.host, plan, jobs, postponed).await?;
    tokio::time::sleep(SETTLE).await;
    let before = report::cpu_seconds();
    tokio::time::sleep(IDLE).await;
    let used = report::cpu_seconds() - before;
    let memory = report::rss_mb();
    close(opened).await;
    Ok((used / IDLE.as_secs_f64() * 100.0, memory))
}
