//! Which jobs somebody wants to see, and in what portions.

use serde::{Deserialize, Serialize};

use super::id::{HandlerName, PluginName, Sequence, TenantId};
use super::job::{Job, Status};
use super::time::Timestamp;

/// What a listed job must be like. An empty filter takes every job of the tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFilter {
    /// One of these; any when empty.
    pub statuses: Vec<Status>,
    /// Of this plug-in.
    pub plugin: Option<PluginName>,
    /// Of this handler.
    pub handler: Option<HandlerName>,
    /// With this tag.
    pub tag: Option<String>,
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
            && self.plugin.as_ref().is_none_or(|plugin| submission.plugin == *plugin)
            && self.handler.as_ref().is_none_or(|handler| submission.handler == *handler)
            && self.tag.as_ref().is_none_or(|tag| submission.tags.contains(tag))
            && self.created_from.is_none_or(|from| submission.created_on >= from)
            && self.created_before.is_none_or(|before| submission.created_on < before)
            && self.text.as_ref().is_none_or(|text| has_text(job, text))
    }
}

fn has_text(job: &Job, text: &str) -> bool {
    let needle = text.to_lowercase();
    let has = |hay: &str| hay.to_lowercase().contains(&needle);
    let submission = &job.submission;
    has(&submission.display_name())
        || has(submission.plugin.as_str())
        || has(&submission.id.to_string())
        || submission.tags.iter().any(|tag| has(tag))
        || job.state.failure().is_some_and(|failure| has(&failure.message))
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
    /// The jobs, newest first.
    pub jobs: Vec<Job>,
    /// Where the next page starts; none at the end. A page may hold fewer jobs than asked for and still have a next:
    /// one query looks at a bounded number of jobs.
    pub next: Option<Sequence>,
}

/// How many jobs of a plug-in stand where, in the order of [`Status::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    /// The sum of two.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
        self
    }
}
