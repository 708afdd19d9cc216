//! What the jobs of one request make of each other: each is checked against the store and against those before it, which the
//! store does not know yet.

use std::collections::HashMap;

use super::{Jobs, SubmitError};
use crate::domain::advice;
use crate::domain::id::{DedupKey, JobId, TenantId};
use crate::domain::job::{Job, Submission, transition};
use crate::domain::loops::{self, Circuit, LoopFound};
use crate::domain::query::{JobFilter, JobQuery};
use crate::domain::time::Timestamp;
use crate::store::ReadError;

/// How many pages of jobs are looked at for those that count as one loop, and how many a page has.
const PAGES_MAX: usize = 16;
const PAGE: usize = 500;

/// The jobs of a request before the present one.
#[derive(Default)]
pub(super) struct Ahead {
    dedup: HashMap<(TenantId, DedupKey), JobId>,
    /// How many jobs count where, those of the store among them.
    circuits: HashMap<Circuit, u32>,
}

/// Who has the dedup key of a job.
pub(super) enum Holder {
    /// An unfinished job of the store.
    Unfinished(JobId),
    /// A job of the same request.
    Ahead(JobId),
}

impl Jobs {
    /// Gives a job its dedup key, unless an unfinished one or one of the same request has it.
    pub(super) fn hold(&self, submission: &Submission, ahead: &mut Ahead) -> Result<Option<Holder>, ReadError> {
        let Some(key) = submission.ties().dedup_key.clone() else { return Ok(None) };
        if let Some(unfinished) = self.duplicate(submission.tenant, &key)? {
            return Ok(Some(Holder::Unfinished(unfinished.submission.id)));
        }
        let place = (submission.tenant, key);
        if let Some(earlier) = ahead.dedup.get(&place) {
            return Ok(Some(Holder::Ahead(*earlier)));
        }
        ahead.dedup.insert(place, submission.id);
        Ok(None)
    }

    /// A new job, in the state that it starts in: refused where it looks like a part of a loop (T02).
    pub(super) fn taken(&self, submission: Submission, ahead: &mut Ahead, now: Timestamp) -> Result<Job, SubmitError> {
        let state = match self.loop_found(&submission, ahead, now)? {
            Some(found) => transition::refused(&submission, &found, now),
            None => transition::submitted(&submission, now),
        };
        Ok(Job { submission: submission.into(), state })
    }

    /// Why a job looks like a part of a loop, if it does (domain.md 4.5). One that does not counts from now on.
    fn loop_found(
        &self,
        submission: &Submission,
        ahead: &mut Ahead,
        now: Timestamp,
    ) -> Result<Option<LoopFound>, ReadError> {
        if let Some(found) = loops::too_deep(submission) {
            return Ok(Some(found));
        }
        let Some(circuit) = Circuit::of(submission) else { return Ok(None) };
        let policy = self.registry.policy(submission.tenant, &submission.plugin);
        let limit = policy.limits.runs_per_record;
        let earlier = match ahead.circuits.get(&circuit) {
            Some(count) => *count,
            None => self.count(&circuit, limit, now)?,
        };
        let found = circuit.is_full(earlier, limit).map(|found| {
            let advice = advice::allow_runs(&submission.plugin, &policy, limit.saturating_mul(2));
            LoopFound { detail: Some(format!("If it is no loop, to allow more:\n{advice}")), ..found }
        });
        ahead.circuits.insert(circuit, earlier + u32::from(found.is_none()));
        Ok(found)
    }

    /// How many jobs of the store count in a circuit, as far as that matters to the limit.
    fn count(&self, circuit: &Circuit, limit: u32, now: Timestamp) -> Result<u32, ReadError> {
        let filter = JobFilter {
            chain: Some(circuit.chain),
            regarding: Some(circuit.record.clone()),
            plugin: Some(circuit.plugin.clone()),
            handler: Some(circuit.handler.clone()),
            created_from: Some(loops::window_start(now)),
            ..JobFilter::default()
        };
        let mut query = JobQuery { tenant: circuit.tenant, filter, before: None, limit: PAGE };
        let mut count = 0;
        for _ in 0..PAGES_MAX {
            let page = self.store.jobs(&query)?;
            count += u32::try_from(page.jobs.iter().filter(|job| circuit.counts(job)).count()).unwrap_or(u32::MAX);
            query.before = page.next;
            if page.next.is_none() || count >= limit {
                break;
            }
        }
        Ok(count)
    }
}
