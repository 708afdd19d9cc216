//! `backroom store`: looks whether a store at rest is sound, saves it into a file, makes a store of such a file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

use super::failure::{Exit, Failure};
use super::progress::Bar;
use super::settings::SettingsArgs;
use super::terminal::Terminal;
use crate::clock::{Clock, SystemClock};
use crate::domain::access::Token;
use crate::domain::change::RememberedSubmit;
use crate::domain::code;
use crate::domain::plugin::Plugin;
use crate::store::backup::{self, BackupError, Contents};
use crate::store::sled::verify::{Report, verify};
use crate::store::sled::{OpenError, SledSettings, SledStore};

/// What to do with the store.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum StoreCommand {
    /// Read everything that the store holds, and name all that does not fit together
    Verify(SettingsArgs),
    /// Save everything into a new file: plug-ins, jobs and their runs, payloads, settings of the service
    Backup {
        /// The file to write
        file: PathBuf,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Make a store of a backup, in a data directory that holds nothing yet
    Restore {
        /// The file to read
        file: PathBuf,
        #[command(flatten)]
        settings: SettingsArgs,
    },
}

/// Does it.
pub(crate) fn run(command: &StoreCommand, terminal: Terminal) -> Result<Exit> {
    match command {
        StoreCommand::Verify(args) => run_verify(settings(args)?, terminal),
        StoreCommand::Backup { file, settings: args } => run_backup(file, settings(args)?, terminal),
        StoreCommand::Restore { file, settings: args } => run_restore(file, settings(args)?, terminal),
    }
}

fn settings(args: &SettingsArgs) -> Result<SledSettings, Failure> {
    let settings = args.load()?.settings.store;
    Ok(SledSettings {
        durability: settings.durability,
        min_free_bytes: settings.min_free_bytes,
        ..SledSettings::new(settings.path)
    })
}

fn run_verify(settings: SledSettings, terminal: Terminal) -> Result<Exit> {
    let path = settings.path.clone();
    check_is_store(&path)?;
    let report = verify(settings).map_err(|error| of_opening(&error, &path, "verify"))?;
    show_report(&report, &path, terminal)?;
    if report.is_sound() {
        return Ok(Exit::Done);
    }
    let count = report.findings.len() as u64 + report.more_findings;
    let places = if count == 1 { "one place".to_owned() } else { format!("{count} places") };
    let message = format!("{} is damaged in {places}", path.display());
    Err(Failure::new(code::STORE_DAMAGED, message).with_next(restoring()).into())
}

fn show_report(report: &Report, path: &Path, terminal: Terminal) -> Result<()> {
    if terminal.is_json() {
        let document = json!({ "path": path.display().to_string(), "sound": report.is_sound(), "report": report });
        return Ok(terminal.json(&document.to_string())?);
    }
    terminal.facts(&[
        ("store", Some(path.display().to_string())),
        ("journal", Some(format!("{} groups of commits in {} segments", report.groups, report.segments))),
        ("index", Some(format!("{} entries, of which {} are leftovers", report.entries, report.leftovers))),
        ("jobs", Some(format!("{}, and {} runs before their last", report.jobs, report.runs))),
        ("plug-ins", Some(report.rows_of::<Plugin>().to_string())),
        ("remembered", Some(format!("{} submits", report.rows_of::<RememberedSubmit>()))),
        ("blobs", Some(format!("{} with {} bytes", report.blobs, report.blob_bytes))),
    ])?;
    for finding in &report.findings {
        terminal.line(&format!("{}: {}", finding.place, finding.what))?;
    }
    match (report.is_sound(), report.more_findings) {
        (true, _) => terminal.line("everything fits together")?,
        (false, 0) => {}
        (false, more) => terminal.line(&format!("and {more} more"))?,
    }
    Ok(())
}

fn run_backup(file: &Path, settings: SledSettings, terminal: Terminal) -> Result<Exit> {
    let path = settings.path.clone();
    check_is_store(&path)?;
    let store = SledStore::open(settings).map_err(|error| of_opening(&error, &path, "backup FILE"))?;
    let bar = Bar::spinner();
    let saved = backup::save(&store, file, SystemClock.now(), &mut shown_on(&bar));
    bar.clear();
    let contents = saved.map_err(|error| match error {
        BackupError::Exists(file) => {
            Failure::bad_input(format!("{} exists already", file.display()), "give the backup a name of its own")
        }
        BackupError::Read(error) => {
            let next = format!("backroom store verify --data {}", path.display());
            Failure::new(code::STORE_DAMAGED, error.to_string()).with_next(next)
        }
        error => of_file(file, &error),
    })?;
    let next = format!("backroom store restore {} --data NEW_DIRECTORY", file.display());
    show_contents(&contents, "saved", file, &next, terminal)
}

