//! The first page: what waits, what runs, how fast, and what fails.

use std::time::Duration;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;

use super::Console;
use super::attention::{self, Need};
use super::jobs::{Group, Row};
use super::sampler::Rate;
use super::shell::{After, Section, Shell};
use super::sparkline::Sparkline;
use super::text::{self, When};
use super::trouble::Trouble;
use crate::domain::access::Caller;
use crate::domain::id::{PluginName, TenantId};
use crate::domain::job::Status;
use crate::domain::query::{Counts, JobFilter, JobQuery};

/// Running jobs and failing plug-ins that the page lists at most.
const LISTED: usize = 8;

/// Points of the chart, and seconds that each stands for.
const CHART: (usize, usize) = (60, 10);

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    shell: Shell,
    needs: Vec<Need>,
    tiles: Vec<Tile>,
    oldest: Option<String>,
    last_minute: Pace,
    last_ten: Pace,
    chart: Sparkline,
    chart_peak: String,
    failing: Vec<Failing>,
    running: Vec<Row>,
    running_more: usize,
    store: StoreLine,
    started: When,
    uptime: String,
    rescued: usize,
    has_plugins: bool,
    has_jobs: bool,
}

struct Tile {
    group: Group,
    count: String,
    is_zero: bool,
}

struct Pace {
    per_second: String,
    failed: Option<String>,
}

struct Failing {
    plugin: String,
    failed: String,
    percent: String,
    message: Option<String>,
    job: Option<String>,
    when: Option<When>,
}

struct StoreLine {
    durability: &'static str,
    promise: &'static str,
    disk: String,
    commits: String,
    fsyncs: String,
    refusing: Option<String>,
}

/// The page.
pub(super) async fn show(State(console): State<Console>, caller: Caller, Query(after): Query<After>) -> Response {
    console.page(move |console| overview(console, &caller, after)).await
}

fn overview(console: &Console, caller: &Caller, after: After) -> Result<Overview, Trouble> {
    let host = &console.host;
    let now = console.now();
    let counts = host.jobs.counts(TenantId::DEFAULT)?;
    let total = counts.iter().fold(Counts::default(), |total, (_, counts)| total.plus(counts));
    let running = running(console)?;
    let chart = Sparkline::new(&console.sampler.history(CHART.0, CHART.1));
    Ok(Overview {
        needs: attention::needs(console, caller)?,
        tiles: Group::ALL.into_iter().map(|group| tile(group, &total)).collect(),
        oldest: host.oldest_ready().map(|oldest| text::span(now.since(oldest))),
        last_minute: pace(console.sampler.rate(Duration::from_secs(60))),
        last_ten: pace(console.sampler.rate(Duration::from_secs(600))),
        chart_peak: decimal(chart.peak, CHART.1 as u64),
        chart,
        failing: failing(console, &counts)?,
        running_more: host.running.len().saturating_sub(running.len()),
        running,
        store: store_line(console),
        started: When::new(host.started_on, now),
        uptime: text::span(now.since(host.started_on)),
        rescued: host.rescued,
        has_plugins: !host.registry.list(TenantId::DEFAULT).is_empty(),
        has_jobs: total != Counts::default(),
        shell: console.shell(Section::Overview, "Overview", after),
    })
}

fn tile(group: Group, total: &Counts) -> Tile {
    let count = group.count(total);
    Tile { group, count: text::count(count), is_zero: count == 0 }
}

fn pace(rate: Option<Rate>) -> Pace {
    let Some(Rate { ended, failed }) = rate else { return Pace { per_second: "–".to_owned(), failed: None } };
    Pace { per_second: per_second(ended), failed: (failed > 0.0).then(|| per_second(failed)) }
}

fn per_second(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        ..0.01 => "< 0.01".to_owned(),
        ..10.0 => format!("{rate:.2}"),
        ..1_000.0 => format!("{rate:.1}"),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive rate, rounded for people"
        )]
        _ => text::count(rate.round() as u64),
    }
}

/// A count over some seconds as a count a second.
fn decimal(count: u64, seconds: u64) -> String {
    match (count / seconds, count % seconds * 10 / seconds) {
        (whole, 0) => text::count(whole),
        (whole, tenth) => format!("{}.{tenth}", text::count(whole)),
    }
}

fn running(console: &Console) -> Result<Vec<Row>, Trouble> {
    let mut rows = Vec::new();
    for key in console.host.running.some(LISTED) {
        rows.extend(console.host.jobs.find(key)?.map(|job| Row::new(console, &job)).transpose()?);
    }
    Ok(rows)
}

fn failing(console: &Console, counts: &[(PluginName, Counts)]) -> Result<Vec<Failing>, Trouble> {
    let now = console.now();
    let mut failing: Vec<_> = counts.iter().filter(|(_, counts)| counts.of(Status::Failed) > 0).collect();
    failing.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.of(Status::Failed)));
    failing.truncate(LISTED);
    let describe = |(plugin, counts): &(PluginName, Counts)| {
        let filter = JobFilter { statuses: vec![Status::Failed], plugin: Some(plugin.clone()), ..JobFilter::default() };
        let query = JobQuery { tenant: TenantId::DEFAULT, filter, before: None, limit: 1 };
        let last = console.host.jobs.list(&query)?.jobs.into_iter().next();
        let failed = counts.of(Status::Failed);
        Ok(Failing {
            plugin: plugin.to_string(),
            failed: text::count(failed),
            percent: failure_percent(counts),
            message: last.as_ref().and_then(|job| Some(text::line(&job.state.failure()?.message, 240))),
            job: last.as_ref().map(|job| job.submission.id.to_string()),
            when: last.and_then(|job| Some(When::new(job.state.completed_on?, now))),
        })
    };
    failing.into_iter().map(describe).collect()
}

/// The share of failures among jobs that succeeded or failed: `0 %`, `< 1 %`, `37 %`.
pub(super) fn failure_percent(counts: &Counts) -> String {
    let failed = u128::from(counts.of(Status::Failed));
    let ended = failed + u128::from(counts.of(Status::Succeeded));
    match (failed * 100).checked_div(ended) {
        None => "–".to_owned(),
        Some(0) if failed > 0 => "< 1 %".to_owned(),
        Some(percent) => format!("{percent} %"),
    }
}

fn store_line(console: &Console) -> StoreLine {
    let stats = console.host.store_stats();
    let promise = match stats.durability {
        "power" => "A taken job survives loss of power.",
        "process" => "A taken job survives a crash of the host, but not loss of power.",
        _ => "Everything is gone when the host ends.",
    };
    StoreLine {
        durability: stats.durability,
        promise,
        disk: text::bytes(stats.disk_bytes),
        commits: text::count(stats.commits),
        fsyncs: text::count(stats.fsyncs),
        refusing: stats.refusing.map(|why| text::line(&why, 400)),
    }
}
