//! Reading jobs: single ones, those that wait to run, and lists.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Bound;

use super::codec;
use super::keys::{self, ReadyKind};
use super::live::{Block, View};
use crate::domain::id::{JobKey, QueueName, Sequence, TenantId};
use crate::domain::job::{Job, Run, StateCode, Status};
use crate::domain::query::{JobQuery, Page};
use crate::domain::time::Timestamp;
use crate::store::ReadError;

/// How many jobs one query looks at.
pub(super) const LOOKED_AT_MAX: usize = 20_000;

/// The closed runs of a job.
pub(super) fn runs(view: View<'_>, job: JobKey) -> Result<Vec<Run>, ReadError> {
    if view.find(job)?.is_none() {
        return Ok(Vec::new());
    }
    let mut runs = Vec::new();
    for entry in view.values.starting(&keys::runs(job)) {
        let (key, value) = entry?;
        runs.push(codec::decode("a run", &view.values.whole(&key, value)?)?);
    }
    runs.extend(view.state(job)?.and_then(|(_, state)| state.last_run));
    Ok(runs)
}

/// Jobs of status 0 in the order in which they should start.
pub(super) fn ready(view: View<'_>, queue: &QueueName, limit: usize) -> Result<Vec<Job>, ReadError> {
    let mut jobs = Vec::new();
    // Jobs of a block and single ones interleave: one goes out when nothing before it can follow.
    let mut next: BinaryHeap<Reverse<(u64, TenantId)>> = BinaryHeap::new();
    let mut priority = i8::MAX;
    for entry in view.values.starting(&keys::ready_queue(queue)) {
        let (key, _) = entry?;
        let entry = keys::ready_entry(&key).ok_or_else(|| ReadError::Damaged("a ready entry".to_owned()))?;
        let is_behind =
            |job: (u64, TenantId)| entry.priority < priority || job < (entry.job.sequence.0, entry.job.tenant);
        while jobs.len() < limit && next.peek().is_some_and(|Reverse(job)| is_behind(*job)) {
            next.pop().map(|Reverse(job)| take(view, job, &mut jobs)).transpose()?;
        }
        if jobs.len() >= limit {
            return Ok(jobs);
        }
        priority = entry.priority;
        match entry.kind {
            ReadyKind::Single => next.push(Reverse((entry.job.sequence.0, entry.job.tenant))),
            ReadyKind::Block => next.extend(fresh_jobs(view, entry.job)?.map(Reverse)),
        }
    }
    while jobs.len() < limit {
        let Some(Reverse(job)) = next.pop() else { break };
        take(view, job, &mut jobs)?;
    }
    Ok(jobs)
}

fn take(view: View<'_>, (sequence, tenant): (u64, TenantId), jobs: &mut Vec<Job>) -> Result<(), ReadError> {
    jobs.extend(view.job(JobKey { tenant, sequence: Sequence(sequence) })?);
    Ok(())
}

fn fresh_jobs(view: View<'_>, first: JobKey) -> Result<impl Iterator<Item = (u64, TenantId)>, ReadError> {
    let fresh = match view.live.fresh.get(&first) {
        Some(fresh) => Some(fresh.clone()),
        None => match view.block(first)? {
            Some(block) => view.fresh(&block)?,
            None => None,
        },
    };
    let mask = fresh.map_or(0, |fresh| fresh.mask);
    let members = (0..16_u64).filter(move |index| mask & 1 << index != 0);
    Ok(members.map(move |index| (first.sequence.0 + index, first.tenant)))
}

/// Locked jobs, in the order of their keys.
pub(super) fn locked(view: View<'_>) -> Result<Vec<Job>, ReadError> {
    let mut keys: Vec<_> = view.live.running.keys().copied().collect();
    keys.sort();
    let jobs = keys.into_iter().map(|key| view.job(key));
    jobs.filter_map(Result::transpose).collect()
}

/// Suspended jobs whose time has come by `now`, earliest first.
pub(super) fn due(view: View<'_>, now: Timestamp, limit: usize) -> Result<Vec<Job>, ReadError> {
    let timers = view.values.ascending(Bound::Included(vec![keys::TIMER]), Bound::Excluded(keys::timers_until(now)));
    let mut jobs = Vec::new();
    for entry in timers.take(limit) {
        let (_, key) = keys::timer_entry(&entry?.0).ok_or_else(|| ReadError::Damaged("a timer entry".to_owned()))?;
        jobs.extend(view.job(key)?);
    }
    Ok(jobs)
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
        let statuses = &self.query.filter.statuses;
        let is_indexed = |status: &Status| keys::is_listed(*status) || status.is_locked();
        match !statuses.is_empty() && statuses.iter().all(is_indexed) {
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
