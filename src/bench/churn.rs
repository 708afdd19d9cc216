//! What a steady load with retention costs on disk: jobs come, run and are removed, and what lies there should stay bounded.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Plan, close, install, new_job, report, throughput, warm_up};
use crate::app::Host;
use crate::config::Settings;
use crate::domain::id::PluginName;
use crate::domain::job::Status;
use crate::domain::retention::Retention;
use crate::embedded::open;

/// Jobs are removed so long after they have ended.
const KEPT_FOR: Duration = Duration::from_secs(2);
/// How often they are.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// How many looks at the disk a run takes.
const LOOKS: u32 = 10;
/// How often the counts are looked at while a batch runs.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A look at the disk.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ChurnLook {
    /// Seconds since the load began.
    pub seconds: f64,
    /// Jobs that had come until then.
    pub jobs: u64,
    /// Jobs that were there, whatever their state.
    pub live_jobs: u64,
    /// Bytes of the data directory.
    pub disk_mb: f64,
    /// The same, by job that was there.
    pub disk_bytes_per_live_job: f64,
}

/// What was found.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ChurnReport {
    /// Bytes of each job's input.
    pub input_bytes: usize,
    /// In order.
    pub looks: Vec<ChurnLook>,
}

impl fmt::Display for ChurnReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "jobs with {} bytes of input, removed {} s after their end", self.input_bytes, KEPT_FOR.as_secs())?;
        writeln!(f, "{:>8} {:>12} {:>10} {:>10} {:>16}", "seconds", "jobs", "live", "disk MB", "bytes per live")?;
        for look in &self.looks {
            let ChurnLook { seconds, jobs, live_jobs, disk_mb, disk_bytes_per_live_job } = look;
            writeln!(f, "{seconds:>8.1} {jobs:>12} {live_jobs:>10} {disk_mb:>10.1} {disk_bytes_per_live_job:>16.0}")?;
        }
        Ok(())
    }
}

/// Keeps a host busy for `seconds`, and looks at the disk meanwhile.
pub async fn run_churn(plan: &Plan, settings: &Settings, seconds: u64) -> Result<ChurnReport> {
    let mut settings = settings.clone();
    settings.retention = Retention::FOREVER;
    settings.store.path = plan.folder.join("churn");
    let opened = open(&settings).await?;
    let plugin = install(&opened.host, &plan.component).await?;
    warm_up(&opened.host, &plugin, plan).await?;
    let length = Duration::from_secs(seconds);
    let (started, mut swept) = (Instant::now(), Instant::now());
    let mut looks = Vec::new();
    let mut jobs = 0;
    while started.elapsed() < length {
        run_batch(&opened.host, &plugin, plan).await?;
        jobs += plan.batch as u64;
        if swept.elapsed() >= SWEEP_EVERY {
            swept = Instant::now();
            let old = Retention { succeeded: Some(KEPT_FOR), ..Retention::FOREVER };
            tokio::task::block_in_place(|| opened.host.purge(old, None, false))?;
        }
        let due = u32::try_from(looks.len()).unwrap_or(u32::MAX).saturating_add(1);
        if started.elapsed() >= (length / LOOKS).saturating_mul(due) {
            looks.push(look(&opened.host, &settings.store.path, started.elapsed(), jobs)?);
        }
    }
    close(opened).await;
    Ok(ChurnReport { input_bytes: plan.input_bytes, looks })
}

/// Returns when all of them have ended.
async fn run_batch(host: &Host, plugin: &PluginName, plan: &Plan) -> Result<()> {
    host.jobs.submit_bulk((0..plan.batch).map(|_| new_job(plugin, plan)).collect()).await?;
    loop {
        let counts = throughput::counts(host)?;
        if counts.of(Status::Failed) > 0 {
            bail!("{} of the no-op jobs failed", counts.of(Status::Failed));
        }
        if counts.all() == counts.of(Status::Succeeded) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn look(host: &Host, folder: &Path, at: Duration, jobs: u64) -> Result<ChurnLook> {
    let live_jobs = throughput::counts(host)?.all();
    let bytes = bytes_below(folder)?;
    Ok(ChurnLook {
        seconds: at.as_secs_f64(),
        jobs,
        live_jobs,
        disk_mb: report::megabytes(bytes),
        disk_bytes_per_live_job: bytes as f64 / live_jobs.max(1) as f64,
    })
}

/// What the files of a folder hold. One that goes meanwhile holds nothing.
fn bytes_below(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => bytes += bytes_below(&path)?,
            Ok(found) => bytes += found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}
