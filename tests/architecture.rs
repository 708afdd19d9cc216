//! Which module may import which, and what no file may contain. Reads the sources; needs nothing built.
//!
//! Every rule names the line that breaks it and what to do instead. The bands are those of `src/lib.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module and what it may import: paths within the crate, each with all that lies under it.
struct Rule {
    module: &'static str,
    may_import: &'static [&'static str],
    instead: &'static str,
}

/// The edges of the crate, from the bottom up. Everything may import itself.
const RULES: &[Rule] = &[
    Rule { module: "domain", may_import: &[], instead: "the rules are pure: take the fact as an argument" },
    Rule { module: "clock", may_import: &["domain"], instead: "a clock only tells the time" },
    Rule { module: "descriptors", may_import: &[], instead: "it asks the system how much there is" },
    Rule { module: "resources", may_import: &[], instead: "it knows what the machine lacks, and nobody's rules" },
    Rule { module: "stored", may_import: &["domain"], instead: "it knows how values are written, not where" },
    Rule {
        module: "store",
        may_import: &["domain", "resources", "stored"],
        instead: "a store holds no rules: let the caller decide",
    },
    Rule {
        module: "sandbox",
        may_import: &["resources", "domain", "clock"],
        instead: "what a guest asks of the host leaves the sandbox as a `HostCall` through `HostPort`",
    },
    Rule {
        module: "registry",
        may_import: &["resources", "domain", "clock", "store", "sandbox"],
        instead: "the registry is below the loops: let them ask it",
    },
    Rule {
        module: "worker",
        may_import: &["resources", "domain", "clock", "store", "sandbox", "registry"],
        instead: "the worker is below the scheduler and the commands: let them call it",
    },
    Rule {
        module: "scheduler",
        may_import: &["resources", "domain", "clock", "store", "registry", "worker"],
        instead: "the scheduler makes time pass and runs nothing: leave that to the worker",
    },
    Rule {
        module: "jobs",
        may_import: &["domain", "clock", "store", "sandbox", "registry", "worker"],
        instead: "commands commit and nudge: let the feed tell the scheduler",
    },
    Rule {
        module: "schedules",
        may_import: &["domain", "clock", "store", "registry", "worker"],
        instead: "commands commit and nudge: let the scheduler fire",
    },
    Rule {
        module: "retention",
        may_import: &["resources", "domain", "clock", "store", "registry"],
        instead: "it removes what has ended: let the domain say what may go",
    },
    Rule { module: "telemetry", may_import: &["domain"], instead: "take numbers as arguments" },
    Rule {
        module: "config",
        may_import: &["domain", "registry", "worker", "telemetry"],
        instead: "settings are values: let `app` build things from them",
    },
    Rule {
        module: "app",
        may_import: &[
            "resources",
            "domain",
            "clock",
            "store",
            "sandbox",
            "registry",
            "worker",
            "scheduler",
            "jobs",
            "schedules",
            "retention",
            "config",
            "telemetry",
        ],
        instead: "the assembly knows no protocol: let the edge call it",
    },
    Rule {
        module: "api",
        may_import: &[
            "descriptors",
            "resources",
            "domain",
            "app",
            "jobs",
            "schedules",
            "retention",
            "registry",
            "telemetry",
            "config::Manifest",
            "config::parse_manifest",
            "config::parse_origin",
            "config::units",
            "store::CommitError",
            "store::ReadError",
            "store::backup",
            "store::frozen",
            "store::StoreStats",
            "store::warrant",
            "sandbox::Rejection",
        ],
        instead: "ask `jobs`, `registry` or `app`; an edge holds no rules and touches no store",
    },
    Rule {
        module: "ui",
        may_import: &[
            "resources",
            "domain",
            "app",
            "jobs",
            "schedules",
            "registry",
            "api",
            "config::Manifest",
            "config::parse_manifest",
            "config::parse_origin",
            "store::CommitError",
            "store::ReadError",
            "store::StoreStats",
            "store::warrant",
            "sandbox::Rejection",
        ],
        instead: "ask `jobs`, `registry` or `app`; the console shows what the API would answer",
    },
    Rule {
        module: "embedded",
        may_import: &["resources", "domain", "clock", "store", "sandbox", "registry", "worker", "app", "config"],
        instead: "it opens a host from settings and knows no protocol",
    },
    Rule {
        module: "bench",
        may_import: &["domain", "app", "embedded", "jobs", "registry", "config"],
        instead: "the bench drives a host as `serve` does",
    },
    Rule {
        module: "cli",
        may_import: &[
            "descriptors",
            "resources",
            "domain",
            "clock",
            "app",
            "api",
            "ui",
            "config",
            "telemetry",
            "embedded",
            "bench",
            "store::sled",
            "store::backup",
        ],
        instead: "the command line is a client of the API; what it starts, `app` joins",
    },
    Rule {
        module: "main",
        may_import: &["cli", "sandbox::wasm"],
        instead: "parse, call `cli`, print, exit; only the child that compiles starts here, too",
    },
];

