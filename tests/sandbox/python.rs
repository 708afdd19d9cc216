//! What becomes of a handler in Python that raises: a real one, made with `componentize-py`. Where that cannot be installed this
//! test is left out and says so, as the description of the API is: it needs a registry that may not answer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use backroom::domain::failure::{ErrorClass, Failure};
use backroom::domain::fingerprint::Fingerprint;
use backroom::domain::id::PluginName;
use backroom::domain::limits::Limits;
use backroom::domain::plugin::{PluginVersion, Policy};
use backroom::sandbox::{SliceEnd, SliceReport};

use crate::fixtures::{admit, failure, log, run, slice, version};

/// The component of `python/app.py`; none where it cannot be made here, and why.
fn built() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (sources, tools) = (root.join("tests/sandbox/python"), root.join("target/python"));
    let wanted = std::fs::read_to_string(sources.join("requirements.txt")).expect("it is part of the sources");
    let installed = tools.join("requirements.txt");
    if std::fs::read_to_string(&installed).ok().as_ref() != Some(&wanted) {
        done(Command::new("python3").args(["-m", "venv"]).arg(&tools))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", "-r"];
        done(Command::new(tools.join("bin/python")).args(pip).arg(sources.join("requirements.txt")))?;
        std::fs::write(&installed, wanted).map_err(|error| error.to_string())?;
    }
    let component = tools.join("app.wasm");
    let mut make = Command::new(tools.join("bin/componentize-py"));
    make.arg("-d").arg(root.join("wit")).args(["-w", "plugin", "componentize", "app", "-o"]).arg(&component);
    // It leaves compiled files beside what it reads.
    let read = tools.join("read");
    std::fs::create_dir_all(&read).map_err(|error| error.to_string())?;
    std::fs::copy(sources.join("app.py"), read.join("app.py")).map_err(|error| error.to_string())?;
    done(make.current_dir(&read)).expect("the handler is sound");
    Ok(component)
}

fn done(command: &mut Command) -> Result<(), String> {
    let ended = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if ended.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&ended.stderr)))
}

async fn raises(version: &Arc<PluginVersion>, ask: &str) -> SliceReport {
    let mut slice = slice("app", Arc::clone(version), ask.to_owned());
    let limits = Limits { memory_bytes: 128 << 20, ..Limits::default() };
    slice.policy = Arc::new(Policy { limits: limits.clone(), ..Policy::default() });
    slice.limits = Arc::new(limits);
    run(slice).await
}

fn group(failure: &Failure) -> Fingerprint {
    Fingerprint::of(&PluginName::new("app").expect("a name"), failure)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_in_python_raises_is_told_in_its_own_words() {
    let component = match tokio::task::spawn_blocking(built).await.expect("it ends") {
        Ok(component) => std::fs::read(component).expect("it was made"),
        Err(why) => {
            println!("left out: componentize-py cannot be installed ({why})");
            return;
        }
    };
    let version = version(admit(component).await.expect("what componentize-py makes is accepted"));
    let raised = [
        ("value 17", "raised ValueError: no such row 17 (", ".py:23 in handle)"),
        ("key row", "raised KeyError: 'row' (", ".py:16 in look)"),
        ("chained ink", "raised app.OutOfStock: no ink left (", ".py:30 in handle)"),
        ("recurse", "raised RecursionError: maximum recursion depth exceeded (", ".py:34 in handle)"),
        ("noted", "raised ValueError: no such row (", ".py:44 in handle)"),
        ("group", "raised ExceptionGroup: two rows (2 sub-exceptions) (", ".py:46 in handle)"),
    ];
    let mut groups = BTreeSet::new();
    for (ask, begins, ends) in raised {
        let report = raises(&version, ask).await;
        let failure = failure(&report);
        assert_eq!((failure.class, failure.code.as_deref()), (ErrorClass::Transient, Some("BR0325")), "{ask}");
        let message = &failure.message;
        assert!(message.starts_with(begins) && message.ends_with(ends), "{ask}: {message}");
        assert!(log(&report).contains("Traceback (most recent call last):"), "{ask}");
        groups.insert(group(failure));
    }
    assert_eq!(groups.len(), raised.len(), "each mistake is a group of its own");
    let other = raises(&version, "value 18").await;
    assert!(groups.contains(&group(failure(&other))), "the same mistake about another row is in the same group");

    let given = raises(&version, "fail ink").await;
    let given = failure(&given);
    let told = (given.class, given.code.as_deref(), given.message.as_str());
    assert_eq!(told, (ErrorClass::Business, Some("out-of-stock"), "no ink left"));
    let grown = raises(&version, "grow").await;
    assert_eq!((failure(&grown).class, failure(&grown).code.as_deref()), (ErrorClass::Fatal, Some("BR0302")));
    let left = raises(&version, "exit").await;
    assert_eq!(failure(&left).code.as_deref(), Some("BR0310"));
    let done = raises(&version, "say hello").await;
    assert_eq!(done.end, SliceEnd::Succeeded("hello".into()));
    assert!(log(&done).contains("done with hello"), "{}", log(&done));
}
