//! Compiled components: files that only we write, and a bounded number of them loaded.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use wasmtime::component::{Component, Linker};

use super::SetupError;
use super::engine::{Engines, settings_hash};
use super::guest::Guest;
use super::linker::{self, Entry};
use crate::domain::id::Digest;
use crate::domain::plugin::Shape;
use crate::domain::uploads::Needs;
use crate::resources::Resource;

const WORKSHOP_PREFIX: &str = "compiling-";

/// How old a workshop must be to have been left behind by a host that died: much older than a compilation may become.
const ABANDONED: Duration = Duration::from_secs(600);

/// The compiled code of every version, on disk and in memory.
pub(crate) struct Cache {
    folder: PathBuf,
    settings: u64,
    pool: Option<(wasmtime::Engine, Linker<Guest>)>,
    on_demand: (wasmtime::Engine, Linker<Guest>),
    room: Room,
    loaded: RwLock<Loaded>,
    uses: AtomicU64,
}

/// How much is kept loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) versions: usize,
    pub(crate) bytes: u64,
}

/// A component that is ready to run, and what it needs.
pub(crate) struct Ready {
    pub(crate) entry: Entry,
    pub(crate) needs: Needs,
}

struct Slot {
    ready: Arc<Ready>,
    last_use: AtomicU64,
}

/// What is loaded, with its weight.
#[derive(Default)]
struct Loaded {
    slots: HashMap<Digest, Slot>,
    bytes: u64,
}

impl Loaded {
    /// Lets go of what was not used for longest, until there is room for `bytes` more. What is larger than all the room is
    /// loaded alone.
    fn make_room(&mut self, bytes: u64, room: Room) {
        while self.slots.len() >= room.versions.max(1) || self.bytes.saturating_add(bytes) > room.bytes {
            let oldest = self.slots.iter().min_by_key(|(_, slot)| slot.last_use.load(Ordering::Relaxed));
            let Some(oldest) = oldest.map(|(digest, _)| *digest) else { break };
            self.remove(&oldest);
        }
    }

    fn insert(&mut self, digest: Digest, slot: Slot) {
        self.remove(&digest);
        self.bytes = self.bytes.saturating_add(slot.ready.needs.loaded_bytes);
        self.slots.insert(digest, slot);
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some(slot) = self.slots.remove(digest) {
            self.bytes = self.bytes.saturating_sub(slot.ready.needs.loaded_bytes);
        }
    }
}

/// Why a compiled component is not loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("it has not been compiled by this host")]
    Missing,
    #[error("the compiled file cannot be loaded just now: {1}")]
    Short(Resource, String),
    #[error("the compiled file is not usable: {0}")]
    Unusable(String),
}

impl LoadError {
    fn of(why: String) -> Self {
        match Resource::named_in(&why) {
            Some(resource) => Self::Short(resource, why),
            None => Self::Unusable(why),
        }
    }
}

impl Cache {
    /// Opens `folder`, which must belong to this user alone: its files are run as native code.
    pub(crate) fn open(folder: PathBuf, engines: &Engines, room: Room) -> Result<Self, SetupError> {
        make_private(&folder)?;
        let settings = settings_hash(&engines.on_demand);
        remove_stale(&folder, settings);
        let with_linker = |engine: &wasmtime::Engine| {
            linker::linker(engine).map(|linker| (engine.clone(), linker)).map_err(SetupError::engine)
        };
        Ok(Self {
            folder,
            settings,
            pool: engines.pool.as_ref().map(with_linker).transpose()?,
            on_demand: with_linker(&engines.on_demand)?,
            room,
            loaded: RwLock::default(),
            uses: AtomicU64::new(0),
        })
    }

    /// What artefacts must have been compiled for.
    pub(crate) fn settings(&self) -> u64 {
        self.settings
    }

