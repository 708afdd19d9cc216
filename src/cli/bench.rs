//! `backroom bench`: measures this host on this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::carried;
use super::failure::{Exit, Failure};
use super::samples::{build_samples, checkout};
use super::settings::SettingsArgs;
use super::terminal::Terminal;
use crate::bench::{self, Plan, Report};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Jobs of the throughput run.
    #[arg(long, default_value_t = 100_000)]
    jobs: usize,
    /// Bytes of each job's input.
    #[arg(long, default_value_t = 128)]
    input_bytes: usize,
    /// Jobs in one bulk submit.
    #[arg(long, default_value_t = 1_000)]
    batch: usize,
    /// Samples of each latency run.
    #[arg(long, default_value_t = 10_000)]
    samples: usize,
    /// The no-op component, in place of the one that the program carries.
    #[arg(long)]
    component: Option<PathBuf>,
    /// Submit as the holder of a token does: the host keeps by name whose jobs they are.
    #[arg(long, conflicts_with = "http")]
    owned: bool,
    /// Drive a host in another process through its HTTP API.
    #[arg(long)]
    http: bool,
    /// Measure what a backlog of so many ready jobs costs.
    #[arg(long, value_name = "JOBS", conflicts_with = "http")]
    backlog: Option<usize>,
    /// Measure what lies on the disk while jobs come, run and are removed for so long.
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["http", "backlog"])]
    churn: Option<u64>,
    /// Work in this folder until somebody kills the process; what the rescue measurement starts.
    #[arg(long, hide = true)]
    victim: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Measures and prints.
pub(crate) fn run(args: &BenchArgs, terminal: Terminal) -> Result<Exit> {
    let settings = args.settings.load()?.settings;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(folder) = &args.victim {
        runtime.block_on(bench::be_the_victim(&args.plan(folder.clone())?, &settings))?;
        return Ok(Exit::Done);
    }
    args.check_counts()?;
    let (folder, _removed_at_the_end) = args.folder()?;
    let carried = tempfile::tempdir()?;
    let args = &BenchArgs { component: Some(args.component_in(carried.path())?), ..args.clone() };
    let plan = args.plan(folder)?;
    if let Some(backlog) = args.backlog {
        let report = runtime.block_on(bench::run_backlog(&plan, &settings, backlog))?;
        match terminal.is_json() {
            true => terminal.json(&serde_json::to_string(&report)?)?,
            false => terminal.line(report.to_string().trim_end())?,
        }
        return Ok(Exit::Done);
    }
    if let Some(seconds) = args.churn {
        let report = runtime.block_on(bench::run_churn(&plan, &settings, seconds))?;
        match terminal.is_json() {
            true => terminal.json(&serde_json::to_string(&report)?)?,
            false => terminal.line(report.to_string().trim_end())?,
        }
        return Ok(Exit::Done);
    }
    let report: Report = match args.http {
        true => bench::run_over_http(&plan, &settings)?,
        false => runtime.block_on(bench::run_embedded(&plan, &settings))?,
    };
    match terminal.is_json() {
        true => terminal.json(&report.to_json().to_string())?,
        false => terminal.line(report.to_string().trim_end())?,
    }
    Ok(Exit::Done)
}

impl BenchArgs {
    fn check_counts(&self) -> Result<(), Failure> {
        for (flag, count) in [("--jobs", self.jobs), ("--batch", self.batch), ("--samples", self.samples)] {
            if count == 0 {
                let next = format!("give {flag} at least 1, or leave it out");
                return Err(Failure::bad_input(format!("{flag} is 0: there is nothing to measure"), next));
            }
        }
        Ok(())
    }

    fn plan(&self, folder: PathBuf) -> Result<Plan> {
        let component = self.component.clone().context("a measurement needs a component")?;
        let Self { jobs, input_bytes, batch, samples, owned, .. } = *self;
        Ok(Plan { jobs, input_bytes, batch, samples, owned, component, folder })
    }

    /// The component to run: the one that was named, the one that the program carries, put into `folder`, or that of a
    /// checkout.
    fn component_in(&self, folder: &Path) -> Result<PathBuf> {
        match (&self.component, carried::ECHO) {
            (Some(component), _) if component.is_file() => Ok(component.clone()),
            (Some(component), _) => {
                let message = format!("there is no component `{}`", component.display());
                let next = "give the .wasm file of a plug-in, or leave --component out";
                Err(Failure::bad_input(message, next).into())
            }
            (None, Some(echo)) => {
                let path = folder.join("echo.wasm");
                std::fs::write(&path, echo.component)?;
                Ok(path)
            }
            (None, None) => {
                echo().context("this program carries no plug-in to measure with; give one with --component")
            }
        }
    }

    fn folder(&self) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
        if let Some(folder) = self.settings.data.as_ref().map(PathBuf::from) {
            if folder.exists() {
                let message = format!("{} exists: a measurement starts on an empty store", folder.display());
                return Err(Failure::bad_input(message, "give --data a folder that is not there yet").into());
            }
            return Ok((folder, None));
        }
        let target = std::path::Path::new("target");
        let parent = if target.is_dir() { target } else { std::path::Path::new(".") };
        let folder = tempfile::Builder::new().prefix("backroom-bench-").tempdir_in(parent)?;
        Ok((folder.path().to_owned(), Some(folder)))
    }
}

/// The smallest sample, which does nothing but give its input back.
fn echo() -> Result<PathBuf> {
    let samples = build_samples(&checkout()?, &["echo"])?;
    Ok(samples.component("echo")?.to_owned())
}