fn run_restore(file: &Path, settings: SledSettings, terminal: Terminal) -> Result<Exit> {
    let path = settings.path.clone();
    let bar = Bar::spinner();
    let restored = backup::restore(file, settings, &mut shown_on(&bar));
    bar.clear();
    let contents = restored.map_err(|error| match error {
        BackupError::Exists(taken) if taken == path => {
            let next = format!("backroom store restore {} --data NEW_DIRECTORY", file.display());
            Failure::bad_input(format!("{} is not empty: a backup becomes a store of its own", path.display()), next)
        }
        BackupError::Exists(left) => {
            let message =
                format!("{} is left from a restore that was interrupted, or that still goes on", left.display());
            Failure::bad_input(message, format!("once no restore runs: rm -r {}", left.display()))
        }
        BackupError::Open(error) => of_opening(&error, &path, "restore FILE"),
        BackupError::Commit(error) => Failure::new(code::STORE_FAILED, error.to_string()),
        error => of_file(file, &error),
    })?;
    let next = format!("backroom serve --data {}", path.display());
    show_contents(&contents, "restored", &path, &next, terminal)
}

/// Shows on a bar how many jobs are done.
fn shown_on(bar: &Bar) -> impl FnMut(u64, u64) -> Result<(), BackupError> {
    |done, total| {
        bar.show(done, Some(total), "jobs");
        Ok(())
    }
}

fn show_contents(contents: &Contents, done: &str, path: &Path, next: &str, terminal: Terminal) -> Result<Exit> {
    let shown = path.display().to_string();
    if terminal.is_json() {
        terminal.json(&json!({ "path": shown, "contents": contents }).to_string())?;
        return Ok(Exit::Done);
    }
    terminal.facts(&[
        (done, Some(shown)),
        ("jobs", Some(format!("{}, and {} runs before their last", contents.jobs, contents.runs))),
        ("plug-ins", Some(contents.rows_of::<Plugin>().to_string())),
        ("remembered", Some(format!("{} submits", contents.rows_of::<RememberedSubmit>()))),
        ("tokens", Some(contents.rows_of::<Token>().to_string())),
        ("blobs", Some(format!("{} with {} bytes", contents.blobs, contents.blob_bytes))),
        ("next", Some(next.to_owned())),
    ])?;
    Ok(Exit::Done)
}

/// A directory without a store is a slip of the one who types, not damage; nothing is made there.
fn check_is_store(path: &Path) -> Result<(), Failure> {
    match path.join("format").exists() || path.join("journal").exists() {
        true => Ok(()),
        false => Err(Failure::bad_input(
            format!("there is no store in {}", path.display()),
            "name the data directory of the host with --data DIR",
        )),
    }
}

fn of_opening(error: &OpenError, path: &Path, verb: &str) -> Failure {
    let again = format!("backroom store {verb} --data {}", path.display());
    let failure = Failure::new(error.code(), error.to_string());
    match error.code() {
        code::STORE_IN_USE => failure.with_next(format!("stop that host, then: {again}")),
        code::DISK_FULL => failure.with_next(format!("make room on the disk, then: {again}")),
        code::STORE_DAMAGED => failure.with_next(restoring()),
        _ => failure,
    }
}

fn of_file(file: &Path, error: &BackupError) -> Failure {
    let message = format!("{}: {error}", file.display());
    match error {
        BackupError::Damaged { .. } => {
            Failure::new(code::STORE_DAMAGED, message).with_next("use another backup; this one was cut off or changed")
        }
        BackupError::Format { .. } => Failure::new(code::STORE_FORMAT, message)
            .with_next("give it a file that `backroom store backup FILE` wrote"),
        BackupError::Later { .. } => Failure::new(code::STORE_FORMAT, message)
            .with_next("restore it with the release that wrote it, or a later one; its first line names the release"),
        _ => Failure::bad_input(message, "see that the file and its folder are there and may be used"),
    }
}

fn restoring() -> String {
    "keep the directory as it is, and bring back the last backup: backroom store restore FILE --data NEW_DIRECTORY"
        .to_owned()
}
