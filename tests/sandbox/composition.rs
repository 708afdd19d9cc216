//! Composed components, made by `wac plug`: one memory a part.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use backroom::sandbox::SliceEnd;

use crate::fixtures::{admit, run, slice, version};
use crate::support::cargo;

/// A memory with an allocator that never frees.
const LIBC: &str = r#"(core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (if (i32.le_u (local.get 3) (local.get 1)) (then (return (local.get 0))))
        (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        (memory.copy (local.get $at) (local.get 0) (local.get 1))
        (local.get $at)))
    (core instance $libc (instantiate $libc))"#;

/// A plug and a socket that imports what the plug exports, put together as `wac plug` does it. The socket is a command:
/// `run` returns 0 where all went well.
fn plugged(plug: &str, imports: &str, lowered: &str, run: &str) -> Vec<u8> {
    let plug = format!("(component {LIBC} {plug})");
    let socket = format!(
        r#"(component
            {imports}
            {LIBC}
            {lowered}
            (core module $main {run})
            (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "plug" (instance $lowered))))
            (func $run (result (result)) (canon lift (core func $main "run")))
            (instance $exports (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $exports)))"#
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("plug"), parsed(&plug)).expect("the folder can be written");
    std::fs::write(file("socket"), parsed(&socket)).expect("the folder can be written");
    let files = [file("plug"), file("socket"), file("whole")];
    assert!(Command::new(compose()).args(&files).status().expect("it starts").success());
    std::fs::read(file("whole")).expect("it was written")
}

fn parsed(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The program that plugs.
fn compose() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target_dir = root.join("target/compose");
        let build = ["build", "--locked", "--target-dir", target_dir.to_str().expect("a path in UTF-8")];
        assert!(cargo(&root.join("tests/sandbox/compose"), &build), "`compose` does not build");
        target_dir.join("debug/compose")
    })
}

async fn assert_runs(what: &str, component: Vec<u8>) {
    let admitted = admit(component).await.unwrap_or_else(|rejection| panic!("{what}: {rejection:?}"));
    let report = run(slice("composed", version(admitted), "")).await;
    assert_eq!(report.end, SliceEnd::Succeeded("".into()), "{what}: {report:?}");
}

/// A text in an encoding, as bytes of a WAT string and as the length that the canonical ABI gives it.
fn encoded(encoding: &str) -> (String, usize) {
    const TEXT: &str = "grüß dich";
    let bytes: Vec<u8> = match encoding {
        "utf8" => TEXT.as_bytes().to_vec(),
        "utf16" => TEXT.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        _ => TEXT.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect(),
    };
    let length = if encoding == "utf8" { TEXT.len() } else { TEXT.chars().count() };
    (bytes.iter().map(|byte| format!("\\{byte:02x}")).collect(), length)
}