/// Parts behind a seam, and the only modules that may name them.
const BEHIND_SEAMS: &[(&str, &[&str])] =
    &[("store::sled", &["store", "embedded", "cli"]), ("sandbox::wasm", &["sandbox", "embedded", "main"])];

/// Crates that only some folders may name.
const FOREIGN: &[(&str, &[&str], &str)] = &[
    ("sled", &["src/store/sled/engine/on_sled.rs"], "go through the `Engine` seam of the store"),
    ("wasmtime", &["src/sandbox/wasm"], "go through the `Sandbox` seam"),
    ("wasmtime_wasi", &["src/sandbox/wasm"], "go through the `Sandbox` seam"),
    ("wasmtime_wasi_http", &["src/sandbox/wasm"], "go through the `Sandbox` seam"),
    ("axum", &["src/api", "src/ui", "src/cli", "src/bench"], "only edges speak HTTP"),
    ("clap", &["src/cli", "src/main.rs"], "only the command line reads arguments"),
];

/// What the domain may not name: it is pure.
const IMPURE: &[&str] = &[
    "tokio",
    "parking_lot",
    "std::fs",
    "std::net",
    "std::thread",
    "std::sync::Mutex",
    "SystemTime",
    "Instant",
    "async fn",
    "getrandom",
    "rand",
];

struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: without_comments_and_texts(text) }
    }

    /// `jobs` for `src/jobs/steer.rs`, `main` for `src/main.rs`.
    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = inside.split('/').next().unwrap_or(inside);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The modules that lead to this file, from the crate's root: `jobs`, `steer`.
    fn module_path(&self) -> Vec<&str> {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let inside = inside.strip_suffix(".rs").unwrap_or(inside);
        inside.strip_suffix("/mod").unwrap_or(inside).split('/').collect()
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines())
    }
}

/// The same text, with comments and the insides of string literals blanked out.
fn without_comments_and_texts(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = end_of_blank(&bytes, at);
        if end > at {
            code.extend(bytes[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            code.push(bytes[at]);
            at += 1;
        }
    }
    code
}

/// Where the comment or literal that starts at `at` ends; `at` itself when there is none.
fn end_of_blank(text: &[char], at: usize) -> usize {
    let starts = |pattern: &str| pattern.chars().enumerate().all(|(i, c)| text.get(at + i) == Some(&c));
    let find = |pattern: &str, from: usize| {
        let pattern: Vec<char> = pattern.chars().collect();
        (from..text.len()).find(|i| text[*i..].starts_with(&pattern)).map_or(text.len(), |i| i + pattern.len())
    };
    let after_word = at > 0 && (text[at - 1].is_alphanumeric() || text[at - 1] == '_');
    if starts("//") {
        return find("\n", at) - usize::from(find("\n", at) < text.len());
    }
    if starts("/*") {
        return find("*/", at + 2);
    }
    if starts("r\"") && !after_word {
        return find("\"", at + 2);
    }
    if starts("r#\"") && !after_word {
        return find("\"#", at + 3);
    }
    if starts("'\"'") || starts("'\\\"'") {
        return find("'", at + 2);
    }
    if starts("\"") {
        let mut end = at + 1;
        while end < text.len() && text[end] != '"' {
            end += if text[end] == '\\' { 2 } else { 1 };
        }
        return (end + 1).min(text.len());
    }
    at
}

/// Every path from the crate's root that a file names, with its line: `crate::a::b`, `crate::{a::b, c}` and
/// `super::super::a` from deep inside.
fn crate_paths(source: &Source) -> Vec<(usize, Vec<String>)> {
    let own = source.module_path();
    let root_names: &[&str] = if source.module() == "main" { &["backroom"] } else { &["crate"] };
    let mut found = Vec::new();
    for root in root_names.iter().copied().chain(["super"]) {
        for (at, _) in source.code.match_indices(&format!("{root}::")) {
            let before = source.code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let line = source.code[..at].matches('\n').count() + 1;
            let mut rest = &source.code[at..];
            let mut climbed = 0;
            while let Some(after) = rest.strip_prefix("super::") {
                (rest, climbed) = (after, climbed + 1);
            }
            rest = rest.strip_prefix(&format!("{root}::")).unwrap_or(rest);
            let base: Vec<String> = match root {
                "super" => own.iter().take(own.len().saturating_sub(climbed)).map(ToString::to_string).collect(),
                _ => Vec::new(),
            };
            found.extend(expand(rest).into_iter().map(|tail| (line, base.iter().cloned().chain(tail).collect())));
        }
    }
    found
}

/// The paths of the tree that `text` starts with: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        let mut depth = 0;
        let mut parts = vec![String::new()];
        for c in group.chars() {
            match c {
                '}' if depth == 0 => break,
                ',' if depth == 0 => parts.push(String::new()),
                c => {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    parts.last_mut().expect("there is always a part").push(c);
                }
            }
        }
        return parts.iter().filter(|part| !part.trim().is_empty()).flat_map(|part| expand(part)).collect();
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (segment, rest) = text.split_at(end);
    if segment.is_empty() {
        return vec![Vec::new()];
    }
    let tails = rest.strip_prefix("::").map_or_else(|| vec![Vec::new()], expand);
    tails.into_iter().map(|tail| [vec![segment.to_owned()], tail].concat()).collect()
}

