//! The reference model of what binds jobs to each other (domain.md 4.1): a plain fold over what was committed. It knows
//! nothing of how a store or the runtime keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backroom::domain::id::{DedupKey, JobKey, OrderingKey};
use backroom::domain::job::{JobState, OnPredecessorFailure, Status, Submission};

/// Every job that is there, as far as others could notice.
#[derive(Default)]
pub(crate) struct Bonds {
    jobs: BTreeMap<JobKey, (Arc<Submission>, Status)>,
    unfinished: BTreeMap<OrderingKey, BTreeSet<JobKey>>,
    /// Who held a key last, where that ended without success and others wait.
    broken: BTreeMap<OrderingKey, JobKey>,
    dedup: BTreeMap<DedupKey, JobKey>,
    /// What happened that a rule is about.
    pub(crate) met: BTreeSet<&'static str>,
}

impl Bonds {
    /// A new job. Returns what is wrong with it.
    pub(crate) fn submitted(&mut self, submission: &Arc<Submission>, state: &JobState) -> Vec<String> {
        let job = submission.key();
        let mut wrong = Vec::new();
        self.jobs.insert(job, (Arc::clone(submission), state.status));
        if state.status.is_final() {
            return wrong;
        }
        let ties = submission.ties();
        if let Some(key) = &ties.ordering_key {
            let line = self.unfinished.entry(key.clone()).or_default();
            if line.last().is_some_and(|last| *last > job) {
                wrong.push(format!("{job:?} comes to `{key}` behind one that is younger"));
            }
            line.insert(job);
        }
        if let Some(key) = &ties.dedup_key
            && let Some(holder) = self.dedup.insert(key.clone(), job)
        {
            wrong.push(format!("{holder:?} and {job:?} are unfinished and have the dedup key `{key}`"));
        }
        wrong
    }

    /// A job that becomes `next`. Returns what is wrong with that.
    pub(crate) fn advanced(&mut self, job: JobKey, next: &JobState) -> Vec<String> {
        let Some((submission, before)) = self.jobs.get(&job).cloned() else { return Vec::new() };
        let wrong = match (before, next.status) {
            (_, Status::Running) => self.start(job, &submission, next),
            (Status::Queued, Status::Waiting | Status::Canceled) => self.refusal(job, &submission, next),
            _ => Vec::new(),
        };
        self.jobs.insert(job, (Arc::clone(&submission), next.status));
        if next.status.is_final() && !before.is_final() {
            self.ended(job, &submission, next.status);
        }
        wrong
    }

    /// A job that is gone.
    pub(crate) fn deleted(&mut self, job: JobKey) {
        self.jobs.remove(&job);
    }

    fn status(&self, job: JobKey) -> Option<Status> {
        self.jobs.get(&job).map(|(_, status)| *status)
    }

    /// What keeps a job from starting, if anything does.
    fn start(&mut self, job: JobKey, submission: &Submission, next: &JobState) -> Vec<String> {
        let ties = submission.ties();
        let mut wrong = Vec::new();
        for other in ties.ordering_key.iter().filter_map(|key| self.unfinished.get(key)).flatten() {
            if *other < job {
                wrong.push(format!("I7: {job:?} starts before {other:?} of the same key has ended"));
            }
            if *other != job && self.status(*other).is_some_and(Status::is_locked) {
                wrong.push(format!("I6: {job:?} starts while {other:?} of the same key runs"));
            }
        }
        for named in self.named(job, submission) {
            if self.status(named).is_some_and(|status| !status.is_final()) {
                wrong.push(format!("{job:?} starts before {named:?}, which it waits for, has ended"));
            }
        }
        let minds = ties.is_ordered() && ties.on_predecessor_failure != OnPredecessorFailure::Continue;
        if minds && let Some(failed) = self.unsuccessful(job, submission) {
            match next.is_overruled {
                true => drop(self.met.insert("a person overrules a failed predecessor")),
                false => wrong.push(format!("{job:?} starts although {failed:?} has not succeeded")),
            }
        }
        if ties.is_ordered() {
            self.met.insert("an ordered job starts");
        }
        wrong
    }

    fn named(&self, job: JobKey, submission: &Submission) -> Vec<JobKey> {
        submission.ties().after.iter().map(|id| JobKey { sequence: id.sequence(), ..job }).collect()
    }

    fn unsuccessful(&self, job: JobKey, submission: &Submission) -> Option<JobKey> {
        let broken = submission.ties().ordering_key.as_ref().and_then(|key| self.broken.get(key).copied());
        let failed = |status: Status| status.is_final() && status != Status::Succeeded;
        let named = self.named(job, submission).into_iter().find(|named| self.status(*named).is_some_and(failed));
        broken.or(named)
    }

    /// A job that is said to meet the failure of one that it waited for: there must be one, and the job must mind.
    fn refusal(&mut self, job: JobKey, submission: &Submission, next: &JobState) -> Vec<String> {
        let said = next.failure.as_ref().and_then(|failure| failure.code.as_deref());
        if said != Some(backroom::domain::code::PREDECESSOR_FAILED.name) || next.is_overruled {
            return Vec::new();
        }
        // One that was deleted between the decision and its commit is not known any more.
        let some_are_gone = self.named(job, submission).iter().any(|named| self.status(*named).is_none());
        let has_failed = self.unsuccessful(job, submission).is_some() || some_are_gone;
        match (has_failed, next.status, submission.ties().on_predecessor_failure) {
            (true, Status::Canceled, OnPredecessorFailure::Cancel) => {
                self.met.insert("a failed predecessor cancels");
                Vec::new()
            }
            (true, Status::Waiting, OnPredecessorFailure::Block) => {
                self.met.insert("a failed predecessor blocks");
                Vec::new()
            }
            (_, status, minds) => {
                vec![format!(
                    "{job:?} becomes {status} by a failed predecessor ({has_failed}) that it minds as {minds:?}"
                )]
            }
        }
    }

    fn ended(&mut self, job: JobKey, submission: &Submission, status: Status) {
        let ties = submission.ties();
        if let Some(key) = &ties.dedup_key
            && self.dedup.get(key) == Some(&job)
        {
            self.dedup.remove(key);
        }
        let Some(key) = &ties.ordering_key else { return };
        let Some(line) = self.unfinished.get_mut(key) else { return };
        let held_it = line.first() == Some(&job);
        line.remove(&job);
        if !held_it {
            self.met.insert("a job ends in the middle of its key");
        } else if line.is_empty() || status == Status::Succeeded {
            self.broken.remove(key);
        } else {
            self.broken.insert(key.clone(), job);
        }
    }
}