    /// Makes an empty folder for one compilation; whoever holds it removes it by dropping it.
    pub(crate) fn workshop(&self) -> io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix(WORKSHOP_PREFIX).tempdir_in(&self.folder)
    }

    /// Keeps an artefact that was written and synced in a workshop, with what it needs. An artefact is looked for first, so
    /// its note has to be there by then.
    pub(crate) fn keep(&self, digest: &Digest, needs: &Needs, artefact: &Path) -> io::Result<()> {
        let noted = artefact.with_extension(NEEDS);
        let mut note = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&noted)?;
        note.write_all(&serde_json::to_vec(needs)?)?;
        note.sync_all()?;
        fs::rename(noted, self.path(digest).with_extension(NEEDS))?;
        fs::rename(artefact, self.path(digest))?;
        fs::File::open(&self.folder)?.sync_all()
    }

    /// Removes the artefacts of components that no version names.
    pub(crate) fn keep_only(&self, named: &BTreeSet<Digest>) {
        remove_unnamed(&self.folder, self.settings, named);
    }

    /// Whether a version is loaded.
    pub(crate) fn is_loaded(&self, digest: &Digest) -> bool {
        self.loaded.read().slots.contains_key(digest)
    }

    /// Forgets an artefact that cannot be used, so that it is made anew.
    pub(crate) fn forget(&self, digest: &Digest) {
        self.loaded.write().remove(digest);
        let _ = fs::remove_file(self.path(digest));
    }

    /// A version's entry, loaded from disk when it is not in memory.
    pub(crate) fn get(&self, digest: &Digest, shape: Shape) -> Result<Arc<Ready>, LoadError> {
        if let Some(slot) = self.loaded.read().slots.get(digest) {
            slot.last_use.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            return Ok(Arc::clone(&slot.ready));
        }
        let ready = Arc::new(self.load(digest, shape)?);
        let last_use = AtomicU64::new(self.uses.fetch_add(1, Ordering::Relaxed));
        let mut loaded = self.loaded.write();
        loaded.make_room(ready.needs.loaded_bytes, self.room);
        loaded.insert(*digest, Slot { ready: Arc::clone(&ready), last_use });
        Ok(ready)
    }

    fn load(&self, digest: &Digest, shape: Shape) -> Result<Ready, LoadError> {
        let path = self.path(digest);
        if !path.exists() {
            return Err(LoadError::Missing);
        }
        let needs = self.needs(digest)?;
        let unusable = |error: wasmtime::Error| LoadError::of(format!("{error:#}"));
        if let Some((engine, linker)) = &self.pool {
            let pooled = load_file(engine, &path).and_then(|component| linker::entry(linker, &component, shape));
            match pooled {
                Ok(entry) => return Ok(Ready { entry, needs }),
                Err(error) => tracing::debug!(%digest, "does not fit the pool, so it runs on demand: {error:#}"),
            }
        }
        let (engine, linker) = &self.on_demand;
        let component = load_file(engine, &path).map_err(unusable)?;
        let entry = linker::entry(linker, &component, shape).map_err(unusable)?;
        Ok(Ready { entry, needs })
    }

    /// What is noted beside an artefact, without which it is of no use.
    fn needs(&self, digest: &Digest) -> Result<Needs, LoadError> {
        let unusable = |why: &dyn std::error::Error| LoadError::of(format!("the note of what it needs: {why}"));
        let noted = fs::read(self.path(digest).with_extension(NEEDS)).map_err(|error| unusable(&error))?;
        serde_json::from_slice(&noted).map_err(|error| unusable(&error))
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(artefact_name(digest, self.settings))
    }
}

/// The endings of an artefact and of the note beside it that says what it needs.
const ARTEFACT: &str = "cwasm";
const NEEDS: &str = "needs";

/// The size of an artefact that is there already, with its note.
pub(crate) fn bytes_of_kept(folder: &Path, digest: &Digest, settings: u64) -> Option<u64> {
    let artefact = folder.join(artefact_name(digest, settings));
    artefact.with_extension(NEEDS).metadata().ok()?;
    artefact.metadata().ok().map(|there| there.len())
}