fn lies_under(path: &[String], prefix: &str) -> bool {
    prefix.split("::").enumerate().all(|(i, segment)| path.get(i).is_some_and(|there| there == segment))
}

fn broken_edges(source: &Source) -> Vec<String> {
    let module = source.module();
    if module == "lib" {
        return Vec::new();
    }
    let Some(rule) = RULES.iter().find(|rule| rule.module == module) else {
        let advice = "give it a line in RULES of tests/architecture.rs that says what it may import";
        return vec![format!("{}: the module `{module}` has no place in the bands; {advice}", source.path)];
    };
    let mut broken = Vec::new();
    for (line, path) in crate_paths(source) {
        let Some(target) = path.first().filter(|target| *target != module) else { continue };
        let is_module = RULES.iter().any(|rule| rule.module == *target);
        let allowed = rule.may_import.iter().any(|prefix| lies_under(&path, prefix));
        if is_module && !allowed {
            let (path, allowed) = (path.join("::"), rule.may_import.join(", "));
            broken.push(format!(
                "{}:{line}: `{module}` must not import `{path}` (it may import: {allowed}); {}",
                source.path, rule.instead
            ));
        }
        for (part, may_name) in BEHIND_SEAMS {
            if lies_under(&path, part) && !may_name.contains(&module) {
                broken.push(format!(
                    "{}:{line}: `{part}` lies behind a seam; name the seam's trait instead",
                    source.path
                ));
            }
        }
    }
    broken
}

/// Where requests are served: what is spawned there goes on under the warrant of the request.
const SERVES: &[&str] = &["api", "ui", "jobs", "schedules", "registry"];

/// Loops of the host's own among them.
const OWN_LOOPS: &[&str] = &["src/api/connections.rs", "src/ui/sampler.rs"];

fn lost_warrants(source: &Source) -> Vec<String> {
    if !SERVES.contains(&source.module()) || OWN_LOOPS.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let spawns =
        |code: &str| ["tokio::spawn(", "spawn_blocking(", "thread::spawn("].iter().any(|call| code.contains(call));
    let lost =
        source.lines().filter(|(_, code)| spawns(code) && !code.contains("carried(") && !code.contains("carrying("));
    lost.map(|(line, _)| {
        let path = &source.path;
        format!("{path}:{line}: what is spawned leaves the request's warrant behind; put `store::warrant::carried` or `carrying` around it")
    })
    .collect()
}