#[tokio::test(flavor = "multi_thread")]
async fn strings_travel_between_memories_in_every_encoding() {
    const ENCODINGS: [&str; 3] = ["utf8", "utf16", "latin1+utf16"];
    for lifted in ENCODINGS {
        for lowered in ENCODINGS {
            let plug = format!(
                r#"(core module $m
                    (import "libc" "memory" (memory 1))
                    (func (export "echo") (param i32 i32) (result i32)
                        (i32.store (i32.const 16) (local.get 0))
                        (i32.store (i32.const 20) (local.get 1))
                        (i32.const 16)))
                (core instance $i (instantiate $m (with "libc" (instance $libc))))
                (func (export "echo") (param "text" string) (result string)
                    (canon lift (core func $i "echo") (memory $libc "memory") (realloc (func $libc "realloc"))
                        string-encoding={lifted}))"#
            );
            let imports = r#"(import "echo" (func $echo (param "text" string) (result string)))"#;
            let lower = format!(
                r#"(core func $echo (canon lower (func $echo) (memory $libc "memory") (realloc (func $libc "realloc"))
                    string-encoding={lowered}))
                (core instance $lowered (export "echo" (func $echo)))"#
            );
            let (data, length) = encoded(lowered);
            let main = format!(
                r#"(import "libc" "memory" (memory 1))
                (import "plug" "echo" (func $echo (param i32 i32 i32)))
                (data (i32.const 64) "{data}")
                (func (export "run") (result i32)
                    (call $echo (i32.const 64) (i32.const {length}) (i32.const 32))
                    (i32.or
                        (i32.ne (i32.load (i32.const 36)) (i32.const {length}))
                        (i64.ne (i64.load (i32.load (i32.const 32))) (i64.load (i32.const 64)))))"#
            );
            let component = plugged(&plug, imports, &lower, &main);
            assert_runs(&format!("{lowered} to {lifted}"), component).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_records_travel_between_memories() {
    let plug = r#"(core module $m
            (import "libc" "memory" (memory 1))
            (func (export "sum") (param i32 i32) (result i32)
                (local $sum i32)
                (block $done (loop $next
                    (br_if $done (i32.eqz (local.get 1)))
                    (local.set $sum (i32.add (local.get $sum)
                        (i32.mul (i32.load8_u (local.get 0)) (i32.load offset=4 (local.get 0)))))
                    (local.set 0 (i32.add (local.get 0) (i32.const 8)))
                    (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
                    (br $next)))
                (local.get $sum)))
        (core instance $i (instantiate $m (with "libc" (instance $libc))))
        (func (export "sum") (param "pairs" (list (tuple u8 u32))) (result u32)
            (canon lift (core func $i "sum") (memory $libc "memory") (realloc (func $libc "realloc"))))"#;
    let imports = r#"(import "sum" (func $sum (param "pairs" (list (tuple u8 u32))) (result u32)))"#;
    let lower = r#"(core func $sum (canon lower (func $sum) (memory $libc "memory")))
        (core instance $lowered (export "sum" (func $sum)))"#;
    let main = r#"(import "libc" "memory" (memory 1))
        (import "plug" "sum" (func $sum (param i32 i32) (result i32)))
        (data (i32.const 64) "\02\00\00\00\03\00\00\00\04\00\00\00\05\00\00\00")
        (func (export "run") (result i32)
            (i32.ne (call $sum (i32.const 64) (i32.const 2)) (i32.const 26)))"#;
    assert_runs("lists", plugged(plug, imports, lower, main)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_travel_between_components() {
    let plug = r#"(type $r' (resource (rep i32)))
        (export $r "r" (type $r'))
        (core func $new (canon resource.new $r'))
        (core module $m
            (import "" "new" (func $new (param i32) (result i32)))
            (func (export "make") (result i32) (call $new (i32.const 41)))
            (func (export "get") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))
        (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
        (func (export "make") (result (own $r)) (canon lift (core func $i "make")))
        (func (export "get") (param "of" (borrow $r)) (result u32) (canon lift (core func $i "get")))"#;
    let imports = r#"(import "r" (type $r (sub resource)))
        (import "make" (func $make (result (own $r))))
        (import "get" (func $get (param "of" (borrow $r)) (result u32)))"#;
    let lower = r#"(core func $make (canon lower (func $make)))
        (core func $get (canon lower (func $get)))
        (core func $drop (canon resource.drop $r))
        (core instance $lowered
            (export "make" (func $make)) (export "get" (func $get)) (export "drop" (func $drop)))"#;
    let main = r#"(import "plug" "make" (func $make (result i32)))
        (import "plug" "get" (func $get (param i32) (result i32)))
        (import "plug" "drop" (func $drop (param i32)))
        (func (export "run") (result i32)
            (local $r i32) (local $got i32)
            (local.set $r (call $make))
            (local.set $got (call $get (local.get $r)))
            (call $drop (local.get $r))
            (i32.ne (local.get $got) (i32.const 42)))"#;
    assert_runs("resources", plugged(plug, imports, lower, main)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_in_a_plug_fails_the_job_and_not_the_host() {
    let plug = r#"(core module $m (func (export "break") unreachable))
        (core instance $i (instantiate $m))
        (func (export "break") (canon lift (core func $i "break")))"#;
    let imports = r#"(import "break" (func $break))"#;
    let lower = r#"(core func $break (canon lower (func $break)))
        (core instance $lowered (export "break" (func $break)))"#;
    let main = r#"(import "plug" "break" (func $break))
        (func (export "run") (result i32) (call $break) (i32.const 0))"#;
    let component = plugged(plug, imports, lower, main);
    let report = run(slice("composed", version(admit(component).await.expect("admitted")), "")).await;
    assert_eq!(crate::fixtures::failure(&report).code.as_deref(), Some("BR0305"), "{report:?}");
}

/// Composition needs several memories inside the engine; guests get no more than one a module for that.
#[tokio::test(flavor = "multi_thread")]
async fn guests_gain_nothing_by_what_composition_needs() {
    let two = r#"(component
        (core module $m (memory 1) (memory 1) (func (export "run") (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $exports (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
    let rejection = admit(wat::parse_str(two).expect("WAT")).await.expect_err("two memories in one module");
    assert_eq!(rejection.code.name, "BR0215", "{}", rejection.message);
    assert!(rejection.message.contains("multi-memory"), "{}", rejection.message);
}
