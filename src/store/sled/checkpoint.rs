//! Checkpoints: the tree brought to disk, so that old segments of the journal may go.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::engine;
use super::journal;
use super::keys;
use super::shared::{Shared, Watch};
use crate::domain::id::Digest;
use crate::store::ReadError;

/// How often blobs that nothing names are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_hours(1);

/// The thread that brings the tree to disk.
pub(super) struct Checkpointer {
    wish: Option<Sender<u64>>,
    is_busy: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread.
    pub(super) fn new(shared: &Arc<Shared>) -> io::Result<Self> {
        let (wish, wishes) = mpsc::channel::<u64>();
        let is_busy = Arc::new(AtomicBool::new(false));
        let mut keeper = Keeper { shared: Arc::clone(shared), swept: Instant::now(), unnamed: Unnamed::default() };
        let busy = Arc::clone(&is_busy);
        let watch = Watch(Arc::clone(shared));
        let work = move || {
            let _watch = watch;
            for lsn in wishes {
                match keeper.checkpoint(lsn) {
                    Ok(()) => {}
                    Err(Undone::Short(why)) => *keeper.shared.index_wants.lock() = Some(why),
                    Err(Undone::Broken(why)) => keeper.shared.fail(&why),
                }
                busy.store(false, Ordering::Release);
            }
        };
        let thread = std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(work)?;
        Ok(Self { wish: Some(wish), is_busy, thread: Some(thread) })
    }

    /// Whether no checkpoint is under way.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy.load(Ordering::Acquire)
    }

    /// Brings what the tree holds up to the group `lsn` to disk.
    pub(super) fn start(&self, lsn: u64) {
        self.is_busy.store(true, Ordering::Release);
        if let Some(wish) = &self.wish {
            // The thread ends with this end of the channel, not before.
            let _sent = wish.send(lsn);
        }
    }

    /// The last checkpoint; returns when it is done.
    pub(super) fn finish(&mut self, lsn: u64) {
        self.start(lsn);
        self.join();
    }

    fn join(&mut self) {
        self.wish = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported as such; the journal has everything.
            let _ended = engine::join(thread);
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.join();
    }
}

/// Why a checkpoint was not made.
enum Undone {
    /// The tree could not be written for want of something that comes back: it has to be opened again.
    Short(String),
    /// Nobody knows what the disk holds.
    Broken(String),
}

struct Keeper {
    shared: Arc<Shared>,
    swept: Instant,
    unnamed: Unnamed,
}

impl Keeper {
    fn checkpoint(&mut self, lsn: u64) -> Result<(), Undone> {
        let Some(tree) = self.shared.open_tree() else { return Ok(()) };
        // Where nobody knows what got to disk, the tree cannot write it again, and no segment may go any more.
        tree.checkpoint().map_err(|error| match (error.to_string(), ReadError::from(error)) {
            (_, error) if error.is_passing() => Undone::Short(error.to_string()),
            (why, _) => Undone::Broken(why),
        })?;
        drop(tree);
        let settings = &self.shared.settings;
        let directory = settings.path.join(super::JOURNAL);
        let segments = &self.shared.segments;
        let needless = self.needless(lsn);
        let dropped = journal::drop_before(
            &directory,
            segments,
            settings.segment_bytes,
            needless + 1,
            settings.keep_journal_bytes,
        );
        if let Err(error) = dropped {
            tracing::warn!(%error, "old journal segments could not be dropped");
        }
        if self.wants_snapshot() {
            self.shared.snapshots.wish();
        }
        if self.swept.elapsed() >= SWEEP_INTERVAL {
            self.swept = Instant::now();
            sweep(&self.shared, &mut self.unnamed, SystemTime::now());
        }
        Ok(())
    }
}

impl Keeper {
    /// Up to which group nobody needs the journal when the index has all up to `lsn`: the oldest snapshot has it, too. Without
    /// one all of it is kept, except where the disk runs short: work that was taken goes before a way back.
    fn needless(&self, lsn: u64) -> u64 {
        match (self.shared.snapshots.oldest(), self.shared.shortage()) {
            (_, Some(_)) => lsn,
            (oldest, None) => oldest.unwrap_or(0).min(lsn),
        }
    }

    /// Whether the journal since the last snapshot has outgrown it, or what only snapshots still name.
    fn wants_snapshot(&self) -> bool {
        let newest = self.shared.snapshots.newest();
        let (lsn, bytes) = newest.map_or((0, 0), |newest| (newest.lsn, newest.bytes));
        let wanted = self.shared.settings.snapshot_bytes;
        self.shared.segments.bytes_behind(lsn) >= bytes.max(wanted) || self.unnamed.bytes() >= wanted.saturating_mul(4)
    }
}

/// Blobs that nothing names any more, and that a snapshot may still name.
#[derive(Debug, Default)]
pub(super) struct Unnamed(HashMap<Digest, FoundUnnamed>);

#[derive(Clone, Copy, Debug)]
struct FoundUnnamed {
    /// Up to which group it was seen that nothing names it.
    lsn: u64,
    /// When it was written: one that is written again is another.
    written: SystemTime,
    bytes: u64,
}

impl Unnamed {
    /// So many are remembered; the others come when these have gone.
    const MOST: usize = 1 << 18;

    fn bytes(&self) -> u64 {
        self.0.values().map(|found| found.bytes).sum()
    }

