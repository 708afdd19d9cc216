//! How long an interrupted job waits: a host is killed while it works, and started again on the same store.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Plan, close, install, new_job};
use crate::config::Settings;
use crate::domain::id::TenantId;
use crate::domain::job::Job;
use crate::domain::query::{JobFilter, JobQuery};
use crate::embedded::open;

/// Jobs that the victim is given; it does not get to the end of them.
const VICTIMS_JOBS: usize = 50_000;

/// Jobs in one bulk submit of the victim.
const BATCH: usize = 1_000;

/// What the victim says when it is in the middle of its work.
const AT_WORK: &str = "at work";

/// Longer than any rescue takes on a machine that works at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many hosts are killed at most: one may hold no job at the very moment.
const VICTIMS_MAX: usize = 5;

/// Milliseconds from the restart to the first rescued job's success.
pub(super) async fn measure(plan: &Plan, settings: &Settings) -> Result<f64> {
    for victim in 0..VICTIMS_MAX {
        let folder = plan.folder.join(format!("rescue-{victim}"));
        kill_one_at_work(plan, settings, &folder)?;
        if let Some(took) = rescue(settings, folder).await? {
            return Ok((took.as_secs_f64() * 10_000.0).round() / 10.0);
        }
    }
    bail!("none of {VICTIMS_MAX} hosts held a job when it was killed")
}

/// Starts a host on what a killed one left; how long its first rescued job took to end. None when none was held.
async fn rescue(settings: &Settings, folder: PathBuf) -> Result<Option<Duration>> {
    let mut settings = settings.clone();
    settings.store.path = folder;
    let started = Instant::now();
    let opened = open(&settings).await?;
    let mut took = None;
    if opened.host.rescued > 0 {
        let rescued = first_rescued(&opened.host).await?;
        let job = opened.host.jobs.wait(rescued, PATIENCE).await?;
        if !job.state.status.is_final() {
            bail!("the rescued job did not end within {} s", PATIENCE.as_secs());
        }
        took = Some(started.elapsed());
    }
    close(opened).await;
    Ok(took)
}

/// The oldest job that has lost a lease.
async fn first_rescued(host: &crate::app::Host) -> Result<Job> {
    let mut query = JobQuery { tenant: TenantId::DEFAULT, filter: JobFilter::default(), before: None, limit: 1_000 };
    let mut rescued = None;
    loop {
        let page = host.jobs.list(&query)?;
        rescued = page.jobs.into_iter().rfind(|job| job.state.crashes > 0).or(rescued);
        match page.next {
            Some(next) => query.before = Some(next),
            None => return rescued.context("no job has lost a lease"),
        }
    }
}

fn kill_one_at_work(plan: &Plan, settings: &Settings, folder: &Path) -> Result<()> {
    let mut victim = Command::new(std::env::current_exe()?)
        .args(["bench", "--victim"])
        .arg(folder)
        .arg("--component")
        .arg(&plan.component)
        .args(["--durability", settings.store.durability.word()])
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the host that is to be killed")?;
    let said = victim.stdout.take().context("the victim has no output")?;
    let spoke = BufReader::new(said).lines().map_while(Result::ok).any(|line| line == AT_WORK);
    victim.kill()?;
    victim.wait()?;
    if spoke { Ok(()) } else { bail!("the host that was to be killed ended by itself") }
}

/// The other side: works until it is killed.
pub async fn be_the_victim(plan: &Plan, settings: &Settings) -> Result<()> {
    let mut settings = settings.clone();
    settings.store.path = plan.folder.clone();
    let opened = open(&settings).await?;
    let plugin = install(&opened.host, &plan.component).await?;
    super::warm_up(&opened.host, &plugin, plan).await?;
    for _ in 0..VICTIMS_JOBS / BATCH {
        let news = (0..BATCH).map(|_| new_job(&plugin, plan)).collect();
        opened.host.jobs.submit_bulk(news).await?;
    }
    #[expect(clippy::print_stdout, reason = "the word that the parent process waits for")]
    {
        println!("{AT_WORK}");
    }
    tokio::time::sleep(PATIENCE).await;
    Ok(())
}
