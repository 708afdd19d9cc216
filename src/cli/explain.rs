//! `backroom explain`: the catalogue of errors, offline.

use super::failure::{Exit, Failure};
use super::table::{Columns, Field};
use super::terminal::Terminal;
use crate::domain::code::{self, CATALOGUE, Code};

/// What to explain.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// A code such as BR0123; without one, every code is listed
    code: Option<String>,
}

/// Explains one code, or lists them all.
pub(crate) fn run(args: &ExplainArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let Some(name) = &args.code else { return list(terminal) };
    let found = code::find(name).ok_or_else(|| unknown(name))?;
    if terminal.is_json() {
        terminal.json(&document(found).to_string())?;
        return Ok(Exit::Done);
    }
    terminal.line(&format!("{}: {}\n", found.name, found.title))?;
    terminal.facts(&[("why", Some(found.cause.to_owned())), ("next", Some(found.remedy.to_owned()))])?;
    Ok(Exit::Done)
}

fn list(terminal: Terminal) -> anyhow::Result<Exit> {
    if terminal.is_json() {
        let all: Vec<_> = CATALOGUE.iter().copied().map(document).collect();
        terminal.json_items(&serde_json::to_string(&all)?)?;
        return Ok(Exit::Done);
    }
    let rows = CATALOGUE.iter().map(|code| vec![Field::new(code.name), Field::new(code.title)]).collect();
    terminal.table(&Columns { headings: &["CODE", "MEANING"], spare: &[] }, rows)?;
    Ok(Exit::Done)
}

fn document(code: Code) -> serde_json::Value {
    serde_json::json!({ "code": code.name, "title": code.title, "cause": code.cause, "next": code.remedy })
}

fn unknown(name: &str) -> Failure {
    Failure::bad_input(format!("there is no code `{name}`"), "backroom explain lists every code")
}
