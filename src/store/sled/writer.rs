//! The one thread that writes: takes what waits as a group, checks, appends, syncs, indexes, tells, answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::checkpoint::Checkpointer;
use super::codec;
use super::index::{Entry, Indexer};
use super::journal::{AppendError, Journal, frame};
use super::keys;
use super::live::{Live, Place, View};
use super::shared::{Answer, Request, Shared, Work};
use super::standing::{Standing, Standings};
use super::ties;
use super::values::{Values, free_replaced_pages};
use super::{Durability, codec::Parts};
use crate::domain::change::{Change, RememberedSubmit};
use crate::domain::id::{DedupKey, JobKey, PluginName, QueueName, ScheduleName, TenantId, TokenName};
use crate::domain::time::Timestamp;
use crate::store::guard::{self, Facts, Verdict, is_claim};
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
}

/// The commits that are written together.
#[derive(Default)]
struct Group<'a> {
    entries: Vec<Entry<'a>>,
    /// Which of the works are in.
    accepted: Vec<usize>,
    is_waited_for: bool,
    /// The highest sequence that a job of it has.
    sequence: u64,
    /// The highest sequence that may be given out from now on.
    mark: u64,
    host: u64,
    plugins: HashMap<(TenantId, &'a PluginName), Option<u32>>,
    keys: HashMap<(TenantId, &'a str), Timestamp>,
    schedules: HashMap<(TenantId, &'a ScheduleName), Option<u32>>,
    queues: HashMap<&'a QueueName, u32>,
    tokens: HashMap<(TenantId, &'a TokenName), bool>,
    /// Who has a dedup key, where that has changed.
    dedup: HashMap<(TenantId, DedupKey), Option<JobKey>>,
}

/// Why a group could not be written.
enum GroupError {
    Full(String),
    Broken(String),
}

impl Writer {
    /// Writes groups until the store is closed.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while let Some(requests) = shared.take_requests(CHECKPOINT_INTERVAL) {
            self.write(requests);
        }
        if shared.failure().is_none() {
            self.end();
        }
    }

    fn end(&mut self) {
        let lsn = self.journal.lsn();
        let ended = self.journal.sync().map_err(|error| error.to_string()).and_then(|()| {
            let mut live = self.shared.live.write();
            let mut indexer = Indexer::new(&self.shared.tree, &mut live);
            indexer.checkpoint(lsn, &mut self.recorded);
            indexer.write(lsn).map(drop).map_err(|error| error.to_string())
        });
        self.note_syncs();
        match ended {
            Ok(()) => self.checkpointer.finish(lsn),
            Err(why) => self.shared.fail(&why),
        }
    }

    fn write(&mut self, requests: Vec<Request>) {
        let (works, answers): (Vec<Work>, Vec<Answer>) =
            requests.into_iter().map(|request| (request.work, request.answer)).unzip();
        let mut results = Vec::with_capacity(works.len());
        while results.len() < works.len() {
            self.write_group(&works, &mut results);
        }
        for (answer, result) in answers.into_iter().zip(results) {
            // Whoever does not wait any more does not need the answer.
            let _sent = answer.send(result);
        }
        self.standings.age();
        if self.shared.failure().is_none()
            && let Err(GroupError::Broken(why)) = self.write_tree()
        {
            self.shared.fail(&why);
        }
    }

    /// Brings the tree up to the journal when enough is ahead of it. Nobody waits for that: what is ahead is read from
    /// memory, and a replay finds it in the journal.
    fn write_tree(&mut self) -> Result<(), GroupError> {
        let broken = |error: std::io::Error| GroupError::Broken(error.to_string());
        let is_long_ago = self.checkpointed_at.elapsed() >= CHECKPOINT_INTERVAL && self.since_checkpoint > 0;
        let is_much = self.since_checkpoint >= self.shared.settings.checkpoint_bytes;
        let wants_checkpoint = (is_much || is_long_ago) && self.checkpointer.is_idle();
        let shared = Arc::clone(&self.shared);
        if !wants_checkpoint && shared.live.read().ahead.len() < ENTRIES_AHEAD {
            return Ok(());
        }
        // The tree never holds what the journal may lose: it could not be told from what never was.
        if !self.journal.is_synced() {
            self.journal.sync().map_err(broken)?;
            self.note_syncs();
        }
        let lsn = self.journal.lsn();
        let mut live = shared.live.write();
        let mut indexer = Indexer::new(&shared.tree, &mut live);
        if wants_checkpoint {
            indexer.checkpoint(lsn, &mut self.recorded);
        }
        let entries = indexer.write(lsn).map_err(|error| GroupError::Broken(error.to_string()))?;
        drop(live);
        free_replaced_pages(entries);
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
        {
            let shared = Arc::clone(&self.shared);
            let live = shared.live.read();
            let view = View::new(&live, &shared.tree);
            while results.len() < works.len() && self.frame.len() < GROUP_BYTES {
                let index = results.len();
                let result = self.stage(view, &works[index], refusing.as_ref(), &mut group);
                if result.is_ok() {
                    group.accepted.push(index);
                }
                results.push(result);
            }
        }
        match self.write_staged(&group) {
            Ok(released) => self.tell(works, &group.accepted, &released),
            Err(error) => {
                let why = match error {
                    GroupError::Full(why) => CommitError::Full(Arc::from(why)),
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
            && changes.iter().any(|change| matches!(change, Change::Submit(..)))
        {
            return Err(CommitError::Full(Arc::clone(why)));
        }
        let mut facts = Known { standings: &mut self.standings, view, group };
        match guard::check(changes, &mut facts).map_err(unreadable)? {
            Verdict::Accepted => {}
            Verdict::Conflict(index) => return Err(CommitError::Conflict { index }),
        }
        warrant.map_or(Ok(()), Warrant::check).map_err(CommitError::NotAdmitted)?;
        group.is_waited_for |= !is_claim(changes);
        for change in changes {
            let before = match change {
                Change::Advance { job, .. } | Change::Delete { job, .. } => {
                    self.standings.get(view, *job).map_err(unreadable)?.cloned()
                }
                _ => None,
            };
            let parts = codec::append_change(&mut self.frame, change);
            note(&mut self.standings, change, before.as_ref(), &parts);
            group.note(change, before.as_ref());
            group.entries.push(Entry { change, before, parts });
        }
        Ok(())
    }

    fn write_staged(&mut self, group: &Group<'_>) -> Result<Vec<JobKey>, GroupError> {
        if self.frame.len() == frame::HEADER {
            return Ok(Vec::new());
        }
        let broken = |error: std::io::Error| GroupError::Broken(error.to_string());
        match self.journal.append(&mut self.frame) {
            Ok(_lsn) => {}
            Err(AppendError::Full(error)) => {
                tracing::warn!(%error, "the journal has no room for another segment");
                return Err(GroupError::Full(format!("no room for a journal segment: {error}")));
            }
            Err(AppendError::Broken(error)) => return Err(broken(error)),
        }
        self.since_checkpoint += self.frame.len() as u64;
        if group.is_waited_for && self.shared.settings.durability == Durability::Power {
            self.journal.sync().map_err(broken)?;
        }
        let shared = Arc::clone(&self.shared);
        let released = self.index(&mut shared.live.write(), group)?;
        self.note_syncs();
        Ok(released)
    }

    /// Returns the jobs that wait for no other any more.
    fn index(&mut self, live: &mut Live, group: &Group<'_>) -> Result<Vec<JobKey>, GroupError> {
        let broken = |error: ReadError| GroupError::Broken(error.to_string());
        let mut indexer = Indexer::new(&self.shared.tree, live);
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

    fn note_syncs(&self) {
        self.shared.syncs.store(self.journal.syncs(), Ordering::Relaxed);
    }

    /// Why there is too little room for new jobs, if so.
    fn refusing(&mut self, works: &[Work]) -> Option<Arc<str>> {
        let submits = |work: &Work| match work {
            Work::Commit(changes, _) => changes.iter().any(|change| matches!(change, Change::Submit(..))),
            Work::Sequence(_) | Work::Host(_) => false,
        };
        let is_old = self.room_seen.is_none_or(|seen| seen.elapsed() >= ROOM_INTERVAL);
        if is_old && works.iter().any(submits) {
            self.room_seen = Some(Instant::now());
            let why = self.journal.shortage().or_else(|| self.shared.shortage());
            *self.shared.refusing.lock() = why;
        }
        self.shared.refusing.lock().as_deref().map(Arc::from)
    }
}

fn unreadable(error: ReadError) -> CommitError {
    CommitError::Failed(Arc::from(error.to_string()))
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

impl<'a> Group<'a> {
    fn note(&mut self, change: &'a Change, before: Option<&Standing>) {
        match change {
            Change::Submit(submission, state) => {
                let job = submission.key();
                self.sequence = self.sequence.max(job.sequence.0);
                let key = submission.ties.as_ref().and_then(|ties| ties.dedup_key.clone());
                if let Some(key) = key.filter(|_| !state.status.is_final()) {
                    self.dedup.insert((job.tenant, key), Some(job));
                }
            }
            Change::Advance { job, next, .. } if next.status.is_final() => {
                let ties = before.and_then(|before| before.ties.as_ref());
                if let Some(key) = ties.and_then(|ties| ties.dedup_key.clone()) {
                    self.dedup.insert((job.tenant, key), None);
                }
            }
            Change::PutSchedule(schedule) => {
                self.schedules.insert((schedule.tenant, &schedule.name), Some(schedule.revision));
            }
            Change::RemoveSchedule { tenant, name, .. } => {
                self.schedules.insert((*tenant, name), None);
            }
            Change::PutQueue(queue) => {
                self.queues.insert(&queue.name, queue.revision);
            }
            Change::PutToken(token) => {
                self.tokens.insert((token.tenant, &token.name), true);
            }
            Change::RemoveToken { tenant, name } => {
                self.tokens.insert((*tenant, name), false);
            }
            Change::Remember(submit) => {
                self.keys.insert((submit.tenant, &submit.key), submit.until);
            }
            Change::PutPlugin(plugin) => {
                self.plugins.insert((plugin.tenant, &plugin.name), Some(plugin.revision));
            }
            Change::RemovePlugin { tenant, name, .. } => {
                self.plugins.insert((*tenant, name), None);
            }
            _ => {}
        }
    }
}

/// What the writer knows: the group that it is making, then memory, then the tree.
struct Known<'k, 'v, 'a> {
    standings: &'k mut Standings,
    view: View<'v>,
    group: &'k Group<'a>,
}

impl Facts for Known<'_, '_, '_> {
    type Error = ReadError;

    fn job_revision(&mut self, job: JobKey) -> Result<Option<u32>, ReadError> {
        Ok(self.standings.get(self.view, job)?.map(|standing| standing.revision))
    }

    fn remembered_until(&mut self, tenant: TenantId, key: &str) -> Result<Option<Timestamp>, ReadError> {
        match self.group.keys.get(&(tenant, key)) {
            Some(until) => Ok(Some(*until)),
            None => Ok(read_remembered(self.view.values, tenant, key)?.map(|submit| submit.until)),
        }
    }

    fn plugin_revision(&mut self, tenant: TenantId, name: &PluginName) -> Result<Option<u32>, ReadError> {
        match self.group.plugins.get(&(tenant, name)) {
            Some(revision) => Ok(*revision),
            None => Ok(self.view.live.plugins.get(&(tenant, name.clone())).map(|plugin| plugin.revision)),
        }
    }

    fn schedule_revision(&mut self, tenant: TenantId, name: &ScheduleName) -> Result<Option<u32>, ReadError> {
        match self.group.schedules.get(&(tenant, name)) {
            Some(revision) => Ok(*revision),
            None => Ok(self.view.live.schedules.revision(tenant, name)),
        }
    }

    fn queue_revision(&mut self, name: &QueueName) -> Result<Option<u32>, ReadError> {
        let in_group = self.group.queues.get(name).copied();
        Ok(in_group.or_else(|| self.view.live.queues.get(name).map(|queue| queue.revision)))
    }

    fn has_token(&mut self, tenant: TenantId, name: &TokenName) -> Result<bool, ReadError> {
        let in_group = self.group.tokens.get(&(tenant, name)).copied();
        Ok(in_group.unwrap_or_else(|| self.view.live.tokens.has(tenant, name)))
    }

    fn dedup_holder(&mut self, tenant: TenantId, key: &DedupKey) -> Result<Option<JobKey>, ReadError> {
        match self.group.dedup.get(&(tenant, key.clone())) {
            Some(holder) => Ok(*holder),
            None => ties::dedup_holder(self.view, tenant, key),
        }
    }
}

/// A remembered submit.
pub(super) fn read_remembered(
    values: Values<'_>,
    tenant: TenantId,
    key: &str,
) -> Result<Option<RememberedSubmit>, ReadError> {
    let stored = values.get(&keys::remembered(tenant, key))?;
    Ok(stored.map(|value| codec::decode("a remembered submit", &value)).transpose()?)
}
