//! Opening: the lock, the journal, the tree, and everything that happened after the tree was last brought to disk.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::blobs::Blobs;
use super::codec::{self, Parts, Record, Records};
use super::engine::{self, Engine, EngineError};
use super::format;
use super::index::{self, Entry, Indexer};
use super::journal::Journal;
use super::journal::scan::{self, Found, ScanError};
use super::journal::segment::sync_directory;
use super::keys;
use super::live::{Live, View};
use super::load::{self, LoadError};
use super::lock::{DirectoryLock, LockError};
use super::outage;
use super::private;
use super::shared::{Opened, Shared};
use super::snapshots::{self, Kept, Snapshots};
use super::standing::Standings;
use super::values::Values;
use super::writer;
use super::{BLOBS, INDEX, JOURNAL, OpenError, SNAPSHOTS, SledSettings};
use crate::domain::change::Change;
use crate::domain::code;
use crate::domain::id::JobKey;
use crate::domain::job::JobState;
use crate::domain::query::Counts;
use crate::domain::time::Timestamp;
use crate::store::ReadError;
use crate::store::rows::Rows;
use crate::stored::Registry;

/// Lies in a directory from before its index is made until its journal has begun: only then may there be the one without
/// the other.
const NEW: &str = "new";
/// Where an index waits that a power cut may have spoiled, until another one is made in its place.
const DOUBTED: &str = "index.doubted";
/// Where an index is made until it has what a snapshot has.
const MAKING: &str = "index.making";
/// The tree is written whenever a replay has this many entries for it.
const ENTRIES_AT_ONCE: usize = 4096;

/// What opening gives to the store.
pub(super) struct Recovered {
    pub(super) lock: DirectoryLock,
    pub(super) shared: Shared,
    pub(super) journal: Journal,
    pub(super) standings: Standings,
    pub(super) recorded: Vec<JobKey>,
}

/// Opens a directory, or starts one.
pub(super) fn recover(settings: SledSettings, engine: engine::Open) -> Result<Recovered, OpenError> {
    let path = settings.path.clone();
    let is_new = !path.join(JOURNAL).exists();
    private::folder(&path)?;
    let lock = DirectoryLock::take(&path).map_err(|error| match error {
        LockError::InUse(pid) => OpenError::InUse { path: path.clone(), pid },
        LockError::Io(error) => OpenError::Io(error),
    })?;
    format::check(&path, is_new, &settings.families)?;
    private::folder(&path.join(JOURNAL))?;
    let blobs_path = path.join(BLOBS);
    private::folder(&blobs_path)?;
    let blobs = Blobs::open(&blobs_path)?;
    private::folder(&path.join(SNAPSHOTS))?;
    // A folder whose name is lost takes with it what was synced in it, and segments are dropped on the word of a snapshot.
    sync_directory(&path)?;
    let instead = if outage::has_happened(&path)? { made_instead(&settings, engine)? } else { None };
    let Reindexed { tree, live, standings, recorded, found, lsn } = match instead {
        Some(made) => made,
        None => reindex(&settings, engine)?,
    };
    outage::watch(&path)?;
    let journal = Journal::open(&path.join(JOURNAL), settings.segment_bytes, &found, lsn + 1)?;
    unmark_new(&path)?;
    let opened = Opened {
        sequence: number(&*tree, keys::META_SEQUENCE)?,
        host: number(&*tree, keys::META_HOST)?,
        tree,
        open_engine: engine,
        live,
        blobs,
        segments: journal.segments(),
        snapshots: Snapshots::open(&path.join(SNAPSHOTS))?,
        lsn,
        settings,
    };
    Ok(Recovered { lock, shared: Shared::new(opened), journal, standings, recorded })
}

/// An index that is what the journal says, and what memory holds beside it.
pub(super) struct Reindexed {
    pub(super) tree: Arc<dyn Engine>,
    pub(super) live: Live,
    pub(super) standings: Standings,
    pub(super) recorded: Vec<JobKey>,
    /// What the journal holds.
    pub(super) found: Found,
    /// The last group that the index has.
    pub(super) lsn: u64,
}

