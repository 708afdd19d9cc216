//! Reading jobs: single ones, those that wait to run, and lists.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::ops::Bound;

use super::codec;
use super::keys::{self, ReadyEntry, ReadyKind};
use super::live::{Block, View};
use super::values::Values;
use crate::domain::fingerprint::Fingerprint;
use crate::domain::id::{JobKey, Sequence, TenantId};
use crate::domain::job::{Job, Rank, Run, StateCode, Status};
use crate::domain::query::{Counts, FailureGroup, FailureGroups, JobQuery, Label, Page};
use crate::domain::queue::Lane;
use crate::domain::time::Timestamp;
use crate::resources::Quiet;
use crate::store::{RUNS_READ_MAX, ReadError};

/// What the log has been told.
static LEFT_OUT: Quiet = Quiet::new();

/// How many jobs one query looks at.
pub(super) const LOOKED_AT_MAX: usize = 20_000;

/// The closed runs of a job.
pub(super) fn runs(view: View<'_>, job: JobKey) -> Result<Vec<Run>, ReadError> {
    if view.find(job)?.is_none() {
        return Ok(Vec::new());
    }
    let last = view.state(job)?.and_then(|(_, state)| state.last_run);
    // Runs are numbered one after another.
    let first = last.as_ref().map_or(0, |last| (last.number + 1).saturating_sub(RUNS_READ_MAX as u32));
    let (from, to) = (keys::run(job, first), keys::run(job, u32::MAX));
    let mut runs = Vec::new();
    for entry in view.values.ascending(Bound::Included(from), Bound::Included(to)) {
        let (key, value) = entry?;
        runs.push(codec::decode(&view.values.whole(&key, value)?)?);
    }
    runs.extend(last);
    Ok(runs)
}

/// How many blocks a step reads.
const STEP_BLOCKS: usize = 32;

/// Jobs in the order of their keys, in the making.
pub(super) struct OldestLister {
    from: JobKey,
    limit: usize,
    jobs: Vec<Job>,
}

impl OldestLister {
    /// None yet.
    pub(super) fn new(from: JobKey, limit: usize) -> Self {
        Self { from, limit, jobs: Vec::new() }
    }

    /// All that were found.
    pub(super) fn into_jobs(self) -> Vec<Job> {
        self.jobs
    }

    /// Reads some more blocks; true when there are enough jobs or no more blocks.
    pub(super) fn step(&mut self, view: View<'_>) -> Result<bool, ReadError> {
        // The block that holds the first job may start before it.
        let first = view.block(self.from)?.map_or(self.from, |block| block.first);
        let blocks = view.values.ascending(Bound::Included(keys::block(first)), Bound::Excluded(vec![keys::BLOCK + 1]));
        let mut read = 0;
        for entry in blocks.take(STEP_BLOCKS) {
            let (key, value) = entry?;
            read += 1;
            let block = Block::stored(&key, view.values.whole(&key, value)?)?;
            if self.add_block(view, &block)? {
                return Ok(true);
            }
        }
        Ok(read < STEP_BLOCKS)
    }

    fn add_block(&mut self, view: View<'_>, block: &Block) -> Result<bool, ReadError> {
        let (_, entries) = block.entries()?;
        let mut outcomes = view.outcomes();
        for (index, fields) in entries.iter().enumerate().filter(|(_, fields)| !fields.is_empty()) {
            let key = block.job(index);
            if key < self.from {
                continue;
            }
            if self.jobs.len() >= self.limit {
                return Ok(true);
            }
            let submission = std::sync::Arc::new(codec::read_submission(fields)?);
            self.jobs.push(Job { submission, state: outcomes.state(key)? });
            self.from = JobKey { sequence: Sequence(key.sequence.0 + 1), ..key };
        }
        let behind = block.job(entries.len());
        self.from = self.from.max(behind);
        Ok(false)
    }
}

/// Lanes that have ready entries: the first entry of each, and then behind it.
pub(super) fn lanes(view: View<'_>, behind: Option<&Lane>, limit: usize) -> Result<Vec<Lane>, ReadError> {
    let mut lanes = Vec::new();
    let mut from = behind.map_or_else(|| vec![keys::READY], keys::behind_lane);
    let end = Bound::Excluded(vec![keys::READY + 1]);
    while lanes.len() < limit
        && let Some(entry) = view.values.ascending(Bound::Included(from), end.clone()).next()
    {
        let lane = keys::ready_entry(&entry?.0).ok_or_else(bad_ready_entry)?.lane;
        from = keys::behind_lane(&lane);
        lanes.push(lane);
    }
    Ok(lanes)
}

