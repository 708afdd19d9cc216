//! What a bench run found, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latencies {
    /// Half are quicker.
    pub p50: f64,
    /// 95 in a hundred are quicker.
    pub p95: f64,
    /// 99 in a hundred are quicker.
    pub p99: f64,
    /// 999 in a thousand are quicker.
    pub p999: f64,
}

impl Latencies {
    /// The percentiles of some measurements (nearest rank).
    pub fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let rank = |permille: usize| {
            let at = (took.len() * permille).div_ceil(1_000).saturating_sub(1);
            took.get(at).map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
        };
        Self { p50: rank(500), p95: rank(950), p99: rank(990), p999: rank(999) }
    }
}

/// Everything that a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// End to end, at the given durability.
    pub jobs_per_second: f64,
    /// Submit to result, one caller.
    pub c1: Latencies,
    /// Submit to result, 64 callers.
    pub c64: Latencies,
    /// From the restart after a kill to the first rescued job's success, in milliseconds.
    pub rescue_ms: Option<f64>,
    /// Most memory that this process held.
    pub peak_rss_mb: f64,
    /// The store on disk after the runs.
    pub disk_mb: f64,
    /// Syncs to disk in all runs.
    pub fsyncs: u64,
    /// What a submit call that returned survives.
    pub durability: String,
    /// Cores of this machine.
    pub cores: usize,
    /// Jobs of the throughput run.
    pub jobs: usize,
    /// Bytes of each job's input.
    pub input_bytes: usize,
}

impl Report {
    /// One object, with the names that the documentation gives.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "jobs_per_second": self.jobs_per_second.round(),
            "submit_to_result_ms": { "c1": self.c1, "c64": self.c64 },
            "rescue_ms": self.rescue_ms,
            "peak_rss_mb": self.peak_rss_mb,
            "disk_mb": self.disk_mb,
            "fsyncs": self.fsyncs,
            "durability": self.durability,
            "cores": self.cores,
            "jobs": self.jobs,
            "input_bytes": self.input_bytes,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<34}{value}");
        line("durability", self.durability.clone())?;
        line("cores", self.cores.to_string())?;
        line("jobs", format!("{} with {} bytes of input", self.jobs, self.input_bytes))?;
        line("jobs per second, end to end", format!("{:.0}", self.jobs_per_second))?;
        for (name, took) in [("1 caller", self.c1), ("64 callers", self.c64)] {
            let Latencies { p50, p95, p99, p999 } = took;
            let value = format!("p50 {p50:.2} ms   p95 {p95:.2} ms   p99 {p99:.2} ms   p99.9 {p999:.2} ms");
            line(&format!("submit to result, {name}"), value)?;
        }
        if let Some(rescue) = self.rescue_ms {
            line("kill, restart, first rescued job", format!("{rescue:.0} ms"))?;
        }
        line("peak memory", format!("{:.0} MB", self.peak_rss_mb))?;
        line("disk", format!("{:.0} MB", self.disk_mb))?;
        line("syncs", self.fsyncs.to_string())
    }
}

/// The most memory that this process held, from the kernel's accounting; 0 where there is none.
pub(super) fn peak_rss_mb() -> f64 {
    peak_rss_in(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// The memory that this process holds now; 0 where the kernel does not say.
pub(super) fn rss_mb() -> f64 {
    mebibytes_in(&std::fs::read_to_string("/proc/self/status").unwrap_or_default(), "VmRSS:")
}

/// The time on all cores that this process has used, in seconds; 0 where the kernel does not say.
pub(super) fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may hold blanks.
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = behind_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / rustix::param::clock_ticks_per_second() as f64
}

/// The peak in the text of a process's `status` file.
pub(super) fn peak_rss_in(status: &str) -> f64 {
    mebibytes_in(status, "VmHWM:")
}

fn mebibytes_in(status: &str, name: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    (kib.unwrap_or(0.0) / 1024.0 * 10.0).round() / 10.0
}

pub(super) fn megabytes(bytes: u64) -> f64 {
    (bytes as f64 / (1 << 20) as f64 * 10.0).round() / 10.0
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
