//! `backroom doctor`: whether this machine has what a host and a plug-in author need, and what to do where it has not.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::address::Address;
use super::build::{self, TARGET};
use super::client::{Client, ClientArgs};
use super::failure::{Exit, Failure};
use super::settings::SettingsArgs;
use super::terminal::{Terminal, Tone};
use crate::config::units::show_size;
use crate::config::{Settings, exposed_secrets};
use crate::domain::service::Durability;

/// Where the settings come from.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// One thing that was looked at.
#[derive(Debug, serde::Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Finding {
    fn ok(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Ok, detail: detail.into(), next: None }
    }

    fn warn(what: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Warn, detail: detail.into(), next: Some(next.into()) }
    }

    fn fail(what: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Fail, detail: detail.into(), next: Some(next.into()) }
    }
}

/// Looks at everything and tells of it line by line.
pub(crate) fn run(client: &ClientArgs, args: &DoctorArgs, terminal: Terminal) -> anyhow::Result<Exit> {
    let (settings, file, config) = settings(&args.settings);
    let mut findings = vec![config];
    findings.extend(secrets(&settings, file.as_deref()));
    findings.extend(toolchain());
    let host = host(client.address_of(&settings.server, file));
    findings.push(port(&settings, host.verdict));
    findings.push(host);
    findings.extend(data_directory(&settings));
    findings.extend(kernel(&settings));
    let has_failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    if terminal.is_json() {
        terminal.json_items(&serde_json::to_string(&findings)?)?;
    } else {
        findings.iter().try_for_each(|finding| tell(finding, terminal))?;
    }
    Ok(if has_failed { Exit::Failed } else { Exit::Done })
}

fn tell(finding: &Finding, terminal: Terminal) -> anyhow::Result<()> {
    let word = finding.verdict.word();
    let verdict = terminal.paint(Tone::of_state(word), &format!("{word:4}"));
    let detail = super::terminal::neutralised(&finding.detail).replace('\n', "\n                      ");
    terminal.raw_line(&format!("{verdict}  {:15} {detail}", finding.what))?;
    if let Some(next) = &finding.next {
        terminal.line(&format!("                      next: {next}"))?;
    }
    Ok(())
}

fn settings(args: &SettingsArgs) -> (Settings, Option<PathBuf>, Finding) {
    match args.load() {
        Ok(loaded) => {
            let detail = match &loaded.file {
                Some(file) => format!("{} is right", file.display()),
                None => "there is no backroom.toml; every setting has its default".to_owned(),
            };
            (loaded.settings, loaded.file, Finding::ok("settings", detail))
        }
        Err(failure) => {
            let notes: Vec<_> = failure.notes.iter().flat_map(|note| note.lines().next()).collect();
            let detail = format!("{failure}\n{}", notes.join("\n"));
            let next = failure.next.unwrap_or_else(|| "backroom config check".to_owned());
            (Settings::default(), None, Finding::fail("settings", detail.trim_end(), next))
        }
    }
}

fn toolchain() -> Vec<Finding> {
    let here = Path::new(".");
    let cargo = match version_of(build::cargo(here).arg("--version")) {
        Some(version) => Finding::ok("cargo", version),
        None => {
            let next = "install Rust: https://rustup.rs";
            return vec![Finding::warn("cargo", "is not there; it is needed only to write plug-ins", next)];
        }
    };
    let target = match build::has_target(here) {
        true => Finding::ok("target", format!("the compiler can build for {TARGET}")),
        false => {
            let next = format!("rustup target add {TARGET}");
            Finding::warn("target", format!("the compiler has no {TARGET}; it is needed only to write plug-ins"), next)
        }
    };
    let component = match version_of(build::cargo(here).args(["component", "--version"])) {
        Some(version) => Finding::ok("cargo component", version),
        None => Finding::ok("cargo component", "is not there, and not needed: plain cargo builds plug-ins too"),
    };
    vec![cargo, target, component]
}

