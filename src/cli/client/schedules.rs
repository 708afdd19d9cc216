//! Schedules and the jobs that they make.

use super::{Answer, Client, segment};
use crate::api::view::{
    BackfillBody, BackfillView, JobView, PostponeScheduleBody, ScheduleBody, ScheduleListView, ScheduleView,
};

impl Client {
    /// Makes a schedule, or replaces what one says.
    /// Whether it is a new one comes with it.
    pub(crate) fn put_schedule(
        &self,
        name: &str,
        schedule: &ScheduleBody,
    ) -> anyhow::Result<(bool, Answer<ScheduleView>)> {
        let request = self.with_token(self.agent.put(self.url(&format!("/v1/schedules/{}", segment(name)))));
        let put = self.accepted(request.content_type("application/json").send(serde_json::to_vec(schedule)?))?;
        Ok((put.status() == 201, self.read(Ok(put))?))
    }

    /// Lists the schedules.
    pub(crate) fn schedules(&self) -> anyhow::Result<Answer<ScheduleListView>> {
        self.get("/v1/schedules")
    }

    /// Shows a schedule.
    pub(crate) fn schedule(&self, name: &str) -> anyhow::Result<Answer<ScheduleView>> {
        self.get(&format!("/v1/schedules/{}", segment(name)))
    }

    /// Does something with a schedule that needs no more words: `pause`, `resume`.
    pub(crate) fn steer_schedule(&self, name: &str, verb: &str) -> anyhow::Result<Answer<ScheduleView>> {
        self.post(&format!("/v1/schedules/{}/{verb}", segment(name)))
    }

    /// Makes a job beside the rule.
    pub(crate) fn run_schedule(&self, name: &str) -> anyhow::Result<Answer<JobView>> {
        self.post(&format!("/v1/schedules/{}/run", segment(name)))
    }

    /// Lets the next occurrence run at another time.
    pub(crate) fn postpone_schedule(
        &self,
        name: &str,
        body: &PostponeScheduleBody,
    ) -> anyhow::Result<Answer<ScheduleView>> {
        self.post_json(&format!("/v1/schedules/{}/postpone", segment(name)), body)
    }

    /// Makes the jobs of past occurrences that have none yet.
    pub(crate) fn backfill_schedule(&self, name: &str, span: &BackfillBody) -> anyhow::Result<Answer<BackfillView>> {
        self.post_json(&format!("/v1/schedules/{}/backfill", segment(name)), span)
    }

    /// Removes a schedule.
    pub(crate) fn remove_schedule(&self, name: &str) -> anyhow::Result<()> {
        let url = self.url(&format!("/v1/schedules/{}", segment(name)));
        self.accepted(self.with_token(self.agent.delete(url)).call()).map(drop)
    }
}
