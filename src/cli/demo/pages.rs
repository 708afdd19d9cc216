//! The project's own Markdown files, rendered: one job a file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::super::client::Client;
use super::show;
use crate::api::view::SubmitBody;

/// A rendered page.
pub(super) struct Page {
    pub(super) path: String,
    pub(super) title: String,
    pub(super) words: u64,
    pub(super) html_bytes: usize,
}

/// Renders every Markdown file of the checkout.
pub(super) fn render(client: &Client, checkout: &Path) -> Result<Vec<Page>> {
    let files = markdown_files(checkout)?;
    show::heading(&format!("Rendering the {} Markdown files of this project", files.len()));
    files.iter().map(|file| render_one(client, checkout, file)).collect()
}

fn render_one(client: &Client, checkout: &Path, file: &Path) -> Result<Page> {
    let path = file.strip_prefix(checkout).unwrap_or(file).display().to_string();
    let markdown = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let job = SubmitBody {
        plugin: "markdown-renderer".to_owned(),
        name: Some(path.clone()),
        input: Some(to_raw_value(&json!({ "path": path, "markdown": markdown }))?),
        tags: vec!["demo".to_owned()],
        ..SubmitBody::default()
    };
    let output = super::output_of(client, &job).with_context(|| format!("rendering {path}"))?;
    let text = |name: &str| output[name].as_str().unwrap_or_default();
    Ok(Page {
        title: text("title").to_owned(),
        words: output["words"].as_u64().unwrap_or(0),
        html_bytes: text("html").len(),
        path,
    })
}

/// Markdown files at the top and in the folders that hold texts, sorted.
fn markdown_files(checkout: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in [checkout.to_owned(), checkout.join("docs"), checkout.join("examples/contacts")] {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