fn bad_ready_entry() -> ReadError {
    ReadError::Damaged("a ready entry".to_owned())
}

/// How many ready entries a step reads: memory is held as long as one takes.
pub(super) const STEP_ENTRIES: usize = 32;

/// The ready entries of one step, each with its key.
pub(super) fn step_entries<'v, 'a>(
    values: &'v Values<'a>,
    from: &Bound<Vec<u8>>,
    to: &[u8],
) -> impl Iterator<Item = Result<(Vec<u8>, ReadyEntry), ReadError>> + use<'v, 'a> {
    let entries = values.ascending(from.clone(), Bound::Excluded(to.to_vec())).take(STEP_ENTRIES);
    entries.map(|entry| {
        let (key, _) = entry?;
        let entry = keys::ready_entry(&key).ok_or_else(bad_ready_entry)?;
        Ok((key, entry))
    })
}

/// The ready jobs of a lane in the order in which they should start, in the making. What changes between two steps may be
/// seen or not.
pub(super) struct ReadyLister {
    from: Bound<Vec<u8>>,
    to: Vec<u8>,
    tenant: TenantId,
    /// Jobs of blocks and single ones interleave: one goes out when nothing before it can follow.
    next: BinaryHeap<Reverse<(Rank, Sequence)>>,
    jobs: Vec<Job>,
    limit: usize,
}

impl ReadyLister {
    /// None yet.
    pub(super) fn new(lane: &Lane, limit: usize) -> Self {
        let from = Bound::Included(keys::ready_lane(lane));
        Self {
            from,
            to: keys::behind_lane(lane),
            tenant: lane.tenant,
            next: BinaryHeap::new(),
            jobs: Vec::new(),
            limit,
        }
    }

    /// All that were found.
    pub(super) fn into_jobs(self) -> Vec<Job> {
        self.jobs
    }

    /// Reads some more entries; true when there are enough jobs or no more entries.
    pub(super) fn step(&mut self, view: View<'_>) -> Result<bool, ReadError> {
        let mut read = 0;
        for entry in step_entries(&view.values, &self.from, &self.to) {
            let (key, entry) = entry?;
            read += 1;
            self.pop_before(view, Some((entry.rank, entry.job.sequence)))?;
            if self.jobs.len() >= self.limit {
                return Ok(true);
            }
            match entry.kind {
                ReadyKind::Single => self.next.push(Reverse((entry.rank, entry.job.sequence))),
                ReadyKind::Block => match fresh_jobs(view, entry.job) {
                    Ok(fresh) => self.next.extend(fresh.map(|sequence| Reverse((entry.rank, sequence)))),
                    Err(error) => log_unless_failed(entry.job, error)?,
                },
            }
            self.from = Bound::Excluded(key);
        }
        if read == STEP_ENTRIES {
            return Ok(false);
        }
        self.pop_before(view, None)?;
        Ok(true)
    }

    /// Takes out what sorts before `place`, or everything.
    fn pop_before(&mut self, view: View<'_>, place: Option<(Rank, Sequence)>) -> Result<(), ReadError> {
        while self.jobs.len() < self.limit
            && let Some(Reverse(first)) = self.next.peek().copied()
            && place.is_none_or(|place| first < place)
        {
            self.next.pop();
            let job = unless_damaged(view, JobKey { tenant: self.tenant, sequence: first.1 })?;
            self.jobs.extend(job.filter(|job| job.state.status == Status::Queued));
        }
        Ok(())
    }
}

pub(super) fn fresh_jobs(view: View<'_>, first: JobKey) -> Result<impl Iterator<Item = Sequence>, ReadError> {
    let fresh = match view.live.fresh.get(&first) {
        Some(fresh) => Some(fresh.clone()),
        None => match view.block(first)? {
            Some(block) => view.fresh(&block)?,
            None => None,
        },
    };
    let mask = fresh.map_or(0, |fresh| fresh.mask);
    let members = (0..16_u64).filter(move |index| mask & 1 << index != 0);
    Ok(members.map(move |index| Sequence(first.sequence.0 + index)))
}

