//! The state diagram in the documentation is generated from the transition function, and is the one in the repository.

use std::fmt::Write as _;
use std::path::PathBuf;

use backroom::domain::job::Status;

use crate::table::{edges, rows};

fn generated() -> String {
    let mut page = String::from(
        "# The states of a job\n\n\
         Generated from the transition function by `tests/domain/diagram.rs`; `BACKROOM_BLESS=1 cargo test \
         --no-default-features --test domain diagram` writes it anew.\n\n\
         ```mermaid\nstateDiagram-v2\n",
    );
    for status in Status::ALL {
        writeln!(page, "    {status}: {status} ({})", status.code()).expect("a string takes all");
    }
    page.push_str("    [*] --> queued: T00\n    [*] --> waiting: T01\n    [*] --> failed: T02\n");
    for ((from, to), rules) in edges() {
        let rules: Vec<_> = rules.into_iter().collect();
        writeln!(page, "    {from} --> {to}: {}", rules.join(" ")).expect("a string takes all");
    }
    for (status, rule) in [(Status::Succeeded, "T53"), (Status::Failed, "T54"), (Status::Canceled, "T55")] {
        writeln!(page, "    {status} --> [*]: {rule}").expect("a string takes all");
    }
    page.push_str(
        "```\n\nWhat the rules say:\n\n| rule | from | event | when | to |\n| --- | --- | --- | --- | --- |\n",
    );
    for row in rows() {
        let (from, to) = (word(row.from), word(row.to));
        let guard = if row.guard == "-" { "" } else { row.guard };
        writeln!(page, "| {} | {from} | {} | {guard} | {to} |", row.id, row.event).expect("a string takes all");
    }
    page
}

fn word(code: &str) -> String {
    let status = code.parse().ok().and_then(Status::from_code);
    status.map_or_else(|| code.replace('-', ""), |status| status.to_string())
}

#[test]
fn the_committed_diagram_is_the_generated_one() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/state-machine.md");
    if std::env::var_os("BACKROOM_BLESS").is_some() {
        std::fs::write(&path, generated()).expect("docs/ can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated(),
        "docs/state-machine.md is not what the transition function says; \
         run `BACKROOM_BLESS=1 cargo test --no-default-features --test domain diagram`"
    );
}
