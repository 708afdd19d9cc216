//! Why a job is where it is, as pages show it: in the words of `domain::explain` alone, with what ends it as a button where
//! an administrator can end it at once.

use super::Console;
use super::text::{self, LINE_CHARS, Part, When};
use crate::domain::access::Right;
use crate::domain::explain::{Reason, Remedy};
use crate::domain::id::{JobId, TenantId};
use crate::domain::job::Job;
use crate::domain::time::Timestamp;
use crate::store::ReadError;

/// One reason.
pub(super) struct Why {
    pub(super) sentence: Vec<Part>,
    /// What ends it.
    pub(super) ends: Vec<Part>,
    pub(super) until: Option<When>,
    /// The jobs that it waits for.
    pub(super) jobs: Vec<JobLink>,
    pub(super) remedy: Option<RemedyButton>,
}

/// Another job: a link for those who may see it as long as it is there, and else its id.
pub(super) struct JobLink {
    pub(super) id: String,
    pub(super) short_id: String,
    pub(super) leads: bool,
}

/// What ends a reason, for those who may press it.
pub(super) struct RemedyButton {
    pub(super) label: String,
    pub(super) address: String,
}

impl JobLink {
    pub(super) fn to(console: &Console, id: JobId) -> Result<Self, ReadError> {
        let job = console.host.jobs.get(TenantId::DEFAULT, id)?;
        let leads = job.is_some_and(|job| console.caller.may(Right::Read, &job.submission));
        let id = id.to_string();
        Ok(Self { short_id: super::jobs::short_id(&id), id, leads })
    }
}

/// Every reason that `explain` gives for a job, the foremost first. Never empty.
pub(super) fn reasons(console: &Console, job: &Job) -> Result<Vec<Why>, ReadError> {
    let reasons = console.host.jobs.explain(job, console.host.moment(job))?;
    reasons.into_iter().map(|reason| why(console, reason, job)).collect()
}

/// What a list says of a job that waits: the foremost reason in one line, and when it ends by itself.
pub(super) struct Leading {
    pub(super) sentence: Vec<Part>,
    pub(super) until: Option<When>,
}

impl Leading {
    /// The foremost reason as a list shows it.
    pub(super) fn new(reason: &Reason, now: Timestamp) -> Self {
        Self {
            sentence: text::parts(&text::line(&text::sentence(&reason.message), LINE_CHARS)),
            until: reason.until.map(|until| When::new(until, now)),
        }
    }
}

fn why(console: &Console, reason: Reason, job: &Job) -> Result<Why, ReadError> {
    let remedy = reason.remedy().filter(|_| console.administers());
    Ok(Why {
        sentence: text::parts(&text::sentence(&reason.message)),
        ends: text::parts(&text::neutral(&reason.starts_when)),
        until: reason.until.map(|until| When::new(until, console.now())),
        jobs: reason.jobs.into_iter().map(|id| JobLink::to(console, id)).collect::<Result<_, _>>()?,
        remedy: remedy.map(|remedy| button(remedy, job)),
    })
}

fn button(remedy: Remedy, job: &Job) -> RemedyButton {
    let (plugin, queue) = (&job.submission.plugin, &job.submission.queue);
    let (label, address) = match remedy {
        Remedy::ResumeService => ("Resume the service".to_owned(), "/service/resume".to_owned()),
        Remedy::ResumeQueue => (format!("Resume queue {queue}"), format!("/queues/{queue}/resume")),
        Remedy::ResumePlugin => (format!("Resume plug-in {plugin}"), format!("/plugins/{plugin}/resume")),
        Remedy::EnablePlugin => (format!("Enable plug-in {plugin}"), format!("/plugins/{plugin}/enable")),
    };
    RemedyButton { label, address }
}
