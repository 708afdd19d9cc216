//! The one thread that writes: takes what waits as a group, checks, appends, syncs, indexes, tells, answers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::checkpoint::Checkpointer;
use super::codec;
use super::engine::{Engine, EngineError};
use super::group::{Group, Known};
use super::index::{Entry, Indexer};
use super::journal::{AppendError, Journal, frame};
use super::keys;
use super::live::{Live, Place, View};
use super::outage;
use super::shared::{Answer, Request, Shared, Work};
use super::standing::{Standing, Standings};
use super::{Durability, OpenError, codec::Parts, recover};
use crate::domain::change::Change;
use crate::domain::id::{HostId, JobKey, Sequence};
use crate::resources::{BackOff, Quiet, Resource};
use crate::store::frozen::Moment;
use crate::store::guard::{self, Verdict, is_claim};
use crate::store::warrant::Warrant;
use crate::store::{CommitError, News, ReadError};

/// A group takes no further commit beyond this many bytes.
const GROUP_BYTES: usize = 4 << 20;
/// The tree is written when this many entries wait for it. Each batch costs the tree two writes to its log and a wake-up of
/// all its threads, more than a hundred entries do; too many at once would hold up the next group for milliseconds.
const ENTRIES_AHEAD: usize = 512;
/// A checkpoint is made at the latest so long after the last, when anything was written since: what an idle host has deleted
/// goes, too.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);
/// The least time between two looks whether something has come back.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(50);
/// Bytes and inodes that must be free before the index is opened again.
const INDEX_ROOM: u64 = 4 << 20;
const INDEX_INODES: u64 = 8;
/// What the log has been told.
static NOT_WRITTEN: Quiet = Quiet::new();
static STILL_SHORT: Quiet = Quiet::new();
/// How often the room on the disk is looked at.
const ROOM_INTERVAL: Duration = Duration::from_millis(250);

/// The writer's own state.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Journal,
    pub(super) standings: Standings,
    pub(super) checkpointer: Checkpointer,
    /// The jobs that the last checkpoint found running.
    pub(super) recorded: Vec<JobKey>,
    pub(super) since_checkpoint: u64,
    pub(super) checkpointed_at: Instant,
    pub(super) frame: Vec<u8>,
    pub(super) room_seen: Option<Instant>,
    pub(super) owed: Owed,
    pub(super) ailing: Option<Ailing>,
}

/// Numbers that were given out and whose writing down was not taken: they go with whatever is taken next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owed {
    sequence: u64,
    host: u64,
}

/// An index that could not be written for want of something: nothing is taken until it has been opened again and brought up to
/// the journal, which has everything.
pub(super) struct Ailing {
    /// When to try.
    next: Instant,
    back_off: BackOff,
}

/// Why a group could not be written.
enum GroupError {
    /// Something was wanted that comes back, and nothing of the group is kept.
    Passing(CommitError),
    Broken(String),
}

impl From<AppendError> for GroupError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Short(error) => Self::Passing(CommitError::of(&error, "the journal cannot be written")),
            AppendError::Broken(error) => Self::Broken(error.to_string()),
        }
    }
}

impl From<ReadError> for GroupError {
    fn from(error: ReadError) -> Self {
        match error.is_passing() {
            true => Self::Passing(error.into()),
            false => Self::Broken(error.to_string()),
        }
    }
}

