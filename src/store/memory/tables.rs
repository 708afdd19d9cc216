//! What the memory store holds: ordered maps and the indexes over them.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::Arc;

use crate::domain::change::Change;
use crate::domain::dependencies::{self, Bond, Ended, KeyMark, Release};
use crate::domain::family::{Family, Row as _, RowKey, SharedRow};
use crate::domain::id::{DedupKey, HostId, JobId, JobKey, OrderingKey, PluginName, ScheduleName, Sequence, TenantId};
use crate::domain::job::{BrokenKey, Job, JobState, Predecessors, Rank, Run, StateCode, Status, due_on};
use crate::domain::query::{Counts, FailureGroup, JobQuery, Label, Page};
use crate::domain::queue::{Lane, LaneDepth};
use crate::domain::time::Timestamp;
use crate::store::RUNS_READ_MAX;
use crate::store::frozen::WholeJob;
use crate::store::guard::Facts;
use crate::store::rows::Rows;
use crate::stored::Registry;

/// How many jobs one query looks at.
const LOOKED_AT_MAX: usize = 20_000;

/// Everything that a store remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    jobs: BTreeMap<JobKey, Job>,
    runs: BTreeMap<JobKey, BTreeMap<u32, Run>>,
    /// Those that may start.
    ready: BTreeMap<Lane, BTreeSet<(Rank, Sequence)>>,
    /// The unfinished jobs of each ordering key.
    keyed: BTreeMap<(TenantId, OrderingKey), BTreeSet<Sequence>>,
    /// The unfinished jobs that name one in `after`, by that one.
    dependents: BTreeSet<(JobKey, JobKey)>,
    dedup: BTreeMap<(TenantId, DedupKey), JobKey>,
    /// The unfinished jobs of each schedule.
    occurring: BTreeSet<(TenantId, ScheduleName, Sequence)>,
    labels: BTreeSet<(TenantId, Label, Sequence)>,
    batches: BTreeMap<(TenantId, Sequence), Counts>,
    due: BTreeSet<(Timestamp, JobKey)>,
    locked: BTreeSet<JobKey>,
    counts: BTreeMap<(TenantId, PluginName), Counts>,
    /// Everything beside jobs.
    rows: Rows,
    host: HostId,
}

fn due_of(job: &Job) -> Option<Timestamp> {
    due_on(job.state.status, job.state.postpone_until, job.submission.expires_on)
}