/// Opens the index and brings it up to the end of the journal. One that does not open, that is not what the journal goes on
/// from, or that breaks on the way is set aside, never deleted, and made again if the journal still holds everything.
pub(super) fn reindex(settings: &SledSettings, engine: engine::Open) -> Result<Reindexed, OpenError> {
    let index = settings.path.join(INDEX);
    let open = |index: &Path| engine(index, settings.cache_bytes).map_err(TreeFault::from);
    let first = first_group(&settings.path)?;
    let mut damaged = None;
    if index.exists() {
        let why = match open(&index).and_then(|tree| {
            check_tree(&*tree, first)?;
            bring_up(settings, tree)
        }) {
            // Nothing of it is damaged, and a new one would fare no better.
            Err(TreeFault::Disk(error)) => return Err(OpenError::Io(error)),
            Err(TreeFault::Journal(error)) => return Err(error),
            Err(TreeFault::Bad(why)) => why,
            Ok(whole) => return Ok(whole),
        };
        let aside = set_aside(&index)?;
        let code = code::STORE_DAMAGED.name;
        tracing::error!(code, why, aside = %aside.display(), "the index is damaged and was set aside");
        damaged = Some((why, aside));
    }
    let mut faults = Vec::new();
    for base in bases(settings, first)? {
        match make_again(settings, engine, base.as_ref()) {
            Ok(whole) => return Ok(whole),
            Err(TreeFault::Disk(error)) => return Err(OpenError::Io(error)),
            Err(TreeFault::Journal(error)) => return Err(error),
            Err(TreeFault::Bad(why)) => {
                tracing::error!(why, "the index could not be made again that way");
                faults.push(why);
            }
        }
    }
    let mut why = "it is missing".to_owned();
    if let Some((known, aside)) = damaged {
        why = known;
        std::fs::rename(&aside, &index)?;
    }
    faults.insert(0, why);
    let why = format!(
        "{}; the journal holds groups from {} on only, and no sound snapshot reaches up to there, so the index cannot be made \
         again: restore the last backup into a new directory with `backroom store restore FILE --data NEW_DIRECTORY`",
        faults.join("; "),
        first.unwrap_or(0),
    );
    Err(OpenError::Damaged { path: index, why })
}

