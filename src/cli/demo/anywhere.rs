//! The demo where there are no sources: real work with the plug-in that the program carries.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::super::carried::Carried;
use super::super::client::{Client, Component};
use super::show;
use crate::config::parse_manifest;

/// How many jobs run.
const JOBS: usize = 1_000;

/// How often it is looked how far they are.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Uploads the plug-in, submits jobs in one request, waits for all of them and shows the last.
pub(super) fn work(client: &Client, carried: Carried) -> Result<()> {
    show::heading("Uploading the plug-in that this program carries");
    let Ok(manifest) = parse_manifest(carried.manifest) else {
        bail!("the plug-in that this program carries is damaged")
    };
    let (name, version) = (manifest.name.as_str(), manifest.version.as_str());
    let component = Component { name, version, manifest: Some(carried.manifest), bytes: carried.component };
    show::line(&format!("{name} {}", client.upload(component)?.view.version.version));

    show::heading(&format!("Running {JOBS} jobs, submitted in one request"));
    let line =
        |number: usize| format!("{{\"plugin\":\"{name}\",\"input\":{{\"number\":{number}}},\"tags\":[\"demo\"]}}\n");
    let started = Instant::now();
    let ids = client.submit_bulk((0..JOBS).map(line).collect::<String>().as_bytes(), None)?.view.ids;
    let mut progress = show::Progress::of(ids.len());
    let mut ends = BTreeSet::new();
    for id in &ids {
        let job = loop {
            let job = client.job(id)?.view;
            if job.is_final() {
                break job;
            }
            std::thread::sleep(LOOK_EVERY);
        };
        ends.insert(job.state);
        progress.advance();
    }
    progress.finish();
    let ends: Vec<_> = ends.into_iter().collect();
    show::line(&format!(
        "{} jobs ended after {:.1} s ({}), each in a sandbox of its own, each durable before it was acknowledged.",
        ids.len(),
        started.elapsed().as_secs_f64(),
        ends.join(", ")
    ));
    if let Some(last) = ids.last() {
        let output = String::from_utf8_lossy(&client.output(last)?).into_owned();
        show::line(&format!("The last of them, {last}, returned {output}"));
    }
    show::heading("The whole demo cleans a file of contacts and renders pages");
    show::line("It builds three sample plug-ins from their sources: run it in a checkout.");
    Ok(())
}
