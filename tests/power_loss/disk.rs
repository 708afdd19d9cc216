//! What a disk may hold after a power cut, by the weakest promises that file systems with a journal make.
//!
//! A sync covers what was complete when it began, and counts when it has returned. Data and growth of a file are on disk
//! after `fsync` or `fdatasync` of it, a name after `fsync` of its folder; `sync_file_range` promises nothing. What is not
//! synced may have made it all the same: writes in any selection, torn at sectors; names only in their order.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::Random;
use crate::trace::{Call, Event, Trace};

/// What a disk writes whole: most say 512 bytes, many do 4 KiB.
const SECTORS: [usize; 2] = [512, 4096];

/// What becomes of the things that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    Kept,
    /// Each by its own luck.
    Mixed,
}

/// How a power cut goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) writes: Fate,
    pub(crate) growth: Fate,
    pub(crate) names: Fate,
    sector: usize,
}

impl Cut {
    /// None: the process alone is gone.
    pub(crate) fn everything() -> Self {
        Self { writes: Fate::Kept, growth: Fate::Kept, names: Fate::Kept, sector: SECTORS[0] }
    }

    /// The plain cuts come first, then random ones, over and over.
    pub(crate) fn number(index: usize) -> Self {
        use Fate::{Kept, Lost, Mixed};
        let (writes, growth, names) = match index % 8 {
            0 => (Lost, Lost, Lost),
            1 => (Kept, Kept, Kept),
            2 => (Kept, Kept, Lost),
            3 => (Lost, Kept, Mixed),
            4 => (Mixed, Lost, Lost),
            _ => (Mixed, Mixed, Mixed),
        };
        Self { writes, growth, names, sector: SECTORS[index / 8 % 2] }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Debug)]
enum Naming {
    Add(String, Node),
    Remove(String),
    Rename(String, String, Node),
}

#[derive(Debug)]
struct Named {
    naming: Naming,
    is_done: bool,
    is_synced: bool,
}

impl Named {
    fn touches(&self, folder: &str) -> bool {
        match &self.naming {
            Naming::Add(path, _) | Naming::Remove(path) => parent(path) == folder,
            Naming::Rename(from, to, _) => parent(from) == folder || parent(to) == folder,
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[derive(Clone, Debug)]
enum Write {
    At(usize, Vec<u8>),
    SetLength(usize),
}

#[derive(Debug)]
struct Unsynced {
    call: usize,
    is_done: bool,
    write: Write,
}

#[derive(Debug, Default)]
struct Inode {
    synced: Vec<u8>,
    unsynced: Vec<Unsynced>,
    length: usize,
}

/// An open file.
#[derive(Clone, Debug)]
enum Target {
    Folder(String),
    File { inode: usize, description: usize },
}

/// What ends with a call.
enum Effect {
    Open(Target),
    Write(usize),
    Name(usize),
    Sync { inode: usize, covered: Vec<usize> },
    SyncFolder(Vec<usize>),
}

/// The disk below a folder as a trace goes on.
pub(crate) struct Disk {
    root: String,
    inodes: Vec<Inode>,
    names: Vec<Named>,
    tree: BTreeMap<String, Node>,
    open: HashMap<i64, Target>,
    /// Where the next plain write of each open file goes; none when it appends.
    cursors: Vec<Option<usize>>,
    running: HashMap<usize, Vec<Effect>>,
}

/// Folders and files, by their paths below the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) folders: Vec<String>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Image {
    pub(crate) fn write_to(&self, root: &Path) {
        for folder in &self.folders {
            std::fs::create_dir_all(root.join(folder)).expect("there is room for the image");
        }
        for (path, bytes) in &self.files {
            std::fs::write(root.join(path), bytes).expect("there is room for the image");
        }
    }
}

impl Disk {
    /// An empty folder that is on disk.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_str().expect("a plain path").to_owned(),
            inodes: Vec::new(),
            names: Vec::new(),
            tree: BTreeMap::from([(String::new(), Node::Folder)]),
            open: HashMap::new(),
            cursors: Vec::new(),
            running: HashMap::new(),
        }
    }

    pub(crate) fn apply(&mut self, trace: &Trace, event: Event) {
        match event {
            Event::Start(call) if !trace.calls[call].has_failed() => self.start(call, &trace.calls[call]),
            Event::Start(_) => {}
            Event::End(call) => self.end(call, &trace.calls[call]),
        }
    }

    /// The path below the root.
    fn path(&self, path: &str) -> Option<String> {
        let below = path.strip_prefix(&self.root)?;
        (below.is_empty() || below.starts_with('/')).then(|| below.trim_matches('/').to_owned())
    }

