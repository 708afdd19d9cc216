//! `backroom store`: looks whether a store at rest is sound, saves it into a file, makes a store of such a file.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

use super::client::{Client, ClientArgs};
use super::failure::{Exit, Failure};
use super::progress::Bar;
use super::settings::SettingsArgs;
use super::terminal::Terminal;
use crate::clock::{Clock, SystemClock};
use crate::domain::access::Token;
use crate::domain::change::RememberedSubmit;
use crate::domain::code;
use crate::domain::plugin::Plugin;
use crate::store::backup::{self, BackupError, Contents, Packing};
use crate::store::sled::verify::{Report, verify};
use crate::store::sled::{OpenError, Reached, SledSettings, SledStore, Until};

/// What to do with the store.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum StoreCommand {
    /// Read everything that the store holds, and name all that does not fit together
    Verify(SettingsArgs),
    /// Save everything into a new file, while the host works: plug-ins, jobs and their runs, payloads, settings of the service
    ///
    /// Without --data the running host is asked; with it, the data directory of a host that is not running is read.
    Backup {
        /// The file to write; a name that ends in .gz or .zst is compressed with gzip or Zstandard
        file: PathBuf,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Make a store of a backup, in a data directory that holds nothing yet
    ///
    /// In place of a file it may be the data directory of a host that is not running: then --until brings back what was there at
    /// an earlier time, as far back as its oldest snapshot.
    Restore {
        /// The file to read, compressed or not; or a data directory
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Up to when, such as 2030-01-31T08:00:00Z, or up to which group of commits, as a number
        #[arg(long, value_name = "TIME|GROUP")]
        until: Option<String>,
        #[command(flatten)]
        settings: SettingsArgs,
    },
}

/// Does it.
pub(crate) fn run(client: &ClientArgs, command: &StoreCommand, terminal: Terminal) -> Result<Exit> {
    match command {
        StoreCommand::Verify(args) => run_verify(settings(args)?, terminal),
        StoreCommand::Backup { file, settings: args } if args.data.is_none() => run_live_backup(file, client, terminal),
        StoreCommand::Backup { file, settings: args } => run_backup(file, settings(args)?, terminal),
        StoreCommand::Restore { file, until, settings: args } if until.is_some() || file.is_dir() => {
            run_restore_until(file, until_of(until.as_deref())?, settings(args)?, terminal)
        }
        StoreCommand::Restore { file, settings: args, .. } => run_restore(file, settings(args)?, terminal),
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
        BackupError::Exists(file) => taken(&file),
        BackupError::Read(error) => {
            let next = format!("backroom store verify --data {}", path.display());
            Failure::new(code::STORE_DAMAGED, error.to_string()).with_next(next)
        }
        error => of_file(file, &error),
    })?;
    let next = format!("backroom store restore {} --data NEW_DIRECTORY", file.display());
    show_contents(&contents, "saved", file, &next, terminal)
}

fn run_live_backup(file: &Path, client: &ClientArgs, terminal: Terminal) -> Result<Exit> {
    if file.exists() {
        return Err(taken(file).into());
    }
    let client = Client::new(client)?;
    let mut sent = client.backup(Packing::of_name(file))?;
    let bar = Bar::spinner();
    // It is looked through while it is written, so that the file is a whole one.
    let saved =
        backup::whole_file(file, &mut |out| backup::check(Copying { from: &mut sent, to: out }, &mut shown_on(&bar)));
    bar.clear();
    let contents = saved.map_err(|error| match error {
        BackupError::Exists(file) => taken(&file),
        error @ (BackupError::Damaged { .. } | BackupError::Format { .. }) => {
            let message = format!("the backup of {} broke off, and nothing was kept of it: {error}", client.server());
            Failure::new(code::NO_ANSWER, message).with_next("the host's log says why; then run it again")
        }
        error => of_file(file, &error),
    })?;
    let next = format!("backroom store restore {} --data NEW_DIRECTORY", file.display());
    show_contents(&contents, "saved", file, &next, terminal)
}

/// Writes down what is read.
struct Copying<'a, R, W> {
    from: &'a mut R,
    to: &'a mut W,
}

impl<R: Read, W: Write> Read for Copying<'_, R, W> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(bytes)?;
        self.to.write_all(&bytes[..count])?;
        Ok(count)
    }
}

fn taken(file: &Path) -> Failure {
    Failure::bad_input(format!("{} exists already", file.display()), "give the backup a name of its own")
}

fn run_restore(file: &Path, settings: SledSettings, terminal: Terminal) -> Result<Exit> {
    let path = settings.path.clone();
    let bar = Bar::spinner();
    let restored = backup::restore(file, settings, &mut shown_on(&bar));
    bar.clear();
    let contents = restored.map_err(|error| not_restored(error, file, &path))?;
    let next = format!("backroom serve --data {}", path.display());
    show_contents(&contents, "restored", &path, &next, terminal)
}

fn until_of(text: Option<&str>) -> Result<Until, Failure> {
    let Some(text) = text else { return Ok(Until::End) };
    match (text.parse(), text.parse()) {
        (Ok(group), _) => Ok(Until::Group(group)),
        (_, Ok(time)) => Ok(Until::Time(time)),
        _ => {
            let message = format!("`{text}` is neither a time nor the number of a group of commits");
            Err(Failure::bad_input(message, "give --until a time such as 2030-01-31T08:00:00Z, or a number"))
        }
    }
}

fn run_restore_until(from: &Path, until: Until, settings: SledSettings, terminal: Terminal) -> Result<Exit> {
    let path = settings.path.clone();
    if !from.is_dir() {
        let message = format!("{} is not a data directory: a backup is of one moment only", from.display());
        return Err(Failure::bad_input(message, "leave --until out, or name the data directory of the host").into());
    }
    check_is_store(from)?;
    let restored = backup::restore_until(from, until, settings);
    let Reached { lsn, on } = restored.map_err(|error| not_restored(error, from, &path))?;
    let (shown, on) = (path.display().to_string(), on.map(|on| on.to_string()));
    if terminal.is_json() {
        terminal.json(&json!({ "path": shown, "group": lsn, "committed_on": on }).to_string())?;
        return Ok(Exit::Done);
    }
    terminal.facts(&[
        ("restored", Some(shown.clone())),
        (
            "up to",
            Some(format!("group {lsn} of commits{}", on.map(|on| format!(", made on {on}")).unwrap_or_default())),
        ),
        ("next", Some(format!("backroom serve --data {shown}"))),
    ])?;
    Ok(Exit::Done)
}

fn not_restored(error: BackupError, file: &Path, path: &Path) -> Failure {
    match error {
        BackupError::Exists(taken) if taken == path => {
            let next = format!("backroom store restore {} --data NEW_DIRECTORY", file.display());
            Failure::bad_input(format!("{} is not empty: a backup becomes a store of its own", path.display()), next)
        }
        BackupError::Exists(left) => {
            let message =
                format!("{} is left from a restore that was interrupted, or that still goes on", left.display());
            Failure::bad_input(message, format!("once no restore runs: rm -r {}", left.display()))
        }
        BackupError::Open(error) => of_opening(&error, path, "restore FILE"),
        BackupError::Commit(error) => Failure::new(code::STORE_FAILED, error.to_string()),
        error => of_file(file, &error),
    }
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
        code::STORE_IN_USE if verb.starts_with("backup") => {
            failure.with_next("to back up the running host, leave --data out: backroom store backup FILE")
        }
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