impl Writer {
    /// Writes groups until the store is closed.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while let Some(requests) = shared.take_requests(self.patience()) {
            self.write(requests);
        }
        if shared.failure().is_none() {
            self.end();
        }
    }

    /// How long the writer sleeps at most. Who waits for something to come back looks by itself whether it has.
    fn patience(&self) -> Duration {
        match &self.ailing {
            Some(ailing) => ailing.next.saturating_duration_since(Instant::now()).max(LOOK_AGAIN_MIN),
            None => CHECKPOINT_INTERVAL,
        }
    }

    fn end(&mut self) {
        let lsn = self.journal.lsn();
        let ended = self.journal.end().map_err(GroupError::from).and_then(|()| {
            // What the index lacks is in the journal.
            let Ok(tree) = self.shared.tree() else { return Ok(false) };
            if self.ailing.is_some() {
                return Ok(false);
            }
            let mut live = self.shared.live.write();
            let mut indexer = Indexer::new(&*tree, &mut live);
            indexer.checkpoint(lsn, &mut self.recorded);
            indexer.write(lsn)?;
            Ok(true)
        });
        self.note_syncs();
        match ended {
            Ok(true) => {
                self.checkpointer.finish(lsn);
                let is_on_disk = self.shared.failure().is_none() && self.shared.index_wants.lock().is_none();
                if is_on_disk && let Err(error) = outage::unwatch(&self.shared.settings.path) {
                    tracing::warn!(%error, "after a power cut the next start makes the index again, without need");
                }
            }
            Ok(false) => {}
            Err(GroupError::Passing(why)) => {
                tracing::warn!(%why, "the index was not written; the next start does that")
            }
            Err(GroupError::Broken(why)) => self.shared.fail(&why),
        }
    }

    /// Whether the index can be used, which includes opening it again when it is time to try.
    fn has_index(&mut self) -> bool {
        let wanted = self.shared.index_wants.lock().take();
        if let Some(why) = wanted {
            self.ail(&why);
        }
        let Some(ailing) = &mut self.ailing else { return true };
        // A checkpoint that is under way drops segments that the reopening would read.
        let may_try = Instant::now() >= ailing.next && self.checkpointer.is_idle();
        if !may_try || self.shared.failure().is_some() {
            return false;
        }
        let settings = &self.shared.settings;
        let reopened = match has_room_for_index(&settings.path) {
            true => self.reopen_index(),
            false => Err(GroupError::Passing(CommitError::Full(Arc::from("the index has no room to be written")))),
        };
        match reopened {
            Ok(()) => {
                tracing::info!("the index is whole again, and the store takes work");
                self.ailing = None;
                self.shared.set_short(None);
                true
            }
            Err(GroupError::Passing(why)) => {
                if let Some(ailing) = &mut self.ailing {
                    ailing.next = Instant::now() + ailing.back_off.failed();
                }
                self.shared.set_short(Some(Arc::from(why.to_string())));
                if let Some(unsaid) = STILL_SHORT.say() {
                    tracing::warn!(%why, unsaid, "the store still takes nothing; it tries again by itself");
                }
                false
            }
            Err(GroupError::Broken(why)) => {
                self.shared.fail(&why);
                false
            }
        }
    }

    /// From now on nothing is taken until the index has been opened again.
    fn ail(&mut self, why: &str) {
        if self.ailing.is_none() {
            tracing::warn!(why, "the index could not be written; the store takes nothing until it can");
            let back_off = BackOff::new(Duration::from_secs(1), Duration::from_secs(15));
            self.ailing = Some(Ailing { next: Instant::now(), back_off });
            self.shared.set_short(Some(Arc::from(format!("the index could not be written: {why}"))));
        }
    }

    /// Opens the index again, as after a crash: a tree that could not write a part of its log does not write any more, and what
    /// it lacks is in the journal. Nothing that was acknowledged is only in the tree.
    fn reopen_index(&mut self) -> Result<(), GroupError> {
        self.journal.sync()?;
        // Who still waits in the old one for its writes hears that they failed.
        if let Some(Err(error @ EngineError::Unsynced(_))) = self.shared.set_tree(None).map(|old| old.checkpoint()) {
            return Err(GroupError::Broken(error.to_string()));
        }
        let reindexed =
            recover::reindex(&self.shared.settings, self.shared.open_engine).map_err(|error| match error {
                OpenError::Io(error) => match Resource::wanted_by(&error) {
                    Some(_) => GroupError::Passing(CommitError::of(&error, "the index cannot be opened")),
                    None => GroupError::Broken(error.to_string()),
                },
                error => GroupError::Broken(error.to_string()),
            })?;
        if reindexed.lsn != self.journal.lsn() {
            let (there, here) = (reindexed.lsn, self.journal.lsn());
            return Err(GroupError::Broken(format!("the journal was read back up to group {there} of {here}")));
        }
        let mut live = self.shared.live.write();
        *live = reindexed.live;
        self.shared.set_tree(Some(reindexed.tree));
        drop(live);
        self.standings = reindexed.standings;
        self.recorded = reindexed.recorded;
        Ok(())
    }

    fn write(&mut self, requests: Vec<Request>) {
        let (works, answers): (Vec<Work>, Vec<Answer>) =
            requests.into_iter().map(|request| (request.work, request.answer)).unzip();
        if !self.has_index() {
            return self.refuse(&works, answers);
        }
        let mut results = Vec::with_capacity(works.len());
        works.iter().for_each(|work| self.freeze(work));
        while results.len() < works.len() {
            self.write_group(&works, &mut results);
        }
        for (answer, result) in answers.into_iter().zip(results) {
            // Whoever does not wait any more does not need the answer.
            let _sent = answer.send(result);
        }
        self.standings.age();
        if self.shared.failure().is_none() {
            match self.write_tree() {
                Ok(()) => {}
                Err(GroupError::Passing(why)) => self.ail(&why.to_string()),
                Err(GroupError::Broken(why)) => self.shared.fail(&why),
            }
        }
    }

    /// Freezes what is there, if that is asked for. What is seen then is never lost: a backup must not know more than the
    /// journal.
    fn freeze(&mut self, work: &Work) {
        let Work::Freeze(slot) = work else { return };
        match self.journal.sync().map_err(GroupError::from) {
            Ok(()) => self.note_syncs(),
            Err(GroupError::Passing(_)) => return,
            Err(GroupError::Broken(why)) => return self.shared.fail(&why),
        }
        let Ok(tree) = self.shared.tree() else { return };
        let mut live = self.shared.live.write();
        // No job behind this one has come yet, whoever has been given which number.
        let last = Sequence(self.shared.sequence.load(Ordering::Acquire));
        let numbers = |key| View::new(&live, &*tree).values.number(key);
        let (Ok(sequence), Ok(host)) = (numbers(keys::META_SEQUENCE), numbers(keys::META_HOST)) else { return };
        let (sequence, host) = (Sequence(sequence).max(last), HostId(host.max(*self.shared.host.lock())));
        let moment = Moment { lsn: self.journal.lsn(), sequence, host, jobs: 0 };
        let held = live.freeze(moment, last, self.shared.settings.frozen_bytes);
        drop(live);
        *slot.lock() = Some(held);
    }

    /// Answers that nothing is taken just now.
    fn refuse(&mut self, works: &[Work], answers: Vec<Answer>) {
        works.iter().for_each(|work| self.owed.note(work));
        let refused = match (self.shared.failure(), self.shared.short()) {
            (Some(why), _) => CommitError::Failed(why),
            (None, why) => CommitError::Short(why.unwrap_or_else(|| Arc::from("the index is opened again"))),
        };
        for answer in answers {
            // Whoever does not wait any more does not need the answer.
            let _sent = answer.send(Err(refused.clone()));
        }
    }

    /// Brings the tree up to the journal when enough is ahead of it. Nobody waits for that: what is ahead is read from
    /// memory, and a replay finds it in the journal.
    fn write_tree(&mut self) -> Result<(), GroupError> {
        let is_long_ago = self.checkpointed_at.elapsed() >= CHECKPOINT_INTERVAL && self.since_checkpoint > 0;
        let is_much = self.since_checkpoint >= self.shared.settings.checkpoint_bytes;
        let wants_checkpoint = (is_much || is_long_ago) && self.checkpointer.is_idle();
        let shared = Arc::clone(&self.shared);
        if !wants_checkpoint && shared.live.read().ahead.len() < ENTRIES_AHEAD {
            return Ok(());
        }
        // The tree never holds what the journal may lose: it could not be told from what never was.
        if !self.journal.is_synced() {
            match self.journal.sync().map_err(GroupError::from) {
                Ok(()) => self.note_syncs(),
                // The index may wait; what it lacks is read from memory.
                Err(GroupError::Passing(_)) => return Ok(()),
                Err(broken) => return Err(broken),
            }
        }
        let lsn = self.journal.lsn();
        let tree = shared.tree()?;
        let mut live = shared.live.write();
        let mut indexer = Indexer::new(&*tree, &mut live);
        if wants_checkpoint {
            indexer.checkpoint(lsn, &mut self.recorded);
        }
        let entries = indexer.write(lsn)?;
        drop(live);
        tree.tidy(entries);
        if wants_checkpoint {
            self.since_checkpoint = 0;
            self.checkpointed_at = Instant::now();
            self.checkpointer.start(lsn);
        }
        Ok(())
    }

    /// Decides works from `results.len()` on, as many as fit into a group.
    fn write_group(&mut self, works: &[Work], results: &mut Vec<Result<(), CommitError>>) {
        if let Some(why) = self.shared.failure() {
            results.resize(works.len(), Err(CommitError::Failed(why)));
            return;
        }
        let refusing = self.refusing(works);
        let mut group = Group::default();
        frame::start(&mut self.frame);
        self.pay(&mut group);
        let tree = match self.shared.tree() {
            Ok(tree) => tree,
            Err(error) => return results.resize(works.len(), Err(error.into())),
        };
        {
            let shared = Arc::clone(&self.shared);
            let live = shared.live.read();
            let view = View::new(&live, &*tree);
            while results.len() < works.len() && self.frame.len() < GROUP_BYTES {
                let index = results.len();
                let result = self.stage(view, &works[index], refusing.as_ref(), &mut group);
                if result.is_ok() {
                    group.accepted.push(index);
                }
                results.push(result);
            }
        }
        match self.write_staged(&*tree, &group) {
            Ok(released) => {
                self.owed = Owed::default();
                self.tell(works, &group.accepted, &released);
            }
            Err(error) => {
                group.accepted.iter().for_each(|index| self.owed.note(&works[*index]));
                let why = match error {
                    GroupError::Passing(why) => {
                        if let Some(unsaid) = NOT_WRITTEN.say() {
                            tracing::warn!(%why, unsaid, "a group of commits was not taken; the next ones may be");
                        }
                        why
                    }
                    GroupError::Broken(why) => {
                        self.shared.fail(&why);
                        CommitError::Failed(Arc::from(why))
                    }
                };
                // What was noted of the group did not come to be.
                self.standings = Standings::new(self.shared.sequence.load(Ordering::Relaxed));
                group.accepted.iter().for_each(|index| results[*index] = Err(why.clone()));
            }
        }
    }

    fn stage<'a>(
        &mut self,
        view: View<'_>,
        work: &'a Work,
        refusing: Option<&Arc<str>>,
        group: &mut Group<'a>,
    ) -> Result<(), CommitError> {
        match work {
            Work::Commit(changes, warrant) => self.stage_commit(view, changes, warrant.as_deref(), refusing, group),
            Work::Sequence(up_to) => {
                codec::append_sequence(&mut self.frame, *up_to);
                group.mark = group.mark.max(*up_to);
                group.is_waited_for = true;
                Ok(())
            }
            Work::Host(number) => {
                codec::append_host(&mut self.frame, *number);
                group.host = group.host.max(*number);
                group.is_waited_for = true;
                Ok(())
            }
            // Done before the group.
            Work::Freeze(_) => Ok(()),
        }
    }

    fn stage_commit<'a>(
        &mut self,
        view: View<'_>,
        changes: &'a [Change],
        warrant: Option<&dyn Warrant>,
        refusing: Option<&Arc<str>>,
        group: &mut Group<'a>,
    ) -> Result<(), CommitError> {
        if let Some(why) = refusing
            && guard::brings_new_work(changes)
        {
            return Err(CommitError::Full(Arc::clone(why)));
        }
        let mut facts = Known { standings: &mut self.standings, view, group };
        match guard::check(changes, &mut facts)? {
            Verdict::Accepted => {}
            Verdict::Conflict(index) => return Err(CommitError::Conflict { index }),
        }
        warrant.map_or(Ok(()), Warrant::check).map_err(CommitError::NotAdmitted)?;
        group.is_waited_for |= !is_claim(changes);
        for change in changes {
            let before = match change {
                Change::Advance { job, .. } | Change::Delete { job, .. } => self.standings.get(view, *job)?.cloned(),
                _ => None,
            };
            let parts = codec::append_change(&mut self.frame, change, &self.shared.settings.families);
            note(&mut self.standings, change, before.as_ref(), &parts);
            group.note(change, before.as_ref(), view.live);
            group.entries.push(Entry { change, before, parts });
        }
        Ok(())
    }

    fn write_staged(&mut self, tree: &dyn Engine, group: &Group<'_>) -> Result<Vec<JobKey>, GroupError> {
        if self.frame.len() == frame::HEADER {
            return Ok(Vec::new());
        }
        self.journal.append(&mut self.frame)?;
        if group.is_waited_for
            && self.shared.settings.durability == Durability::Power
            && let Err(error) = self.journal.sync()
        {
            if matches!(error, AppendError::Short(_)) {
                self.journal.take_back(&self.frame)?;
            }
            return Err(error.into());
        }
        self.since_checkpoint += self.frame.len() as u64;
        self.shared.lsn.store(self.journal.lsn(), Ordering::Release);
        let shared = Arc::clone(&self.shared);
        let released = self.index(tree, &mut shared.live.write(), group)?;
        self.note_syncs();
        Ok(released)
    }

    /// Returns the jobs that wait for no other any more.
    fn index(&self, tree: &dyn Engine, live: &mut Live, group: &Group<'_>) -> Result<Vec<JobKey>, GroupError> {
        // It is in the journal already, so that nobody may be told that it was not taken: the next start reads it back.
        let broken = |error: ReadError| GroupError::Broken(error.to_string());
        let mut indexer = Indexer::new(tree, live);
        indexer.add(&group.entries, &self.frame).map_err(broken)?;
        // What may be given out is not given out yet: only what is used moves the number.
        self.shared.sequence.fetch_max(group.sequence, Ordering::Relaxed);
        if group.sequence.max(group.mark) > 0 {
            indexer.raise(keys::META_SEQUENCE, group.sequence.max(group.mark)).map_err(broken)?;
        }
        if group.host > 0 {
            indexer.raise(keys::META_HOST, group.host).map_err(broken)?;
        }
        Ok(std::mem::take(&mut indexer.released))
    }

    fn tell(&self, works: &[Work], accepted: &[usize], released: &[JobKey]) {
        let feed = self.shared.feed.read().clone();
        let mut commits = 0;
        for index in accepted {
            if let Work::Commit(changes, _) = &works[*index] {
                commits += 1;
                if let Some(feed) = &feed {
                    feed(News::Committed(changes));
                }
            }
        }
        if let Some(feed) = feed.filter(|_| !released.is_empty()) {
            feed(News::Released(released));
        }
        self.shared.commits.fetch_add(commits, Ordering::Relaxed);
    }

    /// Stages the numbers that are owed.
    fn pay(&mut self, group: &mut Group<'_>) {
        if self.owed.sequence > 0 {
            codec::append_sequence(&mut self.frame, self.owed.sequence);
            group.mark = self.owed.sequence;
        }
        if self.owed.host > 0 {
            codec::append_host(&mut self.frame, self.owed.host);
            group.host = self.owed.host;
        }
        group.is_waited_for = group.mark > 0 || group.host > 0;
    }

    fn note_syncs(&self) {
        self.shared.syncs.store(self.journal.syncs(), Ordering::Relaxed);
    }

    /// Why there is too little room for new jobs, if so.
    fn refusing(&mut self, works: &[Work]) -> Option<Arc<str>> {
        let brings_new_work = |work: &Work| match work {
            Work::Commit(changes, _) => guard::brings_new_work(changes),
            Work::Sequence(_) | Work::Host(_) | Work::Freeze(_) => false,
        };
        let is_old = self.room_seen.is_none_or(|seen| seen.elapsed() >= ROOM_INTERVAL);
        if is_old && works.iter().any(brings_new_work) {
            self.room_seen = Some(Instant::now());
            let why = self.journal.shortage().or_else(|| self.shared.shortage());
            *self.shared.refusing.lock() = why;
        }
        self.shared.refusing.lock().as_deref().map(Arc::from)
    }
}

