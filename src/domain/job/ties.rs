//! What binds a job to other jobs: the order that it keeps, the group that it belongs to, where it comes from and what
//! follows it. Few jobs have any.

use crate::domain::family::{Family, KeyForm, Row, RowKey};
use crate::domain::id::{
    ConcurrencyKey, DedupKey, HandlerName, JobId, JobKey, OrderingKey, PluginName, QueueName, RecordName, ScheduleName,
    TenantId,
};
use crate::domain::outbound::{Url, http_plugin};
use crate::domain::time::Timestamp;

/// How many jobs a job may wait for by name.
pub const AFTER_MAX: usize = 64;

/// What a job does when one that it waits for has not succeeded (domain.md 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnPredecessorFailure {
    /// It runs all the same.
    #[default]
    Continue,
    /// A person must resume it.
    Block,
    /// It is called off.
    Cancel,
}

impl OnPredecessorFailure {
    /// Every answer.
    pub const ALL: [Self; 3] = [Self::Continue, Self::Block, Self::Cancel];

    /// The word in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Block => "block",
            Self::Cancel => "cancel",
        }
    }

    /// The answer that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|answer| answer.word() == word)
    }
}

/// The time of a schedule that made a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Occurrence {
    /// Which schedule.
    pub schedule: ScheduleName,
    /// The time that the rule names; unique within the schedule (domain.md 4.2).
    pub scheduled_for: Timestamp,
}

/// A job that is submitted in the commit that ends another; its input tells how that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowUp {
    /// The plug-in to run.
    pub plugin: PluginName,
    /// The entry point to run.
    pub handler: HandlerName,
    /// The pool that it runs in.
    pub queue: QueueName,
    /// Where the built-in handler `http` sends the news; none for other plug-ins.
    pub url: Option<String>,
}

impl FollowUp {
    /// A call of `url` with the news, by the built-in handler `http`.
    pub fn call(url: impl Into<String>, queue: QueueName) -> Self {
        Self { plugin: http_plugin(), handler: HandlerName::default_handle(), queue, url: Some(url.into()) }
    }

    /// Its URL, which is payload: for whoever may not see that it ends with its origin.
    pub fn url_for(&self, opens_payload: bool) -> Option<String> {
        let origin = |url: &String| Url::parse(url).map_or_else(|_| String::new(), |url| url.origin().as_grant());
        self.url.as_ref().map(|url| if opens_payload { url.clone() } else { origin(url) })
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// Jobs that share it run one after another.
    pub ordering_key: Option<OrderingKey>,
    /// Of the jobs of a plug-in that share it, only so many run at a time.
    pub concurrency_key: Option<ConcurrencyKey>,
    /// Jobs that must have ended first; at most [`AFTER_MAX`].
    pub after: Vec<JobId>,
    /// What it does when one that it waits for has not succeeded.
    pub on_predecessor_failure: OnPredecessorFailure,
    /// At most one unfinished job has it.
    pub dedup_key: Option<DedupKey>,
    /// The record that it is about.
    pub regarding: Option<RecordName>,
    /// The batch that it belongs to.
    pub batch: Option<JobId>,
    /// The schedule that made it.
    pub occurrence: Option<Occurrence>,
    /// The finished job that it runs again.
    pub retry_of: Option<JobId>,
    /// What follows its end.
    pub on_complete: Option<FollowUp>,
    /// Whether an `Idempotency-Key` stands for it: its end is kept where the record itself goes.
    pub is_remembered: bool,
}

impl Ties {
    /// Of a job that is bound to nothing.
    pub const NONE: Self = Self {
        ordering_key: None,
        concurrency_key: None,
        after: Vec::new(),
        on_predecessor_failure: OnPredecessorFailure::Continue,
        dedup_key: None,
        regarding: None,
        batch: None,
        occurrence: None,
        retry_of: None,
        on_complete: None,
        is_remembered: false,
    };

    /// Whose space its keys are in; none for the one that all share.
    pub fn key_space(&self) -> Option<&str> {
        let Self { ordering_key, concurrency_key, dedup_key, regarding, .. } = self;
        let ordering = ordering_key.as_ref().and_then(OrderingKey::space);
        let concurrency = || concurrency_key.as_ref().and_then(ConcurrencyKey::space);
        let dedup = || dedup_key.as_ref().and_then(DedupKey::space);
        let regarding = || regarding.as_ref().and_then(RecordName::space);
        ordering.or_else(concurrency).or_else(dedup).or_else(regarding)
    }

    /// Whether the job has to wait for others.
    pub fn is_ordered(&self) -> bool {
        self.ordering_key.is_some() || !self.after.is_empty()
    }
}

/// What a job waits for by its ties, as the store knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predecessors {
    /// The unfinished jobs that it waits for: those that it names, and the oldest that holds its ordering key. A ready
    /// job without any may start.
    pub unfinished: Vec<JobKey>,
    /// Those that have ended without success: the last that held its ordering key before it, and those that it names.
    pub unsuccessful: Vec<JobKey>,
}

/// That a job which held an ordering key did not succeed while another waited for the key. Stores note it by themselves when
/// the job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenKey {
    /// The job, which may be gone.
    pub job: JobKey,
    /// The key.
    pub key: OrderingKey,
}

impl BrokenKey {
    /// Where the mark of a key is kept.
    pub fn key_of(tenant: TenantId, key: &OrderingKey) -> RowKey {
        RowKey::named(tenant, key.as_str())
    }
}

impl Row for BrokenKey {
    const ROWS: &'static Family = &Family::new(15, "broken-key", KeyForm::TenantAndName);

    fn key(&self) -> RowKey {
        Self::key_of(self.job.tenant, &self.key)
    }

    /// Always: who held the key last counts.
    fn follows(&self, _present: Option<&Self>) -> bool {
        true
    }
}
