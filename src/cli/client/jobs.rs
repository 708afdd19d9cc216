//! Jobs and batches: submit, look, steer, remove.

use std::io::BufReader;
use std::time::Duration;

use serde::Serialize;

use super::changes::Changes;
use super::{Answer, Client, segment};
use crate::api::view::{
    ActionsBody, ActionsView, AttemptsView, AuditView, BatchView, BulkView, ExplainView, FailuresView, JobPageView,
    JobView, PurgeView, SteerBody, SubmitBody,
};

/// How long a stream may be silent: a host that lives says so every fifteen seconds.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// Which jobs to list; an absent field does not count.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobQuery<'a> {
    /// Names and values of query parameters.
    pub(crate) params: Vec<(&'a str, String)>,
}

/// A batch on its way to the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewBatch<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) allowed_failures: Option<u64>,
    pub(crate) on_complete: Option<&'a str>,
    /// The jobs, one on each line.
    pub(crate) lines: &'a [u8],
    /// The same batch with the same key is accepted once.
    pub(crate) idempotency_key: &'a str,
}

impl Client {
    /// Submits a job. `wait` is how long the host may wait for its end before it answers.
    pub(crate) fn submit(
        &self,
        job: &SubmitBody,
        idempotency_key: Option<&str>,
        wait: Option<Duration>,
    ) -> anyhow::Result<Answer<JobView>> {
        let mut request = self.with_token(self.agent.post(self.url("/v1/jobs")));
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(wait) = wait {
            request = request.query("wait", wait.as_secs().to_string());
        }
        self.read(request.content_type("application/json").send(serde_json::to_vec(job)?))
    }

    /// Submits the jobs of some NDJSON lines, all or none; the same lines with the same key are taken once.
    pub(crate) fn submit_bulk(&self, lines: &[u8], idempotency_key: Option<&str>) -> anyhow::Result<Answer<BulkView>> {
        let mut request = self.with_token(self.agent.post(self.url("/v1/jobs/bulk")));
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        self.read(self.asking_first(request.content_type("application/x-ndjson"), lines).send(lines))
    }

    /// Submits a batch, all of its jobs or none.
    pub(crate) fn submit_batch(&self, new: &NewBatch<'_>) -> anyhow::Result<Answer<BatchView>> {
        let NewBatch { name, allowed_failures, on_complete, lines, idempotency_key } = new;
        let allowed_failures = allowed_failures.map(|allowed| allowed.to_string());
        let params =
            [("name", *name), ("allowed_failures", allowed_failures.as_deref()), ("on_complete", *on_complete)];
        let given = params.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let request = self.with_token(self.agent.post(self.url("/v1/batches"))).query_pairs(given);
        let request = request.header("Idempotency-Key", *idempotency_key);
        self.read(self.asking_first(request.content_type("application/x-ndjson"), lines).send(*lines))
    }

    /// Shows a batch.
    pub(crate) fn batch(&self, id: &str) -> anyhow::Result<Answer<BatchView>> {
        self.get(&format!("/v1/batches/{}", segment(id)))
    }

    /// Runs the failed jobs of a batch again.
    pub(crate) fn retry_failed(&self, id: &str, body: &SteerBody) -> anyhow::Result<Answer<BatchView>> {
        self.post_json(&format!("/v1/batches/{}/retry-failed", segment(id)), body)
    }

    /// Lists jobs, newest first.
    pub(crate) fn jobs(&self, query: &JobQuery<'_>) -> anyhow::Result<Answer<JobPageView>> {
        let request = self.with_token(self.agent.get(self.url("/v1/jobs")));
        self.read(request.query_pairs(query.params.iter().map(|(name, value)| (*name, value.as_str()))).call())
    }

    /// Shows a job.
    pub(crate) fn job(&self, id: &str) -> anyhow::Result<Answer<JobView>> {
        self.get(&format!("/v1/jobs/{}", segment(id)))
    }

    /// The runs of a job.
    pub(crate) fn attempts(&self, id: &str) -> anyhow::Result<Answer<AttemptsView>> {
        self.get(&format!("/v1/jobs/{}/attempts", segment(id)))
    }

    /// What a job logged, in all of its runs or in those of one attempt.
    pub(crate) fn logs(&self, id: &str, attempt: Option<u32>) -> anyhow::Result<Vec<u8>> {
        let mut request = self.with_token(self.agent.get(self.url(&format!("/v1/jobs/{}/logs", segment(id)))));
        if let Some(attempt) = attempt {
            request = request.query("attempt", attempt.to_string());
        }
        self.read_bytes(request.call())
    }

    /// What a job returned.
    pub(crate) fn output(&self, id: &str) -> anyhow::Result<Vec<u8>> {
        self.read_bytes(self.with_token(self.agent.get(self.url(&format!("/v1/jobs/{}/output", segment(id))))).call())
    }

    /// The changes of a job as they happen, and what it logs, if that is wanted; from a place on that an event named.
    pub(crate) fn changes(&self, id: &str, with_log: bool, from: Option<&str>) -> anyhow::Result<Changes> {
        let url = self.url(&format!("/v1/jobs/{}/changes", segment(id)));
        let mut request = self.with_token(self.agent.get(url)).query_pairs(with_log.then_some(("logs", "true")));
        if let Some(place) = from {
            request = request.header("Last-Event-ID", place);
        }
        let request = request.config().timeout_per_read(Some(SILENCE_TIMEOUT)).build();
        let response = self.accepted(request.call())?;
        Ok(Changes { lines: Box::new(BufReader::new(response.into_body().into_reader())), place: None })
    }

    /// Gives a command for one job: `cancel`, `pause`, `resume`, `postpone` or `retry`, each with its body.
    pub(crate) fn steer_job(&self, id: &str, verb: &str, body: &impl Serialize) -> anyhow::Result<Answer<JobView>> {
        self.post_json(&format!("/v1/jobs/{}/{verb}", segment(id)), body)
    }

    /// Gives a command for all jobs that match, or counts them.
    pub(crate) fn act(&self, body: &ActionsBody) -> anyhow::Result<Answer<ActionsView>> {
        self.post_json("/v1/jobs/actions", body)
    }

    /// Who steered a job.
    pub(crate) fn audit(&self, id: &str) -> anyhow::Result<Answer<AuditView>> {
        self.get(&format!("/v1/jobs/{}/audit", segment(id)))
    }

    /// Why a job is not running.
    pub(crate) fn explain(&self, id: &str) -> anyhow::Result<Answer<ExplainView>> {
        self.get(&format!("/v1/jobs/{}/explain", segment(id)))
    }

    /// Failed jobs by what went wrong.
    pub(crate) fn failures(&self, limit: u32) -> anyhow::Result<Answer<FailuresView>> {
        self.get(&format!("/v1/failures?limit={limit}"))
    }

    /// Removes finished jobs.
    pub(crate) fn purge<'a>(
        &self,
        asked: impl Iterator<Item = (&'static str, &'a String)>,
    ) -> anyhow::Result<Answer<PurgeView>> {
        let request = self.with_token(self.agent.post(self.url("/v1/jobs/purge")));
        self.read(request.query_pairs(asked).send_empty())
    }

    /// Removes a job that has ended.
    pub(crate) fn delete_job(&self, id: &str, reason: Option<&str>) -> anyhow::Result<()> {
        let request = self.with_token(self.agent.delete(self.url(&format!("/v1/jobs/{}", segment(id)))));
        self.accepted(request.query_pairs(reason.map(|reason| ("reason", reason))).call()).map(drop)
    }
}
