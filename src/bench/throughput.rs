//! Jobs per second end to end: from the first submit to the last durable success.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Plan, new_job};
use crate::app::Host;
use crate::domain::id::{PluginName, TenantId};
use crate::domain::job::Status;
use crate::domain::query::Counts;

/// How often the counts are looked at while jobs run; small against the run's length.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How many bulk submits are under way at a time: one is encoded while the other is synced.
const SUBMITTERS: usize = 2;

pub(super) async fn measure(host: &Host, plugin: &PluginName, plan: &Plan) -> Result<f64> {
    let done_before = counts(host)?.of(Status::Succeeded);
    let started = Instant::now();
    let share = plan.jobs.div_ceil(SUBMITTERS);
    let shares = (0..SUBMITTERS).map(|at| submit_share(host, plugin, plan, share.min(plan.jobs - at * share)));
    futures_util::future::try_join_all(shares).await?;
    loop {
        let counts = counts(host)?;
        if counts.of(Status::Failed) > 0 {
            bail!("{} of the no-op jobs failed", counts.of(Status::Failed));
        }
        if counts.of(Status::Succeeded) - done_before >= plan.jobs as u64 {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(plan.jobs as f64 / started.elapsed().as_secs_f64())
}

async fn submit_share(host: &Host, plugin: &PluginName, plan: &Plan, jobs: usize) -> Result<()> {
    let mut left = jobs;
    while left > 0 {
        let batch = left.min(plan.batch);
        let news = (0..batch).map(|_| new_job(plugin, plan)).collect();
        host.jobs.submit_bulk(news).await?;
        left -= batch;
    }
    Ok(())
}

pub(super) fn counts(host: &Host) -> Result<Counts> {
    let by_plugin = host.jobs.counts(TenantId::DEFAULT)?;
    Ok(by_plugin.iter().fold(Counts::default(), |sum, (_, counts)| sum.plus(counts)))
}
