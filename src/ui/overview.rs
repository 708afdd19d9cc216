//! The first page: what waits, what runs, how fast, and what fails.

use std::time::Duration;

use askama::Template;
use axum::extract::Query;
use axum::response::Response;

use super::Console;
use super::attention::{self, Need};
use super::given::Given;
use super::jobs::{Group, Row};
use super::lookout::Look;
use super::sampler::Rate;
use super::shell::{After, Section, Shell};
use super::sparkline::Sparkline;
use super::text::{self, When};
use super::trouble::Trouble;
use crate::domain::access::Right;
use crate::domain::id::{PluginName, TenantId};
use crate::domain::job::{Job, Status};
use crate::domain::query::Counts;
use crate::jobs::Tally;

/// Running jobs and failing plug-ins that the page lists at most.
const LISTED: usize = 8;

/// Running jobs that are looked at for those that a visitor may see.
const RUNNING_LOOKED_AT: usize = 1_000;

/// Points of the chart, and seconds that each stands for.
const CHART: (usize, usize) = (60, 10);

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    shell: Shell,
    needs: Vec<Need>,
    tiles: Vec<Tile>,
    /// How far back the jobs were counted, where not all were.
    counted_to: Option<When>,
    /// For those who see all jobs.
    whole: Option<Whole>,
    failing: Vec<Failing>,
    running: Vec<Row>,
    running_more: usize,
    has_jobs: bool,
}

/// What is about the host as a whole.
struct Whole {
    oldest: Option<String>,
    last_minute: Pace,
    last_ten: Pace,
    chart: Sparkline,
    chart_peak: String,
    store: StoreLine,
    started: When,
    uptime: String,
    rescued: usize,
    has_plugins: bool,
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
    /// Whether there is a page of it for the visitor.
    leads: bool,
    failed: String,
    percent: String,
    /// The message of its last failed job, and the job.
    last: Option<(String, String)>,
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
pub(super) async fn show(console: Console, Given(Query(after)): Given<Query<After>>) -> Response {
    console.page(move |console| overview(console, after)).await
}

fn overview(console: &Console, after: After) -> Result<Overview, Trouble> {
    let tally = console.host.jobs.tally(TenantId::DEFAULT, &console.caller)?;
    let look = console.look()?;
    let total = tally.total();
    let waiting = tally.counted_to.map_or_else(|| total.of(Status::Waiting), |_| u64::MAX);
    let mut running = running(console)?;
    let running_more = running.len().saturating_sub(LISTED);
    running.truncate(LISTED);
    Ok(Overview {
        needs: attention::needs(console, &look, waiting),
        tiles: Group::ALL.into_iter().map(|group| tile(group, &total)).collect(),
        counted_to: tally.counted_to.map(|on| When::new(on, console.now())),
        whole: console.sees_all().then(|| whole(console)),
        failing: failing(console, &tally, &look),
        running_more,
        running: Row::all(console, &running)?,
        has_jobs: total != Counts::default(),
        shell: console.shell(Section::Overview, "Overview", after),
    })
}

fn whole(console: &Console) -> Whole {
    let (host, now) = (&console.host, console.now());
    let chart = Sparkline::new(&console.sampler.history(CHART.0, CHART.1));
    Whole {
        oldest: host.oldest_ready().map(|oldest| text::span(now.since(oldest))),
        last_minute: pace(console.sampler.rate(Duration::from_secs(60))),
        last_ten: pace(console.sampler.rate(Duration::from_secs(600))),
        chart_peak: decimal(chart.peak, CHART.1 as u64),
        chart,
        store: store_line(console),
        started: When::new(host.started_on, now),
        uptime: text::span(now.since(host.started_on)),
        rescued: host.rescued,
        has_plugins: !host.registry.list(TenantId::DEFAULT).is_empty(),
    }
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

/// The running jobs that the visitor may see, earliest submission first.
fn running(console: &Console) -> Result<Vec<Job>, Trouble> {
    let mut seen = Vec::new();
    for key in console.host.running.some(RUNNING_LOOKED_AT) {
        let job = console.host.jobs.find(key)?;
        seen.extend(job.filter(|job| console.caller.may(Right::Read, &job.submission)));
    }
    Ok(seen)
}

fn failing(console: &Console, tally: &Tally, look: &Look) -> Vec<Failing> {
    let now = console.now();
    let mut failing: Vec<_> = tally.by_plugin.iter().filter(|(_, counts)| counts.of(Status::Failed) > 0).collect();
    failing.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.of(Status::Failed)));
    failing.truncate(LISTED);
    let describe = |(plugin, counts): &(PluginName, Counts)| {
        let last = look.last_failed.get(plugin);
        Failing {
            plugin: plugin.to_string(),
            leads: console.leads_to_plugin(plugin),
            failed: text::count(counts.of(Status::Failed)),
            percent: failure_percent(counts),
            last: last
                .and_then(|job| Some((text::line(&job.state.failure()?.message, 240), job.submission.id.to_string()))),
            when: last.and_then(|job| Some(When::new(job.state.completed_on?, now))),
        }
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