    /// Whether a blob that nothing names at the group `lsn` may go, since no snapshot that is kept is older than that.
    fn may_go(&mut self, digest: Digest, (written, bytes): (SystemTime, u64), lsn: u64, oldest: Option<u64>) -> bool {
        let Some(oldest) = oldest else { return true };
        let known = self.0.get(&digest).copied().filter(|known| known.written == written);
        match known {
            Some(known) if known.lsn <= oldest => self.0.remove(&digest).is_some(),
            Some(_) => false,
            None if self.0.len() >= Self::MOST => false,
            None => {
                self.0.insert(digest, FoundUnnamed { lsn, written, bytes });
                false
            }
        }
    }
}

/// Removes the blobs that nothing names at `now`; returns how many. A failure costs only room.
pub(super) fn sweep(shared: &Shared, unnamed: &mut Unnamed, now: SystemTime) -> usize {
    // A damaged index may name blobs that the present one does not know of; a person decides when it may go.
    match super::verify::set_aside(&shared.settings.path) {
        Ok(aside) if aside.is_empty() => {}
        _ => return 0,
    }
    let mut may_go = |digest, written, bytes| {
        if is_named(shared, digest)? {
            return Ok(false);
        }
        // Read after the look: up to here nothing has named it again without writing it again.
        let lsn = shared.lsn.load(Ordering::Acquire);
        Ok(unnamed.may_go(digest, (written, bytes), lsn, shared.snapshots.oldest()))
    };
    shared.blobs.sweep(now, &mut may_go).unwrap_or_else(|error| {
        tracing::warn!(%error, "blobs that nothing names could not be removed");
        0
    })
}

/// Whether a row or a job names a blob.
pub(super) fn is_named(shared: &Shared, digest: Digest) -> io::Result<bool> {
    let live = shared.live.read();
    // What it names is not known by a look at the present.
    if live.frozen.is_any() {
        return Ok(true);
    }
    let tree = shared.tree().map_err(|error| io::Error::other(error.to_string()))?;
    let values = super::values::Values::after(&*tree, &live.ahead);
    let mut names = values.starting(&keys::blob(digest)).chain(values.starting(&keys::row_blob(digest)));
    match names.next() {
        None => Ok(false),
        Some(Ok(_)) => Ok(true),
        Some(Err(error)) => Err(io::Error::other(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::Change;
    use crate::domain::plugin::Plugin;
    use crate::store::Store;
    use crate::store::sled::{SledSettings, SledStore};

    #[test]
    fn a_blob_goes_when_no_snapshot_can_name_it() {
        let (digest, first, again) = (Digest([7; 32]), SystemTime::UNIX_EPOCH, SystemTime::now());
        let mut unnamed = Unnamed::default();
        assert!(unnamed.may_go(digest, (first, 10), 5, None), "no snapshot is there");
        assert!(!unnamed.may_go(digest, (first, 10), 5, Some(3)));
        assert_eq!(unnamed.bytes(), 10);
        assert!(!unnamed.may_go(digest, (first, 10), 9, Some(4)), "the snapshot may name it");
        assert!(
            !unnamed.may_go(digest, (again, 10), 9, Some(5)),
            "it was written again, and may have been named since"
        );
        assert!(!unnamed.may_go(digest, (again, 10), 12, Some(8)));
        assert!(unnamed.may_go(digest, (again, 10), 12, Some(9)));
        assert_eq!(unnamed.bytes(), 0);
    }

    #[test]
    fn no_blob_goes_while_a_frozen_view_may_name_it() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let settings = SledSettings { segment_bytes: 64 << 10, ..SledSettings::new(directory.path()) };
        let store = SledStore::open(settings).expect("the store opens");
        store.put_blob(vec![7; 5_000].into()).expect("there is room");
        let later = SystemTime::now() + Duration::from_hours(2);
        let frozen = store.freeze().expect("there is room");
        assert_eq!(sweep(&store.shared, &mut Unnamed::default(), later), 0);
        drop(frozen);
        assert_eq!(sweep(&store.shared, &mut Unnamed::default(), later), 1);
    }

    #[test]
    fn no_blob_goes_while_a_row_names_it() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let settings = SledSettings { segment_bytes: 64 << 10, ..SledSettings::new(directory.path()) };
        let store = SledStore::open(settings).expect("the store opens");
        let digest = store.put_blob(vec![7; 5_000].into()).expect("there is room");
        let mut plugin = Plugin { revision: 1, ..crate::stored::samples::plugin() };
        plugin.versions[0].inspection.digest = digest;
        store.commit(vec![Change::put(plugin.clone())]).wait().expect("it is the first");
        let later = SystemTime::now() + Duration::from_hours(2);
        assert_eq!(sweep(&store.shared, &mut Unnamed::default(), later), 0);
        store.commit(vec![Change::remove(&plugin)]).wait().expect("it is there");
        assert_eq!(sweep(&store.shared, &mut Unnamed::default(), later), 1);
    }

    #[test]
    fn no_blob_goes_while_a_damaged_index_may_name_it() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let settings = SledSettings { segment_bytes: 64 << 10, ..SledSettings::new(directory.path()) };
        let store = SledStore::open(settings).expect("the store opens");
        let digest = store.put_blob(vec![7; 5_000].into()).expect("there is room");
        let aside = directory.path().join("index.damaged-1");
        std::fs::create_dir(&aside).expect("it can be made");
        let later = SystemTime::now() + Duration::from_hours(2);
        assert_eq!(sweep(&store.shared, &mut Unnamed::default(), later), 0);
        assert!(store.blob(digest).expect("it can be read").is_some());
        std::fs::remove_dir(&aside).expect("it can be removed");
        assert_eq!(sweep(&store.shared, &mut Unnamed::default(), later), 1);
    }
}
