//! The same measurements through the HTTP API of a host in another process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Plan;
use super::report::{self, Latencies, Report};
use crate::config::Settings;

/// How often the counts are asked for while jobs run.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Seconds that one caller waits for its result; the API's bound is higher.
const PATIENCE_SECS: u64 = 30;

/// Measures a host that is started for this and stopped again.
pub fn run_over_http(plan: &Plan, settings: &Settings) -> Result<Report> {
    let mut server = Server::start(plan, settings)?;
    let measured = measure(&server, plan, settings);
    server.stop()?;
    measured
}

fn measure(server: &Server, plan: &Plan, settings: &Settings) -> Result<Report> {
    let component = std::fs::read(&plan.component)?;
    let path = "/v1/plugins/noop/versions/1.0.0";
    server.agent.put(server.url(path)).header("content-type", "application/wasm").send(&component[..])?;
    let job = json!({ "plugin": "noop", "input": "x".repeat(plan.input_bytes.saturating_sub(2)) }).to_string();
    latencies(server, &job, 200, 1)?;

    let jobs_per_second = throughput(server, &job, plan)?;
    let c1 = latencies(server, &job, plan.samples, 1)?;
    let c64 = latencies(server, &job, plan.samples, 64)?;
    let store: Value = server.get("/v1/service")?;
    let number = |name: &str| store["store"][name].as_u64().unwrap_or(0);
    Ok(Report {
        jobs_per_second,
        c1,
        c64,
        rescue_ms: None,
        peak_rss_mb: peak_rss_of(server.process.id()),
        disk_mb: report::megabytes(number("disk_bytes")),
        fsyncs: number("fsyncs"),
        durability: settings.store.durability.word().to_owned(),
        cores: report::cores(),
        jobs: plan.jobs,
        input_bytes: plan.input_bytes,
    })
}

fn throughput(server: &Server, job: &str, plan: &Plan) -> Result<f64> {
    let succeeded = || -> Result<u64> { Ok(server.get("/v1/counts")?["all"]["succeeded"].as_u64().unwrap_or(0)) };
    let before = succeeded()?;
    let batch = format!("{job}\n").repeat(plan.batch);
    let started = Instant::now();
    let mut left = plan.jobs;
    while left > 0 {
        let count = left.min(plan.batch);
        let body = if count == plan.batch { batch.clone() } else { format!("{job}\n").repeat(count) };
        let request = server.agent.post(server.url("/v1/jobs/bulk"));
        request.header("content-type", "application/x-ndjson").send(body)?;
        left -= count;
    }
    while succeeded()? < before + plan.jobs as u64 {
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(plan.jobs as f64 / started.elapsed().as_secs_f64())
}

fn latencies(server: &Server, job: &str, samples: usize, callers: usize) -> Result<Latencies> {
    let left = AtomicUsize::new(samples);
    let take_one = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
    let url = server.url(&format!("/v1/jobs?wait={PATIENCE_SECS}"));
    let caller = || -> Result<Vec<Duration>> {
        let mut took = Vec::new();
        while take_one() {
            let started = Instant::now();
            let mut answer = server.agent.post(&url).header("content-type", "application/json").send(job)?;
            let job: Value = answer.body_mut().read_json()?;
            took.push(started.elapsed());
            if job["state"] != "succeeded" {
                bail!("a no-op job ended {}", job["state"]);
            }
        }
        Ok(took)
    };
    let took = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
        let joined = callers.into_iter().map(|caller| caller.join().expect("a caller does not panic"));
        joined.collect::<Result<Vec<_>>>()
    })?;
    Ok(Latencies::of(took.into_iter().flatten().collect()))
}

struct Server {
    process: Child,
    address: String,
    agent: ureq::Agent,
}

impl Server {
    fn start(plan: &Plan, settings: &Settings) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", "--listen", "127.0.0.1:0", "--durability", settings.store.durability.word(), "--data"])
            .arg(plan.folder.join("http"))
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the host")?;
        let said = process.stdout.take().context("the host has no output")?;
        let line = BufReader::new(said).lines().map_while(Result::ok).find(|line| line.contains("http://"));
        let address = line.as_deref().and_then(|line| line.split_whitespace().find(|word| word.starts_with("http://")));
        let Some(address) = address.map(str::to_owned) else {
            process.kill()?;
            bail!("the host ended before it said where it listens");
        };
        let agent = ureq::Agent::config_builder().max_idle_connections_per_host(64).build().into();
        Ok(Self { process, address, agent })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    fn get(&self, path: &str) -> Result<Value> {
        Ok(self.agent.get(self.url(path)).call()?.body_mut().read_json()?)
    }

    fn stop(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

fn peak_rss_of(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    report::peak_rss_in(&status)
}
