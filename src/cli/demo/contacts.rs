//! The contact file: one job a row, then one that sums up what came out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::super::client::Client;
use super::show;
use crate::api::view::{JobView, SubmitBody};

/// How often the demo looks how far the rows are.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What became of the file.
pub(super) struct Cleaned {
    /// Jobs that ran, the summary included.
    pub(super) jobs: usize,
    /// Rows that were cleaned.
    pub(super) succeeded: usize,
    /// Rows that could not be used: code, how many, and one of their reasons.
    pub(super) failed: Vec<Reason>,
    /// What the summary says.
    pub(super) summary: Value,
}

/// Why rows failed.
pub(super) struct Reason {
    pub(super) code: String,
    pub(super) rows: usize,
    pub(super) example: String,
    pub(super) job: String,
}

/// Cleans every row of the file and sums it up.
pub(super) fn clean(client: &Client, file: &Path) -> Result<Cleaned> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let rows = jobs_of(&bytes)?;
    show::heading(&format!("Cleaning {} rows of {}", rows.len(), file.display()));
    let ids = client.submit_bulk(to_ndjson(&rows).as_bytes(), None)?.view.ids;

    let mut progress = show::Progress::of(ids.len());
    let mut outputs = Vec::new();
    let mut failed = BTreeMap::<String, Reason>::new();
    for id in &ids {
        let job = ended(client, id)?;
        progress.advance();
        match (job.output, job.error) {
            (Some(output), _) => outputs.push(without_changes(serde_json::from_str(output.get())?)),
            (None, Some(error)) => {
                let code = error.code.unwrap_or_else(|| "no code".to_owned());
                let reason = failed.entry(code.clone()).or_insert_with(|| Reason {
                    code,
                    rows: 0,
                    example: error.message,
                    job: id.clone(),
                });
                reason.rows += 1;
            }
            (None, None) => bail!("job {id} is {} without an output and without an error", job.state),
        }
    }
    progress.finish();
    let succeeded = outputs.len();
    let summary = SubmitBody {
        plugin: "contact-cleaner".to_owned(),
        handler: Some("summarise".to_owned()),
        input: Some(to_raw_value(&outputs)?),
        tags: vec!["demo".to_owned()],
        ..SubmitBody::default()
    };
    let summary = super::output_of(client, &summary)?;
    let mut failed: Vec<_> = failed.into_values().collect();
    failed.sort_by_key(|reason| std::cmp::Reverse(reason.rows));
    Ok(Cleaned { jobs: ids.len() + 1, succeeded, failed, summary })
}

/// The jobs of a file, as its README describes them: one a line, bytes where a line is no UTF-8.
fn jobs_of(file: &[u8]) -> Result<Vec<Value>> {
    let file = file.strip_suffix(b"\n").unwrap_or(file);
    let mut lines = file.split(|byte| *byte == b'\n').enumerate();
    let (_, header) = lines.next().context("the file is empty")?;
    let header: Vec<_> = std::str::from_utf8(header)?.split(',').collect();
    let job = |(at, line): (usize, &[u8])| {
        let row = std::str::from_utf8(line).map_or_else(|_| json!(line), |text| json!(text));
        let input = json!({ "line": at + 1, "row": row, "header": header });
        json!({ "plugin": "contact-cleaner", "handler": "clean-row", "input": input, "tags": ["demo"],
                "name": format!("contacts.csv line {}", at + 1) })
    };
    Ok(lines.map(job).collect())
}

fn to_ndjson(jobs: &[Value]) -> String {
    jobs.iter().map(|job| format!("{job}\n")).collect()
}

/// The summary needs no list of changes, and the input is half as large without it.
fn without_changes(mut output: Value) -> Value {
    if let Some(fields) = output.as_object_mut() {
        fields.remove("changes");
    }
    output
}

/// Waits for the end of one job. The store may hold any number of others, so counts of all of them say nothing.
fn ended(client: &Client, id: &str) -> Result<JobView> {
    loop {
        let job = client.job(id)?.view;
        if job.is_final() {
            return Ok(job);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