impl Tables {
    /// Nothing yet, with rows of these families.
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { rows: Rows::new(registry), ..Self::default() }
    }

    /// The rows.
    pub(super) fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Writes a commit whose guards have been checked. Returns the jobs that wait for no other any more.
    pub(super) fn apply(&mut self, changes: &[Change]) -> Vec<JobKey> {
        let mut released = Vec::new();
        changes.iter().for_each(|change| self.apply_one(change, &mut released));
        released
    }

    fn apply_one(&mut self, change: &Change, released: &mut Vec<JobKey>) {
        match change {
            Change::Submit(submission, state) => {
                let job = Job { submission: Arc::clone(submission), state: (**state).clone() };
                self.bind(&job);
                self.index(&job);
                self.jobs.insert(submission.key(), job);
            }
            Change::Advance { job, next, earlier_run, .. } => {
                if let Some(run) = earlier_run {
                    self.runs.entry(*job).or_default().insert(run.number, run.clone());
                }
                self.advance(*job, next, released);
            }
            Change::Delete { job, .. } => {
                if let Some(gone) = self.jobs.remove(job) {
                    self.unindex(&gone);
                }
                self.runs.remove(job);
                self.rows.remove_of_job(*job);
            }
            Change::Put(row) | Change::Load(row) => self.rows.write(row),
            Change::Remove { family, key, .. } => self.rows.remove(family, key),
            Change::StartHost(host) => self.host = self.host.max(*host),
        }
    }

    fn advance(&mut self, key: JobKey, next: &JobState, released: &mut Vec<JobKey>) {
        let Some(mut job) = self.jobs.remove(&key) else { return };
        self.unindex(&job);
        let ends = next.status.is_final() && !job.state.status.is_final();
        job.state = next.clone();
        if ends {
            let successors = self.unbind(&job);
            released.extend(successors.into_iter().filter(|successor| self.release(*successor)));
        }
        self.index(&job);
        self.jobs.insert(key, job);
    }

    /// Notes what an unfinished job is bound to.
    fn bind(&mut self, job: &Job) {
        if job.state.status.is_final() {
            return;
        }
        let (key, ties) = (job.submission.key(), job.submission.ties());
        for bond in dependencies::bonds(key, ties) {
            match bond {
                Bond::Ordered(ordering) => {
                    self.keyed.entry((key.tenant, ordering.clone())).or_default().insert(key.sequence);
                }
                Bond::After(named) => drop(self.dependents.insert((named, key))),
                Bond::Dedup(dedup) => drop(self.dedup.insert((key.tenant, dedup.clone()), key)),
                Bond::Scheduled(schedule) => drop(self.occurring.insert((key.tenant, schedule.clone(), key.sequence))),
            }
        }
    }

    /// Forgets what a job that has just ended was bound to. Returns those that may have waited for it.
    fn unbind(&mut self, job: &Job) -> Vec<JobKey> {
        let (key, ties) = (job.submission.key(), job.submission.ties());
        let Ok(Ended { mark, successors }) = dependencies::ended(key, Some(ties), job.state.status, self);
        match mark {
            Some(KeyMark::Broken(ordering)) => {
                self.rows.put(&(Arc::new(BrokenKey { job: key, key: ordering.clone() }) as SharedRow));
            }
            Some(KeyMark::Whole(ordering)) => {
                self.rows.remove(BrokenKey::ROWS, &BrokenKey::key_of(key.tenant, ordering));
            }
            None => {}
        }
        for bond in dependencies::bonds(key, ties) {
            match bond {
                Bond::Ordered(ordering) => self.leave_key((key.tenant, ordering.clone()), key.sequence),
                Bond::After(named) => drop(self.dependents.remove(&(named, key))),
                Bond::Dedup(dedup) => drop(self.dedup.remove(&(key.tenant, dedup.clone()))),
                Bond::Scheduled(schedule) => drop(self.occurring.remove(&(key.tenant, schedule.clone(), key.sequence))),
            }
        }
        successors
    }

    fn leave_key(&mut self, key: (TenantId, OrderingKey), job: Sequence) {
        let Some(unfinished) = self.keyed.get_mut(&key) else { return };
        unfinished.remove(&job);
        if unfinished.is_empty() {
            self.keyed.remove(&key);
        }
    }

    /// Makes a job ready to start if it is queued and waits for no other.
    fn release(&mut self, key: JobKey) -> bool {
        let Some(job) = self.jobs.get(&key) else { return false };
        let (state, ties) = (&job.state, job.submission.ties());
        let Ok(release) = dependencies::release(key, state.status, state.wait_reason, ties, self);
        match release {
            Release::None => false,
            Release::Members => true,
            Release::Ready => self.ready.entry(Lane::of(&job.submission)).or_default().insert(ready_place(job)),
        }
    }

    fn waits(&self, job: &Job) -> bool {
        let Ok(waits) = dependencies::waits(job.submission.key(), job.submission.ties(), self);
        waits
    }

    fn count(&mut self, job: &Job, change: impl Fn(&mut Counts)) {
        let key = job.submission.key();
        let counted = (key.tenant, job.submission.plugin.clone());
        change_counts(&mut self.counts, counted, &change);
        if let Some(batch) = job.submission.ties().batch {
            change_counts(&mut self.batches, (key.tenant, batch.sequence()), &change);
        }
    }

    fn index(&mut self, job: &Job) {
        let key = job.submission.key();
        self.count(job, |counts| counts.add(job.state.status));
        let labels = Label::of(&job.submission, &job.state);
        self.labels.extend(labels.into_iter().map(|label| (key.tenant, label, key.sequence)));
        match job.state.status.state() {
            StateCode::Ready => {
                self.due.extend(due_of(job).map(|due| (due, key)));
                if !self.waits(job) {
                    self.ready.entry(Lane::of(&job.submission)).or_default().insert(ready_place(job));
                }
            }
            StateCode::Suspended => {
                self.due.extend(due_of(job).map(|due| (due, key)));
            }
            StateCode::Locked => {
                self.locked.insert(key);
            }
            StateCode::Completed => {}
        }
    }

    fn unindex(&mut self, job: &Job) {
        let key = job.submission.key();
        self.count(job, |counts| counts.remove(job.state.status));
        for label in Label::of(&job.submission, &job.state) {
            self.labels.remove(&(key.tenant, label, key.sequence));
        }
        let lane = Lane::of(&job.submission);
        if let Some(ready) = self.ready.get_mut(&lane) {
            ready.remove(&ready_place(job));
            if ready.is_empty() {
                self.ready.remove(&lane);
            }
        }
        if let Some(due) = due_of(job) {
            self.due.remove(&(due, key));
        }
        self.locked.remove(&key);
    }

    pub(super) fn job(&self, key: JobKey) -> Option<Job> {
        self.jobs.get(&key).cloned()
    }

    /// The closed runs: the rows of their own, then the last one, which stands in the state.
    pub(super) fn runs(&self, key: JobKey) -> Vec<Run> {
        let last = self.jobs.get(&key).and_then(|job| job.state.last_run.clone());
        let earlier: Vec<_> = self.runs.get(&key).into_iter().flat_map(BTreeMap::values).collect();
        let left_out = earlier.len().saturating_sub(RUNS_READ_MAX - 1);
        earlier.into_iter().skip(left_out).cloned().chain(last).collect()
    }

    pub(super) fn page(&self, query: &JobQuery) -> Page {
        let tenant = query.tenant;
        let first = JobKey { tenant, ..JobKey::default() };
        let end = match query.before {
            Some(sequence) => JobKey { tenant, sequence },
            None => JobKey { tenant, sequence: Sequence(u64::MAX) },
        };
        let mut page = Page::default();
        if end <= first || query.limit == 0 {
            return page;
        }
        let mut older = self.older(query, first, end).peekable();
        let mut looked_at = 0;
        while let Some(job) = older.next() {
            looked_at += 1;
            if query.filter.matches(job) {
                page.jobs.push(job.clone());
            }
            if page.jobs.len() >= query.limit || looked_at == LOOKED_AT_MAX {
                page.next = older.peek().map(|_| job.submission.key().sequence);
                break;
            }
        }
        page
    }

    /// The jobs that a query has to look at, newest first.
    fn older(&self, query: &JobQuery, first: JobKey, end: JobKey) -> Box<dyn Iterator<Item = &Job> + '_> {
        let Some(label) = query.filter.label() else {
            return Box::new(self.jobs.range(first..end).rev().map(|(_, job)| job));
        };
        let place = |sequence| (query.tenant, label.clone(), sequence);
        let labeled = self.labels.range(place(first.sequence)..place(end.sequence)).rev();
        let key = |(tenant, _, sequence): &(TenantId, Label, Sequence)| JobKey { tenant: *tenant, sequence: *sequence };
        Box::new(labeled.filter_map(move |place| self.jobs.get(&key(place))))
    }

    pub(super) fn oldest(&self, from: JobKey, limit: usize) -> Vec<Job> {
        self.jobs.range(from..).take(limit).map(|(_, job)| job.clone()).collect()
    }

    pub(super) fn lanes(&self, behind: Option<&Lane>, limit: usize) -> Vec<Lane> {
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        self.ready.range((from, Bound::Unbounded)).take(limit).map(|(lane, _)| lane.clone()).collect()
    }

    pub(super) fn ready(&self, lane: &Lane, limit: usize) -> Vec<Job> {
        let places = self.ready.get(lane).into_iter().flatten().take(limit);
        places.filter_map(|(_, sequence)| self.job(JobKey { tenant: lane.tenant, sequence: *sequence })).collect()
    }

    pub(super) fn depth(&self, lane: &Lane, most: usize) -> LaneDepth {
        let mut depth = LaneDepth::default();
        self.ready.get(lane).into_iter().flatten().take(most).for_each(|(_, sequence)| depth.add(*sequence));
        depth
    }

    pub(super) fn predecessors(&self, key: JobKey) -> Predecessors {
        let Some(job) = self.jobs.get(&key) else { return Predecessors::default() };
        let Ok(predecessors) = dependencies::predecessors(key, job.submission.ties(), self);
        predecessors
    }

    pub(super) fn dedup_holder(&self, tenant: TenantId, key: &DedupKey) -> Option<JobKey> {
        self.dedup.get(&(tenant, key.clone())).copied()
    }

    pub(super) fn unfinished_of(&self, tenant: TenantId, schedule: &ScheduleName, limit: usize) -> Vec<JobKey> {
        let at = |sequence| (tenant, schedule.clone(), Sequence(sequence));
        let those = self.occurring.range(at(0)..=at(u64::MAX)).take(limit);
        those.map(|(tenant, _, sequence)| JobKey { tenant: *tenant, sequence: *sequence }).collect()
    }

    pub(super) fn batch(&self, tenant: TenantId, batch: JobId) -> Counts {
        self.batches.get(&(tenant, batch.sequence())).copied().unwrap_or_default()
    }

    pub(super) fn failures(&self, tenant: TenantId, limit: usize) -> Vec<FailureGroup> {
        let mut groups: BTreeMap<_, FailureGroup> = BTreeMap::new();
        for (owner, label, sequence) in &self.labels {
            if let (true, Label::Failure(fingerprint)) = (*owner == tenant, label) {
                let group = groups.entry(*fingerprint);
                group.or_insert(FailureGroup::new(*fingerprint, *sequence)).add(*sequence);
            }
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.newest));
        groups.truncate(limit);
        groups
    }

    pub(super) fn locked(&self) -> Vec<Job> {
        self.locked.iter().filter_map(|key| self.job(*key)).collect()
    }

    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<Job> {
        let come = self.due.iter().take_while(|(until, _)| *until <= now);
        come.take(limit).filter_map(|(_, key)| self.job(*key)).collect()
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(until, _)| *until)
    }

    pub(super) fn counts(&self, tenant: TenantId) -> Vec<(PluginName, Counts)> {
        let of_tenant = self.counts.iter().filter(|((owner, _), _)| *owner == tenant);
        of_tenant.map(|((_, plugin), counts)| (plugin.clone(), *counts)).collect()
    }

    pub(super) fn host(&self) -> HostId {
        self.host
    }

    pub(super) fn last_sequence(&self) -> Sequence {
        self.jobs.keys().map(|job| job.sequence).max().unwrap_or_default()
    }

    pub(super) fn job_count(&self) -> u64 {
        self.jobs.len() as u64
    }

    /// At most `limit` jobs behind `seen`.
    pub(super) fn whole_jobs(&self, seen: Option<JobKey>, limit: usize) -> Vec<WholeJob> {
        let from = seen.map_or(Bound::Unbounded, Bound::Excluded);
        let whole = |(key, job): (&JobKey, &Job)| WholeJob {
            job: job.clone(),
            earlier_runs: self.runs.get(key).into_iter().flat_map(BTreeMap::values).cloned().collect(),
            rows: self.rows.of_job(*key),
        };
        self.jobs.range((from, Bound::Unbounded)).take(limit).map(whole).collect()
    }

    /// Every row but those that go with a job.
    pub(super) fn all_rows(&self) -> Vec<SharedRow> {
        let families = self.rows.registry().families().filter(|family| !family.goes_with_job());
        families.flat_map(|family| self.rows.all_of(family)).collect()
    }
}

