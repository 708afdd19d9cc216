//! Lists that may have to look through many jobs: they go on within a budget, and say how far they have come.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Jobs;
use crate::domain::id::{JobKey, Sequence};
use crate::domain::job::Job;
use crate::domain::query::{JobFilter, JobQuery};
use crate::domain::time::Timestamp;
use crate::store::ReadError;

/// How long one search looks.
const TIME: Duration = Duration::from_secs(1);

/// How many bounded queries one search makes at most, whatever the clock says.
const QUERIES_MAX: usize = 64;

/// How long a search waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which jobs come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// The one that was submitted last.
    Newest,
    /// The one that was submitted first.
    Oldest,
}

/// A page of jobs that match.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The jobs, in the order that was asked for.
    pub jobs: Vec<Job>,
    /// Where the next search goes on; none when all jobs were looked at.
    pub next: Option<Sequence>,
    /// When the last job was submitted that was looked at, where the search can go on.
    pub looked_to: Option<Timestamp>,
}

/// The right to search, one of as many as there are for all who search.
pub type SearchTurn = OwnedSemaphorePermit;

/// As many searches are under way as the host makes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many searches are under way as this host makes at a time")]
pub struct TooManySearches;

/// The turns of searches: half of the processors, so that what runs has the rest.
pub(super) fn turns() -> Arc<Semaphore> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Arc::new(Semaphore::new((processors / 2).max(1)))
}

impl Jobs {
    /// Waits for a turn, within bounds; none is needed for what an index answers.
    pub async fn search_turn(&self, filter: &JobFilter) -> Result<Option<SearchTurn>, TooManySearches> {
        match filter.is_looked_through() {
            true => self.turn_to_look().await.map(Some),
            false => Ok(None),
        }
    }

    /// Waits for a turn, within bounds, to look through more than a search does.
    pub async fn turn_to_look(&self) -> Result<SearchTurn, TooManySearches> {
        let turn = Arc::clone(&self.searches).acquire_owned();
        let turn = tokio::time::timeout(PATIENCE, turn).await;
        turn.ok().and_then(Result::ok).ok_or(TooManySearches)
    }

    /// Looks for the jobs that match, until there are as many as asked for, no more to look at, or its time is up. Blocks the
    /// calling thread.
    pub fn search(&self, query: &JobQuery, sort: Sort) -> Result<Found, ReadError> {
        let started_on = self.clock.now();
        let mut query = query.clone();
        let mut found = Found::default();
        for _ in 0..QUERIES_MAX {
            let page = match sort {
                Sort::Newest => self.list(&query)?,
                Sort::Oldest => {
                    self.list_oldest(query.tenant, &query.filter, query.before.unwrap_or_default(), query.limit)?
                }
            };
            query.limit -= page.jobs.len().min(query.limit);
            found.jobs.extend(page.jobs);
            found.next = page.next;
            query.before = page.next;
            if page.next.is_none() || query.limit == 0 || self.clock.now().since(started_on) >= TIME {
                break;
            }
        }
        if let Some(next) = found.next {
            found.looked_to = self.looked_to(&query, sort, next)?;
        }
        Ok(found)
    }

    /// When the last job was submitted that a search has looked at. Where that one is gone already, the next one says it nearly.
    fn looked_to(&self, query: &JobQuery, sort: Sort, next: Sequence) -> Result<Option<Timestamp>, ReadError> {
        let last = match sort {
            Sort::Newest => next,
            Sort::Oldest => Sequence(next.0.saturating_sub(1)),
        };
        let key = JobKey { tenant: query.tenant, sequence: last };
        let job = match self.store.job(key)? {
            Some(job) => Some(job),
            None => self.store.oldest(key, 1)?.pop(),
        };
        Ok(job.map(|job| job.submission.created_on))
    }
}
