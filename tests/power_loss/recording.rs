//! What the traced process did, and the images that are made of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use backroom::domain::service::Durability;

use crate::case::{Case, Verdict};
use crate::child::Pattern;
use crate::damage::{Damage, Kind, by_kind};
use crate::disk::{Cut, Disk};
use crate::trace::{Event, Trace};
use crate::{DURABILITY, FOLDER, PATTERN, Random, seed};

/// So many images are checked at the same time.
const CHECKERS: usize = 2;

const CALLS: &str = "openat,open,creat,close,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,\
    fdatasync,sync_file_range,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,lseek,dup,dup2,\
    dup3,mmap,copy_file_range,sendfile";

/// How quick the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Usual,
    /// `fsync` takes its time to begin, `fdatasync` does not: threads run into what others have not synced yet.
    SlowSyncs,
}

/// What the traced process did.
pub(crate) struct Recording {
    trace: Trace,
    /// Its folder, removed with the recording.
    folder: tempfile::TempDir,
    durability: Durability,
    pattern: Pattern,
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
    pub(crate) fn make(durability: Durability, pattern: Pattern, pace: Pace) -> Option<Self> {
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
            .env(PATTERN, pattern.word())
            .stdout(Stdio::null())
            .stderr(said)
            .status()
            .expect("strace starts");
        let said = std::fs::read_to_string(folder.path().join("said")).expect("it can be read");
        let last: Vec<_> = said.lines().filter(|line| !line.starts_with("TRY") && !line.starts_with("ACK")).collect();
        assert!(status.success(), "the traced process failed: {}", last.join("\n"));
        let text = std::fs::read_to_string(&text).expect("the trace is text");
        let trace = Trace::parse(&text);
        let (calls, seconds) = (trace.calls.len(), started.elapsed().as_secs_f32());
        println!("traced {calls} calls in {seconds:.1} s ({pattern:?}, {pace:?})");
        let recording = Self { trace, folder, durability, pattern };
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
        let image = disk.image(Cut::everything(), &mut Random(0));
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

    /// Makes images, checks them, and says what became of them.
    pub(crate) fn check(&self, images: u64, wanted: &dyn Fn(usize) -> bool) -> Vec<Verdict> {
        let started = Instant::now();
        let mut random = Random(seed());
        let moments = self.moments(images, &mut random, wanted);
        let verdicts = check_all(|send| self.cut_all(&moments, &mut random, send));
        let seconds = started.elapsed().as_secs_f32();
        println!("checked {images} images ({}, {:?}) in {seconds:.1} s", self.durability.word(), self.pattern);
        verdicts
    }

    fn cut_all(&self, moments: &[Moment], random: &mut Random, send: &mpsc::SyncSender<Case>) {
        let mut disk = Disk::new(&self.data());
        let (mut said, mut acknowledged) = (String::new(), 0);
        let mut at = 0;
        for moment in moments {
            for event in &self.trace.events[at..moment.event] {
                if let Some(line) = self.said(*event) {
                    acknowledged += usize::from(line.starts_with("ACK"));
                    said.push_str(&line);
                }
                disk.apply(&self.trace, *event);
            }
            at = moment.event;
            let name = format!(
                "image {} of seed {}, {:?}, cut before event {} (after {acknowledged} acknowledgements) as {:?}",
                moment.index,
                seed(),
                self.pattern,
                moment.event,
                moment.cut
            );
            let keep = self.durability == Durability::Power;
            let mut image = disk.image(moment.cut, random);
            // The machine has started again since.
            image.files.get_mut("store/open").into_iter().for_each(|run| *run = b"an earlier run".to_vec());
            let case = Case { image, said: said.clone(), name, keep, may_say: &[] };
            send.send(case).expect("the checkers wait for images");
        }
    }
}

impl Recording {
    /// Damages the files of a store that was killed in the middle and of one that was closed, and says what became of each.
    pub(crate) fn damage(&self, images: u64) -> Vec<(Kind, Damage, Verdict)> {
        let started = Instant::now();
        let mut random = Random(seed());
        let mut disk = Disk::new(&self.data());
        let mut said = String::new();
        let mut bases = Vec::new();
        for (at, event) in self.trace.events.iter().enumerate() {
            if at == self.trace.events.len() / 2 {
                bases.push((disk.image(Cut::everything(), &mut random), said.clone()));
            }
            said.extend(self.said(*event));
            disk.apply(&self.trace, *event);
        }
        bases.push((disk.image(Cut::everything(), &mut random), said));
        let mut wanted: Vec<_> = Vec::new();
        for (base, (image, _)) in bases.iter().enumerate() {
            let kinds = by_kind(image);
            let of_kind =
                |(kind, paths): (Kind, Vec<String>)| Damage::ALL.map(|damage| (base, kind, paths.clone(), damage));
            wanted.extend(kinds.into_iter().flat_map(of_kind));
        }
        let (cases, what): (Vec<_>, Vec<_>) = (0..usize::try_from(images).expect("a count"))
            .filter_map(|index| {
                let (base, kind, paths, damage) = &wanted[index % wanted.len()];
                let (image, said) = &bases[*base];
                let mut image = image.clone();
                let path = &paths[usize::try_from(random.below(paths.len() as u64)).expect("an index")];
                let what = damage.strike(&mut image, path, &mut random)?;
                let state = ["killed", "closed"][*base];
                let name = format!("image {index} of seed {}, {:?}, {state}, with {what}", seed(), self.pattern);
                let case = Case { image, said: said.clone(), name, keep: true, may_say: kind.may_say() };
                Some((case, (*kind, *damage)))
            })
            .unzip();
        let verdicts = check_all(|send| cases.into_iter().for_each(|case| send.send(case).expect("they wait for it")));
        println!("checked {} damaged images in {:.1} s", verdicts.len(), started.elapsed().as_secs_f32());
        what.into_iter().zip(verdicts).map(|((kind, damage), verdict)| (kind, damage, verdict)).collect()
    }
}

/// Checks what is sent, several at the same time; the verdicts are in the same order.
pub(crate) fn check_all(make: impl FnOnce(&mpsc::SyncSender<Case>)) -> Vec<Verdict> {
    let verdicts = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel::<Case>(1);
        let receive = Arc::new(Mutex::new(receive.into_iter().enumerate()));
        for _ in 0..CHECKERS {
            let (receive, verdicts) = (Arc::clone(&receive), &verdicts);
            scope.spawn(move || {
                while let Some((number, case)) = next(&receive) {
                    let verdict = case.check();
                    verdicts.lock().expect("nobody panics with it").insert(number, verdict);
                }
            });
        }
        drop(receive);
        make(&send);
    });
    verdicts.into_inner().expect("nobody panics with it").into_values().collect()
}

fn next(cases: &Mutex<impl Iterator<Item = (usize, Case)>>) -> Option<(usize, Case)> {
    cases.lock().expect("nobody panics with it").next()
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
