//! Cuts the power at every commit, on paper: a process works on a store while its writes and syncs are traced, images of
//! what the disk may hold are made of the trace, opened, and compared with what had been acknowledged by then.
//!
//! `BACKROOM_POWER_IMAGES=5000 cargo test --test power_loss` makes as many images as asked; `BACKROOM_SEED=n` repeats the
//! choices (not the timing of the threads). It needs `strace`; without it the tests say so and pass, unless
//! `BACKROOM_REQUIRE_ALL=1` is set.

mod child;
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "the jobs of the store's tests, of which these tests need a part"
)]
#[path = "../store/common.rs"]
mod common;
mod disk;
mod known;
mod trace;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backroom::domain::service::Durability;
use backroom::store::sled::SledStore;

use disk::{Cut, Disk, Image};
use known::Known;
use trace::{Event, Trace};

/// How many images are made when nothing else is asked for.
const IMAGES: u64 = 200;
/// Opening an image twice and looking through it takes far less.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many images are checked at the same time.
const CHECKERS: usize = 2;

const CALLS: &str = "openat,open,creat,close,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,\
    fdatasync,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,lseek,dup,dup2,\
    dup3,mmap,copy_file_range,sendfile";

/// Where the traced process finds its folder.
const FOLDER: &str = "BACKROOM_POWER_FOLDER";
/// Its durability: with `process` commits are acknowledged before they are on disk, which these tests must notice.
const DURABILITY: &str = "BACKROOM_POWER_DURABILITY";

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    let images = number_from_env("BACKROOM_POWER_IMAGES").unwrap_or(IMAGES);
    let mut failures = Vec::new();
    for (pace, images) in [(Pace::Usual, images / 2), (Pace::SlowSyncs, images - images / 2)] {
        let Some(recording) = Recording::make(Durability::Power, pace) else { return };
        failures.extend(recording.check(images, &|_| true));
    }
    assert!(failures.is_empty(), "{} of {images} images failed:\n{}", failures.len(), failures.join("\n"));
}

/// These tests can fail: a store that does not sync before it acknowledges is found out.
#[test]
fn power_cuts_without_syncs_are_found_to_lose_commits() {
    let Some(recording) = Recording::make(Durability::Process, Pace::Usual) else { return };
    let failures = recording.check(16, &|index| index % 8 == 0);
    let lost = failures.iter().filter(|failure| failure.contains("was acknowledged and is lost")).count();
    assert!(lost > 0, "nothing was lost without syncs, which cannot be: {failures:?}");
}

/// The process that the other tests trace; without their folder it has nothing to do.
#[test]
fn traced_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let durability = match std::env::var(DURABILITY).as_deref() {
        Ok("process") => Durability::Process,
        _ => Durability::Power,
    };
    child::run(&Path::new(&folder).join("store"), durability, seed());
}

fn seed() -> u64 {
    number_from_env("BACKROOM_SEED").unwrap_or(0x5eed)
}

/// How quick the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Usual,
    /// `fsync` takes its time to begin, `fdatasync` does not: threads run into what others have not synced yet.
    SlowSyncs,
}

/// What the traced process did.
struct Recording {
    trace: Trace,
    /// Its folder, removed with the recording.
    folder: tempfile::TempDir,
    durability: Durability,
}

impl Pace {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Usual => &[],
            Self::SlowSyncs => &["-e", "inject=fsync:delay_enter=4000"],
        }
    }
}

/// A moment at which the power may go.
struct Moment {
    /// How many events lie before it.
    event: usize,
    cut: Cut,
    index: usize,
}