impl Facts for Tables {
    type Error = Infallible;

    fn job_revision(&mut self, job: JobKey) -> Result<Option<u32>, Infallible> {
        Ok(self.jobs.get(&job).map(|job| job.state.revision))
    }

    fn row(&mut self, family: &'static Family, key: &RowKey) -> Result<Option<SharedRow>, Infallible> {
        Ok(self.rows.row(family, key).cloned())
    }

    fn count(&mut self, family: &'static Family, tenant: TenantId) -> Result<usize, Infallible> {
        Ok(self.rows.count(family, tenant))
    }

    fn dedup_holder(&mut self, tenant: TenantId, key: &DedupKey) -> Result<Option<JobKey>, Infallible> {
        Ok(Self::dedup_holder(self, tenant, key))
    }
}

impl dependencies::Facts for Tables {
    type Error = Infallible;

    fn status(&self, job: JobKey) -> Result<Option<Status>, Infallible> {
        Ok(self.jobs.get(&job).map(|job| job.state.status))
    }

    fn oldest_of(
        &self,
        tenant: TenantId,
        key: &OrderingKey,
        behind: Option<JobKey>,
    ) -> Result<Option<JobKey>, Infallible> {
        let unfinished = self.keyed.get(&(tenant, key.clone()));
        let from = behind.map_or(Bound::Unbounded, |behind| Bound::Excluded(behind.sequence));
        let oldest = unfinished.and_then(|jobs| jobs.range((from, Bound::Unbounded)).next());
        Ok(oldest.map(|sequence| JobKey { tenant, sequence: *sequence }))
    }

