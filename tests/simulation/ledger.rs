//! The reference model: what was committed, in order, and what must hold of it. It hears every commit through the
//! store's feed and knows nothing of how the runtime came to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backroom::domain::admission::AdmissionPolicy;
use backroom::domain::change::Change;
use backroom::domain::id::{JobId, JobKey};
use backroom::domain::job::{JobState, JobType, Payload, Run, StateCode, Status, Submission, WaitReason};
use backroom::domain::schedule::Schedule;
use backroom::domain::time::Timestamp;
use backroom::store::Store;

use crate::bonds::Bonds;
use crate::starts::{Scope, Starts};
use crate::wishes;

/// Attempts, when the submit does not say; the policy that all plug-ins of the simulation have.
pub(crate) const MAX_ATTEMPTS: u32 = 4;

/// One job as the model knows it.
pub(crate) struct Record {
    pub(crate) submission: Arc<Submission>,
    /// Every state that it had, by revision.
    history: Vec<JobState>,
}

impl Record {
    pub(crate) fn state(&self) -> &JobState {
        self.history.last().expect("a job has a first state")
    }
}

/// What one commit did to one job: its new revision, or none when it was deleted.
type Entry = (JobKey, Option<u32>);

#[derive(Default)]
pub(crate) struct Ledger {
    records: BTreeMap<JobKey, Record>,
    deleted: BTreeMap<JobKey, Record>,
    /// Every commit, in order.
    log: Vec<Vec<Entry>>,
    /// What somebody was told: a power cut must not take it back.
    acknowledged: BTreeSet<Entry>,
    edges: BTreeSet<(u8, u8)>,
    legal: BTreeSet<(u8, u8)>,
    broken: Vec<String>,
    bonds: Bonds,
    starts: Starts,
    met: BTreeSet<&'static str>,
}

impl Ledger {
    pub(crate) fn new(policy: AdmissionPolicy) -> Self {
        let table = include_str!("../domain/transitions.csv").lines().skip(1);
        let edge = |line: &str| {
            let fields: Vec<&str> = line.split(',').collect();
            Some((fields.get(1)?.parse().ok()?, fields.get(4)?.parse().ok()?))
        };
        let legal = table.filter_map(edge).collect();
        Self { legal, starts: Starts::new(policy), ..Self::default() }
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = (JobKey, &Record)> {
        self.records.iter().map(|(key, record)| (*key, record))
    }

    pub(crate) fn record(&self, job: JobKey) -> Option<&Record> {
        self.records.get(&job)
    }

    pub(crate) fn edges(&self) -> BTreeSet<(u8, u8)> {
        self.edges.clone()
    }

    /// What of the rules about several jobs was met.
    pub(crate) fn met(&self) -> BTreeSet<&'static str> {
        self.met.union(&self.bonds.met).copied().collect()
    }

    pub(crate) fn meet(&mut self, what: &'static str) {
        self.met.insert(what);
    }

    /// Whether a person has paused the queue or the plug-in of a job.
    pub(crate) fn is_paused(&self, submission: &Submission) -> bool {
        Scope::of(submission).iter().any(|scope| self.starts.is_paused(scope))
    }

    /// Says what is wrong so far, if anything.
    pub(crate) fn check(&self) {
        assert!(self.broken.is_empty(), "\n{}\n", self.broken.join("\n"));
    }

    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    /// Takes a commit.
    pub(crate) fn observe(&mut self, changes: &[Change]) {
        let mut entries = Vec::new();
        for change in changes {
            match change {
                Change::Submit(submission, state) => {
                    entries.push((submission.key(), Some(state.revision)));
                    self.submitted(submission, state);
                }
                Change::Advance { job, expected, next, earlier_run } => {
                    entries.push((*job, Some(next.revision)));
                    self.advanced(*job, *expected, next, earlier_run.as_ref());
                }
                Change::Delete { job, .. } => {
                    entries.push((*job, None));
                    self.removed(*job);
                }
                other => self.starts.heard(other),
            }
        }
        self.check_consequences(changes);
        self.check_occurrences(changes);
        self.check_batches(changes);
        self.log.push(entries);
    }