fn version_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn host(address: Result<Address, Failure>) -> Finding {
    const WHAT: &str = "host";
    let asked = address
        .map_err(anyhow::Error::new)
        .and_then(Client::at)
        .and_then(|client| Ok((client.service()?.view, client)));
    match asked {
        Ok((service, client)) => {
            let release = service.version;
            let detail = format!("{} is {} (release {release})", client.server(), service.state);
            match release == env!("CARGO_PKG_VERSION") {
                true => Finding::ok(WHAT, detail),
                false => Finding::warn(WHAT, detail, format!("this program is {}", env!("CARGO_PKG_VERSION"))),
            }
        }
        Err(error) => match error.downcast_ref::<Failure>() {
            Some(failure) => Finding::warn(WHAT, failure.to_string(), failure.next.clone().unwrap_or_default()),
            None => Finding::warn(WHAT, error.to_string(), "backroom serve"),
        },
    }
}

fn port(settings: &Settings, host: Verdict) -> Finding {
    const WHAT: &str = "port";
    let listen = settings.server.listen;
    match TcpListener::bind(listen) {
        Ok(_) => Finding::ok(WHAT, format!("{listen} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && host == Verdict::Ok => {
            Finding::ok(WHAT, format!("{listen} is in use, and a host answers"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Finding::fail(WHAT, format!("{listen} is in use by another program"), "backroom serve --listen 127.0.0.1:0")
        }
        Err(error) => {
            Finding::fail(WHAT, format!("{listen}: {error}"), "set `listen` under [server] to an own address")
        }
    }
}

fn data_directory(settings: &Settings) -> Vec<Finding> {
    let path = &settings.store.path;
    let folder = existing_ancestor(path);
    let shown = path.display();
    let probe = tempfile::Builder::new().prefix(".backroom-doctor-").tempfile_in(&folder);
    let mut probe = match probe {
        Ok(probe) => probe,
        Err(error) => {
            let next = "make it writable, or set `path` under [store]";
            return vec![Finding::fail("data directory", format!("{shown} cannot be written: {error}"), next)];
        }
    };
    let mut findings = vec![match folder == *path {
        true => Finding::ok("data directory", format!("{shown} can be written")),
        false => Finding::ok("data directory", format!("{shown} can be made in {}", folder.display())),
    }];
    findings.extend(access(path));
    findings.push(room(settings, &folder));
    findings.push(match syncs(probe.as_file_mut()) {
        Ok(median) => durability(settings, &folder, median),
        Err(error) => {
            Finding::fail("sync", format!("fdatasync fails: {error}"), "put the data directory on a local disk")
        }
    });
    findings
}

/// Whether others may look into the data directory, if it is there: jobs carry what is nobody else's business.
fn access(path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let detail = format!("other users may enter {} (mode {mode:o})", path.display());
        Finding::warn("data directory", detail, format!("chmod 700 {}", path.display()))
    })
}

/// Whether others may read files that hold secrets: the token opens everything, keys sign in this host's name, and what
/// plug-ins are configured with is often a key.
fn secrets(settings: &Settings, file: Option<&Path>) -> Vec<Finding> {
    let exposed = exposed_secrets(settings, file);
    exposed.into_iter().map(|exposed| Finding::warn("settings", exposed.what.clone(), exposed.remedy())).collect()
}

/// The nearest folder above `path` that exists, or itself.
fn existing_ancestor(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if path.is_dir() {
        return path.to_owned();
    }
    absolute.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn room(settings: &Settings, folder: &Path) -> Finding {
    const WHAT: &str = "free space";
    let least = settings.store.min_free_bytes;
    let free = match rustix::fs::statvfs(folder) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => return Finding::warn(WHAT, format!("cannot be asked for: {error}"), "look with df"),
    };
    let detail = format!("{} MiB", free >> 20);
    match free {
        free if free < least => {
            let next = "make room, or lower `min_free` under [store]";
            Finding::fail(
                WHAT,
                format!("{detail}, less than the {} below which no jobs are taken", show_size(least)),
                next,
            )
        }
        free if free < least.saturating_mul(4) => Finding::warn(WHAT, detail, "make room soon"),
        _ => Finding::ok(WHAT, detail),
    }
}

/// How long it takes to make 4 KiB durable: the median of some tries.
fn syncs(file: &mut File) -> std::io::Result<Duration> {
    const TRIES: usize = 31;
    let block = [0x5a_u8; 4_096];
    let mut times = Vec::with_capacity(TRIES);
    for _ in 0..TRIES {
        file.write_all(&block)?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[TRIES / 2])
}

fn durability(settings: &Settings, folder: &Path, sync: Duration) -> Finding {
    const WHAT: &str = "sync";
    const SLOW: Duration = Duration::from_millis(20);
    let detail = format!("4 KiB are durable after {:.3} ms", sync.as_secs_f64() * 1_000.0);
    let is_asked = settings.store.durability == Durability::Power;
    match rustix::fs::statfs(folder).map(|disk| disk.f_type) {
        Ok(TMPFS | RAMFS) if is_asked => {
            let next = "put the data directory on a disk, or set durability = \"process\" under [store]";
            Finding::warn(WHAT, "the data directory lies in memory: a loss of power loses it", next)
        }
        Ok(NFS | SMB | SMB2) => {
            Finding::warn(WHAT, format!("{detail}; the disk is in the network"), "use a local disk")
        }
        _ if sync > SLOW && is_asked => {
            Finding::warn(WHAT, format!("{detail}, which is slow"), "use a faster disk; submits wait for it")
        }
        _ => Finding::ok(WHAT, detail),
    }
}

/// File systems by the numbers of statfs(2).
const TMPFS: i64 = 0x0102_1994;
const RAMFS: i64 = 0x8584_58f6;
const NFS: i64 = 0x6969;
const SMB: i64 = 0xff53_4d42;
const SMB2: i64 = 0xfe53_4d42;

fn kernel(settings: &Settings) -> Vec<Finding> {
    vec![pages(), maps(), files(settings)]
}

/// Freeing the memory of ended runs is cheap where the kernel can tell which pages were touched (6.7 and later).
fn pages() -> Finding {
    const WHAT: &str = "kernel";
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match version {
        version if version >= (6, 7) => Finding::ok(WHAT, format!("{release} tells which pages a run touched")),
        _ => Finding::ok(WHAT, format!("{release}; from 6.7 on short jobs run faster")),
    }
}

/// Every loaded component and every pooled memory takes some of the process's memory maps.
fn maps() -> Finding {
    const WHAT: &str = "memory maps";
    const LEAST: u64 = 65_530;
    let read = std::fs::read_to_string("/proc/sys/vm/max_map_count");
    match read.ok().and_then(|text| text.trim().parse::<u64>().ok()) {
        Some(most) if most < LEAST => {
            Finding::warn(WHAT, format!("at most {most}"), "sysctl -w vm.max_map_count=262144")
        }
        Some(most) => Finding::ok(WHAT, format!("at most {most}")),
        None => Finding::ok(WHAT, "no limit that could be read"),
    }
}

fn files(settings: &Settings) -> Finding {
    const WHAT: &str = "open files";
    let least = u64::try_from(settings.worker.concurrency).unwrap_or(u64::MAX).saturating_mul(4).saturating_add(1_024);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.current {
        Some(most) if most < least => {
            Finding::warn(WHAT, format!("at most {most}; {least} are better"), format!("ulimit -n {least}"))
        }
        Some(most) => Finding::ok(WHAT, format!("at most {most}")),
        None => Finding::ok(WHAT, "no limit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_that_others_may_enter_is_a_warning() {
        let folder = tempfile::tempdir().expect("a folder");
        let finding = |mode| {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).expect("it is ours");
            access(folder.path())
        };
        assert!(finding(0o700).is_none());
        let warning = finding(0o750).expect("the group may enter");
        assert!(warning.verdict == Verdict::Warn && warning.detail.contains("mode 750"), "{warning:?}");
        assert!(warning.next.is_some_and(|next| next.starts_with("chmod 700 ")));
        assert!(access(&folder.path().join("none")).is_none());
    }

    #[test]
    fn a_settings_file_with_secrets_that_others_may_read_is_a_warning() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let finding = |settings: &Settings, mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("it is ours");
            secrets(settings, Some(file.path())).pop()
        };
        let mut settings = Settings::default();
        assert!(finding(&settings, 0o644).is_none(), "there is no secret in it");
        settings.server.token = Some(crate::config::Token::new("0123456789abcdef"));
        assert!(finding(&settings, 0o600).is_none());
        for mode in [0o644, 0o640, 0o604] {
            let warning = finding(&settings, mode).expect("others may read it");
            assert!(warning.verdict == Verdict::Warn && warning.detail.contains("`token` in [server]"), "{warning:?}");
            assert!(warning.next.is_some_and(|next| next.starts_with("chmod 600 ")));
        }
    }
}
