//! Jobs that would wait for each other. A job waits for jobs that are there before it, so that no circle comes about; but a batch
//! waits for members that may join it later, and these may be submitted together with what they wait for.

use std::collections::HashMap;

use super::Jobs;
use super::batch::members;
use crate::domain::id::{JobId, JobKey, OrderingKey, TenantId};
use crate::domain::job::{Job, JobType, Status, Submission};
use crate::domain::query::{JobFilter, JobQuery};
use crate::store::ReadError;

/// How many jobs of the store are looked at; whoever builds a larger circle has to call off a job of it.
const JOBS_MAX: usize = 2_000;

/// How many jobs one query reads.
const PAGE: usize = 500;

/// One that waits, or is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Node {
    /// A job of the store.
    Stored(JobKey),
    /// A job of the request, by its place in it.
    New(usize),
}

/// A job of a request that would wait for its own batch to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Circle {
    /// Its place in the request.
    pub(super) index: usize,
    /// The batch.
    pub(super) batch: JobId,
}

impl Jobs {
    /// Whether jobs of a request, in their order, would wait over however many others for a batch that waits for them.
    pub(super) fn circle(&self, request: &[Submission]) -> Result<Option<Circle>, ReadError> {
        let closes = |new: &Submission| new.ties().batch.is_some() && new.ties().is_ordered();
        if !request.iter().any(closes) {
            return Ok(None);
        }
        let mut search = Search::of(self, request);
        for (index, _) in request.iter().enumerate().filter(|(_, new)| closes(new)) {
            let found = search.circle_from(Node::New(index))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn some(&self, query: JobQuery) -> Result<Vec<Node>, ReadError> {
        Ok(self.store.jobs(&query)?.jobs.iter().map(|job| Node::Stored(job.submission.key())).collect())
    }
}

/// A walk along what waits for what, each job once.
struct Search<'a> {
    jobs: &'a Jobs,
    request: &'a [Submission],
    /// The job of the request that has the ordering key of another right before it.
    before: Vec<Option<usize>>,
    /// The jobs of the request that join a batch.
    joining: HashMap<JobKey, Vec<Node>>,
    /// Whether a job is on the way from where the walk began, of all that were seen.
    is_on_the_way: HashMap<Node, bool>,
    looked_at: usize,
}

impl<'a> Search<'a> {
    fn of(jobs: &'a Jobs, request: &'a [Submission]) -> Self {
        let mut holders: HashMap<(TenantId, &OrderingKey), usize> = HashMap::new();
        let mut before = Vec::with_capacity(request.len());
        let mut joining: HashMap<JobKey, Vec<Node>> = HashMap::new();
        for (index, new) in request.iter().enumerate() {
            let ties = new.ties();
            before.push(ties.ordering_key.as_ref().and_then(|key| holders.insert((new.tenant, key), index)));
            if let Some(batch) = ties.batch {
                joining.entry(key_of(new.tenant, batch)).or_default().push(Node::New(index));
            }
        }
        Self { jobs, request, before, joining, is_on_the_way: HashMap::new(), looked_at: 0 }
    }

    /// The circle that a walk from a job runs into.
    fn circle_from(&mut self, start: Node) -> Result<Option<Circle>, ReadError> {
        if self.is_on_the_way.contains_key(&start) {
            return Ok(None);
        }
        self.is_on_the_way.insert(start, true);
        let mut way = vec![(start, self.waited_for_by(start)?)];
        while let Some((node, ahead)) = way.last_mut() {
            let Some(next) = ahead.pop() else {
                self.is_on_the_way.insert(*node, false);
                way.pop();
                continue;
            };
            match self.is_on_the_way.get(&next) {
                None => {
                    self.is_on_the_way.insert(next, true);
                    let ahead = self.waited_for_by(next)?;
                    way.push((next, ahead));
                }
                Some(true) => {
                    let round = way.iter().rev().map(|(node, _)| *node);
                    let last = round.clone().position(|node| node == next).map_or(0, |at| at + 1);
                    if let Some(circle) = self.closed_by(round.take(last)) {
                        return Ok(Some(circle));
                    }
                }
                Some(false) => {}
            }
        }
        Ok(None)
    }

    /// Which job of the request closes a circle: the last of those that join a batch.
    fn closed_by(&self, round: impl Iterator<Item = Node>) -> Option<Circle> {
        let joins = |node| match node {
            Node::New(index) => Some(Circle { index, batch: self.request[index].ties().batch? }),
            Node::Stored(_) => None,
        };
        round.filter_map(joins).max_by_key(|circle| circle.index)
    }

    fn waited_for_by(&mut self, node: Node) -> Result<Vec<Node>, ReadError> {
        match node {
            Node::New(index) => self.waited_for_by_new(index),
            Node::Stored(job) => self.waited_for_by_stored(job),
        }
    }

    fn waited_for_by_new(&self, index: usize) -> Result<Vec<Node>, ReadError> {
        let new = &self.request[index];
        let ties = new.ties();
        let mut waited_for: Vec<_> = ties.after.iter().map(|job| Node::Stored(key_of(new.tenant, *job))).collect();
        match (self.before[index], &ties.ordering_key) {
            (Some(before), _) => waited_for.push(Node::New(before)),
            (None, Some(key)) => {
                let filter = JobFilter {
                    ordering_key: Some(key.clone()),
                    statuses: Status::unfinished().collect(),
                    ..JobFilter::default()
                };
                waited_for.extend(self.jobs.some(JobQuery {
                    tenant: new.tenant,
                    filter,
                    before: None,
                    limit: PAGE,
                })?);
            }
            (None, None) => {}
        }
        Ok(waited_for)
    }

    fn waited_for_by_stored(&mut self, job: JobKey) -> Result<Vec<Node>, ReadError> {
        let mut waited_for = self.joining.get(&job).cloned().unwrap_or_default();
        self.looked_at += 1;
        if self.looked_at <= JOBS_MAX
            && let Some(job) = self.jobs.store.job(job)?.filter(|job| !job.state.status.is_final())
        {
            waited_for.extend(self.stored_waited_for_by(&job)?);
        }
        Ok(waited_for)
    }

    fn stored_waited_for_by(&self, job: &Job) -> Result<Vec<Node>, ReadError> {
        match job.submission.job_type {
            JobType::BATCH => self.jobs.some(members(job, Status::unfinished().collect())),
            _ => {
                let unfinished = self.jobs.store.predecessors(job.submission.key())?.unfinished;
                Ok(unfinished.into_iter().map(Node::Stored).collect())
            }
        }
    }
}

fn key_of(tenant: TenantId, job: JobId) -> JobKey {
    JobKey { tenant, sequence: job.sequence() }
}