    /// A batch that nobody calls off ends once all of its members have, and takes no more.
    fn check_batches(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Submit(submission, _) => {
                    let Some(batch) = submission.ties().batch else { continue };
                    let is_open = self.records.get(&wishes::key(batch)).is_some_and(|of| !of.state().status.is_final());
                    self.expect(is_open, || format!("{:?} joins a batch that has ended", submission.key()));
                }
                Change::Advance { job, next, .. } if matches!(next.status, Status::Succeeded | Status::Failed) => {
                    let Some(batch) = self.records.get(job).filter(|of| of.submission.job_type == JobType::BATCH)
                    else {
                        continue;
                    };
                    let id = Some(batch.submission.id);
                    let members = self.records.values().filter(|record| record.submission.ties().batch == id);
                    let left = members.filter(|record| !record.state().status.is_final()).count();
                    self.expect(left == 0, || format!("{job:?} ends before {left} of its members"));
                    self.met.insert("a batch ends after its members");
                }
                _ => {}
            }
        }
    }

    /// The job of an occurrence and the schedule that will not make it again are one commit, and no occurrence has two jobs.
    fn check_occurrences(&mut self, changes: &[Change]) {
        for change in changes {
            let Change::Submit(submission, _) = change else { continue };
            let Some(occurrence) = &submission.ties().occurrence else { continue };
            let goes_on =
                |change: &Change| change.row::<Schedule>().is_some_and(|next| next.name == occurrence.schedule);
            let is_told = changes.iter().any(goes_on);
            self.expect(is_told, || format!("{occurrence:?} has a job, and its schedule does not know"));
            let all = self.records.values().chain(self.deleted.values());
            let jobs = all.filter(|record| record.submission.ties().occurrence.as_ref() == Some(occurrence)).count();
            self.expect(jobs == 1, || format!("{occurrence:?} has {jobs} jobs"));
            self.met.insert("a schedule makes a job");
        }
    }

    /// What follows from an end is in the commit of that end, and nothing else is.
    fn check_consequences(&mut self, changes: &[Change]) {
        for change in changes {
            let Change::Advance { job, next, .. } = change else { continue };
            let gone = |change: &Change| matches!(change, Change::Delete { job: gone, .. } if gone == job);
            let is_deleted = changes.iter().any(gone);
            let Some(record) = self.records.get(job).or_else(|| self.deleted.get(job)) else { continue };
            let submission = Arc::clone(&record.submission);
            let is_counted = submission.ties().batch.is_some();
            let must_go = submission.auto_delete && !is_counted && next.status == Status::Succeeded;
            self.expect(is_deleted == must_go, || {
                format!("{job:?} ends as {}, and deleting it with that end is {is_deleted}", next.status)
            });
            let followers = changes.iter().filter(|change| follows(change, &submission)).count();
            let wanted = usize::from(next.status.is_final() && submission.ties().on_complete.is_some());
            self.expect(followers == wanted, || {
                format!("{job:?} becomes {}, and {followers} jobs follow it in that commit", next.status)
            });
            if must_go {
                self.met.insert("a job goes with its success");
            }
            if wanted > 0 {
                self.met.insert("a job follows another");
            }
        }
    }

    /// Each job that ended is followed once, if it asked for that, and no other is.
    pub(crate) fn check_followers(&mut self) {
        let mut followers: BTreeMap<String, usize> = BTreeMap::new();
        for record in self.records.values().chain(self.deleted.values()) {
            if let Some(followed) = followed_by(&record.submission) {
                *followers.entry(followed).or_default() += 1;
            }
        }
        let mut wrong = Vec::new();
        for (job, record) in self.records.iter().chain(&self.deleted) {
            let asks = record.submission.ties().on_complete.is_some();
            let wanted = usize::from(asks && record.state().status.is_final());
            let found = followers.remove(&record.submission.id.to_string()).unwrap_or(0);
            if found != wanted {
                wrong.push(format!("{job:?} is {} and has {found} followers", record.state().status));
            }
        }
        if !followers.is_empty() {
            wrong.push(format!("these follow nobody: {followers:?}"));
        }
        self.broken.extend(wrong);
    }

    /// A job starts: no more of its queue and plug-in may run at a time, or start in a time, than is allowed.
    fn check_start(&mut self, submission: &Submission, next: &JobState) {
        let host = self.starts.host;
        if next.lease.is_none_or(|lease| lease.host != host) {
            // A host that was taken over: what it starts, it will not end.
            return;
        }
        for scope in Scope::of(submission) {
            let runs = |record: &&Record| {
                let holds = record.state().lease.is_some_and(|lease| lease.host == host);
                holds && Scope::of(&record.submission).contains(&scope)
            };
            let running = self.records.values().filter(runs).count();
            let wrong = self.starts.started(&scope, running, next.run_started_on.unwrap_or_default());
            self.broken.extend(wrong);
        }
    }

    fn submitted(&mut self, submission: &Arc<Submission>, state: &JobState) {
        let key = submission.key();
        let is_new = !self.records.contains_key(&key) && !self.deleted.contains_key(&key);
        self.expect(is_new, || format!("{key:?} is given out twice"));
        self.expect(state.revision == 0 && state.runs == 0, || format!("{key:?} is not new: {state:?}"));
        self.hold(submission, state);
        self.broken.extend(self.bonds.submitted(submission, state));
        let record = Record { submission: Arc::clone(submission), history: vec![state.clone()] };
        self.records.insert(key, record);
    }

    fn removed(&mut self, job: JobKey) {
        let Some(record) = self.records.remove(&job) else {
            self.broken.push(format!("{job:?} is deleted, but is not there"));
            return;
        };
        let status = record.state().status;
        self.expect(status.is_final(), || format!("{job:?} is deleted while it is {status}"));
        self.bonds.deleted(job);
        self.deleted.insert(job, record);
    }

    fn advanced(&mut self, job: JobKey, expected: u32, next: &JobState, earlier_run: Option<&Run>) {
        let Some(record) = self.records.get(&job) else {
            self.broken.push(format!("{job:?} changes, but is not there"));
            return;
        };
        let (submission, before) = (Arc::clone(&record.submission), record.state().clone());
        self.expect(before.revision == expected && next.revision == expected + 1, || {
            format!("{job:?}: revision {} follows {} (expected {expected})", next.revision, before.revision)
        });
        self.step(job, &before, next, earlier_run);
        self.hold(&submission, next);
        self.broken.extend(self.bonds.advanced(job, next));
        if let Some(record) = self.records.get_mut(&job) {
            record.history.push(next.clone());
        }
        if next.status == Status::Running {
            self.check_start(&submission, next);
        }
    }

    /// What must hold between a state and the next.
    fn step(&mut self, job: JobKey, before: &JobState, next: &JobState, earlier_run: Option<&Run>) {
        let edge = (before.status.code(), next.status.code());
        self.edges.insert(edge);
        let is_legal = self.legal.contains(&edge);
        self.expect(is_legal, || format!("{job:?}: the table has no way from {} to {}", before.status, next.status));
        let claimed = u32::from(next.status == Status::Running);
        self.expect(next.fence == before.fence + claimed, || format!("I5, {job:?}: fence {}", next.fence));
        self.expect(next.runs == before.runs + claimed, || format!("I11, {job:?}: runs {}", next.runs));
        let ended = before.status.is_locked() && !next.status.is_locked();
        let (last, former) = (next.last_run.as_ref(), before.last_run.as_ref());
        if !ended {
            self.expect(last == former && earlier_run.is_none(), || format!("{job:?}: a run is closed out of turn"));
            return;
        }
        let holder = before.lease.map(|lease| lease.host);
        let closes_its_own = last.is_some_and(|run| Some(run.host) == holder && run.number == before.runs);
        self.expect(closes_its_own, || format!("I11, {job:?}: run {} of {holder:?} ends as {last:?}", before.runs));
        self.expect(earlier_run == former, || format!("I11, {job:?}: a run is lost or doubled: {earlier_run:?}"));
        let signed_by = last.map_or(0, |run| run.usage.host_calls);
        let is_own = signed_by == 0 || signed_by == u64::from(before.runs);
        self.expect(is_own, || format!("promise 5, {job:?}: run {signed_by} ends run {}", before.runs));
        let billed = next.usage().fuel == before.usage().fuel + last.map_or(0, |run| run.usage.fuel);
        self.expect(billed, || format!("{job:?}: the bill is not the sum of the runs"));
    }

    /// What must hold of one state (domain.md 3.4).
    fn hold(&mut self, submission: &Submission, state: &JobState) {
        let job = submission.key();
        let status = state.status;
        let locked = status.is_locked();
        let timed = status == Status::Retrying || state.wait_reason.is_some_and(WaitReason::is_timed);
        let started_in_time = state.started_on.is_none_or(|on| submission.created_on <= on);
        let ended_in_time = state.completed_on.is_none_or(|on| state.started_on.is_none_or(|start| start <= on));
        let max_attempts = submission.max_attempts.unwrap_or(MAX_ATTEMPTS);
        let rules = [
            ("I1", status.state() as u8 == status.code() / 10),
            ("I2", locked == state.lease.is_some() && locked == state.run_started_on.is_some()),
            ("I3", (status.state() == StateCode::Completed) == state.completed_on.is_some()),
            ("I4", started_in_time && ended_in_time),
            ("I8", state.attempt <= max_attempts),
            ("I9", !(locked && state.postpone_until.is_some())),
            ("I10", timed == state.postpone_until.is_some()),
            ("I11", state.runs >= state.attempt),
            ("a wait has a reason", (status == Status::Waiting) == state.wait_reason.is_some()),
        ];
        for (rule, holds) in rules {
            self.expect(holds, || format!("{rule}, {job:?}: {state:?}"));
        }
    }

    /// Somebody was told that this revision of a job stands, or that the job is gone.
    pub(crate) fn acknowledge(&mut self, job: JobKey, revision: Option<u32>) {
        let known = match revision {
            Some(revision) => self.log.iter().flatten().any(|entry| *entry == (job, Some(revision))),
            None => self.deleted.contains_key(&job),
        };
        self.expect(known, || format!("{job:?}: revision {revision:?} was acknowledged, but never committed"));
        self.acknowledged.insert((job, revision));
    }

    /// Somebody was told that the end of a run stands: the first state after that run, unless it was taken away.
    pub(crate) fn acknowledge_end(&mut self, job: JobKey, fence: u32) {
        let Some(record) = self.records.get(&job).or_else(|| self.deleted.get(&job)) else { return };
        let ended = record.history.iter().find(|state| state.fence == fence && !state.status.is_locked());
        let revision = ended.map(|state| state.revision);
        let overtaken = record.state().fence > fence;
        self.expect(revision.is_some() || overtaken, || format!("{job:?}: run {fence} was settled, but has no end"));
        if let Some(revision) = revision {
            self.acknowledged.insert((job, Some(revision)));
        }
    }

    /// Compares with what a store holds after it came back, and goes on from there: it must be a beginning of what was
    /// committed, with everything that somebody was told.
    pub(crate) fn came_back(&mut self, store: &dyn Store) {
        let stored = |job: JobKey| store.job(job).expect("memory can be read");
        let mut revisions: BTreeMap<JobKey, u32> = BTreeMap::new();
        let mut wanted: BTreeMap<JobKey, u32> = BTreeMap::new();
        for job in self.records.keys().chain(self.deleted.keys()) {
            wanted.extend(stored(*job).map(|found| (*job, found.state.revision)));
        }
        let mut kept = (wanted.is_empty()).then_some(0);
        for (index, entries) in (1..).zip(&self.log) {
            for (job, revision) in entries {
                match revision {
                    Some(revision) => revisions.insert(*job, *revision),
                    None => revisions.remove(job),
                };
            }
            if revisions == wanted {
                kept = Some(index);
            }
        }
        let Some(kept) = kept else {
            self.broken.push(format!("what came back is no beginning of what was committed: {wanted:?}"));
            return;
        };
        self.log.truncate(kept);
        let surviving: BTreeSet<Entry> = self.log.iter().flatten().copied().collect();
        let lost: Vec<_> = self.acknowledged.iter().filter(|entry| !surviving.contains(entry)).collect();
        if !lost.is_empty() {
            self.broken.push(format!("acknowledged, but lost: {lost:?}"));
        }
        self.forget_the_lost(&wanted);
        self.bind_again();
        self.check_followers();
        self.starts.forget_pauses();
        for queue in store.queues().expect("memory can be read") {
            self.starts.pause(Scope::Queue(queue.name), queue.pause.is_some());
        }
        for plugin in store.plugins().expect("memory can be read") {
            self.starts.pause(Scope::Plugin(plugin.name), plugin.pause.is_some());
        }
        for (job, record) in &self.records {
            let found = stored(*job).map(|found| found.state);
            if found.as_ref() != Some(record.state()) {
                self.broken.push(format!("{job:?} came back as {found:?}, not as {:?}", record.state()));
            }
        }
    }

    /// Goes through all that is left once more.
    fn bind_again(&mut self) {
        let met = std::mem::take(&mut self.bonds).met;
        self.met.extend(met);
        let mut bonds = Bonds::default();
        for (job, revision) in self.log.iter().flatten() {
            let Some(record) = self.records.get(job).or_else(|| self.deleted.get(job)) else { continue };
            let state = revision.and_then(|revision| record.history.get(revision as usize));
            let wrong = match (revision, state) {
                (Some(0), Some(state)) => bonds.submitted(&record.submission, state),
                (Some(_), Some(state)) => bonds.advanced(*job, state),
                _ => {
                    bonds.deleted(*job);
                    Vec::new()
                }
            };
            self.broken.extend(wrong);
        }
        self.bonds = bonds;
    }

    fn forget_the_lost(&mut self, wanted: &BTreeMap<JobKey, u32>) {
        let deleted = std::mem::take(&mut self.deleted);
        let gone: BTreeSet<JobKey> = self.log.iter().flatten().filter(|entry| entry.1.is_none()).map(|e| e.0).collect();
        for (job, record) in deleted {
            if gone.contains(&job) {
                self.deleted.insert(job, record);
            } else {
                self.records.insert(job, record);
            }
        }
        self.records.retain(|job, _| wanted.contains_key(job));
        for (job, record) in &mut self.records {
            record.history.truncate(wanted.get(job).map_or(0, |revision| *revision as usize + 1));
        }
    }

    /// Promise 7: right after a restart nothing is held by a dead host, and what was interrupted for the first time may
    /// run at once.
    pub(crate) fn check_recovered(&mut self, now: Timestamp) {
        let mut broken = Vec::new();
        for (job, record) in &self.records {
            let state = record.state();
            if state.status.is_locked() {
                broken.push(format!("promise 7, {job:?}: still {} after a restart", state.status));
            }
            let interrupted_first = state.status == Status::Retrying && state.crashes == 1 && state.same_attempt;
            let just_now = state.last_run.as_ref().is_some_and(|run| run.ended_on == now && run.failure.is_some());
            let by_crash =
                state.last_run.as_ref().is_some_and(|run| run.end == backroom::domain::job::RunEnd::LeaseLost);
            if interrupted_first && just_now && by_crash && state.postpone_until > Some(now) {
                broken.push(format!("promise 7, {job:?}: waits until {:?}", state.postpone_until));
            }
        }
        self.broken.extend(broken);
    }
}

/// The job whose end this one tells of, if it was made for that, and not to tell of it again.
fn followed_by(submission: &Submission) -> Option<String> {
    if submission.ties().retry_of.is_some() {
        return None;
    }
    let Payload::Inline(input) = &submission.input else { return None };
    let told: serde_json::Value = serde_json::from_slice(input).ok()?;
    Some(told.get("job")?.as_str()?.to_owned())
}

/// Whether a change submits what follows a job, in its chain and one step deeper.
fn follows(change: &Change, ended: &Submission) -> bool {
    let Change::Submit(submission, _) = change else { return false };
    let chain: JobId = ended.correlation_id.unwrap_or(ended.id);
    followed_by(submission) == Some(ended.id.to_string())
        && submission.correlation_id == Some(chain)
        && submission.depth == ended.depth + 1
}