    fn start(&mut self, id: usize, call: &Call) {
        match call.name.as_str() {
            "openat" | "open" | "creat" => self.start_open(id, call),
            "close" => {
                self.open.remove(&call.number(0));
            }
            "dup" | "dup2" | "dup3" => {
                let target = self.open.get(&call.number(0)).cloned();
                if let Some(target) = target {
                    self.will(id, Effect::Open(target));
                }
            }
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => self.start_write(id, call),
            "lseek" => {
                if let Some(Target::File { description, .. }) = self.open.get(&call.number(0)) {
                    let place = call.result.and_then(|place| usize::try_from(place).ok());
                    if let Some(cursor) = &mut self.cursors[*description] {
                        *cursor = place.expect("it succeeded");
                    }
                }
            }
            "ftruncate" => {
                if let Some(Target::File { inode, .. }) = self.open.get(&call.number(0)) {
                    let length = usize::try_from(call.number(1)).expect("a length");
                    self.write(id, *inode, Write::SetLength(length));
                }
            }
            "fallocate" => {
                if let Some(Target::File { inode, .. }) = self.open.get(&call.number(0)) {
                    assert_eq!(call.arguments[1], "0", "only plain fallocate is known");
                    let end = usize::try_from(call.number(2) + call.number(3)).expect("a length");
                    if end > self.inodes[*inode].length {
                        self.write(id, *inode, Write::SetLength(end));
                    }
                }
            }
            "fsync" | "fdatasync" => self.start_sync(id, call),
            "mkdir" | "mkdirat" => self.name(id, |disk| Some(Naming::Add(disk.path(&call.path(0))?, Node::Folder))),
            "unlink" | "unlinkat" | "rmdir" => self.name(id, |disk| Some(Naming::Remove(disk.path(&call.path(0))?))),
            "rename" | "renameat" | "renameat2" => self.name(id, |disk| {
                let (from, to) = (disk.path(&call.path(0))?, disk.path(&call.path(1))?);
                let node = disk.tree.get(&from)?.clone();
                assert!(matches!(node, Node::File(_)), "folders are not renamed here");
                Some(Naming::Rename(from, to, node))
            }),
            "sync_file_range" => {}
            "mmap" => assert!(
                !(call.has_flag(2, "PROT_WRITE")
                    && call.has_flag(3, "MAP_SHARED")
                    && self.open.contains_key(&call.arguments[4].parse().unwrap_or(-1))),
                "a shared mapping writes without calls"
            ),
            other => panic!("{other} is traced, but its effect is not known"),
        }
    }

    fn end(&mut self, id: usize, call: &Call) {
        for effect in self.running.remove(&id).unwrap_or_default() {
            match effect {
                Effect::Open(target) => {
                    self.open.insert(call.result.expect("it has ended"), target);
                }
                Effect::Write(inode) => {
                    let of_call = self.inodes[inode].unsynced.iter_mut().filter(|write| write.call == id);
                    of_call.for_each(|write| write.is_done = true);
                }
                Effect::Name(index) => self.names[index].is_done = true,
                Effect::Sync { inode, covered } => self.inodes[inode].sync(&covered),
                Effect::SyncFolder(covered) => covered.iter().for_each(|index| self.names[*index].is_synced = true),
            }
        }
    }

    /// An opening that makes or empties a file has two effects.
    fn will(&mut self, call: usize, effect: Effect) {
        self.running.entry(call).or_default().push(effect);
    }

    fn start_open(&mut self, id: usize, call: &Call) {
        let Some(path) = self.path(&call.path(0)) else { return };
        let flags = call.arguments.iter().position(|argument| argument.starts_with("O_")).expect("there are flags");
        assert!(!call.has_flag(flags, "O_SYNC") && !call.has_flag(flags, "O_DSYNC"), "these are not known here");
        let target = match self.tree.get(&path).cloned() {
            Some(Node::Folder) => Target::Folder(path),
            Some(Node::File(inode)) => {
                if call.has_flag(flags, "O_TRUNC") {
                    self.write(id, inode, Write::SetLength(0));
                }
                Target::File { inode, description: self.describe(call.has_flag(flags, "O_APPEND")) }
            }
            None => {
                assert!(call.has_flag(flags, "O_CREAT"), "{path} was opened, but nothing has made it");
                let inode = self.inodes.len();
                self.inodes.push(Inode::default());
                self.name(id, |_| Some(Naming::Add(path, Node::File(inode))));
                Target::File { inode, description: self.describe(call.has_flag(flags, "O_APPEND")) }
            }
        };
        self.will(id, Effect::Open(target));
    }

    fn describe(&mut self, appends: bool) -> usize {
        self.cursors.push((!appends).then_some(0));
        self.cursors.len() - 1
    }

    fn start_write(&mut self, id: usize, call: &Call) {
        let Some(Target::File { inode, description }) = self.open.get(&call.number(0)).cloned() else { return };
        let mut bytes = call.strings.concat();
        bytes.truncate(usize::try_from(call.result.unwrap_or(i64::MAX)).expect("it has not failed"));
        let at = match call.name.starts_with('p') {
            true => usize::try_from(call.arguments.last().map_or(0, |at| at.parse().expect("an offset"))),
            false => Ok(self.cursors[description].unwrap_or(self.inodes[inode].length)),
        };
        let at = at.expect("a place");
        if let (false, Some(cursor)) = (call.name.starts_with('p'), &mut self.cursors[description]) {
            *cursor = at + bytes.len();
        }
        self.write(id, inode, Write::At(at, bytes));
    }