impl Owed {
    fn note(&mut self, work: &Work) {
        match work {
            Work::Sequence(up_to) => self.sequence = self.sequence.max(*up_to),
            Work::Host(number) => self.host = self.host.max(*number),
            Work::Commit(..) | Work::Freeze(_) => {}
        }
    }
}

/// Whether there is room to open an index, which writes a little, and to write it.
fn has_room_for_index(path: &Path) -> bool {
    // Where the file system does not say, trying says it.
    let Ok(room) = rustix::fs::statvfs(path) else { return true };
    let has_inodes = room.f_files == 0 || room.f_favail >= INDEX_INODES;
    room.f_bavail.saturating_mul(room.f_frsize) >= INDEX_ROOM && has_inodes
}

/// Notes what a change makes of its job.
pub(super) fn note(standings: &mut Standings, change: &Change, before: Option<&Standing>, parts: &Parts) {
    match (change, before) {
        (Change::Submit(submission, state), _) => {
            let place = match parts.state.is_empty() {
                true => Place::Fresh,
                false => Place::of(state, parts.state.len()),
            };
            standings.set(submission.key(), Some(Standing::new(submission, state, place)));
        }
        (Change::Advance { job, next, .. }, Some(before)) => {
            standings.set(*job, Some(before.advanced(next, Place::of(next, parts.state.len()))));
        }
        (Change::Delete { job, .. }, _) => standings.set(*job, None),
        _ => {}
    }
}