fn foreign_names(source: &Source) -> Vec<String> {
    let mut broken = Vec::new();
    for (line, code) in source.lines() {
        for (name, places, instead) in FOREIGN {
            let is_at_home = places.iter().any(|place| source.path.starts_with(place));
            if !is_at_home && names_crate(code, name) {
                broken.push(format!("{}:{line}: `{name}` does not belong here; {instead}", source.path));
            }
        }
        for name in IMPURE.iter().filter(|_| source.module() == "domain") {
            if has_word(code, name) {
                broken.push(format!("{}:{line}: the domain is pure and cannot use `{name}`", source.path));
            }
        }
        // The age of a file is a matter of the file system's own times.
        let may_read_time = source.module() == "clock" || source.path.starts_with("src/store/sled/");
        if !may_read_time && has_word(code, "SystemTime") {
            broken.push(format!("{}:{line}: only clock.rs reads the time of day; take a `Clock`", source.path));
        }
    }
    broken
}

/// Whether a line names the crate `name`, as in `sled::open`, `use sled;` and not as in `store::sled::Tree`.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].trim_end();
        let starts = !before.ends_with("::") && !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let after = &code[at + name.len()..];
        let is_use = before.ends_with("use") && after.trim_start().starts_with([';', ' ']);
        starts && (after.starts_with("::") || is_use)
    })
}

fn has_word(code: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(part_of_word) && !code[at + word.len()..].starts_with(part_of_word))
}

/// The longest file, in lines.
const LINES_MAX: usize = 700;

const HOST_FEATURE_FILES: [&str; 4] = ["src/lib.rs", "src/store/mod.rs", "src/sandbox/mod.rs", "src/main.rs"];

fn untidy(source: &Source) -> Vec<String> {
    let path = &source.path;
    let mut untidy = Vec::new();
    if !source.text.starts_with("//! ") {
        untidy.push(format!("{path}:1: the file does not say what it is for; start it with a `//! ` sentence"));
    }
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        untidy
            .push(format!("{path}: {lines} lines are more than {LINES_MAX}; split the file by what its parts are for"));
    }
    // Put together here, so that this file does not name what it forbids.
    let feature = ["feature", " = ", "\"host\""].concat();
    for (line, text) in (1..).zip(source.text.lines()) {
        let is_gate = path.starts_with("src/") && text.contains("cfg") && text.contains(&feature);
        if is_gate && !HOST_FEATURE_FILES.contains(&path.as_str()) {
            let places = HOST_FEATURE_FILES.join(", ");
            untidy.push(format!("{path}:{line}: the host feature is decided in {places} only; gate the module there"));
        }
    }
    let everywhere = [
        ("todo!", "write it, or leave it out"),
        ("unimplemented!", "write it, or leave it out"),
        (
            "#[ignore",
            "a test that does not run tells nothing: make it fast and bounded, or skip it when its tool is missing",
        ),
        ("unbounded_channel", "every queue has a bound: use a bounded channel"),
        ("mpsc::channel()", "every queue has a bound: use `sync_channel`"),
    ];
    for (line, code) in source.lines() {
        for (word, instead) in everywhere {
            if code.contains(word) {
                untidy.push(format!("{path}:{line}: `{word}` is not allowed; {instead}"));
            }
        }
        let is_excused =
            line > 1 && source.text.lines().nth(line - 2).is_some_and(|above| above.contains("// No signal"));
        if path.starts_with("tests/") && code.contains("sleep(") && !is_excused {
            let advice = "wait for a signal, or say in a comment above why there is none: `// No signal ...`";
            untidy.push(format!("{path}:{line}: a test does not sleep; {advice}"));
        }
    }
    untidy
}

fn sources() -> Vec<Source> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeSet::new();
    for folder in ["src", "tests"] {
        collect(&root.join(folder), &mut files);
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file is text");
        let relative = path.strip_prefix(&root).expect("it lies in the project");
        Source::new(&relative.to_string_lossy().replace('\\', "/"), &text)
    };
    files.into_iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(path);
        }
    }
}

