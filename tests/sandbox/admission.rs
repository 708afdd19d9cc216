//! What is taken and what is refused, and in which words: the first errors that people meet.

use std::time::{Duration, Instant};

use backroom::domain::id::HandlerName;
use backroom::domain::plugin::Shape;
use backroom::sandbox::wasm::{CompileSettings, WasmSandbox, WasmSettings};
use backroom::sandbox::{Rejection, Sandbox};

use crate::fixtures::{CONCURRENCY, admit, compile_settings, echo, run, sandbox, slice, version};
use crate::support::built_plugin;

/// A rejection as people see it, with the next command.
fn told(rejection: &Rejection) -> String {
    let next = rejection.next.as_deref().unwrap_or(rejection.code.remedy);
    format!("{}: {}\nnext: {next}", rejection.code, rejection.message)
}

async fn assert_refused(name: &str, upload: Vec<u8>) {
    let rejection = admit(upload).await.expect_err("it is refused");
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, told(&rejection));
    });
}

async fn assert_text_refused(name: &str, text: &str) {
    assert_refused(name, wat::parse_str(text).expect("WAT")).await;
}

/// A component in text that exports an instance of these names, and no more.
fn exporting(names: &[&str]) -> String {
    let exports: String = names.iter().map(|name| format!("(export \"{name}\" (instance $empty))")).collect();
    format!("(component (instance $empty) {exports})")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_wasm() {
    assert_refused("empty", Vec::new()).await;
    assert_refused("text", b"hello, world".to_vec()).await;
    let native = std::fs::read(env!("CARGO_BIN_EXE_backroom")).expect("this program is readable");
    assert_refused("native_binary", native[..1 << 20].to_vec()).await;
    assert_refused("header_only", b"\0asm".to_vec()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_wasm() {
    let whole = std::fs::read(built_plugin("echo")).expect("the component is readable");
    assert_eq!(admit(whole.clone()).await.expect("whole").inspection.digest, echo().await.inspection.digest);
    for length in [9, 100, whole.len() / 2, whole.len() - 1] {
        let rejection = admit(whole[..length].to_vec()).await.expect_err("it is cut off");
        assert_eq!(rejection.code.name, "BR0210", "{length}: {}", rejection.message);
    }
    let invalid = "(component (core module $m (func (export \"run\") (result i32) i64.const 0)))";
    assert_text_refused("no_export_and_invalid", invalid).await;
    let invalid = r#"(component
        (core module $m (func (export "run") (result i32) i64.const 0))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $exports (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
    assert_text_refused("invalid", invalid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_modules() {
    assert_text_refused("core_module", r#"(module (func (export "add")))"#).await;
    let library = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
        (func (export "_initialize")))"#;
    assert_text_refused("wasip1_library", library).await;
    let foreign = r#"(module (import "env" "host_log" (func)) (func (export "_start")))"#;
    assert_text_refused("foreign_core_import", foreign).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sdk_builds_names_its_handlers() {
    for (sample, names) in [
        ("echo", Some(&["handle", "echo"][..])),
        ("markdown-renderer", Some(&["handle", "render"])),
        ("contact-cleaner", Some(&["clean-row", "summarise"])),
        ("command-wc", None),
    ] {
        let component = std::fs::read(built_plugin(sample)).expect("the component is readable");
        let handlers = admit(component).await.expect("it is admitted").inspection.handlers;
        let handlers = handlers.as_deref().map(|own| own.iter().map(HandlerName::as_str).collect::<Vec<_>>());
        assert_eq!(handlers.as_deref(), names, "{sample}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_point_without_its_function() {
    for (interface, function) in [("backroom:plugin/handler@0.1.0", "handle"), ("wasi:cli/run@0.2.0", "run")] {
        let empty = wat::parse_str(exporting(&[interface])).expect("WAT");
        let rejection = admit(empty).await.expect_err("there is nothing to call");
        assert_eq!(rejection.code.name, "BR0204", "{rejection:?}");
        let expected = format!("the component exports `{interface}`, but that has no function `{function}`");
        assert_eq!(rejection.message, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_worlds() {
    assert_text_refused("no_export", "(component)").await;
    assert_text_refused("other_world", &exporting(&["wasi:http/incoming-handler@0.2.3"])).await;
    assert_text_refused("other_contract", &exporting(&["backroom:plugin/handler@0.2.0"])).await;
    assert_text_refused("wasi_03", &exporting(&["wasi:cli/run@0.3.0"])).await;
    let import = r#"(component
        (import "acme:db/query@1.0.0" (instance))
        (instance $empty)
        (export "wasi:cli/run@0.2.0" (instance $empty)))"#;
    assert_text_refused("unknown_import", import).await;
    let missing = r#"(component
        (import "wasi:cli/environment@0.2.0" (instance (export "get-secrets" (func (result string)))))
        (instance $empty)
        (export "wasi:cli/run@0.2.0" (instance $empty)))"#;
    assert_text_refused("unknown_function", missing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_command_is_lifted_and_runs() {
    let module = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 8) "lifted\n")
        (func (export "_start")
            (i32.store (i32.const 0) (i32.const 8))
            (i32.store (i32.const 4) (i32.const 7))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))"#;
    let admitted = admit(wat::parse_str(module).expect("WAT")).await.expect("admitted");
    assert_eq!(admitted.inspection.shape, Shape::Command);
    assert_eq!(admitted.component.len() as u64, admitted.inspection.bytes);
    let component = admitted.component.clone();
    let version = version(admitted);
    let report = run(slice("lifted", version.clone(), "")).await;
    assert_eq!(report.end, backroom::sandbox::SliceEnd::Succeeded("lifted\n".into()), "{report:?}");
    let again = admit(component).await.expect("what is stored is admitted as it is");
    assert_eq!(again.inspection, version.inspection);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_prepared_from_its_stored_bytes_and_from_the_compiled_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = WasmSettings::new(folder.path(), 1, compile_settings());
    let component = std::fs::read(built_plugin("echo")).expect("the component is readable");
    let echo = echo().await;
    let input = || slice("echo", echo.clone(), "hello");
    let other = || Box::new(crate::fixtures::Port::default());

    let first = WasmSandbox::new(settings.clone()).expect("it starts");
    assert!(!first.is_ready(&echo));
    let unprepared = first.run(input(), other()).await;
    assert_eq!(crate::fixtures::failure(&unprepared).code.as_deref(), Some("BR0314"));
    first.prepare(&echo, component.clone().into()).await.expect("prepared");
    assert!(first.is_ready(&echo));
    assert_eq!(first.run(input(), other()).await.end, backroom::sandbox::SliceEnd::Succeeded("hello".into()));
    let wrong = first.prepare(&echo, component[..100].to_vec().into()).await;
    assert_eq!(wrong, Ok(()), "it is loaded already");
    drop(first);

    let no_compiler = CompileSettings { program: "/nonexistent".into(), wall: Duration::from_secs(1) };
    let second = WasmSandbox::new(WasmSettings { compile: no_compiler, ..settings }).expect("it starts");
    second.prepare(&echo, component.into()).await.expect("the compiled file is found");
    assert_eq!(second.run(input(), other()).await.end, backroom::sandbox::SliceEnd::Succeeded("hello".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_or_lost_of_a_compilation_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = WasmSettings::new(folder.path(), 1, compile_settings());
    let component = std::fs::read(built_plugin("echo")).expect("the component is readable");
    let echo = echo().await;
    let fresh = || WasmSandbox::new(settings.clone()).expect("it starts");
    fresh().prepare(&echo, component.clone().into()).await.expect("ok");
    let files = std::fs::read_dir(folder.path().join("compiled")).expect("a folder");
    let files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    assert_eq!(files.len(), 2, "the code and what it needs: {files:?}");
    for file in &files {
        for is_lost in [false, true] {
            match is_lost {
                true => std::fs::remove_file(file).expect("removed"),
                false => std::fs::write(file, b"not what was written").expect("written"),
            }
            let again = fresh();
            let prepared = again.prepare(&echo, component.clone().into()).await;
            assert_eq!(prepared, Ok(()), "{}, lost: {is_lost}", file.display());
            assert!(again.is_ready(&echo));
        }
    }
    // The same bytes that are uploaded again bring the note back, too.
    let note = files.iter().find(|file| file.extension().is_some_and(|ending| ending == "needs")).expect("a note");
    std::fs::remove_file(note).expect("removed");
    fresh().admit(component.into()).await.expect("admitted");
    assert!(note.is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_files_of_other_settings_are_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = WasmSettings::new(folder.path(), 1, compile_settings());
    drop(WasmSandbox::new(settings.clone()).expect("it starts"));
    let stale = folder.path().join("compiled/00-0000000000000000.cwasm");
    std::fs::write(&stale, b"old").expect("written");
    drop(WasmSandbox::new(settings).expect("it starts"));
    assert!(!stale.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_others_may_enter_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let compiled = folder.path().join("compiled");
    std::fs::create_dir(&compiled).expect("created");
    std::fs::set_permissions(&compiled, std::fs::Permissions::from_mode(0o755)).expect("set");
    let refused = WasmSandbox::new(WasmSettings::new(folder.path(), 1, compile_settings()));
    let why = refused.err().expect("it is refused").to_string();
    assert!(why.contains("chmod 700"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compiler_is_stopped_at_its_wall_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let compile = CompileSettings { wall: Duration::ZERO, ..compile_settings() };
    let hasty = WasmSandbox::new(WasmSettings::new(folder.path(), 1, compile)).expect("it starts");
    let component = std::fs::read(built_plugin("misbehave")).expect("the component is readable");
    let start = Instant::now();
    let rejection = hasty.admit(component.into()).await.expect_err("it is stopped");
    assert_eq!(rejection.code.name, "BR0211", "{}", rejection.message);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_beyond_the_bound_is_refused_unread() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = WasmSettings { component_bytes: 1000, ..WasmSettings::new(folder.path(), 1, compile_settings()) };
    let small = WasmSandbox::new(settings).expect("it starts");
    let rejection = small.admit(vec![0; 1001].into()).await.expect_err("it is too large");
    assert_eq!(rejection.code.name, "BR0106", "{}", rejection.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_is_reserved_here() {
    assert_eq!(sandbox().notice(), None, "the tests of {CONCURRENCY} slices at a time mean the pool");
}

/// The compiler as whoever has given the host little memory starts it, while `confined` is there; `kib` KiB are too few.
fn confined_compiler(folder: &std::path::Path, kib: u32) -> CompileSettings {
    use std::os::unix::fs::PermissionsExt as _;
    let program = folder.join("compiler");
    let (flag, real) = (folder.join("confined"), env!("CARGO_BIN_EXE_backroom"));
    let text = format!("#!/bin/sh\n[ -e '{}' ] && ulimit -v {kib}\nexec '{real}' \"$@\"\n", flag.display());
    std::fs::write(&flag, "").expect("it can be made");
    std::fs::write(&program, text).expect("it can be written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("it can be made a program");
    CompileSettings { program, ..compile_settings() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_lacks_memory_says_so_and_compiles_when_it_has_some() {
    let component = std::fs::read(built_plugin("echo")).expect("it is built");
    for kib in [120_000, 160_000] {
        // What was compiled once is not compiled again.
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = WasmSettings::new(folder.path(), CONCURRENCY, confined_compiler(folder.path(), kib));
        let sandbox = WasmSandbox::new(settings).expect("the sandbox starts");
        let rejection = sandbox.admit(component.clone().into()).await.expect_err("it lacks memory");
        assert_eq!(rejection.code.name, "BR0406", "at {kib} KiB: {}", rejection.message);
        assert!(rejection.message.contains("for want of memory"), "{}", rejection.message);
        std::fs::remove_file(folder.path().join("confined")).expect("it is there");
        sandbox.admit(component.clone().into()).await.expect("it has memory again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_the_system_kills_for_its_memory_is_tried_again_later() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("compiler");
    std::fs::write(&program, "#!/bin/sh\nkill -9 $$\n").expect("it can be written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("it can be made a program");
    let settings = WasmSettings::new(folder.path(), CONCURRENCY, CompileSettings { program, ..compile_settings() });
    let sandbox = WasmSandbox::new(settings).expect("the sandbox starts");
    let component = std::fs::read(built_plugin("echo")).expect("it is built");
    let rejection = sandbox.admit(component.into()).await.expect_err("it was killed");
    assert_eq!(rejection.code.name, "BR0406", "{}", rejection.message);
}
