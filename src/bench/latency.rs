//! From the call of submit to the result in the caller's hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::report::Latencies;
use super::{Plan, new_job};
use crate::app::Host;
use crate::domain::id::PluginName;
use crate::domain::job::Status;
use crate::jobs::NewJob;

/// Longer than any no-op job takes on a machine that works at all.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn measure(host: &Host, plugin: &PluginName, plan: &Plan, callers: usize) -> Result<Latencies> {
    let left = Arc::new(AtomicUsize::new(plan.samples));
    let callers = (0..callers).map(|_| {
        let left = Arc::clone(&left);
        async move {
            let mut took = Vec::new();
            while take_one(&left) {
                let started = Instant::now();
                submit_and_wait(host, new_job(plugin, plan)).await?;
                took.push(started.elapsed());
            }
            anyhow::Ok(took)
        }
    });
    let took = futures_util::future::try_join_all(callers).await?;
    Ok(Latencies::of(took.into_iter().flatten().collect()))
}

pub(super) async fn submit_and_wait(host: &Host, new: NewJob) -> Result<()> {
    let submitted = host.jobs.submit(new, None).await?;
    let job = host.jobs.wait(submitted.job, PATIENCE).await?;
    if job.state.status != Status::Succeeded {
        bail!("a no-op job ended {}: {:?}", job.state.status, job.state.failure());
    }
    Ok(())
}

fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}