fn check(rule: impl Fn(&Source) -> Vec<String>, folder: &str) {
    let all = sources();
    let broken: Vec<String> = all.iter().filter(|source| source.path.starts_with(folder)).flat_map(rule).collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn imports_point_down() {
    check(broken_edges, "src/");
}

#[test]
fn parts_stay_behind_their_seams() {
    check(foreign_names, "src/");
}

#[test]
fn requests_keep_their_warrant() {
    check(lost_warrants, "src/");
    let lost = |path: &str, text: &str| lost_warrants(&Source::new(path, text)).len();
    assert_eq!(lost("src/api/jobs.rs", "tokio::spawn(work); tokio::task::spawn_blocking(work);"), 1);
    assert_eq!(lost("src/api/jobs.rs", "tokio::task::spawn_blocking(carried(work))"), 0);
    assert_eq!(lost("src/scheduler/mod.rs", "tokio::spawn(work)"), 0);
}

#[test]
fn files_are_tidy() {
    check(untidy, "");
}

#[test]
fn the_rules_have_no_cycle() {
    let place = |name: &str| RULES.iter().position(|rule| rule.module == name);
    for rule in RULES {
        for target in rule.may_import {
            let target = target.split("::").next().unwrap_or(target);
            assert!(place(target) < place(rule.module), "{} may import {target}, which stands above it", rule.module);
        }
    }
}

#[test]
fn a_wrong_edge_is_seen_however_it_is_written() {
    let wrong = |path: &str, text: &str| broken_edges(&Source::new(path, text));
    let ways = [
        "use crate::store::Store;",
        "use crate::{domain::id::JobKey, store::{Store, memory}};",
        "fn open() { let store = crate::store::memory::MemoryStore::new(); }",
        "use super::super::super::store::Store;",
        "use crate::{\n    domain::id,\n    worker::Worker,\n};",
    ];
    for text in ways {
        assert_eq!(wrong("src/domain/job/state.rs", text).len(), 1 + usize::from(text.contains("memory}")), "{text}");
    }
    let message = wrong("src/domain/retry.rs", "\nuse crate::store::Store;").pop().expect("it is wrong");
    assert!(message.starts_with("src/domain/retry.rs:2: `domain` must not import `store::Store`"), "{message}");

    assert_eq!(wrong("src/worker/pool.rs", "use crate::store::Store; // crate::api").len(), 0);
    assert_eq!(wrong("src/worker/pool.rs", "use crate::store::sled::SledStore;").len(), 1);
    assert_eq!(wrong("src/worker/pool.rs", "use super::Worker; use super::super::api::view;").len(), 1);
    assert_eq!(wrong("src/api/error.rs", "use crate::store::{CommitError, ReadError};").len(), 0);
    assert_eq!(wrong("src/api/error.rs", "use crate::store::{CommitError, Store};").len(), 1);
    assert_eq!(wrong("src/gadget/mod.rs", "").len(), 1);
    assert_eq!(wrong("src/domain/id.rs", "let text = \"crate::store::Store\"; // crate::app").len(), 0);
}

#[test]
fn a_foreign_name_is_seen() {
    let wrong = |path: &str, text: &str| foreign_names(&Source::new(path, text));
    assert_eq!(wrong("src/worker/pool.rs", "let db = sled::open(path);").len(), 1);
    assert_eq!(wrong("src/store/sled/engine/on_sled.rs", "let db = sled::open(path);").len(), 0);
    assert_eq!(wrong("src/store/sled/index.rs", "let db = sled::open(path);").len(), 1);
    assert_eq!(wrong("src/app/open.rs", "use crate::store::sled::SledStore;").len(), 0);
    assert_eq!(wrong("src/domain/id.rs", "use std::time::SystemTime;").len(), 2);
    assert_eq!(wrong("src/domain/id.rs", "/// An Instant of tokio.").len(), 0);
}

#[test]
fn untidiness_is_seen() {
    let wrong = |path: &str, text: &str| untidy(&Source::new(path, text));
    assert_eq!(wrong("src/a.rs", "//! A.\nfn a() {}\n").len(), 0);
    assert_eq!(wrong("src/a.rs", "fn a() {}\n").len(), 1);
    assert_eq!(wrong("tests/a.rs", "//! A.\nfn a() { thread::sleep(second); }\n").len(), 1);
    assert_eq!(wrong("tests/a.rs", "//! A.\n// No signal tells.\nfn a() { thread::sleep(second); }\n").len(), 0);
    assert_eq!(wrong("src/a.rs", "//! A.\nlet (a, b) = mpsc::unbounded_channel();\n").len(), 1);
    assert_eq!(wrong("src/jobs/a.rs", &format!("//! A.\n#[cfg({} = {})]\n", "feature", "\"host\"")).len(), 1);
    assert_eq!(wrong("src/a.rs", &format!("//! A.\n{}", "\n".repeat(LINES_MAX))).len(), 1);
}
