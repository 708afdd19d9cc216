//! A new plug-in project: it is written, tested and built as its README says.

use std::path::Path;
use std::process::Command;

use super::host::Host;
use super::program::{run, run_in};
use super::support::cargo;

#[test]
fn a_name_that_cannot_be_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for name in ["My-Plugin", "core", "fn", "with_underscore", "", "../up"] {
        let ran = run_in(folder.path(), &["plugin", "new", name]);
        assert_eq!(ran.code, 2, "{name}: {}", ran.whole());
        assert!(ran.err.contains("next: "), "{}", ran.whole());
    }
    std::fs::create_dir(folder.path().join("taken")).expect("it can be made");
    std::fs::write(folder.path().join("taken/file"), "mine").expect("it can be written");
    let ran = run_in(folder.path(), &["plugin", "new", "taken"]);
    assert!(ran.err.contains("taken exists and is not an empty folder"), "{}", ran.whole());
    let left = folder.path().read_dir().expect("it is there").count();
    assert_eq!(left, 1, "something was written");
}

#[test]
fn a_new_project_is_tested_built_uploaded_and_run() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let said = run_in(folder.path(), &["plugin", "new", "my-first"]).done();
    insta::assert_snapshot!("plugin_new", said);
    let project = folder.path().join("my-first");
    assert!(cargo(&project, &["test", "--quiet"]), "its native tests fail");
    let built = run_in(&project, &["plugin", "build"]).done();
    assert_eq!(built.trim(), "target/wasm32-wasip2/release/my_first.wasm");
    let component = std::fs::read(project.join(built.trim())).expect("the component is there");
    assert_eq!(component.get(..8), Some(b"\0asm\x0d\0\x01\0".as_slice()), "it is no component");

    let host = Host::start();
    let uploaded = host.run_in(&project, &["plugin", "upload", built.trim()]).done();
    assert!(uploaded.starts_with("my-first 0.1.0 is active"), "{uploaded}");
    let greeted = host.run(&["run", "my-first", r#"{"name": "world"}"#]).done();
    assert_eq!(greeted, r#"{"text":"Hello, world!"}"#);
}

#[test]
fn the_first_five_minutes_go_as_the_readme_says() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(checkout.join("README.md")).expect("it can be read");
    let start = readme.find("backroom plugin build plugins/echo").expect("it begins with a build");
    let block = readme[start..].split("```").next().expect("the block ends");
    assert!(block.contains("\nbackroom plugin upload ") && block.contains("\nbackroom run echo "), "{block}");

    let host = Host::start();
    let folder = Path::new(env!("CARGO_BIN_EXE_backroom")).parent().expect("it lies in a folder");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    for inherited in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
        shell.env_remove(inherited);
    }
    shell.args(["-e", "-c", block]).current_dir(checkout).env("PATH", path).env("BACKROOM_SERVER", host.server());
    let output = shell.output().expect("a shell can be started");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("{\"hello\": \"world\"}"), "{out}\n{err}");
    let upload = block.lines().find(|line| line.starts_with("backroom plugin upload")).expect("it is there");
    assert!(err.contains(&format!("next: {}", upload.trim())), "the build names another upload: {err}");
}

#[test]
fn a_project_that_does_not_compile_says_so() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::create_dir(folder.path().join("src")).expect("it can be made");
    let manifest = "[package]\nname = \"broken\"\nedition = \"2021\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n";
    std::fs::write(folder.path().join("Cargo.toml"), manifest).expect("it can be written");
    std::fs::write(folder.path().join("src/lib.rs"), "fn broken( {}\n").expect("it can be written");
    let ran = run(&["plugin", "build", &folder.path().display().to_string()]);
    assert_eq!(ran.code, 1, "{}", ran.whole());
    assert!(ran.err.contains("error[BR0506]: building"), "{}", ran.whole());
    assert!(ran.err.contains("src/lib.rs:1"), "the compiler's own message is missing: {}", ran.whole());
}
