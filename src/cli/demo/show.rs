//! What the demo prints.

use std::io::Write as _;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::contacts::Cleaned;
use super::pages::Page;

/// How often the demo says how far it is where there is no bar.
const TELL_EVERY: Duration = Duration::from_secs(1);

pub(super) fn heading(text: &str) {
    put(&format!("\n{text}"));
}

pub(super) fn line(text: &str) {
    put(&format!("  {text}"));
}

/// The demo goes on when nobody reads it any more.
fn put(text: &str) {
    drop(std::io::stdout().write_all(format!("{text}\n").as_bytes()));
}

/// How far the jobs are: a bar on a terminal, a line now and then elsewhere.
pub(super) struct Progress {
    bar: ProgressBar,
    jobs: usize,
    done: usize,
    told_at: Instant,
}

impl Progress {
    /// None of so many jobs is done.
    pub(super) fn of(jobs: usize) -> Self {
        let style = ProgressStyle::with_template("  {bar:40} {pos}/{len} jobs, {elapsed}");
        let bar = ProgressBar::new(jobs as u64).with_style(style.expect("the template is well formed"));
        Self { bar, jobs, done: 0, told_at: Instant::now() }
    }

    /// One more job is done.
    pub(super) fn advance(&mut self) {
        self.done += 1;
        self.bar.inc(1);
        if self.bar.is_hidden() && self.told_at.elapsed() >= TELL_EVERY {
            self.told_at = Instant::now();
            line(&format!("{} of {} jobs are done", self.done, self.jobs));
        }
    }

    /// All are done.
    pub(super) fn finish(self) {
        self.bar.finish();
    }
}

pub(super) fn contacts(cleaned: &Cleaned) {
    let summary = &cleaned.summary;
    heading("What came of the contacts");
    line(&format!(
        "{} rows were cleaned: {} contacts, {} of them in several rows, {} orders that were repeated",
        cleaned.succeeded,
        summary["contacts"],
        list(summary, "duplicates").len(),
        summary["repeated_orders"]
    ));
    let mut totals = table(["currency", "orders", "amount"]);
    for total in list(summary, "totals") {
        totals.add_row([text(&total["currency"]), text(&total["orders"]), text(&total["amount"])]);
    }
    print(totals, 1);

    let rows: usize = cleaned.failed.iter().map(|reason| reason.rows).sum();
    heading(&format!("{rows} rows could not be used. Each is a failed job that says why:"));
    let mut reasons = table(["code", "rows", "for example", "job"]);
    for reason in &cleaned.failed {
        reasons.add_row([&reason.code, &reason.rows.to_string(), &reason.example, &reason.job]);
    }
    print(reasons, 1);
}

pub(super) fn pages(pages: &[Page]) {
    heading("What came of the pages");
    let mut rendered = table(["file", "words", "title", "bytes of HTML"]);
    for page in pages {
        rendered.add_row([&page.path, &page.words.to_string(), &page.title, &page.html_bytes.to_string()]);
    }
    print(rendered, 1);
}

pub(super) fn where_next(address: &str, is_up: bool) {
    heading("Where next");
    if is_up {
        line(&format!("The host stays up. Console: {address}/   (end with ctrl-c)"));
        line(&format!("backroom --server {address} job list --state failed"));
        line(&format!("backroom --server {address} run echo '{{\"hello\": \"world\"}}'"));
    } else {
        line("backroom serve             a host that stays, with its console on http://127.0.0.1:7171/");
    }
    line("backroom plugin new NAME   a plug-in of your own");
    line("backroom bench             how fast this machine is");
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_header(header);
    table
}

/// Prints a table with its numbers to the right.
fn print(mut table: Table, numbers: usize) {
    if let Some(column) = table.column_mut(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    put(&table.to_string());
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