/// Another index in the place of one that a power cut may have spoiled without a trace; none where none can be made, so that
/// there is no better one.
fn made_instead(settings: &SledSettings, engine: engine::Open) -> Result<Option<Reindexed>, OpenError> {
    let (index, doubted) = (settings.path.join(INDEX), settings.path.join(DOUBTED));
    if doubted.exists() && !index.exists() {
        // Another start was cut off on the way.
        std::fs::rename(&doubted, &index)?;
    }
    let bases = bases(settings, first_group(&settings.path)?)?;
    if !index.exists() || bases.is_empty() {
        return Ok(None);
    }
    remove_if_there(&doubted)?;
    std::fs::rename(&index, &doubted)?;
    tracing::info!("the machine went down while the store was open, so that its index is not relied on");
    let mut made = Ok(None);
    for base in bases {
        made = match make_again(settings, engine, base.as_ref()) {
            Ok(whole) => Ok(Some(whole)),
            Err(TreeFault::Disk(error)) => Err(OpenError::Io(error)),
            Err(TreeFault::Journal(error)) => Err(error),
            Err(TreeFault::Bad(why)) => {
                tracing::error!(why, "the index could not be made again that way");
                continue;
            }
        };
        break;
    }
    match made {
        Ok(Some(whole)) => {
            remove_if_there(&doubted)?;
            Ok(Some(whole))
        }
        other => {
            remove_if_there(&index)?;
            std::fs::rename(&doubted, &index)?;
            other
        }
    }
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What an index can be made again of beside the journal: the newest snapshot before the others, and nothing at all where the
/// journal has everything.
fn bases(settings: &SledSettings, first: Option<u64>) -> io::Result<Vec<Option<Kept>>> {
    let mut snapshots = snapshots::list(&settings.path.join(SNAPSHOTS))?;
    let is_new = first.is_none() && snapshots.is_empty();
    snapshots.retain(|kept| first.is_none_or(|first| kept.lsn + 1 >= first));
    let mut bases: Vec<_> = snapshots.into_iter().rev().map(Some).collect();
    if is_new || first == Some(1) {
        bases.push(None);
    }
    Ok(bases)
}

/// Makes an index of a snapshot, or of nothing, and of the journal behind it. It has its name only when it has the snapshot.
fn make_again(settings: &SledSettings, engine: engine::Open, base: Option<&Kept>) -> Result<Reindexed, TreeFault> {
    let index = settings.path.join(INDEX);
    let making = settings.path.join(MAKING);
    for old in [&making, &index] {
        remove_if_there(old).map_err(TreeFault::Disk)?;
    }
    if let Some(base) = base {
        let began = Instant::now();
        tracing::info!(snapshot = %base.path.display(), "the index is made again");
        let tree = engine(&making, settings.cache_bytes)?;
        mark_format(&*tree)?;
        load::load(&*tree, &base.path, &settings.families).map_err(|error| match error {
            LoadError::Snapshot(why) => TreeFault::Bad(format!("{}: {why}", base.path.display())),
            LoadError::Index(error) => error.into(),
        })?;
        tree.checkpoint()?;
        drop(tree);
        std::fs::rename(&making, &index).map_err(TreeFault::Disk)?;
        tracing::info!(took = ?began.elapsed(), "the index has the snapshot; the journal follows");
    }
    let tree = engine(&index, settings.cache_bytes)?;
    if base.is_none() {
        mark_format(&*tree)?;
    }
    sync_new(&settings.path).map_err(TreeFault::Disk)?;
    bring_up(settings, tree)
}

/// The first group that the journal has; none when there is no journal yet.
fn first_group(path: &Path) -> Result<Option<u64>, OpenError> {
    let first = scan::first(&path.join(JOURNAL))?;
    let had_one =
        || Ok::<_, io::Error>(path.join(INDEX).exists() || !snapshots::list(&path.join(SNAPSHOTS))?.is_empty());
    if first.is_none() && !path.join(NEW).exists() && had_one()? {
        let why = format!("it is missing, although there is an index or a snapshot: {}", what_to_do());
        return Err(OpenError::Damaged { path: path.join(JOURNAL), why });
    }
    if first.is_none() {
        mark_new(path)?;
    }
    Ok(first)
}

/// Brings a tree up to the end of the journal.
fn bring_up(settings: &SledSettings, tree: Arc<dyn Engine>) -> Result<Reindexed, TreeFault> {
    private::close(&settings.path.join(INDEX)).map_err(TreeFault::Disk)?;
    let mut replay = Replay::start(&*tree, &settings.families)?;
    let scanned =
        scan::scan(&settings.path.join(JOURNAL), replay.checkpoint, &mut |lsn, payload| replay.frame(lsn, payload));
    if let Some(fault) = replay.fault.take() {
        return Err(fault.into());
    }
    let found = scanned.map_err(|error| TreeFault::Journal(replay.tell(error)))?;
    replay.finish(&found)?;
    found.gaps.iter().for_each(|gap| tracing::warn!("the journal is damaged without harm: {gap}"));
    if let Some(group) = found.torn {
        let why = "it was being written when the host ended, and nobody was told that it was; or the disk has lost a part of it";
        tracing::warn!(group, "the last group of the journal is not whole and was dropped: {why}");
    }
    let Replay { live, standings, recorded, lsn, .. } = replay;
    Ok(Reindexed { tree, live, standings, recorded, found, lsn })
}

/// Once after a directory is made: its names are on disk before anything is acknowledged.
fn sync_new(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path.join(INDEX))? {
        File::open(entry?.path())?.sync_all()?;
    }
    sync_directory(&path.join(INDEX))?;
    sync_directory(&path.join(JOURNAL))?;
    sync_directory(path)?;
    match path.canonicalize()?.parent() {
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

pub(super) fn mark_new(path: &Path) -> io::Result<()> {
    private::file().truncate(true).open(path.join(NEW))?.sync_all()?;
    sync_directory(path)
}

fn unmark_new(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path.join(NEW)) {
        Ok(()) => sync_directory(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Marks a new tree with its format, on disk when it returns.
fn mark_format(tree: &dyn Engine) -> Result<(), TreeFault> {
    let format = codec::encode(&1_u64);
    tree.apply(&mut std::iter::once((keys::META_FORMAT, Some(format.as_slice()))))?;
    Ok(tree.checkpoint()?)
}

fn set_aside(index: &Path) -> io::Result<PathBuf> {
    let free = |number: &u32| !index.with_file_name(format!("{INDEX}.damaged-{number}")).exists();
    let number = (1..).find(free).unwrap_or(u32::MAX);
    let aside = index.with_file_name(format!("{INDEX}.damaged-{number}"));
    std::fs::rename(index, &aside)?;
    Ok(aside)
}

/// Why a tree cannot be used.
#[derive(Debug)]
enum TreeFault {
    /// The disk refuses: it is full, or does not let us write, or somebody has the tree open. What lies on it may be sound.
    Disk(io::Error),
    /// It is not what was written.
    Bad(String),
    /// The fault is the journal's.
    Journal(OpenError),
}

impl From<EngineError> for TreeFault {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Io(inner) if EngineError::is_of_the_disk(&inner) => Self::Disk(inner),
            EngineError::Io(inner) => Self::Bad(format!("IO error: {inner}")),
            error => Self::Bad(error.to_string()),
        }
    }
}

impl From<ReadError> for TreeFault {
    fn from(error: ReadError) -> Self {
        EngineError::of_text(error.to_string()).into()
    }
}

/// Whether a tree is one that the journal, whose first group is `first`, goes on from.
fn check_tree(tree: &dyn Engine, first: Option<u64>) -> Result<(), TreeFault> {
    let checkpoint = number(tree, keys::META_CHECKPOINT)?;
    let lsn = number(tree, keys::META_LSN)?;
    let is_marked = tree.get(keys::META_FORMAT)?.is_some();
    if !is_marked && lsn == 0 {
        return Err(TreeFault::Bad("it opened empty".to_owned()));
    }
    match first {
        Some(first) if checkpoint + 1 < first => {
            let why = format!("its last checkpoint is group {checkpoint}, but the journal starts with group {first}");
            Err(TreeFault::Bad(why))
        }
        None if lsn > 0 => Err(TreeFault::Bad("the journal is missing".to_owned())),
        _ => Ok(()),
    }
}

/// A number of the store.
pub(super) fn number(tree: &dyn Engine, key: &[u8]) -> Result<u64, ReadError> {
    Values::stored(tree).number(key)
}

/// A replay under way.
struct Replay<'a> {
    tree: &'a dyn Engine,
    live: Live,
    standings: Standings,
    recorded: Vec<JobKey>,
    checkpoint: u64,
    /// The last group that the tree has.
    lsn: u64,
    replayed: u64,
    /// Why the tree did not take a group.
    fault: Option<ReadError>,
    /// When the last job was submitted that was replayed.
    submitted_on: Option<Timestamp>,
}

impl<'a> Replay<'a> {
    fn start(tree: &'a dyn Engine, families: &Arc<Registry>) -> Result<Self, ReadError> {
        let mut live = load(tree, families)?;
        live.running = read_all(tree, &[keys::RUNNING], |key, value| {
            Ok((keys::job_of(key).ok_or_else(bad_key)?, codec::decode::<JobState>(&value)?))
        })?
        .into_iter()
        .collect();
        Ok(Self {
            tree,
            recorded: live.running.keys().copied().collect(),
            live,
            standings: Standings::new(u64::MAX),
            checkpoint: number(tree, keys::META_CHECKPOINT)?,
            lsn: number(tree, keys::META_LSN)?,
            replayed: 0,
            fault: None,
            submitted_on: None,
        })
    }

    fn frame(&mut self, lsn: u64, payload: &[u8]) -> Result<(), String> {
        if lsn <= self.checkpoint {
            return Ok(());
        }
        let Records { payload, all } =
            codec::read_records(payload, self.live.rows.registry()).map_err(|error| error.to_string())?;
        let taken = match lsn <= self.lsn {
            true => self.recall(&all, &payload),
            false => self.index(lsn, &all, &payload),
        };
        taken.map_err(|error| {
            let why = error.to_string();
            self.fault = Some(error);
            why
        })
    }

    fn recall(&mut self, records: &[(Record, Parts)], payload: &[u8]) -> Result<(), ReadError> {
        for (record, parts) in records {
            if let Record::Change(change) = record {
                index::recall(&mut self.live, self.tree, change, parts, payload)?;
            }
        }
        Ok(())
    }

    fn index(&mut self, lsn: u64, records: &[(Record, Parts)], payload: &[u8]) -> Result<(), ReadError> {
        let mut entries = Vec::with_capacity(records.len());
        let mut sequence = 0;
        for (record, parts) in records {
            let Record::Change(change) = record else { continue };
            let view = View::new(&self.live, self.tree);
            let before = match change {
                Change::Advance { job, .. } | Change::Delete { job, .. } => self.standings.get(view, *job)?.cloned(),
                _ => None,
            };
            if let Change::Submit(submission, _) = change {
                sequence = sequence.max(submission.key().sequence.0);
                self.submitted_on = self.submitted_on.max(Some(submission.created_on));
            }
            writer::note(&mut self.standings, change, before.as_ref(), parts);
            entries.push(Entry { change, before, parts: parts.clone() });
        }
        let mut indexer = Indexer::new(self.tree, &mut self.live);
        indexer.add(&entries, payload)?;
        for (record, _) in records {
            match record {
                Record::Sequence(up_to) => sequence = sequence.max(*up_to),
                Record::Host(number) => indexer.raise(keys::META_HOST, *number)?,
                Record::Change(_) => {}
            }
        }
        indexer.raise(keys::META_SEQUENCE, sequence)?;
        self.standings.age();
        self.replayed = lsn;
        if indexer.entries_ahead() >= ENTRIES_AT_ONCE {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), ReadError> {
        let entries = Indexer::new(self.tree, &mut self.live).write(self.replayed)?;
        self.tree.tidy(entries);
        Ok(())
    }

    /// A fault of the journal, with since when and what to do.
    fn tell(&self, error: ScanError) -> OpenError {
        if !matches!(error, ScanError::Damaged { .. }) {
            return error.into();
        }
        let since = self.submitted_on.map_or_else(String::new, |on| format!(", since about {on}"));
        let why = format!("{error}{since}; {}", what_to_do());
        OpenError::Damaged { path: PathBuf::from(JOURNAL), why }
    }

    fn finish(&mut self, found: &Found) -> Result<(), TreeFault> {
        if self.replayed > self.lsn {
            self.write()?;
            self.lsn = self.replayed;
        }
        let journal_ends_before = !found.segments.is_empty() && found.lsn < self.lsn;
        if journal_ends_before {
            return Err(TreeFault::Journal(OpenError::Damaged {
                path: PathBuf::from(JOURNAL),
                why: format!(
                    "it ends with group {}, but the index has group {}: groups behind that may be lost; {}",
                    found.lsn,
                    self.lsn,
                    what_to_do()
                ),
            }));
        }
        self.standings = Standings::new(number(self.tree, keys::META_SEQUENCE)?);
        Ok(())
    }
}

/// What memory holds of a tree as it is.
fn load(tree: &dyn Engine, families: &Arc<Registry>) -> Result<Live, ReadError> {
    let mut live = Live { rows: Rows::new(Arc::clone(families)), ..Live::default() };
    let named = |key: &[u8]| keys::named_of(key).ok_or_else(bad_key);
    live.counts = read_all(tree, &[keys::COUNTS], |key, value| Ok((named(key)?, codec::decode::<Counts>(&value)?)))?
        .into_iter()
        .collect();
    for family in families.families().filter(|family| family.is_resident) {
        let rows = read_all(tree, &keys::rows_of(family), |_, value| Ok(families.decode(&value)?))?;
        rows.iter().for_each(|row| live.rows.put(row));
    }
    Ok(live)
}

fn read_all<T>(
    tree: &dyn Engine,
    prefix: &[u8],
    read: impl Fn(&[u8], Vec<u8>) -> Result<T, ReadError>,
) -> Result<Vec<T>, ReadError> {
    let values = Values::stored(tree);
    let entries = values.starting(prefix);
    entries
        .map(|entry| {
            let (key, value) = entry?;
            let value = values.whole(&key, value)?;
            read(&key, value)
        })
        .collect()
}

/// How a person gets on whose journal is damaged.
fn what_to_do() -> &'static str {
    "put its files back, or restore the last backup into a new directory with `backroom store restore FILE --data NEW_DIRECTORY`"
}

fn bad_key() -> ReadError {
    ReadError::Damaged("a key of the index".to_owned())
}

impl From<ScanError> for OpenError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Io(error) => Self::Io(error),
            other => Self::Damaged { path: PathBuf::from(JOURNAL), why: format!("{other}; {}", what_to_do()) },
        }
    }
}

impl From<TreeFault> for OpenError {
    fn from(fault: TreeFault) -> Self {
        match fault {
            TreeFault::Disk(error) => Self::Io(error),
            TreeFault::Bad(why) => Self::Damaged { path: PathBuf::from(INDEX), why },
            TreeFault::Journal(error) => error,
        }
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        TreeFault::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_no_damage() {
        let full = || io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
        let TreeFault::Disk(error) = TreeFault::from(EngineError::Io(full())) else { panic!("it is taken for damage") };
        assert_eq!(OpenError::Io(error).code(), code::DISK_FULL);
        assert_eq!(OpenError::from(ReadError::from(EngineError::Io(full()))).code(), code::DISK_FULL);
        let cut = EngineError::Io(io::ErrorKind::UnexpectedEof.into());
        assert!(matches!(TreeFault::from(cut), TreeFault::Bad(_)));
    }
}
