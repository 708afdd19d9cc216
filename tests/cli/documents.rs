//! What the documents show: every Rust block is built as the plug-in that it is and run, every command is one that there is,
//! every TOML and JSON block is read.

use std::path::{Path, PathBuf};

use super::host::Host;
use super::program::run_in;
use super::support::cargo;

/// A fenced block of a document.
struct Block {
    /// The document and the line, for messages.
    place: String,
    language: String,
    text: String,
    /// The line above the fence: what a Rust block is run on, and what comes out.
    above: String,
}

fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let root = checkout();
    let in_folder = |folder: &str| {
        let entries = root.join(folder).read_dir().expect("the folder is there");
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "md"))
    };
    let mut documents: Vec<_> = in_folder("docs").collect();
    documents.extend(["README.md", "ARCHITECTURE.md", "plugins/README.md"].map(|name| root.join(name)));
    documents.sort();
    documents
}

fn blocks() -> Vec<Block> {
    documents().iter().flat_map(|document| blocks_of(document)).collect()
}

fn blocks_of(document: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(document).expect("it can be read");
    let name = document.strip_prefix(checkout()).unwrap_or(document).display().to_string();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut above = "";
    for (number, line) in (1..).zip(text.lines()) {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block {
                    place: format!("{name}:{number}"),
                    language: language.to_owned(),
                    text: String::new(),
                    above: above.to_owned(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) if line.is_empty() => {}
            (None, None) => above = line,
        }
    }
    assert!(open.is_none(), "{name} ends within a block");
    blocks
}

/// What a comment above a block says: `<!-- run: INPUT -> OUTPUT -->`.
fn run_of(block: &Block) -> (&str, &str) {
    let said = block.above.strip_prefix("<!-- run: ").and_then(|rest| rest.strip_suffix(" -->"));
    let said = said.and_then(|said| said.split_once(" -> "));
    said.unwrap_or_else(|| panic!("{}: write `<!-- run: INPUT -> OUTPUT -->` above the block", block.place))
}

#[test]
fn every_rust_block_is_a_plugin_that_builds_and_runs() {
    let blocks: Vec<_> = blocks().into_iter().filter(|block| block.language == "rust").collect();
    assert!(blocks.len() >= 2, "the documents show how to write a handler");
    let root = checkout();
    let workspace: toml::Table =
        std::fs::read_to_string(root.join("plugins/Cargo.toml")).expect("it can be read").parse().expect("it is TOML");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let names: Vec<_> = (1..=blocks.len()).map(|number| format!("block-{number}")).collect();
    let sdk = root.join("plugins/sdk");
    // The profile and the lock of the samples, so that what they are built from is built once.
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = {names:?}\n[profile.release]\n{}",
        workspace["profile"]["release"].as_table().expect("a table")
    );
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("it can be made");
        std::fs::write(path, text).expect("it can be written");
    };
    write("Cargo.toml", &manifest);
    std::fs::copy(root.join("plugins/Cargo.lock"), folder.path().join("Cargo.lock")).expect("it can be copied");
    for (name, block) in names.iter().zip(&blocks) {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[dependencies]\n\
             backroom-sdk = {{ path = {sdk:?} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\nserde_json = \"1\"\n"
        );
        write(&format!("{name}/Cargo.toml"), &manifest);
        write(&format!("{name}/src/lib.rs"), &block.text);
    }
    let target = root.join("target/plugins");
    let build = ["build", "--release", "--target", "wasm32-wasip2", "--target-dir", &target.display().to_string()];
    let places: Vec<_> = blocks.iter().map(|block| block.place.as_str()).collect();
    assert!(cargo(folder.path(), &build), "block-N is the Nth of {places:?}");
    let host = Host::start();
    for (name, block) in names.iter().zip(&blocks) {
        let component = target.join("wasm32-wasip2/release").join(format!("{}.wasm", name.replace('-', "_")));
        let component = component.display().to_string();
        host.run(&["plugin", "upload", &component, "--name", name, "--version", "1.0.0"]).done();
        let (input, output) = run_of(block);
        assert_eq!(host.run(&["run", name, input]).done().trim(), output, "{}", block.place);
    }
}

#[test]
fn every_command_that_a_document_shows_is_one() {
    let mut seen = 0;
    for block in blocks() {
        for line in block.text.lines() {
            let line = line.split(" #").next().unwrap_or_default().trim();
            let Some(rest) = line.strip_prefix("backroom ") else { continue };
            let words: Vec<_> = rest.split_whitespace().collect();
            // A verb may have verbs of its own; what follows them may be anything.
            let verbs: Vec<_> = words
                .iter()
                .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
                .take(2)
                .collect();
            let flags = words.iter().filter(|word| word.starts_with("--") && word.len() > 2);
            let [first, others @ ..] = verbs.as_slice() else { continue };
            let whole: Vec<&str> =
                [*first].into_iter().chain(others.iter().copied()).copied().chain(["--help"]).collect();
            let mut help = run_in(&checkout(), &whole);
            if help.code != 0 || !others.is_empty() && !help.out.contains(&format!("{} {}", first, others[0])) {
                help = run_in(&checkout(), &[**first, "--help"]);
            }
            assert_eq!(help.code, 0, "{}: `{line}` is no command\n{}", block.place, help.whole());
            for flag in flags {
                let flag = flag.split('=').next().unwrap_or_default();
                assert!(help.out.contains(flag), "{}: `{line}` has no {flag}\n{}", block.place, help.out);
            }
            seen += 1;
        }
    }
    assert!(seen >= 20, "only {seen} commands were found");
}

#[test]
fn every_toml_and_json_block_is_read() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for block in blocks() {
        match block.language.as_str() {
            "json" => {
                let read = serde_json::from_str::<serde_json::Value>(&block.text);
                assert!(read.is_ok(), "{}: {read:?}", block.place);
            }
            "toml" => {
                let is_manifest = block.text.starts_with("name = ");
                let file = folder.path().join(if is_manifest { "plugin.toml" } else { "backroom.toml" });
                std::fs::write(&file, &block.text).expect("it can be written");
                if is_manifest {
                    let read = backroom::config::parse_manifest(&block.text);
                    assert!(read.is_ok(), "{}: {read:?}", block.place);
                    continue;
                }
                let check = run_in(folder.path(), &["config", "check"]);
                // A path of an example leads nowhere; all else must be right.
                let is_read = check.code == 0 || check.err.contains("BR0513");
                assert!(is_read, "{}: {}", block.place, check.whole());
            }
            _ => {}
        }
    }
}
