//! Which jobs somebody wants to see, and in what portions.

use super::fingerprint::Fingerprint;
use super::id::{
    HandlerName, JobId, OrderingKey, PluginName, QueueName, RecordName, ScheduleName, Sequence, TenantId, TokenName,
};
use super::job::{Job, JobState, JobType, Status, Submission, WaitReason};
use super::time::Timestamp;

/// What a listed job must be like. An empty filter takes every job of the tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// One of these; any when empty.
    pub statuses: Vec<Status>,
    /// Of this type.
    pub job_type: Option<JobType>,
    /// Of this plug-in.
    pub plugin: Option<PluginName>,
    /// Of this handler.
    pub handler: Option<HandlerName>,
    /// In this queue.
    pub queue: Option<QueueName>,
    /// One of these, if they wait; any when empty.
    pub wait_reasons: Vec<WaitReason>,
    /// Submitted by this caller.
    pub created_by: Option<String>,
    /// Of this owner.
    pub owner: Option<TokenName>,
    /// With this tag.
    pub tag: Option<String>,
    /// With this ordering key.
    pub ordering_key: Option<OrderingKey>,
    /// About this record.
    pub regarding: Option<RecordName>,
    /// Of this batch.
    pub batch: Option<JobId>,
    /// Made by this schedule.
    pub schedule: Option<ScheduleName>,
    /// Of the chain that this job started.
    pub chain: Option<JobId>,
    /// Those that name this job in `after`.
    pub after: Option<JobId>,
    /// Runs this finished job again.
    pub retry_of: Option<JobId>,
    /// Failed, by this fingerprint of the error.
    pub fingerprint: Option<Fingerprint>,
    /// With this text in its name, plug-in, tags, id or error message; letter case does not count.
    pub text: Option<String>,
    /// Submitted at this time or later.
    pub created_from: Option<Timestamp>,
    /// Submitted before this time.
    pub created_before: Option<Timestamp>,
}

impl JobFilter {
    /// Whether `job` is one of those.
    pub fn matches(&self, job: &Job) -> bool {
        let submission = &job.submission;
        (self.statuses.is_empty() || self.statuses.contains(&job.state.status))
            && self.job_type.is_none_or(|job_type| submission.job_type == job_type)
            && (self.created_by.is_none() || submission.created_by == self.created_by)
            && self.plugin.as_ref().is_none_or(|plugin| submission.plugin == *plugin)
            && self.handler.as_ref().is_none_or(|handler| submission.handler == *handler)
            && self.queue.as_ref().is_none_or(|queue| submission.queue == *queue)
            && (self.wait_reasons.is_empty()
                || job.state.wait_reason.is_some_and(|reason| self.wait_reasons.contains(&reason)))
            && self.has_labels(job)
            && self.tag.as_ref().is_none_or(|tag| submission.tags.contains(tag))
            && self.created_from.is_none_or(|from| submission.created_on >= from)
            && self.created_before.is_none_or(|before| submission.created_on < before)
            && self.text.as_ref().is_none_or(|text| has_text(job, text))
    }
}

impl JobFilter {
    /// Whether a store has to look through jobs to find those that match: something is asked beside what it looks them up by.
    pub fn is_looked_through(&self) -> bool {
        match self.label() {
            Some(label) => self.beside(&label) != Self::default(),
            None => {
                let asks_for_more = Self { statuses: Vec::new(), ..self.clone() } != Self::default();
                asks_for_more || !self.statuses.iter().all(|status| status.is_looked_up())
            }
        }
    }

    /// What it asks for beside one of its labels.
    fn beside(&self, label: &Label) -> Self {
        let mut rest = self.clone();
        match label {
            Label::Batch(_) => rest.batch = None,
            Label::Schedule(_) => rest.schedule = None,
            Label::Regarding(_) => rest.regarding = None,
            Label::OrderingKey(_) => rest.ordering_key = None,
            Label::Chain(_) => rest.chain = None,
            Label::ChainRegarding(..) => (rest.chain, rest.regarding) = (None, None),
            Label::RetryOf(_) => rest.retry_of = None,
            Label::After(_) => rest.after = None,
            Label::Failure(_) => rest.fingerprint = None,
            Label::Owner(_) => rest.owner = None,
        }
        rest
    }

    /// What of it the store can look up; the one that most likely leaves the fewest jobs.
    pub fn label(&self) -> Option<Label> {
        self.labels().into_iter().next()
    }

    fn has_labels(&self, job: &Job) -> bool {
        let wanted = self.labels();
        wanted.is_empty() || {
            let there = Label::of(&job.submission, &job.state);
            wanted.iter().all(|label| there.contains(label))
        }
    }

    fn labels(&self) -> Vec<Label> {
        let labels = [
            self.after.map(Label::After),
            self.retry_of.map(Label::RetryOf),
            self.chain.zip(self.regarding.clone()).map(|(chain, record)| Label::ChainRegarding(chain, record)),
            self.chain.map(Label::Chain),
            self.regarding.clone().map(Label::Regarding),
            self.ordering_key.clone().map(Label::OrderingKey),
            self.schedule.clone().map(Label::Schedule),
            self.fingerprint.map(Label::Failure),
            self.batch.map(Label::Batch),
            self.owner.clone().map(Label::Owner),
        ];
        labels.into_iter().flatten().collect()
    }
}