/// How many jobs of a batch stand where.
pub(super) fn batch(view: View<'_>, tenant: TenantId, batch: Sequence) -> Result<Counts, ReadError> {
    let stored = view.values.get(&keys::batch(tenant, batch))?;
    Ok(stored.map(|value| codec::decode(&value)).transpose()?.unwrap_or_default())
}

/// How many entries of failed jobs a step reads.
const STEP_FAILURES: usize = 4_096;

/// How many failed jobs are looked at, the ones of the smallest fingerprints first.
pub(super) const FAILURES_MAX: usize = 2_000_000;

/// The failed jobs of a tenant by what went wrong, in the making.
pub(super) struct FailureLister {
    from: Bound<Vec<u8>>,
    prefix: Vec<u8>,
    groups: BTreeMap<u64, FailureGroup>,
    /// How many entries may still be looked at.
    left: usize,
    is_incomplete: bool,
}

impl FailureLister {
    /// None yet; at most `most` failed jobs will be looked at.
    pub(super) fn new(tenant: TenantId, most: usize) -> Self {
        let prefix = keys::failures(tenant);
        let from = Bound::Included(prefix.clone());
        Self { from, prefix, groups: BTreeMap::new(), left: most, is_incomplete: false }
    }

    /// The groups with the newest jobs, newest first.
    pub(super) fn into_groups(self, limit: usize) -> FailureGroups {
        let mut groups: Vec<_> = self.groups.into_values().collect();
        groups.sort_by_key(|group| Reverse(group.newest));
        groups.truncate(limit);
        FailureGroups { groups, is_incomplete: self.is_incomplete }
    }

    /// Reads some more; true when there are no more, or no more may be looked at.
    pub(super) fn step(&mut self, view: View<'_>) -> Result<bool, ReadError> {
        let mut end = self.prefix.clone();
        end.extend([0xff; 17]);
        let mut read = 0;
        for entry in view.values.ascending(self.from.clone(), Bound::Excluded(end)).take(STEP_FAILURES) {
            let (key, _) = entry?;
            if self.left == 0 {
                self.is_incomplete = true;
                return Ok(true);
            }
            let (bits, job) = keys::label_entry(&key).ok_or_else(|| ReadError::Damaged("a label entry".to_owned()))?;
            let group = self.groups.entry(bits);
            group.or_insert_with(|| FailureGroup::new(Fingerprint(bits), job.sequence)).add(job.sequence);
            self.from = Bound::Excluded(key);
            self.left -= 1;
            read += 1;
        }
        Ok(read < STEP_FAILURES)
    }
}

/// Locked jobs, in the order of their keys.
pub(super) fn locked(view: View<'_>) -> Result<Vec<Job>, ReadError> {
    let mut keys: Vec<_> = view.live.running.keys().copied().collect();
    keys.sort();
    let jobs = keys.into_iter().map(|key| unless_damaged(view, key));
    jobs.filter_map(Result::transpose).collect()
}

/// Suspended jobs whose time has come by `now`, earliest first.
pub(super) fn due(view: View<'_>, now: Timestamp, limit: usize) -> Result<Vec<Job>, ReadError> {
    let timers = view.values.ascending(Bound::Included(vec![keys::TIMER]), Bound::Excluded(keys::timers_until(now)));
    let mut jobs = Vec::new();
    for entry in timers {
        if jobs.len() >= limit {
            break;
        }
        let (_, key) = keys::timer_entry(&entry?.0).ok_or_else(|| ReadError::Damaged("a timer entry".to_owned()))?;
        jobs.extend(unless_damaged(view, key)?);
    }
    Ok(jobs)
}

/// A job; none when its record is damaged, which is logged.
fn unless_damaged(view: View<'_>, job: JobKey) -> Result<Option<Job>, ReadError> {
    view.job(job).or_else(|error| log_unless_failed(job, error).map(|()| None))
}

