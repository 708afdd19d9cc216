//! One image: opened and looked through in a process of its own, which may hang, abort or break without harm to the others.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use backroom::domain::service::Durability;
use backroom::store::sled::{OpenError, SledStore};

use crate::child::{self, Pattern};
use crate::disk::Image;
use crate::known::{self, Known};

/// Where the process that looks finds the image.
const IMAGE: &str = "BACKROOM_POWER_IMAGE";
/// Opening an image twice and looking through it takes far less.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the log says of a last group that is not whole.
const TORN: &str = "the last group of the journal is not whole and was dropped";
/// How complaints begin of what such a group may have held.
const LOSSES: [&str; 5] = [
    "was acknowledged and is lost",
    "is back at revision",
    "is there again",
    "and is not remembered",
    "is at revision",
];
/// What begins the lines of a process that looks.
const MARK: &str = "POWER";

/// An image, and what must be in it.
pub(crate) struct Case {
    pub(crate) image: Image,
    /// What the traced process has said by then.
    pub(crate) said: String,
    pub(crate) name: String,
    /// Whether it is kept when it fails.
    pub(crate) keep: bool,
    /// Where saying what is lost will do: what it must name. Of an image that was only cut nothing may be lost.
    pub(crate) may_say: &'static [&'static str],
}

/// What became of an image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything that was acknowledged is there.
    Whole,
    /// The store has said what is lost, in these words, each of one thing.
    Told(Vec<String>),
    /// It is not as it must be.
    Failed(String),
}

impl Verdict {
    pub(crate) fn failure(self) -> Option<String> {
        match self {
            Self::Whole | Self::Told(_) => None,
            Self::Failed(why) => Some(why),
        }
    }
}

impl Case {
    pub(crate) fn check(self) -> Verdict {
        let folder = memory_folder();
        self.image.write_to(folder.path());
        std::fs::write(folder.path().join("said"), &self.said).expect("there is room");
        let mut looking = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["--exact", "case::look", "--nocapture"])
            .env(IMAGE, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let readers = [read(looking.stdout.take()), read(looking.stderr.take())];
        let status = wait(&mut looking);
        let [said, errors] = readers.map(|reader| reader.join().expect("reading does not break"));
        let lines = |word: &str| -> Vec<String> {
            let start = format!("{MARK} {word} ");
            said.lines().filter_map(|line| line.strip_prefix(&start)).map(str::to_owned).collect()
        };
        let mut complaints = lines("COMPLAINT");
        match status {
            None => complaints.push("it takes too long".to_owned()),
            Some(true) => {}
            Some(false) => complaints.push(format!("its process ended badly: {}", last_of(&errors))),
        }
        if errors.contains("panicked at") || errors.contains("stack backtrace") {
            complaints.push(format!("a panic was printed: {}", last_of(&errors)));
        }
        let told = lines("TOLD");
        let may_be_said = |told: &&String| self.may_say.iter().any(|name| told.contains(name));
        complaints.extend(told.iter().filter(|told| !may_be_said(told)).map(|told| format!("it says: {told}")));
        if complaints.is_empty() && lines("DONE").is_empty() && told.is_empty() {
            complaints.push(format!("it ended without a word: {}", last_of(&errors)));
        }
        // The last group of a host that was killed: nothing behind it says that it had been on disk, so the log must do.
        let is_loss = |complaint: &String| LOSSES.iter().any(|loss| complaint.contains(loss));
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let mut told = told;
        if self.may_say.contains(&"journal") && log.contains(TORN) && complaints.iter().all(is_loss) {
            told.extend(complaints.pop().map(|complaint| format!("{TORN}: {complaint}")));
            complaints.clear();
        }
        if complaints.is_empty() {
            return if told.is_empty() { Verdict::Whole } else { Verdict::Told(told) };
        }
        let shown = complaints.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
        let mut failure = format!("{}: {} complaints: {shown}", self.name, complaints.len());
        if self.keep {
            let kept = tempfile::Builder::new().prefix("backroom-power-").tempdir().expect("there is room").keep();
            self.image.write_to(&kept);
            std::fs::write(kept.join("said"), &self.said).expect("there is room");
            failure = format!("{failure}; the image is in {}", kept.display());
        }
        Verdict::Failed(failure)
    }
}

fn last_of(text: &str) -> String {
    let start = text.char_indices().rev().nth(600).map_or(0, |(at, _)| at);
    text[start..].replace('\n', " | ")
}

fn read(from: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            from.read_to_end(&mut bytes).expect("a pipe can be read");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Whether it ended well; none when it takes too long.
fn wait(child: &mut Child) -> Option<bool> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return Some(status.success());
        }
        if started.elapsed() > PATIENCE {
            child.kill().expect("it is ours");
            child.wait().expect("it can be waited for");
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// The process that looks at an image; without one it has nothing to do.
#[test]
fn look() {
    let Some(folder) = std::env::var_os(IMAGE).map(PathBuf::from) else { return };
    let log = std::fs::File::create(folder.join("log")).expect("there is room");
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false).with_writer(log).init();
    let mut known = Known::default();
    let said = std::fs::read_to_string(folder.join("said")).expect("it was written");
    said.lines().for_each(|line| {
        known.hear(line);
    });
    match look_twice(&folder.join("store"), known) {
        Ok(complaints) => complaints.iter().for_each(|complaint| println!("{MARK} COMPLAINT {complaint}")),
        Err(told) => told.iter().for_each(|told| println!("{MARK} TOLD {told}")),
    }
    println!("{MARK} DONE ");
}

/// Opens a store, looks through it, adds a job, and does it again. What the store says itself of a loss is an error.
fn look_twice(path: &Path, mut known: Known) -> Result<Vec<String>, Vec<String>> {
    let mut before = None;
    for time in ["first", "second"] {
        let store = match SledStore::open(child::settings(path, Durability::Power, Pattern::Steady)) {
            Ok(store) => store,
            Err(error) if time == "first" && !matches!(error, OpenError::InUse { .. } | OpenError::Io(_)) => {
                return Err(vec![error.to_string()]);
            }
            Err(error) => return Ok(vec![format!("the {time} opening failed: {error}")]),
        };
        let (mut complaints, told) = known.complaints(&store);
        if before.is_some() && before != known::list(&store).ok() {
            complaints.push("another opening has changed jobs".to_owned());
        }
        if !told.is_empty() && complaints.is_empty() {
            return Err(told);
        }
        if let Err(why) = known.submit_another(&store) {
            complaints.push(why);
        }
        if !complaints.is_empty() {
            return Ok(complaints);
        }
        before = known::list(&store).ok();
    }
    Ok(Vec::new())
}

/// In memory, where there is such a file system: images come and go.
fn memory_folder() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("backroom-power-");
    builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).expect("a temporary directory can be made")
}