impl Recording {
    /// None when it cannot be made here.
    fn make(durability: Durability, pace: Pace) -> Option<Self> {
        if let Err(error) = Command::new("strace").arg("--version").stdout(Stdio::null()).status() {
            let is_required = std::env::var("BACKROOM_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!is_required, "this test needs strace, which does not start: {error}");
            println!("skipped: strace does not start ({error})");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("the folder is ours");
        let text = folder.path().join("trace");
        let said = std::fs::File::create(folder.path().join("said")).expect("the folder is ours");
        let started = Instant::now();
        let status = Command::new("strace")
            .args(["-f", "-qq", "-xx", "-s", "16000000", "-e", &format!("trace={CALLS}")])
            .args(pace.arguments())
            .arg("-o")
            .arg(&text)
            .arg(std::env::current_exe().expect("this program has a path"))
            .args(["--exact", "traced_process", "--nocapture"])
            .env(FOLDER, &data)
            .env(DURABILITY, durability.word())
            .stdout(Stdio::null())
            .stderr(said)
            .status()
            .expect("strace starts");
        let said = std::fs::read_to_string(folder.path().join("said")).expect("it can be read");
        let last: Vec<_> = said.lines().filter(|line| !line.starts_with("TRY") && !line.starts_with("ACK")).collect();
        assert!(status.success(), "the traced process failed: {}", last.join("\n"));
        let text = std::fs::read_to_string(&text).expect("the trace is text");
        let trace = Trace::parse(&text);
        println!("traced {} calls in {:.1} s ({pace:?})", trace.calls.len(), started.elapsed().as_secs_f32());
        let recording = Self { trace, folder, durability };
        recording.assert_model_is_right();
        Some(recording)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// With everything kept, the image is what the process has left behind.
    fn assert_model_is_right(&self) {
        let mut disk = Disk::new(&self.data());
        self.trace.events.iter().for_each(|event| disk.apply(&self.trace, *event));
        let image = disk.image(Cut::number(1), &mut Random(0));
        let mut real = BTreeMap::new();
        read_files(&self.data(), "", &mut real);
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&image.files), names(&real), "the model of the disk has other files than the disk");
        for (path, bytes) in &image.files {
            assert!(real[path] == *bytes, "the model of the disk has another {path} than the disk");
        }
    }

    fn said(&self, event: Event) -> Option<String> {
        let Event::Start(call) = event else { return None };
        let call = &self.trace.calls[call];
        (call.name == "write" && call.arguments[0] == "2").then(|| call.path(0))
    }

    /// Most of them right behind an acknowledgement, the others before the end of a sync, before the first acknowledgement
    /// and anywhere.
    fn moments(&self, images: u64, random: &mut Random, wanted: &dyn Fn(usize) -> bool) -> Vec<Moment> {
        let is_acknowledgement = |event: Event| self.said(event).is_some_and(|said| said.starts_with("ACK"));
        let events = self.trace.events.iter().enumerate();
        let acknowledged: Vec<_> =
            events.filter(|(_, event)| is_acknowledgement(**event)).map(|(at, _)| at + 1).collect();
        let is_end_of_sync =
            |event: &Event| matches!(event, Event::End(call) if self.trace.calls[*call].name == "fsync");
        let events = self.trace.events.iter().enumerate();
        // A folder is synced after everything that hangs on the names in it: the moment before is the worst one.
        let syncs: Vec<_> = events.filter(|(_, event)| is_end_of_sync(event)).map(|(at, _)| at).collect();
        let all = self.trace.events.len() as u64;
        let opened = acknowledged[0] as u64;
        let windows = acknowledged.len() as u64;
        println!("{windows} acknowledgements, {images} images");
        let mut moments = Vec::new();
        let mut index = 0;
        while (moments.len() as u64) < images {
            let number = moments.len() as u64;
            let event = match number % 8 {
                5 => random.pick(&syncs) as u64,
                6 => random.below(opened),
                7 => random.below(all),
                _ => acknowledged[usize::try_from(number * windows / images).expect("an index")] as u64,
            };
            // The kinds of cut and the kinds of moments go round at different paces, so that they all meet.
            let cut = index + index / 8;
            index += 1;
            if wanted(cut) {
                let event = usize::try_from(event).expect("an index");
                moments.push(Moment { event, cut: Cut::number(cut), index: moments.len() });
            }
        }
        moments.sort_by_key(|moment| moment.event);
        moments
    }

    /// Makes images, checks them, and says what is wrong with them.
    fn check(&self, images: u64, wanted: &dyn Fn(usize) -> bool) -> Vec<String> {
        let started = Instant::now();
        let mut random = Random(seed());
        let moments = self.moments(images, &mut random, wanted);
        let failures = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let (send, receive) = mpsc::sync_channel::<Case>(1);
            let receive = Arc::new(Mutex::new(receive));
            for _ in 0..CHECKERS {
                let (receive, failures) = (Arc::clone(&receive), &failures);
                scope.spawn(move || {
                    while let Some(case) = next(&receive) {
                        let found = case.check();
                        failures.lock().expect("nobody panics with it").extend(found);
                    }
                });
            }
            drop(receive);
            self.cut_all(&moments, &mut random, &send);
        });
        println!("checked {images} images ({}) in {:.1} s", self.durability.word(), started.elapsed().as_secs_f32());
        failures.into_inner().expect("nobody panics with it")
    }

    fn cut_all(&self, moments: &[Moment], random: &mut Random, send: &mpsc::SyncSender<Case>) {
        let mut disk = Disk::new(&self.data());
        let mut known = Known::default();
        let mut at = 0;
        for moment in moments {
            for event in &self.trace.events[at..moment.event] {
                if let Some(said) = self.said(*event) {
                    known.hear(&said);
                }
                disk.apply(&self.trace, *event);
            }
            at = moment.event;
            let name = format!(
                "image {} of seed {}, cut before event {} (after {} acknowledgements) as {:?}",
                moment.index,
                seed(),
                moment.event,
                known.acknowledged,
                moment.cut
            );
            let keep = self.durability == Durability::Power;
            let case = Case { image: disk.image(moment.cut, random), known: known.clone(), name, keep };
            send.send(case).expect("the checkers wait for images");
        }
    }
}