pub(super) fn log_unless_failed(job: JobKey, error: ReadError) -> Result<(), ReadError> {
    match error {
        ReadError::Damaged(why) => {
            let sequence = job.sequence.0;
            // It is met again at each look.
            if let Some(unsaid) = LEFT_OUT.say() {
                let next = "run `backroom store verify`";
                tracing::error!(why, unsaid, next, "job number {sequence} cannot be read and is left out");
            }
            Ok(())
        }
        failed @ (ReadError::Short(_) | ReadError::Failed(_)) => Err(failed),
    }
}

/// The earliest time at which a suspended job wakes.
pub(super) fn next_due(view: View<'_>) -> Result<Option<Timestamp>, ReadError> {
    match view.values.starting(&[keys::TIMER]).next() {
        None => Ok(None),
        Some(entry) => {
            let (time, _) =
                keys::timer_entry(&entry?.0).ok_or_else(|| ReadError::Damaged("a timer entry".to_owned()))?;
            Ok(Some(time))
        }
    }
}

/// How many jobs a step looks at: memory is held as long as one takes.
const STEP_JOBS: usize = 500;

/// A page of jobs, newest first, in the making.
pub(super) struct Lister<'q> {
    query: &'q JobQuery,
    page: Page,
    looked_at: usize,
    /// The last job that was looked at.
    last: Option<Sequence>,
}

impl<'q> Lister<'q> {
    /// An empty page.
    pub(super) fn new(query: &'q JobQuery) -> Self {
        Self { query, page: Page::default(), looked_at: 0, last: query.before }
    }

    /// The page so far.
    pub(super) fn into_page(self) -> Page {
        self.page
    }

    /// Looks at the next jobs; true when the page is done.
    pub(super) fn step(&mut self, view: View<'_>) -> Result<bool, ReadError> {
        if let Some(label) = self.query.filter.label() {
            return self.step_by_label(view, &label);
        }
        let statuses = &self.query.filter.statuses;
        match !statuses.is_empty() && statuses.iter().all(|status| status.is_looked_up()) {
            true => self.step_by_status(view),
            false => self.step_by_block(view),
        }
    }

    fn is_full(&self) -> bool {
        self.page.jobs.len() >= self.query.limit || self.looked_at >= LOOKED_AT_MAX
    }

    fn look_at(&mut self, key: JobKey, job: Option<Job>) {
        self.looked_at += 1;
        self.last = Some(key.sequence);
        self.page.jobs.extend(job.filter(|job| self.query.filter.matches(job)));
    }

    fn step_by_block(&mut self, view: View<'_>) -> Result<bool, ReadError> {
        let below = match self.last {
            None => Sequence(u64::MAX),
            Some(Sequence(0)) => return Ok(true),
            Some(Sequence(last)) => Sequence(last - 1),
        };
        let at = JobKey { tenant: self.query.tenant, sequence: below };
        let Some(block) = view.block(at)? else { return Ok(true) };
        if self.is_full() {
            self.page.next = self.last;
            return Ok(true);
        }
        self.look_at_block(view, &block, at)?;
        Ok(false)
    }

    fn look_at_block(&mut self, view: View<'_>, block: &Block, at: JobKey) -> Result<(), ReadError> {
        let (_, entries) = block.entries()?;
        for (index, fields) in entries.iter().enumerate().rev() {
            let key = block.job(index);
            if key.sequence > at.sequence {
                continue;
            }
            if self.is_full() {
                return Ok(());
            }
            if fields.is_empty() {
                self.last = Some(key.sequence);
                continue;
            }
            let state = view.state(key)?.map(|(_, state)| state).unwrap_or_default();
            let submission = std::sync::Arc::new(codec::read_submission(fields)?);
            self.look_at(key, Some(Job { submission, state }));
        }
        self.last = Some(block.first.sequence);
        Ok(())
    }

    /// The jobs that have a label, or share its entries.
    fn step_by_label(&mut self, view: View<'_>, label: &Label) -> Result<bool, ReadError> {
        let tenant = self.query.tenant;
        let end = JobKey { tenant, sequence: self.last.unwrap_or(Sequence(u64::MAX)) };
        let from = Bound::Included(keys::labeled(tenant, label));
        let started_at = self.looked_at;
        for entry in view.values.descending(from, Bound::Excluded(keys::label(end, label))) {
            let (_, key) =
                keys::label_entry(&entry?.0).ok_or_else(|| ReadError::Damaged("a label entry".to_owned()))?;
            if self.is_full() {
                self.page.next = self.last;
                return Ok(true);
            }
            if self.looked_at - started_at >= STEP_JOBS {
                return Ok(false);
            }
            self.look_at(key, view.job(key)?);
        }
        Ok(true)
    }