    fn write(&mut self, call: usize, inode: usize, write: Write) {
        let of = &mut self.inodes[inode];
        of.length = match &write {
            Write::At(at, bytes) => of.length.max(at + bytes.len()),
            Write::SetLength(length) => *length,
        };
        of.unsynced.push(Unsynced { call, is_done: false, write });
        self.will(call, Effect::Write(inode));
    }

    fn name(&mut self, call: usize, naming: impl FnOnce(&Self) -> Option<Naming>) {
        let Some(naming) = naming(self) else { return };
        naming.apply(&mut self.tree);
        self.names.push(Named { naming, is_done: false, is_synced: false });
        self.will(call, Effect::Name(self.names.len() - 1));
    }

    fn start_sync(&mut self, id: usize, call: &Call) {
        let effect = match self.open.get(&call.number(0)) {
            Some(Target::Folder(folder)) => {
                let names = self.names.iter().enumerate();
                let covered = names.filter(|(_, named)| named.is_done && named.touches(folder));
                Effect::SyncFolder(covered.map(|(index, _)| index).collect())
            }
            Some(Target::File { inode, .. }) => {
                let done = self.inodes[*inode].unsynced.iter().filter(|write| write.is_done);
                Effect::Sync { inode: *inode, covered: done.map(|write| write.call).collect() }
            }
            None => return,
        };
        self.will(id, effect);
    }

    /// What is there after a cut now.
    pub(crate) fn image(&self, cut: Cut, random: &mut Random) -> Image {
        let unsynced = self.names.iter().filter(|named| !named.is_synced).count();
        let mut early = match cut.names {
            Fate::Lost => 0,
            Fate::Kept => unsynced,
            Fate::Mixed => usize::try_from(random.below(unsynced as u64 + 1)).expect("a count"),
        };
        let mut tree = BTreeMap::from([(String::new(), Node::Folder)]);
        for named in &self.names {
            if !named.is_synced {
                if early == 0 {
                    continue;
                }
                early -= 1;
            }
            named.naming.apply(&mut tree);
        }
        let mut image = Image::default();
        for (path, node) in &tree {
            match node {
                Node::Folder => image.folders.push(path.clone()),
                Node::File(inode) => {
                    image.files.insert(path.clone(), self.inodes[*inode].content(cut, random));
                }
            }
        }
        image
    }
}

impl Naming {
    /// What lies in a folder that did not make it is lost with it.
    fn apply(&self, tree: &mut BTreeMap<String, Node>) {
        match self {
            Self::Add(path, node) => put(tree, path, node),
            Self::Remove(path) => {
                tree.remove(path);
            }
            Self::Rename(from, to, node) => {
                tree.remove(from);
                put(tree, to, node);
            }
        }
    }
}

fn put(tree: &mut BTreeMap<String, Node>, path: &str, node: &Node) {
    if path.is_empty() || tree.get(parent(path)) == Some(&Node::Folder) {
        tree.insert(path.to_owned(), node.clone());
    }
}

impl Inode {
    fn sync(&mut self, covered: &[usize]) {
        let synced = &mut self.synced;
        self.unsynced.retain(|unsynced| {
            let is_covered = covered.contains(&unsynced.call);
            if is_covered {
                unsynced.write.apply(synced, SECTORS[0], &mut |_| true);
            }
            !is_covered
        });
    }

    fn content(&self, cut: Cut, random: &mut Random) -> Vec<u8> {
        let grows = match cut.growth {
            Fate::Lost => false,
            Fate::Kept => true,
            Fate::Mixed => random.below(2) == 0,
        };
        let mut bytes = self.synced.clone();
        for unsynced in &self.unsynced {
            let length = bytes.len();
            let fate = match cut.writes {
                Fate::Mixed => [Fate::Lost, Fate::Kept, Fate::Mixed][usize::try_from(random.below(3)).expect("three")],
                fate => fate,
            };
            match fate {
                Fate::Lost => unsynced.write.apply(&mut bytes, cut.sector, &mut |_| false),
                Fate::Kept => unsynced.write.apply(&mut bytes, cut.sector, &mut |_| true),
                Fate::Mixed => unsynced.write.apply(&mut bytes, cut.sector, &mut |_| random.below(2) == 0),
            }
            if !grows && bytes.len() > length {
                bytes.truncate(length);
            }
        }
        bytes
    }
}

impl Write {
    /// Writes the sectors that `is_kept` lets through; the file grows in any case, and is cut only when it lets through 0.
    fn apply(&self, bytes: &mut Vec<u8>, sector: usize, is_kept: &mut dyn FnMut(usize) -> bool) {
        match self {
            Self::At(at, new) => {
                if bytes.len() < at + new.len() {
                    bytes.resize(at + new.len(), 0);
                }
                let mut from = *at;
                while from < at + new.len() {
                    let to = (from + 1).next_multiple_of(sector).min(at + new.len());
                    if is_kept(from / sector) {
                        bytes[from..to].copy_from_slice(&new[from - at..to - at]);
                    }
                    from = to;
                }
            }
            Self::SetLength(length) => {
                if *length > bytes.len() || is_kept(0) {
                    bytes.resize(*length, 0);
                }
            }
        }
    }
}