    fn broken_by(&self, tenant: TenantId, key: &OrderingKey) -> Result<Option<JobKey>, Infallible> {
        let mark = self.rows.row(BrokenKey::ROWS, &BrokenKey::key_of(tenant, key));
        Ok(mark.and_then(|mark| mark.of::<BrokenKey>()).map(|mark| mark.job))
    }

    fn dependents(&self, job: JobKey) -> Result<Vec<JobKey>, Infallible> {
        let last = JobKey { tenant: TenantId(u32::MAX), sequence: Sequence(u64::MAX) };
        Ok(self.dependents.range((job, JobKey::default())..=(job, last)).map(|(_, waiting)| *waiting).collect())
    }

    fn members(&self, batch: JobKey) -> Result<Counts, Infallible> {
        Ok(self.batches.get(&(batch.tenant, batch.sequence)).copied().unwrap_or_default())
    }
}

fn change_counts<K: Ord + Clone>(all: &mut BTreeMap<K, Counts>, key: K, change: &impl Fn(&mut Counts)) {
    let counts = all.entry(key.clone()).or_default();
    change(counts);
    if *counts == Counts::default() {
        all.remove(&key);
    }
}

fn ready_place(job: &Job) -> (Rank, Sequence) {
    (job.submission.rank(), job.submission.key().sequence)
}