    /// All that the statuses ask for, of which the index has each in order.
    fn step_by_status(&mut self, view: View<'_>) -> Result<bool, ReadError> {
        let tenant = self.query.tenant;
        let end = self.last.map_or(u64::MAX, |last| last.0);
        let started_at = self.looked_at;
        let mut keys_of = HashMap::new();
        let mut newest: BinaryHeap<(u64, usize)> = BinaryHeap::new();
        for (place, status) in self.query.filter.statuses.iter().enumerate() {
            let mut sequences = sequences(view, tenant, *status, end);
            if let Some(first) = sequences.next().transpose()? {
                newest.push((first, place));
                keys_of.insert(place, sequences);
            }
        }
        let mut before = None;
        while let Some((sequence, place)) = newest.pop() {
            if let Some(next) = keys_of.get_mut(&place).and_then(Iterator::next).transpose()? {
                newest.push((next, place));
            }
            if before == Some(sequence) {
                continue;
            }
            if self.is_full() {
                self.page.next = self.last;
                return Ok(true);
            }
            if self.looked_at - started_at >= STEP_JOBS {
                return Ok(false);
            }
            before = Some(sequence);
            let key = JobKey { tenant, sequence: Sequence(sequence) };
            self.look_at(key, view.job(key)?);
        }
        Ok(true)
    }
}

/// The jobs of a status that are older than `end`, newest first.
fn sequences<'a>(
    view: View<'a>,
    tenant: TenantId,
    status: Status,
    end: u64,
) -> Box<dyn Iterator<Item = Result<u64, ReadError>> + 'a> {
    if status.state() == StateCode::Locked {
        let running = view.live.running.iter();
        let wanted = running.filter(|(key, state)| key.tenant == tenant && state.status == status);
        let mut found: Vec<_> = wanted.map(|(key, _)| key.sequence.0).filter(|sequence| *sequence < end).collect();
        found.sort_by_key(|sequence| Reverse(*sequence));
        return Box::new(found.into_iter().map(Ok));
    }
    let from = Bound::Included(keys::listed_status(tenant, status));
    let to = Bound::Excluded(keys::listed(JobKey { tenant, sequence: Sequence(end) }, status));
    Box::new(view.values.descending(from, to).map(|entry| {
        let sequence = keys::listed_sequence(&entry?.0);
        sequence.map(|sequence| sequence.0).ok_or_else(|| ReadError::Damaged("a listed entry".to_owned()))
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::change::Change;
    use crate::domain::code;
    use crate::domain::failure::{ErrorClass, Failure};
    use crate::domain::id::{JobId, PluginName};
    use crate::domain::job::{JobState, Submission};
    use crate::store::Store;
    use crate::store::sled::{SledSettings, SledStore};

    #[test]
    fn a_list_of_failures_says_when_it_has_not_counted_all() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let store = SledStore::open(SledSettings::new(directory.path())).expect("the store opens");
        let failed = |number: u64| {
            let on = Timestamp::from_millis(1);
            let plugin = PluginName::new("echo").expect("a name");
            let submission = Submission::new(JobId::new(on, Sequence(number), 7), plugin, on);
            let failure = Failure::host(ErrorClass::Fatal, code::HOST_FAULT, "no more paper");
            let state = JobState { status: Status::Failed, failure: Some(failure), ..JobState::default() };
            Change::Submit(Arc::new(submission), Box::new(state))
        };
        store.commit((1..=3).map(failed).collect()).wait().expect("there is room");
        let listed = |most| {
            let mut lister = FailureLister::new(TenantId::DEFAULT, most);
            while !store.view(|view| lister.step(view)).expect("it can be read") {}
            let FailureGroups { groups, is_incomplete } = lister.into_groups(9);
            (groups.iter().map(|group| group.count).collect::<Vec<_>>(), is_incomplete)
        };
        assert_eq!(listed(2), (vec![2], true));
        assert_eq!(listed(3), (vec![3], false), "all are counted where there are just as many as are looked at");
        assert_eq!(listed(4), (vec![3], false));
    }
}