/// Something that jobs have in common and that the store can look them up by: a function of their record. Jobs have none
/// that stand for themselves and were submitted without a token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// They belong to this batch.
    Batch(JobId),
    /// This schedule made them.
    Schedule(ScheduleName),
    /// They are about this record.
    Regarding(RecordName),
    /// They have this ordering key.
    OrderingKey(OrderingKey),
    /// They follow from this job, directly or not.
    Chain(JobId),
    /// They follow from this job and are about this record.
    ChainRegarding(JobId, RecordName),
    /// They run this job again.
    RetryOf(JobId),
    /// They name this job in `after`.
    After(JobId),
    /// They have failed in the same way.
    Failure(Fingerprint),
    /// They belong to this holder of a token.
    Owner(TokenName),
}

impl Label {
    /// The labels of a job.
    pub fn of(submission: &Submission, state: &JobState) -> Vec<Self> {
        let mut labels = Vec::new();
        labels.extend(submission.correlation_id.map(Self::Chain));
        labels.extend(submission.owner.clone().map(Self::Owner));
        if let Some(ties) = &submission.ties {
            labels.extend(ties.batch.map(Self::Batch));
            labels.extend(ties.occurrence.as_ref().map(|occurrence| Self::Schedule(occurrence.schedule.clone())));
            let regarding = ties.regarding.clone();
            let in_chain = submission.correlation_id.zip(regarding.clone());
            labels.extend(in_chain.map(|(chain, record)| Self::ChainRegarding(chain, record)));
            labels.extend(regarding.map(Self::Regarding));
            labels.extend(ties.ordering_key.clone().map(Self::OrderingKey));
            labels.extend(ties.retry_of.map(Self::RetryOf));
            labels.extend(ties.after.iter().copied().map(Self::After));
        }
        if state.status == Status::Failed {
            let failure = state.failure();
            labels.extend(failure.map(|failure| Self::Failure(Fingerprint::of(&submission.plugin, failure))));
        }
        labels
    }
}

/// Failed jobs with the same fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureGroup {
    /// What they have in common.
    pub fingerprint: Fingerprint,
    /// How many there are.
    pub count: u64,
    /// The oldest of them.
    pub oldest: Sequence,
    /// The newest of them.
    pub newest: Sequence,
}

impl FailureGroup {
    /// A group that counts no job yet.
    pub fn new(fingerprint: Fingerprint, first: Sequence) -> Self {
        Self { fingerprint, count: 0, oldest: first, newest: first }
    }

    /// Counts one more.
    pub fn add(&mut self, job: Sequence) {
        self.count += 1;
        self.oldest = self.oldest.min(job);
        self.newest = self.newest.max(job);
    }
}

/// What failed jobs of a tenant have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureGroups {
    /// The one with the newest job first.
    pub groups: Vec<FailureGroup>,
    /// Whether there are more failed jobs than were counted, so that counts may be too small and groups may be missing.
    pub is_incomplete: bool,
}

fn has_text(job: &Job, text: &str) -> bool {
    // A search looks at very many: what is plain needs no copy of either.
    let has = |hay: &str| match hay.is_ascii() && text.is_ascii() {
        true => hay.len() >= text.len() && has_ascii(hay.as_bytes(), text.as_bytes()),
        false => hay.to_lowercase().contains(&text.to_lowercase()),
    };
    let submission = &job.submission;
    has(&submission.display_name())
        || has(submission.plugin.as_str())
        || has(&submission.id.to_string())
        || submission.tags.iter().any(|tag| has(tag))
        || job.state.failure().is_some_and(|failure| has(&failure.message))
}

fn has_ascii(hay: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || hay.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
}

/// A page of a list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// Whose jobs.
    pub tenant: TenantId,
    /// Which of them.
    pub filter: JobFilter,
    /// Older than this one: where the page before ended.
    pub before: Option<Sequence>,
    /// How many at most.
    pub limit: usize,
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The jobs, newest first unless somebody asked for the oldest.
    pub jobs: Vec<Job>,
    /// Where the next page starts; none at the end. A page may hold fewer jobs than asked for and still have a next:
    /// one query looks at a bounded number of jobs.
    pub next: Option<Sequence>,
}

/// How many jobs of a plug-in stand where, in the order of [`Status::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub [u64; 10]);

impl Counts {
    /// How many have this status.
    pub fn of(&self, status: Status) -> u64 {
        self.0.get(status.index()).copied().unwrap_or(0)
    }

    /// Counts one more job of this status.
    pub fn add(&mut self, status: Status) {
        if let Some(count) = self.0.get_mut(status.index()) {
            *count += 1;
        }
    }

    /// Counts one job of this status less.
    pub fn remove(&mut self, status: Status) {
        if let Some(count) = self.0.get_mut(status.index()) {
            *count = count.saturating_sub(1);
        }
    }

    /// How many there are of any status.
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The sum of two.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
        self
    }
}