/// The file of an artefact, which depends on all that compiled code depends on.
fn artefact_name(digest: &Digest, settings: u64) -> String {
    format!("{digest}{}.{ARTEFACT}", mark(settings))
}

fn mark(settings: u64) -> String {
    format!("-{settings:016x}")
}

/// Removes what no host of these settings will read again. What cannot be removed only takes room.
fn remove_stale(folder: &Path, settings: u64) {
    let current = mark(settings);
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let age = file.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
        if name.starts_with(WORKSHOP_PREFIX) && age.is_some_and(|age| age > ABANDONED) {
            let _ = fs::remove_dir_all(file.path());
        } else if stem(&name).is_some_and(|stem| !stem.ends_with(&current)) {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// What an artefact and its note have in common; none for any other file.
fn stem(name: &str) -> Option<&str> {
    let (stem, ending) = name.rsplit_once('.')?;
    [ARTEFACT, NEEDS].contains(&ending).then_some(stem)
}

/// Removes the artefacts of these settings that belong to none of `named`. What cannot be removed only takes room.
fn remove_unnamed(folder: &Path, settings: u64, named: &BTreeSet<Digest>) {
    let current = mark(settings);
    let kept: BTreeSet<String> = named.iter().map(|digest| format!("{digest}{current}")).collect();
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.map(|file| file.file_name().to_string_lossy().into_owned());
    let is_unnamed = |name: &String| stem(name).is_some_and(|stem| stem.ends_with(&current) && !kept.contains(stem));
    let (artefacts, notes): (Vec<_>, Vec<_>) = names.filter(is_unnamed).partition(|name| name.ends_with(ARTEFACT));
    // An artefact goes before its note: a note alone is nothing.
    for name in artefacts.iter().chain(&notes) {
        let _ = fs::remove_file(folder.join(name));
    }
}

#[allow(unsafe_code, reason = "loading compiled code cannot be made safe: it is native code")]
fn load_file(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file must be what wasmtime itself serialised, and must not change while it is mapped. It lies in a folder
    // that `make_private` found to belong to this user with no access for others, only `Cache::keep` gives files there
    // their names, after the compiler's child has written and synced them, and no file is ever written to under its name.
    unsafe { Component::deserialize_file(engine, path) }
}

/// Makes the folder when it is not there, and refuses one that others could write to.
fn make_private(folder: &Path) -> Result<(), SetupError> {
    let io = |error: io::Error| SetupError::Folder { folder: folder.to_owned(), why: error.to_string() };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let metadata = fs::symlink_metadata(folder).map_err(io)?;
    let wrong = |why: &str| Err(SetupError::Folder { folder: folder.to_owned(), why: why.to_owned() });
    if !metadata.is_dir() {
        return wrong("it is not a folder");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return wrong("it belongs to another user, and its files are run as native code");
    }
    if metadata.mode() & 0o077 != 0 {
        return wrong("other users may enter it, and its files are run as native code; run `chmod 700` on it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artefacts_that_no_version_names_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let (named, forgotten) = (Digest([1; 32]), Digest([2; 32]));
        let path = |name: String| folder.path().join(name);
        let files = [
            path(artefact_name(&named, 7)),
            path(artefact_name(&named, 7).replace(ARTEFACT, NEEDS)),
            path(artefact_name(&forgotten, 7)),
            path(artefact_name(&forgotten, 7).replace(ARTEFACT, NEEDS)),
            path("something else".to_owned()),
        ];
        files.iter().for_each(|file| fs::write(file, b"code").expect("it can be written"));
        remove_unnamed(folder.path(), 7, &BTreeSet::from([named]));
        assert_eq!(files.map(|file| file.exists()), [true, true, false, false, true]);
    }
}