fn next(receive: &Mutex<mpsc::Receiver<Case>>) -> Option<Case> {
    receive.lock().expect("nobody panics with it").recv().ok()
}

fn read_files(folder: &Path, below: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).expect("it can be read") {
        let entry = entry.expect("it can be read");
        let name = entry.file_name().into_string().expect("a plain name");
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.path().is_dir() {
            read_files(&entry.path(), &path, found);
        } else {
            found.insert(path, std::fs::read(entry.path()).expect("it can be read"));
        }
    }
}

/// An image, and what must be in it.
struct Case {
    image: Image,
    known: Known,
    name: String,
    /// Whether it is kept when it fails.
    keep: bool,
}

impl Case {
    fn check(self) -> Option<String> {
        let folder = memory_folder();
        self.image.write_to(folder.path());
        let (answer, answered) = mpsc::sync_channel(1);
        let (path, known) = (folder.path().join("store"), self.known);
        let look = std::thread::spawn(move || {
            let complaints = look_twice(&path, known);
            // Whoever has lost patience does not need it.
            let _sent = answer.send(complaints);
        });
        let complaints = match answered.recv_timeout(PATIENCE) {
            Ok(complaints) => complaints,
            Err(mpsc::RecvTimeoutError::Timeout) => vec!["it does not open in time".to_owned()],
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let panic = look.join().expect_err("it ended without an answer");
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                vec![format!("it panicked: {text}")]
            }
        };
        if complaints.is_empty() {
            return None;
        }
        let shown = complaints.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
        let mut failure = format!("{}: {} complaints: {shown}", self.name, complaints.len());
        if self.keep {
            let kept = tempfile::Builder::new().prefix("backroom-power-").tempdir().expect("there is room").keep();
            self.image.write_to(&kept);
            failure = format!("{failure}; the image is in {}", kept.display());
        }
        Some(failure)
    }
}

/// Opens a store, looks through it, adds a job, and does it again.
fn look_twice(path: &Path, mut known: Known) -> Vec<String> {
    let mut before = None;
    for time in ["first", "second"] {
        let store = match SledStore::open(child::settings(path, Durability::Power)) {
            Ok(store) => store,
            Err(error) => return vec![format!("the {time} opening failed: {error}")],
        };
        let mut complaints = known.complaints(&store);
        if before.is_some() && before != known::list(&store).ok() {
            complaints.push("another opening has changed jobs".to_owned());
        }
        if let Err(why) = known.submit_another(&store) {
            complaints.push(why);
        }
        if !complaints.is_empty() {
            return complaints;
        }
        before = known::list(&store).ok();
    }
    Vec::new()
}

/// In memory, where there is such a file system: images come and go.
fn memory_folder() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("backroom-power-");
    builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).expect("a temporary directory can be made")
}

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// SplitMix64: enough to choose moments.
struct Random(u64);

impl Random {
    fn pick(&mut self, from: &[usize]) -> usize {
        from[usize::try_from(self.below(from.len() as u64)).expect("an index")]
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
